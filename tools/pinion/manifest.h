/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Reading an artifact's manifest.json, of any target: what the commands that look into artifacts share. */
#ifndef PINION_TOOLS_MANIFEST_H
#define PINION_TOOLS_MANIFEST_H

#include "json.h"

/* Reads FOLDER/manifest.json; everything is the arena's. Diagnoses what is no manifest of this schema
   (STATUS_BAD_INPUT). */
status manifest_read(diagnostics *d, arena *a, const char *folder, json *out_manifest);

/* Members that may be missing in a damaged file: an empty array, 0, "". */
const json *manifest_list(const json *object, const char *key);
double manifest_number(const json *object, const char *key);
size_t manifest_index(const json *object, const char *key, size_t count); /* below `count`; else 0 */
const char *manifest_word(const json *object, const char *key);
/* Element `index` of an array; NULL if there is none. */
const json *manifest_element(const json *array, double index);

/* An ONNX node by its index in `onnx.nodes`. */
typedef struct manifest_node {
  const char *name, *op_type, *module; /* "" where unknown */
  size_t end;                          /* index in `onnx.ends` */
} manifest_node;
manifest_node manifest_node_at(const json *manifest, double index);
/* "NODE@MODULE.PATH", in the arena. */
const char *manifest_node_label(arena *a, const manifest_node *node);

/* "1x50x32" of an array of numbers; appends. */
void manifest_append_dims(text *out, const json *dims, const char *between);
/* "f32[1,50,32]" of a buffer; appends. */
void manifest_append_type(text *out, const json *buffer);
/* What a launch computes with: "f32[1,4] = bf16[..], f32[..]"; appends. */
void manifest_append_arguments(text *out, const json *manifest, const json *launch);
/* "norm.rms": the family, and the kind if it has one; in the arena. */
const char *manifest_launch_kind(arena *a, const json *launch);

#endif
