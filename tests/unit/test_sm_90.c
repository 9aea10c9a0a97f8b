/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The sm_90 target's decisions that need no GPU and no compiler: packing, which tile, why not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "gpu_problems.h"
#include "targets/nvidia/nvrtc.h"

static const struct target *sm_90(void) {
  const struct target *target = target_find("sm_90");
  assert_non_null(target);
  return target;
}

/* Where wgmma's 128-byte swizzle puts byte `column` of row `row`: bits 4 to 6 of the address, xor bits 7 to 9. */
static size_t swizzled_address(size_t row, size_t column) {
  size_t address = row * 128 + column;
  return address ^ ((address >> 7 & 7) << 4);
}

/* A source whose element (n, k) holds n * 4096 + k + 1, in 2, 4 or 8 bytes; transposed if asked. */
static void check_packing(int64_t n, int64_t k, pinion_dtype dtype, bool transposed) {
  size_t size = pinion_dtype_size(dtype), row_elements = 128 / size;
  size_t atoms_n = (size_t)(n + 63) / 64, atoms_k = ((size_t)k + row_elements - 1) / row_elements;
  int64_t stride_n = transposed ? 1 : k, stride_k = transposed ? n : 1;
  pack_request request = {.size = {1, n, 1, k}, .stride = {0, stride_n, 0, stride_k}, .dtype = dtype};
  size_t bytes = (size_t)sm_90()->packed_bytes(request.size, dtype);
  assert_int_equal(bytes, atoms_n * atoms_k * 8192);
  uint8_t *source = calloc((size_t)(n * k), size), *packed = malloc(bytes), *expected = calloc(bytes, 1);
  for (int64_t row = 0; row < n; row++)
    for (int64_t column = 0; column < k; column++) {
      uint64_t value = (uint64_t)(row * 4096 + column + 1);
      memcpy(source + (size_t)(row * stride_n + column * stride_k) * size, &value, size);
      size_t atom = (size_t)row / 64 * atoms_k + (size_t)column / row_elements;
      size_t inside = swizzled_address((size_t)row % 64, (size_t)column % row_elements * size);
      memcpy(expected + atom * 8192 + inside, &value, size);
    }
  memset(packed, 0xee, bytes);
  request.data = source;
  sm_90()->pack(&request, packed);
  assert_memory_equal(packed, expected, bytes);
  free(source);
  free(packed);
  free(expected);
}

static void packing_is_swizzled_atoms_padded_with_zeros(void **state) {
  (void)state;
  const int64_t sizes[][2] = {{64, 64}, {1, 1}, {65, 63}, {64, 65}, {130, 200}, {7, 33}, {128, 32}, {1100, 70}};
  const pinion_dtype dtypes[] = {PINION_DTYPE_bf16, PINION_DTYPE_f16, PINION_DTYPE_f32, PINION_DTYPE_f64};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
      check_packing(sizes[i][0], sizes[i][1], dtypes[d], false);
      check_packing(sizes[i][0], sizes[i][1], dtypes[d], true);
    }
}

/* Sixteen rows are eight columns' first halves, and their second ones; columns are (h, n). */
static void packing_puts_both_halves_of_eight_columns_side_by_side(void **state) {
  (void)state;
  enum { H_SIZE = 3, N_SIZE = 10, K_SIZE = 5 };
  float source[2][K_SIZE][H_SIZE][N_SIZE];
  pack_request request = {.data = source,
                          .size = {H_SIZE, N_SIZE, 2, K_SIZE},
                          .stride = {N_SIZE, 1, K_SIZE * H_SIZE * N_SIZE, H_SIZE * N_SIZE},
                          .dtype = PINION_DTYPE_f32};
  for (int i = 0; i < 2 * K_SIZE * H_SIZE * N_SIZE; i++) (&source[0][0][0][0])[i] = (float)(i + 1);
  size_t bytes = (size_t)sm_90()->packed_bytes(request.size, PINION_DTYPE_f32);
  assert_int_equal(bytes, 8192);
  uint8_t *packed = malloc(bytes), *expected = calloc(bytes, 1);
  for (size_t column = 0; column < H_SIZE * N_SIZE; column++)
    for (size_t half = 0; half < 2; half++)
      for (size_t k = 0; k < K_SIZE; k++)
        memcpy(expected + swizzled_address(column / 8 * 16 + half * 8 + column % 8, k * sizeof(float)),
               &source[half][k][column / N_SIZE][column % N_SIZE], sizeof(float));
  sm_90()->pack(&request, packed);
  assert_memory_equal(packed, expected, bytes);
  free(packed);
  free(expected);
}

