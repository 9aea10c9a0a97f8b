/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * An NVIDIA GPU as a device, through the CUDA driver API: the layer under the CUDA runtime, so that streams and device
 * pointers of a program that uses the runtime pass straight in (both live in the primary context).
 *
 * Capture launches every step of every stage once into a stream that records, and keeps the graph; a replay is one
 * cuGraphLaunch. Kernels take (pinion_pointers, pinion_params) by value. Each call makes the context current and puts
 * back what was.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* getenv and dlopen under -std=c11 */
#endif
#include "cuda_driver.h"
#include "description.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGING_BYTES ((size_t)16 << 20) /* of each of two pinned buffers that weights go through */
#define PLAIN_SHARED_BYTES 49152         /* a kernel must ask for more dynamic shared memory than this */

typedef struct cuda_memory {
  struct cuda_memory *next;
  cuda_address address;
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
  cuda_blob *blobs;
  uint32_t blob_count;
  cuda_function *functions; /* by kernel */
  atomic_bool lost;
  pthread_mutex_t mutex; /* guards `memory` */
  cuda_memory *memory;   /* what close must free */
};

struct pinion_program {
  const pinion_model_desc *desc;
  cuda_graph_exec exec;
  void *buffers[]; /* one address per buffer of the table */
};

/* ---- Errors ---- */

/* After these the context answers nothing else. */
static bool is_sticky(cuda_result result) {
  switch (result) {
  case CUDA_DEINITIALIZED:
  case CUDA_ECC_UNCORRECTABLE:
  case CUDA_NVLINK_UNCORRECTABLE:
  case CUDA_CONTAINED:
  case CUDA_ILLEGAL_ADDRESS:
  case CUDA_LAUNCH_TIMEOUT:
  case CUDA_CONTEXT_IS_DESTROYED:
  case CUDA_ASSERT:
  case CUDA_HARDWARE_STACK_ERROR:
  case CUDA_ILLEGAL_INSTRUCTION:
  case CUDA_MISALIGNED_ADDRESS:
  case CUDA_INVALID_ADDRESS_SPACE:
  case CUDA_INVALID_PC:
  case CUDA_LAUNCH_FAILED: return true;
  default: return false;
  }
}

static pinion_status status_of(cuda_result result) {
  switch (result) {
  case CUDA_OUT_OF_MEMORY: return PINION_OUT_OF_MEMORY;
  case CUDA_NO_DEVICE:
  case CUDA_INVALID_DEVICE: return PINION_NO_DEVICE;
  case CUDA_INVALID_IMAGE:
  case CUDA_NO_BINARY_FOR_GPU:
  case CUDA_INVALID_PTX:
  case CUDA_UNSUPPORTED_PTX_VERSION:
  case CUDA_INVALID_SOURCE:
  case CUDA_NOT_FOUND: return PINION_BAD_ARTIFACT;
  default: return is_sticky(result) ? PINION_DEVICE_LOST : PINION_DEVICE_ERROR;
  }
}

/* Says that `call` failed, and on what; remembers a lost device. */
static pinion_status call_failed(pinion_device *device, cuda_result result, const char *call, const char *what,
                                 pinion_error *error) {
  const char *name = NULL, *sentence = NULL;
  pinion_status status = status_of(result);
  if (device->cuda.cuGetErrorName) device->cuda.cuGetErrorName(result, &name);
  if (device->cuda.cuGetErrorString) device->cuda.cuGetErrorString(result, &sentence);
  if (status == PINION_DEVICE_LOST) atomic_store(&device->lost, true);
  return pinion_fail(error, status, "%s failed%s%s: %s (%s, %d)%s", call, *what ? " for " : "", what,
                     sentence ? sentence : "no description", name ? name : "unknown error", result,
                     status == PINION_DEVICE_LOST ? "; the device is lost, close the model and open it again" : "");
}

