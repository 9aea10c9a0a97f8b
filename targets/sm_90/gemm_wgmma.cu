/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * acc_p[m,h,n] = sum_k a[m,k] * b[h,n,p,k] by wgmma, bf16, b packed. The rows of b are wgmma's M and the tokens (a's
 * rows) its N, which may be any multiple of 8 and so wastes little on 788 or 51 tokens.
 *
 * A block has PN_ATOMS warpgroups that multiply, each 64 rows of b by PN_TOKENS tokens, and one that brings the slices of
 * 64 k: a thread whole atoms of b by bulk copies, another tiles of a by the copy engine (the launch's tensor map),
 * PN_STAGES in flight; its other two warps add up sums of rows. A block takes one unit (tile) after another: while it
 * stores one, the next one's slices come in. A cluster of PN_SPLIT blocks shares one unit, each a part of k: every
 * thread sends its sums to the same thread of the rank that owns the tokens, which adds up what came in the order of
 * the ranks.
 *
 * Eight neighbouring columns of one token are finished at a time, or, where the body reads nothing that depends on token
 * and column both (PN_FRAGMENTS), each element in the thread that has its sums. With two accumulators a column has two
 * rows: of 16 rows of b the first eight belong to half 0, the others to half 1 of the same eight columns.
 *
 * Shapes are compiled in: PN_M, PN_H, PN_N, PN_B0, PN_B1, PN_SLICES (of all of k), PN_STRIDES and PN_LIES_WHOLE (of the
 * arguments), PN_PART_STARTS (first groups of the parts), PN_ROW_SUM_FIRST (argument), PN_ROW_SUM_COUNT,
 * PN_ROW_SUM_LENGTH, PN_ROW_SUM_STRIDES (along k, by argument). PN_M may be several dimensions in one, where
 * the strides allow it. PN_WGMMA(accumulator, b, a, 1) is one instruction. PN_RESIDENT: blocks that share a multiprocessor.
 * PN_GROUP: tiles of tokens that are worked on together.
 *
 * With PN_SKIPS_TILES a block looks, before all else, which tiles of tokens the row mask shows at all: what is multiplied
 * are units of these alone, as evenly among the blocks as if there were no others. The rest are set to 0.
 * PN_MASK_IS_EARLY: the launch in front does not write the mask, so that nothing waits for it. Nor do a block's first
 * slices wait for the list: they are those of its first unit if all tiles are shown. If not, they go by unused.
 */

/* ---- The roles ---- */

/* Addresses in shared memory: of the slices, the tiles on their way out, the barriers, what the ranks of a cluster send
   and the barriers for that, and those for the values of a unit's rows. */
typedef struct block_shared {
  uint32_t stages, staged, full, empty, received, all_received, rows_full, rows_empty;
} block_shared;

/* Asks for a slice of the weights from column n0 on. */
PN_INLINE void bring_slice(const block_shared &shared, int stage, const char *packed, uint32_t rank, int n0, int slice) {
  const int atoms = ATOMS_N - n0 / 64 < PN_ATOMS ? ATOMS_N - n0 / 64 : PN_ATOMS;
  const char *weights = packed + ((int64_t)(n0 / 64) * PN_SLICES + FIRST_SLICE(rank) + slice) * ATOM_BYTES;
  const uint32_t to = shared.stages + stage * STAGE_BYTES, full = shared.full + stage * 8;
  pn_barrier_expect(full, atoms * ATOM_BYTES + TOKEN_BYTES);
#pragma unroll
  for (int atom = 0; atom < PN_ATOMS; atom++)
    if (atom < atoms) copy_atom(to + atom * ATOM_BYTES, weights + (int64_t)atom * PN_SLICES * ATOM_BYTES, full);
}

/* Where tiles are skipped: how many slices are asked for before it is known of what unit. */
PN_INLINE int guessed_slices(uint32_t rank) {
  return !PN_SKIPS_TILES ? 0 : SLICES_OF(rank) < PN_STAGES ? SLICES_OF(rank) : PN_STAGES;
}
PN_INLINE void bring_guessed_weights(const block_shared &shared, const char *packed, uint32_t rank) {
  const int n0 = choose_unit(blockIdx.x / PN_SPLIT, TILES).n0, slices = guessed_slices(rank);
#pragma unroll 1
  for (int slice = 0; slice < slices; slice++) bring_slice(shared, slice, packed, rank, n0, slice);
}

/* Calls bring(stage, place, slice) for the slices of the block's units in turn, each when its stage is free; not for those
   that were guessed. */
template <typename bring_function>
PN_INLINE void bring_each(const block_shared &shared, const tile_list &list, uint32_t rank, bring_function bring) {
  const int slices = SLICES_OF(rank), guessed = guessed_slices(rank);
  int stage = guessed % PN_STAGES, slice = list.guessed ? guessed : 0;
  uint32_t parity = guessed < PN_STAGES;
#pragma unroll 1
  for (int unit = blockIdx.x / PN_SPLIT; unit < list.shown * TILES_N; unit += gridDim.x / PN_SPLIT, slice = 0) {
    const unit_place place = place_of(unit, list);
#pragma unroll 1
    for (; slice < slices; slice++) {
      pn_barrier_wait(shared.empty + stage * 8, parity);
      bring(stage, place, slice);
      if (++stage == PN_STAGES) stage = 0, parity ^= 1;
    }
  }
}

/* One thread asks for weights. They depend on no launch: the first are there when the launch in front is done. */
PN_INLINE void bring_weights(const block_shared &shared, const tile_list &list, const char *packed, uint32_t rank) {
  bring_each(shared, list, rank, [=](int stage, const unit_place &place, int slice) {
    bring_slice(shared, stage, packed, rank, place.n0, slice);
  });
}

/* Asks for a slice of the tokens of a tile. */
PN_INLINE void bring_tile(const block_shared &shared, int stage, const void *map, uint32_t rank, const unit_place &place,
                          int slice) {
  copy_tile(shared.stages + stage * STAGE_BYTES + WEIGHT_BYTES, map, (FIRST_SLICE(rank) + slice) * 64, place.m0,
            place.b1, place.b0, shared.full + stage * 8);
}
PN_INLINE void bring_guessed_tokens(const block_shared &shared, const void *map, uint32_t rank) {
  const int tile = choose_unit(blockIdx.x / PN_SPLIT, TILES).tile, batch = tile / TILES_M, slices = guessed_slices(rank);
  const unit_place place = {tile % TILES_M * PN_TOKENS, 0, batch / PN_B1, batch % PN_B1};
  pn_wait_for_inputs();
#pragma unroll 1
  for (int slice = 0; slice < slices; slice++) bring_tile(shared, slice, map, rank, place, slice);
}

/* Another thread asks for the tokens, which the first one's barrier expects too. When the last slice is asked for the
   next launch may start: what it brings before it waits then fills the time in which this one finishes, and is in the
   way of none of these slices. */
PN_INLINE void bring_tokens(const block_shared &shared, const tile_list &list, const void *map, uint32_t rank) {
  pn_wait_for_inputs();
  bring_each(shared, list, rank, [=](int stage, const unit_place &place, int slice) {
    bring_tile(shared, stage, map, rank, place, slice);
  });
  pn_let_next_start();
}

/* ROW_THREADS threads: what the sums of each unit's rows come to, while its products are made. */
PN_INLINE void bring_row_values(const pinion_pointers &arguments, const block_shared &shared, const tile_list &list,
                                float *row_values) {
  unit_place summed = {-1, -1, -1, -1}; /* whose rows `row_values` are of */
  uint32_t parity = 1;
  pn_wait_for_inputs();
#pragma unroll 1
  for (int unit = blockIdx.x / PN_SPLIT; unit < list.shown * TILES_N; unit += gridDim.x / PN_SPLIT, parity ^= 1) {
    const unit_place place = place_of(unit, list);
    pn_barrier_wait(shared.rows_empty, parity);
    if (place.m0 != summed.m0 || place.b0 != summed.b0 || place.b1 != summed.b1) sum_rows(arguments, place, row_values);
    summed = place;
    pn_barrier_arrive(shared.rows_full);
  }
}

/* One warpgroup. */
PN_INLINE void multiply(const pinion_pointers &arguments, const block_shared &shared, const tile_list &list,
                        const float *row_values, int warpgroup, uint32_t rank) {
  const int thread = threadIdx.x % 128, own = rank * OWN_TOKENS;
  const int own_tokens = PN_TOKENS - own < OWN_TOKENS ? PN_TOKENS - own : OWN_TOKENS; /* of a rank of a cluster */
  const uint32_t staged = shared.staged + warpgroup * STAGED_BYTES;
  float accumulator[PN_TOKENS / 2];
  chunk_operands operands;
  const int slices = SLICES_OF(rank);
  int stage = 0;
  uint32_t parity = 0, row_parity = 0;
  pn_wait_for_inputs(); /* what the epilogue reads, and before it writes */
#pragma unroll 1
  for (int slice = 0; !list.guessed && slice < guessed_slices(rank); slice++) {
    pn_barrier_wait(shared.full + stage * 8, parity);
    pn_sync(warpgroup + 1, 128); /* all have seen it */
    if (thread == 0) pn_barrier_arrive(shared.empty + stage * 8);
    if (++stage == PN_STAGES) stage = 0, parity ^= 1;
  }
#pragma unroll 1
  for (int unit = blockIdx.x / PN_SPLIT; unit < list.shown * TILES_N; unit += gridDim.x / PN_SPLIT, row_parity ^= 1) {
    const unit_place place = place_of(unit, list);
    int before = 0;
    if (!PN_FRAGMENTS) load_chunk(arguments, place, warpgroup, own, PN_CHUNK, operands);
#pragma unroll
    for (int i = 0; i < PN_TOKENS / 2; i++) accumulator[i] = 0;
    pn_pin(accumulator);
#pragma unroll 1
    for (int slice = 0; slice < slices; slice++) {
      const uint32_t at = shared.stages + stage * STAGE_BYTES;
      const uint64_t b = pn_wgmma_operand(at + warpgroup * ATOM_BYTES, 16), a = pn_wgmma_operand(at + WEIGHT_BYTES, 16);
      pn_barrier_wait(shared.full + stage * 8, parity);
      pn_wgmma_begin();
#pragma unroll
      for (int k = 0; k < 4; k++) PN_WGMMA(accumulator, b + 2 * k, a + 2 * k, 1);
      pn_wgmma_commit();
      if (slice > 0) { /* the slice before is done: its stage may be filled again */
        pn_wgmma_wait<1>();
        if (thread == 0) pn_barrier_arrive(shared.empty + before * 8);
      }
      before = stage;
      if (++stage == PN_STAGES) stage = 0, parity ^= 1;
    }
    pn_wgmma_wait();
    pn_pin(accumulator);
    if (thread == 0) pn_barrier_arrive(shared.empty + before * 8);
#if PN_SPLIT > 1
    const uint32_t received = shared.received + warpgroup * RECEIVED_BYTES;
    if (SENDS_OVER_STAGES) pn_cluster_begin();
    pn_cluster_wait();
    send_sums(accumulator, received, shared.all_received + warpgroup * 8, rank);
    if (own_tokens <= 0) continue;
    pn_barrier_wait_for_cluster(shared.all_received + warpgroup * 8);
    add_received(accumulator, received);
    stage_tokens(accumulator, staged, 0, OWN_TOKENS);
    if (PN_ROW_SUM_COUNT) pn_barrier_wait(shared.rows_full, row_parity);
    pn_sync(warpgroup + 1, 128);
    finish_chunk(arguments, place, staged, row_values, warpgroup, own, own_tokens, operands);
#elif PN_FRAGMENTS
    if (PN_ROW_SUM_COUNT) pn_barrier_wait(shared.rows_full, row_parity);
    finish_fragments(arguments, place, accumulator, staged, row_values, warpgroup);
#else
    if (PN_ROW_SUM_COUNT) pn_barrier_wait(shared.rows_full, row_parity);
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
      const int first = chunk * PN_CHUNK, left = PN_TOKENS - first, tokens = left < PN_CHUNK ? left : PN_CHUNK;
      chunk_operands next;
      if (chunk + 1 < CHUNKS) load_chunk(arguments, place, warpgroup, first + PN_CHUNK, PN_CHUNK, next);
      stage_tokens(accumulator, staged, first, tokens);
      pn_sync(warpgroup + 1, 128);
      finish_chunk(arguments, place, staged, row_values, warpgroup, first, tokens, operands);
      pn_sync(warpgroup + 1, 128);
#pragma unroll
      for (int i = 0; i < CHUNK_EIGHTS && chunk + 1 < CHUNKS; i++) operands[i] = next[i];
    }
#endif
    if (PN_ROW_SUM_COUNT && thread == 0) pn_barrier_arrive(shared.rows_empty); /* all have read them */
  }
#if PN_SKIPS_TILES
#if PN_SPLIT > 1
  if (blockIdx.x / PN_SPLIT >= list.shown * TILES_N) { /* for nothing, but once in all blocks */
    if (SENDS_OVER_STAGES) pn_cluster_begin();
    pn_cluster_wait();
  }
#endif
  clear_hidden_units(arguments, list, warpgroup, own, own_tokens);
#endif
}

