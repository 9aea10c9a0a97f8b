// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Outputs that are inputs, constants, each other, or of rank 0.
func.func @main(%x: tensor<2x3xf32>, %s: tensor<f32>) -> (tensor<2x3xf32>, tensor<3x2xf32>, tensor<2xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<f32>, tensor<2x3xi1>)
    attributes {pinion.inputs = ["x", "s"], pinion.outputs = ["same", "turned", "constant", "twice", "again", "scalar", "less"]} {
  %c = "pinion.constant"() {value = dense<[1.5, -2.0]> : tensor<2xf32>} : () -> tensor<2xf32>
  %two = "pinion.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %t = "pinion.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %d = "pinion.binary"(%x, %two) {kind = "mul"} : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %e = "pinion.binary"(%two, %s) {kind = "sub"} : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %l = "pinion.binary"(%x, %s) {kind = "lt"} : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xi1>
  return %x, %t, %c, %d, %d, %e, %l : tensor<2x3xf32>, tensor<3x2xf32>, tensor<2xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<f32>, tensor<2x3xi1>
}
