/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What there is to a tile of gemm_wgmma.cu but its products: where it lies, what is done with it in the end, and the
 * instructions. It is in front of that file, which says what the macros mean.
 */
#define CONSUMERS (PN_ATOMS * 128)
#define THREADS (CONSUMERS + 128)
#define ATOM_BYTES 8192
#define WEIGHT_BYTES (PN_ATOMS * ATOM_BYTES)
#define TOKEN_BYTES (PN_TOKENS * 128)
#define STAGE_BYTES (WEIGHT_BYTES + TOKEN_BYTES)
#define TILES_M ((PN_M + PN_TOKENS - 1) / PN_TOKENS)
#define COLUMNS (PN_H * PN_N)
#define EIGHTS (8 / PN_ACCUMULATORS) /* of an atom's columns */
#define ATOMS_N ((COLUMNS * PN_ACCUMULATORS + 63) / 64)
#define TILES_N ((ATOMS_N + PN_ATOMS - 1) / PN_ATOMS)
#define TILES (TILES_M * PN_B0 * PN_B1) /* of tokens, of all batches */
#ifndef PN_SKIPS_TILES
#define PN_SKIPS_TILES 0
#endif
#define FIRST_SLICE(rank) ((int)(rank) * PN_SLICES / PN_SPLIT)
#define SLICES_OF(rank) (FIRST_SLICE((rank) + 1) - FIRST_SLICE(rank))
#define PITCH 68 /* floats from one token to the next in the staged tile: 64 rows, and no bank is met twice */
#define OUT_COLUMNS (64 / PN_ACCUMULATORS) /* of a warpgroup */
#define OUT_PITCH (OUT_COLUMNS * 2 + 16)   /* bytes from one token to the next in the tile of finished elements */
#define STAGED_BYTES (PN_CHUNK * (PN_FRAGMENTS ? OUT_PITCH : PITCH * 4)) /* of a warpgroup */
/* What blocks of a cluster send each other, and the tile on its way out, come where the slices were. */
#define SENDS_OVER_STAGES (PN_SPLIT > 1 && PN_ATOMS > 1)
#define STREAMS (TILES_M == 1) /* the weights are read once, and nothing but them is read from memory */
#define ROW_THREADS 64         /* of the bringing warpgroup: they add up sums of rows */
/* In the end a rank has so many groups of 8 tokens, the last ones fewer or none. */
#define OWN_GROUPS ((PN_TOKENS / 8 + PN_SPLIT - 1) / PN_SPLIT)
#define OWN_TOKENS (OWN_GROUPS * 8)
#define RECEIVED_BYTES (PN_SPLIT * OWN_GROUPS * 2048) /* [rank][group][thread], four floats */
#define CHUNKS ((OWN_TOKENS + PN_CHUNK - 1) / PN_CHUNK)
#define CHUNK_EIGHTS ((PN_CHUNK * EIGHTS + 127) / 128) /* of a thread */

/* Shared memory behind the stages and the tiles on their way out: barriers, of stages, of what a cluster sends, and
   of values of rows; those values; with PN_SKIPS_TILES the list of tiles, and which are shown. */
#define BARRIERS_BYTES ((2 * PN_STAGES + PN_ATOMS + 3) / 2 * 16)
#define ROW_VALUES (PN_ROW_SUM_COUNT * PN_TOKENS + 4)

/* ---- Instructions: tests/cuda/emulator.h has these, too, in C ---- */

#ifndef PN_EMULATED
typedef struct __align__(64) tensor_map {
  uint64_t words[16];
} tensor_map;

