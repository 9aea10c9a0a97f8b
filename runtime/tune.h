/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * How tiles are measured on a GPU: inside the replay of the artifact's own call, with random inputs and every kernel's
 * real neighbours. For each problem (the launches that a tuning file calls by one key) the kernels of another tile take
 * the places of all its launches; that graph and the artifact's own are replayed in turn, and the median of the
 * differences is what the tile gains or loses in a call. Its outputs must be those of the artifact's own tiles, but for
 * rounding. For programs, as bench.h.
 */
#ifndef PINION_TUNE_H
#define PINION_TUNE_H

#include "bench.h"

#include <stdio.h>

#define PINION_TUNE_ROUNDS 40 /* unless another number is asked for */
#define PINION_TUNE_ROUNDS_AT_MOST 10000

/* What tunes. */
typedef struct pinion_tuner {
  const pinion_api *api; /* borrowed, like the rest */
  const pinion_model_desc *desc;
  const pinion_tuning_desc *tuning;
  pinion_instance *instance; /* prepared, its inputs set */
  uint32_t rounds;           /* pairs of replays for each tile; at least 1 */
  const char *only;          /* NULL, or what a problem's key must contain to be measured */
  FILE *log;                 /* what is measured is said here as it is; NULL: nowhere */
} pinion_tuner;

/* A problem, and the tile that won. */
typedef struct pinion_tuned {
  const char *problem, *tile; /* borrowed from the tuning tables */
  double microseconds;        /* of one of its launches, inside the call */
} pinion_tuned;

typedef struct pinion_tune_result {
  pinion_tuned *problems; /* sorted by key; owned: pinion_tune_free */
  uint32_t count;
  double own, tuned; /* a whole call with the artifact's own tiles, and with those that won: medians, microseconds */
} pinion_tune_result;

static inline void pinion_tune_free(pinion_tune_result *result) {
  free(result->problems);
  *result = (pinion_tune_result){0};
}

/* What is known while it tunes. */
typedef struct pinion_tuning_run {
  const pinion_tuner *tuner;
  double *times;                /* of each execution of a call, by the event behind it; microseconds */
  pinion_launch_desc *launches; /* of the variant that is being measured */
  float *expected, *found; /* outputs of float32, one after another: with the artifact's own tiles; of the variant */
  uint64_t output_count;
} pinion_tuning_run;

/* How far outputs may be from the artifact's own, as relative L2: several times what bf16 in another order makes of ten
   steps, and far less than a kernel that is wrong. */
#define PINION_TUNE_DISTANCE 0.1

static inline bool pinion_tune_compares(const pinion_buffer_desc *buffer) {
  return buffer->dtype == PINION_DTYPE_f32;
}

static inline pinion_status pinion_tune_outputs(const pinion_tuning_run *run, float *out_values) {
  const pinion_tuner *t = run->tuner;
  pinion_status outcome = PINION_OK;
  for (uint32_t i = 0; i < t->desc->output_count && !outcome; i++) {
    const pinion_buffer_desc *buffer = &t->desc->buffers[t->desc->outputs[i]];
    if (!pinion_tune_compares(buffer)) continue;
    outcome = t->api->get_output(t->instance, buffer->name, out_values, (size_t)buffer->bytes);
    out_values += buffer->bytes / sizeof *out_values;
  }
  return outcome;
}

/* Whether the outputs, which the variant has written last, are right; a NaN never is. */
static inline pinion_status pinion_tune_check(const pinion_tuning_run *run, bool *out_right) {
  double distance = 0, norm = 0;
  const pinion_status outcome = pinion_tune_outputs(run, run->found);
  for (uint64_t i = 0; i < run->output_count; i++) {
    const double expected = run->expected[i], difference = run->found[i] - expected;
    distance += difference * difference;
    norm += expected * expected;
  }
  *out_right = distance <= PINION_TUNE_DISTANCE * PINION_TUNE_DISTANCE * norm;
  return outcome;
}

