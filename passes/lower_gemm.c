/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * matmul, gemm and conv as gemm launches over [b0 b1 m n k].
 *
 * Built as a space [batch.. m n k]; batch dimensions on which b does not depend become part of m, the others two.
 */
#include "lower.h"

#include "../ir/dialect.h"
#include "../targets/target.h"

#include <string.h>

/* ---- Spaces of the form [batch.. m n k] ---- */

static int m_of(const iteration_space *s) {
  return s->rank - 3;
}

/* Moves dimension `from` to position `to`, later than it. */
static void space_move_later(iteration_space *s, int from, int to) {
  for (int d = from; d < to; d++) {
    const int64_t size = s->size[d];
    s->size[d] = s->size[d + 1], s->size[d + 1] = size;
    for (int a = 0; a < s->arg_count; a++) {
      int64_t *stride = s->args[a].stride;
      const int64_t kept = stride[d];
      stride[d] = stride[d + 1], stride[d + 1] = kept;
    }
  }
}

/* Batch dimension `d` and m become one, with either as the outer; false if strides forbid it. */
static bool fold_batch_dimension(iteration_space *s, int b, int d) {
  if (s->args[b].stride[d] != 0) return false;
  iteration_space folded = *s;
  space_move_later(&folded, d, m_of(s) - 1);
  if (space_merge(&folded, m_of(&folded) - 1)) {
    *s = folded;
    return true;
  }
  folded = *s;
  space_move_later(&folded, d, m_of(s)); /* m is outer, the batch dimension inner */
  if (!space_merge(&folded, m_of(s) - 1)) return false;
  *s = folded;
  return true;
}

/* Leaves the form [b0 b1 m n k], or returns false: too many batch dimensions are left. */
static bool fold_batch(iteration_space *s, int b) {
  for (int d = m_of(s) - 1; d >= 0; d--)
    if (s->size[d] == 1) space_merge(s, d);
  for (int d = m_of(s) - 1; d >= 0; d--)
    if (d < m_of(s) && fold_batch_dimension(s, b, d)) d = m_of(s);
  for (int d = m_of(s) - 2; d >= 0; d--) space_merge(s, d);
  if (m_of(s) > 2) return false;
  while (m_of(s) < 2) { /* a leading 1 */
    memmove(&s->size[1], &s->size[0], (size_t)s->rank * sizeof s->size[0]);
    s->size[0] = 1;
    for (int a = 0; a < s->arg_count; a++) {
      memmove(&s->args[a].stride[1], &s->args[a].stride[0], (size_t)s->rank * sizeof s->args[a].stride[0]);
      s->args[a].stride[0] = 0;
    }
    s->rank++;
  }
  return true;
}

static void swap_sides(iteration_space *s, int a) {
  const int m = m_of(s), n = m + 1;
  const int64_t size = s->size[m];
  s->size[m] = s->size[n], s->size[n] = size;
  for (int i = 0; i < s->arg_count; i++) {
    int64_t *stride = s->args[i].stride;
    const int64_t kept = stride[m];
    stride[m] = stride[n], stride[n] = kept;
  }
  const space_arg kept = s->args[a];
  s->args[a] = s->args[a + 1], s->args[a + 1] = kept;
}

static bool is_weight_matrix(const lowering *l, const iteration_space *s, int arg) {
  const space_arg *x = &s->args[arg];
  if (l->buffers[x->buffer].space != PINION_SPACE_WEIGHTS || l->buffers[x->buffer].packed || x->step_stride)
    return false;
  for (int d = 0; d < m_of(s); d++)
    if (x->stride[d]) return false;
  return true;
}

/* Replaces a constant b by the target's packed form of it. */
static void pack_weight(lowering *l, iteration_space *s, int b) {
  const struct target *backend = l->context->target;
  if (!backend || !backend->packed_bytes || !is_weight_matrix(l, s, b)) return;
  const int64_t n = s->size[3], k = s->size[4];
  space_arg *arg = &s->args[b];
  const pinion_dtype dtype = l->buffers[arg->buffer].type.dtype;
  const int64_t bytes = backend->packed_bytes(n, k, dtype);
  if (bytes <= 0) return;
  const view matrix = {.buffer = arg->buffer,
                       .type = {.dtype = dtype, .rank = 2, .dims = {n, k}},
                       .offset = arg->offset,
                       .stride = {arg->stride[3], arg->stride[4]}};
  *arg = (space_arg){.buffer = packed_view(l, &matrix, bytes).buffer};
}

