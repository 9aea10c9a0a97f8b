/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Which nodes are gone after a pass, and how: see fates.h. */
#include "fates.h"

/* An op of a snapshot. */
struct fates_op {
  const int *nodes; /* of the account */
  int node_count;
  const int *readers; /* ops of the snapshot */
  int reader_count;
  bool lives; /* something needs it */
  bool from_weights;
  bool is_end;  /* of its function */
  bool moves;   /* computes nothing */
  bool is_read; /* after the pass: what it shows is still read, by an op that lives or through a view .. */
  bool is_view; /* .. and it may have become a view itself */
};

/* ---- Looking at a module ---- */

static bool only_moves(op_kind kind) {
  return kind == OP_reshape || kind == OP_transpose || kind == OP_broadcast || kind == OP_slice || kind == OP_concat;
}

/* The nodes that a location names. Most locations stay as they are from pass to pass, and are looked up once. */
static const fates_nodes *nodes_of(node_fates *f, MlirLocation location) {
  const int64_t known = pointer_map_get(&f->known, location.ptr);
  if (known >= 0) return &f->lists[known];
  MlirLocation *parts;
  const int count = location_parts(f->arena, location, &parts);
  fates_nodes list = {.nodes = arena_alloc(f->arena, (size_t)(count + 1) * sizeof *list.nodes)};
  for (int i = 0; i < count; i++) {
    const int64_t node = pointer_map_get(&f->index, parts[i].ptr);
    if (node >= 0) list.nodes[list.count++] = (int)node;
  }
  pointer_map_set(&f->known, location.ptr, (int64_t)f->list_count);
  f->lists = arena_grow(f->arena, f->lists, f->list_count, &f->list_capacity, sizeof list);
  f->lists[f->list_count] = list;
  return &f->lists[f->list_count++];
}

static size_t use_count(MlirValue value) {
  size_t count = 0;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
    count++;
  return count;
}

