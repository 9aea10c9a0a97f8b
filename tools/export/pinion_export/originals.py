# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The policies as openpi and lerobot define them, imported from a checkout or an installed package.

Only the network is imported. What surrounds it (JAX models, robot drivers, data sets, configuration
classes) is replaced by empty stand-ins for the duration of the import, so that PyTorch and transformers
are all that an export needs. What cannot be traced is replaced too; patch says what and why.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
import types
from types import SimpleNamespace

import torch

from . import network
from .sampling import Sampler


class SourceError(Exception):
    pass


class Original:
    """One of the two packages: where its network lies, and how its pieces are called."""

    def __init__(self, name, marker, stand_ins, packages):
        self.name = name
        self.marker = marker  # a file, relative to the folder on sys.path, that tells the package
        self.stand_ins = stand_ins  # modules that only surround the network: {name: {attribute: value}}
        self.packages = packages  # packages whose __init__ imports too much


class Anything(type("Base", (), {})):
    """Stands in for a class that the network's module derives from or names, and that nothing here uses."""

    def __class_getitem__(cls, item):
        return cls


def variant(config):
    """Both originals look widths up by name; here the name is the sizes themselves."""
    return config


OPENPI = Original(
    "openpi",
    os.path.join("openpi", "models_pytorch", "pi0_pytorch.py"),
    {
        "openpi.models.gemma": {"get_config": variant},
        "openpi.models_pytorch.preprocessing_pytorch": {},
    },
    ("openpi", "openpi.models", "openpi.models_pytorch"),
)

LEROBOT = Original(
    "lerobot",
    os.path.join("lerobot", "policies", "pi0", "modeling_pi0.py"),
    {
        "lerobot.configs": {"PreTrainedConfig": Anything},
        "lerobot.policies.pretrained": {"PreTrainedPolicy": Anything, "T": Anything, "ActionSelectKwargs": Anything},
        "lerobot.policies.rtc.modeling_rtc": {"RTCProcessor": Anything},
        "lerobot.policies.pi0.configuration_pi0": {"PI0Config": Anything, "DEFAULT_IMAGE_SIZE": 224},
        "lerobot.policies.pi05.configuration_pi05": {"PI05Config": Anything, "DEFAULT_IMAGE_SIZE": 224},
        "lerobot.utils.import_utils": {"_transformers_available": True, "require_package": lambda *a, **k: None},
        "lerobot.utils.device_utils": {"get_safe_dtype": lambda dtype, device: dtype},
    },
    ("lerobot", "lerobot.policies", "lerobot.policies.pi0", "lerobot.policies.pi05", "lerobot.policies.common",
     "lerobot.policies.rtc", "lerobot.utils"),
)


def locate(source):
    """A checkout's (or package's) folder -> which original it is, and the folder to import from."""
    for root in (source, os.path.join(source, "src"), os.path.dirname(os.path.abspath(source))):
        for original in (OPENPI, LEROBOT):
            if os.path.exists(os.path.join(root, original.marker)):
                return original, root
    raise SourceError(
        f"{source} is neither an openpi nor a lerobot checkout: it has no src/{OPENPI.marker} and no src/{LEROBOT.marker}"
    )


def installed():
    """The installed package's folder, or None."""
    for original in (LEROBOT, OPENPI):
        with contextlib.suppress(ImportError, ValueError):
            found = importlib.util.find_spec(original.name)
            if found and found.submodule_search_locations:
                root = os.path.dirname(list(found.submodule_search_locations)[0])
                if os.path.exists(os.path.join(root, original.marker)):
                    return root
    return None


@contextlib.contextmanager
def light_import(original, root):
    """Lets the network's modules be imported without what surrounds them."""
    before = set(sys.modules)
    saved = {name: module for name, module in sys.modules.items() if name.split(".")[0] == original.name}
    for name in saved:
        del sys.modules[name]
    for name in original.packages:
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(root, *name.split("."))]
        sys.modules[name] = package
    for name, attributes in original.stand_ins.items():
        module = types.ModuleType(name)
        module.__dict__.update(attributes)
        sys.modules[name] = module
        parent, _, leaf = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], leaf, module)
    try:
        yield
    except ImportError as error:
        raise SourceError(f"cannot import {original.name}'s network from {root}: {error}") from error
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == original.name and name not in before]:
            sys.modules.pop(name)
        sys.modules.update(saved)


def misfit(version, reason):
    return (
        f"openpi's replacements for transformers do not fit the installed {version} ({reason}): "
        "openpi asks for transformers 4.53.2; a lerobot checkout has the same network for transformers 5"
    )


def overlay_transformers(root):
    """openpi replaces files of transformers: found beside its network, they are used without being copied."""
    replacements = os.path.join(root, "openpi", "models_pytorch", "transformers_replace", "models")
    import transformers

    if int(transformers.__version__.split(".")[0]) >= 5:
        raise SourceError(misfit(transformers.__version__, "its own Gemma has changed since"))
    already = any(name.startswith("transformers.models.gemma.modeling") for name in sys.modules)
    for model in ("gemma", "paligemma", "siglip"):
        package = importlib.import_module(f"transformers.models.{model}")
        folder = os.path.join(replacements, model)
        if os.path.isdir(folder) and folder not in package.__path__:
            package.__path__.insert(0, folder)
            if already:
                raise SourceError("transformers' Gemma was imported before openpi's replacement: use a fresh process")
    try:
        importlib.import_module("transformers.models.gemma.modeling_gemma")
        importlib.import_module("transformers.models.siglip.check")
    except (ImportError, AttributeError) as error:
        raise SourceError(misfit(transformers.__version__, error)) from error


