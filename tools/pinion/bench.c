/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "bench_result.h"
#include "cold_start.h"
#include "commands.h"
#include "flags.h"
#include "inputs.h"

#include <string.h>

typedef struct bench_flags {
  const char *inputs, *save, *compare, *copies, *nvml;
  bool empty_kernels, cold_start;
  int64_t iterations, seed;
  artifact_flags artifact;
  double warm_up, interval, allow;
  json baseline; /* of `compare` */
} bench_flags;

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

/* ---- Measuring ---- */

/* What happens around the timed replays. */
typedef struct probe {
  nvml *library; /* NULL if there is none */
  bench_measured *measured;
} probe;

static void read_state(void *user, bool behind) {
  const probe *p = user;
  *(behind ? &p->measured->after : &p->measured->before) = nvml_read(p->library);
}

/* The same graph with empty kernels, in turn with the real one: so that launching it is never waited for. */
static status measure_empty(diagnostics *d, artifact *a, bench_measured *m) {
  enum { EMPTY_REPLAYS_AT_MOST = 200 };
  static const pinion_variant empty = {.is_empty = 1};
  const uint32_t count = m->times.iterations < EMPTY_REPLAYS_AT_MOST ? m->times.iterations : EMPTY_REPLAYS_AT_MOST;
  double own[EMPTY_REPLAYS_AT_MOST], samples[EMPTY_REPLAYS_AT_MOST];
  const status result = artifact_check(d, a, a->api.time_variant(a->instance, &empty, count, own, samples));
  if (result) return result;
  m->empty = pinion_quantiles_of(samples, count);
  m->has_empty = true;
  return STATUS_OK;
}

static status measure_all(diagnostics *d, artifact *a, const bench_flags *f, const pinion_bench *bench,
                          bench_measured *m) {
  pinion_bench_options options = pinion_bench_defaults;
  options.iterations =
      f->iterations < PINION_BENCH_SAMPLES_MAXIMUM ? (uint32_t)f->iterations : PINION_BENCH_SAMPLES_MAXIMUM;
  options.warm_up_ms = f->warm_up;
  if (options.warm_up_limit_ms < f->warm_up) options.warm_up_limit_ms = f->warm_up;
  options.interval_ms = f->interval;
  status result = artifact_check(d, a, pinion_bench_measure(bench, &options, &m->times));
  if (result == STATUS_OK && f->empty_kernels) result = measure_empty(d, a, m);
  if (result == STATUS_OK) result = artifact_check(d, a, a->api.describe_capture(a->instance, &m->capture));
  if (result == STATUS_OK) result = artifact_print_capture(d, a);
  const uint64_t used = m->after.millijoules - m->before.millijoules;
  const double seconds = m->after.seconds - m->before.seconds;
  if (m->before.millijoules) m->millijoules = (double)used / m->times.iterations;
  if (m->before.millijoules && seconds > 0) m->watts = (double)used / 1e3 / seconds;
  return result;
}

/* In page-locked memory of the model's. */
static status measure_pinned(diagnostics *d, artifact *a, const bench_flags *f, const tensor_list *inputs,
                             bench_measured *m) {
  const pinion_model_desc *desc = a->desc;
  void **memory = heap_alloc((size_t)desc->input_count + desc->output_count + 1, sizeof *memory);
  probe around = {NULL, m};
  const pinion_bench bench = {.api = &a->api,
                              .desc = desc,
                              .instance = a->instance,
                              .inputs = memory,
                              .outputs = memory + desc->input_count,
                              .attached = m->attached,
                              .probe = read_state,
                              .probe_user = &around};
  pinion_status made = pinion_bench_allocate(&a->api, a->model, desc, desc->inputs, desc->input_count, bench.inputs);
  if (!made) made = pinion_bench_allocate(&a->api, a->model, desc, desc->outputs, desc->output_count, bench.outputs);
  status result = artifact_check(d, a, made);
  for (uint32_t i = 0; i < inputs->count && result == STATUS_OK; i++)
    memcpy(memory[i], inputs->tensors[i].data, (size_t)desc->buffers[desc->inputs[i]].bytes);
  around.library = nvml_open(f->nvml, m->device.bus, &m->no_nvml);
  if (result == STATUS_OK) result = measure_all(d, a, f, &bench, m);
  nvml_close(around.library);
  a->api.instance_destroy(a->instance); /* to which the memory may be attached */
  a->instance = NULL;
  pinion_bench_free(&a->api, a->model, memory, desc->input_count + desc->output_count);
  free(memory);
  return result;
}

