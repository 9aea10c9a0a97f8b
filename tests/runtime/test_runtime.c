/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* ---- Every allocation of the runtime goes through here (-Wl,--wrap): counted, and refused on demand ---- */

static _Atomic int allocations, live_allocations, refuse_after = -1;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *memory);

static bool may_allocate(void) {
  int left = atomic_load(&refuse_after);
  if (left == 0) return false;
  if (left > 0) atomic_store(&refuse_after, left - 1);
  atomic_fetch_add(&allocations, 1);
  atomic_fetch_add(&live_allocations, 1);
  return true;
}

void *__wrap_malloc(size_t bytes) {
  return may_allocate() ? __real_malloc(bytes) : NULL;
}

void *__wrap_calloc(size_t count, size_t bytes) {
  return may_allocate() ? __real_calloc(count, bytes) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
  return may_allocate() ? __real_aligned_alloc(alignment, bytes) : NULL;
}

void __wrap_free(void *memory) {
  if (memory) atomic_fetch_sub(&live_allocations, 1);
  __real_free(memory);
}

/* ---- The life of a policy ---- */

static pinion_model *open_example(int threads) {
  pinion_model *model = NULL;
  const pinion_options options = {.thread_count = threads};
  assert_int_equal(pinion_model_open(pinion_model_description(), fixture_folder, &options, &model), PINION_OK);
  assert_non_null(model);
  return model;
}

static pinion_instance *create(pinion_model *model) {
  pinion_instance *instance = NULL;
  assert_int_equal(pinion_instance_create(model, &instance), PINION_OK);
  return instance;
}

static void results_equal_the_reference_for_any_thread_count(void **state) {
  (void)state;
  for (int threads = 1; threads <= 4; threads++) {
    pinion_model *model = open_example(threads);
    pinion_instance *instance = create(model);
    for (int seed = 0; seed < 20; seed++) {
      example_case c = example_case_make(seed);
      example_set_inputs(instance, &c);
      assert_int_equal(pinion_run(instance, NULL), PINION_OK);
      example_check_outputs(instance, &c);
    }
    pinion_instance_destroy(instance);
    pinion_model_close(model);
  }
}

static void attached_buffers_are_used_in_place(void **state) {
  (void)state;
  pinion_model *model = open_example(2);
  pinion_instance *instance = create(model);
  pinion_capture_facts facts;
  example_case c = example_case_make(3);
  void *noise, *actions, *unused;
  assert_int_equal(pinion_host_allocate(model, sizeof c.noise, &noise), PINION_OK);
  assert_int_equal(pinion_host_allocate(model, sizeof c.actions, &actions), PINION_OK);
  assert_int_equal(pinion_host_allocate(model, 1, &unused), PINION_OK); /* freed with the model */
  assert_int_equal(pinion_attach_input(instance, "noise", noise, sizeof c.noise), PINION_OK);
  assert_int_equal(pinion_attach_output(instance, "actions", actions, sizeof c.actions), PINION_OK);
  assert_int_equal(pinion_set_input(instance, "state", c.state, sizeof c.state), PINION_OK);
  assert_int_equal(pinion_set_input(instance, "tokens", c.tokens, sizeof c.tokens), PINION_OK);
  memcpy(noise, c.noise, sizeof c.noise);
  assert_int_equal(pinion_run(instance, NULL), PINION_OK);
  assert_memory_equal(actions, c.expected, sizeof c.expected);
  assert_int_equal(pinion_describe_capture(instance, &facts), PINION_OK);
  assert_int_equal(facts.launches, EXAMPLE_LAUNCHES);
  assert_int_equal(facts.copies, 0);
  assert_false(facts.has_edges);
  pinion_instance_destroy(instance);
  pinion_host_free(model, noise);
  pinion_host_free(model, actions);
  pinion_model_close(model);
}

static void variants_are_for_gpus(void **state) {
  (void)state;
  static const pinion_variant empty = {.is_empty = 1};
  pinion_model *model = open_example(1);
  pinion_instance *instance = create(model);
  double own, other;
  assert_int_equal(pinion_prepare(instance), PINION_OK);
  assert_int_equal(pinion_time_variant(instance, &empty, 1, &own, &other), PINION_INVALID_ARGUMENT);
  assert_string_equal(pinion_last_error(model), "device 'cpu' has no variants");
  pinion_instance_destroy(instance);
  pinion_model_close(model);
}

