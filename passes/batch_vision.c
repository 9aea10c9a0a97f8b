/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * batch-vision: a function called once per camera is called once for all of them.
 *
 *   a = call @vision(x), b = call @vision(y)  ->  c = call @vision(concat(x, y)), a = slice c, b = slice c
 *
 * What the function alone does first to an argument, element by element, and with the elements' order, the callers do
 * to inputs of the model instead: an image then goes to its place in the batch as the patches of bf16 that a product
 * reads.
 *
 * Requires: outline-stages, which proves the towers equal; before outline-weights, so that what a tower adds to each
 * row can be repeated at compile time. Produces: core ops; dimension 0 of what depends on an argument is as many times
 * larger, and of an op's `onnx` names each is one block of it. Breaks: nothing.
 *
 * It fires when every op treats dimension 0 as independent blocks, one per call: then a batch of n computes what n
 * calls did, bit for bit. The arguments of the calls must be there when the first of them is made.
 */
#include "row_blocks.h"

typedef struct batching {
  pass_context *context;
  arena *arena;
  MlirOperation function;
  op_list calls; /* in one block, in order */
  row_blocks rows;
} batching;

static bool function_batches(const batching *t) {
  if (!row_blocks_fit_arguments(&t->rows)) return false;
  MlirOperation op = row_blocks_obstacle(&t->rows);
  if (mlirOperationIsNull(op)) return true;
  if (op_kind_of(op) != OP_NONE)
    pass_missed(t->context, mlirOperationGetLocation(op),
                "its %s does not compute each part of dimension 0 from the same part of its operands",
                op_name(op_kind_of(op)));
  return false;
}

/* ---- What the callers do ---- */

/* Ops from an argument on, each the only one that reads what the one in front of it makes. */
typedef struct preparation {
  MlirOperation ops[16];
  int count;
} preparation;

static bool is_elementwise(MlirOperation op) {
  return (op_kind_of(op) == OP_cast || op_kind_of(op) == OP_unary) && mlirOperationGetNumOperands(op) == 1;
}

/* Up to the first elementwise op, and what moves elements behind it: one launch, which writes to its place in the
   batch. Nothing where it would only reshape: then it is a view in the function as well. */
static preparation find_preparation(MlirValue argument) {
  preparation found = {.count = 0};
  bool works = false, has_computed = false;
  for (MlirValue value = argument; found.count < 16 && value_has_one_use(value);) {
    MlirOperation op = mlirOpOperandGetOwner(mlirValueGetFirstUse(value));
    const op_kind kind = op_kind_of(op);
    const bool computes = is_elementwise(op);
    if (!(kind == OP_reshape || kind == OP_transpose || (computes && !has_computed))) break;
    works |= computes || kind == OP_transpose;
    has_computed |= computes;
    found.ops[found.count++] = op;
    value = mlirOperationGetResult(op, 0);
  }
  if (!works) found.count = 0;
  return found;
}

/* Whether every call passes an input of the model: what an op computes may be written to its place in any case. */
static bool are_inputs(const batching *t, intptr_t index) {
  bool all = true;
  for (int i = 0; all && i < t->calls.count; i++)
    all = mlirOperationIsNull(value_definition(mlirOperationGetOperand(t->calls.ops[i], index)));
  return all;
}

/* In front of the first call, for the value that call `call` passes. */
static void prepare_operand(const batching *t, const preparation *p, int call, intptr_t index) {
  MlirOperation first = t->calls.ops[0];
  MlirValue value = mlirOperationGetOperand(t->calls.ops[call], index);
  for (int i = 0; i < p->count; i++) {
    MlirOperation clone = mlirOperationClone(p->ops[i]);
    mlirOperationSetOperand(clone, 0, value);
    mlirOperationRemoveAttributeByName(clone, mlirStringRefCreateFromCString("onnx")); /* of all calls' values */
    mlirBlockInsertOwnedOperationBefore(mlirOperationGetBlock(first), first, clone);
    value = mlirOperationGetResult(clone, 0);
  }
  mlirOperationSetOperand(t->calls.ops[call], index, value);
}

/* The function takes what the last op made. */
static void take_prepared(const batching *t, const preparation *p, intptr_t index) {
  MlirBlock body = function_body(t->function);
  MlirValue made = mlirOperationGetResult(p->ops[p->count - 1], 0);
  MlirValue argument =
      mlirBlockInsertArgument(body, index, mlirValueGetType(made), mlirOperationGetLocation(p->ops[p->count - 1]));
  value_replace(made, argument);
  for (int i = p->count - 1; i >= 0; i--) op_erase(p->ops[i]);
  mlirBlockEraseArgument(body, (unsigned)index + 1);
}

/* Leaves to the callers what they can do. */
static void prepare_arguments(batching *t) {
  MlirBlock body = function_body(t->function);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(body); i++) {
    const preparation p = find_preparation(mlirBlockGetArgument(body, i));
    if (p.count == 0 || !are_inputs(t, i)) continue;
    for (int call = 0; call < t->calls.count; call++) prepare_operand(t, &p, call, i);
    take_prepared(t, &p, i);
  }
  function_update_type(t->context->compilation, t->function);
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
    tensor_type type = tensor_type_of(value);
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
  MlirLocation *parts = arena_alloc(t->arena, (size_t)t->rows.ops.count * sizeof *parts);
  for (int i = 0; i < t->rows.ops.count; i++) parts[i] = mlirOperationGetLocation(t->rows.ops.ops[i]);
  return location_fuse(t->context->compilation->context, t->rows.ops.count, parts);
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
  t.rows = row_blocks_read(context->compilation, a, function, NULL, t.calls.count);
  if (!arguments_are_ready(&t.calls)) {
    pass_missed(context, function_location(&t), "a call needs what is computed after the first one");
    return STATUS_OK;
  }
  if (!function_batches(&t) || !pass_may_rewrite(context, function_location(&t))) return STATUS_OK;
  prepare_arguments(&t);
  t.rows = row_blocks_read(context->compilation, a, function, NULL, t.calls.count); /* of what is left */
  status code = row_blocks_grow(&t.rows, true);
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
