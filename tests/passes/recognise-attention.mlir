// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=recognise-attention %t/gemma.mlir | FileCheck %t/gemma.mlir
// RUN: pinion opt --passes=recognise-attention %t/bf16.mlir | FileCheck %t/bf16.mlir
// RUN: pinion opt --passes=recognise-attention %t/vision.mlir | FileCheck %t/vision.mlir
// RUN: pinion opt --passes=recognise-attention,canonicalise %t/vision_layouts.mlir | FileCheck %t/vision_layouts.mlir
// RUN: pinion opt --passes=recognise-attention %t/one_side.mlir | FileCheck %t/one_side.mlir
// RUN: pinion opt --passes=recognise-attention %t/select.mlir | FileCheck %t/select.mlir
// RUN: pinion opt --passes=recognise-attention,canonicalise %t/guarded.mlir | FileCheck %t/guarded.mlir
// RUN: pinion opt --passes=recognise-attention --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- gemma.mlir
// One K/V head for eight, behind a Concat with the cache, which stays an operand; the scale on the scores, the mask added.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<2x8x3x4xf32>{{.*}}, %[[K:.*]]: tensor<2x1x3x4xf32>{{.*}}, %[[V:.*]]: tensor<2x1x3x4xf32>{{.*}}, %[[PK:.*]]: tensor<2x1x2x4xf32>{{.*}}, %[[PV:.*]]: tensor<2x1x2x4xf32>{{.*}}, %[[M:.*]]: tensor<2x1x3x5xf32>
// CHECK-NEXT: %[[AK:.*]] = "pinion.concat"(%[[PK]], %[[K]])
// CHECK-NEXT: %[[AV:.*]] = "pinion.concat"(%[[PV]], %[[V]])
// CHECK-NEXT: %[[Y:.*]] = "pinion.attention"(%[[Q]], %[[AK]], %[[AV]], %[[M]]) {causal = false, onnx = "y", scale = 5.000000e-01 : f64}
// CHECK-NEXT: return %[[Y]]
func.func @main(%q: tensor<2x8x3x4xf32>, %k: tensor<2x1x3x4xf32>, %v: tensor<2x1x3x4xf32>, %pk: tensor<2x1x2x4xf32>, %pv: tensor<2x1x2x4xf32>, %m: tensor<2x1x3x5xf32>) -> tensor<2x8x3x4xf32> {
  %scale = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.concat"(%pk, %k) {axis = 2 : i64} : (tensor<2x1x2x4xf32>, tensor<2x1x3x4xf32>) -> tensor<2x1x5x4xf32>
  %1 = "pinion.concat"(%pv, %v) {axis = 2 : i64} : (tensor<2x1x2x4xf32>, tensor<2x1x3x4xf32>) -> tensor<2x1x5x4xf32>
  %2 = "pinion.reshape"(%0) : (tensor<2x1x5x4xf32>) -> tensor<2x1x1x5x4xf32>
  %3 = "pinion.broadcast"(%2) : (tensor<2x1x1x5x4xf32>) -> tensor<2x1x8x5x4xf32>
  %4 = "pinion.reshape"(%3) : (tensor<2x1x8x5x4xf32>) -> tensor<2x8x5x4xf32>
  %5 = "pinion.reshape"(%1) : (tensor<2x1x5x4xf32>) -> tensor<2x1x1x5x4xf32>
  %6 = "pinion.broadcast"(%5) : (tensor<2x1x1x5x4xf32>) -> tensor<2x1x8x5x4xf32>
  %7 = "pinion.reshape"(%6) : (tensor<2x1x8x5x4xf32>) -> tensor<2x8x5x4xf32>
  %8 = "pinion.transpose"(%4) {permutation = array<i64: 0, 1, 3, 2>} : (tensor<2x8x5x4xf32>) -> tensor<2x8x4x5xf32>
  %9 = "pinion.matmul"(%q, %8) : (tensor<2x8x3x4xf32>, tensor<2x8x4x5xf32>) -> tensor<2x8x3x5xf32>
  %10 = "pinion.binary"(%9, %scale) {kind = "mul"} : (tensor<2x8x3x5xf32>, tensor<f32>) -> tensor<2x8x3x5xf32>
  %11 = "pinion.binary"(%10, %m) {kind = "add"} : (tensor<2x8x3x5xf32>, tensor<2x1x3x5xf32>) -> tensor<2x8x3x5xf32>
  %12 = "pinion.softmax"(%11) {axis = 3 : i64} : (tensor<2x8x3x5xf32>) -> tensor<2x8x3x5xf32>
  %13 = "pinion.matmul"(%12, %7) {onnx = "y"} : (tensor<2x8x3x5xf32>, tensor<2x8x5x4xf32>) -> tensor<2x8x3x4xf32>
  return %13 : tensor<2x8x3x4xf32>
}

