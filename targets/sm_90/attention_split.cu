/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Attention by wgmma, for few rows: the keys are shared.
 *
 * A cluster of PN_CLUSTER blocks takes PN_ROWS rows; each block has PN_KEYS keys, 128 at most, once. Keys are wgmma's M
 * in the scores, k q^T, and columns of v in the values, v^T p^T: few rows are its N, and none is wasted. Two warpgroups
 * have 64 keys each, and then every second 64 columns. The rows' maxima and the probabilities go through shared memory.
 * At the end every block has, for all rows, a maximum m, a sum l of exponentials and a sum of values; each block of the
 * cluster adds up, in the order of the ranks, a part of the rows.
 *
 * Keys that were there before the launch in front (PN_SETTLED) are brought while it still runs. Each block has an even
 * share of them, PN_SETTLED_SHARE at most, and of the others, PN_NEW_SHARE: had one block all of those, the cluster
 * would wait for it. Memory is used twice: the probabilities come where q was, the other blocks' sums where k was.
 *
 * PN_WGMMA_SCORES and PN_WGMMA_COLUMNS(sums, a, b, add) are the instructions for PN_ROWS columns, the latter with a's
 * rows in the contiguous dimension.
 */
static_assert(PN_ROWS <= 32, "a lane knows a row");
static_assert(PIECES(PN_E) <= 4, "a warpgroup has two groups of products at most");
#define WARPS 8
#define THREADS (WARPS * 32)
#define OWN_ROWS (PN_ROWS / PN_CLUSTER) /* of this block, at the end */
#define OWN_PAIRS (OWN_ROWS / 2)
#define KEY_STEPS (PN_KEYS / 16)
#define EIGHTS (PN_ROWS / 8)
#define E_TILES ((PIECES(PN_E) + 1) / 2) /* of 64 columns, a warpgroup's at most */
#define E_BLOCKS (PIECES(PN_E) * 4)      /* of 16 columns */

static_assert(OWN_PAIRS * E_BLOCKS * 8 <= THREADS, "the block's own rows are stored in one pass");

/* Bytes from a multiple of 1024. A product reads 64 keys, also where there are fewer. */
#define Q_AT 0
#define P_AT Q_AT
#define Q_BYTES (PIECES(PN_D) * PN_ROWS * 128)
#define P_BYTES (PIECES(PN_KEYS) * PN_ROWS * 128)
#define K_AT (Q_BYTES > P_BYTES ? Q_BYTES : P_BYTES)
#define SUMS_AT K_AT /* [rank][pair of own rows][16 columns][8 threads], four floats */
#define K_BYTES (PIECES(PN_D) * PN_KEYS * 128)
#define SUM_BYTES (PN_ROWS * E_BLOCKS * 64)
#define V_AT (K_AT + (K_BYTES > SUM_BYTES ? K_BYTES : SUM_BYTES))
#define V_BYTES (PIECES(PN_E) * PN_KEYS * 128)
#define TILES_END (V_AT + (V_BYTES > 8192 ? V_BYTES : 8192))
#define MAXIMA_AT TILES_END                         /* [row][warp] */
#define WEIGHTS_AT MAXIMA_AT                        /* [own row][rank], at the end */
#define OF_WARP_AT (MAXIMA_AT + PN_ROWS * 32)       /* the same, sums */
#define OF_RANK_AT (OF_WARP_AT + PN_ROWS * 32)      /* [rank][own row], 16 bytes: m and l */
#define ROWS_BARRIER_AT (OF_RANK_AT + PN_ROWS * 16) /* for what the cluster sends there */
#define SUMS_BARRIER_AT (ROWS_BARRIER_AT + 8)

/* Element e of half h of eight j: row 8 j + 2 (lane % 4) + e, slot 16 (warp) + lane / 4 + 8 h; of values: that
   column. */
typedef float tile_sums[PN_ROWS / 2];

typedef float row_values[PN_ROWS / 4]; /* of a thread's rows, two of each eight */

typedef struct block_state {
  block_place place;
  char *memory;
  uint32_t shared; /* its address in shared memory */
} block_state;

/* ---- Keys ---- */

#define NO_KEY 0x7fffffff /* no row sees it */

