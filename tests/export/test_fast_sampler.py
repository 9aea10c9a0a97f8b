#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The form of a policy that is fast in PyTorch gives the actions of the form that is exported."""

import unittest

from common import missing, run_tests

absent = missing("torch", "numpy")
if not absent:
    import torch

    from pinion_export import cases, policies
    from pinion_export.dimensions import CAMERAS, SMALL
    from pinion_export.fast_sampler import ATTENTIONS, FastSampler

    torch.set_num_threads(1)

STEPS = 3
ROUNDING = 1e-5  # float32 sums in another order, through all layers and steps; a wrong mask or position moves actions by percents


@unittest.skipIf(absent, absent)
class Actions(unittest.TestCase):
    def check(self, pi05, cameras, batch):
        policy = policies.build_own(SMALL, pi05, seed=3)
        exported = policies.own_sampler(policy, cameras, STEPS)
        fast = {name: FastSampler(policy, cameras, STEPS, form, form) for name, form in ATTENTIONS.items()}
        for index, case in enumerate(cases.variations(SMALL, cameras, batch)):
            wanted = exported(*case.values()) - case["noise"]
            for name, sampler in fast.items():
                moved = sampler(*case.values()) - case["noise"]
                error = float((moved - wanted).norm() / wanted.norm())
                self.assertLess(error, ROUNDING, f"{name} attention, case {index}")

    def test_pi0_with_a_batch(self):
        self.check(False, CAMERAS, 2)

    def test_pi0_with_two_cameras(self):
        self.check(False, CAMERAS[:2], 1)

    def test_pi05(self):
        self.check(True, CAMERAS, 2)

    def test_compiled_regions_are_compiled_once(self):
        policy = policies.build_own(SMALL, False, seed=3)
        case = cases.make(SMALL, CAMERAS, 1, seed=0)
        sampler, graphs = FastSampler(policy, CAMERAS, STEPS), []

        def count(graph, _):
            graphs.append(graph)
            return graph.forward

        wanted = sampler(*case.values())
        sampler.compile(backend=count)
        self.assertTrue(torch.equal(sampler(*case.values()), wanted))
        sampler(*case.values())
        self.assertEqual(len(graphs), 3, "vision, prefix and step")


if __name__ == "__main__":
    run_tests()
