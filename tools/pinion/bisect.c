/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "bisect.h"

#include "compile.h"
#include "reference.h"

#include "targets/target.h"

#include <stdlib.h>
#include <string.h>

/* The model with the first rewrites alone: how many, and how wrong it is. */
typedef struct attempt {
  int64_t rewrites;
  const char *pass, *location; /* of the last of them; the arena's; pass NULL if there was none */
  double error;
  bool right;
} attempt;

typedef struct bisection {
  const bisect_request *request;
  diagnostics *diagnostics;
  arena *memory;
  char *folder; /* of artifacts that are made to be judged; the arena's */
  compile_arguments arguments;
} bisection;

/* Tries the first `allowed` rewrites. */
typedef status judge(bisection *b, int64_t allowed, attempt *out_attempt);

static void note_attempt(bisection *b, const rewrite_limit *limit, attempt *out) {
  out->rewrites = limit->made;
  out->pass = limit->pass;
  if (!limit->pass) return;
  MlirStringRef name = location_name(limit->location);
  out->location = arena_string(b->memory, name.data, name.length);
}

/* ---- The interpreter as judge ---- */

static status interpret_ir(bisection *b, compilation *c, rewrite_limit *limit, tensor_list *results) {
  const bisect_request *r = b->request;
  pipeline_options options = pipeline_flags_options(&b->arguments.pipeline);
  MlirModule module = {NULL};
  options.passes = pipeline_before_launches(c->arena);
  options.limit = limit;
  options.target = target_find(b->arguments.target);
  status result = compile_read(c, &b->arguments, &module);
  if (result == STATUS_OK) result = pipeline_run(c, module, &options);
  if (result == STATUS_OK)
    result = reference_evaluate(c, module, r->artifact->desc, r->inputs, r->precision, NULL, NULL, results);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  return result;
}

static status judge_ir(bisection *b, int64_t allowed, attempt *out) {
  const bisect_request *r = b->request;
  const pinion_model_desc *desc = r->artifact->desc;
  rewrite_limit limit = {.allowed = allowed};
  tensor_list results = {0};
  compilation c;
  status result = compilation_create(&c);
  c.diagnostics.file = r->model;
  if (result == STATUS_OK) result = tensor_list_outputs(&c.diagnostics, desc, &results);
  if (result == STATUS_OK) result = interpret_ir(b, &c, &limit, &results);
  if (result == STATUS_OK) {
    note_attempt(b, &limit, out);
    out->right = outputs_agree(desc, r->inputs, &results, r->references, &r->limits, &out->error);
  }
  tensor_list_free(&results);
  compilation_destroy(&c);
  return result;
}

/* ---- The artifact as judge ---- */

/* The inputs of another artifact of the model, by name: one may have an input more, which reaches no output. */
static status inputs_by_name(diagnostics *d, const bisect_request *r, const pinion_model_desc *desc,
                             tensor_list *out_inputs) {
  status result = tensor_list_random(d, desc, 0, out_inputs);
  for (uint32_t i = 0; i < desc->input_count && result == STATUS_OK; i++) {
    const int from = desc_find_input(r->artifact->desc, desc->buffers[desc->inputs[i]].name);
    tensor *to = &out_inputs->tensors[i];
    if (from < 0 || !type_equal(&to->type, &r->inputs->tensors[from].type)) continue;
    memcpy(to->data, r->inputs->tensors[from].data, (size_t)type_bytes(&to->type));
  }
  return result;
}

static status run_artifact(bisection *b, attempt *out) {
  const bisect_request *r = b->request;
  const pinion_options runtime = artifact_options(&r->flags);
  tensor_list inputs = {0}, outputs = {0};
  artifact a = {0};
  status result = artifact_load(b->diagnostics, b->folder, &a);
  if (result == STATUS_OK) result = artifact_open(b->diagnostics, &a, &runtime);
  if (result == STATUS_OK) result = inputs_by_name(b->diagnostics, r, a.desc, &inputs);
  if (result == STATUS_OK) result = tensor_list_outputs(b->diagnostics, a.desc, &outputs);
  if (result == STATUS_OK) result = artifact_run(b->diagnostics, &a, &inputs, &outputs);
  if (result == STATUS_OK)
    out->right = outputs_agree(a.desc, &inputs, &outputs, r->references, &r->limits, &out->error);
  tensor_list_free(&inputs);
  tensor_list_free(&outputs);
  artifact_close(&a);
  return result;
}

static status judge_artifact(bisection *b, int64_t allowed, attempt *out) {
  rewrite_limit limit = {.allowed = allowed};
  compile_arguments arguments = b->arguments;
  compilation c;
  arguments.pipeline.options.limit = &limit;
  status result = compilation_create(&c);
  c.diagnostics.file = b->request->model;
  if (result == STATUS_OK) result = compile_model(&c, &arguments);
  if (result == STATUS_OK) note_attempt(b, &limit, out);
  compilation_destroy(&c);
  return result == STATUS_OK ? run_artifact(b, out) : result;
}

