/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Inside of lower-to-launches: values are views of buffers, ops become launches over views.
 *
 * A view is (buffer, offset, stride per dimension), all in elements. Transposes, slices, broadcasts and most reshapes
 * are views of their operand's buffer and cost nothing. What is computed is written straight to where it is wanted:
 * into its place of a concatenation, into an output, or into the layout in which the reshapes that follow are views.
 */
#ifndef PINION_PASSES_LOWER_H
#define PINION_PASSES_LOWER_H

#include "pass.h"

#include "../ir/body.h"
#include "../ir/view.h"

/* ---- Iteration spaces (lower_space.c) ---- */
typedef struct space_arg {
  int buffer;
  int64_t offset, step_stride; /* elements */
  int64_t stride[PINION_MAX_RANK];
} space_arg;

typedef struct iteration_space {
  int rank;
  int64_t size[PINION_MAX_RANK];
  int arg_count;
  space_arg args[PINION_MAX_ARGS];
} iteration_space;

/* Appends an argument that has the space's dimensions. */
void space_add(iteration_space *s, const view *v);
/* Drops dimensions of size 1, orders the rest by argument 0's strides (largest first) and merges neighbours that are
   one dimension for all arguments: all but the last `fixed`, which keep their order, and of which neighbours are merged
   only if `merge_fixed`. Leaves at least one dimension. Returns how many of the last dimensions come of the fixed ones.
 */
int space_simplify(iteration_space *s, int fixed, bool merge_fixed);
/* Merges dimension `d` with `d + 1` if for every argument they are one; false if not. */
bool space_merge(iteration_space *s, int d);

/* ---- What lowering collects (lower_emit.c turns it into IR) ---- */
typedef struct lowered_buffer {
  const char *name;
  pinion_space space;
  tensor_type type;
  int64_t pitch;
  int64_t index;          /* input or output: which; weights: result of @weights */
  bool packed;            /* weights: in the target's layout, from b[h, n, p, k] = source view */
  int64_t source_view[5]; /* offset, strides of h, n, p and k in the source, elements */
  int64_t bytes;
  bool used;
  MlirValue value; /* of the emitted pinion.buffer */
} lowered_buffer;

typedef struct lowered_launch {
  pinion_family family;
  const char *kind; /* reduce and norm, else NULL */
  int result_count;
  iteration_space space;
  MlirAttribute body; /* null: none */
  int64_t integers[8];
  int integer_count;
  double scalar;
  bool has_scalar;
  int stage;
  MlirLocation location;
  MlirAttribute *values; /* of the model, complete once it has run: as the op's attribute `values` has them */
  size_t value_count, value_capacity;
} lowered_launch;

typedef struct lowered_stage {
  const char *name;
  int64_t repeat;
} lowered_stage;

typedef struct value_map {
  struct value_entry {
    const void *key;
    view *view;
  } *entries; /* open addressing; capacity a power of two */
  size_t count, capacity;
} value_map;

/* One function being lowered. */
typedef struct frame {
  MlirBlock block;
  view **results; /* where each result should go; NULL entries: no wish */
  int result_count;
  bool carried;    /* results[0] is the carried tensor of a step: it may be written only in place */
  int calls, call; /* how often its function is called, and which of the calls this is */
} frame;

typedef struct lowering {
  pass_context *context;
  compilation *c;
  MlirModule module;
  lowered_buffer *buffers;
  size_t buffer_count, buffer_capacity;
  lowered_launch *launches;
  size_t launch_count, launch_capacity;
  lowered_stage *stages;
  size_t stage_count, stage_capacity;
  MlirOperation *weight_ops; /* what @weights gets as further results: constants and weights of other functions */
  size_t weight_op_count, weight_op_capacity;
  int64_t weight_result_count; /* @weights' own */
  value_map values;            /* value -> its view */
  value_map planned;           /* result of a concat not lowered yet -> the view that its pieces are placed in */
  const frame *frame;
  int depth; /* of calls */
  bool in_steps;
  int carried_buffer;  /* of the stage being lowered; -1: none */
  size_t step_launch;  /* in_steps: the stage's first launch; what does not depend on the step is put before it */
  size_t step_buffers; /* in_steps: buffers before this one existed before the stage */
} lowering;

typedef status lower_function(lowering *l, MlirOperation op);