//--- bf16.mlir
// Casts around the softmax, the mask in float32 and in front; the scale a divisor; K and V repeated without a dimension
// for it, and in front of a batch of 1.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<1x8x3x4xbf16>{{.*}}, %[[K:.*]]: tensor<1x1x5x4xbf16>{{.*}}, %[[V:.*]]: tensor<1x5x4xbf16>{{.*}}, %[[M:.*]]: tensor<1x1x3x5xf32>
// CHECK: %[[SV:.*]] = "pinion.reshape"(%[[V]]) : (tensor<1x5x4xbf16>) -> tensor<1x1x5x4xbf16>
// CHECK-NEXT: %[[Y:.*]] = "pinion.attention"(%[[Q]], %[[K]], %[[SV]], %[[M]]) {{.*}}scale = 5.000000e-01 : f64{{.*}} -> tensor<1x8x3x4xbf16>
// CHECK-NEXT: return %[[Y]]
func.func @main(%q: tensor<1x8x3x4xbf16>, %k: tensor<1x1x5x4xbf16>, %v: tensor<1x5x4xbf16>, %m: tensor<1x1x3x5xf32>) -> tensor<1x8x3x4xbf16> {
  %root = "pinion.constant"() {value = dense<2.0> : tensor<bf16>} : () -> tensor<bf16>
  %0 = "pinion.broadcast"(%k) : (tensor<1x1x5x4xbf16>) -> tensor<1x8x5x4xbf16>
  %1 = "pinion.broadcast"(%v) : (tensor<1x5x4xbf16>) -> tensor<1x1x8x5x4xbf16>
  %2 = "pinion.reshape"(%1) : (tensor<1x1x8x5x4xbf16>) -> tensor<1x8x5x4xbf16>
  %3 = "pinion.transpose"(%0) {permutation = array<i64: 0, 1, 3, 2>} : (tensor<1x8x5x4xbf16>) -> tensor<1x8x4x5xbf16>
  %4 = "pinion.matmul"(%q, %3) : (tensor<1x8x3x4xbf16>, tensor<1x8x4x5xbf16>) -> tensor<1x8x3x5xbf16>
  %5 = "pinion.binary"(%4, %root) {kind = "div"} : (tensor<1x8x3x5xbf16>, tensor<bf16>) -> tensor<1x8x3x5xbf16>
  %6 = "pinion.cast"(%5) : (tensor<1x8x3x5xbf16>) -> tensor<1x8x3x5xf32>
  %7 = "pinion.binary"(%m, %6) {kind = "add"} : (tensor<1x1x3x5xf32>, tensor<1x8x3x5xf32>) -> tensor<1x8x3x5xf32>
  %8 = "pinion.softmax"(%7) {axis = 3 : i64} : (tensor<1x8x3x5xf32>) -> tensor<1x8x3x5xf32>
  %9 = "pinion.cast"(%8) : (tensor<1x8x3x5xf32>) -> tensor<1x8x3x5xbf16>
  %10 = "pinion.matmul"(%9, %2) : (tensor<1x8x3x5xbf16>, tensor<1x8x5x4xbf16>) -> tensor<1x8x3x4xbf16>
  return %10 : tensor<1x8x3x4xbf16>
}

