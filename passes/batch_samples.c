/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * batch-samples: a model of one sample becomes one of as many as attribute `pinion.batch` of the module says.
 *
 *   main(image[1,3,H,W], mask[1], ..) -> actions[1,50,32]   ->   main(image[n,3,H,W], mask[n], ..) -> actions[n,50,32]
 *
 * Requires: after what looks into masks (drop-masked-tokens, simplify-masks), whose work grows with the batch, while
 * what it proves of one sample holds for each; before batch-vision, which puts the cameras' images one behind the
 * other. It runs at any level before launches. Produces: the same ops; dimension 0 of what depends on an input is n
 * times as large. Breaks: nothing.
 *
 * Every op must compute each sample of its result from the same sample of its operands (row_blocks.h), in @main and in
 * what it calls: then sample i of every output is what the model of one computes of sample i of every input.
 */
#include "call_graph.h"
#include "row_blocks.h"

#define BATCH "pinion.batch"

/* A function that is called with samples. */
typedef struct sampled_function {
  MlirOperation function;
  bool *arguments; /* which have samples; the arena's */
} sampled_function;

typedef struct sampling {
  compilation *compilation;
  arena *arena;
  MlirModule module;
  call_graph calls;
  sampled_function *functions; /* callers before callees */
  size_t count, capacity;
} sampling;

/* ---- Refusals ---- */

static status refuse_input(const sampling *s, intptr_t index) {
  MlirOperation function = module_function(s->module, "main");
  MlirAttribute names = mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString("pinion.inputs"));
  MlirStringRef name = {"", 0};
  if (!mlirAttributeIsNull(names) && index < mlirArrayAttrGetNumElements(names))
    name = mlirStringAttrGetValue(mlirArrayAttrGetElement(names, index));
  return diagnose(&s->compilation->diagnostics, STATUS_USAGE, NULL, NULL,
                  "batch: the model must take one sample, but dimension 0 of input '%.*s' is not 1; export it with a "
                  "batch of 1",
                  (int)name.length, name.data);
}

static status refuse_op(const sampling *s, MlirOperation op) {
  const op_kind kind = op_kind_of(op);
  MlirStringRef name = location_name(mlirOperationGetLocation(op));
  if (op_is_named(op, "func.return"))
    return diagnose(&s->compilation->diagnostics, STATUS_UNSUPPORTED, NULL, NULL,
                    "batch: a result of the model, or of one of its stages, does not depend on the inputs");
  return diagnose(&s->compilation->diagnostics, STATUS_UNSUPPORTED,
                  arena_string(s->compilation->arena, name.data, name.length), kind == OP_NONE ? "call" : op_name(kind),
                  "batch: it does not compute each sample of its result from the same sample of its operands; export "
                  "the model with the batch that is wanted");
}

/* ---- Which functions, and which of their arguments ---- */

static status check_inputs(const sampling *s, MlirOperation main) {
  MlirBlock block = function_body(main);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(block); i++) {
    tensor_type type = {0};
    value_type(mlirBlockGetArgument(block, i), &type);
    if (type.rank < 1 || type.dims[0] != 1) return refuse_input(s, i);
  }
  return STATUS_OK;
}

static sampled_function *find_function(const sampling *s, MlirOperation function) {
  for (size_t i = 0; i < s->count; i++)
    if (mlirOperationEqual(s->functions[i].function, function)) return &s->functions[i];
  return NULL;
}

static void add_function(sampling *s, MlirOperation function, bool *arguments) {
  s->functions = arena_grow(s->arena, s->functions, s->count, &s->capacity, sizeof *s->functions);
  s->functions[s->count++] = (sampled_function){function, arguments};
}

/* What a call passes with samples; every call of a function must pass the same. */
static status visit_call(sampling *s, const row_blocks *rows, MlirOperation call) {
  MlirOperation callee = call_graph_callee(&s->calls, call);
  if (mlirOperationIsNull(callee)) return STATUS_OK;
  const intptr_t count = mlirOperationGetNumOperands(call);
  bool *arguments = arena_alloc(s->arena, (size_t)count + 1), any = false;
  for (intptr_t i = 0; i < count; i++) {
    arguments[i] = row_blocks_has(rows, mlirOperationGetOperand(call, i));
    any |= arguments[i];
  }
  if (!any) return STATUS_OK;
  const sampled_function *known = find_function(s, callee);
  if (!known) add_function(s, callee, arguments);
  for (intptr_t i = 0; known && i < count; i++)
    if (known->arguments[i] != arguments[i]) return refuse_op(s, call);
  return STATUS_OK;
}

static row_blocks read_function(const sampling *s, const sampled_function *f, int64_t count) {
  row_blocks rows = row_blocks_read(s->compilation, s->arena, f->function, f->arguments, count);
  rows.follows_calls = true;
  return rows;
}

static status visit_function(sampling *s, sampled_function f) {
  const row_blocks rows = read_function(s, &f, 1);
  MlirOperation obstacle = row_blocks_obstacle(&rows);
  if (!mlirOperationIsNull(obstacle)) return refuse_op(s, obstacle);
  status code = STATUS_OK;
  for (int i = 0; i < rows.ops.count && code == STATUS_OK; i++) code = visit_call(s, &rows, rows.ops.ops[i]);
  return code;
}

static status find_functions(sampling *s) {
  MlirOperation main = module_function(s->module, "main");
  const status code = check_inputs(s, main);
  if (code != STATUS_OK) return code;
  const size_t inputs = (size_t)mlirBlockGetNumArguments(function_body(main));
  bool *all = arena_alloc(s->arena, inputs + 1);
  for (size_t i = 0; i < inputs; i++) all[i] = true;
  add_function(s, main, all);
  for (size_t i = 0; i < s->count; i++) {
    const status visited = visit_function(s, s->functions[i]);
    if (visited != STATUS_OK) return visited;
  }
  return STATUS_OK;
}

/* ---- The pass ---- */

static status grow_module(pass_context *context, MlirModule module, int64_t count) {
  sampling s = {.compilation = context->compilation, .arena = arena_create(), .module = module};
  s.calls = call_graph_read(s.compilation, s.arena, module);
  status code = find_functions(&s);
  for (size_t i = 0; i < s.count && code == STATUS_OK; i++) {
    const row_blocks rows = read_function(&s, &s.functions[i], count);
    code = row_blocks_grow(&rows, false);
    context->changes++;
  }
  arena_destroy(s.arena);
  return code;
}

status pass_batch_samples(pass_context *context, MlirModule module) {
  MlirOperation op = mlirModuleGetOperation(module);
  const int64_t count = attr_i64(op, BATCH, 1);
  const status code = count > 1 ? grow_module(context, module, count) : STATUS_OK;
  mlirOperationRemoveAttributeByName(op, mlirStringRefCreateFromCString(BATCH));
  return code;
}
