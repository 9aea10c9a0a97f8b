#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exporting for real, small; weights, checkpoints and cases; and what is refused."""

import json
import os
import tempfile
import unittest

from common import TOOLS, call, missing, run_tests

absent = missing("torch", "onnx", "onnxscript", "numpy")
if not absent:
    import numpy
    import torch

    import evaluate_onnx
    import export_policy
    from pinion_export import cases, checks, dimensions, network, policies, sampling, weights

    torch.set_num_threads(1)
    SMALLEST = dimensions.parse("small,image_size=28,vision_mlp=79,language_mlp=96,expert_mlp=64,action_horizon=5")

SPEC = "small,image_size=28,vision_mlp=79,language_mlp=96,expert_mlp=64,action_horizon=5"


def export(*arguments):
    return call(export_policy.main, *arguments)


def error_against_reference(folder, dtype):
    graph = evaluate_onnx.Graph(os.path.join(folder, "model.onnx"))
    inputs = evaluate_onnx.read_inputs(graph, os.path.join(folder, "cases", "0", "inputs"))
    wanted = numpy.load(os.path.join(folder, "cases", "0", "reference", "actions.npy"))
    noise = torch.from_numpy(numpy.load(os.path.join(folder, "cases", "0", "inputs", "noise.npy"))).double()
    with torch.inference_mode():
        found = evaluate_onnx.evaluate(graph, inputs, dtype)["actions"].double()
    return evaluate_onnx.relative_l2(found - noise, torch.from_numpy(wanted) - noise)


