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
 * x is made by one gemm and the norm read by gemms with constant weights alone, be it some of its rows, or cast.
 *
 * A layer norm stays: rstd * (x W - mean * (column sums of W)) subtracts two numbers that grow with the mean and with
 * outlying channels of x, which vision towers have, while their difference does not: what a bf16 product rounds away
 * of the first is as large as the result. Subtracting the mean before the product is what the norm's own launch does.
 */
#include "norm_fold.h"

static status fuse_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  pointer_map positions = op_positions(a, &ops);
  norm_fold f = {.context = context, .positions = &positions, .from_weights = ops_from_weights(a, &ops, &positions)};
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    if (!norm_fold_read(&f, ops.ops[i])) continue;
    if (!f.scale_is_constant || !norm_fold_is_constant(&f, f.bias)) continue; /* fuse-adarms */
    const char *why = norm_fold_why_not(&f);
    if (!why)
      code = norm_fold_apply(&f);
    else
      pass_missed(context, mlirOperationGetLocation(f.norm), "%s", why);
  }
  if (code == STATUS_OK) block_erase_dead(block);
  arena_destroy(a);
  return code;
}

status pass_fuse_rmsnorm(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
