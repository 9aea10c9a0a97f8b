/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* y = kind over the last integer[0] dimensions of x; PN_ROW_THREADS threads an output. */
#if defined(PN_KIND_max)
#define PN_START PN_LOWEST
#define PN_STEP(total, x) pn_max(total, x)
#define PN_FINISH pn_row_max
#elif defined(PN_KIND_min)
#define PN_START PN_HIGHEST
#define PN_STEP(total, x) pn_min(total, x)
#define PN_FINISH pn_row_min
#elif defined(PN_KIND_prod)
#define PN_START 1
#define PN_STEP(total, x) ((total) * (x))
#define PN_FINISH pn_row_prod
#else /* sum, mean */
#define PN_START 0
#define PN_STEP(total, x) ((total) + (x))
#define PN_FINISH pn_row_sum
#endif
PN_ENTRY(256) {
  const int kept = PN_RANK - PN_REDUCED; /* dimensions of the result */
  const pn_index outputs = pn_points(&params, 0, kept), length = pn_points(&params, kept, PN_RANK);
  const int lane = threadIdx.x % PN_ROW_THREADS;
  for (pn_index first = blockIdx.x * (pn_index)PN_ROWS_PER_BLOCK; first < outputs;
       first += gridDim.x * (pn_index)PN_ROWS_PER_BLOCK) {
    const pn_index output = first + threadIdx.x / PN_ROW_THREADS;
    const bool active = output < outputs;
    pn_index at[PN_RANK + 1];
    pn_coordinates(&params, 0, kept, active ? output : 0, at);
    PN_ACCUMULATOR total = (PN_ACCUMULATOR)PN_START;
    if (active)
      for (pn_index i = lane; i < length; i += PN_ROW_THREADS) {
        pn_coordinates(&params, kept, PN_RANK, i, at);
        total = PN_STEP(total, (PN_ACCUMULATOR)PN_LOAD(1, pn_offset(&params, 1, 0, PN_RANK, at)));
      }
    total = PN_FINISH(total);
#ifdef PN_KIND_mean
    total = pn_div(total, (PN_ACCUMULATOR)length);
#endif
    if (active && lane == 0) PN_STORE(0, pn_offset(&params, 0, 0, kept, at), total);
  }
}
