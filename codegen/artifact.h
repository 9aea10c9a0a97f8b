/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Inside of the artifact writer: what its files are made from, and by whom. */
#ifndef PINION_CODEGEN_ARTIFACT_H
#define PINION_CODEGEN_ARTIFACT_H

#include "codegen.h"

#include "../ir/launch.h"

#define PINION_VERSION_TEXT "0.1.0"

/* ---- Problems (problem.c) ---- */
/* What the launch asks of a kernel; diagnoses a body that does not parse. */
status kernel_problem_of(compilation *c, const program *p, const program_launch *launch, kernel_problem *out_problem);

typedef struct launch_work {
  double flops; /* multiplications and additions; one for each scalar operation of a body */
  double bytes; /* each argument's distinct elements once */
} launch_work;
launch_work kernel_problem_work(const kernel_problem *problem);

/* ---- Tuning files (tuning.c) ---- */
typedef struct tuning_entry {
  const char *key, *tile;
} tuning_entry;
typedef struct tuning {
  tuning_entry *entries; /* sorted by key */
  int count;
} tuning;
/* Reads `path`, or the target's committed file if NULL (none: an empty table). Where `path` is missing it becomes a
   copy of the committed file, so that a first compile needs no other command than later ones, and uses the same tiles.
 */
status tuning_read(compilation *c, const struct target *target, const char *path, tuning *out_tuning);
const char *tuning_find(const tuning *t, const char *key); /* tile or NULL */

/* ---- Kernels (kernels.c) ---- */
typedef struct kernel_instance {
  const char *name; /* "gemm_f32_bf16_3": symbol, and stem of its files */
  pinion_family family;
  const char *source; /* whole text */
  size_t source_bytes;
  const char *tile; /* NULL if the family has none */
  kernel_blob blob; /* data NULL: the artifact's build compiles the source */
  bool is_optional; /* only candidates use it: it may fail to compile */
} kernel_instance;

typedef struct launch_kernel {
  const char *problem; /* its key in tuning files */
  int instance;
  uint32_t grid[3], block[3], dynamic_shared_bytes;
  const pinion_tensor_map *tensor_map; /* NULL if the kernel has none */
  double cost;                         /* microseconds, by the cost model */
  launch_work work;
} launch_kernel;

/* Another kernel for a launch (runtime/abi.h, pinion_candidate_desc). */
typedef struct candidate_kernel {
  int launch;
  launch_kernel kernel;
} candidate_kernel;

typedef struct kernel_plan {
  kernel_instance *instances;
  int instance_count;
  launch_kernel *launches; /* one per launch of the program */
  candidate_kernel *candidates;
  int candidate_count;
} kernel_plan;

/* Chooses a kernel for every launch, and so many candidates besides; diagnoses all that no kernel can compute. */
status kernels_choose(compilation *c, const program *p, const struct target *target, const tuning *t, int candidates,
                      kernel_plan *out_plan);
/* Compiles all instances, several at a time, if the target compiles sources itself. Candidates that do not compile
   leave the plan, with a warning. */
status kernels_compile(compilation *c, const struct target *target, kernel_plan *plan);
void kernels_free(kernel_plan *plan);

/* ---- ONNX nodes (nodes.c) ---- */
/* How nodes ended: in a launch, or in one of the ways of ir/account.h, after a pass. */
typedef struct node_end {
  const char *how, *by; /* `by` is "" for a launch */
  int count;
} node_end;

typedef struct node_row {
  const char *name, *module, *op_type; /* "" where the model does not say */
  int end;
} node_row;

typedef struct node_table {
  node_row *rows; /* in the model's order */
  int count;
  node_end *ends;
  int end_count;
  const struct node_key *keys; /* for nodes_find */
} node_table;

/* The account of the module's nodes; of a module that names none, the nodes that its launches name. */
void nodes_read(compilation *c, MlirModule module, const program *p, node_table *out_table);
/* The row of NODE@MODULE.PATH; -1 if it is no node (but a tensor, say). */
int nodes_find(const node_table *table, const char *label);
/* Appends the table as the manifest's member `onnx`. */
void append_nodes(compilation *c, const node_table *table, text *out);

/* ---- Weights (weights.c) ---- */
typedef struct weights_file {
  uint64_t bytes;
  uint8_t digest[32]; /* SHA-256 */
} weights_file;
/* Evaluates @weights into the file `path`, and sets the offsets of the program's weight buffers. */
status weights_write(compilation *c, MlirModule module, const artifact_options *options, program *p, const char *path,
                     weights_file *out_file);

/* ---- The folder (artifact.c) ---- */
typedef struct artifact_file {
  const char *path; /* below the artifact's folder */
  uint64_t bytes;
  uint8_t digest[32];
} artifact_file;

typedef struct artifact {
  compilation *c;
  const artifact_options *options;
  program program;
  kernel_plan kernels;
  node_table nodes;
  weights_file weights;
  const char *folder; /* being filled; temporary */
  artifact_file *files;
  size_t file_count, file_capacity;
} artifact;

/* Writes a file below the folder, and enters it in `files`. */
status artifact_add(artifact *a, const char *path, const void *data, size_t bytes);

/* Texts of the files; each appends. */
void model_source(const artifact *a, text *out); /* model.c */
void model_header(const artifact *a, text *out); /* model.h */
void model_makefile(const artifact *a, text *out);
void model_cmake(const artifact *a, text *out);
void model_candidates(const artifact *a, text *out); /* candidates.c */
void model_manifest(const artifact *a, text *out);   /* lists all files that `a` has by then */

/* ---- Names (names.c) ---- */
/* A C identifier for any name: other characters become _, a leading digit or a keyword gets a _ in front. */
const char *c_identifier(arena *a, const char *name);
/* The field of struct NAME_inputs or NAME_outputs for an input's or output's buffer; different for different ones. */
const char *io_field(const artifact *a, int buffer);
/* Appends a string literal of C, of JSON, quotes included. */
void append_quoted(text *out, const char *string);
void append_json(text *out, const char *string);
/* Appends the definition of STEM_INDEX (model_source.c). */
void append_tensor_map(const char *stem, int index, const pinion_tensor_map *map, text *out);
/* Appends text that may stand in a C comment. */
void append_comment(text *out, const char *string);
/* "f32 [1, 50, 32]" */
void append_type(text *out, const tensor_type *type);

#endif
