/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The reference interpreter's fused ops against their equations written out, in float32 and float64. */
#include "eval_testing.h"

static void check_both(ir_test *t, const char *op, const double *const *arguments, const double *expected) {
  CHECK_OP(t, op, arguments, expected, FLOAT_TOLERANCE);
  CHECK_OP_IN_DOUBLE(t, op, arguments, expected);
}

/* ---- pointwise and gemm ---- */

static void pointwise_runs_its_body_on_broadcast_operands(void **state) {
  double *x = eval_test_random(*state, 1, 6), *scale = eval_test_random(*state, 2, 3), expected[6];
  for (int i = 0; i < 6; i++) {
    double v = x[i] * scale[i % 3] + 0.5;
    expected[i] = v < 0 ? v : 2 * v;
  }
  check_both(*state,
             "\"pinion.pointwise\"($0, $1) {body = [\"mul x0 x1\", \"add v0 0.5\", \"lt v1 0\", \"mul v1 2\", \"select "
             "v2 v1 v3\", \"yield v4\"]} : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>",
             ARGUMENTS(x, scale), expected);
}

static void pointwise_has_several_results(void **state) {
  ir_test *t = *state;
  ir_test_parse_valid(t, "func.func @main(%x: tensor<3xf32>, %n: tensor<1xi64>) -> (tensor<3xf32>, tensor<3xi1>) {\n"
                         "  %y:2 = \"pinion.pointwise\"(%x, %n) {body = [\"cast.f32 x1\", \"add x0 v0\", \"gt v1 0\", "
                         "\"yield v1 v2\"]} : (tensor<3xf32>, tensor<1xi64>) -> (tensor<3xf32>, tensor<3xi1>)\n"
                         "  return %y#0, %y#1 : tensor<3xf32>, tensor<3xi1>\n}\n");
  eval_tensor results[2];
  assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, ARGUMENTS(VALUES(-3, -2, 1), VALUES(2)), NULL, NULL, results),
                   STATUS_OK);
  eval_test_compare("sum", &results[0], VALUES(-1, 0, 3), 0);
  eval_test_compare("sign", &results[1], VALUES(0, 0, 1), 0);
  eval_free(&results[0]);
  eval_free(&results[1]);
}

/* A cast in the body rounds as typed, arithmetic on bf16 does not until it is stored. */
static void bodies_round_where_they_say_so(void **state) {
  const double *const *arguments = ARGUMENTS(VALUES(1), VALUES(0x1p-9));
  const char *op = "\"pinion.pointwise\"($0, $1) {body = [\"add x0 x1\", \"sub v0 1\", \"yield v1\"]} : "
                   "(tensor<1xbf16>, tensor<1xbf16>) -> tensor<1xbf16>";
  const char *rounded = "\"pinion.pointwise\"($0, $1) {body = [\"add x0 x1\", \"cast.bf16 v0\", \"sub v1 1\", \"yield "
                        "v2\"]} : (tensor<1xbf16>, tensor<1xbf16>) -> tensor<1xbf16>";
  CHECK_OP(*state, op, arguments, VALUES(0x1p-9), 0);
  CHECK_OP(*state, rounded, arguments, VALUES(0), 0);
  eval_test_op_in(*state, EVAL_FLOAT32, rounded, arguments, VALUES(0x1p-9), 0);
}

