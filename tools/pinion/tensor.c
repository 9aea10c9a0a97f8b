/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "tensor.h"

#include "ir/scalar.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TENSOR_BYTES ((int64_t)1 << 40)

bool tensor_size(const tensor_type *type, int64_t *out_bytes) {
  int64_t bytes = (int64_t)pinion_dtype_size(type->dtype);
  if (bytes == 0 || type->rank < 0 || type->rank > PINION_MAX_RANK) return false;
  for (int i = 0; i < type->rank; i++) {
    int64_t dim = type->dims[i];
    if (dim < 0 || (dim != 0 && bytes > MAX_TENSOR_BYTES / dim)) return false;
    bytes *= dim;
  }
  *out_bytes = bytes;
  return true;
}

status tensor_create(diagnostics *d, const char *name, const tensor_type *type, tensor *out_tensor) {
  int64_t bytes;
  *out_tensor = (tensor){.type = *type};
  if (!tensor_size(type, &bytes))
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "tensor '%s' has an impossible size", name);
  out_tensor->data = calloc(1, bytes ? (size_t)bytes : 1);
  if (!out_tensor->data)
    return diagnose(d, STATUS_FAILED, NULL, NULL, "no memory for %lld bytes of tensor '%s'", (long long)bytes, name);
  return STATUS_OK;
}

void tensor_free(tensor *t) {
  free(t->data);
  t->data = NULL;
}

double tensor_get(const tensor *t, int64_t i) {
  switch (t->type.dtype) {
  case PINION_DTYPE_f32: return ((const float *)t->data)[i];
  case PINION_DTYPE_f64: return ((const double *)t->data)[i];
  case PINION_DTYPE_bf16: return bf16_to_float(((const uint16_t *)t->data)[i]);
  case PINION_DTYPE_f16: return f16_to_float(((const uint16_t *)t->data)[i]);
  case PINION_DTYPE_i64: return (double)((const int64_t *)t->data)[i];
  case PINION_DTYPE_i32: return ((const int32_t *)t->data)[i];
  case PINION_DTYPE_i16: return ((const int16_t *)t->data)[i];
  case PINION_DTYPE_i8: return ((const int8_t *)t->data)[i];
  case PINION_DTYPE_u64: return (double)((const uint64_t *)t->data)[i];
  case PINION_DTYPE_u32: return ((const uint32_t *)t->data)[i];
  case PINION_DTYPE_u16: return ((const uint16_t *)t->data)[i];
  case PINION_DTYPE_u8:
  case PINION_DTYPE_bool: return ((const uint8_t *)t->data)[i];
  case PINION_DTYPE_COUNT: break;
  }
  return 0;
}

void tensor_set(tensor *t, int64_t i, double value) {
  int64_t integer = dtype_is_float(t->type.dtype) ? 0 : integer_from_real(t->type.dtype, value);
  switch (t->type.dtype) {
  case PINION_DTYPE_f32: ((float *)t->data)[i] = (float)value; break;
  case PINION_DTYPE_f64: ((double *)t->data)[i] = value; break;
  case PINION_DTYPE_bf16: ((uint16_t *)t->data)[i] = bf16_from_float((float)value); break;
  case PINION_DTYPE_f16: ((uint16_t *)t->data)[i] = f16_from_float((float)value); break;
  case PINION_DTYPE_i64:
  case PINION_DTYPE_u64: ((int64_t *)t->data)[i] = integer; break;
  case PINION_DTYPE_i32:
  case PINION_DTYPE_u32: ((uint32_t *)t->data)[i] = (uint32_t)integer; break;
  case PINION_DTYPE_i16:
  case PINION_DTYPE_u16: ((uint16_t *)t->data)[i] = (uint16_t)integer; break;
  case PINION_DTYPE_i8:
  case PINION_DTYPE_u8:
  case PINION_DTYPE_bool: ((uint8_t *)t->data)[i] = (uint8_t)integer; break;
  case PINION_DTYPE_COUNT: break;
  }
}

/* Whether element i can be `to` without losing its meaning. 64-bit integers are not asked to: they go bit by bit below.
 */
static bool value_fits(const tensor *t, int64_t i, pinion_dtype to) {
  if (dtype_is_float(t->type.dtype) || dtype_is_float(to)) return dtype_is_float(t->type.dtype) && dtype_is_float(to);
  int64_t least, greatest;
  double value = tensor_get(t, i);
  integer_range(to, &least, &greatest);
  return value >= (double)least && value <= (double)greatest;
}

static void convert_element(const tensor *from, tensor *to, int64_t i) {
  bool wide = from->type.dtype == PINION_DTYPE_i64 || from->type.dtype == PINION_DTYPE_u64;
  if (wide && (to->type.dtype == PINION_DTYPE_i64 || to->type.dtype == PINION_DTYPE_u64))
    ((int64_t *)to->data)[i] = ((const int64_t *)from->data)[i];
  else
    tensor_set(to, i, tensor_get(from, i));
}

status tensor_convert(diagnostics *d, const char *name, tensor *t, pinion_dtype to) {
  if (t->type.dtype == to) return STATUS_OK;
  tensor converted;
  tensor_type type = t->type;
  type.dtype = to;
  status result = tensor_create(d, name, &type, &converted);
  if (result) return result;
  for (int64_t i = 0; i < type_elements(&type); i++) {
    if (!value_fits(t, i, to)) {
      tensor_free(&converted);
      return diagnose(d, STATUS_BAD_INPUT, NULL, NULL,
                      "'%s' has elements of type %s; %s is needed, and element %lld, %g, has no place in it", name,
                      dtype_name(t->type.dtype), dtype_name(to), (long long)i, tensor_get(t, i));
    }
    convert_element(t, &converted, i);
  }
  tensor_free(t);
  *t = converted;
  return STATUS_OK;
}

status tensor_from_eval(diagnostics *d, const char *name, const eval_tensor *value, tensor *out_tensor) {
  tensor_type type = value->type;
  type.dtype = value->storage == EVAL_INTEGERS ? PINION_DTYPE_i64 : PINION_DTYPE_f64;
  status result = tensor_create(d, name, &type, out_tensor);
  if (result) return result;
  int64_t count = type_elements(&type);
  if (value->storage == EVAL_FLOATS)
    for (int64_t i = 0; i < count; i++) ((double *)out_tensor->data)[i] = value->f32[i];
  else if (count)
    memcpy(out_tensor->data, value->data, (size_t)count * 8); /* doubles, int64_t */
  return STATUS_OK;
}

void tensor_type_text(const tensor_type *type, char *out_text, size_t capacity) {
  int length = snprintf(out_text, capacity, "%s[", dtype_name(type->dtype));
  for (int i = 0; i < type->rank && length > 0 && (size_t)length < capacity; i++)
    length += snprintf(out_text + length, capacity - (size_t)length, i ? ",%lld" : "%lld", (long long)type->dims[i]);
  if (length > 0 && (size_t)length < capacity) snprintf(out_text + length, capacity - (size_t)length, "]");
}
