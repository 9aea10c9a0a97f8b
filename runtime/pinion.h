/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Pinion's runtime API: load a compiled policy, bind its inputs and outputs, run it.
 *
 *   pinion_model *model;                       // device, kernels, weights: shared
 *   pinion_instance *policy;                   // arena and captured program: one per concurrent call
 *   pinion_model_open(pinion_model_description(), "artifact", NULL, &model);
 *   pinion_instance_create(model, &policy);
 *   pinion_set_input(policy, "state", state, sizeof state);
 *   pinion_run(policy, NULL);
 *   pinion_get_output(policy, "actions", actions, sizeof actions);
 *
 * No function prints, exits or aborts. Each fallible one returns a status; `pinion_last_error` says it in words. After
 * PINION_DEVICE_LOST every call on the model returns it, and a CUDA driver gives the process no new context: it must be
 * started anew. Every other error leaves the handle usable. A model may be used from several threads; an instance from
 * one at a time.
 */
#ifndef PINION_H
#define PINION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "abi.h"

typedef enum pinion_status {
  PINION_OK = 0,
  PINION_INVALID_ARGUMENT, /* a NULL, an unknown name, a wrong size */
  PINION_BAD_ARTIFACT,     /* damaged, truncated, another schema version, or built for another target */
  PINION_NO_DEVICE,        /* no driver, no such device, another compute capability, a driver too old */
  PINION_OUT_OF_MEMORY,
  PINION_NOT_PREPARED, /* a call that needs pinion_prepare first */
  PINION_DEVICE_ERROR, /* the device refused a call; the handle stays usable */
  PINION_DEVICE_LOST,  /* the device's context is poisoned, for the whole process; only close works */
} pinion_status;

typedef struct pinion_model pinion_model;
typedef struct pinion_instance pinion_instance;

typedef struct pinion_options {
  int32_t device_index; /* which GPU; 0 is the first */
  int32_t thread_count; /* cpu: worker threads; 0: PINION_THREADS from the environment, else one per core */
  const char *weights;  /* path of weights.bin; NULL: in the artifact's folder */
  const char *driver;   /* cuda: the driver library; NULL: PINION_CUDA_DRIVER from the environment, else libcuda.so.1 */
} pinion_options;

/* A short name: "ok", "bad artifact", ... */
const char *pinion_status_name(pinion_status status);

/* What went wrong last on this model or its instances, in this thread; "" if nothing. Also after a failed
   pinion_model_open, with model NULL. Borrowed until the next call in this thread. */
const char *pinion_last_error(const pinion_model *model);

/* Opens the device, loads kernels, maps weights. `directory` is the artifact's folder; `options` may be NULL. The
   description is borrowed for the model's life. On failure *out_model is NULL. */
pinion_status pinion_model_open(const pinion_model_desc *description, const char *directory,
                                const pinion_options *options, pinion_model **out_model);
/* Frees the model; its instances must be destroyed before. NULL is allowed. */
void pinion_model_close(pinion_model *model);

pinion_status pinion_instance_create(pinion_model *model, pinion_instance **out_instance);
void pinion_instance_destroy(pinion_instance *instance); /* NULL is allowed */

/* Index of an input or output by name, or -1. */
int32_t pinion_input_index(const pinion_model *model, const char *name);
int32_t pinion_output_index(const pinion_model *model, const char *name);
/* Borrowed descriptions (name, element type, shape, bytes; rows are dense); NULL if the index is out of range. */
const pinion_buffer_desc *pinion_input_description(const pinion_model *model, int32_t index);
const pinion_buffer_desc *pinion_output_description(const pinion_model *model, int32_t index);

/* Uses the caller's device memory (host memory on cpu) for an input or output, in place. Before pinion_prepare; the
   caller keeps it alive until the instance is destroyed. `bytes` must be the description's; the address aligned to its
   element. What is not bound gets memory of the instance's own. */
pinion_status pinion_bind_input(pinion_instance *instance, const char *name, void *address, size_t bytes);
pinion_status pinion_bind_output(pinion_instance *instance, const char *name, void *address, size_t bytes);

/* Host memory that copies are fast from and to: page-locked on a GPU; zeroed. Freed by pinion_host_free, or with the
   model. */
pinion_status pinion_host_allocate(pinion_model *model, size_t bytes, void **out_address);
void pinion_host_free(pinion_model *model, void *address); /* NULL is allowed */

