/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* y[b,oy,ox,c,ky,kx] = x[b,c,iy,ix], or 0 outside the image; one thread a point. */
PN_ENTRY(256) {
  const pn_index points = pn_points(&params, 0, PN_RANK);
  const int64_t *integer = params.integer, *stride = params.stride[1];
  for (pn_index point = blockIdx.x * (pn_index)256 + threadIdx.x; point < points; point += gridDim.x * (pn_index)256) {
    pn_index at[PN_RANK];
    pn_coordinates(&params, 0, PN_RANK, point, at);
    const int64_t row = (int64_t)at[1] * integer[0] + (int64_t)at[4] * integer[2] - integer[4];
    const int64_t column = (int64_t)at[2] * integer[1] + (int64_t)at[5] * integer[3] - integer[5];
    const int64_t to = pn_offset(&params, 0, 0, PN_RANK, at);
    if (row >= 0 && row < integer[6] && column >= 0 && column < integer[7])
      PN_STORE(
          0, to,
          PN_LOAD(1, (int64_t)at[0] * stride[0] + (int64_t)at[3] * stride[3] + row * stride[1] + column * stride[2]));
    else
      PN_STORE(0, to, (PN_C0)0);
  }
}
