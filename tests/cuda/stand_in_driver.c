/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "stand_in_driver.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum object_kind { CONTEXT, MODULE, FUNCTION, STREAM, EVENT, GRAPH, GRAPH_EXEC, MEMORY, PINNED } object_kind;

/* What a handle points to. Never reused before a reset, so that a dead handle is noticed. */
typedef struct object {
  struct object *next;
  object_kind kind;
  bool live;
  struct object *owner; /* a function's module */
  char name[64];        /* a function's */
  int dynamic_shared;   /* a function's most, bytes */
  int carveout;         /* a function's share of a multiprocessor's memory that is to be shared, percent; 0 unset */
  void *bytes;          /* memory; a module's image */
  size_t size;
  bool capturing;            /* a stream */
  struct object *context;    /* a stream's */
  int recorded;              /* an event: when, 0 never */
  stand_in_launch *launches; /* a graph's, an exec's, or a capturing stream's */
  int launch_count;
} object;

#define MAX_DEPTH 16
#define MAX_FUNCTIONS 64

static object *objects;
static object *current[MAX_DEPTH];
static int depth;
static object *primary;
static int primary_count;
static stand_in_machine machine = {1, 9, 0, 13000};
static char violation[256];
static cuda_result sticky;
static int event_clock;

static stand_in_launch *ran;
static int ran_count;

static struct {
  const char *name;
  int calls;
} counters[MAX_FUNCTIONS];
static char failing_function[64];
static int failing_in;
static cuda_result failing_result;

/* ---- Account ---- */

static void complain(const char *function, const char *what) {
  if (!violation[0]) snprintf(violation, sizeof violation, "%s: %s", function, what);
}

static bool is_sticky(cuda_result result) {
  return result == CUDA_ECC_UNCORRECTABLE || (result >= CUDA_ILLEGAL_ADDRESS && result <= CUDA_LAUNCH_FAILED);
}

static void count_call(const char *function) {
  int i = 0;
  while (counters[i].name && strcmp(counters[i].name, function)) i++;
  counters[i].name = function;
  counters[i].calls++;
}

/* What every call begins with: the result it must return at once, or CUDA_OK. */
static cuda_result begin(const char *function) {
  count_call(function);
  if (failing_in && !strcmp(function, failing_function) && --failing_in == 0) {
    if (is_sticky(failing_result)) sticky = failing_result;
    return failing_result;
  }
  return CUDA_OK;
}

/* The same for calls that need a context. */
static cuda_result begin_in_context(const char *function) {
  cuda_result result = begin(function);
  if (result) return result;
  if (depth == 0) complain(function, "no context is current");
  return sticky;
}

#define BEGIN()                                                                                                        \
  cuda_result begun = begin(__func__);                                                                                 \
  if (begun) return begun
#define BEGIN_IN_CONTEXT()                                                                                             \
  cuda_result begun = begin_in_context(__func__);                                                                      \
  if (begun) return begun

static object *make_object(object_kind kind) {
  object *made = calloc(1, sizeof *made);
  made->kind = kind;
  made->live = true;
  made->next = objects;
  objects = made;
  return made;
}

/* The live object of that kind behind a handle; complains and returns NULL if there is none. */
static object *find_object(const char *function, const void *handle, object_kind kind) {
  for (object *o = objects; o; o = o->next)
    if (o == handle && o->kind == kind) {
      if (!o->live || (o->owner && !o->owner->live)) complain(function, "the handle is dead");
      return o->live ? o : NULL;
    }
  complain(function, "no such handle");
  return NULL;
}

static void free_contents(object *o) {
  free(o->bytes);
  free(o->launches);
  o->bytes = NULL;
  o->launches = NULL;
  o->live = false;
}

/* Even a call that is made to fail ends the object: a driver's destructor reports earlier errors, and destroys. */
static cuda_result destroy(const char *function, const void *handle, object_kind kind) {
  bool is_graph = kind == GRAPH || kind == GRAPH_EXEC; /* those live in no context */
  cuda_result result = is_graph ? begin(function) : begin_in_context(function);
  object *o = find_object(function, handle, kind);
  if (!o) return 400;
  if (o->capturing) complain(function, "the stream is capturing");
  free_contents(o);
  return result;
}

