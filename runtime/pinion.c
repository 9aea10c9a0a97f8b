/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "pinion.h"

#include "description.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE (pinion_device_implementation)
#define REMEMBERED_ERRORS 8 /* models whose last error a thread remembers */

struct pinion_model {
  const pinion_model_desc *desc; /* borrowed */
  pinion_device *device;
  pinion_weights_file weights_file;
  void *weights;               /* device memory, the device's */
  uint64_t serial;             /* names the model in the threads' errors; addresses come again */
  _Atomic uint32_t references; /* the caller's, and one of each instance */
  _Atomic bool lost;           /* the device's context is poisoned */
};

struct pinion_instance {
  pinion_model *model;
  pinion_program *program;  /* NULL until prepared */
  void *arena;              /* device memory, owned; NULL until prepared */
  void *own_memory;         /* device memory of inputs and outputs that were not bound, owned; NULL until needed */
  void **inputs, **outputs; /* device addresses in the model's order: bound, or within own_memory; NULL until known */
  void **buffers;           /* one per buffer of the table; valid once prepared */
  void **hosts;             /* the same: NULL, or what is attached */
};

/* ---- Errors: remembered per thread and model, so that threads do not overwrite each other's ---- */

typedef struct remembered_error {
  uint64_t serial; /* 0: of calls that had no model */
  bool used;
  pinion_error error;
} remembered_error;

static _Thread_local remembered_error remembered[REMEMBERED_ERRORS];
static _Thread_local unsigned remembered_next;

static remembered_error *find_remembered(uint64_t serial) {
  for (int i = 0; i < REMEMBERED_ERRORS; i++)
    if (remembered[i].used && remembered[i].serial == serial) return &remembered[i];
  return NULL;
}

static pinion_status remember(const pinion_model *model, pinion_status status, const pinion_error *error) {
  uint64_t serial = model ? model->serial : 0;
  remembered_error *slot = find_remembered(serial);
  if (!slot) slot = &remembered[remembered_next++ % REMEMBERED_ERRORS];
  *slot = (remembered_error){serial, true, *error};
  return status;
}

#define REFUSE(model, status, ...)                                                                                     \
  do {                                                                                                                 \
    pinion_error refused;                                                                                              \
    pinion_fail(&refused, status, __VA_ARGS__);                                                                        \
    return remember(model, status, &refused);                                                                          \
  } while (0)

const char *pinion_last_error(const pinion_model *model) {
  const remembered_error *slot = find_remembered(model ? model->serial : 0);
  return slot ? slot->error.text : "";
}

const char *pinion_status_name(pinion_status status) {
  static const char *const names[] = {
      [PINION_OK] = "ok",
      [PINION_INVALID_ARGUMENT] = "invalid argument",
      [PINION_BAD_ARTIFACT] = "bad artifact",
      [PINION_NO_DEVICE] = "no device",
      [PINION_OUT_OF_MEMORY] = "out of memory",
      [PINION_NOT_PREPARED] = "not prepared",
      [PINION_DEVICE_ERROR] = "device error",
      [PINION_DEVICE_LOST] = "device lost",
  };
  return (unsigned)status < sizeof names / sizeof names[0] ? names[status] : "unknown status";
}

/* Passes on what a device call returned: remembers its error, and that the device is lost. */
static pinion_status from_device(pinion_model *model, pinion_status status, const pinion_error *error) {
  if (!status) return PINION_OK;
  if (status == PINION_DEVICE_LOST) atomic_store(&model->lost, true);
  return remember(model, status, error);
}

static pinion_status check_alive(pinion_model *model) {
  if (atomic_load(&model->lost))
    REFUSE(model, PINION_DEVICE_LOST, "the device was lost in an earlier call: this process must be started anew");
  return PINION_OK;
}

/* ---- Models ---- */

