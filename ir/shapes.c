/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Shape rules of the core ops, and what all rules share. */
#include "shapes_help.h"

#include <string.h>

/* ---- What all rules share ---- */

shape_rule *shape_rule_of(op_kind kind) {
  static shape_rule *const rules[] = {
#define OP(id, level, operands, results, attributes, equation, doc) shape_of_##id,
#include "ops.def"
#undef OP
  };
  return (unsigned)kind < OP_COUNT ? rules[kind] : NULL;
}

const char *shape_text(arena *a, const tensor_type *type) {
  char buffer[16 + PINION_MAX_RANK * 22];
  int length = snprintf(buffer, sizeof buffer, "%s[", dtype_name(type->dtype));
  for (int i = 0; i < type->rank; i++)
    length +=
        snprintf(buffer + length, sizeof buffer - (size_t)length, "%s%lld", i ? "," : "", (long long)type->dims[i]);
  buffer[length++] = ']';
  return arena_string(a, buffer, (size_t)length);
}

bool shape_refuse(const shape_query *q, const char **out_why, const char *format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  *out_why = arena_string(q->arena, buffer, strlen(buffer));
  return false;
}

bool shape_has(const shape_query *q, int index) {
  return index < q->operand_count && (!q->present || q->present[index]);
}

/* Bytes must stay far from overflow in whatever multiplies them later. */
static bool addressable(const tensor_type *type) {
  const int64_t limit = INT64_C(1) << 56;
  int64_t elements = 1;
  for (int i = 0; i < type->rank; i++) {
    if (type->dims[i] < 0) return false;
    if (type->dims[i] != 0 && elements > limit / type->dims[i]) return false;
    elements *= type->dims[i];
  }
  return true;
}

bool shape_needs(const shape_query *q, int count, const char **out_why) {
  for (int i = 0; i < count; i++)
    if (!shape_has(q, i)) return shape_refuse(q, out_why, "operand %d is missing", i);
  for (int i = 0; i < q->operand_count; i++)
    if (shape_has(q, i) && !addressable(&q->operands[i]))
      return shape_refuse(q, out_why, "operand %s is too large", shape_text(q->arena, &q->operands[i]));
  return true;
}

bool shape_settle(const shape_query *q, const tensor_type *inferred, tensor_type *out_results, const char **out_why) {
  if (!addressable(inferred))
    return shape_refuse(q, out_why, "the result %s is too large", shape_text(q->arena, inferred));
  if (q->declared_count > 1) return shape_refuse(q, out_why, "there is one result, not %d", q->declared_count);
  if (q->declared_count == 1 && !type_equal(q->declared, inferred))
    return shape_refuse(q, out_why, "the result is %s, not %s", shape_text(q->arena, inferred),
                        shape_text(q->arena, q->declared));
  *out_results = *inferred;
  return true;
}

bool shape_declared(const shape_query *q, tensor_type *out_results, const char **out_why) {
  if (q->declared_count != 1) return shape_refuse(q, out_why, "the result's type must be given");
  tensor_type declared = q->declared[0];
  return shape_settle(q, &declared, out_results, out_why);
}

MlirAttribute shape_attribute(const shape_query *q, const char *name) {
  MlirStringRef wanted = mlirStringRefCreateFromCString(name);
  for (int i = 0; i < q->attribute_count; i++)
    if (mlirStringRefEqual(mlirIdentifierStr(q->attributes[i].name), wanted)) return q->attributes[i].attribute;
  return mlirAttributeGetNull();
}

bool shape_i64(const shape_query *q, const char *name, int64_t *out_value, const char **out_why) {
  *out_value = 0;
  MlirAttribute attribute = shape_attribute(q, name);
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAInteger(attribute))
    return shape_refuse(q, out_why, "needs the integer attribute '%s'", name);
  *out_value = mlirIntegerAttrGetValueInt(attribute);
  return true;
}

bool shape_bool(const shape_query *q, const char *name, bool *out_value, const char **out_why) {
  MlirAttribute attribute = shape_attribute(q, name);
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsABool(attribute))
    return shape_refuse(q, out_why, "needs the bool attribute '%s'", name);
  *out_value = mlirBoolAttrGetValue(attribute);
  return true;
}

