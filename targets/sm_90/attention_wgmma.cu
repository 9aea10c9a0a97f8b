/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Attention by wgmma, for many rows.
 *
 * A block takes PN_ROW_GROUPS times 64 rows. Each of its PN_ROW_GROUPS * PN_KEY_GROUPS multiplying warpgroups has 64 of
 * them, and every PN_KEY_GROUPS-th block of keys: scores, probabilities and sums stay in its registers. Two key groups
 * add up their sums at the end, each for half of the columns. One more warpgroup brings q, and then tiles in rounds,
 * PN_STAGES in flight: k of one block of keys for each key group, and v of the same ones.
 *
 * PN_WGMMA_SCORES and PN_WGMMA_VALUES(sums, a, b, add) are the instructions for PN_KEYS and PN_E columns.
 */
#define ROWS (PN_ROW_GROUPS * 64)
#define CONSUMERS (PN_ROW_GROUPS * PN_KEY_GROUPS * 128)
#define THREADS (CONSUMERS + 128)
#define MOST_PIECES (PIECES(PN_D) > PIECES(PN_E) ? PIECES(PN_D) : PIECES(PN_E))
#define KEY_STEPS (PN_KEYS / 16)
#define E_TILES (PN_E / 8)
#define MANY_SUMS (PN_E / 2 + PN_KEYS * 3 / 4 > 160) /* a thread's sums, scores and probabilities */

/* Bytes from a multiple of 1024. The sums that key groups exchange come where q and the tiles were. */
#define Q_BYTES (PIECES(PN_D) * ROWS * 128)
#define TILE_BYTES (MOST_PIECES * PN_KEYS * 128)
#define TILES_END (Q_BYTES + PN_STAGES * TILE_BYTES)
#define SUM_BYTES (PN_KEY_GROUPS > 1 ? PN_ROW_GROUPS * (E_TILES * 4 + PN_KEY_GROUPS * 4) * 128 * 4 : 0)
#define BARRIERS_AT (TILES_END > SUM_BYTES ? TILES_END : SUM_BYTES)
#define VISIBLE_AT (BARRIERS_AT + (2 * PN_STAGES + 1) * 8)

enum { MULTIPLYING_THREADS = 1, ALL_THREADS }; /* numbered barriers */

/* What all threads of the block know. */
typedef struct block_state {
  block_place place;
  key_blocks blocks;
  char *memory;
  uint32_t q, tiles;            /* addresses in shared memory */
  uint32_t q_full, full, empty; /* barriers; of tiles PN_STAGES each */
} block_state;

/* ---- Loading ---- */

/* Begins to copy `extent` rows, 0 from row `count` on; `chunks` of 16 bytes each, of which `whole` are not padding. As
   many neighbouring threads as 8 chunks take, or the fewer that are left over, share a row: so a thread has the same
   chunk of all its rows, at the same place of the swizzle, and all addresses are its first ones and a constant.
   `offset(row, more)` is that of the row `more` after `row`, in elements. */
template <int chunks, int whole, int extent, typename offset_function>
PN_INLINE void copy_rows(uint32_t to, const void *base, int count, offset_function offset) {
  const int thread = threadIdx.x % 128;
#pragma unroll
  for (int first = 0; first < chunks; first += 8) {
    const int left = chunks - first, threads = left > 4 ? 8 : left > 2 ? 4 : left, rows = 128 / threads;
    const int row0 = thread / threads, chunk = first + thread % threads;
    uint32_t place = to + chunk_place(extent, row0, chunk);
    const uint16_t *from = (const uint16_t *)base + offset(row0, 0) + chunk * 8;
    pn_pin(place), pn_pin(from);
    if (chunk >= chunks) continue;
#pragma unroll
    for (int row = 0; row < extent; row += rows)
      if (extent % rows == 0 || row0 + row < extent)
        pn_copy_chunk(place + row * 128, from + (offset(row0, row) - offset(row0, 0)),
                      row0 < count - row && chunk < whole ? 16 : 0);
  }
}

