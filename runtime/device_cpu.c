/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The cpu as a device. Capture is binding: every launch of every step becomes a prepared call with its addresses
 * resolved. Prepared calls are grouped into phases of calls that do not depend on one another; a phase with more than
 * one block is handed to the thread pool, everything else runs in the caller with no hand-over.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* madvise */
#endif
#include "description.h"
#include "thread_pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define CACHE_LINE 64
#define MAX_PHASE_BLOCKS (1u << 30)
/* Bytes; allocations from half of this on ask for them, and weights are copied: what a kernel streams is as much
   waiting for page tables as for memory, more so where those of a virtual machine lie behind them. */
#define HUGE_PAGE (2u << 20)

/* In front of every allocation, one PINION_BASE_ALIGN long. */
typedef struct cpu_memory {
  struct cpu_memory *next, *previous;
} cpu_memory;

struct pinion_device {
  pinion_thread_pool *pool;
  uint8_t *scratch; /* one per worker, scratch_stride bytes apart */
  size_t scratch_stride;
  pthread_mutex_t mutex; /* guards `memory` */
  cpu_memory memory;     /* head of the list of allocations */
};

typedef struct cpu_call {
  pinion_cpu_kernel *entry;
  const pinion_params *params;
  void *const *args;
  uint32_t grid;
  uint32_t first_block; /* within its phase */
} cpu_call;

typedef struct cpu_phase {
  uint32_t first_call, call_count;
  uint32_t block_count;
  bool parallel; /* some call has more than one block */
} cpu_phase;

struct pinion_program {
  const pinion_model_desc *desc;
  cpu_call *calls; /* by stage, step, launch: the order of execution */
  cpu_phase *phases;
  void **args;
  uint32_t call_count, phase_count;
};

/* What the workers of one phase share. */
typedef struct phase_work {
  const pinion_device *device;
  const cpu_call *calls;
} phase_work;

/* ---- Opening ---- */

static pinion_status read_thread_count(const pinion_options *options, uint32_t *out_count, pinion_error *error) {
  const char *text = getenv("PINION_THREADS");
  char *end = NULL;
  long count = options->thread_count;
  if (count == 0 && text && *text) {
    count = strtol(text, &end, 10);
    if (*end || count < 1)
      return pinion_fail(error, PINION_INVALID_ARGUMENT, "PINION_THREADS is '%s'; it must be a number from 1 to %d",
                         text, PINION_MAX_THREADS);
  }
  if (count < 0 || count > PINION_MAX_THREADS)
    return pinion_fail(error, PINION_INVALID_ARGUMENT, "%ld threads; there may be 1 to %d", count, PINION_MAX_THREADS);
  *out_count = count ? (uint32_t)count : pinion_core_count();
  return PINION_OK;
}

static pinion_status check_target(const pinion_model_desc *desc, pinion_error *error) {
  if (strcmp(desc->device, "cpu") != 0)
    return pinion_fail(error, PINION_BAD_ARTIFACT,
                       "the model is compiled for '%s' on device '%s'; this runtime is cpu's", desc->target,
                       desc->device);
  for (uint32_t i = 0; i < desc->kernel_count; i++)
    if (!desc->kernels[i].entry)
      return pinion_fail(error, PINION_BAD_ARTIFACT, "kernel '%s' has no function", desc->kernels[i].name);
  for (uint32_t i = 0; i < desc->launch_count; i++)
    if (desc->launches[i].grid[1] != 1 || desc->launches[i].grid[2] != 1 ||
        desc->launches[i].grid[0] > MAX_PHASE_BLOCKS)
      return pinion_fail(error, PINION_BAD_ARTIFACT, "launch %u: its grid is not one of the cpu's", i);
  return PINION_OK;
}

