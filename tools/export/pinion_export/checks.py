# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What must hold of a policy and its inputs before an export of it can test anything."""

import copy

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

SMALLEST_MOVE, LARGEST_MOVE = 0.10, 0.80


class InFloat64(TorchDispatchMode):
    """Turns each conversion to a shorter floating type, wherever a model spells one, into float64."""

    SHORTER = (torch.float32, torch.bfloat16, torch.float16)

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        widen = lambda value: torch.float64 if isinstance(value, torch.dtype) and value in self.SHORTER else value
        return operation(*tree_map(widen, arguments), **tree_map(widen, keywords or {}))


def relative_error(found, wanted):
    return float(torch.linalg.vector_norm(found.double() - wanted.double()) / torch.linalg.vector_norm(wanted.double()))


def move_of(actions, case):
    """Actions minus noise: what the network contributed."""
    return actions.double() - case["noise"].double()


@torch.no_grad()
def run(sampler, case):
    return sampler(*case.values())


def in_float64(sampler):
    """A float64 copy. What bf16 has rounded (weights, the embedding's scale, rotary frequencies) stays so."""
    return copy.deepcopy(sampler).double()


@torch.no_grad()
def run_float64(wide_sampler, case):
    floats = {name: value.double() if value.is_floating_point() else value for name, value in case.items()}
    with InFloat64():
        return wide_sampler(*floats.values())


class BlindModelError(Exception):
    pass


def changed(case, name, vocabulary):
    """The case with one input changed: a camera negated, one token replaced, the state negated."""
    value = case[name].clone()
    if name == "tokens":
        value[:, 0] = (value[:, 0] + 1) % vocabulary
    else:
        value = -value
    return {**case, name: value}


def sensitivity(sampler, case, size, cameras, pi05):
    """{what: relative change of actions minus noise}; raises where the model would hide a wrong kernel."""
    base = move_of(run(sampler, case), case)
    found = {"actions against noise": float(base.norm() / case["noise"].double().norm())}
    for name in [*cameras, "tokens"] + ([] if pi05 else ["state"]):
        other = changed(case, name, size.vocabulary)
        found[name] = relative_error(move_of(run(sampler, other), other), base)
    outside = [f"{name} {value:.3f}" for name, value in found.items() if name in (*cameras, "tokens")
               and not SMALLEST_MOVE <= value <= LARGEST_MOVE]
    if not 0.3 <= found["actions against noise"] <= 3:
        outside.append(f"actions against noise {found['actions against noise']:.3f}, wanted about 1")
    if outside:
        raise BlindModelError(f"changes outside {SMALLEST_MOVE} to {LARGEST_MOVE}: " + "; ".join(outside))
    return found
