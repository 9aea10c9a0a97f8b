/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Iteration spaces: dimensions that are one for all arguments become one. */
#include "lower.h"

#include <stdlib.h>

void space_add(iteration_space *s, const view *v) {
  space_arg *arg = &s->args[s->arg_count++];
  *arg = (space_arg){.buffer = v->buffer, .offset = v->offset, .step_stride = v->step_stride};
  for (int d = 0; d < s->rank; d++) arg->stride[d] = s->size[d] == 1 ? 0 : v->stride[d];
}

static void space_drop(iteration_space *s, int dimension) {
  s->rank--;
  for (int d = dimension; d < s->rank; d++) {
    s->size[d] = s->size[d + 1];
    for (int a = 0; a < s->arg_count; a++) s->args[a].stride[d] = s->args[a].stride[d + 1];
  }
  s->size[s->rank] = 0;
  for (int a = 0; a < s->arg_count; a++) s->args[a].stride[s->rank] = 0;
}

static void space_swap(iteration_space *s, int d, int e) {
  const int64_t size = s->size[d];
  s->size[d] = s->size[e], s->size[e] = size;
  for (int a = 0; a < s->arg_count; a++) {
    int64_t *stride = s->args[a].stride;
    const int64_t kept = stride[d];
    stride[d] = stride[e], stride[e] = kept;
  }
}

bool space_merge(iteration_space *s, int d) {
  if (s->size[d] == 1) {
    space_drop(s, d);
    return true;
  }
  if (s->size[d + 1] != 1)
    for (int a = 0; a < s->arg_count; a++)
      if (s->args[a].stride[d] != s->args[a].stride[d + 1] * s->size[d + 1]) return false;
  if (s->size[d + 1] == 1)
    for (int a = 0; a < s->arg_count; a++) s->args[a].stride[d + 1] = s->args[a].stride[d];
  s->size[d + 1] *= s->size[d];
  space_drop(s, d);
  return true;
}

/* Merges neighbours within [first, last) where they are one dimension; returns how many are left. */
static int merge_range(iteration_space *s, int first, int last) {
  for (int d = last - 2; d >= first; d--)
    if (space_merge(s, d)) last--;
  return last - first;
}

int space_simplify(iteration_space *s, int fixed, bool merge_fixed) {
  int outer = s->rank - fixed;
  for (int d = outer - 1; d >= 0; d--)
    if (s->size[d] == 1 && s->rank > 1) space_drop(s, d), outer--;
  for (int d = 1; d < outer; d++) /* insertion sort: stable, at most eight */
    for (int e = d; e > 0 && llabs(s->args[0].stride[e - 1]) < llabs(s->args[0].stride[e]); e--)
      space_swap(s, e - 1, e);
  outer = merge_range(s, 0, outer);
  if (merge_fixed) fixed = merge_range(s, outer, outer + fixed);
  if (s->rank == 0) s->rank = 1, s->size[0] = 1;
  return fixed;
}
