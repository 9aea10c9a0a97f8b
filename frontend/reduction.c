/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Importers of reductions and of ops along one axis. */
#include "import.h"

#include <string.h>

/* Axes from the attribute or the input; none given: all of them, or with noop_with_empty_axes none. */
static bool reduced_axes(import_node *n, int rank, bool *out_flags) {
  int64_t axes[PINION_MAX_RANK];
  int count = 0;
  if (node_has_input(n, 1))
    node_ints(n, 1, PINION_MAX_RANK, axes, &count);
  else
    node_attr_ints(n, "axes", PINION_MAX_RANK, axes, &count);
  node_axes(n, count, axes, rank, out_flags);
  if (count == 0 && !node_attr_int(n, "noop_with_empty_axes", 0))
    for (int d = 0; d < rank; ++d) out_flags[d] = true;
  return n->result == STATUS_OK;
}

/* Truths are counted, and their extremes found, as integers. */
static MlirValue reduce_bool(import_node *n, const char *kind, MlirValue x, const bool *axes, bool keep) {
  MlirValue y = emit_reduce(n, kind, emit_cast(n, x, PINION_DTYPE_i64), axes, keep);
  bool is_extreme = strcmp(kind, "max") == 0 || strcmp(kind, "min") == 0;
  return is_extreme ? emit_cast(n, y, PINION_DTYPE_bool) : y;
}

void import_reduce(import_node *n) {
  MlirValue x = node_input(n, 0);
  const char *kind = n->row->kind;
  tensor_type type = node_input_type(n, 0);
  bool axes[PINION_MAX_RANK], keep = node_attr_int(n, "keepdims", 1);
  bool is_l2 = strcmp(kind, "l2") == 0, is_square = is_l2 || strcmp(kind, "sum_square") == 0;
  if (!reduced_axes(n, type.rank, axes)) return;
  if (is_square) x = emit_binary(n, "mul", x, x);
  MlirValue y = type.dtype == PINION_DTYPE_bool ? reduce_bool(n, kind, x, axes, keep)
                                                : emit_reduce(n, is_square ? "sum" : kind, x, axes, keep);
  node_set(n, 0, is_l2 ? emit_unary(n, "sqrt", y) : y);
}

void import_global_pool(import_node *n) {
  tensor_type type = node_input_type(n, 0);
  bool axes[PINION_MAX_RANK];
  for (int d = 0; d < type.rank; ++d) axes[d] = d >= 2;
  node_set(n, 0, emit_reduce(n, n->row->kind, node_input(n, 0), axes, true));
}

/* Over bool, which ONNX forbids and exporters write, PyTorch counts in int64. */
void import_cumsum(import_node *n) {
  MlirValue x = node_input(n, 0);
  tensor_type type = node_input_type(n, 0);
  MlirContext context = n->importer->compilation->context;
  int axis = node_axis(n, node_int(n, 1, 0), type.rank);
  MlirNamedAttribute attributes[] = {
      make_named(context, "axis", make_i64(context, axis)),
      make_named(context, "exclusive", make_bool(context, node_attr_int(n, "exclusive", 0))),
      make_named(context, "reverse", make_bool(context, node_attr_int(n, "reverse", 0))),
  };
  if (type.dtype == PINION_DTYPE_bool) type.dtype = PINION_DTYPE_i64;
  node_set(n, 0, emit_op(n, OP_cumsum, 1, &x, 3, attributes, &type));
}

void import_softmax(import_node *n) {
  MlirValue x = node_input(n, 0);
  MlirContext context = n->importer->compilation->context;
  int axis = node_axis(n, node_attr_int(n, "axis", -1), node_input_type(n, 0).rank);
  MlirNamedAttribute attributes[] = {make_named(context, "axis", make_i64(context, axis))};
  node_set(n, 0, emit_op(n, OP_softmax, 1, &x, 1, attributes, NULL));
}

/* y = (x - max x) - log(sum exp(x - max x)) */
void import_log_softmax(import_node *n) {
  MlirValue x = node_input(n, 0);
  bool axes[PINION_MAX_RANK] = {false};
  axes[node_axis(n, node_attr_int(n, "axis", -1), node_input_type(n, 0).rank)] = true;
  MlirValue shifted = emit_binary(n, "sub", x, emit_reduce(n, "max", x, axes, true));
  MlirValue sum = emit_reduce(n, "sum", emit_unary(n, "exp", shifted), axes, true);
  node_set(n, 0, emit_binary(n, "sub", shifted, emit_unary(n, "log", sum)));
}
