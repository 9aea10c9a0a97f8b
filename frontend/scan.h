/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A protobuf message is walked here, by its descriptor, before protobuf-c unpacks it. */
#ifndef PINION_FRONTEND_SCAN_H
#define PINION_FRONTEND_SCAN_H

#include "../ir/base.h"

#include <protobuf-c/protobuf-c.h>

/* Bytes of a message that are still to be read. */
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

/* The next field, after which *rest begins; false at the end, and where the bytes are no field. */
bool wire_next(wire_span *rest, wire_field *out_field);
/* The first field of that number and type; false if there is none. */
bool wire_find(wire_span message, uint32_t number, uint32_t wire_type, wire_field *out_field);

/* Nested messages. A graph's tensor is five deep; each subgraph (If, Loop) or inner type adds three. */
#define SCAN_MAX_DEPTH 64

/* What the slim copy holds in place of TensorProto.raw_data: where those bytes lie in the file. */
typedef struct raw_reference {
  uint64_t offset; /* from the start of the scanned bytes */
  uint64_t bytes;
} raw_reference;

/* Keys of the metadata that is kept. */
#define METADATA_SCOPES "pkg.torch.onnx.name_scopes"
#define METADATA_NAMESPACE "namespace"

/*
 * Checks the wire format of a whole message of type `root` (lengths, wire types, nesting, no singular message given
 * twice), and appends to `out_slim` a copy of it that is safe and small enough to unpack: each raw_data is replaced by
 * a raw_reference, and unknown fields, doc strings, training information, value_info and metadata with other keys than
 * those above are left out. Neither time nor stack depends on more than the message's size. Diagnoses malformed input
 * (STATUS_BAD_INPUT).
 */
status scan_message(diagnostics *d, const ProtobufCMessageDescriptor *root, const uint8_t *bytes, size_t size,
                    text *out_slim);

#endif
