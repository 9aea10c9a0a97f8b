/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* From elementwise ops to a scalar body: see pointwise_body.h. */
#include "pointwise_body.h"

#include <math.h>
#include <string.h>

#define LARGEST_EXACT_INTEGER 9007199254740992.0

bool op_is_elementwise(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  return kind == OP_unary || kind == OP_binary || kind == OP_select || kind == OP_cast || kind == OP_pointwise;
}

static bool kind_is_one_of(MlirOperation op, const char *const *kinds) {
  for (; *kinds; kinds++)
    if (attr_str_is(op, "kind", *kinds)) return true;
  return false;
}

bool op_is_cheap(MlirOperation op) {
  static const char *const costly[] = {"div", "pow", "mod", NULL};
  static const char *const cheap[] = {"neg", "abs", "relu", "not", "sign", NULL};
  switch (op_kind_of(op)) {
  case OP_cast:
  case OP_select: return true;
  case OP_binary: return !kind_is_one_of(op, costly);
  case OP_unary: return kind_is_one_of(op, cheap);
  default: return false;
  }
}

bool elementwise_ops_read(MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
    if (!op_is_elementwise(mlirOpOperandGetOwner(use))) return false;
  return true;
}

bool is_one_row(MlirValue value) {
  const tensor_type type = tensor_type_of(value);
  return type_elements(&type) == last_dimension(value);
}

MlirValue value_before_broadcast(MlirValue value) {
  MlirOperation op = value_defined_by(value, OP_broadcast);
  return mlirOperationIsNull(op) ? value : mlirOperationGetOperand(op, 0);
}

void pointwise_body_begin(pointwise_body *b, compilation *c, int input_limit) {
  b->compilation = c;
  b->input_limit = input_limit;
  b->value_count = 0;
  b->body.input_count = b->body.instruction_count = b->body.result_count = 0;
}

static bool is_half(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_bf16 || dtype == PINION_DTYPE_f16;
}

static pinion_dtype compute_dtype(pinion_dtype dtype) {
  return is_half(dtype) ? PINION_DTYPE_f32 : dtype;
}

int pointwise_body_input(pointwise_body *b, MlirValue value, pinion_dtype dtype) {
  for (int i = 0; i < b->body.input_count; i++)
    if (mlirValueEqual(b->inputs[i], value)) return i;
  if (b->body.input_count == b->input_limit) return -1;
  b->inputs[b->body.input_count] = value;
  b->body.input_dtypes[b->body.input_count] = dtype;
  return b->body.input_count++;
}

void pointwise_body_leading(pointwise_body *b, pinion_dtype dtype) {
  b->inputs[b->body.input_count] = (MlirValue){0};
  b->body.input_dtypes[b->body.input_count++] = dtype;
}

static bool known_value(const pointwise_body *b, MlirValue value, body_operand *out_operand) {
  for (int i = 0; i < b->value_count; i++) {
    if (!mlirValueEqual(b->values[i], value)) continue;
    *out_operand = b->operands[i];
    return true;
  }
  return false;
}

/* A literal holds every number but the largest integers. */
static bool literal_of(pointwise_body *b, MlirValue value, body_operand *out_operand) {
  double number;
  if (!value_uniform(b->compilation, value, &number)) return false;
  if (!dtype_is_float(value_dtype(value)) && fabs(number) > LARGEST_EXACT_INTEGER) return false;
  *out_operand = (body_operand){.kind = BODY_LITERAL, .literal = number};
  return true;
}

bool pointwise_body_operand(pointwise_body *b, MlirValue value, body_operand *out_operand) {
  const int index = pointwise_body_input(b, value, value_dtype(value));
  *out_operand = (body_operand){.kind = BODY_INPUT, .index = index};
  return index >= 0;
}

static bool resolve(pointwise_body *b, MlirValue value, body_operand *out_operand) {
  value = value_before_broadcast(value);
  if (known_value(b, value, out_operand) || literal_of(b, value, out_operand)) return true;
  return pointwise_body_operand(b, value, out_operand);
}

bool pointwise_body_instruction(pointwise_body *b, const char *operation, pinion_dtype dtype, int count,
                                const body_operand *operands, body_operand *out_value) {
  if (b->body.instruction_count == BODY_MAX_INSTRUCTIONS) return false;
  body_instruction instruction = {.dtype = dtype, .operand_count = count};
  snprintf(instruction.operation, sizeof instruction.operation, "%s", operation);
  memcpy(instruction.operands, operands, (size_t)count * sizeof *operands);
  *out_value = (body_operand){.kind = BODY_VALUE, .index = b->body.instruction_count};
  b->body.instructions[b->body.instruction_count++] = instruction;
  return true;
}

/* Literals take the other operands' type: if all are literals, the first needs one of its own. */
static bool type_literals(pointwise_body *b, int first, int count, body_operand *operands, pinion_dtype dtype) {
  for (int i = first; i < count; i++)
    if (operands[i].kind != BODY_LITERAL) return true;
  body_operand literal = operands[first];
  return pointwise_body_instruction(b, "const", dtype, 1, &literal, &operands[first]);
}

bool pointwise_body_is_exact(const char *operation) {
  static const char *const names[] = {"neg",   "abs",  "relu",  "sign",   "min", "max",
                                      "floor", "ceil", "round", "select", NULL};
  for (const char *const *name = names; *name; name++)
    if (strcmp(operation, *name) == 0) return true;
  return false;
}

static bool remember(pointwise_body *b, MlirValue value, body_operand operand) {
  if (b->value_count == BODY_MAX_INSTRUCTIONS) return false;
  b->values[b->value_count] = value;
  b->operands[b->value_count++] = operand;
  return true;
}

