// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-rope-kv %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fuse-rope-kv %t/biased.mlir | FileCheck %t/biased.mlir
// RUN: pinion opt --passes=fuse-rope-kv,outline-weights,lower-to-launches %t/cache.mlir | FileCheck %t/cache.mlir
// RUN: pinion opt --passes=fuse-qkv,fuse-rope-kv,outline-weights,lower-to-launches %t/last.mlir | FileCheck %t/last.mlir
// RUN: pinion opt --passes=fuse-rope-kv --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// Two query heads of four, one key and value head, in bf16: the product is rounded before it is rotated, the value (part 2) is
// stored as it is. The angles, computed behind the product, move in front of it. The weight's columns go by halves of all heads.
// What was rotated keeps the ONNX value that it is.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x8xbf16>
// CHECK: %[[W:.*]] = "pinion.weight"
// CHECK: %[[COS:.*]] = "pinion.unary"(%{{.*}}) {kind = "cos"}
// CHECK: %[[SIN:.*]] = "pinion.unary"(%{{.*}}) {kind = "sin"}
// CHECK: %[[C:.*]] = "pinion.reshape"(%[[COS]]) : (tensor<1x3x2xbf16>) -> tensor<1x3x1x2xbf16>
// CHECK: %[[S:.*]] = "pinion.reshape"(%[[SIN]]) : (tensor<1x3x2xbf16>) -> tensor<1x3x1x2xbf16>
// CHECK: %[[W4:.*]] = "pinion.reshape"(%[[W]]) : (tensor<8x16xbf16>) -> tensor<8x4x2x2xbf16>
// CHECK: %[[WT:.*]] = "pinion.transpose"(%[[W4]]) {permutation = array<i64: 0, 2, 1, 3>}
// CHECK: %[[WP:.*]] = "pinion.reshape"(%[[WT]]) : (tensor<8x2x4x2xbf16>) -> tensor<8x16xbf16>
// CHECK: %[[Y:.*]]:6 = "pinion.gemm"(%[[X]], %[[WP]], %[[C]], %[[S]]) {accumulators = 2 : i64, body = ["cast.bf16 x0", "cast.bf16 x1", "mul v0 x3", "mul v1 x4", "mul v1 x3", "mul v0 x4", "sub v2 v3", "add v4 v5", "eq x2 2", "select v8 v0 v6", "select v8 v1 v7", "yield v9 v10"], groups = 4 : i64, parts = array<i64: 2, 3>, transpose_b = false}
// CHECK-SAME: -> (tensor<2x3x2x2xbf16>, tensor<2x3x2x2xbf16>, tensor<2x3x1x2xbf16>, tensor<2x3x1x2xbf16>, tensor<2x3x1x2xbf16>, tensor<2x3x1x2xbf16>)
// CHECK: %[[Q:.*]] = "pinion.concat"(%[[Y]]#0, %[[Y]]#1) {axis = 3 : i64}
// CHECK: "pinion.transpose"(%{{.*}}) {onnx = "q", permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xbf16>) -> tensor<2x2x3x4xbf16>
// CHECK: "pinion.concat"(%[[Y]]#2, %[[Y]]#3)
// CHECK: "pinion.transpose"(%{{.*}}) {onnx = "k"
// CHECK: "pinion.concat"(%[[Y]]#4, %[[Y]]#5)
// CHECK: "pinion.reshape"(%{{.*}}) {onnx = "v"} : (tensor<2x3x1x4xbf16>) -> tensor<2x3x4xbf16>
// CHECK-NOT: "pinion.rope"
func.func @main(%x: tensor<2x3x8xbf16>, %a: tensor<1x3x2xbf16>) -> (tensor<2x2x3x4xbf16>, tensor<2x1x3x4xbf16>, tensor<2x3x4xbf16>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<8x16xbf16>
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x3x8xbf16>, tensor<8x16xbf16>) -> tensor<2x3x16xbf16>
  %1 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x16xbf16>) -> tensor<2x3x8xbf16>
  %2 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 12>, steps = array<i64: 1, 1, 1>, onnx = "v"} : (tensor<2x3x16xbf16>) -> tensor<2x3x4xbf16>
  %3 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 8>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x16xbf16>) -> tensor<2x3x4xbf16>
  %4 = "pinion.reshape"(%1) : (tensor<2x3x8xbf16>) -> tensor<2x3x2x4xbf16>
  %5 = "pinion.transpose"(%4) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xbf16>) -> tensor<2x2x3x4xbf16>
  %6 = "pinion.reshape"(%3) : (tensor<2x3x4xbf16>) -> tensor<2x1x3x4xbf16>
  %cos = "pinion.unary"(%a) {kind = "cos"} : (tensor<1x3x2xbf16>) -> tensor<1x3x2xbf16>
  %sin = "pinion.unary"(%a) {kind = "sin"} : (tensor<1x3x2xbf16>) -> tensor<1x3x2xbf16>
  %7 = "pinion.rope"(%5, %cos, %sin) {interleaved = false, onnx = "q"} : (tensor<2x2x3x4xbf16>, tensor<1x3x2xbf16>, tensor<1x3x2xbf16>) -> tensor<2x2x3x4xbf16>
  %8 = "pinion.rope"(%6, %cos, %sin) {interleaved = false, onnx = "k"} : (tensor<2x1x3x4xbf16>, tensor<1x3x2xbf16>, tensor<1x3x2xbf16>) -> tensor<2x1x3x4xbf16>
  return %7, %8, %2 : tensor<2x2x3x4xbf16>, tensor<2x1x3x4xbf16>, tensor<2x3x4xbf16>
}

