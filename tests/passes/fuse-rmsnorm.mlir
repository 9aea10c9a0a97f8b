// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-rmsnorm %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fuse-rmsnorm %t/forms.mlir | FileCheck %t/forms.mlir
// RUN: pinion opt --passes=fuse-rmsnorm %t/rows.mlir | FileCheck %t/rows.mlir
// RUN: pinion opt --passes=fuse-rmsnorm,outline-weights,lower-to-launches %t/fires.mlir | FileCheck %t/fires.mlir --check-prefix=LOWERED
// RUN: pinion opt --passes=fuse-rmsnorm,hoist-invariant %t/joined.mlir | FileCheck %t/joined.mlir
// RUN: pinion opt --passes=fuse-rmsnorm,hoist-invariant,lower-to-launches %t/joined.mlir | FileCheck %t/joined.mlir --check-prefix=LAUNCHES
// RUN: pinion opt --passes=fuse-rmsnorm --remarks %t/apart.mlir 2>&1 | FileCheck %t/apart.mlir
// RUN: pinion opt --passes=fuse-rmsnorm --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// The residual sum is rounded to bf16 as it is stored; its squares are of that. 130 columns leave three sums a row. The weight is
// scaled in f32 and rounded once; the factor comes before the rounding of the product and the activation. x keeps its other reader.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[A:.*]]: tensor<2x3x4xbf16>{{.*}}, %[[R:.*]]: tensor<2x3x130xbf16>
// CHECK: %[[X:.*]]:2 = "pinion.gemm"(%[[A]], %{{.*}}, %[[R]]) {body = ["cast.bf16 x0", "add x1 v0", "cast.bf16 v1", "mul v2 v2", "yield v2 v3"], column_sums = 1 : i64, onnx = "x", transpose_b = false} {{.*}} -> (tensor<2x3x130xbf16>, tensor<2x3x3xf32>)
// CHECK: %[[WIDE:.*]] = "pinion.cast"(%{{.*}}) : (tensor<130x8xbf16>) -> tensor<130x8xf32>
// CHECK: %[[S:.*]] = "pinion.reshape"(%{{.*}}) : (tensor<130xf32>) -> tensor<130x1xf32>
// CHECK: %[[SCALED:.*]] = "pinion.binary"(%[[WIDE]], %[[S]]) {kind = "mul"}
// CHECK: %[[W:.*]] = "pinion.cast"(%[[SCALED]]) : (tensor<130x8xf32>) -> tensor<130x8xbf16>
// CHECK: "pinion.gemm"(%[[X]]#0, %[[W]], %[[X]]#1) {body = ["mul x1 0.007692307692307693", "add v0 0.001", "rsqrt v1", "mul x0 v2", "cast.bf16 v3", "gelu_tanh v4", "yield v5"], onnx = "z", row_sums = 1 : i64, transpose_b = false}
// CHECK-NOT: "pinion.norm"
// CHECK: return %{{.*}}, %[[X]]#0
// LOWERED-COUNT-2: family = "gemm"
// LOWERED-NOT: "pinion.launch"
func.func @main(%a: tensor<2x3x4xbf16>, %r: tensor<2x3x130xbf16>) -> (tensor<2x3x8xbf16>, tensor<2x3x130xbf16>) attributes {pinion.inputs = ["a", "r"], pinion.outputs = ["z", "x"]} {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<4x130xbf16>
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 2000 : i64} : () -> tensor<130xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 4000 : i64} : () -> tensor<130x8xbf16>
  %0 = "pinion.gemm"(%a, %o, %r) {body = ["cast.bf16 x0", "add x1 v0", "yield v1"], transpose_b = false, onnx = "x"} : (tensor<2x3x4xbf16>, tensor<4x130xbf16>, tensor<2x3x130xbf16>) -> tensor<2x3x130xbf16>
  %1 = "pinion.norm"(%0, %s) {kind = "rms", axis = 2 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x130xbf16>, tensor<130xf32>) -> tensor<2x3x130xbf16>
  %2 = "pinion.gemm"(%1, %w) {body = ["cast.bf16 x0", "gelu_tanh v0", "yield v1"], transpose_b = false, onnx = "z"} : (tensor<2x3x130xbf16>, tensor<130x8xbf16>) -> tensor<2x3x8xbf16>
  return %2, %0 : tensor<2x3x8xbf16>, tensor<2x3x130xbf16>
}

