/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_CLOEXEC under -std=c11 */
#endif
#include "description.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_COUNT (1u << 24)   /* rows of any table, and launches of one call: far beyond a real policy */
#define MAX_ARENA (1ull << 46) /* bytes */
#define BAD(...) pinion_fail(error, PINION_BAD_ARTIFACT, __VA_ARGS__)

pinion_status pinion_fail(pinion_error *error, pinion_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->text, sizeof error->text, format, arguments);
  va_end(arguments);
  return status;
}

static bool multiply(uint64_t a, uint64_t b, uint64_t *out_product) {
  if (a != 0 && b > UINT64_MAX / a) return false;
  *out_product = a * b;
  return true;
}

/* ---- The model's own fields ---- */

static pinion_status check_table(const char *name, const void *table, uint32_t count, pinion_error *error) {
  if (count > MAX_COUNT) return BAD("the table of %s claims %u rows: the artifact is damaged", name, count);
  if (count && !table) return BAD("the table of %s is missing: the artifact is damaged", name);
  return PINION_OK;
}

static pinion_status check_header(const pinion_model_desc *d, pinion_error *error) {
  if (d->abi_version != PINION_ABI_VERSION)
    return BAD("the artifact has schema version %u, this runtime reads version %d: compile the model again",
               d->abi_version, PINION_ABI_VERSION);
  if (!d->name || !d->target || !d->device) return BAD("the description lacks its name, target or device");
  if (strlen(d->target) >= sizeof((pinion_weights_header *)0)->target) return BAD("the target's name is too long");
  if (d->arena_bytes > MAX_ARENA) return BAD("the arena claims %llu bytes", (unsigned long long)d->arena_bytes);
  const struct {
    const char *name;
    const void *table;
    uint32_t count;
  } tables[] = {
      {"buffers", d->buffers, d->buffer_count}, {"kernels", d->kernels, d->kernel_count},
      {"arguments", d->args, d->arg_count},     {"launches", d->launches, d->launch_count},
      {"stages", d->stages, d->stage_count},    {"dependencies", d->dependencies, d->dependency_count},
      {"inputs", d->inputs, d->input_count},    {"outputs", d->outputs, d->output_count},
  };
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
    pinion_status status = check_table(tables[i].name, tables[i].table, tables[i].count, error);
    if (status) return status;
  }
  return PINION_OK;
}

/* ---- Buffers ---- */

/* Bytes from the first element to the end of the last row: ((rows - 1) * pitch + width) * element; and rows * pitch. */
static bool buffer_extent(const pinion_buffer_desc *b, uint64_t *out_bytes) {
  uint64_t rows = 1, width = b->rank ? (uint64_t)b->dims[b->rank - 1] : 1, last_row;
  *out_bytes = 0;
  for (int i = 0; i + 1 < b->rank; i++)
    if (!multiply(rows, (uint64_t)b->dims[i], &rows)) return false;
  if (rows == 0 || width == 0) return true;
  if (!multiply(rows - 1, (uint64_t)b->pitch, &last_row) || last_row > UINT64_MAX - width) return false;
  return multiply(last_row + width, pinion_dtype_size(b->dtype), out_bytes);
}

static pinion_status check_shape(const pinion_buffer_desc *b, uint32_t index, pinion_error *error) {
  if (!b->name) return BAD("buffer %u has no name", index);
  if ((unsigned)b->space >= PINION_SPACE_COUNT) return BAD("buffer %u '%s': no such space", index, b->name);
  if ((unsigned)b->dtype >= PINION_DTYPE_COUNT) return BAD("buffer %u '%s': no such element type", index, b->name);
  if (b->rank < 0 || b->rank > PINION_MAX_RANK) return BAD("buffer %u '%s': rank %d", index, b->name, (int)b->rank);
  for (int i = 0; i < b->rank; i++)
    if (b->dims[i] < 0) return BAD("buffer %u '%s': dimension %d is negative", index, b->name, i);
  if (b->rank && b->pitch < b->dims[b->rank - 1] && b->space != PINION_SPACE_WEIGHTS)
    return BAD("buffer %u '%s': its pitch is less than a row", index, b->name);
  return PINION_OK;
}

