// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=batch-vision %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=batch-vision %t/fused.mlir | FileCheck %t/fused.mlir
// RUN: pinion opt --passes=batch-vision %t/prepared.mlir | FileCheck %t/prepared.mlir
// RUN: pinion opt --passes=batch-vision,lower-to-launches %t/prepared.mlir | FileCheck %t/prepared.mlir --check-prefix=LAUNCHES
// RUN: pinion opt --passes=batch-vision %t/kept.mlir | FileCheck %t/kept.mlir
// RUN: pinion opt --passes=batch-vision --remarks %t/mixes.mlir 2>&1 | FileCheck %t/mixes.mlir
// RUN: pinion opt --passes=batch-vision --remarks %t/waits.mlir 2>&1 | FileCheck %t/waits.mlir
// RUN: pinion opt --passes=batch-vision %t/once.mlir | FileCheck %t/once.mlir

//--- fires.mlir
// Two cameras of two images each. A reshape may merge the batch with what follows; a transpose of the merged batch leaves it
// alone; the position's weights have a row for each image, so they are repeated; a class token is repeated, too. An op that has a
// name for each call keeps them: they are blocks.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4x4xf32>{{.*}}, %[[Z:.*]]: tensor<2x3x4x4xf32>
// CHECK-NEXT: %[[BOTH:.*]] = "pinion.concat"(%[[X]], %[[Z]]) {axis = 0 : i64} : (tensor<2x3x4x4xf32>, tensor<2x3x4x4xf32>) -> tensor<4x3x4x4xf32>
// CHECK-NEXT: %[[Y:.*]] = call @vision(%[[BOTH]]) : (tensor<4x3x4x4xf32>) -> tensor<4x5x6xf32>
// CHECK-NEXT: %[[A:.*]] = "pinion.slice"(%[[Y]]) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<4x5x6xf32>) -> tensor<2x5x6xf32>
// CHECK-NEXT: %[[B:.*]] = "pinion.slice"(%[[Y]]) {starts = array<i64: 2, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<4x5x6xf32>) -> tensor<2x5x6xf32>
// CHECK-NEXT: return %[[A]], %[[B]]
// CHECK-LABEL: func.func private @vision
// CHECK-SAME: tensor<4x3x4x4xf32>{{.*}}) -> tensor<4x5x6xf32>
// CHECK: "pinion.conv"{{.*}} -> tensor<4x6x2x2xf32>
// CHECK: "pinion.transpose"{{.*}} -> tensor<4x4x6xf32>
// CHECK: %[[P:.*]] = "pinion.concat"(%[[POSITION:.*]], %[[POSITION]]) {axis = 0 : i64}
// CHECK: "pinion.binary"(%{{.*}}, %[[P]]) {kind = "add"} : (tensor<4x4x6xf32>, tensor<4x4x6xf32>)
// CHECK: %[[T:.*]] = "pinion.concat"(%[[TOKEN:.*]], %[[TOKEN]]) {axis = 0 : i64}
// CHECK: "pinion.concat"(%[[T]], %{{.*}}) {axis = 1 : i64}{{.*}} -> tensor<4x5x6xf32>
// CHECK: "pinion.reshape"{{.*}} -> tensor<20x6xf32>
// CHECK: "pinion.matmul"{{.*}} {onnx = ["first", "second"]} : {{.*}} -> tensor<20x6xf32>
// CHECK: "pinion.matmul"(%{{[0-9]+}}, %{{[0-9]+}}) : (tensor<4x5x6xf32>, tensor<4x6x5xf32>) -> tensor<4x5x5xf32>
// CHECK: "pinion.softmax"
func.func @main(%x: tensor<2x3x4x4xf32>, %z: tensor<2x3x4x4xf32>) -> (tensor<2x5x6xf32>, tensor<2x5x6xf32>) {
  %0 = call @vision(%x) : (tensor<2x3x4x4xf32>) -> tensor<2x5x6xf32>
  %1 = call @vision(%z) : (tensor<2x3x4x4xf32>) -> tensor<2x5x6xf32>
  return %0, %1 : tensor<2x5x6xf32>, tensor<2x5x6xf32>
}
func.func private @vision(%x: tensor<2x3x4x4xf32>) -> tensor<2x5x6xf32> {
  %c = "pinion.weight"() {name = "c", file = "w.bin", offset = 0 : i64} : () -> tensor<6x3x2x2xf32>
  %p = "pinion.weight"() {name = "p", file = "w.bin", offset = 288 : i64} : () -> tensor<2x4x6xf32>
  %t = "pinion.weight"() {name = "t", file = "w.bin", offset = 480 : i64} : () -> tensor<2x1x6xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 528 : i64} : () -> tensor<6x6xf32>
  %0 = "pinion.conv"(%x, %c) {dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 2, 2>, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x4x4xf32>, tensor<6x3x2x2xf32>) -> tensor<2x6x2x2xf32>
  %1 = "pinion.reshape"(%0) : (tensor<2x6x2x2xf32>) -> tensor<2x6x4xf32>
  %2 = "pinion.transpose"(%1) {permutation = array<i64: 0, 2, 1>} : (tensor<2x6x4xf32>) -> tensor<2x4x6xf32>
  %3 = "pinion.binary"(%2, %p) {kind = "add"} : (tensor<2x4x6xf32>, tensor<2x4x6xf32>) -> tensor<2x4x6xf32>
  %4 = "pinion.concat"(%t, %3) {axis = 1 : i64} : (tensor<2x1x6xf32>, tensor<2x4x6xf32>) -> tensor<2x5x6xf32>
  %5 = "pinion.reshape"(%4) : (tensor<2x5x6xf32>) -> tensor<10x6xf32>
  %6 = "pinion.matmul"(%5, %w) {onnx = ["first", "second"]} : (tensor<10x6xf32>, tensor<6x6xf32>) -> tensor<10x6xf32>
  %7 = "pinion.reshape"(%6) : (tensor<10x6xf32>) -> tensor<2x5x6xf32>
  %8 = "pinion.transpose"(%7) {permutation = array<i64: 0, 2, 1>} : (tensor<2x5x6xf32>) -> tensor<2x6x5xf32>
  %9 = "pinion.matmul"(%7, %8) {onnx = "one"} : (tensor<2x5x6xf32>, tensor<2x6x5xf32>) -> tensor<2x5x5xf32>
  %10 = "pinion.softmax"(%9) {axis = 2 : i64} : (tensor<2x5x5xf32>) -> tensor<2x5x5xf32>
  %11 = "pinion.matmul"(%10, %4) : (tensor<2x5x5xf32>, tensor<2x5x6xf32>) -> tensor<2x5x6xf32>
  return %11 : tensor<2x5x6xf32>
}

