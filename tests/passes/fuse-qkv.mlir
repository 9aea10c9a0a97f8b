// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-qkv %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fuse-qkv %t/rows.mlir | FileCheck %t/rows.mlir
// RUN: pinion opt --passes=fuse-qkv %t/order.mlir | FileCheck %t/order.mlir
// RUN: pinion opt --passes=fuse-qkv %t/casts.mlir | FileCheck %t/casts.mlir
// RUN: pinion opt --passes=fuse-qkv,eliminate-dead --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir
// RUN: pinion opt --passes=fuse-qkv,outline-weights,lower-to-launches %t/fires.mlir | FileCheck %t/fires.mlir --check-prefix=LOWERED
// RUN: pinion opt --passes=outline-weights,lower-to-launches %t/early.mlir | FileCheck %t/early.mlir --check-prefix=EARLY

//--- fires.mlir
// Two query heads, one key and value head, no biases, a transposed weight, a batch. Each part is which ONNX value it was.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>
// CHECK: %[[Q:.*]] = "pinion.weight"() {{.*}}name = "q"
// CHECK: %[[QT:.*]] = "pinion.transpose"(%[[Q]])
// CHECK: %[[K:.*]] = "pinion.weight"() {{.*}}name = "k"
// CHECK: %[[V:.*]] = "pinion.weight"() {{.*}}name = "v"
// CHECK: %[[W:.*]] = "pinion.concat"(%[[QT]], %[[K]], %[[V]]) {axis = 1 : i64}{{.*}} -> tensor<4x16xf32>
// CHECK: %[[Y:.*]] = "pinion.matmul"(%[[X]], %[[W]]) : (tensor<2x3x4xf32>, tensor<4x16xf32>) -> tensor<2x3x16xf32>
// CHECK-NEXT: %[[YQ:.*]] = "pinion.slice"(%[[Y]]) {onnx = "query", starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x16xf32>) -> tensor<2x3x8xf32>
// CHECK-NEXT: "pinion.slice"(%[[Y]]) {starts = array<i64: 0, 0, 8>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x16xf32>) -> tensor<2x3x4xf32>
// CHECK-NEXT: "pinion.slice"(%[[Y]]) {starts = array<i64: 0, 0, 12>
// CHECK-NOT: "pinion.matmul"(%[[X]]
// CHECK: "pinion.reshape"(%[[YQ]])
// The heads are views of the product: it and the two products of attention are all. The parts are not in weights.bin.
// LOWERED-COUNT-3: "pinion.launch"
// LOWERED-NOT: "pinion.launch"
// LOWERED: func.func private @weights() -> tensor<4x16xf32>
func.func @main(%x: tensor<2x3x4xf32>) -> tensor<2x2x3x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %q = "pinion.weight"() {name = "q", file = "w.bin", offset = 0 : i64} : () -> tensor<8x4xf32>
  %qt = "pinion.transpose"(%q) {permutation = array<i64: 1, 0>} : (tensor<8x4xf32>) -> tensor<4x8xf32>
  %0 = "pinion.matmul"(%x, %qt) {onnx = "query"} : (tensor<2x3x4xf32>, tensor<4x8xf32>) -> tensor<2x3x8xf32>
  %1 = "pinion.reshape"(%0) : (tensor<2x3x8xf32>) -> tensor<2x3x2x4xf32>
  %2 = "pinion.transpose"(%1) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xf32>) -> tensor<2x2x3x4xf32>
  %k = "pinion.weight"() {name = "k", file = "w.bin", offset = 128 : i64} : () -> tensor<4x4xf32>
  %3 = "pinion.matmul"(%x, %k) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %4 = "pinion.reshape"(%3) : (tensor<2x3x4xf32>) -> tensor<2x1x3x4xf32>
  %5 = "pinion.transpose"(%4) {permutation = array<i64: 0, 1, 3, 2>} : (tensor<2x1x3x4xf32>) -> tensor<2x1x4x3xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 192 : i64} : () -> tensor<4x4xf32>
  %6 = "pinion.matmul"(%x, %v) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %7 = "pinion.reshape"(%6) : (tensor<2x3x4xf32>) -> tensor<2x1x3x4xf32>
  %8 = "pinion.matmul"(%2, %5) : (tensor<2x2x3x4xf32>, tensor<2x1x4x3xf32>) -> tensor<2x2x3x3xf32>
  %9 = "pinion.matmul"(%8, %7) : (tensor<2x2x3x3xf32>, tensor<2x1x3x4xf32>) -> tensor<2x2x3x4xf32>
  return %9 : tensor<2x2x3x4xf32>
}

