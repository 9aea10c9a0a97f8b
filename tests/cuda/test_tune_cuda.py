#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tiles measured inside an artifact's call, against the stand-in driver, and artifacts with candidates. Needs Python, make
and a C compiler; what compiles for sm_90 is skipped where NVRTC is missing.

    test_tune_cuda.py PINION EXAMPLE DRIVER
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import stand_in_artifact

PINION, EXAMPLE, DRIVER = (os.path.abspath(word) for word in sys.argv[1:4])
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
GEMM = os.path.join(ROOT, "tests", "codegen", "lowering", "gemm.mlir")
USAGE, BAD_INPUT = 2, 3
KEYS = ["gather f32 f32 i64 2x3", "z sum", "gemm f32 f32 f32 1x1x2x1x5x1x3", "copy", "pointwise move", "z sum"]
# The gemm and the sums (4 of the 10 launches of a call) have two candidates each; only the kernels named slow take time. The copy
# has one that is wrong, and one that asks for more shared memory than there is.
CANDIDATES = """
#include "runtime/abi.h"
static const pinion_tile_desc launches[] = {%s};
static const pinion_candidate_desc candidates[] = {
    {2, 5, {1, 1, 1}, {1, 1, 1}, 0, NULL, "quick", 1}, {2, 6, {1, 1, 1}, {1, 1, 1}, 0, NULL, "slow", 2},
    {1, 6, {1, 1, 1}, {1, 1, 1}, 0, NULL, "slower", 3}, {5, 6, {1, 1, 1}, {1, 1, 1}, 0, NULL, "slower", 3},
    {1, 5, {1, 1, 1}, {1, 1, 1}, 0, NULL, "same", 4}, {5, 5, {1, 1, 1}, {1, 1, 1}, 0, NULL, "same", 4},
    {3, 7, {1, 1, 1}, {1, 1, 1}, 0, NULL, "wrong", 5}, {3, 5, {1, 1, 1}, {1, 1, 1}, 300000, NULL, "too large", 6},
};
static const pinion_tuning_desc tuning = {launches, candidates, 8, "a stand-in compiler"};
const pinion_tuning_desc *pinion_model_tuning(void) { return &tuning; }
""" % ", ".join(f'{{"{key}", "own", 1}}' for key in KEYS)
LINES = ["copy | own | 250.0 | stand-in GPU | a stand-in compiler",
         "gemm f32 f32 f32 1x1x2x1x5x1x3 | quick | 250.0 | stand-in GPU | a stand-in compiler",
         "z sum | own | 250.0 | stand-in GPU | a stand-in compiler"]


def make_artifact(folder):
    stand_in_artifact.make(EXAMPLE, folder, build=False)
    model = os.path.join(folder, "model.c")
    stand_in_artifact.replace_in(
        model, ('"gemm_row"', '"slow_gemm"'),
        ('[MULTIPLY] =', '[5] = {"quick", PINION_FAMILY_GEMM, "all.cubin", NULL}, '
                         '[6] = {"slow", PINION_FAMILY_GEMM, "all.cubin", NULL}, '
                         '[7] = {"wrong", PINION_FAMILY_GEMM, "all.cubin", NULL}, [MULTIPLY] ='))
    stand_in_artifact.write_cubin(folder, "all.cubin", (*stand_in_artifact.KERNELS, "slow_gemm", "quick", "slow", "wrong"))
    with open(os.path.join(folder, "candidates.c"), "w", encoding="utf-8") as file:
        file.write(CANDIDATES)
    stand_in_artifact.replace_in(os.path.join(folder, "Makefile"), ("model.c $(RUNTIME)", "model.c candidates.c $(RUNTIME)"))
    stand_in_artifact.replace_in(os.path.join(folder, "manifest.json"), ('"cpu"', '"sm_90"'))