static void gemm_runs_its_epilogue_on_the_accumulator(void **state) {
  double *a = eval_test_random(*state, 1, 2 * 3 * 4), *b = eval_test_random(*state, 2, 5 * 4);
  double *bias = eval_test_random(*state, 3, 5), *residual = eval_test_random(*state, 4, 2 * 3 * 5), expected[30];
  double transposed[20];
  for (int i = 0; i < 20; i++) transposed[i] = b[i % 5 * 4 + i / 5];
  for (int i = 0; i < 30; i++) {
    double sum = bias[i % 5];
    for (int k = 0; k < 4; k++) sum += a[i / 5 * 4 + k] * b[i % 5 * 4 + k];
    expected[i] = residual[i] + tanh(sum);
  }
  check_both(*state,
             "\"pinion.gemm\"($0, $1, $2, $3) {body = [\"add x0 x1\", \"tanh v0\", \"add x2 v1\", \"yield v2\"], "
             "transpose_b = true} : (tensor<2x3x4xf32>, tensor<5x4xf32>, tensor<5xf32>, tensor<2x3x5xf32>) -> "
             "tensor<2x3x5xf32>",
             ARGUMENTS(a, b, bias, residual), expected);
  check_both(*state,
             "\"pinion.gemm\"($0, $1, $2, $3) {body = [\"add x0 x1\", \"tanh v0\", \"add x2 v1\", \"yield v2\"], "
             "transpose_b = false} : (tensor<2x3x4xf32>, tensor<4x5xf32>, tensor<5xf32>, tensor<2x3x5xf32>) -> "
             "tensor<2x3x5xf32>",
             ARGUMENTS(a, transposed, bias, residual), expected);
}

/* The accumulator of a bf16 gemm is f32: 1 + 2^-9 survives until the store. */
static void the_accumulator_of_a_bf16_gemm_is_float(void **state) {
  CHECK_OP(*state,
           "\"pinion.gemm\"($0, $1) {body = [\"sub x0 1\", \"yield v0\"], transpose_b = true} : (tensor<1x2xbf16>, "
           "tensor<1x2xbf16>) -> tensor<1x1xbf16>",
           ARGUMENTS(VALUES(1, 1), VALUES(1, 0x1p-9)), VALUES(0x1p-9), 0);
}

/* Both halves of b's columns, scaled by the sum of a row of squares. */
static void a_gemm_of_two_accumulators_sees_both_halves_and_row_sums(void **state) {
  double *a = eval_test_random(*state, 1, 2 * 3), *b = eval_test_random(*state, 2, 3 * 8),
         *squares = eval_test_random(*state, 3, 2 * 5);
  double expected[8];
  for (int i = 0; i < 8; i++) {
    const int m = i / 4, n = i % 4;
    double sum = 0, gate = 0, up = 0;
    for (int j = 0; j < 5; j++) sum += squares[m * 5 + j];
    for (int k = 0; k < 3; k++) gate += a[m * 3 + k] * b[k * 8 + n], up += a[m * 3 + k] * b[k * 8 + 4 + n];
    expected[i] = tanh(gate) * up + sum;
  }
  check_both(
      *state,
      "\"pinion.gemm\"($0, $1, $2) {accumulators = 2 : i64, row_sums = 1 : i64, body = [\"tanh x0\", \"mul v0 x1\", "
      "\"add v1 x2\", \"yield v2\"], transpose_b = false} : (tensor<2x3xf32>, tensor<3x8xf32>, tensor<2x5xf32>) -> "
      "tensor<2x4xf32>",
      ARGUMENTS(a, b, squares), expected);
}

