/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Demands, and what each op needs of its operands. */
#include "demand.h"

#include <string.h>

enum {
  MAXIMUM_PLACES = 1 << 16
}; /* of a demand that tells more apart than what it follows from; beyond, it does not */

/* ---- Demands ---- */

static int64_t places(int rank, const int64_t *dims) {
  int64_t count = 1;
  for (int d = 0; d < rank; d++) count *= dims[d];
  return count;
}

/* Row-major strides, 0 along dimensions of 1. */
static void strides_of(int rank, const int64_t *dims, int64_t *out_strides) {
  int64_t stride = 1;
  for (int d = rank - 1; d >= 0; stride *= dims[d--]) out_strides[d] = dims[d] == 1 ? 0 : stride;
}

static condition *never(arena *a, int64_t count) {
  condition *when = arena_alloc(a, (size_t)(count + 1) * sizeof *when);
  for (int64_t i = 0; i < count; i++) when[i] = CONDITION_NEVER;
  return when;
}

static demand demand_of_dims(arena *a, int rank, const int64_t *dims) {
  demand d = {.rank = rank};
  memcpy(d.dims, dims, (size_t)rank * sizeof *dims);
  d.when = never(a, places(rank, dims));
  return d;
}

demand demand_everything(arena *a, int rank) {
  demand d = {.rank = rank};
  for (int i = 0; i < rank; i++) d.dims[i] = 1;
  d.when = arena_alloc(a, sizeof *d.when); /* zero: ALWAYS */
  return d;
}

bool demand_is_empty(const demand *d) {
  const int64_t count = places(d->rank, d->dims);
  for (int64_t i = 0; d->when && i < count; i++)
    if (d->when[i] != CONDITION_NEVER) return false;
  return true;
}

condition demand_at(const demand *d, const int64_t *index) {
  int64_t stride[PINION_MAX_RANK], at = 0;
  if (!d->when) return CONDITION_NEVER;
  strides_of(d->rank, d->dims, stride);
  for (int i = 0; i < d->rank; i++) at += index[i] * stride[i];
  return d->when[at];
}

/* For each place of a space: to[..] is needed where from[..] is, too. */
typedef struct place_copy {
  int rank;
  int64_t space[PINION_MAX_RANK];
  const condition *from;
  int64_t from_start, from_stride[PINION_MAX_RANK];
  condition *to;
  int64_t to_start, to_stride[PINION_MAX_RANK];
} place_copy;

static void copy_places(const place_copy *c) {
  int64_t index[PINION_MAX_RANK] = {0}, from = c->from_start, to = c->to_start;
  for (int64_t left = places(c->rank, c->space); left > 0; left--) {
    c->to[to] = condition_either(c->to[to], c->from[from]);
    for (int d = c->rank - 1; d >= 0; d--) {
      from += c->from_stride[d];
      to += c->to_stride[d];
      if (++index[d] < c->space[d]) break;
      from -= c->from_stride[d] * c->space[d];
      to -= c->to_stride[d] * c->space[d];
      index[d] = 0;
    }
  }
}

/* Adds what `d` needs to `to`, whose dimensions are d's, or larger where d's are 1. */
static void add_demand(demand *to, const demand *d) {
  place_copy c = {.rank = to->rank, .from = d->when, .to = to->when};
  memcpy(c.space, to->dims, sizeof c.space);
  strides_of(d->rank, d->dims, c.from_stride);
  strides_of(to->rank, to->dims, c.to_stride);
  copy_places(&c);
}

/* Whether a demand of these dimensions may follow from `d`. */
static bool may_grow_to(const demand *d, int rank, const int64_t *dims) {
  const int64_t count = places(rank, dims);
  return count <= MAXIMUM_PLACES || count <= places(d->rank, d->dims);
}

