/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A node's errors, inputs and attributes. */
#include "import.h"

#include <string.h>

/* ---- Errors ---- */

void node_bad(import_node *n, const char *format, ...) {
  if (n->result != STATUS_OK) return;
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  n->result =
      diagnose(&n->importer->compilation->diagnostics, STATUS_BAD_INPUT, n->name, n->proto->op_type, "%s", message);
}

void node_unsupported(import_node *n, const char *format, ...) {
  if (n->result != STATUS_OK) return;
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  import_note_unsupported(n->importer, n->proto->op_type, n->proto->domain, n->name, message);
  n->result = STATUS_UNSUPPORTED;
}

/* ---- Inputs and outputs ---- */

bool node_has_input(const import_node *n, int index) {
  return index < n->input_count && !mlirValueIsNull(n->inputs[index]);
}

MlirValue node_input(const import_node *n, int index) {
  return index < n->input_count ? n->inputs[index] : (MlirValue){NULL};
}

tensor_type node_type(import_node *n, MlirValue value) {
  tensor_type type = {0};
  if (mlirValueIsNull(value)) return (tensor_type){.dtype = PINION_DTYPE_f32};
  if (!value_type(value, &type)) node_bad(n, "a value is not a tensor of static shape");
  return type;
}

tensor_type node_input_type(import_node *n, int index) {
  return node_type(n, node_input(n, index));
}

bool node_wants_output(const import_node *n, int index) {
  return index < n->output_count && n->proto->output[index][0];
}

void node_set(import_node *n, int index, MlirValue value) {
  if (node_wants_output(n, index)) n->outputs[index] = value;
}

bool node_ints(import_node *n, int index, int capacity, int64_t *out_values, int *out_count) {
  *out_count = 0;
  if (n->result != STATUS_OK) return false;
  const eval_tensor *tensor = known_find(&n->importer->known, node_input(n, index));
  if (!tensor) {
    node_unsupported(n, "input %d depends on run-time values; it must be a constant or follow from shapes", index);
    return false;
  }
  if (tensor->storage != EVAL_INTEGERS) {
    node_bad(n, "input %d must hold integers", index);
    return false;
  }
  int64_t count = type_elements(&tensor->type);
  if (count > capacity) {
    node_bad(n, "input %d has %lld values; at most %d make sense", index, (long long)count, capacity);
    return false;
  }
  for (int64_t i = 0; i < count; ++i) out_values[i] = tensor->i64[i];
  *out_count = (int)count;
  return true;
}

int64_t node_int(import_node *n, int index, int64_t otherwise) {
  int64_t value = otherwise;
  int count;
  if (!node_has_input(n, index) || !node_ints(n, index, 1, &value, &count)) return otherwise;
  if (count != 1) node_bad(n, "input %d must hold one integer", index);
  return count == 1 ? value : otherwise;
}

int node_axis(import_node *n, int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    node_bad(n, "axis %lld of a tensor of rank %d", (long long)axis, rank);
    return 0;
  }
  return (int)(axis < 0 ? axis + rank : axis);
}

void node_axes(import_node *n, int count, const int64_t *axes, int rank, bool *out_flags) {
  memset(out_flags, 0, (size_t)rank * sizeof *out_flags);
  for (int i = 0; i < count && n->result == STATUS_OK; ++i) {
    int axis = node_axis(n, axes[i], rank);
    if (n->result == STATUS_OK && out_flags[axis]) node_bad(n, "axis %d is given twice", axis);
    if (n->result == STATUS_OK) out_flags[axis] = true;
  }
}

/* ---- Attributes ---- */

static const Onnx__AttributeProto *find_attribute(size_t count, Onnx__AttributeProto *const *attributes,
                                                  const char *name) {
  for (size_t i = 0; i < count; ++i)
    if (attributes[i]->name && strcmp(attributes[i]->name, name) == 0) return attributes[i];
  return NULL;
}

