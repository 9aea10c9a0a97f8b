/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Shape rules of gemm: of the fused op, and of its launch. */
#include "gemm.h"
#include "shapes_help.h"

#include <string.h>

/* ---- The fused op ---- */

static bool optional_i64(const shape_query *q, const char *name, int64_t *value, const char **out_why) {
  return mlirAttributeIsNull(shape_attribute(q, name)) || shape_i64(q, name, value, out_why);
}

static bool read_parts(const shape_query *q, gemm_form *form, const char **out_why) {
  int64_t starts[PINION_MAX_RANK];
  int count = 0;
  if (!mlirAttributeIsNull(shape_attribute(q, "parts")) && !shape_i64s(q, "parts", -1, starts, &count, out_why))
    return false;
  if (count >= GEMM_MAX_PARTS)
    return shape_refuse(q, out_why, "has %d parts, of at most %d", count + 1, GEMM_MAX_PARTS);
  form->parts = 1 + count;
  form->part_start[form->parts] = form->groups;
  for (int i = 0; i < count; i++) form->part_start[i + 1] = starts[i];
  for (int i = 0; i < form->parts; i++)
    if (form->part_start[i] >= form->part_start[i + 1])
      return shape_refuse(q, out_why, "'parts' are no ranges of %lld groups", (long long)form->groups);
  return true;
}

static bool read_form(const shape_query *q, gemm_form *out_form, const char **out_why) {
  int64_t accumulators = 1, groups = 1, row_sums = 0, column_sums = 0;
  bool row_mask = false;
  *out_form = (gemm_form){.grouped = !mlirAttributeIsNull(shape_attribute(q, "groups"))};
  if (!optional_i64(q, "accumulators", &accumulators, out_why) || !optional_i64(q, "groups", &groups, out_why) ||
      !optional_i64(q, "row_sums", &row_sums, out_why) || !optional_i64(q, "column_sums", &column_sums, out_why) ||
      (!mlirAttributeIsNull(shape_attribute(q, "row_mask")) && !shape_bool(q, "row_mask", &row_mask, out_why)))
    return false;
  if (accumulators != 1 && accumulators != 2)
    return shape_refuse(q, out_why, "has one accumulator or two, not %lld", (long long)accumulators);
  if (groups < 1) return shape_refuse(q, out_why, "has %lld groups", (long long)groups);
  if (row_sums < 0 || row_sums > q->operand_count - 2 - row_mask)
    return shape_refuse(q, out_why, "sums %lld of %d operands", (long long)row_sums, q->operand_count - 2 - row_mask);
  if (column_sums < 0 || column_sums > q->declared_count || (column_sums && out_form->grouped))
    return shape_refuse(q, out_why, "has %lld column sums among %d results%s", (long long)column_sums,
                        q->declared_count, out_form->grouped ? ", and groups" : "");
  out_form->accumulators = (int)accumulators;
  out_form->groups = groups;
  out_form->row_sums = (int)row_sums;
  out_form->column_sums = (int)column_sums;
  out_form->row_mask = row_mask;
  return read_parts(q, out_form, out_why);
}

/* From the product's [..,m,columns] to what operands broadcast to: [..,m,n] or [..,m,groups,n]. */
static bool split_columns(const shape_query *q, const gemm_form *form, tensor_type *shape, const char **out_why) {
  int64_t *columns = &shape->dims[shape->rank - 1];
  if (*columns % (form->accumulators * form->groups))
    return shape_refuse(q, out_why, "%lld columns do not divide into %d accumulators of %lld groups",
                        (long long)*columns, form->accumulators, (long long)form->groups);
  *columns /= form->accumulators * form->groups;
  if (!form->grouped) return true;
  if (shape->rank == PINION_MAX_RANK) return shape_refuse(q, out_why, "has more than %d dimensions", PINION_MAX_RANK);
  shape->dims[shape->rank++] = *columns;
  *columns = form->groups;
  return true;
}

/* [..,m,any], f32; the last dimension is the same for all row sums. */
static bool check_row_sum(const shape_query *q, const gemm_form *form, const tensor_type *shape, int index,
                          const char **out_why) {
  tensor_type rows = *shape, own = q->operands[index];
  const tensor_type *last = &q->operands[gemm_operands_end(form, q->operand_count) - 1];
  rows.rank -= 1 + form->grouped;
  own.rank--;
  return (own.rank >= 0 && own.dtype == PINION_DTYPE_f32 && own.dims[own.rank] > 0 && last->rank > 0 &&
          own.dims[own.rank] == last->dims[last->rank - 1] && shape_broadcasts_to(&own, &rows)) ||
         shape_refuse(q, out_why, "row sum %s is not f32 of rows that broadcast to %s, and as many as the others'",
                      shape_text(q->arena, &q->operands[index]), shape_text(q->arena, &rows));
}

