/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * eliminate-dead: removes ops none of whose results is used: among them what exporters leave in, such as the last
 * prefill layer's attention output and MLP, which feed nothing. Across functions: results that no call uses, and
 * arguments that a function does not read, go with what computes them. Then functions that nothing calls.
 *
 * Requires: nothing. Produces: nothing new. Breaks: nothing; launches and buffers are left alone.
 */
#include "graph.h"

#include <string.h>

static bool calls(MlirOperation op, MlirStringRef name) {
  MlirAttribute callee = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("callee"));
  if (mlirAttributeIsNull(callee) || !mlirAttributeIsAFlatSymbolRef(callee)) return false;
  MlirStringRef called = mlirFlatSymbolRefAttrGetValue(callee);
  return called.length == name.length && memcmp(called.data, name.data, name.length) == 0;
}

/* Only what a pass outlined is private; @weights is called by no op, but read. */
static bool is_removable(arena *a, const op_list *functions, MlirOperation function) {
  MlirStringRef name = attr_str(function, "sym_name");
  if (!attr_str_is(function, "sym_visibility", "private") || attr_str_is(function, "sym_name", "weights")) return false;
  for (int i = 0; i < functions->count; i++) {
    op_list ops = block_ops(a, function_body(functions->ops[i]));
    for (int k = 0; k < ops.count; k++)
      if (calls(ops.ops[k], name)) return false;
  }
  return true;
}

/* ---- Across functions ---- */

/* A private function and all ops that name it. */
typedef struct callee {
  pass_context *context;
  compilation *compilation; /* the context's */
  arena *arena;
  MlirOperation function;
  MlirBlock block;
  op_list callers;
  bool repeated; /* by a pinion.steps: the first argument and the result are carried */
} callee;

static callee find_callee(pass_context *context, arena *a, const op_list *functions, MlirOperation function) {
  callee f = {.context = context,
              .compilation = context->compilation,
              .arena = a,
              .function = function,
              .block = function_body(function)};
  size_t capacity = 0;
  for (int i = 0; i < functions->count; i++) {
    op_list ops = block_ops(a, function_body(functions->ops[i]));
    for (int k = 0; k < ops.count; k++) {
      if (!calls(ops.ops[k], attr_str(function, "sym_name"))) continue;
      f.callers.ops = arena_grow(a, f.callers.ops, (size_t)f.callers.count, &capacity, sizeof *f.callers.ops);
      f.callers.ops[f.callers.count++] = ops.ops[k];
      f.repeated |= op_kind_of(ops.ops[k]) == OP_steps;
    }
  }
  return f;
}

/* Whether every caller is one that this pass can rewrite, and passes and receives what the function says. */
static bool fits_callers(const callee *f) {
  intptr_t arguments = mlirBlockGetNumArguments(f->block);
  intptr_t results = mlirOperationGetNumOperands(block_terminator(f->block));
  for (int i = 0; i < f->callers.count; i++) {
    MlirOperation op = f->callers.ops[i];
    if (op_kind_of(op) != OP_steps && !op_is_named(op, "func.call")) return false;
    if (mlirOperationGetNumOperands(op) != arguments || mlirOperationGetNumResults(op) != results) return false;
  }
  return f->callers.count > 0;
}

static bool result_is_unused(const callee *f, intptr_t result) {
  for (int i = 0; i < f->callers.count; i++)
    if (!value_is_unused(mlirOperationGetResult(f->callers.ops[i], result))) return false;
  return !f->repeated;
}

static bool argument_is_unused(const callee *f, intptr_t argument) {
  return value_is_unused(mlirBlockGetArgument(f->block, argument)) && !(f->repeated && argument == 0);
}

static void drop_operands(MlirOperation op, arena *a, const bool *dropped) {
  intptr_t count = mlirOperationGetNumOperands(op), kept = 0;
  MlirValue *values = arena_alloc(a, (size_t)(count + 1) * sizeof *values);
  for (intptr_t i = 0; i < count; i++)
    if (!dropped[i]) values[kept++] = mlirOperationGetOperand(op, i);
  mlirOperationSetOperands(op, kept, values);
}

