// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=flatten-patches %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=flatten-patches,canonicalise %t/tower.mlir | FileCheck %t/tower.mlir
// RUN: pinion opt --passes=flatten-patches,canonicalise,fuse-pointwise,fuse-epilogue,fuse-layernorm,outline-weights,lower-to-launches %t/tower.mlir | FileCheck %t/tower.mlir --check-prefix=LOWERED
// RUN: pinion opt --passes=flatten-patches --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// Windows of 2 x 3 of a bf16 image: the product and its bias are summed in f32, and rounded once.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4x6xbf16>
// CHECK: %[[SPLIT:.*]] = "pinion.reshape"(%[[X]]) : (tensor<2x3x4x6xbf16>) -> tensor<2x3x2x2x2x3xbf16>
// CHECK: %[[TURNED:.*]] = "pinion.transpose"(%[[SPLIT]]) {permutation = array<i64: 0, 2, 4, 1, 3, 5>}
// CHECK: %[[A:.*]] = "pinion.reshape"(%[[TURNED]]) : (tensor<2x2x2x3x2x3xbf16>) -> tensor<2x4x18xbf16>
// CHECK: %[[ROWS:.*]] = "pinion.reshape"(%{{.*}}) : (tensor<5x3x2x3xbf16>) -> tensor<5x18xbf16>
// CHECK: %[[W:.*]] = "pinion.transpose"(%[[ROWS]]) {permutation = array<i64: 1, 0>}
// CHECK: %[[P:.*]] = "pinion.matmul"(%[[A]], %[[W]]) : (tensor<2x4x18xbf16>, tensor<18x5xbf16>) -> tensor<2x4x5xf32>
// CHECK: %[[B:.*]] = "pinion.cast"(%{{.*}}) : (tensor<5xbf16>) -> tensor<5xf32>
// CHECK: %[[SUM:.*]] = "pinion.binary"(%[[P]], %[[B]]) {kind = "add"}
// CHECK: %[[ROUNDED:.*]] = "pinion.cast"(%[[SUM]]) : (tensor<2x4x5xf32>) -> tensor<2x4x5xbf16>
// CHECK: %[[T:.*]] = "pinion.transpose"(%[[ROUNDED]]) {permutation = array<i64: 0, 2, 1>}
// CHECK: %[[Y:.*]] = "pinion.reshape"(%[[T]]) {onnx = "y"} : (tensor<2x5x4xbf16>) -> tensor<2x5x2x2xbf16>
// CHECK-NOT: "pinion.conv"
// CHECK: return %[[Y]]
func.func @main(%x: tensor<2x3x4x6xbf16>) -> tensor<2x5x2x2xbf16> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<5x3x2x3xbf16>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 256 : i64} : () -> tensor<5xbf16>
  %y = "pinion.conv"(%x, %w, %b) {strides = array<i64: 2, 3>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, onnx = "y", operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x3x4x6xbf16>, tensor<5x3x2x3xbf16>, tensor<5xbf16>) -> tensor<2x5x2x2xbf16>
  return %y : tensor<2x5x2x2xbf16>
}

//--- tower.mlir
// The exporter flattens the image and puts the channels last: nothing of that is left. A norm behind it goes into the gemms.
// CHECK-LABEL: func.func @main
// CHECK: %[[P:.*]] = "pinion.matmul"
// CHECK-NEXT: "pinion.binary"(%[[P]], %{{.*}}) {kind = "add"} : (tensor<1x4x8xf32>, tensor<4x8xf32>) -> tensor<1x4x8xf32>
// CHECK-NEXT: "pinion.norm"
// LOWERED-COUNT-1: family = "pointwise"
// LOWERED-COUNT-2: family = "gemm"
// LOWERED-NOT: "pinion.launch"
func.func @main(%x: tensor<1x3x4x4xf32>) -> tensor<1x4x2xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["z"]} {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<8x3x2x2xf32>
  %e = "pinion.weight"() {name = "e", file = "w.bin", offset = 512 : i64} : () -> tensor<4x8xf32>
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 1024 : i64} : () -> tensor<8x2xf32>
  %0 = "pinion.conv"(%x, %w) {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x3x4x4xf32>, tensor<8x3x2x2xf32>) -> tensor<1x8x2x2xf32>
  %1 = "pinion.reshape"(%0) : (tensor<1x8x2x2xf32>) -> tensor<1x8x4xf32>
  %2 = "pinion.transpose"(%1) {permutation = array<i64: 0, 2, 1>} : (tensor<1x8x4xf32>) -> tensor<1x4x8xf32>
  %3 = "pinion.binary"(%2, %e) {kind = "add"} : (tensor<1x4x8xf32>, tensor<4x8xf32>) -> tensor<1x4x8xf32>
  %4 = "pinion.norm"(%3) {kind = "layer", axis = 2 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  %5 = "pinion.matmul"(%4, %o) : (tensor<1x4x8xf32>, tensor<8x2xf32>) -> tensor<1x4x2xf32>
  return %5 : tensor<1x4x2xf32>
}

//--- stays.mlir
// Must not fire: windows that overlap, or leave a rest of the image; a padded image; dilated windows; channels in groups.
// CHECK: remark: flatten-patches: not at 'overlap': its windows overlap, or leave gaps
// CHECK: remark: flatten-patches: not at 'rest': its windows do not cover the image
// CHECK: remark: flatten-patches: not at 'padded': its image is padded
// CHECK: remark: flatten-patches: not at 'dilated': its windows are dilated
// CHECK: remark: flatten-patches: not at 'groups': its channels are in groups
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-COUNT-5: "pinion.conv"
// CHECK-NOT: "pinion.conv"
func.func @main(%x: tensor<1x2x4x4xf32>, %w: tensor<2x2x2x2xf32>, %v: tensor<2x2x3x3xf32>, %u: tensor<2x1x2x2xf32>) -> (tensor<1x2x3x3xf32>, tensor<1x2x1x1xf32>, tensor<1x2x3x3xf32>, tensor<1x2x1x1xf32>, tensor<1x2x2x2xf32>) {
  %0 = "pinion.conv"(%x, %w) {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x2x2xf32>) -> tensor<1x2x3x3xf32> loc("overlap")
  %1 = "pinion.conv"(%x, %v) {strides = array<i64: 3, 3>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x1x1xf32> loc("rest")
  %2 = "pinion.conv"(%x, %w) {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x2x2xf32>) -> tensor<1x2x3x3xf32> loc("padded")
  %3 = "pinion.conv"(%x, %w) {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 2, 2>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x2x2xf32>) -> tensor<1x2x1x1xf32> loc("dilated")
  %4 = "pinion.conv"(%x, %u) {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x1x2x2xf32>) -> tensor<1x2x2x2xf32> loc("groups")
  return %0, %1, %2, %3, %4 : tensor<1x2x3x3xf32>, tensor<1x2x1x1xf32>, tensor<1x2x3x3xf32>, tensor<1x2x1x1xf32>, tensor<1x2x2x2xf32>
}
