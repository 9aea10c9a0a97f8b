/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * weights.bin: every weight buffer of the program, in the layout that the launches read.
 *
 * A buffer whose source is data movement over weights is written straight from the mapped model, several at a time, and
 * the pages of both files are let go behind it, so that gigabytes pass through little memory. Other arithmetic is
 * evaluated by the reference interpreter, one buffer at a time, beside that. Buffers of equal content share one place.
 *
 * Packed buffers go through memory that a thread keeps, and are written from there: a first touch of a mapped file's
 * page, or of a large allocation's, costs more than filling it.
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

enum { THREADS_AT_MOST = 8 };

typedef struct weight_job {
  int buffer;    /* of the program */
  uint64_t slot; /* where its bytes go before equal ones are merged */
  MlirValue value;
  size_t dense_bytes; /* of the value, row-major */
  bool direct;        /* pieces say it all; else the value is evaluated */
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
  const char *path;
  atomic_int next;
  atomic_int error; /* errno of the first failure of a thread */
} weights_writer;

/* Memory that a thread keeps from one buffer to the next. */
typedef struct scratch {
  uint8_t *data;
  size_t bytes;
} scratch;

typedef struct worker {
  weights_writer *w;
  pthread_t thread;
  scratch dense, packed;
} worker;

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
  job->dense_bytes = (size_t)type_bytes(&type);
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

static void record_error(weights_writer *w, int error) {
  int none = 0;
  atomic_compare_exchange_strong(&w->error, &none, error);
}

/* What was in it is lost. NULL if there is no memory: recorded. */
static uint8_t *scratch_reserve(weights_writer *w, scratch *s, size_t bytes) {
  if (bytes > s->bytes || !s->data) {
    free(s->data);
    s->data = malloc(bytes + 1);
    s->bytes = s->data ? bytes : 0;
    if (!s->data) record_error(w, ENOMEM);
  }
  return s->data;
}

static void worker_end(worker *own) {
  free(own->dense.data);
  free(own->packed.data);
}

static void write_slot(weights_writer *w, const weight_job *job, const uint8_t *data, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t written = pwrite(w->descriptor, data + done, bytes - done, (off_t)(job->slot + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      record_error(w, written < 0 ? errno : EIO);
      return;
    }
    done += (size_t)written;
  }
}

/* `where`: offset and strides in `data`, in elements. */
static void write_packed(worker *own, weight_job *job, const uint8_t *data, const int64_t where[5]) {
  weights_writer *w = own->w;
  const program_buffer *buffer = &w->p->buffers[job->buffer];
  const tensor_type *type = &buffer->type;
  pack_request request = {.data = data + where[0] * (int64_t)pinion_dtype_size(type->dtype), .dtype = type->dtype};
  memcpy(request.size, type->dims, sizeof request.size);
  memcpy(request.stride, &where[1], sizeof request.stride);
  uint8_t *packed = scratch_reserve(w, &own->packed, (size_t)buffer->bytes);
  if (!packed) return;
  w->options->target->pack(&request, packed);
  job->digest = quick_digest(packed, (size_t)buffer->bytes);
  write_slot(w, job, packed, (size_t)buffer->bytes);
}

static void write_packed_direct(worker *own, weight_job *job) {
  const program_buffer *buffer = &own->w->p->buffers[job->buffer];
  const weight_piece *piece = &job->pieces.items[0];
  int64_t where[5];
  if (job->pieces.count == 1 && weight_piece_matrix(piece, buffer->source_view, buffer->type.dims, where)) {
    write_packed(own, job, piece->data, where);
    weight_store_release(own->w->c->weights, piece->data, piece->bytes);
    return;
  }
  uint8_t *dense = scratch_reserve(own->w, &own->dense, job->dense_bytes);
  if (!dense) return;
  copy_pieces(own->w, job, dense);
  write_packed(own, job, dense, buffer->source_view);
}

/* Digests a slot that was written through the mapping, and lets its pages go: they are the file's. */
static void finish_mapped(weights_writer *w, weight_job *job) {
  const size_t bytes = (size_t)w->p->buffers[job->buffer].bytes;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  job->digest = quick_digest(w->mapped + job->slot, bytes);
  const uintptr_t first = ((uintptr_t)(w->mapped + job->slot) + page - 1) / page * page;
  const uintptr_t last = (uintptr_t)(w->mapped + job->slot + bytes) / page * page;
  if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}

static void write_direct(worker *own, bool reports) {
  weights_writer *w = own->w;
  for (;;) {
    const int i = atomic_fetch_add(&w->next, 1);
    if (i >= w->job_count || atomic_load(&w->error)) return;
    weight_job *job = &w->jobs[i];
    if (reports && w->options->progress)
      w->options->progress(w->options->progress_user, "weights", (double)job->slot / (double)w->bytes);
    if (!job->direct) continue;
    if (w->p->buffers[job->buffer].packed) {
      write_packed_direct(own, job);
    } else {
      copy_pieces(w, job, w->mapped + job->slot);
      finish_mapped(w, job);
    }
  }
}

