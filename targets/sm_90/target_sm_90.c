/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* NVIDIA Hopper (H100, H200). */
#include "sm_90.h"

#include "../nvidia/nvidia.h"

/* Rates: about half of the hardware's, as kernels reached them on an H200. */
static const nvidia_chip chip = {
    .name = "sm_90",
    .architecture = "sm_90a",
    .multiprocessors = MULTIPROCESSORS,
    .block_shared_bytes = SHARED_BYTES,
    .multiprocessor_shared_bytes = SHARED_PER_SM,
    .cluster_blocks = 8,
    .has_wgmma = true,
    .gemm = {.tensor = 3.0e6, .scalar = 0.25e6, .load = 68e3},
    .attention = {.tensor = 3.0e6, .scalar = 0.06e6, .load = 80e3, .exchange = 25e3},
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

const struct target target_sm_90 = {
    NVIDIA_TARGET,
    .name = "sm_90",
    .summary = "NVIDIA Hopper (H100, H200), cubins by NVRTC",
    .compute_capability = 90,
    .tensor_flops = 4096, /* H100's 989 TFLOP/s (data sheet, dense bf16) at 132 multiprocessors and 1830 MHz */
    .choose = choose,
    .candidates = candidates,
    .compile = compile,
};
