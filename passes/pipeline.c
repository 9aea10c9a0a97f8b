/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The pass table, the default pipeline, and running passes under MLIR's pass manager. */
#include "fates.h"
#include "gate.h"
#include "remarks.h"

#include <mlir-c/Pass.h>
#include <stdlib.h>
#include <string.h>

const pass_info pass_table[] = {
#define PASS(name, function, required, levels, summary) {name, function, required, levels, summary},
#include "passes.def"
#undef PASS
};
const int pass_table_count = sizeof pass_table / sizeof *pass_table;

const pass_info *pass_find(const char *name) {
  for (int i = 0; i < pass_table_count; i++)
    if (strcmp(pass_table[i].name, name) == 0) return &pass_table[i];
  return NULL;
}

const char *const *pipeline_default(void) {
  static const char *const names[] = {
      "recognise-activation", /* before choose-precision: it knows GELU's numbers rounded to the exported type */
      "choose-precision",     /* early: the casts it puts in are cleaned up like the exporter's */
      "eliminate-common",     /* exporters repeat a weight for every step, which tells steps from layers */
      "outline-steps",        /* early: all that follows sees one step, however many there were */
      "flatten-patches",      /* before canonicalise: the exporter flattens the image behind it */
      "canonicalise",         /* the exporter's identities hide what is constant and what is equal */
      "fold-constants",       /* shapes, masks, positions */
      "canonicalise",         /* constants make more ops no-ops */
      "eliminate-common",     /* what canonicalising made equal */
      "eliminate-dead",       /* across functions: what a step computes or is given for nothing */
      "outline-steps",        /* where the copies are equal only now; before any fusion */
      "split-concat-matmul",  /* before hoist-tables, which computes the part split off */
      "fold-linear",          /* after split-concat-matmul, whose product may be the second; its bias goes to tables */
      "hoist-tables",         /* before outline-weights: what it hoists depends on weights alone */
      "hoist-invariant",      /* before outline-stages: what it hoists becomes part of @prefix */
      "outline-stages",       /* after the steps: what is left in @main splits by what it depends on */
      "recognise-norm",       /* after steps and stages: each copy once; 1 + w is not outlined yet */
      "recognise-activation", /* what is one only now; like all of recognise before fusions, of single ops */
      "recognise-rope",       /* proves what it needs across the functions' arguments */
      "recognise-attention",  /* each of the four in any order */
      "drop-masked-tokens",   /* after recognise: it asks the attentions what a mask hides; the fewer tokens, the better
                               */
      "simplify-masks",       /* after recognise; before the passes that make single ops more */
      "narrow-operands",      /* after recognise: it looks for uncast products; before fusions, which take its casts */
      "eliminate-dead",       /* results of stages that nothing reads, before their weights are listed */
      "zero-masked-tokens",   /* after eliminate-dead: what nothing needs would need a proof, too; before batch-samples
                               */
      "batch-samples",        /* after what looks into masks: that takes time for every sample */
      "batch-vision",         /* after outline-stages made the calls; images of one camera stay together */
      "fuse-qkv",             /* after recognise-rope: what is rotated is joined in any case */
      "eliminate-common",     /* outlining cloned weights and constants into each function */
      "raise-views",          /* before fuse-pointwise, which does not look through them */
      "fuse-pointwise",       /* after all that wants to see single ops */
      "fuse-epilogue",        /* after fuse-pointwise: takes a whole tree into the matmul that feeds it */
      "fuse-gate-up",         /* after fuse-epilogue: finds the one product in the other's epilogue */
      "fuse-rope-kv",         /* after fuse-epilogue: the biases go along */
      "fuse-rmsnorm",         /* after both of them: they take gemms without sums */
      "fuse-layernorm",       /* the same */
      "fuse-adarms",          /* the same */
      "hoist-invariant",      /* of what the three left: sums of rows that are the same in every step */
      "skip-masked-rows",     /* after all fusions into gemms: it looks into their bodies */
      "hoist-tables",         /* of what fuse-adarms left: the shifts times the weights */
      "outline-weights",      /* after all fusions: they join, permute and scale weights with ordinary ops */
      "drop-roundings",       /* after all that makes bodies; what @weights computes stays as exported */
      "eliminate-dead",       /* nothing dead may become a launch */
      "lower-to-launches",
      "carry-casts", /* before plan-memory: it makes a buffer live through all steps */
      "plan-memory",
      NULL,
  };
  return names;
}

const char *pipeline_before_launches(arena *a) {
  const char *list = "";
  for (const char *const *name = pipeline_default(); *name && !(pass_find(*name)->levels & LEVELS_LAUNCH); name++)
    list = arena_format(a, "%s%s%s", list, *list ? "," : "", *name);
  return list;
}

/* ---- Names ---- */

