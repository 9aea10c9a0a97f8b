/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The launch level as plain structs: what plan-memory and code generation read instead of walking IR.
 *
 * A module at launch level has func @main without arguments, holding pinion.buffer and pinion.launch ops; @weights,
 * whose results the weight buffers hold; and the attributes `pinion.stages` (array of {name, repeat}) and, once
 * planned, `pinion.arena_bytes`.
 */
#ifndef PINION_IR_LAUNCH_H
#define PINION_IR_LAUNCH_H

#include "ir.h"

typedef struct program_buffer {
  MlirOperation op;
  const char *name;
  pinion_space space;
  tensor_type type;
  int64_t pitch;  /* elements */
  int64_t offset; /* bytes in the arena or weights.bin, -1 unplanned; index of the input or output */
  int64_t bytes;
  int64_t source;         /* weights: result of @weights */
  bool packed;            /* weights: in the target's layout, from b[h, n, p, k] with the type's dims */
  int64_t source_view[5]; /* packed: offset, strides of h, n, p and k in the unpadded source, elements */
} program_buffer;

/* A value of the model, in a launch's attribute `values`. */
typedef struct program_value {
  const char **names; /* one per step of a repeated stage; else one per block of dimension 0 */
  int name_count, result;
  int64_t offset; /* elements, like the strides */
  int rank;
  int64_t dims[PINION_MAX_RANK], stride[PINION_MAX_RANK];
} program_value;

typedef struct program_launch {
  MlirOperation op;
  pinion_family family;
  const char *kind; /* "" if none */
  int result_count;
  pinion_params params; /* rank, arg_count, sizes, strides, integers, scalars */
  int buffers[PINION_MAX_ARGS];
  int64_t offset[PINION_MAX_ARGS];      /* elements */
  int64_t step_stride[PINION_MAX_ARGS]; /* elements */
  MlirAttribute body;                   /* null: none */
  int stage;
  int node_count;
  const char **nodes; /* ONNX nodes, `NAME@MODULE.PATH` as far as known */
  int after_count;
  int64_t *after;
  int value_count;
  program_value *values;
} program_launch;

typedef struct program_stage {
  const char *name;
  int64_t repeat;
  int first_launch, launch_count;
} program_stage;

typedef struct program {
  int buffer_count, launch_count, stage_count;
  program_buffer *buffers;
  program_launch *launches;
  program_stage *stages;
  int64_t arena_bytes; /* -1: not planned */
} program;

/* Reads a module at launch level. Everything is the arena's. Diagnoses what is not there or contradicts itself. */
status program_read(compilation *c, MlirModule module, program *out_program);

/* Bytes [*out_first, *out_last) of its buffer that argument `arg` of the launch may touch, over all steps. */
void program_arg_range(const program *p, const program_launch *launch, int arg, int64_t *out_first, int64_t *out_last);

pinion_dtype program_arg_dtype(const program *p, const program_launch *launch, int arg);

const char *family_name(pinion_family family); /* "gemm", as in the attribute `family` */
bool family_from_name(MlirStringRef name, pinion_family *out_family);
const char *space_name(pinion_space space); /* "arena", as in the attribute `space` */
bool space_from_name(MlirStringRef name, pinion_space *out_space);

#endif
