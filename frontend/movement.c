/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Importers of ops that move data. */
#include "import.h"

#include <string.h>

void import_transpose(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  int64_t permutation[PINION_MAX_RANK];
  bool flags[PINION_MAX_RANK];
  int count;
  if (!node_attr_ints(n, "perm", PINION_MAX_RANK, permutation, &count)) {
    count = type.rank;
    for (int d = 0; d < count; ++d) permutation[d] = count - 1 - d;
  }
  if (count != type.rank) node_bad(n, "perm has %d values for a tensor of rank %d", count, type.rank);
  node_axes(n, count, permutation, type.rank, flags);
  for (int d = 0; d < count && n->result == STATUS_OK; ++d) permutation[d] = node_axis(n, permutation[d], type.rank);
  node_set(n, 0, emit_transpose(n, node_input(n, 0), permutation));
}

/* Exporters concatenate an empty cache; empty parts are left out. */
void import_concat(import_node *n) {
  MlirValue *parts = arena_alloc(n->importer->arena, ((size_t)n->input_count + 1) * sizeof *parts);
  const Onnx__AttributeProto *attribute = node_attribute(n, "axis");
  if (!attribute) node_bad(n, "attribute 'axis' is missing");
  tensor_type first = node_input_type(n, 0);
  int axis = node_axis(n, node_attr_int(n, "axis", 0), first.rank), count = 0;
  for (int i = 0; i < n->input_count; ++i) {
    if (!node_has_input(n, i)) node_bad(n, "its input %d is missing", i);
    tensor_type type = node_input_type(n, i);
    if (type_elements(&type) > 0) parts[count++] = node_input(n, i);
  }
  if (count == 0) parts[count++] = node_input(n, 0);
  for (int i = 1; i < count; ++i) node_promote(n, &parts[0], &parts[i]);
  for (int i = 1; i < count; ++i) parts[i] = emit_cast(n, parts[i], node_type(n, parts[0]).dtype);
  node_set(n, 0, emit_concat(n, count, parts, axis));
}

void import_gather(import_node *n) {
  MlirContext context = n->importer->compilation->context;
  int axis = node_axis(n, node_attr_int(n, "axis", 0), node_input_type(n, 0).rank);
  MlirNamedAttribute attributes[] = {make_named(context, "axis", make_i64(context, axis))};
  MlirValue operands[] = {node_input(n, 0), node_input(n, 1)};
  node_set(n, 0, emit_op(n, OP_gather, 2, operands, 1, attributes, NULL));
}

/* ---- Slice ---- */

static int64_t clamp(int64_t value, int64_t least, int64_t most) {
  return value < least ? least : value > most ? most : value;
}

/* One axis of a slice: bounds as ONNX clamps them, and how many elements they hold. */
static void slice_axis(import_node *n, int64_t size, int64_t *start, int64_t end, int64_t step, int64_t *out_count) {
  *out_count = 0;
  if (step == 0 || step == INT64_MIN) {
    node_bad(n, "a step of %lld", (long long)step);
    return;
  }
  if (*start < 0) *start = *start < -size ? -1 : *start + size;
  if (end < 0) end = end < -size ? -1 : end + size;
  if (step > 0) {
    *start = clamp(*start, 0, size);
    end = clamp(end, 0, size);
    if (end > *start) *out_count = (end - *start - 1) / step + 1;
  } else {
    *start = clamp(*start, -1, size - 1);
    end = clamp(end, -1, size - 1);
    if (end < *start) *out_count = (*start - end - 1) / -step + 1;
  }
  if (*out_count == 0) *start = 0;
}

/* Optional lists of the axes sliced and their steps. */
static bool slice_lists(import_node *n, int rank, int count, int64_t *out_axes, int64_t *out_steps) {
  int axis_count = count, step_count = count;
  bool flags[PINION_MAX_RANK];
  for (int i = 0; i < count; ++i) {
    out_axes[i] = i;
    out_steps[i] = 1;
  }
  if (node_has_input(n, 3)) node_ints(n, 3, PINION_MAX_RANK, out_axes, &axis_count);
  if (node_has_input(n, 4)) node_ints(n, 4, PINION_MAX_RANK, out_steps, &step_count);
  if (axis_count != count || step_count != count) node_bad(n, "starts, ends, axes and steps differ in length");
  node_axes(n, count, out_axes, rank, flags);
  return n->result == STATUS_OK;
}

