// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=lower-to-launches %t/views.mlir | FileCheck %t/views.mlir
// RUN: pinion opt --passes=lower-to-launches %t/reshape.mlir | FileCheck %t/reshape.mlir
// RUN: pinion opt --passes=lower-to-launches %t/concat.mlir | FileCheck %t/concat.mlir
// RUN: pinion opt --passes=lower-to-launches %t/shared.mlir | FileCheck %t/shared.mlir
// RUN: pinion opt --passes=lower-to-launches %t/batch.mlir | FileCheck %t/batch.mlir
// RUN: pinion opt --passes=lower-to-launches %t/packed.mlir | FileCheck %t/packed.mlir --check-prefix=DENSE
// RUN: pinion opt --passes=lower-to-launches --target=cpu %t/packed.mlir | FileCheck %t/packed.mlir --check-prefix=PACKED
// RUN: pinion opt --passes=lower-to-launches --target=cpu %t/forms.mlir | FileCheck %t/forms.mlir
// RUN: pinion opt --passes=lower-to-launches %t/steps.mlir | FileCheck %t/steps.mlir
// RUN: pinion opt --passes=lower-to-launches %t/not-in-place.mlir | FileCheck %t/not-in-place.mlir
// RUN: pinion opt --passes=lower-to-launches %t/residual.mlir | FileCheck %t/residual.mlir
// RUN: pinion opt --passes=lower-to-launches %t/values.mlir | FileCheck %t/values.mlir
// RUN: pinion opt --passes=lower-to-launches %t/views.mlir -o %t/again.mlir
// RUN: pinion opt --passes=plan-memory %t/again.mlir | FileCheck %t/views.mlir
// RUN: not pinion opt --passes=lower-to-launches %t/nested.mlir 2>&1 | FileCheck %t/nested.mlir
// RUN: not pinion opt --passes=lower-to-launches %t/recursive.mlir 2>&1 | FileCheck %t/recursive.mlir
// RUN: not pinion opt --passes=lower-to-launches %t/misfit.mlir 2>&1 | FileCheck %t/misfit.mlir
// RUN: not pinion compile %t/beyond.mlir -o %t/beyond 2>&1 | FileCheck %t/beyond.mlir
// RUN: not pinion compile %t/bad_value.mlir -o %t/beyond 2>&1 | FileCheck %t/bad_value.mlir

// What they compute is checked against the reference interpreter by tests/codegen/check_lowering.c; here is how.

//--- views.mlir
// A transpose, a slice and a broadcast are strides of the one launch that reads them; a constant of one number is in its body.
// CHECK-LABEL: func.func @main()
// CHECK: %[[X:.*]] = "pinion.buffer"() {{.*}}name = "x", offset = 0 : i64, pitch = 6 : i64, space = "input"
// CHECK: %[[Y:.*]] = "pinion.buffer"() {{.*}}name = "y", offset = 0 : i64, pitch = 2 : i64, space = "output"
// CHECK: "pinion.launch"(%[[Y]], %[[X]], %[[X]])
// CHECK-SAME: body = ["add x0 x1", "const.f32 0.5", "mul v0 v1", "yield v2"]
// CHECK-SAME: offsets = array<i64: 0, 1, 5>
// CHECK-SAME: sizes = array<i64: 3, 2>
// CHECK-SAME: strides = [array<i64: 2, 1>, array<i64: 2, 6>, array<i64: 0, 6>]
// CHECK-NOT: pinion.launch
func.func @main(%x: tensor<2x6xf32>) -> tensor<3x2xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %t = "pinion.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<2x6xf32>) -> tensor<6x2xf32>
  %odd = "pinion.slice"(%t) {starts = array<i64: 1, 0>, steps = array<i64: 2, 1>} : (tensor<6x2xf32>) -> tensor<3x2xf32>
  %last = "pinion.slice"(%t) {starts = array<i64: 5, 0>, steps = array<i64: 1, 1>} : (tensor<6x2xf32>) -> tensor<1x2xf32>
  %all = "pinion.broadcast"(%last) : (tensor<1x2xf32>) -> tensor<3x2xf32>
  %y = "pinion.pointwise"(%odd, %all) {body = ["add x0 x1", "const.f32 0.5", "mul v0 v1", "yield v2"]} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

