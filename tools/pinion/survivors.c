/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "survivors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 20       /* lines about tensors beyond the tolerance */
#define NODES_SHOWN 6  /* of a launch */
#define OUT_OF_LINE 10 /* times the error of what a launch reads */

/* ---- Finding: the manifest's `values` ---- */

static int read_list(const json *list, int64_t out[PINION_MAX_RANK]) {
  const size_t count = list ? list->count : PINION_MAX_RANK + 1;
  for (size_t i = 0; i < count && i < PINION_MAX_RANK; i++) out[i] = (int64_t)json_number(&list->items[i], -1);
  return count <= PINION_MAX_RANK ? (int)count : -1;
}

/* Whether all of the view lies in the buffer. */
static bool fits(const survivor *s, const pinion_buffer_desc *buffer) {
  const int64_t elements = (int64_t)(buffer->bytes / pinion_dtype_size(buffer->dtype));
  int64_t first = s->offset, last = s->offset;
  for (int d = 0; d < s->type.rank; d++) {
    if (s->type.dims[d] < 1 || s->type.dims[d] > elements || llabs(s->stride[d]) > elements) return false;
    const int64_t reach = (s->type.dims[d] - 1) * s->stride[d];
    *(reach < 0 ? &first : &last) += reach;
  }
  return first >= 0 && last < elements;
}

/* The value as a whole, without names or step; false where the manifest contradicts the artifact. */
static bool read_value(const pinion_model_desc *desc, uint32_t launch, const json *value, survivor *out) {
  const pinion_launch_desc *l = &desc->launches[launch];
  const double result = json_number(json_member(value, "result"), -1);
  if (!(result >= 0 && result < l->arg_count)) return false;
  *out = (survivor){.launch = launch, .buffer = desc->args[l->first_arg + (uint32_t)result].buffer};
  const pinion_buffer_desc *buffer = &desc->buffers[out->buffer];
  out->type.dtype = buffer->dtype;
  out->type.rank = read_list(json_member(value, "shape"), out->type.dims);
  out->offset = (int64_t)json_number(json_member(value, "offset"), -1);
  return out->type.rank >= 0 && read_list(json_member(value, "strides"), out->stride) == out->type.rank &&
         fits(out, buffer);
}

/* Block `block` of `count` along dimension 0. */
static bool take_block(survivor *s, size_t block, size_t count) {
  if (s->type.rank < 1 || s->type.dims[0] % (int64_t)count) return false;
  s->type.dims[0] /= (int64_t)count;
  s->offset += (int64_t)block * s->type.dims[0] * s->stride[0];
  return true;
}

static void add_value(arena *memory, const pinion_model_desc *desc, uint32_t launch, uint32_t step, uint32_t repeat,
                      const json *value, survivor_list *list, size_t *capacity) {
  survivor whole;
  const json *names = json_member(value, "onnx");
  if (!names || names->count == 0 || !read_value(desc, launch, value, &whole)) return;
  const bool by_step = repeat > 1 && names->count == repeat;
  if (!by_step && step > 0) return; /* the value of one step, whichever */
  for (size_t i = by_step ? step : 0; i < (by_step ? step + 1 : names->count); i++) {
    survivor s = whole;
    s.name = json_string(&names->items[i], "");
    s.step = step;
    if (!*s.name || (!by_step && names->count > 1 && !take_block(&s, i, names->count))) continue;
    list->items = arena_grow(memory, list->items, list->count, capacity, sizeof *list->items);
    list->items[list->count++] = s;
  }
}

static const json *launch_of(const json *manifest, uint32_t launch) {
  return manifest_element(manifest_list(manifest, "launches"), launch);
}

/* Calls `visit` for every launch of every step, in the order of computation. */
typedef status launch_visitor(void *user, uint32_t launch, uint32_t step, uint32_t repeat);
static status each_launch(const pinion_model_desc *desc, launch_visitor *visit, void *user) {
  status result = STATUS_OK;
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t step = 0; step < desc->stages[s].repeat; step++)
      for (uint32_t i = 0; i < desc->stages[s].launch_count && result == STATUS_OK; i++)
        result = visit(user, desc->stages[s].first_launch + i, step, desc->stages[s].repeat);
  return result;
}

typedef struct finder {
  arena *memory;
  const pinion_model_desc *desc;
  const json *manifest;
  survivor_list *list;
  size_t capacity;
} finder;

