#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The benchmarks of whole models run, and print what they promise; never how fast anything is.

    check_benchmarks.py FIXTURE --pinion=build/pinion --work=DIR
"""
import argparse
import os
import re
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


if __name__ == "__main__":
    main()
