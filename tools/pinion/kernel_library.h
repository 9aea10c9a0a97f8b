/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Kernels of a target whose sources the artifact's build compiles (the cpu), outside of any artifact: compiled with the
 * C compiler and $CFLAGS, as there, into one shared library, loaded, run on a pool of threads and timed. What `pinion
 * tune`, the kernel tests and the GEMM benchmark share.
 */
#ifndef PINION_TOOLS_KERNEL_LIBRARY_H
#define PINION_TOOLS_KERNEL_LIBRARY_H

#include "runtime/thread_pool.h"
#include "targets/target.h"

/* Kernels on their way into one shared library. */
typedef struct kernel_library {
  const struct target *target;
  char folder[64];      /* temporary: kernels/, runtime/, kernels.so */
  const char *compiler; /* a command; borrowed */
  int count;
  void *handle; /* of dlopen */
} kernel_library;

/* The command of $CC, or cc. Borrowed from the environment. */
const char *kernel_compiler(void);

/* These return false on failure, having said why on stderr. kernel_library_end is needed in any case. */
bool kernel_library_begin(kernel_library *library, const struct target *target, const char *compiler);
bool kernel_library_add(kernel_library *library, const kernel_problem *problem, const kernel_choice *choice,
                        const char *name);
bool kernel_library_build(kernel_library *library);
pinion_cpu_kernel *kernel_library_find(const kernel_library *library, const char *name); /* NULL if there is none */
void kernel_library_end(kernel_library *library);

/* One launch, as the runtime would run it. `args` and `params` are borrowed. */
typedef struct kernel_launch {
  pinion_cpu_kernel *kernel;
  const pinion_params *params;
  void *const *args;
  uint32_t grid;
  size_t scratch_bytes;
} kernel_launch;

typedef struct kernel_timing {
  double best, median; /* microseconds */
  int count;
} kernel_timing;

/* Runs the launch on the pool again and again for about so long, after one run that is not counted. The pool is not
   owned by anyone else meanwhile. False if memory cannot be had. */
bool kernel_measure(pinion_thread_pool *pool, const kernel_launch *launch, double milliseconds,
                    kernel_timing *out_timing);

/* A gemm over dense matrices a[m, k], b[n, k] (packed by the target), c[m, n], with nothing around it: what is measured
   for a shape. `dtypes` are those of c, a and b. */
kernel_problem gemm_problem(int64_t m, int64_t n, int64_t k, const pinion_dtype dtypes[3]);
/* Memory for its arguments, operands filled with small numbers; false if memory cannot be had. Freed by gemm_free. */
bool gemm_allocate(const struct target *target, const kernel_problem *problem, void *out_args[3]);
void gemm_free(void *args[3]);

#endif
