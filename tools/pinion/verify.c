/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"
#include "flags.h"
#include "survivors.h"

#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct verify_options {
  const char *model, *inputs, *precision;
  int64_t seed, memory;
  artifact_flags artifact;
  bool outputs_only;
  tolerance limits;
} verify_options;

static bool find_precision(const char *name, eval_precision *out) {
  static const char *const names[] = {"as-typed", "float32", "float64"};
  static const eval_precision values[] = {EVAL_AS_TYPED, EVAL_FLOAT32, EVAL_FLOAT64};
  for (int i = 0; i < 3; i++)
    if (!strcmp(name, names[i])) return *out = values[i], true;
  fprintf(stderr, "pinion verify: --precision takes as-typed, float32 or float64, not '%s'\n", name);
  return false;
}

/* ---- The model in the reference interpreter ---- */

/* The artifact's shapes close what the model leaves open. */
static import_options shapes_of(arena *memory, const pinion_model_desc *desc) {
  input_shape *shapes = arena_alloc(memory, (desc->input_count + 1) * sizeof *shapes);
  for (uint32_t i = 0; i < desc->input_count; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[desc->inputs[i]];
    shapes[i] = (input_shape){.name = buffer->name, .rank = buffer->rank};
    memcpy(shapes[i].dims, buffer->dims, sizeof shapes[i].dims);
  }
  return (import_options){.shapes = shapes, .shape_count = (int)desc->input_count, .given_by = "the artifact"};
}

static const char *listed_name(arena *memory, MlirOperation function, const char *list, intptr_t index) {
  MlirAttribute names = mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString(list));
  if (mlirAttributeIsNull(names) || !mlirAttributeIsAArray(names) || index >= mlirArrayAttrGetNumElements(names))
    return "";
  MlirStringRef name = mlirStringAttrGetValue(mlirArrayAttrGetElement(names, index));
  return arena_string(memory, name.data, name.length);
}

/* The graph's argument from the artifact's input of its name; zeros for one that the artifact does not have: it reached
   no output. */
static status make_argument(compilation *c, const artifact *a, const tensor_list *inputs, const char *name,
                            MlirValue argument, eval_precision precision, eval_tensor *out) {
  tensor_type type;
  int32_t index = a->api.input_index(a->model, name);
  tensor zeros;
  if (!value_type(argument, &type))
    return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "input '%s' has no static shape", name);
  if (index < 0) {
    status result = tensor_create(&c->diagnostics, name, &type, &zeros);
    if (result == STATUS_OK) result = eval_tensor_from_bytes(&type, zeros.data, precision, out);
    tensor_free(&zeros);
    return result;
  }
  if (!type_equal(&type, &inputs->tensors[index].type))
    return diagnose(&c->diagnostics, STATUS_MISMATCH, NULL, NULL,
                    "input '%s' has another type or shape in the artifact: it is of another model", name);
  return eval_tensor_from_bytes(&type, inputs->tensors[index].data, precision, out);
}

/* Puts the graph's results where the artifact has outputs of their names. */
static status take_results(compilation *c, const artifact *a, MlirOperation function, intptr_t count,
                           const eval_tensor *results, tensor_list *references) {
  status result = STATUS_OK;
  for (intptr_t i = 0; i < count && result == STATUS_OK; i++) {
    const char *name = listed_name(c->arena, function, "pinion.outputs", i);
    int32_t index = a->api.output_index(a->model, name);
    if (index < 0)
      return diagnose(&c->diagnostics, STATUS_MISMATCH, NULL, NULL,
                      "the artifact has no output '%s': it is of another model", name);
    tensor_free(&references->tensors[index]);
    result = tensor_from_eval(&c->diagnostics, name, &results[i], &references->tensors[index]);
  }
  for (uint32_t i = 0; i < references->count && result == STATUS_OK; i++) {
    tensor_type expected = buffer_type(&a->desc->buffers[a->desc->outputs[i]]), found = references->tensors[i].type;
    found.dtype = expected.dtype;
    if (!type_equal(&found, &expected))
      result = diagnose(&c->diagnostics, STATUS_MISMATCH, NULL, NULL, "output '%s' has another shape in the artifact",
                        a->desc->buffers[a->desc->outputs[i]].name);
  }
  return result;
}

