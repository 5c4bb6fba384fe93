"""Logistic or linear regression: one layer."""

from __future__ import annotations

from math import prod

from torch import nn

from opnorm.experiment.models.heads import head
from opnorm.experiment.models.model import Inputs, Model, Shape


def _build(shape: Shape, _depth: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *head(prod(shape.inputs), shape))


LINEAR = Model(
    "linear", "a linear model", frozenset({Inputs.TABLE, Inputs.SERIES, Inputs.IMAGE}), depth=0, build=_build
)
