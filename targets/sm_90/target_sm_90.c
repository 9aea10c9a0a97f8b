/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * NVIDIA Hopper (H100, H200): the plain, always-legal form of every kernel family.
 *
 * Packed weights. b[n, k] becomes atoms of 64 rows (n) by 128 bytes (k), 8192 bytes each, ordered [n/64][k/P], where P
 * = 128 / element bytes: 64 bf16 or 32 f32. Inside an atom row r begins at byte 128 r, and its 16-byte chunk c lies at
 * chunk c ^ (r & 7): the 128-byte swizzle in which wgmma reads a K-major operand from shared memory, so that an atom is
 * fetched by one bulk copy and never rearranged. What is beyond n or k is zero.
 *
 *   byte of (n, k) = ((n/64) * ceil(K/P) + k/P) * 8192 + (n%64) * 128 + (((k%P)*S/16) ^ (n%8)) * 16 + (k%P)*S % 16
 *
 * with S the element's bytes.
 */
#include "../nvidia/nvrtc.h"

#include <stdlib.h>
#include <string.h>

enum {
  MULTIPROCESSORS = 132,
  SHARED_BYTES = 232448,  /* that one block may ask for */
  SHARED_PER_SM = 233472, /* that all blocks of a multiprocessor share */
  REGISTERS = 65536,      /* of a multiprocessor */
  THREADS = 256,          /* of a block, but for gemm's */
  ATOM_ROWS = 64,
  ATOM_BYTES = 8192,
};
static const int64_t largest_grid = 2147483647;

/* ---- Packed weights ---- */

static int64_t round_up_division(int64_t x, int64_t y) {
  return (x + y - 1) / y;
}

static int64_t packed_bytes(int64_t n, int64_t k, pinion_dtype dtype) {
  int64_t row_elements = 128 / (int64_t)pinion_dtype_size(dtype);
  return round_up_division(n, ATOM_ROWS) * round_up_division(k, row_elements) * ATOM_BYTES;
}

/* Row `n` of the source, columns k .. k + count, into its 128 swizzled bytes. */
static void pack_row(const pack_request *request, int64_t n, int64_t k, int64_t count, uint8_t *out_row) {
  size_t size = pinion_dtype_size(request->dtype);
  const uint8_t *from =
      (const uint8_t *)request->data + (n * request->stride_n + k * request->stride_k) * (int64_t)size;
  for (int64_t i = 0; i < count; i++, from += request->stride_k * (int64_t)size) {
    size_t byte = (size_t)i * size;
    memcpy(out_row + ((byte / 16) ^ (size_t)(n & 7)) * 16 + byte % 16, from, size);
  }
}

static void pack(const pack_request *request, void *out_packed) {
  int64_t row_elements = 128 / (int64_t)pinion_dtype_size(request->dtype);
  uint8_t *atom = out_packed;
  memset(out_packed, 0, (size_t)packed_bytes(request->n, request->k, request->dtype));
  for (int64_t n0 = 0; n0 < request->n; n0 += ATOM_ROWS)
    for (int64_t k = 0; k < request->k; k += row_elements, atom += ATOM_BYTES) {
      int64_t count = request->k - k < row_elements ? request->k - k : row_elements;
      int64_t rows = request->n - n0 < ATOM_ROWS ? request->n - n0 : ATOM_ROWS;
      for (int64_t row = 0; row < rows; row++) pack_row(request, n0 + row, k, count, atom + row * 128);
    }
}

/* ---- Types and sizes ---- */

static bool is_float(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_f32 || dtype == PINION_DTYPE_f64 || dtype == PINION_DTYPE_bf16 ||
         dtype == PINION_DTYPE_f16;
}

/* What sums are kept in, for arguments first .. end: float, unless one is f64, or all are integers. */
static const char *accumulator_type(const kernel_problem *problem, int first, int end) {
  bool any_float = false;
  for (int i = first; i < end; i++) {
    if (problem->dtypes[i] == PINION_DTYPE_f64) return "double";
    any_float |= is_float(problem->dtypes[i]);
  }
  return any_float ? "float" : "int64_t";
}

