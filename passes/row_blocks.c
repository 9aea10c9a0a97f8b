/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Which functions compute dimension 0 block by block, and growing them: row_blocks.h. */
#include "row_blocks.h"

#include <string.h>

/* ---- What has rows ---- */

bool row_blocks_has(const row_blocks *r, MlirValue value) {
  const int64_t at = value_position(&r->positions, value);
  if (at >= 0) return r->has_rows[at];
  /* else what growing has made: it has rows */
  return !r->arguments || !mlirValueIsABlockArgument(value) || r->arguments[mlirBlockArgumentGetArgNumber(value)];
}

static bool operand_has_rows(const row_blocks *r, MlirOperation op, intptr_t index) {
  return index < mlirOperationGetNumOperands(op) && row_blocks_has(r, mlirOperationGetOperand(op, index));
}

row_blocks row_blocks_read(compilation *c, arena *a, MlirOperation function, const bool *arguments, int64_t count) {
  row_blocks r = {.compilation = c, .arena = a, .function = function, .arguments = arguments, .count = count};
  r.ops = block_ops(a, function_body(function));
  r.positions = op_positions(a, &r.ops);
  r.has_rows = arena_alloc(a, (size_t)r.ops.count * sizeof *r.has_rows);
  for (int i = 0; i < r.ops.count; i++)
    for (intptr_t k = 0; k < mlirOperationGetNumOperands(r.ops.ops[i]); k++)
      r.has_rows[i] |= operand_has_rows(&r, r.ops.ops[i], k);
  return r;
}

/* ---- Whether each block is computed from the same blocks ---- */

/* Rows of an operand line up with the result's; one without rows is broadcast, or can be repeated. */
static bool lines_up(const row_blocks *r, MlirValue operand, const tensor_type *result) {
  tensor_type type = tensor_type_of(operand);
  return !row_blocks_has(r, operand) || (type.rank == result->rank && type.dims[0] == result->dims[0]);
}

/* One row of fewer dimensions, which is broadcast to one row of the result: with more rows it takes the missing
   dimensions behind them. */
static bool is_short_row(const row_blocks *r, MlirValue operand, const tensor_type *result) {
  const tensor_type type = tensor_type_of(operand);
  return row_blocks_has(r, operand) && type.rank > 0 && type.rank < result->rank && type.dims[0] == 1 &&
         result->dims[0] == 1;
}

/* Operands from `first` on, which are broadcast to the result. */
static bool operands_broadcast(const row_blocks *r, MlirOperation op, intptr_t first, const tensor_type *result) {
  for (intptr_t i = first; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    if (!lines_up(r, operand, result) && !is_short_row(r, operand, result)) return false;
  }
  return true;
}

static bool operands_line_up(const row_blocks *r, MlirOperation op, intptr_t first, const tensor_type *result) {
  for (intptr_t i = first; i < mlirOperationGetNumOperands(op); i++)
    if (!lines_up(r, mlirOperationGetOperand(op, i), result)) return false;
  return true;
}

/* An attribute that lists one number per dimension, or some dimensions. */
static int64_t first_of(MlirOperation op, const char *name) {
  int64_t values[PINION_MAX_RANK] = {0};
  attr_i64s(op, name, values, PINION_MAX_RANK);
  return values[0];
}

static bool reduces_rows(MlirOperation op) {
  int64_t axes[PINION_MAX_RANK];
  int count = attr_i64s(op, "axes", axes, PINION_MAX_RANK);
  for (int i = 0; i < count && i < PINION_MAX_RANK; i++)
    if (axes[i] == 0) return true;
  return false;
}

static bool slices_rows(MlirOperation op, const tensor_type *result) {
  return first_of(op, "starts") != 0 || first_of(op, "steps") != 1 ||
         tensor_type_of(mlirOperationGetOperand(op, 0)).dims[0] != result->dims[0];
}

