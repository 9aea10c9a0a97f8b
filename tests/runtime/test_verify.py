#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`pinion verify` on a committed policy: it agrees, and it says so when it does not. Needs Python, make and a C compiler.

    test_verify.py PINION FIXTURES WORK
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import unittest

PINION, FIXTURES, WORK = (os.path.abspath(word) for word in sys.argv[1:4])
UNPACK = os.path.join(FIXTURES, "..", "..", "tools", "export", "unpack_fixture.py")
USAGE, MISMATCH = 2, 5


def unpack(name):
    folder = os.path.join(WORK, name)
    subprocess.run([sys.executable, UNPACK, os.path.join(FIXTURES, name), folder], check=True)
    return folder, os.path.join(folder, "model.onnx")


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(WORK, ignore_errors=True)
        os.makedirs(WORK)
        cls.folder, cls.model = unpack("pi0_small_2_steps")
        cls.artifact = os.path.join(cls.folder, "artifact")
        subprocess.run([PINION, "compile", cls.model, "--target=cpu", "-o", cls.artifact], check=True)
        subprocess.run(["make", "-s", "-j2", "-C", cls.artifact, "CFLAGS=-O1", "libmodel.so"], check=True)

    def verify(self, *words, status=0, model=None, artifact=None):
        command = [PINION, "verify", model or self.model, artifact or self.artifact, *words]
        process = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        return process.stdout + process.stderr

    def survivors(self, said):
        found = re.search(r"(\d+) buffers of (\d+) launches; (\d+) compared, (\d+) of them within", said)
        return [int(count) for count in found.groups()]

    def test_outputs_and_surviving_tensors_agree(self):
        said = self.verify("--inputs=" + os.path.join(self.folder, "cases", "0", "inputs"))
        self.assertIn("minus 'noise'", said)
        buffers, launches, compared, within = self.survivors(said)
        self.assertEqual(compared, within)
        self.assertGreater(compared, buffers // 2)
        self.assertGreater(launches, 50)

    def test_random_inputs_of_any_seed_agree(self):
        for seed in range(3):
            self.verify(f"--seed={seed}", "--outputs-only")

    def test_each_precision_is_taken(self):
        for precision in ("as-typed", "float32", "float64"):
            self.assertIn("in " + precision, self.verify("--precision=" + precision, "--outputs-only"))
        self.verify("--precision=float16", status=USAGE)

    def damaged_copy(self):
        """An artifact of which one weight has another value: that of a gemm that stands for one linear layer of the model alone, so
        that its result is a value of the model (joined projections and batched towers have none of their own)."""
        copy = os.path.join(WORK, "damaged")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.artifact, copy)
        with open(os.path.join(copy, "manifest.json")) as file:
            manifest = json.load(file)
        names = [row[0] for row in manifest["onnx"]["nodes"]]
        gemm = next(launch for launch in manifest["launches"]
                    if launch["family"] == "gemm" and sum("linear" in names[node] for node in launch["nodes"]) == 1)
        weight = next(manifest["buffers"][index] for index in gemm["arguments"]
                      if manifest["buffers"][index]["space"] == "weights" and len(manifest["buffers"][index]["shape"]) == 4)
        with open(os.path.join(copy, "weights.bin"), "r+b") as file:
            file.seek(weight["offset"])
            file.write(struct.pack("<8f", *[3.0] * 8))
        return copy, [names[node] for node in gemm["nodes"]]

    def test_a_changed_weight_exits_5_and_the_first_tensor_named_is_the_one_it_makes(self):
        copy, nodes = self.damaged_copy()
        said = self.verify(artifact=copy, status=MISMATCH)
        self.assertIn("BEYOND TOLERANCE", said)
        _, _, compared, within = self.survivors(said)
        self.assertLess(within, compared)
        first = next(line for line in said.splitlines() if line.startswith("  launch"))
        self.assertTrue(any(f" {node}@" in first for node in nodes), first)

    def test_another_models_artifact_is_refused(self):
        _, model = unpack("pi0_opset18_batch2")
        said = self.verify(model=model, status=MISMATCH)
        self.assertIn("another model", said)
        self.assertIn("the artifact says", said)
        self.assertNotIn("--shapes", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
