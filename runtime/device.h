/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What a device can do for the runtime. One implementation per kind of device: device_cpu.c, device_cuda.c,
 * device_hip.c. An artifact is linked with the one it needs and reaches it through `pinion_device_open`.
 *
 * Every call returns a pinion_status and, on failure, leaves a sentence in `error` (never NULL). No call prints,
 * exits or aborts. After PINION_DEVICE_LOST every further call on the device returns it again.
 */
#ifndef PINION_DEVICE_H
#define PINION_DEVICE_H

#include "abi.h"
#include "pinion.h"

typedef struct pinion_device pinion_device;   /* a device and its loaded kernels; shared by instances */
typedef struct pinion_program pinion_program; /* a captured launch table: replayed by run */

typedef struct pinion_error {
  char text[512];
} pinion_error;

typedef struct pinion_device_ops {
  const char *name; /* "cpu", "cuda", "hip" */

  /* Opens device `options->device_index` for `desc`, loading its kernels from `directory`/kernels. Refuses another
     target, compute capability or driver with a reason. */
  pinion_status (*open)(const pinion_model_desc *desc, const char *directory, const pinion_options *options,
                        pinion_device **out_device, pinion_error *error);
  void (*close)(pinion_device *device); /* NULL is allowed */
  pinion_status (*describe)(pinion_device *device, pinion_device_facts *out_facts, pinion_error *error);

  /* Device memory, aligned to PINION_BASE_ALIGN. Freed by free_memory or, at the latest, by close. */
  pinion_status (*allocate)(pinion_device *device, uint64_t bytes, void **out_address, pinion_error *error);
  void (*free_memory)(pinion_device *device, void *address);

  /* Page-locked host memory, zeroed. Freed by free_host or, at the latest, by close. Both NULL where device memory is
     host memory: then `allocate` serves. */
  pinion_status (*allocate_host)(pinion_device *device, uint64_t bytes, void **out_address, pinion_error *error);
  void (*free_host)(pinion_device *device, void *address);

  /* The mapped weights file as device memory: on cpu the mapping itself or a copy in huge pages, a copy on a GPU.
     Borrowed until close. */
  pinion_status (*load_weights)(pinion_device *device, const void *mapped, uint64_t bytes, void **out_address,
                                pinion_error *error);

  /* Copies in the order of `stream` (NULL: the device's own); synchronous from the host's point of view. */
  pinion_status (*copy_in)(pinion_device *device, void *to_device, const void *from_host, uint64_t bytes, void *stream,
                           pinion_error *error);
  pinion_status (*copy_out)(pinion_device *device, void *to_host, const void *from_device, uint64_t bytes, void *stream,
                            pinion_error *error);

  /* Resolves every launch of `desc` against `buffers` (one address per buffer of the table) and captures the whole call
     once. `hosts` has one entry per buffer too, NULL or host memory that the call copies an input from when it begins,
     or an output to when it ends; or `hosts` is NULL. Both are borrowed during the call only. */
  pinion_status (*capture)(pinion_device *device, const pinion_model_desc *desc, void *const *buffers,
                           void *const *hosts, pinion_program **out_program, pinion_error *error);
  void (*free_program)(pinion_device *device, pinion_program *program);
  void (*describe_capture)(const pinion_program *program, pinion_capture_facts *out_facts);

  /* Replays. Allocates nothing. Asynchronous on a GPU: `synchronize` waits. */
  pinion_status (*replay)(pinion_device *device, pinion_program *program, void *stream, pinion_error *error);
  pinion_status (*synchronize)(pinion_device *device, void *stream, pinion_error *error);

  /* Runs one launch of one step alone and waits for it: how `verify` looks inside a program.
     out_microseconds may be NULL. */
  pinion_status (*run_launch)(pinion_device *device, pinion_program *program, uint32_t launch, uint32_t step,
                              double *out_microseconds, pinion_error *error);

  /* Runs the whole call once, each launch after the one before, and times each: microseconds from where the launch
     before it ended into out_microseconds[], in the order of execution, as many as pinion_description_launches says.
     On a GPU the launches are nodes of one graph, as in a replay, with an event behind each. */
  pinion_status (*time_launches)(pinion_device *device, pinion_program *program, double *out_microseconds,
                                 pinion_error *error);

  /* Times `count` replays back to back on the device's own clock; microseconds of each into out_microseconds[count]. */
  pinion_status (*time_replays)(pinion_device *device, pinion_program *program, uint32_t count,
                                double *out_microseconds, pinion_error *error);

  /* Captures a variant beside the program, replays the two in turn, `count` times each, and forgets the variant.
     NULL where there are none. */
  pinion_status (*time_variant)(pinion_device *device, pinion_program *program, const pinion_variant *variant,
                                uint32_t count, double *out_own, double *out_variant, pinion_error *error);
} pinion_device_ops;

/* The one implementation that this artifact was built with. */
extern const pinion_device_ops *const pinion_device_implementation;

#endif