/* [..,m,1], i1. */
static bool check_row_mask(const shape_query *q, const gemm_form *form, const tensor_type *shape,
                           const char **out_why) {
  const tensor_type *mask = &q->operands[q->operand_count - 1];
  tensor_type rows = *shape;
  rows.rank -= form->grouped;
  rows.dims[rows.rank - 1] = 1;
  return (mask->dtype == PINION_DTYPE_bool && shape_broadcasts_to(mask, &rows)) ||
         shape_refuse(q, out_why, "row mask %s is not i1 that broadcasts to the rows %s", shape_text(q->arena, mask),
                      shape_text(q->arena, &rows));
}

static bool check_operands(const shape_query *q, const gemm_form *form, const tensor_type *shape,
                           const char **out_why) {
  const int end = gemm_operands_end(form, q->operand_count), first_sum = end - form->row_sums;
  for (int i = 2; i < first_sum; i++)
    if (!shape_broadcasts_to(&q->operands[i], shape))
      return shape_refuse(q, out_why, "operand %s does not broadcast to the product %s",
                          shape_text(q->arena, &q->operands[i]), shape_text(q->arena, shape));
  for (int i = first_sum; i < end; i++)
    if (!check_row_sum(q, form, shape, i, out_why)) return false;
  return !form->row_mask || check_row_mask(q, form, shape, out_why);
}

/* What result `index` of `shape` is: of one part's groups, or the sums of blocks of columns. */
static tensor_type result_type(const shape_query *q, const gemm_form *form, const tensor_type *shape, int index) {
  const int per_part = q->declared_count / form->parts, part = index / per_part;
  tensor_type type = *shape;
  type.dtype = q->declared[index % per_part].dtype;
  if (form->grouped) type.dims[type.rank - 2] = form->part_start[part + 1] - form->part_start[part];
  if (index < q->declared_count - form->column_sums) return type;
  type.dtype = PINION_DTYPE_f32;
  type.dims[type.rank - 1] = (type.dims[type.rank - 1] + PINION_COLUMN_BLOCK - 1) / PINION_COLUMN_BLOCK;
  return type;
}

static bool take_results(const shape_query *q, const gemm_form *form, const tensor_type *shape,
                         tensor_type *out_results, const char **out_why) {
  if (q->declared_count < 1 || q->declared_count > PINION_MAX_ARGS)
    return shape_refuse(q, out_why, "the types of 1 to %d results must be given", PINION_MAX_ARGS);
  if (q->declared_count % form->parts)
    return shape_refuse(q, out_why, "%d results do not divide among %d parts", q->declared_count, form->parts);
  for (int i = 0; i < q->declared_count; i++) {
    out_results[i] = result_type(q, form, shape, i);
    if (!type_equal(&out_results[i], &q->declared[i]))
      return shape_refuse(q, out_why, "result %d is %s, not %s", i, shape_text(q->arena, &out_results[i]),
                          shape_text(q->arena, &q->declared[i]));
  }
  return true;
}

bool shape_of_gemm(const shape_query *q, tensor_type *out_results, const char **out_why) {
  pinion_dtype operands[PINION_MAX_ARGS], inputs[PINION_MAX_ARGS], results[PINION_MAX_ARGS];
  tensor_type shape;
  bool transpose_b;
  gemm_form form;
  if (!shape_needs(q, q->operand_count > 2 ? q->operand_count : 2, out_why) ||
      !shape_bool(q, "transpose_b", &transpose_b, out_why))
    return false;
  const tensor_type *a = &q->operands[0], *b = &q->operands[1];
  if (a->rank < 2 || b->rank < 2 || !dtype_is_float(a->dtype))
    return shape_refuse(q, out_why, "takes float matrices, not %s and %s", shape_text(q->arena, a),
                        shape_text(q->arena, b));
  if (!shape_matmul(q, a, b, transpose_b, &shape, out_why)) return false;
  if (q->operand_count + q->declared_count > PINION_MAX_ARGS)
    return shape_refuse(q, out_why, "has more than %d operands and results", PINION_MAX_ARGS);
  if (!read_form(q, &form, out_why) || !split_columns(q, &form, &shape, out_why) ||
      !check_operands(q, &form, &shape, out_why) || !take_results(q, &form, &shape, out_results, out_why))
    return false;
  const int end = gemm_operands_end(&form, q->operand_count);
  for (int i = 2; i < end; i++) operands[i - 2] = q->operands[i].dtype;
  for (int i = 0; i < q->declared_count; i++) results[i] = q->declared[i].dtype;
  const int count = gemm_body_inputs(a->dtype, form.accumulators, form.parts, end - 2, operands, inputs);
  return shape_check_body(q, count, inputs, q->declared_count / form.parts, results, out_why);
}

