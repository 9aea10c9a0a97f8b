/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Reads manifest.json alone, so that it also shows artifacts for machines other than this one. */
#include "commands.h"
#include "flags.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

#define MANIFEST_SCHEMA 1
#define SHOWN_NODES 3 /* of a launch, unless --nodes */

typedef struct inspection {
  const char *folder;
  const json *manifest;
  diagnostics *diagnostics;
  arena *arena;
  bool all_nodes;
} inspection;

static const json *list(const inspection *in, const char *key) {
  static const json empty = {.kind = JSON_ARRAY};
  const json *value = json_member(in->manifest, key);
  return value && value->kind == JSON_ARRAY ? value : &empty;
}

static double field(const json *item, const char *key) {
  return json_number(json_member(item, key), 0);
}

static const char *word(const json *item, const char *key) {
  return json_string(json_member(item, key), "");
}

/* Element `index` of a list, where both may be anything. */
static const json *element(const json *values, double index) {
  return values && index >= 0 && index < (double)values->count ? &values->items[(size_t)index] : NULL;
}

/* "1x50x32" */
static void append_dims(text *out, const json *dims, const char *between) {
  for (size_t i = 0; dims && i < dims->count; i++)
    text_append(out, "%s%.0f", i ? between : "", json_number(&dims->items[i], 0));
}

static void append_type(text *out, const json *buffer) {
  text_append(out, "%s[", word(buffer, "dtype"));
  append_dims(out, json_member(buffer, "shape"), ",");
  text_append(out, "]");
}

static void end_line(text *line) {
  printf("%s\n", line->data ? line->data : "");
  line->length = 0;
}

/* ---- Sections ---- */

static void show_summary(const inspection *in, text *line) {
  const json *m = in->manifest, *target = json_member(m, "target"), *memory = json_member(m, "memory");
  printf("model '%s' for %s, written by pinion %s (schema %.0f)\n", word(m, "name"), word(target, "name"),
         word(json_member(m, "versions"), "pinion"), field(m, "schema"));
  if (field(target, "compute_capability") > 0)
    printf("needs    compute capability %.0f, driver %.0f.%.0f\n", field(target, "compute_capability"),
           (double)((int)field(target, "minimum_driver") / 1000),
           (double)((int)field(target, "minimum_driver") % 1000 / 10));
  static const char *const io[] = {"inputs", "outputs"};
  for (int k = 0; k < 2; k++)
    for (size_t i = 0; i < list(in, io[k])->count; i++) {
      const json *buffer = &list(in, io[k])->items[i];
      text_append(line, "%-8s %s ", k ? "output" : "input", word(buffer, "name"));
      append_type(line, buffer);
      end_line(line);
    }
  printf("memory   arena %.3f MiB, weights %.3f MiB, %zu buffers\n", field(memory, "arena_bytes") / (1 << 20),
         field(memory, "weights_bytes") / (1 << 20), list(in, "buffers")->count);
  printf("work     %zu launches of %zu kernels in %zu stages\n", list(in, "launches")->count,
         list(in, "kernels")->count, list(in, "stages")->count);
}

static void show_stages(const inspection *in, text *line) {
  const json *stages = list(in, "stages"), *launches = list(in, "launches");
  (void)line;
  for (size_t s = 0; s < stages->count; s++) {
    double flops = 0, bytes = 0, microseconds = 0, repeat = field(&stages->items[s], "repeat");
    for (size_t i = 0; i < launches->count; i++) {
      const json *launch = &launches->items[i];
      if (field(launch, "stage") != (double)s) continue;
      flops += field(launch, "flops"), bytes += field(launch, "bytes");
      microseconds += field(launch, "estimated_microseconds");
    }
    printf("  %-10s launches %4.0f .. %4.0f, %3.0f times: each %9.3f GFLOP, %9.3f MB moved%s",
           word(&stages->items[s], "name"), field(&stages->items[s], "first_launch"),
           field(&stages->items[s], "first_launch") + field(&stages->items[s], "launches") - 1, repeat, flops / 1e9,
           bytes / 1e6, microseconds > 0 ? "" : "\n");
    if (microseconds > 0) printf(", %.1f us estimated\n", microseconds);
  }
}

static void show_kernels(const inspection *in, text *line) {
  const json *kernels = list(in, "kernels"), *launches = list(in, "launches"), *stages = list(in, "stages");
  (void)line;
  for (size_t k = 0; k < kernels->count; k++) {
    double runs = 0, flops = 0;
    for (size_t i = 0; i < launches->count; i++) {
      const json *launch = &launches->items[i];
      if (field(launch, "kernel") != (double)k) continue;
      double repeat = json_number(json_member(element(stages, field(launch, "stage")), "repeat"), 1);
      runs += repeat, flops += repeat * field(launch, "flops");
    }
    printf("  %-36s %-10s tile %-14s %6.0f runs a call, %9.3f GFLOP  %s\n", word(&kernels->items[k], "name"),
           word(&kernels->items[k], "family"), json_string(json_member(&kernels->items[k], "tile"), "-"), runs,
           flops / 1e9, word(&kernels->items[k], "source"));
  }
}

