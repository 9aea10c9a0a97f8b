/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "random_problem.h"
#include "params_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Numbers ---- */

static uint64_t random_state = 1;

void random_seed(uint64_t seed) {
  random_state = seed * 2 + 1;
}

static uint64_t random_bits(void) { /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 0x2545f4914f6cdd1dull >> 11;
}

int64_t random_between(int64_t least, int64_t greatest) {
  return least + (int64_t)(random_bits() % (uint64_t)(greatest - least + 1));
}

static bool one_in(int64_t count) {
  return random_between(1, count) == 1;
}

static double random_unit(void) { /* in [-1, 1] */
  return (double)random_bits() / (double)(1ull << 52) - 1;
}

/* ---- Cases ---- */

static bool parse_body(compilation *c, const problem_case *k, kernel_problem *problem) {
  MlirAttribute lines[CASE_BODY_LINES];
  const char *why = "";
  int line_count = 0;
  for (; line_count < CASE_BODY_LINES && k->body[line_count]; line_count++)
    lines[line_count] = make_str(c->context, k->body[line_count]);
  if (kernel_problem_body(c->arena, mlirArrayAttrGet(c->context, line_count, lines), problem, &why)) return true;
  fprintf(stderr, "%s: %s\n", k->name, why);
  return false;
}

/* What of a gemm's parameters its kernel depends on; as small a shape as has it. */
static void set_form(const problem_case *k, pinion_params *params) {
  for (int d = 0; d < PINION_GEMM_RANK; d++) params->size[d] = 1;
  if (k->accumulators) params->size[PINION_GEMM_P] = k->accumulators;
  if (k->parts) params->size[PINION_GEMM_H] = k->parts;
  for (int part = 1; part < k->parts; part++) params->integer[part - 1] = part;
  params->integer[2] = k->row_sums;
  params->integer[4] = k->column_sums;
  params->integer[5] = k->results;
  params->integer[6] = k->row_mask;
}

bool problem_from_case(compilation *c, const problem_case *k, kernel_problem *out_problem) {
  char types[128], *rest = types;
  int count = 0;
  *out_problem = (kernel_problem){.family = k->family, .result_count = k->results, .packed_b = k->packed_b};
  snprintf(out_problem->kind, sizeof out_problem->kind, "%s", k->kind);
  snprintf(types, sizeof types, "%s", k->types);
  for (char *word; (word = strtok_r(rest, " ", &rest)); count++)
    if (!dtype_from_name(word, &out_problem->dtypes[count])) return false;
  out_problem->params.arg_count = count;
  if (k->family == PINION_FAMILY_GEMM) set_form(k, &out_problem->params);
  return k->body[0] ? parse_body(c, k, out_problem) : true;
}

/* ---- Shapes ---- */

/* Whether an argument's place depends on a dimension at all. */
typedef struct dimension_use {
  bool in_rows;      /* as the compiler lays buffers out: dimensions in their order, rows at multiples of 16 bytes */
  bool heads_inside; /* the same, but for the third and fourth dimension: a token's heads lie side by side */
  bool used[PINION_MAX_ARGS][PINION_MAX_RANK];
} dimension_use;

static void set_sizes(pinion_params *params, int rank, const int64_t *sizes) {
  params->rank = rank;
  memcpy(params->size, sizes, (size_t)rank * sizeof *sizes);
}

/* Leading dimensions of 1 to 5 and a row, now and then one longer than what a block of threads reads at once. */
static void shape_rows(pinion_params *params, int64_t longest) {
  int64_t sizes[PINION_MAX_RANK];
  int rank = (int)random_between(1, 5);
  for (int d = 0; d < rank; d++) sizes[d] = random_between(1, 5);
  sizes[rank - 1] = random_between(1, one_in(3) ? longest : 40);
  set_sizes(params, rank, sizes);
}

static void shape_pointwise(pinion_params *params, dimension_use *use) {
  shape_rows(params, 700);
  if (params->rank >= 2 && one_in(2)) params->size[random_between(0, params->rank - 2)] = random_between(1, 60);
  if (one_in(10)) params->rank = 0;
  for (int a = 0; a < params->arg_count; a++)
    for (int d = 0; d < params->rank; d++) use->used[a][d] = !one_in(5);
}

