#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Export a Pi0 or Pi0.5 policy to ONNX, with PyTorch's own results beside it.

    export_policy.py --policy=pi0 --checkpoint=FOLDER -o OUT            an installed openpi or lerobot
    export_policy.py --policy=pi05 --source=CHECKOUT --checkpoint=FOLDER -o OUT
    export_policy.py --policy=pi0 --dimensions=small -o OUT             random weights, small widths

OUT receives model.onnx (and model.onnx.data), export.json, and for each case cases/N/inputs/NAME.npy and
cases/N/reference/actions.npy. The denoising loop is unrolled. Inputs, in order: an image for each camera
[B,3,H,W] in -1..1, a bool mask for each camera [B], tokens [B,T] int64, token_mask [B,T] bool, state
[B,action_dim], noise [B,horizon,action_dim]; output: actions [B,horizon,action_dim].

With --graph-only OUT receives model.onnx.xz and export.json alone, in minutes and little memory at any size:
the weights are references to a file that write_weights.py makes up wherever the graph is used.

Without a checkpoint the weights are random, at a scale that lets a wrong kernel show, and the export is
refused if the actions hardly depend on an input. Where neither package is installed and no --source is
given, the same network is built from Pinion's own definition of it. Needs torch, onnx, onnxscript, numpy.
"""

import argparse
import contextlib
import dataclasses
import json
import lzma
import os
import sys
import time

SMALL_ENOUGH_FOR_FLOAT64 = 400_000_000  # parameters: beyond, a float64 copy asks for too much memory


class UsageError(Exception):
    pass


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--policy", choices=("pi0", "pi05"), required=True)
    add("--source", metavar="CHECKOUT", help="an openpi or lerobot checkout; 'own' for Pinion's definition")
    add("--checkpoint", metavar="PATH", help="model.safetensors, or the folder that holds it")
    add("--exporter", choices=("dynamo", "torchscript"), default="dynamo")
    add("--opset", type=int, help="default: 20 for dynamo, 17 for torchscript")
    add("--dtype", choices=("float32", "bf16"), default="float32", help="bf16: the language model and the expert")
    add("--steps", type=int, default=10, metavar="N", help="denoising steps, unrolled (default 10)")
    add("--cameras", default="all", help="names, separated by commas: base_0_rgb,left_wrist_0_rgb,...")
    add("--batch", type=int, default=1, metavar="N")
    add("--dimensions", default="full", metavar="SPEC", help="full, small, or either with changes: full,prompt_tokens=20")
    add("--external-data", choices=("auto", "yes", "no"), default="auto", help="weights beside the graph")
    add("--graph-only", action="store_true",
        help="dynamo, random weights: write the graph alone, as OUT/model.onnx.xz; write_weights.py makes the weights up")
    add("--no-optimize", action="store_true", help="do not let the exporter fold constants and simplify the graph")
    add("--cases", type=int, default=2, metavar="N", help="how many reference cases to write (default 2, at most 8)")
    add("--reference", choices=("auto", "float64", "as-exported"), default="auto",
        help="the precision of the references (auto: float64 where the model is small enough)")
    add("--seed", type=int, default=1, help="of the random weights (default 1)")
    add("--no-checks", action="store_true", help="do not test how much the actions depend on each input")
    add("-o", "--output", metavar="OUT", required=True)
    return parser.parse_args()


def chosen_cameras(text, known):
    if text == "all":
        return known
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--cameras: no camera is named {', '.join(unknown)}; they are {', '.join(known)}")
    return tuple(name for name in known if name in names)


def checkpoint_file(path):
    for candidate in (path, os.path.join(path, "model.safetensors"), os.path.join(path, "model.pt")):
        if os.path.isfile(candidate):
            return candidate
    raise UsageError(f"--checkpoint={path}: no such file, and no folder with a model.safetensors")


def check_graph_only(options):
    for name, wanted in (("exporter", "dynamo"), ("checkpoint", None), ("external_data", "auto")):
        if getattr(options, name) != wanted:
            raise UsageError(f"--graph-only is for dynamo and random weights: --{name.replace('_', '-')} does not fit it")


def check_numbers(options):
    for name, least, most in (("steps", 1, 1000), ("batch", 1, 64), ("cases", 0, 8)):
        value = getattr(options, name)
        if not least <= value <= most:
            raise UsageError(f"--{name}={value}: it must lie between {least} and {most}")


def build_sampler(options, size, cameras):
    """-> the sampler in float32 with its weights, and what it was built from."""
    from pinion_export import originals, policies, weights

    pi05 = options.policy == "pi05"
    source = options.source or originals.installed()
    own = source is None or source == "own"
    if options.graph_only:
        return build_without_weights(options, size, cameras, None if own else source)
    state, origin = None, None
    if options.checkpoint:
        origin = checkpoint_file(options.checkpoint)
        state = weights.read_state(origin)
    if own:
        policy = policies.build_own(size, pi05, options.seed, state=state, origin=origin)
        return policies.own_sampler(policy, cameras, options.steps), "Pinion's own definition"
    policy, make_attention_mask = originals.build(source, size, pi05)
    if state is None:
        weights.randomise(policy, options.seed)
    else:
        weights.load(policy, state, origin)
    return originals.sampler(policy, make_attention_mask, cameras, options.steps), source


def build_without_weights(options, size, cameras, source):
    """The same, its parameters without memory."""
    from pinion_export import graph_only, network, originals, policies

    pi05 = options.policy == "pi05"
    with graph_only.parameters_without_memory():
        if source is None:
            policy = network.Policy(size, pi05).eval().requires_grad_(False)
            return policies.own_sampler(policy, cameras, options.steps), "Pinion's own definition"
        policy, make_attention_mask = originals.build(source, size, pi05)
    return originals.sampler(policy, make_attention_mask, cameras, options.steps), source


def report_changes(changes):
    print("relative change of actions minus noise, one input changed at a time:")
    for name, value in changes.items():
        print(f"  {name}: {value:.3f}")


def check_sensitivity(options, sampler, case, size, cameras):
    from pinion_export import checks

    if options.no_checks:
        return None
    try:
        changes = checks.sensitivity(sampler, case, size, cameras, options.policy == "pi05")
    except checks.BlindModelError as error:
        if options.checkpoint:  # trained weights depend on their inputs as they do
            print(f"note: random inputs move this checkpoint's actions little or much: {error}")
            return None
        raise UsageError(f"{error}. Choose another --seed, or --no-checks") from None
    report_changes(changes)
    return changes


def write_cases(folder, inputs, references):
    import numpy

    for index, (case, reference) in enumerate(zip(inputs, references)):
        for part, values in (("inputs", case), ("reference", {"actions": reference})):
            place = os.path.join(folder, "cases", str(index), part)
            os.makedirs(place, exist_ok=True)
            for name, value in values.items():
                numpy.save(os.path.join(place, name + ".npy"), value.numpy())


def references_of(options, sampler, inputs):
    """-> references, their type, and PyTorch's own errors where the reference is float64."""
    from pinion_export import checks, figures

    parameters = sum(value.numel() for value in sampler.parameters())
    wide = options.reference == "float64" or (options.reference == "auto" and parameters <= SMALL_ENOUGH_FOR_FLOAT64)
    if not wide:
        return [checks.run(sampler, case) for case in inputs], options.dtype, []
    references, errors = figures.against_float64(sampler, inputs, options.dtype)
    return references, "float64", errors


