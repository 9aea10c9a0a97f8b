/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What pinion inspect shows, as one HTML page with plots: from manifest.json alone, so of any target, and from a
   profile or a bench where one was saved. */
#include "commands.h"
#include "flags.h"
#include "html.h"
#include "tables.h"

#include <stdlib.h>
#include <string.h>

typedef struct report {
  const char *folder, *profile_path, *bench_path;
  diagnostics diagnostics;
  arena *arena;
  json manifest, bench; /* bench: JSON_NULL without one */
  double *measured;     /* microseconds of each launch in one call; NULL without a profile */
  double replay;        /* microseconds, of the profile */
  work_tables tables;
  const char **stage_names, **kind_names, **kind_colours;
} report;

static const json *list(const report *r, const char *key) {
  return manifest_list(&r->manifest, key);
}

/* ---- Measurements ---- */

static status check_same_model(report *r, const json *saved, const char *path) {
  const char *target = manifest_word(json_member(&r->manifest, "target"), "name");
  if (!strcmp(manifest_word(saved, "model"), manifest_word(&r->manifest, "name")) &&
      !strcmp(manifest_word(saved, "target"), target))
    return STATUS_OK;
  return diagnose(&r->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "'%s' is of model '%s' for %s", path,
                  manifest_word(saved, "model"), manifest_word(saved, "target"));
}

static status read_profile(report *r) {
  json saved;
  status result = json_read(&r->diagnostics, r->arena, r->profile_path, &saved);
  if (result == STATUS_OK) result = check_same_model(r, &saved, r->profile_path);
  if (result != STATUS_OK) return result;
  const json *launches = manifest_list(&saved, "launches");
  const size_t count = list(r, "launches")->count;
  r->measured = arena_alloc(r->arena, (count + 1) * sizeof *r->measured);
  r->replay = manifest_number(&saved, "replay_microseconds");
  for (size_t i = 0; i < launches->count; i++) {
    const double launch = json_number(json_member(&launches->items[i], "launch"), -1);
    if (launch < 0 || launch >= (double)count)
      return diagnose(&r->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "'%s' has a launch that the artifact has not",
                      r->profile_path);
    r->measured[(size_t)launch] += manifest_number(&launches->items[i], "microseconds");
  }
  return launches->count ? STATUS_OK
                         : diagnose(&r->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                                    "'%s' is no saved profile: it lists no launches", r->profile_path);
}

static status read_bench(report *r) {
  const status result = json_read(&r->diagnostics, r->arena, r->bench_path, &r->bench);
  if (result != STATUS_OK) return result;
  if (!json_member(&r->bench, "replay_us"))
    return diagnose(&r->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "'%s' is no saved bench: it lacks replay_us",
                    r->bench_path);
  return check_same_model(r, &r->bench, r->bench_path);
}

/* ---- Head ---- */

static const char style[] =
    "body{font:14px/1.45 system-ui,sans-serif;color:#1d2126;background:#fff;margin:2rem auto;max-width:960px;"
    "padding:0 1rem}\n"
    "h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid #d8dbe0;"
    "padding-bottom:.25rem}\n"
    "p.lead{color:#555c66;margin:.2rem 0 1rem}figure{margin:1rem 0}figcaption{font-weight:600;margin-bottom:.3rem}"
    "small{color:#555c66;font-weight:400}\n"
    "table{border-collapse:collapse;width:100%;margin:.6rem 0}th,td{padding:.2rem .5rem;text-align:left;"
    "vertical-align:top;border-bottom:1px solid #e8eaee}\n"
    "th{font-weight:600;color:#555c66}.number,th.number{text-align:right;font-variant-numeric:tabular-nums;"
    "white-space:nowrap}tr.sum td{font-weight:600}tr.moves td{color:#6a7079}\n"
    "svg{width:100%;height:auto;display:block}svg text{font-size:12px;fill:#1d2126}svg text.left{text-anchor:end}"
    "svg text.legend{fill:#555c66}\n"
    "svg .grid{stroke:#e3e6ea}svg .stage{stroke:#8b929b;stroke-dasharray:3 3}svg .box{stroke:#fff;stroke-width:.4;"
    "opacity:.88}\n"
    "details{border-bottom:1px solid #e8eaee;padding:.15rem 0}summary{cursor:pointer}details p{margin:.2rem 0 .2rem "
    "1rem;overflow-wrap:anywhere}code{font-size:12px}.cards{display:flex;flex-wrap:wrap;gap:.6rem}\n"
    ".cards div{border:1px solid #d8dbe0;border-radius:6px;padding:.45rem .8rem;min-width:7rem}.cards b{display:block;"
    "font-size:1.15rem}\n"
    "figure{overflow-x:auto}svg{min-width:40rem}\n" /* on a narrow screen they scroll by themselves */
    "@media(max-width:44rem){table{display:block;overflow-x:auto}td{white-space:nowrap}}\n";

