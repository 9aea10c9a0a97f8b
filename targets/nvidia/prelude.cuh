/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What every CUDA kernel of Pinion finds in front of it: element loads and stores, the scalar functions that a body may
 * call, coordinates of the iteration space, reductions over the threads of a row. Header-free, for NVRTC.
 *
 * A kernel is launched with two parameters by value: the addresses of its arguments and the launch's params
 * (runtime/abi.h declares both types). It must work for any strides; grids are capped, so every kernel loops over its
 * work.
 */
#define PN_DEVICE __device__
#define PN_INLINE static __device__ __forceinline__
/* PN_CLUSTER blocks make a cluster. */
#if defined(PN_CLUSTER) && PN_CLUSTER > 1
#define PN_CLUSTER_SIZE __cluster_dims__(PN_CLUSTER, 1, 1)
#else
#define PN_CLUSTER_SIZE
#endif
/* What a kernel begins with: PN_ENTRY(threads, blocks that a multiprocessor is to hold at least). It is started while
   the launch in front of it still runs: pn_wait_for_inputs comes before any thread reads what that launch wrote, or
   writes at all. A kernel lets the next one start only then: so all launches before the one in front are done when a
   kernel starts, and PN_ENTRY_EARLY, which leaves both calls to the kernel, may read what those wrote. */
#define PN_ENTRY_EARLY(...)                                                                                            \
  PN_INLINE void pn_work(const pinion_pointers &arguments, const pinion_params &params);                               \
  extern "C" __global__ void PN_CLUSTER_SIZE __launch_bounds__(__VA_ARGS__)                                            \
      PN_KERNEL(const __grid_constant__ pinion_pointers arguments, const __grid_constant__ pinion_params params) {     \
    pn_work(arguments, params);                                                                                        \
  }                                                                                                                    \
  PN_INLINE void pn_work(const pinion_pointers &arguments, const pinion_params &params)
#define PN_ENTRY(...)                                                                                                  \
  PN_INLINE void pn_after_wait(const pinion_pointers &arguments, const pinion_params &params);                         \
  PN_ENTRY_EARLY(__VA_ARGS__) {                                                                                        \
    pn_wait_for_inputs();                                                                                              \
    pn_let_next_start();                                                                                               \
    pn_after_wait(arguments, params);                                                                                  \
  }                                                                                                                    \
  PN_INLINE void pn_after_wait(const pinion_pointers &arguments, const pinion_params &params)
#define PN_INFINITY __int_as_float(0x7f800000)
#define PN_NAN __int_as_float(0x7fffffff)
#define PN_PASTE_(a, b) a##b
#define PN_PASTE(a, b) PN_PASTE_(a, b)

/* Counts points of the iteration space. The target defines PN_WIDE_INDEX for spaces of 2^31 points and more: 64-bit
   division is several times slower. */
#ifdef PN_WIDE_INDEX
typedef uint64_t pn_index;
#else
typedef uint32_t pn_index;
#endif

/* ---- Instructions that C has no words for. tests/cuda/emulator.h has each of them in C, for tests without a GPU. ----
 */
#ifndef PN_EMULATED
/* The next launch may be started once every block of this one says so, or has ended: after pn_wait_for_inputs. */
PN_INLINE void pn_let_next_start(void) {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
/* Until the launch in front of this one is done, and what it wrote is there. */
PN_INLINE void pn_wait_for_inputs(void) {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
/* To nearest even, in the upper half; a NaN stays one. Pairs are converted four times as fast as single numbers. */
PN_INLINE uint32_t pn_high_bf16(float x) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(x), "f"(0.0f));
  return pair;
}
PN_INLINE uint32_t pn_high_f16(float x) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(x), "f"(0.0f));
  return pair;
}
PN_INLINE uint16_t pn_bits_bf16(float x) {
  return (uint16_t)(pn_high_bf16(x) >> 16);
}
PN_INLINE uint16_t pn_bits_f16(float x) {
  return (uint16_t)(pn_high_f16(x) >> 16);
}
PN_INLINE float pn_value_f16(uint16_t bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}