/* A launch whose space is [batch.. m n k]; false if that does not fold to two batch dimensions. */
static bool gemm_launch(lowering *l, lowered_launch *launch) {
  iteration_space *s = &launch->space;
  const int a = launch->result_count, b = a + 1;
  if (is_weight_matrix(l, s, a) && !is_weight_matrix(l, s, b)) swap_sides(s, a);
  if (!fold_batch(s, b)) return false;
  pack_weight(l, s, b);
  launch_add(l, launch);
  return true;
}

/* ---- matmul, gemm ---- */

typedef struct product {
  MlirAttribute body;
  int result_count, extra_count;
  view results[PINION_MAX_ARGS]; /* [batch.. m n] */
  view a, b;                     /* [.. m k], [.. k n] */
  view extra[PINION_MAX_ARGS];   /* broadcast to [batch.. m n] */
} product;

/* Appends `v`, whose last two dimensions lie along `row` and `column` of the space, and whose others are batch. */
static void add_operand(iteration_space *s, const view *v, int row, int column) {
  view spread = *v;
  int64_t dims[PINION_MAX_RANK];
  const int batch = m_of(s);
  memcpy(dims, s->size, sizeof dims);
  dims[batch] = v->type.dims[v->type.rank - 2], dims[batch + 1] = v->type.dims[v->type.rank - 1];
  view_broadcast(v, batch + 2, dims, &spread);
  view placed = spread;
  memset(&placed.stride[batch], 0, (PINION_MAX_RANK - (size_t)batch) * sizeof placed.stride[0]);
  placed.stride[row] = spread.stride[batch];
  placed.stride[column] = spread.stride[batch + 1];
  space_add(s, &placed);
}

static bool product_launch(lowering *l, MlirOperation op, const product *p) {
  lowered_launch launch = launch_begin(op, PINION_FAMILY_GEMM);
  launch.body = p->body;
  launch.result_count = p->result_count;
  iteration_space *s = &launch.space;
  const tensor_type *y = &p->results[0].type;
  const int batch = y->rank - 2;
  s->rank = y->rank + 1;
  memcpy(s->size, y->dims, sizeof s->size);
  s->size[batch + 2] = p->a.type.dims[p->a.type.rank - 1];
  for (int r = 0; r < p->result_count; r++) add_operand(s, &p->results[r], batch, batch + 1);
  add_operand(s, &p->a, batch, batch + 2);
  add_operand(s, &p->b, batch + 2, batch + 1);
  for (int x = 0; x < p->extra_count; x++) add_operand(s, &p->extra[x], batch, batch + 1);
  return gemm_launch(l, &launch);
}

/* A dense copy with the batch dimensions of `y` and the view's own last two. */
static view spread_copy(lowering *l, MlirLocation location, const view *v, const tensor_type *y) {
  int64_t dims[PINION_MAX_RANK];
  memcpy(dims, y->dims, sizeof dims);
  dims[y->rank - 2] = v->type.dims[v->type.rank - 2], dims[y->rank - 1] = v->type.dims[v->type.rank - 1];
  view spread = *v;
  view_broadcast(v, y->rank, dims, &spread);
  return materialise(l, location, &spread);
}

/* With everything dense the batch dimensions are one. */
static status product_over_copies(lowering *l, MlirOperation op, const product *p) {
  MlirLocation location = mlirOperationGetLocation(op);
  product dense = *p;
  const tensor_type *y = &p->results[0].type;
  dense.a = spread_copy(l, location, &p->a, y);
  dense.b = spread_copy(l, location, &p->b, y);
  for (int x = 0; x < p->extra_count; x++) dense.extra[x] = spread_copy(l, location, &p->extra[x], y);
  for (int r = 0; r < p->result_count; r++)
    dense.results[r] = arena_view(l, value_name(l, location), &p->results[r].type);
  if (!product_launch(l, op, &dense)) return lower_error(l, op, "has more batch dimensions than a gemm takes");
  for (int r = 0; r < p->result_count; r++) copy_view(l, location, &dense.results[r], &p->results[r]);
  return STATUS_OK;
}