/* Groups 0 and 1 are the first part, group 2 the second; each has its results, and knows its index. */
static void parts_of_a_gemm_have_results_of_their_own(void **state) {
  ir_test *t = *state;
  double *a = eval_test_random(t, 1, 2 * 3), *b = eval_test_random(t, 2, 6 * 3), *table = eval_test_random(t, 3, 2 * 2);
  double first[8], second[4];
  for (int i = 0; i < 12; i++) {
    const int m = i / 6, h = i % 6 / 2, n = i % 2;
    double sum = table[m * 2 + n];
    for (int k = 0; k < 3; k++) sum += a[m * 3 + k] * b[(h * 2 + n) * 3 + k];
    *(h < 2 ? &first[m * 4 + h * 2 + n] : &second[m * 2 + n]) = h < 2 ? sum : 10 * sum;
  }
  ir_test_parse_valid(
      t,
      "func.func @main(%a: tensor<2x3xf32>, %b: tensor<6x3xf32>, %t: tensor<2x1x2xf32>) -> (tensor<2x2x2xf32>, "
      "tensor<2x1x2xf32>) {\n"
      "  %y:2 = \"pinion.gemm\"(%a, %b, %t) {groups = 3 : i64, parts = array<i64: 2>, body = [\"add x0 x2\", \"mul v0 "
      "10\", \"eq x1 1\", \"select v2 v1 v0\", \"yield v3\"], transpose_b = true} : (tensor<2x3xf32>, "
      "tensor<6x3xf32>, tensor<2x1x2xf32>) -> (tensor<2x2x2xf32>, tensor<2x1x2xf32>)\n"
      "  return %y#0, %y#1 : tensor<2x2x2xf32>, tensor<2x1x2xf32>\n}\n");
  eval_tensor results[2];
  assert_int_equal(eval_test_main(t, EVAL_FLOAT64, ARGUMENTS(a, b, table), NULL, NULL, results), STATUS_OK);
  eval_test_compare("first", &results[0], first, 1e-6);
  eval_test_compare("second", &results[1], second, 1e-6);
  eval_free(&results[0]);
  eval_free(&results[1]);
}

/* 64 columns and the 2 that are left. */
static void column_sums_are_of_blocks_of_columns(void **state) {
  ir_test *t = *state;
  double *a = eval_test_random(t, 1, 2), *b = eval_test_random(t, 2, 66), expected[4] = {0}, products[132];
  for (int i = 0; i < 132; i++) {
    products[i] = a[i / 66] * b[i % 66];
    expected[i / 66 * 2 + i % 66 / 64] += products[i] * products[i];
  }
  ir_test_parse_valid(
      t, "func.func @main(%a: tensor<2x1xf32>, %b: tensor<1x66xf32>) -> (tensor<2x66xf32>, tensor<2x2xf32>) {\n"
         "  %y:2 = \"pinion.gemm\"(%a, %b) {column_sums = 1 : i64, body = [\"mul x0 x0\", \"yield x0 v0\"], "
         "transpose_b = false} : (tensor<2x1xf32>, tensor<1x66xf32>) -> (tensor<2x66xf32>, tensor<2x2xf32>)\n"
         "  return %y#0, %y#1 : tensor<2x66xf32>, tensor<2x2xf32>\n}\n");
  eval_tensor results[2];
  assert_int_equal(eval_test_main(t, EVAL_FLOAT64, ARGUMENTS(a, b), NULL, NULL, results), STATUS_OK);
  eval_test_compare("products", &results[0], products, 1e-6);
  eval_test_compare("sums", &results[1], expected, 1e-6);
  eval_free(&results[0]);
  eval_free(&results[1]);
}

/* ---- norm ---- */

/* Over the last `length` of 24 elements; scale [2,1,4] and bias [4], or none. */
static void expect_norm(const double *x, int length, bool is_layer, const double *scale, const double *bias,
                        double *out) {
  for (int i = 0; i < 24; i++) {
    const double *row = x + i / length * length;
    double mean = 0, square = 0, variance = 0;
    for (int k = 0; k < length; k++) mean += row[k] / length;
    for (int k = 0; k < length; k++) variance += (row[k] - mean) * (row[k] - mean) / length;
    for (int k = 0; k < length; k++) square += row[k] * row[k] / length;
    out[i] = is_layer ? (x[i] - mean) / sqrt(variance + 1e-5) : x[i] / sqrt(square + 1e-5);
    if (scale) out[i] *= scale[i / 12 * 4 + i % 4];
    if (bias) out[i] += bias[i % 4];
  }
}

