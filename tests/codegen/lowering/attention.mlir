// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rotation of all or part of a head, in halves or interleaved; attention with groups, additive and bool masks, causal, limits beside valid keys.
func.func @main(%x: tensor<2x4x3x6xf32>, %k: tensor<2x2x5x6xf32>, %v: tensor<2x2x5x7xf32>, %c: tensor<1x3x3xf32>, %s: tensor<1x3x3xf32>, %c2: tensor<2x3x2xf32>, %m: tensor<2x1x3x5xf32>, %bm: tensor<3x5xi1>, %valid: tensor<2x5xi1>) -> (tensor<2x4x3x6xf32>, tensor<2x4x3x6xf32>, tensor<2x4x3x6xf32>, tensor<2x3x28xf32>, tensor<2x4x3x7xf32>, tensor<2x4x3x7xf32>, tensor<2x4x3x7xf32>)
    attributes {pinion.inputs = ["x", "k", "v", "c", "s", "c2", "m", "bm", "valid"], pinion.outputs = ["halves", "pairs", "part", "attended", "masked", "causal", "blocks"]} {
  %halves = "pinion.rope"(%x, %c, %s) {interleaved = false} : (tensor<2x4x3x6xf32>, tensor<1x3x3xf32>, tensor<1x3x3xf32>) -> tensor<2x4x3x6xf32>
  %pairs = "pinion.rope"(%x, %c, %s) {interleaved = true} : (tensor<2x4x3x6xf32>, tensor<1x3x3xf32>, tensor<1x3x3xf32>) -> tensor<2x4x3x6xf32>
  %part = "pinion.rope"(%x, %c2, %c2) {interleaved = false} : (tensor<2x4x3x6xf32>, tensor<2x3x2xf32>, tensor<2x3x2xf32>) -> tensor<2x4x3x6xf32>
  %a = "pinion.attention"(%halves, %k, %v, %m) {scale = 0.4 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<2x4x3x6xf32>, tensor<2x2x5x6xf32>, tensor<2x2x5x7xf32>, tensor<2x1x3x5xf32>) -> tensor<2x4x3x7xf32>
  %t = "pinion.transpose"(%a) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x4x3x7xf32>) -> tensor<2x3x4x7xf32>
  %attended = "pinion.reshape"(%t) : (tensor<2x3x4x7xf32>) -> tensor<2x3x28xf32>
  %true = "pinion.constant"() {value = dense<[[true, false, false, false, false]]> : tensor<1x5xi1>} : () -> tensor<1x5xi1>
  %some = "pinion.binary"(%bm, %true) {kind = "or"} : (tensor<3x5xi1>, tensor<1x5xi1>) -> tensor<3x5xi1>
  %masked = "pinion.attention"(%x, %k, %v, %some) {scale = 0.4 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<2x4x3x6xf32>, tensor<2x2x5x6xf32>, tensor<2x2x5x7xf32>, tensor<3x5xi1>) -> tensor<2x4x3x7xf32>
  %causal = "pinion.attention"(%x, %k, %v) {scale = 0.4 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x4x3x6xf32>, tensor<2x2x5x6xf32>, tensor<2x2x5x7xf32>) -> tensor<2x4x3x7xf32>
  %keys = "pinion.reshape"(%valid) : (tensor<2x5xi1>) -> tensor<2x1x1x5xi1>
  %blocks = "pinion.attention"(%x, %k, %v, %keys) {scale = 0.4 : f64, causal = false, limits = array<i64: 2, 1, 4, 2, 5>} : (tensor<2x4x3x6xf32>, tensor<2x2x5x6xf32>, tensor<2x2x5x7xf32>, tensor<2x1x1x5xi1>) -> tensor<2x4x3x7xf32>
  return %halves, %pairs, %part, %attended, %masked, %causal, %blocks : tensor<2x4x3x6xf32>, tensor<2x4x3x6xf32>, tensor<2x4x3x6xf32>, tensor<2x3x28xf32>, tensor<2x4x3x7xf32>, tensor<2x4x3x7xf32>, tensor<2x4x3x7xf32>
}
