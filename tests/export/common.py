# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Paths, and fixtures unpacked once per run."""

import functools
import importlib.util
import json
import os
import sys
import tempfile

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FIXTURES = os.path.join(ROOT, "tests", "fixtures")
TOOLS = os.path.join(ROOT, "tools")
sys.path[:0] = [os.path.join(TOOLS, "export"), TOOLS]

import unpack_fixture  # noqa: E402

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