/* The status of one driver call: CHECK(device, cuMemFree_v2, "", (address), error). */
#define CHECK(device, call, what, arguments, error)                                                                    \
  check_result(device, (device)->cuda.call arguments, #call, what, error)
static pinion_status check_result(pinion_device *device, cuda_result result, const char *call, const char *what,
                                  pinion_error *error) {
  return result ? call_failed(device, result, call, what, error) : PINION_OK;
}

/* Makes the context current; pair it with leave. */
static pinion_status enter(pinion_device *device, pinion_error *error) {
  if (atomic_load(&device->lost))
    return pinion_fail(error, PINION_DEVICE_LOST,
                       "the device was lost in an earlier call: close the model and open it again");
  return CHECK(device, cuCtxPushCurrent_v2, "", (device->context), error);
}

static void leave(pinion_device *device) {
  cuda_context context;
  device->cuda.cuCtxPopCurrent_v2(&context);
}

static cuda_stream stream_or_own(const pinion_device *device, void *stream) {
  return stream ? (cuda_stream)stream : device->stream;
}

static cuda_address as_address(const void *pointer) {
  return (cuda_address)(uintptr_t)pointer;
}

/* ---- The driver library ---- */

static const char *driver_path(const pinion_options *options) {
  const char *path = options->driver ? options->driver : getenv("PINION_CUDA_DRIVER");
  return path && *path ? path : "libcuda.so.1";
}

/* Fills the table; returns the name of the first required symbol that is missing, or NULL. */
static const char *find_symbols(cuda_driver *driver) {
  const char *missing = NULL;
  void *symbol;
#define OPTIONAL(name, parameters)                                                                                     \
  symbol = dlsym(driver->library, #name);                                                                              \
  memcpy(&driver->name, &symbol, sizeof symbol);
#define REQUIRED(name, parameters)                                                                                     \
  OPTIONAL(name, parameters)                                                                                           \
  if (!symbol && !missing) missing = #name;
  CUDA_SYMBOLS(REQUIRED, OPTIONAL)
#undef REQUIRED
#undef OPTIONAL
  return missing;
}

/* Refuses an old driver by its version before it complains of a missing symbol. */
static pinion_status load_driver(pinion_device *device, const pinion_model_desc *desc, const char *path,
                                 pinion_error *error) {
  cuda_driver *cuda = &device->cuda;
  int version = 0, needed = desc->minimum_driver;
  cuda->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!cuda->library) {
    const char *why = dlerror();
    return pinion_fail(error, PINION_NO_DEVICE, "the CUDA driver cannot be loaded: %s", why ? why : path);
  }
  const char *missing = find_symbols(cuda);
  if (cuda->cuDriverGetVersion && cuda->cuDriverGetVersion(&version) == CUDA_OK && version < needed)
    return pinion_fail(error, PINION_NO_DEVICE,
                       "the NVIDIA driver supports CUDA %d.%d, this model needs %d.%d or newer: update the driver",
                       version / 1000, version % 1000 / 10, needed / 1000, needed % 1000 / 10);
  if (missing) return pinion_fail(error, PINION_NO_DEVICE, "%s is no usable CUDA driver: it has no %s", path, missing);
  cuda_result result = cuda->cuInit(0);
  if (!result) return PINION_OK;
  call_failed(device, result, "cuInit", "", error);
  return PINION_NO_DEVICE;
}

/* ---- The device ---- */

static pinion_status check_capability(pinion_device *device, const pinion_model_desc *desc, pinion_error *error) {
  char name[128] = "";
  int major = 0, minor = 0;
  pinion_status status = CHECK(device, cuDeviceGetAttribute, "the compute capability",
                               (&major, CUDA_ATTRIBUTE_CAPABILITY_MAJOR, device->ordinal), error);
  if (!status)
    status = CHECK(device, cuDeviceGetAttribute, "the compute capability",
                   (&minor, CUDA_ATTRIBUTE_CAPABILITY_MINOR, device->ordinal), error);
  if (status || major * 10 + minor == desc->compute_capability) return status;
  if (device->cuda.cuDeviceGetName(name, sizeof name, device->ordinal)) name[0] = '\0';
  return pinion_fail(
      error, PINION_NO_DEVICE,
      "the model is compiled for %s, compute capability %d.%d; %s has %d.%d: compile it for this GPU, or "
      "choose another one",
      desc->target, desc->compute_capability / 10, desc->compute_capability % 10, *name ? name : "this GPU", major,
      minor);
}

static pinion_status open_context(pinion_device *device, const pinion_model_desc *desc, int index,
                                  pinion_error *error) {
  int count = 0;
  pinion_status status = CHECK(device, cuDeviceGetCount, "", (&count), error);
  if (!status && (index < 0 || index >= count))
    status = pinion_fail(error, PINION_NO_DEVICE, "there is no GPU %d: the driver sees %d", index, count);
  if (!status) status = CHECK(device, cuDeviceGet, "", (&device->ordinal, index), error);
  if (!status) status = check_capability(device, desc, error);
  if (!status) status = CHECK(device, cuDevicePrimaryCtxRetain, "", (&device->context, device->ordinal), error);
  if (status) device->context = NULL;
  return status;
}

/* ---- Kernels ---- */

static uint64_t read_field(const uint8_t *bytes, size_t offset, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | bytes[offset + i];
  return value;
}

/* A cubin is a 64-bit little-endian ELF file; its section table must lie within it, or the driver may read beyond. */
static bool is_whole_cubin(const uint8_t *image, size_t bytes) {
  if (bytes < 64 || memcmp(image, "\177ELF\2\1", 6)) return false;
  uint64_t sections = read_field(image, 40, 8), size = read_field(image, 58, 2), count = read_field(image, 60, 2);
  return sections <= bytes && size * count <= bytes - sections;
}

/* The whole of an open file; owned by the caller (free). NULL on failure. */
static uint8_t *read_all(FILE *file, size_t *out_bytes) {
  if (fseek(file, 0, SEEK_END)) return NULL;
  long bytes = ftell(file);
  uint8_t *data = bytes < 0 || fseek(file, 0, SEEK_SET) ? NULL : malloc((size_t)bytes + 1);
  if (data && fread(data, 1, (size_t)bytes, file) != (size_t)bytes) {
    free(data);
    return NULL;
  }
  *out_bytes = (size_t)bytes;
  return data;
}

static pinion_status read_cubin(const char *directory, const char *name, uint8_t **out_image, pinion_error *error) {
  char path[4096];
  size_t bytes = 0;
  *out_image = NULL;
  if (snprintf(path, sizeof path, "%s/kernels/%s", directory, name) >= (int)sizeof path)
    return pinion_fail(error, PINION_BAD_ARTIFACT, "the path of kernels/%s is too long", name);
  FILE *file = fopen(path, "rb");
  if (!file) return pinion_fail(error, PINION_BAD_ARTIFACT, "%s cannot be read: %s", path, strerror(errno));
  uint8_t *image = read_all(file, &bytes);
  fclose(file);
  if (image && is_whole_cubin(image, bytes)) {
    *out_image = image;
    return PINION_OK;
  }
  free(image);
  return pinion_fail(error, PINION_BAD_ARTIFACT, "%s is damaged or no cubin", path);
}

/* Loads a blob unless it is loaded already; kernels may share one. */
static pinion_status find_module(pinion_device *device, const char *directory, const char *name,
                                 cuda_module *out_module, pinion_error *error) {
  uint8_t *image;
  for (uint32_t i = 0; i < device->blob_count; i++)
    if (!strcmp(device->blobs[i].name, name)) {
      *out_module = device->blobs[i].module;
      return PINION_OK;
    }
  pinion_status status = read_cubin(directory, name, &image, error);
  if (status) return status;
  status = CHECK(device, cuModuleLoadData, name, (out_module, image), error);
  free(image);
  if (!status) device->blobs[device->blob_count++] = (cuda_blob){name, *out_module};
  return status;
}

static uint32_t most_shared_bytes(const pinion_model_desc *desc, uint32_t kernel) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < desc->launch_count; i++)
    if (desc->launches[i].kernel == kernel && desc->launches[i].dynamic_shared_bytes > most)
      most = desc->launches[i].dynamic_shared_bytes;
  return most;
}

