/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* TensorProto: raw bytes and external data are pointed at, typed fields are decoded. */
#include "frontend.h"
#include "model.h"
#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TENSOR_DTYPES(X)                                                                                               \
  X(FLOAT, f32)                                                                                                        \
  X(DOUBLE, f64)                                                                                                       \
  X(BFLOAT16, bf16)                                                                                                    \
  X(FLOAT16, f16)                                                                                                      \
  X(INT64, i64)                                                                                                        \
  X(INT32, i32)                                                                                                        \
  X(INT16, i16)                                                                                                        \
  X(INT8, i8)                                                                                                          \
  X(UINT64, u64)                                                                                                       \
  X(UINT32, u32)                                                                                                       \
  X(UINT16, u16)                                                                                                       \
  X(UINT8, u8)                                                                                                         \
  X(BOOL, bool)

bool onnx_dtype(int64_t data_type, pinion_dtype *out_dtype) {
  switch (data_type) {
#define DTYPE_CASE(onnx, ours)                                                                                         \
  case ONNX__TENSOR_PROTO__DATA_TYPE__##onnx: *out_dtype = PINION_DTYPE_##ours; return true;
    TENSOR_DTYPES(DTYPE_CASE)
#undef DTYPE_CASE
  default: return false;
  }
}

const char *onnx_dtype_name(int64_t data_type) {
  if (data_type < 0 || data_type > INT32_MAX) return "unknown";
  const ProtobufCEnumValue *value =
      protobuf_c_enum_descriptor_get_value(&onnx__tensor_proto__data_type__descriptor, (int)data_type);
  return value ? value->name : "unknown";
}

bool onnx_type_set(pinion_dtype dtype, size_t rank, const int64_t *dims, tensor_type *out_type) {
  *out_type = (tensor_type){.dtype = dtype};
  if (rank > PINION_MAX_RANK) return false;
  int64_t bytes = (int64_t)pinion_dtype_size(dtype);
  out_type->rank = (int)rank;
  for (size_t d = 0; d < rank; ++d) {
    if (dims[d] < 0 || (dims[d] > 0 && bytes > ONNX_MAX_TENSOR_BYTES / dims[d])) return false;
    out_type->dims[d] = dims[d];
    if (dims[d] > 0) bytes *= dims[d]; /* of an empty tensor the other dimensions must be sane too */
  }
  return true;
}

static status bad_tensor(onnx_file *file, const onnx_tensor *tensor, status code, const char *what) {
  return diagnose(&file->compilation->diagnostics, code, NULL, NULL, "tensor '%s': %s", tensor->name, what);
}

static status read_raw(onnx_file *file, const Onnx__TensorProto *proto, onnx_tensor *tensor) {
  raw_reference reference;
  if (proto->raw_data.len != sizeof reference) return bad_tensor(file, tensor, STATUS_BAD_INPUT, "damaged raw_data");
  memcpy(&reference, proto->raw_data.data, sizeof reference);
  if (reference.bytes != (uint64_t)type_bytes(&tensor->type))
    return diagnose(&file->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "tensor '%s': raw_data has %llu bytes, its type and shape need %lld", tensor->name,
                    (unsigned long long)reference.bytes, (long long)type_bytes(&tensor->type));
  tensor->data = file->file.bytes + reference.offset;
  tensor->where = file->name;
  tensor->offset = reference.offset;
  return STATUS_OK;
}

/* ---- External data ---- */

typedef struct external_data {
  const char *location;
  uint64_t offset, length;
  bool has_length;
} external_data;

static bool parse_decimal(const char *string, uint64_t *out_value) {
  if (!string || *string < '0' || *string > '9') return false;
  char *end;
  errno = 0;
  *out_value = strtoull(string, &end, 10);
  return errno == 0 && *end == '\0';
}

/* The key `checksum` (SHA-1, optional in ONNX, written by no exporter) is not compared: it would read every byte. */
static bool parse_external(const Onnx__TensorProto *proto, external_data *out_external) {
  *out_external = (external_data){0};
  for (size_t i = 0; i < proto->n_external_data; ++i) {
    const char *key = proto->external_data[i]->key, *value = proto->external_data[i]->value;
    if (!key) return false;
    if (strcmp(key, "location") == 0) out_external->location = value;
    if (strcmp(key, "offset") == 0 && !parse_decimal(value, &out_external->offset)) return false;
    if (strcmp(key, "length") == 0) {
      if (!parse_decimal(value, &out_external->length)) return false;
      out_external->has_length = true;
    }
  }
  return out_external->location && *out_external->location;
}

