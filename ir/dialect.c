/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "dialect.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#define PREFIX "pinion."

/* Taken apart once, on first use; constant afterwards. */
static op_info infos[OP_COUNT];
static pthread_once_t infos_once = PTHREAD_ONCE_INIT;

/* "x scale? bias?" or "kind:str axes:i64s keep:bool" or "file:str?" */
static int parse_fields(const char *spec, op_field *out_fields) {
  int count = 0;
  while (*spec) {
    size_t length = strcspn(spec, " ");
    assert(count < OP_MAX_FIELDS && length < sizeof out_fields->name + sizeof out_fields->type);
    op_field *field = &out_fields[count++];
    size_t name_length = length;
    if (spec[name_length - 1] == '?')
      field->arity = FIELD_OPTIONAL, name_length--;
    else if (length > 3 && !strncmp(spec + length - 3, "...", 3))
      field->arity = FIELD_VARIADIC, name_length -= 3;
    const char *colon = memchr(spec, ':', name_length);
    if (colon) {
      size_t type_length = name_length - (size_t)(colon + 1 - spec);
      memcpy(field->type, colon + 1, type_length);
      name_length = (size_t)(colon - spec);
    }
    memcpy(field->name, spec, name_length);
    spec += length;
    spec += strspn(spec, " ");
  }
  return count;
}

/* The table's rows as they stand in ops.def. */
static const struct op_row {
  const char *name;
  size_t name_length;
  op_level level;
  const char *operands, *results, *attributes, *equation, *doc;
} rows[OP_COUNT] = {
#define OP(id, level, operands, results, attributes, equation, doc)                                                    \
  {PREFIX #id, sizeof PREFIX #id - 1, LEVEL_##level, operands, results, attributes, equation, doc},
#include "ops.def"
#undef OP
};

static void parse_infos(void) {
  for (int i = 0; i < OP_COUNT; i++) {
    op_info *info = &infos[i];
    info->name = rows[i].name;
    info->short_name = rows[i].name + strlen(PREFIX);
    info->level = rows[i].level;
    info->equation = rows[i].equation;
    info->doc = rows[i].doc;
    info->operand_count = parse_fields(rows[i].operands, info->operands);
    info->result_count = parse_fields(rows[i].results, info->results);
    info->attribute_count = parse_fields(rows[i].attributes, info->attributes);
    int variable = 0;
    for (int k = 0; k < info->operand_count; k++) variable += info->operands[k].arity != FIELD_ONE;
    info->has_segments = variable > 1;
  }
}

const op_info *op_info_of(op_kind kind) {
  pthread_once(&infos_once, parse_infos);
  assert((unsigned)kind < OP_COUNT);
  return &infos[kind];
}

op_kind op_kind_of(MlirOperation op) {
  const MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  const size_t last = name.length - 1;
  for (int kind = 0; kind < OP_COUNT; kind++) /* few pass the first two tests: this is asked very often */
    if (rows[kind].name_length == name.length && rows[kind].name[last] == name.data[last] &&
        !memcmp(rows[kind].name, name.data, name.length))
      return (op_kind)kind;
  return OP_NONE;
}

const char *op_name(op_kind kind) {
  return kind == OP_NONE ? "" : rows[kind].name;
}

op_level op_level_of(op_kind kind) {
  assert((unsigned)kind < OP_COUNT);
  return rows[kind].level;
}

/* ---- IRDL ---- */

/* `irdl.operands(a: %0, rest: variadic %1)`. Every field has a variable of its own: one shared by two would say that
   they have the same type. */
static void irdl_fields(text *out, const char *keyword, int count, const op_field *fields, int first_variable) {
  static const char *const arities[] = {"", "optional ", "variadic "};
  if (!count) return;
  text_append(out, "    irdl.%s(", keyword);
  for (int i = 0; i < count; i++)
    text_append(out, "%s%s: %s%%%d", i ? ", " : "", fields[i].name, arities[fields[i].arity], first_variable + i);
  text_append(out, ")\n");
}

static void irdl_attributes(text *out, const op_info *info, int first_variable) {
  int written = 0;
  for (int i = 0; i < info->attribute_count; i++) {
    if (info->attributes[i].arity == FIELD_OPTIONAL) continue; /* IRDL knows required ones only */
    text_append(out, "%s\"%s\" = %%%d", written++ ? ", " : "    irdl.attributes {", info->attributes[i].name,
                first_variable + i);
  }
  if (written) text_append(out, "}\n");
}

text dialect_irdl(void) {
  text out = {0};
  text_append(&out, "irdl.dialect @pinion {\n");
  for (int kind = 0; kind < OP_COUNT; kind++) {
    const op_info *info = op_info_of((op_kind)kind);
    text_append(&out, "  irdl.operation @%s {\n", info->short_name);
    int variables = info->operand_count + info->result_count + info->attribute_count;
    for (int i = 0; i < variables; i++) text_append(&out, "    %%%d = irdl.any\n", i);
    irdl_fields(&out, "operands", info->operand_count, info->operands, 0);
    irdl_fields(&out, "results", info->result_count, info->results, info->operand_count);
    irdl_attributes(&out, info, info->operand_count + info->result_count);
    text_append(&out, "  }\n");
  }
  text_append(&out, "}\n");
  return out;
}

/* ---- docs/ops.md ---- */

static void markdown_fields(text *out, const char *title, int count, const op_field *fields) {
  static const char *const arities[] = {"", " (optional)", " (any number)"};
  if (!count) return;
  text_append(out, "%s: ", title);
  for (int i = 0; i < count; i++)
    text_append(out, "%s`%s%s%s`%s", i ? ", " : "", fields[i].name, *fields[i].type ? ": " : "", fields[i].type,
                arities[fields[i].arity]);
  text_append(out, ".  \n");
}

text dialect_markdown(void) {
  static const char *const titles[] = {"Core", "Fused", "Launch"};
  text out = {0};
  text_append(&out, "# The ops of the `pinion` dialect\n\nGenerated by `pinion ops` from ir/ops.def; a test compares. "
                    "Do not edit.\n");
  for (int level = 0; level < 3; level++) {
    text_append(&out, "\n## %s\n", titles[level]);
    for (int kind = 0; kind < OP_COUNT; kind++) {
      const op_info *info = op_info_of((op_kind)kind);
      if ((int)info->level != level) continue;
      text_append(&out, "\n### `%s`\n\n    %s\n\n%s\n\n", info->name, info->equation, info->doc);
      markdown_fields(&out, "Operands", info->operand_count, info->operands);
      markdown_fields(&out, "Results", info->result_count, info->results);
      markdown_fields(&out, "Attributes", info->attribute_count, info->attributes);
    }
  }
  return out;
}
