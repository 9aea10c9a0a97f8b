/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The scalar body of pinion.pointwise and pinion.gemm: straight-line code over one element.
 *
 * As an attribute it is an array of strings, one instruction each, so that a person can read a dump:
 *
 *   body = ["add x0 x1", "cast.bf16 v0", "mul v1 x2", "yield v2"]
 *
 * x0, x1, .. are the operands (in a gemm x0 is the f32 accumulator), v0, v1, .. the earlier instructions' results, and a
 * literal is written `0.5` or `-3`, typed like the other operand. Operations are the kinds of pinion.unary and
 * pinion.binary, `select c a b`, and `cast.TYPE a`; `const.TYPE LITERAL` makes a typed literal. Arithmetic on bf16 and f16
 * is done in f32 and is *not* rounded until a cast or a store. The last instruction is `yield`, one operand per result.
 */
#ifndef PINION_IR_BODY_H
#define PINION_IR_BODY_H

#include "ir.h"

#define BODY_MAX_INSTRUCTIONS 256

typedef enum body_operand_kind { BODY_NONE, BODY_INPUT, BODY_VALUE, BODY_LITERAL } body_operand_kind;

typedef struct body_operand {
  body_operand_kind kind;
  int index;      /* of the input or the value */
  double literal; /* BODY_LITERAL: exact for what the IR holds */
} body_operand;

typedef struct body_instruction {
  char operation[16]; /* "add", "gelu_tanh", "select", "cast", "const" */
  pinion_dtype dtype; /* of its result */
  int operand_count;
  body_operand operands[3];
} body_instruction;

typedef struct body {
  int input_count;
  pinion_dtype input_dtypes[PINION_MAX_ARGS];
  int instruction_count; /* without the yield */
  body_instruction instructions[BODY_MAX_INSTRUCTIONS];
  int result_count;
  body_operand results[PINION_MAX_ARGS];
  pinion_dtype result_dtypes[PINION_MAX_ARGS];
} body;

/* Parses a body attribute for inputs of the given types, inferring every instruction's type; on failure returns false and
   leaves a sentence in `out_why` (borrowed, static or in the arena). */
bool body_parse(arena *a, MlirAttribute attribute, int input_count, const pinion_dtype *input_dtypes, body *out_body,
                const char **out_why);
MlirAttribute body_attribute(MlirContext context, const body *b);

/* y = operation(operands) for one element, as the reference interpreter computes it (float64 in, float64 out; integers are
   exact up to 2^53). `dtype` is the operands'. */
double body_scalar(const char *operation, pinion_dtype dtype, const double *operands);

/* C text of the body as a static inline function of the name given:
     static inline void NAME(T0 x0, T1 x1, .., R0 *r0, ..)
   with compute types float (f32 bf16 f16), double (f64) and int64_t (integers and bool); operations other than C's own are
   calls of pn_exp, pn_tanh, pn_erf, pn_sigmoid, pn_gelu_tanh, ..., which the target's prelude supplies (PN_DEVICE is the
   prelude's function qualifier). A cast to bf16 or f16 is pn_round_bf16(x), pn_round_f16(x). Appends to `out`. */
void body_emit_c(const body *b, const char *name, text *out);

#endif
