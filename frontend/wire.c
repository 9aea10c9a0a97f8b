/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "wire.h"

#include <protobuf-c/protobuf-c.h>

static bool read_varint(wire_span *rest, uint64_t *out_value) {
  if (rest->at < rest->end && *rest->at < 0x80) { /* most */
    *out_value = *rest->at++;
    return true;
  }
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && rest->at < rest->end; shift += 7) {
    uint8_t byte = *rest->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *out_value = value;
      return true;
    }
  }
  return false;
}

static bool skip_bytes(wire_span *rest, uint64_t count) {
  if (count > (uint64_t)(rest->end - rest->at)) return false;
  rest->at += count;
  return true;
}

const char *wire_read(wire_span *rest, wire_field *out_field) {
  uint64_t tag;
  out_field->tag = rest->at;
  out_field->value = 0;
  if (!read_varint(rest, &tag)) return "a field's tag is cut off";
  if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return "a field has no valid number";
  out_field->number = (uint32_t)(tag >> 3);
  out_field->wire_type = tag & 7;
  out_field->payload.at = rest->at;
  bool complete = false;
  switch (out_field->wire_type) {
  case PROTOBUF_C_WIRE_TYPE_VARINT: complete = read_varint(rest, &out_field->value); break;
  case PROTOBUF_C_WIRE_TYPE_64BIT: complete = skip_bytes(rest, 8); break;
  case PROTOBUF_C_WIRE_TYPE_32BIT: complete = skip_bytes(rest, 4); break;
  case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
    complete = read_varint(rest, &out_field->value);
    out_field->payload.at = rest->at;
    complete = complete && skip_bytes(rest, out_field->value);
    break;
  default: return "a field has an unknown wire type";
  }
  out_field->payload.end = rest->at;
  return complete ? NULL : "a field ends beyond its message; the file may be truncated";
}

static bool next_of_type(wire_span *rest, uint32_t number, uint32_t wire_type, wire_field *out_field) {
  while (rest->at < rest->end && !wire_read(rest, out_field))
    if (out_field->number == number && out_field->wire_type == wire_type) return true;
  return false;
}

bool wire_next(wire_span *rest, uint32_t number, wire_span *out_payload) {
  wire_field field;
  if (!next_of_type(rest, number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &field)) return false;
  *out_payload = field.payload;
  return true;
}

bool wire_find(wire_span message, uint32_t number, wire_span *out_payload) {
  return wire_next(&message, number, out_payload);
}

wire_span *wire_list(arena *a, wire_span message, uint32_t number, size_t count) {
  wire_span *spans = arena_alloc(a, (count + 1) * sizeof *spans);
  for (size_t i = 0; i < count && wire_next(&message, number, &spans[i]);) ++i;
  return spans;
}

bool wire_find_varint(wire_span message, uint32_t number, uint64_t *out_value) {
  wire_field field;
  if (!next_of_type(&message, number, PROTOBUF_C_WIRE_TYPE_VARINT, &field)) return false;
  *out_value = field.value;
  return true;
}
