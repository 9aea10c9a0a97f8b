/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A stand-in for libcuda.so.1: the symbols of runtime/cuda_driver.h over host memory. It keeps account of every object,
 * executes no kernel, records what would have run, notices misuse, and fails any call on demand.
 */
#ifndef PINION_TESTS_STAND_IN_DRIVER_H
#define PINION_TESTS_STAND_IN_DRIVER_H

#include "runtime/abi.h"
#include "runtime/cuda_driver.h"

#include <stdbool.h>

#define STAND_IN_DECLARE(name, parameters) cuda_result name parameters;
CUDA_SYMBOLS(STAND_IN_DECLARE, STAND_IN_DECLARE)
#undef STAND_IN_DECLARE

/* Of no use to the runtime: a test's second context. */
cuda_result cuCtxCreate_v2(cuda_context *out_context, unsigned flags, cuda_device device);

/* A kernel as it would have run: on its own, or in a graph that was launched. Inside, also a graph's other nodes. */
typedef struct stand_in_launch {
  char kernel[64];
  uint32_t grid[3], block[3], shared_bytes;
  pinion_pointers pointers;
  pinion_params params;
  cuda_tensor_map tensor_map; /* as cuTensorMapEncodeTiled here made it, see there; zeros if the launch had none */
  cuda_stream stream;         /* of the launch or of the graph's launch */
  bool overlaps;              /* with the launch in front of it */
  uint32_t cluster[3];        /* asked for at the launch; zeros if not */
  void *event;                /* not NULL: no launch but the recording of this event; never reported */
  void *copy_to;              /* not NULL: no launch but a copy; never reported */
  const void *copy_from;
  size_t copy_bytes;
} stand_in_launch;

/* The GPU to be: one device of compute capability 9.0 and a driver for CUDA 13.0 after a reset. */
typedef struct stand_in_machine {
  int device_count, capability_major, capability_minor, driver_version;
} stand_in_machine;

/* What the device tells of its memory, bytes. */
#define STAND_IN_MEMORY ((size_t)64 << 30)
/* Kernels whose names begin so are compiled for clusters of two blocks, or take a quarter of a millisecond (all others
   take no time at all). */
#define STAND_IN_CLUSTERED "step"
#define STAND_IN_SLOW "slow"
/* CU_STREAM_PER_THREAD: the default stream of whatever context is current. */
#define STAND_IN_THREADS_STREAM ((void *)2)
/* A kernel of this name, in a graph, leaves another number in its first result than the one named copy. */
#define STAND_IN_WRONG "wrong"

/* Forgets everything; what is still alive is freed. */
void stand_in_reset(void);
void stand_in_set_machine(stand_in_machine machine);

/* The `nth` call from now of `function` (1: the next) does nothing and returns `result`. A sticky result is also what
   every later call on the context returns. NULL: nothing fails. */
void stand_in_fail(const char *function, int nth, cuda_result result);
/* Calls of `function` since the reset; NULL: of all. */
int stand_in_calls(const char *function);

/* Objects that were made and not destroyed: retained contexts, modules, streams, events, graphs, memory. */
int stand_in_live(void);
/* The first misuse since the reset: a dead handle, a copy out of bounds, a call without a context, ..; "" if none. */
const char *stand_in_violation(void);

/* What ran since the reset. */
int stand_in_launch_count(void);
const stand_in_launch *stand_in_launch_at(int index);

#endif
