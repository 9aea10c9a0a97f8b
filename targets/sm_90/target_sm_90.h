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

/*
 * Defines NAME(d, a, b, add), one wgmma instruction: d[64 x n] = a[64 x 16] b[16 x n], plus d unless add is 0; bf16, d
 * in n / 2 registers of float. b is a descriptor of an operand in shared memory, its 16 k along rows, or with b_in_rows
 * its n; so is a, or four registers of a thread. Not in the emulator, which has the instruction in C.
 */
void define_wgmma(text *out, const char *name, int n, bool a_in_registers, bool b_in_rows);

/* Attention's part of `choose` and `candidates` (target.h). */
bool choose_attention(arena *a, const kernel_problem *problem, const char *tile, kernel_choice *choice,
                      const char **out_why);
int attention_candidates(const kernel_problem *problem, const char **out_tiles, int capacity);

#endif
