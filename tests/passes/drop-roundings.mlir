// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=drop-roundings %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=drop-roundings --timing --remarks %t/fires.mlir 2>&1 >/dev/null | FileCheck %t/fires.mlir --check-prefix=SAID
// RUN: pinion opt --passes=drop-roundings %t/results.mlir | FileCheck %t/results.mlir
// RUN: pinion opt --passes=drop-roundings %t/stays.mlir | FileCheck %t/stays.mlir
// RUN: pinion opt --passes=drop-roundings %t/as-exported.mlir | FileCheck %t/as-exported.mlir
// RUN: pinion opt --default-passes --disable-pass=drop-roundings %t/pipeline.mlir | FileCheck %t/pipeline.mlir --check-prefix=OFF
// RUN: pinion opt --default-passes %t/pipeline.mlir | FileCheck %t/pipeline.mlir

//--- fires.mlir
// Gate and up: products, activation and what is multiplied by it are f32 until they are stored. A pointwise op alike; a
// rounding of a bf16 number is none.
// CHECK-LABEL: func.func @main
// CHECK: "pinion.gemm"({{.*}}) {accumulators = 2 : i64, body = ["gelu_tanh x0", "mul v0 x1", "yield v1"], transpose_b = false}
// CHECK: "pinion.pointwise"({{.*}}) {body = ["add x0 x1", "mul v0 x1", "lt v1 0.5", "select v2 v1 x0", "yield v3"]}
// SAID: remark: drop-roundings: fired at 'gate'
// SAID: drop-roundings 6 changes
module attributes {pinion.precision = "bf16"} {
  func.func @main(%a: tensor<3x4xbf16>, %w: tensor<4x10xbf16>, %x: tensor<6xbf16>) -> (tensor<3x5xbf16>, tensor<6xbf16>) {
    %0 = "pinion.gemm"(%a, %w) {accumulators = 2 : i64, body = ["cast.bf16 x0", "cast.bf16 x1", "gelu_tanh v0", "cast.bf16 v2", "mul v3 v1", "yield v4"], transpose_b = false} : (tensor<3x4xbf16>, tensor<4x10xbf16>) -> tensor<3x5xbf16> loc("gate")
    %1 = "pinion.pointwise"(%x, %x) {body = ["add x0 x1", "cast.bf16 v0", "cast.bf16 x1", "mul v1 v2", "lt v3 0.5", "cast.bf16 v3", "select v4 v5 x0", "yield v6"]} : (tensor<6xbf16>, tensor<6xbf16>) -> tensor<6xbf16>
    return %0, %1 : tensor<3x5xbf16>, tensor<6xbf16>
  }
}

//--- results.mlir
// Must not fire where the rounded number is stored and read: the first rounding of each goes, the second is of x, whose
// squares are summed. In the second gemm x is a result by way of select and max, and rounding once more what was selected
// goes, too; in the third it is that rounding which is stored, and what it rounds that is read. In the fourth, heads in
// parts, values are stored alone and the rotation takes them as they were: what is stored is rounded once in any case.
// CHECK-LABEL: func.func @main
// CHECK: body = ["add x1 x0", "cast.bf16 v0", "mul v1 v1", "yield v1 v2"], column_sums = 1 : i64
// CHECK: body = ["add x1 x0", "cast.bf16 v0", "select x2 v1 0", "max v2 x1", "mul v3 v3", "yield v3 v4"], column_sums = 1 : i64, row_mask = true
// CHECK: body = ["add x1 x0", "cast.bf16 v0", "mul v1 v1", "yield v1 v2"], column_sums = 1 : i64
// CHECK: body = ["mul x0 x2", "eq x1 1", "select v1 x0 v0", "yield v2"], groups = 2 : i64, parts = array<i64: 1>
module attributes {pinion.precision = "bf16"} {
  func.func @main(%a: tensor<3x4xbf16>, %w: tensor<4x6xbf16>, %r: tensor<3x6xbf16>, %t: tensor<3x1xi1>, %c: tensor<3xf32>)
      -> (tensor<3x6xbf16>, tensor<3x1xf32>, tensor<3x6xbf16>, tensor<3x1xf32>, tensor<3x1x3xbf16>, tensor<3x1x3xbf16>, tensor<3x6xbf16>, tensor<3x1xf32>) {
    %0:2 = "pinion.gemm"(%a, %w, %r) {body = ["cast.bf16 x0", "add x1 v0", "cast.bf16 v1", "mul v2 v2", "yield v2 v3"], column_sums = 1 : i64, transpose_b = false} : (tensor<3x4xbf16>, tensor<4x6xbf16>, tensor<3x6xbf16>) -> (tensor<3x6xbf16>, tensor<3x1xf32>)
    %1:2 = "pinion.gemm"(%a, %w, %r, %t, %t) {body = ["cast.bf16 x0", "add x1 v0", "cast.bf16 v1", "select x2 v2 0", "cast.bf16 v3", "max v4 x1", "mul v5 v5", "yield v5 v6"], column_sums = 1 : i64, row_mask = true, transpose_b = false} : (tensor<3x4xbf16>, tensor<4x6xbf16>, tensor<3x6xbf16>, tensor<3x1xi1>, tensor<3x1xi1>) -> (tensor<3x6xbf16>, tensor<3x1xf32>)
    %2:2 = "pinion.gemm"(%a, %w, %r) {body = ["cast.bf16 x0", "add x1 v0", "cast.bf16 v1", "cast.bf16 v2", "mul v2 v2", "yield v3 v4"], column_sums = 1 : i64, transpose_b = false} : (tensor<3x4xbf16>, tensor<4x6xbf16>, tensor<3x6xbf16>) -> (tensor<3x6xbf16>, tensor<3x1xf32>)
    %3:2 = "pinion.gemm"(%a, %w, %c) {body = ["cast.bf16 x0", "mul v0 x2", "eq x1 1", "select v2 v0 v1", "yield v3"], groups = 2 : i64, parts = array<i64: 1>, transpose_b = false} : (tensor<3x4xbf16>, tensor<4x6xbf16>, tensor<3xf32>) -> (tensor<3x1x3xbf16>, tensor<3x1x3xbf16>)
    return %0#0, %0#1, %1#0, %1#1, %3#0, %3#1, %2#0, %2#1 : tensor<3x6xbf16>, tensor<3x1xf32>, tensor<3x6xbf16>, tensor<3x1xf32>, tensor<3x1x3xbf16>, tensor<3x1x3xbf16>, tensor<3x6xbf16>, tensor<3x1xf32>
  }
}

