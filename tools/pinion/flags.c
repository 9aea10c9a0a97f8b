/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "flags.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_CAPACITY 64 /* longer words are no slip of the hand */
#define HELP_COLUMN 30

static int minimum_of(int a, int b) {
  return a < b ? a : b;
}

/* Edit distance (insert, delete, replace, swap of neighbours: 1 each), after Damerau; optimal string alignment. */
static int edit_distance(const char *a, const char *b) {
  int rows[3][WORD_CAPACITY + 1];
  int a_length = (int)strlen(a), b_length = (int)strlen(b);
  for (int j = 0; j <= b_length; j++) rows[0][j] = j;
  for (int i = 1; i <= a_length; i++) {
    int *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
    row[0] = i;
    for (int j = 1; j <= b_length; j++) {
      int replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = minimum_of(replaced, minimum_of(above[j], row[j - 1]) + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = minimum_of(row[j], two_above[j - 2] + 1);
    }
  }
  return rows[a_length % 3][b_length];
}

const char *nearest_word(const char *word, const char *const *candidates, int count) {
  const char *nearest = NULL;
  size_t length = strlen(word);
  if (length == 0 || length > WORD_CAPACITY) return NULL;
  int limit = length < 4 ? 1 : length < 8 ? 2 : 3, best = limit + 1;
  for (int i = 0; i < count; i++) {
    if (strlen(candidates[i]) > WORD_CAPACITY) continue;
    int distance = edit_distance(word, candidates[i]);
    if (distance < best) best = distance, nearest = candidates[i];
  }
  return nearest;
}

/* ---- Help ---- */

static void print_flag_help(const flag *f) {
  int width = printf("  --%s", f->name);
  if (f->argument) width += printf(f->kind == FLAG_SWITCH ? "[=%s]" : "=%s", f->argument);
  if (f->short_name) width += printf(", -%s", f->short_name);
  if (width >= HELP_COLUMN) width = printf("\n") - 1;
  printf("%*s%s", HELP_COLUMN - width, "", f->help);
  if (f->kind == FLAG_LIST) printf("; may be repeated");
  if (f->environment) printf(" [%s]", f->environment);
  printf("\n");
}

static void print_help(const command_syntax *syntax) {
  printf("usage: pinion %s%s%s%s\n\n%s\n", syntax->name, syntax->flag_count ? " [flags]" : "",
         syntax->positional[0] ? " " : "", syntax->positional, syntax->summary);
  printf("\nflags:\n");
  for (int i = 0; i < syntax->flag_count; i++) print_flag_help(&syntax->flags[i]);
  printf("  --help, -h%*sthis text\n", HELP_COLUMN - 12, "");
  if (syntax->notes) printf("\n%s\n", syntax->notes);
}

/* ---- Parsing ---- */

static bool usage_error(const command_syntax *syntax, const char *what, const char *word) {
  fprintf(stderr, "pinion %s: %s '%s'; see pinion %s --help\n", syntax->name, what, word, syntax->name);
  return false;
}

static bool refuse_value(const command_syntax *syntax, const flag *f, const char *wanted, const char *value) {
  fprintf(stderr, "pinion %s: --%s takes %s, not '%s'\n", syntax->name, f->name, wanted, value);
  return false;
}

static bool set_switch(const command_syntax *syntax, const flag *f, const char *value) {
  static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
  for (int i = 0; i < FLAG_COUNT(words); i++)
    if (!strcmp(value, words[i])) return *(bool *)f->value = i & 1, true;
  return refuse_value(syntax, f, "true or false", value);
}

static bool set_integer(const command_syntax *syntax, const flag *f, const char *value) {
  char *end;
  errno = 0;
  long long number = strtoll(value, &end, 0);
  if (end == value || *end || errno) return refuse_value(syntax, f, "a whole number", value);
  if (number < 0 && !f->signed_value) return refuse_value(syntax, f, "a number that is not negative", value);
  *(int64_t *)f->value = number;
  return true;
}

static bool set_number(const command_syntax *syntax, const flag *f, const char *value) {
  char *end;
  double number = strtod(value, &end);
  if (end == value || *end || !isfinite(number)) return refuse_value(syntax, f, "a number", value);
  if (number < 0) return refuse_value(syntax, f, "a number that is not negative", value);
  *(double *)f->value = number;
  return true;
}

static bool add_item(const command_syntax *syntax, const flag *f, const char *value) {
  flag_list *list = f->value;
  if (list->count == FLAG_LIST_CAPACITY) {
    fprintf(stderr, "pinion %s: --%s may be given at most %d times\n", syntax->name, f->name, FLAG_LIST_CAPACITY);
    return false;
  }
  list->items[list->count++] = value;
  return true;
}

static bool set_flag(const command_syntax *syntax, const flag *f, const char *value) {
  switch (f->kind) {
  case FLAG_SWITCH: return set_switch(syntax, f, value);
  case FLAG_INTEGER: return set_integer(syntax, f, value);
  case FLAG_NUMBER: return set_number(syntax, f, value);
  case FLAG_LIST: return add_item(syntax, f, value);
  case FLAG_STRING: break;
  }
  *(const char **)f->value = value;
  return true;
}

static const flag *find_long(const command_syntax *syntax, const char *word, size_t length) {
  for (int i = 0; i < syntax->flag_count; i++)
    if (strlen(syntax->flags[i].name) == length && !memcmp(syntax->flags[i].name, word, length))
      return &syntax->flags[i];
  return NULL;
}

static const flag *find_short(const command_syntax *syntax, char letter) {
  for (int i = 0; i < syntax->flag_count; i++)
    if (syntax->flags[i].short_name && syntax->flags[i].short_name[0] == letter) return &syntax->flags[i];
  return NULL;
}

static bool unknown_flag(const command_syntax *syntax, const char *word, size_t length) {
  const char *names[FLAG_LIST_CAPACITY];
  char name[WORD_CAPACITY + 1];
  int count = minimum_of(syntax->flag_count, FLAG_LIST_CAPACITY);
  for (int i = 0; i < count; i++) names[i] = syntax->flags[i].name;
  snprintf(name, sizeof name, "%.*s", (int)length, word);
  const char *near = nearest_word(name, names, count);
  if (near)
    fprintf(stderr, "pinion %s: unknown flag '--%s'; did you mean '--%s'?\n", syntax->name, name, near);
  else
    usage_error(syntax, "unknown flag --", name);
  return false;
}

/* Takes the flag at argv[*index] and, if it needs one, the value in the next word. */
static bool parse_flag(const command_syntax *syntax, int argc, char **argv, int *index, const flag **out_flag) {
  const char *word = argv[*index], *value = NULL;
  const flag *f;
  if (word[1] == '-') {
    size_t length = strcspn(word + 2, "=");
    f = find_long(syntax, word + 2, length);
    if (!f) return unknown_flag(syntax, word + 2, length);
    if (word[2 + length] == '=') value = word + 3 + length;
  } else {
    f = find_short(syntax, word[1]);
    if (!f) return usage_error(syntax, "unknown flag", word);
    if (word[2]) value = word + (word[2] == '=' ? 3 : 2);
  }
  *out_flag = f;
  if (!value && f->kind == FLAG_SWITCH) value = "true";
  if (!value && *index + 1 < argc) value = argv[++*index];
  if (!value) return usage_error(syntax, "a value must follow", word);
  return set_flag(syntax, f, value);
}

static bool add_positional(const command_syntax *syntax, const char *word, const char **positional, int *count) {
  if (*count == syntax->positional_maximum) return usage_error(syntax, "one word too many:", word);
  positional[(*count)++] = word;
  return true;
}

static bool read_environment(const command_syntax *syntax, const bool *given) {
  for (int i = 0; i < syntax->flag_count; i++) {
    const flag *f = &syntax->flags[i];
    const char *value = f->environment && !given[i] ? getenv(f->environment) : NULL;
    if (value && value[0] && !set_flag(syntax, f, value)) return false;
  }
  return true;
}

static bool is_help(const char *word) {
  return !strcmp(word, "--help") || !strcmp(word, "-h");
}

bool flags_parse(const command_syntax *syntax, int argc, char **argv, const char **out_positional, int *out_exit) {
  bool given[FLAG_LIST_CAPACITY] = {false}, flags_over = false;
  int count = 0;
  *out_exit = 2;
  for (int i = 0; i < syntax->positional_maximum; i++) out_positional[i] = NULL;
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    const flag *f = NULL;
    if (!flags_over && is_help(word)) return print_help(syntax), *out_exit = 0, false;
    if (!flags_over && !strcmp(word, "--")) {
      flags_over = true;
    } else if (flags_over || word[0] != '-' || !word[1]) {
      if (!add_positional(syntax, word, out_positional, &count)) return false;
    } else {
      if (!parse_flag(syntax, argc, argv, &i, &f)) return false;
      given[f - syntax->flags] = true;
    }
  }
  if (count < syntax->positional_minimum) return usage_error(syntax, "expected", syntax->positional);
  return read_environment(syntax, given);
}
