/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * batch-vision: a function called once per camera is called once for all of them.
 *
 *   a = call @vision(x), b = call @vision(y)  ->  c = call @vision(concat(x, y)), a = slice c, b = slice c
 *
 * Requires: outline-stages, which proves the towers equal; before outline-weights, so that what a tower adds to each
 * row can be repeated at compile time. Produces: core ops; dimension 0 of what depends on an argument is as many times
 * larger, and of an op's `onnx` names each is one block of it. Breaks: nothing.
 *
 * It fires when every op treats dimension 0 as independent blocks, one per call: then a batch of n computes what n
 * calls did, bit for bit. The arguments of the calls must be there when the first of them is made.
 */
#include "graph.h"

#include <string.h>

typedef struct batching {
  pass_context *context;
  arena *arena;
  MlirOperation function;
  op_list calls; /* in one block, in order */
  op_list ops;   /* of the function */
  pointer_map positions;
  bool *from_weights; /* per op: without rows for the calls */
} batching;

/* ---- Whether dimension 0 may grow ---- */

static tensor_type type_of(MlirValue value) {
  tensor_type type = {0};
  value_type(value, &type);
  return type;
}

static bool is_batched(const batching *t, MlirValue value) {
  int64_t at = value_position(&t->positions, value);
  return at < 0 || !t->from_weights[at];
}

static bool batched_operand(const batching *t, MlirOperation op, intptr_t index) {
  return index < mlirOperationGetNumOperands(op) && is_batched(t, mlirOperationGetOperand(op, index));
}

/* Rows of a batched operand line up with the result's; one without rows is broadcast, or can be repeated. */
static bool lines_up(const batching *t, MlirValue operand, const tensor_type *result) {
  tensor_type type = type_of(operand);
  return !is_batched(t, operand) || (type.rank == result->rank && type.dims[0] == result->dims[0]);
}

static bool operands_line_up(const batching *t, MlirOperation op, intptr_t first, const tensor_type *result) {
  for (intptr_t i = first; i < mlirOperationGetNumOperands(op); i++)
    if (!lines_up(t, mlirOperationGetOperand(op, i), result)) return false;
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
         type_of(mlirOperationGetOperand(op, 0)).dims[0] != result->dims[0];
}

/* a's rows are batched; b is a matrix of weights, or has as many batches. */
static bool product_batches(const batching *t, MlirOperation op, const tensor_type *result) {
  tensor_type a = type_of(mlirOperationGetOperand(op, 0)), b = type_of(mlirOperationGetOperand(op, 1));
  if (!batched_operand(t, op, 0) || a.rank < 2 || !operands_line_up(t, op, 2, result)) return false;
  if (!batched_operand(t, op, 1)) return b.rank == 2 || (a.rank == result->rank && b.rank <= a.rank && b.dims[0] == 1);
  return a.rank == b.rank && a.rank > 2 && a.dims[0] == b.dims[0];
}

static bool is_elementwise(op_kind kind) {
  return kind == OP_unary || kind == OP_binary || kind == OP_select || kind == OP_cast || kind == OP_pointwise;
}

/* The operand has rows, and others are weights of which all rows read the same. */
static bool only_first_batched(const batching *t, MlirOperation op, intptr_t count) {
  for (intptr_t i = 1; i < count; i++)
    if (batched_operand(t, op, i)) return false;
  return batched_operand(t, op, 0);
}

static bool shared_by_rows(MlirOperation op, intptr_t first, int rank) {
  for (intptr_t i = first; i < mlirOperationGetNumOperands(op); i++) {
    tensor_type type = type_of(mlirOperationGetOperand(op, i));
    if (type.rank >= rank && type.dims[0] != 1) return false;
  }
  return true;
}

static bool attention_batches(const batching *t, MlirOperation op, const tensor_type *result) {
  for (intptr_t i = 0; i < 3; i++)
    if (!batched_operand(t, op, i) || !lines_up(t, mlirOperationGetOperand(op, i), result)) return false;
  if (mlirOperationGetNumOperands(op) < 4) return true;
  MlirValue mask = mlirOperationGetOperand(op, 3);
  return is_batched(t, mask) ? lines_up(t, mask, result) : shared_by_rows(op, 3, result->rank);
}

