/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-adarms: an adaptive RMS norm between gemms goes into them. Its scale differs from step to step and hence must
 * not go into the weights, of which there would be as many copies: the gemm before also yields x * scale, and the next
 * one adds the shift's row of its columns.
 *
 *   x = gemm(..);  z = gemm(norm(x, scale, shift), W)
 *     becomes   x, y, s = gemm(.., scale) {column_sums = 1};  z = gemm(y, W, matmul(shift, W), s) {row_sums = 1}
 *
 * Requires: what fuse-rmsnorm does; hoist-tables before it, by which a step's modulation is rows of tables. Produces:
 * pinion.gemm; a matmul of the shift's row in f32, which hoist-tables behind it makes a row of a table [steps, columns]
 * computed at compile time. Breaks: nothing.
 *
 * The gate of the branch is in the epilogue of the gemm that ends it, by fuse-epilogue. It fires where the shift is a
 * row of a table, or constant: for one of any other kind the product by W would be computed at every run.
 */
#include "callers.h"
#include "norm_fold.h"

/* Whether the value is a row of a table of the steps, through reshapes and casts. */
static bool is_table_row(MlirValue value) {
  MlirOperation op;
  while (!mlirOperationIsNull(op = value_definition(value)) &&
         (op_kind_of(op) == OP_reshape || op_kind_of(op) == OP_cast))
    value = mlirOperationGetOperand(op, 0);
  if (!mlirOperationIsNull(op)) return false;
  arena *a = arena_create();
  op_list callers = argument_callers(a, value);
  bool all = callers.count > 0;
  for (int i = 0; all && i < callers.count; i++)
    all = caller_passes_row(callers.ops[i], mlirBlockArgumentGetArgNumber(value));
  arena_destroy(a);
  return all;
}

/* Others are fuse-rmsnorm's. */
static bool is_own(const norm_fold *f) {
  return !f->scale_is_constant || !norm_fold_is_constant(f, f->bias);
}

static const char *why_not(const norm_fold *f) {
  const bool known = norm_fold_is_constant(f, f->bias) || is_table_row(f->bias);
  return known ? NULL : "its shift is no row of a table of the steps";
}

static status fuse_block(pass_context *context, MlirBlock block) {
  static const norm_rule rule = {.kind = "rms", .is_own = is_own, .why_not = why_not};
  return norm_fold_block(context, block, &rule);
}

status pass_fuse_adarms(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
