/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Scalar bodies: parse and print, refusals, one element's value, and the C text, compiled and run. */
#include "ir/body.h"
#include "ir/scalar.h"
#include "ir_testing.h"

#include <dlfcn.h>
#include <math.h>
#include <unistd.h>

/* ---- Text to struct and back ---- */

/* "add x0 x1; yield v0" as an attribute. */
static MlirAttribute attribute_of(MlirContext context, const char *source) {
  MlirAttribute lines[64];
  intptr_t count = 0;
  for (const char *at = source; *at;) {
    size_t length = strcspn(at, ";");
    lines[count++] = mlirStringAttrGet(context, mlirStringRefCreate(at, length));
    at += length;
    at += strspn(at, "; ");
  }
  return mlirArrayAttrGet(context, count, lines);
}

static body *parse(ir_test *t, const char *source, int input_count, const pinion_dtype *inputs, const char **out_why) {
  body *b = arena_alloc(t->c.arena, sizeof *b);
  *out_why = "";
  return body_parse(t->c.arena, attribute_of(t->c.context, source), input_count, inputs, b, out_why) ? b : NULL;
}

static void a_body_knows_the_types_of_its_values(void **state) {
  const pinion_dtype inputs[] = {PINION_DTYPE_f32, PINION_DTYPE_bf16, PINION_DTYPE_bf16};
  const char *why;
  body *b =
      parse(*state, "add x0 x1; cast.bf16 v0; mul v1 x2; lt v2 0.5; select v3 x1 x2; yield v2 v4", 3, inputs, &why);
  assert_non_null(b);
  assert_int_equal(b->instruction_count, 5);
  assert_int_equal(b->instructions[0].dtype, PINION_DTYPE_f32); /* f32 and bf16 mix in f32 */
  assert_int_equal(b->instructions[1].dtype, PINION_DTYPE_bf16);
  assert_int_equal(b->instructions[2].dtype, PINION_DTYPE_f32); /* a product of bf16 is not rounded yet */
  assert_int_equal(b->instructions[3].dtype, PINION_DTYPE_bool);
  assert_int_equal(b->instructions[4].dtype, PINION_DTYPE_bf16); /* a choice of bf16 is bf16 */
  assert_int_equal(b->result_count, 2);
  assert_int_equal(b->result_dtypes[1], PINION_DTYPE_bf16);
  assert_true(b->instructions[3].operands[1].kind == BODY_LITERAL && b->instructions[3].operands[1].literal == 0.5);
}

static void a_body_prints_as_it_was_written(void **state) {
  ir_test *t = *state;
  static const char *const sources[] = {
      "yield x0",
      "add x0 x1; cast.bf16 v0; mul v1 x2; yield v2",
      "mul x0 0.1; add v0 -3; max v1 -inf; min v2 nan; const.i64 -7; yield v3 v4",
      "const.f32 0.044715; mul x0 v0; gelu_tanh v1; isnan v2; not v3; select v4 x0 1e-30; yield v5",
  };
  const pinion_dtype inputs[] = {PINION_DTYPE_f32, PINION_DTYPE_f32, PINION_DTYPE_bf16};
  for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
    const char *why;
    body *b = parse(t, sources[i], 3, inputs, &why);
    if (!b) fail_msg("%s: %s", sources[i], why);
    assert_true(mlirAttributeEqual(body_attribute(t->c.context, b), attribute_of(t->c.context, sources[i])));
  }
}

