/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Kernels that end badly, each in its own way, and one that does not: what make_cases compiles for run_errors. */
#ifndef PINION_TESTS_ERROR_KERNELS_H
#define PINION_TESTS_ERROR_KERNELS_H

static const struct error_kernel {
  const char *name, *statement;
} error_kernels[] = {
    {"error_none", "*(float *)arguments.pointer[0] = 1;"},
    {"error_address", "*(volatile float *)16 = 1;"},
    {"error_alignment", "*(volatile double *)((char *)arguments.pointer[0] + 4) = 1;"},
    {"error_trap", "asm volatile(\"trap;\");"},
};
enum { ERROR_KERNELS = sizeof error_kernels / sizeof *error_kernels };

#endif
