/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "weight_pieces.h"

#include "../ir/scalar.h"

#include <stdlib.h>
#include <string.h>

/* ---- Finding ---- */

/* A weight or constant, seen through transposes, slices, broadcasts and reshapes. */
static status find_source(compilation *c, MlirValue value, weight_piece *out, bool *out_found) {
  *out_found = false;
  MlirOperation op = value_definition(value);
  tensor_type type;
  if (mlirOperationIsNull(op) || !value_type(value, &type)) return STATUS_OK;
  const op_kind kind = op_kind_of(op);
  if (kind == OP_constant || kind == OP_weight) {
    out->data = constant_bytes(c, op);
    out->bytes = (size_t)type_bytes(&type);
    out->from = view_rows(0, &type, type.rank ? type.dims[type.rank - 1] : 1);
    *out_found = out->data != NULL;
    return out->data ? STATUS_OK : STATUS_BAD_INPUT;
  }
  if (kind != OP_transpose && kind != OP_slice && kind != OP_broadcast && kind != OP_reshape) return STATUS_OK;
  const status result = find_source(c, mlirOperationGetOperand(op, 0), out, out_found);
  if (result != STATUS_OK || !*out_found) return result;
  int64_t a[PINION_MAX_RANK], b[PINION_MAX_RANK];
  switch (kind) {
  case OP_transpose:
    attr_i64s(op, "permutation", a, PINION_MAX_RANK);
    view_transpose(&out->from, a, &out->from);
    break;
  case OP_slice:
    attr_i64s(op, "starts", a, PINION_MAX_RANK);
    attr_i64s(op, "steps", b, PINION_MAX_RANK);
    view_slice(&out->from, a, b, type.dims, &out->from);
    break;
  case OP_broadcast: *out_found = view_broadcast(&out->from, type.rank, type.dims, &out->from); break;
  default: *out_found = view_reshape(&out->from, type.rank, type.dims, &out->from);
  }
  return STATUS_OK;
}

/* What a value is wanted for, on the way from a result to its sources: a piece without its source, and which ops that
   round were passed. A copy rounds once to the destination's type, and once before that if it multiplies; so a cast may
   be followed by a product, and that by a cast that is exact. */
typedef struct wanted {
  weight_piece piece;
  bool rounded, exact; /* a cast or a product was passed; after a product, an exact cast */
} wanted;

static status find_pieces(compilation *c, MlirValue value, const wanted *w, weight_pieces *pieces, bool *out_direct);

static void add_piece(compilation *c, const weight_piece *piece, weight_pieces *pieces) {
  pieces->items = arena_grow(c->arena, pieces->items, pieces->count, &pieces->capacity, sizeof *pieces->items);
  pieces->items[pieces->count++] = *piece;
}

/* `extent` along dimension d, from `start` on. */
static wanted wanted_part(const wanted *w, int d, int64_t start, int64_t extent) {
  wanted part = *w;
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK], dims[PINION_MAX_RANK];
  for (int i = 0; i < PINION_MAX_RANK; i++) steps[i] = 1;
  memcpy(dims, w->piece.to.type.dims, sizeof dims);
  starts[d] = start, dims[d] = extent;
  view_slice(&w->piece.to, starts, steps, dims, &part.piece.to);
  if (w->piece.factor_data) view_slice(&w->piece.factor, starts, steps, dims, &part.piece.factor);
  return part;
}

static bool wanted_reshape(const wanted *w, const tensor_type *type, wanted *out) {
  *out = *w;
  return view_reshape(&w->piece.to, type->rank, type->dims, &out->piece.to) &&
         (!w->piece.factor_data || view_reshape(&w->piece.factor, type->rank, type->dims, &out->piece.factor));
}

static status find_concat(compilation *c, MlirOperation op, const wanted *w, weight_pieces *pieces, bool *out_direct) {
  const int axis = (int)attr_i64(op, "axis", 0);
  int64_t start = 0;
  status result = STATUS_OK;
  *out_direct = true;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op) && result == STATUS_OK && *out_direct; i++) {
    tensor_type type;
    MlirValue operand = mlirOperationGetOperand(op, i);
    if (!value_type(operand, &type)) return STATUS_FAILED;
    const wanted part = wanted_part(w, axis, start, type.dims[axis]);
    result = find_pieces(c, operand, &part, pieces, out_direct);
    start += type.dims[axis];
  }
  return result;
}

