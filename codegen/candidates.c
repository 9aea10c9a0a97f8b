/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* candidates.c of an artifact that is to be tuned: other kernels for its launches, and what tuning files call them. */
#include "artifact.h"

static void append_tiles(const artifact *a, text *out) {
  text_append(out, "\n/* ---- Launches: problem, tile, microseconds by the cost model ---- */\n"
                   "static const pinion_tile_desc launches[] = {\n");
  for (int i = 0; i < a->program.launch_count; i++) {
    const launch_kernel *launch = &a->kernels.launches[i];
    const char *tile = a->kernels.instances[launch->instance].tile;
    text_append(out, "    /* %4d */ {\"%s\", \"%s\", %.3f},\n", i, launch->problem, tile ? tile : "", launch->cost);
  }
  if (!a->program.launch_count) text_append(out, "    {\"\", \"\", 0},\n");
  text_append(out, "};\n");
}

static void append_candidates(const artifact *a, text *out) {
  const kernel_plan *plan = &a->kernels;
  text_append(out,
              "\n/* ---- Candidates: launch, kernel, grid, block, shared bytes, tensor map, tile, microseconds by the "
              "cost model ---- */\n");
  for (int i = 0; i < plan->candidate_count; i++)
    if (plan->candidates[i].kernel.tensor_map) append_tensor_map("map", i, plan->candidates[i].kernel.tensor_map, out);
  text_append(out, "static const pinion_candidate_desc candidates[] = {\n");
  for (int i = 0; i < plan->candidate_count; i++) {
    const launch_kernel *kernel = &plan->candidates[i].kernel;
    text_append(out, "    {%d, %d, {%u, %u, %u}, {%u, %u, %u}, %u, ", plan->candidates[i].launch, kernel->instance,
                kernel->grid[0], kernel->grid[1], kernel->grid[2], kernel->block[0], kernel->block[1], kernel->block[2],
                kernel->dynamic_shared_bytes);
    if (kernel->tensor_map)
      text_append(out, "&map_%d", i);
    else
      text_append(out, "NULL");
    text_append(out, ", \"%s\", %.3f},\n", plan->instances[kernel->instance].tile, kernel->cost);
  }
  if (!plan->candidate_count) text_append(out, "    {0, 0, {0}, {0}, 0, NULL, NULL, 0},\n");
  text_append(out, "};\n");
}

void model_candidates(const artifact *a, text *out) {
  text_append(out,
              "/* Written by pinion " PINION_VERSION_TEXT " for target %s: what there is to measure. */\n"
              "#include \"runtime/abi.h\"\n",
              a->options->target->name);
  append_tiles(a, out);
  append_candidates(a, out);
  text_append(out,
              "\nstatic const pinion_tuning_desc tuning = {launches, candidates, %d, \"%s\"};\n\n"
              "const pinion_tuning_desc *pinion_model_tuning(void) {\n  return &tuning;\n}\n",
              a->kernels.candidate_count, a->options->target->toolchain());
}
