#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Everything there is to measure of one artifact, on the machine where it runs:
#
#   tools/measure.sh ARTIFACT [OUT]     PINION: the binary, if it lies elsewhere than build/pinion; BASELINE: a saved bench
#
# Latency with copies apart and in the captured call, the same graph with empty kernels, energy, the time of each launch, a cold
# start with the weights in the page cache, and, where the artifact was compiled with candidates, its tiles. Reports and JSON
# files are left in OUT (/tmp/pinion-measure). OUT/bench.json is what a baseline is made of: commit it as
# benchmarks/NAME.json, NAME being the artifact's folder, and the next run is compared with it. Exits 1 if anything fails.
set -uo pipefail
artifact="${1:?usage: tools/measure.sh ARTIFACT [OUT]}"
out="${2:-/tmp/pinion-measure}"
pinion="${PINION:-$(dirname "$0")/../build/pinion}"
baseline="${BASELINE:-$(dirname "$0")/../benchmarks/$(basename "$artifact").json}"
mkdir -p "$out"
failed=0
say() { echo; echo "== $1"; }

empty=()
if [ -e "$artifact/kernels/pn_empty.cubin" ]; then empty=(--empty-kernels); fi
compare=()
if [ -e "$baseline" ]; then compare=("--compare=$baseline"); fi

say "latency, copies apart"
"$pinion" bench "$artifact" "${empty[@]}" "${compare[@]}" --save="$out/bench.json" || failed=1
say "latency, copies in the captured call"
"$pinion" bench "$artifact" --copies=graph --save="$out/bench_graph.json" || failed=1
say "cold start"
cat "$artifact/weights.bin" > /dev/null
"$pinion" bench "$artifact" --cold-start || failed=1
say "launch by launch"
"$pinion" profile "$artifact" --save="$out/profile.json" --trace="$out/trace.json" || failed=1
if [ -e "$artifact/candidates.c" ]; then
  say "tiles"
  "$pinion" tune "$artifact" -o "$out/tiles.tuning" || failed=1
fi
exit "$failed"
