/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * RMS norms between gemms, of which no launch is left: what fuse-rmsnorm and fuse-adarms share.
 *
 *   x = gemm(..);  y = norm(x, scale, bias);  z = gemm(y, W)
 *     becomes   x, s = gemm(..) {column_sums = 1}, s the sums of x * x;  z = gemm(x, scale * W, bias W, s) {row_sums =
 * 1}
 *
 * whose body begins with acc * rsqrt(sum(s) / D + epsilon) + (bias W). Where the scale is no constant, or W's type is
 * not x's, the first gemm also yields x * scale, and that is what the second one multiplies.
 */
#ifndef PINION_PASSES_NORM_FOLD_H
#define PINION_PASSES_NORM_FOLD_H

#include "gemm_parts.h"

enum { NORM_MAXIMUM_READERS = 8 };

/* A gemm that multiplies the norm's result by a weight: all of it, or some of its rows, or a cast of those. */
typedef struct norm_reader {
  MlirOperation op;
  MlirOperation slice; /* null: all rows */
  MlirOperation cast;  /* null: none */
} norm_reader;

typedef struct norm_fold {
  pass_context *context;
  MlirOperation norm;
  MlirValue x, scale, bias; /* null if absent */
  double epsilon;
  int64_t width;                /* D */
  bool scale_is_constant;       /* or absent: it goes into the weights */
  const pointer_map *positions; /* of the block's ops, borrowed */
  const bool *from_weights;     /* per position, borrowed */
  gemm_parts producer;          /* of x */
  int x_result;                 /* which of its results x is */
  norm_reader readers[NORM_MAXIMUM_READERS];
  int reader_count;
  pinion_dtype read_dtype; /* of the readers' operand */
  bool has_copy;           /* which is not x itself: x * scale, or x in that type */
} norm_fold;

/* Reads a norm of kind rms over its last dimension into *out, whose context, positions and from_weights are set; false
   for any other op. */
bool norm_fold_read(norm_fold *out, MlirOperation norm);
/* Whether a value (or its absence) depends on weights alone. */
bool norm_fold_is_constant(const norm_fold *f, MlirValue value);
/* NULL if the norm can go, the scale and bias apart; else why it stays. Finds the producer and the readers. */
const char *norm_fold_why_not(norm_fold *f);
/* Rewrites, if the gate lets it. The norm is left without uses. */
status norm_fold_apply(norm_fold *f);

#endif
