/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* `--shapes=name:1x3x224x224,other:1x20`, repeatable: what import and compile share. */
#ifndef PINION_TOOLS_SHAPES_H
#define PINION_TOOLS_SHAPES_H

#include "flags.h"

#include "frontend/frontend.h"

#define SHAPES_HELP "an input's shape, where the model leaves it open: name:1x3x224x224[,name:..]"

/* Arrays are the arena's. On a malformed item says so on stderr and returns false. */
bool shapes_parse(arena *a, const flag_list *items, import_options *out_options);

#endif
