/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* ONNX promises nodes in topological order; files do not always keep it. Here they are put in one. */
#include "import.h"

#include <string.h>

enum { NODE_WAITING, NODE_OPEN, NODE_DONE };

typedef struct visit {
  int node;
  size_t next_input;
} visit;

typedef struct schedule {
  importer *importer;
  const scope *scope;
  uint8_t *states;
  visit *stack; /* the path of nodes whose inputs are being scheduled first */
  int depth;
  int *order;
  int ordered;
} schedule;

static status report_cycle(schedule *s, int node) {
  text path = {0};
  int first = s->depth - 1;
  while (first > 0 && s->stack[first].node != node) first--;
  for (int i = first; i < s->depth && i < first + 8; ++i)
    text_append(&path, "'%s', ", import_node_name(s->importer, s->scope, (size_t)s->stack[i].node));
  text_append(&path, "%s", first + 8 < s->depth ? "... " : "");
  diagnose(&s->importer->compilation->diagnostics, STATUS_BAD_INPUT,
           import_node_name(s->importer, s->scope, (size_t)node), s->scope->nodes[node]->op_type,
           "the graph has a cycle: %sand back", path.data);
  text_free(&path);
  return STATUS_BAD_INPUT;
}

static void open_node(schedule *s, int node) {
  const Onnx__NodeProto *proto = s->scope->nodes[node];
  symbol **inputs = arena_alloc(s->importer->arena, (proto->n_input + 1) * sizeof(symbol *));
  for (size_t i = 0; i < proto->n_input; ++i)
    if (*proto->input[i]) inputs[i] = name_find(&s->scope->symbols, proto->input[i]);
  s->scope->node_symbols[node].inputs = inputs;
  s->states[node] = NODE_OPEN;
  s->stack[s->depth++] = (visit){node, 0};
}

/* Depth first, with a stack of its own: a chain may be as long as the graph. */
static status visit_from(schedule *s, int root) {
  if (s->states[root] != NODE_WAITING) return STATUS_OK;
  open_node(s, root);
  while (s->depth > 0) {
    visit *top = &s->stack[s->depth - 1];
    if (top->next_input == s->scope->nodes[top->node]->n_input) {
      s->states[top->node] = NODE_DONE;
      s->order[s->ordered++] = top->node;
      s->depth--;
      continue;
    }
    const symbol *input = s->scope->node_symbols[top->node].inputs[top->next_input++];
    const int producer = input ? input->producer : -1;
    if (producer < 0 || s->states[producer] == NODE_DONE) continue;
    if (s->states[producer] == NODE_OPEN) return report_cycle(s, producer);
    open_node(s, producer);
  }
  return STATUS_OK;
}

status scope_schedule(importer *im, const scope *s, int *out_order) {
  schedule plan = {.importer = im, .scope = s, .order = out_order};
  plan.states = arena_alloc(im->arena, s->node_count + 1);
  plan.stack = arena_alloc(im->arena, (s->node_count + 1) * sizeof *plan.stack);
  for (size_t node = 0; node < s->node_count; ++node)
    if (visit_from(&plan, (int)node) != STATUS_OK) return STATUS_BAD_INPUT;
  return STATUS_OK;
}

symbol *scope_define(importer *im, scope *s, const char *name) {
  symbol *made = arena_alloc(im->arena, sizeof *made);
  *made = (symbol){.name = name, .producer = -1};
  if (name_add(im->arena, &s->symbols, name, made)) return made;
  diagnose(&im->compilation->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "the value '%s' is defined twice", name);
  return NULL;
}

status scope_add_outputs(importer *im, scope *s) {
  s->node_symbols = arena_alloc(im->arena, (s->node_count + 1) * sizeof *s->node_symbols);
  for (size_t node = 0; node < s->node_count; ++node) {
    const Onnx__NodeProto *proto = s->nodes[node];
    symbol **outputs = arena_alloc(im->arena, (proto->n_output + 1) * sizeof(symbol *));
    for (size_t i = 0; i < proto->n_output; ++i) {
      if (!*proto->output[i]) continue;
      outputs[i] = scope_define(im, s, proto->output[i]);
      if (!outputs[i]) return STATUS_BAD_INPUT;
      outputs[i]->producer = (int)node;
    }
    s->node_symbols[node].outputs = outputs;
  }
  return STATUS_OK;
}

/* ---- What is needed ---- */

static void need_value(const scope *s, bool *needed, const char *name) {
  const symbol *found = name ? name_find(&s->symbols, name) : NULL;
  if (found && found->producer >= 0) needed[found->producer] = true;
}

/* The outputs of the graph or of the function. */
static void need_outputs(const importer *im, const scope *s, bool *needed) {
  const Onnx__GraphProto *graph = im->model->graph;
  for (size_t i = 0; s->function && s->call->is_needed && i < s->function->n_output; ++i)
    need_value(s, needed, s->function->output[i]);
  for (size_t i = 0; !s->function && i < graph->n_output; ++i) need_value(s, needed, graph->output[i]->name);
}

void scope_find_needed(importer *im, scope *s, const int *order) {
  bool *needed = arena_alloc(im->arena, s->node_count + 1);
  need_outputs(im, s, needed);
  for (size_t i = s->node_count; i-- > 0;) {
    const int node = order[i];
    for (size_t k = 0; needed[node] && k < s->nodes[node]->n_input; ++k) {
      const symbol *input = s->node_symbols[node].inputs[k];
      if (input && input->producer >= 0) needed[input->producer] = true;
    }
  }
  s->needed = needed;
}
