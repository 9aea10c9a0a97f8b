/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Random launches of every kernel family, with their operands, the reference's results and how far a kernel may be from
 * them: what a target's kernel tests are made of.
 */
#ifndef PINION_TESTS_RANDOM_PROBLEM_H
#define PINION_TESTS_RANDOM_PROBLEM_H

#include "targets/target.h"

#define CASE_BODY_LINES 12

/* Tables of cases leave out what is 0 at the end. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* One kernel instance: all that does not vary with the shape. */
typedef struct problem_case {
  const char *name;
  pinion_family family;
  const char *kind;                  /* of a reduce or norm, else "" */
  int results;                       /* how many of the types are results */
  const char *types;                 /* of all arguments, results first: "f32 bf16 bf16" */
  const char *body[CASE_BODY_LINES]; /* instructions, NULL-terminated; none: no body */
  const char *tile;                  /* that is forced, or NULL */
  bool packed_b;
  double tolerance; /* in units of the accumulator's rounding (2^-23, or 2^-52 for f64), beyond the result's own */
  /* Of a gemm (runtime/abi.h). */
  int accumulators; /* 0 means 1 */
  bool grouped;     /* the shape has groups; always where there are parts */
  int parts;        /* 0 means 1 */
  int row_sums, column_sums;
  bool row_mask; /* the last type; the body yields 0 where the accumulators are 0 */
  /* Of attention with a mask of bools. */
  bool key_mask; /* it is the same for all queries, and hides many keys in runs; in half of the draws scores are far
                    apart */
} problem_case;

/*
 * What a gemm can have beside one accumulator, as cases of one tile; operands and stored results are of one type.
 * A gated pair; heads that share a bias; queries, keys and values, rotated but for the values; a row scaled by a sum,
 * with a residual; the sums of the squares of what is stored; a row scaled by what two sums come to, and two sums; rows
 * that are masked, and nothing but NaN where all around are. A product of two accumulators is off by as much as one is,
 * times the other: up to 20 here.
 */
/* clang-format off */
#define GEMM_FORM(name, results, types, forced_tile, packed, units, ...) {name, PINION_FAMILY_GEMM, "", results, types, {__VA_ARGS__}, forced_tile, packed, .tolerance = units
#define GEMM_FORM_CASES(prefix, T, tile, packed)                                                                       \
  GEMM_FORM(prefix "_pair", 1, T " " T " " T " f32", tile, packed, 20,                                                 \
            "gelu_tanh x0", "mul v0 x1", "add v1 x2", "yield v2"), .accumulators = 2},                                 \
  GEMM_FORM(prefix "_heads", 1, T " " T " " T " " T, tile, packed, 1, "add x0 x1", "yield v0"), .grouped = true},      \
  GEMM_FORM(prefix "_parts", 6, T " " T " " T " " T " " T " " T " " T " " T " f32 f32", tile, packed, 4,               \
            "mul x0 x3", "mul x1 x4", "sub v0 v1", "mul x1 x3", "mul x0 x4", "add v3 v4", "eq x2 2",                   \
            "select v6 x0 v2", "select v6 x1 v5", "yield v7 v8"), .accumulators = 2, .parts = 3},                      \
  GEMM_FORM(prefix "_row_sum", 2, T " " T " " T " " T " " T " f32", tile, packed, 4,                                   \
            "mul x3 0.125", "sigmoid v0", "cast.f32 x1", "add v1 v2", "mul x0 v3", "add v4 x2", "yield v5"),           \
            .parts = 2, .row_sums = 1},                                                                                \
  GEMM_FORM(prefix "_column_sum", 2, T " f32 " T " " T " " T " f32", tile, packed, 20,                                 \
            "mul x0 x2", "add v0 x1", "mul v1 v1", "yield v1 v2"), .row_sums = 1, .column_sums = 1},                   \
  GEMM_FORM(prefix "_two_sums", 3, T " f32 f32 " T " " T " f32 f32", tile, packed, 20,                                 \
            "mul x1 0.125", "sub v0 x2", "sigmoid v1", "mul x0 v2", "mul v3 v3", "yield v3 v3 v4"),                    \
            .row_sums = 2, .column_sums = 2},                                                                          \
  GEMM_FORM(prefix "_masked", 2, T " f32 " T " " T " " T " f32 bool", tile, packed, 20,                                \
            "mul x0 x2", "mul v0 x1", "mul v1 v1", "yield v1 v2"), .row_sums = 1, .column_sums = 1, .row_mask = true}, \
  GEMM_FORM(prefix "_masked_parts", 6,                                                                                 \
            T " " T " " T " " T " " T " " T " " T " " T " f32 f32 bool", tile, packed, 4,                              \
            "mul x0 x3", "mul x1 x4", "sub v0 v1", "mul x1 x3", "mul x0 x4", "add v3 v4", "eq x2 2",                   \
            "select v6 x0 v2", "select v6 x1 v5", "yield v7 v8"), .accumulators = 2, .parts = 3, .row_mask = true}
/* clang-format on */

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
