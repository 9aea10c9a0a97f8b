/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Hand-over: the caller publishes (work, user, total) and then `ticket`, whose low half counts the blocks that nobody
 * has claimed. Whoever lowers it by compare-and-swap owns the blocks in between, and only then reads (work, user,
 * total): they cannot change before the claimed blocks are counted off `unfinished`. A worker that comes late finds no
 * block and touches nothing, so the caller never waits for one that is still asleep.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CACHE_LINE 64
#define SPIN_NANOSECONDS                                                                                               \
  100000 /* longer than most gaps between two parallel launches, shorter than a control period                         \
          */
#define SPINS_PER_LOOK_AT_CLOCK 64
#define CLAIMS_PER_WORKER 4 /* blocks are claimed in runs that leave this many for each worker to even out */

struct pinion_thread_pool {
  alignas(CACHE_LINE) _Atomic uint64_t ticket; /* phase << 32 | blocks not yet claimed */
  alignas(CACHE_LINE) _Atomic uint32_t unfinished;
  alignas(CACHE_LINE) pinion_thread_work *work; /* these three are stable while a claimed block is unfinished */
  void *user;
  uint32_t total;

  alignas(CACHE_LINE) _Atomic uint32_t sleeping_workers;
  _Atomic bool caller_sleeps, stop;
  bool may_spin; /* not with more workers than cores: the spinner would hold the core that the work needs */
  uint32_t size, thread_count;
  pthread_mutex_t owner; /* held by the caller for a replay */
  pthread_mutex_t mutex; /* guards going to sleep */
  pthread_cond_t work_published, work_finished;
  pthread_t threads[];
};

typedef struct worker_start {
  pinion_thread_pool *pool;
  uint32_t worker;
} worker_start;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb" ::: "memory"); /* yield is a no-op on most cores */
#endif
}

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool no_work(pinion_thread_pool *pool) {
  return (uint32_t)atomic_load(&pool->ticket) == 0 && !atomic_load(&pool->stop);
}

static bool not_finished(pinion_thread_pool *pool) {
  return atomic_load(&pool->unfinished) != 0;
}

/* Spins while `condition` holds, for a moment at most; false if it still holds. */
static bool spin_while(pinion_thread_pool *pool, bool (*condition)(pinion_thread_pool *)) {
  if (!condition(pool)) return true;
  if (!pool->may_spin) return false;
  int64_t end = nanoseconds() + SPIN_NANOSECONDS;
  do {
    for (int i = 0; i < SPINS_PER_LOOK_AT_CLOCK; i++) {
      if (!condition(pool)) return true;
      relax();
    }
  } while (nanoseconds() < end);
  return false;
}

/* Claims some blocks; 0 if there are none. */
static uint32_t claim(pinion_thread_pool *pool, uint32_t *out_first) {
  uint64_t ticket = atomic_load(&pool->ticket);
  uint32_t remaining, count;
  do {
    remaining = (uint32_t)ticket;
    if (remaining == 0) return 0;
    count = remaining / (pool->size * CLAIMS_PER_WORKER);
    if (count == 0) count = 1;
  } while (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket - count));
  *out_first = pool->total - remaining;
  return count;
}

static void finish(pinion_thread_pool *pool, uint32_t count) {
  if (atomic_fetch_sub(&pool->unfinished, count) != count || !atomic_load(&pool->caller_sleeps)) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_signal(&pool->work_finished);
  pthread_mutex_unlock(&pool->mutex);
}

static void work_until_none_is_left(pinion_thread_pool *pool, uint32_t worker) {
  uint32_t first, count;
  while ((count = claim(pool, &first)) != 0) {
    pool->work(pool->user, first, count, worker);
    finish(pool, count);
  }
}

static void sleep_until_work(pinion_thread_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->sleeping_workers, 1);
  while (no_work(pool)) pthread_cond_wait(&pool->work_published, &pool->mutex);
  atomic_fetch_sub(&pool->sleeping_workers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
  worker_start start = *(worker_start *)argument;
  free(argument);
  while (!atomic_load(&start.pool->stop)) {
    if (!spin_while(start.pool, no_work)) sleep_until_work(start.pool);
    work_until_none_is_left(start.pool, start.worker);
  }
  return NULL;
}

static void wake_workers(pinion_thread_pool *pool) {
  if (atomic_load(&pool->sleeping_workers) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->work_published);
  pthread_mutex_unlock(&pool->mutex);
}

