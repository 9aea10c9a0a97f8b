#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The main job, from nothing: installs, builds, compiles a small but structurally true Pi0 for the cpu target, runs it and
# compares its actions with PyTorch's.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh
[ -f build/build.ninja ] || cmake -S . -B build -G Ninja
cmake --build build --target pinion

out=build/demo
rm -rf "$out"
mkdir -p "$out"
.venv/bin/python tools/export/unpack_fixture.py tests/fixtures/pi0_small "$out/pi0_small"
set -x
build/pinion compile "$out/pi0_small/model.onnx" --target=cpu -o "$out/artifact"
build/pinion run "$out/artifact" --inputs="$out/pi0_small/cases/0/inputs" --reference="$out/pi0_small/cases/0/reference"
