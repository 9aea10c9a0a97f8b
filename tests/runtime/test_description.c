/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Damages every field of the hand-written artifact in turn: each must be refused with a reason, none may crash. */
#include "fixture.h"

enum { MOST = 32 };

/* A copy of the artifact's tables that may be written to. */
typedef struct tables {
  pinion_model_desc desc;
  pinion_buffer_desc buffers[MOST];
  pinion_kernel_desc kernels[MOST];
  pinion_arg args[MOST];
  pinion_launch_desc launches[MOST];
  pinion_params params[MOST];
  uint32_t dependencies[MOST], inputs[MOST], outputs[MOST];
  pinion_stage_desc stages[MOST];
} tables;

#define COPY(field, count)                                                                                             \
  memcpy(t->field, t->desc.field, t->desc.count * sizeof t->field[0]);                                                 \
  t->desc.field = t->field

static void tables_make(tables *t) {
  t->desc = example_model;
  COPY(buffers, buffer_count);
  COPY(kernels, kernel_count);
  COPY(args, arg_count);
  COPY(launches, launch_count);
  COPY(dependencies, dependency_count);
  COPY(stages, stage_count);
  COPY(inputs, input_count);
  COPY(outputs, output_count);
  for (uint32_t i = 0; i < t->desc.launch_count; i++) {
    t->params[i] = *t->launches[i].params;
    t->launches[i].params = &t->params[i];
  }
}

static pinion_status open_tables(const tables *t) {
  pinion_model *model = NULL;
  const pinion_options options = {.thread_count = 1};
  pinion_status status = pinion_model_open(&t->desc, fixture_folder, &options, &model);
  if (status) {
    assert_null(model);
    assert_string_not_equal(pinion_last_error(NULL), "");
  }
  pinion_model_close(model);
  return status;
}

