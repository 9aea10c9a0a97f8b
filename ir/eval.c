/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The reference interpreter's tensors, rows and walks, and its table of reference functions. */
#include "eval_internal.h"
#include "scalar.h"

#include <stdlib.h>
#include <string.h>

/* ---- Tensors ---- */

eval_storage eval_storage_of(pinion_dtype dtype, eval_precision precision) {
  if (!dtype_is_float(dtype)) return EVAL_INTEGERS;
  return dtype == PINION_DTYPE_f64 || precision == EVAL_FLOAT64 ? EVAL_DOUBLES : EVAL_FLOATS;
}

size_t eval_element_size(const eval_tensor *t) {
  return t->storage == EVAL_FLOATS ? sizeof(float) : 8;
}

bool eval_allocate(const tensor_type *type, eval_precision precision, eval_tensor *out_tensor) {
  *out_tensor = (eval_tensor){.type = *type, .storage = eval_storage_of(type->dtype, precision)};
  out_tensor->data = calloc((size_t)type_elements(type) + 1, eval_element_size(out_tensor));
  return out_tensor->data != NULL;
}

eval_tensor eval_copy(const eval_tensor *tensor) {
  eval_tensor copy = *tensor;
  size_t bytes = (size_t)type_elements(&tensor->type) * eval_element_size(tensor);
  copy.data = malloc(bytes + 1);
  if (copy.data) memcpy(copy.data, tensor->data, bytes);
  return copy;
}

void eval_free(eval_tensor *tensor) {
  free(tensor->data);
  tensor->data = NULL;
}

void *eval_scratch(int64_t count, size_t size) {
  return heap_alloc((size_t)count + 1, size);
}

double eval_get(const eval_tensor *tensor, int64_t index) {
  switch (tensor->storage) {
  case EVAL_FLOATS: return tensor->f32[index];
  case EVAL_DOUBLES: return tensor->f64[index];
  case EVAL_INTEGERS: break;
  }
  return (double)tensor->i64[index];
}

/* One float element, wherever it lies. */
static double read_real(pinion_dtype dtype, const uint8_t *at) {
  double f64;
  float f32;
  uint16_t bits;
  switch (dtype) {
  case PINION_DTYPE_f64: memcpy(&f64, at, sizeof f64); return f64;
  case PINION_DTYPE_f32: memcpy(&f32, at, sizeof f32); return f32;
  case PINION_DTYPE_bf16: memcpy(&bits, at, sizeof bits); return bf16_to_float(bits);
  default: memcpy(&bits, at, sizeof bits); return f16_to_float(bits);
  }
}

static void write_real(pinion_dtype dtype, double value, uint8_t *at) {
  float f32 = (float)value;
  uint16_t bits = dtype == PINION_DTYPE_bf16 ? bf16_from_float(f32) : f16_from_float(f32);
  switch (dtype) {
  case PINION_DTYPE_f64: memcpy(at, &value, sizeof value); break;
  case PINION_DTYPE_f32: memcpy(at, &f32, sizeof f32); break;
  default: memcpy(at, &bits, sizeof bits);
  }
}

static int64_t read_integer(pinion_dtype dtype, const uint8_t *at) {
  uint64_t bits = 0;
  for (size_t i = pinion_dtype_size(dtype); i-- > 0;) bits = bits << 8 | at[i];
  return integer_wrap(dtype, (int64_t)bits);
}

status eval_tensor_from_bytes(const tensor_type *type, const void *bytes, eval_precision precision,
                              eval_tensor *out_tensor) {
  if (!eval_allocate(type, precision, out_tensor)) return STATUS_FAILED;
  size_t size = pinion_dtype_size(type->dtype);
  int64_t count = type_elements(type);
  const uint8_t *at = bytes;
  if (type->dtype == PINION_DTYPE_f32 && out_tensor->storage == EVAL_FLOATS) {
    if (count) memcpy(out_tensor->f32, bytes, (size_t)count * size);
    return STATUS_OK;
  }
  for (int64_t i = 0; i < count; i++, at += size) {
    if (out_tensor->storage == EVAL_FLOATS)
      out_tensor->f32[i] = (float)read_real(type->dtype, at);
    else if (out_tensor->storage == EVAL_DOUBLES)
      out_tensor->f64[i] = read_real(type->dtype, at);
    else
      out_tensor->i64[i] = read_integer(type->dtype, at);
  }
  return STATUS_OK;
}

