/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * split-concat-matmul: the part of a product that is known before the step runs is no part of the step's product.
 *
 *   matmul(concat(x, t), W)  ->  matmul(x, W[:k]) + matmul(t, W[k:])
 *
 * where W is a weight [k, n], the concatenation is along k, and t depends on weights and table rows alone. hoist-tables
 * then computes matmul(t, W[k:]) for all steps at compile time: the time half of Pi0's action and time MLP.
 *
 * Requires: outline-steps, which makes the tables; before hoist-tables. Produces: core ops; the rows of W are slices of
 * a weight, computed at compile time. Breaks: nothing. The two sums are rounded to the element type before they are
 * added: in float32 the order of a sum changes, in bf16 and f16 there are two more roundings.
 *
 * Pieces next to each other of the same kind stay one. A known piece that is a broadcast is multiplied before it is
 * broadcast: all its rows are one.
 */
#include "known_values.h"
#include "pointwise_body.h"

typedef struct splitter {
  pass_context *context;
  arena *arena;
  const known_values *known;
} splitter;

/* The concatenation along k that a product with a weight reads, of pieces some of which are known; null if there is
   none. */
static MlirOperation splittable(const splitter *s, MlirOperation op) {
  const MlirOperation none = {0};
  if (op_kind_of(op) != OP_matmul) return none;
  MlirValue a = mlirOperationGetOperand(op, 0), b = mlirOperationGetOperand(op, 1);
  MlirOperation concat = value_defined_by(a, OP_concat);
  if (mlirOperationIsNull(concat) || !value_is_from_weights(s->known, b) || tensor_type_of(b).rank != 2) return none;
  tensor_type type = tensor_type_of(a);
  if (!dtype_is_float(type.dtype) || type.rank < 2 || attr_i64(concat, "axis", 0) != type.rank - 1) return none;
  intptr_t known = 0, pieces = mlirOperationGetNumOperands(concat);
  for (intptr_t i = 0; i < pieces; i++) known += value_is_known(s->known, mlirOperationGetOperand(concat, i));
  return known > 0 && known < pieces ? concat : none;
}

/* What a known piece is a broadcast of, if its rows are whole. */
static MlirValue before_broadcast(MlirValue piece) {
  MlirValue source = value_before_broadcast(piece);
  tensor_type from = tensor_type_of(source), to = tensor_type_of(piece);
  return from.rank >= 2 && from.dims[from.rank - 1] == to.dims[to.rank - 1] ? source : piece;
}

static int64_t columns_of(MlirValue value) {
  tensor_type type = tensor_type_of(value);
  return type.dims[type.rank - 1];
}

/* matmul(x, rows) in the type that the whole product has: it may be f32 where its operands are not. */
static MlirValue product(builder *b, MlirValue x, MlirValue rows, pinion_dtype dtype) {
  tensor_type result = tensor_type_of(x);
  result.dtype = dtype;
  result.dims[result.rank - 1] = columns_of(rows);
  const MlirType type = type_make(b->compilation->context, &result);
  MlirOperation matmul = build_op(b, OP_matmul, 2, (MlirValue[]){x, rows}, 0, NULL, 1, &type);
  return mlirOperationIsNull(matmul) ? (MlirValue){0} : mlirOperationGetResult(matmul, 0);
}

/* The product of the pieces [first, end) of `concat` and their rows of `op`'s weight, which begin at `row`. */
static MlirValue product_of_pieces(const splitter *s, builder *b, MlirOperation op, MlirOperation concat,
                                   intptr_t first, intptr_t end, int64_t row) {
  MlirValue weight = mlirOperationGetOperand(op, 1);
  MlirValue *pieces = arena_alloc(s->arena, (size_t)(end - first) * sizeof *pieces);
  int64_t starts[2] = {row}, sizes[2] = {0, columns_of(weight)};
  const int64_t steps[2] = {1, 1};
  for (intptr_t i = first; i < end; i++) {
    pieces[i - first] = mlirOperationGetOperand(concat, i);
    sizes[0] += columns_of(pieces[i - first]);
  }
  MlirValue x = pieces[0];
  if (end - first > 1)
    x = build_concat(b, (int)(end - first), pieces, attr_i64(concat, "axis", 0));
  else if (value_is_known(s->known, x))
    x = before_broadcast(x);
  MlirValue rows = build_slice(b, weight, starts, sizes, steps);
  return mlirValueIsNull(x) || mlirValueIsNull(rows) ? (MlirValue){0}
                                                     : product(b, x, rows, value_dtype(mlirOperationGetResult(op, 0)));
}

/* What must be computed comes first: the known part is then a bias. */
static status split(const splitter *s, MlirOperation op, MlirOperation concat) {
  MlirLocation taken[] = {mlirOperationGetLocation(concat), mlirOperationGetLocation(op)};
  builder b = builder_before(s->context->compilation, op);
  if (!pass_may_rewrite(s->context, location_fuse(b.compilation->context, 2, taken))) return STATUS_OK;
  MlirValue computed = {0}, known = {0};
  intptr_t pieces = mlirOperationGetNumOperands(concat);
  int64_t row = 0;
  for (intptr_t first = 0, end; first < pieces; first = end) {
    bool is_bias = value_is_known(s->known, mlirOperationGetOperand(concat, first));
    int64_t next_row = row;
    for (end = first; end < pieces && value_is_known(s->known, mlirOperationGetOperand(concat, end)) == is_bias; end++)
      next_row += columns_of(mlirOperationGetOperand(concat, end));
    MlirValue part = product_of_pieces(s, &b, op, concat, first, end, row);
    if (mlirValueIsNull(part)) return STATUS_FAILED;
    MlirValue *sum = is_bias ? &known : &computed;
    *sum = mlirValueIsNull(*sum) ? part : build_binary(&b, "add", *sum, part);
    row = next_row;
  }
  MlirValue whole = build_binary(&b, "add", computed, known);
  if (mlirValueIsNull(whole)) return STATUS_FAILED;
  op_copy_identity(op, mlirOpResultGetOwner(whole));
  value_replace(mlirOperationGetResult(op, 0), whole);
  s->context->changes++;
  return STATUS_OK;
}

static status split_function(pass_context *context, arena *a, const known_values *known) {
  const splitter s = {.context = context, .arena = a, .known = known};
  status code = STATUS_OK;
  for (int i = 0; i < known->ops.count && code == STATUS_OK; i++) {
    MlirOperation concat = splittable(&s, known->ops.ops[i]);
    if (!mlirOperationIsNull(concat)) code = split(&s, known->ops.ops[i], concat);
  }
  return code;
}

status pass_split_concat_matmul(pass_context *context, MlirModule module) {
  return each_known_function(context, module, split_function);
}
