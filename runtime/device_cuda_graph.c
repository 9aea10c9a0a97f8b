/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The captured call on an NVIDIA GPU. Capture launches every step of every stage once into a stream that records, and
 * keeps the graph; a replay is one cuGraphLaunch. Kernels take (pinion_pointers, pinion_params) by value.
 */
#include "device_cuda.h"

#include <stdlib.h>
#include <string.h>

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

/* What is captured: the table's launches, or others in their places. */
typedef struct graph_form {
  const pinion_launch_desc *launches; /* of the table, or as many that differ in kernel, grid, block, shared memory and
                                         tensor map */
  bool is_empty;                      /* kernels without bodies */
  const cuda_event *events;           /* NULL, or one to record in front of the launches, then one behind each */
} graph_form;

static graph_form plain_form(const pinion_program *program) {
  return (graph_form){.launches = program->desc->launches};
}

/* ---- Launching ---- */

/* The blocks of a cluster that a kernel was compiled with; zeros if none. */
static pinion_status read_cluster(pinion_device *device, cuda_function function, const char *kernel,
                                  uint32_t out_cluster[3], pinion_error *error) {
  static const int attributes[3] = {CUDA_ATTRIBUTE_CLUSTER_WIDTH, CUDA_ATTRIBUTE_CLUSTER_HEIGHT,
                                    CUDA_ATTRIBUTE_CLUSTER_DEPTH};
  pinion_status status = PINION_OK;
  for (int d = 0; d < 3 && !status; d++) {
    int size = 0;
    status = CHECK(device, cuFuncGetAttribute, kernel, (&size, attributes[d], function), error);
    out_cluster[d] = (uint32_t)size;
  }
  return status;
}

/* `overlaps`: the kernel may be started while the launch in front of it in the stream, a kernel too, still runs; it
   waits itself where it needs what that one does. An empty kernel is told its cluster at the launch. */
static pinion_status launch_function(pinion_device *device, const pinion_launch_desc *launch, const graph_form *form,
                                     const char *kernel, bool overlaps, void **parameters, cuda_stream stream,
                                     pinion_error *error) {
  cuda_launch_attribute attributes[2];
  cuda_function function = device->functions[launch->kernel];
  unsigned count = 0;
  if (overlaps) attributes[count++] = (cuda_launch_attribute){.kind = CUDA_LAUNCH_PROGRAMMATIC, .value.number = 1};
  if (form->is_empty) {
    cuda_launch_attribute cluster = {.kind = CUDA_LAUNCH_CLUSTER};
    pinion_status status = read_cluster(device, function, kernel, cluster.value.cluster, error);
    if (status) return status;
    if (cluster.value.cluster[0]) attributes[count++] = cluster;
    function = device->empty;
  }
  const cuda_launch_config config = {.grid = {launch->grid[0], launch->grid[1], launch->grid[2]},
                                     .block = {launch->block[0], launch->block[1], launch->block[2]},
                                     .shared_bytes = launch->dynamic_shared_bytes,
                                     .stream = stream,
                                     .attributes = attributes,
                                     .attribute_count = count};
  return CHECK(device, cuLaunchKernelEx, kernel, (&config, function, parameters, NULL), error);
}

static pinion_status launch_kernel(pinion_device *device, const pinion_program *program, const graph_form *form,
                                   uint32_t index, uint32_t step, bool overlaps, cuda_stream stream,
                                   pinion_error *error) {
  const pinion_model_desc *desc = program->desc;
  const pinion_launch_desc *launch = &form->launches[index];
  pinion_pointers pointers = {{NULL}};
  for (uint32_t i = 0; i < launch->arg_count; i++) {
    const pinion_arg *arg = &desc->args[launch->first_arg + i];
    pointers.pointer[i] = (uint8_t *)program->buffers[arg->buffer] + arg->offset + (int64_t)step * arg->step_stride;
  }
  const char *kernel = desc->kernels[launch->kernel].name;
  cuda_tensor_map map = {{0}};
  if (launch->tensor_map) {
    void *address = pointers.pointer[launch->tensor_map->argument];
    pinion_status status = encode_tensor_map(device, launch->tensor_map, address, kernel, &map, error);
    if (status) return status;
  }
  /* The driver copies them before it returns, and as many as the kernel has: the empty one has all three. */
  const bool has_map = launch->tensor_map || form->is_empty;
  void *parameters[] = {&pointers, (void *)(uintptr_t)launch->params, has_map ? &map : NULL};
  return launch_function(device, launch, form, kernel, overlaps, parameters, stream, error);
}

