// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=recognise-activation %t/fires.mlir | FileCheck %t/fires.mlir
// RUN: pinion opt --passes=recognise-activation %t/bf16.mlir | FileCheck %t/bf16.mlir
// RUN: pinion opt --passes=recognise-activation --remarks %t/stays.mlir 2>&1 | FileCheck %t/stays.mlir

//--- fires.mlir
// x x x through two products; x * (0.5 * (1 + tanh)) with Pow(x, 3); x * (1 + c x x) inside of tanh, and 0.5 * x first; erf of a
// quotient and of a product; the gate of an MLP keeps its product.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x8xf32>
// CHECK: %[[A:.*]] = "pinion.unary"(%[[X]]) {kind = "gelu_tanh", onnx = "gelu"} {{.*}}loc(#[[LOC:.*]])
// CHECK-NEXT: %[[B:.*]] = "pinion.unary"(%[[A]]) {kind = "gelu_tanh"}
// CHECK-NEXT: %[[C:.*]] = "pinion.unary"(%[[B]]) {kind = "gelu_tanh"}
// CHECK-NEXT: %[[D:.*]] = "pinion.unary"(%[[C]]) {kind = "gelu_erf"}
// CHECK-NEXT: %[[E:.*]] = "pinion.unary"(%[[D]]) {kind = "gelu_erf"}
// CHECK-NEXT: %[[F:.*]] = "pinion.unary"(%[[E]]) {kind = "silu"}
// CHECK-NEXT: %[[G:.*]] = "pinion.binary"(%[[F]], %[[X]]) {kind = "mul"}
// CHECK-NEXT: return %[[G]]
// CHECK: #[[LOC]] = loc(fused[
func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %cubic = "pinion.constant"() {value = dense<0.044715> : tensor<f32>} : () -> tensor<f32>
  %root = "pinion.constant"() {value = dense<0.7978845608> : tensor<f32>} : () -> tensor<f32>
  %half = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %three = "pinion.constant"() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %sqrt2 = "pinion.constant"() {value = dense<1.41421356> : tensor<f32>} : () -> tensor<f32>
  %rsqrt2 = "pinion.constant"() {value = dense<0.70710678> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %x) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc("square")
  %1 = "pinion.binary"(%0, %x) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = "pinion.binary"(%1, %cubic) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %3 = "pinion.binary"(%x, %2) {kind = "add"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %4 = "pinion.binary"(%3, %root) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %5 = "pinion.unary"(%4) {kind = "tanh"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %6 = "pinion.binary"(%5, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %7 = "pinion.binary"(%x, %6) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %8 = "pinion.binary"(%7, %half) {kind = "mul", onnx = "gelu"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32> loc("last")
  %9 = "pinion.binary"(%8, %three) {kind = "pow"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %10 = "pinion.binary"(%9, %cubic) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %11 = "pinion.binary"(%10, %8) {kind = "add"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %12 = "pinion.binary"(%root, %11) {kind = "mul"} : (tensor<f32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %13 = "pinion.unary"(%12) {kind = "tanh"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %14 = "pinion.binary"(%one, %13) {kind = "add"} : (tensor<f32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %15 = "pinion.binary"(%14, %half) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %16 = "pinion.binary"(%8, %15) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %17 = "pinion.binary"(%16, %half) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %18 = "pinion.binary"(%16, %root) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %19 = "pinion.binary"(%16, %cubic) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %20 = "pinion.binary"(%19, %16) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %21 = "pinion.binary"(%20, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %22 = "pinion.binary"(%18, %21) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %23 = "pinion.unary"(%22) {kind = "tanh"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %24 = "pinion.binary"(%23, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %25 = "pinion.binary"(%17, %24) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %26 = "pinion.binary"(%25, %sqrt2) {kind = "div"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %27 = "pinion.unary"(%26) {kind = "erf"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %28 = "pinion.binary"(%27, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %29 = "pinion.binary"(%25, %28) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %30 = "pinion.binary"(%29, %half) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %31 = "pinion.binary"(%30, %rsqrt2) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %32 = "pinion.unary"(%31) {kind = "erf"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %33 = "pinion.binary"(%32, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %34 = "pinion.binary"(%half, %30) {kind = "mul"} : (tensor<f32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %35 = "pinion.binary"(%34, %33) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %36 = "pinion.unary"(%35) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %37 = "pinion.binary"(%36, %35) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %38 = "pinion.binary"(%37, %x) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %38 : tensor<2x8xf32>
}

//--- bf16.mlir
// The numbers of a bf16 export are the true ones, rounded.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x8xbf16>
// CHECK-NEXT: %[[Y:.*]] = "pinion.unary"(%[[X]]) {kind = "gelu_tanh"}
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<2x8xbf16>) -> tensor<2x8xbf16> {
  %cubic = "pinion.constant"() {value = dense<0.04467773> : tensor<bf16>} : () -> tensor<bf16>
  %root = "pinion.constant"() {value = dense<0.796875> : tensor<bf16>} : () -> tensor<bf16>
  %half = "pinion.constant"() {value = dense<0.5> : tensor<bf16>} : () -> tensor<bf16>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<bf16>} : () -> tensor<bf16>
  %three = "pinion.constant"() {value = dense<3.0> : tensor<bf16>} : () -> tensor<bf16>
  %0 = "pinion.binary"(%x, %three) {kind = "pow"} : (tensor<2x8xbf16>, tensor<bf16>) -> tensor<2x8xbf16>
  %1 = "pinion.binary"(%0, %cubic) {kind = "mul"} : (tensor<2x8xbf16>, tensor<bf16>) -> tensor<2x8xbf16>
  %2 = "pinion.binary"(%x, %1) {kind = "add"} : (tensor<2x8xbf16>, tensor<2x8xbf16>) -> tensor<2x8xbf16>
  %3 = "pinion.binary"(%2, %root) {kind = "mul"} : (tensor<2x8xbf16>, tensor<bf16>) -> tensor<2x8xbf16>
  %4 = "pinion.unary"(%3) {kind = "tanh"} : (tensor<2x8xbf16>) -> tensor<2x8xbf16>
  %5 = "pinion.binary"(%4, %one) {kind = "add"} : (tensor<2x8xbf16>, tensor<bf16>) -> tensor<2x8xbf16>
  %6 = "pinion.binary"(%5, %half) {kind = "mul"} : (tensor<2x8xbf16>, tensor<bf16>) -> tensor<2x8xbf16>
  %7 = "pinion.binary"(%x, %6) {kind = "mul"} : (tensor<2x8xbf16>, tensor<2x8xbf16>) -> tensor<2x8xbf16>
  return %7 : tensor<2x8xbf16>
}

//--- stays.mlir
// Must not fire: a float32 graph with bf16's number for sqrt(2/pi); another op reads the tanh; the sigmoid of something
// else; half of it is missing; a number where a tensor of several is.
// CHECK: remark: recognise-activation: not at {{.*}}: it is a gelu_erf, but {{.*}} also reads what {{.*}} computes
// CHECK-NOT: remark
// CHECK-LABEL: func.func @main
// CHECK-NOT: gelu
// CHECK-NOT: silu
func.func @main(%x: tensor<2x8xf32>, %z: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) {
  %cubic = "pinion.constant"() {value = dense<0.044715> : tensor<f32>} : () -> tensor<f32>
  %root = "pinion.constant"() {value = dense<0.796875> : tensor<f32>} : () -> tensor<f32>
  %half = "pinion.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %three = "pinion.constant"() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %rsqrt2 = "pinion.constant"() {value = dense<0.70710678> : tensor<f32>} : () -> tensor<f32>
  %0 = "pinion.binary"(%x, %three) {kind = "pow"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %1 = "pinion.binary"(%0, %cubic) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %2 = "pinion.binary"(%x, %1) {kind = "add"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %3 = "pinion.binary"(%2, %root) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %4 = "pinion.unary"(%3) {kind = "tanh"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %5 = "pinion.binary"(%4, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %6 = "pinion.binary"(%5, %half) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %7 = "pinion.binary"(%x, %6) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %8 = "pinion.binary"(%x, %rsqrt2) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %9 = "pinion.unary"(%8) {kind = "erf"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %10 = "pinion.binary"(%9, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %11 = "pinion.binary"(%x, %10) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %12 = "pinion.binary"(%11, %half) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %13 = "pinion.unary"(%z) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %14 = "pinion.binary"(%x, %13) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %15 = "pinion.binary"(%z, %rsqrt2) {kind = "mul"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %16 = "pinion.unary"(%15) {kind = "erf"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %17 = "pinion.binary"(%16, %one) {kind = "add"} : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %18 = "pinion.binary"(%z, %17) {kind = "mul"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %7, %9, %12, %14, %18 : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}
