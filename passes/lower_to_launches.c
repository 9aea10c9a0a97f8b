/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * lower-to-launches: every op becomes a launch over buffers, or a view of one.
 *
 * requires  core and fused ops in @main and the functions that it calls; constants and weights anywhere
 * produces  @main at launch level: pinion.buffer and pinion.launch ops; `pinion.stages`; constants and weights of other
 *           functions as further results of @weights. Arena offsets are still -1: plan-memory sets them
 * breaks    every function but @weights is gone
 *
 * A function called from @main is a stage, inlined once per call; a pinion.steps is one, lowered once and repeated.
 */
#include "lower.h"

#include "../ir/dialect.h"

#include <string.h>

static lower_function lower_steps, lower_call;

static lower_function *const rules[OP_COUNT] = {
    [OP_constant] = lower_constant,   [OP_weight] = lower_constant,     [OP_unary] = lower_unary,
    [OP_binary] = lower_binary,       [OP_select] = lower_select,       [OP_cast] = lower_cast,
    [OP_reduce] = lower_reduce,       [OP_cumsum] = lower_cumsum,       [OP_softmax] = lower_softmax,
    [OP_matmul] = lower_matmul,       [OP_conv] = lower_conv,           [OP_gather] = lower_gather,
    [OP_slice] = lower_slice,         [OP_concat] = lower_concat,       [OP_reshape] = lower_reshape,
    [OP_transpose] = lower_transpose, [OP_broadcast] = lower_broadcast, [OP_pad] = lower_pad,
    [OP_steps] = lower_steps,         [OP_pointwise] = lower_pointwise, [OP_gemm] = lower_gemm,
    [OP_norm] = lower_norm,           [OP_rope] = lower_rope,           [OP_attention] = lower_attention,
};

static status lower_op(lowering *l, MlirOperation op) {
  const op_kind kind = op_kind_of(op);
  if (kind == OP_NONE) return lower_call(l, op);
  return rules[kind] ? rules[kind](l, op) : lower_error(l, op, "is not an op of the core or fused level");
}

/* ---- Stages ---- */

static bool last_stage_is_empty(const lowering *l) {
  return l->launch_count == 0 || l->launches[l->launch_count - 1].stage != (int)l->stage_count - 1;
}

static void stage_begin(lowering *l, const char *name, int64_t repeat) {
  if (l->stage_count && last_stage_is_empty(l)) l->stage_count--;
  if (l->stage_count) {
    const lowered_stage *last = &l->stages[l->stage_count - 1];
    if (repeat == 1 && last->repeat == 1 && !strcmp(last->name, name)) return;
  }
  l->stages = arena_grow(l->c->arena, l->stages, l->stage_count, &l->stage_capacity, sizeof *l->stages);
  l->stages[l->stage_count++] = (lowered_stage){name, repeat};
}

/* ---- Functions ---- */

/* Copies a returned value to where it is wanted, unless it was computed there. */
static void deliver(lowering *l, MlirOperation terminator, const view *value, const view *wanted) {
  MlirLocation location = mlirOperationGetLocation(terminator);
  if (view_same(value, wanted)) return;
  view from = *value;
  if (from.buffer == wanted->buffer) from = materialise(l, location, value); /* the copy would read what it wrote */
  copy_view(l, location, &from, wanted);
}

/* Lowers a function's body, whose arguments have views, and leaves its results' views in out_results. */
static status lower_body(lowering *l, const frame *f, view *out_results) {
  enum { DEPTH_AT_MOST = 16 };
  const frame *caller = l->frame;
  MlirOperation terminator = block_terminator(f->block);
  status result = STATUS_OK;
  if (l->depth == DEPTH_AT_MOST) return lower_error(l, terminator, "is in functions that call one another without end");
  l->frame = f;
  l->depth++;
  for (MlirOperation op = mlirBlockGetFirstOperation(f->block);
       result == STATUS_OK && !mlirOperationEqual(op, terminator); op = mlirOperationGetNextInBlock(op)) {
    result = lower_op(l, op);
    if (result == STATUS_OK) note_value(l, op);
  }
  for (intptr_t i = 0; i < f->result_count && result == STATUS_OK; i++) {
    result = operand_view(l, terminator, i, &out_results[i]);
    if (result != STATUS_OK || !f->results[i]) continue;
    deliver(l, terminator, &out_results[i], f->results[i]);
    out_results[i] = *f->results[i];
  }
  l->frame = caller;
  l->depth--;
  return result;
}

