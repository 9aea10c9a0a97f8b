#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Imports each model of onnx_cases.py, evaluates it with the reference interpreter and compares with what is expected.

    test_import.py EVAL_ONNX [-k PART_OF_NAME]

Also holds the import table against the cases: an op that no case covers is a failure.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper

from onnx_cases import all_cases

DTYPES = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "bool": np.bool_,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "u64": np.uint64,
    "u32": np.uint32,
    "u16": np.uint16,
    "u8": np.uint8,
}


def write_case(folder, case):
    os.makedirs(folder)
    onnx.save(case.model, os.path.join(folder, "model.onnx"))
    for index, array in enumerate(case.inputs):
        with open(os.path.join(folder, f"input_{index}.pb"), "wb") as file:
            file.write(numpy_helper.from_array(array, f"x{index}").SerializeToString())


def read_outputs(folder):
    """(exit status, diagnostics, arrays)"""
    status, lines, arrays = None, [], []
    with open(os.path.join(folder, "result.txt")) as file:
        for line in file.read().splitlines():
            words = line.split()
            if words[:1] == ["output"]:
                dtype, dims = np.dtype(DTYPES[words[2]]), tuple(map(int, words[3:]))
                arrays.append(np.fromfile(os.path.join(folder, f"output_{words[1]}.bin"), dtype).reshape(dims))
            elif words[:1] == ["status"]:
                status = int(words[1])
            else:
                lines.append(line)
    return status, lines, arrays


def shown(array):
    return np.array2string(array, threshold=12, edgeitems=2).replace("\n", "")


def difference(case, arrays):
    """None, or what is wrong."""
    if len(arrays) != len(case.expected):
        return f"{len(arrays)} outputs, not {len(case.expected)}"
    for index, (got, wanted) in enumerate(zip(arrays, case.expected)):
        if got.dtype != wanted.dtype or got.shape != wanted.shape:
            return f"output {index} is {got.dtype}{got.shape}, not {wanted.dtype}{wanted.shape}"
        exact = wanted.dtype.kind in "biu" or case.tolerance == 0
        if exact and not np.array_equal(got, wanted):
            return f"output {index} differs: {shown(got)}, not {shown(wanted)}"
        a, b = got.astype(np.float64), wanted.astype(np.float64)
        scale = max(1e-6, float(np.max(np.abs(b), initial=0, where=np.isfinite(b))))
        if not np.allclose(a, b, rtol=case.tolerance, atol=case.tolerance * scale, equal_nan=True):
            return (
                f"output {index} is off by {np.nanmax(np.abs(a - b)):.3g} of {scale:.3g}: {shown(got)}, not {shown(wanted)}"
            )
    return None


def uncovered_ops(cases, table):
    covered = {node.op_type for case in cases for node in case.model.graph.node}
    return sorted({line.split()[0] for line in table.splitlines() if line} - covered)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eval_onnx")
    parser.add_argument("-k", default="", help="only cases with this in their name")
    parser.add_argument("--keep", help="folder to leave the models in")
    options = parser.parse_args()

    cases = [case for case in all_cases() if options.k in case.name]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    work = options.keep or tempfile.mkdtemp(prefix="pinion-import-")
    failures = []
    try:
        for case in cases:
            write_case(os.path.join(work, case.name), case)
        subprocess.run([options.eval_onnx, *[os.path.join(work, name) for name in names]], check=True)
        for case in cases:
            status, lines, arrays = read_outputs(os.path.join(work, case.name))
            wrong = "\n".join(lines) or f"status {status}" if status != 0 else difference(case, arrays)
            if wrong:
                failures.append(f"{case.name}: {wrong}")
    finally:
        if not options.keep:
            shutil.rmtree(work)
    if not options.k:
        table = subprocess.run([options.eval_onnx, "--ops"], check=True, capture_output=True, text=True).stdout
        failures += [f"{op}: no case covers this op of the import table" for op in uncovered_ops(cases, table)]
    print("\n".join(failures))
    print(f"{len(cases)} cases, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
