/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "tables.h"

#include <stdlib.h>
#include <string.h>

/* ---- Work ---- */

static void sum_add(work_sum *to, const work_sum *from) {
  to->launches += from->launches;
  to->executed += from->executed;
  to->flops += from->flops;
  to->bytes += from->bytes;
  to->estimated += from->estimated;
  to->measured += from->measured;
}

static work_sum launch_work(const json *launch, double repeat, double measured) {
  return (work_sum){.launches = 1,
                    .executed = repeat,
                    .flops = repeat * manifest_number(launch, "flops"),
                    .bytes = repeat * manifest_number(launch, "bytes"),
                    .estimated = repeat * manifest_number(launch, "estimated_microseconds"),
                    .measured = measured};
}

static bool launch_moves_data(const json *launch) {
  const char *family = manifest_word(launch, "family");
  return !strcmp(family, "gather") || !strcmp(family, "im2col") || !strcmp(manifest_word(launch, "kind"), "copy");
}

static int compare_kinds(const void *a, const void *b) {
  const work_row *x = a, *y = b;
  if (x->moves_data != y->moves_data) return x->moves_data ? 1 : -1;
  if (x->sum.flops != y->sum.flops) return x->sum.flops < y->sum.flops ? 1 : -1;
  return strcmp(x->name, y->name);
}

static size_t find_kind(const work_tables *t, const char *name) {
  size_t i = 0;
  while (i < t->kind_count && strcmp(t->kinds[i].name, name) != 0) i++;
  return i;
}

static const json *stage_of(const json *manifest, const json *launch) {
  return manifest_element(manifest_list(manifest, "stages"), manifest_number(launch, "stage"));
}

static work_sum work_of(const json *manifest, size_t launch, const double *measured) {
  const json *item = &manifest_list(manifest, "launches")->items[launch], *stage = stage_of(manifest, item);
  return launch_work(item, stage ? manifest_number(stage, "repeat") : 1, measured ? measured[launch] : 0);
}

static void read_kinds(arena *a, const json *manifest, const double *measured, work_tables *t) {
  const json *launches = manifest_list(manifest, "launches");
  size_t capacity = 0;
  for (size_t i = 0; i < launches->count; i++) {
    const char *name = manifest_launch_kind(a, &launches->items[i]);
    const size_t kind = find_kind(t, name);
    if (kind == t->kind_count) {
      t->kinds = arena_grow(a, t->kinds, t->kind_count, &capacity, sizeof *t->kinds);
      t->kinds[t->kind_count++] = (work_row){.name = name, .moves_data = launch_moves_data(&launches->items[i])};
    }
    const work_sum work = work_of(manifest, i, measured);
    sum_add(&t->kinds[kind].sum, &work);
  }
  if (t->kind_count) qsort(t->kinds, t->kind_count, sizeof *t->kinds, compare_kinds);
}

void tables_read(arena *a, const json *manifest, const double *measured, work_tables *out_tables) {
  const json *stages = manifest_list(manifest, "stages"), *launches = manifest_list(manifest, "launches");
  work_tables *t = out_tables;
  *t = (work_tables){.stage_count = stages->count};
  t->stages = arena_alloc(a, (stages->count + 1) * sizeof *t->stages);
  for (size_t s = 0; s < stages->count; s++)
    t->stages[s] = (work_row){.name = manifest_word(&stages->items[s], "name"),
                              .repeat = manifest_number(&stages->items[s], "repeat")};
  read_kinds(a, manifest, measured, t);
  t->cells = arena_alloc(a, (t->kind_count * t->stage_count + 1) * sizeof *t->cells);
  for (size_t i = 0; i < launches->count; i++) {
    const work_sum work = work_of(manifest, i, measured);
    const size_t kind = find_kind(t, manifest_launch_kind(a, &launches->items[i]));
    const double stage = manifest_number(&launches->items[i], "stage");
    sum_add(&t->total, &work);
    if (t->kinds[kind].moves_data) sum_add(&t->moved, &work);
    if (stage < 0 || stage >= (double)t->stage_count) continue;
    sum_add(&t->stages[(size_t)stage].sum, &work);
    sum_add(&t->cells[kind * t->stage_count + (size_t)stage], &work);
  }
}

/* ---- JSON ---- */

