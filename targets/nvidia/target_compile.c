/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* From source to cubin, and what a cubin must hold. */
#include "nvidia.h"

#include <stdlib.h>
#include <string.h>

/* A tile is planned to fit the registers, so a spill is a mistake of ours. Not so where the model's body is in it, or
   in float64; and a loop over single elements may well spill around a call of the compiler's (division, sine). */
static bool may_spill(const char *source) {
  const bool is_tile =
      strstr(source, "#define PN_TILE") || strstr(source, "#define PN_ROWS ") || strstr(source, "#define PN_WGMMA");
  return !is_tile || strstr(source, "#define PN_HAS_BODY") || strstr(source, "#define PN_ACCUMULATOR double");
}

/* What a tensor core's tile is recognised by in a source, and the opcode that its cubin must hold. */
static const struct tensor_mark {
  const char *define, *instruction;
  unsigned opcode;
} tensor_marks[] = {{"#define PN_WGMMA", "wgmma", 0x9f0}, {"#define PN_MMA_TYPE", "mma.sync", 0x23c}};

/* Instructions are 16 bytes, 16 bytes apart in the file, the opcode their lowest 12 bits. */
static bool has_instruction(const kernel_blob *cubin, unsigned opcode) {
  const uint8_t *bytes = cubin->data;
  for (size_t at = 0; at + 16 <= cubin->bytes; at += 16)
    if ((bytes[at] | (bytes[at + 1] & 0x0fu) << 8) == opcode) return true;
  return false;
}

status nvidia_compile(const nvidia_chip *chip, diagnostics *d, const char *name, const char *source,
                      kernel_blob *out_blob) {
  status result = nvrtc_compile(d, chip->architecture, name, source, may_spill(source), out_blob);
  for (size_t i = 0; i < sizeof tensor_marks / sizeof *tensor_marks && !result; i++) {
    const struct tensor_mark *mark = &tensor_marks[i];
    if (!strstr(source, mark->define) || has_instruction(out_blob, mark->opcode)) continue;
    free(out_blob->data);
    *out_blob = (kernel_blob){0};
    result = diagnose(d, STATUS_FAILED, NULL, NULL, "kernel %s: its tile is one of %s, its cubin has none", name,
                      mark->instruction);
  }
  return result;
}
