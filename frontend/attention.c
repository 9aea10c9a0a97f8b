/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * ONNX Attention, opset 23 and 24. q [b, h, m, d], k [b, g, n, d], v [b, g, n, e], each also as [b, m, h * d]; a cache
 * in front of k and v; causal, boolean and additive masks; valid lengths. With a soft cap, or with the scores as an
 * output, it becomes core ops; else one pinion.attention.
 */
#include "import.h"

#include <math.h>
#include <string.h>

enum { ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_MASK, ATTENTION_PAST_K, ATTENTION_PAST_V, ATTENTION_VALID };

typedef struct attention {
  MlirValue q, k, v;
  int64_t batch, heads, groups, queries, keys, width; /* keys: those of the cache included */
  int64_t past;                                       /* keys of the cache */
  MlirValue bias;                                     /* additive, or null */
  MlirValue is_seen;                                  /* bool, or null; both broadcast to [b, h, m, n] */
  bool is_causal;                                     /* on top of both: key <= query + keys - queries */
  double scale;
} attention;

static MlirValue both(import_node *n, MlirValue x, MlirValue y) {
  if (mlirValueIsNull(x)) return y;
  return mlirValueIsNull(y) ? x : emit_binary(n, "and", x, y);
}

/* start, start + 1, .. along one dimension of [1, 1, m, n]. */
static MlirValue counting(import_node *n, int dimension, int64_t count, int64_t start) {
  return emit_counting(n, 4, dimension, count, start);
}

/* ---- Inputs ---- */

static MlirValue with_heads(import_node *n, int input, const char *heads_attribute) {
  static const int64_t permutation[] = {0, 2, 1, 3};
  MlirValue x = node_input(n, input);
  tensor_type type = node_type(n, x);
  int64_t heads = node_attr_int(n, heads_attribute, 0);
  if (type.rank == 4) return x;
  if (type.rank != 3)
    node_bad(n, "its input %d has rank %d, not 3 or 4", input, type.rank);
  else if (heads < 1 || type.dims[2] % heads != 0)
    node_bad(n, "%s is %lld, for a width of %lld", heads_attribute, (long long)heads, (long long)type.dims[2]);
  if (n->result != STATUS_OK) return (MlirValue){NULL};
  int64_t dims[] = {type.dims[0], type.dims[1], heads, type.dims[2] / heads};
  return emit_transpose(n, emit_reshape(n, x, 4, dims), permutation);
}

static MlirValue with_past(import_node *n, int input, MlirValue x) {
  if (!node_has_input(n, input)) return x;
  MlirValue parts[] = {emit_cast(n, node_input(n, input), node_type(n, x).dtype), x};
  tensor_type past = node_type(n, parts[0]);
  if (past.rank != 4) node_bad(n, "its input %d has rank %d, not 4", input, past.rank);
  return type_elements(&past) == 0 ? x : emit_concat(n, 2, parts, 2);
}

static void read_inputs(import_node *n, attention *a) {
  *a = (attention){0};
  a->q = with_heads(n, ATTENTION_Q, "q_num_heads");
  a->k = with_heads(n, ATTENTION_K, "kv_num_heads");
  a->v = with_heads(n, ATTENTION_V, "kv_num_heads");
  node_promote(n, &a->k, &a->v);
  node_promote(n, &a->q, &a->k);
  a->v = emit_cast(n, a->v, node_type(n, a->k).dtype);
  int64_t fresh = node_type(n, a->k).dims[2];
  if (node_has_input(n, ATTENTION_PAST_K) != node_has_input(n, ATTENTION_PAST_V))
    node_bad(n, "past_key and past_value come together");
  a->k = with_past(n, ATTENTION_PAST_K, a->k);
  a->v = with_past(n, ATTENTION_PAST_V, a->v);
  if (n->result != STATUS_OK) return;
  tensor_type q = node_type(n, a->q), k = node_type(n, a->k);
  a->batch = q.dims[0];
  a->heads = q.dims[1];
  a->queries = q.dims[2];
  a->width = q.dims[3];
  a->groups = k.dims[1];
  a->keys = k.dims[2];
  a->past = a->keys - fresh;
  a->scale = node_attr_float(n, "scale", 1 / sqrt((double)a->width));
  if (a->groups < 1 || a->heads % a->groups)
    node_bad(n, "%lld heads for %lld", (long long)a->heads, (long long)a->groups);
}

