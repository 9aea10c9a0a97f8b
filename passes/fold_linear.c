/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fold-linear: two products by weights with no activation between them are one product, by the product of the weights.
 *
 *   matmul(matmul(x, V) + b, W) + c  ->  matmul(x, matmul(V, W)) + (matmul(b, W) + c)
 *
 * where V [k, m] and W [m, n] are weights, b is a row of weights, and nothing else reads what is between the two. It
 * fires where that is no more work: k * n <= k * m + m * n. In Pi0's step the actions' projection [32, 1024] and the
 * actions' half of the next layer [1024, 1024] become one product of k = 32.
 *
 * Requires: nothing; after split-concat-matmul, which makes a product of that half, and before hoist-tables, which adds
 * the moved bias to the rows of the time at compile time. Produces: core ops; the products of weights are computed at
 * compile time. Breaks: the values between the two: they are nowhere any more.
 *
 * Numerics: V W and b W are computed in f32 (f64 for f64) and rounded once, to the type of the product; what the model
 * rounds between the two, it rounds no more. With e the type's error, the model's own result is off by e |W| |V x + b|
 * for the value in the middle and this one by e |V W| |x| for the weight, which is not more but by chance: f32 regroups
 * its sums, and in bf16 the one rounding stands for the other. Under the policy bf16 the product of f32 weights is
 * rounded where both weights and the middle were. In f16 nothing is folded: entries of V W are as small as those of V
 * times those of W, and f16 has no such numbers.
 *
 * The two products may have different types, then the wider one is that of the result, and only work of that type
 * counts: f32 is no bargain for bf16. Between them casts, reshapes of the rows, and rows that are added may stand, in
 * any order.
 */
#include "known_values.h"
#include "match.h"
#include "pointwise_body.h"

#include <string.h>

enum { MAXIMUM_BIASES = 4 };

typedef struct folder {
  pass_context *context;
  const known_values *known;
  pointer_map folded; /* ops that make products of weights here: a run of products is folded one after the other */
} folder;

/* What may become one product. */
typedef struct linear_pair {
  match match; /* the second product is its root */
  MlirOperation first, second;
  MlirValue biases[MAXIMUM_BIASES]; /* added to the first, each m numbers or one */
  int bias_count;
} linear_pair;

/* ---- Finding them ---- */

static bool is_weight(const folder *f, MlirValue value) {
  const MlirOperation op = value_definition(value);
  return value_is_from_weights(f->known, value) ||
         (!mlirOperationIsNull(op) && pointer_map_get(&f->folded, op.ptr) >= 0);
}

/* A product of rows that a run of the model knows, and a matrix of weights. */
static bool is_projection(const folder *f, MlirOperation op) {
  if (op_kind_of(op) != OP_matmul) return false;
  MlirValue x = mlirOperationGetOperand(op, 0), weight = mlirOperationGetOperand(op, 1);
  return dtype_is_float(value_dtype(x)) && !value_is_known(f->known, x) && is_weight(f, weight) &&
         tensor_type_of(weight).rank == 2;
}

/* What `value` is rows of, reshaped; null if it is not. */
static MlirValue before_reshape(match *m, MlirValue value) {
  MlirOperation reshape = value_defined_by(value, OP_reshape);
  if (mlirOperationIsNull(reshape)) return (MlirValue){0};
  MlirValue source = mlirOperationGetOperand(reshape, 0);
  if (tensor_type_of(source).rank == 0 || last_dimension(source) != last_dimension(value)) return (MlirValue){0};
  return mlirOperationIsNull(match_op(m, value, OP_reshape, NULL)) ? (MlirValue){0} : source;
}

/* What `value` is, less a row of weights, which joins the pair's biases; null if there is none. */
static MlirValue before_bias(const folder *f, linear_pair *p, MlirValue value) {
  MlirOperation add = value_defined_by(value, OP_binary);
  if (mlirOperationIsNull(add) || p->bias_count == MAXIMUM_BIASES) return (MlirValue){0};
  for (int i = 0; i < 2; i++) {
    MlirValue source = mlirOperationGetOperand(add, i), row = mlirOperationGetOperand(add, 1 - i);
    if (!is_weight(f, row) || !is_one_row(row) || !values_same_shape(source, value)) continue;
    if (mlirOperationIsNull(match_op(&p->match, value, OP_binary, "add"))) break;
    p->biases[p->bias_count++] = row;
    return source;
  }
  return (MlirValue){0};
}

