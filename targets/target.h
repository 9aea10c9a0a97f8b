/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What a target says about itself: one const struct, and the list of them. Nothing outside targets/ asks for a target
 * by name; it asks the struct.
 */
#ifndef PINION_TARGET_H
#define PINION_TARGET_H

#include "../ir/body.h"

/*
 * What a kernel's source finds in front of it.
 *
 * A kernel instance is, in this order: the defines below; the target's own (`kernel_choice.defines`); the prelude; the
 * body function, where there is one; what it has in common with others; the family's source. On a target that compiles
 * sources itself (`compile`) that is one text, with runtime/abi.h in front of it all; else the prelude and abi.h are
 * `#include`d by kernels/NAME.c (the prelude is copied beside it, without its `.in`; abi.h is "../runtime/abi.h").
 * Instances with equal text are one kernel.
 *
 *   PN_KERNEL                name of the kernel function to define. cpu: void PN_KERNEL(const pinion_cpu_block *block)
 *   PN_RANK                  params.rank
 *   PN_RESULTS, PN_OPERANDS  how many arguments are results, and operands (a gemm's a and b included)
 *   PN_T<i>                  element type of argument i, results first, as a token: f32, bf16, bool, ..; to be
 *                            pasted, so no source may include stdbool.h
 *   PN_C<i>                  compute type of argument i: float (f32 bf16 f16), double (f64), int64_t (integers, bool)
 *   PN_ARG_TYPES(X)          X(i, type token) for each argument
 *   PN_KIND_<kind>           1: the kind of a reduce (PN_KIND_sum) or a norm (PN_KIND_layer, PN_KIND_rms)
 *   PN_HAS_BODY              1: the launch has a body; a gemm without one stores the accumulator
 *   PN_BODY_OPERANDS(X)      X(j, i, type token): input x<j> of the body is loaded from argument i
 *   PN_BODY_RESULTS(X)       X(j, i, type token): result r<j> of the body is stored to argument i
 *   PN_BODY_ARGUMENTS        what pn_body is called with: `x0, x1, .., &r0, ..`
 *
 * so that a pointwise element is
 *
 *     #define LOAD(j, i, type) const PN_C##i x##j = pn_load_##type(...);     (declare x<j> as PN_C<i>)
 *     #define RESULT(j, i, type) PN_C##i r##j;
 *     PN_BODY_OPERANDS(LOAD) PN_BODY_RESULTS(RESULT) pn_body(PN_BODY_ARGUMENTS);
 *
 *   pn_body                  static inline void pn_body(..) of body_emit_c (ir/body.h), where PN_HAS_BODY
 *
 * A gemm has besides:
 *
 *   PN_PACKED_B              1: b is in the target's packed layout
 *   PN_ACCUMULATORS          1 or 2: x0, and x1, are the accumulators, and in no list
 *   PN_PARTS                 how many parts there are. If more than one, the lists of results are those of the first:
 *                            those of part q lie q * PN_RESULTS / PN_PARTS arguments further; PN_PART is then the
 *                            name (x1 or x2) of the input that is the part's index
 *   PN_GROUPED               1: there is more than one group
 *   PN_ROW_SUMS(X)           like PN_BODY_OPERANDS, inputs that are sums over rows: they are not in that list, and
 *   PN_ROW_VALUES            assigns to floats x<j> what the body computes of the sums alone, once a row, from floats
 *                            sum<j>; where there are no such sums it is empty
 *   PN_COLUMN_SUMS(X)        like PN_BODY_RESULTS, results that are summed over columns: they are not in that list
 *   PN_ROW_MASK              the argument that is the row mask, if there is one: it is in no list
 */

/* One launch as code generation sees it: what to compute, on which types; no tile chosen yet. */
typedef struct kernel_problem {
  pinion_family family;
  char kind[16];    /* reduce: sum mean max ..; norm: layer rms; else "" */
  int result_count; /* the first arguments */
  pinion_params params;
  pinion_dtype dtypes[PINION_MAX_ARGS];
  bool aligned[PINION_MAX_ARGS]; /* the argument's address is a multiple of 16 bytes at every step */
  bool packed_b;                 /* gemm: operand b is in the target's packed layout */
  int64_t settled_keys; /* attention: the first so many keys, in k and v, are not written by the launch in front */
  bool mask_is_early;   /* gemm: its row mask is not written by the launch in front */
  bool has_body;
  body body; /* pointwise, gemm */
} kernel_problem;

