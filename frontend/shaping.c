/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Importers of constants and of ops on shapes. */
#include "../ir/scalar.h"
#include "import.h"

#include <math.h>
#include <string.h>

#define RANGE_MAX_ELEMENTS (1 << 24)

/* ---- Constants ---- */

static MlirValue emit_floats(import_node *n, int rank, size_t count, const float *values) {
  tensor_type type = {.dtype = PINION_DTYPE_f32, .rank = rank, .dims = {(int64_t)count}};
  return emit_constant(n, &type, values);
}

static MlirValue emit_integers(import_node *n, int rank, size_t count, const int64_t *values) {
  int64_t dims[] = {(int64_t)count};
  return emit_ints(n, rank, dims, values);
}

static MlirValue constant_tensor(import_node *n, const Onnx__TensorProto *tensor) {
  const char *name = node_wants_output(n, 0) ? n->proto->output[0] : n->name;
  MlirValue value;
  status result = emit_tensor(n->importer, &n->builder, tensor, name, &value);
  if (result == STATUS_UNSUPPORTED) node_unsupported(n, "a constant of this type");
  if (result == STATUS_BAD_INPUT) node_bad(n, "its value cannot be read");
  return value;
}

void import_constant(import_node *n) {
  const Onnx__AttributeProto *attribute;
  if ((attribute = node_attribute(n, "value")) && attribute->t)
    node_set(n, 0, constant_tensor(n, attribute->t));
  else if ((attribute = node_attribute(n, "value_float")) && attribute->has_f)
    node_set(n, 0, emit_floats(n, 0, 1, &attribute->f));
  else if ((attribute = node_attribute(n, "value_floats")))
    node_set(n, 0, emit_floats(n, 1, attribute->n_floats, attribute->floats));
  else if ((attribute = node_attribute(n, "value_int")) && attribute->has_i)
    node_set(n, 0, emit_integers(n, 0, 1, &attribute->i));
  else if ((attribute = node_attribute(n, "value_ints")))
    node_set(n, 0, emit_integers(n, 1, attribute->n_ints, attribute->ints));
  else
    node_unsupported(n, "a constant that is no dense tensor of numbers");
}

/* One element, broadcast: however large the shape, the IR stays small. */
void import_constant_of_shape(import_node *n) {
  int64_t dims[PINION_MAX_RANK];
  int rank;
  if (!node_ints(n, 0, PINION_MAX_RANK, dims, &rank)) return;
  const Onnx__AttributeProto *attribute = node_attribute(n, "value");
  MlirValue value = attribute && attribute->t ? constant_tensor(n, attribute->t) : emit_scalar(n, PINION_DTYPE_f32, 0);
  if (n->result == STATUS_OK && node_type(n, value).rank > 0) {
    tensor_type type = node_type(n, value);
    if (type_elements(&type) != 1) node_bad(n, "its value must have one element");
    value = emit_reshape(n, value, 0, dims);
  }
  node_set(n, 0, emit_broadcast(n, value, rank, dims));
}

static bool range_value(import_node *n, int index, double *out_value) {
  const eval_tensor *tensor = known_find(&n->importer->known, node_input(n, index));
  if (!tensor)
    node_unsupported(n, "input %d depends on run-time values; it must be a constant or follow from shapes", index);
  else if (type_elements(&tensor->type) != 1)
    node_bad(n, "input %d must be one number", index);
  if (n->result == STATUS_OK) *out_value = eval_get(tensor, 0);
  return n->result == STATUS_OK;
}

void import_range(import_node *n) {
  double start, limit, step;
  if (!range_value(n, 0, &start) || !range_value(n, 1, &limit) || !range_value(n, 2, &step)) return;
  double extent = step != 0 ? ceil((limit - start) / step) : NAN;
  if (!(extent <= RANGE_MAX_ELEMENTS)) { /* NaN too */
    node_bad(n, "a range from %g to %g by %g", start, limit, step);
    return;
  }
  tensor_type type = {.dtype = node_input_type(n, 0).dtype, .rank = 1, .dims = {extent > 0 ? (int64_t)extent : 0}};
  int64_t count = type.dims[0];
  double *reals = arena_alloc(n->importer->arena, ((size_t)count + 1) * sizeof *reals);
  int64_t *integers = (int64_t *)(void *)reals;
  eval_tensor values = {.type = type, .storage = EVAL_INTEGERS, .data = reals};
  for (int64_t i = 0; i < count; ++i) {
    if (!dtype_is_float(type.dtype))
      integers[i] = integer_from_real(type.dtype, start + (double)i * step);
    else if (type.dtype == PINION_DTYPE_f64)
      reals[i] = start + (double)i * step;
    else
      ((float *)(void *)reals)[i] = (float)(start + (double)i * step);
  }
  if (dtype_is_float(type.dtype)) values.storage = type.dtype == PINION_DTYPE_f64 ? EVAL_DOUBLES : EVAL_FLOATS;
  void *bytes = arena_alloc(n->importer->arena, (size_t)type_bytes(&type) + 1);
  eval_tensor_to_bytes(&values, bytes);
  node_set(n, 0, emit_constant(n, &type, bytes));
}

/* ---- Shapes ---- */

static int64_t clamp(int64_t value, int64_t least, int64_t most) {
  return value < least ? least : value > most ? most : value;
}

void import_shape(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  int64_t start = node_attr_int(n, "start", 0), end = node_attr_int(n, "end", type.rank);
  start = clamp(start < 0 ? start + type.rank : start, 0, type.rank);
  end = clamp(end < 0 ? end + type.rank : end, start, type.rank);
  int64_t count = end - start;
  node_set(n, 0, emit_ints(n, 1, &count, type.dims + start));
}

