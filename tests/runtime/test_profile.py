#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`pinion profile` on a committed policy: every launch of the call has its time, and the tables add up to it. Needs
Python, make and a C compiler.

    test_profile.py PINION FIXTURES WORK
"""
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

PINION, FIXTURES, WORK = (os.path.abspath(word) for word in sys.argv[1:4])
UNPACK = os.path.join(FIXTURES, "..", "..", "tools", "export", "unpack_fixture.py")
BAD_INPUT = 3


class Profile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(WORK, ignore_errors=True)
        os.makedirs(WORK)
        folder = os.path.join(WORK, "pi0_small_2_steps")
        subprocess.run([sys.executable, UNPACK, os.path.join(FIXTURES, "pi0_small_2_steps"), folder], check=True)
        cls.artifact = os.path.join(folder, "artifact")
        subprocess.run([PINION, "compile", os.path.join(folder, "model.onnx"), "-o", cls.artifact], check=True)
        subprocess.run(["make", "-s", "-j2", "-C", cls.artifact, "CFLAGS=-O1", "libmodel.so"], check=True)
        with open(os.path.join(cls.artifact, "manifest.json")) as file:
            cls.manifest = json.load(file)

    def profile(self, artifact, *words, status=0):
        process = subprocess.run([PINION, "profile", artifact, "--calls=3", *words], capture_output=True, text=True)
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        return process.stdout + process.stderr

    def test_files_hold_every_launch_of_every_step_and_tables_add_up(self):
        saved, trace = os.path.join(WORK, "profile.json"), os.path.join(WORK, "trace.json")
        said = self.profile(self.artifact, "--save=" + saved, "--trace=" + trace)
        with open(saved) as file:
            launches = json.load(file)["launches"]
        with open(trace) as file:
            events = json.load(file)["traceEvents"]
        expected = [(s, step, stage["first_launch"] + i) for s, stage in enumerate(self.manifest["stages"])
                    for step in range(stage["repeat"]) for i in range(stage["launches"])]
        self.assertEqual([(x["stage"], x["step"], x["launch"]) for x in launches], expected)
        self.assertEqual([(x["args"]["step"], x["args"]["launch"]) for x in events], [x[1:] for x in expected])
        self.assertTrue(all(x["microseconds"] >= 0 for x in launches))
        whole = float(re.search(r"([0-9.]+) us in all", said).group(1))
        self.assertAlmostEqual(whole, sum(x["microseconds"] for x in launches), delta=0.1)
        for table in ("stage", "family"):
            rows = said.split("\n" + table, 1)[1].split("\n")[1:]
            rows = [row.split() for row in rows[:next(i for i, row in enumerate(rows) if row.split()[1:2] == ["launches"])]]
            self.assertEqual(sum(int(row[1]) for row in rows), len(expected))
            self.assertAlmostEqual(sum(float(row[2]) for row in rows), whole, delta=0.1 * len(rows))

    def test_a_foreign_manifest_is_refused(self):
        copy = os.path.join(WORK, "foreign")
        shutil.copytree(self.artifact, copy)
        with open(os.path.join(copy, "manifest.json"), "w") as file:
            json.dump({**self.manifest, "launches": self.manifest["launches"][1:]}, file)
        self.assertIn("differ in their launches", self.profile(copy, status=BAD_INPUT))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
