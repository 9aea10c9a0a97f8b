// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fold-linear %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fold-linear %t/step.mlir | FileCheck %t/step.mlir
// RUN: pinion opt --passes=fold-linear,hoist-tables,fuse-pointwise,fuse-epilogue,outline-weights,lower-to-launches %t/step.mlir | FileCheck %t/step.mlir --check-prefix=LOWERED
// RUN: pinion opt --passes=fold-linear %t/between.mlir | FileCheck %t/between.mlir
// RUN: pinion opt --passes=fold-linear %t/types.mlir | FileCheck %t/types.mlir
// RUN: pinion opt --passes=fold-linear %t/three.mlir | FileCheck %t/three.mlir
// RUN: pinion opt --passes=fold-linear --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// In bf16 the weights are multiplied in f32 and rounded once; what is moved is added in the product's type, and the sum is the
// second product's value. Nothing else is between the two of the second pair, and nothing is added.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:[a-z0-9]*]]: tensor<5x2xbf16>{{.*}}, %[[Z:[a-z0-9]*]]: tensor<5x4xf32>
// CHECK: %[[V:.*]] = "pinion.weight"() {{.*}}name = "v"
// CHECK: %[[B:.*]] = "pinion.weight"() {{.*}}name = "b"
// CHECK: %[[W:.*]] = "pinion.transpose"
// CHECK: %[[V32:.*]] = "pinion.cast"(%[[V]]) : (tensor<2x4xbf16>) -> tensor<2x4xf32>
// CHECK: %[[W32:.*]] = "pinion.cast"(%[[W]]) : (tensor<4x3xbf16>) -> tensor<4x3xf32>
// CHECK: %[[VW:.*]] = "pinion.matmul"(%[[V32]], %[[W32]]) : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
// CHECK: %[[U:.*]] = "pinion.cast"(%[[VW]]) : (tensor<2x3xf32>) -> tensor<2x3xbf16>
// CHECK: %[[P:.*]] = "pinion.matmul"(%[[X]], %[[U]]) : (tensor<5x2xbf16>, tensor<2x3xbf16>) -> tensor<5x3xbf16>
// CHECK: %[[BW:.*]] = "pinion.matmul"({{.*}}) : (tensor<4xf32>, tensor<4x3xf32>) -> tensor<3xf32>
// CHECK: %[[MOVED:.*]] = "pinion.cast"(%[[BW]]) : (tensor<3xf32>) -> tensor<3xbf16>
// CHECK: %[[Y:.*]] = "pinion.binary"(%[[P]], %[[MOVED]]) {kind = "add", onnx = "y"}
// CHECK: %[[ST:.*]] = "pinion.matmul"({{.*}}) : (tensor<4x6xf32>, tensor<6x2xf32>) -> tensor<4x2xf32>
// CHECK: %[[R:.*]] = "pinion.matmul"(%[[Z]], %[[ST]]) {onnx = "r"} : (tensor<5x4xf32>, tensor<4x2xf32>) -> tensor<5x2xf32>
// CHECK-NEXT: return %[[Y]], %[[R]]
func.func @main(%x: tensor<5x2xbf16>, %z: tensor<5x4xf32>) -> (tensor<5x3xbf16>, tensor<5x2xf32>) {
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xbf16>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 16 : i64} : () -> tensor<4xbf16>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 32 : i64} : () -> tensor<3x4xbf16>
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 64 : i64} : () -> tensor<4x6xf32>
  %t = "pinion.weight"() {name = "t", file = "w.bin", offset = 160 : i64} : () -> tensor<6x2xf32>
  %0 = "pinion.transpose"(%w) {permutation = array<i64: 1, 0>} : (tensor<3x4xbf16>) -> tensor<4x3xbf16>
  %1 = "pinion.matmul"(%x, %v) {onnx = "h"} : (tensor<5x2xbf16>, tensor<2x4xbf16>) -> tensor<5x4xbf16>
  %2 = "pinion.binary"(%b, %1) {kind = "add"} : (tensor<4xbf16>, tensor<5x4xbf16>) -> tensor<5x4xbf16>
  %3 = "pinion.matmul"(%2, %0) {onnx = "y"} : (tensor<5x4xbf16>, tensor<4x3xbf16>) -> tensor<5x3xbf16>
  %4 = "pinion.matmul"(%z, %s) : (tensor<5x4xf32>, tensor<4x6xf32>) -> tensor<5x6xf32>
  %5 = "pinion.matmul"(%4, %t) {onnx = "r"} : (tensor<5x6xf32>, tensor<6x2xf32>) -> tensor<5x2xf32>
  return %3, %5 : tensor<5x3xbf16>, tensor<5x2xf32>
}

