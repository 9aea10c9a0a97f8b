/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "survivors.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN 20 /* lines about tensors beyond the tolerance */

/* ---- Finding ---- */

/* How many of a launch's arguments are results: the manifest knows, and the first always is. */
static uint32_t result_count(const json *launches, uint32_t launch) {
  const json *item = launches && launch < launches->count ? &launches->items[launch] : NULL;
  double count = json_number(json_member(item, "results"), 1);
  return count >= 1 && count <= PINION_MAX_ARGS ? (uint32_t)count : 1;
}

/* The last launch that writes each arena buffer. */
static void find_writers(const pinion_model_desc *desc, const json *launches, survivor *by_buffer) {
  for (uint32_t i = 0; i < desc->launch_count; i++) {
    const pinion_launch_desc *launch = &desc->launches[i];
    for (uint32_t r = 0; r < launch->arg_count && r < result_count(launches, i); r++) {
      uint32_t buffer = desc->args[launch->first_arg + r].buffer;
      if (desc->buffers[buffer].space == PINION_SPACE_ARENA)
        by_buffer[buffer] = (survivor){.name = desc->buffers[buffer].name, .buffer = buffer, .last_launch = i};
    }
  }
}

static int compare_launches(const void *a, const void *b) {
  const survivor *x = a, *y = b;
  if (x->last_launch != y->last_launch) return x->last_launch < y->last_launch ? -1 : 1;
  return (x->buffer > y->buffer) - (x->buffer < y->buffer);
}

static int compare_nodes(const void *a, const void *b) {
  const survivor_node *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  return order ? order : (x->survivor > y->survivor) - (x->survivor < y->survivor);
}

static void add_node(arena *memory, survivor_list *list, size_t *capacity, const char *name, size_t survivor_index) {
  list->nodes = arena_grow(memory, list->nodes, list->node_count, capacity, sizeof *list->nodes);
  list->nodes[list->node_count++] = (survivor_node){name, survivor_index};
}

static void find_nodes(arena *memory, const json *manifest, survivor_list *list) {
  const json *launches = manifest_list(manifest, "launches");
  size_t capacity = 0;
  for (size_t i = 0; i < list->count; i++) {
    const survivor *s = &list->items[i];
    const json *nodes = manifest_list(manifest_element(launches, s->last_launch), "nodes");
    add_node(memory, list, &capacity, s->name, i);
    for (size_t n = 0; n < nodes->count; n++) {
      const manifest_node node = manifest_node_at(manifest, json_number(&nodes->items[n], -1));
      const char *name = manifest_node_label(memory, &node);
      if (strcmp(name, s->name)) add_node(memory, list, &capacity, name, i);
    }
  }
  if (list->node_count) qsort(list->nodes, list->node_count, sizeof *list->nodes, compare_nodes);
}

static status find_survivors(diagnostics *d, arena *memory, const pinion_model_desc *desc, const json *manifest,
                             survivor_list *list) {
  const json *launches = json_member(manifest, "launches");
  list->items = calloc((size_t)desc->buffer_count + 1, sizeof *list->items);
  if (!list->items) return diagnose(d, STATUS_FAILED, NULL, NULL, "no memory for %u tensors", desc->buffer_count);
  find_writers(desc, launches, list->items);
  for (uint32_t i = 0; i < desc->buffer_count; i++)
    if (list->items[i].name) list->items[list->count++] = list->items[i];
  qsort(list->items, list->count, sizeof *list->items, compare_launches);
  find_nodes(memory, manifest, list);
  return STATUS_OK;
}

/* ---- Reading ---- */

/* Takes the padding out of rows: pitch elements from one to the next in `from`. */
static void copy_rows(const pinion_buffer_desc *buffer, const uint8_t *from, uint8_t *to) {
  size_t element = pinion_dtype_size(buffer->dtype);
  int64_t width = buffer->rank ? buffer->dims[buffer->rank - 1] : 1, rows = 1;
  for (int i = 0; i + 1 < buffer->rank; i++) rows *= buffer->dims[i];
  for (int64_t r = 0; r < rows; r++)
    memcpy(to + (size_t)(r * width) * element, from + (size_t)(r * buffer->pitch) * element, (size_t)width * element);
}

