/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Collects launches, and writes what was collected back as IR at launch level. */
#include "lower.h"

#include "../ir/dialect.h"
#include "../ir/launch.h"

#include <string.h>

/* ---- Collecting ---- */

status lower_error(lowering *l, MlirOperation op, const char *what) {
  const op_kind kind = op_kind_of(op);
  return diagnose(&l->c->diagnostics, STATUS_UNSUPPORTED, value_name(l, mlirOperationGetLocation(op)),
                  kind == OP_NONE ? NULL : op_name(kind), "%s", what);
}

static bool is_empty(const iteration_space *s) {
  for (int d = 0; d < s->rank; d++)
    if (s->size[d] == 0) return true;
  return false;
}

static void launch_insert(lowering *l, size_t at, const lowered_launch *launch) {
  l->launches = arena_grow(l->c->arena, l->launches, l->launch_count, &l->launch_capacity, sizeof *l->launches);
  memmove(&l->launches[at + 1], &l->launches[at], (l->launch_count - at) * sizeof *l->launches);
  l->launches[at] = *launch;
  l->launch_count++;
}

void launch_add(lowering *l, const lowered_launch *launch) {
  if (is_empty(&launch->space)) return;
  lowered_launch added = *launch;
  added.stage = (int)l->stage_count - 1;
  launch_insert(l, l->launch_count, &added);
}

lowered_launch launch_begin(MlirOperation op, pinion_family family) {
  return (lowered_launch){.family = family, .result_count = 1, .location = mlirOperationGetLocation(op)};
}

MlirAttribute body_strings(MlirContext context, int count, const char *const *instructions) {
  MlirAttribute attributes[BODY_MAX_INSTRUCTIONS];
  for (int i = 0; i < count; i++) attributes[i] = make_str(context, instructions[i]);
  return mlirArrayAttrGet(context, count, attributes);
}

/* Is what the view shows there, complete, before the repeated stage begins? */
static bool is_invariant(const lowering *l, const view *v) {
  if (!l->in_steps || v->step_stride != 0) return false;
  if (l->buffers[v->buffer].space == PINION_SPACE_WEIGHTS) return true;
  if ((size_t)v->buffer >= l->step_buffers || v->buffer == l->carried_buffer) return false;
  for (size_t i = l->step_launch; i < l->launch_count; i++)
    for (int r = 0; r < l->launches[i].result_count; r++)
      if (l->launches[i].space.args[r].buffer == v->buffer) return false;
  return true;
}

void copy_view(lowering *l, MlirLocation location, const view *from, const view *to) {
  static const char *const instructions[] = {"yield x0"};
  lowered_launch launch = {.family = PINION_FAMILY_POINTWISE,
                           .result_count = 1,
                           .body = body_strings(l->c->context, 1, instructions),
                           .location = location};
  launch.space.rank = to->type.rank;
  memcpy(launch.space.size, to->type.dims, sizeof launch.space.size);
  space_add(&launch.space, to);
  space_add(&launch.space, from);
  space_simplify(&launch.space, 0, false);
  if (!is_invariant(l, from) || to->buffer == l->carried_buffer || l->step_launch == 0 || is_empty(&launch.space)) {
    launch_add(l, &launch);
    return;
  }
  /* Once, before the steps: a stage precedes them, because it fills the carried tensor. */
  launch.stage = l->launches[l->step_launch - 1].stage;
  launch_insert(l, l->step_launch++, &launch);
}

view materialise(lowering *l, MlirLocation location, const view *v) {
  const view copy = arena_view(l, value_name(l, location), &v->type);
  copy_view(l, location, v, &copy);
  return copy;
}

