"""What is tried: a `Subject` gives, for a seed, the split data and a fresh model; the built-in one and the user's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from opnorm.experiment.arms.arm import Applied


class Task(StrEnum):
    """What is predicted: a number, one of two classes, or one of several."""

    REGRESSION = "regression"
    BINARY = "binary"
    MULTICLASS = "multiclass"

    @property
    def classifies(self) -> bool:
        """Whether targets are classes."""
        return self is not Task.REGRESSION


@dataclass(frozen=True, slots=True)
class Part:
    """inputs: (n, …), float32 or, for tokens, int64. targets: (n, …), int64 classes or float32 values.

    targets of several places an example, such as the next characters of a text, have the model's outputs' shape
    without the classes.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True)
class Split:
    """One seed's data. movable: columns of a flat input that noise and attacks may move, None for all, () for none."""

    train: Part
    validation: Part
    test: Part
    movable: tuple[int, ...] | None = None


class Subject(Protocol):
    """Data and model. It is sent to workers: it must pickle, and give the same for the same seed in any process."""

    @property
    def task(self) -> Task:
        """What is predicted."""

    @property
    def classes(self) -> int:
        """How many; 1 for regression."""

    @property
    def metric(self) -> str:
        """Of the test score, a name of `metrics.METRICS`."""

    @property
    def source(self) -> str:
        """SHA-256 of all that the answers depend on, for the journal."""

    def describe(self) -> Mapping[str, str | int | float]:
        """What is tried, for the report."""

    def split(self, seed: int, condition: str) -> Split:
        """The data of a seed: 'small' and 'noise' change the training part only."""

    def model(self, seed: int, condition: str, split: Split) -> torch.nn.Module:
        """A fresh model: (batch, …) → logits (batch, classes) or values (batch,), its start drawn from `seed` alone."""

    def fit(self, model: torch.nn.Module, split: Split, arm: Applied, seed: int) -> torch.nn.Module | None:
        """The user's own loop, which trains with the arm and returns the model; None: use the built-in loop."""

    def conditions(self) -> tuple[str, ...]:
        """Those that make sense here: a text has no linear model, a user's own model no deeper one."""
