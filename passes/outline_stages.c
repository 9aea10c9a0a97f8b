/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * outline-stages: splits @main by what its values depend on.
 *
 *   @vision  what depends on one image (an argument of rank 4) and weights; one function, called once per camera when
 * the cameras' towers are copies of each other. Where the cameras are joined before the tower, what depends on images
 * alone.
 *   @prefix  what else does not depend on the steps' initial value, if there are steps
 *   @main    the calls, pinion.steps, and what depends on the noise outside the steps
 *
 * Requires: outline-steps has run (without steps there is no @prefix); outline-weights has not.
 * Produces: the functions above, as far as there is work for them; a stage without a matmul or convolution is none.
 * Breaks:   nothing.
 *
 * Stages come from dataflow alone. Weights, and what is computed from weights alone, are cloned into each function that
 * uses them; outline-weights shares them again.
 */
#include "match_copies.h"

#include <string.h>

enum { DEPENDENCY_BITS = 63 }; /* arguments beyond share the last bit; bit 63 is the steps' result */
#define DEPENDS_ON_STEPS (1ull << DEPENDENCY_BITS)

typedef struct stages {
  pass_context *context;
  arena *arena;
  MlirModule module;
  MlirBlock block; /* of @main */
  op_list ops;
  pointer_map positions;
  bool *from_weights;
  uint64_t *depends; /* per op: bit set of arguments */
} stages;

static uint64_t argument_bit(MlirValue argument) {
  intptr_t number = mlirBlockArgumentGetArgNumber(argument);
  return 1ull << (number < DEPENDENCY_BITS ? number : DEPENDENCY_BITS - 1);
}

static uint64_t value_depends(const stages *s, MlirValue value) {
  if (mlirValueIsABlockArgument(value)) return argument_bit(value);
  int64_t at = value_position(&s->positions, value);
  return at < 0 ? 0 : s->depends[at];
}

/* Reads @main anew: after each function that was split off. */
static void stages_read(stages *s) {
  s->ops = block_ops(s->arena, s->block);
  s->positions = op_positions(s->arena, &s->ops);
  s->from_weights = ops_from_weights(s->arena, &s->ops, &s->positions);
  s->depends = arena_alloc(s->arena, (size_t)s->ops.count * sizeof *s->depends);
  for (int i = 0; i < s->ops.count; i++) {
    MlirOperation op = s->ops.ops[i];
    for (intptr_t k = 0; k < mlirOperationGetNumOperands(op); k++)
      s->depends[i] |= value_depends(s, mlirOperationGetOperand(op, k));
    if (op_kind_of(op) == OP_steps) s->depends[i] |= DEPENDS_ON_STEPS;
  }
}

/* ---- Splitting a function off ---- */

typedef struct value_list {
  MlirValue *values; /* the arena's */
  size_t count, capacity;
} value_list;

static void value_list_add(arena *a, value_list *list, MlirValue value) {
  for (size_t i = 0; i < list->count; i++)
    if (mlirValueEqual(list->values[i], value)) return;
  list->values = arena_grow(a, list->values, list->count, &list->capacity, sizeof value);
  list->values[list->count++] = value;
}

/* Values of member ops that others use. */
static value_list results_of(const stages *s, const bool *member) {
  value_list results = {0};
  for (int i = 0; i < s->ops.count; i++) {
    for (intptr_t r = 0; member[i] && r < mlirOperationGetNumResults(s->ops.ops[i]); r++) {
      MlirValue value = mlirOperationGetResult(s->ops.ops[i], r);
      bool outside = false;
      for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use) && !outside;
           use = mlirOpOperandGetNextUse(use))
        outside = !member[pointer_map_get(&s->positions, mlirOpOperandGetOwner(use).ptr)];
      if (outside) value_list_add(s->arena, &results, value);
    }
  }
  return results;
}

static bool from_weights(const stages *s, MlirValue value) {
  int64_t at = value_position(&s->positions, value);
  return at >= 0 && s->from_weights[at];
}

/* What member ops use of others, weights apart. */
static value_list inputs_of(const stages *s, const bool *member) {
  value_list inputs = {0};
  for (int i = 0; i < s->ops.count; i++) {
    for (intptr_t k = 0; member[i] && k < mlirOperationGetNumOperands(s->ops.ops[i]); k++) {
      MlirValue operand = mlirOperationGetOperand(s->ops.ops[i], k);
      int64_t at = value_position(&s->positions, operand);
      if ((at < 0 || !member[at]) && !from_weights(s, operand)) value_list_add(s->arena, &inputs, operand);
    }
  }
  return inputs;
}

static MlirType *types_of(arena *a, const value_list *list) {
  MlirType *types = arena_alloc(a, (list->count + 1) * sizeof *types);
  for (size_t i = 0; i < list->count; i++) types[i] = mlirValueGetType(list->values[i]);
  return types;
}

/* The member ops, joined. */
static MlirLocation members_location(const stages *s, const bool *member) {
  MlirLocation *parts = arena_alloc(s->arena, (size_t)(s->ops.count + 1) * sizeof *parts);
  int count = 0;
  for (int i = 0; i < s->ops.count; i++)
    if (member[i]) parts[count++] = mlirOperationGetLocation(s->ops.ops[i]);
  return location_fuse(s->context->compilation->context, count, parts);
}

