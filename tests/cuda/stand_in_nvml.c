/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A stand-in for libnvidia-ml.so.1: one device, that of the stand-in driver, which uses 700 J from one look to the
 * next. */
#include <string.h>

typedef struct device_state *device;

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, device *out_device);
int nvmlDeviceGetClockInfo(device d, int clock, unsigned *out_mhz);
int nvmlDeviceGetMaxClockInfo(device d, int clock, unsigned *out_mhz);
int nvmlDeviceGetTemperature(device d, int sensor, unsigned *out_celsius);
int nvmlDeviceGetPowerUsage(device d, unsigned *out_milliwatts);
int nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *out_milliwatts);
int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *out_millijoules);

static char the_device;

int nvmlInit_v2(void) {
  return 0;
}
int nvmlShutdown(void) {
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, device *out_device) {
  *out_device = (device)(void *)&the_device;
  return strcmp(bus, "0000:1B:00.0") ? 6 : 0; /* not found */
}
int nvmlDeviceGetClockInfo(device d, int clock, unsigned *out_mhz) {
  *out_mhz = clock == 1 ? 1755 : 3201;
  return (char *)d != &the_device;
}
int nvmlDeviceGetMaxClockInfo(device d, int clock, unsigned *out_mhz) {
  *out_mhz = clock == 1 ? 1980 : 3201;
  return (char *)d != &the_device;
}
int nvmlDeviceGetTemperature(device d, int sensor, unsigned *out_celsius) {
  *out_celsius = 41;
  return sensor || (char *)d != &the_device;
}
int nvmlDeviceGetPowerUsage(device d, unsigned *out_milliwatts) {
  *out_milliwatts = 123400;
  return (char *)d != &the_device;
}
int nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *out_milliwatts) {
  *out_milliwatts = 700000;
  return (char *)d != &the_device;
}
int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *out_millijoules) {
  static unsigned long long used = 1000000;
  *out_millijoules = used += 700000;
  return (char *)d != &the_device;
}