class Tune(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="pinion-test-")
        self.folder = self.temporary.name

    def tearDown(self):
        self.temporary.cleanup()

    def pinion(self, *words, status=0):
        process = subprocess.run([PINION, *words], capture_output=True, text=True)
        if "NVRTC is not installed" in process.stderr:
            self.skipTest("NVRTC is not installed")
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        return process.stdout + process.stderr

    def test_the_tile_that_shortens_the_call_wins(self):
        artifact, tuning = os.path.join(self.folder, "artifact"), os.path.join(self.folder, "sm_90.tuning")
        make_artifact(artifact)
        said = self.pinion("tune", artifact, "--driver=" + DRIVER, "--rounds=5", "-o", tuning)
        with open(tuning, encoding="utf-8") as file:
            self.assertEqual([line for line in file.read().splitlines() if line[0] != "#"], LINES)
        for expected in ("-250.0 +- 0.0 us a call", "+1000.0 +- 0.0 us a call", "z sum: 4 a call",
                         "wrong                    passed over: its outputs are other ones",
                         "too large                passed over: the device refuses it",
                         "3 problems; a call takes 500.0 us with the artifact's own tiles, 200.0 % of the 250.0 us"):
            self.assertIn(expected, said)

    def test_problems_that_are_not_asked_for_keep_their_lines(self):
        artifact, tuning = os.path.join(self.folder, "artifact"), os.path.join(self.folder, "sm_90.tuning")
        kept = "z sum | older | 1.0 | another GPU | another compiler"
        make_artifact(artifact)
        with open(tuning, "w", encoding="utf-8") as file:
            file.write(kept + "\n")
        said = self.pinion("tune", artifact, "--driver=" + DRIVER, "--rounds=5", "--only=1x1x2x1x5", "-o", tuning)
        with open(tuning, encoding="utf-8") as file:
            self.assertEqual([line for line in file.read().splitlines() if line[0] != "#"], [LINES[1], kept])
        self.assertIn("1 problems; a call takes", said)

    def test_the_artifacts_own_program_finds_the_same(self):
        artifact = os.path.join(self.folder, "artifact")
        make_artifact(artifact)
        sources = ["runtime/tune.c", "model.c", "candidates.c", "runtime/pinion.c", "runtime/description.c",
                   "runtime/thread_pool.c"] + ["runtime/" + name for name in os.listdir(os.path.join(artifact, "runtime"))
                                               if name.startswith("device_cuda") and name.endswith(".c")]
        subprocess.run(["cc", "-std=gnu11", "-I.", "-w", "-o", "tune", *sources, "-pthread", "-ldl"], cwd=artifact, check=True)
        done = subprocess.run(["./tune", ".", "--rounds=5"], cwd=artifact, capture_output=True, text=True, check=True,
                              env={**os.environ, "PINION_CUDA_DRIVER": DRIVER})
        self.assertEqual([line for line in done.stdout.splitlines() if line[0] != "#"], LINES)
        done = subprocess.run(["./tune", "--rounds=5", "--only=gemm f32"], cwd=artifact, capture_output=True, text=True, check=True,
                              env={**os.environ, "PINION_CUDA_DRIVER": DRIVER})
        self.assertEqual([line for line in done.stdout.splitlines() if line[0] != "#"], LINES[1:2])
        self.assertEqual(subprocess.run(["./tune", "--rounds=0"], cwd=artifact, capture_output=True).returncode, USAGE)

    def test_an_artifact_without_candidates_says_how_to_get_them(self):
        artifact = os.path.join(self.folder, "artifact")
        stand_in_artifact.make(EXAMPLE, artifact)
        stand_in_artifact.replace_in(os.path.join(artifact, "manifest.json"), ('"cpu"', '"sm_90"'))
        self.assertIn("--candidates=3", self.pinion("tune", artifact, "--driver=" + DRIVER, status=BAD_INPUT))
        self.assertIn("give its folder", self.pinion("tune", "--target=sm_90", "--shapes=1x1x1", status=USAGE))

    # ---- pinion compile --candidates ----

    def compile(self, *words):
        artifact = os.path.join(self.folder, "compiled")
        self.pinion("compile", GEMM, "--target=sm_90", "-o", artifact, *words)
        with open(os.path.join(artifact, "manifest.json"), encoding="utf-8") as file:
            return artifact, json.load(file)

    def test_candidates_are_the_best_other_tiles_of_each_problem(self):
        artifact, manifest = self.compile("--candidates=2")
        with open(os.path.join(artifact, "candidates.c"), encoding="utf-8") as file:
            rows = re.findall(r'^    \{(\d+), (\d+), .* "(\w+)", [\d.]+\},$', file.read(), re.MULTILINE)
        self.assertEqual([row[0] for row in rows], ["0", "0", "1", "1"])
        for launch, kernel, tile in rows:
            self.assertEqual(manifest["kernels"][int(kernel)]["tile"], tile)
            self.assertNotEqual(manifest["kernels"][manifest["launches"][int(launch)]["kernel"]]["tile"], tile)
            self.assertTrue(os.path.exists(os.path.join(artifact, manifest["kernels"][int(kernel)]["blob"])))
        subprocess.run(["make", "-s", "-C", artifact, "CFLAGS=-O0", "all"], check=True)
        self.assertTrue(os.access(os.path.join(artifact, "tune"), os.X_OK))

    def test_without_candidates_nothing_of_it_is_there(self):
        artifact, manifest = self.compile()
        self.assertEqual(len(manifest["kernels"]), 2)
        self.assertFalse([file["path"] for file in manifest["files"] if "tune" in file["path"] or "candidates" in file["path"]])
        self.assertIn("target cpu is tuned without",
                      self.pinion("compile", GEMM, "--candidates=1", "-o", artifact, status=USAGE))

    def test_a_tuned_tile_is_compiled(self):
        tuning = os.path.join(self.folder, "sm_90.tuning")
        problem = self.compile()[1]["launches"][1]["problem"]
        with open(tuning, "w", encoding="utf-8") as file:
            file.write(f"{problem} | fma_64x64 | 3.0 | stand-in GPU | NVRTC 13.0\n")
        manifest = self.compile("--timing-cache=" + tuning)[1]
        tiles = [manifest["kernels"][launch["kernel"]]["tile"] for launch in manifest["launches"]]
        self.assertEqual(tiles, ["fma_32x32", "fma_64x64"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