//--- fused.mlir
// Three calls of a tower of fused ops.
// CHECK: call @vision(%{{.*}}) : (tensor<3x1x4x4xf32>) -> tensor<3x2x4x2xf32>
// CHECK: "pinion.norm"{{.*}} -> tensor<3x4x4xf32>
// CHECK: "pinion.gemm"{{.*}} : (tensor<3x4x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<3x4x4xf32>
// CHECK: "pinion.attention"{{.*}} -> tensor<3x2x4x2xf32>
func.func @main(%x: tensor<1x1x4x4xf32>, %y: tensor<1x1x4x4xf32>, %z: tensor<1x1x4x4xf32>) -> (tensor<1x2x4x2xf32>, tensor<1x2x4x2xf32>, tensor<1x2x4x2xf32>) {
  %0 = call @vision(%x) : (tensor<1x1x4x4xf32>) -> tensor<1x2x4x2xf32>
  %1 = call @vision(%y) : (tensor<1x1x4x4xf32>) -> tensor<1x2x4x2xf32>
  %2 = call @vision(%z) : (tensor<1x1x4x4xf32>) -> tensor<1x2x4x2xf32>
  return %0, %1, %2 : tensor<1x2x4x2xf32>, tensor<1x2x4x2xf32>, tensor<1x2x4x2xf32>
}
func.func private @vision(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x4x2xf32> {
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 0 : i64} : () -> tensor<4xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 16 : i64} : () -> tensor<4x4xf32>
  %0 = "pinion.reshape"(%x) : (tensor<1x1x4x4xf32>) -> tensor<1x4x4xf32>
  %1 = "pinion.norm"(%0, %s) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x4xf32>, tensor<4xf32>) -> tensor<1x4x4xf32>
  %2 = "pinion.gemm"(%1, %w, %s) {body = ["add x0 x1", "yield v0"], transpose_b = false} : (tensor<1x4x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<1x4x4xf32>
  %3 = "pinion.reshape"(%2) : (tensor<1x4x4xf32>) -> tensor<1x4x2x2xf32>
  %4 = "pinion.transpose"(%3) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x4x2x2xf32>) -> tensor<1x2x4x2xf32>
  %5 = "pinion.attention"(%4, %4, %4) {scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x4x2xf32>, tensor<1x2x4x2xf32>, tensor<1x2x4x2xf32>) -> tensor<1x2x4x2xf32>
  return %5 : tensor<1x2x4x2xf32>
}

