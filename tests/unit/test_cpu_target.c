/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What the cpu target says about itself: tiles, choices, packing. tests/kernels runs what it chooses. */
#include "targets/cpu/tiles.h"

#include "tools/pinion/kernel_library.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const pinion_dtype floats[3] = {PINION_DTYPE_f32, PINION_DTYPE_f32, PINION_DTYPE_f32};
static const pinion_dtype doubles[3] = {PINION_DTYPE_f64, PINION_DTYPE_f64, PINION_DTYPE_f64};

static void rows_fit_the_caches_that_they_are_cut_for(void **state) {
  (void)state;
  for (int i = 0; i < cpu_tile_count; i++) {
    const cpu_tile *tile = &cpu_tiles[i];
    for (int j = 0; j < i; j++) assert_string_not_equal(tile->name, cpu_tiles[j].name);
    assert_int_equal(tile->columns % CPU_ATOM, 0);
    assert_true(tile->depth * CPU_ATOM * 4 <= 32 << 10);    /* a panel of B: a level-1 cache */
    assert_true(tile->rows * tile->depth * 4 <= 256 << 10); /* rows of A: half of a level-2 cache */
    assert_true(cpu_tile_scratch(tile) <= 3 << 19);
  }
}

static void blocks_of_the_matrix_unit_fit_the_caches_of_processors_that_have_it(void **state) {
  (void)state;
  const int strip = CPU_PANELS * CPU_ATOM, slices = 2 * MATRIX_SLICES * MATRIX_DEPTH; /* bytes of a row */
  assert_int_equal(MATRIX_ROWS % 32, 0);
  assert_int_equal(MATRIX_COLUMNS % strip, 0);
  assert_int_equal(MATRIX_DEPTH % 32, 0);
  assert_true(2 * strip * slices <= 40 << 10);                         /* strips of A and of B: a level-1 cache of 48 */
  assert_true(MATRIX_ROWS * (4 * MATRIX_COLUMNS + slices) <= 5 << 18); /* A and C: of a level-2 cache of 2 MiB */
}

static void candidates_are_legal_and_best_first(void **state) {
  (void)state;
  const struct target *cpu = target_find("cpu");
  const char *tiles[32];
  arena *a = arena_create();
  const int64_t shapes[][3] = {{768, 3456, 1152}, {51, 1024, 2048}, {1, 16, 3}, {5, 1, 7000}};
  for (int s = 0; s < 4; s++) {
    const kernel_problem problem = gemm_problem(shapes[s][0], shapes[s][1], shapes[s][2], floats);
    const int count = cpu->candidates(&problem, tiles, 32);
    double last = 0;
    assert_int_equal(count, cpu_tile_count);
    for (int i = 0; i < count; i++) {
      kernel_choice choice;
      const char *why = NULL;
      assert_true(cpu->choose(a, &problem, tiles[i], &choice, &why));
      assert_string_equal(choice.tile, tiles[i]);
      assert_true(choice.cost >= last);
      last = choice.cost;
      text_free(&choice.defines);
    }
    assert_int_equal(cpu->candidates(&problem, tiles, 2), 2);
  }
  arena_destroy(a);
}

static void a_tile_that_cannot_work_is_refused_with_a_reason(void **state) {
  (void)state;
  const struct target *cpu = target_find("cpu");
  const kernel_problem problem = gemm_problem(8, 8, 8, doubles);
  const char *tiles[32], *why = NULL;
  kernel_choice choice;
  arena *a = arena_create();
  assert_int_equal(cpu->candidates(&problem, tiles, 32), 1);
  assert_string_equal(tiles[0], "plain");
  assert_false(cpu->choose(a, &problem, cpu_tiles[0].name, &choice, &why));
  assert_non_null(strstr(why, "float32"));
  assert_false(cpu->choose(a, &problem, "no-such-tile", &choice, &why));
  assert_non_null(strstr(why, "no-such-tile"));
  arena_destroy(a);
}

static uint32_t grid_of(int64_t m, int64_t n, int64_t k) {
  kernel_choice choice;
  const char *why;
  arena *a = arena_create();
  const kernel_problem problem = gemm_problem(m, n, k, floats);
  assert_true(target_find("cpu")->choose(a, &problem, NULL, &choice, &why));
  text_free(&choice.defines);
  arena_destroy(a);
  return choice.grid[0];
}

static void grids_follow_the_work(void **state) {
  (void)state;
  assert_int_equal(grid_of(4, 32, 32), 1); /* microseconds: not worth a second thread */
  assert_true(grid_of(768, 3456, 1152) >= 32);
  assert_true(grid_of(51, 1024, 1024) >= 8);
}

static void a_packed_panel_holds_sixteen_columns_and_all_of_k(void **state) {
  (void)state;
  const struct target *cpu = target_find("cpu");
  enum { N = 19, K = 3 };
  float source[K][N]; /* element (n, k) at source[k][n] */
  for (int k = 0; k < K; k++)
    for (int n = 0; n < N; n++) source[k][n] = (float)(100 * k + n + 1);
  const pack_request request = {
      .data = source, .size = {1, N, 1, K}, .stride = {0, 1, 0, N}, .dtype = PINION_DTYPE_f32};
  assert_int_equal(cpu->packed_bytes(request.size, PINION_DTYPE_f32), 32 * K * 4);
  float packed[32 * K];
  memset(packed, 0xff, sizeof packed);
  cpu->pack(&request, packed);
  for (int n = 0; n < 32; n++)
    for (int k = 0; k < K; k++) assert_true(packed[(n / 16 * K + k) * 16 + n % 16] == (n < N ? source[k][n] : 0));
}

/* Panels of both halves take turns; columns are (h, n). */
static void a_packed_panel_of_a_second_half_follows_that_of_the_first(void **state) {
  (void)state;
  const struct target *cpu = target_find("cpu");
  enum { H = 3, N = 7, K = 2, COLUMNS = H * N };
  float source[K][2][H][N], packed[64 * K];
  for (int i = 0; i < 2 * K * COLUMNS; i++) (&source[0][0][0][0])[i] = (float)(i + 1);
  const pack_request request = {
      .data = source, .size = {H, N, 2, K}, .stride = {N, 1, COLUMNS, 2 * COLUMNS}, .dtype = PINION_DTYPE_f32};
  assert_int_equal(cpu->packed_bytes(request.size, PINION_DTYPE_f32), sizeof packed);
  memset(packed, 0xff, sizeof packed);
  cpu->pack(&request, packed);
  for (int i = 0; i < 64 * K; i++) {
    const int column = i / (32 * K) * 16 + i % 16, p = i / (16 * K) % 2, k = i / 16 % K;
    assert_true(packed[i] == (column < COLUMNS ? source[k][p][column / N][column % N] : 0));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_fit_the_caches_that_they_are_cut_for),
      cmocka_unit_test(blocks_of_the_matrix_unit_fit_the_caches_of_processors_that_have_it),
      cmocka_unit_test(candidates_are_legal_and_best_first),
      cmocka_unit_test(a_tile_that_cannot_work_is_refused_with_a_reason),
      cmocka_unit_test(grids_follow_the_work),
      cmocka_unit_test(a_packed_panel_holds_sixteen_columns_and_all_of_k),
      cmocka_unit_test(a_packed_panel_of_a_second_half_follows_that_of_the_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
