#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A whole model, end to end: compile a fixture, run every case, hold the errors against PyTorch's own.

    check_fixture.py FIXTURE --pinion=build/pinion --work=DIR [--target=cpu] [--tiles-of=TARGET] [--compile-flag=...] [--seeds=N]

The error of a case is the relative L2 of (actions - noise) against the float64 evaluation that lies in the fixture. Limits:
float32: at most twice PyTorch's own float32 error of that case, never above 1e-5; bf16: at most 1.5 times PyTorch's own bf16
error, 1.25 times in the geometric mean over the cases, cosine at least 0.999. Prints a line a case and exits 1 beyond a limit.
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools", "export"))
from unpack_fixture import unpack  # noqa: E402

FLOAT32_RATIO, FLOAT32_CEILING = 2.0, 1e-5
BF16_RATIO, BF16_MEAN_RATIO, BF16_COSINE = 1.5, 1.25, 0.999


def output_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def run(command):
    """-> seconds"""
    started = time.perf_counter()
    output_of(command)
    return time.perf_counter() - started


def unpack_into_work(options):
    """-> fixture.json's content; options.work is then absolute"""
    options.work = os.path.abspath(options.work)
    shutil.rmtree(options.work, ignore_errors=True)
    unpack(options.fixture, options.work)
    with open(os.path.join(options.work, "fixture.json")) as file:
        return json.load(file)


def error_and_cosine(actions, reference, noise):
    moved, wanted = (np.asarray(x, np.float64).ravel() - np.asarray(noise, np.float64).ravel() for x in (actions, reference))
    if not np.all(np.isfinite(moved)):
        return math.inf, 0.0
    norm = np.linalg.norm(wanted)
    cosine = float(moved @ wanted / (np.linalg.norm(moved) * norm)) if np.any(moved) else 0.0
    return float(np.linalg.norm(moved - wanted) / norm), cosine


def is_reduced(fixture, precision):
    """Whether bf16 takes part, so that PyTorch's own bf16 run is what errors are held against."""
    return precision == "bf16" or (fixture["dtype"] == "bf16" and precision != "float32")


def measure_case(pinion, artifact, fixture, case, precision, cases, outputs, run_flags=(), bf16_ratio=BF16_RATIO):
    """Runs one case of those unpacked in `cases`. -> (our error, PyTorch's own, cosine, whether it is within the limits)"""
    folder = os.path.join(cases, str(case["seed"]))
    run([pinion, "run", artifact, f"--inputs={folder}/inputs", f"--outputs={outputs}", *run_flags])
    name = fixture["outputs"][0]["name"]
    loaded = [np.load(os.path.join(f, name + ".npy")) for f in (outputs, os.path.join(folder, "reference"))]
    error, cosine = error_and_cosine(*loaded, np.load(os.path.join(folder, "inputs", "noise.npy")))
    if is_reduced(fixture, precision):
        own = case["pytorch_bf16_error"]
        return error, own, cosine, error <= bf16_ratio * own and cosine >= BF16_COSINE
    own = case["pytorch_float32_error"]
    return error, own, cosine, error <= min(FLOAT32_RATIO * own, FLOAT32_CEILING)


def mean_ratio(results):
    """Geometric, of our errors to PyTorch's own."""
    return math.exp(sum(math.log(max(error / own, 1e-30)) for error, own, _, _ in results) / len(results))


def are_within(results, fixture, precision):
    return all(good for _, _, _, good in results) and not (
        is_reduced(fixture, precision) and mean_ratio(results) > BF16_MEAN_RATIO)


def tiles_of(artifact):
    """Of each launch: its problem, and its tile if it has one."""
    with open(os.path.join(artifact, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    return [(launch["problem"], manifest["kernels"][launch["kernel"]].get("tile")) for launch in manifest["launches"]]


def compile_model(options, artifact, target, *flags):
    return run([options.pinion, "compile", os.path.join(options.work, "model.onnx"), f"--target={target}",
                f"--precision={options.precision}", "-o", artifact, *options.compile_flag, *flags])


def compile_with_tiles_of(options, artifact):
    """What another target would choose, for the one whose device is at hand."""
    other, timing = os.path.join(options.work, "other"), os.path.join(options.work, "other.timing")
    compile_model(options, other, options.tiles_of)
    tiles = tiles_of(other)
    with open(timing, "w", encoding="utf-8") as file:
        file.writelines(sorted({f"{problem} | {tile}\n" for problem, tile in tiles if tile}))
    seconds = compile_model(options, artifact, options.target, f"--timing-cache={timing}")
    if tiles_of(artifact) != tiles:
        sys.exit(f"{options.target} does not take all tiles of {options.tiles_of}")
    print(f"tiles of {options.tiles_of}: {', '.join(sorted({tile for _, tile in tiles if tile}))}")
    return seconds


def check_case(options, fixture, case, artifact):
    outputs = os.path.join(options.work, "outputs", str(case["seed"]))
    result = measure_case(options.pinion, artifact, fixture, case, options.precision, os.path.join(options.work, "cases"), outputs,
                          options.run_flag)
    error, own, cosine, good = result
    print(f"  seed {case['seed']}: error {error:.3e}, PyTorch's own {own:.3e}, ratio {error / own:.2f}, cosine {cosine:.7f}"
          f"{'' if good else '   BEYOND THE LIMIT'}", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", metavar="FIXTURE")
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True, help="folder to unpack, compile and run in")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--tiles-of", metavar="TARGET", help="every launch's tile as this target chooses it: sm_110's, on an H200")
    parser.add_argument("--precision", default="as-exported", choices=("as-exported", "float32", "bf16"))
    parser.add_argument("--artifact", help="an artifact compiled before, instead of compiling")
    parser.add_argument("--compile-flag", action="append", default=[], help="passed to pinion compile")
    parser.add_argument("--run-flag", action="append", default=[], help="passed to pinion run")
    parser.add_argument("--seeds", type=int, default=0, help="only the first N cases")
    options = parser.parse_args()

    fixture = unpack_into_work(options)
    artifact = options.artifact
    if artifact is None:
        artifact = os.path.join(options.work, "artifact")
        seconds = compile_with_tiles_of(options, artifact) if options.tiles_of else compile_model(options, artifact, options.target)
        print(f"{fixture['name']} ({options.target}, {options.precision}): compiled in {seconds:.1f} s")
    cases = fixture["cases"][: options.seeds or None]
    results = [check_case(options, fixture, case, artifact) for case in cases]
    good = are_within(results, fixture, options.precision)
    print(f"{fixture['name']} ({options.target}, {options.precision}): {len(results)} cases, error / PyTorch's own: geometric mean "
          f"{mean_ratio(results):.2f}, largest {max(error / own for error, own, _, _ in results):.2f}: {'within the limits' if good else 'BEYOND THE LIMITS'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
