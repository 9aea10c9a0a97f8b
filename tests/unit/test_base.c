/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "ir/base.h"
#include "ir/weights.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void arena_memory_is_zeroed_aligned_and_keeps_its_content(void **state) {
  (void)state;
  arena *a = arena_create();
  size_t sizes[] = {1, 7, 4096, 300000, 5000000, 16};
  uint8_t *blocks[6];
  for (int i = 0; i < 6; i++) {
    blocks[i] = arena_alloc(a, sizes[i]);
    assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(blocks[i][k], 0);
    memset(blocks[i], i + 1, sizes[i]);
  }
  for (int i = 0; i < 6; i++)
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(blocks[i][k], i + 1);
  arena_destroy(a);
}

static void a_reset_arena_gives_zeroed_memory_again(void **state) {
  (void)state;
  const size_t sizes[] = {1, 3000, 9000, 700000, 16};
  arena *a = arena_create();
  arena_reset(a);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 5; i++) {
      uint8_t *block = arena_alloc(a, sizes[i]);
      for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(block[k], 0);
      memset(block, 0xff, sizes[i]);
    }
    arena_reset(a);
  }
  arena_destroy(a);
}

static void a_formatted_text_may_be_of_any_length(void **state) {
  (void)state;
  arena *a = arena_create();
  for (int width = 1; width < 2000; width *= 3) assert_int_equal(strlen(arena_format(a, "%*d", width, 7)), width);
  arena_destroy(a);
}

static void without_diagnostics_nothing_is_said(void **state) {
  (void)state;
  assert_int_equal(diagnose(NULL, STATUS_BAD_INPUT, "node", NULL, "%d", 1), STATUS_BAD_INPUT);
}

static void a_grown_array_keeps_its_elements(void **state) {
  (void)state;
  arena *a = arena_create();
  int *items = NULL;
  size_t count = 0, capacity = 0;
  for (int i = 0; i < 1000; i++) {
    items = arena_grow(a, items, count, &capacity, sizeof *items);
    items[count++] = i;
  }
  for (int i = 0; i < 1000; i++) assert_int_equal(items[i], i);
  arena_destroy(a);
}

static void text_grows_past_its_first_buffer(void **state) {
  (void)state;
  text t = {0};
  for (int i = 0; i < 500; i++) text_append(&t, "%03d", i);
  assert_int_equal(t.length, 1500);
  assert_memory_equal(t.data + 1497, "499", 4);
  text_free(&t);
  assert_null(t.data);
}

static void diagnostics_name_file_node_and_op(void **state) {
  (void)state;
  char *written = NULL;
  size_t length = 0;
  diagnostics d = {.file = "m.onnx", .stream = open_memstream(&written, &length)};
  assert_int_equal(diagnose(&d, STATUS_UNSUPPORTED, "n1", "Foo", "no %s", "importer"), STATUS_UNSUPPORTED);
  diagnose(&d, STATUS_BAD_INPUT, NULL, NULL, "truncated");
  fclose(d.stream);
  assert_string_equal(written, "m.onnx: node 'n1' (Foo): no importer\nm.onnx: truncated\n");
  assert_int_equal(d.error_count, 2);
  free(written);
}

static void sha256_matches_the_standards_examples(void **state) {
  (void)state;
  /* FIPS 180-4 examples: "abc", the two-block message, a million times 'a' fed in uneven pieces. */
  static const struct {
    const char *message, *hex;
  } cases[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
  };
  uint8_t digest[32];
  char hex[65];
  sha256 s;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    sha256_begin(&s);
    sha256_add(&s, cases[i].message, strlen(cases[i].message));
    sha256_end(&s, digest);
    sha256_hex(digest, hex);
    assert_string_equal(hex, cases[i].hex);
  }
  char *million = malloc(1000000);
  memset(million, 'a', 1000000);
  sha256_begin(&s);
  for (size_t at = 0, piece = 1; at < 1000000; at += piece, piece = piece * 3 % 997) {
    if (piece > 1000000 - at) piece = 1000000 - at;
    sha256_add(&s, million + at, piece);
  }
  sha256_end(&s, digest);
  sha256_hex(digest, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  free(million);
}

/* ---- The weight store, in a folder of its own ---- */

typedef struct store_fixture {
  char folder[64];
  weight_store *store;
  diagnostics d;
  char *messages;
  size_t length;
} store_fixture;

static int set_up(void **state) {
  store_fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/pinion-test-XXXXXX");
  if (!mkdtemp(f->folder)) return -1;
  f->store = weight_store_create();
  weight_store_set_folder(f->store, f->folder);
  weight_store_set_blob_folder(f->store, f->folder);
  f->d.stream = open_memstream(&f->messages, &f->length);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  store_fixture *f = *state;
  weight_store_destroy(f->store);
  fclose(f->d.stream);
  free(f->messages);
  folder_remove(f->folder);
  free(f);
  return 0;
}

