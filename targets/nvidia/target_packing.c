/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Packed weights. b[h, n, p, k] becomes rows of k, in the order of its columns (h, n); with p = 2 every 16 rows are 8
 * columns of the first half, and the same 8 of the second, so that both accumulators of an element are one thread's.
 * These rows become atoms of 64 by 128 bytes of k, 8192 bytes each, ordered [row/64][k/P], where P = 128 / element
 * bytes: 64 bf16 or 32 f32. Inside an atom row r begins at byte 128 r, and its 16-byte chunk c lies at chunk c ^ (r &
 * 7): the 128-byte swizzle in which wgmma reads a K-major operand from shared memory, and in which ldmatrix meets no
 * bank twice, so that an atom is copied as it is and never rearranged. What is beyond the rows or k is zero.
 *
 *   byte of (row r, k) = ((r/64) * ceil(K/P) + k/P) * 8192 + (r%64) * 128 + (((k%P)*S/16) ^ (r%8)) * 16 + (k%P)*S % 16
 *
 * with S the element's bytes.
 */
#include "nvidia.h"

#include <string.h>

enum { ATOM_ROWS = 64, ROW_BYTES = 128, ATOM_BYTES = ATOM_ROWS * ROW_BYTES };

enum { H, N, P, K }; /* of a pack_request */

int64_t nvidia_packed_bytes(const int64_t size[4], pinion_dtype dtype) {
  int64_t row_elements = ROW_BYTES / (int64_t)pinion_dtype_size(dtype);
  return round_up_division(size[H] * size[N] * size[P], ATOM_ROWS) * round_up_division(size[K], row_elements) *
         ATOM_BYTES;
}

/* Packed rows row .. row + 8, which are eight neighbouring columns of one half. */
enum { GROUP_ROWS = 8, CHUNK_BYTES = 16 };

typedef struct row_group {
  const uint8_t *from[GROUP_ROWS]; /* element k = 0 of each row; NULL: b has no such row, it stays zero */
  bool side_by_side;               /* the rows lie one element apart */
} row_group;

static row_group group_of(const pack_request *request, int64_t row) {
  const int64_t *stride = request->stride, halves = request->size[P], group = request->size[N];
  const int64_t size = (int64_t)pinion_dtype_size(request->dtype);
  const int64_t column0 = row / (GROUP_ROWS * halves) * GROUP_ROWS, p = row / GROUP_ROWS % halves;
  row_group g = {.side_by_side = true};
  for (int i = 0; i < GROUP_ROWS; i++) {
    const int64_t column = column0 + i;
    if (column < request->size[H] * group)
      g.from[i] = (const uint8_t *)request->data +
                  (column / group * stride[H] + column % group * stride[N] + p * stride[P]) * size;
    g.side_by_side = g.side_by_side && g.from[i] && g.from[i] == g.from[0] + i * size;
  }
  return g;
}

/* Chunk `chunk` of row `row` of an atom. */
static uint8_t *chunk_at(uint8_t *atom, int64_t row, int64_t chunk) {
  return atom + row * ROW_BYTES + (chunk ^ (row & 7)) * CHUNK_BYTES;
}

/* One element after another: constant sizes become plain moves. */
static void gather(const uint8_t *from, int64_t step, size_t size, int64_t count, uint8_t *to) {
  if (step == (int64_t)size)
    memcpy(to, from, (size_t)count * size);
  else if (size == 2)
    for (int64_t i = 0; i < count; i++) memcpy(to + 2 * i, from + i * step, 2);
  else if (size == 4)
    for (int64_t i = 0; i < count; i++) memcpy(to + 4 * i, from + i * step, 4);
  else
    for (int64_t i = 0; i < count; i++) memcpy(to + i * (int64_t)size, from + i * step, size);
}

/* A whole chunk of eight rows whose elements of one k are side by side: each run of eight is read once. */
#define DEFINE_TRANSPOSE(name, element)                                                                                \
  static void name(const uint8_t *from, int64_t step, uint8_t *atom, int64_t row, int64_t chunk) {                     \
    enum { COUNT = CHUNK_BYTES / sizeof(element) };                                                                    \
    element in[COUNT][GROUP_ROWS], out[GROUP_ROWS][COUNT];                                                             \
    for (int k = 0; k < COUNT; k++) memcpy(in[k], from + k * step, sizeof in[k]);                                      \
    for (int r = 0; r < GROUP_ROWS; r++)                                                                               \
      for (int k = 0; k < COUNT; k++) out[r][k] = in[k][r];                                                            \
    for (int r = 0; r < GROUP_ROWS; r++) memcpy(chunk_at(atom, row + r, chunk), out[r], CHUNK_BYTES);                  \
  }
DEFINE_TRANSPOSE(transpose_2, uint16_t)
DEFINE_TRANSPOSE(transpose_4, uint32_t)

/* Columns k .. k + count of the atom's rows. Chunk by chunk, so that what is read of one k is one run over all rows. */
static void pack_atom(const pack_request *request, const row_group *groups, int64_t k, int64_t count, uint8_t *atom) {
  const size_t size = pinion_dtype_size(request->dtype);
  const int64_t step = request->stride[K] * (int64_t)size, chunk_elements = CHUNK_BYTES / (int64_t)size;
  memset(atom, 0, ATOM_BYTES);
  for (int64_t at = 0; at < count; at += chunk_elements) {
    const int64_t chunk = at / chunk_elements, held = count - at < chunk_elements ? count - at : chunk_elements;
    for (int64_t row = 0; row < ATOM_ROWS; row += GROUP_ROWS) {
      const row_group *g = &groups[row / GROUP_ROWS];
      const bool turns = g->side_by_side && step != (int64_t)size && held == chunk_elements;
      if (turns && size == 2)
        transpose_2(g->from[0] + (k + at) * step, step, atom, row, chunk);
      else if (turns && size == 4)
        transpose_4(g->from[0] + (k + at) * step, step, atom, row, chunk);
      else
        for (int64_t i = 0; i < GROUP_ROWS; i++)
          if (g->from[i]) gather(g->from[i] + (k + at) * step, step, size, held, chunk_at(atom, row + i, chunk));
    }
  }
}

/* Where k is not what lies side by side, a page of b holds many rows of few k: so many panels take their share of it in
   turn, before the next k are looked at. */
enum { PANELS = 16, PANEL_GROUPS = ATOM_ROWS / GROUP_ROWS };

void nvidia_pack(const pack_request *request, void *out_packed) {
  const int64_t *size = request->size, row_elements = ROW_BYTES / (int64_t)pinion_dtype_size(request->dtype);
  const int64_t rows = size[H] * size[N] * size[P], atoms = round_up_division(size[K], row_elements);
  const int64_t at_once = request->stride[K] == 1 ? 1 : PANELS;
  for (int64_t row0 = 0; row0 < rows; row0 += at_once * ATOM_ROWS) {
    const int64_t left = round_up_division(rows - row0, ATOM_ROWS), panels = left < at_once ? left : at_once;
    row_group groups[PANELS * PANEL_GROUPS];
    for (int64_t i = 0; i < panels * PANEL_GROUPS; i++) groups[i] = group_of(request, row0 + i * GROUP_ROWS);
    for (int64_t k = 0; k < size[K]; k += row_elements)
      for (int64_t panel = 0; panel < panels; panel++)
        pack_atom(request, groups + panel * PANEL_GROUPS, k, size[K] - k < row_elements ? size[K] - k : row_elements,
                  (uint8_t *)out_packed + ((row0 / ATOM_ROWS + panel) * atoms + k / row_elements) * ATOM_BYTES);
  }
}
