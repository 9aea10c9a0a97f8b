/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Gemm: the table of tiles, the forms that every chip has, and which tile does a problem soonest. */
#include "gemm.h"

/* Names of wgmma's rows are rows of b x tokens, as in the instruction. */
static const gemm_tile gemm_tiles[] = {
    {"mma_128x128", &gemm_mma, 128, 128, 2, 4, 1},
    {"mma_64x128", &gemm_mma, 64, 128, 2, 4, 1},
    {"mma_64x64", &gemm_mma, 64, 64, 2, 2, 1},
    {"mma_32x64", &gemm_mma, 32, 64, 1, 4, 1},
    {"fma_128x128", &gemm_fma, 128, 128, 0, 0, 1},
    {"fma_64x64", &gemm_fma, 64, 64, 0, 0, 1},
    {"fma_32x32", &gemm_fma, 32, 32, 0, 0, 1},
    /* Least traffic for each multiplication: many tiles. 788 tokens are 4 x 200, 768 are 4 x 192, and 64 times either a
       multiple of 256. */
    {"wgmma_128x256", &gemm_wgmma, 256, 128, 0, 0, 1},
    {"wgmma_128x200", &gemm_wgmma, 200, 128, 0, 0, 1},
    {"wgmma_128x192", &gemm_wgmma, 192, 128, 0, 0, 1},
    /* About one round of the multiprocessors with 16 to 34 blocks of rows: 788 are 6 x 136, 8 x 104; 768 are 7 x 112.
     */
    {"wgmma_128x136", &gemm_wgmma, 136, 128, 0, 0, 1},
    {"wgmma_128x128", &gemm_wgmma, 128, 128, 0, 0, 1},
    {"wgmma_128x112", &gemm_wgmma, 112, 128, 0, 0, 1},
    {"wgmma_128x104", &gemm_wgmma, 104, 128, 0, 0, 1},
    {"wgmma_128x72", &gemm_wgmma, 72, 128, 0, 0, 1}, /* of two cameras' 532: 8 x 72 */
    /* 9 blocks of rows. */
    {"wgmma_128x64", &gemm_wgmma, 64, 128, 0, 0, 1},
    /* Fewer tiles than multiprocessors, and k long enough to share. */
    {"wgmma_128x200_split2", &gemm_wgmma, 200, 128, 0, 0, 2},
    {"wgmma_128x128_split2", &gemm_wgmma, 128, 128, 0, 0, 2},
    {"wgmma_128x112_split2", &gemm_wgmma, 112, 128, 0, 0, 2},
    /* One column of 50 or 51 tokens: weights must stream from everywhere at once. */
    {"wgmma_64x56", &gemm_wgmma, 56, 64, 0, 0, 1},
    {"wgmma_64x56_split2", &gemm_wgmma, 56, 64, 0, 0, 2},
    {"wgmma_64x56_split3", &gemm_wgmma, 56, 64, 0, 0, 3},
    {"wgmma_64x56_split4", &gemm_wgmma, 56, 64, 0, 0, 4},
    {"wgmma_64x56_split8", &gemm_wgmma, 56, 64, 0, 0, 8},
    /* The same for one token to eight, and for what does not fit 56. */
    {"wgmma_64x8_split2", &gemm_wgmma, 8, 64, 0, 0, 2},
    {"wgmma_64x8_split8", &gemm_wgmma, 8, 64, 0, 0, 8},
    {"wgmma_64x64", &gemm_wgmma, 64, 64, 0, 0, 1},
    {"wgmma_64x64_split4", &gemm_wgmma, 64, 64, 0, 0, 4},
};
enum { GEMM_TILES = sizeof gemm_tiles / sizeof *gemm_tiles };
_Static_assert((int)GEMM_TILES <= (int)NVIDIA_MOST_TILES, "a table of tiles holds too many");

/* ---- What gemm_fma and gemm_mma share ---- */

