/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Which values of a function are known before it runs: those that depend on weights and constants alone, and, in a
 * step, on its rows of tables as well, which hoist-tables computes for all steps at compile time.
 */
#ifndef PINION_PASSES_KNOWN_VALUES_H
#define PINION_PASSES_KNOWN_VALUES_H

#include "graph.h"

typedef struct known_values {
  int64_t first_table; /* arguments from here on are rows of tables */
  op_list ops;         /* of the function's body */
  pointer_map positions;
  bool *from_weights, *known; /* per op: by weights and constants alone; by rows of tables, too */
} known_values;

/* Both are false for a value of an op that was made since. */
bool value_is_known(const known_values *k, MlirValue value);
bool value_is_from_weights(const known_values *k, MlirValue value);

/* Calls `visit` for every function but @weights, which is evaluated once, op by op; then removes what died. */
status each_known_function(pass_context *context, MlirModule module,
                           status (*visit)(pass_context *context, arena *a, const known_values *known));

#endif
