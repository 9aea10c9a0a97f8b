/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"
#include "compare.h"
#include "flags.h"

#define SHOWN_VALUES 8
#define TIMED_MS 500.0 /* how long the latency is looked at */
#define TIMED_MAXIMUM 50

typedef struct run_options {
  const char *inputs, *reference, *outputs;
  int64_t seed;
  artifact_flags artifact;
  tolerance limits;
} run_options;

static void print_output(const pinion_model_desc *desc, uint32_t index, const tensor *t) {
  char type[128];
  int64_t count = type_elements(&t->type), shown = count < SHOWN_VALUES ? count : SHOWN_VALUES;
  tensor_type_text(&t->type, type, sizeof type);
  printf("output %s %s:", desc->buffers[desc->outputs[index]].name, type);
  for (int64_t i = 0; i < shown; i++) printf(" %.6g", tensor_get(t, i));
  printf(count > shown ? " ...\n" : "\n");
}

/* A glance; `pinion bench` is what measures. A slow model is not run again for it. */
static status print_latency(diagnostics *d, const artifact *a, const tensor_list *inputs, tensor_list *outputs,
                            double first_us) {
  double samples[TIMED_MAXIMUM] = {first_us}, start = pinion_now_us();
  uint32_t count = 0;
  while (count < TIMED_MAXIMUM && first_us < TIMED_MS * 1000 && pinion_now_us() - start < TIMED_MS * 1000) {
    double before = pinion_now_us();
    status result = artifact_run(d, a, inputs, outputs);
    if (result) return result;
    samples[count++] = pinion_now_us() - before;
  }
  if (count == 0)
    printf("latency: %.3f ms, the first run with copies (`pinion bench` warms up, and shows more)\n", first_us / 1000);
  else
    printf("latency: %.3f ms, median of %u runs with copies (`pinion bench` warms up, and shows more)\n",
           pinion_quantiles_of(samples, count).p50 / 1000, count);
  return STATUS_OK;
}

/* `references`: NULL for none. */
static status run_once(diagnostics *d, const artifact *a, const run_options *options, const tensor_list *inputs,
                       tensor_list *outputs, const tensor_list *references) {
  status result = artifact_check(d, a, a->api.prepare(a->instance)), compared = STATUS_OK;
  double start = pinion_now_us();
  if (result == STATUS_OK) result = artifact_run(d, a, inputs, outputs);
  double first_us = pinion_now_us() - start;
  if (result) return result;
  for (uint32_t i = 0; i < outputs->count; i++) print_output(a->desc, i, &outputs->tensors[i]);
  if (options->outputs) result = tensor_list_write(d, a->desc, outputs, options->outputs);
  if (result == STATUS_OK && references)
    compared = compare_outputs(a->desc, inputs, outputs, references, &options->limits);
  if (result == STATUS_OK) result = print_latency(d, a, inputs, outputs, first_us);
  return result ? result : compared;
}

static status run_artifact(diagnostics *d, artifact *a, const run_options *options) {
  const pinion_options runtime = artifact_options(&options->artifact);
  tensor_list inputs = {0}, outputs = {0}, references = {0};
  status result = artifact_open(d, a, &runtime);
  if (result) return result;
  artifact_print_conditions(a, &runtime, stdout);
  if (options->inputs)
    result = tensor_list_read(d, a->desc, false, options->inputs, &inputs);
  else
    result = tensor_list_random(d, a->desc, (uint64_t)options->seed, &inputs);
  if (result == STATUS_OK) {
    printf(options->inputs ? "inputs from '%s'\n" : "seeded random inputs\n", options->inputs);
    result = tensor_list_outputs(d, a->desc, &outputs);
  }
  if (result == STATUS_OK && options->reference)
    result = tensor_list_read(d, a->desc, true, options->reference, &references);
  if (result == STATUS_OK) result = run_once(d, a, options, &inputs, &outputs, options->reference ? &references : NULL);
  tensor_list_free(&inputs);
  tensor_list_free(&outputs);
  tensor_list_free(&references);
  return result;
}

int command_run(int argc, char **argv) {
  run_options o = {.limits = {-1, -1, -1}};
  const char *folder;
  const flag flags[] = {
      FLAG("inputs", FLAG_STRING, &o.inputs, "FOLDER", "NAME.npy files or ONNX's input_0.pb .. (seeded random inputs)"),
      FLAG("reference", FLAG_STRING, &o.reference, "FOLDER", "outputs to compare with: NAME.npy or output_0.pb .."),
      FLAG("outputs", FLAG_STRING, &o.outputs, "FOLDER", "where to write the outputs as NAME.npy"),
      FLAG("seed", FLAG_INTEGER, &o.seed, "N", "of random inputs (0)"),
      ARTIFACT_FLAGS(&o.artifact),
      FLAG("tolerance", FLAG_NUMBER, &o.limits.relative_l2, "X", TOLERANCE_HELP),
      FLAG("rtol", FLAG_NUMBER, &o.limits.rtol, "X", "element by element as well: |x - y| <= atol + rtol |y|"),
      FLAG("atol", FLAG_NUMBER, &o.limits.atol, "X", "the same"),
  };
  const command_syntax syntax = {
      "run",
      "DIR",
      "Runs an artifact, and compares its outputs with a reference.",
      flags,
      FLAG_COUNT(flags),
      1,
      1,
      "Where an input has an output's type and shape (a diffusion policy's noise), errors are also those of output "
      "minus\n"
      "noise, and these decide. Exit status 5: beyond the tolerance; 6: wrong or missing device."};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &folder, &exit_status)) return exit_status;
  diagnostics d = {.file = folder};
  artifact a = {0};
  status result = check_folder(&d, o.inputs);
  if (result == STATUS_OK) result = check_folder(&d, o.reference);
  if (result == STATUS_OK) result = artifact_load(&d, folder, &a);
  if (result == STATUS_OK) result = run_artifact(&d, &a, &o);
  artifact_close(&a);
  return result;
}
