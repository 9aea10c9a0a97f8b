/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tools/pinion/npy.h"

static char path[] = "/tmp/pinion-npy-XXXXXX";
static diagnostics quiet; /* writes to a file nobody reads */

static int setup(void **state) {
  (void)state;
  int descriptor = mkstemp(path);
  if (descriptor < 0) return -1;
  close(descriptor);
  quiet.stream = tmpfile();
  return quiet.stream ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  fclose(quiet.stream);
  return remove(path);
}

/* A file of version `version` with this header text and data. */
static void write_file(int version, const char *header, const void *data, size_t bytes) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  size_t length = strlen(header);
  const unsigned char prefix[] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0, (unsigned char)length,
                                  0,    0,   0};
  fwrite(prefix, 1, version == 1 ? 10 : 12, file);
  fwrite(header, 1, length, file);
  fwrite(data, 1, bytes, file);
  fclose(file);
}

static void every_element_type_survives_a_round_trip(void **state) {
  (void)state;
  for (int dtype = 0; dtype < PINION_DTYPE_COUNT; dtype++) {
    const tensor_type type = {(pinion_dtype)dtype, 2, {2, 3}};
    tensor written, read;
    assert_int_equal(tensor_create(&quiet, "t", &type, &written), STATUS_OK);
    for (int i = 0; i < 6; i++) tensor_set(&written, i, dtype == PINION_DTYPE_bool ? i & 1 : i * 17);
    assert_int_equal(npy_write(&quiet, path, &written), STATUS_OK);
    assert_int_equal(npy_read(&quiet, path, &read), STATUS_OK);
    assert_int_equal(read.type.dtype, dtype == PINION_DTYPE_bf16 ? PINION_DTYPE_f32 : dtype);
    assert_int_equal(read.type.rank, 2);
    assert_true(read.type.dims[0] == 2 && read.type.dims[1] == 3);
    for (int i = 0; i < 6; i++) assert_true(tensor_get(&read, i) == tensor_get(&written, i));
    tensor_free(&written);
    tensor_free(&read);
  }
}

static void shapes_of_any_rank_survive_a_round_trip(void **state) {
  (void)state;
  for (int rank = 0; rank <= PINION_MAX_RANK; rank++) {
    tensor_type type = {PINION_DTYPE_i64, rank, {0}};
    for (int i = 0; i < rank; i++) type.dims[i] = i % 3 + 1;
    tensor written, read;
    assert_int_equal(tensor_create(&quiet, "t", &type, &written), STATUS_OK);
    assert_int_equal(npy_write(&quiet, path, &written), STATUS_OK);
    assert_int_equal(npy_read(&quiet, path, &read), STATUS_OK);
    assert_true(type_equal(&read.type, &type));
    tensor_free(&written);
    tensor_free(&read);
  }
}

static void the_data_begins_at_a_multiple_of_64(void **state) {
  (void)state;
  const tensor_type type = {PINION_DTYPE_u8, 1, {1}};
  tensor t;
  assert_int_equal(tensor_create(&quiet, "t", &type, &t), STATUS_OK);
  assert_int_equal(npy_write(&quiet, path, &t), STATUS_OK);
  FILE *file = fopen(path, "rb");
  fseek(file, 0, SEEK_END);
  assert_int_equal(ftell(file) % 64, 1);
  fclose(file);
  tensor_free(&t);
}

static void all_versions_and_spellings_are_read(void **state) {
  (void)state;
  const float data[] = {1, 2, 3, 4, 5, 6};
  const char *const headers[] = {
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
      "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}",
      "{'descr': '=f4', 'shape': (2L, 3L), 'fortran_order': False}\n",
  };
  for (int version = 1; version <= 3; version++)
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
      tensor t;
      write_file(version, headers[i], data, sizeof data);
      assert_int_equal(npy_read(&quiet, path, &t), STATUS_OK);
      assert_int_equal(t.type.rank, 2);
      assert_memory_equal(t.data, data, sizeof data);
      tensor_free(&t);
    }
}