/* A copy of weights; those that are read once make room in L2 first. */
PN_INLINE void copy_atom(uint32_t to_shared, const void *from, uint32_t barrier) {
  if (!STREAMS)
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     to_shared),
                 "l"(from), "n"(ATOM_BYTES), "r"(barrier)
                 : "memory");
  else
    asm volatile("{.reg .b64 p; createpolicy.fractional.L2::evict_first.b64 p, 1.0; "
                 "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, "
                 "[%3], p;}" ::"r"(to_shared),
                 "l"(from), "n"(ATOM_BYTES), "r"(barrier)
                 : "memory");
}
PN_INLINE void prefetch_map(const void *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
PN_INLINE void copy_tile(uint32_t to_shared, const void *map, int k, int m, int b1, int b0, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(
          to_shared),
      "l"(map), "r"(k), "r"(m), "r"(b1), "r"(b0), "r"(barrier)
      : "memory");
}
PN_INLINE float4 load_four(uint32_t shared_address) {
  float4 x;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
               : "r"(shared_address)
               : "memory");
  return x;
}
PN_INLINE void store_float(uint32_t shared_address, float x) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(shared_address), "f"(x) : "memory");
}
#endif

/* ---- Units ---- */

typedef struct unit_place {
  int m0, n0, b0, b1;
} unit_place;

/* Which tiles of tokens there is something to do for: the first `shown` of `order`, in shared memory; the others come
   behind. Where tiles are not skipped it is all of them, in their order, and there is no list. */
typedef struct tile_list {
  const uint16_t *order;
  int shown;
  bool guessed; /* the block's first unit is the one that it would be if all were shown */
} tile_list;

typedef struct unit_choice {
  int tile, n0; /* which one, of the tiles that there are */
} unit_choice;

/* Blocks that work at the same time share what they read: PN_GROUP tiles of tokens, or what is left of `count` of them,
   by as many columns of weights as there are blocks for. The group's tokens stay in L2 while the weights go past them. */
PN_INLINE unit_choice choose_unit(int unit, int count) {
  constexpr int group_units = PN_GROUP * TILES_N;
  const int first = unit / group_units * PN_GROUP, left = count - first;
  const int tiles = left < PN_GROUP ? left : PN_GROUP, at = unit % group_units;
  return {first + at % tiles, at / tiles * PN_ATOMS * 64};
}

PN_INLINE unit_place place_of(int unit, const tile_list &list) {
#if PN_SKIPS_TILES
  const unit_choice choice = choose_unit(unit, list.shown);
  const int tile = list.order[choice.tile] % TILES_M, batch = list.order[choice.tile] / TILES_M;
#else
  const unit_choice choice = choose_unit(unit % (TILES_M * TILES_N), TILES_M);
  const int tile = choice.tile, batch = unit / (TILES_M * TILES_N);
#endif
  return {tile * PN_TOKENS, choice.n0, batch / PN_B1, batch % PN_B1};
}

/* ---- The epilogue: eight neighbouring n of one token at a time ---- */

/* Strides of argument i along b0, b1, m, h and n. */
PN_INLINE constexpr int64_t stride_of(int i, int d) {
  constexpr int64_t strides[][PINION_GEMM_P] = PN_STRIDES;
  return strides[i][d];
}
/* Whether eight elements of argument i are always there, side by side, at a multiple of 16 bytes. */
PN_INLINE constexpr bool lies_whole(int i) {
  constexpr bool whole[] = PN_LIES_WHOLE;
  return whole[i];
}

/* Eight elements `stride` apart, of which the first `count` exist. */
template <typename storage, bool whole>
PN_INLINE void load_eight(pn_eight *out, const void *base, int64_t index, int64_t stride, int count) {
  if (whole) {
    if (count) pn_load_eight<storage>(out, base, index);
    return;
  }
  if (stride == 0) { /* one for all */
    const storage x = count ? ((const storage *)base)[index] : (storage)0;
#pragma unroll
    for (int e = 0; e < 8; e++) ((storage *)out->part)[e] = x;
    return;
  }
#pragma unroll
  for (int e = 0; e < 8; e++)
    ((storage *)out->part)[e] = e < count ? ((const storage *)base)[index + e * stride] : (storage)0;
}
template <typename storage, bool whole>
PN_INLINE void store_eight(const pn_eight *values, void *base, int64_t index, int64_t stride, int count) {
  if (whole) {
    if (count) pn_store_eight<storage>(values, base, index);
    return;
  }
#pragma unroll
  for (int e = 0; e < 8; e++)
    if (e < count) ((storage *)base)[index + e * stride] = ((const storage *)values->part)[e];
}