/* Columns of a tile: its accumulators are all halves of all of them. */
static int64_t tile_columns(const kernel_problem *problem, const gemm_tile *tile) {
  return tile->n / problem->params.size[PINION_GEMM_P];
}

static int64_t tile_count(const kernel_problem *problem, const gemm_tile *tile) {
  const int64_t *size = problem->params.size;
  return size[PINION_GEMM_B0] * size[PINION_GEMM_B1] * round_up_division(size[PINION_GEMM_M], tile->m) *
         round_up_division(size[PINION_GEMM_H] * size[PINION_GEMM_N], tile_columns(problem, tile));
}

static const char *tile_refusal(const kernel_problem *problem, const gemm_tile *tile) {
  if (problem->params.integer[4] && tile_columns(problem, tile) % PINION_COLUMN_BLOCK)
    return "a tile holds no whole blocks of columns to sum";
  return tile_count(problem, tile) > nvidia_largest_grid ? "a grid has at most 2147483647 blocks" : NULL;
}

/*
 * Microseconds: the hand-over from the launch in front, and rounds of tiles over the multiprocessors, times the k
 * slices of one tile, times what a slice takes: the arithmetic (`rate` operations a microsecond) and the loads of all
 * tiles that share the multiprocessor, `resident` at most, and what these leave unhidden of the way to memory and back,
 * with so many slices asked for ahead. A slice has `row_bytes` of each row.
 */
static double tile_cost(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile, int slice_k,
                        int row_bytes, double rate, int64_t resident, int ahead) {
  const double hand_over = 1, latency = 0.6, ends = 2;
  const int64_t tiles = tile_count(problem, tile), needed = round_up_division(tiles, chip->multiprocessors);
  if (resident > needed) resident = needed;
  if (resident < 1) resident = 1;
  const double work = 2.0 * tile->m * tile->n * slice_k / rate + (tile->m + tile->n) * row_bytes / chip->gemm.load;
  const double slice = (double)resident * work + latency / (double)(resident * ahead);
  const double slices = (double)round_up_division(problem->params.size[PINION_GEMM_K], slice_k);
  return hand_over + (double)round_up_division(tiles, chip->multiprocessors * resident) * (slices * slice + ends);
}

static void define_tile(const gemm_tile *tile, text *out) {
  text_append(out, "#define PN_TILE_M %d\n#define PN_TILE_N %d\n", tile->m, tile->n);
}

/* ---- gemm_fma.cu ---- */

static const char *fma_refusal(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile) {
  (void)chip;
  return tile_refusal(problem, tile);
}

static double fma_cost(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile) {
  const int64_t resident = 2; /* by the registers, 128 a thread */
  return tile_cost(chip, problem, tile, 16, 64, chip->gemm.scalar, resident, 1);
}

static void choose_fma(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const gemm_tile *tile,
                       kernel_choice *choice) {
  const int first = problem->result_count;
  text *defines = &choice->defines;
  (void)chip, (void)a;
  choice->source = "gemm_fma.cu";
  set_grid(choice, tile_count(problem, tile), NVIDIA_THREADS);
  define_tile(tile, defines);
  text_append(defines, "#define PN_ACCUMULATOR %s\n", accumulator_type(problem, first, first + 2));
  text_append(defines, "#define PN_LOAD_A(index) PN_LOAD(%d, index)\n#define PN_LOAD_B(index) PN_LOAD(%d, index)\n",
              first, first + 1);
  text_append(defines, "#define PN_B_BYTES %d\n", (int)pinion_dtype_size(problem->dtypes[first + 1]));
}

const gemm_form gemm_fma = {.refusal = fma_refusal, .cost = fma_cost, .choose = choose_fma};

/* ---- gemm_mma.cu ---- */

enum { MMA_SLICE = 64 }; /* k of a slice */

static int mma_threads(const gemm_tile *tile) {
  return tile->warps_m * tile->warps_n * 32;
}

