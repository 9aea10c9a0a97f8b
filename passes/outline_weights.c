/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * outline-weights: what depends on weights and constants alone is computed when the artifact is written, not when it
 * runs.
 *
 *   func @main(%x)  { matmul %x, cast(transpose(weight "w")) }
 *     becomes
 *   func @weights() { cast(transpose(weight "w")) }   func @main(%x) { matmul %x, weight {file = "@weights", offset =
 * 0} }
 *
 * Requires: the functions are split (a value that two functions use becomes one result).
 * Produces: func @weights without arguments, one result for each value that others need, weights used as they are
 * included: it lists all that weights.bin will hold. Elsewhere each is `pinion.weight {file = "@weights"}`, whose
 * `offset` is the index of the result. Constants with one number everywhere stay where elementwise ops use them: those
 * become literals of a kernel's body. Breaks:   functions are no longer closed: a weight's bytes are a result of
 * @weights.
 *
 * A broadcast of a weight stays in its user's function: it costs a kernel nothing, and would only swell weights.bin.
 */
#include "graph.h"

#define WEIGHTS_FILE "@weights"

/* One use of a weight's value outside: replaced when the results are numbered. */
typedef struct weight_use {
  MlirOperation user;
  intptr_t operand;
  size_t result; /* of the unshared return of @weights */
} weight_use;

typedef struct weights_outline {
  pass_context *context;
  compilation *compilation; /* the context's */
  arena *arena;
  cloner clones; /* of the function being read, into @weights */
  MlirValue *results;
  MlirLocation *locations; /* of the results' ops */
  size_t result_count, result_capacity, location_capacity;
  weight_use *uses;
  size_t use_count, use_capacity;
} weights_outline;

static bool is_elementwise(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  return kind == OP_binary || kind == OP_select || kind == OP_unary || kind == OP_cast || kind == OP_pointwise;
}

static bool is_outlined_weight(MlirValue value) {
  MlirOperation op = value_defined_by(value, OP_weight);
  return !mlirOperationIsNull(op) && attr_str_is(op, "file", WEIGHTS_FILE);
}

/* Whether this use of a value from weights becomes a use of a result of @weights. */
static bool use_moves(weights_outline *w, MlirOperation user, MlirValue value) {
  if (is_outlined_weight(value)) return false;
  double number;
  return !(is_elementwise(user) && value_uniform(w->compilation, value, &number));
}

static size_t result_of(weights_outline *w, pointer_map *known, MlirValue value) {
  int64_t at = pointer_map_get(known, value.ptr);
  if (at >= 0) return (size_t)at;
  w->results = arena_grow(w->arena, w->results, w->result_count, &w->result_capacity, sizeof *w->results);
  w->locations = arena_grow(w->arena, w->locations, w->result_count, &w->location_capacity, sizeof *w->locations);
  w->results[w->result_count] = cloner_cone(&w->clones, value);
  w->locations[w->result_count] = mlirOperationGetLocation(mlirOpResultGetOwner(value));
  pointer_map_set(known, value.ptr, (int64_t)w->result_count);
  return w->result_count++;
}

/* An op that stays: it depends on an argument, or is a broadcast that feeds such an op. */
static void mark_staying_broadcasts(const op_list *ops, const pointer_map *positions, bool *moves) {
  for (int i = ops->count - 1; i >= 0; i--) {
    for (intptr_t k = 0; !moves[i] && k < mlirOperationGetNumOperands(ops->ops[i]); k++) {
      int64_t at = value_position(positions, mlirOperationGetOperand(ops->ops[i], k));
      if (at >= 0 && op_kind_of(ops->ops[at]) == OP_broadcast) moves[at] = false;
    }
  }
}

static void read_function(weights_outline *w, MlirBlock from, MlirBlock to) {
  op_list ops = block_ops(w->arena, from);
  pointer_map positions = op_positions(w->arena, &ops), known = pointer_map_create(w->arena);
  bool *moves = ops_from_weights(w->arena, &ops, &positions);
  mark_staying_broadcasts(&ops, &positions, moves);
  w->clones = cloner_create(w->compilation, w->arena, to);
  for (int i = 0; i < ops.count; i++) {
    for (intptr_t k = 0; !moves[i] && k < mlirOperationGetNumOperands(ops.ops[i]); k++) {
      MlirValue operand = mlirOperationGetOperand(ops.ops[i], k);
      int64_t at = value_position(&positions, operand);
      if (at < 0 || !moves[at] || !use_moves(w, ops.ops[i], operand)) continue;
      size_t result = result_of(w, &known, operand);
      w->uses = arena_grow(w->arena, w->uses, w->use_count, &w->use_capacity, sizeof *w->uses);
      w->uses[w->use_count++] = (weight_use){ops.ops[i], k, result};
    }
  }
}