static void insert_dimension(view *v, int at) {
  int64_t dims[PINION_MAX_RANK];
  memcpy(dims, v->type.dims, sizeof dims);
  memmove(&dims[at + 1], &dims[at], (size_t)(v->type.rank - at) * sizeof dims[0]);
  dims[at] = 1;
  view_reshape(v, v->type.rank + 1, dims, v); /* a dimension of size 1 is always a view */
}

static status lower_product(lowering *l, MlirOperation op, product *p) {
  tensor_type y = {0};
  /* Rows of a and b are read for many elements: only the body's operands may be overwritten. */
  const bool multiplies_carried = p->a.buffer == l->carried_buffer || p->b.buffer == l->carried_buffer;
  for (int r = 0; r < p->result_count; r++) {
    MlirValue value = mlirOperationGetResult(op, r);
    p->results[r] = multiplies_carried ? place(l, value) : place_elementwise(l, op, r, p->extra_count, p->extra);
    map_set(l->c->arena, &l->values, value, &p->results[r]);
    y = p->results[r].type;
  }
  const bool row = p->a.type.rank == 1, column = p->b.type.rank == 1;
  if (y.rank + row + column + 1 > PINION_MAX_RANK) return lower_error(l, op, "has more dimensions than a gemm takes");
  for (int r = 0; r < p->result_count; r++) {
    if (column) insert_dimension(&p->results[r], p->results[r].type.rank);
    if (row) insert_dimension(&p->results[r], p->results[r].type.rank - 1);
  }
  if (row) insert_dimension(&p->a, 0);
  if (column) insert_dimension(&p->b, 1);
  if (p->a.type.dims[p->a.type.rank - 1] == 0) return lower_error(l, op, "sums over a dimension of size 0");
  return product_launch(l, op, p) ? STATUS_OK : product_over_copies(l, op, p);
}

status lower_matmul(lowering *l, MlirOperation op) {
  product p = {.result_count = 1};
  status result = operand_view(l, op, 0, &p.a);
  if (result == STATUS_OK) result = operand_view(l, op, 1, &p.b);
  return result == STATUS_OK ? lower_product(l, op, &p) : result;
}

static void transpose_last(view *v) {
  int64_t permutation[PINION_MAX_RANK];
  for (int d = 0; d < PINION_MAX_RANK; d++) permutation[d] = d;
  permutation[v->type.rank - 2] = v->type.rank - 1, permutation[v->type.rank - 1] = v->type.rank - 2;
  view_transpose(v, permutation, v);
}

status lower_gemm(lowering *l, MlirOperation op) {
  product p = {.body = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("body")),
               .result_count = (int)mlirOperationGetNumResults(op),
               .extra_count = (int)mlirOperationGetNumOperands(op) - 2};
  if (p.result_count + p.extra_count + 2 > PINION_MAX_ARGS)
    return lower_error(l, op, "has more results and operands than a kernel may have arguments");
  status result = operand_view(l, op, 0, &p.a);
  if (result == STATUS_OK) result = operand_view(l, op, 1, &p.b);
  tensor_type y = {0};
  value_type(mlirOperationGetResult(op, 0), &y);
  for (int x = 0; x < p.extra_count && result == STATUS_OK; x++) {
    result = operand_view(l, op, x + 2, &p.extra[x]);
    if (result == STATUS_OK && !view_broadcast(&p.extra[x], y.rank, y.dims, &p.extra[x]))
      return lower_error(l, op, "has an operand that does not broadcast to its result");
  }
  if (result != STATUS_OK) return result;
  if (attr_bool(op, "transpose_b", false)) transpose_last(&p.b);
  return lower_product(l, op, &p);
}

/* ---- conv: columns of the image times the kernels ---- */

typedef struct convolution {
  int64_t strides[2], pads[4], dilations[2], group; /* pads: top left bottom right */
  view x, w, y;                                     /* [B,C,H,W], [O,C/group,kh,kw], [B,O,OH,OW] */
} convolution;

