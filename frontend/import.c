/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The driver: reads the file, orders the nodes, imports them one by one and wraps the block into func @main.
 * What a node cannot do is collected, so that a model's unsupported nodes are listed all at once.
 */
#include "import.h"
#include "../ir/shapes.h"

#include <string.h>

static MlirStringRef ref(const char *string) {
  return mlirStringRefCreateFromCString(string);
}

static status bad_model(importer *im, status code, const char *what) {
  return diagnose(&im->compilation->diagnostics, code, NULL, NULL, "%s", what);
}

/* Of what is no node: an initializer, an input, an output. */
static MlirLocation named_location(importer *im, const char *name) {
  MlirContext context = im->compilation->context;
  return mlirLocationNameGet(context, ref(name), mlirLocationUnknownGet(context));
}

/* ---- One node ---- */

/* An initializer becomes an op at its first use. One of a type that we do not have is lost, and so is what depends on
 * it. */
static status materialise(importer *im, symbol *initializer) {
  builder b = {.compilation = im->compilation, .block = im->block, .location = named_location(im, initializer->name)};
  status result = emit_tensor(im, &b, initializer->initializer, initializer->name, &initializer->value);
  initializer->is_made = true;
  initializer->is_lost = result == STATUS_UNSUPPORTED;
  im->lost_tensors += initializer->is_lost;
  if (result == STATUS_OK)
    mlirOperationSetAttributeByName(value_definition(initializer->value), ref("onnx"),
                                    make_str(im->compilation->context, initializer->name));
  return initializer->is_lost ? STATUS_OK : result;
}

/* Whether something makes what a name stands for. */
static bool is_available(const symbol *found) {
  return found && (found->is_made || found->initializer);
}

static void resolve_inputs(importer *im, import_node *n, bool *out_lost) {
  n->input_count = (int)n->proto->n_input;
  n->inputs = arena_alloc(im->arena, (size_t)(n->input_count + 1) * sizeof *n->inputs);
  for (int i = 0; i < n->input_count; ++i) {
    const char *name = n->proto->input[i];
    symbol *found = n->symbols->inputs[i];
    if (!*name) continue;
    if (!is_available(found))
      node_bad(n, "its input '%s' is made by no node, input or initializer", name);
    else if (!found->is_made)
      n->result = materialise(im, found);
    if (n->result != STATUS_OK) return;
    n->inputs[i] = found->value;
    *out_lost |= found->is_lost;
  }
}

static bool check_arity(import_node *n) {
  const import_row *row = n->row;
  int given = n->input_count;
  while (given > 0 && mlirValueIsNull(n->inputs[given - 1])) given--; /* trailing empty names say nothing */
  if (given < row->min_inputs || (row->max_inputs >= 0 && given > row->max_inputs))
    node_bad(n, "it has %d input%s; the op takes %d%s", given, given == 1 ? "" : "s", row->min_inputs,
             row->max_inputs == row->min_inputs ? ""
             : row->max_inputs < 0              ? " or more"
                                                : " or some more");
  for (int i = 0; i < row->min_inputs; ++i)
    if (n->result == STATUS_OK && mlirValueIsNull(n->inputs[i])) node_bad(n, "its input %d is missing", i);
  return n->result == STATUS_OK;
}

/* What was just built: evaluated where it can be, and named after the ONNX value that it is. */
static void look_at_new_ops(importer *im) {
  MlirOperation op = mlirOperationIsNull(im->last_seen) ? mlirBlockGetFirstOperation(im->block)
                                                        : mlirOperationGetNextInBlock(im->last_seen);
  for (; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    known_add(im->compilation, &im->known, op);
    im->last_seen = op;
  }
}

static void name_result(importer *im, MlirValue value, const char *name) {
  MlirOperation op = value_definition(value);
  if (mlirOperationIsNull(op) || !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, ref("onnx")))) return;
  mlirOperationSetAttributeByName(op, ref("onnx"), make_str(im->compilation->context, name));
}

static void define_outputs(importer *im, const scope *s, import_node *n) {
  for (int i = 0; i < n->output_count; ++i) {
    if (!node_wants_output(n, i)) continue;
    symbol *made = n->symbols->outputs[i];
    made->is_made = true;
    made->is_lost = n->result == STATUS_UNSUPPORTED;
    if (made->is_lost) continue;
    if (mlirValueIsNull(n->outputs[i])) {
      node_unsupported(n, "its output %d", i);
      made->is_lost = true;
      continue;
    }
    made->value = n->outputs[i];
    if (!s->call) name_result(im, made->value, made->name);
  }
}

static bool has_subgraph(const Onnx__NodeProto *node) {
  for (size_t i = 0; i < node->n_attribute; ++i)
    if (node->attribute[i]->g || node->attribute[i]->n_graphs) return true;
  return false;
}

