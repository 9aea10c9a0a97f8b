/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "program_runner.h"

#include "tests/kernels/params_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ---- */

/* The result of @weights in the buffer's rows; a packed buffer keeps it dense, as it was before packing. */
static uint8_t *weight_memory(const program_buffer *buffer, const eval_tensor *tensor) {
  const size_t size = pinion_dtype_size(buffer->type.dtype), dense_bytes = (size_t)type_bytes(&tensor->type);
  uint8_t *dense = calloc(1, dense_bytes + 1);
  eval_tensor_to_bytes(tensor, dense);
  if (buffer->packed || buffer->type.rank == 0) return dense;
  const size_t row = (size_t)buffer->type.dims[buffer->type.rank - 1] * size, pitch = (size_t)buffer->pitch * size;
  uint8_t *padded = calloc(1, (size_t)buffer->bytes + 1);
  for (size_t i = 0; row && i < dense_bytes / row; i++) memcpy(padded + i * pitch, dense + i * row, row);
  free(dense);
  return padded;
}

static status create_weights(runner *r, MlirModule module) {
  MlirOperation function = module_function(module, "weights");
  if (mlirOperationIsNull(function)) return STATUS_OK;
  const intptr_t count = mlirOperationGetNumOperands(block_terminator(function_body(function)));
  eval_tensor *results = calloc((size_t)count + 1, sizeof *results);
  const status result = eval_function(r->c, module, "weights", NULL, EVAL_AS_TYPED, NULL, NULL, results);
  for (int i = 0; i < r->p.buffer_count && result == STATUS_OK; i++)
    if (r->p.buffers[i].space == PINION_SPACE_WEIGHTS)
      r->memory[i] = weight_memory(&r->p.buffers[i], &results[r->p.buffers[i].source]);
  for (intptr_t i = 0; i < count && result == STATUS_OK; i++) eval_free(&results[i]);
  free(results);
  return result;
}

status runner_create(compilation *c, MlirModule module, runner *out_runner) {
  *out_runner = (runner){.c = c};
  runner *r = out_runner;
  status result = program_read(c, module, &r->p);
  if (result != STATUS_OK) return result;
  r->memory = calloc((size_t)r->p.buffer_count + 1, sizeof *r->memory);
  r->arena = malloc((size_t)r->p.arena_bytes + 1);
  memset(r->arena, 0xff, (size_t)r->p.arena_bytes + 1); /* NaN in every float type */
  r->owner = malloc(sizeof *r->owner * ((size_t)r->p.arena_bytes + 1));
  for (int64_t i = 0; i < r->p.arena_bytes; i++) r->owner[i] = -1;
  for (int i = 0; i < r->p.buffer_count; i++) {
    const program_buffer *buffer = &r->p.buffers[i];
    if (buffer->space == PINION_SPACE_ARENA)
      r->memory[i] = r->arena + buffer->offset;
    else if (buffer->space != PINION_SPACE_WEIGHTS)
      r->memory[i] = calloc(1, (size_t)buffer->bytes + 1);
  }
  return create_weights(r, module);
}

void runner_destroy(runner *r) {
  for (int i = 0; i < r->p.buffer_count; i++)
    if (r->memory && r->p.buffers[i].space != PINION_SPACE_ARENA) free(r->memory[i]);
  free(r->memory);
  free(r->arena);
  free(r->owner);
}

static void *io_memory(runner *r, pinion_space space, int index) {
  for (int i = 0; i < r->p.buffer_count; i++)
    if (r->p.buffers[i].space == space && r->p.buffers[i].offset == index) return r->memory[i];
  return NULL;
}

void *runner_input(runner *r, int index) {
  return io_memory(r, PINION_SPACE_INPUT, index);
}

void *runner_output(runner *r, int index) {
  return io_memory(r, PINION_SPACE_OUTPUT, index);
}

/* ---- Watching ---- */

