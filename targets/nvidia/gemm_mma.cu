/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * gemm on the tensor cores (mma.sync.m16n8k16), a and b both bf16 or both f16, float32 accumulators, any strides and
 * forms. A block of PN_WARPS_M x PN_WARPS_N warps computes a tile of PN_TILE_M rows of a by PN_TILE_N rows of b in
 * slices of 64 k, PN_STAGES in shared memory: the next ones are on their way while one is multiplied. Rows of b are in
 * the order in which they are packed: with two accumulators 8 columns' first halves, then their second, so that a
 * thread has both. Packed weights depend on no launch: the first ones are brought while the launch in front still runs.
 *
 * A slice in shared memory is rows of 128 bytes; the 16-byte chunk c of row r lies at c ^ (r & 7), so that ldmatrix
 * meets no bank twice. A packed b has the same layout in memory and is copied as it is.
 */
#define SLICE 64
#define SLICE_BYTES_A (PN_TILE_M * 128)
#define SLICE_BYTES_B (PN_TILE_N * 128)
#define THREADS (PN_WARPS_M * PN_WARPS_N * 32)
#define WARP_TILES_M (PN_TILE_M / PN_WARPS_M / 16) /* of 16 rows */
#define WARP_TILES_N (PN_TILE_N / PN_WARPS_N / 8)  /* of 8 rows of b; even, ldmatrix brings two */
#define COLUMNS (PN_TILE_N / PN_ACCUMULATORS)
#define WARP_COLUMNS (COLUMNS / PN_WARPS_N)
#define ARGUMENTS (PN_RESULTS + PN_OPERANDS)
#define ONE(j, i, type) +1
#define SUMS_COLUMNS (0 PN_COLUMN_SUMS(ONE) > 0)

/* A matrix in memory: a, or b by its columns. Strides in elements of 2 bytes. */
typedef struct matrix {
  const uint16_t *base;
  int64_t rows, depth, row_stride, k_stride;
  int64_t group, group_stride, half_stride; /* of b: rows of a group; 0: all in one, with one accumulator */
  bool chunked;                             /* rows of contiguous elements that begin at multiples of 16 bytes */
} matrix;

PN_INLINE matrix make_matrix(const void *pointer, int64_t offset, int64_t rows, int64_t depth, int64_t row_stride,
                             int64_t k_stride) {
  const uint16_t *base = (const uint16_t *)pointer + offset;
  const bool aligned = ((uint64_t)base & 15) == 0 && row_stride % 8 == 0;
  return {base, rows, depth, row_stride, k_stride, 0, 0, 0, aligned && k_stride == 1};
}

/* b[h, n, p, k] as a matrix whose rows are columns of the product. */
PN_INLINE matrix matrix_of_b(const pinion_pointers &arguments, const pinion_params &params, const pn_index *at) {
  const int64_t *size = params.size, *stride = params.stride[PN_RESULTS + 1];
  matrix b = make_matrix(arguments.pointer[PN_RESULTS + 1], pn_offset(&params, PN_RESULTS + 1, 0, 2, at),
                         size[PINION_GEMM_H] * size[PINION_GEMM_N], size[PINION_GEMM_K], stride[PINION_GEMM_N],
                         stride[PINION_GEMM_K]);
#if PN_ACCUMULATORS > 1 || defined(PN_GROUPED)
  b.group = size[PINION_GEMM_N];
  b.group_stride = stride[PINION_GEMM_H];
  b.half_stride = stride[PINION_GEMM_P];
  b.chunked &= b.group_stride % 8 == 0 && b.half_stride % 8 == 0;
#endif
  return b;
}

