/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Elementwise ops: each is a scalar body, run instruction by instruction over chunks of a row. */
#include "eval_internal.h"
#include "scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 };

/* A chunk of one value: reals for float types, else integers. */
typedef union lane {
  double real[CHUNK];
  int64_t integer[CHUNK];
} lane;

typedef enum step_kind { STEP_SCALAR, STEP_SELECT, STEP_CAST, STEP_CONST } step_kind;

/* An instruction, looked up once. */
typedef struct step {
  step_kind kind;
  scalar_kind scalar;
  pinion_dtype operand_dtype; /* what its operands (of a select: its values) are computed in */
} step;

typedef struct runner {
  const body *body;
  eval_precision precision;
  step *steps;
  lane *inputs, *values;
  lane literals[3];
} runner;

static pinion_dtype operand_dtype(const body *b, const body_operand *operand) {
  return operand->kind == BODY_INPUT ? b->input_dtypes[operand->index] : b->instructions[operand->index].dtype;
}

static step decode(const body *b, const body_instruction *instruction) {
  step s = {.kind = STEP_SCALAR, .operand_dtype = instruction->dtype};
  if (strcmp(instruction->operation, "const") == 0) s.kind = STEP_CONST;
  if (strcmp(instruction->operation, "cast") == 0) s.kind = STEP_CAST;
  if (strcmp(instruction->operation, "select") == 0) s.kind = STEP_SELECT;
  if (s.kind == STEP_SCALAR) scalar_find(instruction->operation, strlen(instruction->operation), &s.scalar);
  for (int i = s.kind == STEP_SELECT; i < instruction->operand_count; i++)
    if (instruction->operands[i].kind != BODY_LITERAL) s.operand_dtype = operand_dtype(b, &instruction->operands[i]);
  return s;
}

/* The lane of an operand; a literal is spread over literals[slot], as exact as its type computes. */
static const lane *fetch(runner *r, const body_operand *operand, int slot, pinion_dtype dtype, int count) {
  if (operand->kind == BODY_INPUT) return &r->inputs[operand->index];
  if (operand->kind == BODY_VALUE) return &r->values[operand->index];
  lane *l = &r->literals[slot];
  double real = dtype == PINION_DTYPE_f64 ? operand->literal : (float)operand->literal;
  for (int i = 0; i < count; i++)
    if (dtype_is_float(dtype))
      l->real[i] = real;
    else
      l->integer[i] = (int64_t)operand->literal;
  return l;
}

static void apply_real(scalar_kind kind, const double *a, const double *b, int count, double *out) {
  switch (kind) { /* the most frequent ones as loops that vectorise */
  case SCALAR_add:
    for (int i = 0; i < count; i++) out[i] = a[i] + b[i];
    break;
  case SCALAR_sub:
    for (int i = 0; i < count; i++) out[i] = a[i] - b[i];
    break;
  case SCALAR_mul:
    for (int i = 0; i < count; i++) out[i] = a[i] * b[i];
    break;
  case SCALAR_div:
    for (int i = 0; i < count; i++) out[i] = a[i] / b[i];
    break;
  default:
    for (int i = 0; i < count; i++) out[i] = scalar_real(kind, a[i], b[i]);
  }
}

static void run_scalar(const step *s, const lane *a, const lane *b, int count, lane *out) {
  if (!dtype_is_float(s->operand_dtype)) {
    for (int i = 0; i < count; i++)
      out->integer[i] = scalar_integer(s->scalar, s->operand_dtype, a->integer[i], b->integer[i]);
    return;
  }
  if (scalar_result(s->scalar, s->operand_dtype) == PINION_DTYPE_bool)
    for (int i = 0; i < count; i++) out->integer[i] = (int64_t)scalar_real(s->scalar, a->real[i], b->real[i]);
  else
    apply_real(s->scalar, a->real, b->real, count, out->real);
}

