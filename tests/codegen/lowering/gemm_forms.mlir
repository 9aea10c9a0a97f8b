// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The extended gemm: two accumulators, groups in parts whose results go to several places, sums of rows and of columns.
func.func @main(%x: tensor<2x3x4xf32>, %r: tensor<2x3x6xf32>, %table: tensor<3x1x2xf32>, %squares: tensor<2x3x5xf32>, %past: tensor<2x1x2x4xf32>, %b: tensor<2x10x4xf32>, %wide: tensor<1x2x70xf32>, %shown: tensor<2x3xi1>) -> (tensor<2x3x5xf32>, tensor<2x3x6xf32>, tensor<2x3x1xf32>, tensor<2x2x3x4xf32>, tensor<2x1x5x4xf32>, tensor<2x3x1x2xf32>, tensor<2x3x5xf32>, tensor<1x2x70xf32>, tensor<1x2x2xf32>, tensor<2x3x6xf32>)
    attributes {pinion.inputs = ["x", "r", "table", "squares", "past", "b", "wide", "shown"], pinion.outputs = ["gated", "residual", "sum", "q", "k", "v", "plain", "copy", "sums", "rows"]} {
  %gate_up = "pinion.constant"() {value = dense<[[-0.5, 3.0, 2.0, -1.0, 0.5, 3.0, 1.5, 3.0, -1.5, 3.0], [-2.0, 1.5, 0.25, 2.0, -0.5, -0.5, 1.5, 2.0, 2.0, 1.5], [1.0, -1.0, -0.5, -1.0, 2.0, 1.0, -2.0, -1.5, -1.0, 3.0], [-2.0, 0.25, -2.0, 0.25, 1.5, 3.0, 1.0, 1.0, 1.0, 3.0]]> : tensor<4x10xf32>} : () -> tensor<4x10xf32>
  %down = "pinion.constant"() {value = dense<[[1.5, -1.0, 0.5, -1.5, -2.0], [-1.0, 1.5, -0.5, 0.25, 1.0], [0.25, 1.0, 2.0, 1.0, 3.0], [0.5, 2.0, 3.0, 1.0, 3.0], [-0.5, 0.5, -2.0, 0.25, 3.0], [-1.0, 0.5, 2.0, 3.0, 3.0]]> : tensor<6x5xf32>} : () -> tensor<6x5xf32>
  %qkv = "pinion.constant"() {value = dense<[[-1.5, -0.5, 3.0, 0.25, 0.25, -1.5, -1.5, 1.5, 1.5, -1.5, 0.5, -1.5, 1.0, -1.0, -2.0, 0.25], [1.0, 1.0, -1.5, -2.0, 3.0, 3.0, -2.0, 1.0, 3.0, 0.5, 2.0, 0.25, 2.0, -0.5, -2.0, 0.25], [-2.0, -1.5, -1.5, 3.0, 2.0, -2.0, -0.5, 1.0, 0.25, 3.0, 0.25, -1.0, -2.0, 0.5, 0.5, 0.5], [-1.0, 1.0, 1.0, 1.5, 2.0, 1.0, 3.0, 2.0, -1.5, 3.0, 2.0, 0.25, 1.0, -0.5, 0.25, 1.0]]> : tensor<4x16xf32>} : () -> tensor<4x16xf32>
  // Gate and up, scaled by a row sum.
  %gated = "pinion.gemm"(%x, %gate_up, %squares) {accumulators = 2 : i64, row_sums = 1 : i64, body = ["add x2 40", "rsqrt v0", "mul x0 v1", "gelu_tanh v2", "mul x1 v1", "mul v3 v4", "yield v5"], transpose_b = false} : (tensor<2x3x4xf32>, tensor<4x10xf32>, tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  // A residual, and the sums of its squares over its columns.
  %residual, %sum = "pinion.gemm"(%gated, %down, %r) {column_sums = 1 : i64, body = ["add x0 x1", "mul v0 v0", "yield v0 v1"], transpose_b = true} : (tensor<2x3x5xf32>, tensor<6x5xf32>, tensor<2x3x6xf32>) -> (tensor<2x3x6xf32>, tensor<2x3x1xf32>)
  // Two heads of queries, one of keys that goes behind the past ones, one of values that is not rotated.
  %q1, %q2, %k1, %k2, %v1, %v2 = "pinion.gemm"(%x, %qkv, %table, %squares) {accumulators = 2 : i64, groups = 4 : i64, parts = array<i64: 2, 3>, row_sums = 1 : i64, body = ["add x4 40", "rsqrt v0", "mul x0 v1", "mul x1 v1", "mul v2 x3", "mul v3 x3", "sub v4 v5", "add v4 v5", "eq x2 2", "select v8 v2 v6", "select v8 v3 v7", "yield v9 v10"], transpose_b = false} : (tensor<2x3x4xf32>, tensor<4x16xf32>, tensor<3x1x2xf32>, tensor<2x3x5xf32>) -> (tensor<2x3x2x2xf32>, tensor<2x3x2x2xf32>, tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>)
  %qc = "pinion.concat"(%q1, %q2) {axis = 3 : i64} : (tensor<2x3x2x2xf32>, tensor<2x3x2x2xf32>) -> tensor<2x3x2x4xf32>
  %q = "pinion.transpose"(%qc) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xf32>) -> tensor<2x2x3x4xf32>
  %kc = "pinion.concat"(%k1, %k2) {axis = 3 : i64} : (tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>) -> tensor<2x3x1x4xf32>
  %kt = "pinion.transpose"(%kc) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x1x4xf32>) -> tensor<2x1x3x4xf32>
  %k = "pinion.concat"(%past, %kt) {axis = 2 : i64} : (tensor<2x1x2x4xf32>, tensor<2x1x3x4xf32>) -> tensor<2x1x5x4xf32>
  %v = "pinion.binary"(%v1, %v2) {kind = "sub"} : (tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>) -> tensor<2x3x1x2xf32>
  // b is no weight, and has a batch of its own.
  %plain = "pinion.gemm"(%x, %b) {accumulators = 2 : i64, body = ["sub x0 x1", "yield v0"], transpose_b = true} : (tensor<2x3x4xf32>, tensor<2x10x4xf32>) -> tensor<2x3x5xf32>
  // More columns than a block that is summed, and no other result.
  %eye = "pinion.constant"() {value = dense<0.5> : tensor<70x70xf32>} : () -> tensor<70x70xf32>
  %copy, %sums = "pinion.gemm"(%wide, %eye, %wide) {column_sums = 1 : i64, body = ["sub x1 x0", "yield v0 v0"], transpose_b = false} : (tensor<1x2x70xf32>, tensor<70x70xf32>, tensor<1x2x70xf32>) -> (tensor<1x2x70xf32>, tensor<1x2x2xf32>)
  // Rows that are 0 need not be computed.
  %mask = "pinion.reshape"(%shown) : (tensor<2x3xi1>) -> tensor<2x3x1xi1>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %left = "pinion.select"(%mask, %gated, %zero) : (tensor<2x3x1xi1>, tensor<2x3x5xf32>, tensor<f32>) -> tensor<2x3x5xf32>
  %rows = "pinion.gemm"(%left, %down, %r, %squares, %mask) {row_sums = 1 : i64, row_mask = true, body = ["mul x0 x1", "mul v0 x2", "yield v1"], transpose_b = true} : (tensor<2x3x5xf32>, tensor<6x5xf32>, tensor<2x3x6xf32>, tensor<2x3x5xf32>, tensor<2x3x1xi1>) -> tensor<2x3x6xf32>
  return %gated, %residual, %sum, %q, %k, %v, %plain, %copy, %sums, %rows : tensor<2x3x5xf32>, tensor<2x3x6xf32>, tensor<2x3x1xf32>, tensor<2x2x3x4xf32>, tensor<2x1x5x4xf32>, tensor<2x3x1x2xf32>, tensor<2x3x5xf32>, tensor<1x2x70xf32>, tensor<1x2x2xf32>, tensor<2x3x6xf32>
}
