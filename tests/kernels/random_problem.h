/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Random launches of every kernel family, with their operands, the reference's results and how far a kernel may be from
 * them: what a target's kernel tests are made of.
 */
#ifndef PINION_TESTS_RANDOM_PROBLEM_H
#define PINION_TESTS_RANDOM_PROBLEM_H

#include "targets/target.h"

/* One kernel instance: all that does not vary with the shape. */
typedef struct problem_case {
  const char *name;
  pinion_family family;
  const char *kind;    /* of a reduce or norm, else "" */
  int results;         /* how many of the types are results */
  const char *types;   /* of all arguments, results first: "f32 bf16 bf16" */
  const char *body[8]; /* instructions, NULL-terminated; none: no body */
  const char *tile;    /* that is forced, or NULL */
  bool packed_b;
  double tolerance; /* in units of the accumulator's rounding (2^-23, or 2^-52 for f64), beyond the result's own */
} problem_case;

/* One argument in memory. */
typedef struct problem_argument {
  uint8_t *memory;       /* owned; results begin as bytes 0xff */
  int64_t count, origin; /* elements in memory; index of the one whose coordinates are all 0 */
  double *values;        /* owned; results: the reference's by index in memory, NaN where no element lies; else NULL */
  double absolute, relative; /* results: a kernel may be off by absolute + relative * |value| */
} problem_argument;

typedef struct random_problem {
  kernel_problem problem; /* packed_b as the case says; then operand b's strides are 0 and its memory is packed */
  problem_argument arguments[PINION_MAX_ARGS];
} random_problem;

/* The same numbers for a seed everywhere. */
void random_seed(uint64_t seed);
int64_t random_between(int64_t least, int64_t greatest); /* both included */

/* Types, body and fixed parts of a case; false with a message on stderr if its body is wrong. */
bool problem_from_case(compilation *c, const problem_case *k, kernel_problem *out_problem);

/* Draws sizes, strides and operands, and runs the reference. `fixed` is what problem_from_case made. `target` packs b.
   False if the reference cannot run it. Ended by random_problem_free. */
bool random_problem_make(const problem_case *k, const kernel_problem *fixed, const struct target *target,
                         random_problem *out_problem);
void random_problem_free(random_problem *problem);

#endif
