/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"
#include "flags.h"
#include "shapes.h"

#include <errno.h>
#include <string.h>

/* The module to `output` (NULL: standard output), its blobs beside it. */
static status print_module(compilation *c, MlirModule module, const char *output) {
  if (!output) return module_print(c, module, stdout, NULL);
  FILE *stream = fopen(output, "w");
  if (!stream)
    return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", output, strerror(errno));
  status result = module_print(c, module, stream, path_folder(c->arena, output));
  if (fclose(stream))
    result = diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", output, strerror(errno));
  return result;
}

int command_import(int argc, char **argv) {
  const char *output = NULL, *model = NULL;
  flag_list shapes = {0};
  const flag flags[] = {
      FLAG("shapes", FLAG_LIST, &shapes, "NAME:DIMS", SHAPES_HELP),
      FLAG("output", FLAG_STRING, &output, "FILE",
           "where to write; large constants go beside it (standard output, without them)", .short_name = "o"),
  };
  const command_syntax syntax = {
      "import", "MODEL.onnx", "Prints an ONNX model as a module of the pinion dialect.", flags, FLAG_COUNT(flags), 1,
      1,        NULL};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &model, &exit_status)) return exit_status;

  compilation c;
  status result = compilation_create(&c);
  c.diagnostics.file = model;
  import_options options;
  MlirModule module = {NULL};
  if (result == STATUS_OK && !shapes_parse(c.arena, &shapes, &options)) result = STATUS_USAGE;
  if (result == STATUS_OK) result = onnx_import(&c, model, &options, &module);
  if (result == STATUS_OK) result = print_module(&c, module, output);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  compilation_destroy(&c);
  return result;
}
