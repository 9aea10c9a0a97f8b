/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the files of the sm_90 target share. */
#ifndef PINION_TARGET_SM_90_H
#define PINION_TARGET_SM_90_H

#include "../target.h"

enum {
  MULTIPROCESSORS = 132,
  SHARED_BYTES = 232448,  /* that one block may ask for */
  SHARED_PER_SM = 233472, /* that all blocks of a multiprocessor share */
  REGISTERS = 65536,      /* of a multiprocessor */
  THREADS = 256,          /* of a block, but for gemm's */
};
static const int64_t largest_grid = 2147483647;

int64_t round_up_division(int64_t x, int64_t y);

/* What sums of floats are kept in: "float", or "double" if an argument is f64. */
const char *float_accumulator_type(const kernel_problem *problem);

/* Points of the dimensions first .. end. */
int64_t points(const kernel_problem *problem, int first, int end);

/* A one-dimensional launch. Kernels that loop over their work get at most 16 blocks a multiprocessor. */
void set_grid(kernel_choice *choice, int64_t blocks, int threads, bool loops);

/* Attention's part of `choose` and `candidates` (target.h). */
bool choose_attention(arena *a, const kernel_problem *problem, const char *tile, kernel_choice *choice,
                      const char **out_why);
int attention_candidates(const kernel_problem *problem, const char **out_tiles, int capacity);

#endif