static object *find_memory(const void *address, size_t bytes, object_kind kind) {
  for (object *o = objects; o; o = o->next)
    if (o->live && o->kind == kind && (const char *)address >= (char *)o->bytes &&
        (const char *)address + bytes <= (char *)o->bytes + o->size)
      return o;
  return NULL;
}

static void *as_pointer(cuda_address address) {
  return (void *)(uintptr_t)address;
}

/* ---- Control ---- */

void stand_in_reset(void) {
  while (objects) {
    object *o = objects;
    objects = o->next;
    free_contents(o);
    free(o);
  }
  free(ran);
  ran = NULL;
  ran_count = depth = primary_count = event_clock = failing_in = 0;
  primary = NULL;
  machine = (stand_in_machine){1, 9, 0, 13000};
  violation[0] = '\0';
  sticky = CUDA_OK;
  memset(counters, 0, sizeof counters);
}

void stand_in_set_machine(stand_in_machine new_machine) {
  machine = new_machine;
}

void stand_in_fail(const char *function, int nth, cuda_result result) {
  snprintf(failing_function, sizeof failing_function, "%s", function ? function : "");
  failing_in = function ? nth : 0;
  failing_result = result;
}

int stand_in_calls(const char *function) {
  int calls = 0;
  for (int i = 0; i < MAX_FUNCTIONS && counters[i].name; i++)
    if (!function || !strcmp(counters[i].name, function)) calls += counters[i].calls;
  return calls;
}

int stand_in_live(void) {
  int live = primary_count;
  for (object *o = objects; o; o = o->next) live += o->live && o->kind != CONTEXT && o->kind != FUNCTION;
  return live;
}

const char *stand_in_violation(void) {
  return violation;
}

int stand_in_launch_count(void) {
  return ran_count;
}

const stand_in_launch *stand_in_launch_at(int index) {
  return &ran[index];
}

/* ---- Devices and contexts ---- */

cuda_result cuInit(unsigned flags) {
  BEGIN();
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  if (visible && !strcmp(visible, "-1")) machine.device_count = 0;
  return flags ? 1 : machine.device_count ? CUDA_OK : CUDA_NO_DEVICE;
}

cuda_result cuDriverGetVersion(int *out_version) {
  BEGIN();
  *out_version = machine.driver_version;
  return CUDA_OK;
}

cuda_result cuDeviceGetCount(int *out_count) {
  BEGIN();
  *out_count = machine.device_count;
  return CUDA_OK;
}

cuda_result cuDeviceGet(cuda_device *out_device, int ordinal) {
  BEGIN();
  *out_device = ordinal;
  return ordinal < machine.device_count ? CUDA_OK : CUDA_INVALID_DEVICE;
}

cuda_result cuDeviceGetName(char *out_name, int length, cuda_device device) {
  BEGIN();
  (void)device;
  snprintf(out_name, (size_t)length, "stand-in GPU");
  return CUDA_OK;
}

cuda_result cuDeviceGetAttribute(int *out_value, int attribute, cuda_device device) {
  BEGIN();
  (void)device;
  switch (attribute) {
  case CUDA_ATTRIBUTE_CAPABILITY_MAJOR: *out_value = machine.capability_major; break;
  case CUDA_ATTRIBUTE_CAPABILITY_MINOR: *out_value = machine.capability_minor; break;
  case CUDA_ATTRIBUTE_MULTIPROCESSORS: *out_value = 132; break;
  case CUDA_ATTRIBUTE_CLOCK: *out_value = 1980000; break;
  case CUDA_ATTRIBUTE_MEMORY_CLOCK: *out_value = 3201000; break;
  case CUDA_ATTRIBUTE_MEMORY_BUS: *out_value = 6144; break;
  default: return 1;
  }
  return CUDA_OK;
}

cuda_result cuDeviceGetPCIBusId(char *out_bus, int length, cuda_device device) {
  BEGIN();
  (void)device;
  snprintf(out_bus, (size_t)length, "0000:1B:00.0");
  return CUDA_OK;
}

cuda_result cuDevicePrimaryCtxRetain(cuda_context *out_context, cuda_device device) {
  BEGIN();
  (void)device;
  if (sticky) return sticky;
  if (primary_count++ == 0) primary = make_object(CONTEXT);
  *out_context = (cuda_context)(void *)primary;
  return CUDA_OK;
}

