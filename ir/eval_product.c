/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* matmul, gemm and conv. Sums are in double, in the order of k. */
#include "eval_internal.h"
#include "gemm.h"

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
static void multiply(eval_precision precision, product p) {
  const eval_tensor *a = p.a, *b = p.b;
  const int64_t b_first = p.b_start;
  eval_tensor *y = p.y;
  tensor_type batch, batch_a = leading(&a->type), batch_b = leading(&b->type);
  int64_t strides[PINION_MAX_RANK], step[PINION_MAX_RANK] = {0};
  shape_broadcast(&batch_a, &batch_b, &batch);
  eval_walk walk = eval_walk_over(&batch);
  batch_strides(a, &batch, strides);
  eval_walk_add(&walk, 0, strides);
  batch_strides(b, &batch, strides);
  eval_walk_add(&walk, b_first, strides);
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
  multiply(e->session->precision, matrices(e->operands[0], e->operands[1], false, &e->results[0]));
  return STATUS_OK;
}

/* ---- gemm ---- */

/* A gemm's body on its way: its inputs, of which some are made here. */
typedef struct epilogue {
  const evaluation *e;
  gemm_form form;
  tensor_type shape; /* [..,m,n], or [..,m,groups,n] */
  int count, own_count;
  const eval_tensor *inputs[PINION_MAX_ARGS];
  eval_tensor own[PINION_MAX_ARGS];
} epilogue;

static eval_tensor *add_own(epilogue *p, const tensor_type *type) {
  eval_tensor *tensor = &p->own[p->own_count];
  if (!eval_allocate(type, p->e->session->precision, tensor)) return NULL;
  p->own_count++;
  p->inputs[p->count++] = tensor;
  return tensor;
}

/* They are f32 (f64 for f64 operands), rounded before the body sees them. */
static bool add_accumulators(epilogue *p) {
  const evaluation *e = p->e;
  product half = matrices(e->operands[0], e->operands[1], attr_bool(e->op, "transpose_b", false), NULL);
  tensor_type *shape = &p->shape, type, batch_a = leading(&half.a->type), batch_b = leading(&half.b->type);
  shape_broadcast(&batch_a, &batch_b, shape);
  half.n /= p->form.accumulators;
  shape->dims[shape->rank++] = half.m;
  if (p->form.grouped) shape->dims[shape->rank++] = p->form.groups;
  shape->dims[shape->rank++] = half.n / p->form.groups;
  type = *shape;
  type.dtype = half.a->type.dtype == PINION_DTYPE_f64 ? PINION_DTYPE_f64 : PINION_DTYPE_f32;
  for (int i = 0; i < p->form.accumulators; i++) {
    half.b_start = i * half.n * half.b_column;
    half.y = add_own(p, &type);
    if (!half.y) return false;
    multiply(e->session->precision, half);
  }
  return true;
}

static bool add_part_index(epilogue *p) {
  const tensor_type type = {.dtype = PINION_DTYPE_i64, .rank = 2, .dims = {p->form.groups, 1}};
  if (p->form.parts == 1) return true;
  eval_tensor *index = add_own(p, &type);
  for (int part = 1; index && part < p->form.parts; part++)
    for (int64_t group = p->form.part_start[part]; group < p->form.groups; group++) index->i64[group] = part;
  return index != NULL;
}

/* sums[i] = sum of values[i * length .. (i + 1) * length), the last of every `rows`-th maybe shorter */
static void add_up(eval_precision precision, const eval_tensor *values, int64_t row, int64_t length,
                   eval_tensor *sums) {
  const int64_t rows = row ? type_elements(&values->type) / row : 0, blocks = (row + length - 1) / length;
  for (int64_t i = 0; i < rows * blocks; i++) {
    const int64_t first = i % blocks * length, end = first + length < row ? first + length : row;
    double sum = 0;
    for (int64_t j = first; j < end; j++) sum += eval_get(values, i / blocks * row + j);
    eval_store(precision, sums, i, 1, 1, &sum);
  }
}

static bool add_operands(epilogue *p) {
  const evaluation *e = p->e;
  const int end = gemm_operands_end(&p->form, e->operand_count), first_sum = end - p->form.row_sums;
  for (int i = 2; i < first_sum; i++) p->inputs[p->count++] = e->operands[i];
  for (int i = first_sum; i < end; i++) {
    tensor_type type = e->operands[i]->type; /* [..,m,1], or [..,m,1,1] */
    const int64_t length = type.dims[type.rank - 1];
    type.dims[type.rank - 1] = 1;
    if (p->form.grouped) type.dims[type.rank++] = 1;
    eval_tensor *sums = add_own(p, &type);
    if (!sums) return false;
    add_up(e->session->precision, e->operands[i], length, length, sums);
  }
  return true;
}

/* What the body yielded for all groups and columns, into a result: of one part's groups, or sums of columns. */
static void take_result(const epilogue *p, const eval_tensor *whole, int index) {
  const int per_part = p->e->result_count / p->form.parts;
  const int64_t columns = p->shape.dims[p->shape.rank - 1];
  eval_tensor *result = &p->e->results[index];
  int64_t from[PINION_MAX_RANK], to[PINION_MAX_RANK];
  if (index >= p->e->result_count - p->form.column_sums) {
    add_up(p->e->session->precision, whole, columns, PINION_COLUMN_BLOCK, result);
    return;
  }
  eval_walk walk = eval_walk_over(&result->type);
  eval_strides(&result->type, to);
  eval_strides(&p->shape, from);
  eval_walk_add(&walk, 0, to);
  eval_walk_add(&walk, p->form.part_start[index / per_part] * columns, from);
  eval_move(&walk, result, whole);
}

/* Results that are not simply what the body yields. */
static bool finish_apart(const epilogue *p, const body *b) {
  const int per_part = p->e->result_count / p->form.parts;
  eval_tensor whole[PINION_MAX_ARGS];
  int count = 0;
  bool good = true;
  for (; count < per_part && good; count += good) {
    tensor_type type = p->shape;
    type.dtype = p->e->results[count].type.dtype;
    good = eval_allocate(&type, p->e->session->precision, &whole[count]);
  }
  if (good) eval_body(p->e->session->precision, b, p->inputs, whole);
  for (int i = 0; good && i < p->e->result_count; i++) take_result(p, &whole[i % per_part], i);
  while (count > 0) eval_free(&whole[--count]);
  return good;
}

status reference_gemm(evaluation *e) {
  epilogue p = {.e = e, .form = gemm_form_of(e->op)};
  pinion_dtype dtypes[PINION_MAX_ARGS];
  body *b = NULL;
  bool good = add_accumulators(&p) && add_part_index(&p) && add_operands(&p);
  for (int i = 0; good && i < p.count; i++) dtypes[i] = p.inputs[i]->type.dtype;
  status result = good ? eval_parse_body(e, p.count, dtypes, &b) : STATUS_OK;
  if (good && result == STATUS_OK) {
    if (p.form.parts == 1 && p.form.column_sums == 0)
      eval_body(e->session->precision, b, p.inputs, e->results);
    else
      good = finish_apart(&p, b);
    free(b);
  }
  while (p.own_count > 0) eval_free(&p.own[--p.own_count]);
  return good ? result : eval_refuse(e, "no memory for the accumulators");
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