/* The dimension of `shape` that begins where dimension `axis` of `type` does, of the same elements; -1 if none does. */
static int split_dimension(const tensor_type *type, int axis, const tensor_type *shape, int64_t *out_inner) {
  int64_t before = 1, outer = 1, inner = 1;
  int d = 0;
  for (int i = 0; i < axis; i++) before *= type->dims[i];
  while (d < shape->rank && outer * shape->dims[d] <= before) outer *= shape->dims[d++];
  for (int i = d + 1; i < shape->rank; i++) inner *= shape->dims[i];
  *out_inner = inner;
  return outer == before && d < shape->rank && inner > 0 ? d : -1;
}

/* reshape(concat(x, ..)) is concat(reshape(x), ..) where each x is whole in one dimension of the result: heads of q, k
   and v, say. What is wanted has the result's shape. */
static status find_split_concat(compilation *c, MlirOperation op, const wanted *w, weight_pieces *pieces,
                                bool *out_direct) {
  tensor_type type, part_type;
  const int axis = (int)attr_i64(op, "axis", 0);
  int64_t start = 0, inner;
  if (!value_type(mlirOperationGetResult(op, 0), &type)) return STATUS_FAILED;
  const int d = split_dimension(&type, axis, &w->piece.to.type, &inner);
  *out_direct = d >= 0;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op) && *out_direct; i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    if (!value_type(operand, &part_type)) return STATUS_FAILED;
    int64_t extent = part_type.dims[axis];
    for (int k = axis + 1; k < type.rank; k++) extent *= type.dims[k];
    wanted part = wanted_part(w, d, start, extent / inner);
    const view *to = &part.piece.to;
    const status result = find_source(c, operand, &part.piece, out_direct);
    if (result != STATUS_OK) return result;
    *out_direct = *out_direct && extent % inner == 0 &&
                  view_reshape(&part.piece.from, to->type.rank, to->type.dims, &part.piece.from);
    if (*out_direct) add_piece(c, &part.piece, pieces);
    start += extent / inner;
  }
  return STATUS_OK;
}

/* x * factor or factor * x in float32, with the factor a source. */
static status find_product(compilation *c, MlirOperation op, const wanted *w, weight_pieces *pieces, bool *out_direct) {
  tensor_type type, x_type;
  if (w->piece.factor_data || !attr_str_is(op, "kind", "mul")) return STATUS_OK;
  if (!value_type(mlirOperationGetResult(op, 0), &type) || type.dtype != PINION_DTYPE_f32) return STATUS_OK;
  for (int i = 1; i >= 0; i--) {
    MlirValue x = mlirOperationGetOperand(op, 1 - i);
    weight_piece factor = {0};
    wanted product = *w;
    const status result = find_source(c, mlirOperationGetOperand(op, i), &factor, out_direct);
    if (result != STATUS_OK) return result;
    if (!*out_direct || !value_type(x, &x_type) || !type_equal(&x_type, &type)) continue;
    if (!view_broadcast(&factor.from, type.rank, type.dims, &product.piece.factor)) continue;
    product.piece.factor_data = factor.data;
    product.rounded = true;
    return find_pieces(c, x, &product, pieces, out_direct);
  }
  *out_direct = false;
  return STATUS_OK;
}

static status find_cast(compilation *c, MlirOperation op, const wanted *w, weight_pieces *pieces, bool *out_direct) {
  tensor_type from, to;
  wanted before = *w;
  MlirValue operand = mlirOperationGetOperand(op, 0);
  if (!value_type(operand, &from) || !value_type(mlirOperationGetResult(op, 0), &to)) return STATUS_FAILED;
  if (!dtype_is_float(from.dtype) || !dtype_is_float(to.dtype)) return STATUS_OK;
  if (w->piece.factor_data) {
    if (w->exact || (from.dtype != PINION_DTYPE_bf16 && from.dtype != PINION_DTYPE_f16)) return STATUS_OK;
    before.exact = true;
  } else {
    if (w->rounded) return STATUS_OK;
    before.rounded = true;
  }
  return find_pieces(c, operand, &before, pieces, out_direct);
}

