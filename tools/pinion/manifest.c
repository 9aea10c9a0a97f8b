/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "manifest.h"

#include "codegen/codegen.h"

status manifest_read(diagnostics *d, arena *a, const char *folder, json *out_manifest) {
  const status result = json_read(d, a, path_join(a, folder, "manifest.json"), out_manifest);
  if (result != STATUS_OK || manifest_number(out_manifest, "schema") == MANIFEST_SCHEMA) return result;
  return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "the manifest has schema %.0f; this pinion reads %d",
                  manifest_number(out_manifest, "schema"), MANIFEST_SCHEMA);
}

const json *manifest_list(const json *object, const char *key) {
  static const json empty = {.kind = JSON_ARRAY};
  const json *value = json_member(object, key);
  return value && value->kind == JSON_ARRAY ? value : &empty;
}

double manifest_number(const json *object, const char *key) {
  return json_number(json_member(object, key), 0);
}

size_t manifest_index(const json *object, const char *key, size_t count) {
  const double index = manifest_number(object, key);
  return index >= 0 && index < (double)count ? (size_t)index : 0;
}

const char *manifest_word(const json *object, const char *key) {
  return json_string(json_member(object, key), "");
}

const json *manifest_element(const json *array, double index) {
  return array && array->kind == JSON_ARRAY && index >= 0 && index < (double)array->count ? &array->items[(size_t)index]
                                                                                          : NULL;
}

/* ---- Nodes ---- */

manifest_node manifest_node_at(const json *manifest, double index) {
  const json *onnx = json_member(manifest, "onnx"), *row = manifest_element(manifest_list(onnx, "nodes"), index);
  const double op_type = json_number(manifest_element(row, 1), -1), module = json_number(manifest_element(row, 2), -1);
  const double end = json_number(manifest_element(row, 3), 0);
  return (manifest_node){.name = json_string(manifest_element(row, 0), "?"),
                         .op_type = json_string(manifest_element(manifest_list(onnx, "op_types"), op_type), ""),
                         .module = json_string(manifest_element(manifest_list(onnx, "modules"), module), ""),
                         .end = end >= 0 ? (size_t)end : 0};
}

const char *manifest_node_label(arena *a, const manifest_node *node) {
  return *node->module ? arena_format(a, "%s@%s", node->name, node->module) : node->name;
}

/* ---- Text ---- */

void manifest_append_dims(text *out, const json *dims, const char *between) {
  for (size_t i = 0; dims && i < dims->count; i++)
    text_append(out, "%s%.0f", i ? between : "", json_number(&dims->items[i], 0));
}

void manifest_append_type(text *out, const json *buffer) {
  text_append(out, "%s[", manifest_word(buffer, "dtype"));
  manifest_append_dims(out, json_member(buffer, "shape"), ",");
  text_append(out, "]");
}

void manifest_append_arguments(text *out, const json *manifest, const json *launch) {
  const json *arguments = manifest_list(launch, "arguments");
  const size_t results = manifest_index(launch, "results", arguments->count + 1);
  for (size_t i = 0; i < arguments->count; i++) {
    text_append(out, "%s", i == 0 ? "" : i == results ? " = " : ", ");
    manifest_append_type(out,
                         manifest_element(manifest_list(manifest, "buffers"), json_number(&arguments->items[i], -1)));
  }
}

const char *manifest_launch_kind(arena *a, const json *launch) {
  const char *kind = manifest_word(launch, "kind");
  return *kind ? arena_format(a, "%s.%s", manifest_word(launch, "family"), kind) : manifest_word(launch, "family");
}
