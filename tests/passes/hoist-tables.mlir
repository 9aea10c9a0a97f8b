// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=hoist-tables %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=hoist-tables %t/shapes.mlir | FileCheck %t/shapes.mlir
// RUN: pinion opt --passes=hoist-tables %t/stays.mlir | FileCheck %t/stays.mlir
// RUN: pinion opt --passes=hoist-tables %t/twice.mlir | FileCheck %t/twice.mlir
// RUN: not pinion opt --passes=hoist-tables %t/nowhere.mlir 2>&1 | FileCheck %t/nowhere.mlir

//--- fires.mlir
// The embedding's MLP is computed for all three steps in front of them; the step receives its row. The table that fed it, and
// an invariant that nothing reads, are no arguments any more; the weight has left the step.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x4xf32>
// CHECK: %[[T:.*]] = "pinion.constant"() {{.*}} : tensor<3x1x4xf32>
// CHECK: %[[W:.*]] = "pinion.weight"
// CHECK: %[[E:.*]] = "pinion.matmul"(%[[T]], %[[W]]) : (tensor<3x1x4xf32>, tensor<4x4xf32>) -> tensor<3x1x4xf32>
// CHECK: %[[S:.*]] = "pinion.unary"(%[[E]]) {kind = "silu"} : (tensor<3x1x4xf32>) -> tensor<3x1x4xf32>
// CHECK: "pinion.steps"(%[[X]], %[[S]]) {callee = @step, count = 3 : i64, tables = 1 : i64}
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%{{[a-z0-9]*}}: tensor<2x4xf32> loc({{[^)]*}}), %[[ROW:[a-z0-9]*]]: tensor<1x4xf32> loc({{[^)]*}})) -> tensor<2x4xf32>
// CHECK-NEXT: "pinion.binary"(%{{.*}}, %[[ROW]])
// CHECK-NEXT: return
func.func @main(%x: tensor<2x4xf32>, %p: tensor<4xf32>) -> tensor<2x4xf32> {
  %t = "pinion.constant"() {value = dense<[[[1.0, 2.0, 3.0, 4.0]], [[5.0, 6.0, 7.0, 8.0]], [[0.0, 1.0, 0.0, 1.0]]]> : tensor<3x1x4xf32>} : () -> tensor<3x1x4xf32>
  %y = "pinion.steps"(%x, %p, %t) {callee = @step, count = 3 : i64, tables = 1 : i64} : (tensor<2x4xf32>, tensor<4xf32>, tensor<3x1x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
func.func private @step(%x: tensor<2x4xf32>, %p: tensor<4xf32>, %t: tensor<1x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %0 = "pinion.matmul"(%t, %w) {onnx = ["e1", "e2", "e3"]} : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
  %1 = "pinion.unary"(%0) {kind = "silu"} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %2 = "pinion.binary"(%x, %1) {kind = "add"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  return %2 : tensor<2x4xf32>
}

//--- shapes.mlir
// Dimensions that attributes name count one more; rows of a lower rank than the result line up.
// CHECK-LABEL: func.func @main
// CHECK: "pinion.transpose"(%{{.*}}) {permutation = array<i64: 0, 2, 1>} : (tensor<2x2x3xf32>) -> tensor<2x3x2xf32>
// CHECK: "pinion.slice"(%{{.*}}) {starts = array<i64: 0, 1, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x2xf32>) -> tensor<2x2x2xf32>
// CHECK: "pinion.reduce"(%{{.*}}) {axes = array<i64: 2>, keep = false, kind = "sum"} : (tensor<2x2x2xf32>) -> tensor<2x2xf32>
// CHECK-DAG: %[[W:.*]] = "pinion.weight"{{.*}} -> tensor<3x2xf32>
// CHECK-DAG: %[[LINED_UP:.*]] = "pinion.reshape"(%{{.*}}) : (tensor<2x2xf32>) -> tensor<2x1x2xf32>
// CHECK: %[[SUM:.*]] = "pinion.binary"(%[[LINED_UP]], %[[W]]) {kind = "add"} : (tensor<2x1x2xf32>, tensor<3x2xf32>) -> tensor<2x3x2xf32>
// CHECK: %[[REPEATED:.*]] = "pinion.broadcast"(%[[W]]) : (tensor<3x2xf32>) -> tensor<2x3x2xf32>
// CHECK: "pinion.concat"(%[[SUM]], %[[REPEATED]]) {axis = 1 : i64}{{.*}} -> tensor<2x6x2xf32>
func.func @main(%x: tensor<6x2xf32>, %t: tensor<2x2x3xf32>) -> tensor<6x2xf32> {
  %y = "pinion.steps"(%x, %t) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<6x2xf32>, tensor<2x2x3xf32>) -> tensor<6x2xf32>
  return %y : tensor<6x2xf32>
}
func.func private @step(%x: tensor<6x2xf32>, %t: tensor<2x3xf32>) -> tensor<6x2xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<3x2xf32>
  %0 = "pinion.transpose"(%t) {permutation = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %1 = "pinion.slice"(%0) {starts = array<i64: 1, 0>, steps = array<i64: 1, 1>} : (tensor<3x2xf32>) -> tensor<2x2xf32>
  %2 = "pinion.reduce"(%1) {kind = "sum", axes = array<i64: 1>, keep = false} : (tensor<2x2xf32>) -> tensor<2xf32>
  %3 = "pinion.binary"(%2, %w) {kind = "add"} : (tensor<2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %4 = "pinion.concat"(%3, %w) {axis = 0 : i64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<6x2xf32>
  %5 = "pinion.binary"(%x, %4) {kind = "mul"} : (tensor<6x2xf32>, tensor<6x2xf32>) -> tensor<6x2xf32>
  return %5 : tensor<6x2xf32>
}

//--- stays.mlir
// Must not fire: what depends on the carried value or on an argument of the model; a product of two tables; a broadcast that
// the step's own op reads, which would only swell the table.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: "pinion.steps"(%{{.*}}, %{{.*}}, %{{.*}}) {callee = @step, count = 2 : i64, tables = 1 : i64}
// CHECK-LABEL: func.func private @step
// CHECK: "pinion.binary"(%{{.*}}, %{{.*}}) {kind = "mul"}
// CHECK: "pinion.matmul"
// CHECK: "pinion.broadcast"
func.func @main(%x: tensor<4x4xf32>, %p: tensor<4x4xf32>, %t: tensor<2x4x4xf32>) -> tensor<4x4xf32> {
  %y = "pinion.steps"(%x, %p, %t) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<2x4x4xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}
func.func private @step(%x: tensor<4x4xf32>, %p: tensor<4x4xf32>, %t: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = "pinion.binary"(%p, %t) {kind = "mul"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = "pinion.matmul"(%t, %t) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = "pinion.broadcast"(%t) : (tensor<4x4xf32>) -> tensor<2x4x4xf32>
  %3 = "pinion.matmul"(%2, %x) : (tensor<2x4x4xf32>, tensor<4x4xf32>) -> tensor<2x4x4xf32>
  %4 = "pinion.reduce"(%3) {kind = "sum", axes = array<i64: 0>, keep = false} : (tensor<2x4x4xf32>) -> tensor<4x4xf32>
  %5 = "pinion.binary"(%0, %1) {kind = "add"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %6 = "pinion.binary"(%5, %4) {kind = "add"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %6 : tensor<4x4xf32>
}

//--- twice.mlir
// Must not fire: two loops share the step, and their rows differ.
// CHECK-LABEL: func.func private @step
// CHECK: "pinion.unary"
func.func @main(%x: tensor<4xf32>, %t: tensor<2x4xf32>, %u: tensor<2x4xf32>) -> tensor<4xf32> {
  %y = "pinion.steps"(%x, %t) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<4xf32>, tensor<2x4xf32>) -> tensor<4xf32>
  %z = "pinion.steps"(%y, %u) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<4xf32>, tensor<2x4xf32>) -> tensor<4xf32>
  return %z : tensor<4xf32>
}
func.func private @step(%x: tensor<4xf32>, %t: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.unary"(%t) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.binary"(%x, %0) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

//--- nowhere.mlir
// A callee that is not there is a diagnostic.
// CHECK: pinion.steps{{.*}}: @step is no function of these operands
func.func @main(%x: tensor<4xf32>, %t: tensor<2x4xf32>) -> tensor<4xf32> {
  %y = "pinion.steps"(%x, %t) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<4xf32>, tensor<2x4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