static void *direct_worker(void *user) {
  write_direct(user, false);
  return NULL;
}

/* Through the reference interpreter. */
static status write_evaluated(worker *own, weight_job *job) {
  weights_writer *w = own->w;
  const program_buffer *buffer = &w->p->buffers[job->buffer];
  eval_tensor tensor;
  if (!eval_constant(w->c, job->value, true, &tensor))
    return diagnose(&w->c->diagnostics, STATUS_FAILED, buffer->name, "pinion.buffer",
                    "its result of @weights cannot be evaluated");
  uint8_t *dense = scratch_reserve(w, &own->dense, job->dense_bytes);
  if (dense) {
    const weight_piece piece = {.data = dense,
                                .bytes = job->dense_bytes,
                                .from = dense_view(&buffer->type),
                                .to = view_rows(0, &buffer->type, buffer->pitch)};
    eval_tensor_to_bytes(&tensor, dense);
    if (buffer->packed) {
      write_packed(own, job, dense, buffer->source_view);
    } else {
      weight_piece_copy(&piece, w->mapped + job->slot);
      finish_mapped(w, job);
    }
  }
  eval_free(&tensor);
  return STATUS_OK;
}

/* As many as there are cores, and as may keep the largest buffer twice. */
static int worker_count(const weights_writer *w) {
  const size_t scratch_at_most = (size_t)2 << 30;
  size_t largest = 1;
  for (int i = 0; i < w->job_count; i++) {
    const program_buffer *buffer = &w->p->buffers[w->jobs[i].buffer];
    const size_t bytes = w->jobs[i].dense_bytes + (size_t)buffer->bytes;
    if (buffer->packed && bytes > largest) largest = bytes;
  }
  const size_t cores = (size_t)sysconf(_SC_NPROCESSORS_ONLN), fitting = scratch_at_most / largest;
  const size_t wanted = w->options->threads ? (size_t)w->options->threads : cores;
  const size_t count = wanted < fitting ? wanted : fitting;
  return count < 1 ? 1 : count > THREADS_AT_MOST ? THREADS_AT_MOST : (int)count;
}

static status write_jobs(weights_writer *w) {
  worker workers[THREADS_AT_MOST] = {{.w = w}};
  status result = STATUS_OK;
  int started = 1; /* this thread is the first */
  for (const int wanted = worker_count(w); started < wanted; started++) {
    workers[started].w = w;
    if (pthread_create(&workers[started].thread, NULL, direct_worker, &workers[started])) break;
  }
  for (int i = 0; i < w->job_count && result == STATUS_OK; i++)
    if (!w->jobs[i].direct) result = write_evaluated(&workers[0], &w->jobs[i]);
  if (result == STATUS_OK)
    write_direct(&workers[0], true);
  else
    record_error(w, ECANCELED); /* to the others: enough */
  for (int i = 1; i < started; i++) pthread_join(workers[i].thread, NULL);
  for (int i = 0; i < started; i++) worker_end(&workers[i]);
  const int error = atomic_load(&w->error);
  if (result != STATUS_OK || !error) return result;
  return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", w->path, strerror(error));
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

static status open_output(weights_writer *w) {
  w->descriptor = open(w->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (w->descriptor < 0 || ftruncate(w->descriptor, (off_t)w->bytes))
    return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", w->path, strerror(errno));
  /* Room on the disk now: running out of it under a mapping would be a signal. */
  const int refused = posix_fallocate(w->descriptor, 0, (off_t)w->bytes);
  if (refused && refused != EOPNOTSUPP && refused != EINVAL)
    return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", w->path, strerror(refused));
  w->mapped = mmap(NULL, (size_t)w->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->descriptor, 0);
  if (w->mapped != MAP_FAILED) return STATUS_OK;
  w->mapped = NULL;
  return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot map '%s': %s", w->path, strerror(errno));
}

static status close_output(weights_writer *w, uint64_t mapped_bytes) {
  if (w->mapped) munmap(w->mapped, (size_t)mapped_bytes);
  if (w->descriptor < 0) return STATUS_OK;
  const bool cut = ftruncate(w->descriptor, (off_t)w->bytes) == 0;
  if (close(w->descriptor) || !cut)
    return diagnose(&w->c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", w->path, strerror(errno));
  return STATUS_OK;
}

status weights_write(compilation *c, MlirModule module, const artifact_options *options, program *p, const char *path,
                     weights_file *out_file) {
  weights_writer w = {.c = c, .options = options, .p = p, .path = path, .descriptor = -1};
  status result = plan_jobs(&w, module);
  const uint64_t mapped_bytes = w.bytes;
  if (result == STATUS_OK) result = open_output(&w);
  if (result == STATUS_OK) result = write_jobs(&w);
  if (result == STATUS_OK) {
    merge_equal(&w);
    write_header(&w);
    digest_file(&w, out_file->digest);
    out_file->bytes = w.bytes;
  }
  const status closed = close_output(&w, mapped_bytes);
  return result == STATUS_OK ? closed : result;
}