/* The name of the tile chosen, or NULL with *out_why. */
static const char *chosen_tile(const kernel_problem *problem, const char *tile, const char **out_why,
                               char out_source[32]) {
  arena *a = arena_create();
  static char why[256];
  kernel_choice choice;
  bool chosen = sm_90()->choose(a, problem, tile, &choice, out_why);
  if (chosen) {
    strcpy(out_source, choice.source);
    text_free(&choice.defines);
  } else {
    snprintf(why, sizeof why, "%s", *out_why);
    *out_why = why;
  }
  arena_destroy(a);
  return chosen ? choice.tile : NULL;
}

static void float32_never_loses_bits_on_tensor_cores(void **state) {
  (void)state;
  const pinion_dtype mixed[][2] = {{PINION_DTYPE_f32, PINION_DTYPE_f32},
                                   {PINION_DTYPE_f32, PINION_DTYPE_bf16},
                                   {PINION_DTYPE_bf16, PINION_DTYPE_f32},
                                   {PINION_DTYPE_f16, PINION_DTYPE_bf16}};
  for (size_t i = 0; i < sizeof mixed / sizeof *mixed; i++) {
    kernel_problem problem = gemm_problem(mixed[i][0], mixed[i][1], 788, 2048, 2048);
    const char *why;
    char source[32];
    assert_non_null(chosen_tile(&problem, NULL, &why, source));
    assert_string_equal(source, "gemm_fma.cu");
    assert_null(chosen_tile(&problem, "mma_128x128", &why, source));
    assert_string_equal(why, "mma.sync needs both operands in bf16 or both in f16");
  }
}

static void bf16_goes_to_tensor_cores_in_tiles_that_fit_the_tokens(void **state) {
  (void)state;
  const char *why;
  char source[32];
  kernel_problem large = gemm_problem(PINION_DTYPE_bf16, PINION_DTYPE_bf16, 788, 32768, 2048);
  assert_string_equal(chosen_tile(&large, NULL, &why, source), "mma_128x128");
  assert_string_equal(source, "gemm_mma.cu");
  kernel_problem few = gemm_problem(PINION_DTYPE_bf16, PINION_DTYPE_bf16, 20, 1024, 4096);
  assert_string_equal(chosen_tile(&few, NULL, &why, source), "mma_32x64");
}

/* What was fastest on an H200 of the tiles that were measured. */
static void layers_of_pi0_get_the_tiles_that_were_measured_to_be_fast(void **state) {
  (void)state;
  static const struct {
    int64_t m, n, k;
    const char *tile;
  } measured[] = {
      {788, 32768, 2048, "wgmma_128x200"},    {788, 2048, 16384, "wgmma_128x200_split2"},
      {788, 2560, 2048, "wgmma_128x136"},     {788, 2048, 2048, "wgmma_128x104"},
      {768, 3456, 1152, "wgmma_128x192"},     {768, 1152, 1152, "wgmma_128x64"},
      {768, 1152, 4304, "wgmma_128x64"},      {768, 4304, 1152, "wgmma_128x112"},
      {532, 32768, 2048, "wgmma_128x136"},    {532, 2048, 16384, "wgmma_128x72"},
      {51, 2560, 1024, "wgmma_64x56_split3"}, {51, 8192, 1024, "wgmma_64x56"},
      {51, 1024, 4096, "wgmma_64x56_split8"}, {51, 1024, 2048, "wgmma_64x56_split8"},
      {50, 1024, 32, "wgmma_64x56"},
  };
  for (size_t i = 0; i < sizeof measured / sizeof *measured; i++) {
    kernel_problem problem = layer_problem(measured[i].m, measured[i].n, measured[i].k);
    const char *why;
    char source[32];
    assert_string_equal(chosen_tile(&problem, NULL, &why, source), measured[i].tile);
    assert_string_equal(source, "gemm_wgmma.cu");
  }
}

