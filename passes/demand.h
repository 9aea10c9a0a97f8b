/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Which places of each value the model's outputs need, and when: a walk from the outputs back to the inputs, across
 * functions, op by op and dimension by dimension. What an attention hides, its result does not need.
 *
 * Where a place is not needed, any finite number may stand, and no output changes.
 */
#ifndef PINION_PASSES_DEMAND_H
#define PINION_PASSES_DEMAND_H

#include "attention_sight.h"

/* ---- What is needed of one value ---- */

/* A condition for each place: where it is needed. A dimension along which all are alike has size 1. */
typedef struct demand {
  int rank; /* the value's */
  int64_t dims[PINION_MAX_RANK];
  condition *when; /* row-major, the arena's; NULL: nothing is ever needed */
} demand;

demand demand_everything(arena *a, int rank);
bool demand_is_empty(const demand *d);
/* Where the place is needed: an index for each dimension. */
condition demand_at(const demand *d, const int64_t *index);
demand demand_copy(arena *a, const demand *d);
/* What either needs: demands of one value. It is one of them, not copied, where that needs all that the other does. */
demand demand_join(arena *a, const demand *x, const demand *y);
/* Whether a position along a dimension is ever needed. */
bool demand_has(const demand *d, int dimension, int64_t position);

/* ---- What ops need ---- */

typedef struct demand_rules {
  arena *arena;          /* borrowed */
  mask_values *masks;    /* the same */
  pointer_map *doubtful; /* attentions of which a query that is needed is not proved to see a key: what they hide is
                            needed. Found when `removing` is not set */
  /* Positions that are not needed shall leave the graph. Then conditions are ALWAYS or NEVER, and what is needed is a
     set of positions for each dimension, the same at all places of the others. */
  bool removing;
  /* When removing, or NULL: what was needed before something was found not to be. What was not even then stays too. */
  const struct demand_map *before;
} demand_rules;

/* What an op (no call, no pinion.steps) of one result, or several of one shape, needs of an operand, given what is
   needed of its results. */
demand demand_of_operand(demand_rules *r, MlirOperation op, intptr_t operand, const demand *needed);
/* When removing: what the op can make instead of its whole result, where `needed` is wanted of it: at least that. */
demand demand_settle(demand_rules *r, MlirOperation op, const demand *needed);

/* When removing: what stays of a value of which this is needed. */
demand demand_keep_others(const demand_rules *r, MlirValue value, const demand *needed);

/* The function whose values are looked into for what a call, or a pinion.steps, needs; null: all that it passes is
   needed. When removing, a function is followed from its only caller. */
MlirOperation demand_followed_callee(const demand_rules *r, MlirOperation call);

/* ---- What a module needs ---- */

typedef struct demand_map {
  pointer_map index; /* value -> index into `entries` */
  demand *entries;
  size_t count, capacity;
} demand_map;
/* Empty if nothing is needed of it. */
demand demand_map_get(const demand_map *map, MlirValue value);

typedef struct demand_analysis {
  demand_rules rules;
  demand_map needed; /* of every value, in whichever call */
} demand_analysis;

/* When what is needed, for proofs. In the masks' arena. */
demand_analysis demand_analyse(mask_values *masks, MlirModule module);
/* What cannot be removed, given the proofs about the same module. The arguments of @main are whole, and so is all of a
   function that has several callers. `before`, unless NULL: the same of the module as it was: of what it needs alone is
   anything removed. */
demand_analysis demand_analyse_removable(const demand_analysis *proofs, MlirModule module, const demand_map *before);

#endif
