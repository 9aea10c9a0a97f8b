/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Norms that go into the gemms around them: norm_fold.h. */
#include "norm_fold.h"

#include "callers.h"

#include <string.h>

/* ---- Reading ---- */

/* Reads a norm of this kind over its last dimension; false for any other op. */
static bool read_norm(norm_fold *out, MlirOperation norm, const char *kind) {
  if (op_kind_of(norm) != OP_norm || !attr_str_is(norm, "kind", kind)) return false;
  out->norm = norm;
  out->subtracts_mean = strcmp(kind, "layer") == 0;
  out->x = op_operand(norm, "x");
  out->scale = op_operand(norm, "scale");
  out->bias = op_operand(norm, "bias");
  out->epsilon = attr_f64(norm, "epsilon", 0);
  out->width = last_dimension(out->x);
  out->scale_is_constant = norm_fold_is_constant(out, out->scale);
  out->reader_count = 0;
  return attr_i64(norm, "axis", 0) == tensor_type_of(out->x).rank - 1;
}

bool norm_fold_is_constant(const norm_fold *f, MlirValue value) {
  if (mlirValueIsNull(value)) return true;
  const int64_t at = value_position(f->positions, value);
  return at >= 0 && f->from_weights[at];
}

/* Whether the slice is of whole rows. */
static bool takes_whole_rows(MlirOperation slice) {
  int64_t steps[PINION_MAX_RANK];
  MlirValue part = mlirOperationGetResult(slice, 0);
  attr_i64s(slice, "steps", steps, PINION_MAX_RANK);
  return last_dimension(part) == last_dimension(mlirOperationGetOperand(slice, 0)) &&
         steps[tensor_type_of(part).rank - 1] == 1;
}

/* Columns of sums: of x, where the mean is subtracted, and of x * x. */
static int sum_count(const norm_fold *f) {
  return f->subtracts_mean ? 2 : 1;
}

static const char *add_reader(norm_fold *f, MlirOperation op, MlirValue a, MlirOperation slice, MlirOperation cast) {
  gemm_parts parts;
  if (!gemm_read(f->context->compilation, op, &parts) || !mlirValueEqual(parts.a, a) || mlirValueEqual(parts.b, a))
    return "an op reads it that is no product, or not as its first operand";
  for (int i = 0; i < parts.operand_count; i++)
    if (mlirValueEqual(parts.operands[i], a)) return "an epilogue reads it";
  if (parts.form.row_sums) return "a gemm that reads it has row sums already";
  if (!norm_fold_is_constant(f, parts.b) || tensor_type_of(parts.b).rank != 2)
    return "a weight is not constant, or no matrix";
  if (f->reader_count == NORM_MAXIMUM_READERS) return "too many gemms read it";
  const pinion_dtype dtype = value_dtype(a);
  if (f->reader_count && dtype != f->read_dtype) return "gemms read it in different types";
  if (dtype == PINION_DTYPE_f16) return "rows that are not normalised may be too large for f16";
  f->read_dtype = dtype;
  f->readers[f->reader_count++] = (norm_reader){.op = op, .slice = slice, .cast = cast};
  return NULL;
}

static bool is_dead(MlirOperation op) {
  bool unused = mlirOperationGetNumResults(op) > 0;
  for (intptr_t i = 0; unused && i < mlirOperationGetNumResults(op); i++)
    unused = value_is_unused(mlirOperationGetResult(op, i));
  return unused;
}

/* The gemms that read `value`: the norm's result, or rows of it, or a cast of either. */
static const char *find_readers(norm_fold *f, MlirValue value, MlirOperation slice, MlirOperation cast) {
  const bool is_cast = !mlirOperationIsNull(cast);
  const char *why = NULL;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !why && !mlirOpOperandIsNull(use);
       use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (is_dead(user)) continue; /* another norm's fusion rebuilt it */
    MlirValue result = mlirOperationGetNumResults(user) ? mlirOperationGetResult(user, 0) : (MlirValue){0};
    switch (op_kind_of(user)) {
    case OP_slice:
      if (is_cast || !mlirOperationIsNull(slice) || !takes_whole_rows(user))
        return "a slice of it is no choice of rows";
      why = find_readers(f, result, user, cast);
      break;
    case OP_cast:
      if (is_cast) return "it is cast twice";
      why = find_readers(f, result, slice, user);
      break;
    default: why = add_reader(f, user, value, slice, cast);
    }
  }
  return why;
}

