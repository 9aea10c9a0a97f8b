/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Every kernel family of the cpu target against the letter of runtime/abi.h (params_reference.h), on random shapes,
 * strides, types and grids. Usage: test_cpu_kernels COMPILER [SEED]
 *
 * Results start as all ones (NaN for floats, and every byte that belongs to no element must stay so): an element that
 * is not written, or one that is written and should not be, shows. Scratch is as large as the target said, filled with
 * NaNs.
 */
#include "params_reference.h"

#include "tools/pinion/kernel_library.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Random numbers: the same for a seed everywhere ---- */
static uint64_t random_state = 1;

static uint64_t random_bits(void) { /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 0x2545f4914f6cdd1dull >> 11;
}
static int64_t random_between(int64_t least, int64_t greatest) {
  return least + (int64_t)(random_bits() % (uint64_t)(greatest - least + 1));
}
static double random_unit(void) { /* in [-1, 1] */
  return (double)random_bits() / (double)(1ull << 52) - 1;
}

/* ---- Cases: one kernel instance each, run on many shapes ---- */
typedef struct kernel_case {
  const char *name;
  pinion_family family;
  const char *kind;
  int results;
  const char *types;   /* of all arguments */
  const char *body[8]; /* instructions, NULL-terminated; none: no body */
  const char *tile;
  bool packed_b;
  double
      tolerance; /* units of float32 rounding (2^-24; 2^-53 for float64 results) relative to the scale of the result */
} kernel_case;

/*
 * Tolerances. Operands lie in [-1, 1]. Scalar functions err by 3 units at most, and a body of a few of them by their
 * sum. Sums of n terms in float32 stay below n units here, as their partial sums stay below sqrt(n) and each rounding
 * is half a unit of those; `scale_of` supplies the n. What a narrower result rounds by is added to all.
 */