static void a_body_that_makes_no_sense_is_refused_with_a_reason(void **state) {
  static const struct {
    const char *source, *reason;
  } cases[] = {
      {"add x0 x0", "does not end in yield"},
      {"yield x0; add x0 x0", "not the body's last"},
      {"yield", "wrong number of results"},
      {"yield 1", "use const.TYPE"},
      {"add x0 x9; yield v0", "no such input"},
      {"add x0 v0; yield v0", "no such earlier value"},
      {"add x0; yield v0", "wrong number of operands"},
      {"exp x0 x0; yield v0", "wrong number of operands"},
      {"frobnicate x0; yield v0", "no such operation"},
      {"add 1 2; yield v0", "literals alone"},
      {"add x0 x1; yield v0", "different types"},
      {"add x1 0.5; yield v0", "does not fit"},
      {"add x1 1e300; yield v0", "does not fit"},
      {"exp x1; yield v0", "exp does not take i32"},
      {"select x0 x0 x0; yield v0", "not a bool"},
      {"cast.f31 x0; yield v0", "no such type"},
      {"cast.bf16 1; yield v0", "takes no literal"},
      {"const.bf16 x0; yield v0", "takes a literal"},
      {"const.u8 256; yield v0", "does not fit"},
      {"add.f32 x0 x0; yield v0", "takes no type"},
      {"add x0 zero; yield v0", "not an input, a value or a number"},
      {"; yield x0", "empty instruction"},
  };
  const pinion_dtype inputs[] = {PINION_DTYPE_f32, PINION_DTYPE_i32};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *why;
    if (parse(*state, cases[i].source, 2, inputs, &why)) fail_msg("'%s' is accepted", cases[i].source);
    if (!strstr(why, cases[i].reason)) fail_msg("'%s': %s", cases[i].source, why);
  }
}

/* ---- What depends on the last inputs alone ---- */

