#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# check_fixture.sh PINION CHECK_LOWERING UNPACK FIXTURE: runs the launches of a real export by the letter of the launch
# table, watching every byte of the arena (check_lowering.c).
set -e
pinion=$1 check_lowering=$2 unpack=$3 fixture=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$unpack" "$fixture" "$work/fixture" > "$work/log"
"$pinion" import "$work/fixture/model.onnx" -o "$work/fixture/imported.mlir"
"$pinion" opt --default-passes --dump-ir-after=eliminate-dead --dump-ir-dir="$work/fixture" \
  "$work/fixture/imported.mlir" -o /dev/null 2> "$work/log" || { cat "$work/log"; exit 1; }
last=$(ls "$work"/fixture/*-eliminate-dead.mlir | tail -n 1)
rounded=
if grep -q 'xbf16>' "$last"; then rounded=--rounded-to-bf16; fi
"$check_lowering" $rounded "$last"
"$check_lowering" --target=cpu $rounded "$last"
