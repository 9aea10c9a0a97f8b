/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The reference interpreter's core ops, against values worked out by hand or by other loops. */
#include "eval_testing.h"

/* ---- Elementwise ---- */

static void unary_kinds_are_libm_functions(void **state) {
  static const struct {
    const char *kind;
    double (*function)(double);
  } kinds[] = {{"exp", exp}, {"log", log},     {"sqrt", sqrt}, {"tanh", tanh},       {"erf", erf}, {"sin", sin},
               {"cos", cos}, {"floor", floor}, {"ceil", ceil}, {"round", nearbyint}, {"abs", fabs}};
  const double *x = VALUES(0.25, 1.5, 2.5, 3.75), *minus = VALUES(-0.25, -1.5, 2.5, 0);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    double expected[4];
    char op[128];
    for (int k = 0; k < 4; k++) expected[k] = kinds[i].function(x[k]);
    snprintf(op, sizeof op, "\"pinion.unary\"($0) {kind = \"%s\"} : (tensor<4xf32>) -> tensor<4xf32>", kinds[i].kind);
    CHECK_OP(*state, op, ARGUMENTS(x), expected, FLOAT_TOLERANCE);
    CHECK_OP_IN_DOUBLE(*state, op, ARGUMENTS(x), expected);
  }
  CHECK_OP(*state, "\"pinion.unary\"($0) {kind = \"sign\"} : (tensor<4xf32>) -> tensor<4xf32>", ARGUMENTS(minus),
           VALUES(-1, -1, 1, 0), 0);
  CHECK_OP(*state, "\"pinion.unary\"($0) {kind = \"reciprocal\"} : (tensor<4xf32>) -> tensor<4xf32>", ARGUMENTS(minus),
           VALUES(-4, -1 / 1.5, 0.4, INFINITY), FLOAT_TOLERANCE);
  CHECK_OP(*state, "\"pinion.unary\"($0) {kind = \"rsqrt\"} : (tensor<4xf32>) -> tensor<4xf32>", ARGUMENTS(minus),
           VALUES(NAN, NAN, 0.632455532033676, INFINITY), FLOAT_TOLERANCE);
  CHECK_OP(*state, "\"pinion.unary\"($0) {kind = \"isnan\"} : (tensor<2xf32>) -> tensor<2xi1>",
           ARGUMENTS(VALUES(NAN, 1)), VALUES(1, 0), 0);
  CHECK_OP(*state, "\"pinion.unary\"($0) {kind = \"not\"} : (tensor<2xi1>) -> tensor<2xi1>", ARGUMENTS(VALUES(0, 1)),
           VALUES(1, 0), 0);
  CHECK_OP(*state, "\"pinion.unary\"($0) {kind = \"neg\"} : (tensor<2xi64>) -> tensor<2xi64>", ARGUMENTS(VALUES(5, -9)),
           VALUES(-5, 9), 0);
}

static void binary_ops_broadcast_as_numpy_does(void **state) {
  CHECK_OP(*state,
           "\"pinion.binary\"($0, $1) {kind = \"sub\"} : (tensor<2x1x2xf32>, tensor<3x1xf32>) -> "
           "tensor<2x3x2xf32>",
           ARGUMENTS(VALUES(1, 2, 3, 4), VALUES(10, 20, 30)),
           VALUES(-9, -8, -19, -18, -29, -28, -7, -6, -17, -16, -27, -26), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"pow\"} : (tensor<f32>, tensor<3xf32>) -> tensor<3xf32>",
           ARGUMENTS(VALUES(2), VALUES(0, 3, -1)), VALUES(1, 8, 0.5), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<f32>, tensor<f32>) -> tensor<f32>",
           ARGUMENTS(VALUES(2), VALUES(3)), VALUES(5), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<0x2xf32>, tensor<2xf32>) -> tensor<0x2xf32>",
           ARGUMENTS(VALUES(0), VALUES(1, 2)), VALUES(0), 0);
}

