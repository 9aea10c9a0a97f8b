#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every kernel of every committed fixture for a target: compile_fixtures.sh COMPILE_MODELS TARGET WORK
set -e
root="$(dirname "$0")/../.."
rm -rf "$3"
for fixture in "$root"/tests/fixtures/*/; do
  python3 "$root/tools/export/unpack_fixture.py" "$fixture" "$3/$(basename "$fixture")"
done
"$1" "$2" "$3"/*/model.onnx
