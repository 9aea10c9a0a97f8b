/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Merging ops of a block that compute the same. */
#include "graph.h"

#include <string.h>

/* Of two ops' attributes, those that must agree for the ops to compute the same: neither which ONNX value a result is,
   nor a weight's name. */
static bool attribute_counts(op_kind kind, MlirNamedAttribute attribute) {
  MlirStringRef name = mlirIdentifierStr(attribute.name);
  if (name.length != 4) return true;
  return memcmp(name.data, "onnx", 4) != 0 && (kind != OP_weight || memcmp(name.data, "name", 4) != 0);
}

/* ---- Weights are the same if their bytes are: exporters repeat a transposed weight for every step ---- */

/* The bytes of a weight, or NULL if its file is not at hand (then it is told by file and offset). */
static const uint8_t *weight_bytes(compilation *c, MlirOperation op, size_t *out_count) {
  tensor_type type;
  MlirStringRef file = attr_str(op, "file");
  const void *data = NULL;
  if (!value_type(mlirOperationGetResult(op, 0), &type) || file.length == 0 || file.data[0] == '@') return NULL;
  *out_count = (size_t)type_bytes(&type);
  weight_store_read(c->weights, NULL, arena_string(c->arena, file.data, file.length), /* others say what is missing */
                    (uint64_t)attr_i64(op, "offset", 0), *out_count, &data);
  return data;
}

/* The head of a weight: enough to tell almost all apart, at one page fault each instead of gigabytes. */
static uint64_t weight_fingerprint(const uint8_t *bytes, size_t count) {
  enum { SAMPLE_BYTES = 256 };
  uint64_t hash = hash_bytes(HASH_START, &count, sizeof count);
  return hash_bytes(hash, bytes, count < SAMPLE_BYTES ? count : SAMPLE_BYTES);
}

static bool weights_agree(compilation *c, MlirOperation a, MlirOperation b) {
  size_t count_a, count_b;
  const uint8_t *x = weight_bytes(c, a, &count_a), *y = weight_bytes(c, b, &count_b);
  if (!x || !y) return ops_attributes_agree(a, b);
  bool same = x == y || memcmp(x, y, count_a) == 0; /* of one type, hence of one size */
  weight_store_release(c->weights, x, count_a);
  weight_store_release(c->weights, y, count_b);
  return same;
}

/* ---- Any op ---- */

static uint64_t op_hash(compilation *c, MlirOperation op) {
  const op_kind kind = op_kind_of(op);
  if (kind == OP_weight) {
    size_t count;
    const uint8_t *bytes = weight_bytes(c, op, &count);
    if (bytes) return weight_fingerprint(bytes, count);
  }
  const void *name = mlirOperationGetName(op).ptr;
  uint64_t hash = hash_bytes(HASH_START, &name, sizeof name);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    const void *operand = mlirOperationGetOperand(op, i).ptr;
    hash = hash_bytes(hash, &operand, sizeof operand);
  }
  for (intptr_t i = 0, count = op_attribute_count(op); i < count; i++) {
    MlirNamedAttribute attribute = op_attribute(op, i);
    if (attribute_counts(kind, attribute))
      hash = hash_bytes(hash, &attribute.attribute.ptr, sizeof attribute.attribute.ptr);
  }
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++) {
    const void *type = mlirValueGetType(mlirOperationGetResult(op, i)).ptr;
    hash = hash_bytes(hash, &type, sizeof type);
  }
  return hash;
}

/* The next attribute that counts, from *at on; false past the last. */
static bool next_attribute(MlirOperation op, op_kind kind, intptr_t count, intptr_t *at,
                           MlirNamedAttribute *out_attribute) {
  while (*at < count) {
    *out_attribute = op_attribute(op, (*at)++);
    if (attribute_counts(kind, *out_attribute)) return true;
  }
  return false;
}

