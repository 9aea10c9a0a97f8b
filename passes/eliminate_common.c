/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * eliminate-common: merges ops with equal names, operands, attributes and result types, within each function. Two
 * weights of one type are equal if their bytes are, wherever those lie: exporters write a transposed weight once for
 * each step.
 *
 * Requires: nothing. Produces: the first of equal ops, with the locations of all. Breaks: nothing.
 */
#include "graph.h"

status pass_eliminate_common(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  for (int i = 0; i < functions.count; i++)
    context->changes += block_merge_common(context, function_body(functions.ops[i]));
  arena_destroy(a);
  return STATUS_OK;
}