/* Groups, and where the parts begin; how much is summed. */
static void shape_form(const problem_case *k, pinion_params *params, int64_t *sizes) {
  int64_t groups = k->parts > 1 ? 0 : k->grouped ? random_between(2, 5) : 1;
  for (int part = 0; part < k->parts && k->parts > 1; part++) {
    if (part) params->integer[part - 1] = groups;
    groups += random_between(1, part ? 2 : 4);
  }
  if (groups > 1 && sizes[PINION_GEMM_N] > 100) sizes[PINION_GEMM_N] = one_in(2) ? 64 : sizes[PINION_GEMM_N] / groups;
  sizes[PINION_GEMM_H] = groups;
  sizes[PINION_GEMM_P] = k->accumulators ? k->accumulators : 1;
  params->integer[3] = k->row_sums ? random_between(1, 40) : 0;
}

/* No kernel's tile has more rows of a gemm: a block of the cpu's matrix unit. */
enum { MOST_ROWS_OF_A_TILE = 416 };

/* Beyond the tile along one dimension at a time. */
static void shape_gemm(const problem_case *k, pinion_params *params, dimension_use *use) {
  enum { M = PINION_GEMM_M, N = PINION_GEMM_N, K = PINION_GEMM_K };
  int64_t sizes[PINION_GEMM_RANK] = {
      random_between(1, 2), random_between(1, 2), random_between(1, 40), 1, random_between(1, 50), 1,
      random_between(1, 70)};
  switch (random_between(0, 7)) {
  case 0: sizes[M] = random_between(120, one_in(2) ? 300 : 400); break;
  case 1: sizes[N] = random_between(120, one_in(2) ? 300 : 1200); break;
  case 2: sizes[K] = random_between(120, one_in(2) ? 500 : 900); break;
  case 3: sizes[K] = 0; break;
  case 4: sizes[0] = sizes[1] = 1; break;
  case 5: /* what a real layer looks like: all multiples of 16 bytes */
    for (int d = M; d <= K; d += 2) sizes[d] = sizes[d] * 16 % 272 + 16;
    break;
  case 6: /* the same, ragged, and in more slices of k */
    for (int d = M; d < K; d += 2) sizes[d] = random_between(1, 270);
    sizes[K] = (one_in(2) ? 8 : random_between(1, 7)) * 64 - (one_in(2) ? random_between(0, 63) : 0);
    use->in_rows = true;
    break;
  default: break;
  }
  if (k->row_mask && one_in(2)) {
    sizes[M] = random_between(2 * MOST_ROWS_OF_A_TILE, 3 * MOST_ROWS_OF_A_TILE);
    sizes[N] = random_between(1, one_in(2) ? 12 : 80); /* both small: tests on a device move all of a problem there */
    sizes[K] = random_between(1, one_in(2) ? 12 : 80);
    if (one_in(2)) sizes[N] = (sizes[N] + 7) / 8 * 8, sizes[K] = (sizes[K] + 7) / 8 * 8, use->in_rows = true;
  }
  shape_form(k, params, sizes);
  set_sizes(params, PINION_GEMM_RANK, sizes);
  for (int a = k->results + 2; a < params->arg_count; a++) {
    const bool is_mask = k->row_mask && a == params->arg_count - 1;
    const bool is_sum = !is_mask && a >= params->arg_count - k->row_mask - k->row_sums;
    for (int d = 0; d < PINION_GEMM_RANK; d++)
      use->used[a][d] = is_mask ? d <= M : is_sum ? d == K || (d <= M && !one_in(3)) : d < PINION_GEMM_P && !one_in(3);
  }
  for (int d = 0; d < PINION_GEMM_RANK; d++) {
    use->used[k->results][d] = d == M || d == K || (d < M && (k->row_mask || one_in(2)));
    use->used[k->results + 1][d] = d > M || (d < M && one_in(2) && !k->packed_b);
  }
}

/* Which keys a query sees: all, causally, or by one to three blocks of queries. */
static void shape_blocks(pinion_params *params) {
  int64_t *integer = params->integer, queries = params->size[3], keys = params->size[4], blocks = random_between(-3, 3);
  integer[0] = one_in(4);
  integer[1] = random_between(-3, 20);
  for (int64_t i = 0; i < blocks; i++) {
    if (i) integer[1 + 2 * i] = random_between(i == 1 ? 1 : integer[3], queries + 1);
    integer[2 + 2 * i] = random_between(i ? integer[2 * i] : 1, keys);
  }
}

