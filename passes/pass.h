/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Passes: one file, one public function each, named in passes.def. A pass rewrites a module in place and says in its
 * file's first comment what it requires, produces and breaks.
 */
#ifndef PINION_PASS_H
#define PINION_PASS_H

#include "../ir/ir.h"

typedef struct target target; /* targets/target.h; NULL where a pass runs without one */

typedef struct remark_log remark_log; /* remarks.h */

typedef struct pass_context {
  compilation *compilation;
  const target *target;
  remark_log *remarks;       /* of the pipeline, behind pass_missed; NULL: nobody wants to know */
  int changes;               /* a pass counts what it rewrote: for --timing and tests */
  struct rewrite_gate *gate; /* of the pipeline, behind pass_may_rewrite; NULL: everything may be rewritten */
} pass_context;

typedef status pass_function(pass_context *context, MlirModule module);

typedef struct pass_info {
  const char *name;
  pass_function *run;
  bool required;       /* cannot be disabled */
  unsigned levels;     /* ops that may be present afterwards: module_verify's bit set */
  const char *summary; /* one line for `pinion passes` */
} pass_info;

extern const pass_info pass_table[];
extern const int pass_table_count;
const pass_info *pass_find(const char *name); /* NULL if there is none */

/* ---- Which rewrites are made ---- */

/* Asked by every optional pass, once for each rewrite, where nothing else speaks against it: whether it may rewrite the
   ops of this location (all that the rewrite takes in, joined). No where --disable-pass=PASS@PLACE names one of them,
   and beyond a limit. A required pass need not ask. Yes is also the remark that the pass fired there. */
bool pass_may_rewrite(pass_context *context, MlirLocation location);
/* The same for clean-up, which asks about each op that it looks at, before it knows whether there is something to
   rewrite: no remark. */
bool pass_may_simplify(pass_context *context, MlirLocation location);

/* Says under --remarks what nearly fired at `location` (of the rewrite's root, or of all that it would take in), and
   why it did not: the one thing that speaks against a pattern that is otherwise there. */
void pass_missed(const pass_context *context, MlirLocation location, const char *why_format, ...) PRINTF_LIKE(3, 4);

/* Only the first rewrites of optional passes, in the pipeline's order, are made: how a broken one is found. */
typedef struct rewrite_limit {
  int64_t allowed;       /* INT64_MAX: all */
  int64_t made;          /* out, like the rest */
  const char *pass;      /* of the last one made; NULL if there was none */
  MlirLocation location; /* the same; lives as long as the context */
} rewrite_limit;

typedef struct pipeline_options {
  const char *passes;          /* comma-separated names; NULL: the default pipeline */
  const char *const *disabled; /* --disable-pass: NAME or NAME@PLACE; borrowed */
  int disabled_count;
  rewrite_limit *limit;    /* borrowed; NULL: none */
  const char *dump_after;  /* a pass's name, "all", or NULL */
  const char *dump_folder; /* NULL: dumps go to stderr */
  bool timing;
  FILE *remarks; /* where they go; NULL: there are none */
  const target *target;
} pipeline_options;

/* Runs a pipeline under MLIR's pass manager, verifying after each pass. Once the limit is
   reached, optional passes are left out. Warns of a PLACE where the pass would have rewritten nothing; one where no op
   lies is a usage error. */
status pipeline_run(compilation *c, MlirModule module, const pipeline_options *options);

/* Names of the default pipeline for a target, in order, NULL-terminated. */
const char *const *pipeline_default(void);
/* Those before the first that makes launches, comma-separated: what they leave can still be interpreted. The arena's.
 */
const char *pipeline_before_launches(arena *a);

#define PASS(name, function, required, levels, summary) pass_function function;
#include "passes.def"
#undef PASS

#endif
