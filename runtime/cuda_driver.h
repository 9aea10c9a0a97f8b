/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The part of the CUDA driver API that the runtime uses, declared here so that an artifact builds without a CUDA
 * toolkit, and loaded from libcuda.so.1 when a model is opened. Names are the library's own, versions included: cuda.h
 * hides the _v2 behind macros. Internal to device_cuda*.c and their tests.
 */
#ifndef PINION_CUDA_DRIVER_H
#define PINION_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int cuda_result;
typedef int cuda_device;
typedef uint64_t cuda_address; /* CUdeviceptr */
typedef struct cuda_context_state *cuda_context;
typedef struct cuda_module_state *cuda_module;
typedef struct cuda_function_state *cuda_function;
typedef struct cuda_stream_state *cuda_stream;
typedef struct cuda_event_state *cuda_event;
typedef struct cuda_graph_state *cuda_graph;
typedef struct cuda_graph_node_state *cuda_graph_node;
typedef struct cuda_graph_exec_state *cuda_graph_exec;

/* Results that are told apart; the numbers are the driver's ABI. */
enum {
  CUDA_OK = 0,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_DEINITIALIZED = 4,
  CUDA_NO_DEVICE = 100,
  CUDA_INVALID_DEVICE = 101,
  CUDA_INVALID_IMAGE = 200,
  CUDA_NO_BINARY_FOR_GPU = 209,
  CUDA_ECC_UNCORRECTABLE = 214,
  CUDA_INVALID_PTX = 218,
  CUDA_NVLINK_UNCORRECTABLE = 220,
  CUDA_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_CONTAINED = 226,
  CUDA_INVALID_SOURCE = 300,
  CUDA_NOT_FOUND = 500,
  CUDA_ILLEGAL_ADDRESS = 700,
  CUDA_LAUNCH_TIMEOUT = 702,
  CUDA_CONTEXT_IS_DESTROYED = 709,
  CUDA_ASSERT = 710,
  CUDA_HARDWARE_STACK_ERROR = 714,
  CUDA_ILLEGAL_INSTRUCTION = 715,
  CUDA_MISALIGNED_ADDRESS = 716,
  CUDA_INVALID_ADDRESS_SPACE = 717,
  CUDA_INVALID_PC = 718,
  CUDA_LAUNCH_FAILED = 719,
};

enum {
  CUDA_ATTRIBUTE_CAPABILITY_MAJOR = 75, /* of a device */
  CUDA_ATTRIBUTE_CAPABILITY_MINOR = 76,
  CUDA_ATTRIBUTE_CLOCK = 13, /* kHz, the highest */
  CUDA_ATTRIBUTE_MULTIPROCESSORS = 16,
  CUDA_ATTRIBUTE_MEMORY_CLOCK = 36,   /* kHz */
  CUDA_ATTRIBUTE_MEMORY_BUS = 37,     /* bits */
  CUDA_ATTRIBUTE_DYNAMIC_SHARED = 8,  /* of a function: most dynamic shared memory, bytes */
  CUDA_ATTRIBUTE_SHARED_CARVEOUT = 9, /* of a function: percentage of a multiprocessor's memory to be shared */
  CUDA_CARVEOUT_MOST_SHARED = 100,
  CUDA_ATTRIBUTE_CLUSTER_WIDTH = 11, /* of a function: the cluster's size that it was compiled with, 0 if none */
  CUDA_ATTRIBUTE_CLUSTER_HEIGHT = 12,
  CUDA_ATTRIBUTE_CLUSTER_DEPTH = 13,
  CUDA_STREAM_NON_BLOCKING = 1,
  CUDA_CAPTURE_THREAD_LOCAL = 1, /* other threads may allocate meanwhile */
  CUDA_EVENT_DEFAULT = 0,
  CUDA_EVENT_DISABLE_TIMING = 2,
  CUDA_EVENT_RECORD_EXTERNAL = 1, /* a captured record is a node of the graph, and happens at each replay */
};

/* CUlaunchAttribute: what each kind means by its value is the driver's. */
typedef struct cuda_launch_attribute {
  int32_t kind, reserved;
  union {
    int32_t number;
    uint32_t cluster[3];
    char bytes[64];
  } value;
} cuda_launch_attribute;
enum {
  CUDA_LAUNCH_CLUSTER = 4,      /* blocks of a cluster */
  CUDA_LAUNCH_PROGRAMMATIC = 6, /* value 1: may start before the launch in front of it in the stream is done */
};

/* CUgraphEdgeData */
typedef struct cuda_edge_data {
  uint8_t from_port, to_port, type, reserved[5];
} cuda_edge_data;
enum { CUDA_EDGE_PROGRAMMATIC = 1, CUDA_NODE_KERNEL = 0 };

/* CUlaunchConfig */
typedef struct cuda_launch_config {
  unsigned grid[3], block[3], shared_bytes;
  cuda_stream stream;
  cuda_launch_attribute *attributes;
  unsigned attribute_count;
} cuda_launch_config;

/* CUtensorMap: opaque, passed to kernels by value. */
typedef struct cuda_tensor_map {
  _Alignas(64) uint64_t words[16];
} cuda_tensor_map;

enum {
  CUDA_TENSOR_FLOAT16 = 6,
  CUDA_TENSOR_FLOAT32 = 7,
  CUDA_TENSOR_BFLOAT16 = 9,
  CUDA_TENSOR_NO_INTERLEAVE = 0,
  CUDA_TENSOR_SWIZZLE_128B = 3,
  CUDA_TENSOR_PROMOTE_256B = 3, /* to what a read of L2 is rounded up */
  CUDA_TENSOR_FILL_ZERO = 0,
};

/* X(name, parameters) for every symbol; each returns cuda_result. The runtime refuses a library that lacks a REQUIRED
 * one. */