static void check_byte_range(runner *r, const program_launch *launch, int buffer, int64_t element, bool writes) {
  const int64_t size = (int64_t)pinion_dtype_size(r->p.buffers[buffer].type.dtype), bytes = r->p.buffers[buffer].bytes;
  if (element < 0 || (element + 1) * size > bytes) {
    if (r->faults++ == 0)
      snprintf(r->first_fault, sizeof r->first_fault,
               "launch %d (%s) touches element %lld of '%s', which has %lld bytes", (int)(launch - r->p.launches),
               family_name(launch->family), (long long)element, r->p.buffers[buffer].name, (long long)bytes);
    return;
  }
  if (r->p.buffers[buffer].space != PINION_SPACE_ARENA) return;
  for (int64_t b = element * size; b < (element + 1) * size; b++) {
    int32_t *owner = &r->owner[r->p.buffers[buffer].offset + b];
    if (writes) {
      *owner = buffer;
    } else if (*owner != buffer && r->faults++ == 0) {
      snprintf(r->first_fault, sizeof r->first_fault, "launch %d (%s) reads element %lld of '%s', written by %s%s",
               (int)(launch - r->p.launches), family_name(launch->family), (long long)element,
               r->p.buffers[buffer].name, *owner < 0 ? "nobody" : "the owner of ",
               *owner < 0 ? "" : r->p.buffers[*owner].name);
    }
  }
}

/* Extents of what an argument touches; a gather or im2col reaches over all of its operand. */
static void touched_extents(const program_launch *launch, int arg, int64_t *size) {
  const pinion_params *params = &launch->params;
  for (int d = 0; d < params->rank; d++) size[d] = params->stride[arg][d] ? params->size[d] : 1;
  if (launch->family == PINION_FAMILY_GEMM)
    for (int d = 0; d < params->rank; d++)
      if (params->stride[arg][d]) size[d] = pinion_gemm_extent(params, arg, d);
  if (arg != launch->result_count) return;
  if (launch->family == PINION_FAMILY_GATHER) size[params->integer[1]] = params->integer[0];
  if (launch->family == PINION_FAMILY_IM2COL) size[1] = params->integer[6], size[2] = params->integer[7];
}

static void watch_arg(runner *r, const program_launch *launch, int arg, int64_t step) {
  const int buffer = launch->buffers[arg];
  if (r->p.buffers[buffer].packed) return;
  int64_t size[PINION_MAX_RANK], index[PINION_MAX_RANK] = {0}, total = 1;
  touched_extents(launch, arg, size);
  for (int d = 0; d < launch->params.rank; d++) total *= size[d];
  const bool pairs = launch->family == PINION_FAMILY_ROPE && arg < 2;
  for (int64_t i = 0; i < total; i++) {
    int64_t element = launch->offset[arg] + step * launch->step_stride[arg];
    for (int d = 0; d < launch->params.rank; d++) element += index[d] * launch->params.stride[arg][d];
    check_byte_range(r, launch, buffer, element, arg < launch->result_count);
    if (pairs)
      check_byte_range(r, launch, buffer, element + launch->params.integer[arg == 0], arg < launch->result_count);
    for (int d = launch->params.rank - 1; d >= 0 && ++index[d] == size[d]; d--) index[d] = 0;
  }
}

/* ---- Running ---- */

typedef struct result_values {
  double *values; /* marked where the launch has not written */
  int64_t first, count;
} result_values;

static const double unwritten = -1.2345678901234567e300;

static void store_result(runner *r, const program_launch *launch, int arg, const result_values *v) {
  const int buffer = launch->buffers[arg];
  for (int64_t i = 0; i < v->count; i++)
    if (v->values[i] != unwritten)
      reference_store(r->p.buffers[buffer].type.dtype, r->memory[buffer], v->first + i, v->values[i]);
}

