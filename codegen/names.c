/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Names of the model, made fit for generated files. */
#include "artifact.h"

#include <ctype.h>
#include <string.h>

static bool is_keyword(const char *name) {
  static const char *const words[] = {
      "alignas",  "alignof",  "and",    "asm",      "auto",     "bool",    "break", "case",     "catch",
      "char",     "class",    "const",  "continue", "default",  "delete",  "do",    "double",   "else",
      "enum",     "explicit", "export", "extern",   "false",    "float",   "for",   "friend",   "goto",
      "if",       "inline",   "int",    "long",     "mutable",  "new",     "not",   "nullptr",  "operator",
      "or",       "private",  "public", "register", "restrict", "return",  "short", "signed",   "sizeof",
      "static",   "struct",   "switch", "template", "this",     "throw",   "true",  "try",      "typedef",
      "typename", "typeof",   "union",  "unsigned", "using",    "virtual", "void",  "volatile", "while"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (!strcmp(name, words[i])) return true;
  return false;
}

const char *c_identifier(arena *a, const char *name) {
  const char *prefix = !*name || isdigit((unsigned char)*name) || is_keyword(name) ? "_" : "";
  char *identifier = arena_format(a, "%s%s", prefix, name);
  for (char *at = identifier; *at; at++)
    if (!isalnum((unsigned char)*at) || (unsigned char)*at > 127) *at = '_';
  return identifier;
}

const char *io_field(const artifact *a, int buffer) {
  const program *p = &a->program;
  const char *field = c_identifier(a->c->arena, p->buffers[buffer].name);
  for (int i = 0; i < buffer; i++)
    if (p->buffers[i].space == p->buffers[buffer].space && !strcmp(io_field(a, i), field))
      field = arena_format(a->c->arena, "%s_%lld", field, (long long)p->buffers[buffer].offset);
  return field;
}

static void append_literal(text *out, const char *string, bool is_json) {
  text_append_bytes(out, "\"", 1);
  for (const char *at = string; *at;) {
    const char *plain = at;
    while ((unsigned char)*at >= 32 && *at != 127 && *at != '"' && *at != '\\') at++;
    text_append_bytes(out, plain, (size_t)(at - plain));
    if (!*at) break;
    const unsigned char special = (unsigned char)*at++;
    if (special == '"' || special == '\\')
      text_append(out, "\\%c", special);
    else
      text_append(out, is_json ? "\\u%04x" : "\\%03o", special);
  }
  text_append_bytes(out, "\"", 1);
}

void append_quoted(text *out, const char *string) {
  append_literal(out, string, false);
}

void append_json(text *out, const char *string) {
  append_literal(out, string, true);
}

void append_comment(text *out, const char *string) {
  for (const char *at = string; *at; at++) {
    text_append_bytes(out, (unsigned char)*at < 32 ? " " : at, 1);
    if ((at[0] == '*' && at[1] == '/') || (at[0] == '/' && at[1] == '*')) text_append_bytes(out, " ", 1);
  }
}

void append_type(text *out, const tensor_type *type) {
  text_append(out, "%s [", dtype_name(type->dtype));
  for (int d = 0; d < type->rank; d++) text_append(out, d ? ", %lld" : "%lld", (long long)type->dims[d]);
  text_append(out, "]");
}
