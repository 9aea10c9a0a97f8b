#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `pinion inspect --json` says of every fixture's ONNX nodes, and of the launches that only move data.

- The account holds each node of the model once, and its ends sum to the model's node count, counted here on our own.
- No pass loses a node: a view is of an op type that can be one, and only passes that remove leave nodes dead.
- Every launch comes from nodes.
- The launches that only move data are those of data_movement.txt, whatever the exporter and opset.

    check_account.py --pinion=build/pinion --work=FOLDER [FIXTURE...]
"""
import argparse
import collections
import glob
import json
import os
import subprocess
import sys

import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools", "export"))
from unpack_fixture import unpack  # noqa: E402

ALLOWED = os.path.join(HERE, "data_movement.txt")
MOVES = {"Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
NEUTRAL = {"Add", "And", "Cast", "CastLike", "Div", "Mul", "Or", "Sub"}  # of an operand that changes nothing
MAY_BE_NEUTRAL_FOR = {"import", "canonicalise"}
REMOVE = {"import", "eliminate-dead", "simplify-masks"}


def node_count(model):
    """Nodes of the graph, where those of a function's body count instead of its call."""
    bodies = {(f.domain, f.name): f.node for f in model.functions}

    def count(nodes):
        return sum(count(bodies[n.domain, n.op_type]) if (n.domain, n.op_type) in bodies else 1 for n in nodes)

    return count(model.graph.node)


def check_nodes(shown, model):
    account = shown["onnx"]
    ends = account["ends"]
    counted = collections.Counter(row[3] for row in account["nodes"])
    if account["count"] != node_count(model) or len(account["nodes"]) != account["count"]:
        yield f"{account['count']} nodes in the account, {len(account['nodes'])} rows; the model has {node_count(model)}"
    if sum(end["count"] for end in ends) != account["count"] or any(counted[i] != end["count"] for i, end in enumerate(ends)):
        yield f"the ends do not sum up: {ends}"
    if len({(row[0], row[2]) for row in account["nodes"]}) != account["count"]:
        yield "two rows are one node"
    launched = {node for launch in shown["launches"] for node in launch["nodes"]}
    for index, (name, op_type, _, end) in enumerate(account["nodes"]):
        how, by, op_type = ends[end]["how"], ends[end]["by"], account["op_types"][op_type]
        if (how == "launch") != (index in launched):
            yield f"node '{name}' is {how}, and in {'a' if index in launched else 'no'} launch"
        if how == "view" and op_type not in MOVES and not (by in MAY_BE_NEUTRAL_FOR and op_type in NEUTRAL):
            yield f"node '{name}' ({op_type}) is said to be a view since {by}"
        if how == "dead" and by not in REMOVE:
            yield f"node '{name}' ({op_type}) is lost: join its location in {by}, which takes it in"


def check_launches(shown):
    for launch in shown["launches"]:
        if not launch["nodes"]:
            yield f"launch {launch['index']} ({launch['problem']}) comes from no node"


def read_allowed():
    lines = []
    with open(ALLOWED, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#"):
                continue
            models, stage, kind, count, op_types, why = (field.strip() for field in line.split("|"))
            lines.append(dict(models=models.split(", "), stage=stage, kind=kind, count=int(count), op_types=op_types.split(),
                              why=why))
    return lines


def kind_of(launch):
    return launch["family"] + ("." + launch["kind"] if launch.get("kind") else "")


def check_movement(shown, model, used):
    """A launch takes the place of the first line that it fits and that has one left."""
    moving = {row["name"] for row in shown["tables"]["kinds"] if row["moves_data"]}
    account = shown["onnx"]
    allowed = [line for line in read_allowed() if model in line["models"]]
    left = [line["count"] for line in allowed]
    for launch in shown["launches"]:
        stage, kind = shown["stages"][launch["stage"]]["name"], kind_of(launch)
        if kind not in moving:
            continue
        op_type = account["op_types"][account["nodes"][launch["nodes"][0]][1]] if launch["nodes"] else ""
        place = next((i for i, line in enumerate(allowed) if left[i] and (line["stage"], line["kind"]) == (stage, kind)
                      and op_type in line["op_types"]), None)
        if place is None:
            yield f"launch {launch['index']} ({stage}, {kind}, {op_type}, {launch['problem']}) is not in data_movement.txt"
        else:
            left[place] -= 1
    for line, count in zip(allowed, left):
        key = model, line["stage"], line["kind"], line["why"]
        used[key] = max(used[key], line["count"] - count)


def check_list(used):
    for line in read_allowed():
        for model in line["models"]:
            most = used.get((model, line["stage"], line["kind"], line["why"]))
            if most is not None and most < line["count"]:
                yield f"{model}: data_movement.txt allows {line['count']}, and no fixture has more than {most}: {line['why']}"


def check_fixture(options, fixture, used):
    work = os.path.join(options.work, fixture)
    unpack(os.path.join(ROOT, "tests", "fixtures", fixture), work)
    artifact = os.path.join(work, "artifact")
    subprocess.run([options.pinion, "compile", os.path.join(work, "model.onnx"), "-o", artifact], check=True)
    said = subprocess.run([options.pinion, "inspect", artifact, "--json"], check=True, capture_output=True, text=True)
    shown = json.loads(said.stdout)
    model = onnx.load(os.path.join(work, "model.onnx"), load_external_data=False)
    problems = [*check_nodes(shown, model), *check_launches(shown)]
    if "2_cameras" not in fixture:
        problems += check_movement(shown, fixture.split("_")[0], used)
    ends = collections.Counter()
    for end in shown["onnx"]["ends"]:
        ends[end["how"]] += end["count"]
    total, moved = shown["tables"]["total"], shown["tables"]["data_movement"]
    print(f"{fixture:24} {shown['onnx']['count']:6} nodes:", ", ".join(f"{n} {how}" for how, n in ends.items()),
          f"| {total['launches']} launches, {total['executed']} executed, {moved['executed']} of which only move data")
    for problem in problems[:20]:
        print(f"  {fixture}: {problem}")
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", nargs="*")
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True)
    options = parser.parse_args()
    found = glob.glob(os.path.join(ROOT, "tests", "fixtures", "*", "fixture.json"))
    fixtures = options.fixtures or sorted(os.path.basename(os.path.dirname(path)) for path in found)
    used = collections.Counter()
    good = [check_fixture(options, fixture, used) for fixture in fixtures]
    stale = [] if options.fixtures else list(check_list(used))
    print("\n".join(stale))
    sys.exit(not all(good) or bool(stale))


if __name__ == "__main__":
    main()
