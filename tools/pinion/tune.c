/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * pinion tune: measures the tiles that a target offers for the problems of an artifact (or for a list of shapes), and
 * writes the winners into a tuning file (codegen.h has its form). On the cpu a gemm is measured by itself, over dense
 * matrices of the problem's types and sizes; where the problem has a body, one that adds its operands up stands for it.
 * On a GPU the artifact's own call is measured (tune_device.h).
 */
#include "commands.h"
#include "flags.h"
#include "kernel_library.h"
#include "manifest.h"
#include "tune_device.h"

#include "runtime/tune.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define CANDIDATES_AT_MOST 16
#define WINS_BY 0.97 /* a tile that the model ranks lower must be clearly faster: noise would only add kernels */
#define FIELD_CAPACITY 512

typedef struct tuned {
  const char *key;  /* as kernel_problem_key writes it */
  const char *line; /* the whole line of the file; NULL until measured */
} tuned;

typedef struct tuner {
  const struct target *target;
  arena *arena;
  pinion_thread_pool *pool;
  diagnostics diagnostics;
  double milliseconds;
  const char *device, *toolchain;
  tuned *entries;
  int count;
  size_t capacity;
} tuner;

typedef struct tune_flags {
  const char *shapes, *type, *output, *target, *only;
  int64_t milliseconds, rounds;
  artifact_flags artifact;
} tune_flags;

/* ---- Problems from keys ---- */

/* "1x1x768x1x3456x1x1152": so many numbers. */
static bool parse_sizes(const char *word, int count, int64_t *sizes) {
  for (int d = 0; d < count; d++) {
    char *end;
    sizes[d] = strtoll(word, &end, 10);
    if (end == word || sizes[d] < 1 || *end != (d < count - 1 ? 'x' : '\0')) return false;
    word = end + 1;
  }
  return true;
}

/* r = x0 + x1 + ..: what stands for the problem's own body. */
static void sum_body(kernel_problem *problem) {
  body *b = &problem->body;
  problem->has_body = true;
  b->input_count = problem->params.arg_count - 2;
  b->input_dtypes[0] = PINION_DTYPE_f32;
  b->result_count = 1;
  b->result_dtypes[0] = problem->dtypes[0];
  b->results[0] = (body_operand){.kind = BODY_INPUT};
  for (int i = 1; i < b->input_count; i++) {
    b->input_dtypes[i] = problem->dtypes[i + 2];
    body_instruction *add = &b->instructions[b->instruction_count++];
    *add = (body_instruction){.operation = "add", .dtype = PINION_DTYPE_f32, .operand_count = 2};
    add->operands[0] = b->results[0];
    add->operands[1] = (body_operand){.kind = BODY_INPUT, .index = i};
    b->results[0] = (body_operand){.kind = BODY_VALUE, .index = i - 1};
  }
}

/* The inverse of kernel_problem_key, with dense matrices and one result. NULL, or why the key cannot be measured. */
static const char *parse_key(const char *key, kernel_problem *out_problem) {
  char copy[FIELD_CAPACITY], *rest = copy;
  pinion_dtype dtypes[PINION_MAX_ARGS];
  int64_t sizes[PINION_GEMM_RANK];
  int count = 0;
  bool is_packed = false, has_body = false, sized = false;
  snprintf(copy, sizeof copy, "%s", key);
  const char *family = strtok_r(rest, " ", &rest);
  if (!family || strcmp(family, "gemm")) return "only gemm has tiles to choose from";
  for (char *word; (word = strtok_r(rest, " ", &rest)) && !sized;) {
    if (strchr(word, '=')) return "only ordinary products are measured";
    if (!strcmp(word, "packed"))
      is_packed = true;
    else if (!strcmp(word, "body"))
      has_body = true;
    else if (count < PINION_MAX_ARGS && dtype_from_name(word, &dtypes[count]))
      count++;
    else if (!(sized = parse_sizes(word, PINION_GEMM_RANK, sizes)))
      return "it is not a problem's key";
  }
  if (!sized || count < 3) return "it is not a problem's key";
  if (!is_packed || sizes[PINION_GEMM_B0] != 1 || sizes[PINION_GEMM_B1] != 1 || sizes[PINION_GEMM_H] != 1 ||
      sizes[PINION_GEMM_P] != 1)
    return "only ordinary products with packed weights are measured";
  *out_problem = gemm_problem(sizes[PINION_GEMM_M], sizes[PINION_GEMM_N], sizes[PINION_GEMM_K], dtypes);
  out_problem->params.arg_count = count;
  for (int i = 0; i < count; i++) {
    if (!dtype_is_float(dtypes[i]) || dtypes[i] == PINION_DTYPE_f64)
      return "one of its types is not computed in float32";
    out_problem->dtypes[i] = dtypes[i];
    if (i > 2)
      memcpy(out_problem->params.stride[i], out_problem->params.stride[0], sizeof out_problem->params.stride[i]);
  }
  if (has_body) sum_body(out_problem);
  return NULL;
}

