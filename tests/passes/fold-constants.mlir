// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fold-constants %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fold-constants %t/grows.mlir | FileCheck %t/grows.mlir

//--- fires.mlir
// A chain of constants becomes one constant where others need it; rounding to bf16 is kept; integers may grow, and a large
// result that is one number everywhere is a broadcast of it.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2xf32>
// CHECK-NEXT: %[[SUM:.*]] = "pinion.constant"() {{.*}}dense<[3.000000e+00, 5.000000e+00]> : tensor<2xf32>
// CHECK-NEXT: %[[THIRD:.*]] = "pinion.constant"() {{.*}}dense<3.339840e-01> : tensor<bf16>
// CHECK-NEXT: %[[FALSE:.*]] = "pinion.constant"() {{.*}}dense<false> : tensor<i1>
// CHECK-NEXT: %[[MASK:.*]] = "pinion.broadcast"(%[[FALSE]]) : (tensor<i1>) -> tensor<64x64xi1>
// CHECK-NEXT: %[[USER:.*]] = "pinion.binary"(%[[X]], %[[SUM]])
// CHECK-NEXT: return %[[USER]], %[[THIRD]], %[[MASK]]
func.func @main(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<bf16>, tensor<64x64xi1>) {
  %a = "pinion.constant"() {value = dense<[1.0, 2.0]> : tensor<2xf32>} : () -> tensor<2xf32>
  %three = "pinion.constant"() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%a, %a) {kind = "add"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %1 = "pinion.binary"(%0, %one) {kind = "add"} : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %2 = "pinion.unary"(%three) {kind = "reciprocal"} : (tensor<f32>) -> tensor<f32>
  %3 = "pinion.cast"(%2) : (tensor<f32>) -> tensor<bf16>
  %i = "pinion.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %j = "pinion.constant"() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %4 = "pinion.broadcast"(%i) : (tensor<i64>) -> tensor<64x64xi64>
  %5 = "pinion.binary"(%4, %j) {kind = "eq"} : (tensor<64x64xi64>, tensor<i64>) -> tensor<64x64xi1>
  %6 = "pinion.binary"(%x, %1) {kind = "mul"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %6, %3, %5 : tensor<2xf32>, tensor<bf16>, tensor<64x64xi1>
}

//--- grows.mlir
// Must not fire: a float tensor that would only be repeated, and anything that depends on a weight.
// CHECK-LABEL: func.func @main
// CHECK: "pinion.broadcast"
// CHECK: "pinion.transpose"
func.func @main() -> (tensor<512x4xf32>, tensor<4x4xf32>) {
  %a = "pinion.constant"() {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %0 = "pinion.broadcast"(%a) : (tensor<4xf32>) -> tensor<512x4xf32>
  %1 = "pinion.transpose"(%w) {permutation = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0, %1 : tensor<512x4xf32>, tensor<4x4xf32>
}
