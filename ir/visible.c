/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The walk from a function's results to what they depend on: see visible.h. */
#include "visible.h"

#include "eval_internal.h"

#include <stdlib.h>
#include <string.h>

#define SWALLOWS_ANY_SCORE (-1e30)

/* An op of one result; others have no masks. */
typedef struct visible_op {
  MlirOperation op;
  tensor_type type; /* of the result */
  uint8_t *zero;    /* where the result is exactly 0, or false; NULL: of no interest */
  uint8_t *low;     /* where it swallows any score that it is added to; NULL: nowhere */
  uint8_t *mask;    /* where it is visible; NULL: nowhere, so far */
} visible_op;

typedef struct op_index {
  const void *pointer;
  int index;
} op_index;

struct visible_walk {
  MlirBlock block;
  visible_op *ops;   /* in order */
  op_index *indices; /* sorted by pointer */
  int count;
};

/* ---- The function ---- */

static int compare_pointers(const void *a, const void *b) {
  const uintptr_t x = (uintptr_t)((const op_index *)a)->pointer, y = (uintptr_t)((const op_index *)b)->pointer;
  return (x > y) - (x < y);
}

/* NULL for what is not computed: arguments, constants, weights; and for several results. */
static visible_op *find_op(const visible_walk *walk, MlirOperation op) {
  const op_index key = {.pointer = op.ptr};
  const op_index *found = bsearch(&key, walk->indices, (size_t)walk->count, sizeof key, compare_pointers);
  return found ? &walk->ops[found->index] : NULL;
}

static bool is_computed(MlirOperation op) {
  const op_kind kind = op_kind_of(op);
  return kind != OP_constant && kind != OP_weight && mlirOperationGetNumResults(op) == 1;
}

visible_walk *visible_begin(MlirModule module, const char *function) {
  visible_walk *walk = heap_alloc(1, sizeof *walk);
  walk->block = function_body(module_function(module, function));
  int all = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(walk->block); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    all++;
  walk->ops = heap_alloc((size_t)all + 1, sizeof *walk->ops);
  walk->indices = heap_alloc((size_t)all + 1, sizeof *walk->indices);
  for (MlirOperation op = mlirBlockGetFirstOperation(walk->block); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    visible_op *own = &walk->ops[walk->count];
    own->op = op;
    if (!is_computed(op) || !value_type(mlirOperationGetResult(op, 0), &own->type)) continue;
    walk->indices[walk->count] = (op_index){op.ptr, walk->count};
    walk->count++;
  }
  qsort(walk->indices, (size_t)walk->count, sizeof *walk->indices, compare_pointers);
  return walk;
}

void visible_end(visible_walk *walk) {
  for (int i = 0; walk && i < walk->count; i++) {
    free(walk->ops[i].zero);
    free(walk->ops[i].low);
    free(walk->ops[i].mask);
  }
  if (walk) {
    free(walk->ops);
    free(walk->indices);
  }
  free(walk);
}

/* ---- What the evaluation shows ---- */

/* An op's result decides what else is visible: where it is 0, as a product's left operand, a condition or a mask of
   truth values; where it is very low, as what is added to scores. */
static void find_uses(MlirOperation op, bool *out_zero, bool *out_low) {
  MlirValue result = mlirOperationGetResult(op, 0);
  *out_zero = *out_low = false;
  for (MlirOpOperand use = mlirValueGetFirstUse(result); !mlirOpOperandIsNull(use);
       use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    const op_kind kind = op_kind_of(user);
    const bool masks = kind == OP_attention && mlirValueEqual(op_operand(user, "mask"), result);
    *out_zero |= masks || (mlirOpOperandGetOperandNumber(use) == 0 && (kind == OP_matmul || kind == OP_select));
    *out_low |= masks || (kind == OP_binary && attr_str_is(user, "kind", "add"));
  }
}

static bool is_low(const eval_tensor *result, int64_t index) {
  return result->storage != EVAL_INTEGERS && eval_get(result, index) <= SWALLOWS_ANY_SCORE;
}

