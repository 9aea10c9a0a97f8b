// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=choose-precision %t/float32.mlir | FileCheck %t/float32.mlir
// RUN: pinion opt --passes=choose-precision %t/bf16.mlir | FileCheck %t/bf16.mlir
// RUN: pinion opt --passes=choose-precision %t/as-exported.mlir | FileCheck %t/as-exported.mlir
// RUN: not pinion opt --passes=choose-precision %t/unknown.mlir 2>&1 | FileCheck %t/unknown.mlir

//--- float32.mlir
// Inputs and outputs keep their types; a weight keeps its bytes and is widened by a cast; the rest changes its type.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x4xbf16>{{.*}}) -> tensor<2x4xbf16>
// CHECK: %[[XW:.*]] = "pinion.cast"(%[[X]]) : (tensor<2x4xbf16>) -> tensor<2x4xf32>
// CHECK: %[[W:.*]] = "pinion.weight"() {{.*}} -> tensor<4x4xbf16>
// CHECK: %[[WW:.*]] = "pinion.cast"(%[[W]]) : (tensor<4x4xbf16>) -> tensor<4x4xf32>
// CHECK: %[[Y:.*]] = "pinion.matmul"(%[[XW]], %[[WW]]) : {{.*}} -> tensor<2x4xf32>
// CHECK: %[[N:.*]] = "pinion.cast"(%[[Y]]) : (tensor<2x4xf32>) -> tensor<2x4xbf16>
// CHECK: return %[[N]] : tensor<2x4xbf16>
module attributes {pinion.precision = "float32"} {
  func.func @main(%x: tensor<2x4xbf16>) -> tensor<2x4xbf16> {
    %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xbf16>
    %y = "pinion.matmul"(%x, %w) : (tensor<2x4xbf16>, tensor<4x4xbf16>) -> tensor<2x4xbf16>
    return %y : tensor<2x4xbf16>
  }
}

//--- bf16.mlir
// Must not fire: narrow-operands and drop-roundings act on this policy.
// CHECK-LABEL: func.func @main
// CHECK-NOT: pinion.cast
// CHECK: "pinion.matmul"({{.*}}) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
module attributes {pinion.precision = "bf16"} {
  func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> tensor<2x4xf32> {
    %y = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }
}

//--- as-exported.mlir
// Must not fire: nothing was asked for.
// CHECK-LABEL: func.func @main
// CHECK-NOT: pinion.cast
// CHECK: "pinion.matmul"({{.*}}) : (tensor<2x4xbf16>, tensor<4x4xbf16>) -> tensor<2x4xbf16>
func.func @main(%x: tensor<2x4xbf16>, %w: tensor<4x4xbf16>) -> tensor<2x4xbf16> {
  %y = "pinion.matmul"(%x, %w) : (tensor<2x4xbf16>, tensor<4x4xbf16>) -> tensor<2x4xbf16>
  return %y : tensor<2x4xbf16>
}

//--- unknown.mlir
// CHECK: there is no precision policy 'half'
module attributes {pinion.precision = "half"} {
  func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
    return %x : tensor<2xf32>
  }
}
