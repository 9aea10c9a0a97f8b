/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Where an op comes from: `NODE_NAME@MODULE.PATH`. TorchScript writes the path into the node's name, dynamo into
 * metadata. */
#include "import.h"
#include "scan.h"

#include <string.h>

const char *import_node_name(importer *im, const scope *s, size_t index) {
  const Onnx__NodeProto *node = s->nodes[index];
  const char *own = node->name && *node->name
                        ? node->name
                        : arena_format(im->arena, "%s_%zu", node->op_type ? node->op_type : "node", index);
  return s->call ? arena_format(im->arena, "%s/%s", s->call->name, own) : own;
}

static const char *metadata(const Onnx__NodeProto *node, const char *key) {
  for (size_t i = 0; i < node->n_metadata_props; ++i) {
    const Onnx__StringStringEntryProto *entry = node->metadata_props[i];
    if (entry->key && entry->value && strcmp(entry->key, key) == 0) return entry->value;
  }
  return NULL;
}

typedef struct span {
  const char *start;
  size_t length;
} span;

/* Second from last of a Python list of strings: "['', 'model.layers.0', 'linear']", whose last is the op itself. */
static span scope_in_list(const char *list) {
  span last = {"", 0}, previous = {"", 0};
  for (const char *at = strpbrk(list, "'\""); at; at = strpbrk(at, "'\"")) {
    const char quote = *at++, *end = at;
    while (*end && *end != quote) end += *end == '\\' && end[1] ? 2 : 1;
    previous = last;
    last = (span){at, (size_t)(end - at)};
    at = *end ? end + 1 : end;
  }
  return previous;
}

/* Second from last of ": Root/model.layers.0: pkg.Layer/linear: aten.linear.default", up to its colon. */
static span scope_in_namespace(const char *path) {
  const char *last = strrchr(path, '/');
  if (!last) return (span){"", 0};
  const char *start = last;
  while (start > path && start[-1] != '/') start--;
  size_t length = strcspn(start, ":");
  return length <= (size_t)(last - start) ? (span){start, length} : (span){"", 0};
}

/* The module that a node stands in: "model.layers.0" by its metadata, "layers/0" by its name; empty if neither says. */
static span module_path(const Onnx__NodeProto *node, const char *name) {
  const char *scopes = metadata(node, METADATA_SCOPES), *path = metadata(node, METADATA_NAMESPACE);
  if (scopes) return scope_in_list(scopes);
  if (path) return scope_in_namespace(path);
  const char *last = strrchr(name, '/');
  return *name == '/' && last > name ? (span){name + 1, (size_t)(last - name - 1)} : (span){"", 0};
}

MlirLocation import_location(importer *im, const Onnx__NodeProto *node, const char *name) {
  const span path = module_path(node, name);
  char *at = arena_string(im->arena, path.start, path.length);
  for (char *slash = strchr(at, '/'); slash; slash = strchr(slash, '/')) *slash = '.';
  const char *mark = *at ? "@" : "", *full = arena_format(im->arena, "%s%s%s", name, mark, at);
  for (int i = 2; !name_add(im->arena, &im->locations, full, im); i++) /* files may name several nodes alike */
    full = arena_format(im->arena, "%s#%d%s%s", name, i, mark, at);
  return location_of_node(im->compilation->context, full, node->op_type ? node->op_type : "");
}
