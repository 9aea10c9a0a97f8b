/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Evaluating functions, calls and slices of constants: values in a table, freed after their last use. */
#include "eval_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_CALL_DEPTH = 16,
  KEPT_BYTES = 1 << 20, /* a weight larger than this is read anew for each use, so that memory holds one at a time */
};

/* ---- A frame: the values of one function, or of one slice ---- */

typedef struct slot {
  const void *key; /* MlirValue's or, while a slice is gathered, MlirOperation's pointer; NULL: free */
  eval_tensor tensor;
  bool ready, owned;
  int64_t uses; /* left */
} slot;

typedef struct frame {
  eval_session *session;
  slot *slots;
  size_t capacity, count; /* capacity: a power of two */
} frame;

static size_t slot_index(const frame *f, const void *key) {
  uint64_t hash = (uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);
  size_t i = (size_t)(hash >> 20) & (f->capacity - 1);
  while (f->slots[i].key && f->slots[i].key != key) i = (i + 1) & (f->capacity - 1);
  return i;
}

static void frame_grow(frame *f) {
  slot *old = f->slots;
  size_t old_capacity = f->capacity;
  f->capacity = old_capacity ? 2 * old_capacity : 64;
  f->slots = eval_scratch((int64_t)f->capacity, sizeof *f->slots);
  for (size_t i = 0; i < old_capacity; i++)
    if (old[i].key) f->slots[slot_index(f, old[i].key)] = old[i];
  free(old);
}

/* The slot of a value, made if there is none. Pointers last until the next new one. */
static slot *frame_slot(frame *f, const void *key) {
  if (2 * (f->count + 1) > f->capacity) frame_grow(f);
  slot *s = &f->slots[slot_index(f, key)];
  if (!s->key) {
    s->key = key;
    f->count++;
  }
  return s;
}

static void slot_clear(slot *s) {
  if (s->ready && s->owned) eval_free(&s->tensor);
  s->ready = false;
}

static void frame_end(frame *f) {
  for (size_t i = 0; i < f->capacity; i++) slot_clear(&f->slots[i]);
  free(f->slots);
}

static void frame_count_uses(frame *f, MlirOperation op) {
  intptr_t count = mlirOperationGetNumOperands(op);
  for (intptr_t i = 0; i < count; i++) frame_slot(f, mlirOperationGetOperand(op, i).ptr)->uses++;
}

/* Makes sure that there is a slot for each of the op's operands, so that pointers to slots last while it is run. */
static void frame_reserve(frame *f, size_t more) {
  while (2 * (f->count + more + 1) > f->capacity) frame_grow(f);
}

static bool is_source(MlirOperation op) {
  op_kind kind = op_kind_of(op);
  return kind == OP_constant || kind == OP_weight;
}

/* Constants and weights are read when they are first needed, not where they stand: exporters put all of them in front.
 */
static status frame_read(frame *f, MlirValue value, slot **out_slot) {
  slot *s = frame_slot(f, value.ptr);
  *out_slot = s;
  if (s->ready) return STATUS_OK;
  MlirOperation definition = value_definition(value);
  if (mlirOperationIsNull(definition) || !is_source(definition))
    return diagnose(&f->session->compilation->diagnostics, STATUS_FAILED, NULL, NULL,
                    "a value is used before it is computed");
  status result = eval_op_in(f->session, definition, NULL, &s->tensor);
  s->ready = s->owned = result == STATUS_OK;
  return result;
}

/* One use of a value is over. */
static void frame_release(frame *f, MlirValue value) {
  slot *s = frame_slot(f, value.ptr);
  MlirOperation definition = value_definition(value);
  bool reread =
      !mlirOperationIsNull(definition) && is_source(definition) && s->ready && type_bytes(&s->tensor.type) > KEPT_BYTES;
  if (--s->uses <= 0 || reread) slot_clear(s);
}

/* ---- One op ---- */

static bool is_named(MlirOperation op, const char *name) {
  return mlirStringRefEqual(mlirIdentifierStr(mlirOperationGetName(op)), mlirStringRefCreateFromCString(name));
}