/* What looks on while the interpreter works: it compares, and on a terminal it shows that something happens. */
typedef struct watcher {
  survivor_list *survivors; /* NULL: outputs only */
  bool terminal;
  long ops;
  double shown; /* when, in microseconds */
} watcher;

static bool watch(void *user, MlirOperation op, const eval_tensor *results, int result_count) {
  watcher *w = user;
  double now = w->terminal ? pinion_now_us() : 0;
  w->ops++;
  if (w->terminal && now - w->shown > 200000) {
    fprintf(stderr, "\rverify: %ld ops evaluated", w->ops);
    w->shown = now;
  }
  return !w->survivors || survivors_observe(w->survivors, op, results, result_count);
}

static status evaluate(compilation *c, const artifact *a, MlirModule module, eval_precision precision,
                       const tensor_list *inputs, survivor_list *survivors, tensor_list *references) {
  MlirOperation function = module_function(module, "main");
  MlirBlock body = function_body(function);
  intptr_t argument_count = mlirBlockGetNumArguments(body);
  intptr_t result_count = mlirOperationGetNumOperands(block_terminator(body));
  eval_tensor *arguments = arena_alloc(c->arena, (size_t)(argument_count + 1) * sizeof *arguments);
  eval_tensor *results = arena_alloc(c->arena, (size_t)(result_count + 1) * sizeof *results);
  watcher w = {.survivors = survivors, .terminal = isatty(STDERR_FILENO)};
  status result = STATUS_OK;
  for (intptr_t i = 0; i < argument_count && result == STATUS_OK; i++)
    result = make_argument(c, a, inputs, listed_name(c->arena, function, "pinion.inputs", i),
                           mlirBlockGetArgument(body, i), precision, &arguments[i]);
  if (result == STATUS_OK) result = eval_function(c, module, "main", arguments, precision, watch, &w, results);
  if (w.shown > 0) fprintf(stderr, "\r%40s\r", "");
  if (result == STATUS_OK) result = take_results(c, a, function, result_count, results, references);
  for (intptr_t i = 0; i < argument_count; i++) eval_free(&arguments[i]);
  for (intptr_t i = 0; i < result_count; i++) eval_free(&results[i]);
  return result;
}

/* ---- The comparison ---- */

static status verify_with(compilation *c, artifact *a, const verify_options *o, eval_precision precision,
                          MlirModule module, const tensor_list *inputs, tensor_list *outputs, tensor_list *references) {
  diagnostics *d = &c->diagnostics;
  survivor_list survivors = {0};
  const char *manifest_path = path_join(c->arena, a->folder, "manifest.json");
  json manifest = {.kind = JSON_NULL};
  status result = artifact_run(d, a, inputs, outputs);
  if (result == STATUS_OK && !o->outputs_only && file_exists(manifest_path))
    result = json_read(d, c->arena, manifest_path, &manifest);
  if (result == STATUS_OK && !o->outputs_only)
    result = survivors_read(d, c->arena, a, &manifest, (uint64_t)o->memory << 20, &survivors);
  if (result == STATUS_OK)
    result = evaluate(c, a, module, precision, inputs, o->outputs_only ? NULL : &survivors, references);
  if (result == STATUS_OK) {
    printf("against the reference interpreter in %s:\n", o->precision);
    result = compare_outputs(a->desc, inputs, outputs, references, &o->limits);
    double limit = o->limits.relative_l2 < 0 ? default_tolerance(a->desc) : o->limits.relative_l2;
    if (!o->outputs_only) survivors_print(a, &survivors, limit);
  }
  survivors_free(&survivors);
  return result;
}