static bool alike_along(const demand *d, int dimension) {
  int64_t inner = 1, outer = 1;
  const int64_t size = d->dims[dimension];
  for (int i = 0; i < dimension; i++) outer *= d->dims[i];
  for (int i = dimension + 1; i < d->rank; i++) inner *= d->dims[i];
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = inner; i < size * inner; i++)
      if (d->when[o * size * inner + i] != d->when[o * size * inner + i % inner]) return false;
  return true;
}

/* Dimension i of the result is dimension map[i] of `d`, or (-1) one along which all are alike; what no dimension of the
   result is, is joined. */
static demand project(arena *a, const demand *d, int rank, const int *map) {
  if (!d->when) return (demand){.rank = rank};
  int64_t dims[PINION_MAX_RANK] = {0}, own[PINION_MAX_RANK];
  for (int i = 0; i < rank; i++) dims[i] = map[i] < 0 ? 1 : d->dims[map[i]];
  const demand to = demand_of_dims(a, rank, dims);
  place_copy c = {.rank = d->rank, .from = d->when, .to = to.when};
  memcpy(c.space, d->dims, sizeof c.space);
  strides_of(d->rank, d->dims, c.from_stride);
  strides_of(rank, dims, own);
  for (int i = 0; i < rank; i++)
    if (map[i] >= 0) c.to_stride[map[i]] += own[i];
  copy_places(&c);
  return to;
}

/* Dimensions along which all are alike get size 1. */
static demand compact(arena *a, const demand *d) {
  int map[PINION_MAX_RANK];
  bool smaller = false;
  for (int i = 0; i < d->rank; i++) {
    map[i] = d->dims[i] > 1 && !alike_along(d, i) ? i : -1;
    smaller |= map[i] < 0 && d->dims[i] > 1;
  }
  return smaller ? project(a, d, d->rank, map) : *d;
}

demand demand_copy(arena *a, const demand *d) {
  demand copy = *d;
  if (d->when) copy.when = arena_copy(a, d->when, (size_t)places(d->rank, d->dims) * sizeof *d->when);
  return copy;
}

/* Demands that tell the same dimensions apart: whether x needs all that y does. */
static bool covers(const demand *x, const demand *y) {
  const int64_t count = places(x->rank, x->dims);
  if (memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims) != 0) return false;
  for (int64_t i = 0; i < count; i++)
    if (condition_either(x->when[i], y->when[i]) != x->when[i]) return false;
  return true;
}

demand demand_join(arena *a, const demand *x, const demand *y) {
  if (!x->when || !y->when) return x->when ? *x : *y;
  if (covers(x, y)) return *x;
  int64_t dims[PINION_MAX_RANK];
  for (int i = 0; i < x->rank; i++) dims[i] = x->dims[i] > 1 ? x->dims[i] : y->dims[i];
  demand joined = demand_of_dims(a, x->rank, dims);
  add_demand(&joined, x);
  add_demand(&joined, y);
  return compact(a, &joined);
}

/* Whether any place is needed at a position along a dimension of size over 1. */
static bool slice_has(const demand *d, int dimension, int64_t position) {
  int64_t inner = 1, outer = 1;
  for (int i = 0; i < dimension; i++) outer *= d->dims[i];
  for (int i = dimension + 1; i < d->rank; i++) inner *= d->dims[i];
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++)
      if (d->when[(o * d->dims[dimension] + position) * inner + i] != CONDITION_NEVER) return true;
  return false;
}

bool demand_has(const demand *d, int dimension, int64_t position) {
  if (demand_is_empty(d)) return false;
  return d->dims[dimension] == 1 || slice_has(d, dimension, position);
}

/* The places at positions that are needed, of every dimension, or that `before` (unless NULL) does not need either:
   what can be a tensor of its own. */