const Onnx__AttributeProto *node_attribute(const import_node *n, const char *name) {
  const Onnx__AttributeProto *found = find_attribute(n->proto->n_attribute, n->proto->attribute, name);
  if (!found || !found->ref_attr_name || !*found->ref_attr_name) return found;
  if (!n->scope->call) return NULL;
  /* In a function's body an attribute may be the call's, or else the function's default. */
  const Onnx__AttributeProto *passed = node_attribute(n->scope->call, found->ref_attr_name);
  const Onnx__FunctionProto *function = n->scope->function;
  return passed ? passed : find_attribute(function->n_attribute_proto, function->attribute_proto, found->ref_attr_name);
}

int64_t node_attr_int(import_node *n, const char *name, int64_t otherwise) {
  const Onnx__AttributeProto *attribute = node_attribute(n, name);
  if (attribute && !attribute->has_i) node_bad(n, "attribute '%s' must be an integer", name);
  return attribute && attribute->has_i ? attribute->i : otherwise;
}

double node_attr_float(import_node *n, const char *name, double otherwise) {
  const Onnx__AttributeProto *attribute = node_attribute(n, name);
  if (attribute && !attribute->has_f) node_bad(n, "attribute '%s' must be a float", name);
  return attribute && attribute->has_f ? (double)attribute->f : otherwise;
}

bool node_attr_ints(import_node *n, const char *name, int capacity, int64_t *out_values, int *out_count) {
  const Onnx__AttributeProto *attribute = node_attribute(n, name);
  *out_count = 0;
  if (!attribute) return false;
  if (attribute->n_ints > (size_t)capacity) {
    node_bad(n, "attribute '%s' has %zu values; at most %d make sense", name, attribute->n_ints, capacity);
    return false;
  }
  for (size_t i = 0; i < attribute->n_ints; ++i) out_values[i] = attribute->ints[i];
  *out_count = (int)attribute->n_ints;
  return true;
}

bool node_attr_is(import_node *n, const char *name, const char *value, const char *otherwise) {
  const Onnx__AttributeProto *attribute = node_attribute(n, name);
  if (!attribute) return strcmp(value, otherwise) == 0;
  if (!attribute->has_s) node_bad(n, "attribute '%s' must be a string", name);
  return attribute->has_s && attribute->s.len == strlen(value) &&
         memcmp(attribute->s.data, value, attribute->s.len) == 0;
}

/* ---- Element types ---- */

/* bool < integer < float. */
static int category(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_bool ? 0 : dtype_is_float(dtype) ? 2 : 1;
}

static bool is_unsigned(pinion_dtype dtype) {
  return dtype == PINION_DTYPE_u8 || dtype == PINION_DTYPE_u16 || dtype == PINION_DTYPE_u32 ||
         dtype == PINION_DTYPE_u64;
}

/* The narrower pair that holds both: as PyTorch, f16 with bf16 gives f32, and an unsigned with a signed one of its
   width the next wider signed one. */
static pinion_dtype wider(pinion_dtype a, pinion_dtype b) {
  size_t size_a = pinion_dtype_size(a), size_b = pinion_dtype_size(b);
  if (category(a) == 2 && size_a == 2 && size_b == 2 && a != b) return PINION_DTYPE_f32;
  if (size_a == size_b && is_unsigned(a) != is_unsigned(b))
    return size_a == 1 ? PINION_DTYPE_i16 : size_a == 2 ? PINION_DTYPE_i32 : PINION_DTYPE_i64;
  return size_a >= size_b ? a : b;
}

/* PyTorch's rule: the higher category wins; within one, a tensor with dimensions wins over a number. */
static pinion_dtype promoted(const tensor_type *a, const tensor_type *b) {
  if (a->dtype == b->dtype) return a->dtype;
  if (category(a->dtype) != category(b->dtype)) return category(a->dtype) > category(b->dtype) ? a->dtype : b->dtype;
  if ((a->rank == 0) != (b->rank == 0)) return a->rank == 0 ? b->dtype : a->dtype;
  return wider(a->dtype, b->dtype);
}

void node_promote(import_node *n, MlirValue *x, MlirValue *y) {
  if (mlirValueIsNull(*x) || mlirValueIsNull(*y)) return;
  tensor_type a = node_type(n, *x), b = node_type(n, *y);
  pinion_dtype dtype = promoted(&a, &b);
  *x = emit_cast(n, *x, dtype);
  *y = emit_cast(n, *y, dtype);
}
