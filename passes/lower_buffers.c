/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What lowering knows of values: maps, buffers, weights. */
#include "lower.h"

#include "../ir/dialect.h"

#include <string.h>

/* ---- Maps from values to views: open addressing, linear probing ---- */

static size_t map_slot(const value_map *map, const void *key) {
  size_t slot = ((uintptr_t)key >> 4) * (size_t)0x9E3779B97F4A7C15u;
  slot &= map->capacity - 1;
  while (map->entries[slot].key && map->entries[slot].key != key) slot = (slot + 1) & (map->capacity - 1);
  return slot;
}

view *map_get(const value_map *map, MlirValue key) {
  return map->capacity ? map->entries[map_slot(map, key.ptr)].view : NULL;
}

static void map_rehash(arena *a, value_map *map) {
  const value_map old = *map;
  map->capacity = old.capacity ? 2 * old.capacity : 256;
  map->entries = arena_alloc(a, map->capacity * sizeof *map->entries);
  for (size_t i = 0; i < old.capacity; i++)
    if (old.entries[i].key) map->entries[map_slot(map, old.entries[i].key)] = old.entries[i];
}

void map_set(arena *a, value_map *map, MlirValue key, const view *v) {
  if (2 * (map->count + 1) > map->capacity) map_rehash(a, map);
  struct value_entry *entry = &map->entries[map_slot(map, key.ptr)];
  if (!entry->key) map->count++;
  entry->key = key.ptr;
  entry->view = arena_copy(a, v, sizeof *v);
}

void map_remove(value_map *map, MlirValue key) {
  /* The key stays, so that probing finds what lies behind it. */
  if (map->capacity) map->entries[map_slot(map, key.ptr)].view = NULL;
}

/* ---- Buffers ---- */

const char *value_name(lowering *l, MlirLocation location) {
  MlirStringRef name = location_name(location);
  return name.length ? arena_string(l->c->arena, name.data, name.length) : "value";
}

int buffer_create(lowering *l, const char *name, pinion_space space, const tensor_type *type, int64_t pitch) {
  l->buffers = arena_grow(l->c->arena, l->buffers, l->buffer_count, &l->buffer_capacity, sizeof *l->buffers);
  l->buffers[l->buffer_count] = (lowered_buffer){
      .name = name,
      .space = space,
      .type = *type,
      .pitch = pitch,
      .bytes = pitched_elements(type, pitch) * (int64_t)pinion_dtype_size(type->dtype),
  };
  return (int)l->buffer_count++;
}

view arena_view(lowering *l, const char *name, const tensor_type *type) {
  const int64_t pitch = padded_pitch(type);
  return view_rows(buffer_create(l, name, PINION_SPACE_ARENA, type, pitch), type, pitch);
}

/* ---- Weights ---- */

static bool same_weight(MlirOperation a, MlirOperation b) {
  const op_kind kind = op_kind_of(a);
  if (kind != op_kind_of(b)) return false;
  if (!mlirTypeEqual(mlirValueGetType(mlirOperationGetResult(a, 0)), mlirValueGetType(mlirOperationGetResult(b, 0))))
    return false;
  if (kind == OP_constant)
    return mlirAttributeEqual(mlirOperationGetAttributeByName(a, mlirStringRefCreateFromCString("value")),
                              mlirOperationGetAttributeByName(b, mlirStringRefCreateFromCString("value")));
  return attr_i64(a, "offset", 0) == attr_i64(b, "offset", 0) &&
         mlirStringRefEqual(attr_str(a, "file"), attr_str(b, "file"));
}

/* Which result of @weights the op's bytes are, or become. */
static int64_t weight_result(lowering *l, MlirOperation op) {
  if (op_kind_of(op) == OP_weight && attr_str_is(op, "file", "@weights")) return attr_i64(op, "offset", 0);
  for (size_t i = 0; i < l->weight_op_count; i++)
    if (same_weight(l->weight_ops[i], op)) return l->weight_result_count + (int64_t)i;
  l->weight_ops =
      arena_grow(l->c->arena, l->weight_ops, l->weight_op_count, &l->weight_op_capacity, sizeof *l->weight_ops);
  l->weight_ops[l->weight_op_count++] = op;
  return l->weight_result_count + (int64_t)l->weight_op_count - 1;
}

/* The name of the tensor where it has one, else of the node. */
static const char *weight_name(lowering *l, MlirOperation op) {
  MlirStringRef name = attr_str(op, "name");
  return name.length ? arena_string(l->c->arena, name.data, name.length) : value_name(l, mlirOperationGetLocation(op));
}

/* The dense weights buffer of that result and shape. */
static int weight_buffer(lowering *l, int64_t result, const char *name, const tensor_type *type) {
  for (size_t i = 0; i < l->buffer_count; i++) {
    const lowered_buffer *buffer = &l->buffers[i];
    if (buffer->space == PINION_SPACE_WEIGHTS && !buffer->packed && buffer->index == result &&
        type_equal(&buffer->type, type))
      return (int)i;
  }
  const int index = buffer_create(l, name, PINION_SPACE_WEIGHTS, type, padded_pitch(type));
  l->buffers[index].index = result;
  return index;
}

