/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The tensors of a model that survive in its artifact: values of the ONNX graph that lie, whole, in a buffer after some
 * launch, as the manifest says. They are read launch by launch, because the arena's memory is used again, step by step
 * where a stage is repeated, and block by block where one launch computes the values of several cameras; and compared
 * with what the reference interpreter computes for them, but for elements that no output can see.
 */
#ifndef PINION_TOOLS_SURVIVORS_H
#define PINION_TOOLS_SURVIVORS_H

#include "compare.h"
#include "manifest.h"

typedef struct survivor {
  const char *name; /* of the ONNX value; the manifest's */
  uint32_t launch, step, buffer;
  tensor_type type;
  int64_t offset, stride[PINION_MAX_RANK]; /* elements of the buffer */
  tensor value;                            /* dense; no data if it was not kept */
  tensor reference;                        /* the same, once it has been observed */
  uint8_t *visible;                        /* owned; 0 for an element that no output can see; NULL: all can be seen */
  int64_t hidden;                          /* how many cannot */
  bool compared;
  comparison comparison;
} survivor;

typedef struct survivor_list {
  const json *manifest; /* borrowed */
  survivor *items;      /* the arena's; in the order in which launches complete them */
  size_t count;
  size_t *by_name; /* the arena's; indices, sorted */
  uint64_t bytes;  /* held */
  uint64_t limit;
} survivor_list;

/* Runs every launch of the artifact alone, in order (the inputs are set and the instance prepared), and keeps what
   survives, up to `limit` bytes with the references. The manifest may be JSON_NULL: nothing is known then. */
status survivors_read(diagnostics *d, arena *memory, const artifact *a, const json *manifest, uint64_t limit,
                      survivor_list *out_list);
void survivors_free(survivor_list *list);

/* For the interpreter's observer: keeps the op's result for the survivors of its name. */
void survivors_observe(survivor_list *list, MlirOperation op, const eval_tensor *results, int result_count);
/* A visible_report (ir/visible.h), `user` the list. */
void survivors_see(void *user, MlirOperation op, const uint8_t *mask);

/* Compares, and prints how many agree within `relative_l2`, those that do not, in the order of computation, and at
   which launch the error first grows: where it is out of line with that of all that the launch reads. Returns how many
   do not agree. */
int survivors_compare(const artifact *a, survivor_list *list, double relative_l2);

#endif
