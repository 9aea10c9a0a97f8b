# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sampling as one traceable function: what torch.onnx.export is given.

The originals' own sample_actions cannot be traced: it loops while a tensor is positive, copies the cache
with copy.deepcopy, and may be wrapped in torch.compile. The loop here counts steps in Python, and the two
caches below copy nothing.
"""

import inspect

import numpy
import torch
from torch import nn


class PrefixCache:
    """Collects each layer's keys and values [B,H,N,D] while the prefix runs."""

    def __init__(self):
        self.layers = []

    def update(self, key, value, layer_index, *unused, **unused_by_keyword):
        assert layer_index == len(self.layers), "layers must fill the cache in order"
        self.layers.append((key, value))
        return key, value

    def get_seq_length(self, layer_index=0):
        return self.layers[layer_index][0].shape[2] if self.layers else 0


class PrefixView:
    """What a denoising step sees: the prefix's keys and values before its own. Keeps nothing of the step."""

    def __init__(self, cache):
        self.layers = cache.layers

    def update(self, key, value, layer_index, *unused, **unused_by_keyword):
        past_key, past_value = self.layers[layer_index]
        return torch.cat([past_key, key], dim=2), torch.cat([past_value, value], dim=2)

    def __deepcopy__(self, memo):  # some releases of openpi copy the cache for each step
        return self

    def __getitem__(self, layer_index):
        return self.layers[layer_index]

    def get_seq_length(self, layer_index=0):
        return self.layers[layer_index][0].shape[2]


def step_times(steps):
    """The time of each step, and the step's length, rounded to float32 as every exporter rounds them."""
    delta = -1.0 / steps
    return [float(numpy.float32(1.0 + step * delta)) for step in range(steps)], float(numpy.float32(delta))


class Sampler(nn.Module):
    """(images..., camera masks..., tokens, token_mask, state, noise) -> actions [B,horizon,action_dim]"""

    def __init__(self, policy, cameras, steps, make_attention_mask, additive_mask):
        super().__init__()
        self.policy = policy
        self.camera_count = len(cameras)
        self.steps = steps
        self.make_attention_mask = make_attention_mask  # both in the policy's own spelling
        self.additive_mask = additive_mask
        # lerobot's Pi0.5 step takes no state at all
        self.takes_state = "state" in inspect.signature(policy.denoise_step).parameters

    def forward(self, *inputs):
        images, masks = inputs[: self.camera_count], inputs[self.camera_count : 2 * self.camera_count]
        tokens, token_mask, state, noise = inputs[2 * self.camera_count :]
        prefix, valid, starts = self.policy.embed_prefix(list(images), list(masks), tokens, token_mask)
        cache = PrefixCache()
        self.policy.paligemma_with_expert.forward(
            attention_mask=self.additive_mask(self.make_attention_mask(valid, starts)),
            position_ids=torch.cumsum(valid, dim=1) - 1,
            past_key_values=cache,
            inputs_embeds=[prefix, None],
            use_cache=True,
        )
        return self.denoise(state, valid, PrefixView(cache), noise)

    def denoise(self, state, valid, cache, noise):
        times, delta = step_times(self.steps)
        actions = noise
        state_if_taken = {"state": state} if self.takes_state else {}
        for time in times:
            timestep = torch.tensor(time, dtype=torch.float32, device=noise.device).expand(noise.shape[0])
            velocity = self.policy.denoise_step(
                prefix_pad_masks=valid, past_key_values=cache, x_t=actions, timestep=timestep, **state_if_taken
            )
            actions = actions + delta * velocity
        return actions
