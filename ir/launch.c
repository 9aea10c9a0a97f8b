/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Reads the launch level into plain structs. */
#include "launch.h"

#include <string.h>

static const char *const family_names[PINION_FAMILY_COUNT] = {
    [PINION_FAMILY_POINTWISE] = "pointwise", [PINION_FAMILY_GEMM] = "gemm",
    [PINION_FAMILY_SOFTMAX] = "softmax",     [PINION_FAMILY_REDUCE] = "reduce",
    [PINION_FAMILY_CUMSUM] = "cumsum",       [PINION_FAMILY_NORM] = "norm",
    [PINION_FAMILY_ATTENTION] = "attention", [PINION_FAMILY_GATHER] = "gather",
    [PINION_FAMILY_IM2COL] = "im2col",       [PINION_FAMILY_ROPE] = "rope"};
static const char *const space_names[PINION_SPACE_COUNT] = {
    [PINION_SPACE_INPUT] = "input",
    [PINION_SPACE_OUTPUT] = "output",
    [PINION_SPACE_ARENA] = "arena",
    [PINION_SPACE_WEIGHTS] = "weights",
};

const char *family_name(pinion_family family) {
  return family_names[family];
}

const char *space_name(pinion_space space) {
  return space_names[space];
}

static int name_index(MlirStringRef name, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (mlirStringRefEqual(name, mlirStringRefCreateFromCString(names[i]))) return i;
  return -1;
}

bool family_from_name(MlirStringRef name, pinion_family *out_family) {
  const int index = name_index(name, family_names, PINION_FAMILY_COUNT);
  if (index >= 0) *out_family = (pinion_family)index;
  return index >= 0;
}

bool space_from_name(MlirStringRef name, pinion_space *out_space) {
  const int index = name_index(name, space_names, PINION_SPACE_COUNT);
  if (index >= 0) *out_space = (pinion_space)index;
  return index >= 0;
}

static MlirAttribute attribute(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name));
}

static const char *copy_string(compilation *c, MlirStringRef string) {
  return arena_string(c->arena, string.data, string.length);
}

static status malformed(compilation *c, MlirOperation op, const char *what) {
  MlirStringRef name = location_name(mlirOperationGetLocation(op));
  return diagnose(&c->diagnostics, STATUS_BAD_INPUT, name.length ? copy_string(c, name) : NULL,
                  op_kind_of(op) == OP_buffer ? "pinion.buffer" : "pinion.launch", "%s", what);
}

/* ---- Buffers ---- */

static status read_buffer(compilation *c, MlirOperation op, program_buffer *out) {
  *out = (program_buffer){.op = op, .name = copy_string(c, attr_str(op, "name"))};
  if (!type_read(mlirValueGetType(mlirOperationGetResult(op, 0)), &out->type))
    return malformed(c, op, "the result is not a static memref");
  if (!space_from_name(attr_str(op, "space"), &out->space)) return malformed(c, op, "unknown space");
  out->pitch = attr_i64(op, "pitch", 0);
  out->offset = attr_i64(op, "offset", -1);
  out->bytes = attr_i64(op, "bytes", 0);
  out->source = attr_i64(op, "source", -1);
  out->packed = attr_str_is(op, "layout", "packed");
  if (out->pitch < 0 || out->bytes < 0) return malformed(c, op, "negative pitch or bytes");
  if (out->packed && (out->type.rank != 4 || attr_i64s(op, "source_view", out->source_view, 5) != 5))
    return malformed(c, op, "a packed buffer is b[h, n, p, k] and has a source_view of five numbers");
  return STATUS_OK;
}

/* ---- Launches ---- */

