#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lay a committed fixture out as files. Needs nothing but Python.

    unpack_fixture.py FIXTURE OUT

FIXTURE is a folder under tests/fixtures (or its name). OUT then holds fixture.json, model.onnx,
model.onnx.data where the weights are external, and for each seed cases/SEED/inputs/NAME.npy and
cases/SEED/reference/actions.npy.
"""

import argparse
import lzma
import os
import shutil
import sys
import tarfile

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "fixtures")


def decompress(source, target):
    """Into a temporary name first, so that an interrupted run leaves no half a model."""
    with lzma.open(source) as packed, open(target + ".part", "wb") as file:
        shutil.copyfileobj(packed, file)
    os.replace(target + ".part", target)


def is_within(folder, name):
    return not os.path.isabs(name) and ".." not in name.split("/") and name.startswith(folder + "/")


def unpack_cases(source, out):
    with tarfile.open(source, "r:xz") as archive:
        for member in archive:
            if not member.isfile() or not is_within("cases", member.name):
                raise ValueError(f"{source}: unexpected entry '{member.name}'")
            target = os.path.join(out, *member.name.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                shutil.copyfileobj(archive.extractfile(member), file)


def unpack(fixture, out):
    if not os.path.isdir(fixture):
        named = os.path.join(FIXTURES, fixture)
        if not os.path.isdir(named):
            raise ValueError(f"no fixture '{fixture}', neither as a folder nor under tests/fixtures")
        fixture = named
    os.makedirs(out, exist_ok=True)
    shutil.copyfile(os.path.join(fixture, "fixture.json"), os.path.join(out, "fixture.json"))
    for packed in ("model.onnx", "model.onnx.data"):
        source = os.path.join(fixture, packed + ".xz")
        if os.path.exists(source):
            decompress(source, os.path.join(out, packed))
    unpack_cases(os.path.join(fixture, "cases.tar.xz"), out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", metavar="FIXTURE")
    parser.add_argument("out", metavar="OUT")
    options = parser.parse_args()
    try:
        unpack(options.fixture, options.out)
    except (OSError, ValueError, lzma.LZMAError, tarfile.TarError) as error:
        print(f"unpack_fixture.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
