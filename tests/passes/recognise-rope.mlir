// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=recognise-rope %t/angles.mlir | FileCheck %t/angles.mlir
// RUN: pinion opt --passes=recognise-rope %t/constants.mlir | FileCheck %t/constants.mlir
// RUN: pinion opt --passes=recognise-rope %t/functions.mlir | FileCheck %t/functions.mlir
// RUN: pinion opt --passes=recognise-rope %t/halves.mlir | FileCheck %t/halves.mlir
// RUN: pinion opt --passes=recognise-rope %t/rows_first.mlir | FileCheck %t/rows_first.mlir
// RUN: pinion opt --passes=recognise-rope --remarks %t/halves_stay.mlir 2>&1 | FileCheck %t/halves_stay.mlir
// RUN: pinion opt --passes=recognise-rope --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- angles.mlir
// cos and sin of concat(f, f), cast, with a dimension for the heads; products and sum in either order. The second time x
// stands without its dimension for one head, as canonicalise leaves it.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x5x4xbf16>{{.*}}, %[[Z:.*]]: tensor<5x4xbf16>
// CHECK: %[[HC:.*]] = "pinion.slice"(%{{.*}}) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x1x5x4xbf16>) -> tensor<2x1x5x2xbf16>
// CHECK-NEXT: %[[C:.*]] = "pinion.reshape"(%[[HC]]) : (tensor<2x1x5x2xbf16>) -> tensor<2x5x2xbf16>
// CHECK: %[[S:.*]] = "pinion.reshape"(%{{.*}}) : (tensor<2x1x5x2xbf16>) -> tensor<2x5x2xbf16>
// CHECK-NEXT: %[[Y:.*]] = "pinion.rope"(%[[X]], %[[C]], %[[S]]) {interleaved = false, onnx = "y"}
// CHECK: %[[ZH:.*]] = "pinion.reshape"(%[[Z]])
// CHECK: %[[W:.*]] = "pinion.rope"(%[[ZH]], %{{.*}}, %{{.*}}) {interleaved = false} : (tensor<1x1x5x4xbf16>, tensor<1x5x2xbf16>, tensor<1x5x2xbf16>)
// CHECK-NEXT: return %[[Y]], %[[W]]
func.func @main(%x: tensor<2x3x5x4xbf16>, %z: tensor<5x4xbf16>, %f: tensor<2x5x2xf32>, %g: tensor<5x2xbf16>) -> (tensor<2x3x5x4xbf16>, tensor<1x1x5x4xbf16>) {
  %0 = "pinion.concat"(%f, %f) {axis = 2 : i64} : (tensor<2x5x2xf32>, tensor<2x5x2xf32>) -> tensor<2x5x4xf32>
  %1 = "pinion.unary"(%0) {kind = "cos"} : (tensor<2x5x4xf32>) -> tensor<2x5x4xf32>
  %2 = "pinion.unary"(%0) {kind = "sin"} : (tensor<2x5x4xf32>) -> tensor<2x5x4xf32>
  %3 = "pinion.cast"(%1) : (tensor<2x5x4xf32>) -> tensor<2x5x4xbf16>
  %4 = "pinion.cast"(%2) : (tensor<2x5x4xf32>) -> tensor<2x5x4xbf16>
  %cos = "pinion.reshape"(%3) : (tensor<2x5x4xbf16>) -> tensor<2x1x5x4xbf16>
  %sin = "pinion.reshape"(%4) : (tensor<2x5x4xbf16>) -> tensor<2x1x5x4xbf16>
  %5 = "pinion.binary"(%cos, %x) {kind = "mul"} : (tensor<2x1x5x4xbf16>, tensor<2x3x5x4xbf16>) -> tensor<2x3x5x4xbf16>
  %6 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xbf16>) -> tensor<2x3x5x2xbf16>
  %7 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xbf16>) -> tensor<2x3x5x2xbf16>
  %8 = "pinion.unary"(%7) {kind = "neg"} : (tensor<2x3x5x2xbf16>) -> tensor<2x3x5x2xbf16>
  %9 = "pinion.concat"(%8, %6) {axis = 3 : i64} : (tensor<2x3x5x2xbf16>, tensor<2x3x5x2xbf16>) -> tensor<2x3x5x4xbf16>
  %10 = "pinion.binary"(%sin, %9) {kind = "mul"} : (tensor<2x1x5x4xbf16>, tensor<2x3x5x4xbf16>) -> tensor<2x3x5x4xbf16>
  %11 = "pinion.binary"(%10, %5) {kind = "add", onnx = "y"} : (tensor<2x3x5x4xbf16>, tensor<2x3x5x4xbf16>) -> tensor<2x3x5x4xbf16>
  %c = "pinion.concat"(%g, %g) {axis = 1 : i64} : (tensor<5x2xbf16>, tensor<5x2xbf16>) -> tensor<5x4xbf16>
  %12 = "pinion.reshape"(%z) : (tensor<5x4xbf16>) -> tensor<1x1x5x4xbf16>
  %13 = "pinion.slice"(%12) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x1x5x4xbf16>) -> tensor<1x1x5x2xbf16>
  %14 = "pinion.slice"(%12) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x1x5x4xbf16>) -> tensor<1x1x5x2xbf16>
  %15 = "pinion.unary"(%14) {kind = "neg"} : (tensor<1x1x5x2xbf16>) -> tensor<1x1x5x2xbf16>
  %16 = "pinion.concat"(%15, %13) {axis = 3 : i64} : (tensor<1x1x5x2xbf16>, tensor<1x1x5x2xbf16>) -> tensor<1x1x5x4xbf16>
  %17 = "pinion.binary"(%z, %c) {kind = "mul"} : (tensor<5x4xbf16>, tensor<5x4xbf16>) -> tensor<5x4xbf16>
  %18 = "pinion.binary"(%16, %c) {kind = "mul"} : (tensor<1x1x5x4xbf16>, tensor<5x4xbf16>) -> tensor<1x1x5x4xbf16>
  %19 = "pinion.binary"(%17, %18) {kind = "add"} : (tensor<5x4xbf16>, tensor<1x1x5x4xbf16>) -> tensor<1x1x5x4xbf16>
  return %11, %19 : tensor<2x3x5x4xbf16>, tensor<1x1x5x4xbf16>
}

