/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * matmul, gemm and conv as gemm launches over [b0 b1 m h n p k].
 *
 * Built as a space [batch.. m n k], or [batch.. m h n p k] where groups or a second accumulator need it; batch
 * dimensions on which b does not depend become part of m, the others two.
 */
#include "lower.h"

#include "../ir/dialect.h"
#include "../ir/gemm.h"
#include "../targets/target.h"

#include <string.h>

/* ---- Spaces of the form [batch.. m n k] and [batch.. m h n p k] ---- */

typedef struct gemm_space {
  lowered_launch launch;
  int m;        /* which dimension it is: how many batch dimensions there are */
  bool is_full; /* h and p are there */
} gemm_space;

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

/* A new dimension of size 1 at position `at`. */
static void space_insert(iteration_space *s, int at) {
  const size_t behind = (size_t)(s->rank - at) * sizeof s->size[0];
  memmove(&s->size[at + 1], &s->size[at], behind);
  s->size[at] = 1;
  for (int a = 0; a < s->arg_count; a++) {
    memmove(&s->args[a].stride[at + 1], &s->args[a].stride[at], behind);
    s->args[a].stride[at] = 0;
  }
  s->rank++;
}

/* Batch dimension `d` and m become one, with either as the outer; false if strides forbid it. */
static bool fold_batch_dimension(gemm_space *g, int b, int d) {
  iteration_space *s = &g->launch.space, folded = *s;
  if (s->args[b].stride[d] != 0) return false;
  space_move_later(&folded, d, g->m - 1);
  if (!space_merge(&folded, g->m - 1)) {
    folded = *s;
    space_move_later(&folded, d, g->m); /* m is outer, the batch dimension inner */
    if (!space_merge(&folded, g->m - 1)) return false;
  }
  *s = folded;
  g->m--;
  return true;
}

/* Leaves two batch dimensions, or returns false: too many are left. */
static bool fold_batch(gemm_space *g, int b) {
  iteration_space *s = &g->launch.space;
  for (int d = g->m - 1; d >= 0; d--)
    if (s->size[d] == 1 && space_merge(s, d)) g->m--;
  for (int d = g->m - 1; d >= 0; d--)
    if (d < g->m && fold_batch_dimension(g, b, d)) d = g->m;
  for (int d = g->m - 2; d >= 0; d--)
    if (space_merge(s, d)) g->m--;
  if (g->m > 2) return false;
  for (; g->m < 2; g->m++) space_insert(s, 0);
  return true;
}

/* Of a space [batch.. m n k]. */
static void swap_sides(gemm_space *g, int a) {
  iteration_space *s = &g->launch.space;
  space_move_later(s, g->m, g->m + 1);
  const space_arg kept = s->args[a];
  s->args[a] = s->args[a + 1], s->args[a + 1] = kept;
}

static bool is_weight_matrix(const lowering *l, const gemm_space *g, int arg) {
  const space_arg *x = &g->launch.space.args[arg];
  if (l->buffers[x->buffer].space != PINION_SPACE_WEIGHTS || l->buffers[x->buffer].packed || x->step_stride)
    return false;
  for (int d = 0; d < g->m; d++)
    if (x->stride[d]) return false;
  return true;
}

/* Replaces a constant b by the target's packed form of it. */
static void pack_weight(lowering *l, gemm_space *g, int b) {
  const struct target *backend = l->context->target;
  if (!backend || !backend->packed_bytes || !is_weight_matrix(l, g, b)) return;
  iteration_space *s = &g->launch.space;
  space_arg *arg = &s->args[b];
  view matrix = {
      .buffer = arg->buffer, .type = {.dtype = l->buffers[arg->buffer].type.dtype, .rank = 4}, .offset = arg->offset};
  memcpy(matrix.type.dims, &s->size[PINION_GEMM_H], 4 * sizeof s->size[0]);
  memcpy(matrix.stride, &arg->stride[PINION_GEMM_H], 4 * sizeof arg->stride[0]);
  const int64_t bytes = backend->packed_bytes(matrix.type.dims, matrix.type.dtype);
  if (bytes <= 0) return;
  *arg = (space_arg){.buffer = packed_view(l, &matrix, bytes).buffer};
}

