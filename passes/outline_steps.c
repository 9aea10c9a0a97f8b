/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * outline-steps: the exporter unrolls the denoising loop; this pass finds the copies, proves them equal, and makes one
 * function and a count of them.
 *
 *   x_1 = f(x_0, c_1); x_2 = f(x_1, c_2); ..; x_N = f(x_{N-1}, c_N)
 *     becomes   pinion.steps(x_0, invariants.., tables..) {callee = @step, count = N}
 *
 * Requires: equal weights merged (eliminate-common). What the exporter has simplified alike in every copy need not be
 *           clean: values that are only computed alike match too, and so do different constants.
 * Produces: func @step(x, invariants.., rows..) -> x', each op with a fused location and the `onnx` values of its N
 *           copies; in @main one pinion.steps; what differs between copies stacked to tables [N, ..].
 * Breaks:   nothing; a module whose copies differ is left as it is (--remarks says where they differ).
 *
 * How. For an argument n of @main, the values that every path from n to the results goes through are its waists. An
 * unrolled loop's carried value is a waist after every step, so x_0 .. x_N are among the waists, equally spaced, all of
 * one type. The pieces between them are compared by copies_match: all at once, or else neighbours, and then the longest
 * runs of equal ones. No name is looked at.
 *
 * A deep network without a loop is also a chain of equal pieces, its layers. What tells steps from layers: steps share
 * their weights.
 */
#include "match_copies.h"

#include <string.h>

enum { MAXIMUM_STRIDE = 8 }; /* waists per step: 1 for Euler, 2 for Heun, ... */

/* The function being outlined. */
typedef struct outline {
  pass_context *context;
  arena *arena;
  MlirModule module;
  op_list ops;
  pointer_map positions;
  match_graph graph;
  bool *from_weights; /* per op */
  int *operands;      /* of all ops, one after the other: the defining op's position, or ~k for argument k */
  int *first_operand; /* per op, and one more: where its operands begin */
  bool explains;      /* remarks say why pieces are not copies */
} outline;

/* Values of one type that every path from an argument passes, in order. */
typedef struct waist_list {
  MlirValue *values; /* the arena's */
  size_t count, capacity;
} waist_list;

/* ---- Waists ---- */

/* What the walks over all ops, one for each argument, ask again and again. */
static void list_operands(outline *o) {
  size_t count = 0, capacity = 0;
  o->first_operand = arena_alloc(o->arena, (size_t)(o->ops.count + 1) * sizeof *o->first_operand);
  for (int i = 0; i < o->ops.count; i++) {
    o->first_operand[i] = (int)count;
    for (intptr_t k = 0; k < mlirOperationGetNumOperands(o->ops.ops[i]); k++) {
      MlirValue operand = mlirOperationGetOperand(o->ops.ops[i], k);
      int64_t at = value_position(&o->positions, operand);
      o->operands = arena_grow(o->arena, o->operands, count, &capacity, sizeof *o->operands);
      o->operands[count++] = at >= 0 ? (int)at : ~(int)mlirBlockArgumentGetArgNumber(operand);
    }
  }
  o->first_operand[o->ops.count] = (int)count;
}

/* Ops on some path from an argument to the function's results. */
static bool *ops_between(const outline *o, int argument) {
  int count = o->ops.count;
  bool *forward = arena_alloc(o->arena, (size_t)count), *both = arena_alloc(o->arena, (size_t)count);
  for (int i = 0; i < count; i++)
    for (int k = o->first_operand[i]; !forward[i] && k < o->first_operand[i + 1]; k++)
      forward[i] = o->operands[k] >= 0 ? forward[o->operands[k]] : o->operands[k] == ~argument;
  both[count - 1] = forward[count - 1]; /* the return */
  for (int i = count - 1; i >= 0; i--)
    for (int k = o->first_operand[i]; both[i] && k < o->first_operand[i + 1]; k++)
      if (o->operands[k] >= 0 && forward[o->operands[k]]) both[o->operands[k]] = true;
  return both;
}

/* Per op on a path, the last position of a use on a path; of the argument, in *out_source. */
static int *last_uses(const outline *o, const bool *between, int argument, int *out_source) {
  int *last = arena_alloc(o->arena, (size_t)o->ops.count * sizeof *last);
  for (int i = 0; i < o->ops.count; i++) {
    for (int k = o->first_operand[i]; between[i] && k < o->first_operand[i + 1]; k++) {
      if (o->operands[k] >= 0) last[o->operands[k]] = i;
      if (o->operands[k] == ~argument) *out_source = i;
    }
  }
  return last;
}