static status read_strides(compilation *c, program_launch *launch) {
  MlirAttribute strides = attribute(launch->op, "strides");
  if (mlirAttributeIsNull(strides) || !mlirAttributeIsAArray(strides) ||
      mlirArrayAttrGetNumElements(strides) != launch->params.arg_count)
    return malformed(c, launch->op, "needs one array of strides for each argument");
  for (int a = 0; a < launch->params.arg_count; a++) {
    MlirAttribute row = mlirArrayAttrGetElement(strides, a);
    if (!mlirAttributeIsADenseI64Array(row) || mlirDenseArrayGetNumElements(row) != launch->params.rank)
      return malformed(c, launch->op, "strides do not match the sizes");
    for (int d = 0; d < launch->params.rank; d++) launch->params.stride[a][d] = mlirDenseI64ArrayGetElement(row, d);
  }
  return STATUS_OK;
}

/* An array of strings; returns how many there are. */
static int read_names(compilation *c, MlirAttribute list, const char ***out_names) {
  if (mlirAttributeIsNull(list) || !mlirAttributeIsAArray(list)) return 0;
  const int count = (int)mlirArrayAttrGetNumElements(list);
  *out_names = arena_alloc(c->arena, sizeof **out_names * (size_t)(count + 1));
  for (int i = 0; i < count; i++) {
    MlirAttribute name = mlirArrayAttrGetElement(list, i);
    (*out_names)[i] = mlirAttributeIsAString(name) ? copy_string(c, mlirStringAttrGetValue(name)) : "";
  }
  return count;
}

static MlirAttribute field(MlirAttribute dictionary, const char *name) {
  return mlirDictionaryAttrGetElementByName(dictionary, mlirStringRefCreateFromCString(name));
}

static bool read_number(MlirAttribute number, int64_t *out) {
  if (mlirAttributeIsNull(number) || !mlirAttributeIsAInteger(number)) return false;
  *out = mlirIntegerAttrGetValueInt(number);
  return true;
}

/* Returns how many numbers there are, -1 if it is no list of at most PINION_MAX_RANK. */
static int read_numbers(MlirAttribute list, int64_t out[PINION_MAX_RANK]) {
  if (mlirAttributeIsNull(list) || !mlirAttributeIsADenseI64Array(list)) return -1;
  const intptr_t count = mlirDenseArrayGetNumElements(list);
  for (intptr_t i = 0; i < count && i < PINION_MAX_RANK; i++) out[i] = mlirDenseI64ArrayGetElement(list, i);
  return count <= PINION_MAX_RANK ? (int)count : -1;
}

static bool read_value(compilation *c, MlirAttribute value, int result_count, program_value *out) {
  if (!mlirAttributeIsADictionary(value)) return false;
  int64_t result;
  out->name_count = read_names(c, field(value, "onnx"), &out->names);
  out->rank = read_numbers(field(value, "dims"), out->dims);
  if (!read_number(field(value, "result"), &result) || !read_number(field(value, "offset"), &out->offset)) return false;
  out->result = (int)result;
  return out->name_count > 0 && out->rank >= 0 && read_numbers(field(value, "strides"), out->stride) == out->rank &&
         result >= 0 && result < result_count;
}

static status read_values(compilation *c, program_launch *launch) {
  MlirAttribute values = attribute(launch->op, "values");
  if (mlirAttributeIsNull(values) || !mlirAttributeIsAArray(values)) return STATUS_OK;
  launch->value_count = (int)mlirArrayAttrGetNumElements(values);
  launch->values = arena_alloc(c->arena, sizeof *launch->values * (size_t)(launch->value_count + 1));
  for (int i = 0; i < launch->value_count; i++)
    if (!read_value(c, mlirArrayAttrGetElement(values, i), launch->result_count, &launch->values[i]))
      return malformed(c, launch->op, "`values` are not as docs/ops.md describes them");
  return STATUS_OK;
}

static void read_after(compilation *c, program_launch *launch) {
  launch->after_count = attr_i64s(launch->op, "after", NULL, 0);
  launch->after = arena_alloc(c->arena, sizeof *launch->after * (size_t)(launch->after_count + 1));
  attr_i64s(launch->op, "after", launch->after, launch->after_count);
}