/* Whether the value is what every step is given alike, perhaps in another shape. */
static bool is_invariant(MlirValue value) {
  for (MlirOperation op; !mlirOperationIsNull(op = value_definition(value)); value = mlirOperationGetOperand(op, 0))
    if (op_kind_of(op) != OP_reshape) return false;
  const intptr_t number = mlirBlockArgumentGetArgNumber(value);
  arena *a = arena_create();
  op_list callers = argument_callers(a, value);
  bool all = callers.count > 0;
  for (int i = 0; all && i < callers.count; i++)
    all = op_kind_of(callers.ops[i]) == OP_steps && !caller_carries(callers.ops[i], number) &&
          !caller_passes_row(callers.ops[i], number);
  arena_destroy(a);
  return all;
}

/* Where x is a concat of rows of which all parts but one are the same in every step: finds that one. */
static const char *find_part(norm_fold *f) {
  MlirOperation op = value_definition(f->x);
  f->made = f->x;
  f->join = (MlirOperation){0};
  if (mlirOperationIsNull(op) || op_kind_of(op) != OP_concat) return NULL;
  if (attr_i64(op, "axis", 0) == tensor_type_of(f->x).rank - 1) return "its operand's columns are made apart";
  int found = 0;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    if (is_invariant(mlirOperationGetOperand(op, i))) continue;
    f->made = mlirOperationGetOperand(op, i);
    found++;
  }
  if (found != 1) return "its operand is joined of several that differ from step to step";
  f->join = op;
  return NULL;
}

static const char *find_producer(norm_fold *f) {
  const char *why = find_part(f);
  if (why) return why;
  MlirOperation op = value_definition(f->made);
  if (mlirOperationIsNull(op) || !gemm_read(f->context->compilation, op, &f->producer))
    return "its operand is made by no gemm";
  if (f->producer.form.grouped) return "its operand is made in groups";
  if (f->producer.form.column_sums) return "its operand's rows are summed already";
  for (f->x_result = 0; !mlirValueEqual(mlirOperationGetResult(op, f->x_result), f->made);) f->x_result++;
  return NULL;
}

/* How many columns of sums a gemm writes for rows of x. */
static int64_t sum_blocks(const norm_fold *f) {
  return (f->width + PINION_COLUMN_BLOCK - 1) / PINION_COLUMN_BLOCK;
}

/* Why what is done for the producer's rows cannot be done for those beside them; NULL if it can. */
static const char *why_not_joined(const norm_fold *f) {
  if (mlirOperationIsNull(f->join)) return NULL;
  if (!f->scale_is_constant) return "its scale is no constant, and its operand joined";
  if (f->width % sum_blocks(f) != 0) return "its operand is joined, and its columns make no blocks of one size";
  return NULL;
}

/* Whether results, operands and instructions of a gemm stay within the limits, with so many more. */
static bool has_room(const gemm_parts *parts, int arguments, int instructions) {
  const int inputs = gemm_leading_inputs(&parts->form) + parts->operand_count + arguments;
  return 2 + parts->operand_count + parts->result_count + arguments <= PINION_MAX_ARGS && inputs <= PINION_MAX_ARGS &&
         parts->body->instruction_count + instructions <= BODY_MAX_INSTRUCTIONS;
}

static bool all_have_room(const norm_fold *f) {
  enum { MOST_INSTRUCTIONS = 12, SCALE_AND_COPY = 2 };
  if (!has_room(&f->producer, SCALE_AND_COPY + sum_count(f), MOST_INSTRUCTIONS)) return false;
  for (int i = 0; i < f->reader_count; i++) {
    gemm_parts reader;
    if (!gemm_read(f->context->compilation, f->readers[i].op, &reader)) return false;
    const int biases = mlirValueIsNull(f->bias) ? 0 : reader.form.accumulators;
    if (!has_room(&reader, sum_count(f) + biases, MOST_INSTRUCTIONS)) return false;
  }
  return true;
}

