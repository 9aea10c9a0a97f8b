/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Gemm by wgmma: what its tiles take, which of them can do a problem, and how long that takes. */
#include "sm_90.h"

#include "../nvidia/gemm.h"

/* ---- Its shape and what it takes ---- */

enum {
  ATOM_ROWS = 64,       /* of packed weights */
  WGMMA_SLICE = 64,     /* k of a slice */
  WGMMA_PITCH = 68 * 4, /* bytes of a token's row of the staged tile */
  WGMMA_LEAST_STAGES = 3,
  WGMMA_MOST_STAGES = 8,
  WGMMA_MOST_SKIPPED = 2048, /* tiles of tokens that are told apart: with more of them some stages would have no room */
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
  return i >= pinion_gemm_first_row_sum(params) && i < params->arg_count - params->integer[6];
}

/* Whether eight columns of argument i always exist, side by side, at a multiple of 16 bytes; of a row sum: whether its
   terms lie so. */
static bool lies_whole(const kernel_problem *problem, const gemm_shape *shape, int i) {
  const pinion_params *params = &problem->params;
  const int64_t step = 16 / (int64_t)pinion_dtype_size(problem->dtypes[i]);
  bool whole = problem->aligned[i] && step <= 8;
  if (is_row_sum(params, i))
    whole &= params->stride[i][PINION_GEMM_K] == 1;
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
  for (int i = problem->result_count + 2; i < pinion_gemm_first_row_sum(params); i++)
    for (int d = PINION_GEMM_B0; d <= PINION_GEMM_M; d++) alone &= wgmma_stride(problem, &shape, i, d) == 0;
  return alone;
}

/* Tokens staged at a time on their way out: all of a few. */
static int wgmma_chunk(const kernel_problem *problem, const gemm_tile *tile) {
  const int tokens = wgmma_own_groups(tile) * 8, finished = problem->params.size[PINION_GEMM_P] == 2 ? 104 : 56;
  if (wgmma_fragments(problem, tile)) return tokens < finished ? tokens : finished;
  return tile->split > 1 || tokens <= 64 ? tokens : 32;
}

/* Whether what comes after the products has the stages' memory: a large tile would leave them little, and has the time
   to wait until all blocks of the cluster have made theirs. */
