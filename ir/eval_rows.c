/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Ops along rows: reduce, cumsum, softmax, norm, rope, attention. */
#include "eval_internal.h"
#include "scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reduce ---- */

typedef enum reduce_kind { REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD } reduce_kind;

static reduce_kind reduce_kind_of(MlirOperation op) {
  static const char *const names[] = {"sum", "mean", "max", "min", "prod"};
  for (int i = 0; i < 5; i++)
    if (attr_str_is(op, "kind", names[i])) return (reduce_kind)i;
  return REDUCE_SUM;
}

static scalar_kind reduce_scalar(reduce_kind kind) {
  static const scalar_kind scalars[] = {SCALAR_add, SCALAR_add, SCALAR_max, SCALAR_min, SCALAR_mul};
  return scalars[kind];
}

/* Strides of the result along x's dimensions: 0 along reduced ones. */
static void reduced_strides(const evaluation *e, int64_t *out_strides) {
  const tensor_type *x = &e->operands[0]->type;
  int64_t axes[PINION_MAX_RANK], stride = 1;
  bool reduced[PINION_MAX_RANK] = {false};
  int count = attr_i64s(e->op, "axes", axes, PINION_MAX_RANK);
  for (int i = 0; i < count; i++) reduced[axes[i]] = true;
  for (int i = x->rank; i-- > 0;) {
    out_strides[i] = reduced[i] ? 0 : stride;
    if (!reduced[i]) stride *= x->dims[i];
  }
}

static void reduce_reals(const evaluation *e, reduce_kind kind, eval_walk *walk, int64_t result_count) {
  const double starts[] = {0, 0, -INFINITY, INFINITY, 1};
  const eval_tensor *x = e->operands[0];
  double *sums = eval_scratch(result_count, sizeof *sums);
  double divisor = kind == REDUCE_MEAN ? (double)type_elements(&x->type) / (double)result_count : 1;
  for (int64_t i = 0; i < result_count; i++) sums[i] = starts[kind];
  for (eval_walk_begin(walk); !walk->done; eval_walk_next(walk)) {
    int row = walk->rank - 1;
    for (int64_t i = 0; i < walk->size[row]; i++) {
      double *sum = &sums[walk->offset[1] + i * walk->stride[1][row]];
      *sum = scalar_real(reduce_scalar(kind), *sum, eval_get(x, walk->offset[0] + i * walk->stride[0][row]));
    }
  }
  for (int64_t i = 0; i < result_count; i++) sums[i] /= divisor;
  eval_store(e->session->precision, &e->results[0], 0, 1, result_count, sums);
  free(sums);
}

static void reduce_integers(const evaluation *e, reduce_kind kind, eval_walk *walk, int64_t result_count) {
  const eval_tensor *x = e->operands[0];
  pinion_dtype dtype = x->type.dtype;
  int64_t starts[] = {0, 0, 0, 0, 1}, *sums = eval_scratch(result_count, sizeof *sums);
  int64_t divisor = kind == REDUCE_MEAN && result_count ? type_elements(&x->type) / result_count : 1;
  integer_range(dtype, &starts[REDUCE_MAX], &starts[REDUCE_MIN]);
  for (int64_t i = 0; i < result_count; i++) sums[i] = starts[kind];
  for (eval_walk_begin(walk); !walk->done; eval_walk_next(walk)) {
    int row = walk->rank - 1;
    for (int64_t i = 0; i < walk->size[row]; i++) {
      int64_t *sum = &sums[walk->offset[1] + i * walk->stride[1][row]];
      int64_t value = x->i64[walk->offset[0] + i * walk->stride[0][row]];
      *sum = scalar_integer(reduce_scalar(kind), PINION_DTYPE_i64, *sum, value);
    }
  }
  for (int64_t i = 0; i < result_count; i++) sums[i] = scalar_integer(SCALAR_div, PINION_DTYPE_i64, sums[i], divisor);
  eval_store_integers(&e->results[0], 0, 1, result_count, sums);
  free(sums);
}

