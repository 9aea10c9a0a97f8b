/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Shape rules of the fused and the launch-level ops. */
#include "body.h"
#include "launch.h"
#include "shapes_help.h"

#include <string.h>

/* ---- Bodies ---- */

bool shape_check_body(const shape_query *q, int input_count, const pinion_dtype *inputs, int result_count,
                      const pinion_dtype *results, const char **out_why) {
  body *parsed = arena_alloc(q->arena, sizeof *parsed);
  const char *why;
  if (!body_parse(q->arena, shape_attribute(q, "body"), input_count, inputs, parsed, &why))
    return shape_refuse(q, out_why, "body: %s", why);
  if (parsed->result_count != result_count)
    return shape_refuse(q, out_why, "the body yields %d results, not %d", parsed->result_count, result_count);
  for (int i = 0; i < result_count; i++)
    if (!body_can_store(parsed->result_dtypes[i], results[i]))
      return shape_refuse(q, out_why, "the body's result %d is %s, stored as %s", i,
                          dtype_name(parsed->result_dtypes[i]), dtype_name(results[i]));
  return true;
}

/* Every declared result has this shape; copies them. */
static bool take_results(const shape_query *q, const tensor_type *shape, tensor_type *out_results,
                         const char **out_why) {
  if (q->declared_count < 1 || q->declared_count > PINION_MAX_ARGS)
    return shape_refuse(q, out_why, "the types of 1 to %d results must be given", PINION_MAX_ARGS);
  for (int i = 0; i < q->declared_count; i++) {
    tensor_type expected = *shape;
    expected.dtype = q->declared[i].dtype;
    if (!type_equal(&expected, &q->declared[i]))
      return shape_refuse(q, out_why, "result %d is %s, not %s", i, shape_text(q->arena, &expected),
                          shape_text(q->arena, &q->declared[i]));
    out_results[i] = expected;
  }
  return true;
}

bool shape_of_pointwise(const shape_query *q, tensor_type *out_results, const char **out_why) {
  pinion_dtype inputs[PINION_MAX_ARGS], results[PINION_MAX_ARGS];
  if (q->operand_count > PINION_MAX_ARGS || !shape_needs(q, q->operand_count, out_why))
    return shape_refuse(q, out_why, "takes at most %d operands", PINION_MAX_ARGS);
  if (q->declared_count < 1) return shape_refuse(q, out_why, "the results' types must be given");
  tensor_type size;
  const shape_query first = {.arena = q->arena};
  if (!shape_settle(&first, &q->declared[0], &size, out_why)) return false; /* not too large */
  const tensor_type *shape = &q->declared[0];
  for (int i = 0; i < q->operand_count; i++) {
    inputs[i] = q->operands[i].dtype;
    if (!shape_broadcasts_to(&q->operands[i], shape))
      return shape_refuse(q, out_why, "operand %s does not broadcast to %s", shape_text(q->arena, &q->operands[i]),
                          shape_text(q->arena, shape));
  }
  if (!take_results(q, shape, out_results, out_why)) return false;
  for (int i = 0; i < q->declared_count; i++) results[i] = q->declared[i].dtype;
  return shape_check_body(q, q->operand_count, inputs, q->declared_count, results, out_why);
}

/* ---- Norm, rope, attention ---- */

bool shape_of_norm(const shape_query *q, tensor_type *out_results, const char **out_why) {
  MlirStringRef kind;
  int64_t axis;
  if (!shape_needs(q, 1, out_why) || !shape_str(q, "kind", &kind, out_why) ||
      !shape_axis(q, "axis", q->operands[0].rank, &axis, out_why))
    return false;
  if (!mlirStringRefEqual(kind, mlirStringRefCreateFromCString("layer")) &&
      !mlirStringRefEqual(kind, mlirStringRefCreateFromCString("rms")))
    return shape_refuse(q, out_why, "no kind '%.*s'", (int)kind.length, kind.data);
  const tensor_type *x = &q->operands[0];
  for (int i = 0; i < 3; i++) {
    if (!shape_has(q, i)) continue;
    if (!dtype_is_float(q->operands[i].dtype)) return shape_refuse(q, out_why, "takes floats");
    if (!shape_broadcasts_to(&q->operands[i], x))
      return shape_refuse(q, out_why, "operand %s does not broadcast to %s", shape_text(q->arena, &q->operands[i]),
                          shape_text(q->arena, x));
  }
  tensor_type result = *x; /* or another float: the statistics are wide in any case */
  if (q->declared_count == 1 && dtype_is_float(q->declared->dtype)) result.dtype = q->declared->dtype;
  return shape_settle(q, &result, out_results, out_why);
}

