/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Functions seen through: callers.h. */
#include "callers.h"

#include <string.h>

enum { MAXIMUM_DEPTH = 48 };

static MlirModule module_of(MlirOperation op) {
  MlirOperation parent = mlirOperationGetParentOperation(op);
  while (!mlirOperationIsNull(mlirOperationGetParentOperation(parent)))
    parent = mlirOperationGetParentOperation(parent);
  return mlirModuleFromOperation(parent);
}

static bool calls(MlirOperation op, MlirStringRef function) {
  return (op_kind_of(op) == OP_steps || op_is_named(op, "func.call")) &&
         mlirStringRefEqual(attr_str(op, "callee"), function);
}

op_list argument_callers(arena *a, MlirValue argument) {
  op_list callers = {0};
  size_t capacity = 0;
  MlirOperation function = mlirBlockGetParentOperation(mlirBlockArgumentGetOwner(argument));
  if (mlirOperationIsNull(mlirOperationGetParentOperation(function))) return callers;
  op_list functions = module_functions(a, module_of(function));
  for (int f = 0; f < functions.count; f++) {
    MlirOperation op = mlirBlockGetFirstOperation(function_body(functions.ops[f]));
    for (; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
      if (!calls(op, attr_str(function, "sym_name"))) continue;
      callers.ops = arena_grow(a, callers.ops, (size_t)callers.count, &capacity, sizeof op);
      callers.ops[callers.count++] = op;
    }
  }
  return callers;
}

bool caller_carries(MlirOperation caller, intptr_t number) {
  return op_kind_of(caller) == OP_steps && number == 0;
}

bool caller_passes_row(MlirOperation caller, intptr_t number) {
  return op_kind_of(caller) == OP_steps &&
         number >= mlirOperationGetNumOperands(caller) - attr_i64(caller, "tables", 0);
}

MlirValue returned_value(arena *a, MlirValue result) {
  MlirOperation call = value_definition(result);
  if (mlirOperationIsNull(call) || !op_is_named(call, "func.call")) return (MlirValue){0};
  MlirStringRef name = attr_str(call, "callee");
  MlirOperation callee = module_function(module_of(call), arena_string(a, name.data, name.length));
  if (mlirOperationIsNull(callee)) return (MlirValue){0};
  return mlirOperationGetOperand(block_terminator(function_body(callee)), mlirOpResultGetResultNumber(result));
}

/* ---- Equal values ---- */

static bool equal(arena *a, MlirValue x, MlirValue y, int depth);

static MlirValue before_reshapes(MlirValue value) {
  for (MlirOperation op; !mlirOperationIsNull(op = value_defined_by(value, OP_reshape));)
    value = mlirOperationGetOperand(op, 0);
  return value;
}

/* Where a slice that takes of every row the same columns, of all rows, begins; -1 if it is another. */
static int64_t first_column(MlirOperation slice, tensor_type *out_whole, tensor_type *out_part) {
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  if (!value_type(mlirOperationGetOperand(slice, 0), out_whole) ||
      !value_type(mlirOperationGetResult(slice, 0), out_part) || out_whole->rank == 0)
    return -1;
  attr_i64s(slice, "starts", starts, PINION_MAX_RANK);
  attr_i64s(slice, "steps", steps, PINION_MAX_RANK);
  const int last = out_whole->rank - 1;
  for (int d = 0; d < last; d++)
    if (out_whole->dims[d] != out_part->dims[d] || (steps[d] != 1 && out_part->dims[d] > 1)) return -1;
  return steps[last] == 1 ? starts[last] : -1;
}

static bool slices_equal(arena *a, MlirOperation x, MlirOperation y, int depth) {
  tensor_type whole[2], part[2];
  const int64_t start = first_column(x, &whole[0], &part[0]);
  return start >= 0 && start == first_column(y, &whole[1], &part[1]) &&
         whole[0].dims[whole[0].rank - 1] == whole[1].dims[whole[1].rank - 1] &&
         part[0].dims[part[0].rank - 1] == part[1].dims[part[1].rank - 1] &&
         equal(a, mlirOperationGetOperand(x, 0), mlirOperationGetOperand(y, 0), depth);
}

static bool arguments_equal(arena *a, MlirValue x, MlirValue y, int depth) {
  const intptr_t i = mlirBlockArgumentGetArgNumber(x), k = mlirBlockArgumentGetArgNumber(y);
  op_list callers = argument_callers(a, x);
  bool all = callers.count > 0;
  for (int c = 0; all && c < callers.count; c++) {
    MlirOperation op = callers.ops[c];
    all = !caller_carries(op, i) && !caller_carries(op, k) && caller_passes_row(op, i) == caller_passes_row(op, k) &&
          equal(a, mlirOperationGetOperand(op, i), mlirOperationGetOperand(op, k), depth);
  }
  return all;
}

static bool equal(arena *a, MlirValue x, MlirValue y, int depth) {
  x = before_reshapes(x), y = before_reshapes(y);
  if (mlirValueEqual(x, y)) return true;
  if (depth == MAXIMUM_DEPTH) return false;
  if (mlirValueIsABlockArgument(x) || mlirValueIsABlockArgument(y))
    return mlirValueIsABlockArgument(x) && mlirValueIsABlockArgument(y) &&
           mlirBlockEqual(mlirBlockArgumentGetOwner(x), mlirBlockArgumentGetOwner(y)) &&
           arguments_equal(a, x, y, depth + 1);
  MlirOperation p = value_definition(x), q = value_definition(y);
  if (op_kind_of(p) == OP_slice && op_kind_of(q) == OP_slice) return slices_equal(a, p, q, depth + 1);
  MlirValue u = returned_value(a, x), v = returned_value(a, y);
  return mlirOperationEqual(p, q) && !mlirValueIsNull(u) && !mlirValueIsNull(v) && equal(a, u, v, depth + 1);
}

bool values_equal_across_calls(arena *a, MlirValue x, MlirValue y) {
  tensor_type s, t;
  return value_type(x, &s) && value_type(y, &t) && s.dtype == t.dtype && type_elements(&s) == type_elements(&t) &&
         equal(a, x, y, 0);
}
