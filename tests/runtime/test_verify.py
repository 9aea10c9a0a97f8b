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
        found = re.search(r"survive: (\d+), of (\d+) launches; (\d+) compared, (\d+) of them within", said)
        return [int(count) for count in found.groups()]

    def test_outputs_and_surviving_tensors_agree(self):
        said = self.verify("--inputs=" + os.path.join(self.folder, "cases", "0", "inputs"))
        self.assertIn("minus 'noise'", said)
        tensors, launches, compared, within = self.survivors(said)
        self.assertEqual([compared, within], [tensors, tensors])
        self.assertGreater(tensors, launches)  # of three cameras and two steps
        self.assertNotIn("grows", said)

    def test_what_no_output_can_see_is_left_out(self):
        padded = "--inputs=" + os.path.join(self.folder, "cases", "0", "inputs")  # its prompt is shorter than the longest
        self.assertRegex(self.verify(padded), r"without what no output can see: parts of [1-9]\d* tensors")

    def test_tensors_that_do_not_fit_into_memory_are_counted(self):
        said = self.verify("--memory=0")
        self.assertEqual(self.survivors(said)[2], 0)
        self.assertIn("did not fit into --memory", said)

    def test_random_inputs_of_any_seed_agree(self):
        for seed in range(3):
            self.verify(f"--seed={seed}", "--outputs-only")

    def test_each_precision_is_taken(self):
        for precision in ("as-typed", "float32", "float64"):
            self.assertIn("in " + precision, self.verify("--precision=" + precision, "--outputs-only"))
        self.verify("--precision=float16", status=USAGE)

    def damaged_copy(self, stage, names):
        """An artifact of which one weight has other values: of the stage's last gemm whose result is a value of the model, or one for
        each of several names. Returns its folder, the launch and the values' names."""
        copy = os.path.join(WORK, "damaged")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.artifact, copy)
        with open(os.path.join(copy, "manifest.json")) as file:
            manifest = json.load(file)
        index = next(i for i, found in enumerate(manifest["stages"]) if found["name"] == stage)
        gemm = [launch for launch in manifest["launches"] if launch["family"] == "gemm" and launch["stage"] == index
                and any(len(value["onnx"]) == names for value in launch.get("values", []))][-1]
        weight = next(manifest["buffers"][i] for i in gemm["arguments"] if manifest["buffers"][i].get("layout") == "packed")
        with open(os.path.join(copy, "weights.bin"), "r+b") as file:
            file.seek(weight["offset"])
            file.write(struct.pack("<8f", *[3.0] * 8))
        return copy, gemm["index"], [name for value in gemm["values"] for name in value["onnx"]]

    def check_damage(self, stage, names):
        """Returns the lines about tensors, as words, and the names of the damaged launch's values."""
        copy, launch, values = self.damaged_copy(stage, names)
        said = self.verify(artifact=copy, status=MISMATCH)
        self.assertIn("BEYOND TOLERANCE", said)
        _, _, compared, within = self.survivors(said)
        self.assertLess(within, compared)
        lines = [line.split() for line in said.splitlines() if line.startswith("  launch")]
        self.assertEqual(lines[0][:2], ["launch", str(launch)])
        grown = re.search(r"the error first grows at launch (\d+)( step \d+)?: from (\S+) to (\S+)  (\S+)", said)
        self.assertEqual([grown[1], grown[2]], [str(launch), None])
        self.assertIn(grown[5], values)
        self.assertLess(float(grown[3]), 1e-5)
        return lines, values

    def test_a_changed_weight_exits_5_and_the_error_grows_where_it_is_multiplied(self):
        self.check_damage("prefix", 1)

    def test_each_cameras_tensors_are_compared_in_a_batched_tower(self):
        lines, values = self.check_damage("vision", 3)
        self.assertEqual({line[-1] for line in lines if line[1] == lines[0][1]}, set(values))

    def test_each_steps_tensors_are_compared_in_a_repeated_stage(self):
        lines, values = self.check_damage("step", 2)
        self.assertIn(lines[0][-1], values)
        self.assertIn(["step", "1"], [line[2:4] for line in lines])

    def test_another_models_artifact_is_refused(self):
        _, model = unpack("pi0_opset18_batch2")
        said = self.verify(model=model, status=MISMATCH)
        self.assertIn("another model", said)
        self.assertIn("the artifact says", said)
        self.assertNotIn("--shapes", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
