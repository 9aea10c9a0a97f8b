/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The reference interpreter: any core or fused op, in plain loops. It folds constants and is the oracle of
 * `pinion verify`; it is never the fast path.
 */
#ifndef PINION_IR_EVAL_H
#define PINION_IR_EVAL_H

#include "ir.h"

typedef enum eval_precision {
  EVAL_AS_TYPED, /* float32 arithmetic; each op's result is rounded to its element type */
  EVAL_FLOAT32,  /* every float tensor is float32, whatever its element type says */
  EVAL_FLOAT64,  /* the same in float64; f64 tensors always are */
} eval_precision;

/* A tensor of the interpreter. Floats are stored as float or (EVAL_FLOAT64, or f64 elements) double; integers and bools
   as int64_t. Row-major, no padding. */
typedef enum eval_storage { EVAL_FLOATS, EVAL_DOUBLES, EVAL_INTEGERS } eval_storage;
typedef struct eval_tensor {
  tensor_type type;
  eval_storage storage;
  union {
    float *f32;
    double *f64;
    int64_t *i64;
    void *data;
  };
} eval_tensor;

/* From and to the element type's own bytes (weights, .npy files, constants). Tensors own their data: eval_free. */
status eval_tensor_from_bytes(const tensor_type *type, const void *bytes, eval_precision precision,
                              eval_tensor *out_tensor);
void eval_tensor_to_bytes(const eval_tensor *tensor, void *out_bytes); /* type_bytes(&tensor->type) bytes */
void eval_free(eval_tensor *tensor);
double eval_get(const eval_tensor *tensor, int64_t index); /* any storage */

/* Evaluates one op on the values of its operands (absent optional ones are skipped). Results are the caller's to free.
 */
status eval_op(compilation *c, MlirOperation op, const eval_tensor *const *operands, eval_precision precision,
               eval_tensor *out_results);

/* Called after each op with its results, in callees too; what verify uses to look inside. Not for pinion.constant and
   pinion.weight, which are read when first needed. May be NULL. Return false to stop: the evaluation then ends with
   STATUS_FAILED and no diagnostic. */
typedef bool eval_observer(void *user, MlirOperation op, const eval_tensor *results, int result_count);

/* Evaluates a function of the module, calls included, on one argument and into one result each of its. Values are freed
   after their last use, and a large weight after each use. */
status eval_function(compilation *c, MlirModule module, const char *function, const eval_tensor *arguments,
                     eval_precision precision, eval_observer *observer, void *user, eval_tensor *out_results);

/* If `value` depends on pinion.constant alone (through core and fused ops; no pinion.weight unless `weights` is set, no
   pinion.steps), evaluates it as typed, every op once. Returns false if it does not, or cannot be evaluated
   (diagnosed). */
bool eval_constant(compilation *c, MlirValue value, bool weights, eval_tensor *out_tensor);

#endif
