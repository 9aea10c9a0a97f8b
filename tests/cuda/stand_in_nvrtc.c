/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A stand-in for libnvrtc.so.13, for tests that run kernels' sources and need no cubin: every source compiles, in no
 * time, to one whose only instructions are mma.sync and wgmma, so that every tile has its own.
 */
#include <stddef.h>
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
static char the_program;

int nvrtcVersion(int *out_major, int *out_minor) {
  *out_major = 13;
  *out_minor = 0;
  return 0;
}
int nvrtcCreateProgram(program *out, const char *source, const char *name, int header_count, const char *const *headers,
                       const char *const *include_names) {
  (void)name, (void)headers, (void)include_names;
  *out = (program)(void *)&the_program;
  return !source || header_count;
}
int nvrtcDestroyProgram(program *p) {
  *p = NULL;
  return 0;
}
int nvrtcCompileProgram(program p, int option_count, const char *const *options) {
  (void)option_count, (void)options;
  return (char *)p != &the_program;
}
int nvrtcGetCUBINSize(program p, size_t *out_bytes) {
  *out_bytes = sizeof cubin;
  return (char *)p != &the_program;
}
int nvrtcGetCUBIN(program p, char *out_cubin) {
  memcpy(out_cubin, cubin, sizeof cubin);
  return (char *)p != &the_program;
}
int nvrtcGetProgramLogSize(program p, size_t *out_bytes) {
  *out_bytes = 0;
  return (char *)p != &the_program;
}
int nvrtcGetProgramLog(program p, char *out_log) {
  (void)out_log;
  return (char *)p != &the_program;
}
const char *nvrtcGetErrorString(int result) {
  return result ? "failed" : "success";
}
