/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Proves that N pieces of one function are copies of each other: a backward match of all of them at once.
 *
 * It walks tuples of values, one per copy. A tuple (v_1 .. v_N) is
 *   carried    when v_s is the value that copy s receives (the previous step's result; the camera's image);
 *   invariant  when all v_s are the same value;
 *   a table    when all v_s are constants or weights of one type: what differs between the copies;
 *   ops        when all are the same result of ops with equal names, attributes and types, whose operands match in
 * turn. Anything else is a mismatch. Names and locations are never looked at. Tuples are told apart as wholes, so
 * values that the exporter, or merging equal ops, shares in some copies and not in others still match.
 */
#ifndef PINION_PASSES_MATCH_COPIES_H
#define PINION_PASSES_MATCH_COPIES_H

#include "graph.h"

typedef enum tuple_kind { TUPLE_CARRIED, TUPLE_INVARIANT, TUPLE_TABLE, TUPLE_OPS } tuple_kind;

typedef struct copy_tuple {
  const MlirValue *values; /* one per copy */
  const int *operands;     /* TUPLE_OPS: tuples of the operands */
  int operand_count;
  int64_t position; /* TUPLE_OPS: of the first copy's op in the function */
  tuple_kind kind;
  bool varies; /* depends on the carried value or on a table */
} copy_tuple;

typedef struct copy_match {
  int copies;
  copy_tuple *tuples; /* the arena's; in the order they were met, results first */
  int tuple_count, tuple_capacity;
  int *ordered; /* the varying TUPLE_OPS, operands before users */
  int ordered_count;
  const char *why;       /* of a mismatch: a sentence, the arena's */
  MlirValue mismatch[2]; /* the first two values that differ */
} copy_match;

/* What a match needs to know about the function. */
typedef struct match_graph {
  arena *arena;
  const op_list *ops;
  const pointer_map *positions;
} match_graph;

/* results: result_count tuples, [result][copy]. Returns false on a mismatch. The first result_count tuples of the match
   are the results, if those are distinct. */
bool copies_match(const match_graph *graph, int copies, const MlirValue *carried, int result_count,
                  const MlirValue *results, copy_match *out_match);

/* The tuple of these values, which must be part of the match. */
int copy_match_find(const copy_match *match, const MlirValue *values);

/* Whether `value` needs contractions (matmul, conv, gemm, attention): the work that makes outlining worth it. */
bool op_is_contraction(MlirOperation op);

/* Fused location of a tuple's ops, one part per copy. */
MlirLocation copies_location(compilation *c, arena *a, const copy_match *match, const copy_tuple *tuple);
/* `op` stands for a tuple's ops: its `onnx` becomes an array, which value its result is in each copy. */
void copies_set_identity(compilation *c, arena *a, const copy_match *match, const copy_tuple *tuple, MlirOperation op);

#endif
