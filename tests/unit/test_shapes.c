/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Shape rules: what they infer, what they accept, and what they refuse, with the reason. */
#include "ir/shapes.h"
#include "ir_testing.h"

/* One op of a function of its own, and part of the reason why it is refused; NULL: it is accepted. */
typedef struct shape_case {
  const char *op;
  const char *reason;
} shape_case;

/* How many types a list names: one for each '<' that is in no other. */
static int count_types(const char *list) {
  int count = 0, nesting = 0;
  for (list += strlen(") -> "); *list; list++) {
    if (*list == '<') count += nesting++ == 0;
    if (*list == '>') nesting--;
  }
  return count;
}

/* Wraps `op` ("pinion.x"(OPERANDS) {..} : (TYPES) -> TYPES) into a function; $0, $1, .. are arguments of those types.
 */
static char *wrap(arena *a, const char *op, int result_count) {
  const char *types = strstr(op, " : (") + 4, *end = strstr(types, ") -> ");
  text t = {0};
  text_append(&t, "func.func @main(");
  int argument = 0;
  for (const char *at = types; at < end; argument++) {
    const char *stop = at;
    for (int nesting = 0; stop < end && (nesting || *stop != ','); stop++) nesting += (*stop == '<') - (*stop == '>');
    text_append(&t, "%s%%a%d: %.*s", argument ? ", " : "", argument, (int)(stop - at), at);
    at = stop < end ? stop + 2 : end;
  }
  text_append(&t, ") {\n  ");
  if (result_count == 1) text_append(&t, "%%0 = ");
  if (result_count > 1) text_append(&t, "%%0:%d = ", result_count);
  for (const char *at = op; *at; at++)
    if (*at == '$')
      text_append(&t, "%%a");
    else
      text_append_bytes(&t, at, 1);
  text_append(&t, "\n  return\n}\n");
  char *copy = arena_string(a, t.data, t.length);
  text_free(&t);
  return copy;
}

#define LEVELS_ALL (LEVELS_FUSED | LEVELS_LAUNCH)

static void check_cases(ir_test *t, const shape_case *cases, size_t count) {
  for (size_t i = 0; i < count; i++) {
    ir_test_parse(t, wrap(t->c.arena, cases[i].op, count_types(strstr(cases[i].op, ") -> "))));
    size_t before = strlen(ir_test_messages(t));
    status result = module_verify(&t->c, t->module, LEVELS_ALL);
    const char *said = ir_test_messages(t) + before;
    if (!cases[i].reason && result != STATUS_OK) fail_msg("%s\nis refused: %s", cases[i].op, said);
    if (cases[i].reason && (result == STATUS_OK || !strstr(said, cases[i].reason)))
      fail_msg("%s\nshould be refused for '%s', but: %s", cases[i].op, cases[i].reason, said);
  }
}

#define CHECK(state, cases) check_cases(*(state), cases, sizeof(cases) / sizeof *(cases))

static void elementwise_ops_broadcast_and_check_types(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.unary\"($0) {kind = \"exp\"} : (tensor<2x3xf32>) -> tensor<2x3xf32>", NULL},
      {"\"pinion.unary\"($0) {kind = \"isnan\"} : (tensor<2xf32>) -> tensor<2xi1>", NULL},
      {"\"pinion.unary\"($0) {kind = \"exp\"} : (tensor<2xi64>) -> tensor<2xi64>", "exp does not take i64"},
      {"\"pinion.unary\"($0) {kind = \"not\"} : (tensor<2xf32>) -> tensor<2xf32>", "not does not take f32"},
      {"\"pinion.unary\"($0) {kind = \"expo\"} : (tensor<2xf32>) -> tensor<2xf32>", "no operation 'expo'"},
      {"\"pinion.unary\"($0) {kind = \"add\"} : (tensor<2xf32>) -> tensor<2xf32>", "no operation 'add' of 1"},
      {"\"pinion.unary\"($0) {kind = \"exp\"} : (tensor<2xf32>) -> tensor<3xf32>", "the result is f32[2], not f32[3]"},
      {"\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<2x1xf32>, tensor<3xf32>) -> tensor<2x3xf32>", NULL},
      {"\"pinion.binary\"($0, $1) {kind = \"lt\"} : (tensor<2xi64>, tensor<i64>) -> tensor<2xi1>", NULL},
      {"\"pinion.binary\"($0, $1) {kind = \"lt\"} : (tensor<2xi64>, tensor<i64>) -> tensor<2xi64>", "not i64[2]"},
      {"\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<2xf32>, tensor<3xf32>) -> tensor<3xf32>",
       "do not broadcast"},
      {"\"pinion.binary\"($0, $1) {kind = \"add\"} : (tensor<2xf32>, tensor<2xf64>) -> tensor<2xf32>", "differ"},
      {"\"pinion.binary\"($0, $1) {kind = \"and\"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>",
       "and does not take f32"},
      {"\"pinion.select\"($0, $1, $2) : (tensor<3xi1>, tensor<2x1xf32>, tensor<f32>) -> tensor<2x3xf32>", NULL},
      {"\"pinion.select\"($0, $1, $2) : (tensor<3xi8>, tensor<3xf32>, tensor<f32>) -> tensor<3xf32>",
       "the condition is i8, not bool"},
      {"\"pinion.cast\"($0) : (tensor<3xf32>) -> tensor<3xi1>", NULL},
      {"\"pinion.cast\"($0) : (tensor<3xf32>) -> tensor<4xi1>", "would change the shape"},
  };
  CHECK(state, cases);
}

