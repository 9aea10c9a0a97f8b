/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * gemm by fused multiply-adds in PN_ACCUMULATOR, for any element types, strides and forms: each block of 256 threads
 * computes a tile of PN_TILE_M rows by PN_TILE_N columns (half as many with two accumulators each), each thread a patch
 * of it, from slices of 16 k in shared memory.
 */
#define SLICE 16
#define PATCH_M (PN_TILE_M / 16)
#define PATCH_N (PN_TILE_N / 16) /* accumulators: of all columns, then of all their second halves */
#define COLUMNS (PN_TILE_N / PN_ACCUMULATORS)
#define PATCH_COLUMNS (PATCH_N / PN_ACCUMULATORS)
#define ARGUMENTS (PN_RESULTS + PN_OPERANDS)
/* One column more, so that stores along k and along m or n both spread over the banks. */
#define PITCH_M (PN_TILE_M + 1)
#define PITCH_N (PN_TILE_N + 1)

/* Where element i of a slice of `extent` rows lies: rows or k fastest, whichever has the smaller stride in memory. */
PN_INLINE void slice_position(int i, int extent, bool rows_fastest, int *row, int *k) {
  *row = rows_fastest ? i % extent : i / SLICE;
  *k = rows_fastest ? i / extent : i % SLICE;
}
PN_INLINE int64_t magnitude(int64_t x) {
  return x < 0 ? -x : x;
}

/* Element (column, half, k) of b, from where its batch begins. */
PN_INLINE int64_t index_of_b(const pinion_params &params, int64_t column, int half, int64_t k) {
#ifdef PN_PACKED_B
  return pn_packed_index(pn_packed_row(column, half), k, params.size[PINION_GEMM_K], PN_B_BYTES);
#else
  const int64_t *stride = params.stride[PN_RESULTS + 1];
  pn_index at[PINION_GEMM_P];
  pn_column(&params, column, at);
  return at[PINION_GEMM_H] * stride[PINION_GEMM_H] + at[PINION_GEMM_N] * stride[PINION_GEMM_N] +
         half * stride[PINION_GEMM_P] + k * stride[PINION_GEMM_K];
#endif
}

/* The sums of a block of columns, of which each of 16 neighbouring threads has a part. */
PN_INLINE void store_column_sums(const pinion_pointers &arguments, const pinion_params &params, const pn_index *at,
                                 bool inside, float *column_sums) {
#define STORE_SUM(j, i, type)                                                                                          \
  for (int lanes = 8; lanes; lanes >>= 1) column_sums[i] += __shfl_xor_sync(0xffffffffu, column_sums[i], lanes);       \
  if (inside && threadIdx.x % 16 == 0)                                                                                 \
    pn_store_##type(arguments.pointer[i], pn_offset(&params, i, 0, PINION_GEMM_P, at), column_sums[i]);
  PN_COLUMN_SUMS(STORE_SUM)
}

/* Row m of a thread's patch, its columns column, column + 16, .. */
PN_INLINE void finish_row(const pinion_pointers &arguments, const pinion_params &params, pn_index *at, int64_t m,
                          int64_t column, const PN_ACCUMULATOR *accumulator) {
  enum { BLOCK = PINION_COLUMN_BLOCK / 16 };
  const int64_t columns = params.size[PINION_GEMM_H] * params.size[PINION_GEMM_N];
  float row_sums[ARGUMENTS];
  at[PINION_GEMM_M] = (pn_index)m;
  if (m < params.size[PINION_GEMM_M]) pn_sum_rows(arguments, params, at, row_sums);
#pragma unroll
  for (int first = 0; first < PATCH_COLUMNS; first += BLOCK) {
    float column_sums[ARGUMENTS] = {};
#pragma unroll
    for (int j = first; j < first + BLOCK && j < PATCH_COLUMNS; j++) {
      const PN_ACCUMULATOR accumulators[2] = {accumulator[j], accumulator[(PN_ACCUMULATORS - 1) * PATCH_COLUMNS + j]};
      if (m >= params.size[PINION_GEMM_M] || column + 16 * j >= columns) continue;
      pn_column(&params, column + 16 * j, at);
      PN_FINISH_ELEMENT
    }
    const int64_t block = (column + 16 * first) / PINION_COLUMN_BLOCK;
    const bool inside = m < params.size[PINION_GEMM_M] && block * PINION_COLUMN_BLOCK < columns;
    const pn_index place[PINION_GEMM_P] = {at[PINION_GEMM_B0], at[PINION_GEMM_B1], (pn_index)m, 0, (pn_index)block};
    store_column_sums(arguments, params, place, inside, column_sums);
  }
}

