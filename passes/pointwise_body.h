/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Turns elementwise ops into one scalar body: what fuse-pointwise and fuse-epilogue share. */
#ifndef PINION_PASSES_POINTWISE_BODY_H
#define PINION_PASSES_POINTWISE_BODY_H

#include "graph.h"

#include "../ir/body.h"

/* A body being built. Add ops operands first; what an added op needs and no added op computes becomes an input. */
typedef struct pointwise_body {
  compilation *compilation;
  body body;
  MlirValue inputs[PINION_MAX_ARGS]; /* of the body, from before broadcasts */
  int input_limit;
  MlirValue values[BODY_MAX_INSTRUCTIONS]; /* results of ops added */
  body_operand operands[BODY_MAX_INSTRUCTIONS];
  int value_count;
} pointwise_body;

/* unary, binary, select, cast, pointwise. */
bool op_is_elementwise(MlirOperation op);
/* A few arithmetic instructions: worth repeating per element rather than a pass over memory. */
bool op_is_cheap(MlirOperation op);
/* Whether only such ops read it; also if nothing does. */
bool elementwise_ops_read(MlirValue value);
/* The same for every row: only the last dimension is not 1. */
bool is_one_row(MlirValue value);
/* The operand of the broadcast that makes `value`, else `value`. */
MlirValue value_before_broadcast(MlirValue value);

void pointwise_body_begin(pointwise_body *b, compilation *c, int input_limit);
/* Makes `value` an input, or finds it; -1 over the limit. `dtype` is how the body sees it. */
int pointwise_body_input(pointwise_body *b, MlirValue value, pinion_dtype dtype);
/* Appends an input that is no value of the function: an accumulator, the index of a part. */
void pointwise_body_leading(pointwise_body *b, pinion_dtype dtype);
/* Makes the first input the accumulator of `product`, a matmul's result of type `dtype`: what reads the product sees
   the accumulator rounded to it. */
bool pointwise_body_accumulator(pointwise_body *b, MlirValue product, pinion_dtype accumulator, pinion_dtype dtype);
/* Adds an op. Its result is rounded to its type unless it is `last`: then the store does it. False over a limit. */
bool pointwise_body_add(pointwise_body *b, MlirOperation op, bool last);
/* Yields the value of an op added. */
bool pointwise_body_end(pointwise_body *b, MlirValue result);

/* ---- Building it by hand; all false over a limit ---- */
/* Makes `value` an input, or finds it. */
bool pointwise_body_operand(pointwise_body *b, MlirValue value, body_operand *out_operand);
/* Appends one instruction; its value in *out_value. `dtype` is of its result (BODY_LITERAL alone leaves it open). */
bool pointwise_body_instruction(pointwise_body *b, const char *operation, pinion_dtype dtype, int count,
                                const body_operand *operands, body_operand *out_value);
/* Appends another body, with `inputs` for its inputs; what it yields in out_results. */
bool pointwise_body_append(pointwise_body *b, const body *inner, const body_operand *inputs, body_operand *out_results);
/* Whether an operation ("max", "select") gives a value of a small float type again where its operands hold such:
   nothing is left to round. */
bool pointwise_body_is_exact(const char *operation);
/* Rounds *value to a narrow float type; any other type is left alone. */
bool pointwise_body_round(pointwise_body *b, pinion_dtype dtype, body_operand *value);
/* Yields one more result, stored as `dtype`. */
void pointwise_body_yield(pointwise_body *b, body_operand value, pinion_dtype dtype);

#endif
