/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * drop-roundings: under the policy bf16 (attribute `pinion.precision`), what a fused op hands from one of its
 * operations to the next stays f32.
 *
 *   body = ["cast.bf16 x0", "gelu_tanh v0", "cast.bf16 v1", "mul v2 x1", "yield v3"]
 *     becomes   ["gelu_tanh x0", "mul v0 x1", "yield v1"]
 *
 * A bf16 export rounds after every operation, and a fused body repeats that, which takes instructions and adds error.
 * What never goes to memory has no need of it.
 *
 * Requires: all fusions, which make the bodies; outline-weights, so that what is computed at compile time is not
 * concerned. Produces: nothing new. Breaks: the exporter's numbers, bit by bit.
 *
 * A rounding stays where its number is a result, as it is or by way of operations that do not round, and the body reads
 * it, too: sums of a row are of the row as it is stored. It also stays where the result is stored in another type than
 * bf16, where the number is cast to another type, and where it was no f32.
 */
#include "pointwise_body.h"

#include "../ir/gemm.h"

#include <string.h>

enum { MATRICES = 2 };

/* ---- An op's body ---- */

/* Types of the body's inputs; returns how many. */
static int body_inputs(MlirOperation op, pinion_dtype *out_inputs) {
  pinion_dtype operands[PINION_MAX_ARGS];
  const int count = (int)mlirOperationGetNumOperands(op);
  for (int i = 0; i < count; i++) operands[i] = value_dtype(mlirOperationGetOperand(op, i));
  if (op_kind_of(op) == OP_gemm) {
    const gemm_form form = gemm_form_of(op);
    return gemm_body_inputs(operands[0], form.accumulators, form.parts, gemm_operands_end(&form, count) - MATRICES,
                            operands + MATRICES, out_inputs);
  }
  memcpy(out_inputs, operands, (size_t)count * sizeof *operands);
  return count;
}

/* Its result_dtypes are those that the results are stored in. False for an op without a body. */
static bool read_body(arena *a, MlirOperation op, body *out_body) {
  pinion_dtype inputs[PINION_MAX_ARGS];
  const char *why;
  if (op_kind_of(op) != OP_gemm && op_kind_of(op) != OP_pointwise) return false;
  MlirAttribute attribute = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("body"));
  const int count = body_inputs(op, inputs);
  if (!body_parse(a, attribute, count, inputs, out_body, &why)) return false;
  for (int i = 0; i < out_body->result_count; i++) /* all parts of a gemm have the same */
    out_body->result_dtypes[i] = value_dtype(mlirOperationGetResult(op, i));
  return true;
}

static bool is_cast(const body_instruction *instruction) {
  return strcmp(instruction->operation, "cast") == 0;
}

static pinion_dtype operand_dtype(const body *b, const body_operand *operand) {
  return operand->kind == BODY_INPUT ? b->input_dtypes[operand->index] : b->instructions[operand->index].dtype;
}

/* Whether it rounds a number of that type to bf16. */
static bool rounds(const body *b, int index, pinion_dtype from) {
  const body_instruction *instruction = &b->instructions[index];
  return is_cast(instruction) && instruction->dtype == PINION_DTYPE_bf16 &&
         operand_dtype(b, &instruction->operands[0]) == from;
}

static bool is_no_op(const body *b, int index) {
  return rounds(b, index, PINION_DTYPE_bf16);
}

/* ---- Whether it stays ---- */

/* Whether it takes a value of the set. */
static bool takes_any(const body_instruction *instruction, const bool *values) {
  for (int k = 0; k < instruction->operand_count; k++)
    if (instruction->operands[k].kind == BODY_VALUE && values[instruction->operands[k].index]) return true;
  return false;
}

static bool is_value(const body_operand *operand, int index) {
  return operand->kind == BODY_VALUE && operand->index == index;
}

static int use_count(const body *b, int value) {
  int count = 0;
  for (int i = value + 1; i < b->instruction_count; i++)
    for (int k = 0; k < b->instructions[i].operand_count; k++)
      count += is_value(&b->instructions[i].operands[k], value);
  for (int i = 0; i < b->result_count; i++) count += is_value(&b->results[i], value);
  return count;
}

/* A result that is read besides, or that its store does not round. */
static bool is_stored_rounded(const body *b, int value) {
  for (int i = 0; i < b->result_count; i++)
    if (is_value(&b->results[i], value) && (b->result_dtypes[i] != PINION_DTYPE_bf16 || use_count(b, value) > 1))
      return true;
  return false;
}

/* Whether what the rounding gives has to be a bf16 number. */
static bool is_needed(const body *b, int rounding) {
  bool rounded[BODY_MAX_INSTRUCTIONS] = {false}; /* values that it makes such */
  rounded[rounding] = true;
  for (int i = rounding; i < b->instruction_count; i++) {
    const body_instruction *instruction = &b->instructions[i];
    if (takes_any(instruction, rounded)) {
      const bool widens = is_cast(instruction) && instruction->dtype == PINION_DTYPE_f32;
      if (is_cast(instruction) && !widens && instruction->dtype != PINION_DTYPE_bf16) return true;
      rounded[i] = widens || pointwise_body_is_exact(instruction->operation);
    }
    if (rounded[i] && is_stored_rounded(b, i)) return true;
  }
  return false;
}

/* ---- Dropping it ---- */

/* An operand behind instruction `index`, which goes: what it took stands for its value. */
static void renumber(body_operand *operand, int index, const body_operand *source) {
  if (operand->kind != BODY_VALUE || operand->index < index) return;
  if (operand->index == index)
    *operand = *source;
  else
    operand->index--;
}

static void drop_instruction(body *b, int index) {
  const body_operand source = b->instructions[index].operands[0];
  b->instruction_count--;
  for (int i = index; i < b->instruction_count; i++) {
    body_instruction *instruction = &b->instructions[i];
    *instruction = b->instructions[i + 1];
    for (int k = 0; k < instruction->operand_count; k++) renumber(&instruction->operands[k], index, &source);
  }
  for (int i = 0; i < b->result_count; i++) renumber(&b->results[i], index, &source);
}

static bool is_dispensable(const body *b, int index) {
  return rounds(b, index, PINION_DTYPE_f32) && !is_needed(b, index);
}

static void drop_each(body *b, bool (*goes)(const body *b, int index)) {
  for (int i = 0; i < b->instruction_count;)
    if (goes(b, i))
      drop_instruction(b, i);
    else
      i++;
}

/* Returns how many. No-ops first: without one between them it shows that a number is stored and read. */
static int drop_from_body(body *b) {
  const int before = b->instruction_count;
  drop_each(b, is_no_op);
  drop_each(b, is_dispensable);
  return before - b->instruction_count;
}

static status drop_from_block(pass_context *context, MlirBlock block) {
  MlirContext mlir = context->compilation->context;
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  body *b = arena_alloc(a, sizeof *b);
  for (int i = 0; i < ops.count; i++) {
    if (!read_body(a, ops.ops[i], b)) continue;
    const int dropped = drop_from_body(b);
    if (!dropped || !pass_may_rewrite(context, mlirOperationGetLocation(ops.ops[i]))) continue;
    mlirOperationSetAttributeByName(ops.ops[i], mlirStringRefCreateFromCString("body"), body_attribute(mlir, b));
    context->changes += dropped;
  }
  arena_destroy(a);
  return STATUS_OK;
}

status pass_drop_roundings(pass_context *context, MlirModule module) {
  if (!attr_str_is(mlirModuleGetOperation(module), "pinion.precision", "bf16")) return STATUS_OK;
  return each_run_block(context, module, drop_from_block);
}
