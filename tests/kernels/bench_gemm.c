/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Times the cpu target's gemm. Usage: bench_gemm THREADS [MILLISECONDS], then lines on stdin:
 *
 *   M N K TYPE [TILE]   a[m,k], c[m,n] in f32, packed weights b[n,k] of TYPE (f32, bf16, f16); the cost model's tile,
 * "all" of them, or the one named. Prints `tile best-us median-us runs GFLOP/s` for each, then an empty line.
 *
 * Repeating a line measures again without building again, so that a driver can take turns with what it compares to.
 */
#include "tools/pinion/kernel_library.h"

#include <stdlib.h>
#include <string.h>

typedef struct built_kernel {
  char key[64]; /* type and tile */
  kernel_library library;
  pinion_cpu_kernel *kernel;
} built_kernel;

static built_kernel built[64];
static int built_count;

/* The kernel of a choice, built at its first use. NULL on failure. */
static pinion_cpu_kernel *find_kernel(const struct target *target, const kernel_problem *problem,
                                      const kernel_choice *choice) {
  char key[64];
  snprintf(key, sizeof key, "%s %s", dtype_name(problem->dtypes[2]), choice->tile);
  for (int i = 0; i < built_count; i++)
    if (!strcmp(built[i].key, key)) return built[i].kernel;
  if (built_count == 64) return NULL;
  built_kernel *b = &built[built_count++];
  strcpy(b->key, key);
  if (kernel_library_begin(&b->library, target, kernel_compiler()) &&
      kernel_library_add(&b->library, problem, choice, "gemm") && kernel_library_build(&b->library))
    b->kernel = kernel_library_find(&b->library, "gemm");
  return b->kernel;
}

static void measure(arena *a, pinion_thread_pool *pool, const kernel_problem *problem, void **args, const char *tile,
                    double milliseconds) {
  const struct target *cpu = target_find("cpu");
  kernel_choice choice;
  kernel_timing timing;
  const char *why = "";
  if (!cpu->choose(a, problem, tile, &choice, &why)) {
    fprintf(stderr, "%s\n", why);
    return;
  }
  kernel_launch launch = {find_kernel(cpu, problem, &choice), &problem->params, args, choice.grid[0],
                          choice.dynamic_shared_bytes};
  text_free(&choice.defines);
  if (!launch.kernel || !kernel_measure(pool, &launch, milliseconds, &timing)) return;
  const int64_t *size = problem->params.size;
  printf("%s %.2f %.2f %d %.1f\n", choice.tile, timing.best, timing.median, timing.count,
         2e-3 * (double)(size[PINION_GEMM_M] * size[PINION_GEMM_N] * size[PINION_GEMM_K]) / timing.best);
}

int main(int argc, char **argv) {
  const struct target *cpu = target_find("cpu");
  const double milliseconds = argc > 2 ? atof(argv[2]) : 100;
  pinion_thread_pool *pool = pinion_thread_pool_create(argc > 1 ? (uint32_t)atoi(argv[1]) : 1);
  char line[256];
  arena *a = arena_create();
  if (!pool) return 1;
  while (fgets(line, sizeof line, stdin)) {
    long long m, n, k;
    char type[16], tile[64] = "";
    pinion_dtype dtypes[3] = {PINION_DTYPE_f32, PINION_DTYPE_f32, PINION_DTYPE_f32};
    void *args[3];
    if (sscanf(line, "%lld %lld %lld %15s %63s", &m, &n, &k, type, tile) < 4 || !dtype_from_name(type, &dtypes[2]))
      continue;
    const kernel_problem problem = gemm_problem(m, n, k, dtypes);
    if (!gemm_allocate(cpu, &problem, args)) return 1;
    const char *tiles[32] = {tile[0] ? tile : NULL};
    const int count = !strcmp(tile, "all") ? cpu->candidates(&problem, tiles, 32) : 1;
    for (int i = 0; i < count; i++) measure(a, pool, &problem, args, tiles[i], milliseconds);
    printf("\n");
    fflush(stdout);
    gemm_free(args);
  }
  for (int i = 0; i < built_count; i++) kernel_library_end(&built[i].library);
  pinion_thread_pool_destroy(pool);
  arena_destroy(a);
  return 0;
}
