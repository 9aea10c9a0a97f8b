/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The conformance cases on their way from make_cases (which needs the compiler) to run_cases (which needs a GPU and
 * nothing else): FOLDER/kernels/NAME.cubin, its source NAME.cu, and FOLDER/cases.bin, which is a cases_header and then,
 * `case_count` times, a case_record followed by its arguments' bytes; a result's are followed by its expected values,
 * `count` doubles, NaN where no element lies. Little-endian; written and read by the same build.
 */
#ifndef PINION_TESTS_CUDA_CASES_H
#define PINION_TESTS_CUDA_CASES_H

#include "runtime/abi.h"

#define CASES_MAGIC "PINIOND"

typedef struct cases_header {
  char magic[8];
  uint64_t case_count;
  char target[16];
  int32_t compute_capability, minimum_driver;
} cases_header;

typedef struct case_argument {
  int64_t count, origin;     /* elements; index of the one whose coordinates are all 0 */
  double absolute, relative; /* results: a kernel may be off by absolute + relative * |expected| */
  int32_t dtype;
  int32_t is_result;
} case_argument;

typedef struct case_record {
  char name[64];   /* of the kernel family's case */
  char kernel[64]; /* symbol, and its cubin's name without suffix */
  char tile[32];   /* "" where the family has none */
  int32_t family;
  uint32_t grid[3], block[3], dynamic_shared_bytes;
  double operations; /* 0, or how many a timing-only case does: its arguments have no bytes here and hold whatever
                        run_cases fills them with, and nothing is expected */
  int32_t has_tensor_map;
  pinion_params params;
  pinion_tensor_map tensor_map;
  case_argument arguments[PINION_MAX_ARGS];
} case_record;

#endif
