/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Shape rules: what an op's results are, given its operands' types and its attributes. build_op asks before the op
 * exists, module_verify afterwards; both fill a shape_query and call the op's rule.
 */
#ifndef PINION_IR_SHAPES_H
#define PINION_IR_SHAPES_H

#include "ir.h"

typedef struct shape_query {
  arena *arena; /* for reasons */

  /* One entry per operand as build_op takes them: the table's order, an absent optional operand keeps its place (its
     type is not read), a variadic one's values come last. */
  int operand_count;
  const tensor_type *operands;
  const bool *present; /* per operand; NULL: all are there */

  int attribute_count;
  const MlirNamedAttribute *attributes; /* others than the op's own (operandSegmentSizes, ..) are ignored */

  /* Result types that the caller gave; none: infer. The rule checks them against what it infers. */
  int declared_count;
  const tensor_type *declared;
} shape_query;

/* Writes the results' types (one if none was declared, else declared_count) to out_results. On a violation returns
   false and leaves a sentence in *out_why (static or in the arena): what is wrong, with the shapes in question. */
typedef bool shape_rule(const shape_query *query, tensor_type *out_results, const char **out_why);

/* One per op: shape_of_matmul, shape_of_reshape, .. Ops whose result does not follow from operands and attributes
   (weight, cast, reshape, broadcast, slice, pad, cumsum, pointwise, gemm, buffer) need declared types. */
#define OP(id, level, operands, results, attributes, equation, doc) shape_rule shape_of_##id;
#include "ops.def"
#undef OP

/* The same by kind; NULL past the table's end. */
shape_rule *shape_rule_of(op_kind kind);

/* "bf16[1,50,1024]": a type in a reason or a diagnostic, in the arena. */
const char *shape_text(arena *a, const tensor_type *type);

#endif