//--- reshape.mlir
// The transpose before the reshape would cost a copy in the natural layout: the op writes the layout that the reshape wants.
// CHECK-LABEL: func.func @main()
// CHECK: "pinion.launch"
// CHECK-SAME: family = "softmax"
// CHECK-SAME: sizes = array<i64: 2, 3, 4>{{.*}}strides = [array<i64: 12, 4, 1>, array<i64: 4, 8, 1>]
// CHECK-NOT: yield x0
// CHECK: family = "softmax"
// CHECK-NOT: pinion.launch
func.func @main(%x: tensor<3x2x4xf32>) -> tensor<2x12xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %a = "pinion.softmax"(%x) {axis = 2 : i64} : (tensor<3x2x4xf32>) -> tensor<3x2x4xf32>
  %t = "pinion.transpose"(%a) {permutation = array<i64: 1, 0, 2>} : (tensor<3x2x4xf32>) -> tensor<2x3x4xf32>
  %r = "pinion.reshape"(%t) : (tensor<2x3x4xf32>) -> tensor<2x12xf32>
  %y = "pinion.softmax"(%r) {axis = 1 : i64} : (tensor<2x12xf32>) -> tensor<2x12xf32>
  return %y : tensor<2x12xf32>
}

//--- concat.mlir
// What is computed is written to its place of the output; the input is copied there.
// CHECK-LABEL: func.func @main()
// CHECK: %[[X:.*]] = "pinion.buffer"() {{.*}}space = "input"
// CHECK: %[[Y:.*]] = "pinion.buffer"() {{.*}}space = "output"
// CHECK-NOT: pinion.buffer
// CHECK: "pinion.launch"(%[[Y]], %[[X]]) {{.*}}body = ["neg x0", "yield v0"]{{.*}}offsets = array<i64: 0, 0>
// CHECK: "pinion.launch"(%[[Y]], %[[X]]) {{.*}}body = ["yield x0"]{{.*}}offsets = array<i64: 4, 0>
// CHECK-NOT: pinion.launch
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x8xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %n = "pinion.unary"(%x) {kind = "neg"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = "pinion.concat"(%n, %x) {axis = 1 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

//--- shared.mlir
// A batch that slices share out between places of one distance is computed there: the first three rows of the concatenation.
// Must not fire: the slices overlap.
// CHECK: %[[ALL:.*]] = "pinion.buffer"() {{.*}}space = "output"{{.*}} -> memref<1x7x4xf32>
// CHECK: "pinion.launch"(%[[ALL]], %{{.*}}) {{.*}}body = ["tanh x0", "yield v0"]{{.*}}sizes = array<i64: 24>
// CHECK: "pinion.launch"(%[[ALL]], %{{.*}}) {{.*}}body = ["yield x0"]{{.*}}offsets = array<i64: 24, 0>
// CHECK: body = ["neg x0", "yield v0"]
// CHECK-COUNT-2: body = ["yield x0"]
// CHECK-NOT: "pinion.launch"
func.func @main(%x: tensor<3x2x4xf32>, %y: tensor<1x1x4xf32>) -> (tensor<1x7x4xf32>, tensor<4x2x4xf32>) attributes {pinion.inputs = ["x", "y"], pinion.outputs = ["a", "b"]} {
  %0 = "pinion.unary"(%x) {kind = "tanh"} : (tensor<3x2x4xf32>) -> tensor<3x2x4xf32>
  %1 = "pinion.slice"(%0) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<3x2x4xf32>) -> tensor<1x2x4xf32>
  %2 = "pinion.slice"(%0) {starts = array<i64: 1, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<3x2x4xf32>) -> tensor<1x2x4xf32>
  %3 = "pinion.slice"(%0) {starts = array<i64: 2, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<3x2x4xf32>) -> tensor<1x2x4xf32>
  %4 = "pinion.concat"(%1, %2, %3, %y) {axis = 1 : i64} : (tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x1x4xf32>) -> tensor<1x7x4xf32>
  %5 = "pinion.unary"(%x) {kind = "neg"} : (tensor<3x2x4xf32>) -> tensor<3x2x4xf32>
  %6 = "pinion.slice"(%5) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<3x2x4xf32>) -> tensor<2x2x4xf32>
  %7 = "pinion.slice"(%5) {starts = array<i64: 1, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<3x2x4xf32>) -> tensor<2x2x4xf32>
  %8 = "pinion.concat"(%6, %7) {axis = 0 : i64} : (tensor<2x2x4xf32>, tensor<2x2x4xf32>) -> tensor<4x2x4xf32>
  return %4, %8 : tensor<1x7x4xf32>, tensor<4x2x4xf32>
}