/* Whether an op that depends on an argument computes each block of dimension 0 from the same blocks of its operands. */
static bool op_batches(const batching *t, MlirOperation op) {
  if (mlirOperationGetNumResults(op) < 1) return false;
  tensor_type y = type_of(mlirOperationGetResult(op, 0));
  op_kind kind = op_kind_of(op);
  if (y.rank < 1) return false;
  if (is_elementwise(kind)) return operands_line_up(t, op, 0, &y);
  switch (kind) {
  case OP_reshape: return type_of(mlirOperationGetOperand(op, 0)).rank > 0; /* whole blocks, one after the other */
  case OP_broadcast: return operands_line_up(t, op, 0, &y);
  case OP_transpose: return first_of(op, "permutation") == 0;
  case OP_reduce: return !reduces_rows(op);
  case OP_softmax:
  case OP_cumsum: return attr_i64(op, "axis", 0) != 0;
  case OP_concat: return attr_i64(op, "axis", 0) != 0;
  case OP_slice: return !slices_rows(op, &y);
  case OP_pad:
    return first_of(op, "before") == 0 && operands_line_up(t, op, 0, &y) &&
           only_first_batched(t, op, mlirOperationGetNumOperands(op));
  case OP_conv: return only_first_batched(t, op, mlirOperationGetNumOperands(op));
  case OP_gather: return attr_i64(op, "axis", 0) != 0 && only_first_batched(t, op, 2);
  case OP_matmul:
  case OP_gemm: return product_batches(t, op, &y);
  case OP_norm:
    return attr_i64(op, "axis", 0) != 0 && only_first_batched(t, op, mlirOperationGetNumOperands(op)) &&
           shared_by_rows(op, 1, y.rank);
  case OP_rope: return only_first_batched(t, op, mlirOperationGetNumOperands(op)) && shared_by_rows(op, 1, 3);
  case OP_attention: return attention_batches(t, op, &y);
  default: return false;
  }
}

static bool arguments_batch(const batching *t) {
  MlirBlock block = function_body(t->function);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++)
    if (type_of(mlirBlockGetArgument(block, i)).rank < 1) return false;
  return mlirBlockGetNumArguments(block) > 0;
}

static bool function_batches(const batching *t) {
  if (!arguments_batch(t)) return false;
  for (int i = 0; i < t->ops.count - 1; i++) {
    MlirOperation op = t->ops.ops[i];
    if (t->from_weights[i] || op_batches(t, op)) continue;
    pass_missed(t->context, mlirOperationGetLocation(op),
                "its %s does not compute each part of dimension 0 from the same part of its operands",
                op_name(op_kind_of(op)));
    return false;
  }
  MlirOperation end = t->ops.ops[t->ops.count - 1];
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(end); i++)
    if (!is_batched(t, mlirOperationGetOperand(end, i)) || type_of(mlirOperationGetOperand(end, i)).rank < 1)
      return false;
  return true;
}

/* ---- Growing it ---- */

static MlirType larger(const batching *t, MlirValue value) {
  tensor_type type = type_of(value);
  type.dims[0] *= t->calls.count;
  return type_make(t->context->compilation->context, &type);
}

/* A weight with a row for each of the result's: one copy per call. */
static MlirValue repeat(const batching *t, builder *b, MlirValue weight) {
  MlirValue *copies = arena_alloc(t->arena, (size_t)t->calls.count * sizeof *copies);
  for (int i = 0; i < t->calls.count; i++) copies[i] = weight;
  return build_concat(b, t->calls.count, copies, 0);
}

/* A weight among the operands that has rows of its own, where the op reads it row by row. */
static bool needs_repeat(const batching *t, MlirOperation op, intptr_t index, const tensor_type *result) {
  op_kind kind = op_kind_of(op);
  MlirValue operand = mlirOperationGetOperand(op, index);
  if (is_batched(t, operand)) return false;
  tensor_type type = type_of(operand);
  if (kind == OP_concat) return true;
  if (!is_elementwise(kind) && !(kind == OP_gemm && index >= 2)) return false;
  return type.rank == result->rank && type.dims[0] != 1;
}