/* What a variant is to the call: negative is faster. */
typedef struct pinion_difference {
  double own, variant;  /* medians of a replay, microseconds */
  double median, error; /* of the differences, pair by pair; the median's standard error */
} pinion_difference;

static inline pinion_status pinion_tune_compare(const pinion_tuner *t, const pinion_launch_desc *launches,
                                                pinion_difference *out) {
  double *own = (double *)malloc(3 * (size_t)t->rounds * sizeof *own), *other = own + t->rounds,
         *by = other + t->rounds;
  const pinion_variant variant = {.launches = launches};
  if (!own) return PINION_OUT_OF_MEMORY;
  pinion_status outcome = t->api->time_variant(t->instance, &variant, t->rounds, own, other);
  if (!outcome) {
    for (uint32_t i = 0; i < t->rounds; i++) by[i] = other[i] - own[i];
    *out = (pinion_difference){.own = pinion_quantiles_of(own, t->rounds).p50,
                               .variant = pinion_quantiles_of(other, t->rounds).p50,
                               .median = pinion_quantiles_of(by, t->rounds).p50};
    /* Of a normal distribution a quartile lies 0.674 deviations off, and the median's error is 1.253 / sqrt(n). */
    const double deviation = (pinion_quantile(by, t->rounds, 0.75) - pinion_quantile(by, t->rounds, 0.25)) / 1.349;
    double root = 1;
    while (root * root < t->rounds) root++;
    out->error = 1.253 * deviation / root;
  }
  free(own);
  return outcome;
}

/* Whether a candidate belongs to a problem, and to a tile of it. */
static inline bool pinion_tune_is_of(const pinion_tuner *t, const pinion_candidate_desc *candidate, const char *problem,
                                     const char *tile) {
  return !strcmp(t->tuning->launches[candidate->launch].problem, problem) && !strcmp(candidate->tile, tile);
}

/* Puts a tile's kernels into the places of a problem's launches. */
static inline void pinion_tune_place(const pinion_tuner *t, const char *problem, const char *tile,
                                     pinion_launch_desc *launches) {
  for (uint32_t i = 0; i < t->tuning->candidate_count; i++) {
    const pinion_candidate_desc *candidate = &t->tuning->candidates[i];
    if (!pinion_tune_is_of(t, candidate, problem, tile)) continue;
    pinion_launch_desc *launch = &launches[candidate->launch];
    launch->kernel = candidate->kernel;
    memcpy(launch->grid, candidate->grid, sizeof launch->grid);
    memcpy(launch->block, candidate->block, sizeof launch->block);
    launch->dynamic_shared_bytes = candidate->dynamic_shared_bytes;
    launch->tensor_map = candidate->tensor_map;
  }
}

/* The artifact's own tile of a problem: that of its first launch. */
static inline const char *pinion_tune_own_tile(const pinion_tuner *t, const char *problem) {
  for (uint32_t i = 0; i < t->desc->launch_count; i++)
    if (!strcmp(t->tuning->launches[i].problem, problem)) return t->tuning->launches[i].tile;
  return "";
}

/* How often a call executes a problem, and what it takes in all. */
static inline uint32_t pinion_tune_executions(const pinion_tuning_run *run, const char *problem,
                                              double *out_microseconds) {
  const pinion_tuner *t = run->tuner;
  uint32_t executions = 0, at = 0;
  *out_microseconds = 0;
  for (uint32_t s = 0; s < t->desc->stage_count; s++) {
    const pinion_stage_desc *stage = &t->desc->stages[s];
    for (uint32_t step = 0; step < stage->repeat; step++)
      for (uint32_t i = 0; i < stage->launch_count; i++, at++) {
        if (strcmp(t->tuning->launches[stage->first_launch + i].problem, problem)) continue;
        executions++;
        *out_microseconds += run->times[at];
      }
  }
  return executions;
}

/* Whether candidate `index` is the first of its tile among those of the problem. */
static inline bool pinion_tune_is_first(const pinion_tuner *t, uint32_t index, const char *problem) {
  const pinion_candidate_desc *candidates = t->tuning->candidates;
  bool is_first = pinion_tune_is_of(t, &candidates[index], problem, candidates[index].tile);
  for (uint32_t i = 0; i < index && is_first; i++)
    is_first = !pinion_tune_is_of(t, &candidates[i], problem, candidates[index].tile);
  return is_first;
}

