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

static status append_file(diagnostics *d, arena *a, const char *folder, const char *name, text *out) {
  mapped_file file;
  sha256 hash;
  uint8_t digest[32];
  char hex[65];
  status result = file_map(d, path_join(a, folder, name), &file);
  if (result) return result;
  sha256_begin(&hash);
  sha256_add(&hash, file.bytes, file.size);
  sha256_end(&hash, digest);
  sha256_hex(digest, hex);
  text_append(out, "    {\"path\": \"%s\", \"bytes\": %zu, \"sha256\": \"%s\"}", name, file.size, hex);
  file_unmap(&file);
  return STATUS_OK;
}

/* A manifest in short: the tables in full are codegen's to write. */
static status write_manifest(diagnostics *d, arena *a, const char *folder) {
  text out = {0};
  text_append(
      &out, "%s",
      "{\n  \"schema\": 2,\n  \"name\": \"example\",\n  \"versions\": {\"pinion\": \"by hand\", \"abi\": 1},\n"
      "  \"target\": {\"name\": \"cpu\", \"device\": \"cpu\", \"compute_capability\": 0, \"minimum_driver\": 0},\n"
      "  \"inputs\": [{\"name\": \"state\", \"dtype\": \"f32\", \"shape\": [2, 3], \"bytes\": 24}],\n"
      "  \"outputs\": [{\"name\": \"actions\", \"dtype\": \"f32\", \"shape\": [2, 5], \"bytes\": 40}],\n"
      "  \"memory\": {\"arena_bytes\": 768, \"weights_bytes\": 1024},\n"
      "  \"buffers\": [\n"
      "    {\"index\": 0, \"space\": \"arena\", \"name\": \"hidden\", \"dtype\": \"f32\", \"shape\": [2, 5], "
      "\"pitch\": 8, "
      "\"offset\": 512, \"bytes\": 64},\n"
      "    {\"index\": 1, \"space\": \"weights\", \"name\": \"projection\", \"dtype\": \"bf16\", \"shape\": [5, 3], "
      "\"pitch\": 4, \"offset\": 512, \"bytes\": 80, \"layout\": \"packed\"}\n  ],\n"
      "  \"kernels\": [{\"index\": 0, \"name\": \"gemm_row\", \"family\": \"gemm\", \"source\": \"model.c\", \"tile\": "
      "\"1x5\"}],\n"
      "  \"stages\": [{\"name\": \"step\", \"first_launch\": 0, \"launches\": 1, \"repeat\": 3}],\n"
      "  \"launches\": [{\"index\": 0, \"stage\": 0, \"family\": \"gemm\", \"kernel\": 0, \"sizes\": [1, 1, 2, 1, 5, "
      "1, 3], "
      "\"results\": 1, \"arguments\": [0, 1], \"grid\": [2, 1, 1], \"block\": [1, 1, 1], \"flops\": 60, \"bytes\": "
      "100, "
      "\"estimated_microseconds\": 0.5, \"after\": [], \"nodes\": [0, 1, 2, 3]}],\n"
      "  \"onnx\": {\"count\": 6, \"op_types\": [\"Mul\", \"Shape\"], \"modules\": [\"m\"],\n"
      "    \"ends\": [{\"how\": \"launch\", \"by\": \"\", \"count\": 4}, {\"how\": \"folded\", \"by\": \"import\", "
      "\"count\": 2}],\n"
      "    \"nodes\": [[\"a\", 0, 0, 0], [\"b\", 0, 0, 0], [\"c\", 0, 0, 0], [\"d\", 0, 0, 0], [\"e\", 1, 0, 1], "
      "[\"f\", 1, 0, 1]]},\n"
      "  \"passes\": [{\"name\": \"fold-constants\", \"changes\": 2, \"ops_before\": 7, \"ops_after\": 5}],\n"
      "  \"files\": [\n");
  status result = append_file(d, a, folder, "model.c", &out);
  text_append(&out, ",\n");
  if (!result) result = append_file(d, a, folder, "weights.bin", &out);
  text_append(&out, "\n  ]\n}\n");
  if (!result) result = file_write(d, path_join(a, folder, "manifest.json"), out.data, out.length);
  text_free(&out);
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
  if (!result) result = write_manifest(&d, a, argv[1]);
  if (!result) result = write_case(&d, a, argv[1]);
  arena_destroy(a);
  return result;
}
