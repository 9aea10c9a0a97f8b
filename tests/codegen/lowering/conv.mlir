// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Patches (no copy of overlaps), padding, dilation, groups, overlapping windows, 1x1; with the flattening that follows a patch embedding.
func.func @main(%x: tensor<2x4x6x6xf32>, %w: tensor<5x4x3x3xf32>, %wg: tensor<6x2x3x3xf32>, %b: tensor<5xf32>, %p: tensor<5x4x1x1xf32>) -> (tensor<2x4x5xf32>, tensor<2x5x6x6xf32>, tensor<2x6x4x3xf32>, tensor<2x5x4x4xf32>, tensor<2x5x3x3xf32>, tensor<2x6x6x6xf32>)
    attributes {pinion.inputs = ["x", "w", "wg", "b", "p"], pinion.outputs = ["patches", "padded", "grouped", "windows", "points", "groups"]} {
  %c = "pinion.conv"(%x, %w, %b) {strides = array<i64: 3, 3>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x4x6x6xf32>, tensor<5x4x3x3xf32>, tensor<5xf32>) -> tensor<2x5x2x2xf32>
  %cf = "pinion.reshape"(%c) : (tensor<2x5x2x2xf32>) -> tensor<2x5x4xf32>
  %patches = "pinion.transpose"(%cf) {permutation = array<i64: 0, 2, 1>} : (tensor<2x5x4xf32>) -> tensor<2x4x5xf32>
  %padded = "pinion.conv"(%x, %w, %b) {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x4x6x6xf32>, tensor<5x4x3x3xf32>, tensor<5xf32>) -> tensor<2x5x6x6xf32>
  %grouped = "pinion.conv"(%x, %wg) {strides = array<i64: 1, 2>, pads = array<i64: 0, 1, 2, 1>, dilations = array<i64: 2, 1>, group = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x4x6x6xf32>, tensor<6x2x3x3xf32>) -> tensor<2x6x4x3xf32>
  %windows = "pinion.conv"(%x, %w) {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x4x6x6xf32>, tensor<5x4x3x3xf32>) -> tensor<2x5x4x4xf32>
  %points = "pinion.conv"(%x, %p, %b) {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x4x6x6xf32>, tensor<5x4x1x1xf32>, tensor<5xf32>) -> tensor<2x5x3x3xf32>
  %groups = "pinion.conv"(%x, %wg) {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x4x6x6xf32>, tensor<6x2x3x3xf32>) -> tensor<2x6x6x6xf32>
  return %patches, %padded, %grouped, %windows, %points, %groups : tensor<2x4x5xf32>, tensor<2x5x6x6xf32>, tensor<2x6x4x3xf32>, tensor<2x5x4x4xf32>, tensor<2x5x3x3xf32>, tensor<2x6x6x6xf32>
}
