/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Conditions against all ways in which six truths can hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "passes/condition.h"

enum { TRUTHS = 6, WORLDS = 1 << TRUTHS, SAMPLES = 58 };

static bool holds(condition c, int world) {
  int truths[CONDITION_MAXIMUM_TRUTHS];
  const int count = condition_truths(c, truths);
  if (c == CONDITION_NEVER) return false;
  for (int i = 0; i < count; i++)
    if (!(world >> truths[i] & 1)) return false;
  return true;
}

/* Every conjunction of up to four of the truths, and NEVER. */
static int make_samples(condition *samples) {
  int count = 0;
  for (int set = 0; set < WORLDS; set++) {
    condition c = CONDITION_ALWAYS;
    bool exact = true;
    for (int truth = TRUTHS - 1; truth >= 0; truth--)
      if (set >> truth & 1) c = condition_both(condition_of_truth(truth), c, &exact);
    if (exact) samples[count++] = c;
  }
  samples[count++] = CONDITION_NEVER;
  return count;
}

static void both_holds_where_both_do(void **state) {
  (void)state;
  condition samples[WORLDS + 1];
  const int count = make_samples(samples);
  assert_int_equal(count, SAMPLES);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < count; k++) {
      bool exact = true;
      const condition both = condition_both(samples[i], samples[k], &exact);
      assert_true(both == condition_both(samples[k], samples[i], NULL) || !exact);
      for (int world = 0; world < WORLDS; world++) {
        const bool expected = holds(samples[i], world) && holds(samples[k], world);
        if (exact) assert_int_equal(holds(both, world), expected);
        if (expected) assert_true(holds(both, world)); /* implied when not exact */
      }
    }
}

static void either_is_implied_by_each_and_no_weaker_than_must_be(void **state) {
  (void)state;
  condition samples[WORLDS + 1];
  const int count = make_samples(samples);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < count; k++) {
      const condition either = condition_either(samples[i], samples[k]);
      assert_true(condition_implies(samples[i], either) && condition_implies(samples[k], either));
      for (int c = 0; c < count; c++)
        if (condition_implies(samples[i], samples[c]) && condition_implies(samples[k], samples[c]))
          assert_true(condition_implies(either, samples[c]));
    }
}

static void implication_and_what_is_left_agree_with_every_world(void **state) {
  (void)state;
  condition samples[WORLDS + 1];
  const int count = make_samples(samples);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < count; k++) {
      bool implied = true;
      const condition left = condition_given(samples[i], samples[k]);
      for (int world = 0; world < WORLDS; world++) {
        implied &= !holds(samples[i], world) || holds(samples[k], world);
        if (holds(samples[k], world)) assert_int_equal(holds(left, world), holds(samples[i], world));
      }
      assert_int_equal(condition_implies(samples[i], samples[k]), implied);
    }
}

static void truths_up_to_the_greatest_are_told_apart(void **state) {
  (void)state;
  int truths[CONDITION_MAXIMUM_TRUTHS];
  const int greatest = CONDITION_TRUTH_COUNT - 1;
  const condition c = condition_both(condition_of_truth(greatest), condition_of_truth(0), NULL);
  assert_int_equal(condition_truths(c, truths), 2);
  assert_int_equal(truths[0], 0);
  assert_int_equal(truths[1], greatest);
  condition all = CONDITION_ALWAYS;
  for (int i = 0; i < CONDITION_MAXIMUM_TRUTHS; i++) all = condition_both(all, condition_of_truth(greatest - i), NULL);
  assert_true(all != CONDITION_NEVER);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_holds_where_both_do),
      cmocka_unit_test(either_is_implied_by_each_and_no_weaker_than_must_be),
      cmocka_unit_test(implication_and_what_is_left_agree_with_every_world),
      cmocka_unit_test(truths_up_to_the_greatest_are_told_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