/* Says why no row serves the node. */
static void refuse_op(import_node *n, const scope *s) {
  const char *op_type = n->proto->op_type ? n->proto->op_type : "";
  if (!import_domain_is_default(n->proto->domain))
    node_unsupported(n, "no function or op of this domain is known");
  else if (has_subgraph(n->proto))
    node_unsupported(n, "ops with subgraphs; export the model with its loops unrolled and its branches decided");
  else if (import_op_is_known(op_type))
    node_unsupported(n, "no such op in opset %lld", (long long)s->opset);
  else
    node_unsupported(n, "no importer for this op");
}

static void import_by_table(import_node *n, const scope *s) {
  n->row = import_domain_is_default(n->proto->domain) && n->proto->op_type
               ? import_row_find(n->proto->op_type, s->opset)
               : NULL;
  if (!n->row)
    refuse_op(n, s);
  else if (check_arity(n))
    n->row->import(n);
}

static void enter_node(importer *im, const import_node *n) {
  node_account *account = &im->account;
  account->nodes =
      arena_grow(im->arena, account->nodes, (size_t)account->count, &im->account_capacity, sizeof *account->nodes);
  account->nodes[account->count++] = (onnx_node){.location = n->builder.location,
                                                 .fate = n->is_needed ? FATE_KEPT : FATE_DEAD,
                                                 .by = n->is_needed ? NULL : "import"};
}

static status import_one(importer *im, const scope *s, size_t index) {
  import_node n = {.importer = im, .scope = s, .proto = s->nodes[index], .name = import_node_name(im, s, index)};
  n.symbols = &s->node_symbols[index];
  n.is_needed = s->needed[index];
  bool is_lost = false;
  n.builder = (builder){.compilation = im->compilation, .block = im->block, .op_type = n.proto->op_type};
  n.builder.location = import_location(im, s->node_bytes[index], n.name, n.proto->op_type ? n.proto->op_type : "");
  n.output_count = (int)n.proto->n_output;
  n.outputs = arena_alloc(im->arena, (size_t)(n.output_count + 1) * sizeof *n.outputs);
  resolve_inputs(im, &n, &is_lost);
  look_at_new_ops(im); /* initializers that are shapes */
  const model_function *function = import_function_of(im, n.proto);
  if (!function) enter_node(im, &n);
  if (n.result != STATUS_OK) return n.result;
  if (is_lost && (function || import_row_find(n.proto->op_type ? n.proto->op_type : "", s->opset)))
    n.result = STATUS_UNSUPPORTED; /* the reason is noted already */
  else if (function)
    n.result = import_call(&n, function);
  else
    import_by_table(&n, s);
  if (n.result != STATUS_OK && n.result != STATUS_UNSUPPORTED) return n.result;
  define_outputs(im, s, &n);
  look_at_new_ops(im);
  im->imported_nodes++;
  return STATUS_OK;
}

status import_nodes(importer *im, scope *s) {
  int *order = arena_alloc(im->arena, (s->node_count + 1) * sizeof *order);
  status result = scope_schedule(im, s, order);
  if (result == STATUS_OK) scope_find_needed(im, s, order);
  for (size_t i = 0; i < s->node_count && result == STATUS_OK; ++i) result = import_one(im, s, (size_t)order[i]);
  return result;
}

/* ---- The graph ---- */

static status add_initializers(importer *im, scope *s, const Onnx__GraphProto *graph) {
  for (size_t i = 0; i < graph->n_initializer; ++i) {
    const char *name = graph->initializer[i]->name;
    symbol *made = name && *name ? scope_define(im, s, name) : NULL;
    if (!name || !*name) return bad_model(im, STATUS_BAD_INPUT, "an initializer has no name");
    if (!made) return STATUS_BAD_INPUT;
    made->initializer = graph->initializer[i];
  }
  if (graph->n_sparse_initializer) return bad_model(im, STATUS_UNSUPPORTED, "sparse initializers are not supported");
  return STATUS_OK;
}

/* An input that is also an initializer has that as its default, and we compile for the default. */
static status add_inputs(importer *im, scope *s, const Onnx__GraphProto *graph, int *out_count,
                         const char **out_names) {
  *out_count = 0;
  for (size_t i = 0; i < graph->n_input; ++i) {
    const char *name = graph->input[i]->name;
    if (!name || !*name) return bad_model(im, STATUS_BAD_INPUT, "an input of the graph has no name");
    const symbol *default_value = name_find(&s->symbols, name);
    if (default_value && default_value->initializer) continue;
    symbol *made = scope_define(im, s, name);
    tensor_type type;
    status result = made ? import_input_type(im, graph->input[i], &type) : STATUS_BAD_INPUT;
    if (result != STATUS_OK) return result;
    made->value = mlirBlockAddArgument(im->block, type_make(im->compilation->context, &type), named_location(im, name));
    made->is_made = true;
    out_names[(*out_count)++] = name;
  }
  return STATUS_OK;
}

