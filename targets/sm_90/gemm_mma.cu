/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * acc[m,n] = sum_k a[m,k] * b[n,k] on the tensor cores (mma.sync.m16n8k16), a and b both bf16 or both f16, float32
 * accumulators, any strides. A block of PN_WARPS_M x PN_WARPS_N warps computes a tile of PN_TILE_M x PN_TILE_N in
 * slices of 64 k, two in shared memory: the next is on its way while one is multiplied.
 *
 * A slice in shared memory is rows of 128 bytes; the 16-byte chunk c of row r lies at c ^ (r & 7), so that ldmatrix
 * meets no bank twice. A packed b has the same layout in memory and is copied as it is.
 */
#define SLICE 64
#define SLICE_BYTES_A (PN_TILE_M * 128)
#define SLICE_BYTES_B (PN_TILE_N * 128)
#define THREADS (PN_WARPS_M * PN_WARPS_N * 32)
#define WARP_TILES_M (PN_TILE_M / PN_WARPS_M / 16) /* of 16 rows */
#define WARP_TILES_N (PN_TILE_N / PN_WARPS_N / 8)  /* of 8 columns; even, ldmatrix brings two */

/* A matrix in memory: element (row, k) of 2 bytes at base + row * row_stride + k * k_stride. */
typedef struct matrix {
  const uint16_t *base;
  int64_t rows, columns, row_stride, k_stride;
  bool chunked; /* rows of contiguous elements that begin at multiples of 16 bytes */
} matrix;

PN_INLINE matrix make_matrix(const void *pointer, int64_t offset, int64_t rows, int64_t columns, int64_t row_stride,
                             int64_t k_stride) {
  const uint16_t *base = (const uint16_t *)pointer + offset;
  const bool aligned = ((uint64_t)base & 15) == 0 && row_stride % 8 == 0;
  return {base, rows, columns, row_stride, k_stride, aligned && k_stride == 1};
}

PN_INLINE uint32_t swizzled(int row, int chunk) {
  return row * 128 + ((chunk ^ (row & 7)) << 4);
}

/* Rows row0 .. row0 + extent, columns k0 .. k0 + SLICE into shared memory; 0 outside the matrix. */
PN_INLINE void load_slice(uint32_t to_shared, const matrix *from, int extent, int64_t row0, int64_t k0) {
  if (from->chunked) {
    for (int i = threadIdx.x; i < extent * 8; i += THREADS) {
      const int row = i / 8, chunk = i % 8;
      const int64_t left = row0 + row < from->rows ? (from->columns - k0 - chunk * 8) * 2 : 0;
      const int valid = left < 0 ? 0 : left < 16 ? (int)left : 16;
      const int64_t index = valid ? (row0 + row) * from->row_stride + k0 + chunk * 8 : 0;
      pn_copy_chunk(to_shared + swizzled(row, chunk), from->base + index, valid);
    }
    return;
  }
  const bool rows_fastest = from->row_stride == 1;
  for (int i = threadIdx.x; i < extent * SLICE; i += THREADS) {
    const int row = rows_fastest ? i % extent : i / SLICE, k = rows_fastest ? i / extent : i % SLICE;
    const bool inside = row0 + row < from->rows && k0 + k < from->columns;
    const uint16_t value = inside ? from->base[(row0 + row) * from->row_stride + (k0 + k) * from->k_stride] : 0;
    pn_store_shared(to_shared + swizzled(row, k / 8) + k % 8 * 2, value);
  }
}

#ifdef PN_PACKED_B
/* Whole atoms, 64 rows of 128 bytes; one beyond the last row of atoms is 0. */
PN_INLINE void load_atoms(uint32_t to_shared, const void *packed, int64_t n_size, int64_t k_size, int64_t n0,
                          int64_t k0) {
  const int64_t atoms_n = (n_size + 63) / 64, atoms_k = (k_size + 63) / 64;
  for (int i = threadIdx.x; i < PN_TILE_N * 8; i += THREADS) {
    const int64_t atom_n = n0 / 64 + i / 512;
    const bool inside = atom_n < atoms_n;
    const int64_t from = inside ? (atom_n * atoms_k + k0 / 64) * 8192 + i % 512 * 16 : 0;
    pn_copy_chunk(to_shared + i * 16, (const char *)packed + from, inside ? 16 : 0);
  }
}
#endif

