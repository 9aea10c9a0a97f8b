/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * NVIDIA Jetson Thor (T5000). Its tensor cores take mma.sync and tcgen05, of which Pinion has mma.sync so far; they
 * have no wgmma. Clusters, programmatic launches and shared memory are Hopper's.
 */
#include "../nvidia/nvidia.h"

/*
 * 20 of the 24 multiprocessors that 3 GPCs have room for: none of them is sure to have 8, so that a cluster of 8 blocks
 * which each fill a multiprocessor might never start. Rates are sm_90's, by the clocks (1575 and 1980 MHz): none is
 * measured.
 */
static const nvidia_chip chip = {
    .name = "sm_110",
    .architecture = "sm_110a",
    .multiprocessors = 20,
    .block_shared_bytes = 232448,
    .multiprocessor_shared_bytes = 233472,
    .cluster_blocks = 4,
    .has_wgmma = false,
    .gemm = {.tensor = 2.4e6, .scalar = 0.2e6, .load = 54e3},
    .attention = {.tensor = 2.4e6, .scalar = 0.05e6, .load = 64e3, .exchange = 20e3},
};

static bool choose(arena *a, const kernel_problem *problem, const char *tile, kernel_choice *out_choice,
                   const char **out_why) {
  return nvidia_choose(&chip, a, problem, tile, out_choice, out_why);
}

static int candidates(const kernel_problem *problem, const char **out_tiles, int capacity) {
  return nvidia_candidates(&chip, problem, out_tiles, capacity);
}

static status compile(diagnostics *d, const char *name, const char *source, kernel_blob *out_blob) {
  return nvidia_compile(&chip, d, name, source, out_blob);
}

const struct target target_sm_110 = {
    NVIDIA_TARGET,
    .name = "sm_110",
    .summary = "NVIDIA Jetson Thor, cubins by NVRTC",
    .compute_capability = 110,
    .tensor_flops =
        8192, /* 1035 TFLOP/s (data sheet, dense FP4), a quarter in bf16, at 20 multiprocessors and 1575 MHz */
    .choose = choose,
    .candidates = candidates,
    .compile = compile,
};