static void waist_list_add(outline *o, waist_list *list, MlirValue value) {
  list->values = arena_grow(o->arena, list->values, list->count, &list->capacity, sizeof value);
  list->values[list->count++] = value;
}

/* An argument and the values that all its paths to the results pass. A value is one exactly if nothing computed before
   it is used after it: in any topological order, what lies before a waist are its ancestors. */
static waist_list find_waists(outline *o, MlirBlock block, int argument) {
  bool *between = ops_between(o, argument);
  waist_list waists = {0};
  if (!between[o->ops.count - 1]) return waists;
  waist_list_add(o, &waists, mlirBlockGetArgument(block, argument));
  int open_until = -1, *last = last_uses(o, between, argument, &open_until);
  for (int i = 0; i < o->ops.count - 1; i++) {
    if (!between[i]) continue;
    if (open_until <= i && mlirOperationGetNumResults(o->ops.ops[i]) == 1)
      waist_list_add(o, &waists, mlirOperationGetResult(o->ops.ops[i], 0));
    if (last[i] > open_until) open_until = last[i];
  }
  return waists;
}

static waist_list waists_of_type(outline *o, const waist_list *all, MlirType type) {
  waist_list same = {0};
  for (size_t i = 0; i < all->count; i++)
    if (mlirTypeEqual(mlirValueGetType(all->values[i]), type)) waist_list_add(o, &same, all->values[i]);
  return same;
}

/* ---- Are these copies, and are they steps? ---- */

static bool match_chain(outline *o, const waist_list *waists, size_t first, size_t stride, int copies,
                        copy_match *out_match) {
  MlirValue *values = arena_alloc(o->arena, 2 * (size_t)copies * sizeof *values);
  for (int s = 0; s < copies; s++) {
    values[s] = waists->values[first + (size_t)s * stride];
    values[copies + s] = waists->values[first + (size_t)(s + 1) * stride];
  }
  return copies_match(&o->graph, copies, values, 1, values + copies, out_match);
}

static int64_t value_bytes(MlirValue value) {
  tensor_type type;
  return value_type(value, &type) ? type_bytes(&type) : 0;
}

static bool invariant_from_weights(const outline *o, const copy_tuple *tuple) {
  int64_t at = value_position(&o->positions, tuple->values[0]);
  return tuple->kind == TUPLE_INVARIANT && at >= 0 && o->from_weights[at];
}

/* Steps contract something, and the weights that they share outweigh those that differ. NULL, or why not. */
static const char *why_not_steps(const outline *o, const copy_match *match) {
  bool contracts = false;
  int64_t shared = 0, differing = 0;
  for (int i = 0; i < match->ordered_count; i++)
    contracts |= op_is_contraction(mlirOpResultGetOwner(match->tuples[match->ordered[i]].values[0]));
  for (int i = 0; i < match->tuple_count; i++) {
    const copy_tuple *tuple = &match->tuples[i];
    if (invariant_from_weights(o, tuple)) shared += value_bytes(tuple->values[0]);
    if (tuple->kind == TUPLE_TABLE) differing += value_bytes(tuple->values[0]);
  }
  if (!contracts) return "equal pieces without a contraction: not worth a function";
  if (differing > shared) return "equal pieces whose weights differ: layers, not steps";
  return NULL;
}

static bool can_stack(const copy_match *match) {
  tensor_type type;
  for (int i = 0; i < match->tuple_count; i++)
    if (match->tuples[i].kind == TUPLE_TABLE &&
        (!value_type(match->tuples[i].values[0], &type) || type.rank >= PINION_MAX_RANK))
      return false;
  return true;
}

/* ---- The best chain ---- */

typedef struct chain {
  waist_list waists; /* among which it was found */
  MlirValue init;    /* the first copy's carried value */
  copy_match match;
  int64_t saving; /* ops that outlining removes; 0: none found */
} chain;

static MlirLocation value_location(const outline *o, MlirValue value) {
  MlirOperation op = value_definition(value);
  return mlirOperationIsNull(op) ? mlirLocationUnknownGet(o->context->compilation->context)
                                 : mlirOperationGetLocation(op);
}