/* ---- Masks ---- */

/* A mask over fewer keys than there are hides the rest. */
static MlirValue extend_mask(import_node *n, const attention *a, MlirValue mask) {
  tensor_type type = node_type(n, mask);
  if (type.rank < 1 || type.rank > 4) node_bad(n, "its mask has rank %d", type.rank);
  if (n->result != STATUS_OK) return mask;
  int64_t *keys = &type.dims[type.rank - 1];
  if (*keys >= a->keys || *keys == 1) return mask;
  *keys = a->keys;
  MlirContext context = n->importer->compilation->context;
  int64_t before[PINION_MAX_RANK] = {0};
  MlirNamedAttribute attributes[] = {make_named(context, "before", make_i64s(context, type.rank, before))};
  MlirValue operands[] = {mask, emit_scalar(n, type.dtype, type.dtype == PINION_DTYPE_bool ? 0 : -INFINITY)};
  return emit_op(n, OP_pad, 2, operands, 1, attributes, &type);
}

static void read_mask(import_node *n, attention *a) {
  if (!node_has_input(n, ATTENTION_MASK)) return;
  MlirValue mask = extend_mask(n, a, node_input(n, ATTENTION_MASK));
  pinion_dtype dtype = node_type(n, mask).dtype;
  if (dtype == PINION_DTYPE_bool)
    a->is_seen = mask;
  else if (dtype_is_float(dtype))
    a->bias = mask;
  else
    node_bad(n, "its mask is neither bool nor float");
}

/* Keys in front of a query's own: those of the cache; or valid ones that are no queries; or none. */
static void read_causality(import_node *n, attention *a, MlirValue valid) {
  if (!node_attr_int(n, "is_causal", 0)) return;
  bool is_dynamic = !mlirValueIsNull(valid) && a->past == 0;
  if (!is_dynamic && a->past == a->keys - a->queries) {
    a->is_causal = true;
    return;
  }
  MlirValue last = counting(n, 2, a->queries, is_dynamic ? -a->queries : a->past);
  if (is_dynamic) last = emit_binary(n, "add", last, valid);
  a->is_seen = both(n, a->is_seen, emit_binary(n, "le", counting(n, 3, a->keys, 0), last));
}

/* nonpad_kv_seqlen [b]: how many keys are valid. Returns it as i64 [b, 1, 1, 1], or null. */
static MlirValue read_valid(import_node *n, attention *a) {
  int64_t dims[] = {a->batch, 1, 1, 1};
  if (!node_has_input(n, ATTENTION_VALID)) return (MlirValue){NULL};
  MlirValue valid = emit_reshape(n, emit_cast(n, node_input(n, ATTENTION_VALID), PINION_DTYPE_i64), 4, dims);
  a->is_seen = both(n, a->is_seen, emit_binary(n, "lt", counting(n, 3, a->keys, 0), valid));
  return valid;
}

/* The one mask operand of pinion.attention. */
static MlirValue combined_mask(import_node *n, const attention *a) {
  if (mlirValueIsNull(a->bias)) return a->is_seen;
  if (mlirValueIsNull(a->is_seen)) return a->bias;
  return emit_select(n, a->is_seen, a->bias, emit_scalar(n, node_type(n, a->bias).dtype, -INFINITY));
}

/* ---- Output ---- */

static MlirValue emit_fused(import_node *n, const attention *a) {
  MlirContext context = n->importer->compilation->context;
  MlirNamedAttribute attributes[] = {make_named(context, "scale", make_f64(context, a->scale)),
                                     make_named(context, "causal", make_bool(context, a->is_causal))};
  MlirValue operands[] = {a->q, a->k, a->v, combined_mask(n, a)};
  return emit_op(n, OP_attention, 4, operands, 2, attributes, NULL);
}