//--- constants.mlir
// Tables folded to constants: their halves have equal bytes.
// CHECK-LABEL: func.func @main
// CHECK: "pinion.rope"
func.func @main(%x: tensor<1x1x1x4xf32>) -> tensor<1x1x1x4xf32> {
  %cos = "pinion.constant"() {value = dense<[[1.0, 0.5, 1.0, 0.5]]> : tensor<1x4xf32>} : () -> tensor<1x4xf32>
  %sin = "pinion.constant"() {value = dense<[[0.0, 0.8, 0.0, 0.8]]> : tensor<1x4xf32>} : () -> tensor<1x4xf32>
  %0 = "pinion.binary"(%x, %cos) {kind = "mul"} : (tensor<1x1x1x4xf32>, tensor<1x4xf32>) -> tensor<1x1x1x4xf32>
  %1 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x1x1x4xf32>) -> tensor<1x1x1x2xf32>
  %2 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x1x1x4xf32>) -> tensor<1x1x1x2xf32>
  %3 = "pinion.unary"(%2) {kind = "neg"} : (tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32>
  %4 = "pinion.concat"(%3, %1) {axis = 3 : i64} : (tensor<1x1x1x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x1x1x4xf32>
  %5 = "pinion.binary"(%4, %sin) {kind = "mul"} : (tensor<1x1x1x4xf32>, tensor<1x4xf32>) -> tensor<1x1x1x4xf32>
  %6 = "pinion.binary"(%0, %5) {kind = "add"} : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x1x1x4xf32>
  return %6 : tensor<1x1x1x4xf32>
}

//--- functions.mlir
// The table is an argument of the step, which @main has from what @prefix returns.
// CHECK-LABEL: func.func private @step
// CHECK: "pinion.rope"
// CHECK-LABEL: func.func private @prefix
func.func private @step(%x: tensor<1x1x5x4xf32>, %c: tensor<5x4xf32>) -> tensor<1x1x5x4xf32> {
  %0 = "pinion.binary"(%x, %c) {kind = "mul"} : (tensor<1x1x5x4xf32>, tensor<5x4xf32>) -> tensor<1x1x5x4xf32>
  %1 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x1x5x4xf32>) -> tensor<1x1x5x2xf32>
  %2 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x1x5x4xf32>) -> tensor<1x1x5x2xf32>
  %3 = "pinion.unary"(%2) {kind = "neg"} : (tensor<1x1x5x2xf32>) -> tensor<1x1x5x2xf32>
  %4 = "pinion.concat"(%3, %1) {axis = 3 : i64} : (tensor<1x1x5x2xf32>, tensor<1x1x5x2xf32>) -> tensor<1x1x5x4xf32>
  %5 = "pinion.binary"(%4, %c) {kind = "mul"} : (tensor<1x1x5x4xf32>, tensor<5x4xf32>) -> tensor<1x1x5x4xf32>
  %6 = "pinion.binary"(%0, %5) {kind = "add"} : (tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x1x5x4xf32>
  return %6 : tensor<1x1x5x4xf32>
}
func.func private @prefix(%f: tensor<5x2xf32>) -> (tensor<5x2xf32>, tensor<5x4xf32>) {
  %0 = "pinion.concat"(%f, %f) {axis = 1 : i64} : (tensor<5x2xf32>, tensor<5x2xf32>) -> tensor<5x4xf32>
  %1 = "pinion.unary"(%0) {kind = "cos"} : (tensor<5x4xf32>) -> tensor<5x4xf32>
  return %f, %1 : tensor<5x2xf32>, tensor<5x4xf32>
}
func.func @main(%x: tensor<1x1x5x4xf32>, %f: tensor<5x2xf32>) -> tensor<1x1x5x4xf32> {
  %0:2 = call @prefix(%f) : (tensor<5x2xf32>) -> (tensor<5x2xf32>, tensor<5x4xf32>)
  %1 = "pinion.steps"(%x, %0#1) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<1x1x5x4xf32>, tensor<5x4xf32>) -> tensor<1x1x5x4xf32>
  return %1 : tensor<1x1x5x4xf32>
}

//--- halves.mlir
// Each half of its own: angles of half the width, of which nothing need be proven. Products and sum in either order, and
// tables without a dimension for the heads.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x5x4xf32>{{.*}}, %[[C:.*]]: tensor<2x1x5x2xf32>{{.*}}, %[[S:.*]]: tensor<5x2xf32>
// CHECK: %[[CT:.*]] = "pinion.reshape"(%[[C]]) : (tensor<2x1x5x2xf32>) -> tensor<2x5x2xf32>
// CHECK-NEXT: %[[ST:.*]] = "pinion.reshape"(%[[S]]) : (tensor<5x2xf32>) -> tensor<1x5x2xf32>
// CHECK-NEXT: %[[Y:.*]] = "pinion.rope"(%[[X]], %[[CT]], %[[ST]]) {interleaved = false, onnx = "y"}
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<2x3x5x4xf32>, %cos: tensor<2x1x5x2xf32>, %sin: tensor<5x2xf32>) -> tensor<2x3x5x4xf32> {
  %lo = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %hi = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %0 = "pinion.binary"(%lo, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %1 = "pinion.binary"(%sin, %hi) {kind = "mul"} : (tensor<5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %2 = "pinion.binary"(%0, %1) {kind = "sub"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %3 = "pinion.binary"(%lo, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<5x2xf32>) -> tensor<2x3x5x2xf32>
  %4 = "pinion.binary"(%cos, %hi) {kind = "mul"} : (tensor<2x1x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %5 = "pinion.binary"(%3, %4) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %6 = "pinion.concat"(%2, %5) {axis = 3 : i64, onnx = "y"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32>
  return %6 : tensor<2x3x5x4xf32>
}

//--- rows_first.mlir
// Rows before heads, as the projection leaves them: the rope is of the transpose, which the attention behind it reads, without
// a transpose of its own; another reader gets the rotation swapped back.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x5x3x4xf32>{{.*}}, %[[C:.*]]: tensor<1x5x1x2xf32>{{.*}}, %[[S:.*]]: tensor<1x5x1x2xf32>
// CHECK: %[[T:.*]] = "pinion.transpose"(%[[X]]) {permutation = array<i64: 0, 2, 1, 3>}
// CHECK-NEXT: %[[CT:.*]] = "pinion.reshape"(%[[C]]) : (tensor<1x5x1x2xf32>) -> tensor<1x5x2xf32>
// CHECK-NEXT: %[[ST:.*]] = "pinion.reshape"(%[[S]]) : (tensor<1x5x1x2xf32>) -> tensor<1x5x2xf32>
// CHECK-NEXT: %[[Y:.*]] = "pinion.rope"(%[[T]], %[[CT]], %[[ST]]) {interleaved = false, onnx = "swapped"
// CHECK-NEXT: %[[BACK:.*]] = "pinion.transpose"(%[[Y]]) {onnx = "rotated", permutation = array<i64: 0, 2, 1, 3>}
// CHECK-NEXT: %[[N:.*]] = "pinion.unary"(%[[BACK]])
// CHECK-NEXT: return %[[Y]], %[[N]]
func.func @main(%x: tensor<2x5x3x4xf32>, %cos: tensor<1x5x1x2xf32>, %sin: tensor<1x5x1x2xf32>) -> (tensor<2x3x5x4xf32>, tensor<2x5x3x4xf32>) {
  %lo = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x5x3x4xf32>) -> tensor<2x5x3x2xf32>
  %hi = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x5x3x4xf32>) -> tensor<2x5x3x2xf32>
  %0 = "pinion.binary"(%lo, %cos) {kind = "mul"} : (tensor<2x5x3x2xf32>, tensor<1x5x1x2xf32>) -> tensor<2x5x3x2xf32>
  %1 = "pinion.binary"(%hi, %sin) {kind = "mul"} : (tensor<2x5x3x2xf32>, tensor<1x5x1x2xf32>) -> tensor<2x5x3x2xf32>
  %2 = "pinion.binary"(%0, %1) {kind = "sub"} : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x2xf32>
  %3 = "pinion.binary"(%hi, %cos) {kind = "mul"} : (tensor<2x5x3x2xf32>, tensor<1x5x1x2xf32>) -> tensor<2x5x3x2xf32>
  %4 = "pinion.binary"(%lo, %sin) {kind = "mul"} : (tensor<2x5x3x2xf32>, tensor<1x5x1x2xf32>) -> tensor<2x5x3x2xf32>
  %5 = "pinion.binary"(%3, %4) {kind = "add"} : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x2xf32>
  %6 = "pinion.concat"(%2, %5) {axis = 3 : i64, onnx = "rotated"} : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x4xf32>
  %7 = "pinion.transpose"(%6) {permutation = array<i64: 0, 2, 1, 3>, onnx = "swapped"} : (tensor<2x5x3x4xf32>) -> tensor<2x3x5x4xf32>
  %8 = "pinion.unary"(%6) {kind = "neg"} : (tensor<2x5x3x4xf32>) -> tensor<2x5x3x4xf32>
  return %7, %8 : tensor<2x3x5x4xf32>, tensor<2x5x3x4xf32>
}

//--- halves_stay.mlir
// Must not fire: another op reads a product; an angle for each head. And what is no rotation, of which nothing is said: the
// upper half has other angles; two sums; the halves of two values; the halves come back the other way round.
// CHECK-DAG: remark: recognise-rope: not at {{.*}}: it is a rotation, but {{.*}} also reads what {{.*}} computes
// CHECK-DAG: remark: recognise-rope: not at {{.*}}: it is a rotation, but its angles are not one row a position
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-NOT: pinion.rope
func.func @main(%x: tensor<2x3x5x4xf32>, %z: tensor<2x3x5x4xf32>, %cos: tensor<2x1x5x2xf32>, %sin: tensor<2x1x5x2xf32>, %heads: tensor<2x3x5x2xf32>) -> (tensor<2x3x5x2xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>) {
  %lo0 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %hi0 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %a0 = "pinion.binary"(%lo0, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %b0 = "pinion.binary"(%hi0, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %low0 = "pinion.binary"(%a0, %b0) {kind = "sub"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %c0 = "pinion.binary"(%hi0, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %d0 = "pinion.binary"(%lo0, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %high0 = "pinion.binary"(%c0, %d0) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %y0 = "pinion.concat"(%low0, %high0) {axis = 3 : i64} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32>
  %lo1 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %hi1 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %a1 = "pinion.binary"(%lo1, %heads) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %b1 = "pinion.binary"(%hi1, %heads) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %low1 = "pinion.binary"(%a1, %b1) {kind = "sub"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %c1 = "pinion.binary"(%hi1, %heads) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %d1 = "pinion.binary"(%lo1, %heads) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %high1 = "pinion.binary"(%c1, %d1) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %y1 = "pinion.concat"(%low1, %high1) {axis = 3 : i64} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32>
  %lo2 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %hi2 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %a2 = "pinion.binary"(%lo2, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %b2 = "pinion.binary"(%hi2, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %low2 = "pinion.binary"(%a2, %b2) {kind = "sub"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %c2 = "pinion.binary"(%hi2, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %d2 = "pinion.binary"(%lo2, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %high2 = "pinion.binary"(%c2, %d2) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %y2 = "pinion.concat"(%low2, %high2) {axis = 3 : i64} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32>
  %lo3 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %hi3 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %a3 = "pinion.binary"(%lo3, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %b3 = "pinion.binary"(%hi3, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %low3 = "pinion.binary"(%a3, %b3) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %c3 = "pinion.binary"(%hi3, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %d3 = "pinion.binary"(%lo3, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %high3 = "pinion.binary"(%c3, %d3) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %y3 = "pinion.concat"(%low3, %high3) {axis = 3 : i64} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32>
  %lo4 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %hi4 = "pinion.slice"(%z) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %a4 = "pinion.binary"(%lo4, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %b4 = "pinion.binary"(%hi4, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %low4 = "pinion.binary"(%a4, %b4) {kind = "sub"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %c4 = "pinion.binary"(%hi4, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %d4 = "pinion.binary"(%lo4, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %high4 = "pinion.binary"(%c4, %d4) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %y4 = "pinion.concat"(%low4, %high4) {axis = 3 : i64} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32>
  %lo5 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %hi5 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x2xf32>
  %a5 = "pinion.binary"(%lo5, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %b5 = "pinion.binary"(%hi5, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %low5 = "pinion.binary"(%a5, %b5) {kind = "sub"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %c5 = "pinion.binary"(%hi5, %cos) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %d5 = "pinion.binary"(%lo5, %sin) {kind = "mul"} : (tensor<2x3x5x2xf32>, tensor<2x1x5x2xf32>) -> tensor<2x3x5x2xf32>
  %high5 = "pinion.binary"(%c5, %d5) {kind = "add"} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x2xf32>
  %y5 = "pinion.concat"(%high5, %low5) {axis = 3 : i64} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32>
  return %a0, %y0, %y1, %y2, %y3, %y4, %y5 : tensor<2x3x5x2xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>
}

//--- stays.mlir
// Must not fire: the table is an input, of which nothing is known; its halves are two values; its bytes differ; another op reads
// the rotated x; an angle for each head; the first half is the one negated.
// CHECK-DAG: remark: recognise-rope: not at {{.*}}: it is a rotation, but the halves of its angles are not proven equal
// CHECK-DAG: remark: recognise-rope: not at {{.*}}: it is a rotation, but the halves of its angles are not proven equal
// CHECK-DAG: remark: recognise-rope: not at {{.*}}: it is a rotation, but the halves of its angles are not proven equal
// CHECK-DAG: remark: recognise-rope: not at {{.*}}: it is a rotation, but {{.*}} also reads what {{.*}} computes
// CHECK-DAG: remark: recognise-rope: not at {{.*}}: it is a rotation, but its angles are not one row a position
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-NOT: pinion.rope
func.func @main(%x: tensor<1x2x5x4xf32>, %c: tensor<5x4xf32>, %f: tensor<5x2xf32>, %g: tensor<5x2xf32>, %h: tensor<1x2x5x2xf32>) -> (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) {
  %one = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %two = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  // An input.
  %0 = "pinion.unary"(%two) {kind = "neg"} : (tensor<1x2x5x2xf32>) -> tensor<1x2x5x2xf32>
  %1 = "pinion.concat"(%0, %one) {axis = 3 : i64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x4xf32>
  %2 = "pinion.binary"(%x, %c) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %3 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %4 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %5 = "pinion.unary"(%4) {kind = "neg"} : (tensor<1x2x5x2xf32>) -> tensor<1x2x5x2xf32>
  %6 = "pinion.concat"(%5, %3) {axis = 3 : i64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x4xf32>
  %7 = "pinion.binary"(%6, %c) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %8 = "pinion.binary"(%2, %7) {kind = "add"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  // Two values.
  %fg = "pinion.concat"(%f, %g) {axis = 1 : i64} : (tensor<5x2xf32>, tensor<5x2xf32>) -> tensor<5x4xf32>
  %9 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %10 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %11 = "pinion.unary"(%10) {kind = "neg"} : (tensor<1x2x5x2xf32>) -> tensor<1x2x5x2xf32>
  %12 = "pinion.concat"(%11, %9) {axis = 3 : i64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x4xf32>
  %13 = "pinion.binary"(%x, %fg) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %14 = "pinion.binary"(%12, %fg) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %15 = "pinion.binary"(%13, %14) {kind = "add"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  // Bytes.
  %bytes = "pinion.constant"() {value = dense<[[1.0, 0.5, 1.0, 0.25], [1.0, 0.5, 1.0, 0.5], [1.0, 0.5, 1.0, 0.5], [1.0, 0.5, 1.0, 0.5], [1.0, 0.5, 1.0, 0.5]]> : tensor<5x4xf32>} : () -> tensor<5x4xf32>
  %16 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %17 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %18 = "pinion.unary"(%17) {kind = "neg"} : (tensor<1x2x5x2xf32>) -> tensor<1x2x5x2xf32>
  %19 = "pinion.concat"(%18, %16) {axis = 3 : i64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x4xf32>
  %20 = "pinion.binary"(%x, %bytes) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %21 = "pinion.binary"(%19, %bytes) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %22 = "pinion.binary"(%20, %21) {kind = "add"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  // Another reader: of %1, which is returned.
  %ff = "pinion.concat"(%f, %f) {axis = 1 : i64} : (tensor<5x2xf32>, tensor<5x2xf32>) -> tensor<5x4xf32>
  %23 = "pinion.binary"(%x, %ff) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %24 = "pinion.binary"(%1, %ff) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %25 = "pinion.binary"(%23, %24) {kind = "add"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  // A table with heads.
  %hh = "pinion.concat"(%h, %h) {axis = 3 : i64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x4xf32>
  %26 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %27 = "pinion.slice"(%x) {starts = array<i64: 0, 0, 0, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x4xf32>) -> tensor<1x2x5x2xf32>
  %28 = "pinion.unary"(%27) {kind = "neg"} : (tensor<1x2x5x2xf32>) -> tensor<1x2x5x2xf32>
  %29 = "pinion.concat"(%28, %26) {axis = 3 : i64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x4xf32>
  %30 = "pinion.binary"(%x, %hh) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  %31 = "pinion.binary"(%29, %hh) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  %32 = "pinion.binary"(%30, %31) {kind = "add"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  // The wrong half negated.
  %33 = "pinion.unary"(%one) {kind = "neg"} : (tensor<1x2x5x2xf32>) -> tensor<1x2x5x2xf32>
  %34 = "pinion.concat"(%33, %two) {axis = 3 : i64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x4xf32>
  %35 = "pinion.binary"(%34, %ff) {kind = "mul"} : (tensor<1x2x5x4xf32>, tensor<5x4xf32>) -> tensor<1x2x5x4xf32>
  %36 = "pinion.binary"(%23, %35) {kind = "add"} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
  return %8, %15, %22, %1, %25, %32, %36 : tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>
}