PN_ENTRY(256) {
  __shared__ PN_ACCUMULATOR a_slice[SLICE][PITCH_M], b_slice[SLICE][PITCH_N];
  const int64_t m_size = params.size[PINION_GEMM_M], k_size = params.size[PINION_GEMM_K];
  const int64_t columns = params.size[PINION_GEMM_H] * params.size[PINION_GEMM_N];
  const int64_t m_tiles = (m_size + PN_TILE_M - 1) / PN_TILE_M, column_tiles = (columns + COLUMNS - 1) / COLUMNS;
  const int64_t tiles = m_tiles * column_tiles;
  if (blockIdx.x >= params.size[PINION_GEMM_B0] * params.size[PINION_GEMM_B1] * tiles) return;
  /* Neighbouring blocks share a tile of b, the larger operand as a rule. */
  const int64_t batch = blockIdx.x / tiles, in_batch = blockIdx.x % tiles;
  const int64_t m0 = in_batch % m_tiles * PN_TILE_M, column0 = in_batch / m_tiles * COLUMNS;
  pn_index at[PINION_GEMM_P] = {(pn_index)(batch / params.size[PINION_GEMM_B1]),
                                (pn_index)(batch % params.size[PINION_GEMM_B1])};
#ifdef PN_ROW_MASK
  if (pn_skips_rows(arguments, params, at, m0, PN_TILE_M, 256)) {
    pn_clear_tile(arguments, params, at, m0, PN_TILE_M, column0, COLUMNS, 256);
    return;
  }
#endif
  const int64_t *a_stride = params.stride[PN_RESULTS], *b_stride = params.stride[PN_RESULTS + 1];
  const int64_t a_base = pn_offset(&params, PN_RESULTS, 0, 2, at) + m0 * a_stride[PINION_GEMM_M];
  const int64_t b_base = pn_offset(&params, PN_RESULTS + 1, 0, 2, at);
  const bool m_fastest = magnitude(a_stride[PINION_GEMM_M]) < magnitude(a_stride[PINION_GEMM_K]);
  const bool n_fastest = magnitude(b_stride[PINION_GEMM_N]) < magnitude(b_stride[PINION_GEMM_K]);
  const int thread_m = threadIdx.x / 16, thread_n = threadIdx.x % 16;

  PN_ACCUMULATOR accumulator[PATCH_M][PATCH_N] = {};
  for (int64_t k0 = 0; k0 < k_size; k0 += SLICE) {
    int row, k;
    for (int i = threadIdx.x; i < PN_TILE_M * SLICE; i += 256) {
      slice_position(i, PN_TILE_M, m_fastest, &row, &k);
      const bool inside = m0 + row < m_size && k0 + k < k_size;
      const int64_t index = a_base + row * a_stride[PINION_GEMM_M] + (k0 + k) * a_stride[PINION_GEMM_K];
      a_slice[k][row] = inside ? (PN_ACCUMULATOR)PN_LOAD_A(index) : 0;
    }
    for (int i = threadIdx.x; i < PN_TILE_N * SLICE; i += 256) {
      slice_position(i, PN_TILE_N, n_fastest, &row, &k);
      const int64_t column = column0 + row % COLUMNS;
      const bool inside = column < columns && k0 + k < k_size;
      const int64_t index = b_base + index_of_b(params, column, row / COLUMNS, k0 + k);
      b_slice[k][row] = inside ? (PN_ACCUMULATOR)PN_LOAD_B(index) : 0;
    }
    __syncthreads();
#pragma unroll
    for (int slice_k = 0; slice_k < SLICE; slice_k++) {
      PN_ACCUMULATOR a[PATCH_M], b[PATCH_N];
#pragma unroll
      for (int i = 0; i < PATCH_M; i++) a[i] = a_slice[slice_k][thread_m + 16 * i];
#pragma unroll
      for (int j = 0; j < PATCH_N; j++) b[j] = b_slice[slice_k][thread_n + 16 * j];
#pragma unroll
      for (int i = 0; i < PATCH_M; i++)
#pragma unroll
        for (int j = 0; j < PATCH_N; j++) accumulator[i][j] += a[i] * b[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < PATCH_M; i++)
    finish_row(arguments, params, at, m0 + thread_m + 16 * i, column0 + thread_n, accumulator[i]);
}
