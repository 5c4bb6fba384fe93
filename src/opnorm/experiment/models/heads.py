"""The last layers of the built-in models."""

from __future__ import annotations

from torch import nn

from opnorm.experiment.models.model import Shape


def head(features: int, shape: Shape) -> list[nn.Module]:
    """Logits (batch, classes), or values (batch,)."""
    last = nn.Linear(features, shape.outputs)
    return [last, nn.Flatten(0)] if shape.values else [last]
