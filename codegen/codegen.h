/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* From a module at launch level to an artifact folder. */
#ifndef PINION_CODEGEN_H
#define PINION_CODEGEN_H

#include "../ir/ir.h"
#include "../targets/target.h"

/* Of manifest.json, which tells about the artifact to people and tools. */
#define MANIFEST_SCHEMA 2

/* Called now and then with what is being done, and how far it is (0 to 1); from one thread. */
typedef void artifact_progress(void *user, const char *what, double fraction);

typedef struct artifact_options {
  const char *folder;     /* -o; written to a temporary sibling and renamed */
  const char *model_name; /* C identifier used in model.h; from the input's file name */
  const struct target *target;
  const char
      *tuning_file; /* as below; NULL: the target's committed one (targets/NAME/NAME.tuning), else the cost model */
  int candidates;   /* of the best tiles of each problem by the cost model, so many besides the one that is used are
                       compiled too, for `pinion tune` to measure; 0: none */
  const char *const *flags; /* borrowed; of the command line, as the manifest is to keep them; NULL if there are none */
  int flag_count;
  int threads;                 /* that write weights; 0: one for each core, as far as memory stays bounded */
  artifact_progress *progress; /* NULL: nobody wants to know */
  void *progress_user;
} artifact_options;

/* Writes the artifact. The module must be at launch level, planned. */
status artifact_write(compilation *c, MlirModule module, const artifact_options *options);

/*
 * A problem's key in a tuning file, e.g. `gemm packed f32 f32 bf16 1x1x788x1x2048x1x2048`: family, kind (if any),
 * `packed`, element types of all arguments, `body` if it has one, what else a gemm has (`parts=8,9`, `row_sums=1`,
 * `column_sums=1`), sizes. Appends to `out`.
 *
 * A tuning file is lines `KEY | TILE | MICROSECONDS | DEVICE | TOOLCHAIN`, sorted by byte; blank lines and lines that
 * begin with # are skipped, and only the first two fields mean anything to the compiler. A tile that the target no
 * longer has, or that is not legal for the problem, is passed over with a warning.
 */
void kernel_problem_key(const kernel_problem *problem, text *out);

#endif