//--- batch.mlir
// Batches of a matmul by one matrix are rows; batches of matrices stay.
// CHECK-LABEL: func.func @main()
// CHECK: "pinion.launch"{{.*}}family = "gemm"{{.*}}sizes = array<i64: 1, 1, 6, 1, 5, 1, 4>
// CHECK: "pinion.launch"{{.*}}family = "gemm"{{.*}}sizes = array<i64: 1, 2, 3, 1, 3, 1, 5>
func.func @main(%x: tensor<2x3x4xf32>, %w: tensor<4x5xf32>) -> tensor<2x3x3xf32> attributes {pinion.inputs = ["x", "w"], pinion.outputs = ["y"]} {
  %p = "pinion.matmul"(%x, %w) : (tensor<2x3x4xf32>, tensor<4x5xf32>) -> tensor<2x3x5xf32>
  %t = "pinion.transpose"(%p) {permutation = array<i64: 0, 2, 1>} : (tensor<2x3x5xf32>) -> tensor<2x5x3xf32>
  %y = "pinion.matmul"(%p, %t) : (tensor<2x3x5xf32>, tensor<2x5x3xf32>) -> tensor<2x3x3xf32>
  return %y : tensor<2x3x3xf32>
}

//--- packed.mlir
// A constant becomes a further result of @weights. A target that packs weights gets b[h, n, p, k] of it: n steps by 1, k by a row.
// DENSE: "pinion.buffer"() {{.*}}layout = "dense"{{.*}}source = 0 : i64{{.*}} -> memref<2x3xf32>
// DENSE: family = "gemm"
// PACKED: "pinion.buffer"() {{.*}}layout = "packed"{{.*}}source = 0 : i64, source_view = array<i64: 0, 0, 1, 0, 3>{{.*}} -> memref<1x3x1x2xf32>
// PACKED: family = "gemm"{{.*}}strides = {{.*}}array<i64: 0, 0, 0, 0, 0, 0, 0>]
// DENSE: func.func @weights() -> tensor<2x3xf32>
// PACKED: func.func @weights() -> tensor<2x3xf32>
func.func @main(%x: tensor<4x2xf32>) -> tensor<4x3xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
  %w = "pinion.constant"() {value = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>} : () -> tensor<2x3xf32>
  %y = "pinion.matmul"(%x, %w) : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}

