// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: printf 'aaaabbbbaaaa' > %t/w.bin
// RUN: pinion opt --passes=eliminate-common %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=eliminate-common %t/differs.mlir | FileCheck %t/differs.mlir

//--- fires.mlir
// Equal ops become the first, with both locations; the ONNX value that a result is called does not count. Weights are equal
// if their bytes are.
// CHECK-LABEL: func.func @main
// CHECK: %[[W:.*]] = "pinion.weight"() {{.*}}offset = 0 : i64
// CHECK-NEXT: %[[OTHER:.*]] = "pinion.weight"() {{.*}}offset = 4 : i64
// CHECK-NEXT: %[[E:.*]] = "pinion.unary"(%{{.*}}) {kind = "exp", onnx = "first"} {{.*}}loc(#[[BOTH:.*]])
// CHECK-NEXT: "pinion.binary"(%[[E]], %[[E]])
// CHECK-NEXT: "pinion.concat"(%[[W]], %[[OTHER]], %[[W]])
// CHECK: #[[A:.*]] = loc("exp_a")
// CHECK: #[[B:.*]] = loc("exp_b")
// CHECK: #[[BOTH]] = loc(fused[#[[A]], #[[B]]])
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<3xf32>) {
  %w1 = "pinion.weight"() {name = "w1", file = "w.bin", offset = 0 : i64} : () -> tensor<1xf32>
  %w2 = "pinion.weight"() {name = "w2", file = "w.bin", offset = 4 : i64} : () -> tensor<1xf32>
  %w3 = "pinion.weight"() {name = "w3", file = "w.bin", offset = 8 : i64} : () -> tensor<1xf32>
  %0 = "pinion.unary"(%x) {kind = "exp", onnx = "first"} : (tensor<4xf32>) -> tensor<4xf32> loc("exp_a")
  %1 = "pinion.unary"(%x) {kind = "exp", onnx = "second"} : (tensor<4xf32>) -> tensor<4xf32> loc("exp_b")
  %2 = "pinion.binary"(%0, %1) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = "pinion.concat"(%w1, %w2, %w3) {axis = 0 : i64} : (tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<3xf32>
  return %2, %3 : tensor<4xf32>, tensor<3xf32>
}

//--- differs.mlir
// Must not fire: another attribute, another result type, other operands, weights of other types over the same bytes, and
// weights whose file is not at hand.
// CHECK-LABEL: func.func @main
// CHECK-COUNT-4: "pinion.weight"
// CHECK-COUNT-2: "pinion.unary"
// CHECK-COUNT-2: "pinion.reshape"
// CHECK-COUNT-2: "pinion.binary"
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<1xf32>, tensor<1xi32>, tensor<1xf32>, tensor<1xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x2xf32>, tensor<1x4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %w1 = "pinion.weight"() {name = "w1", file = "w.bin", offset = 0 : i64} : () -> tensor<1xf32>
  %w2 = "pinion.weight"() {name = "w2", file = "w.bin", offset = 0 : i64} : () -> tensor<1xi32>
  %w3 = "pinion.weight"() {name = "w3", file = "absent.bin", offset = 0 : i64} : () -> tensor<1xf32>
  %w4 = "pinion.weight"() {name = "w4", file = "absent.bin", offset = 4 : i64} : () -> tensor<1xf32>
  %0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.unary"(%x) {kind = "tanh"} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = "pinion.reshape"(%x) : (tensor<4xf32>) -> tensor<2x2xf32>
  %3 = "pinion.reshape"(%x) : (tensor<4xf32>) -> tensor<1x4xf32>
  %4 = "pinion.binary"(%x, %y) {kind = "sub"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %5 = "pinion.binary"(%y, %x) {kind = "sub"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %w1, %w2, %w3, %w4, %0, %1, %2, %3, %4, %5 : tensor<1xf32>, tensor<1xi32>, tensor<1xf32>, tensor<1xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x2xf32>, tensor<1x4xf32>, tensor<4xf32>, tensor<4xf32>
}
