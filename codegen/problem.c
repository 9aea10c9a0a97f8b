/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A launch of the IR as a problem for a target: types, sizes, body. */
#include "artifact.h"

#include <string.h>

static status parse_body(compilation *c, const program_launch *launch, kernel_problem *problem) {
  const char *why = "";
  if (kernel_problem_body(c->arena, launch->body, problem, &why)) return STATUS_OK;
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

/* Bytes [*out_first, *out_last) of the arena that an argument may touch; false if it lies elsewhere. */
static bool arena_range(const program *p, const program_launch *launch, int arg, int64_t *out_first,
                        int64_t *out_last) {
  const program_buffer *buffer = &p->buffers[launch->buffers[arg]];
  program_arg_range(p, launch, arg, out_first, out_last);
  *out_first += buffer->offset;
  *out_last += buffer->offset;
  return buffer->space == PINION_SPACE_ARENA;
}

/* How many of the first keys of k or v (`arg`) lie before all that the launch `before` writes. */
static int64_t settled_of(const program *p, const program_launch *launch, int arg, const program_launch *before) {
  enum { GROUP = 1, KEY = 4 };
  const pinion_params *params = &launch->params;
  int64_t first, last, settled = params->size[KEY];
  const int64_t key_bytes = params->stride[arg][KEY] * (int64_t)pinion_dtype_size(program_arg_dtype(p, launch, arg));
  if (!arena_range(p, launch, arg, &first, &last)) return settled;
  for (int i = 0; i < before->result_count; i++) {
    int64_t written, written_last;
    if (!arena_range(p, before, i, &written, &written_last) || written >= last || written_last <= first) continue;
    const bool in_order = params->size[0] == 1 && params->size[GROUP] == 1 && key_bytes > 0;
    const int64_t keys = in_order && written > first ? (written - first) / key_bytes : 0;
    if (keys < settled) settled = keys;
  }
  return settled;
}

static int64_t settled_keys(const program *p, const program_launch *launch) {
  enum { K = 2, V };
  const int index = (int)(launch - p->launches);
  if (index <= p->stages[launch->stage].first_launch) return 0; /* what is in front differs from step to step */
  const int64_t of_k = settled_of(p, launch, K, launch - 1), of_v = settled_of(p, launch, V, launch - 1);
  return of_k < of_v ? of_k : of_v;
}

/* Whether the launch in front, which is always the same, writes nothing of the gemm's row mask. */
static bool mask_is_early(const program *p, const program_launch *launch) {
  const int mask = launch->params.arg_count - 1, index = (int)(launch - p->launches);
  int64_t first, last;
  if (index <= p->stages[launch->stage].first_launch) return false;
  if (!arena_range(p, launch, mask, &first, &last)) return true;
  for (int i = 0; i < launch[-1].result_count; i++) {
    int64_t written, written_last;
    if (arena_range(p, launch - 1, i, &written, &written_last) && written < last && written_last > first) return false;
  }
  return true;
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
  if (launch->family == PINION_FAMILY_ATTENTION) out_problem->settled_keys = settled_keys(p, launch);
  if (launch->family == PINION_FAMILY_GEMM && launch->params.integer[6])
    out_problem->mask_is_early = mask_is_early(p, launch);
  const int b = launch->result_count + 1;
  out_problem->packed_b =
      launch->family == PINION_FAMILY_GEMM && b < launch->params.arg_count && p->buffers[launch->buffers[b]].packed;
  return mlirAttributeIsNull(launch->body) ? STATUS_OK : parse_body(c, launch, out_problem);
}

static void append_gemm_form(const pinion_params *params, text *out) {
  const int64_t *integer = params->integer;
  if (integer[0]) text_append(out, " parts=%lld,%lld", (long long)integer[0], (long long)integer[1]);
  if (integer[2]) text_append(out, " row_sums=%lld", (long long)integer[2]);
  if (integer[4]) text_append(out, " column_sums=%lld", (long long)integer[4]);
}

/* Without a row mask: the same tile does the rows best, if they are fewer. */
void kernel_problem_key(const kernel_problem *problem, text *out) {
  const int masks = problem->family == PINION_FAMILY_GEMM ? (int)problem->params.integer[6] : 0;
  text_append(out, "%s", family_name(problem->family));
  if (problem->kind[0]) text_append(out, " %s", problem->kind);
  if (problem->packed_b) text_append(out, " packed");
  for (int i = 0; i < problem->params.arg_count - masks; i++) text_append(out, " %s", dtype_name(problem->dtypes[i]));
  if (problem->has_body) text_append(out, " body");
  if (problem->family == PINION_FAMILY_GEMM) append_gemm_form(&problem->params, out);
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
  case PINION_FAMILY_GEMM: return 2 * all + scalars * product(size, 0, PINION_GEMM_P);
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
      if (is_packed ? d >= PINION_GEMM_H : params->stride[i][d] != 0) elements *= (double)params->size[d];
    work.bytes += elements * (double)pinion_dtype_size(problem->dtypes[i]);
  }
  return work;
}
