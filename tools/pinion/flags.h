/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Command lines as tables. A command lists its flags once; parsing, --help and "did you mean" come from the list.
 *
 *   static const char *target = "cpu";
 *   const flag flags[] = {
 *       FLAG("target", FLAG_STRING, &target, "NAME", "what to compile for (cpu)"),
 *       FLAG("threads", FLAG_INTEGER, &threads, "N", "worker threads (one per core)", .environment = "PINION_THREADS"),
 *   };
 *   const command_syntax syntax = {"compile", "MODEL.onnx", "compiles a model", flags, FLAG_COUNT(flags), 1, 1, NULL};
 *   if (!flags_parse(&syntax, argc, argv, positional, &exit_status)) return exit_status;
 *
 * Accepted: `--flag=value`, `--flag value`, `-o value`, `-ovalue`, `--switch`, `--switch=false`, and `--` before words
 * that begin with a dash. A value that is not set keeps what the variable held before.
 */
#ifndef PINION_TOOLS_FLAGS_H
#define PINION_TOOLS_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#define FLAG_LIST_CAPACITY 64

/* Values of a flag that may be repeated; borrowed from argv. Split at commas only by the command itself. */
typedef struct flag_list {
  const char *items[FLAG_LIST_CAPACITY];
  int count;
} flag_list;

typedef enum flag_kind {
  FLAG_SWITCH,  /* bool */
  FLAG_STRING,  /* const char *, borrowed from argv or the environment */
  FLAG_INTEGER, /* int64_t, decimal or 0x; not negative unless `signed_value` */
  FLAG_NUMBER,  /* double, finite, not negative */
  FLAG_LIST,    /* flag_list: one item each time it is given */
} flag_kind;

typedef struct flag {
  const char *name;       /* without dashes */
  const char *short_name; /* one letter, or NULL */
  flag_kind kind;
  void *value;             /* points to the kind's type */
  const char *argument;    /* how the help names the value: "DIR"; NULL for a switch */
  const char *help;        /* one line, its default included */
  const char *environment; /* variable that sets it when the command line does not, or NULL */
  bool signed_value;
} flag;

/* A row of the table; the last arguments, if any, are designated: FLAG("output", FLAG_STRING, &folder, "DIR", "where
   to", .short_name = "o"). */
#define FLAG(flag_name, flag_kind, variable, value_name, line, ...)                                                    \
  {.name = flag_name, .kind = flag_kind, .value = variable, .argument = value_name, .help = line, __VA_ARGS__}

#define FLAG_COUNT(flags) ((int)(sizeof(flags) / sizeof((flags)[0])))

typedef struct command_syntax {
  const char *name;       /* "compile" */
  const char *positional; /* "MODEL.onnx"; "" if there are none */
  const char *summary;    /* one line */
  const flag *flags;
  int flag_count;
  int positional_minimum, positional_maximum;
  const char *notes; /* printed after the flags, or NULL */
} command_syntax;

/* Parses argv[1..]; argv[0] is the command's name. `out_positional` has room for positional_maximum words, unset ones
   become NULL. Returns true to go on. Otherwise everything was said, and *out_exit is 0 after --help or 2 after a usage
   error. */
bool flags_parse(const command_syntax *syntax, int argc, char **argv, const char **out_positional, int *out_exit);

/* The candidate nearest to `word`, if it is near enough to be a slip of the hand, else NULL. Also for commands. */
const char *nearest_word(const char *word, const char *const *candidates, int count);

#endif
