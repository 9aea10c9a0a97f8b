/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Attention by mma.sync.m16n8k16, for few rows: the keys are shared.
 *
 * A cluster of PN_CLUSTER blocks takes PN_ROWS rows and shares their blocks of keys. Of a block of keys, each of the 8
 * warps brings 16 keys and makes their scores; the rows' maxima and the probabilities go through shared memory; and
 * each warp brings its columns of v and multiplies the probabilities by them. At the end every block of the cluster
 * has, for all rows, a maximum m, a sum l of exponentials and a sum of values; each of them adds up, in the order of
 * the ranks, a part of the rows. What passes between blocks is slow: few rows, and few blocks to share them.
 *
 * Tiles of k and v go in turn to PN_RING buffers of shared memory, 3, or 2 if no block has more than one block of keys:
 * k and v of the first block of keys and k of the second at the start; then v of the next one, and k with it, when the
 * scores of a block are made. With one block of keys, those that were there before the launch in front (PN_SETTLED) are
 * brought while it still runs, and memory is used twice: less of it lets this launch and its neighbours share a
 * multiprocessor.
 */
#define WARPS 8
#define THREADS (WARPS * 32)
#define ROW_TILES (PN_ROWS / 16)
#define OWN_ROWS (PN_ROWS / PN_CLUSTER) /* of this block, at the end */
#define MULTIPLY PN_PASTE(pn_mma_, PN_MMA_TYPE)

/* Rows in shared memory are an odd number of chunks, so that ldmatrix meets no bank twice. */
#define PITCH(elements) ((CHUNKS(elements) | 1) * 16)
#define D_PITCH PITCH(PN_D)
#define E_PITCH PITCH(PN_E)
#define P_PITCH PITCH(PN_KEYS)
#define E_PAIRS ((CHUNKS(PN_E) / 2 + WARPS - 1) / WARPS) /* of 8 columns of v, a warp's */
#define PAIRS (CHUNKS(PN_E) / 2)                         /* of 8 columns of v, all */

/* Bytes from the start of shared memory. What other blocks of a cluster send has a place of its own, or that of the
   one tile of k: a block begins to receive (pn_cluster_begin) when its scores are made, and the probabilities go where q
   was. */
#define ONCE (PN_RING == 2)
#define Q_AT 0
#define RING_AT (PN_ROWS * D_PITCH)
#define TILE_BYTES (PN_KEYS * (D_PITCH > E_PITCH ? D_PITCH : E_PITCH))
#define P_OVER_Q (ONCE && P_PITCH <= D_PITCH)
#define P_AT (P_OVER_Q ? Q_AT : RING_AT + PN_RING * TILE_BYTES)
#define TILES_END (RING_AT + PN_RING * TILE_BYTES + (P_OVER_Q ? 0 : PN_ROWS * P_PITCH))
#define SUM_BYTES (PN_ROWS * PAIRS * 64)
#define SUMS_OVER_K (PN_CLUSTER == 1 || (ONCE && SUM_BYTES <= TILE_BYTES))
#define SUMS_AT (SUMS_OVER_K ? (PN_CLUSTER == 1 ? 0 : RING_AT) : TILES_END) /* [rank][pair][own row][lane % 4], four floats */
#define OF_WARP_AT (SUMS_AT + SUM_BYTES > TILES_END ? SUMS_AT + SUM_BYTES : TILES_END) /* [row][warp] */
#define MAXIMUM_AT (OF_WARP_AT + PN_ROWS * WARPS * 4)                                  /* [row] */
#define OF_RANK_AT (MAXIMUM_AT + PN_ROWS * 4)  /* [rank][own row], 16 bytes: m and l */
#define BARRIER_AT (OF_RANK_AT + PN_ROWS * 16) /* for what the cluster sends */
#define VISIBLE_AT (BARRIER_AT + 16)

/* A thread's rows: of each 16, lane / 4 and 8 further. */
typedef struct thread_rows {
  int limit[ROW_TILES][2]; /* the row sees no key from here on */
  int64_t mask[ROW_TILES][2];
  float maximum[ROW_TILES][2], sum[ROW_TILES][2]; /* so far; the sum of this thread's keys alone */
} thread_rows;

/* A thread's scores: element e of tile (i, n) is row 16 i + lane / 4 + 8 (e / 2), key 8 n + 2 (lane % 4) + e % 2 of
   its warp's 16. */
typedef float score_tiles[ROW_TILES][2][4];
typedef float value_tiles[ROW_TILES][E_PAIRS * 2][4];

/* ---- Loading ---- */