/* Where a row of a lies, or one of b in the packed order; false if there is none. */
PN_INLINE bool find_row(const matrix *from, int64_t row, int64_t *out_offset) {
  *out_offset = row * from->row_stride;
  if (!from->group) return row < from->rows;
  const int64_t column = row / (8 * PN_ACCUMULATORS) * 8 + row % 8, half = row / 8 % PN_ACCUMULATORS;
  *out_offset = column / from->group * from->group_stride + column % from->group * from->row_stride;
  *out_offset += half * from->half_stride;
  return column < from->rows;
}

PN_INLINE uint32_t swizzled(int row, int chunk) {
  return row * 128 + ((chunk ^ (row & 7)) << 4);
}

/* Rows row0 .. row0 + extent, columns k0 .. k0 + SLICE into shared memory; 0 outside the matrix. */
PN_INLINE void load_slice(uint32_t to_shared, const matrix *from, int extent, int64_t row0, int64_t k0) {
  if (from->chunked) {
    for (int i = threadIdx.x; i < extent * 8; i += THREADS) {
      const int row = i / 8, chunk = i % 8;
      int64_t offset;
      const int64_t left = find_row(from, row0 + row, &offset) ? (from->depth - k0 - chunk * 8) * 2 : 0;
      const int valid = left < 0 ? 0 : left < 16 ? (int)left : 16;
      pn_copy_chunk(to_shared + swizzled(row, chunk), from->base + (valid ? offset + k0 + chunk * 8 : 0), valid);
    }
    return;
  }
  const bool rows_fastest = from->row_stride == 1;
  for (int i = threadIdx.x; i < extent * SLICE; i += THREADS) {
    const int row = rows_fastest ? i % extent : i / SLICE, k = rows_fastest ? i / extent : i % SLICE;
    int64_t offset;
    const bool inside = find_row(from, row0 + row, &offset) && k0 + k < from->depth;
    const uint16_t value = inside ? from->base[offset + (k0 + k) * from->k_stride] : 0;
    pn_store_shared(to_shared + swizzled(row, k / 8) + k % 8 * 2, value);
  }
}

#ifdef PN_PACKED_B
#define ATOM_BYTES 8192 /* 64 rows of 128 bytes */
/* A slice of whole atoms; one beyond the last row of atoms is 0. */
PN_INLINE void load_atoms(uint32_t to_shared, const char *first, int64_t to_next_row, int64_t row0, int64_t rows) {
#pragma unroll
  for (int i = 0; i < PN_TILE_N * 128; i += THREADS * 16) {
    const int at = i + threadIdx.x * 16, atom = at / ATOM_BYTES;
    const bool inside = row0 + atom * 64 < rows;
    pn_copy_chunk(to_shared + at, first + (inside ? atom * to_next_row : 0) + at % ATOM_BYTES, inside ? 16 : 0);
  }
}
#endif

/* ---- The epilogue ---- */

/* Sums over columns: of each row of the tile, each warp's part of its columns, by argument. */
typedef float column_parts[PN_TILE_M][PN_WARPS_N];

/* What a thread has of one row of its warp's tile: of each 8 columns, 2 (lane % 4) and the next. */
PN_INLINE void finish_row(const pinion_pointers &arguments, const pinion_params &params, pn_index *at, int64_t m,
                          int64_t column0, const float (*accumulator)[4], int upper, float *column_sums) {
  const int64_t columns = params.size[PINION_GEMM_H] * params.size[PINION_GEMM_N];
  float row_sums[ARGUMENTS];
  if (m >= params.size[PINION_GEMM_M]) return;
  at[PINION_GEMM_M] = (pn_index)m;
  pn_sum_rows(arguments, params, at, row_sums);
#pragma unroll
  for (int j = 0; j < WARP_TILES_N; j += PN_ACCUMULATORS)
#pragma unroll
    for (int element = upper * 2; element < upper * 2 + 2; element++) {
      const float accumulators[2] = {accumulator[j][element], accumulator[j + PN_ACCUMULATORS - 1][element]};
      const int64_t column = column0 + j / PN_ACCUMULATORS * 8 + threadIdx.x % 4 * 2 + element % 2;
      if (column >= columns) continue;
      pn_column(&params, column, at);
      PN_FINISH_ELEMENT
    }
}

