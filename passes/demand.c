/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The walk from a module's outputs back to what they need. */
#include "demand.h"

enum { MAXIMUM_CALLS = 64 }; /* within one another */

/* One evaluation of a function. */
typedef struct frame {
  demand_rules *rules;
  demand_map *all; /* every frame's, joined */
  demand_map needed;
  int depth;
} frame;

/* ---- Maps ---- */

demand demand_map_get(const demand_map *map, MlirValue value) {
  const int64_t at = pointer_map_get(&map->index, value.ptr);
  return at < 0 ? (demand){0} : map->entries[at];
}

static void map_set(arena *a, demand_map *map, MlirValue value, const demand *d) {
  int64_t at = pointer_map_get(&map->index, value.ptr);
  if (at < 0) {
    map->entries = arena_grow(a, map->entries, map->count, &map->capacity, sizeof *d);
    at = (int64_t)map->count++;
    pointer_map_set(&map->index, value.ptr, at);
  }
  map->entries[at] = *d;
}

/* `d` may be of memory that goes. */
static void map_join(arena *a, demand_map *map, MlirValue value, const demand *d) {
  if (demand_is_empty(d)) return;
  arena *scratch = arena_create();
  const demand known = demand_map_get(map, value);
  demand joined = demand_join(scratch, &known, d);
  if (joined.when != known.when) {
    joined = demand_copy(a, &joined);
    map_set(a, map, value, &joined);
  }
  arena_destroy(scratch);
}

/* ---- Functions ---- */

static int rank_of(MlirValue value) {
  tensor_type type = {0};
  value_type(value, &type);
  return type.rank;
}

static void need_everything(frame *f, MlirValue value) {
  const demand whole = demand_everything(f->rules->arena, rank_of(value));
  map_join(f->rules->arena, &f->needed, value, &whole);
}

/* An op that nothing is known of: all of it is needed. */
static void stay_whole(frame *f, MlirOperation op) {
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) need_everything(f, mlirOperationGetOperand(op, i));
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++) need_everything(f, mlirOperationGetResult(op, r));
}

static void analyse_op(frame *f, MlirOperation op);

/* `out_arguments` has an entry for each. */
static void analyse_function(demand_rules *rules, demand_map *all, int depth, MlirOperation function,
                             const demand *returned, demand *out_arguments) {
  arena *a = rules->arena;
  MlirBlock block = function_body(function);
  op_list ops = block_ops(a, block);
  frame f = {.rules = rules, .all = all, .needed = {.index = pointer_map_create(a)}, .depth = depth};
  MlirOperation end = ops.ops[ops.count - 1];
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(end); i++)
    map_join(a, &f.needed, mlirOperationGetOperand(end, i), &returned[i]);
  for (int i = ops.count - 2; i >= 0; i--) analyse_op(&f, ops.ops[i]);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++) {
    MlirValue argument = mlirBlockGetArgument(block, i);
    out_arguments[i] = demand_map_get(&f.needed, argument);
    if (rules->removing) out_arguments[i] = demand_keep_others(rules, argument, &out_arguments[i]);
    map_join(a, all, argument, &out_arguments[i]);
  }
  for (int i = 0; i < ops.count - 1; i++)
    for (intptr_t r = 0; r < mlirOperationGetNumResults(ops.ops[i]); r++) {
      MlirValue result = mlirOperationGetResult(ops.ops[i], r);
      const demand needed = demand_map_get(&f.needed, result);
      map_join(a, all, result, &needed);
    }
}

MlirOperation demand_followed_callee(const demand_rules *r, MlirOperation call) {
  const MlirOperation none = {0};
  MlirOperation callee = call_graph_callee(r->masks->calls, call);
  if (mlirOperationIsNull(callee)) return none;
  MlirBlock block = function_body(callee);
  const bool fits = mlirBlockGetNumArguments(block) == mlirOperationGetNumOperands(call) &&
                    mlirOperationGetNumOperands(block_terminator(block)) == mlirOperationGetNumResults(call);
  const bool followed = !r->removing || mlirOperationEqual(call_graph_only_caller(r->masks->calls, callee), call);
  return fits && followed ? callee : none;
}

/* The carried value, and tables, of which a callee sees rows, stay whole. */
static void keep_whole(frame *f, MlirOperation steps, MlirOperation callee) {
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(steps); i++) {
    if (steps_pass_whole(steps, i)) continue;
    MlirValue argument = mlirBlockGetArgument(function_body(callee), i);
    const demand whole = demand_everything(f->rules->arena, rank_of(argument));
    need_everything(f, mlirOperationGetOperand(steps, i));
    map_set(f->rules->arena, f->all, argument, &whole);
  }
}

