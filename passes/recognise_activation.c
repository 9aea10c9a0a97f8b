/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * recognise-activation: GELU and SiLU that the exporter spelled out become one op.
 *
 *   x * 0.5 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))  ->  gelu_tanh(x)
 *   x * 0.5 * (1 + erf(x / sqrt(2)))                       ->  gelu_erf(x)
 *   x * sigmoid(x)                                         ->  silu(x)
 *
 * Requires: canonicalise (Pow(x, 2) is a product). Produces: unary ops. Breaks: nothing.
 *
 * Products match in any order and association, with x^3 as pow or as products, and as x * (1 + 0.044715 x^2). It fires
 * when the numbers are the true ones rounded to the tensor's type (a bf16 export has 0.796875 and 0.04467773), and
 * nothing else reads what is between. Roundings between the ops, of a narrow type, disappear.
 */
#include "match.h"

#include <math.h>

#define SQRT_2_OVER_PI 0.79788456080286535588
#define SQRT_1_OVER_2 0.70710678118654752440
#define CUBIC 0.044715

enum { MAXIMUM_FACTORS = 6 };

/* number * factors[0] * factors[1] .. */
typedef struct product {
  double number;
  MlirValue factors[MAXIMUM_FACTORS];
  int count;
} product;

static bool add_factor(product *p, MlirValue value) {
  if (p->count == MAXIMUM_FACTORS) return false;
  p->factors[p->count++] = value;
  return true;
}

/* pow(x, 2), pow(x, 3) as factors. */
static bool flatten_power(match *m, MlirValue value, product *p) {
  MlirValue x;
  double power;
  if (!match_with_number(m, value, "pow", &x, &power)) return add_factor(p, value);
  bool fits = power == 2 || power == 3;
  for (int i = 0; fits && i < (int)power; i++) fits = add_factor(p, x);
  return fits;
}

/* Multiplies `value` into p: a product's factors, down to `stop` (x itself, which may be a product) and to values that
   others read as well. */
static bool flatten(match *m, MlirValue value, MlirValue stop, bool is_root, product *p) {
  double number;
  if (value_uniform(m->compilation, value, &number)) {
    p->number *= number;
    return true;
  }
  MlirOperation op = value_defined_by(value, OP_binary);
  if (mlirOperationIsNull(op) || (!mlirValueIsNull(stop) && mlirValueEqual(value, stop))) return add_factor(p, value);
  if (!is_root && mlirValueIsNull(stop) && !value_has_one_use(value)) return add_factor(p, value);
  MlirValue a = mlirOperationGetOperand(op, 0), b = mlirOperationGetOperand(op, 1);
  if (attr_str_is(op, "kind", "div") && value_uniform(m->compilation, b, &number) && number != 0) {
    match_op(m, value, OP_binary, "div");
    p->number /= number;
    return flatten(m, a, stop, false, p);
  }
  if (!attr_str_is(op, "kind", "mul")) return flatten_power(m, value, p);
  match_op(m, value, OP_binary, "mul");
  return flatten(m, a, stop, false, p) && flatten(m, b, stop, false, p);
}

static bool is_power(const product *p, MlirValue x, int power) {
  for (int i = 0; i < p->count; i++)
    if (!mlirValueEqual(p->factors[i], x)) return false;
  return p->count == power;
}

/* x + 0.044715 x^3 */
static bool is_cubic(match *m, MlirValue value, MlirValue x, pinion_dtype dtype) {
  MlirOperation sum = match_op(m, value, OP_binary, "add");
  for (int i = 0; !mlirOperationIsNull(sum) && i < 2; i++) {
    if (!mlirValueEqual(mlirOperationGetOperand(sum, i), x)) continue;
    product cube = {.number = 1};
    if (flatten(m, mlirOperationGetOperand(sum, 1 - i), x, true, &cube) && is_power(&cube, x, 3) &&
        is_rounded(cube.number, CUBIC, dtype))
      return true;
  }
  return false;
}

