/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * hoist-tables: what a step computes from its table rows and weights alone is computed for all steps at once, in front
 * of the steps; outline-weights then takes it to @weights, and no step computes it again. The time embedding's MLP, and
 * the adaptive norm's scale, shift and gate of every layer, become rows of tables.
 *
 *   @step(x, t) { .. matmul(silu(t), W) .. }, steps(x, T)
 *     becomes   @step(x, u) { .. u .. }, steps(x, matmul(silu(T), W))
 *
 * Requires: outline-steps; before fusions (it knows core ops and norms). Produces: core ops on tables [count, ..] in
 * the steps' function, new arguments of the step; arguments that nothing uses any more are gone. Breaks: which ONNX
 * value such an op is: its rows are those of several.
 *
 * Every step's row is computed as the step would have: an op on [d0 .. dr) becomes the same op on [count, d0 .. dr).
 */
#include "steps_operands.h"

#include <string.h>

enum { MAXIMUM_TABLE_BYTES = 16 << 20 };

/* One pinion.steps and its callee. */
typedef struct hoist {
  pass_context *context;
  arena *arena;
  MlirOperation steps, function;
  MlirBlock block; /* of the callee */
  int64_t count;
  int table_count;
  op_list ops;
  pointer_map positions;
  bool *from_weights; /* per op */
  bool *hoisted;
  cloner batched; /* callee's value -> value in front of the steps: a table's, or a weight's without rows */
} hoist;

/* ---- Which ops ---- */

static bool is_table(const hoist *h, MlirValue value) {
  if (!mlirValueIsABlockArgument(value)) return false;
  return mlirBlockArgumentGetArgNumber(value) >= mlirBlockGetNumArguments(h->block) - h->table_count;
}

/* Whether the value has a row for each step in front of the steps. */
static bool has_rows(const hoist *h, MlirValue value) {
  int64_t at = value_position(&h->positions, value);
  return at < 0 ? is_table(h, value) : h->hoisted[at];
}

static bool is_weight(const hoist *h, MlirValue value) {
  int64_t at = value_position(&h->positions, value);
  return at >= 0 && h->from_weights[at];
}

static int rank_of(MlirValue value) {
  tensor_type type = {0};
  value_type(value, &type);
  return type.rank;
}

/* Whether an op means the same with one more dimension in front, given which operands get it. */
static bool batches(const hoist *h, MlirOperation op) {
  MlirValue first = mlirOperationGetOperand(op, 0);
  switch (op_kind_of(op)) {
  case OP_unary:
  case OP_binary:
  case OP_select:
  case OP_cast:
  case OP_softmax:
  case OP_cumsum:
  case OP_reduce:
  case OP_reshape:
  case OP_transpose:
  case OP_broadcast:
  case OP_slice:
  case OP_concat: return true;
  case OP_norm:
  case OP_gather:
    return has_rows(h, first) && (op_kind_of(op) == OP_norm || !has_rows(h, mlirOperationGetOperand(op, 1)));
  case OP_matmul:
    return has_rows(h, first) && is_weight(h, mlirOperationGetOperand(op, 1)) &&
           rank_of(mlirOperationGetOperand(op, 1)) == 2;
  default: return false;
  }
}

static bool fits(const hoist *h, MlirOperation op) {
  tensor_type type;
  return mlirOperationGetNumResults(op) == 1 && value_type(mlirOperationGetResult(op, 0), &type) &&
         type.rank < PINION_MAX_RANK && type_bytes(&type) * h->count <= MAXIMUM_TABLE_BYTES;
}

static bool depends_on_rows_alone(const hoist *h, MlirOperation op) {
  bool rows = false;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    if (has_rows(h, operand))
      rows = true;
    else if (!is_weight(h, operand))
      return false;
  }
  return rows;
}

/* A broadcast that a step's own op reads costs that op nothing, and would only swell the table. */
static void keep_broadcasts(hoist *h) {
  for (int i = h->ops.count - 1; i >= 0; i--) {
    for (intptr_t k = 0; !h->hoisted[i] && k < mlirOperationGetNumOperands(h->ops.ops[i]); k++) {
      int64_t at = value_position(&h->positions, mlirOperationGetOperand(h->ops.ops[i], k));
      if (at >= 0 && op_kind_of(h->ops.ops[at]) == OP_broadcast) h->hoisted[at] = false;
    }
  }
}

static bool mark_hoisted(hoist *h) {
  bool any = false;
  h->hoisted = arena_alloc(h->arena, (size_t)h->ops.count);
  for (int i = 0; i < h->ops.count; i++) {
    MlirOperation op = h->ops.ops[i];
    h->hoisted[i] = op_kind_of(op) != OP_NONE && fits(h, op) && depends_on_rows_alone(h, op) && batches(h, op) &&
                    pass_may_rewrite(h->context, mlirOperationGetLocation(op));
  }
  keep_broadcasts(h);
  for (int i = 0; i < h->ops.count; i++) any |= h->hoisted[i];
  return any;
}

