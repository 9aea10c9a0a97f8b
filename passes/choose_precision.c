/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * choose-precision: applies the policy that the module's attribute `pinion.precision` names.
 *
 *   as-exported  (or no attribute) nothing changes: tensors keep the types that the exporter gave them
 *   float32      every bf16 and f16 tensor inside the graph becomes f32; weights are widened once, at compile time
 *   bf16         the operands of every f32 matmul are rounded to bf16; accumulation, results and all else stay as
 * exported
 *
 * Inputs and outputs of the model keep their types under every policy.
 *
 * Requires: one function, @main, of core and fused ops, before outlining. Produces: casts that fold-constants and
 * outline-weights take away from weights and constants. Breaks: nothing.
 */
#include "pass.h"

#include <string.h>

static bool is_half(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_bf16 || dtype == PINION_DTYPE_f16;
}

static builder builder_after(compilation *c, MlirOperation op) {
  builder b = builder_before(c, op);
  b.before = mlirOperationGetNextInBlock(op);
  return b;
}

/* ---- float32 ---- */

/* All uses of `value`, but not its widening, see it as f32. */
static bool widen_uses(builder *b, MlirValue value) {
  MlirValue wide = build_cast(b, value, PINION_DTYPE_f32);
  if (mlirValueIsNull(wide)) return false;
  MlirOperation cast = value_definition(wide);
  mlirValueReplaceAllUsesExcept(value, wide, 1, &cast);
  return true;
}

/* A weight or constant is what its bytes are: it gets a cast. Any other result simply changes its type. */
static bool widen_results(pass_context *context, MlirOperation op) {
  op_kind kind = op_kind_of(op);
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++) {
    MlirValue result = mlirOperationGetResult(op, i);
    tensor_type type;
    if (!value_type(result, &type) || !is_half(type.dtype)) continue;
    context->changes++;
    if (kind == OP_weight || kind == OP_constant) {
      builder b = builder_after(context->compilation, op);
      if (!widen_uses(&b, result)) return false;
    } else {
      type.dtype = PINION_DTYPE_f32;
      mlirValueSetType(result, type_make(context->compilation->context, &type));
    }
  }
  return true;
}

static bool widen_arguments(pass_context *context, MlirBlock body) {
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(body); i++) {
    MlirValue argument = mlirBlockGetArgument(body, i);
    tensor_type type;
    if (!value_type(argument, &type) || !is_half(type.dtype) || value_is_unused(argument)) continue;
    builder b = builder_before(context->compilation, mlirBlockGetFirstOperation(body));
    if (!widen_uses(&b, argument)) return false;
  }
  return true;
}

/* The types that @main returned before, in the order of its results. */
static bool narrow_returns(pass_context *context, MlirOperation terminator, const tensor_type *declared) {
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(terminator); i++) {
    MlirValue value = mlirOperationGetOperand(terminator, i);
    tensor_type type;
    if (!value_type(value, &type) || type_equal(&type, &declared[i])) continue;
    builder b = builder_before(context->compilation, terminator);
    MlirValue narrow = build_cast(&b, value, declared[i].dtype);
    if (mlirValueIsNull(narrow)) return false;
    mlirOperationSetOperand(terminator, i, narrow);
  }
  return true;
}

static status to_float32(pass_context *context, MlirBlock body) {
  MlirOperation terminator = block_terminator(body);
  intptr_t count = mlirOperationGetNumOperands(terminator);
  tensor_type *declared = arena_alloc(context->compilation->arena, (size_t)(count + 1) * sizeof *declared);
  for (intptr_t i = 0; i < count; i++)
    if (!value_type(mlirOperationGetOperand(terminator, i), &declared[i])) return STATUS_FAILED;
  MlirOperation next, op = mlirBlockGetFirstOperation(body);
  if (!widen_arguments(context, body)) return STATUS_FAILED;
  for (; !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    if (!widen_results(context, op)) return STATUS_FAILED;
  }
  return narrow_returns(context, terminator, declared) ? STATUS_OK : STATUS_FAILED;
}

/* ---- bf16 ---- */

static MlirAttribute yield_accumulator(MlirContext context) {
  MlirAttribute yield = make_str(context, "yield x0");
  return mlirArrayAttrGet(context, 1, &yield);
}

/* matmul of f32 -> gemm of bf16 operands with an f32 result: the accumulator itself. */
static bool narrow_matmul(pass_context *context, MlirOperation op) {
  MlirValue result = mlirOperationGetResult(op, 0);
  tensor_type type;
  if (!value_type(result, &type) || type.dtype != PINION_DTYPE_f32) return true;
  tensor_type a, b_type;
  if (!value_type(op_operand(op, "a"), &a) || !value_type(op_operand(op, "b"), &b_type) || a.rank < 2 ||
      b_type.rank < 2)
    return true;
  compilation *c = context->compilation;
  builder b = builder_before(c, op);
  MlirValue operands[] = {build_cast(&b, op_operand(op, "a"), PINION_DTYPE_bf16),
                          build_cast(&b, op_operand(op, "b"), PINION_DTYPE_bf16)};
  if (mlirValueIsNull(operands[0]) || mlirValueIsNull(operands[1])) return false;
  MlirNamedAttribute attributes[] = {make_named(c->context, "body", yield_accumulator(c->context)),
                                     make_named(c->context, "transpose_b", make_bool(c->context, false))};
  MlirType declared = mlirValueGetType(result);
  MlirOperation gemm = build_op(&b, OP_gemm, 2, operands, 2, attributes, 1, &declared);
  if (mlirOperationIsNull(gemm)) return false;
  value_replace(result, mlirOperationGetResult(gemm, 0));
  op_erase(op);
  context->changes++;
  return true;
}

static status to_bf16(pass_context *context, MlirBlock body) {
  MlirOperation next;
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    if (op_kind_of(op) == OP_matmul && !narrow_matmul(context, op)) return STATUS_FAILED;
  }
  return STATUS_OK;
}

status pass_choose_precision(pass_context *context, MlirModule module) {
  MlirOperation module_op = mlirModuleGetOperation(module), main = module_function(module, "main");
  MlirStringRef policy = attr_str(module_op, "pinion.precision");
  if (!policy.length || attr_str_is(module_op, "pinion.precision", "as-exported") || mlirOperationIsNull(main))
    return STATUS_OK;
  if (attr_str_is(module_op, "pinion.precision", "float32")) return to_float32(context, function_body(main));
  if (attr_str_is(module_op, "pinion.precision", "bf16")) return to_bf16(context, function_body(main));
  return diagnose(&context->compilation->diagnostics, STATUS_USAGE, NULL, NULL,
                  "there is no precision policy '%.*s'; there are as-exported, float32 and bf16", (int)policy.length,
                  policy.data);
}
