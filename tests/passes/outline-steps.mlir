// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=outline-steps %t/euler.mlir | FileCheck %s --check-prefix=EULER
// RUN: pinion opt --passes=outline-steps %t/layers.mlir | FileCheck %s --check-prefix=LAYERS
// RUN: pinion opt --passes=outline-steps --remarks %t/layers.mlir 2>&1 | FileCheck %s --check-prefix=LAYERS-WHY
// RUN: pinion opt --passes=outline-steps %t/heun.mlir | FileCheck %s --check-prefix=HEUN
// RUN: pinion opt --passes=outline-steps %t/one.mlir | FileCheck %s --check-prefix=ONE
// RUN: pinion opt --passes=outline-steps %t/differ.mlir | FileCheck %s --check-prefix=DIFFER
// RUN: pinion opt --passes=outline-steps --remarks %t/differ.mlir 2>&1 | FileCheck %s --check-prefix=DIFFER-WHY
// RUN: pinion opt --passes=outline-steps %t/merged.mlir | FileCheck %s --check-prefix=MERGED
// RUN: pinion opt --passes=outline-steps %t/around.mlir | FileCheck %s --check-prefix=AROUND
// RUN: pinion opt --passes=outline-steps %t/tapped.mlir | FileCheck %s --check-prefix=TAPPED
// RUN: pinion opt --default-passes --dump-ir-after=outline-steps %t/unclean.mlir 2>&1 | FileCheck %s --check-prefix=UNCLEAN
// RUN: pinion opt --default-passes --dump-ir-after=outline-steps %t/clean.mlir 2>&1 | FileCheck %s --check-prefix=EARLY

