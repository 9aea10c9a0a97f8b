/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-pointwise: a tree of elementwise ops becomes one pinion.pointwise, one loop.
 *
 *   binary add (binary mul x s) (broadcast b)  ->  pointwise(x, b) {body = ["mul x0 0.5", "add v0 x1", "yield v1"]}
 *
 * Requires: equal ops merged.
 * Produces: pinion.pointwise with one result. Broadcasts become operands, constants with one number literals.
 * Breaks:   patterns of single elementwise ops, for passes that look for them.
 *
 * What depends on weights alone stays apart: outline-weights has it computed at compile time.
 * An op joins its user's tree if all its uses are in the tree, and it has the tree's shape or is cheap enough to be
 * computed again for each element. An op with users elsewhere is repeated only if it widens its operand, or if it is
 * cheap, elementwise ops alone read it, and its operands are smaller than its result, as of an angle for each position
 * and frequency: to read it costs more than to compute it. A bf16 or f16 value between two fused ops keeps its
 * rounding, as a cast in the body: what the fused loop computes is what the ops computed.
 */
#include "pointwise_body.h"

#include <stdlib.h>
#include <string.h>

enum { MAXIMUM_MEMBERS = 96 };

typedef struct tree {
  compilation *compilation;
  const pointer_map *positions;
  const bool *from_weights;               /* per position */
  MlirOperation members[MAXIMUM_MEMBERS]; /* the root first */
  int count;
} tree;

static bool is_member(const tree *t, MlirOperation op) {
  for (int i = 0; i < t->count; i++)
    if (mlirOperationEqual(t->members[i], op)) return true;
  return false;
}

static bool uses_are_members(const tree *t, MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (is_member(t, user)) continue;
    if (op_kind_of(user) != OP_broadcast || !uses_are_members(t, mlirOperationGetResult(user, 0))) return false;
  }
  return true;
}

static int64_t result_elements(MlirOperation op) {
  tensor_type type;
  return value_type(mlirOperationGetResult(op, 0), &type) ? type_elements(&type) : 0;
}

static bool widens(MlirOperation op) {
  tensor_type from, to;
  return op_kind_of(op) == OP_cast && value_type(mlirOperationGetOperand(op, 0), &from) &&
         value_type(mlirOperationGetResult(op, 0), &to) && pinion_dtype_size(from.dtype) <= pinion_dtype_size(to.dtype);
}

/* Whether the operands have less than half the elements of the result, which broadcasts them. */
static bool spreads(MlirOperation op) {
  int64_t read = 0;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    const tensor_type type = tensor_type_of(value_before_broadcast(mlirOperationGetOperand(op, i)));
    read += type_elements(&type);
  }
  return 2 * read < result_elements(op) && op_is_cheap(op) && elementwise_ops_read(mlirOperationGetResult(op, 0));
}

static bool may_join(const tree *t, MlirOperation op) {
  if (t->count == MAXIMUM_MEMBERS || !op_is_elementwise(op) || mlirOperationGetNumResults(op) != 1) return false;
  const int64_t at = pointer_map_get(t->positions, op.ptr);
  if (at < 0 || t->from_weights[at] || is_member(t, op)) return false;
  if (result_elements(op) != result_elements(t->members[0]) && !op_is_cheap(op)) return false;
  return uses_are_members(t, mlirOperationGetResult(op, 0)) || widens(op) || spreads(op);
}

/* The body of the tree as it stands; false if it is over a limit. */
static bool tree_body(const tree *t, pointwise_body *out_body) {
  MlirOperation sorted[MAXIMUM_MEMBERS];
  memcpy(sorted, t->members, (size_t)t->count * sizeof *sorted);
  for (int i = 1; i < t->count; i++) { /* insertion sort by position: operands before users */
    MlirOperation op = sorted[i];
    int k = i;
    for (; k > 0 && pointer_map_get(t->positions, sorted[k - 1].ptr) > pointer_map_get(t->positions, op.ptr); k--)
      sorted[k] = sorted[k - 1];
    sorted[k] = op;
  }
  pointwise_body_begin(out_body, t->compilation, PINION_MAX_ARGS - 1);
  for (int i = 0; i < t->count; i++)
    if (!pointwise_body_add(out_body, sorted[i], i == t->count - 1)) return false;
  return pointwise_body_end(out_body, mlirOperationGetResult(t->members[0], 0));
}

/* Lets one more op join, if the body stays within the limits. */
static bool grow_once(tree *t, pointwise_body *scratch, bool *refused) {
  for (int m = 0; m < t->count; m++) {
    MlirOperation member = t->members[m];
    for (intptr_t k = 0; k < mlirOperationGetNumOperands(member); k++) {
      MlirOperation producer = value_definition(value_before_broadcast(mlirOperationGetOperand(member, k)));
      if (mlirOperationIsNull(producer) || !may_join(t, producer)) continue;
      int64_t at = pointer_map_get(t->positions, producer.ptr);
      if (refused[at]) continue;
      t->members[t->count++] = producer;
      if (tree_body(t, scratch)) return true;
      t->count--;
      refused[at] = true;
    }
  }
  return false;
}

static status build_fused(pass_context *context, tree *t, pointwise_body *built) {
  compilation *c = context->compilation;
  MlirOperation root = t->members[0];
  builder b = builder_before(c, root);
  MlirLocation parts[MAXIMUM_MEMBERS];
  for (int i = 0; i < t->count; i++) parts[i] = mlirOperationGetLocation(t->members[t->count - 1 - i]);
  b.location = location_fuse(c->context, t->count, parts);
  if (!pass_may_rewrite(context, b.location)) return STATUS_OK;
  MlirNamedAttribute attribute = make_named(c->context, "body", body_attribute(c->context, &built->body));
  MlirType type = mlirValueGetType(mlirOperationGetResult(root, 0));
  MlirOperation fused = build_op(&b, OP_pointwise, built->body.input_count, built->inputs, 1, &attribute, 1, &type);
  if (mlirOperationIsNull(fused)) return STATUS_FAILED;
  op_copy_identity(root, fused);
  value_replace(mlirOperationGetResult(root, 0), mlirOperationGetResult(fused, 0));
  op_erase(root);
  context->changes++;
  return STATUS_OK;
}

/* Backwards, so that each tree is grown from its root; members die once their root is replaced. */
static status fuse_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  pointer_map positions = op_positions(a, &ops);
  const bool *from_weights = ops_from_weights(a, &ops, &positions);
  pointwise_body *built = arena_alloc(a, sizeof *built);
  bool *refused = arena_alloc(a, (size_t)ops.count);
  tree *t = arena_alloc(a, sizeof *t);
  status code = STATUS_OK;
  for (int i = ops.count - 1; i >= 0 && code == STATUS_OK; i--) {
    MlirOperation root = ops.ops[i];
    if (!op_is_elementwise(root) || from_weights[i] || mlirOperationGetNumResults(root) != 1) continue;
    if (value_is_unused(mlirOperationGetResult(root, 0))) {
      op_erase(root); /* joined a tree further down */
      continue;
    }
    *t = (tree){.compilation = context->compilation,
                .positions = &positions,
                .from_weights = from_weights,
                .members = {root},
                .count = 1};
    while (grow_once(t, built, refused)) continue;
    if (t->count > 1 && tree_body(t, built) && built->body.input_count > 0) code = build_fused(context, t, built);
    memset(refused, 0, (size_t)i + 1);
  }
  arena_destroy(a);
  if (code == STATUS_OK) block_erase_dead(block);
  return code;
}

status pass_fuse_pointwise(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
