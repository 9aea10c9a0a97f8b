/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Tiles measured on a GPU, inside the call of an artifact that was compiled with candidates (runtime/tune.h). */
#ifndef PINION_TOOLS_TUNE_DEVICE_H
#define PINION_TOOLS_TUNE_DEVICE_H

#include "artifact.h"

/* Takes a problem's key and its line of the tuning file; both are the arena's. */
typedef void tuned_line(void *user, const char *key, const char *line);

/* Opens the artifact, measures every problem that has candidates and `only` in its key (NULL: every one), says on
   stderr what is measured, and on stdout what all winners together gain. */
status tune_device(diagnostics *d, arena *a, const char *folder, const artifact_flags *flags, uint32_t rounds,
                   const char *only, tuned_line *add, void *user);

#endif