/* Whether the two pieces that begin at waists `first` and `first + stride` are copies of each other. */
static bool neighbours_match(outline *o, const waist_list *waists, size_t first, size_t stride) {
  copy_match match;
  if (match_chain(o, waists, first, stride, 2, &match)) return true;
  if (!o->explains || mlirValueIsNull(match.mismatch[0])) return false;
  MlirOperation other = value_definition(match.mismatch[1]);
  pass_missed(o->context, value_location(o, match.mismatch[0]), "%s; the other is %s", match.why,
              mlirOperationIsNull(other) ? "an argument" : op_label(o->context->compilation, other));
  return false;
}

/* Weighs pieces that match. */
static void consider_match(outline *o, const copy_match *match, const waist_list *waists, size_t first, chain *best) {
  const MlirValue init = waists->values[first];
  const char *why = can_stack(match) ? why_not_steps(o, match) : "a value that differs has the highest rank there is";
  if (why) {
    if (o->explains)
      pass_missed(o->context, value_location(o, init), "%d pieces of %d ops begin here: %s", match->copies,
                  match->ordered_count, why);
    return;
  }
  int64_t saving = (int64_t)(match->copies - 1) * match->ordered_count;
  if (saving > best->saving) *best = (chain){*waists, init, *match, saving};
}

/* Runs of equal neighbours in one residue class of the waists, from `first` on. */
static void consider_runs(outline *o, const waist_list *waists, size_t first, size_t stride, chain *best) {
  copy_match match;
  while (first + 2 * stride < waists->count) {
    int copies = 1;
    size_t at = first;
    while (at + 2 * stride < waists->count && neighbours_match(o, waists, at, stride)) {
      copies++;
      at += stride;
    }
    if (copies >= 2 && match_chain(o, waists, first, stride, copies, &match))
      consider_match(o, &match, waists, first, best);
    else if (copies >= 2 && o->explains)
      pass_missed(o->context, value_location(o, waists->values[first]),
                  "%d pieces that begin here match pairwise, but not together: %s", copies, match.why);
    first = at + stride;
  }
}

/* The waists from `offset` on, `stride` apart: mostly all of them bound copies, or else runs of them do. */
static void consider_class(outline *o, const waist_list *waists, size_t offset, size_t stride, chain *best) {
  if (offset + 2 * stride >= waists->count) return;
  copy_match match;
  const int copies = (int)((waists->count - 1 - offset) / stride);
  if (match_chain(o, waists, offset, stride, copies, &match))
    consider_match(o, &match, waists, offset, best);
  else
    consider_runs(o, waists, offset, stride, best);
}

static void consider_waists(outline *o, const waist_list *waists, chain *best) {
  for (size_t stride = 1; stride <= MAXIMUM_STRIDE && 2 * stride < waists->count; stride++) {
    int64_t before = best->saving;
    for (size_t offset = 0; offset < stride; offset++) consider_class(o, waists, offset, stride, best);
    if (best->saving > before) return; /* a longer period would only be several of these at once */
  }
}

static chain find_chain(outline *o, MlirBlock block) {
  chain best = {0};
  for (int a = 0; a < mlirBlockGetNumArguments(block); a++) {
    waist_list all = find_waists(o, block, a);
    for (size_t i = 0; i < all.count; i++) { /* once for each type, at its first waist */
      MlirType type = mlirValueGetType(all.values[i]);
      bool seen = false;
      for (size_t j = 0; j < i; j++) seen |= mlirTypeEqual(type, mlirValueGetType(all.values[j]));
      if (seen) continue;
      waist_list same = waists_of_type(o, &all, type);
      consider_waists(o, &same, &best);
    }
  }
  return best;
}

/* Looks once more, and says what spoke against longer chains; against any, if none was found. */
static void explain_chain(outline *o, MlirBlock block, const chain *best) {
  chain again = {0};
  o->explains = o->context->remarks != NULL;
  if (o->explains && best->saving > 0)
    consider_waists(o, &best->waists, &again);
  else if (o->explains)
    find_chain(o, block);
}

/* ---- Tables ---- */