/* A block has PN_KEYS slots: its share of the settled keys, its share of the others, and what is left. */
PN_INLINE int settled_key(const block_state &state, int slot) {
  return (int)state.place.rank * PN_SETTLED_SHARE + slot;
}
PN_INLINE int new_key(const block_state &state, int slot) {
  return (int)PN_SETTLED + (int)state.place.rank * PN_NEW_SHARE + slot - PN_SETTLED_SHARE;
}
PN_INLINE int key_at(const block_state &state, int slot) {
  const int settled = settled_key(state, slot), other = new_key(state, slot);
  if (slot < PN_SETTLED_SHARE) return settled < PN_SETTLED ? settled : NO_KEY;
  return slot < PN_SETTLED_SHARE + PN_NEW_SHARE && other < ALL_KEYS ? other : NO_KEY;
}
/* Whether one of the block's rows may see one of its keys. */
PN_INLINE bool sees_keys(const block_state &state) {
  const int settled = key_at(state, 0), other = key_at(state, PN_SETTLED_SHARE);
  return (settled < other ? settled : other) < row_limit(state.place.row0 + PN_ROWS - 1);
}

/* ---- Loading ---- */

/* Of 16 bytes: of 16 zeros where there is nothing to copy, and none if a thread has fewer. */
typedef struct chunk_copy {
  const uint16_t *from;
  uint32_t to;
  bool wanted, exists;
} chunk_copy;

PN_INLINE void begin_copy(const chunk_copy &copy) {
  if (copy.wanted) pn_copy_chunk(copy.to, copy.from, copy.exists ? 16 : 0);
}
/* All of it that need not wait for the launch in front, so that as little as can be is left to do. */
PN_INLINE void prepare_copy(chunk_copy &copy) {
  if (copy.wanted && !copy.exists) pn_copy_chunk(copy.to, copy.from, 0);
}
PN_INLINE void begin_prepared(const chunk_copy &copy) {
  pn_copy_if(copy.wanted && copy.exists, copy.to, copy.from);
}
PN_INLINE void pin_copy(chunk_copy &copy) {
  pn_pin(copy.from);
  pn_pin(copy.to);
}

/* A thread's copies, for rows of `chunks` chunks. */
#define COPIES(rows, chunks) (((rows) * (chunks) + THREADS - 1) / THREADS)
typedef struct late_copies { /* of what the launch in front may have written */
  chunk_copy q[COPIES(PN_ROWS, CHUNKS(PN_D))], k[COPIES(PN_NEW_SHARE, CHUNKS(PN_D)) + 1],
      v[COPIES(PN_NEW_SHARE, CHUNKS(PN_E)) + 1]; /* one more: there may be none */
} late_copies;

PN_INLINE chunk_copy q_copy(const pinion_pointers &arguments, const block_state &state, unsigned i) {
  const unsigned chunk = (i * THREADS + threadIdx.x) % CHUNKS(PN_D), n = (i * THREADS + threadIdx.x) / CHUNKS(PN_D);
  const unsigned row = state.place.row0 + n;
  const int64_t at = row_offset(1, state.place, row) + chunk * 8;
  return {(const uint16_t *)arguments.pointer[1] + at, state.shared + Q_AT + chunk_place(PN_ROWS, n, chunk),
          n < PN_ROWS, row < HEAD_ROWS && chunk < PN_D / 8};
}

/* Of the block's rows of k (argument 2) or v (3), of `width` elements: the new ones; or the settled ones, and then
   those of slots that are left, which are 0. */