status reference_reduce(evaluation *e) {
  const eval_tensor *x = e->operands[0];
  int64_t own[PINION_MAX_RANK] = {1}, to[PINION_MAX_RANK] = {0}, count = type_elements(&e->results[0].type);
  eval_walk walk = eval_walk_over(&x->type);
  eval_strides(&x->type, own);
  eval_walk_add(&walk, 0, own);
  reduced_strides(e, to);
  eval_walk_add(&walk, 0, to);
  if (x->storage == EVAL_INTEGERS)
    reduce_integers(e, reduce_kind_of(e->op), &walk, count);
  else
    reduce_reals(e, reduce_kind_of(e->op), &walk, count);
  return STATUS_OK;
}

/* ---- Lines along one axis ---- */

/* Line `index` of those along `axis`: `length` elements from `start`, `stride` apart. */
typedef struct axis_lines {
  int64_t count, length, stride;
} axis_lines;

static axis_lines lines_along(const tensor_type *type, int64_t axis) {
  axis_lines lines = {.length = type->dims[axis], .stride = 1};
  for (int i = (int)axis + 1; i < type->rank; i++) lines.stride *= type->dims[i];
  lines.count = lines.length ? type_elements(type) / lines.length : 0;
  return lines;
}

static int64_t line_start(const axis_lines *lines, int64_t index) {
  return index / lines->stride * lines->stride * lines->length + index % lines->stride;
}

static void sum_reals(double *line, int64_t length, bool exclusive) {
  double sum = 0;
  for (int64_t i = 0; i < length; i++) {
    double value = line[i];
    line[i] = exclusive ? sum : sum + value;
    sum += value;
  }
}

static void sum_integers(int64_t *line, int64_t length, bool exclusive) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < length; i++) {
    uint64_t value = (uint64_t)line[i];
    line[i] = (int64_t)(exclusive ? sum : sum + value);
    sum += value;
  }
}

status reference_cumsum(evaluation *e) {
  const eval_tensor *x = e->operands[0];
  eval_tensor *y = &e->results[0];
  axis_lines lines = lines_along(&x->type, attr_i64(e->op, "axis", 0));
  bool exclusive = attr_bool(e->op, "exclusive", false), reverse = attr_bool(e->op, "reverse", false);
  int64_t stride = reverse ? -lines.stride : lines.stride;
  void *line = eval_scratch(lines.length, sizeof(double));
  for (int64_t i = 0; i < lines.count; i++) {
    int64_t start = line_start(&lines, i) + (reverse ? (lines.length - 1) * lines.stride : 0);
    if (y->storage == EVAL_INTEGERS) {
      eval_load_integers(x, start, stride, lines.length, line);
      sum_integers(line, lines.length, exclusive);
      eval_store_integers(y, start, stride, lines.length, line);
    } else {
      eval_load(x, start, stride, lines.length, line);
      sum_reals(line, lines.length, exclusive);
      eval_store(e->session->precision, y, start, stride, lines.length, line);
    }
  }
  free(line);
  return STATUS_OK;
}

/* In place; NaN where the whole line is -inf, as in NumPy. Returns the maximum. */
static double softmax_line(double *line, int64_t length) {
  double greatest = -INFINITY, sum = 0;
  for (int64_t i = 0; i < length; i++) greatest = scalar_real(SCALAR_max, greatest, line[i]);
  for (int64_t i = 0; i < length; i++) sum += line[i] = exp(line[i] - greatest);
  for (int64_t i = 0; i < length; i++) line[i] /= sum;
  return greatest;
}

status reference_softmax(evaluation *e) {
  const eval_tensor *x = e->operands[0];
  axis_lines lines = lines_along(&x->type, attr_i64(e->op, "axis", 0));
  double *line = eval_scratch(lines.length, sizeof *line);
  for (int64_t i = 0; i < lines.count; i++) {
    int64_t start = line_start(&lines, i);
    eval_load(x, start, lines.stride, lines.length, line);
    softmax_line(line, lines.length);
    eval_store(e->session->precision, &e->results[0], start, lines.stride, lines.length, line);
  }
  free(line);
  return STATUS_OK;
}

/* ---- norm ---- */

static void normalise(double *line, int64_t length, bool is_layer, double epsilon) {
  double mean = 0, squares = 0;
  for (int64_t i = 0; is_layer && i < length; i++) mean += line[i] / (double)length;
  for (int64_t i = 0; i < length; i++) {
    line[i] -= mean;
    squares += line[i] * line[i];
  }
  double scale = 1 / sqrt(squares / (double)length + epsilon);
  for (int64_t i = 0; i < length; i++) line[i] *= scale;
}

