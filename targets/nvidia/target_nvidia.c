/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Which form computes a problem, and the families that have one form each. */
#include "nvidia.h"

#include "attention.h"
#include "gemm.h"

#include <string.h>

/* ---- Types and sizes ---- */

int64_t round_up_division(int64_t x, int64_t y) {
  return (x + y - 1) / y;
}

static bool is_float(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_f32 || dtype == PINION_DTYPE_f64 || dtype == PINION_DTYPE_bf16 ||
         dtype == PINION_DTYPE_f16;
}

const char *accumulator_type(const kernel_problem *problem, int first, int end) {
  bool any_float = false;
  for (int i = first; i < end; i++) {
    if (problem->dtypes[i] == PINION_DTYPE_f64) return "double";
    any_float |= is_float(problem->dtypes[i]);
  }
  return any_float ? "float" : "int64_t";
}

const char *float_accumulator_type(const kernel_problem *problem) {
  return strcmp(accumulator_type(problem, 0, problem->params.arg_count), "double") ? "float" : "double";
}

int64_t points(const kernel_problem *problem, int first, int end) {
  int64_t count = 1;
  for (int d = first; d < end; d++) count *= problem->params.size[d];
  return count;
}

static void define_index(const kernel_problem *problem, kernel_choice *choice) {
  if (points(problem, 0, problem->params.rank) >= INT64_C(1) << 31)
    text_append(&choice->defines, "#define PN_WIDE_INDEX 1\n");
}

void set_grid(kernel_choice *choice, int64_t blocks, int threads) {
  choice->grid[0] = blocks < 1 ? 1 : (uint32_t)blocks;
  choice->grid[1] = choice->grid[2] = 1;
  choice->block[0] = (uint32_t)threads;
  choice->block[1] = choice->block[2] = 1;
}

/* ---- The other families: one form each ---- */

typedef bool family_choice(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                           const char **out_why);

/* Of a kernel that loops over its work: at most 16 blocks a multiprocessor. */
static void set_looping_grid(const nvidia_chip *chip, kernel_choice *choice, int64_t blocks, int threads) {
  const int64_t most = 16 * chip->multiprocessors;
  set_grid(choice, blocks < most ? blocks : most, threads);
}

/* One thread a point. */
static void choose_points(const nvidia_chip *chip, const kernel_problem *problem, const char *source,
                          kernel_choice *choice) {
  choice->source = source;
  set_looping_grid(chip, choice, round_up_division(points(problem, 0, problem->params.rank), NVIDIA_THREADS),
                   NVIDIA_THREADS);
}

static bool choose_pointwise(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                             const char **out_why) {
  *out_why = "a pointwise launch needs a body";
  choose_points(chip, problem, "pointwise.cu", choice);
  return problem->has_body;
}

static bool choose_gather(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                          const char **out_why) {
  *out_why = "an index must be an integer";
  choose_points(chip, problem, "gather.cu", choice);
  return !is_float(problem->dtypes[2]);
}

static bool choose_im2col(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                          const char **out_why) {
  (void)out_why;
  choose_points(chip, problem, "im2col.cu", choice);
  return true;
}

static bool choose_rope(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                        const char **out_why) {
  (void)out_why;
  choose_points(chip, problem, "rope.cu", choice);
  text_append(&choice->defines, "#define PN_ACCUMULATOR %s\n", float_accumulator_type(problem));
  return true;
}

/* `rows` rows of `length`: a warp a row, or a block where the row is long. */
static void choose_rows(const nvidia_chip *chip, const char *source, int64_t rows, int64_t length,
                        const char *accumulator, kernel_choice *choice) {
  int row_threads = length > 512 ? NVIDIA_THREADS : 32;
  choice->source = source;
  set_looping_grid(chip, choice, round_up_division(rows, NVIDIA_THREADS / row_threads), NVIDIA_THREADS);
  text_append(&choice->defines, "#define PN_ROW_THREADS %d\n#define PN_ACCUMULATOR %s\n", row_threads, accumulator);
}

static bool choose_softmax(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                           const char **out_why) {
  int row = problem->params.rank - 1;
  (void)out_why;
  choose_rows(chip, "softmax.cu", points(problem, 0, row), problem->params.size[row], float_accumulator_type(problem),
              choice);
  return true;
}

/* Whether the rows of all arguments lie side by side, eight elements at a time at multiples of 16 bytes. */
static bool rows_lie_whole(const kernel_problem *problem) {
  const int row = problem->params.rank - 1;
  bool whole = problem->params.size[row] % 8 == 0;
  for (int i = 0; i < problem->params.arg_count; i++) {
    const int64_t *stride = problem->params.stride[i], bytes = (int64_t)pinion_dtype_size(problem->dtypes[i]);
    whole &= problem->aligned[i] && stride[row] == 1 && is_float(problem->dtypes[i]);
    for (int d = 0; d < row; d++) whole &= stride[d] * bytes % 16 == 0;
  }
  return whole;
}

