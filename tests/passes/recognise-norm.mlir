// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=recognise-norm %t/rms.mlir | FileCheck %t/rms.mlir
// RUN: pinion opt --passes=recognise-norm %t/adaptive.mlir | FileCheck %t/adaptive.mlir
// RUN: pinion opt --passes=recognise-norm %t/chunks.mlir | FileCheck %t/chunks.mlir
// RUN: pinion opt --passes=recognise-norm %t/folded.mlir | FileCheck %t/folded.mlir
// RUN: pinion opt --passes=recognise-norm --remarks %t/tokens.mlir 2>&1 | FileCheck %t/tokens.mlir
// RUN: pinion opt --passes=recognise-norm %t/bf16.mlir | FileCheck %t/bf16.mlir
// RUN: pinion opt --passes=recognise-norm %t/layer.mlir | FileCheck %t/layer.mlir
// RUN: pinion opt --passes=recognise-norm %t/imported.mlir | FileCheck %t/imported.mlir
// RUN: pinion opt --passes=recognise-norm --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- rms.mlir
// Each way to say 1 / sqrt(mean(x x) + epsilon); the weight as it is, or 1 + w. The location is that of all ops, the
// identity the last one's.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x8xf32>{{.*}}, %[[W:.*]]: tensor<8xf32>
// CHECK: %[[ONE:.*]] = "pinion.constant"() {value = dense<1.0
// CHECK: %[[A:.*]] = "pinion.norm"(%[[X]], %[[W]]) {axis = 2 : i64, epsilon = {{9.99.*E-7|1.0.*E-6}} : f64, kind = "rms", onnx = "scaled"{{.*}}loc(#[[LOC:.*]])
// CHECK: %[[B:.*]] = "pinion.norm"(%[[A]]) {axis = 2 : i64
// CHECK: %[[W1:.*]] = "pinion.binary"(%[[W]], %[[ONE]]) {kind = "add"}
// CHECK: %[[C:.*]] = "pinion.norm"(%[[B]], %[[W1]])
// CHECK: %[[D:.*]] = "pinion.norm"(%[[C]]) {axis = 2 : i64
// CHECK: %[[E:.*]] = "pinion.norm"(%[[D]]) {axis = 1 : i64
// CHECK-NOT: pinion.reduce
// CHECK: return %[[E]]
// CHECK: #[[SQUARE:.*]] = loc("square")
// CHECK: #[[SCALE:.*]] = loc("scale")
// CHECK: #[[LOC]] = loc(fused[{{.*}}#[[SQUARE]]{{.*}}#[[SCALE]]{{.*}}])
func.func @main(%x: tensor<1x3x8xf32>, %w: tensor<8xf32>) -> tensor<1x3x8xf32> {
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  // Pow or Mul, ReduceMean, Add, Sqrt, Reciprocal, Mul, Mul (dynamo).
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32> loc("square")
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %3 = "pinion.unary"(%2) {kind = "sqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %4 = "pinion.unary"(%3) {kind = "reciprocal"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %5 = "pinion.binary"(%x, %4) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %6 = "pinion.binary"(%5, %w) {kind = "mul", onnx = "scaled"} : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32> loc("scale")
  // Div(1, .) (TorchScript); the product the other way round.
  %7 = "pinion.binary"(%6, %6) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %8 = "pinion.reduce"(%7) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %9 = "pinion.binary"(%eps, %8) {kind = "add"} : (tensor<f32>, tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %10 = "pinion.unary"(%9) {kind = "sqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %11 = "pinion.binary"(%one, %10) {kind = "div"} : (tensor<f32>, tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %12 = "pinion.binary"(%11, %6) {kind = "mul"} : (tensor<1x3x1xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  // Rsqrt; 1 + w.
  %13 = "pinion.binary"(%12, %12) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %14 = "pinion.reduce"(%13) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %15 = "pinion.binary"(%14, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %16 = "pinion.unary"(%15) {kind = "rsqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %17 = "pinion.binary"(%12, %16) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %18 = "pinion.binary"(%w, %one) {kind = "add"} : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %19 = "pinion.binary"(%18, %17) {kind = "mul"} : (tensor<8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  // Pow(-0.5), Pow(x, 2).
  %two = "pinion.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %half = "pinion.constant"() {value = dense<-0.5> : tensor<f32>} : () -> tensor<f32>
  %20 = "pinion.binary"(%19, %two) {kind = "pow"} : (tensor<1x3x8xf32>, tensor<f32>) -> tensor<1x3x8xf32>
  %21 = "pinion.reduce"(%20) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %22 = "pinion.binary"(%21, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %23 = "pinion.binary"(%22, %half) {kind = "pow"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %24 = "pinion.binary"(%19, %23) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  // A division by the root; over two dimensions.
  %25 = "pinion.binary"(%24, %24) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %26 = "pinion.reduce"(%25) {kind = "mean", axes = array<i64: 1, 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x1x1xf32>
  %27 = "pinion.binary"(%26, %eps) {kind = "add"} : (tensor<1x1x1xf32>, tensor<f32>) -> tensor<1x1x1xf32>
  %28 = "pinion.unary"(%27) {kind = "sqrt"} : (tensor<1x1x1xf32>) -> tensor<1x1x1xf32>
  %29 = "pinion.binary"(%24, %28) {kind = "div"} : (tensor<1x3x8xf32>, tensor<1x1x1xf32>) -> tensor<1x3x8xf32>
  return %29 : tensor<1x3x8xf32>
}

//--- adaptive.mlir
// Scale and shift of each batch element.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x8xf32>{{.*}}, %[[S:.*]]: tensor<2x1x8xf32>{{.*}}, %[[H:.*]]: tensor<2x1x8xf32>
// CHECK: %[[S1:.*]] = "pinion.binary"(%[[S]]
// CHECK: %[[Y:.*]] = "pinion.norm"(%[[X]], %[[S1]], %[[H]]) {{.*}}kind = "rms"
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<2x3x8xf32>, %s: tensor<2x1x8xf32>, %h: tensor<2x1x8xf32>) -> tensor<2x3x8xf32> {
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<2x3x8xf32>) -> tensor<2x3x1xf32>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<2x3x1xf32>, tensor<f32>) -> tensor<2x3x1xf32>
  %3 = "pinion.unary"(%2) {kind = "rsqrt"} : (tensor<2x3x1xf32>) -> tensor<2x3x1xf32>
  %4 = "pinion.binary"(%x, %3) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x1xf32>) -> tensor<2x3x8xf32>
  %5 = "pinion.binary"(%s, %one) {kind = "add"} : (tensor<2x1x8xf32>, tensor<f32>) -> tensor<2x1x8xf32>
  %6 = "pinion.binary"(%4, %5) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  %7 = "pinion.binary"(%6, %h) {kind = "add"} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  return %7 : tensor<2x3x8xf32>
}

//--- chunks.mlir
// Scale, shift and gate are thirds of one product of the condition, cut by Split or Slice; the shift in front of the sum. The gate
// multiplies the branch and is none of the norm's.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x8xf32>{{.*}}, %[[T:.*]]: tensor<2x4xf32>
// CHECK-DAG: %[[SCALE:.*]] = "pinion.slice"(%{{.*}}) {starts = array<i64: 0, 0, 0>
// CHECK-DAG: %[[SHIFT:.*]] = "pinion.slice"(%{{.*}}) {starts = array<i64: 0, 0, 8>
// CHECK-DAG: %[[GATE:.*]] = "pinion.slice"(%{{.*}}) {starts = array<i64: 0, 0, 16>
// CHECK-DAG: %[[S1:.*]] = "pinion.binary"(%{{.*}}, %[[SCALE]]) {kind = "add"}
// CHECK: %[[N:.*]] = "pinion.norm"(%[[X]], %[[S1]], %[[SHIFT]]) {{.*}}kind = "rms"
// CHECK-NEXT: %[[B:.*]] = "pinion.matmul"(%[[N]]
// CHECK-NEXT: %[[G:.*]] = "pinion.binary"(%[[B]], %[[GATE]]) {kind = "mul"}
// CHECK-NEXT: "pinion.binary"(%[[X]], %[[G]]) {kind = "add"}
func.func @main(%x: tensor<2x3x8xf32>, %t: tensor<2x4xf32>) -> tensor<2x3x8xf32> {
  %w = "pinion.weight"() {name = "w", file = "w.bin", offset = 0 : i64} : () -> tensor<4x24xf32>
  %bias = "pinion.weight"() {name = "b", file = "w.bin", offset = 384 : i64} : () -> tensor<24xf32>
  %v = "pinion.weight"() {name = "v", file = "w.bin", offset = 480 : i64} : () -> tensor<8x8xf32>
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.matmul"(%t, %w) : (tensor<2x4xf32>, tensor<4x24xf32>) -> tensor<2x24xf32>
  %1 = "pinion.binary"(%0, %bias) {kind = "add"} : (tensor<2x24xf32>, tensor<24xf32>) -> tensor<2x24xf32>
  %2 = "pinion.reshape"(%1) : (tensor<2x24xf32>) -> tensor<2x1x24xf32>
  %scale = "pinion.slice"(%2) {starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x1x24xf32>) -> tensor<2x1x8xf32>
  %shift = "pinion.slice"(%2) {starts = array<i64: 0, 0, 8>, steps = array<i64: 1, 1, 1>} : (tensor<2x1x24xf32>) -> tensor<2x1x8xf32>
  %gate = "pinion.slice"(%2) {starts = array<i64: 0, 0, 16>, steps = array<i64: 1, 1, 1>} : (tensor<2x1x24xf32>) -> tensor<2x1x8xf32>
  %3 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %4 = "pinion.reduce"(%3) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<2x3x8xf32>) -> tensor<2x3x1xf32>
  %5 = "pinion.binary"(%4, %eps) {kind = "add"} : (tensor<2x3x1xf32>, tensor<f32>) -> tensor<2x3x1xf32>
  %6 = "pinion.unary"(%5) {kind = "sqrt"} : (tensor<2x3x1xf32>) -> tensor<2x3x1xf32>
  %7 = "pinion.unary"(%6) {kind = "reciprocal"} : (tensor<2x3x1xf32>) -> tensor<2x3x1xf32>
  %8 = "pinion.binary"(%x, %7) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x1xf32>) -> tensor<2x3x8xf32>
  %9 = "pinion.binary"(%one, %scale) {kind = "add"} : (tensor<f32>, tensor<2x1x8xf32>) -> tensor<2x1x8xf32>
  %10 = "pinion.binary"(%8, %9) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  %11 = "pinion.binary"(%shift, %10) {kind = "add"} : (tensor<2x1x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %12 = "pinion.matmul"(%11, %v) : (tensor<2x3x8xf32>, tensor<8x8xf32>) -> tensor<2x3x8xf32>
  %13 = "pinion.binary"(%12, %gate) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  %14 = "pinion.binary"(%x, %13) {kind = "add"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  return %14 : tensor<2x3x8xf32>
}

//--- folded.mlir
// The exporter folded the conditioning: 1 + scale is a weight, the shift a row of a table of the step's.
// CHECK-LABEL: func.func private @step
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x8xf32>{{.*}}, %[[H:.*]]: tensor<1x1x8xf32>
// CHECK: %[[S:.*]] = "pinion.weight"
// CHECK: %[[Y:.*]] = "pinion.norm"(%[[X]], %[[S]], %[[H]]) {{.*}}kind = "rms"
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<1x3x8xf32>) -> tensor<1x3x8xf32> {
  %t = "pinion.weight"() {name = "t", file = "w.bin", offset = 32 : i64} : () -> tensor<2x1x1x8xf32>
  %0 = "pinion.steps"(%x, %t) {callee = @step, count = 2 : i64, tables = 1 : i64} : (tensor<1x3x8xf32>, tensor<2x1x1x8xf32>) -> tensor<1x3x8xf32>
  return %0 : tensor<1x3x8xf32>
}
func.func private @step(%x: tensor<1x3x8xf32>, %h: tensor<1x1x8xf32>) -> tensor<1x3x8xf32> {
  %s = "pinion.weight"() {name = "s", file = "w.bin", offset = 0 : i64} : () -> tensor<1x1x8xf32>
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %3 = "pinion.unary"(%2) {kind = "rsqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %4 = "pinion.binary"(%x, %3) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %5 = "pinion.binary"(%4, %s) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x1x8xf32>) -> tensor<1x3x8xf32>
  %6 = "pinion.binary"(%5, %h) {kind = "add"} : (tensor<1x3x8xf32>, tensor<1x1x8xf32>) -> tensor<1x3x8xf32>
  return %6 : tensor<1x3x8xf32>
}

//--- tokens.mlir
// A scale of each token is no row: the norm leaves it to who comes behind.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x8xf32>{{.*}}, %[[S:.*]]: tensor<1x3x8xf32>
// CHECK: %[[N:.*]] = "pinion.norm"(%[[X]]) {{.*}}kind = "rms"
// CHECK-NEXT: %[[Y:.*]] = "pinion.binary"(%[[N]], %[[S]]) {kind = "mul"}
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<1x3x8xf32>, %s: tensor<1x3x8xf32>) -> tensor<1x3x8xf32> {
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %3 = "pinion.unary"(%2) {kind = "rsqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %4 = "pinion.binary"(%x, %3) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %5 = "pinion.binary"(%4, %s) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  return %5 : tensor<1x3x8xf32>
}

//--- bf16.mlir
// Between two casts: x is read as it lies, the result is of the last cast's type, the statistics are wide. The widened x
// stays for who else reads it.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x8xbf16>{{.*}}, %[[W:.*]]: tensor<8xf32>
// CHECK-NEXT: %[[WIDE:.*]] = "pinion.cast"(%[[X]])
// CHECK: %[[Y:.*]] = "pinion.norm"(%[[X]], %[[W]]) {{.*}} : (tensor<1x3x8xbf16>, tensor<8xf32>) -> tensor<1x3x8xbf16>
// CHECK-NEXT: return %[[Y]], %[[WIDE]]
func.func @main(%x: tensor<1x3x8xbf16>, %w: tensor<8xf32>) -> (tensor<1x3x8xbf16>, tensor<1x3x8xf32>) {
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %wide = "pinion.cast"(%x) : (tensor<1x3x8xbf16>) -> tensor<1x3x8xf32>
  %0 = "pinion.binary"(%wide, %wide) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %3 = "pinion.unary"(%2) {kind = "sqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %4 = "pinion.unary"(%3) {kind = "reciprocal"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %5 = "pinion.binary"(%wide, %4) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %6 = "pinion.binary"(%5, %w) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %7 = "pinion.cast"(%6) : (tensor<1x3x8xf32>) -> tensor<1x3x8xbf16>
  return %7, %wide : tensor<1x3x8xbf16>, tensor<1x3x8xf32>
}

//--- layer.mlir
// LayerNorm in single ops.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x8xf32>{{.*}}, %[[W:.*]]: tensor<8xf32>{{.*}}, %[[B:.*]]: tensor<8xf32>
// CHECK: %[[Y:.*]] = "pinion.norm"(%[[X]], %[[W]], %[[B]]) {axis = 2 : i64, epsilon = {{.*}} : f64, kind = "layer"
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<1x3x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<1x3x8xf32> {
  %eps = "pinion.constant"() {value = dense<1.0e-5> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.reduce"(%x) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %1 = "pinion.binary"(%x, %0) {kind = "sub"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %2 = "pinion.binary"(%1, %1) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %3 = "pinion.reduce"(%2) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %4 = "pinion.binary"(%3, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %5 = "pinion.unary"(%4) {kind = "sqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %6 = "pinion.binary"(%1, %5) {kind = "div"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %7 = "pinion.binary"(%6, %w) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %8 = "pinion.binary"(%b, %7) {kind = "add"} : (tensor<8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  return %8 : tensor<1x3x8xf32>
}

//--- imported.mlir
// An imported RMSNormalization by 1 + scale takes the shift.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x8xf32>{{.*}}, %[[S:.*]]: tensor<2x1x8xf32>{{.*}}, %[[H:.*]]: tensor<2x1x8xf32>
// CHECK-NEXT: %[[Y:.*]] = "pinion.norm"(%[[X]], %[[S]], %[[H]]) {axis = 2 : i64, epsilon = {{.*}}, kind = "rms", onnx = "shifted"
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<2x3x8xf32>, %s: tensor<2x1x8xf32>, %h: tensor<2x1x8xf32>) -> tensor<2x3x8xf32> {
  %0 = "pinion.norm"(%x, %s) {axis = 2 : i64, epsilon = 1.0e-6 : f64, kind = "rms", operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  %1 = "pinion.binary"(%0, %h) {kind = "add", onnx = "shifted"} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  return %1 : tensor<2x3x8xf32>
}

//--- stays.mlir
// Must not fire: another op reads the root; the epsilon is no number, or one a row; the statistics are of bf16; the mean is
// over a dimension in the middle, or the square of something else; a sum with a residual, or a product with another
// activation, is not the norm's; nor is what stands behind a norm that two ops read.
// CHECK-DAG: remark: recognise-norm: not at {{.*}}: it is a norm of kind rms, but {{.*}} also reads what {{.*}} computes
// CHECK-DAG: remark: recognise-norm: not at {{.*}}: it is a norm of kind rms, but its statistics are of a narrow type
// CHECK-NOT: remark
// CHECK-LABEL: func.func @used_twice
// CHECK-NOT: pinion.norm
func.func @used_twice(%x: tensor<1x3x8xf32>) -> (tensor<1x3x8xf32>, tensor<1x3x1xf32>) {
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %3 = "pinion.unary"(%2) {kind = "rsqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %4 = "pinion.binary"(%x, %3) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  return %4, %3 : tensor<1x3x8xf32>, tensor<1x3x1xf32>
}
// CHECK-LABEL: func.func @epsilon
// CHECK-NOT: pinion.norm
func.func @epsilon(%x: tensor<1x3x8xf32>, %e: tensor<f32>) -> (tensor<1x3x8xf32>, tensor<1x3x8xf32>) {
  %eps = "pinion.constant"() {value = dense<[[[1.0e-6], [2.0e-6], [3.0e-6]]]> : tensor<1x3x1xf32>} : () -> tensor<1x3x1xf32>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %2 = "pinion.binary"(%1, %e) {kind = "add"} : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %3 = "pinion.unary"(%2) {kind = "rsqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %4 = "pinion.binary"(%x, %3) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %5 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<1x3x1xf32>, tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %6 = "pinion.unary"(%5) {kind = "rsqrt"} : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %7 = "pinion.binary"(%x, %6) {kind = "mul"} : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  return %4, %7 : tensor<1x3x8xf32>, tensor<1x3x8xf32>
}
// CHECK-LABEL: func.func @narrow
// CHECK-NOT: pinion.norm
func.func @narrow(%x: tensor<1x3x8xbf16>) -> tensor<1x3x8xbf16> {
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<bf16>} : () -> tensor<bf16>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<1x3x8xbf16>, tensor<1x3x8xbf16>) -> tensor<1x3x8xbf16>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<1x3x8xbf16>) -> tensor<1x3x1xbf16>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<1x3x1xbf16>, tensor<bf16>) -> tensor<1x3x1xbf16>
  %3 = "pinion.unary"(%2) {kind = "rsqrt"} : (tensor<1x3x1xbf16>) -> tensor<1x3x1xbf16>
  %4 = "pinion.binary"(%x, %3) {kind = "mul"} : (tensor<1x3x8xbf16>, tensor<1x3x1xbf16>) -> tensor<1x3x8xbf16>
  return %4 : tensor<1x3x8xbf16>
}
// CHECK-LABEL: func.func @another_mean
// CHECK-NOT: pinion.norm
func.func @another_mean(%x: tensor<2x3x8xf32>, %z: tensor<2x3x8xf32>) -> (tensor<2x3x8xf32>, tensor<2x3x8xf32>) {
  %eps = "pinion.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %1 = "pinion.reduce"(%0) {kind = "mean", axes = array<i64: 1>, keep = true} : (tensor<2x3x8xf32>) -> tensor<2x1x8xf32>
  %2 = "pinion.binary"(%1, %eps) {kind = "add"} : (tensor<2x1x8xf32>, tensor<f32>) -> tensor<2x1x8xf32>
  %3 = "pinion.unary"(%2) {kind = "rsqrt"} : (tensor<2x1x8xf32>) -> tensor<2x1x8xf32>
  %4 = "pinion.binary"(%x, %3) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x1x8xf32>) -> tensor<2x3x8xf32>
  %5 = "pinion.binary"(%z, %z) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %6 = "pinion.reduce"(%5) {kind = "mean", axes = array<i64: 2>, keep = true} : (tensor<2x3x8xf32>) -> tensor<2x3x1xf32>
  %7 = "pinion.binary"(%6, %eps) {kind = "add"} : (tensor<2x3x1xf32>, tensor<f32>) -> tensor<2x3x1xf32>
  %8 = "pinion.unary"(%7) {kind = "rsqrt"} : (tensor<2x3x1xf32>) -> tensor<2x3x1xf32>
  %9 = "pinion.binary"(%x, %8) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x1xf32>) -> tensor<2x3x8xf32>
  return %4, %9 : tensor<2x3x8xf32>, tensor<2x3x8xf32>
}
// CHECK-LABEL: func.func @around
// CHECK: %[[N:.*]] = "pinion.norm"(%{{.*}}) {
// CHECK-NEXT: "pinion.binary"(%[[N]], %{{.*}}) {kind = "add"}
// CHECK-NEXT: %[[M:.*]] = "pinion.norm"(%{{.*}}) {
// CHECK-NEXT: "pinion.binary"(%[[M]], %{{.*}}) {kind = "mul"}
// CHECK-NEXT: %[[O:.*]] = "pinion.norm"(%{{.*}}) {
// CHECK-NEXT: "pinion.binary"(%[[O]], %{{.*}}) {kind = "mul"}
func.func @around(%x: tensor<2x3x8xf32>, %z: tensor<2x3x8xf32>, %w: tensor<8xf32>) -> (tensor<2x3x8xf32>, tensor<2x3x8xf32>, tensor<2x3x8xf32>, tensor<2x3x8xf32>) {
  %0 = "pinion.norm"(%x) {axis = 2 : i64, epsilon = 1.0e-6 : f64, kind = "rms", operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %1 = "pinion.binary"(%0, %z) {kind = "add"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %2 = "pinion.norm"(%1) {axis = 2 : i64, epsilon = 1.0e-6 : f64, kind = "rms", operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %3 = "pinion.binary"(%2, %z) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %4 = "pinion.norm"(%3) {axis = 2 : i64, epsilon = 1.0e-6 : f64, kind = "rms", operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %5 = "pinion.binary"(%4, %w) {kind = "mul"} : (tensor<2x3x8xf32>, tensor<8xf32>) -> tensor<2x3x8xf32>
  return %1, %3, %4, %5 : tensor<2x3x8xf32>, tensor<2x3x8xf32>, tensor<2x3x8xf32>, tensor<2x3x8xf32>
}
