/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Importers of elementwise ops. */
#include "import.h"

#include <math.h>
#include <string.h>

void import_unary(import_node *n) {
  node_set(n, 0, emit_unary(n, n->row->kind, node_input(n, 0)));
}

/* Whole numbers are rounded already; exporters do not always know. */
void import_rounding(import_node *n) {
  bool is_float = dtype_is_float(node_input_type(n, 0).dtype);
  node_set(n, 0, is_float ? emit_unary(n, n->row->kind, node_input(n, 0)) : node_input(n, 0));
}

void import_gelu(import_node *n) {
  bool is_tanh = node_attr_is(n, "approximate", "tanh", "none");
  if (!is_tanh && !node_attr_is(n, "approximate", "none", "none")) node_bad(n, "approximate must be 'none' or 'tanh'");
  node_set(n, 0, emit_unary(n, is_tanh ? "gelu_tanh" : "gelu_erf", node_input(n, 0)));
}

/* x * scale + offset */
static MlirValue emit_affine(import_node *n, MlirValue x, double scale, double offset) {
  pinion_dtype dtype = node_type(n, x).dtype;
  MlirValue scaled = emit_binary(n, "mul", x, emit_scalar(n, dtype, scale));
  return emit_binary(n, "add", scaled, emit_scalar(n, dtype, offset));
}

static MlirValue emit_clamp(import_node *n, MlirValue x, double least, double most) {
  pinion_dtype dtype = node_type(n, x).dtype;
  MlirValue bounded = emit_binary(n, "max", x, emit_scalar(n, dtype, least));
  return emit_binary(n, "min", bounded, emit_scalar(n, dtype, most));
}

/* y = max(0, min(1, alpha * x + beta)) */
void import_hard_sigmoid(import_node *n) {
  double alpha = node_attr_float(n, "alpha", 0.2), beta = node_attr_float(n, "beta", 0.5);
  node_set(n, 0, emit_clamp(n, emit_affine(n, node_input(n, 0), alpha, beta), 0, 1));
}

/* y = x * max(0, min(1, x / 6 + 0.5)) */
void import_hard_swish(import_node *n) {
  MlirValue x = node_input(n, 0);
  node_set(n, 0, emit_binary(n, "mul", x, emit_clamp(n, emit_affine(n, x, 1.0 / 6, 0.5), 0, 1)));
}

void import_is_inf(import_node *n) {
  MlirValue x = node_input(n, 0);
  bool negative = node_attr_int(n, "detect_negative", 1), positive = node_attr_int(n, "detect_positive", 1);
  if (negative && positive) x = emit_unary(n, "abs", x);
  if (!negative && !positive) node_unsupported(n, "detecting neither sign");
  node_set(n, 0, emit_binary(n, "eq", x, emit_scalar(n, node_type(n, x).dtype, positive ? INFINITY : -INFINITY)));
}

/* y = x < 0 ? other : x */
static MlirValue emit_below_zero(import_node *n, MlirValue x, MlirValue other) {
  MlirValue is_below = emit_binary(n, "lt", x, emit_scalar(n, node_type(n, x).dtype, 0));
  return emit_select(n, is_below, other, x);
}

void import_leaky_relu(import_node *n) {
  MlirValue x = node_input(n, 0);
  MlirValue slope = emit_scalar(n, node_type(n, x).dtype, node_attr_float(n, "alpha", 0.01));
  node_set(n, 0, emit_below_zero(n, x, emit_binary(n, "mul", x, slope)));
}

/* y = x < 0 ? alpha * (exp(x) - 1) : x */
void import_elu(import_node *n) {
  MlirValue x = node_input(n, 0);
  double alpha = node_attr_float(n, "alpha", 1);
  node_set(n, 0, emit_below_zero(n, x, emit_affine(n, emit_unary(n, "exp", x), alpha, -alpha)));
}

/* y = max(x, 0) + log(1 + exp(-|x|)): log(1 + exp(x)) without its overflow */
void import_softplus(import_node *n) {
  MlirValue x = node_input(n, 0);
  MlirValue small = emit_unary(n, "exp", emit_unary(n, "neg", emit_unary(n, "abs", x)));
  MlirValue tail = emit_unary(n, "log", emit_binary(n, "add", small, emit_scalar(n, node_type(n, x).dtype, 1)));
  node_set(n, 0, emit_binary(n, "add", emit_unary(n, "relu", x), tail));
}

/* y = x * sigmoid(alpha * x) */
void import_swish(import_node *n) {
  MlirValue x = node_input(n, 0);
  double alpha = node_attr_float(n, "alpha", 1);
  if (alpha == 1) {
    node_set(n, 0, emit_unary(n, "silu", x));
    return;
  }
  MlirValue scaled = emit_binary(n, "mul", x, emit_scalar(n, node_type(n, x).dtype, alpha));
  node_set(n, 0, emit_binary(n, "mul", x, emit_unary(n, "sigmoid", scaled)));
}

void import_not(import_node *n) {
  node_set(n, 0, emit_unary(n, "not", emit_cast(n, node_input(n, 0), PINION_DTYPE_bool)));
}