static void model_release(pinion_model *model) {
  if (atomic_fetch_sub(&model->references, 1) != 1) return;
  DEVICE->close(model->device);
  pinion_weights_unmap(&model->weights_file);
  free(model);
}

static pinion_status open_device(pinion_model *model, const char *directory, const pinion_options *options,
                                 pinion_error *error) {
  const pinion_model_desc *desc = model->desc;
  pinion_status status = pinion_description_check(desc, error);
  if (!status && strcmp(desc->device, DEVICE->name) != 0)
    status = pinion_fail(error, PINION_BAD_ARTIFACT, "the model is for device '%s', this runtime was built for '%s'",
                         desc->device, DEVICE->name);
  if (!status) status = pinion_weights_map(desc, directory, options->weights, &model->weights_file, error);
  if (!status) status = DEVICE->open(desc, directory, options, &model->device, error);
  if (!status && model->weights_file.bytes)
    status = DEVICE->load_weights(model->device, model->weights_file.address, model->weights_file.bytes,
                                  &model->weights, error);
  return status;
}

pinion_status pinion_model_open(const pinion_model_desc *description, const char *directory,
                                const pinion_options *options, pinion_model **out_model) {
  static _Atomic uint64_t next_serial = 1;
  static const pinion_options defaults = {0};
  pinion_error error = {""};
  if (out_model) *out_model = NULL;
  if (!description || !directory || !out_model)
    REFUSE(NULL, PINION_INVALID_ARGUMENT, "pinion_model_open: %s is NULL",
           !description ? "the description"
           : !directory ? "the directory"
                        : "out_model");
  pinion_model *model = calloc(1, sizeof *model);
  if (!model) REFUSE(NULL, PINION_OUT_OF_MEMORY, "no memory for the model");
  model->desc = description;
  model->serial = atomic_fetch_add(&next_serial, 1);
  atomic_store(&model->references, 1);
  pinion_status status = open_device(model, directory, options ? options : &defaults, &error);
  if (status) {
    model_release(model);
    return remember(NULL, status, &error);
  }
  *out_model = model;
  return PINION_OK;
}

pinion_status pinion_host_allocate(pinion_model *model, size_t bytes, void **out_address) {
  pinion_error error = {""};
  if (out_address) *out_address = NULL;
  if (!model || !out_address)
    REFUSE(model, PINION_INVALID_ARGUMENT, "pinion_host_allocate: %s is NULL", model ? "out_address" : "the model");
  pinion_status status = check_alive(model);
  if (status) return status;
  status =
      (DEVICE->allocate_host ? DEVICE->allocate_host : DEVICE->allocate)(model->device, bytes, out_address, &error);
  return from_device(model, status, &error);
}

void pinion_host_free(pinion_model *model, void *address) {
  if (model && address) (DEVICE->free_host ? DEVICE->free_host : DEVICE->free_memory)(model->device, address);
}

void pinion_model_close(pinion_model *model) {
  if (model) model_release(model);
}

static int32_t find_name(const pinion_model_desc *desc, const uint32_t *list, uint32_t count, const char *name) {
  for (uint32_t i = 0; name && i < count; i++)
    if (!strcmp(desc->buffers[list[i]].name, name)) return (int32_t)i;
  return -1;
}

int32_t pinion_input_index(const pinion_model *model, const char *name) {
  return model ? find_name(model->desc, model->desc->inputs, model->desc->input_count, name) : -1;
}

int32_t pinion_output_index(const pinion_model *model, const char *name) {
  return model ? find_name(model->desc, model->desc->outputs, model->desc->output_count, name) : -1;
}

const pinion_buffer_desc *pinion_input_description(const pinion_model *model, int32_t index) {
  if (!model || index < 0 || (uint32_t)index >= model->desc->input_count) return NULL;
  return &model->desc->buffers[model->desc->inputs[index]];
}

const pinion_buffer_desc *pinion_output_description(const pinion_model *model, int32_t index) {
  if (!model || index < 0 || (uint32_t)index >= model->desc->output_count) return NULL;
  return &model->desc->buffers[model->desc->outputs[index]];
}

