/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Building and rewriting ops. */
#include "dialect.h"
#include "shapes.h"

#include <assert.h>
#include <string.h>

builder builder_before(compilation *c, MlirOperation op) {
  return (builder){
      .compilation = c, .block = mlirOperationGetBlock(op), .before = op, .location = mlirOperationGetLocation(op)};
}

static status refuse(const builder *b, op_kind kind, const char *why) {
  compilation *c = b->compilation;
  MlirStringRef name = location_name(b->location);
  const char *node = name.length ? arena_string(c->arena, name.data, name.length) : NULL;
  return diagnose(&c->diagnostics, STATUS_FAILED, node, b->op_type ? b->op_type : op_name(kind), "%s", why);
}

enum { BUILD_MAX_OPERANDS = 4096, BUILD_MAX_RESULTS = 64 };

/* Result types by the op's shape rule, checked against the declared ones. */
static bool infer_results(builder *b, op_kind kind, int operand_count, const MlirValue *operands, int attribute_count,
                          const MlirNamedAttribute *attributes, int declared_count, const MlirType *declared,
                          tensor_type *out_types) {
  compilation *c = b->compilation;
  tensor_type types[operand_count + 1], given[BUILD_MAX_RESULTS];
  bool present[operand_count + 1];
  for (int i = 0; i < operand_count; i++) {
    present[i] = !mlirValueIsNull(operands[i]);
    if (present[i] && !value_type(operands[i], &types[i])) {
      refuse(b, kind, "an operand is not a static tensor");
      return false;
    }
  }
  for (int i = 0; i < declared_count; i++)
    if (!type_read(declared[i], &given[i])) {
      refuse(b, kind, "a result type is not a static tensor");
      return false;
    }
  const char *why = "";
  shape_query query = {.arena = c->arena,
                       .operand_count = operand_count,
                       .operands = types,
                       .present = present,
                       .attribute_count = attribute_count,
                       .attributes = attributes,
                       .declared_count = declared_count,
                       .declared = given};
  if (shape_rule_of(kind)(&query, out_types, &why)) return true;
  refuse(b, kind, why);
  return false;
}

/* operandSegmentSizes: 0 or 1 for an optional operand; the rest for the variadic one. */
static MlirNamedAttribute segments_attribute(MlirContext context, const op_info *info, int operand_count,
                                             const MlirValue *operands) {
  int32_t sizes[OP_MAX_FIELDS];
  for (int i = 0; i < info->operand_count; i++) {
    if (info->operands[i].arity == FIELD_VARIADIC)
      sizes[i] = operand_count - (info->operand_count - 1);
    else
      sizes[i] = i < operand_count && !mlirValueIsNull(operands[i]);
  }
  return make_named(context, "operandSegmentSizes", mlirDenseI32ArrayGet(context, info->operand_count, sizes));
}

MlirOperation build_insert(builder *b, MlirOperationState *state) {
  MlirOperation op = mlirOperationCreate(state);
  if (mlirOperationIsNull(op)) return op;
  if (mlirOperationIsNull(b->before))
    mlirBlockAppendOwnedOperation(b->block, op);
  else
    mlirBlockInsertOwnedOperationBefore(b->block, b->before, op);
  return op;
}

MlirOperation build_op(builder *b, op_kind kind, int operand_count, const MlirValue *operands, int attribute_count,
                       const MlirNamedAttribute *attributes, int result_count, const MlirType *results) {
  const op_info *info = op_info_of(kind);
  assert(operand_count <= BUILD_MAX_OPERANDS && result_count <= BUILD_MAX_RESULTS);
  MlirContext context = b->compilation->context;
  tensor_type inferred[BUILD_MAX_RESULTS];
  MlirType types[BUILD_MAX_RESULTS];
  int type_count = info->result_count == 0 ? 0 : result_count ? result_count : 1;
  if (!infer_results(b, kind, operand_count, operands, attribute_count, attributes, result_count, results, inferred))
    return (MlirOperation){NULL};
  for (int i = 0; i < type_count; i++) types[i] = result_count ? results[i] : type_make(context, &inferred[i]);

  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString(info->name), b->location);
  MlirValue *used = arena_alloc(b->compilation->arena, (size_t)(operand_count + 1) * sizeof *used);
  int used_count = 0;
  for (int i = 0; i < operand_count; i++)
    if (!mlirValueIsNull(operands[i])) used[used_count++] = operands[i];
  mlirOperationStateAddOperands(&state, used_count, used);
  mlirOperationStateAddResults(&state, type_count, types);
  mlirOperationStateAddAttributes(&state, attribute_count, attributes);
  if (info->has_segments) {
    MlirNamedAttribute segments = segments_attribute(context, info, operand_count, operands);
    mlirOperationStateAddAttributes(&state, 1, &segments);
  }
  return build_insert(b, &state);
}

static MlirValue first_result(MlirOperation op) {
  return mlirOperationIsNull(op) ? (MlirValue){NULL} : mlirOperationGetResult(op, 0);
}

static MlirContext context_of(const builder *b) {
  return b->compilation->context;
}

/* The same element type with another shape. */
static MlirType reshaped_type(const builder *b, MlirValue x, int rank, const int64_t *dims) {
  tensor_type type;
  if (!value_type(x, &type)) return (MlirType){NULL};
  type.rank = rank;
  memcpy(type.dims, dims, (size_t)rank * sizeof *dims);
  return type_make(context_of(b), &type);
}

MlirValue build_unary(builder *b, const char *kind, MlirValue x) {
  MlirNamedAttribute attributes[] = {make_named(context_of(b), "kind", make_str(context_of(b), kind))};
  return first_result(build_op(b, OP_unary, 1, &x, 1, attributes, 0, NULL));
}

