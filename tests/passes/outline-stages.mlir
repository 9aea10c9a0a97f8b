// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=outline-stages %t/two_cameras.mlir | FileCheck %t/two_cameras.mlir
// RUN: pinion opt --passes=outline-stages,outline-stages %t/two_cameras.mlir | FileCheck %t/two_cameras.mlir
// RUN: pinion opt --passes=outline-stages %t/other_weights.mlir | FileCheck %t/other_weights.mlir
// RUN: pinion opt --passes=outline-stages %t/joined.mlir | FileCheck %t/joined.mlir
// RUN: pinion opt --passes=outline-stages %t/no_images.mlir | FileCheck %t/no_images.mlir
// RUN: pinion opt --passes=outline-stages %t/nothing.mlir | FileCheck %t/nothing.mlir

//--- two_cameras.mlir
// Two towers that are copies become one function, called for each image; what else does not depend on the noise is the
// prefix; the cast of the noise stays. Each function has its own reference to the shared weight.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[A:.*]]: tensor<1x1x4x4xf32>{{.*}}, %[[B:.*]]: tensor<1x1x4x4xf32>{{.*}}, %[[S:.*]]: tensor<4xf32>{{.*}}, %[[N:.*]]: tensor<4xbf16>
// CHECK-NEXT: %[[VA:.*]] = call @vision(%[[A]])
// CHECK-NEXT: %[[VB:.*]] = call @vision(%[[B]])
// CHECK-NEXT: %[[P:.*]] = call @prefix(
// CHECK-NEXT: %[[X:.*]] = "pinion.cast"(%[[N]])
// CHECK-NEXT: %[[Y:.*]] = "pinion.steps"(%[[X]], %[[P]])
// CHECK-NEXT: return %[[Y]]
// CHECK-LABEL: func.func private @step
// CHECK-LABEL: func.func private @vision(%{{.*}}: tensor<1x1x4x4xf32>{{.*}}) -> tensor<4xf32>
// CHECK: "pinion.weight"
// CHECK: "pinion.matmul"
// CHECK-SAME: onnx = ["a", "b"]
// CHECK-LABEL: func.func private @prefix
// CHECK-SAME: -> tensor<4xf32>
// CHECK: "pinion.concat"
// CHECK: "pinion.weight"
// CHECK: "pinion.matmul"
func.func @main(%a: tensor<1x1x4x4xf32>, %b: tensor<1x1x4x4xf32>, %s: tensor<4xf32>, %n: tensor<4xbf16>) -> tensor<4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<16x4xf32>
  %w2 = "pinion.weight"() {name = "w2", file = "w.bin", offset = 256 : i64} : () -> tensor<12x4xf32>
  %a0 = "pinion.reshape"(%a) : (tensor<1x1x4x4xf32>) -> tensor<16xf32>
  %b0 = "pinion.reshape"(%b) : (tensor<1x1x4x4xf32>) -> tensor<16xf32>
  %a1 = "pinion.matmul"(%a0, %w) {onnx = "a"} : (tensor<16xf32>, tensor<16x4xf32>) -> tensor<4xf32>
  %b1 = "pinion.matmul"(%b0, %w) {onnx = "b"} : (tensor<16xf32>, tensor<16x4xf32>) -> tensor<4xf32>
  %all = "pinion.concat"(%a1, %b1, %s) {axis = 0 : i64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<12xf32>
  %p = "pinion.matmul"(%all, %w2) : (tensor<12xf32>, tensor<12x4xf32>) -> tensor<4xf32>
  %x = "pinion.cast"(%n) : (tensor<4xbf16>) -> tensor<4xf32>
  %y = "pinion.steps"(%x, %p) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @step(%x: tensor<4xf32>, %p: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.binary"(%x, %p) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

//--- other_weights.mlir
// Must not fire as one function: the second tower has weights of its own. Each camera has its function.
// CHECK-LABEL: func.func @main
// CHECK: call @vision(
// CHECK: call @vision_1(
// CHECK-LABEL: func.func private @vision(
// CHECK: offset = 0
// CHECK-LABEL: func.func private @vision_1(
// CHECK: offset = 256
func.func @main(%a: tensor<1x1x4x4xf32>, %b: tensor<1x1x4x4xf32>) -> tensor<4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<16x4xf32>
  %w2 = "pinion.weight"() {name = "w2", file = "w.bin", offset = 256 : i64} : () -> tensor<16x4xf32>
  %a0 = "pinion.reshape"(%a) : (tensor<1x1x4x4xf32>) -> tensor<16xf32>
  %b0 = "pinion.reshape"(%b) : (tensor<1x1x4x4xf32>) -> tensor<16xf32>
  %a1 = "pinion.matmul"(%a0, %w) : (tensor<16xf32>, tensor<16x4xf32>) -> tensor<4xf32>
  %b1 = "pinion.matmul"(%b0, %w2) : (tensor<16xf32>, tensor<16x4xf32>) -> tensor<4xf32>
  %y = "pinion.binary"(%a1, %b1) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

//--- joined.mlir
// Cameras that the exporter joined into one batch before the tower: one function of all images.
// CHECK-LABEL: func.func @main
// CHECK: %[[V:.*]] = call @vision(%{{.*}}, %{{.*}})
// CHECK-NEXT: %[[Y:.*]] = "pinion.binary"(%[[V]]
// CHECK-NEXT: return %[[Y]]
func.func @main(%a: tensor<1x1x4x4xf32>, %b: tensor<1x1x4x4xf32>, %s: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<16x4xf32>
  %0 = "pinion.concat"(%a, %b) {axis = 0 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<2x1x4x4xf32>
  %1 = "pinion.reshape"(%0) : (tensor<2x1x4x4xf32>) -> tensor<2x16xf32>
  %2 = "pinion.matmul"(%1, %w) : (tensor<2x16xf32>, tensor<16x4xf32>) -> tensor<2x4xf32>
  %y = "pinion.binary"(%2, %s) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

//--- no_images.mlir
// No images: a prefix alone. Its call stands in front, before the first user of any of its results.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[S:.*]]: tensor<4xf32>{{.*}}, %[[X:.*]]: tensor<4xf32>
// CHECK-NEXT: %[[P:.*]]:2 = call @prefix(%[[S]])
// CHECK-NEXT: %[[Z:.*]] = "pinion.binary"(%[[X]], %[[P]]#0)
// CHECK-NEXT: %[[Y:.*]] = "pinion.steps"(%[[X]], %[[P]]#1)
// CHECK-NEXT: "pinion.binary"(%[[Y]], %[[Z]])
// CHECK-NOT: @vision
func.func @main(%s: tensor<4xf32>, %x: tensor<4xf32>) -> tensor<4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %p = "pinion.unary"(%s) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  %z = "pinion.binary"(%x, %p) {kind = "mul"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %q = "pinion.matmul"(%p, %w) : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
  %y = "pinion.steps"(%x, %q) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %r = "pinion.binary"(%y, %z) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %r : tensor<4xf32>
}
func.func private @step(%x: tensor<4xf32>, %p: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.binary"(%x, %p) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

//--- nothing.mlir
// Must not fire: no steps, and an image that no contraction reads.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: "pinion.unary"
// CHECK-NEXT: return
// CHECK-NOT: func.func private
func.func @main(%a: tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32> {
  %0 = "pinion.unary"(%a) {kind = "neg"} : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  return %0 : tensor<1x1x4x4xf32>
}