static void fortran_order_becomes_row_major(void **state) {
  (void)state;
  const int16_t columns[] = {1, 4, 2, 5, 3, 6}, rows[] = {1, 2, 3, 4, 5, 6};
  tensor t;
  write_file(1, "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3)}", columns, sizeof columns);
  assert_int_equal(npy_read(&quiet, path, &t), STATUS_OK);
  assert_memory_equal(t.data, rows, sizeof rows);
  tensor_free(&t);
}

static void damaged_files_are_refused(void **state) {
  (void)state;
  const char *const headers[] = {
      "",
      "{",
      "{}",
      "{'descr': '<f4'}",
      "['descr']",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}", /* needs more bytes than there are */
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
      "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}",
      "{'descr': '<c8', 'fortran_order': False, 'shape': (2, 1)}",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}",
      "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3)}",
      "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
  };
  const float data[6] = {0};
  tensor t;
  for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
    write_file(1, headers[i], data, sizeof data);
    if (npy_read(&quiet, path, &t) != STATUS_BAD_INPUT) fail_msg("accepted: %s", headers[i]);
    assert_null(t.data);
  }
  write_file(9, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", data, sizeof data);
  assert_int_equal(npy_read(&quiet, path, &t), STATUS_BAD_INPUT);
  assert_int_equal(npy_read(&quiet, "/nonexistent.npy", &t), STATUS_BAD_INPUT);
}

/* Every prefix of a good file ends in a diagnostic. */
static void truncated_files_are_refused(void **state) {
  (void)state;
  const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}";
  const float data[6] = {0};
  tensor t;
  for (size_t length = 0; length < 10 + strlen(header) + sizeof data; length++) {
    write_file(1, header, data, sizeof data);
    assert_int_equal(truncate(path, (off_t)length), 0);
    assert_int_equal(npy_read(&quiet, path, &t), STATUS_BAD_INPUT);
  }
}

static tensor make(pinion_dtype dtype, double value) {
  const tensor_type type = {dtype, 1, {1}};
  tensor t;
  assert_int_equal(tensor_create(&quiet, "t", &type, &t), STATUS_OK);
  tensor_set(&t, 0, value);
  return t;
}

static void types_are_converted_where_no_meaning_is_lost(void **state) {
  (void)state;
  static const struct {
    pinion_dtype from, to;
    double value;
    status expected;
  } cases[] = {
      {PINION_DTYPE_f64, PINION_DTYPE_f32, 0.5, STATUS_OK},
      {PINION_DTYPE_f32, PINION_DTYPE_bf16, -3, STATUS_OK},
      {PINION_DTYPE_i32, PINION_DTYPE_i64, -7, STATUS_OK},
      {PINION_DTYPE_i64, PINION_DTYPE_i32, 7, STATUS_OK},
      {PINION_DTYPE_u8, PINION_DTYPE_bool, 1, STATUS_OK},
      {PINION_DTYPE_bool, PINION_DTYPE_i64, 1, STATUS_OK},
      {PINION_DTYPE_u8, PINION_DTYPE_bool, 2, STATUS_BAD_INPUT},
      {PINION_DTYPE_i64, PINION_DTYPE_i8, 128, STATUS_BAD_INPUT},
      {PINION_DTYPE_i64, PINION_DTYPE_u32, -1, STATUS_BAD_INPUT},
      {PINION_DTYPE_f32, PINION_DTYPE_i64, 1, STATUS_BAD_INPUT},
      {PINION_DTYPE_i64, PINION_DTYPE_f32, 1, STATUS_BAD_INPUT},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    tensor t = make(cases[i].from, cases[i].value);
    assert_int_equal(tensor_convert(&quiet, "t", &t, cases[i].to), cases[i].expected);
    assert_int_equal(t.type.dtype, cases[i].expected ? cases[i].from : cases[i].to);
    assert_true(tensor_get(&t, 0) == cases[i].value);
    tensor_free(&t);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_element_type_survives_a_round_trip),
      cmocka_unit_test(shapes_of_any_rank_survive_a_round_trip),
      cmocka_unit_test(the_data_begins_at_a_multiple_of_64),
      cmocka_unit_test(all_versions_and_spellings_are_read),
      cmocka_unit_test(fortran_order_becomes_row_major),
      cmocka_unit_test(damaged_files_are_refused),
      cmocka_unit_test(truncated_files_are_refused),
      cmocka_unit_test(types_are_converted_where_no_meaning_is_lost),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
