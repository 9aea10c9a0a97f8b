/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Measures the tiles that an artifact was compiled with candidates for, on a board without Pinion; the tuning file goes
 * to standard output, what is measured to standard error.
 *
 *   tune [DIR] [--rounds=N] [--only=TEXT] [--device=N] > FILE
 *
 * DIR is the artifact's folder; without it, the current one. Elsewhere, `pinion compile --timing-cache=FILE` uses it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime under -std=c11 */
#endif
#include "tune.h"

typedef struct tune_arguments {
  const char *folder;
  pinion_options options;
  uint32_t rounds;
  const char *only; /* NULL, or what the keys of the problems to measure contain */
} tune_arguments;

static bool read_arguments(int argc, char **argv, tune_arguments *out) {
  *out = (tune_arguments){.folder = ".", .rounds = PINION_TUNE_ROUNDS};
  for (int i = 1; i < argc; i++) {
    unsigned value;
    char rest;
    if (sscanf(argv[i], "--rounds=%u%c", &value, &rest) == 1 && value > 0 && value <= PINION_TUNE_ROUNDS_AT_MOST)
      out->rounds = value;
    else if (!strncmp(argv[i], "--only=", 7))
      out->only = argv[i] + 7;
    else if (sscanf(argv[i], "--device=%u%c", &value, &rest) == 1)
      out->options.device_index = (int32_t)value;
    else if (argv[i][0] != '-')
      out->folder = argv[i];
    else
      return false;
  }
  return true;
}

static pinion_status set_random_inputs(const pinion_model_desc *desc, pinion_instance *instance) {
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < desc->input_count && !status; i++) {
    const pinion_buffer_desc *buffer = &desc->buffers[desc->inputs[i]];
    void *data = malloc((size_t)buffer->bytes + 1);
    if (!data) return PINION_OUT_OF_MEMORY;
    pinion_fill_input(desc, i, 0, data);
    status = pinion_set_input(instance, buffer->name, data, (size_t)buffer->bytes);
    free(data);
  }
  return status ? status : pinion_prepare(instance);
}

static pinion_status tune(const pinion_api *api, pinion_model *model, pinion_instance *instance,
                          const tune_arguments *arguments) {
  const pinion_model_desc *desc = pinion_model_description();
  const pinion_tuner tuner = {api, desc, pinion_model_tuning(), instance, arguments->rounds, arguments->only, stderr};
  pinion_device_facts facts;
  pinion_tune_result result = {0};
  pinion_status status = set_random_inputs(desc, instance);
  if (!status) status = pinion_describe_device(model, &facts);
  if (!status) status = pinion_tune(&tuner, &result);
  if (!status) {
    printf(PINION_TUNE_HEADER);
    for (uint32_t i = 0; i < result.count; i++)
      printf(PINION_TUNE_LINE, result.problems[i].problem, result.problems[i].tile, result.problems[i].microseconds,
             facts.name, tuner.tuning->toolchain);
    pinion_tune_print(&result, stderr);
  }
  pinion_tune_free(&result);
  return status;
}

int main(int argc, char **argv) {
  static const pinion_api api = PINION_API_LINKED;
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  tune_arguments arguments;
  if (!read_arguments(argc, argv, &arguments)) {
    fprintf(stderr, "usage: %s [DIR] [--rounds=N] [--only=TEXT] [--device=N] > FILE\n", argv[0]);
    return 2;
  }
  pinion_status status = pinion_model_open(pinion_model_description(), arguments.folder, &arguments.options, &model);
  if (!status) status = pinion_instance_create(model, &instance);
  if (!status) status = tune(&api, model, instance, &arguments);
  if (status) fprintf(stderr, "%s: %s: %s\n", argv[0], pinion_status_name(status), pinion_last_error(model));
  pinion_instance_destroy(instance);
  pinion_model_close(model);
  return status == PINION_OK ? 0 : status == PINION_NO_DEVICE ? 6 : 1;
}