static status check_output(importer *im, const Onnx__ValueInfoProto *output, MlirValue value) {
  tensor_type type;
  value_type(value, &type);
  if (!import_type_agrees(output, &type))
    return diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "output '%s' is declared with another shape than it has, %s", output->name,
                    shape_text(im->arena, &type));
  for (int d = 0; d < type.rank; ++d)
    if (type.dims[d] == 0)
      return diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "output '%s' is empty, %s",
                      output->name, shape_text(im->arena, &type));
  return STATUS_OK;
}

/* After lenient promotions a float output may have become another float: the interface keeps the declared type. */
static status cast_output(importer *im, const Onnx__ValueInfoProto *output, MlirValue value, MlirValue *out_value) {
  tensor_type type;
  pinion_dtype declared;
  bool is_tensor = output->type && output->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  *out_value = value;
  if (!is_tensor || !onnx_dtype(output->type->tensor_type->elem_type, &declared) || !value_type(value, &type))
    return STATUS_OK;
  if (type.dtype == declared) return STATUS_OK;
  if (!dtype_is_float(type.dtype) || !dtype_is_float(declared))
    return diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "output '%s' is declared %s, but is %s", output->name, dtype_name(declared),
                    dtype_name(type.dtype));
  builder b = {.compilation = im->compilation, .block = im->block, .location = named_location(im, output->name)};
  *out_value = build_cast(&b, value, declared);
  return mlirValueIsNull(*out_value) ? STATUS_BAD_INPUT : STATUS_OK;
}

static status collect_output(importer *im, const scope *s, const Onnx__ValueInfoProto *output, MlirValue *out_value) {
  symbol *found = name_find(&s->symbols, output->name);
  if (!is_available(found))
    return diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "output '%s' is made by no node, input or initializer", output->name);
  status result = found->is_made ? STATUS_OK : materialise(im, found);
  if (result != STATUS_OK || found->is_lost) return result;
  result = check_output(im, output, found->value);
  return result == STATUS_OK ? cast_output(im, output, found->value, out_value) : result;
}

static status collect_outputs(importer *im, const scope *s, const Onnx__GraphProto *graph, MlirValue *out_values) {
  status result = STATUS_OK;
  name_table seen = {0};
  for (size_t i = 0; i < graph->n_output && result == STATUS_OK; ++i) {
    const char *name = graph->output[i]->name;
    if (!name || !*name) return bad_model(im, STATUS_BAD_INPUT, "an output of the graph has no name");
    if (!name_add(im->arena, &seen, name, graph->output[i]))
      return bad_model(im, STATUS_BAD_INPUT, "an output of the graph is listed twice");
    result = collect_output(im, s, graph->output[i], &out_values[i]);
  }
  return result;
}

/* ---- The module ---- */

static MlirAttribute make_strs(MlirContext context, int count, const char *const *strings) {
  MlirAttribute list[count + 1];
  for (int i = 0; i < count; ++i) list[i] = make_str(context, strings[i]);
  return mlirArrayAttrGet(context, count, list);
}

static MlirAttribute argument_names(MlirContext context, int count, const char *const *names) {
  MlirAttribute list[count + 1];
  for (int i = 0; i < count; ++i) {
    MlirNamedAttribute name = make_named(context, "pinion.name", make_str(context, names[i]));
    list[i] = mlirDictionaryAttrGet(context, 1, &name);
  }
  return mlirArrayAttrGet(context, count, list);
}

static MlirAttribute function_type(MlirContext context, MlirBlock block, int output_count, const MlirValue *outputs) {
  int input_count = (int)mlirBlockGetNumArguments(block);
  MlirType inputs[input_count + 1], results[output_count + 1];
  for (int i = 0; i < input_count; ++i) inputs[i] = mlirValueGetType(mlirBlockGetArgument(block, i));
  for (int i = 0; i < output_count; ++i) results[i] = mlirValueGetType(outputs[i]);
  return mlirTypeAttrGet(mlirFunctionTypeGet(context, input_count, inputs, output_count, results));
}

