/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Every kernel family of the cpu target against the letter of runtime/abi.h (params_reference.h), on random shapes,
 * strides, types and grids. Usage: test_cpu_kernels COMPILER [SEED [even | odd | NAME]]
 *
 * The compiler takes most of the time, optimising: even or odd has it do so for every second kernel alone. Of a NAME
 * only the cases are run that begin so.
 *
 * Results start as all ones (NaN for floats, and every byte that belongs to no element must stay so): an element that
 * is not written, or one that is written and should not be, shows. Scratch is as large as the target said, filled with
 * NaNs.
 */
#include "params_reference.h"
#include "random_problem.h"

#include "tools/pinion/kernel_library.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Cases: one kernel instance each, run on many shapes ---- */

/*
 * Tolerances. Operands lie in [-1, 1]. Scalar functions err by 3 units at most, and a body of a few of them by their
 * sum. Sums of n terms in float32 stay below n units here, as their partial sums stay below sqrt(n) and each rounding
 * is half a unit of those; random_problem.c supplies the n. What a narrower result rounds by is added to all.
 */
static const problem_case cases[] = {
    {"pointwise_copy_f32", PINION_FAMILY_POINTWISE, "", 1, "f32 f32", {"yield x0"}, NULL, false, 0},
    {"pointwise_copy_bf16", PINION_FAMILY_POINTWISE, "", 1, "bf16 bf16", {"yield x0"}, NULL, false, 0},
    {"pointwise_copy_u8", PINION_FAMILY_POINTWISE, "", 1, "u8 u8", {"yield x0"}, NULL, false, 0},
    {"pointwise_add",
     PINION_FAMILY_POINTWISE,
     "",
     1,
     "f32 f32 bf16",
     {"add x0 x1", "mul v0 x1", "yield v1"},
     NULL,
     false,
     4},
    {"pointwise_two",
     PINION_FAMILY_POINTWISE,
     "",
     2,
     "f16 f32 f32 f16 f64",
     {"cast.f32 x2", "sigmoid x0", "mul v1 x1", "add v2 v0", "tanh v3", "cast.f16 v4", "yield v5 v3"},
     NULL,
     false,
     20},
    {"pointwise_mask",
     PINION_FAMILY_POINTWISE,
     "",
     1,
     "f32 bool i64 f32",
     {"lt x1 3", "and x0 v0", "select v1 x2 -2", "yield v2"},
     NULL,
     false,
     0},
    {"pointwise_integers",
     PINION_FAMILY_POINTWISE,
     "",
     2,
     "i32 bool i32 i64",
     {"cast.i64 x0", "mul v0 x1", "sub v1 7", "cast.i32 v2", "ne x1 0", "yield v3 v4"},
     NULL,
     false,
     0},
    {"pointwise_casts", PINION_FAMILY_POINTWISE, "", 1, "i8 u16", {"cast.i8 x0", "yield v0"}, NULL, false, 0},
    {"pointwise_f64",
     PINION_FAMILY_POINTWISE,
     "",
     1,
     "f64 f64 f64",
     {"exp x0", "div v0 x1", "yield v1"},
     NULL,
     false,
     8},
    {"softmax_f32", PINION_FAMILY_SOFTMAX, "", 1, "f32 f32", {NULL}, NULL, false, 8},
    {"softmax_bf16", PINION_FAMILY_SOFTMAX, "", 1, "bf16 f32", {NULL}, NULL, false, 8},
    {"softmax_f64", PINION_FAMILY_SOFTMAX, "", 1, "f64 f64", {NULL}, NULL, false, 8},
    {"reduce_sum_f32", PINION_FAMILY_REDUCE, "sum", 1, "f32 f32", {NULL}, NULL, false, 1},
    {"reduce_mean_bf16", PINION_FAMILY_REDUCE, "mean", 1, "bf16 bf16", {NULL}, NULL, false, 1},
    {"reduce_max_f16", PINION_FAMILY_REDUCE, "max", 1, "f16 f16", {NULL}, NULL, false, 0},
    {"reduce_min_i32", PINION_FAMILY_REDUCE, "min", 1, "i32 i32", {NULL}, NULL, false, 0},
    {"reduce_prod_f64", PINION_FAMILY_REDUCE, "prod", 1, "f64 f64", {NULL}, NULL, false, 1},
    {"reduce_sum_i64", PINION_FAMILY_REDUCE, "sum", 1, "i64 i64", {NULL}, NULL, false, 0},
    {"cumsum_i64", PINION_FAMILY_CUMSUM, "", 1, "i64 bool", {NULL}, NULL, false, 0},
    {"cumsum_f32", PINION_FAMILY_CUMSUM, "", 1, "f32 f32", {NULL}, NULL, false, 1},
    {"norm_layer", PINION_FAMILY_NORM, "layer", 1, "f32 f32 f32 f32", {NULL}, NULL, false, 40},
    {"norm_rms_bf16", PINION_FAMILY_NORM, "rms", 1, "bf16 bf16 f32", {NULL}, NULL, false, 40},
    {"norm_rms_plain", PINION_FAMILY_NORM, "rms", 1, "f64 f64", {NULL}, NULL, false, 40},
    {"attention_f32", PINION_FAMILY_ATTENTION, "", 1, "f32 f32 f32 f32", {NULL}, NULL, false, 40},
    {"attention_mask", PINION_FAMILY_ATTENTION, "", 1, "bf16 bf16 bf16 bf16 f32", {NULL}, NULL, false, 40},
    {"attention_bool", PINION_FAMILY_ATTENTION, "", 1, "f32 f32 f32 f32 bool", {NULL}, NULL, false, 40},
    {"attention_f64", PINION_FAMILY_ATTENTION, "", 1, "f64 f64 f64 f64 f64", {NULL}, NULL, false, 40},
    {"gather_f32", PINION_FAMILY_GATHER, "", 1, "f32 f32 i64", {NULL}, NULL, false, 0},
    {"gather_bf16", PINION_FAMILY_GATHER, "", 1, "bf16 bf16 i32", {NULL}, NULL, false, 0},
    {"im2col_f32", PINION_FAMILY_IM2COL, "", 1, "f32 f32", {NULL}, NULL, false, 0},
    {"im2col_bf16", PINION_FAMILY_IM2COL, "", 1, "bf16 f32", {NULL}, NULL, false, 0},
    {"rope_f32", PINION_FAMILY_ROPE, "", 1, "f32 f32 f32 f32", {NULL}, NULL, false, 3},
    {"rope_bf16", PINION_FAMILY_ROPE, "", 1, "bf16 bf16 f32 f32", {NULL}, NULL, false, 3},
    {"gemm_f32", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "gather-196x512x256", false, 1},
    {"gemm_read", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "read-56x256x256", false, 1},
    {"gemm_packed", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "gather-196x512x256", true, 1},
    {"gemm_packed_read", PINION_FAMILY_GEMM, "", 1, "bf16 f32 f32", {NULL}, "read-56x256x256", true, 1},
    {"gemm_packed_bf16", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16", {NULL}, "gather-98x1024x512", true, 1},
    {"gemm_packed_f16", PINION_FAMILY_GEMM, "", 1, "f32 f32 f16", {NULL}, "read-98x512x512", true, 1},
    {"gemm_bf16", PINION_FAMILY_GEMM, "", 1, "f32 bf16 bf16", {NULL}, "gather-196x512x256", false, 1},
    {"gemm_body",
     PINION_FAMILY_GEMM,
     "",
     1,
     "f32 f32 f32 f32 bf16",
     {"add x0 x1", "silu v0", "mul v1 x2", "yield v2"},
     "gather-196x512x256",
     true,
     2},
    {"gemm_body_two",
     PINION_FAMILY_GEMM,
     "",
     2,
     "bf16 f32 f32 bf16 f32",
     {"add x0 x1", "cast.bf16 v0", "yield v1 v0"},
     "read-56x256x256",
     true,
     2},
    {"gemm_plain_f32", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32 f32", {"add x0 x1", "yield v0"}, "plain", true, 1},
    {"gemm_plain_f64", PINION_FAMILY_GEMM, "", 1, "f64 f64 f64", {NULL}, "plain", false, 2},
    GEMM_FORM_CASES("gemm_forms", "f32", "read-56x256x256", true),
    GEMM_FORM_CASES("gemm_forms_unpacked", "f32", "gather-196x512x256", false),
    GEMM_FORM_CASES("gemm_forms_bf16", "bf16", "gather-98x1024x512", true),
    GEMM_FORM_CASES("gemm_forms_bf16_unpacked", "bf16", "read-98x1024x512", false),
    {"gemm_groups_alone",
     PINION_FAMILY_GEMM,
     "",
     1,
     "f32 f32 f32",
     {NULL},
     "read-98x1024x512",
     true,
     1,
     .grouped = true},
    GEMM_FORM_CASES("gemm_plain_forms", "f32", "plain", true),
    GEMM_FORM_CASES("gemm_plain_forms_bf16", "bf16", "plain", false),
    {"gemm_plain_i32", PINION_FAMILY_GEMM, "", 1, "i32 i8 i32", {NULL}, "plain", false, 0},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

/* ---- Comparing ---- */

static bool compare_result(const problem_case *k, const kernel_problem *problem, int r,
                           const problem_argument *argument) {
  const pinion_dtype dtype = problem->dtypes[r];
  const size_t bytes = pinion_dtype_size(dtype);
  for (int64_t i = 0; i < argument->count; i++) {
    const double expected = argument->values[i];
    if (isnan(expected)) {
      for (size_t b = 0; b < bytes; b++)
        if (argument->memory[(size_t)i * bytes + b] != 0xff) {
          fprintf(stderr, "%s: result %d, index %lld: written, but no element lies there\n", k->name, r, (long long)i);
          return false;
        }
      continue;
    }
    const double found = reference_load(dtype, argument->memory, i);
    const double rounded = dtype_is_float(dtype) ? expected : reference_round(dtype, expected);
    const double allowed = argument->absolute + argument->relative * fabs(expected);
    if (fabs(found - rounded) <= allowed) continue;
    fprintf(stderr, "%s: result %d, index %lld: %.9g, expected %.9g within %.3g\n", k->name, r,
            (long long)(i - argument->origin), found, rounded, allowed);
    return false;
  }
  return true;
}

static void print_problem(const kernel_problem *problem, uint32_t grid) {
  const pinion_params *params = &problem->params;
  fprintf(stderr, "  sizes");
  for (int d = 0; d < params->rank; d++) fprintf(stderr, " %lld", (long long)params->size[d]);
  for (int a = 0; a < params->arg_count; a++) {
    fprintf(stderr, "; strides");
    for (int d = 0; d < params->rank; d++) fprintf(stderr, " %lld", (long long)params->stride[a][d]);
  }
  fprintf(stderr, "; integers");
  for (int i = 0; i < 7; i++) fprintf(stderr, " %lld", (long long)params->integer[i]);
  fprintf(stderr, "; grid %u\n", grid);
}

/* Every block in this thread, with scratch that holds NaNs and ends where the target said; false if the kernel writes
 * beyond. */
static bool run_blocks(pinion_cpu_kernel *kernel, const pinion_params *params, void *const *args, uint32_t grid,
                       size_t scratch_bytes) {
  enum { GUARD = 256 };
  const size_t bytes = (scratch_bytes + 63) / 64 * 64 + GUARD;
  unsigned char *scratch = aligned_alloc(64, bytes);
  memset(scratch, 0xff, bytes);
  const uint32_t workers = (uint32_t)random_between(1, 3);
  for (uint32_t index = 0; index < grid; index++) {
    const pinion_cpu_block block = {args, params, index, grid, workers, scratch};
    kernel(&block);
  }
  bool intact = true;
  for (size_t i = scratch_bytes; i < bytes; i++) intact = intact && scratch[i] == 0xff;
  free(scratch);
  return intact;
}

/* One random problem of a case. */
static bool run_once(arena *a, const problem_case *k, random_problem *made, pinion_cpu_kernel *kernel) {
  const kernel_problem *problem = &made->problem;
  void *args[PINION_MAX_ARGS];
  kernel_choice choice;
  const char *why = "";
  for (int i = 0; i < problem->params.arg_count; i++)
    args[i] = made->arguments[i].memory + made->arguments[i].origin * (int64_t)pinion_dtype_size(problem->dtypes[i]);
  bool good = target_find("cpu")->choose(a, problem, k->tile, &choice, &why);
  const uint32_t grid = random_between(0, 1) ? choice.grid[0] : (uint32_t)random_between(1, 9);
  text_free(&choice.defines);
  if (!good) fprintf(stderr, "%s: %s\n", k->name, why);
  if (good && !run_blocks(kernel, &problem->params, args, grid, choice.dynamic_shared_bytes)) {
    fprintf(stderr, "%s: writes beyond its scratch\n", k->name);
    good = false;
  }
  for (int r = 0; r < k->results && good; r++) good = compare_result(k, problem, r, &made->arguments[r]);
  if (!good) print_problem(problem, grid);
  return good;
}

/* Random problems of a case; its kernel is that of the first, made with it, as the shape is no part of it. */
static bool run_case(arena *a, const problem_case *k, const kernel_problem *fixed, pinion_cpu_kernel *kernel) {
  enum { PROBLEMS = 15 };
  bool good = kernel != NULL;
  for (int i = 0; i < PROBLEMS && good; i++) {
    random_problem made;
    good = random_problem_make(k, fixed, target_find("cpu"), &made) && run_once(a, k, &made, kernel);
    random_problem_free(&made);
  }
  if (!good) printf("FAILED %s\n", k->name);
  return good;
}

static bool add_kernel(compilation *c, kernel_library *library, const problem_case *k, kernel_problem *out_fixed) {
  const struct target *cpu = target_find("cpu");
  kernel_choice choice = {0};
  const char *why = "";
  random_problem made;
  bool good = problem_from_case(c, k, out_fixed) && random_problem_make(k, out_fixed, cpu, &made);
  if (!good) return false;
  good = cpu->choose(c->arena, &made.problem, k->tile, &choice, &why) &&
         kernel_library_add(library, &made.problem, &choice, k->name);
  if (!good) fprintf(stderr, "%s: %s\n", k->name, why);
  text_free(&choice.defines);
  random_problem_free(&made);
  return good;
}

static bool begins_with(const problem_case *k, const char *name) {
  return !strncmp(k->name, name, strlen(name));
}

/* Builds and runs those of the cases first, first + step and so on that begin with `name`: how many agree with the
   reference. */
static int run_cases(compilation *c, const char *compiler, int first, int step, const char *name) {
  static kernel_problem problems[CASE_COUNT];
  kernel_library library;
  int agree = 0;
  bool built = kernel_library_begin(&library, target_find("cpu"), compiler);
  for (int i = first; i < CASE_COUNT && built; i += step)
    if (begins_with(&cases[i], name)) built = add_kernel(c, &library, &cases[i], &problems[i]);
  built = built && kernel_library_build(&library);
  for (int i = first; i < CASE_COUNT && built; i += step)
    if (begins_with(&cases[i], name))
      agree += run_case(c->arena, &cases[i], &problems[i], kernel_library_find(&library, cases[i].name));
  kernel_library_end(&library);
  return agree;
}

int main(int argc, char **argv) {
  compilation c;
  const char *part = argc > 3 ? argv[3] : "";
  const bool odd = !strcmp(part, "odd"), by_halves = odd || !strcmp(part, "even");
  const char *name = by_halves ? "" : part;
  int count = 0;
  if (argc < 2 || compilation_create(&c) != STATUS_OK) return 2;
  random_seed(argc > 2 ? strtoull(argv[2], NULL, 10) : 20261121);
  for (int i = 0; i < CASE_COUNT; i++) count += begins_with(&cases[i], name);
  int agree = run_cases(&c, argv[1], odd, by_halves ? 2 : 1, name);
  if (by_halves && !setenv("CFLAGS", "-O0 -march=native", 1)) agree += run_cases(&c, argv[1], !odd, 2, name);
  compilation_destroy(&c);
  printf("%d of %d kernels agree with the reference\n", agree, count);
  return count && agree == count ? 0 : 1;
}