/* ---- Measuring ---- */

/* One library with a kernel for each candidate; the fastest by its best time. */
static bool measure_candidates(tuner *t, const kernel_problem *problem, const char **tiles, int count,
                               const char **out_tile, double *out_best) {
  kernel_library library;
  kernel_choice choices[CANDIDATES_AT_MOST] = {0};
  void *args[PINION_MAX_ARGS] = {NULL};
  char name[32];
  const char *why = "";
  bool good = gemm_allocate(t->target, problem, args) && kernel_library_begin(&library, t->target, kernel_compiler());
  if (!good) return false;
  for (int i = 3; i < problem->params.arg_count; i++)
    args[i] = calloc((size_t)(problem->params.size[PINION_GEMM_M] * problem->params.size[PINION_GEMM_N]), 4);
  for (int i = 0; i < count && good; i++) {
    snprintf(name, sizeof name, "candidate_%d", i);
    good = t->target->choose(t->arena, problem, tiles[i], &choices[i], &why) &&
           kernel_library_add(&library, problem, &choices[i], name);
  }
  good = good && kernel_library_build(&library);
  for (int i = 0; i < count && good; i++) {
    kernel_timing timing;
    snprintf(name, sizeof name, "candidate_%d", i);
    const kernel_launch launch = {kernel_library_find(&library, name), &problem->params, args, choices[i].grid[0],
                                  choices[i].dynamic_shared_bytes};
    good = kernel_measure(t->pool, &launch, t->milliseconds, &timing);
    if (good && (!*out_tile || timing.best < WINS_BY * *out_best)) {
      *out_tile = tiles[i];
      *out_best = timing.best;
    }
    if (good) fprintf(stderr, "  %-24s %10.1f us\n", tiles[i], timing.best);
  }
  for (int i = 0; i < count; i++) text_free(&choices[i].defines);
  for (int i = 3; i < problem->params.arg_count; i++) free(args[i]);
  gemm_free(args);
  kernel_library_end(&library);
  return good;
}

/* The candidates worth measuring: within eight times of the model's best. */
static int worthwhile(tuner *t, const kernel_problem *problem, const char **tiles) {
  const int count = t->target->candidates(problem, tiles, CANDIDATES_AT_MOST);
  double best = 0;
  for (int i = 0; i < count; i++) {
    kernel_choice choice = {0};
    const char *why;
    if (!t->target->choose(t->arena, problem, tiles[i], &choice, &why)) return i;
    text_free(&choice.defines);
    if (i == 0) best = choice.cost;
    if (choice.cost > 8 * best) return i;
  }
  return count;
}

static status tune_entry(tuner *t, tuned *entry) {
  const char *tiles[CANDIDATES_AT_MOST], *winner = NULL;
  kernel_problem *problem = arena_alloc(t->arena, sizeof *problem);
  double best = 0;
  const char *why = parse_key(entry->key, problem);
  if (why) {
    fprintf(stderr, "%s: left to the cost model: %s\n", entry->key, why);
    return STATUS_OK;
  }
  fprintf(stderr, "%s\n", entry->key);
  if (!measure_candidates(t, problem, tiles, worthwhile(t, problem, tiles), &winner, &best))
    return diagnose(&t->diagnostics, STATUS_FAILED, NULL, NULL, "'%s' could not be measured", entry->key);
  entry->line = arena_format(t->arena, PINION_TUNE_LINE, entry->key, winner, best, t->device, t->toolchain);
  return STATUS_OK;
}

/* ---- What to tune ---- */

/* The entry of a key, added if it is new. */
static tuned *entry_of(tuner *t, const char *key, size_t length) {
  for (int i = 0; i < t->count; i++)
    if (strlen(t->entries[i].key) == length && !memcmp(t->entries[i].key, key, length)) return &t->entries[i];
  t->entries = arena_grow(t->arena, t->entries, (size_t)t->count, &t->capacity, sizeof *t->entries);
  t->entries[t->count] = (tuned){.key = arena_string(t->arena, key, length)};
  return &t->entries[t->count++];
}

/* Every launch of the artifact's manifest has a line with `"problem": "KEY"`. */
static status add_artifact(tuner *t, const char *folder) {
  static const char mark[] = "\"problem\": \"";
  mapped_file file;
  const status result = file_map(&t->diagnostics, path_join(t->arena, folder, "manifest.json"), &file);
  if (result != STATUS_OK) return result;
  const char *manifest = arena_string(t->arena, (const char *)file.bytes, file.size);
  file_unmap(&file);
  for (const char *at = manifest; (at = strstr(at, mark));) {
    at += strlen(mark);
    if (!strncmp(at, "gemm packed", strlen("gemm packed"))) entry_of(t, at, strcspn(at, "\""));
  }
  return STATUS_OK;
}

