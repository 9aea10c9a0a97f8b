/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tools/pinion/json.h"

static arena *memory;
static diagnostics quiet;

static int setup(void **state) {
  (void)state;
  memory = arena_create();
  quiet.stream = tmpfile();
  return quiet.stream ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  arena_destroy(memory);
  return fclose(quiet.stream);
}

/* Parses a copy that ends where its memory ends, so that a sanitizer sees a read beyond it. */
static status parse(const char *source, size_t length, json *out) {
  char *copy = malloc(length ? length : 1);
  memcpy(copy, source, length);
  status result = json_parse(&quiet, memory, copy, length, out);
  free(copy);
  return result;
}

static json good(const char *source) {
  json value;
  if (parse(source, strlen(source), &value)) fail_msg("refused: %s", source);
  return value;
}

static void values_of_every_kind_are_read(void **state) {
  (void)state;
  json v = good(" {\"a\": [1, -2.5e3, 0], \"b\": {\"c\": \"x\"}, \"t\": true, \"f\": false, \"n\": null, \"e\": [], "
                "\"o\": {}} \n");
  assert_int_equal(v.kind, JSON_OBJECT);
  assert_int_equal(v.count, 7);
  const json *a = json_member(&v, "a");
  assert_int_equal(a->count, 3);
  assert_true(a->items[0].number == 1 && a->items[1].number == -2500 && a->items[2].number == 0);
  assert_string_equal(json_string(json_member(json_member(&v, "b"), "c"), ""), "x");
  assert_int_equal(json_member(&v, "t")->kind, JSON_TRUE);
  assert_int_equal(json_member(&v, "f")->kind, JSON_FALSE);
  assert_int_equal(json_member(&v, "n")->kind, JSON_NULL);
  assert_int_equal(json_member(&v, "e")->count, 0);
  assert_null(json_member(json_member(&v, "absent"), "c"));
  assert_true(json_number(json_member(&v, "t"), 7) == 7);
  assert_string_equal(json_string(a, "none"), "none");
}

static void strings_are_unescaped(void **state) {
  (void)state;
  assert_string_equal(good("\"a\\\"\\\\\\/\\n\\t\\u00e9\\u20ac\\ud83d\\ude00\"").string,
                      "a\"\\/\n\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void what_is_written_is_read_back(void **state) {
  (void)state;
  text out = {0};
  json_append_string(&out, "quote \" backslash \\ tab \t end");
  assert_string_equal(good(out.data).string, "quote \" backslash \\ tab \t end");
  text_free(&out);
}

static void malformed_text_is_refused(void **state) {
  (void)state;
  const char *const bad[] = {
      "",      " ",  "{",    "[",       "[1",        "[1,",         "[1,]",        "{\"a\"}",  "{\"a\":}", "{\"a\":1,}",
      "{a:1}", "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "\"a\nb\"", "01",       "-",
      "1.",    "1e", ".5",   "+1",      "tru",       "nul",         "1 2",         "[1}",      "NaN",      "\"\\u",
  };
  json value;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (parse(bad[i], strlen(bad[i]), &value) != STATUS_BAD_INPUT) fail_msg("accepted: %s", bad[i]);
    assert_int_equal(value.kind, JSON_NULL);
  }
}

static void every_prefix_of_a_text_is_refused(void **state) {
  (void)state;
  const char source[] = "{\"a\": [1, -2.5e3, \"\\u00e9\"], \"b\": true}";
  json value;
  for (size_t length = 0; length < strlen(source); length++)
    assert_int_equal(parse(source, length, &value), STATUS_BAD_INPUT);
}

static void deep_nesting_is_refused_not_followed(void **state) {
  (void)state;
  json value;
  static char deep[100000];
  memset(deep, '[', sizeof deep);
  assert_int_equal(parse(deep, sizeof deep, &value), STATUS_BAD_INPUT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_of_every_kind_are_read),     cmocka_unit_test(strings_are_unescaped),
      cmocka_unit_test(what_is_written_is_read_back),      cmocka_unit_test(malformed_text_is_refused),
      cmocka_unit_test(every_prefix_of_a_text_is_refused), cmocka_unit_test(deep_nesting_is_refused_not_followed),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
