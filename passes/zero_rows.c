/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Values whose masked rows are 0: see zero_rows.h. */
#include "zero_rows.h"

#include "../ir/eval.h"

#include <math.h>
#include <string.h>

MlirValue value_before_reshapes(MlirValue value) {
  for (;;) {
    MlirOperation op = value_defined_by(value, OP_reshape);
    if (mlirOperationIsNull(op)) return value;
    value = mlirOperationGetOperand(op, 0);
  }
}

/* The mask of an attention if it is one bool for each key of a sample; else null. */
static MlirValue key_mask(MlirOperation op) {
  MlirValue mask = op_kind_of(op) == OP_attention ? op_operand(op, "mask") : (MlirValue){0};
  if (mlirValueIsNull(mask)) return mask;
  const tensor_type type = tensor_type_of(mask);
  const bool is_vector = type.rank == 4 && type.dims[1] == 1 && type.dims[2] == 1;
  return type.dtype == PINION_DTYPE_bool && is_vector ? value_before_reshapes(mask) : (MlirValue){0};
}

int zero_rows_masks(arena *a, const op_list *ops, MlirValue **out_masks) {
  size_t capacity = 0;
  int count = 0;
  *out_masks = NULL;
  for (int i = 0; i < ops->count; i++) {
    MlirValue mask = key_mask(ops->ops[i]);
    bool known = mlirValueIsNull(mask);
    for (int m = 0; m < count; m++) known |= mlirValueEqual((*out_masks)[m], mask);
    if (known) continue;
    *out_masks = arena_grow(a, *out_masks, (size_t)count, &capacity, sizeof mask);
    (*out_masks)[count++] = mask;
  }
  return count;
}

zero_rows zero_rows_begin(compilation *c, arena *a, MlirValue mask) {
  zero_rows z = {.scratch = arena_alloc(a, sizeof *z.scratch),
                 .compilation = c,
                 .arena = a,
                 .mask = value_before_reshapes(mask),
                 .known = pointer_map_create(a)};
  const tensor_type type = tensor_type_of(z.mask);
  z.rows = type_elements(&type);
  return z;
}

int zero_rows_axis(const zero_rows *z, const tensor_type *type) {
  int64_t places = 1;
  for (int d = 0; d < type->rank; d++) {
    places *= type->dims[d];
    if (places == z->rows) return d;
  }
  return -1;
}

bool zero_rows_is_mask(const zero_rows *z, MlirValue value) {
  return mlirValueEqual(value_before_reshapes(value), z->mask);
}

bool zero_rows_has(const zero_rows *z, MlirValue value) {
  return pointer_map_get(&z->known, value.ptr) >= 0;
}

/* ---- A body in a masked row ---- */

typedef enum fact_kind { FACT_NUMBER, FACT_FINITE, FACT_UNKNOWN } fact_kind;
typedef struct fact {
  fact_kind kind;
  double number; /* FACT_NUMBER */
} fact;

static fact number_of(double number) {
  return (fact){FACT_NUMBER, number};
}

static bool is_zero(const fact *f) {
  return f->kind == FACT_NUMBER && f->number == 0;
}

static bool is_finite(const fact *f) {
  return f->kind == FACT_FINITE || (f->kind == FACT_NUMBER && isfinite(f->number));
}

typedef struct body_facts {
  const body *body;
  const fact *inputs;
  fact values[BODY_MAX_INSTRUCTIONS];
} body_facts;

static fact fact_of(const body_facts *b, const body_operand *operand) {
  switch (operand->kind) {
  case BODY_INPUT: return b->inputs[operand->index];
  case BODY_VALUE: return b->values[operand->index];
  default: return number_of(operand->literal);
  }
}

/* The operands' type: that of the first that has one. Literals have it too. */
static pinion_dtype operand_dtype(const body *b, const body_instruction *instruction) {
  for (int i = !strcmp(instruction->operation, "select"); i < instruction->operand_count; i++) {
    const body_operand *operand = &instruction->operands[i];
    if (operand->kind == BODY_INPUT) return b->input_dtypes[operand->index];
    if (operand->kind == BODY_VALUE) return b->instructions[operand->index].dtype;
  }
  return instruction->dtype;
}

/* As the interpreter does. */
static fact compute(const body *b, const body_instruction *instruction, const fact *operands) {
  double numbers[3] = {0};
  char operation[24];
  for (int i = 0; i < instruction->operand_count; i++) numbers[i] = operands[i].number;
  if (!strcmp(instruction->operation, "const")) return number_of(numbers[0]);
  snprintf(operation, sizeof operation, "%s", instruction->operation);
  if (!strcmp(operation, "cast")) snprintf(operation, sizeof operation, "cast.%s", dtype_name(instruction->dtype));
  return number_of(body_scalar(operation, operand_dtype(b, instruction), numbers));
}