static pinion_status load_kernel(pinion_device *device, const pinion_model_desc *desc, const char *directory,
                                 uint32_t index, pinion_error *error) {
  const pinion_kernel_desc *kernel = &desc->kernels[index];
  cuda_module module = NULL;
  if (!kernel->blob) return pinion_fail(error, PINION_BAD_ARTIFACT, "kernel '%s' has no blob", kernel->name);
  pinion_status status = find_module(device, directory, kernel->blob, &module, error);
  if (!status)
    status = CHECK(device, cuModuleGetFunction, kernel->name, (&device->functions[index], module, kernel->name), error);
  uint32_t shared = most_shared_bytes(desc, index);
  if (!status && shared > PLAIN_SHARED_BYTES)
    status = CHECK(device, cuFuncSetAttribute, kernel->name,
                   (device->functions[index], CUDA_ATTRIBUTE_DYNAMIC_SHARED, (int)shared), error);
  return status;
}

static pinion_status load_kernels(pinion_device *device, const pinion_model_desc *desc, const char *directory,
                                  pinion_error *error) {
  device->blobs = calloc((size_t)desc->kernel_count + 1, sizeof *device->blobs);
  device->functions = calloc((size_t)desc->kernel_count + 1, sizeof *device->functions);
  if (!device->blobs || !device->functions)
    return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for %u kernels", desc->kernel_count);
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < desc->kernel_count && !status; i++) status = load_kernel(device, desc, directory, i, error);
  return status;
}