static status find_pieces(compilation *c, MlirValue value, const wanted *w, weight_pieces *pieces, bool *out_direct) {
  weight_piece piece = w->piece;
  status result = find_source(c, value, &piece, out_direct);
  if (result != STATUS_OK) return result;
  if (*out_direct) {
    add_piece(c, &piece, pieces);
    return STATUS_OK;
  }
  MlirOperation op = value_definition(value);
  if (mlirOperationIsNull(op)) return STATUS_OK;
  MlirValue operand = mlirOperationGetNumOperands(op) ? mlirOperationGetOperand(op, 0) : (MlirValue){NULL};
  tensor_type type;
  if (mlirValueIsNull(operand) || !value_type(operand, &type)) return STATUS_OK;
  wanted before = *w;
  int64_t permutation[PINION_MAX_RANK];
  switch (op_kind_of(op)) {
  case OP_concat: return find_concat(c, op, w, pieces, out_direct);
  case OP_cast: return find_cast(c, op, w, pieces, out_direct);
  case OP_binary: return find_product(c, op, w, pieces, out_direct);
  case OP_transpose:
    attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
    view_untranspose(&w->piece.to, permutation, &before.piece.to);
    if (w->piece.factor_data) view_untranspose(&w->piece.factor, permutation, &before.piece.factor);
    return find_pieces(c, operand, &before, pieces, out_direct);
  case OP_reshape:
    if (wanted_reshape(w, &type, &before)) return find_pieces(c, operand, &before, pieces, out_direct);
    op = value_definition(operand);
    if (mlirOperationIsNull(op) || op_kind_of(op) != OP_concat) return STATUS_OK;
    return find_split_concat(c, op, w, pieces, out_direct);
  default: return STATUS_OK;
  }
}

status weight_pieces_find(compilation *c, MlirValue value, const view *to, weight_pieces *pieces, bool *out_direct) {
  return find_pieces(c, value, &(wanted){.piece.to = *to}, pieces, out_direct);
}

/* ---- Copying ---- */

/* Strides are in bytes. A loop over neighbours is one that the compiler makes vectors of. */

static void load_floats(pinion_dtype dtype, const uint8_t *from, int64_t stride, int64_t count, float *out) {
  uint16_t bits;
  double wide;
  switch (dtype) {
  case PINION_DTYPE_bf16:
    if (stride == (int64_t)sizeof bits)
      for (int64_t i = 0; i < count; i++) {
        memcpy(&bits, from + i * (int64_t)sizeof bits, sizeof bits);
        out[i] = bf16_to_float(bits);
      }
    else
      for (int64_t i = 0; i < count; i++) {
        memcpy(&bits, from + i * stride, sizeof bits);
        out[i] = bf16_to_float(bits);
      }
    break;
  case PINION_DTYPE_f16:
    for (int64_t i = 0; i < count; i++) {
      memcpy(&bits, from + i * stride, sizeof bits);
      out[i] = f16_to_float(bits);
    }
    break;
  case PINION_DTYPE_f64:
    for (int64_t i = 0; i < count; i++) {
      memcpy(&wide, from + i * stride, sizeof wide);
      out[i] = (float)wide;
    }
    break;
  default:
    if (stride == (int64_t)sizeof *out)
      memcpy(out, from, (size_t)count * sizeof *out);
    else
      for (int64_t i = 0; i < count; i++) memcpy(&out[i], from + i * stride, sizeof *out);
  }
}

static void store_floats(pinion_dtype dtype, const float *values, uint8_t *to, int64_t stride, int64_t count) {
  uint16_t bits;
  double wide;
  switch (dtype) {
  case PINION_DTYPE_bf16:
    if (stride == (int64_t)sizeof bits)
      for (int64_t i = 0; i < count; i++) {
        bits = bf16_from_float(values[i]);
        memcpy(to + i * (int64_t)sizeof bits, &bits, sizeof bits);
      }
    else
      for (int64_t i = 0; i < count; i++) {
        bits = bf16_from_float(values[i]);
        memcpy(to + i * stride, &bits, sizeof bits);
      }
    break;
  case PINION_DTYPE_f16:
    for (int64_t i = 0; i < count; i++) {
      bits = f16_from_float(values[i]);
      memcpy(to + i * stride, &bits, sizeof bits);
    }
    break;
  case PINION_DTYPE_f64:
    for (int64_t i = 0; i < count; i++) {
      wide = values[i];
      memcpy(to + i * stride, &wide, sizeof wide);
    }
    break;
  default:
    for (int64_t i = 0; i < count; i++) memcpy(to + i * stride, &values[i], sizeof values[i]);
  }
}

/* One side of a row: where it is, how far apart its elements are, and their type. */
typedef struct row_side {
  const uint8_t *data;
  int64_t stride;
  pinion_dtype dtype;
} row_side;