/* A packed weight has its target's layout: there only the range is known. */
static pinion_status check_range(const pinion_model_desc *d, const pinion_buffer_desc *b, uint32_t index,
                                 pinion_error *error) {
  uint64_t space = b->space == PINION_SPACE_ARENA ? d->arena_bytes : d->weights_bytes, extent;
  if (b->offset % PINION_BASE_ALIGN) return BAD("buffer %u '%s': its offset is not aligned", index, b->name);
  if (b->offset > space || b->bytes > space - b->offset)
    return BAD("buffer %u '%s' lies outside the %s", index, b->name,
               b->space == PINION_SPACE_ARENA ? "arena" : "weights");
  if (b->space == PINION_SPACE_ARENA && (!buffer_extent(b, &extent) || extent > b->bytes))
    return BAD("buffer %u '%s': its shape needs more than its %llu bytes", index, b->name,
               (unsigned long long)b->bytes);
  return PINION_OK;
}

static pinion_status check_bound(const pinion_model_desc *d, const pinion_buffer_desc *b, uint32_t index,
                                 pinion_error *error) {
  bool is_input = b->space == PINION_SPACE_INPUT;
  const uint32_t *list = is_input ? d->inputs : d->outputs;
  uint64_t extent;
  if (b->offset >= (is_input ? d->input_count : d->output_count) || list[b->offset] != index)
    return BAD("buffer %u '%s' is not in the list of %s", index, b->name, is_input ? "inputs" : "outputs");
  if (b->rank && b->pitch != b->dims[b->rank - 1]) return BAD("buffer %u '%s': its rows must be dense", index, b->name);
  if (!buffer_extent(b, &extent) || extent != b->bytes)
    return BAD("buffer %u '%s': its size and its shape differ", index, b->name);
  return PINION_OK;
}

static pinion_status check_buffers(const pinion_model_desc *d, pinion_error *error) {
  for (uint32_t i = 0; i < d->buffer_count; i++) {
    const pinion_buffer_desc *b = &d->buffers[i];
    pinion_status status = check_shape(b, i, error);
    bool placed = b->space == PINION_SPACE_ARENA || b->space == PINION_SPACE_WEIGHTS;
    if (!status) status = placed ? check_range(d, b, i, error) : check_bound(d, b, i, error);
    if (status) return status;
  }
  return PINION_OK;
}

static pinion_status check_list(const pinion_model_desc *d, pinion_space space, const uint32_t *list, uint32_t count,
                                pinion_error *error) {
  const char *what = space == PINION_SPACE_INPUT ? "input" : "output";
  for (uint32_t i = 0; i < count; i++) {
    if (list[i] >= d->buffer_count) return BAD("%s %u is no buffer of the table", what, i);
    const pinion_buffer_desc *b = &d->buffers[list[i]];
    if (b->space != space || b->offset != i) return BAD("%s %u '%s' is a buffer of another kind", what, i, b->name);
    for (uint32_t j = 0; j < i; j++)
      if (!strcmp(d->buffers[list[j]].name, b->name)) return BAD("two %ss are named '%s'", what, b->name);
  }
  return PINION_OK;
}

/* ---- Launches ---- */

/* Elements that an argument reaches before and beyond its address. */
typedef struct reach {
  int64_t low, high; /* low <= 0 <= high */
} reach;

/* Adds (count - 1) * stride; false on overflow. */
static bool extend_reach(reach *r, int64_t count, int64_t stride) {
  int64_t distance;
  if (count <= 1) return true;
  if (__builtin_mul_overflow(count - 1, stride, &distance)) return false;
  return distance < 0 ? !__builtin_add_overflow(r->low, distance, &r->low)
                      : !__builtin_add_overflow(r->high, distance, &r->high);
}

