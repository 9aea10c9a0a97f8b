/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * weights.bin: every weight buffer of the program, in the layout that the launches read.
 *
 * A buffer whose source is data movement over weights is written straight from the mapped model, several at a time, and
 * the pages of both files are let go behind it, so that gigabytes pass through little memory. What needs arithmetic is
 * evaluated by the reference interpreter, one buffer at a time. Buffers of equal content share one place.
 */
#define _GNU_SOURCE
#include "artifact.h"

#include "weight_pieces.h"

#include "../ir/eval.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct weight_job {
  int buffer;    /* of the program */
  uint64_t slot; /* where its bytes go before equal ones are merged */
  MlirValue value;
  bool direct; /* pieces say it all; else the value is evaluated */
  weight_pieces pieces;
  uint64_t digest; /* of the bytes written; equal ones are then compared */
} weight_job;

typedef struct weights_writer {
  compilation *c;
  const artifact_options *options;
  program *p;
  weight_job *jobs;
  int job_count;
  uint64_t bytes;
  uint8_t *mapped; /* the output, of `bytes` */
  int descriptor;
  atomic_int next;
  atomic_bool out_of_memory;
} weights_writer;

static uint64_t align_up(uint64_t bytes) {
  return (bytes + PINION_BASE_ALIGN - 1) / PINION_BASE_ALIGN * PINION_BASE_ALIGN;
}

/* ---- Planning ---- */

/* Where a dense buffer's elements go, in the value's own shape; false if padding cuts through its dimensions. */
static bool dense_places(const program_buffer *buffer, const tensor_type *value, view *out) {
  const view rows = view_rows(0, &buffer->type, buffer->pitch);
  return view_reshape(&rows, value->rank, value->dims, out);
}

static view dense_view(const tensor_type *type) {
  return view_rows(0, type, type->rank ? type->dims[type->rank - 1] : 1);
}

static status plan_job(weights_writer *w, weight_job *job) {
  const program_buffer *buffer = &w->p->buffers[job->buffer];
  tensor_type type;
  view to;
  if (!value_type(job->value, &type) || type_elements(&type) < (buffer->packed ? 0 : type_elements(&buffer->type)))
    return diagnose(&w->c->diagnostics, STATUS_FAILED, buffer->name, "pinion.buffer",
                    "is not of the size of its result of @weights");
  if (buffer->packed)
    to = dense_view(&type);
  else if (!dense_places(buffer, &type, &to))
    return STATUS_OK; /* not direct */
  return weight_pieces_find(w->c, job->value, &to, &job->pieces, &job->direct);
}

static status plan_jobs(weights_writer *w, MlirModule module) {
  MlirOperation function = module_function(module, "weights");
  w->jobs = arena_alloc(w->c->arena, sizeof *w->jobs * (size_t)(w->p->buffer_count + 1));
  w->bytes = align_up(sizeof(pinion_weights_header));
  for (int i = 0; i < w->p->buffer_count; i++) {
    const program_buffer *buffer = &w->p->buffers[i];
    if (buffer->space != PINION_SPACE_WEIGHTS) continue;
    MlirOperation end = mlirOperationIsNull(function) ? function : block_terminator(function_body(function));
    if (mlirOperationIsNull(end) || buffer->source < 0 || buffer->source >= mlirOperationGetNumOperands(end))
      return diagnose(&w->c->diagnostics, STATUS_BAD_INPUT, buffer->name, "pinion.buffer",
                      "holds a result that @weights does not have");
    weight_job *job = &w->jobs[w->job_count++];
    *job = (weight_job){.buffer = i, .slot = w->bytes, .value = mlirOperationGetOperand(end, (intptr_t)buffer->source)};
    const status result = plan_job(w, job);
    if (result != STATUS_OK) return result;
    w->bytes += align_up((uint64_t)buffer->bytes);
  }
  return STATUS_OK;
}

/* ---- Writing one ---- */

/* Not for security: names candidates for a comparison. FNV-1a over words, in four lanes. */
static uint64_t quick_digest(const uint8_t *data, size_t bytes) {
  const uint64_t prime = UINT64_C(0x100000001b3);
  uint64_t lanes[4] = {UINT64_C(0xcbf29ce484222325), 1, 2, 3};
  size_t i = 0;
  for (; i + 32 <= bytes; i += 32)
    for (int lane = 0; lane < 4; lane++) {
      uint64_t word;
      memcpy(&word, data + i + 8 * (size_t)lane, sizeof word);
      lanes[lane] = (lanes[lane] ^ word) * prime;
      lanes[lane] ^= lanes[lane] >> 29;
    }
  for (; i < bytes; i++) lanes[0] = (lanes[0] ^ data[i]) * prime;
  return lanes[0] ^ lanes[1] * 3 ^ lanes[2] * 5 ^ lanes[3] * 7;
}