/* In half of the draws as a policy's layers are: rows at multiples of 16 bytes, many query heads for one of keys. */
static void shape_attention(const problem_case *k, pinion_params *params, dimension_use *use) {
  static const char *const operands[4] = {"bghqe", "bghqd", "bgkd", "bgke"};
  static const char *const masks[6] = {"bqk", "bqk", "qk", "bgqk", "bk", "k"};
  const char *mask = masks[random_between(k->key_mask ? 4 : 0, 5)];
  int64_t sizes[7] = {random_between(1, 2),  random_between(1, 2),  random_between(1, 3), random_between(1, 20),
                      random_between(1, 40), random_between(1, 40), random_between(1, 40)};
  use->in_rows = one_in(2);
  use->heads_inside = one_in(2);
  if (use->in_rows) {
    const int64_t widths[4] = {8 * random_between(1, 32), 64, 72, 256};
    sizes[2] = random_between(1, 8);
    sizes[5] = widths[random_between(0, 3)];
    sizes[6] = one_in(2) ? sizes[5] : widths[random_between(0, 3)];
  }
  switch (random_between(0, 4)) { /* beyond a tile of queries, of keys, of the depth, of the values */
  case 0: sizes[3] = random_between(60, 150); break;
  case 1: sizes[4] = random_between(60, one_in(2) ? 300 : 400); break;
  case 2: sizes[5] = use->in_rows ? sizes[5] : random_between(60, 150); break;
  case 3: sizes[6] = use->in_rows ? sizes[6] : random_between(60, 300); break;
  default: break;
  }
  if (k->key_mask) sizes[4] = random_between(150, 600);
  set_sizes(params, 7, sizes);
  for (int a = 0; a < params->arg_count; a++)
    for (int d = 0; d < 7; d++) use->used[a][d] = strchr(a < 4 ? operands[a] : mask, "bghqkde"[d]) != NULL;
  params->scalar[0] = 0.3 + 0.2 * random_unit();
  if (k->key_mask && one_in(2)) params->scalar[0] *= 8;
  shape_blocks(params);
}

static void shape_gather(pinion_params *params, dimension_use *use) {
  shape_rows(params, 600);
  int axis = (int)random_between(0, params->rank - 1);
  params->integer[0] = random_between(1, 7);
  params->integer[1] = axis;
  for (int d = 0; d < params->rank; d++) use->used[2][d] = d == axis || (d < axis && one_in(3));
}

static void shape_im2col(pinion_params *params, dimension_use *use) {
  int64_t sizes[6] = {random_between(1, 2), random_between(1, 6), random_between(1, 6),
                      random_between(1, 3), random_between(1, 4), random_between(1, 4)};
  for (int i = 0; i < 4; i++) params->integer[i] = random_between(1, 3);
  for (int i = 4; i < 6; i++) params->integer[i] = random_between(0, 2);
  for (int i = 6; i < 8; i++) params->integer[i] = random_between(1, 12);
  set_sizes(params, 6, sizes);
  use->used[1][4] = use->used[1][5] = false;
}

static void shape_rope(pinion_params *params) {
  int64_t sizes[4] = {random_between(1, 2), random_between(1, 3), random_between(1, 5),
                      random_between(1, one_in(6) ? 300 : 20)};
  set_sizes(params, 4, sizes);
}

/* Half of them as the compiler lays rows out. */
static void shape_norm(pinion_params *params, dimension_use *use) {
  shape_rows(params, 1500);
  params->scalar[0] = 1e-5;
  use->in_rows = one_in(2);
  if (use->in_rows) params->size[params->rank - 1] = 8 * random_between(1, one_in(2) ? 256 : 40);
}

static void random_shape(const problem_case *k, pinion_params *params, dimension_use *use) {
  memset(use, 1, sizeof *use);
  use->in_rows = use->heads_inside = false;
  switch (k->family) {
  case PINION_FAMILY_POINTWISE: shape_pointwise(params, use); break;
  case PINION_FAMILY_GEMM: shape_gemm(k, params, use); break;
  case PINION_FAMILY_ATTENTION: shape_attention(k, params, use); break;
  case PINION_FAMILY_GATHER: shape_gather(params, use); break;
  case PINION_FAMILY_IM2COL: shape_im2col(params, use); break;
  case PINION_FAMILY_ROPE: shape_rope(params); break;
  case PINION_FAMILY_NORM: shape_norm(params, use); break;
  default:
    shape_rows(params, 1500);
    params->integer[0] = k->family == PINION_FAMILY_REDUCE ? random_between(0, params->rank) : random_between(0, 1);
  }
  /* A result has a place for each element of its space, and none for what is summed over. */
  int summed_first = k->family == PINION_FAMILY_GEMM        ? PINION_GEMM_P
                     : k->family == PINION_FAMILY_ATTENTION ? 4
                                                            : PINION_MAX_RANK;
  int summed_end = k->family == PINION_FAMILY_GEMM ? PINION_GEMM_RANK : 6;
  if (k->family == PINION_FAMILY_REDUCE) {
    summed_first = params->rank - (int)params->integer[0];
    summed_end = params->rank;
  }
  for (int r = 0; r < k->results; r++)
    for (int d = 0; d < params->rank; d++) use->used[r][d] = d < summed_first || d >= summed_end;
}

