/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A pass broken on purpose, in front of the real one (--wrap): of the SiLUs that recognise-activation finds, it makes
   that of layers.1 a sigmoid. The IR is wrong from there on. */
#include "passes/gate.h"
#include "passes/match.h"

pass_function __wrap_pass_recognise_activation, __real_pass_recognise_activation;

static status break_one(pass_context *context, MlirOperation op) {
  static const MlirStringRef kind = {"kind", 4};
  MlirLocation location = mlirOperationGetLocation(op);
  if (attr_str_is(op, "kind", "silu") && pass_may_rewrite(context, location) && location_lies_in(location, "layers.1"))
    mlirOperationSetAttributeByName(op, kind, make_str(context->compilation->context, "sigmoid"));
  return STATUS_OK;
}

status __wrap_pass_recognise_activation(pass_context *context, MlirModule module) {
  const status code = __real_pass_recognise_activation(context, module);
  return code == STATUS_OK ? match_each(context, module, MATCH_KIND(OP_unary), break_one) : code;
}
