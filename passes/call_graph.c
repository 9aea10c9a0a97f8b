/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Who calls whom, and values across functions. */
#include "call_graph.h"

#include <string.h>

/* ---- Who calls whom ---- */

MlirOperation call_graph_callee(const call_graph *g, MlirOperation op) {
  if (op_kind_of(op) != OP_steps && !op_is_named(op, "func.call")) return (MlirOperation){0};
  MlirStringRef name = attr_str(op, "callee");
  MlirOperation callee = module_function(g->module, arena_string(g->arena, name.data, name.length));
  return mlirOperationIsNull(callee) || mlirBlockIsNull(function_body(callee)) ? (MlirOperation){0} : callee;
}

static void add_caller(call_graph *g, MlirOperation callee, MlirOperation caller) {
  const int64_t known = pointer_map_get(&g->called, callee.ptr);
  if (known >= 0) {
    g->callers[known] = (MlirOperation){0};
    return;
  }
  g->callers = arena_grow(g->arena, g->callers, g->count, &g->capacity, sizeof *g->callers);
  g->callers[g->count] = caller;
  pointer_map_set(&g->called, callee.ptr, (int64_t)g->count++);
}

call_graph call_graph_read(compilation *c, arena *a, MlirModule module) {
  call_graph g = {.compilation = c, .arena = a, .module = module, .called = pointer_map_create(a)};
  op_list functions = module_functions(a, module);
  for (int i = 0; i < functions.count; i++) {
    op_list ops = block_ops(a, function_body(functions.ops[i]));
    for (int k = 0; k < ops.count; k++) {
      MlirOperation callee = call_graph_callee(&g, ops.ops[k]);
      if (!mlirOperationIsNull(callee)) add_caller(&g, callee, ops.ops[k]);
    }
  }
  return g;
}

MlirOperation call_graph_only_caller(const call_graph *g, MlirOperation function) {
  const int64_t known = pointer_map_get(&g->called, function.ptr);
  return known < 0 ? (MlirOperation){0} : g->callers[known];
}

static MlirOperation op_function(MlirOperation op) {
  return mlirBlockGetParentOperation(mlirOperationGetBlock(op));
}

MlirOperation value_function(MlirValue value) {
  return mlirValueIsABlockArgument(value) ? mlirBlockGetParentOperation(mlirBlockArgumentGetOwner(value))
                                          : op_function(mlirOpResultGetOwner(value));
}

bool call_graph_runs_once(const call_graph *g, MlirOperation function) {
  for (size_t depth = 0; depth <= g->count; depth++) {
    if (pointer_map_get(&g->called, function.ptr) < 0) return true;
    MlirOperation caller = call_graph_only_caller(g, function);
    if (mlirOperationIsNull(caller) || op_kind_of(caller) == OP_steps) return false;
    function = op_function(caller);
  }
  return false; /* it calls itself */
}

MlirOperation call_graph_call_towards(const call_graph *g, MlirOperation outer, MlirOperation function) {
  for (size_t depth = 0; depth <= g->count; depth++) {
    MlirOperation caller = call_graph_only_caller(g, function);
    if (mlirOperationIsNull(caller) || mlirOperationEqual(op_function(caller), outer)) return caller;
    function = op_function(caller);
  }
  return (MlirOperation){0};
}

bool steps_pass_whole(MlirOperation steps, intptr_t index) {
  return index > 0 && index < mlirOperationGetNumOperands(steps) - attr_i64(steps, "tables", 0);
}

/* ---- Where a value comes from ---- */

/* What the only caller passes for an argument; null if there is none such. */
static MlirValue passed_value(const call_graph *g, MlirValue argument) {
  const intptr_t index = mlirBlockArgumentGetArgNumber(argument);
  MlirOperation caller = call_graph_only_caller(g, value_function(argument));
  if (mlirOperationIsNull(caller) || index >= mlirOperationGetNumOperands(caller) ||
      (op_kind_of(caller) == OP_steps && !steps_pass_whole(caller, index)))
    return (MlirValue){0};
  return mlirOperationGetOperand(caller, index);
}

/* What the callee returns for a call's result; null if it is no call's. */
static MlirValue returned_value(const call_graph *g, MlirValue result) {
  MlirOperation call = mlirOpResultGetOwner(result);
  if (!op_is_named(call, "func.call")) return (MlirValue){0};
  MlirOperation callee = call_graph_callee(g, call);
  const intptr_t index = mlirOpResultGetResultNumber(result);
  if (mlirOperationIsNull(callee)) return (MlirValue){0};
  MlirOperation end = block_terminator(function_body(callee));
  return index < mlirOperationGetNumOperands(end) ? mlirOperationGetOperand(end, index) : (MlirValue){0};
}

