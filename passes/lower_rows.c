/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Ops along rows (softmax, reduce, cumsum, norm), gather, rope and attention as launches of their families. */
#include "lower.h"

#include "../ir/dialect.h"

#include <string.h>

static view place_result(lowering *l, MlirOperation op) {
  MlirValue value = mlirOperationGetResult(op, 0);
  const view y = place(l, value);
  map_set(l->c->arena, &l->values, value, &y);
  return y;
}

static void space_of(iteration_space *s, const view *v) {
  *s = (iteration_space){.rank = v->type.rank};
  memcpy(s->size, v->type.dims, sizeof s->size);
}

static const char *kind_of(lowering *l, MlirOperation op) {
  MlirStringRef kind = attr_str(op, "kind");
  return arena_string(l->c->arena, kind.data, kind.length);
}

/* The view with dimension `axis` moved to the end. */
static view axis_last(const view *v, int64_t axis) {
  int64_t permutation[PINION_MAX_RANK];
  int count = 0;
  for (int d = 0; d < v->type.rank; d++)
    if (d != axis) permutation[count++] = d;
  permutation[count] = axis;
  view moved;
  view_transpose(v, permutation, &moved);
  return moved;
}

/* ---- softmax, cumsum ---- */

/* Counts the row from its end. */
static void reverse_row(view *v) {
  const int row = v->type.rank - 1;
  v->offset += (v->type.dims[row] - 1) * v->stride[row];
  v->stride[row] = -v->stride[row];
}

static status row_launch(lowering *l, MlirOperation op, pinion_family family, bool reverse, int64_t exclusive) {
  view x;
  const status result = operand_view(l, op, 0, &x);
  if (result != STATUS_OK) return result;
  const int64_t axis = attr_i64(op, "axis", 0);
  const view placed = place_result(l, op);
  view y = axis_last(&placed, axis);
  x = axis_last(&x, axis);
  if (reverse) reverse_row(&y), reverse_row(&x);
  lowered_launch launch = launch_begin(op, family);
  launch.integers[0] = exclusive;
  launch.integer_count = family == PINION_FAMILY_CUMSUM;
  space_of(&launch.space, &y);
  space_add(&launch.space, &y);
  space_add(&launch.space, &x);
  space_simplify(&launch.space, 1, false);
  launch_add(l, &launch);
  return STATUS_OK;
}

status lower_softmax(lowering *l, MlirOperation op) {
  return row_launch(l, op, PINION_FAMILY_SOFTMAX, false, 0);
}

status lower_cumsum(lowering *l, MlirOperation op) {
  return row_launch(l, op, PINION_FAMILY_CUMSUM, attr_bool(op, "reverse", false), attr_bool(op, "exclusive", false));
}

/* ---- reduce ---- */

/* `y` with x's dimensions: stride 0 along those that are reduced. */
static view reduced_view(const view *y, const view *x, const bool *is_reduced, bool keep) {
  view spread = *y;
  spread.type.rank = x->type.rank;
  int from = 0;
  for (int d = 0; d < x->type.rank; d++) {
    spread.type.dims[d] = x->type.dims[d];
    spread.stride[d] = is_reduced[d] ? 0 : y->stride[from];
    from += keep || !is_reduced[d];
  }
  return spread;
}

status lower_reduce(lowering *l, MlirOperation op) {
  view x;
  const status result = operand_view(l, op, 0, &x);
  if (result != STATUS_OK) return result;
  int64_t axes[PINION_MAX_RANK], order[PINION_MAX_RANK];
  bool is_reduced[PINION_MAX_RANK] = {false};
  const int axis_count = attr_i64s(op, "axes", axes, PINION_MAX_RANK);
  for (int i = 0; i < axis_count; i++) is_reduced[axes[i]] = true;
  int count = 0;
  for (int d = 0; d < x.type.rank; d++)
    if (!is_reduced[d]) order[count++] = d;
  const int reduced = x.type.rank - count;
  for (int d = 0; d < x.type.rank; d++)
    if (is_reduced[d]) order[count++] = d;
  const view placed = place_result(l, op);
  view y = reduced_view(&placed, &x, is_reduced, attr_bool(op, "keep", false));
  view_transpose(&x, order, &x);
  view_transpose(&y, order, &y);
  lowered_launch launch = launch_begin(op, PINION_FAMILY_REDUCE);
  launch.kind = kind_of(l, op);
  space_of(&launch.space, &y);
  if (reduced == 0) { /* over one element each */
    if (launch.space.rank == PINION_MAX_RANK) return lower_error(l, op, "has more dimensions than a kernel takes");
    launch.space.size[launch.space.rank++] = 1;
  }
  space_add(&launch.space, &y);
  space_add(&launch.space, &x);
  launch.integers[0] = space_simplify(&launch.space, reduced ? reduced : 1, true);
  launch.integer_count = 1;
  launch_add(l, &launch);
  return STATUS_OK;
}

