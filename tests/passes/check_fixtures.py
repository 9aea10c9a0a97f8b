#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the default pipeline makes of every fixture: all denoising steps outlined, one batch of all cameras' towers, ten
steps about as many ops, and as long to compile, as two; norms, rotations, attentions and activations recognised, as many
as the policy's dimensions say, whichever exporter and opset spelled them; masks reduced to valid keys and limits; and
the same launches for each layer. Prints tables; exits 1 if a rule is broken.

    check_fixtures.py --pinion=build/pinion --work=FOLDER
"""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MAXIMUM_RATIO = 1.3  # ops of ten steps to those of two
TEN_STEPS, TWO_STEPS = "pi0_small", "pi0_small_2_steps"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")


def functions_of(path):
    """Name of each function of a dump -> its lines."""
    functions, name = {}, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            found = re.search(r"func\.func (?:private )?@(\w+)", line)
            name = found[1] if found else name
            if name and re.search(r'"pinion\.\w+"|= (?:func\.)?call @', line):
                functions.setdefault(name, []).append(line)
    return functions


def dump(folder, name):
    return max(glob.glob(os.path.join(folder, f"[0-9][0-9][0-9]-{name}.mlir")))


def compile_fixture(pinion, fixture, work):
    model = os.path.join(work, fixture)
    dumps = os.path.join(model, "dumps")
    run(sys.executable, os.path.join(ROOT, "tools", "export", "unpack_fixture.py"), fixture, model)
    run(pinion, "import", os.path.join(model, "model.onnx"), "-o", os.path.join(model, "imported.mlir"))
    opt = [pinion, "opt", "--default-passes", "--target=cpu", os.path.join(model, "imported.mlir")]
    run(*opt, "-o", os.path.join(model, "lowered.mlir"), "--dump-ir-after=all", f"--dump-ir-dir={dumps}")
    start = time.perf_counter()
    run(*opt, "-o", os.path.join(model, "lowered.mlir"))
    return dumps, model, time.perf_counter() - start


def check(fixture, description, dumps):
    """Broken rules."""
    functions = functions_of(dump(dumps, "outline-weights"))
    main = "".join(functions.get("main", []))
    steps = re.findall(r'"pinion\.steps".*?count = (\d+)', main)
    batch, cameras = description.get("batch", 1), len(description["cameras"])
    towers = re.findall(r"call @vision\(.*?\) : \(tensor<(\d+)x", main)
    if steps != [str(description["steps"])]:
        yield f"{fixture}: pinion.steps of {steps}, not of {description['steps']}"
    if towers != [str(batch * cameras)] or "vision_1" in functions:
        yield f"{fixture}: calls of @vision on {towers} images, not one on {batch * cameras}"
    for name in ("prefix", "step", "weights"):
        if name not in functions:
            yield f"{fixture}: there is no @{name}"


def recognised(lines):
    """How many of each fused op, and of the ops that one must have taken."""
    text = "".join(lines)
    patterns = {"norms": r'"pinion\.norm"', "adaptive norms": r'"pinion\.norm"\(%\w+, %\w+, %\w+\).*kind = "rms"',
                "rotations": r'"pinion\.rope"', "attentions": r'"pinion\.attention"', "gelus": r'kind = "gelu_tanh"',
                "silus": r'kind = "silu"', "left over": r'"pinion\.softmax"|kind = "(?:tanh|sigmoid|rsqrt|sqrt|mean)"'}
    return {name: len(re.findall(pattern, text)) for name, pattern in patterns.items()}


def expected(description):
    """The same, from the policy's dimensions. The last prefix layer makes K and V alone; Pi0's time MLP is part of a step,
    Pi0.5's depends on the step's number alone and is computed at compile time."""
    layers, tower = description["dimensions"]["layers"], description["dimensions"]["vision_layers"]
    adaptive = description["policy"] == "pi05"
    none = {"adaptive norms": 0, "rotations": 0, "silus": 0, "left over": 0}
    return {
        "vision": {**none, "norms": 2 * tower + 1, "attentions": tower, "gelus": tower},
        "prefix": {**none, "norms": 2 * layers - 1, "rotations": 2 * layers - 1, "attentions": layers - 1,
                   "gelus": layers - 1},
        "step": {"norms": 2 * layers + 1, "adaptive norms": (2 * layers + 1) * adaptive, "rotations": 2 * layers,
                 "attentions": layers, "gelus": layers, "silus": 1 - adaptive, "left over": 0},
    }


def check_recognised(fixture, description, dumps):
    """Broken rules."""
    functions = functions_of(dump(dumps, "batch-vision"))
    for name, wanted in expected(description).items():
        found = recognised(functions.get(name, []))
        for what, count in wanted.items():
            if found[what] != count:
                yield f"{fixture}: @{name} has {found[what]} {what}, not {count}"


def check_masks(fixture, description, dumps):
    """Broken rules: the masks of the language model's attentions are valid keys, and limits where a state's token sees no
    action (Pi0)."""
    functions = functions_of(dump(dumps, "simplify-masks"))
    for name in ("prefix", "step"):
        attentions = [line for line in functions.get(name, []) if '"pinion.attention"' in line]
        valid = sum(bool(re.search(r"tensor<\d+x1x1x\d+xi1>\) ->", line)) for line in attentions)
        limits = sum("limits" in line for line in attentions)
        wanted = len(attentions) * (name == "step" and description["policy"] == "pi0")
        if (valid, limits) != (len(attentions), wanted):
            yield (f"{fixture}: of {len(attentions)} attentions of @{name} {valid} have a vector of valid keys, and {limits} "
                   f"limits, not {wanted}")


def launches_by_layer(path):
    """(stage, layer) -> the families of its launches, and the sizes of its gemms. A product that ends one layer and begins the
    next counts for the first; what serves several layers (the tables of angles) for none."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    stages = re.findall(r'name = "(\w+)", repeat', text)
    families, gemms = {}, {}
    for line in re.findall(r'"pinion\.launch".*', text):
        family = re.search(r'family = "(\w+)"', line)[1]
        nodes = re.search(r"nodes = \[(.*?)\]", line)[1]
        layers = sorted({int(layer) for layer in re.findall(r"@[^\"]*layers\.(\d+)", nodes)})
        if not layers or (len(layers) > 1 and family == "pointwise"):
            continue
        place = (stages[int(re.search(r"stage = (\d+)", line)[1])], layers[0])
        families.setdefault(place, []).append(family)
        if family == "gemm":
            sizes = re.search(r" sizes = array<i64: ([\d, ]+)>", line)[1]
            gemms.setdefault(place, []).append([int(size) for size in sizes.split(", ")])
    return {place: tuple(sorted(names)) for place, names in families.items()}, gemms


