# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sampling as one writes it for speed in PyTorch itself: a peer to measure against, never what is exported.

The mathematics and the weights are the network's; tests/export/test_fast_sampler.py holds it against the exported form.
All cameras go through the vision tower at once, attention is PyTorch's own, keys and values of the prefix are kept, of the last
prefix layer nothing else is computed, and masks, rotations, time embeddings and the state's token are made once a call or once at
all. What is left to fuse is what torch.compile is for: its three regions are `vision`, `prefix` and `step`.
"""

import torch
from torch import nn
from torch.nn import functional

from .network import MASKED, gated_residual, make_attention_mask, repeat_heads, rotate, sinusoidal_embedding
from .sampling import step_times

MASK_ALIGNMENT = 8  # elements between rows of a mask that PyTorch's attention kernels take as it is, without a padded copy


def additive_mask(may_see, dtype):
    """[B,Q,K] bool -> [B,1,Q,K], 0 where a key may be seen."""
    batch, queries, keys = may_see.shape
    pitch = -(-keys // MASK_ALIGNMENT) * MASK_ALIGNMENT
    mask = torch.full((batch, 1, queries, pitch), MASKED, dtype=dtype, device=may_see.device)[..., :keys]
    return mask.masked_fill_(may_see[:, None], 0.0)


def fused_attention(query, key, value, mask):
    """query [B,H,Q,D], key and value [B,G,K,D] -> [B,H,Q,D], by PyTorch's fused kernel; one key head is not copied."""
    group = query.shape[1] // key.shape[1]
    return functional.scaled_dot_product_attention(query, repeat_heads(key, group), repeat_heads(value, group), mask)