// Three Euler steps x' = x + dt * W x c_s, whose times differ: one function; the times become a table, the prefix an
// argument, the weight is cloned into the step.
// EULER-LABEL: func.func @main
// EULER: %[[PREFIX:.*]] = "pinion.unary"
// EULER: %[[TABLE:.*]] = "pinion.constant"() {{.*}}dense<[1.000000e+00, 0.666666686, 0.333333343]> : tensor<3xf32>
// EULER-NOT: pinion.matmul
// EULER: %[[X:.*]] = "pinion.steps"(%{{.*}}, %[[PREFIX]], %[[TABLE]]) {{.*}}callee = @step, count = 3 : i64, tables = 1 : i64
// EULER-NEXT: return %[[X]]
// EULER-LABEL: func.func private @step(%{{.*}}: tensor<2x4xf32>{{.*}}, %{{.*}}: tensor<2x4xf32>{{.*}}, %{{.*}}: tensor<f32>
// EULER: "pinion.weight"
// EULER: "pinion.matmul"
// EULER: "pinion.binary"{{.*}}kind = "add"{{.*}}loc(#[[FUSED:.*]])
// EULER: return
// EULER: #[[FUSED]] = loc(fused[
//--- euler.mlir
func.func @main(%x: tensor<2x4xf32>, %p: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %prefix = "pinion.unary"(%p) {kind = "exp"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %c1 = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %c2 = "pinion.constant"() {value = dense<0.666666686> : tensor<f32>} : () -> tensor<f32>
  %c3 = "pinion.constant"() {value = dense<0.333333343> : tensor<f32>} : () -> tensor<f32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %q1 = "pinion.binary"(%m1, %prefix) {kind = "mul"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %v1 = "pinion.binary"(%q1, %c1) {kind = "mul"} : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %v1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("add_1")
  %m2 = "pinion.matmul"(%x1, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %q2 = "pinion.binary"(%m2, %prefix) {kind = "mul"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %v2 = "pinion.binary"(%q2, %c2) {kind = "mul"} : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %v2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("add_2")
  %m3 = "pinion.matmul"(%x2, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %q3 = "pinion.binary"(%m3, %prefix) {kind = "mul"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %v3 = "pinion.binary"(%q3, %c3) {kind = "mul"} : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  %x3 = "pinion.binary"(%x2, %v3) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("add_3")
  return %x3 : tensor<2x4xf32>
}

// Must not fire: equal pieces whose weights differ are layers.
// LAYERS-NOT: pinion.steps
// LAYERS-NOT: @step
// LAYERS-WHY: remark: outline-steps: not at {{.*}}: 3 pieces of 2 ops begin here: equal pieces whose weights differ: layers, not steps
//--- layers.mlir
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w1 = "pinion.weight"() {name = "w1", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %w2 = "pinion.weight"() {name = "w2", file = "w.bin", offset = 64 : i64} : () -> tensor<4x4xf32>
  %w3 = "pinion.weight"() {name = "w3", file = "w.bin", offset = 128 : i64} : () -> tensor<4x4xf32>
  %m1 = "pinion.matmul"(%x, %w1) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %m1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %m2 = "pinion.matmul"(%x1, %w2) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %m2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %m3 = "pinion.matmul"(%x2, %w3) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x3 = "pinion.binary"(%x2, %m3) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %x3 : tensor<2x4xf32>
}

// A step with two waists of the carried type: the period is two.
// HEUN-LABEL: func.func @main
// HEUN-NEXT: "pinion.steps"{{.*}}count = 2 : i64, tables = 0 : i64
// HEUN-NEXT: return
// HEUN-LABEL: func.func private @step
// HEUN: "pinion.matmul"
// HEUN: "pinion.unary"{{.*}}kind = "tanh"
// HEUN: "pinion.matmul"
// HEUN-NOT: "pinion.matmul"
// HEUN: return
//--- heun.mlir
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %a1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t1 = "pinion.unary"(%a1) {kind = "tanh"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %b1 = "pinion.matmul"(%t1, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %y1 = "pinion.unary"(%b1) {kind = "exp"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %a2 = "pinion.matmul"(%y1, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t2 = "pinion.unary"(%a2) {kind = "tanh"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %b2 = "pinion.matmul"(%t2, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %y2 = "pinion.unary"(%b2) {kind = "exp"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y2 : tensor<2x4xf32>
}

// Must not fire: one step.
// ONE-NOT: pinion.steps
//--- one.mlir
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %m1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %x1 : tensor<2x4xf32>
}

// Must not fire: the second piece adds where the first multiplies; the remark names both nodes.
// DIFFER-NOT: pinion.steps
// DIFFER-WHY: remark: outline-steps: not at 'update_1': copy 1 and copy 2 differ: different attributes; the other is 'update_2'
//--- differ.mlir
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %m1) {kind = "mul"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("update_1")
  %m2 = "pinion.matmul"(%x1, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %m2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("update_2")
  return %x2 : tensor<2x4xf32>
}

// The time embedding goes through a weight, outside the chain from x; steps 1 and 3 have the same time, so equal ops were
// merged there and not in step 2. All still match; the embedding is part of the step.
// MERGED-LABEL: func.func @main
// MERGED: %[[TABLE:.*]] = "pinion.constant"() {{.*}}tensor<3x1x4xf32>
// MERGED-NEXT: "pinion.steps"(%{{.*}}, %[[TABLE]]) {{.*}}count = 3 : i64, tables = 1 : i64
// MERGED-LABEL: func.func private @step
// MERGED-COUNT-2: "pinion.matmul"
// MERGED-NOT: "pinion.matmul"
// MERGED: return
//--- merged.mlir
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %c1 = "pinion.constant"() {value = dense<[[1.0, 0.5, 0.25, 0.125]]> : tensor<1x4xf32>} : () -> tensor<1x4xf32>
  %c2 = "pinion.constant"() {value = dense<[[2.0, 0.5, 0.25, 0.125]]> : tensor<1x4xf32>} : () -> tensor<1x4xf32>
  %e1 = "pinion.matmul"(%c1, %w) : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
  %e2 = "pinion.matmul"(%c2, %w) : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %v1 = "pinion.binary"(%m1, %e1) {kind = "mul"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %v1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %m2 = "pinion.matmul"(%x1, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %v2 = "pinion.binary"(%m2, %e2) {kind = "mul"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %v2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %m3 = "pinion.matmul"(%x2, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %v3 = "pinion.binary"(%m3, %e1) {kind = "mul"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  %x3 = "pinion.binary"(%x2, %v3) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %x3 : tensor<2x4xf32>
}

// A cast before the first step and one after the last stay in @main; the carried value has not the argument's type.
// Tables of weights (the exporter folded the conditioning) are stacked by core ops.
// AROUND-LABEL: func.func @main
// AROUND: %[[INIT:.*]] = "pinion.cast"
// AROUND: %[[ROW:.*]] = "pinion.reshape"(%{{.*}}) : (tensor<1x4xf32>) -> tensor<1x1x4xf32>
// AROUND: %[[TABLE:.*]] = "pinion.concat"(%[[ROW]], %{{.*}}) {{.*}}-> tensor<2x1x4xf32>
// AROUND: %[[X:.*]] = "pinion.steps"(%[[INIT]], %[[TABLE]])
// AROUND: "pinion.cast"(%[[X]])
// AROUND: return
//--- around.mlir
func.func @main(%n: tensor<2x4xbf16>) -> tensor<2x4xbf16> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %a = "pinion.weight"() {name = "a", file = "w.bin", offset = 64 : i64} : () -> tensor<1x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 80 : i64} : () -> tensor<1x4xf32>
  %x = "pinion.cast"(%n) : (tensor<2x4xbf16>) -> tensor<2x4xf32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %v1 = "pinion.binary"(%m1, %a) {kind = "mul"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %v1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %m2 = "pinion.matmul"(%x1, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %v2 = "pinion.binary"(%m2, %b) {kind = "mul"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %v2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = "pinion.cast"(%x2) : (tensor<2x4xf32>) -> tensor<2x4xbf16>
  return %y : tensor<2x4xbf16>
}

// Must not fire: the first step's result is an output too, so no value but the input is on every path.
// TAPPED-NOT: pinion.steps
//--- tapped.mlir
func.func @main(%x: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %m1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %m2 = "pinion.matmul"(%x1, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %m2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %x1, %x2 : tensor<2x4xf32>, tensor<2x4xf32>
}

// In the default pipeline: before anything is cleaned up, so that all of it sees one step. The exporter repeated the
// weight; equal ones are merged before.
// EARLY: IR after outline-steps (4)
// EARLY: "pinion.steps"{{.*}}count = 2 : i64, tables = 0 : i64
//--- clean.mlir
func.func @main(%x: tensor<2x4xf32> {pinion.name = "x"}) -> tensor<2x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %m1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %m2 = "pinion.matmul"(%x1, %v) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %m2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %x2 : tensor<2x4xf32>
}

// Must not fire on copies that only cleaning makes equal (an exporter left a product by 1 in the second), but after it.
// UNCLEAN: IR after outline-steps (4)
// UNCLEAN-NOT: pinion.steps
// UNCLEAN: IR after outline-steps
// UNCLEAN: "pinion.steps"{{.*}}count = 2 : i64, tables = 0 : i64
//--- unclean.mlir
func.func @main(%x: tensor<2x4xf32> {pinion.name = "x"}) -> tensor<2x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %m1 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x1 = "pinion.binary"(%x, %m1) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %s2 = "pinion.binary"(%x1, %one) {kind = "mul"} : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  %m2 = "pinion.matmul"(%s2, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %x2 = "pinion.binary"(%x1, %m2) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %x2 : tensor<2x4xf32>
}