/* "768x3456x1152,51x1024x2048": M x N x K, float32 results and operands, weights of the type given. */
static status add_shapes(tuner *t, const char *shapes, const char *type) {
  for (const char *at = shapes; *at;) {
    const size_t length = strcspn(at, ",");
    const char *shape = arena_string(t->arena, at, length), *key = "";
    int64_t sizes[3];
    kernel_problem problem;
    if (parse_sizes(shape, 3, sizes))
      key = arena_format(t->arena, "gemm packed f32 f32 %s 1x1x%lldx1x%lldx1x%lld", type, (long long)sizes[0],
                         (long long)sizes[1], (long long)sizes[2]);
    if (parse_key(key, &problem))
      return diagnose(&t->diagnostics, STATUS_USAGE, NULL, NULL,
                      "--shapes: '%s' of type '%s': expected MxNxK and a float type", shape, type);
    entry_of(t, key, strlen(key));
    at += length + (at[length] == ',');
  }
  return STATUS_OK;
}

/* Lines of an existing file are kept, but for problems that are measured again. */
static status add_existing(tuner *t, const char *path) {
  mapped_file file;
  if (!file_exists(path)) return STATUS_OK;
  const status result = file_map(&t->diagnostics, path, &file);
  if (result != STATUS_OK) return result;
  const char *line = arena_string(t->arena, (const char *)file.bytes, file.size);
  file_unmap(&file);
  for (size_t length; *line; line += length) {
    length = strcspn(line, "\n");
    length += line[length] == '\n';
    const char *bar = memchr(line, '|', length);
    if (*line == '#' || !bar) continue;
    size_t key_length = (size_t)(bar - line);
    while (key_length && line[key_length - 1] == ' ') key_length--;
    tuned *entry = entry_of(t, line, key_length);
    if (!entry->line) entry->line = arena_string(t->arena, line, length);
  }
  return STATUS_OK;
}

/* ---- Machine and toolchain ---- */

/* First line that a stream gives after `prefix`, without bars, which would end a field. */
static const char *first_line(arena *a, FILE *stream, const char *prefix, const char *otherwise) {
  char line[FIELD_CAPACITY];
  while (stream && fgets(line, sizeof line, stream)) {
    if (strncmp(line, prefix, strlen(prefix))) continue;
    const char *value = line + strlen(prefix);
    value += strspn(value, " \t:");
    for (char *c = line; *c; c++)
      if (*c == '|' || *c == '\n') *c = *c == '|' ? '/' : '\0';
    return arena_string(a, value, strlen(value));
  }
  return otherwise;
}

static const char *device_name(arena *a, uint32_t threads) {
  struct utsname system;
  FILE *stream = fopen("/proc/cpuinfo", "r");
  const char *machine = uname(&system) == 0 ? arena_string(a, system.machine, strlen(system.machine)) : "cpu";
  const char *model = first_line(a, stream, "model name", machine);
  if (stream) fclose(stream);
  return arena_format(a, "%s, %u thread%s", model, threads, threads == 1 ? "" : "s");
}

static const char *toolchain_name(arena *a) {
  FILE *stream = popen(arena_format(a, "%s --version", kernel_compiler()), "r");
  const char *name = first_line(a, stream, "", kernel_compiler());
  if (stream) pclose(stream);
  return name;
}

/* ---- The command ---- */

static int by_key(const void *a, const void *b) {
  return strcmp(((const tuned *)a)->key, ((const tuned *)b)->key);
}

static status write_file(tuner *t, const char *path) {
  text out = {0};
  text_append(&out, PINION_TUNE_HEADER);
  qsort(t->entries, (size_t)t->count, sizeof *t->entries, by_key);
  for (int i = 0; i < t->count; i++)
    if (t->entries[i].line) text_append(&out, "%s", t->entries[i].line);
  const status result = file_write(&t->diagnostics, path, out.data, out.length);
  text_free(&out);
  return result;
}

/* tuned_line */
static void add_line(void *user, const char *key, const char *line) {
  entry_of(user, key, strlen(key))->line = line;
}

/* Tiles of kernels that the C compiler builds, one after another on this machine's cores. */
static status tune_alone(tuner *t, const tune_flags *f, const char *folder) {
  t->pool = pinion_thread_pool_create((uint32_t)f->artifact.threads);
  if (!t->pool) return diagnose(&t->diagnostics, STATUS_FAILED, NULL, NULL, "no threads can be had");
  t->device = device_name(t->arena, (uint32_t)f->artifact.threads);
  t->toolchain = toolchain_name(t->arena);
  status result = folder ? add_artifact(t, folder) : STATUS_OK;
  if (result == STATUS_OK && f->shapes) result = add_shapes(t, f->shapes, f->type);
  const int measured = t->count;
  for (int i = 0; i < measured && result == STATUS_OK; i++) result = tune_entry(t, &t->entries[i]);
  pinion_thread_pool_destroy(t->pool);
  return result;
}

