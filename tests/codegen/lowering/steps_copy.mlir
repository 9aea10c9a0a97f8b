// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Steps whose last op may not write the carried tensor: it reads it elsewhere than it writes, it is no elementwise op, or
// the carried tensor is read after it. The carried tensor is no output either.
module {
  func.func @main(%noise: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>)
      attributes {pinion.inputs = ["noise"], pinion.outputs = ["a", "b", "c", "d"]} {
    %a0 = "pinion.steps"(%noise) {callee = @turn, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %a = "pinion.unary"(%a0) {kind = "neg"} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %b = "pinion.steps"(%a0) {callee = @soften, count = 2 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %c = "pinion.steps"(%noise) {callee = @late, count = 2 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %d = "pinion.steps"(%noise) {callee = @swap, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    return %a, %b, %c, %d : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
  }
  func.func private @turn(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %t = "pinion.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %y = "pinion.binary"(%x, %t) {kind = "sub"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
  func.func private @soften(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %y = "pinion.softmax"(%x) {axis = 1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
  func.func private @late(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %h = "pinion.unary"(%x) {kind = "tanh"} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %r = "pinion.reshape"(%x) : (tensor<4x4xf32>) -> tensor<2x8xf32>
    %s = "pinion.unary"(%r) {kind = "exp"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
    %q = "pinion.reshape"(%s) : (tensor<2x8xf32>) -> tensor<4x4xf32>
    %y = "pinion.binary"(%h, %q) {kind = "mul"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
  func.func private @swap(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %y = "pinion.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
}