MlirValue value_origin(const call_graph *g, MlirValue value) {
  for (size_t hops = 0; hops <= 4 * g->count; hops++) {
    MlirValue before = mlirValueIsABlockArgument(value) ? passed_value(g, value) : returned_value(g, value);
    if (mlirValueIsNull(before)) return value;
    value = before;
  }
  return value;
}

/* ---- Carrying it elsewhere ---- */

/* A result of the only call of the value's function. */
static MlirValue carry_up(call_graph *g, MlirValue value) {
  MlirOperation function = value_function(value), call = call_graph_only_caller(g, function);
  MlirOperation end = block_terminator(function_body(function));
  const intptr_t count = mlirOperationGetNumOperands(end);
  for (intptr_t i = 0; i < count; i++)
    if (mlirValueEqual(mlirOperationGetOperand(end, i), value)) return mlirOperationGetResult(call, i);
  MlirValue *values = arena_alloc(g->arena, (size_t)(count + mlirOperationGetNumOperands(call) + 1) * sizeof *values);
  for (intptr_t i = 0; i < count; i++) values[i] = mlirOperationGetOperand(end, i);
  values[count] = value;
  mlirOperationSetOperands(end, count + 1, values);
  function_update_type(g->compilation, function);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(call); i++) values[i] = mlirOperationGetOperand(call, i);
  builder b = builder_before(g->compilation, call);
  MlirOperation wider = build_call(&b, function, (int)mlirOperationGetNumOperands(call), values);
  if (mlirOperationIsNull(wider)) return (MlirValue){0};
  for (intptr_t i = 0; i < count; i++) value_replace(mlirOperationGetResult(call, i), mlirOperationGetResult(wider, i));
  op_erase(call);
  g->callers[pointer_map_get(&g->called, function.ptr)] = wider;
  return mlirOperationGetResult(wider, count);
}

/* An argument of the function that `caller` alone calls, for a value of the caller's function. */
static MlirValue carry_down(call_graph *g, MlirValue value, MlirOperation caller) {
  MlirOperation function = call_graph_callee(g, caller);
  MlirBlock block = function_body(function);
  const bool repeated = op_kind_of(caller) == OP_steps;
  const intptr_t count = mlirOperationGetNumOperands(caller);
  for (intptr_t i = 0; i < count; i++)
    if (mlirValueEqual(mlirOperationGetOperand(caller, i), value) && (!repeated || steps_pass_whole(caller, i)))
      return mlirBlockGetArgument(block, i);
  const intptr_t at = repeated ? count - (intptr_t)attr_i64(caller, "tables", 0) : count; /* tables come last */
  MlirValue *values = arena_alloc(g->arena, (size_t)(count + 1) * sizeof *values);
  for (intptr_t i = 0; i < count; i++) values[i + (i >= at)] = mlirOperationGetOperand(caller, i);
  values[at] = value;
  mlirOperationSetOperands(caller, count + 1, values);
  MlirValue argument =
      mlirBlockInsertArgument(block, at, mlirValueGetType(value), mlirLocationUnknownGet(g->compilation->context));
  function_update_type(g->compilation, function);
  return argument;
}

/* An argument in `function` that has `origin`; null if there is none. */
static MlirValue find_argument(const call_graph *g, MlirValue origin, MlirOperation function) {
  MlirBlock block = function_body(function);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++)
    if (mlirValueEqual(value_origin(g, mlirBlockGetArgument(block, i)), origin)) return mlirBlockGetArgument(block, i);
  return (MlirValue){0};
}

MlirValue value_carry(call_graph *g, MlirValue value, MlirOperation function) {
  if (mlirOperationEqual(value_function(value), function)) return value;
  MlirValue found = find_argument(g, value_origin(g, value), function);
  if (!mlirValueIsNull(found)) return found;
  while (!mlirValueIsNull(value) && !mlirOperationEqual(value_function(value), function)) {
    MlirOperation call = call_graph_call_towards(g, value_function(value), function);
    value = mlirOperationIsNull(call) ? carry_up(g, value) : carry_down(g, value, call);
  }
  return value;
}
