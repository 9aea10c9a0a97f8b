/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Writes the hand-written artifact's weights.bin, and one case of inputs and reference, into a folder: make_example DIR
 */
#include "model.h"

#include "tools/pinion/npy.h"

#include <string.h>

static status write_tensor(diagnostics *d, arena *a, const char *folder, const char *name, tensor_type type,
                           const void *data) {
  tensor t;
  status result = tensor_create(d, name, &type, &t);
  if (result) return result;
  memcpy(t.data, data, (size_t)type_bytes(&type));
  result = npy_write(d, path_join(a, folder, arena_format(a, "%s.npy", name)), &t);
  tensor_free(&t);
  return result;
}

static status write_case(diagnostics *d, arena *a, const char *folder) {
  const float state[EXAMPLE_ROWS][EXAMPLE_STATE] = {{0.5F, -1, 2}, {1.5F, 0.25F, -0.75F}};
  const int64_t tokens[EXAMPLE_ROWS] = {4, 1};
  const float noise[EXAMPLE_ROWS][EXAMPLE_ACTIONS] = {{1, -1, 0.5F, 0, 2}, {-0.5F, 0.125F, 1, 3, -2}};
  float actions[EXAMPLE_ROWS][EXAMPLE_ACTIONS];
  const tensor_type of_state = {PINION_DTYPE_f32, 2, {EXAMPLE_ROWS, EXAMPLE_STATE}};
  const tensor_type of_tokens = {PINION_DTYPE_i64, 1, {EXAMPLE_ROWS}};
  const tensor_type of_actions = {PINION_DTYPE_f32, 2, {EXAMPLE_ROWS, EXAMPLE_ACTIONS}};
  const char *inputs = path_join(a, folder, "inputs"), *reference = path_join(a, folder, "reference");
  const char *wrong = path_join(a, folder, "wrong");
  if (folder_create(d, inputs) || folder_create(d, reference) || folder_create(d, wrong)) return STATUS_FAILED;
  example_reference(state, tokens, noise, actions);
  status result = write_tensor(d, a, inputs, "state", of_state, state);
  if (!result) result = write_tensor(d, a, inputs, "tokens", of_tokens, tokens);
  if (!result) result = write_tensor(d, a, inputs, "noise", of_actions, noise);
  if (!result) result = write_tensor(d, a, reference, "actions", of_actions, actions);
  actions[1][2] += 0.001F;
  if (!result) result = write_tensor(d, a, wrong, "actions", of_actions, actions);
  return result;
}

int main(int argc, char **argv) {
  static example_weights weights;
  diagnostics d = {.file = "make_example"};
  if (argc != 2) return STATUS_USAGE;
  arena *a = arena_create();
  example_weights_fill(&weights);
  status result = folder_create(&d, argv[1]);
  if (!result) result = file_write(&d, path_join(a, argv[1], "weights.bin"), &weights, sizeof weights);
  if (!result) result = write_case(&d, a, argv[1]);
  arena_destroy(a);
  return result;
}
