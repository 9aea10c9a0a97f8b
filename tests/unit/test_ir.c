/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The dialect over MLIR: building, reading, printing, parsing, verifying. */
#include "ir/dialect.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <mlir-c/Dialect/IRDL.h>

typedef struct ir_fixture {
  compilation c;
  char *messages;
  size_t length;
  char folder[64];
} ir_fixture;

static int set_up(void **state) {
  ir_fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/pinion-test-XXXXXX");
  if (!mkdtemp(f->folder) || compilation_create(&f->c) != STATUS_OK) return -1;
  f->c.diagnostics.stream = open_memstream(&f->messages, &f->length);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  ir_fixture *f = *state;
  FILE *stream = f->c.diagnostics.stream;
  compilation_destroy(&f->c);
  fclose(stream);
  free(f->messages);
  folder_remove(f->folder);
  free(f);
  return 0;
}

static const char *said(ir_fixture *f) {
  fflush(f->c.diagnostics.stream);
  return f->messages;
}

/* Writes IR text to a file of the test's folder and parses it. */
static status parse_text(ir_fixture *f, const char *source, MlirModule *out_module) {
  char *path = path_join(f->c.arena, f->folder, "test.mlir");
  assert_int_equal(file_write(&f->c.diagnostics, path, source, strlen(source)), STATUS_OK);
  return module_parse(&f->c, path, out_module);
}

static MlirModule parse(ir_fixture *f, const char *source) {
  MlirModule module;
  if (parse_text(f, source, &module) != STATUS_OK) fail_msg("%s", said(f));
  return module;
}

static char *print(ir_fixture *f, MlirModule module) {
  char *printed = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&printed, &length);
  assert_int_equal(module_print(&f->c, module, stream, f->folder), STATUS_OK);
  fclose(stream);
  return printed;
}

static const char two_ops[] =
    "func.func @main(%x: tensor<2x3xf32>, %w: tensor<3x4xf32>) -> tensor<2x4xf32> {\n"
    "  %0 = \"pinion.matmul\"(%x, %w) : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32> loc(\"mm@a.b\")\n"
    "  %1 = \"pinion.unary\"(%0) {kind = \"tanh\"} : (tensor<2x4xf32>) -> tensor<2x4xf32>\n"
    "  return %1 : tensor<2x4xf32>\n}\n";

static void a_dump_parses_back_to_the_same_text(void **state) {
  ir_fixture *f = *state;
  MlirModule first = parse(f, two_ops);
  char *printed = print(f, first);
  MlirModule second = parse(f, printed);
  char *again = print(f, second);
  assert_string_equal(printed, again);
  assert_non_null(strstr(printed, "mm@a.b"));
  assert_int_equal(module_verify(&f->c, second, LEVELS_CORE), STATUS_OK);
  mlirModuleDestroy(first);
  mlirModuleDestroy(second);
  free(printed);
  free(again);
}

