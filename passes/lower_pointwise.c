/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Data movement, which is mostly views, and elementwise ops, which are pointwise launches with a scalar body. */
#include "lower.h"

#include "../ir/dialect.h"

#include <stdio.h>
#include <string.h>

static status set_result(lowering *l, MlirOperation op, const view *v) {
  map_set(l->c->arena, &l->values, mlirOperationGetResult(op, 0), v);
  return STATUS_OK;
}

static tensor_type result_type(MlirOperation op) {
  tensor_type type = {0};
  value_type(mlirOperationGetResult(op, 0), &type);
  return type;
}

/* ---- Views ---- */

status lower_constant(lowering *l, MlirOperation op) {
  view v;
  const status result = weight_view(l, op, &v);
  return result == STATUS_OK ? set_result(l, op, &v) : result;
}

status lower_reshape(lowering *l, MlirOperation op) {
  view x, y, as_before;
  const status result = operand_view(l, op, 0, &x);
  if (result != STATUS_OK) return result;
  const tensor_type type = result_type(op);
  if (view_reshape(&x, type.rank, type.dims, &y) || reshape_weight(l, &x, type.rank, type.dims, &y))
    return set_result(l, op, &y);
  const view wanted = place(l, mlirOperationGetResult(op, 0));
  if (view_reshape(&wanted, x.type.rank, x.type.dims, &as_before)) {
    y = wanted;
    copy_view(l, mlirOperationGetLocation(op), &x, &as_before);
  } else {
    y = reshape_or_copy(l, mlirOperationGetLocation(op), &x, type.rank, type.dims);
  }
  return set_result(l, op, &y);
}

status lower_transpose(lowering *l, MlirOperation op) {
  view x, y;
  int64_t permutation[PINION_MAX_RANK];
  const status result = operand_view(l, op, 0, &x);
  if (result != STATUS_OK) return result;
  attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
  view_transpose(&x, permutation, &y);
  return set_result(l, op, &y);
}

status lower_broadcast(lowering *l, MlirOperation op) {
  view x, y;
  const status result = operand_view(l, op, 0, &x);
  if (result != STATUS_OK) return result;
  const tensor_type type = result_type(op);
  if (!view_broadcast(&x, type.rank, type.dims, &y)) return lower_error(l, op, "does not broadcast to its result");
  return set_result(l, op, &y);
}

status lower_slice(lowering *l, MlirOperation op) {
  view x, y;
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  const status result = operand_view(l, op, 0, &x);
  if (result != STATUS_OK) return result;
  const tensor_type type = result_type(op);
  attr_i64s(op, "starts", starts, PINION_MAX_RANK);
  attr_i64s(op, "steps", steps, PINION_MAX_RANK);
  view_slice(&x, starts, steps, type.dims, &y);
  /* Copied now where it is wanted, not at the end: what it is a part of need not live until then. */
  view wished;
  if (!place_wished(l, mlirOperationGetResult(op, 0), &wished) || wished.buffer == x.buffer)
    return set_result(l, op, &y);
  copy_view(l, mlirOperationGetLocation(op), &y, &wished);
  return set_result(l, op, &wished);
}

/* ---- Joining and padding ---- */

status lower_concat(lowering *l, MlirOperation op) {
  MlirValue value = mlirOperationGetResult(op, 0);
  const view whole = place_concat(l, op);
  map_remove(&l->planned, value);
  const int64_t axis = attr_i64(op, "axis", 0);
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    view x, piece;
    const status result = operand_view(l, op, i, &x);
    if (result != STATUS_OK) return result;
    view_slice(&whole, starts, steps, x.type.dims, &piece);
    if (!view_same(&x, &piece)) copy_view(l, mlirOperationGetLocation(op), &x, &piece);
    starts[axis] += x.type.dims[axis];
  }
  return set_result(l, op, &whole);
}

static void fill_view(lowering *l, MlirOperation op, const view *to, const view *value) {
  char constant[32];
  snprintf(constant, sizeof constant, "const.%s 0", dtype_name(to->type.dtype));
  const char *const zero[] = {constant, "yield v0"}, *const given[] = {"yield x0"};
  lowered_launch launch = launch_begin(op, PINION_FAMILY_POINTWISE);
  launch.body = value ? body_strings(l->c->context, 1, given) : body_strings(l->c->context, 2, zero);
  launch.space.rank = to->type.rank;
  memcpy(launch.space.size, to->type.dims, sizeof launch.space.size);
  space_add(&launch.space, to);
  view spread;
  if (value && view_broadcast(value, to->type.rank, to->type.dims, &spread)) space_add(&launch.space, &spread);
  space_simplify(&launch.space, 0, false);
  launch_add(l, &launch);
}

/* What is padded with, if not 0. A tensor of one element of any rank. */
static status pad_value(lowering *l, MlirOperation op, bool *out_present, view *out) {
  const status result = named_view(l, op, "value", out_present, out);
  if (result == STATUS_OK && *out_present && !view_reshape(out, 0, NULL, out))
    return lower_error(l, op, "pads with more than one value");
  return result;
}

status lower_pad(lowering *l, MlirOperation op) {
  view x, value, inner;
  bool has_value;
  status result = operand_view(l, op, 0, &x);
  if (result == STATUS_OK) result = pad_value(l, op, &has_value, &value);
  if (result != STATUS_OK) return result;
  const view y = place(l, mlirOperationGetResult(op, 0));
  int64_t before[PINION_MAX_RANK] = {0}, from[PINION_MAX_RANK], to[PINION_MAX_RANK], steps[PINION_MAX_RANK],
          dims[PINION_MAX_RANK];
  attr_i64s(op, "before", before, PINION_MAX_RANK);
  for (int d = 0; d < x.type.rank; d++) { /* a negative pad crops */
    const int64_t end = before[d] + x.type.dims[d];
    to[d] = before[d] > 0 ? before[d] : 0;
    from[d] = to[d] - before[d];
    dims[d] = (end < y.type.dims[d] ? end : y.type.dims[d]) - to[d];
    if (dims[d] < 0) dims[d] = 0;
    steps[d] = 1;
  }
  fill_view(l, op, &y, has_value ? &value : NULL);
  view_slice(&y, to, steps, dims, &inner);
  view_slice(&x, from, steps, dims, &x);
  copy_view(l, mlirOperationGetLocation(op), &x, &inner);
  return set_result(l, op, &y);
}

