/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Symbolic evaluation of masks. */
#include "mask_values.h"

#include <math.h>
#include <string.h>

#include "../ir/eval.h"
#include "../ir/scalar.h"

enum {
  MAXIMUM_DEPTH = 256,
  MAXIMUM_ELEMENTS = 1 << 21, /* of any tensor that is evaluated */
  MAXIMUM_LEAF = 1 << 13,     /* elements of a bool tensor that become truths of their own */
  MAXIMUM_OPERANDS = 3,
};

#define LARGEST_EXACT 9007199254740992.0 /* 2^53: integers are held in doubles */

mask_values mask_values_create(call_graph *calls) {
  return (mask_values){.calls = calls, .known = pointer_map_create(calls->arena)};
}

static arena *memory(const mask_values *m) {
  return m->calls->arena;
}

static const mask_element unknown = {.when = CONDITION_NEVER};

static bool is_unknown(const mask_element *e) {
  return e->when == CONDITION_NEVER;
}

/* ---- Elements of elementwise ops ---- */

typedef struct element_op {
  op_kind kind; /* unary, binary, select or cast */
  scalar_kind scalar;
  pinion_dtype from, to;
  int count; /* operands */
} element_op;

static double cast_number(const element_op *op, double x) {
  if (dtype_is_float(op->to)) return real_round(op->to, x);
  return (double)(dtype_is_float(op->from) ? integer_from_real(op->to, x) : integer_wrap(op->to, (int64_t)x));
}

/* NaN where the result is no number, or an integer that a double does not hold. */
static double apply(const element_op *op, const double *x) {
  if (op->kind == OP_select) return x[0] != 0 ? x[1] : x[2];
  double y;
  if (op->kind == OP_cast)
    y = cast_number(op, x[0]);
  else if (dtype_is_float(op->from))
    y = real_round(op->to, scalar_real(op->scalar, x[0], op->count > 1 ? x[1] : 0));
  else
    y = (double)scalar_integer(op->scalar, op->from, (int64_t)x[0], op->count > 1 ? (int64_t)x[1] : 0);
  return dtype_is_float(op->to) || fabs(y) <= LARGEST_EXACT ? y : NAN;
}

/* The result for each way in which the operands' conditions can hold or not. */
typedef struct truth_table {
  int count; /* conditions */
  condition conditions[MAXIMUM_OPERANDS];
  bool possible[1 << MAXIMUM_OPERANDS]; /* bit i: conditions[i] holds */
  double result[1 << MAXIMUM_OPERANDS];
} truth_table;

/* Whether those of `held` can hold while the others do not. */
static bool can_hold_alone(const truth_table *t, int held) {
  condition all = CONDITION_ALWAYS;
  bool exact = true;
  for (int i = 0; i < t->count; i++)
    if (held >> i & 1) all = condition_both(all, t->conditions[i], &exact);
  for (int i = 0; i < t->count; i++)
    if (!(held >> i & 1) && condition_implies(all, t->conditions[i])) return false;
  return true;
}

static truth_table tabulate(const element_op *op, const mask_element *const *operands) {
  truth_table t = {.count = 0};
  int which[MAXIMUM_OPERANDS];
  for (int i = 0; i < op->count; i++) {
    which[i] = -1;
    if (operands[i]->when == CONDITION_ALWAYS) continue;
    for (which[i] = 0; which[i] < t.count && t.conditions[which[i]] != operands[i]->when; which[i]++) continue;
    if (which[i] == t.count) t.conditions[t.count++] = operands[i]->when;
  }
  for (int held = 0; held < 1 << t.count; held++) {
    double x[MAXIMUM_OPERANDS];
    t.possible[held] = can_hold_alone(&t, held);
    for (int i = 0; i < op->count; i++)
      x[i] = which[i] < 0 || (held >> which[i] & 1) ? operands[i]->then : operands[i]->otherwise;
    t.result[held] = t.possible[held] ? apply(op, x) : 0;
  }
  return t;
}

