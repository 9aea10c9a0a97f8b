/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * fuse-gate-up: two projections of one input that meet in the epilogue of one of them become one gemm of two
 * accumulators.
 *
 *   gate = matmul(x, G);  gemm(x, U, gate) {body = ["gelu_tanh x1", "mul v0 x0", "yield v1"]}
 *     becomes   gemm(x, concat(G, U)) {accumulators = 2, body = ["gelu_tanh x0", "mul v0 x1", "yield v1"]}
 *
 * Requires: fuse-epilogue, which makes the one product an operand of the other; before outline-weights, which has the
 * joined weights computed at compile time. Produces: pinion.gemm. Breaks: nothing.
 *
 * Any epilogues will do, with operands of their own. It fires when nothing else reads the product that goes, both
 * weights are constant matrices of one type, and the gemm that stays has no sums or groups yet. A narrow product keeps
 * its rounding: what the graph computed does not change.
 */
#include "gemm_parts.h"

typedef struct pair {
  gemm_parts gate, up; /* the gate is an operand of up */
  int operand;         /* which */
  pointwise_body built;
} pair;

static bool is_constant_matrix(const pointer_map *positions, const bool *from_weights, MlirValue value) {
  const int64_t at = value_position(positions, value);
  tensor_type type;
  return at >= 0 && from_weights[at] && value_type(value, &type) && type.rank == 2;
}

static bool only_user_is(MlirValue value, MlirOperation user) {
  return value_has_one_use(value) && mlirOperationEqual(mlirOpOperandGetOwner(mlirValueGetFirstUse(value)), user);
}

static bool types_equal(MlirValue a, MlirValue b) {
  return mlirTypeEqual(mlirValueGetType(a), mlirValueGetType(b));
}

/* NULL, or why the two products stay apart. */
static const char *why_apart(const pair *p, const pointer_map *positions, const bool *from_weights) {
  if (!gemm_is_plain(&p->gate) || !gemm_is_plain(&p->up)) return "one of them has sums, groups or accumulators already";
  if (!only_user_is(mlirOperationGetResult(p->gate.op, 0), p->up.op))
    return "another op reads the product that would go";
  if (!is_constant_matrix(positions, from_weights, p->gate.b) || !is_constant_matrix(positions, from_weights, p->up.b))
    return "a weight is not constant, or no matrix";
  if (!types_equal(p->gate.b, p->up.b) || p->gate.transpose_b != p->up.transpose_b)
    return "their weights differ in shape or type";
  return NULL;
}

/* Up's inputs: the second accumulator, and its operands, for one of which there is the gate's value. */
static bool up_inputs(pair *p, body_operand gate, body_operand *out_inputs) {
  out_inputs[0] = (body_operand){.kind = BODY_INPUT, .index = 1};
  for (int i = 0; i < p->up.operand_count; i++) {
    out_inputs[1 + i] = gate;
    if (i != p->operand && !pointwise_body_operand(&p->built, p->up.operands[i], &out_inputs[1 + i])) return false;
  }
  return true;
}

/* The gate's body on the first accumulator, then up's on the second. False over a limit. */
static bool join_bodies(compilation *c, pair *p) {
  const gemm_form form = {.accumulators = 2, .groups = 1, .parts = 1};
  const body_operand first = {.kind = BODY_INPUT, .index = 0};
  body_operand inputs[2 * PINION_MAX_ARGS], gate, result;
  gemm_body_begin(&p->built, c, &form, p->up.a);
  if (!gemm_body_inputs_of(&p->built, &p->gate, &first, inputs) ||
      !pointwise_body_append(&p->built, p->gate.body, inputs, &gate) ||
      !pointwise_body_round(&p->built, p->gate.results[0].dtype, &gate) || !up_inputs(p, gate, inputs) ||
      !pointwise_body_append(&p->built, p->up.body, inputs, &result))
    return false;
  pointwise_body_yield(&p->built, result, p->up.results[0].dtype);
  p->up.form = form;
  return gemm_fits(&p->up, &p->built);
}

static status fuse(pass_context *context, pair *p) {
  MlirOperation gate = p->gate.op, up = p->up.op;
  const MlirLocation locations[] = {mlirOperationGetLocation(gate), mlirOperationGetLocation(up)};
  const MlirValue weights[] = {p->gate.b, p->up.b};
  builder b = builder_before(context->compilation, up);
  b.location = location_fuse(context->compilation->context, 2, locations);
  if (!pass_may_rewrite(context, b.location)) return STATUS_OK;
  p->up.b = build_concat(&b, 2, weights, p->up.transpose_b ? 0 : 1);
  if (mlirValueIsNull(p->up.b)) return STATUS_FAILED;
  MlirOperation gemm = gemm_build(&b, &p->up, &p->built);
  if (mlirOperationIsNull(gemm)) return STATUS_FAILED;
  op_copy_identity(up, gemm);
  value_replace(mlirOperationGetResult(up, 0), mlirOperationGetResult(gemm, 0));
  op_erase(up);
  op_erase(gate);
  context->changes++;
  return STATUS_OK;
}

/* The operand of `up` that is a product of its own input; false if none is. */
static bool find_gate(compilation *c, pair *p) {
  for (p->operand = 0; p->operand < p->up.operand_count; p->operand++)
    if (gemm_read(c, value_definition(p->up.operands[p->operand]), &p->gate) && mlirValueEqual(p->gate.a, p->up.a))
      return true;
  return false;
}

static status fuse_block(pass_context *context, MlirBlock block) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  pointer_map positions = op_positions(a, &ops);
  const bool *from_weights = ops_from_weights(a, &ops, &positions);
  pair *p = arena_alloc(a, sizeof *p);
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    if (op_kind_of(ops.ops[i]) != OP_gemm || !gemm_read(context->compilation, ops.ops[i], &p->up) ||
        !find_gate(context->compilation, p))
      continue;
    const char *why = why_apart(p, &positions, from_weights);
    if (!why && !join_bodies(context->compilation, p)) why = "together they have too many operands or instructions";
    if (!why) {
      code = fuse(context, p);
      continue;
    }
    pass_missed(context, mlirOperationGetLocation(p->up.op), "it reads another product of its input, but %s", why);
  }
  arena_destroy(a);
  return code;
}

status pass_fuse_gate_up(pass_context *context, MlirModule module) {
  return each_run_block(context, module, fuse_block);
}