/* ---- State (lower_buffers.c) ---- */
view *map_get(const value_map *map, MlirValue key); /* NULL if it has none */
void map_set(arena *a, value_map *map, MlirValue key, const view *v);
void map_remove(value_map *map, MlirValue key);

/* What to call what an op makes: the first ONNX node's name in its location, "value" if none. In the arena. */
const char *value_name(lowering *l, MlirLocation location);
int buffer_create(lowering *l, const char *name, pinion_space space, const tensor_type *type, int64_t pitch);
/* A new arena buffer with padded rows. */
view arena_view(lowering *l, const char *name, const tensor_type *type);
/* The view of a weight or constant, which becomes (or is) a result of @weights. */
status weight_view(lowering *l, MlirOperation op, view *out);
/* The reshape of a whole dense weights buffer: the same result of @weights in rows of another length. False if `v` is
   not all of such a buffer. */
bool reshape_weight(lowering *l, const view *v, int rank, const int64_t *dims, view *out);
/* A weights buffer that holds b[h, n, p, k], a view of a dense weights buffer, in the target's layout. */
view packed_view(lowering *l, const view *b, int64_t packed_bytes);
/* If `value` is one number everywhere: that number, exactly. */
bool value_splat(MlirValue value, double *out_number);

/* The view of an operand; diagnoses (a bug) when the value was not lowered. */
status operand_view(lowering *l, MlirOperation op, intptr_t index, view *out);
/* The view of an operand by its table name; *out_present false when it is absent. */
status named_view(lowering *l, MlirOperation op, const char *name, bool *out_present, view *out);

/* ---- Placement (lower_place.c) ---- */
/* Where the op that computes `value` should write it: in place of a concat, an output, or a new buffer in the layout
   that suits what follows. Never the carried tensor. */
view place(lowering *l, MlirValue value);
/* The same, but the carried tensor of a step if the value becomes its next one: only for what may be written in place.
 */
view place_carried(lowering *l, MlirValue value);
/* place_carried for result `result` of an op that computes each element of it from the same element of `operands`,
   where that may be in place; else place. */
view place_elementwise(lowering *l, MlirOperation op, intptr_t result, int count, const view *operands);
/* A place that something else than the op itself wishes: false if none does. Never the carried tensor. */
bool place_wished(lowering *l, MlirValue value, view *out);
/* The view that a concat's pieces go to. */
view place_concat(lowering *l, MlirOperation concat);
/* How far along the axis piece `index` of a concat begins. */
int64_t concat_start(MlirOperation concat, intptr_t index);

/* ---- Launches (lower_emit.c, lower_pointwise.c) ---- */
/* Appends a launch, unless its space is empty. */
void launch_add(lowering *l, const lowered_launch *launch);
/* A launch with this op's location and nothing else filled. */
lowered_launch launch_begin(MlirOperation op, pinion_family family);
MlirAttribute body_strings(MlirContext context, int count, const char *const *instructions);
/* to[i] = from[i]; before the repeated stage where nothing in it makes `from`. */
void copy_view(lowering *l, MlirLocation location, const view *from, const view *to);
/* A dense row-major copy in the arena. */
view materialise(lowering *l, MlirLocation location, const view *v);
/* The reshape of a view: a view where strides allow it (or it is a weight's), else of a copy. */
view reshape_or_copy(lowering *l, MlirLocation location, const view *v, int rank, const int64_t *dims);

/* Where what the op computes is a value of the model, the launch that completes it says so (lower_values.c). */
void note_value(lowering *l, MlirOperation op);

/* ---- One per op ---- */
lower_function lower_constant, lower_reshape, lower_transpose, lower_broadcast, lower_slice, lower_concat, lower_pad,
    lower_unary, lower_binary, lower_select, lower_cast, lower_pointwise, lower_matmul, lower_gemm, lower_conv,
    lower_reduce, lower_cumsum, lower_softmax, lower_norm, lower_gather, lower_rope, lower_attention;

/* ---- Writing IR (lower_emit.c) ---- */
/* Sets `used` of every buffer that is an input or output, or that a launch has for an argument. */
void mark_used_buffers(lowering *l);
/* Emits used buffers and all launches into an empty block, and sets the module's stages. */
status emit_launch_level(lowering *l, MlirBlock block);

/* Diagnoses for the node that `op` comes from. */
status lower_error(lowering *l, MlirOperation op, const char *what);

#endif
