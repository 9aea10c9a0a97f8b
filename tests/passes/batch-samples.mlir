// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=batch-samples %t/grows.mlir | FileCheck %t/grows.mlir
// RUN: pinion opt --passes=batch-samples %t/one.mlir | FileCheck %t/one.mlir
// RUN: not pinion opt --passes=batch-samples %t/two.mlir 2>&1 | FileCheck %t/two.mlir
// RUN: not pinion opt --passes=batch-samples %t/mixes.mlir 2>&1 | FileCheck %t/mixes.mlir
// RUN: not pinion opt --passes=batch-samples %t/constant.mlir 2>&1 | FileCheck %t/constant.mlir

//--- grows.mlir
// Three samples: what depends on an input grows, across calls and steps; weights, tables and what is made of them alone stay. A
// row of fewer dimensions than what it is broadcast to keeps its samples in front. What is put beside a sample is repeated. Names
// of ONNX values stay: they have grown as well.
// CHECK: module
// CHECK-NOT: pinion.batch
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[TOKENS:.*]]: tensor<3x2xi64>{{.*}}, %[[MASK:.*]]: tensor<3xi1>{{.*}}, %[[NOISE:.*]]: tensor<3x4x5xf32>{{.*}}) -> tensor<3x4x5xf32>
// CHECK: "pinion.gather"(%{{.*}}, %[[TOKENS]]) {axis = 0 : i64, onnx = "words"} : (tensor<9x5xf32>, tensor<3x2xi64>) -> tensor<3x2x5xf32>
// CHECK: %[[LONG:.*]] = "pinion.reshape"(%[[MASK]]) : (tensor<3xi1>) -> tensor<3x1xi1>
// CHECK: %[[VALID:.*]] = "pinion.broadcast"(%[[LONG]]) : (tensor<3x1xi1>) -> tensor<3x2xi1>
// CHECK: %[[THREE:.*]] = "pinion.broadcast"(%{{.*}}) : (tensor<1x1xi1>) -> tensor<3x1xi1>
// CHECK: "pinion.concat"(%[[VALID]], %[[THREE]]) {axis = 1 : i64} : (tensor<3x2xi1>, tensor<3x1xi1>) -> tensor<3x3xi1>
// CHECK: call @prefix(%{{.*}}) : (tensor<3x2x5xf32>) -> tensor<3x2x5xf32>
// CHECK: "pinion.steps"({{.*}} : (tensor<3x4x5xf32>, tensor<3x2x5xf32>, tensor<3x3xi1>, tensor<2x5xf32>) -> tensor<3x4x5xf32>
// CHECK-LABEL: func.func private @prefix(%{{.*}}: tensor<3x2x5xf32>{{.*}}) -> tensor<3x2x5xf32>
// CHECK: "pinion.reshape"(%{{.*}}) : (tensor<3x2x5xf32>) -> tensor<6x5xf32>
// CHECK: "pinion.matmul"{{.*}} : (tensor<6x5xf32>, tensor<5x5xf32>) -> tensor<6x5xf32>
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%{{.*}}: tensor<3x4x5xf32>{{.*}}, %{{.*}}: tensor<3x2x5xf32>{{.*}}, %{{.*}}: tensor<3x3xi1>{{.*}}, %{{.*}}: tensor<5xf32>{{.*}}) -> tensor<3x4x5xf32>
// CHECK: "pinion.binary"(%{{.*}}, %{{.*}}) {kind = "add"} : (tensor<3x4x5xf32>, tensor<5xf32>) -> tensor<3x4x5xf32>
module attributes {pinion.batch = 3 : i64} {
func.func @main(%tokens: tensor<1x2xi64>, %mask: tensor<1xi1>, %noise: tensor<1x4x5xf32>) -> tensor<1x4x5xf32> {
  %words = "pinion.weight"() {name = "words", file = "w.bin", offset = 0 : i64} : () -> tensor<9x5xf32>
  %table = "pinion.weight"() {name = "table", file = "w.bin", offset = 180 : i64} : () -> tensor<2x5xf32>
  %true = "pinion.constant"() {value = dense<true> : tensor<1x1xi1>} : () -> tensor<1x1xi1>
  %0 = "pinion.gather"(%words, %tokens) {axis = 0 : i64, onnx = "words"} : (tensor<9x5xf32>, tensor<1x2xi64>) -> tensor<1x2x5xf32>
  %1 = "pinion.broadcast"(%mask) : (tensor<1xi1>) -> tensor<1x2xi1>
  %2 = "pinion.concat"(%1, %true) {axis = 1 : i64} : (tensor<1x2xi1>, tensor<1x1xi1>) -> tensor<1x3xi1>
  %3 = call @prefix(%0) : (tensor<1x2x5xf32>) -> tensor<1x2x5xf32>
  %4 = "pinion.steps"(%noise, %3, %2, %table) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<1x4x5xf32>, tensor<1x2x5xf32>, tensor<1x3xi1>, tensor<2x5xf32>) -> tensor<1x4x5xf32>
  return %4 : tensor<1x4x5xf32>
}
func.func private @prefix(%x: tensor<1x2x5xf32>) -> tensor<1x2x5xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 220 : i64} : () -> tensor<5x5xf32>
  %0 = "pinion.reshape"(%x) : (tensor<1x2x5xf32>) -> tensor<2x5xf32>
  %1 = "pinion.matmul"(%0, %w) : (tensor<2x5xf32>, tensor<5x5xf32>) -> tensor<2x5xf32>
  %2 = "pinion.reshape"(%1) : (tensor<2x5xf32>) -> tensor<1x2x5xf32>
  return %2 : tensor<1x2x5xf32>
}
func.func private @step(%x: tensor<1x4x5xf32>, %prefix: tensor<1x2x5xf32>, %valid: tensor<1x3xi1>, %row: tensor<5xf32>) -> tensor<1x4x5xf32> {
  %0 = "pinion.binary"(%x, %row) {kind = "add"} : (tensor<1x4x5xf32>, tensor<5xf32>) -> tensor<1x4x5xf32>
  %1 = "pinion.reduce"(%prefix) {kind = "sum", axes = array<i64: 1>, keep = true} : (tensor<1x2x5xf32>) -> tensor<1x1x5xf32>
  %2 = "pinion.binary"(%0, %1) {kind = "mul"} : (tensor<1x4x5xf32>, tensor<1x1x5xf32>) -> tensor<1x4x5xf32>
  return %2 : tensor<1x4x5xf32>
}
}

