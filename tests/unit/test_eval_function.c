/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Evaluating functions: calls, steps, weights, what an observer sees, slices of constants, and element bytes. */
#include "eval_testing.h"

/* Evaluates @main and compares its only result. */
static void check_main(ir_test *t, const double *const *arguments, const double *expected, double tolerance) {
  eval_tensor result;
  if (eval_test_main(t, EVAL_AS_TYPED, arguments, NULL, NULL, &result) != STATUS_OK)
    fail_msg("%s", ir_test_messages(t));
  eval_test_compare("@main", &result, expected, tolerance);
  eval_free(&result);
}

static void functions_call_functions(void **state) {
  ir_test *t = *state;
  ir_test_parse_valid(
      t, "func.func @half(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {\n"
         "  %c = \"pinion.constant\"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>\n"
         "  %y = \"pinion.binary\"(%x, %c) {kind = \"mul\"} : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>\n"
         "  return %y, %x : tensor<2xf32>, tensor<2xf32>\n}\n"
         "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
         "  %a:2 = func.call @half(%x) : (tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>)\n"
         "  %b:2 = func.call @half(%a#0) : (tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>)\n"
         "  %y = \"pinion.binary\"(%b#0, %a#1) {kind = \"add\"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>\n"
         "  return %y : tensor<2xf32>\n}\n");
  check_main(t, ARGUMENTS(VALUES(8, -4)), VALUES(10, -5), 0);
}

static void recursion_is_a_diagnostic(void **state) {
  ir_test *t = *state;
  ir_test_parse_valid(t, "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
                         "  %y = func.call @main(%x) : (tensor<2xf32>) -> tensor<2xf32>\n"
                         "  return %y : tensor<2xf32>\n}\n");
  eval_tensor result;
  assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, ARGUMENTS(VALUES(1, 2)), NULL, NULL, &result), STATUS_FAILED);
  assert_non_null(strstr(ir_test_messages(t), "recursive"));
}

static void a_value_may_be_returned_twice_and_an_argument_too(void **state) {
  ir_test *t = *state;
  ir_test_parse_valid(t, "func.func @main(%x: tensor<1xf32>) -> (tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) {\n"
                         "  %y = \"pinion.unary\"(%x) {kind = \"neg\"} : (tensor<1xf32>) -> tensor<1xf32>\n"
                         "  return %y, %x, %y : tensor<1xf32>, tensor<1xf32>, tensor<1xf32>\n}\n");
  eval_tensor results[3];
  assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, ARGUMENTS(VALUES(3)), NULL, NULL, results), STATUS_OK);
  for (int i = 0; i < 3; i++) {
    assert_true(eval_get(&results[i], 0) == (i == 1 ? 3 : -3));
    eval_free(&results[i]); /* each its own */
  }
}

/* ---- steps ---- */

static const char three_steps[] =
    "func.func @step(%x: tensor<2xf32>, %c: tensor<f32>, %row: tensor<2xf32>) -> tensor<2xf32> {\n"
    "  %a = \"pinion.binary\"(%x, %c) {kind = \"mul\"} : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>\n"
    "  %b = \"pinion.binary\"(%a, %row) {kind = \"add\"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>\n"
    "  return %b : tensor<2xf32>\n}\n"
    "func.func @main(%x: tensor<2xf32>, %c: tensor<f32>, %table: tensor<3x2xf32>) -> tensor<2xf32> {\n"
    "  %y = \"pinion.steps\"(%x, %c, %table) {callee = @step, count = 3, tables = 1} : (tensor<2xf32>, tensor<f32>, "
    "tensor<3x2xf32>) -> tensor<2xf32>\n"
    "  return %y : tensor<2xf32>\n}\n";

static void steps_call_the_callee_with_each_row(void **state) {
  ir_test *t = *state;
  ir_test_parse_valid(t, three_steps);
  /* ((1*2 + 1)*2 + 2)*2 + 3 and ((5*2 + 10)*2 + 20)*2 + 30 */
  check_main(t, ARGUMENTS(VALUES(1, 5), VALUES(2), VALUES(1, 10, 2, 20, 3, 30)), VALUES(19, 150), 0);
}

