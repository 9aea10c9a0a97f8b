/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Functions that a model brings along: their bodies are imported in place of each call. */
#include "import.h"

#include <string.h>

#define FUNCTION_MAX_DEPTH 16
#define FUNCTION_MAX_NODES (1 << 18) /* of all calls together: nested calls multiply */

static const char *function_key(arena *a, const char *domain, const char *name, const char *overload) {
  return arena_format(a, "%s:%s:%s", import_domain_is_default(domain) ? "" : domain, name ? name : "",
                      overload ? overload : "");
}

status import_functions_index(importer *im) {
  const wire_span *bytes = wire_list(im->arena, onnx_file_bytes(im->file), MODEL_FUNCTIONS, im->model->n_functions);
  for (size_t i = 0; i < im->model->n_functions; ++i) {
    const Onnx__FunctionProto *proto = im->model->functions[i];
    const char *key = function_key(im->arena, proto->domain, proto->name, proto->overload);
    model_function *function = arena_alloc(im->arena, sizeof *function);
    *function = (model_function){proto, bytes[i]};
    if (!name_add(im->arena, &im->functions, key, function))
      return diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "the function '%s' is defined twice",
                      proto->name ? proto->name : "");
  }
  return STATUS_OK;
}

const model_function *import_function_of(importer *im, const Onnx__NodeProto *node) {
  if (im->functions.count == 0) return NULL;
  return name_find(&im->functions, function_key(im->arena, node->domain, node->op_type, node->overload));
}

/* The body's names are its own; its inputs are the call's, absent ones included. */
static status bind_inputs(import_node *n, scope *body) {
  for (size_t i = 0; i < body->function->n_input; ++i) {
    symbol *made = scope_define(n->importer, body, body->function->input[i]);
    if (!made) return STATUS_BAD_INPUT;
    made->value = node_input(n, (int)i);
    made->is_made = true;
  }
  return STATUS_OK;
}

static void bind_outputs(import_node *n, const scope *body, bool *out_lost) {
  for (int i = 0; i < n->output_count && (size_t)i < body->function->n_output; ++i) {
    const symbol *made = name_find(&body->symbols, body->function->output[i]);
    if (!made || !made->is_made)
      node_bad(n, "the function makes no value '%s'", body->function->output[i]);
    else if (made->is_lost)
      *out_lost = true;
    else
      node_set(n, i, made->value);
  }
}

status import_call(import_node *n, const model_function *function) {
  importer *im = n->importer;
  const Onnx__FunctionProto *proto = function->proto;
  scope body = {.node_count = proto->n_node, .nodes = proto->node, .call = n, .function = proto};
  body.node_bytes = wire_list(im->arena, function->bytes, FUNCTION_NODE, proto->n_node);
  bool is_lost = false;
  body.opset = import_opset(proto->n_opset_import, proto->opset_import);
  if (!body.opset) body.opset = n->scope->opset;
  body.depth = n->scope->depth + 1;
  if (body.depth > FUNCTION_MAX_DEPTH) node_bad(n, "functions call each other too deeply, or in a circle");
  if (im->imported_nodes > FUNCTION_MAX_NODES) node_bad(n, "the functions expand to over %d nodes", FUNCTION_MAX_NODES);
  if (n->result == STATUS_OK) n->result = bind_inputs(n, &body);
  if (n->result == STATUS_OK) n->result = scope_add_outputs(im, &body);
  if (n->result == STATUS_OK) n->result = import_nodes(im, &body);
  if (n->result == STATUS_OK) bind_outputs(n, &body, &is_lost);
  return n->result == STATUS_OK && is_lost ? STATUS_UNSUPPORTED : n->result;
}