static demand close(arena *a, const demand *d, const demand *before) {
  if (demand_is_empty(d)) return (demand){.rank = d->rank};
  bool *stays[PINION_MAX_RANK];
  demand closed = *d;
  for (int i = 0; i < d->rank; i++) {
    stays[i] = arena_alloc(a, (size_t)d->dims[i] + 1);
    for (int64_t p = 0; p < d->dims[i]; p++) stays[i][p] = demand_has(d, i, p) || (before && !demand_has(before, i, p));
  }
  const int64_t count = places(closed.rank, closed.dims);
  closed.when = arena_alloc(a, (size_t)(count + 1) * sizeof *closed.when);
  for (int64_t place = 0; place < count; place++) {
    bool in = true;
    for (int64_t i = d->rank - 1, rest = place; i >= 0; rest /= closed.dims[i--]) in &= stays[i][rest % closed.dims[i]];
    closed.when[place] = in ? CONDITION_ALWAYS : CONDITION_NEVER;
  }
  return compact(a, &closed);
}

/* ---- Dimensions of operands ---- */

/* As NumPy broadcasts: aligned at the last dimension. */
static void align(const tensor_type *x, const tensor_type *y, int *map) {
  for (int d = 0; d < x->rank; d++) {
    const int at = d + y->rank - x->rank;
    map[d] = at >= 0 && x->dims[d] == y->dims[at] ? at : -1;
  }
}

/* The first `count` dimensions of both. */
static void keep_first(int count, int *map) {
  for (int d = 0; d < count; d++) map[d] = d;
}

static void map_matmul(const tensor_type *x, const tensor_type *other, const tensor_type *y, bool is_left, int *map) {
  if (x->rank < 2 || other->rank < 2) return;
  align(x, y, map);
  map[x->rank - 2] = is_left ? y->rank - 2 : -1;
  map[x->rank - 1] = is_left ? -1 : y->rank - 1;
}

static void map_reduce(MlirOperation op, int rank, int *map) {
  int64_t axes[PINION_MAX_RANK];
  bool reduced[PINION_MAX_RANK] = {false};
  const int count = attr_i64s(op, "axes", axes, PINION_MAX_RANK);
  const bool keep = attr_bool(op, "keep", false);
  for (int i = 0; i < count; i++) reduced[axes[i]] = true;
  for (int d = 0, at = 0; d < rank; d++) {
    map[d] = reduced[d] ? -1 : at;
    at += keep || !reduced[d];
  }
}

static void map_gather(MlirOperation op, bool is_index, int rank, int *map) {
  const int axis = (int)attr_i64(op, "axis", 0), index_rank = tensor_type_of(mlirOperationGetOperand(op, 1)).rank;
  for (int d = 0; d < rank; d++) map[d] = is_index ? axis + d : d < axis ? d : d > axis ? d + index_rank - 1 : -1;
}

/* x [B,H,S,D]; cosine, sine [B or 1,S,R/2] */
static void map_rope(bool is_x, const tensor_type *x, const tensor_type *y, int *map) {
  if (is_x) {
    keep_first(3, map);
    return;
  }
  map[0] = x->dims[0] == y->dims[0] ? 0 : -1;
  map[1] = 2;
}

/* Which dimension of the result each dimension of an operand is, place by place; -1: all of it is needed for any. Of
   operands that demand_of_operand looks into by itself, too. */
