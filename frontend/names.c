/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "names.h"

#include <string.h>

/* FNV-1a, 64 bits. */
static uint64_t hash_name(const char *name) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (; *name; ++name) hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
  return hash ^ hash >> 32;
}

/* The name's entry, or the free one where it belongs. */
static name_entry *find_entry(const name_table *table, const char *name) {
  for (size_t slot = hash_name(name);; ++slot) {
    name_entry *entry = &table->entries[slot & (table->capacity - 1)];
    if (!entry->name || strcmp(entry->name, name) == 0) return entry;
  }
}

void *name_find(const name_table *table, const char *name) {
  return table->capacity ? find_entry(table, name)->item : NULL;
}

static void grow(arena *a, name_table *table) {
  name_table larger = {.count = table->count, .capacity = table->capacity ? 2 * table->capacity : 64};
  larger.entries = arena_alloc(a, larger.capacity * sizeof *larger.entries);
  for (size_t i = 0; i < table->capacity; ++i)
    if (table->entries[i].name) *find_entry(&larger, table->entries[i].name) = table->entries[i];
  *table = larger;
}

void name_add(arena *a, name_table *table, const char *name, void *item) {
  if (4 * (table->count + 1) > 3 * table->capacity) grow(a, table);
  *find_entry(table, name) = (name_entry){name, item};
  table->count++;
}