static void run_cast(runner *r, pinion_dtype from, pinion_dtype to, const lane *a, int count, lane *out) {
  bool as_double = to == PINION_DTYPE_f64 || r->precision == EVAL_FLOAT64;
  bool narrow = dtype_is_float(to) && r->precision == EVAL_AS_TYPED;
  for (int i = 0; i < count; i++) {
    if (!dtype_is_float(to))
      out->integer[i] = dtype_is_float(from) ? integer_from_real(to, a->real[i]) : integer_wrap(to, a->integer[i]);
    else if (!dtype_is_float(from)) /* straight to float, which is one rounding, not two */
      out->real[i] = as_double ? (double)a->integer[i] : (double)(float)a->integer[i];
    else
      out->real[i] = a->real[i];
    if (narrow) out->real[i] = real_round(to, out->real[i]);
  }
}

static void run_select(pinion_dtype dtype, const lane *condition, const lane *a, const lane *b, int count, lane *out) {
  for (int i = 0; i < count; i++)
    if (dtype_is_float(dtype))
      out->real[i] = condition->integer[i] ? a->real[i] : b->real[i];
    else
      out->integer[i] = condition->integer[i] ? a->integer[i] : b->integer[i];
}

static void run_const(const body_instruction *instruction, int count, lane *out) {
  double literal = instruction->operands[0].literal;
  for (int i = 0; i < count; i++)
    if (dtype_is_float(instruction->dtype))
      out->real[i] = real_round(instruction->dtype, literal);
    else
      out->integer[i] = (int64_t)literal;
}

static void run_instruction(runner *r, int index, int count) {
  const body_instruction *instruction = &r->body->instructions[index];
  const step *s = &r->steps[index];
  lane *out = &r->values[index];
  const lane *operands[3];
  for (int i = 0; i < 3; i++) /* a missing operand repeats the first, so that every function may read two */
    operands[i] = fetch(r, &instruction->operands[i < instruction->operand_count ? i : 0], i, s->operand_dtype, count);
  switch (s->kind) {
  case STEP_SCALAR: run_scalar(s, operands[0], operands[1], count, out); break;
  case STEP_SELECT: run_select(instruction->dtype, operands[0], operands[1], operands[2], count, out); break;
  case STEP_CAST: run_cast(r, s->operand_dtype, instruction->dtype, operands[0], count, out); break;
  case STEP_CONST: run_const(instruction, count, out); break;
  }
  bool is_single = dtype_is_float(instruction->dtype) && instruction->dtype != PINION_DTYPE_f64;
  if (is_single && r->precision != EVAL_FLOAT64)
    for (int i = 0; i < count; i++) out->real[i] = (float)out->real[i];
}

static void run_chunk(runner *r, const eval_walk *walk, int64_t first, int count, const eval_tensor *const *inputs,
                      eval_tensor *results) {
  const body *b = r->body;
  int row = walk->rank - 1;
  for (int i = 0; i < b->input_count; i++) {
    int64_t stride = walk->stride[i][row], start = walk->offset[i] + first * stride;
    if (inputs[i]->storage == EVAL_INTEGERS)
      eval_load_integers(inputs[i], start, stride, count, r->inputs[i].integer);
    else
      eval_load(inputs[i], start, stride, count, r->inputs[i].real);
  }
  for (int i = 0; i < b->instruction_count; i++) run_instruction(r, i, count);
  int64_t at = walk->offset[b->input_count] + first; /* results are row-major, and so are their rows */
  for (int i = 0; i < b->result_count; i++) {
    const lane *value = fetch(r, &b->results[i], 0, b->result_dtypes[i], count);
    if (results[i].storage == EVAL_INTEGERS)
      eval_store_integers(&results[i], at, 1, count, value->integer);
    else
      eval_store(r->precision, &results[i], at, 1, count, value->real);
  }
}