/* The last release ends the context and everything in it; an object still alive in a healthy one is the caller's leak.
 */
cuda_result cuDevicePrimaryCtxRelease_v2(cuda_device device) {
  cuda_result result = begin(__func__);
  (void)device;
  if (primary_count == 0) {
    complain(__func__, "the context was not retained");
    return 201;
  }
  if (--primary_count == 0) {
    if (sticky)
      for (object *o = objects; o; o = o->next) free_contents(o);
    primary->live = false; /* a fault stays: the process gets no new context */
  }
  return result;
}

/* A context beside the primary one, which becomes current. */
cuda_result cuCtxCreate_v2(cuda_context *out_context, unsigned flags, cuda_device device) {
  BEGIN();
  (void)flags, (void)device;
  object *o = make_object(CONTEXT);
  current[depth++] = o;
  *out_context = (cuda_context)(void *)o;
  return CUDA_OK;
}

cuda_result cuCtxPushCurrent_v2(cuda_context context) {
  BEGIN();
  object *o = find_object(__func__, context, CONTEXT);
  if (!o || depth == MAX_DEPTH) return 201;
  current[depth++] = o;
  return CUDA_OK;
}

cuda_result cuCtxPopCurrent_v2(cuda_context *out_context) {
  cuda_result result = begin(__func__);
  if (depth == 0) {
    complain(__func__, "no context is current");
    return 201;
  }
  *out_context = (cuda_context)(void *)current[--depth];
  return result;
}

/* ---- Modules ---- */

/* An image is an ELF header of 64 bytes, then the names of its kernels, each in angle brackets, and NUL. */
cuda_result cuModuleLoadData(cuda_module *out_module, const void *image) {
  BEGIN_IN_CONTEXT();
  const char *text = (const char *)image + 64;
  if (!strncmp(text, "wrong architecture", 18)) return CUDA_NO_BINARY_FOR_GPU;
  object *o = make_object(MODULE);
  o->size = strlen(text) + 1;
  o->bytes = malloc(o->size);
  memcpy(o->bytes, text, o->size);
  *out_module = (cuda_module)(void *)o;
  return CUDA_OK;
}

cuda_result cuModuleUnload(cuda_module module) {
  return destroy(__func__, module, MODULE);
}

cuda_result cuModuleGetFunction(cuda_function *out_function, cuda_module module, const char *name) {
  BEGIN_IN_CONTEXT();
  char marked[128];
  object *owner = find_object(__func__, module, MODULE);
  snprintf(marked, sizeof marked, "<%s>", name);
  if (!owner || !strstr(owner->bytes, marked)) return CUDA_NOT_FOUND;
  object *o = make_object(FUNCTION);
  o->owner = owner;
  o->dynamic_shared = 49152;
  snprintf(o->name, sizeof o->name, "%s", name);
  *out_function = (cuda_function)(void *)o;
  return CUDA_OK;
}

cuda_result cuFuncSetAttribute(cuda_function function, int attribute, int value) {
  BEGIN_IN_CONTEXT();
  object *o = find_object(__func__, function, FUNCTION);
  if (o && attribute == CUDA_ATTRIBUTE_SHARED_CARVEOUT) {
    o->carveout = value;
    return value < -1 || value > 100;
  }
  if (!o || attribute != CUDA_ATTRIBUTE_DYNAMIC_SHARED || value > 232448) return 1;
  o->dynamic_shared = value;
  return CUDA_OK;
}

cuda_result cuFuncGetAttribute(int *out_value, int attribute, cuda_function function) {
  BEGIN_IN_CONTEXT();
  const object *o = find_object(__func__, function, FUNCTION);
  if (!o || attribute < CUDA_ATTRIBUTE_CLUSTER_WIDTH || attribute > CUDA_ATTRIBUTE_CLUSTER_DEPTH) return 1;
  const bool clustered = !strncmp(o->name, STAND_IN_CLUSTERED, strlen(STAND_IN_CLUSTERED));
  *out_value = !clustered ? 0 : attribute == CUDA_ATTRIBUTE_CLUSTER_WIDTH ? 2 : 1;
  return CUDA_OK;
}

