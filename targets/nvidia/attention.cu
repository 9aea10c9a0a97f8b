/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * y[q,e] = softmax_k(scale * q.k + mask) . v with an online softmax, in PN_ACCUMULATOR, for any types, strides and
 * sizes. A block of 256 threads takes PN_TILE queries of one head and PN_COLUMNS columns of v, and walks over the keys,
 * PN_TILE at a time; thread (i, j) of 16 x 16 holds rows i, i + 16, .. and columns j, j + 16, .. of every tile. A row
 * whose keys are all hidden is 0.
 */
#define PATCH (PN_TILE / 16)
#define VALUE_PATCH (PN_COLUMNS / 16)
#define SLICE 32 /* of the depth, in shared memory at a time */
#define PITCH (PN_TILE + 1)

/* What a block works on: its head's coordinates, its first query and column of v. */
typedef struct block_place {
  pn_index at[PN_DEPTH]; /* the key and the query for the mask alone */
  int64_t query0, value0;
} block_place;

/* What a thread keeps of its rows from one tile of keys to the next. */
typedef struct row_totals {
  PN_ACCUMULATOR maximum[PATCH], sum[PATCH], value[PATCH][VALUE_PATCH];
} row_totals;

typedef PN_ACCUMULATOR score_patch[PATCH][PATCH];

/* Of q and k, [SLICE][PITCH] each, depth0 .. depth0 + SLICE of the block's queries and of the keys from key0 on. */
PN_INLINE void load_slices(const pinion_pointers &arguments, const pinion_params &params, const block_place &place,
                           int64_t key0, int64_t depth0, PN_ACCUMULATOR *q_slice, PN_ACCUMULATOR *k_slice) {
  const int64_t *q_stride = params.stride[1], *k_stride = params.stride[2];
  const int64_t q = pn_offset(&params, 1, 0, PN_QUERY, place.at), k = pn_offset(&params, 2, 0, PN_QUERY, place.at);
  for (int element = threadIdx.x; element < PN_TILE * SLICE; element += 256) {
    const int row = element / SLICE, column = element % SLICE;
    const int64_t query = place.query0 + row, key = key0 + row, d = depth0 + column;
    const bool deep = d < params.size[PN_DEPTH];
    PN_ACCUMULATOR of_q = 0, of_k = 0;
    if (deep && query < params.size[PN_QUERY])
      of_q = (PN_ACCUMULATOR)PN_LOAD(1, q + query * q_stride[PN_QUERY] + d * q_stride[PN_DEPTH]);
    if (deep && key < params.size[PN_KEY])
      of_k = (PN_ACCUMULATOR)PN_LOAD(2, k + key * k_stride[PN_KEY] + d * k_stride[PN_DEPTH]);
    q_slice[column * PITCH + row] = of_q;
    k_slice[column * PITCH + row] = of_k;
  }
}

/* score += q . k over a slice. */
PN_INLINE void add_products(score_patch &score, const PN_ACCUMULATOR *q_slice, const PN_ACCUMULATOR *k_slice) {
  const int i = threadIdx.x / 16, j = threadIdx.x % 16;
#pragma unroll 8
  for (int d = 0; d < SLICE; d++) {
    PN_ACCUMULATOR q_column[PATCH], k_column[PATCH];
#pragma unroll
    for (int row = 0; row < PATCH; row++) q_column[row] = q_slice[d * PITCH + i + 16 * row];
#pragma unroll
    for (int column = 0; column < PATCH; column++) k_column[column] = k_slice[d * PITCH + j + 16 * column];
#pragma unroll
    for (int row = 0; row < PATCH; row++)
#pragma unroll
      for (int column = 0; column < PATCH; column++) score[row][column] += q_column[row] * k_column[column];
  }
}

/* score * scale + mask; -infinity where the key is hidden. */
PN_INLINE void mask_scores(const pinion_pointers &arguments, const pinion_params &params, block_place &place,
                           int64_t key0, score_patch &score) {
  const PN_ACCUMULATOR scale = (PN_ACCUMULATOR)params.scalar[0];
#pragma unroll
  for (int row = 0; row < PATCH; row++) {
    const int64_t query = place.query0 + threadIdx.x / 16 + 16 * row;
    const int64_t limit = query < params.size[PN_QUERY] ? pn_key_limit(&params, query) : 0;
#pragma unroll
    for (int column = 0; column < PATCH; column++) {
      const int64_t key = key0 + threadIdx.x % 16 + 16 * column;
      const bool hidden = key >= limit;
      score[row][column] = hidden ? -PN_INFINITY : score[row][column] * scale;
#if PN_OPERANDS > 3
      if (hidden) continue;
      place.at[PN_QUERY] = (pn_index)query;
      place.at[PN_KEY] = (pn_index)key;
      const PN_C4 mask = PN_LOAD(4, pn_offset(&params, 4, 0, PN_DEPTH, place.at));
#ifdef PN_BOOL_MASK
      if (!mask) score[row][column] = -PN_INFINITY;
#else
      score[row][column] += (PN_ACCUMULATOR)mask;
#endif
#endif
    }
  }
}

