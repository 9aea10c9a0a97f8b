/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#define _GNU_SOURCE /* asprintf-free, but mmap, nftw and realpath are POSIX */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Arena ---- */

/* Chunks grow from the first size to the last: most arenas serve one function and hold little, and calloc clears all
   that it gives. */
enum { ARENA_FIRST_BYTES = 4 << 10, ARENA_CHUNK_BYTES = 1 << 20 };

typedef struct arena_chunk {
  struct arena_chunk *next;
  size_t used, size;
  max_align_t data[];
} arena_chunk;

struct arena {
  arena_chunk *chunks; /* the head is the one being filled */
  size_t next_bytes;   /* of the next chunk */
};

void *heap_alloc(size_t count, size_t element_bytes) {
  void *memory = calloc(count, element_bytes);
  if (!memory) {
    fprintf(stderr, "pinion: out of memory: %zu times %zu bytes refused\n", count, element_bytes);
    exit(STATUS_FAILED);
  }
  return memory;
}

char *heap_string(const char *string) {
  const size_t bytes = strlen(string) + 1;
  return memcpy(heap_alloc(bytes, 1), string, bytes);
}

arena *arena_create(void) {
  arena *a = heap_alloc(1, sizeof *a);
  a->next_bytes = ARENA_FIRST_BYTES;
  return a;
}

void arena_destroy(arena *a) {
  if (!a) return;
  for (arena_chunk *chunk = a->chunks, *next; chunk; chunk = next) {
    next = chunk->next;
    free(chunk);
  }
  free(a);
}

void arena_reset(arena *a) {
  arena_chunk *kept = a->chunks;
  if (!kept) return;
  for (arena_chunk *chunk = kept->next, *next; chunk; chunk = next) {
    next = chunk->next;
    free(chunk);
  }
  kept->next = NULL;
  memset(kept->data, 0, kept->used);
  kept->used = 0;
}

/* A size for a chunk that holds `bytes` and more. */
static size_t next_chunk_bytes(arena *a, size_t bytes) {
  size_t size = a->next_bytes;
  while (size < 2 * bytes) size *= 2;
  a->next_bytes = 2 * size < ARENA_CHUNK_BYTES ? 2 * size : ARENA_CHUNK_BYTES;
  return size;
}

void *arena_alloc(arena *a, size_t bytes) {
  size_t aligned = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
  arena_chunk *head = a->chunks;
  if (head && head->size - head->used >= aligned) {
    void *result = (char *)head->data + head->used;
    head->used += aligned;
    return result;
  }
  bool is_large = aligned > ARENA_CHUNK_BYTES / 4;
  size_t size = is_large ? aligned : next_chunk_bytes(a, aligned);
  arena_chunk *chunk = heap_alloc(1, sizeof(arena_chunk) + size);
  chunk->size = size;
  chunk->used = aligned;
  if (head && is_large) { /* keep filling the head */
    chunk->next = head->next;
    head->next = chunk;
  } else {
    chunk->next = head;
    a->chunks = chunk;
  }
  return chunk->data;
}

void *arena_copy(arena *a, const void *data, size_t bytes) {
  void *copy = arena_alloc(a, bytes);
  if (bytes) memcpy(copy, data, bytes);
  return copy;
}

char *arena_string(arena *a, const char *data, size_t length) {
  char *copy = arena_alloc(a, length + 1);
  if (length) memcpy(copy, data, length);
  return copy;
}

char *arena_format(arena *a, const char *format, ...) {
  char shown[256]; /* most texts fit, and are formatted once */
  va_list arguments;
  va_start(arguments, format);
  size_t length = (size_t)vsnprintf(shown, sizeof shown, format, arguments);
  va_end(arguments);
  if (length < sizeof shown) return arena_copy(a, shown, length + 1);
  char *result = arena_alloc(a, length + 1);
  va_start(arguments, format);
  vsnprintf(result, length + 1, format, arguments);
  va_end(arguments);
  return result;
}

void *arena_grow(arena *a, void *items, size_t count, size_t *capacity, size_t element_bytes) {
  if (count < *capacity) return items;
  size_t larger = *capacity ? *capacity * 2 : 16;
  void *moved = arena_alloc(a, larger * element_bytes);
  if (count) memcpy(moved, items, count * element_bytes);
  *capacity = larger;
  return moved;
}

/* ---- Hashing ---- */