/* Longer than one chunk of the interpreter, with an odd rest. */
static void long_rows_are_computed_to_their_end(void **state) {
  enum { COUNT = 1031 };
  double *a = eval_test_random(*state, 1, COUNT), *b = eval_test_random(*state, 2, 2), expected[2 * COUNT];
  for (int i = 0; i < 2 * COUNT; i++) expected[i] = a[i % COUNT] * b[i / COUNT];
  CHECK_OP(*state,
           "\"pinion.binary\"($0, $1) {kind = \"mul\"} : (tensor<1031xf32>, tensor<2x1xf32>) -> "
           "tensor<2x1031xf32>",
           ARGUMENTS(a, b), expected, FLOAT_TOLERANCE);
}

static void integers_are_exact_and_wrap(void **state) {
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"div\"} : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi64>",
           ARGUMENTS(VALUES(7, -7, 7, 5), VALUES(2, 2, -2, 0)), VALUES(3, -3, -3, 0), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"mod\"} : (tensor<3xi32>, tensor<3xi32>) -> tensor<3xi32>",
           ARGUMENTS(VALUES(7, -7, 7), VALUES(3, 3, -3)), VALUES(1, 2, -2), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<2xi32>, tensor<2xi32>) -> tensor<2xi32>",
           ARGUMENTS(VALUES(2147483647, 1), VALUES(1, 1)), VALUES(-2147483648.0, 2), 0);
  eval_tensor sum;
  eval_test_parse_op(*state, "\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<1xi64>, tensor<1xi64>) -> "
                             "tensor<1xi64>");
  assert_int_equal(eval_test_main(*state, EVAL_FLOAT32, ARGUMENTS(VALUES(0x1p53), VALUES(1)), NULL, NULL, &sum),
                   STATUS_OK);
  assert_true(sum.i64[0] == (INT64_C(1) << 53) + 1); /* a double could not hold it */
  eval_free(&sum);
}

static void comparisons_and_logic_give_bools(void **state) {
  const double *a = VALUES(1, 2, NAN), *b = VALUES(2, 2, 2);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"lt\"} : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xi1>",
           ARGUMENTS(a, b), VALUES(1, 0, 0), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"ge\"} : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xi1>",
           ARGUMENTS(a, b), VALUES(0, 1, 0), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"ne\"} : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xi1>",
           ARGUMENTS(a, b), VALUES(1, 0, 1), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"xor\"} : (tensor<4xi1>, tensor<4xi1>) -> tensor<4xi1>",
           ARGUMENTS(VALUES(0, 0, 1, 1), VALUES(0, 1, 0, 1)), VALUES(0, 1, 1, 0), 0);
  CHECK_OP(*state, "\"pinion.binary\"($0, $1) {kind = \"max\"} : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>",
           ARGUMENTS(a, b), VALUES(2, 2, NAN), 0);
}

static void select_broadcasts_its_three_operands(void **state) {
  CHECK_OP(*state, "\"pinion.select\"($0, $1, $2) : (tensor<2x1xi1>, tensor<2xf32>, tensor<f32>) -> tensor<2x2xf32>",
           ARGUMENTS(VALUES(1, 0), VALUES(5, 6), VALUES(-2.38e38)), VALUES(5, 6, (float)-2.38e38, (float)-2.38e38), 0);
  CHECK_OP(*state, "\"pinion.select\"($0, $1, $2) : (tensor<2xi1>, tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>",
           ARGUMENTS(VALUES(1, 0), VALUES(5, 6), VALUES(7, 8)), VALUES(5, 8), 0);
}

static void casts_truncate_saturate_and_round_to_even(void **state) {
  CHECK_OP(*state, "\"pinion.cast\"($0) : (tensor<6xf32>) -> tensor<6xi32>",
           ARGUMENTS(VALUES(1.9, -1.9, NAN, 1e20, -INFINITY, 0)), VALUES(1, -1, 0, 2147483647, -2147483648.0, 0), 0);
  CHECK_OP(*state, "\"pinion.cast\"($0) : (tensor<3xf32>) -> tensor<3xi1>", ARGUMENTS(VALUES(0.5, 0, NAN)),
           VALUES(1, 0, 1), 0);
  CHECK_OP(*state, "\"pinion.cast\"($0) : (tensor<3xi64>) -> tensor<3xui8>", ARGUMENTS(VALUES(300, -1, 7)),
           VALUES(44, 255, 7), 0);
  const double *fine = VALUES(1 + 0x1p-8, 1 + 0x3p-8, 3.14159265);
  const char *to_bf16 = "\"pinion.cast\"($0) : (tensor<3xf32>) -> tensor<3xbf16>";
  CHECK_OP(*state, to_bf16, ARGUMENTS(fine), VALUES(1, 1 + 0x1p-6, 3.140625), 0);
  eval_test_op_in(*state, EVAL_FLOAT32, to_bf16, ARGUMENTS(fine), fine, 1e-7); /* element types do not round there */
  CHECK_OP_IN_DOUBLE(*state, to_bf16, ARGUMENTS(fine), fine);
}