bool shape_str(const shape_query *q, const char *name, MlirStringRef *out_value, const char **out_why) {
  MlirAttribute attribute = shape_attribute(q, name);
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAString(attribute))
    return shape_refuse(q, out_why, "needs the string attribute '%s'", name);
  *out_value = mlirStringAttrGetValue(attribute);
  return true;
}

bool shape_i64s(const shape_query *q, const char *name, int count, int64_t *out_values, int *out_count,
                const char **out_why) {
  MlirAttribute attribute = shape_attribute(q, name);
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsADenseI64Array(attribute))
    return shape_refuse(q, out_why, "needs the attribute '%s', an array of i64", name);
  intptr_t found = mlirDenseArrayGetNumElements(attribute);
  if (found > PINION_MAX_RANK || (count >= 0 && found != count))
    return shape_refuse(q, out_why, "'%s' has %d values, not %d", name, (int)found,
                        count < 0 ? PINION_MAX_RANK : count);
  for (int i = 0; i < found; i++) out_values[i] = mlirDenseI64ArrayGetElement(attribute, i);
  if (out_count) *out_count = (int)found;
  return true;
}

bool shape_axis(const shape_query *q, const char *name, int rank, int64_t *out_axis, const char **out_why) {
  if (!shape_i64(q, name, out_axis, out_why)) return false;
  if (*out_axis < 0 || *out_axis >= rank)
    return shape_refuse(q, out_why, "'%s' is %lld, but the rank is %d", name, (long long)*out_axis, rank);
  return true;
}

bool shape_join(const shape_query *q, tensor_type *shape, const tensor_type *other, const char **out_why) {
  tensor_type joined;
  if (!shape_broadcast(shape, other, &joined))
    return shape_refuse(q, out_why, "%s and %s do not broadcast", shape_text(q->arena, shape),
                        shape_text(q->arena, other));
  joined.dtype = shape->dtype;
  *shape = joined;
  return true;
}

static bool same_shape(const tensor_type *a, const tensor_type *b) {
  tensor_type retyped = *a;
  retyped.dtype = b->dtype;
  return type_equal(&retyped, b);
}

bool shape_broadcasts_to(const tensor_type *from, const tensor_type *to) {
  tensor_type joined;
  return shape_broadcast(from, to, &joined) && same_shape(&joined, to);
}

static bool same_dtype(const shape_query *q, const tensor_type *a, const tensor_type *b, const char **out_why) {
  return a->dtype == b->dtype ||
         shape_refuse(q, out_why, "element types %s and %s differ", dtype_name(a->dtype), dtype_name(b->dtype));
}

/* ---- Sources ---- */

bool shape_of_constant(const shape_query *q, tensor_type *out_results, const char **out_why) {
  MlirAttribute value = shape_attribute(q, "value");
  tensor_type type;
  if (mlirAttributeIsNull(value) || !mlirAttributeIsADenseElements(value) ||
      !type_read(mlirAttributeGetType(value), &type))
    return shape_refuse(q, out_why, "needs the attribute 'value', the elements of a static tensor");
  return shape_settle(q, &type, out_results, out_why);
}

bool shape_of_weight(const shape_query *q, tensor_type *out_results, const char **out_why) {
  MlirStringRef file;
  int64_t offset;
  if (!shape_str(q, "file", &file, out_why) || !shape_i64(q, "offset", &offset, out_why)) return false;
  if (offset < 0) return shape_refuse(q, out_why, "offset %lld is negative", (long long)offset);
  return shape_declared(q, out_results, out_why);
}

/* ---- Elementwise ---- */

static bool scalar_of(const shape_query *q, int operand_count, scalar_kind *out_kind, const char **out_why) {
  MlirStringRef kind;
  if (!shape_needs(q, operand_count, out_why) || !shape_str(q, "kind", &kind, out_why)) return false;
  if (!scalar_find(kind.data, kind.length, out_kind) || scalar_operand_count(*out_kind) != operand_count)
    return shape_refuse(q, out_why, "no operation '%.*s' of %d operands", (int)kind.length, kind.data, operand_count);
  pinion_dtype dtype = q->operands[0].dtype;
  return scalar_accepts(*out_kind, dtype) ||
         shape_refuse(q, out_why, "%s does not take %s", scalar_name(*out_kind), dtype_name(dtype));
}

