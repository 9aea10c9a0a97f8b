/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Matching of small graphs. */
#include "match.h"

#include <math.h>
#include <string.h>

match match_begin(compilation *c, MlirOperation root) {
  return (match){.compilation = c, .ops = {root}, .count = 1};
}

static bool is_member(const match *m, MlirOperation op) {
  for (int i = 0; i < m->count; i++)
    if (mlirOperationEqual(m->ops[i], op)) return true;
  return false;
}

MlirOperation match_op(match *m, MlirValue value, op_kind kind, const char *name) {
  const MlirOperation none = {0};
  MlirOperation op = value_defined_by(value, kind);
  if (mlirOperationIsNull(op) || (name && !attr_str_is(op, "kind", name))) return none;
  if (is_member(m, op)) return op;
  if (m->count == MATCH_MAXIMUM_OPS) return none;
  m->ops[m->count++] = op;
  return op;
}

bool match_with_number(match *m, MlirValue value, const char *name, MlirValue *out_other, double *out_number) {
  MlirOperation op = value_defined_by(value, OP_binary);
  if (mlirOperationIsNull(op) || !attr_str_is(op, "kind", name)) return false;
  const bool commutes = attr_str_is(op, "kind", "add") || attr_str_is(op, "kind", "mul");
  for (int i = 1; i >= (commutes ? 0 : 1); i--) {
    if (!value_uniform(m->compilation, mlirOperationGetOperand(op, i), out_number)) continue;
    *out_other = mlirOperationGetOperand(op, 1 - i);
    return values_same_shape(*out_other, value) && !mlirOperationIsNull(match_op(m, value, OP_binary, name));
  }
  return false;
}

MlirValue match_through_casts(match *m, MlirValue value) {
  for (;;) {
    MlirOperation cast = value_defined_by(value, OP_cast);
    if (mlirOperationIsNull(cast)) return value;
    MlirValue source = mlirOperationGetOperand(cast, 0);
    if (!dtype_is_float(value_dtype(source)) || mlirOperationIsNull(match_op(m, value, OP_cast, NULL))) return value;
    value = source;
  }
}

const char *match_why_open(const match *m) {
  for (int i = 1; i < m->count; i++) {
    MlirOpOperand use = mlirValueGetFirstUse(mlirOperationGetResult(m->ops[i], 0));
    for (; !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
      if (!is_member(m, mlirOpOperandGetOwner(use)))
        return also_reads(m->compilation, mlirOpOperandGetOwner(use), m->ops[i]);
  }
  return NULL;
}

void match_set_aside(match *m, const match *attempt) {
  for (int i = m->count; i < attempt->count && m->aside_count < MATCH_MAXIMUM_ASIDE; i++)
    m->aside[m->aside_count++] = attempt->ops[i];
}

MlirLocation match_location(const match *m) {
  MlirLocation parts[MATCH_MAXIMUM_OPS + MATCH_MAXIMUM_ASIDE];
  for (int i = 0; i < m->count; i++) parts[i] = mlirOperationGetLocation(m->ops[m->count - 1 - i]);
  for (int i = 0; i < m->aside_count; i++) parts[m->count + i] = mlirOperationGetLocation(m->aside[i]);
  return location_fuse(m->compilation->context, m->count + m->aside_count, parts);
}

builder match_builder(const match *m) {
  builder b = builder_before(m->compilation, m->ops[0]);
  b.location = match_location(m);
  return b;
}

void match_replace(const match *m, MlirOperation op) {
  op_copy_identity(m->ops[0], op);
  value_replace(mlirOperationGetResult(m->ops[0], 0), mlirOperationGetResult(op, 0));
}

MlirValue operand_in_order(MlirOperation op, int index, bool swapped) {
  return mlirOperationGetOperand(op, swapped ? 1 - index : index);
}

static MlirValue before_reshapes(MlirValue value) {
  for (MlirOperation op; !mlirOperationIsNull(op = value_defined_by(value, OP_reshape));)
    value = mlirOperationGetOperand(op, 0);
  return value;
}

bool values_same_data(MlirValue a, MlirValue b) {
  return mlirValueEqual(before_reshapes(a), before_reshapes(b));
}

static int significand_bits(pinion_dtype dtype) {
  switch (dtype) {
  case PINION_DTYPE_bf16: return 8;
  case PINION_DTYPE_f16: return 11;
  case PINION_DTYPE_f32: return 24;
  default: return 53;
  }
}

/* A number of the type no further than half a unit in the last place away. */
bool is_rounded(double number, double exact, pinion_dtype dtype) {
  return fabs(number - exact) <= ldexp(1.0, ilogb(exact) - significand_bits(dtype)) * (1 + 1e-6);
}

bool values_same_shape(MlirValue a, MlirValue b) {
  tensor_type x = tensor_type_of(a), y = tensor_type_of(b);
  return x.rank == y.rank && memcmp(x.dims, y.dims, (size_t)x.rank * sizeof x.dims[0]) == 0;
}

static status visit_block(pass_context *context, MlirBlock block, unsigned kinds, match_visitor *visit) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    const op_kind kind = op_kind_of(ops.ops[i]);
    if (kind == OP_NONE || !(kinds & MATCH_KIND(kind)) || value_is_unused(mlirOperationGetResult(ops.ops[i], 0)))
      continue;
    code = visit(context, ops.ops[i]);
  }
  arena_destroy(a);
  if (code == STATUS_OK) block_erase_dead(block);
  return code;
}

status match_each(pass_context *context, MlirModule module, unsigned kinds, match_visitor *visit) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  status code = STATUS_OK;
  for (int i = 0; i < functions.count && code == STATUS_OK; i++)
    if (!attr_str_is(functions.ops[i], "sym_name", "weights")) /* evaluated once, op by op */
      code = visit_block(context, function_body(functions.ops[i]), kinds, visit);
  arena_destroy(a);
  return code;
}
