/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Writes an artifact: into a temporary folder beside the wanted one, which takes its place when all is there. The same
 * module gives the same bytes: no dates, no absolute paths, everything in a fixed order.
 */
#include "artifact.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files ---- */

static void enter_file(artifact *a, const char *path, uint64_t bytes, const uint8_t digest[32]) {
  a->files = arena_grow(a->c->arena, a->files, a->file_count, &a->file_capacity, sizeof *a->files);
  artifact_file *file = &a->files[a->file_count++];
  *file = (artifact_file){.path = path, .bytes = bytes};
  memcpy(file->digest, digest, sizeof file->digest);
}

status artifact_add(artifact *a, const char *path, const void *data, size_t bytes) {
  uint8_t digest[32];
  sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, data, bytes);
  sha256_end(&hash, digest);
  enter_file(a, path, bytes, digest);
  return file_write(&a->c->diagnostics, path_join(a->c->arena, a->folder, path), data, bytes);
}

static status add_text(artifact *a, const char *path, void (*append)(const artifact *a, text *out)) {
  text content = {0};
  append(a, &content);
  const status result = artifact_add(a, path, content.data, content.length);
  text_free(&content);
  return result;
}

static int by_path(const void *a, const void *b) {
  const artifact_file *x = a, *y = b;
  return strcmp(x->path, y->path);
}

/* ---- What is copied ---- */

static bool begins_with(const char *string, const char *prefix) {
  return !strncmp(string, prefix, strlen(prefix));
}

/* Of the runtime's device files only those of the target's kind of device; what tunes only where there is what. */
static bool wants_runtime_file(const artifact *a, const char *path) {
  static const char device_prefix[] = "runtime/device_";
  if (!begins_with(path, "runtime/")) return false;
  if (begins_with(path, "runtime/tune.")) return a->options->candidates > 0;
  if (!begins_with(path, device_prefix)) return true;
  const char *kind = path + strlen(device_prefix);
  const size_t length = strlen(a->options->target->device);
  return !strncmp(kind, a->options->target->device, length) && (kind[length] == '.' || kind[length] == '_');
}

static status add_runtime(artifact *a) {
  status result = STATUS_OK;
  const char *path;
  for (int i = 0; result == STATUS_OK && (path = embedded_path(i)); i++) {
    if (!wants_runtime_file(a, path)) continue;
    size_t bytes = 0;
    const char *data = embedded_file(path, &bytes);
    result = artifact_add(a, path, data, bytes);
  }
  return result;
}

/* ---- Kernels ---- */

/* Sources that the artifact builds include the prelude, which is kept once. */
static status add_prelude(artifact *a) {
  const struct target *target = a->options->target;
  if (target->compile) return STATUS_OK;
  size_t bytes = 0;
  const char *data = target_file(target, target->prelude, &bytes);
  if (!data)
    return diagnose(&a->c->diagnostics, STATUS_FAILED, NULL, NULL, "target %s has no prelude '%s'", target->name,
                    target->prelude);
  char *name = arena_format(a->c->arena, "kernels/%s", target->prelude);
  const size_t length = strlen(name), suffix = strlen(".in");
  if (length > suffix && !strcmp(name + length - suffix, ".in")) name[length - suffix] = 0;
  return artifact_add(a, name, data, bytes);
}

/* kernels/pn_empty: for measuring, in no table. */
static status add_empty_kernel(artifact *a) {
  const struct target *target = a->options->target;
  if (!target->empty_kernel) return STATUS_OK;
  size_t abi_bytes = 0, bytes = 0;
  const char *abi = embedded_file("runtime/abi.h", &abi_bytes);
  const char *kernel = target_file(target, target->empty_kernel, &bytes);
  kernel_blob blob = {0};
  text source = {0};
  if (abi) text_append_bytes(&source, abi, abi_bytes);
  if (kernel) text_append_bytes(&source, kernel, bytes);
  status result = target->compile(&a->c->diagnostics, "pn_empty", source.data, &blob);
  if (result == STATUS_OK)
    result = artifact_add(a, arena_format(a->c->arena, "kernels/pn_empty%s", target->source_suffix), source.data,
                          source.length);
  if (result == STATUS_OK)
    result =
        artifact_add(a, arena_format(a->c->arena, "kernels/pn_empty%s", target->blob_suffix), blob.data, blob.bytes);
  free(blob.data);
  text_free(&source);
  return result;
}

static status add_kernels(artifact *a) {
  const struct target *target = a->options->target;
  status result = add_prelude(a);
  if (result == STATUS_OK) result = add_empty_kernel(a);
  for (int i = 0; i < a->kernels.instance_count && result == STATUS_OK; i++) {
    const kernel_instance *kernel = &a->kernels.instances[i];
    const char *source = arena_format(a->c->arena, "kernels/%s%s", kernel->name, target->source_suffix);
    result = artifact_add(a, source, kernel->source, kernel->source_bytes);
    if (result != STATUS_OK || !kernel->blob.data) continue;
    const char *blob = arena_format(a->c->arena, "kernels/%s%s", kernel->name, target->blob_suffix);
    result = artifact_add(a, blob, kernel->blob.data, kernel->blob.bytes);
  }
  return result;
}