/* Why a row cannot be held in a warp's registers, or NULL. */
static const char *registers_refusal(const kernel_problem *problem) {
  enum { MOST_IN_REGISTERS = 2048 };
  const int64_t length = problem->params.size[problem->params.rank - 1];
  if (!rows_lie_whole(problem)) return "rows that are kept in registers lie side by side at multiples of 16 bytes";
  if (!strcmp(float_accumulator_type(problem), "double")) return "rows that are kept in registers are no f64";
  return length > MOST_IN_REGISTERS ? "a warp's registers hold no row of more than 2048 elements" : NULL;
}

static bool choose_norm(const nvidia_chip *chip, const kernel_problem *problem, const char *tile, kernel_choice *choice,
                        const char **out_why) {
  enum { BLOCK = 64 };
  const int row = problem->params.rank - 1;
  const int64_t rows = points(problem, 0, row), length = problem->params.size[row];
  *out_why = "norm kinds are layer and rms";
  if (strcmp(problem->kind, "layer") && strcmp(problem->kind, "rms")) return false;
  *out_why = registers_refusal(problem);
  if (tile && (strcmp(tile, "registers") || *out_why)) return false;
  if (*out_why) {
    choose_rows(chip, "norm.cu", rows, length, float_accumulator_type(problem), choice);
    return true;
  }
  choice->source = "norm_registers.cu";
  choice->tile = "registers";
  set_looping_grid(chip, choice, round_up_division(rows, BLOCK / 32), BLOCK);
  text_append(&choice->defines, "#define PN_LENGTH %d\n#define PN_BLOCK_THREADS %d\n", (int)length, BLOCK);
  return true;
}

static bool choose_reduce(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                          const char **out_why) {
  static const char *const kinds[] = {"sum", "mean", "max", "min", "prod"};
  const char *accumulator = accumulator_type(problem, 0, 2);
  bool integer = !strcmp(accumulator, "int64_t");
  int kept = problem->params.rank - (int)problem->params.integer[0];
  choose_rows(chip, "reduce.cu", points(problem, 0, kept), points(problem, kept, problem->params.rank), accumulator,
              choice);
  text_append(&choice->defines, "#define PN_REDUCED %d\n", (int)problem->params.integer[0]);
  text_append(&choice->defines, "#define PN_LOWEST %s\n", integer ? "(-9223372036854775807ll - 1)" : "-PN_INFINITY");
  text_append(&choice->defines, "#define PN_HIGHEST %s\n", integer ? "9223372036854775807ll" : "PN_INFINITY");
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(kinds[i], problem->kind)) return true;
  *out_why = "reduce kinds are sum, mean, max, min and prod";
  return false;
}

static bool choose_cumsum(const nvidia_chip *chip, const kernel_problem *problem, kernel_choice *choice,
                          const char **out_why) {
  (void)out_why;
  choice->source = "cumsum.cu";
  set_looping_grid(chip, choice, round_up_division(points(problem, 0, problem->params.rank - 1), NVIDIA_THREADS / 32),
                   NVIDIA_THREADS);
  text_append(&choice->defines, "#define PN_ACCUMULATOR %s\n", accumulator_type(problem, 0, 2));
  return true;
}

static family_choice *const family_choices[PINION_FAMILY_COUNT] = {
    [PINION_FAMILY_POINTWISE] = choose_pointwise, [PINION_FAMILY_SOFTMAX] = choose_softmax,
    [PINION_FAMILY_REDUCE] = choose_reduce,       [PINION_FAMILY_CUMSUM] = choose_cumsum,
    [PINION_FAMILY_GATHER] = choose_gather,       [PINION_FAMILY_IM2COL] = choose_im2col,
    [PINION_FAMILY_ROPE] = choose_rope,
};

bool nvidia_choose(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const char *tile,
                   kernel_choice *out_choice, const char **out_why) {
  *out_choice = (kernel_choice){0};
  *out_why = NULL;
  define_index(problem, out_choice);
  bool chosen;
  switch (problem->family) {
  case PINION_FAMILY_GEMM: chosen = choose_gemm(chip, a, problem, tile, out_choice, out_why); break;
  case PINION_FAMILY_ATTENTION: chosen = choose_attention(chip, a, problem, tile, out_choice, out_why); break;
  case PINION_FAMILY_NORM: chosen = choose_norm(chip, problem, tile, out_choice, out_why); break;
  default: chosen = family_choices[problem->family](chip, problem, out_choice, out_why);
  }
  if (!chosen) text_free(&out_choice->defines);
  return chosen;
}

int nvidia_candidates(const nvidia_chip *chip, const kernel_problem *problem, const char **out_tiles, int capacity) {
  if (problem->family == PINION_FAMILY_ATTENTION) return attention_candidates(chip, problem, out_tiles, capacity);
  return problem->family == PINION_FAMILY_GEMM ? gemm_candidates(chip, problem, out_tiles, capacity) : 0;
}
