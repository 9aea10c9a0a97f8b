#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""tools/evaluate_onnx.py: fixtures against their float64 references, operators against the ONNX standard, bad input."""

import os
import tempfile
import unittest

from common import SCRATCH, call, description, fixture_names, missing, run_tests, unpacked

absent = missing("torch", "onnx", "numpy")
if not absent:
    import numpy
    import onnx
    import torch
    from onnx import TensorProto, helper

    import evaluate_onnx

    torch.set_num_threads(1)


def load(name, seed, part, value):
    array = numpy.load(os.path.join(unpacked(name), "cases", str(seed), part, value + ".npy"))
    return torch.from_numpy(array)


def evaluated(name, seed, dtype):
    """-> actions minus noise, evaluated and wanted."""
    graph = evaluate_onnx.Graph(os.path.join(unpacked(name), "model.onnx"))
    inputs = {value.name: load(name, seed, "inputs", value.name) for value in graph.inputs}
    with torch.inference_mode():
        actions = evaluate_onnx.evaluate(graph, inputs, dtype)["actions"].double()
    noise = load(name, seed, "inputs", "noise").double()
    return actions - noise, load(name, seed, "reference", "actions") - noise


@unittest.skipIf(absent, absent)
class Fixtures(unittest.TestCase):
    SEED = 5  # a camera absent and a prompt of one token

    def test_float64_agrees_as_closely_as_the_description_says(self):
        for name in fixture_names():
            found, wanted = evaluated(name, self.SEED, torch.float64)
            recorded = description(name)["cases"][self.SEED]["graph_float64_error"]
            self.assertLess(evaluate_onnx.relative_l2(found, wanted), 1.05 * recorded + 1e-9, name)

    def test_float32_is_as_good_as_pytorch(self):
        for name in ("pi0_torchscript", "pi0_opset23", "pi05_opset23_batch2"):
            found, wanted = evaluated(name, self.SEED, torch.float32)
            own = description(name)["cases"][self.SEED]["pytorch_float32_error"]
            self.assertLess(evaluate_onnx.relative_l2(found, wanted), 2 * own, name)

    def test_as_typed_is_as_good_as_pytorch_in_bf16(self):
        for name in ("pi0_bf16_opset23", "pi05_bf16_torchscript", "pi05_bf16"):
            found, wanted = evaluated(name, self.SEED, None)
            own = description(name)["cases"][self.SEED]["pytorch_bf16_error"]
            self.assertLess(evaluate_onnx.relative_l2(found, wanted), 1.5 * own, name)


