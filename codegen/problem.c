/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A launch of the IR as a problem for a target: types, sizes, body. */
#include "artifact.h"

#include <string.h>

static status parse_body(compilation *c, const program_launch *launch, kernel_problem *problem) {
  pinion_dtype inputs[PINION_MAX_ARGS];
  int count = 0, first = problem->result_count;
  const char *why = "";
  if (launch->family == PINION_FAMILY_GEMM) { /* x0 is the accumulator */
    inputs[count++] = problem->dtypes[first] == PINION_DTYPE_f64 ? PINION_DTYPE_f64 : PINION_DTYPE_f32;
    first += 2;
  }
  for (int i = first; i < problem->params.arg_count; i++) inputs[count++] = problem->dtypes[i];
  problem->has_body = true;
  if (body_parse(c->arena, launch->body, count, inputs, &problem->body, &why)) return STATUS_OK;
  return diagnose(&c->diagnostics, STATUS_FAILED, launch->node_count ? launch->nodes[0] : NULL, "pinion.launch",
                  "its body is wrong: %s", why);
}

/* Whether the argument's address is a multiple of 16 bytes at every step. What the caller binds may lie anywhere. */
static bool is_aligned(const program *p, const program_launch *launch, int arg) {
  const program_buffer *buffer = &p->buffers[launch->buffers[arg]];
  const int64_t element = (int64_t)pinion_dtype_size(buffer->type.dtype);
  const bool ours = buffer->space == PINION_SPACE_ARENA || buffer->space == PINION_SPACE_WEIGHTS;
  return ours && launch->offset[arg] * element % 16 == 0 && launch->step_stride[arg] * element % 16 == 0;
}

status kernel_problem_of(compilation *c, const program *p, const program_launch *launch, kernel_problem *out_problem) {
  memset(out_problem, 0, sizeof *out_problem);
  out_problem->family = launch->family;
  snprintf(out_problem->kind, sizeof out_problem->kind, "%s", launch->kind);
  out_problem->result_count = launch->result_count;
  out_problem->params = launch->params;
  for (int i = 0; i < launch->params.arg_count; i++) {
    out_problem->dtypes[i] = program_arg_dtype(p, launch, i);
    out_problem->aligned[i] = is_aligned(p, launch, i);
  }
  const int b = launch->result_count + 1;
  out_problem->packed_b =
      launch->family == PINION_FAMILY_GEMM && b < launch->params.arg_count && p->buffers[launch->buffers[b]].packed;
  return mlirAttributeIsNull(launch->body) ? STATUS_OK : parse_body(c, launch, out_problem);
}

void kernel_problem_key(const kernel_problem *problem, text *out) {
  text_append(out, "%s", family_name(problem->family));
  if (problem->kind[0]) text_append(out, " %s", problem->kind);
  if (problem->packed_b) text_append(out, " packed");
  for (int i = 0; i < problem->params.arg_count; i++) text_append(out, " %s", dtype_name(problem->dtypes[i]));
  if (problem->has_body) text_append(out, " body");
  for (int d = 0; d < problem->params.rank; d++)
    text_append(out, "%c%lld", d ? 'x' : ' ', (long long)problem->params.size[d]);
}

static double product(const int64_t *sizes, int first, int last) {
  double total = 1;
  for (int d = first; d < last; d++) total *= (double)sizes[d];
  return total;
}

static double flops_of(const kernel_problem *problem) {
  const int64_t *size = problem->params.size;
  const int rank = problem->params.rank;
  const double all = product(size, 0, rank), scalars = problem->has_body ? problem->body.instruction_count : 0;
  switch (problem->family) {
  case PINION_FAMILY_GEMM: return 2 * all + scalars * product(size, 0, 4);
  case PINION_FAMILY_ATTENTION: return 2 * product(size, 0, 5) * (double)(size[5] + size[6]);
  case PINION_FAMILY_POINTWISE: return all * scalars;
  case PINION_FAMILY_SOFTMAX: return 4 * all;
  case PINION_FAMILY_NORM: return 5 * all;
  case PINION_FAMILY_ROPE: return 6 * all;
  case PINION_FAMILY_REDUCE:
  case PINION_FAMILY_CUMSUM: return all;
  default: return 0;
  }
}

launch_work kernel_problem_work(const kernel_problem *problem) {
  launch_work work = {.flops = flops_of(problem)};
  const pinion_params *params = &problem->params;
  for (int i = 0; i < params->arg_count; i++) {
    double elements = 1;
    const bool is_packed = problem->packed_b && i == problem->result_count + 1;
    for (int d = 0; d < params->rank; d++)
      if (is_packed ? d >= 3 : params->stride[i][d] != 0) elements *= (double)params->size[d];
    work.bytes += elements * (double)pinion_dtype_size(problem->dtypes[i]);
  }
  return work;
}
