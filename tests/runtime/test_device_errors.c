/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The API over a device whose every call can be made to fail: what it reports, and what it frees. */
#include "fixture.h"

#include <stdbool.h>

#include "runtime/device.h"

typedef enum device_call {
  OPEN,
  ALLOCATE,
  LOAD,
  COPY_IN,
  COPY_OUT,
  CAPTURE,
  HOST,
  DESCRIBE,
  REPLAY,
  SYNCHRONIZE,
  LAUNCH,
  TIME_LAUNCHES,
  TIME,
  VARIANT,
  CALLS
} device_call;

static device_call failing;
static pinion_status failure; /* PINION_OK: nothing fails */
static int live;              /* devices, allocations and programs that were not freed */
static int called[CALLS];
static char place[4096];
static int attached; /* inputs and outputs, at captures */

static pinion_status act(device_call call, pinion_error *error) {
  called[call]++;
  if (!failure || call != failing) return PINION_OK;
  snprintf(error->text, sizeof error->text, "call %d failed", call);
  return failure;
}

static pinion_status make(device_call call, void **out, pinion_error *error) {
  pinion_status status = act(call, error);
  if (!status) live++, *out = place;
  return status;
}

static pinion_status stand_in_open(const pinion_model_desc *desc, const char *directory, const pinion_options *options,
                                   pinion_device **out, pinion_error *error) {
  (void)desc, (void)directory;
  assert_non_null(options);
  return make(OPEN, (void **)out, error);
}
static void stand_in_close(pinion_device *device) {
  if (device) live--;
}
static pinion_status stand_in_allocate(pinion_device *device, uint64_t bytes, void **out, pinion_error *error) {
  (void)device;
  assert_true(bytes > 0 && bytes < sizeof place);
  return make(ALLOCATE, out, error);
}
static void stand_in_free_memory(pinion_device *device, void *address) {
  (void)device;
  assert_non_null(address);
  live--;
}
static pinion_status stand_in_load(pinion_device *device, const void *mapped, uint64_t bytes, void **out,
                                   pinion_error *error) {
  (void)device, (void)mapped, (void)bytes;
  *out = place;
  return act(LOAD, error);
}
static pinion_status stand_in_copy_in(pinion_device *device, void *to, const void *from, uint64_t bytes, void *stream,
                                      pinion_error *error) {
  (void)device, (void)to, (void)from, (void)bytes, (void)stream;
  return act(COPY_IN, error);
}
static pinion_status stand_in_copy_out(pinion_device *device, void *to, const void *from, uint64_t bytes, void *stream,
                                       pinion_error *error) {
  (void)device, (void)to, (void)from, (void)bytes, (void)stream;
  return act(COPY_OUT, error);
}
static pinion_status stand_in_allocate_host(pinion_device *device, uint64_t bytes, void **out, pinion_error *error) {
  (void)device, (void)bytes;
  return make(HOST, out, error);
}
static pinion_status stand_in_describe(pinion_device *device, pinion_device_facts *out_facts, pinion_error *error) {
  (void)device, (void)out_facts;
  return act(DESCRIBE, error);
}
static pinion_status stand_in_capture(pinion_device *device, const pinion_model_desc *desc, void *const *buffers,
                                      void *const *hosts, pinion_program **out, pinion_error *error) {
  (void)device;
  for (uint32_t i = 0; i < desc->buffer_count; i++) {
    assert_non_null(buffers[i]);
    attached += hosts[i] != NULL;
    assert_true(!hosts[i] || hosts[i] == place);
  }
  return make(CAPTURE, (void **)out, error);
}
static void stand_in_free_program(pinion_device *device, pinion_program *program) {
  (void)device;
  assert_non_null(program);
  live--;
}
static pinion_status stand_in_replay(pinion_device *device, pinion_program *program, void *stream,
                                     pinion_error *error) {
  (void)device, (void)program, (void)stream;
  return act(REPLAY, error);
}
static pinion_status stand_in_synchronize(pinion_device *device, void *stream, pinion_error *error) {
  (void)device, (void)stream;
  return act(SYNCHRONIZE, error);
}
static pinion_status stand_in_run_launch(pinion_device *device, pinion_program *program, uint32_t launch, uint32_t step,
                                         double *out_microseconds, pinion_error *error) {
  (void)device, (void)program, (void)launch, (void)step, (void)out_microseconds;
  return act(LAUNCH, error);
}
static pinion_status stand_in_time_launches(pinion_device *device, pinion_program *program, double *out_microseconds,
                                            pinion_error *error) {
  (void)device, (void)program, (void)out_microseconds;
  return act(TIME_LAUNCHES, error);
}
static pinion_status stand_in_time(pinion_device *device, pinion_program *program, uint32_t count,
                                   double *out_microseconds, pinion_error *error) {
  (void)device, (void)program, (void)count, (void)out_microseconds;
  return act(TIME, error);
}