static void what_a_row_s_sums_come_to_leaves_the_body(void **state) {
  ir_test *t = *state;
  const pinion_dtype inputs[] = {PINION_DTYPE_f32, PINION_DTYPE_bf16, PINION_DTYPE_f32, PINION_DTYPE_f32};
  static const struct {
    int sums;                         /* x2, or x2 and x3 */
    const char *whole, *ahead, *rest; /* rest NULL: stays as it is */
  } cases[] = {
      /* An RMS norm's row scale, used twice. */
      {1, "mul x2 0.5; add v0 1e-06; rsqrt v1; mul x0 v2; mul x1 v2; yield v3 v4",
       "mul x0 0.5; add v0 1e-06; rsqrt v1; yield v2", "mul x0 x2; mul x1 x2; yield v0 v1"},
      /* A literal on both sides. */
      {1, "const.f32 0.25; mul x2 v0; add x0 v1; mul v2 v0; yield v3", "const.f32 0.25; mul x0 v0; yield v1",
       "const.f32 0.25; add x0 x2; mul v1 v0; yield v2"},
      /* It is a result, too; and it comes after what does not need it. */
      {1, "add x0 x1; neg x2; mul v0 v1; yield v2 v1", "neg x0; yield v0", "add x0 x1; mul v0 x2; yield v1 x2"},
      {1, "mul x0 x2; yield v0", NULL, NULL},                            /* nothing is computed of it alone */
      {1, "neg x2; exp x2; mul v0 v1; yield x0", NULL, NULL},            /* nothing of it is wanted */
      {1, "neg x2; exp x2; mul x0 v0; mul v2 v1; yield v3", NULL, NULL}, /* two values are */
      {1, "neg x2; mul x0 v0; mul v1 x2; yield v2", NULL, NULL},         /* it is itself */
      {1, "lt x2 0; select v0 x0 x1; yield v1", NULL, NULL},             /* a truth is not stored as a float */
      /* A layer norm's row scale, of both sums: it takes the first one's place, and nothing the second's. */
      {2, "mul x2 0.5; mul x3 0.5; mul v0 v0; sub v1 v2; rsqrt v3; mul x0 v4; yield v5",
       "mul x0 0.5; mul x1 0.5; mul v0 v0; sub v1 v2; rsqrt v3; yield v4 x1", "mul x0 x2; yield v0"},
      /* A value of each; a value of both beside a sum that the rest takes as it is. */
      {2, "neg x3; exp x2; mul x0 v0; mul v2 v1; yield v3", "neg x1; exp x0; yield v0 v1",
       "mul x0 x2; mul v0 x3; yield v1"},
      {2, "add x2 x3; mul x0 v0; mul v1 x2; yield v2", "add x0 x1; yield x0 v0", "mul x0 x3; mul v0 x2; yield v1"},
      /* Three values have no place. */
      {2, "neg x2; exp x2; neg x3; mul x0 v0; mul v3 v1; mul v4 v2; yield v5", NULL, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *why;
    body ahead, *b = parse(t, cases[i].whole, 2 + cases[i].sums, inputs, &why);
    if (!b) fail_msg("%s: %s", cases[i].whole, why);
    assert_int_equal(body_split(b, 2, &ahead), cases[i].ahead != NULL);
    const char *rest = cases[i].rest ? cases[i].rest : cases[i].whole;
    assert_true(mlirAttributeEqual(body_attribute(t->c.context, b), attribute_of(t->c.context, rest)));
    const char *own = cases[i].sums == 1 ? "yield x0" : "yield x0 x1",
               *expected = cases[i].ahead ? cases[i].ahead : own;
    assert_true(mlirAttributeEqual(body_attribute(t->c.context, &ahead), attribute_of(t->c.context, expected)));
  }
}

static void a_body_of_too_many_instructions_is_refused(void **state) {
  ir_test *t = *state;
  MlirAttribute lines[BODY_MAX_INSTRUCTIONS + 2];
  const pinion_dtype input = PINION_DTYPE_f32;
  for (int i = 0; i <= BODY_MAX_INSTRUCTIONS; i++) lines[i] = make_str(t->c.context, "neg x0");
  lines[BODY_MAX_INSTRUCTIONS + 1] = make_str(t->c.context, "yield v0");
  body *b = arena_alloc(t->c.arena, sizeof *b);
  const char *why = "";
  MlirAttribute all = mlirArrayAttrGet(t->c.context, BODY_MAX_INSTRUCTIONS + 2, lines);
  assert_false(body_parse(t->c.arena, all, 1, &input, b, &why));
  assert_non_null(strstr(why, "too many instructions"));
  all = mlirArrayAttrGet(t->c.context, BODY_MAX_INSTRUCTIONS + 1, lines + 1);
  assert_true(body_parse(t->c.arena, all, 1, &input, b, &why));
}

/* ---- One element ---- */

static double value(const char *operation, pinion_dtype dtype, double a, double b) {
  return body_scalar(operation, dtype, (const double[]){a, b});
}

static void scalars_have_the_values_that_the_table_says(void **state) {
  (void)state;
  const pinion_dtype f32 = PINION_DTYPE_f32, i64 = PINION_DTYPE_i64, i8 = PINION_DTYPE_i8, u8 = PINION_DTYPE_u8;
  assert_true(value("div", i64, -7, 2) == -3 && value("mod", i64, -7, 3) == 2 && value("mod", i64, 7, -3) == -2);
  assert_true(value("mod", f32, -7, 3) == -1);
  assert_true(value("div", i64, 5, 0) == 0 && value("mod", i64, 5, 0) == 0);
  assert_true(value("add", i8, 127, 1) == -128 && value("sub", u8, 0, 1) == 255 && value("neg", i8, -128, 0) == -128);
  assert_true(value("pow", i64, 3, 4) == 81 && value("pow", i64, 2, -1) == 0 && value("pow", i64, -1, -3) == -1);
  assert_true(value("round", f32, 2.5, 0) == 2 && value("round", f32, 3.5, 0) == 4 &&
              value("round", f32, -0.5, 0) == 0);
  assert_true(isnan(value("max", f32, NAN, 1)) && isnan(value("max", f32, 1, NAN)) &&
              isnan(value("relu", f32, NAN, 0)));
  assert_true(value("sign", f32, -0.25, 0) == -1 && value("isnan", f32, NAN, 0) == 1);
  assert_true(fabs(value("sigmoid", f32, -800, 0)) < 1e-300 && value("sigmoid", f32, 800, 0) == 1);
  assert_true(fabs(value("gelu_erf", f32, 1, 0) - 0.84134474606854293) < 1e-15);
  assert_true(fabs(value("gelu_tanh", f32, 1, 0) - 0.84119199060827676) < 1e-12);
  assert_true(fabs(value("silu", f32, 2, 0) - 1.7615941559557649) < 1e-15);
  assert_true(fabs(value("gelu_erf", f32, -10, 0) + 7.619853024160527e-23) < 1e-36); /* no cancellation in the tail */
  assert_true(isnan(value("frobnicate", f32, 1, 1)));
}

static void casts_round_to_even_and_saturate(void **state) {
  (void)state;
  const pinion_dtype f32 = PINION_DTYPE_f32, i64 = PINION_DTYPE_i64;
  assert_true(value("cast.bf16", f32, 1 + 0x1p-8, 0) == 1 && value("cast.bf16", f32, 1 + 0x3p-8, 0) == 1 + 0x1p-6);
  assert_true(value("cast.f16", f32, 65519, 0) == 65504 && isinf(value("cast.f16", f32, 65520, 0)));
  assert_true(value("cast.f16", f32, 0x1p-25, 0) == 0 && value("cast.f16", f32, 0x1.8p-25, 0) == 0x1p-24);
  assert_true(value("cast.i32", f32, -1.9, 0) == -1 && value("cast.i32", f32, NAN, 0) == 0);
  assert_true(value("cast.i32", f32, 1e20, 0) == INT32_MAX && value("cast.i32", f32, -INFINITY, 0) == INT32_MIN);
  assert_true(value("cast.u8", f32, -3, 0) == 0 && value("cast.u8", f32, 300, 0) == 255);
  assert_true(value("cast.u8", i64, 300, 0) == 44 && value("cast.i8", i64, 200, 0) == -56);
  assert_true(value("cast.bool", f32, 0.25, 0) == 1 && value("cast.bool", f32, 0, 0) == 0 &&
              value("cast.bool", i64, 256, 0) == 1);
}

/* Every f16 and bf16 value survives the way to float and back; halfway points go to even. */
static void small_floats_survive_the_round_trip(void **state) {
  (void)state;
  for (uint32_t bits = 0; bits < 0x10000; bits++) {
    float half = f16_to_float((uint16_t)bits), brain = bf16_to_float((uint16_t)bits);
    if (!isnan(half)) assert_int_equal(f16_from_float(half), bits);
    if (!isnan(brain)) assert_int_equal(bf16_from_float(brain), bits);
    if (isnan(half)) assert_true(isnan(f16_to_float(f16_from_float(half))));
    if (isnan(brain)) assert_true(isnan(bf16_to_float(bf16_from_float(brain))));
  }
  for (uint16_t bits = 0; bits < 0x7bff; bits++) {
    float middle = (f16_to_float(bits) + f16_to_float(bits + 1)) / 2;
    assert_int_equal(f16_from_float(middle), bits + (bits & 1));
  }
}

/* ---- Emission ---- */

/* What body.h asks of a prelude, by libm. */
static const char prelude[] =
    "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n"
    "#define PN_DEVICE\n#define PN_INFINITY INFINITY\n#define PN_NAN NAN\n"
    "#define BOTH(name, expression) \\\n"
    "  static inline double pn_##name##_f64(double x) { return expression; } \\\n"
    "  static inline float pn_##name(float x) { return (float)pn_##name##_f64(x); }\n"
    "BOTH(exp, exp(x)) BOTH(log, log(x)) BOTH(sqrt, sqrt(x)) BOTH(rsqrt, 1 / sqrt(x)) BOTH(tanh, tanh(x))\n"
    "BOTH(erf, erf(x)) BOTH(sigmoid, 1 / (1 + exp(-x))) BOTH(sin, sin(x)) BOTH(cos, cos(x)) BOTH(floor, floor(x))\n"
    "BOTH(ceil, ceil(x)) BOTH(round, nearbyint(x)) BOTH(silu, x / (1 + exp(-x)))\n"
    "BOTH(gelu_tanh, 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))))\n"
    "BOTH(gelu_erf, 0.5 * x * erfc(-x * 0.7071067811865476))\n"
    "static inline double pn_pow_f64(double x, double y) { return pow(x, y); }\n"
    "static inline float pn_pow(float x, float y) { return (float)pow(x, y); }\n"
    "static inline double pn_mod_f64(double x, double y) { return fmod(x, y); }\n"
    "static inline float pn_mod(float x, float y) { return fmodf(x, y); }\n"
    "static inline int64_t pn_pow_i64(int64_t x, int64_t y) {\n"
    "  if (y < 0) return x == 1 ? 1 : x == -1 ? (y % 2 ? -1 : 1) : 0;\n"
    "  uint64_t r = 1, b = (uint64_t)x;\n  for (; y; y >>= 1, b *= b)\n    if (y & 1) r *= b;\n  return "
    "(int64_t)r;\n}\n"
    "static inline float pn_round_bf16(float x) {\n"
    "  uint32_t b;\n  memcpy(&b, &x, 4);\n  if (x != x) return x;\n"
    "  b += 0x7fff + (b >> 16 & 1);\n  b &= 0xffff0000u;\n  memcpy(&x, &b, 4);\n  return x;\n}\n"
    "static inline float pn_round_f16(float x) { return (float)(_Float16)x; }\n";

static const char *compute_type(pinion_dtype dtype) {
  if (dtype == PINION_DTYPE_f64) return "double";
  return dtype_is_float(dtype) ? "float" : "int64_t";
}

/* A body to run, its function's name being f_INDEX, and wrapped as void w_INDEX(const double *, double *). */
typedef struct emitted {
  body *body;
  void (*run)(const double *in, double *out);
} emitted;

typedef struct emission {
  ir_test *t;
  text source;
  emitted *cases;
  size_t count, capacity;
  void *library;
} emission;

static void emit_case(emission *e, const char *source, int input_count, const pinion_dtype *inputs) {
  const char *why;
  body *b = parse(e->t, source, input_count, inputs, &why);
  if (!b) fail_msg("%s: %s", source, why);
  e->cases = arena_grow(e->t->c.arena, e->cases, e->count, &e->capacity, sizeof *e->cases);
  char name[32];
  snprintf(name, sizeof name, "f_%zu", e->count);
  body_emit_c(b, name, &e->source);
  text_append(&e->source, "void w_%zu(const double *in, double *out);\n", e->count);
  text_append(&e->source, "void w_%zu(const double *in, double *out) {\n", e->count);
  for (int i = 0; i < b->result_count; i++)
    text_append(&e->source, "  %s r%d;\n", compute_type(b->result_dtypes[i]), i);
  text_append(&e->source, "  %s(", name);
  for (int i = 0; i < input_count; i++) text_append(&e->source, "(%s)in[%d], ", compute_type(inputs[i]), i);
  for (int i = 0; i < b->result_count; i++)
    text_append(&e->source, "&r%d%s", i, i + 1 < b->result_count ? ", " : ");\n  (void)in;\n");
  for (int i = 0; i < b->result_count; i++) text_append(&e->source, "  out[%d] = (double)r%d;\n", i, i);
  text_append(&e->source, "}\n");
  e->cases[e->count++].body = b;
}

static void compile(emission *e) {
  char folder[] = "/tmp/pinion-body-XXXXXX", command[512];
  assert_non_null(mkdtemp(folder));
  char *source = path_join(e->t->c.arena, folder, "body.c"), *library = path_join(e->t->c.arena, folder, "body.so");
  assert_int_equal(file_write(&e->t->c.diagnostics, source, e->source.data, e->source.length), STATUS_OK);
  const char *compiler = getenv("CC");
  snprintf(command, sizeof command, "%s -std=gnu11 -O0 -Wall -Wextra -Werror -shared -fPIC -o %s %s -lm",
           compiler && *compiler ? compiler : "cc", library, source);
  assert_int_equal(system(command), 0);
  e->library = dlopen(library, RTLD_NOW);
  assert_non_null(e->library);
  for (size_t i = 0; i < e->count; i++) {
    char name[32];
    snprintf(name, sizeof name, "w_%zu", i);
    void *symbol = dlsym(e->library, name);
    assert_non_null(symbol);
    memcpy(&e->cases[i].run, &symbol, sizeof symbol);
  }
  folder_remove(folder);
}

static double operand_value(const body_operand *operand, const double *inputs, const double *values) {
  if (operand->kind == BODY_LITERAL) return operand->literal;
  return operand->kind == BODY_INPUT ? inputs[operand->index] : values[operand->index];
}

/* What each instruction gives by body_scalar, in float where the body computes in float. */
static void expect(const body *b, const double *inputs, double *out) {
  double values[BODY_MAX_INSTRUCTIONS];
  for (int i = 0; i < b->instruction_count; i++) {
    const body_instruction *instruction = &b->instructions[i];
    const body_operand *typed = NULL;
    double operands[3] = {0};
    char name[32];
    for (int k = 0; k < instruction->operand_count; k++) {
      operands[k] = operand_value(&instruction->operands[k], inputs, values);
      if (instruction->operands[k].kind != BODY_LITERAL) typed = &instruction->operands[k];
    }
    pinion_dtype dtype = instruction->dtype;
    if (typed) dtype = typed->kind == BODY_INPUT ? b->input_dtypes[typed->index] : b->instructions[typed->index].dtype;
    bool is_const = !strcmp(instruction->operation, "const");
    bool has_type = is_const || !strcmp(instruction->operation, "cast");
    snprintf(name, sizeof name, "%s%s%s", is_const ? "cast" : instruction->operation, has_type ? "." : "",
             has_type ? dtype_name(instruction->dtype) : "");
    values[i] = body_scalar(name, dtype, operands);
    if (!strcmp(compute_type(instruction->dtype), "float")) values[i] = (float)values[i];
  }
  for (int i = 0; i < b->result_count; i++) out[i] = operand_value(&b->results[i], inputs, values);
}

static bool close_enough(double actual, double expected, bool exact) {
  if (isnan(expected)) return isnan(actual);
  if (isinf(expected) || exact) return actual == expected;
  return fabs(actual - expected) <= 4e-7 * fabs(expected) + 1e-37; /* a few units of float */
}

enum { SAMPLES = 32 };

/* Among them the bounds of every integer type, and what lies halfway. */
static const double real_samples[SAMPLES] = {
    -INFINITY, -1e20,      -0x1p63,   -1e10, -0x1p31, -129,   -7.5,   -2.5, -1,       -0.3125, -0x1p-130,
    -0.0,      0x1.004p-9, 0.7109375, 1,     1.5,     2.5,    3.25,   88,   127.5,    128,     255,
    256,       32768,      65520,     65536, 0x1p31,  0x1p32, 0x1p63, 1e20, INFINITY, NAN};
static const double integer_samples[] = {-128, -100, -7, -3, -1, 0, 1, 2, 3, 8, 100, 127, 255, 40000, -4000000000.0};

static double sample(pinion_dtype dtype, size_t index) {
  if (dtype_is_float(dtype)) return real_round(dtype, real_samples[index % SAMPLES]);
  return (double)integer_wrap(dtype, (int64_t)integer_samples[index % (sizeof integer_samples / sizeof(double))]);
}

static void run_case(const emitted *c) {
  const body *b = c->body;
  for (size_t i = 0; i < SAMPLES; i++)
    for (size_t k = 0; k < SAMPLES; k++) {
      double inputs[PINION_MAX_ARGS] = {0}, actual[PINION_MAX_ARGS], expected[PINION_MAX_ARGS];
      for (int n = 0; n < b->input_count; n++) inputs[n] = sample(b->input_dtypes[n], n == 0 ? i : k + (size_t)n);
      c->run(inputs, actual);
      expect(b, inputs, expected);
      for (int r = 0; r < b->result_count; r++) {
        bool exact = !dtype_is_float(b->result_dtypes[r]) || b->instruction_count == 0;
        if (!close_enough(actual[r], expected[r], exact))
          fail_msg("%s.%s of %.17g, %.17g: emitted code gives %.17g, body_scalar %.17g", b->instructions[0].operation,
                   dtype_name(b->instructions[0].dtype), inputs[0], inputs[1], actual[r], expected[r]);
      }
    }
}

static void emit_scalars(emission *e) {
  static const pinion_dtype dtypes[] = {PINION_DTYPE_f32, PINION_DTYPE_f64, PINION_DTYPE_bf16, PINION_DTYPE_i64,
                                        PINION_DTYPE_i32, PINION_DTYPE_i8,  PINION_DTYPE_u8,   PINION_DTYPE_bool};
  for (int kind = 0; kind < SCALAR_COUNT; kind++)
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
      if (!scalar_accepts((scalar_kind)kind, dtypes[i])) continue;
      const pinion_dtype inputs[] = {dtypes[i], dtypes[i]};
      int count = scalar_operand_count((scalar_kind)kind);
      emit_case(
          e, arena_format(e->t->c.arena, "%s x0%s; yield v0", scalar_name((scalar_kind)kind), count > 1 ? " x1" : ""),
          count, inputs);
    }
}

