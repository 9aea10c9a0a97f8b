/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * recognise-attention: products, mask, softmax and product become one pinion.attention.
 *
 *   matmul(softmax(matmul(q, transpose(k)) * scale + mask), v)  ->  attention(q, k, v, mask) {scale}
 *
 * Requires: canonicalise. Produces: pinion.attention; transposes and reshapes of K that canonicalise joins. Breaks:
 * nothing.
 *
 * The scale is numbers that multiply or divide the scores, q, k or any of them; the mask is a sum before the softmax,
 * or a select between the scores and a number: -inf makes it a mask of truth values; a finite number so low that it
 * swallows any score (below -1e30) an additive one, so that a row that sees nothing stays uniform, as in the graph. K
 * and V that were repeated for several query heads are taken from before that. Casts around the softmax go: the op's
 * scores and weights are wide; so does a select that makes zeros of a row of NaN, which the op does by itself. It fires
 * when q, k and v are of one type, and nothing else reads the scores or the weights.
 */
#include "attention_sight.h"
#include "match.h"

#include <math.h>
#include <string.h>

enum { RANK = 4, BATCH = 0, HEAD = 1, ROW = 2, COLUMN = 3 };

typedef struct attention_parts {
  MlirValue q, k, v, mask; /* mask: null if absent */
  MlirValue condition;     /* select's, where there is one */
  bool condition_hides;    /* rather than shows */
  double hidden;           /* what a hidden score is */
  double scale;
} attention_parts;

/* ---- Numbers that multiply ---- */

/* Takes products with, and quotients by, numbers into *scale. */
static MlirValue without_scale(match *m, MlirValue value, double *scale) {
  MlirValue rest;
  double number;
  for (;;) {
    if (match_with_number(m, value, "mul", &rest, &number)) {
      *scale *= number;
    } else if (match_with_number(m, value, "div", &rest, &number) && number != 0) {
      *scale /= number;
    } else {
      return value;
    }
    value = rest;
  }
}

/* The same for q and k, whose scaled form may have other users. */
static MlirValue operand_without_scale(match *m, MlirValue value, double *scale) {
  match attempt = *m;
  value = without_scale(&attempt, value, scale);
  match_set_aside(m, &attempt);
  return value;
}

/* ---- Scores ---- */

static bool is_mask_of(MlirValue mask, MlirValue scores) {
  tensor_type type = tensor_type_of(mask), whole = tensor_type_of(scores), both;
  return dtype_is_float(type.dtype) && shape_broadcast(&type, &whole, &both) && both.rank == whole.rank &&
         type_elements(&both) == type_elements(&whole);
}

/* matmul(q, k') * scale, through casts. */
static bool match_scores(match *m, MlirValue value, attention_parts *out) {
  for (MlirValue before = {0}; !mlirValueEqual(before, value);) {
    before = value;
    value = match_through_casts(m, without_scale(m, value, &out->scale));
  }
  MlirOperation product = match_op(m, value, OP_matmul, NULL);
  if (mlirOperationIsNull(product)) return false;
  out->q = mlirOperationGetOperand(product, 0);
  out->k = mlirOperationGetOperand(product, 1); /* [B, H, D, K] so far */
  return true;
}

static bool match_added_mask(match *m, MlirValue value, attention_parts *out) {
  MlirOperation sum = match_op(m, value, OP_binary, "add");
  for (int i = 0; !mlirOperationIsNull(sum) && i < 2; i++) {
    match attempt = *m;
    attention_parts parts = *out;
    parts.mask = mlirOperationGetOperand(sum, 1 - i);
    if (!match_scores(&attempt, mlirOperationGetOperand(sum, i), &parts) || !is_mask_of(parts.mask, value)) continue;
    *m = attempt;
    *out = parts;
    return true;
  }
  return false;
}

