/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Memory of an NVIDIA GPU, the weights' way there, and copies. */
#include "device_cuda.h"
#include "thread_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGING_BYTES ((size_t)16 << 20)  /* of each of two pinned buffers that weights go through */
#define STAGING_BLOCK ((size_t)256 << 10) /* what a thread copies into one at a time */
#define STAGING_THREADS 8                 /* at most; one alone is slower than the way to the GPU */

/* ---- Allocations ---- */

static pinion_status allocate_entered(pinion_device *device, uint64_t bytes, bool on_host, cuda_address *out_address,
                                      pinion_error *error) {
  char what[64];
  void *host = NULL;
  const size_t size = (size_t)(bytes ? bytes : 1);
  snprintf(what, sizeof what, "%llu bytes%s", (unsigned long long)bytes, on_host ? " of the host" : "");
  cuda_memory *memory = malloc(sizeof *memory);
  if (!memory) return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for an allocation");
  pinion_status status = on_host ? CHECK(device, cuMemAllocHost_v2, what, (&host, size), error)
                                 : CHECK(device, cuMemAlloc_v2, what, (out_address, size), error);
  if (status) {
    free(memory);
    return status;
  }
  if (on_host) *out_address = pinion_cuda_address(host);
  memory->address = *out_address;
  memory->on_host = on_host;
  pthread_mutex_lock(&device->mutex);
  memory->next = device->memory;
  device->memory = memory;
  pthread_mutex_unlock(&device->mutex);
  return PINION_OK;
}

static void free_entered(pinion_device *device, cuda_address address) {
  cuda_memory *found = NULL;
  pthread_mutex_lock(&device->mutex);
  for (cuda_memory **link = &device->memory; *link; link = &(*link)->next)
    if ((*link)->address == address) {
      found = *link;
      *link = found->next;
      break;
    }
  pthread_mutex_unlock(&device->mutex);
  if (found && found->on_host) device->cuda.cuMemFreeHost((void *)(uintptr_t)address);
  if (found && !found->on_host) device->cuda.cuMemFree_v2(address);
  free(found);
}

void pinion_cuda_free_memory(pinion_device *device, void *address) {
  pinion_error ignored;
  if (!address || pinion_cuda_enter(device, &ignored)) return; /* a lost context frees it when it is released */
  free_entered(device, pinion_cuda_address(address));
  pinion_cuda_leave(device);
}

void pinion_cuda_free_host(pinion_device *device, void *address) {
  pinion_cuda_free_memory(device, address);
}

pinion_status pinion_cuda_allocate_host(pinion_device *device, uint64_t bytes, void **out_address,
                                        pinion_error *error) {
  cuda_address address = 0;
  *out_address = NULL;
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = allocate_entered(device, bytes, true, &address, error);
  if (!status) *out_address = memset((void *)(uintptr_t)address, 0, (size_t)bytes);
  pinion_cuda_leave(device);
  return status;
}

/* Zeroed, so that padding holds no stray NaN. */
pinion_status pinion_cuda_allocate(pinion_device *device, uint64_t bytes, void **out_address, pinion_error *error) {
  cuda_address address = 0;
  *out_address = NULL;
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = allocate_entered(device, bytes, false, &address, error);
  if (!status) {
    status = CHECK(device, cuMemsetD8Async, "new memory", (address, 0, (size_t)bytes, device->stream), error);
    if (!status) status = CHECK(device, cuStreamSynchronize, "new memory", (device->stream), error);
    if (status)
      free_entered(device, address);
    else
      *out_address = (void *)(uintptr_t)address;
  }
  pinion_cuda_leave(device);
  return status;
}

/* ---- Weights ---- */

/* Two pinned buffers: one is filled from the file's pages while the other is on its way. */
typedef struct staging {
  uint8_t *buffer[2];
  cuda_event sent[2];
  pinion_thread_pool *pool; /* that fills them; NULL: the caller does */
} staging;

static void staging_destroy(pinion_device *device, staging *s) {
  for (int i = 0; i < 2; i++) {
    if (s->sent[i]) device->cuda.cuEventDestroy_v2(s->sent[i]);
    if (s->buffer[i]) device->cuda.cuMemFreeHost(s->buffer[i]);
  }
  pinion_thread_pool_destroy(s->pool);
}

static pinion_status staging_create(pinion_device *device, staging *out_staging, pinion_error *error) {
  pinion_status status = PINION_OK;
  void *buffer;
  *out_staging = (staging){{NULL, NULL}, {NULL, NULL}, NULL};
  for (int i = 0; i < 2 && !status; i++) {
    status = CHECK(device, cuMemAllocHost_v2, "weights", (&buffer, STAGING_BYTES), error);
    if (!status) out_staging->buffer[i] = buffer;
    if (!status)
      status = CHECK(device, cuEventCreate, "weights", (&out_staging->sent[i], CUDA_EVENT_DISABLE_TIMING), error);
    if (status) out_staging->sent[i] = NULL;
  }
  if (status) staging_destroy(device, out_staging);
  return status;
}

typedef struct chunk_copy {
  uint8_t *to;
  const uint8_t *from;
  size_t bytes;
} chunk_copy;

