/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* pinion tune writes a sorted file of winners, keeps other problems' lines, and reads an artifact's manifest. */
#include "tools/pinion/commands.h"

#include "ir/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/pinion-tune-XXXXXX";
static char path[128];

static int make_folder(void **state) {
  (void)state;
  if (!mkdtemp(folder) || setenv("CFLAGS", "-O0", 1)) return 1; /* which tile wins does not matter here */
  snprintf(path, sizeof path, "%s/cpu.tuning", folder);
  return 0;
}
static int remove_folder(void **state) {
  (void)state;
  folder_remove(folder);
  return 0;
}

static void write_text(const char *name, const char *data) {
  char file[128];
  diagnostics d = {0};
  snprintf(file, sizeof file, "%s/%s", folder, name);
  assert_int_equal(file_write(&d, file, data, strlen(data)), STATUS_OK);
}

/* Runs `pinion tune -o FILE --milliseconds=1 ARGUMENT`; the file's written, to be freed. */
static char *tune(const char *argument, int expected_status) {
  char output[160], milliseconds[] = "--milliseconds=1", threads[] = "--threads=1", name[] = "tune", last[160];
  snprintf(output, sizeof output, "--output=%s", path);
  snprintf(last, sizeof last, "%s", argument);
  char *argv[] = {name, output, milliseconds, threads, last, NULL};
  assert_int_equal(command_tune(5, argv), expected_status);
  diagnostics d = {0};
  mapped_file file;
  if (expected_status != STATUS_OK || file_map(&d, path, &file) != STATUS_OK) return NULL;
  char *written = strndup((const char *)file.bytes, file.size);
  file_unmap(&file);
  return written;
}

static void shapes_become_sorted_lines(void **state) {
  (void)state;
  char *written = tune("--shapes=9x33x20,5x17x300", STATUS_OK);
  const char *first = strstr(written, "\ngemm packed f32 f32 f32 1x1x5x1x17x1x300 | "),
             *second = strstr(written, "\ngemm packed f32 f32 f32 1x1x9x1x33x1x20 | ");
  assert_non_null(first);
  assert_non_null(second);
  assert_true(first < second);
  free(written);
}

static void lines_of_other_problems_stay(void **state) {
  (void)state;
  write_text("cpu.tuning", "# old\nz other problem | some-tile | 1.0 | d | t\ngemm packed f32 f32 f32 1x1x4x1x16x1x8 | "
                           "no-tile | 1.0 | d | t\n");
  char *written = tune("--shapes=4x16x8", STATUS_OK);
  assert_non_null(strstr(written, "z other problem | some-tile | 1.0 | d | t\n"));
  assert_null(strstr(written, "no-tile"));
  free(written);
}

static void an_artifact_names_its_problems(void **state) {
  (void)state;
  write_text(
      "manifest.json",
      "{\"schema\": 2, \"target\": {\"name\": \"cpu\"}, \"launches\": [{\"problem\": \"gemm packed f32 f32 bf16 f32 "
      "body 1x1x6x1x40x1x24\"},\n"
      "{\"problem\": \"gemm packed f32 f32 bf16 f32 body 1x1x6x1x40x1x24\"}, {\"problem\": \"softmax f32 f32 3x4\"}]}");
  char *written = tune(folder, STATUS_OK);
  const char *line = strstr(written, "gemm packed f32 f32 bf16 f32 body 1x1x6x1x40x1x24 | ");
  assert_non_null(line);
  assert_null(strstr(line + 1, "gemm packed f32 f32 bf16"));
  assert_null(strstr(written, "softmax"));
  free(written);
}

static void nonsense_is_refused(void **state) {
  (void)state;
  tune("--shapes=4x16", STATUS_USAGE);
  tune("--shapes=ax1x1", STATUS_USAGE);
  tune("--target=none", STATUS_USAGE);
  tune("/nonexistent-artifact", STATUS_BAD_INPUT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shapes_become_sorted_lines),
      cmocka_unit_test(lines_of_other_problems_stay),
      cmocka_unit_test(an_artifact_names_its_problems),
      cmocka_unit_test(nonsense_is_refused),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