static void norms_scale_and_shift_what_broadcasts(void **state) {
  double *x = eval_test_random(*state, 1, 24), *scale = eval_test_random(*state, 2, 8);
  double *bias = eval_test_random(*state, 3, 4), expected[24];
  expect_norm(x, 4, true, scale, bias, expected);
  check_both(*state,
             "\"pinion.norm\"($0, $1, $2) {kind = \"layer\", axis = 2, epsilon = 1.0e-5 : f64, operandSegmentSizes = "
             "array<i32: 1, 1, 1>} : (tensor<2x3x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>",
             ARGUMENTS(x, scale, bias), expected);
  expect_norm(x, 4, false, scale, NULL, expected);
  check_both(*state,
             "\"pinion.norm\"($0, $1) {kind = \"rms\", axis = 2, epsilon = 1.0e-5 : f64, operandSegmentSizes = "
             "array<i32: 1, 1, 0>} : (tensor<2x3x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32>",
             ARGUMENTS(x, scale), expected);
  expect_norm(x, 12, false, NULL, bias, expected);
  check_both(*state,
             "\"pinion.norm\"($0, $1) {kind = \"rms\", axis = 1, epsilon = 1.0e-5 : f64, operandSegmentSizes = "
             "array<i32: 1, 0, 1>} : (tensor<2x3x4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>",
             ARGUMENTS(x, bias), expected);
}

/* The statistics are of the values as read; the result is rounded once, to its own type. */
static void a_norms_result_may_be_of_another_type(void **state) {
  CHECK_OP(*state,
           "\"pinion.norm\"($0) {kind = \"rms\", axis = 1, epsilon = 0.0 : f64, operandSegmentSizes = array<i32: 1, 0, "
           "0>} : (tensor<1x2xbf16>) -> tensor<1x2xf32>",
           ARGUMENTS(VALUES(3, 4)), VALUES(3 / sqrt(12.5), 4 / sqrt(12.5)), 1e-7);
  CHECK_OP(*state,
           "\"pinion.norm\"($0) {kind = \"rms\", axis = 1, epsilon = 0.0 : f64, operandSegmentSizes = array<i32: 1, 0, "
           "0>} : (tensor<1x2xf32>) -> tensor<1x2xbf16>",
           ARGUMENTS(VALUES(3, 4)), VALUES(0.84765625, 1.1328125), 0);
}

/* ---- rope ---- */

/* x [2,2,3,6], cosine and sine [b,3,2]: 4 of 6 are rotated. */
static void expect_rope(const double *x, const double *cosine, const double *sine, bool per_batch, bool interleaved,
                        double *out) {
  for (int i = 0; i < 72; i++) {
    int d = i % 6, s = i / 6 % 3, b = per_batch ? i / 36 : 0;
    out[i] = x[i];
    if (d >= 4) continue;
    int pair = interleaved ? d / 2 : d % 2;
    bool is_first = interleaved ? d % 2 == 0 : d < 2;
    int partner = interleaved ? (is_first ? i + 1 : i - 1) : (is_first ? i + 2 : i - 2);
    double c = cosine[(b * 3 + s) * 2 + pair], n = sine[(b * 3 + s) * 2 + pair];
    out[i] = is_first ? x[i] * c - x[partner] * n : x[i] * c + x[partner] * n;
  }
}

static void rope_rotates_halves_or_neighbours(void **state) {
  double *x = eval_test_random(*state, 1, 72), *cosine = eval_test_random(*state, 2, 12);
  double *sine = eval_test_random(*state, 3, 12), expected[72];
  expect_rope(x, cosine, sine, false, false, expected);
  check_both(*state,
             "\"pinion.rope\"($0, $1, $2) {interleaved = false} : (tensor<2x2x3x6xf32>, tensor<1x3x2xf32>, "
             "tensor<1x3x2xf32>) -> tensor<2x2x3x6xf32>",
             ARGUMENTS(x, cosine, sine), expected);
  expect_rope(x, cosine, sine, true, true, expected);
  check_both(*state,
             "\"pinion.rope\"($0, $1, $2) {interleaved = true} : (tensor<2x2x3x6xf32>, tensor<2x3x2xf32>, "
             "tensor<2x3x2xf32>) -> tensor<2x2x3x6xf32>",
             ARGUMENTS(x, cosine, sine), expected);
}

