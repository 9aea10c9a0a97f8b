#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A model of one sample, compiled for a batch: every sample of it is what the model computes of that one alone.

    check_batch.py FIXTURE --batch=N --pinion=build/pinion --work=DIR [--target=cpu] [--precision=P] [--compile-flag=..]

The batch is made of the fixture's cases, which differ in all inputs, in their prompts' lengths and in the cameras that are there.
Each sample's error is held against PyTorch's own, as check_fixture.py does with the case. Weights are packed alike whatever the
batch is: the artifact's weights.bin is, byte for byte, that of the model compiled for one sample, so that both can share a file.
And `pinion verify` finds the artifact to be what its model says.
"""
import argparse
import filecmp
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from check_fixture import FLOAT32_CEILING, FLOAT32_RATIO, BF16_COSINE, BF16_RATIO, error_and_cosine, is_reduced, run, unpack_into_work  # noqa: E402


def compile_model(options, batch):
    artifact = os.path.join(options.work, f"artifact{batch}")
    run([options.pinion, "compile", os.path.join(options.work, "model.onnx"), f"--target={options.target}",
         f"--precision={options.precision}", "-o", artifact, *options.compile_flag, *([f"--batch={batch}"] if batch > 1 else [])])
    return artifact


def stack_inputs(options, fixture, seeds):
    """Sample i is case seeds[i]. -> their folder"""
    folder = os.path.join(options.work, "stacked")
    os.makedirs(folder)
    for described in fixture["inputs"]:
        name = described["name"] + ".npy"
        parts = [np.load(os.path.join(options.work, "cases", str(seed), "inputs", name)) for seed in seeds]
        np.save(os.path.join(folder, name), np.concatenate(parts))
    return folder


def check_sample(options, fixture, case, actions):
    folder = os.path.join(options.work, "cases", str(case["seed"]))
    reference = np.load(os.path.join(folder, "reference", fixture["outputs"][0]["name"] + ".npy"))
    noise = np.load(os.path.join(folder, "inputs", "noise.npy"))
    error, cosine = error_and_cosine(actions[None], reference, noise)
    reduced = is_reduced(fixture, options.precision)
    own = case["pytorch_bf16_error" if reduced else "pytorch_float32_error"]
    good = error <= BF16_RATIO * own and cosine >= BF16_COSINE if reduced else error <= min(FLOAT32_RATIO * own, FLOAT32_CEILING)
    print(f"  sample of seed {case['seed']}: error {error:.3e}, PyTorch's own {own:.3e}{'' if good else '   BEYOND THE LIMIT'}")
    return good


def check_samples(options, fixture, artifact):
    cases = [fixture["cases"][i % len(fixture["cases"])] for i in range(options.batch)]
    inputs, outputs = stack_inputs(options, fixture, [case["seed"] for case in cases]), os.path.join(options.work, "outputs")
    run([options.pinion, "run", artifact, f"--inputs={inputs}", f"--outputs={outputs}", *options.run_flag])
    actions = np.load(os.path.join(outputs, fixture["outputs"][0]["name"] + ".npy"))
    if actions.shape[0] != options.batch:
        sys.exit(f"the artifact's batch is {actions.shape[0]}")
    return all([check_sample(options, fixture, case, sample) for case, sample in zip(cases, actions)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", metavar="FIXTURE")
    parser.add_argument("--batch", type=int, required=True, metavar="N")
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True, help="folder to unpack, compile and run in")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--precision", default="as-exported", choices=("as-exported", "float32", "bf16"))
    parser.add_argument("--compile-flag", action="append", default=[], help="passed to pinion compile")
    parser.add_argument("--run-flag", action="append", default=[], help="passed to pinion run and verify")
    options = parser.parse_args()

    fixture = unpack_into_work(options)
    artifact, single = compile_model(options, options.batch), compile_model(options, 1)
    good = check_samples(options, fixture, artifact)
    shared = filecmp.cmp(os.path.join(artifact, "weights.bin"), os.path.join(single, "weights.bin"), shallow=False)
    print(f"{fixture['name']}, batch {options.batch} ({options.target}, {options.precision}): "
          f"{'within the limits' if good else 'BEYOND THE LIMITS'}; weights.bin {'is' if shared else 'IS NOT'} that of one sample")
    run([options.pinion, "verify", os.path.join(options.work, "model.onnx"), artifact, *options.run_flag])
    return 0 if good and shared else 1


if __name__ == "__main__":
    sys.exit(main())