/* Adds the launch; false if its batch does not fold to two dimensions. */
static bool gemm_launch(lowering *l, gemm_space *g) {
  const int a = g->launch.result_count, b = a + 1;
  if (!g->is_full && is_weight_matrix(l, g, a) && !is_weight_matrix(l, g, b)) swap_sides(g, a);
  if (!fold_batch(g, b)) return false;
  if (!g->is_full) {
    space_insert(&g->launch.space, PINION_GEMM_H);
    space_insert(&g->launch.space, PINION_GEMM_P);
  }
  pack_weight(l, g, b);
  launch_add(l, &g->launch);
  return true;
}

/* ---- matmul, gemm ---- */

typedef struct product {
  MlirAttribute body;
  gemm_form form;
  bool is_full; /* the op has any of the form's attributes */
  int result_count, extra_count;
  view results[PINION_MAX_ARGS]; /* [batch.. m n], [batch.. m h n] if grouped; column sums: n is their blocks */
  view a, b;                     /* [.. m k], [.. k n] */
  view extra[PINION_MAX_ARGS];   /* the same, with all groups and columns; row sums: [batch.. m any] */
  view row_mask;                 /* [batch.. m 1], if the form has one */
  int64_t batch[PINION_MAX_RANK];
  int batch_rank;
} product;

/* The dimensions after the batch of operands and results. */
enum { ROWS_COLUMNS = 2, ROWS_GROUPS_COLUMNS = 3 };
static int own_dimensions(const product *p) {
  return p->form.grouped ? ROWS_GROUPS_COLUMNS : ROWS_COLUMNS;
}

/* Appends `v`, whose last `count` dimensions lie along the dimensions `along` of the space, counted from m, and whose
   others are batch. */
static void add_operand(gemm_space *g, const view *v, int count, const int *along) {
  iteration_space *s = &g->launch.space;
  view spread = *v;
  int64_t dims[PINION_MAX_RANK];
  memcpy(dims, s->size, sizeof dims);
  memcpy(&dims[g->m], &v->type.dims[v->type.rank - count], (size_t)count * sizeof dims[0]);
  view_broadcast(v, g->m + count, dims, &spread);
  space_arg *arg = &s->args[s->arg_count++];
  *arg = (space_arg){.buffer = v->buffer, .offset = v->offset, .step_stride = v->step_stride};
  for (int d = 0; d < g->m; d++) arg->stride[d] = s->size[d] == 1 ? 0 : spread.stride[d];
  for (int i = 0; i < count; i++) arg->stride[g->m + along[i]] = dims[g->m + i] == 1 ? 0 : spread.stride[g->m + i];
}

static gemm_space product_space(const product *p, MlirOperation op) {
  gemm_space g = {.launch = launch_begin(op, PINION_FAMILY_GEMM), .m = p->batch_rank, .is_full = p->is_full};
  const int64_t columns = p->b.type.dims[p->b.type.rank - 1], m = p->a.type.dims[p->a.type.rank - 2];
  const int64_t k = p->a.type.dims[p->a.type.rank - 1], h = p->form.groups, halves = p->form.accumulators;
  iteration_space *s = &g.launch.space;
  g.launch.body = p->body;
  g.launch.result_count = p->result_count;
  memcpy(s->size, p->batch, sizeof s->size);
  const int64_t full[5] = {m, h, columns / h / halves, halves, k}, plain[3] = {m, columns, k};
  memcpy(&s->size[g.m], g.is_full ? full : plain, g.is_full ? sizeof full : sizeof plain);
  s->rank = g.m + (g.is_full ? 5 : 3);
  return g;
}

/* [.. k columns] as [.. k p h n]: always a view. */
static view split_columns(const product *p) {
  const view *b = &p->b;
  int64_t dims[PINION_MAX_RANK];
  view split;
  const int last = b->type.rank - 1;
  memcpy(dims, b->type.dims, sizeof dims);
  dims[last] = p->form.accumulators;
  dims[last + 1] = p->form.groups;
  dims[last + 2] = b->type.dims[last] / p->form.accumulators / p->form.groups;
  view_reshape(b, last + 3, dims, &split);
  return split;
}