static void stand_in_describe_capture(const pinion_program *program, pinion_capture_facts *out_facts) {
  assert_non_null(program);
  *out_facts = (pinion_capture_facts){.launches = 7};
}
static pinion_status stand_in_time_variant(pinion_device *device, pinion_program *program,
                                           const pinion_variant *variant, uint32_t count, double *out_own,
                                           double *out_variant, pinion_error *error) {
  (void)device, (void)program, (void)variant, (void)count, (void)out_own, (void)out_variant;
  return act(VARIANT, error);
}

static const pinion_device_ops stand_in = {
    .name = "cpu",
    .open = stand_in_open,
    .close = stand_in_close,
    .describe = stand_in_describe,
    .allocate = stand_in_allocate,
    .free_memory = stand_in_free_memory,
    .allocate_host = stand_in_allocate_host,
    .free_host = stand_in_free_memory,
    .load_weights = stand_in_load,
    .copy_in = stand_in_copy_in,
    .copy_out = stand_in_copy_out,
    .capture = stand_in_capture,
    .free_program = stand_in_free_program,
    .describe_capture = stand_in_describe_capture,
    .replay = stand_in_replay,
    .synchronize = stand_in_synchronize,
    .run_launch = stand_in_run_launch,
    .time_launches = stand_in_time_launches,
    .time_replays = stand_in_time,
    .time_variant = stand_in_time_variant,
};
const pinion_device_ops *const pinion_device_implementation = &stand_in;

/* A whole life; stops at the first call that fails and says how it ended. */
static pinion_status live_once(pinion_model **out_model, pinion_instance **out_instance) {
  static example_case c;
  static const pinion_variant empty = {.is_empty = 1};
  double microseconds, other, times[EXAMPLE_LAUNCHES];
  void *host = NULL;
  pinion_device_facts facts;
  memset(called, 0, sizeof called);
  pinion_status status = pinion_model_open(pinion_model_description(), fixture_folder, NULL, out_model);
  if (!status) status = pinion_instance_create(*out_model, out_instance);
  if (!status) status = pinion_set_input(*out_instance, "state", c.state, sizeof c.state);
  if (!status) status = pinion_host_allocate(*out_model, sizeof c.noise, &host);
  pinion_host_free(*out_model, host);
  if (!status) status = pinion_describe_device(*out_model, &facts);
  if (!status) status = pinion_run(*out_instance, NULL);
  if (!status) status = pinion_run_launch(*out_instance, 0, 0, &microseconds);
  if (!status) status = pinion_time_launches(*out_instance, sizeof times / sizeof *times, times);
  if (!status) status = pinion_time_replays(*out_instance, 1, &microseconds);
  if (!status) status = pinion_time_variant(*out_instance, &empty, 1, &microseconds, &other);
  if (!status) status = pinion_get_output(*out_instance, "actions", c.actions, sizeof c.actions);
  return status;
}

static void end(pinion_model *model, pinion_instance *instance) {
  failure = PINION_OK;
  pinion_instance_destroy(instance);
  pinion_model_close(model);
  assert_int_equal(live, 0);
}

static void a_failing_device_call_is_passed_on_in_words(void **state) {
  (void)state;
  for (device_call call = OPEN; call < CALLS; call++) {
    pinion_model *model = NULL;
    pinion_instance *instance = NULL;
    char expected[32];
    failing = call, failure = PINION_DEVICE_ERROR;
    assert_int_equal(live_once(&model, &instance), PINION_DEVICE_ERROR);
    assert_int_equal(called[call], 1);
    snprintf(expected, sizeof expected, "call %d failed", call);
    assert_string_equal(pinion_last_error(model), expected);
    end(model, instance);
  }
}

static void the_handle_stays_usable_after_an_error(void **state) {
  (void)state;
  for (device_call call = ALLOCATE; call < CALLS; call++) {
    pinion_model *model = NULL;
    pinion_instance *instance = NULL;
    failing = call, failure = PINION_DEVICE_ERROR;
    live_once(&model, &instance);
    failure = PINION_OK;
    if (instance) {
      assert_int_equal(pinion_run(instance, NULL), PINION_OK);
      assert_int_equal(pinion_run(instance, NULL), PINION_OK);
    }
    end(model, instance);
  }
}

