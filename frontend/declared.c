/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The shapes that a file declares for its intermediate values. They follow from the nodes; a file that says otherwise
 * is told so, and imported. There are as many of them as nodes, so they are read where they lie and never unpacked.
 */
#include "../ir/shapes.h"
#include "import.h"
#include "scan.h"

/* Field numbers of onnx.proto. */
enum {
  MODEL_GRAPH = 7,
  GRAPH_VALUE_INFO = 13,
  VALUE_INFO_NAME = 1,
  VALUE_INFO_TYPE = 2,
  TYPE_TENSOR = 1,
  TENSOR_SHAPE = 2,
  SHAPE_DIM = 1,
  DIM_VALUE = 1,
};

static bool next_message(wire_span *rest, uint32_t number, wire_span *out_payload) {
  wire_field field;
  while (wire_next(rest, &field)) {
    if (field.number != number || field.wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) continue;
    *out_payload = field.payload;
    return true;
  }
  return false;
}

static bool find_message(wire_span message, uint32_t number, wire_span *out_payload) {
  return next_message(&message, number, out_payload);
}

/* A dimension without a value is symbolic, and may be anything. */
static bool shape_agrees(wire_span shape, const tensor_type *type) {
  wire_span dim;
  wire_field value;
  int rank = 0;
  for (; next_message(&shape, SHAPE_DIM, &dim); ++rank) {
    if (rank == type->rank) return false;
    if (wire_find(dim, DIM_VALUE, PROTOBUF_C_WIRE_TYPE_VARINT, &value) && (int64_t)value.value != type->dims[rank])
      return false;
  }
  return rank == type->rank;
}

/* The type of the value that a ValueInfoProto names; false if it was not imported. */
static bool find_type(const scope *s, wire_span info, text *name, tensor_type *out_type) {
  wire_span span;
  if (!find_message(info, VALUE_INFO_NAME, &span)) return false;
  name->length = 0;
  text_append_bytes(name, (const char *)span.at, (size_t)(span.end - span.at));
  const symbol *found = name_find(&s->symbols, name->data);
  return found && !mlirValueIsNull(found->value) && value_type(found->value, out_type);
}

static bool find_shape(wire_span info, wire_span *out_shape) {
  return find_message(info, VALUE_INFO_TYPE, out_shape) && find_message(*out_shape, TYPE_TENSOR, out_shape) &&
         find_message(*out_shape, TENSOR_SHAPE, out_shape);
}

void import_compare_declared(importer *im, const scope *s) {
  FILE *stream = im->compilation->diagnostics.stream ? im->compilation->diagnostics.stream : stderr;
  const char *file = im->compilation->diagnostics.file;
  wire_span model = {im->file->file.bytes, im->file->file.bytes + im->file->file.size}, graph, info, shape;
  tensor_type type;
  text name = {0};
  int wrong = 0;
  if (!find_message(model, MODEL_GRAPH, &graph)) return;
  while (next_message(&graph, GRAPH_VALUE_INFO, &info)) {
    if (!find_shape(info, &shape) || !find_type(s, info, &name, &type) || shape_agrees(shape, &type)) continue;
    if (wrong++ < 4)
      fprintf(stream, "%s: warning: '%s' is declared with another shape than it has, %s\n", file, name.data,
              shape_text(im->arena, &type));
  }
  if (wrong > 4) fprintf(stream, "%s: warning: and %d more values\n", file, wrong - 4);
  text_free(&name);
}