static bool wgmma_sends_over_stages(const gemm_tile *tile) {
  return tile->split > 1 && wgmma_resident(tile) == 1;
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
 * two large ones do not; where each block of a small one is alone depends on what is there before it. The large one
 * holds the most stages of one column's tile, the small one what that leaves.
 */
static int wgmma_share(const kernel_problem *problem, const gemm_tile *tile) {
  enum { SMALL = 98 << 10, LARGE = SHARED_PER_SM - SMALL };
  if (wgmma_resident(tile) == 1) return SHARED_PER_SM;
  return !wgmma_streams(problem, tile) ? SHARED_PER_SM / 2 : tile->split > 1 ? SMALL : LARGE;
}

/* Tiles of tokens that a row mask may leave out; 0: it does not matter. */
static int64_t wgmma_masked_tiles(const kernel_problem *problem, const gemm_tile *tile) {
  const gemm_shape shape = shape_of(problem);
  const int64_t tiles = shape.b0 * shape.b1 * round_up_division(shape.m, tile->m);
  return problem->params.integer[6] && tiles <= WGMMA_MOST_SKIPPED ? tiles : 0;
}

/* 256 bytes go to the barriers and what little there is besides; a block keeps what the sums of its tokens' rows come
   to; tiles that may be left out take a byte and a number of two each. */
static int wgmma_own_bytes(const kernel_problem *problem, const gemm_tile *tile) {
  const int sums = (int)problem->params.integer[2] * tile->m * (int)sizeof(float);
  return 256 + sums + (int)wgmma_masked_tiles(problem, tile) * 3;
}

/* As many as fit, but no more than a block has slices where another launch's blocks could have the memory; 1024 bytes
   are the driver's, and 1024 go to the swizzle's alignment. */
static int wgmma_stages(const kernel_problem *problem, const gemm_tile *tile) {
  const int bytes = wgmma_share(problem, tile) - 1024 - 1024 - wgmma_own_bytes(problem, tile);
  const int staged = wgmma_staged_bytes(problem, tile);
  const bool over = wgmma_sends_over_stages(tile);
  const int stages = (bytes - (over ? 0 : staged)) / wgmma_stage_bytes(tile);
  const int64_t slices = round_up_division(shape_of(problem).slices, tile->split);
  int most = WGMMA_MOST_STAGES;
  if (wgmma_resident(tile) > 1 && slices < most) most = slices > WGMMA_LEAST_STAGES ? (int)slices : WGMMA_LEAST_STAGES;
  if (over && staged > stages * wgmma_stage_bytes(tile)) return 0;
  return stages < most ? stages : most;
}

static uint32_t wgmma_shared_bytes(const kernel_problem *problem, const gemm_tile *tile) {
  const int stages = wgmma_stages(problem, tile) * wgmma_stage_bytes(tile), staged = wgmma_staged_bytes(problem, tile);
  const int both = !wgmma_sends_over_stages(tile) ? stages + staged : stages > staged ? stages : staged;
  return (uint32_t)(both + 1024 + wgmma_own_bytes(problem, tile));
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

static const char *wgmma_refusal(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile) {
  if (!chip->has_wgmma) return "wgmma is an instruction of sm_90 alone";
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
  return wgmma_stages(problem, tile) < WGMMA_LEAST_STAGES ? "fewer than three stages fit shared memory" : NULL;
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
static double wgmma_cost(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile) {
  (void)chip;                                                                        /* the only one that has it */
  const double clock = 1350, l2_rate = 130e3, memory_rate = 4.2e6, send_rate = 30e3; /* MHz; bytes a microsecond */
  const double start = 2, end = 1, exchange = 0.4; /* of a launch, of a unit, of a unit for each block of its cluster */
  const gemm_shape shape = shape_of(problem);
  if (wgmma_streams(problem, tile)) return streaming_cost(problem, tile);
  const int64_t blocks = wgmma_units(&shape, tile) * tile->split, here = round_up_division(blocks, MULTIPROCESSORS);
  const int64_t slices = round_up_division(shape.slices, tile->split);
  const double bytes = 128.0 * (double)(slices * (tile->n + tile->m));
  const double sent = wgmma_sends_over_stages(tile) ? 4.0 * tile->n * tile->m * (tile->split - 1) / tile->split : 0;
  const double exchanges = tile->split > 1 ? exchange * tile->split + sent / send_rate : 0;
  const double ends = (end + exchanges) / wgmma_resident(tile);
  const double work = (double)here * (slices_cost(tile, 1, (double)slices, bytes, clock, l2_rate) + ends);
  const double weights = (double)(shape.n * shape.k * 2) / memory_rate + end;
  return start + (work > weights ? work : weights);
}

/* "%0, %1, .. " */
static void append_registers(text *out, int first, int count) {
  for (int i = 0; i < count; i++) text_append(out, i ? ", %%%d" : "%%%d", first + i);
}

void define_wgmma(text *out, const char *name, int n, wgmma_a a, bool b_in_rows) {
  const bool a_in_registers = a == A_IN_REGISTERS;
  const int registers = n / 2, after_a = registers + (a_in_registers ? 4 : 1);
  text_append(out,
              "#ifndef PN_EMULATED\n#define %s(d, a, b, add) asm volatile(\"{.reg .pred p; setp.ne.b32 p, %%%d, 0; "
              "wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {",
              name, after_a + 1, n);
  append_registers(out, 0, registers);
  text_append(out, "}, %s", a_in_registers ? "{" : "");
  append_registers(out, registers, after_a - registers);
  text_append(out, "%s, %%%d, p, 1, 1%s, %d;}\" : ", a_in_registers ? "}" : "", after_a,
              a_in_registers        ? ""
              : a == A_M_ALONG_ROWS ? ", 1"
                                    : ", 0",
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

/* Tiles of tokens that are worked on together: `at_once` blocks read least where their tokens and their weights are of
   one size. */
static int64_t wgmma_group(const gemm_shape *shape, const gemm_tile *tile, int at_once) {
  const int64_t tiles = round_up_division(shape->m, tile->m);
  int64_t group = 1;
  while (group < tiles && group * group * tile->m < (int64_t)at_once * tile->n) group++;
  return group;
}

static void choose_wgmma(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const gemm_tile *tile,
                         kernel_choice *choice) {
  const pinion_params *params = &problem->params;
  const gemm_shape shape = shape_of(problem);
  const int64_t blocks = wgmma_units(&shape, tile) * tile->split;
  const int threads = tile->n / ATOM_ROWS * 128 + 128, at_once = MULTIPROCESSORS * wgmma_resident(tile);
  text *defines = &choice->defines;
  (void)chip;
  choice->source = "gemm_wgmma.cu";
  choice->common = "gemm_wgmma_tile.cuh";
  choice->dynamic_shared_bytes = wgmma_shared_bytes(problem, tile);
  choice->tensor_map = map_of_a(a, problem, tile);
  set_grid(choice, tile->split > 1 || blocks < at_once ? blocks : at_once, threads);
  text_append(defines, "#define PN_ATOMS %d\n#define PN_TOKENS %d\n#define PN_SPLIT %d\n", tile->n / ATOM_ROWS, tile->m,
              tile->split);
  text_append(defines, "#define PN_STAGES %d\n#define PN_CHUNK %d\n#define PN_RESIDENT %d\n",
              wgmma_stages(problem, tile), wgmma_chunk(problem, tile), wgmma_resident(tile));
  text_append(defines, "#define PN_FRAGMENTS %d\n#define PN_GROUP %lld\n", wgmma_fragments(problem, tile),
              (long long)wgmma_group(&shape, tile, at_once));
  text_append(defines, "#define PN_M %lld\n#define PN_H %lld\n#define PN_N %lld\n#define PN_SLICES %lld\n",
              (long long)shape.m, (long long)params->size[PINION_GEMM_H], (long long)params->size[PINION_GEMM_N],
              (long long)shape.slices);
  define_strides(problem, &shape, defines);
  text_append(defines, "#define PN_PART_STARTS 0, %lld, %lld\n", (long long)params->integer[0],
              (long long)params->integer[1]);
  text_append(defines, "#define PN_ROW_SUM_STRIDES {");
  const int first_sum = pinion_gemm_first_row_sum(params);
  for (int i = first_sum; i < params->arg_count - params->integer[6]; i++)
    text_append(defines, "%lld, ", (long long)params->stride[i][PINION_GEMM_K]);
  text_append(defines, "}\n#define PN_ROW_SUM_FIRST %d\n#define PN_ROW_SUM_COUNT %d\n#define PN_ROW_SUM_LENGTH %lld\n",
              first_sum, (int)params->integer[2], (long long)params->integer[3]);
  text_append(defines, "#define PN_B0 %lld\n#define PN_B1 %lld\n", (long long)shape.b0, (long long)shape.b1);
  if (wgmma_masked_tiles(problem, tile))
    text_append(defines, "#define PN_SKIPS_TILES 1\n#define PN_MASK_IS_EARLY %d\n", problem->mask_is_early);
  define_wgmma(defines, "PN_WGMMA", tile->m, A_K_ALONG_ROWS, false);
}

const gemm_form gemm_wgmma = {.refusal = wgmma_refusal, .cost = wgmma_cost, .choose = choose_wgmma};