static status tune(tuner *t, const tune_flags *f, const char *folder, const char *output) {
  status result =
      t->target->kernel_flags ? tune_alone(t, f, folder)
      : folder ? tune_device(&t->diagnostics, t->arena, folder, &f->artifact, (uint32_t)f->rounds, f->only, add_line, t)
               : diagnose(&t->diagnostics, STATUS_USAGE, NULL, NULL,
                          "target %s is tuned inside an artifact: give its folder", t->target->name);
  const int measured = t->count;
  if (result == STATUS_OK) result = add_existing(t, output);
  if (result == STATUS_OK) result = write_file(t, output);
  if (result == STATUS_OK) printf("%d problems, %s\n", measured, output);
  return result;
}

/* --target, else the artifact's, else cpu. */
static const char *target_name(tuner *t, const tune_flags *f, const char *folder) {
  json manifest;
  if (f->target || !folder) return f->target ? f->target : "cpu";
  if (manifest_read(&t->diagnostics, t->arena, folder, &manifest) != STATUS_OK) return NULL;
  return manifest_word(json_member(&manifest, "target"), "name");
}

static status run(tuner *t, tune_flags *f, const char *folder) {
  const char *target = target_name(t, f, folder);
  if (!target) return STATUS_BAD_INPUT;
  t->target = target_find(target);
  t->milliseconds = (double)f->milliseconds;
  if (!t->target) return diagnose(&t->diagnostics, STATUS_USAGE, NULL, NULL, "there is no target '%s'", target);
  if (!folder && !f->shapes)
    return diagnose(&t->diagnostics, STATUS_USAGE, NULL, NULL,
                    "nothing to tune: give an artifact's folder or --shapes");
  if (!f->artifact.threads) f->artifact.threads = pinion_core_count();
  if (f->artifact.threads < 1 || f->artifact.threads > PINION_MAX_THREADS)
    return diagnose(&t->diagnostics, STATUS_USAGE, NULL, NULL, "--threads must be 1 to %d", PINION_MAX_THREADS);
  if (f->rounds < 1 || f->rounds > PINION_TUNE_ROUNDS_AT_MOST)
    return diagnose(&t->diagnostics, STATUS_USAGE, NULL, NULL, "--rounds must be 1 to %d", PINION_TUNE_ROUNDS_AT_MOST);
  return tune(t, f, folder, f->output ? f->output : arena_format(t->arena, "%s.tuning", target));
}

int command_tune(int argc, char **argv) {
  tune_flags f = {.type = "f32", .milliseconds = 200, .rounds = PINION_TUNE_ROUNDS};
  const char *folder = NULL;
  int exit_status;
  const flag flags[] = {
      FLAG("output", FLAG_STRING, &f.output, "FILE", "tuning file to write or to add to (TARGET.tuning)",
           .short_name = "o"),
      FLAG("target", FLAG_STRING, &f.target, "NAME", "whose tiles (the artifact's target; cpu)"),
      FLAG("rounds", FLAG_INTEGER, &f.rounds, "N", "GPU: pairs of replays for each tile (40)"),
      FLAG("only", FLAG_STRING, &f.only, "TEXT", "GPU: problems whose line in the file contains this (all)"),
      FLAG("shapes", FLAG_STRING, &f.shapes, "MxNxK,..", "cpu: gemms to measure, beside or instead of an artifact's"),
      FLAG("type", FLAG_STRING, &f.type, "TYPE", "cpu: weights' type of --shapes (f32)"),
      FLAG("milliseconds", FLAG_INTEGER, &f.milliseconds, "N", "cpu: to measure each tile for (200)"),
      ARTIFACT_FLAGS(&f.artifact),
  };
  const command_syntax syntax = {
      "tune",
      "[DIR]",
      "Measures tiles for the problems of an artifact on this machine, and writes the tuning file that\n`pinion "
      "compile "
      "--timing-cache=FILE` reads.",
      flags,
      FLAG_COUNT(flags),
      0,
      1,
      "On a GPU the artifact must hold the tiles to measure (pinion compile --candidates=3). Each takes the places of "
      "its\nproblem's launches in the artifact's own call, and the two calls are replayed in turn. On a board without "
      "Pinion,\n`make tune && ./tune > FILE` in the artifact's folder does the same."};
  if (!flags_parse(&syntax, argc, argv, &folder, &exit_status)) return exit_status;
  tuner t = {.arena = arena_create()};
  const status result = run(&t, &f, folder);
  arena_destroy(t.arena);
  return result;
}
