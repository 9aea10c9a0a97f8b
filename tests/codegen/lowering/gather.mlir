// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One index, many, two dimensions of them; along the first, a middle and the last axis; of an embedding and a negative one.
func.func @main(%x: tensor<4x3x5xf32>, %i: tensor<2x3xi64>, %j: tensor<i64>) -> (tensor<2x3x3x5xf32>, tensor<4x5xf32>, tensor<4x3x2xf32>, tensor<2x3x4xf32>, tensor<3x5xf32>, tensor<4x2x3x5xf32>)
    attributes {pinion.inputs = ["x", "i", "j"], pinion.outputs = ["rows", "middle", "last", "embedded", "negative", "wide"]} {
  %table = "pinion.constant"() {value = dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]]> : tensor<3x4xf32>} : () -> tensor<3x4xf32>
  %k = "pinion.constant"() {value = dense<[4, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %n = "pinion.constant"() {value = dense<-1> : tensor<i64>} : () -> tensor<i64>
  %rows = "pinion.gather"(%x, %i) {axis = 0 : i64} : (tensor<4x3x5xf32>, tensor<2x3xi64>) -> tensor<2x3x3x5xf32>
  %middle = "pinion.gather"(%x, %j) {axis = 1 : i64} : (tensor<4x3x5xf32>, tensor<i64>) -> tensor<4x5xf32>
  %last = "pinion.gather"(%x, %k) {axis = 2 : i64} : (tensor<4x3x5xf32>, tensor<2xi64>) -> tensor<4x3x2xf32>
  %embedded = "pinion.gather"(%table, %i) {axis = 0 : i64} : (tensor<3x4xf32>, tensor<2x3xi64>) -> tensor<2x3x4xf32>
  %negative = "pinion.gather"(%x, %n) {axis = 0 : i64} : (tensor<4x3x5xf32>, tensor<i64>) -> tensor<3x5xf32>
  %it = "pinion.slice"(%i) {starts = array<i64: 1, 2>, steps = array<i64: -1, -1>} : (tensor<2x3xi64>) -> tensor<2x3xi64>
  %wide = "pinion.gather"(%x, %it) {axis = 1 : i64} : (tensor<4x3x5xf32>, tensor<2x3xi64>) -> tensor<4x2x3x5xf32>
  return %rows, %middle, %last, %embedded, %negative, %wide : tensor<2x3x3x5xf32>, tensor<4x5xf32>, tensor<4x3x2xf32>, tensor<2x3x4xf32>, tensor<3x5xf32>, tensor<4x2x3x5xf32>
}