static void append_card(text *out, figure_kind kind, double value, const char *title) {
  const figure_unit in = html_unit(kind, value);
  text_append(out, "<div><b>");
  html_append_readable(out, value / in.size);
  text_append(out, "</b><small>%s%s%s</small></div>\n", in.name, *in.name ? " " : "", title);
}

static void append_cards(const report *r, text *out) {
  const json *memory = json_member(&r->manifest, "memory");
  const work_sum *total = &r->tables.total;
  text_append(out, "<div class=\"cards\">\n");
  append_card(out, FIGURE_COUNT, manifest_number(json_member(&r->manifest, "onnx"), "count"), "ONNX nodes");
  append_card(out, FIGURE_COUNT, total->launches, "launches");
  append_card(out, FIGURE_COUNT, total->executed, "executed in a call");
  append_card(out, FIGURE_COUNT, r->tables.moved.executed, "of them only move data");
  append_card(out, FIGURE_FLOPS, total->flops, "a call");
  append_card(out, FIGURE_BYTES, total->bytes, "moved a call");
  append_card(out, FIGURE_BYTES, manifest_number(memory, "arena_bytes"), "of arena");
  append_card(out, FIGURE_BYTES, manifest_number(memory, "weights_bytes"), "of weights");
  if (r->measured) append_card(out, FIGURE_TIME, r->replay, "a replay, profiled");
  text_append(out, "</div>\n");
}

static void append_bench(const report *r, text *out) {
  static const struct {
    const char *key, *title;
  } rows[] = {{"replay_us", "replay (device)"}, {"run_us", "run (wall)"}, {"end_to_end_us", "end to end (wall)"}};
  static const char *const columns[] = {"p50", "p90", "p99"};
  if (r->bench.kind == JSON_NULL) return;
  text_append(out, "<h2>Latency</h2>\n<table id=\"latency\"><tr><th>ms</th><th class=\"number\">p50</th>"
                   "<th class=\"number\">p90</th><th class=\"number\">p99</th></tr>\n");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const json *row = json_member(&r->bench, rows[i].key);
    if (!row) continue;
    text_append(out, "<tr>");
    html_append_element(out, "td", "", rows[i].title);
    for (size_t k = 0; k < 3; k++) html_append_number(out, manifest_number(row, columns[k]), 1e3);
    text_append(out, "</tr>\n");
  }
  text_append(out, "</table>\n");
}

static void append_io(const report *r, const char *key, text *out) {
  for (size_t i = 0; i < list(r, key)->count; i++) {
    text type = {0};
    manifest_append_type(&type, &list(r, key)->items[i]);
    text_append(out, "<tr>");
    html_append_element(out, "td", "", strcmp(key, "inputs") == 0 ? "input" : "output");
    html_append_element(out, "td", "", manifest_word(&list(r, key)->items[i], "name"));
    html_append_element(out, "td", "", type.data ? type.data : "");
    text_append(out, "</tr>\n");
    text_free(&type);
  }
}

