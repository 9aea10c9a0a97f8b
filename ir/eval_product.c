/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* matmul, gemm and conv. Sums are in double, in the order of k. */
#include "eval_internal.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 8 }; /* rows of the result per pass over b: b is converted to double once for all of them */

/* One matrix product: a[m,k] * b[k,n], as strides in elements. */
typedef struct product {
  const eval_tensor *a, *b;
  eval_tensor *y;
  int64_t m, n, k;
  int64_t a_row, a_column, b_row, b_column; /* strides */
  int64_t a_start, b_start, y_start;
} product;

/* sums[i][j] += a[i] * b[j] */
static void add_outer(const double *a, int64_t rows, const double *b, int64_t n, double *sums) {
  for (int64_t i = 0; i < rows; i++) {
    double factor = a[i], *row = sums + i * n;
    for (int64_t j = 0; j < n; j++) row[j] += factor * b[j];
  }
}

static void multiply_reals(eval_precision precision, const product *p) {
  double *sums = eval_scratch(ROWS * p->n, sizeof *sums), *b = eval_scratch(p->n, sizeof *b), a[ROWS];
  for (int64_t first = 0; first < p->m; first += ROWS) {
    int64_t rows = p->m - first < ROWS ? p->m - first : ROWS;
    memset(sums, 0, (size_t)(rows * p->n) * sizeof *sums);
    for (int64_t k = 0; k < p->k; k++) {
      eval_load(p->a, p->a_start + first * p->a_row + k * p->a_column, p->a_row, rows, a);
      eval_load(p->b, p->b_start + k * p->b_row, p->b_column, p->n, b);
      add_outer(a, rows, b, p->n, sums);
    }
    eval_store(precision, p->y, p->y_start + first * p->n, 1, rows * p->n, sums);
  }
  free(sums);
  free(b);
}

/* Modulo 2^64, then modulo the type: exact in any order. */
static void multiply_integers(const product *p) {
  uint64_t *sums = eval_scratch(p->n, sizeof *sums);
  for (int64_t i = 0; i < p->m; i++) {
    memset(sums, 0, (size_t)p->n * sizeof *sums);
    for (int64_t k = 0; k < p->k; k++) {
      uint64_t factor = (uint64_t)p->a->i64[p->a_start + i * p->a_row + k * p->a_column];
      const int64_t *b = p->b->i64 + p->b_start + k * p->b_row;
      for (int64_t j = 0; j < p->n; j++) sums[j] += factor * (uint64_t)b[j * p->b_column];
    }
    eval_store_integers(p->y, p->y_start + i * p->n, 1, p->n, (const int64_t *)sums);
  }
  free(sums);
}

/* The dimensions in front of the matrix; a vector's matrix has none. */
static tensor_type leading(const tensor_type *type) {
  tensor_type result = *type;
  result.rank = type->rank > 2 ? type->rank - 2 : 0;
  return result;
}

/* Strides over `batch` of the matrices of `t`. */
static void batch_strides(const eval_tensor *t, const tensor_type *batch, int64_t *out_strides) {
  tensor_type own = leading(&t->type);
  int64_t matrix = 1;
  for (int i = own.rank; i < t->type.rank; i++) matrix *= t->type.dims[i];
  memset(out_strides, 0, PINION_MAX_RANK * sizeof *out_strides);
  eval_broadcast_strides(&own, batch, out_strides);
  for (int i = 0; i < batch->rank; i++) out_strides[i] *= matrix;
}

static product matrices(const eval_tensor *a, const eval_tensor *b, bool transpose_b, eval_tensor *y) {
  const tensor_type *ta = &a->type, *tb = &b->type;
  product p = {.a = a, .b = b, .y = y, .k = ta->dims[ta->rank - 1], .m = 1, .n = 1, .a_column = 1, .b_row = 1};
  p.a_row = p.k;
  if (ta->rank > 1) p.m = ta->dims[ta->rank - 2];
  if (tb->rank > 1) {
    p.n = tb->dims[transpose_b ? tb->rank - 2 : tb->rank - 1];
    p.b_row = transpose_b ? 1 : p.n;
    p.b_column = transpose_b ? p.k : 1;
  }
  return p;
}

/* y[..,m,n] = sum_k a[..,m,k] b[..,k,n]: y has the broadcast leading dimensions, whether or not m and n are there. */
static void multiply(eval_precision precision, const eval_tensor *a, const eval_tensor *b, bool transpose_b,
                     eval_tensor *y) {
  product p = matrices(a, b, transpose_b, y);
  tensor_type batch, batch_a = leading(&a->type), batch_b = leading(&b->type);
  int64_t strides[PINION_MAX_RANK], step[PINION_MAX_RANK] = {0};
  shape_broadcast(&batch_a, &batch_b, &batch);
  eval_walk walk = eval_walk_over(&batch);
  batch_strides(a, &batch, strides);
  eval_walk_add(&walk, 0, strides);
  batch_strides(b, &batch, strides);
  eval_walk_add(&walk, 0, strides);
  eval_strides(&batch, step);
  for (int i = 0; i < batch.rank; i++) step[i] *= p.m * p.n;
  eval_walk_add(&walk, 0, step);
  for (eval_walk_begin(&walk); !walk.done; eval_walk_next(&walk)) {
    int row = walk.rank - 1;
    for (int64_t i = 0; i < walk.size[row]; i++) {
      p.a_start = walk.offset[0] + i * walk.stride[0][row];
      p.b_start = walk.offset[1] + i * walk.stride[1][row];
      p.y_start = walk.offset[2] + i * walk.stride[2][row];
      if (y->storage == EVAL_INTEGERS)
        multiply_integers(&p);
      else
        multiply_reals(precision, &p);
    }
  }
}

