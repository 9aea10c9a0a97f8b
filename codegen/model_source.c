/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* model.c: the tables of runtime/abi.h as a person would read them, and the typed entry points. */
#include "artifact.h"

#include <ctype.h>
#include <string.h>

typedef long long number; /* what %lld prints */

static bool builds_sources(const artifact *a) {
  return a->options->target->compile == NULL;
}

static void append_numbers(text *out, const int64_t *values, int count) {
  text_append(out, "{");
  for (int i = 0; i < count; i++) text_append(out, i ? ", %lld" : "%lld", (number)values[i]);
  text_append(out, count ? "}" : "0}");
}

/* An enumerator's suffix: `POINTWISE` for "pointwise". */
static void append_upper(text *out, const char *name) {
  for (; *name; name++) text_append(out, "%c", toupper((unsigned char)*name));
}

/* ---- Kernels and buffers ---- */

static void append_kernels(const artifact *a, text *out) {
  const kernel_plan *plan = &a->kernels;
  for (int i = 0; i < plan->instance_count && builds_sources(a); i++)
    text_append(out, "pinion_cpu_kernel %s;\n", plan->instances[i].name);
  text_append(out, "\n/* ---- Kernels: name, family, blob, function ---- */\n");
  text_append(out, "static const pinion_kernel_desc kernels[] = {\n");
  for (int i = 0; i < plan->instance_count; i++) {
    const kernel_instance *kernel = &plan->instances[i];
    text_append(out, "    /* %3d */ {\"%s\", PINION_FAMILY_", i, kernel->name);
    append_upper(out, family_name(kernel->family));
    if (builds_sources(a))
      text_append(out, ", NULL, %s},", kernel->name);
    else
      text_append(out, ", \"%s%s\", NULL},", kernel->name, a->options->target->blob_suffix);
    if (kernel->tile) text_append(out, " /* tile %s */", kernel->tile);
    text_append(out, "\n");
  }
  if (!plan->instance_count) text_append(out, "    {NULL, PINION_FAMILY_POINTWISE, NULL, NULL},\n");
  text_append(out, "};\n");
}

static void append_buffers(const program *p, text *out) {
  text_append(out, "\n/* ---- Buffers: name, space, type, rank, dims, pitch, offset, bytes ---- */\n");
  text_append(out, "static const pinion_buffer_desc buffers[] = {\n");
  for (int i = 0; i < p->buffer_count; i++) {
    const program_buffer *buffer = &p->buffers[i];
    text_append(out, "    /* %4d */ {", i);
    append_quoted(out, buffer->name);
    text_append(out, ", PINION_SPACE_");
    append_upper(out, space_name(buffer->space));
    text_append(out, ", PINION_DTYPE_%s, %d, ", dtype_name(buffer->type.dtype), buffer->type.rank);
    append_numbers(out, buffer->type.dims, buffer->type.rank);
    text_append(out, ", %lld, %lld, %lld},%s\n", (number)buffer->pitch, (number)buffer->offset, (number)buffer->bytes,
                buffer->packed ? " /* packed */" : "");
  }
  if (!p->buffer_count) text_append(out, "    {\"\", PINION_SPACE_ARENA, PINION_DTYPE_f32, 0, {0}, 1, 0, 0},\n");
  text_append(out, "};\n");
}

/* ---- Launches ---- */

