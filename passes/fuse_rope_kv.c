/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-rope-kv: rotary embeddings are computed where Q, K and V are produced, and each of the three goes to a place of
 * its own: K and V straight to their slot of the cache.
 *
 *   y = matmul(x, W);  q = slice y, k = slice y, v = slice y;  rope(heads(q), cos, sin), rope(heads(k), cos, sin), v
 *     becomes   q1, q2, k1, k2, v1, v2 = gemm(x, W', cos, sin) {accumulators = 2, groups = heads, parts}
 *               transpose(concat(q1, q2)), transpose(concat(k1, k2)), reshape(concat(v1, v2))
 *
 * Requires: fuse-qkv, which joins the projections, and fuse-epilogue, which gives them their biases; recognise-rope;
 * before outline-weights. Produces: pinion.gemm, whose columns are heads and whose two accumulators are the two halves
 * of each; W' has W's columns in that order. The halves are joined by concatenations, which lowering computes in place.
 * Breaks: nothing: each head keeps its order, the rotated values and their identity.
 *
 * The rows of the result are those of the product, so that the heads' transpose is a view. Projections that are not
 * rotated pass as they are. It fires when every projection, of at most three, is read by one rotation of whole heads in
 * halves, or has such heads; all are rotated by the same angles (proven through the callers); W is constant. A product
 * of a narrow type is rounded before it is rotated, as in the graph.
 */
#include "callers.h"
#include "gemm_parts.h"

#include "../ir/view.h"

#include <string.h>

enum { BATCH, HEAD, ROW, COLUMN, HEADS_RANK };
enum { HALVES = 2, COSINE = 0, SINE = 1, TABLES };

/* Neighbouring columns of the product: Q, K or V. */
typedef struct projection {
  MlirValue value; /* [.., columns]: a slice of the product, or all of it */
  int64_t start, columns;
  MlirOperation rope; /* null: not rotated */
  MlirValue last;     /* what is replaced: the rope's result, `value`, or what it is cast to */
} projection;

typedef struct rotation {
  pass_context *context;
  arena *arena;
  pointer_map positions;
  const bool *from_weights;
  gemm_parts product;
  int count;
  projection parts[GEMM_MAX_PARTS];
  int64_t width;            /* of a head */
  MlirValue tables[TABLES]; /* [B or 1, S, width / 2] */
  pointwise_body built;
} rotation;

static MlirOperation only_user(MlirValue value) {
  return value_has_one_use(value) ? mlirOpOperandGetOwner(mlirValueGetFirstUse(value)) : (MlirOperation){0};
}

/* ---- The projections ---- */

/* A slice of whole rows; false for any other op. */
static bool read_columns(MlirOperation op, projection *out) {
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  if (op_kind_of(op) != OP_slice) return false;
  const tensor_type whole = tensor_type_of(mlirOperationGetOperand(op, 0)),
                    part = tensor_type_of(mlirOperationGetResult(op, 0));
  attr_i64s(op, "starts", starts, PINION_MAX_RANK);
  attr_i64s(op, "steps", steps, PINION_MAX_RANK);
  const int last = whole.rank - 1;
  for (int d = 0; d < last; d++)
    if (part.dims[d] != whole.dims[d] || steps[d] != 1) return false;
  *out = (projection){.value = mlirOperationGetResult(op, 0), .start = starts[last], .columns = part.dims[last]};
  return steps[last] == 1;
}

static void insert_in_order(rotation *r, const projection *p) {
  int at = r->count++;
  for (; at > 0 && r->parts[at - 1].start > p->start; at--) r->parts[at] = r->parts[at - 1];
  r->parts[at] = *p;
}

/* The projections, in the order of their columns, that are all of the product; false if it is read otherwise. */
static bool find_projections(rotation *r) {
  MlirValue product = mlirOperationGetResult(r->product.op, 0);
  const int64_t columns = last_dimension(product);
  int64_t end = 0;
  r->count = 0;
  for (MlirOpOperand use = mlirValueGetFirstUse(product); !mlirOpOperandIsNull(use);
       use = mlirOpOperandGetNextUse(use)) {
    projection p;
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (r->count == GEMM_MAX_PARTS) return false;
    if (!read_columns(user, &p)) {
      if (!value_has_one_use(product)) return false;
      p = (projection){.value = product, .columns = columns};
    }
    insert_in_order(r, &p);
  }
  for (int i = 0; i < r->count; i++) {
    if (r->parts[i].start != end) return false;
    end += r->parts[i].columns;
  }
  return end == columns;
}

/* Whether heads[b,h,s,d] is projection[b,s,h * width + d], given the reshapes and transposes between them. */
static bool is_heads_of(MlirValue heads, MlirValue projected) {
  const tensor_type from = tensor_type_of(projected), to = tensor_type_of(heads);
  const int64_t columns = last_dimension(projected);
  if (to.rank != HEADS_RANK) return false;
  MlirOperation path[PINION_MAX_RANK];
  int length = 0;
  for (MlirValue v = heads; !mlirValueEqual(v, projected); v = mlirOperationGetOperand(path[length - 1], 0)) {
    if (length == PINION_MAX_RANK) return false;
    path[length++] = value_definition(v);
  }
  view v = view_rows(-1, &from, columns);
  while (length > 0) {
    MlirOperation op = path[--length];
    const tensor_type next = tensor_type_of(mlirOperationGetResult(op, 0));
    int64_t permutation[PINION_MAX_RANK];
    if (op_kind_of(op) == OP_reshape) {
      if (!view_reshape(&v, next.rank, next.dims, &v)) return false;
    } else {
      attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
      view_transpose(&v, permutation, &v);
    }
  }
  view expected = v;
  const int64_t strides[HEADS_RANK] = {to.dims[ROW] * columns, to.dims[COLUMN], columns, 1};
  memcpy(expected.stride, strides, sizeof strides);
  return view_same(&v, &expected);
}

/* Looks past reshapes and transposes for the rotation of a projection. */
static void find_rope(projection *p) {
  MlirOperation user;
  MlirValue value = p->value;
  while (!mlirOperationIsNull(user = only_user(value)) &&
         (op_kind_of(user) == OP_reshape || op_kind_of(user) == OP_transpose))
    value = mlirOperationGetResult(user, 0);
  p->last = p->value;
  if (mlirOperationIsNull(user) || op_kind_of(user) != OP_rope || mlirOperationGetOperand(user, 0).ptr != value.ptr)
    return;
  p->rope = user;
  p->last = mlirOperationGetResult(user, 0);
}

/* Where all are cast to one type next, the gemm stores that. */
static void take_casts(rotation *r) {
  MlirValue cast[GEMM_MAX_PARTS];
  for (int i = 0; i < r->count; i++) {
    MlirOperation user = only_user(r->parts[i].last);
    if (mlirOperationIsNull(user) || op_kind_of(user) != OP_cast) return;
    cast[i] = mlirOperationGetResult(user, 0);
    if (!dtype_is_float(value_dtype(cast[i])) || value_dtype(cast[i]) != value_dtype(cast[0])) return;
  }
  for (int i = 0; i < r->count; i++) r->parts[i].last = cast[i];
}

/* ---- Whether it fires ---- */

static MlirValue heads_of(const projection *p) {
  return mlirOperationGetOperand(p->rope, 0);
}

/* Half of each head's columns has one angle; the angles are those of the rotations before. */
static const char *why_not_rotated(rotation *r, const projection *p) {
  const tensor_type heads = tensor_type_of(heads_of(p)), angles = tensor_type_of(mlirOperationGetOperand(p->rope, 1));
  if (attr_bool(p->rope, "interleaved", false)) return "its pairs are interleaved";
  if (!is_heads_of(heads_of(p), p->value)) return "a rotation is not of a projection's heads";
  if (HALVES * angles.dims[2] != heads.dims[COLUMN]) return "a part of each head is not rotated";
  if (r->width && r->width != heads.dims[COLUMN]) return "the heads differ in width";
  r->width = heads.dims[COLUMN];
  for (int t = 0; t < TABLES; t++) {
    MlirValue table = mlirOperationGetOperand(p->rope, 1 + t);
    if (mlirValueIsNull(r->tables[t])) r->tables[t] = table;
    if (!values_equal_across_calls(r->arena, r->tables[t], table) ||
        !mlirTypeEqual(mlirValueGetType(r->tables[t]), mlirValueGetType(table)))
      return "the projections are rotated by different angles";
  }
  return NULL;
}

/* The rows of the product are the positions of the angles, batch by batch; or the angles are of each row. */
static bool rows_have_angles(const rotation *r, const tensor_type *heads) {
  const tensor_type rows = r->product.results[0], angles = tensor_type_of(r->tables[COSINE]);
  if (rows.rank == 3 && rows.dims[0] == heads->dims[BATCH] && rows.dims[1] == heads->dims[ROW]) return true;
  return angles.dims[0] == heads->dims[BATCH];
}

/* Whether an operand of the product can be split as its columns are. */
static bool splits(MlirValue operand, int64_t columns) {
  const tensor_type type = tensor_type_of(operand);
  if (type.rank == 0) return true;
  const int64_t last = type.dims[type.rank - 1];
  return last == 1 ? type.rank < PINION_MAX_RANK : last == columns && type.rank + 2 <= PINION_MAX_RANK;
}

/* NULL, or why the rotations stay where they are. */
static const char *why_not(rotation *r) {
  const gemm_parts *product = &r->product;
  const int64_t at = value_position(&r->positions, product->b);
  if (at < 0 || !r->from_weights[at] || tensor_type_of(product->b).rank != 2)
    return "the weight is not constant, or no matrix";
  for (int i = 0; i < r->count; i++) {
    const char *why = mlirOperationIsNull(r->parts[i].rope) ? NULL : why_not_rotated(r, &r->parts[i]);
    if (why) return why;
    if (!mlirOperationIsNull(r->parts[i].rope)) {
      const tensor_type heads = tensor_type_of(heads_of(&r->parts[i]));
      if (!rows_have_angles(r, &heads)) return "the rows of the product are not those of the angles";
    }
  }
  for (int i = 0; i < r->count; i++)
    if (r->parts[i].columns % r->width) return "a projection that is not rotated has other heads";
  for (int i = 0; i < product->operand_count; i++)
    if (!splits(product->operands[i], last_dimension(mlirOperationGetResult(product->op, 0))))
      return "an operand of the product's epilogue is no row";
  for (int t = 0; t < TABLES; t++)
    if (!value_move_before(r->tables[t], product->op)) return "the angles depend on the product";
  return NULL;
}

/* ---- The operands ---- */

/* The product's columns [groups * width] as half `half` of each group: [groups, width / 2]; [.., 1] as [.., 1, 1]. */
static MlirValue half_of_operand(const rotation *r, builder *b, MlirValue operand, int half) {
  tensor_type type = tensor_type_of(operand);
  if (type.rank == 0) return operand;
  const int last = type.rank - 1;
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  if (type.dims[last] == 1) {
    type.dims[last + 1] = 1;
    return build_reshape(b, operand, type.rank + 1, type.dims);
  }
  const int64_t groups = type.dims[last] / r->width, width = r->width / HALVES;
  const int64_t split[] = {groups, HALVES, width};
  memcpy(&type.dims[last], split, sizeof split);
  MlirValue whole = build_reshape(b, operand, type.rank + 2, type.dims);
  starts[last + 1] = half;
  type.dims[last + 1] = 1;
  if (mlirValueIsNull(whole)) return whole;
  MlirValue part = build_slice(b, whole, starts, type.dims, steps);
  type.dims[last + 1] = width;
  return mlirValueIsNull(part) ? part : build_reshape(b, part, type.rank + 1, type.dims);
}

/* [B or 1, S, width / 2] as [.., 1, width / 2] over the product's rows. */
static MlirValue table_of_rows(const rotation *r, builder *b, MlirValue table) {
  const tensor_type angles = tensor_type_of(table), product = r->product.results[0];
  int64_t dims[PINION_MAX_RANK];
  const int rows = product.rank - 1;
  memcpy(dims, product.dims, sizeof dims);
  if (rows == 2 && dims[1] == angles.dims[1]) dims[0] = angles.dims[0]; /* maybe one for all batches */
  dims[rows] = 1;
  dims[rows + 1] = angles.dims[2];
  return build_reshape(b, table, rows + 2, dims);
}

/* W's columns [group, half, i] in the order [half, group, i]. */
static MlirValue permuted_weight(const rotation *r, builder *b) {
  const gemm_parts *p = &r->product;
  tensor_type type = tensor_type_of(p->b);
  const int columns = p->transpose_b ? 0 : 1;
  const int64_t groups = type.dims[columns] / r->width, width = r->width / HALVES, k = type.dims[1 - columns];
  const int64_t before[] = {k, groups, HALVES, width}, before_transposed[] = {groups, HALVES, width, k};
  const int64_t order[] = {0, 2, 1, 3}, order_transposed[] = {1, 0, 2, 3};
  MlirValue value = build_reshape(b, p->b, 4, p->transpose_b ? before_transposed : before);
  if (!mlirValueIsNull(value)) value = build_transpose(b, value, p->transpose_b ? order_transposed : order);
  return mlirValueIsNull(value) ? value : build_reshape(b, value, 2, type.dims);
}

/* ---- The body ---- */

/* What the product's epilogue makes of one half's accumulator, rounded as the graph rounds the product. */
static bool half_value(rotation *r, builder *b, int half, body_operand *out_value) {
  const gemm_parts *p = &r->product;
  body_operand inputs[2 * PINION_MAX_ARGS] = {{.kind = BODY_INPUT, .index = half}};
  for (int i = 0; i < p->operand_count; i++) {
    MlirValue operand = half_of_operand(r, b, p->operands[i], half);
    if (mlirValueIsNull(operand) || !pointwise_body_operand(&r->built, operand, &inputs[1 + i])) return false;
  }
  return pointwise_body_append(&r->built, p->body, inputs, out_value) &&
         pointwise_body_round(&r->built, p->results[0].dtype, out_value);
}

static bool instruction(rotation *r, const char *operation, pinion_dtype dtype, body_operand x, body_operand y,
                        body_operand *out) {
  const body_operand operands[] = {x, y};
  return pointwise_body_instruction(&r->built, operation, dtype, 2, operands, out);
}

/* (x1 cos - x2 sin, x2 cos + x1 sin), computed in `dtype` */
static bool rotate(rotation *r, pinion_dtype dtype, const body_operand x[HALVES], const body_operand table[TABLES],
                   body_operand out[HALVES]) {
  body_operand products[4];
  return instruction(r, "mul", dtype, x[0], table[COSINE], &products[0]) &&
         instruction(r, "mul", dtype, x[1], table[SINE], &products[1]) &&
         instruction(r, "mul", dtype, x[1], table[COSINE], &products[2]) &&
         instruction(r, "mul", dtype, x[0], table[SINE], &products[3]) &&
         instruction(r, "sub", dtype, products[0], products[1], &out[0]) &&
         instruction(r, "add", dtype, products[2], products[3], &out[1]);
}

/* Parts that are not rotated keep x. */
static bool select_by_part(rotation *r, pinion_dtype dtype, const body_operand x[HALVES], body_operand y[HALVES]) {
  const body_operand index = {.kind = BODY_INPUT, .index = HALVES};
  for (int i = 0; i < r->count; i++) {
    if (!mlirOperationIsNull(r->parts[i].rope)) continue;
    const body_operand part = {.kind = BODY_LITERAL, .literal = i};
    body_operand condition;
    if (!instruction(r, "eq", PINION_DTYPE_bool, index, part, &condition)) return false;
    for (int half = 0; half < HALVES; half++) {
      const body_operand operands[] = {condition, x[half], y[half]};
      if (!pointwise_body_instruction(&r->built, "select", dtype, 3, operands, &y[half])) return false;
    }
  }
  return true;
}

static bool build_body(rotation *r, builder *b, const gemm_parts *fused) {
  const pinion_dtype dtype = r->product.results[0].dtype, stored = fused->results[0].dtype;
  const pinion_dtype computed = dtype == PINION_DTYPE_f64 ? dtype : PINION_DTYPE_f32;
  body_operand x[HALVES], y[HALVES], table[TABLES];
  gemm_body_begin(&r->built, r->context->compilation, &fused->form, fused->a);
  for (int half = 0; half < HALVES; half++)
    if (!half_value(r, b, half, &x[half])) return false;
  for (int t = 0; t < TABLES; t++) {
    MlirValue value = table_of_rows(r, b, r->tables[t]);
    if (mlirValueIsNull(value) || !pointwise_body_operand(&r->built, value, &table[t])) return false;
  }
  if (!rotate(r, computed, x, table, y)) return false;
  for (int half = 0; half < HALVES && stored != dtype; half++)
    if (!pointwise_body_round(&r->built, dtype, &y[half])) return false;
  if (!select_by_part(r, computed, x, y)) return false;
  for (int half = 0; half < HALVES; half++) pointwise_body_yield(&r->built, y[half], stored);
  return true;
}

/* ---- Rewriting ---- */

/* The gemm's form and results: two halves for each part, [.., m, groups of the part, width / 2]. */
static gemm_parts fused_parts(const rotation *r) {
  gemm_parts fused = r->product;
  fused.form = (gemm_form){.accumulators = HALVES, .grouped = true, .parts = r->count};
  fused.result_count = HALVES * r->count;
  for (int i = 0; i < r->count; i++) {
    const projection *p = &r->parts[i];
    tensor_type half = r->product.results[0];
    half.dtype = value_dtype(p->last);
    half.dims[half.rank - 1] = p->columns / r->width;
    half.dims[half.rank++] = r->width / HALVES;
    fused.results[HALVES * i] = fused.results[HALVES * i + 1] = half;
    fused.form.groups += p->columns / r->width;
    fused.form.part_start[i + 1] = fused.form.groups;
  }
  return fused;
}

/* What takes the place of a projection's last value: its halves side by side, as heads if they were rotated. */
static MlirValue joined_halves(const rotation *r, builder *b, const projection *p, MlirOperation gemm, int index) {
  static const int64_t heads_first[HEADS_RANK] = {0, 2, 1, 3};
  const MlirValue halves[] = {mlirOperationGetResult(gemm, HALVES * index),
                              mlirOperationGetResult(gemm, HALVES * index + 1)};
  MlirValue value = build_concat(b, HALVES, halves, r->product.results[0].rank);
  const tensor_type last = tensor_type_of(p->last);
  if (mlirValueIsNull(value) || mlirOperationIsNull(p->rope))
    return mlirValueIsNull(value) ? value : build_reshape(b, value, last.rank, last.dims);
  const int64_t dims[HEADS_RANK] = {last.dims[BATCH], last.dims[ROW], last.dims[HEAD], last.dims[COLUMN]};
  value = build_reshape(b, value, HEADS_RANK, dims);
  return mlirValueIsNull(value) ? value : build_transpose(b, value, heads_first);
}

static MlirLocation joined_location(const rotation *r) {
  MlirLocation locations[1 + 3 * GEMM_MAX_PARTS] = {mlirOperationGetLocation(r->product.op)};
  int count = 1;
  for (int i = 0; i < r->count; i++) {
    const projection *p = &r->parts[i];
    if (!mlirValueEqual(p->value, mlirOperationGetResult(r->product.op, 0)))
      locations[count++] = mlirOperationGetLocation(value_definition(p->value));
    if (!mlirOperationIsNull(p->rope)) locations[count++] = mlirOperationGetLocation(p->rope);
    if (value_definition(p->last).ptr != p->rope.ptr && !mlirValueEqual(p->last, p->value))
      locations[count++] = mlirOperationGetLocation(value_definition(p->last));
  }
  return location_fuse(r->context->compilation->context, count, locations);
}

static status rewrite(rotation *r, builder *b, gemm_parts *fused) {
  fused->b = permuted_weight(r, b);
  if (mlirValueIsNull(fused->b)) return STATUS_FAILED;
  MlirOperation gemm = gemm_build(b, fused, &r->built);
  if (mlirOperationIsNull(gemm)) return STATUS_FAILED;
  for (int i = 0; i < r->count; i++) {
    const projection *p = &r->parts[i];
    MlirOperation last = value_definition(p->last);
    b->location = mlirOperationGetLocation(last);
    MlirValue joined = joined_halves(r, b, p, gemm, i);
    if (mlirValueIsNull(joined)) return STATUS_FAILED;
    op_copy_identity(last, value_definition(joined));
    value_replace(p->last, joined);
  }
  r->context->changes++;
  return STATUS_OK;
}

static status fuse_product(rotation *r) {
  pass_context *context = r->context;
  const char *why = why_not(r);
  if (!why) {
    gemm_parts fused = fused_parts(r);
    builder b = builder_before(context->compilation, r->product.op);
    b.location = joined_location(r);
    if (!build_body(r, &b, &fused) || !gemm_fits(&fused, &r->built))
      why = "its epilogue has too many operands or instructions";
    else
      return pass_may_rewrite(context, b.location) ? rewrite(r, &b, &fused) : STATUS_OK;
  }
  pass_missed(context, mlirOperationGetLocation(r->product.op), "there are rotations behind it, but %s", why);
  return STATUS_OK;
}

static bool any_rotated(rotation *r) {
  bool any = false;
  for (int i = 0; i < r->count; i++) {
    find_rope(&r->parts[i]);
    any |= !mlirOperationIsNull(r->parts[i].rope);
  }
  return any;
}

static status fuse_block(pass_context *context, MlirBlock block) {
  rotation *r = arena_alloc(context->compilation->arena, sizeof *r);
  *r = (rotation){.context = context, .arena = arena_create()};
  op_list ops = block_ops(r->arena, block);
  r->positions = op_positions(r->arena, &ops);
  r->from_weights = ops_from_weights(r->arena, &ops, &r->positions);
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    if (r->from_weights[i] || !gemm_read(context->compilation, ops.ops[i], &r->product) ||
        !gemm_is_plain(&r->product) || !find_projections(r) || !any_rotated(r))
      continue;
    r->width = 0;
    for (int t = 0; t < TABLES; t++) r->tables[t] = (MlirValue){0};
    take_casts(r);
    code = fuse_product(r);
  }
  if (code == STATUS_OK) block_erase_dead(block);
  arena_destroy(r->arena);
  return code;
}

status pass_fuse_rope_kv(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
