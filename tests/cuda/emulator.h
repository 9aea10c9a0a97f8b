/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The words of CUDA that Pinion's kernels use, on the CPU: put in front of a kernel's source, with PN_EMULATED defined.
 * A thread of a block is a coroutine that runs until it must wait for its warp or its block. It checks what a kernel
 * computes where there is no GPU; it does not see races, nor copies that are read before they have come.
 */
#include "runtime/abi.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ thread_local
#define threadIdx (emulated_current->index)
#define blockIdx emulated_block
#define gridDim emulated_grid

enum { EMULATED_STACK = 128 << 10, EMULATED_THREADS = 1024, EMULATED_SHARED = 232448 };
enum emulated_state { EMULATED_RUNS, EMULATED_AT_WARP, EMULATED_AT_BLOCK, EMULATED_DONE };

struct emulated_index {
  unsigned x, y, z;
};
struct emulated_thread {
  ucontext_t context;
  char *stack;
  emulated_index index;
  emulated_state state;
};

static emulated_thread emulated_threads[EMULATED_THREADS], *emulated_current;
static ucontext_t emulated_scheduler;
static emulated_index emulated_block, emulated_grid;
/* What the lanes of a warp show each other. */
static uint64_t emulated_shown[EMULATED_THREADS];
static uint32_t emulated_fragments[EMULATED_THREADS][6];

alignas(128) thread_local char shared_bytes[EMULATED_SHARED]; /* dynamic shared memory */

static void emulated_wait(emulated_state state) {
  emulated_current->state = state;
  swapcontext(&emulated_current->context, &emulated_scheduler);
}
static inline void __syncthreads() {
  emulated_wait(EMULATED_AT_BLOCK);
}

/* Launches do not overlap. */
static inline void pn_let_next_start() {}
static inline void pn_wait_for_inputs() {}

/* ---- Exchanges within a warp ---- */
static inline unsigned emulated_lane() {
  return threadIdx.x % 32;
}
template <typename value_type> static value_type emulated_exchange(value_type value, unsigned from_lane) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  emulated_shown[threadIdx.x] = bits;
  emulated_wait(EMULATED_AT_WARP);
  memcpy(&value, &emulated_shown[threadIdx.x / 32 * 32 + from_lane], sizeof value);
  emulated_wait(EMULATED_AT_WARP);
  return value;
}
template <typename value_type> static value_type __shfl_sync(unsigned, value_type value, int lane) {
  return emulated_exchange(value, (unsigned)lane);
}
template <typename value_type> static value_type __shfl_xor_sync(unsigned, value_type value, int lanes) {
  return emulated_exchange(value, emulated_lane() ^ (unsigned)lanes);
}
template <typename value_type> static value_type __shfl_up_sync(unsigned, value_type value, unsigned distance) {
  return emulated_exchange(value, emulated_lane() < distance ? emulated_lane() : emulated_lane() - distance);
}

/* ---- Numbers ---- */
static inline float __uint_as_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
static inline float __int_as_float(int32_t bits) {
  return __uint_as_float((uint32_t)bits);
}
static inline float rsqrtf(float x) {
  return 1 / sqrtf(x);
}
static inline float __fdividef(float x, float y) {
  return fabsf(y) > 0x1p126f ? 0 : x / y;
}

static inline uint16_t pn_bits_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return x != x ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static inline uint16_t pn_bits_f16(float x) {
  _Float16 half = (_Float16)x;
  uint16_t bits;
  memcpy(&bits, &half, sizeof bits);
  return bits;
}
static inline float pn_value_f16(uint16_t bits) {
  _Float16 half;
  memcpy(&half, &bits, sizeof half);
  return (float)half;
}
static inline float emulated_bf16(uint16_t bits) {
  return __uint_as_float((uint32_t)bits << 16);
}

/* ---- Shared memory by address, an offset into the dynamic part ---- */
static inline uint32_t pn_shared_address(const void *pointer) {
  return (uint32_t)((const char *)pointer - shared_bytes);
}
static inline void pn_store_shared(uint32_t to, uint16_t value) {
  memcpy(shared_bytes + to, &value, 2);
}
static inline void pn_copy_chunk(uint32_t to, const void *from, int valid) {
  if ((uintptr_t)from % 16 || to % 16) abort();
  memset(shared_bytes + to, 0, 16);
  memcpy(shared_bytes + to, from, (size_t)valid);
}
static inline void pn_wait_copies() {}

/* ---- The tensor core, by the tables of the PTX manual: lane 4 g + t ---- */
static void pn_load_matrices(uint32_t *registers, uint32_t from_shared) {
  for (int i = 0; i < 4; i++) {
    uint32_t row = emulated_exchange(from_shared, (unsigned)i * 8 + emulated_lane() / 4);
    memcpy(&registers[i], shared_bytes + row + emulated_lane() % 4 * 4, 4);
  }
}
static float emulated_element(uint32_t pair, int high, bool is_bf16) {
  uint16_t bits = (uint16_t)(high ? pair >> 16 : pair);
  return is_bf16 ? emulated_bf16(bits) : pn_value_f16(bits);
}
static void emulated_mma(float *c, const uint32_t *a, const uint32_t *b, bool is_bf16) {
  memcpy(emulated_fragments[threadIdx.x], a, 16);
  memcpy(emulated_fragments[threadIdx.x] + 4, b, 8);
  emulated_wait(EMULATED_AT_WARP);
  const uint32_t (*warp)[6] = emulated_fragments + threadIdx.x / 32 * 32;
  for (int i = 0; i < 4; i++) {
    int row = (int)emulated_lane() / 4 + i / 2 * 8, column = (int)emulated_lane() % 4 * 2 + i % 2;
    for (int k = 0; k < 16; k++) {
      uint32_t of_a = warp[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
      uint32_t of_b = warp[column * 4 + k % 8 / 2][4 + k / 8];
      c[i] += emulated_element(of_a, k % 2, is_bf16) * emulated_element(of_b, k % 2, is_bf16);
    }
  }
  emulated_wait(EMULATED_AT_WARP);
}
static inline void pn_mma_bf16(float *c, const uint32_t *a, const uint32_t *b) {
  emulated_mma(c, a, b, true);
}
static inline void pn_mma_f16(float *c, const uint32_t *a, const uint32_t *b) {
  emulated_mma(c, a, b, false);
}
