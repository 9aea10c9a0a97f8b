// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Epilogues: bias, residual, gate, two results; b transposed and not; grouped queries with one key head.
func.func @main(%x: tensor<2x3x8xf32>, %r: tensor<2x3x6xf32>, %q: tensor<2x4x3x8xf32>, %k: tensor<2x1x5x8xf32>, %mask: tensor<2x1x1x5xf32>) -> (tensor<2x3x6xf32>, tensor<2x3x6xf32>, tensor<2x4x3x5xf32>)
    attributes {pinion.inputs = ["x", "r", "q", "k", "mask"], pinion.outputs = ["y", "z", "scores"]} {
  %w = "pinion.constant"() {value = dense<[[0.5, -1.0, 2.0, 0.25, 1.5, -0.75, 3.0, 1.0], [0.125, -2.5, 0.5, 1.0, 2.0, 0.0, 0.5, 0.5], [0.75, -1.25, 0.0, 1.0, -1.0, 2.0, 1.0, 0.5], [0.25, 0.125, 4.0, 0.5, -1.0, 1.0, -1.0, 1.0], [-1.0, 1.0, -1.5, 2.5, 0.5, 0.5, -0.5, 0.0], [1.0, 2.0, 3.0, -4.0, 0.0, 0.5, 0.25, -0.125]]> : tensor<6x8xf32>} : () -> tensor<6x8xf32>
  %bias = "pinion.constant"() {value = dense<[1.0, 2.0, 3.0, -1.0, -2.0, -3.0]> : tensor<6xf32>} : () -> tensor<6xf32>
  %y, %z = "pinion.gemm"(%x, %w, %bias, %r) {body = ["add x0 x1", "gelu_tanh v0", "mul v1 x2", "yield v2 v0"], transpose_b = true} : (tensor<2x3x8xf32>, tensor<6x8xf32>, tensor<6xf32>, tensor<2x3x6xf32>) -> (tensor<2x3x6xf32>, tensor<2x3x6xf32>)
  %kk = "pinion.broadcast"(%k) : (tensor<2x1x5x8xf32>) -> tensor<2x4x5x8xf32>
  %scores = "pinion.gemm"(%q, %kk, %mask) {body = ["mul x0 0.25", "add v0 x1", "yield v1"], transpose_b = true} : (tensor<2x4x3x8xf32>, tensor<2x4x5x8xf32>, tensor<2x1x1x5xf32>) -> tensor<2x4x3x5xf32>
  return %y, %z, %scores : tensor<2x3x6xf32>, tensor<2x3x6xf32>, tensor<2x4x3x5xf32>
}