static status compute(eval_session *session, MlirOperation op, const eval_tensor *const *operands,
                      eval_tensor *out_results) {
  if (op_kind_of(op) != OP_NONE) return eval_op_in(session, op, operands, out_results);
  evaluation e = {.session = session, .op = op, .kind = OP_NONE};
  if (!is_named(op, "func.call")) {
    MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
    return eval_refuse(&e, "the reference interpreter cannot evaluate '%.*s'", (int)name.length, name.data);
  }
  return eval_call(session, &e, attr_str(op, "callee"), (int)mlirOperationGetNumOperands(op), operands,
                   (int)mlirOperationGetNumResults(op), out_results);
}

static status observe(eval_session *session, MlirOperation op, const eval_tensor *results, int count) {
  return !session->observer || session->observer(session->user, op, results, count) ? STATUS_OK : STATUS_FAILED;
}

static status frame_run(frame *f, MlirOperation op) {
  if (is_source(op)) return STATUS_OK;
  intptr_t operand_count = mlirOperationGetNumOperands(op), result_count = mlirOperationGetNumResults(op);
  frame_reserve(f, (size_t)(operand_count + result_count));
  const eval_tensor **operands = eval_scratch(operand_count, sizeof *operands);
  eval_tensor *results = eval_scratch(result_count, sizeof *results);
  status result = STATUS_OK;
  for (intptr_t i = 0; result == STATUS_OK && i < operand_count; i++) {
    slot *s;
    result = frame_read(f, mlirOperationGetOperand(op, i), &s);
    operands[i] = &s->tensor;
  }
  if (result == STATUS_OK) result = compute(f->session, op, operands, results);
  if (result == STATUS_OK) {
    result = observe(f->session, op, results, (int)result_count);
    for (intptr_t i = 0; i < operand_count; i++) frame_release(f, mlirOperationGetOperand(op, i));
    for (intptr_t i = 0; i < result_count; i++) {
      slot *s = frame_slot(f, mlirOperationGetResult(op, i).ptr);
      s->tensor = results[i];
      s->ready = s->owned = true;
      if (s->uses == 0) slot_clear(s);
    }
  }
  free(operands);
  free(results);
  return result;
}

/* Hands the value out: its own tensor at its last use, else a copy. */
static status frame_take(frame *f, MlirValue value, eval_tensor *out_tensor) {
  slot *s;
  status result = frame_read(f, value, &s);
  if (result != STATUS_OK) return result;
  bool is_last = --s->uses <= 0 && s->owned;
  *out_tensor = is_last ? s->tensor : eval_copy(&s->tensor);
  if (is_last) s->ready = false;
  return out_tensor->data ? STATUS_OK
                          : diagnose(&f->session->compilation->diagnostics, STATUS_FAILED, NULL, NULL, "no memory");
}

/* ---- Functions ---- */

static status bind_arguments(frame *f, const evaluation *caller, MlirBlock block, MlirStringRef name, int count,
                             const eval_tensor *const *arguments) {
  diagnostics *d = &f->session->compilation->diagnostics;
  if (mlirBlockGetNumArguments(block) != count)
    return caller ? eval_refuse(caller, "@%.*s does not take %d arguments", (int)name.length, name.data, count)
                  : diagnose(d, STATUS_FAILED, NULL, NULL, "@%.*s does not take %d arguments", (int)name.length,
                             name.data, count);
  for (int i = 0; i < count; i++) {
    MlirValue value = mlirBlockGetArgument(block, i);
    tensor_type type;
    if (!value_type(value, &type) || !type_equal(&type, &arguments[i]->type))
      return diagnose(d, STATUS_FAILED, NULL, NULL, "argument %d of @%.*s has another type than is given", i,
                      (int)name.length, name.data);
    slot *s = frame_slot(f, value.ptr);
    s->tensor = *arguments[i];
    s->ready = true;
  }
  return STATUS_OK;
}

static status run_body(frame *f, MlirBlock block, int result_count, eval_tensor *out_results) {
  MlirOperation end = block_terminator(block);
  if (mlirOperationIsNull(end) || mlirOperationGetNumOperands(end) != result_count)
    return diagnose(&f->session->compilation->diagnostics, STATUS_FAILED, NULL, NULL,
                    "a function does not return %d results", result_count);
  status result = STATUS_OK;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    frame_count_uses(f, op);
  for (MlirOperation op = mlirBlockGetFirstOperation(block); result == STATUS_OK && !mlirOperationEqual(op, end);
       op = mlirOperationGetNextInBlock(op))
    result = frame_run(f, op);
  int taken = 0;
  for (; result == STATUS_OK && taken < result_count; taken++)
    result = frame_take(f, mlirOperationGetOperand(end, taken), &out_results[taken]);
  for (int i = 0; result != STATUS_OK && i < taken; i++) eval_free(&out_results[i]);
  return result;
}