/* ---- Memory ---- */

static cuda_result allocate(object_kind kind, size_t bytes, void **out_address) {
  if (bytes == 0) return 1;
  if (bytes > STAND_IN_MEMORY) return CUDA_OUT_OF_MEMORY;
  object *o = make_object(kind);
  o->size = bytes;
  o->bytes = aligned_alloc(256, (bytes + 255) / 256 * 256);
  memset(o->bytes, 0xcd, bytes);
  *out_address = o->bytes;
  return CUDA_OK;
}

static cuda_result release(const char *function, const void *address, object_kind kind) {
  cuda_result result = begin_in_context(function);
  object *o = find_memory(address, 0, kind);
  if (o && o->bytes == address)
    free_contents(o);
  else
    complain(function, "no such allocation");
  return result;
}

cuda_result cuMemAlloc_v2(cuda_address *out_address, size_t bytes) {
  BEGIN_IN_CONTEXT();
  void *address = NULL;
  cuda_result result = allocate(MEMORY, bytes, &address);
  *out_address = (cuda_address)(uintptr_t)address;
  return result;
}

cuda_result cuMemFree_v2(cuda_address address) {
  return release(__func__, as_pointer(address), MEMORY);
}

cuda_result cuMemAllocHost_v2(void **out_address, size_t bytes) {
  BEGIN_IN_CONTEXT();
  return allocate(PINNED, bytes, out_address);
}

cuda_result cuMemFreeHost(void *address) {
  return release(__func__, address, PINNED);
}

static object *find_stream(const char *function, cuda_stream stream) {
  return stream && stream != STAND_IN_THREADS_STREAM ? find_object(function, stream, STREAM) : NULL;
}

cuda_result cuMemGetInfo_v2(size_t *out_free, size_t *out_total) {
  BEGIN_IN_CONTEXT();
  *out_free = *out_total = STAND_IN_MEMORY;
  for (const object *o = objects; o; o = o->next)
    if (o->live && o->kind == MEMORY) *out_free -= o->size;
  return CUDA_OK;
}

static void append(stand_in_launch **launches, int *count, const stand_in_launch *launch) {
  *launches = realloc(*launches, (size_t)(*count + 1) * sizeof **launches);
  (*launches)[(*count)++] = *launch;
}

static cuda_result transfer(const char *function, cuda_address on_device, size_t bytes, cuda_stream stream) {
  find_stream(function, stream);
  if (!find_memory(as_pointer(on_device), bytes, MEMORY)) complain(function, "outside every allocation");
  return violation[0] ? 1 : CUDA_OK;
}

/* At once, or as a node of the graph that `stream` is recording: then the host's memory must be pinned. */
static void copy(const char *function, void *to, const void *from, const void *host, size_t bytes, cuda_stream stream) {
  object *on = find_stream(function, stream);
  const stand_in_launch node = {.copy_to = to, .copy_from = from, .copy_bytes = bytes};
  if (!on || !on->capturing) {
    memcpy(to, from, bytes);
    return;
  }
  if (!find_memory(host, bytes, PINNED)) complain(function, "a graph copies from or to memory that is not pinned");
  append(&on->launches, &on->launch_count, &node);
}

cuda_result cuMemsetD8Async(cuda_address address, unsigned char value, size_t bytes, cuda_stream stream) {
  BEGIN_IN_CONTEXT();
  cuda_result result = transfer(__func__, address, bytes, stream);
  if (stream && ((object *)(void *)stream)->capturing) complain(__func__, "the stream is capturing");
  if (!result) memset(as_pointer(address), value, bytes);
  return result;
}

cuda_result cuMemcpyHtoDAsync_v2(cuda_address to, const void *from, size_t bytes, cuda_stream stream) {
  BEGIN_IN_CONTEXT();
  cuda_result result = transfer(__func__, to, bytes, stream);
  if (!result) copy(__func__, as_pointer(to), from, from, bytes, stream);
  return result;
}

cuda_result cuMemcpyDtoHAsync_v2(void *to, cuda_address from, size_t bytes, cuda_stream stream) {
  BEGIN_IN_CONTEXT();
  cuda_result result = transfer(__func__, from, bytes, stream);
  if (!result) copy(__func__, to, as_pointer(from), to, bytes, stream);
  return result;
}