/* Where eight elements lie: `at` with the group counted from the start of its part. */
typedef struct eight_place {
  pn_index at[PINION_GEMM_P];
  int part, count, token; /* elements that exist; token of the unit */
  pn_index own_group;
} eight_place;

#define PART_RESULTS (PN_RESULTS / PN_PARTS)

/* The stride of result i of the first part, in part `part`. */
template <int i, int d> PN_INLINE int64_t part_stride(int part) {
  constexpr int64_t first = stride_of(i, d), second = stride_of(PN_PARTS > 1 ? i + PART_RESULTS : i, d),
                    third = stride_of(PN_PARTS > 2 ? i + 2 * PART_RESULTS : i, d);
  return PN_PARTS > 1 && part == 1 ? second : PN_PARTS > 2 && part == 2 ? third : first;
}
template <int i> PN_INLINE int64_t result_offset(const eight_place &place) {
  return place.at[PINION_GEMM_B0] * part_stride<i, PINION_GEMM_B0>(place.part) +
         place.at[PINION_GEMM_B1] * part_stride<i, PINION_GEMM_B1>(place.part) +
         place.at[PINION_GEMM_M] * part_stride<i, PINION_GEMM_M>(place.part) +
         place.own_group * part_stride<i, PINION_GEMM_H>(place.part) +
         place.at[PINION_GEMM_N] * part_stride<i, PINION_GEMM_N>(place.part);
}
template <int i, int d> PN_INLINE int64_t step_along(const eight_place &place) {
  constexpr int64_t stride = stride_of(i, d);
  return place.at[d] * stride;
}
template <int i> PN_INLINE int64_t operand_offset(const eight_place &place) {
  return step_along<i, PINION_GEMM_B0>(place) + step_along<i, PINION_GEMM_B1>(place) +
         step_along<i, PINION_GEMM_M>(place) + step_along<i, PINION_GEMM_H>(place) +
         step_along<i, PINION_GEMM_N>(place);
}

#define OPERAND_MEMBER(j, i, type) pn_eight operand_##j;
#define LOAD_EIGHT(j, i, type)                                                                                         \
  load_eight<pn_storage_##type, lies_whole(i)>(&operands.operand_##j, arguments.pointer[i], operand_offset<i>(place),  \
                                               stride_of(i, PINION_GEMM_N), place.count);
#define TAKE(j, i, type) const PN_C##i x##j = pn_load_##type(operands.operand_##j.part, e);
#define TAKE_ROW_SUM(j, i, type) const float x##j = row_values[(i - PN_ROW_SUM_FIRST) * PN_TOKENS + place.token];
#define DECLARE_EIGHT(j, i, type) pn_eight result_##j;
#define GIVE(j, i, type) pn_store_##type(result_##j.part, e, r##j);
#define STORE_EIGHT(j, i, type)                                                                                        \
  store_eight<pn_storage_##type, lies_whole(i)>(&result_##j, arguments.pointer[i + place.part * PART_RESULTS],            \
                                             result_offset<i>(place), (part_stride<i, PINION_GEMM_N>(place.part)),       \
                                             place.count);
#define DECLARE_COLUMN_SUM(j, i, type) float sum_##j = 0;
#define ADD_COLUMN(j, i, type) sum_##j += e < place.count ? r##j : 0;
/* The eight threads of one token's 64 columns add up. */
#define STORE_COLUMN_SUM(j, i, type)                                                                                   \
  for (int lanes = 1; lanes < 8; lanes <<= 1) sum_##j += __shfl_xor_sync(0xffffffffu, sum_##j, lanes);                 \
  if (threadIdx.x % 8 == 0 && place.count > 0) {                                                                       \
    eight_place block = place;                                                                                         \
    block.at[PINION_GEMM_N] /= PINION_COLUMN_BLOCK;                                                                    \
    ((float *)arguments.pointer[i])[operand_offset<i>(block)] = sum_##j;                                               \
  }

