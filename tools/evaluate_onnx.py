#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluate an ONNX graph node by node with PyTorch: an oracle that shares no code with any ONNX runtime.

    evaluate_onnx.py MODEL.onnx --inputs=FOLDER --outputs=FOLDER [--dtype=float32|float64|as-typed] [--device=cuda]
    evaluate_onnx.py MODEL.onnx --seed=N [--write-inputs=FOLDER] --outputs=FOLDER

--inputs holds NAME.npy for each graph input. --seed generates them: images uniform in -1..1, masks true,
token ids within the embedding table, everything else normal. With --dtype=float32 or float64 every
floating value of the graph that is shorter becomes that type, and a cast to a shorter type does nothing;
as-typed follows the graph's own types. --reference=FOLDER prints the relative L2 error of each output,
and, where an output has the shape of the input 'noise', that of the output minus the noise.
Weights in external files are mapped, and every value is freed after its last use. Needs torch, numpy, onnx.
"""

import argparse
import math
import os
import sys
import time

import numpy
import onnx
import torch
from onnx import TensorProto, helper

TORCH_TYPE = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.BOOL: torch.bool,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
}
ONNX_TYPE = {torch_type: onnx_type for onnx_type, torch_type in TORCH_TYPE.items()}
RAW_TYPE = {torch.bfloat16: numpy.dtype(numpy.int16)}  # numpy has no bf16: its bits travel as int16
OLDEST_OPSET = 13


class EvaluationError(Exception):
    pass


# ---- one function for each operator: (context, node attributes, *operands) -> value or tuple of values

OPERATORS = {}


def operator(*names):
    def register(function):
        for name in names:
            OPERATORS[name] = function
        return function

    return register


def elementwise(name, function):
    OPERATORS[name] = lambda context, attributes, *operands: function(*operands)


def divide(dividend, divisor):
    if dividend.is_floating_point():
        return dividend / divisor
    return torch.div(dividend, divisor, rounding_mode="trunc")


def variadic(function):
    def fold(*operands):
        result = operands[0]
        for operand in operands[1:]:
            result = function(result, operand)
        return result

    return fold


for operator_name, torch_function in {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": divide,
    "Pow": lambda base, exponent: torch.pow(base, exponent).to(base.dtype),
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Neg": torch.neg,
    "Abs": torch.abs,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,
    "Exp": torch.exp,
    "Log": torch.log,
    "Tanh": torch.tanh,
    "Erf": torch.erf,
    "Sigmoid": torch.sigmoid,
    "Relu": torch.relu,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Min": variadic(torch.minimum),
    "Max": variadic(torch.maximum),
    "Sum": variadic(torch.add),
    "Where": torch.where,
    "Equal": torch.eq,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "Not": torch.logical_not,
    "Identity": lambda value: value,
    "MatMul": torch.matmul,
}.items():
    elementwise(operator_name, torch_function)


@operator("Gelu")
def gelu(context, attributes, value):
    return torch.nn.functional.gelu(value, approximate=attributes.get("approximate", "none"))


@operator("Swish")
def swish(context, attributes, value):
    return value * torch.sigmoid(attributes.get("alpha", 1.0) * value)


@operator("Softmax")
def softmax(context, attributes, value):
    return torch.softmax(value, attributes.get("axis", -1))


@operator("Gemm")
def gemm(context, attributes, left, right, addend=None):
    left = left.T if attributes.get("transA", 0) else left
    right = right.T if attributes.get("transB", 0) else right
    product = torch.matmul(left, right)
    product = product if attributes.get("alpha", 1.0) == 1.0 else attributes["alpha"] * product
    return product if addend is None else product + attributes.get("beta", 1.0) * addend


@operator("Conv")
def convolution(context, attributes, image, weight, bias=None):
    rank = image.dim() - 2
    if rank != 2:
        raise EvaluationError(f"Conv over {rank} axes: only images are supported")
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise EvaluationError(f"auto_pad={attributes['auto_pad']} is not supported")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    image = torch.nn.functional.pad(image, (left, right, top, bottom))
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return torch.nn.functional.conv2d(
        image, weight, bias, stride=strides, dilation=dilations, groups=attributes.get("group", 1)
    )


def axes_of(context, attributes, operand, value):
    """Axes are an attribute in older opsets and an operand in newer ones; none means all."""
    axes = attributes.get("axes") if operand is None else operand.tolist()
    if not axes:
        return [] if attributes.get("noop_with_empty_axes", 0) else list(range(value.dim()))
    return axes


def reduction(name, function):
    def reduce(context, attributes, value, axes=None):
        axes = axes_of(context, attributes, axes, value)
        return function(value, axes, bool(attributes.get("keepdims", 1))) if axes else value

    OPERATORS[name] = reduce


reduction("ReduceMean", lambda value, axes, keep: torch.mean(value, axes, keepdim=keep))
reduction("ReduceSum", lambda value, axes, keep: torch.sum(value, axes, keepdim=keep).to(value.dtype))
reduction("ReduceMax", lambda value, axes, keep: torch.amax(value, axes, keepdim=keep))
reduction("ReduceMin", lambda value, axes, keep: torch.amin(value, axes, keepdim=keep))


def stash(context, value, attributes):
    """Norms compute in at least float32 whatever their operand's type is."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