static status find_at(void *user, uint32_t launch, uint32_t step, uint32_t repeat) {
  finder *f = user;
  const json *values = manifest_list(launch_of(f->manifest, launch), "values");
  for (size_t i = 0; i < values->count; i++)
    add_value(f->memory, f->desc, launch, step, repeat, &values->items[i], f->list, &f->capacity);
  return STATUS_OK;
}

typedef struct named {
  const char *name;
  size_t index;
} named;

static int compare_names(const void *a, const void *b) {
  const named *x = a, *y = b;
  const int order = strcmp(x->name, y->name);
  return order ? order : (x->index > y->index) - (x->index < y->index);
}

static void sort_names(arena *memory, survivor_list *list) {
  named *names = arena_alloc(memory, (list->count + 1) * sizeof *names);
  list->by_name = arena_alloc(memory, (list->count + 1) * sizeof *list->by_name);
  for (size_t i = 0; i < list->count; i++) names[i] = (named){list->items[i].name, i};
  qsort(names, list->count, sizeof *names, compare_names);
  for (size_t i = 0; i < list->count; i++) list->by_name[i] = names[i].index;
}

/* ---- Reading ---- */

typedef struct reader {
  diagnostics *diagnostics;
  const artifact *artifact;
  survivor_list *list;
  size_t next;    /* the first survivor that is not yet complete */
  uint8_t *bytes; /* of the buffer below */
  uint32_t buffer;
} reader;

/* The view's elements, row-major. */
static void gather(const survivor *s, const uint8_t *from, uint8_t *to) {
  const size_t element = pinion_dtype_size(s->type.dtype);
  int64_t index[PINION_MAX_RANK] = {0}, at = s->offset;
  for (int64_t i = 0; i < type_elements(&s->type); i++, to += element) {
    memcpy(to, from + (size_t)at * element, element);
    for (int d = s->type.rank - 1; d >= 0; d--) {
      at += s->stride[d];
      if (++index[d] < s->type.dims[d]) break;
      at -= index[d] * s->stride[d];
      index[d] = 0;
    }
  }
}

static status read_buffer(reader *r, uint32_t buffer) {
  const pinion_buffer_desc *desc = &r->artifact->desc->buffers[buffer];
  if (r->bytes && r->buffer == buffer) return STATUS_OK;
  free(r->bytes);
  r->bytes = heap_alloc((size_t)desc->bytes + 1, 1);
  r->buffer = buffer;
  return artifact_check(r->diagnostics, r->artifact,
                        r->artifact->api.read_buffer(r->artifact->instance, buffer, r->bytes, (size_t)desc->bytes));
}

static status read_survivor(reader *r, survivor *s) {
  const uint64_t elements = (uint64_t)type_elements(&s->type);
  const uint64_t bytes = elements * (pinion_dtype_size(s->type.dtype) + sizeof(double)); /* the reference is float64 */
  if (bytes > r->list->limit - r->list->bytes) return STATUS_OK;
  r->list->bytes += bytes;
  status result = read_buffer(r, s->buffer);
  if (result == STATUS_OK) result = tensor_create(r->diagnostics, s->name, &s->type, &s->value);
  if (result == STATUS_OK) gather(s, r->bytes, s->value.data);
  return result;
}

static status read_at(void *user, uint32_t launch, uint32_t step, uint32_t repeat) {
  (void)repeat;
  reader *r = user;
  const artifact *a = r->artifact;
  status result = artifact_check(r->diagnostics, a, a->api.run_launch(a->instance, launch, step, NULL));
  for (; r->next < r->list->count && result == STATUS_OK; r->next++) {
    survivor *s = &r->list->items[r->next];
    if (s->launch != launch || s->step != step) break;
    result = read_survivor(r, s);
  }
  free(r->bytes);
  r->bytes = NULL;
  return result;
}

status survivors_read(diagnostics *d, arena *memory, const artifact *a, const json *manifest, uint64_t limit,
                      survivor_list *out_list) {
  *out_list = (survivor_list){.manifest = manifest, .limit = limit};
  finder f = {.memory = memory, .desc = a->desc, .manifest = manifest, .list = out_list};
  each_launch(a->desc, find_at, &f);
  sort_names(memory, out_list);
  reader r = {.diagnostics = d, .artifact = a, .list = out_list};
  return each_launch(a->desc, read_at, &r);
}

