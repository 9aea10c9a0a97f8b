// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes switched off at places, and a limit on rewrites.

// A place is found between ends and / . @: in a module's path, a node's name, any part of a fused location; not in layers.31.
// RUN: pinion opt --passes=recognise-activation --disable-pass=recognise-activation@layers.3 %s | FileCheck %s --check-prefix=PLACE
// PLACE: {kind = "silu", onnx = "elsewhere"}
// PLACE: {kind = "mul", onnx = "module"}
// PLACE: {kind = "mul", onnx = "node"}
// PLACE: {kind = "mul", onnx = "part"}

// Several places, one of them of an op that the root does not name.
// RUN: pinion opt --passes=recognise-activation --disable-pass=recognise-activation@model.layers.31 \
// RUN:   --disable-pass=recognise-activation@sigmoid_2 %s | FileCheck %s --check-prefix=SEVERAL
// SEVERAL: {kind = "mul", onnx = "elsewhere"}
// SEVERAL: {kind = "mul", onnx = "module"}
// SEVERAL: {kind = "silu", onnx = "node"}
// SEVERAL: {kind = "silu", onnx = "part"}

// Another pass is not concerned; where it would rewrite nothing, that is said.
// RUN: pinion opt --passes=recognise-activation,canonicalise --disable-pass=recognise-norm@layers.3 %s 2>&1 | FileCheck %s --check-prefix=NOTHING
// NOTHING: warning: --disable-pass=recognise-norm@layers.3: there is nothing that it would rewrite there
// NOTHING-COUNT-4: kind = "silu"

// RUN: not pinion opt --disable-pass=recognise-activation@layers.4 %s 2>&1 | FileCheck %s --check-prefix=NOWHERE
// RUN: not pinion opt --disable-pass=recognise-activation@ %s 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not pinion opt --disable-pass=recognise-activations@layers.3 %s 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not pinion opt --disable-pass=fold-constants@layers.3 %s 2>&1 | FileCheck %s --check-prefix=REQUIRED
// NOWHERE: --disable-pass=recognise-activation@layers.4: no op lies in 'layers.4'
// EMPTY: --disable-pass=recognise-activation@: a place must follow the @
// UNKNOWN: --disable-pass: there is no pass 'recognise-activations'; did you mean recognise-activation
// REQUIRED: --disable-pass: 'fold-constants' is required

// The first rewrites alone, over all passes; required passes run to their end.
// RUN: pinion opt --passes=recognise-activation,fuse-pointwise,fold-constants --rewrite-limit=3 %s 2>&1 | FileCheck %s --check-prefix=LIMIT
// LIMIT: 3 rewrites of optional passes; the last: recognise-activation at '/model/layers.3/act/Sigmoid@model.layers.3.act'
// LIMIT: {kind = "silu", onnx = "elsewhere"}
// LIMIT: {kind = "silu", onnx = "module"}
// LIMIT: {kind = "silu", onnx = "node"}
// LIMIT: {kind = "mul", onnx = "part"}
// LIMIT-NOT: "pinion.pointwise"
// LIMIT: "pinion.constant"() {value = dense<3.000000e+00> : tensor<f32>}

// RUN: pinion opt --passes=recognise-activation,fuse-pointwise --rewrite-limit=5 %s 2>&1 | FileCheck %s --check-prefix=ALL
// ALL: 5 rewrites of optional passes; the last: fuse-pointwise at
// ALL: "pinion.pointwise"
func.func @main(%x: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<f32>) {
  %0 = "pinion.unary"(%x) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32> loc("sigmoid_1@model.layers.31.act")
  %1 = "pinion.binary"(%0, %x) {kind = "mul", onnx = "elsewhere"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc("mul_1@model.layers.31.act")
  %2 = "pinion.unary"(%1) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32> loc("sigmoid_2@layers.3.act")
  %3 = "pinion.binary"(%2, %1) {kind = "mul", onnx = "module"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc("mul_2@layers.3")
  %4 = "pinion.unary"(%3) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32> loc("/model/layers.3/act/Sigmoid@model.layers.3.act")
  %5 = "pinion.binary"(%4, %3) {kind = "mul", onnx = "node"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc("/model/layers.3/act/Mul")
  %6 = "pinion.unary"(%5) {kind = "sigmoid"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %7 = "pinion.binary"(%6, %5) {kind = "mul", onnx = "part"} : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> loc(fused["a@layers.2", fused["b@layers.3", "c"]])
  %one = "pinion.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %two = "pinion.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %three = "pinion.binary"(%one, %two) {kind = "add"} : (tensor<f32>, tensor<f32>) -> tensor<f32>
  return %7, %three : tensor<2x8xf32>, tensor<f32>
}
