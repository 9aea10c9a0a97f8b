/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * libFuzzer target of the importer: any bytes as model.onnx. Built with -DPINION_FUZZ=ON (clang):
 *
 *   build-fuzz/tests/fuzz_import -rss_limit_mb=2048 -max_len=65536 corpus/ build-fuzz/tests/fuzz_seeds/
 *
 * tests/frontend/make_seeds.py writes the seeds.
 */
#define _GNU_SOURCE /* memfd_create */
#include "frontend/frontend.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static FILE *messages;
  if (!messages) messages = fopen("/dev/null", "w");
  int descriptor = memfd_create("model.onnx", 0);
  if (descriptor < 0 || !messages || write(descriptor, data, size) != (ssize_t)size) abort();
  compilation c;
  MlirModule module;
  if (compilation_create(&c) != STATUS_OK) abort();
  c.diagnostics.stream = messages;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  status result = onnx_import(&c, path, NULL, &module);
  if (result == STATUS_OK) {
    if (module_verify(&c, module, LEVELS_FUSED) != STATUS_OK) abort();
    mlirModuleDestroy(module);
  } else if (c.diagnostics.error_count == 0) {
    abort();
  }
  compilation_destroy(&c);
  close(descriptor);
  return 0;
}
