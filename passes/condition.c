/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Conjunctions of truths. */
#include "condition.h"

enum { TRUTH_BITS = 16, TRUTH_MASK = 0xFFFF };

condition condition_of_truth(int truth) {
  return (condition)truth + 1;
}

int condition_truths(condition c, int out_truths[CONDITION_MAXIMUM_TRUTHS]) {
  int count = 0;
  if (c == CONDITION_NEVER) return 0;
  for (; c; c >>= TRUTH_BITS) out_truths[count++] = (int)(c & TRUTH_MASK) - 1;
  return count;
}

condition condition_both(condition a, condition b, bool *out_exact) {
  if (a == CONDITION_NEVER || b == CONDITION_NEVER) return CONDITION_NEVER;
  condition both = 0;
  int count = 0;
  while (a || b) {
    const condition x = a & TRUTH_MASK, y = b & TRUTH_MASK, least = !y || (x && x < y) ? x : y;
    if (x == least) a >>= TRUTH_BITS;
    if (y == least) b >>= TRUTH_BITS;
    if (count == CONDITION_MAXIMUM_TRUTHS) {
      if (out_exact) *out_exact = false;
      break;
    }
    both |= least << TRUTH_BITS * count++;
  }
  return both;
}

/* The truths of a that are, or are not, among b's. */
static condition select_truths(condition a, condition b, bool among) {
  condition selected = 0;
  for (int count = 0; a; a >>= TRUTH_BITS) {
    bool found = false;
    for (condition rest = b; rest && !found; rest >>= TRUTH_BITS) found = (rest & TRUTH_MASK) == (a & TRUTH_MASK);
    if (found == among) selected |= (a & TRUTH_MASK) << TRUTH_BITS * count++;
  }
  return selected;
}

condition condition_either(condition a, condition b) {
  if (a == b || b == CONDITION_NEVER) return a;
  return a == CONDITION_NEVER ? b : select_truths(a, b, true);
}

bool condition_implies(condition a, condition b) {
  if (a == b || b == CONDITION_ALWAYS || a == CONDITION_NEVER) return true;
  return b != CONDITION_NEVER && select_truths(b, a, false) == 0;
}

condition condition_given(condition c, condition given) {
  if (c == CONDITION_NEVER || c == CONDITION_ALWAYS || given == CONDITION_NEVER) return c;
  return select_truths(c, given, false);
}