/* ---- Streams, graphs, launches ---- */

cuda_result cuStreamCreate(cuda_stream *out_stream, unsigned flags) {
  BEGIN_IN_CONTEXT();
  (void)flags;
  object *stream = make_object(STREAM);
  stream->context = current[depth - 1];
  *out_stream = (cuda_stream)(void *)stream;
  return CUDA_OK;
}

cuda_result cuStreamDestroy_v2(cuda_stream stream) {
  return destroy(__func__, stream, STREAM);
}

cuda_result cuStreamGetCtx(cuda_stream stream, cuda_context *out_context) {
  BEGIN_IN_CONTEXT();
  object *o = find_stream(__func__, stream);
  *out_context = (cuda_context)(void *)(o ? o->context : current[depth - 1]);
  return CUDA_OK;
}

cuda_result cuStreamSynchronize(cuda_stream stream) {
  BEGIN_IN_CONTEXT();
  object *o = find_stream(__func__, stream);
  if (o && o->capturing) complain(__func__, "the stream is capturing");
  return CUDA_OK;
}

cuda_result cuStreamBeginCapture_v2(cuda_stream stream, int mode) {
  BEGIN_IN_CONTEXT();
  object *o = find_object(__func__, stream, STREAM);
  if (!o || o->capturing || mode != CUDA_CAPTURE_THREAD_LOCAL) return 1;
  o->capturing = true;
  return CUDA_OK;
}

/* Ends the capture even when it is made to fail. */
cuda_result cuStreamEndCapture(cuda_stream stream, cuda_graph *out_graph) {
  cuda_result result = begin_in_context(__func__);
  object *o = find_object(__func__, stream, STREAM);
  if (!o || !o->capturing) return 1;
  o->capturing = false;
  stand_in_launch *launches = o->launches;
  int count = o->launch_count;
  o->launches = NULL;
  o->launch_count = 0;
  if (result) {
    free(launches);
    return result;
  }
  object *graph = make_object(GRAPH);
  graph->launches = launches;
  graph->launch_count = count;
  *out_graph = (cuda_graph)(void *)graph;
  return CUDA_OK;
}

cuda_result cuGraphInstantiateWithFlags(cuda_graph_exec *out_exec, cuda_graph graph, unsigned long long flags) {
  BEGIN_IN_CONTEXT();
  object *from = find_object(__func__, graph, GRAPH);
  if (!from || flags) return 1;
  object *exec = make_object(GRAPH_EXEC);
  size_t bytes = (size_t)from->launch_count * sizeof *exec->launches;
  exec->launches = malloc(bytes + 1);
  if (bytes) memcpy(exec->launches, from->launches, bytes);
  exec->launch_count = from->launch_count;
  *out_exec = (cuda_graph_exec)(void *)exec;
  return CUDA_OK;
}

cuda_result cuGraphUpload(cuda_graph_exec exec, cuda_stream stream) {
  BEGIN_IN_CONTEXT();
  find_stream(__func__, stream);
  return find_object(__func__, exec, GRAPH_EXEC) ? CUDA_OK : 1;
}

/* What is captured is a chain. */
cuda_result cuGraphGetEdges_v2(cuda_graph graph, cuda_graph_node *from, cuda_graph_node *to, cuda_edge_data *data,
                               size_t *count) {
  BEGIN();
  object *o = find_object(__func__, graph, GRAPH);
  if (!o) return 1;
  const size_t edges = o->launch_count ? (size_t)o->launch_count - 1 : 0;
  if (from && (*count < edges || !to || !data)) return 1;
  *count = edges;
  for (size_t i = 0; from && i < edges; i++) {
    from[i] = (cuda_graph_node)(void *)&o->launches[i];
    to[i] = (cuda_graph_node)(void *)&o->launches[i + 1];
    data[i] = (cuda_edge_data){.type = o->launches[i + 1].overlaps ? CUDA_EDGE_PROGRAMMATIC : 0};
  }
  return CUDA_OK;
}

