/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Ops that move data and compute nothing: most are one walk with other strides. */
#include "eval_internal.h"

#include <string.h>

void eval_move(eval_walk *walk, eval_tensor *to, const eval_tensor *from) {
  bool narrow = eval_element_size(to) == sizeof(float);
  for (eval_walk_begin(walk); !walk->done; eval_walk_next(walk)) {
    int row = walk->rank - 1;
    int64_t count = walk->size[row], to_stride = walk->stride[0][row], from_stride = walk->stride[1][row];
    if (narrow) {
      float *target = to->f32 + walk->offset[0];
      const float *source = from->f32 + walk->offset[1];
      for (int64_t i = 0; i < count; i++) target[i * to_stride] = source[i * from_stride];
    } else { /* doubles and integers alike are eight bytes */
      uint64_t *target = (uint64_t *)to->data + walk->offset[0];
      const uint64_t *source = (const uint64_t *)from->data + walk->offset[1];
      for (int64_t i = 0; i < count; i++) target[i * to_stride] = source[i * from_stride];
    }
  }
}

/* result[i] = x[start + sum_d i_d * strides[d]] */
static status take(evaluation *e, int64_t start, const int64_t *strides) {
  const tensor_type *shape = &e->results[0].type;
  int64_t own[PINION_MAX_RANK] = {1};
  eval_strides(shape, own);
  eval_walk walk = eval_walk_over(shape);
  eval_walk_add(&walk, 0, own);
  eval_walk_add(&walk, start, strides);
  eval_move(&walk, &e->results[0], e->operands[0]);
  return STATUS_OK;
}

/* The bytes of one element, or all, of the attribute; straight from it, so that evaluation allocates nothing lasting.
 */
status reference_constant(evaluation *e) {
  MlirAttribute value = mlirOperationGetAttributeByName(e->op, mlirStringRefCreateFromCString("value"));
  const tensor_type *type = &e->results[0].type;
  int64_t count = type_elements(type);
  if (type->dtype == PINION_DTYPE_bool) { /* MLIR packs bits */
    for (int64_t i = 0; i < count; i++) e->results[0].i64[i] = mlirDenseElementsAttrGetBoolValue(value, i);
    return STATUS_OK;
  }
  bool is_splat = count > 0 && mlirDenseElementsAttrIsSplat(value);
  tensor_type held = *type;
  if (is_splat) held.rank = 0;
  eval_tensor tensor;
  status result = eval_tensor_from_bytes(&held, mlirDenseElementsAttrGetRawData(value), e->session->precision, &tensor);
  if (result != STATUS_OK) return eval_refuse(e, "no memory");
  int64_t strides[PINION_MAX_RANK], own[PINION_MAX_RANK] = {1};
  eval_strides(type, own);
  eval_broadcast_strides(&held, type, strides);
  eval_walk walk = eval_walk_over(type);
  eval_walk_add(&walk, 0, own);
  eval_walk_add(&walk, 0, is_splat ? (const int64_t[PINION_MAX_RANK]){0} : own);
  eval_move(&walk, &e->results[0], &tensor);
  eval_free(&tensor);
  return STATUS_OK;
}

status reference_weight(evaluation *e) {
  compilation *c = e->session->compilation;
  if (attr_str_is(e->op, "file", "@weights")) {
    eval_free(&e->results[0]);
    return eval_weights_result(e, attr_i64(e->op, "offset", 0), &e->results[0]);
  }
  const void *bytes = constant_bytes(c, e->op);
  if (!bytes) return STATUS_BAD_INPUT; /* diagnosed */
  tensor_type type = e->results[0].type;
  eval_free(&e->results[0]);
  if (eval_tensor_from_bytes(&type, bytes, e->session->precision, &e->results[0]) != STATUS_OK)
    return eval_refuse(e, "no memory for %lld elements", (long long)type_elements(&type));
  weight_store_release(c->weights, bytes, (size_t)type_bytes(&type));
  return STATUS_OK;
}

status reference_reshape(evaluation *e) {
  const eval_tensor *x = e->operands[0];
  memcpy(e->results[0].data, x->data, (size_t)type_elements(&x->type) * eval_element_size(x));
  return STATUS_OK;
}