//--- prepared.mlir
// What is done to an image, element by element and in another order, the caller does, for each camera on the way to its place in
// the batch: one launch each, and none in the tower. The exponential behind would be a launch for each camera more: it stays.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x4x6xf32>{{.*}}, %[[Z:.*]]: tensor<1x4x6xf32>
// CHECK-NEXT: %[[X1:.*]] = "pinion.reshape"(%[[X]]) : (tensor<1x4x6xf32>) -> tensor<1x2x2x6xf32>
// CHECK-NEXT: %[[X2:.*]] = "pinion.transpose"(%[[X1]])
// CHECK-NEXT: %[[X3:.*]] = "pinion.cast"(%[[X2]]) : (tensor<1x2x6x2xf32>) -> tensor<1x2x6x2xbf16>
// CHECK-NEXT: %[[X4:.*]] = "pinion.reshape"(%[[X3]]) : (tensor<1x2x6x2xbf16>) -> tensor<1x12x2xbf16>
// CHECK-NEXT: "pinion.reshape"(%[[Z]])
// CHECK-NEXT: "pinion.transpose"
// CHECK-NEXT: "pinion.cast"
// CHECK-NEXT: %[[Z4:.*]] = "pinion.reshape"
// CHECK-NEXT: %[[BOTH:.*]] = "pinion.concat"(%[[X4]], %[[Z4]]) {axis = 0 : i64}
// CHECK-NEXT: call @vision(%[[BOTH]]) : (tensor<2x12x2xbf16>) -> tensor<2x12x2xbf16>
// CHECK-LABEL: func.func private @vision
// CHECK-SAME: (%[[P:.*]]: tensor<2x12x2xbf16>
// CHECK-NEXT: "pinion.unary"(%[[P]]) {kind = "exp"}
// CHECK-NEXT: "pinion.softmax"
// LAUNCHES-COUNT-2: body = ["cast.bf16 x0", "yield v0"], family = "pointwise"{{.*}} stage = 0
// LAUNCHES-NEXT: body = ["exp x0", "yield v0"], family = "pointwise"{{.*}} stage = 1
// LAUNCHES-NEXT: family = "softmax"{{.*}} stage = 1
func.func @main(%x: tensor<1x4x6xf32>, %z: tensor<1x4x6xf32>) -> (tensor<1x12x2xbf16>, tensor<1x12x2xbf16>) attributes {pinion.inputs = ["x", "z"], pinion.outputs = ["a", "b"]} {
  %0 = call @vision(%x) : (tensor<1x4x6xf32>) -> tensor<1x12x2xbf16>
  %1 = call @vision(%z) : (tensor<1x4x6xf32>) -> tensor<1x12x2xbf16>
  return %0, %1 : tensor<1x12x2xbf16>, tensor<1x12x2xbf16>
}
func.func private @vision(%x: tensor<1x4x6xf32>) -> tensor<1x12x2xbf16> {
  %0 = "pinion.reshape"(%x) : (tensor<1x4x6xf32>) -> tensor<1x2x2x6xf32>
  %1 = "pinion.transpose"(%0) {permutation = array<i64: 0, 1, 3, 2>} : (tensor<1x2x2x6xf32>) -> tensor<1x2x6x2xf32>
  %2 = "pinion.cast"(%1) : (tensor<1x2x6x2xf32>) -> tensor<1x2x6x2xbf16>
  %3 = "pinion.reshape"(%2) : (tensor<1x2x6x2xbf16>) -> tensor<1x12x2xbf16>
  %4 = "pinion.unary"(%3) {kind = "exp"} : (tensor<1x12x2xbf16>) -> tensor<1x12x2xbf16>
  %5 = "pinion.softmax"(%4) {axis = 2 : i64} : (tensor<1x12x2xbf16>) -> tensor<1x12x2xbf16>
  return %5 : tensor<1x12x2xbf16>
}

