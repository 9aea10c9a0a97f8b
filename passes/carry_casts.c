/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * carry-casts: what every step begins with, a cast of what it carries, is done by the launch that ends the step before.
 *
 *   steps { c = cast(x), .., x = gemm(..) }  ->  c = cast(x), steps { .., x, c = gemm(..) }
 *
 * Requires: lower-to-launches; before plan-memory, which sees that c lives through all steps. Produces: the cast's
 * launch in front of the steps, once; a gemm or pointwise launch with one result more. Breaks: nothing.
 *
 * It fires where the steps carry x in f32, of which the cast is rounded from what was stored, one launch of a step
 * writes all that the cast reads, and c's readers stand between the two. The last step writes a c that nothing reads.
 */
#include "graph.h"

#include "../ir/body.h"
#include "../ir/launch.h"

#include <string.h>

typedef struct carried_cast {
  compilation *compilation;
  const program *program;
  int stage;
  const program_launch *cast, *writer;
  int result;                      /* of the writer: x */
  int64_t stride[PINION_MAX_RANK]; /* of c in the writer's space, elements */
} carried_cast;

/* ---- Which launches ---- */

static bool is_cast(const program *p, const program_launch *launch) {
  return launch->family == PINION_FAMILY_POINTWISE && launch->params.arg_count == 2 && launch->result_count == 1 &&
         !mlirAttributeIsNull(launch->body) && body_only_stores(launch->body) &&
         launch->buffers[0] != launch->buffers[1] && p->buffers[launch->buffers[0]].space == PINION_SPACE_ARENA &&
         program_arg_dtype(p, launch, 0) != program_arg_dtype(p, launch, 1);
}

/* The result of the launch that lies in the buffer; -1: none. */
static int result_in(const program_launch *launch, int buffer) {
  for (int a = 0; a < launch->result_count; a++)
    if (launch->buffers[a] == buffer) return a;
  return -1;
}

static bool reads(const program_launch *launch, int buffer) {
  for (int a = launch->result_count; a < launch->params.arg_count; a++)
    if (launch->buffers[a] == buffer) return true;
  return false;
}

/* Finds who writes x in the stage. False if the steps do not carry x: nobody writes it, or somebody before the cast. */
static bool find_writer(carried_cast *c, bool *out_several) {
  const program *p = c->program;
  const program_stage *stage = &p->stages[c->stage];
  const int x = c->cast->buffers[1];
  *out_several = false;
  for (int i = stage->first_launch; i < stage->first_launch + stage->launch_count; i++) {
    const int result = result_in(&p->launches[i], x);
    if (result < 0) continue;
    if (&p->launches[i] < c->cast) return false;
    *out_several = c->writer != NULL;
    c->writer = &p->launches[i];
    c->result = result;
  }
  return c->writer != NULL;
}

/* Whether the cast alone writes c, and all who read it stand between the two launches. */
static bool is_read_between(const carried_cast *c) {
  const program *p = c->program;
  const int buffer = c->cast->buffers[0];
  for (int i = 0; i < p->launch_count; i++) {
    const program_launch *launch = &p->launches[i];
    if (launch != c->cast && result_in(launch, buffer) >= 0) return false;
    if (reads(launch, buffer) && (launch < c->cast || launch >= c->writer)) return false;
  }
  return true;
}

/* ---- Where the writer puts c ---- */

/* The dimension of the cast along which a step of `stride` elements of x goes: the one that takes the longest steps. */
static int cast_dimension(const carried_cast *c, int64_t stride) {
  const pinion_params *cast = &c->cast->params;
  int found = -1;
  for (int d = 0; d < cast->rank; d++) {
    const int64_t own = cast->stride[1][d];
    if (own > 0 && own <= stride && stride % own == 0 && (found < 0 || own > cast->stride[1][found])) found = d;
  }
  return found;
}

