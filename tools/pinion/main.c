/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "commands.h"

#include "ir/base.h"

#include <stdio.h>
#include <string.h>

#define PINION_VERSION "0.1.0"

static const struct {
  const char *name, *summary;
  int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, summary) {#name, summary, command_##name},
    PINION_COMMANDS(COMMAND)
#undef COMMAND
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *stream) {
  fprintf(stream, "usage: pinion COMMAND [FLAGS] ...\n\n");
  for (int i = 0; i < COMMAND_COUNT; i++) fprintf(stream, "  %-9s %s\n", commands[i].name, commands[i].summary);
  fprintf(stream,
          "\n`pinion COMMAND --help` explains a command. Exit status: 0 done, 1 failed, 2 usage, 3 bad input file,\n"
          "4 unsupported op, 5 verification mismatch, 6 wrong or missing device.\n");
}

int main(int argc, char **argv) {
  if (argc < 2) {
    print_usage(stderr);
    return STATUS_USAGE;
  }
  const char *name = argv[1];
  if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
    print_usage(stdout);
    return STATUS_OK;
  }
  if (!strcmp(name, "--version")) {
    printf("pinion %s\n", PINION_VERSION);
    return STATUS_OK;
  }
  for (int i = 0; i < COMMAND_COUNT; i++)
    if (!strcmp(name, commands[i].name)) return commands[i].run(argc - 1, argv + 1);
  fprintf(stderr, "pinion: there is no command '%s'; `pinion --help` lists them\n", name);
  return STATUS_USAGE;
}