static void ops_along_axes_check_their_axes(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.reduce\"($0) {kind = \"sum\", axes = array<i64: 0, 2>, keep = false} : (tensor<2x3x4xf32>) -> "
       "tensor<3xf32>",
       NULL},
      {"\"pinion.reduce\"($0) {kind = \"max\", axes = array<i64: 1>, keep = true} : (tensor<2x3xi1>) -> tensor<2x1xi1>",
       NULL},
      {"\"pinion.reduce\"($0) {kind = \"sum\", axes = array<i64: 1>, keep = true} : (tensor<2x3xi1>) -> tensor<2x1xi1>",
       "sum does not take bool"},
      {"\"pinion.reduce\"($0) {kind = \"sum\", axes = array<i64: 2>, keep = true} : (tensor<2x3xf32>) -> "
       "tensor<2x1xf32>",
       "axis 2"},
      {"\"pinion.reduce\"($0) {kind = \"sum\", axes = array<i64: 1, 1>, keep = false} : (tensor<2x3xf32>) -> "
       "tensor<2xf32>",
       "repeated"},
      {"\"pinion.reduce\"($0) {kind = \"median\", axes = array<i64: 1>, keep = false} : (tensor<2x3xf32>) -> "
       "tensor<2xf32>",
       "no kind 'median'"},
      {"\"pinion.cumsum\"($0) {axis = 1, exclusive = false, reverse = false} : (tensor<2x3xi1>) -> tensor<2x3xi64>",
       NULL},
      {"\"pinion.cumsum\"($0) {axis = 2, exclusive = false, reverse = false} : (tensor<2x3xi1>) -> tensor<2x3xi64>",
       "'axis' is 2, but the rank is 2"},
      {"\"pinion.cumsum\"($0) {axis = -1, exclusive = false, reverse = false} : (tensor<2x3xf32>) -> tensor<2x3xf32>",
       "'axis' is -1"},
      {"\"pinion.cumsum\"($0) {axis = 0, exclusive = false, reverse = false} : (tensor<3xf32>) -> tensor<3xi64>",
       "f32 does not sum to i64"},
      {"\"pinion.softmax\"($0) {axis = 1} : (tensor<2x3xbf16>) -> tensor<2x3xbf16>", NULL},
      {"\"pinion.softmax\"($0) {axis = 1} : (tensor<2x3xi32>) -> tensor<2x3xi32>", "takes floats"},
  };
  CHECK(state, cases);
}

static void products_check_inner_and_leading_dimensions(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.matmul\"($0, $1) : (tensor<5x1x2x3xf32>, tensor<4x3x7xf32>) -> tensor<5x4x2x7xf32>", NULL},
      {"\"pinion.matmul\"($0, $1) : (tensor<3xf32>, tensor<4x3x7xf32>) -> tensor<4x7xf32>", NULL},
      {"\"pinion.matmul\"($0, $1) : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2xf32>", NULL},
      {"\"pinion.matmul\"($0, $1) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>", NULL},
      {"\"pinion.matmul\"($0, $1) : (tensor<2x3xf32>, tensor<4x2xf32>) -> tensor<2x2xf32>", "inner dimensions"},
      {"\"pinion.matmul\"($0, $1) : (tensor<2x2x3xf32>, tensor<3x3x2xf32>) -> tensor<2x2x2xf32>", "leading dimensions"},
      {"\"pinion.matmul\"($0, $1) : (tensor<f32>, tensor<3x3xf32>) -> tensor<3xf32>", "scalar"},
      {"\"pinion.matmul\"($0, $1) : (tensor<2x3xf32>, tensor<3x2xbf16>) -> tensor<2x2xf32>", "differ"},
      {"\"pinion.conv\"($0, $1, $2) {strides = array<i64: 2, 1>, pads = array<i64: 1, 0, 1, 2>, dilations = array<i64: "
       "1, 2>, group = 2} : (tensor<1x4x5x6xf32>, tensor<6x2x3x2xf32>, tensor<6xf32>) -> tensor<1x6x3x6xf32>",
       NULL},
      {"\"pinion.conv\"($0, $1) {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, "
       "1>, group = 1} : (tensor<1x4x5x6xf32>, tensor<6x2x3x2xf32>) -> tensor<1x6x3x5xf32>",
       "do not fit the channels"},
      {"\"pinion.conv\"($0, $1) {strides = array<i64: 0, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, "
       "1>, group = 1} : (tensor<1x2x5x6xf32>, tensor<6x2x3x2xf32>) -> tensor<1x6x3x5xf32>",
       "leave no room"},
      {"\"pinion.conv\"($0, $1) {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, "
       "1>, group = 1} : (tensor<1x2x2x6xf32>, tensor<6x2x3x2xf32>) -> tensor<1x6x1x5xf32>",
       "leave no room"},
      {"\"pinion.conv\"($0, $1) {strides = array<i64: 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, "
       "group = 1} : (tensor<1x2x5x6xf32>, tensor<6x2x3x2xf32>) -> tensor<1x6x3x5xf32>",
       "'strides' has 1 values, not 2"},
  };
  CHECK(state, cases);
}

