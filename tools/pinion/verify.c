/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"
#include "bisect.h"
#include "flags.h"
#include "reference.h"
#include "survivors.h"

#include "ir/visible.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct verify_options {
  const char *model, *inputs, *precision;
  int64_t seed, memory;
  artifact_flags artifact;
  bool outputs_only, bisect;
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

/* One verification. */
typedef struct verification {
  compilation *compilation;
  const verify_options *options;
  eval_precision precision;
  artifact *artifact;
  json manifest; /* JSON_NULL without one */
  MlirModule module;
  tensor_list inputs, outputs, references; /* outputs: the artifact's */
  survivor_list survivors;
} verification;

/* ---- The model in the reference interpreter ---- */

/* What looks on while the interpreter works: it compares, and on a terminal it shows that something happens. */
typedef struct watcher {
  survivor_list *survivors; /* NULL, like the next: outputs only */
  visible_walk *visible;
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
  if (!w->survivors) return true;
  survivors_observe(w->survivors, op, results, result_count);
  visible_observe(w->visible, op, results, result_count);
  return true;
}

static status evaluate(verification *v) {
  watcher w = {.terminal = isatty(STDERR_FILENO)};
  if (!v->options->outputs_only) {
    w.survivors = &v->survivors;
    w.visible = visible_begin(v->module, "main");
  }
  status result = reference_evaluate(v->compilation, v->module, v->artifact->desc, &v->inputs, v->precision, watch, &w,
                                     &v->references);
  if (w.shown > 0) fprintf(stderr, "\r%40s\r", "");
  if (w.visible && result == STATUS_OK) visible_run(w.visible, survivors_see, w.survivors);
  visible_end(w.visible);
  return result;
}

/* ---- The comparison ---- */

static status bisect(verification *v, const tolerance *limits) {
  const bisect_request request = {.model = v->options->model,
                                  .artifact = v->artifact,
                                  .flags = v->options->artifact,
                                  .manifest = &v->manifest,
                                  .precision = v->precision,
                                  .inputs = &v->inputs,
                                  .references = &v->references,
                                  .limits = *limits};
  return bisect_passes(&v->compilation->diagnostics, v->compilation->arena, &request);
}

static status compare(verification *v) {
  const pinion_model_desc *desc = v->artifact->desc;
  tolerance limits = v->options->limits;
  if (limits.relative_l2 < 0) limits.relative_l2 = default_tolerance(desc);
  printf("against the reference interpreter in %s:\n", v->options->precision);
  const status result = compare_outputs(desc, &v->inputs, &v->outputs, &v->references, &limits);
  if (!v->options->outputs_only) survivors_compare(v->artifact, &v->survivors, limits.relative_l2);
  if (!v->options->bisect || result != STATUS_MISMATCH) return result;
  const status found = bisect(v, &limits);
  return found == STATUS_OK ? result : found;
}

/* Runs the artifact: all at once, and launch by launch for the tensors inside. */
static status run(verification *v) {
  diagnostics *d = &v->compilation->diagnostics;
  arena *memory = v->compilation->arena;
  status result = artifact_run(d, v->artifact, &v->inputs, &v->outputs);
  if (result == STATUS_OK && !v->options->outputs_only)
    result = survivors_read(d, memory, v->artifact, &v->manifest, (uint64_t)v->options->memory << 20, &v->survivors);
  return result;
}

static status read_manifest(verification *v) {
  const char *folder = v->artifact->folder;
  if (!file_exists(path_join(v->compilation->arena, folder, "manifest.json"))) return STATUS_OK;
  return manifest_read(&v->compilation->diagnostics, v->compilation->arena, folder, &v->manifest);
}

static status import_model(verification *v) {
  const status result =
      reference_import(v->compilation, v->options->model, v->artifact->desc, reference_batch(&v->manifest), &v->module);
  if (result != STATUS_USAGE) return result;
  return diagnose(&v->compilation->diagnostics, STATUS_MISMATCH, NULL, NULL,
                  "it does not take the inputs of '%s': the artifact is of another model", v->artifact->folder);
}

static status read_inputs(verification *v) {
  diagnostics *d = &v->compilation->diagnostics;
  const pinion_model_desc *desc = v->artifact->desc;
  const verify_options *o = v->options;
  status result = o->inputs ? tensor_list_read(d, desc, false, o->inputs, &v->inputs)
                            : tensor_list_random(d, desc, (uint64_t)o->seed, &v->inputs);
  if (result == STATUS_OK) result = tensor_list_outputs(d, desc, &v->outputs);
  return result == STATUS_OK ? tensor_list_outputs(d, desc, &v->references) : result;
}

static status verify(verification *v) {
  const pinion_options runtime = artifact_options(&v->options->artifact);
  status result = artifact_open(&v->compilation->diagnostics, v->artifact, &runtime);
  if (result) return result;
  artifact_print_conditions(v->artifact, &runtime, stdout);
  result = read_manifest(v);
  if (result == STATUS_OK) result = import_model(v);
  if (result == STATUS_OK) result = read_inputs(v);
  if (result == STATUS_OK) result = run(v);
  if (result == STATUS_OK) result = evaluate(v);
  if (result == STATUS_OK) result = compare(v);
  tensor_list_free(&v->inputs);
  tensor_list_free(&v->outputs);
  tensor_list_free(&v->references);
  survivors_free(&v->survivors);
  if (!mlirModuleIsNull(v->module)) mlirModuleDestroy(v->module);
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
      FLAG("bisect-passes", FLAG_SWITCH, &o.bisect, NULL,
           "beyond the tolerance: finds the rewrite, its pass and its op, that breaks the model"),
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
      "the model are compared where they survive in a buffer, but for what no output can see (the rows of padding), "
      "and "
      "listed,\n"
      "with the launch where the error first grows.\n"
      "--bisect-passes compiles the model again, with the flags of the artifact's manifest, and with fewer and fewer "
      "rewrites."};
  int exit_status;
  compilation c;
  artifact a = {0};
  verification v = {.compilation = &c, .options = &o, .artifact = &a};
  if (!flags_parse(&syntax, argc, argv, words, &exit_status)) return exit_status;
  if (!find_precision(o.precision, &v.precision)) return STATUS_USAGE;
  o.model = words[0];
  status result = compilation_create(&c);
  c.diagnostics.file = words[1];
  if (result == STATUS_OK) result = check_folder(&c.diagnostics, o.inputs);
  if (result == STATUS_OK) result = artifact_load(&c.diagnostics, words[1], &a);
  if (result == STATUS_OK) result = verify(&v);
  artifact_close(&a);
  compilation_destroy(&c);
  return result;
}