/* ---- Instances ---- */

pinion_status pinion_instance_create(pinion_model *model, pinion_instance **out_instance) {
  if (out_instance) *out_instance = NULL;
  if (!model || !out_instance)
    REFUSE(model, PINION_INVALID_ARGUMENT, "pinion_instance_create: %s is NULL", model ? "out_instance" : "the model");
  pinion_status status = check_alive(model);
  if (status) return status;
  const pinion_model_desc *desc = model->desc;
  size_t pointers = (size_t)desc->input_count + desc->output_count + 2 * (size_t)desc->buffer_count;
  pinion_instance *instance = calloc(1, sizeof *instance + pointers * sizeof(void *));
  if (!instance) REFUSE(model, PINION_OUT_OF_MEMORY, "no memory for the instance");
  instance->model = model;
  instance->inputs = (void **)(instance + 1);
  instance->outputs = instance->inputs + desc->input_count;
  instance->buffers = instance->outputs + desc->output_count;
  instance->hosts = instance->buffers + desc->buffer_count;
  atomic_fetch_add(&model->references, 1);
  *out_instance = instance;
  return PINION_OK;
}

void pinion_instance_destroy(pinion_instance *instance) {
  if (!instance) return;
  pinion_model *model = instance->model;
  if (instance->program) DEVICE->free_program(model->device, instance->program);
  if (instance->own_memory) DEVICE->free_memory(model->device, instance->own_memory);
  if (instance->arena) DEVICE->free_memory(model->device, instance->arena);
  free(instance);
  model_release(model);
}

/* One input or output that a call names. */
typedef struct bound_buffer {
  const pinion_buffer_desc *desc;
  void **address, **host; /* their places in the instance */
} bound_buffer;

static pinion_status find_buffer(pinion_instance *instance, pinion_space space, const char *name, const void *memory,
                                 size_t bytes, bound_buffer *out_buffer) {
  if (!instance) REFUSE(NULL, PINION_INVALID_ARGUMENT, "the instance is NULL");
  pinion_model *model = instance->model;
  const pinion_model_desc *desc = model->desc;
  bool is_input = space == PINION_SPACE_INPUT;
  const char *what = is_input ? "input" : "output";
  pinion_status status = check_alive(model);
  if (status) return status;
  if (!name) REFUSE(model, PINION_INVALID_ARGUMENT, "the %s's name is NULL", what);
  int32_t index = is_input ? pinion_input_index(model, name) : pinion_output_index(model, name);
  if (index < 0) REFUSE(model, PINION_INVALID_ARGUMENT, "the model has no %s '%s'", what, name);
  const uint32_t place = is_input ? desc->inputs[index] : desc->outputs[index];
  const pinion_buffer_desc *buffer = &desc->buffers[place];
  if (bytes != buffer->bytes)
    REFUSE(model, PINION_INVALID_ARGUMENT, "%s '%s' has %llu bytes, not %zu", what, name,
           (unsigned long long)buffer->bytes, bytes);
  if (!memory && bytes) REFUSE(model, PINION_INVALID_ARGUMENT, "the address for %s '%s' is NULL", what, name);
  *out_buffer =
      (bound_buffer){buffer, is_input ? &instance->inputs[index] : &instance->outputs[index], &instance->hosts[place]};
  return PINION_OK;
}

/* `attaches`: the address is host memory that the call copies from or to. */
static pinion_status bind_buffer(pinion_instance *instance, pinion_space space, const char *name, void *address,
                                 size_t bytes, bool attaches) {
  bound_buffer buffer;
  pinion_status status = find_buffer(instance, space, name, address, bytes, &buffer);
  if (status) return status;
  if (instance->program)
    REFUSE(instance->model, PINION_INVALID_ARGUMENT, "'%s' must be bound before the instance is prepared", name);
  if ((uintptr_t)address % pinion_dtype_size(buffer.desc->dtype))
    REFUSE(instance->model, PINION_INVALID_ARGUMENT, "the address for '%s' is not aligned to its element", name);
  if (attaches) *buffer.host = address;
  if (!attaches || !DEVICE->allocate_host) *buffer.address = address; /* host memory is the device's own */
  return PINION_OK;
}