//--- step.mlir
// Pi0's step: what is moved is added to the time's row, before that is repeated, and so to a table. The product is nobody's
// value then, the sum is still what it was. One launch is left of the two, of one addend besides the bias that was there.
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%[[X:[a-z0-9]*]]: tensor<1x3x2xf32>{{.*}}, %[[T:[a-z0-9]*]]: tensor<1x4xf32>
// CHECK: %[[VW:.*]] = "pinion.matmul"({{.*}}) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
// CHECK: %[[P:.*]] = "pinion.matmul"(%[[X]], %[[VW]]) : (tensor<1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x3x4xf32>
// CHECK: %[[BW:.*]] = "pinion.matmul"({{.*}}) : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
// CHECK: %[[ROW:.*]] = "pinion.binary"(%[[T]], %[[BW]]) {kind = "add"} : (tensor<1x4xf32>, tensor<4xf32>) -> tensor<1x4xf32>
// CHECK: "pinion.binary"(%[[P]], %[[ROW]]) {kind = "add", onnx = "y"} : (tensor<1x3x4xf32>, tensor<1x4xf32>) -> tensor<1x3x4xf32>
// LOWERED: "pinion.launch"{{.*}} body = ["add x0 x1", "add v0 x2", "silu v1", "yield v2"], family = "gemm"{{.*}} stage = 1 : i64, step_strides = array<i64: 0, 0, 0, 4, 0>
// LOWERED: "pinion.launch"{{.*}} family = "gemm"
// LOWERED-NOT: "pinion.launch"
func.func @main(%x: tensor<1x3x2xf32>) -> tensor<1x3x2xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %t = "pinion.constant"() {value = dense<[[[1.0, 2.0, 3.0, 4.0]], [[5.0, 6.0, 7.0, 8.0]]]> : tensor<2x1x4xf32>} : () -> tensor<2x1x4xf32>
  %y = "pinion.steps"(%x, %t) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<1x3x2xf32>, tensor<2x1x4xf32>) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
