/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Scalar bodies: text to struct and back, and one element's evaluation. body_emit.c writes them as C. */
#include "body.h"
#include "scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Integer literals are held in a double. */
#define LARGEST_EXACT_INTEGER 9007199254740992.0

typedef struct parser {
  arena *arena;
  body *body;
  const char **out_why;
} parser;

/* A word of an instruction; `text` points into the attribute and does not end in NUL. */
typedef struct word {
  const char *text;
  size_t length;
} word;

static bool refuse(parser *p, const char *what, word at) {
  *p->out_why = arena_format(p->arena, "%s: '%.*s'", what, (int)at.length, at.text);
  return false;
}

static bool word_is(word w, const char *expected) {
  return strlen(expected) == w.length && memcmp(w.text, expected, w.length) == 0;
}

/* Splits at spaces; returns how many words there are, even beyond `capacity`. */
static int split_words(MlirStringRef line, word *out_words, int capacity) {
  int count = 0;
  for (size_t i = 0; i < line.length;) {
    size_t end = i;
    while (end < line.length && line.data[end] != ' ') end++;
    if (end > i && count++ < capacity) out_words[count - 1] = (word){line.data + i, end - i};
    i = end + 1;
  }
  return count;
}

static bool word_begins(word w, const char *prefix) {
  return w.length >= strlen(prefix) && memcmp(w.text, prefix, strlen(prefix)) == 0;
}

bool body_only_stores(MlirAttribute attribute) {
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAArray(attribute)) return false;
  for (intptr_t i = 0; i < mlirArrayAttrGetNumElements(attribute); i++) {
    word words[1 + PINION_MAX_ARGS];
    const int count =
        split_words(mlirStringAttrGetValue(mlirArrayAttrGetElement(attribute, i)), words, 1 + PINION_MAX_ARGS);
    if (count < 1 || count > 1 + PINION_MAX_ARGS) return false;
    if (!word_begins(words[0], "cast.") && !word_is(words[0], "yield")) return false;
    for (int k = 1; k < count; k++)
      if (words[k].text[0] != 'x' && words[k].text[0] != 'v') return false; /* a literal */
  }
  return true;
}

/* What the operation is computed in: all small floats in f32. */
static pinion_dtype compute_dtype(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_bf16 || dtype == PINION_DTYPE_f16 ? PINION_DTYPE_f32 : dtype;
}

bool body_can_store(pinion_dtype from, pinion_dtype to) {
  return compute_dtype(from) == compute_dtype(to);
}

/* "x3", "v12": the index, or -1. */
static int parse_index(word w) {
  if (w.length < 2 || w.length > 5) return -1;
  int index = 0;
  for (size_t i = 1; i < w.length; i++) {
    if (w.text[i] < '0' || w.text[i] > '9') return -1;
    index = index * 10 + (w.text[i] - '0');
  }
  return index;
}

static bool parse_literal(word w, double *out_value) {
  char digits[64], *end;
  if (w.length == 0 || w.length >= sizeof digits) return false;
  memcpy(digits, w.text, w.length);
  digits[w.length] = '\0';
  *out_value = strtod(digits, &end);
  return *end == '\0';
}

static bool parse_operand(parser *p, word w, body_operand *out_operand) {
  int index = parse_index(w);
  if (w.text[0] == 'x' && index >= 0) {
    if (index >= p->body->input_count) return refuse(p, "there is no such input", w);
    *out_operand = (body_operand){BODY_INPUT, index, 0};
    return true;
  }
  if (w.text[0] == 'v' && index >= 0) {
    if (index >= p->body->instruction_count) return refuse(p, "there is no such earlier value", w);
    *out_operand = (body_operand){BODY_VALUE, index, 0};
    return true;
  }
  *out_operand = (body_operand){BODY_LITERAL, 0, 0};
  return parse_literal(w, &out_operand->literal) || refuse(p, "not an input, a value or a number", w);
}

static pinion_dtype operand_dtype(const body *b, const body_operand *operand) {
  return operand->kind == BODY_INPUT ? b->input_dtypes[operand->index] : b->instructions[operand->index].dtype;
}

/* An integer literal must be a whole number that a double holds, and a bool one 0 or 1. */
static bool literal_fits(double literal, pinion_dtype dtype) {
  if (dtype_is_float(dtype)) return true;
  int64_t least, greatest;
  integer_range(dtype, &least, &greatest);
  return fabs(literal) <= LARGEST_EXACT_INTEGER && literal == trunc(literal) && literal >= (double)least &&
         literal <= (double)greatest;
}

