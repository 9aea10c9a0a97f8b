/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Which elements the results of a graph can see: ir/visible.h. That none of the others matters is checked on random
   graphs by tests/passes/check_random.py; here, that those of padding are found. */
#include "eval_testing.h"

#include "ir/visible.h"

typedef struct looked_for {
  const char *name; /* an op's location */
  const char *mask; /* of '0' and '1'; NULL: it was not reported */
} looked_for;

static void keep(void *user, MlirOperation op, const uint8_t *mask) {
  looked_for *wanted = user;
  MlirStringRef name = location_name(mlirOperationGetLocation(op));
  tensor_type type;
  value_type(mlirOperationGetResult(op, 0), &type);
  for (; wanted->name; wanted++) {
    if (strlen(wanted->name) != name.length || memcmp(wanted->name, name.data, name.length) != 0) continue;
    const char *expected = wanted->mask;
    for (int64_t i = 0; i < type_elements(&type); i++)
      if (expected[i] != '0' + (mask && mask[i])) fail_msg("%s: element %d", wanted->name, (int)i);
    assert_int_equal(strlen(expected), type_elements(&type));
    wanted->mask = NULL;
  }
}

static bool observe(void *user, MlirOperation op, const eval_tensor *results, int result_count) {
  visible_observe(user, op, results, result_count);
  return true;
}

/* Evaluates @main, and holds the masks of the named ops against those given. */
static void check(ir_test *t, const char *source, const double *const *arguments, looked_for *wanted) {
  eval_tensor results[4];
  ir_test_parse_valid(t, source);
  visible_walk *walk = visible_begin(t->module, "main");
  assert_int_equal(eval_test_main(t, EVAL_FLOAT64, arguments, observe, walk, results), STATUS_OK);
  visible_run(walk, keep, wanted);
  visible_end(walk);
  const intptr_t count =
      mlirOperationGetNumOperands(block_terminator(function_body(module_function(t->module, "main"))));
  for (intptr_t i = 0; i < count; i++) eval_free(&results[i]);
  for (; wanted->name; wanted++)
    if (wanted->mask) fail_msg("%s was not reported", wanted->name);
}

/* Three tokens of two numbers; the last is padding: no token attends to it, and it sees nothing itself. */
#define HEAD                                                                                                           \
  "func.func @main(%x: tensor<1x1x3x2xf32>, %valid: tensor<1x3xi1>) -> tensor<1x1x2x2xf32> {\n"                        \
  "  %h = \"pinion.unary\"(%x) {kind = \"neg\"} : (tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> loc(\"h\")\n"           \
  "  %v = \"pinion.unary\"(%valid) {kind = \"not\"} : (tensor<1x3xi1>) -> tensor<1x3xi1>\n"                            \
  "  %keys = \"pinion.unary\"(%v) {kind = \"not\"} : (tensor<1x3xi1>) -> tensor<1x3xi1>\n"                             \
  "  %k = \"pinion.unary\"(%h) {kind = \"sin\"} : (tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> loc(\"k\")\n"           \
  "  %q = \"pinion.unary\"(%h) {kind = \"cos\"} : (tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> loc(\"q\")\n"
#define TAIL                                                                                                           \
  "  %r = \"pinion.binary\"(%a, %h) {kind = \"add\"} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> "                 \
  "tensor<1x1x3x2xf32> loc(\"r\")\n"                                                                                   \
  "  %y = \"pinion.slice\"(%r) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : "                   \
  "(tensor<1x1x3x2xf32>) -> tensor<1x1x2x2xf32>\n"                                                                     \
  "  return %y : tensor<1x1x2x2xf32>\n}\n"
#define SCORES                                                                                                         \
  "  %t = \"pinion.transpose\"(%k) {permutation = array<i64: 0, 1, 3, 2>} : (tensor<1x1x3x2xf32>) -> "                 \
  "tensor<1x1x2x3xf32> loc(\"t\")\n"                                                                                   \
  "  %s = \"pinion.matmul\"(%q, %t) : (tensor<1x1x3x2xf32>, tensor<1x1x2x3xf32>) -> tensor<1x1x3x3xf32> loc(\"s\")\n"  \
  "  %low = \"pinion.constant\"() {value = dense<-2.38e38> : tensor<f32>} : () -> tensor<f32>\n"                       \
  "  %zero = \"pinion.constant\"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>\n"
#define WEIGHTED                                                                                                       \
  "  %p = \"pinion.softmax\"(%m) {axis = 3 : i64} : (tensor<1x1x3x3xf32>) -> tensor<1x1x3x3xf32> loc(\"p\")\n"         \
  "  %a = \"pinion.matmul\"(%p, %k) : (tensor<1x1x3x3xf32>, tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> loc(\"a\")\n"

static const double tokens[] = {1, 2, 3, 4, 5, 6}, valid[] = {1, 1, 0};
static const double *const arguments[] = {tokens, valid};

