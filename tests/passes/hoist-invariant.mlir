// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=hoist-invariant %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=hoist-invariant %t/both.mlir | FileCheck %t/both.mlir
// RUN: pinion opt --passes=hoist-invariant %t/stays.mlir | FileCheck %t/stays.mlir

//--- fires.mlir
// The row's cast is computed once, and its square, of which the step reads the mean alone; the reshape that both read goes
// along. The new arguments stand before the table; the one that nothing reads any more is gone.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x4xbf16>{{.*}}, %[[S:.*]]: tensor<4xf32>{{.*}}, %[[T:.*]]: tensor<3x4xbf16>
// CHECK: %[[R:.*]] = "pinion.reshape"(%[[S]])
// CHECK: %[[C:.*]] = "pinion.cast"(%[[R]])
// CHECK: %[[Q:.*]] = "pinion.binary"(%[[R]], %[[R]]) {kind = "mul"}
// CHECK: %[[M:.*]] = "pinion.reduce"(%[[Q]])
// CHECK: %[[N:.*]] = "pinion.cast"(%[[M]])
// CHECK: "pinion.steps"(%[[X]], %[[C]], %[[N]], %[[T]]) {callee = @step, count = 3 : i64, tables = 1 : i64}
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%[[Y:.*]]: tensor<1x4xbf16>{{.*}}, %[[A:.*]]: tensor<1x4xbf16>{{.*}}, %[[B:.*]]: tensor<1x1xbf16>{{.*}}, %[[ROW:.*]]: tensor<4xbf16>
// CHECK-NEXT: "pinion.concat"(%[[Y]], %[[A]])
// CHECK-NEXT: "pinion.reduce"
// CHECK-NEXT: "pinion.binary"(%{{.*}}, %[[B]]) {kind = "mul"}
// CHECK-NEXT: "pinion.binary"(%{{.*}}, %[[ROW]]) {kind = "add"}
// CHECK-NEXT: return
func.func @main(%x: tensor<1x4xbf16>, %s: tensor<4xf32>, %t: tensor<3x4xbf16>) -> tensor<1x4xbf16> {
  %0 = "pinion.steps"(%x, %s, %t) {callee = @step, count = 3 : i64, tables = 1 : i64} : (tensor<1x4xbf16>, tensor<4xf32>, tensor<3x4xbf16>) -> tensor<1x4xbf16>
  return %0 : tensor<1x4xbf16>
}
func.func private @step(%x: tensor<1x4xbf16>, %s: tensor<4xf32>, %t: tensor<4xbf16>) -> tensor<1x4xbf16> {
  %0 = "pinion.reshape"(%s) : (tensor<4xf32>) -> tensor<1x4xf32>
  %1 = "pinion.cast"(%0) : (tensor<1x4xf32>) -> tensor<1x4xbf16>
  %2 = "pinion.binary"(%0, %0) {kind = "mul"} : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %3 = "pinion.reduce"(%2) {kind = "mean", axes = array<i64: 0, 1>, keep = true} : (tensor<1x4xf32>) -> tensor<1x1xf32>
  %4 = "pinion.concat"(%x, %1) {axis = 0 : i64} : (tensor<1x4xbf16>, tensor<1x4xbf16>) -> tensor<2x4xbf16>
  %5 = "pinion.reduce"(%4) {kind = "sum", axes = array<i64: 0>, keep = true} : (tensor<2x4xbf16>) -> tensor<1x4xbf16>
  %6 = "pinion.cast"(%3) : (tensor<1x1xf32>) -> tensor<1x1xbf16>
  %7 = "pinion.binary"(%5, %6) {kind = "mul"} : (tensor<1x4xbf16>, tensor<1x1xbf16>) -> tensor<1x4xbf16>
  %8 = "pinion.binary"(%7, %t) {kind = "add"} : (tensor<1x4xbf16>, tensor<4xbf16>) -> tensor<1x4xbf16>
  return %8 : tensor<1x4xbf16>
}

//--- both.mlir
// The cast is read in the step and by what is hoisted behind it.
// CHECK-LABEL: func.func @main
// CHECK: %[[C:.*]] = "pinion.cast"
// CHECK: %[[Q:.*]] = "pinion.unary"(%[[C]]) {kind = "exp"}
// CHECK: "pinion.steps"(%{{[^,]*}}, %[[C]], %[[Q]])
// CHECK-LABEL: func.func private @step
// CHECK-NOT: "pinion.unary"
func.func @main(%x: tensor<4xbf16>, %s: tensor<4xf32>) -> tensor<4xbf16> {
  %0 = "pinion.steps"(%x, %s) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4xbf16>, tensor<4xf32>) -> tensor<4xbf16>
  return %0 : tensor<4xbf16>
}
func.func private @step(%x: tensor<4xbf16>, %s: tensor<4xf32>) -> tensor<4xbf16> {
  %0 = "pinion.cast"(%s) : (tensor<4xf32>) -> tensor<4xbf16>
  %1 = "pinion.unary"(%0) {kind = "exp"} : (tensor<4xbf16>) -> tensor<4xbf16>
  %2 = "pinion.binary"(%x, %0) {kind = "add"} : (tensor<4xbf16>, tensor<4xbf16>) -> tensor<4xbf16>
  %3 = "pinion.binary"(%2, %1) {kind = "mul"} : (tensor<4xbf16>, tensor<4xbf16>) -> tensor<4xbf16>
  return %3 : tensor<4xbf16>
}

//--- stays.mlir
// Must not fire: it depends on the carried value, on a table's row, or on weights alone; it only moves elements.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: "pinion.steps"(%{{.*}}, %{{.*}}, %{{.*}}) {callee = @step, count = 3 : i64, tables = 1 : i64}
// CHECK-LABEL: func.func private @step
// CHECK: "pinion.transpose"
// CHECK-COUNT-5: "pinion.binary"
func.func @main(%x: tensor<2x2xf32>, %s: tensor<2x2xf32>, %t: tensor<3x2xf32>) -> tensor<2x2xf32> {
  %0 = "pinion.steps"(%x, %s, %t) {callee = @step, count = 3 : i64, tables = 1 : i64} : (tensor<2x2xf32>, tensor<2x2xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}
func.func private @step(%x: tensor<2x2xf32>, %s: tensor<2x2xf32>, %t: tensor<2xf32>) -> tensor<2x2xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<2xf32>
  %0 = "pinion.transpose"(%s) {permutation = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %1 = "pinion.binary"(%0, %t) {kind = "mul"} : (tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  %2 = "pinion.binary"(%x, %0) {kind = "add"} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %3 = "pinion.binary"(%w, %w) {kind = "mul"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %4 = "pinion.binary"(%1, %3) {kind = "add"} : (tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  %5 = "pinion.binary"(%2, %4) {kind = "add"} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %5 : tensor<2x2xf32>
}