static status verify_artifact(compilation *c, artifact *a, const verify_options *o, eval_precision precision) {
  const pinion_options runtime = artifact_options(&o->artifact);
  diagnostics *d = &c->diagnostics;
  tensor_list inputs = {0}, outputs = {0}, references = {0};
  MlirModule module = {NULL};
  status result = artifact_open(d, a, &runtime);
  if (result) return result;
  artifact_print_conditions(a, &runtime, stdout);
  const import_options shapes = shapes_of(c->arena, a->desc);
  result = onnx_import(c, o->model, &shapes, &module);
  if (result == STATUS_USAGE) /* the shapes do not fit */
    result = diagnose(d, STATUS_MISMATCH, NULL, NULL,
                      "it does not take the inputs of '%s': the artifact is of another model", a->folder);
  if (result == STATUS_OK && o->inputs) result = tensor_list_read(d, a->desc, false, o->inputs, &inputs);
  if (result == STATUS_OK && !o->inputs) result = tensor_list_random(d, a->desc, (uint64_t)o->seed, &inputs);
  if (result == STATUS_OK) result = tensor_list_outputs(d, a->desc, &outputs);
  if (result == STATUS_OK) result = tensor_list_outputs(d, a->desc, &references);
  if (result == STATUS_OK) result = verify_with(c, a, o, precision, module, &inputs, &outputs, &references);
  tensor_list_free(&inputs);
  tensor_list_free(&outputs);
  tensor_list_free(&references);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  return result;
}

int command_verify(int argc, char **argv) {
  verify_options o = {.precision = "float64", .memory = 4096, .limits = {-1, -1, -1}};
  const char *words[2];
  const flag flags[] = {
      FLAG("inputs", FLAG_STRING, &o.inputs, "FOLDER", "as for `pinion run` (seeded random inputs)"),
      FLAG("seed", FLAG_INTEGER, &o.seed, "N", "of random inputs (0)"),
      FLAG("precision", FLAG_STRING, &o.precision, "P", "of the interpreter: as-typed, float32 or float64 (float64)"),
      FLAG("outputs-only", FLAG_SWITCH, &o.outputs_only, NULL, "does not look at tensors inside the model"),
      FLAG("memory", FLAG_INTEGER, &o.memory, "MIB", "most memory for tensors inside the model (4096)"),
      FLAG("tolerance", FLAG_NUMBER, &o.limits.relative_l2, "X", TOLERANCE_HELP),
      FLAG("rtol", FLAG_NUMBER, &o.limits.rtol, "X", "element by element as well: |x - y| <= atol + rtol |y|"),
      FLAG("atol", FLAG_NUMBER, &o.limits.atol, "X", "the same"),
      ARTIFACT_FLAGS(&o.artifact),
  };
  const command_syntax syntax = {
      "verify",
      "MODEL.onnx DIR",
      "Compares an artifact with the reference interpreter's evaluation of its model.",
      flags,
      FLAG_COUNT(flags),
      2,
      2,
      "The outputs decide: exit status 5 beyond the tolerance (of output minus noise, for a diffusion policy). Tensors "
      "inside\n"
      "the model are compared by the name of their ONNX node, in the first step of a repeated stage, and listed."};
  int exit_status;
  eval_precision precision;
  if (!flags_parse(&syntax, argc, argv, words, &exit_status)) return exit_status;
  if (!find_precision(o.precision, &precision)) return STATUS_USAGE;
  o.model = words[0];
  compilation c;
  artifact a = {0};
  status result = compilation_create(&c);
  c.diagnostics.file = words[1];
  if (result == STATUS_OK) result = check_folder(&c.diagnostics, o.inputs);
  if (result == STATUS_OK) result = artifact_load(&c.diagnostics, words[1], &a);
  if (result == STATUS_OK) result = verify_artifact(&c, &a, &o, precision);
  artifact_close(&a);
  compilation_destroy(&c);
  return result;
}
