/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The prelude's float functions against libm in double: largest error in units in the last place over many floats of
 * every magnitude, and what NaN, infinities, zeros and denormals give; narrowing against every half and bfloat16.
 *
 * The prelude is compiled into this test with the flags of a kernel (tests.cmake).
 */
#include "runtime/abi.h"

#define PN_RESULTS 1
#define PN_OPERANDS 1
#include "targets/cpu/prelude.h.in"

#include <stdio.h>

static int failures;

static void expect(int condition, const char *name, double x) {
  if (condition) return;
  if (failures++ < 20) printf("FAILED %s at %a\n", name, x);
}

/* Distance of y from the exact value, in units in the last place of the float nearest to it (denormals: the smallest).
 */
static double ulps(float y, double exact) {
  int exponent;
  if (fabs(exact) > 3.4028235677973366e38) return isinf(y) && (y > 0) == (exact > 0) ? 0 : INFINITY;
  frexp(exact, &exponent);
  const double unit = ldexp(1.0, exponent - 24 < -149 ? -149 : exponent - 24);
  return fabs((double)y - exact) / unit;
}

typedef struct function_case {
  const char *name;
  float (*function)(float);
  double (*exact)(double);
  float least, greatest; /* magnitudes to look at, both signs */
  double ulps;           /* what it may err by */
} function_case;

