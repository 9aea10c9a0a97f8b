/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The hand-written artifact's weights, and what it computes. */
#include "model.h"

#include <string.h>

/* Values that are no multiples of one another, so that a wrong row or column shows. */
static float value(int row, int column) {
  return (float)((row * 37 + column * 11) % 23 - 11) / 16;
}

void example_weights_fill(example_weights *w) {
  memset(w, 0, sizeof *w);
  memcpy(w->header.magic, "PINIONW", sizeof w->header.magic);
  w->header.abi_version = PINION_ABI_VERSION;
  w->header.bytes = sizeof *w;
  strcpy(w->header.target, "cpu");
  for (int i = 0; i < EXAMPLE_VOCABULARY; i++)
    for (int k = 0; k < EXAMPLE_STATE; k++) w->embedding[i][k] = value(i + 1, k);
  for (int n = 0; n < EXAMPLE_ACTIONS; n++)
    for (int k = 0; k < EXAMPLE_STATE; k++) w->projection[n][k] = value(n + 7, k);
  for (int s = 0; s < EXAMPLE_STEPS; s++)
    for (int n = 0; n < EXAMPLE_ACTIONS; n++) w->rate[s][n] = value(s + 13, n);
}

/* Sums in the kernels' order: results are equal to the bit. */
void example_reference(const float state[EXAMPLE_ROWS][EXAMPLE_STATE], const int64_t tokens[EXAMPLE_ROWS],
                       const float noise[EXAMPLE_ROWS][EXAMPLE_ACTIONS],
                       float out_actions[EXAMPLE_ROWS][EXAMPLE_ACTIONS]) {
  example_weights w;
  example_weights_fill(&w);
  for (int m = 0; m < EXAMPLE_ROWS; m++)
    for (int n = 0; n < EXAMPLE_ACTIONS; n++) {
      float hidden = 0;
      for (int k = 0; k < EXAMPLE_STATE; k++) hidden += (state[m][k] + w.embedding[tokens[m]][k]) * w.projection[n][k];
      float action = noise[m][n];
      for (int s = 0; s < EXAMPLE_STEPS; s++) {
        volatile float move = hidden * w.rate[s][n]; /* rounded: no fused multiply-add here */
        action += move;
      }
      out_actions[m][n] = action;
    }
}