void visible_observe(visible_walk *walk, MlirOperation op, const eval_tensor *results, int result_count) {
  visible_op *own = result_count == 1 ? find_op(walk, op) : NULL;
  bool zero, low, any_low = false;
  if (!own || own->zero || own->low) return;
  find_uses(op, &zero, &low);
  const int64_t count = type_elements(&own->type);
  if (zero) own->zero = heap_alloc((size_t)count + 1, 1);
  for (int64_t i = 0; zero && i < count; i++) own->zero[i] = eval_get(results, i) == 0;
  for (int64_t i = 0; low && i < count && !any_low; i++) any_low = is_low(results, i);
  if (!any_low) return;
  own->low = heap_alloc((size_t)count + 1, 1);
  for (int64_t i = 0; i < count; i++) own->low[i] = is_low(results, i);
}

/* ---- Masks ---- */

/* The mask of an operand, to be added to; NULL where nobody asks. */
static uint8_t *mask_of(visible_walk *walk, MlirValue value) {
  MlirOperation op = mlirValueIsNull(value) ? (MlirOperation){0} : value_definition(value);
  visible_op *own = mlirOperationIsNull(op) ? NULL : find_op(walk, op);
  if (!own) return NULL;
  if (!own->mask) own->mask = heap_alloc((size_t)type_elements(&own->type) + 1, 1);
  return own->mask;
}

static void show_all(visible_walk *walk, MlirValue value) {
  uint8_t *mask = mask_of(walk, value);
  tensor_type type = tensor_type_of(value);
  if (mask) memset(mask, 1, (size_t)type_elements(&type));
}

static void show_operands(visible_walk *walk, MlirOperation op) {
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) show_all(walk, mlirOperationGetOperand(op, i));
}

/* Elements of a mask along an index space. */
typedef struct mask_view {
  int64_t start, stride[PINION_MAX_RANK];
} mask_view;

static mask_view dense(const tensor_type *type) {
  mask_view v = {0};
  eval_strides(type, v.stride);
  return v;
}

static mask_view broadcast_to(const tensor_type *type, const tensor_type *shape) {
  mask_view v = {0};
  eval_broadcast_strides(type, shape, v.stride);
  return v;
}

/* to[i] |= from[i] over the space. */
static void spread(const tensor_type *shape, const uint8_t *from, const mask_view *from_view, uint8_t *to,
                   const mask_view *to_view) {
  eval_walk walk = eval_walk_over(shape);
  eval_walk_add(&walk, from_view->start, from_view->stride);
  eval_walk_add(&walk, to_view->start, to_view->stride);
  for (eval_walk_begin(&walk); !walk.done; eval_walk_next(&walk)) {
    const int row = walk.rank - 1;
    const uint8_t *source = from + walk.offset[0];
    uint8_t *target = to + walk.offset[1];
    for (int64_t i = 0; i < walk.size[row]; i++) target[i * walk.stride[1][row]] |= source[i * walk.stride[0][row]];
  }
}

/* Any of `count` bytes. */
static bool any(const uint8_t *mask, int64_t count) {
  return memchr(mask, 1, (size_t)count) != NULL;
}

/* ---- One op's operands, from where its result is visible ---- */

/* Operand `index` broadcasts to the result, element by element. */
static void see_elementwise(visible_walk *walk, const visible_op *own, intptr_t index) {
  MlirValue operand = mlirOperationGetOperand(own->op, index);
  uint8_t *mask = mask_of(walk, operand);
  tensor_type type = tensor_type_of(operand);
  const mask_view from = dense(&own->type), to = broadcast_to(&type, &own->type);
  if (mask) spread(&own->type, own->mask, &from, mask, &to);
}

static const visible_op *find_value(const visible_walk *walk, MlirValue value) {
  MlirOperation op = mlirValueIsNull(value) ? (MlirOperation){0} : value_definition(value);
  return mlirOperationIsNull(op) ? NULL : find_op(walk, op);
}

/* What `bytes`, of `type`, say for every element of `shape`; the caller's to free. */
static uint8_t *broadcast_bytes(const uint8_t *bytes, const tensor_type *type, const tensor_type *shape) {
  uint8_t *whole = heap_alloc((size_t)type_elements(shape) + 1, 1);
  const mask_view from = broadcast_to(type, shape), to = dense(shape);
  spread(shape, bytes, &from, whole, &to);
  return whole;
}