static MlirOperation callee_of(lowering *l, MlirOperation call, const char **out_name) {
  MlirStringRef name = attr_str(call, "callee");
  *out_name = arena_string(l->c->arena, name.data, name.length);
  return module_function(l->module, *out_name);
}

static frame frame_of(lowering *l, MlirOperation function) {
  frame f = {.block = function_body(function)};
  f.result_count = (int)mlirOperationGetNumOperands(block_terminator(f.block));
  f.results = arena_alloc(l->c->arena, sizeof *f.results * (size_t)(f.result_count + 1));
  return f;
}

/* How often the op's callee is called in this block, and which of the calls it is. */
static void count_calls(MlirOperation call, frame *f) {
  MlirStringRef name = attr_str(call, "callee");
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirOperationGetBlock(call)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (mlirOperationEqual(op, call)) f->call = f->calls;
    f->calls += mlirStringRefEqual(attr_str(op, "callee"), name);
  }
}

static status lower_call(lowering *l, MlirOperation op) {
  const char *name;
  MlirOperation callee = callee_of(l, op, &name);
  if (mlirOperationIsNull(callee) ||
      mlirBlockGetNumArguments(function_body(callee)) != mlirOperationGetNumOperands(op) ||
      mlirOperationGetNumOperands(block_terminator(function_body(callee))) != mlirOperationGetNumResults(op))
    return lower_error(l, op, "is neither an op of Pinion nor a call of a function that it fits");
  const bool is_stage = l->frame->block.ptr == function_body(module_function(l->module, "main")).ptr;
  frame f = frame_of(l, callee);
  count_calls(op, &f);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    view argument;
    const status result = operand_view(l, op, i, &argument);
    if (result != STATUS_OK) return result;
    map_set(l->c->arena, &l->values, mlirBlockGetArgument(f.block, i), &argument);
  }
  for (int i = 0; i < f.result_count; i++) {
    view wished;
    if (place_wished(l, mlirOperationGetResult(op, i), &wished))
      f.results[i] = arena_copy(l->c->arena, &wished, sizeof wished);
  }
  view *results = arena_alloc(l->c->arena, sizeof *results * (size_t)(f.result_count + 1));
  if (is_stage) stage_begin(l, name, 1);
  const status result = lower_body(l, &f, results);
  if (is_stage) stage_begin(l, "main", 1);
  for (int i = 0; i < f.result_count; i++) map_set(l->c->arena, &l->values, mlirOperationGetResult(op, i), &results[i]);
  return result;
}

/* ---- Steps ---- */

/* Row s of a table as the callee's argument, of whose type a leading 1 may be part. */
static status table_argument(lowering *l, MlirOperation op, const view *table, MlirValue argument, view *out) {
  tensor_type type;
  if (!value_type(argument, &type) || table->type.rank == 0) return lower_error(l, op, "has a table without rows");
  view_table_row(table, out);
  if (!view_reshape(out, type.rank, type.dims, out)) return lower_error(l, op, "has a table whose rows do not fit");
  return STATUS_OK;
}

static status steps_arguments(lowering *l, MlirOperation op, MlirBlock block, const view *carried) {
  const intptr_t count = mlirOperationGetNumOperands(op), first_table = count - (intptr_t)attr_i64(op, "tables", 0);
  map_set(l->c->arena, &l->values, mlirBlockGetArgument(block, 0), carried);
  for (intptr_t i = 1; i < count; i++) {
    view v;
    MlirValue argument = mlirBlockGetArgument(block, i);
    status result = operand_view(l, op, i, &v);
    if (result == STATUS_OK && i >= first_table) result = table_argument(l, op, &v, argument, &v);
    if (result != STATUS_OK) return result;
    map_set(l->c->arena, &l->values, argument, &v);
  }
  return STATUS_OK;
}

/* The callee takes what the op passes, and returns the next carried tensor. */
static bool steps_fit(MlirOperation op, MlirOperation callee) {
  MlirBlock block = function_body(callee);
  MlirOperation end = block_terminator(block);
  const int64_t tables = attr_i64(op, "tables", 0);
  if (mlirBlockGetNumArguments(block) != mlirOperationGetNumOperands(op) || mlirOperationGetNumOperands(end) != 1)
    return false;
  MlirType type = mlirValueGetType(mlirOperationGetResult(op, 0));
  return tables >= 0 && tables < mlirOperationGetNumOperands(op) &&
         mlirTypeEqual(mlirValueGetType(mlirBlockGetArgument(block, 0)), type) &&
         mlirTypeEqual(mlirValueGetType(mlirOperationGetOperand(end, 0)), type);
}

