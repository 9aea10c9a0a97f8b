/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Attention: the table of tiles, the forms that every chip has, and which tile does a problem soonest. */
#include "attention.h"

#include <string.h>

static const attention_tile attention_tiles[] = {
    /* Many heads, whose keys are few: a block takes half of the queries of 256. */
    {"wgmma_128x128", &attention_wgmma, 128, 128, 1},
    {"wgmma_128x64", &attention_wgmma, 128, 64, 1},
    /* Rows for many rounds: they share the keys' way from L2. */
    {"wgmma_128x80", &attention_wgmma, 128, 80, 1},
    /* One round of the multiprocessors for some 800 queries of 8 heads. 788 keys are 10 x 80, 816 are 13 x 64. */
    {"wgmma_64x80_split2", &attention_wgmma, 64, 80, 2},
    {"wgmma_64x64_split2", &attention_wgmma, 64, 64, 2},
    /* Few rows: as many blocks as there are multiprocessors only by sharing the keys. */
    {"wgmma_32x128_split8", &attention_split, 32, 128, 8},
    {"mma_16x112_split4", &attention_mma, 16, 112, 4},
    {"mma_32x128_split8", &attention_mma, 32, 128, 8},
    /* Neither. */
    {"mma_64x80", &attention_mma, 64, 80, 1},
    {"mma_32x96", &attention_mma, 32, 96, 1},
    {"plain", &attention_plain, 0, 0, 1},
};
enum { ATTENTION_TILES = sizeof attention_tiles / sizeof *attention_tiles };
_Static_assert((int)ATTENTION_TILES <= (int)NVIDIA_MOST_TILES, "a table of tiles holds too many");

/* ---- What both kernels for tensor cores need ---- */

static int64_t row_count(const kernel_problem *problem) {
  return problem->params.size[HEAD] * problem->params.size[QUERY];
}

int64_t row_tiles(const kernel_problem *problem, const attention_tile *tile) {
  return points(problem, 0, HEAD) * round_up_division(row_count(problem), tile->rows);
}

static bool has_mask(const kernel_problem *problem) {
  return problem->params.arg_count > MASK_ARG;
}

/* Bytes of a bit for each key, in words for each block of keys. */
static int64_t visible_bytes(const kernel_problem *problem, int64_t keys) {
  return round_up_division(problem->params.size[KEY], keys) * round_up_division(keys, 32) * 4;
}

/* Whether a mask of bools is the same for all queries, and its bits fit beside the rest. */
static bool is_key_mask(const kernel_problem *problem, int64_t keys) {
  enum { MOST_BYTES = 1024 };
  return has_mask(problem) && problem->dtypes[MASK_ARG] == PINION_DTYPE_bool &&
         problem->params.stride[MASK_ARG][QUERY] == 0 && visible_bytes(problem, keys) <= MOST_BYTES;
}

int64_t mask_bytes(const kernel_problem *problem, int64_t keys) {
  return is_key_mask(problem, keys) ? visible_bytes(problem, keys) : 0;
}

/* Rows of `dimension` contiguous, all of them at multiples of 16 bytes. */
static bool has_whole_chunks(const kernel_problem *problem, int argument, int dimension) {
  const int64_t *stride = problem->params.stride[argument], *size = problem->params.size;
  bool whole = problem->aligned[argument] && size[dimension] % 8 == 0 && stride[dimension] == 1;
  for (int d = 0; d < dimension; d++) whole &= size[d] == 1 || stride[d] % 8 == 0;
  return whole;
}

static bool is_known_mask(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_bool || dtype == PINION_DTYPE_f32 || dtype == PINION_DTYPE_bf16;
}

/* Keys that the last query may see, by its place alone: no other sees more. */
static int64_t keys_seen(const kernel_problem *problem) {
  const int64_t *integer = problem->params.integer, query = problem->params.size[QUERY] - 1;
  int64_t limit = problem->params.size[KEY], of_block = integer[2];
  if (integer[0] == 1 && query + integer[1] + 1 < limit) limit = query + integer[1] + 1;
  if (integer[3] > 0 && query >= integer[3]) of_block = integer[4];
  if (integer[5] > 0 && query >= integer[5]) of_block = integer[6];
  return integer[2] > 0 && of_block < limit ? of_block : limit;
}

