/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Imports a model, runs passes on it, and evaluates it with the reference interpreter, for tests/ir/check_fixture.py.
 *
 *   eval_model MODEL.onnx PASSES CASES OUT SEED...
 *
 * PASSES are comma-separated names, "none", or "default": the default pipeline up to the launch level. Reads
 * CASES/SEED/inputs/NAME.npy; writes the only output's elements, as float64, to OUT/SEED.as_typed, OUT/SEED.float32 and
 * OUT/SEED.float64.
 */
#include "frontend/frontend.h"
#include "ir/eval.h"
#include "passes/pass.h"
#include "tools/pinion/npy.h"

#include <stdlib.h>
#include <string.h>

typedef struct runner {
  compilation c;
  MlirModule module;
  int input_count;
  const char **names; /* of @main's arguments */
  const char *cases, *out;
} runner;

static void read_names(runner *r) {
  MlirOperation function = module_function(r->module, "main");
  MlirAttribute names = mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString("pinion.inputs"));
  r->input_count = (int)mlirArrayAttrGetNumElements(names);
  r->names = arena_alloc(r->c.arena, (size_t)(r->input_count + 1) * sizeof *r->names);
  for (int i = 0; i < r->input_count; i++) {
    MlirStringRef name = mlirStringAttrGetValue(mlirArrayAttrGetElement(names, i));
    r->names[i] = arena_string(r->c.arena, name.data, name.length);
  }
}

static status read_inputs(runner *r, const char *seed, eval_precision precision, eval_tensor *out_inputs) {
  for (int i = 0; i < r->input_count; i++) {
    tensor file;
    const char *path = arena_format(r->c.arena, "%s/%s/inputs/%s.npy", r->cases, seed, r->names[i]);
    status result = npy_read(&r->c.diagnostics, path, &file);
    if (result == STATUS_OK) result = eval_tensor_from_bytes(&file.type, file.data, precision, &out_inputs[i]);
    tensor_free(&file);
    if (result != STATUS_OK) return result;
  }
  return STATUS_OK;
}

static status write_output(runner *r, const eval_tensor *output, const char *seed, const char *precision) {
  int64_t count = type_elements(&output->type);
  double *values = arena_alloc(r->c.arena, (size_t)count * sizeof *values);
  for (int64_t i = 0; i < count; i++) values[i] = eval_get(output, i);
  return file_write(&r->c.diagnostics, arena_format(r->c.arena, "%s/%s.%s", r->out, seed, precision), values,
                    (size_t)count * sizeof *values);
}

static status run_case(runner *r, const char *seed) {
  static const char *const names[] = {"as_typed", "float32", "float64"};
  static const eval_precision precisions[] = {EVAL_AS_TYPED, EVAL_FLOAT32, EVAL_FLOAT64};
  status result = STATUS_OK;
  for (int i = 0; i < 3 && result == STATUS_OK; i++) {
    eval_tensor *inputs = calloc((size_t)r->input_count + 1, sizeof *inputs), output;
    result = read_inputs(r, seed, precisions[i], inputs);
    if (result == STATUS_OK)
      result = eval_function(&r->c, r->module, "main", inputs, precisions[i], NULL, NULL, &output);
    if (result == STATUS_OK) {
      result = write_output(r, &output, seed, names[i]);
      eval_free(&output);
    }
    for (int k = 0; k < r->input_count; k++) eval_free(&inputs[k]);
    free(inputs);
  }
  return result;
}

int main(int argc, char **argv) {
  if (argc < 6) return STATUS_USAGE;
  runner r = {.cases = argv[3], .out = argv[4]};
  status result = compilation_create(&r.c);
  pipeline_options pipeline = {.passes = strcmp(argv[2], "default") ? argv[2] : pipeline_before_launches(r.c.arena)};
  if (result == STATUS_OK) result = onnx_import(&r.c, argv[1], NULL, &r.module);
  if (result == STATUS_OK && strcmp(argv[2], "none") != 0) result = pipeline_run(&r.c, r.module, &pipeline);
  if (result == STATUS_OK) result = module_verify(&r.c, r.module, LEVELS_FUSED);
  if (result == STATUS_OK) result = folder_create(&r.c.diagnostics, r.out);
  if (result == STATUS_OK) read_names(&r);
  for (int i = 5; i < argc && result == STATUS_OK; i++) result = run_case(&r, argv[i]);
  if (!mlirModuleIsNull(r.module)) mlirModuleDestroy(r.module);
  compilation_destroy(&r.c);
  return result;
}
