/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * canonicalise: local simplifications, applied until none is left.
 *
 * Requires: nothing. Produces: constants as the second operand of commutative ops; no op that only renames its operand.
 * Breaks: nothing. Every rule is exact: results keep each bit (x + 0 stays, since -0 + 0 is +0; x - 0 goes).
 *
 * A rule looks at one op and returns the value that replaces it, the op's own result if it changed the op in place, or
 * a null value. The table at the end lists them. The driver keeps a work list: what a rewrite may have enabled (users
 * of the new value, new ops, operands that lost a use) is looked at again, so the time is linear in the rewrites.
 */
#include "graph.h"

#include <math.h>
#include <string.h>

typedef struct rewriter {
  pass_context *context;
  compilation *compilation; /* the context's */
  arena *arena;
  MlirOperation *queue; /* a stack */
  size_t count, capacity;
  pointer_map states; /* of ops: op_state */
  int changes;
} rewriter;

typedef enum op_state { STATE_IDLE, STATE_QUEUED, STATE_ERASED } op_state;

typedef MlirValue rule(rewriter *r, MlirOperation op);

/* ---- What rules ask ---- */

static const MlirValue no_change = {0};

static MlirValue operand_of(MlirOperation op, intptr_t index) {
  return mlirOperationGetOperand(op, index);
}

static MlirValue result_of(MlirOperation op) {
  return mlirOperationGetResult(op, 0);
}

/* The operand of `value`'s op if it is of that kind, else null. */
static MlirValue operand_through(MlirValue value, op_kind kind) {
  MlirOperation op = value_defined_by(value, kind);
  return mlirOperationIsNull(op) ? no_change : operand_of(op, 0);
}

static bool same_shape(const tensor_type *a, const tensor_type *b) {
  return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

static bool same_type(MlirValue a, MlirValue b) {
  return mlirTypeEqual(mlirValueGetType(a), mlirValueGetType(b));
}

static bool is_leaf(MlirValue value) {
  return value_is_constant(value) || !mlirOperationIsNull(value_defined_by(value, OP_weight));
}

/* `value` in the shape of op's result: by a broadcast if it is smaller. */
static MlirValue as_result(rewriter *r, MlirOperation op, MlirValue value) {
  if (same_type(value, result_of(op))) return value;
  tensor_type type = tensor_type_of(result_of(op));
  if (value_dtype(value) != type.dtype) return no_change;
  builder b = builder_before(r->compilation, op);
  return build_broadcast(&b, value, type.rank, type.dims);
}

/* Whether `outer` is `inner` with dimensions of 1 put in front. */
static bool only_leads_with_ones(const tensor_type *inner, const tensor_type *outer) {
  int more = outer->rank - inner->rank;
  if (more <= 0) return false;
  for (int i = 0; i < more; i++)
    if (outer->dims[i] != 1) return false;
  return memcmp(outer->dims + more, inner->dims, (size_t)inner->rank * sizeof *inner->dims) == 0;
}

/* A value that broadcasts to all that `value` broadcasts to, from before a broadcast or a reshape that only adds
   leading ones; null if there is none. */
static MlirValue before_broadcast(MlirValue value) {
  MlirValue source = operand_through(value, OP_broadcast);
  if (!mlirValueIsNull(source)) return source;
  source = operand_through(value, OP_reshape);
  if (mlirValueIsNull(source)) return no_change;
  tensor_type inner = tensor_type_of(source), outer = tensor_type_of(value);
  return only_leads_with_ones(&inner, &outer) ? source : no_change;
}

/* Whether the operands of an elementwise op, with `value` in place of operand `index`, still have the result's shape.
 */
static bool shape_stays(MlirOperation op, intptr_t index, MlirValue value) {
  tensor_type shape = tensor_type_of(value), result = tensor_type_of(result_of(op));
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    tensor_type other = tensor_type_of(operand_of(op, i));
    if (i != index && !shape_broadcast(&shape, &other, &shape)) return false;
  }
  return same_shape(&shape, &result);
}

static MlirValue scalar_constant(rewriter *r, MlirOperation op, MlirValue uniform) {
  tensor_type scalar = {.dtype = value_dtype(uniform)};
  builder b = builder_before(r->compilation, op);
  const void *bytes = constant_bytes(r->compilation, value_definition(uniform));
  return bytes ? build_constant(&b, &scalar, bytes) : no_change;
}

