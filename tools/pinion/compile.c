/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"
#include "pipeline_flags.h"
#include "shapes.h"

#include "codegen/codegen.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct compile_arguments {
  const char *model, *folder, *target, *precision, *tuning_file, *nvrtc;
  pipeline_flags pipeline;
  flag_list shapes;
} compile_arguments;

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

/* One line that is overwritten; only on a terminal. */
static void show_progress(void *user, const char *what, double fraction) {
  const bool *terminal = user;
  if (*terminal) fprintf(stderr, "\r\033[K%s %3.0f %%", what, 100 * fraction);
}

static void end_progress(bool terminal) {
  if (terminal) fprintf(stderr, "\r\033[K");
}

/* An ONNX model is imported; IR text (of any level, for debugging) is parsed. */
static status read_model(compilation *c, const compile_arguments *arguments, MlirModule *out_module) {
  import_options options;
  if (has_suffix(arguments->model, ".mlir")) {
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

static status run_passes(compilation *c, compile_arguments *arguments, MlirModule module) {
  if (is_at_launch_level(module)) return STATUS_OK;
  if (arguments->precision)
    mlirOperationSetAttributeByName(mlirModuleGetOperation(module), mlirStringRefCreateFromCString("pinion.precision"),
                                    make_str(c->context, arguments->precision));
  return pipeline_flags_run(c, module, &arguments->pipeline);
}

static status compile(compilation *c, compile_arguments *arguments) {
  const pipeline_options *passes = &arguments->pipeline.options;
  bool terminal = isatty(STDERR_FILENO) && !passes->timing && !passes->dump_after && !passes->remarks;
  MlirModule module = {NULL};
  const struct target *backend = target_find(arguments->target);
  if (!backend)
    return diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL,
                    "--target: there is no target '%s'; `pinion targets` lists them", arguments->target);
  const artifact_options options = {.folder = arguments->folder,
                                    .model_name = model_name(c->arena, arguments->model),
                                    .target = backend,
                                    .tuning_file = arguments->tuning_file,
                                    .progress = show_progress,
                                    .progress_user = &terminal};
  arguments->pipeline.options.target = backend;
  show_progress(&terminal, "import", 0);
  status result = read_model(c, arguments, &module);
  if (result == STATUS_OK) show_progress(&terminal, "passes", 0);
  if (result == STATUS_OK) result = run_passes(c, arguments, module);
  if (result == STATUS_OK) result = artifact_write(c, module, &options);
  end_progress(terminal);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  return result;
}

int command_compile(int argc, char **argv) {
  compile_arguments arguments = {.target = "cpu", .pipeline = PIPELINE_FLAGS_DEFAULT};
  const flag flags[] = {
      FLAG("target", FLAG_STRING, &arguments.target, "NAME", "what to compile for (cpu)",
           .environment = "PINION_TARGET"),
      FLAG("output", FLAG_STRING, &arguments.folder, "DIR", "the artifact's folder; an artifact there is replaced",
           .short_name = "o"),
      FLAG("shapes", FLAG_LIST, &arguments.shapes, "NAME:DIMS", SHAPES_HELP),
      FLAG("precision", FLAG_STRING, &arguments.precision, "POLICY", "as-exported, float32 or bf16 (as-exported)",
           .environment = "PINION_PRECISION"),
      FLAG("timing-cache", FLAG_STRING, &arguments.tuning_file, "FILE",
           "tiles by measurement, as pinion tune writes them (the target's own file)",
           .environment = "PINION_TIMING_CACHE"),
      FLAG("nvrtc", FLAG_STRING, &arguments.nvrtc, "FILE",
           "the NVRTC library that compiles kernels for NVIDIA targets (PINION_NVRTC, else the toolkit's)"),
      PIPELINE_FLAGS(&arguments.pipeline),
  };
  const command_syntax syntax = {"compile",
                                 "MODEL.onnx",
                                 "Compiles an ONNX model to an artifact: a folder that builds with a C compiler alone.",
                                 flags,
                                 FLAG_COUNT(flags),
                                 1,
                                 1,
                                 "MODEL may also be a module's text (.mlir), of any level.\n" PIPELINE_FLAGS_NOTES};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &arguments.model, &exit_status)) return exit_status;
  if (!arguments.folder) {
    fprintf(stderr, "pinion compile: -o DIR is missing: where to write the artifact\n");
    return STATUS_USAGE;
  }
  if (arguments.nvrtc) setenv("PINION_NVRTC", arguments.nvrtc, 1); /* the target's loader reads it */

  compilation c;
  status result = compilation_create(&c);
  c.diagnostics.file = arguments.model;
  if (result == STATUS_OK) result = compile(&c, &arguments);
  compilation_destroy(&c);
  return result;
}