/* Lanes with the same row add up; the first of them keeps the sum. */
PN_INLINE void keep_column_sums(column_parts *parts, int row, int warp_n, float *column_sums) {
#define KEEP_SUM(j, i, type)                                                                                           \
  column_sums[i] += __shfl_xor_sync(0xffffffffu, column_sums[i], 1);                                                   \
  column_sums[i] += __shfl_xor_sync(0xffffffffu, column_sums[i], 2);                                                   \
  if (threadIdx.x % 4 == 0) parts[i][row][warp_n] = column_sums[i];
  PN_COLUMN_SUMS(KEEP_SUM)
}

/* The parts of each block of columns, in the order of the warps. */
PN_INLINE void store_column_sums(const pinion_pointers &arguments, const pinion_params &params, pn_index *at,
                                 int64_t m0, int64_t column0, const column_parts *parts) {
  enum { WARPS = PINION_COLUMN_BLOCK / WARP_COLUMNS }; /* of a block of columns */
  for (int i = threadIdx.x; i < PN_TILE_M * (PN_WARPS_N / WARPS); i += THREADS) {
    const int row = i % PN_TILE_M, block = i / PN_TILE_M;
    const int64_t column = column0 + block * PINION_COLUMN_BLOCK;
    if (m0 + row >= params.size[PINION_GEMM_M] || column >= params.size[PINION_GEMM_N]) continue;
    at[PINION_GEMM_M] = (pn_index)(m0 + row);
    at[PINION_GEMM_H] = 0;
    at[PINION_GEMM_N] = (pn_index)(column / PINION_COLUMN_BLOCK);
#define STORE_SUM(j, i, type)                                                                                          \
  float sum_##j = 0;                                                                                                   \
  for (int warp = 0; warp < WARPS; warp++) sum_##j += parts[i][row][block * WARPS + warp];                             \
  pn_store_##type(arguments.pointer[i], pn_offset(&params, i, 0, PINION_GEMM_P, at), sum_##j);
    PN_COLUMN_SUMS(STORE_SUM)
  }
}

extern __shared__ __align__(128) char shared_bytes[]; /* slices of a, then those of b; at the end column_parts */

