# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights under which a wrong kernel shows.

Default initialisation makes a test blind: the softmax is uniform, the gates are zero and the actions are
the noise. And exporters merge equal initializers, so untrained weights (zeros, ones) collapse into one
tensor. Here every parameter is random, at a scale that keeps each layer's output as large as its input.
"""

import math
import zlib

import torch

QUERY_KEY_GAIN = 1.6  # a softmax that prefers some keys, and is not one-hot
CONDITION_GAIN = 2.5  # the condition is a SiLU's output, about 0.4 in size: gates must come out about 1
NEUTRAL_SPREAD = 0.2  # of biases around 0 and norm weights around their neutral value
POSITION_SPREAD = 0.5  # beside patch embeddings of size 1


def on_grid(values, significant_bits):
    """Rounds to so many significant bits: exact in bf16 (8 bits), and small once compressed."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp(torch.round(mantissa * 2**significant_bits) / 2**significant_bits, exponent)


def spread_and_centre(name, shape):
    """The standard deviation and the mean of one parameter's random values."""
    leaf = name.rsplit(".", 2)[-2] if "." in name else name
    if "position_embedding" in name:
        return POSITION_SPREAD, 0.0
    if len(shape) < 2:
        layer_norm_weight = name.endswith("weight") and leaf in ("layer_norm1", "layer_norm2", "post_layernorm")
        return NEUTRAL_SPREAD, 1.0 if layer_norm_weight else 0.0
    fan_in = math.prod(shape[1:])
    gain = {"q_proj": QUERY_KEY_GAIN, "k_proj": QUERY_KEY_GAIN, "dense": CONDITION_GAIN}.get(leaf, 1.0)
    return gain * fan_in**-0.5, 0.0


def random_values(name, shape, seed, significant_bits=None):
    """One parameter's, seeded by its name, so that a model keeps its weights when others come or go."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name_in_policy(name)}".encode()))
    spread, centre = spread_and_centre(name, shape)
    values = torch.randn(shape, generator=generator) * spread + centre
    return values if significant_bits is None else on_grid(values, significant_bits)


@torch.no_grad()
def randomise(policy, seed, significant_bits=None):
    for name, parameter in policy.named_parameters():
        parameter.copy_(random_values(name, parameter.shape, seed, significant_bits))


# Parameters of the originals that no action depends on.
UNUSED = (".lm_head.", "vision_tower.head.", "vision_model.head.")


class CheckpointError(Exception):
    pass


def read_state(path):
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def name_in_policy(name):
    """openpi, lerobot and releases of transformers nest the same tensors differently: one spelling."""
    name = name.removeprefix("model.")
    for older, newer in (
        ("paligemma.language_model.model.", "paligemma.model.language_model."),
        ("paligemma.language_model.lm_head.", "paligemma.lm_head."),
        ("paligemma.vision_tower.", "paligemma.model.vision_tower."),
        ("paligemma.multi_modal_projector.", "paligemma.model.multi_modal_projector."),
        ("vision_tower.vision_model.", "vision_tower."),
    ):
        name = name.replace(older, newer)
    return name


@torch.no_grad()
def load(policy, state, origin):
    """Copies a state dict into the policy's parameters; a missing or misshapen one is an error."""
    given = {name_in_policy(name): value for name, value in state.items()}
    embedding = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
    tied = "paligemma_with_expert.paligemma.lm_head.weight"
    if embedding not in given and tied in given:
        given[embedding] = given[tied]
    missing, misshapen = [], []
    for name, parameter in policy.named_parameters():
        if any(part in name for part in UNUSED):
            continue
        value = given.get(name_in_policy(name))
        if value is None:
            missing.append(name)
        elif value.shape != parameter.shape:
            misshapen.append(f"{name} is {list(value.shape)}, wanted {list(parameter.shape)}")
        else:
            parameter.copy_(value)
    if missing or misshapen:
        shown = [f"missing {name}" for name in missing] + misshapen
        more = f" (and {len(shown) - 8} more)" if len(shown) > 8 else ""
        raise CheckpointError(f"{origin} does not fit this policy: " + "; ".join(shown[:8]) + more)