static bool match_selected(match *m, MlirValue value, attention_parts *out) {
  MlirOperation select = match_op(m, value, OP_select, NULL);
  if (mlirOperationIsNull(select)) return false;
  out->condition_hides = value_uniform(m->compilation, mlirOperationGetOperand(select, 1), &out->hidden);
  if (!out->condition_hides && !value_uniform(m->compilation, mlirOperationGetOperand(select, 2), &out->hidden))
    return false;
  out->condition = mlirOperationGetOperand(select, 0);
  return out->hidden < MASK_HIDES_BELOW &&
         match_scores(m, mlirOperationGetOperand(select, out->condition_hides ? 2 : 1), out);
}

/* What the softmax reads. */
static bool match_masked_scores(match *m, MlirValue value, attention_parts *out) {
  value = match_through_casts(m, value);
  match attempt = *m;
  attention_parts parts = *out;
  if (match_added_mask(&attempt, value, &parts) ||
      (attempt = *m, parts = *out, match_selected(&attempt, value, &parts))) {
    *m = attempt;
    *out = parts;
    return true;
  }
  return match_scores(m, value, out);
}

/* ---- K and V ---- */

static bool has_rank(MlirValue value, int rank) {
  return tensor_type_of(value).rank == rank;
}

/* reshape(transpose(reshape(x, [B*H, K, D]), swapped)) of x = [B, H, K, D]; null if it is not. */
static MlirValue transposed_through_rank_3(MlirValue value) {
  const MlirValue none = {0};
  MlirOperation after = value_defined_by(value, OP_reshape);
  MlirOperation transpose = {0}, before = {0};
  if (!mlirOperationIsNull(after)) transpose = value_defined_by(mlirOperationGetOperand(after, 0), OP_transpose);
  if (!mlirOperationIsNull(transpose)) before = value_defined_by(mlirOperationGetOperand(transpose, 0), OP_reshape);
  if (mlirOperationIsNull(before)) return none;
  MlirValue x = mlirOperationGetOperand(before, 0);
  int64_t permutation[PINION_MAX_RANK];
  if (attr_i64s(transpose, "permutation", permutation, PINION_MAX_RANK) != 3 || permutation[1] != 2 ||
      !has_rank(x, RANK))
    return none;
  tensor_type from = tensor_type_of(x), to = tensor_type_of(value);
  const bool fits = from.dims[BATCH] == to.dims[BATCH] && from.dims[HEAD] == to.dims[HEAD] &&
                    from.dims[ROW] == to.dims[COLUMN] && from.dims[COLUMN] == to.dims[ROW];
  return fits && permutation[0] == 0 ? x : none;
}

/* [B, H, K, D] of [B, H, D, K]: what was transposed, or a transpose of it. */
static MlirValue transposed_keys(builder *b, MlirValue value) {
  MlirValue x = transposed_through_rank_3(value);
  if (!mlirValueIsNull(x)) return x;
  MlirOperation transpose = value_defined_by(value, OP_transpose);
  int64_t permutation[PINION_MAX_RANK] = {BATCH, HEAD, COLUMN, ROW}, swapped[RANK];
  if (mlirOperationIsNull(transpose)) return build_transpose(b, value, permutation);
  attr_i64s(transpose, "permutation", permutation, PINION_MAX_RANK);
  const int order[RANK] = {BATCH, HEAD, COLUMN, ROW};
  bool is_identity = true;
  for (int d = 0; d < RANK; d++) {
    swapped[d] = permutation[order[d]];
    is_identity &= swapped[d] == d;
  }
  x = mlirOperationGetOperand(transpose, 0);
  return is_identity ? x : build_transpose(b, x, swapped);
}

static bool has_dims(MlirValue value, const int64_t dims[RANK]) {
  tensor_type type = tensor_type_of(value);
  return type.rank == RANK && memcmp(type.dims, dims, RANK * sizeof dims[0]) == 0;
}

/* One head of K or V for several query heads: [B, G, K, D] of reshape(broadcast(.. to [B, G, H / G, K, D])); `value`
   itself if it was not repeated. */
