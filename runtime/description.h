/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Checks that an artifact is whole before anything in it is believed. Internal to the runtime. */
#ifndef PINION_DESCRIPTION_H
#define PINION_DESCRIPTION_H

#include "device.h"

/* PINION_BAD_ARTIFACT, with a sentence, unless every count, index, offset and size of the tables is consistent. */
pinion_status pinion_description_check(const pinion_model_desc *desc, pinion_error *error);

/* Replays of all stages' launches in all: the sum over stages of launch_count * repeat. Only for a checked description.
 */
uint64_t pinion_description_launches(const pinion_model_desc *desc);

/* The first stage that holds a launch, or NULL. */
const pinion_stage_desc *pinion_launch_stage(const pinion_model_desc *desc, uint32_t launch);

/* weights.bin, mapped read only. `bytes` is 0 and `address` NULL for an artifact without weights. */
typedef struct pinion_weights_file {
  void *address;
  uint64_t bytes;
} pinion_weights_file;

/* Maps `path`, or directory/weights.bin when it is NULL, and checks size and header against the description. */
pinion_status pinion_weights_map(const pinion_model_desc *desc, const char *directory, const char *path,
                                 pinion_weights_file *out_file, pinion_error *error);
void pinion_weights_unmap(pinion_weights_file *file);

/* Leaves a sentence in `error` and returns `status`. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
pinion_status pinion_fail(pinion_error *error, pinion_status status, const char *format, ...);

#endif
