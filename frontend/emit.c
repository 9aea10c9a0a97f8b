/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Emitting ops for a node: ir's builders, with errors that stick to the node. */
#include "../ir/scalar.h"
#include "import.h"

#include <string.h>

#define EMIT_MAX_OPERANDS 4096
#define EMIT_MAX_COUNTING (1 << 24)

static bool all_present(int count, const MlirValue *values) {
  for (int i = 0; i < count; ++i)
    if (mlirValueIsNull(values[i])) return false;
  return true;
}

/* An op that the shape rules refuse was already diagnosed, with the node's name. */
static MlirValue check(import_node *n, MlirValue value) {
  tensor_type type, checked;
  if (mlirValueIsNull(value)) {
    if (n->result == STATUS_OK) n->result = STATUS_BAD_INPUT;
    return value;
  }
  if (value_type(value, &type) && !onnx_type_set(type.dtype, (size_t)type.rank, type.dims, &checked)) {
    node_bad(n, "a result of an absurd size");
    return (MlirValue){NULL};
  }
  return value;
}

static bool can_emit(const import_node *n, int count, const MlirValue *values) {
  return n->result == STATUS_OK && all_present(count, values);
}

MlirValue emit_op(import_node *n, op_kind kind, int operand_count, const MlirValue *operands, int attribute_count,
                  const MlirNamedAttribute *attributes, const tensor_type *result) {
  if (n->result != STATUS_OK) return (MlirValue){NULL};
  MlirType type = {NULL};
  if (result) type = type_make(n->builder.compilation->context, result);
  MlirOperation op =
      build_op(&n->builder, kind, operand_count, operands, attribute_count, attributes, result ? 1 : 0, &type);
  return check(n, mlirOperationIsNull(op) ? (MlirValue){NULL} : mlirOperationGetResult(op, 0));
}

MlirValue emit_unary(import_node *n, const char *kind, MlirValue x) {
  return can_emit(n, 1, &x) ? check(n, build_unary(&n->builder, kind, x)) : (MlirValue){NULL};
}

MlirValue emit_binary(import_node *n, const char *kind, MlirValue x, MlirValue y) {
  MlirValue operands[] = {x, y};
  return can_emit(n, 2, operands) ? check(n, build_binary(&n->builder, kind, x, y)) : (MlirValue){NULL};
}

MlirValue emit_select(import_node *n, MlirValue condition, MlirValue x, MlirValue y) {
  MlirValue operands[] = {condition, x, y};
  return can_emit(n, 3, operands) ? check(n, build_select(&n->builder, condition, x, y)) : (MlirValue){NULL};
}

MlirValue emit_cast(import_node *n, MlirValue x, pinion_dtype to) {
  if (!can_emit(n, 1, &x)) return (MlirValue){NULL};
  if (node_type(n, x).dtype == to) return x;
  return check(n, build_cast(&n->builder, x, to));
}

MlirValue emit_reduce(import_node *n, const char *kind, MlirValue x, const bool *axes, bool keep) {
  if (!can_emit(n, 1, &x)) return (MlirValue){NULL};
  int64_t list[PINION_MAX_RANK];
  int count = 0, rank = node_type(n, x).rank;
  for (int d = 0; d < rank; ++d)
    if (axes[d]) list[count++] = d;
  return count ? check(n, build_reduce(&n->builder, kind, x, count, list, keep)) : x;
}

MlirValue emit_matmul(import_node *n, MlirValue x, MlirValue y) {
  MlirValue operands[] = {x, y};
  return can_emit(n, 2, operands) ? check(n, build_matmul(&n->builder, x, y)) : (MlirValue){NULL};
}

static bool has_shape(const tensor_type *type, int rank, const int64_t *dims) {
  return type->rank == rank && memcmp(type->dims, dims, (size_t)rank * sizeof *dims) == 0;
}

/* The size is checked before type_make and the shape rules multiply it out. */
static bool shape_is_sane(import_node *n, pinion_dtype dtype, int rank, const int64_t *dims) {
  tensor_type type;
  if (onnx_type_set(dtype, (size_t)rank, dims, &type)) return true;
  node_bad(n, "a result of rank over %d or of an absurd size", PINION_MAX_RANK);
  return false;
}

MlirValue emit_reshape(import_node *n, MlirValue x, int rank, const int64_t *dims) {
  if (!can_emit(n, 1, &x)) return (MlirValue){NULL};
  tensor_type type = node_type(n, x);
  if (!shape_is_sane(n, type.dtype, rank, dims)) return (MlirValue){NULL};
  if (has_shape(&type, rank, dims)) return x;
  return check(n, build_reshape(&n->builder, x, rank, dims));
}