/* Dimensions of the columns: [B, OH, OW, C, kh, kw]. */
static void column_dims(const convolution *c, int64_t dims[6]) {
  const int64_t *x = c->x.type.dims, *w = c->w.type.dims, *y = c->y.type.dims;
  const int64_t values[6] = {x[0], y[2], y[3], x[1], w[2], w[3]};
  memcpy(dims, values, sizeof values);
}

/* Without padding every column is a view of the image; neighbouring ones may overlap. */
static view column_view(const convolution *c) {
  const int64_t *stride = c->x.stride;
  view v = {.buffer = c->x.buffer,
            .type = {.dtype = c->x.type.dtype, .rank = 6},
            .offset = c->x.offset,
            .step_stride = c->x.step_stride,
            .stride = {stride[0], stride[2] * c->strides[0], stride[3] * c->strides[1], stride[1],
                       stride[2] * c->dilations[0], stride[3] * c->dilations[1]}};
  column_dims(c, v.type.dims);
  return v;
}

/* A buffer for the columns, one row of C * kh * kw for each place: [B, OH, OW, C, kh, kw] as a view of it. */
static view column_buffer(lowering *l, MlirOperation op, const convolution *c) {
  int64_t dims[6];
  column_dims(c, dims);
  const tensor_type matrix = {
      .dtype = c->x.type.dtype, .rank = 2, .dims = {dims[0] * dims[1] * dims[2], dims[3] * dims[4] * dims[5]}};
  view v = arena_view(l, value_name(l, mlirOperationGetLocation(op)), &matrix);
  view_reshape(&v, 6, dims, &v); /* splitting dimensions is always a view */
  return v;
}

static void im2col_launch(lowering *l, MlirOperation op, const convolution *c, const view *columns) {
  lowered_launch launch = launch_begin(op, PINION_FAMILY_IM2COL);
  const int64_t *stride = c->x.stride;
  const int64_t integers[8] = {c->strides[0], c->strides[1], c->dilations[0],   c->dilations[1],
                               c->pads[0],    c->pads[1],    c->x.type.dims[2], c->x.type.dims[3]};
  memcpy(launch.integers, integers, sizeof integers);
  launch.integer_count = 8;
  launch.space.rank = 6;
  memcpy(launch.space.size, columns->type.dims, sizeof launch.space.size);
  space_add(&launch.space, columns);
  launch.space.args[launch.space.arg_count++] = (space_arg){.buffer = c->x.buffer,
                                                            .offset = c->x.offset,
                                                            .step_stride = c->x.step_stride,
                                                            .stride = {stride[0], stride[2], stride[3], stride[1]}};
  launch_add(l, &launch);
}

/* [B, OH, OW, C, kh, kw] with C, kh and kw one dimension in memory. */
static view convolution_columns(lowering *l, MlirOperation op, const convolution *c) {
  const bool padded = c->pads[0] || c->pads[1] || c->pads[2] || c->pads[3];
  if (!padded) {
    view v = column_view(c), merged;
    const int64_t *d = v.type.dims;
    const int64_t dims[4] = {d[0], d[1], d[2], d[3] * d[4] * d[5]};
    if (view_reshape(&v, 4, dims, &merged)) return v;
    const view columns = column_buffer(l, op, c);
    copy_view(l, mlirOperationGetLocation(op), &v, &columns);
    return columns;
  }
  const view columns = column_buffer(l, op, c);
  im2col_launch(l, op, c, &columns);
  return columns;
}

/* `v` as [group, B, OH, OW, n, k], given the strides of those. */
static void add_convolution_operand(iteration_space *s, const view *v, const int64_t stride[6]) {
  view placed = *v;
  memset(placed.stride, 0, sizeof placed.stride);
  memcpy(placed.stride, stride, 6 * sizeof stride[0]);
  space_add(s, &placed);
}

/* The gemm [group, B, OH, OW, n, k]: OW is m, the group a batch dimension, and so are B and OH where they are not part
   of m. False if `y` has more dimensions than that leaves room for. */