/* ---- The block ---- */

extern "C" __global__ void
#if PN_SPLIT > 1
    __cluster_dims__(PN_SPLIT, 1, 1)
#endif
        __launch_bounds__(THREADS, PN_RESIDENT)
            PN_KERNEL(const __grid_constant__ pinion_pointers arguments, const __grid_constant__ pinion_params params,
                      const __grid_constant__ tensor_map map) {
  const uint32_t begin = pn_shared_address(pn_shared), stages = (begin + 1023) & ~1023u;
  const uint32_t stages_end = stages + PN_STAGES * STAGE_BYTES, received = SENDS_OVER_STAGES ? stages : stages_end;
  const uint32_t staged = received + (PN_SPLIT > 1 ? PN_ATOMS * RECEIVED_BYTES : 0);
  const uint32_t staged_end = staged + PN_ATOMS * STAGED_BYTES, end = staged_end > stages_end ? staged_end : stages_end;
  const uint32_t full = (end + 15) & ~15u, empty = full + PN_STAGES * 8;
  const uint32_t all_received = empty + PN_STAGES * 8, rows_full = all_received + PN_ATOMS * 8;
  float *row_values = (float *)(pn_shared + (full - begin) + BARRIERS_BYTES);
  const block_shared shared = {stages,       staged,    full,         empty, received,
                               all_received, rows_full, rows_full + 8};
  const int warpgroup = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0);
  const uint32_t rank = blockIdx.x % PN_SPLIT;