static MlirValue before_repetition(builder *b, MlirValue value) {
  MlirOperation reshape = value_defined_by(value, OP_reshape), broadcast;
  broadcast =
      value_defined_by(mlirOperationIsNull(reshape) ? value : mlirOperationGetOperand(reshape, 0), OP_broadcast);
  if (mlirOperationIsNull(broadcast)) return value;
  MlirValue source = mlirOperationGetOperand(broadcast, 0);
  tensor_type from = tensor_type_of(source), spread = tensor_type_of(mlirOperationGetResult(broadcast, 0)),
              to = tensor_type_of(value);
  const int repeated = mlirOperationIsNull(reshape) ? HEAD : HEAD + 1; /* the dimension that was spread */
  if (spread.rank != RANK - HEAD + repeated) return value;
  int64_t dims[RANK];
  for (int d = 0, kept = 0; d < spread.rank; d++) {
    const int at = d - (spread.rank - from.rank);
    const int64_t size = at < 0 ? 1 : from.dims[at];
    if (size != (d == repeated ? 1 : spread.dims[d])) return value; /* spread along another dimension, too */
    if (d != repeated || repeated == HEAD) dims[kept++] = size;
  }
  if (dims[BATCH] != to.dims[BATCH] || dims[ROW] != to.dims[ROW] || dims[COLUMN] != to.dims[COLUMN]) return value;
  MlirOperation outer = value_defined_by(source, OP_reshape); /* it put the dimension in */
  if (!has_dims(source, dims) && !mlirOperationIsNull(outer)) source = mlirOperationGetOperand(outer, 0);
  return has_dims(source, dims) ? source : build_reshape(b, source, RANK, dims);
}

/* ---- Building ---- */

/* The mask operand that a select stands for. */
static MlirValue selected_mask(builder *b, const attention_parts *parts) {
  MlirValue shows = parts->condition;
  if (isinf(parts->hidden)) return parts->condition_hides ? build_unary(b, "not", shows) : shows;
  const tensor_type scalar = {.dtype = PINION_DTYPE_f32};
  const float zero = 0, low = (float)parts->hidden;
  MlirValue nothing = build_constant(b, &scalar, &zero), hidden = build_constant(b, &scalar, &low);
  return parts->condition_hides ? build_select(b, shows, hidden, nothing) : build_select(b, shows, nothing, hidden);
}

static status build_attention(pass_context *context, const match *m, attention_parts *parts) {
  if (!pass_may_rewrite(context, match_location(m))) return STATUS_OK;
  builder b = match_builder(m);
  MlirContext mlir = context->compilation->context;
  MlirValue k = before_repetition(&b, parts->k), v = before_repetition(&b, parts->v);
  if (tensor_type_of(k).dims[HEAD] == tensor_type_of(v).dims[HEAD]) {
    parts->k = k;
    parts->v = v;
  }
  if (!mlirValueIsNull(parts->condition)) parts->mask = selected_mask(&b, parts);
  MlirValue operands[] = {parts->q, parts->k, parts->v, parts->mask};
  MlirNamedAttribute attributes[] = {make_named(mlir, "scale", make_f64(mlir, parts->scale)),
                                     make_named(mlir, "causal", make_bool(mlir, false))};
  MlirType type = mlirValueGetType(mlirOperationGetResult(m->ops[0], 0));
  MlirOperation attention = build_op(&b, OP_attention, 4, operands, 2, attributes, 1, &type);
  if (mlirOperationIsNull(attention)) return STATUS_FAILED;
  match_replace(m, attention);
  context->changes++;
  return STATUS_OK;
}