static void append_head(const report *r, text *out) {
  const json *m = &r->manifest;
  text_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"/>"
                   "<meta name=\"viewport\" content=\"width=device-width\"/>");
  html_append_element(out, "title", "", arena_format(r->arena, "%s: pinion report", manifest_word(m, "name")));
  text_append(out, "<style>\n%s</style></head>\n<body>\n", style);
  html_append_element(out, "h1", "", manifest_word(m, "name"));
  html_append_element(out, "p", "class=\"lead\"",
                      arena_format(r->arena, "for %s, compiled by Pinion %s",
                                   manifest_word(json_member(m, "target"), "name"),
                                   manifest_word(json_member(m, "versions"), "pinion")));
  append_cards(r, out);
  text_append(out, "<table>\n");
  append_io(r, "inputs", out);
  append_io(r, "outputs", out);
  text_append(out, "</table>\n");
  append_bench(r, out);
}

/* ---- ONNX nodes ---- */

/* The parts of the chart of nodes: what they ended in or after, each once, and its part of each end. */
typedef struct node_parts {
  size_t count;
  const char **names, **colours; /* [count] */
  size_t *part_of;               /* per entry of the account */
} node_parts;

static node_parts find_node_parts(const report *r, const json *ends) {
  node_parts parts = {.names = arena_alloc(r->arena, (ends->count + 1) * sizeof *parts.names),
                      .colours = arena_alloc(r->arena, (ends->count + 1) * sizeof *parts.colours),
                      .part_of = arena_alloc(r->arena, (ends->count + 1) * sizeof *parts.part_of)};
  for (size_t i = 0; i < ends->count; i++) {
    const char *by = manifest_word(&ends->items[i], "by"), *name = *by ? by : "launches";
    size_t part = 0;
    while (part < parts.count && strcmp(parts.names[part], name) != 0) part++;
    parts.part_of[i] = part;
    if (part < parts.count) continue;
    parts.names[part] = name;
    parts.colours[part] = *by ? html_colour(part) : "#2b4a6f";
    parts.count++;
  }
  return parts;
}

static void append_nodes(const report *r, text *out) {
  static const char *const hows[] = {"launch", "view", "folded", "dead"};
  static const char *const means[] = {"in a launch", "view", "folded", "dead"};
  enum { HOWS = sizeof hows / sizeof *hows };
  const json *onnx = json_member(&r->manifest, "onnx"), *ends = manifest_list(onnx, "ends");
  const node_parts parts = find_node_parts(r, ends);
  double *values = arena_alloc(r->arena, (HOWS * parts.count + 1) * sizeof *values);
  for (size_t i = 0; i < ends->count; i++)
    for (size_t h = 0; h < HOWS; h++)
      if (!strcmp(manifest_word(&ends->items[i], "how"), hows[h]))
        values[h * parts.count + parts.part_of[i]] += manifest_number(&ends->items[i], "count");
  const bar_chart chart = {.id = "nodes",
                           .title = "What became of the model's nodes",
                           .caption = "nodes, by the pass after which they were gone",
                           .row_count = HOWS,
                           .part_count = parts.count,
                           .rows = means,
                           .parts = parts.names,
                           .colours = parts.colours,
                           .values = values};
  text_append(out, "<h2>ONNX nodes</h2>\n<p>Each node of the model is in a launch; or a view, which a launch reads or "
                   "writes through; or folded, computed at compile time; or dead, because nothing needs it.</p>\n");
  html_append_bars(out, &chart);
  text_append(out, "<table id=\"account\"><tr><th>end</th><th>after</th><th class=\"number\">nodes</th></tr>\n");
  for (size_t h = 0; h < HOWS; h++)
    for (size_t i = 0; i < ends->count; i++) {
      if (strcmp(manifest_word(&ends->items[i], "how"), hows[h]) != 0) continue;
      text_append(out, "<tr>");
      html_append_element(out, "td", "", means[h]);
      html_append_element(out, "td", "", manifest_word(&ends->items[i], "by"));
      html_append_number(out, manifest_number(&ends->items[i], "count"), 1);
      text_append(out, "</tr>\n");
    }
  text_append(out, "<tr class=\"sum\"><td>all</td><td></td>");
  html_append_number(out, manifest_number(onnx, "count"), 1);
  text_append(out, "</tr></table>\n");
}