PN_INLINE uint32_t pn_shared_address(const void *pointer) {
  return (uint32_t)__cvta_generic_to_shared(pointer);
}
PN_INLINE void pn_store_shared(uint32_t to_shared, uint16_t value) {
  asm volatile("st.shared.u16 [%0], %1;" ::"r"(to_shared), "h"(value) : "memory");
}
/* Begins to copy 16 bytes, of which the first `valid` come from memory and the others are 0. */
PN_INLINE void pn_copy_chunk(uint32_t to_shared, const void *from, int valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to_shared), "l"(from), "r"(valid) : "memory");
}
/* The same of all 16, or nothing; it takes no branch. */
PN_INLINE void pn_copy_if(bool wanted, uint32_t to_shared, const void *from) {
  asm volatile("{.reg .pred p; setp.ne.u32 p, %2, 0; @p cp.async.cg.shared.global [%0], [%1], 16;}" ::"r"(to_shared),
               "l"(from), "r"((uint32_t)wanted)
               : "memory");
}
/* Waits for all copies that this thread began. */
PN_INLINE void pn_wait_copies(void) {
  asm volatile("cp.async.wait_all;" ::: "memory");
}
/* Makes a group of the copies that this thread began since the last; waits for all but the newest `groups`. */
PN_INLINE void pn_commit_copies(void) {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int groups> PN_INLINE void pn_wait_copies_but(void) {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}
/* Four 8 x 8 matrices of 16 bits; lane 8 i + r gives the address of row r of matrix i, and lane l receives elements 2
   (l % 4) and the next of row l / 4 of each. */
PN_INLINE void pn_load_matrices(uint32_t *registers, uint32_t from_shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(from_shared)
               : "memory");
}
/* The same, but lane l receives rows 2 (l % 4) and the next of column l / 4. */
PN_INLINE void pn_load_transposed(uint32_t *registers, uint32_t from_shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(from_shared)
               : "memory");
}
/* One 8 x 8 matrix of 16 bits, or two; lane l has rows 2 (l % 4) and the next of column l / 4, and lane 8 i + r gives
   the address of row r of matrix i. */
PN_INLINE void pn_store_transposed(uint32_t to_shared, const uint32_t (&pairs)[1]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(to_shared), "r"(pairs[0]) : "memory");
}
PN_INLINE void pn_store_transposed(uint32_t to_shared, const uint32_t (&pairs)[2]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(to_shared), "r"(pairs[0]),
               "r"(pairs[1])
               : "memory");
}
/* c[16 x 8] += a[16 x 16] b[16 x 8], in the fragments of mma.m16n8k16. */
#define PN_MMA(name)                                                                                                   \
  PN_INLINE void pn_mma_##name(float *c, const uint32_t *a, const uint32_t *b) {                                       \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." #name "." #name ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, " \
        "{%0, %1, %2, %3};"                                                                                            \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                               \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                           \
  }
PN_MMA(bf16)
PN_MMA(f16)

PN_INLINE uint32_t pn_pack_bf16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
/* 2^x within 2 units; what would be denormal is 0. */
PN_INLINE float pn_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* Barriers in shared memory, 8 bytes: a phase is over when `count` arrivals, and the bytes expected, have come. */
PN_INLINE void pn_barrier_init(uint32_t barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
/* Shows the initialised barriers to the cluster, before it begins. */
PN_INLINE void pn_barrier_publish(void) {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/* Arrives, and expects so many bytes. */
PN_INLINE void pn_barrier_expect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
PN_INLINE void pn_barrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/* Arrives when all copies (pn_copy_chunk) that this thread began have come. */
PN_INLINE void pn_barrier_arrive_with_copies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}
/* For the end of a phase, 0 or 1 in turn. */
PN_INLINE void pn_barrier_wait(uint32_t barrier, uint32_t phase) {
  uint32_t done = 0;
#pragma unroll 1
  while (!done)
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                 : "=r"(done)
                 : "r"(barrier), "r"(phase)
                 : "memory");
}
/* For the end of the first phase, at which what other blocks of the cluster sent is there. */
PN_INLINE void pn_barrier_wait_for_cluster(uint32_t barrier) {
  uint32_t done = 0;
#pragma unroll 1
  while (!done)
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0; "
                 "selp.u32 %0, 1, 0, p;}"
                 : "=r"(done)
                 : "r"(barrier)
                 : "memory");
}

