// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-gate-up %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fuse-gate-up %t/epilogues.mlir | FileCheck %t/epilogues.mlir
// RUN: pinion opt --passes=fuse-pointwise,fuse-epilogue,fuse-gate-up,outline-weights,lower-to-launches %t/tree.mlir | FileCheck %t/tree.mlir
// RUN: pinion opt --passes=fuse-gate-up --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir
// RUN: pinion opt --passes=fuse-gate-up --disable-pass=fuse-gate-up@gate %t/fires.mlir | FileCheck %t/fires.mlir --check-prefix=OFF

//--- fires.mlir
// The gate's product is rounded to bf16, as in the graph, before the activation sees it; so is up's. The result keeps the ONNX
// value that it is; the location is that of both.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x4xbf16>
// CHECK: %[[G:.*]] = "pinion.weight"() {{.*}}name = "g"
// CHECK: %[[U:.*]] = "pinion.weight"() {{.*}}name = "u"
// CHECK: %[[W:.*]] = "pinion.concat"(%[[G]], %[[U]]) {axis = 1 : i64} : (tensor<4x8xbf16>, tensor<4x8xbf16>) -> tensor<4x16xbf16>
// CHECK-NEXT: %[[Y:.*]] = "pinion.gemm"(%[[X]], %[[W]]) {accumulators = 2 : i64, body = ["cast.bf16 x0", "cast.bf16 x1", "gelu_tanh v0", "cast.bf16 v2", "mul v3 v1", "yield v4"], onnx = "y", transpose_b = false} : (tensor<1x3x4xbf16>, tensor<4x16xbf16>) -> tensor<1x3x8xbf16> loc(#[[LOC:.*]])
// CHECK-NEXT: return %[[Y]]
// CHECK: #[[GATE:.*]] = loc("gate")
// CHECK: #[[UP:.*]] = loc("up")
// CHECK: #[[LOC]] = loc(fused[#[[GATE]], #[[UP]]])
// OFF-NOT: accumulators
func.func @main(%x: tensor<1x3x4xbf16>) -> tensor<1x3x8xbf16> {
  %g = "pinion.weight"() {name = "g", file = "w.bin", offset = 0 : i64} : () -> tensor<4x8xbf16>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 64 : i64} : () -> tensor<4x8xbf16>
  %0 = "pinion.matmul"(%x, %g) : (tensor<1x3x4xbf16>, tensor<4x8xbf16>) -> tensor<1x3x8xbf16> loc("gate")
  %1 = "pinion.gemm"(%x, %u, %0) {body = ["cast.bf16 x0", "gelu_tanh x1", "cast.bf16 v1", "mul v2 v0", "yield v3"], onnx = "y", transpose_b = false} : (tensor<1x3x4xbf16>, tensor<4x8xbf16>, tensor<1x3x8xbf16>) -> tensor<1x3x8xbf16> loc("up")
  return %1 : tensor<1x3x8xbf16>
}

//--- epilogues.mlir
// Both have biases, which are one; the gate its activation already; up comes first, and weights are transposed.
// CHECK-LABEL: func.func @main
// CHECK: %[[B:.*]] = "pinion.weight"() {{.*}}name = "b"
// CHECK: %[[W:.*]] = "pinion.concat"({{.*}}) {axis = 0 : i64} : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<16x4xf32>
// CHECK: "pinion.gemm"(%{{.*}}, %[[W]], %[[B]]) {accumulators = 2 : i64, body = ["add x0 x2", "add x1 x2", "silu v1", "mul v2 v0", "yield v3"], transpose_b = true}
// CHECK-NEXT: return
func.func @main(%x: tensor<3x4xf32>) -> tensor<3x8xf32> {
  %g = "pinion.weight"() {name = "g", file = "w.bin", offset = 0 : i64} : () -> tensor<8x4xf32>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 128 : i64} : () -> tensor<8x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 256 : i64} : () -> tensor<8xf32>
  %0 = "pinion.gemm"(%x, %u, %b) {body = ["add x0 x1", "yield v0"], transpose_b = true} : (tensor<3x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<3x8xf32>
  %1 = "pinion.gemm"(%x, %g, %b, %0) {body = ["add x0 x1", "silu v0", "mul v1 x2", "yield v2"], transpose_b = true} : (tensor<3x4xf32>, tensor<8x4xf32>, tensor<8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  return %1 : tensor<3x8xf32>
}

//--- tree.mlir
// From single ops to one launch; the joined weights are a result of @weights.
// CHECK: "pinion.launch"{{.*}}family = "gemm"{{.*}}sizes = array<i64: 1, 1, 3, 1, 8, 2, 4>
// CHECK-NOT: "pinion.launch"
// CHECK: func.func private @weights() -> tensor<4x16xf32>
func.func @main(%x: tensor<3x4xf32>) -> tensor<3x8xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %g = "pinion.weight"() {name = "g", file = "w.bin", offset = 0 : i64} : () -> tensor<4x8xf32>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 128 : i64} : () -> tensor<4x8xf32>
  %0 = "pinion.matmul"(%x, %g) : (tensor<3x4xf32>, tensor<4x8xf32>) -> tensor<3x8xf32>
  %1 = "pinion.unary"(%0) {kind = "gelu_tanh"} : (tensor<3x8xf32>) -> tensor<3x8xf32>
  %2 = "pinion.matmul"(%x, %u) : (tensor<3x4xf32>, tensor<4x8xf32>) -> tensor<3x8xf32>
  %3 = "pinion.binary"(%1, %2) {kind = "mul"} : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  return %3 : tensor<3x8xf32>
}

