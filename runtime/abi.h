/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The contract between the compiler, the artifact it writes and the runtime that runs it.
 *
 * An artifact's model.c is a handful of const tables of the types below: kernels, buffers, launches and
 * stages, tied together by one `pinion_model_desc`. The runtime and the kernels read nothing else. The same
 * tables serve every target; only what a kernel *is* (a C function, a symbol in a cubin) differs.
 *
 * Every launch describes its work in one way: an iteration space `size[rank]`, and for each argument a
 * stride in elements along each dimension of that space (0 where the argument does not depend on it).
 * Transposes, slices and broadcasts are strides; no kernel has a shape convention of its own beyond the
 * meaning of the dimensions listed at `pinion_family`.
 *
 * Plain C11 that NVRTC accepts too (it is put in front of every GPU kernel): no includes of libc there.
 */
#ifndef PINION_ABI_H
#define PINION_ABI_H

#if defined(__CUDACC_RTC__) || defined(__HIPCC_RTC__)
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#else
#include <stddef.h>
#include <stdint.h>
#endif

#define PINION_ABI_VERSION 3

#define PINION_MAX_RANK 8  /* dimensions of an iteration space, and of a tensor */
#define PINION_MAX_ARGS 16 /* arguments of one kernel: results first, then operands */
#define PINION_TENSOR_MAP_RANK 5
#define PINION_COLUMN_BLOCK 64 /* columns of a gemm that one of its column sums takes together */
#define PINION_ROW_ALIGN 16    /* bytes: rows of arena and weight buffers are padded to it */
#define PINION_BASE_ALIGN 256  /* bytes: start of every buffer in the arena and in weights.bin */

/* X(name, C storage type, bytes): element types. `bool` is one byte, 0 or 1; bf16 and f16 are their bits. */
#define PINION_DTYPES(X)                                                                                               \
  X(f32, float, 4)                                                                                                     \
  X(f64, double, 8)                                                                                                    \
  X(bf16, uint16_t, 2)                                                                                                 \
  X(f16, uint16_t, 2)                                                                                                  \
  X(i64, int64_t, 8)                                                                                                   \
  X(i32, int32_t, 4)                                                                                                   \
  X(i16, int16_t, 2)                                                                                                   \
  X(i8, int8_t, 1)                                                                                                     \
  X(u64, uint64_t, 8)                                                                                                  \
  X(u32, uint32_t, 4)                                                                                                  \
  X(u16, uint16_t, 2)                                                                                                  \
  X(u8, uint8_t, 1)                                                                                                    \
  X(bool, uint8_t, 1)

typedef enum pinion_dtype {
#define PINION_DTYPE_ENUM(name, type, bytes) PINION_DTYPE_##name,
  PINION_DTYPES(PINION_DTYPE_ENUM)
#undef PINION_DTYPE_ENUM
      PINION_DTYPE_COUNT
} pinion_dtype;

