/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A reader of JSON (RFC 8259) for the files Pinion writes: manifests and saved benches. */
#ifndef PINION_TOOLS_JSON_H
#define PINION_TOOLS_JSON_H

#include "ir/base.h"

typedef enum json_kind {
  JSON_NULL,
  JSON_FALSE,
  JSON_TRUE,
  JSON_NUMBER,
  JSON_STRING,
  JSON_ARRAY,
  JSON_OBJECT
} json_kind;

typedef struct json {
  json_kind kind;
  double number;
  const char *string; /* JSON_STRING: UTF-8, NUL-terminated; a NUL within ends it early */
  size_t count;       /* JSON_ARRAY, JSON_OBJECT */
  const struct json *items;
  const char *const *keys; /* JSON_OBJECT: of each item, in the file's order */
} json;

/* Parses a text; everything is the arena's. Diagnoses malformed text, with its line (STATUS_BAD_INPUT). Nesting is
   limited, so that no input exhausts the stack. */
status json_parse(diagnostics *d, arena *a, const char *text, size_t length, json *out_value);
status json_read(diagnostics *d, arena *a, const char *path, json *out_value);

/* Member `key` of an object; NULL if there is none or `value` is no object (or NULL): look-ups can be chained. */
const json *json_member(const json *value, const char *key);
/* What a value is, else `otherwise`. */
double json_number(const json *value, double otherwise);
const char *json_string(const json *value, const char *otherwise);

/* Appends a string with its quotes, escaped. */
void json_append_string(text *out, const char *string);

#endif