/* Whether the result depends on nothing but whether all conditions of `subset` hold. */
static bool decides(const truth_table *t, int subset, double *out_then, double *out_otherwise) {
  bool seen[2] = {false, false};
  double value[2] = {0, 0};
  for (int held = 0; held < 1 << t->count; held++) {
    if (!t->possible[held]) continue;
    const int all = (held & subset) == subset;
    if (isnan(t->result[held]) || (seen[all] && value[all] != t->result[held])) return false;
    seen[all] = true;
    value[all] = t->result[held];
  }
  *out_then = value[1];
  *out_otherwise = value[0];
  return true;
}

static mask_element combine(const element_op *op, const mask_element *const *operands) {
  static const int subsets[] = {0, 1, 2, 4, 3, 5, 6, 7}; /* fewest conditions first */
  for (int i = 0; i < op->count; i++)
    if (is_unknown(operands[i])) return unknown;
  const truth_table t = tabulate(op, operands);
  for (int s = 0; s < 1 << MAXIMUM_OPERANDS; s++) {
    mask_element e = {.when = CONDITION_ALWAYS};
    bool exact = true;
    if (subsets[s] >= 1 << t.count || !decides(&t, subsets[s], &e.then, &e.otherwise)) continue;
    for (int i = 0; i < t.count; i++)
      if (subsets[s] >> i & 1) e.when = condition_both(e.when, t.conditions[i], &exact);
    return exact ? e : unknown;
  }
  return unknown;
}

/* ---- Tensors ---- */

static void row_major(const tensor_type *type, int64_t *out_strides) {
  int64_t stride = 1;
  for (int d = type->rank - 1; d >= 0; stride *= type->dims[d--]) out_strides[d] = stride;
}

/* Strides of `type` along `shape`, to which it broadcasts. */
static void broadcast_strides(const tensor_type *type, const tensor_type *shape, int64_t *out_strides) {
  int64_t own[PINION_MAX_RANK];
  row_major(type, own);
  for (int d = 0; d < shape->rank; d++) {
    const int at = d - (shape->rank - type->rank);
    out_strides[d] = at < 0 || type->dims[at] == 1 ? 0 : own[at];
  }
}

/* The next place of a space in row-major order: its index, and offsets by `count` sets of strides. */
static void advance(const tensor_type *space, int64_t *index, int count, int64_t strides[][PINION_MAX_RANK],
                    int64_t *offsets) {
  for (int d = space->rank - 1; d >= 0; d--) {
    index[d]++;
    for (int i = 0; i < count; i++) offsets[i] += strides[i][d];
    if (index[d] < space->dims[d]) return;
    for (int i = 0; i < count; i++) offsets[i] -= strides[i][d] * space->dims[d];
    index[d] = 0;
  }
}

static mask_element *allocate(const mask_values *m, const tensor_type *type) {
  return arena_alloc(memory(m), ((size_t)type_elements(type) + 1) * sizeof(mask_element));
}

static const mask_element *evaluate_elementwise(const mask_values *m, const element_op *op,
                                                const mask_tensor *const *operands, const tensor_type *result) {
  mask_element *elements = allocate(m, result);
  int64_t index[PINION_MAX_RANK] = {0}, strides[MAXIMUM_OPERANDS][PINION_MAX_RANK], offsets[MAXIMUM_OPERANDS] = {0};
  for (int i = 0; i < op->count; i++) broadcast_strides(&operands[i]->type, result, strides[i]);
  for (int64_t at = 0; at < type_elements(result); at++, advance(result, index, op->count, strides, offsets)) {
    const mask_element *x[MAXIMUM_OPERANDS];
    for (int i = 0; i < op->count; i++) x[i] = &operands[i]->elements[offsets[i]];
    elements[at] = combine(op, x);
  }
  return elements;
}