static void map_dimensions(MlirOperation op, intptr_t operand, int *map) {
  const tensor_type x = tensor_type_of(mlirOperationGetOperand(op, operand)),
                    y = tensor_type_of(mlirOperationGetResult(op, 0));
  int64_t permutation[PINION_MAX_RANK];
  for (int d = 0; d < PINION_MAX_RANK; d++) map[d] = -1;
  switch (op_kind_of(op)) {
  case OP_unary:
  case OP_binary:
  case OP_select:
  case OP_cast:
  case OP_pointwise:
  case OP_broadcast: align(&x, &y, map); break;
  case OP_concat:
  case OP_slice: keep_first(x.rank, map); break;
  case OP_cumsum:
  case OP_softmax:
    keep_first(x.rank, map);
    map[attr_i64(op, "axis", 0)] = -1;
    break;
  case OP_transpose:
    attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
    for (int d = 0; d < x.rank; d++) map[permutation[d]] = d;
    break;
  case OP_norm:
    align(&x, &y, map);
    for (int d = 0; d < x.rank; d++)
      if (d + y.rank - x.rank >= attr_i64(op, "axis", 0)) map[d] = -1;
    break;
  case OP_reduce: map_reduce(op, x.rank, map); break;
  case OP_matmul: {
    const tensor_type other = tensor_type_of(mlirOperationGetOperand(op, 1 - operand));
    map_matmul(&x, &other, &y, operand == 0, map);
    break;
  }
  case OP_conv:
    if (operand == 0) keep_first(1, map);
    break;
  case OP_gather: map_gather(op, operand == 1, x.rank, map); break;
  case OP_rope: map_rope(operand == 0, &x, &y, map); break;
  case OP_attention:
    if (operand == 0) keep_first(3, map);
    if (operand == 3) align(&x, &y, map);
    if (operand == 3) map[x.rank - 1] = -1;
    break;
  default: break;
  }
}

/* ---- Ops that move places ---- */

static demand window(arena *a, const demand *y, int axis, int64_t start, int64_t extent) {
  if (y->dims[axis] == 1) return *y;
  int64_t dims[PINION_MAX_RANK];
  memcpy(dims, y->dims, sizeof dims);
  dims[axis] = extent;
  demand x = demand_of_dims(a, y->rank, dims);
  place_copy c = {.rank = y->rank, .from = y->when, .to = x.when};
  memcpy(c.space, dims, sizeof dims);
  strides_of(y->rank, y->dims, c.from_stride);
  strides_of(x.rank, dims, c.to_stride);
  c.from_start = start * c.from_stride[axis];
  copy_places(&c);
  return x;
}

static demand demand_of_piece(arena *a, MlirOperation concat, intptr_t operand, const demand *y) {
  const int axis = (int)attr_i64(concat, "axis", 0);
  int64_t start = 0;
  for (intptr_t i = 0; i < operand; i++) start += tensor_type_of(mlirOperationGetOperand(concat, i)).dims[axis];
  return window(a, y, axis, start, tensor_type_of(mlirOperationGetOperand(concat, operand)).dims[axis]);
}

static demand demand_of_sliced(arena *a, MlirOperation op, const demand *y) {
  const tensor_type from = tensor_type_of(mlirOperationGetOperand(op, 0)),
                    to = tensor_type_of(mlirOperationGetResult(op, 0));
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK], dims[PINION_MAX_RANK], own[PINION_MAX_RANK];
  int map[PINION_MAX_RANK];
  attr_i64s(op, "starts", starts, PINION_MAX_RANK);
  attr_i64s(op, "steps", steps, PINION_MAX_RANK);
  place_copy c = {.rank = y->rank, .from = y->when};
  strides_of(y->rank, y->dims, c.from_stride);
  for (int d = 0; d < y->rank; d++) {
    const bool whole = from.dims[d] == to.dims[d] && starts[d] == 0 && (steps[d] == 1 || to.dims[d] == 1);
    map[d] = whole ? d : -1;
    dims[d] = whole ? y->dims[d] : from.dims[d];
    c.space[d] = whole ? y->dims[d] : to.dims[d];
    if (whole) starts[d] = 0, steps[d] = 1;
  }
  if (!may_grow_to(y, y->rank, dims)) return project(a, y, y->rank, map);
  demand x = demand_of_dims(a, y->rank, dims);
  c.to = x.when;
  strides_of(x.rank, dims, own);
  for (int d = 0; d < y->rank; d++) {
    c.to_start += starts[d] * own[d];
    c.to_stride[d] = steps[d] * own[d];
  }
  copy_places(&c);
  return x;
}

/* ---- Reshapes ---- */

/* Neighbouring dimensions of two shapes that are the same places. */
typedef struct shape_group {
  int from, from_end, to, to_end;
} shape_group;

