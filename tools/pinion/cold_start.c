/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "cold_start.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

/* Seconds since this process was started, by the kernel's own account: in steps of 10 ms. */
static double process_age(void) {
  char line[1024] = "";
  unsigned long long start = 0;
  struct timespec now;
  FILE *file = fopen("/proc/self/stat", "r");
  if (file && !fgets(line, sizeof line, file)) line[0] = '\0';
  if (file) fclose(file);
  const char *field = strrchr(line, ')'); /* the name, which may hold anything, ends; it is field 2, the start 22 */
  for (int i = 2; field && i < 22; i++) field = strchr(field + 1, ' ');
  if (!field || sscanf(field, "%llu", &start) != 1) return 0;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - (double)start / (double)sysconf(_SC_CLK_TCK);
}

static void print_part(const char *what, double seconds) {
  printf("  %-28s %8.3f s\n", what, seconds);
}

static uint64_t io_bytes(const pinion_model_desc *desc) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < desc->input_count; i++) bytes += desc->buffers[desc->inputs[i]].bytes;
  for (uint32_t i = 0; i < desc->output_count; i++) bytes += desc->buffers[desc->outputs[i]].bytes;
  return bytes;
}

static void print_memory(const pinion_model_desc *desc, const pinion_device_facts *facts) {
  const double gb = 1e-9, weights = (double)desc->weights_bytes;
  if (!facts->memory_bytes) return;
  printf("device memory: weights %.3f GB + arena %.3f GB + inputs and outputs %.3f GB; %.3f GB taken since the context "
         "was there;\n  %.3f GB of %.1f GB in use, context and other programs included\n",
         weights * gb, (double)desc->arena_bytes * gb, (double)io_bytes(desc) * gb,
         (double)(facts->memory_free_at_open - facts->memory_free) * gb,
         (double)(facts->memory_bytes - facts->memory_free) * gb, (double)facts->memory_bytes * gb);
}

/* Ages of the process at the end of each part. */
typedef struct ages {
  double loaded, opened, prepared, done;
} ages;

static void print_ages(const pinion_model_desc *desc, const ages *t, const pinion_device_facts *facts) {
  printf("cold start: %.2f s from the start of the process to the first action\n", t->done);
  print_part("process, artifact's library", t->loaded);
  print_part("opening the model", t->opened - t->loaded);
  if (facts->weights_us > 0) {
    print_part("  driver and context", facts->context_us * 1e-6);
    print_part("  kernels", facts->kernels_us * 1e-6);
    print_part("  weights", facts->weights_us * 1e-6);
    printf("  %-28s %8.2f GB/s\n", "  at", (double)desc->weights_bytes * 1e-3 / facts->weights_us);
  }
  print_part("memory and capture", t->prepared - t->opened);
  print_part("inputs, first call, outputs", t->done - t->prepared);
}

status cold_start(diagnostics *d, artifact *a, const pinion_options *options, uint64_t seed) {
  tensor_list inputs = {0}, outputs = {0};
  pinion_device_facts facts;
  ages t = {.loaded = process_age()};
  status result = artifact_open(d, a, options);
  t.opened = process_age();
  if (result == STATUS_OK) result = tensor_list_random(d, a->desc, seed, &inputs);
  if (result == STATUS_OK) result = tensor_list_outputs(d, a->desc, &outputs);
  if (result == STATUS_OK) result = artifact_check(d, a, a->api.prepare(a->instance));
  t.prepared = process_age();
  if (result == STATUS_OK) result = artifact_run(d, a, &inputs, &outputs);
  t.done = process_age();
  if (result == STATUS_OK) result = artifact_check(d, a, a->api.describe_device(a->model, &facts));
  if (result == STATUS_OK) {
    artifact_print_conditions(a, options, stdout);
    print_ages(a->desc, &t, &facts);
    print_memory(a->desc, &facts);
  }
  tensor_list_free(&inputs);
  tensor_list_free(&outputs);
  return result;
}