status reference_matmul(evaluation *e) {
  multiply(e->session->precision, e->operands[0], e->operands[1], false, &e->results[0]);
  return STATUS_OK;
}

/* The accumulator is f32 (f64 for f64 operands), rounded before the body sees it. */
status reference_gemm(evaluation *e) {
  eval_precision precision = e->session->precision;
  const eval_tensor *inputs[PINION_MAX_ARGS];
  pinion_dtype dtypes[PINION_MAX_ARGS];
  eval_tensor sums;
  tensor_type type = e->results[0].type;
  type.dtype = e->operands[0]->type.dtype == PINION_DTYPE_f64 ? PINION_DTYPE_f64 : PINION_DTYPE_f32;
  if (!eval_allocate(&type, precision, &sums)) return eval_refuse(e, "no memory for the accumulators");
  for (int i = 1; i < e->operand_count; i++) {
    inputs[i - 1] = i == 1 ? &sums : e->operands[i];
    dtypes[i - 1] = inputs[i - 1]->type.dtype;
  }
  body *b;
  status result = eval_parse_body(e, e->operand_count - 1, dtypes, &b);
  if (result == STATUS_OK) {
    multiply(precision, e->operands[0], e->operands[1], attr_bool(e->op, "transpose_b", false), &sums);
    eval_body(precision, b, inputs, e->results);
    free(b);
  }
  eval_free(&sums);
  return result;
}

/* ---- Convolution ---- */

typedef struct convolution {
  const eval_tensor *x, *w;
  const tensor_type *y;
  int64_t strides[2], pads[4], dilations[2];
} convolution;

/* plane[oy,ox] += weight * x's plane, moved by one kernel element. */
static void add_plane(const convolution *c, int64_t x_start, int64_t ky, int64_t kx, double weight, double *line,
                      double *plane) {
  int64_t height = c->x->type.dims[2], width = c->x->type.dims[3];
  int64_t rows = c->y->dims[2], columns = c->y->dims[3];
  for (int64_t oy = 0; oy < rows; oy++) {
    int64_t iy = oy * c->strides[0] + ky * c->dilations[0] - c->pads[0];
    if (iy < 0 || iy >= height) continue;
    eval_load(c->x, x_start + iy * width, 1, width, line);
    for (int64_t ox = 0; ox < columns; ox++) {
      int64_t ix = ox * c->strides[1] + kx * c->dilations[1] - c->pads[1];
      if (ix >= 0 && ix < width) plane[oy * columns + ox] += weight * line[ix];
    }
  }
}

/* One output channel of one image. */
static void convolve(const convolution *c, int64_t image, int64_t channel, int64_t group, double *line, double *plane) {
  const int64_t *x = c->x->type.dims, *w = c->w->type.dims;
  int64_t first = channel / (w[0] / group) * w[1]; /* the group's first input channel */
  for (int64_t k = 0; k < w[1]; k++)
    for (int64_t ky = 0; ky < w[2]; ky++)
      for (int64_t kx = 0; kx < w[3]; kx++) {
        double weight = eval_get(c->w, ((channel * w[1] + k) * w[2] + ky) * w[3] + kx);
        add_plane(c, (image * x[1] + first + k) * x[2] * x[3], ky, kx, weight, line, plane);
      }
}

status reference_conv(evaluation *e) {
  eval_tensor *y = &e->results[0];
  const eval_tensor *bias = eval_operand(e, "bias");
  convolution c = {.x = e->operands[0], .w = e->operands[1], .y = &y->type};
  attr_i64s(e->op, "strides", c.strides, 2);
  attr_i64s(e->op, "pads", c.pads, 4);
  attr_i64s(e->op, "dilations", c.dilations, 2);
  int64_t group = attr_i64(e->op, "group", 1), size = y->type.dims[2] * y->type.dims[3];
  double *plane = eval_scratch(size, sizeof *plane), *line = eval_scratch(c.x->type.dims[3], sizeof *line);
  for (int64_t image = 0; image < y->type.dims[0]; image++)
    for (int64_t channel = 0; channel < y->type.dims[1]; channel++) {
      for (int64_t i = 0; i < size; i++) plane[i] = bias ? eval_get(bias, channel) : 0;
      convolve(&c, image, channel, group, line, plane);
      eval_store(e->session->precision, y, (image * y->type.dims[1] + channel) * size, 1, size, plane);
    }
  free(plane);
  free(line);
  return STATUS_OK;
}
