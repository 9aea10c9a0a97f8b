/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The artifact's own bench program: latency on this machine, without Pinion at hand.
 *
 *   bench [DIR] [--iterations=N] [--threads=N] [--warmUp=MS] [--interval=MS] [--device=N] [--copies=graph]
 *
 * DIR is the artifact's folder; without it, the current one. With --copies=graph the captured call copies the inputs
 * and outputs itself.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime under -std=c11 */
#endif
#include "bench.h"

#include <stdio.h>

typedef struct bench_arguments {
  const char *folder;
  pinion_options options;
  pinion_bench_options bench;
  bool attached;
} bench_arguments;

static bool read_number(const char *word, const char *name, long *out_value) {
  size_t length = strlen(name);
  char *end;
  if (strncmp(word, name, length) != 0) return false;
  *out_value = strtol(word + length, &end, 10);
  return word[length] && !*end && *out_value >= 0;
}

static bool read_arguments(int argc, char **argv, bench_arguments *out) {
  *out = (bench_arguments){.folder = ".", .bench = pinion_bench_defaults};
  for (int i = 1; i < argc; i++) {
    long value;
    if (read_number(argv[i], "--iterations=", &value))
      out->bench.iterations = (uint32_t)value;
    else if (read_number(argv[i], "--threads=", &value))
      out->options.thread_count = (int32_t)value;
    else if (read_number(argv[i], "--device=", &value))
      out->options.device_index = (int32_t)value;
    else if (read_number(argv[i], "--warmUp=", &value))
      out->bench.warm_up_ms = (double)value;
    else if (read_number(argv[i], "--interval=", &value))
      out->bench.interval_ms = (double)value;
    else if (!strcmp(argv[i], "--copies=graph"))
      out->attached = true;
    else if (argv[i][0] != '-')
      out->folder = argv[i];
    else
      return false;
  }
  return true;
}

static const char *dtype_text(pinion_dtype dtype) {
  static const char *const names[] = {
#define PINION_DTYPE_TEXT(name, type, bytes) #name,
      PINION_DTYPES(PINION_DTYPE_TEXT)
#undef PINION_DTYPE_TEXT
  };
  return names[dtype];
}

static void print_buffers(const char *what, const pinion_model_desc *desc, const uint32_t *list, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[list[i]];
    printf("%s %s %s[", what, buffer->name, dtype_text(buffer->dtype));
    for (int d = 0; d < buffer->rank; d++) printf(d ? ",%lld" : "%lld", (long long)buffer->dims[d]);
    printf("]\n");
  }
}

static void print_quantiles(const char *what, const pinion_quantiles *q) {
  printf("%-12s p50 %10.4f  p90 %10.4f  p99 %10.4f  min %10.4f ms\n", what, q->p50 / 1000, q->p90 / 1000, q->p99 / 1000,
         q->minimum / 1000);
}

static void print_result(const pinion_model_desc *desc, const pinion_bench_result *r) {
  printf("model %s, target %s, seeded random inputs\n", desc->name, desc->target);
  print_buffers("input ", desc, desc->inputs, desc->input_count);
  print_buffers("output", desc, desc->outputs, desc->output_count);
  printf("warm-up: %u replays in %.0f ms, %s; then %u measured\n", r->warm_up_replays, r->warm_up_ms,
         r->stable ? "stable within 1 %" : "NOT stable", r->iterations);
  if (r->interval_ms > 0) printf("calls begin %g ms apart\n", r->interval_ms);
  print_quantiles("replay", &r->replay);
  print_quantiles("run (wall)", &r->run);
  print_quantiles("copies in", &r->copy_in);
  print_quantiles("copies out", &r->copy_out);
  print_quantiles("end to end", &r->end_to_end);
}

/* Destroys the instance: the memory that may be attached to it is freed here. */
static pinion_status measure(const pinion_api *api, pinion_model *model, pinion_instance *instance,
                             const pinion_model_desc *desc, const bench_arguments *arguments,
                             pinion_bench_result *out_result) {
  const uint32_t inputs = desc->input_count, outputs = desc->output_count;
  void **memory = calloc((size_t)inputs + outputs + 1, sizeof *memory);
  pinion_status status =
      memory ? pinion_bench_allocate(api, model, desc, desc->inputs, inputs, memory) : PINION_OUT_OF_MEMORY;
  if (!status) status = pinion_bench_allocate(api, model, desc, desc->outputs, outputs, memory + inputs);
  if (!status) {
    const pinion_bench bench = {.api = api,
                                .desc = desc,
                                .instance = instance,
                                .inputs = memory,
                                .outputs = memory + inputs,
                                .attached = arguments->attached};
    for (uint32_t i = 0; i < inputs; i++) pinion_fill_input(desc, i, 0, memory[i]);
    status = pinion_bench_measure(&bench, &arguments->bench, out_result);
  }
  api->instance_destroy(instance);
  if (memory) pinion_bench_free(api, model, memory, inputs + outputs);
  free(memory);
  return status;
}

int main(int argc, char **argv) {
  static const pinion_api api = PINION_API_LINKED;
  const pinion_model_desc *desc = pinion_model_description();
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  pinion_bench_result result;
  bench_arguments arguments;
  if (!read_arguments(argc, argv, &arguments)) {
    fprintf(stderr,
            "usage: %s [DIR] [--iterations=N] [--threads=N] [--warmUp=MS] [--interval=MS] [--device=N] "
            "[--copies=graph]\n",
            argv[0]);
    return 2;
  }
  pinion_status status = pinion_model_open(desc, arguments.folder, &arguments.options, &model);
  if (!status) status = pinion_instance_create(model, &instance);
  if (!status) status = measure(&api, model, instance, desc, &arguments, &result);
  if (status)
    fprintf(stderr, "%s: %s: %s\n", argv[0], pinion_status_name(status), pinion_last_error(model));
  else
    print_result(desc, &result);
  pinion_model_close(model);
  return status == PINION_OK ? 0 : status == PINION_NO_DEVICE ? 6 : 1;
}