void eval_tensor_to_bytes(const eval_tensor *tensor, void *out_bytes) {
  pinion_dtype dtype = tensor->type.dtype;
  size_t size = pinion_dtype_size(dtype);
  int64_t count = type_elements(&tensor->type);
  uint8_t *at = out_bytes;
  for (int64_t i = 0; i < count; i++, at += size) {
    if (tensor->storage != EVAL_INTEGERS) {
      write_real(dtype, eval_get(tensor, i), at);
      continue;
    }
    uint64_t bits = (uint64_t)integer_wrap(dtype, tensor->i64[i]);
    for (size_t k = 0; k < size; k++) at[k] = (uint8_t)(bits >> 8 * k);
  }
}

/* ---- Rows ---- */

void eval_load(const eval_tensor *t, int64_t start, int64_t stride, int64_t count, double *out) {
  if (t->storage == EVAL_FLOATS)
    for (int64_t i = 0; i < count; i++) out[i] = t->f32[start + i * stride];
  else if (t->storage == EVAL_DOUBLES)
    for (int64_t i = 0; i < count; i++) out[i] = t->f64[start + i * stride];
  else
    for (int64_t i = 0; i < count; i++) out[i] = (double)t->i64[start + i * stride];
}

void eval_load_integers(const eval_tensor *t, int64_t start, int64_t stride, int64_t count, int64_t *out) {
  for (int64_t i = 0; i < count; i++) out[i] = t->i64[start + i * stride];
}

void eval_store(eval_precision precision, eval_tensor *t, int64_t start, int64_t stride, int64_t count,
                const double *values) {
  pinion_dtype dtype = t->type.dtype;
  bool narrow = precision == EVAL_AS_TYPED && (dtype == PINION_DTYPE_bf16 || dtype == PINION_DTYPE_f16);
  if (t->storage == EVAL_DOUBLES)
    for (int64_t i = 0; i < count; i++) t->f64[start + i * stride] = values[i];
  else if (narrow)
    for (int64_t i = 0; i < count; i++) t->f32[start + i * stride] = (float)real_round(dtype, values[i]);
  else
    for (int64_t i = 0; i < count; i++) t->f32[start + i * stride] = (float)values[i];
}

void eval_store_integers(eval_tensor *t, int64_t start, int64_t stride, int64_t count, const int64_t *values) {
  for (int64_t i = 0; i < count; i++) t->i64[start + i * stride] = integer_wrap(t->type.dtype, values[i]);
}

/* ---- Walks ---- */

void eval_strides(const tensor_type *type, int64_t *out_strides) {
  int64_t stride = 1;
  for (int i = type->rank; i-- > 0; stride *= type->dims[i]) out_strides[i] = stride;
}

void eval_broadcast_strides(const tensor_type *type, const tensor_type *shape, int64_t *out_strides) {
  int64_t own[PINION_MAX_RANK];
  int missing = shape->rank - type->rank;
  eval_strides(type, own);
  for (int i = 0; i < shape->rank; i++)
    out_strides[i] = i < missing || type->dims[i - missing] == 1 ? 0 : own[i - missing];
}

eval_walk eval_walk_over(const tensor_type *shape) {
  eval_walk walk = {.rank = shape->rank};
  memcpy(walk.size, shape->dims, sizeof walk.size);
  if (walk.rank == 0) walk.size[walk.rank++] = 1;
  return walk;
}

void eval_walk_add(eval_walk *walk, int64_t start, const int64_t *strides) {
  walk->offset[walk->count] = start;
  for (int i = 0; i < walk->rank; i++) walk->stride[walk->count][i] = strides[i];
  walk->count++;
}

static bool mergeable(const eval_walk *walk, int dim) {
  for (int k = 0; k < walk->count; k++)
    if (walk->stride[k][dim] != walk->stride[k][dim + 1] * walk->size[dim + 1]) return false;
  return true;
}