static void moves_stay_within_their_operand(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.gather\"($0, $1) {axis = 1} : (tensor<2x3x4xf32>, tensor<5x6xi32>) -> tensor<2x5x6x4xf32>", NULL},
      {"\"pinion.gather\"($0, $1) {axis = 0} : (tensor<2xf32>, tensor<i64>) -> tensor<f32>", NULL},
      {"\"pinion.gather\"($0, $1) {axis = 0} : (tensor<2xf32>, tensor<1xf32>) -> tensor<1xf32>", "not integers"},
      {"\"pinion.slice\"($0) {starts = array<i64: 3, 0>, steps = array<i64: -1, 2>} : (tensor<4x5xf32>) -> "
       "tensor<4x3xf32>",
       NULL},
      {"\"pinion.slice\"($0) {starts = array<i64: 4>, steps = array<i64: 1>} : (tensor<4xf32>) -> tensor<0xf32>", NULL},
      {"\"pinion.slice\"($0) {starts = array<i64: 1>, steps = array<i64: 2>} : (tensor<4xf32>) -> tensor<3xf32>",
       "3 elements from 1 in steps of 2 leave dimension 0"},
      {"\"pinion.slice\"($0) {starts = array<i64: 1>, steps = array<i64: -1>} : (tensor<4xf32>) -> tensor<3xf32>",
       "leave dimension 0"},
      {"\"pinion.slice\"($0) {starts = array<i64: -1>, steps = array<i64: 1>} : (tensor<4xf32>) -> tensor<1xf32>",
       "leave dimension 0"},
      {"\"pinion.slice\"($0) {starts = array<i64: 0>, steps = array<i64: 0>} : (tensor<4xf32>) -> tensor<2xf32>",
       "leave dimension 0"},
      {"\"pinion.slice\"($0) {starts = array<i64: 1>, steps = array<i64: 9223372036854775807>} : (tensor<4xf32>) -> "
       "tensor<2xf32>",
       "leave dimension 0"},
      {"\"pinion.concat\"($0, $1) {axis = 1} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x7xf32>", NULL},
      {"\"pinion.concat\"($0, $1) {axis = 0} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<4x3xf32>",
       "does not continue"},
      {"\"pinion.concat\"($0, $1) {axis = 0} : (tensor<2xf32>, tensor<2xi32>) -> tensor<4xf32>", "does not continue"},
      {"\"pinion.reshape\"($0) : (tensor<2x6xf32>) -> tensor<3x4xf32>", NULL},
      {"\"pinion.reshape\"($0) : (tensor<2x6xf32>) -> tensor<3x5xf32>", "number of elements"},
      {"\"pinion.reshape\"($0) : (tensor<2xf32>) -> tensor<2xi32>", "differ"},
      {"\"pinion.transpose\"($0) {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>", NULL},
      {"\"pinion.transpose\"($0) {permutation = array<i64: 0, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<2x2x3xf32>",
       "'permutation' is none"},
      {"\"pinion.broadcast\"($0) : (tensor<3x1xf32>) -> tensor<2x3x4xf32>", NULL},
      {"\"pinion.broadcast\"($0) : (tensor<3x2xf32>) -> tensor<3x1xf32>", "does not broadcast"},
      {"\"pinion.pad\"($0) {before = array<i64: 1, -1>} : (tensor<3x3xf32>) -> tensor<5x1xf32>", NULL},
      {"\"pinion.pad\"($0, $1) {before = array<i64: 1>} : (tensor<3xf32>, tensor<2xf32>) -> tensor<5xf32>",
       "is no scalar"},
  };
  CHECK(state, cases);
}

