/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Takes out of a module what no output needs of its values. */
#ifndef PINION_PASSES_REMOVE_UNNEEDED_H
#define PINION_PASSES_REMOVE_UNNEEDED_H

#include "demand.h"

/* Every value keeps the positions that `removable` (demand_analyse_removable, of this module) says are needed, and its
   type says so; ops that nothing needs any more are gone. Arguments and results of other functions than @main that
   nothing needs stay, as zeros are passed for them: eliminate-dead takes them. */
status remove_unneeded(const demand_analysis *removable, MlirModule module);

#endif
