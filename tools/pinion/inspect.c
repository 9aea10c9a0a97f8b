/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Reads manifest.json alone, so that it also shows artifacts for machines other than this one. */
#include "commands.h"
#include "flags.h"
#include "tables.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  SHOWN_NODES = 3, /* of a launch, unless --nodes */
  SHOWN_TYPES = 6, /* op types of a line of the account */
};

typedef struct inspection {
  const char *folder;
  const json *manifest;
  diagnostics *diagnostics;
  arena *arena;
  work_tables tables;
  bool all_nodes;
} inspection;

static const json *list(const inspection *in, const char *key) {
  return manifest_list(in->manifest, key);
}

static void end_line(text *line) {
  printf("%s\n", line->data ? line->data : "");
  line->length = 0;
}

/* ---- Summary ---- */

static void show_io(const inspection *in, const char *title, const char *key, text *line) {
  for (size_t i = 0; i < list(in, key)->count; i++) {
    const json *buffer = &list(in, key)->items[i];
    text_append(line, "%-8s %s ", title, manifest_word(buffer, "name"));
    manifest_append_type(line, buffer);
    end_line(line);
  }
}

static void show_summary(const inspection *in, text *line) {
  const json *m = in->manifest, *target = json_member(m, "target"), *memory = json_member(m, "memory");
  const work_tables *t = &in->tables;
  printf("model '%s' for %s, written by pinion %s (schema %.0f)\n", manifest_word(m, "name"),
         manifest_word(target, "name"), manifest_word(json_member(m, "versions"), "pinion"),
         manifest_number(m, "schema"));
  const double driver = manifest_number(target, "minimum_driver");
  if (manifest_number(target, "compute_capability") > 0)
    printf("needs    compute capability %.0f, driver %.0f.%.0f\n", manifest_number(target, "compute_capability"),
           floor(driver / 1000), floor(fmod(driver, 1000) / 10));
  show_io(in, "input", "inputs", line);
  show_io(in, "output", "outputs", line);
  printf("memory   arena %.3f MiB, weights %.3f MiB, %zu buffers\n", manifest_number(memory, "arena_bytes") / (1 << 20),
         manifest_number(memory, "weights_bytes") / (1 << 20), list(in, "buffers")->count);
  printf("work     %.0f launches of %zu kernels in %zu stages; a call executes %.0f, of which %.0f only move data\n",
         t->total.launches, list(in, "kernels")->count, t->stage_count, t->total.executed, t->moved.executed);
}

/* ---- The account of ONNX nodes ---- */

typedef struct type_count {
  size_t type;
  double count;
} type_count;

static int compare_counts(const void *a, const void *b) {
  const type_count *x = a, *y = b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return (x->type > y->type) - (x->type < y->type);
}

/* The op types of the nodes that ended so: "Mul 12, Add 7, .." */
static void append_op_types(const inspection *in, size_t end, text *line) {
  const json *onnx = json_member(in->manifest, "onnx"), *types = manifest_list(onnx, "op_types");
  const json *nodes = manifest_list(onnx, "nodes");
  type_count *counts = arena_alloc(in->arena, (types->count + 1) * sizeof *counts);
  for (size_t i = 0; i < types->count; i++) counts[i].type = i;
  for (size_t i = 0; i < nodes->count; i++) {
    const double type = json_number(manifest_element(&nodes->items[i], 1), -1);
    if (manifest_node_at(in->manifest, (double)i).end == end && type >= 0 && type < (double)types->count)
      counts[(size_t)type].count++;
  }
  qsort(counts, types->count, sizeof *counts, compare_counts);
  for (size_t i = 0; i < types->count && counts[i].count > 0; i++) {
    if (i == SHOWN_TYPES) {
      text_append(line, ", ..");
      break;
    }
    text_append(line, "%s%s %.0f", i ? ", " : "", json_string(&types->items[counts[i].type], "?"), counts[i].count);
  }
}

