#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Walks examples/README.md's way from an x86 workstation to a Jetson Thor, and what the artifact says of machines that are none. Exits
77 where NVRTC or the cross compiler is missing.

    test_cross_compile.py PINION DRIVER MODEL     DRIVER: the stand-in, a GPU of compute capability 9.0
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PINION, DRIVER, MODEL = (os.path.abspath(word) for word in sys.argv[1:4])
EXAMPLES = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "examples"))
CC, AR, EMULATOR = "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-ar", "qemu-aarch64"
SKIPPED, NO_DEVICE, AARCH64 = 77, 6, 183
LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-aarch64.so.1"}


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


class CrossCompile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="pinion-test-")
        cls.policy = os.path.join(cls.temporary.name, "policy")
        done = run(PINION, "compile", MODEL, "--target=sm_110", "-o", cls.policy)
        if "NVRTC is not installed" in done.stderr or not shutil.which(CC):
            print(done.stderr or f"{CC} is not installed")
            sys.exit(SKIPPED)
        assert done.returncode == 0, done.stdout + done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def expect(self, *command, status=0, **options):
        done = run(*command, **options)
        self.assertEqual(done.returncode, status, f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def folder(self, name):
        """A copy of the artifact, as it was written."""
        return shutil.copytree(self.policy, os.path.join(self.temporary.name, name))

    def assert_aarch64(self, path):
        with open(path, "rb") as file:
            header = file.read(20)
        self.assertEqual((header[:4], struct.unpack_from("<H", header, 18)[0]), (b"\177ELF", AARCH64), path)

    def needed(self, path):
        dynamic = self.expect("aarch64-linux-gnu-readelf", "-d", path)
        return {line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line}

    def test_the_manifest_says_what_it_needs(self):
        with open(os.path.join(self.policy, "manifest.json"), encoding="utf-8") as file:
            manifest = json.load(file)
        self.assertEqual(manifest["target"], {"name": "sm_110", "device": "cuda", "compute_capability": 110,
                                              "minimum_driver": 13000})
        self.assertIn("needs    compute capability 110, driver 13.0", self.expect(PINION, "inspect", self.policy))
        self.expect(PINION, "inspect", self.policy, "--check")
        self.assertIn("sm_110   NVIDIA Jetson Thor", self.expect(PINION, "targets"))

    def test_make_and_the_robots_program(self):
        folder = self.folder("make")
        self.expect("make", "-s", "-C", folder, f"CC={CC}", f"AR={AR}", "CFLAGS=-O2")
        program = os.path.join(self.temporary.name, "control_loop")
        self.expect(CC, "-O2", f"-I{folder}/runtime", os.path.join(EXAMPLES, "control_loop.c"), "-o", program,
                    f"-L{folder}", "-lmodel", "-lm", "-Wl,-rpath,$ORIGIN/make")
        for built in (program, *(os.path.join(folder, name) for name in ("libmodel.so", "bench"))):
            self.assert_aarch64(built)
            self.assertLessEqual(self.needed(built), LIBRARIES | {"libmodel.so"})
        if shutil.which(EMULATOR):  # no part of tools/setup.sh
            said = self.expect(EMULATOR, "-L", "/usr/aarch64-linux-gnu", program, folder, status=NO_DEVICE)
            self.assertIn("cannot open the policy", said)

    def test_cmake(self):
        folder = self.folder("cmake")
        build = os.path.join(folder, "build")
        self.expect("cmake", "-S", folder, "-B", build, "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
                    f"-DCMAKE_C_COMPILER={CC}")
        self.expect("cmake", "--build", build)
        for name in ("libmodel.so", "bench"):
            self.assert_aarch64(os.path.join(build, name))

    def test_other_machines_are_refused_with_a_reason(self):
        folder = self.folder("here")
        said = self.expect(PINION, "run", folder, "--driver=" + DRIVER, status=NO_DEVICE)
        self.assertIn("compiled for sm_110, compute capability 11.0; stand-in GPU has 9.0", said)
        said = self.expect(PINION, "run", folder, "--driver=/nonexistent/libcuda.so.1", status=NO_DEVICE)
        self.assertIn("the CUDA driver cannot be loaded", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
