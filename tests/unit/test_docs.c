/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The committed pages that are generated are what would be generated now. */
#include "ir_testing.h"

static void docs_ops_is_what_the_op_table_says(void **state) {
  ir_test *t = *state;
  mapped_file committed;
  text generated = dialect_markdown();
  assert_int_equal(file_map(&t->c.diagnostics, "docs/ops.md", &committed), STATUS_OK);
  bool same = committed.size == generated.length && memcmp(committed.bytes, generated.data, committed.size) == 0;
  file_unmap(&committed);
  text_free(&generated);
  if (!same) fail_msg("docs/ops.md is out of date: pinion ops > docs/ops.md");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(docs_ops_is_what_the_op_table_says, ir_test_begin, ir_test_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
