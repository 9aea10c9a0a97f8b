/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <cmocka.h>

#include "tools/pinion/compare.h"

static diagnostics quiet;

static tensor make(int count, const double *values) {
  const tensor_type type = {PINION_DTYPE_f64, 1, {count}};
  tensor t;
  assert_int_equal(tensor_create(&quiet, "t", &type, &t), STATUS_OK);
  for (int i = 0; i < count; i++) tensor_set(&t, i, values[i]);
  return t;
}

static comparison compare(int count, const double *x, const double *y, const double *minus, double rtol, double atol) {
  tensor a = make(count, x), b = make(count, y), m = {0};
  if (minus) m = make(count, minus);
  comparison c = compare_tensors(&a, &b, minus ? &m : NULL, NULL, rtol, atol);
  tensor_free(&a);
  tensor_free(&b);
  tensor_free(&m);
  return c;
}

static void errors_are_what_their_formulas_say(void **state) {
  (void)state;
  const double x[] = {3, 4.5, -1}, y[] = {3, 4, -2};
  comparison c = compare(3, x, y, NULL, 0, 0);
  assert_true(c.max_absolute == 1 && c.worst == 2);
  assert_true(c.max_relative == 0.5);
  assert_true(fabs(c.relative_l2 - sqrt(1.25 / 29)) < 1e-15);
  assert_true(fabs(c.cosine - (9 + 18 + 2) / sqrt(9 + 20.25 + 1) / sqrt(29)) < 1e-15);
  assert_int_equal(c.mismatches, 2);
  assert_int_equal(compare(3, x, y, NULL, 0.2, 0).mismatches, 1); /* 0.5 of 4 is within, 1 of 2 is not */
  assert_int_equal(compare(3, x, y, NULL, 0, 1).mismatches, 0);
}

/* The noise that both begin with makes a wrong chunk look right. */
static void what_both_share_can_be_taken_away(void **state) {
  (void)state;
  const double noise[] = {100, -100}, x[] = {101, -100}, y[] = {100, -99};
  assert_true(compare(2, x, y, NULL, 0, 0).relative_l2 < 0.011);
  comparison c = compare(2, x, y, noise, 0, 0);
  assert_true(fabs(c.relative_l2 - sqrt(2)) < 1e-12 && c.cosine == 0);
}

static void equal_tensors_have_no_error(void **state) {
  (void)state;
  const double x[] = {1, -INFINITY, NAN, 0}, zeros[] = {0, 0};
  comparison c = compare(4, x, x, NULL, 0, 0);
  assert_true(c.max_absolute == 0 && c.relative_l2 == 0 && c.cosine == 1 && c.mismatches == 0);
  c = compare(2, zeros, zeros, NULL, 0, 0);
  assert_true(c.relative_l2 == 0 && c.cosine == 1);
  c = compare(0, zeros, zeros, NULL, 0, 0);
  assert_true(c.relative_l2 == 0 && c.max_absolute == 0);
}

static void what_is_not_finite_on_one_side_is_infinitely_wrong(void **state) {
  (void)state;
  const double good[] = {1, 2}, bad[] = {1, NAN}, infinite[] = {INFINITY, 2}, zeros[] = {0, 0};
  assert_true(isinf(compare(2, bad, good, NULL, 1, 1).relative_l2));
  assert_true(isinf(compare(2, good, bad, NULL, 0, 0).relative_l2));
  assert_true(isinf(compare(2, infinite, good, NULL, 0, 0).relative_l2));
  assert_true(isinf(compare(2, good, zeros, NULL, 0, 0).relative_l2));
  assert_int_equal(compare(2, bad, good, NULL, 1e9, 1e9).mismatches, 1);
}

static void the_default_tolerance_follows_the_precision(void **state) {
  (void)state;
  pinion_buffer_desc buffers[] = {{.dtype = PINION_DTYPE_f32}, {.dtype = PINION_DTYPE_i64}};
  pinion_model_desc desc = {.buffers = buffers, .buffer_count = 2};
  assert_true(default_tolerance(&desc) == 1e-5);
  buffers[1].dtype = PINION_DTYPE_bf16;
  assert_true(default_tolerance(&desc) == 2e-2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errors_are_what_their_formulas_say),
      cmocka_unit_test(what_both_share_can_be_taken_away),
      cmocka_unit_test(equal_tensors_have_no_error),
      cmocka_unit_test(what_is_not_finite_on_one_side_is_infinitely_wrong),
      cmocka_unit_test(the_default_tolerance_follows_the_precision),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