static void steps_of_a_missing_or_unfit_callee_are_a_diagnostic(void **state) {
  ir_test *t = *state;
  eval_tensor result;
  const double *const *arguments = ARGUMENTS(VALUES(1, 2), VALUES(1, 2));
  const char *source = "func.func @other(%%x: tensor<2xf32>) -> tensor<2xf32> {\n  return %%x : tensor<2xf32>\n}\n"
                       "func.func @main(%%x: tensor<2xf32>, %%c: tensor<2xf32>) -> tensor<2xf32> {\n"
                       "  %%y = \"pinion.steps\"(%%x, %%c) {callee = @%s, count = 3, tables = 0} : (tensor<2xf32>, "
                       "tensor<2xf32>) -> tensor<2xf32>\n"
                       "  return %%y : tensor<2xf32>\n}\n";
  ir_test_parse_valid(t, arena_format(t->c.arena, source, "nonesuch"));
  assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, arguments, NULL, NULL, &result), STATUS_FAILED);
  assert_non_null(strstr(ir_test_messages(t), "there is no function @nonesuch"));
  ir_test_parse_valid(t, arena_format(t->c.arena, source, "other"));
  assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, arguments, NULL, NULL, &result), STATUS_FAILED);
  assert_non_null(strstr(ir_test_messages(t), "@other does not take 2 arguments"));
}

static void one_op_evaluates_without_its_function(void **state) {
  ir_test *t = *state;
  ir_test_parse_valid(t, three_steps);
  MlirOperation steps = mlirBlockGetFirstOperation(function_body(module_function(t->module, "main")));
  const double *values[] = {VALUES(1, 5), VALUES(2), VALUES(1, 10, 2, 20, 3, 30)};
  eval_tensor operands[3], result;
  const eval_tensor *pointers[3];
  for (int i = 0; i < 3; i++) {
    tensor_type type;
    assert_true(value_type(mlirOperationGetOperand(steps, i), &type));
    operands[i] = eval_test_tensor(&type, EVAL_FLOAT64, values[i]);
    pointers[i] = &operands[i];
  }
  assert_int_equal(eval_op(&t->c, steps, pointers, EVAL_FLOAT64, &result), STATUS_OK);
  assert_int_equal(result.storage, EVAL_DOUBLES);
  eval_test_compare("steps", &result, VALUES(19, 150), 0);
  eval_free(&result);
  for (int i = 0; i < 3; i++) eval_free(&operands[i]);
}

/* ---- Observers ---- */

typedef struct seen {
  int ops, stop_at;
  double sum;
} seen;

static bool watch(void *user, MlirOperation op, const eval_tensor *results, int result_count) {
  seen *s = user;
  (void)op;
  for (int i = 0; i < result_count; i++) s->sum += eval_get(&results[i], 0);
  return ++s->ops != s->stop_at;
}

static void an_observer_sees_every_op_in_callees_too_and_can_stop(void **state) {
  ir_test *t = *state;
  eval_tensor result;
  const double *const *arguments = ARGUMENTS(VALUES(1, 5), VALUES(2), VALUES(1, 10, 2, 20, 3, 30));
  seen all = {0}, some = {.stop_at = 4};
  ir_test_parse_valid(t, three_steps);
  assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, arguments, watch, &all, &result), STATUS_OK);
  eval_free(&result);
  assert_int_equal(all.ops, 2 * 3 + 1);
  assert_true(all.sum == 2 + 3 + 6 + 8 + 16 + 19 + 19);
  assert_int_equal(eval_test_main(t, EVAL_AS_TYPED, arguments, watch, &some, &result), STATUS_FAILED);
  assert_int_equal(some.ops, 4);
  assert_string_equal(ir_test_messages(t), "");
}

/* ---- Constants and weights ---- */

