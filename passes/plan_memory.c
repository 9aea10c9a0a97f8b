/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * plan-memory: static offsets for arena buffers, and what each launch has to wait for.
 *
 * requires  launch level
 * produces  `offset` of every arena buffer, `after` of every launch, `pinion.arena_bytes`
 * breaks    nothing
 *
 * A buffer lives from the first launch that writes it to the last one that touches it. One that a repeated stage shares
 * with what is before or after it, or reads before it writes, lives through all of that stage. Buffers are placed
 * largest first, each into the smallest gap that it fits. A launch waits for those before it whose bytes it reads, or
 * that use bytes it overwrites, except where waiting for another one already implies it.
 */
#include "pass.h"

#include "../ir/launch.h"

#include <stdlib.h>
#include <string.h>

/* ---- Lifetimes ---- */

typedef struct lifetime {
  int buffer;
  int first, last; /* launches, both included */
  int64_t bytes, offset;
} lifetime;

/* The launches of `stage` that touch the buffer lie between *first and *last; what is carried from step to step is read
   before it is written. */
typedef struct stage_use {
  int first, last;
  bool reads_first;
} stage_use;

static bool touches(const program_launch *launch, int buffer, bool *out_reads) {
  bool found = false;
  *out_reads = false;
  for (int a = 0; a < launch->params.arg_count; a++) {
    if (launch->buffers[a] != buffer) continue;
    found = true;
    if (a >= launch->result_count) *out_reads = true;
  }
  return found;
}

/* Lifetimes of all arena buffers that a launch touches, as launch numbers; `out` has room for every buffer. */
static int find_lifetimes(const program *p, arena *a, lifetime *out) {
  stage_use *uses = arena_alloc(a, sizeof *uses * (size_t)(p->buffer_count * p->stage_count + 1));
  for (int i = 0; i < p->buffer_count * p->stage_count; i++) uses[i].first = -1;
  for (int i = 0; i < p->launch_count; i++) {
    const program_launch *launch = &p->launches[i];
    for (int arg = 0; arg < launch->params.arg_count; arg++) {
      stage_use *use = &uses[launch->buffers[arg] * p->stage_count + launch->stage];
      if (use->first < 0) {
        use->first = i;
        touches(launch, launch->buffers[arg], &use->reads_first);
      }
      use->last = i;
    }
  }
  int count = 0;
  for (int b = 0; b < p->buffer_count; b++) {
    if (p->buffers[b].space != PINION_SPACE_ARENA) continue;
    lifetime life = {.buffer = b, .first = -1, .bytes = p->buffers[b].bytes};
    int stages_used = 0;
    for (int s = 0; s < p->stage_count; s++) stages_used += uses[b * p->stage_count + s].first >= 0;
    for (int s = 0; s < p->stage_count; s++) {
      const stage_use *use = &uses[b * p->stage_count + s];
      if (use->first < 0) continue;
      const program_stage *stage = &p->stages[s];
      const bool throughout = stage->repeat > 1 && (stages_used > 1 || use->reads_first);
      const int first = throughout ? stage->first_launch : use->first;
      const int last = throughout ? stage->first_launch + stage->launch_count - 1 : use->last;
      if (life.first < 0) life.first = first;
      life.last = last;
    }
    if (life.first >= 0) out[count++] = life;
  }
  return count;
}

/* ---- Offsets ---- */