/* Why the tensor cores' kernels cannot do a problem, or NULL. */
static const char *problem_refusal(const kernel_problem *problem) {
  const int64_t *size = problem->params.size;
  for (int i = 0; i < MASK_ARG; i++)
    if (problem->dtypes[i] != PINION_DTYPE_bf16) return "attention on tensor cores is for bf16 in and out";
  if (!has_whole_chunks(problem, Y_ARG, VALUE) || !has_whole_chunks(problem, Q_ARG, DEPTH) ||
      !has_whole_chunks(problem, K_ARG, DEPTH) || !has_whole_chunks(problem, V_ARG, VALUE))
    return "rows of q, k, v and y must be contiguous, and begin at multiples of 16 bytes";
  if (size[DEPTH] < 8 || size[VALUE] < 8 || size[DEPTH] > 256 || size[VALUE] > 256)
    return "rows of q, k and v must have 8 to 256 elements";
  if (has_mask(problem) && !is_known_mask(problem->dtypes[MASK_ARG])) return "the mask must be bool, f32 or bf16";
  if (has_mask(problem) && size[HEAD] > 1 && problem->params.stride[MASK_ARG][HEAD])
    return "the query heads of a K/V head must share a mask";
  if (size[HEAD] < 1 || size[QUERY] < 1 || row_count(problem) > 1 << 30 || size[KEY] > 1 << 30)
    return "rows and keys must be at most 2^30, and rows at least 1";
  if (keys_seen(problem) < 1) return "no query sees a key";
  return problem->params.scalar[0] > 0 ? NULL : "the scale must be positive";
}

const char *tensor_refusal(const nvidia_chip *chip, const kernel_problem *problem, int64_t blocks,
                           int64_t shared_bytes) {
  const char *why = problem_refusal(problem);
  if (why) return why;
  if (shared_bytes > chip->block_shared_bytes) return "the tile does not fit the shared memory of a block";
  return blocks > nvidia_largest_grid ? "a grid has at most 2147483647 blocks" : NULL;
}

static void append_numbers(text *out, const int64_t *numbers, int count) {
  for (int i = 0; i < count; i++) text_append(out, i ? ", %lld" : "{%lld", (long long)numbers[i]);
  text_append(out, "}");
}

/* The params of the launch, as their initialiser. */
static void define_shape(const kernel_problem *problem, text *out) {
  const pinion_params *params = &problem->params;
  text_append(out, "#define PN_SHAPE {%d, %d, ", params->rank, params->arg_count);
  append_numbers(out, params->size, params->rank);
  for (int a = 0; a < params->arg_count; a++) {
    text_append(out, a ? ", " : ", {");
    append_numbers(out, params->stride[a], params->rank);
  }
  text_append(out, "}, ");
  append_numbers(out, params->integer, 8);
  text_append(out, ", {%.17g}}\n", params->scalar[0]);
}

void define_common(const kernel_problem *problem, int64_t keys, text *out) {
  const bool is_bool = has_mask(problem) && problem->dtypes[MASK_ARG] == PINION_DTYPE_bool;
  define_shape(problem, out);
  text_append(out, "#define PN_KEYS %d\n#define PN_D %d\n#define PN_E %d\n", (int)keys,
              (int)problem->params.size[DEPTH], (int)problem->params.size[VALUE]);
  text_append(out, "#define PN_MASK %d\n", !has_mask(problem) ? 0 : is_bool ? 2 : 1);
  if (is_key_mask(problem, keys)) text_append(out, "#define PN_KEY_MASK 1\n");
}

/* ---- attention_mma.cu ---- */

/* Blocks of keys that each block of a cluster takes, at most. */
static int64_t steps_of(const kernel_problem *problem, const attention_tile *tile) {
  const int64_t steps = round_up_division(problem->params.size[KEY], tile->split * tile->keys);
  return steps > 0 ? steps : 1;
}