/* ---- Opening and closing ---- */

static pinion_status fill_context(pinion_device *device, const pinion_model_desc *desc, const char *directory,
                                  pinion_error *error) {
  pinion_status status = enter(device, error);
  if (status) return status;
  status = CHECK(device, cuStreamCreate, "", (&device->stream, CUDA_STREAM_NON_BLOCKING), error);
  if (status) device->stream = NULL;
  if (!status) status = load_kernels(device, desc, directory, error);
  leave(device);
  return status;
}

/* Frees what lives in the context. A lost one refuses all of this, and gives everything back when it is released. */
static void empty_context(pinion_device *device) {
  while (device->memory) {
    cuda_memory *memory = device->memory;
    device->memory = memory->next;
    device->cuda.cuMemFree_v2(memory->address);
    free(memory);
  }
  for (uint32_t i = 0; i < device->blob_count; i++) device->cuda.cuModuleUnload(device->blobs[i].module);
  if (device->stream) device->cuda.cuStreamDestroy_v2(device->stream);
}

static void cuda_close(pinion_device *device) {
  if (!device) return;
  if (device->context) {
    cuda_context context;
    bool current = device->cuda.cuCtxPushCurrent_v2(device->context) == CUDA_OK;
    empty_context(device);
    if (current) device->cuda.cuCtxPopCurrent_v2(&context);
    device->cuda.cuDevicePrimaryCtxRelease_v2(device->ordinal);
  }
  /* The library stays loaded: the driver keeps threads of its own. */
  pthread_mutex_destroy(&device->mutex);
  free(device->functions);
  free(device->blobs);
  free(device);
}

static pinion_status cuda_open(const pinion_model_desc *desc, const char *directory, const pinion_options *options,
                               pinion_device **out_device, pinion_error *error) {
  *out_device = NULL;
  pinion_device *device = calloc(1, sizeof *device);
  if (!device) return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for the device");
  pthread_mutex_init(&device->mutex, NULL);
  pinion_status status = load_driver(device, desc, driver_path(options), error);
  if (!status) status = open_context(device, desc, options->device_index, error);
  if (!status) status = fill_context(device, desc, directory, error);
  if (status) {
    cuda_close(device);
    return status;
  }
  *out_device = device;
  return PINION_OK;
}

/* ---- Memory ---- */

static pinion_status allocate_entered(pinion_device *device, uint64_t bytes, cuda_address *out_address,
                                      pinion_error *error) {
  char what[48];
  snprintf(what, sizeof what, "%llu bytes", (unsigned long long)bytes);
  cuda_memory *memory = malloc(sizeof *memory);
  if (!memory) return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for an allocation");
  pinion_status status = CHECK(device, cuMemAlloc_v2, what, (out_address, (size_t)(bytes ? bytes : 1)), error);
  if (status) {
    free(memory);
    return status;
  }
  memory->address = *out_address;
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
  if (found) device->cuda.cuMemFree_v2(address);
  free(found);
}

static void cuda_free_memory(pinion_device *device, void *address) {
  pinion_error ignored;
  if (!address || enter(device, &ignored)) return; /* a lost context frees it when it is released */
  free_entered(device, as_address(address));
  leave(device);
}

/* Zeroed, so that padding holds no stray NaN. */
static pinion_status cuda_allocate(pinion_device *device, uint64_t bytes, void **out_address, pinion_error *error) {
  cuda_address address = 0;
  *out_address = NULL;
  pinion_status status = enter(device, error);
  if (status) return status;
  status = allocate_entered(device, bytes, &address, error);
  if (!status) {
    status = CHECK(device, cuMemsetD8Async, "new memory", (address, 0, (size_t)bytes, device->stream), error);
    if (!status) status = CHECK(device, cuStreamSynchronize, "new memory", (device->stream), error);
    if (status)
      free_entered(device, address);
    else
      *out_address = (void *)(uintptr_t)address;
  }
  leave(device);
  return status;
}

