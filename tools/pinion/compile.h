/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What `pinion compile` does, in parts: verify compiles a model again, with fewer and fewer rewrites. */
#ifndef PINION_TOOLS_COMPILE_H
#define PINION_TOOLS_COMPILE_H

#include "pipeline_flags.h"

typedef struct compile_arguments {
  const char *model, *folder, *target, *precision, *tuning_file, *nvrtc; /* borrowed, like all strings here */
  pipeline_flags pipeline;
  flag_list shapes, absent_cameras;
  int64_t candidates, batch; /* batch: samples, at least 1 */
  bool progress;             /* show it */
} compile_arguments;

/* The command line, argv[0] being "compile"; as flags_parse. */
bool compile_parse(int argc, char **argv, compile_arguments *out_arguments, int *out_exit);

/* Imports an ONNX model (IR text, of any level, is parsed) and notes the precision policy, absent cameras and the
 * batch; no pass has run. */
status compile_read(compilation *c, const compile_arguments *arguments, MlirModule *out_module);

/* Reads the model, runs the passes, writes the artifact. A limit given in the pipeline's options is kept;
   --rewrite-limit otherwise, and it is said where it ended. */
status compile_model(compilation *c, const compile_arguments *arguments);

#endif
