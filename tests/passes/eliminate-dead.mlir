// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=eliminate-dead %t/ops.mlir | FileCheck %t/ops.mlir
// RUN: pinion opt --passes=eliminate-dead %t/across.mlir | FileCheck %t/across.mlir
// RUN: pinion opt --passes=eliminate-dead %t/stays.mlir | FileCheck %t/stays.mlir

//--- ops.mlir
// A chain that feeds nothing goes, a call with it, and then the function that nothing calls. Must not fire: an op with a
// user, an unused argument of the model, @weights, which no op calls.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>{{.*}}, %{{.*}}: tensor<4xf32>
// CHECK-NEXT: %[[KEPT:.*]] = "pinion.unary"(%[[X]]) {kind = "exp"}
// CHECK-NEXT: return %[[KEPT]]
// CHECK-NOT: @unused
// CHECK: func.func private @weights
func.func @main(%x: tensor<4xf32>, %state: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.unary"(%0) {kind = "tanh"} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = func.call @unused(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = "pinion.unary"(%2) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @unused(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func private @weights() -> tensor<4xf32> {
  %0 = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

//--- across.mlir
// The last layer's MLP, which no step reads, goes from the prefix; so do the argument that fed it alone, the tower that
// computed that, and, in the step, an invariant and a table that it does not read.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>{{.*}}, %[[I:.*]]: tensor<4xf32>
// CHECK-NEXT: %[[T:.*]] = "pinion.constant"() {value = dense<1.0
// CHECK-NEXT: %[[KEYS:.*]] = call @prefix(%[[X]]) : (tensor<4xf32>) -> tensor<4xf32>
// CHECK-NEXT: "pinion.steps"(%[[X]], %[[KEYS]], %[[T]]) {callee = @step, count = 2 : i64, tables = 1 : i64}
// CHECK-LABEL: func.func private @prefix
// CHECK-NEXT: "pinion.unary"(%{{.*}}) {kind = "exp"}
// CHECK-NEXT: return
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%{{[a-z0-9]*}}: tensor<4xf32>{{[^,]*}}, %{{[a-z0-9]*}}: tensor<4xf32>{{[^,]*}}, %{{[a-z0-9]*}}: tensor<4xf32>
// CHECK-NOT: @vision
func.func @main(%x: tensor<4xf32>, %image: tensor<4xf32>) -> tensor<4xf32> {
  %t = "pinion.constant"() {value = dense<1.0> : tensor<2x4xf32>} : () -> tensor<2x4xf32>
  %u = "pinion.constant"() {value = dense<2.0> : tensor<2x4xf32>} : () -> tensor<2x4xf32>
  %v = func.call @vision(%image) : (tensor<4xf32>) -> tensor<4xf32>
  %p:2 = func.call @prefix(%x, %v) : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %y = "pinion.steps"(%x, %p#1, %p#0, %u, %t) {callee = @step, count = 2 : i64, tables = 2 : i64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @vision(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.unary"(%x) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @prefix(%x: tensor<4xf32>, %v: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.binary"(%0, %v) {kind = "mul"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}
func.func private @step(%x: tensor<4xf32>, %mlp: tensor<4xf32>, %keys: tensor<4xf32>, %u: tensor<4xf32>, %t: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.binary"(%keys, %t) {kind = "mul"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.binary"(%x, %0) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

//--- stays.mlir
// Must not fire: a result that one of two calls uses; a carried value that the step does not read; a public function's.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: %[[A:.*]]:2 = call @both(
// CHECK-NEXT: %[[B:.*]]:2 = call @both(
// CHECK-NEXT: "pinion.steps"(%[[A]]#0, %[[B]]#1) {callee = @step
// CHECK-NEXT: call @public(
// CHECK-LABEL: func.func @public
// CHECK-SAME: (%{{[a-z0-9]*}}: tensor<4xf32>{{[^,]*}}, %{{[a-z0-9]*}}: tensor<4xf32>
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %a:2 = func.call @both(%x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %b:2 = func.call @both(%a#0) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %y = "pinion.steps"(%a#0, %b#1) {callee = @step, count = 2 : i64, tables = 0 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %z = func.call @public(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y, %z : tensor<4xf32>, tensor<4xf32>
}
func.func private @both(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.unary"(%x) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}
func.func private @step(%x: tensor<4xf32>, %k: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.unary"(%k) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @public(%x: tensor<4xf32>, %unread: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.unary"(%x) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