/* How far an argument goes along dimension `dim`: not all simply walk the space; abi.h says why. */
static int64_t extent_of(pinion_family family, const pinion_params *p, uint32_t arg, int dim) {
  if (family == PINION_FAMILY_GEMM) return pinion_gemm_extent(p, (int)arg, dim);
  if (family == PINION_FAMILY_GATHER && arg == 1) return dim == p->integer[1] ? p->integer[0] : p->size[dim];
  if (family == PINION_FAMILY_IM2COL && arg == 1)
    return dim == 1 ? p->integer[6] : dim == 2 ? p->integer[7] : dim > 3 ? 1 : p->size[dim];
  return p->size[dim];
}

static bool argument_reach(pinion_family family, const pinion_params *p, uint32_t arg, reach *out_reach) {
  *out_reach = (reach){0, 0};
  for (int dim = 0; dim < p->rank; dim++)
    if (!extend_reach(out_reach, extent_of(family, p, arg, dim), p->stride[arg][dim])) return false;
  bool is_pair = family == PINION_FAMILY_ROPE && arg < 2; /* y and x: the partner lies so far away */
  return !is_pair || extend_reach(out_reach, 2, p->integer[arg == 0]);
}

static bool is_empty(const pinion_params *p) {
  for (int dim = 0; dim < p->rank; dim++)
    if (p->size[dim] == 0) return true;
  return false;
}

/* Whether everything from `offset` + low to `offset` + high is in the buffer; in bytes. */
static bool in_buffer(int64_t offset, const reach *r, const pinion_buffer_desc *buffer) {
  int64_t element = (int64_t)pinion_dtype_size(buffer->dtype), low, high;
  if (__builtin_mul_overflow(r->low, element, &low) || __builtin_mul_overflow(r->high, element, &high)) return false;
  if (__builtin_add_overflow(low, offset, &low) || __builtin_add_overflow(high, offset, &high)) return false;
  return low >= 0 && high >= 0 && (uint64_t)high < buffer->bytes && buffer->bytes - (uint64_t)high >= (uint64_t)element;
}

/* The first and the last step must stay within the buffer, and those between lie between. */
static bool arg_in_buffer(const pinion_arg *arg, const pinion_buffer_desc *buffer, const reach *r, uint32_t repeat) {
  int64_t travel, last;
  if (arg->offset < 0 || __builtin_mul_overflow(arg->step_stride, (int64_t)repeat - 1, &travel)) return false;
  return !__builtin_add_overflow(arg->offset, travel, &last) && in_buffer(arg->offset, r, buffer) &&
         in_buffer(last, r, buffer);
}

static pinion_status check_args(const pinion_model_desc *d, uint32_t index, pinion_error *error) {
  const pinion_launch_desc *launch = &d->launches[index];
  const pinion_stage_desc *stage = pinion_launch_stage(d, index);
  pinion_family family = d->kernels[launch->kernel].family;
  for (uint32_t i = 0; i < launch->arg_count; i++) {
    const pinion_arg *arg = &d->args[launch->first_arg + i];
    reach r;
    if (arg->buffer >= d->buffer_count) return BAD("launch %u, argument %u: no such buffer", index, i);
    if (is_empty(launch->params)) continue; /* touches nothing */
    if (!argument_reach(family, launch->params, i, &r) ||
        !arg_in_buffer(arg, &d->buffers[arg->buffer], &r, stage ? stage->repeat : 1))
      return BAD("launch %u, argument %u reaches outside buffer '%s'", index, i, d->buffers[arg->buffer].name);
  }
  return PINION_OK;
}

