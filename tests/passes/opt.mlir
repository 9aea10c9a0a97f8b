// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What `pinion opt` itself does: dumps, names, round trips.
// RUN: rm -rf %t && mkdir %t
// RUN: pinion opt %s -o %t/once.mlir
// RUN: pinion opt %t/once.mlir -o %t/twice.mlir
// RUN: diff %t/once.mlir %t/twice.mlir

// A dump after a named pass is the module as it was then, and can be fed back in; large constants lie beside it.
// RUN: pinion opt --passes=fold-constants,eliminate-common --dump-ir-after=fold-constants --dump-ir-dir=%t/dumps %s -o %t/result.mlir
// RUN: ls %t/dumps | FileCheck %s --check-prefix=FILES
// RUN: pinion opt --passes=eliminate-common %t/dumps/001-fold-constants.mlir -o %t/resumed.mlir
// RUN: diff %t/result.mlir %t/resumed.mlir
// RUN: pinion opt --passes=canonicalise --dump-ir-after=all %s 2>&1 >/dev/null | FileCheck %s --check-prefix=STREAM
// FILES: 001-fold-constants.mlir
// FILES-NOT: 002
// FILES: sha256-
// STREAM: // ---- IR after canonicalise (1)
// STREAM: func.func @main

// A pass can be left out by name, unless it is required; a name that is none is a usage error with what was perhaps meant.
// RUN: pinion opt --passes=eliminate-common --disable-pass=eliminate-common %s | FileCheck %s --check-prefix=DISABLED
// RUN: not pinion opt --passes=canonicalize %s 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not pinion opt --disable-pass=outline-weights %s 2>&1 | FileCheck %s --check-prefix=REQUIRED
// RUN: not pinion opt --dump-ir-after=nothing %s 2>&1 | FileCheck %s --check-prefix=NO-DUMP
// DISABLED-COUNT-2: kind = "exp"
// UNKNOWN: --passes: there is no pass 'canonicalize'; did you mean canonicalise; `pinion passes` lists them
// REQUIRED: --disable-pass: 'outline-weights' is required
// NO-DUMP: --dump-ir-after: there is no pass 'nothing'
func.func @main(%x: tensor<4xf32> {pinion.name = "x"}) -> (tensor<4xf32>, tensor<4xf32>, tensor<20x16xf32>) attributes {pinion.inputs = ["x"]} {
  %0 = "pinion.unary"(%x) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32> loc("node/Exp@layers.0")
  %1 = "pinion.unary"(%x) {kind = "exp"} : (tensor<4xf32>) -> tensor<4xf32> loc(fused["a", "b"])
  %i = "pinion.constant"() {value = dense<[[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]]> : tensor<1x16xi64>} : () -> tensor<1x16xi64>
  %j = "pinion.constant"() {value = dense<[[0], [1], [2], [3], [4], [5], [6], [7], [8], [9], [10], [11], [12], [13], [14], [15], [16], [17], [18], [19]]> : tensor<20x1xi64>} : () -> tensor<20x1xi64>
  %2 = "pinion.binary"(%i, %j) {kind = "add"} : (tensor<1x16xi64>, tensor<20x1xi64>) -> tensor<20x16xi64>
  %3 = "pinion.cast"(%2) : (tensor<20x16xi64>) -> tensor<20x16xf32>
  return %0, %1, %3 : tensor<4xf32>, tensor<4xf32>, tensor<20x16xf32>
}