def one_node(kind, inputs, outputs=1, opset=23, **attributes):
    """Saves a graph of one node over the given arrays; -> its path and the arrays by name."""
    names = [f"in{index}" if value is not None else "" for index, value in enumerate(inputs)]
    results = [f"out{index}" for index in range(outputs)]
    given = {name: value for name, value in zip(names, inputs) if value is not None}
    types = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
             for name, value in given.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in results]
    graph = helper.make_graph([helper.make_node(kind, names, results, name="it", **attributes)], "one", types, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    path = os.path.join(SCRATCH.name, f"{kind}.onnx")
    onnx.save(model, path)
    return path, given


def random(*shape):
    return numpy.random.default_rng(sum(shape)).standard_normal(shape).astype(numpy.float32)


@unittest.skipIf(absent, absent)
class Operators(unittest.TestCase):
    """Each against the ONNX project's own reference implementation of the standard."""

    def check(self, kind, inputs, outputs=1, opset=23, **attributes):
        from onnx.reference import ReferenceEvaluator

        path, given = one_node(kind, inputs, outputs, opset, **attributes)
        wanted = ReferenceEvaluator(path).run(None, given)
        graph = evaluate_onnx.Graph(path)
        found = evaluate_onnx.evaluate(graph, {name: torch.from_numpy(value) for name, value in given.items()})
        for index, value in enumerate(wanted):
            numpy.testing.assert_allclose(found[f"out{index}"].numpy(), value, rtol=2e-5, atol=2e-5, err_msg=kind)

    def test_attention_with_fewer_key_heads_mask_and_cache(self):
        query, key, value = random(2, 4, 3, 6), random(2, 2, 5, 6), random(2, 2, 5, 6)
        mask = random(2, 4, 3, 7)
        self.check("Attention", [query, key, value, mask, random(2, 2, 2, 6), random(2, 2, 2, 6)], outputs=3, scale=0.3)

    def test_causal_attention_over_flat_heads(self):
        self.check("Attention", [random(1, 4, 12), random(1, 4, 6), random(1, 4, 6)], q_num_heads=2, kv_num_heads=1, is_causal=1)

    def test_attention_with_a_bool_mask(self):
        mask = numpy.array([[True, True, False], [True, False, True]])
        self.check("Attention", [random(1, 2, 2, 4), random(1, 2, 3, 4), random(1, 2, 3, 4), mask])

    def test_rotary_embedding(self):
        heads, cosine, sine = random(2, 3, 5, 8), random(2, 5, 4), random(2, 5, 4)
        self.check("RotaryEmbedding", [heads, cosine, sine])
        self.check("RotaryEmbedding", [heads, cosine, sine], interleaved=1)
        positions = numpy.array([[0, 2, 1, 3, 4], [4, 3, 2, 1, 0]])
        self.check("RotaryEmbedding", [heads, random(6, 4), random(6, 4), positions])

    def test_norms(self):
        self.check("RMSNormalization", [random(2, 3, 7), random(7)], epsilon=1e-6)
        self.check("RMSNormalization", [random(2, 3, 7), random(2, 1, 7)], epsilon=1e-6)
        self.check("LayerNormalization", [random(2, 3, 7), random(7), random(7)], epsilon=1e-6)

    def test_slices(self):
        value = random(5, 6)
        whole = 9223372036854775807
        for start, end, axis, step in ((1, whole, 1, 1), (-3, -1, 0, 1), (4, -whole, 0, -2), (3, 1, 1, 1)):
            self.check("Slice", [value, *(numpy.array([number]) for number in (start, end, axis, step))])

    def test_shapes(self):
        value = random(2, 3, 4)
        self.check("Reshape", [value, numpy.array([0, -1])])
        self.check("Unsqueeze", [value, numpy.array([-1, 0])])
        self.check("Squeeze", [random(1, 3, 1), numpy.array([-1])])
        self.check("Expand", [random(3, 1), numpy.array([2, 1, 4])])
        self.check("Tile", [value, numpy.array([1, 2, 1])])
        self.check("Split", [value, numpy.array([1, 2])], outputs=2, axis=1)
        self.check("Split", [value], outputs=2, axis=2, num_outputs=2)
        self.check("Gather", [value, numpy.array([[-1, 0]])], axis=1)
        self.check("CumSum", [value, numpy.array(1)], exclusive=1, reverse=1)
        self.check("Range", [numpy.array(1), numpy.array(9), numpy.array(3)])

    def test_arithmetic(self):
        self.check("Gemm", [random(3, 2), random(4, 3), random(4)], transA=1, transB=1, alpha=0.5, beta=2.0)
        self.check("Div", [numpy.array([-7, 7]), numpy.array([2, 2])])
        self.check("Gelu", [random(9)], approximate="tanh")
        self.check("ReduceSum", [random(2, 3), numpy.array([-1])], keepdims=0)
        self.check("ReduceMean", [random(2, 3)], opset=17, axes=[1])
        self.check("Conv", [random(1, 3, 6, 6), random(5, 3, 2, 2), random(5)], strides=[2, 2])

    def test_cumulative_sum_of_bool_counts(self):
        path, given = one_node("CumSum", [numpy.array([True, False, True]), numpy.array(0)], opset=17)
        found = evaluate_onnx.evaluate(evaluate_onnx.Graph(path), {k: torch.from_numpy(v) for k, v in given.items()})
        self.assertEqual(found["out0"].tolist(), [1, 1, 2])


def command(*arguments):
    return call(evaluate_onnx.main, *arguments)


@unittest.skipIf(absent, absent)
class CommandLine(unittest.TestCase):
    def test_generated_inputs_can_be_kept_and_given_again(self):
        model = os.path.join(unpacked("pi0_torchscript"), "model.onnx")
        with tempfile.TemporaryDirectory() as out:
            kept, first, second = (os.path.join(out, name) for name in ("inputs", "first", "second"))
            done = command(model, "--seed=3", f"--write-inputs={kept}", f"--outputs={first}", "--dtype=float32")
            self.assertEqual(done.returncode, 0, done.stderr)
            done = command(model, f"--inputs={kept}", f"--outputs={second}", "--dtype=float32", f"--reference={first}")
            self.assertIn("actions: relative L2 0.000e+00, minus the noise 0.000e+00", done.stdout)
            tokens = numpy.load(os.path.join(kept, "tokens.npy"))
            self.assertLess(tokens.max(), description("pi0_torchscript")["dimensions"]["vocabulary"])

    def refused(self, words, *arguments):
        done = command(*arguments)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertNotIn("Traceback", done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_all_unknown_operators_are_listed_at_once(self):
        nodes = [helper.make_node(kind, ["x"], [f"y{kind}"], name=f"the_{kind}") for kind in ("Softplus", "Selu")]
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        end = helper.make_tensor_value_info("ySelu", TensorProto.FLOAT, [1])
        path = os.path.join(SCRATCH.name, "unknown.onnx")
        onnx.save(helper.make_model(helper.make_graph(nodes, "two", [value], [end])), path)
        self.refused(["Softplus (first at node 'the_Softplus')", "Selu"], path, "--seed=0")

    def test_external_data_must_be_there_and_stay_inside_the_folder(self):
        for location, words in (("../outside", "not inside the model's folder"), ("absent.data", "cannot map")):
            weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
            weight.external_data.add(key="location", value=location)
            node = helper.make_node("Neg", ["w"], ["y"], name="it")
            end = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
            path = os.path.join(SCRATCH.name, "external.onnx")
            with open(path, "wb") as file:
                graph = helper.make_graph([node], "one", [], [end], initializer=[weight])
                file.write(helper.make_model(graph).SerializeToString())
            self.refused(["weight 'w'", words], path, "--seed=0")

    def test_a_missing_or_misshapen_input_names_it(self):
        model = os.path.join(unpacked("pi0_torchscript"), "model.onnx")
        with tempfile.TemporaryDirectory() as empty:
            self.refused(["input 'base_0_rgb'"], model, f"--inputs={empty}")
            numpy.save(os.path.join(empty, "base_0_rgb.npy"), random(1, 2))
            self.refused(["has shape [1, 2]"], model, f"--inputs={empty}")

    def test_what_is_no_onnx_file_is_refused(self):
        path = os.path.join(SCRATCH.name, "garbage.onnx")
        with open(path, "wb") as file:
            file.write(b"\xff" * 64)
        self.refused(["cannot read it as ONNX"], path, "--seed=0")

    def test_a_shape_error_names_the_node(self):
        path, given = one_node("MatMul", [random(2, 3), random(4, 5)])
        with tempfile.TemporaryDirectory() as folder:
            for name, value in given.items():
                numpy.save(os.path.join(folder, name + ".npy"), value)
            self.refused(["node 'it' (MatMul)", "[2, 3]"], path, f"--inputs={folder}")


if __name__ == "__main__":
    run_tests()