static void copy_blocks(void *user, uint32_t first, uint32_t count, uint32_t worker) {
  const chunk_copy *copy = user;
  const size_t begin = first * STAGING_BLOCK, end = begin + count * STAGING_BLOCK;
  (void)worker;
  memcpy(copy->to + begin, copy->from + begin, (end < copy->bytes ? end : copy->bytes) - begin);
}

static void fill_buffer(const staging *s, int slot, const uint8_t *from, size_t bytes) {
  chunk_copy copy = {s->buffer[slot], from, bytes};
  const uint32_t blocks = (uint32_t)((bytes + STAGING_BLOCK - 1) / STAGING_BLOCK);
  if (!s->pool) {
    copy_blocks(&copy, 0, blocks, 0);
    return;
  }
  pinion_thread_pool_acquire(s->pool);
  pinion_thread_pool_run(s->pool, copy_blocks, &copy, blocks);
  pinion_thread_pool_release(s->pool);
}

static pinion_status send_chunk(pinion_device *device, staging *s, int slot, cuda_address to, const uint8_t *from,
                                size_t bytes, pinion_error *error) {
  fill_buffer(s, slot, from, bytes);
  pinion_status status =
      CHECK(device, cuMemcpyHtoDAsync_v2, "weights", (to, s->buffer[slot], bytes, device->stream), error);
  if (!status) status = CHECK(device, cuEventRecord, "weights", (s->sent[slot], device->stream), error);
  return status;
}

static pinion_status send_staged(pinion_device *device, staging *s, cuda_address to, const uint8_t *from,
                                 uint64_t bytes, pinion_error *error) {
  const uint32_t cores = pinion_core_count();
  pinion_status status = PINION_OK;
  int chunk = 0;
  if (bytes > STAGING_BYTES) s->pool = pinion_thread_pool_create(cores < STAGING_THREADS ? cores : STAGING_THREADS);
  for (uint64_t done = 0; done < bytes && !status; done += STAGING_BYTES, chunk++) {
    size_t now = bytes - done < STAGING_BYTES ? (size_t)(bytes - done) : STAGING_BYTES;
    if (chunk >= 2) status = CHECK(device, cuEventSynchronize, "weights", (s->sent[chunk % 2]), error);
    if (!status) status = send_chunk(device, s, chunk % 2, to + done, from + done, now, error);
  }
  /* Also after a failure: the buffers must not be freed while a copy reads them. */
  pinion_error ignored;
  pinion_status waited = CHECK(device, cuStreamSynchronize, "weights", (device->stream), status ? &ignored : error);
  return status ? status : waited;
}

/* Where no memory can be pinned, straight from the mapping. */
static pinion_status send_plain(pinion_device *device, cuda_address to, const void *from, uint64_t bytes,
                                pinion_error *error) {
  pinion_status status =
      CHECK(device, cuMemcpyHtoDAsync_v2, "weights", (to, from, (size_t)bytes, device->stream), error);
  return status ? status : CHECK(device, cuStreamSynchronize, "weights", (device->stream), error);
}

pinion_status pinion_cuda_load_weights(pinion_device *device, const void *mapped, uint64_t bytes, void **out_address,
                                       pinion_error *error) {
  cuda_address address = 0;
  staging s;
  const double start = pinion_cuda_microseconds();
  *out_address = NULL;
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = allocate_entered(device, bytes, false, &address, error);
  if (!status) {
    status = staging_create(device, &s, error);
    if (!status) {
      status = send_staged(device, &s, address, mapped, bytes, error);
      staging_destroy(device, &s);
    } else if (status != PINION_DEVICE_LOST) {
      status = send_plain(device, address, mapped, bytes, error);
    }
    if (status)
      free_entered(device, address);
    else
      *out_address = (void *)(uintptr_t)address;
  }
  device->facts.weights_us = pinion_cuda_microseconds() - start;
  pinion_cuda_leave(device);
  return status;
}

/* ---- Copies ---- */

pinion_status pinion_cuda_copy_in(pinion_device *device, void *to_device, const void *from_host, uint64_t bytes,
                                  void *stream, pinion_error *error) {
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  if (bytes)
    status =
        CHECK(device, cuMemcpyHtoDAsync_v2, "an input",
              (pinion_cuda_address(to_device), from_host, (size_t)bytes, pinion_cuda_stream(device, stream)), error);
  if (!status) status = CHECK(device, cuStreamSynchronize, "an input", (pinion_cuda_stream(device, stream)), error);
  pinion_cuda_leave(device);
  return status;
}

pinion_status pinion_cuda_copy_out(pinion_device *device, void *to_host, const void *from_device, uint64_t bytes,
                                   void *stream, pinion_error *error) {
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  if (bytes)
    status =
        CHECK(device, cuMemcpyDtoHAsync_v2, "an output",
              (to_host, pinion_cuda_address(from_device), (size_t)bytes, pinion_cuda_stream(device, stream)), error);
  if (!status) status = CHECK(device, cuStreamSynchronize, "an output", (pinion_cuda_stream(device, stream)), error);
  pinion_cuda_leave(device);
  return status;
}
