/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * acc[m,n] = sum_k a[m,k] * b[n,k] by fused multiply-adds in PN_ACCUMULATOR, for any element types and strides: each
 * block of 256 threads computes a tile of PN_TILE_M x PN_TILE_N, each thread a patch of it, from slices of 16 k in
 * shared memory.
 */
#define SLICE 16
#define PATCH_M (PN_TILE_M / 16)
#define PATCH_N (PN_TILE_N / 16)
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

PN_ENTRY(256) {
  __shared__ PN_ACCUMULATOR a_slice[SLICE][PITCH_M], b_slice[SLICE][PITCH_N];
  const int64_t m_size = params.size[PINION_GEMM_M], n_size = params.size[PINION_GEMM_N],
                k_size = params.size[PINION_GEMM_K];
  const int64_t m_tiles = (m_size + PN_TILE_M - 1) / PN_TILE_M, n_tiles = (n_size + PN_TILE_N - 1) / PN_TILE_N;
  const int64_t tiles = m_tiles * n_tiles;
  if (blockIdx.x >= params.size[PINION_GEMM_B0] * params.size[PINION_GEMM_B1] * tiles) return;
  /* Neighbouring blocks share a tile of b, the larger operand as a rule. */
  const int64_t batch = blockIdx.x / tiles, in_batch = blockIdx.x % tiles;
  const int64_t m0 = in_batch % m_tiles * PN_TILE_M, n0 = in_batch / m_tiles * PN_TILE_N;
  pn_index at[PINION_GEMM_RANK] = {(pn_index)(batch / params.size[PINION_GEMM_B1]),
                                   (pn_index)(batch % params.size[PINION_GEMM_B1])};
  const int64_t *a_stride = params.stride[PN_RESULTS], *b_stride = params.stride[PN_RESULTS + 1];
  const int64_t a_base = pn_offset(&params, PN_RESULTS, 0, 2, at) + m0 * a_stride[PINION_GEMM_M];
  const int64_t b_base = pn_offset(&params, PN_RESULTS + 1, 0, 2, at) + n0 * b_stride[PINION_GEMM_N];
  const bool m_fastest = magnitude(a_stride[PINION_GEMM_M]) < magnitude(a_stride[PINION_GEMM_K]);
  const bool n_fastest = magnitude(b_stride[PINION_GEMM_N]) < magnitude(b_stride[PINION_GEMM_K]);
  const int thread_m = threadIdx.x / 16, thread_n = threadIdx.x % 16;

  PN_ACCUMULATOR accumulator[PATCH_M][PATCH_N] = {};
  for (int64_t k0 = 0; k0 < k_size; k0 += SLICE) {
    int row, k;
    for (int i = threadIdx.x; i < PN_TILE_M * SLICE; i += 256) {
      slice_position(i, PN_TILE_M, m_fastest, &row, &k);
      const bool inside = m0 + row < m_size && k0 + k < k_size;
      a_slice[k][row] =
          inside
              ? (PN_ACCUMULATOR)PN_LOAD_A(a_base + row * a_stride[PINION_GEMM_M] + (k0 + k) * a_stride[PINION_GEMM_K])
              : 0;
    }
    for (int i = threadIdx.x; i < PN_TILE_N * SLICE; i += 256) {
      slice_position(i, PN_TILE_N, n_fastest, &row, &k);
      const bool inside = n0 + row < n_size && k0 + k < k_size;
#ifdef PN_PACKED_B
      const int64_t index = pn_packed_index(n0 + row, k0 + k, k_size, PN_B_BYTES);
#else
      const int64_t index = b_base + row * b_stride[PINION_GEMM_N] + (k0 + k) * b_stride[PINION_GEMM_K];
#endif
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
#pragma unroll
    for (int j = 0; j < PATCH_N; j++) {
      const int64_t m = m0 + thread_m + 16 * i, n = n0 + thread_n + 16 * j;
      if (m >= m_size || n >= n_size) continue;
      at[PINION_GEMM_M] = (pn_index)m;
      at[PINION_GEMM_N] = (pn_index)n;
      PN_STORE_ACCUMULATOR(accumulator[i][j])
    }
}
