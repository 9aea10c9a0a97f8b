/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* (y1, y2) = (x1 cos - x2 sin, x2 cos + x1 sin), one thread a pair; it may run in place. */
PN_ENTRY(256) {
  const pn_index points = pn_points(&params, 0, PN_RANK);
  for (pn_index point = blockIdx.x * (pn_index)256 + threadIdx.x; point < points; point += gridDim.x * (pn_index)256) {
    pn_index at[PN_RANK];
    pn_coordinates(&params, 0, PN_RANK, point, at);
    const int64_t from = pn_offset(&params, 1, 0, PN_RANK, at), to = pn_offset(&params, 0, 0, PN_RANK, at);
    const PN_ACCUMULATOR x1 = PN_LOAD(1, from), x2 = PN_LOAD(1, from + params.integer[0]);
    const PN_ACCUMULATOR cosine = PN_LOAD(2, pn_offset(&params, 2, 0, PN_RANK, at));
    const PN_ACCUMULATOR sine = PN_LOAD(3, pn_offset(&params, 3, 0, PN_RANK, at));
    PN_STORE(0, to, x1 * cosine - x2 * sine);
    PN_STORE(0, to + params.integer[1], x2 * cosine + x1 * sine);
  }
}