/* The same where only floats have a meaning. */
static const char *float_accumulator_type(const kernel_problem *problem) {
  return strcmp(accumulator_type(problem, 0, problem->params.arg_count), "double") ? "float" : "double";
}

static int64_t points(const kernel_problem *problem, int first, int end) {
  int64_t count = 1;
  for (int d = first; d < end; d++) count *= problem->params.size[d];
  return count;
}

static void define_index(const kernel_problem *problem, kernel_choice *choice) {
  if (points(problem, 0, problem->params.rank) >= INT64_C(1) << 31)
    text_append(&choice->defines, "#define PN_WIDE_INDEX 1\n");
}

/* A one-dimensional launch. Kernels that loop over their work get at most 16 blocks a multiprocessor. */
static void set_grid(kernel_choice *choice, int64_t blocks, int threads, bool loops) {
  if (loops && blocks > 16 * MULTIPROCESSORS) blocks = 16 * MULTIPROCESSORS;
  choice->grid[0] = blocks < 1 ? 1 : (uint32_t)blocks;
  choice->grid[1] = choice->grid[2] = 1;
  choice->block[0] = (uint32_t)threads;
  choice->block[1] = choice->block[2] = 1;
}

/* ---- Gemm: tiles are rows ---- */

typedef struct gemm_tile {
  const char *name;
  bool tensor_core;     /* mma.sync, else fused multiply-adds */
  int m, n;             /* of the tile */
  int warps_m, warps_n; /* tensor_core only */
} gemm_tile;

static const gemm_tile gemm_tiles[] = {
    {"mma_128x128", true, 128, 128, 2, 4}, {"mma_64x128", true, 64, 128, 2, 4},    {"mma_64x64", true, 64, 64, 2, 2},
    {"mma_32x64", true, 32, 64, 1, 4},     {"fma_128x128", false, 128, 128, 0, 0}, {"fma_64x64", false, 64, 64, 0, 0},
    {"fma_32x32", false, 32, 32, 0, 0},
};
enum { GEMM_TILES = sizeof gemm_tiles / sizeof *gemm_tiles };

static int tile_threads(const gemm_tile *tile) {
  return tile->tensor_core ? tile->warps_m * tile->warps_n * 32 : THREADS;
}

/* Two slices of 64 k, 2 bytes each, of both operands. */
static int tile_dynamic_shared(const gemm_tile *tile) {
  return tile->tensor_core ? 2 * (tile->m + tile->n) * 128 : 0;
}

static int64_t tile_count(const kernel_problem *problem, const gemm_tile *tile) {
  const int64_t *size = problem->params.size;
  return size[0] * size[1] * round_up_division(size[2], tile->m) * round_up_division(size[3], tile->n);
}

/* Why a tile cannot do a problem, or NULL. */
static const char *tile_refusal(const kernel_problem *problem, const gemm_tile *tile) {
  pinion_dtype a = problem->dtypes[problem->result_count], b = problem->dtypes[problem->result_count + 1];
  if (tile->tensor_core && (a != b || (a != PINION_DTYPE_bf16 && a != PINION_DTYPE_f16)))
    return "mma.sync needs both operands in bf16 or both in f16";
  if (tile_dynamic_shared(tile) > SHARED_BYTES)
    return "the slices do not fit the 232448 bytes of shared memory of a block";
  if (tile_count(problem, tile) > largest_grid) return "a grid has at most 2147483647 blocks";
  return NULL;
}

/*
 * Microseconds: rounds of tiles over the multiprocessors, times the k slices of one tile, times what a slice takes: the
 * arithmetic and the loads of all tiles that share the multiprocessor, and what these leave unhidden of the way to
 * memory and back. The rates are what plain kernels reach, about half of the hardware's: 3 TFLOP/s a multiprocessor on
 * tensor cores, 0.25 without, and 68 GB/s from L2.
 */