/* to[start + ..] = from[..], by strides along the space. */
static void move_elements(const tensor_type *space, const mask_element *from, int64_t from_start, const int64_t *along,
                          mask_element *to, int64_t to_start, const int64_t *to_along) {
  int64_t index[PINION_MAX_RANK] = {0}, strides[2][PINION_MAX_RANK], offsets[2] = {from_start, to_start};
  memcpy(strides[0], along, sizeof strides[0]);
  memcpy(strides[1], to_along, sizeof strides[1]);
  for (int64_t i = 0; i < type_elements(space); i++, advance(space, index, 2, strides, offsets))
    to[offsets[1]] = from[offsets[0]];
}

static const mask_element *evaluate_move(const mask_values *m, MlirOperation op, const mask_tensor *x,
                                         const tensor_type *result) {
  int64_t along[PINION_MAX_RANK] = {0}, own[PINION_MAX_RANK], to[PINION_MAX_RANK] = {0}, start = 0;
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK], permutation[PINION_MAX_RANK];
  row_major(&x->type, own);
  row_major(result, to);
  switch (op_kind_of(op)) {
  case OP_reshape: return x->elements;
  case OP_broadcast: broadcast_strides(&x->type, result, along); break;
  case OP_transpose:
    attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
    for (int d = 0; d < result->rank; d++) along[d] = own[permutation[d]];
    break;
  default: /* slice */
    attr_i64s(op, "starts", starts, PINION_MAX_RANK);
    attr_i64s(op, "steps", steps, PINION_MAX_RANK);
    for (int d = 0; d < result->rank; d++) {
      along[d] = own[d] * steps[d];
      start += own[d] * starts[d];
    }
  }
  mask_element *elements = allocate(m, result);
  move_elements(result, x->elements, start, along, elements, 0, to);
  return elements;
}

static const mask_element *evaluate_concat(mask_values *m, MlirOperation op, const tensor_type *result) {
  const int64_t axis = attr_i64(op, "axis", 0);
  int64_t to[PINION_MAX_RANK] = {0}, own[PINION_MAX_RANK] = {0}, start = 0;
  mask_element *elements = allocate(m, result);
  row_major(result, to);
  for (int64_t i = 0; i < type_elements(result); i++) elements[i] = unknown;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    tensor_type type = {0};
    const mask_tensor *x = mask_value(m, operand);
    value_type(operand, &type);
    row_major(&type, own);
    if (x) move_elements(&type, x->elements, 0, own, elements, start * to[axis], to);
    start += type.dims[axis];
  }
  return elements;
}

/* ---- Constants ---- */

static const mask_element *constant_elements(const mask_values *m, const eval_tensor *tensor) {
  mask_element *elements = allocate(m, &tensor->type);
  for (int64_t i = 0; i < type_elements(&tensor->type); i++) {
    const double x = eval_get(tensor, i);
    const bool holds = dtype_is_float(tensor->type.dtype) || fabs(x) < LARGEST_EXACT;
    elements[i] = holds && !isnan(x) ? (mask_element){CONDITION_ALWAYS, x, 0} : unknown;
  }
  return elements;
}

static const mask_element *read_constant(const mask_values *m, MlirOperation op, const tensor_type *type) {
  if (attr_str_is(op, "file", "@weights")) return NULL;
  const void *bytes = constant_bytes(m->calls->compilation, op);
  eval_tensor tensor;
  if (!bytes || eval_tensor_from_bytes(type, bytes, EVAL_AS_TYPED, &tensor) != STATUS_OK) return NULL;
  const mask_element *elements = constant_elements(m, &tensor);
  eval_free(&tensor);
  return elements;
}

/* ---- Values ---- */