/* Of k (argument 2) or v (3). */
template <int argument, int chunks, int whole>
PN_INLINE void copy_tile(const pinion_pointers &arguments, const block_state &state, int block, uint32_t to) {
  const int64_t stride = shape.stride[argument][PN_KEY];
  const int64_t base = pn_offset(&shape, argument, 0, 2, state.place.at) + block * PN_KEYS * stride;
  copy_rows<chunks, whole, PN_KEYS>(to, (const uint16_t *)arguments.pointer[argument] + base,
                                    ALL_KEYS - block * PN_KEYS,
                                    [&](int row, int more) { return row * stride + more * stride; });
}

#ifdef PN_KEY_MASK
/* Multiplying warps find which keys the mask shows; all others come to wait for that. */
PN_INLINE void see_mask(const pinion_pointers &arguments, block_state &state) {
  uint32_t *bits = (uint32_t *)(state.memory + VISIBLE_AT);
  if (threadIdx.x < CONSUMERS) find_visible<CONSUMERS / 32>(arguments, state.place, state.blocks, bits);
  state.blocks.visible = bits;
  pn_sync(ALL_THREADS, THREADS);
}

/* Begins to copy k of the first round as if the mask showed keys of all blocks, which it most often does, and then
   waits for it. Returns whether that was right: then nothing has arrived at the tiles' barriers yet, and else no copy
   is under way. */
PN_INLINE bool guess_keys(const pinion_pointers &arguments, block_state &state) {
  const int blocks = state.blocks.count < PN_KEY_GROUPS ? state.blocks.count : PN_KEY_GROUPS;
#pragma unroll 1
  for (int block = 0; block < blocks; block++)
    copy_tile<2, CHUNKS(PN_D), PN_D / 8>(arguments, state, block, state.tiles + block * TILE_BYTES);
  see_mask(arguments, state);
  const bool right = blocks > 0 && next_block(state.blocks, 0, blocks - 1) == blocks - 1;
  if (!right) pn_wait_copies();
  return right;
}
#endif

/* One warpgroup brings q, and tiles as they are used up; a last round that is not full leaves its places empty. */
PN_INLINE void bring(const pinion_pointers &arguments, block_state &state) {
  bool has_keys = false; /* of the round */
  int stage = 0;
  uint32_t phase = 1;
#pragma unroll
  for (int group = 0; group < PN_ROW_GROUPS; group++) {
    const unsigned row0 = state.place.row0 + group * 64;
    copy_rows<CHUNKS(PN_D), PN_D / 8, 64>(
        state.q + group * PIECES(PN_D) * 8192, arguments.pointer[1], (int)HEAD_ROWS - (int)row0,
        [&](int row, int more) { return row_offset(1, state.place, row0 + row, more); });
  }
  pn_barrier_arrive_with_copies(state.q_full);
#ifdef PN_KEY_MASK
  has_keys = guess_keys(arguments, state);
#endif
#pragma unroll 1
  for (int start = next_block(state.blocks, 0, 0), end = start; start < state.blocks.count; start = end) {
#pragma unroll 1
    for (int tile = 0; tile < 2 * PN_KEY_GROUPS; tile++) {
      const uint32_t to = state.tiles + stage * TILE_BYTES;
      const int block = tile % PN_KEY_GROUPS ? end : start;
      end = next_block(state.blocks, block + 1, 0);
      if (block < state.blocks.count) {
        pn_barrier_wait(state.empty + stage * 8, phase);
        if (tile >= PN_KEY_GROUPS)
          copy_tile<3, E_TILES, E_TILES>(arguments, state, block, to);
        else if (!has_keys)
          copy_tile<2, CHUNKS(PN_D), PN_D / 8>(arguments, state, block, to);
        pn_barrier_arrive_with_copies(state.full + stage * 8);
      }
      if (++stage == PN_STAGES) stage = 0, phase ^= 1;
    }
    has_keys = false;
  }
  pn_wait_copies();
  if (PN_KEY_GROUPS > 1) pn_sync(ALL_THREADS, THREADS);
}

