/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "reference.h"

#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

int64_t reference_batch(const json *manifest) {
  static const char prefix[] = "--batch=";
  const json *flags = json_member(manifest, "flags");
  for (size_t i = 0; flags && i < flags->count; i++) {
    const char *flag = json_string(&flags->items[i], "");
    if (!strncmp(flag, prefix, sizeof prefix - 1)) return strtoll(flag + sizeof prefix - 1, NULL, 10);
  }
  return 1;
}

/* The artifact's shapes, or those of one sample. */
static import_options artifact_shapes(arena *memory, const pinion_model_desc *desc, int64_t batch) {
  input_shape *shapes = arena_alloc(memory, (desc->input_count + 1) * sizeof *shapes);
  for (uint32_t i = 0; i < desc->input_count; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[desc->inputs[i]];
    shapes[i] = (input_shape){.name = buffer->name, .rank = buffer->rank};
    memcpy(shapes[i].dims, buffer->dims, sizeof shapes[i].dims);
    if (batch > 1 && shapes[i].rank > 0) shapes[i].dims[0] /= batch;
  }
  return (import_options){.shapes = shapes, .shape_count = (int)desc->input_count, .given_by = "the artifact"};
}

status reference_import(compilation *c, const char *model, const pinion_model_desc *desc, int64_t batch,
                        MlirModule *out_module) {
  const import_options shapes = artifact_shapes(c->arena, desc, batch);
  const pipeline_options batching = {.passes = "batch-samples"};
  const status result = onnx_import(c, model, &shapes, out_module);
  if (result != STATUS_OK || batch <= 1) return result;
  mlirOperationSetAttributeByName(mlirModuleGetOperation(*out_module), mlirStringRefCreateFromCString("pinion.batch"),
                                  make_i64(c->context, batch));
  return pipeline_run(c, *out_module, &batching);
}

static const char *listed_name(arena *memory, MlirOperation function, const char *list, intptr_t index) {
  MlirAttribute names = mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString(list));
  if (mlirAttributeIsNull(names) || !mlirAttributeIsAArray(names) || index >= mlirArrayAttrGetNumElements(names))
    return "";
  MlirStringRef name = mlirStringAttrGetValue(mlirArrayAttrGetElement(names, index));
  return arena_string(memory, name.data, name.length);
}

static status make_argument(compilation *c, const pinion_model_desc *desc, const tensor_list *inputs, const char *name,
                            MlirValue argument, eval_precision precision, eval_tensor *out) {
  tensor_type type;
  int index = desc_find_input(desc, name);
  tensor zeros;
  if (!value_type(argument, &type))
    return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "input '%s' has no static shape", name);
  if (index < 0) {
    status result = tensor_create(&c->diagnostics, name, &type, &zeros);
    if (result == STATUS_OK) result = eval_tensor_from_bytes(&type, zeros.data, precision, out);
    tensor_free(&zeros);
    return result;
  }
  if (!type_equal(&type, &inputs->tensors[index].type))
    return diagnose(&c->diagnostics, STATUS_MISMATCH, NULL, NULL,
                    "input '%s' has another type or shape in the artifact: it is of another model", name);
  return eval_tensor_from_bytes(&type, inputs->tensors[index].data, precision, out);
}

/* Puts the graph's results where the artifact has outputs of their names. */
static status take_results(compilation *c, const pinion_model_desc *desc, MlirOperation function, intptr_t count,
                           const eval_tensor *results, tensor_list *references) {
  status result = STATUS_OK;
  for (intptr_t i = 0; i < count && result == STATUS_OK; i++) {
    const char *name = listed_name(c->arena, function, "pinion.outputs", i);
    int index = desc_find_output(desc, name);
    if (index < 0)
      return diagnose(&c->diagnostics, STATUS_MISMATCH, NULL, NULL,
                      "the artifact has no output '%s': it is of another model", name);
    tensor_free(&references->tensors[index]);
    result = tensor_from_eval(&c->diagnostics, name, &results[i], &references->tensors[index]);
  }
  for (uint32_t i = 0; i < references->count && result == STATUS_OK; i++) {
    tensor_type expected = buffer_type(&desc->buffers[desc->outputs[i]]), found = references->tensors[i].type;
    found.dtype = expected.dtype;
    if (!type_equal(&found, &expected))
      result = diagnose(&c->diagnostics, STATUS_MISMATCH, NULL, NULL, "output '%s' has another shape in the artifact",
                        desc->buffers[desc->outputs[i]].name);
  }
  return result;
}

status reference_evaluate(compilation *c, MlirModule module, const pinion_model_desc *desc, const tensor_list *inputs,
                          eval_precision precision, eval_observer *observer, void *user, tensor_list *results) {
  MlirOperation function = module_function(module, "main");
  MlirBlock body = function_body(function);
  intptr_t argument_count = mlirBlockGetNumArguments(body);
  intptr_t result_count = mlirOperationGetNumOperands(block_terminator(body));
  eval_tensor *arguments = arena_alloc(c->arena, (size_t)(argument_count + 1) * sizeof *arguments);
  eval_tensor *values = arena_alloc(c->arena, (size_t)(result_count + 1) * sizeof *values);
  status result = STATUS_OK;
  for (intptr_t i = 0; i < argument_count && result == STATUS_OK; i++)
    result = make_argument(c, desc, inputs, listed_name(c->arena, function, "pinion.inputs", i),
                           mlirBlockGetArgument(body, i), precision, &arguments[i]);
  if (result == STATUS_OK) result = eval_function(c, module, "main", arguments, precision, observer, user, values);
  if (result == STATUS_OK) result = take_results(c, desc, function, result_count, values, results);
  for (intptr_t i = 0; i < argument_count; i++) eval_free(&arguments[i]);
  for (intptr_t i = 0; i < result_count; i++) eval_free(&values[i]);
  return result;
}