/* Each element that is unknown, or every one (`elements` is NULL), becomes a truth of its own. */
static const mask_element *make_truths(mask_values *m, MlirValue value, const tensor_type *type,
                                       const mask_element *elements) {
  const int64_t count = type_elements(type);
  if (type->dtype != PINION_DTYPE_bool || count > MAXIMUM_LEAF ||
      m->truth_count + (size_t)count > CONDITION_TRUTH_COUNT)
    return elements;
  if (!call_graph_runs_once(m->calls, value_function(value))) return elements; /* another one each time */
  mask_element *made = allocate(m, type);
  for (int64_t i = 0; i < count; i++) {
    if (elements) made[i] = elements[i];
    if (elements && !is_unknown(&elements[i])) continue;
    m->truths = arena_grow(memory(m), m->truths, m->truth_count, &m->truth_capacity, sizeof *m->truths);
    m->truths[m->truth_count] = (mask_truth){value, i};
    made[i] = (mask_element){condition_of_truth((int)m->truth_count++), 1, 0};
  }
  return made;
}

static bool read_element_op(MlirOperation op, element_op *out) {
  tensor_type from = {0}, to = {0};
  const op_kind kind = op_kind_of(op);
  if (kind != OP_unary && kind != OP_binary && kind != OP_select && kind != OP_cast) return false;
  value_type(mlirOperationGetOperand(op, 0), &from);
  value_type(mlirOperationGetResult(op, 0), &to);
  *out = (element_op){.kind = kind, .from = from.dtype, .to = to.dtype, .count = (int)mlirOperationGetNumOperands(op)};
  MlirStringRef name = attr_str(op, "kind");
  return kind == OP_select || kind == OP_cast || scalar_find(name.data, name.length, &out->scalar);
}

/* NULL if nothing is known. */
static const mask_element *evaluate_op(mask_values *m, MlirOperation op, const tensor_type *result) {
  const mask_tensor *operands[MAXIMUM_OPERANDS];
  element_op element;
  const op_kind kind = op_kind_of(op);
  if (kind == OP_constant || kind == OP_weight) return read_constant(m, op, result);
  if (kind == OP_concat) return evaluate_concat(m, op, result);
  const bool moves = kind == OP_reshape || kind == OP_broadcast || kind == OP_transpose || kind == OP_slice;
  if (!moves && !read_element_op(op, &element)) return NULL;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    operands[i] = mask_value(m, mlirOperationGetOperand(op, i));
    if (!operands[i]) return NULL;
  }
  return moves ? evaluate_move(m, op, operands[0], result) : evaluate_elementwise(m, &element, operands, result);
}

static bool is_known_at_all(const mask_element *elements, const tensor_type *type) {
  for (int64_t i = 0; elements && i < type_elements(type); i++)
    if (!is_unknown(&elements[i])) return true;
  return false;
}

static const mask_element *evaluate(mask_values *m, MlirValue value, const tensor_type *type) {
  const mask_element *elements = NULL;
  if (type_elements(type) > MAXIMUM_ELEMENTS || m->depth == MAXIMUM_DEPTH) return NULL;
  m->depth++;
  if (mlirValueIsAOpResult(value)) elements = evaluate_op(m, mlirOpResultGetOwner(value), type);
  m->depth--;
  elements = make_truths(m, value, type, elements);
  return is_known_at_all(elements, type) ? elements : NULL;
}

const mask_tensor *mask_value(mask_values *m, MlirValue value) {
  value = value_origin(m->calls, value);
  int64_t at = pointer_map_get(&m->known, value.ptr);
  if (at < 0) {
    mask_tensor tensor = {.value = value};
    if (!value_type(value, &tensor.type)) return NULL;
    tensor.elements = evaluate(m, value, &tensor.type);
    m->tensors = arena_grow(memory(m), m->tensors, m->count, &m->capacity, sizeof tensor);
    at = (int64_t)m->count++;
    m->tensors[at] = tensor;
    pointer_map_set(&m->known, value.ptr, at);
  }
  return m->tensors[at].elements ? &m->tensors[at] : NULL;
}
