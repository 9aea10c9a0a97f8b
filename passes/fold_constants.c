/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fold-constants: evaluates what depends on constants alone, with the reference interpreter: shapes, masks, position
 * ids, the sinusoidal time embedding of all denoising steps.
 *
 * Requires: nothing. Produces: constants (large ones as blobs). Breaks: nothing.
 *
 * Weights are never read, only small integer and bool tensors, which are indices and masks whatever the exporter keeps
 * them in. Nothing is folded that would only grow: a float tensor repeated, or a result over MAXIMUM_BYTES.
 */
#include "graph.h"

#include <string.h>

#include "../ir/eval.h"

enum {
  MAXIMUM_BYTES = 16 << 20,      /* of a folded value */
  MAXIMUM_INDEX_BYTES = 1 << 20, /* of a weight that holds indices or a mask */
  MAXIMUM_GROWTH = 4,            /* float results beyond CONSTANT_INLINE_BYTES: times the operands' bytes */
};

typedef struct folder {
  compilation *compilation;
  arena *arena;
  op_list ops;
  pointer_map positions;
  eval_tensor **values; /* per op: its results' values, or NULL */
  bool *is_leaf;        /* a constant of the module, not folded by us */
} folder;

static bool holds_indices(const tensor_type *type) {
  return !dtype_is_float(type->dtype) && type_bytes(type) <= MAXIMUM_INDEX_BYTES;
}

/* A constant's bytes as the interpreter holds them. */
static bool read_leaf(folder *f, int index) {
  MlirOperation op = f->ops.ops[index];
  op_kind kind = op_kind_of(op);
  tensor_type type;
  if ((kind != OP_constant && kind != OP_weight) || !value_type(mlirOperationGetResult(op, 0), &type)) return false;
  if (kind == OP_weight && (!holds_indices(&type) || attr_str_is(op, "file", "@weights"))) return false;
  if (type_bytes(&type) > MAXIMUM_BYTES) return false;
  const void *bytes = constant_bytes(f->compilation, op);
  f->values[index] = arena_alloc(f->arena, sizeof(eval_tensor));
  f->is_leaf[index] = true;
  if (bytes && eval_tensor_from_bytes(&type, bytes, EVAL_AS_TYPED, f->values[index]) == STATUS_OK) return true;
  f->values[index] = NULL;
  return false;
}

static bool is_foldable(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  return kind != OP_NONE && kind != OP_steps && op_level_of(kind) != LEVEL_LAUNCH &&
         mlirOperationGetNumOperands(op) > 0;
}

/* Repeating float data, or holding very much of any, costs more than computing it. */
static bool result_grows(MlirOperation op) {
  int64_t operand_bytes = 0, result_bytes = 0;
  bool floats = false;
  tensor_type type;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++)
    if (value_type(mlirOperationGetOperand(op, i), &type)) operand_bytes += type_bytes(&type);
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++) {
    if (!value_type(mlirOperationGetResult(op, i), &type)) return true;
    result_bytes += type_bytes(&type);
    floats |= dtype_is_float(type.dtype);
  }
  return result_bytes > MAXIMUM_BYTES ||
         (floats && result_bytes > CONSTANT_INLINE_BYTES && result_bytes > MAXIMUM_GROWTH * operand_bytes);
}

static status fold_op(folder *f, int index) {
  MlirOperation op = f->ops.ops[index];
  if (!is_foldable(op)) return STATUS_OK;
  intptr_t operand_count = mlirOperationGetNumOperands(op);
  const eval_tensor **operands = arena_alloc(f->arena, (size_t)operand_count * sizeof *operands);
  for (intptr_t i = 0; i < operand_count; i++) {
    int64_t at = value_position(&f->positions, mlirOperationGetOperand(op, i));
    if (at < 0 || (!f->values[at] && !read_leaf(f, (int)at))) return STATUS_OK;
    operands[i] = &f->values[at][mlirOpResultGetResultNumber(mlirOperationGetOperand(op, i))];
  }
  if (result_grows(op)) return STATUS_OK;
  eval_tensor *results = arena_alloc(f->arena, (size_t)mlirOperationGetNumResults(op) * sizeof *results);
  status code = eval_op(f->compilation, op, operands, EVAL_AS_TYPED, results);
  if (code == STATUS_OK) f->values[index] = results;
  return code;
}

/* The constant that stands for a folded value, made where the value was computed; a large one that is the same number
   everywhere is a broadcast. */
static MlirValue make_constant(folder *f, int index, intptr_t result) {
  MlirOperation op = f->ops.ops[index];
  builder b = builder_before(f->compilation, op);
  const eval_tensor *value = &f->values[index][result];
  tensor_type type;
  value_type(mlirOperationGetResult(op, result), &type);
  uint8_t *bytes = arena_alloc(f->arena, (size_t)type_bytes(&type) + 1);
  eval_tensor_to_bytes(value, bytes);
  size_t element = pinion_dtype_size(type.dtype), size = (size_t)type_bytes(&type);
  bool uniform = size > CONSTANT_INLINE_BYTES && memcmp(bytes, bytes + element, size - element) == 0;
  if (!uniform) return build_constant(&b, &type, bytes);
  MlirValue number = build_constant(&b, &(tensor_type){.dtype = type.dtype}, bytes);
  return mlirValueIsNull(number) ? number : build_broadcast(&b, number, type.rank, type.dims);
}

/* Only what others need becomes a constant; the rest of a folded chain disappears. */
static status replace_folded(folder *f, int *out_changes) {
  for (int i = 0; i < f->ops.count; i++) {
    MlirOperation op = f->ops.ops[i];
    if (!f->values[i] || f->is_leaf[i]) continue;
    for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++) {
      MlirValue value = mlirOperationGetResult(op, r);
      bool needed = false;
      for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use) && !needed;
           use = mlirOpOperandGetNextUse(use)) {
        int64_t user = pointer_map_get(&f->positions, mlirOpOperandGetOwner(use).ptr);
        needed = user < 0 || !f->values[user];
      }
      if (!needed) continue;
      MlirValue constant = make_constant(f, i, r);
      if (mlirValueIsNull(constant)) return STATUS_FAILED;
      value_replace(value, constant);
    }
    (*out_changes)++;
  }
  return STATUS_OK;
}

static void free_values(folder *f) {
  for (int i = 0; i < f->ops.count; i++)
    for (intptr_t r = 0; f->values[i] && r < mlirOperationGetNumResults(f->ops.ops[i]); r++)
      eval_free(&f->values[i][r]);
}

static status fold_function(pass_context *context, MlirBlock block) {
  folder f = {.compilation = context->compilation, .arena = arena_create()};
  f.ops = block_ops(f.arena, block);
  f.positions = op_positions(f.arena, &f.ops);
  f.values = arena_alloc(f.arena, (size_t)f.ops.count * sizeof *f.values);
  f.is_leaf = arena_alloc(f.arena, (size_t)f.ops.count);
  status code = STATUS_OK;
  for (int i = 0; i < f.ops.count && code == STATUS_OK; i++) code = fold_op(&f, i);
  if (code == STATUS_OK) code = replace_folded(&f, &context->changes);
  free_values(&f);
  arena_destroy(f.arena);
  if (code == STATUS_OK) block_erase_dead(block);
  return code;
}

status pass_fold_constants(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int i = 0; i < functions.count && code == STATUS_OK; i++)
    code = fold_function(context, function_body(functions.ops[i]));
  arena_destroy(a);
  return code;
}
