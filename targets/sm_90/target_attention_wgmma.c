/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Attention by wgmma, for many rows and for few: what tiles take, which of them can do a problem, and how long that
 * takes. */
#include "sm_90.h"

#include "../nvidia/attention.h"

/* ---- attention_wgmma.cu ---- */

static int64_t wgmma_keys(const kernel_problem *problem, const attention_tile *tile) {
  const int64_t keys = round_up_division(problem->params.size[KEY], 16) * 16;
  return keys < 16 ? 16 : keys < tile->keys ? keys : tile->keys;
}

/* Pieces of 64 elements, 128 bytes, in a row. */
static int64_t pieces(int64_t elements) {
  return round_up_division(elements, 64);
}

static int64_t wgmma_tile_bytes(const kernel_problem *problem, const attention_tile *tile) {
  const int64_t d = pieces(problem->params.size[DEPTH]), e = pieces(problem->params.size[VALUE]);
  return (d > e ? d : e) * wgmma_keys(problem, tile) * 128;
}

/* Beside the tiles: q, barriers, the mask's bits, and what the alignment takes. */
static int64_t wgmma_other_bytes(const kernel_problem *problem, const attention_tile *tile) {
  return pieces(problem->params.size[DEPTH]) * tile->rows * 128 + 256 + mask_bytes(problem, wgmma_keys(problem, tile)) +
         1024;
}

/* Tiles in flight: as many as fit and are of use. */
static int64_t wgmma_stages(const kernel_problem *problem, const attention_tile *tile) {
  const int64_t bytes = SHARED_BYTES - wgmma_other_bytes(problem, tile);
  const int64_t fit = bytes / wgmma_tile_bytes(problem, tile);
  const int64_t all = 2 * round_up_division(problem->params.size[KEY], wgmma_keys(problem, tile));
  return fit < all ? fit : all > 2 ? all : 2;
}

/* As attention_wgmma.cu lays it out: two key groups exchange their sums where q and the tiles were. */
static int64_t wgmma_shared_bytes(const kernel_problem *problem, const attention_tile *tile) {
  const int64_t q = pieces(problem->params.size[DEPTH]) * tile->rows * 128;
  const int64_t tiles = q + wgmma_stages(problem, tile) * wgmma_tile_bytes(problem, tile);
  const int64_t sums = tile->split > 1 ? tile->rows / 64 * (problem->params.size[VALUE] / 2 + 8) * 512 : 0;
  return (sums > tiles ? sums - q : tiles - q) + wgmma_other_bytes(problem, tile);
}

static const char *wgmma_refusal(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile) {
  if (!chip->has_wgmma) return "wgmma is an instruction of sm_90 alone";
  const char *why = tensor_refusal(chip, problem, row_tiles(problem, tile), wgmma_shared_bytes(problem, tile));
  if (why) return why;
  return wgmma_stages(problem, tile) < 2 * tile->split ? "fewer tiles of keys fit shared memory than warpgroups work on"
                                                       : NULL;
}

/*
 * Microseconds: rounds of blocks, each the longer of its products (a step of 16 by N columns is N/2 cycles for 64 rows,
 * of which softmax and waits leave two thirds) and its operands' way from L2, and what begins and ends it.
 */
static double wgmma_cost(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile) {
  const double start = 2, ends = 1.5, clock = 1600, load_rate = 100e3; /* MHz; bytes a microsecond */
  const int64_t *size = problem->params.size, keys = wgmma_keys(problem, tile);
  const int64_t rounds = round_up_division(row_tiles(problem, tile), chip->multiprocessors);
  const int64_t blocks = round_up_division(round_up_division(size[KEY], keys), tile->split) * tile->split;
  const double width = (double)(round_up_division(size[DEPTH], 16) * 16 + size[VALUE]);
  const double products = tile->rows / 64 * (double)(blocks * keys) * width / 32 * 1.5 / clock;
  const double loads =
      2.0 * ((double)(size[KEY] * (size[DEPTH] + size[VALUE])) + tile->rows * (double)size[DEPTH]) / load_rate;
  return start + (double)rounds * (ends + (products > loads ? products : loads));
}

