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
#define WARPS 8
#define THREADS (WARPS * 32)
#define OWN_ROWS (PN_ROWS / PN_CLUSTER) /* of this block, at the end */
#define OWN_PAIRS (OWN_ROWS / 2)
#define KEY_STEPS (PN_KEYS / 16)
#define EIGHTS (PN_ROWS / 8)
#define E_TILES ((PIECES(PN_E) + 1) / 2) /* of 64 columns, a warpgroup's at most */
#define E_BLOCKS (PIECES(PN_E) * 4)      /* of 16 columns */

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
#define MAXIMA_AT TILES_END                    /* [row][warp] */
#define OF_WARP_AT (MAXIMA_AT + PN_ROWS * 32)  /* the same, sums */
#define OF_RANK_AT (OF_WARP_AT + PN_ROWS * 32) /* [rank][own row], 16 bytes: m and l */
#define BARRIER_AT (OF_RANK_AT + PN_ROWS * 16) /* for what the cluster sends */

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

/* score = k . q of the warpgroup's 64 keys. */
PN_INLINE void multiply_keys(const block_state &state, int warpgroup, tile_sums &score) {
  const uint64_t k = pn_wgmma_operand(state.shared + K_AT + warpgroup * 8192, 16);
  const uint64_t q = pn_wgmma_operand(state.shared + Q_AT, 16);
  pn_pin(score);
  pn_wgmma_begin();
#pragma unroll
  for (int step = 0; step < D_STEPS; step++)
    PN_WGMMA_SCORES(score, k + step / 4 * (PN_KEYS * 8) + step % 4 * 2, q + step / 4 * (PN_ROWS * 8) + step % 4 * 2,
                    step > 0 ? 1 : 0);
  pn_wgmma_finish();
  pn_pin(score);
}

/* The mask of this thread's scores, as far as they are of keys that the rows may see; 0 of the others. */
PN_INLINE void load_mask(const pinion_pointers &arguments, const block_state &state, tile_sums &mask) {
#if PN_MASK
#pragma unroll
  for (int i = 0; i < PN_ROWS / 2; i++) {
    const unsigned row = state.place.row0 + row_of(i / 4, i % 2);
    const int key = key_at(state, slot_of(i / 2 % 2));
    const bool seen = row < HEAD_ROWS && key < row_limit(row);
    mask[i] = seen ? (float)PN_LOAD(4, row_offset(4, state.place, row) + key * shape.stride[4][PN_KEY]) : 0;
  }
#endif
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
PN_INLINE void mask_scores(const block_state &state, const tile_sums &mask, tile_sums &score) {
  row_values maximum;
#pragma unroll
  for (int eight = 0; eight < EIGHTS; eight++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      const unsigned row = state.place.row0 + row_of(eight, e);
      const int limit = row < HEAD_ROWS ? row_limit(row) : 0;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int i = eight * 4 + half * 2 + e;
        bool hidden = key_at(state, slot_of(half)) >= limit;
#if PN_MASK == 1
        score[i] = score[i] * SCALE + mask[i];
#elif PN_MASK == 2
        hidden |= mask[i] == 0;
#endif
        if (hidden) score[i] = -PN_INFINITY;
      }
      maximum[eight * 2 + e] = fmaxf(score[eight * 4 + e], score[eight * 4 + 2 + e]);
    }
  combine_rows(maximum, state.memory + MAXIMA_AT, [](float x, float y) { return fmaxf(x, y); });
}

/* The exponentials, in bf16, and of each warp their sums, into shared memory: rows of p are keys. */
PN_INLINE void take_softmax(const block_state &state, const tile_sums &score) {
  row_values sum;
#pragma unroll
  for (int eight = 0; eight < EIGHTS; eight++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      const unsigned row = row_of(eight, e);
      const float centre = centre_of(greatest(state, row));
      const float x = exponential(score[eight * 4 + e], centre), y = exponential(score[eight * 4 + 2 + e], centre);
      const uint32_t both = pn_pack_bf16(x, y);
      sum[eight * 2 + e] = x + y;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const unsigned key = slot_of(half), chunk = key % 64 / 8;
        const uint32_t at = P_AT + (key / 64 * PN_ROWS + row) * 128 + ((chunk ^ row) % 8) * 16 + key % 8 * 2;
        if (key < PN_KEYS) *(uint16_t *)(state.memory + at) = (uint16_t)(half ? both >> 16 : both);
      }
    }
  combine_rows(sum, state.memory + OF_WARP_AT, [](float x, float y) { return x + y; });
}

/* Begins value = v^T . p^T of the warpgroup's columns: tiles `warpgroup`, `warpgroup` + 2. */
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
  }
  pn_wgmma_commit();
}
PN_INLINE void finish_values(tile_sums (&value)[E_TILES]) {
  pn_wgmma_wait();
#pragma unroll
  for (int tile = 0; tile < E_TILES; tile++) pn_pin(value[tile]);
}

/* ---- The cluster's sums ---- */

PN_INLINE void send(const block_state &state, uint32_t at, uint32_t owner, float4 x) {
  pn_send(state.shared + at, owner, x, state.shared + BARRIER_AT);
}

