/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* weights.bin: what is written straight from the model's bytes is what the interpreter makes of @weights. */
#define _GNU_SOURCE
#include "codegen/artifact.h"
#include "codegen/weight_pieces.h"
#include "ir/eval.h"
#include "passes/pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct fixture {
  compilation c;
  MlirModule module;
  char folder[64];
} fixture;

static const char *below(fixture *f, const char *name) {
  return path_join(f->c.arena, f->folder, name);
}

/* A model's file: 16 numbers in bf16, at 0; 60 in f32, at 64, and the same again at 304. */
static void write_model_file(fixture *f) {
  uint8_t bytes[544] = {0};
  for (int i = 0; i < 16; i++) { /* 1 + i/8: its bits are its float's upper half */
    const float value = 1 + (float)i / 8;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bytes[2 * i] = (uint8_t)(bits >> 16), bytes[2 * i + 1] = (uint8_t)(bits >> 24);
  }
  for (int i = 0; i < 60; i++) {
    const float value = (float)i * 0.37f - 5; /* not exact in bf16 */
    memcpy(bytes + 64 + 4 * i, &value, sizeof value);
    memcpy(bytes + 304 + 4 * i, &value, sizeof value);
  }
  assert_int_equal(file_write(&f->c.diagnostics, below(f, "model.data"), bytes, sizeof bytes), STATUS_OK);
}

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/pinion_weights_XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  assert_int_equal(compilation_create(&f->c), STATUS_OK);
  write_model_file(f);
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

#define HALF                                                                                                           \
  "%h = \"pinion.weight\"() {name = \"h\", file = \"model.data\", offset = 0 : i64} : () -> tensor<2x8xbf16>\n"
#define FULL                                                                                                           \
  "%w = \"pinion.weight\"() {name = \"w\", file = \"model.data\", offset = 64 : i64} : () -> tensor<3x4x5xf32>\n"
#define SAME                                                                                                           \
  "%v = \"pinion.weight\"() {name = \"v\", file = \"model.data\", offset = 304 : i64} : () -> tensor<3x4x5xf32>\n"

/* @weights returns %r of `type`, made by `ops`; @main uses it as `use` says, with %x and %r, and returns %y of
 * `result`. */
static void parse(fixture *f, const char *ops, const char *type, const char *x, const char *use, const char *result) {
  const char *source = arena_format(
      f->c.arena,
      "module {\nfunc.func @main(%%x: %s) -> %s attributes {pinion.inputs = [\"x\"], pinion.outputs = [\"y\"]} {\n"
      "%%r = \"pinion.weight\"() {name = \"r\", file = \"@weights\", offset = 0 : i64} : () -> %s\n%s\nreturn %%y : "
      "%s\n}\n"
      "func.func private @weights() -> %s {\n%s\nreturn %%r : %s\n}\n}\n",
      x, result, type, use, result, type, ops, type);
  const char *path = below(f, "module.mlir");
  assert_int_equal(file_write(&f->c.diagnostics, path, source, strlen(source)), STATUS_OK);
  assert_int_equal(module_parse(&f->c, path, &f->module), STATUS_OK);
}

static void lower(fixture *f, program *out_program) {
  pass_context context = {.compilation = &f->c, .target = target_find("cpu")};
  assert_int_equal(pass_lower_to_launches(&context, f->module), STATUS_OK);
  assert_int_equal(program_read(&f->c, f->module, out_program), STATUS_OK);
}

/* Writes weights.bin, hands back its bytes, and sets the program's offsets. */
static uint8_t *write_program(fixture *f, program *p, int threads, weights_file *out_file) {
  const artifact_options options = {.target = target_find("cpu"), .threads = threads};
  mapped_file file;
  const char *path = below(f, "weights.bin");
  assert_int_equal(weights_write(&f->c, f->module, &options, p, path, out_file), STATUS_OK);
  assert_int_equal(file_map(&f->c.diagnostics, path, &file), STATUS_OK);
  assert_int_equal(file.size, out_file->bytes);
  uint8_t *bytes = arena_copy(f->c.arena, file.bytes, file.size);
  file_unmap(&file);
  return bytes;
}

static uint8_t *write_weights(fixture *f, program *out_program, weights_file *out_file) {
  lower(f, out_program);
  return write_program(f, out_program, 0, out_file);
}