void survivors_free(survivor_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    tensor_free(&list->items[i].value);
    tensor_free(&list->items[i].reference);
    free(list->items[i].visible);
  }
  *list = (survivor_list){0};
}

/* ---- What the interpreter computes for them ---- */

/* Where the name stands, or would stand, in by_name. */
static size_t lower_bound(const survivor_list *list, const char *name) {
  size_t low = 0, high = list->count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (strcmp(list->items[list->by_name[middle]].name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* The next survivor of the op's value whose own value was kept, from *at on; NULL past the last. */
static survivor *next_of(const survivor_list *list, const char *name, const tensor_type *type, size_t *at) {
  for (; *at < list->count; ++*at) {
    survivor *s = &list->items[list->by_name[*at]];
    tensor_type shape = s->type;
    shape.dtype = type->dtype;
    if (strcmp(s->name, name)) return NULL;
    if (!s->value.data || !type_equal(&shape, type)) continue;
    ++*at;
    return s;
  }
  return NULL;
}

#define NAME_CAPACITY 1024
static bool value_name(MlirOperation op, char out_name[NAME_CAPACITY]) {
  MlirStringRef name = attr_str(op, "onnx");
  if (name.length == 0 || name.length >= NAME_CAPACITY) return false;
  memcpy(out_name, name.data, name.length);
  out_name[name.length] = 0;
  return true;
}

void survivors_observe(survivor_list *list, MlirOperation op, const eval_tensor *results, int result_count) {
  char name[NAME_CAPACITY];
  diagnostics quiet = {0};
  if (result_count != 1 || !value_name(op, name)) return;
  size_t at = lower_bound(list, name);
  for (survivor *s; (s = next_of(list, name, &results->type, &at));)
    if (!s->reference.data) tensor_from_eval(&quiet, name, results, &s->reference);
}

void survivors_see(void *user, MlirOperation op, const uint8_t *mask) {
  survivor_list *list = user;
  char name[NAME_CAPACITY];
  tensor_type type;
  if (!value_name(op, name) || !value_type(mlirOperationGetResult(op, 0), &type)) return;
  const size_t count = (size_t)type_elements(&type);
  size_t at = lower_bound(list, name);
  for (survivor *s; (s = next_of(list, name, &type, &at));) {
    if (!s->reference.data || s->visible) continue;
    s->visible = heap_alloc(count + 1, 1);
    if (mask) memcpy(s->visible, mask, count);
    for (size_t i = 0; i < count; i++) s->hidden += !s->visible[i];
  }
}

/* ---- Comparing ---- */

typedef struct growth {
  const survivor *first; /* NULL: the error of none is out of line */
  double before;         /* the largest error of what its launch reads */
} growth;

typedef struct comparer {
  const pinion_model_desc *desc;
  survivor_list *list;
  double limit;
  size_t next;
  double *errors;  /* of each buffer's content: as compared, else that of what it was made from */
  uint32_t *steps; /* in which it was written last */
  growth growth;
} comparer;

/* How many of a launch's arguments are results: the manifest knows, and the first always is. */
static uint32_t result_count(const json *manifest, uint32_t launch, const pinion_launch_desc *desc) {
  const double count = json_number(json_member(launch_of(manifest, launch), "results"), 1);
  return count >= 1 && count <= desc->arg_count ? (uint32_t)count : 1;
}

static double error_before(const comparer *c, const pinion_launch_desc *launch, uint32_t results) {
  double error = 0;
  for (uint32_t i = results; i < launch->arg_count; i++)
    error = fmax(error, c->errors[c->desc->args[launch->first_arg + i].buffer]);
  return error;
}

static void compare_survivor(comparer *c, survivor *s, double before) {
  s->compared = s->reference.data && s->hidden < type_elements(&s->type);
  if (!s->compared) return;
  s->comparison = compare_tensors(&s->value, &s->reference, NULL, s->visible, 0, 0);
  const double error = s->comparison.relative_l2;
  if (!c->growth.first && error > c->limit && error > OUT_OF_LINE * before)
    c->growth = (growth){.first = s, .before = before};
}

static status compare_at(void *user, uint32_t launch, uint32_t step, uint32_t repeat) {
  (void)repeat;
  comparer *c = user;
  const pinion_launch_desc *desc = &c->desc->launches[launch];
  const uint32_t results = result_count(c->list->manifest, launch, desc);
  const double before = error_before(c, desc, results);
  double found[PINION_MAX_ARGS];
  for (uint32_t i = 0; i < results; i++) found[i] = -1;
  for (; c->next < c->list->count; c->next++) {
    survivor *s = &c->list->items[c->next];
    if (s->launch != launch || s->step != step) break;
    compare_survivor(c, s, before);
    for (uint32_t i = 0; i < results && s->compared; i++)
      if (c->desc->args[desc->first_arg + i].buffer == s->buffer) found[i] = fmax(found[i], s->comparison.relative_l2);
  }
  for (uint32_t i = 0; i < results; i++) {
    const uint32_t buffer = c->desc->args[desc->first_arg + i].buffer;
    const double error = found[i] < 0 ? before : found[i];
    c->errors[buffer] = c->steps[buffer] == step ? fmax(c->errors[buffer], error) : error; /* a piece beside others */
    c->steps[buffer] = step;
  }
  return STATUS_OK;
}

/* ---- Printing ---- */

static void print_place(const survivor *s) {
  char step[32] = "";
  if (s->step) snprintf(step, sizeof step, " step %u", s->step);
  printf("launch %u%s", s->launch, step);
}

static void print_beyond(const survivor_list *list, double relative_l2) {
  int beyond = 0;
  for (size_t i = 0; i < list->count; i++) {
    const survivor *s = &list->items[i];
    if (!s->compared || s->comparison.relative_l2 <= relative_l2) continue;
    if (beyond++ == 0) printf("tensors that differ by more than %.1e:\n", relative_l2);
    if (beyond > SHOWN) continue;
    printf("  ");
    print_place(s);
    printf("  relative L2 %.3e  max abs %.3e  %s\n", s->comparison.relative_l2, s->comparison.max_absolute, s->name);
  }
  if (beyond > SHOWN) printf("  and %d more\n", beyond - SHOWN);
}

static void print_growth(const artifact *a, const survivor_list *list, const growth *g) {
  if (!g->first) {
    printf("the error grows little by little: no tensor's is %d times that of what it was made from\n", OUT_OF_LINE);
    return;
  }
  const json *nodes = manifest_list(launch_of(list->manifest, g->first->launch), "nodes");
  printf("the error first grows at ");
  print_place(g->first);
  printf(": from %.3e to %.3e  %s\n  kernel %s", g->before, g->first->comparison.relative_l2, g->first->name,
         a->desc->kernels[a->desc->launches[g->first->launch].kernel].name);
  for (size_t i = 0; i < nodes->count && i < NODES_SHOWN; i++) {
    const manifest_node node = manifest_node_at(list->manifest, json_number(&nodes->items[i], -1));
    printf("%s %s%s%s", i ? "," : ", for", node.name, *node.module ? "@" : "", node.module);
  }
  printf(nodes->count > NODES_SHOWN ? ", ..\n" : "\n");
}

static int print_counts(const artifact *a, const survivor_list *list, double relative_l2) {
  int compared = 0, within = 0, unseen = 0, partly = 0, dropped = 0;
  for (size_t i = 0; i < list->count; i++) {
    const survivor *s = &list->items[i];
    compared += s->compared;
    within += s->compared && s->comparison.relative_l2 <= relative_l2;
    partly += s->compared && s->hidden > 0;
    unseen += !s->compared && s->reference.data;
    dropped += !s->value.data;
  }
  printf("tensors that survive: %zu, of %u launches; %d compared, %d of them within %.1e\n", list->count,
         a->desc->launch_count, compared, within, relative_l2);
  if (partly || unseen) printf("  without what no output can see: parts of %d tensors, all of %d\n", partly, unseen);
  if (dropped) printf("  %d did not fit into --memory\n", dropped);
  return compared - within;
}

int survivors_compare(const artifact *a, survivor_list *list, double relative_l2) {
  comparer c = {.desc = a->desc, .list = list, .limit = relative_l2};
  c.errors = heap_alloc((size_t)a->desc->buffer_count + 1, sizeof *c.errors);
  c.steps = heap_alloc((size_t)a->desc->buffer_count + 1, sizeof *c.steps);
  for (uint32_t i = 0; i < a->desc->buffer_count; i++) c.steps[i] = UINT32_MAX;
  each_launch(a->desc, compare_at, &c);
  free(c.errors);
  free(c.steps);
  print_beyond(list, relative_l2);
  const int beyond = print_counts(a, list, relative_l2);
  if (beyond) print_growth(a, list, &c.growth);
  return beyond;
}