//--- stays.mlir
// Must not fire: another op reads the gate; a weight is an argument; the weights' types differ; up has two accumulators already;
// another input, of which nothing is said.
// CHECK: remark: fuse-gate-up: not at 'second_user': it reads another product of its input, but another op reads the product that would go
// CHECK: remark: fuse-gate-up: not at 'argument': it reads another product of its input, but a weight is not constant, or no matrix
// CHECK: remark: fuse-gate-up: not at 'layout': it reads another product of its input, but their weights differ in shape or type
// CHECK: remark: fuse-gate-up: not at 'twice': it reads another product of its input, but one of them has sums, groups or accumulators already
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-COUNT-5: "pinion.matmul"
// CHECK-NOT: "pinion.concat"
// CHECK: return
func.func @main(%x: tensor<3x4xf32>, %z: tensor<3x4xf32>, %a: tensor<4x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>) {
  %g = "pinion.weight"() {name = "g", file = "w.bin", offset = 0 : i64} : () -> tensor<4x8xf32>
  %t = "pinion.weight"() {name = "t", file = "w.bin", offset = 0 : i64} : () -> tensor<8x4xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x16xf32>
  %0 = "pinion.matmul"(%x, %g) : (tensor<3x4xf32>, tensor<4x8xf32>) -> tensor<3x8xf32>
  %1 = "pinion.gemm"(%x, %g, %0) {body = ["mul x0 x1", "yield v0"], transpose_b = false} : (tensor<3x4xf32>, tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32> loc("second_user")
  %2 = "pinion.matmul"(%x, %a) : (tensor<3x4xf32>, tensor<4x8xf32>) -> tensor<3x8xf32>
  %3 = "pinion.gemm"(%x, %g, %2) {body = ["mul x0 x1", "yield v0"], transpose_b = false} : (tensor<3x4xf32>, tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32> loc("argument")
  %4 = "pinion.matmul"(%x, %g) : (tensor<3x4xf32>, tensor<4x8xf32>) -> tensor<3x8xf32>
  %5 = "pinion.gemm"(%x, %t, %4) {body = ["mul x0 x1", "yield v0"], transpose_b = true} : (tensor<3x4xf32>, tensor<8x4xf32>, tensor<3x8xf32>) -> tensor<3x8xf32> loc("layout")
  %6 = "pinion.matmul"(%x, %g) : (tensor<3x4xf32>, tensor<4x8xf32>) -> tensor<3x8xf32>
  %7 = "pinion.gemm"(%x, %w, %6) {accumulators = 2 : i64, body = ["mul x0 x1", "mul v0 x2", "yield v1"], transpose_b = false} : (tensor<3x4xf32>, tensor<4x16xf32>, tensor<3x8xf32>) -> tensor<3x8xf32> loc("twice")
  %8 = "pinion.matmul"(%z, %g) : (tensor<3x4xf32>, tensor<4x8xf32>) -> tensor<3x8xf32>
  %9 = "pinion.gemm"(%x, %g, %8) {body = ["mul x0 x1", "yield v0"], transpose_b = false} : (tensor<3x4xf32>, tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  return %0, %1, %3, %5, %7, %9 : tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>, tensor<3x8xf32>
}