static const uint8_t *evaluated_bytes(fixture *f) {
  eval_tensor tensor;
  assert_int_equal(eval_function(&f->c, f->module, "weights", NULL, EVAL_AS_TYPED, NULL, NULL, &tensor), STATUS_OK);
  uint8_t *bytes = arena_alloc(f->c.arena, (size_t)type_bytes(&tensor.type));
  eval_tensor_to_bytes(&tensor, bytes);
  eval_free(&tensor);
  return bytes;
}

/* The one weight buffer's rows, or packed panels, hold what @weights evaluates to. */
static void check(fixture *f) {
  program p;
  weights_file file;
  const uint8_t *written = write_weights(f, &p, &file), *expected = evaluated_bytes(f);
  int checked = 0;
  for (int i = 0; i < p.buffer_count; i++) {
    const program_buffer *b = &p.buffers[i];
    if (b->space != PINION_SPACE_WEIGHTS) continue;
    const int64_t size = (int64_t)pinion_dtype_size(b->type.dtype);
    assert_int_equal(b->offset % PINION_BASE_ALIGN, 0);
    checked++;
    if (b->packed) {
      uint8_t *packed = arena_alloc(f->c.arena, (size_t)b->bytes);
      pack_request request = {.data = expected + b->source_view[0] * size, .dtype = b->type.dtype};
      memcpy(request.size, b->type.dims, sizeof request.size);
      memcpy(request.stride, &b->source_view[1], sizeof request.stride);
      target_find("cpu")->pack(&request, packed);
      assert_memory_equal(written + b->offset, packed, (size_t)b->bytes);
      continue;
    }
    const int64_t columns = b->type.rank ? b->type.dims[b->type.rank - 1] : 1, rows = type_elements(&b->type) / columns;
    for (int64_t r = 0; r < rows; r++)
      assert_memory_equal(written + b->offset + r * b->pitch * size, expected + r * columns * size,
                          (size_t)(columns * size));
  }
  assert_int_equal(checked, 1);
}

#define COPY "%y = \"pinion.unary\"(%r) {kind = \"neg\"} : "

/* Is @weights' result all data movement, in so many pieces? */
static void assert_direct(fixture *f, bool direct, size_t pieces) {
  MlirBlock block = function_body(module_function(f->module, "weights"));
  MlirValue value = mlirOperationGetOperand(block_terminator(block), 0);
  tensor_type type;
  weight_pieces found = {0};
  bool is_direct = false;
  assert_true(value_type(value, &type));
  const view to = view_rows(0, &type, type.rank ? type.dims[type.rank - 1] : 1);
  assert_int_equal(weight_pieces_find(&f->c, value, &to, &found, &is_direct), STATUS_OK);
  assert_int_equal(is_direct, direct);
  if (direct) assert_int_equal(found.count, pieces);
}

static void transposes_slices_reshapes_and_broadcasts_are_one_piece(void **state) {
  fixture *f = *state;
  parse(f,
        FULL "%a = \"pinion.transpose\"(%w) {permutation = array<i64: 2, 0, 1>} : (tensor<3x4x5xf32>) -> "
             "tensor<5x3x4xf32>\n"
             "%b = \"pinion.slice\"(%a) {starts = array<i64: 4, 1, 0>, steps = array<i64: -2, 1, 3>} : "
             "(tensor<5x3x4xf32>) -> tensor<3x2x2xf32>\n"
             "%c = \"pinion.reshape\"(%b) : (tensor<3x2x2xf32>) -> tensor<3x1x2x2xf32>\n"
             "%r = \"pinion.broadcast\"(%c) : (tensor<3x1x2x2xf32>) -> tensor<3x7x2x2xf32>",
        "tensor<3x7x2x2xf32>", "tensor<1xf32>", COPY "(tensor<3x7x2x2xf32>) -> tensor<3x7x2x2xf32>",
        "tensor<3x7x2x2xf32>");
  assert_direct(f, true, 1);
  check(f);
}

