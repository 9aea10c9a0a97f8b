/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * recognise-rope: a rotary embedding that the exporter spelled out becomes one pinion.rope.
 *
 *   x * cos + concat(neg(x[.., D/2:]), x[.., :D/2]) * sin          ->  rope(x, cos[.., :D/2], sin[.., :D/2])
 *   concat(x1 * cos - x2 * sin, x2 * cos + x1 * sin), x1 and x2 halves of x  ->  rope(x, cos, sin)
 *
 * Requires: canonicalise. Produces: pinion.rope; slices of the angles' cosine and sine, which cost nothing. Breaks:
 * nothing.
 *
 * In the first spelling both halves of cos, and of sin, must be proven equal: they come from a concat of one value with
 * itself, through elementwise ops and others that keep the last dimension, or are constants whose halves have equal
 * bytes. The proof goes through functions' arguments to all their callers, and through calls to what the function
 * returns. The rope's type is that of the ops; roundings between them disappear. Where the rows come before the heads,
 * [B, S, H, D], the rope is of their transpose, and the transpose behind the rotation goes.
 */
#include "callers.h"
#include "match.h"

#include <string.h>

enum { RANK = 4, MAXIMUM_DEPTH = 48, MAXIMUM_CONSTANT_BYTES = 1 << 24 };

/* ---- Equal halves ---- */

static bool halves_equal(compilation *c, MlirValue value, int depth);

/* Rows of equal halves, in the bytes of a constant or of a weight. */
static bool bytes_have_equal_halves(compilation *c, MlirOperation op) {
  tensor_type type = tensor_type_of(mlirOperationGetResult(op, 0));
  if (type_bytes(&type) > MAXIMUM_CONSTANT_BYTES || attr_str_is(op, "file", "@weights")) return false;
  const char *bytes = constant_bytes(c, op);
  const int64_t width = type.dims[type.rank - 1];
  const size_t half = (size_t)(width / 2) * pinion_dtype_size(type.dtype);
  if (!bytes || width % 2) return false;
  for (int64_t row = 0; row < type_elements(&type) / width; row++, bytes += 2 * half)
    if (memcmp(bytes, bytes + half, half) != 0) return false;
  return true;
}

static bool operands_have_equal_halves(compilation *c, MlirOperation op, intptr_t count, int depth) {
  for (intptr_t i = 0; i < count; i++)
    if (!halves_equal(c, mlirOperationGetOperand(op, i), depth)) return false;
  return count > 0;
}

/* The op leaves the last dimension, whole, where it is. */
static bool keeps_last_dimension(MlirOperation op) {
  const int64_t width = last_dimension(mlirOperationGetResult(op, 0));
  MlirValue x = mlirOperationGetOperand(op, 0);
  const int rank = tensor_type_of(x).rank;
  int64_t order[PINION_MAX_RANK];
  switch (op_kind_of(op)) {
  case OP_broadcast: return last_dimension(x) == width || last_dimension(x) == 1;
  case OP_reshape: return last_dimension(x) == width;
  case OP_transpose: return attr_i64s(op, "permutation", order, PINION_MAX_RANK) == rank && order[rank - 1] == rank - 1;
  case OP_slice:
    return last_dimension(x) == width && attr_i64s(op, "steps", order, PINION_MAX_RANK) == rank && order[rank - 1] == 1;
  case OP_gather: return rank > 0 && attr_i64(op, "axis", 0) < rank - 1;
  default: return false;
  }
}

static bool concat_has_equal_halves(compilation *c, MlirOperation op, int depth) {
  const intptr_t count = mlirOperationGetNumOperands(op);
  if (attr_i64(op, "axis", 0) < tensor_type_of(mlirOperationGetResult(op, 0)).rank - 1)
    return operands_have_equal_halves(c, op, count, depth);
  return count == 2 && mlirValueEqual(mlirOperationGetOperand(op, 0), mlirOperationGetOperand(op, 1));
}

/* Every caller passes such a value. The value that steps carry changes: it is none. */
static bool argument_has_equal_halves(compilation *c, MlirValue value, int depth) {
  const intptr_t number = mlirBlockArgumentGetArgNumber(value);
  op_list callers = argument_callers(c->arena, value);
  bool all = callers.count > 0;
  for (int i = 0; all && i < callers.count; i++)
    all = !caller_carries(callers.ops[i], number) &&
          halves_equal(c, mlirOperationGetOperand(callers.ops[i], number), depth);
  return all;
}

