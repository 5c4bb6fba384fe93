"""The convolutional network for series: kernels along time."""

from __future__ import annotations

from torch import nn

from opnorm.experiment.models.cnn import convolutional
from opnorm.experiment.models.model import Inputs, Model, Shape


def _build(shape: Shape, depth: int) -> nn.Module:
    return convolutional(shape, depth, nn.Conv1d, nn.MaxPool1d, 5)


CONV1D = Model(
    "conv1d", "a convolutional network along time, kernels of 5, 16 and 32 channels", frozenset({Inputs.SERIES}),
    depth=2, build=_build,
)  # fmt: skip
