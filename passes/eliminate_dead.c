/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * eliminate-dead: removes ops none of whose results is used: among them what exporters leave in, such as the last
 * prefill layer's attention output and MLP, which feed nothing. Then functions that nothing calls.
 *
 * Requires: nothing. Produces: nothing new. Breaks: nothing; launches and buffers are left alone.
 */
#include "graph.h"

#include <string.h>

static bool calls(MlirOperation op, MlirStringRef name) {
  MlirAttribute callee = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("callee"));
  if (mlirAttributeIsNull(callee) || !mlirAttributeIsAFlatSymbolRef(callee)) return false;
  MlirStringRef called = mlirFlatSymbolRefAttrGetValue(callee);
  return called.length == name.length && memcmp(called.data, name.data, name.length) == 0;
}

/* Only what a pass outlined is private; @weights is called by no op, but read. */
static bool is_removable(arena *a, const op_list *functions, MlirOperation function) {
  MlirStringRef name = attr_str(function, "sym_name");
  if (!attr_str_is(function, "sym_visibility", "private") || attr_str_is(function, "sym_name", "weights")) return false;
  for (int i = 0; i < functions->count; i++) {
    op_list ops = block_ops(a, function_body(functions->ops[i]));
    for (int k = 0; k < ops.count; k++)
      if (calls(ops.ops[k], name)) return false;
  }
  return true;
}

static bool remove_one_function(arena *a, MlirModule module) {
  op_list functions = module_functions(a, module);
  for (int i = 0; i < functions.count; i++) {
    if (!is_removable(a, &functions, functions.ops[i])) continue;
    op_erase(functions.ops[i]);
    return true;
  }
  return false;
}

status pass_eliminate_dead(pass_context *context, MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  for (int i = 0; i < functions.count; i++) context->changes += block_erase_dead(function_body(functions.ops[i]));
  while (remove_one_function(a, module)) context->changes++;
  arena_destroy(a);
  return STATUS_OK;
}
