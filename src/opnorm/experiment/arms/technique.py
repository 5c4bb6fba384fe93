"""What an arm does to one training, with nothing done where a technique has nothing to do.

`Technique` is an `Applied` (`arm`) that changes nothing; each arm's own overrides what it needs. `Together` is several
of them as one: preparations in order, decay and penalties added, the shortest patience.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from opnorm.experiment.arms.arm import Applied, Arm, Strength

RATE = "rate"
"""The setting's name of the factor on the learning rate."""


class Technique:
    """A setting of one technique, for one training with this seed."""

    name = "none"
    weight_decay: float = 0.0
    patience: int | None = None

    def __init__(self, setting: Mapping[str, float], seed: int) -> None:
        self.setting, self.seed = dict(setting), seed

    @property
    def rate(self) -> float:
        """See `Applied`; 1 where the setting has none."""
        return self.setting.get(RATE, 1.0)

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model as it is."""
        return model

    def attach(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Nothing."""

    def penalty(self, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor | float:  # noqa: ARG002
        """0."""
        return 0.0

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model as it is."""
        return model


class Together(Technique):
    """Several at one setting."""

    def __init__(self, name: str, parts: Sequence[Applied], setting: Mapping[str, float], seed: int) -> None:
        super().__init__(setting, seed)
        self.name, self.parts = name, tuple(parts)
        self.weight_decay = sum(part.weight_decay for part in parts)
        self.patience = min((p.patience for p in parts if p.patience is not None), default=None)

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """All preparations, in order."""
        for part in self.parts:
            model = part.prepare(model)
        return model

    def attach(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """All of them."""
        for part in self.parts:
            part.attach(model, optimizer)

    def penalty(self, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor | float:
        """The sum."""
        return sum(part.penalty(model, inputs) for part in self.parts)

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """All, in reverse."""
        for part in reversed(self.parts):
            model = part.finish(model)
        return model


def arm(kind: type[Technique], title: str, *strengths: Strength, **more: Any) -> Arm:
    """An arm of one technique; more: further fields of `Arm`."""
    return Arm(kind.name, title, strengths, partial(_started, kind, strengths), **more)


def _started(
    kind: type[Technique], strengths: tuple[Strength, ...], setting: Mapping[str, float], seed: int
) -> Technique:
    """Strengths that the setting does not name have their defaults."""
    return kind({**{s.name: s.default for s in strengths}, **setting}, seed)