/* `count` threads of the block, in whole warps, wait for each other; barrier 0 is __syncthreads'. */
PN_INLINE void pn_sync(int barrier, int count) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(count) : "memory");
}

/* ---- wgmma: the instructions themselves are spelled out by the target. ----
   What threads wrote, or saw written, to shared memory is there for wgmma afterwards. */
PN_INLINE void pn_wgmma_sees_writes(void) {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
PN_INLINE void pn_wgmma_begin(void) {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/* Ends a group of products; waits for all but the last `others` groups. */
PN_INLINE void pn_wgmma_commit(void) {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int others = 0> PN_INLINE void pn_wgmma_wait(void) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(others) : "memory");
}
/* Keeps ptxas from moving registers of accumulators across the waits. */
template <int count> PN_INLINE void pn_pin(float (&registers)[count]) {
#pragma unroll
  for (int i = 0; i < count; i++) asm volatile("" : "+f"(registers[i]));
}
/* Keeps an address, or an offset, in registers: it is made before it is needed, or others differ from it by a constant
   that the instruction takes. */
PN_INLINE void pn_pin(uint32_t &address) {
  asm volatile("" : "+r"(address));
}
PN_INLINE void pn_pin(int64_t &offset) {
  asm volatile("" : "+l"(offset));
}
template <typename type> PN_INLINE void pn_pin(type *&address) {
  asm volatile("" : "+l"(address));
}
/* An operand in the 128-byte swizzle: 8 rows are 1024 bytes. `atoms`: bytes from one 128 bytes of columns to the next,
   which matters where a row is not along k. */
PN_INLINE uint64_t pn_wgmma_operand(uint32_t shared_address, uint32_t atoms) {
  return (uint64_t)0x40000040u << 32 | (shared_address >> 4 & 0x3fff) | atoms >> 4 << 16;
}
template <int count> PN_INLINE void pn_give_registers(void) {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count> PN_INLINE void pn_take_registers(void) {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

/* Blocks of a cluster: to have begun, which the others wait for before they send, promises nothing else. */
PN_INLINE void pn_cluster_begin(void) {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
PN_INLINE void pn_cluster_wait(void) {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
/* Sends 16 bytes to where `address` is in the block of that rank, and tells its barrier. */
PN_INLINE void pn_send(uint32_t address, uint32_t rank, float4 x, uint32_t barrier) {
  asm volatile(
      "{.reg .b32 a, b; mapa.shared::cluster.u32 a, %0, %1; mapa.shared::cluster.u32 b, %2, %1; "
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [a], {%3, %4, %5, %6}, [b];}" ::"r"(address),
      "r"(rank), "r"(barrier), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w)
      : "memory");
}

extern __shared__ __align__(1024) char pn_shared[]; /* the block's dynamic shared memory */
#endif

/* ---- Rounding ---- */
PN_INLINE float pn_value_bf16(uint16_t bits) {
  return __uint_as_float((uint32_t)bits << 16);
}
PN_INLINE float pn_round_bf16(float x) {
  return __uint_as_float(pn_high_bf16(x));
}
PN_INLINE float pn_round_f16(float x) {
  return pn_value_f16(pn_bits_f16(x));
}

/* ---- Elements: pn_load_TYPE gives the compute type, pn_store_TYPE takes any ---- */
#define PN_ELEMENT(name, storage, compute)                                                                             \
  PN_INLINE compute pn_load_##name(const void *base, int64_t index) {                                                  \
    return (compute)((const storage *)base)[index];                                                                    \
  }                                                                                                                    \
  template <typename value_type> PN_INLINE void pn_store_##name(void *base, int64_t index, value_type value) {         \
    ((storage *)base)[index] = (storage)value;                                                                         \
  }
#define PN_HALF_ELEMENT(name)                                                                                          \
  PN_INLINE float pn_load_##name(const void *base, int64_t index) {                                                    \
    return pn_value_##name(((const uint16_t *)base)[index]);                                                           \
  }                                                                                                                    \
  PN_INLINE void pn_store_##name(void *base, int64_t index, float value) {                                             \
    ((uint16_t *)base)[index] = pn_bits_##name(value);                                                                 \
  }
