/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The cpu target: kernels are C, compiled by the artifact's own build, so that the vector width is that of the machine
 * that builds. What is decided here holds for any of them: which form of a family, how large its cache blocks, how many
 * blocks the pool shares. Thread counts are unknown: grids follow from the work.
 */
#include "../target.h"
#include "tiles.h"

#include <string.h>

/* What one thread of a present machine does in a microsecond, roughly; only ratios and orders of magnitude matter. */
enum {
  BYTES_PER_MICROSECOND = 8000,
  TRANSCENDENTALS_PER_MICROSECOND = 800,
  MICROSECONDS_PER_BLOCK = 4, /* handing a block to another thread costs about one */
  BLOCKS_AT_MOST = 64,
  ROWS_ELEMENTS = 512, /* of short rows that go through a kernel's steps together */
  LANES_AT_MOST = 16,  /* floats in a vector register: what a row in scratch is made up to */
};

static bool is_float(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_f32 || dtype == PINION_DTYPE_f64 || dtype == PINION_DTYPE_bf16 ||
         dtype == PINION_DTYPE_f16;
}

/* Elements of dimensions first .. end. */
static int64_t elements_of(const pinion_params *params, int first, int end) {
  int64_t elements = 1;
  for (int d = first; d < end; d++) elements *= params->size[d];
  return elements;
}

static int64_t split_evenly(int64_t extent, int64_t at_most) {
  return (extent + at_most - 1) / at_most;
}

/* Blocks for work of so many microseconds that falls into `parts`. One block needs no second thread. */
static uint32_t grid_for(double microseconds, int64_t parts) {
  double blocks = microseconds / MICROSECONDS_PER_BLOCK;
  if (blocks > BLOCKS_AT_MOST) blocks = BLOCKS_AT_MOST;
  if (blocks > (double)parts) blocks = (double)parts;
  return blocks < 1 ? 1 : (uint32_t)blocks;
}

/* ---- The families other than gemm ---- */

static bool is_transcendental(const char *operation) {
  static const char *const names[] = {"exp", "log",  "tanh",      "erf",      "sigmoid", "sin",
                                      "cos", "silu", "gelu_tanh", "gelu_erf", "pow",     "mod"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!strcmp(operation, names[i])) return true;
  return false;
}

static double body_microseconds(const kernel_problem *problem, int64_t elements) {
  double bytes = 0, calls = 0;
  for (int i = 0; i < problem->params.arg_count; i++) bytes += (double)pinion_dtype_size(problem->dtypes[i]);
  for (int i = 0; problem->has_body && i < problem->body.instruction_count; i++)
    calls += is_transcendental(problem->body.instructions[i].operation);
  return (double)elements * (bytes / BYTES_PER_MICROSECOND + calls / TRANSCENDENTALS_PER_MICROSECOND);
}

/* What a family needs of its types, and how much scratch a worker needs. */
typedef struct family_form {
  const char *source;
  bool one_float_type;  /* all arguments but indices and masks are floats computed with alike */
  int outer_dimensions; /* whose elements blocks share: that many, or counted from the end if negative */
  int rows_of_scratch;  /* innermost rows, as wide as a double */
  double cost;          /* microseconds per thousand elements of the space, beside moving the bytes */
} family_form;

static const family_form forms[PINION_FAMILY_COUNT] = {
    [PINION_FAMILY_POINTWISE] = {"pointwise.c.in", false, PINION_MAX_RANK, 0, 0},
    [PINION_FAMILY_SOFTMAX] = {"softmax.c.in", true, -1, 1, 1.2},
    [PINION_FAMILY_REDUCE] = {"reduce.c.in", false, 0, 0, 0.1},
    [PINION_FAMILY_CUMSUM] = {"cumsum.c.in", false, -1, 0, 1.5},
    [PINION_FAMILY_NORM] = {"norm.c.in", true, -1, 4, 0.2},
    [PINION_FAMILY_ATTENTION] = {"attention_plain.c.in", true, 4, 0, 0},
    [PINION_FAMILY_GATHER] = {"gather.c.in", false, -1, 0, 0.3},
    [PINION_FAMILY_IM2COL] = {"im2col.c.in", false, -1, 0, 1},
    [PINION_FAMILY_ROPE] = {"rope.c.in", true, -1, 0, 0.5},
};

