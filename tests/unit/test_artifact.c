/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Artifacts: written, built with make, opened, run; the same twice; nothing half-written; tiles by the tuning file. */
#define _GNU_SOURCE
#include "codegen/artifact.h"
#include "ir/eval.h"
#include "passes/pass.h"
#include "runtime/pinion.h"

#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A linear layer with an epilogue, a norm and a softmax; constants; three steps. */
static const char policy[] =
    "module {\n"
    "  func.func @main(%x: tensor<2x3x8xf32>, %noise: tensor<2x5xf32>) -> (tensor<2x3x5xf32>, tensor<2x5xf32>)\n"
    "      attributes {pinion.inputs = [\"x\", \"noise.0\"], pinion.outputs = [\"scores\", \"actions\"]} {\n"
    "    %w = \"pinion.constant\"() {value = dense<0.25> : tensor<8x5xf32>} : () -> tensor<8x5xf32>\n"
    "    %b = \"pinion.constant\"() {value = dense<[1.0, 2.0, -3.0, 0.5, 0.0]> : tensor<5xf32>} : () -> tensor<5xf32>\n"
    "    %t = \"pinion.constant\"() {value = dense<[[1.0], [0.5], [0.25]]> : tensor<3x1xf32>} : () -> tensor<3x1xf32>\n"
    "    %n = \"pinion.norm\"(%x) {kind = \"rms\", axis = 2 : i64, epsilon = 1.0e-5 : f64, "
    "operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>\n"
    "    %m = \"pinion.matmul\"(%n, %w) : (tensor<2x3x8xf32>, tensor<8x5xf32>) -> tensor<2x3x5xf32>\n"
    "    %a = \"pinion.binary\"(%m, %b) {kind = \"add\"} : (tensor<2x3x5xf32>, tensor<5xf32>) -> tensor<2x3x5xf32>\n"
    "    %s = \"pinion.softmax\"(%a) {axis = 2 : i64} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>\n"
    "    %r = \"pinion.reduce\"(%s) {kind = \"max\", axes = array<i64: 1>, keep = false} : (tensor<2x3x5xf32>) -> "
    "tensor<2x5xf32>\n"
    "    %y = \"pinion.steps\"(%noise, %r, %t) {callee = @step, count = 3 : i64, tables = 1 : i64} : (tensor<2x5xf32>, "
    "tensor<2x5xf32>, tensor<3x1xf32>) -> tensor<2x5xf32>\n"
    "    return %s, %y : tensor<2x3x5xf32>, tensor<2x5xf32>\n"
    "  }\n"
    "  func.func private @step(%x: tensor<2x5xf32>, %r: tensor<2x5xf32>, %dt: tensor<1xf32>) -> tensor<2x5xf32> {\n"
    "    %v = \"pinion.binary\"(%r, %x) {kind = \"sub\"} : (tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xf32>\n"
    "    %d = \"pinion.binary\"(%v, %dt) {kind = \"mul\"} : (tensor<2x5xf32>, tensor<1xf32>) -> tensor<2x5xf32>\n"
    "    %y = \"pinion.binary\"(%x, %d) {kind = \"add\"} : (tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xf32>\n"
    "    return %y : tensor<2x5xf32>\n"
    "  }\n"
    "}\n";

typedef struct fixture {
  compilation c;
  MlirModule module;
  char folder[64]; /* temporary; artifacts go below it */
} fixture;

static const char *below(fixture *f, const char *name) {
  return path_join(f->c.arena, f->folder, name);
}

static void parse(fixture *f, const char *source) {
  if (!mlirModuleIsNull(f->module)) mlirModuleDestroy(f->module);
  const char *path = below(f, "policy.mlir");
  assert_int_equal(file_write(&f->c.diagnostics, path, source, strlen(source)), STATUS_OK);
  assert_int_equal(module_parse(&f->c, path, &f->module), STATUS_OK);
}

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/pinion_artifact_XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  assert_int_equal(compilation_create(&f->c), STATUS_OK);
  parse(f, policy);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  if (!mlirModuleIsNull(f->module)) mlirModuleDestroy(f->module);
  compilation_destroy(&f->c);
  folder_remove(f->folder);
  free(f);
  return 0;
}

static void lower(fixture *f) {
  const pipeline_options options = {.passes = "fuse-pointwise,lower-to-launches,plan-memory",
                                    .target = target_find("cpu")};
  assert_int_equal(pipeline_run(&f->c, f->module, &options), STATUS_OK);
}