static void fused_ops_check_every_operand(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.pointwise\"($0, $1) {body = [\"add x0 x1\", \"lt v0 0\", \"yield v0 v1\"]} : (tensor<3xf32>, "
       "tensor<2x1xbf16>) -> (tensor<2x3xbf16>, tensor<2x3xi1>)",
       NULL},
      {"\"pinion.pointwise\"($0) {body = [\"neg x0\", \"yield v0 v0\"]} : (tensor<3xf32>) -> tensor<3xf32>",
       "yields 2 results, not 1"},
      {"\"pinion.pointwise\"($0) {body = [\"neg x0\", \"yield v0\"]} : (tensor<3xf32>) -> tensor<3xi32>",
       "is f32, stored as i32"},
      {"\"pinion.pointwise\"($0) {body = [\"neg x1\", \"yield v0\"]} : (tensor<3xf32>) -> tensor<3xf32>",
       "no such input"},
      {"\"pinion.pointwise\"($0) {body = [\"neg x0\", \"yield v0\"]} : (tensor<3xf32>) -> tensor<1xf32>",
       "does not broadcast"},
      {"\"pinion.pointwise\"($0) {body = [\"neg x0\", \"yield v0 v0\"]} : (tensor<3xf32>) -> (tensor<3xf32>, "
       "tensor<1x3xf32>)",
       "result 1 is"},
      {"\"pinion.gemm\"($0, $1, $2) {body = [\"add x0 x1\", \"yield v0\"], transpose_b = true} : (tensor<2x3xbf16>, "
       "tensor<5x3xbf16>, tensor<5xbf16>) -> tensor<2x5xbf16>",
       NULL},
      {"\"pinion.gemm\"($0, $1) {body = [\"yield x0\"], transpose_b = false} : (tensor<2x3xbf16>, tensor<5x3xbf16>) -> "
       "tensor<2x5xbf16>",
       "inner dimensions"},
      {"\"pinion.gemm\"($0, $1, $2) {body = [\"yield x0\"], transpose_b = true} : (tensor<2x3xbf16>, tensor<5x3xbf16>, "
       "tensor<2xbf16>) -> tensor<2x5xbf16>",
       "does not broadcast to the product"},
      {"\"pinion.norm\"($0, $1) {kind = \"rms\", axis = 2, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, "
       "1, 0>} : (tensor<2x3x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32>",
       NULL},
      {"\"pinion.norm\"($0, $1) {kind = \"rms\", axis = 2, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, "
       "1, 0>} : (tensor<2x3x4xf32>, tensor<3xf32>) -> tensor<2x3x4xf32>",
       "does not broadcast"},
      {"\"pinion.norm\"($0) {kind = \"group\", axis = 2, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, "
       "0, "
       "0>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>",
       "no kind 'group'"},
      {"\"pinion.rope\"($0, $1, $2) {interleaved = false} : (tensor<2x3x4x6xf32>, tensor<1x4x2xf32>, "
       "tensor<2x4x2xf32>) -> tensor<2x3x4x6xf32>",
       NULL},
      {"\"pinion.rope\"($0, $1, $2) {interleaved = false} : (tensor<2x3x4x6xf32>, tensor<1x4x4xf32>, "
       "tensor<1x4x4xf32>) -> tensor<2x3x4x6xf32>",
       "is not [B or 1, S, R/2]"},
      {"\"pinion.attention\"($0, $1, $2, $3) {scale = 1.0 : f64, causal = false} : (tensor<1x4x2x8xf32>, "
       "tensor<1x2x3x8xf32>, tensor<1x2x3x5xf32>, tensor<1x1x2x3xi1>) -> tensor<1x4x2x5xf32>",
       NULL},
      {"\"pinion.attention\"($0, $1, $2) {scale = 1.0 : f64, causal = false} : (tensor<1x4x2x8xf32>, "
       "tensor<1x3x3x8xf32>, tensor<1x3x3x5xf32>) -> tensor<1x4x2x5xf32>",
       "are not [B,H,Q,D]"},
      {"\"pinion.attention\"($0, $1, $2, $3) {scale = 1.0 : f64, causal = false} : (tensor<1x4x2x8xf32>, "
       "tensor<1x2x3x8xf32>, tensor<1x2x3x5xf32>, tensor<1x1x2x4xf32>) -> tensor<1x4x2x5xf32>",
       "does not broadcast to [B,H,Q,K]"},
#define LIMITED(limits)                                                                                                \
  "\"pinion.attention\"($0, $1, $2) {scale = 1.0 : f64, causal = false, limits = array<i64: " limits ">} : "           \
  "(tensor<1x4x6x8xf32>, tensor<1x2x7x8xf32>, tensor<1x2x7x5xf32>) -> tensor<1x4x6x5xf32>"
      {LIMITED("7"), NULL},
      {LIMITED("2, 1, 5, 5, 7"), NULL},
      {LIMITED("2, 1"), "'limits' are not rising limits from 1 to 7 keys, each from a query on"},
      {LIMITED("0, 1, 2"), "'limits'"},
      {LIMITED("3, 1, 2"), "'limits'"},
      {LIMITED("2, 3, 4, 3, 5"), "'limits'"},
      {LIMITED("2, 6, 5"), "'limits'"},
      {LIMITED("8"), "'limits'"},
#undef LIMITED
  };
  CHECK(state, cases);
}

static void steps_need_a_row_per_step(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.steps\"($0, $1, $2) {callee = @step, count = 4, tables = 1} : (tensor<2xf32>, tensor<3xf32>, "
       "tensor<4x2xf32>) -> tensor<2xf32>",
       NULL},
      {"\"pinion.steps\"($0, $1, $2) {callee = @step, count = 4, tables = 2} : (tensor<2xf32>, tensor<3xf32>, "
       "tensor<4x2xf32>) -> tensor<2xf32>",
       "has no row for each of 4 steps"},
      {"\"pinion.steps\"($0) {callee = @step, count = 4, tables = 1} : (tensor<2xf32>) -> tensor<2xf32>",
       "1 tables of 1 operands"},
      {"\"pinion.steps\"($0) {callee = @step, count = 0, tables = 0} : (tensor<2xf32>) -> tensor<2xf32>",
       "'count' is 0"},
  };
  CHECK(state, cases);
}

#define BUFFER(space, offset, bytes, pitch, type)                                                                      \
  "\"pinion.buffer\"() {name = \"b\", space = \"" space "\", offset = " offset ", bytes = " bytes ", pitch = " pitch   \
  "} : () -> " type