/* An elementwise op broadcasts by itself: its operands need not be, and a uniform constant can be a scalar. */
static MlirValue shrink_operands(rewriter *r, MlirOperation op) {
  double number;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = operand_of(op, i), smaller = before_broadcast(operand);
    if (mlirValueIsNull(smaller) && tensor_type_of(operand).rank > 0 && value_is_constant(operand) &&
        shape_stays(op, i, operand)) {
      tensor_type scalar = {.dtype = value_dtype(operand)}, shape = scalar, result = tensor_type_of(result_of(op));
      for (intptr_t k = 0; k < mlirOperationGetNumOperands(op); k++) {
        tensor_type other = tensor_type_of(operand_of(op, k));
        if (k != i) shape_broadcast(&shape, &other, &shape);
      }
      if (same_shape(&shape, &result) && value_uniform(r->compilation, operand, &number))
        smaller = scalar_constant(r, op, operand);
    }
    if (mlirValueIsNull(smaller) || !shape_stays(op, i, smaller)) continue;
    mlirOperationSetOperand(op, i, smaller);
    return result_of(op);
  }
  return no_change;
}

/* ---- Elementwise ---- */

/* Bits of an exact integer: of an integer type's values, or of a float's significand. */
static int integer_bits(pinion_dtype dtype) {
  switch (dtype) {
  case PINION_DTYPE_bool: return 1;
  case PINION_DTYPE_i8: return 7;
  case PINION_DTYPE_u8: return 8;
  case PINION_DTYPE_i16: return 15;
  case PINION_DTYPE_u16: return 16;
  case PINION_DTYPE_i32: return 31;
  case PINION_DTYPE_u32: return 32;
  case PINION_DTYPE_i64: return 63;
  case PINION_DTYPE_u64: return 64;
  case PINION_DTYPE_bf16: return 8;
  case PINION_DTYPE_f16: return 11;
  case PINION_DTYPE_f32: return 24;
  default: return 53;
  }
}

static bool is_unsigned(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_u8 || dtype == PINION_DTYPE_u16 || dtype == PINION_DTYPE_u32 ||
         dtype == PINION_DTYPE_u64 || dtype == PINION_DTYPE_bool;
}

/* Whether a cast keeps every value. */
static bool cast_is_exact(pinion_dtype from, pinion_dtype to) {
  if (from == to) return true;
  if (dtype_is_float(from)) return to == PINION_DTYPE_f64 || (to == PINION_DTYPE_f32 && from != PINION_DTYPE_f64);
  if (!dtype_is_float(to) && is_unsigned(to) && !is_unsigned(from)) return false;
  return integer_bits(from) <= integer_bits(to);
}

/* A concatenation that is read in a narrower float alone is one of narrower pieces: what makes a piece rounds it in
   passing, and what does not change between steps is rounded once. */
static MlirValue cast_of_concat(rewriter *r, MlirOperation op, MlirOperation concat) {
  const pinion_dtype to = value_dtype(result_of(op));
  if (!value_has_one_use(result_of(concat)) || !dtype_is_float(to) ||
      !cast_is_exact(to, value_dtype(result_of(concat))))
    return no_change;
  builder b = builder_before(r->compilation, concat);
  const intptr_t count = mlirOperationGetNumOperands(concat);
  MlirValue *pieces = arena_alloc(r->arena, (size_t)count * sizeof *pieces);
  for (intptr_t i = 0; i < count; i++) {
    b.location = mlirOperationGetLocation(op);
    pieces[i] = build_cast(&b, operand_of(concat, i), to);
    if (mlirValueIsNull(pieces[i])) return no_change;
  }
  b.location = mlirOperationGetLocation(concat);
  return build_concat(&b, (int)count, pieces, attr_i64(concat, "axis", 0));
}

static MlirValue simplify_cast(rewriter *r, MlirOperation op) {
  MlirValue x = operand_of(op, 0), inner = operand_through(x, OP_cast);
  MlirOperation concat = value_defined_by(x, OP_concat);
  if (same_type(x, result_of(op))) return x;
  if (!mlirOperationIsNull(concat)) return cast_of_concat(r, op, concat);
  if (mlirValueIsNull(inner) || !cast_is_exact(value_dtype(inner), value_dtype(x))) return no_change;
  if (same_type(inner, result_of(op))) return inner;
  builder b = builder_before(r->compilation, op);
  return build_cast(&b, inner, value_dtype(result_of(op)));
}

