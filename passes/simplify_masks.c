/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * simplify-masks: an attention's mask of [Q, K] becomes what it says: which keys are valid, and how many of them each
 * block of queries sees.
 *
 *   attention(q, k, v, select(valid[:, None] & valid[None, :] & block(k) <= block(q), 0, -2.4e38))
 *     ->  attention(q, k, v, valid) {limits = [..]}
 *
 * Requires: recognise-attention. Produces: `limits`, or `causal`, of pinion.attention, and for its mask a bool vector
 * [B or 1, 1, 1, K] from values that are there, carried across functions; a mask that hides nothing vanishes. Breaks:
 * what stands in rows that no output sees, whatever they held.
 *
 * It fires when it is proved. The mask is evaluated over constants and truths, the elements of bool tensors that are
 * known in a run alone: each query must see each key either never, or where the same truths hold as for every other
 * query that sees it at all. What a query's own row asks beyond that (that the query be valid) goes when no output
 * needs the row where it does not hold. Keys that are hidden by a finite number make a query that sees nothing see all
 * keys alike: it must be proved that a query whose row is needed sees one.
 */
#include "demand.h"

#include <string.h>

enum { MAXIMUM_LIMITS = 5 };

/* A vector of valid keys that was built. */
typedef struct built_vector {
  MlirOperation function;
  int64_t batches, keys;
  const condition *valid;
  MlirValue value;
} built_vector;

typedef struct masks {
  pass_context *context;
  compilation *compilation; /* the context's */
  arena *arena;
  call_graph calls;
  mask_values values;
  demand_analysis proofs;
  built_vector *vectors;
  size_t vector_count, vector_capacity;
} masks;

/* What a mask says. */
typedef struct mask_form {
  int64_t batches, queries, keys;
  condition *valid; /* [batches, keys] */
  bool *is_known;   /* the same: some query sees the key */
  int64_t *visible; /* per query: it sees no key from here on; -1: nothing needs its row */
  int64_t limits[MAXIMUM_LIMITS];
  int limit_count; /* 0: every query sees every key that is valid */
  bool causal;
} mask_form;

/* ---- What the mask says ---- */

/* The place of one query's row among the mask's and the result's. */
typedef struct query_row {
  int64_t batch, head, query; /* of the mask */
  condition needed;
} query_row;

/* What this row asks of the keys that it sees, beyond what is so wherever it is needed. NULL, or why the mask cannot be
   reduced. */
static const char *read_row(const attention_sight *s, const query_row *row, mask_form *form, int64_t batch) {
  int64_t visible = 0;
  for (int64_t key = 0; key < s->keys; key++) {
    if (!sight_is_exact(s, row->batch, row->head, row->query, key)) return "it does more than show a key or hide it";
    const condition seen = sight_possible(s, row->batch, row->head, row->query, key);
    if (seen == CONDITION_NEVER) continue;
    condition *valid = &form->valid[batch * s->keys + key];
    bool exact = true;
    *valid = condition_both(*valid, condition_given(seen, row->needed), &exact);
    if (!exact) return "a key is seen by too many bool inputs at once";
    form->is_known[batch * s->keys + key] = true;
    visible = key + 1;
  }
  if (visible > form->visible[row->query]) form->visible[row->query] = visible;
  return NULL;
}

/* Whether the row sees the valid keys below its limit, and no other. */
static const char *check_row(const attention_sight *s, const query_row *row, mask_form *form, int64_t batch) {
  for (int64_t key = 0; key < form->visible[row->query]; key++) {
    if (!form->is_known[batch * s->keys + key]) continue;
    const condition seen = sight_possible(s, row->batch, row->head, row->query, key);
    const condition valid = form->valid[batch * s->keys + key];
    if (seen == CONDITION_NEVER) return "a query sees other keys than the first ones";
    if (condition_given(seen, row->needed) != condition_given(valid, row->needed))
      return "when a key is seen depends on the query";
  }
  return NULL;
}

typedef const char *row_visitor(const attention_sight *s, const query_row *row, mask_form *form, int64_t batch);