static bool call_result_has_equal_halves(compilation *c, MlirValue result, int depth) {
  MlirValue returned = returned_value(c->arena, result);
  return !mlirValueIsNull(returned) && halves_equal(c, returned, depth);
}

/* Whether element i of each row, along the last dimension, equals element i + D/2. */
static bool halves_equal(compilation *c, MlirValue value, int depth) {
  if (last_dimension(value) == 1) return true;
  if (depth == MAXIMUM_DEPTH) return false;
  if (mlirValueIsABlockArgument(value)) return argument_has_equal_halves(c, value, depth + 1);
  MlirOperation op = value_definition(value);
  switch (op_kind_of(op)) {
  case OP_constant:
  case OP_weight: return bytes_have_equal_halves(c, op);
  case OP_concat: return concat_has_equal_halves(c, op, depth + 1);
  case OP_unary:
  case OP_binary:
  case OP_select:
  case OP_cast: return operands_have_equal_halves(c, op, mlirOperationGetNumOperands(op), depth + 1);
  case OP_broadcast:
  case OP_reshape:
  case OP_transpose:
  case OP_slice:
  case OP_gather: return keeps_last_dimension(op) && operands_have_equal_halves(c, op, 1, depth + 1);
  case OP_NONE: return call_result_has_equal_halves(c, value, depth + 1);
  default: return false;
  }
}

/* ---- The rotation ---- */

typedef struct rope_parts {
  MlirValue x, cosine, sine; /* x [B, H, S, D]; the others broadcast to it, or to half of it */
  bool half_angles;
  bool rows_first; /* x is [B, S, H, D] */
} rope_parts;

/* value = x[.., start : start + D/2] */
static bool match_half(match *m, MlirValue value, bool second, MlirValue *out_x) {
  MlirOperation slice = match_op(m, value, OP_slice, NULL);
  if (mlirOperationIsNull(slice)) return false;
  *out_x = mlirOperationGetOperand(slice, 0);
  tensor_type x = tensor_type_of(*out_x), half = tensor_type_of(value);
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  if (x.rank != RANK || attr_i64s(slice, "starts", starts, PINION_MAX_RANK) != RANK ||
      attr_i64s(slice, "steps", steps, PINION_MAX_RANK) != RANK)
    return false;
  for (int d = 0; d < RANK - 1; d++)
    if (starts[d] != 0 || x.dims[d] != half.dims[d] || (steps[d] != 1 && x.dims[d] > 1)) return false;
  return x.dims[RANK - 1] == 2 * half.dims[RANK - 1] && steps[RANK - 1] == 1 &&
         starts[RANK - 1] == (second ? half.dims[RANK - 1] : 0);
}

/* concat(neg(second half of x), first half of x) */
static bool match_rotated(match *m, MlirValue value, MlirValue *out_x) {
  MlirOperation concat = match_op(m, value, OP_concat, NULL);
  if (mlirOperationIsNull(concat) || mlirOperationGetNumOperands(concat) != 2 ||
      attr_i64(concat, "axis", -1) != RANK - 1)
    return false;
  MlirOperation negated = match_op(m, mlirOperationGetOperand(concat, 0), OP_unary, "neg");
  MlirValue x;
  return !mlirOperationIsNull(negated) && match_half(m, mlirOperationGetOperand(negated, 0), true, out_x) &&
         match_half(m, mlirOperationGetOperand(concat, 1), false, &x) && mlirValueEqual(x, *out_x);
}

/* Equal shapes but for ones in front. */
static bool same_shape_behind_ones(const tensor_type *a, const tensor_type *b) {
  for (int d = 1; d <= (a->rank > b->rank ? a->rank : b->rank); d++)
    if ((d > a->rank ? 1 : a->dims[a->rank - d]) != (d > b->rank ? 1 : b->dims[b->rank - d])) return false;
  return true;
}

/* `value` is x, whether or not ones are in front of its shape. */
static bool is_x(MlirValue value, MlirValue x) {
  tensor_type type = tensor_type_of(value), whole = tensor_type_of(x);
  return same_shape_behind_ones(&type, &whole) && values_same_data(value, x);
}

/* rotated * sin: the first summand tried; x * cos: the other. */
static bool match_rope(match *m, MlirValue turned, MlirValue straight, rope_parts *out) {
  MlirOperation b = match_op(m, turned, OP_binary, "mul"), a = match_op(m, straight, OP_binary, "mul");
  if (mlirOperationIsNull(a) || mlirOperationIsNull(b)) return false;
  bool found = false;
  for (int i = 0; i < 2 && !found; i++) {
    match attempt = *m;
    out->sine = operand_in_order(b, 1, i);
    found = match_rotated(&attempt, operand_in_order(b, 0, i), &out->x);
    if (found) *m = attempt;
  }
  for (int i = 0; found && i < 2; i++) {
    out->cosine = operand_in_order(a, 1, i);
    if (is_x(operand_in_order(a, 0, i), out->x)) return true;
  }
  return false;
}