/* Operand `index`, where `bytes` of another operand are `wanted`; everywhere where they are not known. */
static void see_where(visible_walk *walk, visible_op *own, intptr_t index, const uint8_t *bytes,
                      const tensor_type *type, uint8_t wanted) {
  if (!bytes) {
    see_elementwise(walk, own, index);
    return;
  }
  uint8_t *whole = own->mask;
  own->mask = broadcast_bytes(bytes, type, &own->type);
  for (int64_t i = 0; i < type_elements(&own->type); i++) own->mask[i] = whole[i] && own->mask[i] == wanted;
  see_elementwise(walk, own, index);
  free(own->mask);
  own->mask = whole;
}

/* a where the condition holds, b where it does not. */
static void see_select(visible_walk *walk, visible_op *own) {
  const visible_op *condition = find_value(walk, mlirOperationGetOperand(own->op, 0));
  const uint8_t *fails = condition ? condition->zero : NULL;
  see_elementwise(walk, own, 0);
  see_where(walk, own, 1, fails, condition ? &condition->type : NULL, 0);
  see_where(walk, own, 2, fails, condition ? &condition->type : NULL, 1);
}

/* In a sum, a score disappears in what hides it. */
static void see_binary(visible_walk *walk, visible_op *own) {
  const bool is_sum = attr_str_is(own->op, "kind", "add");
  for (intptr_t i = 0; i < 2; i++) {
    const visible_op *other = is_sum ? find_value(walk, mlirOperationGetOperand(own->op, 1 - i)) : NULL;
    see_where(walk, own, i, other ? other->low : NULL, other ? &other->type : NULL, 0);
  }
}

/* All over the dimensions from `axis` on is visible, if any of it is. */
static void see_rows(visible_walk *walk, const visible_op *own, int axis) {
  uint8_t *mask = mask_of(walk, mlirOperationGetOperand(own->op, 0));
  int64_t width = 1;
  for (int d = axis; d < own->type.rank; d++) width *= own->type.dims[d];
  for (int64_t at = 0; mask && width && at < type_elements(&own->type); at += width)
    if (any(own->mask + at, width)) memset(mask + at, 1, (size_t)width);
}

/* Matrices y[m, n] = a[m, k] b[k, n] at these offsets. A row of b that is multiplied by 0 alone is not visible. */
static void see_product(const uint8_t *y, uint8_t *a, const uint8_t *a_zero, uint8_t *b, int64_t m, int64_t n,
                        int64_t k) {
  for (int64_t row = 0; row < m; row++) {
    const uint8_t *seen = y + row * n;
    if (!any(seen, n)) continue;
    if (a) memset(a + row * k, 1, (size_t)k);
    for (int64_t i = 0; b && i < k; i++)
      for (int64_t column = 0; !(a_zero && a_zero[row * k + i]) && column < n; column++)
        b[i * n + column] |= seen[column];
  }
}

static void see_matmul(visible_walk *walk, const visible_op *own) {
  MlirValue operands[] = {mlirOperationGetOperand(own->op, 0), mlirOperationGetOperand(own->op, 1)};
  tensor_type a = tensor_type_of(operands[0]), b = tensor_type_of(operands[1]), batches = own->type;
  if (a.rank < 2 || b.rank < 2) {
    show_operands(walk, own->op);
    return;
  }
  const int64_t m = a.dims[a.rank - 2], k = a.dims[a.rank - 1], n = b.dims[b.rank - 1];
  const visible_op *left = find_value(walk, operands[0]);
  uint8_t *a_mask = mask_of(walk, operands[0]), *b_mask = mask_of(walk, operands[1]);
  batches.rank -= 2;
  a.rank -= 2;
  b.rank -= 2;
  eval_walk over = eval_walk_over(&batches);
  const mask_view y_view = dense(&batches), a_view = broadcast_to(&a, &batches), b_view = broadcast_to(&b, &batches);
  eval_walk_add(&over, 0, y_view.stride);
  eval_walk_add(&over, 0, a_view.stride);
  eval_walk_add(&over, 0, b_view.stride);
  for (eval_walk_begin(&over); !over.done; eval_walk_next(&over))
    for (int64_t i = 0; i < over.size[over.rank - 1]; i++) {
      const int64_t *const stride[] = {over.stride[0], over.stride[1], over.stride[2]};
      const int64_t y_at = (over.offset[0] + i * stride[0][over.rank - 1]) * m * n;
      const int64_t a_at = (over.offset[1] + i * stride[1][over.rank - 1]) * m * k;
      const int64_t b_at = (over.offset[2] + i * stride[2][over.rank - 1]) * k * n;
      see_product(own->mask + y_at, a_mask ? a_mask + a_at : NULL, left && left->zero ? left->zero + a_at : NULL,
                  b_mask ? b_mask + b_at : NULL, m, n, k);
    }
}

