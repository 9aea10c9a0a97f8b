/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Problems of a policy's layers, as the compiler asks a GPU's target for them. */
#ifndef PINION_TESTS_UNIT_GPU_PROBLEMS_H
#define PINION_TESTS_UNIT_GPU_PROBLEMS_H

#include "targets/target.h"

#include <string.h>

/* y[m, n] = sum_k a[m, k] * b[n, k], dense, in float32. */
static inline kernel_problem gemm_problem(pinion_dtype a, pinion_dtype b, int64_t m, int64_t n, int64_t k) {
  kernel_problem problem = {.family = PINION_FAMILY_GEMM, .result_count = 1};
  problem.params = (pinion_params){.rank = PINION_GEMM_RANK,
                                   .arg_count = 3,
                                   .size = {1, 1, m, 1, n, 1, k},
                                   .stride = {{[PINION_GEMM_M] = n, [PINION_GEMM_N] = 1},
                                              {[PINION_GEMM_M] = k, [PINION_GEMM_K] = 1},
                                              {[PINION_GEMM_N] = k, [PINION_GEMM_K] = 1}}};
  problem.dtypes[0] = PINION_DTYPE_f32;
  problem.dtypes[1] = a;
  problem.dtypes[2] = b;
  return problem;
}

/* As the compiler asks for a linear layer: packed weights, padded rows. */
static inline kernel_problem layer_problem(int64_t m, int64_t n, int64_t k) {
  kernel_problem problem = gemm_problem(PINION_DTYPE_bf16, PINION_DTYPE_bf16, m, n, k);
  int64_t pitch = (k + 7) / 8 * 8;
  problem.params.stride[1][PINION_GEMM_M] = pitch;
  memset(problem.params.stride[2], 0, sizeof problem.params.stride[2]);
  problem.packed_b = problem.aligned[0] = problem.aligned[1] = problem.aligned[2] = true;
  return problem;
}

/* q, k and v of `heads` query heads a K/V head, each token's side by side; a bool mask of keys where there is one. */
static inline kernel_problem attention_problem(int64_t groups, int64_t heads, int64_t queries, int64_t keys,
                                               int64_t width) {
  kernel_problem problem = {.family = PINION_FAMILY_ATTENTION, .result_count = 1};
  const int64_t token = groups * (heads + 2) * width, of_head = heads * width;
  problem.params = (pinion_params){.rank = 7,
                                   .arg_count = 5,
                                   .size = {1, groups, heads, queries, keys, width, width},
                                   .stride = {{0, of_head, width, groups * of_head, 0, 0, 1},
                                              {0, of_head, width, token, 0, 1, 0},
                                              {0, width, 0, 0, token, 1, 0},
                                              {0, width, 0, 0, token, 0, 1},
                                              {0, 0, 0, 0, 1, 0, 0}},
                                   .scalar = {0.1}};
  for (int i = 0; i < 4; i++) problem.dtypes[i] = PINION_DTYPE_bf16;
  for (int i = 0; i < 5; i++) problem.aligned[i] = true;
  problem.dtypes[4] = PINION_DTYPE_bool;
  return problem;
}

#endif