/* Two pinned buffers: one is filled from the file's pages while the other is on its way. */
typedef struct staging {
  void *buffer[2];
  cuda_event sent[2];
} staging;

static void staging_destroy(pinion_device *device, staging *s) {
  for (int i = 0; i < 2; i++) {
    if (s->sent[i]) device->cuda.cuEventDestroy_v2(s->sent[i]);
    if (s->buffer[i]) device->cuda.cuMemFreeHost(s->buffer[i]);
  }
}

static pinion_status staging_create(pinion_device *device, staging *out_staging, pinion_error *error) {
  pinion_status status = PINION_OK;
  *out_staging = (staging){{NULL, NULL}, {NULL, NULL}};
  for (int i = 0; i < 2 && !status; i++) {
    status = CHECK(device, cuMemAllocHost_v2, "weights", (&out_staging->buffer[i], STAGING_BYTES), error);
    if (status) out_staging->buffer[i] = NULL;
    if (!status)
      status = CHECK(device, cuEventCreate, "weights", (&out_staging->sent[i], CUDA_EVENT_DISABLE_TIMING), error);
    if (status) out_staging->sent[i] = NULL;
  }
  if (status) staging_destroy(device, out_staging);
  return status;
}

static pinion_status send_chunk(pinion_device *device, staging *s, int slot, cuda_address to, const uint8_t *from,
                                size_t bytes, pinion_error *error) {
  memcpy(s->buffer[slot], from, bytes);
  pinion_status status =
      CHECK(device, cuMemcpyHtoDAsync_v2, "weights", (to, s->buffer[slot], bytes, device->stream), error);
  if (!status) status = CHECK(device, cuEventRecord, "weights", (s->sent[slot], device->stream), error);
  return status;
}

