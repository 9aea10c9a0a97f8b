/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What the importers of single ops see. An importer reads its node's inputs and attributes, emits ops, and sets its
 * outputs.
 *
 * Errors stick: a failed attribute or emit marks the node, later emits do nothing and return null values, and the
 * driver ends the import with the node's diagnostic. So an importer is written as if nothing could fail, and returns
 * early only where it needs a value (`if (n->result != STATUS_OK) return;`).
 */
#ifndef PINION_FRONTEND_IMPORT_H
#define PINION_FRONTEND_IMPORT_H

#include "frontend.h"
#include "model.h"
#include "names.h"
#include "known.h"

#include "../ir/account.h"

/* A value's name in a graph or a function body. */
typedef struct symbol {
  const char *name;                     /* borrowed from the model */
  MlirValue value;                      /* null until it is made */
  const Onnx__TensorProto *initializer; /* borrowed; NULL if it is none */
  int producer;                         /* index of the node that makes it; -1: none */
  bool is_made;                         /* of a node's output or a function's input: value (or its absence) is final */
  bool is_lost;                         /* a node that we cannot import makes it, or something on the way to it */
} symbol;

/* A function that the model brings along. */
typedef struct model_function {
  const Onnx__FunctionProto *proto; /* borrowed */
  wire_span bytes;                  /* as it lies in the file */
} model_function;

/* What a node's names stand for: NULL for an empty name, and for an input that nothing defines. */
typedef struct node_symbols {
  symbol **inputs, **outputs;
} node_symbols;

typedef struct import_row import_row;
typedef struct importer importer;

/* A graph, or a function's body while it is inlined. */
typedef struct scope {
  name_table symbols; /* of symbol */
  int64_t opset;      /* of the default domain */
  size_t node_count;
  Onnx__NodeProto *const *nodes;
  wire_span *node_bytes;               /* per node: as it lies in the file */
  node_symbols *node_symbols;          /* per node: outputs by scope_add_outputs, inputs by scope_schedule */
  const struct import_node *call;      /* of a function: the node that calls it; NULL in the graph */
  const Onnx__FunctionProto *function; /* NULL in the graph */
  int depth;                           /* of calls */
  const bool *needed;                  /* per node, once they are scheduled: whether the model's outputs depend on it */
} scope;

struct importer {
  compilation *compilation;
  arena *arena; /* the onnx_file's: until the import ends */
  onnx_file *file;
  const Onnx__ModelProto *model;
  const import_options *options;
  MlirBlock block;
  MlirOperation last_seen; /* the last op of the block that known_values has looked at */
  known_values known;
  name_table functions;  /* of model_function, by "domain:name:overload" */
  name_table dimensions; /* of int64_t: symbolic dimensions */
  struct unsupported_group *unsupported;
  int64_t lost_tensors;   /* initializers of types that we do not have; each was diagnosed */
  int64_t imported_nodes; /* with those that call functions */
  name_table locations;   /* of nodes: each has its own */
  node_account account;
  size_t account_capacity;
};

/* One node while it is imported. */
typedef struct import_node {
  importer *importer;
  const scope *scope;
  const Onnx__NodeProto *proto;
  const node_symbols *symbols;
  const import_row *row;
  const char *name; /* never empty */
  int input_count, output_count;
  MlirValue *inputs;  /* null: absent */
  MlirValue *outputs; /* to be set; null where the node names none */
  bool is_needed;     /* by the model's outputs */
  builder builder;
  status result;
} import_node;

/* A row of the import table: the importer of one ONNX op in a range of opsets. */
typedef void import_function(import_node *n);
struct import_row {
  const char *op_type;
  int first_opset, last_opset;
  int min_inputs, max_inputs; /* the first min_inputs are never absent; max -1: any number */
  import_function *import;
  const char *kind; /* for importers that serve several ops */
};
const import_row *import_row_find(const char *op_type, int64_t opset); /* NULL if there is none */
bool import_op_is_known(const char *op_type);                          /* in any opset */

#define ONNX_FIRST_OPSET 13
#define ONNX_LAST_OPSET 24

#define ONNX_OP(op_type, first, last, min_inputs, max_inputs, importer, kind) import_function import_##importer;
#include "import_ops.def"
#undef ONNX_OP

/* ---- Errors. Each marks the node; the first one counts. ---- */

/* The file is wrong. */
void node_bad(import_node *n, const char *format, ...) PRINTF_LIKE(2, 3);
/* The file is right, but we cannot do it. Collected; the import goes on without what depends on the node. */
void node_unsupported(import_node *n, const char *format, ...) PRINTF_LIKE(2, 3);
/* Notes a node for the list that import_report_unsupported prints. */
void import_note_unsupported(importer *im, const char *op_type, const char *domain, const char *name, const char *why);
status import_report_unsupported(importer *im); /* STATUS_OK if there is none */

/* ---- Inputs and outputs ---- */
bool node_has_input(const import_node *n, int index);
MlirValue node_input(const import_node *n, int index);  /* null if absent */
tensor_type node_input_type(import_node *n, int index); /* it must be present */
tensor_type node_type(import_node *n, MlirValue value); /* of any value; a rank-0 f32 for a null one */
bool node_wants_output(const import_node *n, int index);
void node_set(import_node *n, int index, MlirValue value);