static status write_artifact(fixture *f, const char *name, const char *tuning_file) {
  const artifact_options options = {
      .folder = below(f, name), .model_name = "policy", .target = target_find("cpu"), .tuning_file = tuning_file};
  return artifact_write(&f->c, f->module, &options);
}

static int shell(fixture *f, const char *format, const char *a, const char *b) {
  const char *command = arena_format(f->c.arena, format, a, b);
  return system(command);
}

static char *read_text(fixture *f, const char *name) {
  mapped_file file;
  assert_int_equal(file_map(&f->c.diagnostics, below(f, name), &file), STATUS_OK);
  char *content = arena_string(f->c.arena, (const char *)file.bytes, file.size);
  file_unmap(&file);
  return content;
}

/* ---- The whole way ---- */

enum { X_COUNT = 48, NOISE_COUNT = 10, SCORES_COUNT = 30, ACTIONS_COUNT = 10 };

struct policy_inputs { /* as model.h has it */
  const float *x, *noise_0;
};
struct policy_outputs {
  float *scores, *actions;
};

typedef struct library {
  void *handle;
  pinion_status (*open)(const char *, const pinion_options *, pinion_model **);
  pinion_status (*create)(pinion_model *, pinion_instance **);
  pinion_status (*run)(pinion_instance *, const struct policy_inputs *, struct policy_outputs *);
  void (*destroy)(pinion_instance *);
  void (*close)(pinion_model *);
} library;

static void *symbol(const library *l, const char *name) {
  void *address = dlsym(l->handle, name);
  assert_non_null(address);
  return address;
}

static library open_library(fixture *f, const char *name) {
  library l = {.handle = dlopen(below(f, arena_format(f->c.arena, "%s/libmodel.so", name)), RTLD_NOW | RTLD_LOCAL)};
  assert_non_null(l.handle);
  *(void **)&l.open = symbol(&l, "policy_open");
  *(void **)&l.create = symbol(&l, "pinion_instance_create");
  *(void **)&l.run = symbol(&l, "policy_run");
  *(void **)&l.destroy = symbol(&l, "pinion_instance_destroy");
  *(void **)&l.close = symbol(&l, "pinion_model_close");
  return l;
}

static void evaluate(fixture *f, const float *x, const float *noise, eval_tensor results[2]) {
  const tensor_type x_type = {.dtype = PINION_DTYPE_f32, .rank = 3, .dims = {2, 3, 8}};
  const tensor_type noise_type = {.dtype = PINION_DTYPE_f32, .rank = 2, .dims = {2, 5}};
  eval_tensor arguments[2];
  assert_int_equal(eval_tensor_from_bytes(&x_type, x, EVAL_AS_TYPED, &arguments[0]), STATUS_OK);
  assert_int_equal(eval_tensor_from_bytes(&noise_type, noise, EVAL_AS_TYPED, &arguments[1]), STATUS_OK);
  assert_int_equal(eval_function(&f->c, f->module, "main", arguments, EVAL_AS_TYPED, NULL, NULL, results), STATUS_OK);
  eval_free(&arguments[0]);
  eval_free(&arguments[1]);
}

static void assert_near(const float *actual, const eval_tensor *expected, int count) {
  for (int i = 0; i < count; i++)
    if (fabs(actual[i] - eval_get(expected, i)) > 2e-6) /* a few roundings of values around 1 */
      fail_msg("element %d is %.9g, not %.9g", i, (double)actual[i], eval_get(expected, i));
}

static void a_built_artifact_computes_what_the_interpreter_does(void **state) {
  fixture *f = *state;
  float x[X_COUNT], noise[NOISE_COUNT], scores[SCORES_COUNT], actions[ACTIONS_COUNT];
  eval_tensor expected[2];
  for (int i = 0; i < X_COUNT; i++) x[i] = (float)sin(i * 0.7);
  for (int i = 0; i < NOISE_COUNT; i++) noise[i] = (float)cos(i * 1.3);
  evaluate(f, x, noise, expected);
  lower(f);
  assert_int_equal(write_artifact(f, "built", NULL), STATUS_OK);
  assert_int_equal(
      shell(f, "make -s -j2 -C %s CFLAGS='-O1 -Wall -Wextra -Werror' %s", below(f, "built"), "libmodel.so"), 0);
  library l = open_library(f, "built");
  pinion_model *model;
  pinion_instance *instance;
  assert_int_equal(l.open(below(f, "built"), NULL, &model), PINION_OK);
  assert_int_equal(l.create(model, &instance), PINION_OK);
  const struct policy_inputs inputs = {x, noise};
  struct policy_outputs outputs = {scores, actions};
  for (int call = 0; call < 2; call++) { /* the second finds the arena used */
    assert_int_equal(l.run(instance, &inputs, &outputs), PINION_OK);
    assert_near(scores, &expected[0], SCORES_COUNT);
    assert_near(actions, &expected[1], ACTIONS_COUNT);
  }
  l.destroy(instance);
  l.close(model);
  dlclose(l.handle);
  eval_free(&expected[0]);
  eval_free(&expected[1]);
}

