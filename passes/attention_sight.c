/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Which query of an attention sees which key. */
#include "attention_sight.h"

#include <math.h>

attention_sight attention_sight_read(mask_values *m, MlirOperation attention) {
  tensor_type q = {0}, k = {0}, mask_type = {0};
  value_type(mlirOperationGetOperand(attention, 0), &q);
  value_type(mlirOperationGetOperand(attention, 1), &k);
  attention_sight s = {.queries = q.dims[2],
                       .keys = k.dims[2],
                       .batches = 1,
                       .heads = 1,
                       .causal = attr_bool(attention, "causal", false)};
  s.limit_count = attr_i64s(attention, "limits", s.limits, 5);
  MlirValue mask = op_operand(attention, "mask");
  if (mlirValueIsNull(mask) || !value_type(mask, &mask_type)) return s;
  const mask_tensor *known = mask_value(m, mask);
  s.masked = true;
  s.adds = mask_type.dtype != PINION_DTYPE_bool;
  s.elements = known ? known->elements : NULL;
  int64_t stride = 1;
  for (int d = mask_type.rank - 1; d >= 0; stride *= mask_type.dims[d--])
    if (mask_type.dims[d] != 1) s.stride[d + 4 - mask_type.rank] = stride;
  if (s.elements && s.stride[0]) s.batches = q.dims[0];
  if (s.elements && s.stride[1]) s.heads = q.dims[1];
  return s;
}

int64_t sight_visible_keys(const attention_sight *s, int64_t query) {
  int64_t visible = s->limit_count ? s->limits[0] : s->keys;
  for (int i = 1; i < s->limit_count; i += 2)
    if (query >= s->limits[i]) visible = s->limits[i + 1];
  const int64_t before = query + 1 + s->keys - s->queries;
  return s->causal && before < visible ? before : visible;
}

static const mask_element *element_at(const attention_sight *s, int64_t batch, int64_t head, int64_t query,
                                      int64_t key) {
  return &s->elements[batch * s->stride[0] + head * s->stride[1] + query * s->stride[2] + key * s->stride[3]];
}

static bool hides(const attention_sight *s, double number) {
  return s->adds ? number < MASK_HIDES_BELOW : number == 0;
}

static bool leaves(const attention_sight *s, double number) {
  return number == (s->adds ? 0 : 1);
}

condition sight_possible(const attention_sight *s, int64_t batch, int64_t head, int64_t query, int64_t key) {
  if (key >= sight_visible_keys(s, query)) return CONDITION_NEVER;
  if (!s->elements) return CONDITION_ALWAYS;
  const mask_element *e = element_at(s, batch, head, query, key);
  if (e->when == CONDITION_NEVER) return CONDITION_ALWAYS; /* unknown */
  const bool shown = !hides(s, e->then);
  if (e->when == CONDITION_ALWAYS) return shown ? CONDITION_ALWAYS : CONDITION_NEVER;
  if (!hides(s, e->otherwise)) return CONDITION_ALWAYS;
  return shown ? e->when : CONDITION_NEVER;
}

condition sight_certain(const attention_sight *s, int64_t batch, int64_t head, int64_t query, int64_t key) {
  if (key >= sight_visible_keys(s, query)) return CONDITION_NEVER;
  if (!s->masked) return CONDITION_ALWAYS;
  if (!s->elements) return CONDITION_NEVER;
  const mask_element *e = element_at(s, batch, head, query, key);
  if (e->when == CONDITION_NEVER || hides(s, e->then)) return CONDITION_NEVER;
  return e->when != CONDITION_ALWAYS && !hides(s, e->otherwise) ? CONDITION_ALWAYS : e->when;
}

bool sight_is_exact(const attention_sight *s, int64_t batch, int64_t head, int64_t query, int64_t key) {
  if (!s->masked || key >= sight_visible_keys(s, query)) return true;
  if (!s->elements) return false;
  const mask_element *e = element_at(s, batch, head, query, key);
  if (e->when == CONDITION_NEVER) return false;
  if (e->when == CONDITION_ALWAYS) return hides(s, e->then) || leaves(s, e->then);
  return (leaves(s, e->then) && hides(s, e->otherwise)) || (hides(s, e->then) && hides(s, e->otherwise));
}

bool sight_sees_a_key(const attention_sight *s, int64_t batch, int64_t head, int64_t query, condition given) {
  for (int64_t key = 0; key < s->keys; key++)
    if (condition_implies(given, sight_certain(s, batch, head, query, key))) return true;
  return false;
}

static bool hides_finitely(double number) {
  return number < MASK_HIDES_BELOW && !isinf(number);
}

bool sight_needs_a_key(const attention_sight *s) {
  if (!s->masked || !s->adds) return false;
  if (!s->elements) return true;
  for (int64_t b = 0; b < s->batches; b++)
    for (int64_t h = 0; h < s->heads; h++)
      for (int64_t q = 0; q < s->queries; q++)
        for (int64_t k = 0; k < s->keys; k++) {
          const mask_element *e = element_at(s, b, h, q, k);
          if (e->when == CONDITION_NEVER || hides_finitely(e->then) ||
              (e->when != CONDITION_ALWAYS && hides_finitely(e->otherwise)))
            return true;
        }
  return false;
}
