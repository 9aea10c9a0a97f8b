/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* manifest.json: what is inside the artifact, for people and tools. The runtime does not read it. */
#include "artifact.h"

#include <string.h>

typedef long long number;

static void append_key(text *out, const char *key) {
  append_json(out, key);
  text_append(out, ": ");
}

static void append_string_field(text *out, const char *key, const char *value) {
  append_key(out, key);
  append_json(out, value);
}

static void append_digest_field(text *out, const char *key, const uint8_t digest[32]) {
  char hex[65];
  sha256_hex(digest, hex);
  append_string_field(out, key, hex);
}

static void append_list(text *out, const char *key, const int64_t *values, int count) {
  append_key(out, key);
  text_append(out, "[");
  for (int i = 0; i < count; i++) text_append(out, i ? ", %lld" : "%lld", (number)values[i]);
  text_append(out, "]");
}

static void append_buffer(text *out, const program_buffer *buffer) {
  append_string_field(out, "name", buffer->name);
  text_append(out, ", ");
  append_string_field(out, "dtype", dtype_name(buffer->type.dtype));
  text_append(out, ", ");
  append_list(out, "shape", buffer->type.dims, buffer->type.rank);
}

static void append_io(const program *p, pinion_space space, const char *key, text *out) {
  int count = 0;
  append_key(out, key);
  text_append(out, "[");
  for (int index = 0; index < p->buffer_count; index++)
    for (int i = 0; i < p->buffer_count; i++) {
      if (p->buffers[i].space != space || p->buffers[i].offset != index) continue;
      text_append(out, "%s\n    {", count++ ? "," : "");
      append_buffer(out, &p->buffers[i]);
      text_append(out, ", \"bytes\": %lld}", (number)p->buffers[i].bytes);
    }
  text_append(out, "\n  ],\n  ");
}

static void append_memory(const artifact *a, text *out) {
  const program *p = &a->program;
  text_append(out, "\"memory\": {\"arena_bytes\": %lld, \"weights_bytes\": %llu, ", (number)p->arena_bytes,
              (unsigned long long)a->weights.bytes);
  append_digest_field(out, "weights_sha256", a->weights.digest);
  text_append(out, "},\n  \"buffers\": [");
  for (int i = 0; i < p->buffer_count; i++) {
    const program_buffer *buffer = &p->buffers[i];
    text_append(out, "%s\n    {\"index\": %d, \"space\": \"%s\", ", i ? "," : "", i, space_name(buffer->space));
    append_buffer(out, buffer);
    text_append(out, ", \"pitch\": %lld, \"offset\": %lld, \"bytes\": %lld%s}", (number)buffer->pitch,
                (number)buffer->offset, (number)buffer->bytes, buffer->packed ? ", \"layout\": \"packed\"" : "");
  }
  text_append(out, "\n  ],\n  ");
}

static void append_kernels(const artifact *a, text *out) {
  const struct target *target = a->options->target;
  text_append(out, "\"kernels\": [");
  for (int i = 0; i < a->kernels.instance_count; i++) {
    const kernel_instance *kernel = &a->kernels.instances[i];
    uint8_t digest[32];
    sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, kernel->source, kernel->source_bytes);
    sha256_end(&hash, digest);
    text_append(out, "%s\n    {\"index\": %d, \"name\": \"%s\", \"family\": \"%s\", \"source\": \"kernels/%s%s\", ",
                i ? "," : "", i, kernel->name, family_name(kernel->family), kernel->name, target->source_suffix);
    if (kernel->blob.data) text_append(out, "\"blob\": \"kernels/%s%s\", ", kernel->name, target->blob_suffix);
    if (kernel->tile) {
      append_string_field(out, "tile", kernel->tile);
      text_append(out, ", ");
    }
    append_digest_field(out, "source_sha256", digest);
    text_append(out, "}");
  }
  text_append(out, "\n  ],\n  ");
}

/* The launch's own kind; of pointwise ones that compute nothing, `copy` or `cast`; else empty. */
static const char *launch_kind(const program *p, const program_launch *launch) {
  if (launch->family != PINION_FAMILY_POINTWISE || !body_only_stores(launch->body)) return launch->kind;
  for (int r = 0; r < launch->result_count; r++)
    for (int i = launch->result_count; i < launch->params.arg_count; i++)
      if (program_arg_dtype(p, launch, i) != program_arg_dtype(p, launch, r)) return "cast";
  return "copy";
}

static void append_names(text *out, const char *key, const char *const *names, int count) {
  append_key(out, key);
  text_append(out, "[");
  for (int i = 0; i < count; i++) {
    if (i) text_append(out, ", ");
    append_json(out, names[i]);
  }
  text_append(out, "]");
}

static void append_values(text *out, const program_launch *launch) {
  text_append(out, ", \"values\": [");
  for (int i = 0; i < launch->value_count; i++) {
    const program_value *value = &launch->values[i];
    text_append(out, i ? ", {" : "{");
    append_names(out, "onnx", value->names, value->name_count);
    text_append(out, ", \"result\": %d, \"offset\": %lld, ", value->result, (number)value->offset);
    append_list(out, "shape", value->dims, value->rank);
    text_append(out, ", ");
    append_list(out, "strides", value->stride, value->rank);
    text_append(out, "}");
  }
  text_append(out, "]");
}

