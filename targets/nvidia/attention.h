/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Attention on NVIDIA's targets: tiles are rows of one table (target_attention.c), each of a form. */
#ifndef PINION_TARGETS_NVIDIA_ATTENTION_H
#define PINION_TARGETS_NVIDIA_ATTENTION_H

#include "nvidia.h"

enum { GROUP = 1, HEAD, QUERY, KEY, DEPTH, VALUE };  /* dimensions of the space, [b g h q k d e] */
enum { Y_ARG, Q_ARG, K_ARG, V_ARG, MASK_ARG, ARGS }; /* MASK_ARG may be missing */

typedef struct attention_tile attention_tile;

/* A way to compute attention: a kernel's source and its host code. */
typedef struct attention_form {
  /* Why the chip cannot do the problem in this tile, or NULL. */
  const char *(*refusal)(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile);
  /* Microseconds. */
  double (*cost)(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile);
  /* All of a choice but its tile and cost. */
  void (*choose)(const kernel_problem *problem, const attention_tile *tile, kernel_choice *choice);
} attention_form;

extern const attention_form attention_plain; /* attention.cu: anything */
extern const attention_form attention_mma;   /* attention_mma.cu: few rows */
extern const attention_form attention_wgmma; /* sm_90's attention_wgmma.cu: many */
extern const attention_form
    attention_split; /* sm_90's attention_split.cu: few rows, and keys for one block of a cluster each */

/* A row is a query of a query head: those of one K/V head go together. */
struct attention_tile {
  const char *name;
  const attention_form *form;
  int rows, keys; /* of a block, at a time; keys at most */
  int split;      /* blocks of a cluster that share the keys of the same rows; attention_wgmma: warpgroups */
};

/* ---- What both kernels for tensor cores need ---- */

/* Why no tile for tensor cores can do a problem, or `blocks` blocks of so much shared memory cannot; or NULL. */
const char *tensor_refusal(const nvidia_chip *chip, const kernel_problem *problem, int64_t blocks,
                           int64_t shared_bytes);
/* Tiles of rows, of all K/V heads. */
int64_t row_tiles(const kernel_problem *problem, const attention_tile *tile);
/* Shared memory for the bits of a mask that is the same for all queries, `keys` keys a block; else 0. */
int64_t mask_bytes(const kernel_problem *problem, int64_t keys);
/* What attention_common.cuh asks for. */
void define_common(const kernel_problem *problem, int64_t keys, text *out);

/* ---- Where the blocks of a cluster share the keys ---- */

/* Microseconds: rounds of blocks over the multiprocessors, each its operands' way from L2, with so many keys, its
   products, which take so long, and the exchange within the cluster. */
double cluster_cost(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile, int64_t keys,
                    double products);
/* The grid and the macros for `keys` keys of a block at a time; the source and its shared memory are the form's. */
void choose_cluster(const kernel_problem *problem, const attention_tile *tile, int64_t keys, kernel_choice *choice);

/* ---- Attention's part of nvidia_choose and nvidia_candidates ---- */

bool choose_attention(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const char *tile,
                      kernel_choice *choice, const char **out_why);
int attention_candidates(const nvidia_chip *chip, const kernel_problem *problem, const char **out_tiles, int capacity);

#endif