static void buffers_have_a_place_and_a_pitch(void **state) {
  static const shape_case cases[] = {
      {BUFFER("arena", "-1", "48", "4", "memref<3x3xf32>"), NULL},
      {BUFFER("heap", "0", "48", "4", "memref<3x3xf32>"), "no space 'heap'"},
      {BUFFER("arena", "-2", "48", "4", "memref<3x3xf32>"), "cannot be"},
      {BUFFER("arena", "0", "48", "2", "memref<3x3xf32>"), "cannot be"},
  };
  CHECK(state, cases);
}

/* A gemm of x[2,4,3] and b[3,24] with the attributes, further operands, their types and the results that a case varies.
 */
#define GEMM(attributes, operands, types, results)                                                                     \
  "\"pinion.gemm\"($0, $1" operands ") {" attributes                                                                   \
  ", transpose_b = false} : (tensor<2x4x3xf32>, tensor<3x24xf32>" types ") -> " results
#define BODY(...) "body = [" __VA_ARGS__ "]"
#define PAIR BODY("\"mul x0 x1\", \"yield v0\"") ", accumulators = 2 : i64"
#define HEADS BODY("\"yield x0\"") ", groups = 3 : i64"
#define ROW_SUM BODY("\"mul x0 x1\", \"yield v0\"") ", row_sums = 1 : i64"
#define ROW_MASK ", row_mask = true"
#define COLUMN_SUM BODY("\"yield x0 x0\"") ", column_sums = 1 : i64"

static void forms_of_a_gemm_have_the_shapes_that_they_say(void **state) {
  static const shape_case cases[] = {
      {GEMM(PAIR, "", "", "tensor<2x4x12xf32>"), NULL},
      {GEMM(PAIR, "", "", "tensor<2x4x24xf32>"), "result 0 is f32[2,4,12]"},
      {GEMM(BODY("\"yield x1\""), "", "", "tensor<2x4x24xf32>"), "no such input"},
      {GEMM(BODY("\"yield x0\"") ", accumulators = 3 : i64", "", "", "tensor<2x4x8xf32>"), "one accumulator or two"},
      {GEMM(HEADS, "", "", "tensor<2x4x3x8xf32>"), NULL},
      {GEMM(HEADS, "", "", "tensor<2x4x24xf32>"), "result 0 is f32[2,4,3,8]"},
      {GEMM(BODY("\"yield x0\"") ", groups = 5 : i64", "", "", "tensor<2x4x5x5xf32>"), "do not divide into"},
      {GEMM(BODY("\"yield x0\"") ", groups = 0 : i64", "", "", "tensor<2x4x24xf32>"), "has 0 groups"},
      {GEMM(BODY("\"add x0 x1\", \"yield v0\"") ", groups = 3 : i64", ", $2", ", tensor<4x1x8xf32>",
            "tensor<2x4x3x8xf32>"),
       NULL},
      {GEMM(BODY("\"add x0 x1\", \"yield v0\"") ", groups = 3 : i64", ", $2", ", tensor<24xf32>",
            "tensor<2x4x3x8xf32>"),
       "does not broadcast to the product f32[2,4,3,8]"},
      {GEMM(BODY("\"cast.f32 x1\", \"mul x0 v0\", \"yield v1\"") ", groups = 3 : i64, parts = array<i64: 1, 2>", "", "",
            "(tensor<2x4x1x8xf32>, tensor<2x4x1x8xf32>, tensor<2x4x1x8xf32>)"),
       NULL},
      {GEMM(HEADS ", parts = array<i64: 2>", "", "", "(tensor<2x4x2x8xf32>, tensor<2x4x1x8xf32>)"), NULL},
      {GEMM(HEADS ", parts = array<i64: 2>", "", "", "(tensor<2x4x2x8xf32>, tensor<2x4x2x8xf32>)"), "result 1 is"},
      {GEMM(HEADS ", parts = array<i64: 2>", "", "", "(tensor<2x4x2x8xf32>, tensor<2x4x1x8xbf16>)"),
       "result 1 is f32[2,4,1,8]"},
      {GEMM(HEADS ", parts = array<i64: 2>", "", "", "tensor<2x4x2x8xf32>"), "1 results do not divide among 2 parts"},
      {GEMM(HEADS ", parts = array<i64: 3>", "", "", "(tensor<2x4x2x8xf32>, tensor<2x4x1x8xf32>)"), "no ranges of 3"},
      {GEMM(HEADS ", parts = array<i64: 1, 1>", "", "", "tensor<2x4x3x8xf32>"), "no ranges of 3"},
      {GEMM(HEADS ", parts = array<i64: 1, 2, 3>", "", "", "tensor<2x4x3x8xf32>"), "4 parts, of at most 3"},
      {GEMM(ROW_SUM, ", $2", ", tensor<4x5xf32>", "tensor<2x4x24xf32>"), NULL},
      {GEMM(ROW_SUM, ", $2", ", tensor<2x1x5xf32>", "tensor<2x4x24xf32>"), NULL},
      {GEMM(ROW_SUM, ", $2", ", tensor<4x5xbf16>", "tensor<2x4x24xf32>"), "row sum bf16[4,5] is not f32"},
      {GEMM(ROW_SUM, ", $2", ", tensor<3x5xf32>", "tensor<2x4x24xf32>"), "rows that broadcast to f32[2,4]"},
      {GEMM(BODY("\"yield x0\"") ", row_sums = 1 : i64", "", "", "tensor<2x4x24xf32>"), "sums 1 of 0 operands"},
      {GEMM(HEADS ROW_MASK, ", $2", ", tensor<4x1xi1>", "tensor<2x4x3x8xf32>"), NULL},
      {GEMM(ROW_SUM ROW_MASK, ", $2, $3", ", tensor<4x5xf32>, tensor<2x4x1xi1>", "tensor<2x4x24xf32>"), NULL},
      {GEMM(ROW_SUM ROW_MASK, ", $2", ", tensor<4x5xf32>", "tensor<2x4x24xf32>"), "sums 1 of 0 operands"},
      {GEMM(HEADS ROW_MASK, ", $2", ", tensor<4x1xf32>", "tensor<2x4x3x8xf32>"), "row mask f32[4,1] is not i1"},
      {GEMM(HEADS ROW_MASK, ", $2", ", tensor<4x8xi1>", "tensor<2x4x3x8xf32>"), "broadcasts to the rows f32[2,4,1]"},
      {GEMM(COLUMN_SUM, "", "", "(tensor<2x4x24xbf16>, tensor<2x4x1xf32>)"), NULL},
      {GEMM(COLUMN_SUM, "", "", "(tensor<2x4x24xbf16>, tensor<2x4x24xf32>)"), "result 1 is f32[2,4,1]"},
      {GEMM(COLUMN_SUM, "", "", "(tensor<2x4x24xbf16>, tensor<2x4x1xbf16>)"), "result 1 is f32[2,4,1]"},
      {GEMM(COLUMN_SUM ", groups = 3 : i64", "", "", "(tensor<2x4x3x8xbf16>, tensor<2x4x3x1xf32>)"), ", and groups"},
  };
  CHECK(state, cases);
}