MlirValue emit_broadcast(import_node *n, MlirValue x, int rank, const int64_t *dims) {
  if (!can_emit(n, 1, &x)) return (MlirValue){NULL};
  tensor_type type = node_type(n, x);
  if (!shape_is_sane(n, type.dtype, rank, dims)) return (MlirValue){NULL};
  if (has_shape(&type, rank, dims)) return x;
  return check(n, build_broadcast(&n->builder, x, rank, dims));
}

MlirValue emit_transpose(import_node *n, MlirValue x, const int64_t *permutation) {
  return can_emit(n, 1, &x) ? check(n, build_transpose(&n->builder, x, permutation)) : (MlirValue){NULL};
}

MlirValue emit_slice(import_node *n, MlirValue x, const int64_t *starts, const int64_t *sizes, const int64_t *steps) {
  return can_emit(n, 1, &x) ? check(n, build_slice(&n->builder, x, starts, sizes, steps)) : (MlirValue){NULL};
}

MlirValue emit_slice_axis(import_node *n, MlirValue x, int axis, int64_t start, int64_t size) {
  if (!can_emit(n, 1, &x)) return (MlirValue){NULL};
  tensor_type type = node_type(n, x);
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  for (int d = 0; d < type.rank; ++d) steps[d] = 1;
  if (size == type.dims[axis]) return x;
  starts[axis] = start;
  type.dims[axis] = size;
  return emit_slice(n, x, starts, type.dims, steps);
}

MlirValue emit_concat(import_node *n, int count, const MlirValue *values, int axis) {
  if (count > EMIT_MAX_OPERANDS) node_unsupported(n, "more than %d inputs", EMIT_MAX_OPERANDS);
  if (!can_emit(n, count, values)) return (MlirValue){NULL};
  return count == 1 ? values[0] : check(n, build_concat(&n->builder, count, values, axis));
}

MlirValue emit_constant(import_node *n, const tensor_type *type, const void *data) {
  return n->result == STATUS_OK ? check(n, build_constant(&n->builder, type, data)) : (MlirValue){NULL};
}

MlirValue emit_scalar(import_node *n, pinion_dtype dtype, double value) {
  uint8_t bytes[8] = {0};
  eval_tensor tensor = {.type = {.dtype = dtype}, .storage = EVAL_DOUBLES};
  int64_t whole = integer_from_real(dtype, value);
  float narrow = (float)value;
  if (!dtype_is_float(dtype)) {
    tensor.storage = EVAL_INTEGERS;
    tensor.i64 = &whole;
  } else if (dtype == PINION_DTYPE_f64) {
    tensor.f64 = &value;
  } else {
    tensor.storage = EVAL_FLOATS;
    tensor.f32 = &narrow;
  }
  eval_tensor_to_bytes(&tensor, bytes);
  return emit_constant(n, &tensor.type, bytes);
}

MlirValue emit_ints(import_node *n, int rank, const int64_t *dims, const int64_t *values) {
  tensor_type type = {.dtype = PINION_DTYPE_i64, .rank = rank};
  memcpy(type.dims, dims, (size_t)rank * sizeof *dims);
  return emit_constant(n, &type, values);
}

MlirValue emit_counting(import_node *n, int rank, int dimension, int64_t count, int64_t start) {
  int64_t dims[PINION_MAX_RANK];
  for (int d = 0; d < rank; ++d) dims[d] = d == dimension ? count : 1;
  if (count > EMIT_MAX_COUNTING) node_unsupported(n, "a dimension of %lld", (long long)count);
  if (n->result != STATUS_OK) return (MlirValue){NULL};
  int64_t *values = arena_alloc(n->importer->arena, ((size_t)count + 1) * sizeof *values);
  for (int64_t i = 0; i < count; ++i) values[i] = start + i;
  return emit_ints(n, rank, dims, values);
}

/* Where a file holds the bytes, a weight points there; what was decoded goes to the weight store. */
status emit_tensor(importer *im, builder *b, const Onnx__TensorProto *proto, const char *name, MlirValue *out_value) {
  onnx_tensor tensor;
  *out_value = (MlirValue){NULL};
  status result = onnx_tensor_read(im->file, proto, &tensor);
  if (result != STATUS_OK) return result;
  int64_t bytes = type_bytes(&tensor.type);
  if (bytes <= CONSTANT_INLINE_BYTES) {
    uint64_t aligned[CONSTANT_INLINE_BYTES / sizeof(uint64_t)];
    if (bytes) memcpy(aligned, tensor.data, (size_t)bytes);
    *out_value = build_constant(b, &tensor.type, aligned);
  } else if (tensor.where) {
    *out_value = build_weight(b, &tensor.type, name, tensor.where, (int64_t)tensor.offset);
  } else {
    const char *blob = weight_store_add(im->compilation->weights, tensor.data, (size_t)bytes);
    *out_value = build_weight(b, &tensor.type, name, blob, 0);
  }
  return mlirValueIsNull(*out_value) ? STATUS_BAD_INPUT : STATUS_OK;
}
