/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"
#include "flags.h"
#include "inputs.h"
#include "json.h"

typedef struct bench_flags {
  const char *inputs, *save, *compare;
  int64_t iterations, seed;
  artifact_flags artifact;
  double warm_up, allow;
  json baseline; /* of `compare` */
} bench_flags;

/* The figures, once for printing, saving and comparing. */
static const struct {
  const char *key, *title;
  size_t offset;
} figures[] = {
    {"replay_us", "replay (device)", offsetof(pinion_bench_result, replay)},
    {"run_us", "run (wall)", offsetof(pinion_bench_result, run)},
    {"copy_in_us", "copies in", offsetof(pinion_bench_result, copy_in)},
    {"copy_out_us", "copies out", offsetof(pinion_bench_result, copy_out)},
    {"end_to_end_us", "end to end (wall)", offsetof(pinion_bench_result, end_to_end)},
};
enum { FIGURE_COUNT = sizeof figures / sizeof figures[0] };

static const pinion_quantiles *figure(const pinion_bench_result *r, int index) {
  return (const pinion_quantiles *)(const void *)((const char *)r + figures[index].offset);
}

/* ---- Printing ---- */

static void print_shapes(const pinion_model_desc *desc) {
  char text_of_type[128];
  for (uint32_t i = 0; i < desc->input_count + desc->output_count; i++) {
    bool is_input = i < desc->input_count;
    const pinion_buffer_desc *buffer =
        &desc->buffers[is_input ? desc->inputs[i] : desc->outputs[i - desc->input_count]];
    tensor_type type = buffer_type(buffer);
    tensor_type_text(&type, text_of_type, sizeof text_of_type);
    printf("  %s %s %s\n", is_input ? "input " : "output", buffer->name, text_of_type);
  }
  for (uint32_t i = 0; i < desc->stage_count; i++)
    printf("  stage  %s: %u launches, %u time%s\n", desc->stages[i].name, desc->stages[i].launch_count,
           desc->stages[i].repeat, desc->stages[i].repeat == 1 ? "" : "s");
}

static void print_result(const pinion_bench_result *r) {
  printf("warm-up: %u replays in %.0f ms, %s; then %u measured\n", r->warm_up_replays, r->warm_up_ms,
         r->stable ? "stable within 1 %" : "NOT stable", r->iterations);
  printf("%-18s %11s %11s %11s %11s  ms\n", "", "p50", "p90", "p99", "min");
  for (int i = 0; i < FIGURE_COUNT; i++) {
    const pinion_quantiles *q = figure(r, i);
    printf("%-18s %11.4f %11.4f %11.4f %11.4f\n", figures[i].title, q->p50 / 1000, q->p90 / 1000, q->p99 / 1000,
           q->minimum / 1000);
  }
}

/* ---- Saving and comparing ---- */

static status save_result(diagnostics *d, const artifact *a, const bench_flags *f, const pinion_bench_result *r) {
  text out = {0};
  text_append(&out, "{\n  \"schema\": 1,\n  \"model\": ");
  json_append_string(&out, a->desc->name);
  text_append(&out, ",\n  \"target\": ");
  json_append_string(&out, a->desc->target);
  text_append(&out, ",\n  \"threads\": %lld,\n  \"device\": %lld,\n", (long long)f->artifact.threads,
              (long long)f->artifact.device);
  text_append(&out, "  \"iterations\": %u,\n  \"warm_up_replays\": %u,\n  \"stable\": %s", r->iterations,
              r->warm_up_replays, r->stable ? "true" : "false");
  for (int i = 0; i < FIGURE_COUNT; i++) {
    const pinion_quantiles *q = figure(r, i);
    text_append(&out, ",\n  \"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"minimum\": %.3f, \"mean\": %.3f}",
                figures[i].key, q->p50, q->p90, q->p99, q->minimum, q->mean);
  }
  text_append(&out, "\n}\n");
  status result = file_write(d, f->save, out.data, out.length);
  text_free(&out);
  return result;
}

static double replay_of(const json *saved) {
  return json_number(json_member(json_member(saved, "replay_us"), "p50"), 0);
}

/* A saved bench, to compare with; read before anything is measured. */
static status read_baseline(diagnostics *d, arena *memory, const char *path, json *out_baseline) {
  const status result = json_read(d, memory, path, out_baseline);
  if (result || replay_of(out_baseline) > 0) return result;
  return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' is no saved bench: it lacks replay_us", path);
}

/* Ratios below 1 are faster than the baseline. */
static status compare_result(diagnostics *d, const artifact *a, const bench_flags *f, const json *baseline,
                             const pinion_bench_result *r) {
  static const char *const conditions[] = {"model", "target"};
  const char *const ours[] = {a->desc->name, a->desc->target};
  for (int i = 0; i < 2; i++) {
    const char *theirs = json_string(json_member(baseline, conditions[i]), "");
    if (strcmp(theirs, ours[i])) printf("note: the baseline's %s is '%s', not '%s'\n", conditions[i], theirs, ours[i]);
  }
  if (json_number(json_member(baseline, "threads"), 0) != (double)f->artifact.threads)
    printf("note: the baseline ran with another --threads\n");
  double replay = replay_of(baseline);
  printf("%-18s %11s %11s %11s  (of the baseline's)\n", "", "p50", "p90", "p99");
  for (int i = 0; i < FIGURE_COUNT; i++) {
    const json *theirs = json_member(baseline, figures[i].key);
    const pinion_quantiles *q = figure(r, i);
    printf("%-18s %11.3f %11.3f %11.3f\n", figures[i].title, q->p50 / json_number(json_member(theirs, "p50"), 0),
           q->p90 / json_number(json_member(theirs, "p90"), 0), q->p99 / json_number(json_member(theirs, "p99"), 0));
  }
  if (f->allow < 0 || r->replay.p50 <= replay * (1 + f->allow / 100)) return STATUS_OK;
  return diagnose(d, STATUS_MISMATCH, NULL, NULL,
                  "the replay takes %.3f ms, %.1f %% more than the baseline; %.1f %% are allowed", r->replay.p50 / 1000,
                  (r->replay.p50 / replay - 1) * 100, f->allow);
}