static void a_concat_of_casts_is_a_piece_each_and_rounds_once(void **state) {
  fixture *f = *state;
  parse(f,
        HALF FULL
        "%a = \"pinion.reshape\"(%w) : (tensor<3x4x5xf32>) -> tensor<6x10xf32>\n"
        "%b = \"pinion.slice\"(%a) {starts = array<i64: 1, 2>, steps = array<i64: 1, 1>} : (tensor<6x10xf32>) "
        "-> tensor<3x8xf32>\n"
        "%c = \"pinion.cast\"(%b) : (tensor<3x8xf32>) -> tensor<3x8xbf16>\n"
        "%d = \"pinion.concat\"(%h, %c) {axis = 0 : i64} : (tensor<2x8xbf16>, tensor<3x8xbf16>) -> "
        "tensor<5x8xbf16>\n"
        "%r = \"pinion.transpose\"(%d) {permutation = array<i64: 1, 0>} : (tensor<5x8xbf16>) -> "
        "tensor<8x5xbf16>",
        "tensor<8x5xbf16>", "tensor<1xf32>", COPY "(tensor<8x5xbf16>) -> tensor<8x5xbf16>", "tensor<8x5xbf16>");
  assert_direct(f, true, 2);
  check(f);
}

static void two_casts_and_arithmetic_are_evaluated(void **state) {
  fixture *f = *state;
  parse(f,
        FULL "%a = \"pinion.cast\"(%w) : (tensor<3x4x5xf32>) -> tensor<3x4x5xbf16>\n"
             "%r = \"pinion.cast\"(%a) : (tensor<3x4x5xbf16>) -> tensor<3x4x5xf32>",
        "tensor<3x4x5xf32>", "tensor<1xf32>", COPY "(tensor<3x4x5xf32>) -> tensor<3x4x5xf32>", "tensor<3x4x5xf32>");
  assert_direct(f, false, 0);
  check(f);
  mlirModuleDestroy(f->module);
  parse(f,
        FULL "%o = \"pinion.constant\"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>\n"
             "%r = \"pinion.binary\"(%w, %o) {kind = \"add\"} : (tensor<3x4x5xf32>, tensor<f32>) -> tensor<3x4x5xf32>",
        "tensor<3x4x5xf32>", "tensor<1xf32>", COPY "(tensor<3x4x5xf32>) -> tensor<3x4x5xf32>", "tensor<3x4x5xf32>");
  assert_direct(f, false, 0);
  check(f);
}

/* A norm's weight folded into the rows of q, k and v, whose columns are interleaved: how projections are prepared. */
static void a_norms_weight_is_the_factor_of_pieces_below_it(void **state) {
  fixture *f = *state;
  static const char *const products[] = {"(%d, %g)", "(%g, %d)"};
  static const char *const types[] = {"(tensor<4x6xf32>, tensor<4x1xf32>)", "(tensor<4x1xf32>, tensor<4x6xf32>)"};
  for (int i = 0; i < 2; i++) {
    if (!mlirModuleIsNull(f->module)) mlirModuleDestroy(f->module);
    parse(f,
          arena_format(
              f->c.arena,
              "%s%%a = \"pinion.reshape\"(%%h) : (tensor<2x8xbf16>) -> tensor<4x4xbf16>\n"
              "%%e = \"pinion.slice\"(%%a) {starts = array<i64: 0, 1>, steps = array<i64: 1, 1>} : (tensor<4x4xbf16>) "
              "-> tensor<4x2xbf16>\n"
              "%%b = \"pinion.concat\"(%%a, %%e) {axis = 1 : i64} : (tensor<4x4xbf16>, tensor<4x2xbf16>) -> "
              "tensor<4x6xbf16>\n"
              "%%i = \"pinion.reshape\"(%%b) : (tensor<4x6xbf16>) -> tensor<4x3x2xbf16>\n"
              "%%j = \"pinion.transpose\"(%%i) {permutation = array<i64: 0, 2, 1>} : (tensor<4x3x2xbf16>) -> "
              "tensor<4x2x3xbf16>\n"
              "%%k = \"pinion.reshape\"(%%j) : (tensor<4x2x3xbf16>) -> tensor<4x6xbf16>\n"
              "%%d = \"pinion.cast\"(%%k) : (tensor<4x6xbf16>) -> tensor<4x6xf32>\n"
              "%%s = \"pinion.slice\"(%%w) {starts = array<i64: 1, 0, 2>, steps = array<i64: 1, 1, 1>} : "
              "(tensor<3x4x5xf32>) -> tensor<1x4x1xf32>\n"
              "%%g = \"pinion.reshape\"(%%s) : (tensor<1x4x1xf32>) -> tensor<4x1xf32>\n"
              "%%m = \"pinion.binary\"%s {kind = \"mul\"} : %s -> tensor<4x6xf32>\n"
              "%%r = \"pinion.cast\"(%%m) : (tensor<4x6xf32>) -> tensor<4x6xbf16>",
              HALF FULL, products[i], types[i]),
          "tensor<4x6xbf16>", "tensor<1xf32>", COPY "(tensor<4x6xbf16>) -> tensor<4x6xbf16>", "tensor<4x6xbf16>");
    assert_direct(f, true, 2);
    check(f);
  }
}