/* A launch of two arguments, a result and an operand, with the attributes that a case varies. */
#define LAUNCH(family, results, sizes, strides, offsets, body)                                                         \
  "\"pinion.launch\"($0, $1) {family = \"" family "\", results = " results ", sizes = array<i64: " sizes               \
  ">, strides = [" strides "], offsets = array<i64: " offsets ">, step_strides = array<i64: 0, 0>, " body              \
  "integers = array<i64>, scalars = [], stage = 0, nodes = [], after = array<i64>} : (memref<2x3xf32>, "               \
  "memref<3xf32>) -> ()"
#define ROWS "array<i64: 3, 1>, array<i64: 0, 1>"
#define TANH "body = [\"tanh x0\", \"yield v0\"], "

static void launches_have_strides_per_argument_and_a_fitting_body(void **state) {
  static const shape_case cases[] = {
      {LAUNCH("pointwise", "1", "2, 3", ROWS, "0, 0", TANH), NULL},
      {LAUNCH("softmax", "1", "2, 3", ROWS, "0, 0", ""), NULL},
      {LAUNCH("pointwise", "1", "2, 3", ROWS, "0, 0", ""), "body"},
      {LAUNCH("pointwise", "1", "2, 3", ROWS, "0, 0", "body = [\"tanh x1\", \"yield v0\"], "), "no such input"},
      {LAUNCH("pointwise", "2", "2, 3", ROWS, "0, 0", TANH), "no such input"},
      {LAUNCH("pointwise", "0", "2, 3", ROWS, "0, 0", TANH), "0 results of 2 arguments"},
      {LAUNCH("convolve", "1", "2, 3", ROWS, "0, 0", TANH), "no family 'convolve'"},
      {LAUNCH("pointwise", "1", "2, 3", "array<i64: 3, 1>", "0, 0", TANH), "one array per argument"},
      {LAUNCH("pointwise", "1", "6", ROWS, "0, 0", TANH), "strides of argument 0 are not 1 integers"},
      {LAUNCH("pointwise", "1", "2, -3", ROWS, "0, 0", TANH), "size -3 is negative"},
      {LAUNCH("pointwise", "1", "2, 3", ROWS, "0", TANH), "'offsets' must have one integer per argument"},
      {LAUNCH("gemm", "1", "2, 3", ROWS, "0, 0", TANH), "a gemm has sizes"},
  };
  CHECK(state, cases);
}

/* A launch of a gemm: a result or two, a, b and an operand. */
#define NOWHERE "array<i64: 0, 0, 0, 0, 0, 0, 0>"
#define GEMM_LAUNCH(results, sizes, integers, body, types)                                                             \
  "\"pinion.launch\"($0, $1, $2, $3) {family = \"gemm\", results = " results ", sizes = array<i64: " sizes             \
  ">, strides = [" NOWHERE ", " NOWHERE ", " NOWHERE ", " NOWHERE                                                      \
  "], offsets = array<i64: 0, 0, 0, 0>, step_strides = "                                                               \
  "array<i64: 0, 0, 0, 0>, " body "integers = array<i64" integers ">, scalars = [], stage = 0, nodes = [], "           \
  "after = array<i64>} : (" types ") -> ()"