static void analyse_call(frame *f, MlirOperation op, demand *results) {
  arena *a = f->rules->arena;
  const bool repeated = op_kind_of(op) == OP_steps;
  const intptr_t count = mlirOperationGetNumOperands(op);
  MlirOperation callee = demand_followed_callee(f->rules, op);
  if (mlirOperationIsNull(callee) || f->depth == MAXIMUM_CALLS) {
    stay_whole(f, op);
    return;
  }
  if (repeated) results[0] = demand_everything(a, results[0].rank); /* the next step's */
  demand *arguments = arena_alloc(a, (size_t)(count + 1) * sizeof *arguments);
  analyse_function(f->rules, f->all, f->depth + 1, callee, results, arguments);
  for (intptr_t i = 0; i < count; i++)
    if (!repeated || steps_pass_whole(op, i)) map_join(a, &f->needed, mlirOperationGetOperand(op, i), &arguments[i]);
  if (repeated) {
    map_set(a, &f->needed, mlirOperationGetResult(op, 0), &results[0]);
    keep_whole(f, op, callee);
  }
}

static void analyse_operands(frame *f, MlirOperation op, const demand *results) {
  arena *a = f->rules->arena, *scratch = arena_create();
  const intptr_t count = mlirOperationGetNumResults(op);
  demand needed = results[0];
  f->rules->arena = scratch;
  for (intptr_t r = 1; r < count; r++) needed = demand_join(scratch, &needed, &results[r]);
  if (f->rules->removing) needed = demand_settle(f->rules, op, &needed);
  const demand kept = demand_copy(a, &needed);
  for (intptr_t r = 0; r < count; r++) map_set(a, &f->needed, mlirOperationGetResult(op, r), &kept);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    const demand of_operand = demand_of_operand(f->rules, op, i, &needed);
    map_join(a, &f->needed, mlirOperationGetOperand(op, i), &of_operand);
  }
  f->rules->arena = a;
  arena_destroy(scratch);
}

static void analyse_op(frame *f, MlirOperation op) {
  arena *a = f->rules->arena;
  const intptr_t count = mlirOperationGetNumResults(op);
  const op_kind kind = op_kind_of(op);
  demand *results = arena_alloc(a, (size_t)(count + 1) * sizeof *results);
  bool any = false;
  for (intptr_t r = 0; r < count; r++) {
    results[r] = demand_map_get(&f->needed, mlirOperationGetResult(op, r));
    any |= !demand_is_empty(&results[r]);
  }
  if (!any) return;
  if (kind == OP_NONE || kind == OP_steps) {
    analyse_call(f, op, results);
  } else if (count > 1 && kind != OP_pointwise) {
    stay_whole(f, op);
  } else {
    analyse_operands(f, op, results);
  }
}

/* ---- Modules ---- */

static void analyse(demand_analysis *out, MlirModule module) {
  arena *a = out->rules.arena;
  MlirOperation function = module_function(module, "main");
  out->needed = (demand_map){.index = pointer_map_create(a)};
  if (mlirOperationIsNull(function) || mlirBlockIsNull(function_body(function))) return;
  MlirBlock block = function_body(function);
  MlirOperation end = block_terminator(block);
  const intptr_t results = mlirOperationGetNumOperands(end), arguments = mlirBlockGetNumArguments(block);
  demand *returned = arena_alloc(a, (size_t)(results + 1) * sizeof *returned);
  demand *needed = arena_alloc(a, (size_t)(arguments + 1) * sizeof *needed);
  for (intptr_t i = 0; i < results; i++) returned[i] = demand_everything(a, rank_of(mlirOperationGetOperand(end, i)));
  analyse_function(&out->rules, &out->needed, 0, function, returned, needed);
  for (intptr_t i = 0; out->rules.removing && i < arguments; i++) {
    MlirValue argument = mlirBlockGetArgument(block, i);
    const demand whole = demand_everything(a, rank_of(argument));
    map_set(a, &out->needed, argument, &whole);
  }
}

demand_analysis demand_analyse(mask_values *masks, MlirModule module) {
  arena *a = masks->calls->arena;
  demand_analysis analysis = {.rules = {.arena = a, .masks = masks, .doubtful = arena_alloc(a, sizeof(pointer_map))}};
  *analysis.rules.doubtful = pointer_map_create(a);
  analyse(&analysis, module);
  return analysis;
}

demand_analysis demand_analyse_removable(const demand_analysis *proofs, MlirModule module, const demand_map *before) {
  demand_analysis analysis = {.rules = proofs->rules};
  analysis.rules.removing = true;
  analysis.rules.before = before;
  analyse(&analysis, module);
  return analysis;
}