/* So that neither the driver's encoder nor the copy engine is given what it cannot do. */
static pinion_status check_tensor_map(const pinion_model_desc *d, uint32_t index, pinion_error *error) {
  const pinion_launch_desc *launch = &d->launches[index];
  const pinion_tensor_map *map = launch->tensor_map;
  const pinion_stage_desc *stage = pinion_launch_stage(d, index);
  reach r = {0, 0};
  if (!map) return PINION_OK;
  if (map->argument >= launch->arg_count || map->rank < 1 || map->rank > PINION_TENSOR_MAP_RANK)
    return BAD("launch %u: its tensor map is of no argument, or of rank %u", index, map->rank);
  const pinion_arg *arg = &d->args[launch->first_arg + map->argument];
  const pinion_buffer_desc *buffer = &d->buffers[arg->buffer];
  int64_t element = (int64_t)pinion_dtype_size(map->dtype);
  if (map->dtype != PINION_DTYPE_bf16 && map->dtype != PINION_DTYPE_f16 && map->dtype != PINION_DTYPE_f32)
    return BAD("launch %u: its tensor map's element type is not bf16, f16 or f32", index);
  if (map->dtype != buffer->dtype || map->stride[0] != 1 || map->box[0] * element != 128)
    return BAD("launch %u: its tensor map does not have buffer '%s' in rows of 128 bytes", index, buffer->name);
  if (arg->offset % 16 || arg->step_stride % 16)
    return BAD("launch %u: the argument of its tensor map is not a multiple of 16 bytes away", index);
  for (uint32_t i = 0; i < map->rank; i++)
    if (map->size[i] < 1 || map->size[i] > INT32_MAX || map->box[i] < 1 || map->box[i] > 256 || map->stride[i] < 1 ||
        (i && (map->stride[i] > INT32_MAX || map->stride[i] * element % 16)) ||
        !extend_reach(&r, map->size[i], map->stride[i]))
      return BAD("launch %u: dimension %u of its tensor map is wrong", index, i);
  if (!arg_in_buffer(arg, buffer, &r, stage ? stage->repeat : 1))
    return BAD("launch %u: its tensor map reaches outside buffer '%s'", index, buffer->name);
  return PINION_OK;
}

static pinion_status check_params(const pinion_launch_desc *launch, uint32_t index, pinion_error *error) {
  const pinion_params *p = launch->params;
  if (!p) return BAD("launch %u has no parameters", index);
  if (p->rank < 0 || p->rank > PINION_MAX_RANK) return BAD("launch %u: rank %d", index, (int)p->rank);
  if (p->arg_count < 0 || (uint32_t)p->arg_count != launch->arg_count)
    return BAD("launch %u: its parameters are for %d arguments, it has %u", index, (int)p->arg_count,
               launch->arg_count);
  for (int i = 0; i < p->rank; i++)
    if (p->size[i] < 0) return BAD("launch %u: dimension %d is negative", index, i);
  return PINION_OK;
}

/* What abi.h says of each family's space and arguments, so that no kernel reads a dimension that is not there. */
static const struct {
  int32_t least_rank, most_rank, least_args, most_args;
} family_limits[] = {
    [PINION_FAMILY_POINTWISE] = {0, PINION_MAX_RANK, 1, PINION_MAX_ARGS},
    [PINION_FAMILY_GEMM] = {PINION_GEMM_RANK, PINION_GEMM_RANK, 3, PINION_MAX_ARGS},
    [PINION_FAMILY_SOFTMAX] = {1, PINION_MAX_RANK, 2, 2},
    [PINION_FAMILY_REDUCE] = {0, PINION_MAX_RANK, 2, 2},
    [PINION_FAMILY_CUMSUM] = {1, PINION_MAX_RANK, 2, 2},
    [PINION_FAMILY_NORM] = {1, PINION_MAX_RANK, 2, 4},
    [PINION_FAMILY_ATTENTION] = {7, 7, 4, 5},
    [PINION_FAMILY_GATHER] = {1, PINION_MAX_RANK, 3, 3},
    [PINION_FAMILY_IM2COL] = {6, 6, 2, 2},
    [PINION_FAMILY_ROPE] = {4, 4, 4, 4},
};

