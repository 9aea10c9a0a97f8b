/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Follows the ONNX nodes through the passes: after each one it looks which nodes no living op names any more, and from
 * what their ops were before, what became of them (ir/account.h). A pass does nothing for it but join the locations of
 * the ops that a rewrite takes in.
 *
 * A node that is gone was
 *   folded  if all its ops depended on constants and weights alone;
 *   a view  if one of its ops only shaped or moved what a living op, or another such view, read (of canonicalise, which
 *           also removes x + 0 and the like, whatever its op was);
 *   dead    if neither.
 */
#ifndef PINION_PASSES_FATES_H
#define PINION_PASSES_FATES_H

#include "graph.h"

#include "../ir/account.h"

typedef struct fates_op fates_op;

/* What the ops of the module were when it was last looked at. */
typedef struct fates_snapshot {
  arena *arena;
  fates_op *ops; /* function by function, in order */
  int count;
} fates_snapshot;

/* Places in the account. */
typedef struct fates_nodes {
  int *nodes, count;
} fates_nodes;

typedef struct node_fates {
  compilation *compilation;
  arena *arena;
  node_account account; /* count 0: nothing is followed */
  pointer_map index;    /* from a node's location to its place in the account */
  pointer_map known;    /* from a location to its list */
  fates_nodes *lists;
  size_t list_count, list_capacity;
  fates_snapshot before;
  bool is_news; /* the module does not say it yet */
} node_fates;

/* Reads the module's account, and settles what the import left without ops. */
node_fates fates_begin(compilation *c, MlirModule module);
/* A pass has run. */
void fates_update(node_fates *f, MlirModule module, const pass_info *pass);
/* Writes the account into the module, if it has changed: for those who look at the module next. */
void fates_write(node_fates *f, MlirModule module);
void fates_end(node_fates *f);

#endif
