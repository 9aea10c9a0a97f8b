/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* y = exp(x - max) / sum over the last dimension; PN_ROW_THREADS threads a row, sums in PN_ACCUMULATOR. */
PN_ENTRY(256) {
  const int row_dimension = PN_RANK - 1;
  const pn_index rows = pn_points(&params, 0, row_dimension);
  const int64_t length = params.size[row_dimension];
  const int64_t y_stride = params.stride[0][row_dimension], x_stride = params.stride[1][row_dimension];
  const int lane = threadIdx.x % PN_ROW_THREADS;
  /* All threads make the same number of rounds, so that the reductions are complete. */
  for (pn_index first = blockIdx.x * (pn_index)PN_ROWS_PER_BLOCK; first < rows;
       first += gridDim.x * (pn_index)PN_ROWS_PER_BLOCK) {
    const pn_index row = first + threadIdx.x / PN_ROW_THREADS;
    const bool active = row < rows;
    pn_index at[PN_RANK];
    pn_coordinates(&params, 0, row_dimension, active ? row : 0, at);
    const int64_t y = pn_offset(&params, 0, 0, row_dimension, at), x = pn_offset(&params, 1, 0, row_dimension, at);
    PN_ACCUMULATOR maximum = -PN_INFINITY, sum = 0;
    if (active)
      for (int64_t i = lane; i < length; i += PN_ROW_THREADS)
        maximum = pn_max(maximum, (PN_ACCUMULATOR)PN_LOAD(1, x + i * x_stride));
    maximum = pn_row_max(maximum);
    if (active)
      for (int64_t i = lane; i < length; i += PN_ROW_THREADS)
        sum += pn_exp((PN_ACCUMULATOR)PN_LOAD(1, x + i * x_stride) - maximum);
    const PN_ACCUMULATOR inverse = pn_inverse(pn_row_sum(sum));
    if (active)
      for (int64_t i = lane; i < length; i += PN_ROW_THREADS)
        PN_STORE(0, y + i * y_stride, pn_exp((PN_ACCUMULATOR)PN_LOAD(1, x + i * x_stride) - maximum) * inverse);
  }
}
