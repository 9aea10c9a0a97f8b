/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "runtime/thread_pool.h"

enum { MOST_BLOCKS = 5000, WORKERS = 4 };

typedef struct tally {
  _Atomic uint32_t done[MOST_BLOCKS]; /* how often each block ran */
  _Atomic uint32_t inside[WORKERS];   /* calls in progress under each worker's number */
  _Atomic bool clash;                 /* two threads were the same worker at once */
} tally;

static void count_blocks(void *user, uint32_t first, uint32_t count, uint32_t worker) {
  tally *t = user;
  if (worker >= WORKERS || atomic_fetch_add(&t->inside[worker % WORKERS], 1) != 0) atomic_store(&t->clash, true);
  for (uint32_t i = first; i < first + count; i++) atomic_fetch_add(&t->done[i], 1);
  atomic_fetch_sub(&t->inside[worker % WORKERS], 1);
}

static void check_tally(tally *t, uint32_t blocks, uint32_t times) {
  for (uint32_t i = 0; i < MOST_BLOCKS; i++) assert_int_equal(atomic_load(&t->done[i]), i < blocks ? times : 0);
  assert_false(atomic_load(&t->clash));
}

static void every_block_runs_exactly_once(void **state) {
  (void)state;
  const uint32_t counts[] = {0, 1, 2, 3, 4, 5, 63, 64, 65, 999, MOST_BLOCKS};
  for (uint32_t workers = 1; workers <= WORKERS; workers++) {
    pinion_thread_pool *pool = pinion_thread_pool_create(workers);
    assert_non_null(pool);
    assert_int_equal(pinion_thread_pool_size(pool), workers);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
      tally *t = calloc(1, sizeof *t);
      pinion_thread_pool_run(pool, count_blocks, t, counts[i]);
      check_tally(t, counts[i], 1);
      free(t);
    }
    pinion_thread_pool_destroy(pool);
  }
}

static void no_block_is_lost_over_many_short_hand_overs(void **state) {
  (void)state;
  pinion_thread_pool *pool = pinion_thread_pool_create(WORKERS);
  tally *t = calloc(1, sizeof *t);
  for (int i = 0; i < 3000; i++) {
    pinion_thread_pool_run(pool, count_blocks, t, 3);
    if (i % 500 == 0) usleep(2000); /* long enough for the workers to fall asleep */
  }
  check_tally(t, 3, 3000);
  free(t);
  pinion_thread_pool_destroy(pool);
}

/* Blocks that wait for one another end only if enough threads take part. */
typedef struct meeting {
  _Atomic uint32_t arrived;
} meeting;

static void meet(void *user, uint32_t first, uint32_t count, uint32_t worker) {
  meeting *m = user;
  (void)first, (void)worker;
  atomic_fetch_add(&m->arrived, count);
  while (atomic_load(&m->arrived) < WORKERS) usleep(10);
}

static void all_workers_take_part(void **state) {
  (void)state;
  pinion_thread_pool *pool = pinion_thread_pool_create(WORKERS);
  for (int i = 0; i < 20; i++) {
    meeting m = {0};
    pinion_thread_pool_run(pool, meet, &m, WORKERS);
    assert_int_equal(atomic_load(&m.arrived), WORKERS);
    if (i % 5 == 0) usleep(1000);
  }
  pinion_thread_pool_destroy(pool);
}

typedef struct owner {
  pinion_thread_pool *pool;
  tally *tally;
} owner;

static void *use_pool(void *user) {
  owner *o = user;
  for (int i = 0; i < 200; i++) {
    pinion_thread_pool_acquire(o->pool);
    pinion_thread_pool_run(o->pool, count_blocks, o->tally, 7);
    pinion_thread_pool_release(o->pool);
  }
  return NULL;
}

static void callers_take_turns(void **state) {
  (void)state;
  pinion_thread_pool *pool = pinion_thread_pool_create(WORKERS);
  tally *shared = calloc(1, sizeof *shared);
  owner o = {pool, shared};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, use_pool, &o), 0);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  check_tally(shared, 7, 600);
  free(shared);
  pinion_thread_pool_destroy(pool);
}

static void absurd_sizes_are_refused(void **state) {
  (void)state;
  assert_null(pinion_thread_pool_create(0));
  assert_null(pinion_thread_pool_create(PINION_MAX_THREADS + 1));
  pinion_thread_pool_destroy(NULL);
  assert_true(pinion_core_count() >= 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_block_runs_exactly_once), cmocka_unit_test(no_block_is_lost_over_many_short_hand_overs),
      cmocka_unit_test(all_workers_take_part),         cmocka_unit_test(callers_take_turns),
      cmocka_unit_test(absurd_sizes_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
