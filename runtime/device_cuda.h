/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the device_cuda*.c files share. Each call of the device makes its context current and puts back what was. */
#ifndef PINION_DEVICE_CUDA_H
#define PINION_DEVICE_CUDA_H

#include "cuda_driver.h"
#include "description.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* An allocation, of the device's memory or of the host's, page-locked. */
typedef struct cuda_memory {
  struct cuda_memory *next;
  cuda_address address;
  bool on_host;
} cuda_memory;

/* One file of kernels/, loaded. */
typedef struct cuda_blob {
  const char *name; /* borrowed from the description */
  cuda_module module;
} cuda_blob;

struct pinion_device {
  cuda_driver cuda;
  cuda_device ordinal;
  cuda_context context; /* NULL until it is retained */
  cuda_stream stream;   /* the device's own */
  char *directory;      /* the artifact's, owned */
  cuda_blob *blobs;
  uint32_t blob_count;
  cuda_function *functions; /* by kernel */
  cuda_function empty;      /* the kernel without a body; NULL until it is asked for */
  pinion_device_facts facts;
  atomic_bool lost;
  pthread_mutex_t mutex; /* guards `memory`, `blobs` and `empty` */
  cuda_memory *memory;   /* what close must free */
};

struct pinion_program {
  const pinion_model_desc *desc;
  cuda_graph_exec exec;
  pinion_capture_facts facts;
  void **hosts;    /* one per buffer of the table: NULL, or host memory that an input comes from, an output goes to */
  void *buffers[]; /* one address per buffer of the table */
};

/* The status of one driver call: CHECK(device, cuMemFree_v2, "", (address), error). A failure says what `what` is, and
   is remembered if it loses the device. */
#define CHECK(device, call, what, arguments, error)                                                                    \
  pinion_cuda_check(device, (device)->cuda.call arguments, #call, what, error)
pinion_status pinion_cuda_check(pinion_device *device, cuda_result result, const char *call, const char *what,
                                pinion_error *error);

/* Makes the context current; pair it with leave. Refuses a lost device. */
pinion_status pinion_cuda_enter(pinion_device *device, pinion_error *error);
void pinion_cuda_leave(pinion_device *device);

/* In the context: lets a kernel have so much dynamic shared memory. */
pinion_status pinion_cuda_allow_shared(pinion_device *device, cuda_function function, uint32_t bytes, const char *name,
                                       pinion_error *error);
/* In the context: loads device->empty unless it is there. */
pinion_status pinion_cuda_load_empty(pinion_device *device, pinion_error *error);

static inline cuda_stream pinion_cuda_stream(const pinion_device *device, void *stream) {
  return stream ? (cuda_stream)stream : device->stream;
}

static inline cuda_address pinion_cuda_address(const void *pointer) {
  return (cuda_address)(uintptr_t)pointer;
}

/* Of the wall clock, for facts. */
double pinion_cuda_microseconds(void);

/* Members of pinion_device_ops (device.h) that lie in other files than the table. */
#define PINION_CUDA_OPS(X)                                                                                             \
  X(allocate)                                                                                                          \
  X(free_memory)                                                                                                       \
  X(allocate_host)                                                                                                     \
  X(free_host)                                                                                                         \
  X(load_weights)                                                                                                      \
  X(copy_in)                                                                                                           \
  X(copy_out)                                                                                                          \
  X(capture)                                                                                                           \
  X(free_program)                                                                                                      \
  X(describe_capture)                                                                                                  \
  X(replay)                                                                                                            \
  X(synchronize)                                                                                                       \
  X(run_launch)                                                                                                        \
  X(time_launches)                                                                                                     \
  X(time_replays)                                                                                                      \
  X(time_variant)
#define PINION_CUDA_DECLARE(op) __typeof__(*pinion_device_implementation->op) pinion_cuda_##op;
PINION_CUDA_OPS(PINION_CUDA_DECLARE)
#undef PINION_CUDA_DECLARE

#endif