static void append_launch(const artifact *a, int index, text *out) {
  const program *p = &a->program;
  const program_launch *launch = &p->launches[index];
  const launch_kernel *kernel = &a->kernels.launches[index];
  const char *kind = launch_kind(p, launch);
  text_append(out, "{\"index\": %d, \"stage\": %d, \"family\": \"%s\", ", index, launch->stage,
              family_name(launch->family));
  if (*kind) {
    append_string_field(out, "kind", kind);
    text_append(out, ", ");
  }
  text_append(out, "\"problem\": \"%s\", \"kernel\": %d, ", kernel->problem, kernel->instance);
  append_list(out, "sizes", launch->params.size, launch->params.rank);
  text_append(out, ", \"results\": %d, \"arguments\": [", launch->result_count);
  for (int i = 0; i < launch->params.arg_count; i++) text_append(out, i ? ", %d" : "%d", launch->buffers[i]);
  text_append(out, "], \"grid\": [%u, %u, %u], \"block\": [%u, %u, %u], ", kernel->grid[0], kernel->grid[1],
              kernel->grid[2], kernel->block[0], kernel->block[1], kernel->block[2]);
  text_append(out, "\"flops\": %.0f, \"bytes\": %.0f, \"estimated_microseconds\": %.3f, ", kernel->work.flops,
              kernel->work.bytes, kernel->cost);
  append_list(out, "after", launch->after, launch->after_count);
  text_append(out, ", \"nodes\": [");
  for (int i = 0, count = 0; i < launch->node_count; i++) {
    const int node = nodes_find(&a->nodes, launch->nodes[i]);
    if (node >= 0) text_append(out, count++ ? ", %d" : "%d", node);
  }
  text_append(out, "]");
  if (launch->value_count) append_values(out, launch);
  text_append(out, "}");
}

static void append_passes(const compilation *c, text *out) {
  text_append(out, "\"passes\": [");
  for (size_t i = 0; i < c->pass_count; i++) {
    const pass_record *record = &c->passes[i];
    text_append(out, "%s\n    {\"name\": \"%s\", \"changes\": %d, \"ops_before\": %d, \"ops_after\": %d}", i ? "," : "",
                record->name, record->changes, record->ops_before, record->ops_after);
  }
  text_append(out, "\n  ],\n  ");
}

static void append_launches(const artifact *a, text *out) {
  const program *p = &a->program;
  text_append(out, "\"stages\": [");
  for (int i = 0; i < p->stage_count; i++) {
    text_append(out, "%s\n    {", i ? "," : "");
    append_string_field(out, "name", p->stages[i].name);
    text_append(out, ", \"first_launch\": %d, \"launches\": %d, \"repeat\": %lld}", p->stages[i].first_launch,
                p->stages[i].launch_count, (number)p->stages[i].repeat);
  }
  text_append(out, "\n  ],\n  \"launches\": [");
  for (int i = 0; i < p->launch_count; i++) {
    text_append(out, "%s\n    ", i ? "," : "");
    append_launch(a, i, out);
  }
  text_append(out, "\n  ],\n  ");
}

static void append_files(const artifact *a, text *out) {
  text_append(out, "\"files\": [");
  for (size_t i = 0; i < a->file_count; i++) {
    text_append(out, "%s\n    {", i ? "," : "");
    append_string_field(out, "path", a->files[i].path);
    text_append(out, ", \"bytes\": %llu, ", (unsigned long long)a->files[i].bytes);
    append_digest_field(out, "sha256", a->files[i].digest);
    text_append(out, "}");
  }
  text_append(out, "\n  ]\n");
}

static void append_flags(const artifact_options *options, text *out) {
  append_names(out, "flags", options->flags, options->flag_count);
  text_append(out, ",\n  ");
}

void model_manifest(const artifact *a, text *out) {
  const struct target *target = a->options->target;
  text_append(out, "{\n  \"schema\": %d,\n  ", MANIFEST_SCHEMA);
  append_string_field(out, "name", a->options->model_name);
  text_append(out, ",\n  \"versions\": {\"pinion\": \"" PINION_VERSION_TEXT "\", \"abi\": %d},\n  ",
              PINION_ABI_VERSION);
  append_flags(a->options, out);
  text_append(
      out,
      "\"target\": {\"name\": \"%s\", \"device\": \"%s\", \"compute_capability\": %d, \"minimum_driver\": %d},\n  ",
      target->name, target->device, target->compute_capability, target->minimum_driver);
  append_io(&a->program, PINION_SPACE_INPUT, "inputs", out);
  append_io(&a->program, PINION_SPACE_OUTPUT, "outputs", out);
  append_memory(a, out);
  append_kernels(a, out);
  append_launches(a, out);
  append_nodes(a->c, &a->nodes, out);
  append_passes(a->c, out);
  append_files(a, out);
  text_append(out, "}\n");
}
