// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Softmax, cumulative sums and reductions along any axes, of padded and transposed operands.
func.func @main(%x: tensor<2x3x5xf32>, %m: tensor<2x7xi1>) -> (tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x7xi64>, tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<3xf32>, tensor<2x1x1xf32>, tensor<f32>, tensor<5x2x3xf32>, tensor<2x3x1xf32>)
    attributes {pinion.inputs = ["x", "m"], pinion.outputs = ["last", "first", "positions", "back", "exclusive", "outer", "kept", "all", "turned", "mean"]} {
  %a = "pinion.unary"(%x) {kind = "exp"} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %last = "pinion.softmax"(%a) {axis = 2 : i64} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %first = "pinion.softmax"(%a) {axis = 0 : i64} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %positions = "pinion.cumsum"(%m) {axis = 1 : i64, exclusive = false, reverse = false} : (tensor<2x7xi1>) -> tensor<2x7xi64>
  %back = "pinion.cumsum"(%a) {axis = 1 : i64, exclusive = false, reverse = true} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %exclusive = "pinion.cumsum"(%a) {axis = 2 : i64, exclusive = true, reverse = true} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %outer = "pinion.reduce"(%a) {kind = "sum", axes = array<i64: 0, 2>, keep = false} : (tensor<2x3x5xf32>) -> tensor<3xf32>
  %kept = "pinion.reduce"(%a) {kind = "max", axes = array<i64: 1, 2>, keep = true} : (tensor<2x3x5xf32>) -> tensor<2x1x1xf32>
  %all = "pinion.reduce"(%a) {kind = "mean", axes = array<i64: 0, 1, 2>, keep = false} : (tensor<2x3x5xf32>) -> tensor<f32>
  %t = "pinion.transpose"(%a) {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x5xf32>) -> tensor<5x2x3xf32>
  %turned = "pinion.softmax"(%t) {axis = 0 : i64} : (tensor<5x2x3xf32>) -> tensor<5x2x3xf32>
  %mean = "pinion.reduce"(%a) {kind = "prod", axes = array<i64: 2>, keep = true} : (tensor<2x3x5xf32>) -> tensor<2x3x1xf32>
  return %last, %first, %positions, %back, %exclusive, %outer, %kept, %all, %turned, %mean : tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<2x7xi64>, tensor<2x3x5xf32>, tensor<2x3x5xf32>, tensor<3xf32>, tensor<2x1x1xf32>, tensor<f32>, tensor<5x2x3xf32>, tensor<2x3x1xf32>
}
