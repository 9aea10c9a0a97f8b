/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * check_lowering [--target=NAME] [--rounded-to-bf16] FILE.mlir...
 *
 * Lowers each module and plans its memory, runs the launches by the letter of runtime/abi.h, in order and in the latest
 * order that dependencies allow, and compares the outputs with the reference interpreter's on the module as it was.
 * Every byte that is read must have been written by the buffer that it is read through. --rounded-to-bf16: floats of
 * any type are compared as bf16 is, where much of a module is in bf16 and a last bit of float32 decides how it rounds.
 */
#include "program_runner.h"

#include "passes/pass.h"
#include "tests/kernels/params_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Both sides compute each op in float64 and round once; they differ in where a fused body does not round, and in sums.
 */
static double tolerance(pinion_dtype dtype) {
  switch (dtype) {
  case PINION_DTYPE_f64: return 1e-12;
  case PINION_DTYPE_f32: return 1e-5;
  case PINION_DTYPE_bf16: return 3e-2;
  case PINION_DTYPE_f16: return 4e-3;
  default: return 0;
  }
}

static double random_value(uint64_t *state, pinion_dtype dtype) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  const double u = (double)(*state >> 11) / 9007199254740992.0;
  if (dtype_is_float(dtype)) return 2 * u - 1;
  return dtype == PINION_DTYPE_bool ? (double)(u < 0.5) : (double)(int)(u * 3); /* an index into anything */
}

typedef struct model_case {
  compilation *c;
  const char *file;
  bool is_rounded; /* to bf16, somewhere */
  intptr_t input_count, output_count;
  eval_tensor *inputs, *expected;
} model_case;

static status make_inputs(model_case *m, MlirBlock block) {
  uint64_t state = 1;
  m->input_count = mlirBlockGetNumArguments(block);
  m->output_count = mlirOperationGetNumOperands(block_terminator(block));
  m->inputs = calloc((size_t)m->input_count + 1, sizeof *m->inputs);
  m->expected = calloc((size_t)m->output_count + 1, sizeof *m->expected);
  for (intptr_t i = 0; i < m->input_count; i++) {
    tensor_type type;
    if (!value_type(mlirBlockGetArgument(block, i), &type)) return STATUS_BAD_INPUT;
    void *bytes = malloc((size_t)type_bytes(&type) + 1);
    for (int64_t e = 0; e < type_elements(&type); e++)
      reference_store(type.dtype, bytes, e, random_value(&state, type.dtype));
    const status result = eval_tensor_from_bytes(&type, bytes, EVAL_AS_TYPED, &m->inputs[i]);
    free(bytes);
    if (result != STATUS_OK) return result;
  }
  return STATUS_OK;
}

/* How many elements differ by more than the tolerance, and are said so. */
static int compare_output(const model_case *m, runner *r, int index, const char *order) {
  const eval_tensor *expected = &m->expected[index];
  const void *actual = runner_output(r, index);
  const bool as_bf16 = m->is_rounded && dtype_is_float(expected->type.dtype);
  const double allowed = tolerance(as_bf16 ? PINION_DTYPE_bf16 : expected->type.dtype);
  int wrong = 0;
  for (int64_t i = 0; i < type_elements(&expected->type); i++) {
    const double want = eval_get(expected, i), have = reference_load(expected->type.dtype, actual, i);
    if (fabs(have - want) <= allowed * (1 + fabs(want)) || (isnan(have) && isnan(want)) || have == want) continue;
    if (wrong++ == 0)
      fprintf(stderr, "%s: output %d, element %lld is %.9g, not %.9g (%s)\n", m->file, index, (long long)i, have, want,
              order);
  }
  return wrong;
}

static status run_and_compare(model_case *m, MlirModule module, runner_order order) {
  const char *name = order == RUNNER_IN_ORDER ? "in order" : "latest first";
  runner r;
  status result = runner_create(m->c, module, &r);
  for (int i = 0; i < m->input_count && result == STATUS_OK; i++)
    eval_tensor_to_bytes(&m->inputs[i], runner_input(&r, i));
  if (result == STATUS_OK) result = runner_run(&r, order);
  if (r.faults) fprintf(stderr, "%s: %s (%s)\n", m->file, r.first_fault, name);
  for (int i = 0; i < m->output_count && result == STATUS_OK; i++)
    if (compare_output(m, &r, i, name)) result = STATUS_MISMATCH;
  runner_destroy(&r);
  return result;
}