/* Takes a tile's scores into the rows' maxima and sums, and leaves their exponentials in probabilities. */
PN_INLINE void take_softmax(const score_patch &score, row_totals &totals, PN_ACCUMULATOR (*probabilities)[PITCH]) {
  const int i = threadIdx.x / 16, j = threadIdx.x % 16;
#pragma unroll
  for (int row = 0; row < PATCH; row++) {
    PN_ACCUMULATOR maximum = totals.maximum[row];
#pragma unroll
    for (int column = 0; column < PATCH; column++) maximum = pn_max(maximum, score[row][column]);
    for (int lanes = 8; lanes; lanes >>= 1) maximum = pn_max(maximum, __shfl_xor_sync(0xffffffffu, maximum, lanes));
    /* -inf - -inf is not a number: a row that has seen no key yet keeps its zeros. */
    const PN_ACCUMULATOR shrink = totals.maximum[row] == -PN_INFINITY ? 0 : pn_exp(totals.maximum[row] - maximum);
    totals.maximum[row] = maximum;
    totals.sum[row] *= shrink;
#pragma unroll
    for (int column = 0; column < VALUE_PATCH; column++) totals.value[row][column] *= shrink;
#pragma unroll
    for (int column = 0; column < PATCH; column++) {
      const PN_ACCUMULATOR p = score[row][column] == -PN_INFINITY ? 0 : pn_exp(score[row][column] - maximum);
      totals.sum[row] += p;
      probabilities[i + 16 * row][j + 16 * column] = p;
    }
  }
}

/* totals += probabilities . v over a tile of keys, 64 columns of v ([PN_TILE][64]) at a time. */
PN_INLINE void add_values(const pinion_pointers &arguments, const pinion_params &params, const block_place &place,
                          int64_t key0, PN_ACCUMULATOR (*probabilities)[PITCH], PN_ACCUMULATOR *v_columns,
                          row_totals &totals) {
  const int i = threadIdx.x / 16, j = threadIdx.x % 16;
  const int64_t v = pn_offset(&params, 3, 0, PN_QUERY, place.at), *stride = params.stride[3];
#pragma unroll
  for (int group = 0; group < PN_COLUMNS / 64; group++) {
    __syncthreads(); /* probabilities are written; the operands before are read */
#pragma unroll 1
    for (int element = threadIdx.x; element < PN_TILE * 64; element += 256) {
      const int64_t key = key0 + element / 64, value = place.value0 + group * 64 + element % 64;
      const bool inside = key < params.size[PN_KEY] && value < params.size[PN_VALUE];
      v_columns[element] = inside ? (PN_ACCUMULATOR)PN_LOAD(3, v + key * stride[PN_KEY] + value * stride[PN_VALUE]) : 0;
    }
    __syncthreads();
#pragma unroll 8
    for (int key = 0; key < PN_TILE; key++)
#pragma unroll
      for (int row = 0; row < PATCH; row++) {
        const PN_ACCUMULATOR p = probabilities[i + 16 * row][key];
#pragma unroll
        for (int column = 0; column < 4; column++)
          totals.value[row][group * 4 + column] += p * v_columns[key * 64 + j + 16 * column];
      }
  }
}

PN_INLINE void store_rows(const pinion_pointers &arguments, const pinion_params &params, const block_place &place,
                          const row_totals &totals) {
  const int64_t y = pn_offset(&params, 0, 0, PN_QUERY, place.at), *stride = params.stride[0];
#pragma unroll
  for (int row = 0; row < PATCH; row++) {
    const int64_t query = place.query0 + threadIdx.x / 16 + 16 * row;
    PN_ACCUMULATOR sum = totals.sum[row];
    for (int lanes = 8; lanes; lanes >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
#pragma unroll
    for (int column = 0; column < VALUE_PATCH; column++) {
      const int64_t value = place.value0 + threadIdx.x % 16 + 16 * column;
      if (query < params.size[PN_QUERY] && value < params.size[PN_VALUE])
        PN_STORE(0, y + query * stride[PN_QUERY] + value * stride[PN_VALUE],
                 sum == 0 ? (PN_ACCUMULATOR)0 : totals.value[row][column] / sum);
    }
  }
}

PN_ENTRY(256, 1) {
  /* q and k slices while scores are made; then columns of v. */
  __shared__ PN_ACCUMULATOR operands[2 * SLICE * PITCH], probabilities[PN_TILE][PITCH];
  PN_ACCUMULATOR *q_slice = operands, *k_slice = operands + SLICE * PITCH;
  const int64_t queries = params.size[PN_QUERY];
  const int64_t query_tiles = (queries + PN_TILE - 1) / PN_TILE;
  const int64_t value_tiles = (params.size[PN_VALUE] + PN_COLUMNS - 1) / PN_COLUMNS;
  if (blockIdx.x >= pn_points(&params, 0, PN_QUERY) * query_tiles * value_tiles) return;
  block_place place = {};
  pn_coordinates(&params, 0, PN_QUERY, (pn_index)(blockIdx.x / (query_tiles * value_tiles)), place.at);
  place.query0 = blockIdx.x / value_tiles % query_tiles * PN_TILE;
  place.value0 = blockIdx.x % value_tiles * PN_COLUMNS;
  const int64_t end = place.query0 + PN_TILE;
  const int64_t key_end = pn_key_limit(&params, (end < queries ? end : queries) - 1); /* no query of ours sees more */

  row_totals totals = {};
#pragma unroll
  for (int row = 0; row < PATCH; row++) totals.maximum[row] = -PN_INFINITY;
#pragma unroll 1
  for (int64_t key0 = 0; key0 < key_end; key0 += PN_TILE) {
    score_patch score = {};
    __syncthreads(); /* everybody has read the probabilities before */
#pragma unroll 1
    for (int64_t depth0 = 0; depth0 < params.size[PN_DEPTH]; depth0 += SLICE) {
      __syncthreads();
      load_slices(arguments, params, place, key0, depth0, q_slice, k_slice);
      __syncthreads();
      add_products(score, q_slice, k_slice);
    }
    mask_scores(arguments, params, place, key0, score);
    take_softmax(score, totals, probabilities);
    add_values(arguments, params, place, key0, probabilities, operands, totals);
  }
  store_rows(arguments, params, place, totals);
}
