/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Takes out of a module what no output needs of its values: first all changes are found, on the module as it is, then
 * types change in place, and slices are put in where one user of a value needs less of it than another.
 */
#include "remove_unneeded.h"

#include <string.h>

/* One operand that must be made to fit: the positions `wanted` of what its value keeps, or, if none, zeros. */
typedef struct operand_change {
  MlirOperation op;
  intptr_t index;
  demand kept, wanted;
} operand_change;

typedef struct type_change {
  MlirValue value;
  MlirType type;
} type_change;

typedef struct piece_change { /* of a concatenation */
  MlirOperation op;
  bool *dropped; /* per operand */
} piece_change;

typedef struct slice_change {
  MlirOperation op;
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
} slice_change;

typedef struct changes {
  compilation *compilation;
  arena *arena;
  demand_rules rules;
  const demand_map *needed;
  operand_change *operands;
  type_change *types;
  slice_change *slices;
  piece_change *pieces;
  MlirOperation *functions; /* whose signatures may change */
  size_t operand_count, operand_capacity, type_count, type_capacity, slice_count, slice_capacity, piece_count,
      piece_capacity, function_count, function_capacity;
} changes;

/* ---- Positions ---- */

typedef struct positions {
  int64_t *list; /* ascending; the arena's */
  int64_t count;
} positions;

/* Of one dimension of a value of that size. */
static positions positions_of(arena *a, const demand *d, int dimension, int64_t size) {
  positions p = {.list = arena_alloc(a, (size_t)(size + 1) * sizeof *p.list)};
  for (int64_t i = 0; i < size; i++)
    if (demand_has(d, dimension, i)) p.list[p.count++] = i;
  return p;
}

/* Where a position stands among those; -1 if it does not. */
static int64_t place_among(const positions *p, int64_t position) {
  for (int64_t i = 0; i < p->count; i++)
    if (p->list[i] == position) return i;
  return -1;
}

static bool same_positions(arena *a, const demand *x, const demand *y, const tensor_type *type) {
  for (int d = 0; d < type->rank; d++) {
    const positions p = positions_of(a, x, d, type->dims[d]), q = positions_of(a, y, d, type->dims[d]);
    if (p.count != q.count || memcmp(p.list, q.list, (size_t)p.count * sizeof *p.list) != 0) return false;
  }
  return true;
}

/* ---- Finding what changes ---- */

/* What a value keeps: all of what has no entry, a value of a function that stays as it is. */
static demand kept_of(const changes *c, MlirValue value) {
  const demand kept = demand_map_get(c->needed, value);
  return kept.when ? kept : demand_everything(c->arena, tensor_type_of(value).rank);
}

static bool is_needed(const changes *c, MlirValue value) {
  return demand_map_get(c->needed, value).when != NULL;
}

static void change_operand(changes *c, MlirOperation op, intptr_t index, const demand *wanted) {
  MlirValue value = mlirOperationGetOperand(op, index);
  const tensor_type type = tensor_type_of(value);
  const demand kept = kept_of(c, value);
  if (is_needed(c, value) && same_positions(c->arena, &kept, wanted, &type)) return;
  c->operands = arena_grow(c->arena, c->operands, c->operand_count, &c->operand_capacity, sizeof *c->operands);
  c->operands[c->operand_count++] = (operand_change){op, index, kept, demand_copy(c->arena, wanted)};
}

static void change_type(changes *c, MlirValue value) {
  tensor_type type = tensor_type_of(value);
  const demand kept = kept_of(c, value);
  bool smaller = false;
  for (int d = 0; d < type.rank; d++) {
    const positions p = positions_of(c->arena, &kept, d, type.dims[d]);
    smaller |= p.count < type.dims[d];
    type.dims[d] = p.count;
  }
  if (!smaller) return;
  c->types = arena_grow(c->arena, c->types, c->type_count, &c->type_capacity, sizeof *c->types);
  c->types[c->type_count++] = (type_change){value, type_make(c->compilation->context, &type)};
}

