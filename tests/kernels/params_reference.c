/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "params_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Elements ---- */

static double bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double load_f16(uint16_t bits) {
  int exponent = bits >> 10 & 31;
  int mantissa = bits & 1023;
  double magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                     : exponent == 0 ? ldexp(mantissa, -24)
                                     : ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

double reference_load(pinion_dtype dtype, const void *base, int64_t index) {
  switch (dtype) {
  case PINION_DTYPE_f32: return ((const float *)base)[index];
  case PINION_DTYPE_f64: return ((const double *)base)[index];
  case PINION_DTYPE_bf16: return bits_to_float((uint32_t)((const uint16_t *)base)[index] << 16);
  case PINION_DTYPE_f16: return load_f16(((const uint16_t *)base)[index]);
  case PINION_DTYPE_i64: return (double)((const int64_t *)base)[index];
  case PINION_DTYPE_i32: return ((const int32_t *)base)[index];
  case PINION_DTYPE_i16: return ((const int16_t *)base)[index];
  case PINION_DTYPE_i8: return ((const int8_t *)base)[index];
  case PINION_DTYPE_u64: return (double)((const uint64_t *)base)[index];
  case PINION_DTYPE_u32: return ((const uint32_t *)base)[index];
  case PINION_DTYPE_u16: return ((const uint16_t *)base)[index];
  case PINION_DTYPE_u8: return ((const uint8_t *)base)[index];
  case PINION_DTYPE_bool: return ((const uint8_t *)base)[index] != 0;
  default: return NAN;
  }
}

/* Rounds to a binary float of `mantissa_bits` explicit bits whose smallest normal is 2^minimum_exponent, straight from
   float64 (through float32 would round twice). */
static double round_to_format(double value, int mantissa_bits, int minimum_exponent, double largest) {
  if (value == 0 || !isfinite(value)) return value;
  int exponent;
  frexp(value, &exponent); /* value = f * 2^exponent, 0.5 <= |f| < 1 */
  int normal = exponent - 1 < minimum_exponent ? minimum_exponent : exponent - 1;
  double unit = ldexp(1.0, normal - mantissa_bits);
  double rounded = nearbyint(value / unit) * unit;
  return fabs(rounded) > largest ? copysign(INFINITY, value) : rounded;
}

static double round_bf16(double value) {
  return round_to_format(value, 7, -126, ldexp(255, 120));
}
static double round_f16(double value) {
  return round_to_format(value, 10, -14, 65504);
}

static uint16_t bf16_bits(double value) {
  float rounded = (float)round_bf16(value);
  uint32_t bits;
  memcpy(&bits, &rounded, sizeof bits);
  return (uint16_t)(bits >> 16 | (isnan(value) ? 0x40 : 0));
}

static uint16_t f16_bits(double value) {
  uint16_t sign = signbit(value) ? 0x8000 : 0;
  double magnitude = fabs(round_f16(value));
  if (isnan(magnitude)) return sign | 0x7e00;
  if (isinf(magnitude)) return sign | 0x7c00;
  if (magnitude < ldexp(1, -14)) return sign | (uint16_t)ldexp(magnitude, 24);
  int exponent;
  double fraction = frexp(magnitude, &exponent);
  return sign | (uint16_t)((exponent + 14) << 10) | (uint16_t)(ldexp(fraction, 11) - 1024);
}

void reference_store(pinion_dtype dtype, void *base, int64_t index, double value) {
  switch (dtype) {
  case PINION_DTYPE_f32: ((float *)base)[index] = (float)value; break;
  case PINION_DTYPE_f64: ((double *)base)[index] = value; break;
  case PINION_DTYPE_bf16: ((uint16_t *)base)[index] = bf16_bits(value); break;
  case PINION_DTYPE_f16: ((uint16_t *)base)[index] = f16_bits(value); break;
  case PINION_DTYPE_i64: ((int64_t *)base)[index] = (int64_t)value; break;
  case PINION_DTYPE_i32: ((int32_t *)base)[index] = (int32_t)(int64_t)value; break;
  case PINION_DTYPE_i16: ((int16_t *)base)[index] = (int16_t)(int64_t)value; break;
  case PINION_DTYPE_i8: ((int8_t *)base)[index] = (int8_t)(int64_t)value; break;
  case PINION_DTYPE_u64: ((uint64_t *)base)[index] = value < 0 ? (uint64_t)(int64_t)value : (uint64_t)value; break;
  case PINION_DTYPE_u32: ((uint32_t *)base)[index] = (uint32_t)(int64_t)value; break;
  case PINION_DTYPE_u16: ((uint16_t *)base)[index] = (uint16_t)(int64_t)value; break;
  case PINION_DTYPE_u8: ((uint8_t *)base)[index] = (uint8_t)(int64_t)value; break;
  case PINION_DTYPE_bool: ((uint8_t *)base)[index] = value != 0; break;
  default: break;
  }
}

double reference_round(pinion_dtype dtype, double value) {
  uint64_t storage = 0;
  reference_store(dtype, &storage, 0, value);
  return reference_load(dtype, &storage, 0);
}

/* ---- The scalar body ---- */

typedef struct body_state {
  const body *body;
  const double *inputs;
  double values[BODY_MAX_INSTRUCTIONS];
} body_state;

static double operand_value(const body_state *state, const body_operand *operand) {
  switch (operand->kind) {
  case BODY_INPUT: return state->inputs[operand->index];
  case BODY_VALUE: return state->values[operand->index];
  default: return operand->literal;
  }
}

/* The type an instruction computes on: its first operand's that is not a literal. */
static pinion_dtype operand_dtype(const body *b, const body_instruction *instruction) {
  int first = !strcmp(instruction->operation, "select") ? 1 : 0;
  for (int i = first; i < instruction->operand_count; i++) {
    const body_operand *operand = &instruction->operands[i];
    if (operand->kind == BODY_INPUT) return b->input_dtypes[operand->index];
    if (operand->kind == BODY_VALUE) return b->instructions[operand->index].dtype;
  }
  return instruction->dtype;
}

static double instruction_value(const body_state *state, const body_instruction *instruction) {
  double operands[3] = {0};
  for (int i = 0; i < instruction->operand_count; i++) operands[i] = operand_value(state, &instruction->operands[i]);
  if (!strcmp(instruction->operation, "cast")) return reference_round(instruction->dtype, operands[0]);
  if (!strcmp(instruction->operation, "const")) return operands[0];
  if (!strcmp(instruction->operation, "select")) return operands[0] != 0 ? operands[1] : operands[2];
  return body_scalar(instruction->operation, operand_dtype(state->body, instruction), operands);
}

static void run_body(const body *b, const double *inputs, double *out_results) {
  body_state state = {.body = b, .inputs = inputs};
  for (int i = 0; i < b->instruction_count; i++) state.values[i] = instruction_value(&state, &b->instructions[i]);
  for (int r = 0; r < b->result_count; r++) out_results[r] = operand_value(&state, &b->results[r]);
}

/* ---- Walking iteration spaces ---- */

typedef struct walker {
  const kernel_problem *problem;
  void *const *args;
  double *const *results;
  int64_t at[PINION_MAX_RANK];
} walker;

/* Element index of an argument at the walker's coordinates. */
static int64_t index_of(const walker *w, int argument) {
  int64_t index = 0;
  for (int d = 0; d < w->problem->params.rank; d++) index += w->at[d] * w->problem->params.stride[argument][d];
  return index;
}

static double load_at(const walker *w, int argument, int64_t index) {
  return reference_load(w->problem->dtypes[argument], w->args[argument], index);
}

static double load(const walker *w, int argument) {
  return load_at(w, argument, index_of(w, argument));
}

/* Steps through dimensions first .. end, the last fastest; false when they are done (and all 0 again). */
static bool next(walker *w, int first, int end) {
  for (int d = end - 1; d >= first; d--) {
    if (++w->at[d] < w->problem->params.size[d]) return true;
    w->at[d] = 0;
  }
  return false;
}

static bool is_empty(const walker *w, int first, int end) {
  for (int d = first; d < end; d++)
    if (w->problem->params.size[d] == 0) return true;
  return false;
}

/* ---- Families ---- */

static bool run_pointwise(walker *w) {
  int rank = w->problem->params.rank;
  if (is_empty(w, 0, rank)) return true;
  do {
    const kernel_problem *problem = w->problem;
    double inputs[PINION_MAX_ARGS], results[PINION_MAX_ARGS];
    for (int i = problem->result_count; i < problem->params.arg_count; i++)
      inputs[i - problem->result_count] = load(w, i);
    run_body(&problem->body, inputs, results);
    for (int r = 0; r < problem->result_count; r++) w->results[r][index_of(w, r)] = results[r];
  } while (next(w, 0, rank));
  return true;
}

/* Index of an argument at group h and column n instead of the walker's. */
static int64_t index_at(walker *w, int argument, int64_t h, int64_t n) {
  const int64_t own_h = w->at[PINION_GEMM_H], own_n = w->at[PINION_GEMM_N];
  w->at[PINION_GEMM_H] = h, w->at[PINION_GEMM_N] = n;
  const int64_t index = index_of(w, argument);
  w->at[PINION_GEMM_H] = own_h, w->at[PINION_GEMM_N] = own_n;
  return index;
}

/* The sum of integer[3] elements along k. */
static double row_sum(const walker *w, int argument) {
  const pinion_params *params = &w->problem->params;
  double sum = 0;
  for (int64_t i = 0; i < params->integer[3]; i++)
    sum += load_at(w, argument, index_of(w, argument) + i * params->stride[argument][PINION_GEMM_K]);
  return sum;
}

/* sum_k a[k] * b[k]. Most of the reference's time goes here, so that indices are not computed anew. */
static double product(const walker *w, int a, int b) {
  const pinion_params *params = &w->problem->params;
  int64_t at_a = index_of(w, a), at_b = index_of(w, b);
  double sum = 0;
  for (int64_t k = 0; k < params->size[PINION_GEMM_K]; k++) {
    sum += load_at(w, a, at_a) * load_at(w, b, at_b);
    at_a += params->stride[a][PINION_GEMM_K];
    at_b += params->stride[b][PINION_GEMM_K];
  }
  return sum;
}

/* The body's inputs at the walker's m, h and n. */
static void gemm_inputs(walker *w, int part, double *inputs) {
  const pinion_params *params = &w->problem->params;
  const int a = w->problem->result_count, b = a + 1;
  int count = 0;
  do inputs[count++] = product(w, a, b);
  while (next(w, PINION_GEMM_P, PINION_GEMM_K));
  if (params->integer[0] > 0) inputs[count++] = part;
  const int end = params->arg_count - (int)params->integer[6], first_sum = end - (int)params->integer[2];
  for (int i = b + 1; i < end; i++) inputs[count++] = i < first_sum ? load(w, i) : row_sum(w, i);
}

static bool run_gemm(walker *w) {
  const pinion_params *params = &w->problem->params;
  const int results = w->problem->result_count, parts = 1 + (params->integer[0] > 0) + (params->integer[1] > 0);
  if (w->problem->packed_b) return false;
  if (is_empty(w, 0, PINION_GEMM_K)) return true;
  do {
    const int64_t h = w->at[PINION_GEMM_H], n = w->at[PINION_GEMM_N];
    const int part = parts == 1 ? 0 : (h >= params->integer[0]) + (parts == 3 && h >= params->integer[1]);
    double inputs[PINION_MAX_ARGS], values[PINION_MAX_ARGS] = {0};
    const bool is_masked = params->integer[6] && load(w, params->arg_count - 1) == 0;
    if (!is_masked) gemm_inputs(w, part, inputs);
    if (w->problem->has_body && !is_masked)
      run_body(&w->problem->body, inputs, values);
    else if (!is_masked)
      values[0] = inputs[0];
    for (int r = 0; r < results / parts; r++) {
      const int place = r + part * (results / parts);
      const bool summed = r >= results - params->integer[4];
      double *to =
          &w->results[place][index_at(w, place, part ? h - params->integer[part - 1] : h, summed ? n / 64 : n)];
      *to = summed && n % 64 ? *to + values[r] : values[r];
    }
  } while (next(w, 0, PINION_GEMM_P));
  return true;
}

static double row_maximum(walker *w, int argument, int row) {
  double maximum = -INFINITY;
  do maximum = fmax(maximum, load(w, argument));
  while (next(w, row, row + 1));
  return maximum;
}

static bool run_softmax(walker *w) {
  int row = w->problem->params.rank - 1;
  if (is_empty(w, 0, row + 1)) return true;
  do {
    double maximum = row_maximum(w, 1, row), sum = 0;
    do sum += exp(load(w, 1) - maximum);
    while (next(w, row, row + 1));
    do w->results[0][index_of(w, 0)] = exp(load(w, 1) - maximum) / sum;
    while (next(w, row, row + 1));
  } while (next(w, 0, row));
  return true;
}

static double reduce_start(const char *kind) {
  if (!strcmp(kind, "max")) return -INFINITY;
  if (!strcmp(kind, "min")) return INFINITY;
  return !strcmp(kind, "prod") ? 1 : 0;
}

static double reduce_step(const char *kind, double total, double x) {
  if (!strcmp(kind, "max")) return isnan(x) ? x : fmax(total, x);
  if (!strcmp(kind, "min")) return isnan(x) ? x : fmin(total, x);
  return !strcmp(kind, "prod") ? total * x : total + x;
}

static bool run_reduce(walker *w) {
  const pinion_params *params = &w->problem->params;
  const char *kind = w->problem->kind;
  int first = params->rank - (int)params->integer[0];
  int64_t count = 1;
  for (int d = first; d < params->rank; d++) count *= params->size[d];
  if (is_empty(w, 0, first)) return true;
  do {
    double total = reduce_start(kind);
    if (count) do
        total = reduce_step(kind, total, load(w, 1));
      while (next(w, first, params->rank));
    w->results[0][index_of(w, 0)] = strcmp(kind, "mean") ? total : total / (double)count;
  } while (next(w, 0, first));
  return true;
}

static bool run_cumsum(walker *w) {
  int row = w->problem->params.rank - 1;
  bool exclusive = w->problem->params.integer[0] == 1;
  if (is_empty(w, 0, row + 1)) return true;
  do {
    double total = 0;
    do {
      double x = load(w, 1);
      w->results[0][index_of(w, 0)] = exclusive ? total : total + x;
      total += x;
    } while (next(w, row, row + 1));
  } while (next(w, 0, row));
  return true;
}

/* sum over the row of (x - offset)^power / its length */
static double row_moment(walker *w, int row, double offset, int power) {
  double total = 0;
  do total += pow(load(w, 1) - offset, power);
  while (next(w, row, row + 1));
  return total / (double)w->problem->params.size[row];
}

static bool run_norm(walker *w) {
  const pinion_params *params = &w->problem->params;
  int row = params->rank - 1;
  bool layer = !strcmp(w->problem->kind, "layer");
  if (!layer && strcmp(w->problem->kind, "rms")) return false;
  if (is_empty(w, 0, row + 1)) return true;
  do {
    double mean = layer ? row_moment(w, row, 0, 1) : 0;
    double scale = 1 / sqrt(row_moment(w, row, mean, 2) + params->scalar[0]);
    do {
      double y = (load(w, 1) - mean) * scale;
      if (params->arg_count > 2) y *= load(w, 2);
      if (params->arg_count > 3) y += load(w, 3);
      w->results[0][index_of(w, 0)] = y;
    } while (next(w, row, row + 1));
  } while (next(w, 0, row));
  return true;
}

/* The dimensions of attention: [b g h q k d e]. */
enum { QUERY = 3, KEY, DEPTH, VALUE };

/* Whether the launch's block structure lets the walker's query see its key. */
static bool attention_sees(const walker *w) {
  const int64_t *integer = w->problem->params.integer, query = w->at[QUERY], key = w->at[KEY];
  if (integer[0] == 1 && key > query + integer[1]) return false;
  if (integer[2] <= 0) return true;
  if (integer[5] > 0 && query >= integer[5]) return key < integer[6];
  if (integer[3] > 0 && query >= integer[3]) return key < integer[4];
  return key < integer[2];
}

/* scale * q.k + mask of the walker's query and key; -infinity where the key is hidden. */
static double attention_score(walker *w) {
  const pinion_params *params = &w->problem->params;
  if (!attention_sees(w)) return -INFINITY;
  double score = 0;
  do score += load(w, 1) * load(w, 2);
  while (next(w, DEPTH, DEPTH + 1));
  score *= params->scalar[0];
  if (params->arg_count < 5) return score;
  if (w->problem->dtypes[4] == PINION_DTYPE_bool) return load(w, 4) != 0 ? score : -INFINITY;
  return score + load(w, 4);
}

/* One query: a row whose keys are all hidden is 0. */
static void attention_row(walker *w, double *scores) {
  double maximum = -INFINITY, sum = 0;
  do {
    scores[w->at[KEY]] = attention_score(w);
    maximum = fmax(maximum, scores[w->at[KEY]]);
  } while (next(w, KEY, KEY + 1));
  for (int64_t key = 0; key < w->problem->params.size[KEY]; key++) {
    scores[key] = maximum == -INFINITY ? 0 : exp(scores[key] - maximum);
    sum += scores[key];
  }
  do {
    double y = 0;
    do y += scores[w->at[KEY]] * load(w, 3);
    while (next(w, KEY, KEY + 1));
    w->results[0][index_of(w, 0)] = sum == 0 ? 0 : y / sum;
  } while (next(w, VALUE, VALUE + 1));
}

static bool run_attention(walker *w) {
  if (is_empty(w, 0, VALUE + 1)) return true;
  double *scores = malloc((size_t)w->problem->params.size[KEY] * sizeof *scores);
  if (!scores) return false;
  do attention_row(w, scores);
  while (next(w, 0, KEY));
  free(scores);
  return true;
}

static bool run_gather(walker *w) {
  const pinion_params *params = &w->problem->params;
  int axis = (int)params->integer[1];
  if (is_empty(w, 0, params->rank)) return true;
  do {
    int64_t index = (int64_t)load(w, 2);
    if (index < 0) index += params->integer[0];
    if (index < 0) index = 0;
    if (index >= params->integer[0]) index = params->integer[0] - 1;
    int64_t from = index_of(w, 1) + (index - w->at[axis]) * params->stride[1][axis];
    w->results[0][index_of(w, 0)] = load_at(w, 1, from);
  } while (next(w, 0, params->rank));
  return true;
}

static bool run_im2col(walker *w) {
  const pinion_params *params = &w->problem->params;
  const int64_t *integer = params->integer, *stride = params->stride[1], *at = w->at;
  if (is_empty(w, 0, params->rank)) return true;
  do {
    int64_t y = at[1] * integer[0] + at[4] * integer[2] - integer[4];
    int64_t x = at[2] * integer[1] + at[5] * integer[3] - integer[5];
    bool inside = y >= 0 && y < integer[6] && x >= 0 && x < integer[7];
    int64_t from = at[0] * stride[0] + at[3] * stride[3] + y * stride[1] + x * stride[2];
    w->results[0][index_of(w, 0)] = inside ? load_at(w, 1, from) : 0;
  } while (next(w, 0, params->rank));
  return true;
}

static bool run_rope(walker *w) {
  const pinion_params *params = &w->problem->params;
  if (is_empty(w, 0, params->rank)) return true;
  do {
    int64_t from = index_of(w, 1), to = index_of(w, 0);
    double x1 = load_at(w, 1, from), x2 = load_at(w, 1, from + params->integer[0]);
    double cosine = load(w, 2), sine = load(w, 3);
    w->results[0][to] = x1 * cosine - x2 * sine;
    w->results[0][to + params->integer[1]] = x2 * cosine + x1 * sine;
  } while (next(w, 0, params->rank));
  return true;
}

bool reference_run(const kernel_problem *problem, void *const *args, double *const *results) {
  static bool (*const runners[PINION_FAMILY_COUNT])(walker *) = {
      [PINION_FAMILY_POINTWISE] = run_pointwise, [PINION_FAMILY_GEMM] = run_gemm,
      [PINION_FAMILY_SOFTMAX] = run_softmax,     [PINION_FAMILY_REDUCE] = run_reduce,
      [PINION_FAMILY_CUMSUM] = run_cumsum,       [PINION_FAMILY_NORM] = run_norm,
      [PINION_FAMILY_ATTENTION] = run_attention, [PINION_FAMILY_GATHER] = run_gather,
      [PINION_FAMILY_IM2COL] = run_im2col,       [PINION_FAMILY_ROPE] = run_rope,
  };
  if ((unsigned)problem->family >= PINION_FAMILY_COUNT || problem->params.rank > PINION_MAX_RANK) return false;
  walker w = {.problem = problem, .args = args, .results = results};
  return runners[problem->family](&w);
}