/* Visits the rows that an output may need, until one speaks against it. */
static const char *each_row(const attention_sight *s, const demand *needed, mask_form *form, row_visitor *visit) {
  const int64_t heads = needed->dims[1] > s->heads ? needed->dims[1] : s->heads;
  const char *why = NULL;
  for (int64_t b = 0; b < form->batches && !why; b++)
    for (int64_t h = 0; h < heads && !why; h++)
      for (int64_t q = 0; q < s->queries && !why; q++) {
        const int64_t index[4] = {b, h, q, 0};
        const query_row row = {s->batches > 1 ? b : 0, s->heads > 1 ? h : 0, q, demand_at(needed, index)};
        if (row.needed != CONDITION_NEVER) why = visit(s, &row, form, b);
      }
  return why;
}

/* A key that no query sees is not valid; beyond all limits it does not matter. */
static void settle_unseen_keys(mask_form *form) {
  int64_t end = 0;
  for (int64_t q = 0; q < form->queries; q++) end = form->visible[q] > end ? form->visible[q] : end;
  for (int64_t i = 0; i < form->batches * form->keys; i++)
    if (!form->is_known[i] && i % form->keys < end) form->valid[i] = CONDITION_NEVER;
}

/* Limits that never fall, from the rows'; or causality. */
static const char *find_limits(mask_form *form) {
  int64_t last = -1;
  bool causal = true;
  int changes = 0;
  for (int64_t q = 0; q < form->queries; q++) {
    if (form->visible[q] < 0) continue;
    causal &= form->visible[q] == q + 1 + form->keys - form->queries;
    if (form->visible[q] == last) continue;
    if (form->visible[q] < last) return "a query sees fewer keys than one before it";
    if (last < 0 && form->visible[q] == 0) return "the first query sees no key";
    if (changes < 3) {
      if (changes > 0) form->limits[2 * changes - 1] = q;
      form->limits[2 * changes] = form->visible[q];
    }
    last = form->visible[q];
    changes++;
  }
  if (changes > 3 && !causal) return "it has more than three blocks of queries";
  form->causal = causal && changes > 1;
  form->limit_count = form->causal || (changes == 1 && last == form->keys) ? 0 : 2 * changes - 1;
  return changes == 0 ? "nothing needs its rows" : NULL;
}

static bool every_row_sees(const attention_sight *s) {
  for (int64_t b = 0; b < s->batches; b++)
    for (int64_t h = 0; h < s->heads; h++)
      for (int64_t q = 0; q < s->queries; q++)
        if (!sight_sees_a_key(s, b, h, q, CONDITION_ALWAYS)) return false;
  return true;
}

/* The form for the rows that may be needed. */
static const char *find_form(const masks *p, const attention_sight *s, const demand *needed, mask_form *form) {
  *form = (mask_form){.queries = s->queries, .keys = s->keys};
  form->batches = needed->dims[0] > s->batches ? needed->dims[0] : s->batches;
  form->valid = arena_alloc(p->arena, (size_t)(form->batches * s->keys + 1) * sizeof *form->valid); /* zero: ALWAYS */
  form->is_known = arena_alloc(p->arena, (size_t)(form->batches * s->keys) + 1);
  form->visible = arena_alloc(p->arena, (size_t)(s->queries + 1) * sizeof *form->visible);
  for (int64_t q = 0; q < s->queries; q++) form->visible[q] = -1;
  const char *why = each_row(s, needed, form, read_row);
  if (!why) why = each_row(s, needed, form, check_row);
  settle_unseen_keys(form);
  return why ? why : find_limits(form);
}

/* A form that says the same for every row, if there is one: then no tensor changes. */
static const char *find_best_form(const masks *p, MlirOperation op, const attention_sight *s, mask_form *form) {
  const demand needed = demand_map_get(&p->proofs.needed, mlirOperationGetResult(op, 0)),
               every_row = demand_everything(p->arena, needed.rank);
  if (demand_is_empty(&needed)) return "nothing needs what it computes";
  if (!s->elements) return "it is not made of bool inputs and constants alone";
  if (pointer_map_get(p->proofs.rules.doubtful, op.ptr) >= 0) return "a query may see no key, and then sees all alike";
  const bool sees_always = !sight_needs_a_key(s) || every_row_sees(s);
  if (sees_always && !find_form(p, s, &every_row, form)) return NULL;
  return find_form(p, s, &needed, form);
}

static bool all_valid(const mask_form *form) {
  for (int64_t i = 0; i < form->batches * form->keys; i++)
    if (form->valid[i] != CONDITION_ALWAYS) return false;
  return true;
}

/* ---- The vector of valid keys ---- */

/* Keys from `start` on: `count` elements of each batch of a bool tensor, or (repeated) one of them for all, or (no
   source) all valid or all not. */