/* NULL if the norm can go, the scale and bias apart; else why it stays. Finds the producer and the readers. */
static const char *why_not(norm_fold *f) {
  const pinion_dtype dtype = value_dtype(f->x);
  if (dtype == PINION_DTYPE_f64) return "partial sums are in f32, its statistics in f64";
  const char *why = find_producer(f);
  if (!why) why = find_readers(f, mlirOperationGetResult(f->norm, 0), (MlirOperation){0}, (MlirOperation){0});
  if (why) return why;
  if (f->reader_count == 0) return "no gemm reads it";
  if (!mlirValueIsNull(f->scale) && f->scale_is_constant && !is_one_row(f->scale))
    return "its scale is of several rows";
  if (!mlirValueIsNull(f->bias) && tensor_type_of(f->bias).rank >= 2 &&
      tensor_type_of(f->bias).dims[tensor_type_of(f->bias).rank - 2] != 1)
    return "its bias is of several rows";
  if ((why = why_not_joined(f))) return why;
  if (!all_have_room(f)) return "a gemm would have too many operands, results or instructions";
  if (!f->scale_is_constant && !value_move_before(f->scale, f->producer.op)) return "its scale depends on its operand";
  f->has_copy = !f->scale_is_constant || f->read_dtype != dtype;
  return NULL;
}

/* ---- Bodies ---- */

static bool combine(pointwise_body *built, const char *operation, body_operand x, body_operand y, body_operand *out) {
  const body_operand operands[] = {x, y};
  return pointwise_body_instruction(built, operation, PINION_DTYPE_f32, 2, operands, out);
}

static bool multiply(pointwise_body *built, body_operand x, body_operand y, body_operand *out) {
  return combine(built, "mul", x, y, out);
}

static body_operand literal(double value) {
  return (body_operand){.kind = BODY_LITERAL, .literal = value};
}

/* ---- The producer ---- */

/* x, or x * scale in the norm's type, as the readers' operand. */
static bool yield_copy(const norm_fold *f, pointwise_body *built, body_operand x, pinion_dtype x_dtype,
                       body_operand scale) {
  const pinion_dtype dtype = value_dtype(mlirOperationGetResult(f->norm, 0));
  if (!f->scale_is_constant && !multiply(built, x, scale, &x)) return false;
  const bool is_rounded = dtype == f->read_dtype || (f->scale_is_constant && dtype == x_dtype);
  if (!is_rounded && !pointwise_body_round(built, dtype, &x)) return false;
  pointwise_body_yield(built, x, f->read_dtype);
  return true;
}

/* What the gemm yields, the readers' operand, and what is summed: of x as it is stored. False over a limit. */
static bool producer_body(norm_fold *f, pointwise_body *built) {
  gemm_parts *p = &f->producer;
  body_operand leading[PINION_MAX_ARGS], inputs[2 * PINION_MAX_ARGS], results[PINION_MAX_ARGS], scale = {0}, square;
  gemm_body_begin(built, f->context->compilation, &p->form, p->a);
  for (int i = 0; i < built->body.input_count; i++) leading[i] = (body_operand){.kind = BODY_INPUT, .index = i};
  const bool added = f->scale_is_constant ? gemm_body_inputs_of(built, p, leading, inputs)
                                          : gemm_body_inputs_with(built, p, leading, f->scale, inputs, &scale);
  if (!added || !pointwise_body_append(built, p->body, inputs, results)) return false;
  const pinion_dtype dtype = p->results[f->x_result].dtype;
  body_operand *x = &results[f->x_result];
  if (!pointwise_body_round(built, dtype, x)) return false;
  for (int i = 0; i < p->result_count; i++) pointwise_body_yield(built, results[i], p->results[i].dtype);
  if (f->has_copy && !yield_copy(f, built, *x, dtype, scale)) return false;
  if (!multiply(built, *x, *x, &square)) return false;
  if (f->subtracts_mean) pointwise_body_yield(built, *x, PINION_DTYPE_f32);
  pointwise_body_yield(built, square, PINION_DTYPE_f32);
  return true;
}

/* The results that come behind the producer's own. */
static void extend_results(norm_fold *f, gemm_parts *p) {
  tensor_type sums = p->results[f->x_result];
  if (f->has_copy) {
    p->results[p->result_count] = sums;
    p->results[p->result_count++].dtype = f->read_dtype;
  }
  sums.dtype = PINION_DTYPE_f32;
  sums.dims[sums.rank - 1] = sum_blocks(f);
  p->form.column_sums = sum_count(f);
  for (int i = 0; i < sum_count(f); i++) p->results[p->result_count++] = sums;
}

/* ---- A reader ---- */