PN_INLINE void copy_q(const pinion_pointers &arguments, const block_place &place) {
  const uint16_t *base = (const uint16_t *)arguments.pointer[1];
  const uint32_t to = pn_shared_address(pn_shared + Q_AT);
#pragma unroll
  for (unsigned first = 0; first < PN_ROWS * CHUNKS(PN_D); first += THREADS) {
    const unsigned at = (first + threadIdx.x) / CHUNKS(PN_D), chunk = (first + threadIdx.x) % CHUNKS(PN_D);
    const unsigned row = place.row0 + at;
    if (at < PN_ROWS)
      pn_copy_chunk(to + at * D_PITCH + chunk * 16, base + row_offset(1, place, row) + chunk * 8,
                    row < HEAD_ROWS && chunk * 8 < PN_D ? 16 : 0);
  }
}

/* This warp's 16 keys of a block: rows of k, 0 from the last key on. Those before `from`, or from there on. */
PN_INLINE void copy_k(const pinion_pointers &arguments, const block_place &place, int block, uint32_t to, int from,
                      bool before) {
  const int lane = threadIdx.x % 32, key = threadIdx.x / 32 * 16;
  const int left = ALL_KEYS - block * PN_KEYS - key;
  const int64_t stride = shape.stride[2][PN_KEY];
  const uint16_t *base =
      (const uint16_t *)arguments.pointer[2] + pn_offset(&shape, 2, 0, 2, place.at) + (block * PN_KEYS + key) * stride;
  if (key >= PN_KEYS) return;
#pragma unroll
  for (int i = 0; i < CHUNKS(PN_D) / 2; i++) {
    const int row = (i * 32u + lane) / CHUNKS(PN_D), chunk = (i * 32u + lane) % CHUNKS(PN_D);
    if ((block * PN_KEYS + key + row < from) != before) continue;
    pn_copy_chunk(to + (key + row) * D_PITCH + chunk * 16, base + row * stride + chunk * 8,
                  row < left && chunk * 8 < PN_D ? 16 : 0);
  }
}

/* This warp's columns of a block's keys in v, in the same way. */
PN_INLINE void copy_v(const pinion_pointers &arguments, const block_place &place, int block, uint32_t to, int from,
                      bool before) {
  enum { WIDTH = E_PAIRS * 2, ROWS = 32 / WIDTH }; /* chunks, and rows that a warp copies at once */
  const int row = threadIdx.x % 32 / WIDTH, chunk = threadIdx.x / 32 * WIDTH + threadIdx.x % WIDTH;
  const int left = ALL_KEYS - block * PN_KEYS - row;
  const int64_t stride = shape.stride[3][PN_KEY];
  const uint16_t *base = (const uint16_t *)arguments.pointer[3] + pn_offset(&shape, 3, 0, 2, place.at) +
                         (block * PN_KEYS + row) * stride + chunk * 8;
  if (chunk >= CHUNKS(PN_E)) return;
#pragma unroll
  for (int i = 0; i < PN_KEYS; i += ROWS)
    if ((block * PN_KEYS + row + i < from) == before)
      pn_copy_chunk(to + (row + i) * E_PITCH + chunk * 16, base + i * stride, i < left && chunk * 8 < PN_E ? 16 : 0);
}

/* The buffer of tile `tile`, counted from 0: k and v of this block's keys in turn. */
PN_INLINE uint32_t buffer_of(int tile) {
  return pn_shared_address(pn_shared + RING_AT) + tile % PN_RING * TILE_BYTES;
}

/* ---- Products ---- */

/* score = q . k of this warp's 16 keys. */
PN_INLINE void multiply_keys(uint32_t k_tile, score_tiles &score) {
  const int lane = threadIdx.x % 32, key = threadIdx.x / 32 * 16;
  const uint32_t q = pn_shared_address(pn_shared + Q_AT) + lane % 16 * D_PITCH + lane / 16 * 16;
  const uint32_t k = k_tile + (key + lane / 16 * 8 + lane % 8) * D_PITCH + lane / 8 % 2 * 16;
  score_tiles other = {}; /* of every second step: so that products wait less for each other */
#pragma unroll
  for (int step = 0; step < D_STEPS; step++) {
    uint32_t of_k[4];
    pn_load_matrices(of_k, k + step * 32);
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) {
      float (*sum)[4] = ROW_TILES == 1 && step % 2 ? other[i] : score[i];
      uint32_t of_q[4];
      pn_load_matrices(of_q, q + i * 16 * D_PITCH + step * 32);
      MULTIPLY(sum[0], of_q, of_k);
      MULTIPLY(sum[1], of_q, of_k + 2);
    }
  }