//--- vision.mlir
// sqrt(scale) on both Q and K; K transposed through three dimensions; no mask.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[K:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[V:.*]]: tensor<1x2x3x4xf32>
// CHECK: %[[Y:.*]] = "pinion.attention"(%[[Q]], %[[K]], %[[V]]) {causal = false, scale = 2.500000e-01 : f64
// CHECK-NEXT: return %[[Y]]
func.func @main(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %half = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.reshape"(%k) : (tensor<1x2x3x4xf32>) -> tensor<2x3x4xf32>
  %1 = "pinion.transpose"(%0) {permutation = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %2 = "pinion.reshape"(%1) : (tensor<2x4x3xf32>) -> tensor<1x2x4x3xf32>
  %3 = "pinion.binary"(%q, %half) {kind = "mul"} : (tensor<1x2x3x4xf32>, tensor<f32>) -> tensor<1x2x3x4xf32>
  %4 = "pinion.binary"(%half, %2) {kind = "mul"} : (tensor<f32>, tensor<1x2x4x3xf32>) -> tensor<1x2x4x3xf32>
  %5 = "pinion.matmul"(%3, %4) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %6 = "pinion.softmax"(%5) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %7 = "pinion.matmul"(%6, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %7 : tensor<1x2x3x4xf32>
}

//--- vision_layouts.mlir
// K as [B, K, H, D], its two transposes already one (TorchScript), and scaled in front of it: what is left of the layouts is one transpose
// each.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<1x3x2x4xf32>{{.*}}, %[[K:.*]]: tensor<1x3x2x4xf32>{{.*}}, %[[V:.*]]: tensor<1x2x3x4xf32>
// CHECK-DAG: %[[TQ:.*]] = "pinion.transpose"(%[[Q]]) {permutation = array<i64: 0, 2, 1, 3>}
// CHECK-DAG: %[[TK:.*]] = "pinion.transpose"(%{{.*}}) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
// CHECK: "pinion.attention"(%[[TQ]], %[[TK]], %[[V]]) {{.*}}scale = 1.000000e+00
func.func @main(%q: tensor<1x3x2x4xf32>, %k: tensor<1x3x2x4xf32>, %v: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %half = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.transpose"(%q) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
  %1 = "pinion.unary"(%k) {kind = "abs"} : (tensor<1x3x2x4xf32>) -> tensor<1x3x2x4xf32>
  %2 = "pinion.transpose"(%1) {permutation = array<i64: 0, 2, 3, 1>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x4x3xf32>
  %3 = "pinion.matmul"(%0, %2) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %4 = "pinion.softmax"(%3) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %5 = "pinion.matmul"(%4, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %5 : tensor<1x2x3x4xf32>
}

//--- one_side.mlir
// The scale on one side alone: on Q, which others read scaled as well; then on K, behind its transpose.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[K:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[V:.*]]: tensor<1x2x3x4xf32>
// CHECK: %[[SCALED:.*]] = "pinion.binary"(%[[Q]]
// CHECK: %[[A:.*]] = "pinion.attention"(%[[Q]], %[[K]], %[[V]]) {causal = false, scale = 5.000000e-01 : f64
// CHECK: %[[B:.*]] = "pinion.attention"(%[[A]], %[[K]], %[[V]]) {causal = false, scale = 5.000000e-01 : f64
// CHECK: return %[[B]], %[[SCALED]]
func.func @main(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) {
  %half = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.transpose"(%k) {permutation = array<i64: 0, 1, 3, 2>} : (tensor<1x2x3x4xf32>) -> tensor<1x2x4x3xf32>
  %1 = "pinion.binary"(%q, %half) {kind = "mul"} : (tensor<1x2x3x4xf32>, tensor<f32>) -> tensor<1x2x3x4xf32>
  %2 = "pinion.matmul"(%1, %0) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %3 = "pinion.softmax"(%2) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %4 = "pinion.matmul"(%3, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %5 = "pinion.binary"(%0, %half) {kind = "mul"} : (tensor<1x2x4x3xf32>, tensor<f32>) -> tensor<1x2x4x3xf32>
  %6 = "pinion.matmul"(%4, %5) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %7 = "pinion.softmax"(%6) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %8 = "pinion.matmul"(%7, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %8, %1 : tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>
}

//--- select.mlir
// A mask of truth values: with -inf it is the op's own kind of mask; with a finite number an additive one is made of it,
// so that a row that sees nothing stays uniform. Either branch may hold the scores.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[K:.*]]: tensor<1x2x4x3xf32>{{.*}}, %[[V:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[C:.*]]: tensor<1x1x3x3xi1>
// CHECK: %[[KT:.*]] = "pinion.transpose"(%[[K]]) {permutation = array<i64: 0, 1, 3, 2>}
// CHECK-NEXT: %[[A:.*]] = "pinion.attention"(%[[Q]], %[[KT]], %[[V]], %[[C]])
// CHECK: %[[N:.*]] = "pinion.unary"(%[[C]]) {kind = "not"}
// CHECK-NEXT: %[[B:.*]] = "pinion.attention"(%[[A]], %{{.*}}, %[[V]], %[[N]])
// CHECK: %[[ZERO:.*]] = "pinion.constant"() {value = dense<0.0
// CHECK-NEXT: %[[LOW:.*]] = "pinion.constant"() {value = dense<-2.38
// CHECK-NEXT: %[[S:.*]] = "pinion.select"(%[[C]], %[[ZERO]], %[[LOW]])
// CHECK-NEXT: "pinion.attention"(%[[B]], %{{.*}}, %[[V]], %[[S]])
func.func @main(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>, %c: tensor<1x1x3x3xi1>) -> tensor<1x2x3x4xf32> {
  %hidden = "pinion.constant"() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %low = "pinion.constant"() {value = dense<-2.38e38> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.select"(%c, %0, %hidden) : (tensor<1x1x3x3xi1>, tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.softmax"(%1) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %3 = "pinion.matmul"(%2, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %4 = "pinion.matmul"(%3, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %5 = "pinion.select"(%c, %hidden, %4) : (tensor<1x1x3x3xi1>, tensor<f32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %6 = "pinion.softmax"(%5) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %7 = "pinion.matmul"(%6, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %8 = "pinion.matmul"(%7, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %9 = "pinion.select"(%c, %8, %low) : (tensor<1x1x3x3xi1>, tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %10 = "pinion.softmax"(%9) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %11 = "pinion.matmul"(%10, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %11 : tensor<1x2x3x4xf32>
}

//--- guarded.mlir
// Where(IsNaN(softmax), 0, softmax), around the softmax and behind a cast: zeros for a row that sees nothing are what the
// op gives.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[K:.*]]: tensor<1x2x4x3xf32>{{.*}}, %[[V:.*]]: tensor<1x2x3x4xf32>{{.*}}, %[[C:.*]]: tensor<1x1x3x3xi1>
// CHECK: %[[A:.*]] = "pinion.attention"(%[[Q]], %{{.*}}, %[[V]], %[[C]])
// CHECK-NOT: isnan
// CHECK: "pinion.attention"(%{{.*}}, %{{.*}}, %{{.*}}) {{.*}} -> tensor<1x2x3x4xbf16>
// CHECK-NOT: isnan
func.func @main(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>, %c: tensor<1x1x3x3xi1>) -> tensor<1x2x3x4xbf16> {
  %hidden = "pinion.constant"() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.select"(%c, %0, %hidden) : (tensor<1x1x3x3xi1>, tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.softmax"(%1) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %3 = "pinion.unary"(%2) {kind = "isnan"} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xi1>
  %4 = "pinion.select"(%3, %zero, %2) : (tensor<1x2x3x3xi1>, tensor<f32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %5 = "pinion.matmul"(%4, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %6 = "pinion.cast"(%5) : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xbf16>
  %7 = "pinion.cast"(%k) : (tensor<1x2x4x3xf32>) -> tensor<1x2x4x3xbf16>
  %8 = "pinion.cast"(%v) : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xbf16>
  %nothing = "pinion.constant"() {value = dense<0.0> : tensor<bf16>} : () -> tensor<bf16>
  %9 = "pinion.matmul"(%6, %7) : (tensor<1x2x3x4xbf16>, tensor<1x2x4x3xbf16>) -> tensor<1x2x3x3xbf16>
  %10 = "pinion.cast"(%9) : (tensor<1x2x3x3xbf16>) -> tensor<1x2x3x3xf32>
  %11 = "pinion.softmax"(%10) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %12 = "pinion.cast"(%11) : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xbf16>
  %13 = "pinion.unary"(%12) {kind = "isnan"} : (tensor<1x2x3x3xbf16>) -> tensor<1x2x3x3xi1>
  %14 = "pinion.select"(%13, %nothing, %12) : (tensor<1x2x3x3xi1>, tensor<bf16>, tensor<1x2x3x3xbf16>) -> tensor<1x2x3x3xbf16>
  %15 = "pinion.matmul"(%14, %8) : (tensor<1x2x3x3xbf16>, tensor<1x2x3x4xbf16>) -> tensor<1x2x3x4xbf16>
  return %15 : tensor<1x2x3x4xbf16>
}

//--- stays.mlir
// Must not fire: the weights have another reader; the scale is no number; the number of hidden scores is not low enough to
// swallow them; v is of another type than q and k; the softmax is over the queries; the mask makes several queries of one;
// the scale is behind the mask, which it would multiply; a row of NaN becomes ones; nothing is said where zeros replace
// something else than NaN.
// CHECK-DAG: remark: recognise-attention: not at {{.*}}: it is an attention, but its scores are no masked product
// CHECK-DAG: remark: recognise-attention: not at {{.*}}: it is an attention, but {{.*}} also reads what {{.*}} computes
// CHECK-DAG: remark: recognise-attention: not at {{.*}}: it is an attention, but its scores are no masked product
// CHECK-DAG: remark: recognise-attention: not at {{.*}}: it is an attention, but its scores are no masked product
// CHECK-DAG: remark: recognise-attention: not at {{.*}}: it is an attention, but q, k and v are of several types
// CHECK-DAG: remark: recognise-attention: not at {{.*}}: it is an attention, but an operand is spread over a dimension of the scores
// CHECK-DAG: remark: recognise-attention: not at {{.*}}: it is an attention, but a row that sees nothing does not become zeros
// CHECK-NOT: remark
// CHECK-LABEL: func.func @used_twice
// CHECK-NOT: pinion.attention
func.func @used_twice(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x3xf32>) {
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.softmax"(%0) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.matmul"(%1, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %2, %1 : tensor<1x2x3x4xf32>, tensor<1x2x3x3xf32>
}
func.func @scale(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>, %s: tensor<f32>) -> tensor<1x2x3x4xf32> {
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.binary"(%0, %s) {kind = "mul"} : (tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.softmax"(%1) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %3 = "pinion.matmul"(%2, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %3 : tensor<1x2x3x4xf32>
}
func.func @select(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>, %c: tensor<1x1x3x3xi1>) -> tensor<1x2x3x4xf32> {
  %low = "pinion.constant"() {value = dense<-10000.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.select"(%c, %0, %low) : (tensor<1x1x3x3xi1>, tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.softmax"(%1) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %3 = "pinion.matmul"(%2, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %3 : tensor<1x2x3x4xf32>
}
func.func @types(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xbf16>) -> tensor<1x2x3x4xbf16> {
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.softmax"(%0) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.cast"(%1) : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xbf16>
  %3 = "pinion.matmul"(%2, %v) : (tensor<1x2x3x3xbf16>, tensor<1x2x3x4xbf16>) -> tensor<1x2x3x4xbf16>
  return %3 : tensor<1x2x3x4xbf16>
}
func.func @axis(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.softmax"(%0) {axis = 2 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.matmul"(%1, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %2 : tensor<1x2x3x4xf32>
}
func.func @spread(%q: tensor<1x2x1x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>, %m: tensor<1x1x5x3xf32>) -> tensor<1x2x5x4xf32> {
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x1x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x1x3xf32>
  %1 = "pinion.binary"(%0, %m) {kind = "add"} : (tensor<1x2x1x3xf32>, tensor<1x1x5x3xf32>) -> tensor<1x2x5x3xf32>
  %2 = "pinion.softmax"(%1) {axis = 3 : i64} : (tensor<1x2x5x3xf32>) -> tensor<1x2x5x3xf32>
  %3 = "pinion.matmul"(%2, %v) : (tensor<1x2x5x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x5x4xf32>
  return %3 : tensor<1x2x5x4xf32>
}
func.func @scaled_mask(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>, %m: tensor<1x1x3x3xf32>) -> tensor<1x2x3x4xf32> {
  %half = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.binary"(%0, %m) {kind = "add"} : (tensor<1x2x3x3xf32>, tensor<1x1x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.binary"(%1, %half) {kind = "mul"} : (tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %3 = "pinion.softmax"(%2) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %4 = "pinion.matmul"(%3, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %4 : tensor<1x2x3x4xf32>
}
func.func @ones(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.softmax"(%0) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.unary"(%1) {kind = "isnan"} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xi1>
  %3 = "pinion.select"(%2, %one, %1) : (tensor<1x2x3x3xi1>, tensor<f32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %4 = "pinion.matmul"(%3, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %4 : tensor<1x2x3x4xf32>
}
func.func @elsewhere(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x3xf32>, %v: tensor<1x2x3x4xf32>, %c: tensor<1x2x3x3xi1>) -> tensor<1x2x3x4xf32> {
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%q, %k) : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "pinion.softmax"(%0) {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = "pinion.select"(%c, %zero, %1) : (tensor<1x2x3x3xi1>, tensor<f32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %3 = "pinion.matmul"(%2, %v) : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %3 : tensor<1x2x3x4xf32>
}
