/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The words of CUDA that Pinion's kernels use, on the CPU: put in front of a kernel's source, with PN_EMULATED defined.
 * A thread of a cluster is a coroutine that runs until it must wait for its warp, its block or the cluster. It checks
 * what a kernel computes where there is no GPU; it does not see races, nor copies that are read before they have come.
 *
 * Shared memory of all blocks of a cluster is one array, a block's part EMULATED_WINDOW bytes from the one before, so
 * that an address says of whose it is.
 */
#include "runtime/abi.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ thread_local
#define threadIdx (emulated_current->index)
#define blockIdx (emulated_current->block)
#define gridDim emulated_grid

enum {
  EMULATED_STACK = 128 << 10,
  EMULATED_BLOCKS = 8, /* of a cluster */
  EMULATED_THREADS = 1024 * EMULATED_BLOCKS,
  EMULATED_SHARED = 232448,
  EMULATED_WINDOW = 1 << 18
};
enum emulated_state {
  EMULATED_RUNS,
  EMULATED_AT_WARP,
  EMULATED_AT_WARPGROUP,
  EMULATED_AT_BLOCK,
  EMULATED_POLLS,
  EMULATED_DONE
};

struct emulated_index {
  unsigned x, y, z;
};
struct emulated_thread {
  ucontext_t beginning;
  jmp_buf place; /* where it waits: jumps make no system calls, which contexts do */
  bool begun;
  char *stack;
  emulated_index index, block;
  uint32_t rank;    /* of the block in its cluster */
  unsigned arrived; /* how often, at the cluster's barrier */
  unsigned turn;    /* of `emulated_shown` */
  emulated_state state;
};

static emulated_thread emulated_threads[EMULATED_THREADS], *emulated_current;
static jmp_buf emulated_scheduler;
static emulated_index emulated_grid;
static unsigned emulated_thread_count; /* of the cluster that runs */
static bool emulated_went_on;          /* a thread that polled found what it waited for */
/* What the lanes of a warp show each other; two in turn, so that none writes what another still reads. */
struct emulated_words {
  uint32_t word[6];
};
static emulated_words emulated_shown[2][EMULATED_THREADS];

alignas(1024) thread_local char shared_bytes[EMULATED_BLOCKS * EMULATED_WINDOW]; /* dynamic shared memory */
#define pn_shared (shared_bytes + emulated_current->rank * EMULATED_WINDOW)

static void emulated_wait(emulated_state state) {
  emulated_current->state = state;
  if (!_setjmp(emulated_current->place)) _longjmp(emulated_scheduler, 1);
}
static inline void __syncthreads() {
  emulated_wait(EMULATED_AT_BLOCK);
}
/* Whether it holds in any thread of the block: for blocks of one dimension, outside clusters. */
static int __syncthreads_or(int condition) {
  static int any[2];
  static unsigned turn;
  if (threadIdx.x == 0) any[turn ^= 1] = 0;
  emulated_wait(EMULATED_AT_BLOCK);
  const unsigned own = turn;
  any[own] |= condition;
  emulated_wait(EMULATED_AT_BLOCK);
  return any[own];
}
static inline void __syncwarp() {
  emulated_wait(EMULATED_AT_WARP);
}
template <typename condition_type> static void emulated_wait_until(condition_type is_true) {
  while (!is_true()) emulated_wait(EMULATED_POLLS);
  emulated_went_on = true;
}

/* Launches do not overlap. */
static inline void pn_let_next_start() {}
static inline void pn_wait_for_inputs() {}

