/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Evaluates a module on seeded random inputs before and after passes, for tests/passes/check_random.py.
 *
 *   eval_subsets MODULE.mlir SEED PASSES[:LIMIT]...
 *
 * The first line says whether the results stay as they are when what they cannot see (ir/visible.h) is spoilt, and how
 * many elements those are.
 *
 * PASSES are comma-separated, or "default", the default pipeline up to the launch level; with LIMIT, only the first so
 * many rewrites of optional passes are made. Prints a line for each: whether every bit of the results, as typed, is the
 * same; relative L2 distances (of the worst result) from the module's own float64 evaluation: of the module as typed,
 * of what the passes left as typed, and in float64. What each pass changed goes to stderr, as --timing writes it.
 */
#include "ir/visible.h"
#include "passes/pass.h"
#include "runtime/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESULTS_MAXIMUM = 64 };

/* What @main computes. */
typedef struct results {
  int count;
  eval_tensor tensors[RESULTS_MAXIMUM];
} results;

static void results_free(results *r) {
  for (int i = 0; i < r->count; i++) eval_free(&r->tensors[i]);
  r->count = 0;
}

/* Normal floats; integers and bools are 0 or 1. */
static void fill(const tensor_type *type, uint64_t *state, eval_tensor *out) {
  for (int64_t i = 0; i < type_elements(type); i++) {
    const double number = pinion_random_normal(state);
    if (out->storage == EVAL_INTEGERS)
      out->i64[i] = number > 0;
    else if (out->storage == EVAL_DOUBLES)
      out->f64[i] = number;
    else
      out->f32[i] = (float)number;
  }
}

/* A random tensor of the argument's type, whose numbers the type has. */
static status random_argument(MlirValue argument, uint64_t *state, eval_precision precision, eval_tensor *out) {
  tensor_type type;
  eval_tensor drawn;
  if (!value_type(argument, &type)) return STATUS_BAD_INPUT;
  uint8_t *bytes = heap_alloc((size_t)type_bytes(&type) + 1, 1);
  status code = eval_tensor_from_bytes(&type, bytes, EVAL_AS_TYPED, &drawn);
  if (code == STATUS_OK) {
    fill(&type, state, &drawn);
    eval_tensor_to_bytes(&drawn, bytes);
    eval_free(&drawn);
    code = eval_tensor_from_bytes(&type, bytes, precision, out);
  }
  free(bytes);
  return code;
}

/* ---- What no result can see ---- */

/* The masks that visible_run reports, in its order; and the second evaluation, which spoils what they leave out. */
typedef struct spoiler {
  visible_walk *walk; /* NULL: spoils */
  struct mask {
    const void *op;
    uint8_t *bytes; /* NULL: all is hidden */
  } *masks;
  size_t count, capacity;
  arena *arena;
  int64_t hidden;
} spoiler;

static void keep_mask(void *user, MlirOperation op, const uint8_t *mask) {
  spoiler *s = user;
  tensor_type type;
  value_type(mlirOperationGetResult(op, 0), &type);
  s->masks = arena_grow(s->arena, s->masks, s->count, &s->capacity, sizeof *s->masks);
  s->masks[s->count++] = (struct mask){op.ptr, mask ? arena_copy(s->arena, mask, (size_t)type_elements(&type)) : NULL};
}

/* Results belong to the evaluation, which lets an observer look alone; this one changes them. */
static void spoil(spoiler *s, MlirOperation op, const eval_tensor *result) {
  size_t i = 0;
  while (i < s->count && s->masks[i].op != op.ptr) i++;
  if (i == s->count || result->storage == EVAL_INTEGERS) return;
  for (int64_t k = 0; k < type_elements(&result->type); k++) {
    if (s->masks[i].bytes && s->masks[i].bytes[k]) continue;
    s->hidden++;
    if (result->storage == EVAL_DOUBLES)
      result->f64[k] = 100 + (double)k;
    else
      result->f32[k] = 100 + (float)k;
  }
}

static bool observe(void *user, MlirOperation op, const eval_tensor *r, int result_count) {
  spoiler *s = user;
  if (s->walk)
    visible_observe(s->walk, op, r, result_count);
  else if (result_count == 1)
    spoil(s, op, r);
  return true;
}

/* ---- Evaluating ---- */

static status evaluate(compilation *c, MlirModule module, uint64_t seed, eval_precision precision, spoiler *s,
                       results *out) {
  MlirBlock body = function_body(module_function(module, "main"));
  const intptr_t arguments = mlirBlockGetNumArguments(body);
  eval_tensor *inputs = heap_alloc((size_t)arguments + 1, sizeof *inputs);
  status code = STATUS_OK;
  out->count = 0;
  for (intptr_t i = 0; i < arguments && code == STATUS_OK; i++)
    code = random_argument(mlirBlockGetArgument(body, i), &seed, precision, &inputs[i]);
  eval_observer *observer = s ? observe : NULL;
  if (code == STATUS_OK) code = eval_function(c, module, "main", inputs, precision, observer, s, out->tensors);
  if (code == STATUS_OK) out->count = (int)mlirOperationGetNumOperands(block_terminator(body));
  for (intptr_t i = 0; i < arguments; i++) eval_free(&inputs[i]);
  free(inputs);
  return code;
}

