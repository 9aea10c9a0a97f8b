#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes small valid models into a folder, for the fuzzer to start from and the mutation test to damage.

make_seeds.py FOLDER
"""

import os
import sys

from onnx_cases import all_cases

LARGEST = 8192  # bytes: beyond, most damage hits a tensor's values


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for case in all_cases():
        content = case.model.SerializeToString()
        if len(content) <= LARGEST:
            with open(os.path.join(folder, case.name + ".onnx"), "wb") as file:
                file.write(content)


if __name__ == "__main__":
    main(sys.argv[1])
