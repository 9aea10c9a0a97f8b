/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * How latency is measured, and what random inputs look like: what the artifact's own bench program and the commands of
 * `pinion` share. For programs, not for the runtime: everything is static, and reaches the API through a table, so that
 * it serves a library that is linked as well as one that is opened at run time.
 */
#ifndef PINION_BENCH_H
#define PINION_BENCH_H

#include "pinion.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- The API as a table ---- */

#define PINION_API_FUNCTIONS(X)                                                                                        \
  X(status_name)                                                                                                       \
  X(last_error)                                                                                                        \
  X(model_open)                                                                                                        \
  X(model_close)                                                                                                       \
  X(instance_create)                                                                                                   \
  X(instance_destroy)                                                                                                  \
  X(input_index)                                                                                                       \
  X(output_index)                                                                                                      \
  X(input_description)                                                                                                 \
  X(output_description)                                                                                                \
  X(bind_input)                                                                                                        \
  X(bind_output)                                                                                                       \
  X(host_allocate)                                                                                                     \
  X(host_free)                                                                                                         \
  X(attach_input)                                                                                                      \
  X(attach_output)                                                                                                     \
  X(prepare)                                                                                                           \
  X(set_input)                                                                                                         \
  X(get_output)                                                                                                        \
  X(run)                                                                                                               \
  X(synchronize)                                                                                                       \
  X(read_buffer)                                                                                                       \
  X(run_launch)                                                                                                        \
  X(time_launches)                                                                                                     \
  X(time_replays)                                                                                                      \
  X(describe_capture)                                                                                                  \
  X(describe_device)                                                                                                   \
  X(time_variant)

typedef struct pinion_api {
#define PINION_API_FIELD(name) __typeof__(pinion_##name) *name;
  PINION_API_FUNCTIONS(PINION_API_FIELD)
#undef PINION_API_FIELD
} pinion_api;

/* The functions of the library that a program is linked with: const pinion_api api = PINION_API_LINKED; */
#define PINION_API_LINKED_FIELD(name) .name = pinion_##name,
#define PINION_API_LINKED {PINION_API_FUNCTIONS(PINION_API_LINKED_FIELD)}

/* ---- Random inputs ---- */