/*
 * Kernel families and the dimensions of their iteration spaces. Arguments are results, then operands, in the
 * order given. `x...` stands for the extra operands of the scalar body (bias, residual, mask, ...).
 *
 *   pointwise  [d0 .. dr)            r...; x...         r = body(x...)
 *   gemm       [b0 b1 m h n p k]     r...; a, b, x...   acc_p = sum_k a[b0,b1,m,k] * b[b0,b1,h,n,p,k]
 *                                    r = body(acc_0, .., part?, x...): more below
 *                                    (pointwise, gemm: r may lie exactly on an x, element for element)
 *   softmax    [o0 .. oj row]        y; x               y = exp(x - max) / sum over row
 *   reduce     [o0 .. oj r0 .. ri]   y; x               the last `integer[0]` dimensions are reduced
 *   cumsum     [o0 .. oj row]        y; x               integer[0] = 1: exclusive. Reverse is a negative stride
 *   norm       [o0 .. oj row]        y; x, scale?, bias?  layer or RMS; scalar[0] = epsilon
 *   attention  [b g h q k d e]       y; q, k, v, mask?  y[..q,e] = softmax_k(scale * q.k + mask) . v; g: K/V head,
 *                                    h: query head within its group; scalar[0] = scale; integer[0] = 1: causal,
 *                                    integer[1] = how many keys precede the first query. integer[2] > 0: blocks.
 *                                    Query i sees keys below integer[2]; from query integer[3] on (if > 0) below
 *                                    integer[4]; from query integer[5] on (if > 0) below integer[6]; the limits grow.
 *                                    A bool mask with stride 0 along q says which keys are valid: a kernel may skip
 *                                    what it hides. A query that sees no key gets zeros
 *   gather     [o.. i n..]           y; x, index        y[o,i,n] = x[o,index[i],n]; integer[0] = size of the
 *                                    gathered axis, integer[1] = the dimension of the space along which x's
 *                                    stride is multiplied by the index instead of the coordinate.
 *                                    An index below 0 counts from the end; one out of range is clamped.
 *   im2col     [b oy ox c ky kx]     y; x               x[b,c,iy,ix] or 0 outside, iy = oy*integer[0] + ky*integer[2]
 *                                    - integer[4], ix = ox*integer[1] + kx*integer[3] - integer[5]; integer[6..7] =
 *                                    input height and width; x's strides along oy, ox are those of its rows and columns
 *   rope       [b h s i]             y; x, cos, sin     i < half: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin);
 *                                    integer[0], integer[1] = distance in elements of the pair's partner in x and y
 *
 * gemm. The columns of the product are h groups (heads) of n. With p = 2 every element has two accumulators (gate and
 * up, the two halves that a rotation mixes); p is 1 or 2, and they are the body's first inputs. Results and operands x
 * have no strides along p and k, but where this says so. A packed b has all-zero strides: its layout is the target's.
 * Without a body the accumulator is the one result; p = 2 and everything below needs a body.
 *
 *   parts         integer[0] > 0: the groups fall into parts, of which the second begins with group integer[0], and a
 *                 third with group integer[1] if that is not 0. The body's next input is the part's index (i64). The
 *                 results are divided evenly, in the order of the parts: each part has places of its own, of the same
 *                 types, for all that the body yields, and they hold the part's groups alone: a stride along h counts
 *                 from the part's first group
 *   row sums      the last integer[2] operands x are f32, and have no strides along h and n: the body gets the sum of
 *                 the integer[3] elements that lie along k
 *   row mask      with integer[6] = 1 one more argument follows, bool, with strides along b0, b1 and m alone; the body
 *                 does not get it. Where it is false all results' rows are 0, whether they are computed, or a kernel
 *                 stores zeros and computes nothing: who makes such a launch has seen to that
 *   column sums   the last integer[4] results are f32: what the body yields for them is summed over every
 *                 PINION_COLUMN_BLOCK columns n (the last block may be short), and their stride along n is from one
 *                 block to the next. Only with one part and h = 1
 *
 * Sums are in float32, and in the same order at every run. integer[5] = how many arguments are results, where there are
 * parts or column sums.
 */
typedef enum pinion_family {
  PINION_FAMILY_POINTWISE,
  PINION_FAMILY_GEMM,
  PINION_FAMILY_SOFTMAX,
  PINION_FAMILY_REDUCE,
  PINION_FAMILY_CUMSUM,
  PINION_FAMILY_NORM,
  PINION_FAMILY_ATTENTION,
  PINION_FAMILY_GATHER,
  PINION_FAMILY_IM2COL,
  PINION_FAMILY_ROPE,
  PINION_FAMILY_COUNT
} pinion_family;

/* The dimensions of a gemm's space. */
enum {
  PINION_GEMM_B0,
  PINION_GEMM_B1,
  PINION_GEMM_M,
  PINION_GEMM_H,
  PINION_GEMM_N,
  PINION_GEMM_P,
  PINION_GEMM_K,
  PINION_GEMM_RANK
};

