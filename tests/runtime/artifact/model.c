/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "model.h"

/* ---- Kernels: each reads its shape from `size` and its layout from `stride`, nothing else ---- */

/* gather [i n]: y[i,n] = x[index[i],n]; x's stride along dimension integer[1] is multiplied by the index. */
static void gather(const pinion_cpu_block *b) {
  const pinion_params *p = b->params;
  float *y = b->args[0];
  const float *x = b->args[1];
  const int64_t *index = b->args[2];
  for (int64_t i = 0; i < p->size[0]; i++)
    for (int64_t n = 0; n < p->size[1]; n++) {
      int64_t row = index[i * p->stride[2][0]];
      if (row < 0) row += p->integer[0];
      row = row < 0 ? 0 : row >= p->integer[0] ? p->integer[0] - 1 : row;
      y[i * p->stride[0][0] + n * p->stride[0][1]] = x[row * p->stride[1][0] + n * p->stride[1][1]];
    }
}

/* gemm [b0 b1 m h n p k], one row m per block: y[m,n] = sum_k a[m,k] * b[n,k]. The row of `a` is gathered in scratch
 * first.
 */
static void gemm_row(const pinion_cpu_block *b) {
  const pinion_params *p = b->params;
  enum { M = PINION_GEMM_M, N = PINION_GEMM_N, K = PINION_GEMM_K };
  float *y = (float *)b->args[0] + b->block * p->stride[0][M], *row = b->scratch;
  const float *a = (const float *)b->args[1] + b->block * p->stride[1][M], *w = b->args[2];
  for (int64_t k = 0; k < p->size[K]; k++) row[k] = a[k * p->stride[1][K]];
  for (int64_t n = 0; n < p->size[N]; n++) {
    float sum = 0;
    for (int64_t k = 0; k < p->size[K]; k++) sum += row[k] * w[n * p->stride[2][N] + k * p->stride[2][K]];
    y[n * p->stride[0][N]] = sum;
  }
}

static float element(const pinion_cpu_block *b, int arg, int64_t m, int64_t n) {
  return ((const float *)b->args[arg])[m * b->params->stride[arg][0] + n * b->params->stride[arg][1]];
}

static float *result(const pinion_cpu_block *b, int64_t m, int64_t n) {
  return &((float *)b->args[0])[m * b->params->stride[0][0] + n * b->params->stride[0][1]];
}

/* pointwise [m n], one row per block */
static void copy(const pinion_cpu_block *b) {
  for (int64_t n = 0; n < b->params->size[1]; n++) *result(b, b->block, n) = element(b, 1, b->block, n);
}

static void add(const pinion_cpu_block *b) {
  for (int64_t n = 0; n < b->params->size[1]; n++)
    *result(b, b->block, n) = element(b, 1, b->block, n) + element(b, 2, b->block, n);
}

static void multiply(const pinion_cpu_block *b) {
  for (int64_t n = 0; n < b->params->size[1]; n++)
    *result(b, b->block, n) = element(b, 1, b->block, n) * element(b, 2, b->block, n);
}

enum { GATHER, GEMM, COPY, ADD, MULTIPLY };
static const pinion_kernel_desc kernels[] = {
    [GATHER] = {"gather", PINION_FAMILY_GATHER, NULL, gather},
    [GEMM] = {"gemm_row", PINION_FAMILY_GEMM, NULL, gemm_row},
    [COPY] = {"copy", PINION_FAMILY_POINTWISE, NULL, copy},
    [ADD] = {"add", PINION_FAMILY_POINTWISE, NULL, add},
    [MULTIPLY] = {"multiply", PINION_FAMILY_POINTWISE, NULL, multiply},
};

/* ---- Buffers: inputs and outputs dense, the rest with rows of 16 bytes ---- */

enum { STATE, TOKENS, NOISE, ACTIONS, EMBEDDED, SUM, HIDDEN, MOVE, EMBEDDING, PROJECTION, RATE };
#define ARENA(name, columns, pitch, offset)                                                                            \
  {name, PINION_SPACE_ARENA, PINION_DTYPE_f32, 2, {EXAMPLE_ROWS, columns}, pitch, offset, EXAMPLE_ROWS * (pitch) * 4}
#define WEIGHT(field, rows, columns, pitch)                                                                            \
  {#field,                                                                                                             \
   PINION_SPACE_WEIGHTS,                                                                                               \
   PINION_DTYPE_f32,                                                                                                   \
   2,                                                                                                                  \
   {rows, columns},                                                                                                    \
   pitch,                                                                                                              \
   offsetof(example_weights, field),                                                                                   \
   (rows) * (pitch) * 4}
static const pinion_buffer_desc buffers[] = {
    [STATE] = {"state", PINION_SPACE_INPUT, PINION_DTYPE_f32, 2, {EXAMPLE_ROWS, EXAMPLE_STATE}, EXAMPLE_STATE, 0, 24},
    [TOKENS] = {"tokens", PINION_SPACE_INPUT, PINION_DTYPE_i64, 1, {EXAMPLE_ROWS}, EXAMPLE_ROWS, 1, 16},
    [NOISE] =
        {"noise", PINION_SPACE_INPUT, PINION_DTYPE_f32, 2, {EXAMPLE_ROWS, EXAMPLE_ACTIONS}, EXAMPLE_ACTIONS, 2, 40},
    [ACTIONS] =
        {"actions", PINION_SPACE_OUTPUT, PINION_DTYPE_f32, 2, {EXAMPLE_ROWS, EXAMPLE_ACTIONS}, EXAMPLE_ACTIONS, 0, 40},
    [EMBEDDED] = ARENA("embedded", EXAMPLE_STATE, 4, 0),
    [SUM] = ARENA("sum", EXAMPLE_STATE, 4, 256),
    [HIDDEN] = ARENA("hidden", EXAMPLE_ACTIONS, 8, 512),
    [MOVE] = ARENA("move", EXAMPLE_ACTIONS, 8, 0), /* in the place of `embedded`, which is dead by then */
    [EMBEDDING] = WEIGHT(embedding, EXAMPLE_VOCABULARY, EXAMPLE_STATE, 4),
    [PROJECTION] = WEIGHT(projection, EXAMPLE_ACTIONS, EXAMPLE_STATE, 4),
    [RATE] = WEIGHT(rate, EXAMPLE_STEPS, EXAMPLE_ACTIONS, 8),
};