#define CUDA_SYMBOLS(REQUIRED, OPTIONAL)                                                                               \
  REQUIRED(cuInit, (unsigned flags))                                                                                   \
  REQUIRED(cuDriverGetVersion, (int *out_version))                                                                     \
  REQUIRED(cuDeviceGetCount, (int *out_count))                                                                         \
  REQUIRED(cuDeviceGet, (cuda_device * out_device, int ordinal))                                                       \
  REQUIRED(cuDeviceGetName, (char *out_name, int length, cuda_device device))                                          \
  REQUIRED(cuDeviceGetAttribute, (int *out_value, int attribute, cuda_device device))                                  \
  REQUIRED(cuDevicePrimaryCtxRetain, (cuda_context * out_context, cuda_device device))                                 \
  REQUIRED(cuDevicePrimaryCtxRelease_v2, (cuda_device device))                                                         \
  REQUIRED(cuCtxPushCurrent_v2, (cuda_context context))                                                                \
  REQUIRED(cuCtxPopCurrent_v2, (cuda_context * out_context))                                                           \
  REQUIRED(cuModuleLoadData, (cuda_module * out_module, const void *image))                                            \
  REQUIRED(cuModuleUnload, (cuda_module module))                                                                       \
  REQUIRED(cuModuleGetFunction, (cuda_function * out_function, cuda_module module, const char *name))                  \
  REQUIRED(cuFuncSetAttribute, (cuda_function function, int attribute, int value))                                     \
  REQUIRED(cuFuncGetAttribute, (int *out_value, int attribute, cuda_function function))                                \
  REQUIRED(cuMemGetInfo_v2, (size_t *out_free, size_t *out_total))                                                     \
  REQUIRED(cuMemAlloc_v2, (cuda_address * out_address, size_t bytes))                                                  \
  REQUIRED(cuMemFree_v2, (cuda_address address))                                                                       \
  REQUIRED(cuMemAllocHost_v2, (void **out_address, size_t bytes))                                                      \
  REQUIRED(cuMemFreeHost, (void *address))                                                                             \
  REQUIRED(cuMemsetD8Async, (cuda_address address, unsigned char value, size_t bytes, cuda_stream stream))             \
  REQUIRED(cuMemcpyHtoDAsync_v2, (cuda_address to, const void *from, size_t bytes, cuda_stream stream))                \
  REQUIRED(cuMemcpyDtoHAsync_v2, (void *to, cuda_address from, size_t bytes, cuda_stream stream))                      \
  REQUIRED(cuStreamCreate, (cuda_stream * out_stream, unsigned flags))                                                 \
  REQUIRED(cuStreamDestroy_v2, (cuda_stream stream))                                                                   \
  REQUIRED(cuStreamSynchronize, (cuda_stream stream))                                                                  \
  REQUIRED(cuStreamGetCtx, (cuda_stream stream, cuda_context * out_context))                                           \
  REQUIRED(cuStreamBeginCapture_v2, (cuda_stream stream, int mode))                                                    \
  REQUIRED(cuStreamEndCapture, (cuda_stream stream, cuda_graph * out_graph))                                           \
  REQUIRED(cuGraphInstantiateWithFlags, (cuda_graph_exec * out_exec, cuda_graph graph, unsigned long long flags))      \
  REQUIRED(cuGraphLaunch, (cuda_graph_exec exec, cuda_stream stream))                                                  \
  REQUIRED(cuGraphDestroy, (cuda_graph graph))                                                                         \
  REQUIRED(cuGraphExecDestroy, (cuda_graph_exec exec))                                                                 \
  REQUIRED(cuLaunchKernelEx,                                                                                           \
           (const cuda_launch_config *config, cuda_function function, void **parameters, void **extra))                \
  REQUIRED(cuTensorMapEncodeTiled,                                                                                     \
           (cuda_tensor_map * out_map, int dtype, uint32_t rank, void *address, const uint64_t *sizes,                 \
            const uint64_t *stride_bytes, const uint32_t *box, const uint32_t *element_strides, int interleave,        \
            int swizzle, int promotion, int fill))                                                                     \
  REQUIRED(cuEventCreate, (cuda_event * out_event, unsigned flags))                                                    \
  REQUIRED(cuEventDestroy_v2, (cuda_event event))                                                                      \
  REQUIRED(cuEventRecord, (cuda_event event, cuda_stream stream))                                                      \
  REQUIRED(cuEventSynchronize, (cuda_event event))                                                                     \
  REQUIRED(cuEventElapsedTime, (float *out_milliseconds, cuda_event start, cuda_event end))                            \
  OPTIONAL(cuEventRecordWithFlags, (cuda_event event, cuda_stream stream, unsigned flags))                             \
  OPTIONAL(cuGraphUpload, (cuda_graph_exec exec, cuda_stream stream))                                                  \
  OPTIONAL(cuGraphGetEdges_v2,                                                                                         \
           (cuda_graph graph, cuda_graph_node * from, cuda_graph_node * to, cuda_edge_data * data, size_t *count))     \
  OPTIONAL(cuGraphNodeGetType, (cuda_graph_node node, int *out_type))                                                  \
  OPTIONAL(cuDeviceGetPCIBusId, (char *out_bus, int length, cuda_device device))                                       \
  OPTIONAL(cuGetErrorName, (cuda_result result, const char **out_name))                                                \
  OPTIONAL(cuGetErrorString, (cuda_result result, const char **out_sentence))

typedef struct cuda_driver {
  void *library; /* of dlopen */
#define CUDA_MEMBER(name, parameters) cuda_result(*name) parameters;
  CUDA_SYMBOLS(CUDA_MEMBER, CUDA_MEMBER)
#undef CUDA_MEMBER
} cuda_driver;

#endif