/* Blocks that are to share a multiprocessor: the largest tile takes more than half of its registers. */
static int mma_resident(const gemm_tile *tile) {
  return tile->m * tile->n > 64 * 128 ? 1 : 2;
}

/* Of both operands, 2 bytes an element. */
static int mma_slice_bytes(const gemm_tile *tile) {
  return (tile->m + tile->n) * MMA_SLICE * 2;
}

/* Slices in shared memory: as many as fit and are of use. */
static int mma_stages(const nvidia_chip *chip, const gemm_tile *tile) {
  enum { MOST_STAGES = 6 };
  const int share = chip->multiprocessor_shared_bytes / mma_resident(tile) - 1024;
  const int fit = share / mma_slice_bytes(tile);
  return fit < MOST_STAGES ? fit : MOST_STAGES;
}

static const char *mma_refusal(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile) {
  const pinion_dtype a = problem->dtypes[problem->result_count], b = problem->dtypes[problem->result_count + 1];
  if (a != b || (a != PINION_DTYPE_bf16 && a != PINION_DTYPE_f16))
    return "mma.sync needs both operands in bf16 or both in f16";
  if (mma_stages(chip, tile) < 2) return "two slices do not fit the shared memory of a block";
  return tile_refusal(problem, tile);
}

static double mma_cost(const nvidia_chip *chip, const kernel_problem *problem, const gemm_tile *tile) {
  return tile_cost(chip, problem, tile, MMA_SLICE, MMA_SLICE * 2, chip->gemm.tensor, mma_resident(tile),
                   mma_stages(chip, tile) - 1);
}

static void choose_mma(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const gemm_tile *tile,
                       kernel_choice *choice) {
  text *defines = &choice->defines;
  (void)a;
  choice->source = "gemm_mma.cu";
  choice->dynamic_shared_bytes = (uint32_t)(mma_stages(chip, tile) * mma_slice_bytes(tile));
  set_grid(choice, tile_count(problem, tile), mma_threads(tile));
  define_tile(tile, defines);
  text_append(defines, "#define PN_WARPS_M %d\n#define PN_WARPS_N %d\n#define PN_STAGES %d\n#define PN_RESIDENT %d\n",
              tile->warps_m, tile->warps_n, mma_stages(chip, tile), mma_resident(tile));
  text_append(defines, "#define PN_MMA_TYPE %s\n", dtype_name(problem->dtypes[problem->result_count]));
}

const gemm_form gemm_mma = {.refusal = mma_refusal, .cost = mma_cost, .choose = choose_mma};

/* ---- Choosing ---- */

static const char *name_of(int tile) {
  return gemm_tiles[tile].name;
}

static const char *refusal_of(const nvidia_chip *chip, const kernel_problem *problem, int tile) {
  return gemm_tiles[tile].form->refusal(chip, problem, &gemm_tiles[tile]);
}

static double cost_of(const nvidia_chip *chip, const kernel_problem *problem, int tile) {
  return gemm_tiles[tile].form->cost(chip, problem, &gemm_tiles[tile]);
}

static const nvidia_tile_table table = {"gemm", GEMM_TILES, name_of, refusal_of, cost_of};

int gemm_candidates(const nvidia_chip *chip, const kernel_problem *problem, const char **out_tiles, int capacity) {
  return nvidia_tile_candidates(&table, chip, problem, out_tiles, capacity);
}

bool choose_gemm(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const char *tile_name,
                 kernel_choice *choice, const char **out_why) {
  const int place = nvidia_pick_tile(&table, chip, a, problem, tile_name, out_why);
  if (place < 0) return false;
  const gemm_tile *tile = &gemm_tiles[place];
  choice->tile = tile->name;
  choice->cost = tile->form->cost(chip, problem, tile);
  tile->form->choose(chip, a, problem, tile, choice);
  return true;
}