@unittest.skipIf(absent, absent)
class Exports(unittest.TestCase):
    def test_dynamo_with_external_data_and_two_cameras(self):
        with tempfile.TemporaryDirectory() as out:
            done = export("--policy=pi0", "--source=own", f"--dimensions={SPEC}", "--steps=1", "--opset=18",
                          "--cameras=base_0_rgb,right_wrist_0_rgb", "--external-data=yes", "--cases=1", "--no-checks", "-o", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(os.path.exists(os.path.join(out, "model.onnx.data")))
            self.assertLess(error_against_reference(out, torch.float64), 1e-7)
            names = set(os.listdir(os.path.join(out, "cases", "0", "inputs")))
            self.assertIn("right_mask.npy", names)
            self.assertNotIn("left_mask.npy", names)

    def test_torchscript_of_pi05_in_bf16(self):
        with tempfile.TemporaryDirectory() as out:
            done = export("--policy=pi05", "--source=own", f"--dimensions={SPEC}", "--steps=2", "--exporter=torchscript",
                          "--dtype=bf16", "--batch=2", "--cases=1", "--seed=4", "--no-checks", "-o", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(os.path.join(out, "export.json")) as file:
                described = json.load(file)
            self.assertEqual((described["reference"], described["opset"]), ("float64", 17))
            own = described["cases"][0]["pytorch_bf16_error"]
            self.assertLess(error_against_reference(out, None), 1.5 * own)

    def refused(self, status, words, *arguments):
        done = export(*arguments, "-o", "unused")
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn(words, done.stderr)

    def test_requests_that_cannot_be_met_say_why(self):
        self.refused(2, "unknown preset 'tiny'", "--policy=pi0", "--dimensions=tiny")
        self.refused(2, "head_dim must be even", "--policy=pi0", "--dimensions=small,head_dim=15")
        self.refused(2, "no camera is named front", "--policy=pi0", "--dimensions=small", "--cameras=front")
        self.refused(2, "writes opsets 18 to 23, not 30", "--policy=pi0", "--dimensions=small", "--opset=30")
        self.refused(2, "no folder with a model.safetensors", "--policy=pi0", "--dimensions=small", "--checkpoint=/none")
        self.refused(1, "neither an openpi nor a lerobot checkout", "--policy=pi0", "--dimensions=small", f"--source={TOOLS}")


@unittest.skipIf(absent, absent)
class Weights(unittest.TestCase):
    def policy(self, pi05=False, seed=1):
        return policies.build_own(SMALLEST, pi05, seed, significant_bits=6)

    def test_no_parameter_is_left_untrained(self):
        for pi05 in (False, True):
            for name, parameter in self.policy(pi05).named_parameters():
                self.assertGreater(float(parameter.std()), 0.01, name)

    def test_values_on_the_grid_are_exact_in_bf16(self):
        for name, parameter in self.policy().named_parameters():
            self.assertTrue(torch.equal(parameter, parameter.bfloat16().float()), name)

    def test_a_seed_gives_the_same_weights_again_and_another_does_not(self):
        first, again, other = self.policy(), self.policy(), self.policy(seed=2)
        for one, two, three in zip(first.parameters(), again.parameters(), other.parameters()):
            self.assertTrue(torch.equal(one, two))
            self.assertFalse(torch.equal(one, three))

    def test_default_initialisation_is_caught_as_blind(self):
        torch.manual_seed(0)
        policy = network.Policy(SMALLEST, pi05=True).eval()
        for name, parameter in policy.named_parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        sampler = policies.own_sampler(policy, dimensions.CAMERAS, 1)
        case = cases.make(SMALLEST, dimensions.CAMERAS, 1, seed=0)
        with self.assertRaises(checks.BlindModelError):
            checks.sensitivity(sampler, case, SMALLEST, dimensions.CAMERAS, pi05=True)

    def test_a_checkpoint_under_older_names_loads_and_a_wrong_one_says_what_is_missing(self):
        policy, other = self.policy(), self.policy(seed=2)
        older = {
            "model." + name.replace("paligemma.model.language_model.", "paligemma.language_model.model.")
            .replace("paligemma.model.vision_tower.", "paligemma.vision_tower.vision_model."): value
            for name, value in policy.state_dict().items()
        }
        weights.load(other, older, "older")
        for one, two in zip(policy.parameters(), other.parameters()):
            self.assertTrue(torch.equal(one, two))
        del older["model.action_out_proj.bias"]
        older["model.state_proj.weight"] = torch.zeros(2, 2)
        with self.assertRaisesRegex(weights.CheckpointError, "missing action_out_proj.bias; state_proj.weight is .2, 2."):
            weights.load(other, older, "older")

    def test_a_checkpoint_file_reaches_the_export(self):
        with tempfile.TemporaryDirectory() as out:
            torch.save(self.policy(seed=7).state_dict(), os.path.join(out, "model.pt"))
            done = export("--policy=pi0", "--source=own", f"--dimensions={SPEC}", "--steps=1", "--exporter=torchscript",
                          f"--checkpoint={out}", "--cases=1", "--no-checks", "-o", os.path.join(out, "export"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertLess(error_against_reference(os.path.join(out, "export"), torch.float64), 1e-7)
            sampler = policies.own_sampler(self.policy(seed=7), dimensions.CAMERAS, 1)
            case = cases.make(SMALLEST, dimensions.CAMERAS, 1, seed=0)
            wanted = checks.run_float64(checks.in_float64(sampler), case)
            found = numpy.load(os.path.join(out, "export", "cases", "0", "reference", "actions.npy"))
            numpy.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12, atol=1e-12)


@unittest.skipIf(absent, absent)
class Meaning(unittest.TestCase):
    """Properties of the network that hold whatever the weights are."""

    def setUp(self):
        self.sampler = policies.own_sampler(policies.build_own(SMALLEST, False, 1), dimensions.CAMERAS, 2)
        self.case = cases.make(SMALLEST, dimensions.CAMERAS, 1, seed=3, absent_cameras=("left_wrist_0_rgb",), prompt_length=4)

    def actions(self, **changes):
        return checks.run(self.sampler, {**self.case, **changes})

    def test_an_absent_cameras_pixels_change_nothing(self):
        other = self.actions(left_wrist_0_rgb=-self.case["left_wrist_0_rgb"])
        self.assertTrue(torch.equal(other, self.actions()))

    def test_tokens_beyond_the_prompt_change_nothing(self):
        tokens = self.case["tokens"].clone()
        tokens[:, 4:] = 0
        self.assertTrue(torch.equal(self.actions(tokens=tokens), self.actions()))
        tokens[:, 3] = (tokens[:, 3] + 1) % SMALLEST.vocabulary
        self.assertFalse(torch.equal(self.actions(tokens=tokens), self.actions()))

    def test_the_steps_times_run_from_one_towards_zero(self):
        times, delta = sampling.step_times(10)
        self.assertEqual((len(times), times[0]), (10, 1.0))
        self.assertAlmostEqual(times[-1], 0.1, 6)
        self.assertAlmostEqual(delta, -0.1, 7)

    def test_float64_is_float64_throughout(self):
        wide = checks.run_float64(checks.in_float64(self.sampler), self.case)
        self.assertEqual(wide.dtype, torch.float64)
        again = checks.run_float64(checks.in_float64(self.sampler), {**self.case, "noise": self.case["noise"] + 1e-7})
        self.assertFalse(torch.equal(wide, again))


if __name__ == "__main__":
    run_tests()
