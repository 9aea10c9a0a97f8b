/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the bench program and the commands share: quantiles, the warm-up, random inputs. */
#include "fixture.h"

#include <math.h>

#include "runtime/bench.h"

static void quantiles_lie_between_samples(void **state) {
  (void)state;
  double samples[] = {5, 1, 4, 2, 3};
  pinion_quantiles q = pinion_quantiles_of(samples, 5);
  assert_true(q.p50 == 3 && q.minimum == 1 && q.mean == 3);
  assert_true(fabs(q.p90 - 4.6) < 1e-12 && fabs(q.p99 - 4.96) < 1e-12);
  double one[] = {7};
  q = pinion_quantiles_of(one, 1);
  assert_true(q.p50 == 7 && q.p99 == 7);
}

/* ---- Random inputs ---- */

static void tokens_lie_within_the_table_that_they_index(void **state) {
  (void)state;
  bool seen[EXAMPLE_VOCABULARY] = {false};
  assert_int_equal(pinion_index_limit(&example_model, example_model.inputs[1]), EXAMPLE_VOCABULARY);
  for (uint64_t seed = 0; seed < 200; seed++) {
    int64_t tokens[EXAMPLE_ROWS];
    pinion_fill_input(&example_model, 1, seed, tokens);
    for (int i = 0; i < EXAMPLE_ROWS; i++) {
      assert_true(tokens[i] >= 0 && tokens[i] < EXAMPLE_VOCABULARY);
      seen[tokens[i]] = true;
    }
  }
  for (int i = 0; i < EXAMPLE_VOCABULARY; i++) assert_true(seen[i]);
}

/* A model of inputs alone. */
static void fill(pinion_dtype dtype, int rank, const int64_t *dims, const char *name, uint64_t seed, void *data) {
  pinion_buffer_desc buffer = {.name = name, .dtype = dtype, .rank = rank, .bytes = pinion_dtype_size(dtype)};
  for (int i = 0; i < rank; i++) buffer.dims[i] = dims[i], buffer.bytes *= (uint64_t)dims[i];
  const uint32_t inputs[] = {0};
  const pinion_model_desc desc = {.buffers = &buffer, .buffer_count = 1, .inputs = inputs, .input_count = 1};
  pinion_fill_input(&desc, 0, seed, data);
}

static void images_lie_between_minus_one_and_one_and_fill_that_range(void **state) {
  (void)state;
  static float pixels[3 * 40 * 40];
  const int64_t first[] = {1, 3, 40, 40}, last[] = {1, 40, 40, 3};
  for (int layout = 0; layout < 2; layout++) {
    float low = 0, high = 0;
    fill(PINION_DTYPE_f32, 4, layout ? last : first, "camera", 0, pixels);
    for (int i = 0; i < 4800; i++) {
      assert_true(pixels[i] >= -1 && pixels[i] <= 1);
      low = fminf(low, pixels[i]), high = fmaxf(high, pixels[i]);
    }
    assert_true(low < -0.99F && high > 0.99F);
  }
}

static void other_floats_are_normal(void **state) {
  (void)state;
  static double values[20000];
  const int64_t dims[] = {20000};
  double sum = 0, squares = 0;
  fill(PINION_DTYPE_f64, 1, dims, "noise", 3, values);
  for (int i = 0; i < 20000; i++) sum += values[i], squares += values[i] * values[i];
  assert_true(fabs(sum / 20000) < 0.03 && fabs(squares / 20000 - 1) < 0.05);
}

static void masks_are_true(void **state) {
  (void)state;
  uint8_t mask[9] = {0};
  const int64_t dims[] = {1, 9};
  fill(PINION_DTYPE_bool, 2, dims, "mask", 0, mask);
  for (int i = 0; i < 9; i++) assert_int_equal(mask[i], 1);
}