#pragma unroll
  for (int e = 0; e < 8 && ROW_TILES == 1; e++) score[0][e / 4][e % 4] += other[0][e / 4][e % 4];
}

/* total += p . v of this warp's columns. */
PN_INLINE void multiply_values(uint32_t v_tile, value_tiles &total) {
  const int lane = threadIdx.x % 32, pair0 = threadIdx.x / 32 * E_PAIRS;
  const uint32_t p = pn_shared_address(pn_shared + P_AT) + lane % 16 * P_PITCH + lane / 16 * 16;
  const uint32_t v = v_tile + lane % 16 * E_PITCH + (pair0 * 2 + lane / 16) * 16;
#pragma unroll
  for (int step = 0; step < PN_KEYS / 16; step++) {
    uint32_t of_p[ROW_TILES][4];
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) pn_load_matrices(of_p[i], p + i * 16 * P_PITCH + step * 32);
#pragma unroll
    for (int pair = 0; pair < E_PAIRS; pair++) {
      uint32_t of_v[4];
      if (pair0 + pair >= CHUNKS(PN_E) / 2) continue;
      pn_load_transposed(of_v, v + step * 16 * E_PITCH + pair * 32);
#pragma unroll
      for (int i = 0; i < ROW_TILES; i++) {
        MULTIPLY(total[i][pair * 2], of_p[i], of_v);
        MULTIPLY(total[i][pair * 2 + 1], of_p[i], of_v + 2);
      }
    }
  }
}

/* ---- Masks ---- */

PN_INLINE void find_rows(const block_place &place, thread_rows &rows) {
#pragma unroll
  for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const unsigned row = place.row0 + i * 16 + threadIdx.x % 32 / 4 + half * 8;
      rows.maximum[i][half] = -PN_INFINITY;
      rows.sum[i][half] = 0;
      rows.limit[i][half] = row < HEAD_ROWS ? row_limit(row) : 0;
#if PN_MASK
      rows.mask[i][half] = row_offset(4, place, row);
#endif
    }
}

/* The mask of this thread's scores, as far as they are of keys that the rows may see. */
PN_INLINE void load_mask(const pinion_pointers &arguments, const thread_rows &rows, int key0, score_tiles &mask) {
#if PN_MASK
#pragma unroll
  for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int key = key0 + threadIdx.x / 32 * 16 + n * 8 + threadIdx.x % 4 * 2 + e % 2;
        const bool seen = key < rows.limit[i][e / 2];
        mask[i][n][e] = seen ? (float)PN_LOAD(4, rows.mask[i][e / 2] + key * shape.stride[4][PN_KEY]) : 0;
      }
#endif
}

/* Masks the scores, and leaves the greatest of each row where all warps find it. */
PN_INLINE void mask_scores(const thread_rows &rows, int key0, const score_tiles &mask, score_tiles &score) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float *of_warp = (float *)(pn_shared + OF_WARP_AT);
#pragma unroll
  for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float maximum = -PN_INFINITY;
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = half * 2; e < half * 2 + 2; e++) {
          const int key = key0 + warp * 16 + n * 8 + lane % 4 * 2 + e % 2;
          float x = score[i][n][e];
#if PN_MASK == 1
          x = x * SCALE + mask[i][n][e];
#endif
          bool hidden = key >= rows.limit[i][half] || warp * 16 >= PN_KEYS;
#if PN_MASK == 2
          hidden |= mask[i][n][e] == 0;
#endif
          score[i][n][e] = hidden ? -PN_INFINITY : x;
          maximum = fmaxf(maximum, score[i][n][e]);
        }
      maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
      maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
      if (lane % 4 == 0) of_warp[(i * 16 + half * 8 + lane / 4) * WARPS + warp] = maximum;
    }
}

/* ---- Softmax ---- */

/* Takes the scores into the rows' maxima and sums; their exponentials, in bf16, go to shared memory. */
PN_INLINE void take_softmax(const score_tiles &score, thread_rows &rows, value_tiles &total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = i * 16 + half * 8 + lane / 4;
      const float4 *of_warp = (const float4 *)(pn_shared + OF_WARP_AT) + row * WARPS / 4;
      const float4 a = of_warp[0], b = of_warp[1];
      const float before = rows.maximum[i][half];
      const float maximum =
          fmaxf(fmaxf(fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w)), before), fmaxf(fmaxf(b.x, b.y), fmaxf(b.z, b.w)));
      const float centre = centre_of(maximum), shrink = exponential(before, centre);
      rows.maximum[i][half] = maximum;
      rows.sum[i][half] *= shrink;