/* Whether it was rounded from f32 for the product: each of the weights that it is made of. */
static bool was_wide(MlirValue weight) {
  MlirOperation op = value_definition(weight);
  const op_kind kind = mlirOperationIsNull(op) ? OP_weight : op_kind_of(op);
  if (kind == OP_cast) return value_dtype(mlirOperationGetOperand(op, 0)) == PINION_DTYPE_f32;
  bool all = kind == OP_transpose || kind == OP_concat;
  for (intptr_t i = 0; all && i < mlirOperationGetNumOperands(op); i++) all = was_wide(mlirOperationGetOperand(op, i));
  return all;
}

/* What it was before it was rounded, where was_wide; null on failure. */
static MlirValue before_rounding(builder *b, MlirValue weight) {
  MlirOperation op = value_definition(weight);
  if (op_kind_of(op) == OP_cast) return mlirOperationGetOperand(op, 0);
  const int count = (int)mlirOperationGetNumOperands(op);
  MlirValue *operands = arena_alloc(b->compilation->arena, (size_t)count * sizeof *operands);
  for (int i = 0; i < count; i++) {
    operands[i] = before_rounding(b, mlirOperationGetOperand(op, i));
    if (mlirValueIsNull(operands[i])) return operands[i];
  }
  if (op_kind_of(op) == OP_concat) return build_concat(b, count, operands, attr_i64(op, "axis", 0));
  int64_t permutation[PINION_MAX_RANK];
  attr_i64s(op, "permutation", permutation, PINION_MAX_RANK);
  return build_transpose(b, operands[0], permutation);
}

/* W in f32, rounded by nothing that the exporter did not round. */
static MlirValue wide_weight(builder *b, MlirValue weight) {
  return was_wide(weight) ? before_rounding(b, weight) : build_cast_to(b, weight, PINION_DTYPE_f32);
}

/* Each row times the scale, where that is constant. */
static MlirValue scaled(const norm_fold *f, builder *b, MlirValue weight, bool transposed) {
  if (mlirValueIsNull(f->scale) || !f->scale_is_constant) return weight;
  const int64_t size = last_dimension(f->scale), column[] = {size, 1}, row[] = {1, size};
  MlirValue scale = build_reshape(b, f->scale, 2, transposed ? row : column);
  scale = build_cast_to(b, scale, PINION_DTYPE_f32);
  return mlirValueIsNull(scale) ? scale : build_binary(b, "mul", weight, scale);
}

/* Each column less its mean. */
static MlirValue centred(builder *b, MlirValue weight, bool transposed) {
  const int64_t axis = transposed ? 1 : 0;
  MlirValue mean = build_reduce(b, "mean", weight, 1, &axis, true);
  return mlirValueIsNull(mean) ? mean : build_binary(b, "sub", weight, mean);
}

/* What the reader multiplies by now: in f32, rounded once. */
static MlirValue folded_weight(const norm_fold *f, builder *b, const gemm_parts *reader) {
  if (!f->subtracts_mean && (mlirValueIsNull(f->scale) || !f->scale_is_constant)) return reader->b;
  MlirValue weight = wide_weight(b, reader->b);
  if (!mlirValueIsNull(weight)) weight = scaled(f, b, weight, reader->transpose_b);
  if (!mlirValueIsNull(weight) && f->subtracts_mean) weight = centred(b, weight, reader->transpose_b);
  return mlirValueIsNull(weight) ? weight : build_cast_to(b, weight, value_dtype(reader->b));
}

/* bias W [.., columns] in f32. */
static MlirValue bias_of_columns(const norm_fold *f, builder *b, const gemm_parts *reader) {
  static const int64_t swapped[] = {1, 0};
  tensor_type type = tensor_type_of(f->bias);
  MlirValue bias = build_cast_to(b, f->bias, PINION_DTYPE_f32), weight = wide_weight(b, reader->b);
  if (last_dimension(f->bias) != f->width && !mlirValueIsNull(bias)) { /* one number */
    if (type.rank == 0) type.rank = 1;
    type.dims[type.rank - 1] = f->width;
    bias = build_broadcast(b, bias, type.rank, type.dims);
  }
  if (reader->transpose_b && !mlirValueIsNull(weight)) weight = build_transpose(b, weight, swapped);
  return mlirValueIsNull(bias) || mlirValueIsNull(weight) ? (MlirValue){0} : build_matmul(b, bias, weight);
}

