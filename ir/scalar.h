/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Scalar operations and conversions between element types, as the reference interpreter computes them: every float in
 * double, every integer in int64_t.
 */
#ifndef PINION_IR_SCALAR_H
#define PINION_IR_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../runtime/abi.h"

typedef enum scalar_kind {
#define SCALAR(name, operands, accepts, gives) SCALAR_##name,
#include "scalar.def"
#undef SCALAR
  SCALAR_COUNT
} scalar_kind;

/* The operation of that name; false if there is none. `name` need not end in NUL. */
bool scalar_find(const char *name, size_t length, scalar_kind *out_kind);
const char *scalar_name(scalar_kind kind);
int scalar_operand_count(scalar_kind kind);
bool scalar_accepts(scalar_kind kind, pinion_dtype dtype);
/* Type of the result for operands of type `dtype`. */
pinion_dtype scalar_result(scalar_kind kind, pinion_dtype dtype);

/* On floats; a truth is 0 or 1. min and max give NaN if either operand is; round goes to even; mod is fmod. */
double scalar_real(scalar_kind kind, double a, double b);
/* On integers and bools, wrapped to `dtype`. div truncates and mod takes the divisor's sign; by zero both give 0. A
   power with a negative exponent is the truncated reciprocal. u64 is exact below 2^63 (and modulo 2^64 in add, sub,
   mul). */
int64_t scalar_integer(scalar_kind kind, pinion_dtype dtype, int64_t a, int64_t b);

/* The value reduced modulo the type's size, sign included; bool: 0 or 1. */
int64_t integer_wrap(pinion_dtype dtype, int64_t value);
/* Truncated and saturated to the type's range, NaN is 0; bool: anything but 0 is 1 (NaN too). */
int64_t integer_from_real(pinion_dtype dtype, double value);
/* Least and greatest value of an integer type or bool (u64: of int64_t). */
void integer_range(pinion_dtype dtype, int64_t *out_least, int64_t *out_greatest);

/* Rounded to nearest even to a float type (bf16 and f16 by way of f32); other types unchanged. */
double real_round(pinion_dtype dtype, double value);
uint16_t f16_from_float(float value);
float f16_to_float(uint16_t bits);

static inline uint32_t float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Here, so that loops over weights inline them. */
static inline uint16_t bf16_from_float(float value) {
  const uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40); /* a quiet NaN stays one */
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float bf16_to_float(uint16_t bits) {
  return float_of_bits((uint32_t)bits << 16);
}

#endif