/* The common type of operands first .. count, literals aside: equal, or f32 if they are small floats that differ. */
static bool common_dtype(parser *p, const body_instruction *instruction, int first, word at, pinion_dtype *out_dtype) {
  bool known = false;
  for (int i = first; i < instruction->operand_count; i++) {
    if (instruction->operands[i].kind == BODY_LITERAL) continue;
    pinion_dtype dtype = operand_dtype(p->body, &instruction->operands[i]);
    if (known && !body_can_store(dtype, *out_dtype)) return refuse(p, "operands of different types, cast one", at);
    *out_dtype = known && dtype != *out_dtype ? PINION_DTYPE_f32 : dtype;
    known = true;
  }
  if (!known) return refuse(p, "literals alone have no type, use const.TYPE", at);
  for (int i = first; i < instruction->operand_count; i++)
    if (instruction->operands[i].kind == BODY_LITERAL && !literal_fits(instruction->operands[i].literal, *out_dtype))
      return refuse(p, "a literal does not fit the other operand's type", at);
  return true;
}

static bool infer_select(parser *p, body_instruction *instruction, word at) {
  const body_operand *condition = &instruction->operands[0];
  if (instruction->operand_count != 3) return refuse(p, "takes three operands", at);
  if (condition->kind == BODY_LITERAL || operand_dtype(p->body, condition) != PINION_DTYPE_bool)
    return refuse(p, "the condition is not a bool", at);
  return common_dtype(p, instruction, 1, at, &instruction->dtype);
}

static bool infer_scalar(parser *p, body_instruction *instruction, word at) {
  scalar_kind kind;
  pinion_dtype dtype;
  if (!scalar_find(at.text, at.length, &kind)) return refuse(p, "no such operation", at);
  if (instruction->operand_count != scalar_operand_count(kind)) return refuse(p, "wrong number of operands", at);
  if (!common_dtype(p, instruction, 0, at, &dtype)) return false;
  if (!scalar_accepts(kind, dtype)) {
    *p->out_why = arena_format(p->arena, "%s does not take %s", scalar_name(kind), dtype_name(dtype));
    return false;
  }
  instruction->dtype = scalar_result(kind, compute_dtype(dtype));
  return true;
}

/* cast.TYPE and const.TYPE */
static bool infer_typed(parser *p, body_instruction *instruction, word at, word type) {
  char name[16] = "";
  if (type.length < sizeof name) memcpy(name, type.text, type.length);
  if (!dtype_from_name(name, &instruction->dtype)) return refuse(p, "no such type", type);
  bool is_const = word_is(at, "const"), is_literal = instruction->operands[0].kind == BODY_LITERAL;
  if (!is_const && !word_is(at, "cast")) return refuse(p, "takes no type", at);
  if (instruction->operand_count != 1) return refuse(p, "takes one operand", at);
  if (is_const != is_literal) return refuse(p, is_const ? "takes a literal" : "takes no literal", at);
  return !is_const || literal_fits(instruction->operands[0].literal, instruction->dtype) ||
         refuse(p, "the literal does not fit its type", type);
}

static bool parse_instruction(parser *p, const word *words, int count) {
  body *b = p->body;
  word name = words[0], type = {NULL, 0};
  const char *dot = memchr(name.text, '.', name.length);
  if (dot) {
    type = (word){dot + 1, name.length - (size_t)(dot + 1 - name.text)};
    name.length = (size_t)(dot - name.text);
  }
  body_instruction instruction = {.operand_count = count - 1};
  if (count < 2 || count > 4) return refuse(p, "wrong number of operands", name);
  if (b->instruction_count == BODY_MAX_INSTRUCTIONS) return refuse(p, "too many instructions", name);
  if (name.length >= sizeof instruction.operation) return refuse(p, "no such operation", name);
  memcpy(instruction.operation, name.text, name.length);
  for (int i = 1; i < count; i++)
    if (!parse_operand(p, words[i], &instruction.operands[i - 1])) return false;
  bool typed = type.text                 ? infer_typed(p, &instruction, name, type)
               : word_is(name, "select") ? infer_select(p, &instruction, name)
                                         : infer_scalar(p, &instruction, name);
  if (typed) b->instructions[b->instruction_count++] = instruction;
  return typed;
}

static bool parse_yield(parser *p, const word *words, int count) {
  body *b = p->body;
  if (count < 2 || count > PINION_MAX_ARGS + 1) return refuse(p, "wrong number of results", words[0]);
  for (int i = 1; i < count; i++) {
    if (!parse_operand(p, words[i], &b->results[i - 1])) return false;
    if (b->results[i - 1].kind == BODY_LITERAL) return refuse(p, "a literal has no type, use const.TYPE", words[i]);
    b->result_dtypes[i - 1] = operand_dtype(b, &b->results[i - 1]);
  }
  b->result_count = count - 1;
  return true;
}

