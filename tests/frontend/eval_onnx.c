/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Imports models and evaluates them with the reference interpreter, for tests/frontend/test_import.py.
 *
 *   eval_onnx DIR...
 *   eval_onnx --ops      prints the import table
 *
 * Each DIR holds model.onnx and input_0.pb, input_1.pb, ..; into it go output_0.bin, .. (row-major, the type's storage)
 * and result.txt: the import's exit status, the diagnostics, and a line `output NAME TYPE DIMS..` for each output.
 */
#include "frontend/frontend.h"
#include "ir/eval.h"

#include <stdlib.h>
#include <string.h>

static status read_inputs(compilation *c, const char *folder, int count, eval_tensor *out_inputs,
                          const tensor_type *types) {
  for (int i = 0; i < count; ++i) {
    tensor_type type;
    const char *name;
    const void *data;
    status result = onnx_read_tensor(c, arena_format(c->arena, "%s/input_%d.pb", folder, i), &type, &name, &data);
    if (result != STATUS_OK) return result;
    if (!type_equal(&type, &types[i]))
      return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "input %d has another type", i);
    result = eval_tensor_from_bytes(&type, data, EVAL_AS_TYPED, &out_inputs[i]);
    if (result != STATUS_OK) return result;
  }
  return STATUS_OK;
}

static void write_output(compilation *c, const char *folder, int index, const eval_tensor *output, FILE *report) {
  size_t bytes = (size_t)type_bytes(&output->type);
  void *data = arena_alloc(c->arena, bytes + 1);
  eval_tensor_to_bytes(output, data);
  file_write(&c->diagnostics, arena_format(c->arena, "%s/output_%d.bin", folder, index), data, bytes);
  fprintf(report, "output %d %s", index, dtype_name(output->type.dtype));
  for (int d = 0; d < output->type.rank; ++d) fprintf(report, " %lld", (long long)output->type.dims[d]);
  fputc('\n', report);
}

static status evaluate(compilation *c, MlirModule module, const char *folder, FILE *report) {
  MlirBlock body = function_body(module_function(module, "main"));
  int input_count = (int)mlirBlockGetNumArguments(body);
  int output_count = (int)mlirOperationGetNumOperands(block_terminator(body));
  eval_tensor *inputs = arena_alloc(c->arena, (size_t)(input_count + 1) * sizeof *inputs);
  eval_tensor *outputs = arena_alloc(c->arena, (size_t)(output_count + 1) * sizeof *outputs);
  tensor_type *types = arena_alloc(c->arena, (size_t)(input_count + 1) * sizeof *types);
  for (int i = 0; i < input_count; ++i) value_type(mlirBlockGetArgument(body, i), &types[i]);
  status result = read_inputs(c, folder, input_count, inputs, types);
  if (result == STATUS_OK) result = eval_function(c, module, "main", inputs, EVAL_AS_TYPED, NULL, NULL, outputs);
  for (int i = 0; result == STATUS_OK && i < output_count; ++i) {
    write_output(c, folder, i, &outputs[i], report);
    eval_free(&outputs[i]);
  }
  for (int i = 0; i < input_count; ++i) eval_free(&inputs[i]);
  return result;
}

static void run(const char *folder) {
  compilation c;
  MlirModule module = {NULL};
  if (compilation_create(&c) != STATUS_OK) exit(1);
  FILE *report = fopen(arena_format(c.arena, "%s/result.txt", folder), "w");
  if (!report) exit(1);
  c.diagnostics.stream = report;
  status result = onnx_import(&c, arena_format(c.arena, "%s/model.onnx", folder), NULL, &module);
  if (result == STATUS_OK) result = module_verify(&c, module, LEVELS_FUSED);
  if (result == STATUS_OK) result = evaluate(&c, module, folder, report);
  fprintf(report, "status %d\n", result);
  fclose(report);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  compilation_destroy(&c);
}

static void print_ops(void) {
  text ops = {0};
  onnx_list_ops(&ops);
  fwrite(ops.data, 1, ops.length, stdout);
  text_free(&ops);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--ops") == 0) {
    print_ops();
    return 0;
  }
  for (int i = 1; i < argc; ++i) run(argv[i]);
  return 0;
}
