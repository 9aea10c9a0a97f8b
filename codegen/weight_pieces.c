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

static status find_pieces(compilation *c, MlirValue value, const view *to, bool cast, weight_pieces *pieces,
                          bool *out_direct);

static status find_concat(compilation *c, MlirOperation op, const view *to, bool cast, weight_pieces *pieces,
                          bool *out_direct) {
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  const int64_t axis = attr_i64(op, "axis", 0);
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  status result = STATUS_OK;
  *out_direct = true;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op) && result == STATUS_OK && *out_direct; i++) {
    tensor_type type;
    view part;
    MlirValue operand = mlirOperationGetOperand(op, i);
    if (!value_type(operand, &type)) return STATUS_FAILED;
    view_slice(to, starts, steps, type.dims, &part);
    result = find_pieces(c, operand, &part, cast, pieces, out_direct);
    starts[axis] += type.dims[axis];
  }
  return result;
}

/* `cast`: a cast was passed on the way here, so that no other may follow: each rounds. */
static status find_pieces(compilation *c, MlirValue value, const view *to, bool cast, weight_pieces *pieces,
                          bool *out_direct) {
  weight_piece piece = {.to = *to};
  status result = find_source(c, value, &piece, out_direct);
  if (result != STATUS_OK) return result;
  if (*out_direct) {
    pieces->items = arena_grow(c->arena, pieces->items, pieces->count, &pieces->capacity, sizeof *pieces->items);
    pieces->items[pieces->count++] = piece;
    return STATUS_OK;
  }
  MlirOperation op = value_definition(value);
  if (mlirOperationIsNull(op)) return STATUS_OK;
  MlirValue operand = mlirOperationGetNumOperands(op) ? mlirOperationGetOperand(op, 0) : (MlirValue){NULL};
  tensor_type type;
  if (mlirValueIsNull(operand) || !value_type(operand, &type)) return STATUS_OK;
  view before;
  int64_t permutation[PINION_MAX_RANK];
  switch (op_kind_of(op)) {
  case OP_concat: return find_concat(c, op, to, cast, pieces, out_direct);
  case OP_cast:
    if (cast || !dtype_is_float(type.dtype) || !dtype_is_float(to->type.dtype)) return STATUS_OK;
    return find_pieces(c, operand, to, true, pieces, out_direct);
  case OP_transpose:
    attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
    view_untranspose(to, permutation, &before);
    return find_pieces(c, operand, &before, cast, pieces, out_direct);
  case OP_reshape:
    if (!view_reshape(to, type.rank, type.dims, &before)) return STATUS_OK;
    return find_pieces(c, operand, &before, cast, pieces, out_direct);
  default: return STATUS_OK;
  }
}

status weight_pieces_find(compilation *c, MlirValue value, const view *to, weight_pieces *pieces, bool *out_direct) {
  return find_pieces(c, value, to, false, pieces, out_direct);
}

/* ---- Copying ---- */

static float load_float(pinion_dtype dtype, const uint8_t *at) {
  uint16_t half;
  float single;
  double wide;
  switch (dtype) {
  case PINION_DTYPE_bf16: memcpy(&half, at, sizeof half); return bf16_to_float(half);
  case PINION_DTYPE_f16: memcpy(&half, at, sizeof half); return f16_to_float(half);
  case PINION_DTYPE_f64: memcpy(&wide, at, sizeof wide); return (float)wide;
  default: memcpy(&single, at, sizeof single); return single;
  }
}

static void store_float(pinion_dtype dtype, float value, uint8_t *at) {
  uint16_t half;
  double wide;
  switch (dtype) {
  case PINION_DTYPE_bf16:
    half = bf16_from_float(value);
    memcpy(at, &half, sizeof half);
    break;
  case PINION_DTYPE_f16:
    half = f16_from_float(value);
    memcpy(at, &half, sizeof half);
    break;
  case PINION_DTYPE_f64:
    wide = value;
    memcpy(at, &wide, sizeof wide);
    break;
  default: memcpy(at, &value, sizeof value);
  }
}