/* NULL, or why the family's form cannot compute the problem. */
static const char *refuse_types(const kernel_problem *problem, const family_form *form) {
  const bool has_mask = problem->family == PINION_FAMILY_ATTENTION && problem->params.arg_count == 5;
  const int checked = problem->params.arg_count - (has_mask && problem->dtypes[4] == PINION_DTYPE_bool);
  if (problem->family == PINION_FAMILY_POINTWISE && !problem->has_body) return "a pointwise launch needs a body";
  if (!form->one_float_type) return NULL;
  for (int i = 0; i < checked; i++) {
    if (!is_float(problem->dtypes[i])) return "this family computes on floating-point types only";
    if ((problem->dtypes[i] == PINION_DTYPE_f64) != (problem->dtypes[0] == PINION_DTYPE_f64))
      return "float64 mixed with narrower floats within one launch; cast first";
  }
  return NULL;
}

static int64_t shared_parts(const kernel_problem *problem, const family_form *form) {
  const pinion_params *params = &problem->params;
  if (problem->family == PINION_FAMILY_REDUCE) return elements_of(params, 0, params->rank - (int)params->integer[0]);
  const int outer = form->outer_dimensions < 0 ? params->rank + form->outer_dimensions : form->outer_dimensions;
  return elements_of(params, 0, outer < params->rank ? outer : params->rank);
}

static bool choose_simple(const kernel_problem *problem, kernel_choice *out_choice, const char **out_why) {
  const family_form *form = &forms[problem->family];
  const pinion_params *params = &problem->params;
  const int64_t elements = elements_of(params, 0, params->rank);
  *out_why = refuse_types(problem, form);
  if (*out_why) return false;
  out_choice->source = form->source;
  out_choice->cost = body_microseconds(problem, elements) + form->cost * (double)elements / 1000;
  if (form->rows_of_scratch) {
    const int64_t row = params->size[params->rank - 1] + LANES_AT_MOST,
                  elements_together = ROWS_ELEMENTS > row ? ROWS_ELEMENTS : row;
    text_append(&out_choice->defines, "#define PN_ROWS_ELEMENTS %d\n", ROWS_ELEMENTS);
    out_choice->dynamic_shared_bytes = (uint32_t)(form->rows_of_scratch * elements_together * 8);
  }
  out_choice->grid[0] = grid_for(out_choice->cost, shared_parts(problem, form));
  return true;
}

/* ---- attention ---- */

/* Floats or doubles that a worker needs: as the kernels take them from their scratch. */
static int64_t attention_scratch(const pinion_params *params, bool plain) {
  const int64_t keys = params->size[4], depth = params->size[5], value = params->size[6];
  const int64_t wider = depth > value ? depth : value;
  if (plain) return ATTENTION_QUERIES * (keys + depth + value) + wider;
  return CPU_ATOM * (ATTENTION_PANELS * (depth + value) + (CPU_PANELS + 1) * ATTENTION_KEYS +
                     (wider > ATTENTION_KEYS ? wider : ATTENTION_KEYS)) +
         ATTENTION_KEYS * (depth + value);
}

static bool choose_attention(const kernel_problem *problem, kernel_choice *out_choice, const char **out_why) {
  const pinion_params *params = &problem->params;
  const bool plain = problem->dtypes[0] == PINION_DTYPE_f64;
  const double scores = (double)elements_of(params, 0, 5), width = (double)(params->size[5] + params->size[6]);
  const int64_t heads = params->size[0] * params->size[1], rows = params->size[2] * params->size[3];
  *out_why = refuse_types(problem, &forms[PINION_FAMILY_ATTENTION]);
  if (*out_why) return false;
  out_choice->source = plain ? "attention_plain.c.in" : "attention.c.in";
  if (plain)
    text_append(&out_choice->defines, "#define PN_QUERIES %d\n", ATTENTION_QUERIES);
  else
    text_append(&out_choice->defines, "#define PN_ATOM %d\n#define PN_KEYS %d\n#define PN_PANELS %d\n", CPU_ATOM,
                ATTENTION_KEYS, ATTENTION_PANELS);
  out_choice->dynamic_shared_bytes = (uint32_t)(attention_scratch(params, plain) * (plain ? 8 : 4));
  out_choice->cost = plain ? scores * width / 1000 : scores * (width / 45000 + 1.0 / 1600);
  out_choice->grid[0] = grid_for(out_choice->cost, heads * split_evenly(rows, plain ? ATTENTION_QUERIES : CPU_ATOM));
  return true;
}