static void unpack_weight(const runner *r, const program_launch *launch, kernel_problem *problem, void **args) {
  const int b = launch->result_count + 1;
  const program_buffer *buffer = &r->p.buffers[launch->buffers[b]];
  if (!problem->packed_b) return;
  problem->packed_b = false;
  memcpy(&problem->params.stride[b][PINION_GEMM_H], &buffer->source_view[1], 4 * sizeof buffer->source_view[0]);
  args[b] = r->memory[launch->buffers[b]] + buffer->source_view[0] * (int64_t)pinion_dtype_size(buffer->type.dtype);
}

static status run_launch(runner *r, const program_launch *launch, int64_t step) {
  kernel_problem *problem = calloc(1, sizeof *problem);
  void *args[PINION_MAX_ARGS];
  double *results[PINION_MAX_ARGS];
  result_values values[PINION_MAX_ARGS];
  status result = kernel_problem_of(r->c, &r->p, launch, problem);
  for (int a = launch->params.arg_count - 1; a >= 0; a--) watch_arg(r, launch, a, step); /* operands before results */
  for (int a = 0; a < launch->params.arg_count && r->faults == 0; a++) {
    const int64_t size = (int64_t)pinion_dtype_size(program_arg_dtype(&r->p, launch, a));
    const int64_t base = launch->offset[a] + step * launch->step_stride[a];
    int64_t first, last;
    program_arg_range(&r->p, launch, a, &first, &last);
    args[a] = r->memory[launch->buffers[a]] + base * size;
    if (a >= launch->result_count) continue;
    values[a] = (result_values){.first = first / size, .count = (last - first) / size};
    values[a].values = malloc(sizeof(double) * (size_t)(values[a].count + 1));
    for (int64_t i = 0; i < values[a].count; i++) values[a].values[i] = unwritten;
    results[a] = values[a].values + (base - values[a].first);
  }
  if (r->faults) {
    free(problem);
    return STATUS_FAILED;
  }
  unpack_weight(r, launch, problem, args);
  if (result == STATUS_OK && !reference_run(problem, args, results)) result = STATUS_UNSUPPORTED;
  for (int a = 0; a < launch->result_count; a++) {
    if (result == STATUS_OK) store_result(r, launch, a, &values[a]);
    free(values[a].values);
  }
  free(problem);
  return result;
}

static bool is_ready(const program_launch *launch, int first, const bool *done) {
  for (int k = 0; k < launch->after_count; k++)
    if (launch->after[k] >= first && !done[launch->after[k]]) return false;
  return true;
}

/* Launches first .. end once, in an order that `after` allows. */
static status run_range(runner *r, int first, int end, int64_t step, runner_order order) {
  bool *done = calloc((size_t)end + 1, sizeof *done);
  status result = STATUS_OK;
  for (int n = first; n < end && result == STATUS_OK; n++) {
    int next = n;
    if (order == RUNNER_LATE_FIRST)
      for (next = end - 1; next >= first && (done[next] || !is_ready(&r->p.launches[next], first, done));) next--;
    if (next < first) result = STATUS_FAILED;
    if (result == STATUS_OK) result = run_launch(r, &r->p.launches[next], step);
    if (result == STATUS_OK) done[next] = true;
  }
  free(done);
  return result;
}

status runner_run(runner *r, runner_order order) {
  status result = STATUS_OK;
  for (int s = 0; s < r->p.stage_count && result == STATUS_OK;) {
    const program_stage *stage = &r->p.stages[s++];
    int end = stage->first_launch + stage->launch_count;
    /* Stages that run once are one pool of launches: nothing but `after` separates them. */
    while (stage->repeat == 1 && s < r->p.stage_count && r->p.stages[s].repeat == 1)
      end += r->p.stages[s++].launch_count;
    for (int64_t step = 0; step < stage->repeat && result == STATUS_OK; step++)
      result = run_range(r, stage->first_launch, end, step, order);
  }
  return result;
}
