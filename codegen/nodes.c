/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The account of ONNX nodes as the manifest has it. */
#include "artifact.h"

#include "../ir/account.h"

#include <stdlib.h>
#include <string.h>

/* ---- Finding nodes by label ---- */

typedef struct node_key {
  const char *label; /* NODE@MODULE.PATH */
  int row;
} node_key;

static int compare_keys(const void *a, const void *b) {
  const node_key *x = a, *y = b;
  return strcmp(x->label, y->label);
}

int nodes_find(const node_table *table, const char *label) {
  if (!table->count) return -1;
  const node_key wanted = {.label = label};
  const node_key *found = bsearch(&wanted, table->keys, (size_t)table->count, sizeof wanted, compare_keys);
  return found ? found->row : -1;
}

/* ---- Reading ---- */

static node_row read_row(arena *a, const char *label, MlirStringRef op_type) {
  const char *at = strrchr(label, '@');
  return (node_row){.name = at ? arena_string(a, label, (size_t)(at - label)) : label,
                    .module = at ? at + 1 : "",
                    .op_type = arena_string(a, op_type.data, op_type.length)};
}

static void set_keys(arena *a, node_table *table, const char *const *labels) {
  node_key *keys = arena_alloc(a, (size_t)(table->count + 1) * sizeof *keys);
  for (int i = 0; i < table->count; i++) keys[i] = (node_key){labels[i], i};
  qsort(keys, (size_t)table->count, sizeof *keys, compare_keys);
  table->keys = keys;
}

/* The rows of the module's account, of which no end is known. */
static void read_account(arena *a, const node_account *account, node_table *table) {
  const char **labels = arena_alloc(a, (size_t)(account->count + 1) * sizeof *labels);
  table->rows = arena_alloc(a, (size_t)(account->count + 1) * sizeof *table->rows);
  for (int i = 0; i < account->count; i++) {
    const MlirStringRef name = mlirIdentifierStr(mlirLocationNameGetName(account->nodes[i].location));
    labels[i] = arena_string(a, name.data, name.length);
    table->rows[table->count++] = read_row(a, labels[i], location_op_type(account->nodes[i].location));
  }
  set_keys(a, table, labels);
}

/* The rows that launches name. */
static void read_launches(arena *a, const program *p, node_table *table) {
  size_t named = 0;
  for (int i = 0; i < p->launch_count; i++) named += (size_t)p->launches[i].node_count;
  node_key *all = arena_alloc(a, (named + 1) * sizeof *all);
  const char **labels = arena_alloc(a, (named + 1) * sizeof *labels);
  table->rows = arena_alloc(a, (named + 1) * sizeof *table->rows);
  size_t count = 0;
  for (int i = 0; i < p->launch_count; i++)
    for (int n = 0; n < p->launches[i].node_count; n++) all[count++].label = p->launches[i].nodes[n];
  qsort(all, named, sizeof *all, compare_keys);
  for (size_t i = 0; i < named; i++) {
    if (i && strcmp(all[i].label, all[i - 1].label) == 0) continue;
    labels[table->count] = all[i].label;
    table->rows[table->count++] = read_row(a, all[i].label, (MlirStringRef){"", 0});
  }
  set_keys(a, table, labels);
}

/* ---- Ends ---- */

static int end_index(arena *a, node_table *table, size_t *capacity, const char *how, const char *by) {
  for (int i = 0; i < table->end_count; i++)
    if (strcmp(table->ends[i].how, how) == 0 && strcmp(table->ends[i].by, by) == 0) return i;
  table->ends = arena_grow(a, table->ends, (size_t)table->end_count, capacity, sizeof *table->ends);
  table->ends[table->end_count] = (node_end){.how = how, .by = by};
  return table->end_count++;
}

/* What the module still names is in a launch, or else in @weights. */
static void set_ends(arena *a, const node_account *account, const program *p, node_table *table) {
  size_t capacity = 0;
  bool *launched = arena_alloc(a, (size_t)table->count + 1);
  for (int i = 0; i < p->launch_count; i++)
    for (int n = 0; n < p->launches[i].node_count; n++) {
      const int row = nodes_find(table, p->launches[i].nodes[n]);
      if (row >= 0) launched[row] = true;
    }
  for (int i = 0; i < table->count; i++) {
    const onnx_node *node = i < account->count ? &account->nodes[i] : NULL;
    const bool is_known = node && node->fate != FATE_KEPT;
    const char *how = launched[i] ? "launch" : is_known ? fate_name(node->fate) : fate_name(FATE_FOLDED);
    const char *by = launched[i] ? "" : is_known ? node->by : "outline-weights";
    table->rows[i].end = end_index(a, table, &capacity, how, by);
    table->ends[table->rows[i].end].count++;
  }
}

void nodes_read(compilation *c, MlirModule module, const program *p, node_table *out_table) {
  const node_account account = account_read(c->arena, module);
  *out_table = (node_table){0};
  if (account.count > 0)
    read_account(c->arena, &account, out_table);
  else
    read_launches(c->arena, p, out_table);
  set_ends(c->arena, &account, p, out_table);
}

/* ---- Writing: a row is ["NODE", op type, module, end], the last three as indices ---- */

static int compare_strings(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort_unique(const char **strings, int count) {
  int kept = 0;
  if (count) qsort(strings, (size_t)count, sizeof *strings, compare_strings);
  for (int i = 0; i < count; i++)
    if (!kept || strcmp(strings[kept - 1], strings[i]) != 0) strings[kept++] = strings[i];
  return kept;
}

static int string_index(const char *const *strings, int count, const char *wanted) {
  const char *const *found = bsearch(&wanted, strings, (size_t)count, sizeof *strings, compare_strings);
  return (int)(found - strings);
}

static void append_strings(text *out, const char *key, const char *const *strings, int count) {
  text_append(out, "\"%s\": [", key);
  for (int i = 0; i < count; i++) {
    text_append(out, "%s\n      ", i ? "," : "");
    append_json(out, strings[i]);
  }
  text_append(out, "\n    ],\n    ");
}

static void append_ends(const node_table *table, text *out) {
  text_append(out, "\"ends\": [");
  for (int i = 0; i < table->end_count; i++) {
    text_append(out, "%s\n      {\"how\": \"%s\", \"by\": ", i ? "," : "", table->ends[i].how);
    append_json(out, table->ends[i].by);
    text_append(out, ", \"count\": %d}", table->ends[i].count);
  }
  text_append(out, "\n    ],\n    ");
}

void append_nodes(compilation *c, const node_table *table, text *out) {
  const char **modules = arena_alloc(c->arena, (size_t)(table->count + 1) * sizeof *modules);
  const char **types = arena_alloc(c->arena, (size_t)(table->count + 1) * sizeof *types);
  for (int i = 0; i < table->count; i++) modules[i] = table->rows[i].module, types[i] = table->rows[i].op_type;
  const int module_count = sort_unique(modules, table->count), type_count = sort_unique(types, table->count);
  text_append(out, "\"onnx\": {\n    \"count\": %d,\n    ", table->count);
  append_ends(table, out);
  append_strings(out, "op_types", types, type_count);
  append_strings(out, "modules", modules, module_count);
  text_append(out, "\"nodes\": [");
  for (int i = 0; i < table->count; i++) {
    const node_row *row = &table->rows[i];
    text_append(out, "%s\n      [", i ? "," : "");
    append_json(out, row->name);
    text_append(out, ", %d, %d, %d]", string_index(types, type_count, row->op_type),
                string_index(modules, module_count, row->module), row->end);
  }
  text_append(out, "\n    ]\n  },\n  ");
}