/* ---- Multiplying ---- */

/* One warpgroup's part of the work: element e of tile n is row lane / 4 + 8 (e / 2 % 2) of its warp's 16, column
   8 n + 2 (lane % 4) + e % 2. */
typedef struct group_state {
  int least_limit;          /* of the warpgroup's rows */
  float maximum[2], sum[2]; /* of the thread's two rows; the sum of this thread's keys alone */
  float total[E_TILES * 4];
} group_state;

/* Of the thread's warpgroup. */
PN_INLINE unsigned row_group(void) {
  return threadIdx.x / 128 % PN_ROW_GROUPS;
}
PN_INLINE unsigned key_group(void) {
  return threadIdx.x / 128 / PN_ROW_GROUPS;
}

PN_INLINE unsigned row_of(const block_state &state, int half) {
  const unsigned thread = threadIdx.x % 128;
  return state.place.row0 + row_group() * 64 + thread / 32 * 16 + thread % 32 / 4 + half * 8;
}

/* Products are begun, and the warpgroup does what does not need them before it waits for their end. */

/* score = q . k */
PN_INLINE void multiply_keys(uint32_t q, uint32_t k, float (&score)[PN_KEYS / 2]) {
  const uint64_t a = pn_wgmma_operand(q, 16), b = pn_wgmma_operand(k, 16);
  pn_wgmma_sees_writes();
  pn_wgmma_begin();
#pragma unroll
  for (int step = 0; step < D_STEPS; step++)
    PN_WGMMA_SCORES(score, a + step / 4 * 512 + step % 4 * 2, b + step / 4 * (PN_KEYS * 8) + step % 4 * 2,
                    step > 0 ? 1 : 0);
  pn_wgmma_commit();
}

/* total += p . v */
PN_INLINE void multiply_values(const uint32_t (&p)[KEY_STEPS][4], uint32_t v, float (&total)[E_TILES * 4]) {
  const uint64_t b = pn_wgmma_operand(v, PN_KEYS * 128);
  pn_wgmma_sees_writes();
  pn_pin(total);
  pn_wgmma_begin();
#pragma unroll
  for (int step = 0; step < KEY_STEPS; step++) PN_WGMMA_VALUES(total, p[step], b + step * 128, 1);
  pn_wgmma_commit();
}

/* Waits for the products, of which these are the sums. */
template <int count> PN_INLINE void finish_products(float (&sums)[count]) {
  pn_wgmma_wait();
  pn_pin(sums);
}

/* Whether all rows of the warpgroup see all keys of a block, and no mask is to be added. */
PN_INLINE bool sees_all(const block_state &state, const group_state &group, int block) {
  bool all = block * PN_KEYS + PN_KEYS <= group.least_limit;
#ifdef PN_KEY_MASK
#pragma unroll
  for (int i = 0; i < VISIBLE_WORDS; i++) {
    const int bits = PN_KEYS - i * 32;
    all &= state.blocks.visible[block * VISIBLE_WORDS + i] == (bits < 32 ? (1u << bits % 32) - 1 : 0xffffffffu);
  }
#elif PN_MASK
  all = false;
#endif
  return all;
}

