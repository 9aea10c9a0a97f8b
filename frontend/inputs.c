/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Types of the graph's inputs; symbolic dimensions take their values from --shapes. */
#include "import.h"

#include <string.h>

static status bad_input(importer *im, status code, const char *name, const char *what) {
  return diagnose(&im->compilation->diagnostics, code, NULL, NULL, "input '%s': %s", name, what);
}

static const char *source_of_shapes(const importer *im) {
  return im->options && im->options->given_by ? im->options->given_by : "--shapes";
}

/* How to give a shape that is not known; nothing where shapes are not the user's. */
static const char *shape_advice(const importer *im, const char *name) {
  if (im->options && im->options->given_by) return "";
  return arena_format(im->arena, "; give the shape with --shapes=%s:1x..", name);
}

static const input_shape *given_shape(const importer *im, const char *name) {
  for (int i = 0; im->options && i < im->options->shape_count; ++i)
    if (strcmp(im->options->shapes[i].name, name) == 0) return &im->options->shapes[i];
  return NULL;
}

static const Onnx__TensorShapeProto *declared_shape(const Onnx__ValueInfoProto *value) {
  if (!value->type || value->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return NULL;
  return value->type->tensor_type->shape;
}

static const char *dimension_name(const Onnx__TensorShapeProto__Dimension *dim) {
  bool is_named = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
  return is_named && dim->dim_param && *dim->dim_param ? dim->dim_param : NULL;
}

static bool dimension_is_known(const Onnx__TensorShapeProto__Dimension *dim) {
  return dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
}

static status bind_dimension(importer *im, const char *input, const char *name, int64_t value) {
  int64_t *bound = name_find(&im->dimensions, name);
  if (bound && *bound != value)
    return diagnose(&im->compilation->diagnostics, STATUS_USAGE, NULL, NULL,
                    "input '%s': its dimension '%s' is %lld here and %lld elsewhere; see %s", input, name,
                    (long long)value, (long long)*bound, source_of_shapes(im));
  if (!bound) name_add(im->arena, &im->dimensions, name, arena_copy(im->arena, &value, sizeof value));
  return STATUS_OK;
}

/* A shape of --shapes against the declared one; its symbolic dimensions become known to all inputs. */
static status bind_input(importer *im, const Onnx__ValueInfoProto *input, const input_shape *given) {
  const Onnx__TensorShapeProto *shape = declared_shape(input);
  if (!shape) return STATUS_OK;
  if (shape->n_dim != (size_t)given->rank)
    return diagnose(&im->compilation->diagnostics, STATUS_USAGE, NULL, NULL, "input '%s' has rank %zu, %s gives it %d",
                    input->name, shape->n_dim, source_of_shapes(im), given->rank);
  for (int d = 0; d < given->rank; ++d) {
    const char *name = dimension_name(shape->dim[d]);
    if (dimension_is_known(shape->dim[d]) && shape->dim[d]->dim_value != given->dims[d])
      return diagnose(&im->compilation->diagnostics, STATUS_USAGE, NULL, NULL,
                      "input '%s': dimension %d is %lld in the model, %s says %lld", input->name, d,
                      (long long)shape->dim[d]->dim_value, source_of_shapes(im), (long long)given->dims[d]);
    status result = name ? bind_dimension(im, input->name, name, given->dims[d]) : STATUS_OK;
    if (result != STATUS_OK) return result;
  }
  return STATUS_OK;
}

static bool uses_dimension(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_input; ++i) {
    const Onnx__TensorShapeProto *shape = declared_shape(graph->input[i]);
    for (size_t d = 0; shape && d < shape->n_dim; ++d) {
      const char *found = dimension_name(shape->dim[d]);
      if (found && strcmp(found, name) == 0) return true;
    }
  }
  return false;
}