static size_t scratch_bytes(const pinion_model_desc *desc) {
  uint32_t bytes = 0;
  for (uint32_t i = 0; i < desc->launch_count; i++)
    if (desc->launches[i].dynamic_shared_bytes > bytes) bytes = desc->launches[i].dynamic_shared_bytes;
  return ((size_t)bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

static void cpu_close(pinion_device *device);
static void *allocate(pinion_device *device, uint64_t bytes);

static pinion_status cpu_open(const pinion_model_desc *desc, const char *directory, const pinion_options *options,
                              pinion_device **out_device, pinion_error *error) {
  (void)directory; /* kernels are linked in */
  uint32_t threads = 0;
  *out_device = NULL;
  pinion_status status = check_target(desc, error);
  if (!status) status = read_thread_count(options, &threads, error);
  if (status) return status;
  pinion_device *device = calloc(1, sizeof *device);
  if (!device) return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for the device");
  pthread_mutex_init(&device->mutex, NULL);
  device->memory = (cpu_memory){&device->memory, &device->memory};
  device->pool = pinion_thread_pool_create(threads);
  device->scratch_stride = scratch_bytes(desc);
  if (device->scratch_stride) device->scratch = allocate(device, device->scratch_stride * threads);
  if (!device->pool || (device->scratch_stride && !device->scratch)) {
    cpu_close(device);
    return pinion_fail(error, PINION_OUT_OF_MEMORY, "cannot start %u threads with %zu bytes of scratch each", threads,
                       scratch_bytes(desc));
  }
  *out_device = device;
  return PINION_OK;
}

/* ---- Memory ---- */

static void unlink_memory(cpu_memory *memory) {
  memory->next->previous = memory->previous;
  memory->previous->next = memory->next;
  free(memory);
}

static void cpu_close(pinion_device *device) {
  if (!device) return;
  pinion_thread_pool_destroy(device->pool);
  while (device->memory.next != &device->memory) unlink_memory(device->memory.next);
  pthread_mutex_destroy(&device->mutex);
  free(device);
}

/* As the kernel calls it; "cpu" where it does not. */
static pinion_status cpu_describe(pinion_device *device, pinion_device_facts *out_facts, pinion_error *error) {
  static const char field[] = "model name\t: ";
  char line[256];
  (void)device, (void)error;
  *out_facts = (pinion_device_facts){.name = "cpu"};
  FILE *file = fopen("/proc/cpuinfo", "r");
  while (file && fgets(line, sizeof line, file)) {
    if (strncmp(line, field, sizeof field - 1)) continue;
    line[strcspn(line, "\n")] = '\0';
    snprintf(out_facts->name, sizeof out_facts->name, "%.*s", (int)sizeof out_facts->name - 1, line + sizeof field - 1);
    break;
  }
  if (file) fclose(file);
  return PINION_OK;
}

/* NULL if there is none. */
static void *allocate(pinion_device *device, uint64_t bytes) {
  size_t alignment = bytes >= HUGE_PAGE / 2 ? HUGE_PAGE : PINION_BASE_ALIGN;
  if (bytes > SIZE_MAX - 2 * (uint64_t)HUGE_PAGE) return NULL;
  size_t total = ((size_t)bytes + PINION_BASE_ALIGN + alignment - 1) / alignment * alignment;
  cpu_memory *memory = aligned_alloc(alignment, total);
  if (!memory) return NULL;
  if (alignment == HUGE_PAGE) madvise(memory, total, MADV_HUGEPAGE);
  pthread_mutex_lock(&device->mutex);
  *memory = (cpu_memory){device->memory.next, &device->memory};
  memory->next->previous = memory;
  device->memory.next = memory;
  pthread_mutex_unlock(&device->mutex);
  return (uint8_t *)memory + PINION_BASE_ALIGN;
}

/* Zeroed, so that padding holds no stray NaN and every page is there before the first run. */
static pinion_status cpu_allocate(pinion_device *device, uint64_t bytes, void **out_address, pinion_error *error) {
  *out_address = allocate(device, bytes);
  if (!*out_address)
    return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for %llu bytes", (unsigned long long)bytes);
  memset(*out_address, 0, (size_t)bytes);
  return PINION_OK;
}

static void cpu_free_memory(pinion_device *device, void *address) {
  if (!address) return;
  pthread_mutex_lock(&device->mutex);
  unlink_memory((cpu_memory *)(void *)((uint8_t *)address - PINION_BASE_ALIGN));
  pthread_mutex_unlock(&device->mutex);
}

/* Whether memory that asks for huge pages gets them, as far as the system says so. */
static bool has_huge_pages(void) {
  char line[64] = "";
  FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
  if (!file) return false;
  bool read = fgets(line, sizeof line, file) != NULL;
  fclose(file);
  return read && !strstr(line, "[never]");
}

/* Bytes that may be had without taking others' memory away; what files keep in memory counts. 0: not known. */
static uint64_t available_memory(void) {
  char line[128];
  unsigned long long kibibytes = 0;
  FILE *file = fopen("/proc/meminfo", "re");
  while (file && fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu kB", &kibibytes) != 1) {
  }
  if (file) fclose(file);
  return kibibytes << 10;
}

/* Kernels do not write weights, so they may stay mapped: if they are few, or so many that a copy would leave less
   memory than it takes. */
static pinion_status cpu_load_weights(pinion_device *device, const void *mapped, uint64_t bytes, void **out_address,
                                      pinion_error *error) {
  (void)error;
  void *file = (void *)(uintptr_t)mapped, *copy = NULL;
  if (bytes >= HUGE_PAGE && bytes <= available_memory() / 2 && has_huge_pages()) copy = allocate(device, bytes);
  if (copy) {
    memcpy(copy, file, (size_t)bytes);
    madvise(file, (size_t)bytes, MADV_DONTNEED); /* the system's again, where it lacks memory */
  }
  *out_address = copy ? copy : file;
  return PINION_OK;
}

static pinion_status cpu_copy(pinion_device *device, void *to, const void *from, uint64_t bytes, void *stream,
                              pinion_error *error) {
  (void)device, (void)stream, (void)error;
  if (bytes) memcpy(to, from, (size_t)bytes);
  return PINION_OK;
}

/* ---- Capture ---- */

static void **resolve_args(const pinion_model_desc *desc, const pinion_launch_desc *launch, uint32_t step,
                           void *const *buffers, void **args) {
  for (uint32_t i = 0; i < launch->arg_count; i++) {
    const pinion_arg *arg = &desc->args[launch->first_arg + i];
    *args++ = (uint8_t *)buffers[arg->buffer] + arg->offset + (int64_t)step * arg->step_stride;
  }
  return args;
}

static bool depends_on_phase(const pinion_model_desc *desc, const pinion_launch_desc *launch, uint32_t first_launch) {
  for (uint32_t i = 0; i < launch->dependency_count; i++)
    if (desc->dependencies[launch->first_dependency + i] >= first_launch) return true;
  return false;
}

/* Appends a call; it joins the phase that is open when nothing in that phase must come before it. */
static void add_call(pinion_program *program, uint32_t launch_index, uint32_t *phase_launch, void **args) {
  const pinion_launch_desc *launch = &program->desc->launches[launch_index];
  cpu_phase *phase = program->phase_count ? &program->phases[program->phase_count - 1] : NULL;
  bool joins = *phase_launch <= launch_index && phase && !depends_on_phase(program->desc, launch, *phase_launch) &&
               phase->block_count <= MAX_PHASE_BLOCKS - launch->grid[0];
  if (!joins) {
    phase = &program->phases[program->phase_count++];
    *phase = (cpu_phase){.first_call = program->call_count};
    *phase_launch = launch_index;
  }
  program->calls[program->call_count++] = (cpu_call){program->desc->kernels[launch->kernel].entry, launch->params, args,
                                                     launch->grid[0], phase->block_count};
  phase->call_count++;
  phase->block_count += launch->grid[0];
  phase->parallel |= launch->grid[0] > 1;
}

/* A step starts a phase of its own: dependencies say nothing about other steps. */
static void bind_stage(pinion_program *program, const pinion_stage_desc *stage, void *const *buffers, void ***args) {
  const pinion_model_desc *desc = program->desc;
  for (uint32_t step = 0; step < stage->repeat; step++) {
    uint32_t phase_launch = UINT32_MAX;
    for (uint32_t i = 0; i < stage->launch_count; i++) {
      uint32_t launch = stage->first_launch + i;
      void **first = *args;
      *args = resolve_args(desc, &desc->launches[launch], step, buffers, first);
      add_call(program, launch, &phase_launch, first);
    }
  }
}

static uint64_t count_args(const pinion_model_desc *desc) {
  uint64_t count = 0;
  for (uint32_t s = 0; s < desc->stage_count; s++)
    for (uint32_t i = 0; i < desc->stages[s].launch_count; i++)
      count += (uint64_t)desc->launches[desc->stages[s].first_launch + i].arg_count * desc->stages[s].repeat;
  return count;
}

static void cpu_free_program(pinion_device *device, pinion_program *program) {
  (void)device;
  if (!program) return;
  free(program->args);
  free(program->phases);
  free(program->calls);
  free(program);
}

/* What is attached is bound: `hosts` says nothing new. */
static pinion_status cpu_capture(pinion_device *device, const pinion_model_desc *desc, void *const *buffers,
                                 void *const *hosts, pinion_program **out_program, pinion_error *error) {
  (void)hosts;
  size_t calls = (size_t)pinion_description_launches(desc);
  pinion_program *program = calloc(1, sizeof *program);
  *out_program = NULL;
  if (program) {
    program->desc = desc;
    program->calls = malloc((calls + 1) * sizeof *program->calls);
    program->phases = malloc((calls + 1) * sizeof *program->phases);
    program->args = malloc(((size_t)count_args(desc) + 1) * sizeof *program->args);
  }
  if (!program || !program->calls || !program->phases || !program->args) {
    cpu_free_program(device, program);
    return pinion_fail(error, PINION_OUT_OF_MEMORY, "no memory for a program of %zu launches", calls);
  }
  void **args = program->args;
  for (uint32_t s = 0; s < desc->stage_count; s++) bind_stage(program, &desc->stages[s], buffers, &args);
  *out_program = program;
  return PINION_OK;
}

static void cpu_describe_capture(const pinion_program *program, pinion_capture_facts *out_facts) {
  *out_facts = (pinion_capture_facts){.launches = (uint32_t)program->call_count};
}

/* ---- Replay ---- */

static void run_blocks(const pinion_device *device, const cpu_call *call, uint32_t first, uint32_t count,
                       uint32_t worker) {
  pinion_cpu_block block = {call->args, call->params, first, call->grid, pinion_thread_pool_size(device->pool), NULL};
  if (device->scratch) block.scratch = device->scratch + worker * device->scratch_stride;
  for (uint32_t end = first + count; block.block < end; block.block++) call->entry(&block);
}

/* pinion_thread_work: blocks of a phase count through its calls. */
static void run_phase_blocks(void *user, uint32_t first, uint32_t count, uint32_t worker) {
  const phase_work *phase = user;
  const cpu_call *call = phase->calls;
  while (count) {
    while (first - call->first_block >= call->grid) call++;
    uint32_t block = first - call->first_block, left = call->grid - block, now = count < left ? count : left;
    run_blocks(phase->device, call, block, now, worker);
    first += now;
    count -= now;
  }
}

static void run_phase(pinion_device *device, const cpu_call *calls, const cpu_phase *phase) {
  const cpu_call *first = calls + phase->first_call;
  if (phase->parallel) {
    phase_work work = {device, first};
    pinion_thread_pool_run(device->pool, run_phase_blocks, &work, phase->block_count);
  } else {
    for (uint32_t i = 0; i < phase->call_count; i++) run_blocks(device, &first[i], 0, 1, 0);
  }
}

static void replay_phases(pinion_device *device, const pinion_program *program) {
  for (uint32_t i = 0; i < program->phase_count; i++) run_phase(device, program->calls, &program->phases[i]);
}

static pinion_status cpu_replay(pinion_device *device, pinion_program *program, void *stream, pinion_error *error) {
  (void)stream, (void)error;
  pinion_thread_pool_acquire(device->pool);
  replay_phases(device, program);
  pinion_thread_pool_release(device->pool);
  return PINION_OK;
}

static pinion_status cpu_synchronize(pinion_device *device, void *stream, pinion_error *error) {
  (void)device, (void)stream, (void)error;
  return PINION_OK; /* a replay returns when it is done */
}

static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static const cpu_call *find_call(const pinion_program *program, uint32_t launch, uint32_t step) {
  const pinion_model_desc *desc = program->desc;
  size_t first = 0;
  for (uint32_t s = 0; s < desc->stage_count; s++) {
    const pinion_stage_desc *stage = &desc->stages[s];
    if (launch - stage->first_launch < stage->launch_count)
      return step < stage->repeat
                 ? &program->calls[first + (size_t)step * stage->launch_count + (launch - stage->first_launch)]
                 : NULL;
    first += (size_t)stage->launch_count * stage->repeat;
  }
  return NULL;
}

/* A call as a phase of its own. Returns microseconds. */
static double time_call(pinion_device *device, const cpu_call *call) {
  cpu_call alone = *call;
  alone.first_block = 0;
  cpu_phase phase = {0, 1, alone.grid, alone.grid > 1};
  double start = microseconds();
  run_phase(device, &alone, &phase);
  return microseconds() - start;
}

static pinion_status cpu_run_launch(pinion_device *device, pinion_program *program, uint32_t launch, uint32_t step,
                                    double *out_microseconds, pinion_error *error) {
  const cpu_call *call = find_call(program, launch, step);
  if (!call) return pinion_fail(error, PINION_INVALID_ARGUMENT, "there is no launch %u in step %u", launch, step);
  pinion_thread_pool_acquire(device->pool);
  double elapsed = time_call(device, call);
  pinion_thread_pool_release(device->pool);
  if (out_microseconds) *out_microseconds = elapsed;
  return PINION_OK;
}

static pinion_status cpu_time_launches(pinion_device *device, pinion_program *program, double *out_microseconds,
                                       pinion_error *error) {
  (void)error;
  pinion_thread_pool_acquire(device->pool);
  for (size_t i = 0; i < program->call_count; i++) out_microseconds[i] = time_call(device, &program->calls[i]);
  pinion_thread_pool_release(device->pool);
  return PINION_OK;
}

static pinion_status cpu_time_replays(pinion_device *device, pinion_program *program, uint32_t count,
                                      double *out_microseconds, pinion_error *error) {
  (void)error;
  pinion_thread_pool_acquire(device->pool);
  for (uint32_t i = 0; i < count; i++) {
    double start = microseconds();
    replay_phases(device, program);
    out_microseconds[i] = microseconds() - start;
  }
  pinion_thread_pool_release(device->pool);
  return PINION_OK;
}

static const pinion_device_ops cpu_ops = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .allocate = cpu_allocate,
    .free_memory = cpu_free_memory,
    .load_weights = cpu_load_weights,
    .copy_in = cpu_copy,
    .copy_out = cpu_copy,
    .capture = cpu_capture,
    .free_program = cpu_free_program,
    .describe_capture = cpu_describe_capture,
    .replay = cpu_replay,
    .synchronize = cpu_synchronize,
    .run_launch = cpu_run_launch,
    .time_launches = cpu_time_launches,
    .time_replays = cpu_time_replays,
};

const pinion_device_ops *const pinion_device_implementation = &cpu_ops;