/* Hides what a row does not see, and adds the mask. */
PN_INLINE void mask_scores(const pinion_pointers &arguments, const block_state &state, int block,
                           float (&score)[PN_KEYS / 2]) {
  const int column = threadIdx.x % 4 * 2, key0 = block * PN_KEYS;
#ifdef PN_KEY_MASK
  uint32_t word[VISIBLE_WORDS];
#pragma unroll
  for (int i = 0; i < VISIBLE_WORDS; i++) word[i] = state.blocks.visible[block * VISIBLE_WORDS + i] >> column;
#endif
  unsigned row[2];
#pragma unroll
  for (int half = 0; half < 2; half++) { /* one beyond the last has no mask of its own */
    row[half] = row_of(state, half);
    if (row[half] >= HEAD_ROWS) row[half] = HEAD_ROWS - 1;
  }
  const int limit[2] = {row_limit(row[0]), row_limit(row[1])};
#pragma unroll
  for (int i = 0; i < PN_KEYS / 2; i++) {
    const int half = i / 2 % 2, inside = i / 4 * 8 + i % 2, key = key0 + inside + column;
    bool seen = key < limit[half];
#ifdef PN_KEY_MASK
    seen &= word[inside / 32] >> inside % 32 & 1;
#elif PN_MASK
    const float mask =
        seen ? (float)PN_LOAD(4, row_offset(4, state.place, row[half]) + key * shape.stride[4][PN_KEY]) : 0;
    if (PN_MASK == 1)
      score[i] = score[i] * SCALE + mask;
    else
      seen &= mask != 0;
#endif
    if (!seen) score[i] = -PN_INFINITY;
  }
}

/* Takes the scores into the rows' maxima and sums; leaves their exponentials as wgmma takes them. */
PN_INLINE void take_softmax(const float (&score)[PN_KEYS / 2], group_state &group, uint32_t (&p)[KEY_STEPS][4]) {
  float centre[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float maximum = group.maximum[half];
#pragma unroll
    for (int i = half * 2; i < PN_KEYS / 2; i += 4) maximum = fmaxf(maximum, fmaxf(score[i], score[i + 1]));
    maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
    maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
    centre[half] = centre_of(maximum);
    const float shrink = exponential(group.maximum[half], centre[half]);
    group.maximum[half] = maximum;
    group.sum[half] *= shrink;
#pragma unroll
    for (int n = 0; n < E_TILES; n++) {
      group.total[n * 4 + half * 2] *= shrink;
      group.total[n * 4 + half * 2 + 1] *= shrink;
    }
  }
#pragma unroll
  for (int i = 0; i < PN_KEYS / 2; i += 2) {
    const int half = i / 2 % 2;
    const float x = exponential(score[i], centre[half]), y = exponential(score[i + 1], centre[half]);
    group.sum[half] += x + y;
    p[i / 8][i / 2 % 4] = pn_pack_bf16(x, y);
  }
}

/* All of a warpgroup's blocks of keys. */
PN_INLINE void consume(const pinion_pointers &arguments, const block_state &state, group_state &group) {
  const bool speaks = threadIdx.x % 128 == 0; /* for its warpgroup: wgmma's end is the same for all */
  int tile = (int)key_group();
  pn_barrier_wait(state.q_full, 0);
#pragma unroll 1
  for (int block = next_block(state.blocks, 0, (int)key_group()), next; block < state.blocks.count;
       block = next, tile += PN_KEY_GROUPS * 2) {
    const int v_tile = tile + PN_KEY_GROUPS, of_k = tile % PN_STAGES, of_v = v_tile % PN_STAGES;
    float score[PN_KEYS / 2];
    uint32_t p[KEY_STEPS][4];
    pn_barrier_wait(state.full + of_k * 8, tile / PN_STAGES % 2);
    multiply_keys(state.q + row_group() * PIECES(PN_D) * 8192, state.tiles + of_k * TILE_BYTES, score);
    next = next_block(state.blocks, block + 1, PN_KEY_GROUPS - 1);
    const bool all = sees_all(state, group, block);
    finish_products(score);
    if (speaks) pn_barrier_arrive(state.empty + of_k * 8);
    if (!all) mask_scores(arguments, state, block, score);
    take_softmax(score, group, p);
    pn_barrier_wait(state.full + of_v * 8, v_tile / PN_STAGES % 2);
    multiply_values(p, state.tiles + of_v * TILE_BYTES, group.total);
    finish_products(group.total);
    if (speaks) pn_barrier_arrive(state.empty + of_v * 8);
  }
}

/* ---- Storing ---- */