/* 64 samples: enough tiles for many rounds, so that the largest do least, where they fit the rows and the rounds. */
static void layers_of_a_batch_get_large_tiles(void **state) {
  (void)state;
  static const struct {
    int64_t m, n, k;
    const char *tile;
  } wanted[] = {
      {64 * 788, 32768, 2048, "wgmma_128x256"}, {64 * 788, 2048, 16384, "wgmma_128x256"},
      {64 * 788, 2048, 2048, "wgmma_128x256"},  {64 * 768, 3456, 1152, "wgmma_128x256"},
      {64 * 768, 1152, 4304, "wgmma_128x200"},  {64 * 51, 8192, 1024, "wgmma_128x136"},
      {64 * 51, 1024, 4096, "wgmma_128x104"},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    kernel_problem problem = layer_problem(wanted[i].m, wanted[i].n, wanted[i].k);
    const char *why;
    char source[32];
    assert_string_equal(chosen_tile(&problem, NULL, &why, source), wanted[i].tile);
  }
}

static uint32_t shared_bytes(const kernel_problem *problem, const char *tile) {
  arena *a = arena_create();
  kernel_choice choice;
  const char *why;
  assert_true(sm_90()->choose(a, problem, tile, &choice, &why));
  text_free(&choice.defines);
  arena_destroy(a);
  return choice.dynamic_shared_bytes;
}

/* Launches of a denoising step follow one another on a multiprocessor; two blocks of the unsplit one must not meet. */
static void blocks_of_streaming_neighbours_share_a_multiprocessor(void **state) {
  (void)state;
  const kernel_problem wide = layer_problem(51, 8192, 1024), deep = layer_problem(51, 1024, 4096);
  const uint32_t most = 233472, own = 1024; /* of a multiprocessor; what the driver takes of it for a block */
  const uint32_t large = shared_bytes(&wide, "wgmma_64x56"), small = shared_bytes(&deep, "wgmma_64x56_split8");
  assert_true(large + small + 2 * own <= most);
  assert_true(2 * (large + own) > most);
  assert_true(2 * (small + own) <= most);
  /* A rank of 4 slices takes no stage for a fifth. */
  const kernel_problem shallow = layer_problem(51, 1024, 2048);
  assert_true(shared_bytes(&shallow, "wgmma_64x56_split8") <= small - (64 + 56) * 128);
}

/* Whether a choice finishes elements in the registers, by what it defines. */
static bool finishes_in_registers(const kernel_problem *problem, const char *tile) {
  arena *a = arena_create();
  kernel_choice choice;
  const char *why;
  assert_true(sm_90()->choose(a, problem, tile, &choice, &why));
  assert_non_null(strstr(choice.defines.data, "#define PN_FRAGMENTS "));
  const bool found = strstr(choice.defines.data, "#define PN_FRAGMENTS 1\n") != NULL;
  text_free(&choice.defines);
  arena_destroy(a);
  return found;
}

static void operands_of_a_token_and_a_column_keep_a_gemm_from_finishing_in_registers(void **state) {
  (void)state;
  kernel_problem problem = layer_problem(788, 2048, 2048);
  problem.dtypes[0] = PINION_DTYPE_bf16;
  assert_true(finishes_in_registers(&problem, "wgmma_128x104"));
  assert_false(finishes_in_registers(&problem, "wgmma_128x128_split2"));
  problem.params.arg_count = 4;
  problem.dtypes[3] = PINION_DTYPE_f32;
  problem.aligned[3] = true;
  problem.params.stride[3][PINION_GEMM_N] = 1; /* a bias */
  assert_true(finishes_in_registers(&problem, "wgmma_128x104"));
  problem.params.stride[3][PINION_GEMM_M] = 2048; /* a residual */
  assert_false(finishes_in_registers(&problem, "wgmma_128x104"));
  problem.params.stride[3][PINION_GEMM_M] = 0;
  problem.dtypes[0] = PINION_DTYPE_f32;
  assert_false(finishes_in_registers(&problem, "wgmma_128x104"));
}