/* What the body reads of eight elements, but for the sums of rows. */
typedef struct eight_operands {
#ifdef PN_HAS_BODY
  PN_BODY_OPERANDS(OPERAND_MEMBER)
#endif
} eight_operands;

PN_INLINE eight_operands load_operands(const pinion_pointers &arguments, const eight_place &place) {
  eight_operands operands = {};
#ifdef PN_HAS_BODY
  PN_BODY_OPERANDS(LOAD_EIGHT)
#endif
  return operands;
}

/* `sums`: of each accumulator. A whole warp comes here, its threads without elements too. */
PN_INLINE void finish_eight(const pinion_pointers &arguments, const float (*sums)[8], const float *row_values,
                            const eight_place &place, const eight_operands &operands) {
#ifdef PN_HAS_BODY
  PN_BODY_RESULTS(DECLARE_EIGHT)
  PN_COLUMN_SUMS(DECLARE_COLUMN_SUM)
#pragma unroll
  for (int e = 0; e < 8; e++) {
    const float x0 = sums[0][e];
#if PN_ACCUMULATORS == 2
    const float x1 = sums[1][e];
#endif
#if PN_PARTS > 1
    const int64_t PN_PART = place.part;
#endif
    PN_BODY_OPERANDS(TAKE)
    PN_ROW_SUMS(TAKE_ROW_SUM)
    PN_BODY_RESULTS(PN_BODY_DECLARE)
    PN_COLUMN_SUMS(PN_BODY_DECLARE)
    pn_body(PN_BODY_ARGUMENTS);
    PN_BODY_RESULTS(GIVE)
    PN_COLUMN_SUMS(ADD_COLUMN)
  }
  PN_BODY_RESULTS(STORE_EIGHT)
  PN_COLUMN_SUMS(STORE_COLUMN_SUM)
#else
  pn_eight result_0;
#pragma unroll
  for (int e = 0; e < 8; e++) PN_PASTE(pn_store_, PN_T0)(result_0.part, e, sums[0][e]);
  store_eight<PN_PASTE(pn_storage_, PN_T0), lies_whole(0)>(&result_0, arguments.pointer[0], result_offset<0>(place),
                                                        stride_of(0, PINION_GEMM_N), place.count);
#endif
}

/* Eight rows of one token of a tile in shared memory. Lanes 4 .. 7 of each eight take the second half first: so no two of
   them meet in a bank. */
PN_INLINE void load_sums(uint32_t address, float *out_sums) {
  const int flip = threadIdx.x >> 2 & 1;
  const float4 x = load_four(address + flip * 16), y = load_four(address + (flip ^ 1) * 16);
  const float4 low = flip ? y : x, high = flip ? x : y;
  out_sums[0] = low.x, out_sums[1] = low.y, out_sums[2] = low.z, out_sums[3] = low.w;
  out_sums[4] = high.x, out_sums[5] = high.y, out_sums[6] = high.z, out_sums[7] = high.w;
}

/* Eight columns from `column` on, of token `token` of the unit. */
PN_INLINE eight_place place_eight(const unit_place &unit, int token, int column) {
  const int part_starts[] = {PN_PART_STARTS}, group = PN_H == 1 ? 0 : column / PN_N, m = unit.m0 + token;
  eight_place place = {{(pn_index)unit.b0, (pn_index)unit.b1, (pn_index)m, (pn_index)group,
                        (pn_index)(PN_H == 1 ? column : column % PN_N)}};
  place.own_group = group;
#pragma unroll
  for (int part = 1; part < PN_PARTS; part++)
    if (group >= part_starts[part]) place.part = part, place.own_group = group - part_starts[part];
  place.count = m >= PN_M || column >= COLUMNS ? 0 : COLUMNS - column < 8 ? COLUMNS - column : 8;
  place.token = token;
  return place;
}