void eval_body(eval_precision precision, const body *b, const eval_tensor *const *inputs, eval_tensor *results) {
  const tensor_type *shape = &results[0].type;
  int64_t strides[PINION_MAX_RANK] = {0};
  runner *r = eval_scratch(1, sizeof *r);
  r->body = b;
  r->precision = precision;
  r->steps = eval_scratch(b->instruction_count, sizeof *r->steps);
  r->inputs = eval_scratch(b->input_count, sizeof *r->inputs);
  r->values = eval_scratch(b->instruction_count, sizeof *r->values);
  for (int i = 0; i < b->instruction_count; i++) r->steps[i] = decode(b, &b->instructions[i]);
  eval_walk walk = eval_walk_over(shape);
  for (int i = 0; i < b->input_count; i++) {
    eval_broadcast_strides(&inputs[i]->type, shape, strides);
    eval_walk_add(&walk, 0, strides);
  }
  eval_strides(shape, strides);
  if (shape->rank == 0) strides[0] = 1;
  eval_walk_add(&walk, 0, strides);
  for (eval_walk_begin(&walk); !walk.done; eval_walk_next(&walk)) {
    int64_t length = walk.size[walk.rank - 1];
    for (int64_t first = 0; first < length; first += CHUNK)
      run_chunk(r, &walk, first, (int)(length - first < CHUNK ? length - first : CHUNK), inputs, results);
  }
  free(r->steps);
  free(r->inputs);
  free(r->values);
  free(r);
}

/* ---- Ops of one instruction ---- */

static status eval_instruction(evaluation *e, MlirStringRef operation) {
  body *b = eval_scratch(1, sizeof *b);
  body_instruction *instruction = &b->instructions[0];
  snprintf(instruction->operation, sizeof instruction->operation, "%.*s", (int)operation.length, operation.data);
  b->input_count = instruction->operand_count = e->operand_count;
  for (int i = 0; i < e->operand_count; i++) {
    b->input_dtypes[i] = e->operands[i]->type.dtype;
    instruction->operands[i] = (body_operand){BODY_INPUT, i, 0};
  }
  b->instruction_count = b->result_count = 1;
  instruction->dtype = b->result_dtypes[0] = e->results[0].type.dtype;
  b->results[0] = (body_operand){BODY_VALUE, 0, 0};
  eval_body(e->session->precision, b, e->operands, e->results);
  free(b);
  return STATUS_OK;
}

status reference_unary(evaluation *e) {
  return eval_instruction(e, attr_str(e->op, "kind"));
}

status reference_binary(evaluation *e) {
  return eval_instruction(e, attr_str(e->op, "kind"));
}

status reference_select(evaluation *e) {
  return eval_instruction(e, mlirStringRefCreateFromCString("select"));
}

status reference_cast(evaluation *e) {
  return eval_instruction(e, mlirStringRefCreateFromCString("cast"));
}

/* ---- Pointwise ---- */

status eval_parse_body(const evaluation *e, int input_count, const pinion_dtype *inputs, body **out_body) {
  arena *reasons = arena_create();
  const char *why = "";
  status result = STATUS_OK;
  *out_body = eval_scratch(1, sizeof **out_body);
  MlirAttribute attribute = mlirOperationGetAttributeByName(e->op, mlirStringRefCreateFromCString("body"));
  if (!body_parse(reasons, attribute, input_count, inputs, *out_body, &why)) {
    result = eval_refuse(e, "body: %s", why);
    free(*out_body);
    *out_body = NULL;
  }
  arena_destroy(reasons);
  return result;
}

status reference_pointwise(evaluation *e) {
  pinion_dtype inputs[PINION_MAX_ARGS];
  body *b;
  for (int i = 0; i < e->operand_count; i++) inputs[i] = e->operands[i]->type.dtype;
  status result = eval_parse_body(e, e->operand_count, inputs, &b);
  if (result != STATUS_OK) return result;
  eval_body(e->session->precision, b, e->operands, e->results);
  free(b);
  return STATUS_OK;
}
