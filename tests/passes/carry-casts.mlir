// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=lower-to-launches,carry-casts,plan-memory %t/fires.mlir 2>&1 | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=lower-to-launches,carry-casts %t/elementwise.mlir 2>&1 | FileCheck %t/elementwise.mlir
// RUN: pinion opt --passes=lower-to-launches,carry-casts --remarks %t/padded.mlir 2>&1 | FileCheck %t/padded.mlir
// RUN: pinion opt --passes=lower-to-launches,carry-casts --remarks %t/narrow.mlir 2>&1 | FileCheck %t/narrow.mlir
// RUN: pinion opt --passes=lower-to-launches,carry-casts --remarks %t/integer.mlir 2>&1 | FileCheck %t/integer.mlir
// RUN: pinion opt --passes=lower-to-launches,carry-casts --remarks %t/part.mlir 2>&1 | FileCheck %t/part.mlir
// RUN: pinion opt --passes=lower-to-launches,carry-casts --remarks %t/late.mlir 2>&1 | FileCheck %t/late.mlir
// RUN: pinion opt --passes=carry-casts --remarks %t/halves.mlir 2>&1 | FileCheck %t/halves.mlir
// RUN: pinion opt --passes=carry-casts %t/attributed.mlir 2>&1 | FileCheck %t/attributed.mlir
// RUN: pinion opt --passes=carry-casts --remarks %t/rows.mlir 2>&1 | FileCheck %t/rows.mlir
// RUN: pinion opt --passes=lower-to-launches,carry-casts --remarks %t/invariant.mlir 2>&1 | FileCheck %t/invariant.mlir

//--- fires.mlir
// The first step's cast is in front of the steps; the gemm that ends a step writes the next one's, whose rows are padded as those
// of x, an output, are not. The cast lives through all steps: no other buffer takes its place.
// CHECK: module attributes {pinion.arena_bytes = 512 : i64
// CHECK: %[[X:.*]] = "pinion.buffer"() {bytes = 140 : i64, name = "y"
// CHECK: %[[C:.*]] = "pinion.buffer"() {{.*}} offset = [[AT:[0-9]+]] : i64{{.*}} -> memref<1x5x7xbf16>
// CHECK-NOT: offset = [[AT]] : i64{{.*}}space = "arena"
// CHECK: "pinion.launch"(%[[X]], %{{.*}} stage = 0
// CHECK-NEXT: "pinion.launch"(%[[C]], %[[X]]) {after = array<i64: 0>, body = ["cast.bf16 x0", "yield v0"], family = "pointwise"{{.*}} stage = 0
// CHECK-NOT: values
// CHECK-NEXT: "pinion.launch"(%{{.*}}, %[[C]], %{{.*}}) {after = array<i64: 1>, family = "gemm"{{.*}} stage = 1
// CHECK-NEXT: "pinion.launch"(%[[X]], %[[C]], %{{.*}}, %{{.*}}, %[[X]]) {{.*}}body = ["mul x0 -0.1", "add x1 v0", "yield v1 v1"], family = "gemm"{{.*}} results = 2 : i64{{.*}} strides = [array<i64: 0, 0, 7, 0, 1, 0, 0>, array<i64: 0, 0, 8, 0, 1, 0, 0>,
// CHECK-NEXT: return
func.func @main(%x: tensor<1x5x7xf32>) -> tensor<1x5x7xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<1x5x7xf32>) -> tensor<1x5x7xf32>
  return %0 : tensor<1x5x7xf32>
}
func.func private @step(%x: tensor<1x5x7xf32>) -> tensor<1x5x7xf32> {
  %o = "pinion.weight"() {name = "o", file = "w.bin", offset = 0 : i64} : () -> tensor<7x16xbf16>
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 2000 : i64} : () -> tensor<16x7xbf16>
  %0 = "pinion.cast"(%x) {onnx = ["a", "b", "c"]} : (tensor<1x5x7xf32>) -> tensor<1x5x7xbf16>
  %1 = "pinion.matmul"(%0, %o) : (tensor<1x5x7xbf16>, tensor<7x16xbf16>) -> tensor<1x5x16xbf16>
  %2 = "pinion.gemm"(%1, %w, %x) {body = ["mul x0 -0.1", "add x1 v0", "yield v1"], transpose_b = false} : (tensor<1x5x16xbf16>, tensor<16x7xbf16>, tensor<1x5x7xf32>) -> tensor<1x5x7xf32>
  return %2 : tensor<1x5x7xf32>
}