/* @main of a constant, a large weight that is used twice, and the sum of all. */
static void weights_are_read_from_the_store(void **state) {
  ir_test *t = *state;
  enum { COUNT = 400000 };
  float *data = calloc(COUNT, sizeof *data);
  for (int i = 0; i < COUNT; i++) data[i] = i == 7 ? 3.5f : i == COUNT - 1 ? -1.5f : 0;
  const char *blob = weight_store_add(t->c.weights, data, COUNT * sizeof *data);
  free(data);
  const char *source =
      "func.func @main(%%x: tensor<f32>) -> tensor<f32> {\n"
      "  %%w = \"pinion.weight\"() {name = \"w\", file = \"%s\", offset = 0} : () -> tensor<400000xf32>\n"
      "  %%s = \"pinion.reduce\"(%%w) {kind = \"sum\", axes = array<i64: 0>, keep = false} : (tensor<400000xf32>) -> "
      "tensor<f32>\n"
      "  %%m = \"pinion.reduce\"(%%w) {kind = \"max\", axes = array<i64: 0>, keep = false} : (tensor<400000xf32>) -> "
      "tensor<f32>\n"
      "  %%a = \"pinion.binary\"(%%s, %%m) {kind = \"mul\"} : (tensor<f32>, tensor<f32>) -> tensor<f32>\n"
      "  %%y = \"pinion.binary\"(%%a, %%x) {kind = \"add\"} : (tensor<f32>, tensor<f32>) -> tensor<f32>\n"
      "  return %%y : tensor<f32>\n}\n";
  ir_test_parse_valid(t, arena_format(t->c.arena, source, blob));
  check_main(t, ARGUMENTS(VALUES(100)), VALUES(107), 0);
}

/* The value that @main's op number `index` defines. */
static MlirValue value_at(ir_test *t, int index) {
  MlirOperation op = mlirBlockGetFirstOperation(function_body(module_function(t->module, "main")));
  while (index-- > 0) op = mlirOperationGetNextInBlock(op);
  return mlirOperationGetResult(op, 0);
}

static void what_depends_on_constants_alone_is_constant(void **state) {
  ir_test *t = *state;
  float stored[2] = {1, 2};
  const char *blob = weight_store_add(t->c.weights, stored, sizeof stored);
  const char *source = "func.func @main(%%x: tensor<2xi64>) {\n"
                       "  %%0 = \"pinion.constant\"() {value = dense<[3, -4]> : tensor<2xi64>} : () -> tensor<2xi64>\n"
                       "  %%1 = \"pinion.constant\"() {value = dense<2> : tensor<2xi64>} : () -> tensor<2xi64>\n"
                       "  %%2 = \"pinion.binary\"(%%0, %%1) {kind = \"mul\"} : (tensor<2xi64>, tensor<2xi64>) -> "
                       "tensor<2xi64>\n"
                       "  %%3 = \"pinion.binary\"(%%2, %%2) {kind = \"add\"} : (tensor<2xi64>, tensor<2xi64>) -> "
                       "tensor<2xi64>\n"
                       "  %%4 = \"pinion.binary\"(%%3, %%x) {kind = \"add\"} : (tensor<2xi64>, tensor<2xi64>) -> "
                       "tensor<2xi64>\n"
                       "  %%5 = \"pinion.weight\"() {name = \"w\", file = \"%s\", offset = 0} : () -> tensor<2xf32>\n"
                       "  %%6 = \"pinion.cast\"(%%5) : (tensor<2xf32>) -> tensor<2xi64>\n"
                       "  %%7 = \"pinion.constant\"() {value = dense<true> : tensor<3xi1>} : () -> tensor<3xi1>\n"
                       "  return\n}\n";
  ir_test_parse_valid(t, arena_format(t->c.arena, source, blob));
  eval_tensor result;
  assert_true(eval_constant(&t->c, value_at(t, 3), false, &result));
  eval_test_compare("%3", &result, VALUES(12, -16), 0);
  eval_free(&result);
  assert_true(eval_constant(&t->c, value_at(t, 7), false, &result));
  eval_test_compare("%7", &result, VALUES(1, 1, 1), 0);
  eval_free(&result);
  assert_false(eval_constant(&t->c, value_at(t, 4), true, &result));  /* depends on an argument */
  assert_false(eval_constant(&t->c, value_at(t, 6), false, &result)); /* depends on a weight */
  assert_true(eval_constant(&t->c, value_at(t, 6), true, &result));
  eval_test_compare("%6", &result, VALUES(1, 2), 0);
  eval_free(&result);
  assert_string_equal(ir_test_messages(t), "");
}

