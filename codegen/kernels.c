/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * From launches to kernels: the target chooses source, tile and grid; launches whose sources are equal share one
 * instance.
 */
#define _GNU_SOURCE /* open_memstream */
#include "artifact.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Choosing ---- */

/* An instance under construction, found again by the digest of its source with a neutral name. */
typedef struct known_source {
  uint8_t digest[32];
  int instance;
} known_source;

typedef struct chooser {
  compilation *c;
  const program *p;
  const struct target *target;
  const tuning *tuning;
  kernel_plan *plan;
  known_source *known;
  size_t known_count, known_capacity, instance_capacity, candidate_capacity;
  bool is_optional; /* what is added now */
} chooser;

/* The tile that the tuning file names, if it is still legal; else the target's own choice. */
static bool choose_tuned(chooser *k, const kernel_problem *problem, kernel_choice *out_choice, const char **out_why) {
  text key = {0};
  kernel_problem_key(problem, &key);
  const char *tile = tuning_find(k->tuning, key.data);
  bool chosen = false;
  if (tile) {
    chosen = k->target->choose(k->c->arena, problem, tile, out_choice, out_why);
    if (!chosen) {
      text_free(&out_choice->defines);
      fprintf(stderr, "pinion: warning: tuned tile '%s' for `%s` is passed over: %s\n", tile, key.data, *out_why);
    }
  }
  text_free(&key);
  return chosen || k->target->choose(k->c->arena, problem, NULL, out_choice, out_why);
}

/* Family, kind, and the element types in the order of their first use. */
static const char *name_stem(arena *a, const kernel_problem *problem) {
  char *stem = arena_format(a, "%s%s%s", family_name(problem->family), problem->kind[0] ? "_" : "", problem->kind);
  for (int i = 0; i < problem->params.arg_count; i++) {
    bool seen = false;
    for (int j = 0; j < i; j++) seen |= problem->dtypes[j] == problem->dtypes[i];
    if (!seen) stem = arena_format(a, "%s_%s", stem, dtype_name(problem->dtypes[i]));
  }
  return stem;
}

/* The stem with the next free number. */
static const char *instance_name(chooser *k, const kernel_problem *problem) {
  const char *stem = name_stem(k->c->arena, problem);
  const size_t length = strlen(stem);
  int count = 0;
  for (int i = 0; i < k->plan->instance_count; i++) {
    const char *name = k->plan->instances[i].name;
    if (strncmp(name, stem, length) || name[length] != '_') continue;
    count += strspn(name + length + 1, "0123456789") == strlen(name + length + 1);
  }
  return arena_format(k->c->arena, "%s_%d", stem, count + 1);
}

static int add_instance(chooser *k, const kernel_problem *problem, const kernel_choice *choice) {
  kernel_plan *plan = k->plan;
  kernel_instance instance = {.name = instance_name(k, problem),
                              .family = problem->family,
                              .tile = choice->tile,
                              .is_optional = k->is_optional};
  text source = {0};
  kernel_instance_source(k->target, problem, choice, instance.name, &source);
  instance.source = arena_string(k->c->arena, source.data, source.length);
  instance.source_bytes = source.length;
  text_free(&source);
  plan->instances = arena_grow(k->c->arena, plan->instances, (size_t)plan->instance_count, &k->instance_capacity,
                               sizeof *plan->instances);
  plan->instances[plan->instance_count] = instance;
  return plan->instance_count++;
}

static int find_instance(chooser *k, const kernel_problem *problem, const kernel_choice *choice) {
  text neutral = {0};
  known_source source;
  sha256 hash;
  kernel_instance_source(k->target, problem, choice, "kernel", &neutral);
  sha256_begin(&hash);
  sha256_add(&hash, neutral.data, neutral.length);
  sha256_end(&hash, source.digest);
  text_free(&neutral);
  for (size_t i = 0; i < k->known_count; i++)
    if (!memcmp(k->known[i].digest, source.digest, sizeof source.digest)) return k->known[i].instance;
  source.instance = add_instance(k, problem, choice);
  k->known = arena_grow(k->c->arena, k->known, k->known_count, &k->known_capacity, sizeof *k->known);
  k->known[k->known_count++] = source;
  return source.instance;
}