static int buffer_of(const program *p, MlirValue value) {
  MlirOperation op = value_definition(value);
  for (int i = 0; i < p->buffer_count; i++)
    if (mlirOperationEqual(p->buffers[i].op, op)) return i;
  return -1;
}

static status read_launch(compilation *c, const program *p, MlirOperation op, program_launch *out) {
  *out = (program_launch){.op = op, .kind = copy_string(c, attr_str(op, "kind")), .body = attribute(op, "body")};
  if (!family_from_name(attr_str(op, "family"), &out->family)) return malformed(c, op, "unknown family");
  const intptr_t arg_count = mlirOperationGetNumOperands(op);
  const int rank = attr_i64s(op, "sizes", out->params.size, PINION_MAX_RANK);
  if (arg_count > PINION_MAX_ARGS || rank > PINION_MAX_RANK)
    return malformed(c, op, "too many arguments or dimensions");
  out->params.arg_count = (int32_t)arg_count;
  out->params.rank = rank;
  out->result_count = (int)attr_i64(op, "results", 0);
  for (int d = 0; d < rank; d++)
    if (out->params.size[d] < 0) return malformed(c, op, "negative size");
  if (out->result_count < 1 || out->result_count > arg_count) return malformed(c, op, "bad count of results");
  if (attr_i64s(op, "offsets", out->offset, PINION_MAX_ARGS) != arg_count ||
      attr_i64s(op, "step_strides", out->step_stride, PINION_MAX_ARGS) != arg_count)
    return malformed(c, op, "needs one offset and one step stride for each argument");
  for (int a = 0; a < arg_count; a++)
    if ((out->buffers[a] = buffer_of(p, mlirOperationGetOperand(op, a))) < 0)
      return malformed(c, op, "an argument is not a pinion.buffer");
  attr_i64s(op, "integers", out->params.integer, 8);
  MlirAttribute scalars = attribute(op, "scalars");
  for (intptr_t i = 0; i < 2 && !mlirAttributeIsNull(scalars) && i < mlirArrayAttrGetNumElements(scalars); i++)
    out->params.scalar[i] = mlirFloatAttrGetValueDouble(mlirArrayAttrGetElement(scalars, i));
  out->stage = (int)attr_i64(op, "stage", 0);
  out->node_count = read_names(c, attribute(op, "nodes"), &out->nodes);
  read_after(c, out);
  const status result = read_values(c, out);
  return result == STATUS_OK ? read_strides(c, out) : result;
}

/* ---- Stages ---- */

static status read_stages(compilation *c, MlirModule module, program *p) {
  MlirAttribute stages = attribute(mlirModuleGetOperation(module), "pinion.stages");
  if (mlirAttributeIsNull(stages) || !mlirAttributeIsAArray(stages))
    return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL,
                    "the module is not at launch level: it has no `pinion.stages`; run lower-to-launches");
  p->stage_count = (int)mlirArrayAttrGetNumElements(stages);
  p->stages = arena_alloc(c->arena, sizeof *p->stages * (size_t)(p->stage_count + 1));
  for (int i = 0; i < p->stage_count; i++) {
    MlirAttribute stage = mlirArrayAttrGetElement(stages, i);
    if (!mlirAttributeIsADictionary(stage))
      return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "a stage is no dictionary");
    MlirAttribute name = mlirDictionaryAttrGetElementByName(stage, mlirStringRefCreateFromCString("name"));
    MlirAttribute repeat = mlirDictionaryAttrGetElementByName(stage, mlirStringRefCreateFromCString("repeat"));
    if (mlirAttributeIsNull(name) || !mlirAttributeIsAString(name) || mlirAttributeIsNull(repeat) ||
        !mlirAttributeIsAInteger(repeat) || mlirIntegerAttrGetValueInt(repeat) < 1)
      return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "a stage has no name, or no count of repetitions");
    p->stages[i].name = copy_string(c, mlirStringAttrGetValue(name));
    p->stages[i].repeat = mlirIntegerAttrGetValueInt(repeat);
  }
  return STATUS_OK;
}

