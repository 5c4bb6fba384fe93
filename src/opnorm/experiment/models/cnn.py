"""A small convolutional network: two stages of convolutions with ReLU, each halved by a maximum, and one linear layer.

Zero padding keeps sizes; windows of the maximum do not overlap, so it is 1-Lipschitz.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from opnorm.experiment.models.heads import head
from opnorm.experiment.models.model import Inputs, Model, Shape

CHANNELS = (16, 32)


def convolutional(shape: Shape, depth: int, layer: Any, pool: Any, kernel: int) -> nn.Module:
    """depth: convolutions in all, shared out over the two stages."""
    channels, *sizes = shape.inputs
    modules: list[nn.Module] = []
    for stage, width in enumerate(CHANNELS):
        for _ in range((depth + 1 - stage) // len(CHANNELS)):
            modules += [layer(channels, width, kernel, padding=kernel // 2), nn.ReLU()]
            channels = width
        if min(sizes) >= 2:
            modules.append(pool(2))
            sizes = [s // 2 for s in sizes]
    features = channels
    for size in sizes:
        features *= size
    return nn.Sequential(*modules, nn.Flatten(), *head(features, shape))


def _build(shape: Shape, depth: int) -> nn.Module:
    return convolutional(shape, depth, nn.Conv2d, nn.MaxPool2d, 3)


CNN = Model(
    "cnn", "a convolutional network of 3×3 kernels, 16 and 32 channels", frozenset({Inputs.IMAGE}), depth=2,
    build=_build,
)  # fmt: skip