/* Keys at a time: an even share. */
static int64_t keys_at_once(const kernel_problem *problem, const attention_tile *tile) {
  const int64_t share = round_up_division(problem->params.size[KEY], tile->split * steps_of(problem, tile));
  return share > 0 ? round_up_division(share, 16) * 16 : 16;
}

/* Buffers for tiles of k and v. */
static int64_t ring_of(const kernel_problem *problem, const attention_tile *tile) {
  return steps_of(problem, tile) > 1 ? 3 : 2;
}

/* Bytes of a row of so many 16-bit elements in shared memory: an odd number of chunks of 16 bytes. */
static int64_t shared_pitch(int64_t elements) {
  return (round_up_division(elements, 16) * 2 | 1) * 16;
}

/* As attention_mma.cu lays it out. */
static int64_t mma_shared_bytes(const kernel_problem *problem, const attention_tile *tile) {
  enum { WARPS = 8 };
  const int64_t keys = keys_at_once(problem, tile), e = problem->params.size[VALUE];
  const int64_t d_pitch = shared_pitch(problem->params.size[DEPTH]), e_pitch = shared_pitch(e);
  const int64_t tile_bytes = keys * (d_pitch > e_pitch ? d_pitch : e_pitch),
                sums = tile->rows * round_up_division(e, 16) * 64;
  const bool once = ring_of(problem, tile) == 2, p_over_q = once && shared_pitch(keys) <= d_pitch;
  const int64_t tiles =
      ring_of(problem, tile) * tile_bytes + tile->rows * (d_pitch + (p_over_q ? 0 : shared_pitch(keys)));
  const bool sums_over_k = tile->split > 1 && once && sums <= tile_bytes;
  const int64_t both = sums_over_k ? tiles : tile->split > 1 ? tiles + sums : tiles > sums ? tiles : sums;
  return both + tile->rows * (WARPS * 4 + 4 + 16) + 16 + mask_bytes(problem, keys);
}

static const char *mma_refusal(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile) {
  if (tile->split > chip->cluster_blocks)
    return "no GPC of the chip is sure to have a multiprocessor for each block of the cluster";
  return tensor_refusal(chip, problem, row_tiles(problem, tile) * tile->split, mma_shared_bytes(problem, tile));
}

double cluster_cost(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile, int64_t keys,
                    double products) {
  const double start = 2.5, exchange = 0.5;
  const nvidia_rates *rates = &chip->attention;
  const int64_t *size = problem->params.size;
  const int64_t rounds = round_up_division(row_tiles(problem, tile) * tile->split, chip->multiprocessors);
  const double width = (double)(size[DEPTH] + size[VALUE]);
  const double loads = 2.0 * ((double)keys * width + (double)(tile->rows * size[DEPTH])) / rates->load;
  const double sums = tile->split > 1 ? exchange + 4.0 * (double)(tile->rows * size[VALUE]) / rates->exchange : 0;
  return start + (double)rounds * (loads + products + sums);
}

void choose_cluster(const kernel_problem *problem, const attention_tile *tile, int64_t keys, kernel_choice *choice) {
  choice->common = "attention_common.cuh";
  set_grid(choice, row_tiles(problem, tile) * tile->split, NVIDIA_THREADS);
  define_common(problem, keys, &choice->defines);
  text_append(&choice->defines, "#define PN_ROWS %d\n#define PN_CLUSTER %d\n#define PN_SETTLED %lld\n", tile->rows,
              tile->split, (long long)problem->settled_keys);
}

static double mma_cost(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile) {
  const int64_t *size = problem->params.size, keys = keys_at_once(problem, tile);
  const int64_t steps = round_up_division(round_up_division(size[KEY], keys), tile->split);
  const double width = (double)(size[DEPTH] + size[VALUE]);
  const double products = 2.0 * tile->rows * (double)(steps * keys) * width / chip->attention.tensor;
  return cluster_cost(chip, problem, tile, steps * keys, products);
}

