"""An arm: a technique with its strengths, and what it does to one training.

A training loop, the built-in one or the user's, goes: `model = arm.prepare(model)`; an optimizer with
`weight_decay=arm.weight_decay` (decoupled) and learning rate `lr·arm.rate`; `arm.attach(model, optimizer)`; each step
`loss + arm.penalty(model, inputs)`; stop after `arm.patience` epochs without gain on validation data, if not None; then
`model = arm.finish(model)`, which leaves a plain model with plain weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Strength:
    """One number to tune: between `low` and `high` on a logarithmic scale, `default` tried first."""

    name: str
    low: float
    default: float
    high: float


class Applied(Protocol):
    """An arm at one setting, for one training."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def setting(self) -> Mapping[str, float]:
        """The rate and the strengths."""

    @property
    def rate(self) -> float:
        """Factor on the learning rate: tuned in every arm, so that no arm has more to choose from than another."""

    @property
    def weight_decay(self) -> float:
        """For the optimizer, decoupled."""

    @property
    def patience(self) -> int | None:
        """Epochs without gain on validation data after which to stop; None: never."""

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """Before the optimizer is made: parametrizations, dropout."""

    def attach(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """After the optimizer is made: gates."""

    def penalty(self, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor | float:
        """To be added to the loss; 0.0 where there is none."""

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """A plain model: parametrizations folded in, the last projection made."""


def _nothing(_: torch.nn.Module) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Arm:
    """strengths: what is tuned beside the learning rate. start: an `Applied` of a setting and a seed.

    spectral: whether it is one of the techniques asked about. ceiling: the strength that 'looser' doubles, '' without.
    matches: the arm whose layers' norms this one shall reach, instead of being tuned. remarks: what the arm leaves out
    of a model, or does otherwise there, in sentences.
    """

    name: str
    title: str
    strengths: tuple[Strength, ...]
    start: Callable[[Mapping[str, float], int], Applied]
    spectral: bool = False
    ceiling: str = ""
    matches: str = ""
    remarks: Callable[[torch.nn.Module], tuple[str, ...]] = _nothing
