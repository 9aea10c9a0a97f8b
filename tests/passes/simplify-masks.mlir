// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=simplify-masks %t/blocks.mlir | FileCheck %t/blocks.mlir
// RUN: pinion opt --passes=simplify-masks %t/padded_queries.mlir | FileCheck %t/padded_queries.mlir
// RUN: pinion opt --passes=simplify-masks %t/functions.mlir | FileCheck %t/functions.mlir
// RUN: pinion opt --passes=simplify-masks %t/arithmetic.mlir | FileCheck %t/arithmetic.mlir
// RUN: pinion opt --passes=simplify-masks %t/constant.mlir | FileCheck %t/constant.mlir
// RUN: pinion opt --passes=simplify-masks %t/shared.mlir | FileCheck %t/shared.mlir
// RUN: pinion opt --passes=simplify-masks,simplify-masks %t/blocks.mlir | FileCheck %t/blocks.mlir
// RUN: pinion opt --passes=simplify-masks --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- blocks.mlir
// Two rows of a batch; two cached keys that a run shows or hides, then blocks of one query and of two: every row sees
// itself, so none needs a proof that nothing sees it.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[Q:.*]]: tensor<2x2x3x4xf32>{{.*}}, %[[K:.*]]: tensor<2x1x5x4xf32>{{.*}}, %[[OK:.*]]: tensor<2x2xi1>
// CHECK-NEXT: %[[OWN:.*]] = "pinion.constant"() {value = dense<true> : tensor<2x3xi1>}
// CHECK-NEXT: %[[VALID:.*]] = "pinion.concat"(%[[OK]], %[[OWN]]) {axis = 1 : i64}
// CHECK-NEXT: %[[KEYS:.*]] = "pinion.reshape"(%[[VALID]]) : (tensor<2x5xi1>) -> tensor<2x1x1x5xi1>
// CHECK-NEXT: %[[Y:.*]] = "pinion.attention"(%[[Q]], %[[K]], %[[K]], %[[KEYS]]) {causal = false, limits = array<i64: 3, 1, 5>, onnx = "y", scale = 5.000000e-01 : f64}
// CHECK-NEXT: return %[[Y]]
func.func @main(%q: tensor<2x2x3x4xf32>, %k: tensor<2x1x5x4xf32>, %ok: tensor<2x2xi1>) -> tensor<2x2x3x4xf32> {
  %cached = "pinion.reshape"(%ok) : (tensor<2x2xi1>) -> tensor<2x1x2xi1>
  %rows = "pinion.broadcast"(%cached) : (tensor<2x1x2xi1>) -> tensor<2x3x2xi1>
  %block = "pinion.constant"() {value = dense<[[[true, false, false], [true, true, true], [true, true, true]], [[true, false, false], [true, true, true], [true, true, true]]]> : tensor<2x3x3xi1>} : () -> tensor<2x3x3xi1>
  %all = "pinion.concat"(%rows, %block) {axis = 2 : i64} : (tensor<2x3x2xi1>, tensor<2x3x3xi1>) -> tensor<2x3x5xi1>
  %shows = "pinion.reshape"(%all) : (tensor<2x3x5xi1>) -> tensor<2x1x3x5xi1>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = "pinion.constant"() {value = dense<-2.38197633E+38> : tensor<f32>} : () -> tensor<f32>
  %mask = "pinion.select"(%shows, %zero, %low) : (tensor<2x1x3x5xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x3x5xf32>
  %y = "pinion.attention"(%q, %k, %k, %mask) {scale = 0.5 : f64, causal = false, onnx = "y"} : (tensor<2x2x3x4xf32>, tensor<2x1x5x4xf32>, tensor<2x1x5x4xf32>, tensor<2x1x3x5xf32>) -> tensor<2x2x3x4xf32>
  return %y : tensor<2x2x3x4xf32>
}

//--- padded_queries.mlir
// A padded query's row asks that the query be valid. It may be dropped: what the row yields is a key that is hidden
// where it is padded. Keys one camera shows are valid together, and the query's own camera asks nothing more of them.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:.*]]: tensor<1x2x4x4xf32>{{.*}}, %[[Q:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[C:.*]]: tensor<1xi1>{{.*}}, %[[T:.*]]: tensor<1x2xi1>
// CHECK-NEXT: %[[CAMERA:.*]] = "pinion.broadcast"(%[[C]]) : (tensor<1xi1>) -> tensor<1x2xi1>
// CHECK-NEXT: %[[VALID:.*]] = "pinion.concat"(%[[CAMERA]], %[[T]]) {axis = 1 : i64}
// CHECK-NEXT: %[[KEYS:.*]] = "pinion.reshape"(%[[VALID]]) : (tensor<1x4xi1>) -> tensor<1x1x1x4xi1>
// CHECK-NEXT: %[[A:.*]] = "pinion.attention"(%[[X]], %[[X]], %[[X]], %[[KEYS]]) {causal = false, scale
// CHECK: %[[K:.*]] = "pinion.binary"(%[[A]], %[[X]]) {kind = "add"}
// CHECK: %[[Y:.*]] = "pinion.attention"(%[[Q]], %[[K]], %[[K]], %{{.*}}) {causal = false, scale
func.func @main(%x: tensor<1x2x4x4xf32>, %q: tensor<1x2x3x4xf32>, %c: tensor<1xi1>, %t: tensor<1x2xi1>) -> tensor<1x2x3x4xf32> {
  %camera = "pinion.broadcast"(%c) : (tensor<1xi1>) -> tensor<1x2xi1>
  %valid = "pinion.concat"(%camera, %t) {axis = 1 : i64} : (tensor<1x2xi1>, tensor<1x2xi1>) -> tensor<1x4xi1>
  %of_query = "pinion.reshape"(%valid) : (tensor<1x4xi1>) -> tensor<1x4x1xi1>
  %both = "pinion.binary"(%valid, %of_query) {kind = "and"} : (tensor<1x4xi1>, tensor<1x4x1xi1>) -> tensor<1x4x4xi1>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = "pinion.constant"() {value = dense<-2.38197633E+38> : tensor<f32>} : () -> tensor<f32>
  %mask = "pinion.select"(%both, %zero, %low) : (tensor<1x4x4xi1>, tensor<f32>, tensor<f32>) -> tensor<1x4x4xf32>
  %a = "pinion.attention"(%x, %x, %x, %mask) {scale = 0.5 : f64, causal = false} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x4x4xf32>) -> tensor<1x2x4x4xf32>
  %k = "pinion.binary"(%a, %x) {kind = "add"} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %no = "pinion.constant"() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %hides = "pinion.select"(%valid, %zero, %no) : (tensor<1x4xi1>, tensor<f32>, tensor<f32>) -> tensor<1x4xf32>
  %rows = "pinion.reshape"(%hides) : (tensor<1x4xf32>) -> tensor<1x1x1x4xf32>
  %spread = "pinion.broadcast"(%rows) : (tensor<1x1x1x4xf32>) -> tensor<1x2x3x4xf32>
  %y = "pinion.attention"(%q, %k, %k, %spread) {scale = 0.5 : f64, causal = false} : (tensor<1x2x3x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}

//--- functions.mlir
// The cache's keys and the mask are made in @prefix, and read in every step: the vector is made where the mask was, and is
// a result of the one and an argument, in front of the tables, of the other.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:.*]]: tensor<1x1x2x4xf32>{{.*}}, %[[T:.*]]: tensor<1x2xi1>{{.*}}, %[[N:.*]]: tensor<1x1x1x4xf32>{{.*}}, %[[TABLE:.*]]: tensor<3x1x1x1x4xf32>
// CHECK-NEXT: %[[P:.*]]:3 = call @prefix(%[[X]], %[[T]])
// CHECK-NEXT: "pinion.steps"(%[[N]], %[[P]]#0, %[[P]]#1, %[[P]]#2, %[[TABLE]]) {callee = @step, count = 3 : i64, tables = 1 : i64}
// CHECK: func.func private @prefix(%[[PX:.*]]: tensor<1x1x2x4xf32>{{.*}}, %[[PT:.*]]: tensor<1x2xi1>
// CHECK: %[[OWN:.*]] = "pinion.constant"() {value = dense<true> : tensor<1x1xi1>}
// CHECK-NEXT: %[[ALL:.*]] = "pinion.concat"(%[[PT]], %[[OWN]]) {axis = 1 : i64}
// CHECK: %{{.*}} = "pinion.select"
// CHECK-NEXT: %[[KEYS:.*]] = "pinion.reshape"(%[[ALL]]) : (tensor<1x3xi1>) -> tensor<1x1x1x3xi1>
// CHECK: return %{{.*}}, %{{.*}}, %[[KEYS]] : {{.*}}tensor<1x1x1x3xi1>
// CHECK: func.func private @step(%{{.*}}: tensor<1x1x1x4xf32>{{.*}}, %{{.*}}: tensor<1x1x2x4xf32>{{.*}}, %{{.*}}: tensor<1x1x1x3xf32>{{.*}}, %[[V:.*]]: tensor<1x1x1x3xi1>{{.*}}, %{{.*}}: tensor<1x1x1x4xf32>
// CHECK: "pinion.attention"(%{{.*}}, %{{.*}}, %{{.*}}, %[[V]])
func.func @main(%x: tensor<1x1x2x4xf32>, %t: tensor<1x2xi1>, %noise: tensor<1x1x1x4xf32>, %table: tensor<3x1x1x1x4xf32>) -> tensor<1x1x1x4xf32> {
  %p:2 = func.call @prefix(%x, %t) : (tensor<1x1x2x4xf32>, tensor<1x2xi1>) -> (tensor<1x1x2x4xf32>, tensor<1x1x1x3xf32>)
  %y = "pinion.steps"(%noise, %p#0, %p#1, %table) {callee = @step, count = 3 : i64, tables = 1 : i64} : (tensor<1x1x1x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x1x3xf32>, tensor<3x1x1x1x4xf32>) -> tensor<1x1x1x4xf32>
  return %y : tensor<1x1x1x4xf32>
}
func.func private @prefix(%x: tensor<1x1x2x4xf32>, %t: tensor<1x2xi1>) -> (tensor<1x1x2x4xf32>, tensor<1x1x1x3xf32>) {
  %k = "pinion.unary"(%x) {kind = "tanh"} : (tensor<1x1x2x4xf32>) -> tensor<1x1x2x4xf32>
  %own = "pinion.constant"() {value = dense<true> : tensor<1x1xi1>} : () -> tensor<1x1xi1>
  %all = "pinion.concat"(%t, %own) {axis = 1 : i64} : (tensor<1x2xi1>, tensor<1x1xi1>) -> tensor<1x3xi1>
  %rows = "pinion.reshape"(%all) : (tensor<1x3xi1>) -> tensor<1x1x1x3xi1>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = "pinion.constant"() {value = dense<-2.38197633E+38> : tensor<f32>} : () -> tensor<f32>
  %mask = "pinion.select"(%rows, %zero, %low) : (tensor<1x1x1x3xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x1x3xf32>
  return %k, %mask : tensor<1x1x2x4xf32>, tensor<1x1x1x3xf32>
}
func.func private @step(%x: tensor<1x1x1x4xf32>, %k: tensor<1x1x2x4xf32>, %mask: tensor<1x1x1x3xf32>, %row: tensor<1x1x1x4xf32>) -> tensor<1x1x1x4xf32> {
  %q = "pinion.binary"(%x, %row) {kind = "add"} : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x1x1x4xf32>
  %keys = "pinion.concat"(%k, %q) {axis = 2 : i64} : (tensor<1x1x2x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x1x3x4xf32>
  %y = "pinion.attention"(%q, %keys, %keys, %mask) {scale = 0.5 : f64, causal = false} : (tensor<1x1x1x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x1x3xf32>) -> tensor<1x1x1x4xf32>
  return %y : tensor<1x1x1x4xf32>
}

//--- arithmetic.mlir
// Spelled with numbers: (1 - float(i <= j & valid)) * lowest; the blocks come from comparing sums.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[T:[^:]*]]: tensor<1x2xi64>
// CHECK: %[[VALID:.*]] = "pinion.cast"(%[[T]]) : (tensor<1x2xi64>) -> tensor<1x2xi1>
// CHECK: %[[KEYS:.*]] = "pinion.concat"(%{{.*}}, %[[VALID]]) {axis = 1 : i64}
// CHECK: %[[V:.*]] = "pinion.reshape"(%[[KEYS]]) : (tensor<1x3xi1>) -> tensor<1x1x1x3xi1>
// CHECK: "pinion.attention"(%{{.*}}, %{{.*}}, %{{.*}}, %[[V]]) {causal = false, limits = array<i64: 1, 1, 3>
func.func @main(%q: tensor<1x1x3x4xf32>, %k: tensor<1x1x3x4xf32>, %t: tensor<1x2xi64>) -> tensor<1x1x3x4xf32> {
  %seen = "pinion.constant"() {value = dense<[[true]]> : tensor<1x1xi1>} : () -> tensor<1x1xi1>
  %given = "pinion.cast"(%t) : (tensor<1x2xi64>) -> tensor<1x2xi1>
  %valid = "pinion.concat"(%seen, %given) {axis = 1 : i64} : (tensor<1x1xi1>, tensor<1x2xi1>) -> tensor<1x3xi1>
  %block = "pinion.constant"() {value = dense<[0, 1, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %of_query = "pinion.reshape"(%block) : (tensor<3xi64>) -> tensor<3x1xi64>
  %le = "pinion.binary"(%block, %of_query) {kind = "le"} : (tensor<3xi64>, tensor<3x1xi64>) -> tensor<3x3xi1>
  %both = "pinion.binary"(%le, %valid) {kind = "and"} : (tensor<3x3xi1>, tensor<1x3xi1>) -> tensor<3x3xi1>
  %number = "pinion.cast"(%both) : (tensor<3x3xi1>) -> tensor<3x3xf32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %lowest = "pinion.constant"() {value = dense<-3.40282347E+38> : tensor<f32>} : () -> tensor<f32>
  %hidden = "pinion.binary"(%one, %number) {kind = "sub"} : (tensor<f32>, tensor<3x3xf32>) -> tensor<3x3xf32>
  %mask = "pinion.binary"(%hidden, %lowest) {kind = "mul"} : (tensor<3x3xf32>, tensor<f32>) -> tensor<3x3xf32>
  %y = "pinion.attention"(%q, %k, %k, %mask) {scale = 0.5 : f64, causal = false} : (tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<3x3xf32>) -> tensor<1x1x3x4xf32>
  return %y : tensor<1x1x3x4xf32>
}

//--- constant.mlir
// What constants say alone: everything, so that the mask vanishes; causality; two blocks, the last key hidden from all.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:[^:]*]]: tensor<1x1x4x4xf32>
// CHECK-NEXT: %[[A:.*]] = "pinion.attention"(%[[X]], %[[X]], %[[X]]) {causal = false, scale
// CHECK-NEXT: %[[B:.*]] = "pinion.attention"(%[[X]], %[[X]], %[[X]]) {causal = true, scale
// CHECK-NEXT: %[[C:.*]] = "pinion.attention"(%[[X]], %[[X]], %[[X]]) {causal = false, limits = array<i64: 1, 2, 3>, scale
// CHECK-NEXT: return %[[A]], %[[B]], %[[C]]
func.func @main(%x: tensor<1x1x4x4xf32>) -> (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) {
  %nothing = "pinion.constant"() {value = dense<0.0> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %causal = "pinion.constant"() {value = dense<[[true, false, false, false], [true, true, false, false], [true, true, true, false], [true, true, true, true]]> : tensor<4x4xi1>} : () -> tensor<4x4xi1>
  %blocks = "pinion.constant"() {value = dense<[[true, false, false, false], [true, false, false, false], [true, true, true, false], [true, true, true, false]]> : tensor<4x4xi1>} : () -> tensor<4x4xi1>
  %a = "pinion.attention"(%x, %x, %x, %nothing) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xf32>) -> tensor<1x1x4x4xf32>
  %b = "pinion.attention"(%x, %x, %x, %causal) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xi1>) -> tensor<1x1x4x4xf32>
  %c = "pinion.attention"(%x, %x, %x, %blocks) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xi1>) -> tensor<1x1x4x4xf32>
  return %a, %b, %c : tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>
}

//--- shared.mlir
// Another op reads the mask: it stays for that, and the attention does without. A key in the middle that no query sees is
// one that is not valid.
// CHECK-LABEL: func.func @main
// CHECK: %[[MASK:.*]] = "pinion.select"
// CHECK: %[[NOT:.*]] = "pinion.constant"() {value = dense<false> : tensor<1x1xi1>}
// CHECK: %[[V:.*]] = "pinion.reshape"(%{{.*}}) : (tensor<1x3xi1>) -> tensor<1x1x1x3xi1>
// CHECK-NEXT: %[[Y:.*]] = "pinion.attention"(%{{.*}}, %{{.*}}, %{{.*}}, %[[V]]) {causal = false, scale
// CHECK-NEXT: return %[[Y]], %[[MASK]]
func.func @main(%q: tensor<1x1x2x4xf32>, %k: tensor<1x1x3x4xf32>, %c: tensor<1xi1>) -> (tensor<1x1x2x4xf32>, tensor<2x3xf32>) {
  %fixed = "pinion.constant"() {value = dense<[[false, true], [false, true]]> : tensor<2x2xi1>} : () -> tensor<2x2xi1>
  %camera = "pinion.broadcast"(%c) : (tensor<1xi1>) -> tensor<2x1xi1>
  %shows = "pinion.concat"(%camera, %fixed) {axis = 1 : i64} : (tensor<2x1xi1>, tensor<2x2xi1>) -> tensor<2x3xi1>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = "pinion.constant"() {value = dense<-2.38197633E+38> : tensor<f32>} : () -> tensor<f32>
  %mask = "pinion.select"(%shows, %zero, %low) : (tensor<2x3xi1>, tensor<f32>, tensor<f32>) -> tensor<2x3xf32>
  %y = "pinion.attention"(%q, %k, %k, %mask) {scale = 0.5 : f64, causal = false} : (tensor<1x1x2x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<2x3xf32>) -> tensor<1x1x2x4xf32>
  return %y, %mask : tensor<1x1x2x4xf32>, tensor<2x3xf32>
}

//--- stays.mlir
// Must not fire: each mask stays, for a reason that is told.
// CHECK: remark: simplify-masks: not at 'given': its mask stays as it is: it is not made of bool inputs and constants alone
// CHECK: remark: simplify-masks: not at 'visible_row': its mask stays as it is: when a key is seen depends on the query
// CHECK: remark: simplify-masks: not at 'empty_row': its mask stays as it is: a query may see no key, and then sees all alike
// CHECK: remark: simplify-masks: not at 'biased': its mask stays as it is: it does more than show a key or hide it
// CHECK: remark: simplify-masks: not at 'either': its mask stays as it is: when a key is seen depends on the query
// CHECK: remark: simplify-masks: not at 'window': its mask stays as it is: a query sees other keys than the first ones
// CHECK: remark: simplify-masks: not at 'falling': its mask stays as it is: a query sees fewer keys than one before it
// CHECK: remark: simplify-masks: not at 'stairs': its mask stays as it is: it has more than three blocks of queries
// CHECK: remark: simplify-masks: not at 'each_step': its mask stays as it is: it is not made of bool inputs and constants alone
// CHECK-NOT: limits
// CHECK-NOT: tensor<1x1x1x4xi1>
#given = loc("given")
#visible_row = loc("visible_row")
#empty_row = loc("empty_row")
#biased = loc("biased")
#either = loc("either")
#window = loc("window")
#falling = loc("falling")
#stairs = loc("stairs")
#each_step = loc("each_step")
func.func @main(%x: tensor<1x1x4x4xf32>, %m: tensor<4x4xf32>, %t: tensor<4xi1>, %unused: tensor<4xi1>) -> (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) {
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = "pinion.constant"() {value = dense<-2.38197633E+38> : tensor<f32>} : () -> tensor<f32>
  %of_query = "pinion.reshape"(%t) : (tensor<4xi1>) -> tensor<4x1xi1>
  %both = "pinion.binary"(%t, %of_query) {kind = "and"} : (tensor<4xi1>, tensor<4x1xi1>) -> tensor<4x4xi1>
  %any = "pinion.binary"(%t, %of_query) {kind = "or"} : (tensor<4xi1>, tensor<4x1xi1>) -> tensor<4x4xi1>
  %empty_rows = "pinion.select"(%t, %zero, %low) : (tensor<4xi1>, tensor<f32>, tensor<f32>) -> tensor<4xf32>
  %bias = "pinion.constant"() {value = dense<[0.0, -1.0, -2.0, -3.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %windows = "pinion.constant"() {value = dense<[[true, true, false, false], [true, true, true, false], [false, true, true, true], [false, false, true, true]]> : tensor<4x4xi1>} : () -> tensor<4x4xi1>
  %fall = "pinion.constant"() {value = dense<[[true, true, true, true], [true, true, true, false], [true, true, true, false], [true, true, true, false]]> : tensor<4x4xi1>} : () -> tensor<4x4xi1>
  %stair = "pinion.constant"() {value = dense<[[true, false, false, false], [true, true, false, false], [true, true, true, false], [true, true, true, true]]> : tensor<4x4xi1>} : () -> tensor<4x4xi1>
  %twice = "pinion.concat"(%x, %x) {axis = 2 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x1x8x4xf32>
  %seen = "pinion.constant"() {value = dense<true> : tensor<4x2xi1>} : () -> tensor<4x2xi1>
  %unseen = "pinion.constant"() {value = dense<false> : tensor<4x2xi1>} : () -> tensor<4x2xi1>
  %wide_stair = "pinion.concat"(%seen, %stair, %unseen) {axis = 1 : i64} : (tensor<4x2xi1>, tensor<4x4xi1>, tensor<4x2xi1>) -> tensor<4x8xi1>
  %0 = "pinion.attention"(%x, %x, %x, %m) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xf32>) -> tensor<1x1x4x4xf32> loc(#given)
  %1 = "pinion.attention"(%x, %x, %x, %both) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xi1>) -> tensor<1x1x4x4xf32> loc(#visible_row)
  %2 = "pinion.attention"(%x, %x, %x, %empty_rows) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4xf32>) -> tensor<1x1x4x4xf32> loc(#empty_row)
  %3 = "pinion.attention"(%x, %x, %x, %bias) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4xf32>) -> tensor<1x1x4x4xf32> loc(#biased)
  %4 = "pinion.attention"(%x, %x, %x, %any) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xi1>) -> tensor<1x1x4x4xf32> loc(#either)
  %5 = "pinion.attention"(%x, %x, %x, %windows) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xi1>) -> tensor<1x1x4x4xf32> loc(#window)
  %6 = "pinion.attention"(%x, %x, %x, %fall) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xi1>) -> tensor<1x1x4x4xf32> loc(#falling)
  %7 = "pinion.attention"(%x, %twice, %twice, %wide_stair) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>, tensor<4x8xi1>) -> tensor<1x1x4x4xf32> loc(#stairs)
  %8 = "pinion.steps"(%x) {callee = @step, count = 2 : i64, tables = 0 : i64} : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  return %0, %1, %2, %3, %4, %5, %6, %7, %8 : tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>
}
// A truth of one step is another one in the next.
func.func private @step(%x: tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32> {
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %positive = "pinion.binary"(%x, %zero) {kind = "gt"} : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xi1>
  %y = "pinion.attention"(%x, %x, %x, %positive) {scale = 0.5 : f64, causal = false} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xi1>) -> tensor<1x1x4x4xf32> loc(#each_step)
  return %y : tensor<1x1x4x4xf32>
}
