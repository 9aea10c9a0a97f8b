# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pi0 and Pi0.5 as PyTorch modules, for machines where neither openpi nor lerobot is installed.

The mathematics, the parameter names and the spelling of each operation follow the policies that openpi
and lerobot publish, so that an export of this network is what an export of theirs is;
tests/export/test_against_originals.py holds the two against each other. References: SigLIP
(arXiv 2303.15343), Gemma (arXiv 2403.08295), PaliGemma (arXiv 2407.07726), Pi0 (arXiv 2410.24164),
Pi0.5 (arXiv 2504.16054).
"""

import math

import numpy
import torch
from torch import nn
from torch.nn import functional

MASKED = -2.3819763e38  # what both originals add to the score of a key that must not be seen
ROPE_BASE = 10000.0
NORM_EPSILON = 1e-6
SHORTEST_PERIOD, LONGEST_PERIOD = 4e-3, 4.0  # of the time embedding


def make_attention_mask(valid, block_starts):
    """valid [B,N] bool and block_starts [B,N] (1 where a new block begins) -> [B,N,N] bool, query by key."""
    block = torch.cumsum(block_starts, dim=1)
    may_see = block[:, None, :] <= block[:, :, None]
    both_valid = valid[:, None, :] * valid[:, :, None]
    return may_see & both_valid


def additive_mask(may_see):
    """[B,Q,K] bool -> [B,1,Q,K], 0 where a key may be seen."""
    return torch.where(may_see[:, None, :, :], 0.0, MASKED)


def sinusoidal_embedding(time, width):
    """time [B] -> [B,width]: sines, then cosines, of periods spaced evenly in the logarithm.

    The frequencies are one float64 constant. Spelled as Python numbers times a float64 tensor, as in the
    originals, dynamo rounds pi and the shortest period to float32, and the exported actions are off by 3e-6.
    """
    fraction = numpy.linspace(0.0, 1.0, width // 2)
    period = SHORTEST_PERIOD * (LONGEST_PERIOD / SHORTEST_PERIOD) ** fraction
    angle = torch.from_numpy(2 * math.pi / period).to(time.device)[None, :] * time[:, None].to(torch.float64)
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


class VisionEmbeddings(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.patch_embedding = nn.Conv2d(
            3, size.vision_width, kernel_size=size.patch_size, stride=size.patch_size, padding="valid"
        )
        self.position_embedding = nn.Embedding(size.patches, size.vision_width)
        self.register_buffer("position_ids", torch.arange(size.patches).expand((1, -1)), persistent=False)

    def forward(self, image):  # [B,3,H,W] -> [B,patches,width]
        patches = self.patch_embedding(image.to(dtype=self.patch_embedding.weight.dtype))
        return patches.flatten(2).transpose(1, 2) + self.position_embedding(self.position_ids)


class VisionAttention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.head_dim = size.vision_width // size.vision_heads
        self.k_proj = nn.Linear(size.vision_width, size.vision_width)
        self.v_proj = nn.Linear(size.vision_width, size.vision_width)
        self.q_proj = nn.Linear(size.vision_width, size.vision_width)
        self.out_proj = nn.Linear(size.vision_width, size.vision_width)

    def forward(self, hidden):
        shape = (*hidden.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden).view(shape).transpose(1, 2)
        key = self.k_proj(hidden).view(shape).transpose(1, 2)
        value = self.v_proj(hidden).view(shape).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=self.head_dim**-0.5)
        mixed = mixed.reshape(mixed.shape[0], -1, query.shape[2], value.shape[-1])  # transformers does, to no effect
        mixed = mixed.transpose(1, 2).contiguous()
        return self.out_proj(mixed.reshape(*hidden.shape[:-1], -1).contiguous())


class VisionMlp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.activation_fn = nn.GELU(approximate="tanh")
        self.fc1 = nn.Linear(size.vision_width, size.vision_mlp)
        self.fc2 = nn.Linear(size.vision_mlp, size.vision_width)

    def forward(self, hidden):
        return self.fc2(self.activation_fn(self.fc1(hidden)))


class VisionLayer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(size.vision_width, eps=NORM_EPSILON)
        self.self_attn = VisionAttention(size)
        self.layer_norm2 = nn.LayerNorm(size.vision_width, eps=NORM_EPSILON)
        self.mlp = VisionMlp(size)

    def forward(self, hidden):
        hidden = hidden + self.self_attn(self.layer_norm1(hidden))
        return hidden + self.mlp(self.layer_norm2(hidden))


class VisionEncoder(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.layers = nn.ModuleList([VisionLayer(size) for _ in range(size.vision_layers)])

    def forward(self, hidden):
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class VisionTower(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embeddings = VisionEmbeddings(size)
        self.encoder = VisionEncoder(size)
        self.post_layernorm = nn.LayerNorm(size.vision_width, eps=NORM_EPSILON)

    def forward(self, image):
        return self.post_layernorm(self.encoder(self.embeddings(image)))


class Projector(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(size.vision_width, size.language_width)

    def forward(self, features):
        return self.linear(features)


class ScaledEmbedding(nn.Embedding):
    """Gemma multiplies its token embeddings by sqrt(width), in the type of the table."""

    def __init__(self, vocabulary, width):
        super().__init__(vocabulary, width)
        self.register_buffer("embed_scale", torch.tensor(width**0.5), persistent=False)

    def forward(self, tokens):
        return super().forward(tokens) * self.embed_scale.to(self.weight.dtype)


class RmsNorm(nn.Module):
    """y = x / rms(x) * (1 + w), or, under a condition, y = x / rms(x) * (1 + scale) + shift, and a gate."""

    def __init__(self, width, condition_width=None):
        super().__init__()
        if condition_width is None:
            self.weight = nn.Parameter(torch.zeros(width))
        else:
            self.dense = nn.Linear(condition_width, width * 3, bias=True)

    def forward(self, hidden, condition=None):
        variance = torch.mean(torch.square(hidden.float()), dim=-1, keepdim=True)
        normed = hidden * torch.rsqrt(variance + NORM_EPSILON)
        if condition is None:
            return (normed * (1.0 + self.weight.float())).type_as(hidden), None
        scale, shift, gate = self.dense(condition).unsqueeze(1).chunk(3, dim=-1)
        normed = normed * (1 + scale.float()) + shift.float()
        return normed.to(hidden.dtype), gate.to(hidden.dtype)


def gated_residual(residual, branch, gate):
    return residual + branch if gate is None else residual + branch * gate


class RotaryEmbedding(nn.Module):
    scaling = 1.0  # of longer contexts; Gemma has none, and its spelling multiplies all the same

    def __init__(self, head_dim):
        super().__init__()
        exponent = torch.arange(0, head_dim, 2, dtype=torch.float) / head_dim
        self.register_buffer("inv_freq", 1.0 / (ROPE_BASE**exponent), persistent=False)

    def forward(self, hidden, position_ids):  # position_ids [B,N] -> cosines and sines, each [B,N,head_dim]
        half = position_ids[..., None].float() * self.inv_freq.to(dtype=torch.float)
        angle = torch.cat((half, half), dim=-1)
        cosine, sine = angle.cos() * self.scaling, angle.sin() * self.scaling
        return cosine.to(dtype=hidden.dtype), sine.to(dtype=hidden.dtype)


def rotate_half(heads):
    low = heads[..., : heads.shape[-1] // 2]
    high = heads[..., heads.shape[-1] // 2 :]
    return torch.cat((-high, low), dim=-1)


def rotate(heads, cosine, sine):
    return (heads * cosine) + (rotate_half(heads) * sine)


def repeat_heads(heads, times):
    """[B,H,N,D] -> [B,H*times,N,D]"""
    batch, count, length, width = heads.shape
    if times == 1:
        return heads
    heads = heads[:, :, None, :, :].expand(batch, count, times, length, width)
    return heads.reshape(batch, count * times, length, width)


class GemmaAttention(nn.Module):
    def __init__(self, size, width, layer_index):
        super().__init__()
        self.layer_index = layer_index
        self.head_dim = size.head_dim
        self.group = size.query_heads // size.key_heads
        self.q_proj = nn.Linear(width, size.query_heads * size.head_dim, bias=False)
        self.k_proj = nn.Linear(width, size.key_heads * size.head_dim, bias=False)
        self.v_proj = nn.Linear(width, size.key_heads * size.head_dim, bias=False)
        self.o_proj = nn.Linear(size.query_heads * size.head_dim, width, bias=False)

    def forward(self, hidden, rotation, mask, cache):
        shape = (*hidden.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden).view(shape).transpose(1, 2)
        key = self.k_proj(hidden).view(shape).transpose(1, 2)
        value = self.v_proj(hidden).view(shape).transpose(1, 2)
        cosine, sine = rotation[0].unsqueeze(1), rotation[1].unsqueeze(1)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        key, value = cache.update(key, value, self.layer_index)
        key, value = repeat_heads(key, self.group), repeat_heads(value, self.group)
        scores = torch.matmul(query, key.transpose(2, 3)) * self.head_dim**-0.5
        scores = scores + mask
        weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        mixed = torch.matmul(weights, value).transpose(1, 2).contiguous()
        return self.o_proj(mixed.reshape(*hidden.shape[:-1], -1).contiguous())


class GemmaMlp(nn.Module):
    def __init__(self, width, mlp_width):
        super().__init__()
        self.gate_proj = nn.Linear(width, mlp_width, bias=False)
        self.up_proj = nn.Linear(width, mlp_width, bias=False)
        self.down_proj = nn.Linear(mlp_width, width, bias=False)
        self.act_fn = nn.GELU(approximate="tanh")

    def forward(self, hidden):
        return self.down_proj(self.act_fn(self.gate_proj(hidden)) * self.up_proj(hidden))


class GemmaLayer(nn.Module):
    def __init__(self, size, width, mlp_width, condition_width, layer_index):
        super().__init__()
        self.self_attn = GemmaAttention(size, width, layer_index)
        self.mlp = GemmaMlp(width, mlp_width)
        self.input_layernorm = RmsNorm(width, condition_width)
        self.post_attention_layernorm = RmsNorm(width, condition_width)

    def forward(self, hidden, rotation, mask, cache, condition):
        normed, gate = self.input_layernorm(hidden, condition)
        hidden = gated_residual(hidden, self.self_attn(normed, rotation, mask, cache), gate)
        normed, gate = self.post_attention_layernorm(hidden, condition)
        return gated_residual(hidden, self.mlp(normed), gate)


class Gemma(nn.Module):
    """A stack of Gemma layers; the expert has no token embedding, and in Pi0.5 its norms take a condition."""

    def __init__(self, size, width, mlp_width, vocabulary=None, condition_width=None):
        super().__init__()
        if vocabulary is not None:
            self.embed_tokens = ScaledEmbedding(vocabulary, width)
        self.layers = nn.ModuleList(
            [GemmaLayer(size, width, mlp_width, condition_width, index) for index in range(size.layers)]
        )
        self.norm = RmsNorm(width, condition_width)
        self.rotary_emb = RotaryEmbedding(size.head_dim)

    def forward(self, embedded, mask, position_ids, cache, condition=None):
        hidden = embedded
        if self.layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16:
            hidden = hidden.to(torch.bfloat16)
        rotation = self.rotary_emb(hidden, position_ids)
        for layer in self.layers:
            hidden = layer(hidden, rotation, mask, cache, condition)
        return self.norm(hidden, condition)[0]


class PaliGemmaModel(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.vision_tower = VisionTower(size)
        self.multi_modal_projector = Projector(size)
        self.language_model = Gemma(size, size.language_width, size.language_mlp, size.vocabulary)


class Holder(nn.Module):
    """A module that only holds another as .model, as the originals' nesting has it: names must agree."""

    def __init__(self, model):
        super().__init__()
        self.model = model


