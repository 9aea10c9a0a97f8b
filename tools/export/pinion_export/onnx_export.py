# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A traced policy to an ONNX file, by either of PyTorch's exporters."""

import contextlib
import os
import warnings

import onnx
import torch

from .cases import input_names

OPSETS = {"torchscript": range(14, 21), "dynamo": range(18, 24)}
LARGEST_SINGLE_FILE = 2**31 - 2**24  # protobuf's limit, less room for the graph


class ExportError(Exception):
    pass


def check_request(exporter, opset):
    if opset not in OPSETS[exporter]:
        span = OPSETS[exporter]
        raise ExportError(f"the {exporter} exporter writes opsets {span[0]} to {span[-1]}, not {opset}")


def remove_if_there(path):
    if os.path.exists(path):
        os.remove(path)


def export(sampler, case, cameras, path, exporter, opset, external_data=None, optimize=True):
    """Writes path, and path + '.data' where the data is external (None: only where it must be).

    optimize: whether the exporter may fold constants and simplify; without it every shape, mask and time
    embedding is computed by nodes.
    """
    check_request(exporter, opset)
    weight_bytes = sum(value.numel() * value.element_size() for value in sampler.parameters())
    if external_data is None:
        external_data = weight_bytes > LARGEST_SINGLE_FILE
    remove_if_there(path + ".data")
    write = export_dynamo if exporter == "dynamo" else export_torchscript
    with explained(exporter, opset):
        write(sampler, case, cameras, path, opset, external_data, optimize)


@contextlib.contextmanager
def explained(exporter, opset):
    """Makes an ExportError of whatever goes wrong inside the exporter."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # the exporters raise whatever went wrong inside them
        reason = str(error).strip().splitlines()
        raise ExportError(
            f"PyTorch's {exporter} exporter failed at opset {opset}: {type(error).__name__}: "
            f"{reason[0] if reason else 'no message'}. The other exporter, or another opset, may succeed"
        ) from error


class Readers:
    """Stands in for a graph where an onnxscript matcher goes through all of its nodes: those that read what one node reads
    first."""

    def __init__(self, graph, node):
        self.graph = graph
        self.value = node.inputs[0] if node.inputs else None

    def __iter__(self):
        return iter(self.value.consumers() if self.value is not None else ())


@contextlib.contextmanager
def fast_rewrites():
    """onnxscript goes through the whole graph for each of its nodes, in search of a second Slice of the same value, which at full
    size takes longer than all the rest: here it goes through what reads that value."""
    from onnxscript import rewriter

    pairs = [rule._matcher for rule in getattr(rewriter, "_DEFAULT_REWRITE_RULES", ())
             if rule.name == "SlicesSplit" and hasattr(rule, "_matcher")]
    for matcher in pairs:
        matcher.match = lambda model, graph, node, *, whole=matcher.match, **rest: whole(
            model, Readers(graph, node), node, **rest)
    try:
        yield
    finally:
        for matcher in pairs:
            del matcher.match


def trace_dynamo(sampler, inputs, cameras, opset, optimize):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            sampler,
            tuple(inputs),
            dynamo=True,
            opset_version=opset,
            input_names=input_names(cameras),
            output_names=["actions"],
            optimize=optimize,
            verbose=False,
        )


def export_dynamo(sampler, case, cameras, path, opset, external_data, optimize):
    with fast_rewrites(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = trace_dynamo(sampler, case.values(), cameras, opset, optimize)
        program.save(path, external_data=external_data)


def export_torchscript(sampler, case, cameras, path, opset, external_data, optimize):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            sampler,
            tuple(case.values()),
            path,
            dynamo=False,
            opset_version=opset,
            input_names=input_names(cameras),
            output_names=["actions"],
            do_constant_folding=optimize,
        )
    if external_data:
        onnx.save(
            onnx.load(path),
            path,
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=os.path.basename(path) + ".data",
            size_threshold=1024,
        )
