"""What a normalized module needs beside its parametrization: checkpoints of all kinds load, and it can be reset.

Plain checkpoints (`weight`) and those of torch's older hook (`weight_orig`, `weight_u`, `weight_v`) load as what is
stored; whatever was loaded, the state is then brought to convergence on it. A whole state that fits its weight is
kept bit by bit, so that a resumed run continues as it would have.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import parametrize

from opnorm.constraint.normalization.scaled import Home, SpectralScale
from opnorm.constraint.normalization.split import SplitScale


def mount(module: torch.nn.Module, name: str, parametrization: SpectralScale | SplitScale) -> None:
    """Register a parametrization on a tensor of a module; its state is kept up where it is the first one there."""
    parametrize.register_parametrization(module, name, parametrization)
    chain = module.parametrizations[name]
    if len(chain) == 1:
        parametrization.home = Home(chain)
        chain.register_load_state_dict_post_hook(_refresh_loaded)
        module._register_load_state_dict_pre_hook(_Renamed(name), with_module=True)
    _make_resettable(module)


def scales(module: torch.nn.Module) -> list[SpectralScale]:
    """The parametrizations of this package in a module."""
    return [m for m in module.modules() if isinstance(m, SpectralScale)]


class _Renamed:
    """Before loading: a plain or an older checkpoint's names to those of a parametrized module."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: torch.nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        if not parametrize.is_parametrized(module, self.name):
            return
        stored = f"{prefix}parametrizations.{self.name}.original"
        for plain in (f"{prefix}{self.name}", f"{prefix}{self.name}_orig"):
            if plain in state_dict and stored not in state_dict:
                state_dict[stored] = state_dict.pop(plain)
                for old in ("_u", "_v"):
                    state_dict.pop(f"{prefix}{self.name}{old}", None)


def _refresh_loaded(chain: torch.nn.Module, _: Any) -> None:
    first = chain[0]
    first.refresh(chain.original, always=not first.loaded_whole)


def _make_resettable(module: torch.nn.Module) -> None:
    """Let `reset_parameters` initialize what is stored; without this it would initialize a temporary, to no effect."""
    kind = type(module)
    inherited = getattr(kind, "reset_parameters", None)
    if inherited is None or "reset_parameters" in vars(kind):
        return

    def reset_parameters(self: torch.nn.Module) -> None:
        held = [s for chain in self.parametrizations.values() for s in scales(chain)]
        for scale in held:
            scale.bare = True
        try:
            inherited(self)
        finally:
            for scale in held:
                scale.bare = False
        for chain in self.parametrizations.values():
            if isinstance(chain[0], SpectralScale | SplitScale):
                chain[0].refresh(chain.original)

    kind.reset_parameters = reset_parameters