typedef struct vector_piece {
  const mask_tensor *source;
  int64_t first, start, count;
  bool repeated, valid;
} vector_piece;

typedef struct vector_plan {
  const mask_form *form;
  MlirOperation home;   /* the function in which it is built */
  MlirOperation before; /* in front of this op */
  vector_piece *pieces;
  size_t count, capacity;
} vector_plan;

static bool is_truth_of(const masks *p, const mask_form *form, MlirValue value) {
  for (int64_t i = 0; i < form->batches * form->keys; i++) {
    int truths[CONDITION_MAXIMUM_TRUTHS];
    const int count = condition_truths(form->valid[i], truths);
    for (int t = 0; t < count; t++)
      if (mlirValueEqual(p->values.truths[truths[t]].value, value)) return true;
  }
  return false;
}

/* Whether a tensor of truth values, no larger than the vector, can be read where that is built: it stands there before,
   or is one of those that its truths are of, which the mask was made of there. */
static bool is_source(const masks *p, const vector_plan *plan, const mask_tensor *tensor) {
  if (!tensor->elements || tensor->type.dtype != PINION_DTYPE_bool) return false;
  if (type_elements(&tensor->type) > plan->form->batches * plan->form->keys) return false;
  if (plan->form->batches > 1 && (tensor->type.rank < 1 || tensor->type.dims[0] != plan->form->batches)) return false;
  if (!mlirOperationEqual(value_function(tensor->value), plan->home)) return is_truth_of(p, plan->form, tensor->value);
  return !mlirValueIsAOpResult(tensor->value) ||
         mlirOperationIsBeforeInBlock(mlirOpResultGetOwner(tensor->value), plan->before);
}

static int64_t elements_per_batch(const mask_form *form, const mask_tensor *source) {
  return type_elements(&source->type) / form->batches;
}

static bool element_is(const mask_form *form, const mask_tensor *source, int64_t element, int64_t key) {
  const int64_t width = elements_per_batch(form, source);
  for (int64_t b = 0; b < form->batches; b++) {
    const mask_element *e = &source->elements[b * width + element];
    const condition when = e->when == CONDITION_ALWAYS && e->then == 0 ? CONDITION_NEVER : e->when;
    const bool is_truth =
        e->when == CONDITION_ALWAYS || (e->when != CONDITION_NEVER && e->then != 0 && e->otherwise == 0);
    if (!is_truth || when != form->valid[b * form->keys + key]) return false;
  }
  return true;
}

static bool keys_alike(const mask_form *form, int64_t x, int64_t y) {
  for (int64_t b = 0; b < form->batches; b++)
    if (form->valid[b * form->keys + x] != form->valid[b * form->keys + y]) return false;
  return true;
}

static bool key_is(const mask_form *form, int64_t key, condition valid) {
  for (int64_t b = 0; b < form->batches; b++)
    if (form->valid[b * form->keys + key] != valid) return false;
  return true;
}

/* The longest piece that the source has for the keys from `start` on, if longer than *best (or as long, of a smaller
   source). */
static void improve_piece(const mask_form *form, const mask_tensor *source, int64_t alike, vector_piece *best) {
  const int64_t width = elements_per_batch(form, source);
  for (int64_t first = 0; first < width; first++) {
    int64_t count = 0;
    while (first + count < width && best->start + count < form->keys &&
           element_is(form, source, first + count, best->start + count))
      count++;
    const bool repeated = count > 0 && count < alike;
    const int64_t length = repeated ? alike : count;
    const bool smaller = length == best->count && best->source && width < elements_per_batch(form, best->source);
    if (length > best->count || (length > 0 && smaller))
      *best = (vector_piece){source, first, best->start, length, repeated, false};
  }
}

static const char *plan_vector(const masks *p, vector_plan *plan) {
  const mask_form *form = plan->form;
  for (int64_t start = 0; start < form->keys;) {
    int64_t alike = 1;
    while (start + alike < form->keys && keys_alike(form, start, start + alike)) alike++;
    const bool valid = key_is(form, start, CONDITION_ALWAYS), constant = valid || key_is(form, start, CONDITION_NEVER);
    vector_piece best = {.start = start, .count = constant ? alike : 0, .valid = valid};
    for (size_t i = 0; i < p->values.count; i++)
      if (is_source(p, plan, &p->values.tensors[i])) improve_piece(form, &p->values.tensors[i], alike, &best);
    if (best.count == 0) return "no value of the graph says which keys are valid";
    plan->pieces = arena_grow(p->arena, plan->pieces, plan->count, &plan->capacity, sizeof best);
    plan->pieces[plan->count++] = best;
    start += best.count;
  }
  return NULL;
}