/* A slice reads the same elements as before from what its operand keeps. False if those are not evenly spaced. */
static bool move_slice(changes *c, MlirOperation op) {
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetResult(op, 0);
  const tensor_type from = tensor_type_of(x), to = tensor_type_of(y);
  const demand kept = kept_of(c, x), made = kept_of(c, y);
  slice_change change = {.op = op};
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  attr_i64s(op, "starts", starts, PINION_MAX_RANK);
  attr_i64s(op, "steps", steps, PINION_MAX_RANK);
  for (int d = 0; d < from.rank; d++) {
    const positions p = positions_of(c->arena, &kept, d, from.dims[d]),
                    q = positions_of(c->arena, &made, d, to.dims[d]);
    change.starts[d] = q.count > 0 ? place_among(&p, starts[d] + steps[d] * q.list[0]) : 0;
    change.steps[d] = q.count > 1 ? place_among(&p, starts[d] + steps[d] * q.list[1]) - change.starts[d] : 1;
    for (int64_t i = 0; i < q.count; i++)
      if (place_among(&p, starts[d] + steps[d] * q.list[i]) != change.starts[d] + i * change.steps[d]) return false;
  }
  c->slices = arena_grow(c->arena, c->slices, c->slice_count, &c->slice_capacity, sizeof *c->slices);
  c->slices[c->slice_count++] = change;
  return true;
}

/* The slice of exactly what it needs: all of that, forwards or backwards. */
static void restrict_slice(changes *c, MlirOperation op, const demand *wanted) {
  slice_change change = {.op = op};
  const tensor_type from = tensor_type_of(mlirOperationGetOperand(op, 0));
  int64_t steps[PINION_MAX_RANK];
  attr_i64s(op, "steps", steps, PINION_MAX_RANK);
  for (int d = 0; d < from.rank; d++) {
    change.steps[d] = steps[d] < 0 ? -1 : 1;
    change.starts[d] = steps[d] < 0 ? positions_of(c->arena, wanted, d, from.dims[d]).count - 1 : 0;
  }
  change_operand(c, op, 0, wanted);
  c->slices = arena_grow(c->arena, c->slices, c->slice_count, &c->slice_capacity, sizeof *c->slices);
  c->slices[c->slice_count++] = change;
}

static void find_function_changes(changes *c, MlirOperation function, const demand *returned);

static void find_call_changes(changes *c, MlirOperation op) {
  MlirOperation callee = demand_followed_callee(&c->rules, op);
  const intptr_t count = mlirOperationGetNumOperands(op), results = mlirOperationGetNumResults(op);
  const bool followed = !mlirOperationIsNull(callee);
  for (intptr_t i = 0; i < count; i++) {
    const int rank = tensor_type_of(mlirOperationGetOperand(op, i)).rank;
    const bool whole = !followed || (op_kind_of(op) == OP_steps && !steps_pass_whole(op, i));
    const demand wanted = whole ? demand_everything(c->arena, rank)
                                : demand_map_get(c->needed, mlirBlockGetArgument(function_body(callee), i));
    change_operand(c, op, i, &wanted);
  }
  if (!followed) return;
  demand *returned = arena_alloc(c->arena, (size_t)(results + 1) * sizeof *returned);
  for (intptr_t r = 0; r < results; r++) {
    returned[r] = demand_map_get(c->needed, mlirOperationGetResult(op, r));
    if (returned[r].when) change_type(c, mlirOperationGetResult(op, r));
  }
  find_function_changes(c, callee, returned);
}