static int by_size(const void *a, const void *b) {
  const lifetime *x = a, *y = b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  if (x->first != y->first) return x->first < y->first ? -1 : 1;
  return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

static int by_offset(const void *a, const void *b) {
  const lifetime *const *x = a, *const *y = b;
  if ((*x)->offset != (*y)->offset) return (*x)->offset < (*y)->offset ? -1 : 1;
  return (*x)->buffer<(*y)->buffer ? -1 : (*x)->buffer>(*y)->buffer;
}

static int64_t align_up(int64_t bytes) {
  return (bytes + PINION_BASE_ALIGN - 1) / PINION_BASE_ALIGN * PINION_BASE_ALIGN;
}

/* The smallest gap of at least `bytes` between neighbours, which are sorted by offset; else behind them all. */
static int64_t best_gap(lifetime *const *neighbours, int count, int64_t bytes) {
  int64_t end = 0, best = -1, best_size = INT64_MAX;
  for (int i = 0; i < count; i++) {
    const int64_t gap = neighbours[i]->offset - end;
    if (gap >= bytes && gap < best_size) best = end, best_size = gap;
    const int64_t next = align_up(neighbours[i]->offset + neighbours[i]->bytes);
    if (next > end) end = next;
  }
  return best >= 0 ? best : end;
}

/* Places all; returns the arena's size. */
static int64_t assign_offsets(lifetime *lives, int count, arena *a) {
  lifetime **neighbours = arena_alloc(a, sizeof *neighbours * (size_t)(count + 1));
  int64_t total = 0;
  qsort(lives, (size_t)count, sizeof *lives, by_size);
  for (int i = 0; i < count; i++) {
    int neighbour_count = 0;
    for (int j = 0; j < i; j++)
      if (lives[j].first <= lives[i].last && lives[i].first <= lives[j].last) neighbours[neighbour_count++] = &lives[j];
    qsort(neighbours, (size_t)neighbour_count, sizeof(lifetime *), by_offset);
    lives[i].offset = best_gap(neighbours, neighbour_count, lives[i].bytes);
    const int64_t end = align_up(lives[i].offset + lives[i].bytes);
    if (end > total) total = end;
  }
  return total;
}

/* ---- Dependencies ---- */

/* Bytes that an argument touches, in one address space for everything that is written. */
typedef struct touched {
  int64_t first, last;
  int place; /* PINION_SPACE_ARENA, or a number of its own for each input and output; -1: read-only memory */
  bool written;
} touched;

static touched touched_bytes(const program *p, const program_launch *launch, int arg) {
  touched t = {.written = arg < launch->result_count};
  const int b = launch->buffers[arg];
  program_arg_range(p, launch, arg, &t.first, &t.last);
  switch (p->buffers[b].space) {
  case PINION_SPACE_ARENA:
    t.place = PINION_SPACE_ARENA;
    t.first += p->buffers[b].offset;
    t.last += p->buffers[b].offset;
    break;
  case PINION_SPACE_OUTPUT: t.place = PINION_SPACE_COUNT + b; break;
  default: t.place = -1;
  }
  return t;
}

static bool conflicts(const touched *a, int a_count, const touched *b, int b_count) {
  for (int i = 0; i < a_count; i++)
    for (int j = 0; j < b_count; j++)
      if ((a[i].written || b[j].written) && a[i].place == b[j].place && a[i].place >= 0 && a[i].first < b[j].last &&
          b[j].first < a[i].last)
        return true;
  return false;
}

#define WORD_BITS 64

/* Fills launch `i`'s dependencies: nearest first, passing over what a nearer one waits for. reached: a bit set of
   launches for each launch. */
static int find_dependencies(const touched *all, const int *arg_counts, int i, uint64_t *reached, size_t words,
                             int64_t *out) {
  uint64_t *own = &reached[(size_t)i * words];
  int count = 0;
  for (int j = i - 1; j >= 0; j--) {
    if (own[j / WORD_BITS] >> (j % WORD_BITS) & 1) continue;
    if (!conflicts(&all[i * PINION_MAX_ARGS], arg_counts[i], &all[j * PINION_MAX_ARGS], arg_counts[j])) continue;
    for (size_t w = 0; w < words; w++) own[w] |= reached[(size_t)j * words + w];
    own[j / WORD_BITS] |= (uint64_t)1 << (j % WORD_BITS);
    out[count++] = j;
  }
  for (int k = 0; k < count / 2; k++) { /* ascending */
    const int64_t kept = out[k];
    out[k] = out[count - 1 - k], out[count - 1 - k] = kept;
  }
  return count;
}

static void set_attribute(MlirOperation op, const char *name, MlirAttribute value) {
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString(name), value);
}

static void assign_dependencies(compilation *c, const program *p) {
  const size_t count = (size_t)p->launch_count, words = (count + WORD_BITS - 1) / WORD_BITS;
  arena *a = arena_create();
  touched *all = arena_alloc(a, sizeof *all * (count * PINION_MAX_ARGS + 1));
  int *arg_counts = arena_alloc(a, sizeof *arg_counts * (count + 1));
  uint64_t *reached = arena_alloc(a, sizeof *reached * (count * words + 1));
  int64_t *after = arena_alloc(a, sizeof *after * (count + 1));
  for (int i = 0; i < p->launch_count; i++) {
    const program_launch *launch = &p->launches[i];
    arg_counts[i] = launch->params.arg_count;
    for (int arg = 0; arg < arg_counts[i]; arg++) all[i * PINION_MAX_ARGS + arg] = touched_bytes(p, launch, arg);
    const int after_count = find_dependencies(all, arg_counts, i, reached, words, after);
    set_attribute(launch->op, "after", make_i64s(c->context, after_count, after));
  }
  arena_destroy(a);
}

status pass_plan_memory(pass_context *context, MlirModule module) {
  compilation *c = context->compilation;
  program p;
  const status result = program_read(c, module, &p);
  if (result != STATUS_OK) return result;
  lifetime *lives = arena_alloc(c->arena, sizeof *lives * (size_t)(p.buffer_count + 1));
  const int count = find_lifetimes(&p, c->arena, lives);
  p.arena_bytes = assign_offsets(lives, count, c->arena);
  for (int i = 0; i < count; i++) {
    program_buffer *buffer = &p.buffers[lives[i].buffer];
    buffer->offset = lives[i].offset;
    set_attribute(buffer->op, "offset", make_i64(c->context, buffer->offset));
  }
  set_attribute(mlirModuleGetOperation(module), "pinion.arena_bytes", make_i64(c->context, p.arena_bytes));
  assign_dependencies(c, &p);
  context->changes += count;
  return STATUS_OK;
}
