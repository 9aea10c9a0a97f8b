/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * The account of a model's ONNX nodes: each is in the module, or it is known how it ended. The sum is always the
 * model's node count.
 *
 * The module's own location holds it, so that dumps carry it through any list of passes:
 *
 *   loc(fused[fused<"nodes">[..all..], fused<"folded import">[..], fused<"view canonicalise">[..], ..])
 *
 * A node that the module calls a function with is none itself: the nodes of the function's body are.
 */
#ifndef PINION_IR_ACCOUNT_H
#define PINION_IR_ACCOUNT_H

#include "ir.h"

typedef enum node_fate {
  FATE_KEPT,   /* an op comes from it, says the op's location */
  FATE_FOLDED, /* it depends on constants and weights alone, and was computed */
  FATE_VIEW,   /* it computes nothing: what reads its result reads its operand, in another order or unchanged */
  FATE_DEAD,   /* nothing needs its result */
  FATE_COUNT
} node_fate;

typedef struct onnx_node {
  MlirLocation location; /* NODE@MODULE.PATH; location_op_type knows its op type */
  node_fate fate;
  const char *by; /* the pass after which it was gone, or "import"; NULL if it is kept */
} onnx_node;

typedef struct node_account {
  onnx_node *nodes; /* the arena's; in the model's order */
  int count;        /* 0: the module's text names no nodes */
} node_account;

const char *fate_name(node_fate fate); /* "kept", "folded", .. */

node_account account_read(arena *a, MlirModule module);
void account_write(compilation *c, MlirModule module, const node_account *account);

#endif
