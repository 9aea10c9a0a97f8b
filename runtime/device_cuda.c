/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * An NVIDIA GPU as a device, through the CUDA driver API: the layer under the CUDA runtime, so that streams and device
 * pointers of a program that uses the runtime pass straight in (both live in the primary context). Here: errors, the
 * driver library, the context and kernels; device_cuda_memory.c has memory and copies, device_cuda_graph.c capture and
 * replay.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* getenv and dlopen under -std=c11 */
#endif
#include "device_cuda.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLAIN_SHARED_BYTES 49152 /* a kernel must ask for more dynamic shared memory than this */
#define EMPTY_KERNEL "pn_empty"  /* takes what every kernel takes, and does nothing */
#define EMPTY_BLOB "pn_empty.cubin"

double pinion_cuda_microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

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
                     status == PINION_DEVICE_LOST ? "; the device is lost to this process, which must be started anew"
                                                  : "");
}

pinion_status pinion_cuda_check(pinion_device *device, cuda_result result, const char *call, const char *what,
                                pinion_error *error) {
  return result ? call_failed(device, result, call, what, error) : PINION_OK;
}

pinion_status pinion_cuda_enter(pinion_device *device, pinion_error *error) {
  if (atomic_load(&device->lost))
    return pinion_fail(error, PINION_DEVICE_LOST,
                       "the device was lost in an earlier call: this process must be started anew");
  return CHECK(device, cuCtxPushCurrent_v2, "", (device->context), error);
}

void pinion_cuda_leave(pinion_device *device) {
  cuda_context context;
  device->cuda.cuCtxPopCurrent_v2(&context);
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
  device->facts.driver_version = version;
  cuda_result result = cuda->cuInit(0);
  if (!result) return PINION_OK;
  call_failed(device, result, "cuInit", "", error);
  return PINION_NO_DEVICE;
}

/* ---- The device ---- */

static pinion_status check_capability(pinion_device *device, const pinion_model_desc *desc, pinion_error *error) {
  int major = 0, minor = 0;
  pinion_status status = CHECK(device, cuDeviceGetAttribute, "the compute capability",
                               (&major, CUDA_ATTRIBUTE_CAPABILITY_MAJOR, device->ordinal), error);
  if (!status)
    status = CHECK(device, cuDeviceGetAttribute, "the compute capability",
                   (&minor, CUDA_ATTRIBUTE_CAPABILITY_MINOR, device->ordinal), error);
  if (status || major * 10 + minor == desc->compute_capability) return status;
  const char *name = device->facts.name;
  return pinion_fail(
      error, PINION_NO_DEVICE,
      "the model is compiled for %s, compute capability %d.%d; %s has %d.%d: compile it for this GPU, or "
      "choose another one",
      desc->target, desc->compute_capability / 10, desc->compute_capability % 10, *name ? name : "this GPU", major,
      minor);
}

/* What tools tell about the GPU; what it does not say stays empty or 0. */
static void read_facts(pinion_device *device) {
  const cuda_driver *cuda = &device->cuda;
  pinion_device_facts *facts = &device->facts;
  const struct {
    int attribute;
    int32_t *value;
  } attributes[] = {{CUDA_ATTRIBUTE_MULTIPROCESSORS, &facts->multiprocessors},
                    {CUDA_ATTRIBUTE_CLOCK, &facts->clock_khz},
                    {CUDA_ATTRIBUTE_MEMORY_CLOCK, &facts->memory_clock_khz},
                    {CUDA_ATTRIBUTE_MEMORY_BUS, &facts->memory_bus_bits}};
  if (cuda->cuDeviceGetName(facts->name, sizeof facts->name, device->ordinal)) facts->name[0] = '\0';
  if (!cuda->cuDeviceGetPCIBusId || cuda->cuDeviceGetPCIBusId(facts->bus, sizeof facts->bus, device->ordinal))
    facts->bus[0] = '\0';
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
    if (cuda->cuDeviceGetAttribute(attributes[i].value, attributes[i].attribute, device->ordinal))
      *attributes[i].value = 0;
}

