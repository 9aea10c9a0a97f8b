// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --remarks: where optional passes fired, and where they nearly did.

// Places are the nodes of all that a rewrite takes in, or lines of text; what clean-up does is no remark.
// RUN: pinion opt --passes=canonicalise,recognise-activation,recognise-norm --remarks %s 2>&1 >/dev/null | FileCheck %s --match-full-lines --implicit-check-not=remark
// CHECK-DAG: remark: recognise-activation: fired at 'Sigmoid@layers.0.act' and 1 more node
// CHECK-DAG: remark: recognise-activation: fired at line [[# @LINE + 13]]
// CHECK-DAG: remark: recognise-activation: not at 'sigmoid_1@layers.1' and 1 more node: it is a silu, but 'reader@layers.1' also reads what 'sigmoid_1@layers.1' computes

// Into a file, which says so where it cannot be written.
// RUN: pinion opt --passes=recognise-activation --remarks-file=%t.remarks %s 2>&1 | FileCheck %s --check-prefix=QUIET
// RUN: FileCheck %s --check-prefix=FILE < %t.remarks
// RUN: not pinion opt --passes=recognise-activation --remarks-file=%t.none/remarks %s 2>&1 | FileCheck %s --check-prefix=UNWRITTEN
// QUIET-NOT: fired at
// FILE: remark: recognise-activation: fired at
// UNWRITTEN: cannot write '{{.*}}/remarks'
func.func @main(%x: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>) {
  %0 = "pinion.unary"(%x) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32> loc("Sigmoid@layers.0.act")
  %1 = "pinion.binary"(%0, %x) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc("Mul@layers.0.act")
  %2 = "pinion.unary"(%1) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %3 = "pinion.binary"(%2, %1) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %4 = "pinion.reshape"(%3) : (tensor<2x8xf32>) -> tensor<16xf32>
  %5 = "pinion.reshape"(%4) : (tensor<16xf32>) -> tensor<2x8xf32>
  %6 = "pinion.unary"(%5) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32> loc("sigmoid_1@layers.1")
  %7 = "pinion.binary"(%6, %5) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc("mul_1@layers.1")
  %8 = "pinion.unary"(%6) {kind = "neg"} : (tensor<2x8xf32>) -> tensor<2x8xf32> loc("reader@layers.1")
  return %7, %8 : tensor<2x8xf32>, tensor<2x8xf32>
}