//--- elementwise.mlir
// The launch that ends the step is elementwise.
// CHECK: body = ["cast.bf16 x0", "yield v0"], family = "pointwise"{{.*}} stage = 0
// CHECK: body = ["mul x0 x1", "yield v0 v0"], family = "pointwise"{{.*}} results = 2 : i64{{.*}} stage = 1
// CHECK-NEXT: return
func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}
func.func private @step(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = "pinion.cast"(%x) : (tensor<8x8xf32>) -> tensor<8x8xbf16>
  %1 = "pinion.softmax"(%0) {axis = 1 : i64} : (tensor<8x8xbf16>) -> tensor<8x8xbf16>
  %2 = "pinion.cast"(%1) : (tensor<8x8xbf16>) -> tensor<8x8xf32>
  %3 = "pinion.pointwise"(%x, %2) {body = ["mul x0 x1", "yield v0"]} : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %3 : tensor<8x8xf32>
}

//--- padded.mlir
// Must not fire, here and in the cases below.
// Rows of the cast are padded, and the launch that ends the step takes all of x for one row.
// CHECK: remark: carry-casts: not at 'cast': the launch that ends the step writes other elements than it casts
// CHECK: family = "pointwise"{{.*}} stage = 1
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func private @step(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = "pinion.cast"(%x) : (tensor<4x4xf32>) -> tensor<4x4xbf16> loc("cast")
  %1 = "pinion.softmax"(%0) {axis = 1 : i64} : (tensor<4x4xbf16>) -> tensor<4x4xbf16>
  %2 = "pinion.cast"(%1) : (tensor<4x4xbf16>) -> tensor<4x4xf32>
  %3 = "pinion.pointwise"(%x, %2) {body = ["mul x0 x1", "yield v0"]} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %3 : tensor<4x4xf32>
}

