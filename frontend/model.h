/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* An ONNX file, mapped and unpacked; and its tensors, wherever and however their values are stored. */
#ifndef PINION_FRONTEND_MODEL_H
#define PINION_FRONTEND_MODEL_H

#include "../ir/ir.h"
#include "wire.h"

#include "onnx.pb-c.h"

/* Unpacked messages live in `arena`. In them TensorProto.raw_data is a raw_reference into `file` (scan.h). */
typedef struct onnx_file {
  compilation *compilation; /* borrowed */
  arena *arena;             /* owned */
  mapped_file file;         /* owned */
  const char *name;         /* of the file within its folder: what a pinion.weight refers to */
} onnx_file;

/* Maps `path`, scans it as a message of type `root` and unpacks it. Diagnoses malformed input (STATUS_BAD_INPUT). On
   success the caller owns the file (onnx_file_close); the message is its arena's. */
status onnx_file_open(compilation *c, const char *path, const ProtobufCMessageDescriptor *root, onnx_file *out_file,
                      ProtobufCMessage **out_message);
void onnx_file_close(onnx_file *file);

/* The whole file, as one message: for what scanning leaves out. */
wire_span onnx_file_bytes(const onnx_file *file);

/* A tensor's type and where its values are, row-major in the type's storage. */
typedef struct onnx_tensor {
  const char *name; /* borrowed; "" if it has none */
  tensor_type type;
  const void *data;  /* borrowed from a mapped file (then of any alignment) or from the onnx_file's arena */
  const char *where; /* borrowed: the file that holds `data`, relative to the model's folder; NULL if no file does */
  uint64_t offset;   /* of the data in `where` */
} onnx_tensor;

/* Finds a tensor's values: raw bytes, external data or any typed field. Nothing large is copied. Diagnoses a type that
   we do not have (STATUS_UNSUPPORTED), and absurd sizes and values that are missing, short or too many
   (STATUS_BAD_INPUT). */
status onnx_tensor_read(onnx_file *file, const Onnx__TensorProto *proto, onnx_tensor *out_tensor);

/* TensorProto.DataType to ours; false for strings, complex numbers and types narrower than a byte. */
bool onnx_dtype(int64_t data_type, pinion_dtype *out_dtype);
/* "FLOAT8E4M3FN" and the like, for messages. */
const char *onnx_dtype_name(int64_t data_type);

/* Largest tensor that is believed: more is a mistake in the file, not a policy. */
#define ONNX_MAX_TENSOR_BYTES (INT64_C(1) << 40)
/* Sets *out_type; false if the rank is over PINION_MAX_RANK, a dimension is negative or the size is over the limit. */
bool onnx_type_set(pinion_dtype dtype, size_t rank, const int64_t *dims, tensor_type *out_type);

#endif