/* Of a row's sum of exponentials, of which each of its four lanes has a part. */
PN_INLINE float inverse_of_row(float sum) {
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  sum += __shfl_xor_sync(0xffffffffu, sum, 2);
  return inverse_sum(sum);
}

/* Columns of tiles first .. end: a lane gathers eight of one tile, and stores 16 bytes. */
template <int first, int end>
PN_INLINE void store_tiles(const pinion_pointers &arguments, const block_state &state, const group_state &group) {
  const unsigned lane = threadIdx.x % 32, quad = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const unsigned row = row_of(state, half);
    uint16_t *y = (uint16_t *)arguments.pointer[0] + row_offset(0, state.place, row);
#pragma unroll
    for (int n = first; n < end; n += 4) {
      uint32_t word[4], pair[2], other[2];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float *two = &group.total[(n + i < end ? n + i : first) * 4 + half * 2];
        word[i] = pn_pack_bf16(two[0], two[1]);
      }
#pragma unroll
      for (int i = 0; i < 2; i++) { /* even lanes get tiles n and n + 2, odd ones n + 1 and n + 3, of two lanes */
        const uint32_t kept = quad % 2 ? word[i * 2 + 1] : word[i * 2];
        const uint32_t given = __shfl_xor_sync(0xffffffffu, quad % 2 ? word[i * 2] : word[i * 2 + 1], 1);
        pair[i] = quad % 2 ? given : kept;
        other[i] = quad % 2 ? kept : given;
      }
      const bool late = quad / 2; /* lanes 2 and 3 get tiles n + 2 and n + 3, of four */
      const uint32_t x = __shfl_xor_sync(0xffffffffu, late ? pair[0] : pair[1], 2);
      const uint32_t z = __shfl_xor_sync(0xffffffffu, late ? other[0] : other[1], 2);
      const uint4 columns = late ? uint4{x, z, pair[1], other[1]} : uint4{pair[0], other[0], x, z};
      if (row < HEAD_ROWS && n + (int)quad < end) *(uint4 *)(y + (n + quad) * 8) = columns;
    }
  }
}

#if PN_KEY_GROUPS > 1
/* Where a row group's sums of tile n, and a key group's maxima and sums, pass from thread to thread. */
PN_INLINE float4 *passed_tile(const block_state &state, int n) {
  return (float4 *)state.memory + (row_group() * E_TILES + n) * 128 + threadIdx.x % 128;
}
PN_INLINE float4 *passed_rows(const block_state &state, int keys) {
  float4 *all = (float4 *)state.memory + PN_ROW_GROUPS * E_TILES * 128;
  return all + (row_group() * PN_KEY_GROUPS + keys) * 128 + threadIdx.x % 128;
}

/* Gives the other key group the tiles first .. end, which it stores. */
template <int first, int end> PN_INLINE void give_tiles(const block_state &state, const group_state &group) {
#pragma unroll
  for (int n = first; n < end; n++) {
    const float *total = &group.total[n * 4];
    *passed_tile(state, n) = {total[0], total[1], total[2], total[3]};
  }
}

/* Adds what the other key group gave. */
template <int first, int end>
PN_INLINE void take_tiles(const block_state &state, group_state &group, const float *factor, const float *other) {
#pragma unroll
  for (int n = first; n < end; n++) {
    const float4 there = *passed_tile(state, n);
    float *total = &group.total[n * 4];
    total[0] = total[0] * factor[0] + there.x * other[0];
    total[1] = total[1] * factor[0] + there.y * other[0];
    total[2] = total[2] * factor[1] + there.z * other[1];
    total[3] = total[3] * factor[1] + there.w * other[1];
  }
}

