/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "nvml.h"

#include "runtime/bench.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The part of nvml.h that is used. Results are nvmlReturn_t, 0 success. */
typedef struct nvml_device_state *nvml_device;
enum { NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2, NVML_TEMPERATURE_GPU = 0 };

#define NVML_SYMBOLS(X)                                                                                                \
  X(nvmlInit_v2, (void))                                                                                               \
  X(nvmlShutdown, (void))                                                                                              \
  X(nvmlDeviceGetHandleByPciBusId_v2, (const char *bus, nvml_device *out_device))                                      \
  X(nvmlDeviceGetClockInfo, (nvml_device device, int clock, unsigned *out_mhz))                                        \
  X(nvmlDeviceGetMaxClockInfo, (nvml_device device, int clock, unsigned *out_mhz))                                     \
  X(nvmlDeviceGetTemperature, (nvml_device device, int sensor, unsigned *out_celsius))                                 \
  X(nvmlDeviceGetPowerUsage, (nvml_device device, unsigned *out_milliwatts))                                           \
  X(nvmlDeviceGetEnforcedPowerLimit, (nvml_device device, unsigned *out_milliwatts))                                   \
  X(nvmlDeviceGetTotalEnergyConsumption, (nvml_device device, unsigned long long *out_millijoules))

struct nvml {
  void *handle; /* of dlopen */
  nvml_device device;
#define NVML_MEMBER(name, parameters) int(*name) parameters;
  NVML_SYMBOLS(NVML_MEMBER)
#undef NVML_MEMBER
};

/* Whether the library has them all. */
static bool find_symbols(nvml *library) {
  bool found = true;
  void *symbol;
#define NVML_FIND(name, parameters)                                                                                    \
  symbol = dlsym(library->handle, #name);                                                                              \
  memcpy(&library->name, &symbol, sizeof symbol);                                                                      \
  found = found && symbol;
  NVML_SYMBOLS(NVML_FIND)
#undef NVML_FIND
  return found;
}

static const char *start(nvml *library, const char *bus) {
  if (!find_symbols(library)) return "the library lacks a function";
  if (library->nvmlInit_v2()) return "the library does not start";
  if (!library->nvmlDeviceGetHandleByPciBusId_v2(bus, &library->device)) return NULL;
  library->nvmlShutdown();
  return "the library does not know the device";
}

nvml *nvml_open(const char *path, const char *bus, const char **out_why) {
  if (!path) path = getenv("PINION_NVML");
  if (!path || !*path) path = "libnvidia-ml.so.1";
  nvml *library = calloc(1, sizeof *library);
  if (!library) return NULL;
  library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  *out_why = !*bus ? "the device has no place on the PCI bus" : !library->handle ? "there is no library" : NULL;
  if (!*out_why) *out_why = start(library, bus);
  if (!*out_why) return library;
  if (library->handle) dlclose(library->handle);
  free(library);
  return NULL;
}

void nvml_close(nvml *library) {
  if (!library) return;
  library->nvmlShutdown();
  dlclose(library->handle);
  free(library);
}

nvml_reading nvml_read(const nvml *library) {
  nvml_reading r = {0};
  unsigned milliwatts = 0, milliwatts_limit = 0;
  unsigned long long millijoules = 0;
  if (!library) return r;
  const nvml_device device = library->device;
  library->nvmlDeviceGetClockInfo(device, NVML_CLOCK_SM, &r.sm_clock);
  library->nvmlDeviceGetMaxClockInfo(device, NVML_CLOCK_SM, &r.sm_clock_most);
  library->nvmlDeviceGetClockInfo(device, NVML_CLOCK_MEMORY, &r.memory_clock);
  library->nvmlDeviceGetMaxClockInfo(device, NVML_CLOCK_MEMORY, &r.memory_clock_most);
  library->nvmlDeviceGetTemperature(device, NVML_TEMPERATURE_GPU, &r.celsius);
  library->nvmlDeviceGetPowerUsage(device, &milliwatts);
  library->nvmlDeviceGetEnforcedPowerLimit(device, &milliwatts_limit);
  library->nvmlDeviceGetTotalEnergyConsumption(device, &millijoules);
  r.watts = milliwatts / 1e3;
  r.watts_limit = milliwatts_limit / 1e3;
  r.millijoules = millijoules;
  r.seconds = pinion_now_us() / 1e6;
  return r;
}