/* ---- Launches ---- */

static const pinion_params gather_params = {
    2, 3, {EXAMPLE_ROWS, EXAMPLE_STATE}, {{4, 1}, {4, 1}, {1, 0}}, {EXAMPLE_VOCABULARY, 0}, {0}};
static const pinion_params gemm_params = {PINION_GEMM_RANK,
                                          3,
                                          {1, 1, EXAMPLE_ROWS, 1, EXAMPLE_ACTIONS, 1, EXAMPLE_STATE},
                                          {{0, 0, 8, 0, 1}, {0, 0, 4, 0, 0, 0, 1}, {0, 0, 0, 0, 4, 0, 1}},
                                          {0},
                                          {0}};
static const pinion_params sum_params = {2,   3,  {EXAMPLE_ROWS, EXAMPLE_STATE}, {{4, 1}, {EXAMPLE_STATE, 1}, {4, 1}},
                                         {0}, {0}};
static const pinion_params copy_params = {
    2, 2, {EXAMPLE_ROWS, EXAMPLE_ACTIONS}, {{EXAMPLE_ACTIONS, 1}, {EXAMPLE_ACTIONS, 1}}, {0}, {0}};
/* The rate has stride 0 along rows: it is broadcast. */
static const pinion_params move_params = {2, 3, {EXAMPLE_ROWS, EXAMPLE_ACTIONS}, {{8, 1}, {8, 1}, {0, 1}}, {0}, {0}};
static const pinion_params step_params = {
    2, 3, {EXAMPLE_ROWS, EXAMPLE_ACTIONS}, {{EXAMPLE_ACTIONS, 1}, {EXAMPLE_ACTIONS, 1}, {8, 1}}, {0}, {0}};

static const pinion_arg args[] = {
    {EMBEDDED, 0, 0}, {EMBEDDING, 0, 0}, {TOKENS, 0, 0},     /* 0: gather */
    {SUM, 0, 0},      {STATE, 0, 0},     {EMBEDDED, 0, 0},   /* 3: sum */
    {HIDDEN, 0, 0},   {SUM, 0, 0},       {PROJECTION, 0, 0}, /* 6: project */
    {ACTIONS, 0, 0},  {NOISE, 0, 0},                         /* 9: start */
    {MOVE, 0, 0},     {HIDDEN, 0, 0},    {RATE, 0, 32},      /* 11: move; each step has its row of the table */
    {ACTIONS, 0, 0},  {ACTIONS, 0, 0},   {MOVE, 0, 0},       /* 14: integrate, in place */
};

static const uint32_t dependencies[] = {0, 1, 4};
#define LAUNCH(kernel, grid, scratch, first_arg, count, params, first_dependency, dependency_count)                    \
  {kernel, {grid, 1, 1}, {1, 1, 1}, scratch, first_arg, count, params, first_dependency, dependency_count, NULL}
static const pinion_launch_desc launches[] = {
    LAUNCH(GATHER, 1, 0, 0, 3, &gather_params, 0, 0),
    LAUNCH(ADD, EXAMPLE_ROWS, 0, 3, 3, &sum_params, 0, 1),
    LAUNCH(GEMM, EXAMPLE_ROWS, EXAMPLE_STATE * sizeof(float), 6, 3, &gemm_params, 1, 1),
    LAUNCH(COPY, EXAMPLE_ROWS, 0, 9, 2, &copy_params, 0, 0), /* independent of the gemm */
    LAUNCH(MULTIPLY, EXAMPLE_ROWS, 0, 11, 3, &move_params, 0, 0),
    LAUNCH(ADD, EXAMPLE_ROWS, 0, 14, 3, &step_params, 2, 1),
};

static const pinion_stage_desc stages[] = {{"prefix", 0, 4, 1}, {"step", 4, 2, EXAMPLE_STEPS}};
static const uint32_t inputs[] = {STATE, TOKENS, NOISE}, outputs[] = {ACTIONS};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
const pinion_model_desc example_model = {
    .abi_version = PINION_ABI_VERSION,
    .name = "example",
    .target = "cpu",
    .device = "cpu",
    .arena_bytes = 768,
    .weights_bytes = sizeof(example_weights),
    .buffers = buffers,
    .kernels = kernels,
    .args = args,
    .launches = launches,
    .dependencies = dependencies,
    .stages = stages,
    .inputs = inputs,
    .outputs = outputs,
    .buffer_count = COUNT(buffers),
    .kernel_count = COUNT(kernels),
    .arg_count = COUNT(args),
    .launch_count = COUNT(launches),
    .dependency_count = COUNT(dependencies),
    .stage_count = COUNT(stages),
    .input_count = COUNT(inputs),
    .output_count = COUNT(outputs),
};

const pinion_model_desc *pinion_model_description(void) {
  return &example_model;
}
