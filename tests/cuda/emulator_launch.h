/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Put behind a kernel's source: runs its blocks one after another (emulator.h has the rest). */
static const pinion_pointers *emulated_arguments;
static const pinion_params *emulated_params;

static void emulated_entry() {
  PN_KERNEL(*emulated_arguments, *emulated_params);
  emulated_current->state = EMULATED_DONE;
  swapcontext(&emulated_current->context, &emulated_scheduler);
}

static void emulated_begin(emulated_thread *thread, unsigned index) {
  if (!thread->stack) thread->stack = (char *)malloc(EMULATED_STACK);
  thread->index = {index, 0, 0};
  thread->state = EMULATED_RUNS;
  getcontext(&thread->context);
  thread->context.uc_stack.ss_sp = thread->stack;
  thread->context.uc_stack.ss_size = EMULATED_STACK;
  makecontext(&thread->context, emulated_entry, 0);
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

/* False if threads wait for each other for ever: a barrier that not all of them reach. */
static bool emulated_run_block(unsigned threads) {
  for (unsigned i = 0; i < threads; i++) emulated_begin(&emulated_threads[i], i);
  memset(shared_bytes, 0xff, sizeof shared_bytes);
  for (bool going = true; going;) {
    for (unsigned i = 0; i < threads; i++) {
      emulated_current = &emulated_threads[i];
      if (emulated_current->state == EMULATED_RUNS) swapcontext(&emulated_scheduler, &emulated_current->context);
    }
    going = emulated_release(0, threads, EMULATED_AT_BLOCK);
    for (unsigned warp = 0; warp < threads; warp += 32) going |= emulated_release(warp, warp + 32, EMULATED_AT_WARP);
  }
  for (unsigned i = 0; i < threads; i++)
    if (emulated_threads[i].state != EMULATED_DONE) return false;
  return true;
}

extern "C" bool emulated_launch(const pinion_pointers *pointers, const pinion_params *params, const uint32_t *grid,
                                const uint32_t *block) {
  emulated_arguments = pointers;
  emulated_params = params;
  emulated_grid = {grid[0], grid[1], grid[2]};
  for (unsigned x = 0; x < grid[0]; x++) {
    emulated_block = {x, 0, 0};
    if (!emulated_run_block(block[0])) return false;
  }
  return true;
}
