/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A device that is no GPU: an artifact's (or make_cases') kernels/NAME.cu, compiled for the CPU with emulator.h in
 * front. PINION_EMULATOR_CXX is the C++ compiler. For tests: it trusts its arguments, and says nothing of time.
 */
#include "runtime/description.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef bool emulated_launch_function(const pinion_pointers *pointers, const pinion_params *params,
                                      const uint32_t *grid, const uint32_t *block, const pinion_tensor_map *map);

struct pinion_device {
  const pinion_model_desc *desc;
  emulated_launch_function **kernels;
};

struct pinion_program {
  const pinion_model_desc *desc;
  void *buffers[];
};

/* Compiles a kernel's source to NAME.so beside it. */
static bool compile(const char *folder, const char *name) {
  char path[4096], command[16384];
  snprintf(path, sizeof path, "%s/kernels/%s.cpp", folder, name);
  FILE *file = fopen(path, "w");
  if (!file) return false;
  fprintf(file, "#include \"tests/cuda/emulator.h\"\n#include \"%s.cu\"\n#include \"tests/cuda/emulator_launch.h\"\n",
          name);
  fclose(file);
  snprintf(command, sizeof command, "%s -std=c++17 -O1 -w -fPIC -shared -DPN_EMULATED -I%s -o %s/kernels/%s.so %s",
           PINION_EMULATOR_CXX, PINION_SOURCE_FOLDER, folder, name, path);
  return system(command) == 0;
}

static pinion_status load_kernel(pinion_device *device, const char *folder, uint32_t index, pinion_error *error) {
  char path[4096];
  const char *name = device->desc->kernels[index].name;
  if (!compile(folder, name)) return pinion_fail(error, PINION_BAD_ARTIFACT, "%s does not compile for the CPU", name);
  snprintf(path, sizeof path, "%s/kernels/%s.so", folder, name);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *symbol = library ? dlsym(library, "emulated_launch") : NULL;
  if (!symbol) return pinion_fail(error, PINION_BAD_ARTIFACT, "%s cannot be loaded: %s", path, dlerror());
  memcpy(&device->kernels[index], &symbol, sizeof symbol);
  return PINION_OK;
}

static pinion_status emulated_open(const pinion_model_desc *desc, const char *directory, const pinion_options *options,
                                   pinion_device **out_device, pinion_error *error) {
  (void)options;
  pinion_device *device = calloc(1, sizeof *device);
  device->desc = desc;
  device->kernels = calloc(desc->kernel_count + 1, sizeof *device->kernels);
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < desc->kernel_count && !status; i++) status = load_kernel(device, directory, i, error);
  *out_device = device;
  return status;
}

static void emulated_close(pinion_device *device) {
  free(device->kernels);
  free(device);
}

/* As aligned as the driver's memory: kernels choose how they load by it. */
static pinion_status emulated_allocate(pinion_device *device, uint64_t bytes, void **out_address, pinion_error *error) {
  (void)device, (void)error;
  *out_address = aligned_alloc(PINION_BASE_ALIGN, (bytes / PINION_BASE_ALIGN + 1) * PINION_BASE_ALIGN);
  return PINION_OK;
}

static pinion_status emulated_copy(pinion_device *device, void *to, const void *from, uint64_t bytes, void *stream,
                                   pinion_error *error) {
  (void)device, (void)stream, (void)error;
  memcpy(to, from, bytes);
  return PINION_OK;
}

static pinion_status emulated_load_weights(pinion_device *device, const void *mapped, uint64_t bytes,
                                           void **out_address, pinion_error *error) {
  (void)device, (void)bytes, (void)error;
  *out_address = (void *)(uintptr_t)mapped;
  return PINION_OK;
}

static void emulated_free_memory(pinion_device *device, void *address) {
  (void)device;
  free(address);
}