//--- forms.mlir
// Two heads of queries and one of keys, two accumulators each (columns are [half, head, 2] of 12), and a row sum of 3: parts and
// sums are integers of the launch, and the halves of the queries are written into one row.
// CHECK: "pinion.buffer"() {{.*}}layout = "packed"{{.*}}source_view = array<i64: 0, 2, 1, 6, 12>{{.*}} -> memref<3x2x2x4xf32>
// CHECK: "pinion.launch"(%[[Q:.*]], %[[Q]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) {{.*}}family = "gemm", integers = array<i64: 2, 0, 1, 3, 0, 4>{{.*}}offsets = array<i64: 0, 2,
// CHECK-SAME: sizes = array<i64: 1, 1, 5, 3, 2, 2, 4>{{.*}}strides = [array<i64: 0, 0, 8, 4, 1, 0, 0>, array<i64: 0, 0, 8, 4, 1, 0, 0>,
// CHECK-SAME: array<i64: 0, 0, 0, 0, 0, 0, 0>, array<i64: 0, 0, 3, 0, 0, 0, 1>]
// CHECK-NOT: pinion.launch
func.func @main(%x: tensor<5x4xf32>, %s: tensor<5x3xf32>) -> (tensor<5x2x4xf32>, tensor<5x1x2xf32>, tensor<5x1x2xf32>) attributes {pinion.inputs = ["x", "s"], pinion.outputs = ["q", "k1", "k2"]} {
  %w = "pinion.constant"() {value = dense<0.5> : tensor<4x12xf32>} : () -> tensor<4x12xf32>
  %q1, %q2, %k1, %k2 = "pinion.gemm"(%x, %w, %s) {accumulators = 2 : i64, groups = 3 : i64, parts = array<i64: 2>, row_sums = 1 : i64, body = ["mul x0 x3", "mul x1 x3", "yield v0 v1"], transpose_b = false} : (tensor<5x4xf32>, tensor<4x12xf32>, tensor<5x3xf32>) -> (tensor<5x2x2xf32>, tensor<5x2x2xf32>, tensor<5x1x2xf32>, tensor<5x1x2xf32>)
  %q = "pinion.concat"(%q1, %q2) {axis = 2 : i64} : (tensor<5x2x2xf32>, tensor<5x2x2xf32>) -> tensor<5x2x4xf32>
  return %q, %k1, %k2 : tensor<5x2x4xf32>, tensor<5x1x2xf32>, tensor<5x1x2xf32>
}