/* Finds c's strides in the writer's space. False unless the writer's elements of x are those that the cast reads. */
static bool find_strides(carried_cast *c) {
  const pinion_params *cast = &c->cast->params, *writer = &c->writer->params;
  int64_t reach[PINION_MAX_RANK] = {0};
  if (c->cast->offset[1] != c->writer->offset[c->result]) return false;
  for (int d = 0; d < writer->rank; d++) {
    const int64_t stride = writer->stride[c->result][d];
    c->stride[d] = 0;
    if (stride == 0 || writer->size[d] == 1) continue;
    const int own = stride > 0 ? cast_dimension(c, stride) : -1;
    if (own < 0) return false;
    const int64_t count = stride / cast->stride[1][own];
    c->stride[d] = count * cast->stride[0][own];
    reach[own] += (writer->size[d] - 1) * count;
  }
  int64_t read = 1, written = 1;
  for (int d = 0; d < cast->rank; d++) {
    if (reach[d] != cast->size[d] - 1) return false;
    read *= cast->size[d];
  }
  for (int d = 0; d < writer->rank; d++)
    if (writer->stride[c->result][d] != 0) written *= writer->size[d];
  return read == written;
}

/* NULL, or why a cast of what the steps carry stays where it is. */
static const char *why_not(carried_cast *c, bool written_by_several) {
  const program *p = c->program;
  const program_launch *writer = c->writer;
  if (written_by_several) return "several launches of a step write what it casts";
  if (c->stage == 0 || p->stages[c->stage - 1].repeat != 1) return "no stage that runs once stands in front";
  if (program_arg_dtype(p, c->cast, 1) != PINION_DTYPE_f32) return "what the steps carry is rounded as it is stored";
  if (!body_can_store(PINION_DTYPE_f32, program_arg_dtype(p, c->cast, 0))) return "it is no cast to another float";
  if (writer->family != PINION_FAMILY_GEMM && writer->family != PINION_FAMILY_POINTWISE)
    return "what the steps carry is written by no gemm or elementwise launch";
  if (mlirAttributeIsNull(writer->body) ||
      (writer->family == PINION_FAMILY_GEMM && (writer->params.integer[0] || writer->params.integer[4])))
    return "the gemm that writes what the steps carry has parts or sums, or no body";
  if (writer->params.arg_count == PINION_MAX_ARGS) return "the launch that ends the step has too many arguments";
  if (c->cast->step_stride[0] || c->cast->step_stride[1] || writer->step_stride[c->result])
    return "it reads or writes another place at every step";
  if (!is_read_between(c)) return "what it casts is written before all have read the cast";
  if (!find_strides(c)) return "the launch that ends the step writes other elements than it casts";
  return NULL;
}

/* ---- Rewriting ---- */

/* The body yields once more what it yields for x. */
static MlirAttribute body_with_copy(compilation *c, const program_launch *writer, int result) {
  const intptr_t count = mlirArrayAttrGetNumElements(writer->body);
  MlirAttribute *lines = arena_alloc(c->arena, (size_t)count * sizeof *lines);
  for (intptr_t i = 0; i < count; i++) lines[i] = mlirArrayAttrGetElement(writer->body, i);
  MlirStringRef yield = mlirStringAttrGetValue(lines[count - 1]);
  const char *line = arena_string(c->arena, yield.data, yield.length), *word = line;
  for (int i = 0; i <= result; i++) word += strcspn(word, " ") + 1;
  lines[count - 1] = make_str(c->context, arena_format(c->arena, "%s %.*s", line, (int)strcspn(word, " "), word));
  return mlirArrayAttrGet(c->context, count, lines);
}

typedef struct attribute_list {
  int count;
  MlirNamedAttribute *items;
} attribute_list;

/* Sets one, or adds it: there is room. */
static void set(attribute_list *list, MlirContext context, const char *name, MlirAttribute value) {
  const MlirNamedAttribute item = make_named(context, name, value);
  int at = 0;
  while (at < list->count && !mlirIdentifierEqual(list->items[at].name, item.name)) at++;
  list->items[at] = item;
  list->count += at == list->count;
}