extern __shared__ __align__(128) char shared_bytes[]; /* two slices of a, then two of b */

PN_ENTRY(THREADS) {
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
  const matrix a = make_matrix(arguments.pointer[PN_RESULTS], pn_offset(&params, PN_RESULTS, 0, 2, at), m_size, k_size,
                               a_stride[PINION_GEMM_M], a_stride[PINION_GEMM_K]);
#ifdef PN_PACKED_B
  const void *packed = arguments.pointer[PN_RESULTS + 1];
#define LOAD_B(to, k0) load_atoms(to, packed, n_size, k_size, n0, k0)
#else
  const matrix b = make_matrix(arguments.pointer[PN_RESULTS + 1], pn_offset(&params, PN_RESULTS + 1, 0, 2, at), n_size,
                               k_size, b_stride[PINION_GEMM_N], b_stride[PINION_GEMM_K]);
#define LOAD_B(to, k0) load_slice(to, &b, PN_TILE_N, n0, k0)
#endif
  const uint32_t shared_a = pn_shared_address(shared_bytes), shared_b = shared_a + 2 * SLICE_BYTES_A;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp / PN_WARPS_N * (PN_TILE_M / PN_WARPS_M),
            warp_n = warp % PN_WARPS_N * (PN_TILE_N / PN_WARPS_N);
  const int slices = (int)((k_size + SLICE - 1) / SLICE);

  float accumulator[WARP_TILES_M][WARP_TILES_N][4] = {};
  if (slices > 0) {
    load_slice(shared_a, &a, PN_TILE_M, m0, 0);
    LOAD_B(shared_b, 0);
  }
#pragma unroll 1
  for (int slice = 0; slice < slices; slice++) {
    pn_wait_copies();
    __syncthreads(); /* this slice has come, and nobody reads the other any more */
    if (slice + 1 < slices) {
      load_slice(shared_a + (slice + 1) % 2 * SLICE_BYTES_A, &a, PN_TILE_M, m0, (int64_t)(slice + 1) * SLICE);
      LOAD_B(shared_b + (slice + 1) % 2 * SLICE_BYTES_B, (int64_t)(slice + 1) * SLICE);
    }
    const uint32_t slice_a = shared_a + slice % 2 * SLICE_BYTES_A, slice_b = shared_b + slice % 2 * SLICE_BYTES_B;
#pragma unroll
    for (int k = 0; k < SLICE / 16; k++) {
      uint32_t fragment_a[WARP_TILES_M][4], fragment_b[WARP_TILES_N / 2][4];
#pragma unroll
      for (int i = 0; i < WARP_TILES_M; i++) {
        const int row = warp_m + i * 16 + lane % 16;
        pn_load_matrices(fragment_a[i], slice_a + swizzled(row, k * 2 + lane / 16));
      }
#pragma unroll
      for (int j = 0; j < WARP_TILES_N / 2; j++) {
        const int row = warp_n + j * 16 + lane / 16 * 8 + lane % 8;
        pn_load_matrices(fragment_b[j], slice_b + swizzled(row, k * 2 + lane / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < WARP_TILES_M; i++)
#pragma unroll
        for (int j = 0; j < WARP_TILES_N; j++)
          PN_PASTE(pn_mma_, PN_MMA_TYPE)(accumulator[i][j], fragment_a[i], &fragment_b[j / 2][j % 2 * 2]);
    }
  }
#pragma unroll
  for (int i = 0; i < WARP_TILES_M; i++)
#pragma unroll
    for (int j = 0; j < WARP_TILES_N; j++)
#pragma unroll
      for (int element = 0; element < 4; element++) {
        const int64_t m = m0 + warp_m + i * 16 + lane / 4 + element / 2 * 8;
        const int64_t n = n0 + warp_n + j * 8 + lane % 4 * 2 + element % 2;
        if (m >= m_size || n >= n_size) continue;
        at[PINION_GEMM_M] = (pn_index)m;
        at[PINION_GEMM_N] = (pn_index)n;
        const float *accumulators = &accumulator[i][j][element];
        PN_FINISH_ELEMENT
      }
}