//--- forms.mlir
// Two readers, of which one has two accumulators and the other heads in parts: the factor is every accumulator's, and stands
// behind the part's index. Without a scale the weights stay; a constant bias is multiplied by them. x is f32, its readers bf16:
// the producer yields a second x for them.
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]]:3 = "pinion.gemm"({{.*}}) {body = ["mul x0 x0", "yield x0 x0 v0"], column_sums = 1 : i64, transpose_b = false} {{.*}} -> (tensor<3x4xf32>, tensor<3x4xbf16>, tensor<3x1xf32>)
// CHECK: %[[B:.*]] = "pinion.matmul"({{.*}}) : (tensor<4xf32>, tensor<4x8xf32>) -> tensor<8xf32>
// CHECK: %[[B1:.*]] = "pinion.slice"(%[[B]]) {starts = array<i64: 0>
// CHECK: %[[B2:.*]] = "pinion.slice"(%[[B]]) {starts = array<i64: 4>
// CHECK: "pinion.gemm"(%[[X]]#1, %{{.*}}, %[[B1]], %[[B2]], %[[X]]#2) {accumulators = 2 : i64, body = ["mul x4 0.25", "add v0 0.001", "rsqrt v1", "mul x0 v2", "add v3 x2", "mul x1 v2", "add v5 x3", "mul v4 v6", "yield v7"], row_sums = 1 : i64, transpose_b = true}
// CHECK: %[[H:.*]] = "pinion.reshape"(%{{.*}}) : (tensor<8xf32>) -> tensor<4x2xf32>
// CHECK: "pinion.gemm"(%[[X]]#1, %{{.*}}, %[[H]], %[[X]]#2) {body = ["mul x3 0.25", "add v0 0.001", "rsqrt v1", "mul x0 v2", "add v3 x2", "cast.f32 x1", "add v4 v5", "yield v6"], groups = 4 : i64, parts = array<i64: 3>, row_sums = 1 : i64, transpose_b = false} {{.*}} -> (tensor<3x3x2xf32>, tensor<3x1x2xf32>)
// CHECK-NOT: "pinion.norm"
func.func @main(%a: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3x3x2xf32>, tensor<3x1x2xf32>) {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %b = "pinion.weight"() {name = "b", file = "w.bin", offset = 64 : i64} : () -> tensor<4xf32>
  %t = "pinion.weight"() {name = "t", file = "w.bin", offset = 80 : i64} : () -> tensor<8x4xbf16>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 144 : i64} : () -> tensor<4x8xbf16>
  %0 = "pinion.matmul"(%a, %o) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %1 = "pinion.norm"(%0, %b) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xbf16>
  %2 = "pinion.gemm"(%1, %t) {accumulators = 2 : i64, body = ["mul x0 x1", "yield v0"], transpose_b = true} : (tensor<3x4xbf16>, tensor<8x4xbf16>) -> tensor<3x4xf32>
  %3:2 = "pinion.gemm"(%1, %w) {groups = 4 : i64, parts = array<i64: 3>, body = ["cast.f32 x1", "add x0 v0", "yield v1"], transpose_b = false} : (tensor<3x4xbf16>, tensor<4x8xbf16>) -> (tensor<3x3x2xf32>, tensor<3x1x2xf32>)
  return %2, %3#0, %3#1 : tensor<3x4xf32>, tensor<3x3x2xf32>, tensor<3x1x2xf32>
}

//--- rows.mlir
// Some of the rows, widened after the norm rounded them: of x and of the sums the same rows, and the producer yields x in the
// wide type. The scale is one number.
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]]:3 = "pinion.gemm"({{.*}}) {body = ["cast.bf16 x0", "mul v0 v0", "yield v0 v0 v1"], column_sums = 1 : i64, transpose_b = false} {{.*}} -> (tensor<1x5x4xbf16>, tensor<1x5x4xf32>, tensor<1x5x1xf32>)
// CHECK: %[[ROWS:.*]] = "pinion.slice"(%[[X]]#1) {starts = array<i64: 0, 1, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x5x4xf32>) -> tensor<1x4x4xf32>
// CHECK: %[[SUMS:.*]] = "pinion.slice"(%[[X]]#2) {starts = array<i64: 0, 1, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x5x1xf32>) -> tensor<1x4x1xf32>
// CHECK: %[[W:.*]] = "pinion.binary"(%{{.*}}, %{{.*}}) {kind = "mul"} : (tensor<4x2xf32>, tensor<1x1xf32>) -> tensor<4x2xf32>
// CHECK: "pinion.gemm"(%[[ROWS]], %[[W]], %[[SUMS]])
// CHECK-NOT: "pinion.norm"
func.func @main(%a: tensor<1x5x4xbf16>) -> tensor<1x4x2xf32> {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xbf16>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 32 : i64} : () -> tensor<4x2xf32>
  %s = "pinion.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%a, %o) : (tensor<1x5x4xbf16>, tensor<4x4xbf16>) -> tensor<1x5x4xbf16>
  %1 = "pinion.norm"(%0, %s) {kind = "rms", axis = 2 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x5x4xbf16>, tensor<f32>) -> tensor<1x5x4xbf16>
  %2 = "pinion.slice"(%1) {starts = array<i64: 0, 1, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x5x4xbf16>) -> tensor<1x4x4xbf16>
  %3 = "pinion.cast"(%2) : (tensor<1x4x4xbf16>) -> tensor<1x4x4xf32>
  %4 = "pinion.matmul"(%3, %w) : (tensor<1x4x4xf32>, tensor<4x2xf32>) -> tensor<1x4x2xf32>
  return %4 : tensor<1x4x2xf32>
}

