/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Time of every launch inside the call, by stage, by family and by kernel; a Chrome trace of one call. */
#include "commands.h"
#include "flags.h"
#include "inputs.h"
#include "manifest.h"

#include "ir/launch.h"
#include "targets/target.h"

#include <stdlib.h>
#include <string.h>

typedef struct profile_flags {
  const char *inputs, *trace, *save;
  int64_t calls, seed, top;
  artifact_flags artifact;
} profile_flags;

/* What happened in one call, launch by launch in the order of execution. */
typedef struct timeline {
  const artifact *artifact;
  uint32_t count;
  double *microseconds;  /* median over the calls */
  double replay;         /* median of whole replays: what the sum is to be held against */
  double *flops, *bytes; /* by launch of the table */
  double peak_flops;     /* of the tensor cores, a second, at the device's highest clock; 0 unknown */
  double peak_bytes;     /* of the memory, a second */
} timeline;

/* One line of a table. */
typedef struct sum {
  const char *name, *of; /* `of`: the stage, where the rows are several for each; else "" */
  uint32_t launches;
  double microseconds, flops, bytes;
} sum;

/* ---- Measuring ---- */

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *samples, size_t count) {
  qsort(samples, count, sizeof *samples, compare_doubles);
  return samples[count / 2];
}

static uint32_t executed_launches(const pinion_model_desc *desc) {
  uint32_t count = 0;
  for (uint32_t s = 0; s < desc->stage_count; s++) count += desc->stages[s].launch_count * desc->stages[s].repeat;
  return count;
}

/* `calls` timed calls after as many warm replays, launch by launch; the median of each. */
static status measure(diagnostics *d, artifact *a, uint32_t calls, timeline *out) {
  const size_t count = out->count;
  double *samples = malloc((count + 1) * calls * sizeof *samples), *column = malloc(calls * sizeof *column);
  status result = samples && column ? STATUS_OK : diagnose(d, STATUS_FAILED, NULL, NULL, "no memory for the samples");
  if (result == STATUS_OK) result = artifact_check(d, a, a->api.time_replays(a->instance, calls, column));
  if (result == STATUS_OK) result = artifact_check(d, a, a->api.time_replays(a->instance, calls, column));
  if (result == STATUS_OK) out->replay = median(column, calls);
  for (uint32_t c = 0; c < calls && result == STATUS_OK; c++)
    result = artifact_check(d, a, a->api.time_launches(a->instance, count, samples + c * count));
  for (size_t i = 0; i < count && result == STATUS_OK; i++) {
    for (uint32_t c = 0; c < calls; c++) column[c] = samples[c * count + i];
    out->microseconds[i] = median(column, calls);
  }
  free(samples);
  free(column);
  return result;
}

/* From what the driver says of the device: memory moves twice a clock. */
static status read_peaks(diagnostics *d, const artifact *a, timeline *out) {
  pinion_device_facts facts;
  const struct target *target = target_find(a->desc->target);
  const status result = artifact_check(d, a, a->api.describe_device(a->model, &facts));
  if (result) return result;
  out->peak_bytes = 2e3 * facts.memory_clock_khz * (facts.memory_bus_bits / 8.0);
  if (target) out->peak_flops = 1e3 * facts.clock_khz * facts.multiprocessors * target->tensor_flops;
  return STATUS_OK;
}

/* FLOPs and bytes of every launch of the table, from the manifest. */
static status read_work(diagnostics *d, const char *folder, timeline *out) {
  arena *memory = arena_create();
  json manifest;
  status result = manifest_read(d, memory, folder, &manifest);
  const json *launches = result == STATUS_OK ? manifest_list(&manifest, "launches") : NULL;
  if (result == STATUS_OK && launches->count != out->artifact->desc->launch_count)
    result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "manifest.json and the library differ in their launches");
  for (size_t i = 0; result == STATUS_OK && i < launches->count; i++) {
    out->flops[i] = manifest_number(&launches->items[i], "flops");
    out->bytes[i] = manifest_number(&launches->items[i], "bytes");
  }
  arena_destroy(memory);
  return result;
}

/* ---- Walking ---- */

typedef void visitor(void *user, uint32_t stage, uint32_t step, uint32_t launch, double microseconds);

static void each_launch(const timeline *t, visitor *visit, void *user) {
  const pinion_model_desc *desc = t->artifact->desc;
  uint32_t at = 0;
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t step = 0; step < desc->stages[s].repeat; step++)
      for (uint32_t i = 0; i < desc->stages[s].launch_count; i++)
        visit(user, s, step, desc->stages[s].first_launch + i, t->microseconds[at++]);
}

/* ---- Tables ---- */

typedef enum grouping { BY_STAGE, BY_STAGE_AND_FAMILY, BY_FAMILY, BY_KERNEL } grouping;

typedef struct table {
  const timeline *timeline;
  grouping grouping;
  sum *rows; /* one for each stage, family or kernel */
} table;