template <int argument, unsigned width, bool is_new>
PN_INLINE chunk_copy key_copy(const pinion_pointers &arguments, const block_state &state, uint32_t to, unsigned i) {
  const unsigned chunk = (i * THREADS + threadIdx.x) % CHUNKS(width), n = (i * THREADS + threadIdx.x) / CHUNKS(width);
  const bool is_left = !is_new && n >= PN_SETTLED_SHARE;
  const unsigned slot = is_new ? n + PN_SETTLED_SHARE : is_left ? n + PN_NEW_SHARE : n;
  const int key = is_new ? new_key(state, (int)slot) : settled_key(state, (int)slot);
  const int64_t at =
      pn_offset(&shape, argument, 0, 2, state.place.at) + key * shape.stride[argument][PN_KEY] + chunk * 8;
  const bool exists = !is_left && key < (is_new ? ALL_KEYS : (int)PN_SETTLED) && chunk < width / 8;
  return {(const uint16_t *)arguments.pointer[argument] + at, to + chunk_place(PN_KEYS, slot, chunk),
          n < (is_new ? PN_NEW_SHARE : PN_KEYS - PN_NEW_SHARE), exists};
}
template <bool is_new>
PN_INLINE chunk_copy k_copy(const pinion_pointers &arguments, const block_state &state, unsigned i) {
  return key_copy<2, PN_D, is_new>(arguments, state, state.shared + K_AT, i);
}
template <bool is_new>
PN_INLINE chunk_copy v_copy(const pinion_pointers &arguments, const block_state &state, unsigned i) {
  return key_copy<3, PN_E, is_new>(arguments, state, state.shared + V_AT, i);
}

PN_INLINE void copy_settled_k(const pinion_pointers &arguments, const block_state &state) {
#pragma unroll 4
  for (unsigned i = 0; i < COPIES(PN_KEYS - PN_NEW_SHARE, CHUNKS(PN_D)); i++)
    begin_copy(k_copy<false>(arguments, state, i));
}
PN_INLINE void copy_settled_v(const pinion_pointers &arguments, const block_state &state) {
#pragma unroll 4
  for (unsigned i = 0; i < COPIES(PN_KEYS - PN_NEW_SHARE, CHUNKS(PN_E)); i++)
    begin_copy(v_copy<false>(arguments, state, i));
}

/* Without keys only those of q. */
PN_INLINE void prepare_copies(const pinion_pointers &arguments, const block_state &state, bool has_keys,
                              late_copies &copies) {
#pragma unroll
  for (unsigned i = 0; i < COPIES(PN_ROWS, CHUNKS(PN_D)); i++) {
    copies.q[i] = q_copy(arguments, state, i);
    prepare_copy(copies.q[i]);
  }
#pragma unroll
  for (unsigned i = 0; i < COPIES(PN_NEW_SHARE, CHUNKS(PN_D)); i++) {
    copies.k[i] = k_copy<true>(arguments, state, i);
    copies.k[i].wanted &= has_keys;
    prepare_copy(copies.k[i]);
  }
#pragma unroll
  for (unsigned i = 0; i < COPIES(PN_NEW_SHARE, CHUNKS(PN_E)); i++) {
    copies.v[i] = v_copy<true>(arguments, state, i);
    copies.v[i].wanted &= has_keys;
    prepare_copy(copies.v[i]);
  }
}
/* Keeps the compiler from making what is prepared only where it is used, when all wait for it. */
PN_INLINE void pin_copies(late_copies &copies) {
#pragma unroll
  for (int i = 0; i < COPIES(PN_ROWS, CHUNKS(PN_D)); i++) pin_copy(copies.q[i]);
#pragma unroll
  for (int i = 0; i < COPIES(PN_NEW_SHARE, CHUNKS(PN_D)); i++) pin_copy(copies.k[i]);
#pragma unroll
  for (int i = 0; i < COPIES(PN_NEW_SHARE, CHUNKS(PN_E)); i++) pin_copy(copies.v[i]);
}
PN_INLINE void begin_copies(const late_copies &copies) {
#pragma unroll
  for (int i = 0; i < COPIES(PN_ROWS, CHUNKS(PN_D)); i++) begin_prepared(copies.q[i]);
#pragma unroll
  for (int i = 0; i < COPIES(PN_NEW_SHARE, CHUNKS(PN_D)); i++) begin_prepared(copies.k[i]);
#pragma unroll
  for (int i = 0; i < COPIES(PN_NEW_SHARE, CHUNKS(PN_E)); i++) begin_prepared(copies.v[i]);
}

/* ---- Scores ---- */

PN_INLINE unsigned row_of(int eight, int e) {
  return eight * 8 + threadIdx.x % 4 * 2 + e;
}
PN_INLINE int slot_of(int half) {
  return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + half * 8;
}

