/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "names.h"

#include <string.h>

static uint64_t hash_name(const char *name) {
  return hash_bytes(HASH_START, name, strlen(name));
}

/* The name's entry, or the free one where it belongs. */
static name_entry *find_entry(const name_table *table, const char *name, uint64_t hash) {
  for (size_t slot = hash;; ++slot) {
    name_entry *entry = &table->entries[slot & (table->capacity - 1)];
    if (!entry->name || (entry->hash == hash && strcmp(entry->name, name) == 0)) return entry;
  }
}

void *name_find(const name_table *table, const char *name) {
  return table->capacity ? find_entry(table, name, hash_name(name))->item : NULL;
}

static void grow(arena *a, name_table *table) {
  name_table larger = {.count = table->count, .capacity = table->capacity ? 2 * table->capacity : 64};
  larger.entries = arena_alloc(a, larger.capacity * sizeof *larger.entries);
  for (size_t i = 0; i < table->capacity; ++i) {
    const name_entry *entry = &table->entries[i];
    if (entry->name) *find_entry(&larger, entry->name, entry->hash) = *entry;
  }
  *table = larger;
}

bool name_add(arena *a, name_table *table, const char *name, void *item) {
  if (4 * (table->count + 1) > 3 * table->capacity) grow(a, table);
  const uint64_t hash = hash_name(name);
  name_entry *entry = find_entry(table, name, hash);
  if (entry->name) return false;
  *entry = (name_entry){name, item, hash};
  table->count++;
  return true;
}