/* ---- The whole ---- */

static status add_weights(artifact *a, MlirModule module) {
  const char *path = path_join(a->c->arena, a->folder, "weights.bin");
  const status result = weights_write(a->c, module, a->options, &a->program, path, &a->weights);
  if (result == STATUS_OK) enter_file(a, "weights.bin", a->weights.bytes, a->weights.digest);
  return result;
}

static status fill_folder(artifact *a, MlirModule module) {
  status result = add_weights(a, module);
  if (result == STATUS_OK) result = add_runtime(a);
  if (result == STATUS_OK) result = add_kernels(a);
  if (result == STATUS_OK) result = add_text(a, "model.c", model_source);
  if (result == STATUS_OK) result = add_text(a, "model.h", model_header);
  if (result == STATUS_OK && a->options->candidates) result = add_text(a, "candidates.c", model_candidates);
  qsort(a->files, a->file_count, sizeof *a->files, by_path);
  if (result == STATUS_OK) result = add_text(a, "Makefile", model_makefile);
  if (result == STATUS_OK) result = add_text(a, "CMakeLists.txt", model_cmake);
  qsort(a->files, a->file_count, sizeof *a->files, by_path);
  if (result == STATUS_OK) result = add_text(a, "manifest.json", model_manifest);
  return result;
}

static status create_folders(artifact *a) {
  static const char *const below[] = {"runtime", "kernels"};
  status result = folder_create(&a->c->diagnostics, a->folder);
  for (size_t i = 0; i < sizeof below / sizeof below[0] && result == STATUS_OK; i++)
    result = folder_create(&a->c->diagnostics, path_join(a->c->arena, a->folder, below[i]));
  return result;
}

/* Nothing, an empty folder or an artifact may be replaced; anything else is not ours to remove. */
static status check_replaceable(compilation *c, const char *folder) {
  struct stat info;
  if (stat(folder, &info)) return STATUS_OK;
  if (!S_ISDIR(info.st_mode))
    return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "'%s' exists and is no folder", folder);
  if (file_exists(path_join(c->arena, folder, "manifest.json"))) return STATUS_OK;
  DIR *stream = opendir(folder);
  bool empty = stream != NULL;
  for (struct dirent *entry; stream && (entry = readdir(stream));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = false;
  if (stream) closedir(stream);
  return empty ? STATUS_OK
               : diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL,
                          "'%s' holds files that are no artifact; name another folder, or remove it", folder);
}

static status take_place(artifact *a) {
  const char *folder = a->options->folder;
  folder_remove(folder);
  if (!rename(a->folder, folder)) return STATUS_OK;
  return diagnose(&a->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot make '%s': %s", folder, strerror(errno));
}

/* Without slashes at the end: the temporary folder is its sibling. */
static const char *temporary_folder(arena *scratch, const char *folder) {
  char *name = arena_string(scratch, folder, strlen(folder));
  for (size_t length = strlen(name); length > 1 && name[length - 1] == '/'; length--) name[length - 1] = 0;
  return arena_format(scratch, "%s.tmp-%ld", name, (long)getpid());
}

static status check_planned(compilation *c, const program *p) {
  if (p->arena_bytes >= 0) return STATUS_OK;
  return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "the module's memory is not planned; run plan-memory");
}

static void report(const artifact_options *options, const char *what) {
  if (options->progress) options->progress(options->progress_user, what, 0);
}

status artifact_write(compilation *c, MlirModule module, const artifact_options *options) {
  artifact a = {.c = c, .options = options, .folder = temporary_folder(c->arena, options->folder)};
  tuning tuned;
  status result = check_replaceable(c, options->folder);
  if (result == STATUS_OK) result = program_read(c, module, &a.program);
  if (result == STATUS_OK) result = check_planned(c, &a.program);
  if (result == STATUS_OK) nodes_read(c, module, &a.program, &a.nodes);
  if (result == STATUS_OK) result = tuning_read(c, options->target, options->tuning_file, &tuned);
  report(options, "kernels");
  if (result == STATUS_OK)
    result = kernels_choose(c, &a.program, options->target, &tuned, options->candidates, &a.kernels);
  if (result == STATUS_OK) result = kernels_compile(c, options->target, &a.kernels);
  if (result == STATUS_OK) result = create_folders(&a);
  if (result == STATUS_OK) result = fill_folder(&a, module);
  if (result == STATUS_OK) result = take_place(&a);
  if (result != STATUS_OK) folder_remove(a.folder);
  kernels_free(&a.kernels);
  return result;
}
