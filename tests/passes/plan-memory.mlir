// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=lower-to-launches,plan-memory %t/chain.mlir | FileCheck %t/chain.mlir
// RUN: pinion opt --passes=lower-to-launches,plan-memory %t/steps.mlir | FileCheck %t/steps.mlir
// RUN: not pinion opt --passes=plan-memory %t/unlowered.mlir 2>&1 | FileCheck %t/unlowered.mlir

//--- chain.mlir
// Three buffers of 256 bytes: the third takes the place of the first, which is dead by then. A launch waits for those whose results
// it reads, but not for those that they wait for; the two reductions of the same value do not wait for each other.
// CHECK: module attributes {pinion.arena_bytes = 768 : i64
// CHECK: "pinion.buffer"() {{.*}}name = "first", offset = [[A:[0-9]+]] : i64{{.*}}space = "arena"
// CHECK: "pinion.buffer"() {{.*}}name = "second", offset = {{[0-9]+}} : i64{{.*}}space = "arena"
// CHECK: "pinion.buffer"() {{.*}}name = "third", offset = [[A]] : i64{{.*}}space = "arena"
// CHECK: "pinion.launch"{{.*}}after = array<i64>
// CHECK: "pinion.launch"{{.*}}after = array<i64: 0>
// CHECK: "pinion.launch"{{.*}}after = array<i64: 1>
// CHECK: "pinion.launch"{{.*}}after = array<i64: 2>
// CHECK: "pinion.launch"{{.*}}after = array<i64: 2>
// CHECK: "pinion.launch"{{.*}}after = array<i64: 3, 4>
func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %a = "pinion.softmax"(%x) {axis = 1 : i64} : (tensor<8x8xf32>) -> tensor<8x8xf32> loc("first")
  %b = "pinion.softmax"(%a) {axis = 0 : i64} : (tensor<8x8xf32>) -> tensor<8x8xf32> loc("second")
  %c = "pinion.softmax"(%b) {axis = 1 : i64} : (tensor<8x8xf32>) -> tensor<8x8xf32> loc("third")
  %r = "pinion.reduce"(%c) {kind = "max", axes = array<i64: 0>, keep = true} : (tensor<8x8xf32>) -> tensor<1x8xf32>
  %s = "pinion.reduce"(%c) {kind = "max", axes = array<i64: 1>, keep = true} : (tensor<8x8xf32>) -> tensor<8x1xf32>
  %y = "pinion.binary"(%r, %s) {kind = "add"} : (tensor<1x8xf32>, tensor<8x1xf32>) -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

//--- steps.mlir
// What the steps read lives through all of them, though its last use comes before the step's own value is made: no sharing.
// CHECK: module attributes {pinion.arena_bytes = 768 : i64
// CHECK: "pinion.buffer"() {{.*}}name = "before", offset = 0 : i64{{.*}}space = "arena"
// CHECK: "pinion.buffer"() {{.*}}name = "within", offset = 256 : i64{{.*}}space = "arena"
// CHECK: "pinion.buffer"() {{.*}}name = "then", offset = 512 : i64{{.*}}space = "arena"
module {
  func.func @main(%x: tensor<4x4xf32>, %z: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {pinion.inputs = ["x", "z"], pinion.outputs = ["y"]} {
    %b = "pinion.softmax"(%z) {axis = 1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("before")
    %y = "pinion.steps"(%x, %b) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
  func.func private @step(%x: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %h = "pinion.binary"(%x, %b) {kind = "mul"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32> loc("within")
    %t = "pinion.softmax"(%h) {axis = 1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("then")
    %y = "pinion.binary"(%x, %t) {kind = "add"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
}

//--- unlowered.mlir
// CHECK: the module is not at launch level
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
