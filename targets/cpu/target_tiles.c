/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The rows of tiles.h. A row's name is what a tuning file holds: it must not change its meaning. */
#include "tiles.h"

const cpu_tile cpu_tiles[] = {
    {"read-98x512x512", 98, 512, 512, false}, /* the usual one: 196 KiB of A, 196 of C, 32 of a panel of B */
    {"read-98x1024x512", 98, 1024, 512, false},
    {"read-56x256x256", 56, 256, 256, false},  /* few rows: they stay in the level-1 cache */
    {"gather-98x512x512", 98, 512, 512, true}, /* where rows of A lie so that they evict each other */
    {"gather-98x1024x512", 98, 1024, 512, true},
    {"gather-196x512x256", 196, 512, 256, true},
    {"plain", 0, 0, 0, false}, /* any types, any strides */
};
const int cpu_tile_count = sizeof cpu_tiles / sizeof cpu_tiles[0];
