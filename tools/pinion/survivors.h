/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The tensors of a model that survive as buffers of its artifact: read launch by launch, because the arena's memory is
 * used again, and compared with what the reference interpreter computes for the ONNX node of the same name.
 */
#ifndef PINION_TOOLS_SURVIVORS_H
#define PINION_TOOLS_SURVIVORS_H

#include "compare.h"
#include "manifest.h"

typedef struct survivor {
  const char *name; /* the buffer's; borrowed from the artifact */
  uint32_t buffer;
  uint32_t last_launch; /* of the table: the one after which the buffer is complete */
  tensor value;         /* dense, as after that launch's first step; no data if it could not be kept */
  bool compared;
  comparison comparison; /* with the nearest of the values it may be */
  const char *node;      /* whose value that is; borrowed */
} survivor;

/* An ONNX node whose value a survivor may be: a fused launch has several. */
typedef struct survivor_node {
  const char *name; /* "NODE@MODULE.PATH" */
  size_t survivor;
} survivor_node;

typedef struct survivor_list {
  survivor *items; /* owned; by launch */
  size_t count;
  survivor_node *nodes; /* the arena's; sorted by name */
  size_t node_count;
  uint64_t bytes; /* held by the values */
} survivor_list;

/* Runs every launch of the artifact alone, in order (the inputs are set and the instance prepared), and keeps the arena
   buffers that launches leave, up to `limit` bytes. Nodes come from the artifact's manifest; without one (NULL), only
   the buffers' own names are known. */
status survivors_read(diagnostics *d, arena *memory, const artifact *a, const json *manifest, uint64_t limit,
                      survivor_list *out_list);
void survivors_free(survivor_list *list);

/* An eval_observer, `user` a survivor_list: compares an op's result with the survivors of its node and shape. */
bool survivors_observe(void *user, MlirOperation op, const eval_tensor *results, int result_count);

/* Prints how many agree within `relative_l2`, and those that do not, in the artifact's order. Returns how many do not.
 */
int survivors_print(const artifact *a, const survivor_list *list, double relative_l2);

#endif
