#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The benchmarks of whole models run, and print what they promise; never how fast anything is.

    check_benchmarks.py FIXTURE --pinion=build/pinion --work=DIR
"""
import argparse
import importlib.util
import json
import math
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from check_fixture import output_of, unpack_into_work  # noqa: E402


def check(what, holds, printed):
    if not holds:
        sys.exit(f"{what}:\n{printed}")


def check_beside_ort(model, artifact, inputs, pinion, flags):
    printed = output_of([sys.executable, os.path.join(ROOT, "tools", "bench_model_ort.py"), model, artifact,
                         f"--inputs={inputs}", f"--pinion={pinion}", "--threads=1", "--rounds=1", *flags])
    difference, ratio = re.search(r"'actions': ([\d.e-]+)", printed), re.search(r"([\d.]+) times as fast", printed)
    check("no ratio", ratio and float(ratio[1]) > 0, printed)
    check("the outputs differ", difference and float(difference[1]) < 1e-4, printed)


def check_fusions(model, pinion):
    printed = output_of([sys.executable, os.path.join(ROOT, "tools", "bench_fusions.py"), model, f"--pinion={pinion}",
                         "--threads=1", "--rounds=1", "--calls=2"])
    launches = {words[0]: int(words[1]) for words in re.findall(r"^(all passes|without fusions) +all +(\d+)", printed, re.M)}
    check("not both rows", len(launches) == 2, printed)
    check("fusing leaves as many launches", launches["all passes"] < launches["without fusions"], printed)
    check("no stages", all(re.search(rf"^all passes +{stage} ", printed, re.M) for stage in ("vision", "prefix", "step")), printed)


def check_beside_torch(artifact, pinion):
    """On the cpu, where PyTorch's forms are two; a table of products that are all the work the manifest counts."""
    if importlib.util.find_spec("torch") is None:
        return print("skipped: bench_model_torch.py, as torch is not installed")
    tool = [sys.executable, os.path.join(ROOT, "tools", "bench_model_torch.py"), artifact, f"--pinion={pinion}", "--device=cpu",
            "--dimensions=small", "--rounds=1", "--seconds=0.01", "--beside=another=echo 1.5 3.0"]
    printed = output_of(tool)
    rows = ("Pinion", "PyTorch eager", "cuBLAS' products alone, summed", "another")
    check("not every row", all(re.search(rf"^{row} +[\d.]+ +[\d.-]+  [\d.]+ times", printed, re.M) for row in rows), printed)
    error = re.search(r"^actions of PyTorch eager.*: ([\d.e+-]+)$", printed, re.M)
    check("other actions than the exported form's", error and float(error[1]) < 0.05, printed)  # bf16 gives 0.01 to 0.02
    products = re.findall(r"^ *(\d+) x +(\d+) x (\d+) +(\d+) ", printed, re.M)
    work = sum(2 * math.prod(map(int, product)) for product in products)
    with open(os.path.join(artifact, "manifest.json")) as file:
        manifest = json.load(file)
    counted = sum(launch["flops"] * manifest["stages"][launch["stage"]]["repeat"]
                  for launch in manifest["launches"] if launch["family"] == "gemm")
    check(f"products of {work} operations for {counted}", 0.9 < work / counted <= 1, printed)  # the manifest counts epilogues
    refused = subprocess.run([*tool, "--policy=pi05"], capture_output=True, text=True)
    check("a Pi0 passes for a Pi0.5", refused.returncode != 0 and "see --policy" in refused.stderr, refused.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fixture")
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True)
    options = parser.parse_args()
    unpack_into_work(options)
    model, artifact = os.path.join(options.work, "model.onnx"), os.path.join(options.work, "artifact")
    output_of([options.pinion, "compile", model, "--target=cpu", "-o", artifact])
    inputs = os.path.join(options.work, "cases", os.listdir(os.path.join(options.work, "cases"))[0], "inputs")
    for flags in ([], ["--processor-time"]):
        check_beside_ort(model, artifact, inputs, options.pinion, flags)
    check_fusions(model, options.pinion)
    check_beside_torch(artifact, options.pinion)


if __name__ == "__main__":
    main()