/* Of columns [.., accumulators * groups * n], those of one accumulator: [.., n] or [.., groups, n]. */
static MlirValue columns_of_accumulator(builder *b, MlirValue columns, const gemm_form *form, int accumulator) {
  tensor_type type = tensor_type_of(columns);
  const int last = type.rank - 1;
  int64_t starts[PINION_MAX_RANK] = {0}, steps[PINION_MAX_RANK];
  for (int d = 0; d < PINION_MAX_RANK; d++) steps[d] = 1;
  type.dims[last] /= form->accumulators;
  starts[last] = accumulator * type.dims[last];
  if (form->accumulators > 1) columns = build_slice(b, columns, starts, type.dims, steps);
  if (!form->grouped || mlirValueIsNull(columns)) return columns;
  type.dims[last + 1] = type.dims[last] / form->groups;
  type.dims[last] = form->groups;
  return build_reshape(b, columns, type.rank + 1, type.dims);
}

/* The mean of x * x, or of (x - mean)^2, which rounding must not leave below 0. */
static bool row_variance(const norm_fold *f, pointwise_body *built, const body_operand *sums, body_operand *out) {
  const body_operand share = literal(1.0 / (double)f->width);
  body_operand mean, square;
  if (!f->subtracts_mean) return multiply(built, sums[0], share, out);
  return multiply(built, sums[0], share, &mean) && multiply(built, mean, mean, &square) &&
         multiply(built, sums[1], share, out) && combine(built, "sub", *out, square, out) &&
         combine(built, "max", *out, literal(0), out);
}

/* rsqrt(variance + epsilon) */
static bool row_factor(const norm_fold *f, pointwise_body *built, const MlirValue *sums, body_operand *out) {
  body_operand own[NORM_MOST_SUMS];
  for (int i = 0; i < sum_count(f); i++)
    if (!pointwise_body_operand(built, sums[i], &own[i])) return false;
  return row_variance(f, built, own, out) && combine(built, "add", *out, literal(f->epsilon), out) &&
         pointwise_body_instruction(built, "rsqrt", PINION_DTYPE_f32, 1, out, out);
}

/* The reader's body on accumulators that have been normalised; `sums` are the last operands. */
static bool reader_body(const norm_fold *f, builder *b, const gemm_parts *reader, MlirValue bias, const MlirValue *sums,
                        pointwise_body *built) {
  body_operand leading[PINION_MAX_ARGS], inputs[2 * PINION_MAX_ARGS], biases[2], factor, results[PINION_MAX_ARGS];
  gemm_body_begin(built, f->context->compilation, &reader->form, reader->a);
  for (int i = 0; i < built->body.input_count; i++) leading[i] = (body_operand){.kind = BODY_INPUT, .index = i};
  if (!gemm_body_inputs_of(built, reader, leading, inputs)) return false;
  for (int i = 0; !mlirValueIsNull(bias) && i < reader->form.accumulators; i++) {
    MlirValue own = columns_of_accumulator(b, bias, &reader->form, i);
    if (mlirValueIsNull(own) || !pointwise_body_operand(built, own, &biases[i])) return false;
  }
  if (!row_factor(f, built, sums, &factor)) return false;
  for (int i = 0; i < reader->form.accumulators; i++) {
    if (!multiply(built, inputs[i], factor, &inputs[i])) return false;
    const body_operand summands[] = {inputs[i], biases[i]};
    if (!mlirValueIsNull(bias) && !pointwise_body_instruction(built, "add", PINION_DTYPE_f32, 2, summands, &inputs[i]))
      return false;
  }
  if (!pointwise_body_append(built, reader->body, inputs, results)) return false;
  for (int i = 0; i < reader->body->result_count; i++)
    pointwise_body_yield(built, results[i], reader->results[i].dtype);
  return true;
}

/* ---- Rewriting ---- */

static MlirLocation joined(const norm_fold *f, MlirOperation op) {
  const MlirLocation parts[] = {mlirOperationGetLocation(op), mlirOperationGetLocation(f->norm)};
  return location_fuse(f->context->compilation->context, 2, parts);
}

static MlirLocation location_of_all(const norm_fold *f) {
  MlirLocation parts[NORM_MAXIMUM_READERS + 2];
  int count = 0;
  parts[count++] = mlirOperationGetLocation(f->producer.op);
  parts[count++] = mlirOperationGetLocation(f->norm);
  for (int i = 0; i < f->reader_count; i++) parts[count++] = mlirOperationGetLocation(f->readers[i].op);
  return location_fuse(f->context->compilation->context, count, parts);
}