/* 1 + 0.044715 x^2 */
static bool is_quadratic(match *m, MlirValue value, MlirValue x, pinion_dtype dtype) {
  MlirValue rest;
  double one;
  product square = {.number = 1};
  return match_with_number(m, value, "add", &rest, &one) && one == 1 && flatten(m, rest, x, true, &square) &&
         is_power(&square, x, 2) && is_rounded(square.number, CUBIC, dtype);
}

/* tanh's operand. */
static bool is_tanh_argument(match *m, MlirValue value, MlirValue x, pinion_dtype dtype) {
  product p = {.number = 1};
  if (!flatten(m, value, x, true, &p) || !is_rounded(p.number, SQRT_2_OVER_PI, dtype)) return false;
  if (p.count == 1) return is_cubic(m, p.factors[0], x, dtype);
  if (p.count != 2) return false;
  const int other = mlirValueEqual(p.factors[0], x);
  return mlirValueEqual(p.factors[1 - other], x) && is_quadratic(m, p.factors[other], x, dtype);
}

static bool is_erf_argument(match *m, MlirValue value, MlirValue x, pinion_dtype dtype) {
  MlirValue rest;
  double divisor;
  if (match_with_number(m, value, "div", &rest, &divisor))
    return mlirValueEqual(rest, x) && is_rounded(divisor, 2 * SQRT_1_OVER_2, dtype);
  product p = {.number = 1};
  return flatten(m, value, x, true, &p) && is_power(&p, x, 1) && is_rounded(p.number, SQRT_1_OVER_2, dtype);
}

/* The kind of the activation that x times `gate` times `number` is; NULL if it is none. */
static const char *activation_kind(match *m, MlirValue x, MlirValue gate, double number) {
  const pinion_dtype dtype = value_dtype(x);
  MlirOperation sigmoid = match_op(m, gate, OP_unary, "sigmoid");
  if (!mlirOperationIsNull(sigmoid))
    return number == 1 && mlirValueEqual(mlirOperationGetOperand(sigmoid, 0), x) ? "silu" : NULL;
  MlirValue curve;
  double one;
  if (number != 0.5 || !match_with_number(m, gate, "add", &curve, &one) || one != 1) return NULL;
  MlirOperation op = match_op(m, curve, OP_unary, "tanh");
  if (!mlirOperationIsNull(op))
    return is_tanh_argument(m, mlirOperationGetOperand(op, 0), x, dtype) ? "gelu_tanh" : NULL;
  op = match_op(m, curve, OP_unary, "erf");
  if (!mlirOperationIsNull(op) && is_erf_argument(m, mlirOperationGetOperand(op, 0), x, dtype)) return "gelu_erf";
  return NULL;
}

static status replace(pass_context *context, const match *m, const char *kind, MlirValue x) {
  if (!values_same_shape(x, mlirOperationGetResult(m->ops[0], 0))) return STATUS_OK;
  const char *open = match_why_open(m);
  if (open) {
    pass_missed(context, match_location(m), "it is a %s, but %s", kind, open);
    return STATUS_OK;
  }
  if (!pass_may_rewrite(context, match_location(m))) return STATUS_OK;
  builder b = match_builder(m);
  MlirValue y = build_unary(&b, kind, x);
  if (mlirValueIsNull(y)) return STATUS_FAILED;
  match_replace(m, value_definition(y));
  context->changes++;
  return STATUS_OK;
}

static status visit(pass_context *context, MlirOperation root) {
  if (!attr_str_is(root, "kind", "mul")) return STATUS_OK;
  match m = match_begin(context->compilation, root);
  product p = {.number = 1};
  if (!flatten(&m, mlirOperationGetResult(root, 0), (MlirValue){0}, true, &p) || p.count != 2) return STATUS_OK;
  for (int i = 0; i < 2; i++) {
    match attempt = m;
    const char *kind = activation_kind(&attempt, p.factors[i], p.factors[1 - i], p.number);
    if (kind) return replace(context, &attempt, kind, p.factors[i]);
  }
  return STATUS_OK;
}

status pass_recognise_activation(pass_context *context, MlirModule module) {
  return match_each(context, module, MATCH_KIND(OP_binary), visit);
}