/* ---- Arguments in memory ---- */

/* Extent of the space along d as argument a sees it: the gathered axis and the image have their own. */
static int64_t extent_of(const kernel_problem *problem, int a, int d) {
  const pinion_params *params = &problem->params;
  if (problem->family == PINION_FAMILY_GEMM) return pinion_gemm_extent(params, a, d);
  if (problem->family == PINION_FAMILY_GATHER && a == 1 && d == params->integer[1]) return params->integer[0];
  if (problem->family == PINION_FAMILY_IM2COL && a == 1 && (d == 1 || d == 2)) return params->integer[5 + d];
  return params->size[d];
}

static void random_order(int rank, int *out_order) {
  bool natural = one_in(2);
  for (int d = 0; d < rank; d++) out_order[d] = d;
  for (int d = rank - 1; d > 0 && !natural; d--) {
    int with = (int)random_between(0, d), kept = out_order[d];
    out_order[d] = out_order[with];
    out_order[with] = kept;
  }
}

/* Operands of most families may run backwards. */
static bool may_turn(const kernel_problem *problem, int a) {
  return a >= problem->result_count && problem->family != PINION_FAMILY_GATHER &&
         problem->family != PINION_FAMILY_IM2COL;
}

/*
 * Strides by a random order of the dimensions, with padding now and then. For rope the distance of a pair is one more
 * dimension, outermost or innermost.
 */
static void random_layout(kernel_problem *problem, const dimension_use *use, int a, problem_argument *argument) {
  pinion_params *params = &problem->params;
  int order[PINION_MAX_RANK];
  int64_t stride = one_in(5) ? random_between(2, 3) : 1, origin = 0;
  bool pairs = problem->family == PINION_FAMILY_ROPE && a < 2, interleaved = pairs && one_in(2);
  random_order(params->rank, order);
  if (use->in_rows) {
    stride = 1;
    for (int d = 0; d < params->rank; d++) order[d] = d;
    if (use->heads_inside) order[2] = 3, order[3] = 2;
  }
  if (interleaved) {
    params->integer[a == 0] = stride;
    stride *= 2;
  }
  for (int i = params->rank - 1; i >= 0; i--) {
    int d = order[i];
    int64_t extent = extent_of(problem, a, d) > 0 ? extent_of(problem, a, d) : 1;
    if (!use->used[a][d]) continue;
    bool backwards = !use->in_rows && may_turn(problem, a) && one_in(8);
    params->stride[a][d] = backwards ? -stride : stride;
    if (backwards) origin += (extent - 1) * stride;
    stride *= extent;
    if (use->in_rows)
      stride = (stride + 7) / 8 * 8;
    else if (one_in(4))
      stride += random_between(1, 5);
  }
  if (pairs && !interleaved) {
    params->integer[a == 0] = stride;
    stride *= 2;
  }
  argument->origin = origin;
  argument->count = stride + 8;
}

static double random_value(const kernel_problem *problem, int a) {
  pinion_dtype dtype = problem->dtypes[a];
  if (dtype == PINION_DTYPE_bool) return (double)random_between(0, 1);
  if (problem->family == PINION_FAMILY_GATHER && a == 2)
    return (double)random_between(-problem->params.integer[0] - 2, problem->params.integer[0] + 2);
  if (dtype_is_float(dtype)) return random_unit();
  bool is_unsigned =
      dtype == PINION_DTYPE_u8 || dtype == PINION_DTYPE_u16 || dtype == PINION_DTYPE_u32 || dtype == PINION_DTYPE_u64;
  return (double)(is_unsigned ? random_between(0, 100) : random_between(-20, 20));
}

