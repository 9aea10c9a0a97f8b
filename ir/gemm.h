/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the optional attributes of pinion.gemm say (ir/ops.def), and its body's inputs. */
#ifndef PINION_IR_GEMM_H
#define PINION_IR_GEMM_H

#include "ir.h"

#define GEMM_MAX_PARTS 3

typedef struct gemm_form {
  int accumulators; /* 1 or 2 */
  bool grouped;     /* results are [..,m,groups,n] */
  int64_t groups;   /* 1 if not grouped */
  int parts;
  int64_t part_start[GEMM_MAX_PARTS + 1]; /* first group of each; behind the last `groups` */
  int row_sums, column_sums;
  bool row_mask; /* the last operand is one, and no input of the body */
} gemm_form;

/* Of an op that the verifier accepts. */
gemm_form gemm_form_of(MlirOperation op);
/* Behind the last of `operand_count` operands that is an input of the body: the row mask is none. */
int gemm_operands_end(const gemm_form *form, int operand_count);

/* Types of the body's inputs: the accumulators (of a product of `a`), the part's index if there are parts, and the
   operands but a row mask. Returns how many; there is room for PINION_MAX_ARGS, which a launch's arguments cannot
   exceed. */
int gemm_body_inputs(pinion_dtype a, int64_t accumulators, int parts, int operand_count, const pinion_dtype *operands,
                     pinion_dtype *out_inputs);

#endif