/* An integer input whose values are known while importing (a shape, axes, ..). Fills at most `capacity` values and sets
 *out_count; anything else marks the node. */
bool node_ints(import_node *n, int index, int capacity, int64_t *out_values, int *out_count);
int64_t node_int(import_node *n, int index, int64_t otherwise); /* of one element; `otherwise` if absent */
/* A dimension index of a tensor of rank `rank`, negative ones counted from the end; marks the node if out of range. */
int node_axis(import_node *n, int64_t axis, int rank);
/* The same for a list without repetition; sets flags[0 .. rank). */
void node_axes(import_node *n, int count, const int64_t *axes, int rank, bool *out_flags);

/* ---- Attributes, also those that a function takes from its call ---- */
const Onnx__AttributeProto *node_attribute(const import_node *n, const char *name); /* NULL if absent */
int64_t node_attr_int(import_node *n, const char *name, int64_t otherwise);
double node_attr_float(import_node *n, const char *name, double otherwise);
bool node_attr_ints(import_node *n, const char *name, int capacity, int64_t *out_values,
                    int *out_count); /* false: absent */
/* Compares a string attribute, `otherwise` if absent. */
bool node_attr_is(import_node *n, const char *name, const char *value, const char *otherwise);

/* ---- Emitting. Null in, null out. ---- */
MlirValue emit_op(import_node *n, op_kind kind, int operand_count, const MlirValue *operands, int attribute_count,
                  const MlirNamedAttribute *attributes, const tensor_type *result); /* result NULL: inferred */
MlirValue emit_unary(import_node *n, const char *kind, MlirValue x);
MlirValue emit_binary(import_node *n, const char *kind, MlirValue x, MlirValue y); /* same element type */
MlirValue emit_select(import_node *n, MlirValue condition, MlirValue x, MlirValue y);
MlirValue emit_cast(import_node *n, MlirValue x, pinion_dtype to); /* x itself if it has that type */
MlirValue emit_reduce(import_node *n, const char *kind, MlirValue x, const bool *axes, bool keep);
MlirValue emit_matmul(import_node *n, MlirValue x, MlirValue y);
MlirValue emit_reshape(import_node *n, MlirValue x, int rank, const int64_t *dims); /* x itself if it has that shape */
MlirValue emit_broadcast(import_node *n, MlirValue x, int rank, const int64_t *dims); /* the same */
MlirValue emit_transpose(import_node *n, MlirValue x, const int64_t *permutation);
MlirValue emit_slice(import_node *n, MlirValue x, const int64_t *starts, const int64_t *sizes, const int64_t *steps);
/* Part [start, start + size) of one dimension. */
MlirValue emit_slice_axis(import_node *n, MlirValue x, int axis, int64_t start, int64_t size);
MlirValue emit_concat(import_node *n, int count, const MlirValue *values, int axis);
MlirValue emit_constant(import_node *n, const tensor_type *type, const void *data);
MlirValue emit_scalar(import_node *n, pinion_dtype dtype, double value);                   /* rank 0 */
MlirValue emit_ints(import_node *n, int rank, const int64_t *dims, const int64_t *values); /* i64 constant */
/* start, start + 1, .. along one dimension of an i64 constant whose other dimensions are 1. */
MlirValue emit_counting(import_node *n, int rank, int dimension, int64_t count, int64_t start);
/* A tensor of the model as a constant or a weight; not of one node, so it takes a builder. */
status emit_tensor(importer *im, builder *b, const Onnx__TensorProto *proto, const char *name, MlirValue *out_value);

/* Casts both to the type that PyTorch would compute in: exporters forget casts that ONNX demands. */
void node_promote(import_node *n, MlirValue *x, MlirValue *y);

/* ---- Driver ---- */
status import_nodes(importer *im, scope *s); /* in an order in which values precede their uses */
status scope_schedule(importer *im, const scope *s, int *out_order);
/* Sets `needed`; the nodes are scheduled. */
void scope_find_needed(importer *im, scope *s, const int *order);
status scope_add_outputs(importer *im, scope *s);               /* a symbol for each node's output */
symbol *scope_define(importer *im, scope *s, const char *name); /* NULL, after a diagnostic, if it is defined already */
status import_call(import_node *n, const model_function *function); /* inlines it */
const model_function *import_function_of(importer *im, const Onnx__NodeProto *node);
status import_functions_index(importer *im);
int64_t import_opset(size_t count, Onnx__OperatorSetIdProto *const *opsets); /* of the default domain; 0 if absent */
bool import_domain_is_default(const char *domain);
const char *import_node_name(importer *im, const scope *s, size_t index);
MlirLocation import_location(importer *im, wire_span node, const char *name, const char *op_type);

/* ---- Graph inputs ---- */
status import_check_shapes(importer *im, const Onnx__GraphProto *graph);
status import_input_type(importer *im, const Onnx__ValueInfoProto *input, tensor_type *out_type);
/* Compares a declared type's static dimensions with the value's; false if they contradict. */
bool import_type_agrees(const Onnx__ValueInfoProto *declared, const tensor_type *type);
/* Warns of intermediate values that the file declares with other shapes than they have. */
void import_compare_declared(importer *im, const scope *s);

#endif
