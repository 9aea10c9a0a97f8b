/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What a launch computes, by the letter of runtime/abi.h: plain loops in float64 over the iteration space. The oracle
 * of every target's kernel tests. It shares no code with any kernel.
 */
#ifndef PINION_TESTS_PARAMS_REFERENCE_H
#define PINION_TESTS_PARAMS_REFERENCE_H

#include "targets/target.h"

/* One element of a tensor of that type, as a double (integers beyond 2^53 are rounded). */
double reference_load(pinion_dtype dtype, const void *base, int64_t index);
/* The inverse: rounds to nearest even; a float becomes an integer by truncation; bool is anything but 0. */
void reference_store(pinion_dtype dtype, void *base, int64_t index, double value);
/* What `value` becomes when stored as `dtype` and read back. */
double reference_round(pinion_dtype dtype, double value);

/*
 * Runs `problem`. args[i] is where argument i's element with all coordinates 0 lies, in the argument's own type;
 * results' args are not touched. results[r] is where result r's values go, as doubles, *not* rounded to the result's
 * type, at the same element index that params->stride[r] gives. `problem->packed_b` must be false: a test of packed
 * weights hands in b as it was before packing, with its strides. Returns false for a kind or family it does not know.
 */
bool reference_run(const kernel_problem *problem, void *const *args, double *const *results);

#endif