/* ---- gemm ---- */

static bool computes_in_float(pinion_dtype dtype) {
  return is_float(dtype) && dtype != PINION_DTYPE_f64;
}

const char *cpu_tile_refusal(const cpu_tile *tile, const kernel_problem *problem) {
  const int a = problem->result_count, b = a + 1;
  if (!tile->rows) return NULL; /* the plain form */
  if (!computes_in_float(problem->dtypes[a]) || !computes_in_float(problem->dtypes[b]))
    return "blocked tiles multiply f32, bf16 and f16 in float32 only";
  for (int i = 0; i < problem->params.arg_count; i++)
    if (i < problem->result_count && !problem->has_body && !computes_in_float(problem->dtypes[i]))
      return "blocked tiles accumulate in float32: another result deserves the plain form";
  return NULL;
}

int64_t cpu_tile_scratch(const cpu_tile *tile) {
  enum {
    STRIP = CPU_PANELS * CPU_ATOM, /* rows and columns that the matrix unit takes together */
    FLOATS = STRIP * MATRIX_DEPTH + MATRIX_ROWS * MATRIX_COLUMNS + CPU_ATOM * MATRIX_DEPTH,
    SLICES = MATRIX_SLICES * (MATRIX_ROWS + STRIP) * MATRIX_DEPTH,
    MATRIX_UNIT = 4 * FLOATS + 2 * SLICES
  };
  if (!tile->rows) return 0;
  const int64_t vectors =
      4 * ((int64_t)CPU_PANELS * CPU_ATOM * tile->depth + (int64_t)tile->rows * (tile->columns + tile->depth));
  return vectors > MATRIX_UNIT ? vectors : MATRIX_UNIT;
}

/* Whether the kernel brings A's rows together, whatever the tile says: they are read in place only if float32 and
 * dense. */
static bool gathers(const cpu_tile *tile, const kernel_problem *problem) {
  const int a = problem->result_count;
  return tile->packs_a || problem->dtypes[a] != PINION_DTYPE_f32 || problem->params.stride[a][PINION_GEMM_K] != 1;
}

/* Whether rows of A, read in place, evict each other from a level-2 cache: they lie multiples of 32 KiB apart. */
static bool evicts(const cpu_tile *tile, const kernel_problem *problem) {
  const int a = problem->result_count;
  const int64_t pitch = problem->params.stride[a][PINION_GEMM_M] * (int64_t)pinion_dtype_size(problem->dtypes[a]);
  return !gathers(tile, problem) && problem->params.size[PINION_GEMM_M] > CPU_ATOM && pitch % (32 << 10) == 0;
}

/*
 * Microseconds on one thread: the multiplications at the micro-kernel's rate, A gathered once per block of columns, B
 * brought from memory once per block of rows, C through the cache once per block of depth.
 */
double cpu_tile_cost(const cpu_tile *tile, const kernel_problem *problem) {
  const int64_t *size = problem->params.size;
  const int64_t groups_columns = size[PINION_GEMM_H] * size[PINION_GEMM_N];
  const int64_t all_columns = groups_columns * size[PINION_GEMM_P];
  const double batch = (double)(size[PINION_GEMM_B0] * size[PINION_GEMM_B1]), m = (double)size[PINION_GEMM_M];
  const double n = (double)all_columns, k = (double)size[PINION_GEMM_K];
  if (!tile->rows) return batch * m * n * k / 800;
  const double rows = (double)split_evenly(size[PINION_GEMM_M], tile->rows);
  const double depths = (double)split_evenly(size[PINION_GEMM_K], tile->depth);
  const double columns = (double)split_evenly(all_columns, tile->columns);
  const double padded_n = (double)(split_evenly(groups_columns, CPU_ATOM) * CPU_ATOM * size[PINION_GEMM_P]);
  const double multiply = m * padded_n * k / 80000 * (evicts(tile, problem) ? 1.15 : 1);
  const double gather = gathers(tile, problem) ? m * k * columns / 3000 : 0;
  const double stream = n * k * rows * (double)pinion_dtype_size(problem->dtypes[problem->result_count + 1]) / 100000;
  const double accumulate = m * n * depths / 16000;
  return batch * (multiply + gather + stream + accumulate + columns * rows * 0.1);
}