//--- kept.mlir
// The tower keeps what would cost the callers more: a cast of what is computed in front of a call, which may be written to its
// place in the batch; a cast that another op shares its argument with; a reshape alone.
// CHECK-LABEL: func.func @main
// CHECK-COUNT-3: "pinion.concat"
// CHECK-NEXT: call @vision(%{{.*}}) : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>)
// CHECK-LABEL: func.func private @vision
// CHECK-COUNT-2: "pinion.cast"
func.func @main(%x: tensor<1x4xf32>, %z: tensor<1x4xf32>) -> (tensor<1x4xbf16>, tensor<1x4xbf16>) {
  %0 = "pinion.softmax"(%x) {axis = 1 : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %1 = "pinion.softmax"(%z) {axis = 1 : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %2 = call @vision(%0, %x, %x) : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xbf16>
  %3 = call @vision(%1, %z, %z) : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xbf16>
  return %2, %3 : tensor<1x4xbf16>, tensor<1x4xbf16>
}
func.func private @vision(%x: tensor<1x4xf32>, %y: tensor<1x4xf32>, %z: tensor<1x4xf32>) -> tensor<1x4xbf16> {
  %0 = "pinion.cast"(%x) : (tensor<1x4xf32>) -> tensor<1x4xbf16>
  %1 = "pinion.cast"(%y) : (tensor<1x4xf32>) -> tensor<1x4xbf16>
  %2 = "pinion.softmax"(%y) {axis = 1 : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %3 = "pinion.reshape"(%z) : (tensor<1x4xf32>) -> tensor<1x2x2xf32>
  %4 = "pinion.softmax"(%3) {axis = 2 : i64} : (tensor<1x2x2xf32>) -> tensor<1x2x2xf32>
  %5 = "pinion.reshape"(%4) : (tensor<1x2x2xf32>) -> tensor<1x4xf32>
  %6 = "pinion.binary"(%2, %5) {kind = "add"} : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %7 = "pinion.pointwise"(%0, %1, %6) {body = ["add x0 x1", "add v0 x2", "yield v1"]} : (tensor<1x4xbf16>, tensor<1x4xbf16>, tensor<1x4xf32>) -> tensor<1x4xbf16>
  return %7 : tensor<1x4xbf16>
}

//--- mixes.mlir
// Must not fire: rows of dimension 0 are mixed.
// CHECK: remark: batch-vision: not at line {{[0-9]+}}: its pinion.softmax does not compute each part of dimension 0 from the same part of its operands
// CHECK-COUNT-2: call @vision
func.func @main(%x: tensor<2x4xf32>, %y: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %0 = call @vision(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = call @vision(%y) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0, %1 : tensor<2x4xf32>, tensor<2x4xf32>
}
func.func private @vision(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %0 = "pinion.softmax"(%x) {axis = 0 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

//--- waits.mlir
// Must not fire: the second call needs the first one's result.
// CHECK: remark: batch-vision: not at {{.*}}: a call needs what is computed after the first one
// CHECK-COUNT-2: call @vision
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %0 = call @vision(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = call @vision(%0) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}
func.func private @vision(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %0 = "pinion.softmax"(%x) {axis = 1 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

//--- once.mlir
// Must not fire: one call alone; a function that steps repeat, which a batch would compute at once; a result that is the same
// for all cameras.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: call @once
// CHECK-NEXT: call @both
// CHECK-NEXT: "pinion.steps"
// CHECK-NEXT: call @weight
// CHECK-NEXT: call @weight
func.func @main(%x: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>) {
  %0 = call @once(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = call @both(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = "pinion.steps"(%x) {callee = @both, count = 2 : i64, tables = 0 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %3 = call @weight(%x) : (tensor<2x4xf32>) -> tensor<2xf32>
  %4 = call @weight(%0) : (tensor<2x4xf32>) -> tensor<2xf32>
  return %0, %1, %2, %3, %4 : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>
}
func.func private @once(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
func.func private @both(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
func.func private @weight(%x: tensor<2x4xf32>) -> tensor<2xf32> {
  %0 = "pinion.constant"() {value = dense<1.0> : tensor<2xf32>} : () -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
