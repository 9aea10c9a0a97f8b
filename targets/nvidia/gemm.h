/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Gemm on NVIDIA's targets: tiles are rows of one table (target_gemm.c), each of a form. */
#ifndef PINION_TARGETS_NVIDIA_GEMM_H
#define PINION_TARGETS_NVIDIA_GEMM_H

#include "nvidia.h"

typedef struct gemm_tile gemm_tile;

/* A way to compute a gemm: a kernel's source and its host code. */
typedef struct gemm_form {
  /* Why the chip cannot do the problem in this tile, or NULL. */
  const char *(*refusal)(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile);
  /* Microseconds. */
  double (*cost)(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile);
  /* All of a choice but its tile and cost. */
  void (*choose)(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const gemm_tile *tile,
                 kernel_choice *choice);
} gemm_form;

extern const gemm_form gemm_fma;   /* fused multiply-adds: anything */
extern const gemm_form gemm_mma;   /* mma.sync */
extern const gemm_form gemm_wgmma; /* sm_90: weights as wgmma's M, tokens as its N */

struct gemm_tile {
  const char *name;
  const gemm_form *form;
  int m, n;             /* of the tile: tokens, rows of b */
  int warps_m, warps_n; /* gemm_mma */
  int split;            /* gemm_wgmma: blocks of a cluster that share k */
};

/* Gemm's part of nvidia_choose and nvidia_candidates. */
bool choose_gemm(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const char *tile,
                 kernel_choice *choice, const char **out_why);
int gemm_candidates(const nvidia_chip *chip, const kernel_problem *problem, const char **out_tiles, int capacity);

#endif