static pinion_status send_staged(pinion_device *device, staging *s, cuda_address to, const uint8_t *from,
                                 uint64_t bytes, pinion_error *error) {
  pinion_status status = PINION_OK;
  int chunk = 0;
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

static pinion_status cuda_load_weights(pinion_device *device, const void *mapped, uint64_t bytes, void **out_address,
                                       pinion_error *error) {
  cuda_address address = 0;
  staging s;
  *out_address = NULL;
  pinion_status status = enter(device, error);
  if (status) return status;
  status = allocate_entered(device, bytes, &address, error);
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
  leave(device);
  return status;
}

static pinion_status cuda_copy_in(pinion_device *device, void *to_device, const void *from_host, uint64_t bytes,
                                  void *stream, pinion_error *error) {
  pinion_status status = enter(device, error);
  if (status) return status;
  if (bytes)
    status = CHECK(device, cuMemcpyHtoDAsync_v2, "an input",
                   (as_address(to_device), from_host, (size_t)bytes, stream_or_own(device, stream)), error);
  if (!status) status = CHECK(device, cuStreamSynchronize, "an input", (stream_or_own(device, stream)), error);
  leave(device);
  return status;
}

static pinion_status cuda_copy_out(pinion_device *device, void *to_host, const void *from_device, uint64_t bytes,
                                   void *stream, pinion_error *error) {
  pinion_status status = enter(device, error);
  if (status) return status;
  if (bytes)
    status = CHECK(device, cuMemcpyDtoHAsync_v2, "an output",
                   (to_host, as_address(from_device), (size_t)bytes, stream_or_own(device, stream)), error);
  if (!status) status = CHECK(device, cuStreamSynchronize, "an output", (stream_or_own(device, stream)), error);
  leave(device);
  return status;
}

/* ---- Capture ---- */

static int tensor_dtype(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_f32   ? CUDA_TENSOR_FLOAT32
         : dtype == PINION_DTYPE_f16 ? CUDA_TENSOR_FLOAT16
                                     : CUDA_TENSOR_BFLOAT16;
}

static pinion_status encode_tensor_map(pinion_device *device, const pinion_tensor_map *map, void *address,
                                       const char *kernel, cuda_tensor_map *out_map, pinion_error *error) {
  uint64_t sizes[PINION_TENSOR_MAP_RANK], stride_bytes[PINION_TENSOR_MAP_RANK];
  uint32_t element_strides[PINION_TENSOR_MAP_RANK];
  for (uint32_t d = 0; d < map->rank; d++) {
    sizes[d] = (uint64_t)map->size[d];
    element_strides[d] = 1;
    if (d) stride_bytes[d - 1] = (uint64_t)map->stride[d] * pinion_dtype_size(map->dtype);
  }
  return CHECK(device, cuTensorMapEncodeTiled, kernel,
               (out_map, tensor_dtype(map->dtype), map->rank, address, sizes, stride_bytes, map->box, element_strides,
                CUDA_TENSOR_NO_INTERLEAVE, CUDA_TENSOR_SWIZZLE_128B, CUDA_TENSOR_PROMOTE_256B, CUDA_TENSOR_FILL_ZERO),
               error);
}

/* `overlaps`: the kernel may be started while the launch in front of it in the stream, a kernel too, still runs; it
   waits itself where it needs what that one does. */
static pinion_status launch_kernel(pinion_device *device, const pinion_program *program, uint32_t index, uint32_t step,
                                   bool overlaps, cuda_stream stream, pinion_error *error) {
  const pinion_model_desc *desc = program->desc;
  const pinion_launch_desc *launch = &desc->launches[index];
  pinion_pointers pointers = {{NULL}};
  for (uint32_t i = 0; i < launch->arg_count; i++) {
    const pinion_arg *arg = &desc->args[launch->first_arg + i];
    pointers.pointer[i] = (uint8_t *)program->buffers[arg->buffer] + arg->offset + (int64_t)step * arg->step_stride;
  }
  const char *kernel = desc->kernels[launch->kernel].name;
  cuda_tensor_map map;
  if (launch->tensor_map) {
    void *address = pointers.pointer[launch->tensor_map->argument];
    pinion_status status = encode_tensor_map(device, launch->tensor_map, address, kernel, &map, error);
    if (status) return status;
  }
  /* The driver copies them before it returns, and as many as the kernel has. */
  void *parameters[] = {&pointers, (void *)(uintptr_t)launch->params, launch->tensor_map ? &map : NULL};
  cuda_launch_attribute programmatic = {.kind = CUDA_LAUNCH_PROGRAMMATIC, .value.number = 1};
  const cuda_launch_config config = {.grid = {launch->grid[0], launch->grid[1], launch->grid[2]},
                                     .block = {launch->block[0], launch->block[1], launch->block[2]},
                                     .shared_bytes = launch->dynamic_shared_bytes,
                                     .stream = stream,
                                     .attributes = &programmatic,
                                     .attribute_count = overlaps};
  return CHECK(device, cuLaunchKernelEx, kernel, (&config, device->functions[launch->kernel], parameters, NULL), error);
}

/* Records an event into a stream that is being captured, as a node of the graph; NULL: nothing. */
static pinion_status mark(pinion_device *device, const cuda_event *event, cuda_stream stream, pinion_error *error) {
  if (!event) return PINION_OK;
  return CHECK(device, cuEventRecordWithFlags, "", (*event, stream, CUDA_EVENT_RECORD_EXTERNAL), error);
}

/* `events`: NULL, or one to record in front of everything, then one behind each launch. */
static pinion_status launch_all(pinion_device *device, const pinion_program *program, cuda_stream stream,
                                const cuda_event *events, pinion_error *error) {
  const pinion_model_desc *desc = program->desc;
  pinion_status status = mark(device, events, stream, error);
  bool overlaps = false; /* the first has no kernel in front of it; with events none has */
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t step = 0; step < desc->stages[s].repeat; step++)
      for (uint32_t i = 0; i < desc->stages[s].launch_count && !status; i++) {
        status = launch_kernel(device, program, desc->stages[s].first_launch + i, step, overlaps, stream, error);
        overlaps = !events;
        if (!status && events) status = mark(device, ++events, stream, error);
      }
  return status;
}

/* Records the whole call. Ends the recording whatever happens, or the stream could not be destroyed. */
static pinion_status record_graph(pinion_device *device, const pinion_program *program, cuda_stream stream,
                                  const cuda_event *events, cuda_graph *out_graph, pinion_error *error) {
  *out_graph = NULL;
  pinion_status status = CHECK(device, cuStreamBeginCapture_v2, "", (stream, CUDA_CAPTURE_THREAD_LOCAL), error);
  if (status) return status;
  status = launch_all(device, program, stream, events, error);
  pinion_error ignored;
  pinion_status ended = CHECK(device, cuStreamEndCapture, "", (stream, out_graph), status ? &ignored : error);
  if (ended) *out_graph = NULL;
  return status ? status : ended;
}