/* What a kernel is told besides its pointers. Constant for the life of the artifact. */
typedef struct pinion_params {
  int32_t rank;
  int32_t arg_count;
  int64_t size[PINION_MAX_RANK];
  int64_t stride[PINION_MAX_ARGS][PINION_MAX_RANK]; /* elements */
  int64_t integer[8];                               /* meaning per family, above */
  double scalar[2];
} pinion_params;

/* GPU kernels take two parameters by value: this, and pinion_params. One address per argument of the launch, results
   first; the rest is NULL. */
typedef struct pinion_pointers {
  void *pointer[PINION_MAX_ARGS];
} pinion_pointers;

#if !defined(__CUDACC_RTC__) && !defined(__HIPCC_RTC__)

typedef enum pinion_space {
  PINION_SPACE_INPUT,   /* bound by the caller: dense rows, no padding */
  PINION_SPACE_OUTPUT,  /* the same */
  PINION_SPACE_ARENA,   /* offset into the instance's arena */
  PINION_SPACE_WEIGHTS, /* offset into weights.bin; read only */
  PINION_SPACE_COUNT
} pinion_space;

typedef struct pinion_buffer_desc {
  const char *name; /* for people: the input's name, or the value's; never NULL */
  pinion_space space;
  pinion_dtype dtype;
  int32_t rank;
  int64_t dims[PINION_MAX_RANK];
  int64_t pitch;   /* elements from one row (last dimension) to the next */
  uint64_t offset; /* bytes within the space; the index of the input or output for those */
  uint64_t bytes;  /* pitch included */
} pinion_buffer_desc;

/* One argument: address = buffer's address + offset + step * step_stride. */
typedef struct pinion_arg {
  uint32_t buffer;
  int64_t offset;      /* bytes */
  int64_t step_stride; /* bytes; 0 outside a repeated stage */
} pinion_arg;

/* What one worker is given for one block of a launch on the cpu target. */
typedef struct pinion_cpu_block {
  void *const *args;
  const pinion_params *params;
  uint32_t block; /* 0 <= block < grid */
  uint32_t grid;
  uint32_t workers; /* that share the launch: a kernel may leave blocks empty that they do not need */
  void *scratch;    /* the worker's own, `scratch_bytes` of the launch, 64-byte aligned; undefined content */
} pinion_cpu_block;

typedef void pinion_cpu_kernel(const pinion_cpu_block *block);

typedef struct pinion_kernel_desc {
  const char *name;         /* symbol in its blob, or the C function's name */
  pinion_family family;     /* what it computes: for tools, and for the meaning of integer inputs */
  const char *blob;         /* file below the artifact's kernels/ folder; NULL on cpu */
  pinion_cpu_kernel *entry; /* cpu only, else NULL */
} pinion_kernel_desc;

/*
 * How a GPU's copy engine sees one argument of a launch: the kernel asks for a tile by its coordinates. Dimensions from
 * the innermost, which is contiguous. A tile is box[0] x box[1] x .. elements, its innermost rows 128 bytes that arrive
 * in shared memory in the 128-byte swizzle (16-byte chunk c of row r at c ^ (r & 7)); what lies outside arrives as 0.
 * The argument's address must be a multiple of 16 bytes at every step.
 */
typedef struct pinion_tensor_map {
  uint32_t argument; /* of the launch */
  pinion_dtype dtype;
  uint32_t rank;                          /* 1 .. 5 */
  int64_t size[PINION_TENSOR_MAP_RANK];   /* elements; at least 1 */
  int64_t stride[PINION_TENSOR_MAP_RANK]; /* elements; 1, then multiples of 16 bytes */
  uint32_t box[PINION_TENSOR_MAP_RANK];   /* elements; at most 256 */
} pinion_tensor_map;