static void bound_buffers_are_used_in_place(void **state) {
  (void)state;
  pinion_model *model = open_example(2);
  pinion_instance *instance = create(model);
  example_case c = example_case_make(3), other = example_case_make(8);
  float actions[EXAMPLE_ROWS][EXAMPLE_ACTIONS];
  assert_int_equal(pinion_bind_input(instance, "noise", c.noise, sizeof c.noise), PINION_OK);
  assert_int_equal(pinion_set_input(instance, "tokens", c.tokens, sizeof c.tokens), PINION_OK);
  /* Binding after another input was set, but before prepare. */
  assert_int_equal(pinion_bind_input(instance, "state", c.state, sizeof c.state), PINION_OK);
  assert_int_equal(pinion_bind_output(instance, "actions", actions, sizeof actions), PINION_OK);
  assert_int_equal(pinion_prepare(instance), PINION_OK);
  assert_int_equal(pinion_run(instance, NULL), PINION_OK);
  assert_memory_equal(actions, c.expected, sizeof actions);
  /* Writing to the bound memory is all it takes to change an input. */
  memcpy(c.noise, other.noise, sizeof c.noise);
  memcpy(c.state, other.state, sizeof c.state);
  assert_int_equal(pinion_set_input(instance, "tokens", other.tokens, sizeof other.tokens), PINION_OK);
  assert_int_equal(pinion_run(instance, NULL), PINION_OK);
  assert_memory_equal(actions, other.expected, sizeof actions);
  assert_int_equal(pinion_bind_input(instance, "noise", c.noise, sizeof c.noise), PINION_INVALID_ARGUMENT);
  assert_non_null(strstr(pinion_last_error(model), "before"));
  pinion_instance_destroy(instance);
  pinion_model_close(model);
}

static void run_allocates_nothing(void **state) {
  (void)state;
  pinion_model *model = open_example(3);
  pinion_instance *instance = create(model);
  example_case c = example_case_make(1);
  double microseconds[4], times[EXAMPLE_LAUNCHES];
  example_set_inputs(instance, &c);
  assert_int_equal(pinion_prepare(instance), PINION_OK);
  int before = atomic_load(&allocations);
  assert_true(before > 0); /* the counter counts */
  for (int i = 0; i < 10; i++) {
    example_set_inputs(instance, &c);
    assert_int_equal(pinion_run(instance, NULL), PINION_OK);
    example_check_outputs(instance, &c);
  }
  assert_int_equal(pinion_time_replays(instance, 4, microseconds), PINION_OK);
  assert_int_equal(pinion_time_launches(instance, EXAMPLE_LAUNCHES, times), PINION_OK);
  assert_int_equal(atomic_load(&allocations), before);
  for (int i = 0; i < 4; i++) assert_true(microseconds[i] > 0);
  for (int i = 0; i < EXAMPLE_LAUNCHES; i++) assert_true(times[i] > 0);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
}

static void every_refused_allocation_is_reported_and_leaks_nothing(void **state) {
  (void)state;
  int before = atomic_load(&live_allocations), failures = 0;
  pinion_status status = PINION_OUT_OF_MEMORY;
  for (int n = 0; status != PINION_OK; n++) {
    pinion_model *model = NULL;
    pinion_instance *instance = NULL;
    const pinion_options options = {.thread_count = 2};
    atomic_store(&refuse_after, n);
    status = pinion_model_open(pinion_model_description(), fixture_folder, &options, &model);
    if (!status) status = pinion_instance_create(model, &instance);
    if (!status) status = pinion_prepare(instance);
    atomic_store(&refuse_after, -1);
    if (status) {
      failures++;
      assert_int_equal(status, PINION_OUT_OF_MEMORY);
      assert_string_not_equal(pinion_last_error(model), "");
    }
    if (status && instance) assert_int_equal(pinion_prepare(instance), PINION_OK); /* the handle stayed usable */
    pinion_instance_destroy(instance);
    pinion_model_close(model);
    assert_int_equal(atomic_load(&live_allocations), before);
    assert_true(n < 100);
  }
  assert_true(failures >= 6);
}

/* ---- Several at once ---- */