/* On failure *out_exec is NULL, or what there is to destroy. */
static pinion_status make_exec(pinion_device *device, cuda_graph graph, cuda_graph_exec *out_exec,
                               pinion_error *error) {
  pinion_status status = CHECK(device, cuGraphInstantiateWithFlags, "", (out_exec, graph, 0), error);
  if (status) {
    *out_exec = NULL;
    return status;
  }
  /* So that the first replay costs what every other does. */
  if (!device->cuda.cuGraphUpload) return PINION_OK;
  status = CHECK(device, cuGraphUpload, "", (*out_exec, device->stream), error);
  return status ? status : CHECK(device, cuStreamSynchronize, "", (device->stream), error);
}

/* In a stream of its own: other threads may be replaying on the device's. `events` as in launch_all. */
static pinion_status capture_entered(pinion_device *device, const pinion_program *program, const cuda_event *events,
                                     cuda_graph_exec *out_exec, pinion_error *error) {
  cuda_stream stream = NULL;
  cuda_graph graph = NULL;
  pinion_status status = CHECK(device, cuStreamCreate, "", (&stream, CUDA_STREAM_NON_BLOCKING), error);
  if (status) return status;
  status = record_graph(device, program, stream, events, &graph, error);
  if (!status) status = make_exec(device, graph, out_exec, error);
  if (graph) device->cuda.cuGraphDestroy(graph);
  device->cuda.cuStreamDestroy_v2(stream);
  return status;
}

static void cuda_free_program(pinion_device *device, pinion_program *program) {
  cuda_context context;
  if (!program) return;
  if (program->exec) {
    bool current = device->cuda.cuCtxPushCurrent_v2(device->context) == CUDA_OK;
    device->cuda.cuGraphExecDestroy(program->exec); /* needs no context of its own */
    if (current) device->cuda.cuCtxPopCurrent_v2(&context);
  }
  free(program);
}

static pinion_status cuda_capture(pinion_device *device, const pinion_model_desc *desc, void *const *buffers,
                                  pinion_program **out_program, pinion_error *error) {
  *out_program = NULL;
  pinion_status status = enter(device, error);
  if (status) return status;
  pinion_program *program = calloc(1, sizeof *program + desc->buffer_count * sizeof(void *));
  if (program) {
    program->desc = desc;
    if (desc->buffer_count) memcpy(program->buffers, buffers, desc->buffer_count * sizeof(void *));
    status = capture_entered(device, program, NULL, &program->exec, error);
  } else {
    status = pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for the program");
  }
  leave(device);
  if (status)
    cuda_free_program(device, program);
  else
    *out_program = program;
  return status;
}

/* ---- Replay ---- */

static pinion_status cuda_replay(pinion_device *device, pinion_program *program, void *stream, pinion_error *error) {
  pinion_status status = enter(device, error);
  if (status) return status;
  status = CHECK(device, cuGraphLaunch, "", (program->exec, stream_or_own(device, stream)), error);
  leave(device);
  return status;
}

static pinion_status cuda_synchronize(pinion_device *device, void *stream, pinion_error *error) {
  pinion_status status = enter(device, error);
  if (status) return status;
  status = CHECK(device, cuStreamSynchronize, "", (stream_or_own(device, stream)), error);
  leave(device);
  return status;
}

/* ---- Timing ---- */

static void destroy_events(pinion_device *device, cuda_event *events, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) device->cuda.cuEventDestroy_v2(events[i]);
  free(events);
}

/* Owned by the caller: destroy_events. */
static pinion_status create_events(pinion_device *device, uint32_t count, cuda_event **out_events,
                                   pinion_error *error) {
  cuda_event *events = calloc(count, sizeof *events);
  pinion_status status =
      events ? PINION_OK : pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for %u events", count);
  uint32_t made = 0;
  for (; made < count && !status; made++) {
    status = CHECK(device, cuEventCreate, "", (&events[made], CUDA_EVENT_DEFAULT), error);
    if (status) break;
  }
  if (status && events) destroy_events(device, events, made);
  *out_events = status ? NULL : events;
  return status;
}

/* Waits for the last event; microseconds between neighbours into out_microseconds[count - 1]. */
static pinion_status read_events(pinion_device *device, const cuda_event *events, uint32_t count,
                                 double *out_microseconds, pinion_error *error) {
  pinion_status status = CHECK(device, cuEventSynchronize, "", (events[count - 1]), error);
  for (uint32_t i = 0; i + 1 < count && !status; i++) {
    float milliseconds = 0;
    status = CHECK(device, cuEventElapsedTime, "", (&milliseconds, events[i], events[i + 1]), error);
    out_microseconds[i] = (double)milliseconds * 1e3;
  }
  return status;
}

