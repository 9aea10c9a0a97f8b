/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * protobuf-c recurses as deep as its input says and copies every byte string. So the wire format is walked first, with
 * a limit on depth, and protobuf-c only ever sees a copy from which the tensors' bytes are cut out. A length in the
 * copy is written as a five-byte varint, patched when the message's end is known.
 */
#include "scan.h"

#include <string.h>

#define PADDED_LENGTH_BYTES 5

typedef struct scanner {
  diagnostics *diagnostics;
  const uint8_t *start; /* of the whole file: offsets count from here */
  text *slim;
} scanner;

static status malformed(scanner *s, const uint8_t *at, const char *what) {
  return diagnose(s->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "malformed protobuf at byte %zu: %s",
                  (size_t)(at - s->start), what);
}

static status read_field(scanner *s, wire_span *c, wire_field *out_field) {
  const char *why = wire_read(c, out_field);
  return why ? malformed(s, out_field->tag, why) : STATUS_OK;
}

static uint32_t wire_type_of(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_FLOAT: return PROTOBUF_C_WIRE_TYPE_32BIT;
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_DOUBLE: return PROTOBUF_C_WIRE_TYPE_64BIT;
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE: return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
  default: return PROTOBUF_C_WIRE_TYPE_VARINT;
  }
}

/* A repeated number may come packed or one by one, whatever its declaration says. */
static bool wire_type_fits(const ProtobufCFieldDescriptor *field, uint32_t wire_type) {
  if (wire_type == wire_type_of(field->type)) return true;
  return field->label == PROTOBUF_C_LABEL_REPEATED && wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
}

/* What is never unpacked: text that a compiler has no use for, and what is read where it lies instead, metadata and
   the declared types of values. Together they are most of a file. */
static bool is_left_out(const ProtobufCFieldDescriptor *field) {
  static const char *const names[] = {"metadata_props", "value_info", "training_info"};
  if (field->type == PROTOBUF_C_TYPE_STRING) return strcmp(field->name, "doc_string") == 0;
  for (size_t i = 0; field->type == PROTOBUF_C_TYPE_MESSAGE && i < sizeof names / sizeof *names; ++i)
    if (strcmp(field->name, names[i]) == 0) return true;
  return false;
}

static void append_varint(text *out, uint64_t value, int padded_bytes) {
  char bytes[10];
  int count = 0;
  while (value >= 0x80 || count + 1 < padded_bytes) {
    bytes[count++] = (char)((value & 0x7f) | 0x80);
    value >>= 7;
  }
  bytes[count++] = (char)value;
  text_append_bytes(out, bytes, (size_t)count);
}

static void append_tag(text *out, const wire_field *field) {
  append_varint(out, (uint64_t)field->number << 3 | field->wire_type, 0);
}

static void append_raw_reference(scanner *s, const wire_field *field) {
  raw_reference reference = {(uint64_t)(field->payload.at - s->start),
                             (uint64_t)(field->payload.end - field->payload.at)};
  append_tag(s->slim, field);
  append_varint(s->slim, sizeof reference, 0);
  text_append_bytes(s->slim, (const char *)&reference, sizeof reference);
}

static status scan_fields(scanner *s, const ProtobufCMessageDescriptor *message, wire_span c, int depth);

static status scan_nested(scanner *s, const ProtobufCFieldDescriptor *field, const wire_field *wire, int depth) {
  append_tag(s->slim, wire);
  size_t length_at = s->slim->length;
  append_varint(s->slim, 0, PADDED_LENGTH_BYTES);
  status result = scan_fields(s, field->descriptor, wire->payload, depth + 1);
  if (result != STATUS_OK) return result;
  uint64_t length = s->slim->length - length_at - PADDED_LENGTH_BYTES;
  if (length > INT32_MAX) return malformed(s, wire->tag, "a message is over 2 GiB without its tensors' bytes");
  for (int i = 0; i < PADDED_LENGTH_BYTES; ++i)
    s->slim->data[length_at + (size_t)i] =
        (char)((length >> (7 * i) & 0x7f) | (i + 1 < PADDED_LENGTH_BYTES ? 0x80 : 0));
  return STATUS_OK;
}

/* protobuf-c merges a singular message that comes twice; no writer of ONNX does that, so it is refused. */
static status check_given_once(scanner *s, const ProtobufCMessageDescriptor *message,
                               const ProtobufCFieldDescriptor *field, const wire_field *wire, uint64_t *seen) {
  if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED) return STATUS_OK;
  uint64_t bit = UINT64_C(1) << ((field - message->fields) & 63);
  if (*seen & bit) return malformed(s, wire->tag, "a field that may be given once is given twice");
  *seen |= bit;
  return STATUS_OK;
}

static status scan_field(scanner *s, const ProtobufCMessageDescriptor *message, const wire_field *wire, uint64_t *seen,
                         int depth) {
  const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(message, wire->number);
  if (!field) return STATUS_OK;
  if (!wire_type_fits(field, wire->wire_type)) return malformed(s, wire->tag, "a field has the wrong wire type");
  if (is_left_out(field)) return STATUS_OK;
  status result = check_given_once(s, message, field, wire, seen);
  if (result != STATUS_OK) return result;
  if (field->type == PROTOBUF_C_TYPE_MESSAGE) return scan_nested(s, field, wire, depth);
  if (field->type == PROTOBUF_C_TYPE_BYTES && strcmp(field->name, "raw_data") == 0) {
    append_raw_reference(s, wire);
    return STATUS_OK;
  }
  text_append_bytes(s->slim, (const char *)wire->tag, (size_t)(wire->payload.end - wire->tag));
  return STATUS_OK;
}

static status scan_fields(scanner *s, const ProtobufCMessageDescriptor *message, wire_span c, int depth) {
  if (depth > SCAN_MAX_DEPTH) return malformed(s, c.at, "messages are nested too deeply");
  uint64_t seen = 0;
  while (c.at < c.end) {
    wire_field wire;
    status result = read_field(s, &c, &wire);
    if (result == STATUS_OK) result = scan_field(s, message, &wire, &seen, depth);
    if (result != STATUS_OK) return result;
  }
  return STATUS_OK;
}

status scan_message(diagnostics *d, const ProtobufCMessageDescriptor *root, const uint8_t *bytes, size_t size,
                    text *out_slim) {
  scanner s = {d, bytes, out_slim};
  wire_span whole = {bytes, bytes + size};
  return scan_fields(&s, root, whole, 1);
}
