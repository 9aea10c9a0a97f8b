# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Inputs of a policy: their names, and seeded values for them."""

import torch

from .dimensions import CAMERAS
from .weights import on_grid

MASK_OF_CAMERA = dict(zip(CAMERAS, ("base_mask", "left_mask", "right_mask")))
GRID_BITS = 8


def input_names(cameras):
    masks = [MASK_OF_CAMERA[camera] for camera in cameras]
    return [*cameras, *masks, "tokens", "token_mask", "state", "noise"]


def make(size, cameras, batch, seed, absent_cameras=(), prompt_length=None):
    """{name: tensor}. Images are whole 1/64s, noise and state have 8 significant bits: they compress."""
    generator = torch.Generator().manual_seed(7919 * seed + 1)
    values = {}
    for camera in CAMERAS:  # all three, so that a camera's absence does not change the other inputs
        shape = (batch, 3, size.image_size, size.image_size)
        values[camera] = torch.randint(-64, 65, shape, generator=generator) / 64
        values[MASK_OF_CAMERA[camera]] = torch.full((batch,), camera not in absent_cameras)
    values["tokens"] = torch.randint(0, size.vocabulary, (batch, size.prompt_tokens), generator=generator)
    length = size.prompt_tokens if prompt_length is None else prompt_length
    values["token_mask"] = (torch.arange(size.prompt_tokens) < length).expand(batch, -1).contiguous()
    state = torch.randn((batch, size.action_dim), generator=generator)
    noise = torch.randn((batch, size.action_horizon, size.action_dim), generator=generator)
    values["state"], values["noise"] = on_grid(state, GRID_BITS), on_grid(noise, GRID_BITS)
    return {name: values[name] for name in input_names(cameras)}


def variations(size, cameras, batch):
    """Eight cases: everything present, one camera absent, a short prompt, both, and differing batch rows."""
    last, first = cameras[-1], cameras[0]
    short, shortest = max(1, size.prompt_tokens // 2), 1
    plans = [
        {},
        {},
        {"absent_cameras": (last,)},
        {"prompt_length": short},
        {"absent_cameras": (last,), "prompt_length": size.prompt_tokens - 1},
        {"absent_cameras": (first,) if len(cameras) > 1 else (), "prompt_length": shortest},
        {"absent_cameras": cameras[1:]},
        {"prompt_length": max(1, size.prompt_tokens - 2)},
    ]
    made = [make(size, cameras, batch, seed, **plan) for seed, plan in enumerate(plans)]
    if batch > 1:
        for seed in (3, 4, 5):  # the last row keeps all cameras and its whole prompt
            made[seed]["token_mask"][-1] = True
            for camera in cameras:
                made[seed][MASK_OF_CAMERA[camera]][-1] = True
    return made
