/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* CUDA source to a cubin, by NVRTC loaded at run time: what every NVIDIA target compiles with. */
#ifndef PINION_TARGETS_NVIDIA_NVRTC_H
#define PINION_TARGETS_NVIDIA_NVRTC_H

#include "../target.h"

/*
 * Compiles `source` for `architecture` ("sm_90a") straight to a cubin. Errors of the compiler, spilled registers unless
 * `may_spill`, and ptxas' warnings that it has given up on a fast form (C75xx) are diagnosed with the compiler's log
 * (STATUS_FAILED); so is a missing library, with where it was looked for (STATUS_FAILED). Safe to call from several
 * threads, each with its own diagnostics.
 */
status nvrtc_compile(diagnostics *d, const char *architecture, const char *name, const char *source, bool may_spill,
                     kernel_blob *out_blob);

/* Whether NVRTC can be loaded; if not, *out_why says what was tried (static). */
bool nvrtc_available(const char **out_why);
/* "NVRTC 13.0", or "" where it cannot be loaded. Static. */
const char *nvrtc_version(void);

/* The line that makes a log an error though the compiler accepted the source: a spill unless `may_spill`, or a warning
   C7508 or C7510 to C7520. NULL if there is none. Borrowed from the log; *out_length is its length. */
const char *nvrtc_log_complaint(const char *log, bool may_spill, size_t *out_length);
/* Bytes of spilled registers, stores and loads, over all functions of the log. */
int nvrtc_log_spills(const char *log);

#endif