static double tile_cost(const kernel_problem *problem, const gemm_tile *tile) {
  const double slice_k = tile->tensor_core ? 64 : 16, latency = 0.6, bytes_rate = 68e3;
  const double rate = tile->tensor_core ? 3.0e6 : 0.25e6, row_bytes = tile->tensor_core ? 128 : 64;
  int64_t by_registers = REGISTERS / (tile_threads(tile) * 128), tiles = tile_count(problem, tile);
  int64_t by_shared = tile->tensor_core ? SHARED_PER_SM / (tile_dynamic_shared(tile) + 1024) : by_registers;
  int64_t resident = by_registers < by_shared ? by_registers : by_shared,
          needed = round_up_division(tiles, MULTIPROCESSORS);
  if (resident > needed) resident = needed;
  if (resident < 1) resident = 1;
  double work = 2.0 * tile->m * tile->n * slice_k / rate + (tile->m + tile->n) * row_bytes / bytes_rate;
  double slice = (double)resident * work + latency / (double)resident;
  double slices = (double)round_up_division(problem->params.size[4], (int64_t)slice_k);
  return (double)round_up_division(tiles, MULTIPROCESSORS * resident) * (slices * slice + 2);
}

/* Legal tiles, cheapest first; ties in the table's order. */
static int rank_tiles(const kernel_problem *problem, const gemm_tile **out_tiles) {
  int count = 0;
  for (int i = 0; i < GEMM_TILES; i++) {
    if (tile_refusal(problem, &gemm_tiles[i])) continue;
    double cost = tile_cost(problem, &gemm_tiles[i]);
    int at = count++;
    for (; at > 0 && tile_cost(problem, out_tiles[at - 1]) > cost; at--) out_tiles[at] = out_tiles[at - 1];
    out_tiles[at] = &gemm_tiles[i];
  }
  return count;
}

static int candidates(const kernel_problem *problem, const char **out_tiles, int capacity) {
  const gemm_tile *ranked[GEMM_TILES];
  if (problem->family != PINION_FAMILY_GEMM) return 0;
  int count = rank_tiles(problem, ranked);
  for (int i = 0; i < count && i < capacity; i++) out_tiles[i] = ranked[i]->name;
  return count < capacity ? count : capacity;
}

/* The tile of that name, or the best; NULL with a reason. */
static const gemm_tile *pick_tile(arena *a, const kernel_problem *problem, const char *name, const char **out_why) {
  const gemm_tile *ranked[GEMM_TILES];
  if (!name) {
    *out_why = "a grid has at most 2147483647 blocks";
    return rank_tiles(problem, ranked) ? ranked[0] : NULL;
  }
  for (int i = 0; i < GEMM_TILES; i++) {
    if (strcmp(gemm_tiles[i].name, name)) continue;
    *out_why = tile_refusal(problem, &gemm_tiles[i]);
    return *out_why ? NULL : &gemm_tiles[i];
  }
  *out_why = arena_format(a, "sm_90 has no gemm tile '%s'", name);
  return NULL;
}