static bool same_params(const pinion_params *a, const pinion_params *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

/* For each launch the first one with equal params: they share a row. */
static int *shared_params(const artifact *a) {
  const program *p = &a->program;
  int *row = arena_alloc(a->c->arena, sizeof *row * (size_t)(p->launch_count + 1));
  for (int i = 0; i < p->launch_count; i++) {
    row[i] = i;
    for (int j = 0; j < i && row[i] == i; j++)
      if (row[j] == j && same_params(&p->launches[j].params, &p->launches[i].params)) row[i] = j;
  }
  return row;
}

static void append_param_row(text *out, int index, const pinion_params *params) {
  text_append(out, "static const pinion_params params_%d = {%d, %d, ", index, params->rank, params->arg_count);
  append_numbers(out, params->size, params->rank);
  text_append(out, ", {");
  for (int i = 0; i < params->arg_count; i++) {
    if (i) text_append(out, ", ");
    append_numbers(out, params->stride[i], params->rank);
  }
  text_append(out, "}, ");
  append_numbers(out, params->integer, 8);
  text_append(out, ", {%.17g, %.17g}};\n", params->scalar[0], params->scalar[1]);
}

static void append_params(const artifact *a, const int *row, text *out) {
  const program *p = &a->program;
  text_append(out, "\n/* ---- What each launch is told: rank, arguments, sizes, strides (elements), integers, scalars "
                   "---- */\n");
  for (int i = 0; i < p->launch_count; i++)
    if (row[i] == i) append_param_row(out, i, &p->launches[i].params);
}

static void append_args(const program *p, text *out) {
  text_append(out, "\n/* ---- Arguments, launch by launch: buffer, offset, step stride (bytes) ---- */\n");
  text_append(out, "static const pinion_arg args[] = {\n");
  for (int i = 0; i < p->launch_count; i++) {
    const program_launch *launch = &p->launches[i];
    text_append(out, "    ");
    for (int arg = 0; arg < launch->params.arg_count; arg++) {
      const int64_t size = (int64_t)pinion_dtype_size(program_arg_dtype(p, launch, arg));
      text_append(out, "{%d, %lld, %lld}, ", launch->buffers[arg], (number)(launch->offset[arg] * size),
                  (number)(launch->step_stride[arg] * size));
    }
    text_append(out, "/* launch %d */\n", i);
  }
  if (!p->launch_count) text_append(out, "    {0, 0, 0},\n");
  text_append(out, "};\n");
}

static void append_dependencies(const program *p, text *out) {
  int total = 0;
  text_append(out, "\n/* ---- Launches that a launch waits for ---- */\nstatic const uint32_t dependencies[] = {\n");
  for (int i = 0; i < p->launch_count; i++) {
    const program_launch *launch = &p->launches[i];
    if (!launch->after_count) continue;
    text_append(out, "    ");
    for (int k = 0; k < launch->after_count; k++) text_append(out, "%lld, ", (number)launch->after[k]);
    text_append(out, "/* launch %d */\n", i);
    total += launch->after_count;
  }
  if (!total) text_append(out, "    0, /* none */\n");
  text_append(out, "};\n");
}

/* A person reads the first few nodes; the manifest lists all: a launch of a step stands for those of every step. */
enum { COMMENT_NODES = 4 };

/* What the launch computes, on which values, for which nodes of the model. */
static void append_launch_comment(const program *p, const program_launch *launch, text *out) {
  text_append(out, "    /* %s%s%s ", family_name(launch->family), launch->kind[0] ? " " : "", launch->kind);
  append_numbers(out, launch->params.size, launch->params.rank);
  for (int i = 0; i < launch->params.arg_count; i++) {
    const program_buffer *buffer = &p->buffers[launch->buffers[i]];
    text_append(out, "%s", i == 0 ? ": " : i == launch->result_count ? " = " : ", ");
    append_comment(out, buffer->name);
    text_append(out, " ");
    append_type(out, &buffer->type);
  }
  for (int i = 0; i < launch->node_count && i < COMMENT_NODES; i++) {
    text_append(out, i ? "\n       " : "\n       from ");
    append_comment(out, launch->nodes[i]);
  }
  if (launch->node_count > COMMENT_NODES)
    text_append(out, "\n       and %d more nodes", launch->node_count - COMMENT_NODES);
  text_append(out, " */\n");
}

static void append_extents(const char *name, const int64_t *values, uint32_t count, text *out) {
  text_append(out, ", .%s = {", name);
  for (uint32_t d = 0; d < count; d++) text_append(out, d ? ", %lld" : "%lld", (number)values[d]);
  text_append(out, "}");
}

void append_tensor_map(const char *stem, int index, const pinion_tensor_map *map, text *out) {
  int64_t box[PINION_TENSOR_MAP_RANK];
  for (uint32_t d = 0; d < map->rank; d++) box[d] = map->box[d];
  text_append(out, "static const pinion_tensor_map %s_%d = {.argument = %u, .dtype = PINION_DTYPE_%s, .rank = %u", stem,
              index, map->argument, dtype_name(map->dtype), map->rank);
  append_extents("size", map->size, map->rank, out);
  append_extents("stride", map->stride, map->rank, out);
  append_extents("box", box, map->rank, out);
  text_append(out, "};\n");
}

/* What the copy engine brings: one row for each launch that has it. */
static void append_tensor_maps(const artifact *a, text *out) {
  for (int i = 0; i < a->program.launch_count; i++)
    if (a->kernels.launches[i].tensor_map) append_tensor_map("map", i, a->kernels.launches[i].tensor_map, out);
}

static void append_launches(const artifact *a, const int *row, text *out) {
  const program *p = &a->program;
  int first_arg = 0, first_dependency = 0;
  text_append(out, "\n/* ---- Launches: kernel, grid, block, shared or scratch bytes, arguments, params, dependencies, "
                   "tensor map ---- */\n");
  append_tensor_maps(a, out);
  text_append(out, "static const pinion_launch_desc launches[] = {\n");
  for (int i = 0; i < p->launch_count; i++) {
    const program_launch *launch = &p->launches[i];
    const launch_kernel *kernel = &a->kernels.launches[i];
    append_launch_comment(p, launch, out);
    text_append(out, "    /* %4d */ {%d, {%u, %u, %u}, {%u, %u, %u}, %u, %d, %d, &params_%d, %d, %d, ", i,
                kernel->instance, kernel->grid[0], kernel->grid[1], kernel->grid[2], kernel->block[0], kernel->block[1],
                kernel->block[2], kernel->dynamic_shared_bytes, first_arg, launch->params.arg_count, row[i],
                first_dependency, launch->after_count);
    if (kernel->tensor_map)
      text_append(out, "&map_%d", i);
    else
      text_append(out, "NULL");
    text_append(out, "}, /* %s */\n", a->kernels.instances[kernel->instance].name);
    first_arg += launch->params.arg_count;
    first_dependency += launch->after_count;
  }
  if (!p->launch_count) text_append(out, "    {0, {0}, {0}, 0, 0, 0, NULL, 0, 0, NULL},\n");
  text_append(out, "};\n");
}

/* ---- Stages, inputs, outputs, the model ---- */

static void append_stages(const program *p, text *out) {
  text_append(out, "\n/* ---- Stages: name, first launch, launches, repeat ---- */\n");
  text_append(out, "static const pinion_stage_desc stages[] = {\n");
  for (int i = 0; i < p->stage_count; i++) {
    text_append(out, "    {");
    append_quoted(out, p->stages[i].name);
    text_append(out, ", %d, %d, %lld},\n", p->stages[i].first_launch, p->stages[i].launch_count,
                (number)p->stages[i].repeat);
  }
  if (!p->stage_count) text_append(out, "    {\"\", 0, 0, 1},\n");
  text_append(out, "};\n");
}

/* Buffers of that space, in the model's order; returns how many. */
static int append_io(const program *p, pinion_space space, const char *table, text *out) {
  int count = 0;
  for (int i = 0; i < p->buffer_count; i++) count += p->buffers[i].space == space;
  text_append(out, "static const uint32_t %s[] = {", table);
  for (int index = 0; index < count; index++)
    for (int i = 0; i < p->buffer_count; i++)
      if (p->buffers[i].space == space && p->buffers[i].offset == index) text_append(out, index ? ", %d" : "%d", i);
  text_append(out, count ? "};\n" : "0};\n");
  return count;
}

static void append_model(const artifact *a, int input_count, int output_count, text *out) {
  const program *p = &a->program;
  const struct target *target = a->options->target;
  int arg_count = 0, dependency_count = 0;
  for (int i = 0; i < p->launch_count; i++) {
    arg_count += p->launches[i].params.arg_count;
    dependency_count += p->launches[i].after_count;
  }
  text_append(out,
              "\nstatic const pinion_model_desc model = {\n    .abi_version = %d,\n    .name = ", PINION_ABI_VERSION);
  append_quoted(out, a->options->model_name);
  text_append(out, ",\n    .target = \"%s\",\n    .device = \"%s\",\n", target->name, target->device);
  text_append(out, "    .compute_capability = %d,\n    .minimum_driver = %d,\n", target->compute_capability,
              target->minimum_driver);
  text_append(out, "    .arena_bytes = %lld,\n    .weights_bytes = %llu,\n    .weights_hash = {",
              (number)p->arena_bytes, (unsigned long long)a->weights.bytes);
  for (int i = 0; i < 32; i++) text_append(out, i ? ", 0x%02x" : "0x%02x", a->weights.digest[i]);
  text_append(out,
              "},\n    .buffers = buffers,\n    .kernels = kernels,\n    .args = args,\n    .launches = launches,\n"
              "    .dependencies = dependencies,\n    .stages = stages,\n    .inputs = inputs,\n"
              "    .outputs = outputs,\n");
  text_append(out, "    .buffer_count = %d,\n    .kernel_count = %d,\n    .arg_count = %d,\n    .launch_count = %d,\n",
              p->buffer_count, a->kernels.instance_count, arg_count, p->launch_count);
  text_append(out,
              "    .dependency_count = %d,\n    .stage_count = %d,\n    .input_count = %d,\n    .output_count = %d,\n",
              dependency_count, p->stage_count, input_count, output_count);
  text_append(out, "};\n\nconst pinion_model_desc *pinion_model_description(void) {\n  return &model;\n}\n");
}

/* ---- Typed entry points ---- */

static void append_transfers(const artifact *a, pinion_space space, text *out) {
  const program *p = &a->program;
  const bool is_input = space == PINION_SPACE_INPUT;
  for (int i = 0; i < p->buffer_count; i++) {
    const program_buffer *buffer = &p->buffers[i];
    if (buffer->space != space) continue;
    const char *field = io_field(a, i), *side = is_input ? "inputs" : "outputs";
    text_append(out, "  if (!status && %s->%s) status = pinion_%s(instance, ", side, field,
                is_input ? "set_input" : "get_output");
    append_quoted(out, buffer->name);
    text_append(out, ", %s->%s, %lld);\n", side, field, (number)buffer->bytes);
  }
}

static void append_run(const artifact *a, text *out) {
  const char *name = a->options->model_name;
  text_append(
      out,
      "\npinion_status %s_open(const char *directory, const pinion_options *options, pinion_model **out_model) {\n"
      "  return pinion_model_open(&model, directory, options, out_model);\n}\n",
      name);
  text_append(out,
              "\npinion_status %s_run(pinion_instance *instance, const struct %s_inputs *inputs,\n"
              "    struct %s_outputs *outputs) {\n  pinion_status status = pinion_prepare(instance);\n",
              name, name, name);
  append_transfers(a, PINION_SPACE_INPUT, out);
  text_append(out, "  if (!status) status = pinion_run(instance, NULL);\n");
  append_transfers(a, PINION_SPACE_OUTPUT, out);
  text_append(out, "  return status;\n}\n");
}

void model_source(const artifact *a, text *out) {
  const program *p = &a->program;
  text_append(out,
              "/* Written by pinion " PINION_VERSION_TEXT " for target %s: what the runtime runs. Everything that "
              "it knows of the model is in these tables. */\n#include \"model.h\"\n\n",
              a->options->target->name);
  const int *row = shared_params(a);
  append_kernels(a, out);
  append_buffers(p, out);
  append_params(a, row, out);
  append_args(p, out);
  append_dependencies(p, out);
  append_launches(a, row, out);
  append_stages(p, out);
  text_append(out, "\n/* ---- Inputs and outputs: buffers, in the model's order ---- */\n");
  const int input_count = append_io(p, PINION_SPACE_INPUT, "inputs", out);
  const int output_count = append_io(p, PINION_SPACE_OUTPUT, "outputs", out);
  append_model(a, input_count, output_count, out);
  append_run(a, out);
}

/* ---- model.h ---- */

static const char *c_type(pinion_dtype dtype) {
  switch (dtype) {
#define C_TYPE(name, type, bytes)                                                                                      \
  case PINION_DTYPE_##name: return #type;
    PINION_DTYPES(C_TYPE)
#undef C_TYPE
  default: return "void";
  }
}

static void append_fields(const artifact *a, pinion_space space, const char *what, text *out) {
  const program *p = &a->program;
  int count = 0;
  text_append(out, "struct %s_%s {\n", a->options->model_name, what);
  for (int i = 0; i < p->buffer_count; i++) {
    const program_buffer *buffer = &p->buffers[i];
    if (buffer->space != space) continue;
    text_append(out, "  %s%s *%s; /* ", space == PINION_SPACE_INPUT ? "const " : "", c_type(buffer->type.dtype),
                io_field(a, i));
    append_type(out, &buffer->type);
    text_append(out, ", %lld bytes */\n", (number)buffer->bytes);
    count++;
  }
  if (!count) text_append(out, "  char nothing;\n");
  text_append(out, "};\n\n");
}

void model_header(const artifact *a, text *out) {
  const char *name = a->options->model_name;
  text_append(out,
              "/* Written by pinion " PINION_VERSION_TEXT " for target %s: typed entry points of this model. */\n"
              "#ifndef PINION_MODEL_%s_H\n#define PINION_MODEL_%s_H\n\n#include \"runtime/pinion.h\"\n\n"
              "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
              a->options->target->name, name, name);
  text_append(out,
              "/* Host memory, row-major and dense; NULL: bound with pinion_bind_*, or left as it is. bf16 and f16 "
              "are their bits,\n   bool is one byte. */\n");
  append_fields(a, PINION_SPACE_INPUT, "inputs", out);
  append_fields(a, PINION_SPACE_OUTPUT, "outputs", out);
  text_append(out,
              "/* pinion_model_open for this model. */\n"
              "pinion_status %s_open(const char *directory, const pinion_options *options, pinion_model "
              "**out_model);\n\n",
              name);
  text_append(out,
              "/* Copies the inputs in, runs, waits, copies the outputs out. Allocates only in its first call. */\n"
              "pinion_status %s_run(pinion_instance *instance, const struct %s_inputs *inputs, struct %s_outputs "
              "*outputs);\n\n",
              name, name, name);
  text_append(out, "#ifdef __cplusplus\n}\n#endif\n#endif\n");
}
