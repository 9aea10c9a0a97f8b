/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The op table of ops.def, taken apart: what the builder, the verifier and the generated texts read. */
#ifndef PINION_IR_DIALECT_H
#define PINION_IR_DIALECT_H

#include "ir.h"

#define OP_MAX_FIELDS 16

typedef enum field_arity { FIELD_ONE, FIELD_OPTIONAL, FIELD_VARIADIC } field_arity;

/* An operand, result or attribute of an op. */
typedef struct op_field {
  char name[32];
  field_arity arity;
  char type[12]; /* attributes only: "i64", "strs", ... */
} op_field;

typedef struct op_info {
  const char *name;       /* "pinion.matmul" */
  const char *short_name; /* "matmul" */
  op_level level;
  int operand_count, result_count, attribute_count;
  op_field operands[OP_MAX_FIELDS], results[OP_MAX_FIELDS], attributes[OP_MAX_FIELDS];
  bool has_segments; /* more than one operand of variable count: operandSegmentSizes tells them apart */
  const char *equation, *doc;
} op_info;

const op_info *op_info_of(op_kind kind);
/* How many operands an op of that row gives for one of the row's fields; negative if the op has too few. */
intptr_t op_field_operands(MlirOperation op, const op_info *info, int field);

#endif