static void wait_until_finished(pinion_thread_pool *pool) {
  if (spin_while(pool, not_finished)) return;
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->caller_sleeps, true);
  while (not_finished(pool)) pthread_cond_wait(&pool->work_finished, &pool->mutex);
  atomic_store(&pool->caller_sleeps, false);
  pthread_mutex_unlock(&pool->mutex);
}

void pinion_thread_pool_run(pinion_thread_pool *pool, pinion_thread_work *work, void *user, uint32_t block_count) {
  if (pool->thread_count == 0 || block_count <= 1) {
    if (block_count) work(user, 0, block_count, 0);
    return;
  }
  pool->work = work;
  pool->user = user;
  pool->total = block_count;
  atomic_store(&pool->unfinished, block_count);
  uint64_t phase = (atomic_load(&pool->ticket) >> 32) + 1;
  atomic_store(&pool->ticket, phase << 32 | block_count);
  wake_workers(pool);
  work_until_none_is_left(pool, 0);
  wait_until_finished(pool);
}

void pinion_thread_pool_acquire(pinion_thread_pool *pool) {
  pthread_mutex_lock(&pool->owner);
}

void pinion_thread_pool_release(pinion_thread_pool *pool) {
  pthread_mutex_unlock(&pool->owner);
}

uint32_t pinion_thread_pool_size(const pinion_thread_pool *pool) {
  return pool->size;
}

static bool start_worker(pinion_thread_pool *pool, uint32_t worker) {
  worker_start *start = malloc(sizeof *start);
  if (!start) return false;
  *start = (worker_start){pool, worker};
  if (pthread_create(&pool->threads[pool->thread_count], NULL, worker_main, start) != 0) {
    free(start);
    return false;
  }
  pool->thread_count++;
  return true;
}

pinion_thread_pool *pinion_thread_pool_create(uint32_t worker_count) {
  if (worker_count == 0 || worker_count > PINION_MAX_THREADS) return NULL;
  size_t bytes = sizeof(pinion_thread_pool) + (worker_count - 1) * sizeof(pthread_t);
  pinion_thread_pool *pool = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
  if (!pool) return NULL;
  *pool = (pinion_thread_pool){.size = worker_count, .may_spin = worker_count <= pinion_core_count()};
  pthread_mutex_init(&pool->owner, NULL);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->work_published, NULL);
  pthread_cond_init(&pool->work_finished, NULL);
  sigset_t all, before; /* signals are the program's: its own threads take them */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  uint32_t worker = 1;
  while (worker < worker_count && start_worker(pool, worker)) worker++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (worker == worker_count) return pool;
  pinion_thread_pool_destroy(pool);
  return NULL;
}

void pinion_thread_pool_destroy(pinion_thread_pool *pool) {
  if (!pool) return;
  atomic_store(&pool->stop, true);
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->work_published);
  pthread_mutex_unlock(&pool->mutex);
  for (uint32_t i = 0; i < pool->thread_count; i++) pthread_join(pool->threads[i], NULL);
  pthread_cond_destroy(&pool->work_finished);
  pthread_cond_destroy(&pool->work_published);
  pthread_mutex_destroy(&pool->mutex);
  pthread_mutex_destroy(&pool->owner);
  free(pool);
}

/* ---- Cores ---- */

#ifdef __linux__
/* Whether a CPU below `cpu` of the same core is in the set as well. The file lists the core's CPUs: "0,4" or "0-1". */
static bool core_was_counted(int cpu, const cpu_set_t *set) {
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  bool counted = false;
  int first, last;
  char separator = ',';
  while (separator == ',' && fscanf(file, "%d", &first) == 1) {
    last = first;
    if (fscanf(file, "%c", &separator) != 1) separator = 0;
    if (separator == '-' && fscanf(file, "%d%c", &last, &separator) < 2) separator = 0;
    for (int sibling = first; sibling <= last && sibling < cpu; sibling++) counted |= CPU_ISSET(sibling, set);
  }
  fclose(file);
  return counted;
}

uint32_t pinion_core_count(void) {
  cpu_set_t set;
  uint32_t count = 0;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) count += CPU_ISSET(cpu, &set) && !core_was_counted(cpu, &set);
  return count ? count : 1;
}
#else
uint32_t pinion_core_count(void) {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : count > PINION_MAX_THREADS ? PINION_MAX_THREADS : (uint32_t)count;
}
#endif