/* Each op's result rounds to bf16 as typed; in the other modes it keeps float's, or double's, precision. */
static void the_precision_says_how_results_round(void **state) {
  const char *op = "\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<1xbf16>, tensor<1xbf16>) -> tensor<1xbf16>";
  const double *const *arguments = ARGUMENTS(VALUES(1), VALUES(0x1p-20));
  eval_test_op_in(*state, EVAL_AS_TYPED, op, arguments, VALUES(1), 0);
  eval_test_op_in(*state, EVAL_FLOAT32, op, arguments, VALUES(1 + 0x1p-20), 0);
  arguments = ARGUMENTS(VALUES(1), VALUES(0x1p-40));
  eval_test_op_in(*state, EVAL_FLOAT32, op, arguments, VALUES(1), 0);
  eval_test_op_in(*state, EVAL_FLOAT64, op, arguments, VALUES(1 + 0x1p-40), 0);
  const char *in_f64 = "\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<1xf64>, tensor<1xf64>) -> tensor<1xf64>";
  eval_test_op_in(*state, EVAL_AS_TYPED, in_f64, arguments, VALUES(1 + 0x1p-40), 0);
}

/* ---- Along axes ---- */

static void reductions_are_along_any_axes(void **state) {
  const double *x = VALUES(1, 2, 3, 4, 5, 6, 7, 8, -9, 10, 11, 12);
  CHECK_OP(*state,
           "\"pinion.reduce\"($0) {kind = \"sum\", axes = array<i64: 0, 2>, keep = false} : "
           "(tensor<2x3x2xf32>) -> tensor<3xf32>",
           ARGUMENTS(x), VALUES(1 + 2 + 7 + 8, 3 + 4 - 9 + 10, 5 + 6 + 11 + 12), 0);
  CHECK_OP(*state,
           "\"pinion.reduce\"($0) {kind = \"mean\", axes = array<i64: 1>, keep = true} : (tensor<2x3x2xf32>) "
           "-> tensor<2x1x2xf32>",
           ARGUMENTS(x), VALUES(3, 4, 3, 10), FLOAT_TOLERANCE);
  CHECK_OP(*state,
           "\"pinion.reduce\"($0) {kind = \"max\", axes = array<i64: 2>, keep = false} : (tensor<2x3x2xf32>) "
           "-> tensor<2x3xf32>",
           ARGUMENTS(x), VALUES(2, 4, 6, 8, 10, 12), 0);
  CHECK_OP(*state,
           "\"pinion.reduce\"($0) {kind = \"min\", axes = array<i64: 0, 1, 2>, keep = false} : "
           "(tensor<2x3x2xi64>) -> tensor<i64>",
           ARGUMENTS(x), VALUES(-9), 0);
  CHECK_OP(*state,
           "\"pinion.reduce\"($0) {kind = \"prod\", axes = array<i64: 0>, keep = false} : (tensor<4xf32>) -> "
           "tensor<f32>",
           ARGUMENTS(x), VALUES(24), 0);
  CHECK_OP(*state,
           "\"pinion.reduce\"($0) {kind = \"max\", axes = array<i64: 1>, keep = false} : (tensor<2x2xi1>) -> "
           "tensor<2xi1>",
           ARGUMENTS(VALUES(0, 0, 0, 1)), VALUES(0, 1), 0);
  CHECK_OP(*state,
           "\"pinion.reduce\"($0) {kind = \"sum\", axes = array<i64>, keep = false} : (tensor<4xf32>) -> "
           "tensor<4xf32>",
           ARGUMENTS(x), x, 0);
}