/* Begins score = k . q of the warpgroup's 64 keys. */
PN_INLINE void begin_scores(const block_state &state, int warpgroup, tile_sums &score) {
  const uint64_t k = pn_wgmma_operand(state.shared + K_AT + warpgroup * 8192, 16);
  const uint64_t q = pn_wgmma_operand(state.shared + Q_AT, 16);
  pn_pin(score);
  pn_wgmma_begin();
#pragma unroll
  for (int step = 0; step < D_STEPS; step++)
    PN_WGMMA_SCORES(score, k + step / 4 * (PN_KEYS * 8) + step % 4 * 2, q + step / 4 * (PN_ROWS * 8) + step % 4 * 2,
                    step > 0 ? 1 : 0);
  pn_wgmma_commit();
}
PN_INLINE void finish_scores(tile_sums &score) {
  pn_wgmma_wait();
  pn_pin(score);
}

/* ---- The mask ---- */

/* What a thread reads of it: a key's two, where it is the same for all queries, or a score's. */
#if PN_MASK
typedef PN_C4 mask_value;
#else
typedef float mask_value;
#endif
#ifdef PN_KEY_MASK
#define MASK_AT(i) ((i) / 2 % 2) /* of score i */
#define MASK_VALUES 2
#else
#define MASK_AT(i) (i)
#define MASK_VALUES (PN_ROWS / 2)
#endif
typedef struct thread_mask {
  int64_t offset[MASK_VALUES];
  mask_value value[MASK_VALUES];
} thread_mask;

/* Where there is no such row or key any other's will do: bounds hide it. */
PN_INLINE void find_mask(const block_state &state, thread_mask &mask) {
#if PN_MASK
#pragma unroll
  for (int i = 0; i < PN_ROWS / 2; i++) {
#ifdef PN_KEY_MASK
    const unsigned row = 0;
#else
    const unsigned last = HEAD_ROWS - 1, own = state.place.row0 + row_of(i / 4, i % 2), row = own < last ? own : last;
#endif
    const int key = key_at(state, slot_of(i / 2 % 2));
    mask.offset[MASK_AT(i)] = row_offset(4, state.place, row) + (key == NO_KEY ? 0 : key) * shape.stride[4][PN_KEY];
  }
#endif
}
PN_INLINE void load_mask(const pinion_pointers &arguments, thread_mask &mask) {
#if PN_MASK
#pragma unroll
  for (int i = 0; i < MASK_VALUES; i++) mask.value[i] = PN_LOAD(4, mask.offset[i]);
#endif
}

/* What a score is at most: nothing where the row does not see the key, by their places. */
PN_INLINE void find_bounds(const block_state &state, tile_sums &bound) {
#pragma unroll
  for (int i = 0; i < PN_ROWS / 2; i++) {
    const unsigned row = state.place.row0 + row_of(i / 4, i % 2);
    const bool seen = row < HEAD_ROWS && key_at(state, slot_of(i / 2 % 2)) < row_limit(row);
    bound[i] = seen ? PN_INFINITY : -PN_INFINITY;
  }
}
/* The same, by a mask of bools. */
PN_INLINE void lower_bounds(const thread_mask &mask, tile_sums &bound) {
  pn_pin(bound);
#if PN_MASK == 2
#pragma unroll
  for (int i = 0; i < PN_ROWS / 2; i++) bound[i] = mask.value[MASK_AT(i)] ? bound[i] : -PN_INFINITY;
#endif
}

PN_INLINE void pin_mask(thread_mask &mask, tile_sums &bound) {
#if PN_MASK
#pragma unroll
  for (int i = 0; i < MASK_VALUES; i++) pn_pin(mask.offset[i]);
#endif
  pn_pin(bound);
}

/* ---- What the block's threads know of a row together ---- */

/* Combines the values of a row in the eight threads of a warp that have it, and leaves the result in `of_warp`,
   [row][warp]: in each of three steps a thread gives away half of its rows, and ends with one, or where there are few
   with none. */