//--- steps.mlir
// A stage that is repeated. Its carried tensor is the output; the last op updates it in place; the table's row moves on by four
// numbers a step; the keys from before the steps are computed in their place beside the step's.
// CHECK: module attributes {{.*}}pinion.stages = [{name = "main", repeat = 1 : i64}, {name = "step", repeat = 4 : i64}]
// CHECK: %[[K:.*]] = "pinion.buffer"() {{.*}}space = "input"{{.*}} -> memref<3x4xf32>
// CHECK: %[[X:.*]] = "pinion.buffer"() {{.*}}space = "input"{{.*}} -> memref<2x4xf32>
// CHECK: %[[Y:.*]] = "pinion.buffer"() {{.*}}space = "output"
// CHECK: %[[T:.*]] = "pinion.buffer"() {{.*}}space = "weights"
// CHECK: %[[ALL:.*]] = "pinion.buffer"() {{.*}}space = "arena"{{.*}} -> memref<5x4xf32>
// CHECK: "pinion.launch"(%[[ALL]], %[[K]]) {{.*}}stage = 0
// CHECK: "pinion.launch"(%[[Y]], %[[X]]) {{.*}}body = ["yield x0"]{{.*}}stage = 0
// CHECK: "pinion.launch"(%[[ALL]], %[[Y]], %[[T]]) {{.*}}offsets = array<i64: 12, 0, 0>{{.*}}stage = 1 : i64, step_strides = array<i64: 0, 0, 4>
// CHECK: "pinion.launch"({{.*}}, %[[ALL]]) {{.*}}family = "reduce"{{.*}}stage = 1
// CHECK: "pinion.launch"(%[[Y]], %[[Y]], {{.*}}stage = 1
// CHECK-NOT: pinion.launch
module {
  func.func @main(%k: tensor<3x4xf32>, %x: tensor<2x4xf32>) -> tensor<2x4xf32> attributes {pinion.inputs = ["k", "x"], pinion.outputs = ["y"]} {
    %t = "pinion.constant"() {value = dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
    %keys = "pinion.unary"(%k) {kind = "tanh"} : (tensor<3x4xf32>) -> tensor<3x4xf32>
    %y = "pinion.steps"(%x, %keys, %t) {callee = @step, count = 4 : i64, tables = 1 : i64} : (tensor<2x4xf32>, tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }
  func.func private @step(%x: tensor<2x4xf32>, %keys: tensor<3x4xf32>, %row: tensor<4xf32>) -> tensor<2x4xf32> {
    %h = "pinion.binary"(%x, %row) {kind = "mul"} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    %all = "pinion.concat"(%keys, %h) {axis = 0 : i64} : (tensor<3x4xf32>, tensor<2x4xf32>) -> tensor<5x4xf32>
    %s = "pinion.reduce"(%all) {kind = "mean", axes = array<i64: 0>, keep = false} : (tensor<5x4xf32>) -> tensor<4xf32>
    %y = "pinion.binary"(%x, %s) {kind = "add"} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }
}

//--- not-in-place.mlir
// Must not update in place: the op reads the carried tensor transposed, so a copy ends the step.
// CHECK: %[[Y:.*]] = "pinion.buffer"() {{.*}}space = "output"
// CHECK: %[[A:.*]] = "pinion.buffer"() {{.*}}space = "arena"
// CHECK: "pinion.launch"(%[[A]], %[[Y]], %[[Y]]) {{.*}}body = ["sub x0 x1", "yield v0"]
// CHECK: "pinion.launch"(%[[Y]], %[[A]]) {{.*}}body = ["yield x0"]
module {
  func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
    %y = "pinion.steps"(%x) {callee = @step, count = 2 : i64, tables = 0 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
  func.func private @step(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %t = "pinion.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %y = "pinion.binary"(%x, %t) {kind = "sub"} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    return %y : tensor<4x4xf32>
  }
}

//--- residual.mlir
// A gemm whose body adds the carried tensor writes it in place.
// CHECK: %[[Y:.*]] = "pinion.buffer"() {{.*}}space = "output"
// CHECK: "pinion.launch"(%[[Y]], {{.*}}, {{.*}}, %[[Y]]) {{.*}}family = "gemm"
// CHECK-NOT: pinion.launch
module {
  func.func @main(%x: tensor<3x4xf32>, %h: tensor<3x5xf32>, %w: tensor<5x4xf32>) -> tensor<3x4xf32> attributes {pinion.inputs = ["x", "h", "w"], pinion.outputs = ["y"]} {
    %y = "pinion.steps"(%x, %h, %w) {callee = @step, count = 2 : i64, tables = 0 : i64} : (tensor<3x4xf32>, tensor<3x5xf32>, tensor<5x4xf32>) -> tensor<3x4xf32>
    return %y : tensor<3x4xf32>
  }
  func.func private @step(%x: tensor<3x4xf32>, %h: tensor<3x5xf32>, %w: tensor<5x4xf32>) -> tensor<3x4xf32> {
    %y = "pinion.gemm"(%h, %w, %x) {body = ["add x0 x1", "yield v0"], transpose_b = false} : (tensor<3x5xf32>, tensor<5x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    return %y : tensor<3x4xf32>
  }
}

//--- values.mlir
// Which values of the model a launch completes, and where they lie: in the result itself; two slices of a joined product; in
// their places of a concatenation, that is complete with the second of them; each call's own of two names, in the order of the
// calls; both as blocks where there is one call; all steps' where it is repeated. A reshape of a value shows nothing new, and what
// has no name is not listed.
// CHECK-LABEL: func.func @main
// CHECK: "pinion.launch"{{.*}}body = ["neg x0", "yield v0"]
// CHECK-SAME: values = [{dims = array<i64: 2, 4>, offset = 0 : i64, onnx = ["a"], result = 0 : i64, strides = array<i64: 4, 1>}]
// CHECK: "pinion.launch"{{.*}}family = "gemm"
// CHECK-SAME: values = [{dims = array<i64: 2, 2>, offset = 0 : i64, onnx = ["q"], {{.*}}strides = array<i64: 4, 1>}, {dims = array<i64: 2, 2>, offset = 2 : i64, onnx = ["k"], {{.*}}strides = array<i64: 4, 1>}]
// CHECK: "pinion.launch"{{.*}}body = ["exp x0", "yield v0"]
// CHECK-SAME: values = [{dims = array<i64: 2, 2>, offset = 0 : i64, onnx = ["left"], {{.*}}strides = array<i64: 4, 1>}]
// CHECK: "pinion.launch"{{.*}}body = ["tanh x0", "yield v0"]
// CHECK-SAME: values = [{dims = array<i64: 2, 2>, offset = 2 : i64, onnx = ["right"], {{.*}}}, {dims = array<i64: 2, 4>, offset = 0 : i64, onnx = ["whole"]
// CHECK: "pinion.launch"{{.*}}body = ["abs x0", "yield v0"]{{.*}}onnx = ["one"]
// CHECK: "pinion.launch"{{.*}}body = ["abs x0", "yield v0"]{{.*}}onnx = ["two"]
// CHECK: "pinion.launch"{{.*}}body = ["floor x0", "yield v0"]
// CHECK-SAME: dims = array<i64: 4, 4>, offset = 0 : i64, onnx = ["one", "two"]
// CHECK: "pinion.launch"{{.*}}body = ["ceil x0", "yield v0"]
// CHECK-SAME: onnx = ["first", "second"]
// CHECK: "pinion.launch"{{.*}}body = ["round x0", "yield v0"]
// CHECK-NOT: values
// CHECK: return
module {
  func.func @main(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<4x4xf32>, tensor<2x4xf32>) attributes {pinion.inputs = ["x", "w"], pinion.outputs = ["y", "z", "s"]} {
    %a = "pinion.unary"(%x) {kind = "neg", onnx = "a"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %p = "pinion.matmul"(%a, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %q = "pinion.slice"(%p) {starts = array<i64: 0, 0>, steps = array<i64: 1, 1>, onnx = "q"} : (tensor<2x4xf32>) -> tensor<2x2xf32>
    %k = "pinion.slice"(%p) {starts = array<i64: 0, 2>, steps = array<i64: 1, 1>, onnx = "k"} : (tensor<2x4xf32>) -> tensor<2x2xf32>
    %l = "pinion.unary"(%q) {kind = "exp", onnx = "left"} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %r = "pinion.unary"(%k) {kind = "tanh", onnx = "right"} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %c = "pinion.concat"(%l, %r) {axis = 1 : i64, onnx = "whole"} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x4xf32>
    %e = "pinion.reshape"(%c) {onnx = "flat"} : (tensor<2x4xf32>) -> tensor<8xf32>
    %d = "pinion.reshape"(%e) : (tensor<8xf32>) -> tensor<2x4xf32>
    %1 = func.call @camera(%d) : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %2 = func.call @camera(%1) : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %b = "pinion.concat"(%1, %2) {axis = 0 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
    %3 = func.call @cameras(%b) : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %s = "pinion.steps"(%2) {callee = @step, count = 2 : i64, tables = 0 : i64, onnx = "second"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %n = "pinion.unary"(%s) {kind = "round"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    return %d, %3, %n : tensor<2x4xf32>, tensor<4x4xf32>, tensor<2x4xf32>
  }
  func.func private @camera(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %0 = "pinion.unary"(%x) {kind = "abs", onnx = ["one", "two"]} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    return %0 : tensor<2x4xf32>
  }
  func.func private @cameras(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %0 = "pinion.unary"(%x) {kind = "floor", onnx = ["one", "two"]} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    return %0 : tensor<4x4xf32>
  }
  func.func private @step(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %0 = "pinion.unary"(%x) {kind = "ceil", onnx = ["first", "second"]} : (tensor<2x4xf32>) -> tensor<2x4xf32>
    return %0 : tensor<2x4xf32>
  }
}

//--- nested.mlir
// CHECK: is inside of another pinion.steps
module {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
    %y = "pinion.steps"(%x) {callee = @outer, count = 2 : i64, tables = 0 : i64} : (tensor<4xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
  func.func private @outer(%x: tensor<4xf32>) -> tensor<4xf32> {
    %y = "pinion.steps"(%x) {callee = @inner, count = 2 : i64, tables = 0 : i64} : (tensor<4xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
  func.func private @inner(%x: tensor<4xf32>) -> tensor<4xf32> {
    %y = "pinion.unary"(%x) {kind = "neg"} : (tensor<4xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
}

//--- recursive.mlir
// CHECK: call one another without end
module {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
    %y = func.call @again(%x) : (tensor<4xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
  func.func private @again(%x: tensor<4xf32>) -> tensor<4xf32> {
    %y = func.call @again(%x) : (tensor<4xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
}

//--- misfit.mlir
// CHECK: calls a function of another type
module {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> attributes {pinion.inputs = ["x"], pinion.outputs = ["y"]} {
    %y = "pinion.steps"(%x) {callee = @step, count = 2 : i64, tables = 0 : i64} : (tensor<4xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
  func.func private @step(%x: tensor<4xf32>, %z: tensor<4xf32>) -> tensor<4xf32> {
    return %x : tensor<4xf32>
  }
}

//--- beyond.mlir
// A launch level written by hand is not trusted either.
// CHECK: an argument reaches beyond its buffer
module attributes {pinion.arena_bytes = 0 : i64, pinion.stages = [{name = "main", repeat = 1 : i64}]} {
  func.func @main() {
    %x = "pinion.buffer"() {bytes = 16 : i64, name = "x", offset = 0 : i64, pitch = 4 : i64, space = "input"} : () -> memref<4xf32>
    %y = "pinion.buffer"() {bytes = 16 : i64, name = "y", offset = 0 : i64, pitch = 4 : i64, space = "output"} : () -> memref<4xf32>
    "pinion.launch"(%y, %x) {after = array<i64>, body = ["neg x0", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 1>, results = 1 : i64, scalars = [], sizes = array<i64: 4>, stage = 0 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>]} : (memref<4xf32>, memref<4xf32>) -> ()
    return
  }
}

//--- bad_value.mlir
// CHECK: `values` are not as docs/ops.md describes them
module attributes {pinion.arena_bytes = 0 : i64, pinion.stages = [{name = "main", repeat = 1 : i64}]} {
  func.func @main() {
    %x = "pinion.buffer"() {bytes = 16 : i64, name = "x", offset = 0 : i64, pitch = 4 : i64, space = "input"} : () -> memref<4xf32>
    %y = "pinion.buffer"() {bytes = 16 : i64, name = "y", offset = 0 : i64, pitch = 4 : i64, space = "output"} : () -> memref<4xf32>
    "pinion.launch"(%y, %x) {after = array<i64>, body = ["neg x0", "yield v0"], family = "pointwise", integers = array<i64>, nodes = [], offsets = array<i64: 0, 0>, results = 1 : i64, scalars = [], sizes = array<i64: 4>, stage = 0 : i64, step_strides = array<i64: 0, 0>, strides = [array<i64: 1>, array<i64: 1>], values = [{dims = array<i64: 4>, offset = 0 : i64, onnx = ["v"], result = 1 : i64, strides = array<i64: 1>}]} : (memref<4xf32>, memref<4xf32>) -> ()
    return
  }
}
