/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Which rewrite of which optional pass breaks a model. The model is compiled again with the first n rewrites alone, and
 * n is halved in on: up to n - 1 it is right, with n it is wrong.
 *
 * Two judges. The reference interpreter, on the IR that the passes leave: a rewrite that changes what is computed shows
 * there. Where the IR stays right, the artifact itself is built and run: then a rewrite made an op that is lowered, or
 * computed by its kernel, wrongly.
 */
#ifndef PINION_TOOLS_BISECT_H
#define PINION_TOOLS_BISECT_H

#include "compare.h"
#include "json.h"

typedef struct bisect_request {
  const char *model;         /* all borrowed */
  const artifact *artifact;  /* opened: for its target, inputs and outputs */
  artifact_flags flags;      /* how to open others */
  const json *manifest;      /* for the flags that it was compiled with */
  eval_precision precision;  /* of the interpreter */
  const tensor_list *inputs; /* the artifact's */
  const tensor_list *references;
  tolerance limits;
} bisect_request;

/* For an artifact whose outputs are beyond the tolerance. Prints every attempt, and the finding. STATUS_OK once
   something is found out, whatever it is. */
status bisect_passes(diagnostics *d, arena *memory, const bisect_request *request);

#endif