static const kernel_case cases[] = {
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
    {"gemm_f32", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "gather-192x256x256", false, 1},
    {"gemm_read", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "read-64x256x256", false, 1},
    {"gemm_packed", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32", {NULL}, "gather-192x256x256", true, 1},
    {"gemm_packed_read", PINION_FAMILY_GEMM, "", 1, "bf16 f32 f32", {NULL}, "read-64x256x256", true, 1},
    {"gemm_packed_bf16", PINION_FAMILY_GEMM, "", 1, "bf16 bf16 bf16", {NULL}, "gather-96x512x384", true, 1},
    {"gemm_packed_f16", PINION_FAMILY_GEMM, "", 1, "f32 f32 f16", {NULL}, "read-64x512x512", true, 1},
    {"gemm_bf16", PINION_FAMILY_GEMM, "", 1, "f32 bf16 bf16", {NULL}, "gather-192x256x256", false, 1},
    {"gemm_body",
     PINION_FAMILY_GEMM,
     "",
     1,
     "f32 f32 f32 f32 bf16",
     {"add x0 x1", "silu v0", "mul v1 x2", "yield v2"},
     "gather-192x256x256",
     true,
     2},
    {"gemm_body_two",
     PINION_FAMILY_GEMM,
     "",
     2,
     "bf16 f32 f32 bf16 f32",
     {"add x0 x1", "cast.bf16 v0", "yield v1 v0"},
     "read-64x256x256",
     true,
     2},
    {"gemm_plain_f32", PINION_FAMILY_GEMM, "", 1, "f32 f32 f32 f32", {"add x0 x1", "yield v0"}, "plain", true, 1},
    {"gemm_plain_f64", PINION_FAMILY_GEMM, "", 1, "f64 f64 f64", {NULL}, "plain", false, 2},
    {"gemm_plain_i32", PINION_FAMILY_GEMM, "", 1, "i32 i8 i32", {NULL}, "plain", false, 0},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

/* Types, body and fixed parts of a case's problem. */
static bool make_problem(compilation *c, const kernel_case *k, kernel_problem *out_problem) {
  memset(out_problem, 0, sizeof *out_problem);
  out_problem->family = k->family;
  snprintf(out_problem->kind, sizeof out_problem->kind, "%s", k->kind);
  out_problem->result_count = k->results;
  out_problem->packed_b = k->packed_b;
  char types[64], *rest = types;
  snprintf(types, sizeof types, "%s", k->types);
  int count = 0;
  for (char *word; (word = strtok_r(rest, " ", &rest));)
    if (!dtype_from_name(word, &out_problem->dtypes[count++])) return false;
  out_problem->params.arg_count = count;
  if (!k->body[0]) return true;
  MlirAttribute lines[8];
  int line_count = 0;
  for (; line_count < 8 && k->body[line_count]; line_count++)
    lines[line_count] = make_str(c->context, k->body[line_count]);
  const char *why = "";
  if (k->family == PINION_FAMILY_GEMM) out_problem->params.size[PINION_GEMM_P] = 1;
  if (kernel_problem_body(c->arena, mlirArrayAttrGet(c->context, line_count, lines), out_problem, &why)) return true;
  fprintf(stderr, "%s: %s\n", k->name, why);
  return false;
}

/* ---- Shapes ---- */
typedef struct dimension_use {
  bool used[PINION_MAX_ARGS][PINION_MAX_RANK]; /* whether an argument's place depends on a dimension at all */
} dimension_use;

static void set_sizes(pinion_params *params, int rank, const int64_t *sizes) {
  params->rank = rank;
  memcpy(params->size, sizes, (size_t)rank * sizeof *sizes);
}

/* Leading dimensions of 1 to 5 and a row; now and then a row longer than a tile. */
static void random_rows(pinion_params *params, int64_t longest) {
  int64_t sizes[PINION_MAX_RANK];
  const int rank = (int)random_between(1, 5);
  for (int d = 0; d < rank; d++) sizes[d] = random_between(1, 5);
  sizes[rank - 1] = random_between(1, random_between(0, 2) ? 40 : longest);
  set_sizes(params, rank, sizes);
}

static void random_pointwise(pinion_params *params, dimension_use *use) {
  random_rows(params, 700);
  if (params->rank >= 2 && random_between(0, 1))
    params->size[random_between(0, params->rank - 2)] = random_between(1, 60);
  if (random_between(0, 9) == 0) params->rank = 0;
  for (int a = 0; a < params->arg_count; a++)
    for (int d = 0; d < params->rank; d++) use->used[a][d] = random_between(0, 4) != 0;
}

static void random_gemm(pinion_params *params, dimension_use *use) {
  int64_t sizes[PINION_GEMM_RANK] = {
      random_between(1, 2), random_between(1, 3), random_between(1, 20), 1, random_between(1, 50), 1,
      random_between(1, 40)};
  switch (random_between(0, 7)) { /* beyond each of the cache blocks */
  case 0: sizes[PINION_GEMM_M] = random_between(190, 400); break;
  case 1: sizes[PINION_GEMM_N] = random_between(250, 600); break;
  case 2: sizes[PINION_GEMM_K] = random_between(250, 900); break;
  case 3: sizes[PINION_GEMM_K] = 0; break;
  case 4: sizes[0] = sizes[1] = 1; break;
  }
  set_sizes(params, PINION_GEMM_RANK, sizes);
  for (int a = 0; a < params->arg_count; a++)
    for (int d = 0; d < PINION_GEMM_RANK; d++) use->used[a][d] = d < PINION_GEMM_P && (a < 2 || random_between(0, 2));
}

/* Which keys a query sees: all, causally, or by one to three blocks of queries. */
static void random_blocks(pinion_params *params) {
  int64_t *const integer = params->integer;
  const int64_t queries = params->size[3], keys = params->size[4], blocks = random_between(-2, 3);
  integer[0] = random_between(0, 3) == 0;
  integer[1] = random_between(-3, 20);
  for (int i = 2; i < 7; i++) integer[i] = 0;
  for (int64_t i = 0; i < blocks; i++) {
    if (i) integer[1 + 2 * i] = random_between(i == 1 ? 1 : integer[3], queries + 1);
    integer[2 + 2 * i] = random_between(i ? integer[2 * i] : 1, keys);
  }
}

static void random_attention(pinion_params *params, dimension_use *use) {
  int64_t sizes[7] = {random_between(1, 2),  random_between(1, 2),  random_between(1, 3), random_between(1, 20),
                      random_between(1, 40), random_between(1, 40), random_between(1, 40)};
  static const char *const operands[4] = {"bghqe", "bghqd", "bgkd", "bgke"};
  static const char *const masks[6] = {"bqk", "bqk", "qk", "bghqk", "bk", "k"};
  const char *const mask = masks[random_between(0, 5)];
  switch (random_between(0, 5)) { /* beyond what goes together, of queries, of keys, of both rows */
  case 0: sizes[3] = random_between(60, 150); break;
  case 1: sizes[4] = random_between(100, 400); break;
  case 2: sizes[5] = random_between(60, 150); break;
  case 3: sizes[6] = random_between(60, 150); break;
  }
  set_sizes(params, 7, sizes);
  for (int a = 0; a < params->arg_count; a++)
    for (int d = 0; d < 7; d++) use->used[a][d] = strchr(a < 4 ? operands[a] : mask, "bghqkde"[d]) != NULL;
  params->scalar[0] = 0.3 + 0.2 * random_unit();
  random_blocks(params);
}

static void random_gather(pinion_params *params, dimension_use *use) {
  random_rows(params, 600);
  const int axis = (int)random_between(0, params->rank - 1);
  params->integer[0] = random_between(1, 7);
  params->integer[1] = axis;
  for (int d = 0; d < params->rank; d++) use->used[2][d] = d == axis || (d < axis && random_between(0, 2) == 0);
}

static void random_im2col(pinion_params *params) {
  int64_t *const integer = params->integer;
  for (int i = 0; i < 4; i++) integer[i] = random_between(1, 3);
  integer[4] = random_between(0, 2);
  integer[5] = random_between(0, 2);
  const int64_t sizes[6] = {random_between(1, 2), random_between(1, 6), random_between(1, 6),
                            random_between(1, 3), random_between(1, 4), random_between(1, 4)};
  set_sizes(params, 6, sizes);
  integer[6] = random_between(1, 12);
  integer[7] = random_between(1, 12);
}

static void random_shape(const kernel_case *k, pinion_params *params, dimension_use *use) {
  memset(use, 1, sizeof *use);
  memset(params->integer, 0, sizeof params->integer);
  switch (k->family) {
  case PINION_FAMILY_POINTWISE: random_pointwise(params, use); break;
  case PINION_FAMILY_GEMM: random_gemm(params, use); break;
  case PINION_FAMILY_ATTENTION: random_attention(params, use); break;
  case PINION_FAMILY_GATHER: random_gather(params, use); break;
  case PINION_FAMILY_IM2COL: random_im2col(params); break;
  case PINION_FAMILY_ROPE: {
    const int64_t sizes[4] = {random_between(1, 2), random_between(1, 3), random_between(1, 5),
                              random_between(1, random_between(0, 5) ? 20 : 300)};
    set_sizes(params, 4, sizes);
    break;
  }
  default:
    random_rows(params, 700);
    params->scalar[0] = 1e-5;
    params->integer[0] = k->family == PINION_FAMILY_REDUCE ? random_between(0, params->rank) : random_between(0, 1);
  }
  for (int r = 0; r < k->results; r++) /* a result has a place for each element of its space */
    for (int d = 0; d < params->rank; d++) use->used[r][d] = true;
  if (k->family == PINION_FAMILY_GEMM)
    for (int r = 0; r < k->results; r++) use->used[r][PINION_GEMM_P] = use->used[r][PINION_GEMM_K] = false;
  if (k->family == PINION_FAMILY_ATTENTION) use->used[0][4] = use->used[0][5] = false;
  if (k->family == PINION_FAMILY_REDUCE)
    for (int d = params->rank - (int)params->integer[0]; d < params->rank; d++) use->used[0][d] = false;
  if (k->family == PINION_FAMILY_GEMM)
    for (int d = 0; d < PINION_GEMM_RANK; d++) {
      use->used[k->results][d] = d == PINION_GEMM_M || d == PINION_GEMM_K || (d < 2 && random_between(0, 1));
      use->used[k->results + 1][d] = d > PINION_GEMM_M || (d < 2 && random_between(0, 1) && !k->packed_b);
    }
}

/* ---- Arguments in memory ---- */
typedef struct placed_argument {
  char *memory;
  int64_t count, origin; /* elements; index of coordinate 0 */
  double *values;        /* results: the reference's, by index; NaN where no element lies */
} placed_argument;

/* Extent of the space along d as argument a sees it: the gathered axis and the image have their own. */
static int64_t extent_of(const kernel_problem *problem, int a, int d) {
  const pinion_params *params = &problem->params;
  if (problem->family == PINION_FAMILY_GATHER && a == 1 && d == params->integer[1]) return params->integer[0];
  if (problem->family == PINION_FAMILY_IM2COL && a == 1)
    return d == 1 ? params->integer[6] : d == 2 ? params->integer[7] : d >= 4 ? 1 : params->size[d];
  return params->size[d];
}

/*
 * Strides by a random order of the dimensions (half of the time the natural one), with padding now and then, and for
 * operands now and then backwards. For rope the pair's distance is one more, outermost or innermost.
 */
static void random_layout(kernel_problem *problem, const dimension_use *use, int a, placed_argument *out_argument) {
  pinion_params *params = &problem->params;
  int order[PINION_MAX_RANK];
  for (int d = 0; d < params->rank; d++) order[d] = d;
  if (random_between(0, 1))
    for (int d = params->rank - 1; d > 0; d--) {
      const int with = (int)random_between(0, d), kept = order[d];
      order[d] = order[with];
      order[with] = kept;
    }
  int64_t stride = random_between(0, 4) ? 1 : random_between(2, 3), origin = 0;
  const bool pairs = problem->family == PINION_FAMILY_ROPE && a < 2, interleaved = pairs && random_between(0, 1);
  if (interleaved) {
    params->integer[a == 0] = stride;
    stride *= 2;
  }
  memset(params->stride[a], 0, sizeof params->stride[a]);
  for (int i = params->rank - 1; i >= 0; i--) {
    const int d = order[i];
    const int64_t extent = extent_of(problem, a, d);
    if (!use->used[a][d] || (problem->family == PINION_FAMILY_IM2COL && a == 1 && d >= 4)) continue;
    const bool backwards = a >= problem->result_count && problem->family != PINION_FAMILY_GATHER &&
                           problem->family != PINION_FAMILY_IM2COL && random_between(0, 7) == 0;
    params->stride[a][d] = backwards ? -stride : stride;
    if (backwards) origin += (extent > 0 ? extent - 1 : 0) * stride;
    stride *= extent > 0 ? extent : 1;
    if (random_between(0, 3) == 0) stride += random_between(1, 5);
  }
  if (pairs && !interleaved) {
    params->integer[a == 0] = stride;
    stride *= 2;
  }
  out_argument->origin = origin;
  out_argument->count = stride + 8;
}

static double random_value(const kernel_problem *problem, int a) {
  const pinion_dtype dtype = problem->dtypes[a];
  if (dtype == PINION_DTYPE_bool) return (double)random_between(0, 1);
  if (problem->family == PINION_FAMILY_GATHER && a == 2)
    return (double)random_between(-problem->params.integer[0] - 2, problem->params.integer[0] + 2);
  if (dtype_is_float(dtype)) return random_unit();
  return (double)(dtype == PINION_DTYPE_u8 || dtype == PINION_DTYPE_u16 ? random_between(0, 100)
                                                                        : random_between(-20, 20));
}

static void place_argument(kernel_problem *problem, int a, placed_argument *argument) {
  const size_t bytes = pinion_dtype_size(problem->dtypes[a]);
  argument->memory = malloc((size_t)argument->count * bytes);
  argument->values = NULL;
  memset(argument->memory, 0xff, (size_t)argument->count * bytes);
  if (a < problem->result_count) {
    argument->values = malloc((size_t)argument->count * sizeof(double));
    for (int64_t i = 0; i < argument->count; i++) argument->values[i] = NAN;
    return;
  }
  for (int64_t i = 0; i < argument->count; i++)
    reference_store(problem->dtypes[a], argument->memory, i, random_value(problem, a));
}

/* ---- Comparing ---- */

/* What an error is relative to: 1, or for sums how many terms there are. */
static double scale_of(const kernel_problem *problem) {
  const pinion_params *params = &problem->params;
  double terms = 1;
  if (problem->family == PINION_FAMILY_GEMM) return (double)params->size[PINION_GEMM_K] + 8;
  if (problem->family == PINION_FAMILY_CUMSUM) return (double)params->size[params->rank - 1] + 8;
  if (problem->family != PINION_FAMILY_REDUCE) return 1;
  for (int d = params->rank - (int)params->integer[0]; d < params->rank; d++) terms *= (double)params->size[d];
  return strcmp(problem->kind, "mean") ? terms + 8 : 8;
}

/* Half a unit in the last place of the result's type, relative; all of it where the body rounds by itself, because then
   the reference is rounded too, and near a tie the two may fall to either side. */
static double rounding_of(const kernel_problem *problem, int r) {
  const pinion_dtype dtype = problem->dtypes[r];
  double half = dtype == PINION_DTYPE_bf16  ? 0x1p-8
                : dtype == PINION_DTYPE_f16 ? 0x1p-11
                : dtype == PINION_DTYPE_f32 ? 0x1p-24
                                            : 0;
  for (int i = 0; problem->has_body && i < problem->body.instruction_count; i++)
    if (!strcmp(problem->body.instructions[i].operation, "cast") && problem->body.instructions[i].dtype == dtype)
      return 2.02 * half;
  return 1.01 * half;
}

static bool compare_result(const kernel_case *k, const kernel_problem *problem, int r,
                           const placed_argument *argument) {
  const pinion_dtype dtype = problem->dtypes[r];
  const size_t bytes = pinion_dtype_size(dtype);
  const double unit = dtype == PINION_DTYPE_f64 ? 0x1p-52 : 0x1p-23;
  for (int64_t i = 0; i < argument->count; i++) {
    const double expected = argument->values[i];
    if (isnan(expected)) {
      for (size_t b = 0; b < bytes; b++)
        if ((unsigned char)argument->memory[(size_t)i * bytes + b] != 0xff) {
          fprintf(stderr, "%s: result %d, index %lld: written, but no element lies there\n", k->name, r, (long long)i);
          return false;
        }
      continue;
    }
    const double found = reference_load(dtype, argument->memory, i);
    const double rounded = dtype_is_float(dtype) ? expected : reference_round(dtype, expected);
    const double allowed = k->tolerance * unit * fmax(scale_of(problem), fabs(expected)) +
                           rounding_of(problem, r) * fabs(expected) + (dtype == PINION_DTYPE_f16 ? 0x1p-25 : 0);
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

/* b, packed as weights are; its place in the launch has no strides. */
static void *pack_b(kernel_problem *problem, int b, const placed_argument *argument) {
  const struct target *cpu = target_find("cpu");
  pinion_params *params = &problem->params;
  const int64_t size = (int64_t)pinion_dtype_size(problem->dtypes[b]);
  pack_request request = {.data = argument->memory + argument->origin * size, .dtype = problem->dtypes[b]};
  memcpy(request.size, &params->size[PINION_GEMM_H], sizeof request.size);
  memcpy(request.stride, &params->stride[b][PINION_GEMM_H], sizeof request.stride);
  void *packed = malloc((size_t)cpu->packed_bytes(request.size, request.dtype) + 1);
  cpu->pack(&request, packed);
  memset(params->stride[b], 0, sizeof params->stride[b]);
  return packed;
}

/* Every block in this thread, with scratch that holds NaNs and ends where the target said; false if the kernel writes
 * beyond. */
static bool run_blocks(pinion_cpu_kernel *kernel, const pinion_params *params, void *const *args, uint32_t grid,
                       size_t scratch_bytes) {
  enum { GUARD = 256 };
  const size_t bytes = (scratch_bytes + 63) / 64 * 64 + GUARD;
  unsigned char *scratch = aligned_alloc(64, bytes);
  memset(scratch, 0xff, bytes);
  for (uint32_t index = 0; index < grid; index++) {
    const pinion_cpu_block block = {args, params, index, grid, scratch};
    kernel(&block);
  }
  bool intact = true;
  for (size_t i = scratch_bytes; i < bytes; i++) intact = intact && scratch[i] == 0xff;
  free(scratch);
  return intact;
}

/* One random problem of a case. */
static bool run_once(arena *a, const kernel_case *k, kernel_problem problem, pinion_cpu_kernel *kernel) {
  dimension_use use;
  placed_argument placed[PINION_MAX_ARGS];
  void *args[PINION_MAX_ARGS], *packed = NULL;
  double *values[PINION_MAX_ARGS] = {NULL};
  random_shape(k, &problem.params, &use);
  for (int i = 0; i < problem.params.arg_count; i++) {
    random_layout(&problem, &use, i, &placed[i]);
    place_argument(&problem, i, &placed[i]);
    args[i] = placed[i].memory + placed[i].origin * (int64_t)pinion_dtype_size(problem.dtypes[i]);
    if (placed[i].values) values[i] = placed[i].values + placed[i].origin;
  }
  problem.packed_b = false;
  bool good = reference_run(&problem, args, values);
  problem.packed_b = k->packed_b;
  if (k->packed_b) args[k->results + 1] = packed = pack_b(&problem, k->results + 1, &placed[k->results + 1]);
  kernel_choice choice;
  const char *why = "";
  good = good && target_find("cpu")->choose(a, &problem, k->tile, &choice, &why);
  const uint32_t grid = random_between(0, 1) ? choice.grid[0] : (uint32_t)random_between(1, 9);
  text_free(&choice.defines);
  if (good && !run_blocks(kernel, &problem.params, args, grid, choice.dynamic_shared_bytes)) {
    fprintf(stderr, "%s: writes beyond its scratch\n", k->name);
    good = false;
  }
  for (int r = 0; r < k->results && good; r++) good = compare_result(k, &problem, r, &placed[r]);
  if (!good) print_problem(&problem, grid);
  for (int i = 0; i < problem.params.arg_count; i++) {
    free(placed[i].memory);
    free(placed[i].values);
  }
  free(packed);
  return good;
}

int main(int argc, char **argv) {
  enum { PROBLEMS_PER_CASE = 30 };
  static kernel_problem problems[CASE_COUNT];
  kernel_library library;
  compilation c;
  int failed = 0;
  if (argc < 2 || compilation_create(&c) != STATUS_OK) return 2;
  random_state = argc > 2 ? strtoull(argv[2], NULL, 10) * 2 + 1 : 20261121;
  bool built = kernel_library_begin(&library, target_find("cpu"), argv[1]);
  for (int i = 0; i < CASE_COUNT && built; i++) {
    kernel_choice choice;
    const char *why = "";
    kernel_problem *problem = &problems[i];
    dimension_use use;
    built = make_problem(&c, &cases[i], problem);
    random_shape(&cases[i], &problem->params, &use);
    built = built && target_find("cpu")->choose(c.arena, problem, cases[i].tile, &choice, &why) &&
            kernel_library_add(&library, problem, &choice, cases[i].name);
    if (!built) fprintf(stderr, "%s: %s\n", cases[i].name, why);
    text_free(&choice.defines);
  }
  built = built && kernel_library_build(&library);
  for (int i = 0; i < CASE_COUNT && built; i++) {
    pinion_cpu_kernel *kernel = kernel_library_find(&library, cases[i].name);
    bool good = kernel != NULL;
    for (int run = 0; run < PROBLEMS_PER_CASE && good; run++) good = run_once(c.arena, &cases[i], problems[i], kernel);
    if (!good) printf("FAILED %s\n", cases[i].name);
    failed += !good;
  }
  kernel_library_end(&library);
  compilation_destroy(&c);
  if (built) printf("%d of %d kernels agree with the reference\n", CASE_COUNT - failed, CASE_COUNT);
  return built && !failed ? 0 : 1;
}