/* a has rows; b is a matrix of weights, or has as many batches. */
static bool product_keeps_blocks(const row_blocks *r, MlirOperation op, const tensor_type *result) {
  tensor_type a = tensor_type_of(mlirOperationGetOperand(op, 0)), b = tensor_type_of(mlirOperationGetOperand(op, 1));
  if (!operand_has_rows(r, op, 0) || a.rank < 2 || !operands_broadcast(r, op, 2, result)) return false;
  if (!operand_has_rows(r, op, 1)) return b.rank == 2 || (a.rank == result->rank && b.rank <= a.rank && b.dims[0] == 1);
  return a.rank == b.rank && a.rank > 2 && a.dims[0] == b.dims[0];
}

static bool is_elementwise(op_kind kind) {
  return kind == OP_unary || kind == OP_binary || kind == OP_select || kind == OP_cast || kind == OP_pointwise;
}

/* The first operand has rows, and the others have none: all rows read the same of them. */
static bool only_first_has_rows(const row_blocks *r, MlirOperation op, intptr_t count) {
  for (intptr_t i = 1; i < count; i++)
    if (operand_has_rows(r, op, i)) return false;
  return operand_has_rows(r, op, 0);
}

/* Operands from `first` on, of which those without rows are read alike by all rows. */
static bool shared_by_rows(const row_blocks *r, MlirOperation op, intptr_t first, int rank) {
  for (intptr_t i = first; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    const tensor_type type = tensor_type_of(operand);
    if (!row_blocks_has(r, operand) && type.rank >= rank && type.dims[0] != 1) return false;
  }
  return true;
}

static bool norm_keeps_blocks(const row_blocks *r, MlirOperation op, const tensor_type *result) {
  return attr_i64(op, "axis", 0) != 0 && operand_has_rows(r, op, 0) && operands_line_up(r, op, 1, result) &&
         shared_by_rows(r, op, 1, result->rank);
}

/* The angles, [B or 1, S, D], are those of the same rows, or of all. */
static bool rope_keeps_blocks(const row_blocks *r, MlirOperation op, const tensor_type *result) {
  for (intptr_t i = 1; i < mlirOperationGetNumOperands(op); i++)
    if (operand_has_rows(r, op, i) && tensor_type_of(mlirOperationGetOperand(op, i)).dims[0] != result->dims[0])
      return false;
  return operand_has_rows(r, op, 0) && shared_by_rows(r, op, 1, 3);
}

/* Rows of x, by indices that are weights; or whatever of weights, by indices with rows. */
static bool gather_keeps_blocks(const row_blocks *r, MlirOperation op) {
  const bool along_rows = attr_i64(op, "axis", 0) == 0;
  if (operand_has_rows(r, op, 0)) return !along_rows && !operand_has_rows(r, op, 1);
  return along_rows && tensor_type_of(mlirOperationGetOperand(op, 1)).rank > 0;
}

/* What is carried, and what does not change, may have rows; tables, of which each step takes one, have none. */
static bool call_keeps_blocks(const row_blocks *r, MlirOperation op) {
  const intptr_t count = mlirOperationGetNumOperands(op);
  if (op_kind_of(op) != OP_steps) return true;
  for (intptr_t i = count - (intptr_t)attr_i64(op, "tables", 0); i < count; i++)
    if (operand_has_rows(r, op, i)) return false;
  return operand_has_rows(r, op, 0);
}

static bool is_call(MlirOperation op) {
  return op_is_named(op, "func.call") || op_kind_of(op) == OP_steps;
}

static bool attention_keeps_blocks(const row_blocks *r, MlirOperation op, const tensor_type *result) {
  for (intptr_t i = 0; i < 3; i++)
    if (!operand_has_rows(r, op, i) || !lines_up(r, mlirOperationGetOperand(op, i), result)) return false;
  if (mlirOperationGetNumOperands(op) < 4) return true;
  MlirValue mask = mlirOperationGetOperand(op, 3);
  return row_blocks_has(r, mask) ? lines_up(r, mask, result) : shared_by_rows(r, op, 3, result->rank);
}

