/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Norms between gemms, of which no launch is left: what fuse-rmsnorm, fuse-adarms and fuse-layernorm share.
 *
 *   x = gemm(..);  y = norm(x, scale, bias);  z = gemm(y, W)
 *     becomes   x, s = gemm(..) {column_sums = 1}, s the sums of x * x;  z = gemm(x, scale * W, bias W, s) {row_sums =
 * 1}
 *
 * whose body begins with acc * rsqrt(sum(s) / D + epsilon) + (bias W). Where the scale is no constant, or W's type is
 * not x's, the first gemm also yields x * scale, and that is what the second one multiplies.
 *
 * Of a layer norm the scale is constant, and scale * W is centred: each column less its mean, so that it sums to 0 and
 * the product of a row with it is that of the row less the row's mean. The first gemm yields sums of x and of x * x,
 * and the factor is rsqrt(max(mean(x * x) - mean(x)^2, 0) + epsilon).
 *
 * x may be a gemm's rows beside rows that are the same in every step: x = concat(c, gemm(..)), c an argument of a step.
 * The sums are then concat(sums of c, s), where the former are ordinary ops that hoist-invariant takes out of the step.
 */
#ifndef PINION_PASSES_NORM_FOLD_H
#define PINION_PASSES_NORM_FOLD_H

#include "gemm_parts.h"

enum { NORM_MAXIMUM_READERS = 8, NORM_MOST_SUMS = 2 };

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
  bool subtracts_mean;      /* a layer norm */
  double epsilon;
  int64_t width;                /* D */
  bool scale_is_constant;       /* or absent: it goes into the weights */
  const pointer_map *positions; /* of the block's ops, borrowed */
  const bool *from_weights;     /* per position, borrowed */
  MlirOperation join;           /* the concat of rows that makes x, or null: the producer does */
  MlirValue made;               /* by the producer: x, or its part of the join */
  gemm_parts producer;          /* of `made` */
  int x_result;                 /* which of its results that is */
  norm_reader readers[NORM_MAXIMUM_READERS];
  int reader_count;
  pinion_dtype read_dtype;              /* of the readers' operand */
  bool has_copy;                        /* which is not x itself: x * scale, or x in that type */
  MlirValue rows, sums[NORM_MOST_SUMS]; /* what they read, once the producer is rewritten */
} norm_fold;

/* Which norms are a pass's. */
typedef struct norm_rule {
  const char *kind; /* "rms" or "layer" */
  bool (*is_own)(const norm_fold *f);
  const char *(*why_not)(const norm_fold *f); /* of its own, once the gemms are found: why one stays; or NULL */
} norm_rule;

/* Whether a value (or its absence) depends on weights alone. */
bool norm_fold_is_constant(const norm_fold *f, MlirValue value);
/* Rewrites the block's norms of that rule, where the gemms around them allow it and the gate lets it; a remark says why
   one stays. */
status norm_fold_block(pass_context *context, MlirBlock block, const norm_rule *rule);

#endif
