/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * raise-views: what only shapes the result of an elementwise op is done to its operands, so that no buffer stands
 * between the op and those that read it.
 *
 *   reshape(f(x, y))        ->  f(reshape(x), reshape(y))      dimensions of size 1 alone come and go
 *   concat(f(x, c), same)   ->  f(x, concat(c, c))             x does not vary along the axis, c is constant
 *
 * Requires: the recognise passes; before fuse-pointwise, which does not look through either. Produces: core ops.
 * Breaks: nothing.
 *
 * So the positions of tokens, and the angles of each, which exporters write twice into a row, are computed where their
 * sine and cosine are. It fires where elementwise ops alone read the result; a reshape stays behind what a product
 * feeds, for that goes into the product's epilogue.
 */
#include "pointwise_body.h"

typedef struct raising {
  pass_context *context;
  pointer_map positions;
  const bool *from_weights; /* per position */
} raising;

static bool is_from_weights(const raising *r, MlirValue value) {
  const int64_t at = value_position(&r->positions, value);
  return at >= 0 && r->from_weights[at];
}

/* What a rewrite left without readers, until the block is cleaned up. */
static bool is_dead(MlirOperation op) {
  return op_is_elementwise(op) && value_is_unused(mlirOperationGetResult(op, 0));
}

/* The elementwise op of one result, read by `reader` alone (through one operand or several), that makes a value; else
   null. */
static MlirOperation made_for(MlirValue value, MlirOperation reader) {
  MlirOperation op = value_definition(value);
  if (mlirOperationIsNull(op) || !op_is_elementwise(op) || mlirOperationGetNumResults(op) != 1)
    return (MlirOperation){0};
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (!mlirOperationEqual(user, reader) && !is_dead(user)) return (MlirOperation){0};
  }
  return op;
}

/* It is read, and by elementwise ops alone. */
static bool feeds_elementwise_ops(MlirOperation op) {
  MlirValue value = mlirOperationGetResult(op, 0);
  return !value_is_unused(value) && elementwise_ops_read(value);
}

/* `op` takes over from `view`: `made`, a clone of the op in front of it, has other operands and the view's shape. */
static void replace_view(const raising *r, MlirOperation view, MlirOperation op, const MlirValue *operands) {
  MlirOperation made = mlirOperationClone(op);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(made); i++) mlirOperationSetOperand(made, i, operands[i]);
  mlirOperationRemoveAttributeByName(made, mlirStringRefCreateFromCString("onnx"));
  mlirValueSetType(mlirOperationGetResult(made, 0), mlirValueGetType(mlirOperationGetResult(view, 0)));
  const MlirLocation parts[] = {mlirOperationGetLocation(op), mlirOperationGetLocation(view)};
  mlirOperationSetLocation(made, location_fuse(r->context->compilation->context, 2, parts));
  mlirBlockInsertOwnedOperationBefore(mlirOperationGetBlock(view), view, made);
  op_copy_identity(view, made);
  value_replace(mlirOperationGetResult(view, 0), mlirOperationGetResult(made, 0));
  r->context->changes++;
}

static bool may_raise(const raising *r, MlirOperation view, MlirOperation op) {
  const MlirLocation parts[] = {mlirOperationGetLocation(op), mlirOperationGetLocation(view)};
  return pass_may_rewrite(r->context, location_fuse(r->context->compilation->context, 2, parts));
}

/* ---- reshape ---- */

/* For each dimension of `to` that is not 1, which one of `from` it is; -1 for the others. False if more than dimensions
   of size 1 differ. */
static bool match_dimensions(const tensor_type *from, const tensor_type *to, int *out_source) {
  int at = 0;
  for (int d = 0; d < to->rank; d++) {
    out_source[d] = -1;
    if (to->dims[d] == 1) continue;
    while (at < from->rank && from->dims[at] == 1) at++;
    if (at == from->rank || from->dims[at] != to->dims[d]) return false;
    out_source[d] = at++;
  }
  while (at < from->rank && from->dims[at] == 1) at++;
  return at == from->rank;
}

static bool is_product(MlirValue value) {
  MlirOperation op = value_definition(value);
  const op_kind kind = mlirOperationIsNull(op) ? OP_NONE : op_kind_of(op);
  return kind == OP_matmul || kind == OP_gemm || kind == OP_conv;
}

/* An operand of an op of type `from`, as one of the op in the shape `to`; null on failure. */
static MlirValue raised_operand(builder *b, MlirValue x, const tensor_type *from, const tensor_type *to,
                                const int *source) {
  const tensor_type type = tensor_type_of(x);
  if (type_elements(&type) == 1 && type.rank <= to->rank) return x;
  int64_t dims[PINION_MAX_RANK];
  for (int d = 0; d < to->rank; d++) {
    const int own = source[d] - (from->rank - type.rank); /* operands' last dimensions are the result's */
    dims[d] = source[d] >= 0 && own >= 0 ? type.dims[own] : 1;
  }
  return build_reshape(b, x, to->rank, dims);
}