static void fill_argument(const kernel_problem *problem, int a, problem_argument *argument) {
  size_t bytes = (size_t)argument->count * pinion_dtype_size(problem->dtypes[a]);
  argument->memory = malloc(bytes);
  memset(argument->memory, 0xff, bytes);
  if (a < problem->result_count) {
    argument->values = malloc((size_t)argument->count * sizeof *argument->values);
    for (int64_t i = 0; i < argument->count; i++) argument->values[i] = NAN;
    return;
  }
  for (int64_t i = 0; i < argument->count; i++)
    reference_store(problem->dtypes[a], argument->memory, i, random_value(problem, a));
}

/* Where element (b0, b1, m) of an argument lies, by the number of the row. */
static int64_t row_place(const pinion_params *params, int a, int64_t row) {
  int64_t place = 0;
  for (int d = PINION_GEMM_M; d >= PINION_GEMM_B0; d--) {
    place += row % params->size[d] * params->stride[a][d];
    row /= params->size[d];
  }
  return place;
}

/* Whether all rows are masked that a tile might hold beside this one. */
static bool is_far_from_shown(const bool *shown, int64_t rows, int64_t row) {
  for (int64_t other = row - MOST_ROWS_OF_A_TILE + 1; other < row + MOST_ROWS_OF_A_TILE; other++)
    if (other >= 0 && other < rows && shown[other]) return false;
  return true;
}

/* Draws the mask, in runs of rows, and gives the masked rows of a what lets them be 0 in the results, or, where no
   kernel has a reason to look at them, NaN. */
static void mask_rows(const kernel_problem *problem, problem_argument *arguments) {
  const pinion_params *params = &problem->params;
  const int a = problem->result_count, mask = params->arg_count - 1;
  const int64_t rows = params->size[PINION_GEMM_B0] * params->size[PINION_GEMM_B1] * params->size[PINION_GEMM_M];
  bool *shown = malloc((size_t)rows + 1), is_shown = one_in(2);
  for (int64_t row = 0, end; row < rows; row = end, is_shown = !is_shown) {
    end = row + (one_in(2) ? random_between(1, 40) : random_between(2, 4) * MOST_ROWS_OF_A_TILE);
    for (int64_t i = row; i < end && i < rows; i++) shown[i] = is_shown;
  }
  for (int64_t row = 0; row < rows; row++) {
    const double value = is_far_from_shown(shown, rows, row) ? NAN : 0;
    const int64_t place = arguments[a].origin + row_place(params, a, row);
    arguments[mask].memory[arguments[mask].origin + row_place(params, mask, row)] = shown[row];
    for (int64_t k = 0; k < params->size[PINION_GEMM_K] && !shown[row]; k++)
      reference_store(problem->dtypes[a], arguments[a].memory, place + k * params->stride[a][PINION_GEMM_K], value);
  }
  free(shown);
}

/* Hides a key of attention from all queries. */
static void hide_key(const pinion_params *params, int64_t key, problem_argument *mask) {
  const int64_t *stride = params->stride[4];
  int64_t others = 1;
  for (int d = 0; d < 4; d++) others *= params->size[d];
  for (int64_t point = 0; point < others; point++) {
    int64_t place = mask->origin + key * stride[4];
    for (int64_t d = 3, rest = point; d >= 0; rest /= params->size[d--]) place += rest % params->size[d] * stride[d];
    mask->memory[place] = false;
  }
}

/* Hides keys in runs, some longer than a block of them, and at times all. */
static void hide_keys(const pinion_params *params, problem_argument *mask) {
  bool is_shown = one_in(2);
  for (int64_t key = 0, end; key < params->size[4]; key = end, is_shown = !is_shown) {
    end = key + (one_in(2) ? random_between(1, 40) : random_between(80, 300));
    for (int64_t i = key; i < end && i < params->size[4] && !is_shown; i++) hide_key(params, i, mask);
  }
}

/* b as weights lie in weights.bin; its place in the launch has no strides. */
static void pack_b(kernel_problem *problem, const struct target *target, problem_argument *argument) {
  int b = problem->result_count + 1;
  int64_t *stride = problem->params.stride[b], size = (int64_t)pinion_dtype_size(problem->dtypes[b]);
  pack_request request = {.data = argument->memory + argument->origin * size, .dtype = problem->dtypes[b]};
  memcpy(request.size, &problem->params.size[PINION_GEMM_H], sizeof request.size);
  memcpy(request.stride, &stride[PINION_GEMM_H], sizeof request.stride);
  int64_t bytes = target->packed_bytes(request.size, request.dtype);
  uint8_t *packed = malloc((size_t)bytes + 1);
  target->pack(&request, packed);
  free(argument->memory);
  *argument = (problem_argument){.memory = packed, .count = bytes / size};
  memset(stride, 0, sizeof problem->params.stride[b]);
}

