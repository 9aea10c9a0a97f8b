/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A product taken apart, to be built again with more in its epilogue: what fusions into gemms share. */
#ifndef PINION_PASSES_GEMM_PARTS_H
#define PINION_PASSES_GEMM_PARTS_H

#include "pointwise_body.h"

#include "../ir/gemm.h"

typedef struct gemm_parts {
  MlirOperation op; /* matmul or gemm */
  MlirValue a, b;
  bool transpose_b;
  gemm_form form;
  int operand_count; /* x... */
  MlirValue operands[PINION_MAX_ARGS];
  MlirValue row_mask; /* [..,m,1], or null: none */
  int result_count;
  tensor_type results[PINION_MAX_ARGS];
  body *body; /* the arena's; a matmul's yields the accumulator */
} gemm_parts;

/* Reads a gemm without a row mask, or a matmul of float matrices; false for any other op. */
bool gemm_read(compilation *c, MlirOperation op, gemm_parts *out_parts);
/* As fuse-epilogue makes it: one accumulator, one result, no groups and no sums. */
bool gemm_is_plain(const gemm_parts *parts);
/* How many inputs the body has before the operands. */
int gemm_leading_inputs(const gemm_form *form);

/* Begins a body with the inputs that a gemm of that form has before its operands; `a` is its operand. */
void gemm_body_begin(pointwise_body *built, compilation *c, const gemm_form *form, MlirValue a);
/* The body's inputs for `parts`: `leading` for those before its operands, then its operands, which become inputs of
   `built`. False over a limit. */
bool gemm_body_inputs_of(pointwise_body *built, const gemm_parts *parts, const body_operand *leading,
                         body_operand *out_inputs);
/* The same for a gemm that gets `more` as an operand, in front of its row sums, which stay the last. */
bool gemm_body_inputs_with(pointwise_body *built, const gemm_parts *parts, const body_operand *leading, MlirValue more,
                           body_operand *out_inputs, body_operand *out_more);
/* Whether a launch can have as many arguments as the results of `parts` and the operands of `built`. */
bool gemm_fits(const gemm_parts *parts, const pointwise_body *built);
/* Builds the gemm that `parts` describes with the operands and the body of `built`, which fit. Null with a diagnostic.
 */
MlirOperation gemm_build(builder *b, const gemm_parts *parts, const pointwise_body *built);

#endif