void import_slice(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  int64_t starts[PINION_MAX_RANK], ends[PINION_MAX_RANK], axes[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  int64_t all_starts[PINION_MAX_RANK] = {0}, all_steps[PINION_MAX_RANK];
  int count, end_count;
  if (!node_ints(n, 1, PINION_MAX_RANK, starts, &count) || !node_ints(n, 2, PINION_MAX_RANK, ends, &end_count)) return;
  if (count != end_count) node_bad(n, "starts, ends, axes and steps differ in length");
  if (n->result != STATUS_OK || !slice_lists(n, type.rank, count, axes, steps)) return;
  for (int d = 0; d < type.rank; ++d) all_steps[d] = 1;
  for (int i = 0; i < count; ++i) {
    int axis = node_axis(n, axes[i], type.rank);
    slice_axis(n, type.dims[axis], &starts[i], ends[i], steps[i], &type.dims[axis]);
    all_starts[axis] = starts[i];
    all_steps[axis] = steps[i];
  }
  node_set(n, 0, emit_slice(n, node_input(n, 0), all_starts, type.dims, all_steps));
}

/* ---- Split ---- */

#define SPLIT_MAX_PARTS 4096

/* Without sizes: equal parts, the last one smaller where they cannot be (ONNX since 18). */
static void equal_parts(import_node *n, int64_t size, int parts, int64_t *out_sizes) {
  int64_t each = parts > 0 ? (size + parts - 1) / parts : 0, left = size;
  for (int i = 0; i < parts; ++i, left -= each) out_sizes[i] = left < each ? left : each;
  if (parts == 0 || left + each <= 0) node_bad(n, "%lld elements do not split into %d parts", (long long)size, parts);
}

void import_split(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  int axis = node_axis(n, node_attr_int(n, "axis", 0), type.rank), parts = n->output_count;
  if (parts > SPLIT_MAX_PARTS) node_unsupported(n, "more than %d parts", SPLIT_MAX_PARTS);
  if (node_attr_int(n, "num_outputs", parts) != parts) node_bad(n, "num_outputs is not the number of its outputs");
  if (n->result != STATUS_OK || type.rank == 0) return;
  int64_t *sizes = arena_alloc(n->importer->arena, ((size_t)parts + 1) * sizeof *sizes), start = 0;
  int given = parts;
  if (!node_has_input(n, 1))
    equal_parts(n, type.dims[axis], parts, sizes);
  else if (node_ints(n, 1, parts, sizes, &given) && given != parts)
    node_bad(n, "it has %d outputs, but %d sizes", parts, given);
  for (int i = 0; i < parts && n->result == STATUS_OK; start += sizes[i++]) {
    if (sizes[i] < 0 || sizes[i] > type.dims[axis] - start)
      node_bad(n, "its parts are larger than dimension %d", axis);
    else
      node_set(n, i, emit_slice_axis(n, node_input(n, 0), axis, start, sizes[i]));
  }
  if (n->result == STATUS_OK && start != type.dims[axis]) node_bad(n, "its parts are smaller than dimension %d", axis);
}

/* ---- Tile ---- */

/* [a, d, b] -> [a, 1, d, b] -> [a, repeat, d, b] -> [a, repeat * d, b] */
static MlirValue repeat_axis(import_node *n, MlirValue x, int axis, int64_t repeat) {
  tensor_type type = node_type(n, x);
  int64_t dims[PINION_MAX_RANK + 1];
  memcpy(dims, type.dims, (size_t)axis * sizeof *dims);
  memcpy(dims + axis + 1, type.dims + axis, (size_t)(type.rank - axis) * sizeof *dims);
  dims[axis] = 1;
  if (type.rank == PINION_MAX_RANK) node_unsupported(n, "a rank over %d", PINION_MAX_RANK - 1);
  MlirValue row = emit_reshape(n, x, type.rank + 1, dims);
  dims[axis] = repeat;
  MlirValue rows = emit_broadcast(n, row, type.rank + 1, dims);
  if (__builtin_mul_overflow(type.dims[axis], repeat, &type.dims[axis])) node_bad(n, "a result of an absurd size");
  return emit_reshape(n, rows, type.rank, type.dims);
}

void import_tile(import_node *n) {
  MlirValue y = node_input(n, 0);
  tensor_type type = node_input_type(n, 0);
  int64_t repeats[PINION_MAX_RANK];
  int count;
  if (!node_ints(n, 1, PINION_MAX_RANK, repeats, &count)) return;
  if (count != type.rank) node_bad(n, "%d repeats of a tensor of rank %d", count, type.rank);
  for (int d = 0; d < count && n->result == STATUS_OK; ++d) {
    if (repeats[d] < 0) node_bad(n, "a negative repeat");
    if (type.dims[d] == 1) {
      type = node_type(n, y);
      type.dims[d] = repeats[d];
      y = emit_broadcast(n, y, type.rank, type.dims);
    } else if (repeats[d] != 1) {
      y = repeat_axis(n, y, d, repeats[d]);
    }
  }
  node_set(n, 0, y);
}

/* ---- Pad ---- */

typedef struct padding {
  int64_t before[PINION_MAX_RANK], after[PINION_MAX_RANK];
} padding;

static bool read_padding(import_node *n, int rank, padding *out_padding) {
  int64_t pads[2 * PINION_MAX_RANK], axes[PINION_MAX_RANK];
  bool flags[PINION_MAX_RANK];
  int pad_count, count = rank;
  *out_padding = (padding){0};
  for (int d = 0; d < rank; ++d) axes[d] = d;
  if (!node_ints(n, 1, 2 * PINION_MAX_RANK, pads, &pad_count)) return false;
  if (node_has_input(n, 3)) node_ints(n, 3, PINION_MAX_RANK, axes, &count);
  if (pad_count != 2 * count) node_bad(n, "%d pads for %d axes", pad_count, count);
  node_axes(n, count, axes, rank, flags);
  for (int i = 0; i < count && n->result == STATUS_OK; ++i) {
    int axis = node_axis(n, axes[i], rank);
    out_padding->before[axis] = pads[i];
    out_padding->after[axis] = pads[count + i];
  }
  return n->result == STATUS_OK;
}

/* A negative pad cuts off. */
static MlirValue crop(import_node *n, MlirValue x, padding *p) {
  tensor_type type = node_type(n, x);
  for (int d = 0; d < type.rank; ++d) {
    int64_t size = type.dims[d], front = p->before[d] < 0 ? p->before[d] : 0, back = p->after[d] < 0 ? p->after[d] : 0;
    if (front < -size || back < -size || front + back < -size) {
      node_bad(n, "it cuts more off dimension %d than there is", d);
      return (MlirValue){NULL};
    }
    x = emit_slice_axis(n, x, d, -front, size + front + back);
    p->before[d] -= front;
    p->after[d] -= back;
  }
  return x;
}

void import_pad(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  padding p;
  if (!node_attr_is(n, "mode", "constant", "constant")) node_unsupported(n, "a mode other than 'constant'");
  if (n->result != STATUS_OK || !read_padding(n, type.rank, &p)) return;
  MlirValue x = crop(n, node_input(n, 0), &p), value = node_input(n, 2);
  type = node_type(n, x);
  tensor_type padded = type;
  bool is_padded = false;
  for (int d = 0; d < type.rank; ++d) {
    if (p.before[d] > ONNX_MAX_TENSOR_BYTES || p.after[d] > ONNX_MAX_TENSOR_BYTES)
      node_bad(n, "a pad of an absurd size");
    else
      padded.dims[d] += p.before[d] + p.after[d];
    is_padded |= padded.dims[d] != type.dims[d];
  }
  if (!is_padded || n->result != STATUS_OK) {
    node_set(n, 0, x);
    return;
  }
  if (node_has_input(n, 2)) value = emit_reshape(n, emit_cast(n, value, type.dtype), 0, p.before);
  MlirContext context = n->importer->compilation->context;
  MlirNamedAttribute attributes[] = {make_named(context, "before", make_i64s(context, type.rank, p.before))};
  MlirValue operands[] = {x, value};
  tensor_type checked;
  if (!onnx_type_set(padded.dtype, (size_t)padded.rank, padded.dims, &checked))
    node_bad(n, "a result of an absurd size");
  node_set(n, 0, emit_op(n, OP_pad, 2, operands, 1, attributes, &padded));
}

/* ---- Trilu, DepthToSpace ---- */

/* y[.., r, c] = c - r >= k (upper) or c - r <= k (lower) ? x[.., r, c] : 0 */
void import_trilu(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  bool is_upper = node_attr_int(n, "upper", 1);
  int64_t k = node_int(n, 1, 0);
  if (type.rank < 2) node_bad(n, "takes matrices, not a tensor of rank %d", type.rank);
  if (n->result != STATUS_OK) return;
  int64_t rows = type.dims[type.rank - 2], columns = type.dims[type.rank - 1];
  k = clamp(k, -rows, columns); /* beyond, all is kept or all is not */
  MlirValue row = emit_counting(n, 2, 0, rows, k), column = emit_counting(n, 1, 0, columns, 0);
  MlirValue is_kept = emit_binary(n, is_upper ? "ge" : "le", column, row);
  node_set(n, 0, emit_select(n, is_kept, node_input(n, 0), emit_scalar(n, type.dtype, 0)));
}

static int64_t block_size(import_node *n, const tensor_type *type) {
  int64_t size = node_attr_int(n, "blocksize", 0);
  if (type->rank != 4) node_bad(n, "takes a tensor of rank 4, not %d", type->rank);
  if (size < 1 || size > 1 << 15) node_bad(n, "blocksize %lld", (long long)size);
  return size;
}

/* Channels [s, s, c] (DCR) or [c, s, s] (CRD) become blocks of s x s pixels. */
void import_depth_to_space(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  bool is_crd = node_attr_is(n, "mode", "CRD", "DCR");
  int64_t size = block_size(n, &type), *d = type.dims;
  if (n->result == STATUS_OK && d[1] % (size * size)) node_bad(n, "its channels are no multiple of blocksize squared");
  if (n->result != STATUS_OK) return;
  int64_t channels = d[1] / (size * size);
  int64_t depth_first[] = {d[0], size, size, channels, d[2], d[3]},
          channel_first[] = {d[0], channels, size, size, d[2], d[3]};
  int64_t dcr[] = {0, 3, 4, 1, 5, 2}, crd[] = {0, 1, 4, 2, 5, 3}, dims[] = {d[0], channels, d[2] * size, d[3] * size};
  MlirValue split = emit_reshape(n, node_input(n, 0), 6, is_crd ? channel_first : depth_first);
  node_set(n, 0, emit_reshape(n, emit_transpose(n, split, is_crd ? crd : dcr), 4, dims));
}

void import_space_to_depth(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  int64_t size = block_size(n, &type), *d = type.dims;
  if (n->result == STATUS_OK && (d[2] % size || d[3] % size)) node_bad(n, "its pixels are no multiple of blocksize");
  if (n->result != STATUS_OK) return;
  int64_t height = d[2] / size, width = d[3] / size;
  int64_t blocks[] = {d[0], d[1], height, size, width, size}, permutation[] = {0, 3, 5, 1, 2, 4};
  int64_t dims[] = {d[0], d[1] * size * size, height, width};
  MlirValue split = emit_reshape(n, node_input(n, 0), 6, blocks);
  node_set(n, 0, emit_reshape(n, emit_transpose(n, split, permutation), 4, dims));
}