#pragma unroll
      for (int n = 0; n < E_PAIRS * 2; n++) {
        total[i][n][half * 2] *= shrink;
        total[i][n][half * 2 + 1] *= shrink;
      }
      if (warp * 16 >= PN_KEYS) continue;
#pragma unroll
      for (int n = 0; n < 2; n++) {
        const float x = exponential(score[i][n][half * 2], centre);
        const float y = exponential(score[i][n][half * 2 + 1], centre);
        rows.sum[i][half] += x + y;
        *(uint32_t *)(pn_shared + P_AT + row * P_PITCH + (warp * 16 + n * 8 + lane % 4 * 2) * 2) = pn_pack_bf16(x, y);
      }
    }
}

/* ---- The cluster's sums ---- */

/* Stores where `at` is in the shared memory of the block that owns the row. */
PN_INLINE void send(uint32_t at, uint32_t owner, float4 x) {
#if PN_CLUSTER > 1
  pn_send(pn_shared_address(pn_shared) + at, owner, x, pn_shared_address(pn_shared + BARRIER_AT));
#else
  *(float4 *)(pn_shared + at) = x;
#endif
}

/* Sends every row's m, l and values to the block that owns it. */
PN_INLINE void send_rows(const block_place &place, const thread_rows &rows, const value_tiles &total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float *of_warp = (float *)(pn_shared + OF_WARP_AT), *maximum = (float *)(pn_shared + MAXIMUM_AT);
#pragma unroll
  for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = i * 16 + half * 8 + lane / 4;
      const uint32_t owner = row / OWN_ROWS;
      float sum = rows.sum[i][half];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      if (lane % 4 == 0) {
        of_warp[row * WARPS + warp] = sum;
        if (warp == 0) maximum[row] = rows.maximum[i][half];
      }
#pragma unroll
      for (int j = 0; j < E_PAIRS; j++) { /* two columns of either tile, as they leave the product */
        const float *first = &total[i][j * 2][half * 2], *second = &total[i][j * 2 + 1][half * 2];
        const int pair = warp * E_PAIRS + j;
        const uint32_t at = ((place.rank * PAIRS + pair) * OWN_ROWS + row % OWN_ROWS) * 64 + lane % 4 * 16;
        if (pair < PAIRS) send(SUMS_AT + at, owner, float4{first[0], first[1], second[0], second[1]});
      }
    }
  __syncthreads();
  if (threadIdx.x < PN_ROWS) {
    const int row = threadIdx.x;
    const float4 *parts = (const float4 *)of_warp + row * WARPS / 4;
    const float4 a = parts[0], b = parts[1];
    const float sum = ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
    const uint32_t place_there = place.rank * OWN_ROWS + row % OWN_ROWS;
    send(OF_RANK_AT + place_there * 16, row / OWN_ROWS, float4{maximum[row], sum, 0, 0});
  }
}

/* Adds up this block's own rows, four columns at a time: two of either tile of a pair. */
PN_INLINE void store_rows(const pinion_pointers &arguments, const block_place &place) {
  const float4 *sums = (const float4 *)(pn_shared + SUMS_AT), *of_rank = (const float4 *)(pn_shared + OF_RANK_AT);
  for (int i = threadIdx.x; i < OWN_ROWS * PAIRS * 4; i += THREADS) {
    const int own = i / 4 % OWN_ROWS, column = i / (OWN_ROWS * 4) * 16 + i % 4 * 2;
    const unsigned row = place.row0 + place.rank * OWN_ROWS + own;
    if (row >= HEAD_ROWS) continue;
    float maximum = -PN_INFINITY, sum = 0;
    float4 y = {0, 0, 0, 0};
#pragma unroll
    for (int rank = 0; rank < PN_CLUSTER; rank++) maximum = fmaxf(maximum, of_rank[rank * OWN_ROWS + own].x);
#pragma unroll
    for (int rank = 0; rank < PN_CLUSTER; rank++) {
      const float4 part = of_rank[rank * OWN_ROWS + own], x = sums[rank * OWN_ROWS * PAIRS * 4 + i];
      const float factor = exponential(part.x, centre_of(maximum));
      sum += part.y * factor;
      y.x += x.x * factor, y.y += x.y * factor, y.z += x.z * factor, y.w += x.w * factor;
    }
    const float inverse = inverse_sum(sum);
    uint16_t *to = (uint16_t *)arguments.pointer[0] + row_offset(0, place, row) + column;
    *(uint32_t *)to = pn_pack_bf16(y.x * inverse, y.y * inverse);
    if (column + 8 < PN_E) *(uint32_t *)(to + 8) = pn_pack_bf16(y.z * inverse, y.w * inverse);
  }
}