/* A cast below a product that rounds, a second product, another kind, a part that ends within a head. */
static void more_rounding_than_a_copy_does_is_evaluated(void **state) {
  fixture *f = *state;
  static const char *const ops[] = {
      "%a = \"pinion.cast\"(%w) : (tensor<3x4x5xf32>) -> tensor<3x4x5xbf16>\n"
      "%b = \"pinion.cast\"(%a) : (tensor<3x4x5xbf16>) -> tensor<3x4x5xf32>\n"
      "%r = \"pinion.binary\"(%b, %v) {kind = \"mul\"} : (tensor<3x4x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>",
      "%a = \"pinion.binary\"(%w, %v) {kind = \"mul\"} : (tensor<3x4x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>\n"
      "%r = \"pinion.binary\"(%a, %v) {kind = \"mul\"} : (tensor<3x4x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>",
      "%r = \"pinion.binary\"(%w, %v) {kind = \"div\"} : (tensor<3x4x5xf32>, tensor<3x4x5xf32>) -> tensor<3x4x5xf32>",
      "%x = \"pinion.reshape\"(%w) : (tensor<3x4x5xf32>) -> tensor<10x6xf32>\n"
      "%a = \"pinion.slice\"(%x) {starts = array<i64: 0, 2>, steps = array<i64: 1, 1>} : (tensor<10x6xf32>) -> "
      "tensor<10x1xf32>\n"
      "%b = \"pinion.slice\"(%x) {starts = array<i64: 0, 1>, steps = array<i64: 1, 1>} : (tensor<10x6xf32>) -> "
      "tensor<10x5xf32>\n"
      "%c = \"pinion.concat\"(%a, %b) {axis = 1 : i64} : (tensor<10x1xf32>, tensor<10x5xf32>) -> tensor<10x6xf32>\n"
      "%d = \"pinion.reshape\"(%c) : (tensor<10x6xf32>) -> tensor<10x3x2xf32>\n"
      "%e = \"pinion.transpose\"(%d) {permutation = array<i64: 0, 2, 1>} : (tensor<10x3x2xf32>) -> "
      "tensor<10x2x3xf32>\n"
      "%r = \"pinion.reshape\"(%e) : (tensor<10x2x3xf32>) -> tensor<3x4x5xf32>",
  };
  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
    if (!mlirModuleIsNull(f->module)) mlirModuleDestroy(f->module);
    parse(f, arena_format(f->c.arena, "%s%s", FULL SAME, ops[i]), "tensor<3x4x5xf32>", "tensor<1xf32>",
          COPY "(tensor<3x4x5xf32>) -> tensor<3x4x5xf32>", "tensor<3x4x5xf32>");
    assert_direct(f, false, 0);
    check(f);
  }
}

#define PRODUCT(a, r, y) "%y = \"pinion.matmul\"(%x, %r) : (" a ", " r ") -> " y

static void matrices_are_packed_from_views_from_pieces_and_from_results(void **state) {
  fixture *f = *state;
  static const char *const ops[] = {
      /* a view of the file: the strides go into the packing */
      FULL "%a = \"pinion.reshape\"(%w) : (tensor<3x4x5xf32>) -> tensor<12x5xf32>\n"
           "%r = \"pinion.transpose\"(%a) {permutation = array<i64: 1, 0>} : (tensor<12x5xf32>) -> tensor<5x12xf32>",
      /* a view whose dimensions do not merge: through dense bytes */
      FULL
      "%a = \"pinion.transpose\"(%w) {permutation = array<i64: 2, 1, 0>} : (tensor<3x4x5xf32>) -> tensor<5x4x3xf32>\n"
      "%r = \"pinion.reshape\"(%a) : (tensor<5x4x3xf32>) -> tensor<5x12xf32>",
      /* pieces */
      FULL
      "%a = \"pinion.slice\"(%w) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<3x4x5xf32>) "
      "-> tensor<1x4x5xf32>\n"
      "%b = \"pinion.reshape\"(%a) : (tensor<1x4x5xf32>) -> tensor<5x4xf32>\n"
      "%r = \"pinion.concat\"(%b, %b, %b) {axis = 1 : i64} : (tensor<5x4xf32>, tensor<5x4xf32>, tensor<5x4xf32>) -> "
      "tensor<5x12xf32>",
      /* arithmetic */
      FULL "%a = \"pinion.reshape\"(%w) : (tensor<3x4x5xf32>) -> tensor<5x12xf32>\n"
           "%r = \"pinion.unary\"(%a) {kind = \"neg\"} : (tensor<5x12xf32>) -> tensor<5x12xf32>",
  };
  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
    if (!mlirModuleIsNull(f->module)) mlirModuleDestroy(f->module);
    parse(f, ops[i], "tensor<5x12xf32>", "tensor<2x5xf32>",
          PRODUCT("tensor<2x5xf32>", "tensor<5x12xf32>", "tensor<2x12xf32>"), "tensor<2x12xf32>");
    check(f);
  }
}