//--- joined.mlir
// Beside the gemm's rows stands one that is the same in every step: its sums, as many as the gemm writes a row, are made in front
// of the steps, and where the gemm's rows of sums stand, so that a step has nothing to do for them. The reader takes f32: of both
// parts a copy. The join itself keeps its other reader.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[C:[^ ]*]]: tensor<1x1x192xbf16>
// CHECK-DAG: %[[SQUARES:.*]] = "pinion.pointwise"(%[[C]]) {body = ["mul x0 x0", "yield v0"]} : (tensor<1x1x192xbf16>) -> tensor<1x1x192xf32>
// CHECK-DAG: %[[BLOCKS:.*]] = "pinion.reshape"(%[[SQUARES]]) : (tensor<1x1x192xf32>) -> tensor<1x1x3x64xf32>
// CHECK-DAG: %[[SUMS:.*]] = "pinion.reduce"(%[[BLOCKS]]) {axes = array<i64: 3>, keep = false, kind = "sum"}
// CHECK-DAG: %[[COPY:.*]] = "pinion.cast"(%[[C]]) : (tensor<1x1x192xbf16>) -> tensor<1x1x192xf32>
// CHECK: "pinion.steps"(%{{[^,]*}}, %[[C]], %[[COPY]], %[[SUMS]])
// CHECK-LABEL: func.func private @step
// CHECK-SAME: %[[ROW:[^ ]*]]: tensor<1x1x192xbf16>{{.*}}, %[[ROW32:[^ ]*]]: tensor<1x1x192xf32>{{.*}}, %[[S:[^ ]*]]: tensor<1x1x3xf32>
// CHECK: %[[X:.*]]:3 = "pinion.gemm"({{.*}}column_sums = 1 : i64, {{.*}} -> (tensor<1x2x192xbf16>, tensor<1x2x192xf32>, tensor<1x2x3xf32>)
// CHECK-DAG: %[[ROWS:.*]] = "pinion.concat"(%[[ROW32]], %[[X]]#1) {axis = 1 : i64}
// CHECK-DAG: %[[ALL:.*]] = "pinion.concat"(%[[S]], %[[X]]#2) {axis = 1 : i64}
// CHECK-DAG: %[[J:.*]] = "pinion.concat"(%[[ROW]], %[[X]]#0) {axis = 1 : i64}
// CHECK-NOT: "pinion.norm"
// CHECK: "pinion.gemm"(%[[ROWS]], %{{.*}}, %[[ALL]]) {{.*}}row_sums = 1
// CHECK: "pinion.slice"(%[[J]])
// LAUNCHES: family = "gemm"{{.*}} stage = 1
// LAUNCHES-NEXT: family = "gemm"{{.*}} stage = 1
// LAUNCHES-NEXT: body = ["cast.f32 x0", "yield v0"], family = "pointwise"
// LAUNCHES-NEXT: body = ["add x0 x1", "yield v0"], family = "pointwise"
// LAUNCHES-NEXT: return
func.func @main(%x: tensor<1x2x4xf32>, %c: tensor<1x1x192xbf16>) -> tensor<1x2x4xf32> attributes {pinion.inputs = ["x", "c"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x, %c) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<1x2x4xf32>, tensor<1x1x192xbf16>) -> tensor<1x2x4xf32>
  return %0 : tensor<1x2x4xf32>
}
func.func private @step(%x: tensor<1x2x4xf32>, %c: tensor<1x1x192xbf16>) -> tensor<1x2x4xf32> {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<4x192xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 4000 : i64} : () -> tensor<192x4xf32>
  %0 = "pinion.gemm"(%x, %o) {body = ["yield x0"], transpose_b = false} : (tensor<1x2x4xf32>, tensor<4x192xf32>) -> tensor<1x2x192xbf16>
  %1 = "pinion.concat"(%c, %0) {axis = 1 : i64} : (tensor<1x1x192xbf16>, tensor<1x2x192xbf16>) -> tensor<1x3x192xbf16>
  %2 = "pinion.norm"(%1) {kind = "rms", axis = 2 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<1x3x192xbf16>) -> tensor<1x3x192xbf16>
  %3 = "pinion.cast"(%2) : (tensor<1x3x192xbf16>) -> tensor<1x3x192xf32>
  %4 = "pinion.matmul"(%3, %w) : (tensor<1x3x192xf32>, tensor<192x4xf32>) -> tensor<1x3x4xf32>
  %5 = "pinion.slice"(%4) {starts = array<i64: 0, 1, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x4xf32>) -> tensor<1x2x4xf32>
  %6 = "pinion.slice"(%1) {starts = array<i64: 0, 1, 0>, steps = array<i64: 1, 1, 1>} : (tensor<1x3x192xbf16>) -> tensor<1x2x4xbf16>
  %7 = "pinion.cast"(%6) : (tensor<1x2x4xbf16>) -> tensor<1x2x4xf32>
  %8 = "pinion.binary"(%5, %7) {kind = "add"} : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  return %8 : tensor<1x2x4xf32>
}

