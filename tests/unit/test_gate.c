/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The gate that optional passes ask before they rewrite: passes/gate.h. What --disable-pass does with it is shown in
   tests/passes/disable-pass.mlir. */
#include "ir_testing.h"

#include "passes/gate.h"

static const char source[] = "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
                             "  %0 = \"pinion.unary\"(%x) {kind = \"neg\"} : (tensor<2xf32>) -> tensor<2xf32> "
                             "loc(fused[\"/a.b/Neg@c.d\", \"onnx::Neg_1\"])\n"
                             "  return %0 : tensor<2xf32>\n"
                             "}\n";

static void a_place_is_found_between_borders_alone(void **state) {
  ir_test *t = *state;
  ir_test_parse(t, source);
  MlirOperation op = mlirBlockGetFirstOperation(function_body(module_function(t->module, "main")));
  MlirLocation location = mlirOperationGetLocation(op);
  static const char *const inside[] = {"a", "a.b", "b/Neg", "Neg", "/a.b/Neg", "c.d", "Neg@c", ".d", "onnx::Neg_1"};
  static const char *const outside[] = {"Ne", "b.c", "a/b", "d/", "Neg_1", "onnx", "a.b.", "e"};
  for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
    if (!location_lies_in(location, inside[i])) fail_msg("not found: %s", inside[i]);
  for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
    if (location_lies_in(location, outside[i])) fail_msg("found: %s", outside[i]);
  assert_false(location_lies_in(mlirLocationUnknownGet(t->c.context), "a"));
}

static void an_optional_pass_that_rewrites_without_asking_is_a_bug(void **state) {
  ir_test *t = *state;
  ir_test_parse(t, source);
  pipeline_options options = {.passes = ""};
  rewrite_gate gate;
  assert_int_equal(gate_open(&gate, &t->c, t->module, &options), STATUS_OK);
  assert_true(gate_begin(&gate, pass_find("fuse-qkv")));
  assert_int_equal(gate_end(&gate, 0), STATUS_OK);
  assert_true(gate_begin(&gate, pass_find("fold-constants")));
  assert_int_equal(gate_end(&gate, 1), STATUS_OK);
  pass_context context = {.compilation = &t->c, .gate = &gate};
  assert_true(gate_begin(&gate, pass_find("fuse-qkv")));
  assert_true(pass_may_rewrite(&context, mlirLocationUnknownGet(t->c.context)));
  assert_int_equal(gate_end(&gate, 1), STATUS_OK);
  assert_true(gate_begin(&gate, pass_find("fuse-qkv")));
  assert_int_equal(gate_end(&gate, 1), STATUS_FAILED);
  assert_non_null(strstr(ir_test_messages(t), "'fuse-qkv' rewrote the module without asking"));
}

static void a_limit_leaves_out_optional_passes_once_it_is_reached(void **state) {
  ir_test *t = *state;
  ir_test_parse(t, source);
  rewrite_limit limit = {.allowed = 1, .made = 7};
  pipeline_options options = {.passes = "", .limit = &limit};
  rewrite_gate gate;
  assert_int_equal(gate_open(&gate, &t->c, t->module, &options), STATUS_OK);
  pass_context context = {.compilation = &t->c, .gate = &gate};
  MlirLocation unknown = mlirLocationUnknownGet(t->c.context);
  assert_true(gate_begin(&gate, pass_find("fold-constants")));
  assert_true(pass_may_rewrite(&context, unknown));
  assert_int_equal(limit.made, 0); /* a required pass is not counted */
  assert_true(gate_begin(&gate, pass_find("fuse-qkv")));
  assert_true(pass_may_rewrite(&context, unknown));
  assert_false(pass_may_rewrite(&context, unknown));
  assert_false(gate_begin(&gate, pass_find("batch-vision")));
  assert_true(gate_begin(&gate, pass_find("fold-constants")));
  assert_int_equal(limit.made, 1);
  assert_string_equal(limit.pass, "fuse-qkv");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_place_is_found_between_borders_alone, ir_test_begin, ir_test_end),
      cmocka_unit_test_setup_teardown(an_optional_pass_that_rewrites_without_asking_is_a_bug, ir_test_begin,
                                      ir_test_end),
      cmocka_unit_test_setup_teardown(a_limit_leaves_out_optional_passes_once_it_is_reached, ir_test_begin,
                                      ir_test_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
