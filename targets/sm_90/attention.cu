/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * y[q,e] = softmax_k(scale * q.k + mask) . v with an online softmax, in PN_ACCUMULATOR, for any types, strides and
 * sizes. A block of 256 threads takes PN_TILE queries of one head and PN_VALUE columns of v, and walks over the keys,
 * PN_TILE at a time; thread (i, j) of 16 x 16 holds rows i, i + 16, .. and columns j, j + 16, .. of every tile. A row
 * whose keys are all hidden is 0.
 */
#define QUERY 3
#define KEY 4
#define DEPTH 5
#define VALUE 6
#define PATCH (PN_TILE / 16)
#define VALUE_PATCH (PN_VALUE / 16)
#define SLICE 32 /* of the depth, in shared memory at a time */
#define PITCH (PN_TILE + 1)

/* Over the 16 threads that share a row. */
PN_INLINE PN_ACCUMULATOR row_maximum(PN_ACCUMULATOR x) {
  for (int lanes = 8; lanes; lanes >>= 1) x = pn_max(x, __shfl_xor_sync(0xffffffffu, x, lanes));
  return x;
}
PN_INLINE PN_ACCUMULATOR row_sum(PN_ACCUMULATOR x) {
  for (int lanes = 8; lanes; lanes >>= 1) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

PN_ENTRY(256) {
  /* q and k slices [SLICE][PITCH] while scores are made; then 64 columns of v, [PN_TILE][64]. */
  __shared__ PN_ACCUMULATOR operands[2 * SLICE * PITCH], probabilities[PN_TILE][PITCH];
  PN_ACCUMULATOR *q_slice = operands, *k_slice = operands + SLICE * PITCH, *v_columns = operands;
  const int64_t queries = params.size[QUERY], keys = params.size[KEY], depth = params.size[DEPTH],
                values = params.size[VALUE];
  const int64_t query_tiles = (queries + PN_TILE - 1) / PN_TILE, value_tiles = (values + PN_VALUE - 1) / PN_VALUE;
  if (blockIdx.x >= pn_points(&params, 0, QUERY) * query_tiles * value_tiles) return;
  const int i = threadIdx.x / 16, j = threadIdx.x % 16;
  pn_index at[PINION_MAX_RANK] = {};
  pn_coordinates(&params, 0, QUERY, (pn_index)(blockIdx.x / (query_tiles * value_tiles)), at);
  const int64_t query0 = blockIdx.x / value_tiles % query_tiles * PN_TILE, value0 = blockIdx.x % value_tiles * PN_VALUE;
  const int64_t y = pn_offset(&params, 0, 0, QUERY, at), q = pn_offset(&params, 1, 0, QUERY, at);
  const int64_t k = pn_offset(&params, 2, 0, QUERY, at), v = pn_offset(&params, 3, 0, QUERY, at);
  const PN_ACCUMULATOR scale = (PN_ACCUMULATOR)params.scalar[0];
  const bool causal = params.integer[0] == 1;
  /* No query of this tile sees a key from here on. */
  const int64_t last_seen = (query0 + PN_TILE < queries ? query0 + PN_TILE : queries) + params.integer[1];
  const int64_t key_end = causal && last_seen < keys ? last_seen : keys;

  PN_ACCUMULATOR total[PATCH][VALUE_PATCH] = {}, maximum[PATCH], sum[PATCH] = {};
#pragma unroll
  for (int row = 0; row < PATCH; row++) maximum[row] = -PN_INFINITY;

#pragma unroll 1
  for (int64_t key0 = 0; key0 < key_end; key0 += PN_TILE) {
    PN_ACCUMULATOR score[PATCH][PATCH] = {};
    __syncthreads(); /* everybody has read the probabilities before */
#pragma unroll 1
    for (int64_t depth0 = 0; depth0 < depth; depth0 += SLICE) {
      __syncthreads();
      for (int element = threadIdx.x; element < PN_TILE * SLICE; element += 256) {
        const int row = element / SLICE, column = element % SLICE;
        const bool deep = depth0 + column < depth;
        const int64_t q_row = query0 + row, k_row = key0 + row, d = depth0 + column;
        q_slice[column * PITCH + row] =
            deep && q_row < queries
                ? (PN_ACCUMULATOR)PN_LOAD(1, q + q_row * params.stride[1][QUERY] + d * params.stride[1][DEPTH])
                : 0;
        k_slice[column * PITCH + row] =
            deep && k_row < keys
                ? (PN_ACCUMULATOR)PN_LOAD(2, k + k_row * params.stride[2][KEY] + d * params.stride[2][DEPTH])
                : 0;
      }
      __syncthreads();
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
#pragma unroll
    for (int row = 0; row < PATCH; row++) {
      const int64_t query = query0 + i + 16 * row;
      PN_ACCUMULATOR tile_maximum = maximum[row];
#pragma unroll
      for (int column = 0; column < PATCH; column++) {
        const int64_t key = key0 + j + 16 * column;
        const bool hidden = query >= queries || key >= keys || (causal && key > query + params.integer[1]);
        score[row][column] = hidden ? -PN_INFINITY : score[row][column] * scale;
#if PN_OPERANDS > 3
        if (!hidden) {
          at[QUERY] = (pn_index)query;
          at[KEY] = (pn_index)key;
          const PN_C4 mask = PN_LOAD(4, pn_offset(&params, 4, 0, DEPTH, at));
#ifdef PN_BOOL_MASK
          if (!mask) score[row][column] = -PN_INFINITY;
#else
          score[row][column] += (PN_ACCUMULATOR)mask;
#endif
        }
#endif
        tile_maximum = pn_max(tile_maximum, score[row][column]);
      }
      tile_maximum = row_maximum(tile_maximum);
      /* -inf - -inf is not a number: a row that has seen no key yet keeps its zeros. */
      const PN_ACCUMULATOR shrink = maximum[row] == -PN_INFINITY ? 0 : pn_exp(maximum[row] - tile_maximum);
      maximum[row] = tile_maximum;
      sum[row] *= shrink;
#pragma unroll
      for (int column = 0; column < VALUE_PATCH; column++) total[row][column] *= shrink;
#pragma unroll
      for (int column = 0; column < PATCH; column++) {
        const PN_ACCUMULATOR p = score[row][column] == -PN_INFINITY ? 0 : pn_exp(score[row][column] - tile_maximum);
        sum[row] += p;
        probabilities[i + 16 * row][j + 16 * column] = p;
      }
    }
#pragma unroll
    for (int group = 0; group < PN_VALUE / 64; group++) {
      __syncthreads(); /* probabilities are written; the operands before are read */
#pragma unroll 1
      for (int element = threadIdx.x; element < PN_TILE * 64; element += 256) {
        const int64_t key = key0 + element / 64, value = value0 + group * 64 + element % 64;
        v_columns[element] =
            key < keys && value < values
                ? (PN_ACCUMULATOR)PN_LOAD(3, v + key * params.stride[3][KEY] + value * params.stride[3][VALUE])
                : 0;
      }
      __syncthreads();
#pragma unroll 8
      for (int key = 0; key < PN_TILE; key++)
#pragma unroll
        for (int row = 0; row < PATCH; row++) {
          const PN_ACCUMULATOR p = probabilities[i + 16 * row][key];
#pragma unroll
          for (int column = 0; column < 4; column++)
            total[row][group * 4 + column] += p * v_columns[key * 64 + j + 16 * column];
        }
    }
  }
#pragma unroll
  for (int row = 0; row < PATCH; row++) {
    const PN_ACCUMULATOR row_total = row_sum(sum[row]);
    const int64_t query = query0 + i + 16 * row;
#pragma unroll
    for (int column = 0; column < VALUE_PATCH; column++) {
      const int64_t value = value0 + j + 16 * column;
      if (query < queries && value < values)
        PN_STORE(0, y + query * params.stride[0][QUERY] + value * params.stride[0][VALUE],
                 row_total == 0 ? (PN_ACCUMULATOR)0 : total[row][column] / row_total);
    }
  }
}