/* DAMAGED(statement): the tables after `statement` are refused. */
#define DAMAGED(...)                                                                                                   \
  do {                                                                                                                 \
    static tables t;                                                                                                   \
    tables_make(&t);                                                                                                   \
    assert_int_equal(open_tables(&t), PINION_OK);                                                                      \
    __VA_ARGS__;                                                                                                       \
    if (open_tables(&t) != PINION_BAD_ARTIFACT) fail_msg("not refused: %s", #__VA_ARGS__);                             \
  } while (0)

static void damaged_headers_are_refused(void **state) {
  (void)state;
  DAMAGED(t.desc.abi_version++);
  DAMAGED(t.desc.name = NULL);
  DAMAGED(t.desc.target = NULL);
  DAMAGED(t.desc.target = "a-name-that-is-too-long-for-the-header");
  DAMAGED(t.desc.target = "sm_90");
  DAMAGED(t.desc.device = NULL);
  DAMAGED(t.desc.device = "cuda");
  DAMAGED(t.desc.arena_bytes = 512);
  DAMAGED(t.desc.arena_bytes = UINT64_MAX);
  DAMAGED(t.desc.weights_bytes -= 256);
  DAMAGED(t.desc.weights_bytes = 0);
  DAMAGED(t.desc.buffers = NULL);
  DAMAGED(t.desc.kernels = NULL);
  DAMAGED(t.desc.args = NULL);
  DAMAGED(t.desc.launches = NULL);
  DAMAGED(t.desc.dependencies = NULL);
  DAMAGED(t.desc.stages = NULL);
  DAMAGED(t.desc.inputs = NULL);
  DAMAGED(t.desc.outputs = NULL);
  DAMAGED(t.desc.launch_count = UINT32_MAX);
}

static void counts_that_cut_a_table_short_are_refused(void **state) {
  (void)state;
  DAMAGED(t.desc.buffer_count--);
  DAMAGED(t.desc.kernel_count--);
  DAMAGED(t.desc.arg_count--);
  DAMAGED(t.desc.launch_count--);
  DAMAGED(t.desc.dependency_count--);
  DAMAGED(t.desc.stage_count--);
  DAMAGED(t.desc.input_count--);
  DAMAGED(t.desc.output_count--);
}

static void damaged_buffers_are_refused(void **state) {
  (void)state;
  enum { STATE, TOKENS, NOISE, ACTIONS, EMBEDDED, WEIGHT = 8 };
  DAMAGED(t.buffers[EMBEDDED].name = NULL);
  DAMAGED(t.buffers[EMBEDDED].space = PINION_SPACE_COUNT);
  DAMAGED(t.buffers[EMBEDDED].space = PINION_SPACE_INPUT);
  DAMAGED(t.buffers[EMBEDDED].dtype = PINION_DTYPE_COUNT);
  DAMAGED(t.buffers[EMBEDDED].rank = 9);
  DAMAGED(t.buffers[EMBEDDED].rank = -1);
  DAMAGED(t.buffers[EMBEDDED].dims[0] = -1);
  DAMAGED(t.buffers[EMBEDDED].dims[0] = 3);
  DAMAGED(t.buffers[EMBEDDED].dims[0] = INT64_MAX);
  DAMAGED(t.buffers[EMBEDDED].pitch = 2);
  DAMAGED(t.buffers[EMBEDDED].pitch = INT64_MAX);
  DAMAGED(t.buffers[EMBEDDED].offset = 16);
  DAMAGED(t.buffers[EMBEDDED].offset = 1024);
  DAMAGED(t.buffers[EMBEDDED].offset = UINT64_MAX - 255);
  DAMAGED(t.buffers[EMBEDDED].bytes = 769);
  DAMAGED(t.buffers[EMBEDDED].bytes = UINT64_MAX);
  DAMAGED(t.buffers[EMBEDDED].bytes = 8);
  DAMAGED(t.buffers[WEIGHT].offset += 1024);
  DAMAGED(t.buffers[WEIGHT].bytes = 4096);
  DAMAGED(t.buffers[STATE].bytes = 28);
  DAMAGED(t.buffers[STATE].pitch = 4);
  DAMAGED(t.buffers[STATE].offset = 1);
  DAMAGED(t.buffers[STATE].offset = UINT64_MAX);
  DAMAGED(t.buffers[TOKENS].name = "state");
  DAMAGED(t.buffers[ACTIONS].space = PINION_SPACE_INPUT);
}

/* Rows of EMBEDDED as a copy engine would see them, given to the launch that reads it. */
static void tables_make_mapped(tables *t, pinion_tensor_map *map) {
  enum { SUM_LAUNCH = 1, EMBEDDED_ARGUMENT = 2 };
  *map = (pinion_tensor_map){.argument = EMBEDDED_ARGUMENT,
                             .dtype = PINION_DTYPE_f32,
                             .rank = 2,
                             .size = {EXAMPLE_STATE, EXAMPLE_ROWS},
                             .stride = {1, 4},
                             .box = {32, 8}};
  tables_make(t);
  t->launches[SUM_LAUNCH].tensor_map = map;
}

#define DAMAGED_MAP(...)                                                                                               \
  do {                                                                                                                 \
    static tables t;                                                                                                   \
    pinion_tensor_map map;                                                                                             \
    tables_make_mapped(&t, &map);                                                                                      \
    assert_int_equal(open_tables(&t), PINION_OK);                                                                      \
    __VA_ARGS__;                                                                                                       \
    if (open_tables(&t) != PINION_BAD_ARTIFACT) fail_msg("not refused: %s", #__VA_ARGS__);                             \
  } while (0)

static void damaged_tensor_maps_are_refused(void **state) {
  (void)state;
  DAMAGED_MAP(map.argument = 3);
  DAMAGED_MAP(map.dtype = PINION_DTYPE_bf16);
  DAMAGED_MAP(map.dtype = PINION_DTYPE_i64);
  DAMAGED_MAP(map.rank = 0);
  DAMAGED_MAP(map.rank = 6);
  DAMAGED_MAP(map.size[0] = 0);
  DAMAGED_MAP(map.size[1] = -1);
  DAMAGED_MAP(map.size[1] = INT64_MAX);
  DAMAGED_MAP(map.size[1] = 1000);
  DAMAGED_MAP(map.stride[0] = 2);
  DAMAGED_MAP(map.stride[1] = 3);
  DAMAGED_MAP(map.stride[1] = 4000);
  DAMAGED_MAP(map.stride[1] = -4);
  DAMAGED_MAP(map.box[0] = 64);
  DAMAGED_MAP(map.box[1] = 0);
  DAMAGED_MAP(map.box[1] = 257);
  DAMAGED_MAP(t.args[t.launches[1].first_arg + 2].offset = 4);
}

static void damaged_lists_are_refused(void **state) {
  (void)state;
  DAMAGED(t.inputs[0] = 99);
  DAMAGED(t.inputs[0] = 4);
  DAMAGED(t.inputs[0] = 1);
  DAMAGED(t.outputs[0] = 0);
  DAMAGED(t.kernels[1].name = NULL);
  DAMAGED(t.kernels[1].family = PINION_FAMILY_COUNT);
  DAMAGED(t.kernels[1].entry = NULL);
  DAMAGED(t.kernels[1].entry = NULL, t.kernels[1].blob = "gemm.cubin");
}

static void damaged_launches_are_refused(void **state) {
  (void)state;
  DAMAGED(t.launches[2].kernel = 99);
  DAMAGED(t.launches[2].grid[0] = 0);
  DAMAGED(t.launches[2].grid[0] = UINT32_MAX);
  DAMAGED(t.launches[2].grid[1] = 2);
  DAMAGED(t.launches[2].block[2] = 0);
  DAMAGED(t.launches[2].first_arg = 16);
  DAMAGED(t.launches[2].first_arg = UINT32_MAX);
  DAMAGED(t.launches[2].arg_count = 2);
  DAMAGED(t.launches[2].arg_count = PINION_MAX_ARGS + 1);
  DAMAGED(t.launches[2].params = NULL);
  DAMAGED(t.launches[2].first_dependency = 3);
  DAMAGED(t.launches[2].dependency_count = UINT32_MAX);
  DAMAGED(t.params[2].rank = 9);
  DAMAGED(t.params[2].rank = -1);
  DAMAGED(t.params[2].arg_count = 4);
  DAMAGED(t.params[2].size[3] = -5);
  DAMAGED(t.dependencies[1] = 2); /* on itself */
  DAMAGED(t.dependencies[1] = 99);
}

static void damaged_arguments_are_refused(void **state) {
  (void)state;
  enum { RATE = 13 }; /* the argument that moves with the step */
  DAMAGED(t.args[0].buffer = 99);
  DAMAGED(t.args[0].offset = -4);
  DAMAGED(t.args[0].offset = 4096);
  DAMAGED(t.args[RATE].step_stride = 64);
  DAMAGED(t.args[RATE].step_stride = -32);
  DAMAGED(t.args[RATE].step_stride = INT64_MAX);
  DAMAGED(t.args[RATE].step_stride = INT64_MIN);
}

static void strides_and_sizes_that_reach_outside_a_buffer_are_refused(void **state) {
  (void)state;
  enum { GATHER, SUM, PROJECT };
  DAMAGED(t.params[PROJECT].size[PINION_GEMM_M] = 3); /* one row more than the buffers have */
  DAMAGED(t.params[PROJECT].size[PINION_GEMM_K] = 100);
  DAMAGED(t.params[PROJECT].stride[0][PINION_GEMM_M] = 24);
  DAMAGED(t.params[PROJECT].stride[2][PINION_GEMM_K] = -1);
  DAMAGED(t.params[PROJECT].stride[1][PINION_GEMM_K] = INT64_MAX);
  DAMAGED(t.params[PROJECT].stride[1][PINION_GEMM_K] = INT64_MIN);
  DAMAGED(t.params[PROJECT].size[PINION_GEMM_K] = INT64_MAX);
  DAMAGED(t.params[PROJECT].size[PINION_GEMM_P] = 3); /* one accumulator or two */
  DAMAGED(t.params[PROJECT].integer[0] = 1);          /* a part that begins behind the last group */
  DAMAGED(t.params[PROJECT].integer[2] = 1);          /* a sum of an operand that is not there */
  DAMAGED(t.params[PROJECT].integer[4] = 1);          /* a sum of a result that is not there */
  DAMAGED(t.params[PROJECT].integer[5] = 2);          /* no operands are left */
  DAMAGED(t.params[PROJECT].integer[6] = 1);          /* a mask that is not there */
  DAMAGED(t.params[PROJECT].integer[6] = -1);
  DAMAGED(t.params[GATHER].integer[0] = 7); /* rows of the table */
  DAMAGED(t.params[GATHER].integer[0] = 0);
  DAMAGED(t.params[GATHER].integer[1] = 2); /* a dimension that is not there */
  DAMAGED(t.params[GATHER].integer[1] = -1);
  DAMAGED(t.kernels[0].family = PINION_FAMILY_ATTENTION); /* other ranks, other arguments */
  DAMAGED(t.kernels[0].family = PINION_FAMILY_REDUCE);
  DAMAGED(t.args[2].offset = 8); /* the second token lies beyond */
}

static void an_empty_launch_reaches_nothing(void **state) {
  (void)state;
  static tables t;
  tables_make(&t);
  t.params[2].size[PINION_GEMM_M] = 0;
  t.params[2].stride[1][PINION_GEMM_K] = INT64_MAX;
  assert_int_equal(open_tables(&t), PINION_OK);
}

static void damaged_stages_are_refused(void **state) {
  (void)state;
  DAMAGED(t.stages[0].name = NULL);
  DAMAGED(t.stages[0].first_launch = 1);
  DAMAGED(t.stages[0].launch_count = 3);
  DAMAGED(t.stages[1].launch_count = 3);
  DAMAGED(t.stages[1].launch_count = 1);
  DAMAGED(t.stages[1].repeat = 0);
  DAMAGED(t.stages[1].repeat = UINT32_MAX);
  DAMAGED(t.stages[1].repeat = 4); /* the table of rates has three rows */
}

/* A step stride may run downwards. */
static void negative_step_strides_within_the_buffer_are_accepted(void **state) {
  (void)state;
  static tables t;
  tables_make(&t);
  t.args[13].offset = 64;
  t.args[13].step_stride = -32;
  assert_int_equal(open_tables(&t), PINION_OK);
}

/* ---- weights.bin ---- */

static void weights_refused(const void *data, size_t bytes, const char *expected) {
  static tables t;
  tables_make(&t);
  fixture_write("weights.bin", data, bytes);
  assert_int_equal(open_tables(&t), PINION_BAD_ARTIFACT);
  if (!strstr(pinion_last_error(NULL), expected)) fail_msg("'%s' lacks '%s'", pinion_last_error(NULL), expected);
}

static void damaged_weights_are_refused(void **state) {
  (void)state;
  static example_weights w;
  static char longer[sizeof w + 1];
  example_weights_fill(&w);
  memcpy(longer, &w, sizeof w);
  weights_refused(longer, sizeof longer, "another model");
  weights_refused(&w, sizeof w - 1, "truncated");
  weights_refused(&w, sizeof(pinion_weights_header) - 1, "truncated");
  weights_refused(&w, 0, "truncated");
  w.header.magic[0] = 'p';
  weights_refused(&w, sizeof w, "not a weights file");
  example_weights_fill(&w);
  w.header.abi_version = PINION_ABI_VERSION + 1;
  weights_refused(&w, sizeof w, "schema version");
  example_weights_fill(&w);
  strcpy(w.header.target, "sm_90");
  weights_refused(&w, sizeof w, "'sm_90'");
  example_weights_fill(&w);
  memset(w.header.target, 'x', sizeof w.header.target); /* no end */
  weights_refused(&w, sizeof w, "target");
  example_weights_fill(&w);
  w.header.bytes--;
  weights_refused(&w, sizeof w, "header");
  example_weights_fill(&w);
  fixture_write("weights.bin", &w, sizeof w);
}

static void missing_weights_are_refused_and_another_path_is_taken(void **state) {
  (void)state;
  pinion_model *model = NULL;
  char path[128];
  snprintf(path, sizeof path, "%s/weights.bin", fixture_folder);
  assert_int_equal(pinion_model_open(&example_model, "/nonexistent", NULL, &model), PINION_BAD_ARTIFACT);
  assert_non_null(strstr(pinion_last_error(NULL), "/nonexistent/weights.bin"));
  const pinion_options options = {.thread_count = 1, .weights = path};
  assert_int_equal(pinion_model_open(&example_model, "/nonexistent", &options, &model), PINION_OK);
  pinion_model_close(model);
  const pinion_options folder = {.thread_count = 1, .weights = "/tmp"};
  assert_int_equal(pinion_model_open(&example_model, fixture_folder, &folder, &model), PINION_BAD_ARTIFACT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(damaged_headers_are_refused),
      cmocka_unit_test(counts_that_cut_a_table_short_are_refused),
      cmocka_unit_test(damaged_buffers_are_refused),
      cmocka_unit_test(damaged_tensor_maps_are_refused),
      cmocka_unit_test(damaged_lists_are_refused),
      cmocka_unit_test(damaged_launches_are_refused),
      cmocka_unit_test(damaged_arguments_are_refused),
      cmocka_unit_test(strides_and_sizes_that_reach_outside_a_buffer_are_refused),
      cmocka_unit_test(an_empty_launch_reaches_nothing),
      cmocka_unit_test(damaged_stages_are_refused),
      cmocka_unit_test(negative_step_strides_within_the_buffer_are_accepted),
      cmocka_unit_test(damaged_weights_are_refused),
      cmocka_unit_test(missing_weights_are_refused_and_another_path_is_taken),
  };
  return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
