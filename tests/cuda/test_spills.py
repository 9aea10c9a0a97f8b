#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels that spill registers, as a stand-in for NVRTC says they do: a tile of ours is an error, one with the model's operations
in it a warning.

    test_spills.py PINION STAND_IN_NVRTC
"""
import os
import subprocess
import sys
import tempfile
import unittest

PINION, NVRTC = (os.path.abspath(word) for word in sys.argv[1:3])
LOWERING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "codegen", "lowering")
FAILED = 1


class Spills(unittest.TestCase):
    def compile(self, model, text, status):
        environment = {**os.environ, "PINION_NVRTC": NVRTC, "STAND_IN_NVRTC_SPILLS": text}
        with tempfile.TemporaryDirectory(prefix="pinion-test-") as folder:
            process = subprocess.run(
                [PINION, "compile", os.path.join(LOWERING, model), "--target=sm_90", "-o", os.path.join(folder, "artifact")],
                capture_output=True, text=True, env=environment)
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        return process.stderr

    def test_a_tile_with_the_models_operations_is_a_warning(self):
        said = self.compile("gemm.mlir", "#define PN_HAS_BODY", 0)
        self.assertRegex(said, r"warning: kernel gemm_f32_\d+, tile \w+ keeps 48 bytes of a thread's registers in memory")

    def test_a_tile_of_ours_is_an_error(self):
        self.assertIn("24 bytes spill stores", self.compile("matmul.mlir", "#define PN_TILE_M", FAILED))

    def test_what_does_not_spill_is_not_spoken_of(self):
        self.assertEqual(self.compile("gemm.mlir", "nowhere in a source", 0), "")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