/* Whether the operation may give what is not finite, of numbers that are and are of a size that models have. */
static bool may_leave_finite(const char *operation) {
  static const char *const all[] = {"exp", "log", "sqrt", "rsqrt", "reciprocal", "div", "pow", "mod"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!strcmp(operation, all[i])) return true;
  return false;
}

static fact run_select(const fact *operands) {
  if (operands[0].kind == FACT_NUMBER) return operands[operands[0].number != 0 ? 1 : 2];
  if (is_zero(&operands[1]) && is_zero(&operands[2])) return operands[1];
  return (fact){is_finite(&operands[1]) && is_finite(&operands[2]) ? FACT_FINITE : FACT_UNKNOWN, 0};
}

static fact run_instruction(const body_facts *b, const body_instruction *instruction) {
  fact operands[3];
  bool all_numbers = true, all_finite = true, any_zero = false;
  for (int i = 0; i < instruction->operand_count; i++) {
    operands[i] = fact_of(b, &instruction->operands[i]);
    all_numbers &= operands[i].kind == FACT_NUMBER;
    all_finite &= is_finite(&operands[i]);
    any_zero |= is_zero(&operands[i]);
  }
  if (!strcmp(instruction->operation, "select")) return run_select(operands);
  if (all_numbers) return compute(b->body, instruction, operands);
  if (all_finite && any_zero && !strcmp(instruction->operation, "mul")) return number_of(0);
  return (fact){all_finite && !may_leave_finite(instruction->operation) ? FACT_FINITE : FACT_UNKNOWN, 0};
}

/* Whether the body yields nothing but 0 of these inputs. */
static bool yields_zeros(const body *b, const fact *inputs) {
  body_facts facts = {.body = b, .inputs = inputs};
  for (int i = 0; i < b->instruction_count; i++) facts.values[i] = run_instruction(&facts, &b->instructions[i]);
  bool all = true;
  for (int r = 0; r < b->result_count; r++) {
    const fact yielded = fact_of(&facts, &b->results[r]);
    all &= is_zero(&yielded);
  }
  return all;
}

/* ---- Ops ---- */

/* Whether row r of `y` is computed of row r of an operand that broadcasts to it: their leading dimensions agree. */
static bool is_row_by_row(const zero_rows *z, const tensor_type *y, const tensor_type *x) {
  const int axis = zero_rows_axis(z, y), missing = y->rank - x->rank;
  for (int d = 0; d <= axis; d++)
    if ((d < missing ? 1 : x->dims[d - missing]) != y->dims[d]) return false;
  return axis >= 0;
}

static bool is_constant_finite(compilation *c, MlirOperation constant) {
  const tensor_type type = tensor_type_of(mlirOperationGetResult(constant, 0));
  eval_tensor numbers;
  bool all = true;
  if (eval_tensor_from_bytes(&type, constant_bytes(c, constant), EVAL_AS_TYPED, &numbers) != STATUS_OK) return false;
  for (int64_t i = 0; i < type_elements(&type) && all; i++) all = isfinite(eval_get(&numbers, i));
  eval_free(&numbers);
  return all;
}

/* What an operand of type `type` gives the body in a masked row of `y`. */
static fact fact_of_operand(const zero_rows *z, const tensor_type *y, MlirValue value, const tensor_type *type) {
  double number;
  if (value_uniform(z->compilation, value, &number)) return number_of(number);
  if ((zero_rows_has(z, value) || zero_rows_is_mask(z, value)) && is_row_by_row(z, y, type)) return number_of(0);
  MlirOperation constant = value_defined_by(value, OP_constant);
  const bool finite = mlirOperationIsNull(constant) || is_constant_finite(z->compilation, constant);
  return (fact){finite ? FACT_FINITE : FACT_UNKNOWN, 0};
}

static void add(zero_rows *z, MlirValue value) {
  pointer_map_set(&z->known, value.ptr, 1);
}

static void add_results(zero_rows *z, MlirOperation op) {
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++) add(z, mlirOperationGetResult(op, r));
}