/* Rows that are all constants become one constant; weights are stacked by core ops, which @weights will hold. */
static MlirValue stack_constants(outline *o, builder *b, const copy_match *match, const copy_tuple *tuple,
                                 const tensor_type *row) {
  tensor_type table = {.dtype = row->dtype, .rank = row->rank + 1, .dims = {match->copies}};
  memcpy(table.dims + 1, row->dims, (size_t)row->rank * sizeof *row->dims);
  size_t row_bytes = (size_t)type_bytes(row);
  uint8_t *bytes = arena_alloc(o->arena, row_bytes * (size_t)match->copies + 1);
  for (int s = 0; s < match->copies; s++) {
    const void *data = constant_bytes(b->compilation, value_definition(tuple->values[s]));
    if (!data) return (MlirValue){0};
    memcpy(bytes + (size_t)s * row_bytes, data, row_bytes);
  }
  return build_constant(b, &table, bytes);
}

static MlirValue stack_weights(outline *o, builder *b, const copy_match *match, const copy_tuple *tuple,
                               const tensor_type *row) {
  MlirValue *rows = arena_alloc(o->arena, (size_t)match->copies * sizeof *rows);
  int64_t dims[PINION_MAX_RANK] = {1};
  memcpy(dims + 1, row->dims, (size_t)row->rank * sizeof *row->dims);
  for (int s = 0; s < match->copies; s++) rows[s] = build_reshape(b, tuple->values[s], row->rank + 1, dims);
  return build_concat(b, match->copies, rows, 0);
}

static MlirValue stack_rows(outline *o, builder *b, const copy_match *match, const copy_tuple *tuple) {
  tensor_type row;
  bool constants = value_type(tuple->values[0], &row);
  for (int s = 0; s < match->copies; s++) constants &= value_is_constant(tuple->values[s]);
  return constants ? stack_constants(o, b, match, tuple, &row) : stack_weights(o, b, match, tuple, &row);
}

/* ---- Building ---- */

/* The ops of the step, as the first copy has them, joined. */
static MlirLocation step_location(outline *o, const copy_match *match) {
  MlirLocation *parts = arena_alloc(o->arena, (size_t)(match->ordered_count + 1) * sizeof *parts);
  for (int i = 0; i < match->ordered_count; i++)
    parts[i] = mlirOperationGetLocation(mlirOpResultGetOwner(match->tuples[match->ordered[i]].values[0]));
  return location_fuse(o->context->compilation->context, match->ordered_count, parts);
}

/* Which tuples the step receives: invariants that are no weights, then tables; in the order the body meets them. */
typedef struct step_inputs {
  int *tuples; /* the arena's */
  int invariant_count, count;
} step_inputs;

static step_inputs collect_inputs(outline *o, const copy_match *match) {
  step_inputs inputs = {.tuples = arena_alloc(o->arena, (size_t)match->tuple_count * sizeof(int))};
  bool *seen = arena_alloc(o->arena, (size_t)match->tuple_count);
  for (int pass = 0; pass < 2; pass++) {
    tuple_kind wanted = pass == 0 ? TUPLE_INVARIANT : TUPLE_TABLE;
    for (int i = 0; i < match->ordered_count; i++) {
      const copy_tuple *user = &match->tuples[match->ordered[i]];
      for (int k = 0; k < user->operand_count; k++) {
        int index = user->operands[k];
        if (seen[index] || match->tuples[index].kind != wanted) continue;
        seen[index] = true;
        if (!invariant_from_weights(o, &match->tuples[index])) inputs.tuples[inputs.count++] = index;
      }
    }
    if (pass == 0) inputs.invariant_count = inputs.count;
  }
  return inputs;
}

/* Clones the first copy. Each tuple's clone is kept by the tuple, not by the first copy's op: two tuples may share it.
 */
static MlirValue clone_body(outline *o, const copy_match *match, const step_inputs *inputs, MlirBlock block) {
  compilation *c = o->context->compilation;
  cloner weights = cloner_create(c, o->arena, block);
  MlirValue *clones = arena_alloc(o->arena, (size_t)match->tuple_count * sizeof *clones);
  for (int i = 0; i < inputs->count; i++) clones[inputs->tuples[i]] = mlirBlockGetArgument(block, 1 + i);
  for (int i = 0; i < match->tuple_count; i++)
    if (match->tuples[i].kind == TUPLE_CARRIED) clones[i] = mlirBlockGetArgument(block, 0);
  for (int i = 0; i < match->ordered_count; i++) {
    const copy_tuple *tuple = &match->tuples[match->ordered[i]];
    MlirOperation clone = mlirOperationClone(mlirOpResultGetOwner(tuple->values[0]));
    for (int k = 0; k < tuple->operand_count; k++) {
      int index = tuple->operands[k];
      if (mlirValueIsNull(clones[index])) clones[index] = cloner_cone(&weights, match->tuples[index].values[0]);
      mlirOperationSetOperand(clone, k, clones[index]);
    }
    mlirBlockAppendOwnedOperation(block, clone);
    mlirOperationSetLocation(clone, copies_location(c, o->arena, match, tuple));
    copies_set_identity(c, o->arena, match, tuple, clone);
    clones[match->ordered[i]] = mlirOperationGetResult(clone, mlirOpResultGetResultNumber(tuple->values[0]));
  }
  return clones[0];
}