/* Follows the operand of `second` up to another product; false if it comes from none. */
static bool find_pair(const folder *f, MlirOperation second, linear_pair *p) {
  *p = (linear_pair){.match = match_begin(f->context->compilation, second), .second = second};
  MlirValue value = mlirOperationGetOperand(second, 0);
  for (MlirValue source = value; !mlirValueIsNull(source);) {
    value = match_through_casts(&p->match, source);
    source = before_reshape(&p->match, value);
    if (mlirValueIsNull(source)) source = before_bias(f, p, value);
  }
  p->first = match_op(&p->match, value, OP_matmul, NULL);
  return !mlirOperationIsNull(p->first) && is_projection(f, p->first);
}

/* ---- Whether to ---- */

static pinion_dtype operand_dtype(MlirOperation product) {
  return value_dtype(mlirOperationGetOperand(product, 0));
}

/* The wider of the two products' types. */
static pinion_dtype folded_dtype(const linear_pair *p) {
  const pinion_dtype first = operand_dtype(p->first), second = operand_dtype(p->second);
  return pinion_dtype_size(first) > pinion_dtype_size(second) ? first : second;
}

/* NULL, or why the products stay two. */
static const char *why_not(const linear_pair *p) {
  const char *why = match_why_open(&p->match);
  if (why) return why;
  const pinion_dtype dtype = folded_dtype(p);
  if (operand_dtype(p->first) == PINION_DTYPE_f16 || operand_dtype(p->second) == PINION_DTYPE_f16)
    return "entries of a product of weights may be too small for f16";
  MlirValue weight = mlirOperationGetOperand(p->second, 1);
  const int64_t k = last_dimension(mlirOperationGetOperand(p->first, 0)), n = last_dimension(weight);
  const int64_t m = tensor_type_of(weight).dims[0];
  const int64_t apart = (operand_dtype(p->first) == dtype) * k * m + (operand_dtype(p->second) == dtype) * m * n;
  if (k * n <= apart) return NULL;
  return arena_format(p->match.compilation->arena,
                      "one product of %lld x %lld is more work in %s than two by way of %lld columns", (long long)k,
                      (long long)n, dtype_name(dtype), (long long)m);
}

/* ---- Folding ---- */

static MlirValue reshape_to(builder *b, MlirValue value, int rank, const int64_t *dims) {
  const tensor_type type = tensor_type_of(value);
  const bool is_same = type.rank == rank && memcmp(type.dims, dims, (size_t)rank * sizeof *dims) == 0;
  return is_same ? value : build_reshape(b, value, rank, dims);
}

/* What weights are multiplied in. */
static pinion_dtype sum_dtype(const linear_pair *p) {
  return folded_dtype(p) == PINION_DTYPE_f64 ? PINION_DTYPE_f64 : PINION_DTYPE_f32;
}

/* y W, by W in that type. */
static MlirValue times_second_weight(builder *b, const linear_pair *p, MlirValue y) {
  MlirValue weight = build_cast_to(b, mlirOperationGetOperand(p->second, 1), sum_dtype(p));
  return mlirValueIsNull(y) || mlirValueIsNull(weight) ? (MlirValue){0} : build_matmul(b, y, weight);
}

/* x (V W), in the shape and the type of the second product. */
static MlirValue folded_product(folder *f, builder *b, const linear_pair *p) {
  tensor_type rows = tensor_type_of(mlirOperationGetOperand(p->second, 0));
  MlirValue x = mlirOperationGetOperand(p->first, 0), weight = mlirOperationGetOperand(p->first, 1);
  const pinion_dtype dtype = folded_dtype(p), result_dtype = value_dtype(mlirOperationGetResult(p->second, 0));
  weight = build_cast_to(b, times_second_weight(b, p, build_cast_to(b, weight, sum_dtype(p))), dtype);
  if (mlirValueIsNull(weight)) return weight;
  pointer_map_set(&f->folded, value_definition(weight).ptr, 1);
  rows.dims[rows.rank - 1] = last_dimension(x);
  x = build_cast_to(b, reshape_to(b, x, rows.rank, rows.dims), dtype);
  if (mlirValueIsNull(x)) return x;
  tensor_type result = tensor_type_of(mlirOperationGetResult(p->second, 0));
  if (operand_dtype(p->second) != dtype) result.dtype = dtype;
  const MlirType type = type_make(b->compilation->context, &result);
  MlirOperation product = build_op(b, OP_matmul, 2, (MlirValue[]){x, weight}, 0, NULL, 1, &type);
  return mlirOperationIsNull(product) ? (MlirValue){0}
                                      : build_cast_to(b, mlirOperationGetResult(product, 0), result_dtype);
}

