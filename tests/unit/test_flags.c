/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tools/pinion/flags.h"

typedef struct values {
  const char *output;
  int64_t threads, shift;
  double tolerance;
  bool check;
  flag_list disabled;
  const char *positional[2];
  int exit_status;
  char said[1024]; /* what went to stderr */
} values;

/* Redirects a stream into a file while flags_parse speaks. */
static int capture_begin(FILE *stream, FILE *into) {
  fflush(stream);
  int saved = dup(fileno(stream));
  dup2(fileno(into), fileno(stream));
  return saved;
}

static void capture_end(FILE *stream, int saved, FILE *into, char *out_text, size_t capacity) {
  fflush(stream);
  dup2(saved, fileno(stream));
  close(saved);
  rewind(into);
  size_t length = fread(out_text, 1, capacity - 1, into);
  out_text[length] = 0;
  fclose(into);
}

static bool parse_from(values *v, FILE *stream, const char *const *words) {
  const flag flags[] = {
      FLAG("output", FLAG_STRING, &v->output, "DIR", "where to", .short_name = "o"),
      FLAG("threads", FLAG_INTEGER, &v->threads, "N", "workers", .environment = "PINION_TEST_THREADS"),
      FLAG("shift", FLAG_INTEGER, &v->shift, "N", "signed", .signed_value = true),
      FLAG("tolerance", FLAG_NUMBER, &v->tolerance, "X", "largest error"),
      FLAG("check", FLAG_SWITCH, &v->check, NULL, "hashes all"),
      FLAG("disable-pass", FLAG_LIST, &v->disabled, "NAME", "skips a pass"),
  };
  const command_syntax syntax = {"test", "MODEL [MORE]", "tests", flags, FLAG_COUNT(flags), 1, 2, "A note."};
  char *argv[16] = {"test"};
  int argc = 1;
  for (; words[argc - 1]; argc++) argv[argc] = (char *)words[argc - 1];
  FILE *file = tmpfile();
  assert_non_null(file);
  int saved = capture_begin(stream, file);
  bool parsed = flags_parse(&syntax, argc, argv, v->positional, &v->exit_status);
  capture_end(stream, saved, file, v->said, sizeof v->said);
  return parsed;
}

#define PARSE(v, ...) parse_from(v, stderr, (const char *const[]){__VA_ARGS__, NULL})

static void values_come_after_an_equals_sign_or_as_the_next_word(void **state) {
  (void)state;
  values v = {.threads = 7};
  assert_true(PARSE(&v, "--output=a", "model", "--tolerance", "1e-5", "--shift=-3", "--check"));
  assert_string_equal(v.output, "a");
  assert_string_equal(v.positional[0], "model");
  assert_null(v.positional[1]);
  assert_true(v.tolerance == 1e-5 && v.shift == -3 && v.check);
  assert_int_equal(v.threads, 7); /* what was not given keeps its default */
  assert_true(PARSE(&v, "-o", "b", "model") && !strcmp(v.output, "b"));
  assert_true(PARSE(&v, "-oc", "model", "--check=false") && !strcmp(v.output, "c") && !v.check);
}

static void repeated_flags_make_a_list(void **state) {
  (void)state;
  values v = {0};
  assert_true(PARSE(&v, "m", "--disable-pass=a", "--disable-pass", "b"));
  assert_int_equal(v.disabled.count, 2);
  assert_string_equal(v.disabled.items[1], "b");
}

static void two_dashes_end_the_flags(void **state) {
  (void)state;
  values v = {0};
  assert_true(PARSE(&v, "--", "--odd-name", "-h"));
  assert_string_equal(v.positional[0], "--odd-name");
  assert_string_equal(v.positional[1], "-h");
}

static void an_unknown_flag_exits_2_with_a_suggestion(void **state) {
  (void)state;
  values v = {0};
  assert_false(PARSE(&v, "m", "--thraeds=3"));
  assert_int_equal(v.exit_status, 2);
  assert_non_null(strstr(v.said, "did you mean '--threads'?"));
  assert_false(PARSE(&v, "m", "--completely-different"));
  assert_null(strstr(v.said, "did you mean"));
  assert_non_null(strstr(v.said, "--help"));
  assert_false(PARSE(&v, "m", "-x"));
  assert_int_equal(v.exit_status, 2);
}

static void bad_values_are_refused(void **state) {
  (void)state;
  values v = {0};
  assert_false(PARSE(&v, "m", "--threads=many"));
  assert_false(PARSE(&v, "m", "--threads=-1"));
  assert_false(PARSE(&v, "m", "--threads=99999999999999999999"));
  assert_false(PARSE(&v, "m", "--threads="));
  assert_false(PARSE(&v, "m", "--tolerance=nan"));
  assert_false(PARSE(&v, "m", "--tolerance=-1e-5"));
  assert_false(PARSE(&v, "m", "--check=perhaps"));
  assert_false(PARSE(&v, "m", "--output"));
  assert_int_equal(v.exit_status, 2);
}

static void the_number_of_words_is_checked(void **state) {
  (void)state;
  values v = {0};
  assert_false(PARSE(&v, "--check"));
  assert_non_null(strstr(v.said, "MODEL"));
  assert_true(PARSE(&v, "a", "b"));
  assert_false(PARSE(&v, "a", "b", "c"));
  assert_non_null(strstr(v.said, "'c'"));
}

static void the_environment_speaks_only_where_the_command_line_is_silent(void **state) {
  (void)state;
  values v = {0};
  setenv("PINION_TEST_THREADS", "5", 1);
  assert_true(PARSE(&v, "m"));
  assert_int_equal(v.threads, 5);
  assert_true(PARSE(&v, "m", "--threads=6"));
  assert_int_equal(v.threads, 6);
  setenv("PINION_TEST_THREADS", "five", 1);
  assert_false(PARSE(&v, "m"));
  unsetenv("PINION_TEST_THREADS");
}

static void help_lists_every_flag_and_exits_0(void **state) {
  (void)state;
  values v = {0};
  const char *const words[] = {"--nonsense-after-help-is-not-read", NULL}, *const help[] = {"--help", words[0], NULL};
  assert_false(parse_from(&v, stdout, help));
  assert_int_equal(v.exit_status, 0);
  const char *const expected[] = {"usage: pinion test [flags] MODEL [MORE]",
                                  "--output=DIR, -o",
                                  "--disable-pass=NAME",
                                  "may be repeated",
                                  "[PINION_TEST_THREADS]",
                                  "A note."};
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) assert_non_null(strstr(v.said, expected[i]));
}

static void nearest_word_sees_slips_but_not_strangers(void **state) {
  (void)state;
  const char *const words[] = {"compile", "import", "inspect"};
  assert_string_equal(nearest_word("complie", words, 3), "compile");
  assert_string_equal(nearest_word("inspct", words, 3), "inspect");
  assert_null(nearest_word("train", words, 3));
  assert_null(nearest_word("", words, 3));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_come_after_an_equals_sign_or_as_the_next_word),
      cmocka_unit_test(repeated_flags_make_a_list),
      cmocka_unit_test(two_dashes_end_the_flags),
      cmocka_unit_test(an_unknown_flag_exits_2_with_a_suggestion),
      cmocka_unit_test(bad_values_are_refused),
      cmocka_unit_test(the_number_of_words_is_checked),
      cmocka_unit_test(the_environment_speaks_only_where_the_command_line_is_silent),
      cmocka_unit_test(help_lists_every_flag_and_exits_0),
      cmocka_unit_test(nearest_word_sees_slips_but_not_strangers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
