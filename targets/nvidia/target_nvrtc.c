/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr */
#endif
#include "nvrtc.h"

#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The part of nvrtc.h that is used, declared here: building Pinion needs no toolkit. Results are nvrtcResult, 0
 * success. */
typedef struct nvrtc_program_state *nvrtc_program;

/* REQUIRED or OPTIONAL (name, parameters): every symbol that is loaded; all return int but the one that is declared
 * apart. */
#define NVRTC_SYMBOLS(REQUIRED, OPTIONAL)                                                                              \
  REQUIRED(nvrtcCreateProgram, (nvrtc_program * out, const char *source, const char *name, int header_count,           \
                                const char *const *headers, const char *const *include_names))                         \
  REQUIRED(nvrtcDestroyProgram, (nvrtc_program * program))                                                             \
  REQUIRED(nvrtcCompileProgram, (nvrtc_program program, int option_count, const char *const *options))                 \
  REQUIRED(nvrtcGetCUBINSize, (nvrtc_program program, size_t *out_bytes))                                              \
  REQUIRED(nvrtcGetCUBIN, (nvrtc_program program, char *out_cubin))                                                    \
  REQUIRED(nvrtcGetProgramLogSize, (nvrtc_program program, size_t *out_bytes))                                         \
  REQUIRED(nvrtcGetProgramLog, (nvrtc_program program, char *out_log))                                                 \
  OPTIONAL(nvrtcVersion, (int *out_major, int *out_minor))

typedef struct nvrtc_library {
#define MEMBER(name, parameters) int(*name) parameters;
  NVRTC_SYMBOLS(MEMBER, MEMBER)
#undef MEMBER
  const char *(*nvrtcGetErrorString)(int result);
} nvrtc_library;

static nvrtc_library library;
static bool library_loaded;
static char library_problem[1024]; /* why not */
static char library_version[32];
static pthread_once_t library_once = PTHREAD_ONCE_INIT;

/* Looks up every symbol; on failure leaves the first missing one's name in library_problem. */
static bool find_symbols(void *handle, const char *path) {
  const char *missing = NULL;
  void *symbol;
#define OPTIONAL(name, parameters)                                                                                     \
  symbol = dlsym(handle, #name);                                                                                       \
  memcpy(&library.name, &symbol, sizeof symbol);
#define REQUIRED(name, parameters)                                                                                     \
  OPTIONAL(name, parameters)                                                                                           \
  if (!symbol && !missing) missing = #name;
  NVRTC_SYMBOLS(REQUIRED, OPTIONAL)
  REQUIRED(nvrtcGetErrorString, )
#undef REQUIRED
#undef OPTIONAL
  if (missing)
    snprintf(library_problem, sizeof library_problem, "%s has no %s: it is not CUDA 12 or newer", path, missing);
  return !missing;
}

/* NVRTC opens libnvrtc-builtins by its bare name when it compiles; where it lies outside the loader's path (a Python
   package), it is found because it is loaded already. */
static void load_builtins(void) {
  Dl_info info;
  glob_t found;
  char path[4096];
  void *symbol;
  memcpy(&symbol, &library.nvrtcCreateProgram, sizeof symbol);
  if (!dladdr(symbol, &info) || !strrchr(info.dli_fname, '/')) return;
  int folder_length = (int)(strrchr(info.dli_fname, '/') - info.dli_fname);
  snprintf(path, sizeof path, "%.*s/libnvrtc-builtins.so.*", folder_length, info.dli_fname);
  if (glob(path, 0, NULL, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; i++) dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_GLOBAL);
    globfree(&found);
  }
}

static bool try_library(const char *path) {
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) return false;
  if (find_symbols(handle, path)) {
    load_builtins();
    return true;
  }
  dlclose(handle);
  return false;
}

/* Tries FOLDER/PATTERN, which may hold wildcards. */
static bool try_pattern(const char *folder, const char *pattern) {
  char path[4096];
  if (!folder || !*folder || snprintf(path, sizeof path, "%s/%s", folder, pattern) >= (int)sizeof path) return false;
  glob_t found;
  bool loaded = false;
  if (glob(path, 0, NULL, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc && !loaded; i++) loaded = try_library(found.gl_pathv[i]);
    globfree(&found);
  }
  return loaded;
}

/* PINION_NVRTC alone where it is set; else the loader's path, the toolkit, and the Python package that tools/setup.sh
   puts into .venv. */
static bool find_library(void) {
  static const char *const package = "lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so.1[2-9]";
  const char *chosen = getenv("PINION_NVRTC");
  if (chosen && *chosen) {
    if (try_library(chosen)) return true;
    if (!library_problem[0])
      snprintf(library_problem, sizeof library_problem, "PINION_NVRTC names %s, which cannot be loaded", chosen);
    return false;
  }
  if (try_library("libnvrtc.so.13") || try_library("libnvrtc.so")) return true;
  if (try_pattern(getenv("CUDA_HOME"), "lib64/libnvrtc.so") || try_pattern("/usr/local/cuda", "lib64/libnvrtc.so"))
    return true;
  if (try_pattern(getenv("VIRTUAL_ENV"), package) || try_pattern(".venv", package)) return true;
  if (!library_problem[0])
    snprintf(
        library_problem, sizeof library_problem,
        "NVRTC is not installed: libnvrtc.so.13 is neither on the loader's path, nor below CUDA_HOME, nor in the "
        "Python environment; install the CUDA 13 toolkit or the Python package nvidia-cuda-nvrtc, or name the library "
        "in PINION_NVRTC");
  return false;
}

static void load_library(void) {
  library_loaded = find_library();
  int major = 0, minor = 0;
  if (library_loaded && library.nvrtcVersion) library.nvrtcVersion(&major, &minor);
  if (major) snprintf(library_version, sizeof library_version, "NVRTC %d.%d", major, minor);
}

