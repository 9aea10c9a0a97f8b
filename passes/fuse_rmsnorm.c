/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-rmsnorm: an RMS norm between gemms goes into them: its constant weight into the next projection's weights, the
 * row's 1/rms into that gemm's epilogue, from sums of squares that the gemm before leaves.
 *
 *   x = gemm(..);  z = gemm(norm(x, w), W)
 *     becomes   x, s = gemm(..) {column_sums = 1};  z = gemm(x, w * W, s) {row_sums = 1}
 *
 * Requires: fuse-epilogue, so that x with its residual is what a gemm yields; fuse-rope-kv and fuse-gate-up before it,
 * which take gemms without sums; before outline-weights, which has w * W computed at compile time. Produces:
 * pinion.gemm. Breaks: nothing.
 *
 * The factor stands in front of all that the epilogue did: bias, rotation, activation. w * W is computed in f32 and
 * rounded once; it takes the place of the rounding of the norm's result. Sums are of x as it is stored. It fires when
 * x is made by one gemm and the norm read by gemms with constant weights alone, be it some of its rows, or cast. Beside
 * the gemm's rows x may have rows that are the same in every step.
 */
#include "norm_fold.h"

/* Others are fuse-adarms's. */
static bool is_own(const norm_fold *f) {
  return f->scale_is_constant && norm_fold_is_constant(f, f->bias);
}

static status fuse_block(pass_context *context, MlirBlock block) {
  static const norm_rule rule = {.kind = "rms", .is_own = is_own};
  return norm_fold_block(context, block, &rule);
}

status pass_fuse_rmsnorm(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
