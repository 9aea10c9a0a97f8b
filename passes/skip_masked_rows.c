/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * skip-masked-rows: a gemm whose results' rows are 0 for all tokens that are not valid is told which those are, so that
 * its kernel need not compute them.
 *
 *   attention(.., valid), gemm(x, W, ..), x 0 where not valid  ->  gemm(x, W, .., valid) {row_mask = true}
 *
 * Requires: zero-masked-tokens, without which no row is known to be 0; after all fusions: it looks into bodies.
 * Produces: row masks. Breaks: patterns of gemms.
 *
 * It fires where it is proved that the body yields 0 there. Nothing changes but for a gemm whose operand was set to 0
 * for it alone: its results are set to 0 instead, for which there is no pass over memory.
 */
#include "zero_rows.h"

typedef struct row_masks {
  pass_context *context;
  compilation *compilation; /* the context's */
  arena *arena;
  zero_rows zeros;    /* of the mask at hand */
  MlirOperation made; /* where that is there: behind this op, or, if null, from the start */
  MlirValue rows;     /* the mask with no gap in memory, [rows]; null: not needed so far */
} row_masks;

/* ---- The mask ---- */

/* In the leading dimensions of `like`, of which the last `tail` become 1: where the batch and the rows of a product are
   one dimension of its launch, they must be of the mask, too, so that it lies in one row. */
static MlirValue build_mask(row_masks *p, builder *b, const tensor_type *like, int tail) {
  int64_t dims[PINION_MAX_RANK];
  int rank = 0;
  for (; rank < like->rank; rank++) dims[rank] = rank < like->rank - tail ? like->dims[rank] : 1;
  if (mlirValueIsNull(p->rows)) {
    const bool is_made = !mlirOperationIsNull(p->made);
    builder first = *b;
    first.before = is_made ? mlirOperationGetNextInBlock(p->made) : mlirBlockGetFirstOperation(first.block);
    if (is_made) first.location = mlirOperationGetLocation(p->made);
    p->rows = build_reshape(&first, p->zeros.mask, 1, &p->zeros.rows);
  }
  return mlirValueIsNull(p->rows) ? p->rows : build_reshape(b, p->rows, rank, dims);
}

/* The body reads the same mask that the gemm is given. */
static bool share_mask(row_masks *p, builder *b, gemm_parts *gemm) {
  for (int i = 0; i < gemm->operand_count - gemm->form.row_sums; i++) {
    const tensor_type type = tensor_type_of(gemm->operands[i]);
    if (!zero_rows_is_mask(&p->zeros, gemm->operands[i])) continue;
    gemm->operands[i] = build_mask(p, b, &type, 0);
    if (mlirValueIsNull(gemm->operands[i])) return false;
  }
  return true;
}

/* ---- Rows that were set to 0 for gemms alone ---- */

static bool only_gemms_multiply(MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
    if (op_kind_of(mlirOpOperandGetOwner(use)) != OP_gemm || mlirOpOperandGetOperandNumber(use) != 0) return false;
  return true;
}

/* x where `a` is select(mask, x, 0), for products alone; else null. */
static MlirValue find_cleared(const row_masks *p, MlirValue a) {
  MlirOperation select = value_defined_by(a, OP_select);
  double other;
  if (mlirOperationIsNull(select) || !only_gemms_multiply(a)) return (MlirValue){0};
  MlirValue x = mlirOperationGetOperand(select, 1);
  const bool clears = zero_rows_is_mask(&p->zeros, mlirOperationGetOperand(select, 0)) &&
                      value_uniform(p->compilation, mlirOperationGetOperand(select, 2), &other) && other == 0;
  return clears && mlirTypeEqual(mlirValueGetType(x), mlirValueGetType(a)) ? x : (MlirValue){0};
}

static pinion_dtype dtype_of(const body *b, body_operand operand, pinion_dtype otherwise) {
  return operand.kind == BODY_INPUT   ? b->input_dtypes[operand.index]
         : operand.kind == BODY_VALUE ? b->instructions[operand.index].dtype
                                      : otherwise;
}

/* ---- The gemm ---- */