static double exact_sigmoid(double x) {
  return 1 / (1 + exp(-x));
}
static double exact_silu(double x) {
  return x / (1 + exp(-x));
}
static double exact_gelu_tanh(double x) {
  return x / (1 + exp(-2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}
static double exact_gelu_erf(double x) {
  return 0.5 * x * erfc(-x * 0.70710678118654752440);
}
static double exact_rsqrt(double x) {
  return 1 / sqrt(x);
}

#define CALL(name)                                                                                                     \
  static float call_##name(float x) {                                                                                  \
    return pn_##name(x);                                                                                               \
  }
CALL(exp)
CALL(log)
CALL(tanh)
CALL(erf)
CALL(sin)
CALL(cos)
CALL(sigmoid)
CALL(silu)
CALL(gelu_tanh)
CALL(gelu_erf)
CALL(rsqrt)
CALL(sqrt)

/*
 * Budgets: a rounding at the end (0.5) and what comes before it. sigmoid and silu divide by 1 + e^-x, whose error is
 * e's; the exponent of gelu_tanh is itself rounded, and e^u multiplies that by u: its range ends where the result is
 * still 1e-4 of x. gelu_erf adds 1 to an erf near -1: an absolute error, so only positive arguments have a relative
 * one.
 */
static const function_case cases[] = {
    {"exp", call_exp, exp, 1e-10f, 104, 1.1},
    {"log", call_log, log, 1e-44f, 3e38f, 1.1},
    {"tanh", call_tanh, tanh, 1e-30f, 20, 2},
    {"erf", call_erf, erf, 1e-30f, 10, 2},
    {"sin", call_sin, sin, 1e-30f, 1e5f, 1.6},
    {"cos", call_cos, cos, 1e-30f, 1e5f, 1.6},
    {"sigmoid", call_sigmoid, exact_sigmoid, 1e-10f, 87, 3},
    {"silu", call_silu, exact_silu, 1e-30f, 80, 3},
    {"gelu_tanh", call_gelu_tanh, exact_gelu_tanh, 1e-30f, 2.8f, 12},
    {"gelu_erf", call_gelu_erf, exact_gelu_erf, 1e-30f, 0.5f, 8},
    {"rsqrt", call_rsqrt, exact_rsqrt, 1e-38f, 3e38f, 1.5},
    {"sqrt", call_sqrt, sqrt, 1e-38f, 3e38f, 0.51},
};

static void check_function(const function_case *f) {
  const int positive_only = f->exact == log || f->exact == sqrt || f->exact == exact_rsqrt;
  double worst = 0, place = 0;
  for (uint32_t bits = pn_bits(f->least); bits <= pn_bits(f->greatest); bits += 997)
    for (int sign = 0; sign < 2 - positive_only; ++sign) {
      const float x = pn_from_bits(bits | (uint32_t)sign << 31);
      const double error = ulps(f->function(x), f->exact(x));
      if (!(error <= worst)) worst = error, place = x;
    }
  printf("%-10s %.3f ulp at %a\n", f->name, worst, place);
  expect(worst <= f->ulps, f->name, place);
}

static void check_special_values(void) {
  expect(pn_exp(-INFINITY) == 0 && pn_exp(INFINITY) == INFINITY && isnan(pn_exp(NAN)) && pn_exp(0) == 1 &&
             pn_exp(-200) == 0,
         "exp", 0);
  expect(pn_log(0) == -INFINITY && pn_log(INFINITY) == INFINITY && isnan(pn_log(-1)) && isnan(pn_log(NAN)) &&
             pn_log(1) == 0,
         "log", 0);
  expect(pn_tanh(INFINITY) == 1 && pn_tanh(-INFINITY) == -1 && isnan(pn_tanh(NAN)) && signbit(pn_tanh(-0.0f)), "tanh",
         0);
  expect(pn_erf(INFINITY) == 1 && pn_erf(-INFINITY) == -1 && isnan(pn_erf(NAN)) && signbit(pn_erf(-0.0f)), "erf", 0);
  expect(pn_sigmoid(INFINITY) == 1 && pn_sigmoid(-INFINITY) == 0 && isnan(pn_sigmoid(NAN)) && pn_sigmoid(0) == 0.5f,
         "sigmoid", 0);
  expect(pn_silu(INFINITY) == INFINITY && isnan(pn_silu(NAN)) && pn_silu(0) == 0, "silu", 0);
  expect(pn_gelu_tanh(100) == 100 && pn_gelu_tanh(-100) == 0 && isnan(pn_gelu_tanh(NAN)), "gelu_tanh", 0);
  expect(pn_gelu_erf(100) == 100 && pn_gelu_erf(-100) == 0 && isnan(pn_gelu_erf(NAN)), "gelu_erf", 0);
  expect(isnan(pn_sin(INFINITY)) && isnan(pn_cos(NAN)) && pn_sin(0) == 0 && pn_cos(0) == 1, "sin", 0);
  expect(pn_pow(2, 3) == 8 && pn_pow(-3, 2) == 9 && pn_pow(4, 0.5f) == 2 && isnan(pn_pow(-2, 0.5f)), "pow", 0);
  expect(pn_pow_i64(-2, 5) == -32 && pn_pow_i64(7, 0) == 1 && pn_pow_i64(2, -1) == 0, "pow_i64", 0);
}

/* Every 16-bit value survives widening and narrowing, and every float near and between neighbours goes to the nearest,
   ties to the even one. */
static void check_narrow(const char *name, float (*widen)(uint16_t), uint16_t (*narrow)(float)) {
  for (uint32_t value = 0; value < 0x10000; ++value) {
    const float x = widen((uint16_t)value);
    expect(isnan(x) ? isnan(widen(narrow(x))) : narrow(x) == value, name, x);
    const float next = widen((uint16_t)(value + 1));
    if (!isfinite(x) || !isfinite(next) || (value & 0x7fff) == 0x7fff) continue;
    const double middle = ((double)x + next) / 2;
    const uint16_t even = (uint16_t)(value & 1 ? value + 1 : value);
    expect(narrow((float)middle) == even, name, middle);
    expect(narrow(nextafterf((float)middle, x)) == value, name, middle);
    expect(narrow(nextafterf((float)middle, next)) == (uint16_t)(value + 1), name, middle);
  }
  expect(isinf(widen(narrow(INFINITY))) && isinf(widen(narrow(-INFINITY))) && isinf(widen(narrow(3.4e38f))), name,
         INFINITY);
}
static float widen_bf16(uint16_t x) {
  return pn_widen_bf16(x);
}
static uint16_t narrow_bf16(float x) {
  return pn_narrow_bf16(x);
}
static float widen_f16(uint16_t x) {
  return pn_widen_f16(x);
}
static uint16_t narrow_f16(float x) {
  return pn_narrow_f16(x);
}

int main(void) {
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) check_function(&cases[i]);
  check_special_values();
  check_narrow("bf16", widen_bf16, narrow_bf16);
  check_narrow("f16", widen_f16, narrow_f16);
  return failures != 0;
}
