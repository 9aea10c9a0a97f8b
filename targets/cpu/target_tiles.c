/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The rows of tiles.h. A row's name is what a tuning file holds: it must not change its meaning. */
#include "tiles.h"

const cpu_tile cpu_tiles[] = {
    {"plain", 0, 0, 0, false}, /* any types, any strides */
};
const int cpu_tile_count = sizeof cpu_tiles / sizeof cpu_tiles[0];
