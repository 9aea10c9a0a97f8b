/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A protobuf message is walked here, by its descriptor, before protobuf-c unpacks it. */
#ifndef PINION_FRONTEND_SCAN_H
#define PINION_FRONTEND_SCAN_H

#include "wire.h"

#include <protobuf-c/protobuf-c.h>

/* Nested messages. A graph's tensor is five deep; each subgraph (If, Loop) or inner type adds three. */
#define SCAN_MAX_DEPTH 64

/* What the slim copy holds in place of TensorProto.raw_data: where those bytes lie in the file. */
typedef struct raw_reference {
  uint64_t offset; /* from the start of the scanned bytes */
  uint64_t bytes;
} raw_reference;

/*
 * Checks the wire format of a whole message of type `root` (lengths, wire types, nesting, no singular message given
 * twice), and appends to `out_slim` a copy of it that is safe and small enough to unpack: each raw_data is replaced by
 * a raw_reference, and unknown fields, doc strings, training information, metadata and value_info are left out. Neither
 * time nor stack depends on more than the message's size. Diagnoses malformed input (STATUS_BAD_INPUT).
 */
status scan_message(diagnostics *d, const ProtobufCMessageDescriptor *root, const uint8_t *bytes, size_t size,
                    text *out_slim);

#endif