/* ---- The block ---- */

/* The other blocks send once this one has begun to receive; when its barrier's phase is over, all has come. */
PN_INLINE void begin_cluster(void) {
#if PN_CLUSTER > 1
  const uint32_t barrier = pn_shared_address(pn_shared + BARRIER_AT);
  if (threadIdx.x == 0) {
    pn_barrier_init(barrier, 1);
    pn_barrier_expect(barrier, PN_ROWS * (PAIRS * 64 + 16));
    pn_barrier_publish();
  }
  __syncwarp();
  if (!SUMS_OVER_K) pn_cluster_begin();
#endif
}
/* From here on the others may send. */
PN_INLINE void begin_receiving(void) {
#if PN_CLUSTER > 1
  if (SUMS_OVER_K) pn_cluster_begin();
#endif
}
PN_INLINE void wait_for_cluster(void) {
#if PN_CLUSTER > 1
  pn_cluster_wait();
#else
  __syncthreads();
#endif
}
PN_INLINE void wait_for_sums(void) {
#if PN_CLUSTER > 1
  pn_barrier_wait_for_cluster(pn_shared_address(pn_shared + BARRIER_AT));
#else
  __syncthreads();
#endif
}

/* Copies of a tile are a group; one beyond the last block of keys is an empty group. */
#define COPY(of, tile, block)                                                                                          \
  do {                                                                                                                 \
    if (block < blocks.count && (block + 1) * PN_KEYS > SETTLED)                                                       \
      copy_##of(arguments, place, block, buffer_of(tile), SETTLED, false);                                             \
    pn_commit_copies();                                                                                                \
  } while (0)
#define SETTLED (ONCE ? PN_SETTLED : 0)

PN_ENTRY_EARLY(THREADS, 1) {
  const block_place place = place_of(blockIdx.x / PN_CLUSTER, PN_ROWS, blockIdx.x % PN_CLUSTER);
  key_blocks blocks = blocks_before(place.row0 + PN_ROWS);
  if (SETTLED > 0 && (int)place.rank < blocks.count) {
    copy_k(arguments, place, (int)place.rank, buffer_of(0), SETTLED, true);
    copy_v(arguments, place, (int)place.rank, buffer_of(1), SETTLED, true);
    pn_commit_copies();
  }
  thread_rows rows;
  value_tiles total = {};
  find_rows(place, rows);
  begin_cluster();
  pn_wait_for_inputs();
#ifdef PN_KEY_MASK
  if (blocks.count > PN_CLUSTER) { /* else each rank has one at most, and they are done at once anyway */
    find_visible<WARPS>(arguments, place, blocks, (uint32_t *)(pn_shared + VISIBLE_AT));
    __syncthreads();
  }
#endif
  int block = next_block(blocks, 0, (int)place.rank);
  int next = next_block(blocks, block + 1, PN_CLUSTER - 1);
  copy_q(arguments, place);
  COPY(k, 0, block);
  COPY(v, 1, block);
  COPY(k, 2, next);
  if (block >= blocks.count) {
    __syncthreads(); /* the barrier of the cluster is there */
    begin_receiving();
  }

#pragma unroll 1
  for (int tile = 0; block < blocks.count; tile += 2) {
    const int key0 = block * PN_KEYS;
    score_tiles score = {}, mask;
    load_mask(arguments, rows, key0, mask);
    if (tile == 0) {
      pn_wait_copies_but<2>();
      __syncthreads(); /* q has come */
    } else {
      pn_wait_copies_but<1>();
      __syncwarp(); /* this warp's keys have come */
    }
    if (threadIdx.x / 32 * 16 < PN_KEYS) multiply_keys(buffer_of(tile), score);
    mask_scores(rows, key0, mask, score);
    pn_let_next_start(); /* not before: what it brings would be in the way of q and the last keys */
    __syncthreads(); /* the maxima are there; of the tiles only this v and the next k are still to be read */
    begin_receiving();
    const int after = next_block(blocks, next + 1, PN_CLUSTER - 1);
    if (tile > 0) COPY(k, tile + 2, next);
    COPY(v, tile + 3, next);
    take_softmax(score, rows, total);
    pn_wait_copies_but<2>();
    __syncthreads(); /* the probabilities are there, and v */
    multiply_values(buffer_of(tile + 1), total);
    block = next;
    next = after;
  }
  pn_wait_copies(); /* q's, where there was no key */
  wait_for_cluster();
  send_rows(place, rows, total);
  wait_for_sums();
  store_rows(arguments, place);
}