/* ---- Computing them for all steps ---- */

static tensor_type with_rows(const hoist *h, const tensor_type *type) {
  tensor_type rows = {.dtype = type->dtype, .rank = type->rank + 1, .dims = {h->count}};
  memcpy(rows.dims + 1, type->dims, (size_t)type->rank * sizeof *type->dims);
  return rows;
}

/* A table of rows of a lower rank than the op's result: [count, 1 .., d0 .. dr), so that the rows still line up. */
static MlirValue align_rows(builder *b, MlirValue table, int rank) {
  tensor_type type;
  value_type(table, &type);
  int missing = rank + 1 - type.rank;
  if (missing <= 0) return table;
  int64_t dims[PINION_MAX_RANK] = {type.dims[0]};
  for (int i = 0; i < missing; i++) dims[1 + i] = 1;
  memcpy(dims + 1 + missing, type.dims + 1, (size_t)(type.rank - 1) * sizeof *dims);
  return build_reshape(b, table, rank + 1, dims);
}

static MlirValue repeat_rows(const hoist *h, builder *b, MlirValue value) {
  tensor_type type;
  value_type(value, &type);
  type = with_rows(h, &type);
  return build_broadcast(b, value, type.rank, type.dims);
}

static MlirValue batched_operand(hoist *h, builder *b, MlirOperation op, intptr_t index) {
  MlirValue operand = mlirOperationGetOperand(op, index);
  bool rows = has_rows(h, operand);
  MlirValue value = rows ? cloner_get(&h->batched, operand) : cloner_cone(&h->batched, operand);
  int rank = rank_of(mlirOperationGetResult(op, 0));
  switch (op_kind_of(op)) {
  case OP_binary:
  case OP_select:
  case OP_broadcast: return rows ? align_rows(b, value, rank) : value;
  case OP_norm: return rows && index > 0 ? align_rows(b, value, rank) : value;
  case OP_concat: return rows ? value : repeat_rows(h, b, value);
  default: return value;
  }
}

/* Attributes that name dimensions count one more in front. */
static MlirAttribute batched_attribute(MlirContext context, MlirOperation op, MlirStringRef name, MlirAttribute value) {
  char key[16] = "";
  int64_t list[PINION_MAX_RANK + 1] = {0};
  if (name.length < sizeof key) memcpy(key, name.data, name.length);
  if (strcmp(key, "axis") == 0) return make_i64(context, attr_i64(op, key, 0) + 1);
  int count = 0;
  bool axes = strcmp(key, "axes") == 0, permutation = strcmp(key, "permutation") == 0;
  bool starts = strcmp(key, "starts") == 0, steps = strcmp(key, "steps") == 0;
  if (!axes && !permutation && !starts && !steps) return value;
  count = attr_i64s(op, key, list + 1, PINION_MAX_RANK);
  for (int i = 1; (axes || permutation) && i <= count; i++) list[i]++;
  list[0] = steps; /* the whole of the new dimension: from 0 in steps of 1 */
  return axes ? make_i64s(context, count, list + 1) : make_i64s(context, count + 1, list);
}

static status hoist_op(hoist *h, MlirOperation op) {
  compilation *c = h->context->compilation;
  builder b = builder_before(c, h->steps);
  b.location = mlirOperationGetLocation(op);
  intptr_t operand_count = mlirOperationGetNumOperands(op), attribute_count = op_attribute_count(op);
  MlirValue *operands = arena_alloc(h->arena, (size_t)(operand_count + 1) * sizeof *operands);
  for (intptr_t i = 0; i < operand_count; i++) operands[i] = batched_operand(h, &b, op, i);
  MlirNamedAttribute *attributes = arena_alloc(h->arena, (size_t)(attribute_count + 1) * sizeof *attributes);
  int kept = 0;
  for (intptr_t i = 0; i < attribute_count; i++) {
    MlirNamedAttribute attribute = op_attribute(op, i);
    MlirStringRef name = mlirIdentifierStr(attribute.name);
    if (name.length == 4 && memcmp(name.data, "onnx", 4) == 0) continue;
    attribute.attribute = batched_attribute(c->context, op, name, attribute.attribute);
    attributes[kept++] = attribute;
  }
  tensor_type type;
  value_type(mlirOperationGetResult(op, 0), &type);
  type = with_rows(h, &type);
  MlirType result = type_make(c->context, &type);
  MlirOperation built = build_op(&b, op_kind_of(op), (int)operand_count, operands, kept, attributes, 1, &result);
  if (mlirOperationIsNull(built)) return STATUS_FAILED;
  cloner_set(&h->batched, mlirOperationGetResult(op, 0), mlirOperationGetResult(built, 0));
  return STATUS_OK;
}