static bool convolution_gemm(lowering *l, MlirOperation op, const convolution *c, const view *columns, const view *w,
                             const view *bias, const view *y) {
  static const char *const add_bias[] = {"add x0 x1", "yield v0"};
  const int64_t *dims = y->type.dims, group = c->group, n = dims[1] / group, k = w->type.dims[1];
  const int64_t column_split[5] = {dims[0], dims[2], dims[3], group, k};
  const int64_t result_split[5] = {dims[0], group, n, dims[2], dims[3]};
  const int64_t weight_split[3] = {group, n, k}, bias_split[2] = {group, n};
  view a, r, b, x;
  view_reshape(columns, 5, column_split, &a); /* splits, all of them: always views */
  view_reshape(y, 5, result_split, &r);
  view_reshape(w, 3, weight_split, &b);
  lowered_launch launch = launch_begin(op, PINION_FAMILY_GEMM);
  launch.space = (iteration_space){.rank = 6, .size = {group, dims[0], dims[2], dims[3], n, k}};
  iteration_space *s = &launch.space;
  add_convolution_operand(s, &r, (int64_t[6]){r.stride[1], r.stride[0], r.stride[3], r.stride[4], r.stride[2], 0});
  add_convolution_operand(s, &a, (int64_t[6]){a.stride[3], a.stride[0], a.stride[1], a.stride[2], 0, a.stride[4]});
  add_convolution_operand(s, &b, (int64_t[6]){b.stride[0], 0, 0, 0, b.stride[1], b.stride[2]});
  if (bias) {
    view_reshape(bias, 2, bias_split, &x);
    add_convolution_operand(s, &x, (int64_t[6]){x.stride[0], 0, 0, 0, x.stride[1], 0});
    launch.body = body_strings(l->c->context, 2, add_bias);
  }
  return gemm_launch(l, &launch);
}

static status convolution_operands(lowering *l, MlirOperation op, convolution *c, bool *out_has_bias, view *out_bias) {
  bool present;
  status result = named_view(l, op, "x", &present, &c->x);
  if (result == STATUS_OK) result = named_view(l, op, "w", &present, &c->w);
  if (result == STATUS_OK) result = named_view(l, op, "bias", out_has_bias, out_bias);
  if (result != STATUS_OK) return result;
  attr_i64s(op, "strides", c->strides, 2);
  attr_i64s(op, "dilations", c->dilations, 2);
  attr_i64s(op, "pads", c->pads, 4);
  c->group = attr_i64(op, "group", 1);
  if (c->x.type.rank != 4 || c->w.type.rank != 4) return lower_error(l, op, "has other than two spatial dimensions");
  if (c->group < 1 || c->w.type.dims[0] % c->group || c->x.type.dims[1] != c->group * c->w.type.dims[1])
    return lower_error(l, op, "has a group that does not divide its channels");
  return STATUS_OK;
}

status lower_conv(lowering *l, MlirOperation op) {
  convolution c = {.strides = {1, 1}, .dilations = {1, 1}};
  bool has_bias;
  view bias;
  const status result = convolution_operands(l, op, &c, &has_bias, &bias);
  if (result != STATUS_OK) return result;
  MlirLocation location = mlirOperationGetLocation(op);
  const int64_t *kernel = c.w.type.dims, matrix[2] = {kernel[0], kernel[1] * kernel[2] * kernel[3]};
  const view w = reshape_or_copy(l, location, &c.w, 2, matrix);
  c.y = place(l, mlirOperationGetResult(op, 0));
  map_set(l->c->arena, &l->values, mlirOperationGetResult(op, 0), &c.y);
  const view columns = convolution_columns(l, op, &c);
  if (convolution_gemm(l, op, &c, &columns, &w, has_bias ? &bias : NULL, &c.y)) return STATUS_OK;
  /* Into [B, OH, OW, O], where all places are one dimension, and from there. */
  static const int64_t channels_second[4] = {0, 3, 1, 2};
  const int64_t *y = c.y.type.dims;
  const tensor_type channels_last = {.dtype = c.y.type.dtype, .rank = 4, .dims = {y[0], y[2], y[3], y[1]}};
  view dense = arena_view(l, value_name(l, location), &channels_last);
  view_transpose(&dense, channels_second, &dense);
  if (!convolution_gemm(l, op, &c, &columns, &w, has_bias ? &bias : NULL, &dense))
    return lower_error(l, op, "has more dimensions than a gemm takes");
  copy_view(l, location, &dense, &c.y);
  return STATUS_OK;
}
