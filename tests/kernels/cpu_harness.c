/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "cpu_harness.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static bool write_text(const char *folder, const char *name, const char *data, size_t bytes) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  diagnostics d = {0};
  return file_write(&d, path, data, bytes) == STATUS_OK;
}

static bool write_embedded(const char *folder, const char *name, const char *embedded) {
  size_t bytes = 0;
  const char *data = embedded_file(embedded, &bytes);
  if (!data) fprintf(stderr, "%s is not embedded\n", embedded);
  return data && write_text(folder, name, data, bytes);
}

bool kernel_library_begin(kernel_library *library, const char *compiler, const char *flags) {
  *library = (kernel_library){.folder = "/tmp/pinion-kernels-XXXXXX", .compiler = compiler, .flags = flags};
  if (!mkdtemp(library->folder)) return false;
  char path[96];
  diagnostics d = {0};
  snprintf(path, sizeof path, "%s/kernels", library->folder);
  if (folder_create(&d, path) != STATUS_OK) return false;
  snprintf(path, sizeof path, "%s/runtime", library->folder);
  if (folder_create(&d, path) != STATUS_OK) return false;
  return write_embedded(library->folder, "runtime/abi.h", "runtime/abi.h") &&
         write_embedded(library->folder, "kernels/prelude.h", "targets/cpu/prelude.h.in");
}

bool kernel_library_add(kernel_library *library, const kernel_problem *problem, const kernel_choice *choice,
                        const char *name) {
  text source = {0};
  char file[96];
  kernel_instance_source(target_find("cpu"), problem, choice, name, &source);
  snprintf(file, sizeof file, "kernels/%s.c", name);
  const bool written = write_text(library->folder, file, source.data, source.length);
  text_free(&source);
  library->count++;
  return written;
}

bool kernel_library_build(kernel_library *library) {
  char command[640], path[96];
  snprintf(command, sizeof command,
           "cd %s && ls kernels/*.c | xargs -P 2 -I{} %s %s -Wno-missing-prototypes -c {} -o {}.o && %s -shared -o "
           "kernels.so kernels/*.o -lm",
           library->folder, library->compiler, library->flags, library->compiler);
  if (system(command) != 0) {
    fprintf(stderr, "failed: %s\n", command);
    return false;
  }
  snprintf(path, sizeof path, "%s/kernels.so", library->folder);
  library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library->handle) fprintf(stderr, "%s\n", dlerror());
  return library->handle != NULL;
}

pinion_cpu_kernel *kernel_library_find(const kernel_library *library, const char *name) {
  pinion_cpu_kernel *kernel = NULL;
  void *symbol = dlsym(library->handle, name);
  memcpy(&kernel, &symbol, sizeof kernel); /* ISO C has no cast from an object to a function pointer */
  return kernel;
}

void kernel_library_end(kernel_library *library) {
  if (library->handle) dlclose(library->handle);
  folder_remove(library->folder);
}

bool kernel_run(pinion_cpu_kernel *kernel, const pinion_params *params, void *const *args, uint32_t grid,
                size_t scratch_bytes) {
  enum { GUARD = 256 };
  const size_t bytes = (scratch_bytes + 63) / 64 * 64;
  unsigned char *scratch = aligned_alloc(64, bytes + GUARD);
  memset(scratch, 0xff, bytes + GUARD);
  for (uint32_t index = 0; index < grid; index++) {
    const pinion_cpu_block block = {args, params, index, grid, scratch};
    kernel(&block);
  }
  bool intact = true;
  for (size_t i = scratch_bytes; i < bytes + GUARD; i++) intact = intact && scratch[i] == 0xff;
  free(scratch);
  return intact;
}