static void visit_elementwise(zero_rows *z, MlirOperation op) {
  pointwise_body *built = z->scratch;
  fact inputs[PINION_MAX_ARGS];
  if (mlirOperationGetNumResults(op) != 1) return;
  MlirValue result = mlirOperationGetResult(op, 0);
  const tensor_type y = tensor_type_of(result);
  pointwise_body_begin(built, z->compilation, PINION_MAX_ARGS);
  if (!pointwise_body_add(built, op, true) || !pointwise_body_end(built, result)) return;
  for (int i = 0; i < built->body.input_count; i++) {
    const tensor_type type = tensor_type_of(built->inputs[i]);
    inputs[i] = fact_of_operand(z, &y, built->inputs[i], &type);
  }
  if (zero_rows_axis(z, &y) >= 0 && yields_zeros(&built->body, inputs)) add(z, result);
}

/* Whether its row mask says so. */
static bool is_masked_gemm(const zero_rows *z, MlirOperation op) {
  return op_kind_of(op) == OP_gemm && attr_bool(op, "row_mask", false) &&
         zero_rows_is_mask(z, mlirOperationGetOperand(op, mlirOperationGetNumOperands(op) - 1));
}

/* Without a bias a row of zeros stays one, as epsilon keeps its scale finite. */
static bool norm_keeps_zeros(const zero_rows *z, MlirOperation norm) {
  const tensor_type x = tensor_type_of(op_operand(norm, "x"));
  return mlirValueIsNull(op_operand(norm, "bias")) && attr_f64(norm, "epsilon", 0) > 0 &&
         zero_rows_axis(z, &x) < attr_i64(norm, "axis", 0);
}

/* With the dimension of groups that results have, before the last. */
static tensor_type with_group(const gemm_parts *gemm, tensor_type type) {
  if (!gemm->form.grouped || type.rank == 0 || type.rank == PINION_MAX_RANK) return type;
  type.dims[type.rank] = type.dims[type.rank - 1];
  type.dims[type.rank - 1] = 1;
  type.rank++;
  return type;
}

bool zero_rows_of_gemm(const zero_rows *z, const gemm_parts *gemm) {
  const tensor_type *y = &gemm->results[0], a = with_group(gemm, tensor_type_of(gemm->a));
  const int leading = gemm_leading_inputs(&gemm->form), first_sum = gemm->operand_count - gemm->form.row_sums;
  const int last = y->rank - 1 - gemm->form.grouped; /* of the dimensions that a row may span, the one behind */
  fact inputs[PINION_MAX_ARGS];
  const bool zero = zero_rows_has(z, gemm->a) && is_row_by_row(z, y, &a);
  if (zero_rows_axis(z, y) < 0 || zero_rows_axis(z, y) >= last) return false;
  for (int i = 0; i < gemm->form.accumulators; i++) inputs[i] = (fact){zero ? FACT_NUMBER : FACT_FINITE, 0};
  for (int i = 0; i < gemm->operand_count; i++) {
    const tensor_type own = tensor_type_of(gemm->operands[i]), type = i < first_sum ? own : with_group(gemm, own);
    inputs[leading + i] = fact_of_operand(z, y, gemm->operands[i], &type);
    if (i >= first_sum && !is_zero(&inputs[leading + i])) inputs[leading + i].kind = FACT_FINITE; /* of several */
  }
  bool all = true;
  for (int part = 0; part < gemm->form.parts; part++) {
    if (gemm->form.parts > 1) inputs[leading - 1] = number_of(part);
    all &= yields_zeros(gemm->body, inputs);
  }
  return all;
}

void zero_rows_visit(zero_rows *z, MlirOperation op) {
  if (mlirOperationGetNumResults(op) == 0) return;
  MlirValue result = mlirOperationGetResult(op, 0),
            x = mlirOperationGetNumOperands(op) ? mlirOperationGetOperand(op, 0) : result;
  const tensor_type y = tensor_type_of(result), type = tensor_type_of(x);
  gemm_parts gemm;
  if (op_is_elementwise(op)) {
    visit_elementwise(z, op);
  } else if (gemm_read(z->compilation, op, &gemm)) {
    if (zero_rows_of_gemm(z, &gemm)) add_results(z, op);
  } else if (is_masked_gemm(z, op)) {
    add_results(z, op);
  } else if (op_kind_of(op) == OP_norm) {
    if (zero_rows_has(z, x) && norm_keeps_zeros(z, op)) add(z, result);
  } else if (op_kind_of(op) == OP_reshape) {
    if (zero_rows_has(z, x) && zero_rows_axis(z, &y) >= 0) add(z, result);
  } else if (op_kind_of(op) == OP_broadcast) {
    if (zero_rows_has(z, x) && is_row_by_row(z, &y, &type)) add(z, result);
  }
}
