#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Make up the weights of a graph that was exported without them (export_policy.py --graph-only).

    write_weights.py GRAPH.onnx[.xz] OUT [--seed=N]

writes OUT/GRAPH.onnx, and its weights to OUT/GRAPH.onnx.data: random values, the same on every machine, of a scale that
makes errors show (each layer's output as large as its input, norm weights around one). Needs numpy and onnx.
"""

import argparse
import lzma
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import google.protobuf.message
import numpy
import onnx

from pinion_export.random_weights import CHUNK, SPREAD_KEY, chunk_of, levels


class GraphError(Exception):
    pass


@dataclass(frozen=True)
class Weight:
    """One stretch of the external file."""

    offset: int
    length: int  # bytes
    name: str
    dtype: numpy.dtype
    spread: float
    centre: float

    @property
    def end(self):
        return self.offset + self.length


def read_graph(path):
    opened = lzma.open(path) if path.endswith(".xz") else open(path, "rb")
    with opened as file:
        return file.read()


def weight_of(tensor):
    where = {entry.key: entry.value for entry in tensor.external_data}
    distribution = {entry.key: entry.value for entry in tensor.metadata_props}.get(SPREAD_KEY)
    if distribution is None:
        raise GraphError(f"tensor '{tensor.name}' does not say how its values are distributed ({SPREAD_KEY}): this graph was "
                         "not written by export_policy.py --graph-only")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    length = int(numpy.prod(tensor.dims, dtype=numpy.int64)) * dtype.itemsize
    if length != int(where.get("length", length)):
        raise GraphError(f"tensor '{tensor.name}': {where['length']} bytes of external data, its shape needs {length}")
    spread, centre = map(float, distribution.split())
    return Weight(int(where.get("offset", 0)), length, tensor.name, dtype, spread, centre)


def weights_of(graph):
    """The stretches to fill, in order. Tensors that share one (tied weights) are one; any other overlap is an error."""
    found = {}
    for tensor in external_tensors(graph):
        weight = weight_of(tensor)
        first = found.setdefault(weight.offset, weight)
        if replace(weight, name=first.name) != first:
            raise GraphError(f"tensors '{first.name}' and '{weight.name}' share bytes, and are not the same weight")
    ordered = [found[offset] for offset in sorted(found)]
    for before, after in zip(ordered, ordered[1:]):
        if before.end > after.offset:
            raise GraphError(f"tensors '{before.name}' and '{after.name}' overlap in the external file")
    if not ordered:
        raise GraphError("it has no external data")
    return ordered


def external_tensors(graph):
    return [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]


def refer_to(graph, location):
    """All weights lie in one file, whose name follows that of the graph."""
    for tensor in external_tensors(graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location


def chunks_of(weight, seed):
    table = levels(weight.spread, weight.centre, weight.dtype)
    count = weight.length // weight.dtype.itemsize
    for index, start in enumerate(range(0, count, CHUNK)):
        yield weight, table, seed, index, min(CHUNK, count - start)


def write_all(file, data, offset):
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def write_weights(weights, path, seed):
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)

    def write_chunk(job):
        weight, table, seed, index, count = job
        values = chunk_of(table, weight.name, seed, index, count).view(numpy.uint8)
        write_all(file, memoryview(values), weight.offset + index * CHUNK * weight.dtype.itemsize)

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(write_chunk, (job for weight in weights for job in chunks_of(weight, seed))):
                pass
    finally:
        os.close(file)


def write(graph_path, out, seed):
    """-> the graph's path in out, and its weights"""
    model = onnx.load_from_string(read_graph(graph_path))
    weights = weights_of(model.graph)
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, os.path.basename(graph_path).removesuffix(".xz"))
    refer_to(model.graph, os.path.basename(path) + ".data")
    write_weights(weights, path + ".data", seed)
    onnx.save(model, path)
    return path, weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", metavar="GRAPH")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--seed", type=int, default=1, help="of the weights (default 1)")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        path, weights = write(options.graph, options.out, options.seed)
    except (GraphError, OSError, lzma.LZMAError, google.protobuf.message.DecodeError) as error:
        print(f"write_weights.py: {options.graph}: {error}", file=sys.stderr)
        return 1
    size = sum(weight.length for weight in weights)
    print(f"{path}: {len(weights)} weights, {size / 1e9:.2f} GB, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