static void add_launch(void *user, uint32_t stage, uint32_t step, uint32_t launch, double microseconds) {
  table *t = user;
  const pinion_model_desc *desc = t->timeline->artifact->desc;
  const uint32_t kernel = desc->launches[launch].kernel;
  const pinion_family family = desc->kernels[kernel].family;
  const uint32_t groups[] = {stage, stage * PINION_FAMILY_COUNT + family, family, kernel};
  const char *const names[] = {desc->stages[stage].name, family_name(family), family_name(family),
                               desc->kernels[kernel].name};
  sum *row = &t->rows[groups[t->grouping]];
  (void)step;
  row->name = names[t->grouping];
  row->of = t->grouping == BY_STAGE_AND_FAMILY ? desc->stages[stage].name : "";
  row->launches++;
  row->microseconds += microseconds;
  row->flops += t->timeline->flops[launch];
  row->bytes += t->timeline->bytes[launch];
}

static int compare_sums(const void *a, const void *b) {
  const double x = ((const sum *)a)->microseconds, y = ((const sum *)b)->microseconds;
  return (x < y) - (x > y);
}

static uint32_t group_count(const pinion_model_desc *desc, grouping by) {
  const uint32_t counts[] = {desc->stage_count, desc->stage_count * PINION_FAMILY_COUNT, PINION_FAMILY_COUNT,
                             desc->kernel_count};
  return counts[by];
}

/* Shares of the device's peaks are left out where those are unknown. */
static void print_row(const timeline *t, const sum *row, double total) {
  char name[128];
  const double seconds = row->microseconds * 1e-6;
  snprintf(name, sizeof name, "%s%s%s", row->of, *row->of ? "/" : "", row->name);
  printf("%-36s %8u %11.1f %6.1f %10.2f %10.0f %10.1f", name, row->launches, row->microseconds,
         100 * row->microseconds / total, row->microseconds / row->launches, row->flops / seconds / 1e9,
         row->bytes / seconds / 1e9);
  if (t->peak_flops > 0) printf(" %8.1f", 100 * row->flops / seconds / t->peak_flops);
  if (t->peak_bytes > 0) printf(" %8.1f", 100 * row->bytes / seconds / t->peak_bytes);
  printf("\n");
}

static void print_table(const timeline *t, grouping by, uint32_t most) {
  static const char *const titles[] = {"stage", "stage/family", "family", "kernel"};
  const uint32_t count = group_count(t->artifact->desc, by);
  table sums = {t, by, calloc((size_t)count + 1, sizeof(sum))};
  if (!sums.rows) return;
  double total = 0;
  each_launch(t, add_launch, &sums);
  if (by == BY_FAMILY || by == BY_KERNEL) qsort(sums.rows, count, sizeof *sums.rows, compare_sums);
  for (uint32_t i = 0; i < count; i++) total += sums.rows[i].microseconds;
  printf("%-36s %8s %11s %6s %10s %10s %10s%s%s\n", titles[by], "launches", "us", "%", "us each", "GFLOP/s", "GB/s",
         t->peak_flops > 0 ? " %tensor" : "", t->peak_bytes > 0 ? "  %memory" : "");
  for (uint32_t i = 0; i < count && i < most; i++)
    if (sums.rows[i].launches) print_row(t, &sums.rows[i], total);
  free(sums.rows);
}

static void print_profile(const timeline *t, uint32_t top) {
  double total = 0;
  for (uint32_t i = 0; i < t->count; i++) total += t->microseconds[i];
  printf("%u launches, %.1f us in all with a time stamp behind each; a replay takes %.1f us\n", t->count, total,
         t->replay);
  if (t->peak_bytes > 0)
    printf("peaks: %.0f TFLOP/s of the tensor cores in bf16, %.0f GB/s of memory, both at the highest clock\n",
           t->peak_flops * 1e-12, t->peak_bytes * 1e-9);
  print_table(t, BY_STAGE, UINT32_MAX);
  print_table(t, BY_STAGE_AND_FAMILY, UINT32_MAX);
  print_table(t, BY_FAMILY, UINT32_MAX);
  print_table(t, BY_KERNEL, top);
}

/* ---- Files ---- */

typedef struct trace_text {
  const timeline *timeline;
  text *out;
  double now;
  bool events; /* Chrome's; else rows of `--save` */
} trace_text;

static void append_launch(void *user, uint32_t stage, uint32_t step, uint32_t launch, double microseconds) {
  trace_text *t = user;
  const pinion_model_desc *desc = t->timeline->artifact->desc;
  const uint32_t kernel = desc->launches[launch].kernel;
  text_append(t->out, t->now > 0 ? ",\n" : "\n");
  if (t->events) {
    text_append(t->out, "{\"ph\":\"X\",\"pid\":0,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f,\"name\":", t->now, microseconds);
    json_append_string(t->out, desc->kernels[kernel].name);
    text_append(t->out, ",\"cat\":\"%s\",\"args\":{\"stage\":", family_name(desc->kernels[kernel].family));
    json_append_string(t->out, desc->stages[stage].name);
    text_append(t->out, ",\"step\":%u,\"launch\":%u,\"flops\":%.0f,\"bytes\":%.0f}}", step, launch,
                t->timeline->flops[launch], t->timeline->bytes[launch]);
  } else {
    text_append(t->out, "{\"launch\":%u,\"stage\":%u,\"step\":%u,\"microseconds\":%.3f}", launch, stage, step,
                microseconds);
  }
  t->now += microseconds;
}