status eval_call(eval_session *session, const evaluation *caller, MlirStringRef callee, int argument_count,
                 const eval_tensor *const *arguments, int result_count, eval_tensor *out_results) {
  diagnostics *d = &session->compilation->diagnostics;
  char name[256];
  snprintf(name, sizeof name, "%.*s", (int)callee.length, callee.data);
  MlirOperation function =
      mlirModuleIsNull(session->module) ? (MlirOperation){NULL} : module_function(session->module, name);
  if (mlirOperationIsNull(function) || !is_named(function, "func.func"))
    return diagnose(d, STATUS_FAILED, NULL, NULL, "there is no function @%s", name);
  MlirBlock block = function_body(function);
  if (mlirBlockIsNull(block)) return diagnose(d, STATUS_FAILED, NULL, NULL, "@%s has no body", name);
  if (session->depth >= MAX_CALL_DEPTH)
    return diagnose(d, STATUS_FAILED, NULL, NULL, "calls of @%s are nested too deep, or recursive", name);
  frame f = {.session = session};
  session->depth++;
  status result = bind_arguments(&f, caller, block, callee, argument_count, arguments);
  if (result == STATUS_OK) result = run_body(&f, block, result_count, out_results);
  session->depth--;
  frame_end(&f);
  return result;
}

status eval_function(compilation *c, MlirModule module, const char *function, const eval_tensor *arguments,
                     eval_precision precision, eval_observer *observer, void *user, eval_tensor *out_results) {
  eval_session session = {
      .compilation = c, .module = module, .precision = precision, .observer = observer, .user = user};
  MlirOperation op = module_function(module, function);
  if (mlirOperationIsNull(op) || !is_named(op, "func.func") || mlirBlockIsNull(function_body(op)))
    return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "there is no function @%s", function);
  MlirBlock block = function_body(op);
  int argument_count = (int)mlirBlockGetNumArguments(block);
  int result_count = (int)mlirOperationGetNumOperands(block_terminator(block));
  const eval_tensor **pointers = eval_scratch(argument_count, sizeof *pointers);
  for (int i = 0; i < argument_count; i++) pointers[i] = &arguments[i];
  status result = eval_call(&session, NULL, mlirStringRefCreateFromCString(function), argument_count, pointers,
                            result_count, out_results);
  free(pointers);
  return result;
}

/* ---- steps ---- */

/* Row `step` of a table, borrowed from it. */
static eval_tensor table_row(const eval_tensor *table, int64_t step) {
  eval_tensor row = *table;
  row.type.rank--;
  memmove(row.type.dims, row.type.dims + 1, (size_t)row.type.rank * sizeof *row.type.dims);
  row.data = (char *)table->data + (size_t)(step * type_elements(&row.type)) * eval_element_size(table);
  return row;
}

status reference_steps(evaluation *e) {
  int64_t count = attr_i64(e->op, "count", 0), tables = attr_i64(e->op, "tables", 0);
  const eval_tensor **arguments = eval_scratch(e->operand_count, sizeof *arguments);
  eval_tensor *rows = eval_scratch(tables, sizeof *rows), state, next;
  status result = STATUS_OK;
  state = eval_copy(e->operands[0]);
  if (!state.data) result = eval_refuse(e, "no memory");
  for (int64_t step = 0; result == STATUS_OK && step < count; step++) {
    for (int i = 1; i < e->operand_count; i++) arguments[i] = e->operands[i];
    arguments[0] = &state;
    for (int64_t i = 0; i < tables; i++) {
      int64_t at = e->operand_count - tables + i;
      rows[i] = table_row(e->operands[at], step);
      arguments[at] = &rows[i];
    }
    result = eval_call(e->session, e, attr_str(e->op, "callee"), e->operand_count, arguments, 1, &next);
    if (result != STATUS_OK) break;
    eval_free(&state);
    state = next;
  }
  free(arguments);
  free(rows);
  bool fits = result != STATUS_OK || type_equal(&state.type, &e->results[0].type);
  if (!fits) result = eval_refuse(e, "the callee returns another type than it takes");
  if (result != STATUS_OK) {
    eval_free(&state);
    return result;
  }
  eval_free(&e->results[0]);
  e->results[0] = state;
  return STATUS_OK;
}