static bool choose_gemm(arena *a, const kernel_problem *problem, const char *tile_name, kernel_choice *choice,
                        const char **out_why) {
  const gemm_tile *tile = pick_tile(a, problem, tile_name, out_why);
  if (!tile) return false;
  int first = problem->result_count;
  text *defines = &choice->defines;
  choice->source = tile->tensor_core ? "gemm_mma.cu" : "gemm_fma.cu";
  choice->tile = tile->name;
  choice->cost = tile_cost(problem, tile);
  choice->dynamic_shared_bytes = (uint32_t)tile_dynamic_shared(tile);
  set_grid(choice, tile_count(problem, tile), tile_threads(tile), false);
  text_append(defines, "#define PN_TILE_M %d\n#define PN_TILE_N %d\n", tile->m, tile->n);
  if (tile->tensor_core) {
    bool is_bf16 = problem->dtypes[first] == PINION_DTYPE_bf16;
    text_append(defines, "#define PN_WARPS_M %d\n#define PN_WARPS_N %d\n", tile->warps_m, tile->warps_n);
    text_append(defines, "#define PN_MMA_TYPE %s\n", is_bf16 ? "bf16" : "f16");
  } else {
    text_append(defines, "#define PN_ACCUMULATOR %s\n", accumulator_type(problem, first, first + 2));
    text_append(defines, "#define PN_LOAD_A(index) PN_LOAD(%d, index)\n#define PN_LOAD_B(index) PN_LOAD(%d, index)\n",
                first, first + 1);
    text_append(defines, "#define PN_B_BYTES %d\n", (int)pinion_dtype_size(problem->dtypes[first + 1]));
  }
  return true;
}

/* ---- The other families: one form each ---- */

typedef bool family_choice(const kernel_problem *problem, kernel_choice *choice, const char **out_why);

/* One thread a point. */
static void choose_points(const kernel_problem *problem, const char *source, kernel_choice *choice) {
  choice->source = source;
  set_grid(choice, round_up_division(points(problem, 0, problem->params.rank), THREADS), THREADS, true);
}

static bool choose_pointwise(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  *out_why = "a pointwise launch needs a body";
  choose_points(problem, "pointwise.cu", choice);
  return problem->has_body;
}

static bool choose_gather(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  *out_why = "an index must be an integer";
  choose_points(problem, "gather.cu", choice);
  return !is_float(problem->dtypes[2]);
}

static bool choose_im2col(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  (void)out_why;
  choose_points(problem, "im2col.cu", choice);
  return true;
}

static bool choose_rope(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  (void)out_why;
  choose_points(problem, "rope.cu", choice);
  text_append(&choice->defines, "#define PN_ACCUMULATOR %s\n", float_accumulator_type(problem));
  return true;
}

/* `rows` rows of `length`: a warp a row, or a block where the row is long. */
static void choose_rows(const char *source, int64_t rows, int64_t length, const char *accumulator,
                        kernel_choice *choice) {
  int row_threads = length > 512 ? THREADS : 32;
  choice->source = source;
  set_grid(choice, round_up_division(rows, THREADS / row_threads), THREADS, true);
  text_append(&choice->defines, "#define PN_ROW_THREADS %d\n#define PN_ACCUMULATOR %s\n", row_threads, accumulator);
}

static bool choose_softmax(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  int row = problem->params.rank - 1;
  (void)out_why;
  choose_rows("softmax.cu", points(problem, 0, row), problem->params.size[row], float_accumulator_type(problem),
              choice);
  return true;
}

static bool choose_norm(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  int row = problem->params.rank - 1;
  *out_why = "norm kinds are layer and rms";
  choose_rows("norm.cu", points(problem, 0, row), problem->params.size[row], float_accumulator_type(problem), choice);
  return !strcmp(problem->kind, "layer") || !strcmp(problem->kind, "rms");
}

static bool choose_reduce(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  static const char *const kinds[] = {"sum", "mean", "max", "min", "prod"};
  const char *accumulator = accumulator_type(problem, 0, 2);
  bool integer = !strcmp(accumulator, "int64_t");
  int kept = problem->params.rank - (int)problem->params.integer[0];
  choose_rows("reduce.cu", points(problem, 0, kept), points(problem, kept, problem->params.rank), accumulator, choice);
  text_append(&choice->defines, "#define PN_REDUCED %d\n", (int)problem->params.integer[0]);
  text_append(&choice->defines, "#define PN_LOWEST %s\n", integer ? "(-9223372036854775807ll - 1)" : "-PN_INFINITY");
  text_append(&choice->defines, "#define PN_HIGHEST %s\n", integer ? "9223372036854775807ll" : "PN_INFINITY");
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(kinds[i], problem->kind)) return true;
  *out_why = "reduce kinds are sum, mean, max, min and prod";
  return false;
}