/* A million times 0.1: naive float summation is off by a percent. */
static void long_sums_keep_float_accuracy(void **state) {
  ir_test *t = *state;
  enum { COUNT = 1 << 20 };
  double *x = arena_alloc(t->c.arena, COUNT * sizeof *x);
  for (int i = 0; i < COUNT; i++) x[i] = (float)0.1;
  CHECK_OP(t,
           "\"pinion.reduce\"($0) {kind = \"sum\", axes = array<i64: 0>, keep = false} : (tensor<1048576xf32>) -> "
           "tensor<f32>",
           ARGUMENTS(x), VALUES((float)0.1 * (double)COUNT), FLOAT_TOLERANCE);
}

static void cumsum_is_inclusive_exclusive_and_reversed(void **state) {
  const double *x = VALUES(1, 1, 0, 1);
  CHECK_OP(*state,
           "\"pinion.cumsum\"($0) {axis = 1, exclusive = false, reverse = false} : (tensor<1x4xi1>) -> "
           "tensor<1x4xi64>",
           ARGUMENTS(x), VALUES(1, 2, 2, 3), 0);
  x = VALUES(1, 2, 3, 4, 5, 6);
  CHECK_OP(*state,
           "\"pinion.cumsum\"($0) {axis = 0, exclusive = true, reverse = false} : (tensor<3x2xf32>) -> "
           "tensor<3x2xf32>",
           ARGUMENTS(x), VALUES(0, 0, 1, 2, 4, 6), 0);
  CHECK_OP(*state,
           "\"pinion.cumsum\"($0) {axis = 1, exclusive = false, reverse = true} : (tensor<2x3xi32>) -> "
           "tensor<2x3xi32>",
           ARGUMENTS(x), VALUES(6, 5, 3, 15, 11, 6), 0);
  CHECK_OP(*state,
           "\"pinion.cumsum\"($0) {axis = 0, exclusive = true, reverse = true} : (tensor<3xi1>) -> "
           "tensor<3xf32>",
           ARGUMENTS(VALUES(1, 1, 1)), VALUES(2, 1, 0), 0);
}

static void softmax_is_stable_along_any_axis(void **state) {
  double a = 1 / (1 + exp(1)), b = 1 / (1 + exp(-1));
  CHECK_OP(*state, "\"pinion.softmax\"($0) {axis = 0} : (tensor<2x2xf32>) -> tensor<2x2xf32>",
           ARGUMENTS(VALUES(1000, -2.38e38, 1001, -2.38e38)), VALUES(a, 0.5, b, 0.5), FLOAT_TOLERANCE);
  CHECK_OP(*state, "\"pinion.softmax\"($0) {axis = 1} : (tensor<1x3xf32>) -> tensor<1x3xf32>",
           ARGUMENTS(VALUES(0, -INFINITY, 1)), VALUES(a, 0, b), FLOAT_TOLERANCE);
}

/* ---- Products ---- */

static void matmul_broadcasts_leading_dimensions(void **state) {
  double *a = eval_test_random(*state, 1, 2 * 1 * 9 * 5), *b = eval_test_random(*state, 2, 3 * 5 * 4);
  double expected[2 * 3 * 9 * 4];
  for (int i = 0; i < 2 * 3 * 9 * 4; i++) {
    int n = i % 4, m = i / 4 % 9, batch_b = i / 36 % 3, batch_a = i / 108;
    expected[i] = 0;
    for (int k = 4; k >= 0; k--) expected[i] += a[(batch_a * 9 + m) * 5 + k] * b[(batch_b * 5 + k) * 4 + n];
  }
  const char *op = "\"pinion.matmul\"($0, $1) : (tensor<2x1x9x5xf32>, tensor<3x5x4xf32>) -> tensor<2x3x9x4xf32>";
  CHECK_OP(*state, op, ARGUMENTS(a, b), expected, FLOAT_TOLERANCE);
  CHECK_OP_IN_DOUBLE(*state, op, ARGUMENTS(a, b), expected);
}

