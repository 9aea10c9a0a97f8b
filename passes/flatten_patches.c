/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * flatten-patches: a convolution whose windows lie side by side is a product of patches, as a vision tower's first op
 * is.
 *
 *   conv(x, w, bias) {strides = w's windows}  ->  transpose(matmul(patches of x, w^T) + bias), in y's shape
 *
 * Requires: nothing; before canonicalise, for exporters flatten the image behind it and swap it with the channels
 * again. Produces: core ops. Breaks: nothing.
 *
 * What comes behind, the position embedding and a norm, is then a gemm's. It fires where the windows cover the image,
 * without padding, and the channels are one group. The sum is rounded once, behind the bias, as the convolution's is.
 */
#include "graph.h"

enum { BATCH, CHANNELS, HEIGHT, WIDTH, RANK };

typedef struct patches {
  MlirOperation conv;
  MlirValue x, w, bias;              /* bias null: none */
  tensor_type image, kernel, result; /* [b,c,h,w], [o,c,kh,kw], [b,o,h/kh,w/kw] */
} patches;

static bool all_are(MlirOperation op, const char *attribute, int count, int64_t number) {
  int64_t numbers[2 * RANK];
  bool all = attr_i64s(op, attribute, numbers, 2 * RANK) == count;
  for (int i = 0; all && i < count; i++) all = numbers[i] == number;
  return all;
}

/* NULL, or why the convolution stays one. */
static const char *read_patches(MlirOperation conv, patches *out) {
  int64_t strides[2];
  *out =
      (patches){.conv = conv, .x = op_operand(conv, "x"), .w = op_operand(conv, "w"), .bias = op_operand(conv, "bias")};
  if (!value_type(out->x, &out->image) || !value_type(out->w, &out->kernel) ||
      !value_type(mlirOperationGetResult(conv, 0), &out->result) || attr_i64s(conv, "strides", strides, 2) != 2)
    return "its shapes are not known";
  if (attr_i64(conv, "group", 1) != 1) return "its channels are in groups";
  if (!all_are(conv, "pads", 4, 0)) return "its image is padded";
  if (!all_are(conv, "dilations", 2, 1)) return "its windows are dilated";
  for (int d = HEIGHT; d <= WIDTH; d++) {
    if (strides[d - HEIGHT] != out->kernel.dims[d]) return "its windows overlap, or leave gaps";
    if (out->image.dims[d] != out->result.dims[d] * out->kernel.dims[d]) return "its windows do not cover the image";
  }
  return NULL;
}

/* [b, patches, c * kh * kw] */
static MlirValue flat_patches(builder *b, const patches *p) {
  static const int64_t together[] = {0, 2, 4, 1, 3, 5};
  const int64_t *image = p->image.dims, *window = p->kernel.dims, *count = p->result.dims;
  const int64_t split[] = {image[BATCH], image[CHANNELS], count[HEIGHT], window[HEIGHT], count[WIDTH], window[WIDTH]};
  const int64_t flat[] = {image[BATCH], count[HEIGHT] * count[WIDTH], image[CHANNELS] * window[HEIGHT] * window[WIDTH]};
  MlirValue x = build_reshape(b, p->x, 6, split);
  if (!mlirValueIsNull(x)) x = build_transpose(b, x, together);
  return mlirValueIsNull(x) ? x : build_reshape(b, x, 3, flat);
}

/* [c * kh * kw, o] */
static MlirValue flat_kernel(builder *b, const patches *p) {
  static const int64_t swapped[] = {1, 0};
  const int64_t *dims = p->kernel.dims, flat[] = {dims[0], dims[CHANNELS] * dims[HEIGHT] * dims[WIDTH]};
  MlirValue w = build_reshape(b, p->w, 2, flat);
  return mlirValueIsNull(w) ? w : build_transpose(b, w, swapped);
}

/* The sum, of bf16 and f16 in f32. */
static MlirValue product(builder *b, const patches *p, MlirValue x, MlirValue w) {
  const int64_t *y = p->result.dims;
  const bool is_double = p->result.dtype == PINION_DTYPE_f64;
  tensor_type sum = {is_double ? PINION_DTYPE_f64 : PINION_DTYPE_f32, 3, {y[BATCH], y[HEIGHT] * y[WIDTH], y[CHANNELS]}};
  const MlirValue operands[] = {x, w};
  const MlirType type = type_make(b->compilation->context, &sum);
  MlirOperation matmul = build_op(b, OP_matmul, 2, operands, 0, NULL, 1, &type);
  return mlirOperationIsNull(matmul) ? (MlirValue){0} : mlirOperationGetResult(matmul, 0);
}

/* [b, patches, o] */
static MlirValue flat_result(builder *b, const patches *p) {
  MlirValue x = flat_patches(b, p), w = flat_kernel(b, p);
  if (mlirValueIsNull(x) || mlirValueIsNull(w)) return (MlirValue){0};
  MlirValue sum = product(b, p, x, w);
  if (!mlirValueIsNull(p->bias) && !mlirValueIsNull(sum)) {
    tensor_type type;
    MlirValue bias = value_type(sum, &type) ? build_cast_to(b, p->bias, type.dtype) : (MlirValue){0};
    sum = mlirValueIsNull(bias) ? bias : build_binary(b, "add", sum, bias);
  }
  return build_cast_to(b, sum, p->result.dtype);
}

static status flatten(pass_context *context, const patches *p) {
  static const int64_t channels_first[] = {0, 2, 1};
  builder b = builder_before(context->compilation, p->conv);
  MlirValue y = flat_result(&b, p);
  if (!mlirValueIsNull(y)) y = build_transpose(&b, y, channels_first);
  if (!mlirValueIsNull(y)) y = build_reshape(&b, y, RANK, p->result.dims);
  if (mlirValueIsNull(y)) return STATUS_FAILED;
  op_copy_identity(p->conv, mlirOpResultGetOwner(y));
  value_replace(mlirOperationGetResult(p->conv, 0), y);
  context->changes++;
  return STATUS_OK;
}

static status flatten_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  status code = STATUS_OK;
  const int before = context->changes;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    patches p;
    if (op_kind_of(ops.ops[i]) != OP_conv) continue;
    const char *why = read_patches(ops.ops[i], &p);
    const MlirLocation location = mlirOperationGetLocation(ops.ops[i]);
    if (why)
      pass_missed(context, location, "%s", why);
    else if (pass_may_rewrite(context, location))
      code = flatten(context, &p);
  }
  if (code == STATUS_OK && context->changes > before) block_erase_dead(block);
  arena_destroy(a);
  return code;
}

status pass_flatten_patches(pass_context *context, MlirModule module) {
  return each_run_block(context, module, flatten_block);
}
