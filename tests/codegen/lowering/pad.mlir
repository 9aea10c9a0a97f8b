// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Padding with zero, with a value, and cropping by negative amounts.
func.func @main(%x: tensor<2x3xf32>, %v: tensor<1xf32>, %i: tensor<3xi64>) -> (tensor<4x6xf32>, tensor<3x2xf32>, tensor<5xi64>)
    attributes {pinion.inputs = ["x", "v", "i"], pinion.outputs = ["zero", "valued", "integers"]} {
  %zero = "pinion.pad"(%x) {before = array<i64: 1, 2>} : (tensor<2x3xf32>) -> tensor<4x6xf32>
  %valued = "pinion.pad"(%x, %v) {before = array<i64: 1, -1>} : (tensor<2x3xf32>, tensor<1xf32>) -> tensor<3x2xf32>
  %integers = "pinion.pad"(%i) {before = array<i64: 1>} : (tensor<3xi64>) -> tensor<5xi64>
  return %zero, %valued, %integers : tensor<4x6xf32>, tensor<3x2xf32>, tensor<5xi64>
}
