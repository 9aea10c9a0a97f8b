/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Element types and shapes, and their MLIR types. */
#include "ir.h"

#include <string.h>

static bool integer_dtype(MlirType type, pinion_dtype *out) {
  unsigned width = mlirIntegerTypeGetWidth(type);
  bool is_unsigned = mlirIntegerTypeIsUnsigned(type);
  if (mlirIntegerTypeIsSigned(type)) return false;
  switch (width) {
  case 1: *out = PINION_DTYPE_bool; return !is_unsigned;
  case 8: *out = is_unsigned ? PINION_DTYPE_u8 : PINION_DTYPE_i8; return true;
  case 16: *out = is_unsigned ? PINION_DTYPE_u16 : PINION_DTYPE_i16; return true;
  case 32: *out = is_unsigned ? PINION_DTYPE_u32 : PINION_DTYPE_i32; return true;
  case 64: *out = is_unsigned ? PINION_DTYPE_u64 : PINION_DTYPE_i64; return true;
  default: return false;
  }
}

static bool element_dtype(MlirType type, pinion_dtype *out) {
  if (mlirTypeIsAF32(type)) return *out = PINION_DTYPE_f32, true;
  if (mlirTypeIsABF16(type)) return *out = PINION_DTYPE_bf16, true;
  if (mlirTypeIsAF16(type)) return *out = PINION_DTYPE_f16, true;
  if (mlirTypeIsAF64(type)) return *out = PINION_DTYPE_f64, true;
  return mlirTypeIsAInteger(type) && integer_dtype(type, out);
}

static MlirType element_type(MlirContext context, pinion_dtype dtype) {
  switch (dtype) {
  case PINION_DTYPE_f32: return mlirF32TypeGet(context);
  case PINION_DTYPE_f64: return mlirF64TypeGet(context);
  case PINION_DTYPE_bf16: return mlirBF16TypeGet(context);
  case PINION_DTYPE_f16: return mlirF16TypeGet(context);
  case PINION_DTYPE_bool: return mlirIntegerTypeGet(context, 1);
  case PINION_DTYPE_u8:
  case PINION_DTYPE_u16:
  case PINION_DTYPE_u32:
  case PINION_DTYPE_u64: return mlirIntegerTypeUnsignedGet(context, (unsigned)pinion_dtype_size(dtype) * 8);
  default: return mlirIntegerTypeGet(context, (unsigned)pinion_dtype_size(dtype) * 8);
  }
}

bool type_read(MlirType type, tensor_type *out_type) {
  if (!mlirTypeIsARankedTensor(type) && !mlirTypeIsAMemRef(type)) return false;
  int64_t rank = mlirShapedTypeGetRank(type);
  if (rank > PINION_MAX_RANK) return false;
  *out_type = (tensor_type){.rank = (int)rank};
  for (int i = 0; i < rank; i++) {
    out_type->dims[i] = mlirShapedTypeGetDimSize(type, i);
    if (out_type->dims[i] == mlirShapedTypeGetDynamicSize()) return false;
  }
  return element_dtype(mlirShapedTypeGetElementType(type), &out_type->dtype);
}

MlirType type_make(MlirContext context, const tensor_type *type) {
  return mlirRankedTensorTypeGet(type->rank, type->dims, element_type(context, type->dtype), mlirAttributeGetNull());
}

MlirType type_make_memref(MlirContext context, const tensor_type *type) {
  return mlirMemRefTypeContiguousGet(element_type(context, type->dtype), type->rank, type->dims,
                                     mlirAttributeGetNull());
}

int64_t type_elements(const tensor_type *type) {
  int64_t count = 1;
  for (int i = 0; i < type->rank; i++) count *= type->dims[i];
  return count;
}

int64_t type_bytes(const tensor_type *type) {
  return type_elements(type) * (int64_t)pinion_dtype_size(type->dtype);
}

bool type_equal(const tensor_type *a, const tensor_type *b) {
  return a->dtype == b->dtype && a->rank == b->rank && !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]);
}

bool dtype_is_float(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_f32 || dtype == PINION_DTYPE_f64 || dtype == PINION_DTYPE_bf16 ||
         dtype == PINION_DTYPE_f16;
}

static const char *const dtype_names[] = {
#define NAME(name, type, bytes) #name,
    PINION_DTYPES(NAME)
#undef NAME
};

const char *dtype_name(pinion_dtype dtype) {
  return (unsigned)dtype < PINION_DTYPE_COUNT ? dtype_names[dtype] : "?";
}

bool dtype_from_name(const char *name, pinion_dtype *out) {
  for (int i = 0; i < PINION_DTYPE_COUNT; i++)
    if (!strcmp(name, dtype_names[i])) return *out = (pinion_dtype)i, true;
  return false;
}

bool shape_broadcast(const tensor_type *a, const tensor_type *b, tensor_type *out_shape) {
  int rank = a->rank > b->rank ? a->rank : b->rank;
  tensor_type result = {.dtype = a->dtype, .rank = rank};
  for (int i = 0; i < rank; i++) {
    int in_a = i - (rank - a->rank), in_b = i - (rank - b->rank);
    int64_t x = in_a < 0 ? 1 : a->dims[in_a], y = in_b < 0 ? 1 : b->dims[in_b];
    if (x != y && x != 1 && y != 1) return false;
    result.dims[i] = x == 1 ? y : x;
  }
  *out_shape = result;
  return true;
}