/* Whether an op that depends on an argument computes each block of dimension 0 from the same blocks of its operands. */
static bool op_keeps_blocks(const row_blocks *r, MlirOperation op) {
  if (mlirOperationGetNumResults(op) < 1) return false;
  tensor_type y = tensor_type_of(mlirOperationGetResult(op, 0));
  op_kind kind = op_kind_of(op);
  if (y.rank < 1) return false;
  if (is_call(op)) return r->follows_calls && call_keeps_blocks(r, op);
  if (is_elementwise(kind)) return operands_broadcast(r, op, 0, &y);
  switch (kind) {
  case OP_reshape:
    return tensor_type_of(mlirOperationGetOperand(op, 0)).rank > 0; /* whole blocks, one after the other */
  case OP_broadcast: return operands_broadcast(r, op, 0, &y);
  case OP_transpose: return first_of(op, "permutation") == 0;
  case OP_reduce: return !reduces_rows(op);
  case OP_softmax:
  case OP_cumsum: return attr_i64(op, "axis", 0) != 0;
  case OP_concat: return attr_i64(op, "axis", 0) != 0;
  case OP_slice: return !slices_rows(op, &y);
  case OP_pad:
    return first_of(op, "before") == 0 && operands_line_up(r, op, 0, &y) &&
           only_first_has_rows(r, op, mlirOperationGetNumOperands(op));
  case OP_conv: return only_first_has_rows(r, op, mlirOperationGetNumOperands(op));
  case OP_gather: return gather_keeps_blocks(r, op);
  case OP_matmul:
  case OP_gemm: return product_keeps_blocks(r, op, &y);
  case OP_norm: return norm_keeps_blocks(r, op, &y);
  case OP_rope: return rope_keeps_blocks(r, op, &y);
  case OP_attention: return attention_keeps_blocks(r, op, &y);
  default: return false;
  }
}

MlirOperation row_blocks_obstacle(const row_blocks *r) {
  const MlirOperation none = {0}, end = r->ops.ops[r->ops.count - 1];
  for (int i = 0; i < r->ops.count - 1; i++)
    if (r->has_rows[i] && !op_keeps_blocks(r, r->ops.ops[i])) return r->ops.ops[i];
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(end); i++)
    if (!operand_has_rows(r, end, i) || tensor_type_of(mlirOperationGetOperand(end, i)).rank < 1) return end;
  return none;
}

bool row_blocks_fit_arguments(const row_blocks *r) {
  MlirBlock block = function_body(r->function);
  bool any = false;
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++) {
    MlirValue argument = mlirBlockGetArgument(block, i);
    if (!row_blocks_has(r, argument)) continue;
    if (tensor_type_of(argument).rank < 1) return false;
    any = true;
  }
  return any;
}

/* ---- Growing ---- */

static MlirType larger(const row_blocks *r, MlirValue value) {
  tensor_type type = tensor_type_of(value);
  type.dims[0] *= r->count;
  return type_make(r->compilation->context, &type);
}

/* What has no rows, but one for each of the result's: a copy for each block. */
static MlirValue repeat(const row_blocks *r, builder *b, MlirValue value) {
  tensor_type type = tensor_type_of(value);
  if (type.dims[0] == 1) {
    type.dims[0] = r->count;
    return build_broadcast(b, value, type.rank, type.dims);
  }
  MlirValue *copies = arena_alloc(r->arena, (size_t)r->count * sizeof *copies);
  for (int64_t i = 0; i < r->count; i++) copies[i] = value;
  return build_concat(b, (int)r->count, copies, 0);
}

/* Whether operand `index` is broadcast to the result. */
static bool is_broadcast(op_kind kind, intptr_t index) {
  return is_elementwise(kind) || kind == OP_broadcast || (kind == OP_gemm && index >= 2);
}