bool nvrtc_available(const char **out_why) {
  pthread_once(&library_once, load_library);
  *out_why = library_loaded ? NULL : library_problem;
  return library_loaded;
}

const char *nvrtc_version(void) {
  pthread_once(&library_once, load_library);
  return library_version;
}

/* ---- The log ---- */

/* Whether `line` ends with or holds `N LABEL` with N other than 0. */
static bool counts_any(const char *line, size_t length, const char *label) {
  size_t label_length = strlen(label);
  for (size_t at = 1; at + label_length <= length; at++)
    if (!memcmp(line + at, label, label_length)) {
      size_t digit = at;
      while (digit > 0 && line[digit - 1] >= '0' && line[digit - 1] <= '9')
        if (line[--digit] != '0') return true;
    }
  return false;
}

/* C7508, and C7510 to C7520: ptxas has serialised wgmma or dropped setmaxnreg. */
static bool warns_of_slow_code(const char *line, size_t length) {
  for (size_t at = 0; at + 6 <= length; at++) {
    if (line[at] != '(' || line[at + 1] != 'C' || line[at + 2] != '7' || line[at + 3] != '5') continue;
    int number = (line[at + 4] - '0') * 10 + line[at + 5] - '0';
    if (number == 8 || (number >= 10 && number <= 20)) return true;
  }
  return false;
}

static bool tells_of_spills(const char *line, size_t length) {
  return counts_any(line, length, " bytes spill stores") || counts_any(line, length, " bytes spill loads");
}

const char *nvrtc_log_complaint(const char *log, bool may_spill, size_t *out_length) {
  while (*log) {
    size_t length = strcspn(log, "\n");
    if ((!may_spill && tells_of_spills(log, length)) || warns_of_slow_code(log, length)) {
      *out_length = length;
      return log;
    }
    log += length + (log[length] == '\n');
  }
  return NULL;
}

int nvrtc_log_spills(const char *log) {
  static const char label[] = " bytes spill ";
  int bytes = 0;
  for (const char *at = log; (at = strstr(at, label)); at += strlen(label)) {
    const char *number = at;
    while (number > log && number[-1] >= '0' && number[-1] <= '9') number--;
    bytes += atoi(number);
  }
  return bytes;
}

/* ---- Compiling ---- */

/* The program's log; owned by the caller (free), NULL if there is none. */
static char *read_log(nvrtc_program program) {
  size_t bytes = 0;
  if (library.nvrtcGetProgramLogSize(program, &bytes) || bytes == 0) return NULL;
  char *log = malloc(bytes + 1);
  if (!log) return NULL;
  log[0] = log[bytes] = '\0';
  library.nvrtcGetProgramLog(program, log);
  return log;
}

static status take_cubin(diagnostics *d, nvrtc_program program, const char *name, kernel_blob *out_blob) {
  size_t bytes = 0;
  int result = library.nvrtcGetCUBINSize(program, &bytes);
  char *data = result || !bytes ? NULL : malloc(bytes);
  if (data) result = library.nvrtcGetCUBIN(program, data);
  if (!data || result) {
    free(data);
    return diagnose(d, STATUS_FAILED, NULL, NULL, "kernel %s: NVRTC gave no cubin (%s)", name,
                    library.nvrtcGetErrorString(result));
  }
  *out_blob = (kernel_blob){.data = data, .bytes = bytes};
  return STATUS_OK;
}

static status compile_program(diagnostics *d, nvrtc_program program, const char *architecture, const char *name,
                              bool may_spill, kernel_blob *out_blob) {
  char option[64];
  snprintf(option, sizeof option, "--gpu-architecture=%s", architecture);
  /* Bodies are plain C functions, so what has no qualifier is for the device. */
  const char *const options[] = {option, "--ptxas-options=-v", "--std=c++17", "--device-as-default-execution-space",
                                 "--diag-suppress=177" /* unused functions: the prelude's */};
  int result = library.nvrtcCompileProgram(program, (int)(sizeof options / sizeof *options), options);
  char *log = read_log(program);
  size_t length = 0;
  const char *complaint = log ? nvrtc_log_complaint(log, may_spill, &length) : NULL;
  status code = STATUS_OK;
  if (result)
    code = diagnose(d, STATUS_FAILED, NULL, NULL, "kernel %s does not compile for %s (%s):\n%s", name, architecture,
                    library.nvrtcGetErrorString(result), log ? log : "");
  else if (complaint)
    code = diagnose(d, STATUS_FAILED, NULL, NULL, "kernel %s would be slow on %s: %.*s\n%s", name, architecture,
                    (int)length, complaint, log);
  if (!code) code = take_cubin(d, program, name, out_blob);
  if (!code && log) out_blob->spilled_bytes = nvrtc_log_spills(log);
  free(log);
  return code;
}

status nvrtc_compile(diagnostics *d, const char *architecture, const char *name, const char *source, bool may_spill,
                     kernel_blob *out_blob) {
  const char *why;
  *out_blob = (kernel_blob){0};
  if (!nvrtc_available(&why)) return diagnose(d, STATUS_FAILED, NULL, NULL, "kernel %s: %s", name, why);
  nvrtc_program program = NULL;
  char file[256];
  snprintf(file, sizeof file, "%s.cu", name);
  int result = library.nvrtcCreateProgram(&program, source, file, 0, NULL, NULL);
  if (result)
    return diagnose(d, STATUS_FAILED, NULL, NULL, "kernel %s: NVRTC cannot start (%s)", name,
                    library.nvrtcGetErrorString(result));
  status code = compile_program(d, program, architecture, name, may_spill, out_blob);
  library.nvrtcDestroyProgram(&program);
  return code;
}
