// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=fuse-adarms %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=fuse-adarms,hoist-tables,outline-weights %t/fires.mlir | FileCheck %t/fires.mlir --check-prefix=TABLE
// RUN: pinion opt --passes=fuse-adarms,hoist-tables,outline-weights,lower-to-launches %t/fires.mlir | FileCheck %t/fires.mlir --check-prefix=LOWERED
// RUN: pinion opt --passes=fuse-adarms --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// The step's scale multiplies x, as it is stored, where that is produced; its shift becomes a row of the next product's columns,
// in f32. The weight stays as it is. The second norm's result is widened after it was rounded.
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x4xf32>{{.*}}, %[[SCALE:.*]]: tensor<1x1x4xf32>{{.*}}, %[[SHIFT:.*]]: tensor<1x1x4xf32>{{.*}}, %[[GATE:.*]]: tensor<1x1x4xbf16>
// CHECK: %[[W:.*]] = "pinion.weight"() {{.*}}name = "w"
// CHECK: %[[A:.*]]:3 = "pinion.gemm"(%[[X]], %{{.*}}, %[[SCALE]]) {body = ["cast.bf16 x0", "mul v0 x1", "mul v0 v0", "yield v0 v1 v2"], column_sums = 1 : i64, transpose_b = false} {{.*}} -> (tensor<1x3x4xbf16>, tensor<1x3x4xbf16>, tensor<1x3x1xf32>)
// CHECK: %[[WIDE:.*]] = "pinion.cast"(%[[W]]) : (tensor<4x4xbf16>) -> tensor<4x4xf32>
// CHECK: %[[ROW:.*]] = "pinion.matmul"(%[[SHIFT]], %[[WIDE]]) : (tensor<1x1x4xf32>, tensor<4x4xf32>) -> tensor<1x1x4xf32>
// The gemm that reads the one norm makes the operand of the other.
// CHECK: %[[B:.*]]:3 = "pinion.gemm"(%[[A]]#1, %[[W]], %[[GATE]], %[[A]]#0, %[[ROW]], %[[SCALE]], %[[A]]#2) {body = ["mul x5 0.25", "add v0 1e-06", "rsqrt v1", "mul x0 v2", "add v3 x3"
// CHECK-SAME: column_sums = 1 : i64, row_sums = 1 : i64, transpose_b = false} {{.*}} -> (tensor<1x3x4xbf16>, tensor<1x3x4xf32>, tensor<1x3x1xf32>)
// CHECK: "pinion.gemm"(%[[B]]#1, %{{.*}}, %{{.*}}, %[[B]]#2)
// CHECK-NOT: "pinion.norm"
// The rows are computed for all steps at compile time.
// TABLE-LABEL: func.func private @step
// TABLE-NOT: "pinion.matmul"
// TABLE: func.func private @weights
// TABLE: "pinion.matmul"({{.*}}) : (tensor<2x1x1x4xf32>, tensor<4x4xf32>) -> tensor<2x1x1x4xf32>
// LOWERED: family = "pointwise"
// LOWERED-COUNT-3: family = "gemm"
// LOWERED-NOT: "pinion.launch"
func.func private @step(%x: tensor<1x3x4xf32>, %scale: tensor<1x1x4xf32>, %shift: tensor<1x1x4xf32>, %gate: tensor<1x1x4xbf16>) -> tensor<1x3x4xf32> {
  %i = "pinion.weight"() {name = "i", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 64 : i64} : () -> tensor<4x4xbf16>
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 96 : i64} : () -> tensor<4x4xf32>
  %0 = "pinion.gemm"(%x, %i) {body = ["yield x0"], transpose_b = false} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xbf16>
  %1 = "pinion.norm"(%0, %scale, %shift) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x3x4xbf16>, tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x3x4xbf16>
  %2 = "pinion.gemm"(%1, %w, %gate, %0) {body = ["cast.bf16 x0", "mul v0 x1", "cast.bf16 v1", "add x2 v2", "yield v3"], transpose_b = false} : (tensor<1x3x4xbf16>, tensor<4x4xbf16>, tensor<1x1x4xbf16>, tensor<1x3x4xbf16>) -> tensor<1x3x4xbf16>
  %3 = "pinion.norm"(%2, %scale, %shift) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x3x4xbf16>, tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x3x4xbf16>
  %4 = "pinion.cast"(%3) : (tensor<1x3x4xbf16>) -> tensor<1x3x4xf32>
  %5 = "pinion.gemm"(%4, %o) {body = ["mul x0 -0.5", "yield v0"], transpose_b = false} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  return %5 : tensor<1x3x4xf32>
}
func.func @main(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %scales = "pinion.weight"() {name = "scales", file = "w.bin", offset = 160 : i64} : () -> tensor<2x1x1x4xf32>
  %shifts = "pinion.weight"() {name = "shifts", file = "w.bin", offset = 192 : i64} : () -> tensor<2x1x1x4xf32>
  %gates = "pinion.weight"() {name = "gates", file = "w.bin", offset = 224 : i64} : () -> tensor<2x1x1x4xbf16>
  %0 = "pinion.steps"(%x, %scales, %shifts, %gates) {callee = @step, count = 2 : i64, tables = 3 : i64} : (tensor<1x3x4xf32>, tensor<2x1x1x4xf32>, tensor<2x1x1x4xf32>, tensor<2x1x1x4xbf16>) -> tensor<1x3x4xf32>
  return %0 : tensor<1x3x4xf32>
}

//--- stays.mlir
// Must not fire: a shift that no step's table holds would be multiplied at every run; nor a scale that depends on x. A constant
// modulation is fuse-rmsnorm's.
// CHECK: remark: fuse-adarms: not at 'run_time': its shift is no row of a table of the steps
// CHECK: remark: fuse-adarms: not at 'cycle': its scale depends on its operand
// CHECK-NOT: remark
// CHECK-COUNT-3: "pinion.norm"
func.func @main(%x: tensor<2x3x4xf32>, %scale: tensor<2x1x4xf32>, %shift: tensor<2x1x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>) {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x4xf32>
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 64 : i64} : () -> tensor<4xf32>
  %0 = "pinion.matmul"(%x, %w) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %1 = "pinion.norm"(%0, %scale, %shift) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<2x3x4xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32> loc("run_time")
  %2 = "pinion.matmul"(%1, %w) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %3 = "pinion.reduce"(%2) {kind = "max", axes = array<i64: 1>, keep = true} : (tensor<2x3x4xf32>) -> tensor<2x1x4xf32>
  %4 = "pinion.norm"(%2, %3) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32> loc("cycle")
  %5 = "pinion.matmul"(%4, %w) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %6 = "pinion.norm"(%5, %s) {kind = "rms", axis = 2 : i64, epsilon = 1.0e-6 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>
  %7 = "pinion.matmul"(%6, %w) : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  return %2, %5, %7 : tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>
}