static pinion_status check_family(pinion_family family, const pinion_params *p, uint32_t index, pinion_error *error) {
  if (p->rank < family_limits[family].least_rank || p->rank > family_limits[family].most_rank)
    return BAD("launch %u: rank %d is not one of its kernel's family", index, (int)p->rank);
  if (p->arg_count < family_limits[family].least_args || p->arg_count > family_limits[family].most_args)
    return BAD("launch %u: %d arguments are not what its kernel's family takes", index, (int)p->arg_count);
  if (family == PINION_FAMILY_GATHER && (p->integer[0] < 1 || p->integer[1] < 0 || p->integer[1] >= p->rank))
    return BAD("launch %u: it gathers along a dimension that it does not have", index);
  if (family == PINION_FAMILY_REDUCE && (p->integer[0] < 0 || p->integer[0] > p->rank))
    return BAD("launch %u: it reduces more dimensions than it has", index);
  const char *fault = family == PINION_FAMILY_GEMM ? pinion_gemm_fault(p) : NULL;
  if (fault) return BAD("launch %u: %s", index, fault);
  return PINION_OK;
}

static pinion_status check_launch(const pinion_model_desc *d, uint32_t index, pinion_error *error) {
  const pinion_launch_desc *launch = &d->launches[index];
  if (launch->kernel >= d->kernel_count) return BAD("launch %u: no such kernel", index);
  for (int i = 0; i < 3; i++)
    if (launch->grid[i] == 0 || launch->block[i] == 0) return BAD("launch %u has an empty grid", index);
  if (launch->arg_count > PINION_MAX_ARGS || launch->first_arg > d->arg_count ||
      launch->arg_count > d->arg_count - launch->first_arg)
    return BAD("launch %u: its arguments lie outside their table", index);
  if (launch->first_dependency > d->dependency_count ||
      launch->dependency_count > d->dependency_count - launch->first_dependency)
    return BAD("launch %u: its dependencies lie outside their table", index);
  for (uint32_t i = 0; i < launch->dependency_count; i++)
    if (d->dependencies[launch->first_dependency + i] >= index)
      return BAD("launch %u depends on launch %u, which does not come before it", index,
                 d->dependencies[launch->first_dependency + i]);
  pinion_status status = check_params(launch, index, error);
  if (!status) status = check_family(d->kernels[launch->kernel].family, launch->params, index, error);
  if (!status) status = check_args(d, index, error);
  return status ? status : check_tensor_map(d, index, error);
}

static pinion_status check_kernels(const pinion_model_desc *d, pinion_error *error) {
  for (uint32_t i = 0; i < d->kernel_count; i++)
    if (!d->kernels[i].name || (!d->kernels[i].blob && !d->kernels[i].entry))
      return BAD("kernel %u has no name, or neither a blob nor an entry", i);
  for (uint32_t i = 0; i < d->kernel_count; i++)
    if ((unsigned)d->kernels[i].family >= PINION_FAMILY_COUNT)
      return BAD("kernel %u '%s': no such family", i, d->kernels[i].name);
  return PINION_OK;
}

/* Stages follow one another through the launch table, so that a launch has one stage. */
static pinion_status check_stages(const pinion_model_desc *d, pinion_error *error) {
  uint32_t next = 0;
  for (uint32_t i = 0; i < d->stage_count; i++) {
    const pinion_stage_desc *stage = &d->stages[i];
    if (!stage->name) return BAD("stage %u has no name", i);
    if (stage->first_launch != next || stage->launch_count > d->launch_count - next)
      return BAD("stage %u '%s': its launches are not the ones that follow the stage before", i, stage->name);
    if (stage->repeat == 0 || stage->repeat > MAX_COUNT)
      return BAD("stage %u '%s': it repeats %u times", i, stage->name, stage->repeat);
    next += stage->launch_count;
  }
  if (next != d->launch_count) return BAD("%u launches are in no stage", d->launch_count - next);
  if (pinion_description_launches(d) > MAX_COUNT) return BAD("one call has more than %u launches", MAX_COUNT);
  return PINION_OK;
}

static pinion_status check_launches(const pinion_model_desc *d, pinion_error *error) {
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < d->launch_count && !status; i++) status = check_launch(d, i, error);
  return status;
}

