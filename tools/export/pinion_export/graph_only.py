# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exporting a graph whose weights are never made: a full-size policy in half a megabyte.

The policy is built with parameters that hold no memory, and dynamo traces it with fake tensors. Its weights become
references into an external file that does not exist; beside each stands how its values are distributed (weights.py), so
that tools/export/write_weights.py can make some up wherever the graph is used. What does not come from weights (shapes,
masks, time embeddings, rotary frequencies) is in the graph with its values.
"""

import contextlib
import warnings

import numpy
import onnx_ir
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from . import onnx_export, weights
from .random_weights import SPREAD_KEY

# The exporter folds what is computed from constants of up to so many elements: such parameters hold values.
LARGEST_FOLDED = 8192
ALIGNMENT = 4096  # bytes, of each tensor in the external file
LARGEST_INLINE = 1 << 20  # bytes: a larger constant has been computed from weights in a way that this file does not know
SIGNIFICANT_BITS = 6  # of values that the exporter folds: they compress


@contextlib.contextmanager
def parameters_without_memory():
    """Modules constructed inside have their parameters on the meta device, and their buffers as ever."""
    register = nn.Module.register_parameter

    def register_on_meta(module, name, parameter):
        if parameter is not None and not parameter.is_meta:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_on_meta
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def make_traceable(policy, seed):
    """Gives each parameter of up to LARGEST_FOLDED elements its values, and each other one a fake tensor. -> their mode"""
    mode, made = FakeTensorMode(), {}
    for name, parameter in list(policy.named_parameters(remove_duplicate=False)):  # tied ones stay tied
        owner, _, leaf = name.rpartition(".")
        if parameter not in made:
            made[parameter] = nn.Parameter(traceable(name, parameter, mode, seed), requires_grad=False)
        policy.get_submodule(owner)._parameters[leaf] = made[parameter]
    return mode


def traceable(name, parameter, mode, seed):
    if parameter.numel() <= LARGEST_FOLDED:
        return weights.random_values(name, parameter.shape, seed, SIGNIFICANT_BITS).to(parameter.dtype)
    with mode:
        return torch.empty(parameter.shape, dtype=parameter.dtype)


class Weights:
    """The parameters of an exported graph, each under the address of one element that stands for all of its values."""

    def __init__(self, program, policy, prefix):
        self.spreads = {}  # name of an initializer that is a parameter -> (spread, centre)
        self.elements = {}  # address -> (the element, kept alive; spread and centre)
        for name, parameter in policy.named_parameters():
            value = program.model.graph.initializers.get(prefix + name)
            if value is None:
                continue  # no action depends on it
            self.spreads[value.name] = weights.spread_and_centre(name, parameter.shape)
            if isinstance(parameter.data, torch._subclasses.fake_tensor.FakeTensor):
                self.stand_in(value)

    def stand_in(self, value):
        """An array without extent in memory: what the exporter transposes is still a view of its one element."""
        element = numpy.zeros(1, value.const_value.dtype.numpy())
        self.elements[element.ctypes.data] = element, self.spreads[value.name]
        array = numpy.broadcast_to(element, tuple(value.const_value.shape.numpy()))
        value.const_value = onnx_ir.Tensor(array, dtype=value.const_value.dtype, name=value.name)

    def spread_of(self, value):
        """-> (spread, centre) of an initializer that is a parameter, transposed or not, or None."""
        known = self.spreads.get(value.name)
        raw = value.const_value.raw
        if known is None and isinstance(raw, numpy.ndarray) and not any(raw.strides):
            _, known = self.elements.get(raw.ctypes.data, (None, None))
        return known


def refer_to_file(graph, known, location):
    """Makes each weight a reference into the file, one after another. -> bytes that the file must have"""
    offset = 0
    for value in graph.initializers.values():
        tensor = value.const_value
        spread = known.spread_of(value)
        if spread is None:
            if tensor.nbytes > LARGEST_INLINE:
                raise ValueError(f"'{value.name}' ({tensor.nbytes} bytes) is computed from weights by the exporter")
            continue
        external = onnx_ir.ExternalTensor(location, offset, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=value.name)
        external.metadata_props[SPREAD_KEY] = "{:.6g} {:.6g}".format(*spread)
        value.const_value = external
        offset += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    return offset


def export(sampler, case, cameras, opset, seed, location, optimize=True):
    """-> the serialised graph, and how many bytes the file of that name beside it must have."""
    mode = make_traceable(sampler.policy, seed)
    program = traced(sampler, [mode.from_tensor(value) for value in case.values()], cameras, opset)
    known = Weights(program, sampler.policy, prefix="policy.")
    if optimize:
        with warnings.catch_warnings(), onnx_export.fast_rewrites():
            warnings.simplefilter("ignore")
            program.optimize()
    size = refer_to_file(program.model.graph, known, location)
    return program.model_proto.SerializeToString(), size


def traced(sampler, fake_inputs, cameras, opset):
    """Not optimised yet: that needs the weights' stand-ins."""
    with onnx_export.explained("dynamo", opset):
        return onnx_export.trace_dynamo(sampler, fake_inputs, cameras, opset, optimize=False)