/* ---- Its launch ---- */

static bool launch_params(const shape_query *q, int64_t result_count, pinion_params *out_params, const char **out_why) {
  int rank;
  *out_params = (pinion_params){.arg_count = q->operand_count};
  if (!shape_i64s(q, "sizes", -1, out_params->size, &rank, out_why) ||
      !shape_i64s(q, "integers", -1, out_params->integer, NULL, out_why))
    return false;
  if (rank != PINION_GEMM_RANK) return shape_refuse(q, out_why, "a gemm has sizes [b0, b1, m, h, n, p, k]");
  if (q->operand_count < result_count + 2) return shape_refuse(q, out_why, "a gemm has the operands a and b");
  const char *fault = pinion_gemm_fault(out_params);
  if (fault) return shape_refuse(q, out_why, "%s", fault);
  return !out_params->integer[5] || out_params->integer[5] == result_count ||
         shape_refuse(q, out_why, "integer 5 of a gemm is %lld, but it has %lld results",
                      (long long)out_params->integer[5], (long long)result_count);
}

/* Sums are of f32, a row mask is of bool; the parts' results are of the same types. */
static bool check_launch_types(const shape_query *q, const pinion_params *params, int result_count,
                               const char **out_why) {
  const int per_part = result_count / pinion_gemm_parts(params);
  for (int i = 0; i < q->operand_count; i++) {
    const bool is_mask = i >= q->operand_count - params->integer[6];
    const bool is_sum = (i >= pinion_gemm_first_row_sum(params) && !is_mask) ||
                        (i < result_count && i >= result_count - params->integer[4]);
    if (is_mask && q->operands[i].dtype != PINION_DTYPE_bool)
      return shape_refuse(q, out_why, "the row mask of a gemm is of %s, not of bool", dtype_name(q->operands[i].dtype));
    if (is_sum && q->operands[i].dtype != PINION_DTYPE_f32)
      return shape_refuse(q, out_why, "argument %d of a gemm is a sum of %s, not of f32", i,
                          dtype_name(q->operands[i].dtype));
    if (i >= per_part && i < result_count && q->operands[i].dtype != q->operands[i % per_part].dtype)
      return shape_refuse(q, out_why, "the parts of a gemm have results of different types");
  }
  return true;
}

bool shape_check_gemm_launch(const shape_query *q, int64_t result_count, const char **out_why) {
  pinion_params params;
  pinion_dtype operands[PINION_MAX_ARGS], inputs[PINION_MAX_ARGS], results[PINION_MAX_ARGS];
  const int first = (int)result_count + 2;
  if (!launch_params(q, result_count, &params, out_why) || !check_launch_types(q, &params, (int)result_count, out_why))
    return false;
  const int parts = pinion_gemm_parts(&params);
  if (mlirAttributeIsNull(shape_attribute(q, "body"))) /* the accumulator is the result */
    return (result_count == 1 && q->operand_count == 3 && params.size[PINION_GEMM_P] == 1 && parts == 1) ||
           shape_refuse(q, out_why, "a gemm without a body has one accumulator and stores it");
  const int end = q->operand_count - (int)params.integer[6];
  for (int i = first; i < end; i++) operands[i - first] = q->operands[i].dtype;
  for (int i = 0; i < result_count; i++) results[i] = q->operands[i].dtype;
  const int count = gemm_body_inputs(q->operands[result_count].dtype, params.size[PINION_GEMM_P], parts, end - first,
                                     operands, inputs);
  return shape_check_body(q, count, inputs, (int)result_count / parts, results, out_why);
}
