#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the fusions of a model are worth: its stages' times with all passes, and with passes left out.

    bench_fusions.py MODEL.onnx [--target=cpu] [--without=fuse-qkv,..] [--each] [--threads=N] [--rounds=5] [--pinion=build/pinion]

Compiles the model with and without the passes named (all optional ones that are called fuse-.. unless told), and profiles the two in
turns, so that a slow moment of the machine meets both. For each stage, all of its steps: the sum of its launches, the median of
the rounds. With --each a line more for each of the passes, left out alone. A benchmark, not a test: it never fails on a figure.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile


def fusions(pinion):
    lines = subprocess.run([pinion, "passes"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [line.split()[0] for line in lines if line.split()[0].startswith("fuse-")]


def compile_without(options, passes, folder):
    command = [options.pinion, "compile", options.model, f"--target={options.target}", "-o", folder]
    subprocess.run([*command, *(f"--disable-pass={name}" for name in passes)], check=True)


def stage_times(options, folder):
    """Milliseconds and launches executed by stage, in one profile of the artifact."""
    saved = os.path.join(folder, "profile.json")
    threads = [f"--threads={options.threads}"] if options.threads else []
    subprocess.run([options.pinion, "profile", folder, f"--calls={options.calls}", f"--save={saved}", *threads], check=True,
                   stdout=subprocess.DEVNULL)
    with open(saved) as file:
        launches = json.load(file)["launches"]
    with open(os.path.join(folder, "manifest.json")) as file:
        stages = json.load(file)["stages"]
    times, counts = {}, {}
    for launch in launches:
        name = stages[launch["stage"]]["name"]
        times[name] = times.get(name, 0) + launch["microseconds"] / 1e3
        counts[name] = counts.get(name, 0) + 1
    return {**times, "all": sum(times.values())}, {**counts, "all": len(launches)}


def measure(options, variants, root):
    """For each variant its stages' median times, and their launches."""
    folders = {name: os.path.join(root, str(i)) for i, name in enumerate(variants)}
    for name, passes in variants.items():
        compile_without(options, passes, folders[name])
    rounds = [{name: stage_times(options, folder) for name, folder in folders.items()} for _ in range(options.rounds)]
    times = {name: {stage: statistics.median(one[name][0][stage] for one in rounds) for stage in rounds[0][name][0]}
             for name in variants}
    return times, {name: rounds[0][name][1] for name in variants}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--pinion", default="build/pinion")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--without", default="", metavar="PASS,PASS,..")
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20, help="of each profile")
    options = parser.parse_args()
    passes = options.without.split(",") if options.without else fusions(options.pinion)
    variants = {"all passes": [], "without " + (options.without or "fusions"): passes}
    if options.each:
        variants.update({"without " + name: [name] for name in passes})
    with tempfile.TemporaryDirectory() as root:
        times, launches = measure(options, variants, root)
    fused = times["all passes"]
    print(f"{'variant':<24} {'stage':<8} {'launches':>8} {'ms':>10} {'ratio':>6}")
    for variant in variants:
        for stage, milliseconds in times[variant].items():
            ratio = f"{milliseconds / fused[stage]:6.2f}" if fused.get(stage) else f"{'-':>6}"
            print(f"{variant:<24} {stage:<8} {launches[variant][stage]:>8} {milliseconds:>10.3f} {ratio}")


if __name__ == "__main__":
    main()