/* [batches, count] */
static MlirValue build_piece(masks *p, builder *b, const vector_plan *plan, const vector_piece *piece) {
  const int64_t batches = plan->form->batches, dims[2] = {batches, piece->count};
  if (!piece->source) {
    const tensor_type type = {.dtype = PINION_DTYPE_bool, .rank = 2, .dims = {batches, piece->count}};
    uint8_t *valid = arena_alloc(p->arena, (size_t)type_elements(&type));
    memset(valid, piece->valid, (size_t)type_elements(&type));
    return build_constant(b, &type, valid);
  }
  const int64_t width = elements_per_batch(plan->form, piece->source), count = piece->repeated ? 1 : piece->count;
  const int64_t whole[2] = {batches, width}, starts[2] = {0, piece->first}, steps[2] = {1, 1};
  const int64_t part[2] = {batches, count};
  MlirValue value = value_carry(&p->calls, piece->source->value, plan->home);
  tensor_type type = {0};
  value_type(value, &type);
  if (type.rank != 2 || type.dims[0] != batches) value = build_reshape(b, value, 2, whole);
  if (count < width) value = build_slice(b, value, starts, part, steps);
  return piece->repeated ? build_broadcast(b, value, 2, dims) : value;
}

/* [batches, 1, 1, keys] */
static MlirValue build_vector(masks *p, const vector_plan *plan, MlirLocation location) {
  builder b = builder_before(p->compilation, plan->before);
  b.location = location;
  MlirValue *pieces = arena_alloc(p->arena, (plan->count + 1) * sizeof *pieces);
  for (size_t i = 0; i < plan->count; i++) {
    pieces[i] = build_piece(p, &b, plan, &plan->pieces[i]);
    if (mlirValueIsNull(pieces[i])) return pieces[i];
  }
  MlirValue all = plan->count == 1 ? pieces[0] : build_concat(&b, (int)plan->count, pieces, 1);
  const int64_t dims[4] = {plan->form->batches, 1, 1, plan->form->keys};
  return mlirValueIsNull(all) ? all : build_reshape(&b, all, 4, dims);
}

/* Where the mask is made, the vector is: what it is made of is there. */
static const char *find_home(const masks *p, MlirOperation attention, vector_plan *plan) {
  MlirOperation function = value_function(mlirOperationGetResult(attention, 0));
  plan->home = value_function(value_origin(&p->calls, op_operand(attention, "mask")));
  plan->before = attention;
  if (mlirOperationEqual(plan->home, function)) return NULL;
  if (!call_graph_runs_once(&p->calls, plan->home)) return "it is made in a function that runs several times";
  plan->before = call_graph_call_towards(&p->calls, plan->home, function);
  if (mlirOperationIsNull(plan->before)) plan->before = block_terminator(function_body(plan->home));
  return NULL;
}

static MlirValue find_vector(const masks *p, MlirOperation function, const mask_form *form) {
  for (size_t i = 0; i < p->vector_count; i++) {
    const built_vector *v = &p->vectors[i];
    if (mlirOperationEqual(v->function, function) && v->batches == form->batches && v->keys == form->keys &&
        memcmp(v->valid, form->valid, (size_t)(form->batches * form->keys) * sizeof *form->valid) == 0)
      return v->value;
  }
  return (MlirValue){0};
}

static void remember_vector(masks *p, MlirOperation function, const mask_form *form, MlirValue value) {
  p->vectors = arena_grow(p->arena, p->vectors, p->vector_count, &p->vector_capacity, sizeof *p->vectors);
  p->vectors[p->vector_count++] = (built_vector){function, form->batches, form->keys, form->valid, value};
}

/* ---- The attention ---- */

/* The mask is the vector that would be made, and the limits are there. */
static bool is_simple(MlirOperation op, const mask_form *form) {
  tensor_type type = {0};
  int64_t limits[MAXIMUM_LIMITS];
  value_type(op_operand(op, "mask"), &type);
  const bool is_vector = type.dtype == PINION_DTYPE_bool && type_elements(&type) == form->batches * form->keys;
  const int count = attr_i64s(op, "limits", limits, MAXIMUM_LIMITS);
  return is_vector && count == form->limit_count && attr_bool(op, "causal", false) == form->causal &&
         memcmp(limits, form->limits, (size_t)count * sizeof *limits) == 0;
}

