// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A function called twice, whose results are pieces of a concat in another one; weights shared by all.
module {
  func.func @main(%a: tensor<2x5xf32>, %b: tensor<2x5xf32>) -> (tensor<5x4xf32>, tensor<2x4xf32>)
      attributes {pinion.inputs = ["a", "b"], pinion.outputs = ["y", "first"]} {
    %0 = func.call @vision(%a) : (tensor<2x5xf32>) -> tensor<2x4xf32>
    %1 = func.call @vision(%b) : (tensor<2x5xf32>) -> tensor<2x4xf32>
    %2 = func.call @prefix(%0, %1) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<5x4xf32>
    return %2, %0 : tensor<5x4xf32>, tensor<2x4xf32>
  }
  func.func private @vision(%x: tensor<2x5xf32>) -> tensor<2x4xf32> {
    %w = "pinion.weight"() {name = "w", file = "@weights", offset = 0 : i64} : () -> tensor<5x4xf32>
    %y = "pinion.matmul"(%x, %w) : (tensor<2x5xf32>, tensor<5x4xf32>) -> tensor<2x4xf32>
    %z = "pinion.unary"(%y) {kind = "tanh"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    return %z : tensor<2x4xf32>
  }
  func.func private @prefix(%x: tensor<2x4xf32>, %y: tensor<2x4xf32>) -> tensor<5x4xf32> {
    %one = "pinion.constant"() {value = dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>} : () -> tensor<1x4xf32>
    %c = "pinion.concat"(%x, %one, %y) {axis = 0 : i64} : (tensor<2x4xf32>, tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<5x4xf32>
    %s = "pinion.softmax"(%c) {axis = 1 : i64} : (tensor<5x4xf32>) -> tensor<5x4xf32>
    return %s : tensor<5x4xf32>
  }
  func.func private @weights() -> tensor<5x4xf32> {
    %w = "pinion.constant"() {value = dense<[[0.5, 1.0, -1.0, 2.0], [1.5, -0.5, 0.25, 1.0], [0.0, 1.0, 1.0, -2.0], [3.0, 0.5, -0.5, 0.125], [1.0, 1.0, -1.0, -1.0]]> : tensor<5x4xf32>} : () -> tensor<5x4xf32>
    return %w : tensor<5x4xf32>
  }
}
