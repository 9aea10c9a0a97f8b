/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Operands of pinion.steps and arguments of its callee: steps_operands.h. */
#include "steps_operands.h"

/* Returns how many operands are left; how many of them are tables in *out_tables. */
static int drop_unused(MlirBlock block, MlirValue *operands, int count, int first_table, int *out_tables) {
  int kept = 1;
  *out_tables = 0;
  for (int i = 1; i < count; i++) {
    if (value_is_unused(mlirBlockGetArgument(block, kept))) {
      mlirBlockEraseArgument(block, (unsigned)kept);
      continue;
    }
    *out_tables += i >= first_table;
    operands[kept++] = operands[i];
  }
  return kept;
}

status steps_set_operands(compilation *c, MlirOperation steps, MlirOperation function, MlirValue *operands, int count,
                          int first_table) {
  MlirBlock block = function_body(function);
  int tables;
  block_erase_dead(block);
  count = drop_unused(block, operands, count, first_table, &tables);
  function_update_type(c, function);
  builder b = builder_before(c, steps);
  MlirNamedAttribute attributes[] = {
      make_named(c->context, "callee",
                 mlirOperationGetAttributeByName(steps, mlirStringRefCreateFromCString("callee"))),
      make_named(c->context, "count", make_i64(c->context, attr_i64(steps, "count", 0))),
      make_named(c->context, "tables", make_i64(c->context, tables)),
  };
  MlirType type = mlirValueGetType(mlirOperationGetResult(steps, 0));
  MlirOperation built = build_op(&b, OP_steps, count, operands, 3, attributes, 1, &type);
  if (mlirOperationIsNull(built)) return STATUS_FAILED;
  op_copy_identity(steps, built);
  value_replace(mlirOperationGetResult(steps, 0), mlirOperationGetResult(built, 0));
  op_erase(steps);
  return STATUS_OK;
}
