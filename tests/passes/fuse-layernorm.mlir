// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-layernorm %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fuse-layernorm %t/forms.mlir | FileCheck %t/forms.mlir
// RUN: pinion opt --passes=fuse-layernorm %t/rounded.mlir | FileCheck %t/rounded.mlir
// RUN: pinion opt --passes=fuse-layernorm,outline-weights,lower-to-launches %t/fires.mlir | FileCheck %t/fires.mlir --check-prefix=LOWERED
// RUN: pinion opt --passes=fuse-layernorm --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// The residual sum is rounded to bf16 as it is stored; what is summed is that, and its squares. The weight is scaled and centred
// in f32 and rounded once; the norm's bias times the weight is added behind the factor, before all that the epilogue did. x
// keeps its other reader.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[A:.*]]: tensor<2x3x4xbf16>{{.*}}, %[[R:.*]]: tensor<2x3x130xbf16>
// CHECK: %[[X:.*]]:3 = "pinion.gemm"(%[[A]], %{{.*}}, %[[R]]) {body = ["cast.bf16 x0", "add x1 v0", "cast.bf16 v1", "mul v2 v2", "yield v2 v2 v3"], column_sums = 2 : i64, onnx = "x", transpose_b = false} {{.*}} -> (tensor<2x3x130xbf16>, tensor<2x3x3xf32>, tensor<2x3x3xf32>)
// CHECK: %[[B:.*]] = "pinion.matmul"({{.*}}) : (tensor<130xf32>, tensor<130x8xf32>) -> tensor<8xf32>
// CHECK: %[[SCALED:.*]] = "pinion.binary"({{.*}}) {kind = "mul"} : (tensor<130x8xf32>, tensor<130x1xf32>) -> tensor<130x8xf32>
// CHECK: %[[MEAN:.*]] = "pinion.reduce"(%[[SCALED]]) {axes = array<i64: 0>, keep = true, kind = "mean"} : (tensor<130x8xf32>) -> tensor<1x8xf32>
// CHECK: %[[CENTRED:.*]] = "pinion.binary"(%[[SCALED]], %[[MEAN]]) {kind = "sub"}
// CHECK: %[[W:.*]] = "pinion.cast"(%[[CENTRED]]) : (tensor<130x8xf32>) -> tensor<130x8xbf16>
// CHECK: "pinion.gemm"(%[[X]]#0, %[[W]], %[[B]], %[[X]]#1, %[[X]]#2) {body = ["mul x2 0.007692307692307693", "mul v0 v0", "mul x3 0.007692307692307693", "sub v2 v1", "max v3 0", "add v4 0.001", "rsqrt v5", "mul x0 v6", "add v7 x1", "cast.bf16 v8", "gelu_tanh v9", "yield v10"], onnx = "z", row_sums = 2 : i64, transpose_b = false}
// CHECK-NOT: "pinion.norm"
// CHECK: return %{{.*}}, %[[X]]#0
// LOWERED-COUNT-2: family = "gemm"
// LOWERED-NOT: "pinion.launch"
func.func @main(%a: tensor<2x3x4xbf16>, %r: tensor<2x3x130xbf16>) -> (tensor<2x3x8xbf16>, tensor<2x3x130xbf16>) attributes {pinion.inputs = ["a", "r"], pinion.outputs = ["z", "x"]} {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<4x130xbf16>
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 2000 : i64} : () -> tensor<130xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 3000 : i64} : () -> tensor<130xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 4000 : i64} : () -> tensor<130x8xbf16>
  %0 = "pinion.gemm"(%a, %o, %r) {body = ["cast.bf16 x0", "add x1 v0", "yield v1"], transpose_b = false, onnx = "x"} : (tensor<2x3x4xbf16>, tensor<4x130xbf16>, tensor<2x3x130xbf16>) -> tensor<2x3x130xbf16>
  %1 = "pinion.norm"(%0, %s, %b) {kind = "layer", axis = 2 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x3x130xbf16>, tensor<130xf32>, tensor<130xf32>) -> tensor<2x3x130xbf16>
  %2 = "pinion.gemm"(%1, %w) {body = ["cast.bf16 x0", "gelu_tanh v0", "yield v1"], transpose_b = false, onnx = "z"} : (tensor<2x3x130xbf16>, tensor<130x8xbf16>) -> tensor<2x3x8xbf16>
  return %2, %0 : tensor<2x3x8xbf16>, tensor<2x3x130xbf16>
}