/* Eight `vector` of a warpgroup's `tokens` tokens from `first` on; without elements beyond the last. */
PN_INLINE eight_place place_vector(const unit_place &unit, int warpgroup, int vector, int first, int tokens) {
  const int column0 = (unit.n0 + warpgroup * 64) / PN_ACCUMULATORS, token = vector / EIGHTS;
  const int inside = token < tokens ? token : 0;
  eight_place place = place_eight(unit, first + inside, column0 + vector % EIGHTS * 8);
  if (token >= tokens) place.count = 0;
  return place;
}

/* What the body reads of a thread's eights of one chunk. */
typedef eight_operands chunk_operands[CHUNK_EIGHTS];

/* Asks for the operands of tokens first .. first + tokens of the unit. */
PN_INLINE void load_chunk(const pinion_pointers &arguments, const unit_place &unit, int warpgroup, int first, int tokens,
                          chunk_operands &out) {
#pragma unroll
  for (int i = 0; i < CHUNK_EIGHTS; i++)
    out[i] = load_operands(arguments, place_vector(unit, warpgroup, i * 128 + threadIdx.x % 128, first, tokens));
}

/* The same tokens, from the tile at `tile`. */
PN_INLINE void finish_chunk(const pinion_pointers &arguments, const unit_place &unit, uint32_t tile,
                            const float *row_values, int warpgroup, int first, int tokens,
                            const chunk_operands &operands) {
  const int thread = threadIdx.x % 128;
#pragma unroll
  for (int i = 0; i < CHUNK_EIGHTS; i++) {
    const int vector = i * 128 + thread;
    if (vector - thread % 32 >= tokens * EIGHTS) break; /* the whole warp */
    const eight_place place = place_vector(unit, warpgroup, vector, first, tokens);
    float sums[PN_ACCUMULATORS][8];
#pragma unroll
    for (int p = 0; p < PN_ACCUMULATORS; p++)
      load_sums(tile + ((place.token - first) * PITCH + (vector % EIGHTS * PN_ACCUMULATORS + p) * 8) * 4, sums[p]);
    finish_eight(arguments, sums, row_values, place, operands[i]);
  }
}

#if PN_FRAGMENTS
/* ---- The epilogue in the registers: a thread has one column's sums, or two columns' 8 apart ---- */

#define THREAD_COLUMNS (2 / PN_ACCUMULATORS)
#define COLUMN_MEMBER(j, i, type) PN_C##i operand_##j;
#define LOAD_COLUMN(j, i, type)                                                                                        \
  operands.operand_##j =                                                                                               \
      pn_load_##type(arguments.pointer[i], (int64_t)(column < COLUMNS ? column : 0) * stride_of(i, PINION_GEMM_N));
#define TAKE_COLUMN(j, i, type) const PN_C##i x##j = operands.operand_##j;
#define TAKE_TOKEN_SUM(j, i, type) const float x##j = row_values[(i - PN_ROW_SUM_FIRST) * PN_TOKENS + token];

/* What the body reads of a column. */
typedef struct column_operands {
#ifdef PN_HAS_BODY
  PN_BODY_OPERANDS(COLUMN_MEMBER)
#endif
} column_operands;

PN_INLINE column_operands load_column(const pinion_pointers &arguments, int column) {
  column_operands operands;
#ifdef PN_HAS_BODY
  PN_BODY_OPERANDS(LOAD_COLUMN)
#endif
  return operands;
}

/* One element, of token `token` of the unit; sums[0], and sums[2] with two accumulators. */
PN_INLINE float finish_one(const float *sums, const column_operands &operands, const float *row_values, int token) {
#ifdef PN_HAS_BODY
  const float x0 = sums[0];
#if PN_ACCUMULATORS == 2
  const float x1 = sums[2];
#endif
  PN_BODY_OPERANDS(TAKE_COLUMN)
  PN_ROW_SUMS(TAKE_TOKEN_SUM)
  PN_BODY_RESULTS(PN_BODY_DECLARE)
  pn_body(PN_BODY_ARGUMENTS);
  return r0;
#else
  return sums[0];
#endif
}

