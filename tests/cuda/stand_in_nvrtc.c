/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A stand-in for libnvrtc.so.13, for tests that run kernels' sources and need no cubin: every source compiles, in no
 * time, to one whose only instructions are mma.sync and wgmma, so that every tile has its own. Those that hold the text
 * of STAND_IN_NVRTC_SPILLS spill registers.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct program_state *program;

int nvrtcVersion(int *out_major, int *out_minor);
int nvrtcCreateProgram(program *out, const char *source, const char *name, int header_count, const char *const *headers,
                       const char *const *include_names);
int nvrtcDestroyProgram(program *p);
int nvrtcCompileProgram(program p, int option_count, const char *const *options);
int nvrtcGetCUBINSize(program p, size_t *out_bytes);
int nvrtcGetCUBIN(program p, char *out_cubin);
int nvrtcGetProgramLogSize(program p, size_t *out_bytes);
int nvrtcGetProgramLog(program p, char *out_log);
const char *nvrtcGetErrorString(int result);

/* 16 bytes each, an opcode the lowest 12 bits. */
static const unsigned char cubin[32] = {[0] = 0x3c, [1] = 0x02, [16] = 0xf0, [17] = 0x09};
static const char spills[] = "ptxas: 48 bytes stack frame, 24 bytes spill stores, 24 bytes spill loads";
static char programs[2]; /* one that does not spill, one that does */

static int is_program(program p) {
  return (char *)p == &programs[0] || (char *)p == &programs[1];
}

int nvrtcVersion(int *out_major, int *out_minor) {
  *out_major = 13;
  *out_minor = 0;
  return 0;
}
int nvrtcCreateProgram(program *out, const char *source, const char *name, int header_count, const char *const *headers,
                       const char *const *include_names) {
  (void)name, (void)headers, (void)include_names;
  const char *text = getenv("STAND_IN_NVRTC_SPILLS");
  *out = (program)(void *)&programs[source && text && strstr(source, text)];
  return !source || header_count;
}
int nvrtcDestroyProgram(program *p) {
  *p = NULL;
  return 0;
}
int nvrtcCompileProgram(program p, int option_count, const char *const *options) {
  (void)option_count, (void)options;
  return !is_program(p);
}
int nvrtcGetCUBINSize(program p, size_t *out_bytes) {
  *out_bytes = sizeof cubin;
  return !is_program(p);
}
int nvrtcGetCUBIN(program p, char *out_cubin) {
  memcpy(out_cubin, cubin, sizeof cubin);
  return !is_program(p);
}
int nvrtcGetProgramLogSize(program p, size_t *out_bytes) {
  *out_bytes = (char *)p == &programs[1] ? sizeof spills : 0;
  return !is_program(p);
}
int nvrtcGetProgramLog(program p, char *out_log) {
  if ((char *)p == &programs[1]) memcpy(out_log, spills, sizeof spills);
  return !is_program(p);
}
const char *nvrtcGetErrorString(int result) {
  return result ? "failed" : "success";
}
