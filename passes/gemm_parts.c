/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Products taken apart and put together: see gemm_parts.h. */
#include "gemm_parts.h"

#include <string.h>

enum { MATRICES = 2, ATTRIBUTES = 8 };

static bool is_product(MlirOperation op) {
  tensor_type a, b;
  if (mlirOperationIsNull(op)) return false;
  if (op_kind_of(op) == OP_gemm) return !gemm_form_of(op).row_mask;
  return op_kind_of(op) == OP_matmul && value_type(mlirOperationGetOperand(op, 0), &a) &&
         value_type(mlirOperationGetOperand(op, 1), &b) && a.rank >= 2 && b.rank >= 2 && dtype_is_float(a.dtype);
}

static bool read_body(compilation *c, MlirOperation op, gemm_parts *parts) {
  pinion_dtype operands[PINION_MAX_ARGS], inputs[PINION_MAX_ARGS];
  const char *why;
  for (int i = 0; i < parts->operand_count; i++) operands[i] = value_dtype(parts->operands[i]);
  const int count = gemm_body_inputs(value_dtype(parts->a), parts->form.accumulators, parts->form.parts,
                                     parts->operand_count, operands, inputs);
  MlirStringRef yield = mlirStringRefCreateFromCString("yield x0");
  MlirAttribute line = mlirStringAttrGet(c->context, yield);
  MlirAttribute attribute = op_kind_of(op) == OP_gemm
                                ? mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("body"))
                                : mlirArrayAttrGet(c->context, 1, &line);
  parts->body = arena_alloc(c->arena, sizeof *parts->body);
  return body_parse(c->arena, attribute, count, inputs, parts->body, &why);
}

bool gemm_read(compilation *c, MlirOperation op, gemm_parts *out_parts) {
  if (!is_product(op)) return false;
  *out_parts = (gemm_parts){.op = op,
                            .a = mlirOperationGetOperand(op, 0),
                            .b = mlirOperationGetOperand(op, 1),
                            .transpose_b = attr_bool(op, "transpose_b", false),
                            .form = gemm_form_of(op),
                            .operand_count = (int)mlirOperationGetNumOperands(op) - MATRICES,
                            .result_count = (int)mlirOperationGetNumResults(op)};
  if (out_parts->operand_count > PINION_MAX_ARGS || out_parts->result_count > PINION_MAX_ARGS) return false;
  for (int i = 0; i < out_parts->operand_count; i++) out_parts->operands[i] = mlirOperationGetOperand(op, MATRICES + i);
  for (int i = 0; i < out_parts->result_count; i++) value_type(mlirOperationGetResult(op, i), &out_parts->results[i]);
  return read_body(c, op, out_parts);
}

bool gemm_is_plain(const gemm_parts *parts) {
  const gemm_form *form = &parts->form;
  return form->accumulators == 1 && !form->grouped && form->row_sums == 0 && form->column_sums == 0 &&
         parts->result_count == 1;
}

int gemm_leading_inputs(const gemm_form *form) {
  return form->accumulators + (form->parts > 1);
}

void gemm_body_begin(pointwise_body *built, compilation *c, const gemm_form *form, MlirValue a) {
  pinion_dtype inputs[PINION_MAX_ARGS];
  const int count = gemm_body_inputs(value_dtype(a), form->accumulators, form->parts, 0, NULL, inputs);
  pointwise_body_begin(built, c, PINION_MAX_ARGS);
  for (int i = 0; i < count; i++) pointwise_body_leading(built, inputs[i]);
}

/* Operands first .. last - 1. */
static bool add_operands(pointwise_body *built, const gemm_parts *parts, int first, int last,
                         body_operand *out_inputs) {
  const int leading = gemm_leading_inputs(&parts->form);
  for (int i = first; i < last; i++)
    if (!pointwise_body_operand(built, parts->operands[i], &out_inputs[leading + i])) return false;
  return true;
}

bool gemm_body_inputs_of(pointwise_body *built, const gemm_parts *parts, const body_operand *leading,
                         body_operand *out_inputs) {
  memcpy(out_inputs, leading, (size_t)gemm_leading_inputs(&parts->form) * sizeof *leading);
  return add_operands(built, parts, 0, parts->operand_count, out_inputs);
}

bool gemm_body_inputs_with(pointwise_body *built, const gemm_parts *parts, const body_operand *leading, MlirValue more,
                           body_operand *out_inputs, body_operand *out_more) {
  const int sums = parts->operand_count - parts->form.row_sums;
  memcpy(out_inputs, leading, (size_t)gemm_leading_inputs(&parts->form) * sizeof *leading);
  return add_operands(built, parts, 0, sums, out_inputs) && pointwise_body_operand(built, more, out_more) &&
         add_operands(built, parts, sums, parts->operand_count, out_inputs);
}

bool gemm_fits(const gemm_parts *parts, const pointwise_body *built) {
  const int extra = built->body.input_count - gemm_leading_inputs(&parts->form);
  return parts->result_count + MATRICES + extra + !mlirValueIsNull(parts->row_mask) <= PINION_MAX_ARGS;
}

MlirOperation gemm_build(builder *b, const gemm_parts *parts, const pointwise_body *built) {
  MlirContext context = b->compilation->context;
  const gemm_form *form = &parts->form;
  const int leading = gemm_leading_inputs(form);
  int extra = built->body.input_count - leading;
  MlirValue operands[PINION_MAX_ARGS] = {parts->a, parts->b};
  MlirType results[PINION_MAX_ARGS];
  memcpy(operands + MATRICES, built->inputs + leading, (size_t)extra * sizeof *operands);
  for (int i = 0; i < parts->result_count; i++) results[i] = type_make(context, &parts->results[i]);
  MlirNamedAttribute attributes[ATTRIBUTES] = {
      make_named(context, "body", body_attribute(context, &built->body)),
      make_named(context, "transpose_b", make_bool(context, parts->transpose_b))};
  int count = 2;
  if (form->accumulators > 1)
    attributes[count++] = make_named(context, "accumulators", make_i64(context, form->accumulators));
  if (form->grouped) attributes[count++] = make_named(context, "groups", make_i64(context, form->groups));
  if (form->parts > 1)
    attributes[count++] = make_named(context, "parts", make_i64s(context, form->parts - 1, &form->part_start[1]));
  if (form->row_sums) attributes[count++] = make_named(context, "row_sums", make_i64(context, form->row_sums));
  if (form->column_sums) attributes[count++] = make_named(context, "column_sums", make_i64(context, form->column_sums));
  if (!mlirValueIsNull(parts->row_mask)) {
    operands[MATRICES + extra++] = parts->row_mask;
    attributes[count++] = make_named(context, "row_mask", make_bool(context, true));
  }
  return build_op(b, OP_gemm, MATRICES + extra, operands, count, attributes, parts->result_count, results);
}
