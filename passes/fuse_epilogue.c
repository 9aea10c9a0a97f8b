/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-epilogue: the elementwise op that reads a matmul's result is computed where the product is: bias, activation,
 * gate, residual, scale and cast.
 *
 *   pointwise(matmul a b, bias)  ->  gemm(a, b, bias) {body = ["add x0 x1", "yield v0"]}
 *
 * Requires: fuse-pointwise (whole trees). Produces: pinion.gemm. Breaks: patterns that begin at a matmul.
 *
 * It fires when nothing else reads the product, which is not one of weights alone, and the op has its shape. Where an
 * op reads two products (gate times up), the later one takes it. A product of bf16 or f16 keeps its rounding, as a cast
 * at the head of the body: what the graph computed does not change.
 */
#include "pointwise_body.h"

enum { RESULTS = 1, MATRICES = 2, ACCUMULATORS = 1 };

static bool only_user_is(MlirValue value, MlirOperation user) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
    if (!mlirOperationEqual(mlirOpOperandGetOwner(use), user)) return false;
  return true;
}

static bool same_shape(MlirValue a, MlirValue b) {
  tensor_type x, y;
  if (!value_type(a, &x) || !value_type(b, &y)) return false;
  x.dtype = y.dtype;
  return type_equal(&x, &y);
}

/* A product of matrices that only `op` reads, in op's shape. */
static bool may_take(MlirOperation matmul, MlirOperation op) {
  tensor_type a, b;
  MlirValue product = mlirOperationGetResult(matmul, 0);
  return value_type(mlirOperationGetOperand(matmul, 0), &a) && value_type(mlirOperationGetOperand(matmul, 1), &b) &&
         a.rank >= 2 && b.rank >= 2 && dtype_is_float(a.dtype) && same_shape(product, mlirOperationGetResult(op, 0)) &&
         only_user_is(product, op);
}

/* The last matmul that can take `op`: a later one, because all of op's other operands exist where op stands. */
static MlirOperation find_matmul(const pointer_map *positions, const bool *from_weights, MlirOperation op) {
  MlirOperation best = {0};
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirOperation matmul = value_defined_by(mlirOperationGetOperand(op, i), OP_matmul);
    if (mlirOperationIsNull(matmul) || !may_take(matmul, op)) continue;
    const int64_t at = pointer_map_get(positions, matmul.ptr);
    if (from_weights[at]) continue;
    if (mlirOperationIsNull(best) || at > pointer_map_get(positions, best.ptr)) best = matmul;
  }
  return best;
}

static bool epilogue_body(compilation *c, MlirOperation matmul, MlirOperation op, pointwise_body *out_body) {
  MlirValue product = mlirOperationGetResult(matmul, 0);
  tensor_type type;
  value_type(product, &type);
  pinion_dtype accumulator = type.dtype == PINION_DTYPE_f64 ? PINION_DTYPE_f64 : PINION_DTYPE_f32;
  pointwise_body_begin(out_body, c, PINION_MAX_ARGS - RESULTS - MATRICES + ACCUMULATORS);
  return pointwise_body_accumulator(out_body, product, accumulator, type.dtype) &&
         pointwise_body_add(out_body, op, true) && pointwise_body_end(out_body, mlirOperationGetResult(op, 0));
}

static status build_gemm(pass_context *context, MlirOperation matmul, MlirOperation op, pointwise_body *built) {
  compilation *c = context->compilation;
  MlirLocation parts[] = {mlirOperationGetLocation(matmul), mlirOperationGetLocation(op)};
  MlirLocation joined = location_fuse(c->context, 2, parts);
  if (!pass_may_rewrite(context, joined)) return STATUS_OK;
  MlirValue operands[PINION_MAX_ARGS] = {mlirOperationGetOperand(matmul, 0), mlirOperationGetOperand(matmul, 1)};
  int extra = built->body.input_count - ACCUMULATORS;
  for (int i = 0; i < extra; i++) operands[MATRICES + i] = built->inputs[ACCUMULATORS + i];
  MlirNamedAttribute attributes[] = {make_named(c->context, "body", body_attribute(c->context, &built->body)),
                                     make_named(c->context, "transpose_b", make_bool(c->context, false))};
  builder b = builder_before(c, op);
  b.location = joined;
  MlirType type = mlirValueGetType(mlirOperationGetResult(op, 0));
  MlirOperation gemm = build_op(&b, OP_gemm, MATRICES + extra, operands, 2, attributes, 1, &type);
  if (mlirOperationIsNull(gemm)) return STATUS_FAILED;
  op_copy_identity(op, gemm);
  value_replace(mlirOperationGetResult(op, 0), mlirOperationGetResult(gemm, 0));
  op_erase(op);
  op_erase(matmul);
  context->changes++;
  return STATUS_OK;
}

static status fuse_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  pointer_map positions = op_positions(a, &ops);
  const bool *from_weights = ops_from_weights(a, &ops, &positions);
  pointwise_body *built = arena_alloc(a, sizeof *built);
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    MlirOperation op = ops.ops[i]; /* what a fusion erases stands here or before */
    if (!op_is_elementwise(op) || mlirOperationGetNumResults(op) != 1) continue;
    MlirOperation matmul = find_matmul(&positions, from_weights, op);
    if (mlirOperationIsNull(matmul)) continue;
    if (!epilogue_body(context->compilation, matmul, op, built)) {
      pass_missed(context, mlirOperationGetLocation(op), "the epilogue has too many operands or instructions");
      continue;
    }
    code = build_gemm(context, matmul, op, built);
  }
  arena_destroy(a);
  return code;
}

status pass_fuse_epilogue(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
