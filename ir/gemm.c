/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "gemm.h"

gemm_form gemm_form_of(MlirOperation op) {
  gemm_form form = {.accumulators = (int)attr_i64(op, "accumulators", 1),
                    .groups = attr_i64(op, "groups", 0),
                    .row_sums = (int)attr_i64(op, "row_sums", 0),
                    .column_sums = (int)attr_i64(op, "column_sums", 0),
                    .row_mask = attr_bool(op, "row_mask", false)};
  form.grouped = form.groups > 0;
  if (!form.grouped) form.groups = 1;
  form.parts = 1 + attr_i64s(op, "parts", &form.part_start[1], GEMM_MAX_PARTS - 1);
  form.part_start[form.parts] = form.groups;
  return form;
}

int gemm_operands_end(const gemm_form *form, int operand_count) {
  return operand_count - form->row_mask;
}

int gemm_body_inputs(pinion_dtype a, int64_t accumulators, int parts, int operand_count, const pinion_dtype *operands,
                     pinion_dtype *out_inputs) {
  int count = 0;
  while (count < accumulators) out_inputs[count++] = a == PINION_DTYPE_f64 ? PINION_DTYPE_f64 : PINION_DTYPE_f32;
  if (parts > 1) out_inputs[count++] = PINION_DTYPE_i64;
  for (int i = 0; i < operand_count; i++) out_inputs[count++] = operands[i];
  return count;
}