def export(options):
    from pinion_export import cases, dimensions, policies

    check_numbers(options)
    if options.graph_only:
        check_graph_only(options)
    try:
        size = dimensions.parse(options.dimensions)
    except ValueError as error:
        raise UsageError(f"--dimensions: {error}") from None
    cameras = chosen_cameras(options.cameras, dimensions.CAMERAS)
    opset = opset_of(options)
    sampler, source = build_sampler(options, size, cameras)
    print(f"policy: {options.policy} from {source}; weights: {options.checkpoint or f'random, seed {options.seed}'}")
    policies.as_dtype(sampler.policy, options.dtype)
    inputs = cases.variations(size, cameras, options.batch)
    os.makedirs(options.output, exist_ok=True)
    description = {
        "policy": options.policy, "exporter": options.exporter, "opset": opset, "dtype": options.dtype,
        "batch": options.batch, "steps": options.steps, "cameras": list(cameras), "dimensions": dataclasses.asdict(size),
    }
    write = export_graph if options.graph_only else export_with_cases
    description.update(write(options, sampler, inputs, size, cameras, opset))
    with open(os.path.join(options.output, "export.json"), "w") as file:
        file.write(json.dumps(description, indent=1) + "\n")


def opset_of(options):
    from pinion_export import onnx_export

    opset = options.opset or {"dynamo": 20, "torchscript": 17}[options.exporter]
    try:
        onnx_export.check_request(options.exporter, opset)
    except onnx_export.ExportError as error:
        raise UsageError(f"--opset: {error}") from None
    return opset


@contextlib.contextmanager
def announced(options, path, opset):
    started = time.monotonic()
    yield
    print(f"{path}: {options.exporter}, opset {opset}, {options.dtype}, {time.monotonic() - started:.0f} s")


def export_with_cases(options, sampler, inputs, size, cameras, opset):
    """-> what is known of the actions"""
    from pinion_export import onnx_export

    changes = check_sensitivity(options, sampler, inputs[0], size, cameras)
    references, reference_type, errors = references_of(options, sampler, inputs[: options.cases])
    write_cases(options.output, inputs, references)
    path = os.path.join(options.output, "model.onnx")
    external = {"auto": None, "yes": True, "no": False}[options.external_data]
    with announced(options, path, opset):
        onnx_export.export(sampler, inputs[0], cameras, path, options.exporter, opset, external, not options.no_optimize)
    check_with_onnxruntime(path, inputs, references, size)
    return {"reference": reference_type, "changes": changes, "cases": errors}


def export_graph(options, sampler, inputs, size, cameras, opset):
    """-> how much data it refers to"""
    from pinion_export import graph_only

    path = os.path.join(options.output, "model.onnx.xz")
    with announced(options, path, opset):
        model, weight_bytes = graph_only.export(
            sampler, inputs[0], cameras, opset, options.seed, "model.onnx.data", not options.no_optimize
        )
        with lzma.open(path, "wb", preset=9) as file:
            file.write(model)
    return {"weight_bytes": weight_bytes}


def check_with_onnxruntime(path, inputs, references, size):
    from pinion_export import figures

    if not references or os.path.exists(path + ".data") and os.path.getsize(path + ".data") > 2**30:
        return
    found = figures.onnxruntime_errors(path, inputs[: len(references)], references)
    print(f"onnxruntime: {found.get('refused') or 'relative L2 ' + ', '.join(f'{error:.1e}' for error in found['errors'])}")


def main():
    options = parse_options()
    try:
        import torch  # noqa: F401  a clear message where it is missing
        from pinion_export import onnx_export, originals, weights
    except ImportError as error:
        print(f"export_policy.py: {error}. It needs torch, onnx, onnxscript and numpy", file=sys.stderr)
        return 1
    try:
        export(options)
    except UsageError as error:
        print(f"export_policy.py: {error}", file=sys.stderr)
        return 2
    except (originals.SourceError, weights.CheckpointError, onnx_export.ExportError, OSError) as error:
        print(f"export_policy.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