def check_layers(policy, launches):
    """Broken rules: each layer takes the same launches, whatever exporter, opset and element type its policy came by."""
    like = min(launches)
    for place in sorted(set().union(*launches.values())):
        print(f"{policy} {place[0]:6} layer {place[1]}: {' '.join(launches[like].get(place, ()))}")
        for fixture, found in launches.items():
            if found.get(place) != launches[like].get(place):
                yield (f"{fixture}: layer {place[1]} of {place[0]} takes {found.get(place)}; that of {like} "
                       f"{launches[like].get(place)}")


def check_last_prefix_layer(fixture, description, families, gemms):
    """Broken rules: the last layer of the prefix makes K and V alone."""
    dimensions = description["dimensions"]
    place = ("prefix", dimensions["layers"] - 1)
    if families.get(place) != ("gemm",):
        yield f"{fixture}: the last layer of the prefix takes {families.get(place)}, not one gemm"
        return
    _, _, _, groups, columns, accumulators, _ = gemms[place][0]
    wanted = 2 * dimensions["key_heads"] * dimensions["head_dim"]
    if groups * columns * accumulators != wanted:
        yield f"{fixture}: the last layer of the prefix makes {groups * columns * accumulators} columns, not {wanted} of K and V"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True)
    arguments = parser.parse_args()
    broken, ops, seconds, layers = [], {}, {}, {}
    print(f"{'fixture':24} {'imported':>8} {'outlined':>8} {'fused':>6} {'launches':>8} {'seconds':>8}")
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "fixtures", "*", "fixture.json"))):
        with open(path, encoding="utf-8") as file:
            description = json.load(file)
        fixture = os.path.basename(os.path.dirname(path))
        dumps, model, seconds[fixture] = compile_fixture(arguments.pinion, fixture, arguments.work)
        counts = [sum(map(len, functions_of(name).values()))
                  for name in (os.path.join(model, "imported.mlir"), dump(dumps, "batch-vision"),
                               dump(dumps, "eliminate-dead"))]
        with open(os.path.join(model, "lowered.mlir"), encoding="utf-8") as file:
            launches = file.read().count('"pinion.launch"')
        ops[fixture] = counts[-1]
        print(f"{fixture:24} {counts[0]:8} {counts[1]:8} {counts[2]:6} {launches:8} {seconds[fixture]:8.2f}")
        broken += check(fixture, description, dumps)
        broken += check_recognised(fixture, description, dumps)
        broken += check_masks(fixture, description, dumps)
        families, gemms = launches_by_layer(os.path.join(model, "lowered.mlir"))
        layers.setdefault(description["policy"], {})[fixture] = families
        broken += check_last_prefix_layer(fixture, description, families, gemms)
    for policy, launches in sorted(layers.items()):
        broken += check_layers(policy, launches)
    ratio = ops[TEN_STEPS] / ops[TWO_STEPS]
    print(f"ten steps to two: {ratio:.3f} times the ops (at most {MAXIMUM_RATIO}), "
          f"{seconds[TEN_STEPS] / seconds[TWO_STEPS]:.2f} times the seconds of the passes")
    if ratio > MAXIMUM_RATIO:
        broken.append(f"ten steps have {ratio:.2f} times the ops of two")
    print("\n".join(broken))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
