/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "artifact.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_CAPACITY 4096

extern char **environ;

/* ---- Building ---- */

static bool is_source(const char *name) {
  const char *dot = strrchr(name, '.');
  return !strcmp(name, "Makefile") || (dot && (!strcmp(dot, ".c") || !strcmp(dot, ".h")));
}

static bool newer(const struct stat *a, const struct stat *b) {
  if (a->st_mtim.tv_sec != b->st_mtim.tv_sec) return a->st_mtim.tv_sec > b->st_mtim.tv_sec;
  return a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

/* Whether a source directly in `folder`/`below` changed after the library was built. */
static bool has_newer_source(const char *folder, const char *below, const struct stat *library) {
  char path[PATH_CAPACITY];
  snprintf(path, sizeof path, "%s/%s", folder, below);
  DIR *directory = opendir(path);
  bool found = false;
  for (struct dirent *entry; directory && !found && (entry = readdir(directory));) {
    struct stat info;
    found =
        is_source(entry->d_name) && fstatat(dirfd(directory), entry->d_name, &info, 0) == 0 && newer(&info, library);
  }
  if (directory) closedir(directory);
  return found;
}

static bool needs_build(const char *folder, const char *library_path) {
  struct stat library;
  return stat(library_path, &library) != 0 || has_newer_source(folder, ".", &library) ||
         has_newer_source(folder, "runtime", &library) || has_newer_source(folder, "kernels", &library);
}

/* Runs make with its output in `log`. Returns its exit status, -1 if there is no make. */
static int run_make(const char *folder, FILE *log) {
  char jobs[32];
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  snprintf(jobs, sizeof jobs, "-j%ld", cores > 0 ? cores : 1);
  char *const arguments[] = {"make", "-C", (char *)(uintptr_t)folder, jobs, "libmodel.so", NULL};
  posix_spawn_file_actions_t actions;
  pid_t child;
  int wait_status = 0;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fileno(log), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(log), STDERR_FILENO);
  int failed = posix_spawnp(&child, "make", &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return -1;
  while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1;
}

static void copy_log(FILE *log, FILE *to) {
  char line[1024];
  rewind(log);
  while (fgets(line, sizeof line, log)) fputs(line, to);
}

static status build_library(diagnostics *d, const char *folder) {
  FILE *log = tmpfile();
  if (!log) return diagnose(d, STATUS_FAILED, NULL, NULL, "cannot make a temporary file: %s", strerror(errno));
  if (isatty(STDERR_FILENO)) fprintf(stderr, "building %s/libmodel.so ...\n", folder);
  int made = run_make(folder, log);
  if (made > 0) copy_log(log, d->stream ? d->stream : stderr);
  fclose(log);
  if (made < 0)
    return diagnose(d, STATUS_FAILED, NULL, NULL,
                    "cannot run make to build '%s/libmodel.so'; install make, or build it there", folder);
  return made ? diagnose(d, STATUS_FAILED, NULL, NULL, "'%s/libmodel.so' does not build", folder) : STATUS_OK;
}

/* ---- Loading ---- */

static status load_symbols(diagnostics *d, const char *path, artifact *a) {
  const pinion_model_desc *(*description)(void);
  const char *missing = NULL;
  *(void **)&description = dlsym(a->library, "pinion_model_description");
  if (!description) missing = "pinion_model_description";
#define LOAD(name)                                                                                                     \
  *(void **)&a->api.name = dlsym(a->library, "pinion_" #name);                                                         \
  if (!a->api.name) missing = "pinion_" #name;
  PINION_API_FUNCTIONS(LOAD)
#undef LOAD
  if (missing)
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' has no symbol '%s': it is no artifact's library", path,
                    missing);
  a->desc = description();
  if (!a->desc || a->desc->abi_version != PINION_ABI_VERSION)
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL,
                    "'%s' has schema version %u, this pinion reads version %d; compile the model again", path,
                    a->desc ? a->desc->abi_version : 0, PINION_ABI_VERSION);
  return STATUS_OK;
}

