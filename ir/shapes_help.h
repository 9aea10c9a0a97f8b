/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the shape rules (shapes.c, shapes_fused.c) share: reading attributes, and saying no. */
#ifndef PINION_IR_SHAPES_HELP_H
#define PINION_IR_SHAPES_HELP_H

#include "scalar.h"
#include "shapes.h"

/* Leaves the reason in *out_why and returns false. */
bool shape_refuse(const shape_query *q, const char **out_why, const char *format, ...) PRINTF_LIKE(3, 4);

/* Is operand `index` there? Trailing optional operands may be left out altogether. */
bool shape_has(const shape_query *q, int index);
/* Refuses if one of the first `count` operands is missing, or any is too large to address. */
bool shape_needs(const shape_query *q, int count, const char **out_why);

/* The single result: `inferred`, which a declared type must equal. Refuses a result too large to address. */
bool shape_settle(const shape_query *q, const tensor_type *inferred, tensor_type *out_results, const char **out_why);
/* The single declared result; refuses if there is none. */
bool shape_declared(const shape_query *q, tensor_type *out_results, const char **out_why);

/* Attributes; each refuses one that is missing or of another type. */
MlirAttribute shape_attribute(const shape_query *q, const char *name); /* null if there is none */
bool shape_i64(const shape_query *q, const char *name, int64_t *out_value, const char **out_why);
bool shape_bool(const shape_query *q, const char *name, bool *out_value, const char **out_why);
bool shape_str(const shape_query *q, const char *name, MlirStringRef *out_value, const char **out_why);
/* Up to PINION_MAX_RANK values; `count` -1: any number. */
bool shape_i64s(const shape_query *q, const char *name, int count, int64_t *out_values, int *out_count,
                const char **out_why);
/* An axis of a tensor of this rank. */
bool shape_axis(const shape_query *q, const char *name, int rank, int64_t *out_axis, const char **out_why);

/* Broadcasts *shape with `other`, keeping *shape's element type. */
bool shape_join(const shape_query *q, tensor_type *shape, const tensor_type *other, const char **out_why);
/* Does `from` broadcast to exactly `to`'s shape? */
bool shape_broadcasts_to(const tensor_type *from, const tensor_type *to);
/* matmul of a[..,m,k] and b[..,k,n], or b[..,n,k]; the element type is a's. */
bool shape_matmul(const shape_query *q, const tensor_type *a, const tensor_type *b, bool transpose_b,
                  tensor_type *out_result, const char **out_why);

/* Parses the attribute `body` for these inputs, and checks that it yields as many results as can be stored in the types
   given. */
bool shape_check_body(const shape_query *q, int input_count, const pinion_dtype *inputs, int result_count,
                      const pinion_dtype *results, const char **out_why);
/* What only a launch of a gemm must fulfil. */
bool shape_check_gemm_launch(const shape_query *q, int64_t result_count, const char **out_why);

#endif
