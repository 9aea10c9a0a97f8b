// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Views: odd rows are padded, so that some reshapes are views and others copies; slices with steps and backwards.
func.func @main(%x: tensor<2x3x5xf32>, %y: tensor<6x7xf32>) -> (tensor<30xf32>, tensor<5x6xf32>, tensor<3x2x2xf32>, tensor<7x2x3xf32>, tensor<2x15xf32>, tensor<4x6x7xf32>)
    attributes {pinion.inputs = ["x", "y"], pinion.outputs = ["flat", "turned", "part", "split", "grouped", "spread"]} {
  %a = "pinion.unary"(%x) {kind = "neg"} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %flat = "pinion.reshape"(%a) : (tensor<2x3x5xf32>) -> tensor<30xf32>
  %t = "pinion.transpose"(%a) {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x5xf32>) -> tensor<5x2x3xf32>
  %turned = "pinion.reshape"(%t) : (tensor<5x2x3xf32>) -> tensor<5x6xf32>
  %p = "pinion.transpose"(%a) {permutation = array<i64: 1, 0, 2>} : (tensor<2x3x5xf32>) -> tensor<3x2x5xf32>
  %part = "pinion.slice"(%p) {starts = array<i64: 2, 0, 4>, steps = array<i64: -1, 1, -3>} : (tensor<3x2x5xf32>) -> tensor<3x2x2xf32>
  %b = "pinion.unary"(%y) {kind = "exp"} : (tensor<6x7xf32>) -> tensor<6x7xf32>
  %bt = "pinion.transpose"(%b) {permutation = array<i64: 1, 0>} : (tensor<6x7xf32>) -> tensor<7x6xf32>
  %split = "pinion.reshape"(%bt) : (tensor<7x6xf32>) -> tensor<7x2x3xf32>
  %grouped = "pinion.reshape"(%flat) : (tensor<30xf32>) -> tensor<2x15xf32>
  %spread = "pinion.broadcast"(%b) : (tensor<6x7xf32>) -> tensor<4x6x7xf32>
  return %flat, %turned, %part, %split, %grouped, %spread : tensor<30xf32>, tensor<5x6xf32>, tensor<3x2x2xf32>, tensor<7x2x3xf32>, tensor<2x15xf32>, tensor<4x6x7xf32>
}