static void wgmma_is_refused_what_the_copy_engine_cannot_bring(void **state) {
  (void)state;
  const char *why, *tile = "wgmma_128x104";
  char source[32];
  kernel_problem problem = layer_problem(788, 2048, 2048);
  assert_non_null(chosen_tile(&problem, tile, &why, source));
#define REFUSED(sentence, ...)                                                                                         \
  do {                                                                                                                 \
    problem = layer_problem(788, 2048, 2048);                                                                          \
    __VA_ARGS__;                                                                                                       \
    assert_null(chosen_tile(&problem, tile, &why, source));                                                            \
    if (!strstr(why, sentence)) fail_msg("'%s' does not say '%s'", why, sentence);                                     \
    assert_non_null(chosen_tile(&problem, NULL, &why, source)); /* another form takes it */                            \
    assert_string_not_equal(source, "gemm_wgmma.cu");                                                                  \
  } while (0)
  REFUSED("copy engine", problem.aligned[1] = false);
  REFUSED("copy engine", problem.aligned[2] = false);
  REFUSED("copy engine", problem.params.stride[1][PINION_GEMM_M] = 2052);
  REFUSED("copy engine", problem.params.stride[1][PINION_GEMM_M] = -2048);
  REFUSED("copy engine", problem.params.stride[1][PINION_GEMM_K] = 2);
  REFUSED("packed", problem.packed_b = false);
  REFUSED("bf16", problem.dtypes[1] = problem.dtypes[2] = PINION_DTYPE_f16);
  REFUSED("slices", problem.params.size[PINION_GEMM_K] = 0);
#undef REFUSED
  problem = layer_problem(51, 1024, 448);
  assert_null(chosen_tile(&problem, "wgmma_64x56_split8", &why, source));
  assert_non_null(strstr(why, "fewer slices"));
  problem = layer_problem(51, 12, 1024);
  problem.params.size[PINION_GEMM_H] = 2;
  assert_null(chosen_tile(&problem, "wgmma_64x56", &why, source));
  assert_non_null(strstr(why, "eight columns"));
  problem = layer_problem(51, 1024, 1024);
  problem.params.size[PINION_GEMM_P] = 2, problem.params.integer[4] = problem.params.integer[5] = 1;
  assert_null(chosen_tile(&problem, "wgmma_64x56", &why, source));
  assert_non_null(strstr(why, "half a block"));
}

/* Batch dimensions that continue the rows become rows, and share tiles; others stay, each with a tile of its own. */
static void a_batch_that_continues_the_rows_shares_their_tiles(void **state) {
  (void)state;
  arena *a = arena_create();
  kernel_choice choice;
  const char *why;
  kernel_problem problem = layer_problem(256, 1152, 1152);
  problem.params.size[1] = 3;
  problem.params.stride[0][1] = 256 * 1152;
  problem.params.stride[1][1] = 256 * 1152;
  assert_true(sm_90()->choose(a, &problem, "wgmma_128x192", &choice, &why));
  assert_int_equal(choice.grid[0], 4 * 9);
  assert_int_equal(choice.tensor_map->size[1], 768);
  text_free(&choice.defines);
  problem.params.stride[1][1] += 8;
  assert_true(sm_90()->choose(a, &problem, "wgmma_128x192", &choice, &why));
  assert_int_equal(choice.grid[0], 3 * 2 * 9);
  assert_int_equal(choice.tensor_map->size[2], 3);
  assert_int_equal(choice.tensor_map->stride[2], 256 * 1152 + 8);
  text_free(&choice.defines);
  arena_destroy(a);
}

static void an_unknown_tile_is_refused_by_name(void **state) {
  (void)state;
  kernel_problem problem = gemm_problem(PINION_DTYPE_bf16, PINION_DTYPE_bf16, 64, 64, 64);
  const char *why;
  char source[32];
  assert_null(chosen_tile(&problem, "wgmma_1x1", &why, source));
  assert_string_equal(why, "sm_90 has no gemm tile 'wgmma_1x1'");
}

static void every_tile_fits_a_multiprocessor(void **state) {
  (void)state;
  kernel_problem problem = layer_problem(788, 2560, 2048);
  const char *tiles[32];
  int count = sm_90()->candidates(&problem, tiles, 32);
  assert_int_equal(count, 28); /* all of them */
  arena *a = arena_create();
  for (int i = 0; i < count; i++) {
    kernel_choice choice;
    const char *why;
    assert_true(sm_90()->choose(a, &problem, tiles[i], &choice, &why));
    assert_string_equal(choice.tile, tiles[i]);
    assert_true(choice.dynamic_shared_bytes <= 232448);
    assert_true(choice.block[0] <= 1024 && choice.block[0] % 32 == 0);
    assert_true(choice.cost > 0);
    text_free(&choice.defines);
  }
  arena_destroy(a);
}