/* What is launched; ends the choice. */
static void take_choice(chooser *k, const kernel_problem *problem, kernel_choice *choice, launch_kernel *out) {
  text key = {0};
  kernel_problem_key(problem, &key);
  *out = (launch_kernel){.problem = arena_string(k->c->arena, key.data, key.length),
                         .instance = find_instance(k, problem, choice),
                         .dynamic_shared_bytes = choice->dynamic_shared_bytes,
                         .tensor_map = choice->tensor_map,
                         .cost = choice->cost,
                         .work = kernel_problem_work(problem)};
  text_free(&key);
  memcpy(out->grid, choice->grid, sizeof out->grid);
  memcpy(out->block, choice->block, sizeof out->block);
  text_free(&choice->defines);
}

static status choose_launch(chooser *k, const program_launch *launch, kernel_problem *problem, launch_kernel *out) {
  const char *why = "";
  kernel_choice choice = {0};
  const status result = kernel_problem_of(k->c, k->p, launch, problem);
  if (result != STATUS_OK) return result;
  if (!choose_tuned(k, problem, &choice, &why)) {
    text_free(&choice.defines);
    return diagnose(&k->c->diagnostics, STATUS_UNSUPPORTED, launch->node_count ? launch->nodes[0] : NULL,
                    family_name(launch->family), "target %s has no kernel for it: %s", k->target->name, why);
  }
  take_choice(k, problem, &choice, out);
  return STATUS_OK;
}

/* The best tiles for a launch besides its own. */
static status choose_candidates(chooser *k, int index, int most, kernel_problem *problem) {
  enum { TILES_AT_MOST = 64 };
  const char *tiles[TILES_AT_MOST], *why;
  kernel_plan *plan = k->plan;
  const status result = kernel_problem_of(k->c, k->p, &k->p->launches[index], problem);
  const int count = result == STATUS_OK ? k->target->candidates(problem, tiles, TILES_AT_MOST) : 0;
  const char *own = plan->instances[plan->launches[index].instance].tile;
  for (int i = 0, taken = 0; i < count && taken < most && own; i++) {
    kernel_choice choice = {0};
    if (!strcmp(tiles[i], own) || !k->target->choose(k->c->arena, problem, tiles[i], &choice, &why)) continue;
    plan->candidates = arena_grow(k->c->arena, plan->candidates, (size_t)plan->candidate_count, &k->candidate_capacity,
                                  sizeof *plan->candidates);
    candidate_kernel *candidate = &plan->candidates[plan->candidate_count++];
    candidate->launch = index;
    take_choice(k, problem, &choice, &candidate->kernel);
    taken++;
  }
  return result;
}

status kernels_choose(compilation *c, const program *p, const struct target *target, const tuning *t, int candidates,
                      kernel_plan *out_plan) {
  *out_plan = (kernel_plan){.launches = arena_alloc(c->arena, sizeof(launch_kernel) * (size_t)(p->launch_count + 1))};
  chooser k = {.c = c, .p = p, .target = target, .tuning = t, .plan = out_plan};
  kernel_problem *problem = arena_alloc(c->arena, sizeof *problem);
  status result = STATUS_OK;
  for (int i = 0; i < p->launch_count; i++) { /* goes on after a failure: all of them are reported */
    const status one = choose_launch(&k, &p->launches[i], problem, &out_plan->launches[i]);
    if (result == STATUS_OK) result = one;
  }
  k.is_optional = true;
  for (int i = 0; i < p->launch_count && candidates && result == STATUS_OK; i++)
    result = choose_candidates(&k, i, candidates, problem);
  return result;
}

/* ---- Compiling ---- */

typedef struct compile_queue {
  const struct target *target;
  kernel_plan *plan;
  const char *file; /* the diagnostics' */
  atomic_int next;
  atomic_int result; /* the first failure's status */
  pthread_mutex_t report;
  diagnostics *diagnostics;
} compile_queue;

