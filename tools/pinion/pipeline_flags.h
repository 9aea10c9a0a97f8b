/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* How the passes are run: the flags that compile and opt share. */
#ifndef PINION_TOOLS_PIPELINE_FLAGS_H
#define PINION_TOOLS_PIPELINE_FLAGS_H

#include "flags.h"

#include "passes/pass.h"

typedef struct pipeline_flags {
  pipeline_options options;
  flag_list disabled;
  int64_t most_rewrites;
  bool remarks;
  const char *remarks_file; /* it implies `remarks` */
} pipeline_flags;

#define PIPELINE_FLAGS_DEFAULT {.most_rewrites = INT64_MAX}
#define PIPELINE_FLAGS(f)                                                                                              \
  FLAG("disable-pass", FLAG_LIST, &(f)->disabled, "PASS[@PLACE]",                                                      \
       "leave this pass out, or leave the ops of PLACE to it alone"),                                                  \
      FLAG("rewrite-limit", FLAG_INTEGER, &(f)->most_rewrites, "N",                                                    \
           "only the first N rewrites of optional passes, and say which was the last (all)"),                          \
      FLAG("dump-ir-after", FLAG_STRING, &(f)->options.dump_after, "PASS|all", "print the module after this pass",     \
           .environment = "PINION_DUMP_IR_AFTER"),                                                                     \
      FLAG("dump-ir-dir", FLAG_STRING, &(f)->options.dump_folder, "DIR",                                               \
           "where dumps go, as NNN-PASS.mlir (standard error)", .environment = "PINION_DUMP_IR_DIR"),                  \
      FLAG("timing", FLAG_SWITCH, &(f)->options.timing, NULL, "time and changes of each pass, to standard error"),     \
      FLAG("remarks", FLAG_SWITCH, &(f)->remarks, NULL,                                                                \
           "where optional passes fired, and where they nearly did, with the reason"),                                 \
      FLAG("remarks-file", FLAG_STRING, &(f)->remarks_file, "FILE", "where remarks go (standard error)")

/* For a command's notes: what PLACE is. */
#define PIPELINE_FLAGS_NOTES                                                                                           \
  "--disable-pass=fuse-qkv@layers.3 leaves out each rewrite of fuse-qkv that takes in an op of layers.3. An op's "     \
  "location is\n"                                                                                                      \
  "NODE@MODULE.PATH (NODE alone where the export names no module); PLACE is any part of it that has the location's "   \
  "end or\n"                                                                                                           \
  "one of / . @ on both sides: layers.3 is part of /model/layers.3/mlp/Mul@model.layers.3.mlp, and not of layers.31. " \
  "An op\n"                                                                                                            \
  "that stands for several nodes has the locations of all."

/* What they ask the pipeline for, but for the limit. Borrows the flags. */
pipeline_options pipeline_flags_options(const pipeline_flags *flags);

/* Runs the passes on the module. If --rewrite-limit was given (and no limit in the options), says where it ended. */
status pipeline_flags_run(compilation *c, MlirModule module, const pipeline_flags *flags);

#endif
