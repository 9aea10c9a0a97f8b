/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Matching of small graphs, for the recognise-* passes: a match collects the ops that a pattern consists of while it is
 * followed from its last op (the root) to its operands, then replaces them by one op.
 */
#ifndef PINION_PASSES_MATCH_H
#define PINION_PASSES_MATCH_H

#include "graph.h"

enum { MATCH_MAXIMUM_OPS = 48, MATCH_MAXIMUM_ASIDE = 16 };

typedef struct match {
  compilation *compilation;
  MlirOperation ops[MATCH_MAXIMUM_OPS]; /* the root first */
  int count;
  MlirOperation aside[MATCH_MAXIMUM_ASIDE]; /* what the rewrite also computes, but others may read as well */
  int aside_count;
} match;

match match_begin(compilation *c, MlirOperation root);
/* The op that defines `value`, if it is of that kind (and its attribute `kind` is `name`, unless NULL): joins the
   match. Else a null op. */
MlirOperation match_op(match *m, MlirValue value, op_kind kind, const char *name);
/* Same, for a binary op that has a number for one operand: either one where the op commutes, else the second. */
bool match_with_number(match *m, MlirValue value, const char *name, MlirValue *out_other, double *out_number);
/* Follows float casts upwards, which join the match. */
MlirValue match_through_casts(match *m, MlirValue value);

/* NULL if nothing but the match reads what its ops compute, the root apart; else a sentence for pass_missed that names
   the reader, in the compilation's arena. */
const char *match_why_open(const match *m);
/* Puts what `attempt`, a copy of the match that went on, has found since aside. */
void match_set_aside(match *m, const match *attempt);
/* Joined location of the match's ops, and of those aside. */
MlirLocation match_location(const match *m);
/* A builder in front of the root, with the match's location. */
builder match_builder(const match *m);
/* `op` takes the place of the root, whose other ops are left to die. */
void match_replace(const match *m, MlirOperation op);

/* Both operands of a binary op in either order: swapped if `second`. */
MlirValue operand_in_order(MlirOperation op, int index, bool swapped);

/* Whether two values are the same elements in the same order, apart from reshapes. */
bool values_same_data(MlirValue a, MlirValue b);
/* Whether `number` is what `exact` becomes in a float type, to nearest. */
bool is_rounded(double number, double exact, pinion_dtype dtype);
/* Shapes alone. */
bool values_same_shape(MlirValue a, MlirValue b);

/* Runs `visit` on each op of one kind (OP_NONE: of any), in order, in every function but @weights; then removes what
 * died. */
typedef status match_visitor(pass_context *context, MlirOperation op);
status match_each(pass_context *context, MlirModule module, unsigned kinds, match_visitor *visit);
#define MATCH_KIND(kind) (1u << (kind))

#endif