view reshape_or_copy(lowering *l, MlirLocation location, const view *v, int rank, const int64_t *dims) {
  view result;
  if (view_reshape(v, rank, dims, &result) || reshape_weight(l, v, rank, dims, &result)) return result;
  tensor_type type = {.dtype = v->type.dtype, .rank = rank};
  memcpy(type.dims, dims, (size_t)rank * sizeof *dims);
  const int64_t pitch = padded_pitch(&type);
  view as_before;
  result = view_rows(-1, &type, pitch);
  if (view_reshape(&result, v->type.rank, v->type.dims, &as_before)) {
    as_before.buffer = result.buffer = arena_view(l, value_name(l, location), &type).buffer;
  } else { /* padded rows are no view of the old shape: one long row */
    tensor_type flat = {.dtype = type.dtype, .rank = 1, .dims = {type_elements(&type)}};
    const int buffer = arena_view(l, value_name(l, location), &flat).buffer;
    as_before = view_rows(buffer, &v->type, v->type.rank ? v->type.dims[v->type.rank - 1] : 1);
    result = view_rows(buffer, &type, rank ? dims[rank - 1] : 1);
  }
  copy_view(l, location, v, &as_before);
  return result;
}

/* ---- Writing IR ---- */

#define MAX_ATTRIBUTES 16
typedef struct attributes {
  MlirContext context;
  int count;
  MlirNamedAttribute items[MAX_ATTRIBUTES];
} attributes;

static void attribute_add(attributes *a, const char *name, MlirAttribute value) {
  a->items[a->count++] = make_named(a->context, name, value);
}

static status emit_buffer(lowering *l, builder *b, lowered_buffer *buffer) {
  MlirContext context = l->c->context;
  attributes a = {.context = context};
  const bool is_io = buffer->space == PINION_SPACE_INPUT || buffer->space == PINION_SPACE_OUTPUT;
  attribute_add(&a, "name", make_str(context, buffer->name));
  attribute_add(&a, "space", make_str(context, space_name(buffer->space)));
  attribute_add(&a, "offset", make_i64(context, is_io ? buffer->index : -1));
  attribute_add(&a, "bytes", make_i64(context, buffer->bytes));
  attribute_add(&a, "pitch", make_i64(context, buffer->pitch));
  if (buffer->space == PINION_SPACE_WEIGHTS) {
    attribute_add(&a, "source", make_i64(context, buffer->index));
    attribute_add(&a, "layout", make_str(context, buffer->packed ? "packed" : "dense"));
    if (buffer->packed) attribute_add(&a, "source_view", make_i64s(context, 5, buffer->source_view));
  }
  MlirType type = type_make_memref(context, &buffer->type);
  MlirOperation op = build_op(b, OP_buffer, 0, NULL, a.count, a.items, 1, &type);
  if (mlirOperationIsNull(op)) return STATUS_FAILED;
  buffer->value = mlirOperationGetResult(op, 0);
  return STATUS_OK;
}

/* The ONNX nodes of a launch, as strings. */
static MlirAttribute node_names(lowering *l, MlirLocation location) {
  MlirLocation *parts;
  const int count = location_parts(l->c->arena, location, &parts);
  MlirAttribute *names = arena_alloc(l->c->arena, sizeof *names * (size_t)(count + 1));
  for (int i = 0; i < count; i++)
    names[i] = mlirStringAttrGet(l->c->context, mlirIdentifierStr(mlirLocationNameGetName(parts[i])));
  return mlirArrayAttrGet(l->c->context, count, names);
}

static void add_space(attributes *a, const iteration_space *s) {
  MlirAttribute strides[PINION_MAX_ARGS];
  int64_t offsets[PINION_MAX_ARGS], step_strides[PINION_MAX_ARGS];
  for (int i = 0; i < s->arg_count; i++) {
    strides[i] = make_i64s(a->context, s->rank, s->args[i].stride);
    offsets[i] = s->args[i].offset;
    step_strides[i] = s->args[i].step_stride;
  }
  attribute_add(a, "sizes", make_i64s(a->context, s->rank, s->size));
  attribute_add(a, "strides", mlirArrayAttrGet(a->context, s->arg_count, strides));
  attribute_add(a, "offsets", make_i64s(a->context, s->arg_count, offsets));
  attribute_add(a, "step_strides", make_i64s(a->context, s->arg_count, step_strides));
}