static MlirValue simplify_unary(rewriter *r, MlirOperation op) {
  (void)r;
  MlirOperation inner = value_defined_by(operand_of(op, 0), OP_unary);
  if (mlirOperationIsNull(inner)) return no_change;
  bool undone = (attr_str_is(op, "kind", "neg") && attr_str_is(inner, "kind", "neg")) ||
                (attr_str_is(op, "kind", "not") && attr_str_is(inner, "kind", "not") &&
                 value_dtype(result_of(op)) == PINION_DTYPE_bool);
  return undone ? operand_of(inner, 0) : no_change;
}

static bool kind_is(MlirStringRef kind, const char *name) {
  return kind.length == strlen(name) && memcmp(kind.data, name, kind.length) == 0;
}

static bool is_commutative(MlirStringRef kind) {
  static const char *const kinds[] = {"add", "mul", "min", "max", "and", "or", "xor", "eq", "ne"};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kind_is(kind, kinds[i])) return true;
  return false;
}

/* Whether `x kind number` is x, for every x of the type. */
static bool is_neutral(MlirStringRef kind, pinion_dtype dtype, double number) {
  bool negative_zero = number == 0 && signbit(number), real = dtype_is_float(dtype),
       boolean = dtype == PINION_DTYPE_bool;
  if (kind_is(kind, "add")) return number == 0 && (!real || negative_zero);
  if (kind_is(kind, "sub")) return number == 0 && (!real || !negative_zero);
  if (kind_is(kind, "mul") || kind_is(kind, "div") || kind_is(kind, "pow")) return number == 1;
  if (kind_is(kind, "and")) return boolean && number == 1;
  if (kind_is(kind, "or") || kind_is(kind, "xor")) return boolean && number == 0;
  return false;
}

/* Whether `x kind number` is `number`, for every x. */
static bool is_absorbing(MlirStringRef kind, pinion_dtype dtype, double number) {
  if (dtype != PINION_DTYPE_bool) return false;
  return (kind_is(kind, "and") && number == 0) || (kind_is(kind, "or") && number == 1);
}

static MlirValue simplify_binary(rewriter *r, MlirOperation op) {
  MlirValue a = operand_of(op, 0), b = operand_of(op, 1);
  MlirStringRef kind = attr_str(op, "kind");
  double number;
  if (is_leaf(a) && !is_leaf(b) && is_commutative(kind)) {
    mlirOperationSetOperand(op, 0, b);
    mlirOperationSetOperand(op, 1, a);
    return result_of(op);
  }
  if (value_uniform(r->compilation, b, &number)) {
    pinion_dtype dtype = value_dtype(a);
    if (is_neutral(kind, dtype, number)) return as_result(r, op, a);
    if (is_absorbing(kind, dtype, number)) return as_result(r, op, b);
    if (kind_is(kind, "pow") && number == 2 && same_type(a, result_of(op))) {
      builder before = builder_before(r->compilation, op);
      return build_binary(&before, "mul", a, a);
    }
  }
  return shrink_operands(r, op);
}

static MlirValue simplify_select(rewriter *r, MlirOperation op) {
  MlirValue condition = operand_of(op, 0), a = operand_of(op, 1), b = operand_of(op, 2);
  double number;
  if (mlirValueEqual(a, b)) return as_result(r, op, a);
  if (value_uniform(r->compilation, condition, &number)) return as_result(r, op, number != 0 ? a : b);
  MlirOperation inverted = value_defined_by(condition, OP_unary);
  if (!mlirOperationIsNull(inverted) && attr_str_is(inverted, "kind", "not")) {
    mlirOperationSetOperand(op, 0, operand_of(inverted, 0));
    mlirOperationSetOperand(op, 1, b);
    mlirOperationSetOperand(op, 2, a);
    return result_of(op);
  }
  return shrink_operands(r, op);
}

/* ---- Shape ---- */

static MlirValue retyped_constant(rewriter *r, MlirOperation op, MlirOperation constant) {
  MlirContext context = r->compilation->context;
  MlirType type = mlirValueGetType(result_of(op));
  MlirAttribute value = mlirOperationGetAttributeByName(constant, mlirStringRefCreateFromCString("value"));
  if (!mlirAttributeIsADenseElements(value)) return no_change;
  MlirNamedAttribute attribute = make_named(context, "value", mlirDenseElementsAttrReshapeGet(value, type));
  builder b = builder_before(r->compilation, op);
  b.location = mlirOperationGetLocation(constant);
  MlirOperation retyped = build_op(&b, OP_constant, 0, NULL, 1, &attribute, 1, &type);
  return mlirOperationIsNull(retyped) ? no_change : result_of(retyped);
}