//--- biased.mlir
// Query and key alone, with a bias and in rows without a batch; the angles are each row's own. All are cast to bf16, which the
// gemm stores. The bias is split as the columns are.
// CHECK-LABEL: func.func @main
// CHECK: %[[B:.*]] = "pinion.weight"() {{.*}}name = "b"
// CHECK: %[[B3:.*]] = "pinion.reshape"(%[[B]]) : (tensor<12xf32>) -> tensor<3x2x2xf32>
// CHECK: %[[FIRST:.*]] = "pinion.slice"(%[[B3]]) {starts = array<i64: 0, 0, 0>
// CHECK: %[[B1:.*]] = "pinion.reshape"(%[[FIRST]]) : (tensor<3x1x2xf32>) -> tensor<3x2xf32>
// CHECK: %[[SECOND:.*]] = "pinion.slice"(%{{.*}}) {starts = array<i64: 0, 1, 0>
// CHECK: %[[B2:.*]] = "pinion.reshape"(%[[SECOND]]) : (tensor<3x1x2xf32>) -> tensor<3x2xf32>
// CHECK: "pinion.gemm"(%{{.*}}, %{{.*}}, %[[B1]], %[[B2]], %{{.*}}, %{{.*}}) {accumulators = 2 : i64, body = ["add x0 x3", "add x1 x4", "mul v0 x5", "mul v1 x6", "mul v1 x5", "mul v0 x6", "sub v2 v3", "add v4 v5", "yield v6 v7"], groups = 3 : i64, parts = array<i64: 2>
// CHECK-SAME: tensor<3x1x2xf32>, tensor<3x1x2xf32>) -> (tensor<3x2x2xbf16>, tensor<3x2x2xbf16>, tensor<3x1x2xbf16>, tensor<3x1x2xbf16>)
// CHECK-NOT: "pinion.rope"
// CHECK-NOT: "pinion.cast"
// CHECK: return
func.func @main(%x: tensor<3x8xf32>, %cos: tensor<1x3x2xf32>, %sin: tensor<1x3x2xf32>) -> (tensor<1x2x3x4xbf16>, tensor<1x1x3x4xbf16>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<8x12xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 384 : i64} : () -> tensor<12xf32>
  %0 = "pinion.gemm"(%x, %w, %b) {body = ["add x0 x1", "yield v0"], transpose_b = false} : (tensor<3x8xf32>, tensor<8x12xf32>, tensor<12xf32>) -> tensor<3x12xf32>
  %1 = "pinion.slice"(%0) {starts = array<i64: 0, 0>, steps = array<i64: 1, 1>} : (tensor<3x12xf32>) -> tensor<3x8xf32>
  %2 = "pinion.slice"(%0) {starts = array<i64: 0, 8>, steps = array<i64: 1, 1>} : (tensor<3x12xf32>) -> tensor<3x4xf32>
  %3 = "pinion.reshape"(%1) : (tensor<3x8xf32>) -> tensor<1x3x2x4xf32>
  %4 = "pinion.transpose"(%3) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
  %5 = "pinion.reshape"(%2) : (tensor<3x4xf32>) -> tensor<1x1x3x4xf32>
  %6 = "pinion.rope"(%4, %cos, %sin) {interleaved = false} : (tensor<1x2x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x2x3x4xf32>
  %7 = "pinion.rope"(%5, %cos, %sin) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %8 = "pinion.cast"(%6) : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xbf16>
  %9 = "pinion.cast"(%7) : (tensor<1x1x3x4xf32>) -> tensor<1x1x3x4xbf16>
  return %8, %9 : tensor<1x2x3x4xbf16>, tensor<1x1x3x4xbf16>
}