/* A stream of 64-bit numbers: SplitMix64 (Steele, Lea and Flood, 2014). */
static inline uint64_t pinion_random_bits(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

/* In [0, 1). */
static inline double pinion_random_uniform(uint64_t *state) {
  return (double)(pinion_random_bits(state) >> 11) * 0x1p-53;
}

/* Mean 0, variance 1, nearly normal: the sum of twelve uniforms, which is the same on every machine. */
static inline double pinion_random_normal(uint64_t *state) {
  double sum = -6;
  for (int i = 0; i < 12; i++) sum += pinion_random_uniform(state);
  return sum;
}

static inline bool pinion_is_integer(pinion_dtype dtype) {
  return dtype >= PINION_DTYPE_i64 && dtype <= PINION_DTYPE_u8;
}

/* How many values an integer buffer may take: the size of the smallest table that is gathered with it, directly or
   after integer arithmetic; 2 if it is no index. */
static inline int64_t pinion_index_limit(const pinion_model_desc *desc, uint32_t buffer) {
  int64_t limit = 0;
  uint8_t *reached = (uint8_t *)calloc(desc->buffer_count, 1); /* buffers that hold values computed from it */
  if (!reached) return 1;
  reached[buffer] = 1;
  for (uint32_t i = 0; i < desc->launch_count; i++) {
    const pinion_launch_desc *launch = &desc->launches[i];
    const pinion_arg *args = desc->args + launch->first_arg;
    pinion_family family = desc->kernels[launch->kernel].family;
    if (family == PINION_FAMILY_GATHER && launch->arg_count == 3 && reached[args[2].buffer]) {
      int64_t size = launch->params->integer[0];
      if (limit == 0 || size < limit) limit = size;
    }
    if (family != PINION_FAMILY_POINTWISE || !pinion_is_integer(desc->buffers[args[0].buffer].dtype)) continue;
    for (uint32_t a = 1; a < launch->arg_count; a++) reached[args[0].buffer] |= reached[args[a].buffer];
  }
  free(reached);
  return limit > 0 ? limit : 2;
}

/* An image is a float of rank 4 with three channels, first or last. */
static inline bool pinion_is_image(const pinion_buffer_desc *buffer) {
  return buffer->rank == 4 && (buffer->dims[1] == 3 || buffer->dims[3] == 3);
}

static inline void pinion_store_integer(pinion_dtype dtype, void *data, uint64_t index, uint64_t value) {
  switch (pinion_dtype_size(dtype)) {
  case 8: ((uint64_t *)data)[index] = value; break;
  case 4: ((uint32_t *)data)[index] = (uint32_t)value; break;
  case 2: ((uint16_t *)data)[index] = (uint16_t)value; break;
  default: ((uint8_t *)data)[index] = (uint8_t)value;
  }
}

/* bf16 and f16 by truncation: any value is as good as its neighbour here. Values below 2^-14 become 0 in f16. */
static inline void pinion_store_float(pinion_dtype dtype, void *data, uint64_t index, double value) {
  float narrow = (float)value;
  uint32_t bits;
  memcpy(&bits, &narrow, sizeof bits);
  int exponent = (int)(bits >> 23 & 255) - 112; /* as f16 counts it */
  switch (dtype) {
  case PINION_DTYPE_f32: ((float *)data)[index] = narrow; break;
  case PINION_DTYPE_f64: ((double *)data)[index] = value; break;
  case PINION_DTYPE_bf16: ((uint16_t *)data)[index] = (uint16_t)(bits >> 16); break;
  default: {
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    ((uint16_t *)data)[index] = exponent <= 0 ? sign : (uint16_t)(sign | exponent << 10 | (bits >> 13 & 0x3ff));
  }
  }
}

/* Fills input `input` (index in the model's order) with values that fit its type and meaning: images in -1 .. 1, masks
   true, integers within the table they index, other floats normal. Depends on seed and name alone. `data` holds the
   description's bytes. */
static inline void pinion_fill_input(const pinion_model_desc *desc, uint32_t input, uint64_t seed, void *data) {
  const pinion_buffer_desc *buffer = &desc->buffers[desc->inputs[input]];
  uint64_t count = buffer->bytes / pinion_dtype_size(buffer->dtype), state = seed;
  for (const char *c = buffer->name; *c; c++) state = (state ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
  bool is_integer = pinion_is_integer(buffer->dtype), is_image = pinion_is_image(buffer);
  uint64_t limit = is_integer ? (uint64_t)pinion_index_limit(desc, desc->inputs[input]) : 0;
  for (uint64_t i = 0; i < count; i++) {
    if (buffer->dtype == PINION_DTYPE_bool)
      pinion_store_integer(buffer->dtype, data, i, 1);
    else if (is_integer)
      pinion_store_integer(buffer->dtype, data, i, pinion_random_bits(&state) % limit);
    else
      pinion_store_float(buffer->dtype, data, i,
                         is_image ? pinion_random_uniform(&state) * 2 - 1 : pinion_random_normal(&state));
  }
}

/* ---- Statistics ---- */

typedef struct pinion_quantiles {
  double p50, p90, p99, minimum, mean; /* microseconds */
} pinion_quantiles;

static inline int pinion_compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The value that `fraction` of the sorted samples do not exceed, between samples by linear interpolation. */
static inline double pinion_quantile(const double *sorted, uint32_t count, double fraction) {
  double position = fraction * (count - 1);
  uint32_t below = (uint32_t)position, above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

/* Sorts the samples. `count` is at least 1. */
static inline pinion_quantiles pinion_quantiles_of(double *samples, uint32_t count) {
  double sum = 0;
  qsort(samples, count, sizeof *samples, pinion_compare_doubles);
  for (uint32_t i = 0; i < count; i++) sum += samples[i];
  return (pinion_quantiles){pinion_quantile(samples, count, 0.5), pinion_quantile(samples, count, 0.9),
                            pinion_quantile(samples, count, 0.99), samples[0], sum / count};
}

/* ---- Measuring ---- */

#define PINION_BENCH_WINDOW_MS 50.0   /* a window of the warm-up lasts at least this long .. */
#define PINION_BENCH_WINDOW_MINIMUM 5 /* .. and has at least as many replays */
#define PINION_BENCH_WINDOW_MAXIMUM 2000
#define PINION_BENCH_STABLE 0.01 /* medians of successive windows differ by less: the machine is warm */
#define PINION_BENCH_SAMPLES_MAXIMUM 1000000

typedef struct pinion_bench_options {
  uint32_t iterations;     /* 0: as many as fill three seconds, 1000 at most and 50 at least, or 5 of a slow model */
  double warm_up_ms;       /* at least this long .. */
  double warm_up_limit_ms; /* .. and at most, stable or not */
  double interval_ms;      /* measured calls begin so far apart, if each is done by then; 0: one behind the other */
} pinion_bench_options;

static const pinion_bench_options pinion_bench_defaults = {0, 300, 10000, 0};

typedef struct pinion_bench_result {
  pinion_quantiles replay;                             /* the captured call, by the device's clock */
  pinion_quantiles copy_in, run, copy_out, end_to_end; /* by the wall clock, as a caller sees them */
  uint32_t iterations, warm_up_replays;
  double warm_up_ms, interval_ms;
  bool stable; /* the warm-up ended because medians had settled */
} pinion_bench_result;

/* Called in front of the timed replays, and behind them: `behind`. */
typedef void pinion_bench_probe(void *user, bool behind);

/* What is being measured: an instance that is not prepared yet, and host memory for all inputs and outputs. */
typedef struct pinion_bench {
  const pinion_api *api;         /* borrowed */
  const pinion_model_desc *desc; /* borrowed */
  pinion_instance *instance;     /* borrowed */
  void **inputs, **outputs;      /* host memory in the model's order; borrowed */
  bool attached;                 /* the captured call copies from and to that memory; else copies are apart */
  pinion_bench_probe *probe;     /* NULL: none */
  void *probe_user;
} pinion_bench;

/* Page-locked memory for one input or output after another; NULLs where an earlier one failed. */
static inline pinion_status pinion_bench_allocate(const pinion_api *api, pinion_model *model,
                                                  const pinion_model_desc *desc, const uint32_t *list, uint32_t count,
                                                  void **out_memory) {
  pinion_status outcome = PINION_OK;
  for (uint32_t i = 0; i < count; i++) {
    out_memory[i] = NULL;
    if (!outcome) outcome = api->host_allocate(model, (size_t)desc->buffers[list[i]].bytes, &out_memory[i]);
  }
  return outcome;
}

static inline void pinion_bench_free(const pinion_api *api, pinion_model *model, void **memory, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) api->host_free(model, memory[i]);
}

static inline double pinion_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static inline pinion_status pinion_bench_attach(const pinion_bench *b) {
  const pinion_model_desc *desc = b->desc;
  pinion_status outcome = PINION_OK;
  for (uint32_t i = 0; i < desc->input_count && !outcome; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[desc->inputs[i]];
    outcome = b->api->attach_input(b->instance, buffer->name, b->inputs[i], (size_t)buffer->bytes);
  }
  for (uint32_t i = 0; i < desc->output_count && !outcome; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[desc->outputs[i]];
    outcome = b->api->attach_output(b->instance, buffer->name, b->outputs[i], (size_t)buffer->bytes);
  }
  return outcome;
}

static inline pinion_status pinion_bench_copy_in(const pinion_bench *b) {
  pinion_status outcome = PINION_OK;
  for (uint32_t i = 0; i < b->desc->input_count && !b->attached && !outcome; i++) {
    const pinion_buffer_desc *buffer = &b->desc->buffers[b->desc->inputs[i]];
    outcome = b->api->set_input(b->instance, buffer->name, b->inputs[i], (size_t)buffer->bytes);
  }
  return outcome;
}

static inline pinion_status pinion_bench_copy_out(const pinion_bench *b) {
  pinion_status outcome = PINION_OK;
  for (uint32_t i = 0; i < b->desc->output_count && !b->attached && !outcome; i++) {
    const pinion_buffer_desc *buffer = &b->desc->buffers[b->desc->outputs[i]];
    outcome = b->api->get_output(b->instance, buffer->name, b->outputs[i], (size_t)buffer->bytes);
  }
  return outcome;
}

/* Replays until the medians of two successive windows agree. Leaves the last median in *out_median, in microseconds. */
static inline pinion_status pinion_bench_warm_up(const pinion_bench *b, const pinion_bench_options *options,
                                                 pinion_bench_result *result, double *out_median) {
  double samples[PINION_BENCH_WINDOW_MAXIMUM], before = 0, start = pinion_now_us();
  pinion_status outcome = b->api->time_replays(b->instance, 1, samples);
  *out_median = samples[0];
  result->warm_up_replays = 1;
  result->warm_up_ms = (pinion_now_us() - start) / 1000;
  while (!outcome && !result->stable && result->warm_up_ms < options->warm_up_limit_ms) {
    double wanted = PINION_BENCH_WINDOW_MS * 1000 / (*out_median > 0.01 ? *out_median : 0.01);
    uint32_t window = wanted < PINION_BENCH_WINDOW_MINIMUM   ? PINION_BENCH_WINDOW_MINIMUM
                      : wanted > PINION_BENCH_WINDOW_MAXIMUM ? PINION_BENCH_WINDOW_MAXIMUM
                                                             : (uint32_t)wanted;
    outcome = b->api->time_replays(b->instance, window, samples);
    if (outcome) break;
    before = *out_median;
    *out_median = pinion_quantiles_of(samples, window).p50;
    result->warm_up_replays += window;
    result->warm_up_ms = (pinion_now_us() - start) / 1000;
    double change = *out_median > before ? *out_median - before : before - *out_median;
    result->stable = result->warm_up_ms >= options->warm_up_ms && change <= PINION_BENCH_STABLE * before;
  }
  return outcome;
}

/* One call as a caller sees it: copies in, runs, copies out. */
static inline pinion_status pinion_bench_call(const pinion_bench *b, double *in, double *run, double *out,
                                              double *all) {
  double start = pinion_now_us(), copied, ran, end;
  pinion_status outcome = pinion_bench_copy_in(b);
  copied = pinion_now_us();
  if (!outcome) outcome = b->api->run(b->instance, NULL);
  ran = pinion_now_us();
  if (!outcome) outcome = pinion_bench_copy_out(b);
  end = pinion_now_us();
  *in = copied - start, *run = ran - copied, *out = end - ran, *all = end - start;
  return outcome;
}

/* Sleeps until *next, in microseconds of pinion_now_us, and moves it on by the interval; at once if there is none. */
static inline void pinion_bench_pace(double *next, double interval_ms) {
  const double now = pinion_now_us(), left = *next - now;
  if (interval_ms <= 0) return;
  if (left > 0) {
    const struct timespec pause = {(time_t)(left / 1e6), (long)((left - (double)(time_t)(left / 1e6) * 1e6) * 1e3)};
    nanosleep(&pause, NULL);
  }
  *next = (left > 0 ? *next : now) + interval_ms * 1000;
}

static inline pinion_status pinion_bench_replays(const pinion_bench *b, double *samples, uint32_t count,
                                                 double interval_ms) {
  if (interval_ms <= 0) return b->api->time_replays(b->instance, count, samples);
  pinion_status outcome = PINION_OK;
  double next = pinion_now_us();
  for (uint32_t i = 0; i < count && !outcome; i++) {
    pinion_bench_pace(&next, interval_ms);
    outcome = b->api->time_replays(b->instance, 1, &samples[i]);
  }
  return outcome;
}

static inline pinion_status pinion_bench_samples(const pinion_bench *b, double *samples, uint32_t count,
                                                 pinion_bench_result *result) {
  double *in = samples, *run = in + count, *out = run + count, *all = out + count, next;
  if (b->probe) b->probe(b->probe_user, false);
  pinion_status outcome = pinion_bench_replays(b, samples, count, result->interval_ms);
  if (b->probe) b->probe(b->probe_user, true);
  if (outcome) return outcome;
  result->replay = pinion_quantiles_of(samples, count);
  next = pinion_now_us();
  for (uint32_t i = 0; i < count && !outcome; i++) {
    pinion_bench_pace(&next, result->interval_ms);
    outcome = pinion_bench_call(b, &in[i], &run[i], &out[i], &all[i]);
  }
  if (outcome) return outcome;
  result->copy_in = pinion_quantiles_of(in, count);
  result->run = pinion_quantiles_of(run, count);
  result->copy_out = pinion_quantiles_of(out, count);
  result->end_to_end = pinion_quantiles_of(all, count);
  return PINION_OK;
}

/* Copies the inputs in or attaches them, prepares, warms up and measures. */
static inline pinion_status pinion_bench_measure(const pinion_bench *b, const pinion_bench_options *options,
                                                 pinion_bench_result *out_result) {
  double median = 0;
  *out_result = (pinion_bench_result){.iterations = options->iterations, .interval_ms = options->interval_ms};
  pinion_status outcome = b->attached ? pinion_bench_attach(b) : pinion_bench_copy_in(b);
  if (!outcome) outcome = b->api->prepare(b->instance);
  if (!outcome) outcome = pinion_bench_warm_up(b, options, out_result, &median);
  if (outcome) return outcome;
  uint32_t count = out_result->iterations;
  if (median < options->interval_ms * 1000) median = options->interval_ms * 1000;
  if (count == 0)
    count = median * 1000 < 3e6 ? 1000 : median * 50 < 3e6 ? (uint32_t)(3e6 / median) : median < 1e6 ? 50 : 5;
  if (count > PINION_BENCH_SAMPLES_MAXIMUM) count = PINION_BENCH_SAMPLES_MAXIMUM;
  double *samples = (double *)malloc(4 * (size_t)count * sizeof *samples);
  if (!samples) return PINION_OUT_OF_MEMORY;
  out_result->iterations = count;
  outcome = pinion_bench_samples(b, samples, count, out_result);
  free(samples);
  return outcome;
}

#endif
