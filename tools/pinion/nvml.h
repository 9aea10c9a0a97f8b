/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What NVIDIA's management library says about the GPU that an artifact runs on; loaded at run time, never needed. */
#ifndef PINION_TOOLS_NVML_H
#define PINION_TOOLS_NVML_H

#include <stdbool.h>
#include <stdint.h>

/* One reading; what the library does not say is 0. */
typedef struct nvml_reading {
  unsigned sm_clock, sm_clock_most, memory_clock, memory_clock_most; /* MHz */
  unsigned celsius;
  double watts, watts_limit;
  uint64_t millijoules; /* that the device has used since the driver was loaded */
  double seconds;       /* when it was read, from any start */
} nvml_reading;

typedef struct nvml nvml;

/* Opens the library (`path`; NULL: PINION_NVML from the environment, else the system's) for the device on that place of
   the PCI bus: the driver's indices may be other ones. NULL, with a reason in *out_why (static), if there is none. */
nvml *nvml_open(const char *path, const char *bus, const char **out_why);
void nvml_close(nvml *library); /* NULL is allowed */

/* NULL is allowed: then everything is 0. */
nvml_reading nvml_read(const nvml *library);

#endif
