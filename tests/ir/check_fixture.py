#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The reference interpreter on a whole exported model, before and after the passes, against PyTorch.

    check_fixture.py FIXTURE --eval-model=PROGRAM --work=DIR [--passes=A,B|default] [--seeds=N]

Errors are relative L2 of (actions - noise) against the fixture's float64 reference, which another program evaluated:

- in float64 what the exporter itself rounded: `graph_float64_error` of the fixture, within 2 % (plus 1e-9);
- in float32 at most PyTorch's own float32 error: the interpreter rounds once per op, PyTorch more often;
- as typed (bf16) at most 1.5 times PyTorch's own bf16 error.

With --passes the same must hold for the rewritten module; only its float64 limit is larger, by a tenth of PyTorch's float32
error, because what the passes folded is now rounded to its float32 type. Exits 1 beyond a limit.
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


def relative_error(values, reference, noise):
    wanted = reference - noise
    return float(np.linalg.norm(values - noise - wanted) / np.linalg.norm(wanted))


def limits(fixture, case, is_rewritten):
    """The largest error allowed in each precision."""
    folded = case["graph_float64_error"]
    yield "float64", 1.02 * folded + 1e-9 + (0.1 * case["pytorch_float32_error"] if is_rewritten else 0)
    yield "float32", case["pytorch_float32_error"] + 1.02 * folded
    if fixture["dtype"] == "bf16":
        yield "as_typed", 1.5 * case["pytorch_bf16_error"]
    else:
        yield "as_typed", case["pytorch_float32_error"] + 1.02 * folded


def check(options, fixture, passes):
    out = os.path.join(options.work, "out")
    cases = fixture["cases"][: options.seeds or None]
    seeds = [str(case["seed"]) for case in cases]
    folder = os.path.join(options.work, "cases")
    model = os.path.join(options.work, "model.onnx")
    subprocess.run([options.eval_model, model, passes, folder, out, *seeds], check=True)
    good = True
    for case, seed in zip(cases, seeds):
        reference = np.load(os.path.join(folder, seed, "reference", fixture["outputs"][0]["name"] + ".npy"))
        noise = np.load(os.path.join(folder, seed, "inputs", "noise.npy")).astype(np.float64).ravel()
        for precision, limit in limits(fixture, case, passes != "none"):
            values = np.fromfile(os.path.join(out, f"{seed}.{precision}"))
            error = relative_error(values, reference.astype(np.float64).ravel(), noise)
            good &= error <= limit
            print(f"  {'as imported' if passes == 'none' else 'after passes':12} seed {seed} {precision:8} error {error:.3e}, limit {limit:.3e}"
                  f"{'' if error <= limit else '   BEYOND THE LIMIT'}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", metavar="FIXTURE")
    parser.add_argument("--eval-model", required=True)
    parser.add_argument("--work", required=True, help="folder to unpack into")
    parser.add_argument("--passes", default="")
    parser.add_argument("--seeds", type=int, default=0, help="only the first N cases")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    unpack(options.fixture, options.work)
    with open(os.path.join(options.work, "fixture.json"), encoding="utf-8") as file:
        fixture = json.load(file)
    results = [check(options, fixture, passes) for passes in ("none", options.passes) if passes]
    shutil.rmtree(options.work)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