/* ---- attention ---- */

enum { BATCH = 2, HEADS = 4, GROUPS = 2, QUERIES = 3, KEYS = 5, WIDTH = 6, VALUE_WIDTH = 2 };

/* What is added to a score; -INFINITY hides the key. */
typedef double score_mask(const double *mask, int b, int h, int q, int k);

static void expect_attention(const double *query, const double *key, const double *values, const double *mask,
                             score_mask *hidden, double *out) {
  for (int i = 0; i < BATCH * HEADS * QUERIES; i++) {
    int q = i % QUERIES, h = i / QUERIES % HEADS, b = i / QUERIES / HEADS;
    int group = b * GROUPS + h * GROUPS / HEADS;
    double sum = 0, *row = out + i * VALUE_WIDTH;
    for (int e = 0; e < VALUE_WIDTH; e++) row[e] = 0;
    for (int k = 0; k < KEYS; k++) {
      double score = hidden(mask, b, h, q, k);
      for (int d = 0; d < WIDTH; d++) score += 0.4 * query[i * WIDTH + d] * key[(group * KEYS + k) * WIDTH + d];
      sum += exp(score);
      for (int e = 0; e < VALUE_WIDTH; e++) row[e] += exp(score) * values[(group * KEYS + k) * VALUE_WIDTH + e];
    }
    for (int e = 0; e < VALUE_WIDTH; e++) row[e] = sum > 0 ? row[e] / sum : 0;
  }
}

static double no_mask(const double *mask, int b, int h, int q, int k) {
  (void)mask, (void)b, (void)h, (void)q, (void)k;
  return 0;
}

static double additive_mask(const double *mask, int b, int h, int q, int k) {
  (void)h;
  return mask[(b * QUERIES + q) * KEYS + k];
}

static double bool_mask(const double *mask, int b, int h, int q, int k) {
  (void)b;
  return mask[(h * QUERIES + q) * KEYS + k] != 0 ? 0 : -INFINITY;
}

static double causal_mask(const double *mask, int b, int h, int q, int k) {
  (void)mask, (void)b, (void)h;
  return k <= q + KEYS - QUERIES ? 0 : -INFINITY;
}

/* limits = [2, 1, 4, 2, 5]: 2 keys for query 0, 4 for query 1, 5 for query 2. */
static double limits_mask(const double *mask, int b, int h, int q, int k) {
  static const int visible[QUERIES] = {2, 4, 5};
  (void)mask, (void)b, (void)h;
  return k < visible[q] ? 0 : -INFINITY;
}

static double limits_and_valid_mask(const double *mask, int b, int h, int q, int k) {
  return limits_mask(mask, b, h, q, k) + (mask[b * KEYS + k] != 0 ? 0 : -INFINITY);
}

#define ATTENTION_TYPES "(tensor<2x4x3x6xf32>, tensor<2x2x5x6xf32>, tensor<2x2x5x2xf32>"

static void attention_shares_keys_and_takes_masks(void **state) {
  double *q = eval_test_random(*state, 1, 144), *k = eval_test_random(*state, 2, 120);
  double *v = eval_test_random(*state, 3, 40), expected[48], *mask = eval_test_random(*state, 4, 60);
  expect_attention(q, k, v, NULL, no_mask, expected);
  check_both(*state,
             "\"pinion.attention\"($0, $1, $2) {scale = 0.4 : f64, causal = false} : " ATTENTION_TYPES
             ") -> tensor<2x4x3x2xf32>",
             ARGUMENTS(q, k, v), expected);
  expect_attention(q, k, v, NULL, causal_mask, expected);
  check_both(*state,
             "\"pinion.attention\"($0, $1, $2) {scale = 0.4 : f64, causal = true} : " ATTENTION_TYPES
             ") -> tensor<2x4x3x2xf32>",
             ARGUMENTS(q, k, v), expected);
  mask[7] = -INFINITY;
  expect_attention(q, k, v, mask, additive_mask, expected);
  check_both(*state,
             "\"pinion.attention\"($0, $1, $2, $3) {scale = 0.4 : f64, causal = false} : " ATTENTION_TYPES
             ", tensor<2x1x3x5xf32>) -> tensor<2x4x3x2xf32>",
             ARGUMENTS(q, k, v, mask), expected);
  for (int i = 0; i < 60; i++) mask[i] = i % 3 != 0 && i / KEYS != 4; /* one query of one head sees nothing */
  expect_attention(q, k, v, mask, bool_mask, expected);
  check_both(*state,
             "\"pinion.attention\"($0, $1, $2, $3) {scale = 0.4 : f64, causal = false} : " ATTENTION_TYPES
             ", tensor<4x3x5xi1>) -> tensor<2x4x3x2xf32>",
             ARGUMENTS(q, k, v, mask), expected);
}

