/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* How far one tensor is from another, and whether that is too far. */
#ifndef PINION_TOOLS_COMPARE_H
#define PINION_TOOLS_COMPARE_H

#include "inputs.h"

typedef struct comparison {
  double max_absolute; /* max |x - y| */
  double max_relative; /* max |x - y| / |y|, where y is not 0 */
  double
      relative_l2; /* ||x - y|| / ||y||; infinite if only y is 0, or if either is not finite where the other differs */
  double cosine;   /* x . y / (||x|| ||y||); 1 when both are 0 */
  int64_t worst;   /* index of max_absolute */
  int64_t mismatches; /* elements with |x - y| > atol + rtol |y| */
} comparison;

/* Compares x with the reference y, of the same shape and any element types; with `minus`, x - minus with y - minus (a
   diffusion policy's outputs begin as its noise, which hides errors); with `visible`, where that is not 0. */
comparison compare_tensors(const tensor *x, const tensor *y, const tensor *minus, const uint8_t *visible, double rtol,
                           double atol);

/* What is too far. */
typedef struct tolerance {
  double
      relative_l2; /* of output minus noise where there is a noise, else of the output; < 0: by the model's precision */
  double rtol, atol; /* element by element as well, unless both are negative */
} tolerance;

/* The default of relative_l2: 1e-5 when everything is computed in float32 or wider, 2e-2 where bf16 or f16 take part.
 */
double default_tolerance(const pinion_model_desc *desc);
#define TOLERANCE_HELP "largest relative L2 error (1e-5; 2e-2 where bf16 or f16 take part; integers: equal)"

/* Whether every output is within the tolerance; *out_error is the largest relative L2 (infinite for integers that
   differ). Says nothing. */
bool outputs_agree(const pinion_model_desc *desc, const tensor_list *inputs, const tensor_list *outputs,
                   const tensor_list *references, const tolerance *limits, double *out_error);

/* Compares every output with its reference, prints a table of errors, and returns STATUS_MISMATCH if one is beyond the
   tolerance. `inputs` give the noise. */
status compare_outputs(const pinion_model_desc *desc, const tensor_list *inputs, const tensor_list *outputs,
                       const tensor_list *references, const tolerance *limits);

#endif
