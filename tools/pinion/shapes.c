/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#define _GNU_SOURCE /* memrchr */
#include "shapes.h"

#include <stdlib.h>
#include <string.h>

/* "1x3x224x224" up to `end`; false unless every dimension is a positive number. */
static bool parse_dims(const char *dims, const char *end, input_shape *out_shape) {
  while (dims < end) {
    char *after;
    long long value = strtoll(dims, &after, 10);
    if (after == dims || value <= 0 || after > end || out_shape->rank == PINION_MAX_RANK) return false;
    out_shape->dims[out_shape->rank++] = value;
    if (after < end && *after != 'x') return false;
    dims = after < end ? after + 1 : after;
    if (after < end && dims == end) return false; /* a trailing x */
  }
  return out_shape->rank > 0;
}

/* The input's name ends at the last colon: names may hold colons (`onnx::Cast_0`). */
static bool parse_item(arena *a, const char *item, size_t length, input_shape *out_shape) {
  const char *colon = memrchr(item, ':', length);
  if (!colon || colon == item) return false;
  *out_shape = (input_shape){.name = arena_string(a, item, (size_t)(colon - item))};
  return parse_dims(colon + 1, item + length, out_shape);
}

bool shapes_parse(arena *a, const flag_list *items, import_options *out_options) {
  input_shape *shapes = NULL;
  size_t count = 0, capacity = 0;
  for (int i = 0; i < items->count; i++) {
    for (const char *item = items->items[i]; *item;) {
      size_t length = strcspn(item, ",");
      shapes = arena_grow(a, shapes, count, &capacity, sizeof *shapes);
      if (!parse_item(a, item, length, &shapes[count++])) {
        fprintf(stderr, "pinion: --shapes takes name:1x3x224x224, not '%.*s'\n", (int)length, item);
        return false;
      }
      item += length + (item[length] == ',');
    }
  }
  *out_options = (import_options){.shapes = shapes, .shape_count = (int)count};
  return true;
}
