"""Ways of control to compare: opnorm's gate, exact clipping, torch's own, deel-torchlip, geotorch and orthogonium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from interleaved import Arm, Hook, clip_exactly
from torch import nn

import opnorm


def gate(rule: Callable[[], Any], every: int = 1, budget: float | None = None) -> Arm:
    """The gate as a user has it, run by hand after each step."""

    def arm(case: Any, model: nn.Module) -> Hook:
        held = opnorm.control(model, rule(), every=every, budget=budget)
        return lambda step: held.step()

    return arm


def cap(ceiling: float, every: int = 2) -> Arm:
    return gate(lambda: opnorm.cap(nn.Linear, ceiling), every)


def orthogonal(every: int = 2) -> Arm:
    return gate(lambda: opnorm.orthogonalize(nn.Linear), every)


def watch(every: int = 50) -> Arm:
    return gate(lambda: opnorm.watch(nn.Linear, every=every))


def nothing(case: Any, model: nn.Module) -> Hook:
    """A plain twin beside a plain twin: what a ratio may be without any control."""
    return lambda step: None


@torch.no_grad()
def _clip(layers: list[nn.Linear], ceiling: float) -> None:
    """By the eigenvalues of the Gram matrix, where any is above."""
    for layer in layers:
        weight = layer.weight.data
        wide = weight if weight.shape[0] <= weight.shape[1] else weight.t()
        squares, left = torch.linalg.eigh(wide @ wide.t())
        share = torch.relu(1 - ceiling / squares.clamp(min=1e-20).sqrt())
        hot = int((share > 0).sum())
        if hot:
            left = left[:, -hot:]
            wide.addmm_(left * share[-hot:], left.t() @ wide, alpha=-1)


def exact(ceiling: float, every: int = 1) -> Arm:
    def arm(case: Any, model: nn.Module) -> Hook:
        layers = case.layers(model)
        clip_exactly(layers, ceiling)
        return lambda step: _clip(layers, ceiling) if step % every == 0 else None

    return arm


def _parametrized(register: Callable[[nn.Linear], object]) -> Arm:
    def arm(case: Any, model: nn.Module) -> None:
        for layer in case.layers(model):
            register(layer)

    return arm


def torch_spectral_norm() -> Arm:
    return _parametrized(nn.utils.parametrizations.spectral_norm)


def torch_orthogonal() -> Arm:
    return _parametrized(nn.utils.parametrizations.orthogonal)


def peers() -> Iterator[tuple[str, Arm]]:
    """What is installed of the others."""
    if find_spec("geotorch"):
        import geotorch

        yield "geotorch orthogonal", _parametrized(lambda layer: geotorch.orthogonal(layer, "weight"))
    if find_spec("deel"):
        from deel.torchlip import SpectralLinear

        yield "deel-torchlip SpectralLinear", lambda case, model: _replaced(model, SpectralLinear)
    if find_spec("orthogonium"):
        from orthogonium.layers import OrthoLinear

        yield "orthogonium OrthoLinear", lambda case, model: _replaced(model, OrthoLinear)


def _replaced(module: nn.Module, kind: type) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, kind(child.in_features, child.out_features))
        else:
            _replaced(child, kind)