static status bind_shape(importer *im, const Onnx__GraphProto *graph, const input_shape *given) {
  for (size_t i = 0; i < graph->n_input; ++i)
    if (graph->input[i]->name && strcmp(graph->input[i]->name, given->name) == 0)
      return bind_input(im, graph->input[i], given);
  if (given->rank == 1 && uses_dimension(graph, given->name))
    return bind_dimension(im, given->name, given->name, given->dims[0]);
  return diagnose(&im->compilation->diagnostics, STATUS_USAGE, NULL, NULL,
                  "%s names '%s', but no input or symbolic dimension of the model is called so", source_of_shapes(im),
                  given->name);
}

status import_check_shapes(importer *im, const Onnx__GraphProto *graph) {
  for (int i = 0; im->options && i < im->options->shape_count; ++i) {
    status result = bind_shape(im, graph, &im->options->shapes[i]);
    if (result != STATUS_OK) return result;
  }
  return STATUS_OK;
}

static status unknown_dimension(importer *im, const char *input, size_t index, const char *name) {
  return diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                  "input '%s': dimension %zu ('%s') is symbolic%s", input, index, name ? name : "?",
                  shape_advice(im, input));
}

static status resolve_dims(importer *im, const Onnx__ValueInfoProto *input, int64_t *out_dims, size_t *out_rank) {
  const Onnx__TensorShapeProto *shape = declared_shape(input);
  const input_shape *given = given_shape(im, input->name);
  if (given) {
    *out_rank = (size_t)given->rank;
    memcpy(out_dims, given->dims, (size_t)given->rank * sizeof *out_dims);
    return STATUS_OK;
  }
  if (!shape)
    return diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "input '%s' has no shape%s",
                    input->name, shape_advice(im, input->name));
  if (shape->n_dim > PINION_MAX_RANK) return bad_input(im, STATUS_UNSUPPORTED, input->name, "its rank is over 8");
  *out_rank = shape->n_dim;
  for (size_t d = 0; d < shape->n_dim; ++d) {
    const char *name = dimension_name(shape->dim[d]);
    const int64_t *bound = name ? name_find(&im->dimensions, name) : NULL;
    if (!bound && !dimension_is_known(shape->dim[d])) return unknown_dimension(im, input->name, d, name);
    out_dims[d] = bound ? *bound : shape->dim[d]->dim_value;
  }
  return STATUS_OK;
}

status import_input_type(importer *im, const Onnx__ValueInfoProto *input, tensor_type *out_type) {
  pinion_dtype dtype;
  int64_t dims[PINION_MAX_RANK];
  size_t rank = 0;
  if (!input->type || input->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    return bad_input(im, STATUS_UNSUPPORTED, input->name, "it is no tensor");
  int32_t element = input->type->tensor_type->elem_type;
  if (!onnx_dtype(element, &dtype))
    return diagnose(&im->compilation->diagnostics, STATUS_UNSUPPORTED, NULL, NULL,
                    "input '%s': unsupported element type %s (%d)", input->name, onnx_dtype_name(element),
                    (int)element);
  status result = resolve_dims(im, input, dims, &rank);
  if (result != STATUS_OK) return result;
  for (size_t d = 0; d < rank; ++d)
    if (dims[d] <= 0) return bad_input(im, STATUS_BAD_INPUT, input->name, "a dimension is not positive");
  if (!onnx_type_set(dtype, rank, dims, out_type))
    return bad_input(im, STATUS_BAD_INPUT, input->name, "its size is absurd");
  return STATUS_OK;
}

bool import_type_agrees(const Onnx__ValueInfoProto *declared, const tensor_type *type) {
  const Onnx__TensorShapeProto *shape = declared_shape(declared);
  if (!shape) return true;
  if (shape->n_dim != (size_t)type->rank) return false;
  for (int d = 0; d < type->rank; ++d)
    if (dimension_is_known(shape->dim[d]) && shape->dim[d]->dim_value != type->dims[d]) return false;
  return true;
}