/* b W [n] of all that is added between the two, in the type of the second product. */
static MlirValue moved_bias(builder *b, const linear_pair *p) {
  const int64_t width = tensor_type_of(mlirOperationGetOperand(p->second, 1)).dims[0];
  MlirValue sum = {0};
  for (int i = 0; i < p->bias_count; i++) {
    const int64_t own_width = last_dimension(p->biases[i]);
    MlirValue bias = build_cast_to(b, reshape_to(b, p->biases[i], 1, &own_width), sum_dtype(p));
    if (own_width != width && !mlirValueIsNull(bias)) bias = build_broadcast(b, bias, 1, &width);
    if (i > 0 && !mlirValueIsNull(bias)) bias = build_binary(b, "add", sum, bias);
    if (mlirValueIsNull(bias)) return bias;
    sum = bias;
  }
  return build_cast_to(b, times_second_weight(b, p, sum), value_dtype(mlirOperationGetResult(p->second, 0)));
}

/* The sum with something known that alone reads the second product, and which of its operands that is; null if there is
   none. */
static MlirOperation known_sum(const folder *f, const linear_pair *p, intptr_t *out_index) {
  const MlirOperation none = {0};
  MlirValue product = mlirOperationGetResult(p->second, 0);
  if (!value_has_one_use(product)) return none;
  MlirOpOperand use = mlirValueGetFirstUse(product);
  MlirOperation sum = mlirOpOperandGetOwner(use);
  if (op_kind_of(sum) != OP_binary || !attr_str_is(sum, "kind", "add")) return none;
  *out_index = 1 - (intptr_t)mlirOpOperandGetOperandNumber(use);
  const bool is_known = value_is_known(f->known, mlirOperationGetOperand(sum, *out_index));
  return is_known && values_same_shape(product, mlirOperationGetResult(sum, 0)) ? sum : none;
}

/* Adds it to what is added to the product in any case, where that is known: no sum more in the step. */
static bool add_to_known(const folder *f, const linear_pair *p, MlirValue bias, bool *out_added) {
  intptr_t index;
  MlirOperation sum = known_sum(f, p, &index);
  *out_added = !mlirOperationIsNull(sum);
  if (!*out_added) return true;
  builder b = builder_before(f->context->compilation, sum);
  MlirValue known = build_binary(&b, "add", value_before_broadcast(mlirOperationGetOperand(sum, index)), bias);
  if (mlirValueIsNull(known)) return false;
  mlirOperationSetOperand(sum, index, known);
  return true;
}

static status fold(folder *f, const linear_pair *p) {
  builder b = match_builder(&p->match);
  MlirValue whole = folded_product(f, &b, p);
  bool bias_is_elsewhere = false;
  if (mlirValueIsNull(whole)) return STATUS_FAILED;
  if (p->bias_count > 0) {
    MlirValue bias = moved_bias(&b, p);
    if (mlirValueIsNull(bias) || !add_to_known(f, p, bias, &bias_is_elsewhere)) return STATUS_FAILED;
    if (!bias_is_elsewhere) whole = build_binary(&b, "add", whole, bias);
    if (mlirValueIsNull(whole)) return STATUS_FAILED;
  }
  if (!bias_is_elsewhere) op_copy_identity(p->second, mlirOpResultGetOwner(whole));
  value_replace(mlirOperationGetResult(p->second, 0), whole);
  f->context->changes++;
  return STATUS_OK;
}

/* ---- The pass ---- */

static status fold_function(pass_context *context, arena *a, const known_values *known) {
  folder f = {.context = context, .known = known, .folded = pointer_map_create(a)};
  status code = STATUS_OK;
  for (int i = 0; i < known->ops.count && code == STATUS_OK; i++) {
    linear_pair p;
    if (!is_projection(&f, known->ops.ops[i]) || !find_pair(&f, known->ops.ops[i], &p)) continue;
    const MlirLocation location = match_location(&p.match);
    const char *why = why_not(&p);
    if (why)
      pass_missed(context, location, "%s", why);
    else if (pass_may_rewrite(context, location))
      code = fold(&f, &p);
  }
  return code;
}

status pass_fold_linear(pass_context *context, MlirModule module) {
  return each_known_function(context, module, fold_function);
}
