/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A hash table from names to anything. */
#ifndef PINION_FRONTEND_NAMES_H
#define PINION_FRONTEND_NAMES_H

#include "../ir/base.h"

typedef struct name_entry {
  const char *name; /* borrowed; NULL: a free slot */
  void *item;       /* borrowed */
  uint64_t hash;
} name_entry;

/* Zero-initialised is empty. Its memory is the arena's. */
typedef struct name_table {
  name_entry *entries;
  size_t count, capacity; /* capacity: 0 or a power of two */
} name_table;

void *name_find(const name_table *table, const char *name); /* NULL if there is none */
/* Adds a name; false if the table has it already. */
bool name_add(arena *a, name_table *table, const char *name, void *item);

#endif