static status read_external(onnx_file *file, const Onnx__TensorProto *proto, onnx_tensor *tensor) {
  compilation *c = file->compilation;
  external_data external;
  if (!parse_external(proto, &external))
    return bad_tensor(file, tensor, STATUS_BAD_INPUT,
                      "its external data needs a location, and a decimal offset and length");
  uint64_t bytes = (uint64_t)type_bytes(&tensor->type);
  if (external.has_length && external.length != bytes)
    return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "tensor '%s': its external data is %llu bytes long, its type and shape need %llu", tensor->name,
                    (unsigned long long)external.length, (unsigned long long)bytes);
  if (external.offset > INT64_MAX) return bad_tensor(file, tensor, STATUS_BAD_INPUT, "the external offset is absurd");
  if (weight_store_read(c->weights, &c->diagnostics, external.location, external.offset, bytes, &tensor->data) !=
      STATUS_OK)
    return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "tensor '%s': cannot read its external data (%llu bytes at offset %llu of '%s'); put the data file "
                    "beside the model, whole",
                    tensor->name, (unsigned long long)bytes, (unsigned long long)external.offset, external.location);
  tensor->where = external.location;
  tensor->offset = external.offset;
  return STATUS_OK;
}

/* ---- Typed fields ---- */

/* int32_data holds every integer of 32 bits or fewer, bools, and the bits of the 16-bit floats. */
static void narrow_int32(const int32_t *from, int64_t count, pinion_dtype dtype, void *to) {
  for (int64_t i = 0; i < count; ++i) {
    switch (pinion_dtype_size(dtype)) {
    case 1: ((uint8_t *)to)[i] = dtype == PINION_DTYPE_bool ? from[i] != 0 : (uint8_t)from[i]; break;
    case 2: ((uint16_t *)to)[i] = (uint16_t)from[i]; break;
    default: ((uint32_t *)to)[i] = (uint32_t)from[i]; break;
    }
  }
}

static void narrow_uint64(const uint64_t *from, int64_t count, uint32_t *to) {
  for (int64_t i = 0; i < count; ++i) to[i] = (uint32_t)from[i];
}

/* The typed field that ONNX prescribes for an element type: its length, and its address where no decoding is needed. */
static size_t typed_field(const Onnx__TensorProto *proto, pinion_dtype dtype, const void **out_data) {
  switch (dtype) {
  case PINION_DTYPE_f32: *out_data = proto->float_data; return proto->n_float_data;
  case PINION_DTYPE_f64: *out_data = proto->double_data; return proto->n_double_data;
  case PINION_DTYPE_i64: *out_data = proto->int64_data; return proto->n_int64_data;
  case PINION_DTYPE_u64: *out_data = proto->uint64_data; return proto->n_uint64_data;
  case PINION_DTYPE_u32: *out_data = NULL; return proto->n_uint64_data;
  default: *out_data = NULL; return proto->n_int32_data;
  }
}

static status read_typed(onnx_file *file, const Onnx__TensorProto *proto, onnx_tensor *tensor) {
  int64_t count = type_elements(&tensor->type);
  size_t given = typed_field(proto, tensor->type.dtype, &tensor->data);
  if (given != (size_t)count)
    return diagnose(&file->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "tensor '%s': its field for %s holds %zu values, its shape needs %lld", tensor->name,
                    dtype_name(tensor->type.dtype), given, (long long)count);
  if (tensor->data) return STATUS_OK;
  void *decoded = arena_alloc(file->arena, (size_t)type_bytes(&tensor->type) + 1);
  if (tensor->type.dtype == PINION_DTYPE_u32)
    narrow_uint64(proto->uint64_data, count, decoded);
  else
    narrow_int32(proto->int32_data, count, tensor->type.dtype, decoded);
  tensor->data = decoded;
  return STATUS_OK;
}

status onnx_tensor_read(onnx_file *file, const Onnx__TensorProto *proto, onnx_tensor *out_tensor) {
  pinion_dtype dtype;
  *out_tensor = (onnx_tensor){.name = proto->name ? proto->name : ""};
  if (!onnx_dtype(proto->data_type, &dtype))
    return diagnose(&file->compilation->diagnostics, STATUS_UNSUPPORTED, NULL, NULL,
                    "tensor '%s': unsupported element type %s (%d)", out_tensor->name,
                    onnx_dtype_name(proto->data_type), (int)proto->data_type);
  if (proto->segment) return bad_tensor(file, out_tensor, STATUS_UNSUPPORTED, "it is stored in segments");
  if (!onnx_type_set(dtype, proto->n_dims, proto->dims, &out_tensor->type))
    return bad_tensor(file, out_tensor, STATUS_BAD_INPUT,
                      "its rank is over 8, a dimension is negative, or its size is absurd");
  if (proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return read_external(file, proto, out_tensor);
  if (proto->has_raw_data) return read_raw(file, proto, out_tensor);
  return read_typed(file, proto, out_tensor);
}

status onnx_read_tensor(compilation *c, const char *path, tensor_type *out_type, const char **out_name,
                        const void **out_data) {
  onnx_file file;
  ProtobufCMessage *message;
  onnx_tensor tensor;
  status result = onnx_file_open(c, path, &onnx__tensor_proto__descriptor, &file, &message);
  if (result != STATUS_OK) return result;
  result = onnx_tensor_read(&file, (const Onnx__TensorProto *)message, &tensor);
  if (result == STATUS_OK) {
    *out_type = tensor.type;
    *out_name = arena_string(c->arena, tensor.name, strlen(tensor.name));
    *out_data = arena_copy(c->arena, tensor.data, (size_t)type_bytes(&tensor.type));
  }
  onnx_file_close(&file);
  return result;
}
