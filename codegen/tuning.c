/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Tuning files: which tile won for a problem (codegen.h has the form). */
#include "artifact.h"

#include <stdlib.h>
#include <string.h>

static int by_key(const void *a, const void *b) {
  const tuning_entry *x = a, *y = b;
  return strcmp(x->key, y->key);
}

/* The text between two bars, without the blanks around it. */
static const char *field(arena *a, const char **at, const char *end) {
  const char *first = *at, *last = memchr(first, '|', (size_t)(end - first));
  *at = last ? last + 1 : end;
  if (!last) last = end;
  while (first < last && *first == ' ') first++;
  while (last > first && last[-1] == ' ') last--;
  return arena_string(a, first, (size_t)(last - first));
}

static status parse(compilation *c, const char *path, const char *data, size_t bytes, tuning *out) {
  size_t capacity = 0;
  int line_number = 0;
  for (const char *line = data, *end = data + bytes; line < end;) {
    const char *newline = memchr(line, '\n', (size_t)(end - line)), *line_end = newline ? newline : end;
    line_number++;
    if (line_end > line && line_end[-1] == '\r') line_end--;
    if (line < line_end && *line != '#') {
      const char *at = line;
      tuning_entry entry = {.key = field(c->arena, &at, line_end)};
      entry.tile = field(c->arena, &at, line_end);
      if (!*entry.key || !*entry.tile)
        return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "'%s', line %d is not `KEY | TILE | ..`", path,
                        line_number);
      out->entries = arena_grow(c->arena, out->entries, (size_t)out->count, &capacity, sizeof *out->entries);
      out->entries[out->count++] = entry;
    }
    line = newline ? newline + 1 : end;
  }
  if (out->count) qsort(out->entries, (size_t)out->count, sizeof *out->entries, by_key);
  return STATUS_OK;
}

status tuning_read(compilation *c, const struct target *target, const char *path, tuning *out_tuning) {
  *out_tuning = (tuning){0};
  size_t bytes = 0;
  const char *committed = arena_format(c->arena, "targets/%s/%s.tuning", target->name, target->name);
  const char *data = embedded_file(committed, &bytes);
  if (!path) return data ? parse(c, committed, data, bytes, out_tuning) : STATUS_OK;
  mapped_file file;
  status result = STATUS_OK;
  if (!file_exists(path)) {
    fprintf(stderr, "pinion: '%s' is new, with the tiles of target %s's own file\n", path, target->name);
    result = file_write(&c->diagnostics, path, data ? data : "", bytes);
  }
  if (result == STATUS_OK) result = file_map(&c->diagnostics, path, &file);
  if (result != STATUS_OK) return result;
  result = parse(c, path, (const char *)file.bytes, file.size, out_tuning);
  file_unmap(&file);
  return result;
}

const char *tuning_find(const tuning *t, const char *key) {
  const tuning_entry wanted = {.key = key};
  const tuning_entry *found =
      t->count ? bsearch(&wanted, t->entries, (size_t)t->count, sizeof *t->entries, by_key) : NULL;
  return found ? found->tile : NULL;
}