static void show_nodes(const inspection *in, text *line) {
  static const struct {
    const char *how, *means;
  } hows[] = {{"launch", "in a launch"},
              {"view", "views: a launch reads or writes through them"},
              {"folded", "folded: computed at compile time"},
              {"dead", "dead: nothing needs them"}};
  const json *onnx = json_member(in->manifest, "onnx"), *ends = manifest_list(onnx, "ends");
  for (size_t h = 0; h < sizeof hows / sizeof *hows; h++) {
    double count = 0;
    for (size_t i = 0; i < ends->count; i++)
      if (!strcmp(manifest_word(&ends->items[i], "how"), hows[h].how))
        count += manifest_number(&ends->items[i], "count");
    printf("  %6.0f %s\n", count, hows[h].means);
    for (size_t i = 0; i < ends->count; i++) {
      if (strcmp(manifest_word(&ends->items[i], "how"), hows[h].how) != 0) continue;
      text_append(line, "         %6.0f %-20s ", manifest_number(&ends->items[i], "count"),
                  manifest_word(&ends->items[i], "by"));
      append_op_types(in, i, line);
      end_line(line);
    }
  }
  printf("  %6.0f nodes of the model\n", manifest_number(onnx, "count"));
}

/* ---- Work ---- */

static void append_sum(text *line, const work_sum *sum) {
  text_append(line, " %8.0f %8.0f %12.3f %12.3f %12.1f", sum->launches, sum->executed, sum->flops / 1e9,
              sum->bytes / 1e6, sum->estimated);
}

static void show_work_heads(const char *title, text *line) {
  text_append(line, "  %-20s %8s %8s %12s %12s %12s", title, "launches", "executed", "GFLOP", "MB moved",
              "us estimated");
}

static void show_stages(const inspection *in, text *line) {
  show_work_heads("stage", line);
  end_line(line);
  for (size_t s = 0; s < in->tables.stage_count; s++) {
    const work_row *stage = &in->tables.stages[s];
    const char *name =
        stage->repeat > 1 ? arena_format(in->arena, "%s, %.0f times", stage->name, stage->repeat) : stage->name;
    text_append(line, "  %-20s", name);
    append_sum(line, &stage->sum);
    end_line(line);
  }
  text_append(line, "  %-20s", "all");
  append_sum(line, &in->tables.total);
  end_line(line);
}

/* Also how many launches of each stage a call executes. */
static void show_kinds(const inspection *in, text *line) {
  const work_tables *t = &in->tables;
  show_work_heads("kind", line);
  text_append(line, "   executed in");
  for (size_t s = 0; s < t->stage_count; s++) text_append(line, " %7.7s", t->stages[s].name);
  end_line(line);
  for (size_t k = 0; k < t->kind_count; k++) {
    if (t->kinds[k].moves_data && (k == 0 || !t->kinds[k - 1].moves_data)) printf("  only move data:\n");
    text_append(line, "  %-20s", t->kinds[k].name);
    append_sum(line, &t->kinds[k].sum);
    text_append(line, "              ");
    for (size_t s = 0; s < t->stage_count; s++) text_append(line, " %7.0f", t->cells[k * t->stage_count + s].executed);
    end_line(line);
  }
}

static void show_kernels(const inspection *in, text *line) {
  const json *kernels = list(in, "kernels"), *launches = list(in, "launches"), *stages = list(in, "stages");
  (void)line;
  for (size_t k = 0; k < kernels->count; k++) {
    double runs = 0, flops = 0;
    for (size_t i = 0; i < launches->count; i++) {
      const json *launch = &launches->items[i];
      if (manifest_number(launch, "kernel") != (double)k) continue;
      double repeat = manifest_number(manifest_element(stages, manifest_number(launch, "stage")), "repeat");
      runs += repeat, flops += repeat * manifest_number(launch, "flops");
    }
    printf("  %-36s %-10s tile %-14s %6.0f runs a call, %9.3f GFLOP  %s\n", manifest_word(&kernels->items[k], "name"),
           manifest_word(&kernels->items[k], "family"), json_string(json_member(&kernels->items[k], "tile"), "-"), runs,
           flops / 1e9, manifest_word(&kernels->items[k], "source"));
  }
}

/* ---- Launches ---- */

static void append_nodes(const inspection *in, const json *nodes, text *line) {
  for (size_t i = 0; i < nodes->count; i++) {
    if (i == SHOWN_NODES && !in->all_nodes) {
      text_append(line, " and %zu more", nodes->count - i);
      break;
    }
    const manifest_node node = manifest_node_at(in->manifest, json_number(&nodes->items[i], -1));
    text_append(line, "%s %s%s%s", i ? "," : "", node.op_type, *node.op_type ? " " : "",
                manifest_node_label(in->arena, &node));
  }
}

