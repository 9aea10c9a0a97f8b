// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A gemm whose body adds the carried tensor updates it in place; one that multiplies it as well may not.
module {
  func.func @main(%noise: tensor<3x4xf32>, %h: tensor<3x5xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>)
      attributes {pinion.inputs = ["noise", "h"], pinion.outputs = ["a", "b"]} {
    %a = "pinion.steps"(%noise, %h) {callee = @residual, count = 3 : i64, tables = 0 : i64} : (tensor<3x4xf32>, tensor<3x5xf32>) -> tensor<3x4xf32>
    %b = "pinion.steps"(%noise) {callee = @both, count = 2 : i64, tables = 0 : i64} : (tensor<3x4xf32>) -> tensor<3x4xf32>
    return %a, %b : tensor<3x4xf32>, tensor<3x4xf32>
  }
  func.func private @residual(%x: tensor<3x4xf32>, %h: tensor<3x5xf32>) -> tensor<3x4xf32> {
    %w = "pinion.constant"() {value = dense<[[0.5, -1.0, 2.0, 0.25], [1.5, -0.75, 3.0, 1.0], [0.125, -2.5, 0.5, 1.0], [2.0, 0.0, 0.5, 0.5], [1.0, 2.0, -1.0, 0.5]]> : tensor<5x4xf32>} : () -> tensor<5x4xf32>
    %y = "pinion.gemm"(%h, %w, %x) {body = ["mul x0 -0.25", "add v0 x1", "yield v1"], transpose_b = false} : (tensor<3x5xf32>, tensor<5x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    return %y : tensor<3x4xf32>
  }
  func.func private @both(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
    %w = "pinion.constant"() {value = dense<[[0.5, -1.0, 2.0, 0.25], [1.5, -0.75, 3.0, 1.0], [0.125, -2.5, 0.5, 1.0], [2.0, 0.0, 0.5, 0.5]]> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
    %y = "pinion.gemm"(%x, %w, %x) {body = ["mul x0 -0.25", "add v0 x1", "yield v1"], transpose_b = false} : (tensor<3x4xf32>, tensor<4x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    return %y : tensor<3x4xf32>
  }
}
