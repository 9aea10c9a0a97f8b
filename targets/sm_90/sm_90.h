/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the files of the sm_90 target share. */
#ifndef PINION_TARGETS_SM_90_H
#define PINION_TARGETS_SM_90_H

#include "../target.h"

enum {
  MULTIPROCESSORS = 132,
  SHARED_BYTES = 232448,  /* that one block may ask for */
  SHARED_PER_SM = 233472, /* that all blocks of a multiprocessor share */
};

/* Where wgmma's a is: in shared memory, its 16 k along rows, or its 64 rows along the memory's; in four registers. */
typedef enum wgmma_a { A_K_ALONG_ROWS, A_M_ALONG_ROWS, A_IN_REGISTERS } wgmma_a;

/*
 * Defines NAME(d, a, b, add), one wgmma instruction: d[64 x n] = a[64 x 16] b[16 x n], plus d unless add is 0; bf16, d
 * in n / 2 registers of float. b is a descriptor of an operand in shared memory, its 16 k along rows, or with b_in_rows
 * its n; so is a, unless it is in registers. Not in the emulator, which has the instruction in C.
 */
void define_wgmma(text *out, const char *name, int n, wgmma_a a, bool b_in_rows);

#endif