static status report(diagnostics *d, const artifact *a, const bench_flags *f, const pinion_bench_result *r) {
  print_result(r);
  status result = f->save ? save_result(d, a, f, r) : STATUS_OK;
  return result || !f->compare ? result : compare_result(d, a, f, &f->baseline, r);
}

/* ---- Measuring ---- */

static status measure(diagnostics *d, artifact *a, const bench_flags *f, const tensor_list *inputs,
                      const tensor_list *outputs) {
  void **memory = calloc((size_t)inputs->count + outputs->count + 1, sizeof *memory);
  if (!memory) return diagnose(d, STATUS_FAILED, NULL, NULL, "no memory for the bench");
  for (uint32_t i = 0; i < inputs->count; i++) memory[i] = inputs->tensors[i].data;
  for (uint32_t i = 0; i < outputs->count; i++) memory[inputs->count + i] = outputs->tensors[i].data;
  const pinion_bench bench = {&a->api, a->desc, a->instance, memory, memory + inputs->count};
  pinion_bench_options options = pinion_bench_defaults;
  pinion_bench_result result;
  options.iterations =
      f->iterations < PINION_BENCH_SAMPLES_MAXIMUM ? (uint32_t)f->iterations : PINION_BENCH_SAMPLES_MAXIMUM;
  options.warm_up_ms = f->warm_up;
  if (options.warm_up_limit_ms < f->warm_up) options.warm_up_limit_ms = f->warm_up;
  status outcome = artifact_check(d, a, pinion_bench_measure(&bench, &options, &result));
  free(memory);
  return outcome ? outcome : report(d, a, f, &result);
}

static status bench_artifact(diagnostics *d, artifact *a, const bench_flags *f) {
  const pinion_options options = artifact_options(&f->artifact);
  tensor_list inputs = {0}, outputs = {0};
  status result = artifact_open(d, a, &options);
  if (result) return result;
  artifact_print_conditions(a, &options, stdout);
  print_shapes(a->desc);
  printf(f->inputs ? "inputs from '%s'\n" : "seeded random inputs\n", f->inputs);
  if (f->inputs)
    result = tensor_list_read(d, a->desc, false, f->inputs, &inputs);
  else
    result = tensor_list_random(d, a->desc, (uint64_t)f->seed, &inputs);
  if (result == STATUS_OK) result = tensor_list_outputs(d, a->desc, &outputs);
  if (result == STATUS_OK) result = measure(d, a, f, &inputs, &outputs);
  tensor_list_free(&inputs);
  tensor_list_free(&outputs);
  return result;
}

int command_bench(int argc, char **argv) {
  bench_flags f = {.warm_up = pinion_bench_defaults.warm_up_ms, .allow = -1};
  const char *folder;
  const flag flags[] = {
      FLAG("iterations", FLAG_INTEGER, &f.iterations, "N",
           "measured calls (as many as fill 3 s, 50 to 1000; 5 of a slow model)"),
      FLAG("warmUp", FLAG_NUMBER, &f.warm_up, "MS", "least time to warm up; goes on until stable (300)"),
      FLAG("compare", FLAG_STRING, &f.compare, "FILE", "prints ratios to a saved bench"),
      FLAG("allow", FLAG_NUMBER, &f.allow, "PERCENT", "with --compare: exit 5 if the replay's p50 is slower by more"),
      FLAG("save", FLAG_STRING, &f.save, "FILE", "writes the figures as JSON"),
      FLAG("inputs", FLAG_STRING, &f.inputs, "FOLDER", "as for `pinion run` (seeded random inputs)"),
      FLAG("seed", FLAG_INTEGER, &f.seed, "N", "of random inputs (0)"),
      ARTIFACT_FLAGS(&f.artifact),
  };
  const command_syntax syntax = {
      "bench",
      "DIR",
      "Measures an artifact's latency, warm, with its conditions.",
      flags,
      FLAG_COUNT(flags),
      1,
      1,
      "replay: the captured call alone, by the device's clock. run: the same as a caller sees it. end to end: with the "
      "copies\n"
      "of all inputs and outputs. Warm means that the medians of two successive windows differ by less than 1 %."};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &folder, &exit_status)) return exit_status;
  diagnostics d = {.file = folder};
  artifact a = {0};
  arena *memory = arena_create();
  status result = check_folder(&d, f.inputs);
  if (result == STATUS_OK && f.compare) result = read_baseline(&d, memory, f.compare, &f.baseline);
  if (result == STATUS_OK) result = artifact_load(&d, folder, &a);
  if (result == STATUS_OK) result = bench_artifact(&d, &a, &f);
  artifact_close(&a);
  arena_destroy(memory);
  return result;
}