static bool add_cast(pointwise_body *b, MlirOperation op, bool last) {
  MlirValue result = mlirOperationGetResult(op, 0), x = mlirOperationGetOperand(op, 0);
  pinion_dtype from = value_dtype(x), to = value_dtype(result);
  body_operand operand;
  if (!resolve(b, x, &operand)) return false;
  bool is_literal = operand.kind == BODY_LITERAL;
  if (is_literal && !pointwise_body_instruction(b, "const", from, 1, &operand, &operand)) return false;
  bool widens = compute_dtype(from) == to || (last && is_half(to) && compute_dtype(from) == PINION_DTYPE_f32);
  if (!(widens && operand.kind == BODY_VALUE) && !pointwise_body_instruction(b, "cast", to, 1, &operand, &operand))
    return false;
  return remember(b, result, operand);
}

static body_operand renumbered(body_operand operand, const body_operand *inputs, const body_operand *values) {
  switch (operand.kind) {
  case BODY_INPUT: return inputs[operand.index];
  case BODY_VALUE: return values[operand.index];
  default: return operand;
  }
}

bool pointwise_body_append(pointwise_body *b, const body *inner, const body_operand *inputs,
                           body_operand *out_results) {
  body_operand values[BODY_MAX_INSTRUCTIONS], operands[3];
  for (int i = 0; i < inner->instruction_count; i++) {
    const body_instruction *instruction = &inner->instructions[i];
    for (int k = 0; k < instruction->operand_count; k++)
      operands[k] = renumbered(instruction->operands[k], inputs, values);
    if (!pointwise_body_instruction(b, instruction->operation, instruction->dtype, instruction->operand_count, operands,
                                    &values[i]))
      return false;
  }
  for (int i = 0; i < inner->result_count; i++) out_results[i] = renumbered(inner->results[i], inputs, values);
  return true;
}

bool pointwise_body_round(pointwise_body *b, pinion_dtype dtype, body_operand *value) {
  return !is_half(dtype) || pointwise_body_instruction(b, "cast", dtype, 1, value, value);
}

void pointwise_body_yield(pointwise_body *b, body_operand value, pinion_dtype dtype) {
  b->body.results[b->body.result_count] = value;
  b->body.result_dtypes[b->body.result_count++] = dtype;
}

/* The body of a pointwise op, with its inputs and values renumbered. */
static bool add_body(pointwise_body *b, MlirOperation op, bool last) {
  body *inner = arena_alloc(b->compilation->arena, sizeof *inner);
  pinion_dtype dtypes[PINION_MAX_ARGS];
  body_operand inputs[PINION_MAX_ARGS], yielded;
  int input_count = (int)mlirOperationGetNumOperands(op);
  const char *why;
  for (int i = 0; i < input_count; i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    dtypes[i] = value_dtype(operand);
    if (!resolve(b, operand, &inputs[i])) return false;
    if (inputs[i].kind == BODY_LITERAL && !pointwise_body_instruction(b, "const", dtypes[i], 1, &inputs[i], &inputs[i]))
      return false;
  }
  MlirAttribute attribute = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("body"));
  if (!body_parse(b->compilation->arena, attribute, input_count, dtypes, inner, &why)) return false;
  if (!pointwise_body_append(b, inner, inputs, &yielded)) return false;
  if (!last && !pointwise_body_round(b, value_dtype(mlirOperationGetResult(op, 0)), &yielded)) return false;
  return remember(b, mlirOperationGetResult(op, 0), yielded);
}

static bool add_scalar(pointwise_body *b, MlirOperation op, bool last) {
  MlirValue result = mlirOperationGetResult(op, 0);
  bool select = op_kind_of(op) == OP_select;
  int count = (int)mlirOperationGetNumOperands(op);
  body_operand operands[3] = {{0}}, value;
  char operation[16] = "select";
  if (!select) {
    MlirStringRef kind = attr_str(op, "kind");
    if (kind.length >= sizeof operation) return false;
    memcpy(operation, kind.data, kind.length);
    operation[kind.length] = '\0';
  }
  for (int i = 0; i < count; i++)
    if (!resolve(b, mlirOperationGetOperand(op, i), &operands[i])) return false;
  if (select && !type_literals(b, 0, 1, operands, PINION_DTYPE_bool)) return false;
  if (!type_literals(b, select, count, operands, value_dtype(mlirOperationGetOperand(op, count - 1)))) return false;
  pinion_dtype dtype = value_dtype(result);
  if (!pointwise_body_instruction(b, operation, compute_dtype(dtype), count, operands, &value)) return false;
  bool rounds = is_half(dtype) && !last && !pointwise_body_is_exact(operation);
  if (rounds && !pointwise_body_instruction(b, "cast", dtype, 1, &value, &value)) return false;
  return remember(b, result, value);
}

bool pointwise_body_accumulator(pointwise_body *b, MlirValue product, pinion_dtype accumulator, pinion_dtype dtype) {
  body_operand value = {.kind = BODY_INPUT, .index = pointwise_body_input(b, product, accumulator)};
  if (is_half(dtype) && !pointwise_body_instruction(b, "cast", dtype, 1, &value, &value)) return false;
  return remember(b, product, value);
}

bool pointwise_body_add(pointwise_body *b, MlirOperation op, bool last) {
  switch (op_kind_of(op)) {
  case OP_cast: return add_cast(b, op, last);
  case OP_pointwise: return add_body(b, op, last);
  default: return add_scalar(b, op, last);
  }
}

bool pointwise_body_end(pointwise_body *b, MlirValue result) {
  body_operand value;
  if (!known_value(b, result, &value) || value.kind == BODY_LITERAL) return false;
  b->body.result_count = 0;
  pointwise_body_yield(b, value, value_dtype(result));
  return true;
}
