/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * narrow-operands: under the policy bf16 (attribute `pinion.precision`), what a tensor core multiplies is bf16.
 *
 *   matmul(a, b)          ->  matmul(cast a, cast b), its result still f32: the accumulator itself
 *   conv(x, w, bias)      ->  cast(conv(cast x, cast w, cast bias))
 *   attention(q, k, v)    ->  cast(attention(cast q, cast k, cast v))
 *
 * All else stays as exported: the sums of residual branches, norms, the Euler accumulator.
 *
 * Requires: the recognise passes, which look for uncast products; outline-stages. Produces: casts, each next to where
 * its value is made, in front of reshapes and transposes, so that the op before it computes it in passing; where no op
 * does, as the value is an argument, behind the transposes, which are then the cast's way of reading; norms whose
 * result is bf16. Breaks: nothing.
 */
#include "graph.h"

static bool is_f32(MlirValue value) {
  tensor_type type;
  return value_type(value, &type) && type.dtype == PINION_DTYPE_f32;
}

static bool set_dtype(compilation *c, MlirValue value, pinion_dtype dtype) {
  tensor_type type;
  if (!value_type(value, &type)) return false;
  type.dtype = dtype;
  mlirValueSetType(value, type_make(c->context, &type));
  return true;
}

/* In front of what follows the value's definition. */
static builder builder_behind(compilation *c, MlirValue value) {
  MlirOperation op = value_definition(value);
  if (mlirOperationIsNull(op)) {
    MlirBlock block = mlirBlockArgumentGetOwner(value);
    return builder_before(c, mlirBlockGetFirstOperation(block));
  }
  builder b = builder_before(c, op);
  b.before = mlirOperationGetNextInBlock(op);
  return b;
}

static bool moves_elements(op_kind kind) {
  return kind == OP_reshape || kind == OP_transpose || kind == OP_broadcast || kind == OP_slice;
}

/* Whether no op computes what `value` is made of by moving elements: it is an argument's. */
static bool is_of_argument(MlirValue value) {
  MlirOperation op;
  while (!mlirOperationIsNull(op = value_definition(value)) && moves_elements(op_kind_of(op)))
    value = mlirOperationGetOperand(op, 0);
  return mlirOperationIsNull(op);
}

/* `value` rounded to bf16; null on failure. */
static MlirValue narrow(compilation *c, MlirValue value) {
  MlirOperation op = value_definition(value);
  const op_kind kind = mlirOperationIsNull(op) ? OP_NONE : op_kind_of(op);
  tensor_type source;
  if (kind == OP_cast && value_type(mlirOperationGetOperand(op, 0), &source) && source.dtype == PINION_DTYPE_bf16)
    return mlirOperationGetOperand(op, 0);
  builder b = builder_behind(c, value);
  if (!moves_elements(kind) || (kind == OP_transpose && is_of_argument(value)))
    return build_cast(&b, value, PINION_DTYPE_bf16);
  MlirValue moved = narrow(c, mlirOperationGetOperand(op, 0));
  if (mlirValueIsNull(moved)) return moved;
  MlirOperation clone = mlirOperationClone(op);
  mlirOperationSetOperand(clone, 0, moved);
  mlirOperationRemoveAttributeByName(clone, mlirStringRefCreateFromCString("onnx")); /* the rounded one is another */
  mlirBlockInsertOwnedOperationAfter(mlirOperationGetBlock(op), op, clone);
  MlirValue result = mlirOperationGetResult(clone, 0);
  return set_dtype(c, result, PINION_DTYPE_bf16) ? result : (MlirValue){0};
}

/* The first `count` operands of `op`, all f32, become bf16. */
static bool narrow_operands(compilation *c, MlirOperation op, intptr_t count) {
  for (intptr_t i = 0; i < count; i++) {
    MlirValue narrowed = narrow(c, mlirOperationGetOperand(op, i));
    if (mlirValueIsNull(narrowed)) return false;
    mlirOperationSetOperand(op, i, narrowed);
  }
  return true;
}

/* The op computes bf16, and its readers a cast of it. */
static bool widen_result(compilation *c, MlirOperation op) {
  MlirValue result = mlirOperationGetResult(op, 0);
  if (!set_dtype(c, result, PINION_DTYPE_bf16)) return false;
  builder b = builder_behind(c, result);
  MlirValue wide = build_cast(&b, result, PINION_DTYPE_f32);
  if (mlirValueIsNull(wide)) return false;
  MlirOperation cast = value_definition(wide);
  mlirValueReplaceAllUsesExcept(result, wide, 1, &cast);
  return true;
}

/* How many of its first operands an op multiplies, with what it adds in their type; 0: none of the policy's ops. */
static intptr_t multiplied(MlirOperation op) {
  tensor_type a, b;
  switch (op_kind_of(op)) {
  case OP_matmul:
    return value_type(mlirOperationGetOperand(op, 0), &a) && value_type(mlirOperationGetOperand(op, 1), &b) &&
                   a.rank >= 2 && b.rank >= 2
               ? 2
               : 0;
  case OP_conv: return mlirOperationGetNumOperands(op);
  case OP_attention: return 3;
  default: return 0;
  }
}

static status narrow_op(pass_context *context, MlirOperation op) {
  const intptr_t count = multiplied(op);
  if (!count || !is_f32(mlirOperationGetOperand(op, 0)) || !pass_may_rewrite(context, mlirOperationGetLocation(op)))
    return STATUS_OK;
  context->changes++;
  if (!narrow_operands(context->compilation, op, count)) return STATUS_FAILED;
  return op_kind_of(op) == OP_matmul || widen_result(context->compilation, op) ? STATUS_OK : STATUS_FAILED;
}

/* A norm that is read in bf16 alone is rounded as it is stored. */
static void narrow_norm(compilation *c, MlirOperation norm) {
  MlirValue result = mlirOperationGetResult(norm, 0);
  MlirOpOperand use = mlirValueGetFirstUse(result);
  if (!is_f32(result) || mlirOpOperandIsNull(use)) return;
  MlirOperation cast = mlirOpOperandGetOwner(use);
  tensor_type type;
  if (!value_has_one_use(result) || op_kind_of(cast) != OP_cast ||
      !value_type(mlirOperationGetResult(cast, 0), &type) || type.dtype != PINION_DTYPE_bf16)
    return;
  set_dtype(c, result, PINION_DTYPE_bf16);
  value_replace(mlirOperationGetResult(cast, 0), result);
  op_erase(cast);
}

static status narrow_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) code = narrow_op(context, ops.ops[i]);
  if (code == STATUS_OK && context->changes) {
    block_erase_dead(block);
    block_merge_common(context, block); /* one cast for all readers of a value */
    ops = block_ops(a, block);
    for (int i = 0; i < ops.count; i++)
      if (op_kind_of(ops.ops[i]) == OP_norm) narrow_norm(context->compilation, ops.ops[i]);
  }
  arena_destroy(a);
  return code;
}

status pass_narrow_operands(pass_context *context, MlirModule module) {
  if (!attr_str_is(mlirModuleGetOperation(module), "pinion.precision", "bf16")) return STATUS_OK;
  return each_run_block(context, module, narrow_block);
}
