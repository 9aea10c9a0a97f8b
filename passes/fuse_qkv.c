/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-qkv: matmuls of one input by several weights become one matmul by the weights side by side.
 *
 *   matmul(x, Q) + q, matmul(x, K) + k, matmul(x, V) + v
 *     becomes   y = matmul(x, concat(Q, K, V)) + concat(q, k, v),  slice y, slice y, slice y
 *
 * Requires: nothing. Produces: core ops; outline-weights has the joined weights computed at compile time, the slices
 * are views when lowered. Breaks: nothing: each result keeps its bits and its identity.
 *
 * What all of them add, or some multiply by, goes along if it is a row of weights and read by nothing else: the others
 * are multiplied by 1, which is exact. So does what all of them are cast to. Nothing but the shared input makes matmuls
 * siblings: head counts may differ.
 *
 * A part of a product cannot take an epilogue, or be written to a place of its own: a part whose only reader is
 * elementwise, and one that a concatenation, a call or a return wants, each cost a launch. The pass fires where there
 * are fewer launches with that than without; and where a part is rotated, because fuse-rope-kv then gives all of them
 * places of their own. Gate and up, which meet in one product, hence stay two.
 */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

typedef struct sibling {
  MlirOperation matmul;
  MlirValue value; /* its result, or what was made of that by the rows that were taken along */
  int64_t columns;
} sibling;

typedef struct fusion {
  pass_context *context;
  arena *arena;
  op_list ops;
  pointer_map positions;
  bool *from_weights;
  bool *taken;    /* per op: a matmul that has been looked at */
  cloner weights; /* puts clones of weights at the block's head, where every op can use them */
  sibling *group;
  int count;
} fusion;

/* ---- Which matmuls are siblings ---- */

static bool is_weight(const fusion *f, MlirValue value) {
  int64_t at = value_position(&f->positions, value);
  return at >= 0 && f->from_weights[at];
}

/* A product of an activation [.., k] and a weight [k, n]. */
static bool is_projection(const fusion *f, MlirOperation op) {
  tensor_type b;
  return op_kind_of(op) == OP_matmul && !is_weight(f, mlirOperationGetOperand(op, 0)) &&
         is_weight(f, mlirOperationGetOperand(op, 1)) && value_type(mlirOperationGetOperand(op, 1), &b) && b.rank == 2;
}

/* The projections of `first`'s input that can join it, in order. */
static void find_group(fusion *f, int first) {
  MlirValue input = mlirOperationGetOperand(f->ops.ops[first], 0);
  tensor_type product, type;
  value_type(mlirOperationGetResult(f->ops.ops[first], 0), &product);
  f->count = 0;
  for (int i = first; i < f->ops.count; i++) {
    MlirOperation op = f->ops.ops[i];
    if (f->taken[i] || !is_projection(f, op) || !mlirValueEqual(mlirOperationGetOperand(op, 0), input)) continue;
    value_type(mlirOperationGetResult(op, 0), &type);
    if (type.dtype != product.dtype) continue;
    value_type(mlirOperationGetOperand(op, 1), &type);
    f->group[f->count++] = (sibling){op, mlirOperationGetResult(op, 0), type.dims[1]};
    f->taken[i] = true;
  }
}

/* ---- Rows of weights that go along ---- */

/* A weight that broadcasts along all dimensions of `value` but the last. */
static bool is_row(const fusion *f, MlirValue weight, MlirValue value) {
  tensor_type row, type;
  if (!is_weight(f, weight) || !value_type(weight, &row) || !value_type(value, &type)) return false;
  if (row.rank > type.rank || row.dtype != type.dtype) return false;
  for (int d = 0; d < row.rank - 1; d++)
    if (row.dims[d] != 1) return false;
  return row.rank == 0 || row.dims[row.rank - 1] == 1 || row.dims[row.rank - 1] == type.dims[type.rank - 1];
}

static MlirOperation only_user(MlirValue value) {
  return value_has_one_use(value) ? mlirOpOperandGetOwner(mlirValueGetFirstUse(value)) : (MlirOperation){0};
}

/* The row that `value` alone is added to or multiplied by, next; null if there is none. */
static MlirValue next_row(const fusion *f, MlirValue value, const char *kind) {
  MlirOperation user = only_user(value);
  if (mlirOperationIsNull(user) || op_kind_of(user) != OP_binary || !attr_str_is(user, "kind", kind))
    return (MlirValue){0};
  bool first = mlirValueEqual(mlirOperationGetOperand(user, 0), value);
  MlirValue other = mlirOperationGetOperand(user, first ? 1 : 0);
  return is_row(f, other, value) ? other : (MlirValue){0};
}

static int rows_of(const fusion *f, const char *kind, MlirValue *out_rows) {
  int found = 0;
  for (int i = 0; i < f->count; i++) {
    out_rows[i] = next_row(f, f->group[i].value, kind);
    found += !mlirValueIsNull(out_rows[i]);
  }
  return found;
}

