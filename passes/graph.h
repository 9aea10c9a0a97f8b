/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What several passes need to walk and rebuild functions: maps keyed by pointer, op lists, functions and calls. */
#ifndef PINION_PASSES_GRAPH_H
#define PINION_PASSES_GRAPH_H

#include "pass.h"

/* ---- A map from a pointer (of an op, a value, an attribute) to a number. Arena-backed. ---- */
typedef struct pointer_map {
  arena *arena; /* borrowed */
  const void **keys;
  int64_t *values;
  size_t capacity, count;
} pointer_map;
pointer_map pointer_map_create(arena *a);
/* -1 if the key is absent. */
int64_t pointer_map_get(const pointer_map *map, const void *key);
void pointer_map_set(pointer_map *map, const void *key, int64_t value);

/* ---- Ops in order ---- */
typedef struct op_list {
  MlirOperation *ops; /* the arena's */
  int count;
} op_list;
op_list block_ops(arena *a, MlirBlock block);          /* terminator included */
op_list module_functions(arena *a, MlirModule module); /* every func.func with a body */
int block_op_count(MlirBlock block);
bool op_is_named(MlirOperation op, const char *name); /* "func.call" */

/* For each op of the list, whether it depends on weights and constants alone: the op is a constant or a weight, or a
   core or fused op all of whose operands are such. */
bool *ops_from_weights(arena *a, const op_list *ops, const pointer_map *positions);
/* Where each op of the list stands. */
pointer_map op_positions(arena *a, const op_list *ops);
/* Index in `positions` of the op that defines `value`; -1 for a block argument or an op outside. */
int64_t value_position(const pointer_map *positions, MlirValue value);

/* Moves what `value` is computed from in front of `anchor`, of the same block, as far as it stands behind it. False,
   with nothing moved, if it depends on `anchor`. */
bool value_move_before(MlirValue value, MlirOperation anchor);

/* ---- Clean-up that other passes need as well; both return how many ops went away ---- */
int block_erase_dead(MlirBlock block);
int block_merge_common(pass_context *context, MlirBlock block);

/* ---- Identity: attribute `onnx` says which ONNX value an op's result is ---- */
/* Equal attributes, but for what does not change what is computed: identity, and a weight's name. */
bool ops_attributes_agree(MlirOperation a, MlirOperation b);
/* `to` computes what `from` did: it takes over its identity, unless it has one. */
void op_copy_identity(MlirOperation from, MlirOperation to);

/* Visits the body of every function that runs with the model: all but @weights, which is evaluated once, op by op.
   Stops at the first failure. */
status each_run_block(pass_context *context, MlirModule module,
                      status (*visit)(pass_context *context, MlirBlock block));

/* ---- Locations ---- */
/* What a remark calls an op: its first node, else its kind; in the compilation's arena. */
const char *op_label(compilation *c, MlirOperation op);
/* "READER also reads what MAKER computes": why a rewrite must not take `maker` away. */
const char *also_reads(compilation *c, MlirOperation reader, MlirOperation maker);
MlirLocation location_fuse(MlirContext context, int count, const MlirLocation *locations);

/* ---- Functions ---- */
/* Appends `func.func private @name` with an entry block and no terminator. The name is made unique. */
MlirOperation function_create(compilation *c, MlirModule module, const char *name, int argument_count,
                              const MlirType *arguments, int result_count, const MlirType *results,
                              MlirLocation location);
/* Writes down the types that its arguments and the values it returns have now. */
void function_update_type(compilation *c, MlirOperation function);
MlirOperation build_return(builder *b, int count, const MlirValue *values);
MlirOperation build_call(builder *b, MlirOperation callee, int count, const MlirValue *arguments);

/* Clones ops from one function into another, remembering which value became which. */
typedef struct cloner {
  compilation *compilation;
  arena *arena;
  MlirBlock block;      /* where clones are put */
  MlirOperation before; /* in front of this op; null: at the block's end */
  pointer_map map;      /* old value -> index into `values` */
  MlirValue *values;    /* the arena's */
  size_t count, capacity;
} cloner;
cloner cloner_create(compilation *c, arena *a, MlirBlock block);
void cloner_set(cloner *cl, MlirValue from, MlirValue to);
MlirValue cloner_get(const cloner *cl, MlirValue from); /* null if unknown */
/* Clones one op whose operands are known; its results become known. */
MlirOperation cloner_op(cloner *cl, MlirOperation op);
/* Clones all that `value` depends on and that is not known yet; it must not depend on a block argument. */
MlirValue cloner_cone(cloner *cl, MlirValue value);

/* The one number that every element of a pinion.constant has; false if it is no constant or not uniform. */
bool value_uniform(compilation *c, MlirValue value, double *out_number);

#endif
