/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The simultaneous backward match of N copies: see match_copies.h. */
#include "match_copies.h"

#include <stdlib.h>
#include <string.h>

/* Tuples by the hash of all their values. */
typedef struct tuple_table {
  int *slots; /* tuple + 1; 0 is empty */
  size_t capacity;
} tuple_table;

typedef struct matcher {
  const match_graph *graph;
  const MlirValue *carried;
  copy_match *match;
  tuple_table table;
} matcher;

bool op_is_contraction(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  return kind == OP_matmul || kind == OP_conv || kind == OP_gemm || kind == OP_attention;
}

static bool same_values(const MlirValue *a, const MlirValue *b, int count) {
  return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static size_t tuple_slot(const matcher *m, const MlirValue *values) {
  int copies = m->match->copies;
  uint64_t hash = hash_bytes(HASH_START, values, (size_t)copies * sizeof *values);
  size_t slot = (size_t)(hash ^ hash >> 32) & (m->table.capacity - 1);
  while (m->table.slots[slot] && !same_values(m->match->tuples[m->table.slots[slot] - 1].values, values, copies))
    slot = (slot + 1) & (m->table.capacity - 1);
  return slot;
}

static void tuple_table_grow(matcher *m) {
  m->table.capacity = m->table.capacity ? 2 * m->table.capacity : 32;
  m->table.slots = arena_alloc(m->graph->arena, m->table.capacity * sizeof *m->table.slots);
  for (int i = 0; i < m->match->tuple_count; i++) m->table.slots[tuple_slot(m, m->match->tuples[i].values)] = i + 1;
}

/* The tuple's index; adds it if it is new. */
static int tuple_add(matcher *m, const MlirValue *values) {
  copy_match *match = m->match;
  if (2 * ((size_t)match->tuple_count + 1) > m->table.capacity) tuple_table_grow(m);
  size_t slot = tuple_slot(m, values);
  if (m->table.slots[slot]) return m->table.slots[slot] - 1;
  size_t capacity = (size_t)match->tuple_capacity;
  match->tuples =
      arena_grow(m->graph->arena, match->tuples, (size_t)match->tuple_count, &capacity, sizeof *match->tuples);
  match->tuple_capacity = (int)capacity;
  match->tuples[match->tuple_count] = (copy_tuple){
      .values = arena_copy(m->graph->arena, values, (size_t)match->copies * sizeof *values), .position = -1};
  m->table.slots[slot] = ++match->tuple_count;
  return match->tuple_count - 1;
}

static bool mismatch(matcher *m, const copy_tuple *tuple, int copy, const char *why) {
  m->match->mismatch[0] = tuple->values[0];
  m->match->mismatch[1] = tuple->values[copy];
  m->match->why = arena_format(m->graph->arena, "copy 1 and copy %d differ: %s", copy + 1, why);
  return false;
}

static bool is_constant_or_weight(MlirValue value) {
  return !mlirOperationIsNull(value_defined_by(value, OP_constant)) ||
         !mlirOperationIsNull(value_defined_by(value, OP_weight));
}

static bool tuple_is_table(const copy_tuple *tuple, int copies) {
  MlirType type = mlirValueGetType(tuple->values[0]);
  for (int s = 0; s < copies; s++)
    if (!is_constant_or_weight(tuple->values[s]) || !mlirTypeEqual(mlirValueGetType(tuple->values[s]), type))
      return false;
  return true;
}

static bool tuple_is_invariant(const copy_tuple *tuple, int copies) {
  for (int s = 1; s < copies; s++)
    if (!mlirValueEqual(tuple->values[s], tuple->values[0])) return false;
  return true;
}

/* NULL if the ops are the same but for their operands, else how they differ. */
static const char *ops_difference(MlirOperation a, MlirOperation b) {
  if (!mlirIdentifierEqual(mlirOperationGetName(a), mlirOperationGetName(b))) return "different ops";
  if (mlirOperationGetNumOperands(a) != mlirOperationGetNumOperands(b)) return "different numbers of operands";
  if (mlirOperationGetNumResults(a) != mlirOperationGetNumResults(b)) return "different numbers of results";
  for (intptr_t i = 0; i < mlirOperationGetNumResults(a); i++)
    if (!mlirTypeEqual(mlirValueGetType(mlirOperationGetResult(a, i)), mlirValueGetType(mlirOperationGetResult(b, i))))
      return "different result types";
  if (!ops_attributes_agree(a, b)) return "different attributes";
  return NULL;
}

static bool tuple_match_ops(matcher *m, int index) {
  const copy_tuple tuple = m->match->tuples[index]; /* a copy: adding tuples moves the array */
  int copies = m->match->copies;
  if (!mlirValueIsAOpResult(tuple.values[0])) return mismatch(m, &tuple, 1, "an argument of the function");
  MlirOperation first = mlirOpResultGetOwner(tuple.values[0]);
  if (is_constant_or_weight(tuple.values[0]))
    return mismatch(m, &tuple, 1, "a constant in one copy alone, or its type");
  for (int s = 1; s < copies; s++) {
    if (!mlirValueIsAOpResult(tuple.values[s])) return mismatch(m, &tuple, s, "an argument of the function");
    const char *why = ops_difference(first, mlirOpResultGetOwner(tuple.values[s]));
    if (!why && mlirOpResultGetResultNumber(tuple.values[s]) != mlirOpResultGetResultNumber(tuple.values[0]))
      why = "different results of one op";
    if (why) return mismatch(m, &tuple, s, why);
  }
  int operand_count = (int)mlirOperationGetNumOperands(first);
  int *operands = arena_alloc(m->graph->arena, (size_t)(operand_count + 1) * sizeof *operands);
  MlirValue *values = arena_alloc(m->graph->arena, (size_t)copies * sizeof *values);
  for (int k = 0; k < operand_count; k++) {
    for (int s = 0; s < copies; s++) values[s] = mlirOperationGetOperand(mlirOpResultGetOwner(tuple.values[s]), k);
    operands[k] = tuple_add(m, values);
  }
  copy_tuple *place = &m->match->tuples[index];
  place->kind = TUPLE_OPS;
  place->operands = operands;
  place->operand_count = operand_count;
  place->position = pointer_map_get(m->graph->positions, first.ptr);
  return true;
}

static bool tuple_classify(matcher *m, int index) {
  copy_tuple *tuple = &m->match->tuples[index];
  int copies = m->match->copies;
  if (same_values(tuple->values, m->carried, copies))
    tuple->kind = TUPLE_CARRIED;
  else if (tuple_is_invariant(tuple, copies))
    tuple->kind = TUPLE_INVARIANT;
  else if (tuple_is_table(tuple, copies))
    tuple->kind = TUPLE_TABLE;
  else
    return tuple_match_ops(m, index);
  tuple->varies = tuple->kind != TUPLE_INVARIANT;
  return true;
}

typedef struct placed_tuple {
  int64_t position;
  int index;
} placed_tuple;

static int compare_placed(const void *a, const void *b) {
  const placed_tuple *x = a, *y = b;
  if (x->position != y->position) return x->position < y->position ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

/* Operands before users: an operand's first op stands before its user's first op. What turns out not to vary is
   computed alike in every copy, so the first copy's value serves all. */
static void order_tuples(arena *a, copy_match *match) {
  placed_tuple *placed = arena_alloc(a, (size_t)match->tuple_count * sizeof *placed);
  int count = 0;
  for (int i = 0; i < match->tuple_count; i++)
    if (match->tuples[i].kind == TUPLE_OPS) placed[count++] = (placed_tuple){match->tuples[i].position, i};
  qsort(placed, (size_t)count, sizeof *placed, compare_placed);
  match->ordered = arena_alloc(a, (size_t)(count + 1) * sizeof *match->ordered);
  for (int i = 0; i < count; i++) {
    copy_tuple *tuple = &match->tuples[placed[i].index];
    for (int k = 0; k < tuple->operand_count; k++) tuple->varies |= match->tuples[tuple->operands[k]].varies;
    if (tuple->varies)
      match->ordered[match->ordered_count++] = placed[i].index;
    else
      tuple->kind = TUPLE_INVARIANT;
  }
}

bool copies_match(const match_graph *graph, int copies, const MlirValue *carried, int result_count,
                  const MlirValue *results, copy_match *out_match) {
  *out_match = (copy_match){.copies = copies};
  matcher m = {.graph = graph, .carried = carried, .match = out_match};
  for (int r = 0; r < result_count; r++) tuple_add(&m, results + (size_t)r * (size_t)copies);
  for (int i = 0; i < out_match->tuple_count; i++) { /* grows as operands are met */
    if (i > graph->ops->count) {                     /* more tuples than ops: not copies, but a coincidence */
      out_match->why = "the copies share too little";
      return false;
    }
    if (!tuple_classify(&m, i)) return false;
  }
  order_tuples(graph->arena, out_match);
  return true;
}

int copy_match_find(const copy_match *match, const MlirValue *values) {
  for (int i = 0; i < match->tuple_count; i++)
    if (same_values(match->tuples[i].values, values, match->copies)) return i;
  return -1;
}

void copies_set_identity(compilation *c, arena *a, const copy_match *match, const copy_tuple *tuple, MlirOperation op) {
  MlirAttribute *names = arena_alloc(a, (size_t)match->copies * sizeof *names);
  for (int s = 0; s < match->copies; s++) {
    MlirStringRef name = attr_str(mlirOpResultGetOwner(tuple->values[s]), "onnx");
    names[s] = mlirStringAttrGet(c->context, name);
  }
  if (attr_str(mlirOpResultGetOwner(tuple->values[0]), "onnx").length > 0)
    mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("onnx"),
                                    mlirArrayAttrGet(c->context, match->copies, names));
}

MlirLocation copies_location(compilation *c, arena *a, const copy_match *match, const copy_tuple *tuple) {
  MlirLocation *parts = arena_alloc(a, (size_t)match->copies * sizeof *parts);
  for (int s = 0; s < match->copies; s++) parts[s] = mlirOperationGetLocation(mlirOpResultGetOwner(tuple->values[s]));
  return location_fuse(c->context, match->copies, parts);
}