template <typename function> PN_INLINE void combine_rows(row_values &values, char *of_warp, function combined) {
  const int lane = threadIdx.x % 32;
  int first = 0, count = PN_ROWS / 4; /* rows that the thread still has */
#pragma unroll
  for (int lanes = 16; lanes >= 4; lanes /= 2) {
    const bool upper = lane & lanes;
    if (count == 1) { /* both keep it */
      values[0] = combined(values[0], __shfl_xor_sync(0xffffffffu, values[0], lanes));
      continue;
    }
    count /= 2;
    first += upper ? count : 0;
#pragma unroll
    for (int i = 0; i < count; i++) {
      const float kept = upper ? values[count + i] : values[i], given = upper ? values[i] : values[count + i];
      values[i] = combined(kept, __shfl_xor_sync(0xffffffffu, given, lanes));
    }
  }
#pragma unroll
  for (int i = 0; i < count; i++)
    *(float *)(of_warp + (row_of((first + i) / 2, (first + i) % 2) * WARPS + threadIdx.x / 32) * 4) = values[i];
}

/* What the warps left of a row, combined. */
template <typename function> PN_INLINE float over_warps(const char *of_warp, unsigned row, function combined) {
  const float4 *of_row = (const float4 *)(of_warp + row * WARPS * 4), a = of_row[0], b = of_row[1];
  return combined(combined(combined(a.x, a.y), combined(a.z, a.w)), combined(combined(b.x, b.y), combined(b.z, b.w)));
}
PN_INLINE float greatest(const block_state &state, unsigned row) {
  return over_warps(state.memory + MAXIMA_AT, row, [](float x, float y) { return fmaxf(x, y); });
}

/* ---- Softmax ---- */

/* Masks the scores, and leaves the greatest of each row where all warps find it. */
PN_INLINE void mask_scores(const block_state &state, const thread_mask &mask, const tile_sums &bound,
                           tile_sums &score) {
  row_values maximum;
#pragma unroll
  for (int i = 0; i < PN_ROWS / 2; i++) {
#if PN_MASK == 1
    score[i] = score[i] * SCALE + mask.value[MASK_AT(i)];
#endif
    score[i] = fminf(score[i], bound[i]); /* what is not a number is hidden, too; seen, it becomes infinite */
  }
#pragma unroll
  for (int i = 0; i < PN_ROWS / 4; i++) maximum[i] = fmaxf(score[i / 2 * 4 + i % 2], score[i / 2 * 4 + 2 + i % 2]);
  combine_rows(maximum, state.memory + MAXIMA_AT, [](float x, float y) { return fmaxf(x, y); });
}

/* The exponentials, in bf16, into shared memory: rows of p are keys. `sum`: of this thread's; `maximum`: the greatest
   score of row `lane`. */
PN_INLINE void take_softmax(const block_state &state, const tile_sums &score, float &maximum, row_values &sum) {
  const unsigned lane = threadIdx.x % 32;
  uint32_t p[EIGHTS][2]; /* [half] */
  maximum = greatest(state, lane % PN_ROWS);
  const float centre_of_lane = centre_of(maximum);
#pragma unroll
  for (int eight = 0; eight < EIGHTS; eight++) {
    float centre[2], x[4];
    for (int e = 0; e < 2; e++) centre[e] = __shfl_sync(0xffffffffu, centre_of_lane, (int)row_of(eight, e));
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = exponential(score[eight * 4 + i], centre[i % 2]);
    for (int e = 0; e < 2; e++) sum[eight * 2 + e] = x[e] + x[2 + e];
    for (int half = 0; half < 2; half++) p[eight][half] = pn_pack_bf16(x[half * 2], x[half * 2 + 1]);
  }
  if (threadIdx.x / 32 * 16 >= PN_KEYS) return;
#pragma unroll
  for (int eight = 0; eight < EIGHTS; eight++) { /* a row's address of the lower or the upper eight keys */
    const unsigned row = eight * 8 + lane % 8, key = threadIdx.x / 32 * 16 + lane / 8 % 2 * 8;
    pn_store_transposed(state.shared + P_AT + chunk_place(PN_ROWS, row, key / 8), p[eight]);
  }
}

