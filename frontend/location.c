/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Where an op comes from: `NODE_NAME@MODULE.PATH`. TorchScript writes the path into the node's name, dynamo into
 * metadata. */
#define _GNU_SOURCE /* memrchr */
#include "import.h"
#include "wire.h"

#include <string.h>

const char *import_node_name(importer *im, const scope *s, size_t index) {
  const Onnx__NodeProto *node = s->nodes[index];
  const char *own = node->name && *node->name
                        ? node->name
                        : arena_format(im->arena, "%s_%zu", node->op_type ? node->op_type : "node", index);
  return s->call ? arena_format(im->arena, "%s/%s", s->call->name, own) : own;
}

static bool span_is(wire_span span, const char *string) {
  const size_t length = strlen(string);
  return (size_t)(span.end - span.at) == length && memcmp(span.at, string, length) == 0;
}

/* The value of that key in the metadata of a node as it lies in the file. */
static bool find_metadata(wire_span node, const char *key, wire_span *out_value) {
  wire_span entry, found;
  while (wire_next(&node, NODE_METADATA, &entry))
    if (wire_find(entry, ENTRY_KEY, &found) && span_is(found, key)) return wire_find(entry, ENTRY_VALUE, out_value);
  return false;
}

/* Second from last of a Python list of strings: "['', 'model.layers.0', 'linear']", whose last is the op itself. */
static wire_span scope_in_list(wire_span list) {
  wire_span last = {0}, previous = {0};
  for (const uint8_t *at = list.at; at < list.end; ++at) {
    if (*at != '\'' && *at != '"') continue;
    const uint8_t quote = *at++, *start = at;
    while (at < list.end && *at != quote) at += *at == '\\' && list.end - at > 1 ? 2 : 1;
    previous = last;
    last = (wire_span){start, at};
  }
  return previous;
}

/* Second from last of ": Root/model.layers.0: pkg.Layer/linear: aten.linear.default", up to its colon. */
static wire_span scope_in_namespace(wire_span path) {
  const uint8_t *end = memrchr(path.at, '/', (size_t)(path.end - path.at));
  if (!end) return (wire_span){0};
  const uint8_t *before = memrchr(path.at, '/', (size_t)(end - path.at)), *start = before ? before + 1 : path.at;
  const uint8_t *colon = memchr(start, ':', (size_t)(end - start));
  return colon ? (wire_span){start, colon} : (wire_span){0};
}

/* "/layers.0/self_attn/q_proj/MatMul" lies in layers.0/self_attn/q_proj. */
static wire_span scope_in_name(const char *name) {
  const char *last = strrchr(name, '/');
  if (*name != '/' || last == name) return (wire_span){0};
  return (wire_span){(const uint8_t *)name + 1, (const uint8_t *)last};
}

/* The module that a node stands in; empty if nothing says. */
static wire_span module_path(wire_span node, const char *name) {
  wire_span found;
  if (find_metadata(node, "pkg.torch.onnx.name_scopes", &found)) return scope_in_list(found);
  if (find_metadata(node, "namespace", &found)) return scope_in_namespace(found);
  return scope_in_name(name);
}

MlirLocation import_location(importer *im, wire_span node, const char *name, const char *op_type) {
  const wire_span path = module_path(node, name);
  char *at = arena_string(im->arena, (const char *)path.at, (size_t)(path.end - path.at));
  for (char *slash = strchr(at, '/'); slash; slash = strchr(slash, '/')) *slash = '.';
  const char *mark = *at ? "@" : "", *full = arena_format(im->arena, "%s%s%s", name, mark, at);
  for (int i = 2; !name_add(im->arena, &im->locations, full, im); i++) /* files may name several nodes alike */
    full = arena_format(im->arena, "%s#%d%s%s", name, i, mark, at);
  return location_of_node(im->compilation->context, full, op_type);
}