//--- rows.mlir
// Biases on either side, of rank 1 and 2, are joined; the query's scale too, with ones for the others.
// CHECK-LABEL: func.func @main
// CHECK: %[[B:.*]] = "pinion.concat"({{.*}}) {axis = 0 : i64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<12xf32>
// CHECK: %[[S:.*]] = "pinion.concat"({{.*}}) {axis = 0 : i64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<12xf32>
// CHECK: %[[Y:.*]] = "pinion.matmul"
// CHECK-NEXT: %[[YB:.*]] = "pinion.binary"(%[[Y]], %[[B]]) {kind = "add"}
// CHECK-NEXT: %[[YS:.*]] = "pinion.binary"(%[[YB]], %[[S]]) {kind = "mul"}
// CHECK-NEXT: "pinion.slice"(%[[YS]])
// CHECK-NEXT: "pinion.slice"(%[[YS]])
// CHECK-NEXT: "pinion.slice"(%[[YS]])
// CHECK-NEXT: "pinion.reshape"
func.func @main(%x: tensor<3x4xf32>) -> tensor<3x3xf32> {
  %q = "pinion.weight"() {name = "q", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %k = "pinion.weight"() {name = "k", file = "w.bin", offset = 64 : i64} : () -> tensor<4x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 128 : i64} : () -> tensor<4x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 192 : i64} : () -> tensor<4xf32>
  %c = "pinion.weight"() {name = "c", file = "w.bin", offset = 208 : i64} : () -> tensor<1x4xf32>
  %s = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%x, %q) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %1 = "pinion.binary"(%0, %b) {kind = "add"} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %2 = "pinion.binary"(%1, %s) {kind = "mul"} : (tensor<3x4xf32>, tensor<f32>) -> tensor<3x4xf32>
  %3 = "pinion.matmul"(%x, %k) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %4 = "pinion.binary"(%c, %3) {kind = "add"} : (tensor<1x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  %5 = "pinion.matmul"(%x, %v) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %6 = "pinion.binary"(%5, %b) {kind = "add"} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %7 = "pinion.reshape"(%6) : (tensor<3x4xf32>) -> tensor<4x3xf32>
  %8 = "pinion.transpose"(%4) {permutation = array<i64: 1, 0>} : (tensor<3x4xf32>) -> tensor<4x3xf32>
  %9 = "pinion.matmul"(%2, %8) : (tensor<3x4xf32>, tensor<4x3xf32>) -> tensor<3x3xf32>
  %10 = "pinion.matmul"(%2, %7) : (tensor<3x4xf32>, tensor<4x3xf32>) -> tensor<3x3xf32>
  %11 = "pinion.matmul"(%9, %10) : (tensor<3x3xf32>, tensor<3x3xf32>) -> tensor<3x3xf32>
  return %11 : tensor<3x3xf32>
}

//--- order.mlir
// The first projection is used before the others and their weights are there; two of the three results leave the function
// through an op each. The joined product stands where the first one stood.
// CHECK-LABEL: func.func @main
// CHECK: %[[Y:.*]] = "pinion.matmul"({{.*}} -> tensor<3x12xf32>
// CHECK: "pinion.softmax"
// CHECK: return
func.func @main(%x: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) {
  %q = "pinion.weight"() {name = "q", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %0 = "pinion.matmul"(%x, %q) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %1 = "pinion.softmax"(%0) {axis = 1 : i64} : (tensor<3x4xf32>) -> tensor<3x4xf32>
  %k = "pinion.weight"() {name = "k", file = "w.bin", offset = 64 : i64} : () -> tensor<4x4xf32>
  %2 = "pinion.matmul"(%x, %k) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %3 = "pinion.softmax"(%2) {axis = 1 : i64} : (tensor<3x4xf32>) -> tensor<3x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 128 : i64} : () -> tensor<4x4xf32>
  %4 = "pinion.matmul"(%x, %v) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %1, %3, %4 : tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>
}