def matmul_attention(query, key, value, mask):
    """The same by two products, in which the query heads of one key head are rows: better where queries are few."""
    batch, heads, queries, width = query.shape
    rows = query.reshape(batch, key.shape[1], -1, width)
    scores = torch.matmul(rows, key.transpose(2, 3)).view(batch, heads, queries, -1)
    weights = functional.softmax(scores * width**-0.5 + mask, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.matmul(weights.view(batch, key.shape[1], -1, key.shape[2]), value).view(query.shape)


ATTENTIONS = {"fused": fused_attention, "matmul": matmul_attention}


def heads_of(projection, hidden, head_dim):
    """[B,N,width] -> [B,H,N,head_dim]"""
    return projection(hidden).view(*hidden.shape[:-1], -1, head_dim).transpose(1, 2)


def key_and_value(attention, normed, rotation):
    key = rotate(heads_of(attention.k_proj, normed, attention.head_dim), *rotation)
    return key, heads_of(attention.v_proj, normed, attention.head_dim)


def after_attention(layer, hidden, mixed, gate, condition=None):
    """The rest of a layer, from the heads' result [B,H,N,D]."""
    mixed = layer.self_attn.o_proj(mixed.transpose(1, 2).reshape(*hidden.shape[:-1], -1))
    hidden = gated_residual(hidden, mixed, gate)
    normed, gate = layer.post_attention_layernorm(hidden, condition)
    return gated_residual(hidden, layer.mlp(normed), gate)


class FastSampler(nn.Module):
    """(images..., camera masks..., tokens, token_mask, state, noise) -> actions [B,horizon,action_dim] in float32.

    All of the policy's parameters have one type. An attention is one of ATTENTIONS.
    """

    def __init__(self, policy, cameras, steps, prefix_attention=fused_attention, step_attention=fused_attention):
        super().__init__()
        self.policy = policy
        self.camera_count = len(cameras)
        self.prefix_attention, self.step_attention = prefix_attention, step_attention
        times, self.delta = step_times(steps)
        weight = policy.action_in_proj.weight
        embedded = sinusoidal_embedding(torch.tensor(times, device=weight.device), weight.shape[0])
        self.register_buffer("times", embedded.to(weight.dtype), persistent=False)  # [steps,width]

    def compile(self, **options):
        """Compiles each region: one graph of a step, not of all of them."""
        self.vision, self.prefix, self.step = (
            torch.compile(region, fullgraph=True, dynamic=False, **options) for region in (self.vision, self.prefix, self.step)
        )

    def forward(self, *inputs):
        images, masks = inputs[: self.camera_count], inputs[self.camera_count : 2 * self.camera_count]
        tokens, token_mask, state, noise = inputs[2 * self.camera_count :]
        embedded = torch.cat([self.vision(torch.cat(images)), self.language_model.embed_tokens(tokens)], dim=1)
        seen = torch.stack(masks, dim=1)[:, :, None].expand(-1, -1, self.policy.size.patches).flatten(1)
        valid = torch.cat([seen, token_mask], dim=1)
        rotation = self.rotation(torch.cumsum(valid, dim=1) - 1)
        see_all = torch.zeros_like(valid, dtype=torch.int32)
        cache = self.prefix(embedded, rotation, additive_mask(make_attention_mask(valid, see_all), embedded.dtype))
        return self.denoise(state, valid, cache, noise)

    @property
    def language_model(self):
        return self.policy.paligemma_with_expert.paligemma.model.language_model

    def rotation(self, positions):
        """positions [B,N] -> cosines and sines, each [B,1,N,head_dim]"""
        return tuple(part.unsqueeze(1) for part in self.language_model.rotary_emb(self.times, positions))

    def vision(self, images):
        """[cameras*B,3,H,W] -> [B,cameras*patches,width]"""
        model = self.policy.paligemma_with_expert.paligemma.model
        features = model.multi_modal_projector(model.vision_tower(images))
        return features.unflatten(0, (self.camera_count, -1)).transpose(0, 1).flatten(1, 2)

    def prefix(self, hidden, rotation, mask):
        """-> each layer's keys and values [B,G,N,head_dim]"""
        cache, layers = [], self.language_model.layers
        for index, layer in enumerate(layers):
            normed, gate = layer.input_layernorm(hidden)
            cache.append(key_and_value(layer.self_attn, normed, rotation))
            if index + 1 < len(layers):
                query = rotate(heads_of(layer.self_attn.q_proj, normed, layer.self_attn.head_dim), *rotation)
                hidden = after_attention(layer, hidden, self.prefix_attention(query, *cache[-1], mask), gate)
        return cache

    def denoise(self, state, valid, cache, noise):
        batch, horizon, _ = noise.shape
        first = None if self.policy.pi05 else self.policy.state_proj(state.to(self.times.dtype))[:, None, :]
        has_state = int(first is not None)
        order = torch.arange(has_state + horizon, device=noise.device)
        starts = (order <= has_state).int().expand(batch, -1)  # the state is a block, the actions another
        within = make_attention_mask(torch.ones_like(starts, dtype=torch.bool), starts)
        sees_prefix = valid[:, None, :].expand(-1, within.shape[1], -1)
        mask = additive_mask(torch.cat([sees_prefix, within], dim=2), self.times.dtype)
        positions = valid.sum(dim=1, keepdim=True) + order
        rotation, actions = self.rotation(positions), noise
        for time in self.times.split(1):
            actions = self.step(actions, first, time, rotation, mask, cache)
        return actions

    def embed_actions(self, actions, time):
        """actions [B,horizon,action_dim], time [1,width] -> their tokens, and the condition of the norms, if there is one"""
        policy, tokens = self.policy, self.policy.action_in_proj(actions.to(self.times.dtype))
        if policy.pi05:
            condition = functional.silu(policy.time_mlp_out(functional.silu(policy.time_mlp_in(time))))
            return tokens, condition
        both = torch.cat([tokens, time[:, None, :].expand_as(tokens)], dim=2)
        return policy.action_time_mlp_out(functional.silu(policy.action_time_mlp_in(both))), None

    def step(self, actions, first, time, rotation, mask, cache):
        """One Euler step, accumulated in float32; first [B,1,width] is the state's token, if there is one."""
        hidden, condition = self.embed_actions(actions, time)
        hidden = hidden if first is None else torch.cat([first, hidden], dim=1)
        expert = self.policy.paligemma_with_expert.gemma_expert.model
        for layer, (past_key, past_value) in zip(expert.layers, cache):
            normed, gate = layer.input_layernorm(hidden, condition)
            query = rotate(heads_of(layer.self_attn.q_proj, normed, layer.self_attn.head_dim), *rotation)
            key, value = key_and_value(layer.self_attn, normed, rotation)
            key, value = torch.cat([past_key, key], dim=2), torch.cat([past_value, value], dim=2)
            hidden = after_attention(layer, hidden, self.step_attention(query, key, value, mask), gate, condition)
        velocity = self.policy.action_out_proj(expert.norm(hidden, condition)[0][:, -actions.shape[1] :])
        return actions + self.delta * velocity.float()