static MlirOperation split_function(stages *s, const bool *member, const char *name, const value_list *inputs,
                                    const value_list *results) {
  compilation *c = s->context->compilation;
  MlirLocation location = mlirLocationUnknownGet(c->context);
  MlirOperation function = function_create(c, s->module, name, (int)inputs->count, types_of(s->arena, inputs),
                                           (int)results->count, types_of(s->arena, results), location);
  MlirBlock block = function_body(function);
  cloner cl = cloner_create(c, s->arena, block);
  for (size_t i = 0; i < inputs->count; i++)
    cloner_set(&cl, inputs->values[i], mlirBlockGetArgument(block, (intptr_t)i));
  for (int i = 0; i < s->ops.count; i++) {
    if (!member[i]) continue;
    for (intptr_t k = 0; k < mlirOperationGetNumOperands(s->ops.ops[i]); k++) {
      MlirValue operand = mlirOperationGetOperand(s->ops.ops[i], k);
      if (from_weights(s, operand)) cloner_cone(&cl, operand);
    }
    cloner_op(&cl, s->ops.ops[i]);
  }
  MlirValue *returned = arena_alloc(s->arena, (results->count + 1) * sizeof *returned);
  for (size_t i = 0; i < results->count; i++) returned[i] = cloner_get(&cl, results->values[i]);
  builder b = {.compilation = c, .block = block, .location = location};
  build_return(&b, (int)results->count, returned);
  return function;
}

/* Calls at the head of @main, in the order made: a call's inputs are arguments or results of earlier calls. */
static void call_function(stages *s, MlirOperation function, MlirOperation before, const value_list *inputs,
                          const value_list *results) {
  builder b = {.compilation = s->context->compilation,
               .block = s->block,
               .before = before,
               .location = mlirLocationUnknownGet(s->context->compilation->context)};
  MlirOperation call = build_call(&b, function, (int)inputs->count, inputs->values);
  for (size_t i = 0; i < results->count; i++)
    value_replace(results->values[i], mlirOperationGetResult(call, (intptr_t)i));
}

static bool members_contract(const stages *s, const bool *member) {
  for (int i = 0; i < s->ops.count; i++)
    if (member[i] && op_is_contraction(s->ops.ops[i])) return true;
  return false;
}

/* ---- Vision ---- */

typedef struct camera {
  MlirValue image;
  bool *member;
  value_list results;
  bool done;
} camera;

static bool *members_of_bits(const stages *s, uint64_t allowed, bool calls) {
  bool *member = arena_alloc(s->arena, (size_t)s->ops.count);
  for (int i = 0; i < s->ops.count - 1; i++)
    member[i] = s->depends[i] && !(s->depends[i] & ~allowed) && (calls || op_kind_of(s->ops.ops[i]) != OP_NONE);
  return member;
}

/* Every argument of rank 4 that a contraction depends on alone. */
static int find_cameras(stages *s, camera *cameras, int capacity) {
  int count = 0;
  for (intptr_t a = 0; a < mlirBlockGetNumArguments(s->block) && a < DEPENDENCY_BITS - 1 && count < capacity; a++) {
    camera found = {.image = mlirBlockGetArgument(s->block, a)};
    tensor_type type;
    if (!value_type(found.image, &type) || type.rank != 4) continue;
    found.member = members_of_bits(s, argument_bit(found.image), false);
    found.results = results_of(s, found.member);
    if (members_contract(s, found.member) && found.results.count > 0) cameras[count++] = found;
  }
  return count;
}

/* The cameras whose towers are copies of the first one's, itself included; returns how many, 1 if none is. */
static int match_cameras(stages *s, camera *const *candidates, int count, camera **out_group, copy_match *out_match) {
  const camera *first = candidates[0];
  match_graph graph = {s->arena, &s->ops, &s->positions};
  int group = 0;
  out_group[group++] = candidates[0];
  for (int i = 1; i < count; i++) {
    if (candidates[i]->results.count != first->results.count) continue;
    out_group[group] = candidates[i];
    int copies = group + 1;
    MlirValue *images = arena_alloc(s->arena, (size_t)copies * sizeof *images);
    MlirValue *results = arena_alloc(s->arena, (size_t)copies * first->results.count * sizeof *results);
    for (int k = 0; k < copies; k++) {
      images[k] = out_group[k]->image;
      for (size_t r = 0; r < first->results.count; r++)
        results[r * (size_t)copies + (size_t)k] = out_group[k]->results.values[r];
    }
    copy_match match;
    bool same = copies_match(&graph, copies, images, (int)first->results.count, results, &match);
    for (int t = 0; same && t < match.tuple_count; t++) same = match.tuples[t].kind != TUPLE_TABLE;
    if (!same) {
      pass_missed(s->context, members_location(s, candidates[i]->member),
                  "this camera's tower is not the first one's: %s", match.why ? match.why : "their weights differ");
      continue;
    }
    *out_match = match;
    group++;
  }
  return group;
}

