/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Which query of an attention sees which key, and when: from its mask, causality and limits. */
#ifndef PINION_PASSES_ATTENTION_SIGHT_H
#define PINION_PASSES_ATTENTION_SIGHT_H

#include "mask_values.h"

/* A finite number in an additive mask below which a key is hidden: it swallows any score. */
#define MASK_HIDES_BELOW (-1e30)

typedef struct attention_sight {
  int64_t queries, keys;
  int64_t batches, heads; /* 1 where all see alike */
  bool masked;            /* there is a mask; `elements` NULL: nothing is known of it */
  bool adds;              /* rather than a mask of truth values */
  const mask_element *elements;
  int64_t stride[4]; /* of elements along batch, head, query, key */
  bool causal;
  int64_t limits[5];
  int limit_count;
} attention_sight;

attention_sight attention_sight_read(mask_values *m, MlirOperation attention);

/* How many keys, from the first, the query may see by causality and limits. */
int64_t sight_visible_keys(const attention_sight *s, int64_t query);

/* Where the key may be seen: it holds at least there. */
condition sight_possible(const attention_sight *s, int64_t batch, int64_t head, int64_t query, int64_t key);

/* Where the key is certain to be seen: it holds at most there. */
condition sight_certain(const attention_sight *s, int64_t batch, int64_t head, int64_t query, int64_t key);

/* Whether the mask does nothing to a score but leave it as it is, exactly where sight_possible says, or hide it. */
bool sight_is_exact(const attention_sight *s, int64_t batch, int64_t head, int64_t query, int64_t key);

/* Whether the query is certain to see a key wherever `given` holds. */
bool sight_sees_a_key(const attention_sight *s, int64_t batch, int64_t head, int64_t query, condition given);

/* Whether a query that sees no key gets the mean of all of them (hidden by finite numbers), rather than zeros. */
bool sight_needs_a_key(const attention_sight *s);

#endif