/* A weight has no shape of its own in its file. */
static MlirValue retyped_weight(rewriter *r, MlirOperation op, MlirOperation weight) {
  if (!value_has_one_use(result_of(weight)) || attr_str_is(weight, "file", "@weights")) return no_change;
  intptr_t count = op_attribute_count(weight);
  MlirNamedAttribute *attributes = arena_alloc(r->arena, (size_t)count * sizeof *attributes);
  for (intptr_t i = 0; i < count; i++) attributes[i] = op_attribute(weight, i);
  MlirType type = mlirValueGetType(result_of(op));
  builder b = builder_before(r->compilation, op);
  b.location = mlirOperationGetLocation(weight);
  MlirOperation retyped = build_op(&b, OP_weight, 0, NULL, (int)count, attributes, 1, &type);
  return mlirOperationIsNull(retyped) ? no_change : result_of(retyped);
}

static MlirValue simplify_reshape(rewriter *r, MlirOperation op) {
  MlirValue x = operand_of(op, 0), inner = operand_through(x, OP_reshape);
  if (same_type(x, result_of(op))) return x;
  if (!mlirValueIsNull(inner)) {
    mlirOperationSetOperand(op, 0, inner);
    return result_of(op);
  }
  MlirOperation constant = value_defined_by(x, OP_constant), weight = value_defined_by(x, OP_weight);
  if (!mlirOperationIsNull(constant)) return retyped_constant(r, op, constant);
  if (!mlirOperationIsNull(weight)) return retyped_weight(r, op, weight);
  return no_change;
}

/* Dimensions of 1 apart, the permutation keeps the order. */
static bool moves_only_ones(const tensor_type *x, const int64_t *permutation) {
  int64_t last = -1;
  for (int i = 0; i < x->rank; i++) {
    if (x->dims[permutation[i]] == 1) continue;
    if (permutation[i] < last) return false;
    last = permutation[i];
  }
  return true;
}

static MlirValue simplify_transpose(rewriter *r, MlirOperation op) {
  MlirValue x = operand_of(op, 0);
  tensor_type type = tensor_type_of(x), result = tensor_type_of(result_of(op));
  int64_t permutation[PINION_MAX_RANK], inner[PINION_MAX_RANK], composed[PINION_MAX_RANK];
  if (attr_i64s(op, "permutation", permutation, PINION_MAX_RANK) != type.rank) return no_change;
  builder b = builder_before(r->compilation, op);
  if (moves_only_ones(&type, permutation))
    return same_type(x, result_of(op)) ? x : build_reshape(&b, x, result.rank, result.dims);
  MlirOperation before = value_defined_by(x, OP_transpose);
  if (mlirOperationIsNull(before)) return no_change;
  attr_i64s(before, "permutation", inner, PINION_MAX_RANK);
  for (int i = 0; i < type.rank; i++) composed[i] = inner[permutation[i]];
  return build_transpose(&b, operand_of(before, 0), composed);
}

static MlirValue simplify_broadcast(rewriter *r, MlirOperation op) {
  MlirValue x = operand_of(op, 0), source = before_broadcast(x);
  tensor_type inner = tensor_type_of(x), outer = tensor_type_of(result_of(op));
  if (same_type(x, result_of(op))) return x;
  if (only_leads_with_ones(&inner, &outer)) {
    builder b = builder_before(r->compilation, op);
    return build_reshape(&b, x, outer.rank, outer.dims);
  }
  if (mlirValueIsNull(source)) return no_change;
  mlirOperationSetOperand(op, 0, source);
  return result_of(op);
}

/* ---- Slices and concatenations ---- */

typedef struct slice_range {
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
} slice_range;

static slice_range read_slice(MlirOperation op) {
  slice_range range = {{0}, {0}};
  attr_i64s(op, "starts", range.starts, PINION_MAX_RANK);
  attr_i64s(op, "steps", range.steps, PINION_MAX_RANK);
  return range;
}

static bool slice_is_whole(const tensor_type *x, const tensor_type *result, const slice_range *range) {
  for (int i = 0; i < x->rank; i++)
    if (x->dims[i] != result->dims[i] || range->starts[i] != 0 || (range->steps[i] != 1 && x->dims[i] > 1))
      return false;
  return true;
}