typedef struct pinion_launch_desc {
  uint32_t kernel;
  uint32_t grid[3];              /* cpu: grid[0] blocks, the others 1 */
  uint32_t block[3];             /* threads; cpu: 1 */
  uint32_t dynamic_shared_bytes; /* GPU; on cpu: scratch bytes per worker */
  uint32_t first_arg, arg_count; /* into args[] */
  const pinion_params *params;
  uint32_t first_dependency, dependency_count; /* into dependencies[]: launches of the same table that must be done
                                                  before this one starts (within a repeated stage: of the same step) */
  const pinion_tensor_map *tensor_map; /* cuda: NULL, or what the kernel's third parameter, a CUtensorMap by value, is
                                          made from when the launch is captured */
} pinion_launch_desc;

/* Launches first .. first + count, run `repeat` times in a row; `step` counts from 0. Stages follow one another through
   the launch table and cover it. A repeated stage begins, and each of its steps, when what is before it is done: the
   arena's memory is used again from step to step. */
typedef struct pinion_stage_desc {
  const char *name; /* "vision", "prefix", "step", ... */
  uint32_t first_launch, launch_count;
  uint32_t repeat;
} pinion_stage_desc;

typedef struct pinion_model_desc {
  uint32_t abi_version; /* PINION_ABI_VERSION of the compiler that wrote it */
  const char *name;
  const char *target;         /* "cpu", "sm_90", ... */
  const char *device;         /* which runtime/device_*.c: "cpu", "cuda", "hip" */
  int32_t compute_capability; /* cuda: 90; else 0 */
  int32_t minimum_driver;     /* cuda: 13000 for 13.0; else 0 */
  uint64_t arena_bytes;
  uint64_t weights_bytes;
  uint8_t weights_hash[32]; /* SHA-256 of weights.bin; checked by `pinion inspect --check` only */
  const pinion_buffer_desc *buffers;
  const pinion_kernel_desc *kernels;
  const pinion_arg *args;
  const pinion_launch_desc *launches;
  const uint32_t *dependencies;
  const pinion_stage_desc *stages;
  const uint32_t *inputs;  /* buffer indices, in the model's order */
  const uint32_t *outputs; /* the same */
  uint32_t buffer_count, kernel_count, arg_count, launch_count, dependency_count, stage_count, input_count,
      output_count;
} pinion_model_desc;

/* Another kernel for a launch of the table, with which it computes the same: what there is to measure. The arguments
   and params are the launch's. */
typedef struct pinion_candidate_desc {
  uint32_t launch, kernel; /* in the model's tables */
  uint32_t grid[3], block[3], dynamic_shared_bytes;
  const pinion_tensor_map *tensor_map;
  const char *tile;
  double microseconds; /* by the target's cost model */
} pinion_candidate_desc;

/* What a launch of the table is to a tuning file. */
typedef struct pinion_tile_desc {
  const char *problem, *tile; /* its key; "" if the kernel has no tile */
  double microseconds;        /* by the target's cost model */
} pinion_tile_desc;

typedef struct pinion_tuning_desc {
  const pinion_tile_desc *launches; /* as many as the table */
  const pinion_candidate_desc *candidates;
  uint32_t candidate_count;
  const char *toolchain; /* that compiled the kernels */
} pinion_tuning_desc;

/* Exported too where the artifact was compiled with candidates (candidates.c). */
const pinion_tuning_desc *pinion_model_tuning(void);

/*
 * The one symbol that libmodel exports besides the API in pinion.h and the typed entry points in model.h. Tools that
 * dlopen an artifact call it.
 */
const pinion_model_desc *pinion_model_description(void);

/* weights.bin begins with this header, padded to PINION_BASE_ALIGN; buffer offsets count from the file's start. */
typedef struct pinion_weights_header {
  char magic[8]; /* "PINIONW\0" */
  uint32_t abi_version;
  uint32_t reserved;
  uint64_t bytes; /* of the whole file */
  char target[16];
} pinion_weights_header;