/* ---- The new signature ---- */

/* What the step's own ops read of a hoisted op becomes an argument: a row of the new table. */
static void add_rows(hoist *h, int index, MlirValue *operands, int *operand_count) {
  MlirValue value = mlirOperationGetResult(h->ops.ops[index], 0);
  bool read = false;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use) && !read;
       use = mlirOpOperandGetNextUse(use))
    read = !h->hoisted[pointer_map_get(&h->positions, mlirOpOperandGetOwner(use).ptr)];
  if (!read) return;
  MlirValue row = mlirBlockAddArgument(h->block, mlirValueGetType(value), mlirOperationGetLocation(h->ops.ops[index]));
  operands[(*operand_count)++] = cloner_get(&h->batched, value);
  value_replace(value, row);
}

static status rebuild_steps(hoist *h) {
  int operand_count = (int)mlirOperationGetNumOperands(h->steps), first_table = operand_count - h->table_count;
  MlirValue *operands = arena_alloc(h->arena, (size_t)(operand_count + h->ops.count) * sizeof *operands);
  for (int i = 0; i < operand_count; i++) operands[i] = mlirOperationGetOperand(h->steps, i);
  for (int i = 0; i < h->ops.count; i++)
    if (h->hoisted[i]) add_rows(h, i, operands, &operand_count);
  return steps_set_operands(h->context->compilation, h->steps, h->function, operands, operand_count, first_table);
}

/* ---- The pass ---- */

static bool takes_operands_of(MlirOperation function, MlirOperation steps) {
  if (mlirOperationIsNull(function) || mlirBlockIsNull(function_body(function))) return false;
  return mlirBlockGetNumArguments(function_body(function)) == mlirOperationGetNumOperands(steps);
}

static status hoist_steps(pass_context *context, MlirModule module, MlirOperation steps) {
  hoist h = {.context = context, .arena = arena_create(), .steps = steps, .count = attr_i64(steps, "count", 0)};
  MlirStringRef callee = attr_str(steps, "callee");
  h.function = module_function(module, arena_string(h.arena, callee.data, callee.length));
  if (!takes_operands_of(h.function, steps)) {
    arena_destroy(h.arena);
    return diagnose(&context->compilation->diagnostics, STATUS_FAILED, NULL, "pinion.steps",
                    "@%.*s is no function of these operands", (int)callee.length, callee.data);
  }
  h.block = function_body(h.function);
  h.table_count = (int)attr_i64(steps, "tables", 0);
  h.ops = block_ops(h.arena, h.block);
  h.positions = op_positions(h.arena, &h.ops);
  h.from_weights = ops_from_weights(h.arena, &h.ops, &h.positions);
  h.batched = cloner_create(context->compilation, h.arena, mlirOperationGetBlock(steps));
  h.batched.before = steps;
  intptr_t arguments = mlirBlockGetNumArguments(h.block);
  for (int i = 0; i < h.table_count; i++)
    cloner_set(&h.batched, mlirBlockGetArgument(h.block, arguments - h.table_count + i),
               mlirOperationGetOperand(steps, arguments - h.table_count + i));
  status code = STATUS_OK;
  if (mark_hoisted(&h)) {
    for (int i = 0; i < h.ops.count && code == STATUS_OK; i++) {
      if (!h.hoisted[i]) continue;
      code = hoist_op(&h, h.ops.ops[i]);
      context->changes++;
    }
    if (code == STATUS_OK) code = rebuild_steps(&h);
  }
  arena_destroy(h.arena);
  return code;
}

static int count_steps_of(arena *a, const op_list *functions, MlirStringRef callee) {
  int count = 0;
  for (int f = 0; f < functions->count; f++) {
    op_list ops = block_ops(a, function_body(functions->ops[f]));
    for (int i = 0; i < ops.count; i++)
      count += op_kind_of(ops.ops[i]) == OP_steps && mlirStringRefEqual(attr_str(ops.ops[i], "callee"), callee);
  }
  return count;
}

status pass_hoist_tables(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int f = 0; f < functions.count; f++) {
    op_list ops = block_ops(a, function_body(functions.ops[f]));
    for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
      if (op_kind_of(ops.ops[i]) != OP_steps || attr_i64(ops.ops[i], "tables", 0) == 0) continue;
      if (count_steps_of(a, &functions, attr_str(ops.ops[i], "callee")) == 1) /* else the callee's rows differ */
        code = hoist_steps(context, module, ops.ops[i]);
    }
  }
  arena_destroy(a);
  return code;
}