static status lower_steps(lowering *l, MlirOperation op) {
  const char *name;
  MlirOperation callee = callee_of(l, op, &name);
  if (mlirOperationIsNull(callee)) return lower_error(l, op, "calls a function that does not exist");
  if (!steps_fit(op, callee)) return lower_error(l, op, "calls a function of another type");
  if (l->in_steps) return lower_error(l, op, "is inside of another pinion.steps");
  MlirValue y = mlirOperationGetResult(op, 0);
  view init, carried, last;
  tensor_type type;
  status result = operand_view(l, op, 0, &init);
  if (result != STATUS_OK || !value_type(y, &type)) return STATUS_FAILED;
  if (!place_wished(l, y, &carried)) carried = arena_view(l, value_name(l, mlirOperationGetLocation(op)), &type);
  copy_view(l, mlirOperationGetLocation(op), &init, &carried);

  frame f = frame_of(l, callee);
  f.carried = true;
  f.results[0] = &carried;
  result = steps_arguments(l, op, f.block, &carried);
  if (result != STATUS_OK) return result;
  stage_begin(l, name, attr_i64(op, "count", 1));
  l->in_steps = true;
  l->carried_buffer = carried.buffer;
  l->step_launch = l->launch_count;
  l->step_buffers = l->buffer_count;
  result = lower_body(l, &f, &last);
  l->in_steps = false;
  l->carried_buffer = -1;
  stage_begin(l, "main", 1);
  map_set(l->c->arena, &l->values, y, &carried);
  return result;
}

/* ---- @weights ---- */

static MlirOperation function_create(lowering *l, const char *name, intptr_t result_count, const MlirType *results) {
  MlirContext context = l->c->context;
  MlirOperationState state =
      mlirOperationStateGet(mlirStringRefCreateFromCString("func.func"), mlirLocationUnknownGet(context));
  MlirNamedAttribute attributes[] = {
      make_named(context, "sym_name", make_str(context, name)),
      make_named(context, "function_type",
                 mlirTypeAttrGet(mlirFunctionTypeGet(context, 0, NULL, result_count, results)))};
  MlirRegion region = mlirRegionCreate();
  mlirRegionAppendOwnedBlock(region, mlirBlockCreate(0, NULL, NULL));
  mlirOperationStateAddAttributes(&state, 2, attributes);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  return mlirOperationCreate(&state);
}

static void return_create(lowering *l, MlirBlock block, intptr_t count, const MlirValue *values) {
  MlirOperationState state =
      mlirOperationStateGet(mlirStringRefCreateFromCString("func.return"), mlirLocationUnknownGet(l->c->context));
  mlirOperationStateAddOperands(&state, count, values);
  mlirBlockAppendOwnedOperation(block, mlirOperationCreate(&state));
}

/* Numbers anew those constants and weights of other functions that a launch still reads; returns how many. */
static size_t keep_used_weights(lowering *l) {
  size_t kept = 0;
  for (size_t i = 0; i < l->weight_op_count; i++) {
    const int64_t old = l->weight_result_count + (int64_t)i, new = l->weight_result_count + (int64_t)kept;
    bool used = false;
    for (size_t b = 0; b < l->buffer_count; b++) {
      lowered_buffer *buffer = &l->buffers[b];
      if (buffer->space != PINION_SPACE_WEIGHTS || !buffer->used || buffer->index != old) continue;
      buffer->index = new;
      used = true;
    }
    if (used) l->weight_ops[kept++] = l->weight_ops[i];
  }
  return kept;
}