static void padding_is_unseen_behind_a_sum_with_a_mask(void **state) {
  looked_for wanted[] = {{"h", "111100"},    {"k", "111100"},    {"q", "111100"}, {"t", "110110"}, {"s", "110110000"},
                         {"m", "111111000"}, {"p", "111111000"}, {"a", "111100"}, {"r", "111100"}, {NULL, NULL}};
  check(*state,
        HEAD SCORES "  %bias = \"pinion.select\"(%keys, %zero, %low) : (tensor<1x3xi1>, tensor<f32>, tensor<f32>) -> "
                    "tensor<1x3xf32>\n"
                    "  %m = \"pinion.binary\"(%s, %bias) {kind = \"add\"} : (tensor<1x1x3x3xf32>, tensor<1x3xf32>) -> "
                    "tensor<1x1x3x3xf32> loc(\"m\")\n" WEIGHTED TAIL,
        arguments, wanted);
}

static void padding_is_unseen_behind_a_selection(void **state) {
  looked_for wanted[] = {{"h", "111100"}, {"k", "111100"}, {"t", "110110"}, {"s", "110110000"}, {NULL, NULL}};
  check(*state,
        HEAD SCORES "  %m = \"pinion.select\"(%keys, %s, %low) : (tensor<1x3xi1>, tensor<1x1x3x3xf32>, tensor<f32>) -> "
                    "tensor<1x1x3x3xf32>\n" WEIGHTED TAIL,
        arguments, wanted);
}

static void padding_is_unseen_behind_an_attention(void **state) {
  looked_for wanted[] = {{"h", "111100"}, {"k", "111100"}, {"q", "111100"}, {"a", "111100"}, {NULL, NULL}};
  check(*state,
        HEAD
        "  %a = \"pinion.attention\"(%q, %k, %k, %keys) {scale = 1.0 : f64, causal = false, operandSegmentSizes = "
        "array<i32: 1, 1, 1, 1>} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x3xi1>) "
        "-> tensor<1x1x3x2xf32> loc(\"a\")\n" TAIL,
        arguments, wanted);
}

/* Without a mask every token sees all. */
static void nothing_is_unseen_without_a_mask(void **state) {
  looked_for wanted[] = {{"h", "111111"}, {"k", "111111"}, {"q", "111100"}, {NULL, NULL}};
  check(*state,
        HEAD
        "  %a = \"pinion.attention\"(%q, %k, %k) {scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: "
        "1, 1, 1, 0>} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> "
        "loc(\"a\")\n" TAIL,
        arguments, wanted);
}

static void rows_pass_through_what_moves_and_normalises_them(void **state) {
  static const double x[] = {1, 2, 3, 4, 5, 6};
  const double *const only[] = {x};
  looked_for wanted[] = {{"x", "001100"}, {"n", "001100"},    {"c", "001100001100"},
                         {"b", "001100"}, {"dead", "000000"}, {NULL, NULL}};
  check(
      *state,
      "func.func @main(%a: tensor<3x2xf32>) -> tensor<2xf32> {\n"
      "  %x = \"pinion.unary\"(%a) {kind = \"neg\"} : (tensor<3x2xf32>) -> tensor<3x2xf32> loc(\"x\")\n"
      "  %dead = \"pinion.unary\"(%x) {kind = \"exp\"} : (tensor<3x2xf32>) -> tensor<3x2xf32> loc(\"dead\")\n"
      "  %n = \"pinion.norm\"(%x) {kind = \"rms\", axis = 1 : i64, epsilon = 1.0e-6 : f64, operandSegmentSizes = "
      "array<i32: 1, 0, 0>} : (tensor<3x2xf32>) -> tensor<3x2xf32> loc(\"n\")\n"
      "  %b = \"pinion.unary\"(%n) {kind = \"abs\"} : (tensor<3x2xf32>) -> tensor<3x2xf32> loc(\"b\")\n"
      "  %c = \"pinion.concat\"(%n, %b) {axis = 0 : i64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<6x2xf32> "
      "loc(\"c\")\n"
      "  %r = \"pinion.reduce\"(%c) {kind = \"sum\", axes = array<i64: 1>, keep = false} : (tensor<6x2xf32>) -> "
      "tensor<6xf32>\n"
      "  %y = \"pinion.slice\"(%r) {starts = array<i64: 1>, steps = array<i64: 3>} : (tensor<6xf32>) -> tensor<2xf32>\n"
      "  return %y : tensor<2xf32>\n}\n",
      only, wanted);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(padding_is_unseen_behind_a_sum_with_a_mask, ir_test_begin, ir_test_end),
      cmocka_unit_test_setup_teardown(padding_is_unseen_behind_a_selection, ir_test_begin, ir_test_end),
      cmocka_unit_test_setup_teardown(padding_is_unseen_behind_an_attention, ir_test_begin, ir_test_end),
      cmocka_unit_test_setup_teardown(nothing_is_unseen_without_a_mask, ir_test_begin, ir_test_end),
      cmocka_unit_test_setup_teardown(rows_pass_through_what_moves_and_normalises_them, ir_test_begin, ir_test_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
