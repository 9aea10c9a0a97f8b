/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Where a value is written. Looking forward from it through transposes and reshapes, which become views of the place: a
 * piece of a concatenation, a result that the caller wants somewhere, the key/value slot of a step's function; where
 * slices share it out, the places of all of them, if those are one view; else a new buffer, laid out so that the
 * reshapes that follow are views.
 */
#include "lower.h"

#include "../ir/dialect.h"

#include <string.h>

/* What place_find may return; a step's carried tensor only along a path of transposes and reshapes. */
typedef struct place_search {
  lowering *l;
  bool carried_allowed;
  int depth; /* of calls looked into */
} place_search;

static bool place_find(place_search *search, MlirValue value, view *out);

int64_t concat_start(MlirOperation concat, intptr_t index) {
  const int64_t axis = attr_i64(concat, "axis", 0);
  int64_t start = 0;
  tensor_type type;
  for (intptr_t i = 0; i < index; i++)
    if (value_type(mlirOperationGetOperand(concat, i), &type)) start += type.dims[axis];
  return start;
}

/* The part of a concat's view that piece `index` fills. */
static view concat_piece(MlirOperation concat, intptr_t index, const view *whole) {
  tensor_type type;
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  value_type(mlirOperationGetOperand(concat, index), &type);
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  starts[attr_i64(concat, "axis", 0)] = concat_start(concat, index);
  view piece;
  view_slice(whole, starts, steps, type.dims, &piece);
  return piece;
}

/* The view whose transpose or reshape, by `op`, is `after`. */
static bool view_before(MlirOperation op, const view *after, view *out) {
  if (op_kind_of(op) == OP_transpose) {
    int64_t permutation[PINION_MAX_RANK];
    attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
    view_untranspose(after, permutation, out);
    return true;
  }
  tensor_type type;
  return value_type(mlirOperationGetOperand(op, 0), &type) && view_reshape(after, type.rank, type.dims, out);
}

static bool is_relabelling(MlirOperation op) {
  const op_kind kind = op_kind_of(op);
  return kind == OP_transpose || kind == OP_reshape;
}

/* The place that the caller of the function wants for result `index`. */
static bool returned_place(place_search *search, MlirOperation terminator, intptr_t index, view *out) {
  const frame *f = search->l->frame;
  if (mlirOperationGetBlock(terminator).ptr != f->block.ptr || index >= f->result_count || !f->results[index])
    return false;
  if (f->carried && !search->carried_allowed) return false;
  *out = *f->results[index];
  return true;
}

static int call_count(MlirModule module, MlirOperation function) {
  int count = 0;
  MlirStringRef name = attr_str(function, "sym_name");
  for (MlirOperation f = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(f);
       f = mlirOperationGetNextInBlock(f))
    for (MlirOperation op = mlirBlockGetFirstOperation(function_body(f)); !mlirOperationIsNull(op);
         op = mlirOperationGetNextInBlock(op))
      count += mlirStringRefEqual(attr_str(op, "callee"), name);
  return count;
}

/* A value passed to a function that is called once may be computed in its place of a concat there: what a step puts
   before its own keys, the images among the tokens. */
static bool argument_place(place_search *search, MlirOperation call, intptr_t index, view *out) {
  enum { DEPTH_AT_MOST = 8 };
  lowering *l = search->l;
  MlirStringRef name = attr_str(call, "callee");
  if (!name.length || search->depth == DEPTH_AT_MOST) return false;
  MlirOperation callee = module_function(l->module, arena_string(l->c->arena, name.data, name.length));
  if (mlirOperationIsNull(callee) || call_count(l->module, callee) != 1) return false;
  if (op_kind_of(call) == OP_steps) {
    const intptr_t tables = (intptr_t)attr_i64(call, "tables", 0);
    if (index == 0 || index >= mlirOperationGetNumOperands(call) - tables) return false;
  }
  place_search inside = {.l = l, .depth = search->depth + 1};
  if (index >= mlirBlockGetNumArguments(function_body(callee))) return false;
  return place_find(&inside, mlirBlockGetArgument(function_body(callee), index), out);
}