/* factor.data NULL: no product. */
static void convert_row(row_side from, row_side factor, uint8_t *to, int64_t to_stride, pinion_dtype to_type,
                        int64_t count) {
  enum { RUN = 256 }; /* elements at a time, which stay in the first cache */
  float values[RUN], factors[RUN];
  for (int64_t at = 0; at < count; at += RUN) {
    const int64_t run = count - at < RUN ? count - at : RUN;
    load_floats(from.dtype, from.data + at * from.stride, from.stride, run, values);
    if (factor.data) {
      load_floats(factor.dtype, factor.data + at * factor.stride, factor.stride, run, factors);
      for (int64_t i = 0; i < run; i++) values[i] *= factors[i];
    }
    store_floats(to_type, values, to + at * to_stride, to_stride, run);
  }
}

static void copy_row(const uint8_t *from, int64_t from_stride, uint8_t *to, int64_t to_stride, size_t size,
                     int64_t count) {
  if (from_stride == (int64_t)size && to_stride == (int64_t)size) {
    memcpy(to, from, (size_t)count * size);
    return;
  }
  switch (size) { /* constant sizes become plain moves */
  case 2:
    for (int64_t i = 0; i < count; i++) memcpy(to + i * to_stride, from + i * from_stride, 2);
    break;
  case 4:
    for (int64_t i = 0; i < count; i++) memcpy(to + i * to_stride, from + i * from_stride, 4);
    break;
  default:
    for (int64_t i = 0; i < count; i++) memcpy(to + i * to_stride, from + i * from_stride, size);
  }
}

/* Dimensions of both sides, in bytes, without those of size 1, and with neighbours merged that are one on both. */
typedef struct copy_space {
  int rank;
  int64_t size[PINION_MAX_RANK], from[PINION_MAX_RANK], to[PINION_MAX_RANK], factor[PINION_MAX_RANK];
} copy_space;

static copy_space space_of(const weight_piece *piece) {
  copy_space s = {0};
  const int64_t from_size = (int64_t)pinion_dtype_size(piece->from.type.dtype);
  const int64_t to_size = (int64_t)pinion_dtype_size(piece->to.type.dtype);
  for (int d = 0; d < piece->from.type.rank; d++) {
    const int64_t size = piece->from.type.dims[d];
    const int64_t from = piece->from.stride[d] * from_size, to = piece->to.stride[d] * to_size;
    const int64_t factor = piece->factor_data ? piece->factor.stride[d] * (int64_t)sizeof(float) : 0;
    if (size == 1) continue;
    const bool merges = s.rank && s.from[s.rank - 1] == from * size && s.to[s.rank - 1] == to * size &&
                        s.factor[s.rank - 1] == factor * size;
    const int at = merges ? s.rank - 1 : s.rank++;
    s.size[at] = merges ? s.size[at] * size : size;
    s.from[at] = from, s.to[at] = to, s.factor[at] = factor;
  }
  return s;
}

enum { TILE = 64 }; /* rows and columns of a transposed copy at a time: whole cache lines on both sides */

/* `factor`: of the matrix' first element, NULL if there is none. */
static void copy_matrix(const weight_piece *piece, const copy_space *s, const uint8_t *from, const uint8_t *factor,
                        uint8_t *to) {
  const pinion_dtype from_type = piece->from.type.dtype, to_type = piece->to.type.dtype;
  const int r = s->rank - 2, q = s->rank - 1;
  const int64_t rows = r >= 0 ? s->size[r] : 1, columns = q >= 0 ? s->size[q] : 1;
  const int64_t from_row = r >= 0 ? s->from[r] : 0, to_row = r >= 0 ? s->to[r] : 0;
  const int64_t from_column = q >= 0 ? s->from[q] : 0, to_column = q >= 0 ? s->to[q] : 0;
  const int64_t factor_row = r >= 0 ? s->factor[r] : 0, factor_column = q >= 0 ? s->factor[q] : 0;
  const size_t from_size = pinion_dtype_size(from_type), to_size = pinion_dtype_size(to_type);
  const bool straight = from_column == (int64_t)from_size && to_column == (int64_t)to_size;
  const int64_t width = straight ? columns : TILE;
  for (int64_t i0 = 0; i0 < rows; i0 += TILE)
    for (int64_t j0 = 0; j0 < columns; j0 += width)
      for (int64_t i = i0; i < rows && i < i0 + TILE; i++) {
        const uint8_t *from_at = from + i * from_row + j0 * from_column;
        const uint8_t *factor_at = factor ? factor + i * factor_row + j0 * factor_column : NULL;
        uint8_t *to_at = to + i * to_row + j0 * to_column;
        const int64_t count = columns - j0 < width ? columns - j0 : width;
        if (from_type == to_type && !factor)
          copy_row(from_at, from_column, to_at, to_column, to_size, count);
        else
          convert_row((row_side){from_at, from_column, from_type},
                      (row_side){factor_at, factor_column, PINION_DTYPE_f32}, to_at, to_column, to_type, count);
      }
}

