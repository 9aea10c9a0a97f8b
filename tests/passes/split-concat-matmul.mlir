// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=split-concat-matmul %t/step.mlir | FileCheck %t/step.mlir
// RUN: pinion opt --passes=split-concat-matmul,hoist-tables %t/step.mlir | FileCheck %t/step.mlir --check-prefix=HOISTED
// RUN: pinion opt --passes=split-concat-matmul %t/pieces.mlir | FileCheck %t/pieces.mlir
// RUN: pinion opt --passes=split-concat-matmul %t/wide.mlir | FileCheck %t/wide.mlir
// RUN: pinion opt --passes=split-concat-matmul %t/stays.mlir | FileCheck %t/stays.mlir

//--- step.mlir
// The time's row is broadcast over the actions (TorchScript, dynamo unfolded): it is multiplied before that, once.
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%[[X:[a-z0-9]*]]: tensor<1x3x4xf32>{{.*}}, %[[T:[a-z0-9]*]]: tensor<1x4xf32>
// CHECK: %[[W:.*]] = "pinion.weight"
// CHECK-NOT: pinion.concat
// CHECK: %[[W1:.*]] = "pinion.slice"(%[[W]]) {starts = array<i64: 0, 0>
// CHECK: %[[A:.*]] = "pinion.matmul"(%[[X]], %[[W1]]) : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
// CHECK: %[[W2:.*]] = "pinion.slice"(%[[W]]) {starts = array<i64: 4, 0>
// CHECK: %[[B:.*]] = "pinion.matmul"(%[[T]], %[[W2]]) : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
// CHECK: "pinion.binary"(%[[A]], %[[B]]) {kind = "add", onnx = "y"}
// hoist-tables then leaves one product in the step.
// HOISTED-LABEL: func.func private @step
// HOISTED-COUNT-1: "pinion.matmul"
// HOISTED-NOT: "pinion.matmul"
func.func @main(%x: tensor<1x3x4xf32>, %t: tensor<2x1x4xf32>) -> tensor<1x3x4xf32> {
  %y = "pinion.steps"(%x, %t) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<1x3x4xf32>, tensor<2x1x4xf32>) -> tensor<1x3x4xf32>
  return %y : tensor<1x3x4xf32>
}
func.func private @step(%x: tensor<1x3x4xf32>, %t: tensor<1x4xf32>) -> tensor<1x3x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<8x4xf32>
  %0 = "pinion.broadcast"(%t) : (tensor<1x4xf32>) -> tensor<1x3x4xf32>
  %1 = "pinion.concat"(%x, %0) {axis = 2 : i64} : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x8xf32>
  %2 = "pinion.matmul"(%1, %w) {onnx = "y"} : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32>
  return %2 : tensor<1x3x4xf32>
}