static bool next_group(const tensor_type *from, const tensor_type *to, shape_group *g) {
  int64_t a = 1, b = 1;
  g->from = g->from_end;
  g->to = g->to_end;
  if (g->from_end < from->rank) a = from->dims[g->from_end++];
  if (g->to_end < to->rank) b = to->dims[g->to_end++];
  while (a != b) {
    if (a < b && g->from_end < from->rank)
      a *= from->dims[g->from_end++];
    else if (a > b && g->to_end < to->rank)
      b *= to->dims[g->to_end++];
    else
      break; /* a dimension of 0: no places */
  }
  return g->from < g->from_end || g->to < g->to_end;
}

/* The one dimension of a range whose size is not 1; -1 if there are several or none. */
static int only_dimension(const tensor_type *type, int begin, int end) {
  int found = -1;
  for (int d = begin; d < end; d++) {
    if (type->dims[d] == 1) continue;
    if (found >= 0) return -1;
    found = d;
  }
  return found;
}

/* What is needed of a tensor `to` that has the same places in the same order as `from`. */
static demand reshape(arena *a, const demand *d, const tensor_type *from, const tensor_type *to) {
  demand spread = *d, reshaped = {.rank = to->rank};
  for (int i = 0; i < to->rank; i++) reshaped.dims[i] = 1;
  for (shape_group g = {0}; next_group(from, to, &g);) {
    const int x = only_dimension(from, g.from, g.from_end), y = only_dimension(to, g.to, g.to_end);
    bool alike = true;
    for (int i = g.from; i < g.from_end; i++) alike &= d->dims[i] == 1;
    if (alike) continue;
    if (x >= 0 && y >= 0) {
      reshaped.dims[y] = d->dims[x];
      continue;
    }
    for (int i = g.from; i < g.from_end; i++) spread.dims[i] = from->dims[i];
    for (int i = g.to; i < g.to_end; i++) reshaped.dims[i] = to->dims[i];
  }
  if (!may_grow_to(d, spread.rank, spread.dims)) {
    int map[PINION_MAX_RANK];
    for (int i = 0; i < to->rank; i++) map[i] = -1;
    return project(a, d, to->rank, map);
  }
  spread = demand_of_dims(a, spread.rank, spread.dims);
  add_demand(&spread, d);
  reshaped.when = spread.when;
  return reshaped;
}

/* ---- Sums: what is known to be 0 can be left out ---- */

/* Whether a sum may lose the operand's elements that are 0, and which those are: NULL if not known. */
static const mask_tensor *summed_mask(demand_rules *r, MlirOperation op) {
  const op_kind kind = op_kind_of(op);
  if (!r->removing || (kind != OP_cumsum && (kind != OP_reduce || !attr_str_is(op, "kind", "sum")))) return NULL;
  MlirValue x = mlirOperationGetOperand(op, 0);
  return dtype_is_float(value_dtype(x)) ? NULL : mask_value(r->masks, x);
}

static bool is_zero(const mask_element *e) {
  return e->when == CONDITION_ALWAYS && e->then == 0;
}

/* `any`, wherever the operand is not 0. */
static demand demand_of_summands(arena *a, const mask_tensor *x, const demand *any) {
  if (!may_grow_to(any, x->type.rank, x->type.dims)) return *any;
  demand summands = demand_of_dims(a, x->type.rank, x->type.dims);
  add_demand(&summands, any);
  condition *when = summands.when;
  for (int64_t i = 0; i < type_elements(&x->type); i++)
    if (is_zero(&x->elements[i])) when[i] = CONDITION_NEVER;
  return summands;
}

/* ---- Attention ---- */