/* Elements [start, start + count) of x's index space of a tensor that broadcasts to x. */
static void load_broadcast(const eval_tensor *t, const tensor_type *x, int64_t start, int64_t count, double *out) {
  int64_t strides[PINION_MAX_RANK];
  eval_broadcast_strides(&t->type, x, strides);
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = start + i, at = 0;
    for (int d = x->rank; d-- > 0; rest /= x->dims[d]) at += rest % x->dims[d] * strides[d];
    out[i] = eval_get(t, at);
  }
}

status reference_norm(evaluation *e) {
  const eval_tensor *x = e->operands[0], *scale = eval_operand(e, "scale"), *bias = eval_operand(e, "bias");
  bool is_layer = attr_str_is(e->op, "kind", "layer");
  double epsilon = attr_f64(e->op, "epsilon", 0);
  int64_t length = 1, count = type_elements(&x->type);
  for (int i = (int)attr_i64(e->op, "axis", 0); i < x->type.rank; i++) length *= x->type.dims[i];
  double *line = eval_scratch(length, sizeof *line), *other = eval_scratch(length, sizeof *other);
  for (int64_t start = 0; start < count; start += length) {
    eval_load(x, start, 1, length, line);
    normalise(line, length, is_layer, epsilon);
    if (scale) load_broadcast(scale, &x->type, start, length, other);
    for (int64_t i = 0; scale && i < length; i++) line[i] *= other[i];
    if (bias) load_broadcast(bias, &x->type, start, length, other);
    for (int64_t i = 0; bias && i < length; i++) line[i] += other[i];
    eval_store(e->session->precision, &e->results[0], start, 1, length, line);
  }
  free(line);
  free(other);
  return STATUS_OK;
}

/* ---- rope ---- */

/* Rotates the first 2 * half elements of a line; pairs are (i, i + half), or (2i, 2i + 1). */
static void rotate(double *line, const double *cosine, const double *sine, int64_t half, bool interleaved) {
  for (int64_t i = 0; i < half; i++) {
    double *first = &line[interleaved ? 2 * i : i], *second = &line[interleaved ? 2 * i + 1 : i + half];
    double x1 = *first, x2 = *second;
    *first = x1 * cosine[i] - x2 * sine[i];
    *second = x2 * cosine[i] + x1 * sine[i];
  }
}

status reference_rope(evaluation *e) {
  const eval_tensor *x = e->operands[0], *cosine = e->operands[1], *sine = e->operands[2];
  const int64_t *dims = x->type.dims; /* B, H, S, D */
  bool interleaved = attr_bool(e->op, "interleaved", false);
  int64_t half = cosine->type.dims[2], count = dims[0] * dims[1] * dims[2];
  double *line = eval_scratch(dims[3], sizeof *line);
  double *angles = eval_scratch(2 * half, sizeof *angles);
  for (int64_t row = 0; row < count; row++) {
    int64_t position = row % dims[2], batch = row / dims[2] / dims[1];
    eval_load(cosine, ((cosine->type.dims[0] == 1 ? 0 : batch) * dims[2] + position) * half, 1, half, angles);
    eval_load(sine, ((sine->type.dims[0] == 1 ? 0 : batch) * dims[2] + position) * half, 1, half, angles + half);
    eval_load(x, row * dims[3], 1, dims[3], line);
    rotate(line, angles, angles + half, half, interleaved);
    eval_store(e->session->precision, &e->results[0], row * dims[3], 1, dims[3], line);
  }
  free(line);
  free(angles);
  return STATUS_OK;
}

/* ---- attention ---- */

/* One query row's view of the op. */
typedef struct attention_row {
  const eval_tensor *mask;
  int64_t mask_strides[PINION_MAX_RANK]; /* along [B,H,Q,K] */
  bool causal;
  int64_t limits[5]; /* keys, from a query on keys, and again; without them, every key */
  int limit_count;
  double scale;
  int64_t keys, width, value_width; /* K, D, E */
  const double *k, *v;              /* of the row's K/V head: [K,D], [K,E] */
  int64_t visible_keys;             /* the query sees none from here on */
} attention_row;