static MlirValue slice_of_slice(rewriter *r, MlirOperation op, MlirOperation inner) {
  tensor_type result = tensor_type_of(result_of(op));
  slice_range first = read_slice(inner), then = read_slice(op);
  for (int i = 0; i < result.rank; i++) {
    first.starts[i] += then.starts[i] * first.steps[i];
    first.steps[i] *= then.steps[i];
    if (result.dims[i] == 1) first.steps[i] = 1; /* one element has no step */
  }
  builder b = builder_before(r->compilation, op);
  return build_slice(&b, operand_of(inner, 0), first.starts, result.dims, first.steps);
}

/* A slice that lies within one operand of a concatenation is a slice of that operand. */
static MlirValue slice_of_concat(rewriter *r, MlirOperation op, MlirOperation concat) {
  int64_t axis = attr_i64(concat, "axis", 0), from = 0;
  tensor_type result = tensor_type_of(result_of(op));
  slice_range range = read_slice(op);
  int64_t first = range.starts[axis], last = first + (result.dims[axis] - 1) * range.steps[axis];
  if (result.dims[axis] == 0) return no_change;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(concat); i++) {
    int64_t extent = tensor_type_of(operand_of(concat, i)).dims[axis];
    if (first >= from && last >= from && first < from + extent && last < from + extent) {
      range.starts[axis] -= from;
      builder b = builder_before(r->compilation, op);
      return build_slice(&b, operand_of(concat, i), range.starts, result.dims, range.steps);
    }
    from += extent;
  }
  return no_change;
}

static MlirValue simplify_slice(rewriter *r, MlirOperation op) {
  MlirValue x = operand_of(op, 0);
  tensor_type type = tensor_type_of(x), result = tensor_type_of(result_of(op));
  slice_range range = read_slice(op);
  if (slice_is_whole(&type, &result, &range)) return x;
  MlirOperation slice = value_defined_by(x, OP_slice), concat = value_defined_by(x, OP_concat);
  if (!mlirOperationIsNull(slice)) return slice_of_slice(r, op, slice);
  if (!mlirOperationIsNull(concat)) return slice_of_concat(r, op, concat);
  return no_change;
}

/* Whether `b` continues the slice `a` of the same tensor along `axis`. */
static bool slices_adjoin(MlirOperation a, MlirOperation b, int64_t axis) {
  if (mlirOperationIsNull(a) || mlirOperationIsNull(b) || !mlirValueEqual(operand_of(a, 0), operand_of(b, 0)))
    return false;
  tensor_type type = tensor_type_of(result_of(a));
  slice_range first = read_slice(a), second = read_slice(b);
  for (int i = 0; i < type.rank; i++) {
    int64_t expected = first.starts[i] + (i == axis ? type.dims[i] * first.steps[i] : 0);
    bool one_element = i != axis && type.dims[i] == 1;
    if (second.starts[i] != expected || (second.steps[i] != first.steps[i] && !one_element)) return false;
  }
  return first.steps[axis] == 1;
}

/* Slices cut from one tensor and put together again, in order, are one slice. */
static MlirValue join_slices(rewriter *r, MlirOperation op, int64_t axis) {
  intptr_t count = mlirOperationGetNumOperands(op);
  MlirOperation first = value_defined_by(operand_of(op, 0), OP_slice);
  for (intptr_t i = 1; i < count; i++)
    if (!slices_adjoin(value_defined_by(operand_of(op, i - 1), OP_slice), value_defined_by(operand_of(op, i), OP_slice),
                       axis))
      return no_change;
  slice_range range = read_slice(first);
  tensor_type result = tensor_type_of(result_of(op));
  builder b = builder_before(r->compilation, op);
  return build_slice(&b, operand_of(first, 0), range.starts, result.dims, range.steps);
}

/* The operands without empty ones, and with those of inner concatenations that nothing else uses. */
static int flatten_operands(rewriter *r, MlirOperation op, int64_t axis, MlirValue **out_operands) {
  size_t count = 0, capacity = 0;
  MlirValue *operands = NULL;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirOperation inner = value_defined_by(operand_of(op, i), OP_concat);
    bool opens =
        !mlirOperationIsNull(inner) && value_has_one_use(operand_of(op, i)) && attr_i64(inner, "axis", 0) == axis;
    intptr_t pieces = opens ? mlirOperationGetNumOperands(inner) : 1;
    for (intptr_t k = 0; k < pieces; k++) {
      MlirValue piece = opens ? operand_of(inner, k) : operand_of(op, i);
      if (tensor_type_of(piece).dims[axis] == 0) continue;
      operands = arena_grow(r->arena, operands, count, &capacity, sizeof piece);
      operands[count++] = piece;
    }
  }
  *out_operands = operands;
  return (int)count;
}

