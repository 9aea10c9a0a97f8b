/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Which values of the model survive as views of buffers: each launch lists those that it completes, for `pinion verify`
 * to read. An op's attribute `onnx` names its value; in a function that stands for several copies it is an array, one
 * name a copy: of which the call, the step or the block of dimension 0 says which is meant.
 */
#include "lower.h"

/* Array or string; null where the op's result is no value of the model. */
static MlirAttribute value_identity(const lowering *l, MlirOperation op) {
  MlirAttribute names = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("onnx"));
  if (mlirAttributeIsNull(names) || !mlirAttributeIsAArray(names) || l->frame->calls < 2) return names;
  const intptr_t count = mlirArrayAttrGetNumElements(names);
  return l->frame->call < count ? mlirArrayAttrGetElement(names, l->frame->call) : (MlirAttribute){0};
}

/* A view of an operand that is a value itself shows nothing new. */
static bool shows_operand(MlirOperation op) {
  const op_kind kind = op_kind_of(op);
  if (kind != OP_reshape && kind != OP_transpose && kind != OP_broadcast) return false;
  MlirOperation source = value_definition(mlirOperationGetOperand(op, 0));
  return !mlirOperationIsNull(source) &&
         !mlirAttributeIsNull(mlirOperationGetAttributeByName(source, mlirStringRefCreateFromCString("onnx")));
}

/* The last launch that writes the buffer, and which of its results that is. */
static lowered_launch *last_writer(lowering *l, int buffer, int *out_result) {
  for (size_t i = l->launch_count; i-- > 0;)
    for (int r = 0; r < l->launches[i].result_count; r++) {
      if (l->launches[i].space.args[r].buffer != buffer) continue;
      *out_result = r;
      return &l->launches[i];
    }
  return NULL;
}

void note_value(lowering *l, MlirOperation op) {
  MlirContext context = l->c->context;
  if (mlirOperationGetNumResults(op) != 1 || op_kind_of(op) == OP_steps) return; /* a step's own op has its result */
  MlirAttribute names = value_identity(l, op);
  const view *v = map_get(&l->values, mlirOperationGetResult(op, 0));
  if (mlirAttributeIsNull(names) || !v || v->step_stride != 0 || shows_operand(op)) return;
  int result;
  lowered_launch *launch = last_writer(l, v->buffer, &result);
  if (!launch) return;
  const MlirAttribute one[] = {names};
  MlirNamedAttribute fields[] = {
      make_named(context, "onnx", mlirAttributeIsAArray(names) ? names : mlirArrayAttrGet(context, 1, one)),
      make_named(context, "result", make_i64(context, result)),
      make_named(context, "offset", make_i64(context, v->offset)),
      make_named(context, "dims", make_i64s(context, v->type.rank, v->type.dims)),
      make_named(context, "strides", make_i64s(context, v->type.rank, v->stride)),
  };
  launch->values =
      arena_grow(l->c->arena, launch->values, launch->value_count, &launch->value_capacity, sizeof *launch->values);
  launch->values[launch->value_count++] = mlirDictionaryAttrGet(context, sizeof fields / sizeof *fields, fields);
}