/* ---- Work ---- */

static double sum_flops(const work_sum *sum) {
  return sum->flops;
}
static double sum_bytes(const work_sum *sum) {
  return sum->bytes;
}
static double sum_executed(const work_sum *sum) {
  return sum->executed;
}
static double sum_measured(const work_sum *sum) {
  return sum->measured;
}

static const struct metric {
  const char *id, *title, *caption;
  figure_kind kind;
  double (*value)(const work_sum *sum);
} metrics[] = {
    {"flops", "Arithmetic", "a call", FIGURE_FLOPS, sum_flops},
    {"bytes", "Memory traffic", "a call", FIGURE_BYTES, sum_bytes},
    {"executed", "Launches", "executed in a call", FIGURE_COUNT, sum_executed},
    {"measured", "Time", "a call, profiled launch by launch", FIGURE_TIME, sum_measured},
};

/* Stages, their bars made of kinds; or kinds, each a bar. */
static void append_work_chart(const report *r, const struct metric *metric, bool by_stage, text *out) {
  const work_tables *t = &r->tables;
  const size_t rows = by_stage ? t->stage_count : t->kind_count;
  double *values = arena_alloc(r->arena, (rows * t->kind_count + 1) * sizeof *values);
  for (size_t k = 0; k < t->kind_count; k++)
    for (size_t s = 0; s < t->stage_count; s++)
      values[(by_stage ? s : k) * t->kind_count + k] += metric->value(&t->cells[k * t->stage_count + s]);
  const bar_chart chart = {.id = arena_format(r->arena, "%s-by-%s", metric->id, by_stage ? "stage" : "kind"),
                           .title = arena_format(r->arena, "%s by %s", metric->title, by_stage ? "stage" : "kind"),
                           .caption = metric->caption,
                           .kind = metric->kind,
                           .row_count = rows,
                           .part_count = t->kind_count,
                           .rows = by_stage ? r->stage_names : r->kind_names,
                           .parts = r->kind_names,
                           .colours = r->kind_colours,
                           .values = values};
  html_append_bars(out, &chart);
}

/* What the figures of the tables are in: those of all launches decide. */
typedef struct work_units {
  figure_unit flops, bytes, estimated, measured;
} work_units;

static work_units find_units(const work_sum *total) {
  return (work_units){.flops = html_unit(FIGURE_FLOPS, total->flops),
                      .bytes = html_unit(FIGURE_BYTES, total->bytes),
                      .estimated = html_unit(FIGURE_TIME, total->estimated),
                      .measured = html_unit(FIGURE_TIME, total->measured)};
}

static void append_work_row(const report *r, const char *name, const char *class_name, const work_sum *sum, text *out) {
  const work_units in = find_units(&r->tables.total);
  text_append(out, "<tr%s>", class_name);
  html_append_element(out, "td", "", name);
  html_append_number(out, sum->launches, 1);
  html_append_number(out, sum->executed, 1);
  html_append_number(out, sum->flops, in.flops.size);
  html_append_number(out, sum->bytes, in.bytes.size);
  if (sum->estimated > 0)
    html_append_number(out, sum->estimated, in.estimated.size);
  else
    text_append(out, "<td class=\"number\" data-value=\"0\">-</td>"); /* the target has no estimate */
  if (r->measured) html_append_number(out, sum->measured, in.measured.size);
  text_append(out, "</tr>\n");
}