static void an_artifact_written_twice_is_the_same(void **state) {
  fixture *f = *state;
  lower(f);
  assert_int_equal(write_artifact(f, "first", NULL), STATUS_OK);
  assert_int_equal(write_artifact(f, "second", NULL), STATUS_OK);
  assert_int_equal(shell(f, "diff -r %s %s", below(f, "first"), below(f, "second")), 0);
}

static void the_manifest_has_every_files_hash(void **state) {
  fixture *f = *state;
  lower(f);
  assert_int_equal(write_artifact(f, "hashed", NULL), STATUS_OK);
  const char *check = "cd %s && for file in $(find . -type f ! -name manifest.json | cut -c3-); do "
                      "grep -q \"\\\"path\\\": \\\"$file\\\".*$(sha256sum $file | cut -d' ' -f1)\" %s || exit 1; done";
  assert_int_equal(shell(f, check, below(f, "hashed"), "manifest.json"), 0);
  assert_int_equal(shell(f, "grep -rq %s %s/manifest.json", f->folder, below(f, "hashed")) == 0, 0); /* no paths */
}

/* ---- Folders ---- */

static void a_folder_that_is_no_artifact_is_not_replaced(void **state) {
  fixture *f = *state;
  lower(f);
  assert_int_equal(folder_create(&f->c.diagnostics, below(f, "mine")), STATUS_OK);
  assert_int_equal(file_write(&f->c.diagnostics, below(f, "mine/thesis.txt"), "text", 4), STATUS_OK);
  assert_int_equal(write_artifact(f, "mine", NULL), STATUS_FAILED);
  assert_true(file_exists(below(f, "mine/thesis.txt")));
}

static void an_artifact_is_replaced(void **state) {
  fixture *f = *state;
  lower(f);
  assert_int_equal(write_artifact(f, "again", NULL), STATUS_OK);
  assert_int_equal(file_write(&f->c.diagnostics, below(f, "again/kernels/old.c"), "", 0), STATUS_OK);
  assert_int_equal(write_artifact(f, "again", NULL), STATUS_OK);
  assert_false(file_exists(below(f, "again/kernels/old.c")));
  assert_true(file_exists(below(f, "again/manifest.json")));
}

/* Rounding is for floats: this norm over integers is no problem that a kernel solves. */
static void what_no_kernel_computes_is_refused_and_leaves_nothing(void **state) {
  fixture *f = *state;
  parse(f, "func.func @main(%x: tensor<2x4xf32>, %s: tensor<4xf64>) -> tensor<2x4xf32>\n"
           "    attributes {pinion.inputs = [\"x\", \"s\"], pinion.outputs = [\"y\"]} {\n"
           "  %y = \"pinion.norm\"(%x, %s) {kind = \"rms\", axis = 1 : i64, epsilon = 0.0 : f64, operandSegmentSizes = "
           "array<i32: 1, 1, 0>} : (tensor<2x4xf32>, tensor<4xf64>) -> tensor<2x4xf32>\n"
           "  return %y : tensor<2x4xf32>\n}\n");
  lower(f);
  assert_int_equal(write_artifact(f, "never", NULL), STATUS_UNSUPPORTED);
  assert_int_equal(shell(f, "ls -d %s%s* 2>/dev/null | grep -q .", below(f, "never"), "") == 0, 0);
}

static void an_unplanned_module_is_refused(void **state) {
  fixture *f = *state;
  pass_context context = {.compilation = &f->c, .target = target_find("cpu")};
  assert_int_equal(pass_lower_to_launches(&context, f->module), STATUS_OK);
  assert_int_equal(write_artifact(f, "unplanned", NULL), STATUS_BAD_INPUT);
}

/* ---- Tuning ---- */

/* The gemm of the program as a problem. */
static kernel_problem *gemm_problem(fixture *f) {
  program p;
  kernel_problem *problem = arena_alloc(f->c.arena, sizeof *problem);
  assert_int_equal(program_read(&f->c, f->module, &p), STATUS_OK);
  for (int i = 0; i < p.launch_count; i++) {
    if (p.launches[i].family != PINION_FAMILY_GEMM) continue;
    assert_int_equal(kernel_problem_of(&f->c, &p, &p.launches[i], problem), STATUS_OK);
    return problem;
  }
  fail_msg("the program has no gemm");
  return NULL;
}