status reference_transpose(evaluation *e) {
  int64_t permutation[PINION_MAX_RANK], own[PINION_MAX_RANK], strides[PINION_MAX_RANK] = {0};
  int rank = attr_i64s(e->op, "permutation", permutation, PINION_MAX_RANK);
  eval_strides(&e->operands[0]->type, own);
  for (int i = 0; i < rank; i++) strides[i] = own[permutation[i]];
  return take(e, 0, strides);
}

status reference_broadcast(evaluation *e) {
  int64_t strides[PINION_MAX_RANK] = {0};
  eval_broadcast_strides(&e->operands[0]->type, &e->results[0].type, strides);
  return take(e, 0, strides);
}

status reference_slice(evaluation *e) {
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK], own[PINION_MAX_RANK], strides[PINION_MAX_RANK] = {0};
  int64_t start = 0;
  int rank = attr_i64s(e->op, "starts", starts, PINION_MAX_RANK);
  attr_i64s(e->op, "steps", steps, PINION_MAX_RANK);
  eval_strides(&e->operands[0]->type, own);
  for (int i = 0; i < rank; i++) {
    start += starts[i] * own[i];
    strides[i] = steps[i] * own[i];
  }
  return take(e, start, strides);
}

/* Elements of one step along `axis`. */
static int64_t inner_elements(const tensor_type *type, int64_t axis) {
  int64_t count = 1;
  for (int i = (int)axis + 1; i < type->rank; i++) count *= type->dims[i];
  return count;
}

status reference_concat(evaluation *e) {
  int64_t axis = attr_i64(e->op, "axis", 0), at = 0;
  eval_tensor *result = &e->results[0];
  size_t size = eval_element_size(result);
  int64_t row = inner_elements(&result->type, axis) * result->type.dims[axis];
  for (int k = 0; k < e->operand_count; k++) {
    const eval_tensor *x = e->operands[k];
    int64_t length = inner_elements(&x->type, axis) * x->type.dims[axis];
    for (int64_t i = 0; length > 0 && i < type_elements(&x->type) / length; i++)
      memcpy((char *)result->data + (size_t)(i * row + at) * size, (const char *)x->data + (size_t)(i * length) * size,
             (size_t)length * size);
    at += length;
  }
  return STATUS_OK;
}

status reference_gather(evaluation *e) {
  int64_t axis = attr_i64(e->op, "axis", 0);
  const eval_tensor *x = e->operands[0], *index = e->operands[1];
  int64_t extent = x->type.dims[axis], inner = inner_elements(&x->type, axis), count = type_elements(&index->type);
  int64_t outer = 1;
  for (int i = 0; i < axis; i++) outer *= x->type.dims[i];
  size_t bytes = (size_t)inner * eval_element_size(x);
  char *to = e->results[0].data;
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < count; i++, to += bytes) {
      int64_t at = index->i64[i] < 0 ? index->i64[i] + extent : index->i64[i];
      if (at < 0 || at >= extent)
        return eval_refuse(e, "index %lld is outside the axis of %lld", (long long)index->i64[i], (long long)extent);
      memcpy(to, (const char *)x->data + (size_t)(o * extent + at) * bytes, bytes);
    }
  return STATUS_OK;
}

status reference_pad(evaluation *e) {
  int64_t before[PINION_MAX_RANK], to_strides[PINION_MAX_RANK] = {1}, from_strides[PINION_MAX_RANK] = {1};
  const eval_tensor *x = e->operands[0], *value = eval_operand(e, "value");
  eval_tensor *result = &e->results[0];
  int64_t to_start = 0, from_start = 0;
  if (value) {
    evaluation fill = *e;
    fill.operands = &value;
    take(&fill, 0, (const int64_t[PINION_MAX_RANK]){0});
  }
  attr_i64s(e->op, "before", before, PINION_MAX_RANK);
  eval_strides(&result->type, to_strides);
  eval_strides(&x->type, from_strides);
  tensor_type inside = x->type; /* what of x lies within the result */
  for (int i = 0; i < inside.rank; i++) {
    int64_t first = before[i] < 0 ? -before[i] : 0, end = result->type.dims[i] - before[i];
    if (end > x->type.dims[i]) end = x->type.dims[i];
    inside.dims[i] = end > first ? end - first : 0;
    from_start += first * from_strides[i];
    to_start += (first + before[i]) * to_strides[i];
  }
  eval_walk walk = eval_walk_over(&inside);
  eval_walk_add(&walk, to_start, to_strides);
  eval_walk_add(&walk, from_start, from_strides);
  eval_move(&walk, result, x);
  return STATUS_OK;
}