/* Whether a cast to one type is all that reads each sibling. */
static bool all_are_cast(const fusion *f, tensor_type *out_type) {
  for (int i = 0; i < f->count; i++) {
    MlirOperation user = only_user(f->group[i].value);
    tensor_type type;
    if (mlirOperationIsNull(user) || op_kind_of(user) != OP_cast || !value_type(mlirOperationGetResult(user, 0), &type))
      return false;
    if (i && type.dtype != out_type->dtype) return false;
    *out_type = type;
  }
  return true;
}

/* "cast" if all are cast next; "add" if all add a row next; else "mul" if some multiply by one; else NULL. */
static const char *next_rows(const fusion *f, MlirValue *out_rows) {
  tensor_type type;
  if (all_are_cast(f, &type)) return "cast";
  if (rows_of(f, "add", out_rows) == f->count) return "add";
  value_type(f->group[0].value, &type);
  return dtype_is_float(type.dtype) && rows_of(f, "mul", out_rows) > 0 ? "mul" : NULL;
}

/* What next_rows found: all siblings in a cast, those that have a row else. */
static void take_rows(fusion *f, const char *kind, const MlirValue *rows) {
  const bool all = strcmp(kind, "cast") == 0;
  for (int i = 0; i < f->count; i++)
    if (all || !mlirValueIsNull(rows[i])) f->group[i].value = mlirOperationGetResult(only_user(f->group[i].value), 0);
}

/* ---- What fusing costs ---- */

static bool is_elementwise(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  return kind == OP_unary || kind == OP_binary || kind == OP_select || kind == OP_cast || kind == OP_pointwise;
}

/* Whether, through transposes and reshapes, something wants the value in a place of its own. */
static bool has_place(MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    op_kind kind = op_kind_of(user);
    if (kind == OP_concat || kind == OP_steps || kind == OP_NONE) return true;
    if ((kind == OP_reshape || kind == OP_transpose) && has_place(mlirOperationGetResult(user, 0))) return true;
  }
  return false;
}

static bool costs_launch(MlirValue value) {
  MlirOperation user = only_user(value);
  return has_place(value) || (!mlirOperationIsNull(user) && is_elementwise(user));
}

/* Whether, behind transposes and reshapes, the value is rotated. */
static bool is_rotated(MlirValue value) {
  MlirOperation user = only_user(value);
  while (!mlirOperationIsNull(user) && (op_kind_of(user) == OP_transpose || op_kind_of(user) == OP_reshape))
    user = only_user(mlirOperationGetResult(user, 0));
  return !mlirOperationIsNull(user) && op_kind_of(user) == OP_rope;
}

/* The group's values are what they are after all rows have been taken. */
static bool pays(const fusion *f) {
  int launches = 1;
  for (int i = 0; i < f->count; i++) {
    if (is_rotated(f->group[i].value)) return true;
    launches += costs_launch(f->group[i].value);
  }
  return launches < f->count;
}

/* ---- Fusing ---- */

/* `row`, or ones where it is null, as [columns]. */
static MlirValue whole_row(fusion *f, builder *b, MlirValue row, const sibling *s) {
  tensor_type type;
  value_type(s->value, &type);
  if (mlirValueIsNull(row)) {
    const float one = 1;
    const tensor_type scalar = {.dtype = PINION_DTYPE_f32};
    return build_broadcast(b, build_cast(b, build_constant(b, &scalar, &one), type.dtype), 1, &s->columns);
  }
  value_type(row, &type);
  int64_t width = type.rank ? type.dims[type.rank - 1] : 1;
  MlirValue flat = build_reshape(b, cloner_cone(&f->weights, row), 1, &width);
  return width == s->columns ? flat : build_broadcast(b, flat, 1, &s->columns);
}

static MlirValue joined_weights(fusion *f, builder *head) {
  MlirValue *parts = arena_alloc(f->arena, (size_t)f->count * sizeof *parts);
  for (int i = 0; i < f->count; i++)
    parts[i] = cloner_cone(&f->weights, mlirOperationGetOperand(f->group[i].matmul, 1));
  return build_concat(head, f->count, parts, 1);
}

static MlirValue joined_rows(fusion *f, builder *head, const MlirValue *rows) {
  MlirValue *parts = arena_alloc(f->arena, (size_t)f->count * sizeof *parts);
  for (int i = 0; i < f->count; i++) parts[i] = whole_row(f, head, rows[i], &f->group[i]);
  return build_concat(head, f->count, parts, 0);
}

static MlirLocation group_location(const fusion *f) {
  MlirLocation *parts = arena_alloc(f->arena, (size_t)f->count * sizeof *parts);
  for (int i = 0; i < f->count; i++) parts[i] = mlirOperationGetLocation(mlirOpResultGetOwner(f->group[i].value));
  return location_fuse(f->context->compilation->context, f->count, parts);
}

