/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "compile.h"
#include "commands.h"
#include "shapes.h"

#include "codegen/codegen.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_suffix(const char *string, const char *suffix) {
  const size_t length = strlen(string), suffix_length = strlen(suffix);
  return length >= suffix_length && !strcmp(string + length - suffix_length, suffix);
}

/* A C identifier from the model's file name: `pi0_small` for `some/where/pi0-small.onnx`. */
static const char *model_name(arena *a, const char *path) {
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
  char *name = arena_string(a, base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
  for (char *at = name; *at; at++)
    if (!isalnum((unsigned char)*at) || (unsigned char)*at > 127) *at = '_';
  return isalpha((unsigned char)*name) ? name : arena_format(a, "model_%s", name);
}

/* One line that is overwritten. */
static void show_progress(void *user, const char *what, double fraction) {
  (void)user;
  fprintf(stderr, "\r\033[K%s %3.0f %%", what, 100 * fraction);
}

/* The flags that decide what is computed, as the manifest keeps them. Tiles are a matter of speed. */
static int recorded_flags(arena *a, const compile_arguments *arguments, const char **out_flags) {
  const flag_list *disabled = &arguments->pipeline.disabled;
  int count = 0;
  if (arguments->precision) out_flags[count++] = arena_format(a, "--precision=%s", arguments->precision);
  for (int i = 0; i < arguments->shapes.count; i++)
    out_flags[count++] = arena_format(a, "--shapes=%s", arguments->shapes.items[i]);
  for (int i = 0; i < arguments->absent_cameras.count; i++)
    out_flags[count++] = arena_format(a, "--absent-camera=%s", arguments->absent_cameras.items[i]);
  if (arguments->batch > 1) out_flags[count++] = arena_format(a, "--batch=%lld", (long long)arguments->batch);
  for (int i = 0; i < disabled->count; i++)
    out_flags[count++] = arena_format(a, "--disable-pass=%s", disabled->items[i]);
  if (arguments->pipeline.most_rewrites != INT64_MAX)
    out_flags[count++] = arena_format(a, "--rewrite-limit=%lld", (long long)arguments->pipeline.most_rewrites);
  return count;
}

static bool is_ir_text(const compile_arguments *arguments) {
  return has_suffix(arguments->model, ".mlir");
}

/* An ONNX model is imported; IR text (of any level, for debugging) is parsed. */
static status read_module(compilation *c, const compile_arguments *arguments, MlirModule *out_module) {
  import_options options;
  if (is_ir_text(arguments)) {
    const status result = module_parse(c, arguments->model, out_module);
    return result == STATUS_OK ? module_verify(c, *out_module, LEVELS_FUSED | LEVELS_LAUNCH) : result;
  }
  if (!shapes_parse(c->arena, &arguments->shapes, &options)) return STATUS_USAGE;
  return onnx_import(c, arguments->model, &options, out_module);
}

static bool is_at_launch_level(MlirModule module) {
  return !mlirAttributeIsNull(mlirOperationGetAttributeByName(mlirModuleGetOperation(module),
                                                              mlirStringRefCreateFromCString("pinion.arena_bytes")));
}

/* For drop-masked-tokens. */
static MlirAttribute names_attribute(compilation *c, const flag_list *names) {
  MlirAttribute items[FLAG_LIST_CAPACITY];
  for (int i = 0; i < names->count; i++) items[i] = make_str(c->context, names->items[i]);
  return mlirArrayAttrGet(c->context, names->count, items);
}

status compile_read(compilation *c, const compile_arguments *arguments, MlirModule *out_module) {
  const status result = read_module(c, arguments, out_module);
  if (result != STATUS_OK) return result;
  if (is_at_launch_level(*out_module)) {
    if (arguments->absent_cameras.count == 0 && arguments->batch == 1) return STATUS_OK;
    return diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL,
                    "%s: these are launches already; compile the model with it",
                    arguments->batch == 1 ? "--absent-camera" : "--batch");
  }
  MlirOperation module = mlirModuleGetOperation(*out_module);
  if (arguments->precision)
    mlirOperationSetAttributeByName(module, mlirStringRefCreateFromCString("pinion.precision"),
                                    make_str(c->context, arguments->precision));
  if (arguments->absent_cameras.count > 0)
    mlirOperationSetAttributeByName(module, mlirStringRefCreateFromCString("pinion.absent_cameras"),
                                    names_attribute(c, &arguments->absent_cameras));
  if (arguments->batch > 1)
    mlirOperationSetAttributeByName(module, mlirStringRefCreateFromCString("pinion.batch"),
                                    make_i64(c->context, arguments->batch));
  return result;
}