pinion_status pinion_bind_input(pinion_instance *instance, const char *name, void *address, size_t bytes) {
  return bind_buffer(instance, PINION_SPACE_INPUT, name, address, bytes, false);
}

pinion_status pinion_bind_output(pinion_instance *instance, const char *name, void *address, size_t bytes) {
  return bind_buffer(instance, PINION_SPACE_OUTPUT, name, address, bytes, false);
}

pinion_status pinion_attach_input(pinion_instance *instance, const char *name, void *host, size_t bytes) {
  return bind_buffer(instance, PINION_SPACE_INPUT, name, host, bytes, true);
}

pinion_status pinion_attach_output(pinion_instance *instance, const char *name, void *host, size_t bytes) {
  return bind_buffer(instance, PINION_SPACE_OUTPUT, name, host, bytes, true);
}

/* Lays what is not bound out from `offset`; returns the end. With `base` NULL it only measures. */
static uint64_t place_unbound(const pinion_model_desc *desc, const uint32_t *list, uint32_t count, void **addresses,
                              uint8_t *base, uint64_t offset) {
  for (uint32_t i = 0; i < count; i++) {
    if (addresses[i]) continue;
    if (base) addresses[i] = base + offset;
    uint64_t bytes = desc->buffers[list[i]].bytes;
    offset += (bytes / PINION_BASE_ALIGN + 1) * PINION_BASE_ALIGN; /* never 0: two buffers never share an address */
  }
  return offset;
}

static uint64_t place_all_unbound(pinion_instance *instance, uint8_t *base) {
  const pinion_model_desc *desc = instance->model->desc;
  uint64_t end = place_unbound(desc, desc->inputs, desc->input_count, instance->inputs, base, 0);
  return place_unbound(desc, desc->outputs, desc->output_count, instance->outputs, base, end);
}

/* Gives every input and output that has no address yet one of the instance's own. */
static pinion_status own_unbound(pinion_instance *instance) {
  pinion_model *model = instance->model;
  pinion_error error = {""};
  uint64_t bytes = place_all_unbound(instance, NULL);
  if (bytes == 0) return PINION_OK;
  pinion_status status = DEVICE->allocate(model->device, bytes, &instance->own_memory, &error);
  if (status) return from_device(model, status, &error);
  place_all_unbound(instance, instance->own_memory);
  return PINION_OK;
}

static void resolve_buffers(pinion_instance *instance) {
  const pinion_model_desc *desc = instance->model->desc;
  for (uint32_t i = 0; i < desc->buffer_count; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[i];
    switch (buffer->space) {
    case PINION_SPACE_INPUT: instance->buffers[i] = instance->inputs[buffer->offset]; break;
    case PINION_SPACE_OUTPUT: instance->buffers[i] = instance->outputs[buffer->offset]; break;
    case PINION_SPACE_WEIGHTS: instance->buffers[i] = (uint8_t *)instance->model->weights + buffer->offset; break;
    default: instance->buffers[i] = (uint8_t *)instance->arena + buffer->offset;
    }
  }
}

static pinion_status prepare(pinion_instance *instance) {
  pinion_model *model = instance->model;
  pinion_error error = {""};
  pinion_status status = own_unbound(instance);
  if (!status && !instance->arena) {
    /* Never empty, so that the address of a buffer without bytes is an address. */
    uint64_t bytes = model->desc->arena_bytes ? model->desc->arena_bytes : PINION_BASE_ALIGN;
    status = from_device(model, DEVICE->allocate(model->device, bytes, &instance->arena, &error), &error);
  }
  if (status) return status;
  resolve_buffers(instance);
  status = DEVICE->capture(model->device, model->desc, instance->buffers, instance->hosts, &instance->program, &error);
  return from_device(model, status, &error);
}

