/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The scalar body of pinion.pointwise and pinion.gemm: straight-line code over one element.
 *
 * As an attribute it is an array of strings, one instruction each, so that a person can read a dump:
 *
 *   body = ["add x0 x1", "cast.bf16 v0", "mul v1 x2", "yield v2"]
 *
 * x0, x1, .. are the operands (in a gemm x0 is the accumulator: f64 for f64 operands, else f32), v0, v1, .. the earlier
 * instructions' results, and a literal is written `0.5`, `-3`, `inf` or `nan`, typed like the operand beside it.
 * Operations are the kinds of pinion.unary and pinion.binary (ir/scalar.def), `select c a b`, and `cast.TYPE a`;
 * `const.TYPE LITERAL` makes a typed literal, which `yield`, `cast` and an op without another operand need. The last
 * instruction is `yield`, one operand per result.
 *
 * Types. Arithmetic on bf16 and f16 is done in f32 and is *not* rounded until a cast or a store, so its result is f32,
 * and f32, bf16 and f16 mix. Nothing else mixes without a cast. A result may be stored in any type that is computed
 * alike: f32, bf16 and f16 for each other, f64, or the very same integer type.
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

/* Parses a body attribute for inputs of the given types, inferring every instruction's type; on failure returns false
   and leaves a sentence in `out_why` (borrowed, static or in the arena). */
bool body_parse(arena *a, MlirAttribute attribute, int input_count, const pinion_dtype *input_dtypes, body *out_body,
                const char **out_why);
MlirAttribute body_attribute(MlirContext context, const body *b);

/* Whether a body attribute computes nothing: each result is an operand, perhaps cast to the type that it is stored in.
 */
bool body_only_stores(MlirAttribute attribute);

/* Can a value of type `from` be stored as `to` (above)? */
bool body_can_store(pinion_dtype from, pinion_dtype to);

/* y = operation(operands) for one element, as the reference interpreter computes it (float64 in, float64 out; integers
   are exact up to 2^53). `dtype` is the operands' (of `select`: of the two values); `cast` is "cast.TYPE" here. NaN for
   an operation that does not exist. */
double body_scalar(const char *operation, pinion_dtype dtype, const double *operands);

/* Moves what depends on the inputs from `first` on alone, and on literals, out of `b`: `out_ahead`, whose x0 is input
   `first`, has as many results as inputs, and in `b` they take the inputs' places. So a gemm computes once a row what
   depends on the row's sums. Each result is a value that the rest takes, or the input as it is. False, and nothing
   changed, where there is no such value, or more of them than places, or one cannot be stored as an input can;
   `out_ahead` is then the inputs as they are. */
bool body_split(body *b, int first, body *out_ahead);

/* C text of the body as a static inline function of the name given:
     static inline PN_DEVICE void NAME(T0 x0, T1 x1, .., R0 *r0, ..)
   with compute types float (f32 bf16 f16), double (f64) and int64_t (integers and bool). Branch-free: a loop around it
   vectorises. The target's prelude supplies PN_DEVICE (the function qualifier, may be empty), PN_INFINITY and PN_NAN
   (float constants), the fixed-width integer types, and

     float pn_exp(float)  and likewise log sqrt rsqrt tanh erf sigmoid sin cos floor ceil round silu gelu_tanh gelu_erf,
                          pow and mod (of two; mod is C's fmod); the same on double with suffix _f64: pn_exp_f64
     float pn_round_bf16(float), pn_round_f16(float)    the nearest bf16 or f16 value, ties to even
     int64_t pn_pow_i64(int64_t, int64_t)               modulo 2^64; a negative exponent gives the truncated reciprocal

   Everything else is C's own operators. Appends to `out`. */
void body_emit_c(const body *b, const char *name, text *out);

#endif