static uint64_t hash_word(uint64_t hash, const uint8_t *data, size_t bytes) {
  uint64_t word = 0;
  memcpy(&word, data, bytes);
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
  return hash ^ hash >> 32;
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes) {
  const uint8_t *at = data;
  for (; bytes >= sizeof hash; at += sizeof hash, bytes -= sizeof hash) hash = hash_word(hash, at, sizeof hash);
  return bytes > 0 ? hash_word(hash, at, bytes) : hash;
}

/* ---- Text ---- */

static void text_reserve(text *t, size_t more) {
  if (t->length + more + 1 <= t->capacity) return;
  size_t capacity = t->capacity ? t->capacity : 256;
  while (capacity < t->length + more + 1) capacity *= 2;
  char *data = realloc(t->data, capacity);
  if (!data) {
    fprintf(stderr, "pinion: out of memory: %zu bytes refused\n", capacity);
    exit(STATUS_FAILED);
  }
  t->data = data;
  t->capacity = capacity;
}

void text_append_bytes(text *t, const char *data, size_t length) {
  text_reserve(t, length);
  if (length) memcpy(t->data + t->length, data, length);
  t->length += length;
  t->data[t->length] = 0;
}

void text_append_list(text *t, const char *format, va_list arguments) {
  va_list again;
  text_reserve(t, 0);
  size_t room = t->capacity - t->length;
  va_copy(again, arguments);
  int length = vsnprintf(t->data + t->length, room, format, arguments);
  if ((size_t)length >= room) { /* it did not fit: once more, with room */
    text_reserve(t, (size_t)length);
    vsnprintf(t->data + t->length, (size_t)length + 1, format, again);
  }
  va_end(again);
  t->length += (size_t)length;
}

void text_append(text *t, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  text_append_list(t, format, arguments);
  va_end(arguments);
}

void text_free(text *t) {
  free(t->data);
  *t = (text){0};
}

/* ---- Diagnostics ---- */

status diagnose(diagnostics *d, status code, const char *node, const char *op_type, const char *format, ...) {
  if (!d) return code;
  FILE *stream = d->stream ? d->stream : stderr;
  d->error_count++;
  fprintf(stream, "%s: ", d->file ? d->file : "pinion");
  if (node) fprintf(stream, "node '%s'%s", node, op_type ? " " : ": ");
  if (op_type) fprintf(stream, "(%s): ", op_type);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stream, format, arguments);
  va_end(arguments);
  fputc('\n', stream);
  return code;
}

/* ---- Files ---- */

status file_map(diagnostics *d, const char *path, mapped_file *out_file) {
  *out_file = (mapped_file){0};
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "cannot open '%s': %s", path, strerror(errno));
  struct stat info;
  status result = STATUS_OK;
  if (fstat(descriptor, &info) || !S_ISREG(info.st_mode)) {
    result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' is not a regular file", path);
  } else if (info.st_size > 0) {
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED)
      result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "cannot map '%s': %s", path, strerror(errno));
    else
      *out_file = (mapped_file){.bytes = bytes, .size = (size_t)info.st_size};
  }
  close(descriptor);
  if (result == STATUS_OK) out_file->path = heap_string(path);
  return result;
}

void file_unmap(mapped_file *file) {
  if (file->bytes) munmap((void *)file->bytes, file->size);
  free((void *)file->path);
  *file = (mapped_file){0};
}

status file_write(diagnostics *d, const char *path, const void *data, size_t bytes) {
  FILE *stream = fopen(path, "wb");
  bool written = stream && fwrite(data, 1, bytes, stream) == bytes;
  if (stream && fclose(stream)) written = false;
  if (!written) return diagnose(d, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", path, strerror(errno));
  return STATUS_OK;
}

bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

status folder_create(diagnostics *d, const char *path) {
  char *copy = heap_string(path);
  for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(copy, 0777); /* the last one tells whether it worked */
    *slash = '/';
  }
  struct stat info;
  mkdir(copy, 0777);
  bool made = stat(copy, &info) == 0 && S_ISDIR(info.st_mode);
  free(copy);
  return made ? STATUS_OK
              : diagnose(d, STATUS_FAILED, NULL, NULL, "cannot create the folder '%s': %s", path, strerror(errno));
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
  (void)info, (void)type, (void)where;
  remove(path);
  return 0;
}

void folder_remove(const char *path) {
  nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

char *path_join(arena *a, const char *folder, const char *name) {
  size_t length = strlen(folder);
  return arena_format(a, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name);
}

char *path_folder(arena *a, const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return arena_string(a, ".", 1);
  return arena_string(a, path, slash == path ? 1 : (size_t)(slash - path));
}