/* The answer: which source, specialised how, launched how. */
typedef struct kernel_choice {
  const char *source; /* file of the target: "gemm.c.in", "gemm_mma.cu" */
  const char *common; /* another, put in front of it: what several sources share, or a part of a long one; or NULL */
  text defines;       /* `#define NAME value` lines of the target's own, put before the prelude; owned */
  const char *tile;   /* the row's name, for people; NULL where the family has no tiles */
  uint32_t grid[3], block[3];
  uint32_t dynamic_shared_bytes;       /* cpu: scratch bytes per worker */
  const pinion_tensor_map *tensor_map; /* what the launch is to have; NULL, or in the arena */
  double cost;                         /* microseconds by the cost model; 0 unknown */
} kernel_choice;

/* One weight matrix b[h, n, p, k] (runtime/abi.h) on its way into weights.bin. */
typedef struct pack_request {
  const void *data;           /* element (0, 0, 0, 0) */
  int64_t size[4], stride[4]; /* of h, n, p and k; strides in elements */
  pinion_dtype dtype;         /* of source and result */
} pack_request;

/* A kernel compiled or to be compiled with the artifact. */
typedef struct kernel_blob {
  void *data; /* owned (free); NULL if the artifact's own build compiles the source (cpu) */
  size_t bytes;
  int spilled_bytes; /* of registers that a thread keeps in memory, stored and loaded */
} kernel_blob;

struct target;
/* Parses the body of a problem whose other fields are set; false with a reason in *out_why. */
bool kernel_problem_body(arena *a, MlirAttribute lines, kernel_problem *problem, const char **out_why);

/* Appends the defines above (the target's own come from its choice). `name` is PN_KERNEL. */
void kernel_problem_defines(const kernel_problem *problem, const char *name, text *out);

/* Appends a whole instance as described above: what kernels/NAME holds, or what the target compiles. */
void kernel_instance_source(const struct target *target, const kernel_problem *problem, const kernel_choice *choice,
                            const char *name, text *out);

struct target {
  const char *name;          /* "sm_90" */
  const char *vendor;        /* folder of what its targets share: "nvidia"; NULL */
  const char *summary;       /* one line for `pinion targets` */
  const char *device;        /* runtime/device_<device>.c */
  int compute_capability;    /* cuda, else 0 */
  int minimum_driver;        /* cuda: CUDA driver version, else 0 */
  int tensor_flops;          /* GPU: dense bf16 operations a clock of a multiprocessor's tensor cores, else 0 */
  const char *source_suffix; /* ".c", ".cu" */
  const char *blob_suffix;   /* ".cubin"; NULL: the artifact's build compiles sources */
  const char *kernel_flags;  /* what that build passes to the C compiler for kernels, beside the machine (-march=native,
                                or the cross compiler's); NULL where there is no such build */

  /* The prelude put in front of every kernel: pn_exp and the rest, loads and stores per dtype. A file of the
     target: "prelude.h.in", "prelude.cuh". */
  const char *prelude;

  /* A kernel pn_empty that does nothing (a file of the target; abi.h is put in front of it), compiled into every
     artifact, for what launches cost by themselves. NULL where `compile` is. */
  const char *empty_kernel;

  /* Picks source, tile and grid for a problem. `tile` forces a row by name (the tuner), or is NULL. Fails with a
     reason in *out_why (static or in the arena) when no form is legal: then the problem is unsupported. */
  bool (*choose)(arena *a, const kernel_problem *problem, const char *tile, kernel_choice *out_choice,
                 const char **out_why);

  /* Names of the tiles that are legal for a problem, best first by the cost model; returns how many. */
  int (*candidates)(const kernel_problem *problem, const char **out_tiles, int capacity);

  /* Bytes of a packed b[h, n, p, k], and the packing itself; NULL functions: the target packs nothing. Columns are
     packed in the order (h, n); how the two halves of p = 2 interleave is the target's choice. */
  int64_t (*packed_bytes)(const int64_t size[4], pinion_dtype dtype);
  void (*pack)(const pack_request *request, void *out_packed);

  /* Source text to blob; NULL: the artifact's build compiles it. Diagnoses with the compiler's log. */
  status (*compile)(diagnostics *d, const char *name, const char *source, kernel_blob *out_blob);
  const char *(*toolchain)(void); /* what `compile` uses: "NVRTC 13.0"; NULL where it is */
};

extern const struct target *const target_table[]; /* NULL-terminated */
const struct target *target_find(const char *name);

/* The text of a file under targets/NAME/ or runtime/, embedded into the compiler when it was built, so that one binary
   is enough. NULL if there is none. */
const char *embedded_file(const char *path, size_t *out_bytes);
/* The same for a file of a target: in its own folder, or else in its vendor's. */
const char *target_file(const struct target *target, const char *name, size_t *out_bytes);
/* The n-th embedded path, or NULL past the end: what the artifact writer walks to copy the runtime. */
const char *embedded_path(int n);

#endif