/* Pieces of which nothing is needed go, the others become what is. */
static void find_piece_changes(changes *c, MlirOperation concat, const demand *made) {
  const intptr_t count = mlirOperationGetNumOperands(concat);
  piece_change change = {concat, arena_alloc(c->arena, (size_t)count + 1)};
  bool any = false;
  for (intptr_t i = 0; i < count; i++) {
    const demand wanted = demand_of_operand(&c->rules, concat, i, made);
    change.dropped[i] = demand_is_empty(&wanted);
    any |= change.dropped[i];
    if (!change.dropped[i]) change_operand(c, concat, i, &wanted);
  }
  if (!any) return;
  c->pieces = arena_grow(c->arena, c->pieces, c->piece_count, &c->piece_capacity, sizeof *c->pieces);
  c->pieces[c->piece_count++] = change;
}

static void find_operand_changes(changes *c, MlirOperation op, const demand *made) {
  if (op_kind_of(op) == OP_slice && move_slice(c, op)) return;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    const demand wanted = demand_of_operand(&c->rules, op, i, made);
    if (op_kind_of(op) == OP_slice)
      restrict_slice(c, op, &wanted);
    else
      change_operand(c, op, i, &wanted);
  }
}

static void find_op_changes(changes *c, MlirOperation op) {
  bool any = false;
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++) any |= is_needed(c, mlirOperationGetResult(op, r));
  if (!any) return; /* it dies */
  if (op_kind_of(op) == OP_NONE || op_kind_of(op) == OP_steps) {
    find_call_changes(c, op);
    return;
  }
  const demand made = kept_of(c, mlirOperationGetResult(op, 0));
  c->rules.arena = arena_create(); /* for what is compared, and not kept */
  if (op_kind_of(op) == OP_concat)
    find_piece_changes(c, op, &made);
  else
    find_operand_changes(c, op, &made);
  arena_destroy(c->rules.arena);
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++) change_type(c, mlirOperationGetResult(op, r));
}

/* `returned`: what the caller needs. */
static void find_function_changes(changes *c, MlirOperation function, const demand *returned) {
  MlirBlock block = function_body(function);
  op_list ops = block_ops(c->arena, block);
  MlirOperation end = ops.ops[ops.count - 1];
  c->functions = arena_grow(c->arena, c->functions, c->function_count, &c->function_capacity, sizeof *c->functions);
  c->functions[c->function_count++] = function;
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++)
    if (is_needed(c, mlirBlockGetArgument(block, i))) change_type(c, mlirBlockGetArgument(block, i));
  for (int i = 0; i < ops.count - 1; i++) find_op_changes(c, ops.ops[i]);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(end); i++) change_operand(c, end, i, &returned[i]);
}

/* ---- Making the changes ---- */

/* The runs of the wanted positions among the kept ones of one dimension, put together. */
static MlirValue build_restricted(const changes *c, builder *b, MlirValue value, int dimension, const positions *kept,
                                  const positions *wanted) {
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  tensor_type type = tensor_type_of(value);
  MlirValue *runs = arena_alloc(c->arena, (size_t)(wanted->count + 1) * sizeof *runs);
  int count = 0;
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  for (int64_t i = 0, length; i < wanted->count; i += length) {
    starts[dimension] = place_among(kept, wanted->list[i]);
    for (length = 1; i + length < wanted->count; length++)
      if (place_among(kept, wanted->list[i + length]) != starts[dimension] + length) break;
    type.dims[dimension] = length;
    runs[count] = build_slice(b, value, starts, type.dims, steps);
    if (mlirValueIsNull(runs[count++])) return (MlirValue){0};
  }
  return count == 1 ? runs[0] : build_concat(b, count, runs, dimension);
}

static MlirValue build_zeros(builder *b, MlirValue like) {
  const tensor_type type = tensor_type_of(like), scalar = {.dtype = type.dtype};
  const uint64_t zero = 0;
  return build_broadcast(b, build_constant(b, &scalar, &zero), type.rank, type.dims);
}