static status emit_launch(lowering *l, builder *b, const lowered_launch *launch) {
  MlirContext context = l->c->context;
  attributes a = {.context = context};
  MlirAttribute scalar = make_f64(context, launch->scalar);
  attribute_add(&a, "family", make_str(context, family_name(launch->family)));
  if (launch->kind) attribute_add(&a, "kind", make_str(context, launch->kind));
  attribute_add(&a, "results", make_i64(context, launch->result_count));
  add_space(&a, &launch->space);
  if (!mlirAttributeIsNull(launch->body)) attribute_add(&a, "body", launch->body);
  attribute_add(&a, "integers", make_i64s(context, launch->integer_count, launch->integers));
  attribute_add(&a, "scalars", mlirArrayAttrGet(context, launch->has_scalar, &scalar));
  attribute_add(&a, "stage", make_i64(context, launch->stage));
  attribute_add(&a, "nodes", node_names(l, launch->location));
  attribute_add(&a, "after", make_i64s(context, 0, NULL));
  if (launch->value_count)
    attribute_add(&a, "values", mlirArrayAttrGet(context, (intptr_t)launch->value_count, launch->values));
  MlirValue operands[PINION_MAX_ARGS];
  for (int i = 0; i < launch->space.arg_count; i++) operands[i] = l->buffers[launch->space.args[i].buffer].value;
  b->location = launch->location;
  MlirOperation op = build_op(b, OP_launch, launch->space.arg_count, operands, a.count, a.items, 0, NULL);
  return mlirOperationIsNull(op) ? STATUS_FAILED : STATUS_OK;
}

void mark_used_buffers(lowering *l) {
  for (size_t i = 0; i < l->buffer_count; i++)
    l->buffers[i].used = l->buffers[i].space == PINION_SPACE_INPUT || l->buffers[i].space == PINION_SPACE_OUTPUT;
  for (size_t i = 0; i < l->launch_count; i++)
    for (int a = 0; a < l->launches[i].space.arg_count; a++)
      l->buffers[l->launches[i].space.args[a].buffer].used = true;
}

static MlirAttribute stages_attribute(lowering *l) {
  MlirContext context = l->c->context;
  MlirAttribute *stages = arena_alloc(l->c->arena, sizeof *stages * (l->stage_count + 1));
  for (size_t i = 0; i < l->stage_count; i++) {
    MlirNamedAttribute fields[] = {make_named(context, "name", make_str(context, l->stages[i].name)),
                                   make_named(context, "repeat", make_i64(context, l->stages[i].repeat))};
    stages[i] = mlirDictionaryAttrGet(context, 2, fields);
  }
  return mlirArrayAttrGet(context, (intptr_t)l->stage_count, stages);
}

/* Stages without a launch go; the others close ranks. */
static void drop_empty_stages(lowering *l) {
  int *renamed = arena_alloc(l->c->arena, sizeof *renamed * (l->stage_count + 1));
  bool *filled = arena_alloc(l->c->arena, l->stage_count + 1);
  for (size_t i = 0; i < l->launch_count; i++) filled[l->launches[i].stage] = true;
  size_t kept = 0;
  for (size_t i = 0; i < l->stage_count; i++) {
    renamed[i] = (int)kept;
    if (filled[i]) l->stages[kept++] = l->stages[i];
  }
  l->stage_count = kept;
  for (size_t i = 0; i < l->launch_count; i++) l->launches[i].stage = renamed[l->launches[i].stage];
}

status emit_launch_level(lowering *l, MlirBlock block) {
  builder b = {.compilation = l->c, .block = block, .location = mlirLocationUnknownGet(l->c->context)};
  drop_empty_stages(l);
  status result = STATUS_OK;
  for (size_t i = 0; i < l->buffer_count && result == STATUS_OK; i++)
    if (l->buffers[i].used) result = emit_buffer(l, &b, &l->buffers[i]);
  for (size_t i = 0; i < l->launch_count && result == STATUS_OK; i++) result = emit_launch(l, &b, &l->launches[i]);
  mlirOperationSetAttributeByName(mlirModuleGetOperation(l->module), mlirStringRefCreateFromCString("pinion.stages"),
                                  stages_attribute(l));
  return result;
}
