/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * An artifact written by hand: the executable specification of runtime/abi.h. A policy in miniature: it embeds two
 * tokens, projects the state, and integrates three steps of a field whose constants differ from step to step.
 *
 *   hidden[m,n] = sum_k (state[m,k] + embedding[tokens[m],k]) * projection[n,k]      stage "prefix"
 *   actions = noise;   actions[m,n] += hidden[m,n] * rate[step,n]                    stages "start" and "step", three
 * times
 */
#ifndef EXAMPLE_MODEL_H
#define EXAMPLE_MODEL_H

#include "runtime/abi.h"

enum { EXAMPLE_ROWS = 2, EXAMPLE_STATE = 3, EXAMPLE_ACTIONS = 5, EXAMPLE_VOCABULARY = 6, EXAMPLE_STEPS = 3 };
enum { EXAMPLE_LAUNCHES = 4 + 2 * EXAMPLE_STEPS }; /* of one call */

/* What weights.bin holds, rows padded to 16 bytes as everywhere. */
typedef struct example_weights {
  _Alignas(PINION_BASE_ALIGN) pinion_weights_header header;
  _Alignas(PINION_BASE_ALIGN) float embedding[EXAMPLE_VOCABULARY][4];
  _Alignas(PINION_BASE_ALIGN) float projection[EXAMPLE_ACTIONS][4];
  _Alignas(PINION_BASE_ALIGN) float rate[EXAMPLE_STEPS][8];
} example_weights;

/* Fills in every weight and the header. */
void example_weights_fill(example_weights *out_weights);

/* The artifact's tables, under a name of their own: a test links several. */
extern const pinion_model_desc example_model;

/* The same computation, written down plainly. */
void example_reference(const float state[EXAMPLE_ROWS][EXAMPLE_STATE], const int64_t tokens[EXAMPLE_ROWS],
                       const float noise[EXAMPLE_ROWS][EXAMPLE_ACTIONS],
                       float out_actions[EXAMPLE_ROWS][EXAMPLE_ACTIONS]);

#endif
