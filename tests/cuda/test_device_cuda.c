/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* device_cuda*.c against the stand-in driver: what it calls, in which order, and what it does when a call fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/device.h"
#include "stand_in_driver.h"

#define CUDA (pinion_device_implementation)

/* ---- A model by hand: prefix(arena, input), then three steps of step(arena, weights) and last(output, arena) ---- */

enum { INPUT, ARENA, OUTPUT, WEIGHTS, BUFFERS };
#define ARENA_BYTES 1024
#define STEPS 3
#define LAUNCHES (1 + 2 * STEPS)         /* of the call */
#define WEIGHTS_BYTES ((40u << 20) + 12) /* more than two staging buffers, and not a multiple */

static const pinion_buffer_desc buffers[BUFFERS] = {
    [INPUT] = {"x", PINION_SPACE_INPUT, PINION_DTYPE_f32, 1, {16}, 16, 0, 64},
    [ARENA] = {"t", PINION_SPACE_ARENA, PINION_DTYPE_f32, 1, {256}, 256, 0, ARENA_BYTES},
    [OUTPUT] = {"y", PINION_SPACE_OUTPUT, PINION_DTYPE_f32, 1, {16}, 16, 0, 64},
    [WEIGHTS] = {"w", PINION_SPACE_WEIGHTS, PINION_DTYPE_f32, 1, {64}, 64, 256, 256},
};
static const pinion_kernel_desc kernels[] = {
    {.name = "prefix", .blob = "a.cubin"}, {.name = "step", .blob = "b.cubin"}, {.name = "last", .blob = "b.cubin"}};
static const pinion_arg args[] = {{ARENA, 0, 0},     {INPUT, 0, 0},  {ARENA, 64, 0},
                                  {WEIGHTS, 16, 32}, {OUTPUT, 0, 0}, {ARENA, 64, 4}};
static const pinion_params two_args = {.rank = 1, .arg_count = 2, .size = {16}, .stride = {{1}, {1}}, .scalar = {0.5}};
static const pinion_params six_elements = {.rank = 1, .arg_count = 2, .size = {6}, .stride = {{1}, {0}}};
/* Of the weights' argument, which is another one in each step. */
static const pinion_tensor_map weights_map = {
    .argument = 1, .dtype = PINION_DTYPE_f32, .rank = 2, .size = {8, 2}, .stride = {1, 12}, .box = {32, 7}};
static const pinion_launch_desc launches[] = {
    {.kernel = 0, .grid = {3, 1, 1}, .block = {256, 1, 1}, .first_arg = 0, .arg_count = 2, .params = &two_args},
    {.kernel = 1,
     .grid = {2, 5, 7},
     .block = {32, 2, 1},
     .dynamic_shared_bytes = 100000,
     .first_arg = 2,
     .arg_count = 2,
     .params = &six_elements,
     .tensor_map = &weights_map},
    {.kernel = 2, .grid = {1, 1, 1}, .block = {128, 1, 1}, .first_arg = 4, .arg_count = 2, .params = &two_args}};
static const pinion_stage_desc stages[] = {{"prefix", 0, 1, 1}, {"step", 1, 2, STEPS}};
static const uint32_t inputs[] = {INPUT}, outputs[] = {OUTPUT};
static const pinion_model_desc model = {.abi_version = PINION_ABI_VERSION,
                                        .name = "by_hand",
                                        .target = "sm_90",
                                        .device = "cuda",
                                        .compute_capability = 90,
                                        .minimum_driver = 13000,
                                        .arena_bytes = ARENA_BYTES,
                                        .weights_bytes = WEIGHTS_BYTES,
                                        .buffers = buffers,
                                        .kernels = kernels,
                                        .args = args,
                                        .launches = launches,
                                        .stages = stages,
                                        .inputs = inputs,
                                        .outputs = outputs,
                                        .buffer_count = BUFFERS,
                                        .kernel_count = 3,
                                        .arg_count = 6,
                                        .launch_count = 3,
                                        .stage_count = 2,
                                        .input_count = 1,
                                        .output_count = 1};

static char folder[64];
static uint8_t *weights;
static uint32_t weights_bytes; /* how much of them a life loads */
static bool attaches;          /* whether the next life attaches its input and output */
static pinion_error error;

