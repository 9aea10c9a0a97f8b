#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every pass of passes.def has its file passes/NAME.c, which says what it requires, produces and breaks, and its test
# tests/passes/NAME.mlir, which runs it; an optional pass also has cases that must not fire.
failed=0
complain() {
  echo "$1"
  failed=1
}
for pass in $(sed -n 's/^PASS("\([a-z-]*\)".*/\1/p' passes/passes.def); do
  source="passes/$(echo "$pass" | tr - _).c"
  test="tests/passes/$pass.mlir"
  [ -f "$source" ] || complain "$pass: there is no $source"
  for word in requires produces breaks; do
    grep -qi "$word" "$source" || complain "$source: its contract does not say what it $word"
  done
  if [ ! -f "$test" ]; then
    complain "$pass: there is no $test"
    continue
  fi
  grep -q "passes=.*$pass" "$test" || complain "$test: does not run $pass"
  grep -q "PASS(\"$pass\", [a-z_]*, true" passes/passes.def && continue
  grep -q "Must not fire" "$test" || complain "$test: has no case that must not fire"
done
exit $failed