func.func private @step(%x: tensor<1x3x2xf32>, %t: tensor<1x4xf32>) -> tensor<1x3x2xf32> {
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 32 : i64} : () -> tensor<4xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 48 : i64} : () -> tensor<4x4xf32>
  %c = "pinion.weight"() {name = "c", file = "w.bin", offset = 112 : i64} : () -> tensor<4xf32>
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 128 : i64} : () -> tensor<4x2xf32>
  %0 = "pinion.matmul"(%x, %v) {onnx = "h"} : (tensor<1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x3x4xf32>
  %1 = "pinion.binary"(%0, %b) {kind = "add"} : (tensor<1x3x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  %2 = "pinion.matmul"(%1, %w) {onnx = "p"} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %3 = "pinion.broadcast"(%t) : (tensor<1x4xf32>) -> tensor<1x3x4xf32>
  %4 = "pinion.binary"(%2, %3) {kind = "add", onnx = "y"} : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %5 = "pinion.binary"(%4, %c) {kind = "add"} : (tensor<1x3x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  %6 = "pinion.unary"(%5) {kind = "silu"} : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %7 = "pinion.matmul"(%6, %o) : (tensor<1x3x4xf32>, tensor<4x2xf32>) -> tensor<1x3x2xf32>
  return %7 : tensor<1x3x2xf32>
}

//--- between.mlir
// Between the two are casts, reshapes of the rows, and rows and one number that are added: all of them in one sum, times the
// second weight.
// CHECK-LABEL: func.func @main
// CHECK: %[[N:.*]] = "pinion.constant"() {value = dense<5.000000e-01>
// CHECK: %[[X:.*]] = "pinion.reshape"(%arg0) : (tensor<2x3x2xf32>) -> tensor<6x2xf32>
// CHECK: %[[P:.*]] = "pinion.matmul"(%[[X]], %{{.*}}) : (tensor<6x2xf32>, tensor<2x3xf32>) -> tensor<6x3xf32>
// CHECK: %[[ONE:.*]] = "pinion.reshape"(%[[N]]) : (tensor<bf16>) -> tensor<1xbf16>
// CHECK: %[[WIDE:.*]] = "pinion.cast"(%[[ONE]]) : (tensor<1xbf16>) -> tensor<1xf32>
// CHECK: %[[ALL:.*]] = "pinion.broadcast"(%[[WIDE]]) : (tensor<1xf32>) -> tensor<4xf32>
// CHECK: %[[ROW:.*]] = "pinion.reshape"({{.*}}) : (tensor<1x1x4xf32>) -> tensor<4xf32>
// CHECK: %[[SUM:.*]] = "pinion.binary"(%[[ALL]], %[[ROW]]) {kind = "add"}
// CHECK: %[[MOVED:.*]] = "pinion.matmul"(%[[SUM]], %{{.*}}) : (tensor<4xf32>, tensor<4x3xf32>) -> tensor<3xf32>
// CHECK: "pinion.binary"(%[[P]], %[[MOVED]]) {kind = "add"}
func.func @main(%x: tensor<2x3x2xf32>) -> tensor<6x3xf32> {
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 32 : i64} : () -> tensor<1x1x4xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 48 : i64} : () -> tensor<4x3xf32>
  %n = "pinion.constant"() {value = dense<0.5> : tensor<bf16>} : () -> tensor<bf16>
  %0 = "pinion.matmul"(%x, %v) : (tensor<2x3x2xf32>, tensor<2x4xf32>) -> tensor<2x3x4xf32>
  %1 = "pinion.binary"(%0, %b) {kind = "add"} : (tensor<2x3x4xf32>, tensor<1x1x4xf32>) -> tensor<2x3x4xf32>
  %2 = "pinion.cast"(%1) : (tensor<2x3x4xf32>) -> tensor<2x3x4xbf16>
  %3 = "pinion.reshape"(%2) : (tensor<2x3x4xbf16>) -> tensor<6x4xbf16>
  %4 = "pinion.binary"(%3, %n) {kind = "add"} : (tensor<6x4xbf16>, tensor<bf16>) -> tensor<6x4xbf16>
  %5 = "pinion.cast"(%4) : (tensor<6x4xbf16>) -> tensor<6x4xf32>
  %6 = "pinion.matmul"(%5, %w) : (tensor<6x4xf32>, tensor<4x3xf32>) -> tensor<6x3xf32>
  return %6 : tensor<6x3xf32>
}

//--- types.mlir
// The wider type is the product's, whichever of the two has it, and the weight is not rounded to the other.
// CHECK-LABEL: func.func @main
// CHECK: %[[A:.*]] = "pinion.matmul"(%arg0, %{{.*}}) : (tensor<5x2xf32>, tensor<2x3xf32>) -> tensor<5x3xf32>
// CHECK: "pinion.cast"(%[[A]]) {onnx = "a"} : (tensor<5x3xf32>) -> tensor<5x3xbf16>
// CHECK: %[[Y:.*]] = "pinion.cast"(%arg1) : (tensor<5x2xbf16>) -> tensor<5x2xf32>
// CHECK: "pinion.matmul"(%[[Y]], %{{.*}}) {onnx = "b"} : (tensor<5x2xf32>, tensor<2x3xf32>) -> tensor<5x3xf32>
func.func @main(%x: tensor<5x2xf32>, %y: tensor<5x2xbf16>) -> (tensor<5x3xbf16>, tensor<5x3xf32>) {
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 0 : i64} : () -> tensor<2x4xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 32 : i64} : () -> tensor<4x3xbf16>
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 64 : i64} : () -> tensor<2x4xbf16>
  %t = "pinion.weight"() {name = "t", file = "w.bin", offset = 96 : i64} : () -> tensor<4x3xf32>
  %0 = "pinion.matmul"(%x, %v) : (tensor<5x2xf32>, tensor<2x4xf32>) -> tensor<5x4xf32>
  %1 = "pinion.cast"(%0) : (tensor<5x4xf32>) -> tensor<5x4xbf16>
  %2 = "pinion.matmul"(%1, %w) {onnx = "a"} : (tensor<5x4xbf16>, tensor<4x3xbf16>) -> tensor<5x3xbf16>
  %3 = "pinion.matmul"(%y, %s) : (tensor<5x2xbf16>, tensor<2x4xbf16>) -> tensor<5x4xbf16>
  %4 = "pinion.cast"(%3) : (tensor<5x4xbf16>) -> tensor<5x4xf32>
  %5 = "pinion.matmul"(%4, %t) {onnx = "b"} : (tensor<5x4xf32>, tensor<4x3xf32>) -> tensor<5x3xf32>
  return %2, %5 : tensor<5x3xbf16>, tensor<5x3xf32>
}

