/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-layernorm: a layer norm between gemms goes into them: its weight and the subtraction of the mean into the next
 * projection's weights, its bias into that one's bias, the row's 1/deviation into that gemm's epilogue, from sums that
 * the gemm before leaves.
 *
 *   x = gemm(..);  z = gemm(norm(x, w, b), W)
 *     becomes   x, s, q = gemm(..) {column_sums = 2};  z = gemm(x, C, b W, s, q) {row_sums = 2}
 *
 * where C is w * W less the mean of each column: (x - mean) (w * W) = x C, for what is the same in all of x meets
 * columns that sum to 0.
 *
 * Requires: what fuse-rmsnorm does. Produces: pinion.gemm. Breaks: nothing.
 *
 * Rounding. The mean could instead be taken off behind the product, by acc - mean * (column sums of w * W): that would
 * subtract numbers which an outlying channel makes large from one another, of which the first was rounded at every
 * term. Here nothing is subtracted. A channel of x, outlying or not, is rounded in proportion to itself, as it would be
 * behind the norm. What is added is the mean's share of x: of numbers of which each is rounded by a part e, of x and
 * of C alike, the error of the result is e * sqrt(1 + (mean / deviation)^2) instead of e. Means of residual streams are
 * well below their deviations. A model whose stream is bf16 itself has this error of x in any case; with float32
 * products it is float32's.
 *
 * The variance is mean(x * x) - mean(x)^2 in float32, with the same factor squared: 1 + (mean / deviation)^2 units of
 * 2^-24.
 */
#include "norm_fold.h"

static bool is_own(const norm_fold *f) {
  (void)f;
  return true;
}

static const char *why_not(const norm_fold *f) {
  if (!f->scale_is_constant) return "its scale is no weight, and so the projection's cannot be centred";
  if (!norm_fold_is_constant(f, f->bias)) return "its bias is no weight";
  return NULL;
}

static status fuse_block(pass_context *context, MlirBlock block) {
  static const norm_rule rule = {.kind = "layer", .is_own = is_own, .why_not = why_not};
  return norm_fold_block(context, block, &rule);
}

status pass_fuse_layernorm(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