pinion_status pinion_description_check(const pinion_model_desc *d, pinion_error *error) {
  pinion_status status = check_header(d, error);
  if (!status) status = check_buffers(d, error);
  if (!status) status = check_list(d, PINION_SPACE_INPUT, d->inputs, d->input_count, error);
  if (!status) status = check_list(d, PINION_SPACE_OUTPUT, d->outputs, d->output_count, error);
  if (!status) status = check_kernels(d, error);
  if (!status) status = check_stages(d, error); /* before launches: an argument's range depends on its stage */
  if (!status) status = check_launches(d, error);
  return status;
}

uint64_t pinion_description_launches(const pinion_model_desc *d) {
  uint64_t launches = 0;
  for (uint32_t i = 0; i < d->stage_count; i++) launches += (uint64_t)d->stages[i].launch_count * d->stages[i].repeat;
  return launches;
}

const pinion_stage_desc *pinion_launch_stage(const pinion_model_desc *d, uint32_t launch) {
  for (uint32_t i = 0; i < d->stage_count; i++)
    if (launch >= d->stages[i].first_launch && launch - d->stages[i].first_launch < d->stages[i].launch_count)
      return &d->stages[i];
  return NULL;
}

/* ---- weights.bin ---- */

static pinion_status check_weights(const pinion_model_desc *d, const char *path, const pinion_weights_header *header,
                                   uint64_t bytes, pinion_error *error) {
  if (memcmp(header->magic, "PINIONW\0", sizeof header->magic) != 0)
    return BAD("%s is not a weights file of Pinion", path);
  if (header->abi_version != PINION_ABI_VERSION)
    return BAD("%s has schema version %u, this runtime reads version %d", path, header->abi_version,
               PINION_ABI_VERSION);
  if (strncmp(header->target, d->target, sizeof header->target) != 0)
    return BAD("%s is packed for target '%.*s', the model for '%s'", path, (int)sizeof header->target, header->target,
               d->target);
  if (header->bytes != bytes || bytes != d->weights_bytes)
    return BAD(
        "%s has %llu bytes, its header says %llu and the model expects %llu: it is truncated, or of another model",
        path, (unsigned long long)bytes, (unsigned long long)header->bytes, (unsigned long long)d->weights_bytes);
  return PINION_OK;
}

static pinion_status map_and_check(const pinion_model_desc *d, const char *path, int descriptor,
                                   pinion_weights_file *out_file, pinion_error *error) {
  struct stat info;
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) return BAD("%s is not a regular file", path);
  uint64_t bytes = (uint64_t)info.st_size;
  if (bytes < sizeof(pinion_weights_header)) return BAD("%s is truncated: it has no header", path);
  void *address = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED)
    return pinion_fail(error, PINION_OUT_OF_MEMORY, "cannot map %s: %s", path, strerror(errno));
  pinion_status status = check_weights(d, path, address, bytes, error);
  *out_file = (pinion_weights_file){address, bytes};
  if (status) pinion_weights_unmap(out_file);
  return status;
}

pinion_status pinion_weights_map(const pinion_model_desc *d, const char *directory, const char *path,
                                 pinion_weights_file *out_file, pinion_error *error) {
  char in_directory[4096];
  *out_file = (pinion_weights_file){0};
  if (d->weights_bytes == 0) return PINION_OK;
  if (!path) {
    int length = snprintf(in_directory, sizeof in_directory, "%s/weights.bin", directory);
    if (length < 0 || (size_t)length >= sizeof in_directory)
      return pinion_fail(error, PINION_INVALID_ARGUMENT, "the artifact's path is too long");
    path = in_directory;
  }
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return BAD("cannot open %s: %s", path, strerror(errno));
  pinion_status status = map_and_check(d, path, descriptor, out_file, error);
  close(descriptor);
  return status;
}

void pinion_weights_unmap(pinion_weights_file *file) {
  if (file->address) munmap(file->address, (size_t)file->bytes);
  *file = (pinion_weights_file){0};
}