static void instances_share_a_model_and_nothing_else(void **state) {
  (void)state;
  pinion_model *model = open_example(2);
  pinion_instance *a = create(model), *b = create(model);
  example_case first = example_case_make(4), second = example_case_make(5);
  example_set_inputs(a, &first);
  example_set_inputs(b, &second);
  assert_int_equal(pinion_run(a, NULL), PINION_OK);
  assert_int_equal(pinion_run(b, NULL), PINION_OK);
  example_check_outputs(a, &first);
  example_check_outputs(b, &second);
  pinion_instance_destroy(a);
  assert_int_equal(pinion_run(b, NULL), PINION_OK);
  example_check_outputs(b, &second);
  pinion_model_close(model); /* too early, but harmless: the last instance takes the model with it */
  assert_int_equal(pinion_run(b, NULL), PINION_OK);
  pinion_instance_destroy(b);
}

typedef struct caller {
  pinion_model *model;
  int seed;
  bool right;
} caller;

static void *call_often(void *user) {
  caller *me = user;
  pinion_instance *instance = NULL;
  example_case c = example_case_make(me->seed);
  char name[16], expected[64];
  snprintf(name, sizeof name, "no such %d", me->seed);
  snprintf(expected, sizeof expected, "'%s'", name);
  if (pinion_instance_create(me->model, &instance)) return NULL;
  me->right = true;
  for (int i = 0; i < 200 && me->right; i++) {
    pinion_set_input(instance, "state", c.state, sizeof c.state);
    pinion_set_input(instance, "tokens", c.tokens, sizeof c.tokens);
    pinion_set_input(instance, "noise", c.noise, sizeof c.noise);
    me->right = !pinion_run(instance, NULL) && !pinion_get_output(instance, "actions", c.actions, sizeof c.actions) &&
                !memcmp(c.actions, c.expected, sizeof c.expected);
    /* Each thread reads its own last error. */
    me->right &= pinion_set_input(instance, name, c.state, 1) == PINION_INVALID_ARGUMENT;
    me->right &= strstr(pinion_last_error(me->model), expected) != NULL;
  }
  pinion_instance_destroy(instance);
  return NULL;
}

static void threads_call_instances_of_one_model_at_once(void **state) {
  (void)state;
  pinion_model *model = open_example(2);
  caller callers[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    callers[i] = (caller){model, i, false};
    assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
  }
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 4; i++) assert_true(callers[i].right);
  assert_string_equal(pinion_last_error(model), ""); /* nothing went wrong in this thread */
  pinion_model_close(model);
}

/* ---- Names, descriptions, errors ---- */

static void inputs_and_outputs_are_found_by_name(void **state) {
  (void)state;
  pinion_model *model = open_example(1);
  assert_int_equal(pinion_input_index(model, "tokens"), 1);
  assert_int_equal(pinion_output_index(model, "actions"), 0);
  assert_int_equal(pinion_input_index(model, "actions"), -1);
  assert_int_equal(pinion_input_index(model, NULL), -1);
  assert_int_equal(pinion_input_index(NULL, "tokens"), -1);
  const pinion_buffer_desc *tokens = pinion_input_description(model, 1);
  assert_string_equal(tokens->name, "tokens");
  assert_int_equal(tokens->bytes, 16);
  assert_null(pinion_input_description(model, 3));
  assert_null(pinion_input_description(model, -1));
  assert_null(pinion_output_description(NULL, 0));
  pinion_model_close(model);
}

#define REFUSED(model, call, expected)                                                                                 \
  do {                                                                                                                 \
    assert_int_equal(call, expected);                                                                                  \
    assert_string_not_equal(pinion_last_error(model), "");                                                             \
  } while (0)