static void copy_pieces(weights_writer *w, const weight_job *job, uint8_t *destination) {
  for (size_t i = 0; i < job->pieces.count; i++) {
    const weight_piece *piece = &job->pieces.items[i];
    weight_piece_copy(piece, destination);
    weight_store_release(w->c->weights, piece->data, piece->bytes);
  }
}

/* `where`: offset and strides in `data`, in elements. */
static void pack(weights_writer *w, const weight_job *job, const uint8_t *data, const int64_t where[5]) {
  const program_buffer *buffer = &w->p->buffers[job->buffer];
  const tensor_type *type = &buffer->type;
  pack_request request = {.data = data + where[0] * (int64_t)pinion_dtype_size(type->dtype), .dtype = type->dtype};
  memcpy(request.size, type->dims, sizeof request.size);
  memcpy(request.stride, &where[1], sizeof request.stride);
  w->options->target->pack(&request, w->mapped + job->slot);
}

static bool pack_direct(weights_writer *w, const weight_job *job) {
  const program_buffer *buffer = &w->p->buffers[job->buffer];
  const weight_piece *piece = &job->pieces.items[0];
  int64_t where[5];
  if (job->pieces.count == 1 && weight_piece_matrix(piece, buffer->source_view, buffer->type.dims, where)) {
    pack(w, job, piece->data, where);
    weight_store_release(w->c->weights, piece->data, piece->bytes);
    return true;
  }
  tensor_type type;
  if (!value_type(job->value, &type)) return false;
  uint8_t *dense = malloc((size_t)type_bytes(&type) + 1);
  if (!dense) return false;
  copy_pieces(w, job, dense);
  pack(w, job, dense, buffer->source_view);
  free(dense);
  return true;
}

/* Digests the slot, and lets its pages go: they are the file's. */
static void finish_job(weights_writer *w, weight_job *job) {
  const size_t bytes = (size_t)w->p->buffers[job->buffer].bytes;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  job->digest = quick_digest(w->mapped + job->slot, bytes);
  const uintptr_t first = ((uintptr_t)(w->mapped + job->slot) + page - 1) / page * page;
  const uintptr_t last = (uintptr_t)(w->mapped + job->slot + bytes) / page * page;
  if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}

static void write_direct(weights_writer *w, bool reports) {
  for (;;) {
    const int i = atomic_fetch_add(&w->next, 1);
    if (i >= w->job_count) return;
    weight_job *job = &w->jobs[i];
    if (reports && w->options->progress)
      w->options->progress(w->options->progress_user, "weights", (double)job->slot / (double)w->bytes);
    if (!job->direct) continue;
    if (!w->p->buffers[job->buffer].packed)
      copy_pieces(w, job, w->mapped + job->slot);
    else if (!pack_direct(w, job))
      atomic_store(&w->out_of_memory, true);
    finish_job(w, job);
  }
}

static void *direct_worker(void *user) {
  write_direct(user, false);
  return NULL;
}

/* Through the reference interpreter. */
static status write_evaluated(weights_writer *w, weight_job *job) {
  const program_buffer *buffer = &w->p->buffers[job->buffer];
  eval_tensor tensor;
  if (!eval_constant(w->c, job->value, true, &tensor))
    return diagnose(&w->c->diagnostics, STATUS_FAILED, buffer->name, "pinion.buffer",
                    "its result of @weights cannot be evaluated");
  const size_t bytes = (size_t)type_bytes(&tensor.type);
  uint8_t *dense = malloc(bytes + 1);
  if (dense) {
    const weight_piece piece = {.data = dense,
                                .bytes = bytes,
                                .from = dense_view(&buffer->type),
                                .to = view_rows(0, &buffer->type, buffer->pitch)};
    eval_tensor_to_bytes(&tensor, dense);
    if (buffer->packed)
      pack(w, job, dense, buffer->source_view);
    else
      weight_piece_copy(&piece, w->mapped + job->slot);
    finish_job(w, job);
  }
  eval_free(&tensor);
  free(dense);
  return dense ? STATUS_OK : diagnose(&w->c->diagnostics, STATUS_FAILED, buffer->name, NULL, "no memory");
}

static status write_jobs(weights_writer *w) {
  enum { THREADS_AT_MOST = 8 };
  for (int i = 0; i < w->job_count; i++) {
    const status result = w->jobs[i].direct ? STATUS_OK : write_evaluated(w, &w->jobs[i]);
    if (result != STATUS_OK) return result;
  }
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  const int wanted = cores > THREADS_AT_MOST ? THREADS_AT_MOST : (int)cores - 1;
  pthread_t threads[THREADS_AT_MOST];
  int started = 0;
  while (started < wanted && !pthread_create(&threads[started], NULL, direct_worker, w)) started++;
  write_direct(w, true);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  return atomic_load(&w->out_of_memory) ? diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "no memory")
                                        : STATUS_OK;
}

/* ---- Merging equal ones ---- */

typedef struct content {
  int64_t bytes;
  uint64_t digest;
  int job;
} content;

static int by_content(const void *a, const void *b) {
  const content *x = a, *y = b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
  if (x->digest != y->digest) return x->digest < y->digest ? -1 : 1;
  return x->job - y->job;
}

