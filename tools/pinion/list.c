/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The commands that list what the compiler knows: targets, passes, ops. */
#include "commands.h"
#include "flags.h"

#include "frontend/frontend.h"
#include "passes/pass.h"
#include "targets/target.h"

int command_targets(int argc, char **argv) {
  const command_syntax syntax = {"targets", "", "Lists the targets.", NULL, 0, 0, 0, NULL};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, NULL, &exit_status)) return exit_status;
  for (int i = 0; target_table[i]; i++) printf("%-8s %s\n", target_table[i]->name, target_table[i]->summary);
  return STATUS_OK;
}

int command_passes(int argc, char **argv) {
  const command_syntax syntax = {
      "passes", "", "Lists the passes; a star marks those that cannot be disabled.", NULL, 0, 0, 0, NULL};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, NULL, &exit_status)) return exit_status;
  for (int i = 0; i < pass_table_count; i++)
    printf("%c %-20s %s\n", pass_table[i].required ? '*' : ' ', pass_table[i].name, pass_table[i].summary);
  return STATUS_OK;
}

int command_ops(int argc, char **argv) {
  bool irdl = false, onnx = false;
  const flag flags[] = {
      FLAG("irdl", FLAG_SWITCH, &irdl, NULL, "the dialect's IRDL definition instead"),
      FLAG("onnx", FLAG_SWITCH, &onnx, NULL, "the ONNX ops that the importer takes instead"),
  };
  const command_syntax syntax = {"ops", "", "Prints docs/ops.md.", flags, FLAG_COUNT(flags), 0, 0, NULL};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, NULL, &exit_status)) return exit_status;
  text out = {0};
  if (onnx)
    onnx_list_ops(&out);
  else
    out = irdl ? dialect_irdl() : dialect_markdown();
  fwrite(out.data, 1, out.length, stdout);
  text_free(&out);
  return STATUS_OK;
}
