/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Maps, walks and function building that several passes share. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "../ir/eval.h"

/* ---- Pointer maps ---- */

static size_t pointer_slot(const pointer_map *map, const void *key) {
  uint64_t hash = (uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15ull;
  size_t slot = (size_t)(hash >> 20) & (map->capacity - 1);
  while (map->keys[slot] && map->keys[slot] != key) slot = (slot + 1) & (map->capacity - 1);
  return slot;
}

static void pointer_map_resize(pointer_map *map, size_t capacity) {
  pointer_map old = *map;
  map->capacity = capacity;
  map->keys = arena_alloc(map->arena, capacity * sizeof *map->keys);
  map->values = arena_alloc(map->arena, capacity * sizeof *map->values);
  for (size_t i = 0; i < old.capacity; i++) {
    if (!old.keys[i]) continue;
    size_t slot = pointer_slot(map, old.keys[i]);
    map->keys[slot] = old.keys[i];
    map->values[slot] = old.values[i];
  }
}

pointer_map pointer_map_create(arena *a) {
  pointer_map map = {.arena = a};
  pointer_map_resize(&map, 64);
  return map;
}

int64_t pointer_map_get(const pointer_map *map, const void *key) {
  size_t slot = pointer_slot(map, key);
  return map->keys[slot] ? map->values[slot] : -1;
}

void pointer_map_set(pointer_map *map, const void *key, int64_t value) {
  size_t slot = pointer_slot(map, key);
  if (!map->keys[slot]) {
    if (2 * ++map->count > map->capacity) {
      pointer_map_resize(map, 2 * map->capacity);
      slot = pointer_slot(map, key);
    }
    map->keys[slot] = key;
  }
  map->values[slot] = value;
}

/* ---- Ops in order ---- */

bool op_is_named(MlirOperation op, const char *name) {
  MlirStringRef found = mlirIdentifierStr(mlirOperationGetName(op));
  return found.length == strlen(name) && memcmp(found.data, name, found.length) == 0;
}

int block_op_count(MlirBlock block) {
  int count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    count++;
  return count;
}

op_list block_ops(arena *a, MlirBlock block) {
  op_list list = {.ops = arena_alloc(a, (size_t)(block_op_count(block) + 1) * sizeof(MlirOperation))};
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    list.ops[list.count++] = op;
  return list;
}

op_list module_functions(arena *a, MlirModule module) {
  op_list all = block_ops(a, mlirModuleGetBody(module)), functions = {.ops = all.ops};
  for (int i = 0; i < all.count; i++) {
    if (!op_is_named(all.ops[i], "func.func")) continue;
    if (mlirBlockIsNull(mlirRegionGetFirstBlock(mlirOperationGetRegion(all.ops[i], 0)))) continue;
    functions.ops[functions.count++] = all.ops[i];
  }
  return functions;
}

pointer_map op_positions(arena *a, const op_list *ops) {
  pointer_map positions = {.arena = a};
  size_t capacity = 64;
  while (capacity < 2 * (size_t)ops->count) capacity *= 2;
  pointer_map_resize(&positions, capacity);
  for (int i = 0; i < ops->count; i++) pointer_map_set(&positions, ops->ops[i].ptr, i);
  return positions;
}

int64_t value_position(const pointer_map *positions, MlirValue value) {
  if (!mlirValueIsAOpResult(value)) return -1;
  return pointer_map_get(positions, mlirOpResultGetOwner(value).ptr);
}

bool value_move_before(MlirValue value, MlirOperation anchor) {
  MlirOperation last = value_definition(value);
  if (mlirOperationIsNull(last) || mlirOperationIsBeforeInBlock(last, anchor)) return true;
  arena *a = arena_create();
  op_list between = {0}; /* anchor .. last */
  size_t capacity = 0;
  for (MlirOperation op = anchor;; op = mlirOperationGetNextInBlock(op)) {
    between.ops = arena_grow(a, between.ops, (size_t)between.count, &capacity, sizeof op);
    between.ops[between.count++] = op;
    if (mlirOperationEqual(op, last)) break;
  }
  pointer_map positions = op_positions(a, &between);
  bool *needed = arena_alloc(a, (size_t)between.count);
  needed[between.count - 1] = true;
  for (int i = between.count - 1; i > 0; i--)
    for (intptr_t k = 0; needed[i] && k < mlirOperationGetNumOperands(between.ops[i]); k++) {
      const int64_t at = value_position(&positions, mlirOperationGetOperand(between.ops[i], k));
      if (at >= 0) needed[at] = true;
    }
  const bool free = !needed[0];
  for (int i = 1; free && i < between.count; i++)
    if (needed[i]) mlirOperationMoveBefore(between.ops[i], anchor);
  arena_destroy(a);
  return free;
}

static bool op_may_be_weight(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  return kind != OP_NONE && kind != OP_steps && op_level_of(kind) != LEVEL_LAUNCH;
}

bool *ops_from_weights(arena *a, const op_list *ops, const pointer_map *positions) {
  bool *from_weights = arena_alloc(a, (size_t)ops->count + 1);
  for (int i = 0; i < ops->count; i++) {
    bool all = op_may_be_weight(ops->ops[i]);
    for (intptr_t k = 0; all && k < mlirOperationGetNumOperands(ops->ops[i]); k++) {
      int64_t at = value_position(positions, mlirOperationGetOperand(ops->ops[i], k));
      all = at >= 0 && from_weights[at];
    }
    from_weights[i] = all;
  }
  return from_weights;
}

/* ---- Clean-up ---- */

static bool op_is_dead(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  bool removable = kind == OP_NONE ? op_is_named(op, "func.call") : op_level_of(kind) != LEVEL_LAUNCH;
  for (intptr_t i = 0; removable && i < mlirOperationGetNumResults(op); i++)
    removable = value_is_unused(mlirOperationGetResult(op, i));
  return removable;
}

int block_erase_dead(MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  int erased = 0;
  for (int i = ops.count - 1; i >= 0; i--) { /* users stand after what they use: one sweep backwards finds all */
    if (!op_is_dead(ops.ops[i])) continue;
    op_erase(ops.ops[i]);
    erased++;
  }
  arena_destroy(a);
  return erased;
}

/* ---- Identity ---- */

void op_copy_identity(MlirOperation from, MlirOperation to) {
  MlirStringRef name = mlirStringRefCreateFromCString("onnx");
  MlirAttribute identity = mlirOperationGetAttributeByName(from, name);
  if (!mlirAttributeIsNull(identity) && mlirAttributeIsNull(mlirOperationGetAttributeByName(to, name)))
    mlirOperationSetAttributeByName(to, name, identity);
}

/* ---- Locations ---- */

const char *op_label(compilation *c, MlirOperation op) {
  const MlirStringRef name = location_name(mlirOperationGetLocation(op));
  if (name.length) return arena_format(c->arena, "'%.*s'", (int)name.length, name.data);
  const MlirStringRef kind = mlirIdentifierStr(mlirOperationGetName(op));
  return arena_format(c->arena, "a %.*s", (int)kind.length, kind.data);
}

const char *also_reads(compilation *c, MlirOperation reader, MlirOperation maker) {
  return arena_format(c->arena, "%s also reads what %s computes", op_label(c, reader), op_label(c, maker));
}

MlirLocation location_fuse(MlirContext context, int count, const MlirLocation *locations) {
  return count == 1 ? locations[0] : mlirLocationFusedGet(context, count, locations, (MlirAttribute){0});
}

/* ---- Functions ---- */

static MlirType function_type(MlirContext context, int argument_count, const MlirType *arguments, int result_count,
                              const MlirType *results) {
  return mlirFunctionTypeGet(context, argument_count, arguments, result_count, results);
}

static const char *unused_function_name(arena *a, MlirModule module, const char *name) {
  const char *candidate = name;
  for (int i = 1; !mlirOperationIsNull(module_function(module, candidate)); i++)
    candidate = arena_format(a, "%s_%d", name, i);
  return candidate;
}

MlirOperation function_create(compilation *c, MlirModule module, const char *name, int argument_count,
                              const MlirType *arguments, int result_count, const MlirType *results,
                              MlirLocation location) {
  name = unused_function_name(c->arena, module, name);
  MlirLocation *locations = arena_alloc(c->arena, (size_t)(argument_count + 1) * sizeof *locations);
  for (int i = 0; i < argument_count; i++) locations[i] = location;
  MlirRegion region = mlirRegionCreate();
  mlirRegionAppendOwnedBlock(region, mlirBlockCreate(argument_count, arguments, locations));
  MlirNamedAttribute attributes[] = {
      make_named(c->context, "sym_name", make_str(c->context, name)),
      make_named(c->context, "function_type",
                 mlirTypeAttrGet(function_type(c->context, argument_count, arguments, result_count, results))),
      make_named(c->context, "sym_visibility", make_str(c->context, "private")),
  };
  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString("func.func"), location);
  mlirOperationStateAddAttributes(&state, 3, attributes);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  MlirOperation function = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(mlirModuleGetBody(module), function);
  return function;
}

