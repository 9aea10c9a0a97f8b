/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#define _GNU_SOURCE
#include "weights.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A blob (owned memory) or a mapped file; told apart by `mapping`. */
typedef struct weight_source {
  char *name;
  void *blob;
  size_t bytes;
  mapped_file mapping;
} weight_source;

struct weight_store {
  char *folder, *blob_folder;
  weight_source **sources; /* pointers, so that names and data stay where they are */
  size_t count, capacity;
  pthread_mutex_t lock; /* of the list: one thread may read for the first time what others let go */
};

static const char blob_prefix[] = "sha256-";

weight_store *weight_store_create(void) {
  weight_store *store = heap_alloc(1, sizeof *store);
  store->folder = heap_string(".");
  store->blob_folder = heap_string(".");
  pthread_mutex_init(&store->lock, NULL);
  return store;
}

void weight_store_destroy(weight_store *store) {
  if (!store) return;
  for (size_t i = 0; i < store->count; i++) {
    file_unmap(&store->sources[i]->mapping);
    free(store->sources[i]->blob);
    free(store->sources[i]->name);
    free(store->sources[i]);
  }
  free(store->sources);
  free(store->folder);
  free(store->blob_folder);
  pthread_mutex_destroy(&store->lock);
  free(store);
}

void weight_store_set_folder(weight_store *store, const char *folder) {
  free(store->folder);
  store->folder = heap_string(folder);
}

const char *weight_store_folder(const weight_store *store) {
  return store->folder;
}

void weight_store_set_blob_folder(weight_store *store, const char *folder) {
  free(store->blob_folder);
  store->blob_folder = heap_string(folder);
}

static weight_source *find_source(const weight_store *store, const char *name) {
  for (size_t i = store->count; i-- > 0;)
    if (!strcmp(store->sources[i]->name, name)) return store->sources[i];
  return NULL;
}

static weight_source *add_source(weight_store *store, const char *name) {
  if (store->count == store->capacity) {
    store->capacity = store->capacity ? 2 * store->capacity : 16;
    weight_source **larger = heap_alloc(store->capacity, sizeof *larger);
    if (store->count) memcpy(larger, store->sources, store->count * sizeof *larger);
    free(store->sources);
    store->sources = larger;
  }
  weight_source *source = heap_alloc(1, sizeof *source);
  source->name = heap_string(name);
  store->sources[store->count++] = source;
  return source;
}

static void blob_name(const void *data, size_t bytes, char out_name[80]) {
  sha256 hash;
  uint8_t digest[32];
  sha256_begin(&hash);
  sha256_add(&hash, data, bytes);
  sha256_end(&hash, digest);
  memcpy(out_name, blob_prefix, sizeof blob_prefix);
  sha256_hex(digest, out_name + sizeof blob_prefix - 1);
}

const char *weight_store_add(weight_store *store, const void *data, size_t bytes) {
  char name[80];
  blob_name(data, bytes, name);
  weight_source *source = find_source(store, name);
  if (source) return source->name;
  source = add_source(store, name);
  source->blob = heap_alloc(bytes + 1, 1);
  if (bytes) memcpy(source->blob, data, bytes);
  source->bytes = bytes;
  return source->name;
}

/* A name that stays inside the folder: relative, without a ".." part. */
static bool name_is_inside(const char *name) {
  if (!*name || *name == '/') return false;
  for (const char *part = name; part; part = strchr(part, '/')) {
    if (*part == '/') part++;
    if (!strncmp(part, "..", 2) && (part[2] == '/' || part[2] == 0)) return false;
  }
  return true;
}

static status map_source(weight_store *store, diagnostics *d, const char *file, weight_source **out_source) {
  if (!name_is_inside(file))
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL,
                    "external data '%s' lies outside the model's folder; use a relative path below it", file);
  bool is_blob = !strncmp(file, blob_prefix, sizeof blob_prefix - 1);
  const char *folder = is_blob ? store->blob_folder : store->folder;
  size_t length = strlen(folder) + strlen(file) + 2;
  char *path = heap_alloc(length, 1);
  snprintf(path, length, "%s/%s", folder, file);
  mapped_file mapping;
  status result = file_map(d, path, &mapping);
  free(path);
  if (result != STATUS_OK) return result;
  if (is_blob) {
    char name[80];
    blob_name(mapping.bytes, mapping.size, name);
    if (strcmp(name, file)) {
      file_unmap(&mapping);
      return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' does not hold what its name says; write the dump again",
                      file);
    }
  }
  *out_source = add_source(store, file);
  (*out_source)->mapping = mapping;
  return STATUS_OK;
}

status weight_store_read(weight_store *store, diagnostics *d, const char *file, uint64_t offset, uint64_t bytes,
                         const void **out_data) {
  pthread_mutex_lock(&store->lock);
  weight_source *source = find_source(store, file);
  const status result = source ? STATUS_OK : map_source(store, d, file, &source);
  pthread_mutex_unlock(&store->lock);
  if (result != STATUS_OK) return result;
  uint64_t size = source->blob ? source->bytes : source->mapping.size;
  if (offset > size || bytes > size - offset)
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' has %llu bytes; a tensor needs %llu at offset %llu", file,
                    (unsigned long long)size, (unsigned long long)bytes, (unsigned long long)offset);
  *out_data = (source->blob ? (const uint8_t *)source->blob : source->mapping.bytes) + offset;
  return STATUS_OK;
}

status weight_store_write(weight_store *store, diagnostics *d, const char *name, const char *folder) {
  weight_source *source = find_source(store, name);
  if (!source || !source->blob) return STATUS_OK;
  size_t length = strlen(folder) + strlen(name) + 2;
  char *path = heap_alloc(length, 1);
  snprintf(path, length, "%s/%s", folder, name);
  status result = file_exists(path) ? STATUS_OK : file_write(d, path, source->blob, source->bytes);
  free(path);
  return result;
}

/* Below this the memory is not worth a system call. */
enum { RELEASE_MINIMUM_BYTES = 256 << 10 };

/* Whether that lies in a mapped file. */
static bool is_mapped(weight_store *store, uintptr_t start, uintptr_t end) {
  bool found = false;
  pthread_mutex_lock(&store->lock);
  for (size_t i = 0; i < store->count && !found; i++) {
    const mapped_file *mapping = &store->sources[i]->mapping;
    const uintptr_t first = (uintptr_t)mapping->bytes;
    found = mapping->bytes && start >= first && end <= first + mapping->size;
  }
  pthread_mutex_unlock(&store->lock);
  return found;
}

void weight_store_release(weight_store *store, const void *data, size_t bytes) {
  if (bytes < RELEASE_MINIMUM_BYTES) return;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)data, end = start + bytes;
  if (!is_mapped(store, start, end)) return;
  start = (start + page - 1) / page * page; /* whole pages only: a neighbour may still be in use */
  end = end / page * page;
  if (start < end) madvise((void *)start, end - start, MADV_DONTNEED);
}
