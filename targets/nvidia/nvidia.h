/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What NVIDIA's targets share: the forms of every family that need no newer instruction than mma.sync, the choice of a
 * tile, packed weights, compilation. A target is a chip, and the forms of its own instructions (sm_90/: wgmma).
 */
#ifndef PINION_TARGETS_NVIDIA_H
#define PINION_TARGETS_NVIDIA_H

#include "../target.h"
#include "nvrtc.h"

/* What one multiprocessor reaches while all work, in kernels of one kind; operations or bytes a microsecond. */
typedef struct nvidia_rates {
  double tensor, scalar; /* operations on tensor cores (mma.sync), and without */
  double load;           /* bytes from L2 */
  double exchange;       /* bytes between the blocks of a cluster */
} nvidia_rates;

typedef struct nvidia_chip {
  const char *name;         /* the target's: "sm_90" */
  const char *architecture; /* as NVRTC calls it: "sm_90a" */
  int multiprocessors;
  int block_shared_bytes;          /* shared memory that one block may ask for */
  int multiprocessor_shared_bytes; /* that all blocks of a multiprocessor share, 1024 bytes of each the driver's */
  int cluster_blocks;              /* that a cluster may have, each with a multiprocessor to itself */
  bool has_wgmma;
  nvidia_rates gemm, attention; /* for the cost models */
} nvidia_chip;

enum { NVIDIA_THREADS = 256 }; /* of a block, but for some of gemm's */
static const int64_t nvidia_largest_grid = 2147483647;

/* ---- What a target's struct asks for (target.h), for a chip ---- */

bool nvidia_choose(const nvidia_chip *chip, arena *a, const kernel_problem *problem, const char *tile,
                   kernel_choice *out_choice, const char **out_why);
int nvidia_candidates(const nvidia_chip *chip, const kernel_problem *problem, const char **out_tiles, int capacity);
/* As nvrtc_compile; a tile for tensor cores whose cubin has no instruction of theirs is a failure, too. */
status nvidia_compile(const nvidia_chip *chip, diagnostics *d, const char *name, const char *source,
                      kernel_blob *out_blob);
/* The layout is the same on all chips, so that they can share weights: target_packing.c. */
int64_t nvidia_packed_bytes(const int64_t size[4], pinion_dtype dtype);
void nvidia_pack(const pack_request *request, void *out_packed);

/* And what is the same for all of them. CUDA 13 is the first that knows sm_110, and its NVRTC compiles for all. */
#define NVIDIA_TARGET                                                                                                  \
  .vendor = "nvidia", .device = "cuda", .minimum_driver = 13000, .source_suffix = ".cu", .blob_suffix = ".cubin",      \
  .prelude = "prelude.cuh", .empty_kernel = "empty.cu", .packed_bytes = nvidia_packed_bytes, .pack = nvidia_pack,      \
  .toolchain = nvrtc_version

/* ---- Tiles: rows of a family's table, by their place in it ---- */

enum { NVIDIA_MOST_TILES = 64 };
typedef struct nvidia_tile_table {
  const char *family; /* for messages */
  int count;          /* NVIDIA_MOST_TILES at most */
  const char *(*name)(int tile);
  /* Why the chip cannot do the problem in this tile, or NULL. */
  const char *(*refusal)(const nvidia_chip *chip, const kernel_problem *problem, int tile);
  double (*cost)(const nvidia_chip *chip, const kernel_problem *problem, int tile); /* microseconds */
} nvidia_tile_table;

/* Names of the legal tiles, cheapest first; returns how many. */
int nvidia_tile_candidates(const nvidia_tile_table *table, const nvidia_chip *chip, const kernel_problem *problem,
                           const char **out_names, int capacity);
/* The tile of that name, or the cheapest (NULL); -1 with a reason. */
int nvidia_pick_tile(const nvidia_tile_table *table, const nvidia_chip *chip, arena *a, const kernel_problem *problem,
                     const char *name, const char **out_why);

/* ---- What the forms are made with ---- */

int64_t round_up_division(int64_t x, int64_t y);

/* What sums are kept in, for arguments first .. end: "float", "double" if one is f64, "int64_t" if all are integers. */
const char *accumulator_type(const kernel_problem *problem, int first, int end);
/* The same of all arguments, where integers are indices and masks. */
const char *float_accumulator_type(const kernel_problem *problem);

/* Points of the dimensions first .. end. */
int64_t points(const kernel_problem *problem, int first, int end);

/* A one-dimensional launch, of one block at least. */
void set_grid(kernel_choice *choice, int64_t blocks, int threads);

#endif
