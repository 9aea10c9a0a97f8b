/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Reading ops: kinds, operands by name, attributes, constants. */
#include "dialect.h"

#include <string.h>

static MlirStringRef string_ref(const char *string) {
  return mlirStringRefCreateFromCString(string);
}

MlirOperation value_definition(MlirValue value) {
  return mlirValueIsAOpResult(value) ? mlirOpResultGetOwner(value) : (MlirOperation){NULL};
}

MlirOperation value_defined_by(MlirValue value, op_kind kind) {
  MlirOperation op = value_definition(value);
  return !mlirOperationIsNull(op) && op_kind_of(op) == kind ? op : (MlirOperation){NULL};
}

bool value_type(MlirValue value, tensor_type *out_type) {
  return type_read(mlirValueGetType(value), out_type);
}

tensor_type tensor_type_of(MlirValue value) {
  tensor_type type = {0};
  value_type(value, &type);
  return type;
}

pinion_dtype value_dtype(MlirValue value) {
  return tensor_type_of(value).dtype;
}

int64_t last_dimension(MlirValue value) {
  const tensor_type type = tensor_type_of(value);
  return type.rank ? type.dims[type.rank - 1] : 1;
}

bool value_is_unused(MlirValue value) {
  return mlirOpOperandIsNull(mlirValueGetFirstUse(value));
}

bool value_has_one_use(MlirValue value) {
  MlirOpOperand use = mlirValueGetFirstUse(value);
  return !mlirOpOperandIsNull(use) && mlirOpOperandIsNull(mlirOpOperandGetNextUse(use));
}

bool value_is_constant(MlirValue value) {
  return !mlirOperationIsNull(value_defined_by(value, OP_constant));
}

/* ---- Operands by name ---- */

static int64_t segment(MlirOperation op, int index) {
  MlirAttribute segments = mlirOperationGetAttributeByName(op, string_ref("operandSegmentSizes"));
  if (mlirAttributeIsNull(segments) || !mlirAttributeIsADenseI32Array(segments)) return 0;
  return index < mlirDenseArrayGetNumElements(segments) ? mlirDenseI32ArrayGetElement(segments, index) : 0;
}

intptr_t op_field_operands(MlirOperation op, const op_info *info, int field) {
  if (info->has_segments) return segment(op, field);
  if (info->operands[field].arity == FIELD_ONE) return 1;
  return mlirOperationGetNumOperands(op) - (info->operand_count - 1);
}

void op_operand_range(MlirOperation op, const char *name, intptr_t *out_start, intptr_t *out_count) {
  const op_info *info = op_info_of(op_kind_of(op));
  *out_start = 0;
  for (int i = 0; i < info->operand_count; i++) {
    *out_count = op_field_operands(op, info, i);
    if (!strcmp(info->operands[i].name, name)) return;
    *out_start += *out_count;
  }
  *out_start = *out_count = 0;
}

MlirValue op_operand(MlirOperation op, const char *name) {
  intptr_t start, count;
  op_operand_range(op, name, &start, &count);
  return count ? mlirOperationGetOperand(op, start) : (MlirValue){NULL};
}

/* ---- Attributes ---- */

static MlirAttribute attribute(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, string_ref(name));
}

int64_t attr_i64(MlirOperation op, const char *name, int64_t otherwise) {
  MlirAttribute value = attribute(op, name);
  return !mlirAttributeIsNull(value) && mlirAttributeIsAInteger(value) ? mlirIntegerAttrGetValueInt(value) : otherwise;
}

double attr_f64(MlirOperation op, const char *name, double otherwise) {
  MlirAttribute value = attribute(op, name);
  return !mlirAttributeIsNull(value) && mlirAttributeIsAFloat(value) ? mlirFloatAttrGetValueDouble(value) : otherwise;
}

bool attr_bool(MlirOperation op, const char *name, bool otherwise) {
  MlirAttribute value = attribute(op, name);
  return !mlirAttributeIsNull(value) && mlirAttributeIsABool(value) ? mlirBoolAttrGetValue(value) : otherwise;
}