bool shape_of_unary(const shape_query *q, tensor_type *out_results, const char **out_why) {
  scalar_kind kind;
  if (!scalar_of(q, 1, &kind, out_why)) return false;
  tensor_type result = q->operands[0];
  result.dtype = scalar_result(kind, result.dtype);
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_binary(const shape_query *q, tensor_type *out_results, const char **out_why) {
  scalar_kind kind;
  if (!scalar_of(q, 2, &kind, out_why) || !same_dtype(q, &q->operands[0], &q->operands[1], out_why)) return false;
  tensor_type result = q->operands[0];
  if (!shape_join(q, &result, &q->operands[1], out_why)) return false;
  result.dtype = scalar_result(kind, result.dtype);
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_select(const shape_query *q, tensor_type *out_results, const char **out_why) {
  if (!shape_needs(q, 3, out_why) || !same_dtype(q, &q->operands[1], &q->operands[2], out_why)) return false;
  if (q->operands[0].dtype != PINION_DTYPE_bool)
    return shape_refuse(q, out_why, "the condition is %s, not bool", dtype_name(q->operands[0].dtype));
  tensor_type result = q->operands[1];
  if (!shape_join(q, &result, &q->operands[2], out_why) || !shape_join(q, &result, &q->operands[0], out_why))
    return false;
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_cast(const shape_query *q, tensor_type *out_results, const char **out_why) {
  if (!shape_needs(q, 1, out_why) || !shape_declared(q, out_results, out_why)) return false;
  return same_shape(&q->operands[0], out_results) ||
         shape_refuse(q, out_why, "a cast from %s to %s would change the shape", shape_text(q->arena, q->operands),
                      shape_text(q->arena, out_results));
}

/* ---- Along axes ---- */

static bool reduce_kind(const shape_query *q, const char **out_why) {
  static const char *const kinds[] = {"sum", "mean", "max", "min", "prod"};
  MlirStringRef kind;
  if (!shape_str(q, "kind", &kind, out_why)) return false;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (!mlirStringRefEqual(kind, mlirStringRefCreateFromCString(kinds[i]))) continue;
    bool orders = kinds[i][0] == 'm' && kinds[i][1] != 'e';
    return q->operands[0].dtype != PINION_DTYPE_bool || orders ||
           shape_refuse(q, out_why, "%s does not take bool", kinds[i]);
  }
  return shape_refuse(q, out_why, "no kind '%.*s'", (int)kind.length, kind.data);
}

bool shape_of_reduce(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t axes[PINION_MAX_RANK];
  bool keep, reduced[PINION_MAX_RANK] = {false};
  int count;
  if (!shape_needs(q, 1, out_why) || !reduce_kind(q, out_why) || !shape_bool(q, "keep", &keep, out_why) ||
      !shape_i64s(q, "axes", -1, axes, &count, out_why))
    return false;
  const tensor_type *x = &q->operands[0];
  for (int i = 0; i < count; i++) {
    if (axes[i] < 0 || axes[i] >= x->rank || reduced[axes[i]])
      return shape_refuse(q, out_why, "axis %lld is repeated, or outside rank %d", (long long)axes[i], x->rank);
    reduced[axes[i]] = true;
  }
  tensor_type result = {.dtype = x->dtype};
  for (int i = 0; i < x->rank; i++)
    if (!reduced[i] || keep) result.dims[result.rank++] = reduced[i] ? 1 : x->dims[i];
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_cumsum(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t axis;
  bool exclusive, reverse;
  if (!shape_needs(q, 1, out_why) || !shape_axis(q, "axis", q->operands[0].rank, &axis, out_why) ||
      !shape_bool(q, "exclusive", &exclusive, out_why) || !shape_bool(q, "reverse", &reverse, out_why) ||
      !shape_declared(q, out_results, out_why))
    return false;
  const tensor_type *x = &q->operands[0];
  if (!same_shape(x, out_results))
    return shape_refuse(q, out_why, "the result %s has another shape than %s", shape_text(q->arena, out_results),
                        shape_text(q->arena, x));
  if (out_results->dtype == PINION_DTYPE_bool || dtype_is_float(x->dtype) != dtype_is_float(out_results->dtype))
    if (x->dtype != PINION_DTYPE_bool || out_results->dtype == PINION_DTYPE_bool)
      return shape_refuse(q, out_why, "%s does not sum to %s", dtype_name(x->dtype), dtype_name(out_results->dtype));
  return true;
}

bool shape_of_softmax(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t axis;
  if (!shape_needs(q, 1, out_why) || !shape_axis(q, "axis", q->operands[0].rank, &axis, out_why)) return false;
  if (!dtype_is_float(q->operands[0].dtype)) return shape_refuse(q, out_why, "takes floats");
  return shape_settle(q, &q->operands[0], out_results, out_why);
}

/* ---- Products ---- */

bool shape_matmul(const shape_query *q, const tensor_type *a, const tensor_type *b, bool transpose_b,
                  tensor_type *out_result, const char **out_why) {
  if (a->rank == 0 || b->rank == 0) return shape_refuse(q, out_why, "a scalar is no matrix");
  int64_t k_of_a = a->dims[a->rank - 1];
  int64_t k_of_b = b->dims[b->rank == 1 || transpose_b ? b->rank - 1 : b->rank - 2];
  if (k_of_a != k_of_b)
    return shape_refuse(q, out_why, "inner dimensions of %s and %s differ", shape_text(q->arena, a),
                        shape_text(q->arena, b));
  tensor_type leading_a = {.rank = a->rank > 2 ? a->rank - 2 : 0}, leading_b = {.rank = b->rank > 2 ? b->rank - 2 : 0};
  memcpy(leading_a.dims, a->dims, sizeof leading_a.dims);
  memcpy(leading_b.dims, b->dims, sizeof leading_b.dims);
  if (!shape_broadcast(&leading_a, &leading_b, out_result))
    return shape_refuse(q, out_why, "leading dimensions of %s and %s do not broadcast", shape_text(q->arena, a),
                        shape_text(q->arena, b));
  out_result->dtype = a->dtype;
  if (a->rank > 1) out_result->dims[out_result->rank++] = a->dims[a->rank - 2];
  if (b->rank > 1) out_result->dims[out_result->rank++] = b->dims[transpose_b ? b->rank - 2 : b->rank - 1];
  return same_dtype(q, a, b, out_why);
}

bool shape_of_matmul(const shape_query *q, tensor_type *out_results, const char **out_why) {
  tensor_type result;
  if (!shape_needs(q, 2, out_why)) return false;
  if (q->operands[0].dtype == PINION_DTYPE_bool) return shape_refuse(q, out_why, "does not take bool");
  if (!shape_matmul(q, &q->operands[0], &q->operands[1], false, &result, out_why)) return false;
  const bool is_half = result.dtype == PINION_DTYPE_bf16 || result.dtype == PINION_DTYPE_f16;
  if (is_half && q->declared_count == 1 && q->declared->dtype == PINION_DTYPE_f32) result.dtype = PINION_DTYPE_f32;
  return shape_settle(q, &result, out_results, out_why);
}

/* Extent of the result along one spatial dimension, or -1. */
static int64_t conv_extent(int64_t size, int64_t kernel, int64_t before, int64_t after, int64_t stride,
                           int64_t dilation) {
  const int64_t limit = INT64_C(1) << 31;
  if (stride < 1 || dilation < 1 || before < 0 || after < 0 || kernel < 1) return -1;
  if (stride > limit || dilation > limit || before > limit || after > limit || kernel > limit || size > limit)
    return -1;
  int64_t room = size + before + after - (dilation * (kernel - 1) + 1);
  return room < 0 ? -1 : room / stride + 1;
}

static bool conv_channels(const shape_query *q, const tensor_type *x, const tensor_type *w, const char **out_why) {
  int64_t group;
  if (!shape_i64(q, "group", &group, out_why)) return false;
  if (group < 1 || w->dims[0] % group != 0 || w->dims[1] > INT64_MAX / group || w->dims[1] * group != x->dims[1])
    return shape_refuse(q, out_why, "%lld groups of %s do not fit the channels of %s", (long long)group,
                        shape_text(q->arena, w), shape_text(q->arena, x));
  if (shape_has(q, 2) && (q->operands[2].rank != 1 || q->operands[2].dims[0] != w->dims[0]))
    return shape_refuse(q, out_why, "bias %s does not fit %lld channels", shape_text(q->arena, &q->operands[2]),
                        (long long)w->dims[0]);
  return !shape_has(q, 2) || same_dtype(q, x, &q->operands[2], out_why);
}

bool shape_of_conv(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t strides[PINION_MAX_RANK], pads[PINION_MAX_RANK], dilations[PINION_MAX_RANK];
  if (!shape_needs(q, 2, out_why) || !shape_i64s(q, "strides", 2, strides, NULL, out_why) ||
      !shape_i64s(q, "pads", 4, pads, NULL, out_why) || !shape_i64s(q, "dilations", 2, dilations, NULL, out_why))
    return false;
  const tensor_type *x = &q->operands[0], *w = &q->operands[1];
  if (x->rank != 4 || w->rank != 4 || !dtype_is_float(x->dtype))
    return shape_refuse(q, out_why, "takes floats of rank 4, not %s and %s", shape_text(q->arena, x),
                        shape_text(q->arena, w));
  if (!same_dtype(q, x, w, out_why) || !conv_channels(q, x, w, out_why)) return false;
  tensor_type result = {.dtype = x->dtype, .rank = 4, .dims = {x->dims[0], w->dims[0]}};
  for (int i = 0; i < 2; i++) {
    result.dims[2 + i] = conv_extent(x->dims[2 + i], w->dims[2 + i], pads[i], pads[2 + i], strides[i], dilations[i]);
    if (result.dims[2 + i] < 0)
      return shape_refuse(q, out_why, "strides, pads and dilations leave no room for %s on %s", shape_text(q->arena, w),
                          shape_text(q->arena, x));
  }
  return shape_settle(q, &result, out_results, out_why);
}

/* ---- Moving data ---- */

bool shape_of_gather(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t axis;
  if (!shape_needs(q, 2, out_why) || !shape_axis(q, "axis", q->operands[0].rank, &axis, out_why)) return false;
  const tensor_type *x = &q->operands[0], *index = &q->operands[1];
  if (dtype_is_float(index->dtype) || index->dtype == PINION_DTYPE_bool)
    return shape_refuse(q, out_why, "indices are %s, not integers", dtype_name(index->dtype));
  if (x->rank - 1 + index->rank > PINION_MAX_RANK) return shape_refuse(q, out_why, "the result's rank is over 8");
  tensor_type result = {.dtype = x->dtype};
  for (int i = 0; i < axis; i++) result.dims[result.rank++] = x->dims[i];
  for (int i = 0; i < index->rank; i++) result.dims[result.rank++] = index->dims[i];
  for (int i = (int)axis + 1; i < x->rank; i++) result.dims[result.rank++] = x->dims[i];
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_slice(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  if (!shape_needs(q, 1, out_why) || !shape_i64s(q, "starts", q->operands[0].rank, starts, NULL, out_why) ||
      !shape_i64s(q, "steps", q->operands[0].rank, steps, NULL, out_why) || !shape_declared(q, out_results, out_why))
    return false;
  const tensor_type *x = &q->operands[0];
  if (out_results->rank != x->rank) return shape_refuse(q, out_why, "a slice keeps the rank");
  for (int i = 0; i < x->rank; i++) {
    int64_t extent = out_results->dims[i];
    if (extent == 0) continue;
    /* |step| over the extent cannot be within bounds, and would overflow below. */
    bool inside = starts[i] >= 0 && starts[i] < x->dims[i];
    if (extent > 1) inside = inside && steps[i] != 0 && steps[i] < x->dims[i] && steps[i] > -x->dims[i];
    if (inside && extent > 1) {
      int64_t room = steps[i] > 0 ? x->dims[i] - 1 - starts[i] : starts[i];
      inside = extent - 1 <= room / (steps[i] > 0 ? steps[i] : -steps[i]);
    }
    if (!inside)
      return shape_refuse(q, out_why, "%lld elements from %lld in steps of %lld leave dimension %d of %s",
                          (long long)extent, (long long)starts[i], (long long)steps[i], i, shape_text(q->arena, x));
  }
  return same_dtype(q, x, out_results, out_why);
}

bool shape_of_concat(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t axis;
  if (!shape_needs(q, q->operand_count > 0 ? q->operand_count : 1, out_why) ||
      !shape_axis(q, "axis", q->operands[0].rank, &axis, out_why))
    return false;
  tensor_type result = q->operands[0];
  for (int i = 1; i < q->operand_count; i++) {
    tensor_type next = q->operands[i];
    int64_t extent = axis < next.rank ? next.dims[axis] : 0;
    if (axis < next.rank) next.dims[axis] = result.dims[axis];
    if (!type_equal(&next, &result))
      return shape_refuse(q, out_why, "%s does not continue %s along axis %lld", shape_text(q->arena, &q->operands[i]),
                          shape_text(q->arena, &q->operands[0]), (long long)axis);
    result.dims[axis] += extent;
  }
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_reshape(const shape_query *q, tensor_type *out_results, const char **out_why) {
  if (!shape_needs(q, 1, out_why) || !shape_declared(q, out_results, out_why)) return false;
  if (type_elements(&q->operands[0]) != type_elements(out_results))
    return shape_refuse(q, out_why, "%s and %s differ in their number of elements",
                        shape_text(q->arena, &q->operands[0]), shape_text(q->arena, out_results));
  return same_dtype(q, &q->operands[0], out_results, out_why);
}

bool shape_of_transpose(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t permutation[PINION_MAX_RANK];
  bool seen[PINION_MAX_RANK] = {false};
  if (!shape_needs(q, 1, out_why) || !shape_i64s(q, "permutation", q->operands[0].rank, permutation, NULL, out_why))
    return false;
  tensor_type result = q->operands[0];
  for (int i = 0; i < result.rank; i++) {
    if (permutation[i] < 0 || permutation[i] >= result.rank || seen[permutation[i]])
      return shape_refuse(q, out_why, "'permutation' is none of rank %d", result.rank);
    seen[permutation[i]] = true;
    result.dims[i] = q->operands[0].dims[permutation[i]];
  }
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_broadcast(const shape_query *q, tensor_type *out_results, const char **out_why) {
  if (!shape_needs(q, 1, out_why) || !shape_declared(q, out_results, out_why)) return false;
  if (!shape_broadcasts_to(&q->operands[0], out_results))
    return shape_refuse(q, out_why, "%s does not broadcast to %s", shape_text(q->arena, &q->operands[0]),
                        shape_text(q->arena, out_results));
  return same_dtype(q, &q->operands[0], out_results, out_why);
}

bool shape_of_pad(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t before[PINION_MAX_RANK];
  if (!shape_needs(q, 1, out_why) || !shape_i64s(q, "before", q->operands[0].rank, before, NULL, out_why) ||
      !shape_declared(q, out_results, out_why))
    return false;
  if (out_results->rank != q->operands[0].rank) return shape_refuse(q, out_why, "padding keeps the rank");
  if (shape_has(q, 1) && type_elements(&q->operands[1]) != 1)
    return shape_refuse(q, out_why, "the value %s is no scalar", shape_text(q->arena, &q->operands[1]));
  if (shape_has(q, 1) && !same_dtype(q, &q->operands[0], &q->operands[1], out_why)) return false;
  return same_dtype(q, &q->operands[0], out_results, out_why);
}

/* ---- Steps ---- */

bool shape_of_steps(const shape_query *q, tensor_type *out_results, const char **out_why) {
  int64_t count, tables;
  if (!shape_needs(q, q->operand_count > 0 ? q->operand_count : 1, out_why) ||
      !shape_i64(q, "count", &count, out_why) || !shape_i64(q, "tables", &tables, out_why))
    return false;
  MlirAttribute callee = shape_attribute(q, "callee");
  if (mlirAttributeIsNull(callee) || !mlirAttributeIsAFlatSymbolRef(callee))
    return shape_refuse(q, out_why, "needs the attribute 'callee', a function's symbol");
  if (count < 1) return shape_refuse(q, out_why, "'count' is %lld", (long long)count);
  if (tables < 0 || tables >= q->operand_count)
    return shape_refuse(q, out_why, "%lld tables of %d operands", (long long)tables, q->operand_count);
  for (int i = q->operand_count - (int)tables; i < q->operand_count; i++)
    if (q->operands[i].rank == 0 || q->operands[i].dims[0] != count)
      return shape_refuse(q, out_why, "table %s has no row for each of %lld steps",
                          shape_text(q->arena, &q->operands[i]), (long long)count);
  return shape_settle(q, &q->operands[0], out_results, out_why);
}
