/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "scalar.h"

#include <math.h>
#include <string.h>

typedef enum scalar_class { FLOATS, NUMBERS, LOGIC, BOOLS, ANY } scalar_class;
typedef enum scalar_outcome { SAME, TRUTH } scalar_outcome;

static const struct {
  const char *name;
  int operand_count;
  scalar_class accepts;
  scalar_outcome gives;
} scalar_table[] = {
#define SCALAR(name, operands, accepts, gives) {#name, operands, accepts, gives},
#include "scalar.def"
#undef SCALAR
};

bool scalar_find(const char *name, size_t length, scalar_kind *out_kind) {
  for (int kind = 0; kind < SCALAR_COUNT; kind++) {
    const char *candidate = scalar_table[kind].name;
    if (strlen(candidate) == length && memcmp(candidate, name, length) == 0) {
      *out_kind = (scalar_kind)kind;
      return true;
    }
  }
  return false;
}

const char *scalar_name(scalar_kind kind) {
  return scalar_table[kind].name;
}

int scalar_operand_count(scalar_kind kind) {
  return scalar_table[kind].operand_count;
}

static bool is_float(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_f32 || dtype == PINION_DTYPE_f64 || dtype == PINION_DTYPE_bf16 ||
         dtype == PINION_DTYPE_f16;
}

bool scalar_accepts(scalar_kind kind, pinion_dtype dtype) {
  switch (scalar_table[kind].accepts) {
  case FLOATS: return is_float(dtype);
  case NUMBERS: return dtype != PINION_DTYPE_bool;
  case LOGIC: return !is_float(dtype);
  case BOOLS: return dtype == PINION_DTYPE_bool;
  case ANY: break;
  }
  return true;
}

pinion_dtype scalar_result(scalar_kind kind, pinion_dtype dtype) {
  return scalar_table[kind].gives == TRUTH ? PINION_DTYPE_bool : dtype;
}