static const cpu_tile *best_tile(const kernel_problem *problem) {
  const cpu_tile *best = NULL;
  for (int i = 0; i < cpu_tile_count; i++) {
    const cpu_tile *tile = &cpu_tiles[i];
    if (cpu_tile_refusal(tile, problem)) continue;
    if (!best || cpu_tile_cost(tile, problem) < cpu_tile_cost(best, problem)) best = tile;
  }
  return best;
}

static const cpu_tile *find_tile(const char *name) {
  for (int i = 0; i < cpu_tile_count; i++)
    if (!strcmp(cpu_tiles[i].name, name)) return &cpu_tiles[i];
  return NULL;
}

static bool choose_gemm(arena *a, const kernel_problem *problem, const char *name, kernel_choice *out_choice,
                        const char **out_why) {
  const int64_t *size = problem->params.size;
  const cpu_tile *tile = name ? find_tile(name) : best_tile(problem);
  if (!tile) {
    *out_why = arena_format(a, "the cpu target has no gemm tile '%s'", name ? name : "");
    return false;
  }
  *out_why = cpu_tile_refusal(tile, problem);
  if (*out_why) return false;
  out_choice->tile = tile->name;
  out_choice->source = tile->rows ? "gemm.c.in" : "gemm_plain.c.in";
  out_choice->cost =
      cpu_tile_cost(tile, problem) + body_microseconds(problem, elements_of(&problem->params, 0, PINION_GEMM_P));
  out_choice->dynamic_shared_bytes = (uint32_t)cpu_tile_scratch(tile);
  text_append(&out_choice->defines, "#define PN_ATOM %d\n", CPU_ATOM);
  if (tile->rows)
    text_append(
        &out_choice->defines,
        "#define PN_BLOCK_ROWS %d\n#define PN_BLOCK_COLUMNS %d\n#define PN_BLOCK_DEPTH %d\n#define PN_PACKS_A %d\n",
        tile->rows, tile->columns, tile->depth, tile->packs_a);
  if (tile->rows)
    text_append(&out_choice->defines,
                "#define PN_MATRIX_ROWS %d\n#define PN_MATRIX_COLUMNS %d\n#define PN_MATRIX_DEPTH %d\n", MATRIX_ROWS,
                MATRIX_COLUMNS, MATRIX_DEPTH);
  const int64_t strip = problem->params.integer[4] ? PINION_COLUMN_BLOCK : CPU_ATOM; /* columns, at least */
  const int64_t blocks = split_evenly(size[PINION_GEMM_M], tile->rows ? tile->rows : 1) *
                         (tile->rows ? split_evenly(size[PINION_GEMM_H] * size[PINION_GEMM_N], strip) : 1);
  const int64_t parts = size[PINION_GEMM_B0] * size[PINION_GEMM_B1] * blocks;
  out_choice->grid[0] = grid_for(out_choice->cost, parts);
  return true;
}

/* ---- The struct ---- */

static bool cpu_choose(arena *a, const kernel_problem *problem, const char *tile, kernel_choice *out_choice,
                       const char **out_why) {
  memset(out_choice, 0, sizeof *out_choice);
  for (int i = 0; i < 3; i++) out_choice->grid[i] = out_choice->block[i] = 1;
  if (problem->family == PINION_FAMILY_GEMM) return choose_gemm(a, problem, tile, out_choice, out_why);
  if (problem->family == PINION_FAMILY_ATTENTION) return choose_attention(problem, out_choice, out_why);
  return choose_simple(problem, out_choice, out_why);
}