static bool use_place(place_search *search, MlirOpOperand use, view *out) {
  MlirOperation user = mlirOpOperandGetOwner(use);
  const intptr_t index = (intptr_t)mlirOpOperandGetOperandNumber(use);
  switch (op_kind_of(user)) {
  case OP_concat: {
    const view whole = place_concat(search->l, user);
    *out = concat_piece(user, index, &whole);
    return true;
  }
  case OP_transpose:
  case OP_reshape: {
    view after;
    return place_find(search, mlirOperationGetResult(user, 0), &after) && view_before(user, &after, out);
  }
  case OP_steps: return argument_place(search, user, index, out);
  case OP_NONE: /* func.call or func.return */
    return mlirOperationEqual(user, block_terminator(mlirOperationGetBlock(user)))
               ? returned_place(search, user, index, out)
               : argument_place(search, user, index, out);
  default: return false;
  }
}

/* ---- Slices that share a value out ---- */

/* The only dimension along which the slice is a part, and where it begins; false if there is none, or it has gaps. */
static bool slice_range(MlirOperation slice, int *out_axis, int64_t *out_start) {
  tensor_type whole, part;
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  int found = 0;
  if (!value_type(mlirOperationGetOperand(slice, 0), &whole) || !value_type(mlirOperationGetResult(slice, 0), &part))
    return false;
  attr_i64s(slice, "starts", starts, PINION_MAX_RANK);
  attr_i64s(slice, "steps", steps, PINION_MAX_RANK);
  for (int d = 0; d < whole.rank; d++) {
    if (steps[d] != 1) return false;
    if (part.dims[d] == whole.dims[d]) continue;
    found++;
    *out_axis = d;
    *out_start = starts[d];
  }
  return found == 1;
}

/* What the whole would be, given the place of the part that begins `start` along `axis`; the stride along it is that of
   the part, unless that has but one element there: then `stride`. */
static view whole_of_part(const view *part, const tensor_type *type, int axis, int64_t start, int64_t stride) {
  view whole = *part;
  whole.type = *type;
  if (part->type.dims[axis] == 1) whole.stride[axis] = stride;
  whole.offset -= start * whole.stride[axis];
  return whole;
}

typedef struct shared_part {
  view place;
  int64_t start;
} shared_part;

/* The places of the slices that are all uses of the value, and the axis; 0 if not every one has a place. */
static int shared_parts(place_search *search, MlirValue value, int capacity, shared_part *out_parts, int *out_axis) {
  int count = 0;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    int axis;
    if (count == capacity || op_kind_of(user) != OP_slice || !slice_range(user, &axis, &out_parts[count].start) ||
        (count > 0 && axis != *out_axis) ||
        !place_find(search, mlirOperationGetResult(user, 0), &out_parts[count].place))
      return 0;
    *out_axis = axis;
    count++;
  }
  return count;
}

/* Whether the parts follow one another along the axis, from its beginning to `end`. */
static bool parts_cover(const shared_part *parts, int count, int axis, int64_t end) {
  int64_t covered = 0;
  for (int i = 0; i < count; i++) {
    int64_t before = 0;
    for (int k = 0; k < count; k++)
      if (parts[k].start < parts[i].start) before += parts[k].place.type.dims[axis];
    if (before != parts[i].start) return false;
    covered += parts[i].place.type.dims[axis];
  }
  return covered == end;
}