static MlirValue simplify_concat(rewriter *r, MlirOperation op) {
  int64_t axis = attr_i64(op, "axis", 0);
  if (mlirOperationGetNumOperands(op) == 1) return operand_of(op, 0);
  MlirValue joined = join_slices(r, op, axis), *operands;
  if (!mlirValueIsNull(joined)) return joined;
  int count = flatten_operands(r, op, axis, &operands);
  bool same = count == mlirOperationGetNumOperands(op);
  for (int i = 0; same && i < count; i++) same = mlirValueEqual(operands[i], operand_of(op, i));
  if (same || count == 0) return no_change;
  builder b = builder_before(r->compilation, op);
  return build_concat(&b, count, operands, axis);
}

/* One known index: a slice. */
static MlirValue simplify_gather(rewriter *r, MlirOperation op) {
  MlirValue x = operand_of(op, 0), index = operand_of(op, 1);
  tensor_type type = tensor_type_of(x), result = tensor_type_of(result_of(op)), index_type = tensor_type_of(index);
  int64_t axis = attr_i64(op, "axis", 0), starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  double number;
  if (type_elements(&index_type) != 1 || !value_uniform(r->compilation, index, &number)) return no_change;
  starts[axis] = (int64_t)number < 0 ? (int64_t)number + type.dims[axis] : (int64_t)number;
  if (starts[axis] < 0 || starts[axis] >= type.dims[axis]) return no_change;
  for (int i = 0; i < type.rank; i++) steps[i] = 1;
  type.dims[axis] = 1;
  builder b = builder_before(r->compilation, op);
  MlirValue row = build_slice(&b, x, starts, type.dims, steps);
  return mlirValueIsNull(row) ? no_change : build_reshape(&b, row, result.rank, result.dims);
}

static MlirValue simplify_pad(rewriter *r, MlirOperation op) {
  (void)r;
  return same_type(operand_of(op, 0), result_of(op)) ? operand_of(op, 0) : no_change;
}

/* Reducing dimensions of 1: each kind of reduction of one element is that element. */
static MlirValue simplify_reduce(rewriter *r, MlirOperation op) {
  MlirValue x = operand_of(op, 0);
  tensor_type type = tensor_type_of(x), result = tensor_type_of(result_of(op));
  if (type.dtype != result.dtype || type_elements(&type) != type_elements(&result)) return no_change;
  builder b = builder_before(r->compilation, op);
  return build_reshape(&b, x, result.rank, result.dims);
}

/* matmul broadcasts leading dimensions by itself. */
static MlirValue simplify_matmul(rewriter *r, MlirOperation op) {
  (void)r;
  for (intptr_t i = 0; i < 2; i++) {
    MlirValue source = operand_through(operand_of(op, i), OP_broadcast);
    if (mlirValueIsNull(source)) continue;
    tensor_type small = tensor_type_of(source), large = tensor_type_of(operand_of(op, i)),
                other = tensor_type_of(operand_of(op, 1 - i)), joint;
    if (small.rank != large.rank || small.rank < 3 || other.rank < 3) continue;
    if (memcmp(small.dims + small.rank - 2, large.dims + large.rank - 2, 2 * sizeof *small.dims) != 0) continue;
    tensor_type result = tensor_type_of(result_of(op));
    small.rank -= 2;
    other.rank -= 2;
    result.rank -= 2;
    if (!shape_broadcast(&small, &other, &joint) || !same_shape(&joint, &result)) continue;
    mlirOperationSetOperand(op, i, source);
    return result_of(op);
  }
  return no_change;
}

/* ---- The driver ---- */

static rule *const rules[OP_COUNT] = {
    [OP_unary] = simplify_unary,         [OP_binary] = simplify_binary,   [OP_select] = simplify_select,
    [OP_cast] = simplify_cast,           [OP_reshape] = simplify_reshape, [OP_transpose] = simplify_transpose,
    [OP_broadcast] = simplify_broadcast, [OP_slice] = simplify_slice,     [OP_concat] = simplify_concat,
    [OP_gather] = simplify_gather,       [OP_pad] = simplify_pad,         [OP_reduce] = simplify_reduce,
    [OP_matmul] = simplify_matmul,
};

