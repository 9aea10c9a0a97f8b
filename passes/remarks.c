/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Remarks: see remarks.h. */
#include "remarks.h"

remark_log remarks_begin(FILE *stream, const char *pass) {
  remark_log log = {.stream = stream, .pass = pass, .arena = arena_create()};
  log.said = pointer_map_create(log.arena);
  return log;
}

void remarks_end(remark_log *log) {
  arena_destroy(log->arena);
}

/* The line of an op that was written by hand; 0 if there is none. */
static int first_line(remark_log *log, MlirLocation location) {
  const bool is_fused = mlirLocationIsAFused(location);
  const int count = is_fused ? (int)mlirLocationFusedGetNumLocations(location) : 1;
  MlirLocation *parts = arena_alloc(log->arena, (size_t)(count + 1) * sizeof *parts);
  parts[0] = location;
  if (is_fused) mlirLocationFusedGetLocations(location, parts);
  for (int i = 0; i < count; i++)
    if (mlirLocationIsAFileLineColRange(parts[i])) return mlirLocationFileLineColRangeGetStartLine(parts[i]);
  return 0;
}

/* 'NODE@MODULE.PATH' and how many nodes more, or a line of the module's text. */
static void append_place(remark_log *log, MlirLocation location, text *line) {
  MlirLocation *parts;
  const int count = location_parts(log->arena, location, &parts);
  if (count > 0) {
    const MlirStringRef first = mlirIdentifierStr(mlirLocationNameGetName(parts[0]));
    text_append(line, "'%.*s'", (int)first.length, first.data);
    if (count > 1) text_append(line, " and %d more node%s", count - 1, count > 2 ? "s" : "");
  } else if (first_line(log, location) > 0) {
    text_append(line, "line %d", first_line(log, location));
  } else {
    text_append(line, "an op without a name");
  }
}

/* Prints a line, which it frees, unless the pass has said it. */
static void say(remark_log *log, text *line) {
  const void *key = (const void *)(uintptr_t)(hash_bytes(HASH_START, line->data, line->length) | 1);
  if (pointer_map_get(&log->said, key) < 0) fprintf(log->stream, "%s\n", line->data);
  pointer_map_set(&log->said, key, 1);
  text_free(line);
}

void remark_fired(remark_log *log, MlirLocation location) {
  if (!log) return;
  text line = {0};
  text_append(&line, "remark: %s: fired at ", log->pass);
  append_place(log, location, &line);
  say(log, &line);
}

void pass_missed(const pass_context *context, MlirLocation location, const char *why_format, ...) {
  remark_log *log = context->remarks;
  if (!log) return;
  text line = {0};
  text_append(&line, "remark: %s: not at ", log->pass);
  append_place(log, location, &line);
  text_append(&line, ": ");
  va_list arguments;
  va_start(arguments, why_format);
  text_append_list(&line, why_format, arguments);
  va_end(arguments);
  say(log, &line);
}