/* As if there were a mask of rows: it costs no stage of any tile, and tells tiles apart up to a number of them. */
static void a_row_mask_lets_tiles_be_skipped(void **state) {
  (void)state;
  arena *a = arena_create();
  const char *tiles[32], *why;
  kernel_problem problem = layer_problem(788, 2560, 2048), masked = problem;
  const int mask = masked.params.arg_count++;
  masked.dtypes[mask] = PINION_DTYPE_bool;
  masked.params.stride[mask][PINION_GEMM_M] = 1;
  masked.params.integer[5] = masked.params.integer[6] = 1;
  const int count = sm_90()->candidates(&problem, tiles, 32);
  for (int i = 0; i < count; i++) {
    kernel_choice own, other;
    assert_true(sm_90()->choose(a, &problem, tiles[i], &own, &why));
    assert_true(sm_90()->choose(a, &masked, tiles[i], &other, &why));
    assert_in_range(other.dynamic_shared_bytes - own.dynamic_shared_bytes, 0, 1000);
    assert_int_equal(strstr(other.defines.data, "#define PN_SKIPS_TILES 1\n#define PN_MASK_IS_EARLY 0\n") != NULL,
                     !strcmp(other.source, "gemm_wgmma.cu"));
    text_free(&own.defines);
    text_free(&other.defines);
  }
  kernel_choice choice;
  masked.mask_is_early = true;
  assert_true(sm_90()->choose(a, &masked, "wgmma_128x64", &choice, &why));
  assert_non_null(strstr(choice.defines.data, "#define PN_MASK_IS_EARLY 1\n"));
  text_free(&choice.defines);
  masked.params.size[PINION_GEMM_M] = 1 << 18;
  assert_true(sm_90()->choose(a, &masked, "wgmma_128x64", &choice, &why));
  assert_null(strstr(choice.defines.data, "PN_SKIPS_TILES"));
  text_free(&choice.defines);
  arena_destroy(a);
}

static void candidates_come_cheapest_first_and_fit_the_capacity(void **state) {
  (void)state;
  kernel_problem problem = gemm_problem(PINION_DTYPE_bf16, PINION_DTYPE_bf16, 788, 2560, 2048);
  const char *tiles[2] = {NULL, NULL}, *why;
  char source[32];
  assert_int_equal(sm_90()->candidates(&problem, tiles, 2), 2);
  assert_string_equal(tiles[0], chosen_tile(&problem, NULL, &why, source));
}

static void empty_work_gets_a_grid_of_one_block(void **state) {
  (void)state;
  kernel_problem problem = gemm_problem(PINION_DTYPE_f32, PINION_DTYPE_f32, 0, 64, 64);
  arena *a = arena_create();
  kernel_choice choice;
  const char *why;
  assert_true(sm_90()->choose(a, &problem, NULL, &choice, &why));
  assert_int_equal(choice.grid[0], 1);
  text_free(&choice.defines);
  arena_destroy(a);
}

static void attention_gets_the_tiles_that_were_measured_to_be_fast(void **state) {
  (void)state;
  static const struct {
    int64_t groups, heads, queries, keys, width;
    const char *tile, *source;
  } measured[] = {
      {48, 1, 256, 256, 72, "wgmma_128x128", "attention_wgmma.cu"},
      {1, 8, 788, 788, 256, "wgmma_64x80_split2", "attention_wgmma.cu"},
      {1, 8, 816, 816, 256, "wgmma_64x64_split2", "attention_wgmma.cu"},
      {1, 8, 51, 839, 256, "wgmma_32x128_split8", "attention_split.cu"},
  };
  for (size_t i = 0; i < sizeof measured / sizeof *measured; i++) {
    kernel_problem problem = attention_problem(measured[i].groups, measured[i].heads, measured[i].queries,
                                               measured[i].keys, measured[i].width);
    const char *why;
    char source[32];
    assert_string_equal(chosen_tile(&problem, NULL, &why, source), measured[i].tile);
    assert_string_equal(source, measured[i].source);
  }
}

/* Many rounds of blocks: what the rows of a block share comes from L2 half as often. */
static void attention_of_a_batch_takes_many_rows_a_block(void **state) {
  (void)state;
  const int64_t queries_keys[][2] = {{788, 788}, {51, 839}};
  for (int i = 0; i < 2; i++) {
    kernel_problem problem = attention_problem(64, 8, queries_keys[i][0], queries_keys[i][1], 256);
    const char *why;
    char source[32];
    assert_string_equal(chosen_tile(&problem, NULL, &why, source), "wgmma_128x80");
  }
}