/* Begins value = v^T . p^T of the warpgroup's columns: tiles `warpgroup`, `warpgroup` + 2, a group of products each. */
PN_INLINE void begin_values(const block_state &state, int warpgroup, tile_sums (&value)[E_TILES]) {
  const uint64_t v = pn_wgmma_operand(state.shared + V_AT, 16), p = pn_wgmma_operand(state.shared + P_AT, 16);
#pragma unroll
  for (int tile = 0; tile < E_TILES; tile++) pn_pin(value[tile]);
  pn_wgmma_begin();
#pragma unroll
  for (int tile = 0; tile < E_TILES; tile++) {
    const int piece = tile * 2 + warpgroup < PIECES(PN_E) ? tile * 2 + warpgroup : 0; /* any: it is not sent */
#pragma unroll
    for (int step = 0; step < KEY_STEPS; step++)
      PN_WGMMA_COLUMNS(value[tile], v + piece * (PN_KEYS * 8) + step * 128, p + step / 4 * (PN_ROWS * 8) + step % 4 * 2,
                       step > 0 ? 1 : 0);
    pn_wgmma_commit();
  }
}

/* ---- The cluster's sums ---- */

/* Of a block: m and l of row `lane`, to the block that owns it. */
PN_INLINE void send_row(const block_state &state, float maximum) {
  const unsigned row = threadIdx.x;
  if (row >= PN_ROWS) return;
  const float sum = over_warps(state.memory + OF_WARP_AT, row, [](float x, float y) { return x + y; });
  pn_send(state.shared + OF_RANK_AT + (state.place.rank * OWN_ROWS + row % OWN_ROWS) * 16, row / OWN_ROWS,
          float4{maximum, sum, 0, 0}, state.shared + ROWS_BARRIER_AT);
}

/* The same of every pair of rows' values in a tile. */
PN_INLINE void send_tile(const block_state &state, int tile, const tile_sums &value) {
  const int lane = threadIdx.x % 32, e_block = tile * 4 + threadIdx.x / 32 % 4;
#pragma unroll
  for (int eight = 0; eight < EIGHTS; eight++) {
    const float *four = value + eight * 4;
    const unsigned row = row_of(eight, 0), pair = row % OWN_ROWS / 2;
    const uint32_t slot = ((state.place.rank * OWN_PAIRS + pair) * E_BLOCKS + e_block) * 8 + lane / 4;
    pn_send(state.shared + SUMS_AT + slot * 16, row / OWN_ROWS, float4{four[0], four[1], four[2], four[3]},
            state.shared + SUMS_BARRIER_AT);
  }
}

/* Each tile as soon as it is done, while the next is multiplied. */
PN_INLINE void send_values(const block_state &state, int warpgroup, tile_sums (&value)[E_TILES]) {
#pragma unroll
  for (int tile = 0; tile < E_TILES; tile++) {
    if (tile + 1 < E_TILES)
      pn_wgmma_wait<1>();
    else
      pn_wgmma_wait();
    pn_pin(value[tile]);
    if (tile * 2 + warpgroup < PIECES(PN_E)) send_tile(state, tile * 2 + warpgroup, value[tile]);
  }
}

/* What a rank's sums of a row count in the result: [own row][rank], for all threads of the block. */
PN_INLINE void weigh_ranks(const block_state &state) {
  if (threadIdx.x < 32) {
    const unsigned own = threadIdx.x / PN_CLUSTER % OWN_ROWS, rank = threadIdx.x % PN_CLUSTER;
    pn_barrier_wait_for_cluster(state.shared + ROWS_BARRIER_AT);
    const float4 of_rank = ((const float4 *)(state.memory + OF_RANK_AT))[rank * OWN_ROWS + own];
    float maximum = of_rank.x;
#pragma unroll
    for (int lanes = 1; lanes < PN_CLUSTER; lanes *= 2)
      maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, lanes));
    const float factor = exponential(of_rank.x, centre_of(maximum));
    float sum = of_rank.y * factor;
#pragma unroll
    for (int lanes = 1; lanes < PN_CLUSTER; lanes *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
    ((float *)(state.memory + WEIGHTS_AT))[own * PN_CLUSTER + rank] = factor * inverse_sum(sum);
  }
  __syncthreads();
}

/* Adds up this block's own rows: a thread two columns, 8 apart, of two rows. Neighbours exchange, so that each stores
   two columns of one row. */