static MlirModule make_module(importer *im, MlirRegion body, int input_count, const char *const *input_names,
                              int output_count, const char *const *output_names, const MlirValue *outputs) {
  MlirContext context = im->compilation->context;
  MlirLocation location = mlirLocationUnknownGet(context);
  MlirOperationState return_state = mlirOperationStateGet(ref("func.return"), location);
  mlirOperationStateAddOperands(&return_state, output_count, outputs);
  mlirBlockAppendOwnedOperation(im->block, mlirOperationCreate(&return_state));
  MlirNamedAttribute attributes[] = {
      make_named(context, "sym_name", make_str(context, "main")),
      make_named(context, "function_type", function_type(context, im->block, output_count, outputs)),
      make_named(context, "arg_attrs", argument_names(context, input_count, input_names)),
      make_named(context, "pinion.inputs", make_strs(context, input_count, input_names)),
      make_named(context, "pinion.outputs", make_strs(context, output_count, output_names)),
  };
  MlirOperationState state = mlirOperationStateGet(ref("func.func"), location);
  mlirOperationStateAddAttributes(&state, input_count ? 5 : 2, attributes);
  if (!input_count) mlirOperationStateAddAttributes(&state, 2, attributes + 3);
  mlirOperationStateAddOwnedRegions(&state, 1, &body);
  MlirModule module = mlirModuleCreateEmpty(location);
  mlirBlockAppendOwnedOperation(mlirModuleGetBody(module), mlirOperationCreate(&state));
  account_write(im->compilation, module, &im->account);
  return module;
}

static status import_graph(importer *im, scope *s, MlirRegion body, MlirModule *out_module) {
  const Onnx__GraphProto *graph = im->model->graph;
  int input_count;
  const char **names = arena_alloc(im->arena, (graph->n_input + graph->n_output + 1) * sizeof *names);
  const char **output_names = names + graph->n_input;
  MlirValue *outputs = arena_alloc(im->arena, (graph->n_output + 1) * sizeof *outputs);
  status result = add_initializers(im, s, graph);
  if (result == STATUS_OK) result = import_check_shapes(im, graph);
  if (result == STATUS_OK) result = add_inputs(im, s, graph, &input_count, names);
  if (result == STATUS_OK) result = scope_add_outputs(im, s);
  if (result == STATUS_OK) result = import_nodes(im, s);
  if (result == STATUS_OK) result = collect_outputs(im, s, graph, outputs);
  if (result == STATUS_OK) result = import_report_unsupported(im);
  if (result != STATUS_OK) return result;
  import_compare_declared(im, s);
  for (size_t i = 0; i < graph->n_output; ++i) output_names[i] = graph->output[i]->name;
  *out_module = make_module(im, body, input_count, names, (int)graph->n_output, output_names, outputs);
  return STATUS_OK;
}

/* ---- The model ---- */

bool import_domain_is_default(const char *domain) {
  return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

int64_t import_opset(size_t count, Onnx__OperatorSetIdProto *const *opsets) {
  for (size_t i = 0; i < count; ++i)
    if (import_domain_is_default(opsets[i]->domain)) return opsets[i]->version;
  return 0;
}

static status check_model(importer *im, int64_t *out_opset) {
  const Onnx__ModelProto *model = im->model;
  if (!model->graph) return bad_model(im, STATUS_BAD_INPUT, "the file has no graph: is it an ONNX model?");
  if (!model->graph->n_output) return bad_model(im, STATUS_BAD_INPUT, "the graph has no outputs");
  *out_opset = import_opset(model->n_opset_import, model->opset_import);
  if (*out_opset < ONNX_FIRST_OPSET || *out_opset > ONNX_LAST_OPSET)
    return diagnose(&im->compilation->diagnostics, STATUS_UNSUPPORTED, NULL, NULL,
                    "opset %lld; export the model with opset %d to %d", (long long)*out_opset, ONNX_FIRST_OPSET,
                    ONNX_LAST_OPSET);
  return STATUS_OK;
}

static status import_model(importer *im, MlirModule *out_module) {
  int64_t opset = 0;
  status result = check_model(im, &opset);
  if (result == STATUS_OK) result = import_functions_index(im);
  if (result != STATUS_OK) return result;
  scope s = {.opset = opset, .node_count = im->model->graph->n_node, .nodes = im->model->graph->node};
  wire_span graph = {0};
  wire_find(onnx_file_bytes(im->file), MODEL_GRAPH, &graph);
  s.node_bytes = wire_list(im->arena, graph, GRAPH_NODE, s.node_count);
  MlirRegion body = mlirRegionCreate();
  im->block = mlirBlockCreate(0, NULL, NULL);
  mlirRegionAppendOwnedBlock(body, im->block);
  result = import_graph(im, &s, body, out_module);
  if (result != STATUS_OK) mlirRegionDestroy(body);
  known_free(&im->known);
  return result;
}

status onnx_import(compilation *c, const char *path, const import_options *options, MlirModule *out_module) {
  onnx_file file;
  ProtobufCMessage *message;
  *out_module = (MlirModule){NULL};
  status result = onnx_file_open(c, path, &onnx__model_proto__descriptor, &file, &message);
  if (result != STATUS_OK) return result;
  weight_store_set_folder(c->weights, path_folder(c->arena, path));
  importer im = {.compilation = c, .arena = file.arena, .file = &file, .options = options};
  im.model = (const Onnx__ModelProto *)message;
  result = import_model(&im, out_module);
  onnx_file_close(&file);
  return result;
}
