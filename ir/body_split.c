/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What of a body depends on its last inputs alone, as a body of its own. */
#include "body.h"

#include <string.h>

typedef struct splitter {
  const body *from;
  int first;                               /* of the inputs */
  bool ahead[BODY_MAX_INSTRUCTIONS];       /* depends on the inputs and literals alone */
  bool literal[BODY_MAX_INSTRUCTIONS];     /* on literals alone: may be on both sides */
  bool wanted[BODY_MAX_INSTRUCTIONS];      /* by the rest */
  bool handed_over[BODY_MAX_INSTRUCTIONS]; /* wanted, and computed ahead */
  bool taken[PINION_MAX_ARGS];             /* an input, by the rest */
  int input_of[BODY_MAX_INSTRUCTIONS];     /* of a value that is handed over: the input whose place it takes */
} splitter;

static void classify(splitter *s) {
  for (int i = 0; i < s->from->instruction_count; i++) {
    const body_instruction *instruction = &s->from->instructions[i];
    s->ahead[i] = s->literal[i] = true;
    for (int k = 0; k < instruction->operand_count; k++) {
      const body_operand *operand = &instruction->operands[k];
      const bool is_value = operand->kind == BODY_VALUE, is_input = operand->kind == BODY_INPUT;
      s->literal[i] &= is_value ? s->literal[operand->index] : !is_input;
      s->ahead[i] &= is_value ? s->ahead[operand->index] : !is_input || operand->index >= s->first;
    }
  }
}

/* The rest takes this operand. */
static void take(splitter *s, const body_operand *operand) {
  if (operand->kind == BODY_INPUT) s->taken[operand->index] = true;
  if (operand->kind != BODY_VALUE) return;
  s->wanted[operand->index] = true;
  s->handed_over[operand->index] = s->ahead[operand->index] && !s->literal[operand->index];
}

static bool stays(const splitter *s, int i) {
  return !s->ahead[i] || (s->literal[i] && s->wanted[i]);
}

/* From the last instruction on, so that of literals those are known that the rest wants. */
static void find_handed_over(splitter *s) {
  const body *b = s->from;
  for (int i = 0; i < b->result_count; i++) take(s, &b->results[i]);
  for (int i = b->instruction_count - 1; i >= 0; i--)
    for (int k = 0; stays(s, i) && k < b->instructions[i].operand_count; k++) take(s, &b->instructions[i].operands[k]);
}

/* Each value that is handed over takes the place of an input that the rest does without; false if there are not as many
   such places, or none of these values. */
static bool find_places(splitter *s) {
  const body *b = s->from;
  bool any = false;
  int place = s->first;
  for (int i = 0; i < b->instruction_count; i++) {
    if (!s->handed_over[i]) continue;
    while (place < b->input_count && s->taken[place]) place++;
    if (place == b->input_count || !body_can_store(b->instructions[i].dtype, b->input_dtypes[place])) return false;
    s->input_of[i] = place++;
    any = true;
  }
  return any;
}

/* Appends instruction i; `place` says where values are now, -1 of one that is handed over. */
static void append(const splitter *s, int i, int *place, body *to) {
  body_instruction *instruction = &to->instructions[to->instruction_count];
  *instruction = s->from->instructions[i];
  for (int k = 0; k < instruction->operand_count; k++) {
    body_operand *operand = &instruction->operands[k];
    if (operand->kind == BODY_VALUE && place[operand->index] < 0)
      *operand = (body_operand){BODY_INPUT, s->input_of[operand->index], 0};
    else if (operand->kind == BODY_VALUE)
      operand->index = place[operand->index];
  }
  place[i] = to->instruction_count++;
}

/* The inputs as they are. */
static void begin_ahead(const splitter *s, body *out) {
  const body *b = s->from;
  memset(out, 0, sizeof *out);
  out->input_count = out->result_count = b->input_count - s->first;
  for (int j = 0; j < out->input_count; j++) {
    out->input_dtypes[j] = out->result_dtypes[j] = b->input_dtypes[s->first + j];
    out->results[j] = (body_operand){BODY_INPUT, j, 0};
  }
}

static void make_ahead(const splitter *s, body *out) {
  const body *b = s->from;
  int place[BODY_MAX_INSTRUCTIONS];
  for (int i = 0; i < b->instruction_count; i++) {
    if (!s->ahead[i]) continue;
    append(s, i, place, out);
    body_instruction *instruction = &out->instructions[place[i]];
    for (int k = 0; k < instruction->operand_count; k++)
      if (instruction->operands[k].kind == BODY_INPUT) instruction->operands[k].index -= s->first;
    if (!s->handed_over[i]) continue;
    out->results[s->input_of[i] - s->first] = (body_operand){BODY_VALUE, place[i], 0};
    out->result_dtypes[s->input_of[i] - s->first] = instruction->dtype;
  }
}

static void make_rest(const splitter *s, body *out) {
  const body *b = s->from;
  int place[BODY_MAX_INSTRUCTIONS];
  out->instruction_count = 0;
  for (int i = 0; i < b->instruction_count; i++) {
    place[i] = -1;
    if (stays(s, i)) append(s, i, place, out);
    if (s->handed_over[i]) out->input_dtypes[s->input_of[i]] = b->instructions[i].dtype;
  }
  for (int i = 0; i < b->result_count; i++)
    if (b->results[i].kind == BODY_VALUE) {
      const int value = b->results[i].index;
      out->results[i] = place[value] < 0 ? (body_operand){BODY_INPUT, s->input_of[value], 0}
                                         : (body_operand){BODY_VALUE, place[value], 0};
    }
}

bool body_split(body *b, int first, body *out_ahead) {
  const body whole = *b;
  splitter s = {.from = &whole, .first = first};
  begin_ahead(&s, out_ahead);
  classify(&s);
  find_handed_over(&s);
  if (!find_places(&s)) return false;
  make_ahead(&s, out_ahead);
  make_rest(&s, b);
  return true;
}