static void wrong_arguments_are_refused_in_words_and_leave_the_handle_usable(void **state) {
  (void)state;
  pinion_model *model = open_example(2);
  pinion_instance *instance = create(model);
  example_case c = example_case_make(2);
  char memory[64];
  double time, times[EXAMPLE_LAUNCHES];
  assert_string_equal(pinion_last_error(model), "");
  REFUSED(model, pinion_set_input(instance, "speed", c.state, sizeof c.state), PINION_INVALID_ARGUMENT);
  assert_string_equal(pinion_last_error(model), "the model has no input 'speed'");
  REFUSED(model, pinion_set_input(instance, NULL, c.state, sizeof c.state), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_set_input(instance, "state", NULL, sizeof c.state), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_set_input(instance, "state", c.state, sizeof c.state - 1), PINION_INVALID_ARGUMENT);
  assert_string_equal(pinion_last_error(model), "input 'state' has 24 bytes, not 23");
  REFUSED(model, pinion_bind_input(instance, "tokens", memory + 1, 16), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_bind_output(instance, "state", memory, 24), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_get_output(instance, "actions", c.actions, sizeof c.actions), PINION_NOT_PREPARED);
  REFUSED(model, pinion_read_buffer(instance, 0, memory, 24), PINION_NOT_PREPARED);
  REFUSED(model, pinion_run_launch(instance, 0, 0, &time), PINION_NOT_PREPARED);
  REFUSED(model, pinion_time_launches(instance, EXAMPLE_LAUNCHES, times), PINION_NOT_PREPARED);
  REFUSED(model, pinion_time_replays(instance, 1, &time), PINION_NOT_PREPARED);
  example_set_inputs(instance, &c);
  assert_int_equal(pinion_prepare(instance), PINION_OK);
  REFUSED(model, pinion_read_buffer(instance, 99, memory, 24), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_read_buffer(instance, 0, memory, 25), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_read_buffer(instance, 0, NULL, 24), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_run_launch(instance, 99, 0, &time), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_run_launch(instance, 0, 1, &time), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_run_launch(instance, 4, EXAMPLE_STEPS, &time), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_time_launches(instance, EXAMPLE_LAUNCHES - 1, times), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_time_launches(instance, EXAMPLE_LAUNCHES, NULL), PINION_INVALID_ARGUMENT);
  REFUSED(model, pinion_time_replays(instance, 1, NULL), PINION_INVALID_ARGUMENT);
  assert_int_equal(pinion_run(instance, NULL), PINION_OK);
  example_check_outputs(instance, &c);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
}

static void null_handles_are_refused(void **state) {
  (void)state;
  pinion_model *model = (pinion_model *)&model;
  REFUSED(NULL, pinion_model_open(NULL, fixture_folder, NULL, &model), PINION_INVALID_ARGUMENT);
  assert_null(model);
  REFUSED(NULL, pinion_model_open(pinion_model_description(), NULL, NULL, &model), PINION_INVALID_ARGUMENT);
  REFUSED(NULL, pinion_model_open(pinion_model_description(), fixture_folder, NULL, NULL), PINION_INVALID_ARGUMENT);
  pinion_instance *instance = NULL;
  REFUSED(NULL, pinion_instance_create(NULL, &instance), PINION_INVALID_ARGUMENT);
  REFUSED(NULL, pinion_prepare(NULL), PINION_INVALID_ARGUMENT);
  REFUSED(NULL, pinion_run(NULL, NULL), PINION_INVALID_ARGUMENT);
  REFUSED(NULL, pinion_synchronize(NULL, NULL), PINION_INVALID_ARGUMENT);
  REFUSED(NULL, pinion_set_input(NULL, "state", "", 24), PINION_INVALID_ARGUMENT);
  REFUSED(NULL, pinion_bind_output(NULL, "actions", &model, 40), PINION_INVALID_ARGUMENT);
  REFUSED(NULL, pinion_read_buffer(NULL, 0, &model, 8), PINION_INVALID_ARGUMENT);
  pinion_instance_destroy(NULL);
  pinion_model_close(NULL);
  assert_string_equal(pinion_status_name(PINION_BAD_ARTIFACT), "bad artifact");
  assert_string_equal(pinion_status_name((pinion_status)77), "unknown status");
}

static void errors_belong_to_their_model(void **state) {
  (void)state;
  pinion_model *a = open_example(1), *b = open_example(1);
  pinion_instance *in_a = create(a), *in_b = create(b);
  pinion_set_input(in_a, "a", NULL, 0);
  pinion_set_input(in_b, "b", NULL, 0);
  assert_string_equal(pinion_last_error(a), "the model has no input 'a'");
  assert_string_equal(pinion_last_error(b), "the model has no input 'b'");
  pinion_instance_destroy(in_a);
  pinion_instance_destroy(in_b);
  pinion_model_close(a);
  pinion_model_close(b);
  pinion_model *c = open_example(1); /* perhaps at the same address as a */
  assert_string_equal(pinion_last_error(c), "");
  pinion_model_close(c);
}

