#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""No pass before the launch level changes what a model computes: random subsets of them, in random order and with
repetitions, leave every bit of the reference interpreter's result as it was. Those that compute the same by other operations
(ROUND_DIFFERENTLY) round in other places: with them the result in float64 stays within TOLERANCE, relative to its norm.
Then the default pipeline, and the same with each optional pass left out. Prints what was run.

    check_subsets.py FIXTURE... --eval-model=build/eval_model --work=FOLDER [--subsets=4] [--seed=0]
"""
import argparse
import array
import math
import os
import random
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CHANGE_RESULTS = {"choose-precision"}  # by intent
ROUND_DIFFERENTLY = {"recognise-norm", "recognise-activation", "recognise-rope", "recognise-attention", "flatten-patches", "split-concat-matmul",
                     "fold-linear", "fuse-rope-kv", "fuse-rmsnorm", "fuse-layernorm", "fuse-adarms"}
TOLERANCE = 5e-4  # constants that a graph holds in bf16 are exact in an op that stands for them


def pass_names():
    with open(os.path.join(ROOT, "passes", "passes.def"), encoding="utf-8") as file:
        rows = re.findall(r'^PASS\("([a-z-]+)", \w+, \w+, ([A-Z_ |]+),', file.read(), flags=re.M)
    return [name for name, levels in rows if "LAUNCH" not in levels and name not in CHANGE_RESULTS]


def default_passes():
    """The pipeline of pipeline.c, up to the launch level."""
    with open(os.path.join(ROOT, "passes", "pipeline.c"), encoding="utf-8") as file:
        body = re.search(r"pipeline_default\(void\) \{(.*?)NULL,", file.read(), flags=re.S)[1]
    return [name for name in re.findall(r'^ +"([a-z-]+)",', body, flags=re.M) if name in pass_names()]


def required_passes():
    with open(os.path.join(ROOT, "passes", "passes.def"), encoding="utf-8") as file:
        return set(re.findall(r'^PASS\("([a-z-]+)", \w+, true', file.read(), flags=re.M))


def pipelines(generator, names, subsets):
    """What to call them, and their passes: random ones, the default one, and that without each optional pass."""
    for _ in range(subsets):
        passes = random_passes(generator, names)
        yield passes, passes
    passes = default_passes()
    yield "the default pipeline", ",".join(passes)
    for off in sorted(set(passes) - required_passes()):
        yield f"the default pipeline without {off}", ",".join(name for name in passes if name != off)


def evaluate(program, model, passes, out):
    os.makedirs(out, exist_ok=True)
    command = [program, os.path.join(model, "model.onnx"), passes, os.path.join(model, "cases"), out, "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"after {passes}: {done.stderr}")
    bits = {}
    for precision in ("as_typed", "float64"):
        with open(os.path.join(out, f"0.{precision}"), "rb") as file:
            bits[precision] = file.read()
    return bits


def difference(found, expected):
    """Relative L2 of two lists of float64; infinite if they cannot be compared."""
    x, y = array.array("d", found), array.array("d", expected)
    if len(x) != len(y):
        return math.inf
    error = math.dist(x, y) / math.hypot(*y)
    return error if math.isfinite(error) else math.inf


def judge(found, expected, passes):
    """What to say of the result, and whether it is broken."""
    if found["as_typed"] == expected["as_typed"]:
        return "same bits", False
    if not ROUND_DIFFERENTLY.intersection(passes.split(",")):
        return "OTHER RESULT", True
    error = difference(found["float64"], expected["float64"])
    return f"{'within' if error <= TOLERANCE else 'BEYOND'} tolerance ({error:.1e})", error > TOLERANCE


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
        for label, passes in pipelines(generator, names, arguments.subsets):
            found = evaluate(arguments.eval_model, model, passes, os.path.join(model, "out"))
            verdict, wrong = judge(found, expected, passes)
            broken += wrong
            print(f"{fixture}: {verdict} after {label}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
