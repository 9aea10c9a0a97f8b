/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* pinion bench --cold-start: from the start of this process to the first action, and the device memory it takes. */
#ifndef PINION_TOOLS_COLD_START_H
#define PINION_TOOLS_COLD_START_H

#include "inputs.h"

/* Opens an artifact that is loaded, runs it once on random inputs and prints what each part took. */
status cold_start(diagnostics *d, artifact *a, const pinion_options *options, uint64_t seed);

#endif