/* ---- Constants ---- */

/* The ops that a value depends on, each after those it depends on. */
typedef struct slice {
  MlirOperation *ops;
  size_t count, capacity;
} slice;

typedef struct visit {
  MlirOperation op;
  intptr_t next_operand;
} visit;

static bool foldable(MlirOperation op, bool weights) {
  op_kind kind = mlirOperationIsNull(op) ? OP_NONE : op_kind_of(op);
  if (kind == OP_NONE || kind == OP_steps || op_level_of(kind) == LEVEL_LAUNCH) return false;
  return kind != OP_weight || weights;
}

/* Depth first with a stack of our own: graphs are thousands of ops deep. */
static bool gather_slice(arena *a, frame *seen, MlirValue value, bool weights, slice *out_slice) {
  size_t depth = 0, capacity = 0;
  visit *stack = NULL;
  MlirOperation op = value_definition(value);
  if (!foldable(op, weights)) return false;
  stack = arena_grow(a, stack, depth, &capacity, sizeof *stack);
  stack[depth++] = (visit){op, 0};
  frame_slot(seen, op.ptr);
  while (depth) {
    visit *top = &stack[depth - 1];
    if (top->next_operand == mlirOperationGetNumOperands(top->op)) {
      out_slice->ops = arena_grow(a, out_slice->ops, out_slice->count, &out_slice->capacity, sizeof *out_slice->ops);
      out_slice->ops[out_slice->count++] = top->op;
      depth--;
      continue;
    }
    op = value_definition(mlirOperationGetOperand(top->op, top->next_operand++));
    if (!foldable(op, weights)) return false;
    size_t known = seen->count;
    frame_slot(seen, op.ptr);
    if (seen->count == known) continue;
    stack = arena_grow(a, stack, depth, &capacity, sizeof *stack);
    stack[depth++] = (visit){op, 0};
  }
  return true;
}

static bool evaluate_slice(eval_session *session, MlirValue value, bool weights, eval_tensor *out_tensor) {
  frame values = {.session = session}, seen = {.session = session};
  arena *scratch = arena_create();
  slice s = {0};
  bool known = gather_slice(scratch, &seen, value, weights, &s);
  for (size_t i = 0; known && i < s.count; i++) frame_count_uses(&values, s.ops[i]);
  if (known) frame_slot(&values, value.ptr)->uses++;
  for (size_t i = 0; known && i < s.count; i++) known = frame_run(&values, s.ops[i]) == STATUS_OK;
  if (known) known = frame_take(&values, value, out_tensor) == STATUS_OK;
  frame_end(&values);
  frame_end(&seen);
  arena_destroy(scratch);
  return known;
}

bool eval_constant(compilation *c, MlirValue value, bool weights, eval_tensor *out_tensor) {
  eval_session session = {.compilation = c, .precision = EVAL_AS_TYPED};
  return evaluate_slice(&session, value, weights, out_tensor);
}

/* ---- @weights ---- */

static MlirModule module_of(MlirOperation op) {
  while (!mlirOperationIsNull(op) && !is_named(op, "builtin.module")) op = mlirOperationGetParentOperation(op);
  return mlirOperationIsNull(op) ? (MlirModule){NULL} : mlirModuleFromOperation(op);
}

status eval_weights_result(evaluation *e, int64_t index, eval_tensor *out_tensor) {
  MlirModule module = module_of(e->op);
  MlirOperation function = mlirModuleIsNull(module) ? (MlirOperation){NULL} : module_function(module, "weights");
  if (mlirOperationIsNull(function)) return eval_refuse(e, "there is no function @weights");
  MlirOperation end = block_terminator(function_body(function));
  if (index < 0 || index >= mlirOperationGetNumOperands(end))
    return eval_refuse(e, "@weights has no result %lld", (long long)index);
  MlirValue value = mlirOperationGetOperand(end, index);
  if (!mlirTypeEqual(mlirValueGetType(value), mlirValueGetType(mlirOperationGetResult(e->op, 0))))
    return eval_refuse(e, "result %lld of @weights has another type", (long long)index);
  eval_session session = {.compilation = e->session->compilation, .precision = e->session->precision};
  if (!evaluate_slice(&session, value, true, out_tensor))
    return eval_refuse(e, "result %lld of @weights does not depend on weights alone", (long long)index);
  return STATUS_OK;
}