PN_ELEMENT(f32, float, float)
PN_ELEMENT(f64, double, double)
PN_HALF_ELEMENT(bf16)
PN_HALF_ELEMENT(f16)
PN_ELEMENT(i64, int64_t, int64_t)
PN_ELEMENT(i32, int32_t, int64_t)
PN_ELEMENT(i16, int16_t, int64_t)
PN_ELEMENT(i8, int8_t, int64_t)
PN_ELEMENT(u64, uint64_t, int64_t)
PN_ELEMENT(u32, uint32_t, int64_t)
PN_ELEMENT(u16, uint16_t, int64_t)
PN_ELEMENT(u8, uint8_t, int64_t)
PN_INLINE int64_t pn_load_bool(const void *base, int64_t index) {
  return ((const uint8_t *)base)[index] != 0;
}
template <typename value_type> PN_INLINE void pn_store_bool(void *base, int64_t index, value_type value) {
  ((uint8_t *)base)[index] = value != 0;
}
/* Of argument i, which must be a literal number. */
#define PN_LOAD(i, index) PN_PASTE(pn_load_, PN_T##i)(arguments.pointer[i], index)
#define PN_STORE(i, index, value) PN_PASTE(pn_store_, PN_T##i)(arguments.pointer[i], index, value)

/* ---- Eight elements, of any type, as they lie in memory ---- */
#define PN_STORAGE(name, storage, bytes) typedef storage pn_storage_##name;
PINION_DTYPES(PN_STORAGE)

typedef struct pn_eight {
  uint4 part[4];
} pn_eight;

/* They lie side by side, at a multiple of 16 bytes. An element is at least two bytes. */
template <typename storage> PN_INLINE void pn_load_eight(pn_eight *out, const void *base, int64_t index) {
  const uint4 *from = (const uint4 *)((const storage *)base + index);
#pragma unroll
  for (int i = 0; i < (int)sizeof(storage) / 2; i++) out->part[i] = from[i];
}
template <typename storage> PN_INLINE void pn_store_eight(const pn_eight *values, void *base, int64_t index) {
  uint4 *to = (uint4 *)((storage *)base + index);
#pragma unroll
  for (int i = 0; i < (int)sizeof(storage) / 2; i++) to[i] = values->part[i];
}

/* ---- Scalar functions that bodies call: float, and float64 as NAME_f64 ---- */
#define PN_UNARY(name, float_value, double_value)                                                                      \
  PN_INLINE float pn_##name(float x) {                                                                                 \
    return float_value;                                                                                                \
  }                                                                                                                    \
  PN_INLINE double pn_##name##_f64(double x) {                                                                         \
    return double_value;                                                                                               \
  }
