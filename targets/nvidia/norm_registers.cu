/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A norm as in norm.cu, its row in the registers of a warp: read once, eight elements at a time. PN_LENGTH, a multiple of
 * eight, is compiled in; all arguments' rows lie whole, at multiples of 16 bytes.
 */
#define CHUNKS ((PN_LENGTH / 8 + 31) / 32)

PN_INLINE float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes; lanes >>= 1) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

#define ELEMENT(i, eight, e) PN_PASTE(pn_load_, PN_T##i)((eight).part, e)
/* This lane's elements of argument i's row, as they lie in memory. */
#define LOAD_ROW(i, out)                                                                                               \
  pn_eight out[CHUNKS];                                                                                                \
  {                                                                                                                    \
    const int64_t row_at = pn_offset(&params, i, 0, row_dimension, at);                                                \
    _Pragma("unroll") for (int c = 0; c < CHUNKS; c++) if (lane + 32 * c < PN_LENGTH / 8)                              \
        pn_load_eight<PN_PASTE(pn_storage_, PN_T##i)>(&out[c], arguments.pointer[i], row_at + (lane + 32 * c) * 8);    \
  }

PN_INLINE void normalise(float x[][8], int lane, double epsilon) {
  float mean = 0, squares = 0;
#ifdef PN_KIND_layer
#pragma unroll
  for (int c = 0; c < CHUNKS; c++)
#pragma unroll
    for (int e = 0; e < 8; e++) mean += x[c][e];
  mean = warp_sum(mean) / PN_LENGTH;
#endif
#pragma unroll
  for (int c = 0; c < CHUNKS; c++)
#pragma unroll
    for (int e = 0; e < 8; e++) {
      x[c][e] -= mean;
      if (lane + 32 * c < PN_LENGTH / 8) squares += x[c][e] * x[c][e];
    }
  const float scale = pn_rsqrt((float)(warp_sum(squares) / PN_LENGTH + (float)epsilon));
#pragma unroll
  for (int c = 0; c < CHUNKS; c++)
#pragma unroll
    for (int e = 0; e < 8; e++) x[c][e] *= scale;
}

PN_ENTRY(PN_BLOCK_THREADS) {
  const int row_dimension = PN_RANK - 1, lane = threadIdx.x % 32;
  const pn_index rows = pn_points(&params, 0, row_dimension), together = gridDim.x * (PN_BLOCK_THREADS / 32);
#pragma unroll 1
  for (pn_index row = blockIdx.x * (PN_BLOCK_THREADS / 32) + threadIdx.x / 32; row < rows; row += together) {
    float x[CHUNKS][8] = {};
    pn_index at[PN_RANK];
    pn_coordinates(&params, 0, row_dimension, row, at);
    LOAD_ROW(1, loaded) /* all are asked for before the first is used */
#if PN_OPERANDS > 1
    LOAD_ROW(2, factor)
#endif
#if PN_OPERANDS > 2
    LOAD_ROW(3, bias)
#endif
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
#pragma unroll
      for (int e = 0; e < 8 && lane + 32 * c < PN_LENGTH / 8; e++) x[c][e] = ELEMENT(1, loaded[c], e);
    normalise(x, lane, params.scalar[0]);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      const int column = (lane + 32 * c) * 8;
      if (column >= PN_LENGTH) continue;
#if PN_OPERANDS > 1
#pragma unroll
      for (int e = 0; e < 8; e++) x[c][e] *= ELEMENT(2, factor[c], e);
#endif
#if PN_OPERANDS > 2
#pragma unroll
      for (int e = 0; e < 8; e++) x[c][e] += ELEMENT(3, bias[c], e);
#endif
      pn_eight y;
#pragma unroll
      for (int e = 0; e < 8; e++) PN_PASTE(pn_store_, PN_T0)(y.part, e, x[c][e]);
      pn_store_eight<PN_PASTE(pn_storage_, PN_T0)>(&y, arguments.pointer[0],
                                                   pn_offset(&params, 0, 0, row_dimension, at) + column);
    }
  }
}