static void append_sum(text *out, const work_sum *sum) {
  text_append(out,
              "\"launches\": %.0f, \"executed\": %.0f, \"flops\": %.0f, \"bytes\": %.0f, "
              "\"estimated_microseconds\": %.3f",
              sum->launches, sum->executed, sum->flops, sum->bytes, sum->estimated);
  if (sum->measured > 0) text_append(out, ", \"measured_microseconds\": %.3f", sum->measured);
}

void tables_append_json(const work_tables *t, text *out) {
  text_append(out, "{\n    \"stages\": [");
  for (size_t s = 0; s < t->stage_count; s++) {
    text_append(out, "%s\n      {\"name\": ", s ? "," : "");
    json_append_string(out, t->stages[s].name);
    text_append(out, ", \"repeat\": %.0f, ", t->stages[s].repeat);
    append_sum(out, &t->stages[s].sum);
    text_append(out, "}");
  }
  text_append(out, "\n    ],\n    \"kinds\": [");
  for (size_t k = 0; k < t->kind_count; k++) {
    text_append(out, "%s\n      {\"name\": ", k ? "," : "");
    json_append_string(out, t->kinds[k].name);
    text_append(out, ", \"moves_data\": %s, ", t->kinds[k].moves_data ? "true" : "false");
    append_sum(out, &t->kinds[k].sum);
    text_append(out, ", \"executed_by_stage\": [");
    for (size_t s = 0; s < t->stage_count; s++)
      text_append(out, "%s%.0f", s ? ", " : "", t->cells[k * t->stage_count + s].executed);
    text_append(out, "]}");
  }
  text_append(out, "\n    ],\n    \"total\": {");
  append_sum(out, &t->total);
  text_append(out, "},\n    \"data_movement\": {");
  append_sum(out, &t->moved);
  text_append(out, "}\n  }");
}

/* ---- Memory ---- */

static void extend_life(buffer_life *life, size_t launch) {
  if (!life->is_used) life->first = launch;
  life->is_used = true;
  if (launch > life->last) life->last = launch;
}

/* The last launch of a stage; `first` itself of one that is not repeated. */
static size_t stage_end(const json *stage, size_t first, size_t launch_count) {
  const size_t last = first + manifest_index(stage, "launches", launch_count + 1) - 1;
  return manifest_number(stage, "repeat") > 1 && last > first && last < launch_count ? last : first;
}

static void read_lives(const json *manifest, buffer_life *lives, size_t buffer_count) {
  const json *launches = manifest_list(manifest, "launches");
  for (size_t i = 0; i < launches->count; i++) {
    const json *arguments = manifest_list(&launches->items[i], "arguments");
    const json *stage = stage_of(manifest, &launches->items[i]);
    const size_t stage_first = manifest_index(stage, "first_launch", launches->count);
    for (size_t k = 0; k < arguments->count; k++) {
      const double buffer = json_number(&arguments->items[k], -1);
      if (buffer < 0 || buffer >= (double)buffer_count) continue;
      buffer_life *life = &lives[(size_t)buffer];
      const bool from_before = life->is_used && life->first < stage_first;
      extend_life(life, i);
      if (from_before) extend_life(life, stage_end(stage, stage_first, launches->count));
    }
  }
}

void memory_plan_read(arena *a, const json *manifest, memory_plan *out_plan) {
  const json *buffers = manifest_list(manifest, "buffers"), *launches = manifest_list(manifest, "launches");
  *out_plan = (memory_plan){.lives = arena_alloc(a, (buffers->count + 1) * sizeof *out_plan->lives)};
  double *change = arena_alloc(a, (launches->count + 2) * sizeof *change), used = 0;
  read_lives(manifest, out_plan->lives, buffers->count);
  for (size_t b = 0; b < buffers->count; b++) {
    buffer_life *life = &out_plan->lives[b];
    if (strcmp(manifest_word(&buffers->items[b], "space"), "arena") != 0) life->is_used = false;
    if (!life->is_used) continue;
    change[life->first] += manifest_number(&buffers->items[b], "bytes");
    change[life->last + 1] -= manifest_number(&buffers->items[b], "bytes");
  }
  for (size_t i = 0; i < launches->count; i++) {
    used += change[i];
    if (used <= out_plan->peak) continue;
    out_plan->peak = used;
    out_plan->peak_launch = i;
  }
}
