/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A pass broken on purpose, in front of the real one (--wrap): it makes the square roots an op that there is none of,
   and counts no change. The verifier must see it all the same. */
#include "passes/match.h"

pass_function __wrap_pass_eliminate_common, __real_pass_eliminate_common;

static status break_one(pass_context *context, MlirOperation op) {
  static const MlirStringRef kind = {"kind", 4};
  if (attr_str_is(op, "kind", "sqrt"))
    mlirOperationSetAttributeByName(op, kind, make_str(context->compilation->context, "root"));
  return STATUS_OK;
}

status __wrap_pass_eliminate_common(pass_context *context, MlirModule module) {
  const status code = __real_pass_eliminate_common(context, module);
  context->changes = 0;
  return code == STATUS_OK ? match_each(context, module, MATCH_KIND(OP_unary), break_one) : code;
}
