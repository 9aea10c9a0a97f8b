/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What the runtime itself costs on the cpu: a call of 50 launches that do next to nothing, or work for some
 * microseconds in as many blocks as there are threads. Prints figures; it is no test.
 *
 *   overhead [THREADS]
 */
#include "runtime/pinion.h"

#include "runtime/bench.h"

#include <stdio.h>

enum { LAUNCHES = 50, REPLAYS = 400 }; /* a short replay finds a quiet moment on a busy machine */

static double block_us; /* what one block works */

static void work(const pinion_cpu_block *b) {
  double end = block_us > 0 ? pinion_now_us() + block_us : 0;
  while (end > 0 && pinion_now_us() < end) continue;
  ((float *)b->args[0])[b->block] += 1;
}

static const pinion_kernel_desc kernels[] = {{"work", PINION_FAMILY_POINTWISE, NULL, work}};
static const pinion_buffer_desc buffers[] = {{"x", PINION_SPACE_ARENA, PINION_DTYPE_f32, 1, {1024}, 1024, 0, 4096}};
static const pinion_arg args[] = {{0, 0, 0}};
static const pinion_params params = {1, 1, {1024}, {{1}}, {0}, {0}};

/* The smallest time of a replay, in microseconds per launch; every launch depends on the one before. */
static double measure(uint32_t grid, int32_t threads, double us) {
  static pinion_launch_desc launches[LAUNCHES];
  static uint32_t dependencies[LAUNCHES];
  static double samples[REPLAYS];
  const pinion_stage_desc stages[] = {{"all", 0, LAUNCHES, 1}};
  const pinion_model_desc desc = {.abi_version = PINION_ABI_VERSION,
                                  .name = "overhead",
                                  .target = "cpu",
                                  .device = "cpu",
                                  .arena_bytes = 4096,
                                  .buffers = buffers,
                                  .kernels = kernels,
                                  .args = args,
                                  .launches = launches,
                                  .dependencies = dependencies,
                                  .stages = stages,
                                  .buffer_count = 1,
                                  .kernel_count = 1,
                                  .arg_count = 1,
                                  .launch_count = LAUNCHES,
                                  .dependency_count = LAUNCHES,
                                  .stage_count = 1};
  const pinion_options options = {.thread_count = threads};
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  block_us = us;
  for (uint32_t i = 0; i < LAUNCHES; i++) {
    dependencies[i] = i ? i - 1 : 0;
    launches[i] = (pinion_launch_desc){0, {grid, 1, 1}, {1, 1, 1}, 0, 0, 1, &params, i, i > 0, NULL};
  }
  pinion_status status = pinion_model_open(&desc, ".", &options, &model);
  if (!status) status = pinion_instance_create(model, &instance);
  if (!status) status = pinion_prepare(instance);
  if (!status) status = pinion_time_replays(instance, REPLAYS, samples);
  if (status) fprintf(stderr, "overhead: %s\n", pinion_last_error(model));
  pinion_instance_destroy(instance);
  pinion_model_close(model);
  return status ? 0 : pinion_quantiles_of(samples, REPLAYS).minimum / LAUNCHES;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 2;
  uint32_t grid = (uint32_t)threads;
  printf("one block, in the caller:           %7.3f us a launch\n", measure(1, threads, 0));
  printf("%d empty blocks, %d threads:          %7.3f us a launch\n", threads, threads, measure(grid, threads, 0));
  for (double us = 2; us <= 50; us *= 5) {
    double took = measure(grid, threads, us);
    printf("%d blocks of %2.0f us, %d threads:       %7.3f us a launch, %.3f of the ideal\n", threads, us, threads,
           took, us / took);
  }
  return 0;
}
