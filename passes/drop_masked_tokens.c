/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * drop-masked-tokens: cameras that are declared absent (attribute `pinion.absent_cameras` of the module, names of
 * inputs) leave the graph, with their towers and the tokens that they put among the others.
 *
 *   main(image0, image1, mask0, mask1, ..), image1 absent  ->  main(image0, mask0, ..)
 *
 * Requires: the recognise passes: attentions say which tokens a mask hides; before simplify-masks, which states the
 * rest, and before batch-vision. Produces: smaller tensors, slices where one user needs less than another. Breaks:
 * which ONNX value such a tensor is.
 *
 * The mask that goes with a camera is found by dataflow: it is the bool input without which no output needs the image.
 * That input is false from here on; what nothing needs then is taken out position by position (remove-unneeded), and
 * both inputs go. Every output is what a run with that mask false computes.
 */
#include "remove_unneeded.h"

#include <string.h>

#define ABSENT_CAMERAS "pinion.absent_cameras"
enum { IMAGE_RANK = 4 };

typedef struct absent_camera {
  const char *name;
  MlirValue image;
  MlirValue mask;
  bool *is_false; /* per element of the mask */
} absent_camera;

typedef struct dropping {
  pass_context *context;
  compilation *compilation; /* the context's */
  arena *arena;
  MlirModule module;
  MlirOperation function; /* @main */
  MlirBlock block;
  call_graph calls;
  absent_camera *cameras;
  intptr_t count;
} dropping;

static status refuse(const dropping *d, status code, const char *format, ...) PRINTF_LIKE(3, 4);
static status refuse(const dropping *d, status code, const char *format, ...) {
  char why[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, sizeof why, format, arguments);
  va_end(arguments);
  return diagnose(&d->compilation->diagnostics, code, NULL, NULL, "absent camera: %s", why);
}

/* ---- Inputs ---- */

static const char *input_name(const dropping *d, intptr_t index) {
  MlirAttribute names = mlirOperationGetAttributeByName(d->function, mlirStringRefCreateFromCString("pinion.inputs"));
  if (mlirAttributeIsNull(names) || index >= mlirArrayAttrGetNumElements(names)) return "";
  MlirStringRef name = mlirStringAttrGetValue(mlirArrayAttrGetElement(names, index));
  return arena_string(d->arena, name.data, name.length);
}

static const char *name_of_input(const dropping *d, MlirValue input) {
  return input_name(d, mlirBlockArgumentGetArgNumber(input));
}

static bool is_image(MlirValue value) {
  const tensor_type type = tensor_type_of(value);
  return type.rank == IMAGE_RANK && dtype_is_float(type.dtype);
}

/* "a, b and c" would need a grammar: "a, b, c". */
static const char *image_names(const dropping *d) {
  const char *names = "";
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(d->block); i++)
    if (is_image(mlirBlockGetArgument(d->block, i)))
      names = arena_format(d->arena, "%s%s%s", names, *names ? ", " : "", input_name(d, i));
  return *names ? names : "none";
}

static status find_image(const dropping *d, absent_camera *camera) {
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(d->block); i++) {
    if (strcmp(input_name(d, i), camera->name) != 0) continue;
    camera->image = mlirBlockGetArgument(d->block, i);
    if (is_image(camera->image)) return STATUS_OK;
    return refuse(d, STATUS_USAGE,
                  "input '%s' is no image, a float tensor [batch, channels, height, width]; images: %s", camera->name,
                  image_names(d));
  }
  return refuse(d, STATUS_USAGE, "there is no input '%s'; images: %s", camera->name, image_names(d));
}

/* ---- The mask that goes with an image ---- */