void eval_walk_begin(eval_walk *walk) {
  for (int i = 0; i < walk->rank; i++) walk->done = walk->done || walk->size[i] == 0;
  for (int dim = walk->rank - 2; dim >= 0; dim--) {
    if (!mergeable(walk, dim)) continue;
    walk->size[dim] *= walk->size[dim + 1];
    for (int k = 0; k < walk->count; k++) walk->stride[k][dim] = walk->stride[k][dim + 1];
    for (int i = dim + 1; i + 1 < walk->rank; i++) {
      walk->size[i] = walk->size[i + 1];
      for (int k = 0; k < walk->count; k++) walk->stride[k][i] = walk->stride[k][i + 1];
    }
    walk->rank--;
  }
}

void eval_walk_next(eval_walk *walk) {
  for (int dim = walk->rank - 2; dim >= 0; dim--) {
    walk->index[dim]++;
    for (int k = 0; k < walk->count; k++) walk->offset[k] += walk->stride[k][dim];
    if (walk->index[dim] < walk->size[dim]) return;
    for (int k = 0; k < walk->count; k++) walk->offset[k] -= walk->stride[k][dim] * walk->size[dim];
    walk->index[dim] = 0;
  }
  walk->done = true;
}

/* ---- The table ---- */

const eval_tensor *eval_operand(const evaluation *e, const char *name) {
  intptr_t start, count;
  op_operand_range(e->op, name, &start, &count);
  return count ? e->operands[start] : NULL;
}

status eval_refuse(const evaluation *e, const char *format, ...) {
  char message[256], node[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  MlirStringRef name = location_name(mlirOperationGetLocation(e->op));
  snprintf(node, sizeof node, "%.*s", (int)name.length, name.data);
  return diagnose(&e->session->compilation->diagnostics, STATUS_FAILED, name.length ? node : NULL, op_name(e->kind),
                  "%s", message);
}

#define REFERENCE_CORE(id) reference_##id
#define REFERENCE_FUSED(id) reference_##id
#define REFERENCE_LAUNCH(id) NULL
static reference_function *const reference_table[] = {
#define OP(id, level, operands, results, attributes, equation, doc) REFERENCE_##level(id),
#include "ops.def"
#undef OP
};

status eval_op_in(eval_session *session, MlirOperation op, const eval_tensor *const *operands,
                  eval_tensor *out_results) {
  evaluation e = {.session = session,
                  .op = op,
                  .kind = op_kind_of(op),
                  .operand_count = (int)mlirOperationGetNumOperands(op),
                  .result_count = (int)mlirOperationGetNumResults(op),
                  .operands = operands,
                  .results = out_results};
  if (e.kind == OP_NONE || !reference_table[e.kind])
    return diagnose(&session->compilation->diagnostics, STATUS_UNSUPPORTED, NULL, op_name(e.kind),
                    "the reference interpreter evaluates core and fused ops only");
  status result = STATUS_OK;
  int allocated = 0;
  for (; result == STATUS_OK && allocated < e.result_count; allocated++) {
    tensor_type type;
    out_results[allocated].data = NULL;
    if (!value_type(mlirOperationGetResult(op, allocated), &type))
      result = eval_refuse(&e, "result %d is no static tensor", allocated);
    else if (!eval_allocate(&type, session->precision, &out_results[allocated]))
      result = eval_refuse(&e, "no memory for %lld elements", (long long)type_elements(&type));
  }
  if (result == STATUS_OK) result = reference_table[e.kind](&e);
  for (int i = 0; result != STATUS_OK && i < allocated; i++) eval_free(&out_results[i]);
  return result;
}

/* The module that an op is in; null if there is none. */
static MlirModule module_of(MlirOperation op) {
  MlirOperation top = op;
  for (MlirOperation parent = mlirOperationGetParentOperation(op); !mlirOperationIsNull(parent);
       parent = mlirOperationGetParentOperation(parent))
    top = parent;
  return mlirModuleFromOperation(top);
}

status eval_op(compilation *c, MlirOperation op, const eval_tensor *const *operands, eval_precision precision,
               eval_tensor *out_results) {
  eval_session session = {.compilation = c, .precision = precision};
  if (op_kind_of(op) == OP_steps) session.module = module_of(op);
  return eval_op_in(&session, op, operands, out_results);
}
