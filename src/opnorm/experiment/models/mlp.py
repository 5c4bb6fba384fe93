"""A multilayer perceptron: hidden layers of one width with ReLU."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import nn

from opnorm.experiment.models.heads import head
from opnorm.experiment.models.model import Inputs, Model, Shape

WIDTH = 64


def _build(shape: Shape, depth: int) -> nn.Module:
    widths = [prod(shape.inputs), *[WIDTH] * depth]
    hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, *head(WIDTH, shape))


MLP = Model(
    "mlp", f"an MLP with hidden layers of {WIDTH} units and ReLU",
    frozenset({Inputs.TABLE, Inputs.SERIES, Inputs.IMAGE}), depth=2, build=_build,
)  # fmt: skip
