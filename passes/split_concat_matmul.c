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
#include "graph.h"

#include <string.h>

typedef struct splitter {
  pass_context *context;
  arena *arena;
  MlirBlock block;
  int64_t first_table; /* arguments from here on are rows of tables */
  op_list ops;
  pointer_map positions;
  bool *from_weights, *known; /* per op; known: depends on weights and rows of tables alone */
} splitter;

static bool is_known(const splitter *s, MlirValue value) {
  int64_t at = value_position(&s->positions, value);
  if (at >= 0) return s->known[at];
  return mlirValueIsABlockArgument(value) && mlirBlockArgumentGetArgNumber(value) >= s->first_table;
}

static void mark_known(splitter *s) {
  s->known = arena_alloc(s->arena, (size_t)s->ops.count + 1);
  for (int i = 0; i < s->ops.count; i++) {
    MlirOperation op = s->ops.ops[i];
    op_kind kind = op_kind_of(op);
    bool all = kind != OP_NONE && kind != OP_steps && op_level_of(kind) != LEVEL_LAUNCH;
    for (intptr_t k = 0; all && k < mlirOperationGetNumOperands(op); k++)
      all = is_known(s, mlirOperationGetOperand(op, k));
    s->known[i] = all;
  }
}

/* The concatenation along k that a product with a weight reads, of pieces some of which are known; null if there is
   none. */
static MlirOperation splittable(const splitter *s, MlirOperation op) {
  const MlirOperation none = {0};
  if (op_kind_of(op) != OP_matmul) return none;
  MlirValue a = mlirOperationGetOperand(op, 0), b = mlirOperationGetOperand(op, 1);
  int64_t weight = value_position(&s->positions, b);
  MlirOperation concat = value_defined_by(a, OP_concat);
  if (mlirOperationIsNull(concat) || weight < 0 || !s->from_weights[weight] || tensor_type_of(b).rank != 2) return none;
  tensor_type type = tensor_type_of(a);
  if (!dtype_is_float(type.dtype) || type.rank < 2 || attr_i64(concat, "axis", 0) != type.rank - 1) return none;
  intptr_t known = 0, pieces = mlirOperationGetNumOperands(concat);
  for (intptr_t i = 0; i < pieces; i++) known += is_known(s, mlirOperationGetOperand(concat, i));
  return known > 0 && known < pieces ? concat : none;
}

/* What a known piece is a broadcast of, if its rows are whole. */
static MlirValue before_broadcast(MlirValue piece) {
  MlirOperation broadcast = value_defined_by(piece, OP_broadcast);
  if (mlirOperationIsNull(broadcast)) return piece;
  MlirValue source = mlirOperationGetOperand(broadcast, 0);
  tensor_type from = tensor_type_of(source), to = tensor_type_of(piece);
  return from.rank >= 2 && from.dims[from.rank - 1] == to.dims[to.rank - 1] ? source : piece;
}

static int64_t columns_of(MlirValue value) {
  tensor_type type = tensor_type_of(value);
  return type.dims[type.rank - 1];
}

/* matmul(concat of pieces [first, end), their rows of the weight, which begin at `row`). */
static MlirValue product_of_pieces(splitter *s, builder *b, MlirOperation concat, intptr_t first, intptr_t end,
                                   MlirValue weight, int64_t row) {
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
  else if (is_known(s, x))
    x = before_broadcast(x);
  MlirValue rows = build_slice(b, weight, starts, sizes, steps);
  return mlirValueIsNull(x) || mlirValueIsNull(rows) ? (MlirValue){0} : build_matmul(b, x, rows);
}

/* What must be computed comes first: the known part is then a bias. */
static status split(splitter *s, MlirOperation op, MlirOperation concat) {
  MlirLocation taken[] = {mlirOperationGetLocation(concat), mlirOperationGetLocation(op)};
  builder b = builder_before(s->context->compilation, op);
  if (!pass_may_rewrite(s->context, location_fuse(b.compilation->context, 2, taken))) return STATUS_OK;
  MlirValue weight = mlirOperationGetOperand(op, 1), computed = {0}, known = {0};
  intptr_t pieces = mlirOperationGetNumOperands(concat);
  int64_t row = 0;
  for (intptr_t first = 0, end; first < pieces; first = end) {
    bool is_bias = is_known(s, mlirOperationGetOperand(concat, first));
    int64_t next_row = row;
    for (end = first; end < pieces && is_known(s, mlirOperationGetOperand(concat, end)) == is_bias; end++)
      next_row += columns_of(mlirOperationGetOperand(concat, end));
    MlirValue part = product_of_pieces(s, &b, concat, first, end, weight, row);
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

/* The first argument of `function` that is a row of a table in all steps that repeat it; if nothing else calls it. */
static int64_t first_table_of(arena *a, const op_list *functions, MlirOperation function) {
  int64_t arguments = mlirBlockGetNumArguments(function_body(function)), first = -1;
  for (int f = 0; f < functions->count; f++) {
    op_list ops = block_ops(a, function_body(functions->ops[f]));
    for (int i = 0; i < ops.count; i++) {
      if (!mlirStringRefEqual(attr_str(ops.ops[i], "callee"), attr_str(function, "sym_name"))) continue;
      int64_t table = op_kind_of(ops.ops[i]) == OP_steps ? arguments - attr_i64(ops.ops[i], "tables", 0) : arguments;
      if (table > first) first = table;
    }
  }
  return first < 0 ? arguments : first;
}

static status split_function(pass_context *context, arena *a, const op_list *functions, MlirOperation function) {
  splitter s = {.context = context, .arena = a, .block = function_body(function)};
  s.first_table = first_table_of(a, functions, function);
  s.ops = block_ops(a, s.block);
  s.positions = op_positions(a, &s.ops);
  s.from_weights = ops_from_weights(a, &s.ops, &s.positions);
  mark_known(&s);
  status code = STATUS_OK;
  int before = context->changes;
  for (int i = 0; i < s.ops.count && code == STATUS_OK; i++) {
    MlirOperation concat = splittable(&s, s.ops.ops[i]);
    if (!mlirOperationIsNull(concat)) code = split(&s, s.ops.ops[i], concat);
  }
  if (code == STATUS_OK && context->changes > before) block_erase_dead(s.block);
  return code;
}

status pass_split_concat_matmul(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int i = 0; i < functions.count && code == STATUS_OK; i++)
    code = split_function(context, a, &functions, functions.ops[i]);
  arena_destroy(a);
  return code;
}
