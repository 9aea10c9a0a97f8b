/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * hoist-invariant: what a step computes alike every time, from values that do not change between the steps, is computed
 * once, in front of them.
 *
 *   @step(x, s) { .. cast(s) .. }, steps(x, a)   ->   @step(x, t) { .. t .. }, steps(x, cast(a))
 *
 * Requires: outline-steps; before outline-stages, which then makes it part of @prefix. Produces: the same ops in the
 * steps' function, new arguments of the step; arguments that nothing uses any more are gone. Breaks: nothing.
 *
 * What only moves elements (reshapes, transposes, slices, broadcasts) costs a step nothing, and goes along only where
 * an op that is hoisted reads it. What depends on weights alone is outline-weights'. It fires where nothing else calls
 * the step.
 */
#include "callers.h"
#include "steps_operands.h"

typedef struct hoist {
  pass_context *context;
  arena *arena;
  MlirOperation steps, function;
  int first_table; /* among the steps' operands */
  op_list ops;     /* of the callee */
  pointer_map positions;
  bool *from_weights; /* per op */
  bool *invariant;    /* depends on invariant arguments, and maybe on weights */
  bool *hoisted;
  cloner outside; /* callee's value -> the same in front of the steps */
} hoist;

static bool moves_elements(op_kind kind) {
  return kind == OP_reshape || kind == OP_transpose || kind == OP_slice || kind == OP_broadcast;
}

static bool is_invariant(const hoist *h, MlirValue value) {
  const int64_t at = value_position(&h->positions, value);
  if (at >= 0) return h->invariant[at];
  const intptr_t number = mlirBlockArgumentGetArgNumber(value);
  return number > 0 && number < h->first_table;
}

static bool depends_on_invariants_alone(const hoist *h, MlirOperation op) {
  bool any = false;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    const int64_t at = value_position(&h->positions, operand);
    if (is_invariant(h, operand))
      any = true;
    else if (at < 0 || !h->from_weights[at])
      return false;
  }
  return any;
}

static bool mark_hoisted(hoist *h) {
  bool any = false;
  h->invariant = arena_alloc(h->arena, (size_t)h->ops.count + 1);
  h->hoisted = arena_alloc(h->arena, (size_t)h->ops.count + 1);
  for (int i = 0; i < h->ops.count; i++) {
    MlirOperation op = h->ops.ops[i];
    const op_kind kind = op_kind_of(op);
    h->invariant[i] = kind != OP_NONE && kind != OP_steps && depends_on_invariants_alone(h, op);
    h->hoisted[i] =
        h->invariant[i] && !moves_elements(kind) && pass_may_rewrite(h->context, mlirOperationGetLocation(op));
    if (h->invariant[i] && !moves_elements(kind) && !h->hoisted[i]) h->invariant[i] = false; /* the gate keeps it */
    any |= h->hoisted[i];
  }
  return any;
}

/* Whether an op that stays reads the value. */
static bool is_read_inside(const hoist *h, MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    const int64_t at = pointer_map_get(&h->positions, mlirOpOperandGetOwner(use).ptr);
    if (!h->hoisted[at]) return true;
  }
  return false;
}

/* Computes what is hoisted in front of the steps; what the step reads of it becomes an argument before the tables. */
static status hoist_ops(hoist *h) {
  MlirBlock block = function_body(h->function);
  const int old_count = (int)mlirOperationGetNumOperands(h->steps);
  MlirValue *operands = arena_alloc(h->arena, (size_t)(old_count + h->ops.count) * sizeof *operands);
  int count = 0;
  while (count < h->first_table) operands[count] = mlirOperationGetOperand(h->steps, count), count++;
  for (int i = 0; i < h->ops.count; i++) {
    if (!h->hoisted[i]) continue;
    MlirValue value = mlirOperationGetResult(h->ops.ops[i], 0), outside = cloner_cone(&h->outside, value);
    h->context->changes++;
    if (!is_read_inside(h, value)) continue;
    MlirValue argument =
        mlirBlockInsertArgument(block, count, mlirValueGetType(value), mlirOperationGetLocation(h->ops.ops[i]));
    operands[count++] = outside;
    cloner_set(&h->outside, argument, outside); /* what is hoisted later may read it, too */
    value_replace(value, argument);
  }
  const int first_table = count;
  for (int i = h->first_table; i < old_count; i++) operands[count++] = mlirOperationGetOperand(h->steps, i);
  return steps_set_operands(h->context->compilation, h->steps, h->function, operands, count, first_table);
}

static status hoist_steps(pass_context *context, MlirModule module, MlirOperation steps) {
  hoist h = {.context = context, .arena = arena_create(), .steps = steps};
  const int operands = (int)mlirOperationGetNumOperands(steps);
  MlirStringRef callee = attr_str(steps, "callee");
  status code = STATUS_OK;
  h.function = module_function(module, arena_string(h.arena, callee.data, callee.length));
  h.first_table = operands - (int)attr_i64(steps, "tables", 0);
  if (!mlirOperationIsNull(h.function) && mlirBlockGetNumArguments(function_body(h.function)) == operands) {
    h.ops = block_ops(h.arena, function_body(h.function));
    h.positions = op_positions(h.arena, &h.ops);
    h.from_weights = ops_from_weights(h.arena, &h.ops, &h.positions);
    h.outside = cloner_create(context->compilation, h.arena, mlirOperationGetBlock(steps));
    h.outside.before = steps;
    for (int i = 1; i < h.first_table; i++)
      cloner_set(&h.outside, mlirBlockGetArgument(function_body(h.function), i), mlirOperationGetOperand(steps, i));
    if (mark_hoisted(&h)) code = hoist_ops(&h);
  }
  arena_destroy(h.arena);
  return code;
}

static status visit_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  MlirModule module = mlirModuleFromOperation(mlirOperationGetParentOperation(mlirBlockGetParentOperation(block)));
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    if (op_kind_of(ops.ops[i]) != OP_steps) continue;
    MlirStringRef callee = attr_str(ops.ops[i], "callee");
    MlirOperation function = module_function(module, arena_string(a, callee.data, callee.length));
    if (mlirOperationIsNull(function) || mlirBlockGetNumArguments(function_body(function)) == 0) continue;
    if (argument_callers(a, mlirBlockGetArgument(function_body(function), 0)).count == 1)
      code = hoist_steps(context, module, ops.ops[i]);
  }
  arena_destroy(a);
  return code;
}

status pass_hoist_invariant(pass_context *context, MlirModule module) {
  return each_run_block(context, module, visit_block);
}
