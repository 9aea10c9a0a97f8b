# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The sizes of a policy: the full ones, and small ones that keep the structure."""

import dataclasses
from dataclasses import dataclass

CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")


@dataclass(frozen=True)
class Dimensions:
    """Defaults are the published Pi0: SigLIP So400m/14, Gemma 2B, and the 300M action expert."""

    image_size: int = 224
    patch_size: int = 14
    vision_width: int = 1152
    vision_layers: int = 27
    vision_heads: int = 16
    vision_mlp: int = 4304
    vocabulary: int = 257152
    language_width: int = 2048
    language_mlp: int = 16384
    expert_width: int = 1024
    expert_mlp: int = 4096
    layers: int = 18  # of the language model and of the expert: they share a cache, layer by layer
    query_heads: int = 8
    key_heads: int = 1
    head_dim: int = 256
    action_dim: int = 32
    action_horizon: int = 50
    prompt_tokens: int = 48

    def __post_init__(self):
        require = {
            "image_size must be a multiple of patch_size": self.image_size % self.patch_size == 0,
            "vision_width must be a multiple of vision_heads": self.vision_width % self.vision_heads == 0,
            "query_heads must be a multiple of key_heads": self.query_heads % self.key_heads == 0,
            "head_dim must be even (rotary embedding turns pairs)": self.head_dim % 2 == 0,
            "expert_width must be even (half sine, half cosine)": self.expert_width % 2 == 0,
            "every size must be at least 1": all(value >= 1 for value in dataclasses.astuple(self)),
        }
        broken = [rule for rule, holds in require.items() if not holds]
        if broken:
            raise ValueError("; ".join(broken))

    @property
    def patches(self):
        return (self.image_size // self.patch_size) ** 2


# Odd token counts and widths that are no powers of two: an error in padding shows.
SMALL = Dimensions(
    image_size=42,
    vision_width=72,
    vision_layers=2,
    vision_heads=4,
    vision_mlp=172,
    vocabulary=259,
    language_width=88,
    language_mlp=216,
    expert_width=56,
    expert_mlp=104,
    layers=2,
    head_dim=24,
    action_dim=14,
    action_horizon=11,
    prompt_tokens=7,
)

PRESETS = {"full": Dimensions(), "small": SMALL}


def parse(text):
    """'small', 'full', or a preset followed by changes: 'small,layers=3,image_size=28'."""
    preset, *changes = text.split(",")
    if preset not in PRESETS:
        raise ValueError(f"unknown preset '{preset}': it is one of {', '.join(PRESETS)}")
    fields = {field.name for field in dataclasses.fields(Dimensions)}
    values = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in fields:
            raise ValueError(f"'{change}' is not NAME=NUMBER; the names are {', '.join(sorted(fields))}")
        try:
            values[name] = int(value)
        except ValueError:
            raise ValueError(f"'{change}': '{value}' is not a whole number") from None
    return dataclasses.replace(PRESETS[preset], **values)
