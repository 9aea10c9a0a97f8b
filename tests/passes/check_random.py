#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""No subset of the passes changes what a graph computes: random graphs made of what the passes look for (random_patterns.py), and
random lists of passes on each, in the reference interpreter.

    check_random.py --eval-subsets=build/tests/eval_subsets --work=FOLDER [--graphs=N] [--lists=M] [--seed=S]

Where no pass of a list computes the same by other operations (check_subsets.py: ROUND_DIFFERENTLY), every bit stays. Otherwise the
float64 evaluation stays within EXACT of the graph's own, and rounding as typed is at most TYPED_RATIO times as far from that as the
graph's own rounding is. Each list of all passes ends after a random number of rewrites, too: any first rewrites must leave a module
that computes the same.

Prints how often each pass changed something: every one must, or the graphs lack its pattern. A failure is printed with the shortest
list that still fails; --seed=S --graphs=1 makes that graph again.
"""
import argparse
import collections
import concurrent.futures
import os
import random
import re
import subprocess
import sys

import random_patterns
from check_subsets import ROUND_DIFFERENTLY, pass_names
from random_graphs import Graph

EXACT = {"f32": 1e-5, "f16": 5e-3, "bf16": 3e-2}  # constants are folded, and named, in the graph's type
# A fused op rounds once where its parts rounded several times, or the other way round; an own error of a few ulps may be luck.
TYPED_RATIO, TYPED_FLOOR = 4.0, {"f32": 1e-6, "f16": 1e-3, "bf16": 4e-2}
ON_REQUEST = {"batch-samples", "drop-masked-tokens"}  # they act on --batch and --absent-camera alone
BY_POLICY = {"narrow-operands", "drop-roundings"}  # round operands to bf16, and numbers on their way less, under that policy


def build(seed):
    half = [("f32", "bf16"), ("bf16", "bf16"), ("bf16", None), ("bf16", None), ("f16", None)]
    dtype, policy = random.Random(seed).choice([("f32", None)] * 6 + half)
    graph = Graph(seed, dtype)
    graph.policy = policy
    random_patterns.build(graph)
    return graph


def random_lists(generator, names, count):
    """Subsets in order, and sometimes not; the whole, and the whole up to some rewrite."""
    yield "default"
    yield f"default:{generator.randrange(1, 400)}"
    for _ in range(count - 2):
        chosen = [name for name in names if generator.random() < 0.7]
        if generator.random() < 0.3:
            generator.shuffle(chosen)
        yield ",".join(chosen + generator.sample(names, 3))


def evaluate(program, module, seed, lists):
    """A verdict for each list, or None if one does not run; and what was said."""
    done = subprocess.run([program, module, str(seed), *lists], capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr
    visible, *verdicts = [line.split() for line in done.stdout.splitlines()]
    if visible[0] != "unseen":
        return None, f"{module}: results change with {visible[1]} elements that they cannot see (ir/visible.h)"
    return verdicts, done.stderr


def fault(graph, passes, verdict):
    """What is wrong with the result of a list; None if nothing is."""
    same, (own, typed, exact) = verdict[0] == "same", map(float, verdict[1:])
    rounding = ROUND_DIFFERENTLY | BY_POLICY if graph.policy else ROUND_DIFFERENTLY
    if same:
        return None
    if passes.partition(":")[0] != "default" and not rounding.intersection(passes.split(",")):
        return "other bits"
    if not exact <= EXACT[graph.policy or graph.dtype]:
        return f"in float64 {exact:.1e} from the graph's own result"
    if not typed <= TYPED_RATIO * own + TYPED_FLOOR[graph.policy or graph.dtype]:
        return f"rounds {typed / own if own else typed:.1f} times as far as the graph itself ({typed:.1e})"
    return None


def shortened(options, graph, module, passes):
    """The list without the passes that it fails without, too."""
    if passes.startswith("default"):
        return passes
    names = passes.split(",")
    for name in list(names):
        fewer = list(names)
        fewer.remove(name)
        verdicts, _ = evaluate(options.eval_subsets, module, graph.seed, [",".join(fewer)])
        if fewer and (verdicts is None or fault(graph, ",".join(fewer), verdicts[0])):
            names = fewer
    return ",".join(names)


def check_graph(options, names, seed):
    """Returns the faults of one graph, and how many changes each pass made."""
    graph = build(seed)
    module = graph.write(os.path.join(options.work, str(seed)))
    lists = list(random_lists(random.Random(seed), names, options.lists))
    verdicts, said = evaluate(options.eval_subsets, module, seed, lists)
    faults, fired = [], collections.Counter()
    if verdicts is None:
        messages = [line for line in said.splitlines() if line.startswith(module)]
        return ["\n  ".join([f"seed {seed}: no verdict on", *lists, *messages])], fired
    for name, changes in re.findall(r"^ *\d+ ([a-z-]+) +(\d+) changes", said, flags=re.M):
        fired[name] += int(changes)
    for passes, verdict in zip(lists, verdicts):
        what = fault(graph, passes, verdict)
        if what:
            least = shortened(options, graph, module, passes)
            faults.append(f"seed {seed} ({graph.dtype}): {what}\n  after --passes={least}\n  {module}")
    return faults, fired


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval-subsets", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--graphs", type=int, default=120)
    parser.add_argument("--lists", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0, help="of the first graph; the next has the next")
    options = parser.parse_args()
    names, fired, faults = pass_names(), collections.Counter(), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        seeds = range(options.seed, options.seed + options.graphs)
        for found, changes in pool.map(lambda seed: check_graph(options, names, seed), seeds):
            faults += found
            fired += changes
    print("\n".join(faults))
    print(f"{options.graphs} graphs, {options.lists} lists of passes on each, {len(faults)} failed; changes made:")
    print("\n".join(f"  {fired[name]:7d} {name}" for name in names))
    silent = [name for name in names if not fired[name] and name not in ON_REQUEST]
    if silent and options.graphs > 1:
        print(f"no graph made {', '.join(silent)} change anything: random_patterns.py lacks what it looks for")
    sys.exit(1 if faults or (silent and options.graphs > 1) else 0)


if __name__ == "__main__":
    main()