static double dot(const double *a, const double *b, int64_t count) {
  double sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (int k = 0; k < 4; k++) sums[k] += a[i + k] * b[i + k];
  for (; i < count; i++) sums[0] += a[i] * b[i];
  return sums[0] + sums[1] + (sums[2] + sums[3]);
}

static double mask_at(const attention_row *r, int64_t mask_start, int64_t key) {
  if (key >= r->visible_keys) return -INFINITY;
  if (!r->mask) return 0;
  double value = eval_get(r->mask, mask_start + key * r->mask_strides[3]);
  if (r->mask->storage == EVAL_INTEGERS) return value != 0 ? 0 : -INFINITY;
  return value;
}

static int64_t visible_keys(const attention_row *r, int64_t query, int64_t queries) {
  int64_t visible = r->limit_count ? r->limits[0] : r->keys;
  for (int i = 1; i < r->limit_count; i += 2)
    if (query >= r->limits[i]) visible = r->limits[i + 1];
  const int64_t before = query + 1 + r->keys - queries; /* causal */
  return r->causal && before < visible ? before : visible;
}

/* A query that sees no key at all (each masked by -inf, false, causality or a limit) gets zeros: its weights would be
 * 0/0. */
static void attend(const attention_row *r, const double *query, int64_t mask_start, double *weights, double *out) {
  double greatest = -INFINITY;
  memset(out, 0, (size_t)r->value_width * sizeof *out);
  for (int64_t key = 0; key < r->keys; key++) {
    weights[key] = r->scale * dot(query, r->k + key * r->width, r->width) + mask_at(r, mask_start, key);
    greatest = scalar_real(SCALAR_max, greatest, weights[key]);
  }
  if (greatest == -INFINITY) return;
  softmax_line(weights, r->keys);
  for (int64_t key = 0; key < r->keys; key++) /* an unseen key's value may be anything, even NaN */
    for (int64_t i = 0; weights[key] != 0 && i < r->value_width; i++)
      out[i] += weights[key] * r->v[key * r->value_width + i];
}

/* All queries of one head. */
static void attend_head(evaluation *e, attention_row *r, int64_t batch, int64_t head, double *scratch) {
  const eval_tensor *q = e->operands[0];
  int64_t queries = q->type.dims[2], row = (batch * q->type.dims[1] + head) * queries;
  double *query = scratch, *weights = query + r->width, *out = weights + r->keys;
  for (int64_t i = 0; i < queries; i++, row++) {
    r->visible_keys = visible_keys(r, i, queries);
    eval_load(q, row * r->width, 1, r->width, query);
    attend(r, query, batch * r->mask_strides[0] + head * r->mask_strides[1] + i * r->mask_strides[2], weights, out);
    eval_store(e->session->precision, &e->results[0], row * r->value_width, 1, r->value_width, out);
  }
}

status reference_attention(evaluation *e) {
  const eval_tensor *q = e->operands[0], *k = e->operands[1], *v = e->operands[2];
  attention_row r = {.mask = eval_operand(e, "mask"),
                     .causal = attr_bool(e->op, "causal", false),
                     .scale = attr_f64(e->op, "scale", 1),
                     .keys = k->type.dims[2],
                     .width = k->type.dims[3],
                     .value_width = v->type.dims[3]};
  r.limit_count = attr_i64s(e->op, "limits", r.limits, 5);
  tensor_type scores = q->type;
  scores.dims[3] = r.keys;
  if (r.mask) eval_broadcast_strides(&r.mask->type, &scores, r.mask_strides);
  double *keys = eval_scratch(r.keys * r.width, sizeof *keys);
  double *values = eval_scratch(r.keys * r.value_width, sizeof *values);
  double *scratch = eval_scratch(r.width + r.keys + r.value_width, sizeof *scratch);
  int64_t heads = q->type.dims[1], shared = heads / k->type.dims[1]; /* query heads per K/V head */
  r.k = keys;
  r.v = values;
  for (int64_t i = 0; i < q->type.dims[0] * heads; i++) {
    int64_t batch = i / heads, head = i % heads, group = batch * k->type.dims[1] + head / shared;
    eval_load(k, group * r.keys * r.width, 1, r.keys * r.width, keys);
    eval_load(v, group * r.keys * r.value_width, 1, r.keys * r.value_width, values);
    attend_head(e, &r, batch, head, scratch);
  }
  free(keys);
  free(values);
  free(scratch);
  return STATUS_OK;
}