static status read_survivor(diagnostics *d, const artifact *a, survivor *s) {
  const pinion_buffer_desc *buffer = &a->desc->buffers[s->buffer];
  tensor_type type = buffer_type(buffer);
  uint8_t *padded = malloc((size_t)buffer->bytes + 1);
  if (!padded) return diagnose(d, STATUS_FAILED, NULL, NULL, "no memory for tensor '%s'", s->name);
  status result = artifact_check(d, a, a->api.read_buffer(a->instance, s->buffer, padded, (size_t)buffer->bytes));
  if (result == STATUS_OK) result = tensor_create(d, s->name, &type, &s->value);
  if (result == STATUS_OK) copy_rows(buffer, padded, s->value.data);
  free(padded);
  return result;
}

static status read_after(diagnostics *d, const artifact *a, uint32_t launch, uint64_t limit, survivor_list *list) {
  status result = STATUS_OK;
  for (size_t i = 0; i < list->count && result == STATUS_OK; i++) {
    survivor *s = &list->items[i];
    uint64_t bytes = a->desc->buffers[s->buffer].bytes;
    if (s->last_launch != launch || bytes > limit - list->bytes) continue;
    list->bytes += bytes;
    result = read_survivor(d, a, s);
  }
  return result;
}

status survivors_read(diagnostics *d, arena *memory, const artifact *a, const json *manifest, uint64_t limit,
                      survivor_list *out_list) {
  const pinion_model_desc *desc = a->desc;
  *out_list = (survivor_list){0};
  status result = find_survivors(d, memory, desc, manifest, out_list);
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t step = 0; step < desc->stages[s].repeat; step++)
      for (uint32_t i = 0; i < desc->stages[s].launch_count && result == STATUS_OK; i++) {
        uint32_t launch = desc->stages[s].first_launch + i;
        result = artifact_check(d, a, a->api.run_launch(a->instance, launch, step, NULL));
        if (result == STATUS_OK && step == 0) result = read_after(d, a, launch, limit, out_list);
      }
  return result;
}

void survivors_free(survivor_list *list) {
  for (size_t i = 0; i < list->count; i++) tensor_free(&list->items[i].value);
  free(list->items);
  *list = (survivor_list){0};
}

/* ---- Comparing ---- */

/* The first node whose name is not below `name`, by bytes. */
static size_t lower_bound(const survivor_list *list, MlirStringRef name) {
  size_t low = 0, high = list->node_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (strncmp(list->nodes[middle].name, name.data, name.length) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool is_name(const char *candidate, MlirStringRef name) {
  return strncmp(candidate, name.data, name.length) == 0 && candidate[name.length] == 0;
}

static void compare_survivor(survivor *s, const char *node, const eval_tensor *value) {
  tensor_type shape = value->type;
  diagnostics quiet = {0};
  tensor reference;
  shape.dtype = s->value.type.dtype;
  if (!s->value.data || !type_equal(&shape, &s->value.type)) return;
  if (tensor_from_eval(&quiet, s->name, value, &reference)) return;
  comparison c = compare_tensors(&s->value, &reference, NULL, 0, 0);
  if (!s->compared || c.relative_l2 < s->comparison.relative_l2) s->comparison = c, s->node = node;
  s->compared = true;
  tensor_free(&reference);
}

bool survivors_observe(void *user, MlirOperation op, const eval_tensor *results, int results_count) {
  survivor_list *list = user;
  MlirStringRef name = location_name(mlirOperationGetLocation(op));
  if (name.length == 0 || results_count != 1) return true;
  for (size_t i = lower_bound(list, name); i < list->node_count; i++) {
    const survivor_node *node = &list->nodes[i];
    if (strncmp(node->name, name.data, name.length)) break; /* past all names that begin with it */
    if (is_name(node->name, name)) compare_survivor(&list->items[node->survivor], node->name, &results[0]);
  }
  return true;
}

int survivors_print(const artifact *a, const survivor_list *list, double relative_l2) {
  int compared = 0, beyond = 0;
  for (size_t i = 0; i < list->count; i++) {
    const survivor *s = &list->items[i];
    if (!s->compared) continue;
    compared++;
    if (s->comparison.relative_l2 <= relative_l2) continue;
    if (beyond++ == 0) printf("tensors that differ by more than %.1e, or are no value of their nodes:\n", relative_l2);
    if (beyond <= SHOWN)
      printf("  launch %5u  relative L2 %.3e  max abs %.3e  %s\n", s->last_launch, s->comparison.relative_l2,
             s->comparison.max_absolute, s->node);
  }
  if (beyond > SHOWN) printf("  and %d more\n", beyond - SHOWN);
  printf("tensors that survive: %zu buffers of %u launches; %d compared, %d of them within %.1e\n", list->count,
         a->desc->launch_count, compared, compared - beyond, relative_l2);
  return beyond;
}