static void show_launch(const inspection *in, const json *launch, text *line) {
  const json *kernel = manifest_element(list(in, "kernels"), manifest_number(launch, "kernel"));
  const json *stage = manifest_element(list(in, "stages"), manifest_number(launch, "stage"));
  text_append(line, "  %4.0f %-8s %-14s ", manifest_number(launch, "index"), manifest_word(stage, "name"),
              manifest_launch_kind(in->arena, launch));
  manifest_append_arguments(line, in->manifest, launch);
  end_line(line);
  text_append(line, "       %.6f GFLOP, %.6f MB; sizes ", manifest_number(launch, "flops") / 1e9,
              manifest_number(launch, "bytes") / 1e6);
  manifest_append_dims(line, json_member(launch, "sizes"), "x");
  text_append(line, " by %s", manifest_word(kernel, "name"));
  if (*manifest_word(kernel, "tile")) text_append(line, ", tile %s", manifest_word(kernel, "tile"));
  text_append(line, ", grid ");
  manifest_append_dims(line, json_member(launch, "grid"), "x");
  text_append(line, ", after [");
  manifest_append_dims(line, json_member(launch, "after"), " ");
  text_append(line, "]");
  end_line(line);
  text_append(line, "      ");
  append_nodes(in, manifest_list(launch, "nodes"), line);
  end_line(line);
}

static void show_launches(const inspection *in, text *line) {
  const json *launches = list(in, "launches");
  for (size_t i = 0; i < launches->count; i++) show_launch(in, &launches->items[i], line);
}

/* ---- Memory, passes, files ---- */

static void show_memory(const inspection *in, text *line) {
  const json *buffers = list(in, "buffers");
  memory_plan plan;
  memory_plan_read(in->arena, in->manifest, &plan);
  for (size_t i = 0; i < buffers->count; i++) {
    const json *buffer = &buffers->items[i];
    text_append(line, "  %4zu %-8s at %12.0f, %12.0f bytes, pitch %7.0f  ", i, manifest_word(buffer, "space"),
                manifest_number(buffer, "offset"), manifest_number(buffer, "bytes"), manifest_number(buffer, "pitch"));
    if (plan.lives[i].is_used) text_append(line, "launches %zu to %zu  ", plan.lives[i].first, plan.lives[i].last);
    manifest_append_type(line, buffer);
    text_append(line, "%s%s  %s", *manifest_word(buffer, "layout") ? " " : "", manifest_word(buffer, "layout"),
                manifest_word(buffer, "name"));
    end_line(line);
  }
  printf("  at most %.0f bytes of the arena are in use, in launch %zu\n", plan.peak, plan.peak_launch);
}

static void show_passes(const inspection *in, text *line) {
  const json *passes = list(in, "passes");
  (void)line;
  for (size_t i = 0; i < passes->count; i++) {
    const json *pass = &passes->items[i];
    printf("  %3zu %-20s %6.0f changes, %6.0f ops, then %6.0f\n", i + 1, manifest_word(pass, "name"),
           manifest_number(pass, "changes"), manifest_number(pass, "ops_before"), manifest_number(pass, "ops_after"));
  }
}

static void show_files(const inspection *in, text *line) {
  const json *files = list(in, "files");
  (void)line;
  for (size_t i = 0; i < files->count; i++)
    printf("  %12.0f bytes  %s  %s\n", manifest_number(&files->items[i], "bytes"),
           manifest_word(&files->items[i], "sha256"), manifest_word(&files->items[i], "path"));
}

static const struct {
  const char *name, *title;
  void (*show)(const inspection *in, text *line);
} sections[] = {
    {"summary", NULL, show_summary},
    {"nodes", "ONNX nodes: how they ended, after which pass", show_nodes},
    {"stages", "stages: of one call", show_stages},
    {"kinds", "kinds of launches: of one call", show_kinds},
    {"kernels", "kernels", show_kernels},
    {"launches", "launches: stage, kind, results = operands; work, kernel; ONNX nodes", show_launches},
    {"memory", "memory plan: space, offset, bytes, launches during which it is in use", show_memory},
    {"passes", "passes: ops before and after", show_passes},
    {"files", "files", show_files},
};
enum { SECTION_COUNT = sizeof sections / sizeof sections[0] };

static bool is_wanted(const flag_list *wanted, const char *name) {
  for (int i = 0; i < wanted->count; i++)
    if (!strcmp(wanted->items[i], name)) return true;
  return wanted->count == 0;
}

static void show(const inspection *in, const flag_list *wanted) {
  text line = {0};
  for (int i = 0; i < SECTION_COUNT; i++) {
    if (!is_wanted(wanted, sections[i].name)) continue;
    if (sections[i].title) printf("%s\n", sections[i].title);
    sections[i].show(in, &line);
  }
  text_free(&line);
}