static status apply_operand_change(const changes *c, const operand_change *change, const tensor_type *original) {
  builder b = builder_before(c->compilation, change->op);
  MlirValue value = mlirOperationGetOperand(change->op, change->index);
  if (demand_is_empty(&change->wanted)) {
    value = build_zeros(&b, value);
  } else {
    for (int d = 0; d < original->rank && !mlirValueIsNull(value); d++) {
      const positions kept = positions_of(c->arena, &change->kept, d, original->dims[d]),
                      wanted = positions_of(c->arena, &change->wanted, d, original->dims[d]);
      if (wanted.count < kept.count) value = build_restricted(c, &b, value, d, &kept, &wanted);
    }
  }
  if (mlirValueIsNull(value)) return STATUS_FAILED;
  mlirOperationSetOperand(change->op, change->index, value);
  return STATUS_OK;
}

static void apply_piece_change(const changes *c, const piece_change *change) {
  const intptr_t count = mlirOperationGetNumOperands(change->op);
  MlirValue *pieces = arena_alloc(c->arena, (size_t)(count + 1) * sizeof *pieces);
  intptr_t left = 0;
  for (intptr_t i = 0; i < count; i++)
    if (!change->dropped[i]) pieces[left++] = mlirOperationGetOperand(change->op, i);
  mlirOperationSetOperands(change->op, left, pieces);
}

static void apply_type_change(const type_change *change) {
  mlirValueSetType(change->value, change->type);
  if (!mlirValueIsAOpResult(change->value)) return;
  MlirOperation op = mlirOpResultGetOwner(change->value);
  mlirOperationRemoveAttributeByName(op, mlirStringRefCreateFromCString("onnx")); /* it has other places */
}

static void apply_slice_change(MlirContext context, const slice_change *change) {
  const int rank = tensor_type_of(mlirOperationGetResult(change->op, 0)).rank;
  mlirOperationSetAttributeByName(change->op, mlirStringRefCreateFromCString("starts"),
                                  make_i64s(context, rank, change->starts));
  mlirOperationSetAttributeByName(change->op, mlirStringRefCreateFromCString("steps"),
                                  make_i64s(context, rank, change->steps));
}

static status apply_changes(const changes *c) {
  tensor_type *originals = arena_alloc(c->arena, (c->operand_count + 1) * sizeof *originals);
  status code = STATUS_OK;
  for (size_t i = 0; i < c->operand_count; i++)
    originals[i] = tensor_type_of(mlirOperationGetOperand(c->operands[i].op, c->operands[i].index));
  for (size_t i = 0; i < c->type_count; i++) apply_type_change(&c->types[i]);
  for (size_t i = 0; i < c->slice_count; i++) apply_slice_change(c->compilation->context, &c->slices[i]);
  for (size_t i = 0; i < c->operand_count && code == STATUS_OK; i++)
    code = apply_operand_change(c, &c->operands[i], &originals[i]);
  for (size_t i = 0; i < c->piece_count; i++) apply_piece_change(c, &c->pieces[i]);
  return code;
}

status remove_unneeded(const demand_analysis *removable, MlirModule module) {
  changes c = {.compilation = removable->rules.masks->calls->compilation,
               .arena = removable->rules.arena,
               .rules = removable->rules,
               .needed = &removable->needed};
  MlirOperation function = module_function(module, "main");
  MlirOperation end = block_terminator(function_body(function));
  const intptr_t results = mlirOperationGetNumOperands(end);
  demand *returned = arena_alloc(c.arena, (size_t)(results + 1) * sizeof *returned);
  for (intptr_t i = 0; i < results; i++)
    returned[i] = demand_everything(c.arena, tensor_type_of(mlirOperationGetOperand(end, i)).rank);
  find_function_changes(&c, function, returned);
  const status code = apply_changes(&c);
  for (size_t i = 0; i < c.function_count; i++) {
    block_erase_dead(function_body(c.functions[i]));
    function_update_type(c.compilation, c.functions[i]);
  }
  return code;
}