/* value = (a half of x) * angle: the half that is taken, and what it is multiplied by. */
static bool match_half_turned(match *m, MlirValue value, bool second, MlirValue *out_x, MlirValue *out_angle) {
  MlirOperation product = match_op(m, value, OP_binary, "mul");
  for (int i = 0; !mlirOperationIsNull(product) && i < 2; i++) {
    match attempt = *m;
    *out_angle = operand_in_order(product, 1, i);
    if (!match_half(&attempt, operand_in_order(product, 0, i), second, out_x)) continue;
    *m = attempt;
    return true;
  }
  return false;
}

/* a = (first half of x) * cos, b = (second half) * sin, or, `swapped`, the halves the other way round; the same x and
   angles as *parts has already, if any. */
static bool match_turned_pair(match *m, MlirValue a, MlirValue b, bool swapped, rope_parts *parts) {
  MlirValue x, other_x, cosine, sine;
  if (!match_half_turned(m, a, swapped, &x, &cosine) || !match_half_turned(m, b, !swapped, &other_x, &sine) ||
      !mlirValueEqual(x, other_x))
    return false;
  if (!mlirValueIsNull(parts->x))
    return mlirValueEqual(x, parts->x) && values_same_data(cosine, parts->cosine) &&
           values_same_data(sine, parts->sine);
  *parts = (rope_parts){.x = x, .cosine = cosine, .sine = sine, .half_angles = true};
  return true;
}

/* concat(x1 * cos - x2 * sin, x2 * cos + x1 * sin) */
static bool match_rope_of_halves(match *m, rope_parts *out) {
  MlirOperation concat = m->ops[0];
  if (mlirOperationGetNumOperands(concat) != 2 || attr_i64(concat, "axis", -1) != RANK - 1) return false;
  MlirOperation low = match_op(m, mlirOperationGetOperand(concat, 0), OP_binary, "sub");
  MlirOperation high = match_op(m, mlirOperationGetOperand(concat, 1), OP_binary, "add");
  *out = (rope_parts){0};
  if (mlirOperationIsNull(low) || mlirOperationIsNull(high) ||
      !match_turned_pair(m, mlirOperationGetOperand(low, 0), mlirOperationGetOperand(low, 1), false, out))
    return false;
  match attempt = *m;
  if (match_turned_pair(&attempt, mlirOperationGetOperand(high, 0), mlirOperationGetOperand(high, 1), true, out)) {
    *m = attempt;
    return true;
  }
  return match_turned_pair(m, mlirOperationGetOperand(high, 1), mlirOperationGetOperand(high, 0), true, out);
}

/* ---- Building ---- */

/* Whether cos or sin is [B or 1, 1, S, width] behind ones, or, `rows_first`, [B or 1, S, 1, width], of x's type. */
static bool is_angle_table(MlirValue value, const rope_parts *parts, bool rows_first) {
  tensor_type type = tensor_type_of(value), whole = tensor_type_of(parts->x);
  const int64_t width = whole.dims[RANK - 1] / (parts->half_angles ? 2 : 1);
  if (type.rank < (rows_first ? RANK - 1 : 2) || type.rank > RANK || type.dtype != whole.dtype) return false;
  int64_t dims[RANK] = {1, 1, 1, 1};
  for (int d = 0; d < type.rank; d++) dims[RANK - type.rank + d] = type.dims[d];
  const int heads = rows_first ? 2 : 1, rows = 3 - heads;
  return dims[3] == width && dims[rows] == whole.dims[rows] && dims[heads] == 1 &&
         (dims[0] == 1 || dims[0] == whole.dims[0]);
}

static bool are_angle_tables(const rope_parts *parts, bool rows_first) {
  return is_angle_table(parts->cosine, parts, rows_first) && is_angle_table(parts->sine, parts, rows_first);
}

/* [B or 1, S, D/2]: of each row the first D/2. */
static MlirValue half_table(builder *b, MlirValue value, const rope_parts *parts) {
  const tensor_type x = tensor_type_of(parts->x);
  tensor_type type = tensor_type_of(value);
  const int64_t starts[RANK] = {0}, steps[RANK] = {1, 1, 1, 1}, half = x.dims[RANK - 1] / 2;
  const bool is_half = type.dims[type.rank - 1] == half;
  type.dims[type.rank - 1] = half;
  const int64_t dims[] = {type.rank == RANK ? type.dims[0] : 1, x.dims[parts->rows_first ? 1 : 2], half};
  return build_reshape(b, is_half ? value : build_slice(b, value, starts, type.dims, steps), 3, dims);
}

