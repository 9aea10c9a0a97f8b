/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* r... = body(x...) at every point, one thread a point. */
PN_ENTRY(256) {
  const pn_index points = pn_points(&params, 0, PN_RANK);
  for (pn_index point = blockIdx.x * (pn_index)256 + threadIdx.x; point < points; point += gridDim.x * (pn_index)256) {
    pn_index at[PN_RANK + 1];
    pn_coordinates(&params, 0, PN_RANK, point, at);
    PN_RUN_BODY
  }
}
