/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The rows of tiles.h. A row's name is what a tuning file holds: it must not change its meaning. */
#include "tiles.h"

const cpu_tile cpu_tiles[] = {
    {"gather-192x256x256", 192, 256, 256, true}, /* the usual one: 192 KiB of A, 16 KiB of a panel */
    {"gather-384x256x192", 384, 256, 192, true}, /* fewer passes over B, for weights that come from memory */
    {"gather-96x512x384", 96, 512, 384, true},   /* deep: C moves less */
    {"read-64x256x256", 64, 256, 256, false},    /* few rows: gathering them costs more than it saves */
    {"read-192x256x256", 192, 256, 256, false},
    {"read-64x512x512", 64, 512, 512, false},
    {"plain", 0, 0, 0, false}, /* any types, any strides */
};
const int cpu_tile_count = sizeof cpu_tiles / sizeof cpu_tiles[0];