status artifact_load(diagnostics *d, const char *folder, artifact *out_artifact) {
  char path[PATH_CAPACITY], model[PATH_CAPACITY], absolute[PATH_CAPACITY];
  *out_artifact = (artifact){.folder = folder};
  if (strlen(folder) + 32 > PATH_CAPACITY)
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "the artifact's path is too long");
  snprintf(path, sizeof path, "%s/libmodel.so", folder);
  snprintf(model, sizeof model, "%s/model.c", folder);
  bool has_sources = file_exists(model);
  if (!has_sources && !file_exists(path))
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' is no artifact: it has neither model.c nor libmodel.so",
                    folder);
  if (has_sources && needs_build(folder, path)) {
    status result = build_library(d, folder);
    if (result) return result;
  }
  if (!realpath(path, absolute)) return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s': %s", path, strerror(errno));
  out_artifact->library = dlopen(absolute, RTLD_NOW | RTLD_LOCAL);
  if (!out_artifact->library) return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "cannot load '%s': %s", path, dlerror());
  return load_symbols(d, path, out_artifact);
}

/* ---- Opening ---- */

status artifact_check(diagnostics *d, const artifact *a, pinion_status s) {
  status code = s == PINION_OK             ? STATUS_OK
                : s == PINION_NO_DEVICE    ? STATUS_NO_DEVICE
                : s == PINION_BAD_ARTIFACT ? STATUS_BAD_INPUT
                                           : STATUS_FAILED;
  if (code == STATUS_OK) return STATUS_OK;
  return diagnose(d, code, NULL, NULL, "%s: %s", a->api.status_name(s), a->api.last_error(a->model));
}

/* Beyond 32 bits is as absurd as the greatest of them, and the runtime says so. */
static int32_t narrow(int64_t value) {
  return value < INT32_MAX ? (int32_t)value : INT32_MAX;
}

pinion_options artifact_options(const artifact_flags *flags) {
  return (pinion_options){.device_index = narrow(flags->device),
                          .thread_count = narrow(flags->threads),
                          .weights = flags->weights,
                          .driver = flags->driver};
}

status artifact_open(diagnostics *d, artifact *a, const pinion_options *options) {
  status result = artifact_check(d, a, a->api.model_open(a->desc, a->folder, options, &a->model));
  return result ? result : artifact_check(d, a, a->api.instance_create(a->model, &a->instance));
}

void artifact_close(artifact *a) {
  if (a->instance) a->api.instance_destroy(a->instance);
  if (a->model) a->api.model_close(a->model);
  if (a->library) dlclose(a->library);
  *a = (artifact){0};
}

static void print_threads(const pinion_options *options, FILE *stream) {
  const char *environment = getenv("PINION_THREADS");
  if (options->thread_count)
    fprintf(stream, ", %d thread%s", options->thread_count, options->thread_count == 1 ? "" : "s");
  else if (environment && *environment)
    fprintf(stream, ", %s threads (PINION_THREADS)", environment);
  else
    fprintf(stream, ", one thread per core");
}

void artifact_print_conditions(const artifact *a, const pinion_options *options, FILE *stream) {
  pinion_device_facts facts = {.name = ""};
  fprintf(stream, "model '%s' for %s", a->desc->name, a->desc->target);
  if (!strcmp(a->desc->device, "cpu"))
    print_threads(options, stream);
  else
    fprintf(stream, ", device %d", options->device_index);
  if (a->model && !a->api.describe_device(a->model, &facts) && *facts.name) fprintf(stream, ": %s", facts.name);
  if (*facts.bus) fprintf(stream, " at %s", facts.bus);
  if (facts.driver_version)
    fprintf(stream, ", driver for CUDA %d.%d", facts.driver_version / 1000, facts.driver_version % 1000 / 10);
  fprintf(stream, "\n");
}

status artifact_print_capture(diagnostics *d, const artifact *a) {
  pinion_capture_facts facts;
  const status result = artifact_check(d, a, a->api.describe_capture(a->instance, &facts));
  if (result) return result;
  printf("captured: %u launches, %u copies", facts.launches, facts.copies);
  if (facts.has_edges)
    printf("; %u of %u edges between kernels are programmatic", facts.programmatic_edges, facts.kernel_edges);
  printf("\n");
  return STATUS_OK;
}