static void matmul_takes_vectors_and_integers(void **state) {
  const double *v = VALUES(1, 2, 3), *m = VALUES(1, 2, 3, 4, 5, 6);
  CHECK_OP(*state, "\"pinion.matmul\"($0, $1) : (tensor<3xf32>, tensor<3x2xf32>) -> tensor<2xf32>", ARGUMENTS(v, m),
           VALUES(22, 28), 0);
  CHECK_OP(*state, "\"pinion.matmul\"($0, $1) : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2xf32>", ARGUMENTS(m, v),
           VALUES(14, 32), 0);
  CHECK_OP(*state, "\"pinion.matmul\"($0, $1) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>", ARGUMENTS(v, v),
           VALUES(14), 0);
  CHECK_OP(*state, "\"pinion.matmul\"($0, $1) : (tensor<2x3xi64>, tensor<3x1xi64>) -> tensor<2x1xi64>", ARGUMENTS(m, v),
           VALUES(14, 32), 0);
  CHECK_OP(*state, "\"pinion.matmul\"($0, $1) : (tensor<2x3xi8>, tensor<3x1xi8>) -> tensor<2x1xi8>",
           ARGUMENTS(VALUES(100, 100, 0, 1, 1, 1), v), VALUES(300 - 256, 6), 0);
}

/* The definition, output by output: x[1,4,5,6], w[6,2,3,2] in two groups. */
static double conv_element(const double *x, const double *w, int o, int oy, int ox) {
  double sum = 0;
  for (int i = 0; i < 2 * 3 * 2; i++) {
    int kx = i % 2, ky = i / 2 % 3, c = i / 6;
    int iy = oy * 2 + ky - 1, ix = ox + kx * 2;
    if (iy >= 0 && iy < 5 && ix >= 0 && ix < 6)
      sum += w[((o * 2 + c) * 3 + ky) * 2 + kx] * x[((o / 3 * 2 + c) * 5 + iy) * 6 + ix];
  }
  return sum;
}

static void conv_has_groups_strides_pads_and_dilations(void **state) {
  double *x = eval_test_random(*state, 3, 4 * 5 * 6), *w = eval_test_random(*state, 4, 6 * 2 * 3 * 2);
  double *bias = eval_test_random(*state, 5, 6), expected[6 * 3 * 6];
  for (int i = 0; i < 6 * 3 * 6; i++) expected[i] = bias[i / 18] + conv_element(x, w, i / 18, i / 6 % 3, i % 6);
  const char *op = "\"pinion.conv\"($0, $1, $2) {strides = array<i64: 2, 1>, pads = array<i64: 1, 0, 1, 2>, dilations "
                   "= array<i64: 1, 2>, group = 2} : (tensor<1x4x5x6xf32>, tensor<6x2x3x2xf32>, tensor<6xf32>) -> "
                   "tensor<1x6x3x6xf32>";
  CHECK_OP(*state, op, ARGUMENTS(x, w, bias), expected, FLOAT_TOLERANCE);
  CHECK_OP_IN_DOUBLE(*state, op, ARGUMENTS(x, w, bias), expected);
}

/* ---- Moving data ---- */

static void gather_counts_negative_indices_from_the_end(void **state) {
  const double *x = VALUES(0, 1, 10, 11, 20, 21);
  CHECK_OP(*state, "\"pinion.gather\"($0, $1) {axis = 0} : (tensor<3x2xf32>, tensor<2x2xi64>) -> tensor<2x2x2xf32>",
           ARGUMENTS(x, VALUES(2, 0, -1, -3)), VALUES(20, 21, 0, 1, 20, 21, 0, 1), 0);
  CHECK_OP(*state, "\"pinion.gather\"($0, $1) {axis = 1} : (tensor<3x2xf32>, tensor<i32>) -> tensor<3xf32>",
           ARGUMENTS(x, VALUES(-1)), VALUES(1, 11, 21), 0);
}

static void gather_out_of_range_is_a_diagnostic(void **state) {
  ir_test *t = *state;
  eval_tensor result;
  eval_test_parse_op(t, "\"pinion.gather\"($0, $1) {axis = 0} : (tensor<3xf32>, tensor<1xi64>) -> tensor<1xf32>");
  for (int i = 0; i < 2; i++) {
    double index = i ? 3 : -4;
    assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, ARGUMENTS(VALUES(1, 2, 3), &index), NULL, NULL, &result),
                     STATUS_FAILED);
    assert_non_null(strstr(ir_test_messages(t), i ? "index 3 is outside" : "index -4 is outside"));
  }
}

