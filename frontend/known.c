/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "known.h"

#include <stdlib.h>

#define KNOWN_MAX_OPERANDS 16

struct known_entry {
  const void *value; /* the MlirValue's pointer; NULL: a free slot */
  eval_tensor tensor;
};

static known_entry *find_entry(const known_values *known, const void *value) {
  uint64_t hash = (uint64_t)(uintptr_t)value * UINT64_C(0x9e3779b97f4a7c15);
  for (size_t slot = hash >> 32;; ++slot) {
    known_entry *entry = &known->entries[slot & (known->capacity - 1)];
    if (!entry->value || entry->value == value) return entry;
  }
}

const eval_tensor *known_find(const known_values *known, MlirValue value) {
  if (!known->capacity || mlirValueIsNull(value)) return NULL;
  known_entry *entry = find_entry(known, value.ptr);
  return entry->value ? &entry->tensor : NULL;
}

static void grow(known_values *known) {
  known_values larger = {.count = known->count, .capacity = known->capacity ? 2 * known->capacity : 1024};
  larger.entries = heap_alloc(larger.capacity, sizeof *larger.entries);
  for (size_t i = 0; i < known->capacity; ++i)
    if (known->entries[i].value) *find_entry(&larger, known->entries[i].value) = known->entries[i];
  free(known->entries);
  *known = larger;
}

static void insert(known_values *known, MlirValue value, eval_tensor tensor) {
  if (4 * (known->count + 1) > 3 * known->capacity) grow(known);
  *find_entry(known, value.ptr) = (known_entry){value.ptr, tensor};
  known->count++;
}

/* Parameters are no shapes: of what lies outside the IR only whole numbers are looked at. */
static bool is_worth_reading(op_kind kind, const tensor_type *type) {
  return kind == OP_constant || (kind == OP_weight && !dtype_is_float(type->dtype));
}

static void evaluate(compilation *c, known_values *known, MlirOperation op) {
  const eval_tensor *operands[KNOWN_MAX_OPERANDS];
  intptr_t count = mlirOperationGetNumOperands(op);
  if (count > KNOWN_MAX_OPERANDS || count == 0) return;
  for (intptr_t i = 0; i < count; ++i)
    if (!(operands[i] = known_find(known, mlirOperationGetOperand(op, i)))) return;
  eval_tensor result;
  if (eval_op(c, op, operands, EVAL_AS_TYPED, &result) == STATUS_OK)
    insert(known, mlirOperationGetResult(op, 0), result);
}

void known_add(compilation *c, known_values *known, MlirOperation op) {
  op_kind kind = op_kind_of(op);
  tensor_type type;
  if (kind == OP_NONE || mlirOperationGetNumResults(op) != 1) return;
  if (!value_type(mlirOperationGetResult(op, 0), &type) || type_elements(&type) > KNOWN_MAX_ELEMENTS) return;
  if (kind != OP_constant && kind != OP_weight) {
    evaluate(c, known, op);
    return;
  }
  eval_tensor tensor;
  if (!is_worth_reading(kind, &type)) return;
  const void *bytes = constant_bytes(c, op);
  if (bytes && eval_tensor_from_bytes(&type, bytes, EVAL_AS_TYPED, &tensor) == STATUS_OK)
    insert(known, mlirOperationGetResult(op, 0), tensor);
}

void known_free(known_values *known) {
  for (size_t i = 0; i < known->capacity; ++i)
    if (known->entries[i].value) eval_free(&known->entries[i].tensor);
  free(known->entries);
  *known = (known_values){0};
}