def resized(constructor, size, of_expert):
    """The originals fix the vision tower and the vocabulary in code: change the sizes just before construction."""

    def construct(config):
        if of_expert:
            config.vocab_size = 1  # the expert's own embedding and head are never used
            return constructor(config=config)
        config.text_config.vocab_size = size.vocabulary
        if config.text_config.pad_token_id is not None and config.text_config.pad_token_id >= size.vocabulary:
            config.text_config.pad_token_id = 0
        vision = config.vision_config
        vision.image_size, vision.patch_size = size.image_size, size.patch_size
        vision.hidden_size, vision.num_hidden_layers = size.vision_width, size.vision_layers
        vision.num_attention_heads, vision.intermediate_size = size.vision_heads, size.vision_mlp
        vision.projection_dim = size.language_width
        return constructor(config=config)

    return construct


def gemma_sizes(size, width, mlp):
    return SimpleNamespace(
        width=width, mlp_dim=mlp, depth=size.layers, head_dim=size.head_dim,
        num_heads=size.query_heads, num_kv_heads=size.key_heads,
    )


def configuration(size, pi05):
    """Every field that either original's network reads."""
    return SimpleNamespace(
        pi05=pi05,
        dtype="float32",
        paligemma_variant=gemma_sizes(size, size.language_width, size.language_mlp),
        action_expert_variant=gemma_sizes(size, size.expert_width, size.expert_mlp),
        action_dim=size.action_dim,
        max_action_dim=size.action_dim,
        max_state_dim=size.action_dim,
        action_horizon=size.action_horizon,
        chunk_size=size.action_horizon,
        image_resolution=(size.image_size, size.image_size),
        min_period=network.SHORTEST_PERIOD,
        max_period=network.LONGEST_PERIOD,
        num_inference_steps=10,
        freeze_vision_encoder=False,
        train_expert_only=False,
        gradient_checkpointing=False,
        use_proprioceptive_memory=False,
        rtc_config=None,
        compile_model=False,
        pytorch_compile_mode=None,
    )


def time_embedding(time, width, *unused, **unused_by_keyword):
    return network.sinusoidal_embedding(time, width)


def keep_mask(*unused, attention_mask=None, **unused_by_keyword):
    return attention_mask


def patch(modules, traceable):
    """Replaces what an exporter refuses or gets wrong."""
    # Builds a causal mask from shapes and the cache, where ours is 4-D and complete already; and releases of
    # transformers disagree about its arguments.
    replacements = {"create_causal_mask": keep_mask}
    replacements_for_tracing = {
        # copies the prefix's cache for each step; PrefixView is never written to
        "clone_past_key_values": lambda cache: cache,
        # loses pi and the period to float32 when dynamo folds it
        "create_sinusoidal_pos_embedding": time_embedding,
    }
    if traceable:
        replacements.update(replacements_for_tracing)
    for module in modules:
        for name, replacement in replacements.items():
            if hasattr(module, name):
                setattr(module, name, replacement)


def import_openpi(root, pi05, traceable):
    overlay_transformers(root)
    policy_module = importlib.import_module("openpi.models_pytorch.pi0_pytorch")
    towers = importlib.import_module("openpi.models_pytorch.gemma_pytorch")
    gemma = importlib.import_module("transformers.models.gemma.modeling_gemma")
    gemma.GemmaRMSNorm.extra_repr = lambda norm: f"eps={norm.eps}"  # openpi's reads a weight that adaRMS lacks
    patch([policy_module, gemma], traceable)
    return policy_module.PI0Pytorch, towers, "PaliGemmaForConditionalGeneration", "GemmaForCausalLM", policy_module


def import_lerobot(root, pi05, traceable):
    kind = "pi05" if pi05 else "pi0"
    module = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
    patch([module, importlib.import_module("lerobot.policies.pi_gemma")], traceable)
    module.get_gemma_config = variant
    network_class = module.PI05Pytorch if pi05 else module.PI0Pytorch
    return network_class, module, "PaliGemmaForConditionalGenerationWithPiGemma", "PiGemmaForCausalLM", module


def build(source, size, pi05, traceable=True):
    """-> the original's network in float32 with untrained weights, and its function for attention masks.

    traceable=False leaves its cache and its time embedding as they are: the test of our sampling compares with its own.
    """
    original, root = locate(source)
    with light_import(original, root):
        import_network = import_openpi if original is OPENPI else import_lerobot
        network_class, towers, paligemma, expert, masks = import_network(root, pi05, traceable)
        constructors = getattr(towers, paligemma), getattr(towers, expert)
        setattr(towers, paligemma, resized(constructors[0], size, of_expert=False))
        setattr(towers, expert, resized(constructors[1], size, of_expert=True))
        precision = torch.get_float32_matmul_precision()
        try:
            policy = network_class(configuration(size, pi05))
        finally:
            setattr(towers, paligemma, constructors[0])
            setattr(towers, expert, constructors[1])
            torch.set_float32_matmul_precision(precision)  # openpi's constructor lowers it
    return adapt(policy), masks.make_att_2d_masks


def adapt(policy):
    """Eager attention, which takes an additive mask, and the name that as_dtype calls."""
    towers = policy.paligemma_with_expert
    towers.paligemma.model.language_model.config._attn_implementation = "eager"
    towers.gemma_expert.model.config._attn_implementation = "eager"
    policy.use_bfloat16 = lambda: towers.to_bfloat16_for_selected_params("bfloat16")
    return policy.eval().requires_grad_(False)


def sampler(policy, make_attention_mask, cameras, steps):
    return Sampler(policy, cameras, steps, make_attention_mask, network.additive_mask).eval()