static void set_integers(const product *p, lowered_launch *launch) {
  const gemm_form *form = &p->form;
  int64_t *integers = launch->integers;
  for (int part = 1; part < form->parts; part++) integers[part - 1] = form->part_start[part];
  if (form->row_sums) {
    const tensor_type *summed = &p->extra[p->extra_count - 1].type;
    integers[2] = form->row_sums;
    integers[3] = summed->dims[summed->rank - 1];
  }
  integers[4] = form->column_sums;
  integers[5] = p->result_count;
  integers[6] = form->row_mask;
  launch->integer_count = 6 + form->row_mask;
}

static bool product_launch(lowering *l, MlirOperation op, const product *p) {
  static const int rows_columns[] = {0, 1}, rows_depth[] = {0, 2}, depth_columns[] = {2, 1}; /* of m n k */
  static const int full_rows_columns[] = {0, 2}, rows_groups_columns[] = {0, 1, 2}, full_rows_depth[] = {0, 4},
                   depth_halves_groups_columns[] = {4, 3, 1, 2}; /* of m h n p k */
  gemm_space g = product_space(p, op);
  const int *columns = p->form.grouped ? rows_groups_columns : p->is_full ? full_rows_columns : rows_columns;
  const int *depth = p->is_full ? full_rows_depth : rows_depth;
  for (int r = 0; r < p->result_count; r++) add_operand(&g, &p->results[r], own_dimensions(p), columns);
  add_operand(&g, &p->a, 2, depth);
  if (p->is_full) {
    const view b = split_columns(p);
    add_operand(&g, &b, 4, depth_halves_groups_columns);
    set_integers(p, &g.launch);
  } else
    add_operand(&g, &p->b, 2, depth_columns);
  const int first_sum = p->extra_count - p->form.row_sums;
  for (int x = 0; x < first_sum; x++) add_operand(&g, &p->extra[x], own_dimensions(p), columns);
  for (int x = first_sum; x < p->extra_count; x++) add_operand(&g, &p->extra[x], 2, depth);
  if (p->form.row_mask) add_operand(&g, &p->row_mask, 2, depth);
  return gemm_launch(l, &g);
}

/* A dense copy with all batch dimensions and the view's own last `count`. */
static view spread_copy(lowering *l, MlirLocation location, const product *p, const view *v, int count) {
  int64_t dims[PINION_MAX_RANK];
  memcpy(dims, p->batch, sizeof dims);
  memcpy(&dims[p->batch_rank], &v->type.dims[v->type.rank - count], (size_t)count * sizeof dims[0]);
  view spread = *v;
  view_broadcast(v, p->batch_rank + count, dims, &spread);
  return materialise(l, location, &spread);
}

