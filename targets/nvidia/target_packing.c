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

enum { ATOM_ROWS = 64, ATOM_BYTES = 8192 };

enum { H, N, P, K }; /* of a pack_request */

int64_t nvidia_packed_bytes(const int64_t size[4], pinion_dtype dtype) {
  int64_t row_elements = 128 / (int64_t)pinion_dtype_size(dtype);
  return round_up_division(size[H] * size[N] * size[P], ATOM_ROWS) * round_up_division(size[K], row_elements) *
         ATOM_BYTES;
}

/* Packed row `row`, columns k .. k + count, into its 128 swizzled bytes; nothing if b has no such row. */
static void pack_row(const pack_request *request, int64_t row, int64_t k, int64_t count, uint8_t *out_row) {
  const int64_t *stride = request->stride, halves = request->size[P], group = request->size[N];
  const int64_t column = row / (8 * halves) * 8 + row % 8, p = row / 8 % halves;
  const size_t size = pinion_dtype_size(request->dtype);
  if (column >= request->size[H] * group) return;
  const int64_t index = column / group * stride[H] + column % group * stride[N] + p * stride[P] + k * stride[K];
  const uint8_t *from = (const uint8_t *)request->data + index * (int64_t)size;
  for (int64_t i = 0; i < count; i++, from += stride[K] * (int64_t)size) {
    size_t byte = (size_t)i * size;
    memcpy(out_row + ((byte / 16) ^ (size_t)(row & 7)) * 16 + byte % 16, from, size);
  }
}

void nvidia_pack(const pack_request *request, void *out_packed) {
  const int64_t *size = request->size, row_elements = 128 / (int64_t)pinion_dtype_size(request->dtype);
  const int64_t rows = size[H] * size[N] * size[P];
  uint8_t *atom = out_packed;
  memset(out_packed, 0, (size_t)nvidia_packed_bytes(size, request->dtype));
  for (int64_t row0 = 0; row0 < rows; row0 += ATOM_ROWS)
    for (int64_t k = 0; k < size[K]; k += row_elements, atom += ATOM_BYTES) {
      const int64_t count = size[K] - k < row_elements ? size[K] - k : row_elements;
      for (int64_t row = 0; row < ATOM_ROWS; row++) pack_row(request, row0 + row, k, count, atom + row * 128);
    }
}
