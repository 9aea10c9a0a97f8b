/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The shapes that a file declares for its intermediate values. They follow from the nodes; a file that says otherwise
 * is told so, and imported. There are as many of them as nodes, so they are read where they lie and never unpacked.
 */
#include "../ir/shapes.h"
#include "import.h"
#include "wire.h"

/* A dimension without a value is symbolic, and may be anything. */
static bool shape_agrees(wire_span shape, const tensor_type *type) {
  wire_span dim;
  uint64_t value;
  int rank = 0;
  for (; wire_next(&shape, SHAPE_DIM, &dim); ++rank) {
    if (rank == type->rank) return false;
    if (wire_find_varint(dim, DIM_VALUE, &value) && (int64_t)value != type->dims[rank]) return false;
  }
  return rank == type->rank;
}

/* The type of the value that a ValueInfoProto names; false if it was not imported. */
static bool find_type(const scope *s, wire_span info, text *name, tensor_type *out_type) {
  wire_span span;
  if (!wire_find(info, VALUE_INFO_NAME, &span)) return false;
  name->length = 0;
  text_append_bytes(name, (const char *)span.at, (size_t)(span.end - span.at));
  const symbol *found = name_find(&s->symbols, name->data);
  return found && !mlirValueIsNull(found->value) && value_type(found->value, out_type);
}

static bool find_shape(wire_span info, wire_span *out_shape) {
  return wire_find(info, VALUE_INFO_TYPE, out_shape) && wire_find(*out_shape, TYPE_TENSOR, out_shape) &&
         wire_find(*out_shape, TENSOR_SHAPE, out_shape);
}

void import_compare_declared(importer *im, const scope *s) {
  FILE *stream = im->compilation->diagnostics.stream ? im->compilation->diagnostics.stream : stderr;
  const char *file = im->compilation->diagnostics.file;
  wire_span graph, info, shape;
  tensor_type type;
  text name = {0};
  int wrong = 0;
  if (!wire_find(onnx_file_bytes(im->file), MODEL_GRAPH, &graph)) return;
  while (wire_next(&graph, GRAPH_VALUE_INFO, &info)) {
    if (!find_shape(info, &shape) || !find_type(s, info, &name, &type) || shape_agrees(shape, &type)) continue;
    if (wrong++ < 4)
      fprintf(stream, "%s: warning: '%s' is declared with another shape than it has, %s\n", file, name.data,
              shape_text(im->arena, &type));
  }
  if (wrong > 4) fprintf(stream, "%s: warning: and %d more values\n", file, wrong - 4);
  text_free(&name);
}
