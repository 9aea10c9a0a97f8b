/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * layer: y = (x - mean) / sqrt(variance + epsilon) * scale + bias;  rms: y = x / sqrt(mean(x^2) + epsilon) * scale +
 * bias over the last dimension. The variance is taken around the mean, in a pass of its own: E[x^2] - mean^2 cancels.
 */
#ifdef PN_KIND_layer
#define PN_CENTRED(x, mean) ((x) - (mean))
#else
#define PN_CENTRED(x, mean) (x)
#endif
PN_ENTRY(256) {
  const int row_dimension = PN_RANK - 1;
  const pn_index rows = pn_points(&params, 0, row_dimension);
  const int64_t length = params.size[row_dimension];
  const int64_t x_stride = params.stride[1][row_dimension];
  const int lane = threadIdx.x % PN_ROW_THREADS;
  for (pn_index first = blockIdx.x * (pn_index)PN_ROWS_PER_BLOCK; first < rows;
       first += gridDim.x * (pn_index)PN_ROWS_PER_BLOCK) {
    const pn_index row = first + threadIdx.x / PN_ROW_THREADS;
    const bool active = row < rows;
    pn_index at[PN_RANK];
    pn_coordinates(&params, 0, row_dimension, active ? row : 0, at);
    const int64_t x = pn_offset(&params, 1, 0, row_dimension, at);
    PN_ACCUMULATOR mean = 0, squares = 0;
#ifdef PN_KIND_layer
    if (active)
      for (int64_t i = lane; i < length; i += PN_ROW_THREADS) mean += (PN_ACCUMULATOR)PN_LOAD(1, x + i * x_stride);
    mean = pn_row_sum(mean) / (PN_ACCUMULATOR)length;
#endif
    if (active)
      for (int64_t i = lane; i < length; i += PN_ROW_THREADS) {
        const PN_ACCUMULATOR centred = PN_CENTRED((PN_ACCUMULATOR)PN_LOAD(1, x + i * x_stride), mean);
        squares += centred * centred;
      }
    squares = pn_row_sum(squares);
    const PN_ACCUMULATOR row_scale = pn_rsqrt(squares / (PN_ACCUMULATOR)length + (PN_ACCUMULATOR)params.scalar[0]);
    if (active)
      for (int64_t i = lane; i < length; i += PN_ROW_THREADS) {
        at[row_dimension] = (pn_index)i;
        PN_ACCUMULATOR y = PN_CENTRED((PN_ACCUMULATOR)PN_LOAD(1, x + i * x_stride), mean) * row_scale;
#if PN_OPERANDS > 1
        y *= (PN_ACCUMULATOR)PN_LOAD(2, pn_offset(&params, 2, 0, PN_RANK, at));
#endif
#if PN_OPERANDS > 2
        y += (PN_ACCUMULATOR)PN_LOAD(3, pn_offset(&params, 3, 0, PN_RANK, at));
#endif
        PN_STORE(0, pn_offset(&params, 0, 0, PN_RANK, at), y);
      }
  }
}
