// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-epilogue %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fuse-epilogue %t/gate.mlir | FileCheck %t/gate.mlir
// RUN: pinion opt --passes=fuse-pointwise,fuse-epilogue %t/branch.mlir | FileCheck %t/branch.mlir
// RUN: pinion opt --passes=fuse-epilogue %t/stays.mlir | FileCheck %t/stays.mlir

//--- fires.mlir
// A tree moves into the product that it reads; a single op does too. The result keeps the ONNX value that it is, the
// location is that of both.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x4xf32>{{.*}}, %[[W:.*]]: tensor<4x8xf32>{{.*}}, %[[B:.*]]: tensor<8xf32>{{.*}}, %[[H:.*]]: tensor<2x4xbf16>{{.*}}, %[[V:.*]]: tensor<4x8xbf16>
// CHECK-NEXT: %[[Y:.*]] = "pinion.gemm"(%[[X]], %[[W]], %[[B]]) {body = ["add x0 x1", "silu v0", "yield v1"], onnx = "y", transpose_b = false} {{.*}}loc(#[[LOC:.*]])
// A bf16 product is rounded before the epilogue sees it.
// CHECK-NEXT: %[[Z:.*]] = "pinion.gemm"(%[[H]], %[[V]]) {body = ["cast.bf16 x0", "exp v0", "yield v1"], transpose_b = false} : (tensor<2x4xbf16>, tensor<4x8xbf16>) -> tensor<2x8xbf16>
// CHECK-NEXT: return %[[Y]], %[[Z]]
// CHECK: #[[MATMUL:.*]] = loc("matmul")
// CHECK: #[[SILU:.*]] = loc("silu")
// CHECK: #[[LOC]] = loc(fused[#[[MATMUL]], #[[SILU]]])
func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x8xf32>, %b: tensor<8xf32>, %h: tensor<2x4xbf16>, %v: tensor<4x8xbf16>) -> (tensor<2x8xf32>, tensor<2x8xbf16>) {
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x8xf32>) -> tensor<2x8xf32> loc("matmul")
  %1 = "pinion.pointwise"(%0, %b) {body = ["add x0 x1", "silu v0", "yield v1"], onnx = "y"} : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32> loc("silu")
  %2 = "pinion.matmul"(%h, %v) : (tensor<2x4xbf16>, tensor<4x8xbf16>) -> tensor<2x8xbf16>
  %3 = "pinion.unary"(%2) {kind = "exp"} : (tensor<2x8xbf16>) -> tensor<2x8xbf16>
  return %1, %3 : tensor<2x8xf32>, tensor<2x8xbf16>
}

//--- gate.mlir
// Of two products the later one takes the op; the other is an operand.
// CHECK-LABEL: func.func @main
// CHECK: %[[GATE:.*]] = "pinion.matmul"
// CHECK: "pinion.gemm"(%{{.*}}, %{{.*}}, %[[GATE]]) {body = ["gelu_tanh x1", "mul v0 x0", "yield v1"]
func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x8xf32>, %v: tensor<4x8xf32>) -> tensor<2x8xf32> {
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x8xf32>) -> tensor<2x8xf32>
  %1 = "pinion.matmul"(%x, %v) : (tensor<2x4xf32>, tensor<4x8xf32>) -> tensor<2x8xf32>
  %2 = "pinion.pointwise"(%0, %1) {body = ["gelu_tanh x0", "mul v0 x1", "yield v1"]} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %2 : tensor<2x8xf32>
}

//--- branch.mlir
// A linear layer from single ops: its bias on either side, the gate of an adaptive norm, the residual; all are the product's.
// CHECK-LABEL: func.func @main
// CHECK: %[[A:.*]] = "pinion.gemm"(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) {body = ["add {{.*}}", "mul {{.*}}", "add {{.*}}", "yield v2"]
// CHECK: %[[B:.*]] = "pinion.gemm"(%[[A]], {{.*}}body = ["add {{.*}}", "mul {{.*}}", "add {{.*}}", "yield v2"]
// CHECK-NEXT: return %[[B]]
func.func @main(%x: tensor<2x3x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8xf32>, %g: tensor<2x1x8xf32>) -> tensor<2x3x8xf32> {
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x3x8xf32>, tensor<8x8xf32>) -> tensor<2x3x8xf32>
  %1 = "pinion.binary"(%0, %b) {kind = "add"} : (tensor<2x3x8xf32>, tensor<8xf32>) -> tensor<2x3x8xf32>
  %2 = "pinion.binary"(%1, %g) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  %3 = "pinion.binary"(%x, %2) {kind = "add"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %4 = "pinion.matmul"(%3, %w) : (tensor<2x3x8xf32>, tensor<8x8xf32>) -> tensor<2x3x8xf32>
  %5 = "pinion.binary"(%b, %4) {kind = "add"} : (tensor<8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %6 = "pinion.binary"(%g, %5) {kind = "mul"} : (tensor<2x1x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %7 = "pinion.binary"(%6, %3) {kind = "add"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  return %7 : tensor<2x3x8xf32>
}

//--- stays.mlir
// Must not fire: another op reads the product, or the function returns it; the op has a larger shape, so the product would be
// computed again for each copy; an integer product; a vector's; a product of weights, which is computed at compile time.
// CHECK-LABEL: func.func @main
// CHECK-NOT: pinion.gemm
func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x8xf32>, %i: tensor<2x4xi32>, %j: tensor<4x8xi32>, %v: tensor<4xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<3x2x8xf32>, tensor<2x8xi32>, tensor<8xf32>, tensor<2x8xf32>) {
  %big = "pinion.constant"() {value = dense<1.0> : tensor<3x2x8xf32>} : () -> tensor<3x2x8xf32>
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x8xf32>) -> tensor<2x8xf32>
  %1 = "pinion.unary"(%0) {kind = "exp"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = "pinion.unary"(%0) {kind = "tanh"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %3 = "pinion.unary"(%x) {kind = "neg"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %4 = "pinion.matmul"(%3, %w) : (tensor<2x4xf32>, tensor<4x8xf32>) -> tensor<2x8xf32>
  %5 = "pinion.unary"(%4) {kind = "exp"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %6 = "pinion.unary"(%3) {kind = "abs"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %7 = "pinion.matmul"(%6, %w) : (tensor<2x4xf32>, tensor<4x8xf32>) -> tensor<2x8xf32>
  %8 = "pinion.binary"(%7, %big) {kind = "add"} : (tensor<2x8xf32>, tensor<3x2x8xf32>) -> tensor<3x2x8xf32>
  %9 = "pinion.matmul"(%i, %j) : (tensor<2x4xi32>, tensor<4x8xi32>) -> tensor<2x8xi32>
  %10 = "pinion.unary"(%9) {kind = "neg"} : (tensor<2x8xi32>) -> tensor<2x8xi32>
  %11 = "pinion.matmul"(%v, %w) : (tensor<4xf32>, tensor<4x8xf32>) -> tensor<8xf32>
  %12 = "pinion.unary"(%11) {kind = "exp"} : (tensor<8xf32>) -> tensor<8xf32>
  %13 = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xf32>
  %14 = "pinion.weight"() {name = "v", file = "w.bin", offset = 32 : i64} : () -> tensor<4x8xf32>
  %15 = "pinion.matmul"(%13, %14) : (tensor<2x4xf32>, tensor<4x8xf32>) -> tensor<2x8xf32>
  %16 = "pinion.binary"(%15, %7) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %1, %2, %4, %5, %8, %10, %12, %16 : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<3x2x8xf32>, tensor<2x8xi32>, tensor<8xf32>, tensor<2x8xf32>
}