//--- pieces.mlir
// Known pieces on both sides, and in the middle two that are computed: those stay one product. The weight is transposed.
// CHECK-LABEL: func.func @main
// CHECK: %[[T:.*]] = "pinion.transpose"
// CHECK: "pinion.slice"(%[[T]]) {starts = array<i64: 0, 0>{{.*}} -> tensor<1x4xf32>
// CHECK: %[[A:.*]] = "pinion.matmul"
// CHECK: %[[XY:.*]] = "pinion.concat"(%{{.*}}, %{{.*}}) {axis = 1 : i64}{{.*}} -> tensor<2x4xf32>
// CHECK: "pinion.slice"(%[[T]]) {starts = array<i64: 1, 0>{{.*}} -> tensor<4x4xf32>
// CHECK: %[[B:.*]] = "pinion.matmul"(%[[XY]]
// CHECK: "pinion.slice"(%[[T]]) {starts = array<i64: 5, 0>{{.*}} -> tensor<3x4xf32>
// CHECK: %[[C:.*]] = "pinion.matmul"
// CHECK: %[[KNOWN:.*]] = "pinion.binary"(%[[A]], %[[C]]) {kind = "add"}
// CHECK: %[[Y:.*]] = "pinion.binary"(%[[B]], %[[KNOWN]]) {kind = "add"}
// CHECK: return %[[Y]]
func.func @main(%x: tensor<2x2xf32>, %y: tensor<2x2xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x8xf32>
  %t = "pinion.transpose"(%w) {permutation = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %a = "pinion.constant"() {value = dense<1.0> : tensor<2x1xf32>} : () -> tensor<2x1xf32>
  %b = "pinion.constant"() {value = dense<2.0> : tensor<2x3xf32>} : () -> tensor<2x3xf32>
  %0 = "pinion.concat"(%a, %x, %y, %b) {axis = 1 : i64} : (tensor<2x1xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x3xf32>) -> tensor<2x8xf32>
  %1 = "pinion.matmul"(%0, %t) : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}

//--- wide.mlir
// A product of bf16 that is f32 (narrow-operands has been there) is a sum of such.
// CHECK-LABEL: func.func @main
// CHECK: %[[A:.*]] = "pinion.matmul"({{.*}}) : (tensor<2x2xbf16>, tensor<2x4xbf16>) -> tensor<2x4xf32>
// CHECK: %[[B:.*]] = "pinion.matmul"({{.*}}) : (tensor<2x3xbf16>, tensor<3x4xbf16>) -> tensor<2x4xf32>
// CHECK: "pinion.binary"(%[[A]], %[[B]]) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
func.func @main(%x: tensor<2x2xbf16>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<5x4xbf16>
  %b = "pinion.constant"() {value = dense<2.0> : tensor<2x3xbf16>} : () -> tensor<2x3xbf16>
  %0 = "pinion.concat"(%x, %b) {axis = 1 : i64} : (tensor<2x2xbf16>, tensor<2x3xbf16>) -> tensor<2x5xbf16>
  %1 = "pinion.matmul"(%0, %w) : (tensor<2x5xbf16>, tensor<5x4xbf16>) -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}

//--- stays.mlir
// Must not fire: rows are concatenated, not columns; no piece is known; all are; the other factor is no weight; integers.
// CHECK-LABEL: func.func @main
// CHECK-NOT: "pinion.slice"
// CHECK: return
func.func @main(%x: tensor<2x2xf32>, %v: tensor<4x2xf32>, %i: tensor<2x2xi32>) -> (tensor<4x4xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xi32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xf32>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 32 : i64} : () -> tensor<4x2xf32>
  %j = "pinion.weight"() {name = "j", file = "w.bin", offset = 64 : i64} : () -> tensor<4x2xi32>
  %c = "pinion.constant"() {value = dense<1.0> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  %k = "pinion.constant"() {value = dense<1> : tensor<2x2xi32>} : () -> tensor<2x2xi32>
  %0 = "pinion.concat"(%x, %c) {axis = 0 : i64} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %1 = "pinion.matmul"(%0, %w) : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %2 = "pinion.concat"(%x, %x) {axis = 1 : i64} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x4xf32>
  %3 = "pinion.matmul"(%2, %u) : (tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<2x2xf32>
  %4 = "pinion.concat"(%c, %c) {axis = 1 : i64} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x4xf32>
  %5 = "pinion.matmul"(%4, %u) : (tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<2x2xf32>
  %6 = "pinion.concat"(%x, %c) {axis = 1 : i64} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x4xf32>
  %7 = "pinion.matmul"(%6, %v) : (tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<2x2xf32>
  %8 = "pinion.concat"(%i, %k) {axis = 1 : i64} : (tensor<2x2xi32>, tensor<2x2xi32>) -> tensor<2x4xi32>
  %9 = "pinion.matmul"(%8, %j) : (tensor<2x4xi32>, tensor<4x2xi32>) -> tensor<2x2xi32>
  return %1, %3, %5, %7, %9 : tensor<4x4xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xi32>
}
