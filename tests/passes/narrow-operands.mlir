// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=narrow-operands %t/products.mlir | FileCheck %t/products.mlir
// RUN: pinion opt --passes=narrow-operands %t/attention.mlir | FileCheck %t/attention.mlir
// RUN: pinion opt --passes=narrow-operands %t/argument.mlir | FileCheck %t/argument.mlir
// RUN: pinion opt --passes=narrow-operands,lower-to-launches %t/argument.mlir | FileCheck %t/argument.mlir --check-prefix=LAUNCHES
// RUN: pinion opt --passes=narrow-operands %t/norm.mlir | FileCheck %t/norm.mlir
// RUN: pinion opt --passes=narrow-operands %t/as-exported.mlir | FileCheck %t/as-exported.mlir

//--- products.mlir
// A product of f32 takes rounded operands and keeps its sum; two products of one value share its cast. A float64 one and
// one that is bf16 already are none of the policy's business.
// CHECK-LABEL: func.func @main
// CHECK: %[[A:.*]] = "pinion.cast"({{.*}}) : (tensor<2x4xf32>) -> tensor<2x4xbf16>
// CHECK-NOT: "pinion.cast"({{.*}}) : (tensor<2x4xf32>)
// CHECK: %[[W:.*]] = "pinion.cast"({{.*}}) : (tensor<4x4xf32>) -> tensor<4x4xbf16>
// CHECK: "pinion.matmul"(%[[A]], %[[W]]) : (tensor<2x4xbf16>, tensor<4x4xbf16>) -> tensor<2x4xf32>
// CHECK: "pinion.matmul"(%[[A]], %[[H:.*]]) : (tensor<2x4xbf16>, tensor<4x4xbf16>) -> tensor<2x4xf32>
// CHECK: "pinion.matmul"(%[[H]], %[[H]]) : (tensor<4x4xbf16>, tensor<4x4xbf16>) -> tensor<4x4xbf16>
// CHECK: "pinion.matmul"({{.*}}) : (tensor<2x2xf64>, tensor<2x2xf64>) -> tensor<2x2xf64>
module attributes {pinion.precision = "bf16"} {
  func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %h: tensor<4x4xbf16>, %d: tensor<2x2xf64>)
      -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<4x4xbf16>, tensor<2x2xf64>) {
    %wide = "pinion.cast"(%h) : (tensor<4x4xbf16>) -> tensor<4x4xf32>
    %y = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %z = "pinion.matmul"(%x, %wide) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %b = "pinion.matmul"(%h, %h) : (tensor<4x4xbf16>, tensor<4x4xbf16>) -> tensor<4x4xbf16>
    %e = "pinion.matmul"(%d, %d) : (tensor<2x2xf64>, tensor<2x2xf64>) -> tensor<2x2xf64>
    return %y, %z, %b, %e : tensor<2x4xf32>, tensor<2x4xf32>, tensor<4x4xbf16>, tensor<2x2xf64>
  }
}

//--- attention.mlir
// The cast of q stands before its reshape, where what makes q can take it in; the result is bf16, and widened for others.
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]] = "pinion.cast"({{.*}}) : (tensor<6x8xf32>) -> tensor<6x8xbf16>
// CHECK: %[[Q:.*]] = "pinion.reshape"(%[[X]]) : (tensor<6x8xbf16>) -> tensor<1x2x6x4xbf16>
// CHECK: %[[Y:.*]] = "pinion.attention"(%[[Q]], %[[Q]], %[[Q]]) {{.*}} -> tensor<1x2x6x4xbf16>
// CHECK: "pinion.cast"(%[[Y]]) : (tensor<1x2x6x4xbf16>) -> tensor<1x2x6x4xf32>
module attributes {pinion.precision = "bf16"} {
  func.func @main(%x: tensor<6x8xf32>) -> tensor<1x2x6x4xf32> {
    %q = "pinion.reshape"(%x) : (tensor<6x8xf32>) -> tensor<1x2x6x4xf32>
    %y = "pinion.attention"(%q, %q, %q) {scale = 5.0e-01 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>) -> tensor<1x2x6x4xf32>
    return %y : tensor<1x2x6x4xf32>
  }
}

//--- argument.mlir
// No op in front could cast an argument: its transpose's reader does, in the launch that puts the rows together in any case. What
// an op computes is cast there.
// CHECK-LABEL: func.func @main
// CHECK: %[[T:.*]] = "pinion.transpose"({{.*}}) {{.*}} -> tensor<2x3x2xf32>
// CHECK: %[[C:.*]] = "pinion.cast"(%[[T]]) : (tensor<2x3x2xf32>) -> tensor<2x3x2xbf16>
// CHECK: "pinion.reshape"(%[[C]]) : (tensor<2x3x2xbf16>) -> tensor<6x2xbf16>
// CHECK: %[[S:.*]] = "pinion.softmax"
// CHECK: "pinion.cast"(%[[S]])
// CHECK: "pinion.transpose"(%{{.*}} -> tensor<2x2xbf16>
// LAUNCHES: body = ["cast.bf16 x0", "yield v0"], family = "pointwise"
// LAUNCHES-NOT: "yield x0"
// LAUNCHES: family = "gemm"
module attributes {pinion.precision = "bf16"} {
  func.func @main(%x: tensor<2x2x3xf32>, %y: tensor<2x2xf32>) -> tensor<6x2xf32> attributes {pinion.inputs = ["x", "y"], pinion.outputs = ["z"]} {
    %0 = "pinion.transpose"(%x) {permutation = array<i64: 0, 2, 1>} : (tensor<2x2x3xf32>) -> tensor<2x3x2xf32>
    %1 = "pinion.reshape"(%0) : (tensor<2x3x2xf32>) -> tensor<6x2xf32>
    %2 = "pinion.softmax"(%y) {axis = 1 : i64} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %3 = "pinion.transpose"(%2) {permutation = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %4 = "pinion.matmul"(%1, %3) : (tensor<6x2xf32>, tensor<2x2xf32>) -> tensor<6x2xf32>
    return %4 : tensor<6x2xf32>
  }
}

//--- norm.mlir
// A norm that only a product reads is stored as bf16; one that something else reads too is not.
// CHECK-LABEL: func.func @main
// CHECK: "pinion.norm"({{.*}} -> tensor<2x4xbf16>
// CHECK: "pinion.norm"({{.*}} -> tensor<2x4xf32>
module attributes {pinion.precision = "bf16"} {
  func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
    %n = "pinion.norm"(%x) {kind = "rms", axis = 1 : i64, epsilon = 1.0e-06 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %y = "pinion.matmul"(%n, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %m = "pinion.norm"(%y) {kind = "rms", axis = 1 : i64, epsilon = 1.0e-06 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %z = "pinion.matmul"(%m, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    return %y, %m, %z : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>
  }
}

//--- as-exported.mlir
// Must not fire: nothing was asked for.
// CHECK-LABEL: func.func @main
// CHECK-NOT: pinion.cast
// CHECK: "pinion.matmul"({{.*}}) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> tensor<2x4xf32> {
  %y = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