status weight_view(lowering *l, MlirOperation op, view *out) {
  tensor_type type;
  if (!value_type(mlirOperationGetResult(op, 0), &type)) return lower_error(l, op, "has no static shape");
  const int64_t result = weight_result(l, op);
  if (attr_str_is(op, "file", "@weights") && (result < 0 || result >= l->weight_result_count))
    return lower_error(l, op, "refers to a result that @weights does not have");
  *out = view_rows(weight_buffer(l, result, weight_name(l, op), &type), &type, padded_pitch(&type));
  return STATUS_OK;
}

bool reshape_weight(lowering *l, const view *v, int rank, const int64_t *dims, view *out) {
  const lowered_buffer *buffer = &l->buffers[v->buffer];
  const view whole = view_rows(v->buffer, &buffer->type, buffer->pitch);
  if (buffer->space != PINION_SPACE_WEIGHTS || buffer->packed || !view_same(v, &whole)) return false;
  tensor_type type = {.dtype = v->type.dtype, .rank = rank};
  memcpy(type.dims, dims, (size_t)rank * sizeof *dims);
  *out = view_rows(weight_buffer(l, buffer->index, buffer->name, &type), &type, padded_pitch(&type));
  return true;
}

/* Offset and strides of a view in its buffer without padding, as @weights' result has it. The view's strides are sums
   of whole rows and columns, because it is a view of that buffer. */
static void source_view(const lowered_buffer *buffer, const view *b, int64_t out_view[5]) {
  const int64_t columns = buffer->type.rank ? buffer->type.dims[buffer->type.rank - 1] : 1;
  for (int i = 0; i < 5; i++) {
    const int64_t padded = i ? b->stride[i - 1] : b->offset;
    out_view[i] = padded / buffer->pitch * columns + padded % buffer->pitch;
  }
}

view packed_view(lowering *l, const view *b, int64_t packed_bytes) {
  const lowered_buffer source = l->buffers[b->buffer];
  int64_t where[5];
  source_view(&source, b, where);
  view result = {.type = b->type};
  for (size_t i = 0; i < l->buffer_count; i++) {
    const lowered_buffer *buffer = &l->buffers[i];
    if (buffer->packed && buffer->index == source.index && type_equal(&buffer->type, &b->type) &&
        !memcmp(buffer->source_view, where, sizeof where)) {
      result.buffer = (int)i;
      return result;
    }
  }
  result.buffer = buffer_create(l, source.name, PINION_SPACE_WEIGHTS, &b->type, b->type.dims[3]);
  lowered_buffer *packed = &l->buffers[result.buffer];
  packed->packed = true;
  packed->index = source.index;
  packed->bytes = packed_bytes;
  memcpy(packed->source_view, where, sizeof where);
  return result;
}

/* ---- Constants of one number ---- */

static bool attribute_number(MlirAttribute value, double *out_number) {
  if (mlirAttributeIsABool(value)) {
    *out_number = mlirBoolAttrGetValue(value);
    return true;
  }
  if (mlirAttributeIsAFloat(value)) {
    *out_number = mlirFloatAttrGetValueDouble(value);
    return true;
  }
  if (!mlirAttributeIsAInteger(value)) return false;
  const bool is_unsigned = mlirIntegerTypeIsUnsigned(mlirAttributeGetType(value));
  const int64_t integer = is_unsigned ? (int64_t)mlirIntegerAttrGetValueUInt(value)
                          : mlirIntegerTypeIsSigned(mlirAttributeGetType(value)) ? mlirIntegerAttrGetValueSInt(value)
                                                                                 : mlirIntegerAttrGetValueInt(value);
  *out_number = (double)integer;
  const int64_t exact = (int64_t)1 << 53;
  return integer >= -exact && integer <= exact;
}

bool value_splat(MlirValue value, double *out_number) {
  MlirOperation op = value_definition(value);
  if (mlirOperationIsNull(op)) return false;
  switch (op_kind_of(op)) {
  case OP_broadcast:
  case OP_reshape:
  case OP_transpose: return value_splat(mlirOperationGetOperand(op, 0), out_number);
  case OP_constant: {
    MlirAttribute elements = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("value"));
    return mlirDenseElementsAttrIsSplat(elements) &&
           attribute_number(mlirDenseElementsAttrGetSplatValue(elements), out_number);
  }
  default: return false;
  }
}

/* ---- Operands ---- */

status operand_view(lowering *l, MlirOperation op, intptr_t index, view *out) {
  MlirValue value = mlirOperationGetOperand(op, index);
  const view *known = map_get(&l->values, value);
  if (!known) return lower_error(l, op, "has an operand that was not lowered: a bug of the compiler");
  *out = *known;
  return STATUS_OK;
}

status named_view(lowering *l, MlirOperation op, const char *name, bool *out_present, view *out) {
  intptr_t start, count;
  op_operand_range(op, name, &start, &count);
  *out_present = count > 0;
  return count ? operand_view(l, op, start, out) : STATUS_OK;
}
