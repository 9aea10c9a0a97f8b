#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Our definition of the network against openpi's and lerobot's, with the same weights.

    PINION_LEROBOT_CHECKOUT=... PINION_OPENPI_CHECKOUT=... test_against_originals.py

Each needs PyTorch and the transformers release that it asks for (openpi: 4.53.2; lerobot: 5).
"""

import collections
import os
import tempfile
import unittest
from types import SimpleNamespace

from common import missing, run_tests

absent = missing("torch", "numpy", "onnx", "transformers")
if not absent:
    import onnx
    import torch

    from pinion_export import cases, checks, figures, onnx_export, originals, policies, weights
    from pinion_export.dimensions import CAMERAS, SMALL

    torch.set_num_threads(1)

STEPS, SEED, CASE = 3, 4, 4  # the case has an absent camera and a short prompt


def checkout(variable):
    return os.environ.get(variable), f"{variable} is not set: it names a checkout to compare with"


class Comparison:
    """Mixed into a test case for each original."""

    variable = ""

    def networks(self, pi05, traceable=True):
        """Ours, and the original with our weights."""
        folder, reason = checkout(self.variable)
        if not folder:
            self.skipTest(reason)
        own = policies.build_own(SMALL, pi05, SEED)
        try:
            policy, make_attention_mask = originals.build(folder, SMALL, pi05, traceable)
        except originals.SourceError as error:
            if "do not fit the installed" in str(error):
                self.skipTest(str(error))
            raise
        weights.load(policy, own.state_dict(), "our own weights")
        return own, policy, make_attention_mask

    def samplers(self, pi05, steps=STEPS):
        own, policy, make_attention_mask = self.networks(pi05)
        return policies.own_sampler(own, CAMERAS, steps), originals.sampler(policy, make_attention_mask, CAMERAS, steps)

    def difference(self, ours, theirs, case, run):
        found, wanted = run(ours, case), run(theirs, case)
        return checks.relative_error(checks.move_of(found, case), checks.move_of(wanted, case))

    def check(self, pi05):
        ours, theirs = self.samplers(pi05)
        case = cases.variations(SMALL, CAMERAS, batch=2)[CASE]
        single = self.difference(ours, theirs, case, checks.run)
        double = self.difference(ours, theirs, case, lambda sampler, case: checks.run_float64(checks.in_float64(sampler), case))
        for sampler in (ours, theirs):
            policies.as_dtype(sampler.policy, "bf16")
        bf16 = self.difference(ours, theirs, case, checks.run)
        reference = checks.run_float64(checks.in_float64(ours), case)
        own_error = figures.error_of(checks.run(ours, case), reference, case)
        print(f"{type(self).__name__}, {'pi05' if pi05 else 'pi0'}: float32 {single:.1e}, float64 {double:.1e}, "
              f"bf16 {bf16:.1e} (bf16's own error {own_error:.1e})")
        self.assertLess(double, 1e-7)
        self.assertLess(single, 5e-6)
        self.assertLess(bf16, self.bf16_limit(own_error))

    def test_our_sampling_is_what_its_own_unpatched_sampling_does(self):
        for pi05 in (False, True):
            own, policy, _ = self.networks(pi05, traceable=False)
            case = cases.variations(SMALL, CAMERAS, batch=2)[CASE]
            ours = checks.run(policies.own_sampler(own, CAMERAS, 10), case)
            images = [case[name] for name in CAMERAS]
            masks = [case[cases.MASK_OF_CAMERA[name]] for name in CAMERAS]
            theirs = self.sample(policy, images, masks, case, steps=10)
            found = checks.relative_error(checks.move_of(ours, case), checks.move_of(theirs, case))
            print(f"{type(self).__name__}, {'pi05' if pi05 else 'pi0'}, its own sampling: {found:.1e}")
            self.assertLess(found, self.sampling_limit)

    def test_pi0(self):
        self.check(pi05=False)

    def test_pi05(self):
        self.check(pi05=True)


def module_paths(sampler, case, folder):
    """Operator and module path of each node of a TorchScript export, counted.

    Left out: a Concat of one operand, which openpi's Pi0.5 (and ours) has and lerobot's has not.
    """
    path = os.path.join(folder, "model.onnx")
    onnx_export.export(sampler, case, CAMERAS, path, "torchscript", 17)
    nodes = onnx.load(path).graph.node
    return collections.Counter(
        (node.op_type, node.name.rpartition("/")[0])
        for node in nodes
        if node.op_type not in ("Constant", "Identity") and (node.op_type != "Concat" or len(node.input) > 1)
    )


@unittest.skipIf(absent, absent)
class Lerobot(Comparison, unittest.TestCase):
    variable = "PINION_LEROBOT_CHECKOUT"
    sampling_limit = 5e-6

    def sample(self, policy, images, masks, case, steps):
        state = {} if policy.__class__.__name__ == "PI05Pytorch" else {"state": case["state"]}
        tokens = (case["tokens"], case["token_mask"])
        return policy.sample_actions(images, masks, *tokens, noise=case["noise"], num_steps=steps, **state)

    def bf16_limit(self, own_error):
        return 1e-6  # the same roundings in the same places

    def test_the_exported_graphs_have_the_same_nodes_in_the_same_modules(self):
        for pi05 in (False, True):
            ours, theirs = self.samplers(pi05, steps=2)
            case = cases.make(SMALL, CAMERAS, 1, seed=0)
            with tempfile.TemporaryDirectory() as folder:
                self.assertEqual(module_paths(ours, case, folder), module_paths(theirs, case, folder))


@unittest.skipIf(absent, absent)
class Openpi(Comparison, unittest.TestCase):
    variable = "PINION_OPENPI_CHECKOUT"
    sampling_limit = 1e-4  # it adds up the time in float32, step by step

    def sample(self, policy, images, masks, case, steps):
        observed = (images, masks, case["tokens"], case["token_mask"], case["state"])
        policy._preprocess_observation = lambda observation, train: observed
        return policy.sample_actions("cpu", SimpleNamespace(state=case["state"]), noise=case["noise"], num_steps=steps)

    def bf16_limit(self, own_error):
        return 3 * own_error  # openpi keeps more of the vision tower in bf16


if __name__ == "__main__":
    run_tests()