/* Each sibling's value becomes its columns of `whole`. */
static status replace_by_slices(fusion *f, builder *b, MlirValue whole) {
  tensor_type type;
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  value_type(whole, &type);
  for (int i = 0; i < f->count; i++) {
    const sibling *s = &f->group[i];
    MlirOperation last = mlirOpResultGetOwner(s->value);
    b->location = mlirOperationGetLocation(last);
    type.dims[type.rank - 1] = s->columns;
    MlirValue part = build_slice(b, whole, starts, type.dims, steps);
    if (mlirValueIsNull(part)) return STATUS_FAILED;
    op_copy_identity(last, mlirOpResultGetOwner(part));
    value_replace(s->value, part);
    starts[type.rank - 1] += s->columns;
  }
  return STATUS_OK;
}

/* matmul(input, weights), in the type that the siblings' products have. */
static MlirValue joined_product(const fusion *f, builder *b, MlirValue weights) {
  MlirValue operands[] = {mlirOperationGetOperand(f->group[0].matmul, 0), weights};
  tensor_type product, matrix;
  if (!value_type(f->group[0].value, &product) || !value_type(weights, &matrix)) return (MlirValue){0};
  product.dims[product.rank - 1] = matrix.dims[1];
  MlirType type = type_make(b->compilation->context, &product);
  MlirOperation matmul = build_op(b, OP_matmul, 2, operands, 0, NULL, 1, &type);
  return mlirOperationIsNull(matmul) ? (MlirValue){0} : mlirOperationGetResult(matmul, 0);
}

/* The siblings' values are their own results again; rows are taken along one after the other. */
static status fuse_group(fusion *f) {
  compilation *c = f->context->compilation;
  tensor_type type;
  builder b = builder_before(c, f->group[0].matmul), head = b;
  head.before = f->weights.before;
  head.location = b.location = group_location(f);
  MlirValue *rows = arena_alloc(f->arena, (size_t)f->count * sizeof *rows);
  MlirValue whole = joined_weights(f, &head);
  if (!mlirValueIsNull(whole)) whole = joined_product(f, &b, whole);
  for (const char *kind; !mlirValueIsNull(whole) && (kind = next_rows(f, rows));) {
    const bool is_cast = strcmp(kind, "cast") == 0;
    MlirValue row = is_cast ? whole : joined_rows(f, &head, rows);
    take_rows(f, kind, rows);
    b.location = group_location(f);
    if (is_cast) {
      value_type(f->group[0].value, &type);
      whole = build_cast(&b, whole, type.dtype);
    } else {
      whole = mlirValueIsNull(row) ? row : build_binary(&b, kind, whole, row);
    }
  }
  return mlirValueIsNull(whole) ? STATUS_FAILED : replace_by_slices(f, &b, whole);
}

static bool group_pays(fusion *f) {
  MlirValue *rows = arena_alloc(f->arena, (size_t)f->count * sizeof *rows);
  for (const char *kind; (kind = next_rows(f, rows));) take_rows(f, kind, rows);
  bool result = pays(f);
  for (int i = 0; i < f->count; i++) f->group[i].value = mlirOperationGetResult(f->group[i].matmul, 0);
  return result;
}

static status fuse_block(pass_context *context, MlirBlock block) {
  fusion f = {.context = context, .arena = arena_create()};
  f.ops = block_ops(f.arena, block);
  f.positions = op_positions(f.arena, &f.ops);
  f.from_weights = ops_from_weights(f.arena, &f.ops, &f.positions);
  f.taken = arena_alloc(f.arena, (size_t)f.ops.count);
  f.group = arena_alloc(f.arena, (size_t)f.ops.count * sizeof *f.group);
  f.weights = cloner_create(context->compilation, f.arena, block);
  f.weights.before = mlirBlockGetFirstOperation(block);
  status code = STATUS_OK;
  for (int i = 0; i < f.ops.count && code == STATUS_OK; i++) {
    if (f.taken[i] || !is_projection(&f, f.ops.ops[i])) continue;
    find_group(&f, i);
    if (f.count < 2) continue;
    if (!group_pays(&f)) {
      pass_missed(context, group_location(&f),
                  "the epilogues and places of these %d projections of one input would cost as many launches", f.count);
      continue;
    }
    if (!pass_may_rewrite(context, group_location(&f))) continue;
    code = fuse_group(&f);
    context->changes++;
  }
  if (context->changes && code == STATUS_OK) block_erase_dead(block);
  arena_destroy(f.arena);
  return code;
}

status pass_fuse_qkv(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int i = 0; i < functions.count && code == STATUS_OK; i++)
    code = fuse_block(context, function_body(functions.ops[i]));
  arena_destroy(a);
  return code;
}