/* What a launch computes with: "f32[1,4] = bf16[..], f32[..]". */
static void append_arguments(text *line, const inspection *in, const json *launch) {
  const json *arguments = json_member(launch, "arguments");
  size_t results = (size_t)field(launch, "results");
  for (size_t i = 0; arguments && i < arguments->count; i++) {
    text_append(line, "%s", i == 0 ? "" : i == results ? " = " : ", ");
    append_type(line, element(list(in, "buffers"), json_number(&arguments->items[i], -1)));
  }
}

static void append_nodes(text *line, const json *nodes, bool all) {
  for (size_t i = 0; nodes && i < nodes->count; i++) {
    if (i == SHOWN_NODES && !all) {
      text_append(line, " and %zu more", nodes->count - i);
      break;
    }
    text_append(line, "%s %s", i ? "," : "", json_string(&nodes->items[i], "?"));
  }
}

static void show_launches(const inspection *in, text *line) {
  const json *launches = list(in, "launches");
  for (size_t i = 0; i < launches->count; i++) {
    const json *launch = &launches->items[i];
    text_append(line, "  %4zu %-8s %s%s%s grid ", i, word(element(list(in, "stages"), field(launch, "stage")), "name"),
                word(launch, "family"), word(launch, "kind")[0] ? "." : "", word(launch, "kind"));
    append_dims(line, json_member(launch, "grid"), "x");
    text_append(line, " sizes ");
    append_dims(line, json_member(launch, "sizes"), "x");
    text_append(line, " after [");
    append_dims(line, json_member(launch, "after"), " ");
    text_append(line, "]  ");
    append_arguments(line, in, launch);
    end_line(line);
    text_append(line, "       %s:", word(element(list(in, "kernels"), field(launch, "kernel")), "name"));
    append_nodes(line, json_member(launch, "nodes"), in->all_nodes);
    end_line(line);
  }
}

static void show_memory(const inspection *in, text *line) {
  const json *buffers = list(in, "buffers");
  for (size_t i = 0; i < buffers->count; i++) {
    const json *buffer = &buffers->items[i];
    text_append(line, "  %4zu %-8s at %12.0f, %12.0f bytes, pitch %7.0f  ", i, word(buffer, "space"),
                field(buffer, "offset"), field(buffer, "bytes"), field(buffer, "pitch"));
    append_type(line, buffer);
    text_append(line, "%s%s  %s", word(buffer, "layout")[0] ? " " : "", word(buffer, "layout"), word(buffer, "name"));
    end_line(line);
  }
}

static void show_files(const inspection *in, text *line) {
  const json *files = list(in, "files");
  (void)line;
  for (size_t i = 0; i < files->count; i++)
    printf("  %12.0f bytes  %s  %s\n", field(&files->items[i], "bytes"), word(&files->items[i], "sha256"),
           word(&files->items[i], "path"));
}

static const struct {
  const char *name, *title;
  void (*show)(const inspection *in, text *line);
} sections[] = {
    {"summary", NULL, show_summary},
    {"stages", "stages", show_stages},
    {"kernels", "kernels", show_kernels},
    {"launches", "launches: stage, family, results = operands; kernel: ONNX nodes", show_launches},
    {"memory", "memory plan: space, offset, bytes", show_memory},
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
  const char *path = word(entry, "path");
  if (!path[0] || path[0] == '/' || strstr(path, ".."))
    return diagnose(in->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "the manifest names a file '%s' outside the artifact", path);
  status result = file_map(in->diagnostics, path_join(in->arena, in->folder, path), &file);
  if (result) return result;
  sha256_begin(&hash);
  sha256_add(&hash, file.bytes, file.size);
  sha256_end(&hash, digest);
  sha256_hex(digest, hex);
  if ((double)file.size != field(entry, "bytes"))
    result = diagnose(in->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "'%s' has %zu bytes, the manifest says %.0f", path,
                      file.size, field(entry, "bytes"));
  else if (strcmp(hex, word(entry, "sha256")))
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

static status print_manifest(diagnostics *d, const char *path) {
  mapped_file file;
  status result = file_map(d, path, &file);
  if (result) return result;
  fwrite(file.bytes, 1, file.size, stdout);
  file_unmap(&file);
  return STATUS_OK;
}

static status inspect(inspection *in, const flag_list *wanted, bool check, bool as_json) {
  const char *path = path_join(in->arena, in->folder, "manifest.json");
  json manifest;
  status result = json_read(in->diagnostics, in->arena, path, &manifest);
  if (result) return result;
  in->manifest = &manifest;
  if (field(&manifest, "schema") != MANIFEST_SCHEMA)
    return diagnose(in->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "the manifest has schema %.0f; this pinion reads %d",
                    field(&manifest, "schema"), MANIFEST_SCHEMA);
  if (as_json) return print_manifest(in->diagnostics, path);
  if (check) return check_files(in);
  show(in, wanted);
  return STATUS_OK;
}

int command_inspect(int argc, char **argv) {
  flag_list wanted = {0};
  bool check = false, as_json = false;
  diagnostics d = {0};
  inspection in = {.diagnostics = &d};
  const flag flags[] = {
      FLAG("section", FLAG_LIST, &wanted, "NAME", "only summary, stages, kernels, launches, memory or files (all)"),
      FLAG("nodes", FLAG_SWITCH, &in.all_nodes, NULL, "all ONNX nodes of every launch, not the first three"),
      FLAG("json", FLAG_SWITCH, &as_json, NULL, "prints the manifest"),
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