static bool choose_cumsum(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  (void)out_why;
  choice->source = "cumsum.cu";
  set_grid(choice, round_up_division(points(problem, 0, problem->params.rank - 1), THREADS / 32), THREADS, true);
  text_append(&choice->defines, "#define PN_ACCUMULATOR %s\n", accumulator_type(problem, 0, 2));
  return true;
}

static bool choose_attention(const kernel_problem *problem, kernel_choice *choice, const char **out_why) {
  const int64_t *size = problem->params.size;
  const char *accumulator = float_accumulator_type(problem);
  bool is_double = !strcmp(accumulator, "double"); /* half the tile: shared memory holds it in 48 KiB */
  int tile = is_double ? 32 : 64, columns = size[6] <= 64 ? 64 : size[6] <= 128 || is_double ? 128 : 256;
  int64_t blocks = points(problem, 0, 3) * round_up_division(size[3], tile) * round_up_division(size[6], columns);
  choice->source = "attention.cu";
  set_grid(choice, blocks, THREADS, false);
  text_append(&choice->defines, "#define PN_ACCUMULATOR %s\n#define PN_TILE %d\n#define PN_VALUE %d\n", accumulator,
              tile, columns);
  if (problem->params.arg_count > 4 && problem->dtypes[4] == PINION_DTYPE_bool)
    text_append(&choice->defines, "#define PN_BOOL_MASK 1\n");
  *out_why = "a grid has at most 2147483647 blocks";
  return blocks <= largest_grid;
}

static family_choice *const family_choices[PINION_FAMILY_COUNT] = {
    [PINION_FAMILY_POINTWISE] = choose_pointwise, [PINION_FAMILY_SOFTMAX] = choose_softmax,
    [PINION_FAMILY_REDUCE] = choose_reduce,       [PINION_FAMILY_CUMSUM] = choose_cumsum,
    [PINION_FAMILY_NORM] = choose_norm,           [PINION_FAMILY_ATTENTION] = choose_attention,
    [PINION_FAMILY_GATHER] = choose_gather,       [PINION_FAMILY_IM2COL] = choose_im2col,
    [PINION_FAMILY_ROPE] = choose_rope,
};

static bool choose(arena *a, const kernel_problem *problem, const char *tile, kernel_choice *out_choice,
                   const char **out_why) {
  *out_choice = (kernel_choice){0};
  *out_why = NULL;
  define_index(problem, out_choice);
  bool chosen = problem->family == PINION_FAMILY_GEMM ? choose_gemm(a, problem, tile, out_choice, out_why)
                                                      : family_choices[problem->family](problem, out_choice, out_why);
  if (!chosen) text_free(&out_choice->defines);
  return chosen;
}

/* A tile is planned to fit the registers, so a spill is a mistake of ours. Not so where the model's body is in it, or
   in float64; and a loop over single elements may well spill around a call of the compiler's (division, sine). */
static bool may_spill(const char *source) {
  return !strstr(source, "#define PN_TILE") || strstr(source, "#define PN_HAS_BODY") ||
         strstr(source, "#define PN_ACCUMULATOR double");
}

static status compile(diagnostics *d, const char *name, const char *source, kernel_blob *out_blob) {
  return nvrtc_compile(d, "sm_90a", name, source, may_spill(source), out_blob);
}

const struct target target_sm_90 = {
    .name = "sm_90",
    .summary = "NVIDIA Hopper (H100, H200), cubins by NVRTC",
    .device = "cuda",
    .compute_capability = 90,
    .minimum_driver = 13000,
    .source_suffix = ".cu",
    .blob_suffix = ".cubin",
    .prelude = "prelude.cuh",
    .choose = choose,
    .candidates = candidates,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .compile = compile,
};