/* Levenshtein distance of two pass names, for suggestions. */
static int edit_distance(const char *a, const char *b) {
  int row[64];
  int width = (int)strlen(b) < 63 ? (int)strlen(b) : 63;
  for (int j = 0; j <= width; j++) row[j] = j;
  for (int i = 1; a[i - 1]; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= width; j++) {
      int best = diagonal + (a[i - 1] != b[j - 1]);
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[width];
}

static status unknown_pass(compilation *c, const char *flag, const char *name) {
  text close = {0};
  for (int i = 0; i < pass_table_count; i++) {
    const char *known = pass_table[i].name;
    if (edit_distance(name, known) <= 3 || (strlen(name) >= 4 && strstr(known, name)))
      text_append(&close, "%s%s", close.length ? ", " : "; did you mean ", known);
  }
  status code =
      diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL, "%s: there is no pass '%s'%s; `pinion passes` lists them",
               flag, name, close.length ? close.data : "");
  text_free(&close);
  return code;
}

/* The passes to run, in order, without the disabled ones. */
typedef struct pass_list {
  const pass_info **passes; /* the arena's */
  size_t count, capacity;
} pass_list;

static bool is_disabled(const pipeline_options *options, const char *name) {
  for (int i = 0; i < options->disabled_count; i++)
    if (strcmp(options->disabled[i], name) == 0) return true;
  return false;
}

static status pass_list_add(compilation *c, const pipeline_options *options, pass_list *list, const char *name) {
  const pass_info *info = pass_find(name);
  if (!info) return unknown_pass(c, "--passes", name);
  if (is_disabled(options, name)) return STATUS_OK;
  list->passes = arena_grow(c->arena, list->passes, list->count, &list->capacity, sizeof *list->passes);
  list->passes[list->count++] = info;
  return STATUS_OK;
}

static status pass_list_make(compilation *c, const pipeline_options *options, pass_list *out_list) {
  status code = STATUS_OK;
  *out_list = (pass_list){0};
  if (!options->passes) {
    for (const char *const *name = pipeline_default(); *name && code == STATUS_OK; name++)
      code = pass_list_add(c, options, out_list, *name);
    return code;
  }
  for (const char *at = options->passes; *at && code == STATUS_OK;) {
    size_t length = strcspn(at, ",");
    if (length > 0) code = pass_list_add(c, options, out_list, arena_string(c->arena, at, length));
    at += length + (at[length] == ',');
  }
  return code;
}

static status check_names(compilation *c, const pipeline_options *options) {
  for (int i = 0; i < options->disabled_count; i++) {
    const char *name = arena_string(c->arena, options->disabled[i], strcspn(options->disabled[i], "@"));
    const pass_info *info = pass_find(name);
    if (!info) return unknown_pass(c, "--disable-pass", name);
    if (info->required)
      return diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL, "--disable-pass: '%s' is required", info->name);
  }
  const char *dump = options->dump_after;
  if (dump && strcmp(dump, "all") != 0 && !pass_find(dump)) return unknown_pass(c, "--dump-ir-after", dump);
  return STATUS_OK;
}

/* ---- Running ---- */

/* One run of a pipeline, and one entry of it: what MLIR's callbacks are given. */
typedef struct pipeline_state {
  compilation *compilation;
  const pipeline_options *options;
  rewrite_gate gate;
  node_fates fates;
  status code; /* of the pass that failed */
} pipeline_state;

typedef struct pipeline_entry {
  pipeline_state *state;
  const pass_info *info;
  int number; /* position in the pipeline, from 1: names the dump */
} pipeline_entry;

static int module_op_count(MlirModule module) {
  arena *a = arena_create();
  op_list functions = module_functions(a, module);
  int count = 0;
  for (int i = 0; i < functions.count; i++) count += block_op_count(function_body(functions.ops[i]));
  arena_destroy(a);
  return count;
}

static void record_pass(compilation *c, const pass_record *record) {
  c->passes = arena_grow(c->arena, c->passes, c->pass_count, &c->pass_capacity, sizeof *c->passes);
  c->passes[c->pass_count++] = *record;
}

/* Also where the pass says that it changed nothing. */
static status verify_after(compilation *c, MlirModule module, const pass_info *info) {
  const status code = module_verify(c, module, info->levels);
  if (code == STATUS_OK) return STATUS_OK;
  return diagnose(&c->diagnostics, code, NULL, NULL,
                  "pass '%s' left a module that is not valid: a fault of pinion's%s%s", info->name,
                  info->required ? "" : "; to do without: --disable-pass=", info->required ? "" : info->name);
}