void function_update_type(compilation *c, MlirOperation function) {
  arena *a = arena_create();
  MlirBlock block = function_body(function);
  MlirOperation end = block_terminator(block);
  const intptr_t arguments = mlirBlockGetNumArguments(block), results = mlirOperationGetNumOperands(end);
  MlirType *types = arena_alloc(a, (size_t)(arguments + results + 1) * sizeof *types);
  for (intptr_t i = 0; i < arguments; i++) types[i] = mlirValueGetType(mlirBlockGetArgument(block, i));
  for (intptr_t i = 0; i < results; i++) types[arguments + i] = mlirValueGetType(mlirOperationGetOperand(end, i));
  MlirType type = function_type(c->context, (int)arguments, types, (int)results, types + arguments);
  mlirOperationSetAttributeByName(function, mlirStringRefCreateFromCString("function_type"), mlirTypeAttrGet(type));
  arena_destroy(a);
}

MlirOperation build_return(builder *b, int count, const MlirValue *values) {
  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString("func.return"), b->location);
  mlirOperationStateAddOperands(&state, count, values);
  return build_insert(b, &state);
}

MlirOperation build_call(builder *b, MlirOperation callee, int count, const MlirValue *arguments) {
  MlirContext context = b->compilation->context;
  MlirType type =
      mlirTypeAttrGetValue(mlirOperationGetAttributeByName(callee, mlirStringRefCreateFromCString("function_type")));
  MlirNamedAttribute attribute =
      make_named(context, "callee", mlirFlatSymbolRefAttrGet(context, attr_str(callee, "sym_name")));
  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString("func.call"), b->location);
  mlirOperationStateAddOperands(&state, count, arguments);
  mlirOperationStateAddAttributes(&state, 1, &attribute);
  for (intptr_t i = 0; i < mlirFunctionTypeGetNumResults(type); i++) {
    MlirType result = mlirFunctionTypeGetResult(type, i);
    mlirOperationStateAddResults(&state, 1, &result);
  }
  return build_insert(b, &state);
}