static status rebuild_attention(masks *p, MlirOperation op, const mask_form *form, MlirValue valid) {
  MlirContext mlir = p->compilation->context;
  builder b = builder_before(p->compilation, op);
  MlirValue operands[4] = {mlirOperationGetOperand(op, 0), mlirOperationGetOperand(op, 1),
                           mlirOperationGetOperand(op, 2), valid};
  const MlirNamedAttribute attributes[] = {
      make_named(mlir, "scale", make_f64(mlir, attr_f64(op, "scale", 1))),
      make_named(mlir, "causal", make_bool(mlir, form->causal)),
      make_named(mlir, "limits", make_i64s(mlir, form->limit_count, form->limits)),
  };
  MlirType type = mlirValueGetType(mlirOperationGetResult(op, 0));
  MlirOperation built = build_op(&b, OP_attention, 4, operands, form->limit_count ? 3 : 2, attributes, 1, &type);
  if (mlirOperationIsNull(built)) return STATUS_FAILED;
  op_copy_identity(op, built);
  value_replace(mlirOperationGetResult(op, 0), mlirOperationGetResult(built, 0));
  p->context->changes++;
  return STATUS_OK;
}

static status simplify(masks *p, MlirOperation op, const mask_form *form, const vector_plan *plan) {
  if (!pass_may_rewrite(p->context, mlirOperationGetLocation(op))) return STATUS_OK;
  MlirOperation function = value_function(mlirOperationGetResult(op, 0));
  MlirValue valid = {0};
  if (!all_valid(form)) {
    valid = find_vector(p, function, form);
    if (mlirValueIsNull(valid)) {
      valid = build_vector(p, plan, mlirOperationGetLocation(op));
      if (!mlirValueIsNull(valid)) valid = value_carry(&p->calls, valid, function);
      if (mlirValueIsNull(valid)) return STATUS_FAILED;
      remember_vector(p, function, form, valid);
    }
  }
  return rebuild_attention(p, op, form, valid);
}

static status visit(masks *p, MlirOperation op) {
  const attention_sight sight = attention_sight_read(&p->values, op);
  mask_form form = {0};
  vector_plan plan = {.form = &form};
  const char *why = find_best_form(p, op, &sight, &form);
  if (!why && !all_valid(&form)) {
    if (is_simple(op, &form)) return STATUS_OK;
    why = find_home(p, op, &plan);
    if (!why) why = plan_vector(p, &plan);
  }
  if (!why) return simplify(p, op, &form, &plan);
  pass_missed(p->context, mlirOperationGetLocation(op), "its mask stays as it is: %s", why);
  return STATUS_OK;
}

/* Every attention with a mask that runs with the model. */
static op_list find_masked(arena *a, const op_list *functions) {
  op_list masked = {0};
  size_t capacity = 0;
  for (int f = 0; f < functions->count; f++) {
    if (attr_str_is(functions->ops[f], "sym_name", "weights")) continue;
    op_list ops = block_ops(a, function_body(functions->ops[f]));
    for (int i = 0; i < ops.count; i++) {
      if (op_kind_of(ops.ops[i]) != OP_attention || mlirValueIsNull(op_operand(ops.ops[i], "mask"))) continue;
      masked.ops = arena_grow(a, masked.ops, (size_t)masked.count, &capacity, sizeof *masked.ops);
      masked.ops[masked.count++] = ops.ops[i];
    }
  }
  return masked;
}

status pass_simplify_masks(pass_context *context, MlirModule module) {
  masks p = {.context = context, .compilation = context->compilation, .arena = arena_create()};
  op_list functions = module_functions(p.arena, module), masked = find_masked(p.arena, &functions);
  status code = STATUS_OK;
  if (masked.count > 0) {
    p.calls = call_graph_read(p.compilation, p.arena, module);
    p.values = mask_values_create(&p.calls);
    p.proofs = demand_analyse(&p.values, module);
  }
  for (int i = 0; i < masked.count && code == STATUS_OK; i++) code = visit(&p, masked.ops[i]);
  for (int f = 0; f < functions.count && context->changes > 0; f++) block_erase_dead(function_body(functions.ops[f]));
  arena_destroy(p.arena);
  return code;
}
