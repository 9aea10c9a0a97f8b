/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What `pinion bench` measured, under which conditions: printed, saved and compared. */
#ifndef PINION_TOOLS_BENCH_RESULT_H
#define PINION_TOOLS_BENCH_RESULT_H

#include "artifact.h"
#include "json.h"
#include "nvml.h"

typedef struct bench_measured {
  pinion_bench_result times;
  bool has_empty;
  pinion_quantiles empty; /* replays of the same graph with empty kernels */
  double millijoules;     /* of a call; 0 unknown */
  double watts;           /* on average over the timed replays; 0 unknown */
  pinion_device_facts device;
  pinion_capture_facts capture;
  nvml_reading before, after; /* the timed replays; zeros without the library */
  const char *no_nvml;        /* why there is none; NULL if there is */
  bool attached;              /* copies are in the graph */
  int64_t threads;            /* that were asked for */
} bench_measured;

void bench_print(const bench_measured *m);

status bench_save(diagnostics *d, const pinion_model_desc *desc, const bench_measured *m, const char *path);

/* A saved bench, to compare with; read before anything is measured. Everything is the arena's. */
status bench_read(diagnostics *d, arena *memory, const char *path, json *out_baseline);

/* Prints ratios to the baseline (below 1 is faster) after the conditions that differ. STATUS_MISMATCH if the replay is
   slower by more than `allow` percent; negative: any is allowed. */
status bench_compare(diagnostics *d, const pinion_model_desc *desc, const bench_measured *m, const json *baseline,
                     double allow);

#endif