PN_INLINE void store_rows(const pinion_pointers &arguments, const block_state &state) {
  const unsigned i = threadIdx.x, own = i / (E_BLOCKS * 8) * 2, odd = i % 2;
  const unsigned column = i / 8 % E_BLOCKS * 16 + i % 8 - odd;
  const unsigned row = state.place.row0 + state.place.rank * OWN_ROWS + own + odd;
  const bool has_rows = own < OWN_ROWS; /* whole warps */
  const float4 *sums = (const float4 *)(state.memory + SUMS_AT) + i;
  float weight[2][PN_CLUSTER], value[4] = {0, 0, 0, 0};
  if (!has_rows) return;
#pragma unroll
  for (int rank = 0; rank < 2 * PN_CLUSTER; rank++)
    weight[rank / PN_CLUSTER][rank % PN_CLUSTER] =
        ((const float *)(state.memory + WEIGHTS_AT))[own * PN_CLUSTER + rank];
  pn_barrier_wait_for_cluster(state.shared + SUMS_BARRIER_AT);
#pragma unroll
  for (int rank = 0; rank < PN_CLUSTER; rank++) {
    const float4 x = sums[rank * (OWN_PAIRS * E_BLOCKS * 8)];
    value[0] += x.x * weight[0][rank];
    value[1] += x.y * weight[1][rank];
    value[2] += x.z * weight[0][rank];
    value[3] += x.w * weight[1][rank];
  }
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float first = value[half * 2], second = value[half * 2 + 1];
    const float other = __shfl_xor_sync(0xffffffffu, odd ? first : second, 1);
    const uint32_t both = odd ? pn_pack_bf16(other, second) : pn_pack_bf16(first, other);
    if (row < HEAD_ROWS && column + half * 8 < PN_E)
      *(uint32_t *)((uint16_t *)arguments.pointer[0] + row_offset(0, state.place, row) + column + half * 8) = both;
  }
}

/* ---- The block ---- */

PN_INLINE block_state begin_block(void) {
  block_state state;
  state.place = place_of(blockIdx.x / PN_CLUSTER, PN_ROWS, blockIdx.x % PN_CLUSTER);
  state.memory = pn_shared + (-pn_shared_address(pn_shared) & 1023);
  state.shared = pn_shared_address(state.memory);
  if (threadIdx.x == 0) {
    pn_barrier_init(state.shared + ROWS_BARRIER_AT, 1);
    pn_barrier_init(state.shared + SUMS_BARRIER_AT, 1);
    pn_barrier_expect(state.shared + ROWS_BARRIER_AT, PN_ROWS * 16);
    pn_barrier_expect(state.shared + SUMS_BARRIER_AT, PN_ROWS * E_BLOCKS * 64);
    pn_barrier_publish();
  }
  __syncwarp();
  return state;
}

PN_ENTRY_EARLY(THREADS, 1) {
  const block_state state = begin_block();
  const int warpgroup = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0);
  const bool has_keys = sees_keys(state);
  tile_sums score = {}, bound, value[E_TILES] = {};
  late_copies copies;
  thread_mask mask;
  row_values sum;
  float maximum;
  if (has_keys) copy_settled_k(arguments, state);
  prepare_copies(arguments, state, has_keys, copies);
  find_mask(state, mask);
  find_bounds(state, bound);
  pin_copies(copies);
  pin_mask(mask, bound);
  if (has_keys) copy_settled_v(arguments, state);
  pn_wait_for_inputs();
  begin_copies(copies);
  load_mask(arguments, mask);
  pn_wait_copies();
  pn_wgmma_sees_writes();
  __syncthreads(); /* all has come */
  if (has_keys && warpgroup * 64 < PN_KEYS) begin_scores(state, warpgroup, score);
  lower_bounds(mask, bound); /* beside the product */
  finish_scores(score);
  mask_scores(state, mask, bound, score);
  pn_let_next_start(); /* not before: what it brings would be in the way of q and the last keys */
  __syncthreads();     /* the maxima are there; q and k have been read */
  pn_cluster_begin();
  take_softmax(state, score, maximum, sum);
  pn_wgmma_sees_writes();
  __syncthreads(); /* the probabilities are there */
  if (has_keys) begin_values(state, warpgroup, value);
  combine_rows(sum, state.memory + OF_WARP_AT, [](float x, float y) { return x + y; });
  __syncthreads(); /* their sums are there */
  pn_cluster_wait();
  send_row(state, maximum);
  send_values(state, warpgroup, value);
  weigh_ranks(state);
  store_rows(arguments, state);
}
