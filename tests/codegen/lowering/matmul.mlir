// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks 1 to 5, broadcast batches, a weight on either side, batch dimensions that fold into m and some that cannot.
func.func @main(%x: tensor<2x3x5xf32>, %k: tensor<2x4x5xf32>, %v: tensor<5xf32>, %e: tensor<2x2x3x4x6xf32>, %f: tensor<2x1x6x7xf32>, %g: tensor<2x1x3x2x4xf32>) -> (tensor<2x3x7xf32>, tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x6xf32>, tensor<2x2x3x4x7xf32>, tensor<f32>, tensor<2x6x3xf32>, tensor<2x5x3x2x4xf32>)
    attributes {pinion.inputs = ["x", "k", "v", "e", "f", "g"], pinion.outputs = ["linear", "scores", "column", "row", "deep", "dot", "left", "spread"]} {
  %w = "pinion.constant"() {value = dense<[[0.5, -1.0, 2.0, 0.25, 1.5, -0.75, 3.0], [1.0, 0.125, -2.5, 0.5, 1.0, 2.0, 0.0], [0.5, 0.5, 0.75, -1.25, 0.0, 1.0, -1.0], [2.0, 1.0, 0.5, 0.25, 0.125, 4.0, 0.5], [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.5]]> : tensor<5x7xf32>} : () -> tensor<5x7xf32>
  %u = "pinion.constant"() {value = dense<[[1.0, 2.0, 3.0, 4.0, 5.0], [0.5, 0.25, -1.0, 2.0, 1.0], [1.0, 0.0, 1.0, 0.0, 1.0], [-1.0, 0.5, 2.0, 1.0, -3.0], [0.125, 1.0, 1.0, 2.0, 0.5], [3.0, 1.0, -1.0, -2.0, 1.0]]> : tensor<6x5xf32>} : () -> tensor<6x5xf32>
  %linear = "pinion.matmul"(%x, %w) : (tensor<2x3x5xf32>, tensor<5x7xf32>) -> tensor<2x3x7xf32>
  %kt = "pinion.transpose"(%k) {permutation = array<i64: 0, 2, 1>} : (tensor<2x4x5xf32>) -> tensor<2x5x4xf32>
  %scores = "pinion.matmul"(%x, %kt) : (tensor<2x3x5xf32>, tensor<2x5x4xf32>) -> tensor<2x3x4xf32>
  %column = "pinion.matmul"(%x, %v) : (tensor<2x3x5xf32>, tensor<5xf32>) -> tensor<2x3xf32>
  %xt = "pinion.slice"(%x) {starts = array<i64: 0, 1, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x5xf32>) -> tensor<2x1x5xf32>
  %xr = "pinion.reshape"(%xt) : (tensor<2x1x5xf32>) -> tensor<2x5xf32>
  %ut = "pinion.transpose"(%u) {permutation = array<i64: 1, 0>} : (tensor<6x5xf32>) -> tensor<5x6xf32>
  %row = "pinion.matmul"(%xr, %ut) : (tensor<2x5xf32>, tensor<5x6xf32>) -> tensor<2x6xf32>
  %deep = "pinion.matmul"(%e, %f) : (tensor<2x2x3x4x6xf32>, tensor<2x1x6x7xf32>) -> tensor<2x2x3x4x7xf32>
  %dot = "pinion.matmul"(%v, %v) : (tensor<5xf32>, tensor<5xf32>) -> tensor<f32>
  %xx = "pinion.transpose"(%x) {permutation = array<i64: 0, 2, 1>} : (tensor<2x3x5xf32>) -> tensor<2x5x3xf32>
  %left = "pinion.matmul"(%u, %xx) : (tensor<6x5xf32>, tensor<2x5x3xf32>) -> tensor<2x6x3xf32>
  %gb = "pinion.broadcast"(%g) : (tensor<2x1x3x2x4xf32>) -> tensor<2x5x3x2x4xf32>
  %i = "pinion.constant"() {value = dense<[[0.0, 1.0, 0.0, 0.5], [1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %spread = "pinion.matmul"(%gb, %i) : (tensor<2x5x3x2x4xf32>, tensor<4x4xf32>) -> tensor<2x5x3x2x4xf32>
  return %linear, %scores, %column, %row, %deep, %dot, %left, %spread : tensor<2x3x7xf32>, tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x6xf32>, tensor<2x2x3x4x7xf32>, tensor<f32>, tensor<2x6x3xf32>, tensor<2x5x3x2x4xf32>
}