@operator("LayerNormalization")
def layer_normalization(context, attributes, value, weight, bias=None):
    axis = attributes.get("axis", -1) % value.dim()
    axes = list(range(axis, value.dim()))
    wide = stash(context, value, attributes)
    centred = wide - wide.mean(axes, keepdim=True)
    inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + attributes.get("epsilon", 1e-5))
    normed = (centred * inverse).to(value.dtype) * weight
    return (normed if bias is None else normed + bias), wide.mean(axes, keepdim=True), inverse


@operator("RMSNormalization")
def rms_normalization(context, attributes, value, weight):
    axis = attributes.get("axis", -1) % value.dim()
    wide = stash(context, value, attributes)
    mean_square = (wide * wide).mean(list(range(axis, value.dim())), keepdim=True)
    normed = wide * torch.rsqrt(mean_square + attributes.get("epsilon", 1e-5))
    return normed.to(weight.dtype) * weight  # the result has the weight's type, which may be the longer one


def split_heads(value, heads):
    """[B,N,H*D] -> [B,H,N,D]"""
    batch, length, width = value.shape
    return value.reshape(batch, length, heads, width // heads).transpose(1, 2)


def merge_heads(value):
    """[B,H,N,D] -> [B,N,H*D]"""
    return value.transpose(1, 2).reshape(value.shape[0], value.shape[2], -1)


@operator("RotaryEmbedding")
def rotary_embedding(context, attributes, value, cosine, sine, position_ids=None):
    heads = split_heads(value, attributes["num_heads"]) if value.dim() == 3 else value
    if position_ids is not None:
        cosine, sine = cosine[position_ids], sine[position_ids]
    cosine, sine = cosine.unsqueeze(1), sine.unsqueeze(1)  # [B,1,N,D/2]
    width = attributes.get("rotary_embedding_dim", 0) or heads.shape[-1]
    turned, kept = heads[..., :width], heads[..., width:]
    interleaved = bool(attributes.get("interleaved", 0))
    first = turned[..., 0::2] if interleaved else turned[..., : width // 2]
    second = turned[..., 1::2] if interleaved else turned[..., width // 2 :]
    real, imaginary = cosine * first - sine * second, sine * first + cosine * second
    if interleaved:
        turned = torch.stack((real, imaginary), dim=-1).flatten(-2)
    else:
        turned = torch.cat((real, imaginary), dim=-1)
    result = torch.cat((turned, kept), dim=-1)
    return merge_heads(result) if value.dim() == 3 else result


def attention_bias(mask, is_causal, query, key, past_length):
    """The additive mask: None, or what broadcasts to [B,H,Q,K]."""
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -math.inf)
    if is_causal:
        shape = (query.shape[2], key.shape[2])
        seen = torch.ones(shape, dtype=torch.bool, device=query.device).tril(past_length)
        causal = torch.zeros(shape, dtype=query.dtype, device=query.device).masked_fill(~seen, -math.inf)
        mask = causal if mask is None else mask + causal
    return mask


@operator("Attention")
def attention(context, attributes, query, key, value, mask=None, past_key=None, past_value=None, *rest):
    if any(operand is not None for operand in rest):
        raise EvaluationError("nonpad_kv_seqlen is not supported")
    flat = query.dim() == 3
    if flat:
        query = split_heads(query, attributes["q_num_heads"])
        key, value = (split_heads(heads, attributes["kv_num_heads"]) for heads in (key, value))
    past_length = 0
    if past_key is not None:
        past_length = past_key.shape[2]
        key, value = torch.cat((past_key, key), dim=2), torch.cat((past_value, value), dim=2)
    group = query.shape[1] // key.shape[1]
    all_keys, all_values = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
    root = math.sqrt(attributes.get("scale", 0) or query.shape[-1] ** -0.5)  # the standard scales both factors
    scores = torch.matmul(query * root, all_keys.transpose(2, 3) * root)
    scores_seen = [scores]  # by qk_matmul_output_mode: raw, masked, softcapped, after softmax
    bias = attention_bias(mask, attributes.get("is_causal", 0), query, key, past_length)
    scores = scores if bias is None else scores + bias
    scores_seen.append(scores)
    softcap = attributes.get("softcap", 0.0)
    scores = softcap * torch.tanh(scores / softcap) if softcap else scores
    scores_seen.append(scores)
    wide = TORCH_TYPE.get(attributes.get("softmax_precision", 0), scores.dtype)
    weights = torch.softmax(scores.to(torch.promote_types(scores.dtype, wide)), dim=-1).to(scores.dtype)
    scores_seen.append(weights)
    mixed = torch.matmul(weights, all_values)
    mixed = merge_heads(mixed) if flat else mixed
    return mixed, key, value, scores_seen[attributes.get("qk_matmul_output_mode", 0)]


@operator("CumSum")
def cumulative_sum(context, attributes, value, axis):
    axis = int(axis)
    if attributes.get("reverse", 0):
        value = value.flip(axis)
    total = torch.cumsum(value, axis)  # of bool too, which exporters write although ONNX forbids it
    if attributes.get("exclusive", 0):
        total = total - value
    return total.flip(axis) if attributes.get("reverse", 0) else total


@operator("Cast")
def cast(context, attributes, value):
    return value.to(context.type_of(attributes["to"]))


@operator("CastLike")
def cast_like(context, attributes, value, like):
    return value.to(like.dtype)


@operator("Clip")
def clip(context, attributes, value, lowest=None, highest=None):
    return torch.clamp(value, lowest, highest)


@operator("Reshape")
def reshape(context, attributes, value, shape):
    wanted = shape.tolist()
    if not attributes.get("allowzero", 0):
        wanted = [value.shape[axis] if extent == 0 else extent for axis, extent in enumerate(wanted)]
    return value.reshape(wanted)


@operator("Flatten")
def flatten(context, attributes, value):
    axis = attributes.get("axis", 1) % (value.dim() + 1)
    return value.reshape(math.prod(value.shape[:axis]), -1)


@operator("Transpose")
def transpose(context, attributes, value):
    return value.permute(attributes.get("perm", list(reversed(range(value.dim())))))


@operator("Unsqueeze")
def unsqueeze(context, attributes, value, axes):
    rank = value.dim() + axes.numel()
    for axis in sorted(axis % rank for axis in axes.flatten().tolist()):
        value = value.unsqueeze(axis)
    return value


@operator("Squeeze")
def squeeze(context, attributes, value, axes=None):
    removed = range(value.dim()) if axes is None else [axis % value.dim() for axis in axes.tolist()]
    if axes is not None and any(value.shape[axis] != 1 for axis in removed):
        raise EvaluationError(f"Squeeze of axes {list(removed)} from shape {list(value.shape)}")
    kept = [extent for axis, extent in enumerate(value.shape) if axis not in removed or extent != 1]
    return value.reshape(kept)


@operator("Expand")
def expand(context, attributes, value, shape):
    return value.expand(torch.broadcast_shapes(value.shape, tuple(shape.tolist())))


@operator("Tile")
def tile(context, attributes, value, repeats):
    return value.repeat(repeats.tolist())


@operator("Concat")
def concatenate(context, attributes, *values):
    return torch.cat(values, dim=attributes["axis"])


@operator("Split")
def split(context, attributes, value, sizes=None):
    axis = attributes.get("axis", 0)
    if sizes is not None:
        return torch.split(value, sizes.tolist(), dim=axis)
    count = attributes.get("num_outputs", context.output_count)
    return torch.split(value, -(-value.shape[axis] // count), dim=axis)


@operator("Slice")
def take_slice(context, attributes, value, starts, ends, axes=None, steps=None):
    axes = list(range(starts.numel())) if axes is None else axes.tolist()
    steps = [1] * len(axes) if steps is None else steps.tolist()
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps):
        chosen = range(value.shape[axis])[start:end:step]
        if step == 1:
            value = value.narrow(axis, chosen.start, len(chosen))
        else:
            value = value.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=value.device))
    return value


@operator("Gather")
def gather(context, attributes, value, indices):
    axis = attributes.get("axis", 0) % value.dim()
    extent = value.shape[axis]
    if indices.numel() and (int(indices.min()) < -extent or int(indices.max()) >= extent):
        raise EvaluationError(f"Gather: index {int(indices.max())} is outside an axis of {extent}")
    indices = torch.where(indices < 0, indices + extent, indices).to(value.device)
    picked = value.index_select(axis, indices.flatten())
    return picked.reshape(*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])


