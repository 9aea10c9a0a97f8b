// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: pinion opt --passes=eliminate-dead %s | FileCheck %s

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