/* ---- How far a kernel may be off ---- */

/* What a result's error is relative to: 1, or for sums how many terms of at most 1 there are. */
static double scale_of(const kernel_problem *problem, int r) {
  const pinion_params *params = &problem->params;
  double terms = 1;
  if (problem->family == PINION_FAMILY_GEMM)
    return ((double)params->size[PINION_GEMM_K] + (double)params->integer[3] + 8) *
           (r < params->integer[5] - params->integer[4] ? 1 : PINION_COLUMN_BLOCK);
  if (problem->family == PINION_FAMILY_CUMSUM) return (double)params->size[params->rank - 1] + 8;
  if (problem->family != PINION_FAMILY_REDUCE) return 1;
  for (int d = params->rank - (int)params->integer[0]; d < params->rank; d++) terms *= (double)params->size[d];
  return strcmp(problem->kind, "mean") ? terms + 8 : 8;
}

/* Half a unit in the last place of the result's type, relative; a whole one where the body rounds by itself, because
   then the reference is rounded too, and near a tie the two may fall to either side. */
static double rounding_of(const kernel_problem *problem, int r) {
  pinion_dtype dtype = problem->dtypes[r];
  double half = dtype == PINION_DTYPE_bf16  ? 0x1p-8
                : dtype == PINION_DTYPE_f16 ? 0x1p-11
                : dtype == PINION_DTYPE_f32 ? 0x1p-24
                                            : 0;
  for (int i = 0; problem->has_body && i < problem->body.instruction_count; i++)
    if (!strcmp(problem->body.instructions[i].operation, "cast") && problem->body.instructions[i].dtype == dtype)
      return 2.02 * half;
  return 1.01 * half;
}

static void set_tolerance(const problem_case *k, const kernel_problem *problem, int r, problem_argument *argument) {
  double unit = problem->dtypes[r] == PINION_DTYPE_f64 ? 0x1p-52 : 0x1p-23;
  argument->absolute = k->tolerance * unit * scale_of(problem, r);
  argument->relative = k->tolerance * unit + rounding_of(problem, r);
  if (problem->dtypes[r] == PINION_DTYPE_f16) argument->absolute += 0x1p-25; /* half the smallest denormal */
}

/* ---- Problems ---- */

/* Of so many keys; none and all of them more often than by chance. */
static int64_t random_settled(int64_t keys) {
  return !one_in(3) ? random_between(0, keys) : one_in(2) ? 0 : keys;
}

bool random_problem_make(const problem_case *k, const kernel_problem *fixed, const struct target *target,
                         random_problem *out_problem) {
  kernel_problem *problem = &out_problem->problem;
  problem_argument *arguments = out_problem->arguments;
  dimension_use use;
  void *args[PINION_MAX_ARGS];
  double *results[PINION_MAX_ARGS] = {NULL};
  memset(out_problem, 0, sizeof *out_problem);
  *problem = *fixed;
  random_shape(k, &problem->params, &use);
  if (k->family == PINION_FAMILY_ATTENTION) problem->settled_keys = random_settled(problem->params.size[4]);
  for (int a = 0; a < problem->params.arg_count; a++) {
    random_layout(problem, &use, a, &arguments[a]);
    fill_argument(problem, a, &arguments[a]);
    args[a] = arguments[a].memory + arguments[a].origin * (int64_t)pinion_dtype_size(problem->dtypes[a]);
    if (arguments[a].values) results[a] = arguments[a].values + arguments[a].origin;
  }
  if (k->row_mask) mask_rows(problem, arguments);
  if (k->key_mask) hide_keys(&problem->params, &arguments[4]);
  problem->mask_is_early = k->row_mask && one_in(2);
  problem->packed_b = false;
  bool done = reference_run(problem, args, results);
  problem->packed_b = k->packed_b;
  if (k->packed_b) pack_b(problem, target, &arguments[k->results + 1]);
  for (int a = 0; a < problem->params.arg_count; a++)
    problem->aligned[a] = arguments[a].origin * (int64_t)pinion_dtype_size(problem->dtypes[a]) % 16 == 0;
  for (int r = 0; r < k->results; r++) set_tolerance(k, problem, r, &arguments[r]);
  return done;
}

void random_problem_free(random_problem *problem) {
  for (int a = 0; a < PINION_MAX_ARGS; a++) {
    free(problem->arguments[a].memory);
    free(problem->arguments[a].values);
  }
  memset(problem, 0, sizeof *problem);
}