//--- three.mlir
// A run of products becomes one.
// CHECK-LABEL: func.func @main
// CHECK: %[[UV:.*]] = "pinion.matmul"({{.*}}) : (tensor<3x4xf32>, tensor<4x3xf32>) -> tensor<3x3xf32>
// CHECK: %[[UVW:.*]] = "pinion.matmul"(%[[UV]], %{{.*}}) : (tensor<3x3xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
// CHECK: %[[Y:.*]] = "pinion.matmul"(%arg0, %[[UVW]]) : (tensor<5x3xf32>, tensor<3x2xf32>) -> tensor<5x2xf32>
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<5x3xf32>) -> tensor<5x2xf32> {
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 0 : i64} : () -> tensor<3x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 48 : i64} : () -> tensor<4x3xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 96 : i64} : () -> tensor<3x2xf32>
  %0 = "pinion.matmul"(%x, %u) : (tensor<5x3xf32>, tensor<3x4xf32>) -> tensor<5x4xf32>
  %1 = "pinion.matmul"(%0, %v) : (tensor<5x4xf32>, tensor<4x3xf32>) -> tensor<5x3xf32>
  %2 = "pinion.matmul"(%1, %w) : (tensor<5x3xf32>, tensor<3x2xf32>) -> tensor<5x2xf32>
  return %2 : tensor<5x2xf32>
}