//--- narrow.mlir
// CHECK: remark: carry-casts: not at 'cast': what the steps carry is rounded as it is stored
// CHECK: family = "pointwise"{{.*}} stage = 1
func.func @main(%x: tensor<4x4xbf16>) -> tensor<4x4xbf16> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xbf16>) -> tensor<4x4xbf16>
  return %0 : tensor<4x4xbf16>
}
func.func private @step(%x: tensor<4x4xbf16>) -> tensor<4x4xbf16> {
  %0 = "pinion.cast"(%x) : (tensor<4x4xbf16>) -> tensor<4x4xf32> loc("cast")
  %1 = "pinion.softmax"(%0) {axis = 1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = "pinion.pointwise"(%x, %1) {body = ["mul x0 x1", "yield v0"]} : (tensor<4x4xbf16>, tensor<4x4xf32>) -> tensor<4x4xbf16>
  return %2 : tensor<4x4xbf16>
}

//--- integer.mlir
// CHECK: remark: carry-casts: not at 'cast': it is no cast to another float
// CHECK: family = "pointwise"{{.*}} stage = 1
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func private @step(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = "pinion.cast"(%x) : (tensor<4x4xf32>) -> tensor<4x4xi64> loc("cast")
  %1 = "pinion.cumsum"(%0) {axis = 1 : i64, exclusive = false, reverse = false} : (tensor<4x4xi64>) -> tensor<4x4xi64>
  %2 = "pinion.pointwise"(%x, %1) {body = ["cast.f32 x1", "mul x0 v0", "yield v1"]} : (tensor<4x4xf32>, tensor<4x4xi64>) -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}

//--- part.mlir
// CHECK: remark: carry-casts: not at 'cast': the launch that ends the step writes other elements than it casts
// CHECK: family = "pointwise"{{.*}} stage = 1
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func private @step(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %s = "pinion.slice"(%x) {starts = array<i64: 0, 0>, steps = array<i64: 1, 1>} : (tensor<4x4xf32>) -> tensor<4x2xf32>
  %0 = "pinion.cast"(%s) : (tensor<4x2xf32>) -> tensor<4x2xbf16> loc("cast")
  %1 = "pinion.softmax"(%0) {axis = 1 : i64} : (tensor<4x2xbf16>) -> tensor<4x2xbf16>
  %2 = "pinion.reduce"(%1) {kind = "max", axes = array<i64: 1>, keep = true} : (tensor<4x2xbf16>) -> tensor<4x1xbf16>
  %3 = "pinion.pointwise"(%x, %2) {body = ["mul x0 x1", "yield v0"]} : (tensor<4x4xf32>, tensor<4x1xbf16>) -> tensor<4x4xf32>
  return %3 : tensor<4x4xf32>
}

//--- late.mlir
// CHECK: remark: carry-casts: not at 'cast': what it casts is written before all have read the cast
// CHECK: family = "pointwise"{{.*}} stage = 1
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func private @step(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = "pinion.cast"(%x) : (tensor<4x4xf32>) -> tensor<4x4xbf16> loc("cast")
  %1 = "pinion.softmax"(%0) {axis = 1 : i64} : (tensor<4x4xbf16>) -> tensor<4x4xbf16>
  %2 = "pinion.pointwise"(%x, %1, %0) {body = ["mul x0 x1", "add v0 x2", "yield v1"]} : (tensor<4x4xf32>, tensor<4x4xbf16>, tensor<4x4xbf16>) -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}

//--- halves.mlir
// CHECK: remark: carry-casts: not at 'cast': several launches of a step write what it casts
// CHECK: body = ["cast.bf16 x0", "yield v0"], family = "pointwise"{{.*}} stage = 1
module attributes {pinion.stages = [{name = "main", repeat = 1 : i64}, {name = "step", repeat = 3 : i64}]} {
func.func @main() {
  %x = "pinion.buffer"() {bytes = 256 : i64, name = "x", offset = 0 : i64, pitch = 8 : i64, space = "input"} : () -> memref<8x8xf32>
  %y = "pinion.buffer"() {bytes = 256 : i64, name = "y", offset = 0 : i64, pitch = 8 : i64, space = "output"} : () -> memref<8x8xf32>
  %c = "pinion.buffer"() {bytes = 128 : i64, name = "c", offset = -1 : i64, pitch = 8 : i64, space = "arena"} : () -> memref<8x8xbf16>
  "pinion.launch"(%y, %x) {after = array<i64>, body = ["yield x0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 0 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xf32>, memref<8x8xf32>) -> ()
  "pinion.launch"(%c, %y) {after = array<i64>, body = ["cast.bf16 x0", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xbf16>, memref<8x8xf32>) -> () loc("cast")
  "pinion.launch"(%y, %c) {after = array<i64>, body = ["mul x0 2", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 32>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xf32>, memref<8x8xbf16>) -> ()
  "pinion.launch"(%y, %c) {after = array<i64>, body = ["mul x0 2", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 32, 32>, results = 1 : i64, scalars = [], sizes = array<i64: 32>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xf32>, memref<8x8xbf16>) -> ()
  return
}
}

//--- rows.mlir
// CHECK: remark: carry-casts: not at 'cast': what the steps carry is written by no gemm or elementwise launch
// CHECK: body = ["cast.bf16 x0", "yield v0"], family = "pointwise"{{.*}} stage = 1
module attributes {pinion.stages = [{name = "main", repeat = 1 : i64}, {name = "step", repeat = 3 : i64}]} {
func.func @main() {
  %x = "pinion.buffer"() {bytes = 256 : i64, name = "x", offset = 0 : i64, pitch = 8 : i64, space = "input"} : () -> memref<8x8xf32>
  %y = "pinion.buffer"() {bytes = 256 : i64, name = "y", offset = 0 : i64, pitch = 8 : i64, space = "output"} : () -> memref<8x8xf32>
  %c = "pinion.buffer"() {bytes = 128 : i64, name = "c", offset = -1 : i64, pitch = 8 : i64, space = "arena"} : () -> memref<8x8xbf16>
  "pinion.launch"(%y, %x) {after = array<i64>, body = ["yield x0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 0 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xf32>, memref<8x8xf32>) -> ()
  "pinion.launch"(%c, %y) {after = array<i64>, body = ["cast.bf16 x0", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xbf16>, memref<8x8xf32>) -> () loc("cast")
  "pinion.launch"(%y, %c) {after = array<i64>, family = "softmax", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 8, 8>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 8, 1>, array<i64: 8, 1>]} : (memref<8x8xf32>, memref<8x8xbf16>) -> ()
  return
}
}

//--- invariant.mlir
// Not what the steps carry: nothing is said.
// CHECK-NOT: remark
// CHECK: body = ["cast.bf16 x0", "yield v0"], family = "pointwise"{{.*}} stage = 1
func.func @main(%x: tensor<4x4xf32>, %i: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {pinion.inputs = ["x", "i"], pinion.outputs = ["y"]} {
  %0 = "pinion.steps"(%x, %i) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func private @step(%x: tensor<4x4xf32>, %i: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = "pinion.cast"(%i) : (tensor<4x4xf32>) -> tensor<4x4xbf16>
  %1 = "pinion.softmax"(%0) {axis = 1 : i64} : (tensor<4x4xbf16>) -> tensor<4x4xbf16>
  %2 = "pinion.pointwise"(%x, %1) {body = ["mul x0 x1", "yield v0"]} : (tensor<4x4xf32>, tensor<4x4xbf16>) -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}

//--- attributed.mlir
// The launch keeps what else is said of it, however much.
// CHECK: a00 = 0 : i64{{.*}} a29 = 0 : i64{{.*}}body = ["mul x0 x1", "yield v0 v0"]
module attributes {pinion.stages = [{name = "main", repeat = 1 : i64}, {name = "step", repeat = 3 : i64}]} {
  func.func @main() {
    %0 = "pinion.buffer"() {bytes = 256 : i64, name = "x", offset = 0 : i64, pitch = 8 : i64, space = "input"} : () -> memref<8x8xf32>
    %1 = "pinion.buffer"() {bytes = 256 : i64, name = "y", offset = 0 : i64, pitch = 8 : i64, space = "output"} : () -> memref<8x8xf32>
    %2 = "pinion.buffer"() {bytes = 128 : i64, name = "value", offset = -1 : i64, pitch = 8 : i64, space = "arena"} : () -> memref<8x8xbf16>
    %3 = "pinion.buffer"() {bytes = 128 : i64, name = "value", offset = -1 : i64, pitch = 8 : i64, space = "arena"} : () -> memref<8x8xbf16>
    %4 = "pinion.buffer"() {bytes = 256 : i64, name = "value", offset = -1 : i64, pitch = 8 : i64, space = "arena"} : () -> memref<8x8xf32>
    "pinion.launch"(%1, %0) {after = array<i64>, body = ["yield x0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 0 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xf32>, memref<8x8xf32>) -> ()
    "pinion.launch"(%2, %1) {after = array<i64>, body = ["cast.bf16 x0", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xbf16>, memref<8x8xf32>) -> ()
    "pinion.launch"(%3, %2) {after = array<i64>, family = "softmax", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 8, 8>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 8, 1>, array<i64: 8, 1>]} : (memref<8x8xbf16>, memref<8x8xbf16>) -> ()
    "pinion.launch"(%4, %3) {after = array<i64>, body = ["cast.f32 x0", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 1 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<8x8xf32>, memref<8x8xbf16>) -> ()
    "pinion.launch"(%1, %1, %4) {a00 = 0 : i64, a01 = 0 : i64, a02 = 0 : i64, a03 = 0 : i64, a04 = 0 : i64, a05 = 0 : i64, a06 = 0 : i64, a07 = 0 : i64, a08 = 0 : i64, a09 = 0 : i64, a10 = 0 : i64, a11 = 0 : i64, a12 = 0 : i64, a13 = 0 : i64, a14 = 0 : i64, a15 = 0 : i64, a16 = 0 : i64, a17 = 0 : i64, a18 = 0 : i64, a19 = 0 : i64, a20 = 0 : i64, a21 = 0 : i64, a22 = 0 : i64, a23 = 0 : i64, a24 = 0 : i64, a25 = 0 : i64, a26 = 0 : i64, a27 = 0 : i64, a28 = 0 : i64, a29 = 0 : i64, after = array<i64>, body = ["mul x0 x1", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 64>, stage = 1 : i64, step_strides = array<i64: 0, 0, 0>, strides = [array<i64: 1>, array<i64: 1>, array<i64: 1>]} : (memref<8x8xf32>, memref<8x8xf32>, memref<8x8xf32>) -> ()
    return
  }
}