/* Adds up tiles first .. end and stores them, for rows of which the other key group has the maxima and sums `there`. */
template <int first, int end>
PN_INLINE void store_sums(const pinion_pointers &arguments, const block_state &state, group_state &group,
                          const float4 &there) {
  float factor[2], other[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float maximum = half ? there.y : there.x, centre = centre_of(fmaxf(maximum, group.maximum[half]));
    factor[half] = exponential(group.maximum[half], centre);
    other[half] = exponential(maximum, centre);
    const float sum = group.sum[half] * factor[half] + (half ? there.w : there.z) * other[half];
    const float inverse = inverse_of_row(sum);
    factor[half] *= inverse;
    other[half] *= inverse;
  }
  take_tiles<first, end>(state, group, factor, other);
  store_tiles<first, end>(arguments, state, group);
}

/* Both key groups of the same rows: each has the sums of all keys in half of the columns. */
PN_INLINE void store_rows(const pinion_pointers &arguments, const block_state &state, group_state &group) {
  pn_sync(ALL_THREADS, THREADS); /* all tiles are read, and none is brought */
  *passed_rows(state, key_group()) = {group.maximum[0], group.maximum[1], group.sum[0], group.sum[1]};
  if (key_group())
    give_tiles<0, E_TILES / 2>(state, group);
  else
    give_tiles<E_TILES / 2, E_TILES>(state, group);
  pn_sync(MULTIPLYING_THREADS, CONSUMERS);
  const float4 there = *passed_rows(state, 1 - key_group());
  if (key_group())
    store_sums<E_TILES / 2, E_TILES>(arguments, state, group, there);
  else
    store_sums<0, E_TILES / 2>(arguments, state, group, there);
}
#else
PN_INLINE void store_rows(const pinion_pointers &arguments, const block_state &state, group_state &group) {
  const float inverse[2] = {inverse_of_row(group.sum[0]), inverse_of_row(group.sum[1])};
#pragma unroll
  for (int i = 0; i < E_TILES * 4; i++) group.total[i] *= inverse[i / 2 % 2];
  store_tiles<0, E_TILES>(arguments, state, group);
}
#endif

/* ---- The block ---- */

PN_INLINE block_state begin_block(void) {
  block_state state;
  state.place = place_of(blockIdx.x, ROWS, 0);
  state.blocks = blocks_before(state.place.row0 + ROWS);
  state.memory = pn_shared + (-pn_shared_address(pn_shared) & 1023);
  state.q = pn_shared_address(state.memory);
  state.tiles = state.q + Q_BYTES;
  state.q_full = pn_shared_address(state.memory + BARRIERS_AT);
  state.full = state.q_full + 8;
  state.empty = state.full + PN_STAGES * 8;
  if (threadIdx.x == 0) {
    pn_barrier_init(state.q_full, 128);
    for (int stage = 0; stage < PN_STAGES; stage++) {
      pn_barrier_init(state.full + stage * 8, 128);
      pn_barrier_init(state.empty + stage * 8, PN_ROW_GROUPS);
    }
    pn_barrier_publish();
  }
  __syncthreads();
  return state;
}

PN_INLINE void begin_group(const block_state &state, group_state &group) {
  group.least_limit = row_limit(state.place.row0 + row_group() * 64);
#pragma unroll
  for (int half = 0; half < 2; half++) group.maximum[half] = -PN_INFINITY, group.sum[half] = 0;
#pragma unroll
  for (int i = 0; i < E_TILES * 4; i++) group.total[i] = 0;
}

PN_INLINE void begin_work(void) {
  pn_wait_for_inputs();
  pn_let_next_start();
}

PN_ENTRY_EARLY(THREADS, 1) {
  block_state state = begin_block();
  const int warpgroup = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0);
  if (warpgroup == CONSUMERS / 128) {
    if (CONSUMERS > 128) pn_give_registers<MANY_SUMS ? 40 : 88>();
    begin_work();
    bring(arguments, state);
  } else {
    if (CONSUMERS > 128) pn_take_registers<MANY_SUMS ? 232 : 208>();
    begin_work();
#ifdef PN_KEY_MASK
    see_mask(arguments, state);
#endif
    group_state group;
    begin_group(state, group);
    consume(arguments, state, group);
    store_rows(arguments, state, group);
  }
}