static void choose_wgmma(const kernel_problem *problem, const attention_tile *tile, kernel_choice *choice) {
  const int64_t keys = wgmma_keys(problem, tile);
  choice->source = "attention_wgmma.cu";
  choice->common = "attention_common.cuh";
  choice->dynamic_shared_bytes = (uint32_t)wgmma_shared_bytes(problem, tile);
  set_grid(choice, row_tiles(problem, tile), (tile->rows / 64 * tile->split + 1) * 128);
  define_common(problem, keys, &choice->defines);
  text_append(&choice->defines, "#define PN_ROW_GROUPS %d\n#define PN_KEY_GROUPS %d\n#define PN_STAGES %d\n",
              tile->rows / 64, tile->split, (int)wgmma_stages(problem, tile));
  define_wgmma(&choice->defines, "PN_WGMMA_SCORES", (int)keys, A_K_ALONG_ROWS, false);
  define_wgmma(&choice->defines, "PN_WGMMA_VALUES", (int)problem->params.size[VALUE], A_IN_REGISTERS, true);
}

const attention_form attention_wgmma = {.refusal = wgmma_refusal, .cost = wgmma_cost, .choose = choose_wgmma};

/* ---- attention_split.cu ---- */

/* Keys of a block, at most: an even share of the settled ones, and of the others. */
static int64_t settled_share(const kernel_problem *problem, const attention_tile *tile) {
  return round_up_division(problem->settled_keys, tile->split);
}
static int64_t new_share(const kernel_problem *problem, const attention_tile *tile) {
  return round_up_division(problem->params.size[KEY] - problem->settled_keys, tile->split);
}
static int64_t split_keys(const kernel_problem *problem, const attention_tile *tile) {
  const int64_t share = settled_share(problem, tile) + new_share(problem, tile);
  return share > 0 ? round_up_division(share, 16) * 16 : 16;
}

/* As attention_split.cu lays it out. */
static int64_t split_shared_bytes(const kernel_problem *problem, const attention_tile *tile) {
  enum { WARPS = 8, PRODUCT_READS = 8192 };
  const int64_t keys = split_keys(problem, tile), d = pieces(problem->params.size[DEPTH]) * 128;
  const int64_t e = pieces(problem->params.size[VALUE]) * 128, p = pieces(keys) * 128;
  const int64_t sums = tile->rows * e * 2, k = keys * d > sums ? keys * d : sums;
  const int64_t v = keys * e > PRODUCT_READS ? keys * e : PRODUCT_READS;
  return tile->rows * (d > p ? d : p) + k + v + tile->rows * (2 * WARPS * 4 + 16) + 16 + 1024;
}

static const char *split_refusal(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile) {
  if (!chip->has_wgmma) return "wgmma is an instruction of sm_90 alone";
  if (split_keys(problem, tile) > tile->keys)
    return "a block of the cluster has more keys than its products take at once";
  return tensor_refusal(chip, problem, row_tiles(problem, tile) * tile->split, split_shared_bytes(problem, tile));
}

/* A step of 16 by N columns is 16 + N/4 cycles for 64 rows. */
static double split_cost(const nvidia_chip *chip, const kernel_problem *problem, const attention_tile *tile) {
  const double clock = 1600;
  const int64_t *size = problem->params.size, keys = split_keys(problem, tile);
  const double steps = (double)(pieces(keys) * round_up_division(size[DEPTH], 16) + pieces(size[VALUE]) * keys / 16);
  return cluster_cost(chip, problem, tile, keys, steps * (16 + tile->rows / 4.0) / clock);
}

static void choose_split(const kernel_problem *problem, const attention_tile *tile, kernel_choice *choice) {
  choice->source = "attention_split.cu";
  choice->dynamic_shared_bytes = (uint32_t)split_shared_bytes(problem, tile);
  choose_cluster(problem, tile, split_keys(problem, tile), choice);
  text_append(&choice->defines, "#define PN_SETTLED_SHARE %d\n#define PN_NEW_SHARE %d\n",
              (int)settled_share(problem, tile), (int)new_share(problem, tile));
  define_wgmma(&choice->defines, "PN_WGMMA_SCORES", tile->rows, A_K_ALONG_ROWS, false);
  define_wgmma(&choice->defines, "PN_WGMMA_COLUMNS", tile->rows, A_M_ALONG_ROWS, false);
}

const attention_form attention_split = {.refusal = split_refusal, .cost = split_cost, .choose = choose_split};
