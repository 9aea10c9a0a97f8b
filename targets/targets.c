/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The list of targets, and what every kernel instance finds in front of it (target.h). */
#include "target.h"

#include "../ir/gemm.h"

#include <string.h>

extern const struct target target_cpu, target_sm_90, target_sm_110;

const struct target *const target_table[] = {&target_cpu, &target_sm_90, &target_sm_110, NULL};

const struct target *target_find(const char *name) {
  for (int i = 0; target_table[i]; i++)
    if (!strcmp(target_table[i]->name, name)) return target_table[i];
  return NULL;
}

static const char *compute_type(pinion_dtype dtype) {
  switch (dtype) {
  case PINION_DTYPE_f32:
  case PINION_DTYPE_bf16:
  case PINION_DTYPE_f16: return "float";
  case PINION_DTYPE_f64: return "double";
  default: return "int64_t";
  }
}

/* `#define MACRO(X) X(input, first, type) X(input + 1, first + 1, type) ..` */
static void define_body_list(const kernel_problem *problem, const char *macro, int input, int first, int end,
                             text *out) {
  text_append(out, "#define %s(X)", macro);
  for (int i = first; i < end; i++) text_append(out, " X(%d, %d, %s)", input++, i, dtype_name(problem->dtypes[i]));
  text_append(out, "\n");
}

static int parts_of(const kernel_problem *problem) {
  return problem->family == PINION_FAMILY_GEMM ? pinion_gemm_parts(&problem->params) : 1;
}

bool kernel_problem_body(arena *a, MlirAttribute lines, kernel_problem *problem, const char **out_why) {
  const bool is_gemm = problem->family == PINION_FAMILY_GEMM;
  const pinion_dtype *operands = &problem->dtypes[problem->result_count];
  int count = problem->params.arg_count - problem->result_count;
  pinion_dtype inputs[PINION_MAX_ARGS];
  if (is_gemm) {
    const int64_t accumulators = problem->params.size[PINION_GEMM_P];
    count -= 2 + (int)problem->params.integer[6];
    count = gemm_body_inputs(operands[0], accumulators, parts_of(problem), count, operands + 2, inputs);
    operands = inputs;
  }
  problem->has_body = body_parse(a, lines, count, operands, &problem->body, out_why);
  return problem->has_body;
}

static int row_masks_of(const kernel_problem *problem) {
  return problem->family == PINION_FAMILY_GEMM ? (int)problem->params.integer[6] : 0;
}

static int row_sums_of(const kernel_problem *problem) {
  return problem->family == PINION_FAMILY_GEMM ? (int)problem->params.integer[2] : 0;
}

static int column_sums_of(const kernel_problem *problem) {
  return problem->family == PINION_FAMILY_GEMM ? (int)problem->params.integer[4] : 0;
}

static void define_body(const kernel_problem *problem, text *out) {
  const bool is_gemm = problem->family == PINION_FAMILY_GEMM;
  const int results = problem->result_count / parts_of(problem), inputs = problem->body.input_count;
  const int first = problem->result_count + 2 * is_gemm, end = problem->params.arg_count - row_masks_of(problem);
  text_append(out, "#define PN_HAS_BODY 1\n");
  define_body_list(problem, "PN_BODY_OPERANDS", inputs - (end - first), first, end - row_sums_of(problem), out);
  define_body_list(problem, "PN_BODY_RESULTS", 0, 0, results - column_sums_of(problem), out);
  text_append(out, "#define PN_BODY_ARGUMENTS ");
  for (int i = 0; i < inputs; i++) text_append(out, "x%d, ", i);
  for (int i = 0; i < results; i++) text_append(out, "&r%d%s", i, i + 1 < results ? ", " : "\n");
}

/* A statement, empty where there are no sums of rows. */
static void define_row_values(const kernel_problem *problem, text *out) {
  const int count = row_sums_of(problem), first = problem->body.input_count - count;
  text_append(out, "#define PN_ROW_VALUES%s", count ? " pn_row_values(" : "\n");
  for (int j = first; j < first + count; j++) text_append(out, "sum%d, ", j);
  for (int j = first; j < first + count; j++) text_append(out, "&x%d%s", j, j + 1 < first + count ? ", " : ");\n");
}

