/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Pinion's IR: the `pinion` dialect over MLIR's C API.
 *
 * A module holds func.func @main (the graph; its arguments carry `pinion.name`, and the function the attributes
 * `pinion.inputs` and `pinion.outputs`, arrays of names), after outlining also @vision, @prefix, @step and @weights.
 * Tensors are builtin ranked tensors with static shapes: f32 f64 f16 bf16, i1 for bool, i8 i16 i32 i64 for signed and
 * ui8 ui16 ui32 ui64 for unsigned integers.
 *
 * Every op made by the importer has a location: name loc of the ONNX node, `NAME@MODULE.PATH`, whose child is its op
 * type, loc("Mul_3@layers.0"("Mul")); a fused op has a fused location of those it came from. The module's own location
 * is the account of all nodes (account.h).
 */
#ifndef PINION_IR_H
#define PINION_IR_H

#include "base.h"
#include "weights.h"

#include "../runtime/abi.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <mlir-c/IR.h>

typedef enum op_level { LEVEL_CORE, LEVEL_FUSED, LEVEL_LAUNCH } op_level;

typedef enum op_kind {
#define OP(id, level, operands, results, attributes, equation, doc) OP_##id,
#include "ops.def"
#undef OP
  OP_COUNT,
  OP_NONE = OP_COUNT, /* not an op of ours: func.func, func.return, func.call, builtin.module */
} op_kind;

/* A pass that ran, for the manifest. */
typedef struct pass_record {
  const char *name; /* static */
  int changes;
  int ops_before, ops_after;
} pass_record;

/* One compilation: its MLIR context (with the dialect loaded), arena, weights and diagnostics. */
typedef struct compilation {
  MlirContext context;
  arena *arena;
  weight_store *weights;
  diagnostics diagnostics;
  pass_record *passes; /* the arena's; in the order in which they ran */
  size_t pass_count, pass_capacity;
} compilation;

/* Creates a context with builtin and func loaded; ops of pinion are unregistered in it, and module_parse and
   module_verify hold them against the table. MLIR's own diagnostics go to c->diagnostics. */
status compilation_create(compilation *out_c);
void compilation_destroy(compilation *c);

/* The dialect's IRDL text, generated from ops.def, for other tools. Compilations do not load it (compilation_create
   says why). Owned by the caller (text_free). */
text dialect_irdl(void);
/* docs/ops.md, generated from ops.def. Owned by the caller. */
text dialect_markdown(void);

/* ---- Types ---- */
typedef struct tensor_type {
  pinion_dtype dtype;
  int rank;
  int64_t dims[PINION_MAX_RANK];
} tensor_type;

/* Of a ranked tensor or memref type; false for anything else, a dynamic dimension, a rank over PINION_MAX_RANK or an
   element type we do not have. */
bool type_read(MlirType type, tensor_type *out_type);
MlirType type_make(MlirContext context, const tensor_type *type); /* ranked tensor */
MlirType type_make_memref(MlirContext context, const tensor_type *type);
int64_t type_elements(const tensor_type *type);
int64_t type_bytes(const tensor_type *type);
bool type_equal(const tensor_type *a, const tensor_type *b);
bool dtype_is_float(pinion_dtype dtype);
const char *dtype_name(pinion_dtype dtype);                /* "f32", "bf16", "bool", ... */
bool dtype_from_name(const char *name, pinion_dtype *out); /* the inverse */
/* NumPy's broadcast of two shapes (dtype ignored); false if they do not broadcast. */
bool shape_broadcast(const tensor_type *a, const tensor_type *b, tensor_type *out_shape);

/* ---- Reading ops ---- */
op_kind op_kind_of(MlirOperation op); /* OP_NONE if it is not ours */
const char *op_name(op_kind kind);    /* "pinion.matmul" */
op_level op_level_of(op_kind kind);
/* The op that defines a value, or a null op for a block argument. */
MlirOperation value_definition(MlirValue value);
/* value_definition(value) if it is of that kind, else a null op. */
MlirOperation value_defined_by(MlirValue value, op_kind kind);
bool value_type(MlirValue value, tensor_type *out_type);
tensor_type tensor_type_of(MlirValue value); /* of a value that is known to have one; else {0} */
pinion_dtype value_dtype(MlirValue value);   /* its element type */
int64_t last_dimension(MlirValue value);     /* 1 of a scalar */
bool value_has_one_use(MlirValue value);
bool value_is_unused(MlirValue value);

/* Operand `name` of `op` by the table's operand names: start and count within the op's operands (count 0 for an absent
   optional one, n for a variadic one). */
void op_operand_range(MlirOperation op, const char *name, intptr_t *out_start, intptr_t *out_count);
/* A single or optional operand; a null value when absent. */
MlirValue op_operand(MlirOperation op, const char *name);

/* All attributes of an op, in the order of their names. */
intptr_t op_attribute_count(MlirOperation op);
MlirNamedAttribute op_attribute(MlirOperation op, intptr_t index);
int64_t attr_i64(MlirOperation op, const char *name, int64_t otherwise);
double attr_f64(MlirOperation op, const char *name, double otherwise);
bool attr_bool(MlirOperation op, const char *name, bool otherwise);
/* Borrowed from the context; NUL-terminated is not promised: use the length. */
MlirStringRef attr_str(MlirOperation op, const char *name);
bool attr_str_is(MlirOperation op, const char *name, const char *value);
/* Copies at most `capacity` values; returns how many there are (0 when absent). */
int attr_i64s(MlirOperation op, const char *name, int64_t *out_values, int capacity);

