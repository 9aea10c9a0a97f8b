/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Compiles every kernel family of NVIDIA's targets with NVRTC, for representative types, bodies and tiles, and writes
 * random problems with the reference's results for run_cases.
 *
 *   make_cases FOLDER [--target=NAME] [--kernels=N] [--problems=N] [--timing] [--tiles=N] [--seed=N] [--only=PREFIX]
 *
 * --target: sm_90, or another; cases whose tile is legal on other targets alone are left out, with the reason;
 * --kernels: how many different kernels a case may become (rank and row length are compiled in), default 1; --problems:
 * of each case, default 4; --timing: also the shapes of a full-size policy, in the --tiles best tiles of each (3);
 * --only: nothing but the cases whose names begin so.
 * Exits 77 where NVRTC is missing, 1 if a kernel does not compile, has no form, or is a tile that spills.
 */
#include "cases.h"
#include "error_kernels.h"
#include "tests/kernels/random_problem.h"
#include "targets/nvidia/nvrtc.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* clang-format off */
static const problem_case cases[] = {
    /* Copies and integers are exact. Scalar functions of float err by 2 units at most here, bodies by their sum. */
    {"copy_f32", PINION_FAMILY_POINTWISE, "", 1, "f32 f32", {"yield x0"}, NULL, false, 0},
    {"copy_bf16", PINION_FAMILY_POINTWISE, "", 1, "bf16 bf16", {"yield x0"}, NULL, false, 0},
    {"copy_f16", PINION_FAMILY_POINTWISE, "", 1, "f16 f16", {"yield x0"}, NULL, false, 0},
    {"copy_u8", PINION_FAMILY_POINTWISE, "", 1, "u8 u8", {"yield x0"}, NULL, false, 0},
    {"copy_bool", PINION_FAMILY_POINTWISE, "", 1, "bool bool", {"yield x0"}, NULL, false, 0},
    {"residual", PINION_FAMILY_POINTWISE, "", 1, "f32 f32 bf16", {"add x0 x1", "mul v0 x1", "yield v1"}, NULL, false, 4},
    {"gated", PINION_FAMILY_POINTWISE, "", 1, "bf16 bf16 bf16", {"gelu_tanh x0", "cast.bf16 v0", "mul v1 x1", "yield v2"}, NULL, false, 8},
    {"two_results", PINION_FAMILY_POINTWISE, "", 2, "f16 f32 f32 f16 f64", {"cast.f32 x2", "sigmoid x0", "mul v1 x1", "add v2 v0", "tanh v3", "cast.f16 v4", "yield v5 v3"}, NULL, false, 20},
    {"mask", PINION_FAMILY_POINTWISE, "", 1, "f32 bool i64 f32", {"lt x1 3", "and x0 v0", "select v1 x2 -2", "yield v2"}, NULL, false, 0},
    {"integers", PINION_FAMILY_POINTWISE, "", 2, "i32 bool i32 i64", {"cast.i64 x0", "mul v0 x1", "sub v1 7", "cast.i32 v2", "ne x1 0", "yield v3 v4"}, NULL, false, 0},
    {"narrow", PINION_FAMILY_POINTWISE, "", 1, "i8 u16", {"cast.i8 x0", "yield v0"}, NULL, false, 0},
    {"wide", PINION_FAMILY_POINTWISE, "", 1, "f64 f64 f64", {"exp x0", "add x1 2", "div v0 v1", "yield v2"}, NULL, false, 8},
    {"trigonometry", PINION_FAMILY_POINTWISE, "", 2, "f32 f32 f32", {"mul x0 100", "sin v0", "cos v0", "yield v1 v2"}, NULL, false, 64},
    {"functions", PINION_FAMILY_POINTWISE, "", 1, "f32 f32", {"abs x0", "add v0 0.5", "log v1", "sqrt v1", "mul v2 v3", "erf v4", "yield v5"}, NULL, false, 20},
    {"powers", PINION_FAMILY_POINTWISE, "", 1, "f32 f32 f32", {"abs x0", "add v0 0.5", "pow v1 x1", "rsqrt v2", "silu v3", "gelu_erf v4", "yield v5"}, NULL, false, 40},
    {"constant", PINION_FAMILY_POINTWISE, "", 1, "bf16", {"const.bf16 1.5", "yield v0"}, NULL, false, 0},
    /* Of a row, the sum adds some 8 units at these lengths: the terms are positive and added in a tree. */
    {"softmax_f32", PINION_FAMILY_SOFTMAX, "", 1, "f32 f32", {NULL}, NULL, false, 16},
    {"softmax_bf16", PINION_FAMILY_SOFTMAX, "", 1, "bf16 bf16", {NULL}, NULL, false, 16},
    {"softmax_f64", PINION_FAMILY_SOFTMAX, "", 1, "f64 f64", {NULL}, NULL, false, 16},
    {"sum_f32", PINION_FAMILY_REDUCE, "sum", 1, "f32 f32", {NULL}, NULL, false, 1},
    {"mean_bf16", PINION_FAMILY_REDUCE, "mean", 1, "bf16 bf16", {NULL}, NULL, false, 1},
    {"max_f16", PINION_FAMILY_REDUCE, "max", 1, "f16 f16", {NULL}, NULL, false, 0},
    {"min_i32", PINION_FAMILY_REDUCE, "min", 1, "i32 i32", {NULL}, NULL, false, 0},
    {"prod_f64", PINION_FAMILY_REDUCE, "prod", 1, "f64 f64", {NULL}, NULL, false, 1},
    {"sum_i64", PINION_FAMILY_REDUCE, "sum", 1, "i64 i64", {NULL}, NULL, false, 0},
    {"sum_bool", PINION_FAMILY_REDUCE, "sum", 1, "i64 bool", {NULL}, NULL, false, 0},
    {"cumsum_bool", PINION_FAMILY_CUMSUM, "", 1, "i64 bool", {NULL}, NULL, false, 0},
    {"cumsum_f32", PINION_FAMILY_CUMSUM, "", 1, "f32 f32", {NULL}, NULL, false, 1},
    {"norm_layer", PINION_FAMILY_NORM, "layer", 1, "f32 f32 f32 f32", {NULL}, NULL, false, 40},
    {"norm_layer_bf16", PINION_FAMILY_NORM, "layer", 1, "bf16 bf16 bf16 bf16", {NULL}, NULL, false, 40},
    {"norm_rms_bf16", PINION_FAMILY_NORM, "rms", 1, "bf16 bf16 f32", {NULL}, NULL, false, 40},
    {"norm_layer_whole", PINION_FAMILY_NORM, "layer", 1, "bf16 f32 f32 f32", {NULL}, "registers", false, 40},
    {"norm_rms_whole", PINION_FAMILY_NORM, "rms", 1, "bf16 bf16 bf16 bf16", {NULL}, "registers", false, 40},
    {"norm_rms_f64", PINION_FAMILY_NORM, "rms", 1, "f64 f64", {NULL}, NULL, false, 40},
    {"attention_f32", PINION_FAMILY_ATTENTION, "", 1, "f32 f32 f32 f32", {NULL}, NULL, false, 60},
    {"attention_mask", PINION_FAMILY_ATTENTION, "", 1, "bf16 bf16 bf16 bf16 f32", {NULL}, "plain", false, 60},
    {"attention_bool", PINION_FAMILY_ATTENTION, "", 1, "f32 f32 f32 f32 bool", {NULL}, NULL, false, 60},
    {"attention_f64", PINION_FAMILY_ATTENTION, "", 1, "f64 f64 f64 f64 f64", {NULL}, NULL, false, 60},
    /* Probabilities are rounded to bf16, by at most 2^-9 of themselves; values are 1 at most. */
#define ATTENTION(name, types, tile) {name, PINION_FAMILY_ATTENTION, "", 1, types, {NULL}, tile, false, 1 << 14}
    ATTENTION("attention_mma_64", "bf16 bf16 bf16 bf16", "mma_64x80"),
    ATTENTION("attention_mma_32_bool", "bf16 bf16 bf16 bf16 bool", "mma_32x96"),
    ATTENTION("attention_mma_split4", "bf16 bf16 bf16 bf16 f32", "mma_16x112_split4"),
    ATTENTION("attention_mma_split8", "bf16 bf16 bf16 bf16 bool", "mma_32x128_split8"),
    ATTENTION("attention_wgmma_128", "bf16 bf16 bf16 bf16", "wgmma_128x128"),
    ATTENTION("attention_wgmma_128_bool", "bf16 bf16 bf16 bf16 bool", "wgmma_128x64"),
    ATTENTION("attention_wgmma_64", "bf16 bf16 bf16 bf16", "wgmma_64x64_split2"),
    ATTENTION("attention_wgmma_64_bool", "bf16 bf16 bf16 bf16 bool", "wgmma_64x64_split2"),
    ATTENTION("attention_wgmma_64_mask", "bf16 bf16 bf16 bf16 f32", "wgmma_64x80_split2"),
    {"attention_wgmma_128_keys", PINION_FAMILY_ATTENTION, "", 1, "bf16 bf16 bf16 bf16 bool", {NULL}, "wgmma_128x64", false, 1 << 14, .key_mask = true},
    {"attention_wgmma_64_keys", PINION_FAMILY_ATTENTION, "", 1, "bf16 bf16 bf16 bf16 bool", {NULL}, "wgmma_64x80_split2", false, 1 << 14, .key_mask = true},
    ATTENTION("attention_split", "bf16 bf16 bf16 bf16", "wgmma_32x128_split8"),
    ATTENTION("attention_split_bool", "bf16 bf16 bf16 bf16 bool", "wgmma_32x128_split8"),
    ATTENTION("attention_split_mask", "bf16 bf16 bf16 bf16 f32", "wgmma_32x128_split8"),
    {"attention_split_keys", PINION_FAMILY_ATTENTION, "", 1, "bf16 bf16 bf16 bf16 bool", {NULL}, "wgmma_32x128_split8", false, 1 << 14, .key_mask = true},
    ATTENTION("attention_mma_split4_bf16", "bf16 bf16 bf16 bf16 bf16", "mma_16x112_split4"),
#undef ATTENTION
    {"gather_f32", PINION_FAMILY_GATHER, "", 1, "f32 f32 i64", {NULL}, NULL, false, 0},
    {"gather_bf16", PINION_FAMILY_GATHER, "", 1, "bf16 bf16 i32", {NULL}, NULL, false, 0},
    {"im2col_f32", PINION_FAMILY_IM2COL, "", 1, "f32 f32", {NULL}, NULL, false, 0},
    {"im2col_bf16", PINION_FAMILY_IM2COL, "", 1, "bf16 f32", {NULL}, NULL, false, 0},
    {"rope_f32", PINION_FAMILY_ROPE, "", 1, "f32 f32 f32 f32", {NULL}, NULL, false, 4},
    {"rope_bf16", PINION_FAMILY_ROPE, "", 1, "bf16 bf16 f32 f32", {NULL}, NULL, false, 4},
    /* Every tile, with and without a packed b. Partial sums stay below sqrt(k), so a unit a term is ample. */
    {"gemm_f32_128", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "fma_128x128", false, 1},
    {"gemm_f32_64", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "fma_64x64", true, 1},
    {"gemm_f32_32", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "fma_32x32", true, 1},
    {"gemm_mixed", PINION_FAMILY_GEMM, "", 1, "f32 f32 bf16", {NULL}, "fma_64x64", true, 1},
    {"gemm_mixed_f16", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 f16", {NULL}, "fma_32x32", false, 1},
    {"gemm_f64", PINION_FAMILY_GEMM, "", 1, "f64 f64 f64", {NULL}, "fma_64x64", true, 2},
    {"gemm_i32", PINION_FAMILY_GEMM, "", 1, "i32 i8 i32", {NULL}, "fma_32x32", false, 0},
    {"gemm_f32_body", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32 f32 bf16", {"add x0 x1", "silu v0", "mul v1 x2", "yield v2"}, NULL, true, 2},
    GEMM_FORM_CASES("gemm_fma_forms", "f32", "fma_128x128", true),
    GEMM_FORM_CASES("gemm_fma_forms_64", "bf16", "fma_64x64", false),
    {"gemm_mma_128", PINION_FAMILY_GEMM, "", 1, "f32 bf16 bf16", {NULL}, "mma_128x128", false, 1},
    {"gemm_mma_128_packed", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16", {NULL}, "mma_128x128", true, 1},
    {"gemm_mma_64x128", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16", {NULL}, "mma_64x128", true, 1},
    {"gemm_mma_64", PINION_FAMILY_GEMM, "", 1, "f32 bf16 bf16", {NULL}, "mma_64x64", false, 1},
    {"gemm_mma_64_f16", PINION_FAMILY_GEMM, "", 1, "f32 f16 f16", {NULL}, "mma_64x64", true, 1},
    {"gemm_mma_32", PINION_FAMILY_GEMM, "", 1, "f32 bf16 bf16", {NULL}, "mma_32x64", true, 1},
    GEMM_FORM_CASES("gemm_mma_forms", "bf16", "mma_128x128", true),
    GEMM_FORM_CASES("gemm_mma_forms_64", "f16", "mma_64x128", false),
    /* wgmma, whose shapes are compiled in: a kernel for each problem. Every N of the instruction that has a tile. */
#define WGMMA(name, tile) {name, PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16", {NULL}, tile, true, 1}
    WGMMA("wgmma_128x200", "wgmma_128x200"),
    WGMMA("wgmma_128x200_split2", "wgmma_128x200_split2"),
    WGMMA("wgmma_128x192", "wgmma_128x192"),
    WGMMA("wgmma_128x136", "wgmma_128x136"),
    WGMMA("wgmma_128x112", "wgmma_128x112"),
    WGMMA("wgmma_128x104", "wgmma_128x104"),
    WGMMA("wgmma_128x64", "wgmma_128x64"),
    WGMMA("wgmma_64x56", "wgmma_64x56"),
    WGMMA("wgmma_64x56_split4", "wgmma_64x56_split4"),
    WGMMA("wgmma_64x8_split8", "wgmma_64x8_split8"),
#undef WGMMA
    {"wgmma_f32", PINION_FAMILY_GEMM, "", 1, "f32 bf16 bf16", {NULL}, "wgmma_128x128", true, 1},
    {"wgmma_body", PINION_FAMILY_GEMM, "", 2, "bf16 f32 bf16 bf16 bf16 f32", {"add x0 x1", "gelu_tanh v0", "cast.bf16 v1", "mul v1 x2", "yield v2 v3"}, "wgmma_128x128_split2", true, 2},
    {"wgmma_body_small", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16 bf16 bf16", {"add x0 x1", "mul v0 x2", "cast.bf16 v1", "yield v2"}, "wgmma_64x56_split2", true, 2},
    {"wgmma_body_large", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16 bf16", {"gelu_tanh x0", "cast.bf16 v0", "mul v1 x1", "yield v2"}, "wgmma_128x200", true, 2},
    /* Tiles that a mask leaves out: with the sums of columns, in the registers, in places of several parts, in a cluster. */
    {"wgmma_masked", PINION_FAMILY_GEMM, "", 2, "bf16 f32 bf16 bf16 bf16 f32 bool", {"mul x0 x2", "mul v0 x1", "mul v1 v1", "yield v1 v2"}, "wgmma_128x104", true, 20, .row_sums = 1, .column_sums = 1, .row_mask = true},
    {"wgmma_cleared", PINION_FAMILY_GEMM, "", 2, "bf16 f32 bf16 bf16 bf16 bool", {"add x0 x1", "select x2 v0 0", "mul v1 v1", "yield v1 v2"}, "wgmma_128x104", true, 20, .column_sums = 1},
    {"wgmma_masked_pair", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16 f32 bool", {"mul x0 x2", "mul x1 x2", "gelu_tanh v0", "mul v2 v1", "yield v3"}, "wgmma_128x64", true, 20, .accumulators = 2, .row_sums = 1, .row_mask = true},
    {"wgmma_masked_parts", PINION_FAMILY_GEMM, "", 6, "bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 f32 f32 bool", {"mul x0 x3", "mul x1 x4", "sub v0 v1", "mul x1 x3", "mul x0 x4", "add v3 v4", "eq x2 2", "select v6 x0 v2", "select v6 x1 v5", "yield v7 v8"}, "wgmma_64x56", true, 4, .accumulators = 2, .parts = 3, .row_mask = true},
    {"wgmma_masked_split", PINION_FAMILY_GEMM, "", 2, "bf16 f32 bf16 bf16 bf16 f32 bool", {"mul x0 x2", "mul v0 x1", "mul v1 v1", "yield v1 v2"}, "wgmma_128x128_split2", true, 20, .row_sums = 1, .column_sums = 1, .row_mask = true},
    {"gemm_mma_body", PINION_FAMILY_GEMM, "", 2, "bf16 f32 bf16 bf16 bf16 f32", {"add x0 x1", "gelu_tanh v0", "cast.bf16 v1", "mul v1 x2", "yield v2 v3"}, NULL, true, 2},
};
/* clang-format on */
enum { CASES = sizeof cases / sizeof *cases };

/* ---- Kernels: each different source is compiled once ---- */

typedef struct kernel_source {
  char name[64];
  text source; /* with its own name in it */
  kernel_blob blob;
  status code;
} kernel_source;

typedef struct maker {
  compilation compilation;
  const struct target *target;
  const char *folder;
  int kernels_per_case, problems_per_case, tiles_per_timing;
  kernel_source *kernels;
  int kernel_count, kernel_capacity;
  FILE *file;
  uint64_t case_count;
  pthread_mutex_t mutex;
  int next; /* kernel to compile */
} maker;

/* Whether shapes are compiled into the kernels of a case: each problem is one then, a second. */
static bool is_shaped(const problem_case *k) {
  return k->tile && (!strncmp(k->tile, "wgmma", 5) || k->family != PINION_FAMILY_GEMM);
}

static kernel_source *add_kernel(maker *m, const char *name) {
  if (m->kernel_count == m->kernel_capacity) {
    m->kernel_capacity = m->kernel_capacity * 2 + 64;
    m->kernels = realloc(m->kernels, (size_t)m->kernel_capacity * sizeof *m->kernels);
  }
  kernel_source *kernel = &m->kernels[m->kernel_count++];
  *kernel = (kernel_source){.code = STATUS_OK};
  snprintf(kernel->name, sizeof kernel->name, "%s", name);
  return kernel;
}

/* What run_errors launches. */
static void add_error_kernels(maker *m) {
  size_t bytes = 0;
  const char *abi = embedded_file("runtime/abi.h", &bytes);
  for (int i = 0; i < ERROR_KERNELS; i++) {
    kernel_source *kernel = add_kernel(m, error_kernels[i].name);
    text_append_bytes(&kernel->source, abi, bytes);
    text_append(&kernel->source,
                "extern \"C\" __global__ void %s(const __grid_constant__ pinion_pointers arguments,\n"
                "    const __grid_constant__ pinion_params params) {\n  %s\n}\n",
                error_kernels[i].name, error_kernels[i].statement);
  }
}

/* The kernel of a problem: one whose source is the same but for the name, or a new one unless the case has enough
   already (then NULL). */
static kernel_source *find_kernel(maker *m, const kernel_problem *problem, const kernel_choice *choice,
                                  const char *case_name, int first, int most) {
  text source = {0};
  int count = m->kernel_count - first;
  for (int i = first; i < m->kernel_count; i++) {
    kernel_instance_source(m->target, problem, choice, m->kernels[i].name, &source);
    bool same = !strcmp(source.data, m->kernels[i].source.data);
    text_free(&source);
    if (same) return &m->kernels[i];
  }
  if (count >= most) return NULL;
  char name[sizeof m->kernels->name];
  snprintf(name, sizeof name, "%s_%d", case_name, count);
  kernel_source *kernel = add_kernel(m, name);
  kernel_instance_source(m->target, problem, choice, kernel->name, &kernel->source);
  return kernel;
}

static void *compile_kernels(void *user) {
  maker *m = user;
  diagnostics d = {.file = "make_cases"};
  for (;;) {
    pthread_mutex_lock(&m->mutex);
    int index = m->next++;
    pthread_mutex_unlock(&m->mutex);
    if (index >= m->kernel_count) return NULL;
    kernel_source *kernel = &m->kernels[index];
    kernel->code = m->target->compile(&d, kernel->name, kernel->source.data, &kernel->blob);
  }
}

/* Compiles on every core, writes the cubins and their sources; how many failed. */
static int write_kernels(maker *m) {
  enum { MOST_THREADS = 16 };
  pthread_t threads[MOST_THREADS];
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  int count = cores < 1 ? 1 : cores > MOST_THREADS ? MOST_THREADS : (int)cores, failed = 0;
  for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, compile_kernels, m);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < m->kernel_count; i++) {
    char path[4096];
    kernel_source *kernel = &m->kernels[i];
    snprintf(path, sizeof path, "%s/kernels/%s.cubin", m->folder, kernel->name);
    failed += kernel->code || file_write(&m->compilation.diagnostics, path, kernel->blob.data, kernel->blob.bytes);
    snprintf(path, sizeof path, "%s/kernels/%s.cu", m->folder, kernel->name);
    failed += file_write(&m->compilation.diagnostics, path, kernel->source.data, kernel->source.length) != STATUS_OK;
    free(kernel->blob.data);
    text_free(&kernel->source);
  }
  return failed;
}

/* ---- Problems ---- */

static void write_record(maker *m, const char *case_name, const kernel_source *kernel, const kernel_problem *problem,
                         const kernel_choice *choice, case_record *record) {
  snprintf(record->name, sizeof record->name, "%s", case_name);
  snprintf(record->kernel, sizeof record->kernel, "%s", kernel->name);
  snprintf(record->tile, sizeof record->tile, "%s", choice->tile ? choice->tile : "");
  record->family = problem->family;
  memcpy(record->grid, choice->grid, sizeof record->grid);
  memcpy(record->block, choice->block, sizeof record->block);
  record->dynamic_shared_bytes = choice->dynamic_shared_bytes;
  record->has_tensor_map = choice->tensor_map != NULL;
  if (choice->tensor_map) record->tensor_map = *choice->tensor_map;
  record->params = problem->params;
  fwrite(record, sizeof *record, 1, m->file);
  m->case_count++;
}

static void write_problem(maker *m, const problem_case *k, const kernel_source *kernel, const kernel_choice *choice,
                          const random_problem *p) {
  case_record record = {.operations = 0};
  int count = p->problem.params.arg_count;
  for (int a = 0; a < count; a++) {
    const problem_argument *argument = &p->arguments[a];
    record.arguments[a] = (case_argument){.count = argument->count,
                                          .origin = argument->origin,
                                          .absolute = argument->absolute,
                                          .relative = argument->relative,
                                          .dtype = (int32_t)p->problem.dtypes[a],
                                          .is_result = argument->values != NULL};
  }
  write_record(m, k->name, kernel, &p->problem, choice, &record);
  for (int a = 0; a < count; a++) {
    const problem_argument *argument = &p->arguments[a];
    fwrite(argument->memory, pinion_dtype_size(p->problem.dtypes[a]), (size_t)argument->count, m->file);
    if (argument->values) fwrite(argument->values, sizeof(double), (size_t)argument->count, m->file);
  }
}

/* Chooses for a problem and finds its kernel; *out_kernel is NULL if the case has kernels enough without it. */
static bool choose_kernel(maker *m, const char *name, const char *tile, const kernel_problem *problem, int first,
                          int most, kernel_choice *out_choice, kernel_source **out_kernel) {
  const char *why = "";
  if (!m->target->choose(m->compilation.arena, problem, tile, out_choice, &why)) {
    fprintf(stderr, "%s: %s has no form for it: %s\n", name, m->target->name, why);
    return false;
  }
  *out_kernel = find_kernel(m, problem, out_choice, name, first, most);
  text_free(&out_choice->defines);
  return true;
}

static size_t problem_bytes(const random_problem *p) {
  size_t bytes = 0;
  for (int a = 0; a < p->problem.params.arg_count; a++)
    bytes += (size_t)p->arguments[a].count *
             (pinion_dtype_size(p->problem.dtypes[a]) + (p->arguments[a].values ? sizeof(double) : 0));
  return bytes;
}

/* Whether a target has a forced tile that can do a problem as it was drawn. */
static bool is_legal(maker *m, const struct target *target, const problem_case *k, const kernel_problem *problem,
                     const char **out_why) {
  kernel_choice choice;
  if (!is_shaped(k)) return true;
  const bool legal = target->choose(m->compilation.arena, problem, k->tile, &choice, out_why);
  if (legal) text_free(&choice.defines);
  return legal;
}

/* Whether other targets of the kind have the tile for a problem. */
static bool is_legal_elsewhere(maker *m, const problem_case *k, const kernel_problem *problem) {
  const char *why;
  bool legal = false;
  for (int i = 0; target_table[i]; i++)
    if (!strcmp(target_table[i]->device, m->target->device)) legal |= is_legal(m, target_table[i], k, problem, &why);
  return legal;
}

/* Random problems of one case; those that its tile cannot do, or that would need one kernel too many, are drawn again.
 */
static bool make_case(maker *m, const problem_case *k) {
  /* Of one problem: all of them must travel to a machine with a GPU. */
  const int wanted = is_shaped(k) ? (m->problems_per_case + 1) / 2 : m->problems_per_case;
  const int most = is_shaped(k) ? wanted : m->kernels_per_case;
  const size_t most_bytes = is_shaped(k) ? 2 << 20 : 256 << 10;
  kernel_problem fixed;
  int first = m->kernel_count, made = 0;
  if (!problem_from_case(&m->compilation, k, &fixed)) return false;
  for (int draw = 0; made < wanted && draw < 200 * wanted; draw++) {
    random_problem p;
    kernel_choice choice;
    kernel_source *kernel = NULL;
    bool good = random_problem_make(k, &fixed, m->target, &p);
    const char *why = NULL;
    const bool legal = good && is_legal(m, m->target, k, &p.problem, &why);
    if (good && !legal && is_legal_elsewhere(m, k, &p.problem)) {
      printf("%s is left out: %s\n", k->name, why);
      random_problem_free(&p);
      return true;
    }
    const bool small = legal && problem_bytes(&p) <= most_bytes;
    if (small) good = choose_kernel(m, k->name, k->tile, &p.problem, first, most, &choice, &kernel);
    if (good && kernel) {
      write_problem(m, k, kernel, &choice, &p);
      made++;
    }
    random_problem_free(&p);
    if (!good) return false;
  }
  if (!made) fprintf(stderr, "%s: no problem that was drawn suits it\n", k->name);
  return made > 0;
}

/* ---- Timing: what a full-size Pi0 asks for, dense ---- */

typedef struct timing_case {
  const char *name;
  pinion_dtype dtype; /* of a, b and the result */
  int64_t m, n, k;
} timing_case;

static const timing_case timings[] = {
    {"time_768x3456x1152", PINION_DTYPE_bf16, 768, 3456, 1152},
    {"time_768x1152x1152", PINION_DTYPE_bf16, 768, 1152, 1152},
    {"time_768x4304x1152", PINION_DTYPE_bf16, 768, 4304, 1152},
    {"time_768x2048x1152", PINION_DTYPE_bf16, 768, 2048, 1152},
    {"time_768x1152x4304", PINION_DTYPE_bf16, 768, 1152, 4304},
    {"time_788x2560x2048", PINION_DTYPE_bf16, 788, 2560, 2048},
    {"time_788x2048x2048", PINION_DTYPE_bf16, 788, 2048, 2048},
    {"time_788x32768x2048", PINION_DTYPE_bf16, 788, 32768, 2048},
    {"time_788x2048x16384", PINION_DTYPE_bf16, 788, 2048, 16384},
    {"time_51x2560x1024", PINION_DTYPE_bf16, 51, 2560, 1024},
    {"time_51x1024x2048", PINION_DTYPE_bf16, 51, 1024, 2048},
    {"time_51x8192x1024", PINION_DTYPE_bf16, 51, 8192, 1024},
    {"time_51x1024x4096", PINION_DTYPE_bf16, 51, 1024, 4096},
    {"time_50x1024x1024", PINION_DTYPE_bf16, 50, 1024, 1024},
    {"time_788x2048x2048_f32", PINION_DTYPE_f32, 788, 2048, 2048},
};

/* The best tiles of a problem, timed only. */
static bool time_tiles(maker *m, const char *name, const kernel_problem *problem, case_record *record) {
  const char *tiles[64];
  const int count = m->target->candidates(problem, tiles, 64);
  for (int i = 0; i < count && i < m->tiles_per_timing; i++) {
    kernel_choice choice;
    kernel_source *kernel = NULL;
    const char *kernel_name = arena_format(m->compilation.arena, "%s_%s", name, tiles[i]);
    if (!choose_kernel(m, kernel_name, tiles[i], problem, m->kernel_count, 1, &choice, &kernel)) return false;
    write_record(m, name, kernel, problem, &choice, record);
  }
  return true;
}

static bool make_timing(maker *m, const timing_case *t) {
  int64_t size = (int64_t)pinion_dtype_size(t->dtype);
  kernel_problem problem = {.family = PINION_FAMILY_GEMM, .result_count = 1, .packed_b = true};
  problem.params = (pinion_params){
      .rank = PINION_GEMM_RANK,
      .arg_count = 3,
      .size = {1, 1, t->m, 1, t->n, 1, t->k},
      .stride = {{[PINION_GEMM_M] = t->n, [PINION_GEMM_N] = 1}, {[PINION_GEMM_M] = t->k, [PINION_GEMM_K] = 1}}};
  case_record record = {.operations = 2.0 * (double)t->m * (double)t->n * (double)t->k};
  int64_t counts[3] = {t->m * t->n, t->m * t->k,
                       m->target->packed_bytes(&problem.params.size[PINION_GEMM_H], t->dtype) / size};
  for (int a = 0; a < 3; a++) {
    problem.dtypes[a] = t->dtype;
    problem.aligned[a] = true;
    record.arguments[a] = (case_argument){.count = counts[a], .dtype = (int32_t)t->dtype, .is_result = a == 0};
  }
  return time_tiles(m, t->name, &problem, &record);
}

/* Attention of bf16 over one batch: tokens of `groups` K/V heads with `heads` query heads each. */
typedef struct attention_timing {
  const char *name;
  const char *mask; /* its type; NULL: none. Of bools, one that is the same for all queries */
  int64_t groups, heads, queries, keys, width;
  bool fused; /* q, k and v lie side by side in a token's row; else apart */
} attention_timing;

static const attention_timing attention_timings[] = {
    {"time_attention_vision", NULL, 48, 1, 256, 256, 72, true},
    {"time_attention_prefill", NULL, 1, 8, 788, 788, 256, false},
    {"time_attention_prefill_valid", "bool", 1, 8, 816, 816, 256, false},
    {"time_attention_prefill_masked", "f32", 1, 8, 788, 788, 256, false},
    {"time_attention_prefill_long", NULL, 1, 8, 968, 968, 256, false},
    {"time_attention_step", NULL, 1, 8, 51, 839, 256, false},
    {"time_attention_step_valid", "bool", 1, 8, 51, 867, 256, false},
    {"time_attention_step_masked", "f32", 1, 8, 51, 839, 256, false},
};

enum { ATTENTION_TIMINGS = sizeof attention_timings / sizeof *attention_timings };

static bool make_attention_timing(maker *m, const attention_timing *t) {
  kernel_problem problem = {.family = PINION_FAMILY_ATTENTION, .result_count = 1};
  const int64_t q_token = t->groups * t->heads * t->width, k_token = t->groups * t->width;
  const int64_t pitch_q = t->fused ? q_token + 2 * k_token : q_token, pitch_k = t->fused ? pitch_q : k_token;
  const int64_t width = t->width, of_head = t->heads * width, mask_pitch = (t->keys + 7) / 8 * 8;
  const bool is_key_mask = t->mask && !strcmp(t->mask, "bool");
  problem.params = (pinion_params){.rank = 7,
                                   .arg_count = t->mask ? 5 : 4,
                                   .size = {1, t->groups, t->heads, t->queries, t->keys, width, width},
                                   .stride = {{0, of_head, width, q_token, 0, 0, 1},
                                              {0, of_head, width, pitch_q, 0, 1, 0},
                                              {0, width, 0, 0, pitch_k, 1, 0},
                                              {0, width, 0, 0, pitch_k, 0, 1},
                                              {0, 0, 0, is_key_mask ? 0 : mask_pitch, 1, 0, 0}},
                                   .scalar = {1 / sqrt((double)width)}};
  case_record record = {.operations = 4.0 * (double)(t->groups * t->heads * t->queries) * (double)(t->keys * width)};
  const int64_t counts[5] = {t->queries * q_token, t->queries * pitch_q, t->keys * pitch_k, t->keys * pitch_k,
                             mask_pitch * (is_key_mask ? 1 : t->queries)};
  for (int a = 0; a < problem.params.arg_count; a++) {
    problem.dtypes[a] = PINION_DTYPE_bf16;
    problem.aligned[a] = true;
    if (a == 4 && !dtype_from_name(t->mask, &problem.dtypes[a])) return false;
    record.arguments[a] = (case_argument){.count = counts[a], .dtype = (int32_t)problem.dtypes[a], .is_result = a == 0};
  }
  return time_tiles(m, t->name, &problem, &record);
}

/* ---- Main ---- */

/* The text of `--name=TEXT` in argv, or "". */
static const char *text_option(int argc, char **argv, const char *name) {
  size_t length = strlen(name);
  for (int i = 2; i < argc; i++)
    if (!strncmp(argv[i], name, length) && argv[i][length] == '=') return argv[i] + length + 1;
  return "";
}

/* The number of `--name=N`, or `otherwise`. */
static int option(int argc, char **argv, const char *name, int otherwise) {
  const char *number = text_option(argc, argv, name);
  return *number ? atoi(number) : otherwise;
}

static bool begins_with(const char *name, const char *prefix) {
  return !strncmp(name, prefix, strlen(prefix));
}

static bool has_flag(int argc, char **argv, const char *name) {
  for (int i = 2; i < argc; i++)
    if (!strcmp(argv[i], name)) return true;
  return false;
}

static bool open_folder(maker *m) {
  char path[4096];
  snprintf(path, sizeof path, "%s/kernels", m->folder);
  if (folder_create(&m->compilation.diagnostics, path)) return false;
  snprintf(path, sizeof path, "%s/cases.bin", m->folder);
  m->file = fopen(path, "wb");
  cases_header header = {.magic = CASES_MAGIC};
  return m->file && fwrite(&header, sizeof header, 1, m->file) == 1;
}

static bool close_folder(maker *m) {
  cases_header header = {.magic = CASES_MAGIC,
                         .case_count = m->case_count,
                         .compute_capability = m->target->compute_capability,
                         .minimum_driver = m->target->minimum_driver};
  snprintf(header.target, sizeof header.target, "%s", m->target->name);
  bool good = fseek(m->file, 0, SEEK_SET) == 0 && fwrite(&header, sizeof header, 1, m->file) == 1;
  return fclose(m->file) == 0 && good;
}

int main(int argc, char **argv) {
  static maker m;
  const char *why;
  if (argc < 2 || argv[1][0] == '-') {
    const bool asked = argc > 1 && !strcmp(argv[1], "--help");
    fprintf(asked ? stdout : stderr,
            "usage: make_cuda_cases FOLDER [--target=NAME] [--kernels=N] [--problems=N] [--timing] [--tiles=N] "
            "[--seed=N] [--only=PREFIX]\n");
    return asked ? 0 : 2;
  }
  if (!nvrtc_available(&why)) {
    printf("skipped: %s\n", why);
    return 77;
  }
  if (compilation_create(&m.compilation)) return 1;
  const char *target_name = text_option(argc, argv, "--target");
  m.target = target_find(*target_name ? target_name : "sm_90");
  if (!m.target || strcmp(m.target->device, "cuda")) {
    fprintf(stderr, "make_cases: '%s' is no target of NVIDIA's\n", target_name);
    return 2;
  }
  m.folder = argv[1];
  m.kernels_per_case = option(argc, argv, "--kernels", 1);
  m.problems_per_case = option(argc, argv, "--problems", 4);
  m.tiles_per_timing = option(argc, argv, "--tiles", 3);
  pthread_mutex_init(&m.mutex, NULL);
  random_seed((uint64_t)option(argc, argv, "--seed", 20261121));
  const char *only = text_option(argc, argv, "--only");
  bool good = open_folder(&m);
  for (int i = 0; i < CASES && good; i++)
    if (begins_with(cases[i].name, only)) good = make_case(&m, &cases[i]);
  for (size_t i = 0; good && has_flag(argc, argv, "--timing") && i < sizeof timings / sizeof *timings; i++)
    if (begins_with(timings[i].name, only)) good = make_timing(&m, &timings[i]);
  for (size_t i = 0; good && has_flag(argc, argv, "--timing") && i < ATTENTION_TIMINGS; i++)
    if (begins_with(attention_timings[i].name, only)) good = make_attention_timing(&m, &attention_timings[i]);
  if (good) add_error_kernels(&m);
  int failed = good ? write_kernels(&m) : 0;
  good = good && close_folder(&m) && !failed;
  printf("%s: %d of %d kernels compiled, %llu problems\n", nvrtc_version(), m.kernel_count - failed, m.kernel_count,
         (unsigned long long)m.case_count);
  free(m.kernels);
  compilation_destroy(&m.compilation);
  return good ? 0 : 1;
}
