# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds the policy that is exported: from a checkout, from an installed package, or our own network."""

import torch

from . import network, weights
from .sampling import Sampler


def build_own(size, pi05, seed, significant_bits=None, state=None, origin="the checkpoint"):
    """Our own network in float32, with a checkpoint's weights or random ones."""
    policy = network.Policy(size, pi05).eval().requires_grad_(False)
    if state is None:
        weights.randomise(policy, seed, significant_bits)
    else:
        weights.load(policy, state, origin)
    return policy


def own_sampler(policy, cameras, steps):
    return Sampler(policy, cameras, steps, network.make_attention_mask, network.additive_mask).eval()


def as_dtype(policy, dtype):
    """'float32', or 'bf16' as the originals hold it: vision tower, projector, norms and heads stay float32."""
    if dtype == "bf16":
        policy.use_bfloat16()
    else:
        policy.to(torch.float32)
    return policy
