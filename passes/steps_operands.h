/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Changing what pinion.steps passes to its callee. */
#ifndef PINION_PASSES_STEPS_OPERANDS_H
#define PINION_PASSES_STEPS_OPERANDS_H

#include "graph.h"

/* Builds `steps` again with `count` operands, one for each argument that its callee `function` has by now; those from
   `first_table` on are tables. Dead ops of the callee go first, then arguments that nothing reads, the carried value
   apart, with their operands. `operands` is changed. */
status steps_set_operands(compilation *c, MlirOperation steps, MlirOperation function, MlirValue *operands, int count,
                          int first_table);

#endif