//--- stays.mlir
// Must not fire: one product would be more work (a middle of one column); a bf16 product would become f32 work; the middle
// is a result, too, or another product reads what is added to; f16. And, without a remark: an activation; a transpose, a
// reshape into heads, the rows mixed, a bias of each row, rows that are repeated, or a product with another value between the
// two; weights that are not constant, or batched; integers; a first product of weights alone.
// CHECK: remark: fold-linear: not at {{.*}}'narrow': one product of 4 x 4 is more work in f32 than two by way of 1 columns
// CHECK: remark: fold-linear: not at {{.*}}'wide_type': one product of 8 x 4 is more work in f32 than two by way of 4 columns
// CHECK: remark: fold-linear: not at {{.*}}'returned': {{.*}} also reads what {{.*}} computes
// CHECK: remark: fold-linear: not at {{.*}}'read_twice': {{.*}} also reads what {{.*}} computes
// CHECK: remark: fold-linear: not at {{.*}}'half': entries of a product of weights may be too small for f16
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-COUNT-10: "pinion.matmul"
// CHECK-NOT: "pinion.matmul"
// CHECK-LABEL: func.func @silent
// CHECK-COUNT-24: "pinion.matmul"
// CHECK-NOT: "pinion.matmul"
func.func @main(%x: tensor<8x4xf32>, %y: tensor<8x8xbf16>, %h: tensor<8x4xf16>) -> (tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf16>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %c = "pinion.weight"() {name = "c", file = "w.bin", offset = 64 : i64} : () -> tensor<4x1xf32>
  %l = "pinion.weight"() {name = "l", file = "w.bin", offset = 96 : i64} : () -> tensor<1x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 128 : i64} : () -> tensor<8x4xbf16>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 192 : i64} : () -> tensor<4x4xf16>
  %0 = "pinion.matmul"(%x, %c) : (tensor<8x4xf32>, tensor<4x1xf32>) -> tensor<8x1xf32>
  %1 = "pinion.matmul"(%0, %l) : (tensor<8x1xf32>, tensor<1x4xf32>) -> tensor<8x4xf32> loc("narrow")
  %2 = "pinion.matmul"(%y, %v) : (tensor<8x8xbf16>, tensor<8x4xbf16>) -> tensor<8x4xbf16>
  %3 = "pinion.cast"(%2) : (tensor<8x4xbf16>) -> tensor<8x4xf32>
  %4 = "pinion.matmul"(%3, %w) : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32> loc("wide_type")
  %5 = "pinion.matmul"(%x, %w) : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %6 = "pinion.matmul"(%5, %w) : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32> loc("returned")
  %7 = "pinion.matmul"(%x, %w) : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %8 = "pinion.binary"(%7, %l) {kind = "add"} : (tensor<8x4xf32>, tensor<1x4xf32>) -> tensor<8x4xf32>
  %9 = "pinion.matmul"(%8, %w) : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32> loc("read_twice")
  %10 = "pinion.unary"(%8) {kind = "tanh"} : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %11 = "pinion.matmul"(%h, %u) : (tensor<8x4xf16>, tensor<4x4xf16>) -> tensor<8x4xf16>
  %12 = "pinion.matmul"(%11, %u) : (tensor<8x4xf16>, tensor<4x4xf16>) -> tensor<8x4xf16> loc("half")
  return %1, %4, %5, %6, %9, %10, %12 : tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf16>
}
func.func @silent(%x: tensor<4x4xf32>, %y: tensor<3x4x4xf32>, %a: tensor<4x4xf32>, %i: tensor<4x4xi32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<8x2xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<3x4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<3x4x4xf32>, tensor<4x4xi32>, tensor<4x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %n = "pinion.weight"() {name = "n", file = "w.bin", offset = 64 : i64} : () -> tensor<2x2xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 128 : i64} : () -> tensor<3x4x4xf32>
  %k = "pinion.weight"() {name = "k", file = "w.bin", offset = 320 : i64} : () -> tensor<4x4xi32>
  %c = "pinion.weight"() {name = "c", file = "w.bin", offset = 384 : i64} : () -> tensor<4x1xf32>
  %0 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = "pinion.unary"(%0) {kind = "tanh"} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = "pinion.matmul"(%1, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %3 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %4 = "pinion.transpose"(%3) {permutation = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %5 = "pinion.matmul"(%4, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %6 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %7 = "pinion.reshape"(%6) : (tensor<4x4xf32>) -> tensor<8x2xf32>
  %8 = "pinion.matmul"(%7, %n) : (tensor<8x2xf32>, tensor<2x2xf32>) -> tensor<8x2xf32>
  %9 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %10 = "pinion.matmul"(%w, %9) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %11 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %12 = "pinion.binary"(%11, %c) {kind = "add"} : (tensor<4x4xf32>, tensor<4x1xf32>) -> tensor<4x4xf32>
  %13 = "pinion.matmul"(%12, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %14 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %15 = "pinion.broadcast"(%14) : (tensor<4x4xf32>) -> tensor<3x4x4xf32>
  %16 = "pinion.matmul"(%15, %w) : (tensor<3x4x4xf32>, tensor<4x4xf32>) -> tensor<3x4x4xf32>
  %17 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %18 = "pinion.binary"(%17, %a) {kind = "mul"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %19 = "pinion.matmul"(%18, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %20 = "pinion.matmul"(%x, %a) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %21 = "pinion.matmul"(%20, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %22 = "pinion.matmul"(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %23 = "pinion.matmul"(%22, %a) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %24 = "pinion.matmul"(%y, %b) : (tensor<3x4x4xf32>, tensor<3x4x4xf32>) -> tensor<3x4x4xf32>
  %25 = "pinion.matmul"(%24, %w) : (tensor<3x4x4xf32>, tensor<4x4xf32>) -> tensor<3x4x4xf32>
  %26 = "pinion.matmul"(%i, %k) : (tensor<4x4xi32>, tensor<4x4xi32>) -> tensor<4x4xi32>
  %27 = "pinion.matmul"(%26, %k) : (tensor<4x4xi32>, tensor<4x4xi32>) -> tensor<4x4xi32>
  %28 = "pinion.matmul"(%w, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %29 = "pinion.matmul"(%28, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %2, %5, %8, %10, %13, %16, %19, %21, %23, %25, %27, %29 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<8x2xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<3x4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<3x4x4xf32>, tensor<4x4xi32>, tensor<4x4xf32>
}