static pinion_status open_context(pinion_device *device, const pinion_model_desc *desc, int index,
                                  pinion_error *error) {
  int count = 0;
  pinion_status status = CHECK(device, cuDeviceGetCount, "", (&count), error);
  if (!status && (index < 0 || index >= count))
    status = pinion_fail(error, PINION_NO_DEVICE, "there is no GPU %d: the driver sees %d", index, count);
  if (!status) status = CHECK(device, cuDeviceGet, "", (&device->ordinal, index), error);
  if (!status) read_facts(device);
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
static pinion_status find_module(pinion_device *device, const char *name, cuda_module *out_module,
                                 pinion_error *error) {
  uint8_t *image;
  for (uint32_t i = 0; i < device->blob_count; i++)
    if (!strcmp(device->blobs[i].name, name)) {
      *out_module = device->blobs[i].module;
      return PINION_OK;
    }
  pinion_status status = read_cubin(device->directory, name, &image, error);
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

pinion_status pinion_cuda_allow_shared(pinion_device *device, cuda_function function, uint32_t bytes, const char *name,
                                       pinion_error *error) {
  /* Blocks of two launches share a multiprocessor only if both have its memory divided alike. */
  const pinion_status status = CHECK(device, cuFuncSetAttribute, name,
                                     (function, CUDA_ATTRIBUTE_SHARED_CARVEOUT, CUDA_CARVEOUT_MOST_SHARED), error);
  if (status || bytes <= PLAIN_SHARED_BYTES) return status;
  return CHECK(device, cuFuncSetAttribute, name, (function, CUDA_ATTRIBUTE_DYNAMIC_SHARED, (int)bytes), error);
}

static pinion_status load_kernel(pinion_device *device, const pinion_model_desc *desc, uint32_t index,
                                 pinion_error *error) {
  const pinion_kernel_desc *kernel = &desc->kernels[index];
  cuda_module module = NULL;
  if (!kernel->blob) return pinion_fail(error, PINION_BAD_ARTIFACT, "kernel '%s' has no blob", kernel->name);
  pinion_status status = find_module(device, kernel->blob, &module, error);
  if (!status)
    status = CHECK(device, cuModuleGetFunction, kernel->name, (&device->functions[index], module, kernel->name), error);
  if (status) return status;
  return pinion_cuda_allow_shared(device, device->functions[index], most_shared_bytes(desc, index), kernel->name,
                                  error);
}

static pinion_status load_kernels(pinion_device *device, const pinion_model_desc *desc, pinion_error *error) {
  const double start = pinion_cuda_microseconds();
  device->blobs = calloc((size_t)desc->kernel_count + 1, sizeof *device->blobs); /* and the empty one's */
  device->functions = calloc((size_t)desc->kernel_count + 1, sizeof *device->functions);
  if (!device->blobs || !device->functions)
    return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for %u kernels", desc->kernel_count);
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < desc->kernel_count && !status; i++) status = load_kernel(device, desc, i, error);
  device->facts.kernels_us = pinion_cuda_microseconds() - start;
  return status;
}

pinion_status pinion_cuda_load_empty(pinion_device *device, pinion_error *error) {
  cuda_module module = NULL;
  pthread_mutex_lock(&device->mutex);
  pinion_status status = device->empty ? PINION_OK : find_module(device, EMPTY_BLOB, &module, error);
  if (!status && !device->empty)
    status = CHECK(device, cuModuleGetFunction, EMPTY_KERNEL, (&device->empty, module, EMPTY_KERNEL), error);
  pthread_mutex_unlock(&device->mutex);
  return status;
}

/* ---- Opening and closing ---- */

static pinion_status fill_context(pinion_device *device, const pinion_model_desc *desc, pinion_error *error) {
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = CHECK(device, cuStreamCreate, "", (&device->stream, CUDA_STREAM_NON_BLOCKING), error);
  if (status) device->stream = NULL;
  size_t total = 0, left = 0;
  if (!status) status = CHECK(device, cuMemGetInfo_v2, "", (&left, &total), error);
  device->facts.memory_free_at_open = left;
  if (!status) status = load_kernels(device, desc, error);
  pinion_cuda_leave(device);
  return status;
}

/* Frees what lives in the context. A lost one refuses all of this, and gives everything back when it is released. */
static void empty_context(pinion_device *device) {
  while (device->memory) {
    cuda_memory *memory = device->memory;
    device->memory = memory->next;
    if (memory->on_host)
      device->cuda.cuMemFreeHost((void *)(uintptr_t)memory->address);
    else
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
  free(device->directory);
  free(device);
}

static pinion_status cuda_open(const pinion_model_desc *desc, const char *directory, const pinion_options *options,
                               pinion_device **out_device, pinion_error *error) {
  *out_device = NULL;
  pinion_device *device = calloc(1, sizeof *device);
  if (!device) return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for the device");
  const double start = pinion_cuda_microseconds();
  pthread_mutex_init(&device->mutex, NULL);
  device->directory = strdup(directory);
  pinion_status status =
      device->directory ? PINION_OK : pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for the device");
  if (!status) status = load_driver(device, desc, driver_path(options), error);
  if (!status) status = open_context(device, desc, options->device_index, error);
  device->facts.context_us = pinion_cuda_microseconds() - start;
  if (!status) status = fill_context(device, desc, error);
  if (status) {
    cuda_close(device);
    return status;
  }
  *out_device = device;
  return PINION_OK;
}

static pinion_status cuda_describe(pinion_device *device, pinion_device_facts *out_facts, pinion_error *error) {
  size_t total = 0, left = 0;
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = CHECK(device, cuMemGetInfo_v2, "", (&left, &total), error);
  pinion_cuda_leave(device);
  *out_facts = device->facts;
  out_facts->memory_bytes = total;
  out_facts->memory_free = left;
  return status;
}

#define PINION_CUDA_MEMBER(op) .op = pinion_cuda_##op,
static const pinion_device_ops cuda_ops = {.name = "cuda",
                                           .open = cuda_open,
                                           .close = cuda_close,
                                           .describe = cuda_describe,
                                           PINION_CUDA_OPS(PINION_CUDA_MEMBER)};

const pinion_device_ops *const pinion_device_implementation = &cuda_ops;