/* Makes the op in place an op on larger operands: its results take new types. */
static status grow_op(const batching *t, MlirOperation op) {
  compilation *c = t->context->compilation;
  builder b = builder_before(c, op);
  intptr_t operand_count = mlirOperationGetNumOperands(op), attribute_count = op_attribute_count(op);
  intptr_t result_count = mlirOperationGetNumResults(op);
  tensor_type y = type_of(mlirOperationGetResult(op, 0));
  for (intptr_t i = 0; i < operand_count; i++)
    if (needs_repeat(t, op, i, &y)) mlirOperationSetOperand(op, i, repeat(t, &b, mlirOperationGetOperand(op, i)));
  MlirOperationState state = mlirOperationStateGet(mlirIdentifierStr(mlirOperationGetName(op)), b.location);
  for (intptr_t i = 0; i < operand_count; i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    mlirOperationStateAddOperands(&state, 1, &operand);
  }
  for (intptr_t i = 0; i < attribute_count; i++) {
    MlirNamedAttribute attribute = op_attribute(op, i);
    MlirStringRef name = mlirIdentifierStr(attribute.name);
    const bool is_identity = name.length == 4 && memcmp(name.data, "onnx", 4) == 0;
    if (is_identity && !mlirAttributeIsAArray(attribute.attribute)) continue; /* of one call alone */
    mlirOperationStateAddAttributes(&state, 1, &attribute);
  }
  for (intptr_t i = 0; i < result_count; i++) {
    MlirType type = larger(t, mlirOperationGetResult(op, i));
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

static status grow_function(const batching *t) {
  MlirBlock block = function_body(t->function);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++)
    mlirValueSetType(mlirBlockGetArgument(block, i), larger(t, mlirBlockGetArgument(block, i)));
  status code = STATUS_OK;
  for (int i = 0; i < t->ops.count - 1 && code == STATUS_OK; i++)
    if (!t->from_weights[i]) code = grow_op(t, t->ops.ops[i]);
  function_update_type(t->context->compilation, t->function);
  return code;
}

/* ---- The calls ---- */

/* Of the function's ops that read a value. */
static MlirLocation readers_location(const batching *t, MlirValue value) {
  size_t count = 0, capacity = 0;
  MlirLocation *parts = NULL;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    parts = arena_grow(t->arena, parts, count, &capacity, sizeof *parts);
    parts[count++] = mlirOperationGetLocation(mlirOpOperandGetOwner(use));
  }
  return location_fuse(t->context->compilation->context, (int)count, parts);
}

static MlirValue joined_argument(const batching *t, builder *b, intptr_t index) {
  MlirValue *parts = arena_alloc(t->arena, (size_t)t->calls.count * sizeof *parts);
  for (int i = 0; i < t->calls.count; i++) parts[i] = mlirOperationGetOperand(t->calls.ops[i], index);
  return build_concat(b, t->calls.count, parts, 0);
}

static status split_result(const batching *t, builder *b, MlirValue whole, intptr_t index) {
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  for (int i = 0; i < t->calls.count; i++) {
    MlirValue value = mlirOperationGetResult(t->calls.ops[i], index);
    tensor_type type = type_of(value);
    MlirValue part = build_slice(b, whole, starts, type.dims, steps);
    if (mlirValueIsNull(part)) return STATUS_FAILED;
    value_replace(value, part);
    starts[0] += type.dims[0];
  }
  return STATUS_OK;
}

/* One call where the first one stands. What puts its arguments together comes of the nodes that read them, what takes
   its results apart of those that make them. */