cuda_result cuGraphNodeGetType(cuda_graph_node node, int *out_type) {
  BEGIN();
  const stand_in_launch *launch = (const void *)node;
  *out_type = launch->copy_to ? 1 : launch->event ? 7 : CUDA_NODE_KERNEL;
  return CUDA_OK;
}

/* As much as is executed at all. */
static void execute(const stand_in_launch *launch) {
  const bool wrong = !strcmp(launch->kernel, STAND_IN_WRONG);
  if (wrong || !strcmp(launch->kernel, "copy")) *(float *)launch->pointers.pointer[0] = wrong ? 1e6f : 0;
}

/* What the kernels of error_kernels.h end with. */
static cuda_result fault_of(const char *kernel) {
  return !strcmp(kernel, "error_address")     ? CUDA_ILLEGAL_ADDRESS
         : !strcmp(kernel, "error_alignment") ? CUDA_MISALIGNED_ADDRESS
         : !strcmp(kernel, "error_trap")      ? CUDA_LAUNCH_FAILED
                                              : CUDA_OK;
}

cuda_result cuGraphLaunch(cuda_graph_exec exec, cuda_stream stream) {
  BEGIN_IN_CONTEXT();
  object *o = find_object(__func__, exec, GRAPH_EXEC), *on = find_stream(__func__, stream);
  if (!o) return 1;
  if (on && on->capturing) complain(__func__, "the stream is capturing");
  for (int i = 0; i < o->launch_count; i++) {
    object *event = o->launches[i].event;
    if (o->launches[i].copy_to) {
      memcpy(o->launches[i].copy_to, o->launches[i].copy_from, o->launches[i].copy_bytes);
      continue;
    }
    if (event) {
      event->recorded = ++event_clock;
      continue;
    }
    append(&ran, &ran_count, &o->launches[i]);
    ran[ran_count - 1].stream = stream;
    execute(&o->launches[i]);
    if (!sticky) sticky = fault_of(o->launches[i].kernel);
    event_clock += !strncmp(o->launches[i].kernel, STAND_IN_SLOW, strlen(STAND_IN_SLOW));
  }
  return CUDA_OK;
}

cuda_result cuGraphDestroy(cuda_graph graph) {
  return destroy(__func__, graph, GRAPH);
}

cuda_result cuGraphExecDestroy(cuda_graph_exec exec) {
  return destroy(__func__, exec, GRAPH_EXEC);
}

/* What the driver would refuse; else words 0 to 4 are the address, rank, innermost size, second stride in bytes, second
   box. */
cuda_result cuTensorMapEncodeTiled(cuda_tensor_map *out_map, int dtype, uint32_t rank, void *address,
                                   const uint64_t *sizes, const uint64_t *stride_bytes, const uint32_t *box,
                                   const uint32_t *element_strides, int interleave, int swizzle, int promotion,
                                   int fill) {
  BEGIN_IN_CONTEXT();
  const uint32_t bytes = dtype == CUDA_TENSOR_FLOAT32 ? 4 : 2;
  if (rank < 1 || rank > 5 || (uintptr_t)address % 16 || interleave || fill || promotion > 3) return 1;
  if (swizzle == CUDA_TENSOR_SWIZZLE_128B && box[0] * bytes > 128) return 1;
  for (uint32_t d = 0; d < rank; d++)
    if (!sizes[d] || !box[d] || box[d] > 256 || element_strides[d] != 1 || (d && stride_bytes[d - 1] % 16)) return 1;
  *out_map = (cuda_tensor_map){{(uintptr_t)address, rank, sizes[0]}};
  if (rank > 1) {
    out_map->words[3] = stride_bytes[0];
    out_map->words[4] = box[1];
  }
  return CUDA_OK;
}