PN_UNARY(exp, expf(x), exp(x))
PN_UNARY(log, logf(x), log(x))
PN_UNARY(sqrt, sqrtf(x), sqrt(x))
PN_UNARY(rsqrt, rsqrtf(x), 1.0 / sqrt(x))
PN_UNARY(tanh, tanhf(x), tanh(x))
PN_UNARY(erf, erff(x), erf(x))
PN_UNARY(sin, sinf(x), sin(x))
PN_UNARY(cos, cosf(x), cos(x))
PN_UNARY(floor, floorf(x), floor(x))
PN_UNARY(ceil, ceilf(x), ceil(x))
PN_UNARY(round, rintf(x), rint(x))
/* __fdividef errs by 2 units and calls nothing; beyond 2^126 it gives 0, which is right here. e^-x is 2^(-x log2 e). */
PN_UNARY(sigmoid, __fdividef(1.0f, 1.0f + pn_exp2(-1.4426950408889634f * x)), 1.0 / (1.0 + exp(-x)))
PN_UNARY(silu, __fdividef(x, 1.0f + pn_exp2(-1.4426950408889634f * x)), x / (1.0 + exp(-x)))
/* 0.5 x (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3), which is x / (1 + exp(-2 u)): without a branch. The factors of x
   and x^3 are -2 sqrt(2/pi) log2 e and 0.044715 times that. */
PN_UNARY(gelu_tanh, __fdividef(x, 1.0f + pn_exp2(x * (-2.3022081987f - 0.1029432396f * x * x))),
         0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))))
/* 0.5 x (1 + erf(x / sqrt(2))) */
PN_UNARY(gelu_erf, 0.5f * x * (1.0f + erff(x * 0.7071067811865476f)), 0.5 * x * (1.0 + erf(x * 0.7071067811865476)))
PN_INLINE float pn_pow(float x, float y) {
  return powf(x, y);
}
PN_INLINE double pn_pow_f64(double x, double y) {
  return pow(x, y);
}
PN_INLINE float pn_mod(float x, float y) {
  return fmodf(x, y);
}
PN_INLINE double pn_mod_f64(double x, double y) {
  return fmod(x, y);
}
/* By squaring, modulo 2^64; a negative exponent is the truncated reciprocal, and 0 for 0. */
PN_INLINE int64_t pn_pow_i64(int64_t x, int64_t y) {
  if (y < 0) return x == 1 ? 1 : x == -1 ? (y % 2 ? -1 : 1) : 0;
  uint64_t power = 1, base = (uint64_t)x;
  for (; y; y >>= 1, base *= base)
    if (y & 1) power *= base;
  return (int64_t)power;
}

/* ---- What accumulators need, whatever their type; a NaN on either side is the result ---- */
PN_INLINE double pn_exp(double x) {
  return exp(x);
}
PN_INLINE double pn_rsqrt(double x) {
  return 1.0 / sqrt(x);
}
/* Within 2 units, where a division would be a call. */
PN_INLINE float pn_inverse(float x) {
  return __fdividef(1.0f, x);
}
PN_INLINE double pn_inverse(double x) {
  return 1.0 / x;
}
template <typename value_type> PN_INLINE value_type pn_min(value_type x, value_type y) {
  return x < y || x != x ? x : y;
}
template <typename value_type> PN_INLINE value_type pn_max(value_type x, value_type y) {
  return x > y || x != x ? x : y;
}
PN_INLINE float pn_div(float x, float y) {
  return x / y;
}
PN_INLINE double pn_div(double x, double y) {
  return x / y;
}
PN_INLINE int64_t pn_div(int64_t x, int64_t y) {
  return y ? x / y : 0;
}

/* ---- Coordinates ---- */

/* Points of dimensions first .. end. */
PN_INLINE pn_index pn_points(const pinion_params *params, int first, int end) {
  pn_index points = 1;
  for (int d = first; d < end; d++) points *= (pn_index)params->size[d];
  return points;
}

/* Coordinates of point `linear` of dimensions first .. end, the last fastest, into at[first .. end). */
PN_INLINE void pn_coordinates(const pinion_params *params, int first, int end, pn_index linear, pn_index *at) {
#pragma unroll
  for (int d = end - 1; d >= first; d--) {
    pn_index size = (pn_index)params->size[d];
    pn_index rest = linear / size;
    at[d] = linear - rest * size;
    linear = rest;
  }
}

