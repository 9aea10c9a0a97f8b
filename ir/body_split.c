/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What of a body depends on one input alone, as a body of its own. */
#include "body.h"

#include <string.h>

typedef struct splitter {
  const body *from;
  int input;
  bool ahead[BODY_MAX_INSTRUCTIONS];   /* depends on the input and literals alone */
  bool literal[BODY_MAX_INSTRUCTIONS]; /* on literals alone: may be on both sides */
  bool wanted[BODY_MAX_INSTRUCTIONS];  /* by the rest */
  int handed_over, uses_of_input; /* the value that the rest takes (-1: none yet, -2: several); its uses of the input */
} splitter;

static void classify(splitter *s) {
  for (int i = 0; i < s->from->instruction_count; i++) {
    const body_instruction *instruction = &s->from->instructions[i];
    s->ahead[i] = s->literal[i] = true;
    for (int k = 0; k < instruction->operand_count; k++) {
      const body_operand *operand = &instruction->operands[k];
      const bool is_value = operand->kind == BODY_VALUE, is_input = operand->kind == BODY_INPUT;
      s->literal[i] &= is_value ? s->literal[operand->index] : !is_input;
      s->ahead[i] &= is_value ? s->ahead[operand->index] : !is_input || operand->index == s->input;
    }
  }
}

/* The rest takes this operand. */
static void take(splitter *s, const body_operand *operand) {
  if (operand->kind == BODY_INPUT) s->uses_of_input += operand->index == s->input;
  if (operand->kind != BODY_VALUE) return;
  s->wanted[operand->index] = true;
  if (!s->ahead[operand->index] || s->literal[operand->index]) return;
  s->handed_over = s->handed_over == -1 || s->handed_over == operand->index ? operand->index : -2;
}

/* From the last instruction on, so that of literals those are known that the rest wants. */
static void find_handed_over(splitter *s) {
  const body *b = s->from;
  for (int i = 0; i < b->result_count; i++) take(s, &b->results[i]);
  for (int i = b->instruction_count - 1; i >= 0; i--) {
    if (s->ahead[i] && !(s->literal[i] && s->wanted[i])) continue;
    for (int k = 0; k < b->instructions[i].operand_count; k++) take(s, &b->instructions[i].operands[k]);
  }
}

/* Appends instruction i, its operands as `place` says where values are now. */
static void append(body *to, const body *from, int i, int *place, const body_operand *instead) {
  body_instruction *instruction = &to->instructions[to->instruction_count];
  *instruction = from->instructions[i];
  for (int k = 0; k < instruction->operand_count; k++) {
    body_operand *operand = &instruction->operands[k];
    if (operand->kind == BODY_VALUE && place[operand->index] < 0)
      *operand = *instead;
    else if (operand->kind == BODY_VALUE)
      operand->index = place[operand->index];
  }
  place[i] = to->instruction_count++;
}

static void make_ahead(const splitter *s, body *out) {
  const body *b = s->from;
  int place[BODY_MAX_INSTRUCTIONS];
  *out = (body){.input_count = 1, .input_dtypes = {b->input_dtypes[s->input]}, .result_count = 1};
  for (int i = 0; i <= s->handed_over; i++) {
    if (!s->ahead[i]) continue;
    append(out, b, i, place, NULL);
    body_instruction *instruction = &out->instructions[place[i]];
    for (int k = 0; k < instruction->operand_count; k++)
      if (instruction->operands[k].kind == BODY_INPUT) instruction->operands[k].index = 0;
  }
  out->results[0] = (body_operand){BODY_VALUE, place[s->handed_over], 0};
  out->result_dtypes[0] = b->instructions[s->handed_over].dtype;
}

static void make_rest(const splitter *s, body *out) {
  const body *b = s->from;
  const body_operand input = {BODY_INPUT, s->input, 0};
  int place[BODY_MAX_INSTRUCTIONS];
  *out = *b;
  out->instruction_count = 0;
  out->input_dtypes[s->input] = b->instructions[s->handed_over].dtype;
  for (int i = 0; i < b->instruction_count; i++) {
    place[i] = -1;
    if (!s->ahead[i] || (s->literal[i] && s->wanted[i])) append(out, b, i, place, &input);
  }
  for (int i = 0; i < b->result_count; i++)
    if (b->results[i].kind == BODY_VALUE) {
      const int now = place[b->results[i].index];
      out->results[i] = now < 0 ? input : (body_operand){BODY_VALUE, now, 0};
    }
}

bool body_split(body *b, int input, body *out_ahead) {
  const body whole = *b;
  splitter s = {.from = &whole, .input = input, .handed_over = -1};
  classify(&s);
  find_handed_over(&s);
  if (s.handed_over < 0 || s.uses_of_input) return false;
  if (!body_can_store(whole.instructions[s.handed_over].dtype, whole.input_dtypes[input])) return false;
  make_ahead(&s, out_ahead);
  make_rest(&s, b);
  return true;
}