static status write_launches(diagnostics *d, const timeline *t, const char *path, bool events) {
  text out = {0};
  trace_text trace = {t, &out, 0, events};
  if (events) {
    text_append(&out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
  } else {
    text_append(&out, "{\"schema\":1,\"model\":");
    json_append_string(&out, t->artifact->desc->name);
    text_append(&out, ",\"target\":");
    json_append_string(&out, t->artifact->desc->target);
    text_append(&out, ",\"replay_microseconds\":%.3f,\"peak_flops\":%.0f,\"peak_bytes\":%.0f,\"launches\":[", t->replay,
                t->peak_flops, t->peak_bytes);
  }
  each_launch(t, append_launch, &trace);
  text_append(&out, "]}\n");
  status result = file_write(d, path, out.data, out.length);
  text_free(&out);
  return result;
}

/* ---- The command ---- */

static status set_inputs(diagnostics *d, artifact *a, const profile_flags *f) {
  tensor_list inputs = {0};
  status result = f->inputs ? tensor_list_read(d, a->desc, false, f->inputs, &inputs)
                            : tensor_list_random(d, a->desc, (uint64_t)f->seed, &inputs);
  for (uint32_t i = 0; i < inputs.count && result == STATUS_OK; i++) {
    const pinion_buffer_desc *buffer = &a->desc->buffers[a->desc->inputs[i]];
    result = artifact_check(d, a,
                            a->api.set_input(a->instance, buffer->name, inputs.tensors[i].data, (size_t)buffer->bytes));
  }
  tensor_list_free(&inputs);
  return result == STATUS_OK ? artifact_check(d, a, a->api.prepare(a->instance)) : result;
}

static status profile_opened(diagnostics *d, artifact *a, const profile_flags *f) {
  const uint32_t count = executed_launches(a->desc);
  timeline t = {.artifact = a,
                .count = count,
                .microseconds = calloc((size_t)count + 1, sizeof(double)),
                .flops = calloc((size_t)a->desc->launch_count + 1, sizeof(double)),
                .bytes = calloc((size_t)a->desc->launch_count + 1, sizeof(double))};
  status result = t.microseconds && t.flops && t.bytes
                      ? set_inputs(d, a, f)
                      : diagnose(d, STATUS_FAILED, NULL, NULL, "no memory for the profile");
  if (result == STATUS_OK) result = read_work(d, a->folder, &t);
  if (result == STATUS_OK) result = read_peaks(d, a, &t);
  if (result == STATUS_OK) result = measure(d, a, (uint32_t)f->calls, &t);
  if (result == STATUS_OK) result = artifact_print_capture(d, a);
  if (result == STATUS_OK) print_profile(&t, (uint32_t)f->top);
  if (result == STATUS_OK && f->trace) result = write_launches(d, &t, f->trace, true);
  if (result == STATUS_OK && f->save) result = write_launches(d, &t, f->save, false);
  free(t.microseconds);
  free(t.flops);
  free(t.bytes);
  return result;
}

int command_profile(int argc, char **argv) {
  profile_flags f = {.calls = 20, .top = 20};
  const char *folder;
  const flag flags[] = {
      FLAG("calls", FLAG_INTEGER, &f.calls, "N", "timed calls; each launch shows its median (20)"),
      FLAG("top", FLAG_INTEGER, &f.top, "N", "how many kernels to list (20)"),
      FLAG("trace", FLAG_STRING, &f.trace, "FILE", "writes a trace for Chrome's tracing page or Perfetto"),
      FLAG("save", FLAG_STRING, &f.save, "FILE", "writes every launch's time as JSON"),
      FLAG("inputs", FLAG_STRING, &f.inputs, "FOLDER", "as for `pinion run` (seeded random inputs)"),
      FLAG("seed", FLAG_INTEGER, &f.seed, "N", "of random inputs (0)"),
      ARTIFACT_FLAGS(&f.artifact),
  };
  const command_syntax syntax = {
      "profile",
      "DIR",
      "Time of every launch inside the call: by stage, by family, by kernel.",
      flags,
      FLAG_COUNT(flags),
      1,
      1,
      "On a GPU the launches are those of the captured graph with an event behind each, which costs about a "
      "microsecond\n"
      "each time and keeps neighbours apart: the sum is more than a replay. GB/s counts what a launch must move. "
      "%tensor "
      "and %memory\nare shares of the device's peaks at its highest clocks."};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &folder, &exit_status)) return exit_status;
  if (f.calls < 1) f.calls = 1;
  diagnostics d = {.file = folder};
  const pinion_options options = artifact_options(&f.artifact);
  artifact a;
  status result = artifact_load(&d, folder, &a);
  if (result == STATUS_OK) result = artifact_open(&d, &a, &options);
  if (result == STATUS_OK) artifact_print_conditions(&a, &options, stdout);
  if (result == STATUS_OK) result = profile_opened(&d, &a, &f);
  artifact_close(&a);
  return result;
}
