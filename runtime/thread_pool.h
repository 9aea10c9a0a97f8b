/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A team of threads that hands blocks of work over in about a microsecond: workers spin for a moment before they sleep,
 * and the caller works too.
 */
#ifndef PINION_THREAD_POOL_H
#define PINION_THREAD_POOL_H

#include <stdint.h>

typedef struct pinion_thread_pool pinion_thread_pool;

#define PINION_MAX_THREADS 1024

/* Does blocks first .. first + count as worker `worker`, 0 <= worker < the pool's count; the caller is worker 0. */
typedef void pinion_thread_work(void *user, uint32_t first, uint32_t count, uint32_t worker);

/* Cores that this process may run on: its affinity mask, two hardware threads of one core counted once. At least 1. */
uint32_t pinion_core_count(void);

/* A team of `worker_count` (1 .. PINION_MAX_THREADS) including the caller: starts one thread fewer. NULL if memory or
   threads cannot be had. */
pinion_thread_pool *pinion_thread_pool_create(uint32_t worker_count);
void pinion_thread_pool_destroy(pinion_thread_pool *pool); /* NULL is allowed; nobody may be using it */
uint32_t pinion_thread_pool_size(const pinion_thread_pool *pool);

/* One caller at a time owns the team, for as long as a whole replay takes. */
void pinion_thread_pool_acquire(pinion_thread_pool *pool);
void pinion_thread_pool_release(pinion_thread_pool *pool);

/* Does all blocks 0 .. block_count on the team, and returns when they are done. The caller owns the team. */
void pinion_thread_pool_run(pinion_thread_pool *pool, pinion_thread_work *work, void *user, uint32_t block_count);

#endif
