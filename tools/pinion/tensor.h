/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A tensor in memory, as the commands pass it between files and artifacts. */
#ifndef PINION_TOOLS_TENSOR_H
#define PINION_TOOLS_TENSOR_H

#include "ir/eval.h"

typedef struct tensor {
  tensor_type type;
  void *data; /* owned; row-major, dense, in the type's own storage (bool: bytes); NULL when there is no tensor */
} tensor;

/* Zeroed. Diagnoses absurd sizes (STATUS_BAD_INPUT). `name` names the tensor in the message. */
status tensor_create(diagnostics *d, const char *name, const tensor_type *type, tensor *out_tensor);
void tensor_free(tensor *t);

/* Element `index` as a double (64-bit integers above 2^53 are rounded), and the other way: rounded to nearest even
   towards floats, truncated towards integers. */
double tensor_get(const tensor *t, int64_t index);
void tensor_set(tensor *t, int64_t index, double value);

/* Bytes of a tensor of this type; false if the product overflows or the shape is not one. */
bool tensor_size(const tensor_type *type, int64_t *out_bytes);

/* Changes the element type, where no meaning is lost: between floats (rounding), between integers that hold every
   value, and 0 and 1 to bool. Diagnoses anything else (STATUS_BAD_INPUT). */
status tensor_convert(diagnostics *d, const char *name, tensor *t, pinion_dtype to);

/* A value of the reference interpreter: floats become f64, integers and bools i64. */
status tensor_from_eval(diagnostics *d, const char *name, const eval_tensor *value, tensor *out_tensor);

/* "f32[1,50,32]", for messages. */
void tensor_type_text(const tensor_type *type, char *out_text, size_t capacity);

#endif
