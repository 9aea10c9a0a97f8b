#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs exported without weights, and the weights made up for them."""

import hashlib
import lzma
import os
import tempfile
import unittest

from common import SCRATCH, call, missing, run_tests

absent = missing("torch", "onnx", "onnxscript", "numpy")
if not absent:
    import numpy
    import onnx
    import torch
    from onnx import TensorProto, helper

    import evaluate_onnx
    import export_policy
    import write_weights
    from pinion_export.random_weights import CHUNK, SPREAD_KEY, chunk_of, levels

    torch.set_num_threads(1)

# Weights above and below the size that the exporter folds; two cameras and two rows.
REQUEST = ("--source=own", "--dimensions=small,image_size=28,vision_mlp=139", "--steps=2", "--batch=2", "--dtype=bf16",
           "--cameras=base_0_rgb,left_wrist_0_rgb")


def exported(policy, *arguments):
    out = os.path.join(SCRATCH.name, policy + "".join(arguments))
    done = call(export_policy.main, f"--policy={policy}", *REQUEST, *arguments, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


def nodes_of(model):
    return [(node.op_type, list(node.input), list(node.output), sorted(value.SerializeToString() for value in node.attribute))
            for node in model.graph.node]


def initializers_of(model):
    return {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in model.graph.initializer}


def is_external(tensor):
    return tensor.data_location == TensorProto.EXTERNAL


@unittest.skipIf(absent, absent)
class Graphs(unittest.TestCase):
    def check(self, policy):
        whole = onnx.load(os.path.join(exported(policy, "--external-data=yes", "--no-checks", "--cases=0"), "model.onnx"),
                          load_external_data=False)
        path = os.path.join(exported(policy, "--graph-only"), "model.onnx.xz")
        self.assertFalse(os.path.exists(path.removesuffix(".xz") + ".data"))
        graph = onnx.load_from_string(lzma.open(path).read())
        self.assertEqual(nodes_of(graph), nodes_of(whole))
        self.assertEqual(initializers_of(graph), initializers_of(whole))
        self.assertEqual(graph.opset_import, whole.opset_import)
        parameters = [tensor for tensor in graph.graph.initializer if tensor.name.startswith("policy.")]
        self.assertGreater(len(parameters), 40)
        for tensor in parameters:
            self.assertTrue(is_external(tensor) or tensor.name.endswith((".embed_scale", ".inv_freq")), tensor.name)
        for tensor in graph.graph.initializer:  # what the exporter does not fold is never in the graph
            self.assertTrue(is_external(tensor) or len(tensor.raw_data) <= 4 * 8192, tensor.name)
        return path

    def test_a_graph_of_pi05_is_the_ordinary_one_node_for_node(self):
        path = self.check("pi05")
        with tempfile.TemporaryDirectory() as out:
            done = call(write_weights.main, path, out)
            self.assertEqual(done.returncode, 0, done.stderr)
            graph = evaluate_onnx.Graph(os.path.join(out, "model.onnx"))
            inputs = evaluate_onnx.generated_inputs(graph, 1)
            with torch.inference_mode():
                actions = evaluate_onnx.evaluate(graph, inputs)["actions"]
                inputs["tokens"] = inputs["tokens"].flip(1)
                other = evaluate_onnx.evaluate(graph, inputs)["actions"]
            moved = float((actions - inputs["noise"]).norm() / inputs["noise"].norm())
            self.assertTrue(0.2 < moved < 5, moved)
            changed = evaluate_onnx.relative_l2(other - inputs["noise"], actions - inputs["noise"])
            self.assertTrue(0.05 < changed < 2, changed)

    def test_a_graph_of_pi0_is_the_ordinary_one_node_for_node(self):
        self.check("pi0")

    def test_what_does_not_fit_is_refused(self):
        for flag in ("--exporter=torchscript", "--checkpoint=model.pt", "--external-data=no"):
            done = call(export_policy.main, "--policy=pi0", "--dimensions=small", "--graph-only", flag, "-o", "unused")
            self.assertEqual(done.returncode, 2)
            self.assertIn("--graph-only is for dynamo and random weights", done.stderr)


def weight(name, dims, offset, spread="0.02 1", data_type=1, length=None):
    tensor = TensorProto(name=name, dims=dims, data_type=data_type, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights"), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    if spread:
        tensor.metadata_props.add(key=SPREAD_KEY, value=spread)
    return tensor


def written(*tensors, arguments=()):
    """-> the tool's result, and the weights it wrote"""
    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "graph.onnx"), os.path.join(folder, "out")
        onnx.save(helper.make_model(helper.make_graph([], "weights", [], [], initializer=list(tensors))), path)
        done = call(write_weights.main, path, out, *arguments)
        data = os.path.join(out, "graph.onnx.data")
        if not os.path.exists(data):
            return done, None
        with open(data, "rb") as file:
            return done, file.read()


@unittest.skipIf(absent, absent)
class MadeUpWeights(unittest.TestCase):
    def test_values_are_spread_as_the_graph_says_and_fill_every_tensor(self):
        done, data = written(weight("a", [100, 300], 0), weight("b", [70000], 120064, "0.5 0", data_type=16))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(data), 120064 + 140000)
        first = numpy.frombuffer(data, numpy.float32, 30000)
        second = (numpy.frombuffer(data, numpy.uint16, 70000, offset=120064).astype(numpy.uint32) << 16).view(numpy.float32)
        numpy.testing.assert_allclose([first.mean(), first.std()], [1, 0.02], rtol=0.02)
        numpy.testing.assert_allclose([second.mean(), second.std()], [0, 0.5], atol=0.01)

    def test_the_values_are_these_on_every_machine(self):
        _, data = written(weight("a", [1000], 0))
        self.assertEqual(hashlib.sha256(data).hexdigest()[:16], "1b722f1a0df94fb8")

    def test_seeds_names_and_chunks_differ_and_a_weight_does_not_depend_on_its_place(self):
        table = levels(0.1, 0, numpy.float32)
        taken = [chunk_of(table, name, seed, index, 64).tobytes() for name, seed, index in
                 (("a", 1, 0), ("b", 1, 0), ("a", 2, 0), ("a", 1, 1))]
        self.assertEqual(len(set(taken)), 4)
        self.assertEqual(CHUNK % 4, 0)
        _, data = written(weight("a", [100], 0), weight("b", [64], 4096, "0.1 0"))
        self.assertEqual(data[4096:], taken[1])
        _, other = written(weight("b", [64], 0, "0.1 0"), arguments=["--seed=2"])
        self.assertNotEqual(other, taken[1])

    def test_tied_weights_are_one(self):
        _, data = written(weight("tied", [8, 8], 0), weight("embedding", [8, 8], 0))
        _, alone = written(weight("tied", [8, 8], 0))
        self.assertEqual(data, alone)

    def refused(self, words, *tensors):
        done, data = written(*tensors)
        self.assertEqual((done.returncode, data), (1, None))
        self.assertIn(words, done.stderr)

    def test_graphs_that_cannot_be_filled_are_refused(self):
        self.refused("no external data")
        self.refused("was not written by export_policy.py --graph-only", weight("a", [8], 0, spread=None))
        self.refused("overlap", weight("a", [8], 0), weight("b", [8], 16))
        self.refused("not the same weight", weight("a", [8], 0), weight("b", [4], 0))
        self.refused("its shape needs 32", weight("a", [8], 0, length=31))


if __name__ == "__main__":
    run_tests()