//--- apart.mlir
// Must not fire: columns are joined; the rows beside the gemm's differ from step to step, be they the carried tensor or a table's;
// 130 columns make no three blocks of one size.
// CHECK: remark: fuse-rmsnorm: not at 'columns': its operand's columns are made apart
// CHECK: remark: fuse-rmsnorm: not at 'carried': its operand is joined of several that differ from step to step
// CHECK: remark: fuse-rmsnorm: not at 'table': its operand is joined of several that differ from step to step
// CHECK: remark: fuse-rmsnorm: not at 'odd': its operand is joined, and its columns make no blocks of one size
// CHECK-NOT: remark
// CHECK-LABEL: func.func private @step
// CHECK-COUNT-4: "pinion.norm"
// CHECK-NOT: "pinion.norm"
func.func @main(%x: tensor<2x4xf32>, %c: tensor<1x130xf32>, %d: tensor<2x4xf32>, %t: tensor<3x2x4xf32>) -> tensor<2x4xf32> {
  %0 = "pinion.steps"(%x, %c, %d, %t) {callee = @step, count = 3 : i64, tables = 1 : i64} : (tensor<2x4xf32>, tensor<1x130xf32>, tensor<2x4xf32>, tensor<3x2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
func.func private @step(%x: tensor<2x4xf32>, %c: tensor<1x130xf32>, %d: tensor<2x4xf32>, %t: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 64 : i64} : () -> tensor<4x130xf32>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 4000 : i64} : () -> tensor<130x4xf32>
  %q = "pinion.weight"() {name = "q", file = "w.bin", offset = 8000 : i64} : () -> tensor<8x4xf32>
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %1 = "pinion.concat"(%d, %0) {axis = 1 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  %2 = "pinion.norm"(%1) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x8xf32>) -> tensor<2x8xf32> loc("columns")
  %3 = "pinion.matmul"(%2, %q) : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %4 = "pinion.concat"(%x, %0) {axis = 0 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %5 = "pinion.norm"(%4) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("carried")
  %6 = "pinion.matmul"(%5, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %7 = "pinion.concat"(%t, %3) {axis = 0 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %8 = "pinion.norm"(%7) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("table")
  %9 = "pinion.matmul"(%8, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %10 = "pinion.matmul"(%3, %v) : (tensor<2x4xf32>, tensor<4x130xf32>) -> tensor<2x130xf32>
  %11 = "pinion.concat"(%c, %10) {axis = 0 : i64} : (tensor<1x130xf32>, tensor<2x130xf32>) -> tensor<3x130xf32>
  %12 = "pinion.norm"(%11) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x130xf32>) -> tensor<3x130xf32> loc("odd")
  %13 = "pinion.matmul"(%12, %u) : (tensor<3x130xf32>, tensor<130x4xf32>) -> tensor<3x4xf32>
  %14 = "pinion.slice"(%13) {starts = array<i64: 1, 0>, steps = array<i64: 1, 1>} : (tensor<3x4xf32>) -> tensor<2x4xf32>
  %15 = "pinion.binary"(%6, %9) {kind = "add"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %16 = "pinion.slice"(%15) {starts = array<i64: 1, 0>, steps = array<i64: 1, 1>} : (tensor<4x4xf32>) -> tensor<2x4xf32>
  %17 = "pinion.binary"(%14, %16) {kind = "add"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %17 : tensor<2x4xf32>
}

//--- stays.mlir
// Must not fire: the operand is made by no gemm; another op reads the norm, or the function returns it; a weight that is an
// argument; an epilogue reads it; statistics in f64; columns of it; a scale of several rows; its operand's rows are summed for
// another norm already (the first of the two goes). Nothing is said of a layer norm, of one whose scale is no constant.
// CHECK: remark: fuse-rmsnorm: not at 'argument': its operand is made by no gemm
// CHECK: remark: fuse-rmsnorm: not at 'returned': an op reads it that is no product, or not as its first operand
// CHECK: remark: fuse-rmsnorm: not at 'weight': a weight is not constant, or no matrix
// CHECK: remark: fuse-rmsnorm: not at 'residual': an epilogue reads it
// CHECK: remark: fuse-rmsnorm: not at 'wide': partial sums are in f32, its statistics in f64
// CHECK: remark: fuse-rmsnorm: not at 'columns': a slice of it is no choice of rows
// CHECK: remark: fuse-rmsnorm: not at 'rows': its scale is of several rows
// CHECK: remark: fuse-rmsnorm: not at 'again': its operand's rows are summed already
// CHECK: remark: fuse-rmsnorm: not at 'half': rows that are not normalised may be too large for f16
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-COUNT-11: "pinion.norm"
// CHECK-NOT: "pinion.norm"
func.func @main(%x: tensor<3x4xf32>, %a: tensor<4x4xf32>, %d: tensor<3x4xf64>, %m: tensor<1x4xf32>, %h: tensor<3x4xf16>) -> (tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf64>, tensor<3x2xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf16>, tensor<3x4xf32>, tensor<3x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 64 : i64} : () -> tensor<2x2xf32>
  %u = "pinion.weight"() {name = "u", file = "w.bin", offset = 128 : i64} : () -> tensor<4x4xf64>
  %p = "pinion.weight"() {name = "p", file = "w.bin", offset = 128 : i64} : () -> tensor<4x4xf16>
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 256 : i64} : () -> tensor<3x4xf32>
  %0 = "pinion.norm"(%x) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("argument")
  %1 = "pinion.matmul"(%0, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %2 = "pinion.norm"(%1) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("returned")
  %3 = "pinion.matmul"(%2, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %4 = "pinion.norm"(%3) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("weight")
  %5 = "pinion.matmul"(%4, %a) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %6 = "pinion.norm"(%5) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("residual")
  %7 = "pinion.gemm"(%6, %w, %6) {body = ["add x0 x1", "yield v0"], transpose_b = false} : (tensor<3x4xf32>, tensor<4x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  %8 = "pinion.matmul"(%d, %u) : (tensor<3x4xf64>, tensor<4x4xf64>) -> tensor<3x4xf64>
  %9 = "pinion.norm"(%8) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf64>) -> tensor<3x4xf64> loc("wide")
  %10 = "pinion.matmul"(%9, %u) : (tensor<3x4xf64>, tensor<4x4xf64>) -> tensor<3x4xf64>
  %11 = "pinion.norm"(%7) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("columns")
  %12 = "pinion.slice"(%11) {starts = array<i64: 0, 2>, steps = array<i64: 1, 1>} : (tensor<3x4xf32>) -> tensor<3x2xf32>
  %13 = "pinion.matmul"(%12, %v) : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %14 = "pinion.norm"(%7, %s) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32> loc("rows")
  %15 = "pinion.matmul"(%14, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %16 = "pinion.norm"(%7) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("first")
  %17 = "pinion.matmul"(%16, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %18 = "pinion.norm"(%7) {kind = "rms", axis = 1 : i64, epsilon = 0.01 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("again")
  %19 = "pinion.matmul"(%18, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %20 = "pinion.matmul"(%h, %p) : (tensor<3x4xf16>, tensor<4x4xf16>) -> tensor<3x4xf16>
  %21 = "pinion.norm"(%20) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf16>) -> tensor<3x4xf16> loc("half")
  %22 = "pinion.matmul"(%21, %p) : (tensor<3x4xf16>, tensor<4x4xf16>) -> tensor<3x4xf16>
  %23 = "pinion.norm"(%7) {kind = "layer", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<3x4xf32>) -> tensor<3x4xf32> loc("layer")
  %24 = "pinion.matmul"(%23, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %25 = "pinion.norm"(%7, %m) {kind = "rms", axis = 1 : i64, epsilon = 0.001 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<3x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32> loc("adaptive")
  %26 = "pinion.matmul"(%25, %w) : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %2, %3, %5, %7, %10, %13, %15, %17, %19, %22, %24, %26 : tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf64>, tensor<3x2xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf16>, tensor<3x4xf32>, tensor<3x4xf32>
}