static void thread_counts_come_from_options_then_the_environment(void **state) {
  (void)state;
  pinion_model *model = NULL;
  pinion_options options = {.thread_count = -1};
  const pinion_model_desc *desc = pinion_model_description();
  REFUSED(NULL, pinion_model_open(desc, fixture_folder, &options, &model), PINION_INVALID_ARGUMENT);
  options.thread_count = 1 << 20;
  REFUSED(NULL, pinion_model_open(desc, fixture_folder, &options, &model), PINION_INVALID_ARGUMENT);
  setenv("PINION_THREADS", "three", 1);
  REFUSED(NULL, pinion_model_open(desc, fixture_folder, NULL, &model), PINION_INVALID_ARGUMENT);
  assert_non_null(strstr(pinion_last_error(NULL), "PINION_THREADS"));
  options.thread_count = 2; /* wins over the environment */
  assert_int_equal(pinion_model_open(desc, fixture_folder, &options, &model), PINION_OK);
  pinion_model_close(model);
  setenv("PINION_THREADS", "3", 1);
  assert_int_equal(pinion_model_open(desc, fixture_folder, NULL, &model), PINION_OK);
  pinion_model_close(model);
  unsetenv("PINION_THREADS");
}

/* ---- Inside a program ---- */

static void launches_run_one_by_one_give_the_whole(void **state) {
  (void)state;
  pinion_model *model = open_example(2);
  pinion_instance *instance = create(model);
  const pinion_model_desc *desc = pinion_model_description();
  example_case c = example_case_make(6);
  double microseconds = -1;
  example_set_inputs(instance, &c);
  assert_int_equal(pinion_prepare(instance), PINION_OK);
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t step = 0; step < desc->stages[s].repeat; step++)
      for (uint32_t i = 0; i < desc->stages[s].launch_count; i++)
        assert_int_equal(pinion_run_launch(instance, desc->stages[s].first_launch + i, step, &microseconds), PINION_OK);
  assert_true(microseconds >= 0);
  assert_int_equal(pinion_run_launch(instance, 0, 0, NULL), PINION_OK); /* the time need not be asked for */
  example_check_outputs(instance, &c);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
}

static void any_buffer_can_be_read_with_its_padding(void **state) {
  (void)state;
  pinion_model *model = open_example(2);
  pinion_instance *instance = create(model);
  const pinion_model_desc *desc = pinion_model_description();
  example_case c = example_case_make(7);
  example_weights weights;
  example_weights_fill(&weights);
  example_set_inputs(instance, &c);
  assert_int_equal(pinion_run(instance, NULL), PINION_OK);
  float embedding[EXAMPLE_VOCABULARY][4], sum[EXAMPLE_ROWS][4];
  for (uint32_t i = 0; i < desc->buffer_count; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[i];
    if (!strcmp(buffer->name, "embedding"))
      assert_int_equal(pinion_read_buffer(instance, i, embedding, sizeof embedding), PINION_OK);
    if (!strcmp(buffer->name, "sum")) assert_int_equal(pinion_read_buffer(instance, i, sum, sizeof sum), PINION_OK);
  }
  assert_memory_equal(embedding, weights.embedding, sizeof embedding);
  for (int m = 0; m < EXAMPLE_ROWS; m++)
    for (int k = 0; k < EXAMPLE_STATE; k++) assert_true(sum[m][k] == c.state[m][k] + weights.embedding[c.tokens[m]][k]);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(results_equal_the_reference_for_any_thread_count),
      cmocka_unit_test(bound_buffers_are_used_in_place),
      cmocka_unit_test(attached_buffers_are_used_in_place),
      cmocka_unit_test(variants_are_for_gpus),
      cmocka_unit_test(run_allocates_nothing),
      cmocka_unit_test(every_refused_allocation_is_reported_and_leaks_nothing),
      cmocka_unit_test(instances_share_a_model_and_nothing_else),
      cmocka_unit_test(threads_call_instances_of_one_model_at_once),
      cmocka_unit_test(inputs_and_outputs_are_found_by_name),
      cmocka_unit_test(wrong_arguments_are_refused_in_words_and_leave_the_handle_usable),
      cmocka_unit_test(null_handles_are_refused),
      cmocka_unit_test(errors_belong_to_their_model),
      cmocka_unit_test(thread_counts_come_from_options_then_the_environment),
      cmocka_unit_test(launches_run_one_by_one_give_the_whole),
      cmocka_unit_test(any_buffer_can_be_read_with_its_padding),
  };
  return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