/* A short row that has grown, in as many dimensions as the result. */
static MlirValue lengthen(builder *b, MlirValue value, int rank) {
  const tensor_type type = tensor_type_of(value);
  int64_t dims[PINION_MAX_RANK] = {type.dims[0]};
  for (int d = 1; d < rank; d++) dims[d] = d - (rank - type.rank) > 0 ? type.dims[d - (rank - type.rank)] : 1;
  return build_reshape(b, value, rank, dims);
}

/* Whether an operand without rows is read row by row. */
static bool needs_repeat(const row_blocks *r, MlirOperation op, intptr_t index, const tensor_type *result) {
  const op_kind kind = op_kind_of(op);
  if (operand_has_rows(r, op, index)) return false;
  const tensor_type type = tensor_type_of(mlirOperationGetOperand(op, index));
  if (kind == OP_concat) return true;
  return is_broadcast(kind, index) && kind != OP_broadcast && type.rank == result->rank && type.dims[0] != 1;
}

static void add_attributes(MlirOperation op, bool of_one_call, MlirOperationState *state) {
  for (intptr_t i = 0; i < op_attribute_count(op); i++) {
    MlirNamedAttribute attribute = op_attribute(op, i);
    MlirStringRef name = mlirIdentifierStr(attribute.name);
    const bool is_identity = name.length == 4 && memcmp(name.data, "onnx", 4) == 0;
    if (is_identity && of_one_call && !mlirAttributeIsAArray(attribute.attribute)) continue;
    mlirOperationStateAddAttributes(state, 1, &attribute);
  }
}

/* Puts an op on larger operands in the place of this one: its results take new types. */
static status grow_op(const row_blocks *r, MlirOperation op, bool of_one_call) {
  builder b = builder_before(r->compilation, op);
  const intptr_t operand_count = mlirOperationGetNumOperands(op), result_count = mlirOperationGetNumResults(op);
  const tensor_type y = tensor_type_of(mlirOperationGetResult(op, 0));
  const op_kind kind = op_kind_of(op);
  MlirOperationState state = mlirOperationStateGet(mlirIdentifierStr(mlirOperationGetName(op)), b.location);
  for (intptr_t i = 0; i < operand_count; i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    const bool is_short = operand_has_rows(r, op, i) && is_broadcast(kind, i) && tensor_type_of(operand).rank < y.rank;
    if (is_short) operand = lengthen(&b, operand, y.rank);
    if (needs_repeat(r, op, i, &y)) operand = repeat(r, &b, operand);
    if (mlirValueIsNull(operand)) return STATUS_FAILED;
    mlirOperationStateAddOperands(&state, 1, &operand);
  }
  add_attributes(op, of_one_call, &state);
  for (intptr_t i = 0; i < result_count; i++) {
    MlirType type = larger(r, mlirOperationGetResult(op, i));
    mlirOperationStateAddResults(&state, 1, &type);
  }
  MlirOperation grown = mlirOperationCreate(&state);
  if (mlirOperationIsNull(grown)) return STATUS_FAILED;
  mlirBlockInsertOwnedOperationBefore(b.block, op, grown);
  for (intptr_t i = 0; i < result_count; i++)
    value_replace(mlirOperationGetResult(op, i), mlirOperationGetResult(grown, i));
  op_erase(op);
  return STATUS_OK;
}

status row_blocks_grow(const row_blocks *r, bool of_one_call) {
  MlirBlock block = function_body(r->function);
  status code = STATUS_OK;
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++) {
    MlirValue argument = mlirBlockGetArgument(block, i);
    if (row_blocks_has(r, argument)) mlirValueSetType(argument, larger(r, argument));
  }
  for (int i = 0; i < r->ops.count - 1 && code == STATUS_OK; i++)
    if (r->has_rows[i]) code = grow_op(r, r->ops.ops[i], of_one_call);
  function_update_type(r->compilation, r->function);
  return code;
}
