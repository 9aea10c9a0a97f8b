/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The choice among the rows of a family's table of tiles. */
#include "nvidia.h"

#include <string.h>

/* Places of the legal tiles, cheapest first; ties in the table's order. Returns how many. */
static int rank_tiles(const nvidia_tile_table *table, const nvidia_chip *chip, const kernel_problem *problem,
                      int *out_tiles) {
  double costs[NVIDIA_MOST_TILES];
  int count = 0;
  for (int tile = 0; tile < table->count; tile++) {
    if (table->refusal(chip, problem, tile)) continue;
    const double cost = table->cost(chip, problem, tile);
    int at = count++;
    for (; at > 0 && costs[at - 1] > cost; at--) {
      costs[at] = costs[at - 1];
      out_tiles[at] = out_tiles[at - 1];
    }
    costs[at] = cost;
    out_tiles[at] = tile;
  }
  return count;
}

int nvidia_tile_candidates(const nvidia_tile_table *table, const nvidia_chip *chip, const kernel_problem *problem,
                           const char **out_names, int capacity) {
  int ranked[NVIDIA_MOST_TILES];
  const int count = rank_tiles(table, chip, problem, ranked);
  for (int i = 0; i < count && i < capacity; i++) out_names[i] = table->name(ranked[i]);
  return count < capacity ? count : capacity;
}

int nvidia_pick_tile(const nvidia_tile_table *table, const nvidia_chip *chip, arena *a, const kernel_problem *problem,
                     const char *name, const char **out_why) {
  int ranked[NVIDIA_MOST_TILES];
  if (!name) {
    *out_why = "a grid has at most 2147483647 blocks";
    return rank_tiles(table, chip, problem, ranked) ? ranked[0] : -1;
  }
  for (int tile = 0; tile < table->count; tile++) {
    if (strcmp(table->name(tile), name)) continue;
    *out_why = table->refusal(chip, problem, tile);
    return *out_why ? -1 : tile;
  }
  *out_why = arena_format(a, "%s has no %s tile '%s'", chip->name, table->family, name);
  return -1;
}
