/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What is known at compile time of masks that a run computes from bool inputs: each element as one number where a
 * condition holds, and another where it does not.
 */
#ifndef PINION_PASSES_MASK_VALUES_H
#define PINION_PASSES_MASK_VALUES_H

#include "call_graph.h"
#include "condition.h"

/* `then` where `when` holds, else `otherwise`. A known constant has ALWAYS. NEVER: nothing is known of it. */
typedef struct mask_element {
  condition when;
  double then, otherwise;
} mask_element;

typedef struct mask_tensor {
  MlirValue value; /* its origin: value_origin */
  tensor_type type;
  const mask_element *elements; /* row-major */
} mask_tensor;

/* What a truth stands for: element `index` of a bool tensor that is evaluated once. */
typedef struct mask_truth {
  MlirValue value;
  int64_t index;
} mask_truth;

typedef struct mask_values {
  call_graph *calls; /* borrowed, with its arena */
  pointer_map known; /* origin -> index into `tensors` */
  mask_tensor *tensors;
  size_t count, capacity;
  mask_truth *truths;
  size_t truth_count, truth_capacity;
  int depth; /* of ops that wait for an operand */
} mask_values;

mask_values mask_values_create(call_graph *calls);

/* The elements of a tensor, evaluated across functions; NULL if nothing is known of any. Exact: a rounding that the
   graph makes is made. Lives as long as the arena. */
const mask_tensor *mask_value(mask_values *m, MlirValue value);

#endif
