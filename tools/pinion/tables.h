/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What a manifest adds up to: work by stage and by kind of launch, the memory plan over the program. One computation,
 * shown as text, as JSON and as HTML.
 */
#ifndef PINION_TOOLS_TABLES_H
#define PINION_TOOLS_TABLES_H

#include "manifest.h"

/* Sums over launches. A launch of a stage that is repeated counts once in `launches`, and each time in all else: one
   call of the model. */
typedef struct work_sum {
  double launches, executed;
  double flops, bytes;
  double estimated; /* microseconds, by the cost model */
  double measured;  /* microseconds, by a profile; 0 without one */
} work_sum;

typedef struct work_row {
  const char *name;
  bool moves_data; /* a kind: it computes nothing, but copies or gathers */
  double repeat;   /* a stage: how often it runs */
  work_sum sum;
} work_row;

typedef struct work_tables {
  work_row *stages, *kinds; /* kinds: those that compute by FLOPs, then those that move data */
  size_t stage_count, kind_count;
  work_sum *cells; /* [kind][stage] */
  work_sum total, moved;
} work_tables;

/* `measured`: microseconds of each launch of the table in one call, all its steps together; NULL without a profile.
   Everything is the arena's. */
void tables_read(arena *a, const json *manifest, const double *measured, work_tables *out_tables);
/* As a JSON object; appends. */
void tables_append_json(const work_tables *t, text *out);

/* When the memory of a buffer is in use: from one launch to another, both included. What a repeated stage reads, and
   did not write itself, is in use to the stage's end. */
typedef struct buffer_life {
  bool is_used;
  size_t first, last;
} buffer_life;

typedef struct memory_plan {
  buffer_life *lives; /* per buffer of the manifest */
  double peak;        /* bytes in use at most; the arena may be larger */
  size_t peak_launch;
} memory_plan;

/* Of the arena's buffers. */
void memory_plan_read(arena *a, const json *manifest, memory_plan *out_plan);

#endif
