/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A scalar body as C, for the cpu's vectorised loops and for CUDA alike: body.h lists what the prelude supplies. */
#include "body.h"
#include "scalar.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef enum compute_class { COMPUTE_FLOAT, COMPUTE_DOUBLE, COMPUTE_INTEGER } compute_class;

static compute_class class_of(pinion_dtype dtype) {
  if (dtype == PINION_DTYPE_f64) return COMPUTE_DOUBLE;
  return dtype_is_float(dtype) ? COMPUTE_FLOAT : COMPUTE_INTEGER;
}

static const char *c_type(pinion_dtype dtype) {
  static const char *const names[] = {"float", "double", "int64_t"};
  return names[class_of(dtype)];
}

static void literal_text(double value, pinion_dtype dtype, text *out) {
  compute_class class = class_of(dtype);
  if (class == COMPUTE_INTEGER) {
    text_append(out, "((int64_t)%" PRId64 "LL)", (int64_t)value);
  } else if (isnan(value)) {
    text_append(out, "PN_NAN");
  } else if (isinf(class == COMPUTE_FLOAT ? (float)value : value)) {
    text_append(out, value < 0 ? "(-PN_INFINITY)" : "PN_INFINITY");
  } else {
    text_append(out, class == COMPUTE_FLOAT ? "(%.9ef)" : "(%.17e)", class == COMPUTE_FLOAT ? (float)value : value);
  }
}

/* Name or literal of an operand, as C; `dtype` types a literal. */
static void operand_text(const body_operand *operand, pinion_dtype dtype, text *out) {
  if (operand->kind == BODY_LITERAL)
    literal_text(operand->literal, dtype, out);
  else
    text_append(out, "%c%d", operand->kind == BODY_INPUT ? 'x' : 'v', operand->index);
}

static pinion_dtype dtype_of(const body *b, const body_operand *operand) {
  return operand->kind == BODY_INPUT ? b->input_dtypes[operand->index] : b->instructions[operand->index].dtype;
}

/* The type that operands first .. are computed in: that of any which is no literal. */
static pinion_dtype operands_dtype(const body *b, const body_instruction *instruction, int first) {
  for (int i = first; i < instruction->operand_count; i++)
    if (instruction->operands[i].kind != BODY_LITERAL) return dtype_of(b, &instruction->operands[i]);
  return instruction->dtype;
}

/* How an operation reads in C: $a and $b are the operands. NULL: a call of pn_NAME. */
static const char *real_template(scalar_kind kind) {
  switch (kind) {
  case SCALAR_neg: return "-$a";
  case SCALAR_abs: return "($a < 0 ? -$a : $a) + 0"; /* + 0: of -0 it is 0 */
  case SCALAR_sign: return "$a != $a ? $a : ($a > 0) - ($a < 0)";
  case SCALAR_relu: return "$a < 0 ? 0 : $a";
  case SCALAR_reciprocal: return "1 / $a";
  case SCALAR_isnan: return "$a != $a";
  case SCALAR_add: return "$a + $b";
  case SCALAR_sub: return "$a - $b";
  case SCALAR_mul: return "$a * $b";
  case SCALAR_div: return "$a / $b";
  case SCALAR_min: return "(($a < $b) | ($a != $a)) ? $a : $b";
  case SCALAR_max: return "(($a > $b) | ($a != $a)) ? $a : $b";
  case SCALAR_eq: return "$a == $b";
  case SCALAR_ne: return "$a != $b";
  case SCALAR_lt: return "$a < $b";
  case SCALAR_le: return "$a <= $b";
  case SCALAR_gt: return "$a > $b";
  case SCALAR_ge: return "$a >= $b";
  default: return NULL;
  }
}

/* Arithmetic wraps in uint64_t, where overflow is defined. */
static const char *integer_template(scalar_kind kind) {
  switch (kind) {
  case SCALAR_neg: return "(int64_t)(0 - (uint64_t)$a)";
  case SCALAR_abs: return "$a < 0 ? (int64_t)(0 - (uint64_t)$a) : $a";
  case SCALAR_sign: return "($a > 0) - ($a < 0)";
  case SCALAR_relu: return "$a < 0 ? 0 : $a";
  case SCALAR_not: return "$a == 0";
  case SCALAR_add: return "(int64_t)((uint64_t)$a + (uint64_t)$b)";
  case SCALAR_sub: return "(int64_t)((uint64_t)$a - (uint64_t)$b)";
  case SCALAR_mul: return "(int64_t)((uint64_t)$a * (uint64_t)$b)";
  case SCALAR_div: return "$b == 0 ? 0 : $b == -1 ? (int64_t)(0 - (uint64_t)$a) : $a / $b";
  case SCALAR_mod: return "$b == 0 || $b == -1 ? 0 : $a % $b + ($a % $b != 0 && ($a % $b < 0) != ($b < 0) ? $b : 0)";
  case SCALAR_pow: return "pn_pow_i64($a, $b)";
  case SCALAR_min: return "$a < $b ? $a : $b";
  case SCALAR_max: return "$a > $b ? $a : $b";
  case SCALAR_and: return "$a & $b";
  case SCALAR_or: return "$a | $b";
  case SCALAR_xor: return "$a ^ $b";
  default: return real_template(kind); /* comparisons */
  }
}