/* A chain of 20,000 ops, each used twice: no recursion, and each op once. */
static void long_chains_of_constants_are_evaluated(void **state) {
  ir_test *t = *state;
  text source = {0};
  text_append(&source, "func.func @main() {\n  %%v0 = \"pinion.constant\"() {value = dense<1> : tensor<ui32>} : () -> "
                       "tensor<ui32>\n");
  for (int i = 1; i <= 20000; i++)
    text_append(&source,
                "  %%v%d = \"pinion.binary\"(%%v%d, %%v%d) {kind = \"add\"} : (tensor<ui32>, tensor<ui32>) -> "
                "tensor<ui32>\n",
                i, i - 1, i % 20 ? i - 1 : 0);
  text_append(&source, "  return\n}\n");
  ir_test_parse_valid(t, source.data);
  text_free(&source);
  uint32_t expected = 1;
  for (int i = 1; i <= 20000; i++) expected += i % 20 ? expected : 1;
  eval_tensor result;
  assert_true(eval_constant(&t->c, value_at(t, 20000), false, &result));
  assert_true(result.i64[0] == expected);
  eval_free(&result);
}

/* ---- Bytes ---- */

static void tensors_survive_the_way_through_bytes(void **state) {
  (void)state;
  const double reals[] = {0, -1.5, 0x1p-14, 65504}, integers[] = {0, 1, 100, 127};
  for (int dtype = 0; dtype < PINION_DTYPE_COUNT; dtype++) {
    tensor_type type = {.dtype = (pinion_dtype)dtype, .rank = 2, .dims = {2, 2}};
    uint8_t bytes[33], again[33];
    bool is_float = dtype_is_float(type.dtype);
    eval_tensor tensor = eval_test_tensor(&type, EVAL_FLOAT64, is_float ? reals : integers), back;
    if (dtype == PINION_DTYPE_bool) tensor.i64[2] = tensor.i64[3] = 1;
    eval_tensor_to_bytes(&tensor, bytes + 1); /* at an odd address, as in a file */
    assert_int_equal(eval_tensor_from_bytes(&type, bytes + 1, EVAL_FLOAT32, &back), STATUS_OK);
    for (int i = 0; i < 4; i++) {
      double expected = dtype == PINION_DTYPE_bf16 && i == 3 ? 65536 : eval_get(&tensor, i);
      assert_true(eval_get(&back, i) == expected);
    }
    eval_tensor_to_bytes(&back, again + 1);
    assert_memory_equal(bytes + 1, again + 1, type_bytes(&type));
    eval_free(&tensor);
    eval_free(&back);
  }
}

static void bytes_of_negative_integers_are_sign_extended(void **state) {
  (void)state;
  const int8_t bytes[] = {-1, -128};
  tensor_type type = {.dtype = PINION_DTYPE_i8, .rank = 1, .dims = {2}};
  eval_tensor tensor;
  assert_int_equal(eval_tensor_from_bytes(&type, bytes, EVAL_AS_TYPED, &tensor), STATUS_OK);
  assert_true(tensor.i64[0] == -1 && tensor.i64[1] == -128);
  eval_free(&tensor);
  type.dtype = PINION_DTYPE_u8;
  assert_int_equal(eval_tensor_from_bytes(&type, bytes, EVAL_AS_TYPED, &tensor), STATUS_OK);
  assert_true(tensor.i64[0] == 255 && tensor.i64[1] == 128);
  eval_free(&tensor);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ir_test_begin, ir_test_end)
      TEST(functions_call_functions),
      TEST(recursion_is_a_diagnostic),
      TEST(a_value_may_be_returned_twice_and_an_argument_too),
      TEST(steps_call_the_callee_with_each_row),
      TEST(steps_of_a_missing_or_unfit_callee_are_a_diagnostic),
      TEST(one_op_evaluates_without_its_function),
      TEST(an_observer_sees_every_op_in_callees_too_and_can_stop),
      TEST(weights_are_read_from_the_store),
      TEST(what_depends_on_constants_alone_is_constant),
      TEST(long_chains_of_constants_are_evaluated),
      TEST(tensors_survive_the_way_through_bytes),
      TEST(bytes_of_negative_integers_are_sign_extended),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