static pinion_status emulated_capture(pinion_device *device, const pinion_model_desc *desc, void *const *buffers,
                                      void *const *hosts, pinion_program **out_program, pinion_error *error) {
  (void)device, (void)hosts, (void)error;
  pinion_program *program = calloc(1, sizeof *program + desc->buffer_count * sizeof(void *));
  program->desc = desc;
  memcpy(program->buffers, buffers, desc->buffer_count * sizeof(void *));
  *out_program = program;
  return PINION_OK;
}

static void emulated_describe_capture(const pinion_program *program, pinion_capture_facts *out_facts) {
  *out_facts = (pinion_capture_facts){.launches = (uint32_t)pinion_description_launches(program->desc)};
}

static pinion_status emulated_describe(pinion_device *device, pinion_device_facts *out_facts, pinion_error *error) {
  (void)device, (void)error;
  *out_facts = (pinion_device_facts){.name = "emulated"};
  return PINION_OK;
}

static void emulated_free_program(pinion_device *device, pinion_program *program) {
  (void)device;
  free(program);
}

static pinion_status emulated_run_launch(pinion_device *device, pinion_program *program, uint32_t index, uint32_t step,
                                         double *out_microseconds, pinion_error *error) {
  const pinion_launch_desc *launch = &program->desc->launches[index];
  pinion_pointers pointers = {{NULL}};
  for (uint32_t i = 0; i < launch->arg_count; i++) {
    const pinion_arg *arg = &program->desc->args[launch->first_arg + i];
    pointers.pointer[i] = (char *)program->buffers[arg->buffer] + arg->offset + (int64_t)step * arg->step_stride;
  }
  if (out_microseconds) *out_microseconds = 0;
  if (device->kernels[launch->kernel](&pointers, launch->params, launch->grid, launch->block, launch->tensor_map))
    return PINION_OK;
  return pinion_fail(error, PINION_DEVICE_ERROR, "its threads wait for each other for ever");
}

static pinion_status emulated_replay(pinion_device *device, pinion_program *program, void *stream,
                                     pinion_error *error) {
  const pinion_model_desc *desc = program->desc;
  pinion_status status = PINION_OK;
  (void)stream;
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t step = 0; step < desc->stages[s].repeat; step++)
      for (uint32_t i = 0; i < desc->stages[s].launch_count && !status; i++)
        status = emulated_run_launch(device, program, desc->stages[s].first_launch + i, step, NULL, error);
  return status;
}

static pinion_status emulated_time_launches(pinion_device *device, pinion_program *program, double *out_microseconds,
                                            pinion_error *error) {
  (void)device, (void)program, (void)out_microseconds;
  return pinion_fail(error, PINION_DEVICE_ERROR, "an emulated device has no clock");
}

static pinion_status emulated_time_replays(pinion_device *device, pinion_program *program, uint32_t count,
                                           double *out_microseconds, pinion_error *error) {
  (void)device, (void)program, (void)count, (void)out_microseconds;
  return pinion_fail(error, PINION_DEVICE_ERROR, "an emulated device has no clock");
}

static pinion_status emulated_synchronize(pinion_device *device, void *stream, pinion_error *error) {
  (void)device, (void)stream, (void)error;
  return PINION_OK;
}

static const pinion_device_ops emulated_ops = {
    .name = "cuda",
    .open = emulated_open,
    .close = emulated_close,
    .describe = emulated_describe,
    .allocate = emulated_allocate,
    .free_memory = emulated_free_memory,
    .load_weights = emulated_load_weights,
    .copy_in = emulated_copy,
    .copy_out = emulated_copy,
    .capture = emulated_capture,
    .free_program = emulated_free_program,
    .describe_capture = emulated_describe_capture,
    .replay = emulated_replay,
    .synchronize = emulated_synchronize,
    .run_launch = emulated_run_launch,
    .time_launches = emulated_time_launches,
    .time_replays = emulated_time_replays,
};
const pinion_device_ops *const pinion_device_implementation = &emulated_ops;
