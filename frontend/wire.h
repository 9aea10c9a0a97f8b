/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Protobuf's wire format, field by field: for what is not worth unpacking. Whatever the bytes are, nothing is read
 * beyond them; what is no field ends a message.
 */
#ifndef PINION_FRONTEND_WIRE_H
#define PINION_FRONTEND_WIRE_H

#include "../ir/base.h"

/* Field numbers of onnx.proto. */
enum {
  MODEL_GRAPH = 7,
  MODEL_FUNCTIONS = 25,
  FUNCTION_NODE = 7,
  GRAPH_NODE = 1,
  GRAPH_VALUE_INFO = 13,
  NODE_METADATA = 9,
  ENTRY_KEY = 1,
  ENTRY_VALUE = 2,
  VALUE_INFO_NAME = 1,
  VALUE_INFO_TYPE = 2,
  TYPE_TENSOR = 1,
  TENSOR_SHAPE = 2,
  SHAPE_DIM = 1,
  DIM_VALUE = 1,
};

/* Bytes of a message, or of a string. */
typedef struct wire_span {
  const uint8_t *at, *end;
} wire_span;

/* One field as it lies in the file. */
typedef struct wire_field {
  const uint8_t *tag; /* its first byte */
  uint32_t number, wire_type;
  uint64_t value;    /* of a varint */
  wire_span payload; /* of a length-prefixed field: without its length */
} wire_field;

/* Reads the field that *rest begins with, after which *rest begins then. NULL, or why there is none: a static phrase;
   out_field->tag is set in any case. */
const char *wire_read(wire_span *rest, wire_field *out_field);

/* The next message or string of that field number; false if there is none. */
bool wire_next(wire_span *rest, uint32_t number, wire_span *out_payload);
/* The first one. */
bool wire_find(wire_span message, uint32_t number, wire_span *out_payload);
/* The first `count`, in the arena; empty ones where there are fewer. */
wire_span *wire_list(arena *a, wire_span message, uint32_t number, size_t count);
bool wire_find_varint(wire_span message, uint32_t number, uint64_t *out_value);

#endif
