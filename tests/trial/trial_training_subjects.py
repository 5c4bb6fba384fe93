"""Subjects for tests of arms and training: small, from closed forms, whole in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from opnorm.experiment.arms.arm import Applied
from opnorm.experiment.document import Design
from opnorm.experiment.subject import Part, Split, Task

Shape = tuple[int, int, int]


def design(**changes: object) -> Design:
    given: dict[str, object] = {
        "arms": ("none",), "seeds": (0, 1, 2), "metric": "accuracy", "margin": 0.01, "epochs": 6, "budget": 2,
        "batch": 32,
    }  # fmt: skip
    return Design(**{**given, **changes})  # type: ignore[arg-type]


def mlp(inputs: int, outputs: int, hidden: int = 16) -> torch.nn.Module:
    n = torch.nn
    return n.Sequential(
        n.Linear(inputs, hidden), n.ReLU(), n.Linear(hidden, hidden), n.ReLU(), n.Linear(hidden, outputs)
    )


@dataclass(frozen=True)
class Planted:
    """Two classes by the sign of one column among noise columns, part of the labels turned."""

    examples: int = 120
    columns: int = 8
    turned: float = 0.0
    hidden: int = 16
    metric: str = "accuracy"
    task: Task = Task.BINARY
    classes: int = 2
    source: str = "planted"
    held_out: int = 100

    def describe(self) -> Mapping[str, str | int | float]:
        return {"data": "planted"}

    def split(self, seed: int, condition: str) -> Split:
        source = np.random.default_rng([seed, 1])
        parts = [self._part(source, n) for n in (self.examples, self.held_out, self.held_out)]
        return Split(*parts)

    def _part(self, source: np.random.Generator, examples: int) -> Part:
        inputs = source.standard_normal((examples, self.columns)).astype(np.float32)
        labels = (inputs[:, 0] > 0) ^ (source.random(examples) < self.turned)
        return Part(inputs, labels.astype(np.int64))

    def model(self, seed: int, condition: str, split: Split) -> torch.nn.Module:
        return mlp(split.train.inputs.shape[1], self.classes, self.hidden)

    def fit(self, model: torch.nn.Module, split: Split, arm: Applied, seed: int) -> torch.nn.Module | None:
        return None

    def conditions(self) -> tuple[str, ...]:
        return ("full", "small", "looser")
