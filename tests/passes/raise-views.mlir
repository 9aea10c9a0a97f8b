// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=raise-views %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=raise-views,fuse-pointwise,outline-weights,lower-to-launches %t/fires.mlir | FileCheck %t/fires.mlir --check-prefix=LAUNCHES
// RUN: pinion opt --passes=raise-views %t/dimensions.mlir | FileCheck %t/dimensions.mlir
// RUN: pinion opt --passes=raise-views --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// Positions become a column, and a row of angles, of one for each frequency, is written twice: the positions are reshaped before
// they are computed, and the frequencies repeated at compile time. What is left is a launch for the sums, one for each function.
// CHECK-LABEL: func.func @main
// CHECK: %[[F:.*]] = "pinion.weight"
// CHECK: %[[SUM:.*]] = "pinion.cumsum"
// CHECK: %[[COLUMN:.*]] = "pinion.reshape"(%[[SUM]]) : (tensor<1x6xi64>) -> tensor<1x6x1xi64>
// CHECK: %[[POSITION:.*]] = "pinion.binary"(%[[COLUMN]], %{{.*}}) {kind = "sub", onnx = "column"} : (tensor<1x6x1xi64>, tensor<i64>) -> tensor<1x6x1xi64>
// CHECK: %[[X:.*]] = "pinion.cast"(%[[POSITION]])
// CHECK: %[[FF:.*]] = "pinion.concat"(%[[F]], %[[F]]) {axis = 0 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32>
// CHECK: %[[ANGLE:.*]] = "pinion.binary"(%[[X]], %[[FF]]) {kind = "mul", onnx = "angles"} : (tensor<1x6x1xf32>, tensor<8xf32>) -> tensor<1x6x8xf32>
// CHECK: "pinion.unary"(%[[ANGLE]]) {kind = "cos"}
// CHECK: "pinion.unary"(%[[ANGLE]]) {kind = "sin"}
// LAUNCHES: family = "cumsum"
// LAUNCHES-NEXT: body = ["sub x0 1", "cast.f32 v0", "mul v1 x1", "cos v2", "yield v3"]
// LAUNCHES-NEXT: body = ["sub x0 1", "cast.f32 v0", "mul v1 x1", "sin v2", "yield v3"]
// LAUNCHES-NEXT: return
func.func @main(%m: tensor<1x6xi64>) -> (tensor<1x6x8xf32>, tensor<1x6x8xf32>) attributes {pinion.inputs = ["m"], pinion.outputs = ["c", "s"]} {
  %f = "pinion.weight"() {name = "f", file = "w.bin", offset = 0 : i64} : () -> tensor<4xf32>
  %one = "pinion.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %0 = "pinion.cumsum"(%m) {axis = 1 : i64, exclusive = false, reverse = false} : (tensor<1x6xi64>) -> tensor<1x6xi64>
  %1 = "pinion.binary"(%0, %one) {kind = "sub", onnx = "flat"} : (tensor<1x6xi64>, tensor<i64>) -> tensor<1x6xi64>
  %2 = "pinion.reshape"(%1) {onnx = "column"} : (tensor<1x6xi64>) -> tensor<1x6x1xi64>
  %3 = "pinion.cast"(%2) : (tensor<1x6x1xi64>) -> tensor<1x6x1xf32>
  %4 = "pinion.binary"(%3, %f) {kind = "mul", onnx = "half"} : (tensor<1x6x1xf32>, tensor<4xf32>) -> tensor<1x6x4xf32>
  %5 = "pinion.concat"(%4, %4) {axis = 2 : i64, onnx = "angles"} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x8xf32>
  %6 = "pinion.unary"(%5) {kind = "cos"} : (tensor<1x6x8xf32>) -> tensor<1x6x8xf32>
  %7 = "pinion.unary"(%5) {kind = "sin"} : (tensor<1x6x8xf32>) -> tensor<1x6x8xf32>
  return %6, %7 : tensor<1x6x8xf32>, tensor<1x6x8xf32>
}

//--- dimensions.mlir
// Through several ops, whose operands have fewer dimensions, or one element: each gets the dimensions of size 1 where the result
// has them. An op may read a value twice.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x1x3xf32>{{.*}}, %[[Y:.*]]: tensor<3xf32>{{.*}}, %[[Z:.*]]: tensor<1xf32>
// CHECK-DAG: %[[X4:.*]] = "pinion.reshape"(%[[X]]) : (tensor<2x1x3xf32>) -> tensor<1x2x3x1xf32>
// CHECK-DAG: %[[Y4:.*]] = "pinion.reshape"(%[[Y]]) : (tensor<3xf32>) -> tensor<1x1x3x1xf32>
// CHECK: %[[SUM:.*]] = "pinion.binary"(%[[X4]], %[[Y4]]) {kind = "add"} : (tensor<1x2x3x1xf32>, tensor<1x1x3x1xf32>) -> tensor<1x2x3x1xf32>
// CHECK: %[[PRODUCT:.*]] = "pinion.binary"(%[[SUM]], %[[Z]]) {kind = "mul"} : (tensor<1x2x3x1xf32>, tensor<1xf32>) -> tensor<1x2x3x1xf32>
// CHECK: %[[SQUARE:.*]] = "pinion.binary"(%[[PRODUCT]], %[[PRODUCT]]) {kind = "mul"}
// CHECK-NEXT: "pinion.unary"(%[[SQUARE]]) {kind = "exp"}
func.func @main(%x: tensor<2x1x3xf32>, %y: tensor<3xf32>, %z: tensor<1xf32>) -> tensor<1x2x3x1xf32> {
  %0 = "pinion.binary"(%x, %y) {kind = "add"} : (tensor<2x1x3xf32>, tensor<3xf32>) -> tensor<2x1x3xf32>
  %1 = "pinion.binary"(%0, %z) {kind = "mul"} : (tensor<2x1x3xf32>, tensor<1xf32>) -> tensor<2x1x3xf32>
  %2 = "pinion.reshape"(%1) : (tensor<2x1x3xf32>) -> tensor<1x2x3x1xf32>
  %3 = "pinion.binary"(%2, %2) {kind = "mul"} : (tensor<1x2x3x1xf32>, tensor<1x2x3x1xf32>) -> tensor<1x2x3x1xf32>
  %4 = "pinion.unary"(%3) {kind = "exp"} : (tensor<1x2x3x1xf32>) -> tensor<1x2x3x1xf32>
  return %4 : tensor<1x2x3x1xf32>
}