/* On bools PyTorch's sum is `or` and its product `and`; their difference it refuses, and so do we. */
static const char *arithmetic_on_bool(const char *kind) {
  if (strcmp(kind, "add") == 0 || strcmp(kind, "max") == 0) return "or";
  return strcmp(kind, "mul") == 0 || strcmp(kind, "min") == 0 ? "and" : kind;
}

static MlirValue emit_arithmetic(import_node *n, const char *kind, MlirValue x, MlirValue y) {
  node_promote(n, &x, &y);
  bool is_bool = node_type(n, x).dtype == PINION_DTYPE_bool;
  return emit_binary(n, is_bool ? arithmetic_on_bool(kind) : kind, x, y);
}

void import_arithmetic(import_node *n) {
  node_set(n, 0, emit_arithmetic(n, n->row->kind, node_input(n, 0), node_input(n, 1)));
}

void import_variadic(import_node *n) {
  bool is_mean = strcmp(n->row->kind, "mean") == 0;
  MlirValue y = node_input(n, 0);
  for (int i = 1; i < n->input_count; ++i) {
    if (!node_has_input(n, i)) node_bad(n, "its input %d is missing", i);
    y = emit_arithmetic(n, is_mean ? "add" : n->row->kind, y, node_input(n, i));
  }
  if (is_mean) y = emit_binary(n, "div", y, emit_scalar(n, node_type(n, y).dtype, n->input_count));
  node_set(n, 0, y);
}

/* With fmod=1 the result has the dividend's sign, which pinion's integer mod has not: x - (x / y) * y, / truncating. */
void import_mod(import_node *n) {
  MlirValue x = node_input(n, 0), y = node_input(n, 1);
  bool is_fmod = node_attr_int(n, "fmod", 0);
  node_promote(n, &x, &y);
  bool is_float = dtype_is_float(node_type(n, x).dtype);
  if (is_float && !is_fmod) node_bad(n, "floats need fmod=1");
  if (is_fmod && !is_float)
    node_set(n, 0, emit_binary(n, "sub", x, emit_binary(n, "mul", emit_binary(n, "div", x, y), y)));
  else
    node_set(n, 0, emit_binary(n, "mod", x, y));
}

/*
 * ONNX gives the result the base's type and lets the exponent have any. Exporters also write Pow(number, tensor) with a
 * whole number as base of a float tensor; they mean PyTorch's float result.
 */
void import_pow(import_node *n) {
  MlirValue base = node_input(n, 0), exponent = node_input(n, 1);
  tensor_type base_type = node_type(n, base), exponent_type = node_type(n, exponent);
  bool is_integer_base = !dtype_is_float(base_type.dtype), is_float_exponent = dtype_is_float(exponent_type.dtype);
  if (is_integer_base && is_float_exponent) {
    MlirValue power = emit_binary(n, "pow", emit_cast(n, base, exponent_type.dtype), exponent);
    node_set(n, 0, base_type.rank == 0 ? power : emit_cast(n, power, base_type.dtype));
    return;
  }
  if (base_type.rank == 0 && !is_integer_base && is_float_exponent) node_promote(n, &base, &exponent);
  pinion_dtype dtype = node_type(n, base).dtype;
  node_set(n, 0, emit_binary(n, "pow", base, emit_cast(n, exponent, dtype)));
}

void import_logic(import_node *n) {
  MlirValue x = emit_cast(n, node_input(n, 0), PINION_DTYPE_bool),
            y = emit_cast(n, node_input(n, 1), PINION_DTYPE_bool);
  node_set(n, 0, emit_binary(n, n->row->kind, x, y));
}

void import_comparison(import_node *n) {
  MlirValue x = node_input(n, 0), y = node_input(n, 1);
  node_promote(n, &x, &y);
  bool is_bool = node_type(n, x).dtype == PINION_DTYPE_bool;
  if (is_bool && strcmp(n->row->kind, "eq") != 0) {
    x = emit_cast(n, x, PINION_DTYPE_u8);
    y = emit_cast(n, y, PINION_DTYPE_u8);
  }
  node_set(n, 0, emit_binary(n, n->row->kind, x, y));
}

void import_where(import_node *n) {
  MlirValue condition = emit_cast(n, node_input(n, 0), PINION_DTYPE_bool), x = node_input(n, 1), y = node_input(n, 2);
  node_promote(n, &x, &y);
  node_set(n, 0, emit_select(n, condition, x, y));
}

void import_clip(import_node *n) {
  MlirValue y = node_input(n, 0);
  pinion_dtype dtype = node_type(n, y).dtype;
  if (node_has_input(n, 1)) y = emit_binary(n, "max", y, emit_cast(n, node_input(n, 1), dtype));
  if (node_has_input(n, 2)) y = emit_binary(n, "min", y, emit_cast(n, node_input(n, 2), dtype));
  node_set(n, 0, y);
}

void import_cast(import_node *n) {
  int64_t to = node_attr_int(n, "to", 0);
  pinion_dtype dtype;
  if (n->result != STATUS_OK) return;
  if (!onnx_dtype(to, &dtype)) {
    node_unsupported(n, "a cast to %s (%lld)", onnx_dtype_name(to), (long long)to);
    return;
  }
  node_set(n, 0, emit_cast(n, node_input(n, 0), dtype));
}

void import_cast_like(import_node *n) {
  node_set(n, 0, emit_cast(n, node_input(n, 0), node_input_type(n, 1).dtype));
}