//--- forms.mlir
// Some of the rows, in bf16, by a transposed weight: its rows are what is centred. x stays f32, and the producer yields a second
// one for the product; the rows of both sums are those of x. Without a scale there is no product of weights.
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]]:4 = "pinion.gemm"({{.*}}) {body = ["mul x0 x0", "yield x0 x0 x0 v0"], column_sums = 2 : i64, transpose_b = false} {{.*}} -> (tensor<3x4xf32>, tensor<3x4xbf16>, tensor<3x1xf32>, tensor<3x1xf32>)
// CHECK: %[[ROWS:.*]] = "pinion.slice"(%[[X]]#1) {starts = array<i64: 1, 0>
// CHECK: %[[S:.*]] = "pinion.slice"(%[[X]]#2) {starts = array<i64: 1, 0>{{.*}} -> tensor<2x1xf32>
// CHECK: %[[Q:.*]] = "pinion.slice"(%[[X]]#3) {starts = array<i64: 1, 0>{{.*}} -> tensor<2x1xf32>
// CHECK-NOT: kind = "mul"
// CHECK: "pinion.reduce"({{.*}}) {axes = array<i64: 1>, keep = true, kind = "mean"} : (tensor<8x4xf32>) -> tensor<8x1xf32>
// CHECK: "pinion.gemm"(%[[ROWS]], %{{.*}}, %[[S]], %[[Q]]) {body = ["mul x1 0.25", "mul v0 v0", "mul x2 0.25", "sub v2 v1", "max v3 0", "add v4 0.001", "rsqrt v5", "mul x0 v6", "yield v7"], row_sums = 2 : i64, transpose_b = true}
// CHECK-NOT: "pinion.norm"
func.func @main(%a: tensor<3x4xf32>) -> (tensor<2x8xf32>, tensor<3x4xf32>) {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %t = "pinion.weight"() {name = "t", file = "w.bin", offset = 64 : i64} : () -> tensor<8x4xbf16>
  %0 = "pinion.matmul"(%a, %o) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %1 = "pinion.norm"(%0) {kind = "layer", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32>
  %2 = "pinion.slice"(%1) {starts = array<i64: 1, 0>, steps = array<i64: 1, 1>} : (tensor<3x4xf32>) -> tensor<2x4xf32>
  %3 = "pinion.cast"(%2) : (tensor<2x4xf32>) -> tensor<2x4xbf16>
  %4 = "pinion.gemm"(%3, %t) {body = ["yield x0"], transpose_b = true} : (tensor<2x4xbf16>, tensor<8x4xbf16>) -> tensor<2x8xf32>
  return %4, %0 : tensor<2x8xf32>, tensor<3x4xf32>
}

//--- rounded.mlir
// Weights that were rounded for the product are scaled and centred as they were before, and rounded once.
// CHECK-LABEL: func.func @main
// CHECK: %[[U:.*]] = "pinion.weight"() {{.*}}name = "u"
// CHECK: %[[V:.*]] = "pinion.weight"() {{.*}}name = "v"
// CHECK: %[[T:.*]] = "pinion.transpose"(%[[V]]) {permutation = array<i64: 1, 0>} : (tensor<2x4xf32>) -> tensor<4x2xf32>
// CHECK: %[[W:.*]] = "pinion.concat"(%[[U]], %[[T]]) {axis = 1 : i64} : (tensor<4x3xf32>, tensor<4x2xf32>) -> tensor<4x5xf32>
// CHECK: %[[MEAN:.*]] = "pinion.reduce"(%[[W]])
// CHECK: %[[CENTRED:.*]] = "pinion.binary"(%[[W]], %[[MEAN]]) {kind = "sub"}
// CHECK: "pinion.cast"(%[[CENTRED]]) : (tensor<4x5xf32>) -> tensor<4x5xbf16>
func.func @main(%a: tensor<3x4xbf16>) -> tensor<3x5xf32> {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xbf16>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 64 : i64} : () -> tensor<4x3xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 128 : i64} : () -> tensor<2x4xf32>
  %0 = "pinion.matmul"(%a, %o) : (tensor<3x4xbf16>, tensor<4x4xbf16>) -> tensor<3x4xbf16>
  %1 = "pinion.norm"(%0) {kind = "layer", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xbf16>) -> tensor<3x4xbf16>
  %2 = "pinion.cast"(%u) : (tensor<4x3xf32>) -> tensor<4x3xbf16>
  %3 = "pinion.cast"(%v) : (tensor<2x4xf32>) -> tensor<2x4xbf16>
  %4 = "pinion.transpose"(%3) {permutation = array<i64: 1, 0>} : (tensor<2x4xbf16>) -> tensor<4x2xbf16>
  %5 = "pinion.concat"(%2, %4) {axis = 1 : i64} : (tensor<4x3xbf16>, tensor<4x2xbf16>) -> tensor<4x5xbf16>
  %6 = "pinion.gemm"(%1, %5) {body = ["yield x0"], transpose_b = false} : (tensor<3x4xbf16>, tensor<4x5xbf16>) -> tensor<3x5xf32>
  return %6 : tensor<3x5xf32>
}

//--- stays.mlir
// Must not fire: a scale or a bias that is no weight; the operand is made by no gemm; another op than a product reads the norm; a
// norm over several dimensions. Nothing is said of an RMS norm.
// CHECK: remark: fuse-layernorm: not at 'scale': its scale is no weight, and so the projection's cannot be centred
// CHECK: remark: fuse-layernorm: not at 'bias': its bias is no weight
// CHECK: remark: fuse-layernorm: not at 'argument': its operand is made by no gemm
// CHECK: remark: fuse-layernorm: not at 'returned': an op reads it that is no product, or not as its first operand
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-COUNT-6: "pinion.norm"
// CHECK-NOT: "pinion.norm"
func.func @main(%x: tensor<3x4xf32>, %s: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %0 = "pinion.matmul"(%x, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %1 = "pinion.norm"(%0, %s) {kind = "layer", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32> loc("scale")
  %2 = "pinion.matmul"(%1, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %3 = "pinion.norm"(%2, %b) {kind = "layer", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32> loc("bias")
  %4 = "pinion.matmul"(%3, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %5 = "pinion.norm"(%x) {kind = "layer", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("argument")
  %6 = "pinion.matmul"(%5, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %7 = "pinion.norm"(%6) {kind = "layer", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("returned")
  %8 = "pinion.matmul"(%7, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %9 = "pinion.norm"(%8) {kind = "layer", axis = 0 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("all")
  %10 = "pinion.matmul"(%9, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %11 = "pinion.norm"(%8) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("rms")
  %12 = "pinion.matmul"(%11, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %2, %4, %6, %7, %10, %12 : tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>
}