static void the_verifier_holds_each_op_against_its_rule(void **state) {
  ir_fixture *f = *state;
  static const struct {
    const char *source, *complaint;
  } cases[] = {
      {"func.func @main(%x: tensor<2x3xf32>, %w: tensor<5x4xf32>) -> tensor<2x4xf32> {\n"
       "  %0 = \"pinion.matmul\"(%x, %w) : (tensor<2x3xf32>, tensor<5x4xf32>) -> tensor<2x4xf32> loc(\"bad\")\n"
       "  return %0 : tensor<2x4xf32>\n}\n",
       "node 'bad' (pinion.matmul)"},
      {"func.func @main(%x: tensor<2x3xf32>) -> tensor<2x4xf32> {\n"
       "  %0 = \"pinion.unary\"(%x) {kind = \"tanh\"} : (tensor<2x3xf32>) -> tensor<2x4xf32>\n"
       "  return %0 : tensor<2x4xf32>\n}\n",
       "pinion.unary"},
      {"func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {\n"
       "  %0 = \"pinion.softmax\"(%x) {axis = \"one\"} : (tensor<2x3xf32>) -> tensor<2x3xf32>\n"
       "  return %0 : tensor<2x3xf32>\n}\n",
       "attribute 'axis' must be of kind i64"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    MlirModule module = parse(f, cases[i].source);
    assert_int_equal(module_verify(&f->c, module, LEVELS_CORE), STATUS_FAILED);
    if (!strstr(said(f), cases[i].complaint)) fail_msg("'%s' is missing in: %s", cases[i].complaint, said(f));
    mlirModuleDestroy(module);
  }
}

static void an_op_of_another_level_is_refused(void **state) {
  ir_fixture *f = *state;
  MlirModule module = parse(f, two_ops);
  assert_int_equal(module_verify(&f->c, module, LEVELS_LAUNCH), STATUS_FAILED);
  assert_non_null(strstr(said(f), "no op of this level"));
  mlirModuleDestroy(module);
}

static void text_that_is_no_ir_is_a_diagnostic(void **state) {
  ir_fixture *f = *state;
  MlirModule module;
  assert_int_equal(parse_text(f, "func.func @main( {", &module), STATUS_BAD_INPUT);
  assert_int_equal(parse_text(f, "", &module), STATUS_OK); /* an empty file is an empty module to MLIR */
  mlirModuleDestroy(module);
  assert_int_equal(parse_text(f, "\"pinion.nonesuch\"() : () -> ()", &module), STATUS_BAD_INPUT);
  assert_int_equal(parse_text(f, "%0 = \"pinion.unary\"() {kind = \"neg\"} : () -> tensor<1xf32>", &module),
                   STATUS_BAD_INPUT);
}

/* An empty module with a builder at its end: ops need no function to be built and read. */
static builder module_builder(ir_fixture *f, MlirModule *out_module) {
  MlirLocation location = mlirLocationNameGet(f->c.context, mlirStringRefCreateFromCString("node_1@layers.0"),
                                              mlirLocationUnknownGet(f->c.context));
  *out_module = mlirModuleCreateEmpty(location);
  return (builder){.compilation = &f->c, .block = mlirModuleGetBody(*out_module), .location = location};
}

static void constants_of_every_type_keep_their_bytes(void **state) {
  ir_fixture *f = *state;
  MlirModule module;
  builder b = module_builder(f, &module);
  uint8_t bytes[48];
  for (int dtype = 0; dtype < PINION_DTYPE_COUNT; dtype++) {
    for (int i = 0; i < 48; i++) bytes[i] = (uint8_t)(dtype == PINION_DTYPE_bool ? i % 2 : 37 * i + dtype);
    tensor_type type = {.dtype = (pinion_dtype)dtype, .rank = 2, .dims = {2, 3}};
    MlirValue value = build_constant(&b, &type, bytes);
    tensor_type read;
    assert_true(value_type(value, &read) && type_equal(&read, &type));
    assert_true(value_is_constant(value));
    assert_memory_equal(constant_bytes(&f->c, value_definition(value)), bytes, (size_t)type_bytes(&type));
  }
  mlirModuleDestroy(module);
}

static void a_splat_and_a_scalar_expand(void **state) {
  ir_fixture *f = *state;
  MlirModule module = parse(f, "%0 = \"pinion.constant\"() {value = dense<1.5> : tensor<4xf32>} : () -> tensor<4xf32>\n"
                               "%1 = \"pinion.constant\"() {value = dense<true> : tensor<3xi1>} : () -> tensor<3xi1>\n"
                               "%2 = \"pinion.constant\"() {value = dense<7> : tensor<i64>} : () -> tensor<i64>\n");
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  const float floats[] = {1.5f, 1.5f, 1.5f, 1.5f};
  assert_memory_equal(constant_bytes(&f->c, op), floats, sizeof floats);
  op = mlirOperationGetNextInBlock(op);
  assert_memory_equal(constant_bytes(&f->c, op), "\1\1\1", 3);
  op = mlirOperationGetNextInBlock(op);
  assert_int_equal(*(const int64_t *)constant_bytes(&f->c, op), 7);
  mlirModuleDestroy(module);
}

static void a_large_constant_becomes_a_blob_beside_the_dump(void **state) {
  ir_fixture *f = *state;
  MlirModule module;
  builder b = module_builder(f, &module);
  float *values = calloc(1000, sizeof *values);
  for (int i = 0; i < 1000; i++) values[i] = (float)i;
  tensor_type type = {.dtype = PINION_DTYPE_f32, .rank = 1, .dims = {1000}};
  MlirValue value = build_constant(&b, &type, values);
  assert_false(value_is_constant(value));
  char *printed = print(f, module);
  weight_store_destroy(f->c.weights); /* what comes back must come from the file */
  f->c.weights = weight_store_create();
  MlirModule again = parse(f, printed);
  assert_memory_equal(constant_bytes(&f->c, mlirBlockGetFirstOperation(mlirModuleGetBody(again))), values, 4000);
  mlirModuleDestroy(module);
  mlirModuleDestroy(again);
  free(printed);
  free(values);
}

static void operands_are_found_by_name_also_around_absent_ones(void **state) {
  ir_fixture *f = *state;
  MlirModule module;
  builder b = module_builder(f, &module);
  const float zeros[16] = {0};
  tensor_type x_type = {.dtype = PINION_DTYPE_f32, .rank = 2, .dims = {2, 3}},
              row = {.dtype = PINION_DTYPE_f32, .rank = 1, .dims = {3}};
  MlirValue x = build_constant(&b, &x_type, zeros), bias = build_constant(&b, &row, zeros);
  MlirValue operands[] = {x, {NULL}, bias}; /* norm: x scale? bias? */
  MlirNamedAttribute attributes[] = {make_named(f->c.context, "kind", make_str(f->c.context, "rms")),
                                     make_named(f->c.context, "axis", make_i64(f->c.context, 1)),
                                     make_named(f->c.context, "epsilon", make_f64(f->c.context, 1e-6))};
  MlirOperation norm = build_op(&b, OP_norm, 3, operands, 3, attributes, 0, NULL);
  assert_false(mlirOperationIsNull(norm));
  assert_true(mlirValueIsNull(op_operand(norm, "scale")));
  assert_true(mlirValueEqual(op_operand(norm, "bias"), bias));
  assert_true(attr_str_is(norm, "kind", "rms"));
  assert_int_equal(attr_i64(norm, "axis", -1), 1);
  assert_true(attr_f64(norm, "epsilon", 0) == 1e-6);
  assert_int_equal(module_verify(&f->c, module, LEVELS_FUSED), STATUS_OK);
  mlirModuleDestroy(module);
}

static void a_refused_op_names_the_onnx_node(void **state) {
  ir_fixture *f = *state;
  MlirModule module;
  builder b = module_builder(f, &module);
  const float zeros[6] = {0};
  tensor_type type = {.dtype = PINION_DTYPE_f32, .rank = 2, .dims = {2, 3}};
  MlirValue x = build_constant(&b, &type, zeros);
  assert_true(mlirValueIsNull(build_matmul(&b, x, x)));
  assert_non_null(strstr(said(f), "node 'node_1@layers.0' (pinion.matmul)"));
  mlirModuleDestroy(module);
}

static void every_op_is_in_the_generated_texts(void **state) {
  (void)state;
  text irdl = dialect_irdl(), markdown = dialect_markdown();
  for (int kind = 0; kind < OP_COUNT; kind++) {
    char line[64];
    snprintf(line, sizeof line, "irdl.operation @%s {", op_info_of((op_kind)kind)->short_name);
    assert_non_null(strstr(irdl.data, line));
    snprintf(line, sizeof line, "### `%s`", op_name((op_kind)kind));
    assert_non_null(strstr(markdown.data, line));
  }
  text_free(&irdl);
  text_free(&markdown);
}

static void the_irdl_definition_loads_into_mlir(void **state) {
  (void)state;
  MlirContext context = mlirContextCreate();
  mlirDialectHandleRegisterDialect(mlirGetDialectHandle__irdl__(), context);
  mlirDialectHandleLoadDialect(mlirGetDialectHandle__irdl__(), context);
  text irdl = dialect_irdl();
  MlirModule module = mlirModuleCreateParse(context, mlirStringRefCreate(irdl.data, irdl.length));
  assert_false(mlirModuleIsNull(module));
  assert_true(mlirLogicalResultIsSuccess(mlirLoadIRDLDialects(module)));
  text_free(&irdl);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_irdl_definition_loads_into_mlir),
      cmocka_unit_test_setup_teardown(a_dump_parses_back_to_the_same_text, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_verifier_holds_each_op_against_its_rule, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_op_of_another_level_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(text_that_is_no_ir_is_a_diagnostic, set_up, tear_down),
      cmocka_unit_test_setup_teardown(constants_of_every_type_keep_their_bytes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_splat_and_a_scalar_expand, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_large_constant_becomes_a_blob_beside_the_dump, set_up, tear_down),
      cmocka_unit_test_setup_teardown(operands_are_found_by_name_also_around_absent_ones, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_refused_op_names_the_onnx_node, set_up, tear_down),
      cmocka_unit_test(every_op_is_in_the_generated_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
