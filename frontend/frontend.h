/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* ONNX in, a module of core (and directly fused) ops out. Weights stay in their files. */
#ifndef PINION_FRONTEND_H
#define PINION_FRONTEND_H

#include "../ir/ir.h"

/* A symbolic dimension's value, or a whole input's shape: `--shapes=name:1x3x224x224`. */
typedef struct input_shape {
  const char *name;
  int rank;
  int64_t dims[PINION_MAX_RANK];
} input_shape;

typedef struct import_options {
  const input_shape *shapes; /* borrowed */
  int shape_count;
  const char *given_by; /* what messages call their source; NULL: --shapes, and they say how to give one */
} import_options;

/* Reads `path`, imports its graph as func @main. Diagnoses malformed input (STATUS_BAD_INPUT) and lists all unsupported
   nodes at once (STATUS_UNSUPPORTED). The module is the caller's (mlirModuleDestroy). Sets the folder of the
   weight store. */
status onnx_import(compilation *c, const char *path, const import_options *options, MlirModule *out_module);

/* Reads one TensorProto file (`input_0.pb`), as ONNX's test_data_set_0 folders hold. *out_data is the arena's, in the
   type's storage; *out_name is "" when the tensor has none. */
status onnx_read_tensor(compilation *c, const char *path, tensor_type *out_type, const char **out_name,
                        const void **out_data);

/* docs: one line per import table row ("MatMul 1-24"). Appends. */
void onnx_list_ops(text *out);

#endif