/* A weight keeps its name; what was computed takes its op's. */
static const char *result_name(weights_outline *w, MlirValue value, MlirLocation location, int64_t index) {
  MlirOperation weight = value_defined_by(value, OP_weight);
  MlirStringRef name = mlirOperationIsNull(weight) ? location_name(location) : attr_str(weight, "name");
  return name.length ? arena_string(w->arena, name.data, name.length)
                     : arena_format(w->arena, "weights.%lld", (long long)index);
}

/* Equal results get one number; out_values holds them in order. Returns how many there are. */
static int number_results(weights_outline *w, MlirOperation unshared_return, int64_t *out_numbers,
                          MlirValue *out_values) {
  pointer_map numbers = pointer_map_create(w->arena);
  int count = 0;
  for (size_t i = 0; i < w->result_count; i++) {
    MlirValue value = mlirOperationGetOperand(unshared_return, (intptr_t)i);
    out_numbers[i] = pointer_map_get(&numbers, value.ptr);
    if (out_numbers[i] >= 0) continue;
    pointer_map_set(&numbers, value.ptr, out_numbers[i] = count);
    out_values[count++] = value;
  }
  return count;
}

/* In front of each function, one pinion.weight for each result that it uses. */
static void replace_uses(weights_outline *w, const int64_t *numbers, const MlirValue *values, int count) {
  MlirValue *references = arena_alloc(w->arena, (size_t)count * sizeof *references);
  MlirBlock block = {0};
  for (size_t u = 0; u < w->use_count; u++) {
    weight_use *use = &w->uses[u];
    int64_t number = numbers[use->result];
    if (!mlirBlockEqual(block, mlirOperationGetBlock(use->user))) { /* uses are listed function by function */
      block = mlirOperationGetBlock(use->user);
      for (int i = 0; i < count; i++) references[i] = (MlirValue){0};
    }
    if (mlirValueIsNull(references[number])) {
      tensor_type type;
      value_type(values[number], &type);
      builder b = builder_before(w->compilation, mlirBlockGetFirstOperation(block));
      b.location = w->locations[use->result];
      references[number] =
          build_weight(&b, &type, result_name(w, values[number], b.location, number), WEIGHTS_FILE, number);
    }
    mlirOperationSetOperand(use->user, use->operand, references[number]);
  }
}

static MlirType *value_types(arena *a, int count, const MlirValue *values) {
  MlirType *types = arena_alloc(a, (size_t)(count + 1) * sizeof *types);
  for (int i = 0; i < count; i++) types[i] = mlirValueGetType(values[i]);
  return types;
}

/* Shares what is equal in @weights, gives it its final return and type, and points the uses to it. */
static int finish_weights(weights_outline *w, MlirOperation function) {
  compilation *c = w->compilation;
  builder b = {.compilation = c, .block = function_body(function), .location = mlirLocationUnknownGet(c->context)};
  MlirOperation unshared = build_return(&b, (int)w->result_count, w->results);
  block_merge_common(w->context, b.block);
  int64_t *numbers = arena_alloc(w->arena, (w->result_count + 1) * sizeof *numbers);
  MlirValue *values = arena_alloc(w->arena, (w->result_count + 1) * sizeof *values);
  int count = number_results(w, unshared, numbers, values);
  op_erase(unshared);
  build_return(&b, count, values);
  MlirType type = mlirFunctionTypeGet(c->context, 0, NULL, count, value_types(w->arena, count, values));
  mlirOperationSetAttributeByName(function, mlirStringRefCreateFromCString("function_type"), mlirTypeAttrGet(type));
  replace_uses(w, numbers, values, count);
  return count;
}

status pass_outline_weights(pass_context *context, MlirModule module) {
  compilation *c = context->compilation;
  if (!mlirOperationIsNull(module_function(module, "weights"))) return STATUS_OK; /* it has run */
  weights_outline w = {.context = context, .compilation = c, .arena = arena_create()};
  op_list functions = module_functions(w.arena, module);
  MlirOperation function = function_create(c, module, "weights", 0, NULL, 0, NULL, mlirLocationUnknownGet(c->context));
  for (int i = 0; i < functions.count; i++) read_function(&w, function_body(functions.ops[i]), function_body(function));
  context->changes = finish_weights(&w, function);
  for (int i = 0; i < functions.count; i++) block_erase_dead(function_body(functions.ops[i]));
  arena_destroy(w.arena);
  return STATUS_OK;
}
