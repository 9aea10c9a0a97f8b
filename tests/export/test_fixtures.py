#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The committed fixtures are small, complete, varied, and would show a wrong kernel."""

import hashlib
import os
import subprocess
import sys
import tempfile
import unittest

from common import FIXTURES, TOOLS, description, fixture_names, missing, run_tests, unpacked

LARGEST = 1_000_000  # bytes of one fixture as committed
SEEDS = 8


def committed_size(name):
    folder = os.path.join(FIXTURES, name)
    return sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))


def case_folder(name, seed, part):
    return os.path.join(unpacked(name), "cases", str(seed), part)


class Committed(unittest.TestCase):
    def test_each_is_under_a_megabyte(self):
        for name in fixture_names():
            self.assertLess(committed_size(name), LARGEST, name)

    def test_together_they_cover_what_users_export(self):
        described = [description(name) for name in fixture_names()]
        for field, wanted in (
            ("policy", {"pi0", "pi05"}),
            ("exporter", {"dynamo", "torchscript"}),
            ("opset", {17, 18, 20, 23}),
            ("dtype", {"float32", "bf16"}),
            ("batch", {1, 2}),
            ("external_data", {True, False}),
        ):
            self.assertLessEqual(wanted, {one[field] for one in described}, field)
        self.assertIn(2, {len(one["cameras"]) for one in described})

    def test_the_main_one_has_ten_steps_and_a_twin_with_two(self):
        main, twin = description("pi0_small"), description("pi0_small_2_steps")
        self.assertEqual((main["steps"], twin["steps"]), (10, 2))
        for field in ("policy", "exporter", "opset", "dtype", "batch", "weights_seed", "dimensions"):
            self.assertEqual(main[field], twin[field], field)

    def test_structure_survives_the_small_widths(self):
        for name in fixture_names():
            size = description(name)["dimensions"]
            self.assertGreaterEqual(min(size["layers"], size["vision_layers"]), 2, name)
            self.assertEqual((size["query_heads"], size["key_heads"]), (8, 1), name)
            self.assertGreaterEqual(size["image_size"] // size["patch_size"], 2, name)
            self.assertEqual(size["prompt_tokens"] % 2, 1, name)

    def test_every_input_moves_the_actions(self):
        for name in fixture_names():
            changes = dict(description(name)["changes"])
            self.assertTrue(0.3 < changes.pop("actions against noise") < 3, name)
            changes.pop("state", None)
            for what, change in changes.items():
                self.assertTrue(0.1 <= change <= 0.8, f"{name}: {what} {change}")

    def test_pytorchs_own_errors_are_plausible(self):
        for name in fixture_names():
            one = description(name)
            self.assertEqual([case["seed"] for case in one["cases"]], list(range(SEEDS)), name)
            for case in one["cases"]:
                self.assertTrue(1e-7 < case["pytorch_float32_error"] < 5e-6, f"{name}: {case}")
                if one["dtype"] == "bf16":
                    self.assertTrue(1e-3 < case["pytorch_bf16_error"] < 4e-2, f"{name}: {case}")
                    self.assertGreater(case["pytorch_bf16_cosine"], 0.999, name)


class Unpacking(unittest.TestCase):
    def test_the_command_lays_out_every_file(self):
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, os.path.join(TOOLS, "export", "unpack_fixture.py"), "pi0_bf16", out]
            subprocess.run(command, check=True)
            inputs = {entry["name"] + ".npy" for entry in description("pi0_bf16")["inputs"]}
            self.assertEqual(set(os.listdir(os.path.join(out, "cases", "0", "inputs"))), inputs)
            self.assertTrue(os.path.exists(os.path.join(out, "model.onnx.data")))
            self.assertEqual(len(os.listdir(os.path.join(out, "cases"))), SEEDS)

    def test_an_unknown_fixture_is_an_error(self):
        command = [sys.executable, os.path.join(TOOLS, "export", "unpack_fixture.py"), "no_such", "unused"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no fixture 'no_such'", done.stderr)

    def test_no_file_names_the_machine_that_made_it(self):
        for name in fixture_names():
            with open(os.path.join(unpacked(name), "model.onnx"), "rb") as file:
                data = file.read()
            self.assertNotIn(b'File "/', data, name)  # stack traces: an absolute path
            self.assertNotRegex(data, rb"(/home|/Users|/tmp)/", name)


@unittest.skipIf(missing("numpy"), missing("numpy"))
class Values(unittest.TestCase):
    def load(self, name, seed, part, value):
        import numpy

        return numpy.load(os.path.join(case_folder(name, seed, part), value + ".npy"))

    def test_arrays_have_the_described_shapes_and_types(self):
        for name in fixture_names():
            for entry in description(name)["inputs"]:
                value = self.load(name, SEEDS - 1, "inputs", entry["name"])
                self.assertEqual((list(value.shape), str(value.dtype)), (entry["shape"], entry["dtype"]), name)
            reference = self.load(name, 0, "reference", "actions")
            self.assertEqual(str(reference.dtype), "float64", name)
            self.assertEqual(list(reference.shape), description(name)["outputs"][0]["shape"], name)

    def test_some_cases_mask_a_camera_and_some_shorten_the_prompt(self):
        for name in fixture_names():
            masks = [entry["name"] for entry in description(name)["inputs"] if entry["name"].endswith("_mask")]
            for mask in masks[-2:]:
                seen = [bool(self.load(name, seed, "inputs", mask).all()) for seed in range(SEEDS)]
                self.assertEqual(set(seen), {True, False}, f"{name}: {mask}")

    def test_no_two_cases_end_alike(self):
        for name in fixture_names():
            ends = {hashlib.sha256(self.load(name, seed, "reference", "actions").tobytes()).digest() for seed in range(SEEDS)}
            self.assertEqual(len(ends), SEEDS, name)

    def test_actions_differ_from_the_noise(self):
        import numpy

        for name in fixture_names():
            noise = self.load(name, 0, "inputs", "noise").astype(numpy.float64)
            moved = numpy.linalg.norm(self.load(name, 0, "reference", "actions") - noise) / numpy.linalg.norm(noise)
            self.assertGreater(moved, 0.3, name)


@unittest.skipIf(missing("onnx"), missing("onnx"))
class Graphs(unittest.TestCase):
    def test_each_is_the_export_that_its_description_says(self):
        import onnx

        for name in fixture_names():
            one = description(name)
            model = onnx.load(os.path.join(unpacked(name), "model.onnx"), load_external_data=False)
            self.assertEqual([entry.version for entry in model.opset_import if not entry.domain], [one["opset"]], name)
            names = [value.name for value in model.graph.input]
            self.assertLessEqual(set(names), {entry["name"] for entry in one["inputs"]}, name)
            self.assertEqual([value.name for value in model.graph.output], ["actions"], name)
            external = any(weight.data_location for weight in model.graph.initializer)
            self.assertEqual(external, one["external_data"], name)

    def test_nothing_is_stripped(self):
        import onnx

        for name in fixture_names():
            graph = onnx.load(os.path.join(unpacked(name), "model.onnx"), load_external_data=False).graph
            if description(name)["exporter"] == "dynamo":
                keys = {entry.key for node in graph.node for entry in node.metadata_props}
                self.assertLessEqual({"namespace", "pkg.torch.onnx.stack_trace"}, keys, name)
                self.assertGreater(len(graph.value_info), len(graph.node) // 2, name)
            else:
                kinds = {node.op_type for node in graph.node}
                self.assertLessEqual({"Identity", "Constant", "ConstantOfShape", "CumSum"}, kinds, name)


if __name__ == "__main__":
    run_tests()