static void tuned_tiles_are_taken_and_unknown_ones_passed_over(void **state) {
  fixture *f = *state;
  const char *tiles[8], *file = below(f, "file.tuning");
  lower(f);
  const kernel_problem *problem = gemm_problem(f);
  const int count = target_find("cpu")->candidates(problem, tiles, 8);
  assert_true(count > 1);
  text key = {0}, tuning_text = {0};
  kernel_problem_key(problem, &key);
  assert_string_equal(key.data, "gemm packed f32 f32 f32 1x1x6x1x5x1x8");
  text_append(&tuning_text, "# a comment\n\n%s | %s | 12.5 | a device | a compiler\n", key.data, tiles[count - 1]);
  assert_int_equal(file_write(&f->c.diagnostics, file, tuning_text.data, tuning_text.length), STATUS_OK);
  assert_int_equal(write_artifact(f, "tuned", file), STATUS_OK);
  assert_non_null(
      strstr(read_text(f, "tuned/manifest.json"), arena_format(f->c.arena, "\"tile\": \"%s\"", tiles[count - 1])));
  text_free(&tuning_text);
  text_append(&tuning_text, "%s | no such tile\n", key.data);
  assert_int_equal(file_write(&f->c.diagnostics, file, tuning_text.data, tuning_text.length), STATUS_OK);
  assert_int_equal(write_artifact(f, "untuned", file), STATUS_OK);
  assert_non_null(
      strstr(read_text(f, "untuned/manifest.json"), arena_format(f->c.arena, "\"tile\": \"%s\"", tiles[0])));
  assert_int_equal(file_write(&f->c.diagnostics, file, "nonsense\n", 9), STATUS_OK);
  assert_int_equal(write_artifact(f, "malformed", file), STATUS_BAD_INPUT);
  text_free(&tuning_text);
  text_free(&key);
}

static void a_missing_tuning_file_becomes_the_targets_own(void **state) {
  fixture *f = *state;
  static const char *const targets[] = {"sm_90", "cpu"}; /* with a committed file, and without */
  for (int i = 0; i < 2; i++) {
    const struct target *its = target_find(targets[i]);
    const char *path = below(f, arena_format(f->c.arena, "%s.tuning", targets[i]));
    tuning own, made;
    assert_int_equal(tuning_read(&f->c, its, NULL, &own), STATUS_OK);
    assert_int_equal(tuning_read(&f->c, its, path, &made), STATUS_OK);
    assert_true(file_exists(path));
    assert_int_equal(own.count > 0, i == 0);
    assert_int_equal(made.count, own.count);
    for (int k = 0; k < own.count; k++)
      assert_string_equal(tuning_find(&made, own.entries[k].key), own.entries[k].tile);
    assert_int_equal(tuning_read(&f->c, its, path, &made), STATUS_OK); /* now it is there */
    assert_int_equal(made.count, own.count);
  }
  tuning none;
  assert_int_equal(tuning_read(&f->c, target_find("cpu"), below(f, "no/such/folder.tuning"), &none), STATUS_FAILED);
}

/* ---- Names ---- */

static void names_of_models_become_identifiers_strings_and_comments(void **state) {
  fixture *f = *state;
  text out = {0};
  assert_string_equal(c_identifier(f->c.arena, "image.0/rgb"), "image_0_rgb");
  assert_string_equal(c_identifier(f->c.arena, "0"), "_0");
  assert_string_equal(c_identifier(f->c.arena, "double"), "_double");
  append_quoted(&out, "a\"b\\c\n");
  append_json(&out, "\t");
  append_comment(&out, " x*/y\n");
  assert_string_equal(out.data, "\"a\\\"b\\\\c\\012\"\"\\u0009\" x* /y ");
  text_free(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_built_artifact_computes_what_the_interpreter_does),
      TEST(an_artifact_written_twice_is_the_same),
      TEST(the_manifest_has_every_files_hash),
      TEST(a_folder_that_is_no_artifact_is_not_replaced),
      TEST(an_artifact_is_replaced),
      TEST(what_no_kernel_computes_is_refused_and_leaves_nothing),
      TEST(an_unplanned_module_is_refused),
      TEST(tuned_tiles_are_taken_and_unknown_ones_passed_over),
      TEST(a_missing_tuning_file_becomes_the_targets_own),
      TEST(names_of_models_become_identifiers_strings_and_comments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