MlirStringRef attr_str(MlirOperation op, const char *name) {
  MlirAttribute value = attribute(op, name);
  if (mlirAttributeIsNull(value)) return (MlirStringRef){"", 0};
  if (mlirAttributeIsAFlatSymbolRef(value)) return mlirFlatSymbolRefAttrGetValue(value);
  return mlirAttributeIsAString(value) ? mlirStringAttrGetValue(value) : (MlirStringRef){"", 0};
}

bool attr_str_is(MlirOperation op, const char *name, const char *value) {
  return mlirStringRefEqual(attr_str(op, name), string_ref(value));
}

/* Ops of ours have no properties, only attributes of the kind that MLIR calls discardable. To ask MLIR for any
   attribute instead would sort a new dictionary each time. */
static bool has_no_properties(MlirOperation op) {
  static const char prefix[] = "pinion.";
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  return name.length > sizeof prefix - 1 && !memcmp(name.data, prefix, sizeof prefix - 1);
}

intptr_t op_attribute_count(MlirOperation op) {
  return has_no_properties(op) ? mlirOperationGetNumDiscardableAttributes(op) : mlirOperationGetNumAttributes(op);
}

MlirNamedAttribute op_attribute(MlirOperation op, intptr_t index) {
  return has_no_properties(op) ? mlirOperationGetDiscardableAttribute(op, index) : mlirOperationGetAttribute(op, index);
}

int attr_i64s(MlirOperation op, const char *name, int64_t *out_values, int capacity) {
  MlirAttribute value = attribute(op, name);
  if (mlirAttributeIsNull(value) || !mlirAttributeIsADenseI64Array(value)) return 0;
  int count = (int)mlirDenseArrayGetNumElements(value);
  for (int i = 0; i < count && i < capacity; i++) out_values[i] = mlirDenseI64ArrayGetElement(value, i);
  return count;
}

MlirAttribute make_i64(MlirContext context, int64_t value) {
  return mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), value);
}

MlirAttribute make_f64(MlirContext context, double value) {
  return mlirFloatAttrDoubleGet(context, mlirF64TypeGet(context), value);
}

MlirAttribute make_bool(MlirContext context, bool value) {
  return mlirBoolAttrGet(context, value);
}

MlirAttribute make_str(MlirContext context, const char *value) {
  return mlirStringAttrGet(context, string_ref(value));
}

MlirAttribute make_i64s(MlirContext context, int count, const int64_t *values) {
  return mlirDenseI64ArrayGet(context, count, values);
}

MlirNamedAttribute make_named(MlirContext context, const char *name, MlirAttribute value) {
  return mlirNamedAttributeGet(mlirIdentifierGet(context, string_ref(name)), value);
}

/* ---- Constants ---- */

static const void *inline_bytes(compilation *c, MlirOperation op, const tensor_type *type) {
  MlirAttribute value = attribute(op, "value");
  int64_t count = type_elements(type);
  size_t size = pinion_dtype_size(type->dtype);
  uint8_t *bytes = arena_alloc(c->arena, (size_t)count * size);
  if (type->dtype == PINION_DTYPE_bool) { /* MLIR packs bits; our storage is a byte each */
    for (int64_t i = 0; i < count; i++) bytes[i] = mlirDenseElementsAttrGetBoolValue(value, i);
    return bytes;
  }
  const void *data = mlirDenseElementsAttrGetRawData(value);
  if (count && !mlirDenseElementsAttrIsSplat(value))
    memcpy(bytes, data, (size_t)count * size);
  else
    for (int64_t i = 0; i < count; i++) memcpy(bytes + (size_t)i * size, data, size);
  return bytes;
}

const void *constant_bytes(compilation *c, MlirOperation op) {
  tensor_type type;
  if (!value_type(mlirOperationGetResult(op, 0), &type)) return NULL;
  if (op_kind_of(op) == OP_constant) return inline_bytes(c, op, &type);
  MlirStringRef file = attr_str(op, "file");
  char *path = arena_string(c->arena, file.data, file.length);
  const void *data = NULL;
  int64_t offset = attr_i64(op, "offset", -1);
  if (offset < 0) {
    diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, "pinion.weight", "negative offset in '%s'", path);
    return NULL;
  }
  weight_store_read(c->weights, &c->diagnostics, path, (uint64_t)offset, (uint64_t)type_bytes(&type), &data);
  return data;
}