/* The new gemm takes over its op's results, which are its first ones. The op is left to die. */
static void replace_op(MlirOperation op, MlirOperation gemm) {
  op_copy_identity(op, gemm);
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++)
    value_replace(mlirOperationGetResult(op, i), mlirOperationGetResult(gemm, i));
}

static MlirOperation rewrite_producer(norm_fold *f, pointwise_body *built) {
  MlirOperation op = f->producer.op;
  builder b = builder_before(f->context->compilation, op);
  b.location = joined(f, op);
  if (!producer_body(f, built)) return (MlirOperation){0};
  extend_results(f, &f->producer);
  MlirOperation gemm = gemm_build(&b, &f->producer, built);
  if (!mlirOperationIsNull(gemm)) replace_op(op, gemm);
  return gemm;
}

/* x * x of a part of the join, in f32 */
static MlirValue squares(builder *b, MlirValue part) {
  pointwise_body *built = arena_alloc(b->compilation->arena, sizeof *built);
  body_operand x;
  pointwise_body_begin(built, b->compilation, 1);
  if (!pointwise_body_operand(built, part, &x) || !multiply(built, x, x, &x)) return (MlirValue){0};
  pointwise_body_yield(built, x, PINION_DTYPE_f32);
  tensor_type type = tensor_type_of(part);
  type.dtype = PINION_DTYPE_f32;
  const MlirType result = type_make(b->compilation->context, &type);
  MlirNamedAttribute attribute =
      make_named(b->compilation->context, "body", body_attribute(b->compilation->context, &built->body));
  MlirOperation op = build_op(b, OP_pointwise, 1, built->inputs, 1, &attribute, 1, &result);
  return mlirOperationIsNull(op) ? (MlirValue){0} : mlirOperationGetResult(op, 0);
}

/* A part's sums of kind `index`, as many a row as a gemm writes. */
static MlirValue sums_of_part(const norm_fold *f, builder *b, MlirValue part, int index) {
  const bool is_squared = index == sum_count(f) - 1;
  MlirValue summed = is_squared ? squares(b, part) : build_cast_to(b, part, PINION_DTYPE_f32);
  tensor_type type = tensor_type_of(part);
  const int64_t axis = type.rank;
  type.dims[type.rank - 1] = sum_blocks(f);
  type.dims[type.rank++] = f->width / sum_blocks(f);
  if (!mlirValueIsNull(summed)) summed = build_reshape(b, summed, type.rank, type.dims);
  return mlirValueIsNull(summed) ? summed : build_reduce(b, "sum", summed, 1, &axis, false);
}

/* The join again, of `made` by the producer, and of what `of_part` makes of each of the other parts. */
static MlirValue joined_again(const norm_fold *f, builder *b, MlirValue made, int index,
                              MlirValue (*of_part)(const norm_fold *f, builder *b, MlirValue part, int index)) {
  const int count = (int)mlirOperationGetNumOperands(f->join);
  MlirValue *parts = arena_alloc(b->compilation->arena, (size_t)count * sizeof *parts);
  for (int i = 0; i < count; i++) {
    MlirValue part = mlirOperationGetOperand(f->join, i);
    parts[i] = mlirValueEqual(part, f->made) ? made : of_part(f, b, part, index);
    if (mlirValueIsNull(parts[i])) return parts[i];
  }
  return build_concat(b, count, parts, attr_i64(f->join, "axis", 0));
}

static MlirValue copy_of_part(const norm_fold *f, builder *b, MlirValue part, int index) {
  (void)index;
  return build_cast_to(b, part, f->read_dtype);
}

/* Finds what the readers read: of the new producer, joined where x was. */
static status find_rows(norm_fold *f, MlirOperation gemm) {
  const int first_sum = f->producer.result_count - sum_count(f);
  f->rows = mlirOperationGetResult(gemm, f->has_copy ? first_sum - 1 : f->x_result);
  for (int i = 0; i < sum_count(f); i++) f->sums[i] = mlirOperationGetResult(gemm, first_sum + i);
  if (mlirOperationIsNull(f->join)) return STATUS_OK;
  f->made = mlirOperationGetResult(gemm, f->x_result);
  builder b = builder_before(f->context->compilation, f->join);
  b.location = joined(f, f->join);
  f->rows = f->has_copy ? joined_again(f, &b, f->rows, 0, copy_of_part) : f->x;
  for (int i = 0; i < sum_count(f); i++) {
    f->sums[i] = joined_again(f, &b, f->sums[i], i, sums_of_part);
    if (mlirValueIsNull(f->sums[i])) return STATUS_FAILED;
  }
  return mlirValueIsNull(f->rows) ? STATUS_FAILED : STATUS_OK;
}