static void define_gemm(const kernel_problem *problem, text *out) {
  const int accumulators = (int)problem->params.size[PINION_GEMM_P], parts = parts_of(problem);
  const int row_sums = row_sums_of(problem), column_sums = column_sums_of(problem);
  const int results = problem->result_count / parts, end = problem->params.arg_count - row_masks_of(problem);
  text_append(out, "#define PN_ACCUMULATORS %d\n#define PN_PARTS %d\n", accumulators, parts);
  if (parts > 1) text_append(out, "#define PN_PART x%d\n", accumulators);
  if (problem->params.size[PINION_GEMM_H] > 1) text_append(out, "#define PN_GROUPED 1\n");
  if (problem->packed_b) text_append(out, "#define PN_PACKED_B 1\n");
  define_body_list(problem, "PN_ROW_SUMS", problem->body.input_count - row_sums, end - row_sums, end, out);
  define_row_values(problem, out);
  define_body_list(problem, "PN_COLUMN_SUMS", results - column_sums, results - column_sums, results, out);
  if (end < problem->params.arg_count) text_append(out, "#define PN_ROW_MASK %d\n", end);
}

void kernel_problem_defines(const kernel_problem *problem, const char *name, text *out) {
  const int arguments = problem->params.arg_count;
  text_append(out, "#define PN_KERNEL %s\n#define PN_RANK %d\n", name, problem->params.rank);
  text_append(out, "#define PN_RESULTS %d\n", problem->result_count);
  text_append(out, "#define PN_OPERANDS %d\n", arguments - problem->result_count);
  for (int i = 0; i < arguments; i++) {
    text_append(out, "#define PN_T%d %s\n", i, dtype_name(problem->dtypes[i]));
    text_append(out, "#define PN_C%d %s\n", i, compute_type(problem->dtypes[i]));
  }
  text_append(out, "#define PN_ARG_TYPES(X)");
  for (int i = 0; i < arguments; i++) text_append(out, " X(%d, %s)", i, dtype_name(problem->dtypes[i]));
  text_append(out, "\n");
  if (problem->kind[0]) text_append(out, "#define PN_KIND_%s 1\n", problem->kind);
  if (problem->family == PINION_FAMILY_GEMM) define_gemm(problem, out);
  if (problem->has_body) define_body(problem, out);
}

static const char *file_below(const char *folder, const char *name, size_t *out_bytes) {
  char path[256];
  snprintf(path, sizeof path, "targets/%s/%s", folder, name);
  return embedded_file(path, out_bytes);
}

const char *target_file(const struct target *target, const char *name, size_t *out_bytes) {
  const char *own = file_below(target->name, name, out_bytes);
  return own || !target->vendor ? own : file_below(target->vendor, name, out_bytes);
}

/* Every name that a target gives is a file. */
static void append_file(const struct target *target, const char *name, text *out) {
  size_t bytes = 0;
  const char *data = target_file(target, name, &bytes);
  if (data) text_append_bytes(out, data, bytes);
}

static void append_header(const struct target *target, text *out) {
  if (target->compile) {
    append_file(target, target->prelude, out);
    return;
  }
  const size_t length = strlen(target->prelude), suffix = strlen(".in");
  const bool is_template = length > suffix && !strcmp(target->prelude + length - suffix, ".in");
  text_append(out, "#include \"../runtime/abi.h\"\n#include \"%.*s\"\n", (int)(length - (is_template ? suffix : 0)),
              target->prelude);
}

/* pn_row_values of the row sums, and pn_body of what it makes of them. */
static void emit_body(const kernel_problem *problem, text *out) {
  body rest = problem->body, ahead;
  if (row_sums_of(problem)) {
    body_split(&rest, rest.input_count - row_sums_of(problem), &ahead);
    body_emit_c(&ahead, "pn_row_values", out);
  }
  body_emit_c(&rest, "pn_body", out);
}

void kernel_instance_source(const struct target *target, const kernel_problem *problem, const kernel_choice *choice,
                            const char *name, text *out) {
  size_t bytes = 0;
  if (target->compile) {
    const char *abi = embedded_file("runtime/abi.h", &bytes);
    if (abi) text_append_bytes(out, abi, bytes);
  }
  kernel_problem_defines(problem, name, out);
  if (choice->defines.data) text_append_bytes(out, choice->defines.data, choice->defines.length);
  append_header(target, out);
  if (problem->has_body) emit_body(problem, out);
  if (choice->common) append_file(target, choice->common, out);
  append_file(target, choice->source, out);
}