@operator("Shape")
def shape_of(context, attributes, value):
    return torch.tensor(list(value.shape)[attributes.get("start", 0) : attributes.get("end")], dtype=torch.int64)


@operator("Size")
def size_of(context, attributes, value):
    return torch.tensor(value.numel(), dtype=torch.int64)


@operator("Constant")
def constant(context, attributes):
    for name, kind in (("value_int", torch.int64), ("value_ints", torch.int64),
                       ("value_float", torch.float32), ("value_floats", torch.float32)):
        if name in attributes:
            return context.admit(torch.tensor(attributes[name], dtype=kind))
    return context.admit(context.tensor(attributes["value"]))


@operator("ConstantOfShape")
def constant_of_shape(context, attributes, shape):
    filling = context.tensor(attributes["value"]) if "value" in attributes else torch.zeros(1)
    return context.admit(filling).reshape(()).expand(shape.tolist()).clone()


@operator("Range")
def arithmetic_range(context, attributes, start, limit, delta):
    count = max(0, math.ceil((limit.item() - start.item()) / delta.item()))
    return start + torch.arange(count, device=start.device).to(start.dtype) * delta


@operator("Trilu")
def triangle(context, attributes, value, diagonal=None):
    offset = 0 if diagonal is None else int(diagonal)
    return torch.triu(value, offset) if attributes.get("upper", 1) else torch.tril(value, offset)


