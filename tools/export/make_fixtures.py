#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generate the committed fixtures under tests/fixtures.

    make_fixtures.py [--only=NAME,NAME] [--out=FOLDER]

Each is a real export of a small policy (small widths, full structure) with eight cases of inputs and a
float64 evaluation of the PyTorch model as reference. Needs torch, onnx, onnxscript, numpy; onnxruntime
where it is installed.
"""

import argparse
import dataclasses
import io
import json
import lzma
import os
import re
import sys
import tarfile
import tempfile
from dataclasses import dataclass

import numpy
import onnx
import torch

from pinion_export import cases, checks, figures, onnx_export, policies
from pinion_export.dimensions import CAMERAS, SMALL, Dimensions

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
LARGEST_COMMITTED = 1_000_000  # bytes, of one fixture
SIGNIFICANT_BITS = 6  # of every weight: exact in bf16, and small once compressed

# A scale of 1/sqrt(head_dim) that bf16 holds exactly, as that of the full-size head_dim 256 is.
BF16_SIZE = dataclasses.replace(SMALL, head_dim=16)
TINY = dataclasses.replace(SMALL, image_size=28, language_width=72, language_mlp=152, vision_mlp=139)


@dataclass(frozen=True)
class Plan:
    policy: str  # pi0 or pi05
    exporter: str
    opset: int
    dtype: str = "float32"
    steps: int = 3
    batch: int = 1
    external: bool = False
    optimize: bool = True  # whether the exporter folds constants
    cameras: tuple = CAMERAS
    size: Dimensions = SMALL
    seed: int = 1  # of the weights: equal policy, size and seed are the same model


PLANS = {
    "pi0_small": Plan("pi0", "dynamo", 20, steps=10),
    "pi0_small_2_steps": Plan("pi0", "dynamo", 20, steps=2),
    "pi0_small_2_cameras": Plan("pi0", "dynamo", 20, steps=2, cameras=CAMERAS[:2]),
    "pi0_torchscript": Plan("pi0", "torchscript", 17, steps=3, size=TINY),
    "pi0_opset18_batch2": Plan("pi0", "dynamo", 18, steps=3, batch=2, external=True, size=TINY),
    "pi0_opset23": Plan("pi0", "dynamo", 23, steps=2, size=TINY),
    "pi0_bf16": Plan("pi0", "dynamo", 20, dtype="bf16", steps=10, external=True, size=BF16_SIZE),
    "pi0_bf16_opset23": Plan("pi0", "dynamo", 23, dtype="bf16", steps=2, size=BF16_SIZE),
    "pi05_small": Plan("pi05", "dynamo", 20, steps=4, external=True, seed=3),
    "pi05_torchscript": Plan("pi05", "torchscript", 17, steps=2, size=TINY, seed=3),
    "pi05_opset23_batch2": Plan("pi05", "dynamo", 23, steps=3, batch=2, size=TINY, seed=3),
    "pi0_unoptimised": Plan("pi0", "dynamo", 20, steps=2, size=TINY, optimize=False),
    "pi05_bf16": Plan("pi05", "dynamo", 18, dtype="bf16", steps=4, size=BF16_SIZE, seed=4),
    "pi05_bf16_torchscript": Plan("pi05", "torchscript", 17, dtype="bf16", steps=2, size=BF16_SIZE, seed=4),
}


class FixtureError(Exception):
    pass


def build(plan):
    policy = policies.build_own(plan.size, plan.policy == "pi05", plan.seed, SIGNIFICANT_BITS)
    return policies.own_sampler(policies.as_dtype(policy, plan.dtype), plan.cameras, plan.steps)


def without_machine_paths(text):
    """Stack traces name files: keep the part that is the same on every machine."""
    text = text.replace(ROOT + os.sep, "")
    return re.sub(r'/[^"\s]*/site-packages/', "site-packages/", text)


def all_messages(model):
    graph = model.graph
    return [model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output,
            *(node for function in model.functions for node in [function, *function.node])]


def clean_paths(path):
    """Rewrites the machine's paths in the metadata, drops nothing, and checks that none is left."""
    model = onnx.load(path, load_external_data=False)
    for message in all_messages(model):
        for entry in message.metadata_props:
            entry.value = without_machine_paths(entry.value)
            if re.search(r'["\s](/[\w.-]+){2,}', entry.value):
                raise FixtureError(f"a path of this machine is left in '{entry.key}': {entry.value[:300]}")
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def compress(source, target):
    """Weights come as 4-byte (2-byte) values: two position bits let LZMA learn each byte apart."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 1, "lp": 2, "pb": 2}]
    with open(source, "rb") as file:
        packed = lzma.compress(file.read(), lzma.FORMAT_XZ, filters=filters)
    with open(target, "wb") as file:
        file.write(packed)
    return len(packed)


def npy_bytes(value):
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.ascontiguousarray(value.numpy()), allow_pickle=False)
    return buffer.getvalue()


def pack_cases(path, inputs, references):
    """One archive with fixed times and owners, so that the same values are the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for seed, (case, reference) in enumerate(zip(inputs, references)):
            files = {f"inputs/{name}": value for name, value in case.items()}
            files["reference/actions"] = reference
            for name, value in files.items():
                data = npy_bytes(value)
                member = tarfile.TarInfo(f"cases/{seed}/{name}.npy")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    packed = lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    with open(path, "wb") as file:
        file.write(packed)
    return len(packed)


