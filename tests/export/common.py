# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Paths, and fixtures unpacked once per run."""

import contextlib
import functools
import importlib.util
import io
import json
import os
import sys
import tempfile
import unittest
from types import SimpleNamespace
from unittest import mock

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FIXTURES = os.path.join(ROOT, "tests", "fixtures")
TOOLS = os.path.join(ROOT, "tools")
sys.path[:0] = [os.path.join(TOOLS, "export"), TOOLS]

import unpack_fixture  # noqa: E402

ALL_SKIPPED = 77  # the exit status that ctest is told to call a skip

SCRATCH = tempfile.TemporaryDirectory(prefix="pinion-export-")


def missing(*modules):
    """The reason to skip, or None: which of the modules are not installed."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def fixture_names():
    return sorted(name for name in os.listdir(FIXTURES) if os.path.isdir(os.path.join(FIXTURES, name)))


def description(name):
    with open(os.path.join(FIXTURES, name, "fixture.json")) as file:
        return json.load(file)


@functools.cache
def unpacked(name):
    out = os.path.join(SCRATCH.name, name)
    unpack_fixture.unpack(os.path.join(FIXTURES, name), out)
    return out


def call(main, *arguments):
    """Runs a tool's main in this process: importing torch anew for each call would take most of the time."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch("sys.argv", ["tool", *arguments]), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main()
        except SystemExit as exit:
            status = exit.code
    return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


def run_tests():
    """unittest.main, but where every test is skipped, so is the whole file, with the reasons."""
    program = unittest.main(module="__main__", exit=False)
    result = program.result
    if result.wasSuccessful() and result.testsRun == len(result.skipped):
        for reason in sorted({reason for _, reason in result.skipped}):
            print(f"skipped: {reason}", file=sys.stderr)
        sys.exit(ALL_SKIPPED)
    sys.exit(not result.wasSuccessful())