/* What an attention's mask hides, as [B, H, Q, K]; NULL where it is not known. */
static uint8_t *hidden_keys(const visible_walk *walk, const visible_op *own, const tensor_type *scores) {
  const visible_op *mask = find_value(walk, op_operand(own->op, "mask"));
  const uint8_t *hides = !mask ? NULL : mask->type.dtype == PINION_DTYPE_bool ? mask->zero : mask->low;
  return hides ? broadcast_bytes(hides, &mask->type, scores) : NULL;
}

/* A query that sees nothing may depend on every key: additive masks make its weights equal. */
static bool hides(const uint8_t *row, int64_t key, int64_t keys) {
  return row && row[key] && memchr(row, 0, (size_t)keys) != NULL;
}

static void see_attention(visible_walk *walk, const visible_op *own) {
  MlirValue operands[] = {op_operand(own->op, "q"), op_operand(own->op, "k"), op_operand(own->op, "v")};
  const tensor_type q = tensor_type_of(operands[0]), k = tensor_type_of(operands[1]), v = tensor_type_of(operands[2]);
  const int64_t heads = q.dims[1], groups = k.dims[1], queries = q.dims[2], keys = k.dims[2];
  tensor_type scores = {.dtype = q.dtype, .rank = 4, .dims = {q.dims[0], heads, queries, keys}};
  uint8_t *masks[] = {mask_of(walk, operands[0]), mask_of(walk, operands[1]), mask_of(walk, operands[2])};
  uint8_t *hidden = hidden_keys(walk, own, &scores);
  if (!mlirValueIsNull(op_operand(own->op, "mask"))) show_all(walk, op_operand(own->op, "mask"));
  for (int64_t row = 0; row < q.dims[0] * heads * queries; row++) {
    const int64_t head = row / queries, group = head / heads * groups + head % heads / (heads / groups);
    if (!any(own->mask + row * v.dims[3], v.dims[3])) continue;
    if (masks[0]) memset(masks[0] + row * q.dims[3], 1, (size_t)q.dims[3]);
    for (int64_t key = 0; key < keys; key++) {
      if (hides(hidden ? hidden + row * keys : NULL, key, keys)) continue;
      if (masks[1]) memset(masks[1] + (group * keys + key) * k.dims[3], 1, (size_t)k.dims[3]);
      if (masks[2]) memset(masks[2] + (group * keys + key) * v.dims[3], 1, (size_t)v.dims[3]);
    }
  }
  free(hidden);
}

/* ---- Ops that move elements ---- */

static void see_transpose(visible_walk *walk, const visible_op *own) {
  MlirValue x = mlirOperationGetOperand(own->op, 0);
  uint8_t *mask = mask_of(walk, x);
  tensor_type type = tensor_type_of(x);
  int64_t permutation[PINION_MAX_RANK];
  const mask_view from = dense(&own->type), whole = dense(&type);
  mask_view to = {0};
  const int rank = attr_i64s(own->op, "permutation", permutation, PINION_MAX_RANK);
  for (int d = 0; d < rank; d++) to.stride[d] = whole.stride[permutation[d]];
  if (mask) spread(&own->type, own->mask, &from, mask, &to);
}