/* ---- Cloning ---- */

cloner cloner_create(compilation *c, arena *a, MlirBlock block) {
  return (cloner){.compilation = c, .arena = a, .block = block, .map = pointer_map_create(a)};
}

void cloner_set(cloner *cl, MlirValue from, MlirValue to) {
  cl->values = arena_grow(cl->arena, cl->values, cl->count, &cl->capacity, sizeof to);
  cl->values[cl->count] = to;
  pointer_map_set(&cl->map, from.ptr, (int64_t)cl->count++);
}

MlirValue cloner_get(const cloner *cl, MlirValue from) {
  int64_t at = pointer_map_get(&cl->map, from.ptr);
  return at < 0 ? (MlirValue){0} : cl->values[at];
}

MlirOperation cloner_op(cloner *cl, MlirOperation op) {
  MlirOperation clone = mlirOperationClone(op);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++)
    mlirOperationSetOperand(clone, i, cloner_get(cl, mlirOperationGetOperand(op, i)));
  if (mlirOperationIsNull(cl->before))
    mlirBlockAppendOwnedOperation(cl->block, clone);
  else
    mlirBlockInsertOwnedOperationBefore(cl->block, cl->before, clone);
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++)
    cloner_set(cl, mlirOperationGetResult(op, i), mlirOperationGetResult(clone, i));
  return clone;
}