void import_size(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  int64_t count = type_elements(&type);
  node_set(n, 0, emit_ints(n, 0, &count, &count));
}

void import_identity(import_node *n) {
  node_set(n, 0, node_input(n, 0));
}

/* The product of dims without those below 1; 0 if it overflows. */
static int64_t product(int rank, const int64_t *dims) {
  int64_t result = 1;
  for (int d = 0; d < rank; ++d)
    if (dims[d] > 0 && __builtin_mul_overflow(result, dims[d], &result)) return 0;
  return result;
}

/* 0 copies the input's dimension unless allowzero; -1 takes what is left. */
static void complete_dims(import_node *n, const tensor_type *from, bool allow_zero, int rank, int64_t *dims) {
  int inferred = -1;
  bool is_empty = false;
  for (int d = 0; d < rank; ++d) {
    if (dims[d] == 0 && !allow_zero) {
      if (d >= from->rank) node_bad(n, "dimension %d of the new shape is 0, but the input has rank %d", d, from->rank);
      dims[d] = d < from->rank ? from->dims[d] : 0;
    }
    if (dims[d] < -1 || (dims[d] == -1 && inferred >= 0))
      node_bad(n, "the new shape has more than one unknown dimension");
    if (dims[d] == -1) inferred = d;
    is_empty |= dims[d] == 0;
  }
  if (n->result != STATUS_OK || inferred < 0) return;
  int64_t known = product(rank, dims), elements = type_elements(from);
  if (known == 0 || is_empty || elements % known != 0)
    node_bad(n, "%lld elements do not fill the new shape", (long long)elements);
  else
    dims[inferred] = elements / known;
}

void import_reshape(import_node *n) {
  int64_t dims[PINION_MAX_RANK];
  int rank;
  tensor_type from = node_input_type(n, 0);
  if (!node_ints(n, 1, PINION_MAX_RANK, dims, &rank)) return;
  complete_dims(n, &from, node_attr_int(n, "allowzero", 0), rank, dims);
  node_set(n, 0, emit_reshape(n, node_input(n, 0), rank, dims));
}

void import_flatten(import_node *n) {
  tensor_type from = node_input_type(n, 0);
  int64_t axis = node_attr_int(n, "axis", 1);
  if (axis < -from.rank || axis > from.rank) {
    node_bad(n, "axis %lld of a tensor of rank %d", (long long)axis, from.rank);
    return;
  }
  if (axis < 0) axis += from.rank;
  int64_t dims[] = {1, 1};
  for (int d = 0; d < from.rank; ++d) dims[d < axis ? 0 : 1] *= from.dims[d];
  node_set(n, 0, emit_reshape(n, node_input(n, 0), 2, dims));
}

void import_squeeze(import_node *n) {
  tensor_type from = node_input_type(n, 0);
  int64_t axes[PINION_MAX_RANK], dims[PINION_MAX_RANK];
  bool is_dropped[PINION_MAX_RANK];
  int count, rank = 0;
  for (int d = 0; d < from.rank; ++d) is_dropped[d] = from.dims[d] == 1;
  if (node_has_input(n, 1)) {
    if (!node_ints(n, 1, PINION_MAX_RANK, axes, &count)) return;
    node_axes(n, count, axes, from.rank, is_dropped);
  }
  for (int d = 0; d < from.rank && n->result == STATUS_OK; ++d) {
    if (is_dropped[d] && from.dims[d] != 1) node_bad(n, "dimension %d is %lld, not 1", d, (long long)from.dims[d]);
    if (!is_dropped[d]) dims[rank++] = from.dims[d];
  }
  node_set(n, 0, emit_reshape(n, node_input(n, 0), rank, dims));
}

void import_unsqueeze(import_node *n) {
  tensor_type from = node_input_type(n, 0);
  int64_t axes[PINION_MAX_RANK], dims[PINION_MAX_RANK];
  bool is_new[PINION_MAX_RANK];
  int count, next = 0;
  if (!node_ints(n, 1, PINION_MAX_RANK, axes, &count)) return;
  int rank = from.rank + count;
  if (rank > PINION_MAX_RANK) {
    node_unsupported(n, "a rank over %d", PINION_MAX_RANK);
    return;
  }
  node_axes(n, count, axes, rank, is_new);
  if (n->result != STATUS_OK) return;
  for (int d = 0; d < rank; ++d) dims[d] = is_new[d] ? 1 : from.dims[next++];
  node_set(n, 0, emit_reshape(n, node_input(n, 0), rank, dims));
}

/* Both ways: a 1 in the new shape leaves the input's dimension. */
void import_expand(import_node *n) {
  tensor_type from = node_input_type(n, 0), wanted = {0}, joined;
  if (!node_ints(n, 1, PINION_MAX_RANK, wanted.dims, &wanted.rank)) return;
  for (int d = 0; d < wanted.rank; ++d)
    if (wanted.dims[d] == -1) wanted.dims[d] = 1; /* PyTorch's "as it is", which some exporters let through */
  if (!shape_broadcast(&from, &wanted, &joined))
    node_bad(n, "its input does not broadcast to the shape given");
  else
    node_set(n, 0, emit_broadcast(n, node_input(n, 0), joined.rank, joined.dims));
}

/* Outside training it does nothing. */
void import_dropout(import_node *n) {
  const eval_tensor *training = known_find(&n->importer->known, node_input(n, 2));
  if (node_has_input(n, 2) && !(training && eval_get(training, 0) == 0))
    node_unsupported(n, "training mode; export the model in eval mode");
  node_set(n, 0, node_input(n, 0));
  if (!node_wants_output(n, 1)) return;
  tensor_type type = node_input_type(n, 0);
  node_set(n, 1, emit_broadcast(n, emit_scalar(n, PINION_DTYPE_bool, 1), type.rank, type.dims));
}