static void add_query(demand_rules *r, MlirOperation op, const attention_sight *s, const int64_t at[3],
                      bool needs_a_key, condition needed, condition *keys) {
  bool doubtful = false;
  if (r->removing) {
    doubtful = s->causal || s->limit_count > 0 || pointer_map_get(r->doubtful, op.ptr) >= 0;
  } else if (needs_a_key && !sight_sees_a_key(s, at[0], at[1], at[2], needed)) {
    doubtful = true;
    pointer_map_set(r->doubtful, op.ptr, doubtful);
  }
  for (int64_t key = 0; key < s->keys; key++) {
    const condition seen = doubtful ? CONDITION_ALWAYS : sight_possible(s, at[0], at[1], at[2], key);
    keys[key] = condition_either(keys[key], condition_both(seen, needed, NULL));
  }
}

/* [batch or 1, keys]: of K and V. */
static demand demand_of_keys(demand_rules *r, MlirOperation op, const demand *y) {
  const int map[3] = {0, 1, 2};
  const demand queries = project(r->arena, y, 3, map); /* [B,H,Q], joined over what a query yields */
  const attention_sight s = attention_sight_read(r->masks, op);
  const bool alike = s.stride[2] == 0 && !s.causal && s.limit_count == 0; /* for every query */
  const int64_t batches = queries.dims[0] > s.batches ? queries.dims[0] : s.batches;
  const int64_t heads = queries.dims[1] > s.heads ? queries.dims[1] : s.heads;
  const int64_t count = queries.dims[2] > 1 || !alike ? s.queries : 1;
  const bool needs_a_key = !r->removing && sight_needs_a_key(&s);
  const int64_t dims[2] = {batches, s.keys};
  demand keys = demand_of_dims(r->arena, 2, dims);
  int64_t stride[PINION_MAX_RANK];
  strides_of(3, queries.dims, stride);
  for (int64_t b = 0; b < batches; b++)
    for (int64_t h = 0; h < heads; h++)
      for (int64_t q = 0; q < count; q++) {
        const condition needed = queries.when[b * stride[0] + h * stride[1] + q * stride[2]];
        const int64_t at[3] = {s.batches > 1 ? b : 0, s.heads > 1 ? h : 0, q};
        if (needed != CONDITION_NEVER) add_query(r, op, &s, at, needs_a_key, needed, keys.when + b * s.keys);
      }
  return keys;
}

/* The mask: the queries' rows; when removing, of the keys that stay. */
static demand demand_of_mask(demand_rules *r, MlirOperation op, const demand *y) {
  const tensor_type mask = tensor_type_of(mlirOperationGetOperand(op, 3));
  int map[PINION_MAX_RANK];
  map_dimensions(op, 3, map);
  demand rows = project(r->arena, y, mask.rank, map);
  if (!r->removing || mask.dims[mask.rank - 1] == 1) return rows;
  const int along_keys[1] = {1};
  const demand of_keys = demand_of_keys(r, op, y), keys = project(r->arena, &of_keys, 1, along_keys);
  int64_t dims[PINION_MAX_RANK];
  memcpy(dims, rows.dims, sizeof dims);
  dims[mask.rank - 1] = mask.dims[mask.rank - 1];
  demand both = demand_of_dims(r->arena, mask.rank, dims);
  add_demand(&both, &rows);
  for (int64_t i = 0; i < places(mask.rank, dims); i++)
    if (keys.when[i % dims[mask.rank - 1]] == CONDITION_NEVER) (both.when)[i] = CONDITION_NEVER;
  return both;
}

static demand demand_of_attended(demand_rules *r, MlirOperation op, intptr_t operand, const demand *y) {
  if (operand == 3) return demand_of_mask(r, op, y);
  const demand keys = demand_of_keys(r, op, y);
  const int map[4] = {0, -1, 1, -1}; /* [B,G,K,D] */
  return project(r->arena, &keys, 4, map);
}

/* ---- Ops ---- */

