/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Importers of ops that are pinion's fused ones already: norms and rotary embedding. */
#include "import.h"

#include <string.h>

static void import_norm(import_node *n, const char *kind) {
  MlirContext context = n->importer->compilation->context;
  int axis = node_axis(n, node_attr_int(n, "axis", -1), node_input_type(n, 0).rank);
  MlirNamedAttribute attributes[] = {
      make_named(context, "kind", make_str(context, kind)),
      make_named(context, "axis", make_i64(context, axis)),
      make_named(context, "epsilon", make_f64(context, node_attr_float(n, "epsilon", 1e-5f))),
  };
  MlirValue operands[] = {node_input(n, 0), node_input(n, 1), node_input(n, 2)};
  node_set(n, 0, emit_op(n, OP_norm, 3, operands, 3, attributes, NULL));
}

void import_layer_norm(import_node *n) {
  import_norm(n, "layer");
}

void import_rms_norm(import_node *n) {
  import_norm(n, "rms");
}

/* [b, s, heads * d] -> [b, heads, s, d] */
static MlirValue split_heads(import_node *n, MlirValue x, int64_t heads) {
  static const int64_t permutation[] = {0, 2, 1, 3};
  tensor_type type = node_type(n, x);
  if (heads < 1 || type.dims[2] % heads != 0) {
    node_bad(n, "%lld heads of a width of %lld", (long long)heads, (long long)type.dims[2]);
    return (MlirValue){NULL};
  }
  int64_t dims[] = {type.dims[0], type.dims[1], heads, type.dims[2] / heads};
  return emit_transpose(n, emit_reshape(n, x, 4, dims), permutation);
}

/* cos or sin as [b or 1, s, r / 2]: given so, or looked up by position in [positions, r / 2]. */
static MlirValue rotation_table(import_node *n, int input) {
  MlirValue table = node_input(n, input);
  tensor_type type = node_type(n, table);
  if (node_has_input(n, 3)) {
    MlirContext context = n->importer->compilation->context;
    MlirNamedAttribute attributes[] = {make_named(context, "axis", make_i64(context, 0))};
    MlirValue operands[] = {table, node_input(n, 3)};
    return emit_op(n, OP_gather, 2, operands, 1, attributes, NULL);
  }
  if (type.rank != 2) return table;
  int64_t dims[] = {1, type.dims[0], type.dims[1]};
  return emit_reshape(n, table, 3, dims);
}

static void check_rotation(import_node *n, MlirValue x, MlirValue cosine) {
  int64_t rotated = node_attr_int(n, "rotary_embedding_dim", 0), width = node_type(n, x).dims[3];
  tensor_type table = node_type(n, cosine);
  if (n->result != STATUS_OK) return;
  if (rotated == 0) rotated = width;
  if (table.rank != 3 || rotated < 2 || rotated % 2 || rotated > width || table.dims[2] != rotated / 2)
    node_bad(n, "its cosines are not [batch, sequence, %lld]", (long long)(rotated / 2));
}

void import_rotary_embedding(import_node *n) {
  static const int64_t permutation[] = {0, 2, 1, 3};
  MlirContext context = n->importer->compilation->context;
  MlirValue x = node_input(n, 0);
  tensor_type type = node_input_type(n, 0);
  bool is_flat = type.rank == 3;
  if (!is_flat && type.rank != 4) node_bad(n, "takes a tensor of rank 3 or 4, not %d", type.rank);
  if (n->result != STATUS_OK) return;
  if (is_flat) x = split_heads(n, x, node_attr_int(n, "num_heads", 0));
  MlirValue operands[] = {x, rotation_table(n, 1), rotation_table(n, 2)};
  check_rotation(n, operands[0], operands[1]);
  MlirNamedAttribute attributes[] = {
      make_named(context, "interleaved", make_bool(context, node_attr_int(n, "interleaved", 0)))};
  MlirValue y = emit_op(n, OP_rope, 3, operands, 1, attributes, NULL);
  if (is_flat) y = emit_reshape(n, emit_transpose(n, y, permutation), 3, type.dims);
  node_set(n, 0, y);
}