static MlirOperation build_step_function(outline *o, const copy_match *match, const step_inputs *inputs) {
  compilation *c = o->context->compilation;
  MlirType *types = arena_alloc(o->arena, (size_t)(inputs->count + 1) * sizeof *types);
  types[0] = mlirValueGetType(match->tuples[0].values[0]);
  for (int i = 0; i < inputs->count; i++) types[1 + i] = mlirValueGetType(match->tuples[inputs->tuples[i]].values[0]);
  MlirLocation location = mlirLocationUnknownGet(c->context);
  MlirOperation function = function_create(c, o->module, "step", inputs->count + 1, types, 1, types, location);
  MlirBlock block = function_body(function);
  MlirValue result = clone_body(o, match, inputs, block);
  builder b = {.compilation = c, .block = block, .location = location};
  build_return(&b, 1, &result);
  return function;
}

static status build_steps(outline *o, const copy_match *match, MlirValue init) {
  compilation *c = o->context->compilation;
  MlirValue last = match->tuples[0].values[match->copies - 1];
  step_inputs inputs = collect_inputs(o, match);
  MlirOperation function = build_step_function(o, match, &inputs);

  builder b = builder_before(c, mlirOpResultGetOwner(last)); /* all inputs are ancestors of the first result */
  MlirValue *operands = arena_alloc(o->arena, (size_t)(inputs.count + 1) * sizeof *operands);
  operands[0] = init;
  for (int i = 0; i < inputs.count; i++) {
    const copy_tuple *tuple = &match->tuples[inputs.tuples[i]];
    operands[1 + i] = i < inputs.invariant_count ? tuple->values[0] : stack_rows(o, &b, match, tuple);
    if (mlirValueIsNull(operands[1 + i])) return STATUS_FAILED;
  }
  MlirNamedAttribute attributes[] = {
      make_named(c->context, "callee", mlirFlatSymbolRefAttrGet(c->context, attr_str(function, "sym_name"))),
      make_named(c->context, "count", make_i64(c->context, match->copies)),
      make_named(c->context, "tables", make_i64(c->context, inputs.count - inputs.invariant_count)),
  };
  MlirType type = mlirValueGetType(last);
  MlirOperation steps = build_op(&b, OP_steps, inputs.count + 1, operands, 3, attributes, 1, &type);
  if (mlirOperationIsNull(steps)) return STATUS_FAILED;
  op_copy_identity(mlirOpResultGetOwner(last), steps);
  value_replace(last, mlirOperationGetResult(steps, 0));
  block_erase_dead(mlirOperationGetBlock(steps));
  o->context->changes += match->copies;
  return STATUS_OK;
}

status pass_outline_steps(pass_context *context, MlirModule module) {
  MlirOperation function = module_function(module, "main");
  if (mlirOperationIsNull(function) || mlirBlockIsNull(function_body(function))) return STATUS_OK;
  MlirBlock block = function_body(function);
  outline o = {.context = context, .arena = arena_create(), .module = module};
  o.ops = block_ops(o.arena, block);
  o.positions = op_positions(o.arena, &o.ops);
  o.graph = (match_graph){o.arena, &o.ops, &o.positions};
  o.from_weights = ops_from_weights(o.arena, &o.ops, &o.positions);
  list_operands(&o);

  chain best = find_chain(&o, block);
  explain_chain(&o, block, &best);
  status code = STATUS_OK;
  if (best.saving > 0 && pass_may_rewrite(context, step_location(&o, &best.match)))
    code = build_steps(&o, &best.match, best.init);
  arena_destroy(o.arena);
  return code;
}