/* The body as it is; with `mask`, unless null, 0 instead of each result where that is false. */
static bool rebuild_body(const gemm_parts *gemm, MlirValue mask, compilation *c, pointwise_body *built) {
  body_operand leading[PINION_MAX_ARGS], inputs[2 * PINION_MAX_ARGS], results[PINION_MAX_ARGS];
  body_operand choice[3] = {{0}, {0}, {.kind = BODY_LITERAL}};
  gemm_body_begin(built, c, &gemm->form, gemm->a);
  for (int i = 0; i < built->body.input_count; i++) leading[i] = (body_operand){.kind = BODY_INPUT, .index = i};
  if (mlirValueIsNull(mask) ? !gemm_body_inputs_of(built, gemm, leading, inputs)
                            : !gemm_body_inputs_with(built, gemm, leading, mask, inputs, &choice[0]))
    return false;
  if (!pointwise_body_append(built, gemm->body, inputs, results)) return false;
  for (int i = 0; i < gemm->body->result_count; i++) {
    const pinion_dtype dtype = gemm->results[i].dtype;
    choice[1] = results[i];
    if (!mlirValueIsNull(mask) &&
        !pointwise_body_instruction(built, "select", dtype_of(&built->body, results[i], dtype), 3, choice, &results[i]))
      return false;
    pointwise_body_yield(built, results[i], dtype);
  }
  return true;
}

/* Its results' rows are 0 all the same. */
static status leave(row_masks *p, const gemm_parts *gemm) {
  zero_rows_visit(&p->zeros, gemm->op);
  return STATUS_OK;
}

static status give_mask(row_masks *p, gemm_parts *gemm) {
  const tensor_type *y = &gemm->results[0];
  MlirValue cleared = find_cleared(p, gemm->a), mask = {0};
  pointwise_body *built = arena_alloc(p->arena, sizeof *built);
  builder b = builder_before(p->compilation, gemm->op);
  tensor_type rows = *y;
  rows.rank -= gemm->form.grouped;
  gemm->row_mask = build_mask(p, &b, &rows, 1);
  if (mlirValueIsNull(gemm->row_mask) || !share_mask(p, &b, gemm)) return STATUS_FAILED;
  if (!mlirValueIsNull(cleared)) {
    mask = build_mask(p, &b, y, 1 + gemm->form.grouped);
    if (mlirValueIsNull(mask)) return STATUS_FAILED;
  }
  if (!rebuild_body(gemm, mask, p->compilation, built) || !gemm_fits(gemm, built)) {
    pass_missed(p->context, b.location, "the gemm has too many operands or instructions for a row mask");
    return leave(p, gemm);
  }
  if (!pass_may_rewrite(p->context, b.location)) return leave(p, gemm);
  if (!mlirValueIsNull(cleared)) gemm->a = cleared;
  MlirOperation op = gemm_build(&b, gemm, built);
  if (mlirOperationIsNull(op)) return STATUS_FAILED;
  op_copy_identity(gemm->op, op);
  for (int i = 0; i < gemm->result_count; i++)
    value_replace(mlirOperationGetResult(gemm->op, i), mlirOperationGetResult(op, i));
  op_erase(gemm->op);
  zero_rows_visit(&p->zeros, op);
  p->context->changes++;
  return STATUS_OK;
}

/* ---- Functions ---- */

static status visit(row_masks *p, MlirOperation op) {
  gemm_parts gemm;
  if (op_kind_of(op) != OP_gemm || !gemm_read(p->compilation, op, &gemm) ||
      zero_rows_axis(&p->zeros, &gemm.results[0]) < 0) {
    zero_rows_visit(&p->zeros, op);
    return STATUS_OK;
  }
  if (zero_rows_of_gemm(&p->zeros, &gemm)) return give_mask(p, &gemm);
  pass_missed(p->context, mlirOperationGetLocation(op), "rows of tokens that are not valid are not known to be 0");
  return STATUS_OK;
}

static status visit_block(pass_context *context, MlirBlock block) {
  row_masks p = {.context = context, .compilation = context->compilation, .arena = arena_create()};
  op_list ops = block_ops(p.arena, block);
  MlirValue *masks;
  const int count = zero_rows_masks(p.arena, &ops, &masks);
  status code = STATUS_OK;
  for (int m = 0; m < count && code == STATUS_OK; m++) {
    p.zeros = zero_rows_begin(p.compilation, p.arena, masks[m]);
    p.made = value_definition(p.zeros.mask);
    p.rows = (MlirValue){0};
    ops = block_ops(p.arena, block);
    for (int i = 0; i < ops.count && code == STATUS_OK; i++) code = visit(&p, ops.ops[i]);
  }
  arena_destroy(p.arena);
  if (count > 0) block_erase_dead(block);
  return code;
}

status pass_skip_masked_rows(pass_context *context, MlirModule module) {
  return each_run_block(context, module, visit_block);
}
