/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Importers of products. */
#include "import.h"

#include <string.h>

void import_matmul(import_node *n) {
  MlirValue a = node_input(n, 0), b = node_input(n, 1);
  node_promote(n, &a, &b);
  node_set(n, 0, emit_matmul(n, a, b));
}

static MlirValue emit_scaled(import_node *n, MlirValue x, double scale) {
  return scale == 1 ? x : emit_binary(n, "mul", x, emit_scalar(n, node_type(n, x).dtype, scale));
}

/* y = alpha * a' b' + beta * c, where a' and b' may be transposed */
void import_gemm(import_node *n) {
  static const int64_t swap[] = {1, 0};
  MlirValue a = node_input(n, 0), b = node_input(n, 1), c = node_input(n, 2);
  double alpha = node_attr_float(n, "alpha", 1), beta = node_attr_float(n, "beta", 1);
  if (node_type(n, a).rank != 2 || node_type(n, b).rank != 2) node_bad(n, "takes matrices");
  node_promote(n, &a, &b);
  if (node_attr_int(n, "transA", 0)) a = emit_transpose(n, a, swap);
  if (node_attr_int(n, "transB", 0)) b = emit_transpose(n, b, swap);
  MlirValue y = emit_scaled(n, emit_matmul(n, a, b), alpha);
  if (node_has_input(n, 2)) {
    tensor_type product = node_type(n, y);
    node_promote(n, &y, &c);
    y = emit_binary(n, "add", y, emit_scaled(n, c, beta));
    if (n->result == STATUS_OK && node_type(n, y).rank != product.rank)
      node_bad(n, "its third input does not broadcast");
  }
  node_set(n, 0, y);
}

/* ---- Conv ---- */

typedef struct conv_window {
  int64_t strides[2], dilations[2], pads[4]; /* pads: top, left, bottom, right */
  int64_t group;
} conv_window;

/* A list with one value per spatial dimension (or `per_dimension` of them); absent: all `otherwise`. */
static void read_window_list(import_node *n, const char *name, int expected, int64_t otherwise, int64_t *out_values) {
  int count;
  if (!node_attr_ints(n, name, expected, out_values, &count)) {
    for (int i = 0; i < expected; ++i) out_values[i] = otherwise;
  } else if (count != expected) {
    node_bad(n, "attribute '%s' has %d values, not %d", name, count, expected);
  }
}

/* SAME_*: as many positions as strides fit; an odd pad goes behind (UPPER) or before (LOWER). */
static void same_pads(import_node *n, conv_window *window, const tensor_type *x, const tensor_type *w, bool is_lower) {
  for (int d = 0; d < 2; ++d) {
    int64_t stride = window->strides[d], dilation = window->dilations[d], size = x->dims[2 + d],
            kernel = w->dims[2 + d];
    if (stride < 1 || dilation < 1 || stride > INT32_MAX || dilation > INT32_MAX || kernel > INT32_MAX || kernel < 1) {
      node_bad(n, "strides, dilations or a kernel that make no sense");
      return;
    }
    int64_t positions = (size + stride - 1) / stride;
    int64_t total = (positions - 1) * stride + (kernel - 1) * dilation + 1 - size;
    if (total < 0) total = 0;
    window->pads[d] = is_lower ? total - total / 2 : total / 2;
    window->pads[2 + d] = total - window->pads[d];
  }
}

/* `x` and `w` have rank 4 already; `lines` is the number of leading spatial dimensions that were added (0 or 1). */
static void read_window(import_node *n, const tensor_type *x, const tensor_type *w, int lines,
                        conv_window *out_window) {
  int spatial = 2 - lines;
  int64_t strides[2], dilations[2], pads[4], kernel[2];
  *out_window = (conv_window){.strides = {1, 1}, .dilations = {1, 1}, .group = node_attr_int(n, "group", 1)};
  read_window_list(n, "strides", spatial, 1, strides);
  read_window_list(n, "dilations", spatial, 1, dilations);
  read_window_list(n, "pads", 2 * spatial, 0, pads);
  memcpy(kernel, w->dims + 2 + lines, (size_t)spatial * sizeof *kernel);
  int64_t given[2];
  int count;
  if (node_attr_ints(n, "kernel_shape", 2, given, &count))
    if (count != spatial || memcmp(given, kernel, (size_t)spatial * sizeof *kernel) != 0)
      node_bad(n, "kernel_shape is not the weight's");
  for (int d = 0; d < spatial && n->result == STATUS_OK; ++d) {
    out_window->strides[lines + d] = strides[d];
    out_window->dilations[lines + d] = dilations[d];
    out_window->pads[lines + d] = pads[d];
    out_window->pads[2 + lines + d] = pads[spatial + d];
  }
  bool is_upper = node_attr_is(n, "auto_pad", "SAME_UPPER", "NOTSET");
  bool is_lower = node_attr_is(n, "auto_pad", "SAME_LOWER", "NOTSET");
  if (is_upper || is_lower) same_pads(n, out_window, x, w, is_lower);
  if (node_attr_is(n, "auto_pad", "VALID", "NOTSET")) memset(out_window->pads, 0, sizeof out_window->pads);
}

static MlirValue emit_conv(import_node *n, MlirValue x, MlirValue w, MlirValue bias, int lines) {
  tensor_type x_type = node_type(n, x), w_type = node_type(n, w);
  MlirContext context = n->importer->compilation->context;
  conv_window window;
  if (n->result != STATUS_OK) return (MlirValue){NULL};
  read_window(n, &x_type, &w_type, lines, &window);
  MlirNamedAttribute attributes[] = {
      make_named(context, "strides", make_i64s(context, 2, window.strides)),
      make_named(context, "pads", make_i64s(context, 4, window.pads)),
      make_named(context, "dilations", make_i64s(context, 2, window.dilations)),
      make_named(context, "group", make_i64(context, window.group)),
  };
  MlirValue operands[] = {x, w, bias};
  return emit_op(n, OP_conv, 3, operands, 4, attributes, NULL);
}

/* [b, c, width] -> [b, c, 1, width] */
static MlirValue add_line(import_node *n, MlirValue x) {
  tensor_type type = node_type(n, x);
  int64_t dims[] = {type.dims[0], type.dims[1], 1, type.dims[2]};
  return emit_reshape(n, x, 4, dims);
}

void import_conv(import_node *n) {
  MlirValue x = node_input(n, 0), w = node_input(n, 1), bias = node_input(n, 2);
  int rank = node_input_type(n, 0).rank, lines = rank == 3;
  if (rank != node_input_type(n, 1).rank) node_bad(n, "its input and its weight differ in rank");
  if (rank != 3 && rank != 4) node_unsupported(n, "a convolution over %d dimensions", rank - 2);
  if (n->result != STATUS_OK) return;
  node_promote(n, &x, &w);
  if (node_has_input(n, 2)) bias = emit_cast(n, bias, node_type(n, x).dtype);
  if (lines) {
    x = add_line(n, x);
    w = add_line(n, w);
  }
  MlirValue y = emit_conv(n, x, w, bias, lines);
  if (lines) {
    tensor_type type = node_type(n, y);
    int64_t dims[] = {type.dims[0], type.dims[1], type.dims[3]};
    y = emit_reshape(n, y, 3, dims);
  }
  node_set(n, 0, y);
}