//--- stays.mlir
// Must not fire: a result in f32 of what was rounded, as it is or negated; numbers that were integers, f16 or f64 before, or
// become such; and what weights are made of.
// CHECK-LABEL: func.func @main
// CHECK: body = ["add x0 x0", "cast.bf16 v0", "yield v1"]
// CHECK: body = ["add x0 x0", "cast.bf16 v0", "neg v1", "yield v2"]
// CHECK: body = ["cast.bf16 x0", "cast.bf16 x1", "mul v0 v1", "yield v2"]
// CHECK: body = ["cast.f16 x0", "cast.bf16 v0", "add v1 x0", "yield v2"]
// CHECK: body = ["add x0 x0", "cast.bf16 v0", "cast.i64 v1", "yield v2"]
// CHECK-LABEL: func.func private @weights
// CHECK: body = ["add x0 x0", "cast.bf16 v0", "mul v1 v1", "yield v2"]
module attributes {pinion.precision = "bf16"} {
  func.func @main(%x: tensor<6xf32>, %i: tensor<6xi64>, %d: tensor<6xf64>) -> (tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xi64>) {
    %0 = "pinion.pointwise"(%x) {body = ["add x0 x0", "cast.bf16 v0", "yield v1"]} : (tensor<6xf32>) -> tensor<6xf32>
    %1 = "pinion.pointwise"(%x) {body = ["add x0 x0", "cast.bf16 v0", "neg v1", "yield v2"]} : (tensor<6xf32>) -> tensor<6xf32>
    %2 = "pinion.pointwise"(%i, %d) {body = ["cast.bf16 x0", "cast.bf16 x1", "mul v0 v1", "yield v2"]} : (tensor<6xi64>, tensor<6xf64>) -> tensor<6xf32>
    %3 = "pinion.pointwise"(%x) {body = ["cast.f16 x0", "cast.bf16 v0", "add v1 x0", "yield v2"]} : (tensor<6xf32>) -> tensor<6xf32>
    %4 = "pinion.pointwise"(%x) {body = ["add x0 x0", "cast.bf16 v0", "cast.i64 v1", "yield v2"]} : (tensor<6xf32>) -> tensor<6xi64>
    return %0, %1, %2, %3, %4 : tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xi64>
  }
  func.func private @weights() -> tensor<6xf32> {
    %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<6xf32>
    %0 = "pinion.pointwise"(%w) {body = ["add x0 x0", "cast.bf16 v0", "mul v1 v1", "yield v2"]} : (tensor<6xf32>) -> tensor<6xf32>
    return %0 : tensor<6xf32>
  }
}

//--- as-exported.mlir
// Must not fire: under the other policies each rounding is the exporter's.
// CHECK-LABEL: func.func @main
// CHECK: body = ["cast.bf16 x0", "gelu_tanh v0", "cast.bf16 v1", "mul v2 x1", "yield v3"]
module attributes {pinion.precision = "as-exported"} {
  func.func @main(%a: tensor<3x4xbf16>, %w: tensor<4x6xbf16>, %u: tensor<3x6xbf16>) -> tensor<3x6xbf16> {
    %0 = "pinion.gemm"(%a, %w, %u) {body = ["cast.bf16 x0", "gelu_tanh v0", "cast.bf16 v1", "mul v2 x1", "yield v3"], transpose_b = false} : (tensor<3x4xbf16>, tensor<4x6xbf16>, tensor<3x6xbf16>) -> tensor<3x6xbf16>
    return %0 : tensor<3x6xbf16>
  }
}

//--- pipeline.mlir
// What the fusions leave reaches the kernels without roundings, unless the pass is off.
// CHECK: "pinion.launch"({{.*}}body = ["add x0 x1", "silu v0", "yield v1"]
// OFF: "pinion.launch"({{.*}}body = ["cast.bf16 x0", "add v0 x1", "cast.bf16 v1", "silu v2", "yield v3"]
module attributes {pinion.precision = "bf16"} {
  func.func @main(%a: tensor<3x4xbf16>, %w: tensor<4x6xbf16>, %b: tensor<6xbf16>) -> tensor<3x6xbf16> attributes {pinion.inputs = ["a", "w", "b"], pinion.outputs = ["y"]} {
    %0 = "pinion.matmul"(%a, %w) : (tensor<3x4xbf16>, tensor<4x6xbf16>) -> tensor<3x6xbf16>
    %1 = "pinion.broadcast"(%b) {shape = array<i64: 3, 6>} : (tensor<6xbf16>) -> tensor<3x6xbf16>
    %2 = "pinion.binary"(%0, %1) {kind = "add"} : (tensor<3x6xbf16>, tensor<3x6xbf16>) -> tensor<3x6xbf16>
    %3 = "pinion.unary"(%2) {kind = "silu"} : (tensor<3x6xbf16>) -> tensor<3x6xbf16>
    return %3 : tensor<3x6xbf16>
  }
}