# ---- the graph


class ExternalData:
    """Maps each external file once; tensors are views into the mapping."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {}

    def bytes_of(self, tensor):
        where = {entry.key: entry.value for entry in tensor.external_data}
        location = where.get("location", "")
        path = os.path.join(self.folder, location)
        inside = os.path.realpath(path).startswith(os.path.realpath(self.folder) + os.sep)
        if not location or os.path.isabs(location) or not inside:
            raise EvaluationError(f"weight '{tensor.name}': '{location}' is not inside the model's folder")
        if location not in self.files:
            try:
                self.files[location] = numpy.memmap(path, dtype=numpy.uint8, mode="r")
            except (OSError, ValueError) as error:
                raise EvaluationError(f"weight '{tensor.name}': cannot map {path}: {error}") from None
        offset, length = int(where.get("offset", 0)), where.get("length")
        end = len(self.files[location]) if length is None else offset + int(length)
        if end > len(self.files[location]):
            raise EvaluationError(f"weight '{tensor.name}': bytes {offset} to {end} lie beyond the end of {path}")
        return self.files[location][offset:end]


class Context:
    """What an operator may ask for besides its operands."""

    def __init__(self, folder, dtype, device):
        self.external = ExternalData(folder)
        self.dtype = dtype  # None: as typed
        self.device = device
        self.output_count = 0

    def widened(self, torch_type):
        """The type a floating type becomes; a longer one stays (float64 time embeddings need it)."""
        if self.dtype is None or not torch_type.is_floating_point:
            return torch_type
        return torch.promote_types(torch_type, self.dtype)

    def type_of(self, onnx_type):
        if onnx_type not in TORCH_TYPE:
            raise EvaluationError(f"element type {TensorProto.DataType.Name(onnx_type)} is not supported")
        return self.widened(TORCH_TYPE[onnx_type])

    def admit(self, value):
        """Integers stay on the CPU, where shapes are read from them; the rest goes to the device."""
        value = value.to(self.widened(value.dtype))
        return value if value.dtype == torch.int64 and value.dim() <= 1 else value.to(self.device)

    def tensor(self, proto):
        """A TensorProto as a tensor in its own type."""
        if proto.data_type not in TORCH_TYPE:
            kind = TensorProto.DataType.Name(proto.data_type)
            raise EvaluationError(f"weight '{proto.name}': element type {kind} is not supported")
        torch_type = TORCH_TYPE[proto.data_type]
        raw = None
        if proto.data_location == TensorProto.EXTERNAL:
            raw = self.external.bytes_of(proto)
        elif proto.HasField("raw_data"):
            raw = numpy.frombuffer(bytearray(proto.raw_data), dtype=numpy.uint8)
        if raw is None:
            array = onnx.numpy_helper.to_array(proto)
            if torch_type == torch.bfloat16:
                array = array.astype(numpy.float32)
            return torch.from_numpy(numpy.array(array)).to(torch_type)
        if raw.size != math.prod(proto.dims) * torch_type.itemsize:
            raise EvaluationError(f"weight '{proto.name}': {raw.size} bytes do not fill shape {list(proto.dims)}")
        if raw.size == 0:
            return torch.zeros(list(proto.dims), dtype=torch_type)
        numpy_type = RAW_TYPE.get(torch_type) or numpy.dtype(str(torch_type).removeprefix("torch."))
        array = raw.view(numpy_type).reshape(tuple(proto.dims))
        if not array.flags.writeable:
            array = as_writeable_view(array)
        return torch.from_numpy(array).view(torch_type)


def as_writeable_view(array):
    """torch warns about read-only arrays; nothing here writes to an operand."""
    import warnings

    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    return array


class Graph:
    """A loaded model, checked: every operator known, every operand defined before its use."""

    def __init__(self, path):
        try:
            model = onnx.load(path, load_external_data=False)
        except Exception as error:
            raise EvaluationError(f"{path}: cannot read it as ONNX: {error}") from None
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        self.graph = model.graph
        self.folder = os.path.dirname(os.path.abspath(path))
        opsets = {entry.domain: entry.version for entry in model.opset_import}
        if opsets.get("", opsets.get("ai.onnx", 0)) < OLDEST_OPSET:
            raise EvaluationError(f"{path}: opset {opsets.get('')} is older than {OLDEST_OPSET}")
        self.weights = {weight.name: weight for weight in self.graph.initializer}
        self.inputs = [value for value in self.graph.input if value.name not in self.weights]
        self.outputs = [value.name for value in self.graph.output]
        self.refuse_unknown_operators(path)

    def refuse_unknown_operators(self, path):
        unknown = {}
        for node in self.graph.node:
            known = node.domain in ("", "ai.onnx") and node.op_type in OPERATORS
            if not known:
                unknown.setdefault(f"{node.domain + '.' if node.domain else ''}{node.op_type}", node.name)
        if unknown:
            listed = "; ".join(f"{kind} (first at node '{name}')" for kind, name in sorted(unknown.items()))
            raise EvaluationError(f"{path}: operators that this evaluator lacks: {listed}")

    def last_uses(self, kept):
        """Value name -> index of the last node that reads it."""
        last = {name: index for index, node in enumerate(self.graph.node) for name in node.input}
        return {name: index for name, index in last.items() if name not in kept}


def attributes_of(node):
    values = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        values[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return values


def evaluate(graph, inputs, dtype=None, device="cpu", extra_outputs=(), progress=None):
    """inputs {name: tensor} -> {output name: tensor}. dtype None follows the graph's own types."""
    context = Context(graph.folder, dtype, device)
    kept = {*graph.outputs, *extra_outputs}
    last_use = graph.last_uses(kept)
    values = {name: context.admit(value) for name, value in inputs.items()}
    for name in kept & graph.weights.keys():
        values[name] = context.admit(context.tensor(graph.weights[name]))
    for index, node in enumerate(graph.graph.node):
        for name, result in zip(node.output, run_node(graph, context, node, values)):
            if name in last_use or name in kept:
                values[name] = result
        for name in set(node.input):
            if last_use.get(name) == index:
                values.pop(name, None)
        if progress:
            progress(index + 1, len(graph.graph.node))
    missing = [name for name in kept if name not in values]
    if missing:
        raise EvaluationError(f"no node computes {', '.join(sorted(missing))}")
    return {name: values[name] for name in (*graph.outputs, *extra_outputs)}


