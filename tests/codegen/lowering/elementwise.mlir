// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Unary, binary, select, cast and pointwise ops over several types, broadcast and transposed operands, two results.
func.func @main(%x: tensor<3x1x5xf32>, %y: tensor<4x1xf32>, %m: tensor<3x4x5xi1>, %n: tensor<5xi64>, %h: tensor<4x3xbf16>) -> (tensor<3x4x5xf32>, tensor<3x4x5xbf16>, tensor<3x4x5xf32>, tensor<5xi1>, tensor<3x4xf32>, tensor<3x4xi64>, tensor<3x4x5xi1>, tensor<5xi64>)
    attributes {pinion.inputs = ["x", "y", "m", "n", "h"], pinion.outputs = ["s", "b", "chosen", "even", "p", "q", "no", "w"]} {
  %s = "pinion.binary"(%x, %y) {kind = "sub"} : (tensor<3x1x5xf32>, tensor<4x1xf32>) -> tensor<3x4x5xf32>
  %b = "pinion.cast"(%s) : (tensor<3x4x5xf32>) -> tensor<3x4x5xbf16>
  %z = "pinion.constant"() {value = dense<-1.0e+30> : tensor<f32>} : () -> tensor<f32>
  %chosen = "pinion.select"(%m, %s, %z) : (tensor<3x4x5xi1>, tensor<3x4x5xf32>, tensor<f32>) -> tensor<3x4x5xf32>
  %one = "pinion.constant"() {value = dense<1> : tensor<5xi64>} : () -> tensor<5xi64>
  %even = "pinion.binary"(%n, %one) {kind = "eq"} : (tensor<5xi64>, tensor<5xi64>) -> tensor<5xi1>
  %w = "pinion.binary"(%n, %one) {kind = "add"} : (tensor<5xi64>, tensor<5xi64>) -> tensor<5xi64>
  %ht = "pinion.transpose"(%h) {permutation = array<i64: 1, 0>} : (tensor<4x3xbf16>) -> tensor<3x4xbf16>
  %y0 = "pinion.reshape"(%y) : (tensor<4x1xf32>) -> tensor<4xf32>
  %p, %q = "pinion.pointwise"(%ht, %y0) {body = ["add x0 x1", "cast.i64 v0", "mul v0 0.5", "yield v2 v1"]} : (tensor<3x4xbf16>, tensor<4xf32>) -> (tensor<3x4xf32>, tensor<3x4xi64>)
  %no = "pinion.unary"(%m) {kind = "not"} : (tensor<3x4x5xi1>) -> tensor<3x4x5xi1>
  return %s, %b, %chosen, %even, %p, %q, %no, %w : tensor<3x4x5xf32>, tensor<3x4x5xbf16>, tensor<3x4x5xf32>, tensor<5xi1>, tensor<3x4xf32>, tensor<3x4xi64>, tensor<3x4x5xi1>, tensor<5xi64>
}
