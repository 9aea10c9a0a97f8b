/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Imports damaged copies of a model: bytes changed, ranges cut out or repeated, the end cut off. Every copy must be
 * imported or refused with a diagnostic; that this process survives is the test.
 *
 *   mutate SEED COUNT MODEL...
 */
#include "frontend/frontend.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t state;

/* xorshift64* */
static uint64_t random_below(uint64_t limit) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return limit ? (state * UINT64_C(0x2545f4914f6cdd1d) >> 11) % limit : 0;
}

static size_t flip_bytes(uint8_t *bytes, size_t size) {
  for (uint64_t i = 0, count = 1 + random_below(8); i < count; ++i)
    bytes[random_below(size)] =
        random_below(2) ? (uint8_t)random_below(256) : (uint8_t)(UINT64_C(1) << random_below(8));
  return size;
}

static size_t cut_range(uint8_t *bytes, size_t size) {
  size_t start = random_below(size), length = 1 + random_below(64);
  if (length > size - start) length = size - start;
  memmove(bytes + start, bytes + start + length, size - start - length);
  return size - length;
}

static size_t copy_range(uint8_t *bytes, size_t size) {
  size_t length = 1 + random_below(64);
  if (length >= size) return size;
  memmove(bytes + random_below(size - length), bytes + random_below(size - length), length);
  return size;
}

static size_t damage(uint8_t *bytes, size_t size) {
  switch (random_below(8)) {
  case 0: return random_below(size);
  case 1: return cut_range(bytes, size);
  case 2: return copy_range(bytes, size);
  default: return flip_bytes(bytes, size);
  }
}

/* Whether a damaged copy was refused; what must be right about it either way is checked here. */
static bool try_copy(const char *path, const uint8_t *bytes, size_t size, FILE *messages) {
  compilation c;
  MlirModule module;
  if (compilation_create(&c) != STATUS_OK) exit(1);
  c.diagnostics.stream = messages;
  if (file_write(&c.diagnostics, path, bytes, size) != STATUS_OK) exit(1);
  status result = onnx_import(&c, path, NULL, &module);
  bool is_refused = result != STATUS_OK;
  if (is_refused && (c.diagnostics.error_count == 0 || !mlirModuleIsNull(module))) {
    fprintf(stderr, "a copy was refused without a diagnostic\n");
    exit(1);
  }
  if (!is_refused && module_verify(&c, module, LEVELS_FUSED) != STATUS_OK) {
    fprintf(stderr, "a damaged copy was imported to a module that does not verify\n");
    exit(1);
  }
  if (!is_refused) mlirModuleDestroy(module);
  compilation_destroy(&c);
  return is_refused;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  uint64_t seed = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
  diagnostics d = {0};
  FILE *messages = fopen("/dev/null", "w");
  char path[] = "/tmp/pinion-mutate-XXXXXX";
  int descriptor = mkstemp(path);
  if (descriptor < 0 || !messages) return 1;
  close(descriptor);
  for (int m = 3; m < argc; ++m) {
    mapped_file model;
    uint64_t refused = 0;
    if (file_map(&d, argv[m], &model) != STATUS_OK) return 1;
    uint8_t *copy = malloc(model.size);
    for (uint64_t i = 0; i < count; ++i) {
      state = (seed + i) * UINT64_C(0x9e3779b97f4a7c15) + 1;
      memcpy(copy, model.bytes, model.size);
      size_t size = damage(copy, model.size);
      refused += try_copy(path, copy, size, messages);
    }
    printf("%s: %" PRIu64 " damaged copies, %" PRIu64 " refused\n", argv[m], count, refused);
    free(copy);
    file_unmap(&model);
  }
  fclose(messages);
  unlink(path);
  return 0;
}