/* ---- norm ---- */

typedef struct norm_operands {
  int count; /* y, x, scale, bias */
  view views[4];
} norm_operands;

static bool norm_launch(lowering *l, MlirOperation op, const norm_operands *operands, int row_rank) {
  lowered_launch launch = launch_begin(op, PINION_FAMILY_NORM);
  launch.kind = kind_of(l, op);
  launch.scalar = attr_f64(op, "epsilon", 0);
  launch.has_scalar = true;
  space_of(&launch.space, &operands->views[0]);
  for (int i = 0; i < operands->count; i++) space_add(&launch.space, &operands->views[i]);
  if (space_simplify(&launch.space, row_rank, true) != 1) return false;
  launch_add(l, &launch);
  return true;
}

/* A scale of 1, for a norm that has a bias alone. */
static status unit_scale(lowering *l, MlirOperation op, const tensor_type *x, view *out) {
  const tensor_type scalar = {.dtype = x->dtype, .rank = 0};
  MlirAttribute one =
      mlirFloatAttrDoubleGet(l->c->context, mlirShapedTypeGetElementType(type_make(l->c->context, &scalar)), 1.0);
  MlirNamedAttribute value =
      make_named(l->c->context, "value", mlirDenseElementsAttrSplatGet(type_make(l->c->context, &scalar), one));
  builder b = builder_before(l->c, op);
  MlirType type = type_make(l->c->context, &scalar);
  MlirOperation constant = build_op(&b, OP_constant, 0, NULL, 1, &value, 1, &type);
  if (mlirOperationIsNull(constant)) return STATUS_FAILED;
  view v;
  const status result = weight_view(l, constant, &v);
  if (result == STATUS_OK) view_broadcast(&v, x->rank, x->dims, out);
  return result;
}

static status norm_read(lowering *l, MlirOperation op, norm_operands *operands) {
  bool present, has_scale, has_bias;
  view scale, bias;
  status result = named_view(l, op, "x", &present, &operands->views[1]);
  if (result == STATUS_OK) result = named_view(l, op, "scale", &has_scale, &scale);
  if (result == STATUS_OK) result = named_view(l, op, "bias", &has_bias, &bias);
  if (result != STATUS_OK) return result;
  const tensor_type x = operands->views[1].type;
  operands->count = 2;
  if (has_bias && !has_scale) {
    result = unit_scale(l, op, &x, &operands->views[2]);
    if (result != STATUS_OK) return result;
    operands->count = 3;
  }
  if (has_scale && !view_broadcast(&scale, x.rank, x.dims, &operands->views[operands->count++]))
    return lower_error(l, op, "has a scale that does not broadcast to x");
  if (has_bias && !view_broadcast(&bias, x.rank, x.dims, &operands->views[operands->count++]))
    return lower_error(l, op, "has a bias that does not broadcast to x");
  return STATUS_OK;
}

/* Over rows that are several dimensions in memory: copies, in which they are one. */
static status norm_over_copies(lowering *l, MlirOperation op, const norm_operands *operands, int64_t axis) {
  MlirLocation location = mlirOperationGetLocation(op);
  const tensor_type *type = &operands->views[0].type;
  int64_t matrix[2] = {1, 1};
  for (int d = 0; d < type->rank; d++) matrix[d >= axis] *= type->dims[d];
  norm_operands flat = {.count = operands->count};
  const tensor_type rows = {.dtype = type->dtype, .rank = 2, .dims = {matrix[0], matrix[1]}};
  flat.views[0] = arena_view(l, value_name(l, location), &rows);
  for (int i = 1; i < operands->count; i++)
    flat.views[i] = reshape_or_copy(l, location, &operands->views[i], 2, matrix);
  if (!norm_launch(l, op, &flat, 1)) return lower_error(l, op, "has rows that are not one dimension: a bug");
  const view back = reshape_or_copy(l, location, &flat.views[0], type->rank, type->dims);
  copy_view(l, location, &back, &operands->views[0]);
  return STATUS_OK;
}