static status raise_reshape(const raising *r, MlirOperation reshape) {
  MlirValue before = mlirOperationGetOperand(reshape, 0);
  MlirOperation op = made_for(before, reshape);
  int source[PINION_MAX_RANK];
  const tensor_type from = tensor_type_of(before), to = tensor_type_of(mlirOperationGetResult(reshape, 0));
  if (mlirOperationIsNull(op) || mlirOperationGetNumOperands(op) > PINION_MAX_ARGS || is_from_weights(r, before) ||
      !feeds_elementwise_ops(reshape) || !match_dimensions(&from, &to, source))
    return STATUS_OK;
  const intptr_t count = mlirOperationGetNumOperands(op);
  for (intptr_t i = 0; i < count; i++)
    if (is_product(mlirOperationGetOperand(op, i))) return STATUS_OK;
  if (!may_raise(r, reshape, op)) return STATUS_OK;
  MlirValue operands[PINION_MAX_ARGS] = {{0}};
  builder b = builder_before(r->context->compilation, reshape);
  for (intptr_t i = 0; i < count; i++) {
    operands[i] = raised_operand(&b, mlirOperationGetOperand(op, i), &from, &to, source);
    if (mlirValueIsNull(operands[i])) return STATUS_FAILED;
  }
  replace_view(r, reshape, op, operands);
  op_erase(reshape); /* which leaves the op dead: its operands may be raised over */
  status code = STATUS_OK;
  for (intptr_t i = 0; i < count && code == STATUS_OK; i++) {
    MlirOperation next = value_defined_by(operands[i], OP_reshape);
    if (!mlirOperationIsNull(next) && value_position(&r->positions, operands[i]) < 0) code = raise_reshape(r, next);
  }
  return code;
}

/* ---- concat ---- */

/* The one value that the concat repeats; null if it joins several. */
static MlirValue repeated_value(MlirOperation concat) {
  MlirValue value = mlirOperationGetOperand(concat, 0);
  for (intptr_t i = 1; i < mlirOperationGetNumOperands(concat); i++)
    if (!mlirValueEqual(value, mlirOperationGetOperand(concat, i))) return (MlirValue){0};
  return value;
}

/* Along which of its dimensions an operand varies where the result of rank `rank` has `axis`; -1: along none. */
static int axis_of_operand(MlirValue x, int rank, int64_t axis) {
  const tensor_type type = tensor_type_of(x);
  const int own = (int)axis - (rank - type.rank);
  return own >= 0 && type.dims[own] != 1 ? own : -1;
}

static MlirValue repeated(builder *b, MlirValue value, intptr_t count, int64_t axis) {
  MlirValue *parts = arena_alloc(b->compilation->arena, (size_t)count * sizeof *parts);
  for (intptr_t i = 0; i < count; i++) parts[i] = value;
  return build_concat(b, (int)count, parts, axis);
}

static status raise_concat(const raising *r, MlirOperation concat) {
  MlirValue value = repeated_value(concat);
  if (mlirValueIsNull(value) || is_from_weights(r, value) || !feeds_elementwise_ops(concat)) return STATUS_OK;
  MlirOperation op = made_for(value, concat);
  if (mlirOperationIsNull(op) || mlirOperationGetNumOperands(op) > PINION_MAX_ARGS) return STATUS_OK;
  const int64_t axis = attr_i64(concat, "axis", 0);
  const int rank = tensor_type_of(value).rank;
  if (tensor_type_of(value).dims[axis] == 1) return STATUS_OK;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue x = mlirOperationGetOperand(op, i);
    if (axis_of_operand(x, rank, axis) < 0 || is_from_weights(r, x)) continue;
    pass_missed(r->context, mlirOperationGetLocation(concat), "what it repeats varies along the axis with no constant");
    return STATUS_OK;
  }
  if (!may_raise(r, concat, op)) return STATUS_OK;
  MlirValue operands[PINION_MAX_ARGS] = {{0}};
  builder b = builder_before(r->context->compilation, concat);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    operands[i] = mlirOperationGetOperand(op, i);
    const int own = axis_of_operand(operands[i], rank, axis);
    if (own >= 0) operands[i] = repeated(&b, operands[i], mlirOperationGetNumOperands(concat), own);
    if (mlirValueIsNull(operands[i])) return STATUS_FAILED;
  }
  replace_view(r, concat, op, operands);
  return STATUS_OK;
}

/* ---- All views of a block ---- */

static status raise_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  raising r = {.context = context, .positions = op_positions(a, &ops)};
  r.from_weights = ops_from_weights(a, &ops, &r.positions);
  status code = STATUS_OK;
  for (int i = ops.count - 1; i >= 0 && code == STATUS_OK; i--) {
    if (op_kind_of(ops.ops[i]) == OP_reshape)
      code = raise_reshape(&r, ops.ops[i]);
    else if (op_kind_of(ops.ops[i]) == OP_concat)
      code = raise_concat(&r, ops.ops[i]);
  }
  arena_destroy(a);
  if (code == STATUS_OK) block_erase_dead(block);
  return code;
}

status pass_raise_views(pass_context *context, MlirModule module) {
  return each_run_block(context, module, raise_block);
}