static inline size_t pinion_dtype_size(pinion_dtype dtype) {
  static const uint8_t sizes[] = {
#define PINION_DTYPE_SIZE(name, type, bytes) bytes,
      PINION_DTYPES(PINION_DTYPE_SIZE)
#undef PINION_DTYPE_SIZE
  };
  return (unsigned)dtype < PINION_DTYPE_COUNT ? sizes[dtype] : 0;
}

/* How many parts a gemm has. */
static inline int pinion_gemm_parts(const pinion_params *params) {
  return 1 + (params->integer[0] > 0) + (params->integer[1] > 0);
}

/* The first group of a gemm's part; of the one behind the last: how many groups there are. */
static inline int64_t pinion_gemm_part_start(const pinion_params *params, int part) {
  return part == 0 ? 0 : part == pinion_gemm_parts(params) ? params->size[PINION_GEMM_H] : params->integer[part - 1];
}

/* Which part a group of a gemm belongs to. */
static inline int pinion_gemm_part(const pinion_params *params, int64_t group) {
  return (params->integer[0] > 0 && group >= params->integer[0]) +
         (params->integer[1] > 0 && group >= params->integer[1]);
}

/* The first of a gemm's row sums; where there are none, the argument behind the operands x. */
static inline int pinion_gemm_first_row_sum(const pinion_params *params) {
  return (int)(params->arg_count - params->integer[6] - params->integer[2]);
}

/* How many elements of argument `arg` of a gemm lie along dimension `dim` of its space. */
static inline int64_t pinion_gemm_extent(const pinion_params *params, int arg, int dim) {
  const int64_t *integer = params->integer, size = params->size[dim];
  const int parts = pinion_gemm_parts(params);
  if (arg >= params->arg_count - integer[6]) return size;
  if (arg >= pinion_gemm_first_row_sum(params) && dim == PINION_GEMM_K) return integer[3];
  if (arg >= integer[5]) return size;
  if (arg >= integer[5] - integer[4] && dim == PINION_GEMM_N)
    return (size + PINION_COLUMN_BLOCK - 1) / PINION_COLUMN_BLOCK;
  if (parts == 1 || dim != PINION_GEMM_H) return size;
  const int part = (int)(arg / (integer[5] / parts));
  return pinion_gemm_part_start(params, part + 1) - pinion_gemm_part_start(params, part);
}

/* NULL, or what is wrong with a gemm's parameters (rank and arg_count are right): nothing else may be asked then. */
static inline const char *pinion_gemm_fault(const pinion_params *params) {
  const int64_t *integer = params->integer, *size = params->size;
  if (size[PINION_GEMM_P] != 1 && size[PINION_GEMM_P] != 2) return "a gemm has one accumulator or two";
  if (integer[0] < 0 || integer[1] < 0 || (integer[1] && integer[1] <= integer[0]) ||
      (integer[0] && (integer[1] ? integer[1] : integer[0]) >= size[PINION_GEMM_H]))
    return "the parts of a gemm are no ranges of its groups";
  if (integer[5] < 0 || integer[5] > params->arg_count - 2 || (integer[0] && integer[5] == 0) ||
      integer[5] % pinion_gemm_parts(params))
    return "the results of a gemm do not divide among its parts";
  if (integer[6] != 0 && integer[6] != 1) return "a gemm has one row mask or none";
  if (integer[2] < 0 || integer[2] + integer[6] > params->arg_count - 2 - (integer[5] ? integer[5] : 1) ||
      (integer[2] && integer[3] < 1))
    return "a gemm has fewer operands than row sums and a mask, or sums of nothing";
  if (integer[4] < 0 || integer[4] > integer[5] || (integer[4] && (integer[0] || size[PINION_GEMM_H] != 1)))
    return "column sums are results of a gemm of one group";
  return NULL;
}

#endif
#endif