/* Depth first with a stack of our own: a chain may be as long as the graph. */
MlirValue cloner_cone(cloner *cl, MlirValue value) {
  size_t count = 0, capacity = 0;
  MlirOperation *stack = NULL;
  MlirValue known = cloner_get(cl, value);
  if (!mlirValueIsNull(known)) return known;
  stack = arena_grow(cl->arena, stack, count, &capacity, sizeof *stack);
  stack[count++] = mlirOpResultGetOwner(value);
  while (count > 0) {
    MlirOperation op = stack[count - 1];
    bool ready = true;
    for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
      MlirValue operand = mlirOperationGetOperand(op, i);
      if (!mlirValueIsNull(cloner_get(cl, operand))) continue;
      stack = arena_grow(cl->arena, stack, count, &capacity, sizeof *stack);
      stack[count++] = mlirOpResultGetOwner(operand);
      ready = false;
    }
    if (!ready) continue;
    count--;
    if (mlirValueIsNull(cloner_get(cl, mlirOperationGetResult(op, 0)))) cloner_op(cl, op);
  }
  return cloner_get(cl, value);
}

/* The number of a splat attribute, without expanding it. */
static bool splat_number(MlirAttribute elements, pinion_dtype dtype, double *out_number) {
  MlirAttribute element = mlirDenseElementsAttrGetSplatValue(elements);
  if (dtype == PINION_DTYPE_bool)
    *out_number = mlirDenseElementsAttrGetBoolSplatValue(elements);
  else if (mlirAttributeIsAFloat(element))
    *out_number = mlirFloatAttrGetValueDouble(element);
  else if (mlirIntegerTypeIsUnsigned(mlirAttributeGetType(element)))
    *out_number = (double)mlirIntegerAttrGetValueUInt(element);
  else
    *out_number = (double)mlirIntegerAttrGetValueInt(element);
  return true;
}

bool value_uniform(compilation *c, MlirValue value, double *out_number) {
  MlirOperation op = value_defined_by(value, OP_constant);
  tensor_type type;
  if (mlirOperationIsNull(op) || !value_type(value, &type)) return false;
  int64_t count = type_elements(&type);
  MlirAttribute elements = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("value"));
  if (mlirAttributeIsADenseElements(elements) && mlirDenseElementsAttrIsSplat(elements))
    return splat_number(elements, type.dtype, out_number);
  if (count == 0 || count > CONSTANT_INLINE_BYTES) return false;
  const uint8_t *bytes = constant_bytes(c, op);
  size_t size = pinion_dtype_size(type.dtype);
  if (!bytes) return false;
  for (int64_t i = 1; i < count; i++)
    if (memcmp(bytes, bytes + (size_t)i * size, size) != 0) return false;
  tensor_type scalar = {.dtype = type.dtype};
  eval_tensor one;
  if (eval_tensor_from_bytes(&scalar, bytes, EVAL_AS_TYPED, &one) != STATUS_OK) return false;
  *out_number = eval_get(&one, 0);
  eval_free(&one);
  return true;
}

status each_run_block(pass_context *context, MlirModule module,
                      status (*visit)(pass_context *context, MlirBlock block)) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int i = 0; i < functions.count && code == STATUS_OK; i++)
    if (!attr_str_is(functions.ops[i], "sym_name", "weights")) code = visit(context, function_body(functions.ops[i]));
  arena_destroy(a);
  return code;
}
