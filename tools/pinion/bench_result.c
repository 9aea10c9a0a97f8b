/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "bench_result.h"

#include <math.h>
#include <string.h>

/* The figures, once for printing, saving and comparing. */
static const struct {
  const char *key, *title;
  size_t offset;
} figures[] = {
    {"replay_us", "replay (device)", offsetof(bench_measured, times.replay)},
    {"empty_kernels_us", "empty kernels", offsetof(bench_measured, empty)},
    {"run_us", "run (wall)", offsetof(bench_measured, times.run)},
    {"copy_in_us", "copies in", offsetof(bench_measured, times.copy_in)},
    {"copy_out_us", "copies out", offsetof(bench_measured, times.copy_out)},
    {"end_to_end_us", "end to end (wall)", offsetof(bench_measured, times.end_to_end)},
};
enum { FIGURE_COUNT = sizeof figures / sizeof figures[0] };

static const pinion_quantiles *figure(const bench_measured *m, int index) {
  return (const pinion_quantiles *)(const void *)((const char *)m + figures[index].offset);
}

/* Empty kernels only if they were asked for; copies only where they are apart. */
static bool has_figure(const bench_measured *m, int index) {
  const pinion_quantiles *q = figure(m, index);
  if (q == &m->empty) return m->has_empty;
  return !m->attached || (q != &m->times.copy_in && q != &m->times.copy_out);
}

/* ---- Printing ---- */

/* A board that uses more than this part of what it may sets its clocks by that, not by what there is to do. */
#define AT_THE_LIMIT 0.97

static void print_state(const char *when, const nvml_reading *r) {
  printf("%s: SM clock %u of %u MHz, memory clock %u of %u MHz, %u C, %.0f of %.0f W\n", when, r->sm_clock,
         r->sm_clock_most, r->memory_clock, r->memory_clock_most, r->celsius, r->watts, r->watts_limit);
}

static void print_energy(const bench_measured *m) {
  if (m->after.sm_clock && !(m->millijoules > 0)) printf("energy: unknown, this device does not count it\n");
  if (m->millijoules > 0)
    printf("energy: %.1f mJ a call, %.0f W on average, of the whole device over %u replays\n", m->millijoules, m->watts,
           m->times.iterations);
  if (m->after.watts_limit > 0 && m->watts > AT_THE_LIMIT * m->after.watts_limit)
    printf("held back by the board's power limit of %.0f W: --interval=MS leaves it a pause between calls\n",
           m->after.watts_limit);
}

void bench_print(const bench_measured *m) {
  const pinion_bench_result *r = &m->times;
  if (m->no_nvml && m->device.driver_version) {
    printf("clocks, temperature and energy are unknown: NVML: %s\n", m->no_nvml);
  } else if (m->after.sm_clock) {
    print_state("before", &m->before);
    print_state("after", &m->after);
  }
  if (r->interval_ms > 0) printf("measured calls begin %g ms apart\n", r->interval_ms);
  printf("warm-up: %u replays in %.0f ms, %s; then %u measured, copies %s\n", r->warm_up_replays, r->warm_up_ms,
         r->stable ? "stable within 1 %" : "NOT stable", r->iterations,
         m->attached ? "in the captured call" : "apart, from and to page-locked memory");
  printf("%-18s %11s %11s %11s %11s  ms %9s\n", "", "p50", "p90", "p99", "min", "p99/p50");
  for (int i = 0; i < FIGURE_COUNT; i++) {
    const pinion_quantiles *q = figure(m, i);
    if (!has_figure(m, i)) continue;
    printf("%-18s %11.4f %11.4f %11.4f %11.4f %13.3f\n", figures[i].title, q->p50 / 1000, q->p90 / 1000, q->p99 / 1000,
           q->minimum / 1000, q->p50 > 0 ? q->p99 / q->p50 : 1);
  }
  print_energy(m);
}

/* ---- Saving ---- */

/* What a figure depends on, as text and as numbers; differing ones are named when benches are compared. */
typedef struct condition {
  const char *key;
  const char *word;         /* NULL: a number */
  double number, tolerance; /* of the larger; 0: exact */
} condition;
enum { CONDITION_COUNT = 10 };

static void list_conditions(const pinion_model_desc *desc, const bench_measured *m, condition out[CONDITION_COUNT]) {
  const condition list[CONDITION_COUNT] = {
      {.key = "model", .word = desc->name},
      {.key = "target", .word = desc->target},
      {.key = "device", .word = m->device.name},
      {.key = "copies", .word = m->attached ? "graph" : "apart"},
      {.key = "threads", .number = (double)m->threads},
      {.key = "interval_ms", .number = m->times.interval_ms},
      {.key = "driver_version", .number = m->device.driver_version},
      {.key = "power_limit_watts", .number = m->after.watts_limit},
      {.key = "sm_clock_mhz", .number = m->after.sm_clock, .tolerance = 0.02},
      {.key = "memory_clock_mhz", .number = m->after.memory_clock, .tolerance = 0.02},
  };
  memcpy(out, list, sizeof list);
}