static void narrow_floats_hold_nearly_the_same_values(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  const int64_t dims[] = {COUNT};
  static float wide[COUNT];
  static uint16_t bf16[COUNT];
  static _Float16 half[COUNT];
  fill(PINION_DTYPE_f32, 1, dims, "x", 5, wide);
  fill(PINION_DTYPE_bf16, 1, dims, "x", 5, bf16);
  fill(PINION_DTYPE_f16, 1, dims, "x", 5, half);
  for (int i = 0; i < COUNT; i++) {
    uint32_t bits = (uint32_t)bf16[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    assert_true(fabsf(value - wide[i]) <= fabsf(wide[i]) / 128);
    assert_true(fabsf((float)half[i] - wide[i]) <= fabsf(wide[i]) / 1024 + 0x1p-14F);
  }
}

static void an_input_depends_on_its_seed_and_name_alone(void **state) {
  (void)state;
  float a[64], b[64];
  const int64_t dims[] = {64}, other[] = {8, 8};
  fill(PINION_DTYPE_f32, 1, dims, "x", 1, a);
  fill(PINION_DTYPE_f32, 2, other, "x", 1, b);
  assert_memory_equal(a, b, sizeof a);
  fill(PINION_DTYPE_f32, 1, dims, "y", 1, b);
  assert_memory_not_equal(a, b, sizeof a);
  fill(PINION_DTYPE_f32, 1, dims, "x", 2, b);
  assert_memory_not_equal(a, b, sizeof a);
}

/* ---- Measuring, on a device whose times are a script ---- */

static double script_us; /* of the next replay; falls by a tenth until 100 */
static int replays, prepared, copies_in, copies_out, attachments, probes;
static bool attached;

static pinion_status scripted_replays(pinion_instance *instance, uint32_t count, double *out_microseconds) {
  (void)instance;
  for (uint32_t i = 0; i < count; i++, replays++) out_microseconds[i] = script_us;
  script_us = script_us > 110 ? script_us * 0.9 : 100;
  return PINION_OK;
}
static pinion_status scripted_prepare(pinion_instance *instance) {
  (void)instance;
  prepared++;
  return PINION_OK;
}
static pinion_status scripted_set(pinion_instance *instance, const char *name, const void *host, size_t bytes) {
  (void)instance, (void)name, (void)host, (void)bytes;
  copies_in++;
  return PINION_OK;
}
static pinion_status scripted_get(pinion_instance *instance, const char *name, void *host, size_t bytes) {
  (void)instance, (void)name, (void)host, (void)bytes;
  copies_out++;
  return PINION_OK;
}
static pinion_status scripted_attach_input(pinion_instance *instance, const char *name, void *host, size_t bytes) {
  (void)instance, (void)name, (void)host, (void)bytes;
  assert_int_equal(prepared, 0); /* later is too late */
  attachments++;
  return PINION_OK;
}
static pinion_status scripted_attach_output(pinion_instance *instance, const char *name, void *host, size_t bytes) {
  return scripted_attach_input(instance, name, host, bytes);
}
/* Once in front of what is measured, once behind it. */
static void count_probe(void *user, bool behind) {
  (void)user;
  assert_int_equal(probes++, behind);
}
static pinion_status scripted_run(pinion_instance *instance, void *stream) {
  (void)instance, (void)stream;
  return prepared ? PINION_OK : PINION_NOT_PREPARED;
}
static pinion_status failing_run(pinion_instance *instance, void *stream) {
  (void)instance, (void)stream;
  return PINION_DEVICE_ERROR;
}

static pinion_status measure(pinion_bench_options options, bool fails, pinion_bench_result *out_result) {
  const pinion_api api = {.time_replays = scripted_replays,
                          .prepare = scripted_prepare,
                          .set_input = scripted_set,
                          .get_output = scripted_get,
                          .attach_input = scripted_attach_input,
                          .attach_output = scripted_attach_output,
                          .run = fails ? failing_run : scripted_run};
  void *inputs[3] = {0}, *outputs[1] = {0};
  const pinion_bench bench = {.api = &api,
                              .desc = &example_model,
                              .inputs = inputs,
                              .outputs = outputs,
                              .attached = attached,
                              .probe = count_probe};
  script_us = 1000;
  replays = prepared = copies_in = copies_out = attachments = probes = 0;
  return pinion_bench_measure(&bench, &options, out_result);
}

static void the_warm_up_lasts_until_medians_have_settled(void **state) {
  (void)state;
  pinion_bench_result r;
  assert_int_equal(measure((pinion_bench_options){20, 0, 10000, 0}, false, &r), PINION_OK);
  assert_true(r.stable);
  assert_true(r.replay.p50 == 100 && r.replay.p99 == 100); /* nothing of the warm-up is measured */
  assert_int_equal(r.iterations, 20);
  assert_int_equal(replays, r.warm_up_replays + 20);
  assert_int_equal(copies_in, 3 * 21);
  assert_int_equal(copies_out, 20);
}

static void attached_inputs_and_outputs_are_not_copied(void **state) {
  (void)state;
  pinion_bench_result r;
  attached = true;
  assert_int_equal(measure((pinion_bench_options){20, 0, 10000, 0}, false, &r), PINION_OK);
  attached = false;
  assert_int_equal(attachments, 3 + 1);
  assert_int_equal(copies_in + copies_out, 0);
  assert_int_equal(probes, 2);
}

static void a_warm_up_that_does_not_settle_is_said_to_be_unstable(void **state) {
  (void)state;
  pinion_bench_result r;
  assert_int_equal(measure((pinion_bench_options){20, 0, 0, 0}, false, &r), PINION_OK);
  assert_false(r.stable);
}

static void calls_at_an_interval_are_measured_one_by_one(void **state) {
  (void)state;
  pinion_bench_result r;
  const double start = pinion_now_us();
  assert_int_equal(measure((pinion_bench_options){5, 0, 10000, 3}, false, &r), PINION_OK);
  assert_true(pinion_now_us() - start >= 2 * 4 * 3000); /* five replays and five calls */
  assert_int_equal(replays, r.warm_up_replays + 5);
  assert_true(r.interval_ms == 3 && r.replay.p50 == 100);
}

static void failures_end_the_measurement(void **state) {
  (void)state;
  pinion_bench_result r;
  assert_int_equal(measure((pinion_bench_options){20, 0, 10, 0}, true, &r), PINION_DEVICE_ERROR);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantiles_lie_between_samples),
      cmocka_unit_test(tokens_lie_within_the_table_that_they_index),
      cmocka_unit_test(images_lie_between_minus_one_and_one_and_fill_that_range),
      cmocka_unit_test(other_floats_are_normal),
      cmocka_unit_test(masks_are_true),
      cmocka_unit_test(narrow_floats_hold_nearly_the_same_values),
      cmocka_unit_test(an_input_depends_on_its_seed_and_name_alone),
      cmocka_unit_test(the_warm_up_lasts_until_medians_have_settled),
      cmocka_unit_test(attached_inputs_and_outputs_are_not_copied),
      cmocka_unit_test(a_warm_up_that_does_not_settle_is_said_to_be_unstable),
      cmocka_unit_test(calls_at_an_interval_are_measured_one_by_one),
      cmocka_unit_test(failures_end_the_measurement),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
