/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What stands behind --remarks: one line for each rewrite of an optional pass, and for each that nearly was.
 *
 *   remark: fuse-qkv: fired at 'q_proj@layers.0.self_attn' and 2 more nodes
 *   remark: fuse-qkv: not at 'gate_proj@layers.0.mlp': 2 projections of one input stay apart: ..
 *
 * pass_may_rewrite makes the first kind, pass_missed the second. A pass says a thing once, however often it looks.
 */
#ifndef PINION_PASSES_REMARKS_H
#define PINION_PASSES_REMARKS_H

#include "graph.h"

struct remark_log {
  FILE *stream;     /* borrowed */
  const char *pass; /* the one that is running */
  arena *arena;
  pointer_map said; /* hashes of its lines */
};

/* Begins the remarks of one pass; remarks_end frees them. */
remark_log remarks_begin(FILE *stream, const char *pass);
void remarks_end(remark_log *log);
/* `log` may be NULL. */
void remark_fired(remark_log *log, MlirLocation location);

#endif