static MlirLocation group_location(const stages *s, camera **group, int count) {
  MlirLocation *parts = arena_alloc(s->arena, (size_t)count * sizeof *parts);
  for (int k = 0; k < count; k++) parts[k] = members_location(s, group[k]->member);
  return location_fuse(s->context->compilation->context, count, parts);
}

static void outline_camera_group(stages *s, MlirOperation before, camera **group, int count, const copy_match *match) {
  for (int k = 0; k < count; k++) group[k]->done = true;
  if (!pass_may_rewrite(s->context, group_location(s, group, count))) return;
  for (int t = 0; count > 1 && t < match->ordered_count; t++) {
    const copy_tuple *tuple = &match->tuples[match->ordered[t]];
    MlirOperation op = mlirOpResultGetOwner(tuple->values[0]);
    mlirOperationSetLocation(op, copies_location(s->context->compilation, s->arena, match, tuple));
    copies_set_identity(s->context->compilation, s->arena, match, tuple, op);
  }
  value_list inputs = inputs_of(s, group[0]->member);
  MlirOperation function = split_function(s, group[0]->member, "vision", &inputs, &group[0]->results);
  for (int k = 0; k < count; k++) {
    inputs.values[0] = group[k]->image; /* a tower depends on its image alone */
    call_function(s, function, before, &inputs, &group[k]->results);
  }
  s->context->changes++;
}

static bool outline_cameras(stages *s, MlirOperation before) {
  enum { MAXIMUM_CAMERAS = DEPENDENCY_BITS };
  camera cameras[MAXIMUM_CAMERAS], *candidates[MAXIMUM_CAMERAS], *group[MAXIMUM_CAMERAS];
  int count = find_cameras(s, cameras, MAXIMUM_CAMERAS);
  for (;;) {
    int left = 0;
    for (int i = 0; i < count; i++)
      if (!cameras[i].done) candidates[left++] = &cameras[i];
    if (left == 0) return count > 0;
    copy_match match;
    int size = match_cameras(s, candidates, left, group, &match);
    outline_camera_group(s, before, group, size, &match);
  }
}

static bool outline_members(stages *s, MlirOperation before, const bool *member, const char *name) {
  value_list results = results_of(s, member), inputs = inputs_of(s, member);
  if (results.count == 0 || !members_contract(s, member)) return false;
  if (!pass_may_rewrite(s->context, members_location(s, member))) return false;
  MlirOperation function = split_function(s, member, name, &inputs, &results);
  call_function(s, function, before, &inputs, &results);
  s->context->changes++;
  return true;
}

/* Cameras that are joined before their tower: one function of all images. */
static void outline_joined_cameras(stages *s, MlirOperation before) {
  uint64_t images = 0;
  for (intptr_t a = 0; a < mlirBlockGetNumArguments(s->block) && a < DEPENDENCY_BITS - 1; a++) {
    tensor_type type;
    MlirValue argument = mlirBlockGetArgument(s->block, a);
    if (value_type(argument, &type) && type.rank == 4) images |= argument_bit(argument);
  }
  outline_members(s, before, members_of_bits(s, images, false), "vision");
}

/* ---- Prefix ---- */

static MlirOperation find_steps(const stages *s) {
  for (int i = 0; i < s->ops.count; i++)
    if (op_kind_of(s->ops.ops[i]) == OP_steps) return s->ops.ops[i];
  return (MlirOperation){0};
}

static MlirOperation first_after_calls(const stages *s) {
  int i = 0;
  while (i < s->ops.count - 1 && op_is_named(s->ops.ops[i], "func.call")) i++;
  return s->ops.ops[i];
}

static void outline_prefix(stages *s, MlirOperation before) {
  MlirOperation steps = find_steps(s);
  if (mlirOperationIsNull(steps)) return;
  uint64_t noise = DEPENDS_ON_STEPS | value_depends(s, mlirOperationGetOperand(steps, 0));
  outline_members(s, before, members_of_bits(s, ~noise, false), "prefix");
}

status pass_outline_stages(pass_context *context, MlirModule module) {
  MlirOperation function = module_function(module, "main");
  if (mlirOperationIsNull(function) || mlirBlockIsNull(function_body(function))) return STATUS_OK;
  static const char *const made[] = {"vision", "prefix", "weights"}; /* it has run, or is late: calls go to the head */
  for (size_t i = 0; i < sizeof made / sizeof *made; i++)
    if (!mlirOperationIsNull(module_function(module, made[i]))) return STATUS_OK;
  stages s = {.context = context, .arena = arena_create(), .module = module, .block = function_body(function)};
  stages_read(&s);
  MlirOperation head = s.ops.ops[0]; /* alive until what is dead goes */
  if (!outline_cameras(&s, head)) outline_joined_cameras(&s, head);
  block_erase_dead(s.block);
  stages_read(&s);
  outline_prefix(&s, first_after_calls(&s));
  block_erase_dead(s.block);
  arena_destroy(s.arena);
  return STATUS_OK;
}
