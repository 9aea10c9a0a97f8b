/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Compiles instances of the cpu target's kernels with a C compiler, loads them and runs their blocks: what an artifact
 * does. */
#ifndef PINION_TESTS_CPU_HARNESS_H
#define PINION_TESTS_CPU_HARNESS_H

#include "targets/target.h"

/* Kernels on their way into one shared library. */
typedef struct kernel_library {
  char folder[64]; /* temporary: kernels/, runtime/, the library */
  const char *compiler;
  const char *flags;
  int count;
  void *handle; /* dlopen */
} kernel_library;

/* What an artifact's own build passes. */
#define KERNEL_FLAGS                                                                                                           \
  "-std=c11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fPIC -Wall -Wextra -Werror"

/* All false on failure, with the reason on stderr. */
bool kernel_library_begin(kernel_library *library, const char *compiler, const char *flags);
/* Adds an instance as kernel `name`. */
bool kernel_library_add(kernel_library *library, const kernel_problem *problem, const kernel_choice *choice,
                        const char *name);
bool kernel_library_build(kernel_library *library);
pinion_cpu_kernel *kernel_library_find(const kernel_library *library, const char *name); /* NULL if there is none */
void kernel_library_end(kernel_library *library);

/* Runs every block of a launch in this thread, `grid` of them, with scratch of exactly `scratch_bytes` that holds NaNs;
   false if the kernel wrote beyond it. */
bool kernel_run(pinion_cpu_kernel *kernel, const pinion_params *params, void *const *args, uint32_t grid,
                size_t scratch_bytes);

#endif