static bool equal_content(const weights_writer *w, const content *x, const content *y) {
  return x->bytes == y->bytes && x->digest == y->digest &&
         !memcmp(w->mapped + w->jobs[x->job].slot, w->mapped + w->jobs[y->job].slot, (size_t)x->bytes);
}

/* For each job the first one with the same bytes, maybe itself. */
static int *find_equal(const weights_writer *w) {
  content *order = arena_alloc(w->c->arena, sizeof *order * (size_t)(w->job_count + 1));
  int *first = arena_alloc(w->c->arena, sizeof *first * (size_t)(w->job_count + 1));
  for (int i = 0; i < w->job_count; i++) {
    order[i] = (content){w->p->buffers[w->jobs[i].buffer].bytes, w->jobs[i].digest, i};
    first[i] = i;
  }
  qsort(order, (size_t)w->job_count, sizeof *order, by_content);
  for (int i = 1; i < w->job_count; i++)
    for (int j = i - 1; j >= 0 && order[j].bytes == order[i].bytes && order[j].digest == order[i].digest; j--)
      if (equal_content(w, &order[j], &order[i])) first[order[i].job] = first[order[j].job];
  return first;
}

/* Sets every buffer's offset: of the first job with the same bytes. Moves the others down over what is left out. */
static void merge_equal(weights_writer *w) {
  const int *first = find_equal(w);
  uint64_t end = align_up(sizeof(pinion_weights_header));
  for (int i = 0; i < w->job_count; i++) {
    program_buffer *buffer = &w->p->buffers[w->jobs[i].buffer];
    if (first[i] != i) {
      buffer->offset = w->p->buffers[w->jobs[first[i]].buffer].offset;
      continue;
    }
    const uint64_t padded = align_up((uint64_t)buffer->bytes);
    if (end != w->jobs[i].slot) memmove(w->mapped + end, w->mapped + w->jobs[i].slot, padded);
    buffer->offset = (int64_t)end;
    end += padded;
  }
  w->bytes = end;
}

/* ---- The file ---- */

static void write_header(weights_writer *w) {
  pinion_weights_header header = {
      .magic = {'P', 'I', 'N', 'I', 'O', 'N', 'W'}, .abi_version = PINION_ABI_VERSION, .bytes = w->bytes};
  strncpy(header.target, w->options->target->name, sizeof header.target - 1);
  memcpy(w->mapped, &header, sizeof header);
}

/* A few megabytes at a time, letting pages go. */
static void digest_file(weights_writer *w, uint8_t out_digest[32]) {
  enum { CHUNK = 8 << 20 };
  sha256 hash;
  sha256_begin(&hash);
  for (uint64_t at = 0; at < w->bytes; at += CHUNK) {
    const size_t bytes = w->bytes - at < CHUNK ? (size_t)(w->bytes - at) : CHUNK;
    sha256_add(&hash, w->mapped + at, bytes);
    if (bytes == CHUNK) madvise(w->mapped + at, bytes, MADV_DONTNEED);
  }
  sha256_end(&hash, out_digest);
}

static status open_output(weights_writer *w, const char *path) {
  w->descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (w->descriptor < 0 || ftruncate(w->descriptor, (off_t)w->bytes))
    return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", path, strerror(errno));
  /* Room on the disk now: running out of it under a mapping would be a signal. */
  const int refused = posix_fallocate(w->descriptor, 0, (off_t)w->bytes);
  if (refused && refused != EOPNOTSUPP && refused != EINVAL)
    return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", path, strerror(refused));
  w->mapped = mmap(NULL, (size_t)w->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->descriptor, 0);
  if (w->mapped != MAP_FAILED) return STATUS_OK;
  w->mapped = NULL;
  return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot map '%s': %s", path, strerror(errno));
}

static status close_output(weights_writer *w, const char *path, uint64_t mapped_bytes) {
  if (w->mapped) munmap(w->mapped, (size_t)mapped_bytes);
  if (w->descriptor < 0) return STATUS_OK;
  const bool cut = ftruncate(w->descriptor, (off_t)w->bytes) == 0;
  if (close(w->descriptor) || !cut)
    return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", path, strerror(errno));
  return STATUS_OK;
}

status weights_write(compilation *c, MlirModule module, const artifact_options *options, program *p, const char *path,
                     weights_file *out_file) {
  weights_writer w = {.c = c, .options = options, .p = p, .descriptor = -1};
  status result = plan_jobs(&w, module);
  const uint64_t mapped_bytes = w.bytes;
  if (result == STATUS_OK) result = open_output(&w, path);
  if (result == STATUS_OK) result = write_jobs(&w);
  if (result == STATUS_OK) {
    merge_equal(&w);
    write_header(&w);
    digest_file(&w, out_file->digest);
    out_file->bytes = w.bytes;
  }
  const status closed = close_output(&w, path, mapped_bytes);
  return result == STATUS_OK ? closed : result;
}