//--- one.mlir
// Must not fire: no batch is asked for.
// CHECK: func.func @main(%{{.*}}: tensor<1x2xf32>{{.*}}) -> tensor<1x2xf32>
func.func @main(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %0 = "pinion.unary"(%x) {kind = "neg"} : (tensor<1x2xf32>) -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}

//--- two.mlir
// The model has a batch of its own.
// CHECK: the model must take one sample, but dimension 0 of input 'y' is not 1
module attributes {pinion.batch = 4 : i64} {
func.func @main(%x: tensor<1x2xf32>, %y: tensor<2x2xf32>) -> tensor<2x2xf32> attributes {pinion.inputs = ["x", "y"]} {
  %0 = "pinion.binary"(%x, %y) {kind = "add"} : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}
}

//--- mixes.mlir
// Samples would meet in this sum.
// CHECK: node 'meets' (pinion.reduce): batch: it does not compute each sample of its result from the same sample of its operands
module attributes {pinion.batch = 4 : i64} {
func.func @main(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %0 = "pinion.reduce"(%x) {kind = "sum", axes = array<i64: 0>, keep = true} : (tensor<1x2xf32>) -> tensor<1x2xf32> loc("meets")
  return %0 : tensor<1x2xf32>
}
}

//--- constant.mlir
// CHECK: a result of the model, or of one of its stages, does not depend on the inputs
module attributes {pinion.batch = 4 : i64} {
func.func @main(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %0 = "pinion.constant"() {value = dense<1.0> : tensor<1x2xf32>} : () -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}
}