/* Records an event into a stream that is being captured, as a node of the graph; NULL: nothing. */
static pinion_status mark(pinion_device *device, const cuda_event *event, cuda_stream stream, pinion_error *error) {
  if (!event) return PINION_OK;
  return CHECK(device, cuEventRecordWithFlags, "", (*event, stream, CUDA_EVENT_RECORD_EXTERNAL), error);
}

/* Inputs that come from host memory, or outputs that go there. */
static pinion_status copy_attached(pinion_device *device, const pinion_program *program, pinion_space space,
                                   cuda_stream stream, pinion_error *error) {
  const pinion_model_desc *desc = program->desc;
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < desc->buffer_count && !status; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[i];
    void *host = program->hosts[i];
    if (!host || buffer->space != space || !buffer->bytes) continue;
    const cuda_address address = pinion_cuda_address(program->buffers[i]);
    if (space == PINION_SPACE_INPUT)
      status = CHECK(device, cuMemcpyHtoDAsync_v2, buffer->name, (address, host, (size_t)buffer->bytes, stream), error);
    else
      status = CHECK(device, cuMemcpyDtoHAsync_v2, buffer->name, (host, address, (size_t)buffer->bytes, stream), error);
  }
  return status;
}

static pinion_status launch_all(pinion_device *device, const pinion_program *program, const graph_form *form,
                                cuda_stream stream, pinion_error *error) {
  const pinion_model_desc *desc = program->desc;
  const cuda_event *events = form->events;
  pinion_status status = copy_attached(device, program, PINION_SPACE_INPUT, stream, error);
  bool overlaps = false; /* the first has no kernel in front of it; with events none has */
  if (!status) status = mark(device, events, stream, error);
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t step = 0; step < desc->stages[s].repeat; step++)
      for (uint32_t i = 0; i < desc->stages[s].launch_count && !status; i++) {
        const uint32_t launch = desc->stages[s].first_launch + i;
        status = launch_kernel(device, program, form, launch, step, overlaps, stream, error);
        overlaps = !events;
        if (!status && events) status = mark(device, ++events, stream, error);
      }
  return status ? status : copy_attached(device, program, PINION_SPACE_OUTPUT, stream, error);
}

/* ---- Capture ---- */