/* Relative L2; infinite where only one is finite. */
static double distance(const eval_tensor *x, const eval_tensor *y) {
  double difference = 0, norm = 0;
  if (!type_equal(&x->type, &y->type)) return INFINITY;
  for (int64_t i = 0; i < type_elements(&x->type); i++) {
    const double a = eval_get(x, i), b = eval_get(y, i);
    if (a == b || (isnan(a) && isnan(b))) continue;
    if (!isfinite(a) || !isfinite(b)) return INFINITY;
    difference += (a - b) * (a - b);
  }
  for (int64_t i = 0; i < type_elements(&y->type); i++)
    if (isfinite(eval_get(y, i))) norm += eval_get(y, i) * eval_get(y, i);
  return difference == 0 ? 0 : sqrt(difference / norm);
}

static double worst_distance(const results *x, const results *y) {
  double worst = x->count == y->count ? 0 : INFINITY;
  for (int i = 0; i < x->count && i < y->count; i++) worst = fmax(worst, distance(&x->tensors[i], &y->tensors[i]));
  return worst;
}

/* Whether all that is a number in `before` is the same in `after`. A row that holds NaN shows through a weight of 0,
   and only what is spoilt in it does not. */
static bool numbers_stay(const results *before, const results *after) {
  bool stay = before->count == after->count;
  for (int r = 0; stay && r < before->count; r++)
    for (int64_t i = 0; stay && i < type_elements(&before->tensors[r].type); i++) {
      const double x = eval_get(&before->tensors[r], i);
      stay = isnan(x) || x == eval_get(&after->tensors[r], i);
    }
  return stay;
}

/* The module after passes (NULL: as it is written), evaluated as typed and in float64. */
static status evaluate_after(const char *path, uint64_t seed, const char *passes, results *as_typed, results *exact) {
  compilation c;
  MlirModule module = {NULL};
  rewrite_limit limit = {.allowed = INT64_MAX};
  pipeline_options options = {.timing = true, .limit = &limit};
  status code = compilation_create(&c);
  c.diagnostics.file = path;
  if (passes) {
    const char *colon = strchr(passes, ':');
    options.passes = arena_string(c.arena, passes, strcspn(passes, ":"));
    if (strcmp(options.passes, "default") == 0) options.passes = pipeline_before_launches(c.arena);
    if (colon) limit.allowed = strtoll(colon + 1, NULL, 10);
  }
  if (code == STATUS_OK) code = module_parse(&c, path, &module);
  if (code == STATUS_OK) code = module_verify(&c, module, LEVELS_FUSED);
  if (code == STATUS_OK && passes) code = pipeline_run(&c, module, &options);
  if (code == STATUS_OK) code = evaluate(&c, module, seed, EVAL_AS_TYPED, NULL, as_typed);
  if (code == STATUS_OK) code = evaluate(&c, module, seed, EVAL_FLOAT64, NULL, exact);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  compilation_destroy(&c);
  return code;
}

/* Whether the results stay to the bit when what they cannot see, by ir/visible.h, is something else. */
static status check_visible(const char *path, uint64_t seed) {
  compilation c;
  MlirModule module = {NULL};
  results before = {0}, after = {0};
  spoiler s = {.arena = arena_create()};
  status code = compilation_create(&c);
  c.diagnostics.file = path;
  if (code == STATUS_OK) code = module_parse(&c, path, &module);
  if (code == STATUS_OK) s.walk = visible_begin(module, "main");
  if (code == STATUS_OK) code = evaluate(&c, module, seed, EVAL_FLOAT64, &s, &before);
  if (code == STATUS_OK) visible_run(s.walk, keep_mask, &s);
  visible_end(s.walk);
  s.walk = NULL;
  if (code == STATUS_OK) code = evaluate(&c, module, seed, EVAL_FLOAT64, &s, &after);
  if (code == STATUS_OK) printf("%s %lld\n", numbers_stay(&before, &after) ? "unseen" : "SEEN", (long long)s.hidden);
  results_free(&before);
  results_free(&after);
  arena_destroy(s.arena);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  compilation_destroy(&c);
  return code;
}

int main(int argc, char **argv) {
  if (argc < 3) return STATUS_USAGE;
  const uint64_t seed = strtoull(argv[2], NULL, 10);
  results own_typed = {0}, own_exact = {0};
  status code = check_visible(argv[1], seed);
  if (code == STATUS_OK) code = evaluate_after(argv[1], seed, NULL, &own_typed, &own_exact);
  for (int i = 3; i < argc && code == STATUS_OK; i++) {
    results typed = {0}, exact = {0};
    code = evaluate_after(argv[1], seed, argv[i], &typed, &exact);
    if (code == STATUS_OK)
      printf("%s %.17g %.17g %.17g\n", worst_distance(&typed, &own_typed) == 0 ? "same" : "other",
             worst_distance(&own_typed, &own_exact), worst_distance(&typed, &own_exact),
             worst_distance(&exact, &own_exact));
    results_free(&typed);
    results_free(&exact);
  }
  results_free(&own_typed);
  results_free(&own_exact);
  return code;
}
