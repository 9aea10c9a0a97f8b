#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""No pass before the launch level changes a bit of what a model computes: random subsets of them, in random order and with
repetitions, leave the reference interpreter's result as it was. Prints the passes that do not.

    check_subsets.py FIXTURE... --eval-model=build/eval_model --work=FOLDER [--subsets=4] [--seed=0]
"""
import argparse
import os
import random
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CHANGE_RESULTS = {"choose-precision"}  # by intent


def pass_names():
    with open(os.path.join(ROOT, "passes", "passes.def"), encoding="utf-8") as file:
        rows = re.findall(r'^PASS\("([a-z-]+)", \w+, \w+, ([A-Z_ |]+),', file.read(), flags=re.M)
    return [name for name, levels in rows if "LAUNCH" not in levels and name not in CHANGE_RESULTS]


def evaluate(program, model, passes, out):
    os.makedirs(out, exist_ok=True)
    command = [program, os.path.join(model, "model.onnx"), passes, os.path.join(model, "cases"), out, "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.encode()
    with open(os.path.join(out, "0.as_typed"), "rb") as file:
        return file.read()


def random_passes(generator, names):
    chosen = [name for name in names if generator.random() < 0.7]
    if generator.random() < 0.5:
        generator.shuffle(chosen)
    return ",".join(chosen + generator.sample(names, 3))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fixtures", nargs="+")
    parser.add_argument("--eval-model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--subsets", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator, names, broken = random.Random(arguments.seed), pass_names(), 0
    for fixture in arguments.fixtures:
        model = os.path.join(arguments.work, fixture)
        unpack = os.path.join(ROOT, "tools", "export", "unpack_fixture.py")
        subprocess.run([sys.executable, unpack, fixture, model], check=True, capture_output=True)
        expected = evaluate(arguments.eval_model, model, "none", os.path.join(model, "out"))
        for _ in range(arguments.subsets):
            passes = random_passes(generator, names)
            same = evaluate(arguments.eval_model, model, passes, os.path.join(model, "out")) == expected
            broken += not same
            print(f"{fixture}: {'same bits' if same else 'OTHER RESULT'} after {passes}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