static const char *said(store_fixture *f) {
  fflush(f->d.stream);
  return f->messages;
}

static void write_in_folder(store_fixture *f, const char *name, const char *content) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", f->folder, name);
  assert_int_equal(file_write(&f->d, path, content, strlen(content)), STATUS_OK);
}

static void weights_are_read_at_any_offset_of_a_file(void **state) {
  store_fixture *f = *state;
  write_in_folder(f, "data.bin", "0123456789");
  const void *data;
  assert_int_equal(weight_store_read(f->store, &f->d, "data.bin", 3, 4, &data), STATUS_OK);
  assert_memory_equal(data, "3456", 4);
  assert_int_equal(weight_store_read(f->store, &f->d, "data.bin", 10, 0, &data), STATUS_OK);
}

static void a_short_file_is_refused_even_where_the_sum_overflows(void **state) {
  store_fixture *f = *state;
  write_in_folder(f, "data.bin", "0123456789");
  const void *data;
  assert_int_equal(weight_store_read(f->store, &f->d, "data.bin", 8, 4, &data), STATUS_BAD_INPUT);
  assert_non_null(strstr(said(f), "has 10 bytes; a tensor needs 4 at offset 8"));
  assert_int_equal(weight_store_read(f->store, &f->d, "data.bin", UINT64_MAX, 4, &data), STATUS_BAD_INPUT);
  assert_int_equal(weight_store_read(f->store, &f->d, "data.bin", 4, UINT64_MAX, &data), STATUS_BAD_INPUT);
}

static void a_path_out_of_the_folder_is_refused(void **state) {
  store_fixture *f = *state;
  const void *data;
  static const char *const names[] = {"/etc/passwd", "../x", "a/../../x", "..", ""};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    assert_int_equal(weight_store_read(f->store, &f->d, names[i], 0, 1, &data), STATUS_BAD_INPUT);
  assert_int_equal(weight_store_read(f->store, &f->d, "missing.bin", 0, 1, &data), STATUS_BAD_INPUT);
  assert_non_null(strstr(said(f), "missing.bin"));
}

static void a_name_with_two_dots_inside_is_a_name_like_any_other(void **state) {
  store_fixture *f = *state;
  write_in_folder(f, "a..b", "x");
  const void *data;
  assert_int_equal(weight_store_read(f->store, &f->d, "a..b", 0, 1, &data), STATUS_OK);
}

static void blobs_are_named_by_content_and_survive_a_dump(void **state) {
  store_fixture *f = *state;
  char name[128];
  snprintf(name, sizeof name, "%s", weight_store_add(f->store, "hello", 5));
  assert_string_equal(name, weight_store_add(f->store, "hello", 5));
  assert_string_not_equal(name, weight_store_add(f->store, "hellO", 5));
  assert_int_equal(weight_store_write(f->store, &f->d, name, f->folder), STATUS_OK);
  weight_store *other = weight_store_create();
  weight_store_set_blob_folder(other, f->folder);
  const void *data;
  assert_int_equal(weight_store_read(other, &f->d, name, 0, 5, &data), STATUS_OK);
  assert_memory_equal(data, "hello", 5);
  weight_store_destroy(other);
}

static void a_damaged_blob_file_is_refused(void **state) {
  store_fixture *f = *state;
  char name[128];
  snprintf(name, sizeof name, "%s", weight_store_add(f->store, "hello", 5));
  write_in_folder(f, name, "hellx");
  weight_store *other = weight_store_create();
  weight_store_set_blob_folder(other, f->folder);
  const void *data;
  assert_int_equal(weight_store_read(other, &f->d, name, 0, 5, &data), STATUS_BAD_INPUT);
  weight_store_destroy(other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_memory_is_zeroed_aligned_and_keeps_its_content),
      cmocka_unit_test(a_reset_arena_gives_zeroed_memory_again),
      cmocka_unit_test(a_formatted_text_may_be_of_any_length),
      cmocka_unit_test(without_diagnostics_nothing_is_said),
      cmocka_unit_test(a_grown_array_keeps_its_elements),
      cmocka_unit_test(text_grows_past_its_first_buffer),
      cmocka_unit_test(diagnostics_name_file_node_and_op),
      cmocka_unit_test(sha256_matches_the_standards_examples),
      cmocka_unit_test_setup_teardown(weights_are_read_at_any_offset_of_a_file, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_short_file_is_refused_even_where_the_sum_overflows, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_path_out_of_the_folder_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_name_with_two_dots_inside_is_a_name_like_any_other, set_up, tear_down),
      cmocka_unit_test_setup_teardown(blobs_are_named_by_content_and_survive_a_dump, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_damaged_blob_file_is_refused, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
