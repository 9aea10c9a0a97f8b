/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A result of @weights as strided copies of mapped bytes: what transposes, reshapes, slices, broadcasts, concatenations
 * and one cast over weights come to. Anything arithmetic does not, and is evaluated.
 */
#ifndef PINION_CODEGEN_WEIGHT_PIECES_H
#define PINION_CODEGEN_WEIGHT_PIECES_H

#include "../ir/view.h"

typedef struct weight_piece {
  const uint8_t *data; /* of the weight or constant; mapped, or the arena's */
  size_t bytes;        /* of all of it */
  view from;           /* in elements of data */
  view to;             /* in elements of the destination, whose element type it has */
} weight_piece;

typedef struct weight_pieces {
  weight_piece *items;
  size_t count, capacity;
} weight_pieces;

/* Appends the copies that make `value` at the places that `to` shows. *out_direct is false where it is no such thing;
   then what was appended means nothing. Fails, with a diagnostic, where a weight cannot be read. */
status weight_pieces_find(compilation *c, MlirValue value, const view *to, weight_pieces *pieces, bool *out_direct);

/* Copies one piece, converting element types. `destination` is where to's offsets count from. */
void weight_piece_copy(const weight_piece *piece, uint8_t *destination);

/* If the matrix b[n, k] = value_flat[where[0] + n * where[1] + k * where[2]] (in elements of the value, row-major) is a
   strided matrix of the piece's data, of the same element type: its place and strides. The piece shows all of the
   value. */
bool weight_piece_matrix(const weight_piece *piece, const int64_t where[3], int64_t n, int64_t k, int64_t *out_offset,
                         int64_t *out_stride_n, int64_t *out_stride_k);

#endif