#define FLOATS "memref<9xf32>, memref<9xf32>, memref<9xf32>, memref<9xf32>"
#define ADD "body = [\"add x0 x1\", \"yield v0\"], "

static void launches_of_a_gemm_fit_its_contract(void **state) {
  static const shape_case cases[] = {
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", "", ADD, FLOATS), NULL},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", "", "", FLOATS), "without a body has one accumulator and stores it"},
      {GEMM_LAUNCH("2", "1, 1, 2, 1, 3, 1, 4", "", "", FLOATS), "without a body has one accumulator and stores it"},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 2, 4", "", "body = [\"mul x1 x2\", \"yield v0\"], ", FLOATS), NULL},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 3, 4", "", ADD, FLOATS), "one accumulator or two"},
      {GEMM_LAUNCH("2", "1, 1, 2, 4, 3, 1, 4", ": 1, 0, 0, 0, 0, 2", "body = [\"yield x0\"], ", FLOATS), NULL},
      {GEMM_LAUNCH("2", "1, 1, 2, 4, 3, 1, 4", ": 4, 0, 0, 0, 0, 2", "body = [\"yield x0\"], ", FLOATS), "no ranges"},
      {GEMM_LAUNCH("2", "1, 1, 2, 4, 3, 1, 4", ": 1, 2, 0, 0, 0, 2", "body = [\"yield x0\"], ", FLOATS),
       "do not divide"},
      {GEMM_LAUNCH("2", "1, 1, 2, 4, 3, 1, 4", ": 1, 0, 0, 0, 0, 0", "body = [\"yield x0\"], ", FLOATS),
       "do not divide"},
      {GEMM_LAUNCH("1", "1, 1, 2, 4, 3, 1, 4", ": 1, 0, 0, 0, 0, 2", "body = [\"yield x0\"], ", FLOATS),
       "has 1 results"},
      {GEMM_LAUNCH("2", "1, 1, 2, 4, 3, 1, 4", ": 1, 0, 0, 0, 0, 2", "body = [\"yield x0\"], ",
                   "memref<9xf32>, memref<9xbf16>, memref<9xf32>, memref<9xf32>"),
       "of different types"},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 1, 5", ADD, FLOATS), NULL},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 2, 5", ADD, FLOATS), "fewer operands than row sums"},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 1, 0", ADD, FLOATS), "sums of nothing"},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 1, 5", ADD,
                   "memref<9xf32>, memref<9xf32>, memref<9xf32>, memref<9xbf16>"),
       "argument 3 of a gemm is a sum of bf16"},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 0, 0, 0, 1, 1", "body = [\"yield x0\"], ",
                   "memref<9xf32>, memref<9xf32>, memref<9xf32>, memref<9xi1>"),
       NULL},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 0, 0, 0, 1, 1", "body = [\"yield x0\"], ", FLOATS),
       "the row mask of a gemm is of f32"},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 0, 0, 0, 1, 2", ADD, FLOATS), "one row mask or none"},
      {GEMM_LAUNCH("1", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 1, 5, 0, 1, 1", ADD, FLOATS), "fewer operands than row sums"},
      {GEMM_LAUNCH("2", "1, 1, 2, 1, 3, 1, 4", ": 0, 0, 0, 0, 1, 2", "body = [\"yield x0 x0\"], ", FLOATS), NULL},
      {GEMM_LAUNCH("2", "1, 1, 2, 4, 3, 1, 4", ": 0, 0, 0, 0, 1, 2", "body = [\"yield x0 x0\"], ", FLOATS),
       "of one group"},
  };
  CHECK(state, cases);
}

/* What MLIR would check of a registered op. */
static void ops_of_another_form_are_refused(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.nonesuch\"($0) : (tensor<2xf32>) -> tensor<2xf32>", "is no op of Pinion's IR"},
      {"\"other.op\"($0) : (tensor<2xf32>) -> tensor<2xf32>", "is no op of Pinion's IR"},
      {"\"pinion.unary\"($0, $1) {kind = \"neg\"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>",
       "too few or too many operands"},
      {"\"pinion.unary\"($0) {kind = \"neg\"} : (tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>)",
       "has 1 results, not 2"},
      {"\"pinion.unary\"($0) ({}) {kind = \"neg\"} : (tensor<2xf32>) -> tensor<2xf32>", "neither regions"},
      {"\"pinion.unary\"($0) : (tensor<2xf32>) -> tensor<2xf32>", "attribute 'kind'"},
      {"\"pinion.unary\"($0) {kind = 3} : (tensor<2xf32>) -> tensor<2xf32>", "attribute 'kind'"},
      {"\"pinion.unary\"($0) {kind = \"neg\"} : (tensor<?xf32>) -> tensor<?xf32>", "static tensors"},
      {"\"pinion.unary\"($0) {kind = \"neg\"} : (tensor<2xcomplex<f32>>) -> tensor<2xcomplex<f32>>", "static tensors"},
      {"\"pinion.norm\"($0) {kind = \"rms\", axis = 0, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, 1, "
       "0>} : (tensor<2xf32>) -> tensor<2xf32>",
       "operandSegmentSizes"},
      {"\"pinion.norm\"($0) {kind = \"rms\", axis = 0, epsilon = 1.0e-6 : f64, operandSegmentSizes = \"1\"} : "
       "(tensor<2xf32>) -> tensor<2xf32>",
       "operandSegmentSizes"},
  };
  CHECK(state, cases);
}