/* Strides in bytes. */
static void convert_row(pinion_dtype from_type, const uint8_t *from, int64_t from_stride, pinion_dtype to_type,
                        uint8_t *to, int64_t to_stride, int64_t count) {
  for (int64_t i = 0; i < count; i++, from += from_stride, to += to_stride)
    store_float(to_type, load_float(from_type, from), to);
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
  int64_t size[PINION_MAX_RANK], from[PINION_MAX_RANK], to[PINION_MAX_RANK];
} copy_space;

static copy_space space_of(const weight_piece *piece) {
  copy_space s = {0};
  const int64_t from_size = (int64_t)pinion_dtype_size(piece->from.type.dtype);
  const int64_t to_size = (int64_t)pinion_dtype_size(piece->to.type.dtype);
  for (int d = 0; d < piece->from.type.rank; d++) {
    const int64_t size = piece->from.type.dims[d];
    const int64_t from = piece->from.stride[d] * from_size, to = piece->to.stride[d] * to_size;
    if (size == 1) continue;
    const bool merges = s.rank && s.from[s.rank - 1] == from * size && s.to[s.rank - 1] == to * size;
    const int at = merges ? s.rank - 1 : s.rank++;
    s.size[at] = merges ? s.size[at] * size : size;
    s.from[at] = from, s.to[at] = to;
  }
  return s;
}

enum { TILE = 64 }; /* rows and columns of a transposed copy at a time: whole cache lines on both sides */

static void copy_matrix(const weight_piece *piece, const copy_space *s, const uint8_t *from, uint8_t *to) {
  const pinion_dtype from_type = piece->from.type.dtype, to_type = piece->to.type.dtype;
  const int r = s->rank - 2, q = s->rank - 1;
  const int64_t rows = r >= 0 ? s->size[r] : 1, columns = q >= 0 ? s->size[q] : 1;
  const int64_t from_row = r >= 0 ? s->from[r] : 0, to_row = r >= 0 ? s->to[r] : 0;
  const int64_t from_column = q >= 0 ? s->from[q] : 0, to_column = q >= 0 ? s->to[q] : 0;
  const size_t size = pinion_dtype_size(to_type);
  const bool straight = from_type == to_type && from_column == (int64_t)size && to_column == (int64_t)size;
  const int64_t width = straight ? columns : TILE;
  for (int64_t i0 = 0; i0 < rows; i0 += TILE)
    for (int64_t j0 = 0; j0 < columns; j0 += width)
      for (int64_t i = i0; i < rows && i < i0 + TILE; i++) {
        const uint8_t *from_at = from + i * from_row + j0 * from_column;
        uint8_t *to_at = to + i * to_row + j0 * to_column;
        const int64_t count = columns - j0 < width ? columns - j0 : width;
        if (from_type == to_type)
          copy_row(from_at, from_column, to_at, to_column, size, count);
        else
          convert_row(from_type, from_at, from_column, to_type, to_at, to_column, count);
      }
}

void weight_piece_copy(const weight_piece *piece, uint8_t *destination) {
  const copy_space s = space_of(piece);
  const uint8_t *from = piece->data + piece->from.offset * (int64_t)pinion_dtype_size(piece->from.type.dtype);
  uint8_t *to = destination + piece->to.offset * (int64_t)pinion_dtype_size(piece->to.type.dtype);
  int64_t index[PINION_MAX_RANK] = {0}, outer = 1;
  for (int d = 0; d < s.rank; d++)
    if (s.size[d] == 0) return;
  for (int d = 0; d + 2 < s.rank; d++) outer *= s.size[d];
  for (int64_t o = 0; o < outer; o++) {
    copy_matrix(piece, &s, from, to);
    for (int d = s.rank - 3; d >= 0; d--) { /* the next outer index */
      from += s.from[d], to += s.to[d];
      if (++index[d] < s.size[d]) break;
      from -= index[d] * s.from[d], to -= index[d] * s.to[d];
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
  if (piece->from.type.dtype != piece->to.type.dtype) return false;
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