/* Each compilation reports into a stream of its own, so that two logs do not mix. */
static void compile_instance(compile_queue *queue, kernel_instance *instance) {
  char *log = NULL;
  size_t log_bytes = 0;
  diagnostics own = {.file = queue->file, .stream = open_memstream(&log, &log_bytes)};
  const status result = queue->target->compile(&own, instance->name, instance->source, &instance->blob);
  if (own.stream && result == STATUS_OK && instance->blob.spilled_bytes)
    fprintf(own.stream,
            "pinion: warning: kernel %s%s%s keeps %d bytes of a thread's registers in memory: "
            "what is fused into it is more than they hold\n",
            instance->name, instance->tile ? ", tile " : "", instance->tile ? instance->tile : "",
            instance->blob.spilled_bytes);
  if (own.stream) fclose(own.stream);
  if (instance->is_optional && result != STATUS_OK) {
    const char *said = log ? log : "";
    fprintf(stderr, "pinion: warning: a candidate is left out: %.*s\n", (int)strcspn(said, "\n"), said);
    free(log);
    return;
  }
  pthread_mutex_lock(&queue->report);
  if (log_bytes) fwrite(log, 1, log_bytes, queue->diagnostics->stream ? queue->diagnostics->stream : stderr);
  queue->diagnostics->error_count += own.error_count;
  pthread_mutex_unlock(&queue->report);
  free(log);
  int none = STATUS_OK;
  if (result != STATUS_OK) atomic_compare_exchange_strong(&queue->result, &none, (int)result);
}

static void *compile_worker(void *user) {
  compile_queue *queue = user;
  for (;;) {
    const int i = atomic_fetch_add(&queue->next, 1);
    if (i >= queue->plan->instance_count || atomic_load(&queue->result) != STATUS_OK) return NULL;
    compile_instance(queue, &queue->plan->instances[i]);
  }
}

/* Removes the optional instances that did not compile, and the candidates that would use them. */
static void drop_failed(compilation *c, kernel_plan *plan) {
  int *place = arena_alloc(c->arena, sizeof *place * (size_t)(plan->instance_count + 1)), instances = 0, kept = 0;
  for (int i = 0; i < plan->instance_count; i++) {
    const bool failed = plan->instances[i].is_optional && !plan->instances[i].blob.data;
    place[i] = failed ? -1 : instances;
    if (!failed) plan->instances[instances++] = plan->instances[i];
  }
  plan->instance_count = instances; /* those of the launches come first, and stay where they are */
  for (int i = 0; i < plan->candidate_count; i++) {
    candidate_kernel candidate = plan->candidates[i];
    candidate.kernel.instance = place[candidate.kernel.instance];
    if (candidate.kernel.instance >= 0) plan->candidates[kept++] = candidate;
  }
  plan->candidate_count = kept;
}

status kernels_compile(compilation *c, const struct target *target, kernel_plan *plan) {
  if (!target->compile) return STATUS_OK;
  enum { THREADS_AT_MOST = 16 };
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  const int wanted = cores < 2 ? 1 : cores > THREADS_AT_MOST ? THREADS_AT_MOST : (int)cores - 1;
  compile_queue queue = {.target = target,
                         .plan = plan,
                         .file = c->diagnostics.file,
                         .report = PTHREAD_MUTEX_INITIALIZER,
                         .diagnostics = &c->diagnostics};
  pthread_t threads[THREADS_AT_MOST];
  int started = 0;
  while (started < wanted && !pthread_create(&threads[started], NULL, compile_worker, &queue)) started++;
  compile_worker(&queue);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  if (atomic_load(&queue.result) == STATUS_OK) drop_failed(c, plan);
  return (status)atomic_load(&queue.result);
}

void kernels_free(kernel_plan *plan) {
  for (int i = 0; i < plan->instance_count; i++) free(plan->instances[i].blob.data);
  *plan = (kernel_plan){0};
}