/* ---- Making attributes ---- */
MlirAttribute make_i64(MlirContext context, int64_t value);
MlirAttribute make_f64(MlirContext context, double value);
MlirAttribute make_bool(MlirContext context, bool value);
MlirAttribute make_str(MlirContext context, const char *value);
MlirAttribute make_i64s(MlirContext context, int count, const int64_t *values);
MlirNamedAttribute make_named(MlirContext context, const char *name, MlirAttribute attribute);

/* ---- Building ops ---- */
typedef struct builder {
  compilation *compilation;
  MlirBlock block;
  MlirOperation before; /* insertion point; null: at the block's end */
  MlirLocation location;
  const char *op_type; /* borrowed; what a refusal calls the op (ONNX's name); NULL: pinion's */
} builder;

/* The first name in a location ("NODE@MODULE.PATH"), through fused ones; empty if there is none. Borrowed. */
MlirStringRef location_name(MlirLocation location);
/* The name locations in a location, in order, each once; returns how many. *out_parts is the arena's. (MLIR keeps fused
   locations flat.) */
int location_parts(arena *a, MlirLocation location, MlirLocation **out_parts);
/* The location of an ONNX node, and the op type that one names; empty if it names none. Borrowed. */
MlirLocation location_of_node(MlirContext context, const char *name, const char *op_type);
MlirStringRef location_op_type(MlirLocation location);

/* A builder that inserts before `op`, with op's location. */
builder builder_before(compilation *c, MlirOperation op);

/* Creates the op that `state` describes (consumed) where the builder inserts: for ops that are not in the table, as
   func.call. Null, with MLIR's diagnostic, if MLIR refuses it. */
MlirOperation build_insert(builder *b, MlirOperationState *state);

/* Builds an op of the table. Operands in the table's order; a null MlirValue stands for an absent optional operand
   (only ops with optional or more than one variadic operand get operandSegmentSizes; the builder adds it). `results`
   may be NULL: the shape rule infers the (single) result's type. Returns a null op, with a diagnostic, if the shape
   rule refuses. */
MlirOperation build_op(builder *b, op_kind kind, int operand_count, const MlirValue *operands, int attribute_count,
                       const MlirNamedAttribute *attributes, int result_count, const MlirType *results);

/* Shorthands over build_op for ops with one result; a null value on failure. */
MlirValue build_unary(builder *b, const char *kind, MlirValue x);
MlirValue build_binary(builder *b, const char *kind, MlirValue x, MlirValue y);
MlirValue build_select(builder *b, MlirValue condition, MlirValue x, MlirValue y);
MlirValue build_cast(builder *b, MlirValue x, pinion_dtype to);
/* x where it has that type; null where x is. */
MlirValue build_cast_to(builder *b, MlirValue x, pinion_dtype to);
MlirValue build_reduce(builder *b, const char *kind, MlirValue x, int axis_count, const int64_t *axes, bool keep);
MlirValue build_matmul(builder *b, MlirValue x, MlirValue y);
MlirValue build_reshape(builder *b, MlirValue x, int rank, const int64_t *dims);
MlirValue build_broadcast(builder *b, MlirValue x, int rank, const int64_t *dims);
MlirValue build_transpose(builder *b, MlirValue x, const int64_t *permutation);
MlirValue build_slice(builder *b, MlirValue x, const int64_t *starts, const int64_t *sizes, const int64_t *steps);
MlirValue build_concat(builder *b, int count, const MlirValue *values, int64_t axis);
/* `data` is row-major, in the type's own storage (bool: bytes). Small ones become pinion.constant, larger ones (over
   CONSTANT_INLINE_BYTES) a pinion.weight on a blob of the weight store. */
MlirValue build_constant(builder *b, const tensor_type *type, const void *data);
MlirValue build_weight(builder *b, const tensor_type *type, const char *name, const char *file, int64_t offset);
#define CONSTANT_INLINE_BYTES 1024

/* Bytes of a pinion.constant (expanded if it is a splat) or pinion.weight, row-major in the type's storage; NULL, with
   a diagnostic, if they cannot be had. Borrowed from the arena or the mapped file. */
const void *constant_bytes(compilation *c, MlirOperation op);
bool value_is_constant(MlirValue value); /* defined by pinion.constant */

/* ---- Rewriting ---- */
void value_replace(MlirValue from, MlirValue to); /* all uses */
void op_erase(MlirOperation op);                  /* it must be unused */

/* ---- Modules ---- */
MlirOperation module_function(MlirModule module, const char *name); /* null if there is none */
MlirBlock function_body(MlirOperation function);
MlirOperation block_terminator(MlirBlock block);

/* Parses IR text; diagnoses (STATUS_BAD_INPUT). Weights of the model are looked for in the folder that the module's
   attribute `pinion.folder` names (else in path's folder), blobs beside `path`. */
status module_parse(compilation *c, const char *path, MlirModule *out_module);
/* Prints with locations, in the form that module_parse reads. Blobs that the module refers to are written into
   `blob_folder` unless it is NULL. */
status module_print(compilation *c, MlirModule module, FILE *stream, const char *blob_folder);

/* Checks each op against its shape rule and attribute table, and that no op's level is outside `levels` (a bit set, 1
   << level). Diagnoses every violation (STATUS_FAILED). */
status module_verify(compilation *c, MlirModule module, unsigned levels);
#define LEVELS_CORE (1u << LEVEL_CORE)
#define LEVELS_FUSED (LEVELS_CORE | 1u << LEVEL_FUSED)
#define LEVELS_LAUNCH (1u << LEVEL_LAUNCH)

#endif
