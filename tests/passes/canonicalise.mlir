// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=canonicalise %t/elementwise.mlir | FileCheck %t/elementwise.mlir
// RUN: pinion opt --passes=canonicalise %t/inexact.mlir | FileCheck %t/inexact.mlir
// RUN: pinion opt --passes=canonicalise %t/casts.mlir | FileCheck %t/casts.mlir
// RUN: pinion opt --passes=canonicalise %t/pieces.mlir | FileCheck %t/pieces.mlir
// RUN: pinion opt --passes=canonicalise %t/shapes.mlir | FileCheck %t/shapes.mlir
// RUN: pinion opt --passes=canonicalise %t/broadcasts.mlir | FileCheck %t/broadcasts.mlir
// RUN: pinion opt --passes=canonicalise %t/slices.mlir | FileCheck %t/slices.mlir
// RUN: pinion opt --passes=canonicalise %t/weights.mlir | FileCheck %t/weights.mlir

//--- elementwise.mlir
// x * 1, x - 0, x / 1, i + 0, b and true, not not b, a select whose choice is known: each is its operand.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>{{.*}}, %[[I:.*]]: tensor<4xi64>{{.*}}, %[[B:.*]]: tensor<4xi1>
// CHECK-NEXT: %[[SQUARE:.*]] = "pinion.binary"(%[[X]], %[[X]]) {{.*}}kind = "mul"
// CHECK-NEXT: %[[CONSTANT:.*]] = "pinion.constant"
// CHECK-NEXT: %[[SUM:.*]] = "pinion.binary"(%[[X]], %[[CONSTANT]]) {{.*}}kind = "add"
// CHECK-NEXT: return %[[X]], %[[I]], %[[B]], %[[SQUARE]], %[[SUM]], %[[X]]
func.func @main(%x: tensor<4xf32>, %i: tensor<4xi64>, %b: tensor<4xi1>) -> (tensor<4xf32>, tensor<4xi64>, tensor<4xi1>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %two = "pinion.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %none = "pinion.constant"() {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  %true = "pinion.constant"() {value = dense<true> : tensor<4xi1>} : () -> tensor<4xi1>
  %0 = "pinion.binary"(%one, %x) {kind = "mul"} : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.binary"(%0, %zero) {kind = "sub"} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = "pinion.binary"(%1, %one) {kind = "div"} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %3 = "pinion.binary"(%i, %none) {kind = "add"} : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi64>
  %4 = "pinion.binary"(%b, %true) {kind = "and"} : (tensor<4xi1>, tensor<4xi1>) -> tensor<4xi1>
  %5 = "pinion.unary"(%4) {kind = "not"} : (tensor<4xi1>) -> tensor<4xi1>
  %6 = "pinion.unary"(%5) {kind = "not"} : (tensor<4xi1>) -> tensor<4xi1>
  // A square is a product, as the other exporter spells it.
  %7 = "pinion.binary"(%x, %two) {kind = "pow"} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  // A constant stands second; one that is the same number everywhere is a scalar.
  %c = "pinion.constant"() {value = dense<3.0> : tensor<4xf32>} : () -> tensor<4xf32>
  %8 = "pinion.binary"(%c, %x) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %9 = "pinion.select"(%true, %x, %8) : (tensor<4xi1>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %2, %3, %6, %7, %8, %9 : tensor<4xf32>, tensor<4xi64>, tensor<4xi1>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

//--- inexact.mlir
// Must not fire: x + 0 makes +0 of -0; x * 0 is not 0 for an infinity; 1 - x and 2 / x are not x.
// CHECK-LABEL: func.func @main
// CHECK: kind = "add"
// CHECK: kind = "mul"
// CHECK: kind = "sub"
// CHECK: kind = "div"
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %zero) {kind = "add"} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = "pinion.binary"(%x, %zero) {kind = "mul"} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = "pinion.binary"(%one, %x) {kind = "sub"} : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = "pinion.binary"(%one, %x) {kind = "div"} : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  return %0, %1, %2, %3 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

//--- casts.mlir
// bf16 -> f32 -> bf16 is nothing, bool -> i64 -> f32 one cast. Must not fire: f32 -> bf16 -> f32 rounds; i64 -> f32 loses.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[H:.*]]: tensor<4xbf16>{{.*}}, %[[X:.*]]: tensor<4xf32>{{.*}}, %[[B:.*]]: tensor<4xi1>{{.*}}, %[[I:.*]]: tensor<4xi64>
// CHECK-NEXT: %[[FROM_BOOL:.*]] = "pinion.cast"(%[[B]]) : (tensor<4xi1>) -> tensor<4xf32>
// CHECK-NEXT: %[[HALF:.*]] = "pinion.cast"(%[[X]]) : (tensor<4xf32>) -> tensor<4xbf16>
// CHECK-NEXT: %[[ROUNDED:.*]] = "pinion.cast"(%[[HALF]]) : (tensor<4xbf16>) -> tensor<4xf32>
// CHECK-NEXT: %[[FLOAT:.*]] = "pinion.cast"(%[[I]]) : (tensor<4xi64>) -> tensor<4xf32>
// CHECK-NEXT: %[[BACK:.*]] = "pinion.cast"(%[[FLOAT]]) : (tensor<4xf32>) -> tensor<4xi64>
// CHECK-NEXT: return %[[H]], %[[FROM_BOOL]], %[[ROUNDED]], %[[BACK]]
func.func @main(%h: tensor<4xbf16>, %x: tensor<4xf32>, %b: tensor<4xi1>, %i: tensor<4xi64>) -> (tensor<4xbf16>, tensor<4xf32>, tensor<4xf32>, tensor<4xi64>) {
  %0 = "pinion.cast"(%h) : (tensor<4xbf16>) -> tensor<4xf32>
  %1 = "pinion.cast"(%0) : (tensor<4xf32>) -> tensor<4xbf16>
  %2 = "pinion.cast"(%b) : (tensor<4xi1>) -> tensor<4xi64>
  %3 = "pinion.cast"(%2) : (tensor<4xi64>) -> tensor<4xf32>
  %4 = "pinion.cast"(%x) : (tensor<4xf32>) -> tensor<4xbf16>
  %5 = "pinion.cast"(%4) : (tensor<4xbf16>) -> tensor<4xf32>
  %6 = "pinion.cast"(%i) : (tensor<4xi64>) -> tensor<4xf32>
  %7 = "pinion.cast"(%6) : (tensor<4xf32>) -> tensor<4xi64>
  return %1, %3, %5, %7 : tensor<4xbf16>, tensor<4xf32>, tensor<4xf32>, tensor<4xi64>
}

//--- pieces.mlir
// A concatenation that is read rounded is one of rounded pieces. Must not fire: it is widened, another op reads it as it is.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x4xf32>{{.*}}, %[[Y:.*]]: tensor<2x4xf32>{{.*}}, %[[H:.*]]: tensor<1x4xbf16>
// CHECK-NEXT: %[[A:.*]] = "pinion.cast"(%[[X]]) : (tensor<1x4xf32>) -> tensor<1x4xbf16>
// CHECK-NEXT: %[[B:.*]] = "pinion.cast"(%[[Y]]) : (tensor<2x4xf32>) -> tensor<2x4xbf16>
// CHECK-NEXT: %[[AB:.*]] = "pinion.concat"(%[[A]], %[[B]]) {axis = 0 : i64, onnx = "narrow"}
// CHECK-NEXT: %[[WIDE:.*]] = "pinion.concat"(%[[H]], %[[H]])
// CHECK-NEXT: %[[C:.*]] = "pinion.cast"(%[[WIDE]])
// CHECK-NEXT: %[[BOTH:.*]] = "pinion.concat"(%[[Y]], %[[X]])
// CHECK-NEXT: %[[D:.*]] = "pinion.cast"(%[[BOTH]])
// CHECK-NEXT: return %[[AB]], %[[C]], %[[BOTH]], %[[D]]
func.func @main(%x: tensor<1x4xf32>, %y: tensor<2x4xf32>, %h: tensor<1x4xbf16>) -> (tensor<3x4xbf16>, tensor<2x4xf32>, tensor<3x4xf32>, tensor<3x4xbf16>) {
  %0 = "pinion.concat"(%x, %y) {axis = 0 : i64} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<3x4xf32>
  %1 = "pinion.cast"(%0) {onnx = "narrow"} : (tensor<3x4xf32>) -> tensor<3x4xbf16>
  %2 = "pinion.concat"(%h, %h) {axis = 0 : i64} : (tensor<1x4xbf16>, tensor<1x4xbf16>) -> tensor<2x4xbf16>
  %3 = "pinion.cast"(%2) : (tensor<2x4xbf16>) -> tensor<2x4xf32>
  %4 = "pinion.concat"(%y, %x) {axis = 0 : i64} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32>
  %5 = "pinion.cast"(%4) : (tensor<3x4xf32>) -> tensor<3x4xbf16>
  return %1, %3, %4, %5 : tensor<3x4xbf16>, tensor<2x4xf32>, tensor<3x4xf32>, tensor<3x4xbf16>
}

//--- shapes.mlir
// Reshapes collapse; a transpose of dimensions of 1 is a reshape; two transposes compose; reducing one element is none.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>{{.*}}, %[[Y:.*]]: tensor<1x5x1x4xf32>
// CHECK-NEXT: %[[FLAT:.*]] = "pinion.reshape"(%[[X]]) : (tensor<2x3x4xf32>) -> tensor<24xf32>
// CHECK-NEXT: %[[MOVED:.*]] = "pinion.reshape"(%[[Y]]) : (tensor<1x5x1x4xf32>) -> tensor<1x1x5x4xf32>
// CHECK-NEXT: %[[COMPOSED:.*]] = "pinion.transpose"(%[[X]]) {{.*}}permutation = array<i64: 1, 0, 2>
// CHECK-NEXT: %[[MEAN:.*]] = "pinion.reshape"(%[[Y]]) : (tensor<1x5x1x4xf32>) -> tensor<5x1x4xf32>
// CHECK-NEXT: return %[[FLAT]], %[[MOVED]], %[[COMPOSED]], %[[X]], %[[MEAN]]
func.func @main(%x: tensor<2x3x4xf32>, %y: tensor<1x5x1x4xf32>) -> (tensor<24xf32>, tensor<1x1x5x4xf32>, tensor<3x2x4xf32>, tensor<2x3x4xf32>, tensor<5x1x4xf32>) {
  %0 = "pinion.reshape"(%x) : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  %1 = "pinion.reshape"(%0) : (tensor<6x4xf32>) -> tensor<24xf32>
  %2 = "pinion.transpose"(%y) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x5x1x4xf32>) -> tensor<1x1x5x4xf32>
  %3 = "pinion.transpose"(%x) {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %4 = "pinion.transpose"(%3) {permutation = array<i64: 2, 1, 0>} : (tensor<4x2x3xf32>) -> tensor<3x2x4xf32>
  %5 = "pinion.reshape"(%1) : (tensor<24xf32>) -> tensor<2x3x4xf32>
  %6 = "pinion.reduce"(%y) {kind = "mean", axes = array<i64: 0>, keep = false} : (tensor<1x5x1x4xf32>) -> tensor<5x1x4xf32>
  return %1, %2, %4, %5, %6 : tensor<24xf32>, tensor<1x1x5x4xf32>, tensor<3x2x4xf32>, tensor<2x3x4xf32>, tensor<5x1x4xf32>
}

//--- broadcasts.mlir
// An op that broadcasts by itself needs none, nor leading dimensions of 1. Must not fire: where both operands were broadcast,
// one must stay, or the result would shrink. matmul broadcasts its leading dimensions.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>{{.*}}, %[[Y:.*]]: tensor<3xf32>{{.*}}, %[[A:.*]]: tensor<8x5x6xf32>{{.*}}, %[[B:.*]]: tensor<1x6x7xf32>
// CHECK-NEXT: %[[SUM:.*]] = "pinion.binary"(%[[X]], %[[Y]])
// CHECK-NEXT: %[[WIDE:.*]] = "pinion.broadcast"(%[[Y]]) : (tensor<3xf32>) -> tensor<4x3xf32>
// CHECK-NEXT: %[[DOUBLE:.*]] = "pinion.binary"(%[[Y]], %[[WIDE]])
// CHECK-NEXT: %[[PRODUCT:.*]] = "pinion.matmul"(%[[A]], %[[B]])
// CHECK-NEXT: return %[[SUM]], %[[DOUBLE]], %[[PRODUCT]]
func.func @main(%x: tensor<2x3xf32>, %y: tensor<3xf32>, %a: tensor<8x5x6xf32>, %b: tensor<1x6x7xf32>) -> (tensor<2x3xf32>, tensor<4x3xf32>, tensor<8x5x7xf32>) {
  %0 = "pinion.reshape"(%y) : (tensor<3xf32>) -> tensor<1x3xf32>
  %1 = "pinion.broadcast"(%0) : (tensor<1x3xf32>) -> tensor<2x3xf32>
  %2 = "pinion.binary"(%x, %1) {kind = "add"} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %3 = "pinion.broadcast"(%y) : (tensor<3xf32>) -> tensor<4x3xf32>
  %4 = "pinion.binary"(%3, %3) {kind = "add"} : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  %5 = "pinion.broadcast"(%b) : (tensor<1x6x7xf32>) -> tensor<8x6x7xf32>
  %6 = "pinion.matmul"(%a, %5) : (tensor<8x5x6xf32>, tensor<8x6x7xf32>) -> tensor<8x5x7xf32>
  return %2, %4, %6 : tensor<2x3xf32>, tensor<4x3xf32>, tensor<8x5x7xf32>
}

//--- slices.mlir
// What was split is put together again; a slice of a slice, and of one piece of a concat; one known index is a slice.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x6xf32>{{.*}}, %[[Y:.*]]: tensor<2x4xf32>
// CHECK-DAG: %[[INNER:.*]] = "pinion.slice"(%[[X]]) {{.*}}starts = array<i64: 0, 5>, steps = array<i64: 1, -2>{{.*}} -> tensor<2x2xf32>
// CHECK-DAG: %[[PIECE:.*]] = "pinion.slice"(%[[Y]]) {{.*}}starts = array<i64: 0, 1>, steps = array<i64: 1, 1>{{.*}} -> tensor<2x3xf32>
// CHECK-DAG: %[[ROW:.*]] = "pinion.slice"(%[[X]]) {{.*}}starts = array<i64: 1, 0>{{.*}} -> tensor<1x6xf32>
// CHECK-NEXT: %[[PICKED:.*]] = "pinion.reshape"(%[[ROW]]) : (tensor<1x6xf32>) -> tensor<6xf32>
// Must not fire: the halves are swapped, as a rotation does.
// CHECK: %[[SWAPPED:.*]] = "pinion.concat"
// CHECK-NEXT: return %[[X]], %[[INNER]], %[[PIECE]], %[[PICKED]], %[[SWAPPED]]
func.func @main(%x: tensor<2x6xf32>, %y: tensor<2x4xf32>) -> (tensor<2x6xf32>, tensor<2x2xf32>, tensor<2x3xf32>, tensor<6xf32>, tensor<2x6xf32>) {
  %low = "pinion.slice"(%x) {starts = array<i64: 0, 0>, steps = array<i64: 1, 1>} : (tensor<2x6xf32>) -> tensor<2x3xf32>
  %high = "pinion.slice"(%x) {starts = array<i64: 0, 3>, steps = array<i64: 1, 1>} : (tensor<2x6xf32>) -> tensor<2x3xf32>
  %0 = "pinion.concat"(%low, %high) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x6xf32>
  %1 = "pinion.slice"(%x) {starts = array<i64: 0, 5>, steps = array<i64: 1, -1>} : (tensor<2x6xf32>) -> tensor<2x5xf32>
  %2 = "pinion.slice"(%1) {starts = array<i64: 0, 0>, steps = array<i64: 1, 2>} : (tensor<2x5xf32>) -> tensor<2x2xf32>
  %3 = "pinion.concat"(%x, %y) {axis = 1 : i64} : (tensor<2x6xf32>, tensor<2x4xf32>) -> tensor<2x10xf32>
  %4 = "pinion.slice"(%3) {starts = array<i64: 0, 7>, steps = array<i64: 1, 1>} : (tensor<2x10xf32>) -> tensor<2x3xf32>
  %index = "pinion.constant"() {value = dense<-1> : tensor<i64>} : () -> tensor<i64>
  %5 = "pinion.gather"(%x, %index) {axis = 0 : i64} : (tensor<2x6xf32>, tensor<i64>) -> tensor<6xf32>
  %6 = "pinion.concat"(%high, %low) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x6xf32>
  return %0, %2, %4, %5, %6 : tensor<2x6xf32>, tensor<2x2xf32>, tensor<2x3xf32>, tensor<6xf32>, tensor<2x6xf32>
}

//--- weights.mlir
// A weight has no shape of its own; one with another use keeps it, and so does a result of @weights.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: %[[SHARED:.*]] = "pinion.weight"() {{.*}} -> tensor<3x4xf32>
// CHECK-NEXT: %[[RESULT:.*]] = "pinion.weight"() {{.*}} -> tensor<3x4xf32>
// CHECK-NEXT: %[[FLAT:.*]] = "pinion.weight"() {file = "w.bin", name = "a", offset = 0 : i64{{.*}}} : () -> tensor<12xf32>
// CHECK-NEXT: %[[R1:.*]] = "pinion.reshape"(%[[SHARED]])
// CHECK-NEXT: %[[R2:.*]] = "pinion.reshape"(%[[RESULT]])
// CHECK-NEXT: return %[[FLAT]], %[[R1]], %[[SHARED]], %[[R2]]
func.func @main() -> (tensor<12xf32>, tensor<12xf32>, tensor<3x4xf32>, tensor<12xf32>) {
  %a = "pinion.weight"() {name = "a", file = "w.bin", offset = 0 : i64, onnx = "a"} : () -> tensor<3x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 48 : i64} : () -> tensor<3x4xf32>
  %c = "pinion.weight"() {name = "c", file = "@weights", offset = 0 : i64} : () -> tensor<3x4xf32>
  %0 = "pinion.reshape"(%a) : (tensor<3x4xf32>) -> tensor<12xf32>
  %1 = "pinion.reshape"(%b) : (tensor<3x4xf32>) -> tensor<12xf32>
  %2 = "pinion.reshape"(%c) : (tensor<3x4xf32>) -> tensor<12xf32>
  return %0, %1, %b, %2 : tensor<12xf32>, tensor<12xf32>, tensor<3x4xf32>, tensor<12xf32>
}
