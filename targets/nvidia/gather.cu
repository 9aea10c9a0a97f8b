/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* y[o,i,n] = x[o,index[i],n], one thread a point; the index replaces the coordinate of dimension integer[1]. */
PN_ENTRY(256) {
  const pn_index points = pn_points(&params, 0, PN_RANK);
  const int64_t axis_size = params.integer[0], axis = params.integer[1];
  for (pn_index point = blockIdx.x * (pn_index)256 + threadIdx.x; point < points; point += gridDim.x * (pn_index)256) {
    pn_index at[PN_RANK + 1];
    pn_coordinates(&params, 0, PN_RANK, point, at);
    int64_t index = PN_LOAD(2, pn_offset(&params, 2, 0, PN_RANK, at));
    if (index < 0) index += axis_size;
    index = index < 0 ? 0 : index >= axis_size ? axis_size - 1 : index;
    int64_t from = 0;
#pragma unroll
    for (int d = 0; d < PN_RANK; d++) from += (d == axis ? index : (int64_t)at[d]) * params.stride[1][d];
    PN_STORE(0, pn_offset(&params, 0, 0, PN_RANK, at), PN_LOAD(1, from));
  }
}