static void enqueue(rewriter *r, MlirOperation op) {
  if (op_kind_of(op) == OP_NONE || pointer_map_get(&r->states, op.ptr) == STATE_QUEUED) return;
  pointer_map_set(&r->states, op.ptr, STATE_QUEUED);
  r->queue = arena_grow(r->arena, r->queue, r->count, &r->capacity, sizeof op);
  r->queue[r->count++] = op;
}

static void enqueue_users(rewriter *r, MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
    enqueue(r, mlirOpOperandGetOwner(use));
}

static void enqueue_definition(rewriter *r, MlirValue value) {
  if (mlirValueIsAOpResult(value)) enqueue(r, mlirOpResultGetOwner(value));
}

/* What a rule has just built is unknown to the state map; a rule builds a few ops at most. */
static void enqueue_new(rewriter *r, MlirValue value) {
  if (!mlirValueIsAOpResult(value)) return;
  MlirOperation op = mlirOpResultGetOwner(value);
  int64_t state = pointer_map_get(&r->states, op.ptr);
  if (state == STATE_IDLE || state == STATE_QUEUED) return;
  enqueue(r, op);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) enqueue_new(r, operand_of(op, i));
}

static void erase(rewriter *r, MlirOperation op) {
  intptr_t count = mlirOperationGetNumOperands(op);
  MlirValue *operands = arena_alloc(r->arena, (size_t)(count + 1) * sizeof *operands);
  for (intptr_t i = 0; i < count; i++) operands[i] = operand_of(op, i);
  pointer_map_set(&r->states, op.ptr, STATE_ERASED); /* the address may come back as another op's */
  op_erase(op);
  for (intptr_t i = 0; i < count; i++) enqueue_definition(r, operands[i]); /* perhaps dead now */
}

static bool is_dead(MlirOperation op) {
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++)
    if (!value_is_unused(mlirOperationGetResult(op, i))) return false;
  return op_level_of(op_kind_of(op)) != LEVEL_LAUNCH;
}

static void visit(rewriter *r, MlirOperation op) {
  if (is_dead(op)) {
    erase(r, op);
    return;
  }
  rule *apply = rules[op_kind_of(op)];
  if (!apply || !pass_may_simplify(r->context, mlirOperationGetLocation(op))) return;
  intptr_t count = mlirOperationGetNumOperands(op);
  MlirValue old[3] = {{0}}; /* operands that an in-place change may drop */
  for (intptr_t i = 0; i < count && i < 3; i++) old[i] = operand_of(op, i);
  MlirValue value = apply(r, op);
  if (mlirValueIsNull(value)) return;
  r->changes++;
  enqueue_users(r, result_of(op));
  if (mlirValueEqual(value, result_of(op))) {
    for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) enqueue_new(r, operand_of(op, i));
    for (int i = 0; i < 3; i++)
      if (!mlirValueIsNull(old[i])) enqueue_definition(r, old[i]);
    enqueue(r, op);
    return;
  }
  if (mlirValueIsAOpResult(value)) op_copy_identity(op, mlirOpResultGetOwner(value));
  value_replace(result_of(op), value);
  enqueue_new(r, value);
  enqueue_definition(r, value);
  erase(r, op);
}

static void canonicalise_block(rewriter *r, MlirBlock block) {
  op_list ops = block_ops(r->arena, block);
  for (int i = ops.count - 1; i >= 0; i--) enqueue(r, ops.ops[i]); /* a stack: the first op comes off first */
  while (r->count > 0) {
    MlirOperation op = r->queue[--r->count];
    if (pointer_map_get(&r->states, op.ptr) != STATE_QUEUED) continue;
    pointer_map_set(&r->states, op.ptr, STATE_IDLE);
    visit(r, op);
  }
}

status pass_canonicalise(pass_context *context, MlirModule module) {
  rewriter r = {.context = context, .compilation = context->compilation, .arena = arena_create()};
  r.states = pointer_map_create(r.arena);
  op_list functions = module_functions(r.arena, module);
  for (int i = 0; i < functions.count; i++) canonicalise_block(&r, function_body(functions.ops[i]));
  context->changes = r.changes;
  arena_destroy(r.arena);
  return STATUS_OK;
}