def describe(plan, case, measured):
    """fixture.json: what it is, and the figures that a compiled model is held against."""
    types = {torch.float32: "float32", torch.bool: "bool", torch.int64: "int64"}
    described = {name: getattr(plan, name) for name in ("policy", "exporter", "opset", "dtype", "batch", "steps")}
    described["cameras"] = list(plan.cameras)
    described["external_data"] = plan.external
    described["optimized_by_exporter"] = plan.optimize
    described["weights_seed"] = plan.seed
    described["dimensions"] = dataclasses.asdict(plan.size)
    described["versions"] = {"torch": torch.__version__, "onnx": onnx.__version__}
    described["inputs"] = [
        {"name": name, "shape": list(value.shape), "dtype": types[value.dtype]} for name, value in case.items()
    ]
    described["outputs"] = [{"name": "actions", "shape": list(case["noise"].shape), "dtype": "float32"}]
    return {**described, **measured}


def make(name, plan, out):
    torch.manual_seed(0)
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    sampler = build(plan)
    inputs = cases.variations(plan.size, plan.cameras, plan.batch)
    changes = checks.sensitivity(sampler, inputs[0], plan.size, plan.cameras, plan.policy == "pi05")
    references, errors = figures.against_float64(sampler, inputs, plan.dtype)
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "model.onnx")
        onnx_export.export(
            sampler, inputs[0], plan.cameras, path, plan.exporter, plan.opset, plan.external, plan.optimize
        )
        clean_paths(path)
        for case, error in zip(errors, figures.graph_errors(path, inputs, references)):
            case["graph_float64_error"] = error
        runtime = figures.onnxruntime_errors(path, inputs, references)
        size = compress(path, os.path.join(folder, "model.onnx.xz"))
        packed_data = os.path.join(folder, "model.onnx.data.xz")
        onnx_export.remove_if_there(packed_data)
        if plan.external:
            size += compress(path + ".data", packed_data)
    size += pack_cases(os.path.join(folder, "cases.tar.xz"), inputs, references)
    measured = {"name": name, "changes": rounded(changes), "cases": errors, "onnxruntime": runtime}
    text = json.dumps({"name": name, **describe(plan, inputs[0], measured)}, indent=1)
    with open(os.path.join(folder, "fixture.json"), "w") as file:
        file.write(text + "\n")
    size += len(text)
    report(name, size, changes, errors, runtime)
    if size >= LARGEST_COMMITTED:
        raise FixtureError(f"{name} takes {size} bytes, more than {LARGEST_COMMITTED}")


def rounded(numbers):
    return {name: float(f"{value:.4g}") for name, value in numbers.items()}


def report(name, size, changes, errors, runtime):
    print(f"{name}: {size / 1e3:.0f} kB")
    print("  changes: " + ", ".join(f"{what} {value:.2f}" for what, value in changes.items()))
    for kind in errors[0]:
        print(f"  {kind}: " + " ".join(f"{case[kind]:.2g}" for case in errors if kind in case))
    print(f"  onnxruntime: {runtime}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, separated by commas: " + ", ".join(PLANS))
    parser.add_argument("--out", default=os.path.join(ROOT, "tests", "fixtures"))
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(PLANS)
    unknown = [name for name in names if name not in PLANS]
    if unknown:
        parser.error(f"no fixture named {', '.join(unknown)}; they are {', '.join(PLANS)}")
    try:
        for name in names:
            make(name, PLANS[name], options.out)
    except (FixtureError, checks.BlindModelError, onnx_export.ExportError) as error:
        print(f"make_fixtures.py: {name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