/* Why q [B, H, Q, D], k [B, G, K, D], v [B, G, K, E] cannot be an attention's; NULL if they can. */
static const char *misfit(const attention_parts *parts, MlirValue result) {
  const tensor_type q = tensor_type_of(parts->q), k = tensor_type_of(parts->k), v = tensor_type_of(parts->v),
                    y = tensor_type_of(result);
  if (q.dtype != k.dtype || q.dtype != v.dtype || q.dtype != y.dtype) return "q, k and v are of several types";
  if (!dtype_is_float(q.dtype)) return "its operands are integers";
  bool fits = q.dims[BATCH] == y.dims[BATCH] && k.dims[BATCH] == y.dims[BATCH] && v.dims[BATCH] == y.dims[BATCH];
  fits = fits && q.dims[ROW] == y.dims[ROW] && k.dims[ROW] == v.dims[ROW] && q.dims[COLUMN] == k.dims[COLUMN];
  if (!fits) return "an operand is spread over a dimension of the scores";
  if (q.dims[HEAD] != y.dims[HEAD] || k.dims[HEAD] != v.dims[HEAD] || k.dims[HEAD] == 0 || q.dims[HEAD] % k.dims[HEAD])
    return "its heads differ";
  return NULL;
}

/* select(isnan(weights), 0, weights): what an exporter puts around the softmax of a row that may see nothing, which is
   zeros by the op's own meaning. -> the weights; `value` itself if it is no such guard. */
static MlirValue without_guard(match *m, MlirValue value, const char **out_why) {
  match attempt = *m;
  MlirOperation select = match_op(&attempt, value, OP_select, NULL), isnan;
  if (mlirOperationIsNull(select)) return value;
  isnan = match_op(&attempt, mlirOperationGetOperand(select, 0), OP_unary, "isnan");
  MlirValue weights = match_through_casts(&attempt, mlirOperationGetOperand(select, 2));
  if (mlirOperationIsNull(isnan) ||
      !mlirValueEqual(match_through_casts(&attempt, mlirOperationGetOperand(isnan, 0)), weights))
    return value;
  double number;
  if (!value_uniform(m->compilation, mlirOperationGetOperand(select, 1), &number) || number != 0)
    *out_why = "a row that sees nothing does not become zeros";
  *m = attempt;
  return weights;
}

/* The softmax behind the weights of `root`, which are operand 0. */
static MlirOperation match_softmax(match *m, const char **out_why) {
  MlirValue weights = mlirOperationGetOperand(m->ops[0], 0);
  if (!has_rank(weights, RANK) || !has_rank(mlirOperationGetOperand(m->ops[0], 1), RANK)) return (MlirOperation){0};
  weights = without_guard(m, match_through_casts(m, weights), out_why);
  MlirOperation softmax = match_op(m, weights, OP_softmax, NULL);
  if (mlirOperationIsNull(softmax) || attr_i64(softmax, "axis", -1) != COLUMN) return (MlirOperation){0};
  return softmax;
}

/* NULL if `value`, which the softmax reads, is what an attention's scores are. */
static const char *match_why_no_scores(match *m, MlirValue value, attention_parts *out) {
  if (!match_masked_scores(m, value, out)) return "its scores are no masked product";
  if (!has_rank(out->q, RANK) || !has_rank(out->k, RANK)) return "q or k has no dimension for its heads";
  return match_why_open(m);
}

static status visit(pass_context *context, MlirOperation root) {
  match m = match_begin(context->compilation, root);
  attention_parts parts = {.scale = 1};
  const char *why = NULL;
  MlirOperation softmax = match_softmax(&m, &why);
  if (mlirOperationIsNull(softmax)) return STATUS_OK;
  if (!why) why = match_why_no_scores(&m, mlirOperationGetOperand(softmax, 0), &parts);
  if (!why) {
    builder b = builder_before(context->compilation, root);
    parts.q = operand_without_scale(&m, parts.q, &parts.scale);
    parts.k = operand_without_scale(&m, parts.k, &parts.scale);
    parts.k = operand_without_scale(&m, transposed_keys(&b, parts.k), &parts.scale);
    parts.v = mlirOperationGetOperand(root, 1);
    why = misfit(&parts, mlirOperationGetResult(root, 0));
  }
  if (!why) return build_attention(context, &m, &parts);
  pass_missed(context, match_location(&m), "it is an attention, but %s", why);
  return STATUS_OK;
}

status pass_recognise_attention(pass_context *context, MlirModule module) {
  return match_each(context, module, MATCH_KIND(OP_matmul), visit);
}