def on_one_device(operands, device):
    """A floating or boolean operand on the device takes integer ones along; shapes stay on the CPU."""
    if device == "cpu" or not any(operand is not None and operand.device.type != "cpu" for operand in operands):
        return operands
    return [operand if operand is None else operand.to(device) for operand in operands]


SHAPE_OPERANDS = {"Reshape", "Expand", "Tile", "Slice", "Unsqueeze", "Squeeze", "Split", "ReduceMean", "ReduceSum",
                  "ReduceMax", "ReduceMin", "CumSum", "ConstantOfShape", "Gather", "Trilu"}


def run_node(graph, context, node, values):
    where = f"node '{node.name}' ({node.op_type})"
    operands = []
    for name in node.input:
        if name and name not in values:
            if name not in graph.weights:
                raise EvaluationError(f"{where}: operand '{name}' is not defined before it")
            values[name] = context.admit(context.tensor(graph.weights[name]))
        operands.append(values[name] if name else None)
    if node.op_type not in SHAPE_OPERANDS:
        operands = on_one_device(operands, context.device)
    context.output_count = len(node.output)
    try:
        result = OPERATORS[node.op_type](context, attributes_of(node), *operands)
    except (EvaluationError, RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        shapes = ", ".join("none" if value is None else f"{list(value.shape)} {value.dtype}" for value in operands)
        raise EvaluationError(f"{where}: {error} (operands: {shapes})") from error
    return result if isinstance(result, (tuple, list)) else (result,)


# ---- inputs and outputs as files


def shape_of_input(value):
    dimensions = value.type.tensor_type.shape.dim
    if any(not dimension.HasField("dim_value") for dimension in dimensions):
        raise EvaluationError(f"input '{value.name}' has a dynamic shape: give --inputs")
    return [dimension.dim_value for dimension in dimensions]


def vocabulary_of(graph, name):
    """The rows of the table that an integer input indexes."""
    names = {name}
    for node in graph.graph.node:
        if node.op_type in ("Cast", "Identity", "Reshape") and node.input[0] in names:
            names.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in names and node.input[0] in graph.weights:
            return graph.weights[node.input[0]].dims[0]
    return 1


def generated_inputs(graph, seed):
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for value in graph.inputs:
        shape, kind = shape_of_input(value), TORCH_TYPE[value.type.tensor_type.elem_type]
        if kind == torch.bool:
            made[value.name] = torch.ones(shape, dtype=kind)
        elif not kind.is_floating_point:
            made[value.name] = torch.randint(0, vocabulary_of(graph, value.name), shape, generator=generator).to(kind)
        elif len(shape) == 4:
            made[value.name] = (torch.rand(shape, generator=generator) * 2 - 1).to(kind)
        else:
            made[value.name] = torch.randn(shape, generator=generator).to(kind)
    return made


def read_inputs(graph, folder):
    read = {}
    for value in graph.inputs:
        path = os.path.join(folder, value.name + ".npy")
        try:
            array = numpy.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise EvaluationError(f"input '{value.name}': {error}") from None
        wanted = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        if len(wanted) != array.ndim or any(extent and extent != found for extent, found in zip(wanted, array.shape)):
            raise EvaluationError(f"{path} has shape {list(array.shape)}; the model wants {wanted}")
        kind = TORCH_TYPE[value.type.tensor_type.elem_type]
        tensor = torch.from_numpy(array)
        if kind != tensor.dtype and not (kind.is_floating_point and tensor.is_floating_point()):
            raise EvaluationError(f"{path} holds {array.dtype}; the model wants {kind}")
        read[value.name] = tensor if tensor.dtype == torch.float64 else tensor.to(kind)
    return read


def write_values(folder, values):
    os.makedirs(folder, exist_ok=True)
    for name, value in values.items():
        value = value.cpu()
        if value.dtype in (torch.bfloat16, torch.float16):
            value = value.float()  # numpy has no bf16
        numpy.save(os.path.join(folder, name.replace("/", "_") + ".npy"), value.contiguous().numpy())


def relative_l2(found, wanted):
    return float(torch.linalg.vector_norm(found - wanted) / torch.linalg.vector_norm(wanted))


def compare(outputs, folder, noise):
    for name, value in outputs.items():
        path = os.path.join(folder, name + ".npy")
        if not os.path.exists(path):
            continue
        wanted, found = torch.from_numpy(numpy.load(path)).double(), value.cpu().double()
        print(f"{name}: relative L2 {relative_l2(found, wanted):.3e}", end="")
        if noise is not None and noise.shape == found.shape:
            start = noise.double()
            print(f", minus the noise {relative_l2(found - start, wanted - start):.3e}", end="")
        print()


class Progress:
    """A line on stderr, where that is a terminal."""

    def __init__(self):
        self.shown = 0.0

    def __call__(self, done, total):
        now = time.monotonic()
        if now - self.shown > 0.5 or done == total:
            self.shown = now
            print(f"\r{done} of {total} nodes", end="\n" if done == total else "", file=sys.stderr, flush=True)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.onnx")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", metavar="FOLDER", help="holds NAME.npy for each input")
    source.add_argument("--seed", type=int, metavar="N", help="generate the inputs instead")
    parser.add_argument("--write-inputs", metavar="FOLDER", help="keep the generated inputs")
    parser.add_argument("--outputs", metavar="FOLDER", help="receives NAME.npy for each output")
    parser.add_argument("--dtype", choices=("float32", "float64", "as-typed"), default="as-typed")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--values", metavar="NAME,NAME", help="inner values to write as well")
    parser.add_argument("--reference", metavar="FOLDER", help="compare with NAME.npy there")
    return parser.parse_args()


def run(options):
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise EvaluationError("--device=cuda: PyTorch finds no CUDA device here")
    torch.backends.cuda.matmul.allow_tf32 = False  # float32 must mean float32
    torch.backends.cudnn.allow_tf32 = False
    graph = Graph(options.model)
    inputs = read_inputs(graph, options.inputs) if options.inputs else generated_inputs(graph, options.seed)
    if options.write_inputs:
        write_values(options.write_inputs, inputs)
    dtype = {"float32": torch.float32, "float64": torch.float64, "as-typed": None}[options.dtype]
    extra = options.values.split(",") if options.values else []
    progress = Progress() if sys.stderr.isatty() else None
    with torch.inference_mode():
        outputs = evaluate(graph, inputs, dtype, options.device, extra, progress)
    if options.outputs:
        write_values(options.outputs, outputs)
    if options.reference:
        compare(outputs, options.reference, inputs.get("noise"))


def main():
    options = parse_options()
    try:
        run(options)
    except EvaluationError as error:
        print(f"evaluate_onnx.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