/* Measures one tile of a problem. *out_reason is NULL, or why it is out of question. */
static inline pinion_status pinion_tune_tile(const pinion_tuning_run *run, const char *problem, const char *tile,
                                             pinion_difference *out, const char **out_reason) {
  const pinion_tuner *t = run->tuner;
  bool right = true;
  *out_reason = NULL;
  memcpy(run->launches, t->desc->launches, t->desc->launch_count * sizeof *run->launches);
  pinion_tune_place(t, problem, tile, run->launches);
  pinion_status outcome = pinion_tune_compare(t, run->launches, out);
  if (outcome == PINION_DEVICE_ERROR) {
    *out_reason = "the device refuses it";
    return PINION_OK;
  }
  if (!outcome) outcome = pinion_tune_check(run, &right);
  if (!right) *out_reason = "its outputs are other ones";
  return outcome;
}

/* Measures every tile of a problem. A tile must gain more than three times its error: noise would only add kernels. */
static inline pinion_status pinion_tune_problem(const pinion_tuning_run *run, const char *problem, pinion_tuned *out) {
  const pinion_tuner *t = run->tuner;
  double all = 0, best = 0;
  const uint32_t executions = pinion_tune_executions(run, problem, &all);
  pinion_status outcome = PINION_OK;
  *out = (pinion_tuned){.problem = problem, .tile = pinion_tune_own_tile(t, problem)};
  if (t->log)
    fprintf(t->log, "%s: %u a call\n  %-24s %10.2f us each\n", problem, executions, out->tile, all / executions);
  for (uint32_t i = 0; i < t->tuning->candidate_count && !outcome; i++) {
    const char *tile = t->tuning->candidates[i].tile, *reason;
    pinion_difference difference = {0};
    if (!pinion_tune_is_first(t, i, problem)) continue;
    outcome = pinion_tune_tile(run, problem, tile, &difference, &reason);
    if (outcome) break;
    if (t->log && reason) fprintf(t->log, "  %-24s passed over: %s\n", tile, reason);
    if (t->log && !reason)
      fprintf(t->log, "  %-24s %10.2f us each, %+.1f +- %.1f us a call\n", tile, (all + difference.median) / executions,
              difference.median, difference.error);
    if (reason || difference.median >= best || difference.median > -3 * difference.error) continue;
    best = difference.median;
    out->tile = tile;
  }
  out->microseconds = (all + best) / executions;
  return outcome;
}

/* Time of every execution of a call, the median of a few. */
static inline pinion_status pinion_tune_times(const pinion_tuner *t, uint64_t count, double *out_times) {
  enum { CALLS = 5 };
  double *samples = (double *)malloc(CALLS * ((size_t)count + 1) * sizeof *samples), column[CALLS];
  pinion_status outcome = samples ? PINION_OK : PINION_OUT_OF_MEMORY;
  for (int c = 0; c < CALLS && !outcome; c++)
    outcome = t->api->time_launches(t->instance, count, samples + (size_t)c * count);
  for (uint64_t i = 0; i < count && !outcome; i++) {
    for (int c = 0; c < CALLS; c++) column[c] = samples[(size_t)c * count + i];
    out_times[i] = pinion_quantiles_of(column, CALLS).p50;
  }
  free(samples);
  return outcome;
}

/* A line of a tuning file: problem, tile, microseconds, device, toolchain. */
#define PINION_TUNE_LINE "%s | %s | %.1f | %s | %s\n"
#define PINION_TUNE_HEADER                                                                                             \
  "# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n"                                                        \
  "# PROBLEM | TILE | MICROSECONDS | DEVICE | TOOLCHAIN, written by `pinion tune`\n"