status lower_norm(lowering *l, MlirOperation op) {
  norm_operands operands;
  const status result = norm_read(l, op, &operands);
  if (result != STATUS_OK) return result;
  operands.views[0] = place_result(l, op);
  const int64_t axis = attr_i64(op, "axis", -1);
  const int row_rank = operands.views[1].type.rank - (int)axis;
  if (axis < 0 || row_rank < 1) return lower_error(l, op, "has an axis outside its operand");
  return norm_launch(l, op, &operands, row_rank) ? STATUS_OK : norm_over_copies(l, op, &operands, axis);
}

/* ---- gather ---- */

/* Makes the index one-dimensional where it and y allow; y keeps the other dimensions. */
static void merge_index(view *index, view *y, int axis) {
  const int i = index->type.rank, n = y->type.rank - axis - i;
  int64_t dims[PINION_MAX_RANK + 1] = {0};
  const int64_t flat = type_elements(&index->type);
  memcpy(dims, y->type.dims, (size_t)axis * sizeof dims[0]);
  dims[axis] = flat;
  memcpy(&dims[axis + 1], &y->type.dims[axis + i], (size_t)n * sizeof dims[0]);
  view merged_y, merged_index;
  if (axis + 1 + n > PINION_MAX_RANK || !view_reshape(index, 1, &flat, &merged_index) ||
      !view_reshape(y, axis + 1 + n, dims, &merged_y))
    return;
  *y = merged_y;
  *index = merged_index;
}

/* Merges what is before the gathered dimension, and what is behind it; returns where that one is now. */
static int simplify_gather(iteration_space *s, int gathered) {
  for (int d = s->rank - 2; d > gathered; d--) space_merge(s, d);
  for (int d = gathered - 2; d >= 0; d--)
    if (space_merge(s, d)) gathered--;
  return gathered;
}

status lower_gather(lowering *l, MlirOperation op) {
  view x, index;
  status result = operand_view(l, op, 0, &x);
  if (result == STATUS_OK) result = operand_view(l, op, 1, &index);
  if (result != STATUS_OK) return result;
  const int axis = (int)attr_i64(op, "axis", 0);
  view y = place_result(l, op);
  merge_index(&index, &y, axis);
  const int i = index.type.rank, gathered = axis + i - 1;
  if (i < 1) return lower_error(l, op, "has more dimensions than a kernel takes");
  view x_in_space = {.buffer = x.buffer, .offset = x.offset, .step_stride = x.step_stride};
  view index_in_space = {.buffer = index.buffer, .offset = index.offset, .step_stride = index.step_stride};
  for (int d = 0; d < axis; d++) x_in_space.stride[d] = x.stride[d];
  for (int d = 0; d < i; d++) index_in_space.stride[axis + d] = index.stride[d];
  for (int d = axis + 1; d < x.type.rank; d++) x_in_space.stride[d + i - 1] = x.stride[d];
  lowered_launch launch = launch_begin(op, PINION_FAMILY_GATHER);
  space_of(&launch.space, &y);
  space_add(&launch.space, &y);
  space_add(&launch.space, &x_in_space);
  space_add(&launch.space, &index_in_space);
  launch.space.args[1].stride[gathered] = x.stride[axis]; /* counts even where one index is taken */
  launch.integers[0] = x.type.dims[axis];
  launch.integers[1] = simplify_gather(&launch.space, gathered);
  launch.integer_count = 2;
  launch_add(l, &launch);
  return STATUS_OK;
}

/* ---- rope ---- */

/* [B, S, R/2] or [1, S, R/2] as [B, H, S, R/2]. */
static view rotation_view(const view *angle, const int64_t dims[4]) {
  view v = *angle;
  v.type.rank = 4;
  memcpy(v.type.dims, dims, 4 * sizeof dims[0]);
  v.stride[0] = angle->type.dims[0] == 1 ? 0 : angle->stride[0];
  v.stride[1] = 0;
  v.stride[2] = angle->stride[1];
  v.stride[3] = angle->stride[2];
  return v;
}

/* The first elements of the pairs; the second ones lie *out_partner further. */
static view pair_view(const view *v, const int64_t dims[4], bool interleaved, int64_t *out_partner) {
  view pairs = *v;
  memcpy(pairs.type.dims, dims, 4 * sizeof dims[0]);
  *out_partner = interleaved ? v->stride[3] : dims[3] * v->stride[3];
  if (interleaved) pairs.stride[3] *= 2;
  return pairs;
}

