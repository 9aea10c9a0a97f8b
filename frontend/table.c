/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The import table, and the list of what it could not import. */
#include "import.h"

#include <string.h>

static const import_row rows[] = {
#define ONNX_OP(op_type, first, last, min_inputs, max_inputs, importer, kind)                                          \
  {#op_type, first, last, min_inputs, max_inputs, import_##importer, kind},
#include "import_ops.def"
#undef ONNX_OP
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

const import_row *import_row_find(const char *op_type, int64_t opset) {
  for (int i = 0; i < ROW_COUNT; ++i)
    if (rows[i].op_type[0] == op_type[0] && strcmp(rows[i].op_type, op_type) == 0 && opset >= rows[i].first_opset &&
        opset <= rows[i].last_opset)
      return &rows[i];
  return NULL;
}

bool import_op_is_known(const char *op_type) {
  for (int i = 0; i < ROW_COUNT; ++i)
    if (strcmp(rows[i].op_type, op_type) == 0) return true;
  return false;
}

void onnx_list_ops(text *out) {
  for (int i = 0; i < ROW_COUNT; ++i)
    text_append(out, "%s %d-%d\n", rows[i].op_type, rows[i].first_opset, rows[i].last_opset);
}

/* ---- Unsupported nodes, grouped by op and reason, in the order in which they were met ---- */

typedef struct unsupported_group {
  struct unsupported_group *next;
  const char *op_type, *domain, *why;
  const char **names;
  size_t count, capacity;
} unsupported_group;

static unsupported_group *find_group(importer *im, const char *op_type, const char *domain, const char *why) {
  unsupported_group **link = &im->unsupported;
  for (; *link; link = &(*link)->next)
    if (!strcmp((*link)->op_type, op_type) && !strcmp((*link)->domain, domain) && !strcmp((*link)->why, why))
      return *link;
  unsupported_group *group = arena_alloc(im->arena, sizeof *group);
  *group = (unsupported_group){.op_type = op_type, .domain = domain, .why = arena_string(im->arena, why, strlen(why))};
  return *link = group;
}

void import_note_unsupported(importer *im, const char *op_type, const char *domain, const char *name, const char *why) {
  unsupported_group *group = find_group(im, op_type ? op_type : "", domain ? domain : "", why);
  group->names = arena_grow(im->arena, group->names, group->count, &group->capacity, sizeof *group->names);
  group->names[group->count++] = name;
}

static void report_group(importer *im, const unsupported_group *group) {
  text others = {0};
  for (size_t i = 1; i < group->count; ++i) text_append(&others, "%s'%s'", i > 1 ? ", " : "", group->names[i]);
  const char *op_type =
      *group->domain ? arena_format(im->arena, "%s.%s", group->domain, group->op_type) : group->op_type;
  diagnose(&im->compilation->diagnostics, STATUS_UNSUPPORTED, group->names[0], op_type, "unsupported: %s%s%s",
           group->why, others.data ? "; so are the nodes " : "", others.data ? others.data : "");
  text_free(&others);
}

status import_report_unsupported(importer *im) {
  size_t nodes = 0, groups = 0;
  for (const unsupported_group *group = im->unsupported; group; group = group->next) {
    report_group(im, group);
    nodes += group->count;
    groups++;
  }
  if (groups == 0) return im->lost_tensors ? STATUS_UNSUPPORTED : STATUS_OK;
  return diagnose(&im->compilation->diagnostics, STATUS_UNSUPPORTED, NULL, NULL,
                  "%zu node%s cannot be imported, for %zu reason%s (above); `pinion ops --onnx` lists what can", nodes,
                  nodes == 1 ? "" : "s", groups, groups == 1 ? "" : "s");
}
