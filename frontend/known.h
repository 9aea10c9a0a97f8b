/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Values that are known while importing: shapes, axes and what exporters compute them from. Each op is evaluated once,
 * when it is made, and only if all its operands are known and small; so a long or a wide computation costs no more than
 * its ops.
 */
#ifndef PINION_FRONTEND_KNOWN_H
#define PINION_FRONTEND_KNOWN_H

#include "../ir/eval.h"

#define KNOWN_MAX_ELEMENTS 4096

typedef struct known_entry known_entry;
typedef struct known_values {
  known_entry *entries; /* owned */
  size_t count, capacity;
} known_values;

/* Looks at an op that was just made and, if it can, evaluates it. */
void known_add(compilation *c, known_values *known, MlirOperation op);
/* Borrowed until the next known_add; NULL if the value is not known. */
const eval_tensor *known_find(const known_values *known, MlirValue value);
void known_free(known_values *known);

#endif
