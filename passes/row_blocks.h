/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Making dimension 0 of what a function computes larger: n blocks where there was one, each computed as that one was.
 * It can be done where every op that depends on an argument with rows computes each block of dimension 0 from the same
 * blocks of its operands.
 */
#ifndef PINION_PASSES_ROW_BLOCKS_H
#define PINION_PASSES_ROW_BLOCKS_H

#include "graph.h"

typedef struct row_blocks {
  compilation *compilation;
  arena *arena; /* borrowed */
  MlirOperation function;
  const bool *arguments; /* which have rows; NULL: all */
  bool follows_calls;    /* what a call computes has rows, and its callee grows as well */
  int64_t count;         /* of blocks */
  op_list ops;           /* of the function */
  pointer_map positions;
  bool *has_rows; /* per op: it depends on an argument with rows */
} row_blocks;

/* Reads the function's body. */
row_blocks row_blocks_read(compilation *c, arena *a, MlirOperation function, const bool *arguments, int64_t count);

/* Whether an argument, or what an op of the function computes, has rows. */
bool row_blocks_has(const row_blocks *r, MlirValue value);

/* What stands in the way: the first op that mixes blocks, or the terminator where a result has no rows, or null. */
MlirOperation row_blocks_obstacle(const row_blocks *r);
/* Whether every argument that has rows has a dimension 0, and there is one. */
bool row_blocks_fit_arguments(const row_blocks *r);

/* Grows the function in place: its arguments, its ops' results. Names of ONNX values stay, but for those of ops that
   have one where `of_one_call` says that they stand for one block alone. */
status row_blocks_grow(const row_blocks *r, bool of_one_call);

#endif