static status join_calls(const batching *t) {
  MlirBlock body = function_body(t->function);
  builder b = builder_before(t->context->compilation, t->calls.ops[0]);
  const MlirLocation location = b.location;
  intptr_t count = mlirOperationGetNumOperands(t->calls.ops[0]);
  MlirValue *arguments = arena_alloc(t->arena, (size_t)(count + 1) * sizeof *arguments);
  for (intptr_t i = 0; i < count; i++) {
    b.location = readers_location(t, mlirBlockGetArgument(body, i));
    arguments[i] = joined_argument(t, &b, i);
    if (mlirValueIsNull(arguments[i])) return STATUS_FAILED;
  }
  b.location = location;
  MlirOperation call = build_call(&b, t->function, (int)count, arguments);
  status code = STATUS_OK;
  for (intptr_t r = 0; r < mlirOperationGetNumResults(call) && code == STATUS_OK; r++) {
    b.location = mlirOperationGetLocation(value_definition(mlirOperationGetOperand(block_terminator(body), r)));
    code = split_result(t, &b, mlirOperationGetResult(call, r), r);
  }
  for (int i = 0; i < t->calls.count && code == STATUS_OK; i++) op_erase(t->calls.ops[i]);
  return code;
}

/* All that the calls are given is there when the first of them is made. */
static bool arguments_are_ready(const op_list *calls) {
  for (int i = 1; i < calls->count; i++) {
    for (intptr_t k = 0; k < mlirOperationGetNumOperands(calls->ops[i]); k++) {
      MlirOperation made_by = value_definition(mlirOperationGetOperand(calls->ops[i], k));
      if (!mlirOperationIsNull(made_by) && !mlirOperationIsBeforeInBlock(made_by, calls->ops[0])) return false;
    }
  }
  return true;
}

/* All of the function's ops, joined. */
static MlirLocation function_location(const batching *t) {
  MlirLocation *parts = arena_alloc(t->arena, (size_t)t->ops.count * sizeof *parts);
  for (int i = 0; i < t->ops.count; i++) parts[i] = mlirOperationGetLocation(t->ops.ops[i]);
  return location_fuse(t->context->compilation->context, t->ops.count, parts);
}

/* Every call of the function, if all are func.calls in one block; else none. */
static op_list find_calls(arena *a, MlirModule module, MlirOperation function) {
  op_list functions = module_functions(a, module), calls = {0};
  MlirStringRef name = attr_str(function, "sym_name");
  size_t capacity = 0;
  for (int f = 0; f < functions.count; f++) {
    op_list ops = block_ops(a, function_body(functions.ops[f]));
    for (int i = 0; i < ops.count; i++) {
      if (!mlirStringRefEqual(attr_str(ops.ops[i], "callee"), name)) continue;
      bool joins =
          op_is_named(ops.ops[i], "func.call") &&
          (!calls.count || mlirBlockEqual(mlirOperationGetBlock(calls.ops[0]), mlirOperationGetBlock(ops.ops[i])));
      if (!joins) return (op_list){0};
      calls.ops = arena_grow(a, calls.ops, (size_t)calls.count, &capacity, sizeof *calls.ops);
      calls.ops[calls.count++] = ops.ops[i];
    }
  }
  return calls;
}

static status batch_function(pass_context *context, arena *a, MlirModule module, MlirOperation function) {
  batching t = {.context = context, .arena = a, .function = function, .calls = find_calls(a, module, function)};
  if (t.calls.count < 2 || !attr_str_is(function, "sym_visibility", "private")) return STATUS_OK;
  t.ops = block_ops(a, function_body(function));
  t.positions = op_positions(a, &t.ops);
  t.from_weights = ops_from_weights(a, &t.ops, &t.positions);
  if (!arguments_are_ready(&t.calls)) {
    pass_missed(context, function_location(&t), "a call needs what is computed after the first one");
    return STATUS_OK;
  }
  if (!function_batches(&t) || !pass_may_rewrite(context, function_location(&t))) return STATUS_OK;
  status code = grow_function(&t);
  context->changes++;
  return code == STATUS_OK ? join_calls(&t) : code;
}

status pass_batch_vision(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int i = 0; i < functions.count && code == STATUS_OK; i++)
    code = batch_function(context, a, module, functions.ops[i]);
  arena_destroy(a);
  return code;
}
