// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Steps: the carried tensor is updated in place; a table's row per step; keys from before the steps stand beside the step's own.
module {
  func.func @main(%state: tensor<1x3x4xf32>, %noise: tensor<1x2x4xf32>) -> (tensor<1x2x4xf32>, tensor<1x3x4xf32>)
      attributes {pinion.inputs = ["state", "noise"], pinion.outputs = ["actions", "keys"]} {
    %table = "pinion.constant"() {value = dense<[[1.0, 0.5, -1.0, 2.0], [0.25, 1.0, 1.5, -0.5], [2.0, 2.0, -2.0, 1.0]]> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
    %keys = "pinion.unary"(%state) {kind = "tanh"} : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
    %mask = "pinion.unary"(%state) {kind = "abs"} : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
    %y = "pinion.steps"(%noise, %keys, %mask, %table) {callee = @step, count = 3 : i64, tables = 1 : i64} : (tensor<1x2x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<3x4xf32>) -> tensor<1x2x4xf32>
    return %y, %mask : tensor<1x2x4xf32>, tensor<1x3x4xf32>
  }
  func.func private @step(%x: tensor<1x2x4xf32>, %keys: tensor<1x3x4xf32>, %mask: tensor<1x3x4xf32>, %row: tensor<4xf32>) -> tensor<1x2x4xf32> {
    %h = "pinion.binary"(%x, %row) {kind = "mul"} : (tensor<1x2x4xf32>, tensor<4xf32>) -> tensor<1x2x4xf32>
    %all = "pinion.concat"(%keys, %h) {axis = 1 : i64} : (tensor<1x3x4xf32>, tensor<1x2x4xf32>) -> tensor<1x5x4xf32>
    %both = "pinion.concat"(%mask, %mask, %h) {axis = 1 : i64} : (tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x2x4xf32>) -> tensor<1x8x4xf32>
    %b = "pinion.reduce"(%both) {kind = "sum", axes = array<i64: 1>, keep = true} : (tensor<1x8x4xf32>) -> tensor<1x1x4xf32>
    %t = "pinion.transpose"(%all) {permutation = array<i64: 0, 2, 1>} : (tensor<1x5x4xf32>) -> tensor<1x4x5xf32>
    %scores = "pinion.matmul"(%h, %t) : (tensor<1x2x4xf32>, tensor<1x4x5xf32>) -> tensor<1x2x5xf32>
    %p = "pinion.softmax"(%scores) {axis = 2 : i64} : (tensor<1x2x5xf32>) -> tensor<1x2x5xf32>
    %v = "pinion.matmul"(%p, %all) : (tensor<1x2x5xf32>, tensor<1x5x4xf32>) -> tensor<1x2x4xf32>
    %d = "pinion.pointwise"(%v, %b) {body = ["mul x0 -0.25", "add v0 x1", "mul v1 0.1", "yield v2"]} : (tensor<1x2x4xf32>, tensor<1x1x4xf32>) -> tensor<1x2x4xf32>
    %y = "pinion.binary"(%x, %d) {kind = "add"} : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    return %y : tensor<1x2x4xf32>
  }
}