/* Records the whole call. Ends the recording whatever happens, or the stream could not be destroyed. */
static pinion_status record_graph(pinion_device *device, const pinion_program *program, const graph_form *form,
                                  cuda_stream stream, cuda_graph *out_graph, pinion_error *error) {
  *out_graph = NULL;
  pinion_status status = CHECK(device, cuStreamBeginCapture_v2, "", (stream, CUDA_CAPTURE_THREAD_LOCAL), error);
  if (status) return status;
  status = launch_all(device, program, form, stream, error);
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

static bool is_kernel(const cuda_driver *cuda, cuda_graph_node node) {
  int type = -1;
  return cuda->cuGraphNodeGetType(node, &type) == CUDA_OK && type == CUDA_NODE_KERNEL;
}

/* Which edges the capture made of launches that may overlap. A driver that does not say leaves them unknown. */
static void count_edges(const pinion_device *device, cuda_graph graph, pinion_capture_facts *facts) {
  const cuda_driver *cuda = &device->cuda;
  size_t count = 0;
  if (!cuda->cuGraphGetEdges_v2 || !cuda->cuGraphNodeGetType) return;
  if (cuda->cuGraphGetEdges_v2(graph, NULL, NULL, NULL, &count)) return;
  cuda_graph_node *from = calloc(count + 1, sizeof *from), *to = calloc(count + 1, sizeof *to);
  cuda_edge_data *data = calloc(count + 1, sizeof *data);
  if (from && to && data && (!count || cuda->cuGraphGetEdges_v2(graph, from, to, data, &count) == CUDA_OK)) {
    facts->has_edges = 1;
    for (size_t i = 0; i < count; i++) {
      if (!is_kernel(cuda, from[i]) || !is_kernel(cuda, to[i])) continue;
      facts->kernel_edges++;
      facts->programmatic_edges += data[i].type == CUDA_EDGE_PROGRAMMATIC;
    }
  }
  free(from);
  free(to);
  free(data);
}

/* In a stream of its own: other threads may be replaying on the device's. out_facts may be NULL. */
static pinion_status capture_entered(pinion_device *device, const pinion_program *program, const graph_form *form,
                                     cuda_graph_exec *out_exec, pinion_capture_facts *out_facts, pinion_error *error) {
  cuda_stream stream = NULL;
  cuda_graph graph = NULL;
  pinion_status status = CHECK(device, cuStreamCreate, "", (&stream, CUDA_STREAM_NON_BLOCKING), error);
  if (status) return status;
  status = record_graph(device, program, form, stream, &graph, error);
  if (!status) status = make_exec(device, graph, out_exec, error);
  if (!status && out_facts) count_edges(device, graph, out_facts);
  if (graph) device->cuda.cuGraphDestroy(graph);
  device->cuda.cuStreamDestroy_v2(stream);
  return status;
}

void pinion_cuda_free_program(pinion_device *device, pinion_program *program) {
  cuda_context context;
  if (!program) return;
  if (program->exec) {
    bool current = device->cuda.cuCtxPushCurrent_v2(device->context) == CUDA_OK;
    device->cuda.cuGraphExecDestroy(program->exec); /* needs no context of its own */
    if (current) device->cuda.cuCtxPopCurrent_v2(&context);
  }
  free(program);
}

static pinion_program *make_program(const pinion_model_desc *desc, void *const *buffers, void *const *hosts) {
  pinion_program *program = calloc(1, sizeof *program + 2 * (size_t)desc->buffer_count * sizeof(void *));
  if (!program) return NULL;
  program->desc = desc;
  program->hosts = program->buffers + desc->buffer_count;
  program->facts.launches = (uint32_t)pinion_description_launches(desc);
  for (uint32_t i = 0; i < desc->buffer_count; i++) {
    program->buffers[i] = buffers[i];
    program->hosts[i] = hosts ? hosts[i] : NULL;
    program->facts.copies += program->hosts[i] && desc->buffers[i].bytes;
  }
  return program;
}

pinion_status pinion_cuda_capture(pinion_device *device, const pinion_model_desc *desc, void *const *buffers,
                                  void *const *hosts, pinion_program **out_program, pinion_error *error) {
  *out_program = NULL;
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  pinion_program *program = make_program(desc, buffers, hosts);
  if (program) {
    const graph_form form = plain_form(program);
    status = capture_entered(device, program, &form, &program->exec, &program->facts, error);
  } else {
    status = pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for the program");
  }
  pinion_cuda_leave(device);
  if (status)
    pinion_cuda_free_program(device, program);
  else
    *out_program = program;
  return status;
}

void pinion_cuda_describe_capture(const pinion_program *program, pinion_capture_facts *out_facts) {
  *out_facts = program->facts;
}

/* ---- Replay ---- */

/* The driver would take a graph into a stream of another context, where nothing of this one is waited for. */
static pinion_status check_stream(pinion_device *device, void *stream, pinion_error *error) {
  cuda_context context = NULL;
  pinion_status status = CHECK(device, cuStreamGetCtx, "", (stream, &context), error);
  if (!status && context != device->context)
    status = pinion_fail(error, PINION_INVALID_ARGUMENT,
                         "the stream belongs to another context; the model runs in its GPU's primary one");
  return status;
}

pinion_status pinion_cuda_replay(pinion_device *device, pinion_program *program, void *stream, pinion_error *error) {
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  if (stream) status = check_stream(device, stream, error);
  if (!status) status = CHECK(device, cuGraphLaunch, "", (program->exec, pinion_cuda_stream(device, stream)), error);
  pinion_cuda_leave(device);
  return status;
}

pinion_status pinion_cuda_synchronize(pinion_device *device, void *stream, pinion_error *error) {
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = CHECK(device, cuStreamSynchronize, "", (pinion_cuda_stream(device, stream)), error);
  pinion_cuda_leave(device);
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
  const graph_form form = plain_form(program);
  cuda_event *events;
  double elapsed = 0;
  pinion_status status = create_events(device, 2, &events, error);
  if (status) return status;
  status = CHECK(device, cuEventRecord, "", (events[0], device->stream), error);
  if (!status) status = launch_kernel(device, program, &form, launch, step, false, device->stream, error);
  if (!status) status = CHECK(device, cuEventRecord, "", (events[1], device->stream), error);
  if (!status) status = read_events(device, events, 2, &elapsed, error);
  if (!status && out_microseconds) *out_microseconds = elapsed;
  destroy_events(device, events, 2);
  return status;
}

pinion_status pinion_cuda_run_launch(pinion_device *device, pinion_program *program, uint32_t launch, uint32_t step,
                                     double *out_microseconds, pinion_error *error) {
  const pinion_stage_desc *stage = pinion_launch_stage(program->desc, launch);
  if (!stage || step >= stage->repeat)
    return pinion_fail(error, PINION_INVALID_ARGUMENT, "there is no launch %u in step %u", launch, step);
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = run_launch_entered(device, program, launch, step, out_microseconds, error);
  pinion_cuda_leave(device);
  return status;
}

/* Through a second graph, as the first but for the events, which is gone afterwards. */
static pinion_status time_launches_entered(pinion_device *device, const pinion_program *program,
                                           double *out_microseconds, pinion_error *error) {
  const uint64_t launches = pinion_description_launches(program->desc);
  graph_form form = plain_form(program);
  cuda_event *events;
  cuda_graph_exec exec = NULL;
  if (!device->cuda.cuEventRecordWithFlags || launches >= UINT32_MAX)
    return pinion_fail(error, PINION_DEVICE_ERROR, "this driver records no events in a graph");
  const uint32_t count = (uint32_t)launches + 1;
  pinion_status status = create_events(device, count, &events, error);
  if (status) return status;
  form.events = events;
  status = capture_entered(device, program, &form, &exec, NULL, error);
  if (!status) status = CHECK(device, cuGraphLaunch, "", (exec, device->stream), error);
  if (!status) status = read_events(device, events, count, out_microseconds, error);
  if (exec) device->cuda.cuGraphExecDestroy(exec);
  destroy_events(device, events, count);
  return status;
}

pinion_status pinion_cuda_time_launches(pinion_device *device, pinion_program *program, double *out_microseconds,
                                        pinion_error *error) {
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = time_launches_entered(device, program, out_microseconds, error);
  pinion_cuda_leave(device);
  return status;
}

/* `count` times each of `execs` in turn; microseconds of each into out_microseconds[count * exec_count]. */
static pinion_status time_entered(pinion_device *device, const cuda_graph_exec *execs, uint32_t exec_count,
                                  uint32_t count, double *out_microseconds, pinion_error *error) {
  const uint32_t launches = count * exec_count;
  cuda_event *events;
  pinion_status status = create_events(device, launches + 1, &events, error);
  if (status) return status;
  status = CHECK(device, cuEventRecord, "", (events[0], device->stream), error);
  for (uint32_t i = 0; i < launches && !status; i++) {
    status = CHECK(device, cuGraphLaunch, "", (execs[i % exec_count], device->stream), error);
    if (!status) status = CHECK(device, cuEventRecord, "", (events[i + 1], device->stream), error);
  }
  if (!status) status = read_events(device, events, launches + 1, out_microseconds, error);
  destroy_events(device, events, launches + 1);
  return status;
}

pinion_status pinion_cuda_time_replays(pinion_device *device, pinion_program *program, uint32_t count,
                                       double *out_microseconds, pinion_error *error) {
  pinion_status status = pinion_cuda_enter(device, error);
  if (status) return status;
  status = time_entered(device, &program->exec, 1, count, out_microseconds, error);
  pinion_cuda_leave(device);
  return status;
}

/* Whatever the table says of them, the kernels of these launches get the shared memory that they ask for. */
static pinion_status allow_shared(pinion_device *device, const pinion_model_desc *desc, const graph_form *form,
                                  pinion_error *error) {
  pinion_status status = form->is_empty ? pinion_cuda_load_empty(device, error) : PINION_OK;
  uint32_t most = 0;
  for (uint32_t i = 0; i < desc->launch_count && !status; i++) {
    const pinion_launch_desc *launch = &form->launches[i];
    if (launch->dynamic_shared_bytes > most) most = launch->dynamic_shared_bytes;
    if (!form->is_empty)
      status = pinion_cuda_allow_shared(device, device->functions[launch->kernel], launch->dynamic_shared_bytes,
                                        desc->kernels[launch->kernel].name, error);
  }
  if (status || !form->is_empty) return status;
  return pinion_cuda_allow_shared(device, device->empty, most, "the empty kernel", error);
}

static pinion_status time_variant_entered(pinion_device *device, const pinion_program *program,
                                          const pinion_variant *variant, uint32_t count, double *out_pairs,
                                          pinion_error *error) {
  graph_form form = plain_form(program);
  cuda_graph_exec execs[2] = {program->exec, NULL};
  if (variant->launches) form.launches = variant->launches;
  form.is_empty = variant->is_empty != 0;
  pinion_status status = allow_shared(device, program->desc, &form, error);
  if (!status) status = capture_entered(device, program, &form, &execs[1], NULL, error);
  if (!status) status = time_entered(device, execs, 2, count, out_pairs, error);
  if (execs[1]) device->cuda.cuGraphExecDestroy(execs[1]);
  return status;
}

pinion_status pinion_cuda_time_variant(pinion_device *device, pinion_program *program, const pinion_variant *variant,
                                       uint32_t count, double *out_own, double *out_variant, pinion_error *error) {
  double *pairs = malloc(2 * ((size_t)count + 1) * sizeof *pairs);
  if (!pairs) return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for %u samples", count);
  pinion_status status = pinion_cuda_enter(device, error);
  if (!status) {
    status = time_variant_entered(device, program, variant, count, pairs, error);
    pinion_cuda_leave(device);
  }
  for (uint32_t i = 0; i < count && !status; i++) {
    out_own[i] = pairs[2 * i];
    out_variant[i] = pairs[2 * i + 1];
  }
  free(pairs);
  return status;
}
