/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What every part of the compiler shares: statuses, diagnostics, an arena, strings, mapped files, SHA-256. */
#ifndef PINION_IR_BASE_H
#define PINION_IR_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a fallible compiler function returns, and `pinion`'s exit status. */
typedef enum status {
  STATUS_OK = 0,
  STATUS_FAILED = 1,
  STATUS_USAGE = 2,
  STATUS_BAD_INPUT = 3,
  STATUS_UNSUPPORTED = 4,
  STATUS_MISMATCH = 5,
  STATUS_NO_DEVICE = 6,
} status;

#if defined(__GNUC__)
#define PRINTF_LIKE(string, first) __attribute__((format(printf, string, first)))
#else
#define PRINTF_LIKE(string, first)
#endif

/* ---- Arena: memory that lives as long as one compilation (or one pass). The only allocator of compiler code that
   keeps its results. Zeroed; never returns NULL (an allocation that the system refuses ends the process with a message:
   the compiler is a process, the runtime is not). ---- */
typedef struct arena arena;
arena *arena_create(void);
void arena_destroy(arena *a); /* NULL is allowed */
void arena_reset(arena *a);   /* ends what was allocated; keeps a chunk for what comes */
void *arena_alloc(arena *a, size_t bytes);
void *arena_copy(arena *a, const void *data, size_t bytes);
char *arena_string(arena *a, const char *data, size_t length); /* NUL-terminated copy */
char *arena_format(arena *a, const char *format, ...) PRINTF_LIKE(2, 3);

/* Zeroed memory that its holder frees, for what ends before an arena does; never NULL, as an arena's. */
void *heap_alloc(size_t count, size_t element_bytes);
char *heap_string(const char *string); /* a copy, the same way */

/* A hash for tables, to be chained: start with HASH_START. Not to be stored: it depends on the machine's byte order. */
#define HASH_START 1469598103934665603ull
uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes);

/* Makes room for one more element in an arena-backed array: doubles `*items` when count has reached *capacity. */
void *arena_grow(arena *a, void *items, size_t count, size_t *capacity, size_t element_bytes);

/* ---- Growable text. Owns its memory; text_free ends it. ---- */
typedef struct text {
  char *data; /* NUL-terminated once anything was added; NULL when empty */
  size_t length, capacity;
} text;
void text_append(text *t, const char *format, ...) PRINTF_LIKE(2, 3);
void text_append_list(text *t, const char *format, va_list arguments) PRINTF_LIKE(2, 0);
void text_append_bytes(text *t, const char *data, size_t length);
void text_free(text *t);

/* ---- Diagnostics: `file: node 'NAME' (OpType): what, and what to do`, to stderr. ---- */
typedef struct diagnostics {
  const char *file; /* borrowed; the input being read, or NULL */
  FILE *stream;     /* borrowed; NULL means stderr */
  int error_count;
} diagnostics;

/* Prints and counts an error, and returns `code`, so that a caller can `return diagnose(...)`. `node` and `op_type` may
   be NULL. Without diagnostics (NULL) nothing is said: for those who only ask whether something is possible. */
status diagnose(diagnostics *d, status code, const char *node, const char *op_type, const char *format, ...)
    PRINTF_LIKE(5, 6);

/* ---- Files ---- */
typedef struct mapped_file {
  const char *path;     /* owned */
  const uint8_t *bytes; /* read only; NULL for an empty file */
  size_t size;
} mapped_file;
/* Maps a regular file; diagnoses what is missing or unreadable (STATUS_BAD_INPUT). */
status file_map(diagnostics *d, const char *path, mapped_file *out_file);
void file_unmap(mapped_file *file);
/* Writes a whole file; diagnoses failure (STATUS_FAILED). */
status file_write(diagnostics *d, const char *path, const void *data, size_t bytes);
bool file_exists(const char *path);
/* Creates a folder and its missing parents. */
status folder_create(diagnostics *d, const char *path);
/* Removes a folder and everything below it; nothing is an error. */
void folder_remove(const char *path);
char *path_join(arena *a, const char *folder, const char *name);
/* The folder part of `path`, "." if it has none. */
char *path_folder(arena *a, const char *path);

/* ---- SHA-256 (FIPS 180-4) ---- */
typedef struct sha256 {
  uint32_t state[8];
  uint64_t length;
  uint8_t block[64];
} sha256;
void sha256_begin(sha256 *s);
void sha256_add(sha256 *s, const void *data, size_t bytes);
void sha256_end(sha256 *s, uint8_t out_digest[32]);
/* Lower-case hex of a digest; out_hex holds 65 bytes. */
void sha256_hex(const uint8_t digest[32], char out_hex[65]);

#endif
