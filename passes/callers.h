/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Seeing through functions: what their callers pass for an argument, and what they return. */
#ifndef PINION_PASSES_CALLERS_H
#define PINION_PASSES_CALLERS_H

#include "graph.h"

/* Every func.call and pinion.steps of the function whose argument `argument` is; none for @main's. */
op_list argument_callers(arena *a, MlirValue argument);
/* Whether a caller changes the argument from step to step: the value that pinion.steps carries. */
bool caller_carries(MlirOperation caller, intptr_t number);
/* Whether a caller passes a row of a table: another one at every step. */
bool caller_passes_row(MlirOperation caller, intptr_t number);
/* What the callee returns for a func.call's result; null if `result` is none. */
MlirValue returned_value(arena *a, MlirValue result);

/* Whether two values of a function are the same elements in the same order, whatever their shapes: one value, or
   columns of one, through reshapes, arguments and calls. False where it is not proven. */
bool values_equal_across_calls(arena *a, MlirValue x, MlirValue y);

#endif