MlirValue build_binary(builder *b, const char *kind, MlirValue x, MlirValue y) {
  MlirNamedAttribute attributes[] = {make_named(context_of(b), "kind", make_str(context_of(b), kind))};
  MlirValue operands[] = {x, y};
  return first_result(build_op(b, OP_binary, 2, operands, 1, attributes, 0, NULL));
}

MlirValue build_select(builder *b, MlirValue condition, MlirValue x, MlirValue y) {
  MlirValue operands[] = {condition, x, y};
  return first_result(build_op(b, OP_select, 3, operands, 0, NULL, 0, NULL));
}

MlirValue build_cast(builder *b, MlirValue x, pinion_dtype to) {
  tensor_type type;
  if (!value_type(x, &type)) return (MlirValue){NULL};
  type.dtype = to;
  MlirType result = type_make(context_of(b), &type);
  return first_result(build_op(b, OP_cast, 1, &x, 0, NULL, 1, &result));
}

MlirValue build_cast_to(builder *b, MlirValue x, pinion_dtype to) {
  return mlirValueIsNull(x) || value_dtype(x) == to ? x : build_cast(b, x, to);
}

MlirValue build_reduce(builder *b, const char *kind, MlirValue x, int axis_count, const int64_t *axes, bool keep) {
  MlirContext context = context_of(b);
  MlirNamedAttribute attributes[] = {make_named(context, "kind", make_str(context, kind)),
                                     make_named(context, "axes", make_i64s(context, axis_count, axes)),
                                     make_named(context, "keep", make_bool(context, keep))};
  return first_result(build_op(b, OP_reduce, 1, &x, 3, attributes, 0, NULL));
}

MlirValue build_matmul(builder *b, MlirValue x, MlirValue y) {
  MlirValue operands[] = {x, y};
  return first_result(build_op(b, OP_matmul, 2, operands, 0, NULL, 0, NULL));
}

MlirValue build_reshape(builder *b, MlirValue x, int rank, const int64_t *dims) {
  MlirType result = reshaped_type(b, x, rank, dims);
  return first_result(build_op(b, OP_reshape, 1, &x, 0, NULL, 1, &result));
}

MlirValue build_broadcast(builder *b, MlirValue x, int rank, const int64_t *dims) {
  MlirType result = reshaped_type(b, x, rank, dims);
  return first_result(build_op(b, OP_broadcast, 1, &x, 0, NULL, 1, &result));
}

MlirValue build_transpose(builder *b, MlirValue x, const int64_t *permutation) {
  tensor_type type;
  if (!value_type(x, &type)) return (MlirValue){NULL};
  MlirNamedAttribute attributes[] = {
      make_named(context_of(b), "permutation", make_i64s(context_of(b), type.rank, permutation))};
  return first_result(build_op(b, OP_transpose, 1, &x, 1, attributes, 0, NULL));
}

MlirValue build_slice(builder *b, MlirValue x, const int64_t *starts, const int64_t *sizes, const int64_t *steps) {
  tensor_type type;
  if (!value_type(x, &type)) return (MlirValue){NULL};
  MlirContext context = context_of(b);
  MlirType result = reshaped_type(b, x, type.rank, sizes);
  MlirNamedAttribute attributes[] = {make_named(context, "starts", make_i64s(context, type.rank, starts)),
                                     make_named(context, "steps", make_i64s(context, type.rank, steps))};
  return first_result(build_op(b, OP_slice, 1, &x, 2, attributes, 1, &result));
}

MlirValue build_concat(builder *b, int count, const MlirValue *values, int64_t axis) {
  MlirNamedAttribute attributes[] = {make_named(context_of(b), "axis", make_i64(context_of(b), axis))};
  return first_result(build_op(b, OP_concat, count, values, 1, attributes, 0, NULL));
}

MlirValue build_weight(builder *b, const tensor_type *type, const char *name, const char *file, int64_t offset) {
  MlirContext context = context_of(b);
  MlirType result = type_make(context, type);
  MlirNamedAttribute attributes[] = {make_named(context, "name", make_str(context, name)),
                                     make_named(context, "file", make_str(context, file)),
                                     make_named(context, "offset", make_i64(context, offset))};
  return first_result(build_op(b, OP_weight, 0, NULL, 3, attributes, 1, &result));
}

static MlirAttribute elements_attribute(compilation *c, const tensor_type *type, const void *data) {
  MlirType shaped = type_make(c->context, type);
  int64_t count = type_elements(type);
  if (type->dtype == PINION_DTYPE_bool) {
    int *values = arena_alloc(c->arena, (size_t)count * sizeof *values + 1);
    for (int64_t i = 0; i < count; i++) values[i] = ((const uint8_t *)data)[i] != 0;
    return mlirDenseElementsAttrBoolGet(shaped, count, values);
  }
  return mlirDenseElementsAttrRawBufferGet(shaped, (size_t)type_bytes(type), data);
}

MlirValue build_constant(builder *b, const tensor_type *type, const void *data) {
  int64_t bytes = type_bytes(type);
  if (bytes > CONSTANT_INLINE_BYTES) {
    const char *blob = weight_store_add(b->compilation->weights, data, (size_t)bytes);
    return build_weight(b, type, "", blob, 0);
  }
  MlirType result = type_make(context_of(b), type);
  MlirNamedAttribute attributes[] = {
      make_named(context_of(b), "value", elements_attribute(b->compilation, type, data))};
  return first_result(build_op(b, OP_constant, 0, NULL, 1, attributes, 1, &result));
}

void value_replace(MlirValue from, MlirValue to) {
  mlirValueReplaceAllUsesOfWith(from, to);
}

void op_erase(MlirOperation op) {
  mlirOperationDestroy(op);
}