static void moves_put_every_element_in_its_place(void **state) {
  const double *x = VALUES(0, 1, 2, 3, 4, 5);
  CHECK_OP(*state,
           "\"pinion.slice\"($0) {starts = array<i64: 1, 2>, steps = array<i64: -1, -2>} : (tensor<2x3xf32>) "
           "-> tensor<2x2xf32>",
           ARGUMENTS(x), VALUES(5, 3, 2, 0), 0);
  CHECK_OP(*state,
           "\"pinion.slice\"($0) {starts = array<i64: 2>, steps = array<i64: 1>} : (tensor<6xi64>) -> "
           "tensor<3xi64>",
           ARGUMENTS(x), VALUES(2, 3, 4), 0);
  CHECK_OP(*state,
           "\"pinion.concat\"($0, $1, $2) {axis = 1} : (tensor<2x1xf32>, tensor<2x3xf32>, tensor<2x0xf32>) -> "
           "tensor<2x4xf32>",
           ARGUMENTS(VALUES(-1, -2), x, x), VALUES(-1, 0, 1, 2, -2, 3, 4, 5), 0);
  CHECK_OP(*state, "\"pinion.reshape\"($0) : (tensor<2x3xf32>) -> tensor<3x1x2xf32>", ARGUMENTS(x), x, 0);
  CHECK_OP(*state,
           "\"pinion.transpose\"($0) {permutation = array<i64: 2, 0, 1>} : (tensor<1x2x3xf32>) -> "
           "tensor<3x1x2xf32>",
           ARGUMENTS(x), VALUES(0, 3, 1, 4, 2, 5), 0);
  CHECK_OP(*state, "\"pinion.broadcast\"($0) : (tensor<3x1xi1>) -> tensor<2x3x2xi1>", ARGUMENTS(VALUES(1, 0, 1)),
           VALUES(1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1), 0);
  CHECK_OP(*state,
           "\"pinion.pad\"($0, $1) {before = array<i64: 1, -1>} : (tensor<2x3xf32>, tensor<f32>) -> "
           "tensor<4x3xf32>",
           ARGUMENTS(x, VALUES(9)), VALUES(9, 9, 9, 1, 2, 9, 4, 5, 9, 9, 9, 9), 0);
  CHECK_OP(*state, "\"pinion.pad\"($0) {before = array<i64: 2>} : (tensor<1xi64>) -> tensor<4xi64>",
           ARGUMENTS(VALUES(7)), VALUES(0, 0, 7, 0), 0);
}

/* Against indices written out: dimension d of y is dimension permutation[d] of x. */
static void transposes_of_rank_four_match_the_definition(void **state) {
  double *x = eval_test_random(*state, 6, 2 * 3 * 4 * 5), expected[2 * 3 * 4 * 5];
  for (int a = 0; a < 2; a++)
    for (int b = 0; b < 3; b++)
      for (int c = 0; c < 4; c++)
        for (int d = 0; d < 5; d++) expected[((a * 4 + c) * 3 + b) * 5 + d] = x[((a * 3 + b) * 4 + c) * 5 + d];
  CHECK_OP(*state,
           "\"pinion.transpose\"($0) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x4x5xf32>) -> "
           "tensor<2x4x3x5xf32>",
           ARGUMENTS(x), expected, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ir_test_begin, ir_test_end)
      TEST(unary_kinds_are_libm_functions),
      TEST(binary_ops_broadcast_as_numpy_does),
      TEST(long_rows_are_computed_to_their_end),
      TEST(integers_are_exact_and_wrap),
      TEST(comparisons_and_logic_give_bools),
      TEST(select_broadcasts_its_three_operands),
      TEST(casts_truncate_saturate_and_round_to_even),
      TEST(the_precision_says_how_results_round),
      TEST(reductions_are_along_any_axes),
      TEST(long_sums_keep_float_accuracy),
      TEST(cumsum_is_inclusive_exclusive_and_reversed),
      TEST(softmax_is_stable_along_any_axis),
      TEST(matmul_broadcasts_leading_dimensions),
      TEST(matmul_takes_vectors_and_integers),
      TEST(conv_has_groups_strides_pads_and_dilations),
      TEST(gather_counts_negative_indices_from_the_end),
      TEST(gather_out_of_range_is_a_diagnostic),
      TEST(moves_put_every_element_in_its_place),
      TEST(transposes_of_rank_four_match_the_definition),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