static pinion_status check_instance(pinion_instance *instance) {
  if (!instance) REFUSE(NULL, PINION_INVALID_ARGUMENT, "the instance is NULL");
  return check_alive(instance->model);
}

static pinion_status check_prepared(pinion_instance *instance) {
  pinion_status status = check_instance(instance);
  if (status) return status;
  if (!instance->program) REFUSE(instance->model, PINION_NOT_PREPARED, "the instance is not prepared yet");
  return PINION_OK;
}

pinion_status pinion_prepare(pinion_instance *instance) {
  pinion_status status = check_instance(instance);
  return status || instance->program ? status : prepare(instance);
}

/* ---- Running ---- */

pinion_status pinion_set_input(pinion_instance *instance, const char *name, const void *host, size_t bytes) {
  bound_buffer buffer;
  pinion_error error = {""};
  pinion_status status = find_buffer(instance, PINION_SPACE_INPUT, name, host, bytes, &buffer);
  if (status) return status;
  if (*buffer.host)
    REFUSE(instance->model, PINION_INVALID_ARGUMENT, "input '%s' is attached: write it where it was attached", name);
  if (!*buffer.address) status = own_unbound(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  return from_device(model, DEVICE->copy_in(model->device, *buffer.address, host, bytes, NULL, &error), &error);
}

pinion_status pinion_get_output(pinion_instance *instance, const char *name, void *host, size_t bytes) {
  bound_buffer buffer;
  pinion_error error = {""};
  pinion_status status = find_buffer(instance, PINION_SPACE_OUTPUT, name, host, bytes, &buffer);
  if (!status) status = check_prepared(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  return from_device(model, DEVICE->copy_out(model->device, host, *buffer.address, bytes, NULL, &error), &error);
}

pinion_status pinion_run(pinion_instance *instance, void *stream) {
  pinion_error error; /* written by a call that fails, read only then */
  pinion_status status = pinion_prepare(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  status = DEVICE->replay(model->device, instance->program, stream, &error);
  if (!status && !stream) status = DEVICE->synchronize(model->device, NULL, &error);
  return from_device(model, status, &error);
}

pinion_status pinion_synchronize(pinion_instance *instance, void *stream) {
  pinion_error error = {""};
  pinion_status status = check_instance(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  return from_device(model, DEVICE->synchronize(model->device, stream, &error), &error);
}

/* ---- For tools ---- */

pinion_status pinion_read_buffer(pinion_instance *instance, uint32_t buffer, void *host, size_t bytes) {
  pinion_error error = {""};
  pinion_status status = check_prepared(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  if (buffer >= model->desc->buffer_count) REFUSE(model, PINION_INVALID_ARGUMENT, "there is no buffer %u", buffer);
  if (bytes != model->desc->buffers[buffer].bytes || (!host && bytes))
    REFUSE(model, PINION_INVALID_ARGUMENT, "buffer %u has %llu bytes, not %zu, or the address is NULL", buffer,
           (unsigned long long)model->desc->buffers[buffer].bytes, bytes);
  status = DEVICE->copy_out(model->device, host, instance->buffers[buffer], bytes, NULL, &error);
  return from_device(model, status, &error);
}

pinion_status pinion_run_launch(pinion_instance *instance, uint32_t launch, uint32_t step, double *out_microseconds) {
  pinion_error error = {""};
  pinion_status status = check_prepared(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  const pinion_stage_desc *stage = pinion_launch_stage(model->desc, launch);
  if (!stage) REFUSE(model, PINION_INVALID_ARGUMENT, "there is no launch %u", launch);
  if (step >= stage->repeat)
    REFUSE(model, PINION_INVALID_ARGUMENT, "launch %u has no step %u: stage '%s' runs %u times", launch, step,
           stage->name, stage->repeat);
  status = DEVICE->run_launch(model->device, instance->program, launch, step, out_microseconds, &error);
  return from_device(model, status, &error);
}

pinion_status pinion_time_launches(pinion_instance *instance, uint64_t count, double *out_microseconds) {
  pinion_error error = {""};
  pinion_status status = check_prepared(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  const uint64_t launches = pinion_description_launches(model->desc);
  if (count != launches || (!out_microseconds && count))
    REFUSE(model, PINION_INVALID_ARGUMENT, "the call has %llu launches, not %llu, or out_microseconds is NULL",
           (unsigned long long)launches, (unsigned long long)count);
  status = DEVICE->time_launches(model->device, instance->program, out_microseconds, &error);
  return from_device(model, status, &error);
}

pinion_status pinion_time_replays(pinion_instance *instance, uint32_t count, double *out_microseconds) {
  pinion_error error = {""};
  pinion_status status = check_prepared(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  if (!out_microseconds && count) REFUSE(model, PINION_INVALID_ARGUMENT, "out_microseconds is NULL");
  status = DEVICE->time_replays(model->device, instance->program, count, out_microseconds, &error);
  return from_device(model, status, &error);
}

pinion_status pinion_describe_capture(pinion_instance *instance, pinion_capture_facts *out_facts) {
  pinion_status status = check_prepared(instance);
  if (status) return status;
  if (!out_facts) REFUSE(instance->model, PINION_INVALID_ARGUMENT, "out_facts is NULL");
  DEVICE->describe_capture(instance->program, out_facts);
  return PINION_OK;
}

pinion_status pinion_describe_device(pinion_model *model, pinion_device_facts *out_facts) {
  pinion_error error = {""};
  if (!model || !out_facts)
    REFUSE(model, PINION_INVALID_ARGUMENT, "pinion_describe_device: %s is NULL", model ? "out_facts" : "the model");
  pinion_status status = check_alive(model);
  return status ? status : from_device(model, DEVICE->describe(model->device, out_facts, &error), &error);
}

/* NULL, or what is wrong with launches that are to take the places of the table's. */
static const char *variant_fault(const pinion_model_desc *desc, const pinion_launch_desc *launches) {
  for (uint32_t i = 0; i < desc->launch_count; i++) {
    const pinion_launch_desc *own = &desc->launches[i], *other = &launches[i];
    if (other->kernel >= desc->kernel_count) return "there is no such kernel";
    if (other->first_arg != own->first_arg || other->arg_count != own->arg_count || other->params != own->params)
      return "a launch has other arguments or params than the table's";
    if (other->tensor_map && other->tensor_map->argument >= other->arg_count) return "the tensor map is of no argument";
  }
  return NULL;
}

pinion_status pinion_time_variant(pinion_instance *instance, const pinion_variant *variant, uint32_t count,
                                  double *out_own_microseconds, double *out_variant_microseconds) {
  pinion_error error = {""};
  pinion_status status = check_prepared(instance);
  if (status) return status;
  pinion_model *model = instance->model;
  if (!variant || !out_own_microseconds || !out_variant_microseconds)
    REFUSE(model, PINION_INVALID_ARGUMENT, "pinion_time_variant: an argument is NULL");
  if (!DEVICE->time_variant) REFUSE(model, PINION_INVALID_ARGUMENT, "device '%s' has no variants", DEVICE->name);
  const char *fault = variant->launches ? variant_fault(model->desc, variant->launches) : NULL;
  if (fault) REFUSE(model, PINION_INVALID_ARGUMENT, "pinion_time_variant: %s", fault);
  status = DEVICE->time_variant(model->device, instance->program, variant, count, out_own_microseconds,
                                out_variant_microseconds, &error);
  return from_device(model, status, &error);
}
