/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * When something is so, as far as a pass can tell: always, never, or where each of up to four truths holds. A truth is
 * a number that stands for an element of a bool tensor that only a run of the model knows.
 */
#ifndef PINION_PASSES_CONDITION_H
#define PINION_PASSES_CONDITION_H

#include <stdbool.h>
#include <stdint.h>

/* The truths, plus one each, in 16 bits, ascending from the lowest; the rest is 0. */
typedef uint64_t condition;
#define CONDITION_ALWAYS ((condition)0)
#define CONDITION_NEVER UINT64_MAX
enum { CONDITION_MAXIMUM_TRUTHS = 4, CONDITION_TRUTH_COUNT = 0xFFFE /* they are below this */ };

condition condition_of_truth(int truth);
/* Copies the truths, ascending; returns how many. None for ALWAYS and NEVER. */
int condition_truths(condition c, int out_truths[CONDITION_MAXIMUM_TRUTHS]);

/* Where both hold. With more than four truths: four of them, a condition that is implied; then *out_exact, unless NULL,
   becomes false (else it stays). */
condition condition_both(condition a, condition b, bool *out_exact);
/* The strongest condition that holds wherever one of them does. */
condition condition_either(condition a, condition b);
/* Whether b holds wherever a does. */
bool condition_implies(condition a, condition b);
/* What `c` still asks where `given` holds. */
condition condition_given(condition c, condition given);

#endif
