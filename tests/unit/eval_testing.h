/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the interpreter's tests share: running @main on arrays of doubles, and comparing. */
#ifndef PINION_TESTS_EVAL_TESTING_H
#define PINION_TESTS_EVAL_TESTING_H

#include "ir/eval.h"
#include "ir_testing.h"

#include <math.h>

/* A tensor of the interpreter with these values. */
static inline eval_tensor eval_test_tensor(const tensor_type *type, eval_precision precision, const double *values) {
  bool is_double = type->dtype == PINION_DTYPE_f64 || precision == EVAL_FLOAT64;
  int64_t count = type_elements(type);
  eval_tensor tensor = {.type = *type,
                        .storage = !dtype_is_float(type->dtype) ? EVAL_INTEGERS
                                   : is_double                  ? EVAL_DOUBLES
                                                                : EVAL_FLOATS,
                        .data = calloc((size_t)count + 1, 8)};
  for (int64_t i = 0; i < count; i++)
    if (tensor.storage == EVAL_INTEGERS)
      tensor.i64[i] = (int64_t)values[i];
    else if (tensor.storage == EVAL_DOUBLES)
      tensor.f64[i] = values[i];
    else
      tensor.f32[i] = (float)values[i];
  return tensor;
}

enum { EVAL_TEST_ARGUMENTS = 8 };

/* Evaluates @main of t->module; arguments in its order. */
static inline status eval_test_main(ir_test *t, eval_precision precision, const double *const *arguments,
                                    eval_observer *observer, void *user, eval_tensor *out_results) {
  MlirBlock block = function_body(module_function(t->module, "main"));
  int count = (int)mlirBlockGetNumArguments(block);
  eval_tensor tensors[EVAL_TEST_ARGUMENTS];
  for (int i = 0; i < count; i++) {
    tensor_type type;
    assert_true(value_type(mlirBlockGetArgument(block, i), &type));
    tensors[i] = eval_test_tensor(&type, precision, arguments[i]);
  }
  status result = eval_function(&t->c, t->module, "main", tensors, precision, observer, user, out_results);
  for (int i = 0; i < count; i++) eval_free(&tensors[i]);
  return result;
}

/* A function @main of one op, OP with $0, $1, .. for its operands: `"pinion.x"($0) {..} : (TYPES) -> TYPE`. */
static inline void eval_test_parse_op(ir_test *t, const char *op) {
  const char *types = strstr(op, " : (") + 4, *end = strstr(types, ") -> ");
  text source = {0};
  text_append(&source, "func.func @main(");
  int argument = 0;
  for (const char *at = types; at < end; argument++) {
    const char *stop = strchr(at, '>') + 1;
    text_append(&source, "%s%%a%d: %.*s", argument ? ", " : "", argument, (int)(stop - at), at);
    at = stop < end ? stop + 2 : end;
  }
  text_append(&source, ") -> %s {\n  %%y = ", end + 5);
  for (const char *at = op; *at; at++) text_append(&source, *at == '$' ? "%%a" : "%c", *at);
  text_append(&source, "\n  return %%y : %s\n}\n", end + 5);
  ir_test_parse_valid(t, source.data);
  text_free(&source);
}

static inline void eval_test_compare(const char *what, const eval_tensor *actual, const double *expected,
                                     double tolerance) {
  for (int64_t i = 0; i < type_elements(&actual->type); i++) {
    double value = eval_get(actual, i);
    bool same = isnan(expected[i]) ? isnan(value)
                : isinf(expected[i]) || tolerance == 0
                    ? value == expected[i]
                    : fabs(value - expected[i]) <= tolerance * (1 + fabs(expected[i]));
    if (!same) fail_msg("%s\nelement %d is %.17g, not %.17g", what, (int)i, value, expected[i]);
  }
}

/* The op on these arguments gives `expected`, within tolerance * (1 + |expected|). */
static inline void eval_test_op_in(ir_test *t, eval_precision precision, const char *op, const double *const *arguments,
                                   const double *expected, double tolerance) {
  eval_tensor result;
  eval_test_parse_op(t, op);
  if (eval_test_main(t, precision, arguments, NULL, NULL, &result) != STATUS_OK)
    fail_msg("%s\n%s", op, ir_test_messages(t));
  eval_test_compare(op, &result, expected, tolerance);
  eval_free(&result);
}

#define VALUES(...) ((const double[]){__VA_ARGS__})
#define ARGUMENTS(...) ((const double *const[]){__VA_ARGS__})

/* float32, as typed: one rounding to float per op, of values near 1. */
#define FLOAT_TOLERANCE 2e-7
/* The oracle and the test sum in another order, in double. */
#define DOUBLE_TOLERANCE 1e-12

#define CHECK_OP(t, op, arguments, expected, tolerance)                                                                \
  eval_test_op_in(t, EVAL_AS_TYPED, op, arguments, expected, tolerance)
#define CHECK_OP_IN_DOUBLE(t, op, arguments, expected)                                                                 \
  eval_test_op_in(t, EVAL_FLOAT64, op, arguments, expected, DOUBLE_TOLERANCE)

/* Deterministic values in [-1, 1), exact in float; the arena's. */
static inline double *eval_test_random(ir_test *t, uint64_t seed, int64_t count) {
  double *values = arena_alloc(t->c.arena, (size_t)count * sizeof *values);
  uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
  for (int64_t i = 0; i < count; i++) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    values[i] = (double)(int32_t)(state >> 40 & 0xffff) / 32768 - 1;
  }
  return values;
}

#endif
