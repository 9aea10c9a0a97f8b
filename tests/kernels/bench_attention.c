/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Times the cpu target's attention. Usage: bench_attention THREADS [MILLISECONDS], then lines on stdin:
 *
 *   B G H Q K D E TYPE [keys|rows]   sizes of the iteration space, and the type of all operands; `keys`: with a bool
 * mask of the keys, half of them hidden; `rows`: with an additive mask for each query. Tokens lie as projections leave
 * them, [b, token, head, d]. Prints `best-us median-us runs GFLOP/s`; the hidden half counts as work.
 */
#include "tools/pinion/kernel_library.h"

#include <stdlib.h>
#include <string.h>

enum { B, G, H, Q, K, D, E, RANK };

/* Strides for dimensions given from the innermost one on; returns the elements. */
static int64_t lay_out(pinion_params *params, int argument, const int *dimensions, int count) {
  int64_t stride = 1;
  for (int i = 0; i < count; i++) {
    params->stride[argument][dimensions[i]] = stride;
    stride *= params->size[dimensions[i]];
  }
  return stride;
}

static void *small_numbers(int64_t elements, pinion_dtype dtype) {
  const size_t bytes = pinion_dtype_size(dtype);
  char *memory = malloc((size_t)elements * bytes);
  for (int64_t i = 0; memory && i < elements; i++) {
    const float value = (float)(i * 2654435761u % 1024) / 512 - 1;
    const bool shown = i % 512 < 256;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t high = (uint16_t)(bits >> 16); /* as bf16 */
    memcpy(memory + (size_t)i * bytes,
           bytes == 1   ? (const void *)&shown
           : bytes == 2 ? &high
                        : (const void *)&bits,
           bytes);
  }
  return memory;
}

static kernel_problem problem_of(const int64_t *size, pinion_dtype dtype, const char *mask, void **out_args) {
  static const int orders[5][5] = {{E, H, G, Q, B}, {D, H, G, Q, B}, {D, G, K, B}, {E, G, K, B}, {K, Q, B}};
  kernel_problem problem = {.family = PINION_FAMILY_ATTENTION, .result_count = 1};
  pinion_params *params = &problem.params;
  params->rank = RANK;
  params->arg_count = *mask ? 5 : 4;
  params->scalar[0] = 0.1;
  memcpy(params->size, size, RANK * sizeof *size);
  for (int a = 0; a < params->arg_count; a++) {
    problem.dtypes[a] = a < 4 ? dtype : !strcmp(mask, "keys") ? PINION_DTYPE_bool : PINION_DTYPE_f32;
    out_args[a] = small_numbers(lay_out(params, a, orders[a], a < 2 ? 5 : a < 4 ? 4 : 3), problem.dtypes[a]);
  }
  if (!strcmp(mask, "keys")) params->stride[4][Q] = params->stride[4][B] = 0;
  return problem;
}

static void measure(arena *a, pinion_thread_pool *pool, const kernel_problem *problem, void **args,
                    double milliseconds) {
  const struct target *cpu = target_find("cpu");
  kernel_choice choice;
  kernel_timing timing;
  kernel_library library;
  const char *why = "";
  if (!cpu->choose(a, problem, NULL, &choice, &why)) {
    fprintf(stderr, "%s\n", why);
    return;
  }
  const int64_t *size = problem->params.size;
  kernel_launch launch = {NULL, &problem->params, args, choice.grid[0], choice.dynamic_shared_bytes};
  if (kernel_library_begin(&library, cpu, kernel_compiler()) &&
      kernel_library_add(&library, problem, &choice, "attention") && kernel_library_build(&library))
    launch.kernel = kernel_library_find(&library, "attention");
  text_free(&choice.defines);
  if (launch.kernel && kernel_measure(pool, &launch, milliseconds, &timing))
    printf("%.2f %.2f %d %.1f\n", timing.best, timing.median, timing.count,
           2e-3 * (double)(size[B] * size[G] * size[H] * size[Q] * size[K] * (size[D] + size[E])) / timing.best);
  fflush(stdout);
  kernel_library_end(&library);
}

int main(int argc, char **argv) {
  const double milliseconds = argc > 2 ? atof(argv[2]) : 100;
  pinion_thread_pool *pool = pinion_thread_pool_create(argc > 1 ? (uint32_t)atoi(argv[1]) : 1);
  char line[256];
  arena *a = arena_create();
  if (!pool) return 1;
  while (fgets(line, sizeof line, stdin)) {
    long long s[RANK];
    char type[16], mask[16] = "";
    pinion_dtype dtype;
    void *args[PINION_MAX_ARGS] = {NULL};
    if (sscanf(line, "%lld %lld %lld %lld %lld %lld %lld %15s %15s", &s[B], &s[G], &s[H], &s[Q], &s[K], &s[D], &s[E],
               type, mask) < 8 ||
        !dtype_from_name(type, &dtype))
      continue;
    const kernel_problem problem =
        problem_of((const int64_t[]){s[B], s[G], s[H], s[Q], s[K], s[D], s[E]}, dtype, mask, args);
    measure(a, pool, &problem, args, milliseconds);
    for (int i = 0; i < 5; i++) free(args[i]);
  }
  pinion_thread_pool_destroy(pool);
  arena_destroy(a);
  return 0;
}
