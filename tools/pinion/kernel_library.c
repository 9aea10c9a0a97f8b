/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "kernel_library.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATH_CAPACITY 256

/* ---- Building ---- */

const char *kernel_compiler(void) {
  const char *compiler = getenv("CC");
  return compiler && *compiler ? compiler : "cc";
}

static bool write_text(const kernel_library *library, const char *name, const char *data, size_t bytes) {
  char path[2 * PATH_CAPACITY];
  diagnostics d = {0};
  snprintf(path, sizeof path, "%.64s/%s", library->folder, name);
  return file_write(&d, path, data, bytes) == STATUS_OK;
}

static bool write_embedded(const kernel_library *library, const char *name, const char *folder, const char *file) {
  char path[2 * PATH_CAPACITY];
  size_t bytes = 0;
  snprintf(path, sizeof path, "%s/%s", folder, file);
  const char *data = embedded_file(path, &bytes);
  if (!data) fprintf(stderr, "pinion: %s is not embedded\n", path);
  return data && write_text(library, name, data, bytes);
}

bool kernel_library_begin(kernel_library *library, const struct target *target, const char *compiler) {
  *library = (kernel_library){.target = target, .compiler = compiler};
  const char *temporary = getenv("TMPDIR");
  char path[PATH_CAPACITY];
  diagnostics d = {0};
  snprintf(library->folder, sizeof library->folder, "%s/pinion-XXXXXX",
           temporary && strlen(temporary) < 40 ? temporary : "/tmp");
  if (!mkdtemp(library->folder)) {
    perror("pinion: no temporary folder");
    library->folder[0] = '\0';
    return false;
  }
  snprintf(path, sizeof path, "%s/kernels", library->folder);
  if (folder_create(&d, path) != STATUS_OK) return false;
  snprintf(path, sizeof path, "%s/runtime", library->folder);
  if (folder_create(&d, path) != STATUS_OK) return false;
  snprintf(path, sizeof path, "targets/%s", target->name);
  return write_embedded(library, "runtime/abi.h", "runtime", "abi.h") &&
         write_embedded(library, "kernels/prelude.h", path, target->prelude);
}

bool kernel_library_add(kernel_library *library, const kernel_problem *problem, const kernel_choice *choice,
                        const char *name) {
  text source = {0};
  char file[PATH_CAPACITY];
  kernel_instance_source(library->target, problem, choice, name, &source);
  snprintf(file, sizeof file, "kernels/%s.c", name);
  const bool written = write_text(library, file, source.data, source.length);
  text_free(&source);
  library->count++;
  return written;
}

bool kernel_library_build(kernel_library *library) {
  const char *flags = getenv("CFLAGS");
  text command = {0};
  text_append(&command, "cd '%s' && ls kernels/*.c | xargs -P %u -I{} %s -std=gnu11 -fPIC -Wall -Wextra -Werror %s %s",
              library->folder, pinion_core_count(), library->compiler, library->target->kernel_flags,
              flags ? flags : "-march=native");
  text_append(&command, " -c {} -o {}.o && %s -shared -o kernels.so kernels/*.o -lm", library->compiler);
  const bool built = system(command.data) == 0;
  if (!built) fprintf(stderr, "pinion: failed: %s\n", command.data);
  text_free(&command);
  if (!built) return false;
  char path[PATH_CAPACITY];
  snprintf(path, sizeof path, "%s/kernels.so", library->folder);
  library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library->handle) fprintf(stderr, "pinion: %s\n", dlerror());
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
  if (library->folder[0]) folder_remove(library->folder);
}

/* ---- Timing ---- */

typedef struct team_work {
  const kernel_launch *launch;
  char *scratch;
  size_t scratch_stride; /* bytes from one worker's to the next's */
  uint32_t workers;
} team_work;

static void run_blocks(void *user, uint32_t first, uint32_t count, uint32_t worker) {
  const team_work *work = user;
  const kernel_launch *launch = work->launch;
  for (uint32_t index = first; index < first + count; index++) {
    const pinion_cpu_block block = {launch->args, launch->params, index,
                                    launch->grid, work->workers,  work->scratch + worker * work->scratch_stride};
    launch->kernel(&block);
  }
}

static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

