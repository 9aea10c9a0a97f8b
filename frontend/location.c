/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Where an op comes from: `NODE_NAME@MODULE.PATH`. TorchScript writes the path into the node's name, dynamo into
 * metadata. */
#include "import.h"

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

/* "/layers.0/self_attn/q_proj/MatMul" lies in layers.0.self_attn.q_proj. */
static char *scope_in_name(arena *a, const char *name) {
  const char *last = strrchr(name, '/');
  if (*name != '/' || last == name) return NULL;
  char *path = arena_string(a, name + 1, (size_t)(last - name - 1));
  for (char *slash = strchr(path, '/'); slash; slash = strchr(slash, '/')) *slash = '.';
  return path;
}

static const char *module_path(arena *a, const Onnx__NodeProto *node, const char *name) {
  const char *scopes = metadata(node, "pkg.torch.onnx.name_scopes"), *path = metadata(node, "namespace");
  span found = scopes ? scope_in_list(scopes) : path ? scope_in_namespace(path) : (span){"", 0};
  if (found.length) return arena_string(a, found.start, found.length);
  return scopes || path ? NULL : scope_in_name(a, name);
}

MlirLocation import_location(importer *im, const Onnx__NodeProto *node, const char *name) {
  const char *path = module_path(im->arena, node, name);
  const char *full = path ? arena_format(im->arena, "%s@%s", name, path) : name;
  MlirContext context = im->compilation->context;
  return mlirLocationNameGet(context, mlirStringRefCreateFromCString(full), mlirLocationUnknownGet(context));
}
