/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * NumPy's .npy files (numpy.lib.format, versions 1.0, 2.0 and 3.0), little-endian: bool, all integers, float16,
 * float32, float64, and bfloat16 as ml_dtypes writes it (a 2-byte void, '<V2').
 */
#ifndef PINION_TOOLS_NPY_H
#define PINION_TOOLS_NPY_H

#include "tensor.h"

/* Reads a file; Fortran order is turned into row-major. Diagnoses what is damaged or of another kind
 * (STATUS_BAD_INPUT). */
status npy_read(diagnostics *d, const char *path, tensor *out_tensor);

/* Writes version 1.0. bf16, which NumPy alone cannot read, is widened to float32. */
status npy_write(diagnostics *d, const char *path, const tensor *t);

#endif
