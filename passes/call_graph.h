/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Who calls whom, and values across functions: through arguments to what the caller passes, through calls to what the
 * callee returns, and new arguments and results that carry a value where it is wanted.
 */
#ifndef PINION_PASSES_CALL_GRAPH_H
#define PINION_PASSES_CALL_GRAPH_H

#include "graph.h"

typedef struct call_graph {
  compilation *compilation;
  arena *arena; /* borrowed */
  MlirModule module;
  pointer_map called;     /* function -> index into `callers`; absent: nothing calls it */
  MlirOperation *callers; /* null where there are several */
  size_t count, capacity;
} call_graph;

call_graph call_graph_read(compilation *c, arena *a, MlirModule module);

/* The function that a func.call or a pinion.steps names; null for any other op. */
MlirOperation call_graph_callee(const call_graph *g, MlirOperation op);
/* The one op that calls `function`; null if there is none, or several. */
MlirOperation call_graph_only_caller(const call_graph *g, MlirOperation function);
/* Whether the function is evaluated once in a run of the model: it is not called, or by one func.call in such a
   function. */
bool call_graph_runs_once(const call_graph *g, MlirOperation function);
/* The op of `outer` by whose call `function` is evaluated; null if there is none such, or it has several callers. */
MlirOperation call_graph_call_towards(const call_graph *g, MlirOperation outer, MlirOperation function);
/* The function that `value` belongs to. */
MlirOperation value_function(MlirValue value);

/* Whether argument `index` is the same at every step: neither the carried value nor a row of a table. */
bool steps_pass_whole(MlirOperation steps, intptr_t index);

/* The value that `value` is another name of: an argument of a function with one caller is what that passes, a call's
   result what the callee returns. */
MlirValue value_origin(const call_graph *g, MlirValue value);

/* `value`, or what it is the origin of, as a value of `function`: by arguments there are, else by new arguments and
   results of the functions between. It must be there when `function` is called. Null, with a diagnostic, if MLIR
   refuses.
 */
MlirValue value_carry(call_graph *g, MlirValue value, MlirOperation function);

#endif
