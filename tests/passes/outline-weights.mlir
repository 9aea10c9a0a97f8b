// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: pinion opt --passes=outline-weights %s | FileCheck %s
// RUN: pinion opt --passes=outline-weights,outline-weights %s | FileCheck %s

// A cast transposed weight that two functions use is one result; so is a weight used as it is, and a constant that is not
// one number; each use is a reference to the result's number.
// CHECK-LABEL: func.func @main
// CHECK-DAG: %[[FIRST:.*]] = "pinion.weight"() {file = "@weights", name = "to_bf16", offset = 0 : i64} : () -> tensor<4x2xbf16>
// CHECK-DAG: %[[PLAIN:.*]] = "pinion.weight"() {file = "@weights", name = "b", offset = 1 : i64} : () -> tensor<2xbf16>
// CHECK-DAG: %[[TABLE:.*]] = "pinion.weight"() {file = "@weights", {{.*}}offset = 2 : i64} : () -> tensor<2xbf16>
// CHECK-DAG: %[[SMALL:.*]] = "pinion.weight"() {file = "@weights", {{.*}}offset = 3 : i64} : () -> tensor<1xbf16>
// Must not fire: a number that an elementwise op uses, a broadcast of a weight (its operand is the result).
// CHECK-DAG: %[[HALF:.*]] = "pinion.constant"() {value = dense<5.000000e-01> : tensor<bf16>}
// CHECK: "pinion.matmul"(%{{.*}}, %[[FIRST]])
// CHECK: "pinion.binary"(%{{.*}}, %[[PLAIN]])
// CHECK: "pinion.binary"(%{{.*}}, %[[TABLE]])
// CHECK: "pinion.binary"(%{{.*}}, %[[HALF]])
// CHECK: %[[WIDE:.*]] = "pinion.broadcast"(%[[SMALL]]) : (tensor<1xbf16>) -> tensor<2x2xbf16>
// CHECK: "pinion.concat"(%{{.*}}, %[[WIDE]])
// CHECK-LABEL: func.func private @other
// CHECK: %[[SAME:.*]] = "pinion.weight"() {file = "@weights", name = "to_bf16", offset = 0 : i64}
// CHECK: "pinion.matmul"(%{{.*}}, %[[SAME]])
// CHECK-LABEL: func.func private @weights() -> (tensor<4x2xbf16>, tensor<2xbf16>, tensor<2xbf16>, tensor<1xbf16>)
// CHECK: %[[A:.*]] = "pinion.weight"() {file = "w.bin", name = "a", offset = 0 : i64}
// CHECK: %[[T:.*]] = "pinion.transpose"(%[[A]])
// CHECK: %[[C:.*]] = "pinion.cast"(%[[T]])
// CHECK-NOT: "pinion.cast"
// CHECK: return %[[C]], %{{.*}}, %{{.*}}, %{{.*}} :
func.func @main(%x: tensor<2x4xbf16>) -> (tensor<4x2xbf16>, tensor<2x2xbf16>) {
  %a = "pinion.weight"() {name = "a", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 32 : i64} : () -> tensor<2xbf16>
  %d = "pinion.weight"() {name = "d", file = "w.bin", offset = 36 : i64} : () -> tensor<1xbf16>
  %table = "pinion.constant"() {value = dense<[1.0, 2.0]> : tensor<2xbf16>} : () -> tensor<2xbf16>
  %half = "pinion.constant"() {value = dense<0.5> : tensor<bf16>} : () -> tensor<bf16>
  %t = "pinion.transpose"(%a) {permutation = array<i64: 1, 0>} : (tensor<2x4xf32>) -> tensor<4x2xf32>
  %c = "pinion.cast"(%t) : (tensor<4x2xf32>) -> tensor<4x2xbf16> loc("to_bf16")
  %0 = "pinion.matmul"(%x, %c) : (tensor<2x4xbf16>, tensor<4x2xbf16>) -> tensor<2x2xbf16>
  %1 = "pinion.binary"(%0, %b) {kind = "add"} : (tensor<2x2xbf16>, tensor<2xbf16>) -> tensor<2x2xbf16>
  %2 = "pinion.binary"(%1, %table) {kind = "mul"} : (tensor<2x2xbf16>, tensor<2xbf16>) -> tensor<2x2xbf16>
  %3 = "pinion.binary"(%2, %half) {kind = "mul"} : (tensor<2x2xbf16>, tensor<bf16>) -> tensor<2x2xbf16>
  %wide = "pinion.broadcast"(%d) : (tensor<1xbf16>) -> tensor<2x2xbf16>
  %4 = "pinion.concat"(%3, %wide) {axis = 0 : i64} : (tensor<2x2xbf16>, tensor<2x2xbf16>) -> tensor<4x2xbf16>
  %5 = func.call @other(%x) : (tensor<2x4xbf16>) -> tensor<2x2xbf16>
  return %4, %5 : tensor<4x2xbf16>, tensor<2x2xbf16>
}
func.func private @other(%x: tensor<2x4xbf16>) -> tensor<2x2xbf16> {
  %a = "pinion.weight"() {name = "a_again", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xf32>
  %t = "pinion.transpose"(%a) {permutation = array<i64: 1, 0>} : (tensor<2x4xf32>) -> tensor<4x2xf32>
  %c = "pinion.cast"(%t) : (tensor<4x2xf32>) -> tensor<4x2xbf16> loc("to_bf16")
  %0 = "pinion.matmul"(%x, %c) : (tensor<2x4xbf16>, tensor<4x2xbf16>) -> tensor<2x2xbf16>
  return %0 : tensor<2x2xbf16>
}