static void append_work_table(const report *r, const char *id, const char *title, size_t count, const work_row *rows,
                              const char *const *names, text *out) {
  const work_units in = find_units(&r->tables.total);
  text_append(out,
              "<table id=\"%s\"><tr><th>%s</th><th class=\"number\">launches</th><th class=\"number\">executed</th>"
              "<th class=\"number\">%s</th><th class=\"number\">%s moved</th><th class=\"number\">%s estimated</th>",
              id, title, in.flops.name, in.bytes.name, in.estimated.name);
  if (r->measured) text_append(out, "<th class=\"number\">%s measured</th>", in.measured.name);
  text_append(out, "</tr>\n");
  for (size_t i = 0; i < count; i++)
    append_work_row(r, names[i], rows[i].moves_data ? " class=\"moves\"" : "", &rows[i].sum, out);
  append_work_row(r, "all", " class=\"sum\"", &r->tables.total, out);
  text_append(out, "</table>\n");
}

static void append_work(const report *r, text *out) {
  const work_tables *t = &r->tables;
  const size_t count = sizeof metrics / sizeof *metrics - (r->measured ? 0 : 1);
  text_append(out, "<h2>Work by stage</h2>\n");
  for (size_t i = 0; i < count; i++) append_work_chart(r, &metrics[i], true, out);
  append_work_table(r, "stages", "stage", t->stage_count, t->stages, r->stage_names, out);
  text_append(out, "<h2>Work by kind of launch</h2>\n<p>In grey: kinds that only move data.</p>\n");
  for (size_t i = 0; i < count; i++) append_work_chart(r, &metrics[i], false, out);
  append_work_table(r, "kinds", "kind", t->kind_count, t->kinds, r->kind_names, out);
}

/* ---- Memory ---- */

static void append_memory(const report *r, text *out) {
  const json *buffers = list(r, "buffers"), *stages = list(r, "stages");
  memory_plan plan;
  memory_plan_read(r->arena, &r->manifest, &plan);
  memory_box *boxes = arena_alloc(r->arena, (buffers->count + 1) * sizeof *boxes);
  double *stage_first = arena_alloc(r->arena, (stages->count + 1) * sizeof *stage_first);
  size_t count = 0;
  for (size_t s = 0; s < stages->count; s++) stage_first[s] = manifest_number(&stages->items[s], "first_launch");
  for (size_t i = 0; i < buffers->count; i++) {
    const json *buffer = &buffers->items[i];
    if (!plan.lives[i].is_used) continue;
    text type = {0};
    manifest_append_type(&type, buffer);
    boxes[count] =
        (memory_box){.label = arena_format(r->arena, "%s %s, %.0f bytes, launches %zu to %zu",
                                           manifest_word(buffer, "name"), type.data ? type.data : "",
                                           manifest_number(buffer, "bytes"), plan.lives[i].first, plan.lives[i].last),
                     .colour = html_colour(count),
                     .first = (double)plan.lives[i].first,
                     .last = (double)plan.lives[i].last,
                     .offset = manifest_number(buffer, "offset"),
                     .bytes = manifest_number(buffer, "bytes")};
    count++;
    text_free(&type);
  }
  const memory_chart chart = {.launch_count = (double)list(r, "launches")->count,
                              .bytes = manifest_number(json_member(&r->manifest, "memory"), "arena_bytes"),
                              .box_count = count,
                              .stage_count = stages->count,
                              .boxes = boxes,
                              .stages = r->stage_names,
                              .stage_first = stage_first};
  text_append(out, "<h2>Memory</h2>\n");
  html_append_memory(out, &chart);
  text_append(out, "<p>At most ");
  html_append_readable(out, plan.peak);
  text_append(out, " of the arena's ");
  html_append_readable(out, chart.bytes);
  text_append(out, " bytes are in use at once, in launch %zu.</p>\n", plan.peak_launch);
}

/* ---- Passes ---- */