/* Finished elements of 8 tokens, from where a product leaves them, to rows of the tile at `to`: one token each. */
PN_INLINE void store_group(const uint32_t (&pairs)[THREAD_COLUMNS], uint32_t to) {
  const uint32_t row = to + threadIdx.x % 8 * OUT_PITCH + threadIdx.x / 8 % THREAD_COLUMNS * 16;
  pn_store_transposed(row, pairs);
}

/* Rows of the tile to memory: tokens first .. first + tokens of the unit. */
PN_INLINE void store_tokens(const pinion_pointers &arguments, const unit_place &unit, uint32_t tile, int warpgroup,
                            int first, int tokens) {
  const int column0 = (unit.n0 + warpgroup * 64) / PN_ACCUMULATORS;
#pragma unroll 4
  for (int vector = threadIdx.x % 128; vector < tokens * (OUT_COLUMNS / 8); vector += 128) {
    const int token = vector / (OUT_COLUMNS / 8), eighth = vector % (OUT_COLUMNS / 8);
    const eight_place place = place_eight(unit, first + token, column0 + eighth * 8);
    const float4 x = load_four(tile + token * OUT_PITCH + eighth * 16);
    if (place.count) *(float4 *)((uint16_t *)arguments.pointer[0] + result_offset<0>(place)) = x;
  }
}

PN_INLINE void finish_fragments(const pinion_pointers &arguments, const unit_place &unit, const float *accumulator,
                                uint32_t tile, const float *row_values, int warpgroup) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
  const int column = (unit.n0 + warpgroup * 64) / PN_ACCUMULATORS + warp * 8 * THREAD_COLUMNS + lane / 4;
  column_operands operands[THREAD_COLUMNS];
#pragma unroll
  for (int c = 0; c < THREAD_COLUMNS; c++) operands[c] = load_column(arguments, column + c * 8);
#pragma unroll
  for (int first = 0; first < PN_TOKENS; first += PN_CHUNK) {
    const int tokens = PN_TOKENS - first < PN_CHUNK ? PN_TOKENS - first : PN_CHUNK;
    uint32_t pairs[PN_CHUNK / 8][THREAD_COLUMNS]; /* all are made before one is stored: so they hide each other's latency */
#pragma unroll
    for (int group = 0; group < PN_CHUNK / 8; group++) {
      const int token = first + group * 8 + lane % 4 * 2;
      if (first + group * 8 >= PN_TOKENS) continue;
      const float *four = accumulator + first / 2 + group * 4;
#pragma unroll
      for (int c = 0; c < THREAD_COLUMNS; c++)
        pairs[group][c] = pn_pack_bf16(finish_one(four + c * 2, operands[c], row_values, token),
                                       finish_one(four + c * 2 + 1, operands[c], row_values, token + 1));
    }
#pragma unroll
    for (int group = 0; group < PN_CHUNK / 8; group++)
      if (first + group * 8 < PN_TOKENS) store_group(pairs[group], tile + group * 8 * OUT_PITCH + warp * 16 * THREAD_COLUMNS);
    pn_sync(warpgroup + 1, 128);
    store_tokens(arguments, unit, tile, warpgroup, first, tokens);
    pn_sync(warpgroup + 1, 128);
  }
}
#endif

#if PN_SKIPS_TILES
/* ---- Tiles of tokens that the row mask does not show ---- */

/* A warp: whether it shows any token of a tile. Read from L2: what is nearer may be older than the launches before. */
PN_INLINE bool shows_tile(const pinion_pointers &arguments, int tile) {
  const int m0 = tile % TILES_M * PN_TOKENS, batch = tile / TILES_M;
  const volatile uint8_t *mask = (const volatile uint8_t *)arguments.pointer[PN_ROW_MASK];
  int shown = 0;
#pragma unroll
  for (int first = 0; first < PN_TOKENS; first += 32) {
    const int token = first + threadIdx.x % 32;
    const eight_place place = {{(pn_index)(batch / PN_B1), (pn_index)(batch % PN_B1), (pn_index)(m0 + token)}};
    if (token < PN_TOKENS && m0 + token < PN_M) shown |= mask[operand_offset<PN_ROW_MASK>(place)];
  }
  return __ballot_sync(0xffffffffu, shown != 0) != 0;
}

