#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rules of the tree that a compiler does not check. Prints each violation, exits 1 if there is one.

    check_tree.py [--clang-format=clang-format-22]

- a source file begins with the licence's SPDX line, has under a thousand lines and ends with a newline
- C code is formatted as .clang-format says
- every pass file has its test in tests/passes and its line in passes.def, and the other way round
- no target is named outside targets/, tests/, tools/ and the documentation: the others ask the target's struct
- the runtime does not print, exit or abort
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SOURCES = (".c", ".h", ".def", ".cu", ".cuh", ".in", ".py", ".sh", ".cmake", ".mlir")
FORMATTED = (".c", ".h")
MAXIMUM_LINES = 1000
COMPILER_FOLDERS = ("frontend/", "ir/", "passes/", "codegen/", "runtime/")


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [name for name in listed.stdout.split("\0") if name and os.path.exists(os.path.join(ROOT, name))]
    found = []  # not a checkout: a source archive
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if not f.startswith((".", "build"))]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    return found


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def check_source(name, content):
    if "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception" not in content[:300]:
        yield f"{name}: the SPDX line is missing"
    if content.count("\n") >= MAXIMUM_LINES:
        yield f"{name}: {content.count(chr(10))} lines; split it (under {MAXIMUM_LINES})"
    if not content.endswith("\n"):
        yield f"{name}: no newline at the end"


def without_comments(content):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", content, flags=re.S)


def check_target_names(name, content, targets):
    if not name.startswith(COMPILER_FOLDERS):
        return
    for target in targets:
        if target != "cpu" and f'"{target}"' in without_comments(content):
            yield f"{name}: names the target {target}; ask the target's struct instead"


def check_runtime(name, content):
    if not name.startswith("runtime/") or os.path.basename(name) in ("bench.c", "tune.c", "tune.h"):  # programs
        return
    for call in re.findall(r"\b(printf|fprintf|puts|perror|exit|abort|assert)\s*\(", without_comments(content)):
        yield f"{name}: calls {call}; the runtime reports by status"


def check_passes(files):
    rows = re.findall(r'^PASS\("([a-z-]+)"', read("passes/passes.def"), flags=re.M)
    for row in rows:
        if f"passes/{row.replace('-', '_')}.c" not in files:
            yield f"passes/passes.def: '{row}' has no file of its name"
        if f"tests/passes/{row}.mlir" not in files:
            yield f"passes/passes.def: '{row}' has no tests/passes/{row}.mlir"
    for name in files:
        match = re.fullmatch(r"passes/(\w+)\.c", name)
        if match and re.search(r"^status pass_\w+\(", read(name), flags=re.M) and match[1].replace("_", "-") not in rows:
            yield f"{name}: a pass without a line in passes.def"


def check_format(files, program):
    if not shutil.which(program):
        print(f"{program} is not installed: formatting is not checked")
        return
    names = [name for name in files if name.endswith(FORMATTED)]
    done = subprocess.run([program, "--dry-run", "-Werror", *names], cwd=ROOT, capture_output=True, text=True)
    for name in sorted(set(re.findall(r"^(\S+?):\d+:\d+: error: code should be clang-formatted", done.stderr, flags=re.M))):
        yield f"{name}: not formatted; run {program} -i"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clang-format", default="clang-format-22")
    options = parser.parse_args()
    files = set(tracked_files())
    targets = sorted({name.split("/")[1] for name in files if name.startswith("targets/") and name.count("/") > 1})
    violations = []
    for name in sorted(files):
        if not name.endswith(SOURCES) or name.startswith("tests/fixtures/"):
            continue
        content = read(name)
        violations += check_source(name, content)
        if name.endswith((".c", ".h")):
            violations += check_target_names(name, content, targets)
            violations += check_runtime(name, content)
    violations += check_passes(files)
    violations += check_format(sorted(files), options.clang_format)
    print("\n".join(violations) if violations else f"{len(files)} files, no violation")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