static void write_blob(const char *name, const char *content) {
  uint8_t header[64] = "\177ELF\2\1";
  char path[128];
  snprintf(path, sizeof path, "%s/kernels/%s", folder, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  fwrite(header, 1, sizeof header, file);
  fwrite(content, 1, strlen(content) + 1, file);
  fclose(file);
}

static void write_blobs(void) {
  write_blob("pn_empty.cubin", "<pn_empty>");
  write_blob("a.cubin", "<prefix>");
  write_blob("b.cubin", "<step><last>");
}

static int make_folder(void **state) {
  char path[128];
  (void)state;
  strcpy(folder, "/tmp/pinion-cuda-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "mkdir %s/kernels", folder);
  if (system(path)) return -1;
  weights = malloc(WEIGHTS_BYTES);
  for (uint32_t i = 0; i < WEIGHTS_BYTES; i++) weights[i] = (uint8_t)(i * 2654435761u >> 24);
  return 0;
}

static int remove_folder(void **state) {
  char command[128];
  (void)state;
  free(weights);
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

static int reset(void **state) {
  (void)state;
  stand_in_reset();
  write_blobs();
  weights_bytes = WEIGHTS_BYTES;
  attaches = false;
  error.text[0] = '\0';
  return 0;
}

static const pinion_options options = {.driver = STAND_IN_DRIVER};

static pinion_status open_device(pinion_device **out_device) {
  return CUDA->open(&model, folder, &options, out_device, &error);
}

/* Nothing is left, and no call misused the driver. */
static void check_end(void) {
  assert_string_equal(stand_in_violation(), "");
  assert_int_equal(stand_in_live(), 0);
}

/* ---- Refusals ---- */

static void check_refused(pinion_status expected, const char *sentence) {
  pinion_device *device = (pinion_device *)&device;
  assert_int_equal(open_device(&device), expected);
  assert_null(device);
  if (!strstr(error.text, sentence)) fail_msg("'%s' does not say '%s'", error.text, sentence);
  check_end();
}

static void another_compute_capability_is_refused_with_both(void **state) {
  (void)state;
  stand_in_set_machine((stand_in_machine){1, 8, 6, 13000});
  check_refused(PINION_NO_DEVICE, "compiled for sm_90, compute capability 9.0; stand-in GPU has 8.6");
}

static void an_old_driver_is_refused_with_both_versions(void **state) {
  (void)state;
  stand_in_set_machine((stand_in_machine){1, 9, 0, 12040});
  check_refused(PINION_NO_DEVICE, "supports CUDA 12.4, this model needs 13.0 or newer");
}

static void a_machine_without_a_gpu_is_refused(void **state) {
  (void)state;
  stand_in_set_machine((stand_in_machine){0, 9, 0, 13000});
  check_refused(PINION_NO_DEVICE, "cuInit");
}

static void an_index_beyond_the_last_gpu_is_refused(void **state) {
  (void)state;
  pinion_options second = options;
  pinion_device *device;
  second.device_index = 1;
  assert_int_equal(CUDA->open(&model, folder, &second, &device, &error), PINION_NO_DEVICE);
  assert_string_equal(error.text, "there is no GPU 1: the driver sees 1");
  check_end();
}

static void a_missing_driver_is_a_sentence(void **state) {
  (void)state;
  pinion_options none = {.driver = "/nonexistent/libcuda.so.1"};
  pinion_device *device;
  assert_int_equal(CUDA->open(&model, folder, &none, &device, &error), PINION_NO_DEVICE);
  assert_non_null(strstr(error.text, "/nonexistent/libcuda.so.1"));
}

static void a_library_that_is_no_driver_is_refused_by_the_missing_symbol(void **state) {
  (void)state;
  pinion_options other = {.driver = "libm.so.6"};
  pinion_device *device;
  assert_int_equal(CUDA->open(&model, folder, &other, &device, &error), PINION_NO_DEVICE);
  assert_string_equal(error.text, "libm.so.6 is no usable CUDA driver: it has no cuInit");
}

static void the_environment_names_the_driver_too(void **state) {
  (void)state;
  pinion_options none = {0};
  pinion_device *device;
  setenv("PINION_CUDA_DRIVER", STAND_IN_DRIVER, 1);
  assert_int_equal(CUDA->open(&model, folder, &none, &device, &error), PINION_OK);
  unsetenv("PINION_CUDA_DRIVER");
  CUDA->close(device);
  check_end();
}

static void truncate_blob(const char *name, long bytes) {
  char path[128];
  snprintf(path, sizeof path, "%s/kernels/%s", folder, name);
  assert_int_equal(truncate(path, bytes), 0);
}

static void damaged_kernels_are_refused_before_the_driver_sees_them(void **state) {
  (void)state;
  char path[128];
  truncate_blob("b.cubin", 63);
  check_refused(PINION_BAD_ARTIFACT, "b.cubin is damaged or no cubin");
  write_blobs();
  snprintf(path, sizeof path, "%s/kernels/b.cubin", folder);
  FILE *file = fopen(path, "r+b"); /* a section table beyond the end */
  fseek(file, 40, SEEK_SET);
  fputc(120, file);
  fclose(file);
  check_refused(PINION_BAD_ARTIFACT, "b.cubin is damaged or no cubin");
  unlink(path);
  check_refused(PINION_BAD_ARTIFACT, "b.cubin cannot be read");
}

static void kernels_that_the_driver_refuses_are_a_bad_artifact(void **state) {
  (void)state;
  write_blob("b.cubin", "wrong architecture");
  check_refused(PINION_BAD_ARTIFACT, "cuModuleLoadData failed for b.cubin");
  write_blob("b.cubin", "<step>");
  check_refused(PINION_BAD_ARTIFACT, "cuModuleGetFunction failed for last");
}

/* ---- A whole life ---- */

typedef struct life {
  pinion_device *device;
  void *addresses[BUFFERS]; /* own memory, in one allocation but for the weights */
  pinion_program *program;
  void *hosts[BUFFERS]; /* pinned memory that the input comes from and the output goes to, if they are attached */
  char output[64];
} life;

static pinion_status attach(life *l) {
  pinion_status status = CUDA->allocate_host(l->device, 64, &l->hosts[INPUT], &error);
  return status ? status : CUDA->allocate_host(l->device, 64, &l->hosts[OUTPUT], &error);
}

static pinion_status begin_life(life *l) {
  void *memory;
  *l = (life){0};
  pinion_status status = open_device(&l->device);
  if (!status) status = CUDA->load_weights(l->device, weights, weights_bytes, &l->addresses[WEIGHTS], &error);
  if (!status) status = CUDA->allocate(l->device, 4096, &memory, &error);
  if (status) return status;
  l->addresses[INPUT] = memory;
  l->addresses[OUTPUT] = (char *)memory + 256;
  l->addresses[ARENA] = (char *)memory + 512;
  l->addresses[WEIGHTS] = (char *)l->addresses[WEIGHTS] + 256;
  status = attaches ? attach(l) : PINION_OK;
  return status ? status : CUDA->capture(l->device, &model, l->addresses, l->hosts, &l->program, &error);
}

static pinion_status use_life(life *l) {
  static const char input[64] = "input";
  static const pinion_variant empty = {.is_empty = 1};
  double microseconds[LAUNCHES], others[2];
  pinion_device_facts facts;
  pinion_status status = CUDA->copy_in(l->device, l->addresses[INPUT], input, 64, NULL, &error);
  if (!status) status = CUDA->replay(l->device, l->program, NULL, &error);
  if (!status) status = CUDA->replay(l->device, l->program, STAND_IN_THREADS_STREAM, &error);
  if (!status) status = CUDA->synchronize(l->device, NULL, &error);
  if (!status) status = CUDA->run_launch(l->device, l->program, 1, 2, microseconds, &error);
  if (!status) status = CUDA->time_launches(l->device, l->program, microseconds, &error);
  if (!status) status = CUDA->time_replays(l->device, l->program, 3, microseconds, &error);
  if (!status) status = CUDA->time_variant(l->device, l->program, &empty, 2, microseconds, others, &error);
  if (!status) status = CUDA->describe(l->device, &facts, &error);
  if (!status) status = CUDA->copy_out(l->device, l->output, l->addresses[INPUT], 64, NULL, &error);
  return status;
}

static void end_life(life *l) {
  if (!l->device) return;
  if (l->program) CUDA->free_program(l->device, l->program);
  for (int i = 0; i < BUFFERS; i++) CUDA->free_host(l->device, l->hosts[i]);
  CUDA->free_memory(l->device, l->addresses[INPUT]);
  CUDA->close(l->device);
}

/* Launch `ran` is launch `index` of the table in `step`. */
static void check_launch(const life *l, const stand_in_launch *ran, uint32_t index, uint32_t step) {
  const pinion_launch_desc *launch = &launches[index];
  assert_string_equal(ran->kernel, kernels[launch->kernel].name);
  assert_memory_equal(ran->grid, launch->grid, sizeof ran->grid);
  assert_memory_equal(ran->block, launch->block, sizeof ran->block);
  assert_int_equal(ran->shared_bytes, launch->dynamic_shared_bytes);
  assert_memory_equal(&ran->params, launch->params, sizeof ran->params);
  for (uint32_t i = 0; i < PINION_MAX_ARGS; i++) {
    const pinion_arg *arg = i < launch->arg_count ? &args[launch->first_arg + i] : NULL;
    const char *expected = NULL;
    if (arg) expected = (char *)l->addresses[arg->buffer] + arg->offset + step * arg->step_stride;
    assert_ptr_equal(ran->pointers.pointer[i], expected);
  }
  const pinion_tensor_map *map = launch->tensor_map;
  const uint64_t address = map ? (uintptr_t)ran->pointers.pointer[map->argument] : 0;
  const uint64_t words[5] = {address, 2, 8, 12 * sizeof(float), 7}, none[5] = {0};
  assert_memory_equal(ran->tensor_map.words, map ? words : none, sizeof words);
}

static void check_replay(const life *l, int first, cuda_stream stream) {
  const int whole = first;
  check_launch(l, stand_in_launch_at(first++), 0, 0);
  for (uint32_t step = 0; step < STEPS; step++) {
    check_launch(l, stand_in_launch_at(first++), 1, step);
    check_launch(l, stand_in_launch_at(first++), 2, step);
  }
  for (int i = 1; i <= LAUNCHES; i++)
    if (stream) assert_ptr_equal(stand_in_launch_at(first - i)->stream, stream);
  for (int i = 0; i < LAUNCHES; i++) assert_int_equal(stand_in_launch_at(whole + i)->overlaps, i > 0);
}

static void a_replay_runs_the_tables_in_order_with_their_steps(void **state) {
  (void)state;
  life l;
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(stand_in_launch_count(), 0); /* captured, not run */
  assert_int_equal(CUDA->replay(l.device, l.program, NULL, &error), PINION_OK);
  assert_int_equal(CUDA->replay(l.device, l.program, NULL, &error), PINION_OK);
  assert_int_equal(stand_in_launch_count(), 2 * LAUNCHES);
  check_replay(&l, 0, NULL);
  check_replay(&l, LAUNCHES, NULL);
  end_life(&l);
  check_end();
}

static void the_callers_stream_is_used(void **state) {
  (void)state;
  life l;
  pinion_device *other; /* its context is the same one, as that of a program beside Pinion would be */
  cuda_context context;
  cuda_stream stream;
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(open_device(&other), PINION_OK);
  cuDevicePrimaryCtxRetain(&context, 0);
  cuCtxPushCurrent_v2(context);
  cuStreamCreate(&stream, 0);
  assert_int_equal(CUDA->replay(l.device, l.program, stream, &error), PINION_OK);
  assert_int_equal(CUDA->synchronize(l.device, stream, &error), PINION_OK);
  check_replay(&l, 0, stream);
  cuStreamDestroy_v2(stream);
  cuCtxPopCurrent_v2(&context);
  cuDevicePrimaryCtxRelease_v2(0);
  CUDA->close(other);
  end_life(&l);
  check_end();
}

static void a_replay_allocates_nothing(void **state) {
  (void)state;
  life l;
  assert_int_equal(begin_life(&l), PINION_OK);
  int calls = stand_in_calls(NULL);
  assert_int_equal(CUDA->replay(l.device, l.program, NULL, &error), PINION_OK);
  assert_int_equal(stand_in_calls(NULL) - calls, 3); /* push, launch, pop */
  assert_int_equal(stand_in_calls("cuGraphLaunch"), 1);
  end_life(&l);
  check_end();
}

static void one_launch_runs_alone_and_is_timed(void **state) {
  (void)state;
  life l;
  double microseconds = 0;
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(CUDA->run_launch(l.device, l.program, 2, 1, &microseconds, &error), PINION_OK);
  assert_int_equal(stand_in_launch_count(), 1);
  check_launch(&l, stand_in_launch_at(0), 2, 1);
  assert_true(microseconds == 250);
  assert_int_equal(CUDA->run_launch(l.device, l.program, 2, 1, NULL, &error), PINION_OK);
  assert_int_equal(CUDA->run_launch(l.device, l.program, 2, STEPS, NULL, &error), PINION_INVALID_ARGUMENT);
  assert_int_equal(CUDA->run_launch(l.device, l.program, 3, 0, NULL, &error), PINION_INVALID_ARGUMENT);
  end_life(&l);
  check_end();
}

static void launches_are_timed_inside_of_a_graph(void **state) {
  (void)state;
  life l;
  double microseconds[LAUNCHES] = {0};
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(CUDA->time_launches(l.device, l.program, microseconds, &error), PINION_OK);
  for (int i = 0; i < LAUNCHES; i++) assert_true(microseconds[i] == 250);
  for (int i = 0; i < LAUNCHES; i++) assert_false(stand_in_launch_at(i)->overlaps); /* events are between them */
  assert_int_equal(stand_in_calls("cuGraphLaunch"), 1);
  assert_int_equal(stand_in_launch_count(), LAUNCHES);
  end_life(&l);
  check_end();
}

static void every_replay_is_timed_apart(void **state) {
  (void)state;
  life l;
  double microseconds[4] = {0};
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(CUDA->time_replays(l.device, l.program, 4, microseconds, &error), PINION_OK);
  for (int i = 0; i < 4; i++) assert_true(microseconds[i] == 250);
  assert_int_equal(stand_in_calls("cuGraphLaunch"), 4);
  end_life(&l);
  check_end();
}

/* ---- Variants: the same graph with other kernels ---- */

static void an_empty_variant_launches_the_same_without_bodies(void **state) {
  (void)state;
  static const pinion_variant empty = {.is_empty = 1};
  life l;
  double own[2] = {0}, other[2] = {0};
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(CUDA->time_variant(l.device, l.program, &empty, 2, own, other, &error), PINION_OK);
  assert_int_equal(stand_in_launch_count(), 4 * LAUNCHES); /* in turn */
  for (int turn = 0; turn < 4; turn += 2) {
    check_replay(&l, turn * LAUNCHES, NULL);
    for (int i = 0; i < LAUNCHES; i++) {
      const stand_in_launch *as = stand_in_launch_at(turn * LAUNCHES + i), *ran = as + LAUNCHES;
      const uint32_t pair[3] = {2, 1, 1}, none[3] = {0};
      assert_string_equal(ran->kernel, "pn_empty");
      assert_memory_equal(ran->grid, as->grid, sizeof ran->grid);
      assert_memory_equal(ran->block, as->block, sizeof ran->block);
      assert_int_equal(ran->shared_bytes, as->shared_bytes);
      assert_int_equal(ran->overlaps, as->overlaps);
      assert_memory_equal(ran->cluster, strcmp(as->kernel, "step") ? none : pair, sizeof pair);
    }
  }
  for (int i = 0; i < 2; i++) assert_true(own[i] == 250 && other[i] == 250);
  end_life(&l);
  check_end();
}

static void a_variants_launches_take_the_places_of_the_tables(void **state) {
  (void)state;
  static const pinion_tensor_map map = {
      .argument = 0, .dtype = PINION_DTYPE_f32, .rank = 1, .size = {16}, .stride = {1}, .box = {16}};
  pinion_launch_desc others[3];
  const pinion_variant variant = {.launches = others};
  life l;
  double own, other;
  memcpy(others, launches, sizeof others);
  others[2].kernel = 1; /* with more shared memory than the table gives that kernel, and a tensor map */
  others[2].grid[0] = 9;
  others[2].dynamic_shared_bytes = 200000;
  others[2].tensor_map = &map;
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(CUDA->time_variant(l.device, l.program, &variant, 1, &own, &other, &error), PINION_OK);
  check_replay(&l, 0, NULL);
  check_launch(&l, stand_in_launch_at(LAUNCHES + 1), 1, 0);
  const stand_in_launch *ran = stand_in_launch_at(LAUNCHES + 2);
  assert_string_equal(ran->kernel, "step");
  assert_int_equal(ran->grid[0], 9);
  assert_int_equal(ran->shared_bytes, 200000);
  assert_ptr_equal(ran->pointers.pointer[0], l.addresses[OUTPUT]);
  assert_int_equal(ran->tensor_map.words[1], 1);
  assert_int_equal(CUDA->replay(l.device, l.program, NULL, &error), PINION_OK); /* the program itself is as it was */
  check_replay(&l, 2 * LAUNCHES, NULL);
  end_life(&l);
  check_end();
}

static void an_artifact_without_the_empty_kernel_says_so(void **state) {
  (void)state;
  static const pinion_variant empty = {.is_empty = 1};
  life l;
  char path[128];
  double own, other;
  snprintf(path, sizeof path, "%s/kernels/pn_empty.cubin", folder);
  unlink(path);
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(CUDA->time_variant(l.device, l.program, &empty, 1, &own, &other, &error), PINION_BAD_ARTIFACT);
  assert_non_null(strstr(error.text, "pn_empty.cubin cannot be read"));
  end_life(&l);
  check_end();
}

/* ---- What the capture and the device are ---- */

static void edges_between_kernels_are_counted(void **state) {
  (void)state;
  life l;
  pinion_capture_facts facts;
  assert_int_equal(begin_life(&l), PINION_OK);
  CUDA->describe_capture(l.program, &facts);
  assert_true(facts.has_edges);
  assert_int_equal(facts.launches, LAUNCHES);
  assert_int_equal(facts.copies, 0);
  assert_int_equal(facts.kernel_edges, LAUNCHES - 1);
  assert_int_equal(facts.programmatic_edges, LAUNCHES - 1);
  end_life(&l);
  check_end();
}

static void a_driver_that_does_not_tell_its_edges_is_no_failure(void **state) {
  (void)state;
  life l;
  pinion_capture_facts facts;
  for (int nth = 1; nth <= 2; nth++) {
    stand_in_fail("cuGraphGetEdges_v2", nth, 801);
    assert_int_equal(begin_life(&l), PINION_OK);
    CUDA->describe_capture(l.program, &facts);
    assert_false(facts.has_edges);
    assert_int_equal(facts.kernel_edges, 0);
    end_life(&l);
    check_end();
  }
}

static void attached_memory_is_copied_by_the_graph(void **state) {
  (void)state;
  life l;
  pinion_capture_facts facts;
  attaches = true;
  assert_int_equal(begin_life(&l), PINION_OK);
  CUDA->describe_capture(l.program, &facts);
  assert_int_equal(facts.copies, 2);
  assert_int_equal(facts.kernel_edges, LAUNCHES - 1); /* those to and from copies are no kernels' */
  assert_int_equal(facts.programmatic_edges, LAUNCHES - 1);
  strcpy(l.hosts[INPUT], "attached");
  memset(l.addresses[OUTPUT], 'o', 64);
  assert_int_equal(CUDA->replay(l.device, l.program, NULL, &error), PINION_OK);
  assert_string_equal(l.addresses[INPUT], "attached");
  assert_memory_equal(l.hosts[OUTPUT], l.addresses[OUTPUT], 64);
  check_replay(&l, 0, NULL);
  end_life(&l);
  check_end();
}

static void the_device_tells_what_it_is(void **state) {
  (void)state;
  life l;
  pinion_device_facts facts;
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(CUDA->describe(l.device, &facts, &error), PINION_OK);
  assert_string_equal(facts.name, "stand-in GPU");
  assert_string_equal(facts.bus, "0000:1B:00.0");
  assert_int_equal(facts.multiprocessors, 132);
  assert_int_equal(facts.clock_khz, 1980000);
  assert_int_equal(facts.memory_clock_khz, 3201000);
  assert_int_equal(facts.memory_bus_bits, 6144);
  assert_int_equal(facts.driver_version, 13000);
  assert_true(facts.memory_bytes == STAND_IN_MEMORY && facts.memory_free_at_open == STAND_IN_MEMORY);
  assert_true(facts.memory_free == STAND_IN_MEMORY - WEIGHTS_BYTES - 4096);
  assert_true(facts.context_us > 0 && facts.kernels_us > 0 && facts.weights_us > 0);
  end_life(&l);
  check_end();
}

static void check_weights(const life *l) {
  assert_memory_equal((char *)l->addresses[WEIGHTS] - 256, weights, WEIGHTS_BYTES);
}

static void weights_arrive_whole_through_pinned_buffers(void **state) {
  (void)state;
  life l;
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(stand_in_calls("cuMemcpyHtoDAsync_v2"), 3);
  assert_int_equal(stand_in_calls("cuMemFreeHost"), 2);
  check_weights(&l);
  end_life(&l);
  check_end();
}

static void weights_arrive_where_no_memory_can_be_pinned(void **state) {
  (void)state;
  life l;
  stand_in_fail("cuMemAllocHost_v2", 2, CUDA_OUT_OF_MEMORY);
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(stand_in_calls("cuMemcpyHtoDAsync_v2"), 1);
  check_weights(&l);
  end_life(&l);
  check_end();
}

static void new_memory_is_zero(void **state) {
  (void)state;
  life l;
  static const char zeros[512];
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_memory_equal(l.addresses[ARENA], zeros, sizeof zeros);
  end_life(&l);
  check_end();
}

static void copies_arrive(void **state) {
  (void)state;
  life l;
  assert_int_equal(begin_life(&l), PINION_OK);
  assert_int_equal(use_life(&l), PINION_OK);
  assert_string_equal(l.output, "input");
  end_life(&l);
  check_end();
}

static void close_frees_what_the_caller_did_not(void **state) {
  (void)state;
  life l;
  assert_int_equal(begin_life(&l), PINION_OK);
  CUDA->free_program(l.device, l.program);
  CUDA->close(l.device);
  check_end();
}

/* ---- Failures ---- */

static const char *const driver_functions[] = {
#define FUNCTION_NAME(name, parameters) #name,
    CUDA_SYMBOLS(FUNCTION_NAME, FUNCTION_NAME)
#undef FUNCTION_NAME
};
enum { DRIVER_FUNCTIONS = sizeof driver_functions / sizeof *driver_functions };

/* Calls that only end something, or describe an error: their own failure changes nothing. */
static bool failure_is_ignored(const char *function, int nth) {
  if (!strcmp(function, "cuEventCreate")) return nth <= 2;                   /* weights then go without staging */
  if (!strcmp(function, "cuDeviceGetAttribute")) return nth > 0 && nth <= 4; /* facts */
  if (strstr(function, "GraphGetEdges") || strstr(function, "GraphNodeGetType") || strstr(function, "PCIBus"))
    return true;
  return strstr(function, "Destroy") || strstr(function, "Free") || strstr(function, "Unload") ||
         strstr(function, "Release") || strstr(function, "Pop") || strstr(function, "GetError") ||
         strstr(function, "GetName") || strstr(function, "DriverGetVersion") || strstr(function, "AllocHost");
}

/* Whether the number of chunks matters: then a life has as many as it takes to use a buffer twice. */
static bool sends_weights(const char *function) {
  return strstr(function, "HtoD") || !strcmp(function, "cuEventSynchronize") || !strcmp(function, "cuEventRecord");
}

/* Those of the end, whose failure has nobody to be told, are not counted. */
static int calls_in_a_life(const char *function) {
  life l;
  stand_in_reset();
  if (!begin_life(&l)) use_life(&l);
  int calls = stand_in_calls(function);
  end_life(&l);
  return calls;
}

/* One life in which call `nth` of `function` fails with `result`; returns the status it ended with. */
static pinion_status fail_one(const char *function, int nth, cuda_result result) {
  life l;
  stand_in_reset();
  stand_in_fail(function, nth, result);
  error.text[0] = '\0';
  pinion_status status = begin_life(&l);
  if (!status) status = use_life(&l);
  if (status && l.program && status != PINION_DEVICE_LOST) {
    stand_in_fail(NULL, 0, CUDA_OK);
    assert_int_equal(use_life(&l), PINION_OK); /* the handle stays usable */
  }
  if (status == PINION_DEVICE_LOST && l.program) {
    stand_in_fail(NULL, 0, CUDA_OK);
    assert_int_equal(CUDA->replay(l.device, l.program, NULL, &error), PINION_DEVICE_LOST);
  }
  end_life(&l);
  if (stand_in_live() || stand_in_violation()[0])
    fail_msg("call %d of %s fails with %d: %d objects left; %s", nth, function, result, stand_in_live(),
             stand_in_violation());
  return status;
}

static void any_call_may_fail_and_nothing_leaks(void **state) {
  (void)state;
  for (int f = 0; f < DRIVER_FUNCTIONS; f++) {
    const char *function = driver_functions[f];
    weights_bytes = sends_weights(function) ? WEIGHTS_BYTES : 512;
    int calls = calls_in_a_life(function) + (failure_is_ignored(function, INT_MAX) ? 4 : 0);
    if (!calls) fail_msg("%s is never called", function);
    for (int nth = 1; nth <= calls; nth++) {
      pinion_status status = fail_one(function, nth, 999);
      if (failure_is_ignored(function, nth)) {
        assert_int_equal(status, PINION_OK);
      } else {
        pinion_status expected = strcmp(function, "cuInit") ? PINION_DEVICE_ERROR : PINION_NO_DEVICE;
        if (status != expected) fail_msg("call %d of %s fails: status %d", nth, function, status);
      }
    }
  }
}

static void running_out_of_memory_has_its_own_status(void **state) {
  (void)state;
  assert_int_equal(fail_one("cuMemAlloc_v2", 2, CUDA_OUT_OF_MEMORY), PINION_OUT_OF_MEMORY);
  assert_int_equal(fail_one("cuGraphInstantiateWithFlags", 1, CUDA_OUT_OF_MEMORY), PINION_OUT_OF_MEMORY);
  life l;
  stand_in_reset();
  stand_in_fail("cuMemAlloc_v2", 2, CUDA_OUT_OF_MEMORY);
  assert_int_equal(begin_life(&l), PINION_OUT_OF_MEMORY);
  assert_string_equal(error.text, "cuMemAlloc_v2 failed for 4096 bytes: out of memory (CUDA_ERROR_OUT_OF_MEMORY, 2)");
  end_life(&l);
}

static void a_fault_in_any_call_loses_the_device_and_nothing_leaks(void **state) {
  (void)state;
  const char *const functions[] = {
      "cuStreamSynchronize", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuLaunchKernelEx",   "cuGraphLaunch",
      "cuEventSynchronize",  "cuMemAlloc_v2",        "cuModuleLoadData",     "cuStreamEndCapture", "cuMemAllocHost_v2"};
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
    weights_bytes = sends_weights(functions[f]) ? WEIGHTS_BYTES : 512;
    int calls = calls_in_a_life(functions[f]);
    assert_true(calls > 0);
    for (int nth = 1; nth <= calls; nth++)
      assert_int_equal(fail_one(functions[f], nth, CUDA_ILLEGAL_ADDRESS), PINION_DEVICE_LOST);
  }
}

static void a_lost_device_is_lost_to_the_process(void **state) {
  (void)state;
  life l;
  void *memory;
  char bytes[4];
  double microseconds;
  assert_int_equal(begin_life(&l), PINION_OK);
  stand_in_fail("cuStreamSynchronize", 1, CUDA_LAUNCH_FAILED);
  assert_int_equal(CUDA->synchronize(l.device, NULL, &error), PINION_DEVICE_LOST);
  assert_non_null(strstr(error.text, "cuStreamSynchronize failed"));
  int calls = stand_in_calls(NULL);
  assert_int_equal(CUDA->allocate(l.device, 16, &memory, &error), PINION_DEVICE_LOST);
  assert_int_equal(CUDA->load_weights(l.device, weights, 16, &memory, &error), PINION_DEVICE_LOST);
  assert_int_equal(CUDA->copy_in(l.device, l.addresses[INPUT], bytes, 4, NULL, &error), PINION_DEVICE_LOST);
  assert_int_equal(CUDA->copy_out(l.device, bytes, l.addresses[INPUT], 4, NULL, &error), PINION_DEVICE_LOST);
  assert_int_equal(CUDA->replay(l.device, l.program, NULL, &error), PINION_DEVICE_LOST);
  assert_int_equal(CUDA->synchronize(l.device, NULL, &error), PINION_DEVICE_LOST);
  assert_int_equal(CUDA->run_launch(l.device, l.program, 0, 0, NULL, &error), PINION_DEVICE_LOST);
  assert_int_equal(CUDA->time_replays(l.device, l.program, 1, &microseconds, &error), PINION_DEVICE_LOST);
  assert_non_null(strstr(error.text, "this process must be started anew"));
  assert_int_equal(stand_in_calls(NULL), calls); /* the driver was not asked */
  end_life(&l);
  check_end();
  pinion_device *device;
  assert_int_equal(open_device(&device), PINION_DEVICE_LOST); /* and the driver gives the process no new context */
  assert_non_null(strstr(error.text, "must be started anew"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, reset)
  const struct CMUnitTest tests[] = {
      TEST(another_compute_capability_is_refused_with_both),
      TEST(an_old_driver_is_refused_with_both_versions),
      TEST(a_machine_without_a_gpu_is_refused),
      TEST(an_index_beyond_the_last_gpu_is_refused),
      TEST(a_missing_driver_is_a_sentence),
      TEST(a_library_that_is_no_driver_is_refused_by_the_missing_symbol),
      TEST(the_environment_names_the_driver_too),
      TEST(damaged_kernels_are_refused_before_the_driver_sees_them),
      TEST(kernels_that_the_driver_refuses_are_a_bad_artifact),
      TEST(a_replay_runs_the_tables_in_order_with_their_steps),
      TEST(the_callers_stream_is_used),
      TEST(a_replay_allocates_nothing),
      TEST(one_launch_runs_alone_and_is_timed),
      TEST(launches_are_timed_inside_of_a_graph),
      TEST(every_replay_is_timed_apart),
      TEST(an_empty_variant_launches_the_same_without_bodies),
      TEST(a_variants_launches_take_the_places_of_the_tables),
      TEST(an_artifact_without_the_empty_kernel_says_so),
      TEST(edges_between_kernels_are_counted),
      TEST(a_driver_that_does_not_tell_its_edges_is_no_failure),
      TEST(attached_memory_is_copied_by_the_graph),
      TEST(the_device_tells_what_it_is),
      TEST(weights_arrive_whole_through_pinned_buffers),
      TEST(weights_arrive_where_no_memory_can_be_pinned),
      TEST(new_memory_is_zero),
      TEST(copies_arrive),
      TEST(close_frees_what_the_caller_did_not),
      TEST(any_call_may_fail_and_nothing_leaks),
      TEST(running_out_of_memory_has_its_own_status),
      TEST(a_fault_in_any_call_loses_the_device_and_nothing_leaks),
      TEST(a_lost_device_is_lost_to_the_process),
  };
  int failed = cmocka_run_group_tests(tests, make_folder, remove_folder);
  stand_in_reset();
  return failed;
}