status compile_model(compilation *c, const compile_arguments *arguments) {
  enum { OTHER_FLAGS = 3 };
  const char *recorded[3 * FLAG_LIST_CAPACITY + OTHER_FLAGS];
  MlirModule module = {NULL};
  const struct target *backend = target_find(arguments->target);
  if (!backend)
    return diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL,
                    "--target: there is no target '%s'; `pinion targets` lists them", arguments->target);
  const artifact_options options = {.folder = arguments->folder,
                                    .model_name = model_name(c->arena, arguments->model),
                                    .target = backend,
                                    .tuning_file = arguments->tuning_file,
                                    .candidates = (int)arguments->candidates,
                                    .flags = recorded,
                                    .flag_count = recorded_flags(c->arena, arguments, recorded),
                                    .progress = arguments->progress ? show_progress : NULL};
  if (options.candidates && !backend->compile)
    return diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL,
                    "--candidates: target %s is tuned without an artifact's candidates", backend->name);
  pipeline_flags pipeline = arguments->pipeline;
  pipeline.options.target = backend;
  if (arguments->progress) show_progress(NULL, "import", 0);
  status result = compile_read(c, arguments, &module);
  if (result == STATUS_OK && arguments->progress) show_progress(NULL, "passes", 0);
  if (result == STATUS_OK && !is_at_launch_level(module)) result = pipeline_flags_run(c, module, &pipeline);
  if (result == STATUS_OK) result = artifact_write(c, module, &options);
  if (arguments->progress) fprintf(stderr, "\r\033[K");
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  return result;
}

bool compile_parse(int argc, char **argv, compile_arguments *out_arguments, int *out_exit) {
  compile_arguments *a = out_arguments;
  *a = (compile_arguments){.target = "cpu", .batch = 1, .pipeline = PIPELINE_FLAGS_DEFAULT};
  const flag flags[] = {
      FLAG("target", FLAG_STRING, &a->target, "NAME", "what to compile for (cpu)", .environment = "PINION_TARGET"),
      FLAG("output", FLAG_STRING, &a->folder, "DIR", "the artifact's folder; an artifact there is replaced",
           .short_name = "o"),
      FLAG("shapes", FLAG_LIST, &a->shapes, "NAME:DIMS", SHAPES_HELP),
      FLAG("precision", FLAG_STRING, &a->precision, "POLICY", "as-exported, float32 or bf16 (as-exported)",
           .environment = "PINION_PRECISION"),
      FLAG("absent-camera", FLAG_LIST, &a->absent_cameras, "NAME",
           "the robot lacks the camera of this image input: its tower and tokens are left out"),
      FLAG("batch", FLAG_INTEGER, &a->batch, "N", "samples in a call, of a model that takes one (1)"),
      FLAG("timing-cache", FLAG_STRING, &a->tuning_file, "FILE",
           "tiles by measurement, as pinion tune writes them; made of the target's own file if it is missing (that "
           "file)",
           .environment = "PINION_TIMING_CACHE"),
      FLAG("candidates", FLAG_INTEGER, &a->candidates, "N",
           "compiles so many other tiles of each problem too, for pinion tune to measure (0)"),
      FLAG("nvrtc", FLAG_STRING, &a->nvrtc, "FILE",
           "the NVRTC library that compiles kernels for NVIDIA targets (PINION_NVRTC, else the toolkit's)"),
      PIPELINE_FLAGS(&a->pipeline),
  };
  const command_syntax syntax = {"compile",
                                 "MODEL.onnx",
                                 "Compiles an ONNX model to an artifact: a folder that builds with a C compiler alone.",
                                 flags,
                                 FLAG_COUNT(flags),
                                 1,
                                 1,
                                 "MODEL may also be a module's text (.mlir), of any level.\n" PIPELINE_FLAGS_NOTES};
  if (!flags_parse(&syntax, argc, argv, &a->model, out_exit)) return false;
  *out_exit = STATUS_USAGE;
  if (!a->folder) fprintf(stderr, "pinion compile: -o DIR is missing: where to write the artifact\n");
  if (a->batch < 1) fprintf(stderr, "pinion compile: --batch takes a number of samples, at least 1\n");
  return a->folder && a->batch >= 1;
}

int command_compile(int argc, char **argv) {
  compile_arguments arguments;
  int exit_status;
  if (!compile_parse(argc, argv, &arguments, &exit_status)) return exit_status;
  if (arguments.nvrtc) setenv("PINION_NVRTC", arguments.nvrtc, 1); /* the target's loader reads it */
  const pipeline_options *passes = &arguments.pipeline.options;
  arguments.progress = isatty(STDERR_FILENO) && !passes->timing && !passes->dump_after && !arguments.pipeline.remarks;

  compilation c;
  status result = compilation_create(&c);
  c.diagnostics.file = arguments.model;
  if (result == STATUS_OK) result = compile_model(&c, &arguments);
  compilation_destroy(&c);
  return result;
}