/* ---- Elementwise ---- */

/* Does an op after `op` read the carried tensor, through whatever views? */
static bool read_later(MlirValue carried, MlirOperation op) {
  for (MlirOpOperand use = mlirValueGetFirstUse(carried); !mlirOpOperandIsNull(use);
       use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    switch (op_kind_of(user)) {
    case OP_transpose:
    case OP_reshape:
    case OP_slice:
    case OP_broadcast:
      if (read_later(mlirOperationGetResult(user, 0), op)) return true;
      break;
    default:
      if (mlirOperationIsBeforeInBlock(op, user)) return true;
    }
  }
  return false;
}

/* May the op write `to`, the carried tensor's memory? It may if it reads of it just the element that it writes, and
   nothing reads it later. */
static bool may_write_carried(lowering *l, MlirOperation op, const view *to, int count, const view *operands) {
  for (int i = 0; i < count; i++) {
    if (operands[i].buffer != to->buffer) continue;
    view x;
    if (!view_broadcast(&operands[i], to->type.rank, to->type.dims, &x)) return false;
    x.type.dtype = to->type.dtype;
    if (!view_same(&x, to)) return false;
  }
  return !read_later(mlirBlockGetArgument(l->frame->block, 0), op);
}

view place_elementwise(lowering *l, MlirOperation op, intptr_t result, int count, const view *operands) {
  MlirValue value = mlirOperationGetResult(op, result);
  if (!l->frame->carried) return place(l, value);
  const view to = place_carried(l, value);
  if (to.buffer != l->carried_buffer || may_write_carried(l, op, &to, count, operands)) return to;
  return place(l, value);
}

static status elementwise(lowering *l, MlirOperation op, MlirAttribute scalar_body, int count, const view *operands) {
  lowered_launch launch = launch_begin(op, PINION_FAMILY_POINTWISE);
  const tensor_type type = result_type(op);
  launch.body = scalar_body;
  launch.result_count = (int)mlirOperationGetNumResults(op);
  if (launch.result_count + count > PINION_MAX_ARGS)
    return lower_error(l, op, "has more results and operands than a kernel may have arguments");
  launch.space.rank = type.rank;
  memcpy(launch.space.size, type.dims, sizeof launch.space.size);
  for (intptr_t r = 0; r < launch.result_count; r++) {
    const view y = place_elementwise(l, op, r, count, operands);
    space_add(&launch.space, &y);
    map_set(l->c->arena, &l->values, mlirOperationGetResult(op, r), &y);
  }
  for (int i = 0; i < count; i++) {
    view x;
    if (!view_broadcast(&operands[i], type.rank, type.dims, &x))
      return lower_error(l, op, "has an operand that does not broadcast to its result");
    space_add(&launch.space, &x);
  }
  space_simplify(&launch.space, 0, false);
  launch_add(l, &launch);
  return STATUS_OK;
}

/* One core op as a scalar body: `operation` of its operands, those that are one number as literals. */
static status single(lowering *l, MlirOperation op, const char *operation) {
  arena *a = l->c->arena;
  const char *instructions[8];
  view operands[3];
  int count = 0, used = 0;
  const char *line = operation;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue value = mlirOperationGetOperand(op, i);
    tensor_type type;
    double number;
    if (value_splat(value, &number) && value_type(value, &type)) {
      instructions[count] = arena_format(a, "const.%s %.17g", dtype_name(type.dtype), number);
      line = arena_format(a, "%s v%d", line, count++);
      continue;
    }
    const status result = operand_view(l, op, i, &operands[used]);
    if (result != STATUS_OK) return result;
    line = arena_format(a, "%s x%d", line, used++);
  }
  instructions[count] = line;
  instructions[count + 1] = arena_format(a, "yield v%d", count);
  return elementwise(l, op, body_strings(l->c->context, count + 2, instructions), used, operands);
}

static status single_of_kind(lowering *l, MlirOperation op) {
  MlirStringRef kind = attr_str(op, "kind");
  return single(l, op, arena_string(l->c->arena, kind.data, kind.length));
}

status lower_unary(lowering *l, MlirOperation op) {
  return single_of_kind(l, op);
}

status lower_binary(lowering *l, MlirOperation op) {
  return single_of_kind(l, op);
}

status lower_select(lowering *l, MlirOperation op) {
  return single(l, op, "select");
}

status lower_cast(lowering *l, MlirOperation op) {
  return single(l, op, arena_format(l->c->arena, "cast.%s", dtype_name(result_type(op).dtype)));
}

status lower_pointwise(lowering *l, MlirOperation op) {
  view operands[PINION_MAX_ARGS];
  const intptr_t count = mlirOperationGetNumOperands(op);
  if (count > PINION_MAX_ARGS) return lower_error(l, op, "has more operands than a kernel may have arguments");
  for (intptr_t i = 0; i < count; i++) {
    const status result = operand_view(l, op, i, &operands[i]);
    if (result != STATUS_OK) return result;
  }
  MlirAttribute scalar_body = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("body"));
  return elementwise(l, op, scalar_body, (int)count, operands);
}
