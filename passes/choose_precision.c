/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * choose-precision: applies the policy that the module's attribute `pinion.precision` names.
 *
 *   as-exported  (or no attribute) nothing changes: tensors keep the types that the exporter gave them
 *   float32      every bf16 and f16 tensor inside the graph becomes f32; weights are widened once, at compile time
 *   bf16         narrow-operands acts on it, where products and attention are single ops; drop-roundings, on fused ops
 *
 * Inputs and outputs of the model keep their types under every policy.
 *
 * Requires: one function, @main, of core and fused ops, before outlining. Produces: casts that fold-constants and
 * outline-weights take away from weights and constants. Breaks: activations in single ops, whose numbers the exporter
 * rounded to the narrow type: recognise-activation comes before, or float32 computes them with the rounded numbers.
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
  if (!pass_may_rewrite(context, mlirOperationGetLocation(terminator))) return STATUS_OK; /* all types, or none */
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

status pass_choose_precision(pass_context *context, MlirModule module) {
  MlirOperation module_op = mlirModuleGetOperation(module), main = module_function(module, "main");
  MlirStringRef policy = attr_str(module_op, "pinion.precision");
  if (!policy.length || attr_str_is(module_op, "pinion.precision", "as-exported") || mlirOperationIsNull(main))
    return STATUS_OK;
  if (attr_str_is(module_op, "pinion.precision", "float32")) return to_float32(context, function_body(main));
  if (attr_str_is(module_op, "pinion.precision", "bf16")) return STATUS_OK;
  return diagnose(&context->compilation->diagnostics, STATUS_USAGE, NULL, NULL,
                  "there is no precision policy '%.*s'; there are as-exported, float32 and bf16", (int)policy.length,
                  policy.data);
}