bool ops_attributes_agree(MlirOperation a, MlirOperation b) {
  const op_kind kind = op_kind_of(a);
  const intptr_t count_a = op_attribute_count(a), count_b = op_attribute_count(b);
  MlirNamedAttribute x, y;
  intptr_t at_a = 0, at_b = 0;
  for (;;) { /* a dictionary is sorted by name */
    bool more_a = next_attribute(a, kind, count_a, &at_a, &x), more_b = next_attribute(b, kind, count_b, &at_b, &y);
    if (!more_a || !more_b) return more_a == more_b;
    if (!mlirIdentifierEqual(x.name, y.name) || !mlirAttributeEqual(x.attribute, y.attribute)) return false;
  }
}

static bool ops_agree(compilation *c, MlirOperation a, MlirOperation b) {
  if (!mlirIdentifierEqual(mlirOperationGetName(a), mlirOperationGetName(b))) return false;
  if (mlirOperationGetNumOperands(a) != mlirOperationGetNumOperands(b)) return false;
  if (mlirOperationGetNumResults(a) != mlirOperationGetNumResults(b)) return false;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(a); i++)
    if (!mlirValueEqual(mlirOperationGetOperand(a, i), mlirOperationGetOperand(b, i))) return false;
  for (intptr_t i = 0; i < mlirOperationGetNumResults(a); i++)
    if (!mlirTypeEqual(mlirValueGetType(mlirOperationGetResult(a, i)), mlirValueGetType(mlirOperationGetResult(b, i))))
      return false;
  if (op_kind_of(a) == OP_weight) return weights_agree(c, a, b);
  return ops_attributes_agree(a, b);
}

/* The first of equal ops, and the locations of those merged into it. */
typedef struct common_op {
  MlirOperation op;
  uint64_t hash;
  MlirLocation *locations;
  size_t location_count, location_capacity;
} common_op;

static common_op *common_find(compilation *c, common_op **table, size_t capacity, MlirOperation op, uint64_t hash,
                              size_t *out_slot) {
  size_t slot = (size_t)hash & (capacity - 1);
  for (; table[slot]; slot = (slot + 1) & (capacity - 1))
    if (table[slot]->hash == hash && ops_agree(c, table[slot]->op, op)) break;
  *out_slot = slot;
  return table[slot];
}

static void common_add_location(arena *a, common_op *entry, MlirLocation location) {
  entry->locations = arena_grow(a, entry->locations, entry->location_count, &entry->location_capacity, sizeof location);
  entry->locations[entry->location_count++] = location;
}

int block_merge_common(pass_context *context, MlirBlock block) {
  compilation *c = context->compilation;
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  size_t capacity = 64;
  while (capacity < 2 * (size_t)ops.count) capacity *= 2;
  common_op **table = arena_alloc(a, capacity * sizeof *table);
  int merged = 0;
  for (int i = 0; i < ops.count; i++) {
    MlirOperation op = ops.ops[i];
    if (op_kind_of(op) == OP_NONE ? !op_is_named(op, "func.call") : op_level_of(op_kind_of(op)) == LEVEL_LAUNCH)
      continue;
    uint64_t hash = op_hash(c, op);
    size_t slot;
    common_op *first = common_find(c, table, capacity, op, hash, &slot);
    if (!first) {
      table[slot] = first = arena_alloc(a, sizeof *first);
      *first = (common_op){.op = op, .hash = hash};
      common_add_location(a, first, mlirOperationGetLocation(op));
      continue;
    }
    if (!pass_may_simplify(context, mlirOperationGetLocation(op))) continue;
    if (op_kind_of(op) != OP_constant) common_add_location(a, first, mlirOperationGetLocation(op));
    for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++)
      value_replace(mlirOperationGetResult(op, r), mlirOperationGetResult(first->op, r));
    op_erase(op);
    merged++;
  }
  for (size_t i = 0; i < capacity; i++)
    if (table[i] && table[i]->location_count > 1)
      mlirOperationSetLocation(table[i]->op,
                               location_fuse(c->context, (int)table[i]->location_count, table[i]->locations));
  arena_destroy(a);
  return merged;
}