static void expand(const char *template, const char *a, const char *b, text *out) {
  for (const char *at = template; *at; at++) {
    if (*at == '$')
      text_append(out, "%s", *++at == 'a' ? a : b);
    else
      text_append_bytes(out, at, 1);
  }
}

/* `int32_t` and the like: what an integer result is narrowed to; NULL where int64_t holds it. */
static const char *narrow_type(pinion_dtype dtype) {
  switch (dtype) {
  case PINION_DTYPE_i32: return "int32_t";
  case PINION_DTYPE_i16: return "int16_t";
  case PINION_DTYPE_i8: return "int8_t";
  case PINION_DTYPE_u32: return "uint32_t";
  case PINION_DTYPE_u16: return "uint16_t";
  case PINION_DTYPE_u8: return "uint8_t";
  default: return NULL;
  }
}

static void emit_scalar(const body_instruction *instruction, scalar_kind kind, pinion_dtype dtype, const char *a,
                        const char *b, text *out) {
  compute_class class = class_of(dtype);
  const char *template = class == COMPUTE_INTEGER ? integer_template(kind) : real_template(kind);
  const char *narrow = narrow_type(instruction->dtype);
  text_append(out, "(%s)(", narrow ? narrow : c_type(instruction->dtype));
  if (template)
    expand(template, a, b, out);
  else
    text_append(out, scalar_operand_count(kind) > 1 ? "pn_%s%s(%s, %s)" : "pn_%s%s(%s)", scalar_name(kind),
                class == COMPUTE_DOUBLE ? "_f64" : "", a, b);
  text_append(out, ")");
}

/* Float to integer: C leaves out-of-range values undefined, so they are caught first, and saturate; NaN is 0. */
static void emit_real_to_integer(pinion_dtype to, const char *a, text *out) {
  int64_t least, greatest;
  integer_range(to, &least, &greatest);
  /* -1 keeps the literal within int64_t: C has no negative literals. */
  text_append(out, "%s != %s ? 0 : %s <= %.1ff ? (int64_t)(%" PRId64 "LL - 1)", a, a, a, (double)least, least + 1);
  text_append(out, " : %s >= %.1ff ? (int64_t)%" PRId64 "LL : (int64_t)%s", a, (double)greatest, greatest, a);
}

static void emit_cast(pinion_dtype from, pinion_dtype to, const char *a, text *out) {
  const char *narrow = narrow_type(to);
  if (to == PINION_DTYPE_bool)
    text_append(out, "(int64_t)(%s != 0)", a);
  else if (to == PINION_DTYPE_bf16 || to == PINION_DTYPE_f16)
    text_append(out, "pn_round_%s((float)%s)", dtype_name(to), a);
  else if (dtype_is_float(to))
    text_append(out, "(%s)%s", c_type(to), a);
  else if (dtype_is_float(from))
    emit_real_to_integer(to, a, out);
  else
    text_append(out, "(int64_t)(%s)%s", narrow ? narrow : "int64_t", a);
}

static void emit_instruction(const body *b, int index, text *out) {
  const body_instruction *instruction = &b->instructions[index];
  bool is_select = strcmp(instruction->operation, "select") == 0;
  pinion_dtype dtype = operands_dtype(b, instruction, is_select);
  text operands[3] = {{0}, {0}, {0}};
  scalar_kind kind;
  for (int i = 0; i < instruction->operand_count; i++) operand_text(&instruction->operands[i], dtype, &operands[i]);
  text_append(out, "  const %s v%d = ", c_type(instruction->dtype), index);
  if (is_select)
    text_append(out, "%s ? %s : %s", operands[0].data, operands[1].data, operands[2].data);
  else if (strcmp(instruction->operation, "const") == 0)
    literal_text(real_round(instruction->dtype, instruction->operands[0].literal), instruction->dtype, out);
  else if (strcmp(instruction->operation, "cast") == 0)
    emit_cast(dtype, instruction->dtype, operands[0].data, out);
  else if (scalar_find(instruction->operation, strlen(instruction->operation), &kind))
    emit_scalar(instruction, kind, dtype, operands[0].data, operands[1].data, out);
  text_append(out, ";\n");
  for (int i = 0; i < 3; i++) text_free(&operands[i]);
}

void body_emit_c(const body *b, const char *name, text *out) {
  text_append(out, "static inline PN_DEVICE void %s(", name);
  for (int i = 0; i < b->input_count; i++) text_append(out, "%s x%d, ", c_type(b->input_dtypes[i]), i);
  for (int i = 0; i < b->result_count; i++)
    text_append(out, "%s *r%d%s", c_type(b->result_dtypes[i]), i, i + 1 < b->result_count ? ", " : ") {\n");
  for (int i = 0; i < b->input_count; i++) text_append(out, "  (void)x%d;\n", i);
  for (int i = 0; i < b->instruction_count; i++) emit_instruction(b, i, out);
  for (int i = 0; i < b->result_count; i++) {
    text_append(out, "  *r%d = ", i);
    operand_text(&b->results[i], b->result_dtypes[i], out);
    text_append(out, ";\n");
  }
  text_append(out, "}\n");
}