/* Of all places where the image is needed: whether each asks for an element of this input; marks those. */
static bool mask_hides(const dropping *d, const mask_values *values, const demand *needed, MlirValue mask,
                       bool *out_elements) {
  int64_t count = 1;
  (void)d;
  for (int i = 0; i < needed->rank; i++) count *= needed->dims[i];
  for (int64_t i = 0; i < count; i++) {
    int truths[CONDITION_MAXIMUM_TRUTHS];
    bool found = needed->when[i] == CONDITION_NEVER;
    for (int t = condition_truths(needed->when[i], truths) - 1; t >= 0; t--) {
      const mask_truth *truth = &values->truths[truths[t]];
      if (!mlirValueEqual(truth->value, mask)) continue;
      out_elements[truth->index] = true;
      found = true;
    }
    if (!found) return false;
  }
  return true;
}

static status find_mask(const dropping *d, const demand_analysis *proofs, absent_camera *camera) {
  const demand needed = demand_map_get(&proofs->needed, camera->image);
  if (demand_is_empty(&needed)) return refuse(d, STATUS_USAGE, "no output depends on '%s'", camera->name);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(d->block); i++) {
    MlirValue input = mlirBlockGetArgument(d->block, i);
    const tensor_type type = tensor_type_of(input);
    if (type.dtype != PINION_DTYPE_bool) continue;
    bool *elements = arena_alloc(d->arena, (size_t)type_elements(&type) + 1);
    if (!mask_hides(d, proofs->rules.masks, &needed, input, elements)) continue;
    if (!mlirValueIsNull(camera->mask))
      return refuse(d, STATUS_UNSUPPORTED,
                    "either of the inputs '%s' and '%s' hides '%s': which one is its mask is not clear",
                    name_of_input(d, camera->mask), input_name(d, i), camera->name);
    camera->mask = input;
    camera->is_false = elements;
  }
  if (!mlirValueIsNull(camera->mask)) return STATUS_OK;
  return refuse(
      d, STATUS_UNSUPPORTED,
      "no bool input is found that hides '%s' from every output: the model has no mask for it, or an attention was "
      "not recognised (see --remarks)",
      camera->name);
}

/* ---- Declaring it false ---- */

/* The mask, false where the camera's element is: a constant if that is all of it. */
static status declare_false(const dropping *d, const absent_camera *camera) {
  const tensor_type type = tensor_type_of(camera->mask);
  const int64_t count = type_elements(&type);
  uint8_t *kept = arena_alloc(d->arena, (size_t)count + 1);
  bool any = false;
  for (int64_t i = 0; i < count; i++) any |= kept[i] = !camera->is_false[i];
  builder b = builder_before(d->compilation, mlirBlockGetFirstOperation(d->block));
  MlirValue constant = build_constant(&b, &type, kept);
  if (mlirValueIsNull(constant)) return STATUS_FAILED;
  MlirValue shown = any ? build_binary(&b, "and", camera->mask, constant) : constant;
  if (mlirValueIsNull(shown)) return STATUS_FAILED;
  value_replace(camera->mask, shown);
  if (any) mlirOperationSetOperand(mlirOpResultGetOwner(shown), 0, camera->mask);
  return STATUS_OK;
}

/* Images that were needed and are not any more, though nobody declared them absent: a mask of several cameras. */
static status check_others(const dropping *d, const demand_analysis *before, const demand_analysis *after) {
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(d->block); i++) {
    MlirValue input = mlirBlockGetArgument(d->block, i);
    const demand was = demand_map_get(&before->needed, input), is = demand_map_get(&after->needed, input);
    bool declared = false;
    for (intptr_t k = 0; k < d->count; k++) declared |= mlirValueEqual(d->cameras[k].image, input);
    if (is_image(input) && !declared && !demand_is_empty(&was) && demand_is_empty(&is))
      return refuse(d, STATUS_USAGE, "without it '%s' is not seen either: their masks are one; name both",
                    input_name(d, i));
  }
  return STATUS_OK;
}

/* ---- Inputs that go ---- */

