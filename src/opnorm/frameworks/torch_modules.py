"""The weights that a PyTorch module serves where it stores something else, computed without touching the module.

Known are `torch.nn.utils.parametrize` (weight norm, spectral norm, orthogonal and users' own), whose parametrizations
are copied, set to evaluation mode and called; and the older hooks of `torch.nn.utils.weight_norm`, `spectral_norm`
and `prune`, whose `compute_weight` and `apply_mask` only read. In training mode a spectral norm moves its vectors at
every call of the module: here it never does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from opnorm.errors import UnsupportedInput
from opnorm.frameworks.torch_trace import random_states_kept


@dataclass(frozen=True, slots=True)
class Served:
    """A weight that is computed: from which tensors of the module, by what."""

    sources: tuple[str, ...]
    make: Callable[[], Any]


def served(module: torch.nn.Module) -> dict[str, Served]:
    """The computed weights of a module by their attribute's name, such as `weight`."""
    found = {}
    parametrizations = module._modules.get("parametrizations")
    if isinstance(parametrizations, torch.nn.ModuleDict):
        for role, chain in parametrizations.items():
            names = tuple(f"parametrizations.{role}.{name}" for name in chain._parameters)
            buffers = tuple(f"parametrizations.{role}.{n}" for n in chain._buffers if n.startswith("original"))
            found[role] = Served(names + buffers, partial(_made, partial(_parametrized, chain), role))
    for hook in module._forward_pre_hooks.values():
        known = _hooked(module, hook)
        if known is not None:
            role, sources, make = known
            found[role] = Served(sources, partial(_made, make, role))
    return found


def unknown_hooks(module: torch.nn.Module) -> bool:
    """Whether hooks of the user's may change what goes in or comes out."""
    known = [h for h in module._forward_pre_hooks.values() if _hooked(module, h) is not None]
    return bool(module._forward_hooks) or len(known) < len(module._forward_pre_hooks)


def _hooked(module: torch.nn.Module, hook: Any) -> tuple[str, tuple[str, ...], Callable[[], Any]] | None:
    if isinstance(hook, WeightNorm):
        return hook.name, (f"{hook.name}_g", f"{hook.name}_v"), lambda: hook.compute_weight(module)
    if isinstance(hook, SpectralNorm):
        compute = partial(hook.compute_weight, module, do_power_iteration=False)
        return hook.name, (f"{hook.name}_orig",), compute
    if isinstance(hook, BasePruningMethod):
        role = hook._tensor_name
        return role, (f"{role}_orig", f"{role}_mask"), lambda: hook.apply_mask(module)
    return None


def _parametrized(chain: torch.nn.Module) -> Any:
    return copy.deepcopy(chain).eval()()


def _made(make: Callable[[], Any], role: str) -> Any:
    try:
        with random_states_kept(), torch.no_grad():
            weight = make().detach()
    except Exception as error:  # the user's own code, which may raise anything
        raise UnsupportedInput(
            f"the parametrization of {role!r} failed: {type(error).__name__}: {str(error)[:160]}; bake it into the "
            "weight first, with torch.nn.utils.parametrize.remove_parametrizations or the like"
        ) from error
    return weight