/* Another warp, once it is known: the numbers of the tiles that are shown, then, from the end, of those that are not.
   Returns how many are. */
PN_INLINE int sort_tiles(const uint8_t *is_shown, uint16_t *order) {
  const int lane = threadIdx.x % 32;
  int shown = 0, hidden = 0;
#pragma unroll 1
  for (int first = 0; first < TILES; first += 32) {
    const int tile = first + lane;
    const bool exists = tile < TILES, is_own = exists && is_shown[exists ? tile : 0];
    const uint32_t all = __ballot_sync(0xffffffffu, exists), own = __ballot_sync(0xffffffffu, is_own);
    const uint32_t below = (1u << lane) - 1;
    if (is_own) order[shown + __popc(own & below)] = (uint16_t)tile;
    if (exists && !is_own) order[TILES - 1 - hidden - __popc(all & ~own & below)] = (uint16_t)tile;
    shown += __popc(own);
    hidden += __popc(all & ~own);
  }
  return shown;
}

/* Whether the block's first unit is the one that was guessed. */
PN_INLINE bool guesses_unit(const uint16_t *order, int shown) {
  const int unit = blockIdx.x / PN_SPLIT;
  if (unit >= shown * TILES_N) return false;
  const unit_choice own = choose_unit(unit, shown), guess = choose_unit(unit, TILES);
  return own.n0 == guess.n0 && order[own.tile] == guess.tile;
}

#define CLEAR_EIGHT(j, i, type)                                                                                        \
  store_eight<pn_storage_##type, lies_whole(i)>(&zeros, arguments.pointer[i + place.part * PART_RESULTS],                 \
                                             result_offset<i>(place), (part_stride<i, PINION_GEMM_N>(place.part)),       \
                                             place.count);
#define CLEAR_COLUMN_SUM(j, i, type) ((float *)arguments.pointer[i])[operand_offset<i>(block)] = 0;

/* A warpgroup: 0 for tokens first .. first + tokens of the unit. */
PN_INLINE void clear_unit(const pinion_pointers &arguments, const unit_place &unit, int warpgroup, int first,
                          int tokens) {
  const pn_eight zeros = {};
#pragma unroll 1
  for (int vector = threadIdx.x % 128; vector < tokens * EIGHTS; vector += 128) {
    const eight_place place = place_vector(unit, warpgroup, vector, first, tokens);
    PN_BODY_RESULTS(CLEAR_EIGHT)
    eight_place block = place;
    block.at[PINION_GEMM_N] /= PINION_COLUMN_BLOCK;
    if (vector % EIGHTS == 0 && place.count) {
      PN_COLUMN_SUMS(CLEAR_COLUMN_SUM)
    }
  }
}

/* A warpgroup's part of this block's share of the units that are not shown: a block with few others has more of these. */
PN_INLINE void clear_hidden_units(const pinion_pointers &arguments, const tile_list &list, int warpgroup, int first,
                                  int tokens) {
  const int hidden = TILES - list.shown, blocks = gridDim.x / PN_SPLIT;
#pragma unroll 1
  for (int unit = blocks - 1 - blockIdx.x / PN_SPLIT; unit < hidden * TILES_N; unit += blocks) {
    const int tile = list.order[list.shown + unit % hidden], batch = tile / TILES_M;
    clear_unit(arguments,
               {tile % TILES_M * PN_TOKENS, unit / hidden * PN_ATOMS * 64, batch / PN_B1, batch % PN_B1}, warpgroup,
               first, tokens);
  }
}
#endif

/* ---- Sums of rows ---- */