static void a_slice_of_a_result_is_packed_by_itself(void **state) {
  fixture *f = *state;
  parse(f, FULL "%r = \"pinion.reshape\"(%w) : (tensor<3x4x5xf32>) -> tensor<5x12xf32>", "tensor<5x12xf32>",
        "tensor<2x3xf32>",
        "%s = \"pinion.slice\"(%r) {starts = array<i64: 1, 4>, steps = array<i64: 1, 2>} : (tensor<5x12xf32>) -> "
        "tensor<3x4xf32>\n"
        "%y = \"pinion.matmul\"(%x, %s) : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>",
        "tensor<2x4xf32>");
  check(f);
}

/* `w` and `v` lie at different places of the model's file, with the same bytes. */
static void equal_weights_share_a_place(void **state) {
  fixture *f = *state;
  const char *source =
      "module {\nfunc.func @main(%x: tensor<5xf32>) -> (tensor<3x4x5xf32>, tensor<3x4x5xf32>, tensor<2x8xbf16>) "
      "attributes {pinion.inputs = [\"x\"], pinion.outputs = [\"a\", \"b\", \"c\"]} {\n" FULL SAME HALF
      "%a = \"pinion.binary\"(%w, %x) {kind = \"add\"} : (tensor<3x4x5xf32>, tensor<5xf32>) -> tensor<3x4x5xf32>\n"
      "%b = \"pinion.binary\"(%v, %x) {kind = \"mul\"} : (tensor<3x4x5xf32>, tensor<5xf32>) -> tensor<3x4x5xf32>\n"
      "%c = \"pinion.unary\"(%h) {kind = \"neg\"} : (tensor<2x8xbf16>) -> tensor<2x8xbf16>\n"
      "return %a, %b, %c : tensor<3x4x5xf32>, tensor<3x4x5xf32>, tensor<2x8xbf16>\n}\n}\n";
  const char *path = below(f, "module.mlir");
  program p;
  weights_file file;
  assert_int_equal(file_write(&f->c.diagnostics, path, source, strlen(source)), STATUS_OK);
  assert_int_equal(module_parse(&f->c, path, &f->module), STATUS_OK);
  const uint8_t *written = write_weights(f, &p, &file);
  int64_t offsets[3];
  int count = 0;
  for (int i = 0; i < p.buffer_count; i++)
    if (p.buffers[i].space == PINION_SPACE_WEIGHTS) offsets[count++] = p.buffers[i].offset;
  assert_int_equal(count, 3);
  assert_int_equal(offsets[0], offsets[1]);
  assert_int_equal(offsets[2] - offsets[0], 512); /* 12 rows of 8 numbers, to the next multiple of 256 */
  assert_int_equal(file.bytes, 256 + 512 + 256);
  const float first = -5;
  assert_memory_equal(written + offsets[0], &first, sizeof first);
}