static void a_lost_device_is_said_by_every_later_call(void **state) {
  (void)state;
  pinion_model *model = NULL;
  pinion_instance *instance = NULL, *other = (pinion_instance *)&other;
  char memory[40];
  double microseconds;
  failing = REPLAY, failure = PINION_DEVICE_LOST;
  assert_int_equal(live_once(&model, &instance), PINION_DEVICE_LOST);
  failure = PINION_OK; /* even if the device would answer again */
  int replays = called[REPLAY];
  assert_int_equal(pinion_run(instance, NULL), PINION_DEVICE_LOST);
  assert_non_null(strstr(pinion_last_error(model), "lost"));
  assert_int_equal(called[REPLAY], replays);
  assert_int_equal(pinion_prepare(instance), PINION_DEVICE_LOST);
  assert_int_equal(pinion_synchronize(instance, NULL), PINION_DEVICE_LOST);
  assert_int_equal(pinion_set_input(instance, "state", memory, 24), PINION_DEVICE_LOST);
  assert_int_equal(pinion_bind_input(instance, "state", memory, 24), PINION_DEVICE_LOST);
  assert_int_equal(pinion_get_output(instance, "actions", memory, 40), PINION_DEVICE_LOST);
  assert_int_equal(pinion_read_buffer(instance, 0, memory, 24), PINION_DEVICE_LOST);
  assert_int_equal(pinion_run_launch(instance, 0, 0, &microseconds), PINION_DEVICE_LOST);
  assert_int_equal(pinion_time_replays(instance, 1, &microseconds), PINION_DEVICE_LOST);
  assert_int_equal(pinion_instance_create(model, &other), PINION_DEVICE_LOST);
  assert_null(other);
  end(model, instance);
}

static void attached_memory_reaches_the_capture(void **state) {
  (void)state;
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  pinion_capture_facts facts;
  void *host;
  attached = 0;
  assert_int_equal(pinion_model_open(pinion_model_description(), fixture_folder, NULL, &model), PINION_OK);
  assert_int_equal(pinion_instance_create(model, &instance), PINION_OK);
  assert_int_equal(pinion_host_allocate(model, sizeof place, &host), PINION_OK);
  assert_int_equal(pinion_attach_input(instance, "state", host, 20), PINION_INVALID_ARGUMENT); /* of another size */
  assert_int_equal(pinion_attach_input(instance, "state", host, 24), PINION_OK);
  assert_int_equal(pinion_attach_output(instance, "actions", host, 40), PINION_OK);
  assert_int_equal(pinion_set_input(instance, "state", host, 24), PINION_INVALID_ARGUMENT);
  assert_non_null(strstr(pinion_last_error(model), "is attached"));
  assert_int_equal(pinion_describe_capture(instance, &facts), PINION_NOT_PREPARED);
  assert_int_equal(pinion_run(instance, NULL), PINION_OK);
  assert_int_equal(attached, 2);
  assert_int_equal(pinion_describe_capture(instance, &facts), PINION_OK);
  assert_int_equal(facts.launches, 7);
  assert_int_equal(pinion_attach_output(instance, "actions", host, 40), PINION_INVALID_ARGUMENT); /* too late */
  pinion_host_free(model, host);
  end(model, instance);
}

static void a_variant_with_other_arguments_is_refused(void **state) {
  (void)state;
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  double own, other;
  const pinion_model_desc *desc = pinion_model_description();
  pinion_launch_desc *launches = malloc(desc->launch_count * sizeof *launches);
  const pinion_variant variant = {.launches = launches};
  failure = PINION_OK;
  assert_int_equal(live_once(&model, &instance), PINION_OK);
  memcpy(launches, desc->launches, desc->launch_count * sizeof *launches);
  assert_int_equal(pinion_time_variant(instance, &variant, 1, &own, &other), PINION_OK);
  launches[0].kernel = desc->kernel_count;
  assert_int_equal(pinion_time_variant(instance, &variant, 1, &own, &other), PINION_INVALID_ARGUMENT);
  launches[0].kernel = 0;
  launches[0].arg_count++;
  assert_int_equal(pinion_time_variant(instance, &variant, 1, &own, &other), PINION_INVALID_ARGUMENT);
  assert_int_equal(called[VARIANT], 2);
  free(launches);
  end(model, instance);
}

static void run_waits_only_on_the_models_own_stream(void **state) {
  (void)state;
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  failure = PINION_OK;
  assert_int_equal(live_once(&model, &instance), PINION_OK);
  int waits = called[SYNCHRONIZE];
  assert_int_equal(waits, 1);
  assert_int_equal(pinion_run(instance, &waits), PINION_OK);
  assert_int_equal(called[SYNCHRONIZE], waits);
  assert_int_equal(called[CAPTURE], 1);
  end(model, instance);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_failing_device_call_is_passed_on_in_words),
      cmocka_unit_test(the_handle_stays_usable_after_an_error),
      cmocka_unit_test(a_lost_device_is_said_by_every_later_call),
      cmocka_unit_test(attached_memory_reaches_the_capture),
      cmocka_unit_test(a_variant_with_other_arguments_is_refused),
      cmocka_unit_test(run_waits_only_on_the_models_own_stream),
  };
  return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
