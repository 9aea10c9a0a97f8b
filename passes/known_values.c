/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What is known before a function runs: known_values.h. */
#include "known_values.h"

bool value_is_known(const known_values *k, MlirValue value) {
  int64_t at = value_position(&k->positions, value);
  if (at >= 0) return k->known[at];
  return mlirValueIsABlockArgument(value) && mlirBlockArgumentGetArgNumber(value) >= k->first_table;
}

bool value_is_from_weights(const known_values *k, MlirValue value) {
  int64_t at = value_position(&k->positions, value);
  return at >= 0 && k->from_weights[at];
}

static void mark_known(arena *a, known_values *k) {
  k->known = arena_alloc(a, (size_t)k->ops.count + 1);
  for (int i = 0; i < k->ops.count; i++) {
    MlirOperation op = k->ops.ops[i];
    op_kind kind = op_kind_of(op);
    bool all = kind != OP_NONE && kind != OP_steps && op_level_of(kind) != LEVEL_LAUNCH;
    for (intptr_t n = 0; all && n < mlirOperationGetNumOperands(op); n++)
      all = value_is_known(k, mlirOperationGetOperand(op, n));
    k->known[i] = all;
  }
}

/* The first argument of `function` that is a row of a table in all steps that repeat it; if nothing else calls it. */
static int64_t first_table_of(arena *a, const op_list *functions, MlirOperation function) {
  int64_t arguments = mlirBlockGetNumArguments(function_body(function)), first = -1;
  for (int f = 0; f < functions->count; f++) {
    op_list ops = block_ops(a, function_body(functions->ops[f]));
    for (int i = 0; i < ops.count; i++) {
      if (!mlirStringRefEqual(attr_str(ops.ops[i], "callee"), attr_str(function, "sym_name"))) continue;
      int64_t table = op_kind_of(ops.ops[i]) == OP_steps ? arguments - attr_i64(ops.ops[i], "tables", 0) : arguments;
      if (table > first) first = table;
    }
  }
  return first < 0 ? arguments : first;
}

/* Of `function`, one of `functions`, as it is now; the arena's. */
static known_values known_values_of(arena *a, const op_list *functions, MlirOperation function) {
  known_values k = {.first_table = first_table_of(a, functions, function)};
  k.ops = block_ops(a, function_body(function));
  k.positions = op_positions(a, &k.ops);
  k.from_weights = ops_from_weights(a, &k.ops, &k.positions);
  mark_known(a, &k);
  return k;
}

status each_known_function(pass_context *context, MlirModule module,
                           status (*visit)(pass_context *context, arena *a, const known_values *known)) {
  arena *a = arena_create();
  const op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int i = 0; i < functions.count && code == STATUS_OK; i++) {
    if (attr_str_is(functions.ops[i], "sym_name", "weights")) continue;
    const known_values known = known_values_of(a, &functions, functions.ops[i]);
    const int before = context->changes;
    code = visit(context, a, &known);
    if (code == STATUS_OK && context->changes > before) block_erase_dead(function_body(functions.ops[i]));
  }
  arena_destroy(a);
  return code;
}