static double sigmoid(double x) {
  double e = exp(-fabs(x)); /* never overflows */
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static double gelu_tanh(double x) {
  const double sqrt_2_over_pi = 0.79788456080286535588;
  return 0.5 * x * (1 + tanh(sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
}

double scalar_real(scalar_kind kind, double a, double b) {
  switch (kind) {
  case SCALAR_neg: return -a;
  case SCALAR_abs: return fabs(a);
  case SCALAR_sign: return isnan(a) ? a : (a > 0) - (a < 0);
  case SCALAR_relu: return a < 0 ? 0 : a;
  case SCALAR_exp: return exp(a);
  case SCALAR_log: return log(a);
  case SCALAR_sqrt: return sqrt(a);
  case SCALAR_rsqrt: return 1 / sqrt(a);
  case SCALAR_reciprocal: return 1 / a;
  case SCALAR_tanh: return tanh(a);
  case SCALAR_erf: return erf(a);
  case SCALAR_sigmoid: return sigmoid(a);
  case SCALAR_sin: return sin(a);
  case SCALAR_cos: return cos(a);
  case SCALAR_floor: return floor(a);
  case SCALAR_ceil: return ceil(a);
  case SCALAR_round: return nearbyint(a);
  case SCALAR_silu: return a * sigmoid(a);
  case SCALAR_gelu_tanh: return gelu_tanh(a);
  case SCALAR_gelu_erf: return 0.5 * a * erfc(-a * 0.70710678118654752440);
  case SCALAR_isnan: return isnan(a) != 0;
  case SCALAR_add: return a + b;
  case SCALAR_sub: return a - b;
  case SCALAR_mul: return a * b;
  case SCALAR_div: return a / b;
  case SCALAR_pow: return pow(a, b);
  case SCALAR_min: return a < b || isnan(a) ? a : b;
  case SCALAR_max: return a > b || isnan(a) ? a : b;
  case SCALAR_mod: return fmod(a, b);
  case SCALAR_eq: return a == b;
  case SCALAR_ne: return a != b;
  case SCALAR_lt: return a < b;
  case SCALAR_le: return a <= b;
  case SCALAR_gt: return a > b;
  case SCALAR_ge: return a >= b;
  case SCALAR_not: return a == 0;
  case SCALAR_and:
  case SCALAR_or:
  case SCALAR_xor:
  case SCALAR_COUNT: break;
  }
  return NAN; /* scalar_accepts keeps bitwise operations from floats */
}

static int64_t integer_div(int64_t a, int64_t b) {
  if (b == 0) return 0;
  return b == -1 ? (int64_t)-(uint64_t)a : a / b;
}

static int64_t integer_mod(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static int64_t integer_pow(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 1) return 1;
    return base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  }
  uint64_t result = 1, square = (uint64_t)base;
  for (; exponent; exponent >>= 1, square *= square)
    if (exponent & 1) result *= square;
  return (int64_t)result;
}

static int64_t integer_apply(scalar_kind kind, int64_t a, int64_t b) {
  switch (kind) {
  case SCALAR_neg: return (int64_t)-(uint64_t)a;
  case SCALAR_abs: return a < 0 ? (int64_t)-(uint64_t)a : a;
  case SCALAR_sign: return (a > 0) - (a < 0);
  case SCALAR_relu: return a < 0 ? 0 : a;
  case SCALAR_not: return a == 0;
  case SCALAR_add: return (int64_t)((uint64_t)a + (uint64_t)b);
  case SCALAR_sub: return (int64_t)((uint64_t)a - (uint64_t)b);
  case SCALAR_mul: return (int64_t)((uint64_t)a * (uint64_t)b);
  case SCALAR_div: return integer_div(a, b);
  case SCALAR_pow: return integer_pow(a, b);
  case SCALAR_min: return a < b ? a : b;
  case SCALAR_max: return a > b ? a : b;
  case SCALAR_mod: return integer_mod(a, b);
  case SCALAR_and: return a & b;
  case SCALAR_or: return a | b;
  case SCALAR_xor: return a ^ b;
  case SCALAR_eq: return a == b;
  case SCALAR_ne: return a != b;
  case SCALAR_lt: return a < b;
  case SCALAR_le: return a <= b;
  case SCALAR_gt: return a > b;
  case SCALAR_ge: return a >= b;
  default: return 0; /* scalar_accepts keeps the others from integers */
  }
}

int64_t scalar_integer(scalar_kind kind, pinion_dtype dtype, int64_t a, int64_t b) {
  return integer_wrap(scalar_result(kind, dtype), integer_apply(kind, a, b));
}

int64_t integer_wrap(pinion_dtype dtype, int64_t value) {
  switch (dtype) {
  case PINION_DTYPE_i32: return (int32_t)value;
  case PINION_DTYPE_i16: return (int16_t)value;
  case PINION_DTYPE_i8: return (int8_t)value;
  case PINION_DTYPE_u32: return (uint32_t)value;
  case PINION_DTYPE_u16: return (uint16_t)value;
  case PINION_DTYPE_u8: return (uint8_t)value;
  case PINION_DTYPE_bool: return value != 0;
  default: return value;
  }
}

void integer_range(pinion_dtype dtype, int64_t *out_least, int64_t *out_greatest) {
  bool is_unsigned = dtype == PINION_DTYPE_u64 || dtype == PINION_DTYPE_u32 || dtype == PINION_DTYPE_u16 ||
                     dtype == PINION_DTYPE_u8 || dtype == PINION_DTYPE_bool;
  int bits = dtype == PINION_DTYPE_bool ? 1 : (int)pinion_dtype_size(dtype) * 8;
  if (bits == 64 || !is_unsigned) bits--;
  *out_greatest = (int64_t)((UINT64_C(1) << bits) - 1);
  *out_least = is_unsigned ? 0 : -*out_greatest - 1;
}

int64_t integer_from_real(pinion_dtype dtype, double value) {
  if (dtype == PINION_DTYPE_bool) return value != 0;
  if (isnan(value)) return 0;
  int64_t least, greatest;
  integer_range(dtype, &least, &greatest);
  double whole = trunc(value);
  if (whole <= (double)least) return least;
  return whole >= (double)greatest ? greatest : (int64_t)whole;
}

double real_round(pinion_dtype dtype, double value) {
  switch (dtype) {
  case PINION_DTYPE_f32: return (float)value;
  case PINION_DTYPE_bf16: return bf16_to_float(bf16_from_float((float)value));
  case PINION_DTYPE_f16: return f16_to_float(f16_from_float((float)value));
  default: return value;
  }
}

uint16_t f16_from_float(float value) {
  uint32_t bits = float_bits(value), magnitude = bits & 0x7fffffff;
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00; /* 65536 and more */
  if (magnitude < 0x38800000)                        /* below 2^-14: a multiple of 2^-24 */
    return sign | (uint16_t)nearbyintf(float_of_bits(magnitude) * 0x1p24f);
  uint32_t rebased = magnitude - (UINT32_C(112) << 23); /* exponent bias 127 to 15 */
  return sign | (uint16_t)((rebased + 0xfff + (rebased >> 13 & 1)) >> 13);
}

float f16_to_float(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000 | fraction << 13);
  if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  float magnitude = (float)fraction * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}