//--- stays.mlir
// Must not fire: what is repeated varies along the axis with an input; a reshape that splits a dimension; one that another op than
// an elementwise one reads; one of a value that is read in its old shape, too; one behind what a product feeds; a concat of two
// values; one along an axis of size 1.
// CHECK: remark: raise-views: not at 'varies': what it repeats varies along the axis with no constant
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK: "pinion.concat"({{.*}} -> tensor<2x6xf32>
// CHECK: "pinion.reshape"(%{{.*}}) : (tensor<4xf32>) -> tensor<2x2xf32>
// CHECK-NEXT: "pinion.unary"
// CHECK: "pinion.reshape"(%{{.*}}) : (tensor<4xf32>) -> tensor<4x1xf32>
// CHECK-NEXT: "pinion.softmax"
// CHECK: "pinion.reshape"(%{{.*}}) : (tensor<4xf32>) -> tensor<1x4xf32>
// CHECK-NEXT: "pinion.unary"
// CHECK: "pinion.reshape"(%{{.*}}) : (tensor<3x3xf32>) -> tensor<1x3x3xf32>
// CHECK-NEXT: "pinion.unary"
// CHECK: "pinion.concat"({{.*}} -> tensor<4x2xf32>
// CHECK: "pinion.concat"({{.*}} -> tensor<2x4xf32>
func.func @main(%x: tensor<2x3xf32>, %y: tensor<4xf32>) -> (tensor<2x6xf32>, tensor<2x2xf32>, tensor<4x1xf32>, tensor<1x4xf32>, tensor<4xf32>, tensor<1x3x3xf32>, tensor<4x2xf32>, tensor<2x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<2x3xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 64 : i64} : () -> tensor<3x2xf32>
  %0 = "pinion.binary"(%x, %w) {kind = "mul"} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %1 = "pinion.concat"(%0, %0) {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x6xf32> loc("varies")
  %2 = "pinion.unary"(%1) {kind = "exp"} : (tensor<2x6xf32>) -> tensor<2x6xf32>
  %3 = "pinion.unary"(%y) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %4 = "pinion.reshape"(%3) : (tensor<4xf32>) -> tensor<2x2xf32>
  %5 = "pinion.unary"(%4) {kind = "neg"} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %6 = "pinion.unary"(%y) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  %7 = "pinion.reshape"(%6) : (tensor<4xf32>) -> tensor<4x1xf32>
  %8 = "pinion.softmax"(%7) {axis = 0 : i64} : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %9 = "pinion.unary"(%y) {kind = "abs"} : (tensor<4xf32>) -> tensor<4xf32>
  %10 = "pinion.reshape"(%9) : (tensor<4xf32>) -> tensor<1x4xf32>
  %11 = "pinion.unary"(%10) {kind = "exp"} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %12 = "pinion.matmul"(%v, %x) : (tensor<3x2xf32>, tensor<2x3xf32>) -> tensor<3x3xf32>
  %13 = "pinion.unary"(%12) {kind = "exp"} : (tensor<3x3xf32>) -> tensor<3x3xf32>
  %14 = "pinion.reshape"(%13) : (tensor<3x3xf32>) -> tensor<1x3x3xf32>
  %15 = "pinion.unary"(%14) {kind = "neg"} : (tensor<1x3x3xf32>) -> tensor<1x3x3xf32>
  %16 = "pinion.unary"(%5) {kind = "abs"} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %17 = "pinion.concat"(%16, %5) {axis = 0 : i64} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %18 = "pinion.unary"(%17) {kind = "exp"} : (tensor<4x2xf32>) -> tensor<4x2xf32>
  %19 = "pinion.unary"(%11) {kind = "abs"} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %20 = "pinion.concat"(%19, %19) {axis = 0 : i64} : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  %21 = "pinion.unary"(%20) {kind = "exp"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %2, %5, %8, %11, %9, %15, %18, %21 : tensor<2x6xf32>, tensor<2x2xf32>, tensor<4x1xf32>, tensor<1x4xf32>, tensor<4xf32>, tensor<1x3x3xf32>, tensor<4x2xf32>, tensor<2x4xf32>
}
