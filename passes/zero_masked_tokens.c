/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * zero-masked-tokens: what a layer computes for tokens that are not valid becomes 0, where no output sees it.
 *
 *   norm(add(x, y)), attention(.., valid)  ->  norm(select(valid, add(x, y), 0)), ..
 *
 * Requires: simplify-masks (masks of keys as bool vectors); before batch-samples, as it asks for each token when an
 * output needs it, and before fusions, which take the selects into gemms. Produces: pinion.select, few of them: rows
 * that are 0 stay so in products, norms and activations without a bias. skip-masked-rows finds them. Breaks: what
 * stands in rows that no output sees.
 *
 * The tokens are those that some attention of the function takes for keys. It fires at a norm, which reads what goes on
 * from layer to layer: at its operand if that is a sum, whose product it becomes part of, else at its result. It must
 * be proved that an output needs a token's row only where the token is valid.
 */
#include "demand.h"
#include "zero_rows.h"

typedef struct masked_tokens {
  pass_context *context;
  compilation *compilation; /* the context's */
  arena *arena;
  call_graph calls;
  mask_values values;
  demand_analysis proofs;
  zero_rows zeros;              /* of the mask at hand */
  const mask_element *elements; /* of that */
} masked_tokens;

/* ---- What may be 0 ---- */

/* When an element of a bool tensor is true; NEVER too if that is not known. */
static condition truth_of(const mask_element *e) {
  if (e->when == CONDITION_ALWAYS) return e->then != 0 ? CONDITION_ALWAYS : CONDITION_NEVER;
  return e->then != 0 && e->otherwise == 0 ? e->when : CONDITION_NEVER;
}

/* Whether all that is needed of row `row` is needed only where its token is valid. */
static bool row_is_safe(const masked_tokens *p, const demand *needed, const tensor_type *type, int64_t row) {
  const condition valid = truth_of(&p->elements[row]);
  const int axis = zero_rows_axis(&p->zeros, type);
  int64_t index[PINION_MAX_RANK] = {0};
  for (int d = axis; d >= 0; d--) {
    index[d] = row % type->dims[d];
    row /= type->dims[d];
  }
  for (;;) { /* over what the row holds, as far as that is not needed alike */
    const condition when = demand_at(needed, index);
    if (when != CONDITION_NEVER && (valid == CONDITION_NEVER || !condition_implies(when, valid))) return false;
    int d = needed->rank - 1;
    while (d > axis && ++index[d] >= needed->dims[d]) index[d--] = 0;
    if (d <= axis) return true;
  }
}

/* NULL, or why the rows of tokens that are not valid must stay as they are. */
static const char *why_not_zero(const masked_tokens *p, MlirValue value) {
  const tensor_type type = tensor_type_of(value);
  const demand needed = demand_map_get(&p->proofs.needed, value);
  if (demand_is_empty(&needed)) return "nothing needs it";
  for (int64_t row = 0; row < p->zeros.rows; row++)
    if (!row_is_safe(p, &needed, &type, row)) return "an output may need rows of tokens that are not valid";
  return NULL;
}

/* ---- Making it so ---- */

static MlirValue build_zero(builder *b, pinion_dtype dtype) {
  const tensor_type type = {.dtype = dtype};
  const uint64_t zero = 0;
  return build_constant(b, &type, &zero);
}

/* select(valid, value, 0) takes the place of `value`, for all that reads it: in front of `before`. */
static status clear_rows(masked_tokens *p, MlirValue value, MlirOperation before) {
  MlirOperation definition = value_definition(value);
  tensor_type rows = tensor_type_of(value);
  builder b = builder_before(p->compilation, before);
  b.location = mlirOperationGetLocation(definition);
  for (int d = zero_rows_axis(&p->zeros, &rows) + 1; d < rows.rank; d++) rows.dims[d] = 1;
  MlirValue valid = build_reshape(&b, p->zeros.mask, rows.rank, rows.dims), zero = build_zero(&b, rows.dtype);
  if (mlirValueIsNull(valid) || mlirValueIsNull(zero)) return STATUS_FAILED;
  MlirValue cleared = build_select(&b, valid, value, zero);
  if (mlirValueIsNull(cleared)) return STATUS_FAILED;
  MlirOperation select = value_definition(cleared);
  value_replace(value, cleared);
  mlirOperationSetOperand(select, 1, value);
  op_copy_identity(definition, select);
  zero_rows_visit(&p->zeros, select);
  p->context->changes++;
  return STATUS_OK;
}

/* The sum that a norm reads, or else what it yields. */
static MlirValue find_place(MlirOperation norm) {
  MlirValue x = op_operand(norm, "x");
  MlirOperation definition = value_definition(x);
  const bool is_sum = !mlirOperationIsNull(definition) && op_is_elementwise(definition);
  return is_sum ? x : mlirOperationGetResult(norm, 0);
}

static status visit_norm(masked_tokens *p, MlirOperation norm) {
  MlirValue x = op_operand(norm, "x"), place = find_place(norm);
  MlirOperation definition = value_definition(place), behind = mlirOperationGetNextInBlock(definition);
  MlirLocation location = mlirOperationGetLocation(definition);
  const tensor_type type = tensor_type_of(x);
  const int axis = zero_rows_axis(&p->zeros, &type);
  if (axis < 0 || axis >= attr_i64(norm, "axis", 0) || zero_rows_has(&p->zeros, x)) return STATUS_OK;
  const char *why = why_not_zero(p, place);
  if (!why && !value_move_before(p->zeros.mask, behind)) why = "which tokens are valid is computed of it";
  if (why) {
    pass_missed(p->context, location, "its rows stay as they are: %s", why);
    return STATUS_OK;
  }
  return pass_may_rewrite(p->context, location) ? clear_rows(p, place, behind) : STATUS_OK;
}

/* ---- Functions ---- */

static status visit_function(masked_tokens *p, MlirOperation function) {
  MlirBlock block = function_body(function);
  op_list ops = block_ops(p->arena, block);
  MlirValue *masks;
  status code = STATUS_OK;
  const int count = zero_rows_masks(p->arena, &ops, &masks);
  for (int m = 0; m < count && code == STATUS_OK; m++) {
    const mask_tensor *valid = mask_value(&p->values, masks[m]);
    if (!valid) continue;
    p->zeros = zero_rows_begin(p->compilation, p->arena, masks[m]);
    p->elements = valid->elements;
    for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
      if (op_kind_of(ops.ops[i]) == OP_norm) code = visit_norm(p, ops.ops[i]);
      zero_rows_visit(&p->zeros, ops.ops[i]);
    }
  }
  return code;
}

static bool has_masks(arena *a, const op_list *functions) {
  MlirValue *masks;
  for (int f = 0; f < functions->count; f++) {
    const op_list ops = block_ops(a, function_body(functions->ops[f]));
    if (zero_rows_masks(a, &ops, &masks) > 0) return true;
  }
  return false;
}

status pass_zero_masked_tokens(pass_context *context, MlirModule module) {
  masked_tokens p = {.context = context, .compilation = context->compilation, .arena = arena_create()};
  op_list functions = module_functions(p.arena, module);
  status code = STATUS_OK;
  if (has_masks(p.arena, &functions)) {
    p.calls = call_graph_read(p.compilation, p.arena, module);
    p.values = mask_values_create(&p.calls);
    p.proofs = demand_analyse(&p.values, module);
    for (int f = 0; f < functions.count && code == STATUS_OK; f++)
      if (!attr_str_is(functions.ops[f], "sym_name", "weights")) code = visit_function(&p, functions.ops[f]);
  }
  arena_destroy(p.arena);
  return code;
}