status lower_rope(lowering *l, MlirOperation op) {
  view x, cosine, sine;
  status result = operand_view(l, op, 0, &x);
  if (result == STATUS_OK) result = operand_view(l, op, 1, &cosine);
  if (result == STATUS_OK) result = operand_view(l, op, 2, &sine);
  if (result != STATUS_OK) return result;
  const view y = place_result(l, op);
  const bool interleaved = attr_bool(op, "interleaved", false);
  const int64_t half = cosine.type.dims[2], width = x.type.dims[3];
  const int64_t dims[4] = {x.type.dims[0], x.type.dims[1], x.type.dims[2], half};
  lowered_launch launch = launch_begin(op, PINION_FAMILY_ROPE);
  const view x_pairs = pair_view(&x, dims, interleaved, &launch.integers[0]);
  const view y_pairs = pair_view(&y, dims, interleaved, &launch.integers[1]);
  const view cosines = rotation_view(&cosine, dims), sines = rotation_view(&sine, dims);
  launch.integer_count = 2;
  space_of(&launch.space, &y_pairs);
  space_add(&launch.space, &y_pairs);
  space_add(&launch.space, &x_pairs);
  space_add(&launch.space, &cosines);
  space_add(&launch.space, &sines);
  launch_add(l, &launch);
  if (2 * half < width) { /* the rest passes through */
    const int64_t starts[4] = {0, 0, 0, 2 * half}, steps[4] = {1, 1, 1, 1},
                  rest[4] = {dims[0], dims[1], dims[2], width - 2 * half};
    view from, to;
    view_slice(&x, starts, steps, rest, &from);
    view_slice(&y, starts, steps, rest, &to);
    copy_view(l, mlirOperationGetLocation(op), &from, &to);
  }
  return STATUS_OK;
}

/* ---- attention ---- */

enum { ATTENTION_B, ATTENTION_G, ATTENTION_H, ATTENTION_Q, ATTENTION_K, ATTENTION_D, ATTENTION_E, ATTENTION_RANK };

/* Appends `v` = [B, heads, rows, columns]: rows and columns lie along the given dimensions of the space. Query heads
   are g and h; K and V have one per group. */
static void add_attention_operand(iteration_space *s, const view *v, int rows, int columns, bool per_query_head) {
  view placed = *v;
  memset(placed.stride, 0, sizeof placed.stride);
  placed.stride[ATTENTION_B] = v->stride[0];
  placed.stride[ATTENTION_G] = per_query_head ? v->stride[1] * s->size[ATTENTION_H] : v->stride[1];
  placed.stride[ATTENTION_H] = per_query_head ? v->stride[1] : 0;
  placed.stride[rows] = v->stride[2];
  placed.stride[columns] = v->stride[3];
  space_add(s, &placed);
}

status lower_attention(lowering *l, MlirOperation op) {
  view q, k, v, mask;
  bool present, has_mask;
  status result = named_view(l, op, "q", &present, &q);
  if (result == STATUS_OK) result = named_view(l, op, "k", &present, &k);
  if (result == STATUS_OK) result = named_view(l, op, "v", &present, &v);
  if (result == STATUS_OK) result = named_view(l, op, "mask", &has_mask, &mask);
  if (result != STATUS_OK) return result;
  const view y = place_result(l, op);
  const int64_t batch = q.type.dims[0], heads = q.type.dims[1], groups = k.type.dims[1];
  const int64_t queries = q.type.dims[2], keys = k.type.dims[2];
  lowered_launch launch = launch_begin(op, PINION_FAMILY_ATTENTION);
  launch.scalar = attr_f64(op, "scale", 1);
  launch.has_scalar = true;
  launch.integers[0] = attr_bool(op, "causal", false);
  launch.integers[1] = keys - queries;
  launch.integer_count = 2 + attr_i64s(op, "limits", launch.integers + 2, 5);
  launch.space = (iteration_space){
      .rank = ATTENTION_RANK, .size = {batch, groups, heads / groups, queries, keys, q.type.dims[3], v.type.dims[3]}};
  add_attention_operand(&launch.space, &y, ATTENTION_Q, ATTENTION_E, true);
  add_attention_operand(&launch.space, &q, ATTENTION_Q, ATTENTION_D, true);
  add_attention_operand(&launch.space, &k, ATTENTION_K, ATTENTION_D, false);
  add_attention_operand(&launch.space, &v, ATTENTION_K, ATTENTION_E, false);
  if (has_mask) {
    const int64_t dims[4] = {batch, heads, queries, keys};
    if (!view_broadcast(&mask, 4, dims, &mask)) return lower_error(l, op, "has a mask that does not broadcast");
    add_attention_operand(&launch.space, &mask, ATTENTION_Q, ATTENTION_K, true);
  }
  launch_add(l, &launch);
  return STATUS_OK;
}