cuda_result cuLaunchKernelEx(const cuda_launch_config *config, cuda_function function, void **parameters,
                             void **extra) {
  BEGIN_IN_CONTEXT();
  object *o = find_object(__func__, function, FUNCTION), *on = find_stream(__func__, config->stream);
  const unsigned *block = config->block;
  if (!o || extra || block[0] * block[1] * block[2] > 1024 || (int)config->shared_bytes > o->dynamic_shared) return 1;
  if (o->carveout != CUDA_CARVEOUT_MOST_SHARED) return 1; /* blocks of two launches would not share a multiprocessor */
  stand_in_launch launch = {.shared_bytes = config->shared_bytes, .stream = config->stream};
  memcpy(launch.grid, config->grid, sizeof launch.grid);
  memcpy(launch.block, config->block, sizeof launch.block);
  for (unsigned i = 0; i < config->attribute_count; i++) {
    const cuda_launch_attribute *attribute = &config->attributes[i];
    if (attribute->kind == CUDA_LAUNCH_PROGRAMMATIC)
      launch.overlaps = attribute->value.number == 1;
    else if (attribute->kind == CUDA_LAUNCH_CLUSTER)
      memcpy(launch.cluster, attribute->value.cluster, sizeof launch.cluster);
    else
      return 1;
  }
  const stand_in_launch *before = on && on->capturing && on->launch_count ? &on->launches[on->launch_count - 1] : NULL;
  if (launch.overlaps && (!before || before->event || before->copy_to))
    complain(__func__, "a programmatic launch without a kernel in front of it");
  memcpy(launch.kernel, o->name, sizeof launch.kernel);
  memcpy(&launch.pointers, parameters[0], sizeof launch.pointers);
  memcpy(&launch.params, parameters[1], sizeof launch.params);
  if (parameters[2]) memcpy(&launch.tensor_map, parameters[2], sizeof launch.tensor_map);
  for (int i = 0; i < launch.params.arg_count; i++)
    if (!find_memory(launch.pointers.pointer[i], 0, MEMORY)) complain(__func__, "an argument is in no allocation");
  if (on && on->capturing)
    append(&on->launches, &on->launch_count, &launch);
  else
    append(&ran, &ran_count, &launch);
  return CUDA_OK;
}

/* ---- Events ---- */

cuda_result cuEventCreate(cuda_event *out_event, unsigned flags) {
  BEGIN_IN_CONTEXT();
  (void)flags;
  *out_event = (cuda_event)(void *)make_object(EVENT);
  return CUDA_OK;
}

cuda_result cuEventDestroy_v2(cuda_event event) {
  return destroy(__func__, event, EVENT);
}

cuda_result cuEventRecord(cuda_event event, cuda_stream stream) {
  BEGIN_IN_CONTEXT();
  object *o = find_object(__func__, event, EVENT);
  find_stream(__func__, stream);
  if (!o) return 1;
  o->recorded = ++event_clock;
  return CUDA_OK;
}

/* In a captured stream, a node of the graph. */
cuda_result cuEventRecordWithFlags(cuda_event event, cuda_stream stream, unsigned flags) {
  BEGIN_IN_CONTEXT();
  object *o = find_object(__func__, event, EVENT), *on = find_stream(__func__, stream);
  if (!o || !on || !on->capturing || flags != CUDA_EVENT_RECORD_EXTERNAL) return 1;
  const stand_in_launch node = {.event = o};
  append(&on->launches, &on->launch_count, &node);
  return CUDA_OK;
}

cuda_result cuEventSynchronize(cuda_event event) {
  BEGIN_IN_CONTEXT();
  return find_object(__func__, event, EVENT) ? CUDA_OK : 1;
}

/* A quarter of a millisecond from one recording to the next. */
cuda_result cuEventElapsedTime(float *out_milliseconds, cuda_event start, cuda_event end) {
  BEGIN_IN_CONTEXT();
  object *first = find_object(__func__, start, EVENT), *last = find_object(__func__, end, EVENT);
  if (!first || !last || !first->recorded || !last->recorded) return 1;
  *out_milliseconds = 0.25f * (float)(last->recorded - first->recorded);
  return CUDA_OK;
}

/* ---- Errors ---- */

cuda_result cuGetErrorName(cuda_result result, const char **out_name) {
  count_call(__func__);
  *out_name = result == CUDA_OUT_OF_MEMORY     ? "CUDA_ERROR_OUT_OF_MEMORY"
              : result == CUDA_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                                               : "CUDA_ERROR_OF_SOME_KIND";
  return CUDA_OK;
}

cuda_result cuGetErrorString(cuda_result result, const char **out_sentence) {
  count_call(__func__);
  *out_sentence = result == CUDA_OUT_OF_MEMORY ? "out of memory" : "an error of some kind";
  return CUDA_OK;
}
