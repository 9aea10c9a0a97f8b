/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Running sums along the last dimension: a warp a row, 32 elements a round; integer[0] = 1 leaves each element's own
 * out. */
PN_ENTRY(256) {
  const int row_dimension = PN_RANK - 1;
  const pn_index rows = pn_points(&params, 0, row_dimension);
  const int64_t length = params.size[row_dimension];
  const int64_t y_stride = params.stride[0][row_dimension], x_stride = params.stride[1][row_dimension];
  const int lane = threadIdx.x % 32;
  const bool exclusive = params.integer[0] == 1;
  for (pn_index row = blockIdx.x * (pn_index)8 + threadIdx.x / 32; row < rows; row += gridDim.x * (pn_index)8) {
    pn_index at[PN_RANK];
    pn_coordinates(&params, 0, row_dimension, row, at);
    const int64_t y = pn_offset(&params, 0, 0, row_dimension, at), x = pn_offset(&params, 1, 0, row_dimension, at);
    PN_ACCUMULATOR before = 0; /* sum of the earlier rounds */
    for (int64_t start = 0; start < length; start += 32) {
      const int64_t i = start + lane;
      const PN_ACCUMULATOR own = i < length ? (PN_ACCUMULATOR)PN_LOAD(1, x + i * x_stride) : 0;
      PN_ACCUMULATOR sum = own;
      for (int distance = 1; distance < 32; distance <<= 1) {
        const PN_ACCUMULATOR lower = __shfl_up_sync(0xffffffffu, sum, distance);
        if (lane >= distance) sum += lower;
      }
      PN_ACCUMULATOR preceding = __shfl_up_sync(0xffffffffu, sum, 1);
      if (lane == 0) preceding = 0;
      if (i < length) PN_STORE(0, y + i * y_stride, before + (exclusive ? preceding : sum));
      before += __shfl_sync(0xffffffffu, sum, 31);
    }
  }
}