static void attention_falls_back_to_the_plain_form_with_a_reason(void **state) {
  (void)state;
  const char *why, *tile = "mma_64x80";
  char source[32];
#define REFUSED(sentence, ...)                                                                                         \
  do {                                                                                                                 \
    kernel_problem problem = attention_problem(1, 8, 100, 100, 256);                                                   \
    assert_non_null(chosen_tile(&problem, tile, &why, source));                                                        \
    __VA_ARGS__;                                                                                                       \
    assert_null(chosen_tile(&problem, tile, &why, source));                                                            \
    if (!strstr(why, sentence)) fail_msg("'%s' does not say '%s'", why, sentence);                                     \
    assert_string_equal(chosen_tile(&problem, NULL, &why, source), "plain");                                           \
    assert_string_equal(source, "attention.cu");                                                                       \
  } while (0)
  REFUSED("bf16 in and out", problem.dtypes[0] = PINION_DTYPE_f32);
  REFUSED("bf16 in and out", for (int i = 0; i < 4; i++) problem.dtypes[i] = PINION_DTYPE_f32);
  REFUSED("contiguous", problem.aligned[2] = false);
  REFUSED("contiguous", problem.params.stride[2][4] += 4);
  REFUSED("contiguous", problem.params.stride[3][6] = 2);
  REFUSED("contiguous", problem.params.size[6] = 254);
  REFUSED("8 to 256", problem.params.size[5] = 264);
  REFUSED("mask must be", problem.dtypes[4] = PINION_DTYPE_f64);
  REFUSED("share a mask", problem.params.stride[4][2] = 100);
  REFUSED("2^30", problem.params.size[3] = 0);
  REFUSED("no query sees", problem.params.size[4] = 0);
  REFUSED("no query sees", problem.params.integer[0] = 1, problem.params.integer[1] = -100);
  REFUSED("scale", problem.params.scalar[0] = -0.1);
#undef REFUSED
  kernel_problem problem = attention_problem(1, 8, 100, 100, 256);
  assert_null(chosen_tile(&problem, "mma_1x1", &why, source));
  assert_string_equal(why, "sm_90 has no attention tile 'mma_1x1'");
}

static void a_cluster_shares_settled_keys_and_the_others_evenly(void **state) {
  (void)state;
  static const struct {
    int64_t keys, settled;
    const char *shares, *refusal;
  } splits[] = {
      {839, 788, "#define PN_SETTLED_SHARE 99\n#define PN_NEW_SHARE 7\n", NULL},
      {839, 0, "#define PN_SETTLED_SHARE 0\n#define PN_NEW_SHARE 105\n", NULL},
      {839, 839, "#define PN_SETTLED_SHARE 105\n#define PN_NEW_SHARE 0\n", NULL},
      {1024, 1000, "#define PN_SETTLED_SHARE 125\n#define PN_NEW_SHARE 3\n", NULL},
      {1024, 1001, NULL, "more keys than its products take"},
  };
  arena *a = arena_create();
  for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
    kernel_problem problem = attention_problem(1, 8, 51, splits[i].keys, 256);
    kernel_choice choice;
    const char *why;
    problem.settled_keys = splits[i].settled;
    assert_true(sm_90()->choose(a, &problem, "wgmma_32x128_split8", &choice, &why) == !splits[i].refusal);
    if (splits[i].refusal) {
      assert_non_null(strstr(why, splits[i].refusal));
      continue;
    }
    assert_non_null(strstr(choice.defines.data, splits[i].shares));
    text_free(&choice.defines);
  }
  arena_destroy(a);
}

static void every_attention_tile_fits_a_multiprocessor(void **state) {
  (void)state;
  kernel_problem problem = attention_problem(1, 8, 788, 839, 256);
  const char *tiles[32], *why;
  const int count = sm_90()->candidates(&problem, tiles, 32);
  assert_int_equal(count, 11); /* all of them */
  arena *a = arena_create();
  for (int i = 0; i < count; i++) {
    kernel_choice choice;
    assert_true(sm_90()->choose(a, &problem, tiles[i], &choice, &why));
    assert_string_equal(choice.tile, tiles[i]);
    assert_true(choice.dynamic_shared_bytes <= 232448);
    assert_true(choice.block[0] <= 1024 && choice.block[0] % 32 == 0);
    assert_true(choice.cost > 0);
    text_free(&choice.defines);
  }
  arena_destroy(a);
}

