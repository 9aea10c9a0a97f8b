/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Which values of a function have zeros in all rows that a mask does not show: a walk along its ops.
 *
 * A mask is a bool value of as many elements as there are rows, of all samples; row r of a value is what lies at place
 * r of its leading dimensions, which have so many places together. All numbers that a run computes are taken to be
 * finite, as they are where masked keys are left out of an attention: so 0 times what is not known is 0.
 */
#ifndef PINION_PASSES_ZERO_ROWS_H
#define PINION_PASSES_ZERO_ROWS_H

#include "gemm_parts.h"

typedef struct zero_rows {
  compilation *compilation;
  arena *arena;   /* borrowed */
  MlirValue mask; /* not a reshape's result */
  int64_t rows;
  pointer_map known; /* the values that have such rows */
  pointwise_body *scratch;
} zero_rows;

/* The value that `value` is, in another shape. */
MlirValue value_before_reshapes(MlirValue value);

/* The masks that attentions among the ops have over their keys, without reshapes, each once; returns how many. The list
   is the arena's. */
int zero_rows_masks(arena *a, const op_list *ops, MlirValue **out_masks);

/* `mask` in any shape. */
zero_rows zero_rows_begin(compilation *c, arena *a, MlirValue mask);

/* Which dimension is the last of the leading ones that make up the rows; -1 if there is none. */
int zero_rows_axis(const zero_rows *z, const tensor_type *type);

/* Whether `value` is the mask, one element a row. */
bool zero_rows_is_mask(const zero_rows *z, MlirValue value);
bool zero_rows_has(const zero_rows *z, MlirValue value);

/* Finds out about the results of an op, whose operands were visited. */
void zero_rows_visit(zero_rows *z, MlirOperation op);

/* Whether all that a gemm's body yields is 0 in those rows, given what is known of its operands. */
bool zero_rows_of_gemm(const zero_rows *z, const gemm_parts *gemm);

#endif