static void append_figures(const bench_measured *m, text *out) {
  for (int i = 0; i < FIGURE_COUNT; i++) {
    const pinion_quantiles *q = figure(m, i);
    if (!has_figure(m, i)) continue;
    text_append(out, ",\n  \"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"minimum\": %.3f, \"mean\": %.3f}",
                figures[i].key, q->p50, q->p90, q->p99, q->minimum, q->mean);
  }
}

status bench_save(diagnostics *d, const pinion_model_desc *desc, const bench_measured *m, const char *path) {
  const pinion_bench_result *r = &m->times;
  condition conditions[CONDITION_COUNT];
  text out = {0};
  list_conditions(desc, m, conditions);
  text_append(&out, "{\n  \"schema\": 1");
  for (int i = 0; i < CONDITION_COUNT; i++) {
    text_append(&out, ",\n  \"%s\": ", conditions[i].key);
    if (conditions[i].word)
      json_append_string(&out, conditions[i].word);
    else
      text_append(&out, "%.0f", conditions[i].number);
  }
  text_append(&out, ",\n  \"celsius\": %u,\n  \"iterations\": %u,\n  \"warm_up_replays\": %u,\n  \"stable\": %s",
              m->after.celsius, r->iterations, r->warm_up_replays, r->stable ? "true" : "false");
  text_append(&out, ",\n  \"launches\": %u,\n  \"kernel_edges\": %u,\n  \"programmatic_edges\": %u",
              m->capture.launches, m->capture.kernel_edges, m->capture.programmatic_edges);
  append_figures(m, &out);
  if (m->millijoules > 0) text_append(&out, ",\n  \"millijoules\": %.3f", m->millijoules);
  text_append(&out, "\n}\n");
  const status result = file_write(d, path, out.data, out.length);
  text_free(&out);
  return result;
}

/* ---- Comparing ---- */

static double replay_of(const json *saved) {
  return json_number(json_member(json_member(saved, "replay_us"), "p50"), 0);
}

status bench_read(diagnostics *d, arena *memory, const char *path, json *out_baseline) {
  const status result = json_read(d, memory, path, out_baseline);
  if (result || replay_of(out_baseline) > 0) return result;
  return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' is no saved bench: it lacks replay_us", path);
}

static void name_differences(const pinion_model_desc *desc, const bench_measured *m, const json *baseline) {
  condition conditions[CONDITION_COUNT];
  list_conditions(desc, m, conditions);
  for (int i = 0; i < CONDITION_COUNT; i++) {
    const condition *c = &conditions[i];
    const json *member = json_member(baseline, c->key);
    const char *word = json_string(member, "unknown");
    const double number = json_number(member, 0);
    if (c->word ? strcmp(c->word, word) != 0 : fabs(number - c->number) > c->tolerance * fmax(number, c->number)) {
      if (c->word)
        printf("note: the baseline's %s is '%s', not '%s'\n", c->key, word, c->word);
      else
        printf("note: the baseline's %s is %.0f, not %.0f\n", c->key, number, c->number);
    }
  }
}

status bench_compare(diagnostics *d, const pinion_model_desc *desc, const bench_measured *m, const json *baseline,
                     double allow) {
  const double replay = replay_of(baseline), own = m->times.replay.p50;
  const double energy = json_number(json_member(baseline, "millijoules"), 0);
  name_differences(desc, m, baseline);
  printf("%-18s %11s %11s %11s  (of the baseline's)\n", "", "p50", "p90", "p99");
  for (int i = 0; i < FIGURE_COUNT; i++) {
    const json *theirs = json_member(baseline, figures[i].key);
    const pinion_quantiles *q = figure(m, i);
    if (!theirs || !has_figure(m, i)) continue;
    printf("%-18s %11.3f %11.3f %11.3f\n", figures[i].title, q->p50 / json_number(json_member(theirs, "p50"), 0),
           q->p90 / json_number(json_member(theirs, "p90"), 0), q->p99 / json_number(json_member(theirs, "p99"), 0));
  }
  if (energy > 0 && m->millijoules > 0) printf("%-18s %11.3f\n", "energy", m->millijoules / energy);
  if (allow < 0 || own <= replay * (1 + allow / 100)) return STATUS_OK;
  return diagnose(d, STATUS_MISMATCH, NULL, NULL,
                  "the replay takes %.3f ms, %.1f %% more than the baseline; %.1f %% are allowed", own / 1000,
                  (own / replay - 1) * 100, allow);
}
