/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * NVIDIA Hopper (H100, H200): the plain, always-legal form of every kernel family.
 *
 * Packed weights. b[h, n, p, k] becomes rows of k, in the order of its columns (h, n); with p = 2 every 16 rows are 8
 * columns of the first half, and the same 8 of the second, so that both accumulators of an element are one thread's.
 * These rows become atoms of 64 by 128 bytes of k, 8192 bytes each, ordered [row/64][k/P], where P = 128 / element
 * bytes: 64 bf16 or 32 f32. Inside an atom row r begins at byte 128 r, and its 16-byte chunk c lies at chunk c ^ (r &
 * 7): the 128-byte swizzle in which wgmma reads a K-major operand from shared memory, so that an atom is fetched by one
 * bulk copy and never rearranged. What is beyond the rows or k is zero.
 *
 *   byte of (row r, k) = ((r/64) * ceil(K/P) + k/P) * 8192 + (r%64) * 128 + (((k%P)*S/16) ^ (r%8)) * 16 + (k%P)*S % 16
 *
 * with S the element's bytes.
 */
#include "target_sm_90.h"

#include "../nvidia/nvrtc.h"

#include <stdlib.h>
#include <string.h>

enum { ATOM_ROWS = 64, ATOM_BYTES = 8192 };

/* ---- Packed weights ---- */

enum { H, N, P, K }; /* of a pack_request */

int64_t round_up_division(int64_t x, int64_t y) {
  return (x + y - 1) / y;
}

static int64_t packed_bytes(const int64_t size[4], pinion_dtype dtype) {
  int64_t row_elements = 128 / (int64_t)pinion_dtype_size(dtype);
  return round_up_division(size[H] * size[N] * size[P], ATOM_ROWS) * round_up_division(size[K], row_elements) *
         ATOM_BYTES;
}

/* Packed row `row`, columns k .. k + count, into its 128 swizzled bytes; nothing if b has no such row. */
static void pack_row(const pack_request *request, int64_t row, int64_t k, int64_t count, uint8_t *out_row) {
  const int64_t *stride = request->stride, halves = request->size[P], group = request->size[N];
  const int64_t column = row / (8 * halves) * 8 + row % 8, p = row / 8 % halves;
  const size_t size = pinion_dtype_size(request->dtype);
  if (column >= request->size[H] * group) return;
  const int64_t index = column / group * stride[H] + column % group * stride[N] + p * stride[P] + k * stride[K];
  const uint8_t *from = (const uint8_t *)request->data + index * (int64_t)size;
  for (int64_t i = 0; i < count; i++, from += stride[K] * (int64_t)size) {
    size_t byte = (size_t)i * size;
    memcpy(out_row + ((byte / 16) ^ (size_t)(row & 7)) * 16 + byte % 16, from, size);
  }
}