/* The view of which the places of all slices are the parts, if they are all of it. */
static bool shared_place(place_search *search, MlirValue value, view *out) {
  enum { PARTS_AT_MOST = 16 };
  shared_part parts[PARTS_AT_MOST];
  tensor_type type;
  int axis = 0;
  const int count = shared_parts(search, value, PARTS_AT_MOST, parts, &axis);
  if (count < 2 || !value_type(value, &type) || !parts_cover(parts, count, axis, type.dims[axis])) return false;
  const int64_t distance = parts[1].start - parts[0].start;
  const int64_t stride = distance ? (parts[1].place.offset - parts[0].place.offset) / distance : 0;
  *out = whole_of_part(&parts[0].place, &type, axis, parts[0].start, stride);
  for (int i = 1; i < count; i++) {
    const view whole = whole_of_part(&parts[i].place, &type, axis, parts[i].start, stride);
    if (!view_same(&whole, out)) return false;
  }
  return true;
}

static bool place_find(place_search *search, MlirValue value, view *out) {
  if (shared_place(search, value, out)) return true;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
    if (use_place(search, use, out)) return true;
  return false;
}

#define CHAIN_MAX 16

/* The transposes and reshapes that alone use `value`, in order. */
static int relabelling_chain(MlirValue value, MlirOperation chain[CHAIN_MAX]) {
  int length = 0;
  while (length < CHAIN_MAX && value_has_one_use(value)) {
    MlirOperation user = mlirOpOperandGetOwner(mlirValueGetFirstUse(value));
    if (!is_relabelling(user)) break;
    chain[length++] = user;
    value = mlirOperationGetResult(user, 0);
  }
  return length;
}

/* Would all of the chain be views of a row-major buffer for the value itself? */
static bool natural_layout_suits(const tensor_type *type, int length, const MlirOperation *chain) {
  view v = view_rows(-1, type, padded_pitch(type));
  for (int i = 0; i < length; i++) {
    tensor_type next;
    if (!value_type(mlirOperationGetResult(chain[i], 0), &next)) return false;
    if (op_kind_of(chain[i]) == OP_reshape) {
      if (!view_reshape(&v, next.rank, next.dims, &v)) return false;
    } else {
      int64_t permutation[PINION_MAX_RANK];
      attr_i64s(chain[i], "permutation", permutation, PINION_MAX_RANK);
      view_transpose(&v, permutation, &v);
    }
  }
  return true;
}

/* Layout of the value in a row-major buffer for the result of chain[last]; false if that is no view. */
static bool layout_before(int last, const MlirOperation *chain, view *out) {
  tensor_type type;
  if (!value_type(mlirOperationGetResult(chain[last], 0), &type)) return false;
  view v = view_rows(-1, &type, padded_pitch(&type));
  for (int i = last; i >= 0; i--)
    if (!view_before(chain[i], &v, &v)) return false;
  *out = v;
  return true;
}

static view place_new(lowering *l, MlirValue value) {
  tensor_type type;
  value_type(value, &type);
  const char *name = value_name(l, mlirOperationGetLocation(value_definition(value)));
  MlirOperation chain[CHAIN_MAX];
  const int length = relabelling_chain(value, chain);
  if (natural_layout_suits(&type, length, chain)) return arena_view(l, name, &type);
  for (int last = length - 1; last >= 0; last--) {
    view v;
    if (!layout_before(last, chain, &v)) continue;
    tensor_type buffer_type;
    value_type(mlirOperationGetResult(chain[last], 0), &buffer_type);
    v.buffer = arena_view(l, name, &buffer_type).buffer;
    return v;
  }
  return arena_view(l, name, &type);
}

bool place_wished(lowering *l, MlirValue value, view *out) {
  place_search search = {.l = l};
  return place_find(&search, value, out);
}

view place(lowering *l, MlirValue value) {
  view found;
  return place_wished(l, value, &found) ? found : place_new(l, value);
}

view place_carried(lowering *l, MlirValue value) {
  place_search search = {.l = l, .carried_allowed = true};
  view found;
  return place_find(&search, value, &found) ? found : place_new(l, value);
}

view place_concat(lowering *l, MlirOperation concat) {
  MlirValue result = mlirOperationGetResult(concat, 0);
  const view *planned = map_get(&l->planned, result);
  if (planned) return *planned;
  const view v = place(l, result);
  map_set(l->c->arena, &l->planned, result, &v);
  return v;
}