/* [b, g, n, d] -> [b, h, n, d], each head of a group the same */
static MlirValue repeat_groups(import_node *n, const attention *a, MlirValue x) {
  tensor_type type = node_type(n, x);
  int64_t one[] = {a->batch, a->groups, 1, a->keys, type.dims[3]};
  int64_t many[] = {a->batch, a->groups, a->heads / a->groups, a->keys, type.dims[3]};
  int64_t flat[] = {a->batch, a->heads, a->keys, type.dims[3]};
  if (a->groups == a->heads) return x;
  return emit_reshape(n, emit_broadcast(n, emit_reshape(n, x, 5, one), 5, many), 4, flat);
}

static MlirValue emit_soft_cap(import_node *n, MlirValue x, double cap) {
  if (cap == 0) return x;
  MlirValue limit = emit_scalar(n, node_type(n, x).dtype, cap);
  return emit_binary(n, "mul", emit_unary(n, "tanh", emit_binary(n, "div", x, limit)), limit);
}

/* Softmax over keys; a query that sees none gets zeros. */
static MlirValue emit_probabilities(import_node *n, MlirValue scores) {
  static const bool keys[PINION_MAX_RANK] = {[3] = true};
  MlirContext context = n->importer->compilation->context;
  pinion_dtype dtype = node_type(n, scores).dtype;
  MlirNamedAttribute attributes[] = {make_named(context, "axis", make_i64(context, 3))};
  MlirValue softmax = emit_op(n, OP_softmax, 1, &scores, 1, attributes, NULL);
  MlirValue is_blind =
      emit_binary(n, "eq", emit_reduce(n, "max", scores, keys, true), emit_scalar(n, dtype, -INFINITY));
  return emit_select(n, is_blind, emit_scalar(n, dtype, 0), softmax);
}

static MlirValue emit_in_core_ops(import_node *n, attention *a) {
  static const int64_t permutation[] = {0, 1, 3, 2};
  MlirValue stages[4]; /* what qk_matmul_output_mode chooses from */
  int64_t mode = node_attr_int(n, "qk_matmul_output_mode", 0);
  pinion_dtype dtype = node_type(n, a->q).dtype;
  if (mode < 0 || mode > 3) node_bad(n, "qk_matmul_output_mode %lld", (long long)mode);
  if (n->result != STATUS_OK) return (MlirValue){NULL};
  if (a->is_causal)
    a->is_seen =
        both(n, a->is_seen,
             emit_binary(n, "le", counting(n, 3, a->keys, 0), counting(n, 2, a->queries, a->keys - a->queries)));
  MlirValue scaled = emit_binary(n, "mul", a->q, emit_scalar(n, dtype, a->scale));
  stages[0] = emit_matmul(n, scaled, emit_transpose(n, repeat_groups(n, a, a->k), permutation));
  stages[1] = stages[2] = emit_soft_cap(n, stages[0], node_attr_float(n, "softcap", 0));
  MlirValue bias = combined_mask(n, a);
  if (!mlirValueIsNull(bias) && node_type(n, bias).dtype == PINION_DTYPE_bool)
    stages[2] = emit_select(n, bias, stages[2], emit_scalar(n, dtype, -INFINITY));
  else if (!mlirValueIsNull(bias))
    stages[2] = emit_binary(n, "add", stages[2], emit_cast(n, bias, dtype));
  stages[3] = emit_probabilities(n, stages[2]);
  if (n->result == STATUS_OK) node_set(n, 3, stages[mode]);
  return emit_matmul(n, stages[3], repeat_groups(n, a, a->v));
}

void import_attention(import_node *n) {
  static const int64_t permutation[] = {0, 2, 1, 3};
  attention a;
  read_inputs(n, &a);
  if (n->result != STATUS_OK) return;
  read_mask(n, &a);
  read_causality(n, &a, read_valid(n, &a));
  bool is_plain = node_attr_float(n, "softcap", 0) == 0 && !node_wants_output(n, 3);
  MlirValue y = is_plain ? emit_fused(n, &a) : emit_in_core_ops(n, &a);
  if (n->result == STATUS_OK && node_input_type(n, ATTENTION_Q).rank == 3) {
    tensor_type type = node_type(n, y);
    int64_t dims[] = {a.batch, a.queries, a.heads * type.dims[3]};
    y = emit_reshape(n, emit_transpose(n, y, permutation), 3, dims);
  }
  node_set(n, 0, y);
  node_set(n, 1, a.k);
  node_set(n, 2, a.v);
}