/* The sum of PN_ROW_SUM_LENGTH elements; many are asked for before the first is used. */
template <int i> PN_INLINE float sum_row(const float *from) {
  constexpr int64_t strides[] = PN_ROW_SUM_STRIDES, stride = strides[i - PN_ROW_SUM_FIRST];
  float sum = 0;
  if (lies_whole(i)) {
#pragma unroll 4
    for (int k = 0; k + 4 <= PN_ROW_SUM_LENGTH; k += 4) {
      const float4 x = *(const float4 *)(from + k);
      sum += x.x + x.y + (x.z + x.w);
    }
#pragma unroll
    for (int k = PN_ROW_SUM_LENGTH / 4 * 4; k < PN_ROW_SUM_LENGTH; k++) sum += from[k];
    return sum;
  }
#pragma unroll 16
  for (int k = 0; k < PN_ROW_SUM_LENGTH; k++) sum += from[k * stride];
  return sum;
}

/* What the sums of the unit's rows come to, into shared memory: one array of PN_TOKENS for each such operand. ROW_THREADS
   threads do it. */
PN_INLINE void sum_rows(const pinion_pointers &arguments, const unit_place &unit, float *out_values) {
#if PN_ROW_SUM_COUNT
#pragma unroll 1
  for (int token = threadIdx.x % ROW_THREADS; token < PN_TOKENS && unit.m0 + token < PN_M; token += ROW_THREADS) {
    const eight_place place = {{(pn_index)unit.b0, (pn_index)unit.b1, (pn_index)(unit.m0 + token)}};
#define SUM_ROW(j, i, type)                                                                                            \
  const float sum##j = sum_row<i>((const float *)arguments.pointer[i] + operand_offset<i>(place));                     \
  float x##j;
#define KEEP_ROW_VALUE(j, i, type) out_values[(i - PN_ROW_SUM_FIRST) * PN_TOKENS + token] = x##j;
    PN_ROW_SUMS(SUM_ROW)
    PN_ROW_VALUES
    PN_ROW_SUMS(KEEP_ROW_VALUE)
  }
#endif
}

/* ---- The tile's way out of the registers ---- */

/* Tokens first .. first + tokens of the accumulators, to the tile at `tile`: [token][64 rows], PITCH. Thread t holds row
   16 (t / 32) + t % 32 / 4, and 8 more; of each 8 tokens, 2 (t % 4) and the next. */
PN_INLINE void stage_tokens(const float *accumulator, uint32_t tile, int first, int tokens) {
  const int thread = threadIdx.x % 128, lane = thread % 32;
  const uint32_t corner = tile + (lane % 4 * 2 * PITCH + thread / 32 * 16 + lane / 4) * 4;
#pragma unroll
  for (int j = 0; j < tokens / 8; j++)
#pragma unroll
    for (int element = 0; element < 4; element++)
      store_float(corner + ((j * 8 + element % 2) * PITCH + element / 2 * 8) * 4,
                  accumulator[(first / 8 + j) * 4 + element]);
}

#if PN_SPLIT > 1
/* Four sums a group of 8 tokens, as they lie in the registers, to the tokens' owners. */
PN_INLINE void send_sums(const float *accumulator, uint32_t received, uint32_t barrier, uint32_t rank) {
#pragma unroll
  for (int group = 0; group < PN_TOKENS / 8; group++) {
    const float *four = accumulator + group * 4;
    pn_send(received + ((rank * OWN_GROUPS + group % OWN_GROUPS) * 128 + threadIdx.x % 128) * 16, group / OWN_GROUPS,
            float4{four[0], four[1], four[2], four[3]}, barrier);
  }
}

/* Adds up what the ranks sent, in front of the accumulators. */
PN_INLINE void add_received(float *accumulator, uint32_t received) {
#pragma unroll
  for (int group = 0; group < OWN_GROUPS; group++) {
    float4 sum = {0, 0, 0, 0};
#pragma unroll
    for (int rank = 0; rank < PN_SPLIT; rank++) {
      const float4 x = load_four(received + ((rank * OWN_GROUPS + group) * 128 + threadIdx.x % 128) * 16);
      sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
    }
    float *four = accumulator + group * 4;
    four[0] = sum.x, four[1] = sum.y, four[2] = sum.z, four[3] = sum.w;
  }
}
#endif
