/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the tests of ir/ share: a compilation whose messages can be read, and modules from text. */
#ifndef PINION_TESTS_IR_TESTING_H
#define PINION_TESTS_IR_TESTING_H

#include "ir/ir.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct ir_test {
  compilation c;
  MlirModule module; /* the last one parsed; null at first */
  char *messages;
  size_t message_length;
} ir_test;

static inline int ir_test_begin(void **state) {
  ir_test *t = calloc(1, sizeof *t);
  if (!t || compilation_create(&t->c) != STATUS_OK) return -1;
  t->c.diagnostics.stream = open_memstream(&t->messages, &t->message_length);
  *state = t;
  return 0;
}

static inline int ir_test_end(void **state) {
  ir_test *t = *state;
  FILE *stream = t->c.diagnostics.stream;
  if (!mlirModuleIsNull(t->module)) mlirModuleDestroy(t->module);
  compilation_destroy(&t->c);
  fclose(stream);
  free(t->messages);
  free(t);
  return 0;
}

/* Everything diagnosed so far. */
static inline const char *ir_test_messages(ir_test *t) {
  fflush(t->c.diagnostics.stream);
  return t->messages ? t->messages : "";
}

/* Parses into t->module, in place of the one before. */
static inline void ir_test_parse(ir_test *t, const char *source) {
  if (!mlirModuleIsNull(t->module)) mlirModuleDestroy(t->module);
  t->module = mlirModuleCreateParse(t->c.context, mlirStringRefCreateFromCString(source));
  if (mlirModuleIsNull(t->module)) fail_msg("does not parse:\n%s\n%s", source, ir_test_messages(t));
}

/* The same, and the module must verify. */
static inline void ir_test_parse_valid(ir_test *t, const char *source) {
  ir_test_parse(t, source);
  if (module_verify(&t->c, t->module, LEVELS_FUSED) != STATUS_OK)
    fail_msg("does not verify:\n%s\n%s", source, ir_test_messages(t));
}

#endif