/* What came of it, for people. */
static inline void pinion_tune_print(const pinion_tune_result *r, FILE *stream) {
  fprintf(
      stream,
      "%u problems; a call takes %.1f us with the artifact's own tiles, %.1f %% of the %.1f us with those that won\n",
      r->count, r->own, 100 * r->own / r->tuned, r->tuned);
}

static inline int pinion_compare_tuned(const void *a, const void *b) {
  return strcmp(((const pinion_tuned *)a)->problem, ((const pinion_tuned *)b)->problem);
}

/* Every problem that has candidates and is asked for, then all winners together. */
static inline pinion_status pinion_tune_all(const pinion_tuning_run *run, pinion_tune_result *result) {
  const pinion_tuner *t = run->tuner;
  const pinion_tuning_desc *tuning = t->tuning;
  pinion_difference difference = {0};
  pinion_status outcome = PINION_OK;
  for (uint32_t i = 0; i < tuning->candidate_count && !outcome; i++) {
    const char *problem = tuning->launches[tuning->candidates[i].launch].problem;
    bool is_left_out = t->only && !strstr(problem, t->only);
    for (uint32_t j = 0; j < result->count; j++) is_left_out |= !strcmp(result->problems[j].problem, problem);
    if (!is_left_out) outcome = pinion_tune_problem(run, problem, &result->problems[result->count++]);
  }
  if (outcome) return outcome;
  qsort(result->problems, result->count, sizeof *result->problems, pinion_compare_tuned);
  memcpy(run->launches, t->desc->launches, t->desc->launch_count * sizeof *run->launches);
  for (uint32_t i = 0; i < result->count; i++)
    pinion_tune_place(t, result->problems[i].problem, result->problems[i].tile, run->launches);
  outcome = pinion_tune_compare(t, run->launches, &difference);
  result->own = difference.own;
  result->tuned = difference.variant;
  return outcome;
}

/* Warms up, measures what the artifact itself takes and gives, and tunes. */
static inline pinion_status pinion_tune_run(pinion_tuning_run *run, uint64_t executions, pinion_tune_result *result) {
  const pinion_tuner *t = run->tuner;
  const pinion_bench bench = {.api = t->api, .desc = t->desc, .instance = t->instance};
  pinion_bench_result warm = {.iterations = 0};
  double median;
  pinion_status outcome = pinion_bench_warm_up(&bench, &pinion_bench_defaults, &warm, &median);
  if (!outcome) outcome = pinion_tune_times(t, executions, run->times);
  if (!outcome) outcome = pinion_tune_outputs(run, run->expected);
  return outcome ? outcome : pinion_tune_all(run, result);
}

/* Tunes; the result is to be freed in any case. */
static inline pinion_status pinion_tune(const pinion_tuner *t, pinion_tune_result *out_result) {
  pinion_tuning_run run = {.tuner = t};
  uint64_t executions = 0;
  for (uint32_t s = 0; s < t->desc->stage_count; s++)
    executions += (uint64_t)t->desc->stages[s].launch_count * t->desc->stages[s].repeat;
  for (uint32_t i = 0; i < t->desc->output_count; i++) {
    const pinion_buffer_desc *buffer = &t->desc->buffers[t->desc->outputs[i]];
    if (pinion_tune_compares(buffer)) run.output_count += buffer->bytes / sizeof(float);
  }
  run.times = (double *)malloc(((size_t)executions + 1) * sizeof *run.times);
  run.launches = (pinion_launch_desc *)malloc(((size_t)t->desc->launch_count + 1) * sizeof *run.launches);
  run.expected = (float *)malloc(2 * ((size_t)run.output_count + 1) * sizeof *run.expected);
  run.found = run.expected ? run.expected + run.output_count : NULL;
  *out_result = (pinion_tune_result){0};
  out_result->problems = (pinion_tuned *)calloc((size_t)t->tuning->candidate_count + 1, sizeof(pinion_tuned));
  pinion_status outcome = PINION_OUT_OF_MEMORY;
  if (run.times && run.launches && run.expected && out_result->problems)
    outcome = pinion_tune_run(&run, executions, out_result);
  free(run.times);
  free(run.launches);
  free(run.expected);
  return outcome;
}

#endif
