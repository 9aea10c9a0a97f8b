/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "tune_device.h"
#include "inputs.h"

#include "runtime/tune.h"

#include <dlfcn.h>

static const pinion_tuning_desc *find_tuning(const artifact *of) {
  const pinion_tuning_desc *(*tuning)(void) = NULL;
  void *symbol = dlsym(of->library, "pinion_model_tuning");
  memcpy(&tuning, &symbol, sizeof tuning);
  return tuning ? tuning() : NULL;
}

static status set_inputs(diagnostics *d, artifact *of) {
  tensor_list inputs = {0};
  status result = tensor_list_random(d, of->desc, 0, &inputs);
  for (uint32_t i = 0; i < inputs.count && result == STATUS_OK; i++) {
    const pinion_buffer_desc *buffer = &of->desc->buffers[of->desc->inputs[i]];
    result = artifact_check(
        d, of, of->api.set_input(of->instance, buffer->name, inputs.tensors[i].data, (size_t)buffer->bytes));
  }
  tensor_list_free(&inputs);
  return result == STATUS_OK ? artifact_check(d, of, of->api.prepare(of->instance)) : result;
}

static status tune_opened(diagnostics *d, arena *a, artifact *of, const pinion_tuning_desc *tuning, uint32_t rounds,
                          const char *only, tuned_line *add, void *user) {
  const pinion_tuner tuner = {&of->api, of->desc, tuning, of->instance, rounds, only, stderr};
  pinion_device_facts facts;
  pinion_tune_result found = {0};
  status result = set_inputs(d, of);
  if (result == STATUS_OK) result = artifact_check(d, of, of->api.describe_device(of->model, &facts));
  if (result == STATUS_OK) result = artifact_check(d, of, pinion_tune(&tuner, &found));
  for (uint32_t i = 0; i < found.count && result == STATUS_OK; i++) {
    const pinion_tuned *problem = &found.problems[i];
    const char *key = arena_string(a, problem->problem, strlen(problem->problem)); /* the library will be closed */
    add(user, key,
        arena_format(a, PINION_TUNE_LINE, key, problem->tile, problem->microseconds, facts.name, tuning->toolchain));
  }
  if (result == STATUS_OK) pinion_tune_print(&found, stdout);
  pinion_tune_free(&found);
  return result;
}

status tune_device(diagnostics *d, arena *a, const char *folder, const artifact_flags *flags, uint32_t rounds,
                   const char *only, tuned_line *add, void *user) {
  const pinion_options options = artifact_options(flags);
  artifact opened = {0};
  status result = artifact_load(d, folder, &opened);
  const pinion_tuning_desc *tuning = result == STATUS_OK ? find_tuning(&opened) : NULL;
  if (result == STATUS_OK && !tuning)
    result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL,
                      "'%s' has one tile for each problem: compile it with --candidates=3", folder);
  if (result == STATUS_OK) result = artifact_open(d, &opened, &options);
  if (result == STATUS_OK) artifact_print_conditions(&opened, &options, stdout);
  if (result == STATUS_OK) result = tune_opened(d, a, &opened, tuning, rounds, only, add, user);
  artifact_close(&opened);
  return result;
}
