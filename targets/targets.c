/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The list of targets, and what every kernel instance finds in front of it (target.h). */
#include "target.h"

#include <string.h>

extern const struct target target_cpu, target_sm_90;

const struct target *const target_table[] = {&target_cpu, &target_sm_90, NULL};

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

/* `#define MACRO(X) X(0, first, type) X(1, first + 1, type) ..` */
static void define_body_list(const kernel_problem *problem, const char *macro, int input, int first, int end,
                             text *out) {
  text_append(out, "#define %s(X)", macro);
  for (int i = first; i < end; i++) text_append(out, " X(%d, %d, %s)", input++, i, dtype_name(problem->dtypes[i]));
  text_append(out, "\n");
}

static void define_body(const kernel_problem *problem, text *out) {
  const bool is_gemm = problem->family == PINION_FAMILY_GEMM;
  const int results = problem->result_count;
  text_append(out, "#define PN_HAS_BODY 1\n");
  define_body_list(problem, "PN_BODY_OPERANDS", is_gemm, results + 2 * is_gemm, problem->params.arg_count, out);
  define_body_list(problem, "PN_BODY_RESULTS", 0, 0, results, out);
  text_append(out, "#define PN_BODY_ARGUMENTS ");
  for (int i = 0; i < problem->body.input_count; i++) text_append(out, "x%d, ", i);
  for (int i = 0; i < results; i++) text_append(out, "&r%d%s", i, i + 1 < results ? ", " : "\n");
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
  if (problem->packed_b) text_append(out, "#define PN_PACKED_B 1\n");
  if (problem->has_body) define_body(problem, out);
}

/* An embedded file of the target's folder; every name that a target gives is one. */
static void append_file(const struct target *target, const char *name, text *out) {
  char path[256];
  size_t bytes = 0;
  snprintf(path, sizeof path, "targets/%s/%s", target->name, name);
  const char *data = embedded_file(path, &bytes);
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
  if (problem->has_body) body_emit_c(&problem->body, "pn_body", out);
  append_file(target, choice->source, out);
}
