/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the runtime's tests share: a folder with the hand-written artifact's weights, and its inputs. */
#ifndef PINION_TESTS_RUNTIME_FIXTURE_H
#define PINION_TESTS_RUNTIME_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "artifact/model.h"
#include "runtime/pinion.h"

static char fixture_folder[64];

static inline void fixture_write(const char *name, const void *data, size_t bytes) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, bytes, file), bytes);
  fclose(file);
}

static inline int fixture_setup(void **state) {
  static example_weights weights;
  (void)state;
  strcpy(fixture_folder, "/tmp/pinion-test-XXXXXX");
  if (!mkdtemp(fixture_folder)) return -1;
  example_weights_fill(&weights);
  fixture_write("weights.bin", &weights, sizeof weights);
  return 0;
}

static inline int fixture_teardown(void **state) {
  char path[128];
  (void)state;
  snprintf(path, sizeof path, "%s/weights.bin", fixture_folder);
  remove(path);
  return rmdir(fixture_folder);
}

typedef struct example_case {
  float state[EXAMPLE_ROWS][EXAMPLE_STATE];
  int64_t tokens[EXAMPLE_ROWS];
  float noise[EXAMPLE_ROWS][EXAMPLE_ACTIONS];
  float actions[EXAMPLE_ROWS][EXAMPLE_ACTIONS], expected[EXAMPLE_ROWS][EXAMPLE_ACTIONS];
} example_case;

static inline example_case example_case_make(int seed) {
  example_case c = {.tokens = {seed % EXAMPLE_VOCABULARY, (seed + 2) % EXAMPLE_VOCABULARY}};
  for (int m = 0; m < EXAMPLE_ROWS; m++) {
    for (int k = 0; k < EXAMPLE_STATE; k++) c.state[m][k] = (float)((seed * 7 + m * 5 + k * 3) % 17 - 8) / 4;
    for (int n = 0; n < EXAMPLE_ACTIONS; n++) c.noise[m][n] = (float)((seed * 3 + m * 9 + n * 2) % 19 - 9) / 8;
  }
  example_reference(c.state, c.tokens, c.noise, c.expected);
  return c;
}

static inline void example_set_inputs(pinion_instance *instance, const example_case *c) {
  assert_int_equal(pinion_set_input(instance, "state", c->state, sizeof c->state), PINION_OK);
  assert_int_equal(pinion_set_input(instance, "tokens", c->tokens, sizeof c->tokens), PINION_OK);
  assert_int_equal(pinion_set_input(instance, "noise", c->noise, sizeof c->noise), PINION_OK);
}

static inline void example_check_outputs(pinion_instance *instance, example_case *c) {
  memset(c->actions, 0xff, sizeof c->actions);
  assert_int_equal(pinion_get_output(instance, "actions", c->actions, sizeof c->actions), PINION_OK);
  assert_memory_equal(c->actions, c->expected, sizeof c->expected);
}

#endif