/* Makes the copy of an input from, or of an output to, host memory a part of the captured call: each run reads the
   input there when it begins, or has written the output there when it is done. On a GPU the memory must be page-locked
   (pinion_host_allocate, or the driver's own); on cpu it is used in place. Before pinion_prepare, with the bytes and
   the alignment of pinion_bind_*; the caller keeps it alive until the instance is destroyed. */
pinion_status pinion_attach_input(pinion_instance *instance, const char *name, void *host, size_t bytes);
pinion_status pinion_attach_output(pinion_instance *instance, const char *name, void *host, size_t bytes);

/* Allocates what is left to allocate and captures the launch table once. pinion_run calls it if the caller did not. */
pinion_status pinion_prepare(pinion_instance *instance);

/* Copies an input from, or an output to, host memory. Waits. `bytes` must be the description's. An input may be set
   before pinion_prepare, and binding it afterwards replaces it; an output is there once the instance is prepared. An
   input that is attached is not set: it is written where it was attached. */
pinion_status pinion_set_input(pinion_instance *instance, const char *name, const void *host, size_t bytes);
pinion_status pinion_get_output(pinion_instance *instance, const char *name, void *host, size_t bytes);

/* Replays the captured call on `stream` (CUstream / hipStream_t; NULL: the model's own, and then it waits for the
   result). Allocates nothing. */
pinion_status pinion_run(pinion_instance *instance, void *stream);
/* Waits for everything on `stream`. */
pinion_status pinion_synchronize(pinion_instance *instance, void *stream);

/* For tools. Copies a buffer of the table (any space) to host memory as it is after the last run or launch. */
pinion_status pinion_read_buffer(pinion_instance *instance, uint32_t buffer, void *host, size_t bytes);
/* Runs one launch of the table alone, as step `step` of its stage. */
pinion_status pinion_run_launch(pinion_instance *instance, uint32_t launch, uint32_t step, double *out_microseconds);
/* Runs the call once and times each launch by the device's clock, microseconds: of all steps of all stages, in the
   order of execution. `count` must be how many those are: the sum over stages of launches times repeats. */
pinion_status pinion_time_launches(pinion_instance *instance, uint64_t count, double *out_microseconds);
/* Times `count` replays by the device's clock (GPU events; the monotonic clock on cpu). */
pinion_status pinion_time_replays(pinion_instance *instance, uint32_t count, double *out_microseconds);

/* What the captured call consists of. */
typedef struct pinion_capture_facts {
  uint32_t launches, copies;                 /* kernels; inputs and outputs that are attached */
  int32_t has_edges;                         /* not 0: a graph of which the driver tells the edges */
  uint32_t kernel_edges, programmatic_edges; /* from kernel to kernel; those of them that let the second start early */
} pinion_capture_facts;
pinion_status pinion_describe_capture(pinion_instance *instance, pinion_capture_facts *out_facts);

/* The device, and what opening it took. What a device does not say is "" or 0. */
typedef struct pinion_device_facts {
  char name[128];
  char bus[32];                                                          /* on the PCI bus: "0000:1b:00.0" */
  int32_t driver_version;                                                /* cuda: 13000 for 13.0 */
  int32_t multiprocessors, clock_khz, memory_clock_khz, memory_bus_bits; /* the highest clocks */
  uint64_t memory_bytes, memory_free, memory_free_at_open; /* free: now, and before the first allocation of the model */
  double context_us, kernels_us, weights_us;               /* driver and context, loading kernels, copying weights */
} pinion_device_facts;
pinion_status pinion_describe_device(pinion_model *model, pinion_device_facts *out_facts);

/* The captured call with other kernels in some or all places. */
typedef struct pinion_variant {
  const pinion_launch_desc *launches; /* NULL: the table's; else as many, of which kernel, grid, block,
                                         dynamic_shared_bytes and tensor_map count */
  int32_t is_empty;                   /* not 0: kernels without bodies, otherwise launched in the same way */
} pinion_variant;
/* Replays the call and a variant of it in turn, `count` times each, and times every replay by the device's clock. Only
   on a GPU. */
pinion_status pinion_time_variant(pinion_instance *instance, const pinion_variant *variant, uint32_t count,
                                  double *out_own_microseconds, double *out_variant_microseconds);

#ifdef __cplusplus
}
#endif
#endif