static void attention_follows_limits_beside_a_mask(void **state) {
  double *q = eval_test_random(*state, 1, 144), *k = eval_test_random(*state, 2, 120);
  double *v = eval_test_random(*state, 3, 40), expected[48];
  expect_attention(q, k, v, NULL, limits_mask, expected);
  check_both(*state,
             "\"pinion.attention\"($0, $1, $2) {scale = 0.4 : f64, causal = false, limits = array<i64: 2, 1, 4, 2, 5>} "
             ": " ATTENTION_TYPES ") -> tensor<2x4x3x2xf32>",
             ARGUMENTS(q, k, v), expected);
  const double *valid = VALUES(0, 0, 1, 0, 1, 1, 0, 1, 1, 1); /* the first batch's query 0 sees nothing */
  expect_attention(q, k, v, valid, limits_and_valid_mask, expected);
  check_both(
      *state,
      "\"pinion.attention\"($0, $1, $2, $3) {scale = 0.4 : f64, causal = false, limits = array<i64: 2, 1, 4, 2, 5>} "
      ": " ATTENTION_TYPES ", tensor<2x1x1x5xi1>) -> tensor<2x4x3x2xf32>",
      ARGUMENTS(q, k, v, valid), expected);
}

/* Masked by -inf: zeros. By the exporters' finite value: uniform weights. Neither gives NaN. */
static void a_query_that_sees_nothing_is_no_nan(void **state) {
  const char *op = "\"pinion.attention\"($0, $1, $2, $3) {scale = 1.0 : f64, causal = false} : (tensor<1x1x1x2xf32>, "
                   "tensor<1x1x2x2xf32>, tensor<1x1x2x1xf32>, tensor<1x2xf32>) -> tensor<1x1x1x1xf32>";
  const double *q = VALUES(1, 2), *k = VALUES(1, 2, 3, 4), *v = VALUES(10, 20);
  CHECK_OP(*state, op, ARGUMENTS(q, k, v, VALUES(-INFINITY, -INFINITY)), VALUES(0), 0);
  CHECK_OP(*state, op, ARGUMENTS(q, k, v, VALUES(-2.38e38, -2.38e38)), VALUES(15), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ir_test_begin, ir_test_end)
      TEST(pointwise_runs_its_body_on_broadcast_operands),
      TEST(pointwise_has_several_results),
      TEST(bodies_round_where_they_say_so),
      TEST(gemm_runs_its_epilogue_on_the_accumulator),
      TEST(the_accumulator_of_a_bf16_gemm_is_float),
      TEST(a_gemm_of_two_accumulators_sees_both_halves_and_row_sums),
      TEST(parts_of_a_gemm_have_results_of_their_own),
      TEST(column_sums_are_of_blocks_of_columns),
      TEST(norms_scale_and_shift_what_broadcasts),
      TEST(a_norms_result_may_be_of_another_type),
      TEST(rope_rotates_halves_or_neighbours),
      TEST(attention_shares_keys_and_takes_masks),
      TEST(attention_follows_limits_beside_a_mask),
      TEST(a_query_that_sees_nothing_is_no_nan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
