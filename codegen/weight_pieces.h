/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A result of @weights as strided copies of mapped bytes: what transposes, reshapes, slices, broadcasts, concatenations
 * and one cast over weights come to, and one product in float32 with another weight (a norm's, folded into a
 * projection). Other arithmetic does not, and is evaluated.
 */
#ifndef PINION_CODEGEN_WEIGHT_PIECES_H
#define PINION_CODEGEN_WEIGHT_PIECES_H

#include "../ir/view.h"

typedef struct weight_piece {
  const uint8_t *data;        /* of the weight or constant; mapped, or the arena's */
  size_t bytes;               /* of all of it */
  view from;                  /* in elements of data */
  view to;                    /* in elements of the destination, whose element type it has */
  const uint8_t *factor_data; /* float32; NULL: no product */
  view factor;                /* in elements of factor_data, whose element type it has */
} weight_piece;

typedef struct weight_pieces {
  weight_piece *items;
  size_t count, capacity;
} weight_pieces;

/* Appends the copies that make `value` at the places that `to` shows. *out_direct is false where it is no such thing;
   then what was appended means nothing. Fails, with a diagnostic, where a weight cannot be read. */
status weight_pieces_find(compilation *c, MlirValue value, const view *to, weight_pieces *pieces, bool *out_direct);

/* Copies one piece: each element as float32, times its factor, rounded to the destination's type. Without a factor,
   elements of the destination's type are copied as they are. `destination` is where to's offsets count from. */
void weight_piece_copy(const weight_piece *piece, uint8_t *destination);

/* If b[h, n, p, k] = value_flat[where[0] + h * where[1] + n * where[2] + p * where[3] + k * where[4]] (in elements of
   the value, row-major), of the sizes given, is strided in the piece's data, of the same element type and without a
   factor: the same five numbers there. The piece shows all of the value. */
bool weight_piece_matrix(const weight_piece *piece, const int64_t where[5], const int64_t size[4],
                         int64_t out_where[5]);

#endif
