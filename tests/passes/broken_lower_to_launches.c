/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A pass broken on purpose, in front of the real one (--wrap): lower-to-launches loses the epsilon of RMS norms. The IR
   that it is given is right, what it makes of it is not. */
#include "passes/match.h"

pass_function __wrap_pass_lower_to_launches, __real_pass_lower_to_launches;

static status lose_epsilon(pass_context *context, MlirOperation op) {
  static const MlirStringRef epsilon = {"epsilon", 7};
  if (attr_str_is(op, "kind", "rms"))
    mlirOperationSetAttributeByName(op, epsilon, make_f64(context->compilation->context, 1));
  return STATUS_OK;
}

status __wrap_pass_lower_to_launches(pass_context *context, MlirModule module) {
  const status code = match_each(context, module, MATCH_KIND(OP_norm), lose_epsilon);
  return code == STATUS_OK ? __real_pass_lower_to_launches(context, module) : code;
}