bool kernel_measure(pinion_thread_pool *pool, const kernel_launch *launch, double milliseconds,
                    kernel_timing *out_timing) {
  enum { TIMES_AT_MOST = 4096 };
  team_work work = {.launch = launch,
                    .scratch_stride = (launch->scratch_bytes + 4095) / 4096 * 4096,
                    .workers = pinion_thread_pool_size(pool)};
  double *times = malloc(TIMES_AT_MOST * sizeof *times);
  work.scratch = aligned_alloc(4096, work.scratch_stride * pinion_thread_pool_size(pool) + 4096);
  *out_timing = (kernel_timing){0};
  if (times && work.scratch) {
    pinion_thread_pool_acquire(pool);
    pinion_thread_pool_run(pool, run_blocks, &work, launch->grid);
    const double end = microseconds() + milliseconds * 1e3;
    do {
      const double begin = microseconds();
      pinion_thread_pool_run(pool, run_blocks, &work, launch->grid);
      times[out_timing->count++] = microseconds() - begin;
    } while (out_timing->count < TIMES_AT_MOST && microseconds() < end);
    pinion_thread_pool_release(pool);
    qsort(times, (size_t)out_timing->count, sizeof *times, by_value);
    out_timing->best = times[0];
    out_timing->median = times[out_timing->count / 2];
  }
  free(work.scratch);
  free(times);
  return out_timing->count > 0;
}

/* ---- A gemm with nothing around it ---- */

kernel_problem gemm_problem(int64_t m, int64_t n, int64_t k, const pinion_dtype dtypes[3]) {
  kernel_problem problem = {.family = PINION_FAMILY_GEMM, .result_count = 1, .packed_b = true};
  pinion_params *params = &problem.params;
  memcpy(problem.dtypes, dtypes, 3 * sizeof *dtypes);
  params->rank = PINION_GEMM_RANK;
  params->arg_count = 3;
  for (int d = 0; d < PINION_GEMM_RANK; d++) params->size[d] = 1;
  params->size[PINION_GEMM_M] = m;
  params->size[PINION_GEMM_N] = n;
  params->size[PINION_GEMM_K] = k;
  params->stride[0][PINION_GEMM_M] = n;
  params->stride[0][PINION_GEMM_N] = 1;
  params->stride[1][PINION_GEMM_M] = k;
  params->stride[1][PINION_GEMM_K] = 1;
  return problem;
}

/* Numbers that are exact in every float type: -4/8 .. 3/8. */
static void fill(void *data, pinion_dtype dtype, int64_t count) {
  static const uint16_t bf16[8] = {0xbf00, 0xbec0, 0xbe80, 0xbe00, 0, 0x3e00, 0x3e80, 0x3ec0};
  static const uint16_t f16[8] = {0xb800, 0xb600, 0xb400, 0xb000, 0, 0x3000, 0x3400, 0x3600};
  uint32_t state = 1;
  for (int64_t i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    const int eighths = (int)(state >> 29);
    if (dtype == PINION_DTYPE_f32)
      ((float *)data)[i] = (float)(eighths - 4) / 8;
    else if (dtype == PINION_DTYPE_f64)
      ((double *)data)[i] = (eighths - 4) / 8.0;
    else if (dtype == PINION_DTYPE_bf16)
      ((uint16_t *)data)[i] = bf16[eighths];
    else if (dtype == PINION_DTYPE_f16)
      ((uint16_t *)data)[i] = f16[eighths];
    else
      memset((char *)data + i * (int64_t)pinion_dtype_size(dtype), 0, pinion_dtype_size(dtype));
  }
}

bool gemm_allocate(const struct target *target, const kernel_problem *problem, void *out_args[3]) {
  const int64_t *size = problem->params.size;
  const int64_t m = size[PINION_GEMM_M], n = size[PINION_GEMM_N], k = size[PINION_GEMM_K];
  const int64_t packed =
      target->packed_bytes(&size[PINION_GEMM_H], problem->dtypes[2]) / (int64_t)pinion_dtype_size(problem->dtypes[2]);
  const int64_t counts[3] = {m * n, m * k, packed};
  bool good = true;
  for (int i = 0; i < 3; i++) {
    const size_t bytes = (size_t)counts[i] * pinion_dtype_size(problem->dtypes[i]);
    out_args[i] = aligned_alloc(PINION_BASE_ALIGN, (bytes / PINION_BASE_ALIGN + 1) * PINION_BASE_ALIGN);
    good = good && out_args[i];
    if (out_args[i]) fill(out_args[i], problem->dtypes[i], counts[i]);
  }
  if (!good) gemm_free(out_args);
  return good;
}

void gemm_free(void *args[3]) {
  for (int i = 0; i < 3; i++) {
    free(args[i]);
    args[i] = NULL;
  }
}
