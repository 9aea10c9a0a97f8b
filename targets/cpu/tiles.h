/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Tiles of the cpu's gemm. A row is how one block of a launch is cut for the caches; the micro-kernel's own tile
 * follows from the vector registers of the machine that compiles (gemm.c.in), so any row is legal on any machine, and
 * the cost model or the tuner says which is good.
 */
#ifndef PINION_TARGETS_CPU_TILES_H
#define PINION_TARGETS_CPU_TILES_H

#include "../target.h"

#define CPU_ATOM 16         /* columns of n in one packed panel: a cache line of floats */
#define CPU_PANELS 2        /* that a micro-kernel takes together at most */
#define ATTENTION_QUERIES 8 /* that share one pass over the keys, in the plain form */
#define ATTENTION_PANELS 4  /* of 16 rows that do, in the other */
#define ATTENTION_KEYS 84   /* looked at together: whole slivers of 6 and of 14 rows */

/*
 * Where the kernel's machine has a matrix unit, blocks are of one size, whatever the tile: such machines are alike.
 * Three bf16 for each of A's numbers and C in float32 are 1.2 MB of a level-2 cache of two; those of a strip of B lie
 * in the level-1 cache.
 */
#define MATRIX_ROWS 416 /* 13 strips of 32 */
#define MATRIX_COLUMNS 512
#define MATRIX_DEPTH 96
#define MATRIX_SLICES 3

typedef struct cpu_tile {
  const char *name;
  int rows;     /* of A (and C) in a block: with `depth` they fill half of a level-2 cache; 0: the plain form */
  int columns;  /* of C in a block at most */
  int depth;    /* of k in one pass */
  bool packs_a; /* brings the rows of a pass together; else they are read where they lie, if they are contiguous */
} cpu_tile;

extern const cpu_tile cpu_tiles[];
extern const int cpu_tile_count;

/* NULL, or why the tile cannot compute the problem. Static. */
const char *cpu_tile_refusal(const cpu_tile *tile, const kernel_problem *problem);
/* Bytes of scratch that a worker needs: rows of A, a block of C in float32, panels of B. */
int64_t cpu_tile_scratch(const cpu_tile *tile);
/* Microseconds on one thread, by the model. */
double cpu_tile_cost(const cpu_tile *tile, const kernel_problem *problem);

#endif