bool shape_of_rope(const shape_query *q, tensor_type *out_results, const char **out_why) {
  bool interleaved;
  if (!shape_needs(q, 3, out_why) || !shape_bool(q, "interleaved", &interleaved, out_why)) return false;
  const tensor_type *x = &q->operands[0];
  if (x->rank != 4 || !dtype_is_float(x->dtype))
    return shape_refuse(q, out_why, "x is [B,H,S,D], not %s", shape_text(q->arena, x));
  for (int i = 1; i < 3; i++) {
    const tensor_type *table = &q->operands[i];
    bool fits = table->rank == 3 && dtype_is_float(table->dtype) && table->dims[1] == x->dims[2] &&
                (table->dims[0] == 1 || table->dims[0] == x->dims[0]) && table->dims[2] <= x->dims[3] / 2;
    if (!fits || table->dims[2] != q->operands[1].dims[2])
      return shape_refuse(q, out_why, "%s is not [B or 1, S, R/2] for %s", shape_text(q->arena, table),
                          shape_text(q->arena, x));
  }
  return shape_settle(q, x, out_results, out_why);
}

static bool check_mask(const shape_query *q, const tensor_type *mask, int64_t keys, const char **out_why) {
  const tensor_type *query = &q->operands[0];
  tensor_type scores = {.rank = 4, .dims = {query->dims[0], query->dims[1], query->dims[2], keys}};
  if (!dtype_is_float(mask->dtype) && mask->dtype != PINION_DTYPE_bool)
    return shape_refuse(q, out_why, "the mask is %s, neither float nor bool", dtype_name(mask->dtype));
  return shape_broadcasts_to(mask, &scores) ||
         shape_refuse(q, out_why, "mask %s does not broadcast to [B,H,Q,K] with %lld keys", shape_text(q->arena, mask),
                      (long long)keys);
}

/* Queries and limits [l0, q1, l1, q2, l2] that rise, the queries within the operand. */
static bool check_limits(const shape_query *q, int64_t queries, int64_t keys, const char **out_why) {
  int64_t limits[PINION_MAX_RANK];
  int count;
  if (mlirAttributeIsNull(shape_attribute(q, "limits"))) return true;
  if (!shape_i64s(q, "limits", -1, limits, &count, out_why)) return false;
  bool fits = (count == 1 || count == 3 || count == 5) && limits[0] > 0 && limits[count - 1] <= keys;
  for (int i = 1; fits && i < count; i += 2)
    fits = limits[i] > (i > 1 ? limits[i - 2] : 0) && limits[i] < queries && limits[i + 1] >= limits[i - 1];
  return fits || shape_refuse(q, out_why, "'limits' are not rising limits from 1 to %lld keys, each from a query on",
                              (long long)keys);
}

bool shape_of_attention(const shape_query *q, tensor_type *out_results, const char **out_why) {
  bool causal;
  if (!shape_needs(q, 3, out_why) || !shape_bool(q, "causal", &causal, out_why)) return false;
  const tensor_type *query = &q->operands[0], *key = &q->operands[1], *value = &q->operands[2];
  bool fits = query->rank == 4 && key->rank == 4 && value->rank == 4 && dtype_is_float(query->dtype) &&
              key->dtype == query->dtype && value->dtype == query->dtype;
  fits = fits && key->dims[0] == query->dims[0] && value->dims[0] == query->dims[0] && key->dims[3] == query->dims[3] &&
         key->dims[1] == value->dims[1] && key->dims[2] == value->dims[2] && key->dims[1] > 0 &&
         query->dims[1] % key->dims[1] == 0;
  if (!fits)
    return shape_refuse(q, out_why, "%s, %s and %s are not [B,H,Q,D], [B,G,K,D], [B,G,K,E]",
                        shape_text(q->arena, query), shape_text(q->arena, key), shape_text(q->arena, value));
  if (shape_has(q, 3) && !check_mask(q, &q->operands[3], key->dims[2], out_why)) return false;
  if (!check_limits(q, query->dims[2], key->dims[2], out_why)) return false;
  tensor_type result = *query;
  result.dims[3] = value->dims[3];
  return shape_settle(q, &result, out_results, out_why);
}

/* ---- Launch level ---- */