/* Element index of `argument` at at[first .. end), counted from where those coordinates are 0. */
PN_INLINE int64_t pn_offset(const pinion_params *params, int argument, int first, int end, const pn_index *at) {
  int64_t offset = 0;
#pragma unroll
  for (int d = first; d < end; d++) offset += (int64_t)at[d] * params->stride[argument][d];
  return offset;
}

/* ---- Attention: the dimensions of its space, and which keys a query sees ---- */
enum { PN_HEAD = 2, PN_QUERY, PN_KEY, PN_DEPTH, PN_VALUE };

/* A query sees no key from here on: neither causally nor by the blocks of abi.h. It grows with the query. */
PN_INLINE int64_t pn_key_limit(const pinion_params *params, int64_t query) {
  const int64_t *integer = params->integer;
  int64_t limit = params->size[PN_KEY];
  if (integer[0] == 1 && query + integer[1] + 1 < limit) limit = query + integer[1] + 1;
  if (integer[2] <= 0) return limit;
  const int64_t of_block = integer[5] > 0 && query >= integer[5]   ? integer[6]
                           : integer[3] > 0 && query >= integer[3] ? integer[4]
                                                                   : integer[2];
  return of_block < limit ? of_block : limit;
}

/* ---- The body, at the coordinates that the kernel calls `at` ---- */
#define PN_BODY_LOAD(j, i, type)                                                                                       \
  const PN_C##i x##j = pn_load_##type(arguments.pointer[i], pn_offset(&params, i, 0, PN_RANK, at));
#define PN_BODY_DECLARE(j, i, type) PN_C##i r##j;
#define PN_BODY_STORE(j, i, type) pn_store_##type(arguments.pointer[i], pn_offset(&params, i, 0, PN_RANK, at), r##j);
#define PN_RUN_BODY                                                                                                    \
  PN_BODY_OPERANDS(PN_BODY_LOAD)                                                                                       \
  PN_BODY_RESULTS(PN_BODY_DECLARE)                                                                                     \
  pn_body(PN_BODY_ARGUMENTS);                                                                                          \
  PN_BODY_RESULTS(PN_BODY_STORE)

/* ---- A gemm's columns and its epilogue ---- */
#ifdef PN_ACCUMULATORS

/* Group and place in it of column `column`, all groups counted through. */
PN_INLINE void pn_column(const pinion_params *params, int64_t column, pn_index *at) {
#ifdef PN_GROUPED
  at[PINION_GEMM_H] = (pn_index)(column / params->size[PINION_GEMM_N]);
  at[PINION_GEMM_N] = (pn_index)(column % params->size[PINION_GEMM_N]);
#else
  at[PINION_GEMM_H] = 0;
  at[PINION_GEMM_N] = (pn_index)column;
#endif
}

/* The sums that the body is given in row `at`, by argument. */
PN_INLINE void pn_sum_rows(const pinion_pointers &arguments, const pinion_params &params, const pn_index *at,
                           float *out_sums) {
#define PN_SUM_ROW(j, i, type)                                                                                         \
  out_sums[i] = 0;                                                                                                     \
  for (int64_t term = 0; term < params.integer[3]; term++)                                                             \
    out_sums[i] += pn_load_##type(arguments.pointer[i], pn_offset(&params, i, 0, PINION_GEMM_H, at) +                  \
                                                            term * params.stride[i][PINION_GEMM_K]);
  PN_ROW_SUMS(PN_SUM_ROW)
}

/* One element of the product, at the coordinates that the kernel calls `at`: its `accumulators` go through the body, or
   straight to the result. `row_sums` are given to it, what is summed over columns is added to `column_sums`; both by
   argument. */