static void append_passes(const report *r, text *out) {
  static const char *const parts[] = {"ops that stay", "ops removed", "ops added"};
  static const char *const colours[] = {"#2f6db3", "#e7b9a5", "#4a9a58"};
  const json *passes = list(r, "passes");
  const char **names = arena_alloc(r->arena, (passes->count + 1) * sizeof *names);
  const char **notes = arena_alloc(r->arena, (passes->count + 1) * sizeof *notes);
  double *values = arena_alloc(r->arena, (3 * passes->count + 1) * sizeof *values);
  for (size_t i = 0; i < passes->count; i++) {
    const double before = manifest_number(&passes->items[i], "ops_before");
    const double after = manifest_number(&passes->items[i], "ops_after");
    names[i] = manifest_word(&passes->items[i], "name");
    values[3 * i] = before < after ? before : after;
    values[3 * i + (before > after ? 1 : 2)] = before > after ? before - after : after - before;
    notes[i] = before == after ? arena_format(r->arena, "%.0f", after)
                               : arena_format(r->arena, "%.0f, then %.0f", before, after);
  }
  const bar_chart chart = {.id = "ops-by-pass",
                           .title = "Ops of the module",
                           .caption = "before and after each pass",
                           .row_count = passes->count,
                           .part_count = 3,
                           .rows = names,
                           .parts = parts,
                           .colours = colours,
                           .values = values,
                           .notes = notes};
  text_append(out, "<h2>Passes</h2>\n");
  html_append_bars(out, &chart);
  text_append(out,
              "<table id=\"passes\"><tr><th>pass</th><th class=\"number\">changes</th><th class=\"number\">ops before"
              "</th><th class=\"number\">ops after</th></tr>\n");
  for (size_t i = 0; i < passes->count; i++) {
    text_append(out, "<tr>");
    html_append_element(out, "td", "", names[i]);
    html_append_number(out, manifest_number(&passes->items[i], "changes"), 1);
    html_append_number(out, manifest_number(&passes->items[i], "ops_before"), 1);
    html_append_number(out, manifest_number(&passes->items[i], "ops_after"), 1);
    text_append(out, "</tr>\n");
  }
  text_append(out, "</table>\n");
}

/* ---- Launches ---- */

/* A module's nodes are listed behind its name; nodes of one module mostly follow one another. */
static void append_launch_nodes(const report *r, const json *launch, text *out) {
  const json *nodes = manifest_list(launch, "nodes");
  const char *module = NULL;
  for (size_t i = 0; i < nodes->count; i++) {
    const manifest_node node = manifest_node_at(&r->manifest, json_number(&nodes->items[i], -1));
    const bool is_new = !module || strcmp(module, node.module) != 0;
    if (is_new) text_append(out, "%s<p>", module ? "</p>\n" : "");
    if (is_new && *node.module) html_append_element(out, "small", "", node.module);
    text_append(out, "%s", is_new ? " " : ", ");
    if (*node.op_type) html_append_element(out, "b", "", node.op_type);
    text_append(out, " ");
    html_append_element(out, "code", "", node.name);
    module = node.module;
  }
  if (module) text_append(out, "</p>\n");
}

static void append_launch(const report *r, size_t index, text *out) {
  const json *launch = &list(r, "launches")->items[index];
  const json *kernel = manifest_element(list(r, "kernels"), manifest_number(launch, "kernel"));
  const json *stage = manifest_element(list(r, "stages"), manifest_number(launch, "stage"));
  const char *tile = manifest_word(kernel, "tile");
  text line = {0};
  manifest_append_arguments(&line, &r->manifest, launch);
  text_append(out, "<details data-launch=\"%zu\" data-flops=\"%.17g\" data-bytes=\"%.17g\"><summary>%zu ", index,
              manifest_number(launch, "flops"), manifest_number(launch, "bytes"), index);
  html_append_element(out, "small", "", manifest_word(stage, "name"));
  text_append(out, " ");
  html_append_element(out, "b", "", manifest_launch_kind(r->arena, launch));
  text_append(out, " ");
  html_append_element(out, "code", "", line.data ? line.data : "");
  line.length = 0;
  text_append(&line, "%s%s%s, %.6g GFLOP, %.6g MB", manifest_word(kernel, "name"), *tile ? ", tile " : "", tile,
              manifest_number(launch, "flops") / 1e9, manifest_number(launch, "bytes") / 1e6);
  if (r->measured) text_append(&line, ", %.4g us a call", r->measured[index]);
  text_append(&line, "; grid ");
  manifest_append_dims(&line, json_member(launch, "grid"), "x");
  text_append(&line, "; sizes ");
  manifest_append_dims(&line, json_member(launch, "sizes"), "x");
  text_append(out, "</summary>\n");
  html_append_element(out, "p", "", line.data);
  append_launch_nodes(r, launch, out);
  text_append(out, "</details>\n");
  text_free(&line);
}

