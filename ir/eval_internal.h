/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What the reference functions (eval_*.c) share. Every float is computed in double and rounded once, where it is
 * stored: an f32 result is then the exact one, rounded, for all single operations. Integers are computed in int64_t.
 */
#ifndef PINION_IR_EVAL_INTERNAL_H
#define PINION_IR_EVAL_INTERNAL_H

#include "body.h"
#include "eval.h"

/* One run of the interpreter. */
typedef struct eval_session {
  compilation *compilation;
  MlirModule module; /* callees are looked up here; may be null when nothing is called */
  eval_precision precision;
  eval_observer *observer;
  void *user;
  int depth; /* of nested calls */
} eval_session;

/* One op being evaluated. Results are allocated, of the op's result types, before its reference function is called. */
typedef struct evaluation {
  eval_session *session;
  MlirOperation op;
  op_kind kind;
  int operand_count, result_count;
  const eval_tensor *const *operands; /* as the op has them */
  eval_tensor *results;
} evaluation;

typedef status reference_function(evaluation *e);

#define REFERENCE_CORE(id) reference_function reference_##id;
#define REFERENCE_FUSED(id) reference_function reference_##id;
#define REFERENCE_LAUNCH(id)
#define OP(id, level, operands, results, attributes, equation, doc) REFERENCE_##level(id)
#include "ops.def"
#undef OP
#undef REFERENCE_CORE
#undef REFERENCE_FUSED
#undef REFERENCE_LAUNCH

/* Operand `name` of the op; NULL if it is absent. */
const eval_tensor *eval_operand(const evaluation *e, const char *name);
/* diagnose() with the op's node and name. */
status eval_refuse(const evaluation *e, const char *format, ...) PRINTF_LIKE(2, 3);

eval_storage eval_storage_of(pinion_dtype dtype, eval_precision precision);
size_t eval_element_size(const eval_tensor *t); /* of its storage */
/* Zeroed storage of a type; false if the system refuses. */
bool eval_allocate(const tensor_type *type, eval_precision precision, eval_tensor *out_tensor);
eval_tensor eval_copy(const eval_tensor *tensor); /* data is NULL if the system refuses */

/* Ends the process with a message if the system refuses, as the arena does: scratch space of one op. free() it. */
void *eval_scratch(int64_t count, size_t size);

/* ---- Rows: `count` elements from `start`, `stride` apart ---- */
void eval_load(const eval_tensor *t, int64_t start, int64_t stride, int64_t count, double *out);
void eval_load_integers(const eval_tensor *t, int64_t start, int64_t stride, int64_t count, int64_t *out);
/* Rounds to the storage, and as typed to the element type. `t` is a result, or has float storage. */
void eval_store(eval_precision precision, eval_tensor *t, int64_t start, int64_t stride, int64_t count,
                const double *values);
void eval_store_integers(eval_tensor *t, int64_t start, int64_t stride, int64_t count, const int64_t *values);

/* ---- Walks over an index space, row by row, with the offsets of several tensors along ---- */
typedef struct eval_walk {
  int rank;                      /* at least 1; dimensions that are contiguous for all tensors are merged */
  int64_t size[PINION_MAX_RANK]; /* the row is the last one */
  int count;
  int64_t stride[2 * PINION_MAX_ARGS][PINION_MAX_RANK];
  int64_t offset[2 * PINION_MAX_ARGS]; /* of the current row */
  int64_t index[PINION_MAX_RANK];
  bool done;
} eval_walk;

/* Row-major strides of a type. */
void eval_strides(const tensor_type *type, int64_t *out_strides);
/* Strides of `type` along `shape`, to which it broadcasts. */
void eval_broadcast_strides(const tensor_type *type, const tensor_type *shape, int64_t *out_strides);
/* Add each tensor's strides and start to an empty walk over `shape`, then begin. */
eval_walk eval_walk_over(const tensor_type *shape);
void eval_walk_add(eval_walk *walk, int64_t start, const int64_t *strides);
void eval_walk_begin(eval_walk *walk);
void eval_walk_next(eval_walk *walk); /* to the next row; sets done */

/* to[walk's tensor 0] = from[walk's tensor 1], element by element; both have the same storage. */
void eval_move(eval_walk *walk, eval_tensor *to, const eval_tensor *from);

/* results[r] = body(inputs..) over results[0]'s shape, to which inputs broadcast. */
void eval_body(eval_precision precision, const body *b, const eval_tensor *const *inputs, eval_tensor *results);
/* The op's attribute `body`, parsed for inputs of these types. */
status eval_parse_body(const evaluation *e, int input_count, const pinion_dtype *inputs, body **out_body);

/* Calls a function of the session's module. */
status eval_call(eval_session *session, const evaluation *caller, MlirStringRef callee, int argument_count,
                 const eval_tensor *const *arguments, int result_count, eval_tensor *out_results);
/* Result `index` of the module's @weights, which outline-weights made: evaluated anew each time, nothing is kept. */
status eval_weights_result(evaluation *e, int64_t index, eval_tensor *out_tensor);
/* One op of ours, within a session. */
status eval_op_in(eval_session *session, MlirOperation op, const eval_tensor *const *operands,
                  eval_tensor *out_results);

#endif