static void see_slice(visible_walk *walk, const visible_op *own) {
  MlirValue x = mlirOperationGetOperand(own->op, 0);
  uint8_t *mask = mask_of(walk, x);
  tensor_type type = tensor_type_of(x);
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  const mask_view from = dense(&own->type), whole = dense(&type);
  mask_view to = {0};
  const int rank = attr_i64s(own->op, "starts", starts, PINION_MAX_RANK);
  attr_i64s(own->op, "steps", steps, PINION_MAX_RANK);
  for (int d = 0; d < rank; d++) {
    to.start += starts[d] * whole.stride[d];
    to.stride[d] = steps[d] * whole.stride[d];
  }
  if (mask) spread(&own->type, own->mask, &from, mask, &to);
}

static void see_concat(visible_walk *walk, const visible_op *own) {
  const int64_t axis = attr_i64(own->op, "axis", 0);
  mask_view from = dense(&own->type);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(own->op); i++) {
    MlirValue piece = mlirOperationGetOperand(own->op, i);
    uint8_t *mask = mask_of(walk, piece);
    tensor_type type = tensor_type_of(piece);
    const mask_view to = dense(&type);
    if (mask) spread(&type, own->mask, &from, mask, &to);
    from.start += type.dims[axis] * from.stride[axis];
  }
}

static void see_reduce(visible_walk *walk, const visible_op *own) {
  MlirValue x = mlirOperationGetOperand(own->op, 0);
  uint8_t *mask = mask_of(walk, x);
  tensor_type type = tensor_type_of(x);
  int64_t axes[PINION_MAX_RANK];
  const int count = attr_i64s(own->op, "axes", axes, PINION_MAX_RANK);
  const bool keep = attr_bool(own->op, "keep", false);
  const mask_view whole = dense(&own->type), to = dense(&type);
  mask_view from = {0};
  for (int d = 0, kept = 0; d < type.rank; d++) {
    bool reduced = false;
    for (int i = 0; i < count; i++) reduced |= axes[i] == d;
    if (!reduced) from.stride[d] = whole.stride[keep ? d : kept];
    kept += !reduced;
  }
  if (mask) spread(&type, own->mask, &from, mask, &to);
}

static void see_operands(visible_walk *walk, visible_op *own) {
  uint8_t *mask;
  switch (op_kind_of(own->op)) {
  case OP_unary:
  case OP_cast:
  case OP_broadcast: see_elementwise(walk, own, 0); break;
  case OP_binary: see_binary(walk, own); break;
  case OP_select: see_select(walk, own); break;
  case OP_reshape:
    mask = mask_of(walk, mlirOperationGetOperand(own->op, 0));
    for (int64_t i = 0; mask && i < type_elements(&own->type); i++) mask[i] |= own->mask[i];
    break;
  case OP_transpose: see_transpose(walk, own); break;
  case OP_slice: see_slice(walk, own); break;
  case OP_concat: see_concat(walk, own); break;
  case OP_reduce: see_reduce(walk, own); break;
  case OP_softmax: see_rows(walk, own, (int)attr_i64(own->op, "axis", 0)); break;
  case OP_matmul: see_matmul(walk, own); break;
  case OP_attention: see_attention(walk, own); break;
  case OP_norm:
    see_rows(walk, own, (int)attr_i64(own->op, "axis", 0));
    for (intptr_t i = 1; i < mlirOperationGetNumOperands(own->op); i++) see_elementwise(walk, own, i);
    break;
  case OP_rope:
    see_rows(walk, own, own->type.rank - 1);
    for (intptr_t i = 1; i < mlirOperationGetNumOperands(own->op); i++)
      show_all(walk, mlirOperationGetOperand(own->op, i));
    break;
  default: show_operands(walk, own->op);
  }
}

void visible_run(visible_walk *walk, visible_report *report, void *user) {
  MlirOperation end = block_terminator(walk->block);
  show_operands(walk, end);
  for (int i = walk->count - 1; i >= 0; i--) {
    visible_op *own = &walk->ops[i];
    report(user, own->op, own->mask);
    if (own->mask) see_operands(walk, own);
    free(own->mask);
    own->mask = NULL;
  }
}