bool body_parse(arena *a, MlirAttribute attribute, int input_count, const pinion_dtype *input_dtypes, body *out_body,
                const char **out_why) {
  parser p = {a, out_body, out_why};
  memset(out_body, 0, sizeof *out_body);
  if (input_count > PINION_MAX_ARGS) return *out_why = "a body has at most 16 inputs", false;
  out_body->input_count = input_count;
  if (input_count) memcpy(out_body->input_dtypes, input_dtypes, (size_t)input_count * sizeof *input_dtypes);
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAArray(attribute))
    return *out_why = "the body is not an array of strings", false;
  intptr_t lines = mlirArrayAttrGetNumElements(attribute);
  for (intptr_t i = 0; i < lines; i++) {
    MlirAttribute line = mlirArrayAttrGetElement(attribute, i);
    if (!mlirAttributeIsAString(line)) return *out_why = "the body is not an array of strings", false;
    word words[PINION_MAX_ARGS + 1];
    int count = split_words(mlirStringAttrGetValue(line), words, PINION_MAX_ARGS + 1);
    if (count == 0) return *out_why = "the body has an empty instruction", false;
    if (word_is(words[0], "yield")) {
      if (i != lines - 1) return *out_why = "yield is not the body's last instruction", false;
      return parse_yield(&p, words, count);
    }
    if (!parse_instruction(&p, words, count)) return false;
  }
  return *out_why = "the body does not end in yield", false;
}

/* The shortest decimal that reads back as the same double. */
static void print_literal(text *t, double literal) {
  char digits[40];
  if (isnan(literal)) {
    text_append(t, " nan");
    return;
  }
  for (int precision = 1; precision <= 17; precision++) {
    snprintf(digits, sizeof digits, "%.*g", precision, literal);
    if (strtod(digits, NULL) == literal) break;
  }
  text_append(t, " %s", digits);
}

static void print_operand(text *t, const body_operand *operand) {
  if (operand->kind == BODY_LITERAL)
    print_literal(t, operand->literal);
  else
    text_append(t, " %c%d", operand->kind == BODY_INPUT ? 'x' : 'v', operand->index);
}

static MlirAttribute print_line(MlirContext context, text *line) {
  MlirAttribute attribute = mlirStringAttrGet(context, mlirStringRefCreate(line->data, line->length));
  text_free(line);
  return attribute;
}

MlirAttribute body_attribute(MlirContext context, const body *b) {
  MlirAttribute lines[BODY_MAX_INSTRUCTIONS + 1];
  for (int i = 0; i < b->instruction_count; i++) {
    const body_instruction *instruction = &b->instructions[i];
    bool typed = strcmp(instruction->operation, "cast") == 0 || strcmp(instruction->operation, "const") == 0;
    text line = {0};
    text_append(&line, "%s%s%s", instruction->operation, typed ? "." : "", typed ? dtype_name(instruction->dtype) : "");
    for (int k = 0; k < instruction->operand_count; k++) print_operand(&line, &instruction->operands[k]);
    lines[i] = print_line(context, &line);
  }
  text line = {0};
  text_append(&line, "yield");
  for (int i = 0; i < b->result_count; i++) print_operand(&line, &b->results[i]);
  lines[b->instruction_count] = print_line(context, &line);
  return mlirArrayAttrGet(context, b->instruction_count + 1, lines);
}

static double convert_scalar(pinion_dtype from, pinion_dtype to, double value) {
  if (dtype_is_float(to)) return real_round(to, value);
  return dtype_is_float(from) || to == PINION_DTYPE_bool ? (double)integer_from_real(to, value)
                                                         : (double)integer_wrap(to, (int64_t)value);
}

double body_scalar(const char *operation, pinion_dtype dtype, const double *operands) {
  scalar_kind kind;
  pinion_dtype to;
  if (strcmp(operation, "select") == 0) return operands[0] != 0 ? operands[1] : operands[2];
  if (strncmp(operation, "cast.", 5) == 0 && dtype_from_name(operation + 5, &to))
    return convert_scalar(dtype, to, operands[0]);
  if (!scalar_find(operation, strlen(operation), &kind)) return NAN;
  double second = scalar_operand_count(kind) > 1 ? operands[1] : 0;
  if (dtype_is_float(dtype)) return scalar_real(kind, operands[0], second);
  return (double)scalar_integer(kind, dtype, (int64_t)operands[0], (int64_t)second);
}