static void run_pass(MlirOperation op, MlirExternalPass pass, void *user_data) {
  pipeline_entry *entry = user_data;
  pipeline_state *state = entry->state;
  MlirModule module = mlirModuleFromOperation(op);
  const int ops_before = module_op_count(module);
  remark_log log = remarks_begin(state->options->remarks, entry->info->name);
  pass_context context = {.compilation = state->compilation,
                          .target = state->options->target,
                          .remarks = log.stream ? &log : NULL,
                          .gate = &state->gate};
  if (gate_begin(&state->gate, entry->info)) {
    state->code = entry->info->run(&context, module);
    if (state->code == STATUS_OK) state->code = gate_end(&state->gate, context.changes);
  }
  if (state->code == STATUS_OK) state->code = verify_after(state->compilation, module, entry->info);
  remarks_end(&log);
  if (context.changes > 0) fates_update(&state->fates, module, entry->info);
  if (state->code != STATUS_OK) mlirExternalPassSignalFailure(pass);
  const pass_record record = {entry->info->name, context.changes, ops_before, module_op_count(module)};
  record_pass(state->compilation, &record);
  if (state->options->timing)
    fprintf(stderr, "%3d %-18s %6d changes %7d ops after\n", entry->number, record.name, record.changes,
            record.ops_after);
}

static status dump_module(compilation *c, MlirModule module, const char *folder, const char *file_name) {
  status code = folder_create(&c->diagnostics, folder);
  if (code != STATUS_OK) return code;
  const char *path = path_join(c->arena, folder, file_name);
  FILE *stream = fopen(path, "w");
  if (!stream) return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write %s", path);
  code = module_print(c, module, stream, folder);
  if (fclose(stream) != 0 && code == STATUS_OK)
    code = diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write %s", path);
  return code;
}

static void run_dump(MlirOperation op, MlirExternalPass pass, void *user_data) {
  pipeline_entry *entry = user_data;
  pipeline_state *state = entry->state;
  compilation *c = state->compilation;
  MlirModule module = mlirModuleFromOperation(op);
  const char *folder = state->options->dump_folder;
  fates_write(&state->fates, module);
  if (folder) {
    state->code =
        dump_module(c, module, folder, arena_format(c->arena, "%03d-%s.mlir", entry->number, entry->info->name));
  } else {
    fprintf(stderr, "// ---- IR after %s (%d)\n", entry->info->name, entry->number);
    state->code = module_print(c, module, stderr, NULL);
  }
  if (state->code != STATUS_OK) mlirExternalPassSignalFailure(pass);
}

static void *keep_user_data(void *user_data) {
  return user_data;
}
static void nothing(void *user_data) {
  (void)user_data;
}

static void add_pass(MlirPassManager manager, MlirTypeIDAllocator identities, const char *name, pipeline_entry *entry,
                     void (*run)(MlirOperation, MlirExternalPass, void *)) {
  MlirExternalPassCallbacks callbacks = {
      .construct = nothing, .destruct = nothing, .clone = keep_user_data, .run = run};
  MlirStringRef name_ref = mlirStringRefCreateFromCString(name);
  mlirPassManagerAddOwnedPass(
      manager, mlirCreateExternalPass(mlirTypeIDAllocatorAllocateTypeID(identities), name_ref, name_ref,
                                      mlirStringRefCreateFromCString(entry->info->summary),
                                      mlirStringRefCreateFromCString("builtin.module"), 0, NULL, callbacks, entry));
}

static bool wants_dump(const pipeline_options *options, const pass_info *info) {
  return options->dump_after &&
         (strcmp(options->dump_after, "all") == 0 || strcmp(options->dump_after, info->name) == 0);
}

status pipeline_run(compilation *c, MlirModule module, const pipeline_options *options) {
  pass_list list;
  status code = check_names(c, options);
  if (code == STATUS_OK) code = pass_list_make(c, options, &list);
  if (code != STATUS_OK) return code;

  pipeline_state state = {.compilation = c, .options = options, .code = STATUS_OK};
  code = gate_open(&state.gate, c, module, options);
  if (code != STATUS_OK) return code;
  state.fates = fates_begin(c, module);
  MlirPassManager manager = mlirPassManagerCreate(c->context);
  MlirTypeIDAllocator identities = mlirTypeIDAllocatorCreate();
  mlirPassManagerEnableVerifier(manager, false); /* run_pass verifies: MLIR's rules and ours */
  if (options->timing) mlirPassManagerEnableTiming(manager);
  for (size_t i = 0; i < list.count; i++) {
    pipeline_entry *entry = arena_alloc(c->arena, sizeof *entry);
    *entry = (pipeline_entry){.state = &state, .info = list.passes[i], .number = (int)i + 1};
    add_pass(manager, identities, entry->info->name, entry, run_pass);
    if (wants_dump(options, entry->info)) add_pass(manager, identities, "dump", entry, run_dump);
  }
  MlirLogicalResult result = mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module));
  mlirPassManagerDestroy(manager);
  mlirTypeIDAllocatorDestroy(identities);
  if (mlirLogicalResultIsFailure(result) && state.code == STATUS_OK) state.code = STATUS_FAILED;
  fates_write(&state.fates, module);
  fates_end(&state.fates);
  if (state.code == STATUS_OK) gate_close(&state.gate);
  return state.code;
}
