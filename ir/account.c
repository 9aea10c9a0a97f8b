/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The account of ONNX nodes, to and from the module's location. */
#include "account.h"

#include <string.h>

static const char *const fate_names[FATE_COUNT] = {"kept", "folded", "view", "dead"};
static const char all_nodes[] = "nodes";

const char *fate_name(node_fate fate) {
  return fate_names[fate];
}

/* ---- Writing ---- */

/* The nodes of one fate and pass, the first of which is `first`, as one location. */
static MlirLocation group_location(compilation *c, arena *a, const node_account *account, int first, bool *grouped) {
  const onnx_node *like = &account->nodes[first];
  MlirLocation *members = arena_alloc(a, (size_t)account->count * sizeof *members);
  int count = 0;
  for (int i = first; i < account->count; i++) {
    const onnx_node *node = &account->nodes[i];
    if (node->fate != like->fate || strcmp(node->by, like->by) != 0) continue;
    grouped[i] = true;
    members[count++] = node->location;
  }
  const char *label = arena_format(a, "%s %s", fate_names[like->fate], like->by);
  return mlirLocationFusedGet(c->context, count, members, make_str(c->context, label));
}

void account_write(compilation *c, MlirModule module, const node_account *account) {
  arena *a = arena_create();
  bool *grouped = arena_alloc(a, (size_t)account->count + 1);
  MlirLocation *groups = arena_alloc(a, (size_t)(account->count + 1) * sizeof *groups);
  MlirLocation *nodes = arena_alloc(a, (size_t)(account->count + 1) * sizeof *nodes);
  int count = 1;
  for (int i = 0; i < account->count; i++) nodes[i] = account->nodes[i].location;
  groups[0] = mlirLocationFusedGet(c->context, account->count, nodes, make_str(c->context, all_nodes));
  for (int i = 0; i < account->count; i++)
    if (account->nodes[i].fate != FATE_KEPT && !grouped[i]) groups[count++] = group_location(c, a, account, i, grouped);
  mlirOperationSetLocation(mlirModuleGetOperation(module),
                           mlirLocationFusedGet(c->context, count, groups, (MlirAttribute){0}));
  arena_destroy(a);
}

/* ---- Reading ---- */

static intptr_t fused_parts(arena *a, MlirLocation location, MlirLocation **out_parts) {
  const intptr_t count = mlirLocationFusedGetNumLocations(location);
  *out_parts = arena_alloc(a, (size_t)(count + 1) * sizeof **out_parts);
  mlirLocationFusedGetLocations(location, *out_parts);
  return count;
}

/* What a group is; empty if the location is none. */
static const char *group_label(arena *a, MlirLocation location) {
  if (!mlirLocationIsAFused(location)) return "";
  const MlirAttribute label = mlirLocationFusedGetMetadata(location);
  if (mlirAttributeIsNull(label) || !mlirAttributeIsAString(label)) return "";
  const MlirStringRef string = mlirStringAttrGetValue(label);
  return arena_string(a, string.data, string.length);
}

static void read_nodes(arena *a, MlirLocation group, node_account *account) {
  MlirLocation *parts;
  account->count = location_parts(a, group, &parts);
  account->nodes = arena_alloc(a, (size_t)(account->count + 1) * sizeof *account->nodes);
  for (int i = 0; i < account->count; i++) account->nodes[i].location = parts[i];
}

/* A group lists its nodes in the order of all: one walk along both. */
static void read_fates(arena *a, MlirLocation group, const char *label, node_account *account) {
  const char *space = strchr(label, ' ');
  node_fate fate = FATE_KEPT;
  for (int i = 1; space && i < FATE_COUNT; i++)
    if (strncmp(label, fate_names[i], (size_t)(space - label)) == 0) fate = (node_fate)i;
  MlirLocation *parts;
  const int count = fate == FATE_KEPT ? 0 : location_parts(a, group, &parts);
  for (int i = 0, at = 0; at < count && i < account->count; i++) {
    if (!mlirLocationEqual(account->nodes[i].location, parts[at])) continue;
    account->nodes[i].fate = fate;
    account->nodes[i].by = space + 1;
    at++;
  }
}

node_account account_read(arena *a, MlirModule module) {
  const MlirLocation location = mlirOperationGetLocation(mlirModuleGetOperation(module));
  node_account account = {0};
  MlirLocation only = location, *groups = &only;
  intptr_t count = 1;
  if (mlirLocationIsAFused(location) && !*group_label(a, location)) count = fused_parts(a, location, &groups);
  for (intptr_t i = 0; i < count; i++)
    if (strcmp(group_label(a, groups[i]), all_nodes) == 0) read_nodes(a, groups[i], &account);
  for (intptr_t i = 0; i < count; i++) read_fates(a, groups[i], group_label(a, groups[i]), &account);
  return account;
}