/* ---- Exchanges within a warp ---- */
static inline unsigned emulated_lane() {
  return threadIdx.x % 32;
}
/* This thread, and its warp's first, among those of the cluster. */
static inline unsigned emulated_slot() {
  return (unsigned)(emulated_current - emulated_threads);
}
static inline unsigned emulated_warp() {
  return emulated_slot() / 32 * 32;
}
/* What each lane of the warp shows, by lane. */
static const emulated_words *emulated_show(const emulated_words &words) {
  emulated_words *shown = emulated_shown[emulated_current->turn ^= 1];
  shown[emulated_slot()] = words;
  emulated_wait(EMULATED_AT_WARP);
  return shown + emulated_warp();
}
template <typename value_type> static value_type emulated_exchange(value_type value, unsigned from_lane) {
  emulated_words words = {};
  memcpy(&words, &value, sizeof value);
  memcpy(&value, &emulated_show(words)[from_lane], sizeof value);
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

static uint32_t __ballot_sync(unsigned, bool value) {
  const emulated_words *lanes = emulated_show({{value}});
  uint32_t ballot = 0;
  for (int lane = 0; lane < 32; lane++) ballot |= lanes[lane].word[0] << lane;
  return ballot;
}

/* ---- Numbers ---- */
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
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
static inline uint32_t pn_high_bf16(float x) {
  return (uint32_t)pn_bits_bf16(x) << 16;
}
static inline float pn_value_f16(uint16_t bits) {
  _Float16 half;
  memcpy(&half, &bits, sizeof half);
  return (float)half;
}
static inline uint32_t pn_pack_bf16(float low, float high) {
  return pn_bits_bf16(low) | (uint32_t)pn_bits_bf16(high) << 16;
}
static inline float pn_exp2(float x) {
  return x < -126 ? 0 : exp2f(x);
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
static inline void pn_copy_if(bool wanted, uint32_t to, const void *from) {
  if (wanted) pn_copy_chunk(to, from, 16);
}
static inline void pn_wait_copies() {}
static inline void pn_commit_copies() {}
template <int groups> static inline void pn_wait_copies_but() {}

/* ---- The tensor core, by the tables of the PTX manual: lane 4 g + t ---- */
static void pn_load_matrices(uint32_t *registers, uint32_t from_shared) {
  const emulated_words *rows = emulated_show({{from_shared}}) + emulated_lane() / 4;
  for (int i = 0; i < 4; i++) memcpy(&registers[i], shared_bytes + rows[i * 8].word[0] + emulated_lane() % 4 * 4, 4);
}
static void pn_load_transposed(uint32_t *registers, uint32_t from_shared) {
  const emulated_words *rows = emulated_show({{from_shared}}) + emulated_lane() % 4 * 2;
  for (int i = 0; i < 4; i++) {
    uint16_t pair[2];
    for (int r = 0; r < 2; r++) memcpy(&pair[r], shared_bytes + rows[i * 8 + r].word[0] + emulated_lane() / 4 * 2, 2);
    memcpy(&registers[i], pair, 4);
  }
}
template <int matrices> static void pn_store_transposed(uint32_t to, const uint32_t (&pairs)[matrices]) {
  const emulated_words *lanes = emulated_show({{to}});
  for (int i = 0; i < matrices; i++)
    for (int r = 0; r < 2; r++) {
      const uint16_t bits = (uint16_t)(pairs[i] >> 16 * r);
      const uint32_t row = lanes[i * 8 + emulated_lane() % 4 * 2 + r].word[0];
      memcpy(shared_bytes + row + emulated_lane() / 4 * 2, &bits, sizeof bits);
    }
}
static float emulated_element(uint32_t pair, int high, bool is_bf16) {
  uint16_t bits = (uint16_t)(high ? pair >> 16 : pair);
  return is_bf16 ? emulated_bf16(bits) : pn_value_f16(bits);
}
static void emulated_mma(float *c, const uint32_t *a, const uint32_t *b, bool is_bf16) {
  const emulated_words *warp = emulated_show({{a[0], a[1], a[2], a[3], b[0], b[1]}});
  for (int i = 0; i < 4; i++) {
    int row = (int)emulated_lane() / 4 + i / 2 * 8, column = (int)emulated_lane() % 4 * 2 + i % 2;
    for (int k = 0; k < 16; k++) {
      uint32_t of_a = warp[row % 8 * 4 + k % 8 / 2].word[row / 8 + k / 8 * 2];
      uint32_t of_b = warp[column * 4 + k % 8 / 2].word[4 + k / 8];
      c[i] += emulated_element(of_a, k % 2, is_bf16) * emulated_element(of_b, k % 2, is_bf16);
    }
  }
}
static inline void pn_mma_bf16(float *c, const uint32_t *a, const uint32_t *b) {
  emulated_mma(c, a, b, true);
}
static inline void pn_mma_f16(float *c, const uint32_t *a, const uint32_t *b) {
  emulated_mma(c, a, b, false);
}

/* ---- Barriers in shared memory ---- */
struct emulated_barrier {
  uint16_t missing, count : 15, phase : 1; /* arrivals */
  int32_t bytes;                           /* that are expected and have not come */
};
static emulated_barrier *emulated_barrier_at(uint32_t address) {
  return (emulated_barrier *)(shared_bytes + address);
}
static void emulated_barrier_change(emulated_barrier *barrier, uint16_t arrivals, int32_t bytes) {
  barrier->missing -= arrivals;
  barrier->bytes += bytes;
  if (barrier->missing || barrier->bytes) return;
  barrier->missing = barrier->count;
  barrier->phase ^= 1;
}
static inline void pn_barrier_init(uint32_t barrier, uint32_t count) {
  *emulated_barrier_at(barrier) = {(uint16_t)count, (uint16_t)count, 0, 0};
}
static inline void pn_barrier_publish() {}
static inline void pn_barrier_expect(uint32_t barrier, uint32_t bytes) {
  emulated_barrier_change(emulated_barrier_at(barrier), 1, (int32_t)bytes);
}
static inline void pn_barrier_arrive(uint32_t barrier) {
  emulated_barrier_change(emulated_barrier_at(barrier), 1, 0);
}
static inline void pn_barrier_arrive_with_copies(uint32_t barrier) {
  pn_barrier_arrive(barrier);
}
static inline void pn_barrier_wait(uint32_t barrier, uint32_t phase) {
  emulated_wait_until([=] { return emulated_barrier_at(barrier)->phase != phase; });
}
static inline void pn_barrier_wait_for_cluster(uint32_t barrier) {
  emulated_wait_until([barrier] { return emulated_barrier_at(barrier)->phase != 0; });
}

/* How many have come, ever, to each numbered barrier of each block. */
static unsigned emulated_came[EMULATED_BLOCKS][16];
static inline void pn_sync(int barrier, unsigned count) {
  unsigned *came = &emulated_came[emulated_current->rank][barrier];
  const unsigned needed = (*came)++ / count * count + count;
  emulated_wait_until([=] { return *came >= needed; });
}

/* ---- wgmma: done at once, when the whole warpgroup has come to it ---- */
static inline void pn_wgmma_sees_writes() {}
static inline void pn_wgmma_begin() {}
static inline void pn_wgmma_commit() {}
template <int others = 0> static inline void pn_wgmma_wait() {}
template <typename type> static inline void pn_pin(type &) {}
template <int count> static inline void pn_give_registers() {}
template <int count> static inline void pn_take_registers() {}

/* As the hardware reads it: the start, and the strides between 64 columns and between 8 rows; 128-byte swizzle. */
static inline uint64_t pn_wgmma_operand(uint32_t shared_address, uint32_t atoms) {
  return (uint64_t)0x40000040u << 32 | (shared_address >> 4 & 0x3fff) | atoms >> 4 << 16;
}
/* Element `inner` of the contiguous dimension, `outer` of the other. */
static float emulated_operand(uint64_t descriptor, int inner, int outer) {
  const uint32_t start = (uint32_t)(descriptor & 0x3fff) << 4, atoms = (uint32_t)(descriptor >> 16 & 0x3fff) << 4;
  const uint32_t eights = (uint32_t)(descriptor >> 32 & 0x3fff) << 4;
  uint32_t address = start + inner / 64 * atoms + outer / 8 * eights + outer % 8 * 128 + inner % 64 * 2;
  address ^= (address >> 7 & 7) << 4;
  uint16_t bits;
  memcpy(&bits, pn_shared + address, 2);
  return emulated_bf16(bits);
}
template <int registers, typename a_function>
static void emulated_wgmma(float (&d)[registers], a_function a, uint64_t b, bool b_in_rows, int add) {
  const int lane = (int)emulated_lane();
  for (int i = 0; i < registers; i++) {
    const int half = i / 2 % 2, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    float sum = add ? d[i] : 0;
    for (int k = 0; k < 16; k++)
      sum += a(half, k) * (b_in_rows ? emulated_operand(b, column, k) : emulated_operand(b, k, column));
    d[i] = sum;
  }
  emulated_wait(EMULATED_AT_WARPGROUP);
}
/* a in shared memory, or in registers. */
template <int registers> static void emulated_wgmma_of(float (&d)[registers], uint64_t a, uint64_t b, int add) {
  const int row = (int)threadIdx.x % 128 / 32 * 16 + (int)emulated_lane() / 4;
  emulated_wait(EMULATED_AT_WARPGROUP);
  emulated_wgmma(d, [=](int half, int k) { return emulated_operand(a, k, row + half * 8); }, b, false, add);
}
template <int registers> static void emulated_wgmma_columns(float (&d)[registers], uint64_t a, uint64_t b, int add) {
  const int row = (int)threadIdx.x % 128 / 32 * 16 + (int)emulated_lane() / 4;
  emulated_wait(EMULATED_AT_WARPGROUP);
  emulated_wgmma(d, [=](int half, int k) { return emulated_operand(a, row + half * 8, k); }, b, false, add);
}
template <int registers> static void emulated_wgmma_of(float (&d)[registers], const uint32_t *a, uint64_t b, int add) {
  const emulated_words *of_row = emulated_show({{a[0], a[1], a[2], a[3]}}) + emulated_lane() / 4 * 4;
  emulated_words kept[4];
  memcpy(kept, of_row, sizeof kept);
  const auto element = [&](int half, int k) {
    return emulated_element(kept[k % 8 / 2].word[half + k / 8 * 2], k % 2, true);
  };
  emulated_wgmma(d, element, b, true, add);
}
#define PN_WGMMA_SCORES(d, a, b, add) emulated_wgmma_of(d, a, b, add)
#define PN_WGMMA_COLUMNS(d, a, b, add) emulated_wgmma_columns(d, a, b, add)
#define PN_WGMMA_VALUES(d, a, b, add) emulated_wgmma_of(d, a, b, add)

/* ---- gemm_wgmma.cu's own instructions; products are done at once ---- */
#define PN_WGMMA(d, a, b, add) emulated_wgmma_of(d, a, b, add)

/* In the place of the driver's: what that would be made of. */
struct tensor_map {
  const char *address;
  pinion_tensor_map map;
};
static inline void prefetch_map(const void *) {}
static inline void copy_atom(uint32_t to, const void *from, uint32_t barrier) {
  memcpy(shared_bytes + to, from, 8192);
  emulated_barrier_change(emulated_barrier_at(barrier), 0, -8192);
}
/* Rows of 128 bytes of 2-byte elements, in the 128-byte swizzle; 0 outside. */
static void copy_tile(uint32_t to, const void *of, int k, int m, int b1, int b0, uint32_t barrier) {
  const tensor_map *from = (const tensor_map *)of;
  const int64_t *size = from->map.size, *stride = from->map.stride, rows = from->map.box[1];
  const uint16_t *base = (const uint16_t *)from->address + b1 * stride[2] + b0 * stride[3];
  if (to % 1024 || b1 >= size[2] || b0 >= size[3]) abort();
  for (int64_t row = 0; row < rows; row++)
    for (int64_t column = 0; column < 64; column++) {
      const bool inside = m + row < size[1] && k + column < size[0];
      const uint16_t bits = inside ? base[(m + row) * stride[1] + k + column] : 0;
      memcpy(shared_bytes + to + row * 128 + ((column / 8) ^ (row & 7)) * 16 + column % 8 * 2, &bits, 2);
    }
  emulated_barrier_change(emulated_barrier_at(barrier), 0, (int32_t)(rows * -128));
}
static inline float4 load_four(uint32_t address) {
  float4 x;
  memcpy(&x, shared_bytes + address, sizeof x);
  return x;
}
static inline void store_float(uint32_t address, float x) {
  memcpy(shared_bytes + address, &x, sizeof x);
}
static inline int __popc(uint32_t bits) {
  return __builtin_popcount(bits);
}

/* ---- The cluster ---- */
static inline void pn_cluster_begin() {
  emulated_current->arrived++;
}
static inline void pn_cluster_wait() {
  const unsigned needed = emulated_current->arrived;
  emulated_wait_until([needed] {
    for (unsigned i = 0; i < emulated_thread_count; i++)
      if (emulated_threads[i].state != EMULATED_DONE && emulated_threads[i].arrived < needed) return false;
    return true;
  });
}
static inline void pn_send(uint32_t address, uint32_t rank, float4 x, uint32_t barrier) {
  const uint32_t window = rank * EMULATED_WINDOW;
  memcpy(shared_bytes + window + address % EMULATED_WINDOW, &x, sizeof x);
  emulated_barrier_change(emulated_barrier_at(window + barrier % EMULATED_WINDOW), 0, -(int32_t)sizeof x);
}