static void emit_casts(emission *e) {
  for (int from = 0; from < PINION_DTYPE_COUNT; from++)
    for (int to = 0; to < PINION_DTYPE_COUNT; to++) {
      if (from == PINION_DTYPE_u64 || to == PINION_DTYPE_u64) continue; /* exact below 2^63 only */
      const pinion_dtype input = (pinion_dtype)from;
      emit_case(e, arena_format(e->t->c.arena, "cast.%s x0; yield v0", dtype_name((pinion_dtype)to)), 1, &input);
    }
}

static void emitted_code_computes_what_body_scalar_does(void **state) {
  emission e = {.t = *state};
  const pinion_dtype mixed[] = {PINION_DTYPE_f32, PINION_DTYPE_bf16, PINION_DTYPE_bool, PINION_DTYPE_i64};
  text_append(&e.source, "%s", prelude);
  emit_scalars(&e);
  emit_casts(&e);
  emit_case(&e, "add x0 x1; cast.bf16 v0; max v1 0; select x2 v2 -0.5; yield v3 v1 x2", 4, mixed);
  emit_case(&e,
            "const.bf16 0.1; const.i64 -9007199254740992; const.f64 1e300; const.f32 -inf; const.f32 nan; "
            "yield v0 v1 v2 v3 v4",
            0, NULL);
  emit_case(&e, "div x3 -1; mod x3 7; cast.i8 v0; eq v1 3; and v3 x2; yield v2 v4", 4, mixed);
  compile(&e);
  assert_true(e.count > 300);
  for (size_t i = 0; i < e.count; i++) run_case(&e.cases[i]);
  dlclose(e.library);
  text_free(&e.source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ir_test_begin, ir_test_end)
      TEST(a_body_knows_the_types_of_its_values),
      TEST(a_body_prints_as_it_was_written),
      TEST(a_body_that_makes_no_sense_is_refused_with_a_reason),
      TEST(what_a_row_s_sums_come_to_leaves_the_body),
      TEST(a_body_of_too_many_instructions_is_refused),
      TEST(scalars_have_the_values_that_the_table_says),
      TEST(casts_round_to_even_and_saturate),
      TEST(small_floats_survive_the_round_trip),
      TEST(emitted_code_computes_what_body_scalar_does),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
