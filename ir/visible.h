/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Which elements of a graph's values its results can see.
 *
 * The row of a padding token is computed like any other, but no token that matters attends to it: a fusion may leave
 * anything there, and a comparison of tensors must leave it out. What hides a row is known only when the graph has been
 * evaluated: a weight of an attention that is exactly 0, a condition. So the interpreter's observer notes these, and a
 * walk from the results backwards then says what they depend on. Where the walk knows no better, an op's operands are
 * visible as a whole.
 */
#ifndef PINION_IR_VISIBLE_H
#define PINION_IR_VISIBLE_H

#include "eval.h"

typedef struct visible_walk visible_walk;

/* For one function of the module without calls, as @main is when it has been imported. */
visible_walk *visible_begin(MlirModule module, const char *function);
void visible_end(visible_walk *walk); /* NULL is allowed */

/* To be called from the observer of the function's evaluation, for every op. */
void visible_observe(visible_walk *walk, MlirOperation op, const eval_tensor *results, int result_count);

/* Called for each op of one result, the last op first: one byte for each element, 0 where no result of the function
   depends on it; NULL: on none of them. Borrowed. */
typedef void visible_report(void *user, MlirOperation op, const uint8_t *mask);
void visible_run(visible_walk *walk, visible_report *report, void *user);

#endif