/* Eight products with packed weights, half of them evaluated. */
static void any_number_of_threads_writes_the_same_file(void **state) {
  fixture *f = *state;
  text source = {0};
  text_append(&source,
              "module {\nfunc.func @main(%%x: tensor<2x5xf32>) -> tensor<2x12xf32> "
              "attributes {pinion.inputs = [\"x\"], pinion.outputs = [\"y\"]} {\n"
              "%%y0 = \"pinion.constant\"() {value = dense<0.0> : tensor<2x12xf32>} : () -> tensor<2x12xf32>\n");
  for (int i = 0; i < 8; i++)
    text_append(&source,
                "%%r%d = \"pinion.weight\"() {name = \"r%d\", file = \"@weights\", offset = %d : i64} : () -> "
                "tensor<5x12xf32>\n"
                "%%p%d = \"pinion.matmul\"(%%x, %%r%d) : (tensor<2x5xf32>, tensor<5x12xf32>) -> tensor<2x12xf32>\n"
                "%%y%d = \"pinion.binary\"(%%y%d, %%p%d) {kind = \"add\"} : (tensor<2x12xf32>, tensor<2x12xf32>) -> "
                "tensor<2x12xf32>\n",
                i, i, i, i, i, i + 1, i, i);
  text_append(&source, "return %%y8 : tensor<2x12xf32>\n}\nfunc.func private @weights() -> (tensor<5x12xf32>");
  for (int i = 1; i < 8; i++) text_append(&source, ", tensor<5x12xf32>");
  text_append(&source, ") {\n%s%%r = \"pinion.reshape\"(%%w) : (tensor<3x4x5xf32>) -> tensor<5x12xf32>\n", FULL);
  for (int i = 0; i < 8; i++)
    text_append(&source,
                "%%c%d = \"pinion.constant\"() {value = dense<%d.5> : tensor<f32>} : () -> tensor<f32>\n"
                "%%r%d = \"pinion.binary\"(%%r, %%c%d) {kind = \"%s\"} : (tensor<5x12xf32>, tensor<f32>) -> "
                "tensor<5x12xf32>\n",
                i, i, i, i, i % 2 ? "add" : "mul");
  text_append(&source, "return %%r0");
  for (int i = 1; i < 8; i++) text_append(&source, ", %%r%d", i);
  text_append(&source, " : tensor<5x12xf32>");
  for (int i = 1; i < 8; i++) text_append(&source, ", tensor<5x12xf32>");
  text_append(&source, "\n}\n}\n");
  const char *path = below(f, "module.mlir");
  program p;
  weights_file one, many;
  assert_int_equal(file_write(&f->c.diagnostics, path, source.data, source.length), STATUS_OK);
  text_free(&source);
  assert_int_equal(module_parse(&f->c, path, &f->module), STATUS_OK);
  lower(f, &p);
  const uint8_t *expected = write_program(f, &p, 1, &one);
  assert_true(one.bytes > 8 * 256); /* none is merged with another */
  for (int threads = 2; threads <= 8; threads++) {
    const uint8_t *written = write_program(f, &p, threads, &many);
    assert_int_equal(one.bytes, many.bytes);
    assert_memory_equal(written, expected, one.bytes);
    assert_memory_equal(one.digest, many.digest, sizeof one.digest);
  }
}

static void the_header_names_target_version_and_size(void **state) {
  fixture *f = *state;
  parse(f, FULL "%r = \"pinion.reshape\"(%w) : (tensor<3x4x5xf32>) -> tensor<5x12xf32>", "tensor<5x12xf32>",
        "tensor<1xf32>", COPY "(tensor<5x12xf32>) -> tensor<5x12xf32>", "tensor<5x12xf32>");
  program p;
  weights_file file;
  const uint8_t *written = write_weights(f, &p, &file);
  pinion_weights_header header;
  memcpy(&header, written, sizeof header);
  assert_memory_equal(header.magic, "PINIONW\0", 8);
  assert_int_equal(header.abi_version, PINION_ABI_VERSION);
  assert_int_equal(header.bytes, file.bytes);
  assert_string_equal(header.target, "cpu");
  uint8_t digest[32];
  sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, written, (size_t)file.bytes);
  sha256_end(&hash, digest);
  assert_memory_equal(digest, file.digest, sizeof digest);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(transposes_slices_reshapes_and_broadcasts_are_one_piece),
      TEST(a_concat_of_casts_is_a_piece_each_and_rounds_once),
      TEST(two_casts_and_arithmetic_are_evaluated),
      TEST(a_norms_weight_is_the_factor_of_pieces_below_it),
      TEST(more_rounding_than_a_copy_does_is_evaluated),
      TEST(matrices_are_packed_from_views_from_pieces_and_from_results),
      TEST(a_slice_of_a_result_is_packed_by_itself),
      TEST(equal_weights_share_a_place),
      TEST(any_number_of_threads_writes_the_same_file),
      TEST(the_header_names_target_version_and_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