static status check_sections(const flag_list *wanted) {
  const char *names[SECTION_COUNT];
  for (int i = 0; i < SECTION_COUNT; i++) names[i] = sections[i].name;
  for (int i = 0; i < wanted->count; i++) {
    bool known = false;
    for (int k = 0; k < SECTION_COUNT; k++) known |= !strcmp(wanted->items[i], names[k]);
    if (known) continue;
    const char *near = nearest_word(wanted->items[i], names, SECTION_COUNT);
    fprintf(stderr, "pinion inspect: there is no section '%s'%s%s%s\n", wanted->items[i],
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return STATUS_USAGE;
  }
  return STATUS_OK;
}

/* ---- Checking ---- */

static status check_file(const inspection *in, const json *entry) {
  mapped_file file;
  sha256 hash;
  uint8_t digest[32];
  char hex[65];
  const char *path = manifest_word(entry, "path");
  if (!path[0] || path[0] == '/' || strstr(path, ".."))
    return diagnose(in->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "the manifest names a file '%s' outside the artifact", path);
  status result = file_map(in->diagnostics, path_join(in->arena, in->folder, path), &file);
  if (result) return result;
  sha256_begin(&hash);
  sha256_add(&hash, file.bytes, file.size);
  sha256_end(&hash, digest);
  sha256_hex(digest, hex);
  if ((double)file.size != manifest_number(entry, "bytes"))
    result = diagnose(in->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "'%s' has %zu bytes, the manifest says %.0f", path,
                      file.size, manifest_number(entry, "bytes"));
  else if (strcmp(hex, manifest_word(entry, "sha256")))
    result = diagnose(in->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                      "'%s' was changed: its SHA-256 is not the manifest's", path);
  file_unmap(&file);
  return result;
}

static status check_files(const inspection *in) {
  const json *files = list(in, "files");
  status result = STATUS_OK;
  if (files->count == 0) return diagnose(in->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "the manifest lists no files");
  for (size_t i = 0; i < files->count; i++)
    if (check_file(in, &files->items[i])) result = STATUS_BAD_INPUT;
  if (result == STATUS_OK) printf("%zu files are as they were written\n", files->count);
  return result;
}

/* ---- The command ---- */

/* The manifest, and `tables`, what it adds up to. */
static status print_json(const inspection *in) {
  mapped_file file;
  status result = file_map(in->diagnostics, path_join(in->arena, in->folder, "manifest.json"), &file);
  if (result) return result;
  size_t end = file.size;
  while (end > 0 && file.bytes[end - 1] != '}') end--; /* it was parsed: it is an object */
  text tables = {0};
  tables_append_json(&in->tables, &tables);
  fwrite(file.bytes, 1, end - 1, stdout);
  printf("  ,\"tables\": %s\n}\n", tables.data);
  text_free(&tables);
  file_unmap(&file);
  return STATUS_OK;
}

static status inspect(inspection *in, const flag_list *wanted, bool check, bool as_json) {
  json manifest;
  status result = manifest_read(in->diagnostics, in->arena, in->folder, &manifest);
  if (result) return result;
  in->manifest = &manifest;
  if (check) return check_files(in);
  tables_read(in->arena, &manifest, NULL, &in->tables);
  if (as_json) return print_json(in);
  show(in, wanted);
  return STATUS_OK;
}

int command_inspect(int argc, char **argv) {
  flag_list wanted = {0};
  bool check = false, as_json = false;
  diagnostics d = {0};
  inspection in = {.diagnostics = &d};
  const flag flags[] = {
      FLAG("section", FLAG_LIST, &wanted, "NAME",
           "only summary, nodes, stages, kinds, kernels, launches, memory, passes or files (all)"),
      FLAG("nodes", FLAG_SWITCH, &in.all_nodes, NULL, "all ONNX nodes of every launch, not the first three"),
      FLAG("json", FLAG_SWITCH, &as_json, NULL, "prints the manifest, and the tables of stages and kinds as `tables`"),
      FLAG("check", FLAG_SWITCH, &check, NULL,
           "compares every file's SHA-256 with the manifest; exit 3 if one differs"),
  };
  const command_syntax syntax = {
      "inspect", "DIR", "Shows what is inside an artifact, of any target.", flags, FLAG_COUNT(flags), 1, 1, NULL};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &in.folder, &exit_status)) return exit_status;
  if (check_sections(&wanted)) return STATUS_USAGE;
  d.file = in.folder;
  in.arena = arena_create();
  status result = inspect(&in, &wanted, check, as_json);
  arena_destroy(in.arena);
  return result;
}
