// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: split-file %s %t
// RUN: pinion opt --passes=drop-masked-tokens %t/camera.mlir | FileCheck %t/camera.mlir
// RUN: pinion opt --passes=drop-masked-tokens,eliminate-dead %t/functions.mlir | FileCheck %t/functions.mlir
// RUN: pinion opt --passes=drop-masked-tokens %t/stacked_masks.mlir | FileCheck %t/stacked_masks.mlir
// RUN: pinion opt --passes=drop-masked-tokens %t/none.mlir | FileCheck %t/none.mlir
// RUN: not pinion opt --passes=drop-masked-tokens %t/unknown.mlir 2>&1 | FileCheck %t/unknown.mlir
// RUN: not pinion opt --passes=drop-masked-tokens %t/no_image.mlir 2>&1 | FileCheck %t/no_image.mlir
// RUN: not pinion opt --passes=drop-masked-tokens %t/seen.mlir 2>&1 | FileCheck %t/seen.mlir
// RUN: not pinion opt --passes=drop-masked-tokens %t/two_masks.mlir 2>&1 | FileCheck %t/two_masks.mlir
// RUN: not pinion opt --passes=drop-masked-tokens %t/one_mask.mlir 2>&1 | FileCheck %t/one_mask.mlir

//--- camera.mlir
// The second of two cameras: its image, its mask, its two tokens of five, and the positions that they do not count in.
// What every token has of its own (the table's rows) is cut where it is read.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[A:.*]]: tensor<1x1x2x3xf32> {pinion.name = "a"}{{.*}}, %[[AM:.*]]: tensor<1xi1> {pinion.name = "a_mask"}{{.*}}, %[[T:.*]]: tensor<1x1x3xf32> {pinion.name = "t"}{{.*}}) -> tensor<1x1x1x3xf32>
// CHECK-SAME: pinion.inputs = ["a", "a_mask", "t"]
// CHECK: %[[VALID:.*]] = "pinion.concat"(%{{.*}}, %{{.*}}) {axis = 1 : i64} : (tensor<1x2xi1>, tensor<1x1xi1>) -> tensor<1x3xi1>
// CHECK: %[[TOKENS:.*]] = "pinion.concat"(%{{.*}}, %{{.*}}) {axis = 1 : i64} : (tensor<1x2x3xf32>, tensor<1x1x3xf32>) -> tensor<1x3x3xf32>
// CHECK: "pinion.cumsum"(%{{.*}}) {{.*}} : (tensor<1x3xi64>) -> tensor<1x3xi64>
// CHECK: %[[TABLE:.*]] = "pinion.constant"() {{.*}} tensor<5x3xf32>
// CHECK: %[[FIRST:.*]] = "pinion.slice"(%[[TABLE]]) {starts = array<i64: 0, 0>, steps = array<i64: 1, 1>} : (tensor<5x3xf32>) -> tensor<2x3xf32>
// CHECK: %[[LAST:.*]] = "pinion.slice"(%[[TABLE]]) {starts = array<i64: 4, 0>, steps = array<i64: 1, 1>} : (tensor<5x3xf32>) -> tensor<1x3xf32>
// CHECK: "pinion.concat"(%[[FIRST]], %[[LAST]]) {axis = 0 : i64}
// CHECK: "pinion.attention"({{.*}}) {{.*}} : (tensor<1x1x3x3xf32>, tensor<1x1x3x3xf32>, tensor<1x1x3x3xf32>, tensor<1x3x3xi1>) -> tensor<1x1x3x3xf32>
// CHECK: "pinion.attention"({{.*}}) {{.*}} : (tensor<1x1x1x3xf32>, tensor<1x1x3x3xf32>, tensor<1x1x3x3xf32>, tensor<1x1x1x3xi1>) -> tensor<1x1x1x3xf32>
// CHECK-NOT: 5x
module attributes {pinion.absent_cameras = ["b"]} {
func.func @main(%a: tensor<1x1x2x3xf32> {pinion.name = "a"}, %b: tensor<1x1x2x3xf32> {pinion.name = "b"}, %am: tensor<1xi1> {pinion.name = "a_mask"}, %bm: tensor<1xi1> {pinion.name = "b_mask"}, %t: tensor<1x1x3xf32> {pinion.name = "t"}) -> tensor<1x1x1x3xf32> attributes {pinion.inputs = ["a", "b", "a_mask", "b_mask", "t"], pinion.outputs = ["y"]} {
  %at = "pinion.reshape"(%a) : (tensor<1x1x2x3xf32>) -> tensor<1x2x3xf32>
  %bt = "pinion.reshape"(%b) : (tensor<1x1x2x3xf32>) -> tensor<1x2x3xf32>
  %av = "pinion.broadcast"(%am) : (tensor<1xi1>) -> tensor<1x2xi1>
  %bv = "pinion.broadcast"(%bm) : (tensor<1xi1>) -> tensor<1x2xi1>
  %tv = "pinion.constant"() {value = dense<true> : tensor<1x1xi1>} : () -> tensor<1x1xi1>
  %valid = "pinion.concat"(%av, %bv, %tv) {axis = 1 : i64} : (tensor<1x2xi1>, tensor<1x2xi1>, tensor<1x1xi1>) -> tensor<1x5xi1>
  %tokens = "pinion.concat"(%at, %bt, %t) {axis = 1 : i64} : (tensor<1x2x3xf32>, tensor<1x2x3xf32>, tensor<1x1x3xf32>) -> tensor<1x5x3xf32>
  %number = "pinion.cast"(%valid) : (tensor<1x5xi1>) -> tensor<1x5xi64>
  %sum = "pinion.cumsum"(%number) {axis = 1 : i64, exclusive = false, reverse = false} : (tensor<1x5xi64>) -> tensor<1x5xi64>
  %position = "pinion.cast"(%sum) : (tensor<1x5xi64>) -> tensor<1x5xf32>
  %column = "pinion.reshape"(%position) : (tensor<1x5xf32>) -> tensor<1x5x1xf32>
  %table = "pinion.constant"() {value = dense<[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [1.0, 1.1, 1.2], [1.3, 1.4, 1.5]]> : tensor<5x3xf32>} : () -> tensor<5x3xf32>
  %placed = "pinion.binary"(%tokens, %column) {kind = "add"} : (tensor<1x5x3xf32>, tensor<1x5x1xf32>) -> tensor<1x5x3xf32>
  %moved = "pinion.binary"(%placed, %table) {kind = "add"} : (tensor<1x5x3xf32>, tensor<5x3xf32>) -> tensor<1x5x3xf32>
  %x = "pinion.reshape"(%moved) : (tensor<1x5x3xf32>) -> tensor<1x1x5x3xf32>
  %row = "pinion.reshape"(%valid) : (tensor<1x5xi1>) -> tensor<1x5x1xi1>
  %both = "pinion.binary"(%valid, %row) {kind = "and"} : (tensor<1x5xi1>, tensor<1x5x1xi1>) -> tensor<1x5x5xi1>
  %h = "pinion.attention"(%x, %x, %x, %both) {scale = 0.5 : f64, causal = false} : (tensor<1x1x5x3xf32>, tensor<1x1x5x3xf32>, tensor<1x1x5x3xf32>, tensor<1x5x5xi1>) -> tensor<1x1x5x3xf32>
  %q = "pinion.reshape"(%t) : (tensor<1x1x3xf32>) -> tensor<1x1x1x3xf32>
  %keys = "pinion.reshape"(%valid) : (tensor<1x5xi1>) -> tensor<1x1x1x5xi1>
  %y = "pinion.attention"(%q, %h, %h, %keys) {scale = 0.5 : f64, causal = false} : (tensor<1x1x1x3xf32>, tensor<1x1x5x3xf32>, tensor<1x1x5x3xf32>, tensor<1x1x1x5xi1>) -> tensor<1x1x1x3xf32>
  return %y : tensor<1x1x1x3xf32>
}
}