static demand demand_unsettled(demand_rules *r, MlirOperation op, intptr_t operand, const demand *needed) {
  const tensor_type x = tensor_type_of(mlirOperationGetOperand(op, operand)),
                    y = tensor_type_of(mlirOperationGetResult(op, 0));
  const mask_tensor *summands = summed_mask(r, op);
  int map[PINION_MAX_RANK];
  switch (op_kind_of(op)) {
  case OP_concat: return demand_of_piece(r->arena, op, operand, needed);
  case OP_slice: return demand_of_sliced(r->arena, op, needed);
  case OP_reshape: return reshape(r->arena, needed, &y, &x);
  case OP_attention:
    if (operand > 0) return demand_of_attended(r, op, operand, needed);
    break;
  case OP_cumsum:
    if (r->removing) return *needed; /* settled: both have the same places */
    break;
  default: break;
  }
  map_dimensions(op, operand, map);
  const demand mapped = project(r->arena, needed, x.rank, map);
  return summands ? demand_of_summands(r->arena, summands, &mapped) : mapped;
}

demand demand_of_operand(demand_rules *r, MlirOperation op, intptr_t operand, const demand *needed) {
  if (demand_is_empty(needed)) return (demand){.rank = tensor_type_of(mlirOperationGetOperand(op, operand)).rank};
  demand found = demand_unsettled(r, op, operand, needed);
  if (r->removing) return close(r->arena, &found, NULL);
  return compact(r->arena, &found);
}

/* Whether an op can make its result without some positions along a dimension. */
static bool can_narrow(MlirOperation op, int dimension) {
  switch (op_kind_of(op)) {
  case OP_unary:
  case OP_binary:
  case OP_select:
  case OP_cast:
  case OP_pointwise:
  case OP_broadcast:
  case OP_concat:
  case OP_slice:
  case OP_reshape:
  case OP_transpose:
  case OP_gather:
  case OP_reduce:
  case OP_cumsum: return true;
  case OP_matmul:
    return tensor_type_of(mlirOperationGetOperand(op, 0)).rank > 1 &&
           tensor_type_of(mlirOperationGetOperand(op, 1)).rank > 1;
  case OP_softmax: return dimension != attr_i64(op, "axis", 0);
  case OP_norm: return dimension < attr_i64(op, "axis", 0);
  case OP_conv: return dimension == 0;
  case OP_rope: return dimension < 3;
  case OP_attention:
    return dimension == 2 && !attr_bool(op, "causal", false) && attr_i64s(op, "limits", &(int64_t){0}, 1) == 0;
  default: return false;
  }
}

demand demand_keep_others(const demand_rules *r, MlirValue value, const demand *needed) {
  demand before = {0};
  if (r->before) before = demand_map_get(r->before, value);
  return close(r->arena, needed, before.when ? &before : NULL);
}

demand demand_settle(demand_rules *r, MlirOperation op, const demand *needed) {
  int map[PINION_MAX_RANK];
  for (int d = 0; d < needed->rank; d++) map[d] = can_narrow(op, d) ? d : -1;
  const demand kept = demand_keep_others(r, mlirOperationGetResult(op, 0), needed);
  demand settled = project(r->arena, &kept, needed->rank, map);
  const mask_tensor *summands = summed_mask(r, op);
  if (op_kind_of(op) == OP_reshape) {
    const tensor_type x = tensor_type_of(mlirOperationGetOperand(op, 0)),
                      y = tensor_type_of(mlirOperationGetResult(op, 0));
    demand before = reshape(r->arena, &settled, &y, &x);
    before = close(r->arena, &before, NULL);
    settled = reshape(r->arena, &before, &x, &y);
  }
  if (op_kind_of(op) == OP_cumsum) { /* what is summed stays, and the places that are wanted */
    map[attr_i64(op, "axis", 0)] = -1;
    demand summed = project(r->arena, &kept, needed->rank, map);
    if (summands) summed = demand_of_summands(r->arena, summands, &summed);
    settled = demand_join(r->arena, &settled, &summed);
  }
  return close(r->arena, &settled, NULL);
}
