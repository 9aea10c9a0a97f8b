/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What stands behind pass_may_rewrite: the places where passes are switched off, and the count of rewrites. The
 * pipeline opens one gate for a run, and says which pass is running.
 *
 * A place is part of a location `NODE@MODULE.PATH`: it matches where it occurs with an end or one of `/ . @` on both
 * sides. Of a fused location any part counts.
 */
#ifndef PINION_PASSES_GATE_H
#define PINION_PASSES_GATE_H

#include "pass.h"

typedef struct disabled_place {
  const char *pass, *place; /* the arena's */
  bool met;                 /* a rewrite was refused there */
} disabled_place;

typedef struct rewrite_gate {
  compilation *compilation;
  rewrite_limit *limit; /* borrowed; NULL: none */
  disabled_place *places;
  int place_count;
  const pass_info *pass; /* the one that is running */
  bool asked;            /* it has asked */
} rewrite_gate;

/* Whether `place` is part of the location. */
bool location_lies_in(MlirLocation location, const char *place);

/* Takes NAME@PLACE out of the options' list of disabled passes (a bare NAME is the pipeline's own business). An empty
   place, or one where no op of the module lies, is diagnosed (STATUS_USAGE). */
status gate_open(rewrite_gate *gate, compilation *c, MlirModule module, const pipeline_options *options);
/* False if the pass is to be left out. */
bool gate_begin(rewrite_gate *gate, const pass_info *pass);
/* An optional pass that changed something must have asked: diagnoses a bug (STATUS_FAILED) if it has not. */
status gate_end(rewrite_gate *gate, int changes);
/* Warns of places where nothing would have been rewritten; not under a limit. */
void gate_close(const rewrite_gate *gate);

#endif
