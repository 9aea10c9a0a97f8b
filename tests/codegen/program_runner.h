/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Runs a module at launch level in memory of its own, by the letter of runtime/abi.h, and watches every byte of the
 * arena: a launch that reads what another buffer's owner has overwritten, or what nobody wrote, is found out.
 */
#ifndef PINION_TESTS_PROGRAM_RUNNER_H
#define PINION_TESTS_PROGRAM_RUNNER_H

#include "codegen/artifact.h"
#include "ir/eval.h"

typedef enum runner_order {
  RUNNER_IN_ORDER,   /* as the table has the launches */
  RUNNER_LATE_FIRST, /* of the launches whose `after` is done, the last one first: dependencies must suffice */
} runner_order;

typedef struct runner {
  compilation *c;
  program p;
  uint8_t **memory; /* per buffer: its first byte */
  uint8_t *arena;
  int32_t *owner; /* per byte of the arena: which buffer wrote it last; -1 nobody */
  int faults;     /* reads of bytes that are not the buffer's */
  char first_fault[256];
} runner;

/* Evaluates @weights and allocates memory. */
status runner_create(compilation *c, MlirModule module, runner *out_runner);
void runner_destroy(runner *r);
/* The memory of an input or output by index; dense. */
void *runner_input(runner *r, int index);
void *runner_output(runner *r, int index);
/* Runs the whole program once. */
status runner_run(runner *r, runner_order order);

#endif