#if PN_ACCUMULATORS == 2
#define PN_GEMM_ACCUMULATORS const auto x0 = accumulators[0], x1 = accumulators[1];
#else
#define PN_GEMM_ACCUMULATORS const auto x0 = accumulators[0];
#endif
#if PN_PARTS > 1
#define PN_GEMM_PART                                                                                                   \
  const int part = pn_part(&params, at[PINION_GEMM_H]);                                                                \
  const int64_t PN_PART = part;
#define PN_GEMM_ARGUMENT(i) (i + part * (PN_RESULTS / PN_PARTS))
#define PN_GEMM_PLACE(i)                                                                                               \
  (pn_offset(&params, PN_GEMM_ARGUMENT(i), 0, PINION_GEMM_P, at) -                                                     \
   (part ? params.integer[part - 1] : 0) * params.stride[PN_GEMM_ARGUMENT(i)][PINION_GEMM_H])
PN_INLINE int pn_part(const pinion_params *params, int64_t group) {
  return (group >= params->integer[0]) + (PN_PARTS == 3 && group >= params->integer[1]);
}
#else
#define PN_GEMM_PART
#define PN_GEMM_ARGUMENT(i) i
#define PN_GEMM_PLACE(i) pn_offset(&params, i, 0, PINION_GEMM_P, at)
#endif
#define PN_GEMM_LOAD(j, i, type)                                                                                       \
  const PN_C##i x##j = pn_load_##type(arguments.pointer[i], pn_offset(&params, i, 0, PINION_GEMM_P, at));
#define PN_GEMM_TAKE(j, i, type)                                                                                       \
  const float sum##j = row_sums[i];                                                                                    \
  float x##j;
#define PN_GEMM_STORE(j, i, type)                                                                                      \
  pn_store_##type(arguments.pointer[PN_GEMM_ARGUMENT(i)], PN_GEMM_PLACE(i), r##j);
#define PN_GEMM_ADD(j, i, type) column_sums[i] += r##j;
#ifdef PN_HAS_BODY
#define PN_FINISH_ELEMENT                                                                                              \
  PN_GEMM_ACCUMULATORS                                                                                                 \
  PN_GEMM_PART                                                                                                         \
  PN_BODY_OPERANDS(PN_GEMM_LOAD)                                                                                       \
  PN_ROW_SUMS(PN_GEMM_TAKE)                                                                                            \
  PN_ROW_VALUES                                                                                                        \
  PN_BODY_RESULTS(PN_BODY_DECLARE)                                                                                     \
  PN_COLUMN_SUMS(PN_BODY_DECLARE)                                                                                      \
  pn_body(PN_BODY_ARGUMENTS);                                                                                          \
  PN_BODY_RESULTS(PN_GEMM_STORE)                                                                                       \
  PN_COLUMN_SUMS(PN_GEMM_ADD)
#else
#define PN_FINISH_ELEMENT PN_STORE(0, PN_GEMM_PLACE(0), accumulators[0]);
#endif

#ifdef PN_ROW_MASK
/* Whether the mask lets a kernel leave out rows m0 .. m0 + rows, of the batch that `at` is of: it is false for all that
   exist. All `threads` of the block ask together. */
PN_INLINE bool pn_skips_rows(const pinion_pointers &arguments, const pinion_params &params, const pn_index *at,
                             int64_t m0, int64_t rows, int threads) {
  const uint8_t *mask = (const uint8_t *)arguments.pointer[PN_ROW_MASK] + pn_offset(&params, PN_ROW_MASK, 0, 2, at);
  const int64_t left = params.size[PINION_GEMM_M] - m0;
  bool needed = false;
  for (int64_t row = threadIdx.x; row < (left < rows ? left : rows); row += threads)
    needed |= mask[(m0 + row) * params.stride[PN_ROW_MASK][PINION_GEMM_M]] != 0;
  return !__syncthreads_or(needed);
}

