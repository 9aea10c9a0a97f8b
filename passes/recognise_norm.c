/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * recognise-norm: RMSNorm, adaptive RMSNorm and LayerNorm that the exporter spelled out become one pinion.norm.
 *
 *   x * 1/sqrt(mean(x * x) + epsilon)                               ->  norm(x) {rms}
 *   (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon)           ->  norm(x) {layer}
 *   norm(x) * w + b                                                 ->  norm(x, w, b)
 *   cast(norm(cast(x)))                                             ->  norm(x), of the last cast's type
 *
 * Requires: canonicalise (Pow(x, 2) is a product). Produces: pinion.norm, whose type may differ from x's. Breaks:
 * nothing.
 *
 * 1/sqrt is rsqrt, reciprocal(sqrt), 1 / sqrt, pow(.., -0.5), or a division by the root. A norm, found here or
 * imported, takes the product and the sum behind it when nothing else reads it and their operand is a row (or one row a
 * batch element: the adaptive norm's 1 + scale and shift). It fires when the statistics are of a wide type: of bf16
 * ones the sum would be another.
 */
#include "match.h"

/* One norm being put together. */
typedef struct norm_parts {
  MlirValue x, scale, bias; /* null if absent */
  const char *kind;
  double epsilon;
  int64_t axis;
} norm_parts;

static bool is_wide(MlirValue value) {
  const pinion_dtype dtype = value_dtype(value);
  return dtype == PINION_DTYPE_f32 || dtype == PINION_DTYPE_f64;
}

/* ---- The statistics ---- */

/* mean(of) over the last dimensions, which it keeps: *out_axis is the first of them. */
static bool match_mean(match *m, MlirValue value, MlirValue *out_of, int64_t *out_axis) {
  MlirOperation reduce = match_op(m, value, OP_reduce, "mean");
  if (mlirOperationIsNull(reduce) || !attr_bool(reduce, "keep", false)) return false;
  int64_t axes[PINION_MAX_RANK];
  const int count = attr_i64s(reduce, "axes", axes, PINION_MAX_RANK);
  *out_of = mlirOperationGetOperand(reduce, 0);
  const int rank = tensor_type_of(*out_of).rank;
  *out_axis = rank - count;
  unsigned reduced = 0;
  for (int i = 0; i < count; i++) reduced |= 1u << axes[i];
  return count > 0 && reduced == ((1u << rank) - (1u << *out_axis));
}

/* mean(x * x) + epsilon; the x squared. */
static bool match_variance(match *m, MlirValue value, norm_parts *out) {
  MlirValue mean, squares;
  if (!match_with_number(m, value, "add", &mean, &out->epsilon) || out->epsilon < 0 ||
      !match_mean(m, mean, &squares, &out->axis))
    return false;
  MlirOperation product = match_op(m, squares, OP_binary, "mul");
  double two;
  if (mlirOperationIsNull(product)) return match_with_number(m, squares, "pow", &out->x, &two) && two == 2;
  out->x = mlirOperationGetOperand(product, 0);
  return mlirValueEqual(out->x, mlirOperationGetOperand(product, 1));
}

static bool match_root(match *m, MlirValue value, norm_parts *out) {
  MlirValue inner;
  double half;
  MlirOperation root = match_op(m, value, OP_unary, "sqrt");
  if (!mlirOperationIsNull(root)) return match_variance(m, mlirOperationGetOperand(root, 0), out);
  return match_with_number(m, value, "pow", &inner, &half) && half == 0.5 && match_variance(m, inner, out);
}

/* 1 / root */
static bool match_inverse_root(match *m, MlirValue value, norm_parts *out) {
  MlirOperation op = match_op(m, value, OP_unary, "rsqrt");
  if (!mlirOperationIsNull(op)) return match_variance(m, mlirOperationGetOperand(op, 0), out);
  op = match_op(m, value, OP_unary, "reciprocal");
  if (!mlirOperationIsNull(op)) return match_root(m, mlirOperationGetOperand(op, 0), out);
  double number;
  MlirValue inner;
  if (match_with_number(m, value, "pow", &inner, &number)) return number == -0.5 && match_variance(m, inner, out);
  op = match_op(m, value, OP_binary, "div");
  return !mlirOperationIsNull(op) && value_uniform(m->compilation, mlirOperationGetOperand(op, 0), &number) &&
         number == 1 && match_root(m, mlirOperationGetOperand(op, 1), out);
}

/* The root of a match: centred x times or over what the statistics give. */
static bool match_normalised(match *m, norm_parts *out) {
  MlirOperation root = m->ops[0];
  MlirValue a = mlirOperationGetOperand(root, 0), b = mlirOperationGetOperand(root, 1);
  if (attr_str_is(root, "kind", "div")) return match_root(m, b, out) && mlirValueEqual(a, out->x);
  if (!attr_str_is(root, "kind", "mul")) return false;
  match attempt = *m;
  if (match_inverse_root(&attempt, b, out) && mlirValueEqual(a, out->x)) {
    *m = attempt;
    return true;
  }
  return match_inverse_root(m, a, out) && mlirValueEqual(b, out->x);
}

/* x - mean(x), over the dimensions of the variance: then it is a layer norm of x. */
static void match_centred(match *m, norm_parts *parts) {
  match attempt = *m;
  MlirOperation difference = match_op(&attempt, parts->x, OP_binary, "sub");
  if (mlirOperationIsNull(difference)) return;
  MlirValue x = mlirOperationGetOperand(difference, 0), of;
  int64_t axis;
  if (!match_mean(&attempt, mlirOperationGetOperand(difference, 1), &of, &axis) || !mlirValueEqual(of, x) ||
      axis != parts->axis)
    return;
  *m = attempt;
  parts->x = x;
  parts->kind = "layer";
}

/* ---- Building ---- */

static status build_norm(pass_context *context, const match *m, const norm_parts *parts) {
  if (!pass_may_rewrite(context, match_location(m))) return STATUS_OK;
  builder b = match_builder(m);
  MlirContext mlir = context->compilation->context;
  MlirValue operands[3] = {parts->x, parts->scale, parts->bias};
  MlirNamedAttribute attributes[] = {make_named(mlir, "kind", make_str(mlir, parts->kind)),
                                     make_named(mlir, "axis", make_i64(mlir, parts->axis)),
                                     make_named(mlir, "epsilon", make_f64(mlir, parts->epsilon))};
  MlirType type = mlirValueGetType(mlirOperationGetResult(m->ops[0], 0));
  MlirOperation norm = build_op(&b, OP_norm, 3, operands, 3, attributes, 1, &type);
  if (mlirOperationIsNull(norm)) return STATUS_FAILED;
  match_replace(m, norm);
  context->changes++;
  return STATUS_OK;
}

static status raise(pass_context *context, MlirOperation root) {
  match m = match_begin(context->compilation, root);
  norm_parts parts = {.kind = "rms"};
  if (!match_normalised(&m, &parts) || !values_same_shape(parts.x, mlirOperationGetResult(root, 0))) return STATUS_OK;
  match_centred(&m, &parts);
  const char *why = match_why_open(&m);
  if (!is_wide(parts.x)) why = "its statistics are of a narrow type";
  if (!why) return build_norm(context, &m, &parts);
  pass_missed(context, match_location(&m), "it is a norm of kind %s, but %s", parts.kind, why);
  return STATUS_OK;
}

/* ---- What is around a norm ---- */

static norm_parts read_norm(MlirOperation norm) {
  return (norm_parts){.x = op_operand(norm, "x"),
                      .scale = op_operand(norm, "scale"),
                      .bias = op_operand(norm, "bias"),
                      .kind = attr_str_is(norm, "kind", "layer") ? "layer" : "rms",
                      .epsilon = attr_f64(norm, "epsilon", 0),
                      .axis = attr_i64(norm, "axis", 0)};
}

/* Whether `value` has no dimension but the normalised ones, or also the first of several before them: a row, or one a
   batch element. */
static bool is_row(MlirValue value, MlirValue norm, int64_t axis) {
  tensor_type type = tensor_type_of(value), whole = tensor_type_of(norm);
  if (!dtype_is_float(type.dtype) || type.rank > whole.rank) return false;
  const int ahead = whole.rank - type.rank;
  for (int d = 0; d < type.rank; d++)
    if (type.dims[d] != 1 && d + ahead < axis && (d + ahead > 0 || axis < 2)) return false;
  return true;
}

/* The only op that reads `value`, once; else a null op. */
static MlirOperation only_user(MlirValue value) {
  if (!value_has_one_use(value)) return (MlirOperation){0};
  return mlirOpOperandGetOwner(mlirValueGetFirstUse(value));
}

/* Takes the op behind the norm into *parts: a row's product, a row's sum, a cast. */
static bool takes(MlirOperation norm, MlirOperation user, norm_parts *parts) {
  MlirValue y = mlirOperationGetResult(norm, 0), result;
  const op_kind kind = op_kind_of(user);
  if (kind != OP_binary && kind != OP_cast) return false;
  result = mlirOperationGetResult(user, 0);
  if (kind == OP_cast) return dtype_is_float(value_dtype(result));
  const bool swapped = mlirValueEqual(mlirOperationGetOperand(user, 1), y);
  MlirValue other = operand_in_order(user, 1, swapped);
  if (!values_same_shape(result, y) || !is_row(other, y, parts->axis)) return false;
  MlirValue *slot = NULL;
  if (attr_str_is(user, "kind", "mul") && mlirValueIsNull(parts->scale) && mlirValueIsNull(parts->bias))
    slot = &parts->scale;
  if (attr_str_is(user, "kind", "add") && mlirValueIsNull(parts->bias)) slot = &parts->bias;
  if (!slot) return false;
  *slot = other;
  return true;
}

/* Rounding to a narrow type and back is not ours to drop. */
static bool narrows_twice(MlirOperation norm, MlirOperation user) {
  return op_kind_of(user) == OP_cast && !is_wide(mlirOperationGetResult(norm, 0)) &&
         !mlirTypeEqual(mlirValueGetType(mlirOperationGetResult(norm, 0)),
                        mlirValueGetType(mlirOperationGetResult(user, 0)));
}

static status extend(pass_context *context, MlirOperation norm) {
  norm_parts parts = read_norm(norm);
  MlirOperation user = only_user(mlirOperationGetResult(norm, 0));
  if (mlirOperationIsNull(user) || narrows_twice(norm, user) || !takes(norm, user, &parts)) return STATUS_OK;
  match m = match_begin(context->compilation, user);
  m.ops[m.count++] = norm;
  return build_norm(context, &m, &parts);
}

/* A cast that widens x: the kernel does that as it reads. */
static status take_wide_operand(pass_context *context, MlirOperation norm) {
  MlirOperation cast = value_defined_by(op_operand(norm, "x"), OP_cast);
  if (mlirOperationIsNull(cast)) return STATUS_OK;
  MlirValue source = mlirOperationGetOperand(cast, 0);
  const pinion_dtype from = value_dtype(source), to = value_dtype(mlirOperationGetResult(cast, 0));
  if (to != PINION_DTYPE_f32 || (from != PINION_DTYPE_bf16 && from != PINION_DTYPE_f16)) return STATUS_OK;
  MlirLocation parts[] = {mlirOperationGetLocation(cast), mlirOperationGetLocation(norm)};
  MlirLocation joined = location_fuse(context->compilation->context, 2, parts);
  if (!pass_may_rewrite(context, joined)) return STATUS_OK;
  mlirOperationSetLocation(norm, joined);
  mlirOperationSetOperand(norm, 0, source);
  context->changes++;
  return STATUS_OK;
}

status pass_recognise_norm(pass_context *context, MlirModule module) {
  status code = match_each(context, module, MATCH_KIND(OP_binary), raise);
  for (int before = -1; code == STATUS_OK && before != context->changes;) { /* scale, bias, cast: one a round */
    before = context->changes;
    code = match_each(context, module, MATCH_KIND(OP_norm), extend);
  }
  return code == STATUS_OK ? match_each(context, module, MATCH_KIND(OP_norm), take_wide_operand) : code;
}