PN_ENTRY_EARLY(THREADS, PN_RESIDENT) {
  const int64_t m_size = params.size[PINION_GEMM_M], k_size = params.size[PINION_GEMM_K];
  const int64_t columns = params.size[PINION_GEMM_H] * params.size[PINION_GEMM_N];
  const int64_t m_tiles = (m_size + PN_TILE_M - 1) / PN_TILE_M, column_tiles = (columns + COLUMNS - 1) / COLUMNS;
  const int64_t tiles = m_tiles * column_tiles;
  if (blockIdx.x >= params.size[PINION_GEMM_B0] * params.size[PINION_GEMM_B1] * tiles) return;
  /* Neighbouring blocks share a tile of b, the larger operand as a rule. */
  const int64_t batch = blockIdx.x / tiles, in_batch = blockIdx.x % tiles;
  const int64_t m0 = in_batch % m_tiles * PN_TILE_M, row0 = in_batch / m_tiles * PN_TILE_N;
  pn_index at[PINION_GEMM_P] = {(pn_index)(batch / params.size[PINION_GEMM_B1]),
                                (pn_index)(batch % params.size[PINION_GEMM_B1])};
  const int64_t *a_stride = params.stride[PN_RESULTS];
  const matrix a = make_matrix(arguments.pointer[PN_RESULTS], pn_offset(&params, PN_RESULTS, 0, 2, at), m_size, k_size,
                               a_stride[PINION_GEMM_M], a_stride[PINION_GEMM_K]);
  const uint32_t shared_a = pn_shared_address(shared_bytes), shared_b = shared_a + PN_STAGES * SLICE_BYTES_A;
#define LOAD_A(slice)                                                                                                  \
  load_slice(shared_a + (slice) % PN_STAGES * SLICE_BYTES_A, &a, PN_TILE_M, m0, (int64_t)(slice) * SLICE)
#ifdef PN_PACKED_B
  const bool early_b = true;
  const int64_t row_of_atoms = (k_size + 63) / 64 * ATOM_BYTES;
  const char *atoms = (const char *)arguments.pointer[PN_RESULTS + 1] + row0 / 64 * row_of_atoms;
#define LOAD_B(slice)                                                                                                  \
  load_atoms(shared_b + (slice) % PN_STAGES * SLICE_BYTES_B, atoms + (slice) * (int64_t)ATOM_BYTES, row_of_atoms,      \
             row0, columns *PN_ACCUMULATORS)
#else
  const bool early_b = false;
  const matrix b = matrix_of_b(arguments, params, at);
#define LOAD_B(slice)                                                                                                  \
  load_slice(shared_b + (slice) % PN_STAGES * SLICE_BYTES_B, &b, PN_TILE_N, row0, (int64_t)(slice) * SLICE)
#endif
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp / PN_WARPS_N * (PN_TILE_M / PN_WARPS_M),
            warp_n = warp % PN_WARPS_N * (PN_TILE_N / PN_WARPS_N);
  const int slices = (int)((k_size + SLICE - 1) / SLICE);

  float accumulator[WARP_TILES_M][WARP_TILES_N][4] = {};
#pragma unroll 1
  for (int slice = 0; early_b && slice < PN_STAGES - 1 && slice < slices; slice++) LOAD_B(slice);
  pn_wait_for_inputs();
  pn_let_next_start();
#ifdef PN_ROW_MASK
  if (pn_skips_rows(arguments, params, at, m0, PN_TILE_M, THREADS)) {
    pn_clear_tile(arguments, params, at, m0, PN_TILE_M, row0 / PN_ACCUMULATORS, COLUMNS, THREADS);
    pn_commit_copies();
    pn_wait_copies_but<0>(); /* the early ones */
    return;
  }
#endif
#pragma unroll 1
  for (int slice = 0; slice < PN_STAGES - 1; slice++) { /* a group each; the first has the early weights, too */
    if (slice < slices) LOAD_A(slice);
    if (slice < slices && !early_b) LOAD_B(slice);
    pn_commit_copies();
  }
#pragma unroll 1
  for (int slice = 0; slice < slices; slice++) {
    const int next = slice + PN_STAGES - 1;
    pn_wait_copies_but<PN_STAGES - 2>();
    __syncthreads(); /* this slice has come, and nobody reads the one before any more */
    if (next < slices) {
      LOAD_A(next);
      LOAD_B(next);
    }
    pn_commit_copies();
    const uint32_t slice_a = shared_a + slice % PN_STAGES * SLICE_BYTES_A;
    const uint32_t slice_b = shared_b + slice % PN_STAGES * SLICE_BYTES_B;
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
  column_parts *parts = (column_parts *)shared_bytes;
  const int64_t column0 = row0 / PN_ACCUMULATORS + warp_n / PN_ACCUMULATORS;
  if (SUMS_COLUMNS) __syncthreads(); /* nobody reads a slice any more */
#pragma unroll
  for (int i = 0; i < WARP_TILES_M; i++)
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
      const int row = warp_m + i * 16 + lane / 4 + upper * 8;
      float column_sums[ARGUMENTS] = {};
      finish_row(arguments, params, at, m0 + row, column0, accumulator[i], upper, column_sums);
      keep_column_sums(parts, row, warp % PN_WARPS_N, column_sums);
    }
  if (!SUMS_COLUMNS) return;
  __syncthreads();
  store_column_sums(arguments, params, at, m0, row0 / PN_ACCUMULATORS, parts);
}