/* The writer's attributes, with c as its last result: argument `at`. */
static attribute_list writer_attributes(const carried_cast *c, int at) {
  const program_launch *writer = c->writer;
  MlirContext context = c->compilation->context;
  const int count = writer->params.arg_count + 1;
  int64_t offsets[PINION_MAX_ARGS], step_strides[PINION_MAX_ARGS], integers[8];
  MlirAttribute strides[PINION_MAX_ARGS];
  for (int a = 0; a < count; a++) {
    const int from = a > at ? a - 1 : a; /* the writer's own */
    offsets[a] = a == at ? c->cast->offset[0] : writer->offset[from];
    step_strides[a] = a == at ? 0 : writer->step_stride[from];
    strides[a] = make_i64s(context, writer->params.rank, a == at ? c->stride : writer->params.stride[from]);
  }
  enum { SET_AT_MOST = 6 };
  attribute_list list = {.count = (int)mlirOperationGetNumAttributes(writer->op)};
  list.items = arena_alloc(c->compilation->arena, (size_t)(list.count + SET_AT_MOST) * sizeof *list.items);
  for (int i = 0; i < list.count; i++) list.items[i] = mlirOperationGetAttribute(writer->op, i);
  set(&list, context, "results", make_i64(context, writer->result_count + 1));
  set(&list, context, "offsets", make_i64s(context, count, offsets));
  set(&list, context, "step_strides", make_i64s(context, count, step_strides));
  set(&list, context, "strides", mlirArrayAttrGet(context, count, strides));
  set(&list, context, "body", body_with_copy(c->compilation, writer, c->result));
  const int integer_count = attr_i64s(writer->op, "integers", integers, 8);
  if (writer->family == PINION_FAMILY_GEMM && writer->params.integer[5]) {
    integers[5]++;
    set(&list, context, "integers", make_i64s(context, integer_count, integers));
  }
  return list;
}

static status extend_writer(const carried_cast *c, MlirLocation location) {
  const program_launch *writer = c->writer;
  const int at = writer->result_count, count = writer->params.arg_count + 1;
  MlirValue operands[PINION_MAX_ARGS];
  for (int a = 0; a < count; a++)
    operands[a] =
        a == at ? mlirOperationGetOperand(c->cast->op, 0) : mlirOperationGetOperand(writer->op, a > at ? a - 1 : a);
  const attribute_list list = writer_attributes(c, at);
  builder b = builder_before(c->compilation, writer->op);
  b.location = location;
  MlirOperation built = build_op(&b, OP_launch, count, operands, list.count, list.items, 0, NULL);
  if (mlirOperationIsNull(built)) return STATUS_FAILED;
  mlirOperationDestroy(writer->op);
  return STATUS_OK;
}

/* It makes no value of the model any more: that is another one at each step. */
static void move_cast(const carried_cast *c) {
  const program_stage *stage = &c->program->stages[c->stage];
  MlirOperation op = c->cast->op, first = c->program->launches[stage->first_launch].op;
  if (!mlirOperationEqual(op, first)) mlirOperationMoveBefore(op, first);
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("stage"),
                                  make_i64(c->compilation->context, c->stage - 1));
  mlirOperationRemoveAttributeByName(op, mlirStringRefCreateFromCString("values"));
}

static status carry(pass_context *context, carried_cast *c) {
  bool several;
  if (!find_writer(c, &several)) return STATUS_OK;
  const MlirLocation parts[] = {mlirOperationGetLocation(c->writer->op), mlirOperationGetLocation(c->cast->op)};
  const char *why = why_not(c, several);
  if (why) {
    pass_missed(context, parts[1], "%s", why);
    return STATUS_OK;
  }
  const MlirLocation location = location_fuse(c->compilation->context, 2, parts);
  if (!pass_may_rewrite(context, location)) return STATUS_OK;
  move_cast(c);
  context->changes++;
  return extend_writer(c, location);
}

/* One cast a step: of the launches that a rewrite leaves, only the next reading of the module knows. */
static status carry_one(pass_context *context, MlirModule module, int stage) {
  program p;
  const status code = program_read(context->compilation, module, &p);
  const int before = context->changes;
  for (int i = 0; code == STATUS_OK && i < p.stages[stage].launch_count; i++) {
    carried_cast c = {.compilation = context->compilation,
                      .program = &p,
                      .stage = stage,
                      .cast = &p.launches[p.stages[stage].first_launch + i]};
    if (!is_cast(&p, c.cast)) continue;
    const status carried = carry(context, &c);
    if (carried != STATUS_OK || context->changes > before) return carried;
  }
  return code;
}

status pass_carry_casts(pass_context *context, MlirModule module) {
  program p;
  status code = program_read(context->compilation, module, &p);
  for (int s = 0; s < p.stage_count && code == STATUS_OK; s++)
    if (p.stages[s].repeat > 1) code = carry_one(context, module, s);
  return code;
}
