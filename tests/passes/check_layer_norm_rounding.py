#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What fuse-layernorm adds to a projection's rounding is what passes/fuse_layernorm.c says: with e the error of the norm's own launch
and a product of bf16, at most e * sqrt(1 + (mean / deviation)^2), however far channels of x lie out. And in float32 the variance,
from sums of x and x * x, is off by float32's rounding times 1 + (mean / deviation)^2.

    check_layer_norm_rounding.py --eval-subsets=build/tests/eval_subsets --work=FOLDER

Errors are relative L2, of the reference interpreter with every value rounded as typed, against its float64 evaluation.
"""
import argparse
import math
import os
import subprocess
import sys

from random_graphs import Graph

ROWS, WIDTH, COLUMNS = 6, 320, 48
OUTLIERS = 3  # channels
FUSED = "fuse-pointwise,fuse-epilogue"
# e is an average over numbers of any size: near one number, as x is about a large mean, roundings are up to twice as large where that
# is just above a power of two, by 1.2 times the average there.
CHANCE = 1.5
# Of a chain of roundings of 2^-24 as it comes out without the pass, the sums of 5 blocks of columns included.
FLOAT32 = 3e-7


def projection(policy, ratio, outlier):
    """norm(x) W of x = a O + r, whose rows have a mean of `ratio` deviations, and OUTLIERS channels `outlier` times as large."""
    g = Graph(7)
    g.policy = policy
    spread = [outlier if channel % (WIDTH // OUTLIERS) == 50 else 1.0 for channel in range(WIDTH)]
    deviation = math.sqrt(sum(s * s for s in spread) / WIDTH)
    r = g.add(g.mul(g.argument([1, ROWS, WIDTH]), g.constant(spread)), ratio * deviation)
    x = g.add(g.matmul(g.argument([1, ROWS, 8]), g.weight([8, WIDTH], 0.01)), r)
    y = g.norm("layer", x, g.weight([WIDTH], 0.2, 1.0), g.weight([WIDTH], 0.2), 1e-6)
    g.keep(g.matmul(y, g.weight([WIDTH, COLUMNS], 0.05, 0.02)))
    return g


def errors(options, policy, ratio, outlier):
    """Without the pass and with it; and whether it fired."""
    g = projection(policy, ratio, outlier)
    module = g.write(os.path.join(options.work, f"{policy}_{ratio}_{outlier}"))
    before = ("narrow-operands," if policy else "") + FUSED
    command = [options.eval_subsets, module, "1", before, before + ",fuse-layernorm"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{module}: {done.stderr}")
    apart, fused = (float(line.split()[2]) for line in done.stdout.splitlines()[1:])
    return apart, fused, "fuse-layernorm          1 changes" in done.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval-subsets", required=True)
    parser.add_argument("--work", required=True)
    options = parser.parse_args()
    failed = False
    for policy in ("bf16", None):
        for ratio in (0, 1, 4, 16):
            for outlier in (1.0, 30.0, 1000.0):
                apart, fused, fired = errors(options, policy, ratio, outlier)
                allowed = CHANCE * apart * math.sqrt(1 + ratio**2) if policy else FLOAT32 * (1 + ratio**2)
                wrong = not fired or not fused <= allowed
                failed |= wrong
                print(f"{policy or 'float32'}: mean {ratio} deviations, outliers {outlier:g} times the rest: {apart:.1e} apart, "
                      f"{fused:.1e} fused, allowed {allowed:.1e}{'' if fired else ', NOT FUSED'}{' WRONG' if wrong else ''}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
