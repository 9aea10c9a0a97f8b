// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A constant kernel whose rows are padded in memory and dense as a matrix; and a result whose rows of places are padded.
func.func @main(%x: tensor<1x2x4x6xf32>) -> (tensor<1x3x2x3xf32>, tensor<1x3x4x6xf32>)
    attributes {pinion.inputs = ["x"], pinion.outputs = ["y", "z"]} {
  %w = "pinion.constant"() {value = dense<[[[[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.25], [-1.0, -2.0]]], [[[1.0, -1.0], [1.0, -1.0]], [[2.0, 0.0], [0.0, 2.0]]], [[[0.0, 1.0], [0.5, 0.0]], [[1.0, 1.0], [1.0, 1.5]]]]> : tensor<3x2x2x2xf32>} : () -> tensor<3x2x2x2xf32>
  %w1 = "pinion.constant"() {value = dense<[[[[1.0, 2.0, -1.0]], [[0.5, 0.25, 0.0]]], [[[1.0, -1.0, 1.0]], [[2.0, 0.0, 0.5]]], [[[0.0, 1.0, 3.0]], [[1.0, 1.0, -4.0]]]]> : tensor<3x2x1x3xf32>} : () -> tensor<3x2x1x3xf32>
  %y = "pinion.conv"(%x, %w) {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x6xf32>, tensor<3x2x2x2xf32>) -> tensor<1x3x2x3xf32>
  %z0 = "pinion.conv"(%x, %w1) {strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, dilations = array<i64: 1, 1>, group = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x6xf32>, tensor<3x2x1x3xf32>) -> tensor<1x3x4x6xf32>
  %z = "pinion.unary"(%z0) {kind = "neg"} : (tensor<1x3x4x6xf32>) -> tensor<1x3x4x6xf32>
  return %y, %z : tensor<1x3x2x3xf32>, tensor<1x3x4x6xf32>
}
