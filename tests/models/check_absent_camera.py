#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An artifact without a camera does what the whole one does with that camera's mask false: a fixture is compiled both ways, and
every case run, the prompts cut short and other cameras masked as they are there. The inputs of the camera are gone; and with
--like, launches and inputs are those of the artifact of another fixture, the same policy exported without the camera.

    check_absent_camera.py FIXTURE --camera=NAME [--camera=..] --pinion=build/pinion --work=DIR [--like=FIXTURE]

Actions differ by the order of sums alone: limits are multiples of PyTorch's own error of the case.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools", "export"))
from unpack_fixture import unpack  # noqa: E402

RATIO = {"float32": 2.0, "bf16": 1.5}  # of the difference to PyTorch's own error of that type


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexited with {done.returncode}:\n{done.stdout}")


def read_json(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return json.load(file)


def inputs_of(manifest):
    return [item["name"] for item in manifest["inputs"]]


def actions(pinion, artifact, inputs, outputs, name):
    run(pinion, "run", artifact, f"--inputs={inputs}", f"--outputs={outputs}")
    return np.load(os.path.join(outputs, name + ".npy")).astype(np.float64)


def check_cases(options, fixture, whole, without, masks):
    """Whether all are within their limits."""
    output, good = fixture["outputs"][0]["name"], True
    inputs, results = (os.path.join(options.work, folder) for folder in ("inputs", "outputs"))
    for case in fixture["cases"]:
        shutil.rmtree(inputs, ignore_errors=True)
        shutil.copytree(os.path.join(options.work, "cases", str(case["seed"]), "inputs"), inputs)
        for name in masks:
            mask = np.load(os.path.join(inputs, name + ".npy"))
            np.save(os.path.join(inputs, name + ".npy"), np.zeros_like(mask))
        masked = actions(options.pinion, whole, inputs, results, output)
        for name in masks + options.camera:
            os.remove(os.path.join(inputs, name + ".npy"))
        absent = actions(options.pinion, without, inputs, results, output)
        moved = np.linalg.norm(masked - np.load(os.path.join(inputs, "noise.npy")))
        error = np.linalg.norm(absent - masked) / moved
        limit = RATIO[fixture["dtype"]] * case[f"pytorch_{fixture['dtype']}_error"]
        good &= error <= limit
        print(f"  seed {case['seed']}: difference {error:.2e}, limit {limit:.2e}{'' if error <= limit else '   BEYOND'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", metavar="FIXTURE")
    parser.add_argument("--camera", action="append", required=True)
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True, help="folder to unpack, compile and run in")
    parser.add_argument("--like", help="a fixture of the same policy, exported without the camera")
    options = parser.parse_args()
    options.work = os.path.abspath(options.work)
    shutil.rmtree(options.work, ignore_errors=True)
    unpack(options.fixture, options.work)
    fixture = read_json(options.work, "fixture.json")
    model, whole, without = (os.path.join(options.work, name) for name in ("model.onnx", "whole", "without"))
    run(options.pinion, "compile", model, "-o", whole)
    run(options.pinion, "compile", model, *(f"--absent-camera={name}" for name in options.camera), "-o", without)
    masks = [name.split("_")[0] + "_mask" for name in options.camera]  # as the fixtures call them
    manifest = read_json(without, "manifest.json")
    expected = [name for name in inputs_of(read_json(whole, "manifest.json")) if name not in options.camera + masks]
    good = inputs_of(manifest) == expected
    print(f"{fixture['name']} without {', '.join(options.camera)}: inputs {', '.join(inputs_of(manifest))}"
          f"{'' if good else '   NOT ' + ', '.join(expected)}")
    if options.like:
        like, other = (os.path.join(options.work, name) for name in ("like", "other"))
        unpack(options.like, like)
        run(options.pinion, "compile", os.path.join(like, "model.onnx"), "-o", other)
        other = read_json(other, "manifest.json")
        counts = len(manifest["launches"]), len(other["launches"])
        print(f"  launches: {counts[0]}, of the export without the camera: {counts[1]}")
        good &= counts[0] == counts[1] and inputs_of(manifest) == inputs_of(other)
    sys.exit(0 if check_cases(options, fixture, whole, without, masks) and good else 1)


if __name__ == "__main__":
    main()