//--- cache.mlir
// Two batches, the steps' angles seen through their function (one table, reshaped on the way): a step is one gemm and the
// attention; the prefix's keys and values are made in the buffers that the step writes its slots of.
// CHECK-DAG: %[[KEYS:.*]] = "pinion.buffer"() {{.*}} -> memref<2x1x7x4xf32>
// CHECK: "pinion.launch"{{.*}}family = "gemm"
// CHECK-COUNT-1: family = "pointwise"
// CHECK: "pinion.launch"{{.*}}family = "gemm", integers = array<i64: 2, 3, 0, 0, 0, 6>{{.*}}stage = [[STEP:.*]] : i64
// CHECK-NEXT: "pinion.launch"{{.*}}family = "attention"{{.*}}stage = [[STEP]] : i64
// CHECK-NEXT: "pinion.launch"{{.*}}family = "gemm"{{.*}}stage = [[STEP]] : i64
// CHECK-NEXT: return
func.func private @prefix(%x: tensor<2x4x8xf32>, %cos: tensor<1x4x2xf32>, %sin: tensor<1x4x2xf32>) -> (tensor<2x1x4x4xf32>, tensor<2x1x4x4xf32>) {
  %w = "pinion.weight"() {name = "p", file = "w.bin", offset = 0 : i64} : () -> tensor<8x8xf32>
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x4x8xf32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  %1 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x4x8xf32>) -> tensor<2x4x4xf32>
  %2 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 4>, steps = array<i64: 1, 1, 1>} : (tensor<2x4x8xf32>) -> tensor<2x4x4xf32>
  %3 = "pinion.reshape"(%1) : (tensor<2x4x4xf32>) -> tensor<2x1x4x4xf32>
  %4 = "pinion.rope"(%3, %cos, %sin) {interleaved = false} : (tensor<2x1x4x4xf32>, tensor<1x4x2xf32>, tensor<1x4x2xf32>) -> tensor<2x1x4x4xf32>
  %5 = "pinion.reshape"(%2) : (tensor<2x4x4xf32>) -> tensor<2x1x4x4xf32>
  return %4, %5 : tensor<2x1x4x4xf32>, tensor<2x1x4x4xf32>
}
func.func private @step(%x: tensor<2x3x8xf32>, %k: tensor<2x1x4x4xf32>, %v: tensor<2x1x4x4xf32>, %cos: tensor<1x3x2xf32>, %sin: tensor<1x3x2xf32>, %again: tensor<1x1x3x2xf32>) -> tensor<2x3x8xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 256 : i64} : () -> tensor<8x16xf32>
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 768 : i64} : () -> tensor<8x8xf32>
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x3x8xf32>, tensor<8x16xf32>) -> tensor<2x3x16xf32>
  %1 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x16xf32>) -> tensor<2x3x8xf32>
  %2 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 8>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x16xf32>) -> tensor<2x3x4xf32>
  %3 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 12>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x16xf32>) -> tensor<2x3x4xf32>
  %4 = "pinion.reshape"(%1) : (tensor<2x3x8xf32>) -> tensor<2x3x2x4xf32>
  %5 = "pinion.transpose"(%4) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xf32>) -> tensor<2x2x3x4xf32>
  %6 = "pinion.rope"(%5, %cos, %sin) {interleaved = false} : (tensor<2x2x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<2x2x3x4xf32>
  %7 = "pinion.reshape"(%2) : (tensor<2x3x4xf32>) -> tensor<2x1x3x4xf32>
  %8 = "pinion.reshape"(%again) : (tensor<1x1x3x2xf32>) -> tensor<1x3x2xf32>
  %9 = "pinion.rope"(%7, %8, %sin) {interleaved = false} : (tensor<2x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<2x1x3x4xf32>
  %10 = "pinion.reshape"(%3) : (tensor<2x3x4xf32>) -> tensor<2x1x3x4xf32>
  %11 = "pinion.concat"(%k, %9) {axis = 2 : i64} : (tensor<2x1x4x4xf32>, tensor<2x1x3x4xf32>) -> tensor<2x1x7x4xf32>
  %12 = "pinion.concat"(%v, %10) {axis = 2 : i64} : (tensor<2x1x4x4xf32>, tensor<2x1x3x4xf32>) -> tensor<2x1x7x4xf32>
  %13 = "pinion.attention"(%6, %11, %12) {causal = false, scale = 0.5 : f64} : (tensor<2x2x3x4xf32>, tensor<2x1x7x4xf32>, tensor<2x1x7x4xf32>) -> tensor<2x2x3x4xf32>
  %14 = "pinion.transpose"(%13) {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x2x3x4xf32>) -> tensor<2x3x2x4xf32>
  %15 = "pinion.reshape"(%14) : (tensor<2x3x2x4xf32>) -> tensor<2x3x8xf32>
  %16 = "pinion.gemm"(%15, %o, %x) {body = ["add x0 x1", "yield v0"], transpose_b = false} : (tensor<2x3x8xf32>, tensor<8x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  return %16 : tensor<2x3x8xf32>
}
func.func @main(%p: tensor<2x4x8xf32>, %pc: tensor<1x4x2xf32>, %ps: tensor<1x4x2xf32>, %x: tensor<2x3x8xf32>, %cos: tensor<1x3x2xf32>, %sin: tensor<1x3x2xf32>) -> tensor<2x3x8xf32> attributes {pinion.inputs = ["p", "pc", "ps", "x", "cos", "sin"], pinion.outputs = ["y"]} {
  %0:2 = func.call @prefix(%p, %pc, %ps) : (tensor<2x4x8xf32>, tensor<1x4x2xf32>, tensor<1x4x2xf32>) -> (tensor<2x1x4x4xf32>, tensor<2x1x4x4xf32>)
  %1 = "pinion.reshape"(%cos) : (tensor<1x3x2xf32>) -> tensor<1x1x3x2xf32>
  %2 = "pinion.steps"(%x, %0#0, %0#1, %cos, %sin, %1) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<2x3x8xf32>, tensor<2x1x4x4xf32>, tensor<2x1x4x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<2x3x8xf32>
  return %2 : tensor<2x3x8xf32>
}

//--- last.mlir
// The last prefill layer has no query: key and value, which go to two outputs, are one gemm without a copy.
// CHECK: "pinion.launch"{{.*}}family = "gemm"
// CHECK-NOT: "pinion.launch"
func.func @main(%x: tensor<1x3x8xf32>, %cos: tensor<1x3x2xf32>, %sin: tensor<1x3x2xf32>) -> (tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>) attributes {pinion.inputs = ["x", "c", "s"], pinion.outputs = ["k", "v"]} {
  %k = "pinion.weight"() {name = "k", file = "w.bin", offset = 0 : i64} : () -> tensor<8x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 128 : i64} : () -> tensor<8x4xf32>
  %0 = "pinion.matmul"(%x, %k) : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32>
  %1 = "pinion.reshape"(%0) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %2 = "pinion.matmul"(%x, %v) : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32>
  %3 = "pinion.reshape"(%2) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %4 = "pinion.rope"(%1, %cos, %sin) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  return %4, %3 : tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>
}

//--- stays.mlir
// Must not fire: a weight that is an argument; interleaved pairs; heads of which a part is not rotated; rows that are no heads
// (the transpose is another); angles that differ, or that depend on the product; a value of other heads. A product that is
// read by another op as well is not looked at, nor is the rotation of anything else.
// CHECK: remark: fuse-rope-kv: not at 'argument': there are rotations behind it, but the weight is not constant, or no matrix
// CHECK: remark: fuse-rope-kv: not at 'interleaved'{{.*}}its pairs are interleaved
// CHECK: remark: fuse-rope-kv: not at 'partial'{{.*}}a part of each head is not rotated
// CHECK: remark: fuse-rope-kv: not at 'rows'{{.*}}a rotation is not of a projection's heads
// CHECK: remark: fuse-rope-kv: not at 'angles'{{.*}}the projections are rotated by different angles
// CHECK: remark: fuse-rope-kv: not at 'cycle'{{.*}}the angles depend on the product
// CHECK: remark: fuse-rope-kv: not at 'heads'{{.*}}a projection that is not rotated has other heads
// CHECK-NOT: remark
// CHECK-COUNT-8: "pinion.matmul"
// CHECK-NOT: "pinion.gemm"
// CHECK: return
func.func @main(%x: tensor<1x3x8xf32>, %a: tensor<8x4xf32>, %c: tensor<1x3x2xf32>, %s: tensor<1x3x2xf32>, %d: tensor<1x3x1xf32>, %h: tensor<1x1x3x4xf32>) -> (tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x1x3x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<8x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 0 : i64} : () -> tensor<8x8xf32>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 0 : i64} : () -> tensor<8x6xf32>
  %0 = "pinion.matmul"(%x, %a) : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32> loc("argument")
  %1 = "pinion.reshape"(%0) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %2 = "pinion.rope"(%1, %c, %s) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %3 = "pinion.matmul"(%x, %w) : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32> loc("interleaved")
  %4 = "pinion.reshape"(%3) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %5 = "pinion.rope"(%4, %c, %s) {interleaved = true} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %6 = "pinion.matmul"(%x, %w) : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32> loc("partial")
  %7 = "pinion.reshape"(%6) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %8 = "pinion.rope"(%7, %d, %d) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x1xf32>, tensor<1x3x1xf32>) -> tensor<1x1x3x4xf32>
  %9 = "pinion.matmul"(%x, %w) : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32> loc("rows")
  %10 = "pinion.transpose"(%9) {permutation = array<i64: 0, 2, 1>} : (tensor<1x3x4xf32>) -> tensor<1x4x3xf32>
  %11 = "pinion.reshape"(%10) : (tensor<1x4x3xf32>) -> tensor<1x1x3x4xf32>
  %12 = "pinion.rope"(%11, %c, %s) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %13 = "pinion.matmul"(%x, %v) : (tensor<1x3x8xf32>, tensor<8x8xf32>) -> tensor<1x3x8xf32> loc("angles")
  %14 = "pinion.slice"(%13) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x8xf32>) -> tensor<1x3x4xf32>
  %15 = "pinion.reshape"(%14) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %16 = "pinion.rope"(%15, %c, %s) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %17 = "pinion.slice"(%13) {starts = array<i64: 0, 0, 4>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x8xf32>) -> tensor<1x3x4xf32>
  %18 = "pinion.reshape"(%17) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %19 = "pinion.rope"(%18, %s, %c) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %20 = "pinion.matmul"(%x, %v) : (tensor<1x3x8xf32>, tensor<8x8xf32>) -> tensor<1x3x8xf32> loc("cycle")
  %21 = "pinion.slice"(%20) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x8xf32>) -> tensor<1x3x4xf32>
  %22 = "pinion.slice"(%20) {starts = array<i64: 0, 0, 4>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x8xf32>) -> tensor<1x3x4xf32>
  %y = "pinion.slice"(%22) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x4xf32>) -> tensor<1x3x2xf32>
  %23 = "pinion.unary"(%y) {kind = "cos"} : (tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  %24 = "pinion.reshape"(%21) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %25 = "pinion.rope"(%24, %23, %s) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %26 = "pinion.matmul"(%x, %u) : (tensor<1x3x8xf32>, tensor<8x6xf32>) -> tensor<1x3x6xf32> loc("heads")
  %27 = "pinion.slice"(%26) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x6xf32>) -> tensor<1x3x4xf32>
  %28 = "pinion.slice"(%26) {starts = array<i64: 0, 0, 4>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x6xf32>) -> tensor<1x3x2xf32>
  %29 = "pinion.reshape"(%27) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %30 = "pinion.rope"(%29, %c, %s) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %31 = "pinion.matmul"(%x, %w) : (tensor<1x3x8xf32>, tensor<8x4xf32>) -> tensor<1x3x4xf32> loc("shared")
  %32 = "pinion.reshape"(%31) : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %33 = "pinion.rope"(%32, %c, %s) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  %34 = "pinion.rope"(%h, %c, %s) {interleaved = false} : (tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x1x3x4xf32>
  return %2, %5, %8, %12, %16, %19, %25, %30, %28, %33, %31, %34 : tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x1x3x4xf32>
}
