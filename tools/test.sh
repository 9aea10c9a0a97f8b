#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs, builds (also with sanitizers) and runs every test that this machine can run. Ends with ctest's summary.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh --tests
jobs="$(nproc)"
[ -f build/build.ninja ] || cmake -S . -B build -G Ninja
cmake --build build
# With assertions, and MLIR's shared libraries: what the other build is without.
[ -f build-sanitize/build.ninja ] || cmake -S . -B build-sanitize -G Ninja -DPINION_SANITIZE=ON -DPINION_STATIC=OFF \
  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-g1
cmake --build build-sanitize --target unit_tests
exec ctest --test-dir build --output-on-failure -j "$jobs" "$@"