//--- casts.mlir
// Sums of bf16 products, with their biases, are rounded as one; a product of another type is no sibling.
// CHECK-LABEL: func.func @main
// CHECK: %[[Y:.*]] = "pinion.matmul"({{.*}} -> tensor<3x8xf32>
// CHECK: %[[Z:.*]] = "pinion.binary"(%[[Y]], {{.*}}) {kind = "add"}
// CHECK: %[[N:.*]] = "pinion.cast"(%[[Z]]) : (tensor<3x8xf32>) -> tensor<3x8xbf16>
// CHECK: "pinion.slice"(%[[N]])
// CHECK: "pinion.slice"(%[[N]])
// CHECK: "pinion.matmul"({{.*}} -> tensor<3x4xbf16>
func.func @main(%x: tensor<3x4xbf16>) -> (tensor<3x4xbf16>, tensor<3x4xbf16>, tensor<3x4xbf16>) {
  %q = "pinion.weight"() {name = "q", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xbf16>
  %k = "pinion.weight"() {name = "k", file = "w.bin", offset = 32 : i64} : () -> tensor<4x4xbf16>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 64 : i64} : () -> tensor<4x4xbf16>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 96 : i64} : () -> tensor<4xf32>
  %0 = "pinion.matmul"(%x, %q) : (tensor<3x4xbf16>, tensor<4x4xbf16>) -> tensor<3x4xf32>
  %1 = "pinion.binary"(%0, %b) {kind = "add"} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %2 = "pinion.cast"(%1) : (tensor<3x4xf32>) -> tensor<3x4xbf16>
  %3 = "pinion.softmax"(%2) {axis = 1 : i64} : (tensor<3x4xbf16>) -> tensor<3x4xbf16>
  %4 = "pinion.matmul"(%x, %k) : (tensor<3x4xbf16>, tensor<4x4xbf16>) -> tensor<3x4xf32>
  %5 = "pinion.binary"(%4, %b) {kind = "add"} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %6 = "pinion.cast"(%5) : (tensor<3x4xf32>) -> tensor<3x4xbf16>
  %7 = "pinion.softmax"(%6) {axis = 1 : i64} : (tensor<3x4xbf16>) -> tensor<3x4xbf16>
  %8 = "pinion.matmul"(%x, %v) : (tensor<3x4xbf16>, tensor<4x4xbf16>) -> tensor<3x4xbf16>
  %9 = "pinion.softmax"(%8) {axis = 1 : i64} : (tensor<3x4xbf16>) -> tensor<3x4xbf16>
  return %3, %7, %9 : tensor<3x4xbf16>, tensor<3x4xbf16>, tensor<3x4xbf16>
}

//--- stays.mlir
// Must not fire: another input; a weight that is an argument; a weight for each batch; inputs that are weights, which are
// computed at compile time as they are; gate and up, whose epilogue would become a launch.
// CHECK: remark: fuse-qkv: not at {{.*}}: the epilogues and places of these 2 projections of one input would cost as many launches
// CHECK-LABEL: func.func @main
// CHECK-COUNT-9: "pinion.matmul"
// CHECK-NOT: "pinion.concat"
// CHECK: return
func.func @main(%x: tensor<2x3x4xf32>, %u: tensor<2x3x4xf32>, %a: tensor<4x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<2x3x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 64 : i64} : () -> tensor<4x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 128 : i64} : () -> tensor<2x4x4xf32>
  %0 = "pinion.matmul"(%u, %w) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %1 = "pinion.softmax"(%0) {axis = 2 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %2 = "pinion.matmul"(%x, %a) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %3 = "pinion.softmax"(%2) {axis = 2 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %4 = "pinion.matmul"(%x, %b) : (tensor<2x3x4xf32>, tensor<2x4x4xf32>) -> tensor<2x3x4xf32>
  %5 = "pinion.softmax"(%4) {axis = 2 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %6 = "pinion.matmul"(%x, %w) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %7 = "pinion.softmax"(%6) {axis = 2 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %9 = "pinion.matmul"(%w, %v) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %10 = "pinion.matmul"(%w, %a) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %11 = "pinion.matmul"(%w, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %12 = "pinion.unary"(%x) {kind = "neg"} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %13 = "pinion.matmul"(%12, %w) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %14 = "pinion.matmul"(%12, %v) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %15 = "pinion.unary"(%13) {kind = "gelu_tanh"} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %16 = "pinion.binary"(%15, %14) {kind = "mul"} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %1, %3, %5, %7, %9, %10, %11, %16 : tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<2x3x4xf32>
}

//--- early.mlir
// A part that is wanted in a place of its own is copied there at once, not when the function returns: the product need not
// live until then.
// EARLY: "pinion.launch"{{.*}}family = "gemm"
// EARLY-NEXT: "pinion.launch"{{.*}}family = "pointwise"
// EARLY-NEXT: "pinion.launch"{{.*}}family = "softmax"
func.func @main(%x: tensor<3x8xf32>, %w: tensor<8x8xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>) attributes {pinion.inputs = ["x", "w"], pinion.outputs = ["y", "z"]} {
  %0 = "pinion.matmul"(%x, %w) : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
  %1 = "pinion.slice"(%0) {starts = array<i64: 0, 0>, steps = array<i64: 1, 1>} : (tensor<3x8xf32>) -> tensor<3x4xf32>
  %2 = "pinion.slice"(%0) {starts = array<i64: 0, 4>, steps = array<i64: 1, 1>} : (tensor<3x8xf32>) -> tensor<3x4xf32>
  %3 = "pinion.softmax"(%1) {axis = 1 : i64} : (tensor<3x4xf32>) -> tensor<3x4xf32>
  return %3, %2 : tensor<3x4xf32>, tensor<3x4xf32>
}