/* An array attribute without its element `index`. */
static void erase_element(const dropping *d, const char *name, intptr_t index) {
  MlirStringRef key = mlirStringRefCreateFromCString(name);
  MlirAttribute list = mlirOperationGetAttributeByName(d->function, key);
  if (mlirAttributeIsNull(list) || !mlirAttributeIsAArray(list) || index >= mlirArrayAttrGetNumElements(list)) return;
  const intptr_t count = mlirArrayAttrGetNumElements(list);
  MlirAttribute *kept = arena_alloc(d->arena, (size_t)count * sizeof *kept);
  for (intptr_t i = 0, at = 0; i < count; i++)
    if (i != index) kept[at++] = mlirArrayAttrGetElement(list, i);
  mlirOperationSetAttributeByName(d->function, key, mlirArrayAttrGet(d->compilation->context, count - 1, kept));
}

static void erase_input(const dropping *d, MlirValue input) {
  const intptr_t index = mlirBlockArgumentGetArgNumber(input);
  if (!value_is_unused(input)) return; /* a mask that other cameras share */
  erase_element(d, "arg_attrs", index);
  erase_element(d, "pinion.inputs", index);
  mlirBlockEraseArgument(d->block, (unsigned)index);
}

static void erase_inputs(const dropping *d) {
  for (intptr_t i = mlirBlockGetNumArguments(d->block) - 1; i >= 0; i--) {
    MlirValue input = mlirBlockGetArgument(d->block, i);
    bool absent = false;
    for (intptr_t k = 0; k < d->count; k++)
      absent |= mlirValueEqual(d->cameras[k].image, input) || mlirValueEqual(d->cameras[k].mask, input);
    if (absent) erase_input(d, input);
  }
  function_update_type(d->compilation, d->function);
}

/* ---- The pass ---- */

static status find_cameras(dropping *d, MlirAttribute names, const demand_analysis *proofs) {
  d->cameras = arena_alloc(d->arena, (size_t)(mlirArrayAttrGetNumElements(names) + 1) * sizeof *d->cameras);
  status code = STATUS_OK;
  for (intptr_t i = 0; i < mlirArrayAttrGetNumElements(names) && code == STATUS_OK; i++) {
    MlirStringRef name = mlirStringAttrGetValue(mlirArrayAttrGetElement(names, i));
    absent_camera camera = {.name = arena_string(d->arena, name.data, name.length)};
    code = find_image(d, &camera);
    if (code == STATUS_OK) code = find_mask(d, proofs, &camera);
    d->cameras[d->count++] = camera;
  }
  return code;
}

static status drop_cameras(dropping *d, MlirAttribute names) {
  mask_values before = mask_values_create(&d->calls), after = mask_values_create(&d->calls);
  const demand_analysis given = demand_analyse(&before, d->module),
                        there = demand_analyse_removable(&given, d->module, NULL);
  status code = find_cameras(d, names, &given);
  for (intptr_t i = 0; i < d->count && code == STATUS_OK; i++) code = declare_false(d, &d->cameras[i]);
  if (code != STATUS_OK) return code;
  const demand_analysis declared = demand_analyse(&after, d->module);
  code = check_others(d, &given, &declared);
  if (code != STATUS_OK) return code;
  const demand_analysis removable = demand_analyse_removable(&declared, d->module, &there.needed);
  code = remove_unneeded(&removable, d->module);
  if (code == STATUS_OK) erase_inputs(d);
  d->context->changes += (int)d->count;
  return code;
}

status pass_drop_masked_tokens(pass_context *context, MlirModule module) {
  MlirOperation op = mlirModuleGetOperation(module);
  const MlirStringRef key = mlirStringRefCreateFromCString(ABSENT_CAMERAS);
  MlirAttribute names = mlirOperationGetAttributeByName(op, key);
  if (mlirAttributeIsNull(names) || !mlirAttributeIsAArray(names) || mlirArrayAttrGetNumElements(names) == 0)
    return STATUS_OK;
  dropping d = {.context = context,
                .compilation = context->compilation,
                .arena = arena_create(),
                .module = module,
                .function = module_function(module, "main")};
  d.block = function_body(d.function);
  d.calls = call_graph_read(d.compilation, d.arena, module);
  const status code = drop_cameras(&d, names);
  mlirOperationRemoveAttributeByName(op, key);
  arena_destroy(d.arena);
  return code;
}