bool shape_of_buffer(const shape_query *q, tensor_type *out_results, const char **out_why) {
  MlirStringRef space;
  pinion_space known;
  int64_t offset, bytes, pitch;
  if (!shape_str(q, "space", &space, out_why) || !shape_i64(q, "offset", &offset, out_why) ||
      !shape_i64(q, "bytes", &bytes, out_why) || !shape_i64(q, "pitch", &pitch, out_why) ||
      !shape_declared(q, out_results, out_why))
    return false;
  if (!space_from_name(space, &known))
    return shape_refuse(q, out_why, "no space '%.*s'", (int)space.length, space.data);
  int64_t row = out_results->rank ? out_results->dims[out_results->rank - 1] : 1;
  if (offset < -1 || bytes < 0 || pitch < row)
    return shape_refuse(q, out_why, "offset %lld, bytes %lld or pitch %lld cannot be for %s", (long long)offset,
                        (long long)bytes, (long long)pitch, shape_text(q->arena, out_results));
  return true;
}

/* Arguments are results, then operands. */
static bool check_pointwise_launch(const shape_query *q, int result_count, const char **out_why) {
  pinion_dtype inputs[PINION_MAX_ARGS], results[PINION_MAX_ARGS];
  for (int i = 0; i < result_count; i++) results[i] = q->operands[i].dtype;
  for (int i = result_count; i < q->operand_count; i++) inputs[i - result_count] = q->operands[i].dtype;
  return shape_check_body(q, q->operand_count - result_count, inputs, result_count, results, out_why);
}

static bool check_strides(const shape_query *q, int rank, const char **out_why) {
  MlirAttribute strides = shape_attribute(q, "strides");
  if (mlirAttributeIsNull(strides) || !mlirAttributeIsAArray(strides) ||
      mlirArrayAttrGetNumElements(strides) != q->operand_count)
    return shape_refuse(q, out_why, "'strides' must have one array per argument");
  for (int i = 0; i < q->operand_count; i++) {
    MlirAttribute row = mlirArrayAttrGetElement(strides, i);
    if (!mlirAttributeIsADenseI64Array(row) || mlirDenseArrayGetNumElements(row) != rank)
      return shape_refuse(q, out_why, "strides of argument %d are not %d integers", i, rank);
  }
  return true;
}

/* An array of i64 with one value per argument. */
static bool check_per_argument(const shape_query *q, const char *name, const char **out_why) {
  MlirAttribute values = shape_attribute(q, name);
  return (!mlirAttributeIsNull(values) && mlirAttributeIsADenseI64Array(values) &&
          mlirDenseArrayGetNumElements(values) == q->operand_count) ||
         shape_refuse(q, out_why, "'%s' must have one integer per argument", name);
}

bool shape_of_launch(const shape_query *q, tensor_type *out_results, const char **out_why) {
  MlirStringRef name;
  pinion_family family;
  int64_t result_count, stage, sizes[PINION_MAX_RANK], integers[PINION_MAX_RANK];
  int rank;
  (void)out_results;
  if (q->operand_count > PINION_MAX_ARGS || !shape_needs(q, q->operand_count, out_why))
    return shape_refuse(q, out_why, "a launch has at most %d arguments", PINION_MAX_ARGS);
  if (!shape_str(q, "family", &name, out_why) || !shape_i64(q, "results", &result_count, out_why) ||
      !shape_i64(q, "stage", &stage, out_why) || !shape_i64s(q, "sizes", -1, sizes, &rank, out_why) ||
      !shape_i64s(q, "integers", -1, integers, NULL, out_why))
    return false;
  if (!family_from_name(name, &family))
    return shape_refuse(q, out_why, "no family '%.*s'", (int)name.length, name.data);
  if (result_count < 1 || result_count > q->operand_count || stage < 0)
    return shape_refuse(q, out_why, "%lld results of %d arguments in stage %lld", (long long)result_count,
                        q->operand_count, (long long)stage);
  for (int i = 0; i < rank; i++)
    if (sizes[i] < 0) return shape_refuse(q, out_why, "size %lld is negative", (long long)sizes[i]);
  if (!check_strides(q, rank, out_why) || !check_per_argument(q, "offsets", out_why) ||
      !check_per_argument(q, "step_strides", out_why))
    return false;
  switch (family) {
  case PINION_FAMILY_POINTWISE: return check_pointwise_launch(q, (int)result_count, out_why);
  case PINION_FAMILY_GEMM: return shape_check_gemm_launch(q, result_count, out_why);
  default: return true;
  }
}