static void a_tensor_cores_tile_must_have_its_instruction(void **state) {
  (void)state;
  const char *why, *const marks[] = {"#define PN_MMA_TYPE bf16", "#define PN_WGMMA(d, b, a)"};
  if (!nvrtc_available(&why)) skip();
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
    diagnostics d = {.file = "test"};
    kernel_blob blob;
    char source[256];
    snprintf(source, sizeof source, "%s\nextern \"C\" __global__ void idle() {}", marks[i]);
    assert_int_equal(sm_90()->compile(&d, "idle", source, &blob), STATUS_FAILED);
    assert_null(blob.data);
    assert_int_equal(sm_90()->compile(&d, "idle", strchr(source, '\n'), &blob), STATUS_OK);
    free(blob.data);
  }
}

static const char *complaint(const char *log) {
  size_t length = 0;
  static char sentence[256];
  const char *found = nvrtc_log_complaint(log, false, &length);
  if (!found) return NULL;
  snprintf(sentence, sizeof sentence, "%.*s", (int)length, found);
  return sentence;
}

static void spills_and_lost_fast_forms_are_complaints(void **state) {
  (void)state;
  const char *clean =
      "ptxas info    : 0 bytes gmem\nptxas         .     8 bytes stack frame, 0 bytes spill stores, 0 bytes "
      "spill loads\nptxas info    : Used 100 registers";
  assert_null(complaint(clean));
  assert_null(complaint(""));
  assert_string_equal(complaint("a\n8 bytes stack frame, 8 bytes spill stores, 0 bytes spill loads\nb"),
                      "8 bytes stack frame, 8 bytes spill stores, 0 bytes spill loads");
  assert_non_null(complaint("0 bytes stack frame, 0 bytes spill stores, 120 bytes spill loads"));
  assert_non_null(complaint("ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async"));
  assert_non_null(complaint("ptxas info : (C7508) setmaxnreg ignored"));
  assert_null(complaint("ptxas info : (C7509) something else"));
  assert_int_equal(nvrtc_log_spills(clean), 0);
  assert_int_equal(nvrtc_log_spills("16 bytes spill stores, 120 bytes spill loads\n8 bytes spill stores"), 144);
  size_t length;
  assert_null(nvrtc_log_complaint("8 bytes spill stores, 8 bytes spill loads", true, &length));
  assert_non_null(nvrtc_log_complaint("0 bytes spill loads\n(C7510) wgmma", true, &length));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(packing_is_swizzled_atoms_padded_with_zeros),
      cmocka_unit_test(packing_puts_both_halves_of_eight_columns_side_by_side),
      cmocka_unit_test(float32_never_loses_bits_on_tensor_cores),
      cmocka_unit_test(bf16_goes_to_tensor_cores_in_tiles_that_fit_the_tokens),
      cmocka_unit_test(layers_of_pi0_get_the_tiles_that_were_measured_to_be_fast),
      cmocka_unit_test(layers_of_a_batch_get_large_tiles),
      cmocka_unit_test(wgmma_is_refused_what_the_copy_engine_cannot_bring),
      cmocka_unit_test(a_batch_that_continues_the_rows_shares_their_tiles),
      cmocka_unit_test(an_unknown_tile_is_refused_by_name),
      cmocka_unit_test(every_tile_fits_a_multiprocessor),
      cmocka_unit_test(a_row_mask_lets_tiles_be_skipped),
      cmocka_unit_test(blocks_of_streaming_neighbours_share_a_multiprocessor),
      cmocka_unit_test(operands_of_a_token_and_a_column_keep_a_gemm_from_finishing_in_registers),
      cmocka_unit_test(candidates_come_cheapest_first_and_fit_the_capacity),
      cmocka_unit_test(empty_work_gets_a_grid_of_one_block),
      cmocka_unit_test(attention_gets_the_tiles_that_were_measured_to_be_fast),
      cmocka_unit_test(attention_of_a_batch_takes_many_rows_a_block),
      cmocka_unit_test(attention_falls_back_to_the_plain_form_with_a_reason),
      cmocka_unit_test(a_cluster_shares_settled_keys_and_the_others_evenly),
      cmocka_unit_test(every_attention_tile_fits_a_multiprocessor),
      cmocka_unit_test(a_tensor_cores_tile_must_have_its_instruction),
      cmocka_unit_test(spills_and_lost_fast_forms_are_complaints),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
