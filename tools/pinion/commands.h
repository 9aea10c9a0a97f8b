/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* One function per command; argv[0] is the command's name. Each returns the process's exit status (ir/base.h). */
#ifndef PINION_COMMANDS_H
#define PINION_COMMANDS_H

/* COMMAND(name, summary) */
#define PINION_COMMANDS(COMMAND)                                                                                       \
  COMMAND(compile, "ONNX model to artifact: the main job")                                                             \
  COMMAND(import, "print the module as imported")                                                                      \
  COMMAND(opt, "run passes on IR text")                                                                                \
  COMMAND(run, "run an artifact; compare with a reference")                                                            \
  COMMAND(verify, "compare an artifact with the reference interpreter")                                                \
  COMMAND(bench, "latency of an artifact")                                                                             \
  COMMAND(profile, "time of every launch inside the call")                                                             \
  COMMAND(inspect, "what is inside an artifact; --check hashes it")                                                    \
  COMMAND(report, "the same as one HTML page with plots")                                                              \
  COMMAND(tune, "measure tiles on this machine, write the tuning file")                                                \
  COMMAND(targets, "list targets")                                                                                     \
  COMMAND(passes, "list passes")                                                                                       \
  COMMAND(ops, "print docs/ops.md or, with --irdl, the dialect")

#define COMMAND(name, summary) int command_##name(int argc, char **argv);
PINION_COMMANDS(COMMAND)
#undef COMMAND

#endif
