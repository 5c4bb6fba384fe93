"""The built-in subject: data by path, name or arrays, and a built-in model.

Guarantee: split and model of a seed and a condition are the same in any process and any order of calls, bit by bit on
one version of the libraries; validation and test parts are the same under every condition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas
import sklearn
import torch

import opnorm
from opnorm.experiment.data.conditions import apply_condition
from opnorm.experiment.data.describe import described
from opnorm.experiment.data.examples import Examples
from opnorm.experiment.data.parts import HELD, TENTHS, draw
from opnorm.experiment.data.prepare import prepared
from opnorm.experiment.document import CONDITIONS
from opnorm.experiment.models import MODELS, build
from opnorm.experiment.models.model import Shape
from opnorm.experiment.subject import Split, Task

if TYPE_CHECKING:
    from opnorm.experiment.arms.arm import Applied


@dataclass(frozen=True, slots=True)
class BuiltInSubject:
    """See `Subject`. architecture: a name of `MODELS`."""

    examples: Examples
    architecture: str
    metric: str
    source: str

    @classmethod
    def of(cls, examples: Examples, architecture: str, metric: str) -> Self:
        """The subject of checked data, of a model that takes them and a metric that suits them."""
        return cls(examples, architecture, metric, _source(examples, architecture, metric))

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.examples.targets.task

    @property
    def classes(self) -> int:
        """How many, 1 for numbers."""
        return self.examples.targets.classes

    def describe(self) -> Mapping[str, str | int | float]:
        """What the data are, what was read into them and left out of them, and the model."""
        return described(self.examples, MODELS[self.architecture].title, self.metric)

    def split(self, seed: int, condition: str) -> Split:
        """The data of a seed; units and prepared columns are those of its whole training part in every condition."""
        whole = prepared(self.examples, draw(self.examples, seed))
        train = apply_condition(whole.train, self.task, condition, seed, self.classes)
        return replace(whole, train=train)

    def model(self, seed: int, condition: str, split: Split) -> torch.nn.Module:
        """A fresh model."""
        shape = Shape(split.train.inputs.shape[1:], self.classes, self.task is Task.REGRESSION)
        return build(self.architecture, shape, condition, seed)

    def fit(self, model: torch.nn.Module, split: Split, arm: Applied, seed: int) -> torch.nn.Module | None:  # noqa: ARG002
        """The built-in loop trains it."""
        return None

    def conditions(self) -> tuple[str, ...]:
        """All, but a linear or deeper one where there is none: of a linear model, of a text."""
        linear = MODELS["linear"]
        without = {"linear", "deep"} if self.architecture == linear.name else set()
        if self.examples.kind not in linear.takes:
            without.add("linear")
        return tuple(c for c in CONDITIONS if c not in without)


def _source(examples: Examples, model: str, metric: str) -> str:
    versions = [opnorm.__version__, f"{TENTHS} {HELD}", *(m.__version__ for m in (np, pandas, sklearn, torch))]
    return hashlib.sha256("\n".join((examples.digest(), model, metric, *versions)).encode()).hexdigest()
