#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What bench and profile say of an artifact on a GPU, against stand-ins for the driver and for NVML. Needs Python, make and a C compiler.

    test_bench_cuda.py PINION EXAMPLE DRIVER NVML
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

import stand_in_artifact

PINION, EXAMPLE, DRIVER, NVML = (os.path.abspath(word) for word in sys.argv[1:5])
USAGE, BAD_INPUT = 2, 3


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="pinion-test-")
        cls.artifact = os.path.join(cls.folder.name, "artifact")
        stand_in_artifact.make(EXAMPLE, cls.artifact)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def pinion(self, command, *words, status=0):
        command = [PINION, command, self.artifact, "--driver=" + DRIVER, *words]
        process = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        return process.stdout + process.stderr

    def bench(self, *words, status=0, nvml=NVML):
        return self.pinion("bench", "--nvml=" + nvml, "--iterations=20", "--warmUp=1", *words, status=status)

    def test_conditions_edges_and_energy_are_said(self):
        said = self.bench()
        for expected in ("device 0: stand-in GPU at 0000:1B:00.0, driver for CUDA 13.0",
                         "captured: 10 launches, 0 copies; 9 of 9 edges between kernels are programmatic",
                         "after: SM clock 1755 of 1980 MHz, memory clock 3201 of 3201 MHz, 41 C, 123 of 700 W",
                         "copies apart", "energy: 35000.0 mJ a call", "p99/p50",
                         "held back by the board's power limit of 700 W"):
            self.assertIn(expected, said)
        self.assertNotIn("empty kernels", said)

    def test_a_board_that_rests_between_calls_is_not_held_back(self):
        said = self.bench("--interval=100")
        self.assertIn("measured calls begin 100 ms apart", said)
        self.assertRegex(said, r"35000\.0 mJ a call, [1-3]\d\d W on average")
        self.assertNotIn("held back", said)

    def test_without_nvml_one_line_says_so(self):
        said = self.bench(nvml="/nonexistent/libnvidia-ml.so.1")
        self.assertIn("energy are unknown: NVML: there is no library", said)
        self.assertNotIn("mJ", said)
        self.assertNotIn("SM clock", said)

    def test_empty_kernels_stand_beside_the_replay(self):
        self.assertRegex(self.bench("--empty-kernels"), r"empty kernels +0\.2500")

    def test_copies_in_the_graph_are_part_of_the_replay(self):
        said = self.bench("--copies=graph")
        self.assertIn("captured: 10 launches, 4 copies; 9 of 9 edges", said)
        self.assertIn("copies in the captured call", said)
        self.assertNotIn("copies in  ", said)
        self.assertIn("--copies is apart or graph", self.bench("--copies=none", status=USAGE))

    def test_conditions_that_differ_from_the_baselines_are_named(self):
        saved = os.path.join(self.folder.name, "bench.json")
        self.bench("--empty-kernels", "--save=" + saved)
        with open(saved, encoding="utf-8") as file:
            baseline = json.load(file)
        self.assertEqual((baseline["device"], baseline["sm_clock_mhz"], baseline["programmatic_edges"]), ("stand-in GPU", 1755, 9))
        self.assertEqual(baseline["millijoules"], 35000)
        said = self.bench("--empty-kernels", "--compare=" + saved)
        self.assertNotIn("note:", said)
        self.assertRegex(said, r"energy +1\.000")
        self.assertRegex(said, r"empty kernels +1\.000 +1\.000 +1\.000\n")
        baseline.update(device="another GPU", sm_clock_mhz=1980, power_limit_watts=500, copies="graph")
        with open(saved, "w", encoding="utf-8") as file:
            json.dump(baseline, file)
        said = self.bench("--compare=" + saved)
        for expected in ("device is 'another GPU', not 'stand-in GPU'", "copies is 'graph', not 'apart'",
                         "sm_clock_mhz is 1980, not 1755", "power_limit_watts is 500, not 700"):
            self.assertIn("note: the baseline's " + expected, said)
        self.assertNotIn("driver_version", said)

    def test_a_cold_start_is_told_part_by_part(self):
        said = self.bench("--cold-start")
        for expected in ("from the start of the process to the first action", "driver and context", "kernels", "weights",
                         "memory and capture", "first call", "device memory: weights 0.000 GB", "GB taken since the context"):
            self.assertIn(expected, said)
        seconds = float(said.split("cold start: ")[1].split()[0])
        self.assertTrue(0 < seconds < 60, said)

    def test_a_profile_holds_launches_against_the_devices_memory(self):
        saved = os.path.join(self.folder.name, "profile.json")
        said = self.pinion("profile", "--calls=2", "--save=" + saved)
        with open(saved, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["peak_bytes"], 2 * 3201e6 * 6144 / 8)
        self.assertIn("9 of 9 edges between kernels are programmatic", said)
        self.assertIn("4917 GB/s of memory", said)
        rows = {row.split()[0]: row.split() for row in said.splitlines() if row.startswith(("prefix/gemm", "step/"))}
        self.assertEqual([rows["step/pointwise"][1], rows["prefix/gemm"][1]], ["6", "1"])
        self.assertNotIn("%tensor", said)  # nobody knows those of a target 'cpu'


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
