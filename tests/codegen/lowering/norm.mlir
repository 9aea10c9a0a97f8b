// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Layer and RMS; a scale per batch (adaptive), a bias alone, rows of two padded dimensions.
func.func @main(%x: tensor<2x3x5xf32>, %s: tensor<5xf32>, %b: tensor<5xf32>, %a: tensor<2x1x5xf32>, %t: tensor<3x5xf32>) -> (tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x3x5xf32>)
    attributes {pinion.inputs = ["x", "s", "b", "a", "t"], pinion.outputs = ["layer", "rms", "adaptive", "shifted", "wide"]} {
  %x0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %layer = "pinion.norm"(%x0, %s, %b) {kind = "layer", axis = 2 : i64, epsilon = 1.0e-3 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x3x5xf32>, tensor<5xf32>, tensor<5xf32>) -> tensor<2x3x5xf32>
  %rms = "pinion.norm"(%x0) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-3 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %adaptive = "pinion.norm"(%x0, %a) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-3 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x5xf32>, tensor<2x1x5xf32>) -> tensor<2x3x5xf32>
  %shifted = "pinion.norm"(%x0, %b) {kind = "layer", axis = 2 : i64, epsilon = 1.0e-3 : f64, operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<2x3x5xf32>, tensor<5xf32>) -> tensor<2x3x5xf32>
  %wide = "pinion.norm"(%x0, %t, %s) {kind = "layer", axis = 1 : i64, epsilon = 1.0e-3 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x3x5xf32>, tensor<3x5xf32>, tensor<5xf32>) -> tensor<2x3x5xf32>
  return %layer, %rms, %adaptive, %shifted, %wide : tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x3x5xf32>
}
