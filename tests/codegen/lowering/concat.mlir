// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pieces computed in place; a piece used twice, an input, a nested concat, one behind a transpose and a reshape, one read by others.
func.func @main(%x: tensor<2x3xf32>, %y: tensor<2x5xf32>) -> (tensor<2x17xf32>, tensor<2x5xf32>, tensor<4x3x2xf32>)
    attributes {pinion.inputs = ["x", "y"], pinion.outputs = ["joined", "also", "heads"]} {
  %a = "pinion.unary"(%x) {kind = "neg"} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %b = "pinion.unary"(%y) {kind = "exp"} : (tensor<2x5xf32>) -> tensor<2x5xf32>
  %inner = "pinion.concat"(%a, %y) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x5xf32>) -> tensor<2x8xf32>
  %joined = "pinion.concat"(%a, %inner, %a, %x) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x8xf32>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x17xf32>
  %also = "pinion.binary"(%b, %y) {kind = "add"} : (tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xf32>
  %q = "pinion.unary"(%joined) {kind = "tanh"} : (tensor<2x17xf32>) -> tensor<2x17xf32>
  %r = "pinion.slice"(%q) {starts = array<i64: 0, 4>, steps = array<i64: 1, 1>} : (tensor<2x17xf32>) -> tensor<2x6xf32>
  %s = "pinion.unary"(%r) {kind = "abs"} : (tensor<2x6xf32>) -> tensor<2x6xf32>
  %t = "pinion.transpose"(%s) {permutation = array<i64: 1, 0>} : (tensor<2x6xf32>) -> tensor<6x2xf32>
  %u = "pinion.reshape"(%t) : (tensor<6x2xf32>) -> tensor<2x3x2xf32>
  %heads = "pinion.concat"(%u, %u) {axis = 0 : i64} : (tensor<2x3x2xf32>, tensor<2x3x2xf32>) -> tensor<4x3x2xf32>
  return %joined, %also, %heads : tensor<2x17xf32>, tensor<2x5xf32>, tensor<4x3x2xf32>
}