//--- functions.mlir
// Across functions, the tower called once per camera stays for the other; the cache and the steps' masks shrink. Of a batch
// of two rows, each has a mask of its own.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[A:.*]]: tensor<2x1x2x3xf32>{{.*}}, %[[AM:.*]]: tensor<2xi1>{{.*}}, %[[N:.*]]: tensor<2x1x1x3xf32>
// CHECK-COUNT-1: call @vision(%[[A]])
// CHECK-NOT: call @vision
// CHECK: call @prefix({{.*}}) : {{.*}} -> (tensor<2x1x2x3xf32>, tensor<2x1x1x3xf32>)
// CHECK: "pinion.steps"({{.*}}) {callee = @step, {{.*}}} : (tensor<2x1x1x3xf32>, tensor<2x1x2x3xf32>, tensor<2x1x1x3xf32>)
// CHECK: func.func private @vision(%{{.*}}: tensor<2x1x2x3xf32>
// CHECK: func.func private @step
// CHECK: "pinion.concat"({{.*}}) {axis = 2 : i64} : (tensor<2x1x2x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x1x3x3xf32>
// CHECK: "pinion.attention"({{.*}}) {{.*}} : (tensor<2x1x1x3xf32>, tensor<2x1x3x3xf32>, tensor<2x1x3x3xf32>, tensor<2x1x1x3xf32>)
module attributes {pinion.absent_cameras = ["b"]} {
func.func @main(%a: tensor<2x1x2x3xf32> {pinion.name = "a"}, %b: tensor<2x1x2x3xf32> {pinion.name = "b"}, %am: tensor<2xi1> {pinion.name = "a_mask"}, %bm: tensor<2xi1> {pinion.name = "b_mask"}, %n: tensor<2x1x1x3xf32> {pinion.name = "n"}) -> tensor<2x1x1x3xf32> attributes {pinion.inputs = ["a", "b", "a_mask", "b_mask", "n"], pinion.outputs = ["y"]} {
  %at = func.call @vision(%a) : (tensor<2x1x2x3xf32>) -> tensor<2x2x3xf32>
  %bt = func.call @vision(%b) : (tensor<2x1x2x3xf32>) -> tensor<2x2x3xf32>
  %p:2 = func.call @prefix(%bt, %bm, %at, %am) : (tensor<2x2x3xf32>, tensor<2xi1>, tensor<2x2x3xf32>, tensor<2xi1>) -> (tensor<2x1x4x3xf32>, tensor<2x1x1x5xf32>)
  %y = "pinion.steps"(%n, %p#0, %p#1) {callee = @step, count = 3 : i64, tables = 0 : i64} : (tensor<2x1x1x3xf32>, tensor<2x1x4x3xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x1x3xf32>
  return %y : tensor<2x1x1x3xf32>
}
func.func private @vision(%image: tensor<2x1x2x3xf32>) -> tensor<2x2x3xf32> {
  %tokens = "pinion.reshape"(%image) : (tensor<2x1x2x3xf32>) -> tensor<2x2x3xf32>
  %y = "pinion.unary"(%tokens) {kind = "tanh"} : (tensor<2x2x3xf32>) -> tensor<2x2x3xf32>
  return %y : tensor<2x2x3xf32>
}
func.func private @prefix(%bt: tensor<2x2x3xf32>, %bm: tensor<2xi1>, %at: tensor<2x2x3xf32>, %am: tensor<2xi1>) -> (tensor<2x1x4x3xf32>, tensor<2x1x1x5xf32>) {
  %tokens = "pinion.concat"(%bt, %at) {axis = 1 : i64} : (tensor<2x2x3xf32>, tensor<2x2x3xf32>) -> tensor<2x4x3xf32>
  %k = "pinion.reshape"(%tokens) : (tensor<2x4x3xf32>) -> tensor<2x1x4x3xf32>
  %bc = "pinion.reshape"(%bm) : (tensor<2xi1>) -> tensor<2x1xi1>
  %bv = "pinion.broadcast"(%bc) : (tensor<2x1xi1>) -> tensor<2x2xi1>
  %ac = "pinion.reshape"(%am) : (tensor<2xi1>) -> tensor<2x1xi1>
  %av = "pinion.broadcast"(%ac) : (tensor<2x1xi1>) -> tensor<2x2xi1>
  %own = "pinion.constant"() {value = dense<true> : tensor<2x1xi1>} : () -> tensor<2x1xi1>
  %valid = "pinion.concat"(%bv, %av, %own) {axis = 1 : i64} : (tensor<2x2xi1>, tensor<2x2xi1>, tensor<2x1xi1>) -> tensor<2x5xi1>
  %rows = "pinion.reshape"(%valid) : (tensor<2x5xi1>) -> tensor<2x1x1x5xi1>
  %zero = "pinion.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = "pinion.constant"() {value = dense<-2.38197633E+38> : tensor<f32>} : () -> tensor<f32>
  %mask = "pinion.select"(%rows, %zero, %low) : (tensor<2x1x1x5xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x1x5xf32>
  return %k, %mask : tensor<2x1x4x3xf32>, tensor<2x1x1x5xf32>
}
func.func private @step(%x: tensor<2x1x1x3xf32>, %k: tensor<2x1x4x3xf32>, %mask: tensor<2x1x1x5xf32>) -> tensor<2x1x1x3xf32> {
  %keys = "pinion.concat"(%k, %x) {axis = 2 : i64} : (tensor<2x1x4x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x1x5x3xf32>
  %y = "pinion.attention"(%x, %keys, %keys, %mask) {scale = 0.5 : f64, causal = false} : (tensor<2x1x1x3xf32>, tensor<2x1x5x3xf32>, tensor<2x1x5x3xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x1x3xf32>
  return %y : tensor<2x1x1x3xf32>
}
}

//--- stacked_masks.mlir
// One input holds the masks of all cameras: it stays, for the other one.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[A:.*]]: tensor<1x1x2x3xf32>{{.*}}, %[[M:.*]]: tensor<1x2xi1> {pinion.name = "masks"}{{.*}}, %[[Q:.*]]: tensor<1x1x1x3xf32>
// CHECK: "pinion.attention"(%[[Q]], %{{.*}}) {{.*}} : (tensor<1x1x1x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x1x2xi1>)
module attributes {pinion.absent_cameras = ["b"]} {
func.func @main(%a: tensor<1x1x2x3xf32> {pinion.name = "a"}, %b: tensor<1x1x2x3xf32> {pinion.name = "b"}, %m: tensor<1x2xi1> {pinion.name = "masks"}, %q: tensor<1x1x1x3xf32> {pinion.name = "q"}) -> tensor<1x1x1x3xf32> attributes {pinion.inputs = ["a", "b", "masks", "q"], pinion.outputs = ["y"]} {
  %k = "pinion.concat"(%a, %b) {axis = 2 : i64} : (tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>) -> tensor<1x1x4x3xf32>
  %column = "pinion.reshape"(%m) : (tensor<1x2xi1>) -> tensor<2x1xi1>
  %tokens = "pinion.broadcast"(%column) : (tensor<2x1xi1>) -> tensor<2x2xi1>
  %keys = "pinion.reshape"(%tokens) : (tensor<2x2xi1>) -> tensor<1x1x1x4xi1>
  %y = "pinion.attention"(%q, %k, %k, %keys) {scale = 0.5 : f64, causal = false} : (tensor<1x1x1x3xf32>, tensor<1x1x4x3xf32>, tensor<1x1x4x3xf32>, tensor<1x1x1x4xi1>) -> tensor<1x1x1x3xf32>
  return %y : tensor<1x1x1x3xf32>
}
}

//--- none.mlir
// Must not fire: no camera is declared absent.
// CHECK: func.func @main(%{{.*}}: tensor<1x1x2x3xf32>{{.*}}, %{{.*}}: tensor<1xi1>
// CHECK: "pinion.attention"({{.*}}) {{.*}} tensor<1x1x1x2xi1>)
func.func @main(%a: tensor<1x1x2x3xf32>, %m: tensor<1xi1>, %q: tensor<1x1x1x3xf32>) -> tensor<1x1x1x3xf32> attributes {pinion.inputs = ["a", "m", "q"], pinion.outputs = ["y"]} {
  %v = "pinion.broadcast"(%m) : (tensor<1xi1>) -> tensor<1x1x1x2xi1>
  %y = "pinion.attention"(%q, %a, %a, %v) {scale = 0.5 : f64, causal = false} : (tensor<1x1x1x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x1x2xi1>) -> tensor<1x1x1x3xf32>
  return %y : tensor<1x1x1x3xf32>
}

//--- unknown.mlir
// CHECK: absent camera: there is no input 'wrist'; images: a
module attributes {pinion.absent_cameras = ["wrist"]} {
func.func @main(%a: tensor<1x1x2x3xf32>, %t: tensor<1x3xf32>) -> tensor<1x1x2x3xf32> attributes {pinion.inputs = ["a", "t"], pinion.outputs = ["y"]} {
  return %a : tensor<1x1x2x3xf32>
}
}

//--- no_image.mlir
// CHECK: absent camera: input 't' is no image, a float tensor [batch, channels, height, width]; images: a
module attributes {pinion.absent_cameras = ["t"]} {
func.func @main(%a: tensor<1x1x2x3xf32>, %t: tensor<1x3xf32>) -> tensor<1x1x2x3xf32> attributes {pinion.inputs = ["a", "t"], pinion.outputs = ["y"]} {
  return %a : tensor<1x1x2x3xf32>
}
}

//--- seen.mlir
// The mask hides the image from the attention; yet another op reads it.
// CHECK: absent camera: no bool input is found that hides 'a' from every output
module attributes {pinion.absent_cameras = ["a"]} {
func.func @main(%a: tensor<1x1x2x3xf32>, %m: tensor<1xi1>, %q: tensor<1x1x1x3xf32>) -> (tensor<1x1x1x3xf32>, tensor<1x1x1x1xf32>) attributes {pinion.inputs = ["a", "m", "q"], pinion.outputs = ["y", "z"]} {
  %v = "pinion.broadcast"(%m) : (tensor<1xi1>) -> tensor<1x1x1x2xi1>
  %y = "pinion.attention"(%q, %a, %a, %v) {scale = 0.5 : f64, causal = false} : (tensor<1x1x1x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x1x2xi1>) -> tensor<1x1x1x3xf32>
  %z = "pinion.reduce"(%a) {kind = "mean", axes = array<i64: 2, 3>, keep = true} : (tensor<1x1x2x3xf32>) -> tensor<1x1x1x1xf32>
  return %y, %z : tensor<1x1x1x3xf32>, tensor<1x1x1x1xf32>
}
}

//--- two_masks.mlir
// CHECK: absent camera: either of the inputs 'm' and 'n' hides 'a': which one is its mask is not clear
module attributes {pinion.absent_cameras = ["a"]} {
func.func @main(%a: tensor<1x1x2x3xf32>, %m: tensor<1xi1>, %n: tensor<1xi1>, %q: tensor<1x1x1x3xf32>) -> tensor<1x1x1x3xf32> attributes {pinion.inputs = ["a", "m", "n", "q"], pinion.outputs = ["y"]} {
  %both = "pinion.binary"(%m, %n) {kind = "and"} : (tensor<1xi1>, tensor<1xi1>) -> tensor<1xi1>
  %v = "pinion.broadcast"(%both) : (tensor<1xi1>) -> tensor<1x1x1x2xi1>
  %y = "pinion.attention"(%q, %a, %a, %v) {scale = 0.5 : f64, causal = false} : (tensor<1x1x1x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>, tensor<1x1x1x2xi1>) -> tensor<1x1x1x3xf32>
  return %y : tensor<1x1x1x3xf32>
}
}

//--- one_mask.mlir
// CHECK: absent camera: without it 'b' is not seen either: their masks are one; name both
module attributes {pinion.absent_cameras = ["a"]} {
func.func @main(%a: tensor<1x1x2x3xf32>, %b: tensor<1x1x2x3xf32>, %m: tensor<1xi1>, %q: tensor<1x1x1x3xf32>) -> tensor<1x1x1x3xf32> attributes {pinion.inputs = ["a", "b", "m", "q"], pinion.outputs = ["y"]} {
  %k = "pinion.concat"(%a, %b) {axis = 2 : i64} : (tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>) -> tensor<1x1x4x3xf32>
  %v = "pinion.broadcast"(%m) : (tensor<1xi1>) -> tensor<1x1x1x4xi1>
  %y = "pinion.attention"(%q, %k, %k, %v) {scale = 0.5 : f64, causal = false} : (tensor<1x1x1x3xf32>, tensor<1x1x4x3xf32>, tensor<1x1x4x3xf32>, tensor<1x1x1x4xi1>) -> tensor<1x1x1x3xf32>
  return %y : tensor<1x1x1x3xf32>
}
}