/* Stores 0 to all results at rows m0 .. m0 + rows and columns column0 .. column0 + columns, as far as they exist. */
#define PN_GEMM_CLEAR(j, i, type) pn_store_##type(arguments.pointer[PN_GEMM_ARGUMENT(i)], PN_GEMM_PLACE(i), 0);
#define PN_GEMM_CLEAR_SUM(j, i, type)                                                                                  \
  pn_store_##type(arguments.pointer[i], pn_offset(&params, i, 0, PINION_GEMM_P, at), 0);
PN_INLINE void pn_clear_tile(const pinion_pointers &arguments, const pinion_params &params, pn_index *at, int64_t m0,
                             int64_t rows, int64_t column0, int64_t columns, int threads) {
  const int64_t all = params.size[PINION_GEMM_H] * params.size[PINION_GEMM_N];
  for (int64_t i = threadIdx.x; i < rows * columns; i += threads) {
    const int64_t m = m0 + i / columns, column = column0 + i % columns;
    if (m >= params.size[PINION_GEMM_M] || column >= all) continue;
    at[PINION_GEMM_M] = (pn_index)m;
    pn_column(&params, column, at);
    {
      PN_GEMM_PART
      PN_BODY_RESULTS(PN_GEMM_CLEAR)
    }
    if (column % PINION_COLUMN_BLOCK) continue;
    at[PINION_GEMM_N] = (pn_index)(column / PINION_COLUMN_BLOCK);
    PN_COLUMN_SUMS(PN_GEMM_CLEAR_SUM)
  }
}
#endif

/* ---- Packed weights, [row/64][k/P] atoms of 64 rows x 128 bytes, P = 128 / element bytes; target_packing.c has the
 * picture ---- */
PN_INLINE int64_t pn_packed_row(int64_t column, int half) {
  return column / 8 * 8 * PN_ACCUMULATORS + half * 8 + column % 8;
}
PN_INLINE int64_t pn_packed_index(int64_t packed_row, int64_t k, int64_t k_size, int element_bytes) {
  const int per_row = 128 / element_bytes, per_chunk = 16 / element_bytes;
  const int64_t atom = packed_row / 64 * ((k_size + per_row - 1) / per_row) + k / per_row;
  const int row = (int)(packed_row % 64), column = (int)(k % per_row);
  const int chunk = column / per_chunk ^ (row & 7);
  return (atom * 64 + row) * per_row + chunk * per_chunk + column % per_chunk;
}
#endif

/* ---- Rows: PN_ROW_THREADS neighbouring threads (32, or the whole block of 256) share one. Every reduction gives all
   of them the result, and every thread of the block must take part. ---- */
#ifdef PN_ROW_THREADS
#define PN_ROWS_PER_BLOCK (256 / PN_ROW_THREADS)
template <typename value_type> PN_INLINE value_type pn_shuffle_xor(value_type value, int lanes) {
  return __shfl_xor_sync(0xffffffffu, value, lanes);
}
#define PN_ROW_REDUCTION(name, combined)                                                                               \
  template <typename value_type> PN_INLINE value_type pn_row_##name(value_type x) {                                    \
    for (int lanes = 16; lanes; lanes >>= 1) {                                                                         \
      const value_type y = pn_shuffle_xor(x, lanes);                                                                   \
      x = combined;                                                                                                    \
    }                                                                                                                  \
    if (PN_ROW_THREADS > 32) {                                                                                         \
      __shared__ value_type of_warp[8];                                                                                \
      __syncthreads(); /* the array may still be read for the reduction before */                                      \
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;                                                        \
      __syncthreads();                                                                                                 \
      x = of_warp[0];                                                                                                  \
      for (int warp = 1; warp < 8; warp++) {                                                                           \
        const value_type y = of_warp[warp];                                                                            \
        x = combined;                                                                                                  \
      }                                                                                                                \
    }                                                                                                                  \
    return x;                                                                                                          \
  }
PN_ROW_REDUCTION(sum, x + y)
PN_ROW_REDUCTION(prod, x *y)
PN_ROW_REDUCTION(max, pn_max(x, y))
PN_ROW_REDUCTION(min, pn_min(x, y))
#endif