static void choose_mma(const kernel_problem *problem, const attention_tile *tile, kernel_choice *choice) {
  const int64_t keys = keys_at_once(problem, tile);
  choice->source = "attention_mma.cu";
  choice->dynamic_shared_bytes = (uint32_t)mma_shared_bytes(problem, tile);
  choose_cluster(problem, tile, keys, choice);
  text_append(&choice->defines, "#define PN_MMA_TYPE bf16\n#define PN_RING %d\n", (int)ring_of(problem, tile));
}

const attention_form attention_mma = {.refusal = mma_refusal, .cost = mma_cost, .choose = choose_mma};

/* ---- attention.cu ---- */

/* Queries of a block, and columns of v. In float64 half the tile: shared memory holds it in 48 KiB. */
typedef struct plain_tile {
  bool is_double;
  int queries, columns;
  int64_t blocks;
} plain_tile;

static plain_tile plain_tile_of(const kernel_problem *problem) {
  const int64_t *size = problem->params.size;
  plain_tile tile = {.is_double = !strcmp(float_accumulator_type(problem), "double")};
  tile.queries = tile.is_double ? 32 : 64;
  tile.columns = size[VALUE] <= 64 ? 64 : size[VALUE] <= 128 || tile.is_double ? 128 : 256;
  tile.blocks = points(problem, 0, QUERY) * round_up_division(size[QUERY], tile.queries) *
                round_up_division(size[VALUE], tile.columns);
  return tile;
}

static const char *plain_refusal(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile) {
  (void)chip, (void)tile;
  return plain_tile_of(problem).blocks > nvidia_largest_grid ? "a grid has at most 2147483647 blocks" : NULL;
}

/* Microseconds: rounds of blocks over the multiprocessors, by their products. */
static double plain_cost(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *row) {
  const double start = 5;
  const int64_t *size = problem->params.size;
  const plain_tile tile = plain_tile_of(problem);
  const double work = 2.0 * tile.queries * (double)size[KEY] * (double)(size[DEPTH] + tile.columns);
  (void)row;
  return start + (double)round_up_division(tile.blocks, chip->multiprocessors) * work / chip->attention.scalar;
}

static void choose_plain(const kernel_problem *problem, const attention_tile *row, kernel_choice *choice) {
  const plain_tile tile = plain_tile_of(problem);
  (void)row;
  choice->source = "attention.cu";
  set_grid(choice, tile.blocks, NVIDIA_THREADS);
  text_append(&choice->defines, "#define PN_ACCUMULATOR %s\n#define PN_TILE %d\n#define PN_COLUMNS %d\n",
              float_accumulator_type(problem), tile.queries, tile.columns);
  if (has_mask(problem) && problem->dtypes[MASK_ARG] == PINION_DTYPE_bool)
    text_append(&choice->defines, "#define PN_BOOL_MASK 1\n");
}

const attention_form attention_plain = {.refusal = plain_refusal, .cost = plain_cost, .choose = choose_plain};

/* ---- Choosing ---- */

static const char *name_of(int tile) {
  return attention_tiles[tile].name;
}

static const char *refusal_of(const nvidia_chip *chip, const kernel_problem *problem, int tile) {
  return attention_tiles[tile].form->refusal(chip, problem, &attention_tiles[tile]);
}

static double cost_of(const nvidia_chip *chip, const kernel_problem *problem, int tile) {
  return attention_tiles[tile].form->cost(chip, problem, &attention_tiles[tile]);
}

static const nvidia_tile_table table = {"attention", ATTENTION_TILES, name_of, refusal_of, cost_of};

int attention_candidates(const nvidia_chip *chip, const kernel_problem *problem, const char **out_tiles, int capacity) {
  return nvidia_tile_candidates(&table, chip, problem, out_tiles, capacity);
}

bool choose_attention(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const char *tile_name,
                      kernel_choice *choice, const char **out_why) {
  const int place = nvidia_pick_tile(&table, chip, a, problem, tile_name, out_why);
  if (place < 0) return false;
  const attention_tile *tile = &attention_tiles[place];
  choice->tile = tile->name;
  choice->cost = tile->form->cost(chip, problem, tile);
  tile->form->choose(problem, tile, choice);
  return true;
}