/* Gives @weights the further results. */
static void extend_weights(lowering *l) {
  const size_t added = keep_used_weights(l), own = (size_t)l->weight_result_count;
  if (added == 0) return;
  MlirOperation function = module_function(l->module, "weights");
  if (mlirOperationIsNull(function)) {
    function = function_create(l, "weights", 0, NULL);
    mlirBlockAppendOwnedOperation(mlirModuleGetBody(l->module), function);
    return_create(l, function_body(function), 0, NULL);
  }
  MlirBlock block = function_body(function);
  MlirOperation terminator = block_terminator(block);
  MlirValue *values = arena_alloc(l->c->arena, sizeof *values * (own + added));
  MlirType *types = arena_alloc(l->c->arena, sizeof *types * (own + added));
  for (size_t i = 0; i < own; i++) values[i] = mlirOperationGetOperand(terminator, (intptr_t)i);
  for (size_t i = 0; i < added; i++) {
    MlirOperation clone = mlirOperationClone(l->weight_ops[i]);
    mlirBlockInsertOwnedOperationBefore(block, terminator, clone);
    values[own + i] = mlirOperationGetResult(clone, 0);
  }
  for (size_t i = 0; i < own + added; i++) types[i] = mlirValueGetType(values[i]);
  mlirOperationDestroy(terminator);
  return_create(l, block, (intptr_t)(own + added), values);
  MlirType type = mlirFunctionTypeGet(l->c->context, 0, NULL, (intptr_t)(own + added), types);
  mlirOperationSetAttributeByName(function, mlirStringRefCreateFromCString("function_type"), mlirTypeAttrGet(type));
  mlirOperationRemoveAttributeByName(function, mlirStringRefCreateFromCString("res_attrs"));
}

/* ---- The module ---- */

static status io_buffer(lowering *l, MlirOperation main, const char *names, intptr_t index, MlirValue value,
                        pinion_space space, view *out) {
  tensor_type type;
  MlirAttribute list = mlirOperationGetAttributeByName(main, mlirStringRefCreateFromCString(names));
  if (mlirAttributeIsNull(list) || !mlirAttributeIsAArray(list) || index >= mlirArrayAttrGetNumElements(list))
    return diagnose(&l->c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "@main has no name for each of its %s", names);
  if (!value_type(value, &type))
    return diagnose(&l->c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "@main has an argument without a static shape");
  if (!mlirAttributeIsAString(mlirArrayAttrGetElement(list, index)))
    return diagnose(&l->c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "@main's `%s` are not all strings", names);
  MlirStringRef name = mlirStringAttrGetValue(mlirArrayAttrGetElement(list, index));
  const int64_t pitch = type.rank ? type.dims[type.rank - 1] : 1;
  const int buffer = buffer_create(l, arena_string(l->c->arena, name.data, name.length), space, &type, pitch);
  l->buffers[buffer].index = index;
  *out = view_rows(buffer, &type, pitch);
  return STATUS_OK;
}

static status lower_main(lowering *l, MlirOperation main) {
  frame f = frame_of(l, main);
  view v;
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(f.block); i++) {
    MlirValue argument = mlirBlockGetArgument(f.block, i);
    const status result = io_buffer(l, main, "pinion.inputs", i, argument, PINION_SPACE_INPUT, &v);
    if (result != STATUS_OK) return result;
    map_set(l->c->arena, &l->values, argument, &v);
  }
  for (intptr_t i = 0; i < f.result_count; i++) {
    MlirValue value = mlirOperationGetOperand(block_terminator(f.block), i);
    const status result = io_buffer(l, main, "pinion.outputs", i, value, PINION_SPACE_OUTPUT, &v);
    if (result != STATUS_OK) return result;
    f.results[i] = arena_copy(l->c->arena, &v, sizeof v);
  }
  view *results = arena_alloc(l->c->arena, sizeof *results * (size_t)(f.result_count + 1));
  stage_begin(l, "main", 1);
  return lower_body(l, &f, results);
}

/* Replaces all functions but @weights by the new @main. */
static status replace_functions(lowering *l) {
  mark_used_buffers(l);
  extend_weights(l);
  MlirBlock functions = mlirModuleGetBody(l->module);
  MlirOperation next, main = function_create(l, "main", 0, NULL);
  const status result = emit_launch_level(l, function_body(main));
  return_create(l, function_body(main), 0, NULL);
  for (MlirOperation op = mlirBlockGetFirstOperation(functions); !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    if (!attr_str_is(op, "sym_name", "weights")) mlirOperationDestroy(op);
  }
  mlirBlockInsertOwnedOperation(functions, 0, main);
  return result;
}

status pass_lower_to_launches(pass_context *context, MlirModule module) {
  lowering l = {.context = context, .c = context->compilation, .module = module, .carried_buffer = -1};
  MlirOperation main = module_function(module, "main"), weights = module_function(module, "weights");
  if (mlirOperationIsNull(main))
    return diagnose(&l.c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "the module has no @main");
  if (!mlirOperationIsNull(weights))
    l.weight_result_count = mlirOperationGetNumOperands(block_terminator(function_body(weights)));
  status result = lower_main(&l, main);
  if (result == STATUS_OK) result = replace_functions(&l);
  context->changes += (int)l.launch_count;
  return result;
}
