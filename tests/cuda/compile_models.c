/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Compiles every different kernel of models for a target whose GPU need not be at hand; nothing else of an artifact.
 *
 *   compile_models TARGET MODEL.onnx...
 *
 * A kernel for tensor cores whose cubin has no instruction of theirs does not compile (targets/nvidia/nvidia.h). Exits
 * 77 where NVRTC is missing; 1 if a kernel does not compile or spills a register, or if a bf16 gemm or attention is not
 * for tensor cores.
 */
#include "codegen/artifact.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "targets/nvidia/nvrtc.h"

#include <stdlib.h>
#include <string.h>

/* Kernels of all models, each once. */
typedef struct collection {
  arena *own;
  kernel_plan plan;
  const char **neutral; /* sources, but for the name */
  size_t instance_capacity, neutral_capacity;
  int chosen, tensor; /* launches, and those on tensor cores */
} collection;

/* The source, with its name taken out of the one line that defines it. */
static const char *without_name(arena *a, const kernel_instance *instance) {
  static const char define[] = "#define PN_KERNEL ";
  const char *line = strstr(instance->source, define), *end = strchr(line, '\n');
  return arena_format(a, "%.*s%s", (int)(line - instance->source), instance->source, end);
}

static void collect(collection *all, const kernel_instance *instance) {
  arena *a = all->own;
  const char *neutral = without_name(a, instance);
  const size_t count = (size_t)all->plan.instance_count;
  for (size_t i = 0; i < count; i++)
    if (!strcmp(all->neutral[i], neutral)) return;
  all->plan.instances = arena_grow(a, all->plan.instances, count, &all->instance_capacity, sizeof *all->plan.instances);
  all->neutral = arena_grow(a, all->neutral, count, &all->neutral_capacity, sizeof *all->neutral);
  all->plan.instances[count] = *instance;
  all->neutral[count] = neutral;
  all->plan.instance_count++;
}

static bool is_tensor_tile(const char *tile) {
  return tile && (!strncmp(tile, "mma_", 4) || !strncmp(tile, "wgmma_", 6));
}

/* Whether all of the launch's products are of bf16: a gemm's operands, or what attention reads and writes. */
static bool is_bf16_product(const kernel_problem *problem) {
  const bool is_gemm = problem->family == PINION_FAMILY_GEMM;
  if (!is_gemm && problem->family != PINION_FAMILY_ATTENTION) return false;
  const int first = is_gemm ? problem->result_count : 0, count = is_gemm ? 2 : 4;
  for (int i = first; i < first + count; i++)
    if (problem->dtypes[i] != PINION_DTYPE_bf16) return false;
  return true;
}

static bool check_launch(compilation *c, const program *p, const kernel_plan *plan, int launch, collection *all) {
  kernel_problem *problem = arena_alloc(c->arena, sizeof *problem);
  const char *tile = plan->instances[plan->launches[launch].instance].tile;
  if (kernel_problem_of(c, p, &p->launches[launch], problem)) return false;
  all->chosen++;
  all->tensor += is_tensor_tile(tile);
  if (!is_bf16_product(problem) || is_tensor_tile(tile)) return true;
  fprintf(stderr, "%s: not on tensor cores: %s\n", c->diagnostics.file, plan->launches[launch].problem);
  return false;
}

static bool add_model(compilation *c, const struct target *backend, const char *path, collection *all) {
  const import_options import = {0};
  const pipeline_options pipeline = {.target = backend};
  const tuning untuned = {0};
  MlirModule module = {NULL};
  program p;
  kernel_plan plan = {0};
  c->diagnostics.file = path;
  status result = onnx_import(c, path, &import, &module);
  if (!result) result = pipeline_run(c, module, &pipeline);
  if (!result) result = program_read(c, module, &p);
  if (!result) result = kernels_choose(c, &p, backend, &untuned, 0, &plan);
  bool good = !result;
  for (int i = 0; !result && i < plan.instance_count; i++) collect(all, &plan.instances[i]);
  for (int i = 0; !result && i < p.launch_count; i++) good &= check_launch(c, &p, &plan, i, all);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  return good;
}

static bool report_spills(const kernel_plan *plan) {
  bool good = true;
  for (int i = 0; i < plan->instance_count; i++) {
    const kernel_instance *instance = &plan->instances[i];
    if (!instance->blob.spilled_bytes) continue;
    fprintf(stderr, "kernel %s spills %d bytes of registers:\n%s\n", instance->name, instance->blob.spilled_bytes,
            instance->source);
    good = false;
  }
  return good;
}

/* The models' compilations hold the kernels' sources. */
static bool compile_models(const struct target *backend, int count, char **paths) {
  compilation *of_model = calloc((size_t)count, sizeof *of_model);
  collection all = {.own = arena_create()};
  int created = 0;
  bool good = true;
  for (; good && created < count; created++) {
    good = !compilation_create(&of_model[created]);
    good = good && add_model(&of_model[created], backend, paths[created], &all);
  }
  if (good) good = !kernels_compile(&of_model[0], backend, &all.plan) && report_spills(&all.plan);
  printf("%s, %s: %d models, %d launches, %d on tensor cores; %d different kernels\n", backend->name, nvrtc_version(),
         created, all.chosen, all.tensor, all.plan.instance_count);
  kernels_free(&all.plan);
  for (int i = 0; i < created; i++) compilation_destroy(&of_model[i]);
  arena_destroy(all.own);
  free(of_model);
  return good;
}

int main(int argc, char **argv) {
  const char *why;
  const struct target *backend = argc > 2 ? target_find(argv[1]) : NULL;
  if (!backend) {
    fprintf(stderr, "usage: compile_models TARGET MODEL.onnx...\n");
    return 2;
  }
  if (!nvrtc_available(&why)) {
    printf("skipped: %s\n", why);
    return 77;
  }
  return compile_models(backend, argc - 2, argv + 2) ? 0 : 1;
}
