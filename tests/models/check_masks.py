#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One artifact serves every mask: a fixture is compiled once, and run with each combination of absent cameras and prompt
lengths, from an empty prompt up to the exported one, and with prompts that have holes; each row of a batch with masks of its
own. Every run is held against the reference interpreter's evaluation of the exported graph.

    check_masks.py FIXTURE --pinion=build/pinion --work=DIR [--target=cpu]
"""
import argparse
import itertools
import os
import shutil
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools", "export"))
from unpack_fixture import unpack  # noqa: E402

PROMPTS_WITH_HOLES = 4


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def prompts(length, generator):
    """Token masks of one row."""
    yield from (np.arange(length) < valid for valid in range(length + 1))
    yield from (generator.random(length) < 0.5 for _ in range(PROMPTS_WITH_HOLES))


def cases(inputs):
    """(cameras' masks, token mask) as the inputs have them: each row of a batch is another one of the combinations."""
    generator = np.random.default_rng(0)
    cameras = [name for name, value in inputs.items() if value.dtype == bool and value.ndim == 1]
    tokens = next(name for name, value in inputs.items() if value.dtype == bool and value.ndim == 2)
    batch, length = inputs[tokens].shape
    rows = list(itertools.product(itertools.product((False, True), repeat=len(cameras)), prompts(length, generator)))
    others = [rows] + [[rows[i] for i in generator.permutation(len(rows))] for _ in range(1, batch)]
    for chosen in zip(*others):
        masks = {name: np.array([row[0][i] for row in chosen]) for i, name in enumerate(cameras)}
        masks[tokens] = np.stack([row[1] for row in chosen])
        yield masks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", metavar="FIXTURE")
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True, help="folder to unpack, compile and run in")
    parser.add_argument("--target", default="cpu")
    options = parser.parse_args()
    work = os.path.abspath(options.work)
    shutil.rmtree(work, ignore_errors=True)
    unpack(options.fixture, work)
    model, artifact, folder = (os.path.join(work, name) for name in ("model.onnx", "artifact", "inputs"))
    run(options.pinion, "compile", model, f"--target={options.target}", "-o", artifact)
    os.makedirs(folder)
    source = os.path.join(work, "cases", "0", "inputs")
    inputs = {name[:-4]: np.load(os.path.join(source, name)) for name in os.listdir(source)}
    count = 0
    for count, masks in enumerate(cases(inputs), 1):
        for name, value in {**inputs, **masks}.items():
            np.save(os.path.join(folder, name + ".npy"), value)
        run(options.pinion, "verify", model, artifact, f"--inputs={folder}", "--outputs-only")
    print(f"{os.path.basename(options.fixture)}: {count} combinations of masks, each within verify's tolerance")


if __name__ == "__main__":
    main()
