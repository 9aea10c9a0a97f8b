/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "view.h"

#include <string.h>

int64_t padded_pitch(const tensor_type *type) {
  enum { LINE = 128, LONG_ROW = 8 * LINE };
  if (type->rank == 0) return 1;
  const int64_t columns = type->dims[type->rank - 1], size = (int64_t)pinion_dtype_size(type->dtype);
  const int64_t unit = (columns * size < LONG_ROW ? PINION_ROW_ALIGN : LINE) / size;
  return columns <= 1 ? columns : (columns + unit - 1) / unit * unit;
}

view view_rows(int buffer, const tensor_type *type, int64_t pitch) {
  view v = {.buffer = buffer, .type = *type};
  int64_t stride = 1;
  for (int d = type->rank - 1; d >= 0; d--) {
    v.stride[d] = stride;
    stride = d == type->rank - 1 ? pitch : stride * type->dims[d];
  }
  return v;
}

int64_t pitched_elements(const tensor_type *type, int64_t pitch) {
  int64_t elements = type->rank == 0 ? 1 : pitch;
  for (int d = 0; d + 1 < type->rank; d++) elements *= type->dims[d];
  return elements;
}

/* Extents and strides without dimensions of size 1. */
static int significant_dims(const view *v, int64_t *dims, int64_t *strides) {
  int count = 0;
  for (int d = 0; d < v->type.rank; d++) {
    if (v->type.dims[d] == 1) continue;
    dims[count] = v->type.dims[d];
    strides[count++] = v->stride[d];
  }
  return count;
}

/* Strides of `new_dims[n0, n1)`, which cover the same elements as old dimensions [o0, o1); false if those are not one.
 */
static bool regroup(const int64_t *dims, const int64_t *strides, int o0, int o1, const int64_t *new_dims, int n0,
                    int n1, int64_t *new_strides) {
  for (int o = o0; o + 1 < o1; o++)
    if (strides[o] != strides[o + 1] * dims[o + 1]) return false;
  int64_t stride = strides[o1 - 1];
  for (int n = n1 - 1; n >= n0; n--) {
    new_strides[n] = stride;
    stride *= new_dims[n];
  }
  return true;
}

bool view_reshape(const view *v, int rank, const int64_t *dims, view *out) {
  int64_t old_dims[PINION_MAX_RANK], old_strides[PINION_MAX_RANK];
  const int old_rank = significant_dims(v, old_dims, old_strides);
  view result = *v;
  result.type.rank = rank;
  memset(result.stride, 0, sizeof result.stride);
  for (int d = 0; d < rank; d++) result.type.dims[d] = dims[d];
  if (type_elements(&v->type) == 0) {
    *out = view_rows(v->buffer, &result.type, rank ? dims[rank - 1] : 1);
    return true;
  }
  int o = 0, n = 0;
  while (o < old_rank) {
    int o1 = o + 1, n1 = n;
    int64_t old_count = old_dims[o], new_count = 1;
    while (new_count != old_count || n1 == n) {
      if (new_count < old_count || n1 == n)
        new_count *= dims[n1++];
      else
        old_count *= old_dims[o1++];
    }
    if (!regroup(old_dims, old_strides, o, o1, dims, n, n1, result.stride)) return false;
    o = o1, n = n1;
  }
  /* What is left are dimensions of size 1: any stride does. */
  *out = result;
  return true;
}

void view_transpose(const view *v, const int64_t *permutation, view *out) {
  view result = *v;
  for (int d = 0; d < v->type.rank; d++) {
    result.type.dims[d] = v->type.dims[permutation[d]];
    result.stride[d] = v->stride[permutation[d]];
  }
  *out = result;
}

void view_untranspose(const view *v, const int64_t *permutation, view *out) {
  int64_t inverse[PINION_MAX_RANK] = {0};
  for (int d = 0; d < v->type.rank; d++) inverse[permutation[d]] = d;
  view_transpose(v, inverse, out);
}

bool view_broadcast(const view *v, int rank, const int64_t *dims, view *out) {
  view result = *v;
  const int lead = rank - v->type.rank;
  if (lead < 0) return false;
  result.type.rank = rank;
  memset(result.stride, 0, sizeof result.stride);
  for (int d = 0; d < rank; d++) {
    result.type.dims[d] = dims[d];
    if (d < lead || v->type.dims[d - lead] == 1) continue;
    if (v->type.dims[d - lead] != dims[d]) return false;
    result.stride[d] = v->stride[d - lead];
  }
  *out = result;
  return true;
}

void view_slice(const view *v, const int64_t *starts, const int64_t *steps, const int64_t *dims, view *out) {
  view result = *v;
  for (int d = 0; d < v->type.rank; d++) {
    result.offset += starts[d] * v->stride[d];
    result.stride[d] = v->stride[d] * steps[d];
    result.type.dims[d] = dims[d];
  }
  *out = result;
}

bool view_same(const view *a, const view *b) {
  if (a->buffer != b->buffer || a->offset != b->offset || a->step_stride != b->step_stride) return false;
  if (!type_equal(&a->type, &b->type)) return false;
  for (int d = 0; d < a->type.rank; d++)
    if (a->type.dims[d] > 1 && a->stride[d] != b->stride[d]) return false;
  return true;
}

void view_table_row(const view *v, view *out) {
  view result = *v;
  result.step_stride = v->stride[0];
  result.type.rank--;
  for (int d = 0; d < result.type.rank; d++) {
    result.type.dims[d] = v->type.dims[d + 1];
    result.stride[d] = v->stride[d + 1];
  }
  *out = result;
}