class PaliGemmaWithExpert(nn.Module):
    def __init__(self, size, condition_width):
        super().__init__()
        self.paligemma = Holder(PaliGemmaModel(size))
        expert = Gemma(size, size.expert_width, size.expert_mlp, condition_width=condition_width)
        self.gemma_expert = Holder(expert)

    def embed_image(self, image):
        model = self.paligemma.model
        if image.dtype != torch.float32:
            image = image.to(torch.float32)
        return model.multi_modal_projector(model.vision_tower(image))

    def forward(self, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache, adarms_cond=None):
        """Runs the language model on inputs_embeds[0] or the expert on inputs_embeds[1].

        The originals call both through .forward, which leaves the two out of the exported module paths:
        '/layers.0/self_attn' is the language model's the first time, and the expert's after that.
        """
        prefix, suffix = inputs_embeds
        if suffix is None:
            language_model = self.paligemma.model.language_model
            hidden = language_model.forward(prefix, attention_mask, position_ids, past_key_values)
            return [hidden, None], past_key_values
        expert = self.gemma_expert.model
        hidden = expert.forward(suffix, attention_mask, position_ids, past_key_values, adarms_cond[1])
        return [None, hidden], None


class Policy(nn.Module):
    """The parts of a policy that sampling needs: the prefix, the suffix, and one denoising step."""

    # Substrings of the parameters that stay in float32 when the rest is bf16.
    KEPT_IN_FLOAT32 = (
        "vision_tower",
        "multi_modal_projector",
        "input_layernorm",
        "post_attention_layernorm",
        "model.norm",
    )

    def __init__(self, size, pi05):
        super().__init__()
        self.size = size
        self.pi05 = pi05
        width = size.expert_width
        self.paligemma_with_expert = PaliGemmaWithExpert(size, condition_width=width if pi05 else None)
        self.action_in_proj = nn.Linear(size.action_dim, width)
        self.action_out_proj = nn.Linear(width, size.action_dim)
        if pi05:
            self.time_mlp_in = nn.Linear(width, width)
            self.time_mlp_out = nn.Linear(width, width)
        else:
            self.state_proj = nn.Linear(size.action_dim, width)
            self.action_time_mlp_in = nn.Linear(2 * width, width)
            self.action_time_mlp_out = nn.Linear(width, width)

    def use_bfloat16(self):
        """As the originals do it: all of it, rotary frequencies included, and then some parameters back."""
        towers = self.paligemma_with_expert.to(torch.bfloat16)
        for name, parameter in towers.named_parameters():
            if any(part in name for part in self.KEPT_IN_FLOAT32):
                parameter.data = parameter.data.to(torch.float32)

    def embed_prefix(self, images, image_masks, tokens, token_mask):
        """-> embeddings [B,N,width], their validity [B,N], and zeros [B,N]: one block that sees itself."""
        embedded, valid, starts = [], [], []
        for image, image_mask in zip(images, image_masks):
            features = self.paligemma_with_expert.embed_image(image)
            batch, patches = features.shape[:2]
            embedded.append(features)
            valid.append(image_mask[:, None].expand(batch, patches))
            starts += [0] * patches
        words = self.paligemma_with_expert.paligemma.model.language_model.embed_tokens(tokens)
        embedded.append(words)
        valid.append(token_mask)
        starts += [0] * words.shape[1]
        valid = torch.cat(valid, dim=1)
        starts = torch.tensor(starts, dtype=torch.bool, device=valid.device)
        return torch.cat(embedded, dim=1), valid, starts[None, :].expand(valid.shape[0], len(starts))

    def embed_time(self, time):
        embedded = sinusoidal_embedding(time, self.action_in_proj.out_features)
        return embedded.type(dtype=time.dtype)

    def embed_suffix(self, state, actions, time):
        """-> embeddings, validity, block starts (the state is a block, the actions another), condition."""
        embedded, starts = [], []
        if not self.pi05:
            embedded.append(self.state_proj(state.to(torch.float32))[:, None, :])
            starts += [1]
        time_embedding = self.embed_time(time)
        action_embedding = self.action_in_proj(actions)
        condition = None
        if self.pi05:
            hidden = functional.silu(self.time_mlp_in(time_embedding))
            condition = functional.silu(self.time_mlp_out(hidden))
        else:
            time_embedding = time_embedding[:, None, :].expand_as(action_embedding)
            both = torch.cat([action_embedding, time_embedding], dim=2)
            action_embedding = self.action_time_mlp_out(functional.silu(self.action_time_mlp_in(both)))
        embedded = torch.cat([*embedded, action_embedding], dim=1)
        starts += [1] + [0] * (actions.shape[1] - 1)
        valid = torch.ones(embedded.shape[:2], dtype=torch.bool, device=actions.device)
        starts = torch.tensor(starts, dtype=embedded.dtype, device=actions.device)
        return embedded, valid, starts[None, :].expand(embedded.shape[0], len(starts)), condition

    def denoise_step(self, state, prefix_pad_masks, past_key_values, x_t, timestep):
        """The velocity [B,horizon,action_dim] at x_t."""
        embedded, valid, starts, condition = self.embed_suffix(state, x_t, timestep)
        batch, prefix_length = prefix_pad_masks.shape
        sees_prefix = prefix_pad_masks[:, None, :].expand(batch, valid.shape[1], prefix_length)
        may_see = torch.cat([sees_prefix, make_attention_mask(valid, starts)], dim=2)
        position_ids = torch.sum(prefix_pad_masks, dim=-1)[:, None] + torch.cumsum(valid, dim=1) - 1
        outputs, _ = self.paligemma_with_expert.forward(
            attention_mask=additive_mask(may_see),
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=[None, embedded],
            use_cache=False,
            adarms_cond=[None, condition],
        )
        return self.action_out_proj(outputs[1][:, -x_t.shape[1] :].to(dtype=torch.float32))