/* The rows that `slice` takes, of another tensor with such rows; null on failure. */
static MlirValue same_rows(builder *b, MlirOperation slice, MlirValue value) {
  if (mlirOperationIsNull(slice)) return value;
  int64_t starts[PINION_MAX_RANK], steps[PINION_MAX_RANK];
  tensor_type type = tensor_type_of(mlirOperationGetResult(slice, 0));
  attr_i64s(slice, "starts", starts, PINION_MAX_RANK);
  attr_i64s(slice, "steps", steps, PINION_MAX_RANK);
  type.dims[type.rank - 1] = last_dimension(value);
  return build_slice(b, value, starts, type.dims, steps);
}

static status rewrite_reader(const norm_fold *f, const norm_reader *reader, pointwise_body *built) {
  MlirValue rows, sums[NORM_MOST_SUMS];
  gemm_parts parts;
  if (!gemm_read(f->context->compilation, reader->op, &parts)) return STATUS_FAILED;
  builder b = builder_before(f->context->compilation, reader->op);
  b.location = joined(f, reader->op);
  if (!mlirOperationIsNull(reader->cast)) {
    const MlirLocation locations[] = {b.location, mlirOperationGetLocation(reader->cast)};
    b.location = location_fuse(b.compilation->context, 2, locations);
  }
  MlirValue bias = mlirValueIsNull(f->bias) ? f->bias : bias_of_columns(f, &b, &parts);
  rows = same_rows(&b, reader->slice, f->rows);
  for (int i = 0; i < sum_count(f); i++) {
    sums[i] = same_rows(&b, reader->slice, f->sums[i]);
    if (mlirValueIsNull(sums[i])) return STATUS_FAILED;
  }
  if (mlirValueIsNull(rows) || mlirValueIsNull(bias) != mlirValueIsNull(f->bias) ||
      !reader_body(f, &b, &parts, bias, sums, built))
    return STATUS_FAILED;
  parts.a = rows;
  parts.b = folded_weight(f, &b, &parts);
  parts.form.row_sums = sum_count(f);
  if (mlirValueIsNull(parts.b)) return STATUS_FAILED;
  MlirOperation normalising = gemm_build(&b, &parts, built);
  if (mlirOperationIsNull(normalising)) return STATUS_FAILED;
  replace_op(reader->op, normalising);
  return STATUS_OK;
}

/* Rewrites, if the gate lets it. The norm is left without uses. */
static status apply(norm_fold *f) {
  pass_context *context = f->context;
  if (!pass_may_rewrite(context, location_of_all(f))) return STATUS_OK;
  pointwise_body *built = arena_alloc(context->compilation->arena, sizeof *built);
  MlirOperation producer = rewrite_producer(f, built);
  if (mlirOperationIsNull(producer)) return STATUS_FAILED;
  status code = find_rows(f, producer);
  for (int i = 0; i < f->reader_count && code == STATUS_OK; i++) code = rewrite_reader(f, &f->readers[i], built);
  context->changes++;
  return code;
}

/* ---- All norms of a block ---- */

status norm_fold_block(pass_context *context, MlirBlock block, const norm_rule *rule) {
  arena *a = arena_create();
  op_list ops = block_ops(a, block);
  pointer_map positions = op_positions(a, &ops);
  norm_fold f = {.context = context, .positions = &positions, .from_weights = ops_from_weights(a, &ops, &positions)};
  status code = STATUS_OK;
  for (int i = 0; i < ops.count && code == STATUS_OK; i++) {
    if (!read_norm(&f, ops.ops[i], rule->kind) || !rule->is_own(&f)) continue;
    const char *why = why_not(&f);
    if (!why && rule->why_not) why = rule->why_not(&f);
    if (!why)
      code = apply(&f);
    else
      pass_missed(context, mlirOperationGetLocation(f.norm), "%s", why);
  }
  if (code == STATUS_OK) block_erase_dead(block);
  arena_destroy(a);
  return code;
}
