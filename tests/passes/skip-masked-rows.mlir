// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=skip-masked-rows %t/layer.mlir | FileCheck %t/layer.mlir
// RUN: pinion opt --passes=skip-masked-rows,skip-masked-rows %t/layer.mlir | FileCheck %t/layer.mlir
// RUN: pinion opt --passes=skip-masked-rows,lower-to-launches --target=cpu %t/layer.mlir | FileCheck %t/layer.mlir --check-prefix=LOWERED
// RUN: pinion opt --passes=skip-masked-rows --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- layer.mlir
// Queries, keys and values of rows that were cleared for that alone: their body clears them instead. A residual sum that a body
// clears, and the sums of its squares; a pair of accumulators scaled by them; a residual sum of rows that are 0 on both sides. Two
// samples: the rows of both are one dimension, of the mask too.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>{{.*}}, %[[OK:.*]]: tensor<2x3xi1>
// CHECK: %[[ALL:.*]] = "pinion.reshape"(%[[OK]]) : (tensor<2x3xi1>) -> tensor<6xi1>
// CHECK: %[[ROWS:.*]] = "pinion.reshape"(%[[ALL]]) : (tensor<6xi1>) -> tensor<2x3x1xi1>
// CHECK: %[[OWN:.*]] = "pinion.reshape"(%[[ALL]]) : (tensor<6xi1>) -> tensor<2x3x1x1xi1>
// CHECK: "pinion.gemm"(%[[X]], %{{.*}}, %{{.*}}, %[[OWN]], %[[ROWS]]) {body = ["eq x1 1", "mul x0 x2", "select v0 x0 v1", "select x3 v2 0", "yield v3"], groups = 2 : i64, onnx = "kv", parts = array<i64: 1>, row_mask = true, transpose_b = false}
// CHECK: %[[MASK:.*]] = "pinion.reshape"(%[[ALL]]) : (tensor<6xi1>) -> tensor<2x3x1xi1>
// CHECK: %[[CHOICE:.*]] = "pinion.reshape"(%[[ALL]]) : (tensor<6xi1>) -> tensor<2x3x1xi1>
// CHECK: %[[R:.*]]:2 = "pinion.gemm"(%{{.*}}, %{{.*}}, %[[X]], %[[CHOICE]], %[[MASK]]) {body = ["add x0 x1", "select x2 v0 0", "mul v1 v1", "yield v1 v2"], column_sums = 1 : i64, row_mask = true, transpose_b = false}
// CHECK: %[[H:.*]] = "pinion.gemm"(%[[R]]#0, %{{.*}}, %[[R]]#1, %{{.*}}) {accumulators = 2 : i64, body = ["add x2 0.5", "rsqrt v0", "mul x0 v1", "gelu_tanh v2", "mul v3 x1", "yield v4"], row_mask = true, row_sums = 1 : i64, transpose_b = false}
// CHECK: "pinion.gemm"(%[[H]], %{{.*}}, %[[R]]#0, %{{.*}}) {body = ["add x0 x1", "yield v0"], row_mask = true, transpose_b = false}
// CHECK-NOT: "pinion.select"
// LOWERED-COUNT-3: sizes = array<i64: 1, 1, 6,
func.func @main(%x: tensor<2x3x4xf32>, %ok: tensor<2x3xi1>) -> (tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>, tensor<2x1x3x4xf32>, tensor<2x3x4xf32>) attributes {pinion.inputs = ["x", "ok"], pinion.outputs = ["k", "v", "a", "y"]} {
  %w = "pinion.constant"() {value = dense<0.5> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %wide = "pinion.constant"() {value = dense<0.25> : tensor<4x8xf32>} : () -> tensor<4x8xf32>
  %table = "pinion.constant"() {value = dense<[[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]]> : tensor<3x1x2xf32>} : () -> tensor<3x1x2xf32>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %mask = "pinion.reshape"(%ok) : (tensor<2x3xi1>) -> tensor<2x1x1x3xi1>
  %rows = "pinion.reshape"(%ok) : (tensor<2x3xi1>) -> tensor<2x3x1xi1>
  %cleared = "pinion.select"(%rows, %x, %zero) : (tensor<2x3x1xi1>, tensor<2x3x4xf32>, tensor<f32>) -> tensor<2x3x4xf32>
  %kv:2 = "pinion.gemm"(%cleared, %w, %table) {body = ["eq x1 1", "mul x0 x2", "select v0 x0 v1", "yield v2"], groups = 2 : i64, parts = array<i64: 1>, transpose_b = false, onnx = "kv"} : (tensor<2x3x4xf32>, tensor<4x4xf32>, tensor<3x1x2xf32>) -> (tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>)
  %heads = "pinion.reshape"(%x) : (tensor<2x3x4xf32>) -> tensor<2x1x3x4xf32>
  %a = "pinion.attention"(%heads, %heads, %heads, %mask) {scale = 0.5 : f64, causal = false} : (tensor<2x1x3x4xf32>, tensor<2x1x3x4xf32>, tensor<2x1x3x4xf32>, tensor<2x1x1x3xi1>) -> tensor<2x1x3x4xf32>
  %o = "pinion.reshape"(%a) : (tensor<2x1x3x4xf32>) -> tensor<2x3x4xf32>
  %r:2 = "pinion.gemm"(%o, %w, %x, %rows) {body = ["add x0 x1", "select x2 v0 0", "mul v1 v1", "yield v1 v2"], column_sums = 1 : i64, transpose_b = false} : (tensor<2x3x4xf32>, tensor<4x4xf32>, tensor<2x3x4xf32>, tensor<2x3x1xi1>) -> (tensor<2x3x4xf32>, tensor<2x3x1xf32>)
  %h = "pinion.gemm"(%r#0, %wide, %r#1) {accumulators = 2 : i64, row_sums = 1 : i64, body = ["add x2 0.5", "rsqrt v0", "mul x0 v1", "gelu_tanh v2", "mul v3 x1", "yield v4"], transpose_b = false} : (tensor<2x3x4xf32>, tensor<4x8xf32>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  %y = "pinion.gemm"(%h, %w, %r#0) {body = ["add x0 x1", "yield v0"], transpose_b = false} : (tensor<2x3x4xf32>, tensor<4x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %kv#0, %kv#1, %a, %y : tensor<2x3x1x2xf32>, tensor<2x3x1x2xf32>, tensor<2x1x3x4xf32>, tensor<2x3x4xf32>
}

//--- stays.mlir
// Must not fire: a bias; a number that a masked row may divide by; one result of two; rows of another mask, and of no token.
// CHECK-COUNT-5: remark: skip-masked-rows: not at {{.*}}: rows of tokens that are not valid are not known to be 0
// CHECK-NOT: remark
// CHECK-NOT: row_mask
func.func @main(%x: tensor<1x3x4xf32>, %few: tensor<1x2x4xf32>, %ok: tensor<1x3xi1>, %other: tensor<1x3xi1>) -> (tensor<1x1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x2x4xf32>) {
  %w = "pinion.constant"() {value = dense<0.5> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %bias = "pinion.weight"() {name = "b", file = "w.bin", offset = 0 : i64} : () -> tensor<4xf32>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %mask = "pinion.reshape"(%ok) : (tensor<1x3xi1>) -> tensor<1x1x1x3xi1>
  %rows = "pinion.reshape"(%ok) : (tensor<1x3xi1>) -> tensor<1x3x1xi1>
  %others = "pinion.reshape"(%other) : (tensor<1x3xi1>) -> tensor<1x3x1xi1>
  %cleared = "pinion.select"(%rows, %x, %zero) : (tensor<1x3x1xi1>, tensor<1x3x4xf32>, tensor<f32>) -> tensor<1x3x4xf32>
  %wrong = "pinion.select"(%others, %x, %zero) : (tensor<1x3x1xi1>, tensor<1x3x4xf32>, tensor<f32>) -> tensor<1x3x4xf32>
  %heads = "pinion.reshape"(%x) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %a = "pinion.attention"(%heads, %heads, %heads, %mask) {scale = 0.5 : f64, causal = false} : (tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x1x3xi1>) -> tensor<1x1x3x4xf32>
  %0 = "pinion.gemm"(%cleared, %w, %bias) {body = ["add x0 x1", "yield v0"], transpose_b = false} : (tensor<1x3x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  %1 = "pinion.gemm"(%cleared, %w, %x) {body = ["div x0 x1", "yield v0"], transpose_b = false} : (tensor<1x3x4xf32>, tensor<4x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %2:2 = "pinion.gemm"(%cleared, %w, %x) {body = ["tanh x0", "yield v0 x1"], transpose_b = false} : (tensor<1x3x4xf32>, tensor<4x4xf32>, tensor<1x3x4xf32>) -> (tensor<1x3x4xf32>, tensor<1x3x4xf32>)
  %3 = "pinion.gemm"(%wrong, %w) {body = ["tanh x0", "yield v0"], transpose_b = false} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %4 = "pinion.gemm"(%x, %w) {body = ["tanh x0", "yield v0"], transpose_b = false} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %5 = "pinion.gemm"(%few, %w) {body = ["tanh x0", "yield v0"], transpose_b = false} : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32>
  return %a, %0, %1, %2#0, %3, %4, %5 : tensor<1x1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x2x4xf32>
}