static status lower(compilation *c, MlirModule module, const target *backend) {
  pass_context context = {.compilation = c, .target = backend};
  status result = pass_lower_to_launches(&context, module);
  if (result == STATUS_OK) result = module_verify(c, module, LEVELS_LAUNCH | LEVELS_FUSED);
  if (result == STATUS_OK) result = pass_plan_memory(&context, module);
  return result == STATUS_OK ? module_verify(c, module, LEVELS_LAUNCH | LEVELS_FUSED) : result;
}

/* Lets every pinion.weight that is a result of @weights refer to a blob of its bytes, as the interpreter reads weights.
 */
typedef struct weight_substitution {
  compilation *c;
  const eval_tensor *results;
} weight_substitution;

static MlirWalkResult substitute(MlirOperation op, void *user) {
  const weight_substitution *s = user;
  if (op_kind_of(op) != OP_weight || !attr_str_is(op, "file", "@weights")) return MlirWalkResultAdvance;
  const eval_tensor *tensor = &s->results[attr_i64(op, "offset", 0)];
  const size_t bytes = (size_t)type_bytes(&tensor->type);
  void *data = malloc(bytes + 1);
  eval_tensor_to_bytes(tensor, data);
  const char *blob = weight_store_add(s->c->weights, data, bytes);
  free(data);
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("file"), make_str(s->c->context, blob));
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("offset"), make_i64(s->c->context, 0));
  return MlirWalkResultAdvance;
}

/* On a copy of the module: the functions keep their references to @weights. */
static status evaluate(model_case *m, MlirModule module) {
  MlirModule copy = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(module)));
  MlirOperation weights = module_function(copy, "weights");
  const intptr_t count =
      mlirOperationIsNull(weights) ? 0 : mlirOperationGetNumOperands(block_terminator(function_body(weights)));
  eval_tensor *results = calloc((size_t)count + 1, sizeof *results);
  status result = STATUS_OK;
  if (count) result = eval_function(m->c, copy, "weights", NULL, EVAL_AS_TYPED, NULL, NULL, results);
  weight_substitution s = {.c = m->c, .results = results};
  if (result == STATUS_OK) mlirOperationWalk(mlirModuleGetOperation(copy), substitute, &s, MlirWalkPreOrder);
  for (intptr_t i = 0; i < count && result == STATUS_OK; i++) eval_free(&results[i]);
  free(results);
  if (result == STATUS_OK)
    result = eval_function(m->c, copy, "main", m->inputs, EVAL_AS_TYPED, NULL, NULL, m->expected);
  mlirModuleDestroy(copy);
  return result;
}

static status check_file(const char *file, const target *backend, bool is_rounded) {
  compilation c;
  MlirModule module = {NULL};
  status result = compilation_create(&c);
  c.diagnostics.file = file;
  model_case m = {.c = &c, .file = file, .is_rounded = is_rounded};
  if (result == STATUS_OK) result = module_parse(&c, file, &module);
  if (result == STATUS_OK) result = module_verify(&c, module, LEVELS_FUSED);
  if (result == STATUS_OK) result = make_inputs(&m, function_body(module_function(module, "main")));
  if (result == STATUS_OK) result = evaluate(&m, module);
  if (result == STATUS_OK) result = lower(&c, module, backend);
  if (result == STATUS_OK) result = run_and_compare(&m, module, RUNNER_IN_ORDER);
  if (result == STATUS_OK) result = run_and_compare(&m, module, RUNNER_LATE_FIRST);
  for (intptr_t i = 0; i < m.input_count; i++) eval_free(&m.inputs[i]);
  for (intptr_t i = 0; i < m.output_count; i++) eval_free(&m.expected[i]);
  free(m.inputs);
  free(m.expected);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  compilation_destroy(&c);
  return result;
}

int main(int argc, char **argv) {
  static const char target_flag[] = "--target=";
  const target *backend = NULL;
  bool is_rounded = false;
  int failed = 0, checked = 0;
  for (int i = 1; i < argc; i++) {
    if (!strncmp(argv[i], target_flag, strlen(target_flag))) {
      backend = target_find(argv[i] + strlen(target_flag));
      if (!backend) return STATUS_USAGE;
      continue;
    }
    if (!strcmp(argv[i], "--rounded-to-bf16")) {
      is_rounded = true;
      continue;
    }
    const status result = check_file(argv[i], backend, is_rounded);
    printf("%s %s\n", result == STATUS_OK ? "ok  " : "FAIL", argv[i]);
    failed += result != STATUS_OK;
    checked++;
  }
  return failed || !checked ? STATUS_FAILED : STATUS_OK;
}