/* ---- Halving ---- */

static status try_rewrites(bisection *b, judge *judge_of, int64_t allowed, attempt *out) {
  *out = (attempt){0};
  const status result = judge_of(b, allowed, out);
  if (result == STATUS_OK)
    printf("  %6lld rewrites: error %.3e, %s\n", (long long)out->rewrites, out->error, out->right ? "right" : "WRONG");
  fflush(stdout);
  return result;
}

/* From a right attempt and a wrong one to neighbours. */
static status halve(bisection *b, judge *judge_of, attempt *right, attempt *wrong) {
  status result = STATUS_OK;
  while (wrong->rewrites - right->rewrites > 1 && result == STATUS_OK) {
    attempt middle;
    result = try_rewrites(b, judge_of, right->rewrites + (wrong->rewrites - right->rewrites) / 2, &middle);
    if (result == STATUS_OK) *(middle.right ? right : wrong) = middle;
  }
  return result;
}

static void print_culprit(const bisection *b, const attempt *right, const attempt *wrong, bool by_ir) {
  printf("the model breaks with rewrite %lld of optional passes: %s at '%s'\n", (long long)wrong->rewrites, wrong->pass,
         wrong->location);
  printf("  relative L2 before it %.3e, with it %.3e\n", right->error, wrong->error);
  if (by_ir)
    printf("  the interpreter shows it on the IR: the pass changes what is computed there\n");
  else
    printf("  the IR stays right in the interpreter: what this rewrite makes is lowered, or computed by its kernel, "
           "wrongly\n");
  printf("  to see it:       pinion compile %s --rewrite-limit=%lld --dump-ir-after=%s ..\n", b->request->model,
         (long long)wrong->rewrites, wrong->pass);
  if (*wrong->location)
    printf("  to do without:   pinion compile %s --disable-pass=%s@%s ..\n", b->request->model, wrong->pass,
           wrong->location);
}

/* `all` is a wrong attempt with every rewrite. */
static status find_culprit(bisection *b, judge *judge_of, attempt *all) {
  const bool by_ir = judge_of == judge_ir;
  attempt none;
  status result = try_rewrites(b, judge_of, 0, &none);
  if (result != STATUS_OK) return result;
  if (none.right) {
    result = halve(b, judge_of, &none, all);
    if (result == STATUS_OK) print_culprit(b, &none, all, by_ir);
  } else if (by_ir) {
    printf("the IR is wrong without any optional pass: a required one changes what is computed\n");
  } else {
    printf("the artifact is wrong without any optional pass, and its IR right: an op is lowered, or computed by its "
           "kernel, wrongly\n");
  }
  return result;
}

static status bisect(bisection *b) {
  attempt all;
  printf("the IR that the passes leave, in the reference interpreter:\n");
  status result = try_rewrites(b, judge_ir, b->arguments.pipeline.most_rewrites, &all);
  if (result != STATUS_OK || !all.right) return result != STATUS_OK ? result : find_culprit(b, judge_ir, &all);
  printf("the artifact, compiled again in %s:\n", b->folder);
  result = try_rewrites(b, judge_artifact, b->arguments.pipeline.most_rewrites, &all);
  if (result != STATUS_OK || !all.right) return result != STATUS_OK ? result : find_culprit(b, judge_artifact, &all);
  printf("the model is right when it is compiled again: '%s' is damaged (`pinion inspect --check`), or another Pinion "
         "made it\n",
         b->request->artifact->folder);
  return STATUS_OK;
}

/* ---- Beginning ---- */

/* The command line of the artifact, to write elsewhere. */
static bool read_arguments(bisection *b) {
  const json *flags = json_member(b->request->manifest, "flags");
  const size_t count = flags ? flags->count : 0;
  char **argv = arena_alloc(b->memory, (count + 5) * sizeof *argv);
  int argc = 0, exit_status;
  argv[argc++] = arena_format(b->memory, "compile");
  argv[argc++] = arena_format(b->memory, "--target=%s", b->request->artifact->desc->target);
  for (size_t i = 0; i < count; i++) argv[argc++] = arena_format(b->memory, "%s", json_string(&flags->items[i], ""));
  argv[argc++] = arena_format(b->memory, "--output=%s", b->folder);
  argv[argc++] = arena_format(b->memory, "%s", b->request->model);
  return compile_parse(argc, argv, &b->arguments, &exit_status);
}

status bisect_passes(diagnostics *d, arena *memory, const bisect_request *request) {
  const char *base = getenv("TMPDIR");
  bisection b = {.request = request, .diagnostics = d, .memory = memory};
  b.folder = arena_format(memory, "%s/pinion-bisect-XXXXXX", base && *base ? base : "/tmp");
  if (!mkdtemp(b.folder)) return diagnose(d, STATUS_FAILED, NULL, NULL, "cannot make the folder '%s'", b.folder);
  const status result = read_arguments(&b) ? bisect(&b) : STATUS_BAD_INPUT;
  folder_remove(b.folder);
  return result;
}