/* A call or steps with fewer operands and results; `tables` of a steps are counted anew. */
static void rebuild_caller(const callee *f, MlirOperation op, const bool *arguments, const bool *results) {
  intptr_t operand_count = mlirOperationGetNumOperands(op), tables = (intptr_t)attr_i64(op, "tables", 0), left = 0;
  for (intptr_t i = operand_count - tables; i < operand_count; i++) left += !arguments[i];
  drop_operands(op, f->arena, arguments);
  if (op_kind_of(op) == OP_steps) {
    mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("tables"),
                                    make_i64(f->compilation->context, left));
    return;
  }
  builder b = builder_before(f->compilation, op);
  MlirValue *operands = arena_alloc(f->arena, (size_t)(mlirOperationGetNumOperands(op) + 1) * sizeof *operands);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) operands[i] = mlirOperationGetOperand(op, i);
  MlirOperation call = build_call(&b, f->function, (int)mlirOperationGetNumOperands(op), operands);
  for (intptr_t i = 0, kept = 0; i < mlirOperationGetNumResults(op); i++)
    if (!results[i]) value_replace(mlirOperationGetResult(op, i), mlirOperationGetResult(call, kept++));
  op_erase(op);
}

/* Returns how many results and arguments went away. */
static int shrink_function(const callee *f) {
  MlirOperation end = block_terminator(f->block);
  intptr_t argument_count = mlirBlockGetNumArguments(f->block), result_count = mlirOperationGetNumOperands(end);
  bool *arguments = arena_alloc(f->arena, (size_t)argument_count + 1);
  bool *results = arena_alloc(f->arena, (size_t)result_count + 1);
  int dropped = 0;
  if (!pass_may_simplify(f->context, mlirOperationGetLocation(f->function))) return 0;
  for (intptr_t i = 0; i < result_count; i++) dropped += results[i] = result_is_unused(f, i);
  drop_operands(end, f->arena, results);
  block_erase_dead(f->block);
  for (intptr_t i = 0; i < argument_count; i++) dropped += arguments[i] = argument_is_unused(f, i);
  if (dropped == 0) return 0;
  for (intptr_t i = argument_count - 1; i >= 0; i--)
    if (arguments[i]) mlirBlockEraseArgument(f->block, (unsigned)i);
  function_update_type(f->compilation, f->function);
  for (int i = 0; i < f->callers.count; i++) rebuild_caller(f, f->callers.ops[i], arguments, results);
  return dropped;
}

/* Until nothing changes: an argument that goes may have been the last use of another function's result. */
static int shrink_functions(pass_context *context, arena *a, MlirModule module) {
  op_list functions = module_functions(a, module);
  int all = 0;
  for (int changes = 1; changes > 0; all += changes) {
    changes = 0;
    for (int i = 0; i < functions.count; i++) {
      MlirOperation function = functions.ops[i];
      if (!attr_str_is(function, "sym_visibility", "private") || attr_str_is(function, "sym_name", "weights")) continue;
      callee f = find_callee(context, a, &functions, function);
      if (fits_callers(&f)) changes += shrink_function(&f);
    }
    for (int i = 0; changes > 0 && i < functions.count; i++) block_erase_dead(function_body(functions.ops[i]));
  }
  return all;
}

/* ---- The pass ---- */

static bool remove_one_function(arena *a, MlirModule module) {
  op_list functions = module_functions(a, module);
  for (int i = 0; i < functions.count; i++) {
    if (!is_removable(a, &functions, functions.ops[i])) continue;
    op_erase(functions.ops[i]);
    return true;
  }
  return false;
}

status pass_eliminate_dead(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  for (int i = 0; i < functions.count; i++)
    if (pass_may_simplify(context, mlirOperationGetLocation(functions.ops[i])))
      context->changes += block_erase_dead(function_body(functions.ops[i]));
  context->changes += shrink_functions(context, a, module);
  while (remove_one_function(a, module)) context->changes++;
  arena_destroy(a);
  return STATUS_OK;
}