static tensor_type type_of(pinion_dtype dtype, int rank, const int64_t *dims) {
  tensor_type type = {.dtype = dtype, .rank = rank};
  memcpy(type.dims, dims, (size_t)rank * sizeof *dims);
  return type;
}

/* build_op asks before the op exists: without a declared type the rule must find the result alone. */
static void rules_infer_what_follows_from_operands(void **state) {
  ir_test *t = *state;
  MlirContext context = t->c.context;
  tensor_type operands[2] = {type_of(PINION_DTYPE_f32, 3, (int64_t[]){2, 1, 3}),
                             type_of(PINION_DTYPE_f32, 2, (int64_t[]){4, 3})};
  MlirNamedAttribute kind = make_named(context, "kind", make_str(context, "le"));
  shape_query query = {
      .arena = t->c.arena, .operand_count = 2, .operands = operands, .attribute_count = 1, .attributes = &kind};
  tensor_type result;
  const char *why = "";
  assert_true(shape_of_binary(&query, &result, &why));
  assert_string_equal(shape_text(t->c.arena, &result), "bool[2,4,3]");
  MlirNamedAttribute reduce[] = {make_named(context, "kind", make_str(context, "mean")),
                                 make_named(context, "axes", make_i64s(context, 1, (int64_t[]){0})),
                                 make_named(context, "keep", make_bool(context, false))};
  query = (shape_query){
      .arena = t->c.arena, .operand_count = 1, .operands = operands, .attribute_count = 3, .attributes = reduce};
  assert_true(shape_of_reduce(&query, &result, &why));
  assert_string_equal(shape_text(t->c.arena, &result), "f32[1,3]");
}

static void rules_that_need_a_declared_type_say_so(void **state) {
  ir_test *t = *state;
  tensor_type operand = type_of(PINION_DTYPE_f32, 1, (int64_t[]){4}), result;
  shape_query query = {.arena = t->c.arena, .operand_count = 1, .operands = &operand};
  const char *why = "";
  assert_false(shape_of_reshape(&query, &result, &why));
  assert_string_equal(why, "the result's type must be given");
}

static void absurd_results_are_refused_before_they_overflow(void **state) {
  ir_test *t = *state;
  int64_t huge = INT64_C(1) << 40;
  tensor_type operands[2] = {type_of(PINION_DTYPE_f32, 2, (int64_t[]){huge, 1}),
                             type_of(PINION_DTYPE_f32, 2, (int64_t[]){1, huge})};
  shape_query query = {.arena = t->c.arena, .operand_count = 2, .operands = operands};
  tensor_type result;
  const char *why = "";
  assert_false(shape_of_matmul(&query, &result, &why));
  assert_non_null(strstr(why, "too large"));
}

static void types_too_large_to_address_are_refused(void **state) {
  static const shape_case cases[] = {
      {"\"pinion.reshape\"($0) : (tensor<4611686018427387904x4xf32>) -> tensor<0xf32>", "is too large"},
      {"\"pinion.concat\"($0, $1) {axis = 0} : (tensor<9223372036854775807xi8>, tensor<9223372036854775807xi8>) -> "
       "tensor<1xi8>",
       "is too large"},
      {"\"pinion.weight\"() {name = \"w\", file = \"f\", offset = 0} : () -> tensor<4294967296x4294967296xf32>",
       "is too large"},
      {"\"pinion.pointwise\"($0) {body = [\"neg x0\", \"yield v0\"]} : (tensor<1xf32>) -> "
       "tensor<4294967296x4294967296xf32>",
       "is too large"},
  };
  CHECK(state, cases);
}

static void every_op_of_the_table_has_a_rule(void **state) {
  (void)state;
  for (int kind = 0; kind < OP_COUNT; kind++) assert_non_null(shape_rule_of((op_kind)kind));
  assert_null(shape_rule_of(OP_NONE));
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ir_test_begin, ir_test_end)
      TEST(elementwise_ops_broadcast_and_check_types),
      TEST(ops_along_axes_check_their_axes),
      TEST(products_check_inner_and_leading_dimensions),
      TEST(moves_stay_within_their_operand),
      TEST(fused_ops_check_every_operand),
      TEST(steps_need_a_row_per_step),
      TEST(buffers_have_a_place_and_a_pitch),
      TEST(forms_of_a_gemm_have_the_shapes_that_they_say),
      TEST(launches_have_strides_per_argument_and_a_fitting_body),
      TEST(launches_of_a_gemm_fit_its_contract),
      TEST(ops_of_another_form_are_refused),
      TEST(rules_infer_what_follows_from_operands),
      TEST(rules_that_need_a_declared_type_say_so),
      TEST(absurd_results_are_refused_before_they_overflow),
      TEST(types_too_large_to_address_are_refused),
      TEST(every_op_of_the_table_has_a_rule),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
