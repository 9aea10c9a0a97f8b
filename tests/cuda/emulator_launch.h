/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Put behind a kernel's source: runs its clusters one after another, of PN_CLUSTER or PN_SPLIT blocks (emulator.h has
 * the rest). */
static const pinion_pointers *emulated_arguments;
static const pinion_params *emulated_params;
static tensor_map emulated_map;

static void emulated_call(void (*kernel)(pinion_pointers, pinion_params)) {
  kernel(*emulated_arguments, *emulated_params);
}
static void emulated_call(void (*kernel)(pinion_pointers, pinion_params, tensor_map)) {
  kernel(*emulated_arguments, *emulated_params, emulated_map);
}
static void emulated_entry() {
  emulated_call(PN_KERNEL);
  emulated_current->state = EMULATED_DONE;
  _longjmp(emulated_scheduler, 1);
}

/* Runs the current thread until it waits. */
static void __attribute__((noinline)) emulated_resume() {
  if (_setjmp(emulated_scheduler)) return;
  if (emulated_current->begun) _longjmp(emulated_current->place, 1);
  emulated_current->begun = true;
  setcontext(&emulated_current->beginning);
}

static void emulated_begin(emulated_thread *thread, unsigned index, unsigned block, unsigned rank) {
  if (!thread->stack) thread->stack = (char *)malloc(EMULATED_STACK);
  thread->index = {index, 0, 0};
  thread->block = {block, 0, 0};
  thread->rank = rank;
  thread->arrived = thread->turn = 0;
  thread->begun = false;
  thread->state = EMULATED_RUNS;
  getcontext(&thread->beginning);
  thread->beginning.uc_stack.ss_sp = thread->stack;
  thread->beginning.uc_stack.ss_size = EMULATED_STACK;
  makecontext(&thread->beginning, emulated_entry, 0);
}

/* Lets threads first .. end go on if all of them that are not done wait for the same; whether any did. */
static bool emulated_release(unsigned first, unsigned end, emulated_state state) {
  bool any = false;
  for (unsigned i = first; i < end; i++) {
    if (emulated_threads[i].state != state && emulated_threads[i].state != EMULATED_DONE) return false;
    any |= emulated_threads[i].state == state;
  }
  for (unsigned i = first; i < end; i++)
    if (emulated_threads[i].state == state) emulated_threads[i].state = EMULATED_RUNS;
  return any;
}

/* Runs each thread that can, once; whether any got further. */
static bool emulated_run_threads() {
  bool any = false;
  emulated_went_on = false;
  for (unsigned i = 0; i < emulated_thread_count; i++) {
    emulated_current = &emulated_threads[i];
    any |= emulated_current->state == EMULATED_RUNS;
    if (emulated_current->state == EMULATED_RUNS || emulated_current->state == EMULATED_POLLS) emulated_resume();
  }
  return any || emulated_went_on;
}

/* False if threads wait for each other for ever: a barrier that not all of them reach. */
static bool emulated_run_cluster(unsigned first_block, unsigned blocks, unsigned threads) {
  emulated_thread_count = blocks * threads;
  memset(emulated_came, 0, sizeof emulated_came);
  for (unsigned i = 0; i < emulated_thread_count; i++)
    emulated_begin(&emulated_threads[i], i % threads, first_block + i / threads, i / threads);
  for (unsigned rank = 0; rank < blocks; rank++) memset(shared_bytes + rank * EMULATED_WINDOW, 0xff, EMULATED_SHARED);
  for (bool going = true; going;) {
    going = emulated_run_threads();
    for (unsigned i = 0; i < emulated_thread_count; i += threads)
      going |= emulated_release(i, i + threads, EMULATED_AT_BLOCK);
    for (unsigned i = 0; i < emulated_thread_count; i += 128)
      if (i + 128 <= emulated_thread_count) going |= emulated_release(i, i + 128, EMULATED_AT_WARPGROUP);
    for (unsigned i = 0; i < emulated_thread_count; i += 32) going |= emulated_release(i, i + 32, EMULATED_AT_WARP);
  }
  for (unsigned i = 0; i < emulated_thread_count; i++)
    if (emulated_threads[i].state != EMULATED_DONE) return false;
  return true;
}

extern "C" bool emulated_launch(const pinion_pointers *pointers, const pinion_params *params, const uint32_t *grid,
                                const uint32_t *block, const pinion_tensor_map *map) {
#ifdef PN_CLUSTER
  const unsigned blocks = PN_CLUSTER;
#elif defined(PN_SPLIT)
  const unsigned blocks = PN_SPLIT;
#else
  const unsigned blocks = 1;
#endif
  emulated_arguments = pointers;
  emulated_params = params;
  if (map) emulated_map = {(const char *)pointers->pointer[map->argument], *map};
  emulated_grid = {grid[0], grid[1], grid[2]};
  for (unsigned x = 0; x < grid[0]; x += blocks)
    if (!emulated_run_cluster(x, blocks, block[0])) return false;
  return true;
}