static void pack(const pack_request *request, void *out_packed) {
  const int64_t *size = request->size, row_elements = 128 / (int64_t)pinion_dtype_size(request->dtype);
  const int64_t rows = size[H] * size[N] * size[P];
  uint8_t *atom = out_packed;
  memset(out_packed, 0, (size_t)packed_bytes(size, request->dtype));
  for (int64_t row0 = 0; row0 < rows; row0 += ATOM_ROWS)
    for (int64_t k = 0; k < size[K]; k += row_elements, atom += ATOM_BYTES) {
      const int64_t count = size[K] - k < row_elements ? size[K] - k : row_elements;
      for (int64_t row = 0; row < ATOM_ROWS; row++) pack_row(request, row0 + row, k, count, atom + row * 128);
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

void set_grid(kernel_choice *choice, int64_t blocks, int threads, bool loops) {
  if (loops && blocks > 16 * MULTIPROCESSORS) blocks = 16 * MULTIPROCESSORS;
  choice->grid[0] = blocks < 1 ? 1 : (uint32_t)blocks;
  choice->grid[1] = choice->grid[2] = 1;
  choice->block[0] = (uint32_t)threads;
  choice->block[1] = choice->block[2] = 1;
}

/* ---- Gemm: tiles are rows ---- */

typedef enum gemm_form {
  FORM_FMA,  /* fused multiply-adds */
  FORM_MMA,  /* mma.sync */
  FORM_WGMMA /* weights as wgmma's M, tokens as its N */
} gemm_form;

typedef struct gemm_tile {
  const char *name;
  gemm_form form;
  int m, n;             /* of the tile: tokens, rows of b */
  int warps_m, warps_n; /* FORM_MMA */
  int split;            /* FORM_WGMMA: blocks of a cluster that share k */
} gemm_tile;

/* Names of wgmma's rows are rows of b x tokens, as in the instruction. */
static const gemm_tile gemm_tiles[] = {
    {"mma_128x128", FORM_MMA, 128, 128, 2, 4, 1},
    {"mma_64x128", FORM_MMA, 64, 128, 2, 4, 1},
    {"mma_64x64", FORM_MMA, 64, 64, 2, 2, 1},
    {"mma_32x64", FORM_MMA, 32, 64, 1, 4, 1},
    {"fma_128x128", FORM_FMA, 128, 128, 0, 0, 1},
    {"fma_64x64", FORM_FMA, 64, 64, 0, 0, 1},
    {"fma_32x32", FORM_FMA, 32, 32, 0, 0, 1},
    /* Least traffic for each multiplication: many tiles. 788 tokens are 4 x 200, 768 are 4 x 192. */
    {"wgmma_128x200", FORM_WGMMA, 200, 128, 0, 0, 1},
    {"wgmma_128x192", FORM_WGMMA, 192, 128, 0, 0, 1},
    /* About one round of the multiprocessors with 16 to 34 blocks of rows: 788 are 6 x 136, 8 x 104; 768 are 7 x 112.
     */
    {"wgmma_128x136", FORM_WGMMA, 136, 128, 0, 0, 1},
    {"wgmma_128x128", FORM_WGMMA, 128, 128, 0, 0, 1},
    {"wgmma_128x112", FORM_WGMMA, 112, 128, 0, 0, 1},
    {"wgmma_128x104", FORM_WGMMA, 104, 128, 0, 0, 1},
    /* 9 blocks of rows. */
    {"wgmma_128x64", FORM_WGMMA, 64, 128, 0, 0, 1},
    /* Fewer tiles than multiprocessors, and k long enough to share. */
    {"wgmma_128x128_split2", FORM_WGMMA, 128, 128, 0, 0, 2},
    /* One column of 50 or 51 tokens: weights must stream from everywhere at once. */
    {"wgmma_64x56", FORM_WGMMA, 56, 64, 0, 0, 1},
    {"wgmma_64x56_split2", FORM_WGMMA, 56, 64, 0, 0, 2},
    {"wgmma_64x56_split3", FORM_WGMMA, 56, 64, 0, 0, 3},
    {"wgmma_64x56_split4", FORM_WGMMA, 56, 64, 0, 0, 4},
    {"wgmma_64x56_split8", FORM_WGMMA, 56, 64, 0, 0, 8},
    /* The same for one token to eight, and for what does not fit 56. */
    {"wgmma_64x8_split2", FORM_WGMMA, 8, 64, 0, 0, 2},
    {"wgmma_64x8_split8", FORM_WGMMA, 8, 64, 0, 0, 8},
    {"wgmma_64x64", FORM_WGMMA, 64, 64, 0, 0, 1},
    {"wgmma_64x64_split4", FORM_WGMMA, 64, 64, 0, 0, 4},
};
enum { GEMM_TILES = sizeof gemm_tiles / sizeof *gemm_tiles };

/* ---- Gemm by wgmma: its shape and what it takes ---- */

enum {
  WGMMA_SLICE = 64,     /* k of a slice */
  WGMMA_PITCH = 68 * 4, /* bytes of a token's row of the staged tile */
  WGMMA_MOST_STAGES = 8,
};

/* Blocks that may share a multiprocessor: with one multiplying warpgroup two fit, and hide each other's ends. */
static int wgmma_resident(const gemm_tile *tile) {
  return tile->n == ATOM_ROWS ? 2 : 1;
}

static int wgmma_stage_bytes(const gemm_tile *tile) {
  return (tile->n + tile->m) * 128;
}

/* The launch as it is compiled in: m takes in b1 and then b0 where all arguments' strides allow it. */
typedef struct gemm_shape {
  int64_t b0, b1, m, n, k, slices; /* n: rows of b */
} gemm_shape;

static bool can_join(const kernel_problem *problem, int outer, int inner, int64_t inner_size) {
  for (int i = 0; i < problem->params.arg_count; i++)
    if (i != problem->result_count + 1 &&
        problem->params.stride[i][outer] != inner_size * problem->params.stride[i][inner])
      return false;
  return true;
}

static gemm_shape shape_of(const kernel_problem *problem) {
  const int64_t *size = problem->params.size;
  gemm_shape shape = {.b0 = size[PINION_GEMM_B0],
                      .b1 = size[PINION_GEMM_B1],
                      .m = size[PINION_GEMM_M],
                      .n = size[PINION_GEMM_H] * size[PINION_GEMM_N] * size[PINION_GEMM_P],
                      .k = size[PINION_GEMM_K],
                      .slices = round_up_division(size[PINION_GEMM_K], WGMMA_SLICE)};
  if (shape.b1 == 1 || can_join(problem, PINION_GEMM_B1, PINION_GEMM_M, shape.m)) {
    shape.m *= shape.b1;
    shape.b1 = 1;
    if (shape.b0 == 1 || can_join(problem, PINION_GEMM_B0, PINION_GEMM_M, shape.m)) {
      shape.m *= shape.b0;
      shape.b0 = 1;
    }
  }
  return shape;
}

/* Of argument i along dimension `d`; 0 where there is but one step, or none is left after joining. */
static int64_t wgmma_stride(const kernel_problem *problem, const gemm_shape *shape, int i, int d) {
  const int64_t size = d == PINION_GEMM_B0 ? shape->b0 : d == PINION_GEMM_B1 ? shape->b1 : problem->params.size[d];
  return size == 1 && d != PINION_GEMM_M ? 0 : problem->params.stride[i][d];
}

static bool is_row_sum(const pinion_params *params, int i) {
  return i >= params->arg_count - params->integer[2];
}

/* Whether eight columns of argument i (of a row sum: four terms) always exist, side by side, at a multiple of 16 bytes.
 */
static bool lies_whole(const kernel_problem *problem, const gemm_shape *shape, int i) {
  const pinion_params *params = &problem->params;
  const int64_t step = 16 / (int64_t)pinion_dtype_size(problem->dtypes[i]);
  bool whole = problem->aligned[i] && step <= 8;
  if (is_row_sum(params, i))
    whole &= params->stride[i][PINION_GEMM_K] == 1 && params->integer[3] % 4 == 0;
  else
    whole &= params->size[PINION_GEMM_N] % 8 == 0 && wgmma_stride(problem, shape, i, PINION_GEMM_N) == 1;
  for (int d = PINION_GEMM_B0; d < PINION_GEMM_N; d++) whole &= wgmma_stride(problem, shape, i, d) % step == 0;
  return whole;
}

/* Groups of 8 tokens that a block of a cluster owns in the end, at most. */
static int wgmma_own_groups(const gemm_tile *tile) {
  return (int)round_up_division(tile->m / 8, tile->split);
}

/* Whether each element can be finished by the thread that has its sums: one result in bf16, and operands that are the
   same for all tokens. */
static bool wgmma_fragments(const kernel_problem *problem, const gemm_tile *tile) {
  const pinion_params *params = &problem->params;
  const gemm_shape shape = shape_of(problem);
  bool alone = tile->split == 1 && problem->result_count == 1 && problem->dtypes[0] == PINION_DTYPE_bf16 &&
               params->size[PINION_GEMM_H] == 1 && !params->integer[4] && lies_whole(problem, &shape, 0);
  for (int i = problem->result_count + 2; i < params->arg_count && !is_row_sum(params, i); i++)
    for (int d = PINION_GEMM_B0; d <= PINION_GEMM_M; d++) alone &= wgmma_stride(problem, &shape, i, d) == 0;
  return alone;
}

/* Tokens staged at a time on their way out: all of a few. */
static int wgmma_chunk(const kernel_problem *problem, const gemm_tile *tile) {
  const int tokens = wgmma_own_groups(tile) * 8, finished = problem->params.size[PINION_GEMM_P] == 2 ? 104 : 56;
  if (wgmma_fragments(problem, tile)) return tokens < finished ? tokens : finished;
  return tile->split > 1 || tokens <= 64 ? tokens : 32;
}

/* What is staged, and what the blocks of a cluster send each other: four floats a thread and group. */
static int wgmma_staged_bytes(const kernel_problem *problem, const gemm_tile *tile) {
  const int finished = 128 / (int)problem->params.size[PINION_GEMM_P] + 16; /* bytes of a token */
  const int received = tile->split > 1 ? tile->split * wgmma_own_groups(tile) * 128 * 16 : 0;
  const int pitch = wgmma_fragments(problem, tile) ? finished : WGMMA_PITCH;
  return tile->n / ATOM_ROWS * (wgmma_chunk(problem, tile) * pitch + received);
}

/* Whether all tokens are in one column: the weights stream past them. */
static bool wgmma_streams(const kernel_problem *problem, const gemm_tile *tile) {
  const gemm_shape shape = shape_of(problem);
  return shape.m <= tile->m && shape.b0 * shape.b1 == 1;
}

/*
 * Shared memory of a block. Launches that stream weights follow one another, and the next one's blocks bring theirs
 * while the one in front still runs: so a multiprocessor must hold blocks of two launches, and not two of the same
 * launch as long as others stand empty (it would take in twice as much). A large share and a small one fit together,
 * two large ones do not; where each block of a small one is alone depends on what is there before it.
 */
static int wgmma_share(const kernel_problem *problem, const gemm_tile *tile) {
  enum { SMALL = 88 << 10, LARGE = SHARED_PER_SM - SMALL };
  if (wgmma_resident(tile) == 1) return SHARED_PER_SM;
  return !wgmma_streams(problem, tile) ? SHARED_PER_SM / 2 : tile->split > 1 ? SMALL : LARGE;
}

/* As many as fit; 1024 bytes are the driver's, 1024 go to the swizzle's alignment, 256 to the barriers, and each
   warpgroup keeps the sums of its tokens' rows. */
static int wgmma_stages(const kernel_problem *problem, const gemm_tile *tile) {
  const int sums = tile->n / ATOM_ROWS * ((int)problem->params.integer[2] * tile->m + 1) * (int)sizeof(float);
  int bytes = wgmma_share(problem, tile) - 1024 - 1024 - 256 - sums - wgmma_staged_bytes(problem, tile);
  int stages = bytes / wgmma_stage_bytes(tile);
  return stages < WGMMA_MOST_STAGES ? stages : WGMMA_MOST_STAGES;
}

static int64_t wgmma_units(const gemm_shape *shape, const gemm_tile *tile) {
  return shape->b0 * shape->b1 * round_up_division(shape->m, tile->m) * round_up_division(shape->n, tile->n);
}

/* Whether the copy engine can bring a: rows of contiguous k that begin at multiples of 16 bytes. */
static bool can_map(const kernel_problem *problem) {
  const int a = problem->result_count;
  const int64_t *stride = problem->params.stride[a], *size = problem->params.size;
  bool rows =
      problem->aligned[a] && problem->aligned[a + 1] && (stride[PINION_GEMM_K] == 1 || size[PINION_GEMM_K] == 1);
  for (int d = PINION_GEMM_B0; d <= PINION_GEMM_M; d++)
    rows &= size[d] == 1 || (stride[d] > 0 && stride[d] % 8 == 0 && stride[d] <= INT32_MAX);
  return rows;
}

/* Why wgmma cannot do a problem in this tile, or NULL. */
static const char *wgmma_refusal(const kernel_problem *problem, const gemm_tile *tile) {
  gemm_shape shape = shape_of(problem);
  pinion_dtype a = problem->dtypes[problem->result_count], b = problem->dtypes[problem->result_count + 1];
  if (a != PINION_DTYPE_bf16 || b != PINION_DTYPE_bf16) return "wgmma's tiles are for bf16";
  if (!problem->packed_b) return "wgmma reads packed weights";
  const int64_t *size = problem->params.size;
  if ((size[PINION_GEMM_H] > 1 || size[PINION_GEMM_P] > 1) && size[PINION_GEMM_N] % 8)
    return "wgmma's kernel finishes eight columns at a time, of one group";
  if (size[PINION_GEMM_P] > 1 && problem->params.integer[4])
    return "an atom of two accumulators is half a block of columns";
  if (!can_map(problem))
    return "the copy engine needs rows of a that are contiguous and begin at multiples of 16 bytes";
  if (shape.slices < tile->split) return "k has fewer slices of 64 than the cluster has blocks";
  if (shape.m >= INT32_MAX || shape.n >= INT32_MAX || wgmma_units(&shape, tile) * tile->split >= INT32_MAX ||
      shape.m * shape.n * shape.b0 * shape.b1 >= INT32_MAX)
    return "wgmma's kernel counts in 32 bits";
  return wgmma_stages(problem, tile) < 3 ? "fewer than three stages fit shared memory" : NULL;
}

/* Microseconds of a unit's slices, `here` units that share a multiprocessor: the longer of the tensor core's time (16 +
   N/4 cycles below N = 64 and N/2 above, for each 16 k of each warpgroup) and what its bytes take to come from L2. */
static double slices_cost(const gemm_tile *tile, double here, double slices, double bytes, double clock, double rate) {
  const double cycles = tile->m < 64 ? 16 + tile->m / 4.0 : tile->m / 2.0;
  const double arithmetic = here * slices * 4 * cycles * (tile->n / ATOM_ROWS) / clock;
  return arithmetic > here * bytes / rate ? arithmetic : here * bytes / rate;
}

/*
 * Microseconds of a launch whose weights stream past one column of tokens. What the stages hold of the weights is there
 * when the tokens are, for the launch in front took longer; the rest of them, and the tokens, come from L2 at what one
 * multiprocessor takes in while all do. Rates are what an H200 reached.
 */
static double streaming_cost(const kernel_problem *problem, const gemm_tile *tile) {
  const double clock = 1700, rate = 75e3; /* MHz; bytes a microsecond */
  const double hand_over = 1, first_bytes = 0.5, exchange = 0.9, end = 1;
  const double crowded = 0.3; /* what the next launch loses where two blocks leave none of its own any room */
  const gemm_shape shape = shape_of(problem);
  const int64_t blocks = wgmma_units(&shape, tile) * tile->split, resident = wgmma_resident(tile);
  const int64_t rounds = round_up_division(blocks, MULTIPROCESSORS * resident);
  const int64_t here = round_up_division(round_up_division(blocks, MULTIPROCESSORS), rounds);
  const int64_t slices = round_up_division(shape.slices, tile->split), late = slices - wgmma_stages(problem, tile);
  const double bytes = 128.0 * (double)(slices * tile->m + (late > 0 ? late : 0) * tile->n);
  const double work = first_bytes + slices_cost(tile, (double)here, (double)slices, bytes, clock, rate) +
                      (tile->split > 1 ? exchange : 0) + end + crowded * (double)(here - 1);
  return hand_over + (double)rounds * work;
}

/*
 * Microseconds: rounds of units, each its slices, its start and its end. All of b must come from memory in any case.
 * Clock and rates are what whole kernels reached on an H200 when they were measured: within 15 % at Pi0's shapes.
 */
static double wgmma_cost(const kernel_problem *problem, const gemm_tile *tile) {
  const double clock = 1350, l2_rate = 130e3, memory_rate = 4.2e6; /* MHz; bytes a microsecond */
  const double start = 2, end = 1, exchange = 0.4; /* of a launch, of a unit, of each block of a cluster */
  const gemm_shape shape = shape_of(problem);
  if (wgmma_streams(problem, tile)) return streaming_cost(problem, tile);
  const int64_t blocks = wgmma_units(&shape, tile) * tile->split, here = round_up_division(blocks, MULTIPROCESSORS);
  const int64_t slices = round_up_division(shape.slices, tile->split);
  const double bytes = 128.0 * (double)(slices * (tile->n + tile->m));
  const double work =
      (double)here * (slices_cost(tile, 1, (double)slices, bytes, clock, l2_rate) + end / wgmma_resident(tile));
  const double weights = (double)(shape.n * shape.k * 2) / memory_rate + end;
  return start + (tile->split > 1 ? exchange * tile->split : 0) + (work > weights ? work : weights);
}

/* "%0, %1, .. " */
static void append_registers(text *out, int first, int count) {
  for (int i = 0; i < count; i++) text_append(out, i ? ", %%%d" : "%%%d", first + i);
}

void define_wgmma(text *out, const char *name, int n, bool a_in_registers, bool b_in_rows) {
  const int registers = n / 2, after_a = registers + (a_in_registers ? 4 : 1);
  text_append(out,
              "#ifndef PN_EMULATED\n#define %s(d, a, b, add) asm volatile(\"{.reg .pred p; setp.ne.b32 p, %%%d, 0; "
              "wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {",
              name, after_a + 1, n);
  append_registers(out, 0, registers);
  text_append(out, "}, %s", a_in_registers ? "{" : "");
  append_registers(out, registers, after_a - registers);
  text_append(out, "%s, %%%d, p, 1, 1%s, %d;}\" : ", a_in_registers ? "}" : "", after_a, a_in_registers ? "" : ", 0",
              b_in_rows);
  for (int i = 0; i < registers; i++) text_append(out, i ? ", \"+f\"(d[%d])" : "\"+f\"(d[%d])", i);
  for (int i = 0; i < 4 && a_in_registers; i++) text_append(out, i ? ", \"r\"(a[%d])" : " : \"r\"(a[%d])", i);
  text_append(out, a_in_registers ? ", \"l\"(b), \"r\"(add))\n" : " : \"l\"(a), \"l\"(b), \"r\"(add))\n");
  text_append(out, "#endif\n");
}

static const pinion_tensor_map *map_of_a(arena *a, const kernel_problem *problem, const gemm_tile *tile) {
  const gemm_shape shape = shape_of(problem);
  const int argument = problem->result_count;
  const int64_t *stride = problem->params.stride[argument];
  const int64_t sizes[4] = {shape.k, shape.m, shape.b1, shape.b0},
                strides[4] = {1, stride[PINION_GEMM_M], stride[PINION_GEMM_B1], stride[PINION_GEMM_B0]};
  pinion_tensor_map *map = arena_alloc(a, sizeof *map);
  *map = (pinion_tensor_map){.argument = (uint32_t)argument, .dtype = PINION_DTYPE_bf16, .rank = 4};
  for (int d = 0; d < 4; d++) {
    map->size[d] = sizes[d];
    map->stride[d] = d && sizes[d] == 1 ? 8 : strides[d]; /* any, where it is not gone */
    map->box[d] = d == 0 ? WGMMA_SLICE : d == 1 ? (uint32_t)tile->m : 1;
  }
  return map;
}

static void define_strides(const kernel_problem *problem, const gemm_shape *shape, text *out) {
  const int count = problem->params.arg_count, parts = pinion_gemm_parts(&problem->params);
  text_append(out, "#define PN_STRIDES {");
  for (int i = 0; i < count; i++)
    for (int d = 0; d < PINION_GEMM_P; d++)
      text_append(out, "%s%lld%s", d ? ", " : "{", (long long)wgmma_stride(problem, shape, i, d),
                  d == PINION_GEMM_N ? "}, " : "");
  text_append(out, "}\n#define PN_LIES_WHOLE {");
  for (int i = 0; i < count; i++) { /* of a result: in every part */
    bool whole = lies_whole(problem, shape, i);
    for (int part = 1; i < problem->result_count && part < parts; part++)
      whole &= lies_whole(problem, shape, (i + part * problem->result_count / parts) % problem->result_count);
    text_append(out, "%d, ", whole);
  }
  text_append(out, "}\n");
}

static void choose_wgmma(arena *a, const kernel_problem *problem, const gemm_tile *tile, kernel_choice *choice) {
  const pinion_params *params = &problem->params;
  const gemm_shape shape = shape_of(problem);
  const int64_t blocks = wgmma_units(&shape, tile) * tile->split;
  const int threads = tile->n / ATOM_ROWS * 128 + 128, at_once = MULTIPROCESSORS * wgmma_resident(tile);
  text *defines = &choice->defines;
  choice->source = "gemm_wgmma.cu";
  choice->cost = wgmma_cost(problem, tile);
  choice->dynamic_shared_bytes =
      (uint32_t)(wgmma_stages(problem, tile) * wgmma_stage_bytes(tile) + wgmma_staged_bytes(problem, tile) + 1024);
  choice->tensor_map = map_of_a(a, problem, tile);
  set_grid(choice, tile->split > 1 || blocks < at_once ? blocks : at_once, threads, false);
  text_append(defines, "#define PN_ATOMS %d\n#define PN_TOKENS %d\n#define PN_SPLIT %d\n", tile->n / ATOM_ROWS, tile->m,
              tile->split);
  text_append(defines, "#define PN_STAGES %d\n#define PN_CHUNK %d\n#define PN_RESIDENT %d\n",
              wgmma_stages(problem, tile), wgmma_chunk(problem, tile), wgmma_resident(tile));
  text_append(defines, "#define PN_FRAGMENTS %d\n", wgmma_fragments(problem, tile));
  text_append(defines, "#define PN_M %lld\n#define PN_H %lld\n#define PN_N %lld\n#define PN_SLICES %lld\n",
              (long long)shape.m, (long long)params->size[PINION_GEMM_H], (long long)params->size[PINION_GEMM_N],
              (long long)shape.slices);
  define_strides(problem, &shape, defines);
  text_append(defines, "#define PN_PART_STARTS 0, %lld, %lld\n", (long long)params->integer[0],
              (long long)params->integer[1]);
  text_append(defines, "#define PN_ROW_SUM_STRIDES {");
  for (int i = params->arg_count - (int)params->integer[2]; i < params->arg_count; i++)
    text_append(defines, "%lld, ", (long long)params->stride[i][PINION_GEMM_K]);
  text_append(defines, "}\n#define PN_ROW_SUM_FIRST %d\n#define PN_ROW_SUM_COUNT %d\n#define PN_ROW_SUM_LENGTH %lld\n",
              params->arg_count - (int)params->integer[2], (int)params->integer[2], (long long)params->integer[3]);
  text_append(defines, "#define PN_B0 %lld\n#define PN_B1 %lld\n", (long long)shape.b0, (long long)shape.b1);
  define_wgmma(defines, "PN_WGMMA", tile->m, false, false);
}

/* ---- Gemm: choosing ---- */

static int tile_threads(const gemm_tile *tile) {
  return tile->form == FORM_MMA ? tile->warps_m * tile->warps_n * 32 : THREADS;
}

/* Two slices of 64 k, 2 bytes each, of both operands. */
static int tile_dynamic_shared(const gemm_tile *tile) {
  return tile->form == FORM_MMA ? 2 * (tile->m + tile->n) * 128 : 0;
}

/* Columns of a tile: its accumulators are all halves of all of them. */
static int64_t tile_columns(const kernel_problem *problem, const gemm_tile *tile) {
  return tile->n / problem->params.size[PINION_GEMM_P];
}

static int64_t tile_count(const kernel_problem *problem, const gemm_tile *tile) {
  const int64_t *size = problem->params.size;
  return size[PINION_GEMM_B0] * size[PINION_GEMM_B1] * round_up_division(size[PINION_GEMM_M], tile->m) *
         round_up_division(size[PINION_GEMM_H] * size[PINION_GEMM_N], tile_columns(problem, tile));
}

/* Why a tile cannot do a problem, or NULL. */
static const char *tile_refusal(const kernel_problem *problem, const gemm_tile *tile) {
  pinion_dtype a = problem->dtypes[problem->result_count], b = problem->dtypes[problem->result_count + 1];
  if (tile->form == FORM_WGMMA) return wgmma_refusal(problem, tile);
  if (tile->form == FORM_MMA && (a != b || (a != PINION_DTYPE_bf16 && a != PINION_DTYPE_f16)))
    return "mma.sync needs both operands in bf16 or both in f16";
  if (problem->params.integer[4] && tile_columns(problem, tile) % PINION_COLUMN_BLOCK)
    return "a tile holds no whole blocks of columns to sum";
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
static double plain_cost(const kernel_problem *problem, const gemm_tile *tile) {
  const double slice_k = tile->form == FORM_MMA ? 64 : 16, latency = 0.6, bytes_rate = 68e3;
  const double rate = tile->form == FORM_MMA ? 3.0e6 : 0.25e6, row_bytes = tile->form == FORM_MMA ? 128 : 64;
  int64_t by_registers = REGISTERS / (tile_threads(tile) * 128), tiles = tile_count(problem, tile);
  int64_t by_shared = tile->form == FORM_MMA ? SHARED_PER_SM / (tile_dynamic_shared(tile) + 1024) : by_registers;
  int64_t resident = by_registers < by_shared ? by_registers : by_shared,
          needed = round_up_division(tiles, MULTIPROCESSORS);
  if (resident > needed) resident = needed;
  if (resident < 1) resident = 1;
  double work = 2.0 * tile->m * tile->n * slice_k / rate + (tile->m + tile->n) * row_bytes / bytes_rate;
  double slice = (double)resident * work + latency / (double)resident;
  double slices = (double)round_up_division(problem->params.size[PINION_GEMM_K], (int64_t)slice_k);
  return (double)round_up_division(tiles, MULTIPROCESSORS * resident) * (slices * slice + 2);
}

static double tile_cost(const kernel_problem *problem, const gemm_tile *tile) {
  return tile->form == FORM_WGMMA ? wgmma_cost(problem, tile) : plain_cost(problem, tile);
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
  if (problem->family == PINION_FAMILY_ATTENTION) return attention_candidates(problem, out_tiles, capacity);
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
  choice->tile = tile->name;
  if (tile->form == FORM_WGMMA) {
    choose_wgmma(a, problem, tile, choice);
    return true;
  }
  choice->source = tile->form == FORM_MMA ? "gemm_mma.cu" : "gemm_fma.cu";
  choice->cost = tile_cost(problem, tile);
  choice->dynamic_shared_bytes = (uint32_t)tile_dynamic_shared(tile);
  set_grid(choice, tile_count(problem, tile), tile_threads(tile), false);
  text_append(defines, "#define PN_TILE_M %d\n#define PN_TILE_N %d\n", tile->m, tile->n);
  if (tile->form == FORM_MMA) {
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

static bool choose_norm(const kernel_problem *problem, const char *tile, kernel_choice *choice, const char **out_why) {
  enum { BLOCK = 64 };
  const int row = problem->params.rank - 1;
  const int64_t rows = points(problem, 0, row), length = problem->params.size[row];
  *out_why = "norm kinds are layer and rms";
  if (strcmp(problem->kind, "layer") && strcmp(problem->kind, "rms")) return false;
  *out_why = registers_refusal(problem);
  if (tile && (strcmp(tile, "registers") || *out_why)) return false;
  if (*out_why) {
    choose_rows("norm.cu", rows, length, float_accumulator_type(problem), choice);
    return true;
  }
  choice->source = "norm_registers.cu";
  choice->tile = "registers";
  set_grid(choice, round_up_division(rows, BLOCK / 32), BLOCK, true);
  text_append(&choice->defines, "#define PN_LENGTH %d\n#define PN_BLOCK_THREADS %d\n", (int)length, BLOCK);
  return true;
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

static family_choice *const family_choices[PINION_FAMILY_COUNT] = {
    [PINION_FAMILY_POINTWISE] = choose_pointwise, [PINION_FAMILY_SOFTMAX] = choose_softmax,
    [PINION_FAMILY_REDUCE] = choose_reduce,       [PINION_FAMILY_CUMSUM] = choose_cumsum,
    [PINION_FAMILY_GATHER] = choose_gather,       [PINION_FAMILY_IM2COL] = choose_im2col,
    [PINION_FAMILY_ROPE] = choose_rope,
};

static bool choose(arena *a, const kernel_problem *problem, const char *tile, kernel_choice *out_choice,
                   const char **out_why) {
  *out_choice = (kernel_choice){0};
  *out_why = NULL;
  define_index(problem, out_choice);
  bool chosen;
  switch (problem->family) {
  case PINION_FAMILY_GEMM: chosen = choose_gemm(a, problem, tile, out_choice, out_why); break;
  case PINION_FAMILY_ATTENTION: chosen = choose_attention(a, problem, tile, out_choice, out_why); break;
  case PINION_FAMILY_NORM: chosen = choose_norm(problem, tile, out_choice, out_why); break;
  default: chosen = family_choices[problem->family](problem, out_choice, out_why);
  }
  if (!chosen) text_free(&out_choice->defines);
  return chosen;
}

/* A tile is planned to fit the registers, so a spill is a mistake of ours. Not so where the model's body is in it, or
   in float64; and a loop over single elements may well spill around a call of the compiler's (division, sine). */
static bool may_spill(const char *source) {
  const bool is_tile =
      strstr(source, "#define PN_TILE") || strstr(source, "#define PN_ROWS ") || strstr(source, "#define PN_WGMMA");
  return !is_tile || strstr(source, "#define PN_HAS_BODY") || strstr(source, "#define PN_ACCUMULATOR double");
}

/* What a tensor core's tile is recognised by in a source, and the opcode that its cubin must hold. */
static const struct tensor_mark {
  const char *define, *instruction;
  unsigned opcode;
} tensor_marks[] = {{"#define PN_WGMMA", "wgmma", 0x9f0}, {"#define PN_MMA_TYPE", "mma.sync", 0x23c}};

/* Instructions are 16 bytes, 16 bytes apart in the file, the opcode their lowest 12 bits. */
static bool has_instruction(const kernel_blob *cubin, unsigned opcode) {
  const uint8_t *bytes = cubin->data;
  for (size_t at = 0; at + 16 <= cubin->bytes; at += 16)
    if ((bytes[at] | (bytes[at + 1] & 0x0fu) << 8) == opcode) return true;
  return false;
}

static status compile(diagnostics *d, const char *name, const char *source, kernel_blob *out_blob) {
  status result = nvrtc_compile(d, "sm_90a", name, source, may_spill(source), out_blob);
  for (size_t i = 0; i < sizeof tensor_marks / sizeof *tensor_marks && !result; i++) {
    const struct tensor_mark *mark = &tensor_marks[i];
    if (!strstr(source, mark->define) || has_instruction(out_blob, mark->opcode)) continue;
    free(out_blob->data);
    *out_blob = (kernel_blob){0};
    result = diagnose(d, STATUS_FAILED, NULL, NULL, "kernel %s: its tile is one of %s, its cubin has none", name,
                      mark->instruction);
  }
  return result;
}

const struct target target_sm_90 = {
    .name = "sm_90",
    .vendor = "nvidia",
    .summary = "NVIDIA Hopper (H100, H200), cubins by NVRTC",
    .device = "cuda",
    .compute_capability = 90,
    .minimum_driver = 13000,
    .tensor_flops = 4096, /* H100's 989 TFLOP/s (data sheet, dense bf16) at 132 multiprocessors and 1830 MHz */
    .source_suffix = ".cu",
    .blob_suffix = ".cubin",
    .prelude = "prelude.cuh",
    .empty_kernel = "empty.cu",
    .choose = choose,
    .candidates = candidates,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .compile = compile,
    .toolchain = nvrtc_version,
};