static status report(diagnostics *d, const artifact *a, const bench_flags *f, const bench_measured *m) {
  bench_print(m);
  const status result = f->save ? bench_save(d, a->desc, m, f->save) : STATUS_OK;
  return result || !f->compare ? result : bench_compare(d, a->desc, m, &f->baseline, f->allow);
}

static status measure(diagnostics *d, artifact *a, const bench_flags *f, const tensor_list *inputs) {
  bench_measured m = {.threads = f->artifact.threads, .attached = !strcmp(f->copies, "graph")};
  status result = artifact_check(d, a, a->api.describe_device(a->model, &m.device));
  if (result == STATUS_OK) result = measure_pinned(d, a, f, inputs, &m);
  return result ? result : report(d, a, f, &m);
}

static status bench_artifact(diagnostics *d, artifact *a, const bench_flags *f) {
  const pinion_options options = artifact_options(&f->artifact);
  tensor_list inputs = {0};
  if (f->cold_start) return cold_start(d, a, &options, (uint64_t)f->seed);
  status result = artifact_open(d, a, &options);
  if (result) return result;
  artifact_print_conditions(a, &options, stdout);
  print_shapes(a->desc);
  printf(f->inputs ? "inputs from '%s'\n" : "seeded random inputs\n", f->inputs);
  if (f->inputs)
    result = tensor_list_read(d, a->desc, false, f->inputs, &inputs);
  else
    result = tensor_list_random(d, a->desc, (uint64_t)f->seed, &inputs);
  if (result == STATUS_OK) result = measure(d, a, f, &inputs);
  tensor_list_free(&inputs);
  return result;
}

int command_bench(int argc, char **argv) {
  bench_flags f = {.warm_up = pinion_bench_defaults.warm_up_ms, .allow = -1, .copies = "apart"};
  const char *folder;
  const flag flags[] = {
      FLAG("iterations", FLAG_INTEGER, &f.iterations, "N",
           "measured calls (as many as fill 3 s, 50 to 1000; 5 of a slow model)"),
      FLAG("warmUp", FLAG_NUMBER, &f.warm_up, "MS", "least time to warm up; goes on until stable (300)"),
      FLAG("interval", FLAG_NUMBER, &f.interval, "MS",
           "from the start of a measured call to the next one's, as a controller calls (0: one behind the other)"),
      FLAG("copies", FLAG_STRING, &f.copies, "HOW",
           "apart: by calls of their own; graph: in the captured call (apart)"),
      FLAG("empty-kernels", FLAG_SWITCH, &f.empty_kernels, NULL,
           "also the same graph with empty kernels: what launches cost by themselves"),
      FLAG("cold-start", FLAG_SWITCH, &f.cold_start, NULL,
           "instead: time from the start of the process to the first action, and device memory"),
      FLAG("compare", FLAG_STRING, &f.compare, "FILE", "prints ratios to a saved bench"),
      FLAG("allow", FLAG_NUMBER, &f.allow, "PERCENT", "with --compare: exit 5 if the replay's p50 is slower by more"),
      FLAG("save", FLAG_STRING, &f.save, "FILE", "writes the figures as JSON"),
      FLAG("inputs", FLAG_STRING, &f.inputs, "FOLDER", "as for `pinion run` (seeded random inputs)"),
      FLAG("seed", FLAG_INTEGER, &f.seed, "N", "of random inputs (0)"),
      FLAG("nvml", FLAG_STRING, &f.nvml, "FILE",
           "NVIDIA's management library, for energy and clocks (PINION_NVML, else the system's)"),
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
      "of all inputs and outputs. Warm means that the medians of two successive windows differ by less than 1 %. "
      "Energy "
      "is the\ndevice's own count over the timed replays."};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &folder, &exit_status)) return exit_status;
  diagnostics d = {.file = folder};
  if (strcmp(f.copies, "apart") && strcmp(f.copies, "graph"))
    return diagnose(&d, STATUS_USAGE, NULL, NULL, "--copies is apart or graph, not '%s'", f.copies);
  artifact a = {0};
  arena *memory = arena_create();
  status result = check_folder(&d, f.inputs);
  if (result == STATUS_OK && f.compare) result = bench_read(&d, memory, f.compare, &f.baseline);
  if (result == STATUS_OK) result = artifact_load(&d, folder, &a);
  if (result == STATUS_OK) result = bench_artifact(&d, &a, &f);
  artifact_close(&a);
  arena_destroy(memory);
  return result;
}