/* With everything dense the batch dimensions are one. */
static status product_over_copies(lowering *l, MlirOperation op, const product *p) {
  MlirLocation location = mlirOperationGetLocation(op);
  product dense = *p;
  dense.a = spread_copy(l, location, p, &p->a, 2);
  dense.b = spread_copy(l, location, p, &p->b, 2);
  for (int x = 0; x < p->extra_count; x++)
    dense.extra[x] =
        spread_copy(l, location, p, &p->extra[x], x < p->extra_count - p->form.row_sums ? own_dimensions(p) : 2);
  if (p->form.row_mask) dense.row_mask = spread_copy(l, location, p, &p->row_mask, 2);
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

/* Whether results may be written over operands of the body: where each element is computed of the same elements. Rows
   of a and b, and sums, are read for many. */
static bool is_elementwise(const lowering *l, const product *p) {
  if (p->form.parts > 1 || p->form.column_sums) return false;
  for (int x = p->extra_count - p->form.row_sums; x < p->extra_count; x++)
    if (p->extra[x].buffer == l->carried_buffer) return false;
  return p->a.buffer != l->carried_buffer && p->b.buffer != l->carried_buffer;
}

static status lower_product(lowering *l, MlirOperation op, product *p) {
  const bool row = p->a.type.rank == 1, column = p->b.type.rank == 1, elementwise = is_elementwise(l, p);
  tensor_type y;
  value_type(mlirOperationGetResult(op, 0), &y);
  if (y.rank + row + column - own_dimensions(p) + (p->is_full ? 5 : 3) > PINION_MAX_RANK)
    return lower_error(l, op, "has more dimensions than a gemm takes");
  for (int r = 0; r < p->result_count; r++) {
    MlirValue value = mlirOperationGetResult(op, r);
    p->results[r] = elementwise ? place_elementwise(l, op, r, p->extra_count, p->extra) : place(l, value);
    map_set(l->c->arena, &l->values, value, &p->results[r]);
    if (column) insert_dimension(&p->results[r], p->results[r].type.rank);
    if (row) insert_dimension(&p->results[r], p->results[r].type.rank - 1);
  }
  if (row) insert_dimension(&p->a, 0);
  if (column) insert_dimension(&p->b, 1);
  p->batch_rank = p->results[0].type.rank - own_dimensions(p);
  memcpy(p->batch, p->results[0].type.dims, sizeof p->batch);
  if (p->a.type.dims[p->a.type.rank - 1] == 0) return lower_error(l, op, "sums over a dimension of size 0");
  return product_launch(l, op, p) ? STATUS_OK : product_over_copies(l, op, p);
}

status lower_matmul(lowering *l, MlirOperation op) {
  product p = {.form = {.accumulators = 1, .groups = 1, .parts = 1}, .result_count = 1};
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

/* Operands in the shape of a result, with all groups and columns; row sums and the mask in the shape of its rows. */
static bool broadcast_operands(MlirOperation op, product *p) {
  tensor_type y;
  value_type(mlirOperationGetResult(op, 0), &y);
  const int rows = y.rank - own_dimensions(p) + 1, first_sum = p->extra_count - p->form.row_sums;
  if (p->form.grouped) y.dims[rows] = p->form.groups;
  y.dims[y.rank - 1] = p->b.type.dims[p->b.type.rank - 1] / p->form.groups / p->form.accumulators;
  for (int x = 0; x < p->extra_count; x++) {
    view *v = &p->extra[x];
    tensor_type to = y;
    if (x >= first_sum) to.rank = rows + 1, to.dims[rows] = v->type.dims[v->type.rank - 1];
    if (!view_broadcast(v, to.rank, to.dims, v)) return false;
  }
  y.rank = rows + 1;
  y.dims[rows] = 1;
  return !p->form.row_mask || view_broadcast(&p->row_mask, y.rank, y.dims, &p->row_mask);
}

status lower_gemm(lowering *l, MlirOperation op) {
  product p = {.body = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("body")),
               .form = gemm_form_of(op),
               .result_count = (int)mlirOperationGetNumResults(op)};
  p.is_full = p.form.grouped || p.form.accumulators > 1 || p.form.row_sums || p.form.column_sums || p.form.row_mask;
  p.extra_count = gemm_operands_end(&p.form, (int)mlirOperationGetNumOperands(op)) - 2;
  status result = operand_view(l, op, 0, &p.a);
  if (result == STATUS_OK) result = operand_view(l, op, 1, &p.b);
  for (int x = 0; x < p.extra_count && result == STATUS_OK; x++) result = operand_view(l, op, x + 2, &p.extra[x]);
  if (p.form.row_mask && result == STATUS_OK) result = operand_view(l, op, p.extra_count + 2, &p.row_mask);
  if (result != STATUS_OK) return result;
  if (attr_bool(op, "transpose_b", false)) transpose_last(&p.b);
  if (!broadcast_operands(op, &p)) return lower_error(l, op, "has an operand that does not broadcast to its result");
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
  gemm_space g = {.launch = launch_begin(op, PINION_FAMILY_GEMM), .m = 3};
  iteration_space *s = &g.launch.space;
  *s = (iteration_space){.rank = 6, .size = {group, dims[0], dims[2], dims[3], n, k}};
  add_convolution_operand(s, &r, (int64_t[6]){r.stride[1], r.stride[0], r.stride[3], r.stride[4], r.stride[2], 0});
  add_convolution_operand(s, &a, (int64_t[6]){a.stride[3], a.stride[0], a.stride[1], a.stride[2], 0, a.stride[4]});
  add_convolution_operand(s, &b, (int64_t[6]){b.stride[0], 0, 0, 0, b.stride[1], b.stride[2]});
  if (bias) {
    view_reshape(bias, 2, bias_split, &x);
    add_convolution_operand(s, &x, (int64_t[6]){x.stride[0], 0, 0, 0, x.stride[1], 0});
    g.launch.body = body_strings(l->c->context, 2, add_bias);
  }
  return gemm_launch(l, &g);
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
