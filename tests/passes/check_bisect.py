#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`pinion verify --bisect-passes` names the pass, and the op, that breaks a model: in test builds of pinion with a pass broken
on purpose (broken_*.c), on a model of three layers. Needs make and a C compiler.

    check_bisect.py PINION BROKEN_PASS BROKEN_LOWERING BROKEN_IR WORK
"""
import os
import re
import shutil
import subprocess
import sys
import unittest

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model

PINION, BROKEN_PASS, BROKEN_LOWERING, BROKEN_IR, WORK = (os.path.abspath(word) for word in sys.argv[1:6])
MISMATCH = 5
LAYERS, ROWS, WIDTH = 3, 4, 16


def layer(number, x, y, initializers, generator):
    """y = x + silu(rms_norm(x) W), spelled out as TorchScript does, names and all."""
    at = f"/layers.{number}"

    def constant(name, value):
        initializers.append(numpy_helper.from_array(np.asarray(value, np.float32), f"{name}.{number}"))
        return f"{name}.{number}"

    def node(op, inputs, module, **attributes):
        name = f"{at}/{module}/{op}_{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name + "_out"], name=name, **attributes))
        return name + "_out"

    nodes = []
    squares = node("Mul", [x, x], "norm")
    mean = node("ReduceMean", [squares], "norm", axes=[-1])
    sum_ = node("Add", [mean, constant("epsilon", 1e-6)], "norm")
    inverse = node("Div", [constant("one", 1), node("Sqrt", [sum_], "norm")], "norm")
    normalised = node("Mul", [x, inverse], "norm")
    weight = constant("weight", generator.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH))
    product = node("MatMul", [normalised, weight], "linear")
    gate = node("Sigmoid", [product], "act")
    activation = node("Mul", [product, gate], "act")
    nodes.append(helper.make_node("Add", [x, activation], [y], name=f"{at}/Add"))
    return nodes


def write_model(path):
    generator, nodes, initializers = np.random.default_rng(0), [], []
    names = ["x", *(f"x{i}" for i in range(1, LAYERS)), "y"]
    for number in range(LAYERS):
        nodes += layer(number, names[number], names[number + 1], initializers, generator)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, ROWS, WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "layers", tensors[:1], tensors[1:], initializers)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


class Bisect(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["CFLAGS"] = "-O0"  # of what make builds
        shutil.rmtree(WORK, ignore_errors=True)
        os.makedirs(WORK)
        cls.model = os.path.join(WORK, "model.onnx")
        write_model(cls.model)

    def compile_and_verify(self, pinion, *flags, status):
        artifact = os.path.join(WORK, self.id().rpartition(".")[2])
        subprocess.run([pinion, "compile", self.model, "-o", artifact, *flags], check=True)
        command = [pinion, "verify", self.model, artifact, "--bisect-passes"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": WORK})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertFalse([name for name in os.listdir(WORK) if name.startswith("pinion-bisect")])
        return done.stdout

    def test_a_right_model_is_not_bisected(self):
        self.assertNotIn("rewrites", self.compile_and_verify(PINION, status=0))

    def test_a_pass_that_changes_the_result_is_named_with_its_op(self):
        said = self.compile_and_verify(BROKEN_PASS, status=MISMATCH)
        self.assertRegex(said, r"the model breaks with rewrite \d+ of optional passes: recognise-activation at '/layers.1/act/")
        self.assertIn("the interpreter shows it on the IR", said)
        self.assertNotIn("compiled again", said)
        flag = re.search(r"to do without:.*(--disable-pass=\S+)", said)[1]
        self.compile_and_verify(BROKEN_PASS, flag, status=0)

    def test_flags_of_the_artifact_are_kept(self):
        counts = []
        for flags in ((), ("--disable-pass=recognise-norm", "--disable-pass=recognise-activation@layers.0")):
            said = self.compile_and_verify(BROKEN_PASS, *flags, status=MISMATCH)
            self.assertIn("recognise-activation at '/layers.1/act/", said)
            counts.append(int(re.search(r"with rewrite (\d+) of", said)[1]))
        self.assertLess(counts[1], counts[0])

    def test_a_rewrite_whose_result_is_lowered_wrongly_is_named(self):
        said = self.compile_and_verify(BROKEN_LOWERING, status=MISMATCH)
        self.assertRegex(said, r"the model breaks with rewrite \d+ of optional passes: recognise-norm at '/layers.0/norm/")
        self.assertIn("the IR stays right in the interpreter", said)
        self.compile_and_verify(BROKEN_LOWERING, "--disable-pass=recognise-norm", status=0)

    def test_a_pass_that_leaves_an_op_that_is_none_is_named_when_it_has_run_whether_or_not_it_counts_that(self):
        command = [BROKEN_IR, "compile", self.model, "-o", os.path.join(WORK, "invalid")]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("pass 'eliminate-common' left a module that is not valid", done.stderr)
        self.assertFalse(os.path.exists(command[-1]))
        subprocess.run([*command, "--disable-pass=eliminate-common"], check=True)

    def test_a_damaged_artifact_is_told_from_a_broken_pass(self):
        artifact = os.path.join(WORK, "damaged")
        subprocess.run([PINION, "compile", self.model, "-o", artifact], check=True)
        path = os.path.join(artifact, "weights.bin")
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) - 64)
            file.write(np.full(16, 3, np.float32).tobytes())
        command = [PINION, "verify", self.model, artifact, "--bisect-passes"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, MISMATCH, done.stdout + done.stderr)
        self.assertIn("is damaged", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