static void append_launches(const report *r, text *out) {
  text_append(out,
              "<h2>Launches</h2>\n<p>Stage, kind, results = operands; open one for its kernel, its work and the ONNX "
              "nodes that it came from.</p>\n");
  for (size_t i = 0; i < list(r, "launches")->count; i++) append_launch(r, i, out);
}

/* ---- The page ---- */

/* Stages have one name each: the second "main" is "main (2)". */
static void name_rows(report *r) {
  const work_tables *t = &r->tables;
  r->stage_names = arena_alloc(r->arena, (t->stage_count + 1) * sizeof *r->stage_names);
  r->kind_names = arena_alloc(r->arena, (t->kind_count + 1) * sizeof *r->kind_names);
  r->kind_colours = arena_alloc(r->arena, (t->kind_count + 1) * sizeof *r->kind_colours);
  for (size_t s = 0; s < t->stage_count; s++) {
    int before = 0;
    for (size_t i = 0; i < s; i++) before += !strcmp(t->stages[i].name, t->stages[s].name);
    const char *name = t->stages[s].name;
    if (before) name = arena_format(r->arena, "%s (%d)", name, before + 1);
    r->stage_names[s] =
        t->stages[s].repeat > 1 ? arena_format(r->arena, "%s, %.0f times", name, t->stages[s].repeat) : name;
  }
  for (size_t k = 0; k < t->kind_count; k++) {
    r->kind_names[k] = t->kinds[k].name;
    r->kind_colours[k] = t->kinds[k].moves_data ? html_grey(k) : html_colour(k);
  }
}

static void append_page(const report *r, text *out) {
  append_head(r, out);
  append_nodes(r, out);
  append_work(r, out);
  append_memory(r, out);
  append_passes(r, out);
  append_launches(r, out);
  text_append(out, "</body>\n</html>\n");
}

static status write_report(report *r, const char *output) {
  status result = manifest_read(&r->diagnostics, r->arena, r->folder, &r->manifest);
  if (result == STATUS_OK && r->profile_path) result = read_profile(r);
  if (result == STATUS_OK && r->bench_path) result = read_bench(r);
  if (result != STATUS_OK) return result;
  tables_read(r->arena, &r->manifest, r->measured, &r->tables);
  name_rows(r);
  text page = {0};
  append_page(r, &page);
  if (output)
    result = file_write(&r->diagnostics, output, page.data, page.length);
  else
    fwrite(page.data, 1, page.length, stdout);
  text_free(&page);
  return result;
}

int command_report(int argc, char **argv) {
  report r = {0};
  const char *output = NULL;
  const flag flags[] = {
      FLAG("output", FLAG_STRING, &output, "FILE", "where to write the page (standard output)", .short_name = "o"),
      FLAG("profile", FLAG_STRING, &r.profile_path, "FILE", "what `pinion profile --save=FILE` wrote: adds times"),
      FLAG("bench", FLAG_STRING, &r.bench_path, "FILE", "what `pinion bench --save=FILE` wrote: adds latencies"),
  };
  const command_syntax syntax = {"report",
                                 "DIR",
                                 "What is inside an artifact, of any target, as one HTML page with plots.",
                                 flags,
                                 FLAG_COUNT(flags),
                                 1,
                                 1,
                                 "The page is a file of its own: it needs no network and no scripts."};
  int exit_status;
  if (!flags_parse(&syntax, argc, argv, &r.folder, &exit_status)) return exit_status;
  r.diagnostics.file = r.folder;
  r.arena = arena_create();
  const status result = write_report(&r, output);
  arena_destroy(r.arena);
  return result;
}