static const int64_t swap_rows_and_heads[RANK] = {0, 2, 1, 3};

static bool swaps_rows_and_heads(MlirOperation op) {
  int64_t permutation[PINION_MAX_RANK];
  return op_kind_of(op) == OP_transpose && attr_i64s(op, "permutation", permutation, PINION_MAX_RANK) == RANK &&
         memcmp(permutation, swap_rows_and_heads, sizeof swap_rows_and_heads) == 0;
}

/* The rope is of swapped rows and heads: who swaps the root back reads it as it is, all others through a transpose. */
static bool replace_by_swapped(const match *m, builder *b, MlirOperation rope) {
  MlirValue rotated = mlirOperationGetResult(rope, 0), root = mlirOperationGetResult(m->ops[0], 0);
  MlirOpOperand next, use = mlirValueGetFirstUse(root);
  for (; !mlirOpOperandIsNull(use); use = next) {
    next = mlirOpOperandGetNextUse(use);
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (!swaps_rows_and_heads(user)) continue;
    op_copy_identity(user, rope);
    value_replace(mlirOperationGetResult(user, 0), rotated);
  }
  MlirValue back = build_transpose(b, rotated, swap_rows_and_heads);
  if (mlirValueIsNull(back)) return false;
  match_replace(m, value_definition(back));
  return true;
}

static status build_rope(pass_context *context, const match *m, const rope_parts *parts) {
  if (!pass_may_rewrite(context, match_location(m))) return STATUS_OK;
  builder b = match_builder(m);
  MlirValue x = parts->rows_first ? build_transpose(&b, parts->x, swap_rows_and_heads) : parts->x;
  MlirValue operands[] = {x, half_table(&b, parts->cosine, parts), half_table(&b, parts->sine, parts)};
  MlirContext mlir = context->compilation->context;
  MlirNamedAttribute attribute = make_named(mlir, "interleaved", make_bool(mlir, false));
  MlirOperation rope = build_op(&b, OP_rope, 3, operands, 1, &attribute, 0, NULL);
  if (mlirOperationIsNull(rope)) return STATUS_FAILED;
  if (!parts->rows_first)
    match_replace(m, rope);
  else if (!replace_by_swapped(m, &b, rope))
    return STATUS_FAILED;
  context->changes++;
  return STATUS_OK;
}

/* NULL if the parts are a rotation's, whose layout is found out. */
static const char *misfit(compilation *c, rope_parts *parts, MlirValue result) {
  parts->rows_first = !are_angle_tables(parts, false);
  if (!mlirTypeEqual(mlirValueGetType(parts->x), mlirValueGetType(result)) ||
      (parts->rows_first && !are_angle_tables(parts, true)))
    return "its angles are not one row a position";
  if (!parts->half_angles && !(halves_equal(c, parts->cosine, 0) && halves_equal(c, parts->sine, 0)))
    return "the halves of its angles are not proven equal";
  return NULL;
}

static bool match_either(match *m, rope_parts *out) {
  MlirOperation root = m->ops[0];
  *out = (rope_parts){0};
  if (op_kind_of(root) == OP_concat) return match_rope_of_halves(m, out);
  if (!attr_str_is(root, "kind", "add")) return false;
  MlirValue a = mlirOperationGetOperand(root, 0), b = mlirOperationGetOperand(root, 1);
  match attempt = *m;
  if (!match_rope(&attempt, b, a, out)) {
    attempt = *m;
    if (!match_rope(&attempt, a, b, out)) return false;
  }
  *m = attempt;
  return true;
}

static status visit(pass_context *context, MlirOperation root) {
  match m = match_begin(context->compilation, root);
  rope_parts parts;
  if (!match_either(&m, &parts)) return STATUS_OK;
  const char *why = misfit(context->compilation, &parts, mlirOperationGetResult(root, 0));
  if (!why) why = match_why_open(&m);
  if (!why) return build_rope(context, &m, &parts);
  pass_missed(context, match_location(&m), "it is a rotation, but %s", why);
  return STATUS_OK;
}

status pass_recognise_rope(pass_context *context, MlirModule module) {
  return match_each(context, module, MATCH_KIND(OP_binary) | MATCH_KIND(OP_concat), visit);
}
