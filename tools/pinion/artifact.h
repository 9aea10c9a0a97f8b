/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * An artifact as the commands use it: its library is built if need be, opened, and reached through the symbols *inside*
 * it, so that one `pinion` serves every artifact and every target.
 */
#ifndef PINION_TOOLS_ARTIFACT_H
#define PINION_TOOLS_ARTIFACT_H

#include "ir/base.h"
#include "runtime/bench.h"

typedef struct artifact {
  const char *folder; /* borrowed */
  void *library;
  pinion_api api;
  const pinion_model_desc *desc; /* borrowed from the library; checked for its version alone until artifact_open */
  pinion_model *model;           /* NULL until opened */
  pinion_instance *instance;     /* the same */
} artifact;

/* Builds DIR/libmodel.so with the artifact's Makefile unless it is newer than every source, and loads it. Diagnoses a
   folder that is no artifact (STATUS_BAD_INPUT) and a build that fails (STATUS_FAILED), with the compiler's words. */
status artifact_load(diagnostics *d, const char *folder, artifact *out_artifact);

/* Flags of every command that opens an artifact: rows for its table. */
typedef struct artifact_flags {
  int64_t threads, device;
  const char *weights, *driver;
} artifact_flags;
#define ARTIFACT_FLAGS(f)                                                                                              \
  FLAG("threads", FLAG_INTEGER, &(f)->threads, "N", "cpu: worker threads (PINION_THREADS, else one per core)"),        \
      FLAG("device", FLAG_INTEGER, &(f)->device, "N", "which GPU (0)", .environment = "PINION_DEVICE"),                \
      FLAG("driver", FLAG_STRING, &(f)->driver, "FILE",                                                                \
           "the GPU's driver library (PINION_CUDA_DRIVER, else the system's)"),                                        \
      FLAG("weights", FLAG_STRING, &(f)->weights, "FILE", "weights.bin (DIR/weights.bin)",                             \
           .environment = "PINION_WEIGHTS")

/* What they ask the runtime for. */
pinion_options artifact_options(const artifact_flags *flags);

/* Opens the device and creates one instance. STATUS_NO_DEVICE for a wrong or missing device. */
status artifact_open(diagnostics *d, artifact *a, const pinion_options *options);

/* Ends whatever was begun; allowed after any failure. */
void artifact_close(artifact *a);

/* Diagnoses a status of the API, in the words of its last error; STATUS_OK for PINION_OK. */
status artifact_check(diagnostics *d, const artifact *a, pinion_status status);

/* "model 'pi0' for cpu, 4 threads: NAME OF THE CPU": what a figure is printed with. */
void artifact_print_conditions(const artifact *a, const pinion_options *options, FILE *stream);

/* "captured: 1257 launches, .., 1256 of 1256 edges .. programmatic" of a prepared instance, to stdout. */
status artifact_print_capture(diagnostics *d, const artifact *a);

#endif
