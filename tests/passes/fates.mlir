// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What becomes of ONNX nodes: the module's location lists those that no op names any more, by fate and pass.

// Computed at compile time (also what becomes a literal or is merged into an equal constant), shown by views, or dead.
// RUN: pinion opt --passes=fold-constants,eliminate-common,fuse-pointwise,eliminate-dead %s | FileCheck %s --check-prefix=PASSES
// PASSES-DAG: [[SUM:#loc[0-9]*]] = loc("sum"
// PASSES-DAG: [[ONE:#loc[0-9]*]] = loc("one"
// PASSES-DAG: [[ALSO_ONE:#loc[0-9]*]] = loc("also_one"
// PASSES-DAG: [[UNUSED:#loc[0-9]*]] = loc("unused"
// PASSES-DAG: loc(fused<"folded fold-constants">{{\[}}[[ONE]]])
// PASSES-DAG: loc(fused<"folded fuse-pointwise">{{\[}}[[SUM]], [[ALSO_ONE]]])
// PASSES-DAG: loc(fused<"dead eliminate-dead">{{\[}}[[UNUSED]]])
// PASSES-NOT: fused<"view

// A transpose of an activation is a view for its reader, one whose reader is written transposed, too; over two runs.
// RUN: pinion opt --passes=fold-constants,eliminate-common,fuse-pointwise,eliminate-dead %s -o %t.mlir
// RUN: pinion opt --target=cpu --passes=outline-weights,lower-to-launches %t.mlir | FileCheck %s --check-prefix=LOWERED
// LOWERED-DAG: [[SHOWN:#loc[0-9]*]] = loc("shown"
// LOWERED-DAG: [[WRITTEN:#loc[0-9]*]] = loc("written"
// LOWERED-DAG: loc(fused<"view lower-to-launches">{{\[}}[[SHOWN]], [[WRITTEN]]])
// LOWERED-DAG: loc(fused<"folded fold-constants">
// LOWERED-NOT: fused<"dead lower-to-launches

module {
func.func private @stage(%x: tensor<2x3xf32>) -> (tensor<3x2xf32>, tensor<2x3xf32>) {
  %shown = "pinion.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32> loc("shown"("Transpose"))
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32> loc("one"("Constant"))
  %two = "pinion.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %sum = "pinion.binary"(%one, %two) {kind = "add"} : (tensor<f32>, tensor<f32>) -> tensor<f32> loc("sum"("Add"))
  %also_one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32> loc("also_one"("Constant"))
  %1 = "pinion.binary"(%shown, %sum) {kind = "mul"} : (tensor<3x2xf32>, tensor<f32>) -> tensor<3x2xf32> loc("mul"("Mul"))
  %2 = "pinion.binary"(%1, %also_one) {kind = "add"} : (tensor<3x2xf32>, tensor<f32>) -> tensor<3x2xf32> loc("add"("Add"))
  %3 = "pinion.unary"(%x) {kind = "exp"} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("unused"("Exp"))
  return %2, %3 : tensor<3x2xf32>, tensor<2x3xf32>
}
func.func @main(%x: tensor<2x3xf32> {pinion.name = "x"}) -> tensor<2x3xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0:2 = func.call @stage(%x) : (tensor<2x3xf32>) -> (tensor<3x2xf32>, tensor<2x3xf32>)
  %1 = "pinion.transpose"(%0#0) {permutation = array<i64: 1, 0>} : (tensor<3x2xf32>) -> tensor<2x3xf32> loc("written"("Transpose"))
  return %1 : tensor<2x3xf32>
}
} loc(fused<"nodes">["shown"("Transpose"), "one"("Constant"), "sum"("Add"), "also_one"("Constant"), "mul"("Mul"), "add"("Add"), "unused"("Exp"), "written"("Transpose")])
