// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-pointwise %t/tree.mlir | FileCheck %t/tree.mlir
// RUN: pinion opt --passes=fuse-pointwise %t/rounding.mlir | FileCheck %t/rounding.mlir
// RUN: pinion opt --passes=fuse-pointwise %t/shared.mlir | FileCheck %t/shared.mlir
// RUN: pinion opt --passes=fuse-pointwise %t/rows.mlir | FileCheck %t/rows.mlir
// RUN: pinion opt --passes=fuse-pointwise %t/limits.mlir | FileCheck %t/limits.mlir
// RUN: pinion opt --passes=fuse-pointwise %t/weights.mlir | FileCheck %t/weights.mlir
// RUN: pinion opt --passes=fuse-pointwise %t/spread.mlir | FileCheck %t/spread.mlir
// RUN: pinion opt --passes=fuse-pointwise,fuse-pointwise %t/tree.mlir | FileCheck %t/tree.mlir

//--- tree.mlir
// A tree with one use of each op is one loop: broadcasts become operands, one number everywhere a literal. The location is
// that of all, operands first; the result keeps the ONNX value that it is.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x4xf32>{{.*}}, %[[B:.*]]: tensor<4xf32>{{.*}}, %[[M:.*]]: tensor<2x1xi1>
// CHECK-NEXT: %[[Y:.*]] = "pinion.pointwise"(%[[X]], %[[B]], %[[M]]) {body = ["mul x0 0.5", "add v0 x1", "gelu_tanh v1", "select x2 v2 -inf", "yield v3"], onnx = "y"} {{.*}}loc(#[[LOC:.*]])
// CHECK-NEXT: return %[[Y]]
// CHECK: #[[MUL:.*]] = loc("mul")
// CHECK: #[[LOC]] = loc(fused[#[[MUL]],
func.func @main(%x: tensor<2x4xf32>, %b: tensor<4xf32>, %m: tensor<2x1xi1>) -> tensor<2x4xf32> {
  %half = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %inf = "pinion.constant"() {value = dense<0xFF800000> : tensor<f32>} : () -> tensor<f32>
  %wide = "pinion.broadcast"(%b) : (tensor<4xf32>) -> tensor<2x4xf32>
  %0 = "pinion.binary"(%x, %half) {kind = "mul"} : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32> loc("mul")
  %1 = "pinion.binary"(%0, %wide) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("add")
  %2 = "pinion.unary"(%1) {kind = "gelu_tanh"} : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("gelu")
  %3 = "pinion.select"(%m, %2, %inf) {onnx = "y"} : (tensor<2x1xi1>, tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32> loc("where")
  return %3 : tensor<2x4xf32>
}

//--- rounding.mlir
// A bf16 value between two ops keeps its rounding; the last is rounded by the store; max and negation round nothing.
// CHECK-LABEL: func.func @main
// CHECK: body = ["mul x0 x1", "cast.bf16 v0", "max v1 x0", "neg v2", "add v3 x1", "yield v4"]
// A cast to bf16 rounds, a cast from it is nothing to do.
// CHECK: body = ["exp x0", "cast.bf16 v0", "mul v1 x0", "yield v2"]
func.func @main(%x: tensor<4xbf16>, %y: tensor<4xbf16>, %z: tensor<4xf32>) -> (tensor<4xbf16>, tensor<4xf32>) {
  %0 = "pinion.binary"(%x, %y) {kind = "mul"} : (tensor<4xbf16>, tensor<4xbf16>) -> tensor<4xbf16>
  %1 = "pinion.binary"(%0, %x) {kind = "max"} : (tensor<4xbf16>, tensor<4xbf16>) -> tensor<4xbf16>
  %2 = "pinion.unary"(%1) {kind = "neg"} : (tensor<4xbf16>) -> tensor<4xbf16>
  %3 = "pinion.binary"(%2, %y) {kind = "add"} : (tensor<4xbf16>, tensor<4xbf16>) -> tensor<4xbf16>
  %4 = "pinion.unary"(%z) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %5 = "pinion.cast"(%4) : (tensor<4xf32>) -> tensor<4xbf16>
  %6 = "pinion.cast"(%5) : (tensor<4xbf16>) -> tensor<4xf32>
  %7 = "pinion.binary"(%6, %z) {kind = "mul"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %3, %7 : tensor<4xbf16>, tensor<4xf32>
}

//--- shared.mlir
// Must not fire: the exponential has a user outside the tree, and would be computed twice. A widening cast is repeated.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<4xbf16>
// CHECK: %[[E:.*]] = "pinion.pointwise"(%[[X]]) {body = ["cast.f32 x0", "exp v0", "yield v1"]}
// CHECK-NEXT: %[[SUM:.*]] = "pinion.reduce"(%[[E]])
// CHECK-NEXT: %[[Y:.*]] = "pinion.pointwise"(%[[X]], %[[E]]) {body = ["cast.f32 x0", "add x1 v0", "neg v1", "yield v2"]}
// CHECK-NEXT: return %[[SUM]], %[[Y]]
func.func @main(%x: tensor<4xbf16>) -> (tensor<1xf32>, tensor<4xf32>) {
  %0 = "pinion.cast"(%x) : (tensor<4xbf16>) -> tensor<4xf32>
  %1 = "pinion.unary"(%0) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = "pinion.reduce"(%1) {kind = "sum", axes = array<i64: 0>, keep = true} : (tensor<4xf32>) -> tensor<1xf32>
  %3 = "pinion.binary"(%1, %0) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %4 = "pinion.unary"(%3) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  return %2, %4 : tensor<1xf32>, tensor<4xf32>
}

//--- rows.mlir
// Must not fire: a square root per row would be computed for each element. An addition per column is cheaper than a launch.
// CHECK-LABEL: func.func @main
// CHECK: %[[R:.*]] = "pinion.unary"(%{{.*}}) {kind = "rsqrt"}
// CHECK: "pinion.pointwise"(%{{.*}}, %{{.*}}, %[[R]]) {body = ["add x0 1", "mul x1 x2", "mul v1 v0", "yield v2"]}
func.func @main(%x: tensor<2x4xf32>, %v: tensor<2x1xf32>, %s: tensor<4xf32>) -> tensor<2x4xf32> {
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.unary"(%v) {kind = "rsqrt"} : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %1 = "pinion.binary"(%s, %one) {kind = "add"} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = "pinion.binary"(%x, %0) {kind = "mul"} : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  %3 = "pinion.binary"(%2, %1) {kind = "mul"} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %3 : tensor<2x4xf32>
}

//--- limits.mlir
// Must not fire as one: sixteen arguments are a kernel's most, one of them the result. @weights is evaluated op by op.
// CHECK-LABEL: func.func @main
// CHECK-COUNT-2: "pinion.pointwise"
// CHECK-NOT: "pinion.pointwise"
// CHECK-LABEL: func.func private @weights
// CHECK: "pinion.unary"
// CHECK: "pinion.unary"
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>, %d: tensor<4xf32>, %e: tensor<4xf32>, %f: tensor<4xf32>, %g: tensor<4xf32>, %h: tensor<4xf32>, %i: tensor<4xf32>, %j: tensor<4xf32>, %k: tensor<4xf32>, %l: tensor<4xf32>, %m: tensor<4xf32>, %n: tensor<4xf32>, %o: tensor<4xf32>, %p: tensor<4xf32>, %q: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "pinion.binary"(%a, %b) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.binary"(%0, %c) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %2 = "pinion.binary"(%1, %d) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = "pinion.binary"(%2, %e) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %4 = "pinion.binary"(%3, %f) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %5 = "pinion.binary"(%4, %g) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %6 = "pinion.binary"(%5, %h) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %7 = "pinion.binary"(%6, %i) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %8 = "pinion.binary"(%7, %j) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %9 = "pinion.binary"(%8, %k) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %10 = "pinion.binary"(%9, %l) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %11 = "pinion.binary"(%10, %m) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %12 = "pinion.binary"(%11, %n) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %13 = "pinion.binary"(%12, %o) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %14 = "pinion.binary"(%13, %p) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %15 = "pinion.binary"(%14, %q) {kind = "add"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %15 : tensor<4xf32>
}
func.func private @weights() -> tensor<4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4xf32>
  %0 = "pinion.unary"(%w) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "pinion.unary"(%0) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

//--- weights.mlir
// Must not fire: what depends on weights alone is computed at compile time, apart from the op that reads it.
// CHECK-LABEL: func.func @main
// CHECK: %[[W:.*]] = "pinion.weight"
// CHECK: %[[WIDE:.*]] = "pinion.cast"(%[[W]])
// CHECK: %[[SCALE:.*]] = "pinion.binary"(%[[WIDE]], %{{.*}}) {kind = "add"}
// CHECK: "pinion.pointwise"(%{{.*}}, %[[SCALE]]) {body = ["mul x0 x1", "neg v0", "yield v1"]}
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4xbf16>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.cast"(%w) : (tensor<4xbf16>) -> tensor<4xf32>
  %1 = "pinion.binary"(%0, %one) {kind = "add"} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = "pinion.binary"(%x, %1) {kind = "mul"} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %3 = "pinion.unary"(%2) {kind = "neg"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %3 : tensor<2x4xf32>
}

//--- spread.mlir
// A product of a column and a row is repeated in each op that reads it: its operands are fewer to read. Must not fire: the operands
// are as many, or the op is costly, or a row's sum reads it as well.
// CHECK-LABEL: func.func @main
// CHECK: "pinion.pointwise"(%[[X:.*]], %[[Y:.*]]) {body = ["mul x0 x1", "cos v0", "yield v1"]}
// CHECK: "pinion.pointwise"(%[[X]], %[[Y]]) {body = ["mul x0 x1", "sin v0", "yield v1"]}
// CHECK: %[[WHOLE:.*]] = "pinion.binary"({{.*}}) {kind = "mul"} : (tensor<8x8xf32>, tensor<8xf32>)
// CHECK-NEXT: "pinion.unary"(%[[WHOLE]]) {kind = "cos"}
// CHECK-NEXT: "pinion.unary"(%[[WHOLE]]) {kind = "sin"}
// CHECK: %[[COSTLY:.*]] = "pinion.binary"({{.*}}) {kind = "pow"}
// CHECK-NEXT: "pinion.unary"(%[[COSTLY]]) {kind = "cos"}
// CHECK-NEXT: "pinion.unary"(%[[COSTLY]]) {kind = "sin"}
// CHECK: %[[SUMMED:.*]] = "pinion.binary"({{.*}}) {kind = "add"}
// CHECK-NEXT: "pinion.unary"(%[[SUMMED]]) {kind = "cos"}
// CHECK-NEXT: "pinion.reduce"(%[[SUMMED]])
func.func @main(%x: tensor<8x1xf32>, %y: tensor<8xf32>, %z: tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8xf32>) {
  %0 = "pinion.binary"(%x, %y) {kind = "mul"} : (tensor<8x1xf32>, tensor<8xf32>) -> tensor<8x8xf32>
  %1 = "pinion.unary"(%0) {kind = "cos"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = "pinion.unary"(%0) {kind = "sin"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %3 = "pinion.binary"(%z, %y) {kind = "mul"} : (tensor<8x8xf32>, tensor<8xf32>) -> tensor<8x8xf32>
  %4 = "pinion.unary"(%3) {kind = "cos"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %5 = "pinion.unary"(%3) {kind = "sin"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %6 = "pinion.binary"(%x, %y) {kind = "pow"} : (tensor<8x1xf32>, tensor<8xf32>) -> tensor<8x8xf32>
  %7 = "pinion.unary"(%6) {kind = "cos"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %8 = "pinion.unary"(%6) {kind = "sin"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %9 = "pinion.binary"(%x, %y) {kind = "add"} : (tensor<8x1xf32>, tensor<8xf32>) -> tensor<8x8xf32>
  %10 = "pinion.unary"(%9) {kind = "cos"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %11 = "pinion.reduce"(%9) {kind = "sum", axes = array<i64: 1>, keep = false} : (tensor<8x8xf32>) -> tensor<8xf32>
  return %1, %2, %4, %5, %7, %8, %10, %11 : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8xf32>
}