static int cpu_candidates(const kernel_problem *problem, const char **out_tiles, int capacity) {
  const cpu_tile *sorted[32];
  int count = 0;
  if (problem->family != PINION_FAMILY_GEMM) return 0;
  for (int i = 0; i < cpu_tile_count && count < 32; i++) {
    const cpu_tile *tile = &cpu_tiles[i];
    if (cpu_tile_refusal(tile, problem)) continue;
    int at = count++;
    for (; at > 0 && cpu_tile_cost(sorted[at - 1], problem) > cpu_tile_cost(tile, problem); at--)
      sorted[at] = sorted[at - 1];
    sorted[at] = tile;
  }
  if (count > capacity) count = capacity;
  for (int i = 0; i < count; i++) out_tiles[i] = sorted[i]->name;
  return count;
}

/* The atom: CPU_ATOM columns and all of k; panels [columns / 16][p][k][16], the last columns padded with zeros. */
enum { H, N, P, K }; /* of a pack_request */

static int64_t cpu_packed_bytes(const int64_t size[4], pinion_dtype dtype) {
  return split_evenly(size[H] * size[N], CPU_ATOM) * CPU_ATOM * size[P] * size[K] * (int64_t)pinion_dtype_size(dtype);
}

/* Rows k0 .. k1 of one panel. `size` is a constant where this is called, so that the copies become moves. */
static inline void pack_panel(const pack_request *request, int64_t first, int64_t p, int64_t k0, int64_t k1,
                              int64_t size, char *to) {
  const int64_t all = request->size[H] * request->size[N], group = request->size[N], *stride = request->stride;
  const int64_t columns = all - first < CPU_ATOM ? all - first : CPU_ATOM, step_k = stride[K] * size;
  const bool contiguous = stride[N] == 1 && (first / group == (first + columns - 1) / group || stride[H] == group);
  const char *from[CPU_ATOM];
  for (int64_t c = 0; c < columns; c++)
    from[c] = (const char *)request->data +
              ((first + c) / group * stride[H] + (first + c) % group * stride[N] + p * stride[P]) * size;
  if (columns < CPU_ATOM) memset(to + k0 * CPU_ATOM * size, 0, (size_t)((k1 - k0) * CPU_ATOM * size));
  if (contiguous) {
    for (int64_t k = k0; k < k1; k++) memcpy(to + k * CPU_ATOM * size, from[0] + k * step_k, (size_t)(columns * size));
    return;
  }
  for (int64_t c = 0; c < columns; c++)
    for (int64_t k = k0; k < k1; k++) memcpy(to + (k * CPU_ATOM + c) * size, from[c] + k * step_k, (size_t)size);
}

/* A few rows of all panels at a time: the source's cache lines and pages are used up while they are at hand. */
static inline void pack_all(const pack_request *request, int64_t size, char *to) {
  enum { ROWS = 64 };
  const int64_t columns = request->size[H] * request->size[N], depth = request->size[K], halves = request->size[P];
  for (int64_t k = 0; k < depth; k += ROWS)
    for (int64_t first = 0; first < columns; first += CPU_ATOM)
      for (int64_t p = 0; p < halves; p++)
        pack_panel(request, first, p, k, k + ROWS < depth ? k + ROWS : depth, size,
                   to + (first * halves + p * CPU_ATOM) * depth * size);
}

static void cpu_pack(const pack_request *request, void *out_packed) {
  switch (pinion_dtype_size(request->dtype)) {
  case 2: pack_all(request, 2, out_packed); break;
  case 4: pack_all(request, 4, out_packed); break;
  default: pack_all(request, (int64_t)pinion_dtype_size(request->dtype), out_packed);
  }
}

extern const struct target target_cpu;
const struct target target_cpu = {
    .name = "cpu",
    .summary = "any machine with a C compiler: x86-64 and aarch64, vector extensions, a thread pool",
    .device = "cpu",
    .source_suffix = ".c",
    /* Multiplications and additions contract; nothing looks at errno or traps, so that selects need no branches. NaNs,
       infinities and signed zeros are kept. */
    .kernel_flags = "-O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math",
    .prelude = "prelude.h.in",
    .choose = cpu_choose,
    .candidates = cpu_candidates,
    .packed_bytes = cpu_packed_bytes,
    .pack = cpu_pack,
};