static pinion_status run_launch_entered(pinion_device *device, const pinion_program *program, uint32_t launch,
                                        uint32_t step, double *out_microseconds, pinion_error *error) {
  cuda_event *events;
  double elapsed = 0;
  pinion_status status = create_events(device, 2, &events, error);
  if (status) return status;
  status = CHECK(device, cuEventRecord, "", (events[0], device->stream), error);
  if (!status) status = launch_kernel(device, program, launch, step, false, device->stream, error);
  if (!status) status = CHECK(device, cuEventRecord, "", (events[1], device->stream), error);
  if (!status) status = read_events(device, events, 2, &elapsed, error);
  if (!status && out_microseconds) *out_microseconds = elapsed;
  destroy_events(device, events, 2);
  return status;
}

static pinion_status cuda_run_launch(pinion_device *device, pinion_program *program, uint32_t launch, uint32_t step,
                                     double *out_microseconds, pinion_error *error) {
  const pinion_stage_desc *stage = pinion_launch_stage(program->desc, launch);
  if (!stage || step >= stage->repeat)
    return pinion_fail(error, PINION_INVALID_ARGUMENT, "there is no launch %u in step %u", launch, step);
  pinion_status status = enter(device, error);
  if (status) return status;
  status = run_launch_entered(device, program, launch, step, out_microseconds, error);
  leave(device);
  return status;
}

/* Through a second graph, as the first but for the events, which is gone afterwards. */
static pinion_status time_launches_entered(pinion_device *device, const pinion_program *program,
                                           double *out_microseconds, pinion_error *error) {
  const uint64_t launches = pinion_description_launches(program->desc);
  cuda_event *events;
  cuda_graph_exec exec = NULL;
  if (!device->cuda.cuEventRecordWithFlags || launches >= UINT32_MAX)
    return pinion_fail(error, PINION_DEVICE_ERROR, "this driver records no events in a graph");
  const uint32_t count = (uint32_t)launches + 1;
  pinion_status status = create_events(device, count, &events, error);
  if (status) return status;
  status = capture_entered(device, program, events, &exec, error);
  if (!status) status = CHECK(device, cuGraphLaunch, "", (exec, device->stream), error);
  if (!status) status = read_events(device, events, count, out_microseconds, error);
  if (exec) device->cuda.cuGraphExecDestroy(exec);
  destroy_events(device, events, count);
  return status;
}

static pinion_status cuda_time_launches(pinion_device *device, pinion_program *program, double *out_microseconds,
                                        pinion_error *error) {
  pinion_status status = enter(device, error);
  if (status) return status;
  status = time_launches_entered(device, program, out_microseconds, error);
  leave(device);
  return status;
}

static pinion_status time_entered(pinion_device *device, const pinion_program *program, uint32_t count,
                                  double *out_microseconds, pinion_error *error) {
  cuda_event *events;
  pinion_status status = create_events(device, count + 1, &events, error);
  if (status) return status;
  status = CHECK(device, cuEventRecord, "", (events[0], device->stream), error);
  for (uint32_t i = 0; i < count && !status; i++) {
    status = CHECK(device, cuGraphLaunch, "", (program->exec, device->stream), error);
    if (!status) status = CHECK(device, cuEventRecord, "", (events[i + 1], device->stream), error);
  }
  if (!status) status = read_events(device, events, count + 1, out_microseconds, error);
  destroy_events(device, events, count + 1);
  return status;
}

static pinion_status cuda_time_replays(pinion_device *device, pinion_program *program, uint32_t count,
                                       double *out_microseconds, pinion_error *error) {
  pinion_status status = enter(device, error);
  if (status) return status;
  status = time_entered(device, program, count, out_microseconds, error);
  leave(device);
  return status;
}

static const pinion_device_ops cuda_ops = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .allocate = cuda_allocate,
    .free_memory = cuda_free_memory,
    .load_weights = cuda_load_weights,
    .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out,
    .capture = cuda_capture,
    .free_program = cuda_free_program,
    .replay = cuda_replay,
    .synchronize = cuda_synchronize,
    .run_launch = cuda_run_launch,
    .time_launches = cuda_time_launches,
    .time_replays = cuda_time_replays,
};

const pinion_device_ops *const pinion_device_implementation = &cuda_ops;