/* Sends every pair of rows' values to the block that owns it. */
PN_INLINE void send_values(const block_state &state, int warpgroup, const tile_sums (&value)[E_TILES]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
  for (int tile = 0; tile < E_TILES; tile++) {
    const int e_block = (tile * 2 + warpgroup) * 4 + warp;
    if (tile * 2 + warpgroup >= PIECES(PN_E)) continue;
#pragma unroll
    for (int eight = 0; eight < EIGHTS; eight++) {
      const float *four = value[tile] + eight * 4;
      const unsigned row = row_of(eight, 0), pair = row % OWN_ROWS / 2;
      const uint32_t slot = ((state.place.rank * OWN_PAIRS + pair) * E_BLOCKS + e_block) * 8 + lane / 4;
      send(state, SUMS_AT + slot * 16, row / OWN_ROWS, float4{four[0], four[1], four[2], four[3]});
    }
  }
}

/* The same of every row's m and l. */
PN_INLINE void send_rows(const block_state &state) {
  const unsigned row = threadIdx.x;
  if (row >= PN_ROWS) return;
  const float sum = over_warps(state.memory + OF_WARP_AT, row, [](float x, float y) { return x + y; });
  send(state, OF_RANK_AT + (state.place.rank * OWN_ROWS + row % OWN_ROWS) * 16, row / OWN_ROWS,
       float4{greatest(state, row), sum, 0, 0});
}

/* Adds up this block's own rows: a thread two columns, 8 apart, of two rows. Neighbours exchange, so that each stores
   two columns of one row. */
PN_INLINE void store_rows(const pinion_pointers &arguments, const block_state &state) {
  const float4 *sums = (const float4 *)(state.memory + SUMS_AT), *of_rank = (const float4 *)(state.memory + OF_RANK_AT);
  for (unsigned i = threadIdx.x; i < OWN_PAIRS * E_BLOCKS * 8; i += THREADS) { /* whole warps */
    const unsigned own = i / (E_BLOCKS * 8) * 2, odd = i % 2, column = i / 8 % E_BLOCKS * 16 + i % 8 - odd;
    float value[4] = {0, 0, 0, 0}, inverse[2];
#pragma unroll
    for (int e = 0; e < 2; e++) {
      float maximum = -PN_INFINITY, sum = 0;
#pragma unroll
      for (int rank = 0; rank < PN_CLUSTER; rank++) maximum = fmaxf(maximum, of_rank[rank * OWN_ROWS + own + e].x);
      const float centre = centre_of(maximum);
#pragma unroll
      for (int rank = 0; rank < PN_CLUSTER; rank++) {
        const float4 part = of_rank[rank * OWN_ROWS + own + e], x = sums[rank * (OWN_PAIRS * E_BLOCKS * 8) + i];
        const float factor = exponential(part.x, centre);
        sum += part.y * factor;
        value[e] += (e ? x.y : x.x) * factor;
        value[2 + e] += (e ? x.w : x.z) * factor;
      }
      inverse[e] = inverse_sum(sum);
    }
    const unsigned row = state.place.row0 + state.place.rank * OWN_ROWS + own + odd;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float first = value[half * 2] * inverse[0], second = value[half * 2 + 1] * inverse[1];
      const float other = __shfl_xor_sync(0xffffffffu, odd ? first : second, 1);
      const uint32_t both = odd ? pn_pack_bf16(other, second) : pn_pack_bf16(first, other);
      if (row < HEAD_ROWS && column + half * 8 < PN_E)
        *(uint32_t *)((uint16_t *)arguments.pointer[0] + row_offset(0, state.place, row) + column + half * 8) = both;
    }
  }
}

/* ---- The block ---- */

PN_INLINE block_state begin_block(void) {
  block_state state;
  state.place = place_of(blockIdx.x / PN_CLUSTER, PN_ROWS, blockIdx.x % PN_CLUSTER);
  state.memory = pn_shared + (-pn_shared_address(pn_shared) & 1023);
  state.shared = pn_shared_address(state.memory);
  if (threadIdx.x == 0) {
    pn_barrier_init(state.shared + BARRIER_AT, 1);
    pn_barrier_expect(state.shared + BARRIER_AT, PN_ROWS * (E_BLOCKS * 64 + 16));
    pn_barrier_publish();
  }
  __syncwarp();
  return state;
}

PN_ENTRY_EARLY(THREADS, 1) {
  const block_state state = begin_block();
  const int warpgroup = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0);
  const bool has_keys = sees_keys(state);
  tile_sums score = {}, mask, value[E_TILES] = {};
  late_copies copies;
  if (has_keys) copy_settled_k(arguments, state);
  prepare_copies(arguments, state, has_keys, copies);
  pin_copies(copies);
  if (has_keys) copy_settled_v(arguments, state);
  pn_wait_for_inputs();
  begin_copies(copies);
  load_mask(arguments, state, mask);
  pn_wait_copies();
  pn_wgmma_sees_writes();
  __syncthreads(); /* all has come */
  if (has_keys && warpgroup * 64 < PN_KEYS) multiply_keys(state, warpgroup, score);
  mask_scores(state, mask, score);
  pn_let_next_start(); /* not before: what it brings would be in the way of q and the last keys */
  __syncthreads();     /* the maxima are there; q and k have been read */
  pn_cluster_begin();
  take_softmax(state, score);
  pn_wgmma_sees_writes();
  __syncthreads(); /* the probabilities are there, and their sums */
  if (has_keys) begin_values(state, warpgroup, value);
  pn_cluster_wait();
  send_rows(state);
  finish_values(value);
  send_values(state, warpgroup, value);
  pn_barrier_wait_for_cluster(state.shared + BARRIER_AT);
  store_rows(arguments, state);
}
