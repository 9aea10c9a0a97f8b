/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"
#include "pipeline_flags.h"

#include "targets/target.h"

#include <errno.h>
#include <string.h>

static status write_module(compilation *c, MlirModule module, const char *output) {
  if (!output) return module_print(c, module, stdout, NULL);
  FILE *stream = fopen(output, "w");
  if (!stream)
    return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", output, strerror(errno));
  status result = module_print(c, module, stream, path_folder(c->arena, output));
  if (fclose(stream) && result == STATUS_OK)
    result = diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", output, strerror(errno));
  return result;
}

static status find_target(compilation *c, const char *name, const target **out_target) {
  if (!name) return STATUS_OK;
  *out_target = target_find(name);
  return *out_target ? STATUS_OK
                     : diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL,
                                "--target: there is no target '%s'; `pinion targets` lists them", name);
}

int command_opt(int argc, char **argv) {
  const char *input = NULL, *output = NULL, *passes = "", *target_name = NULL;
  bool default_passes = false;
  pipeline_flags pipeline = PIPELINE_FLAGS_DEFAULT;
  const flag flags[] = {
      FLAG("passes", FLAG_STRING, &passes, "A,B",
           "the passes to run, in order (none: the module is checked and printed)"),
      FLAG("default-passes", FLAG_SWITCH, &default_passes, NULL, "the default pipeline instead of --passes"),
      FLAG("target", FLAG_STRING, &target_name, "NAME", "for passes that ask the target (none)"),
      PIPELINE_FLAGS(&pipeline),
      FLAG("output", FLAG_STRING, &output, "FILE", "where to write; large constants go beside it (standard output)",
           .short_name = "o"),
  };
  const command_syntax syntax = {"opt", "MODULE.mlir",       "Runs passes on a module's text and prints the result.",
                                 flags, FLAG_COUNT(flags),   1,
                                 1,     PIPELINE_FLAGS_NOTES};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &input, &exit_status)) return exit_status;

  compilation c;
  status result = compilation_create(&c);
  c.diagnostics.file = input;
  pipeline.options.passes = default_passes ? NULL : passes;
  MlirModule module = {NULL};
  if (result == STATUS_OK) result = find_target(&c, target_name, &pipeline.options.target);
  if (result == STATUS_OK) result = module_parse(&c, input, &module);
  if (result == STATUS_OK) result = module_verify(&c, module, LEVELS_FUSED | LEVELS_LAUNCH);
  if (result == STATUS_OK) result = pipeline_flags_run(&c, module, &pipeline);
  if (result == STATUS_OK) result = write_module(&c, module, output);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  compilation_destroy(&c);
  return result;
}