#if PN_SKIPS_TILES
  int *shown_tiles = (int *)(row_values + ROW_VALUES);
  uint16_t *order = (uint16_t *)(shown_tiles + 1);
  uint8_t *is_shown = (uint8_t *)(order + TILES);
#endif
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < PN_STAGES; stage++) {
      pn_barrier_init(shared.full + stage * 8, 1);
      pn_barrier_init(shared.empty + stage * 8, PN_ATOMS);
    }
    pn_barrier_init(shared.rows_full, ROW_THREADS);
    pn_barrier_init(shared.rows_empty, PN_ATOMS);
    const int left = PN_TOKENS / 8 - (int)rank * OWN_GROUPS, groups = left < OWN_GROUPS ? left : OWN_GROUPS;
    for (int atom = 0; atom < PN_ATOMS && PN_SPLIT > 1; atom++) {
      pn_barrier_init(shared.all_received + atom * 8, 1);
      pn_barrier_expect(shared.all_received + atom * 8, groups > 0 ? groups * PN_SPLIT * 2048 : 0);
    }
    pn_barrier_publish();
    prefetch_map(&map);
  }
  __syncthreads();
#if PN_SKIPS_TILES
  if (threadIdx.x == CONSUMERS + 32) bring_guessed_tokens(shared, &map, rank);
  if (threadIdx.x == CONSUMERS) bring_guessed_weights(shared, (const char *)arguments.pointer[PN_RESULTS + 1], rank);
  if (!PN_MASK_IS_EARLY) pn_wait_for_inputs();
  for (int tile = threadIdx.x / 32; tile < TILES && warpgroup < PN_ATOMS; tile += CONSUMERS / 32) {
    const bool shown = shows_tile(arguments, tile);
    if (threadIdx.x % 32 == 0) is_shown[tile] = shown;
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    const int shown = sort_tiles(is_shown, order);
    if (threadIdx.x == 0) *shown_tiles = shown;
  }
  __syncthreads();
  const tile_list list = {order, *shown_tiles, guesses_unit(order, *shown_tiles)};
#else
  const tile_list list = {nullptr, TILES, true};
#endif
  if (PN_SPLIT > 1 && !SENDS_OVER_STAGES) pn_cluster_begin();
  if (warpgroup == PN_ATOMS) {
#if PN_ATOMS > 1
    pn_give_registers<40>();
#endif
    if (threadIdx.x == CONSUMERS) bring_weights(shared, list, (const char *)arguments.pointer[PN_RESULTS + 1], rank);
    if (threadIdx.x == CONSUMERS + 32) bring_tokens(shared, list, &map, rank);
    if (PN_ROW_SUM_COUNT && threadIdx.x >= THREADS - ROW_THREADS)
      bring_row_values(arguments, shared, list, row_values);
#if PN_SPLIT > 1
    __syncwarp();
    if (SENDS_OVER_STAGES) pn_cluster_begin();
    pn_cluster_wait();
#endif
  } else {
#if PN_ATOMS > 1
    pn_take_registers<232>();
#endif
    multiply(arguments, shared, list, row_values, warpgroup, rank);
  }
}