void weight_piece_copy(const weight_piece *piece, uint8_t *destination) {
  const copy_space s = space_of(piece);
  const uint8_t *from = piece->data + piece->from.offset * (int64_t)pinion_dtype_size(piece->from.type.dtype);
  const uint8_t *factor =
      piece->factor_data ? piece->factor_data + piece->factor.offset * (int64_t)sizeof(float) : NULL;
  uint8_t *to = destination + piece->to.offset * (int64_t)pinion_dtype_size(piece->to.type.dtype);
  int64_t index[PINION_MAX_RANK] = {0}, outer = 1;
  for (int d = 0; d < s.rank; d++)
    if (s.size[d] == 0) return;
  for (int d = 0; d + 2 < s.rank; d++) outer *= s.size[d];
  for (int64_t o = 0; o < outer; o++) {
    copy_matrix(piece, &s, from, factor, to);
    for (int d = s.rank - 3; d >= 0; d--) { /* the next outer index */
      from += s.from[d], to += s.to[d];
      if (factor) factor += s.factor[d];
      if (++index[d] < s.size[d]) break;
      from -= index[d] * s.from[d], to -= index[d] * s.to[d];
      if (factor) factor -= index[d] * s.factor[d];
      index[d] = 0;
    }
  }
}

/* ---- Matrices ---- */

/* The view's dimensions with neighbours merged, and what one step along each is in the row-major value. */
typedef struct flat_dims {
  int rank;
  int64_t size[PINION_MAX_RANK], stride[PINION_MAX_RANK], weight[PINION_MAX_RANK];
  int64_t start[PINION_MAX_RANK], reach[PINION_MAX_RANK]; /* coordinates used: start .. start + reach */
} flat_dims;

static flat_dims flat_dims_of(const view *v) {
  flat_dims f = {0};
  for (int d = 0; d < v->type.rank; d++) {
    if (v->type.dims[d] == 1) continue;
    const bool merges = f.rank && f.stride[f.rank - 1] == v->stride[d] * v->type.dims[d];
    const int at = merges ? f.rank - 1 : f.rank++;
    f.size[at] = merges ? f.size[at] * v->type.dims[d] : v->type.dims[d];
    f.stride[at] = v->stride[d];
  }
  int64_t weight = 1;
  for (int d = f.rank - 1; d >= 0; d--) {
    f.weight[d] = weight;
    weight *= f.size[d];
  }
  return f;
}

/* `count` steps of `step` elements of the value, all within one dimension: their stride in the data. */
static bool walk(flat_dims *f, int64_t step, int64_t count, int64_t *out_stride) {
  *out_stride = 0;
  if (count == 1) return true;
  for (int d = 0; d < f->rank; d++) {
    if (step < f->weight[d] || step % f->weight[d]) continue;
    f->reach[d] += step / f->weight[d] * (count - 1);
    *out_stride = step / f->weight[d] * f->stride[d];
    return true;
  }
  return false;
}

bool weight_piece_matrix(const weight_piece *piece, const int64_t where[5], const int64_t size[4],
                         int64_t out_where[5]) {
  if (piece->from.type.dtype != piece->to.type.dtype || piece->factor_data) return false;
  flat_dims f = flat_dims_of(&piece->from);
  int64_t rest = where[0];
  out_where[0] = piece->from.offset;
  for (int d = 0; d < f.rank; d++) {
    f.start[d] = rest / f.weight[d];
    rest %= f.weight[d];
    out_where[0] += f.start[d] * f.stride[d];
  }
  for (int i = 0; i < 4; i++)
    if (!walk(&f, where[i + 1], size[i], &out_where[i + 1])) return false;
  for (int d = 0; d < f.rank; d++)
    if (f.start[d] + f.reach[d] >= f.size[d]) return false; /* would run over into the dimension before */
  return true;
}