/* Launches of a stage are consecutive. */
static status assign_stages(compilation *c, program *p) {
  int stage = 0;
  for (int i = 0; i < p->launch_count; i++) {
    const int own = p->launches[i].stage;
    if (own < stage || own >= p->stage_count) return malformed(c, p->launches[i].op, "stages are out of order");
    stage = own;
    if (p->stages[own].launch_count++ == 0) p->stages[own].first_launch = i;
  }
  return STATUS_OK;
}

/* No argument reaches beyond its buffer. */
static status check_ranges(compilation *c, const program *p) {
  for (int i = 0; i < p->launch_count; i++)
    for (int arg = 0; arg < p->launches[i].params.arg_count; arg++) {
      int64_t first, last;
      program_arg_range(p, &p->launches[i], arg, &first, &last);
      if (first < 0 || last > p->buffers[p->launches[i].buffers[arg]].bytes)
        return malformed(c, p->launches[i].op, "an argument reaches beyond its buffer");
    }
  return STATUS_OK;
}

status program_read(compilation *c, MlirModule module, program *out_program) {
  *out_program = (program){0};
  program *p = out_program;
  status result = read_stages(c, module, p);
  if (result != STATUS_OK) return result;
  MlirOperation main = module_function(module, "main");
  if (mlirOperationIsNull(main)) return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "there is no @main");
  p->arena_bytes = attr_i64(mlirModuleGetOperation(module), "pinion.arena_bytes", -1);
  size_t buffer_capacity = 0, launch_capacity = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(function_body(main)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (op_kind_of(op) == OP_buffer) {
      p->buffers = arena_grow(c->arena, p->buffers, (size_t)p->buffer_count, &buffer_capacity, sizeof *p->buffers);
      result = read_buffer(c, op, &p->buffers[p->buffer_count++]);
    } else if (op_kind_of(op) == OP_launch) {
      p->launches = arena_grow(c->arena, p->launches, (size_t)p->launch_count, &launch_capacity, sizeof *p->launches);
      result = read_launch(c, p, op, &p->launches[p->launch_count++]);
    }
    if (result != STATUS_OK) return result;
  }
  result = assign_stages(c, p);
  return result == STATUS_OK ? check_ranges(c, p) : result;
}

/* ---- What a launch touches ---- */

pinion_dtype program_arg_dtype(const program *p, const program_launch *launch, int arg) {
  return p->buffers[launch->buffers[arg]].type.dtype;
}

/* Do strides and sizes alone not say what is read? */
static bool reads_indirectly(const program *p, const program_launch *launch, int arg) {
  if (p->buffers[launch->buffers[arg]].packed) return true;
  return arg == launch->result_count &&
         (launch->family == PINION_FAMILY_GATHER || launch->family == PINION_FAMILY_IM2COL);
}

void program_arg_range(const program *p, const program_launch *launch, int arg, int64_t *out_first, int64_t *out_last) {
  const program_buffer *buffer = &p->buffers[launch->buffers[arg]];
  *out_first = 0;
  *out_last = buffer->bytes;
  if (reads_indirectly(p, launch, arg)) return;
  int64_t first = launch->offset[arg], last = first;
  for (int d = 0; d < launch->params.rank; d++) {
    const int64_t extent =
        launch->family == PINION_FAMILY_GEMM ? pinion_gemm_extent(&launch->params, arg, d) : launch->params.size[d];
    const int64_t reach = (extent - 1) * launch->params.stride[arg][d];
    *(reach < 0 ? &first : &last) += reach;
  }
  const int64_t steps = (p->stages[launch->stage].repeat - 1) * launch->step_stride[arg];
  *(steps < 0 ? &first : &last) += steps;
  if (launch->family == PINION_FAMILY_ROPE && arg < 2) last += launch->params.integer[arg == 0 ? 1 : 0];
  const int64_t size = (int64_t)pinion_dtype_size(buffer->type.dtype);
  *out_first = first * size;
  *out_last = (last + 1) * size;
}
