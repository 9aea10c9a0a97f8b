/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The sm_110 target's decisions: which tiles are legal there, and what it shares with sm_90. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "gpu_problems.h"
#include "targets/nvidia/nvrtc.h"

static const struct target *sm_110(void) {
  const struct target *target = target_find("sm_110");
  assert_non_null(target);
  return target;
}

/* Choices end with check_end. */
typedef struct check {
  arena *a;
  kernel_choice choice;
  const char *why;
} check;

static bool check_choose(check *c, const struct target *target, const kernel_problem *problem, const char *tile) {
  *c = (check){.a = arena_create()};
  return target->choose(c->a, problem, tile, &c->choice, &c->why);
}

static void check_end(check *c) {
  text_free(&c->choice.defines);
  arena_destroy(c->a);
}

static void assert_chosen(const kernel_problem *problem, const char *tile) {
  check c;
  assert_true(check_choose(&c, sm_110(), problem, NULL));
  assert_string_equal(c.choice.tile, tile);
  check_end(&c);
}

static void assert_refused(const kernel_problem *problem, const char *tile, const char *sentence) {
  check c;
  assert_false(check_choose(&c, sm_110(), problem, tile));
  if (!strstr(c.why, sentence)) fail_msg("'%s' does not say '%s'", c.why, sentence);
  check_end(&c);
}

static void an_artifact_needs_a_thor_and_a_driver_that_knows_it(void **state) {
  (void)state;
  assert_int_equal(sm_110()->compute_capability, 110);
  assert_int_equal(sm_110()->minimum_driver, 13000);
  assert_string_equal(sm_110()->device, "cuda");
}

static void layers_and_attention_of_bf16_get_mma_sync(void **state) {
  (void)state;
  const kernel_problem prefill = layer_problem(788, 32768, 2048), step = layer_problem(51, 1024, 4096);
  assert_chosen(&prefill, "mma_128x128");
  assert_chosen(&step, "mma_64x64");
  const kernel_problem vision = attention_problem(48, 1, 256, 256, 72), keys = attention_problem(1, 8, 51, 839, 256);
  assert_chosen(&vision, "mma_64x80");
  assert_chosen(&keys, "mma_32x96");
}

static void tiles_of_other_chips_are_refused_with_what_the_hardware_lacks(void **state) {
  (void)state;
  const kernel_problem layer = layer_problem(788, 2048, 2048), attention = attention_problem(1, 8, 788, 788, 256);
  assert_refused(&layer, "wgmma_128x104", "wgmma is an instruction of sm_90 alone");
  assert_refused(&attention, "wgmma_64x80_split2", "wgmma is an instruction of sm_90 alone");
  assert_refused(&attention, "mma_32x128_split8", "no GPC of the chip");
  assert_refused(&layer, "mma_1x1", "sm_110 has no gemm tile 'mma_1x1'");
  assert_refused(&attention, "mma_1x1", "sm_110 has no attention tile 'mma_1x1'");
}

/* Legal here is legal on sm_90, and the source is the same but for nothing: what ran there is what runs here. */
static void assert_shared_with_sm_90(const kernel_problem *problem, const char *tile) {
  text source[2] = {{0}};
  const struct target *targets[] = {sm_110(), target_find("sm_90")};
  for (int i = 0; i < 2; i++) {
    check c;
    assert_true(check_choose(&c, targets[i], problem, tile));
    assert_true(c.choice.dynamic_shared_bytes <= 232448);
    assert_true(c.choice.block[0] <= 1024 && c.choice.block[0] % 32 == 0);
    assert_true(c.choice.cost > 0);
    kernel_instance_source(targets[i], problem, &c.choice, "kernel", &source[i]);
    check_end(&c);
  }
  assert_string_equal(source[0].data, source[1].data);
  for (int i = 0; i < 2; i++) text_free(&source[i]);
}

static void every_legal_tile_is_a_kernel_of_sm_90(void **state) {
  (void)state;
  const kernel_problem problems[] = {layer_problem(788, 2560, 2048), attention_problem(1, 8, 788, 839, 256)};
  const int expected[] = {7, 4};
  for (int i = 0; i < 2; i++) {
    const char *tiles[32];
    const int count = sm_110()->candidates(&problems[i], tiles, 32);
    assert_int_equal(count, expected[i]);
    for (int t = 0; t < count; t++) assert_shared_with_sm_90(&problems[i], tiles[t]);
  }
}

static void packed_weights_are_those_of_sm_90(void **state) {
  (void)state;
  enum { ROWS = 70, DEPTH = 130 };
  const struct target *sm_90 = target_find("sm_90");
  uint16_t source[ROWS][DEPTH];
  for (int i = 0; i < ROWS * DEPTH; i++) (&source[0][0])[i] = (uint16_t)(i + 1);
  const pack_request request = {
      .data = source, .size = {1, ROWS, 1, DEPTH}, .stride = {0, DEPTH, 0, 1}, .dtype = PINION_DTYPE_bf16};
  const size_t bytes = (size_t)sm_110()->packed_bytes(request.size, request.dtype);
  assert_int_equal(bytes, sm_90->packed_bytes(request.size, request.dtype));
  uint8_t *packed = malloc(2 * bytes);
  sm_110()->pack(&request, packed);
  sm_90->pack(&request, packed + bytes);
  assert_memory_equal(packed, packed + bytes, bytes);
  free(packed);
}

static void a_tensor_cores_tile_must_have_its_instruction(void **state) {
  (void)state;
  const char *why;
  if (!nvrtc_available(&why)) skip();
  const kernel_problem problem = layer_problem(51, 1024, 1024);
  diagnostics d = {.file = "test"};
  kernel_blob blob;
  check c;
  text source = {0};
  assert_true(check_choose(&c, sm_110(), &problem, NULL));
  kernel_instance_source(sm_110(), &problem, &c.choice, "gemm", &source);
  assert_int_equal(sm_110()->compile(&d, "gemm", source.data, &blob), STATUS_OK);
  free(blob.data);
  text_free(&source);
  check_end(&c);
  text_append(&source, "#define PN_MMA_TYPE bf16\nextern \"C\" __global__ void idle() {}");
  assert_int_equal(sm_110()->compile(&d, "idle", source.data, &blob), STATUS_FAILED);
  assert_null(blob.data);
  text_free(&source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_artifact_needs_a_thor_and_a_driver_that_knows_it),
      cmocka_unit_test(layers_and_attention_of_bf16_get_mma_sync),
      cmocka_unit_test(tiles_of_other_chips_are_refused_with_what_the_hardware_lacks),
      cmocka_unit_test(every_legal_tile_is_a_kernel_of_sm_90),
      cmocka_unit_test(packed_weights_are_those_of_sm_90),
      cmocka_unit_test(a_tensor_cores_tile_must_have_its_instruction),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