static void read_readers(arena *a, const pointer_map *positions, MlirOperation op, int first, fates_op *out) {
  size_t count = 0;
  const intptr_t results = mlirOperationGetNumResults(op);
  for (intptr_t r = 0; r < results; r++) count += use_count(mlirOperationGetResult(op, r));
  int *readers = arena_alloc(a, (count + 1) * sizeof *readers);
  for (intptr_t r = 0; r < results; r++) {
    MlirOpOperand use = mlirValueGetFirstUse(mlirOperationGetResult(op, r));
    for (; !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
      readers[out->reader_count++] = first + (int)pointer_map_get(positions, mlirOpOperandGetOwner(use).ptr);
  }
  out->readers = readers;
}

static void read_block(node_fates *f, fates_snapshot *s, MlirBlock block) {
  const op_list ops = block_ops(s->arena, block);
  const pointer_map positions = op_positions(s->arena, &ops);
  const bool *from_weights = ops_from_weights(s->arena, &ops, &positions);
  const int first = s->count;
  for (int i = 0; i < ops.count; i++) {
    const op_kind kind = op_kind_of(ops.ops[i]);
    fates_op *op = &s->ops[s->count++];
    *op = (fates_op){.from_weights = from_weights[i], .moves = only_moves(kind), .is_end = i == ops.count - 1};
    op->lives = op->is_end || kind == OP_launch;
    const fates_nodes *list = nodes_of(f, mlirOperationGetLocation(ops.ops[i]));
    op->nodes = list->nodes;
    op->node_count = list->count;
    read_readers(s->arena, &positions, ops.ops[i], first, op);
  }
  for (int i = s->count - 1; i >= first; i--) /* readers stand behind what they read */
    for (int k = 0; k < s->ops[i].reader_count; k++) s->ops[i].lives |= s->ops[s->ops[i].readers[k]].lives;
}

static fates_snapshot look(node_fates *f, MlirModule module) {
  fates_snapshot s = {.arena = arena_create()};
  const op_list functions = module_functions(s.arena, module);
  int count = 0;
  for (int i = 0; i < functions.count; i++) count += block_op_count(function_body(functions.ops[i]));
  s.ops = arena_alloc(s.arena, (size_t)(count + 1) * sizeof *s.ops);
  for (int i = 0; i < functions.count; i++) read_block(f, &s, function_body(functions.ops[i]));
  return s;
}

static bool *living_nodes(const node_fates *f, const fates_snapshot *s) {
  bool *lives = arena_alloc(s->arena, (size_t)f->account.count + 1);
  for (int i = 0; i < s->count; i++)
    for (int k = 0; s->ops[i].lives && k < s->ops[i].node_count; k++) lives[s->ops[i].nodes[k]] = true;
  return lives;
}

/* ---- What became of them ---- */

static bool any_lives(const fates_op *op, const bool *lives) {
  for (int k = 0; k < op->node_count; k++)
    if (lives[op->nodes[k]]) return true;
  return false;
}

/* Backwards: whether a view is read depends on its readers. */
static void find_views(const fates_snapshot *before, const bool *lives, const pass_info *pass) {
  const bool removes = pass->run == pass_eliminate_dead, simplifies = pass->run == pass_canonicalise;
  for (int i = before->count - 1; i >= 0; i--) {
    fates_op *op = &before->ops[i];
    const bool may_be_view = !removes && (op->moves || simplifies || op->node_count == 0);
    for (int k = 0; may_be_view && k < op->reader_count; k++) op->is_view |= before->ops[op->readers[k]].is_read;
    op->is_read = op->is_view || op->is_end || any_lives(op, lives);
  }
}

/* A node's fate by all of its ops that lived. */
static void settle(node_fates *f, const bool *lives, const char *pass) {
  const fates_snapshot *before = &f->before;
  bool *computed = arena_alloc(before->arena, (size_t)f->account.count + 1), *viewed, *lived;
  viewed = arena_alloc(before->arena, (size_t)f->account.count + 1);
  lived = arena_alloc(before->arena, (size_t)f->account.count + 1);
  for (int i = 0; i < before->count; i++) {
    const fates_op *op = &before->ops[i];
    for (int k = 0; op->lives && k < op->node_count; k++) {
      lived[op->nodes[k]] = true;
      computed[op->nodes[k]] |= !op->from_weights;
      viewed[op->nodes[k]] |= op->is_view;
    }
  }
  for (int n = 0; n < f->account.count; n++) {
    onnx_node *node = &f->account.nodes[n];
    if (lives[n]) { /* an equal op that lives may have taken it over */
      *node = (onnx_node){.location = node->location, .fate = FATE_KEPT};
    } else if (lived[n]) {
      node->fate = !computed[n] ? FATE_FOLDED : viewed[n] ? FATE_VIEW : FATE_DEAD;
      node->by = pass;
    }
  }
}

/* Nodes that are said to be kept, but have no living op: shapes that importers read, nodes that pass on their input. */
static bool settle_imported(node_fates *f, const fates_snapshot *now) {
  const bool *lives = living_nodes(f, now);
  bool *has_op = arena_alloc(now->arena, (size_t)f->account.count + 1), changed = false;
  bool *computed = arena_alloc(now->arena, (size_t)f->account.count + 1);
  for (int i = 0; i < now->count; i++)
    for (int k = 0; k < now->ops[i].node_count; k++) {
      has_op[now->ops[i].nodes[k]] = true;
      computed[now->ops[i].nodes[k]] |= !now->ops[i].from_weights;
    }
  for (int n = 0; n < f->account.count; n++) {
    onnx_node *node = &f->account.nodes[n];
    if (node->fate != FATE_KEPT || lives[n]) continue;
    node->fate = !has_op[n] ? FATE_VIEW : computed[n] ? FATE_DEAD : FATE_FOLDED;
    node->by = "import";
    changed = true;
  }
  return changed;
}

/* ---- Over a pipeline ---- */

node_fates fates_begin(compilation *c, MlirModule module) {
  node_fates f = {.compilation = c, .arena = arena_create()};
  f.account = account_read(f.arena, module);
  if (f.account.count == 0) return f;
  f.index = pointer_map_create(f.arena);
  for (int i = 0; i < f.account.count; i++) pointer_map_set(&f.index, f.account.nodes[i].location.ptr, i);
  f.known = pointer_map_create(f.arena);
  f.before = look(&f, module);
  f.is_news = settle_imported(&f, &f.before);
  return f;
}

void fates_update(node_fates *f, MlirModule module, const pass_info *pass) {
  if (f->account.count == 0) return;
  fates_snapshot now = look(f, module);
  const bool *lives = living_nodes(f, &now);
  bool changed = false;
  for (int n = 0; n < f->account.count; n++) changed |= lives[n] != (f->account.nodes[n].fate == FATE_KEPT);
  if (changed) {
    find_views(&f->before, lives, pass);
    settle(f, lives, pass->name);
    f->is_news = true;
  }
  arena_destroy(f->before.arena);
  f->before = now;
}

void fates_write(node_fates *f, MlirModule module) {
  if (f->is_news) account_write(f->compilation, module, &f->account);
  f->is_news = false;
}

void fates_end(node_fates *f) {
  arena_destroy(f->before.arena);
  arena_destroy(f->arena);
}
