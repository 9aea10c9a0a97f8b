/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* From a module at launch level to an artifact folder. */
#ifndef PINION_CODEGEN_H
#define PINION_CODEGEN_H

#include "../ir/ir.h"
#include "../targets/target.h"

typedef struct artifact_options {
  const char *folder;      /* -o; written to a temporary sibling and renamed */
  const char *model_name;  /* C identifier used in model.h; from the input's file name */
  const struct target *target;
  const char *tuning_file; /* sorted text: shape -> tile; NULL: the target's committed one, else the cost model */
} artifact_options;

/* Writes the artifact. The module must be at launch level, planned. */
status artifact_write(compilation *c, MlirModule module, const artifact_options *options);

#endif
