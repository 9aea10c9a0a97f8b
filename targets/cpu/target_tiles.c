/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The rows of tiles.h. A row's name is what a tuning file holds: it must not change its meaning. */
#include "tiles.h"

const cpu_tile cpu_tiles[] = {
    {"read-96x512x256", 96, 512, 256, false}, /* the usual one: 96 KiB of A, 192 of C, 16 of a panel of B */
    {"read-96x1024x256", 96, 1024, 256, false},
    {"read-64x512x512", 64, 512, 512, false}, /* few rows: they stay in the level-1 cache at twice the depth */
    {"read-64x256x256", 64, 256, 256, false},
    {"gather-96x512x384", 96, 512, 384, true}, /* where rows of A lie so that they evict each other */
    {"gather-192x256x256", 192, 256, 256, true},
    {"plain", 0, 0, 0, false}, /* any types, any strides */
};
const int cpu_tile_count = sizeof cpu_tiles / sizeof cpu_tiles[0];
