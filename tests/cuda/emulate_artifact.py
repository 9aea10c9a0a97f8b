#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A whole artifact for a GPU without one: its kernels run on the emulator, behind the artifact's own tables and runtime.

    emulate_artifact.py FIXTURE --pinion=build/pinion --work=DIR --cxx=g++ --nvrtc=LIBRARY [--target=sm_110]

Compiles the fixture, puts device_emulated.c in the place of the artifact's device_cuda*.c, runs case 0 and holds actions minus
noise against PyTorch's own error (twice it in float32, 1.5 times in bf16). LIBRARY may be the stand-in for NVRTC:
no cubin is used.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tools", "export"))
from unpack_fixture import unpack  # noqa: E402


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode not in (0, 5):  # beyond pinion's own tolerance: this script has another
        sys.exit(f"{' '.join(command)}\nexited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def replace_device(artifact, cxx):
    with open(os.path.join(ROOT, "tests", "cuda", "device_emulated.c"), encoding="utf-8") as file:
        source = file.read()
    runtime = os.path.join(artifact, "runtime")
    for name in os.listdir(runtime):
        if name.startswith("device_cuda_"):
            open(os.path.join(runtime, name), "w", encoding="utf-8").close()
    with open(os.path.join(runtime, "device_cuda.c"), "w", encoding="utf-8") as file:
        file.write(f'#define PINION_EMULATOR_CXX "{cxx}"\n#define PINION_SOURCE_FOLDER "{ROOT}"\n{source}')


def some_kernel_has(artifact, define):
    folder = os.path.join(artifact, "kernels")
    sources = (open(os.path.join(folder, name), encoding="utf-8").read() for name in os.listdir(folder) if name.endswith(".cu"))
    return any(re.search(define, source) for source in sources)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fixture")
    for name in ("--pinion", "--work", "--cxx", "--nvrtc"):
        parser.add_argument(name, required=True)
    parser.add_argument("--target", default="sm_110")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    unpack(options.fixture, options.work)
    with open(os.path.join(options.work, "fixture.json"), encoding="utf-8") as file:
        fixture = json.load(file)
    artifact = os.path.join(options.work, "artifact")
    run([options.pinion, "compile", os.path.join(options.work, "model.onnx"), f"--target={options.target}", "-o", artifact,
         f"--nvrtc={options.nvrtc}"])
    reduced = fixture["dtype"] == "bf16"
    if reduced and not some_kernel_has(artifact, r"#define PN_SETTLED [1-9]"):
        sys.exit("no attention of the steps brings, before its inputs are there, the prefix's keys, which are")
    if not some_kernel_has(artifact, r"#define PN_ROW_MASK \d"):
        sys.exit("no gemm of the prefix knows which tokens are valid")
    replace_device(artifact, options.cxx)
    case = fixture["cases"][0]
    folder = os.path.join(options.work, "cases", str(case["seed"]))
    printed = run([options.pinion, "run", artifact, f"--inputs={folder}/inputs", f"--reference={folder}/reference"])
    found = re.search(r"minus 'noise'\s+\S+\s+\S+\s+(\S+)", printed)
    if not found:
        sys.exit(f"no error of actions minus noise in:\n{printed}")
    own = case["pytorch_bf16_error" if reduced else "pytorch_float32_error"]
    error, limit = float(found[1]), (1.5 if reduced else 2) * own
    print(f"relative L2 of actions minus noise {error:.3g}, PyTorch's own {own:.3g}, limit {limit:.3g}")
    return 0 if error <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
